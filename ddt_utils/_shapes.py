"""Numbers and arrays that belong together: of one shape, or of shapes that broadcast to one."""

from __future__ import annotations

import numpy as np

_REMEDY = "give numbers, or arrays of one shape"


def together(names, arrays, remedy: str = _REMEDY) -> list[np.ndarray]:
    """Arrays in their common shape, as NumPy broadcasts.

    Args:
        names: what each is called.
        arrays: numbers and arrays, as many.
        remedy: what to do about shapes that do not fit.

    Returns:
        Arrays of one shape, not to be written to.

    Raises:
        ValueError: they have none; the message names every array and its shape.
    """
    try:
        return list(np.broadcast_arrays(*arrays))
    except ValueError:
        raise ValueError(_apart(names, arrays, remedy)) from None


def common(names, arrays, remedy: str = _REMEDY) -> tuple[int, ...]:
    """The shape that numbers, arrays or tensors have together.

    Args:
        names: what each is called.
        arrays: anything with a shape, as many.
        remedy: what to do about shapes that do not fit.

    Returns:
        The shape to which all of them broadcast.

    Raises:
        ValueError: there is none; the message names every array and its shape.
    """
    try:
        return np.broadcast_shapes(*map(np.shape, arrays))
    except ValueError:
        raise ValueError(_apart(names, arrays, remedy)) from None


def require_within(shape, values, remedy: str) -> None:
    """Refuse values that broadcast to more than a shape, over which a sum would add them up.

    Args:
        shape: of the grid.
        values: an array.
        remedy: what to do about another shape.

    Raises:
        ValueError: they do not fit, or are more.
    """
    grid = np.empty(shape)
    if np.prod(common(("values", "the grid"), (values, grid), remedy)) != grid.size:
        raise ValueError(
            f"values must have the shape of the grid {shape}, got {values.shape}; {remedy}"
        )


def _apart(names, arrays, remedy):
    names = list(map(str, names))
    shapes = zip(names, arrays, strict=True)
    told = ", ".join(f"{name} of shape {tuple(np.shape(values))}" for name, values in shapes)
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{listed} must have one shape, got {told}; {remedy}"
