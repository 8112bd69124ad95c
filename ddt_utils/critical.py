r"""Where a landscape is level.

A critical point has :math:`\nabla L = 0`; its index is the number of negative eigenvalues of the
Hessian there. Minima have index 0. A saddle of index 1 is a pass: one direction leads down on both
sides, all others lead up. The paths that lead over passes are in :mod:`ddt_utils.paths`.

Every length is measured in units of the box and every energy against others of the landscape, so
a bond of 10⁻¹⁰ metres and 10⁻²⁰ joules is searched as well as one of length and energy one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from ddt_utils import _checks, _search
from ddt_utils.landscape import Landscape

_MOST = 200_000  # critical points that are written down one by one
_STARTS = 2**17


@dataclass(frozen=True, eq=False)
class CriticalPoint:
    r"""A point with :math:`\nabla L = 0` and a Hessian without zero eigenvalue.

    Args:
        location: shape (n,).
        value: the loss there.
        hessian: shape (n, n).

    Raises:
        ValueError: a place or a Hessian of another shape, or one that is not finite.

    Example:
        >>> import numpy as np
        >>> point = CriticalPoint(np.zeros(2), 0.0, np.diag([2.0, -1.0]))
        >>> point.index
        1
    """

    location: np.ndarray
    value: float
    hessian: np.ndarray

    def __post_init__(self):
        """Check the arguments."""
        n = np.size(self.location)
        _checks.array("location", self.location, shape=(n,), remedy="one number per variable")
        _checks.array("hessian", self.hessian, shape=(n, n), remedy="evaluate landscape.hessian")

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Those of the Hessian, increasing, shape (n,)."""
        return np.linalg.eigvalsh(self.hessian)

    @property
    def index(self) -> int:
        """How many eigenvalues are negative, 0 at a minimum and 1 at a pass between two valleys."""
        return int(np.count_nonzero(self.eigenvalues < 0))

    def __repr__(self):
        """The point in one line."""
        place = ", ".join(f"{x:.6g}" for x in self.location)
        return f"CriticalPoint([{place}], value={self.value:.6g}, index={self.index})"


def critical_points(
    landscape: Landscape, *, index: int | None = None, seeds: int = 1024
) -> list[CriticalPoint]:
    r"""The critical points in the box of the landscape, by index and then by loss.

    Variables that neither the Hessian nor a condition couples are searched apart and combined, so
    that the :math:`3^{10}` critical points of a ten-dimensional sum cost ten searches on a line. On
    a line a polynomial is solved by exact isolation of its real roots, any other loss by the sign
    changes of L′ on 4001 points, and on four times as many until no more appear; a well that is
    narrower than 1/16,000 of the box may lie between the points and is then not found. In more
    dimensions Newton's method starts from a Sobol sequence of points; it finds what it reaches, so
    a rugged landscape needs more seeds. A start from which it meets a place without derivatives is
    given up.

    Where the slope jumps there is no Hessian. On a line such a minimum or crest is refused; in more
    dimensions the lowest places are looked at without derivatives, and a warning tells of a minimum
    in a kink, and of a kink in which the mean slope is zero; they are not listed.

    Args:
        landscape: the loss.
        index: only points of this index; all by default.
        seeds: starts of the search in more than one dimension, rounded up to a power of two.

    Returns:
        The points, each with its Hessian.

    Raises:
        ValueError: a Hessian has a zero or infinite eigenvalue or does not exist (a flat point, a
            continuum of minima, a kink), so that the index is not described; no start is left; a
            line with more extremes than can be told apart; or more than 200,000 points.

    Example:
        >>> from ddt_utils import catalog
        >>> [point.index for point in critical_points(catalog.quartic())]
        [0, 0, 1]
    """
    _checks.landscape(landscape)
    seeds = _checks.whole(
        "seeds", seeds, least=1, most=_STARTS, remedy="a search starts somewhere; try 1024"
    )
    if index is not None:
        index = _checks.whole("index", index, remedy="0 for minima, 1 for passes, None for all")
    blocks = [_search.search(part, seeds, index) for part in _search.parts(landscape)]
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
    order = np.argsort([landscape.variables.index(v) for b in _search.groups(landscape) for v in b])
    locations = np.array([np.concatenate(places) for places in chosen])[:, order]
    values = landscape.value(*locations.T)
    hessians = landscape.hessian(*locations.T)
    points = [CriticalPoint(*p) for p in zip(locations, values, hessians, strict=True)]
    span = np.ptp(values) or 1.0
    unit = _search.InBox(landscape)

    def rank(point):
        height = np.round((point.value - values.min()) / span, 9)
        return point.index, height, *np.round(unit.inwards(point.location), 9)

    return sorted(points, key=rank)


def minima(landscape: Landscape, *, seeds: int = 1024) -> list[CriticalPoint]:
    """The minima in the box, the deepest first.

    Args:
        landscape: the loss.
        seeds: as for :func:`critical_points`.

    Returns:
        Its critical points of index 0.

    Example:
        >>> from ddt_utils import catalog
        >>> [float(p.location[0].round(6)) for p in minima(catalog.quartic())]
        [-1.0, 1.0]
    """
    return critical_points(landscape, index=0, seeds=seeds)


def saddles(landscape: Landscape, *, seeds: int = 1024) -> list[CriticalPoint]:
    """The saddles of index 1 in the box, the lowest first.

    Args:
        landscape: the loss.
        seeds: as for :func:`critical_points`.

    Returns:
        Its critical points of index 1.

    Example:
        >>> from ddt_utils import catalog
        >>> [float(p.value.round(1)) for p in saddles(catalog.mueller_brown())]
        [-72.2, -40.7]
    """
    return critical_points(landscape, index=1, seeds=seeds)


def escape_direction(saddle: CriticalPoint) -> np.ndarray:
    """The unit eigenvector of the one negative eigenvalue, its largest component positive.

    Args:
        saddle: a critical point of index 1.

    Returns:
        Shape (n,).

    Raises:
        ValueError: the point is not a saddle of index 1.

    Example:
        >>> from ddt_utils import catalog
        >>> [saddle] = saddles(catalog.rotated_double_well(angle=0))
        >>> abs(escape_direction(saddle).round(6))
        array([1., 0.])
    """
    if getattr(saddle, "index", None) != 1:
        raise ValueError(
            f"an escape direction needs a saddle of index 1, got {saddle!r}; "
            "choose one of critical.saddles(landscape)"
        )
    direction = np.linalg.eigh(saddle.hessian)[1][:, 0]
    return direction * np.sign(direction[np.argmax(np.abs(direction))])
