"""What a function on a line does, as far as a grid of points sees: dips, zeros, kinks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ddt_utils._expressions import derivative, value

GRID = 2001  # points on a line


@lru_cache(maxsize=512)
def kinks(expression, variable, box, places) -> tuple:
    """The breaks of a loss on a line at which its slope jumps.

    Args:
        expression: the loss.
        variable: its symbol.
        box: its (low, high).
        places: its breaks.

    Returns:
        Those of the places at which the jump of L′ stays as one looks closer.
    """
    slope, (low, high) = derivative(expression, variable), box
    at, step = np.array(places, dtype=float), (high - low) / GRID

    def slopes(distance):
        left = np.clip(at - distance * step, low, high)
        right = np.clip(at + distance * step, low, high)
        return [
            np.broadcast_to(value(slope, {variable: x}), at.shape).astype(float)
            for x in (left, right)
        ]

    with np.errstate(all="ignore"):
        (a, b), (c, d), (e, f) = slopes(1), slopes(1e-4), slopes(1e-8)
        size = np.abs(a) + np.abs(b) + np.abs(b - a)
        kept = (np.abs(f - e) > 1e-6 * size) & (np.abs(f - e) > 0.5 * np.abs(d - c))
    kept &= (at > low) & (at < high)
    return tuple(at[kept].tolist())


def dips(function, points) -> np.ndarray:
    """The lowest places of |g| between points on a line where g has the same sign.

    Args:
        function: g of an array (1, k).
        points: ascending, shape (1, k).

    Returns:
        The places, shape (1, found).
    """
    signed = function(points)
    size = np.abs(signed)
    low = (size[1:-1] <= size[:-2]) & (size[1:-1] <= size[2:]) & (size[1:-1] > 0)
    low &= np.sign(signed[:-2]) * np.sign(signed[2:]) > 0
    k = np.flatnonzero(low) + 1
    if not len(k):
        return points[:, :0]
    left, right = points[:, k - 1], points[:, k + 1]
    sign, shrink = np.sign(signed[k]), (np.sqrt(5) - 1) / 2
    for _ in range(80):  # golden section
        one, two = right - shrink * (right - left), left + shrink * (right - left)
        lower = sign * function(one) < sign * function(two)
        left, right = np.where(lower, left, one), np.where(lower, two, right)
    return (left + right) / 2


def touching(function, low, high) -> list[float]:
    """Where a function that is not negative comes down to zero, and does not jump to it.

    Args:
        function: of an array.
        low: the first place.
        high: the last place.

    Returns:
        The places, increasing.
    """
    points = np.linspace(low, high, GRID)[None]

    def flat(at):
        return function(at[0])

    found = np.concatenate([dips(flat, points), points[:, flat(points) == 0]], axis=1)
    step = (high - low) / GRID
    around = np.maximum(*(flat(np.clip(found + side * step, low, high)) for side in (-1, 1)))
    near = np.maximum(*(flat(np.clip(found + side * 1e-6 * step, low, high)) for side in (-1, 1)))
    kept = (flat(found) <= 1e-11 * around) & (near < 1e-3 * around)
    return sorted(found[0][kept].tolist())
