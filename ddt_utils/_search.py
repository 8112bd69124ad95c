"""How critical points are found, in coordinates in which the box is the unit cube.

On a line all sign changes of the slope are told apart; in more dimensions Newton's method starts
from many points. Variables that nothing couples are searched apart.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from ddt_utils._kinked import with_the_lowest, without_kinks
from ddt_utils.landscape import Landscape

_FLATTEST = 1e-7  # an eigenvalue this small against the largest one counts as zero
_SETTLED = 1e-10  # a last Newton step this short, in units of the box, has converged
_APART = 1e-6  # two points nearer than this, in units of the box, are one
_FINEST = 1_000_000  # points on a line


class InBox:
    """A landscape in the coordinates of its box, each from 0 to 1.

    Args:
        landscape: the loss.
    """

    def __init__(self, landscape):
        self.landscape = landscape
        self.low, high = np.array(landscape.box).T
        self.width = high - self.low

    def inwards(self, points) -> np.ndarray:
        """Points, shape (..., n), in units of the box."""
        return (points - self.low) / self.width

    def outwards(self, units) -> np.ndarray:
        """Points in units of the box, shape (..., n), as they are."""
        return self.low + self.width * units

    def slopes(self, units) -> np.ndarray:
        """The gradient at points (k, n), per unit of the box."""
        with np.errstate(over="ignore"):
            return self.landscape.gradient(*self.outwards(units).T) * self.width

    def bends(self, units) -> np.ndarray:
        """The Hessian at points (k, n), per unit of the box squared; its signs are the same."""
        with np.errstate(over="ignore"):
            return self.landscape.hessian(*self.outwards(units).T) * np.outer(
                self.width, self.width
            )

    def newton(self, units, sweeps=100) -> tuple[np.ndarray, np.ndarray]:
        """Newton's method for a zero gradient from many points.

        Args:
            units: where it starts, shape (k, n).
            sweeps: steps, none longer than 0.05.

        Returns:
            Where it ends, shape (k, n), and which have converged, shape (k,); those that met a
            place without gradient or Hessian are NaN.
        """
        reach, units = 0.05, np.array(units, dtype=float)
        settled = np.zeros(len(units), dtype=bool)
        alive = np.arange(len(units))
        for _ in range(sweeps):
            bends, slopes = self.bends(units[alive]), self.slopes(units[alive])
            well = np.isfinite(bends).all((1, 2)) & np.isfinite(slopes).all(1)
            units[alive[~well]], settled[alive[~well]] = np.nan, False
            alive, bends, slopes = alive[well], bends[well], slopes[well]
            if not len(alive):
                break
            values, vectors = np.linalg.eigh(bends)
            largest = np.abs(values).max(axis=1, keepdims=True)
            floor = np.maximum(1e-12 * largest, np.finfo(float).tiny)
            values = np.where(np.abs(values) < floor, floor, values)
            with np.errstate(over="ignore", divide="ignore"):
                along = np.einsum("kij,ki->kj", vectors, slopes) / values
                step = -np.einsum("kij,kj->ki", vectors, np.clip(along, -1e3, 1e3))
                size = np.linalg.norm(step, axis=1, keepdims=True)
                moved = units[alive] + step * np.minimum(1, reach / size)
            units[alive] = np.clip(moved, -reach, 1 + reach)
            settled[alive] = size[:, 0] < _SETTLED
        return units, settled


def groups(landscape) -> list[tuple]:
    """Variables in groups that neither the Hessian nor a condition couples with each other.

    Args:
        landscape: the loss.

    Returns:
        One tuple of variables per group, in their order.
    """
    variables, hessian = landscape.variables, landscape.hessian_expression
    links = [
        {u, v} for i, u in enumerate(variables) for j, v in enumerate(variables) if hessian[i, j]
    ]
    for part in sp.preorder_traversal(landscape.expression):
        if isinstance(part, (sp.Piecewise, sp.Max, sp.Min, sp.Abs, sp.sign, sp.Heaviside)):
            links.append(part.free_symbols)
    groups = [{v} for v in variables]
    for link in links:
        joined = [g for g in groups if g & link]
        groups = [g for g in groups if not g & link] + [set().union(*joined)]
    ordered = (tuple(v for v in variables if v in g) for g in groups if g)
    return sorted(ordered, key=lambda g: variables.index(g[0]))


def parts(landscape):
    """One landscape per group, with the other variables held at the middle of the box.

    Args:
        landscape: the loss.

    Yields:
        A landscape in the variables of each group.
    """
    box = dict(zip(landscape.variables, landscape.box, strict=True))
    for group in groups(landscape):
        others = {v: sp.Rational(sum(box[v])) / 2 for v in landscape.variables if v not in group}
        yield Landscape(
            landscape.expression.subs(others), group, landscape.name, tuple(box[v] for v in group)
        )


def search(landscape, seeds, index) -> list[tuple]:
    """The critical points of one group of variables.

    Args:
        landscape: the loss, in the variables of the group.
        seeds: starts of the search in more than one dimension.
        index: which index is asked for; None for all.

    Returns:
        Their places in the box, each an array (n,), with the number of negative eigenvalues.

    Raises:
        ValueError: an eigenvalue that is zero or infinite; a kink in the place of a point that is
            asked for; on a line, too many points; in more dimensions, no start is left.
    """
    if landscape.dimension == 1:
        places = _on_a_line(landscape, index)[:, None]
        low, high = landscape.box[0]
        places = places[(places[:, 0] >= low) & (places[:, 0] <= high)]
    else:
        places = _in_space(landscape, seeds, index)
    return list(zip(places, _negatives(landscape, places).tolist(), strict=True))


def _negatives(landscape, places):
    """The indices of critical points, or an error where a Hessian does not decide one."""
    unit = InBox(landscape)
    if not len(places):
        return np.empty(0, dtype=int)
    bends = unit.bends(unit.inwards(places))
    known = np.isfinite(bends).all(axis=(1, 2))
    eigenvalues = np.full(places.shape, np.nan)
    eigenvalues[known] = np.linalg.eigvalsh(bends[known])
    around = np.random.default_rng(0).random((99, landscape.dimension))
    typical = np.nanmedian(np.abs(unit.bends(around)).max(axis=(1, 2)))
    largest = np.maximum(np.abs(eigenvalues).max(axis=1), typical)
    bad = ~(np.abs(eigenvalues).min(axis=1) > _FLATTEST * largest)
    if bad.any():
        place = places[bad][0]
        raise ValueError(
            "critical points must have a finite Hessian without zero eigenvalue, got "
            f"{landscape.hessian(*place).tolist()} at {place.tolist()} of {landscape.name}; "
            "neither an index nor Kramers' formula exists there"
        )
    return np.count_nonzero(eigenvalues < 0, axis=1)


def _in_space(landscape, seeds, index):
    """Zeros of the gradient in the box, from many starts, shape (points, n)."""
    from scipy.stats import qmc

    unit = InBox(landscape)
    power = int(np.ceil(np.log2(max(seeds, 2))))
    cloud = qmc.Sobol(landscape.dimension, scramble=False).random_base2(power)
    found, settled = unit.newton(cloud)
    if np.isnan(found).any(axis=1).all():
        raise ValueError(
            f"the search for critical points needs derivatives, but all {len(cloud)} starts in "
            f"the box of {landscape.name} met places without gradient or Hessian; use more "
            "seeds or another box"
        )
    found = found[settled]
    found = found[np.all((found >= -1e-14) & (found <= 1 + 1e-14), axis=1)]
    kept = np.empty((0, landscape.dimension))
    for point in found:
        if not np.any(np.linalg.norm(kept - point, axis=1) < _APART):
            kept = np.vstack([kept, point])
    if landscape.switches:
        kept = without_kinks(unit, kept)
        if index in (None, 0):
            kept = with_the_lowest(unit, cloud, kept)
    return unit.outwards(kept)


def _on_a_line(landscape, index):
    """Zeros of L′ in the box, shape (points,); a jump of it through zero is refused."""
    (x,), (low, high) = landscape.variables, landscape.box[0]
    slope = landscape.gradient_expression[0]
    if slope == 0:
        raise ValueError(
            f"critical points must be single, but {landscape.name} is flat everywhere in its box"
        )
    # floats as the fractions they are: far from the origin expanding rounds all roots away
    slope = slope.xreplace({f: sp.Rational(f) for f in slope.atoms(sp.Float)})
    if slope.is_polynomial(x):
        coefficients = [sp.Rational(str(sp.N(c, 30))) for c in sp.Poly(slope, x).all_coeffs()]
        roots = sorted(set(sp.Poly(coefficients, x).real_roots())) if any(coefficients[:-1]) else []
        return np.array([float(sp.N(root, 20)) for root in roots])
    _refuse_kinks(landscape, index)
    found, points = _sign_changes(landscape, 4001), 4001
    while True:
        before, points = len(found), 4 * points - 3
        found = _sign_changes(landscape, points)
        if len(found) == before:
            break
        if points > _FINEST:
            raise ValueError(
                f"the critical points of {landscape.name} must be told apart, but {points} points "
                f"on its box do not tell their number, {len(found)} or more; use a smaller box"
            )
    found[np.abs(found) < 1e-15 * (high - low)] = 0
    for place in landscape.breaks:
        if low < place < high and np.any(np.abs(found - place) < 1e-9 * (high - low)):
            _refuse_bend(landscape, place)
    return found


def _refuse_kinks(landscape, index):
    """Refuse a kinked minimum or crest, if points of its index are asked for."""
    (low, high) = landscape.box[0]
    for place in landscape.kinks:
        beside = place + 1e-9 * (high - low) * np.array([-1, 1])
        left, right = landscape.derivative(np.clip(beside, low, high))
        crest = bool(left > 0 or right < 0)
        if np.sign(left) * np.sign(right) <= 0 and (index is None or index >= crest):
            raise ValueError(
                f"critical points must have a Hessian, but at {landscape.variables[0]} = "
                f"{place:.6g}, a {'crest' if crest else 'minimum'}, the slope of {landscape.name} "
                f"jumps from {left:.6g} to {right:.6g}; round the kink off, for example with "
                "sqrt(x**2 + w**2) for Abs(x)"
            )


def _refuse_bend(landscape, place):
    """Refuse a critical point at which the curvature jumps."""
    (low, high) = landscape.box[0]
    aside = place + 1e-7 * (high - low) * np.array([-1, 1])
    left, right = landscape.derivative(np.clip(aside, low, high), 2)
    if abs(left - right) > 1e-3 * max(abs(left), abs(right)):
        raise ValueError(
            f"critical points must have a Hessian, but the curvature of {landscape.name} jumps "
            f"from {left:.6g} to {right:.6g} where it is level, at {landscape.variables[0]} = "
            f"{place:.6g}; move the switch, or blend the curvatures"
        )


def _sign_changes(landscape, points):
    """The zeros of L′ that a number of points sees, each to the last digit."""
    low, high = landscape.box[0]
    grid = np.linspace(low, high, points)
    if points > 4001:  # shifted irregularly: no oscillation is in step with them
        grid[1:-1] += (np.arange(1, points - 1) * 0.618034 % 1 - 0.5) * 0.8 * (grid[1] - grid[0])
    breaks, kinks = np.array(landscape.breaks), np.array(landscape.kinks)
    grid = np.union1d(grid, breaks)
    at_break = np.isin(grid, breaks)
    nudge = at_break * 4 * np.maximum(np.spacing(np.abs(grid)), 1e-17 * (high - low))
    left, right = (grid + nudge)[:-1], (grid - nudge)[1:]
    at_left, at_right = (np.sign(landscape.derivative(end)) for end in (left, right))
    level = (at_left == 0) & (at_right == 0)
    if np.any(level[1:] & level[:-1]):
        place = left[np.argmax(level)]
        raise ValueError(
            f"critical points must be single, but {landscape.name} is flat near {place:.6g}; "
            "neither an index nor Kramers' formula exists there"
        )
    # a switch at which the slope passes zero lies between two intervals
    passing = (at_right[:-1] * at_left[1:] < 0) & at_break[1:-1] & ~np.isin(grid[1:-1], kinks)
    change = at_left * at_right < 0
    low_, high_, sign = left[change], right[change], at_left[change]
    while True:
        middle = low_ + (high_ - low_) / 2
        if np.all((middle == low_) | (middle == high_)):
            break
        same = np.sign(landscape.derivative(middle)) == sign
        low_, high_ = np.where(same, middle, low_), np.where(same, high_, middle)
    ends = left[at_left == 0], right[at_right == 0]
    found = np.sort(np.concatenate([high_, grid[1:-1][passing], *ends]))
    return found[np.diff(found, prepend=-np.inf) > 1e-12 * (high - low)]
