r"""The path along which a walker leaves: over the passes, up and down by steepest descent.

The flow :math:`\dot\theta = -\nabla L` from a saddle ends in the two minima that it joins; a
minimum-energy path between any two minima is made of such flows, end to end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks
from ddt_utils._search import InBox
from ddt_utils.critical import CriticalPoint, escape_direction
from ddt_utils.landscape import Landscape

_SWEEPS = 20_000  # of the string
_SAME = 1e-6  # two points nearer than this, in units of the box, are one


@dataclass(frozen=True, eq=False)
class Path:
    r"""A minimum-energy path: at each of its points :math:`\nabla L` is parallel to it.

    Args:
        points: equally spaced along the path, from minimum to minimum, shape (images, n).
        values: the loss at the points, shape (images,).
        saddles: the saddles over which the path leads, in the order in which it meets them.

    Example:
        >>> from ddt_utils import catalog, critical
        >>> well = catalog.rotated_double_well()
        >>> path = minimum_energy_path(well, *critical.minima(well))
        >>> float((path.saddles[0].value - path.values[0]).round(6))
        0.25
    """

    points: np.ndarray
    values: np.ndarray
    saddles: tuple[CriticalPoint, ...]

    @property
    def arc(self) -> np.ndarray:
        """The distance from the start along the path, shape (images,)."""
        return _arc(self.points)


def connected_minima(
    landscape: Landscape, saddle: CriticalPoint
) -> tuple[CriticalPoint, CriticalPoint]:
    r"""The minima that the steepest descent :math:`\dot\theta = -\nabla L` reaches from a saddle.

    Args:
        landscape: the loss.
        saddle: one of its saddles of index 1.

    Returns:
        The minimum reached against the escape direction, and the one reached along it.

    Raises:
        ValueError: the point is not a saddle of index 1, or a descent leaves the box.

    Example:
        >>> from ddt_utils import catalog, critical
        >>> well = catalog.quartic()
        >>> [saddle] = critical.saddles(well)
        >>> ends = connected_minima(well, saddle)
        >>> sorted(float(point.location[0].round(6)) for point in ends)
        [-1.0, 1.0]
    """
    _checks.landscape(landscape)
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

    Returns:
        The path, from start to end.

    Raises:
        ValueError: an end is not a minimum, both ends are one point, or too few images.
        ArithmeticError: the string did not come to rest, or the descents do not join the ends.

    Example:
        >>> from ddt_utils import catalog, critical
        >>> well = catalog.rotated_double_well()
        >>> path = minimum_energy_path(well, *critical.minima(well))
        >>> round(float(path.arc[-1]), 2)
        2.0
    """
    _checks.landscape(landscape)
    for name, point in (("start", start), ("end", end)):
        if getattr(point, "index", None) != 0:
            raise ValueError(f"{name} must be a minimum, got {point!r}; see critical.minima")
    if _same(landscape, start, end):
        raise ValueError(f"start and end must be different minima, got {start!r} twice")
    images = _checks.whole("images", images, least=10, remedy="a path needs a shape")
    knots = [start.location, end.location]
    if through is not None:
        knots.insert(1, _checks.array("through", through, shape=(landscape.dimension,)))
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


def _both_descents(landscape, saddle):
    """Against and along the escape direction: the minimum reached, and the points on the way."""
    nudge = 1e-4 * _width(landscape) * escape_direction(saddle)
    return [_descend(landscape, saddle.location + side * nudge) for side in (-1, 1)]


def _descend(landscape, point):
    """Steepest descent until Newton's method takes over at a minimum."""
    from scipy.integrate import solve_ivp

    unit, curve = InBox(landscape), [point[None]]

    def room(t, y):
        inside = unit.inwards(y)
        return min(inside.min(), 1 - inside.max())

    room.terminal = True
    for piece in range(800):
        eigenvalues = np.linalg.eigvalsh(landscape.hessian(*point))
        if eigenvalues[0] > 0:
            here = unit.inwards(point)
            found, settled = unit.newton(here[None])
            if settled[0] and np.linalg.norm(found[0] - here) < 1e-3:
                place = unit.outwards(found[0])
                return _point(landscape, place), np.concatenate([*curve, place[None]])
        duration = 3 / abs(eigenvalues[0])
        if piece < 400:  # where one side is far steeper than the way, longer pieces follow
            duration = min(duration, 100 / np.abs(eigenvalues).max())
        way = solve_ivp(
            lambda t, y: -landscape.gradient(*y),
            (0, duration),
            point,
            method="LSODA",
            jac=lambda t, y: -landscape.hessian(*y),
            rtol=1e-8,
            atol=1e-10 * _width(landscape),
            events=room,
        ).y.T
        curve.append(way[1:])
        point = way[-1]
        if room(0, point) < 1e-9:
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
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.nan_to_num(-0.3 * landscape.gradient(*string.T) / stiffness)
            size = np.linalg.norm(step, axis=1, keepdims=True)
            length = _arc(string)[-1]
            step *= np.minimum(1, 0.2 * length / images / size)
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
    height, unit = landscape.value(*string.T), InBox(landscape)
    tops = np.flatnonzero((height[1:-1] > height[:-2]) & (height[1:-1] > height[2:])) + 1
    found, settled = unit.newton(unit.inwards(string[tops]))
    places = [
        _point(landscape, unit.outwards(u)) if done else None
        for u, done in zip(found, settled, strict=True)
    ]
    for point, near in zip(places, string[tops], strict=True):
        if point is None or point.index != 1:
            raise ArithmeticError(
                f"the top of a path must be near a saddle of index 1, got {near} and {point!r}; "
                f"use more than {len(string)} images"
            )
    return tuple(places)


def _point(landscape, location):
    return CriticalPoint(location, float(landscape.value(*location)), landscape.hessian(*location))


def _same(landscape, one, other):
    unit = InBox(landscape)
    return np.linalg.norm(unit.inwards(one.location) - unit.inwards(other.location)) < _SAME


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
