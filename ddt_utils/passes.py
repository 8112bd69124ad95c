r"""The ways out of a network's minimum: its saddles, what lies beyond, the paths of lowest loss.

A landscape that is written down is searched by :mod:`ddt_utils.critical` and
:mod:`ddt_utils.paths`; a network's is known by its derivatives alone. A critical point is found by
Newton's method with its signs put right: in the frame of the Hessian's eigenvectors each component
of the gradient is divided by the *size* of its eigenvalue, which leads downhill in every direction,
and one sign is reversed for a saddle (eigenvector following; Cerjan and Miller, Journal of Chemical
Physics 75, 2800, 1981). A search finds what it meets: another exit may exist.

Hessians are whole, so all this is for up to some thousand parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks, _curve, _following
from ddt_utils._derivatives import derivatives, place, places
from ddt_utils.critical import CriticalPoint

_SWEEPS = 50  # of a string, between two looks at its tops


@dataclass(frozen=True, eq=False)
class Pass:
    r"""A way out of a minimum: the saddle, what lies beyond, and the path of lowest loss.

    Args:
        minimum: where it begins.
        saddle: of index 1, the highest point of the path.
        beyond: the minimum on the other side.
        up: the steepest path from the minimum to the saddle, evenly spaced, shape (k, n).
        down: the same from the saddle to the minimum beyond, shape (k, n).

    Example:
        >>> import numpy as np
        >>> from ddt_utils.critical import CriticalPoint
        >>> a, b, c = (CriticalPoint(np.array([s]), v, np.array([[h]])) for s, v, h
        ...            in ((-1.0, 0.0, 2.0), (0.0, 0.25, -1.0), (1.0, 0.0, 2.0)))
        >>> path = np.array([[-1.0], [0.0], [1.0]])
        >>> way = Pass(a, b, c, path[:2], path[1:])
        >>> way.barrier, way.direction
        (0.25, array([1.]))
    """

    minimum: CriticalPoint
    saddle: CriticalPoint
    beyond: CriticalPoint
    up: np.ndarray
    down: np.ndarray

    @property
    def barrier(self) -> float:
        """The climb from the minimum to the saddle."""
        return self.saddle.value - self.minimum.value

    @property
    def direction(self) -> np.ndarray:
        """The escape direction at the saddle, of length one, away from the minimum, shape (n,)."""
        e = np.linalg.eigh(self.saddle.hessian)[1][:, 0]
        return e * np.sign(e @ (self.down[1] - self.up[-2]))

    def __repr__(self):
        """The climb and its ends, in one line."""
        return (
            f"Pass(barrier={self.barrier:.6g}, from a loss of {self.minimum.value:.6g} to "
            f"{self.beyond.value:.6g})"
        )


def critical_points(
    model, starts, x, y, *, index: int, iterations: int = 100, longest: float = 0.3
) -> list[CriticalPoint]:
    """Minima or saddles near given places, by eigenvector following.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        starts: one place (n,) or many (R, n), after a little training, or near a minimum.
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        index: how many directions lead down: 0 for minima, 1 for passes.
        iterations: Newton steps at most.
        longest: step, a distance in θ.

    Returns:
        The different points that were reached, by loss; none, if no start came to rest; then
        train longer, or allow more iterations. A point with a zero eigenvalue is none, as in a
        continuum of minima; then break the symmetry, for most by a ``weight_decay`` of the model.
        With it weights that lead into a normalisation have no minimum; normalise inputs alone.

    Raises:
        ValueError: shapes or numbers that do not fit.

    Example:
        >>> from ddt_utils import networks
        >>> model = networks.Model(  # (w² − 1)²/2, a double well
        ...     "square", (("w", (1,)),),
        ...     lambda blocks, x: blocks["w"][..., None] ** 2 * x,
        ...     lambda out, y: (out[..., 0] - y) ** 2 / 2, (1.0,))
        >>> found = critical_points(model, [[0.8], [0.1]], [[1]], [1], index=1)
        >>> [(round(top.value, 9), top.hessian.round(6)) for top in found]
        [(0.5, array([[-2.]]))]
    """
    at, theta = derivatives(model, x, y), places("starts", model, starts)
    index = _checks.whole("index", index, most=model.size, remedy="0 for minima, 1 for passes")
    iterations = _checks.whole("iterations", iterations, least=1)
    longest = _checks.number("longest", longest, above=0, remedy="it is a distance in θ")
    found = []
    for some in theta.split(max(1, _following.ENTRIES // model.size**2)):
        for point in _following.newton(at, some, index, iterations, longest):
            if point is not None and not any(_at(point, one) for one in found):
                found.append(point)
    return sorted(found, key=lambda point: point.value)


def over(model, saddle, x, y, *, start=None, links: int = 32) -> Pass:
    """The way over a saddle, by steepest descent to both sides.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        saddle: a critical point of index 1, or a place near one.
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        start: the minimum where the way begins, if one end is that; by default the lower end is
            beyond.
        links: of each half of the path.

    Returns:
        The way; its ends are what the two descents found.

    Raises:
        ValueError: no saddle of index 1 there, or neither descent ends at ``start``.
        ArithmeticError: a descent did not come to a minimum.

    Example:
        >>> from ddt_utils import networks
        >>> model = networks.Model(  # (w² − 1)²/2, a double well
        ...     "square", (("w", (1,)),),
        ...     lambda blocks, x: blocks["w"][..., None] ** 2 * x,
        ...     lambda out, y: (out[..., 0] - y) ** 2 / 2, (1.0,))
        >>> way = over(model, [0.1], [[1.0]], [1.0], start=[1.0])
        >>> round(way.barrier, 9), way.beyond.location.round(6), way.up.shape
        (0.5, array([-1.]), (33, 1))
    """
    at = derivatives(model, x, y)
    links = _checks.whole("links", links, least=2, remedy="a path needs a shape")
    top = _near(at, "saddle", saddle, 1)
    ends, tracks = _following.descents(at, _following.beside(top), keep=True)
    if None in ends:
        raise ArithmeticError(
            f"a descent must end at a minimum, but one from {top!r} did not come to rest; a "
            "penalty on the weights makes minima isolated"
        )
    first = int(ends[1].value > ends[0].value)
    if start is not None:
        begin = _near(at, "start", start, 0)
        if not any(_at(begin, end) for end in ends):
            raise ValueError(
                f"start must be an end of the way over {top!r}, got {begin!r}, but it joins "
                f"{ends[0]!r} and {ends[1]!r}; see exits"
            )
        first = int(not _at(begin, ends[0]))
    crest = top.location[None]
    up, down = (
        _curve.spaced(np.concatenate([crest, tracks[k], ends[k].location[None]]), links)
        for k in (first, 1 - first)
    )
    return Pass(ends[first], top, ends[1 - first], up[::-1].copy(), down)


def exits(
    model,
    minimum,
    x,
    y,
    *,
    starts,
    images: Callable | None = None,
    iterations: int = 120,
    longest: float = 0.2,
    links: int = 32,
) -> list[Pass]:
    """The passes that lead out of a minimum, as far as a search from given places meets them.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        minimum: a critical point, or its place, shape (n,).
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        starts: places near the minimum (R, n), or where short training with noise led; for a first
            look some random ones, about the size of a weight away.
        images: a function that gives all images of a point under the symmetries of the network,
            shape (n,) → (k, n), such as exchanged units. A saddle around an image of the minimum
            then counts as one around it.
        iterations: Newton steps at most.
        longest: step, a distance in θ.
        links: of each half of a path.

    Returns:
        The ways over the saddles that are joined to the minimum itself, the lowest first.

    Raises:
        ValueError: as for :func:`critical_points`, or no minimum there.

    Example:
        >>> from ddt_utils import networks
        >>> model = networks.Model(  # (w² − 1)²/2, a double well
        ...     "square", (("w", (1,)),),
        ...     lambda blocks, x: blocks["w"][..., None] ** 2 * x,
        ...     lambda out, y: (out[..., 0] - y) ** 2 / 2, (1.0,))
        >>> ways = exits(model, [1.0], [[1.0]], [1.0], starts=[[0.7], [0.2]])
        >>> [round(way.barrier, 9) for way in ways]
        [0.5]
    """
    at = derivatives(model, x, y)
    home = _near(at, "minimum", minimum, 0)
    given = dict(index=1, iterations=iterations, longest=longest)
    tops = critical_points(model, starts, x, y, **given)
    if images is not None:  # one of each height, and its images
        kinds = {f"{top.value:.7e}": top for top in tops}.values()
        around = [places("images", model, images(top.location)).numpy() for top in kinds]
        tops = critical_points(model, np.concatenate(around), x, y, **given) if kinds else []
    if not tops:
        return []
    ends, _ = _following.descents(at, np.concatenate([_following.beside(top) for top in tops]))
    joined = [
        top
        for top, *both in zip(tops, ends[::2], ends[1::2], strict=True)
        if None not in both and any(_at(end, home) for end in both)
    ]
    ways = [over(model, top, x, y, start=home, links=links) for top in joined]
    return sorted(ways, key=lambda way: way.barrier)


def between(
    model, start, end, x, y, *, through=None, images: int = 24, sweeps: int = 4000, links: int = 32
) -> list[Pass]:
    """The passes over which a path of lowest loss leads from one minimum to another.

    From a minimum, and an exit that training found: a string of points slides downhill, evenly
    spaced after each step (E, Ren and Vanden-Eijnden, Journal of Chemical Physics 126, 164103,
    2007), until Newton's method from its tops finds saddles whose descents join the two ends.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        start: a minimum, or a place near one, shape (n,).
        end: another.
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        through: places (k, n) that the first guess passes, such as those of a training run; by
            default it is straight.
        images: points of the string.
        sweeps: steps of the string at most.
        links: of each half of a path.

    Returns:
        One way for each pass, in the order in which they are met.

    Raises:
        ValueError: both ends are one minimum, or one is none.
        ArithmeticError: the string found no passes that join the ends.

    Example:
        >>> from ddt_utils import networks
        >>> model = networks.Model(  # (w² − 1)²/2, a double well
        ...     "square", (("w", (1,)),),
        ...     lambda blocks, x: blocks["w"][..., None] ** 2 * x,
        ...     lambda out, y: (out[..., 0] - y) ** 2 / 2, (1.0,))
        >>> [way] = between(model, [1.1], [-0.9], [[1.0]], [1.0])
        >>> round(way.barrier, 9), way.beyond.location.round(9)
        (0.5, array([-1.]))
    """
    import torch

    at = derivatives(model, x, y)
    sweeps = _checks.whole("sweeps", sweeps, least=1)
    images = _checks.whole("images", images, least=8, remedy="a path needs a shape")
    ends = [_near(at, "start", start, 0), _near(at, "end", end, 0)]
    if _at(*ends):
        raise ValueError(
            f"start and end must be different minima, got one of loss {ends[0].value:.6g} twice; "
            "take an exit that lies in another valley"
        )
    knots = [ends[0].location[None], ends[1].location[None]]
    if through is not None:
        knots.insert(1, places("through", model, through).numpy())
    string = _curve.spaced(np.concatenate(knots), images - 1)
    for sweep in range(sweeps):
        if sweep % _SWEEPS == 0:
            inner = torch.tensor(string)
            rate = 0.5 / float(torch.linalg.eigvalsh(at.bends(inner)).abs().max())
            height = at.losses(inner).numpy()
            # the first of two equal tops, as of a pass in the middle of an even number of images
            tops = np.flatnonzero((height[1:-1] > height[:-2]) & (height[1:-1] >= height[2:])) + 1
            ways = _joined(model, x, y, ends, string[tops], links)
            if ways is not None:
                return ways
        string[1:-1] -= rate * at.slopes(torch.tensor(string[1:-1])).numpy()
        string = _curve.spaced(string, images - 1)
    raise ArithmeticError(
        f"passes must join {ends[0]!r} and {ends[1]!r}, but those near a string of {images} points "
        f"do not, after {sweeps} sweeps; use more images, or another first guess with through="
    )


def _joined(model, x, y, ends, tops, links):
    """The ways over the saddles near given tops, if they lead from end to end, else None."""
    here, ways = ends[0], []
    for top in tops:
        try:
            way = over(model, top, x, y, start=here, links=links)
        except (ArithmeticError, ValueError):
            return None
        ways.append(way)
        here = way.beyond
    return ways if ways and _at(here, ends[1]) else None


def _near(at, name, given, index):
    """The critical point at a given place, or close to it."""
    (found,) = _following.newton(at, place(name, at.model, given)[None], index, 50, 0.1)
    if found is None:
        raise ValueError(
            f"{name} must be a critical point of index {index}, or near one, got {given!r}; see "
            f"critical_points with index={index}"
        )
    return found


def _at(one, other):
    """Are two critical points one?"""
    return _following.same(one.location, other.location)
