"""Checks of arguments, in one place: an error names the rule, the value received and the remedy.

Every function returns the checked value as a plain Python or NumPy one, so that the check and the
conversion are the same line. A value of the wrong type (a text, a complex number, None, a truth
value, an array where a number belongs) is refused like a value that is out of range.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from fractions import Fraction

import numpy as np


def number(
    name: str,
    value,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    finite: bool = True,
    remedy: str = "",
) -> float:
    """A real number within bounds.

    Args:
        name: what the number is called, as it begins the message.
        value: anything; NumPy, SymPy and torch scalars are taken as well.
        above: it must be greater than this.
        least: it must be this or greater.
        below: it must be smaller than this.
        most: it must be this or smaller.
        finite: refuse infinities; NaN is always refused.
        remedy: what to do about it, appended to the message.

    Returns:
        The number as a float.

    Raises:
        ValueError: it is no real number, not finite, or out of bounds.
    """
    rule = _rule(above, least, below, most, finite)
    found = _real(value)
    inside = math.isfinite(found) or (not finite and math.isinf(found))
    if not (inside and _within(found, above, least, below, most)):
        raise ValueError(_refusal(name, f"a {rule}", value, remedy))
    return found


def kept(name: str, value, **bounds):
    """A real number within bounds, kept exact: what formulas are written with.

    Args:
        name: what the number is called.
        value: anything.
        bounds: as for :func:`number`.

    Returns:
        The number itself if it is SymPy's or Python's, else a plain int or float: formulas take no
        arrays and no tensors, and would compute with the few digits of a single-precision number.

    Raises:
        ValueError: as for :func:`number`.
    """
    found = number(name, value, **bounds)
    if isinstance(value, (int, float, Fraction)) or hasattr(value, "free_symbols"):
        return value
    return int(value) if isinstance(value, np.integer) else found


def whole(name: str, value, *, least: int = 0, most: int | None = None, remedy: str = "") -> int:
    """A whole number within bounds; 3.0 is one, 2.5, True and "3" are none.

    Args:
        name: what the number is called.
        value: anything.
        least: the smallest value that is taken.
        most: the largest value that is taken.
        remedy: what to do about it, appended to the message.

    Returns:
        The number as an int.

    Raises:
        ValueError: it is no whole number, or out of bounds.
    """
    rule = f"a whole number, {least} or more" + (f", {most} at most" if most is not None else "")
    found = number(name, value, remedy=remedy or f"give {rule}")
    index = isinstance(value, (int, np.integer))
    exact = operator.index(value) if index else int(found) if found.is_integer() else None
    if exact is None or exact < least or (most is not None and exact > most):
        raise ValueError(_refusal(name, rule, value, remedy))
    return exact


def seed(value) -> int:
    """A seed: a whole number from 0 to 2**64 − 1, so that no two seeds mean the same stream.

    Args:
        value: anything.

    Returns:
        The seed as an int.

    Raises:
        ValueError: it is no such number.
    """
    remedy = "give a fixed one, so that the run can be repeated"
    rule = "a whole number from 0 to 2**64 - 1"
    whole_ = not isinstance(value, (bool, np.bool_)) and hasattr(value, "__index__")
    found = operator.index(value) if whole_ else -1
    if not 0 <= found < 2**64:
        raise ValueError(_refusal("seed", rule, value, remedy))
    return found


def choice(name: str, value, among: Iterable, *, remedy: str = ""):
    """One of a few values.

    Args:
        name: what the value is called.
        value: anything.
        among: the values that are taken.
        remedy: what to do about it, appended to the message.

    Returns:
        The value.

    Raises:
        ValueError: it is none of them.
    """
    among = tuple(among)
    if not any(type(value) is type(one) and value == one for one in among):
        raise ValueError(_refusal(name, "one of " + ", ".join(map(repr, among)), value, remedy))
    return value


def array(
    name: str, values, *, shape: tuple | None = None, finite: bool = True, remedy: str = ""
) -> np.ndarray:
    """An array of real numbers.

    Args:
        name: what the array is called.
        values: anything that NumPy makes an array of; tensors are taken as well.
        shape: the shape it must have; None in it leaves an axis free, None leaves all free.
        finite: refuse infinities and NaN.
        remedy: what to do about it, appended to the message.

    Returns:
        The array in double precision.

    Raises:
        ValueError: not numbers, not finite, masked, or of another shape.
    """
    if np.ma.is_masked(values):
        out = "leave such samples out"
        raise ValueError(_refusal(name, "numbers", "masked ones", out, quote=False))
    try:
        raw = np.asarray(_from_torch(values))
        found = raw.astype(float) if raw.dtype.kind in "fiuO" else None
    except (TypeError, ValueError, OverflowError, RuntimeError):
        found = None
    if found is None:
        raise ValueError(_refusal(name, "an array of real numbers", values, remedy))
    if shape is not None:
        fits = len(shape) == found.ndim and all(
            n is None or n == m for n, m in zip(shape, found.shape, strict=True)
        )
        if not fits:
            wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
            rule, got = f"an array of shape {wanted}", f"shape {found.shape}"
            raise ValueError(_refusal(name, rule, got, remedy, quote=False))
    if finite and not np.isfinite(found).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
        bad = f"{found[where]} at {list(where)}"
        raise ValueError(_refusal(name, "finite", bad, remedy, quote=False))
    return found


def symmetric(matrix: np.ndarray) -> bool:
    """Is it a square matrix, not empty, that is symmetric up to the rounding of its own size?

    Args:
        matrix: shape (n, k).

    Returns:
        Whether it is.
    """
    if matrix.shape[0] != matrix.shape[1] or not matrix.size:
        return False
    return bool(np.allclose(matrix, matrix.T, rtol=1e-8, atol=1e-10 * np.abs(matrix).max()))


def classes(name: str, values, count: int) -> np.ndarray:
    """Numbers of classes, 0 to ``count`` − 1; a float is one if it is whole.

    Args:
        name: what the numbers are called.
        values: anything that NumPy makes an array of; tensors are taken as well.
        count: how many classes there are.

    Returns:
        The numbers as int64.

    Raises:
        ValueError: a number that is not whole, or none of the classes.
    """
    found = array(name, as_numbers(values))
    bad = found[(found != np.floor(found)) | (found < 0) | (found >= count)]
    if bad.size:
        low, high = found.min(), found.max()
        remedy = "number the classes from 0"
        if set(np.unique(found)) <= {-1.0, 1.0} and count == 2:
            remedy = f"give ({name} + 1) / 2 for labels −1 and +1"
        elif low == 1 and high == count:
            remedy = f"give {name} − 1 for labels from 1"
        rule = f"classes, whole numbers from 0 to {count - 1}"
        raise ValueError(_refusal(name, rule, f"{bad[0]:g}", remedy, quote=False))
    return found.astype(np.int64)


def model(value) -> None:
    """Refuse what is no :class:`ddt_utils.model.Model`, such as a bare torch module.

    Args:
        value: anything.

    Raises:
        ValueError: it is none.
    """
    parts = ("name", "size", "inputs", "targets", "sample_losses")
    if isinstance(value, type) or not all(hasattr(value, part) for part in parts):
        torchs = hasattr(value, "named_parameters")
        remedy = "wrap it with networks.from_module" if torchs else "take one of networks"
        raise ValueError(_refusal("model", "a networks.Model", _kind(value), remedy, quote=False))


def derivative(tensor) -> np.ndarray:
    """A derivative of a loss, from torch.

    Args:
        tensor: of any shape.

    Returns:
        An array of the same shape.

    Raises:
        ValueError: NaN or infinity in it.
    """
    found = tensor.detach().cpu().numpy()
    if not np.isfinite(found).all():
        got = "got NaN or infinity at a finite theta; does the loss overflow there?"
        raise ValueError(f"derivatives must be finite, {got}")
    return found


def landscape(value) -> None:
    """Refuse what is no landscape.

    Args:
        value: anything.

    Raises:
        ValueError: it is none.
    """
    if not all(hasattr(value, name) for name in ("expression", "evaluate", "box")):
        raise ValueError(
            f"landscape must be a Landscape, got {value!r:.80}; write Landscape(expression, "
            "variables, name=, box=), or take one of ddt_utils.catalog"
        )


def as_numbers(values):
    """Truth values as 0 and 1; anything else as it is."""
    try:
        values = _from_torch(values)
        return np.asanyarray(values, dtype=int) if np.asarray(values).dtype.kind == "b" else values
    except (TypeError, RuntimeError):  # array refuses it by name
        return values


def _from_torch(values):
    """A tensor as an array, whatever its precision and what hangs on it; anything else as it is."""
    if not hasattr(values, "detach"):
        return values
    found = values.detach().cpu().resolve_neg()
    return (found.double() if found.is_floating_point() else found).numpy()


def _rule(above, least, below, most, finite):
    named = {"above {:g}": above, "{:g} or more": least, "below {:g}": below, "{:g} at most": most}
    bounds = [text.format(bound) for text, bound in named.items() if bound is not None]
    return ", ".join([("finite " if finite else "") + "real number", *bounds])


def _within(value, above, least, below, most):
    return (
        (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
        and (most is None or value <= most)
    )


def _real(value):
    """A scalar as a float; NaN, which no rule takes, if it is none."""
    if isinstance(value, (str, bytes, bool, np.bool_)) or value is None:
        return math.nan
    try:
        return float(value) if np.ndim(value) == 0 and not np.iscomplexobj(value) else math.nan
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return math.nan


def _kind(value):
    """What a value is, in a word: a class by its name, anything else by that of its class."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _refusal(name, rule, value, remedy, *, quote=True):
    """The text of an error."""
    shown = repr(value) if quote else value
    shown = shown if len(shown) <= 120 else shown[:117] + "..."
    return f"{name} must be {rule}, got {shown}" + (f"; {remedy}" if remedy else "")
