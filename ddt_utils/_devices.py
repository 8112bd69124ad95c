"""Which machine computes: the processor, or a GPU; and constants that are brought there once."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

from ddt_utils import _checks

VARIABLE = "DDT_DEVICE"
NAMES = ("cpu", "cuda", "auto")
_HELD: dict = {}  # tensors of constants, by the array's id, the precision and the place


def chosen(device, available: Callable[[], bool]):
    """The device that was asked for, by argument or else by the environment.

    Args:
        device: what the caller gave; None asks ``DDT_DEVICE``, which is ``cpu`` by default.
        available: says if there is a GPU that can be used; asked for ``"auto"`` only.

    Returns:
        What was given, with ``"cuda"`` or ``"cpu"`` in place of ``"auto"``.

    Raises:
        ValueError: the environment names no device.
    """
    if device is None:
        remedy = f"unset the variable {VARIABLE} of the environment, or set it to one of these"
        device = _checks.choice(VARIABLE, os.environ.get(VARIABLE) or "cpu", NAMES, remedy=remedy)
    if isinstance(device, str) and device == "auto":
        return "cuda" if available() else "cpu"
    return device


def of_torch(device, dtype=None):
    """The device as torch has it.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"auto"``, any other of torch's, or None; see
            :func:`chosen`.
        dtype: of the numbers that it must hold; torch's own by default.

    Returns:
        A ``torch.device``.

    Raises:
        ValueError: torch knows none of this name, or cannot use it here.
    """
    import torch

    named = chosen(device, torch.cuda.is_available)
    try:
        found = torch.device(named)
    except (RuntimeError, TypeError) as error:
        remedy = f"; give one of {', '.join(map(repr, NAMES))}"
        raise ValueError(f"device must be one of torch's, got {named!r}{remedy}") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        source = f" from {VARIABLE}" if device is None else ""
        raise ValueError(
            f"device must be one that torch can use here, got {named!r}{source}, and torch sees no "
            'GPU; take "cpu", or "auto" for a GPU where there is one'
        )
    if found.type == "cuda" and found.index is not None:
        _require_index(named, found.index, torch.cuda.device_count())
    if found.type not in ("cpu", "cuda"):
        try:
            torch.zeros(1, dtype=dtype, device=found).cpu()  # "meta" has no numbers to bring home
        except (RuntimeError, NotImplementedError, TypeError) as error:
            raise ValueError(
                f"device must be one that torch can use here, got {named!r} ({str(error)[:80]}); "
                f"take one of {', '.join(map(repr, NAMES))}"
            ) from error
    return found


def _require_index(named, index, count):
    """Refuse the number of a GPU that is not there."""
    if not 0 <= index < count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise ValueError(
            f"device must be one that torch can use here, got {str(named)!r}, and torch sees "
            f"{count} GPU{'' if count == 1 else 's'}; take {there}, or 'cuda' for the current one"
        )


def held(array, like):
    """An array as a tensor of some precision in some place, made and brought there once.

    Args:
        array: a NumPy array that is not changed afterwards.
        like: a tensor of the precision and in the place.

    Returns:
        The tensor.
    """
    import torch

    key = (id(array), like.dtype, like.device)
    if key not in _HELD:
        _HELD[key] = torch.tensor(array, dtype=like.dtype, device=like.device)  # a copy
        weakref.finalize(array, _HELD.pop, key, None)
    return _HELD[key]
