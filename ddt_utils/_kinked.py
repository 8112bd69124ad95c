"""Where a formula changes there may be no slope: what the search in space does about it."""

from __future__ import annotations

import warnings

import numpy as np


def without_kinks(unit, kept):
    """Those of the points around which the slope fades: in a kink only its mean is zero.

    Args:
        unit: the landscape in the coordinates of its box.
        kept: zeros of the gradient, shape (points, n).

    Returns:
        Fewer of them, or as many; a warning tells of the others.
    """
    smooth, random = [], np.random.default_rng(0)
    for point in kept:
        turns = random.standard_normal((64, len(point)))
        turns /= np.linalg.norm(turns, axis=1, keepdims=True)
        far, near = (np.abs(unit.slopes(point + r * turns)).max() for r in (1e-5, 1e-7))
        smooth.append(not near > 0.5 * far)
        if not smooth[-1]:
            warnings.warn(
                f"{unit.landscape.name} has a kink near {unit.outwards(point).tolist()} in which "
                "only the mean slope is zero; it has no Hessian and is not listed: round the kink "
                "off, for example with sqrt(x**2 + w**2) for Abs(x)",
                stacklevel=5,
            )
    return kept[np.array(smooth, dtype=bool)]


def with_the_lowest(unit, cloud, kept):
    """Descent without derivatives: says that a minimum lies in a kink, and adds a missed one.

    Args:
        unit: the landscape in the coordinates of its box.
        cloud: where it begins, shape (starts, n).
        kept: the critical points that are known, shape (points, n).

    Returns:
        The same and minima that were missed.
    """

    def height(units):
        return np.nan_to_num(
            unit.landscape.value(*np.moveaxis(unit.outwards(units), -1, 0)), nan=np.inf
        )

    random = np.random.default_rng(0)
    best = cloud[np.argsort(height(cloud))[:8]]
    for reach in 0.2 * 0.8 ** np.arange(110):  # down to 4e-12
        turns = random.standard_normal((48, *best.shape))
        turns *= reach / np.linalg.norm(turns, axis=-1, keepdims=True)
        near = np.concatenate([best[None], np.clip(best + turns, 0, 1)])
        best = near[np.argmin(height(near), axis=0), np.arange(len(best))]
    inside = np.all((best > 1e-3) & (best < 1 - 1e-3), axis=1)
    for point in best[inside]:
        if np.any(np.linalg.norm(kept - point, axis=1) < 1e-4):
            continue
        polished, settled = unit.newton(point[None])
        if settled[0] and np.linalg.norm(polished[0] - point) < 1e-4:
            kept = np.vstack([kept, polished])
            continue
        around = random.standard_normal((400, len(point)))
        around *= 1e-6 / np.linalg.norm(around, axis=1, keepdims=True)
        if height(point + around).min() > height(point):
            warnings.warn(
                f"{unit.landscape.name} has a minimum in a kink, near "
                f"{unit.outwards(point).tolist()}; it has no Hessian and is not listed: round the "
                "kink off, for example with sqrt(x**2 + w**2) for Abs(x)",
                stacklevel=5,
            )
            break
    return kept
