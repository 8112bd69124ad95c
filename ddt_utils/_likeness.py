"""When results, and the numbers that they were made with, count as the same; for ``records``."""

from __future__ import annotations

import numpy as np

from ddt_utils import streams

_MANY = 64  # an array of more floats is kept as weighted sums
_TYPED = 12  # digits that one types; a float with more was computed
_ROUNDING, _SUMMED = 1e-8, 1e-10  # what processors may differ by: in a float, in sums of many


def agree(one, other) -> bool:
    """Are two results the same, up to the rounding of another processor?

    Args:
        one: numbers, texts, lists and dictionaries, as JSON gives them back.
        other: the same.

    Returns:
        Whether they are.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(agree(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(agree, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return _equal(one, other) or abs(one - other) <= _ROUNDING * abs(one)
    return type(one) is type(other) and one == other


def difference(stored: dict, found: dict) -> str:
    """The first of the numbers that a function uses which is not what it was.

    Args:
        stored: by name, of :func:`compact`.
        found: the same.

    Returns:
        Its name and both, in words; empty if there is none.
    """
    for name in dict.fromkeys([*found, *stored]):
        if name not in stored or name not in found:
            return f"{name} is {'gone' if name in stored else 'new'}"
        if not _same(stored[name], found[name]):
            return f"{name} was {_short(stored[name])} and is {_short(found[name])}"
    return ""


def compact(values) -> dict | list:
    """Floats as a list; many of them as their size Σ|a| and four sums with fixed weights.

    Args:
        values: an array.

    Returns:
        What a record keeps of them.
    """
    if values.dtype.kind == "c":
        values = np.stack([values.real, values.imag])
    flat = np.asarray(values, dtype=float).ravel()
    if flat.size <= _MANY:
        return flat.tolist()
    weights = streams.stream(0, "sums").uniform(-1, 1, (flat.size, 4))
    return {"size": float(np.abs(flat).sum()), "sums": (flat @ weights).tolist()}


def is_compact(kept) -> bool:
    """Is it what :func:`compact` gives?

    Args:
        kept: from a file.

    Returns:
        Whether it is.
    """
    if isinstance(kept, dict):
        sums = kept.get("sums")
        whole = isinstance(sums, list) and len(sums) == 4 and kept.keys() == {"size", "sums"}
        return whole and is_compact([kept["size"], *sums])
    return isinstance(kept, list) and all(type(value) in (int, float) for value in kept)


def _same(one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = zip([one["size"], *one["sums"]], [other["size"], *other["sums"]], strict=True)
        return all(_equal(a, b) or abs(a - b) <= _SUMMED * one["size"] for a, b in pairs)
    if not isinstance(one, list) or not isinstance(other, list) or len(one) != len(other):
        return False
    scale = max((abs(a) for a in one if np.isfinite(a)), default=0.0)
    return all(_close(a, b, scale) for a, b in zip(one, other, strict=True))


def _close(a, b, scale):
    """Are they one number, typed or computed? Beside larger ones a tiny one is rounding."""
    typed = all(float(f"{v:.{_TYPED}g}") == v for v in (a, b))
    return _equal(a, b) or (not typed and abs(a - b) <= _ROUNDING * max(abs(a), 1e-3 * scale))


def _equal(a, b):
    return a == b or (a != a and b != b)


def _short(kept):
    values = kept["sums"] if isinstance(kept, dict) else kept
    return ", ".join(f"{v:.12g}" for v in values[:3]) + (", …" if len(values) > 3 else "")
