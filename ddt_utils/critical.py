r"""Where a landscape is level, and the path along which a walker leaves.

A critical point has :math:`\nabla L = 0`; its index is the number of negative eigenvalues of the
Hessian there. Minima have index 0. A saddle of index 1 is a pass: one direction leads down on both
sides, all others lead up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import sympy as sp

from ddt_utils.landscape import Landscape

_FLATTEST = 1e-7  # an eigenvalue this small against the largest one counts as zero
_SETTLED = 1e-10  # a last Newton step this short against the box has converged
_SWEEPS = 20_000  # of the string
_MOST = 200_000  # critical points that are written down one by one


@dataclass(frozen=True, eq=False)
class CriticalPoint:
    r"""A point with :math:`\nabla L = 0` and a Hessian without zero eigenvalue.

    Args:
        location: shape (n,).
        value: the loss there.
        hessian: shape (n, n).
    """

    location: np.ndarray
    value: float
    hessian: np.ndarray

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Those of the Hessian, increasing, shape (n,)."""
        return np.linalg.eigvalsh(self.hessian)

    @property
    def index(self) -> int:
        """How many eigenvalues are negative, 0 at a minimum and 1 at a pass between two valleys."""
        return int(np.count_nonzero(self.eigenvalues < 0))

    def __repr__(self):
        place = ", ".join(f"{x:.6g}" for x in self.location)
        return f"CriticalPoint([{place}], value={self.value:.6g}, index={self.index})"


@dataclass(frozen=True, eq=False)
class Path:
    r"""A minimum-energy path: at each of its points :math:`\nabla L` is parallel to it.

    Args:
        points: equally spaced along the path, from minimum to minimum, shape (images, n).
        values: the loss at the points, shape (images,).
        saddles: the saddles over which the path leads, in the order in which it meets them.
    """

    points: np.ndarray
    values: np.ndarray
    saddles: tuple[CriticalPoint, ...]

    @property
    def arc(self) -> np.ndarray:
        """The distance from the start along the path, shape (images,)."""
        return _arc(self.points)


def critical_points(
    landscape: Landscape, *, index: int | None = None, seeds: int = 1024
) -> list[CriticalPoint]:
    r"""The critical points in the box of the landscape, by index and then by loss.

    Variables that the Hessian does not couple are searched apart and combined, so that the
    :math:`3^{10}` critical points of a ten-dimensional sum cost ten searches on a line. On a line
    a polynomial is solved by exact isolation of its real roots, any other loss by sign changes of
    L′ on 4001 points. In more dimensions Newton's method starts from a Sobol sequence of points; it
    finds what it reaches, so a rugged landscape needs more seeds.

    Args:
        landscape: the loss.
        index: only points of this index; all by default.
        seeds: starts of the search in more than one dimension, rounded up to a power of two.

    Raises:
        ValueError: a Hessian has a zero eigenvalue (a flat point, or a continuum of minima), which
            the index does not describe; or more than 200 000 points.

    Example:
        >>> from ddt_utils import catalog
        >>> [point.index for point in critical_points(catalog.quartic())]
        [0, 0, 1]
    """
    blocks = [
        [(place, _negatives(part, place)) for place in _search(part, seeds)]
        for part in _parts(landscape)
    ]
    combined = [((), 0)]
    for block in blocks:
        combined = [
            (places + (place,), total + more)
            for (places, total), (place, more) in product(combined, block)
            if index is None or total + more <= index
        ]
        if len(combined) > _MOST:
            raise ValueError(
                f"{landscape.name} has more than {_MOST} critical points; ask for one index, as in "
                "critical_points(landscape, index=1)"
            )
    chosen = [places for places, total in combined if index is None or total == index]
    if not chosen:
        return []
    order = np.argsort([landscape.variables.index(v) for b in _groups(landscape) for v in b])
    locations = np.array([np.concatenate(places) for places in chosen])[:, order]
    values = landscape.value(*locations.T)
    hessians = landscape.hessian(*locations.T)
    points = [CriticalPoint(*p) for p in zip(locations, values, hessians, strict=True)]
    return sorted(points, key=lambda p: (p.index, np.round(p.value, 9), *np.round(p.location, 9)))


def minima(landscape: Landscape, *, seeds: int = 1024) -> list[CriticalPoint]:
    """The minima in the box, the deepest first; see :func:`critical_points`."""
    return critical_points(landscape, index=0, seeds=seeds)


def saddles(landscape: Landscape, *, seeds: int = 1024) -> list[CriticalPoint]:
    """The saddles of index 1 in the box, the lowest first; see :func:`critical_points`."""
    return critical_points(landscape, index=1, seeds=seeds)


def escape_direction(saddle: CriticalPoint) -> np.ndarray:
    """The unit eigenvector of the one negative eigenvalue, its largest component positive.

    Raises:
        ValueError: the point is not a saddle of index 1.
    """
    if saddle.index != 1:
        raise ValueError(
            f"an escape direction needs a saddle of index 1, got {saddle!r}; "
            "choose one of critical.saddles(landscape)"
        )
    direction = np.linalg.eigh(saddle.hessian)[1][:, 0]
    return direction * np.sign(direction[np.argmax(np.abs(direction))])


def connected_minima(
    landscape: Landscape, saddle: CriticalPoint
) -> tuple[CriticalPoint, CriticalPoint]:
    r"""The minima that the steepest descent :math:`\dot\theta = -\nabla L` reaches from a saddle.

    Returns:
        The minimum reached against the escape direction, and the one reached along it.

    Raises:
        ValueError: the point is not a saddle of index 1, or a descent leaves the box.
    """
    (below, _), (above, _) = _both_descents(landscape, saddle)
    return below, above


def minimum_energy_path(
    landscape: Landscape,
    start: CriticalPoint,
    end: CriticalPoint,
    *,
    images: int = 100,
    through=None,
) -> Path:
    r"""The path over the passes between two minima, along which :math:`\nabla L` is the tangent.

    The string method finds the passes: a string of points slides downhill, and after each step the
    points are spaced evenly along it again, until it rests (E, Ren and Vanden-Eijnden, Journal of
    Chemical Physics 126, 164103, 2007). Newton's method from its highest points gives the saddles.
    The path itself is then drawn by steepest descent from the saddles to both sides, and it is
    returned only if these descents join, saddle by saddle, the start to the end.

    Args:
        landscape: the loss.
        start: a minimum.
        end: another minimum.
        images: points on the string and on the path.
        through: a point (n,) that the first guess passes; by default the guess is straight.

    Raises:
        ValueError: an end is not a minimum, both ends are one point, or too few images.
        ArithmeticError: the string did not come to rest, or the descents do not join the ends.
    """
    for name, point in (("start", start), ("end", end)):
        if point.index != 0:
            raise ValueError(f"{name} must be a minimum, got {point!r}; see critical.minima")
    if _same(landscape, start, end):
        raise ValueError(f"start and end must be different minima, got {start!r} twice")
    if images < 10:
        raise ValueError(f"images must be at least 10, got {images}; a path needs a shape")
    knots = [start.location, end.location]
    if through is not None:
        knots.insert(1, np.asarray(through, dtype=float))
    string = _relaxed_string(landscape, np.array(knots), images)
    here, pieces, passes = start, [], _passes(landscape, string)
    for saddle in passes:
        descents = _both_descents(landscape, saddle)
        if not _same(landscape, descents[0][0], here):
            descents = descents[::-1]
        (source, upward), (target, downward) = descents
        if not _same(landscape, source, here):
            break
        pieces += [upward[::-1], saddle.location[None], downward]
        here = target
    if not _same(landscape, here, end):
        raise ArithmeticError(
            f"the passes of a path must join its ends, but {passes} lead from {start!r} to "
            f"{here!r}, not to {end!r}; use more than {images} images or another first guess"
        )
    points = np.concatenate(pieces)
    apart = np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-6 * _width(landscape)
    points = _spread(points[np.concatenate([[True], apart])], images)
    return Path(points, landscape.value(*points.T), passes)


def _groups(landscape):
    """Variables in groups that the Hessian does not couple with each other."""
    hessian, groups = landscape.hessian_expression, []
    for i, variable in enumerate(landscape.variables):
        linked = [
            g for g in groups if any(hessian[i, landscape.variables.index(v)] != 0 for v in g)
        ]
        groups = [g for g in groups if g not in linked]
        groups.append(tuple(v for g in linked for v in g) + (variable,))
    return groups


def _parts(landscape):
    """One landscape per group, with the other variables held at the middle of the box."""
    box = dict(zip(landscape.variables, landscape.box, strict=True))
    for group in _groups(landscape):
        others = {v: sp.Rational(sum(box[v])) / 2 for v in landscape.variables if v not in group}
        yield Landscape(
            landscape.expression.subs(others), group, landscape.name, tuple(box[v] for v in group)
        )


def _search(landscape, seeds):
    """Locations of the critical points of one group of variables, shape (points, n)."""
    low, high = np.array(landscape.box).T
    if landscape.dimension == 1:
        found, exact = _on_a_line(landscape)
    else:
        from scipy.stats import qmc

        power = int(np.ceil(np.log2(max(seeds, 2))))
        cloud = qmc.Sobol(landscape.dimension, scramble=False).random_base2(power)
        found, exact = _newton(landscape, low + (high - low) * cloud)
    inside = exact & np.all((found >= low) & (found <= high), axis=1)
    kept = []
    for point in found[inside]:
        if not any(np.linalg.norm(point - other) < 1e-6 * _width(landscape) for other in kept):
            kept.append(point)
    return np.array(kept).reshape(-1, landscape.dimension)


def _on_a_line(landscape):
    """Zeros of L′ in the box, and whether L′ vanishes there and does not merely jump."""
    from scipy.optimize import brentq

    (x,), (low, high) = landscape.variables, landscape.box[0]
    slope = landscape.gradient_expression[0]
    if slope.is_polynomial(x):
        coefficients = [sp.Rational(str(sp.N(c, 30))) for c in sp.Poly(slope, x).all_coeffs()]
        roots = sorted(set(sp.Poly(coefficients, x).real_roots())) if any(coefficients[:-1]) else []
        found = np.array([float(sp.N(root, 20)) for root in roots])
        return found[:, None], np.ones(len(found), dtype=bool)
    grid = np.linspace(low, high, 4001)
    heights = landscape.derivative(grid)
    crossing = np.flatnonzero(heights[:-1] * heights[1:] < 0)
    found = [brentq(landscape.derivative, grid[k], grid[k + 1], xtol=1e-15) for k in crossing]
    found = np.array([*found, *grid[heights == 0]])
    return found[:, None], np.abs(landscape.derivative(found)) < 1e-9 * np.abs(heights).max()


def _newton(landscape, points, sweeps=100):
    """Newton's method for a zero gradient from many points, and which of them converged."""
    reach = 0.05 * _width(landscape)
    points = np.array(points, dtype=float)
    for _ in range(sweeps):
        values, vectors = np.linalg.eigh(landscape.hessian(*points.T))
        floor = np.maximum(1e-12 * np.abs(values).max(axis=1, keepdims=True), 1e-290)
        values = np.where(np.abs(values) < floor, floor, values)
        along = np.einsum("kij,ki->kj", vectors, landscape.gradient(*points.T)) / values
        step = -np.einsum("kij,kj->ki", vectors, along)
        size = np.linalg.norm(step, axis=1, keepdims=True)
        points += step * np.minimum(1, reach / np.maximum(size, 1e-300))
        low, high = np.array(landscape.box).T
        points = np.clip(points, low - reach, high + reach)
    return points, size[:, 0] < _SETTLED * _width(landscape)


def _negatives(landscape, place):
    """The index of a critical point, or an error where the Hessian does not decide it."""
    eigenvalues = np.linalg.eigvalsh(landscape.hessian(*place))
    scale = np.abs(landscape.hessian(*np.array(landscape.box).mean(axis=1))).max()
    if np.abs(eigenvalues).min() <= _FLATTEST * max(np.abs(eigenvalues).max(), scale):
        raise ValueError(
            f"critical points must have a Hessian without zero eigenvalue, got {eigenvalues} at "
            f"{place} of {landscape.name}; neither an index nor Kramers' formula exists there"
        )
    return int(np.count_nonzero(eigenvalues < 0))


def _both_descents(landscape, saddle):
    """Against and along the escape direction: the minimum reached, and the points on the way."""
    nudge = 1e-4 * _width(landscape) * escape_direction(saddle)
    return [_descend(landscape, saddle.location + side * nudge) for side in (-1, 1)]


def _descend(landscape, point):
    """Steepest descent until Newton's method takes over at a minimum."""
    from scipy.integrate import solve_ivp

    low, high = np.array(landscape.box).T
    curve = [point[None]]

    def room(t, y):
        return min((y - low).min(), (high - y).min())

    room.terminal = True
    for _ in range(400):
        eigenvalues = np.linalg.eigvalsh(landscape.hessian(*point))
        if eigenvalues[0] > 0:
            found, settled = _newton(landscape, point[None])
            if settled[0] and np.linalg.norm(found[0] - point) < 1e-3 * _width(landscape):
                return _point(landscape, found[0]), np.concatenate([*curve, found])
        duration = min(3 / abs(eigenvalues[0]), 100 / np.abs(eigenvalues).max())
        piece = solve_ivp(
            lambda t, y: -landscape.gradient(*y),
            (0, duration),
            point,
            method="LSODA",
            jac=lambda t, y: -landscape.hessian(*y),
            rtol=1e-8,
            atol=1e-10 * _width(landscape),
            events=room,
        ).y.T
        curve.append(piece[1:])
        point = piece[-1]
        if room(0, point) < 1e-9 * _width(landscape):
            break
    raise ValueError(
        f"a descent must end at a minimum in the box {landscape.box} of {landscape.name}, got to "
        f"{point}; enlarge the box"
    )


def _relaxed_string(landscape, knots, images):
    """The string through the knots, slid downhill until it rests."""
    string = _spread(knots, images)
    for _ in range(_SWEEPS):
        stiffness = np.linalg.norm(landscape.hessian(*string.T), axis=(1, 2))[:, None]
        step = -0.3 * landscape.gradient(*string.T) / stiffness
        size = np.linalg.norm(step, axis=1, keepdims=True)
        length = _arc(string)[-1]
        step *= np.minimum(1, 0.2 * length / images / np.maximum(size, 1e-300))
        moved = string.copy()
        moved[1:-1] += step[1:-1]
        string, previous = _spread(moved, images), string
        if np.abs(string - previous).max() < 1e-7 * length:
            return string
    raise ArithmeticError(
        f"the string must come to rest, but it still moves after {_SWEEPS} sweeps; use another "
        f"number of images than {images}, or another first guess"
    )


def _passes(landscape, string):
    """The saddles nearest to the local maxima of the loss along a string."""
    height = landscape.value(*string.T)
    tops = np.flatnonzero((height[1:-1] > height[:-2]) & (height[1:-1] > height[2:])) + 1
    found, settled = _newton(landscape, string[tops])
    points = tuple(_point(landscape, location) for location in found)
    for point, near, done in zip(points, string[tops], settled, strict=True):
        if not done or point.index != 1:
            raise ArithmeticError(
                f"the top of a path must be near a saddle of index 1, got {near} and {point!r}; "
                f"use more than {len(string)} images"
            )
    return points


def _point(landscape, location):
    return CriticalPoint(location, float(landscape.value(*location)), landscape.hessian(*location))


def _same(landscape, one, other):
    return np.linalg.norm(one.location - other.location) < 1e-6 * _width(landscape)


def _spread(string, images):
    """A string along the same curve, with its points evenly spaced."""
    from scipy.interpolate import CubicSpline

    arc = _arc(string)
    even = np.linspace(0, arc[-1], images)
    if len(string) < 4:
        return np.stack([np.interp(even, arc, column) for column in string.T], axis=1)
    return CubicSpline(arc, string)(even)


def _arc(string):
    return np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(string, axis=0), axis=1))])


def _width(landscape):
    """The diagonal of the box."""
    return float(np.linalg.norm(np.ptp(np.array(landscape.box), axis=1)))
