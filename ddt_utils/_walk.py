"""One step of the discrete walker on panels: averages over where it lands.

The room :mod:`ddt_utils.discrete` solves its equations with them. Panels are as short as a kick, or
as the drift in one step where the noise nearly vanishes, and bounds on whole panels
(:mod:`ddt_utils._enclosure`) see to it that no narrow feature of L or D lies between the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import sympy as sp

from ddt_utils._enclosure import breakpoints, enclosable, enclose
from ddt_utils._panels import NODES, WEIGHTS

ORDER = len(NODES)
_REACH = 8.5  # kicks beyond which a step never ends: 2e-17
MOST = 60_000  # nodes
_ENTRIES = 60_000_000  # of the matrix of one step
_KICKS = 4.0  # the longest panel
_QUIET = 0.1  # of the median kick: below it the drift counts as well


@dataclass(frozen=True)
class Walk:
    """The transition of one step on panels with Gauss–Legendre nodes.

    An absorbing end takes what lands beyond it. On an open side the panels end far up, and what
    lands beyond is put on the outermost node.
    """

    landscape: object
    noise: object
    step: float
    edges: np.ndarray  # (panels + 1,)
    open_sides: tuple[bool, bool]

    @cached_property
    def half(self):
        """Half the length of each panel, shape (panels, 1)."""
        return np.diff(self.edges)[:, None] / 2

    @cached_property
    def nodes(self):
        """All nodes, increasing, shape (nodes,)."""
        return (self.edges[:-1, None] + self.half * (1 + NODES)).ravel()

    @cached_property
    def weights(self):
        """The weight of each node in an integral, shape (nodes,)."""
        return (self.half * WEIGHTS).ravel()

    def aim_and_kick(self, x):
        """Mean and standard deviation of where a step from x ends."""
        aim = x - self.step * self.landscape.derivative(x)
        return aim, kick(self.landscape, self.noise, self.step, x)

    def outside(self, x):
        """The probabilities to land beyond the left and the right edge, each to its own digits."""
        from scipy.special import ndtr

        aim, size = self.aim_and_kick(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            left, right = (self.edges[0] - aim) / size, (aim - self.edges[-1]) / size
        left = np.where(size > 0, left, np.where(aim <= self.edges[0], np.inf, -np.inf))
        right = np.where(size > 0, right, np.where(aim >= self.edges[-1], np.inf, -np.inf))
        return ndtr(left), ndtr(right)

    def leak(self, x):
        """The probability that a step from x ends beyond an absorbing end."""
        sides = zip(self.outside(x), self.open_sides, strict=True)
        return sum(np.where(is_open, 0.0, lost) for lost, is_open in sides)

    def rows(self, x):
        """The matrix that averages a function, given at the nodes, over a step from x.

        Its rows sum to the probability not to leave by an absorbing end.

        Returns:
            Sparse, shape (points, nodes).

        Raises:
            ArithmeticError: so many nodes are reached from so many that memory would not hold them.
        """
        from scipy.sparse import csr_matrix, diags

        aim, size = self.aim_and_kick(x)
        first = np.searchsorted(self.edges, aim - _REACH * size, side="right") - 1
        last = np.searchsorted(self.edges, aim + _REACH * size, side="left")
        panels = self.half.size
        first, last = np.clip(first, 0, panels), np.clip(last, 0, panels)
        wide = np.array([self.half[a:b].max(initial=0.0) for a, b in zip(first, last, strict=True)])
        smooth = wide <= 2.25 * size
        counts = np.where(smooth, (last - first) * ORDER, 0)
        if counts.sum() > _ENTRIES:
            raise ArithmeticError(
                f"{x.size} nodes of which each reaches {counts.mean():.0f} others are too many for "
                "this method; is the noise somewhere far stronger than elsewhere? give absorbing "
                "ends nearer to the start, or use simulate.first_passage"
            )
        i = np.repeat(np.arange(x.size), counts)
        j = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        j += np.repeat(first * ORDER, counts)
        value = [self.weights[j] * normal(self.nodes[j], aim[i], size[i])]
        rows, columns = [i], [j]
        for k in np.flatnonzero(~smooth):
            for panel in range(first[k], last[k]):
                rows.append(np.full(ORDER, k))
                columns.append(np.arange(panel * ORDER, (panel + 1) * ORDER))
                value.append(self._interpolated(panel, aim[k], size[k]))
        entries = np.concatenate(value), (np.concatenate(rows), np.concatenate(columns))
        inner = csr_matrix(entries, shape=(x.size, self.nodes.size))
        left, right = self.outside(x)
        known, found = np.maximum(1 - left - right, 0.0), np.asarray(inner.sum(axis=1)).ravel()
        seen = (known > 1e-9) & (found > 1e-9)  # probability is conserved to the last digit
        inner = diags(np.where(seen, known / np.where(seen, found, 1.0), 1.0)) @ inner
        ends = [
            np.where(is_open, p, 0)
            for p, is_open in zip((left, right), self.open_sides, strict=True)
        ]
        places = np.r_[np.zeros(x.size), np.full(x.size, self.nodes.size - 1)]
        beyond = np.concatenate(ends), (np.tile(np.arange(x.size), 2), places)
        return (inner + csr_matrix(beyond, shape=inner.shape)).tocsr()

    def _interpolated(self, panel, aim, size):
        """Weights of a panel's nodes in the average over the steps that end in the panel."""
        low, high = self.edges[panel], self.edges[panel + 1]
        low, high = max(low, aim - _REACH * size), min(high, aim + _REACH * size)
        if not size > 0:
            inside = low <= aim < high
            return self._lagrange(panel, np.array([aim]))[0] * inside
        cuts = np.linspace(low, high, int(np.ceil((high - low) / (4 * size))) + 1)
        half = np.diff(cuts)[:, None] / 2
        y = (cuts[:-1, None] + half * (1 + NODES)).ravel()
        weight = (half * WEIGHTS).ravel() * normal(y, aim, size)
        return weight @ self._lagrange(panel, y)

    def _lagrange(self, panel, y):
        """The values at y, shape (k,), of the panel's interpolating polynomials, (k, nodes)."""
        z = (y - self.edges[panel]) / self.half[panel] - 1
        apart = z[:, None] - NODES
        exact = np.abs(apart) < 1e-14
        terms = _BARYCENTRIC / np.where(exact, 1.0, apart)
        hit = exact.any(axis=1)
        return np.where(hit[:, None], exact, terms / terms.sum(axis=1, keepdims=True))

    def density(self, y):
        """The matrix that turns shares at the nodes into the density after a step, at y."""
        aim, size = self.aim_and_kick(self.nodes)
        return normal(y[:, None], aim, np.maximum(size, 1e-300))


_BARYCENTRIC = (-1.0) ** np.arange(ORDER) * np.sqrt((1 - NODES**2) * WEIGHTS)


def normal(y, mean, width):
    """The normal density at y."""
    return np.exp(-(((y - mean) / width) ** 2) / 2) / (np.sqrt(2 * np.pi) * width)


def kick(landscape, noise, step, x):
    """The standard deviation of one step from x."""
    return np.sqrt(2 * step * noise.diffusion(landscape, x)[..., 0, 0])


def walk(landscape, noise, step, lower, upper, start, climb, parts):
    """The walk on panels of a few kicks, each cut into parts; open sides end after a climb of Φ.

    Returns:
        The walk.

    Raises:
        ArithmeticError: a kick is so short that too many panels are needed.
    """
    ends = [lower, upper]
    for i, side in enumerate((-1, +1)):
        if ends[i] is None:
            ends[i] = _cut(landscape, noise, step, start, side, climb, lower is upper is None)
    low, high = ends
    grid = np.linspace(low, high, 4001)
    stops = np.unique([low, high, *breakpoints(landscape, noise, grid)])
    edges = stops[np.r_[True, np.diff(stops) > 1e-12 * (high - low)]]
    typical = np.median(kick(landscape, noise, step, grid))
    formulas = _formulas(landscape, noise.diffusion_matrix(landscape)[0])
    narrow = max(1e-7 * typical, 1e-14 * np.abs(edges).max())
    while True:
        long_ = _too_long(landscape, noise, step, edges, typical, formulas)
        long_ &= np.diff(edges) > narrow
        if not long_.any():
            inner = edges[:-1, None] + np.diff(edges)[:, None] * np.arange(parts) / parts
            edges = np.r_[inner.ravel(), edges[-1]]
            return Walk(landscape, noise, step, edges, (lower is None, upper is None))
        if (edges.size + long_.sum()) * parts * ORDER > MOST:
            raise ArithmeticError(
                f"one step of {step:g} kicks the walker by {typical:.2g} only, so that {low:.3g} to"
                f" {high:.3g} needs more than {MOST} nodes; take a longer step, or "
                "exact.mean_first_passage_time, its limit of short steps"
            )
        edges = np.sort(np.concatenate([edges, (edges[:-1] + edges[1:])[long_] / 2]))


def _too_long(landscape, noise, step, edges, typical, formulas):
    """Panels longer than a few kicks, or in which the drift or the noise may hide something."""
    length = np.diff(edges)
    places = edges[:-1, None] + length[:, None] * np.linspace(0.05, 0.95, 5)
    size = kick(landscape, noise, step, places).min(axis=1)
    drift = step * np.abs(landscape.derivative(places)).max(axis=1)
    reach = np.where(size > _QUIET * typical, size, np.maximum(size, drift / 2))
    long_ = length > _KICKS * reach
    if formulas is None:
        return long_ | (length > np.ptp(edges) / 500)
    inset = 1e-4 * length
    bounds = [enclose(f, edges[:-1] + inset, edges[1:] - inset) for f in formulas]
    (least, most), (slope, top), *bends = bounds
    with np.errstate(all="ignore"):
        long_ |= ~(step * (top - slope) <= _KICKS * np.maximum(reach, length))
        loud = np.sqrt(2 * step * np.maximum(most, 0)) > length / 4
        long_ |= loud & ~((most <= np.exp(2) * least) | (length <= reach))
        for (low, high), scale in zip(bends, (reach / step, most), strict=True):
            long_ |= ~(length**2 * np.maximum(-low, high) <= _KICKS * scale)
    return long_


@lru_cache(maxsize=128)
def _formulas(landscape, diffusion):
    """D, L′ and the second derivatives of L′ and D, or None where bounds are not known."""
    x, slope = landscape.variables[0], landscape.gradient_expression[0]
    formulas = diffusion, slope, sp.diff(slope, x, 2), sp.diff(diffusion, x, 2)
    return formulas if all(enclosable(f) for f in formulas) else None


def _cut(landscape, noise, step, start, side, climb, closed):
    """Where an open side ends: Φ has climbed so far above its lowest value on the way.

    Where the noise grows so fast that Φ stays bounded, ever farther out.

    Returns:
        The place.

    Raises:
        ArithmeticError: the landscape does not rise on that side.
    """
    width = landscape.box[0][1] - landscape.box[0][0]
    edge = landscape.box[0][0 if side < 0 else 1]
    edge = min(edge, start) if side < 0 else max(edge, start)
    fine = side * width / 400
    lowest, potential = 0.0, 0.0
    for part in range(10):
        places = edge + fine * (400 * part + np.arange(400) + 0.5)
        size = np.maximum(kick(landscape, noise, step, places), 1e-300)
        rises = landscape.derivative(places) * fine * 2 * step / size**2
        climbed = potential + np.cumsum(rises)
        bottoms = np.minimum.accumulate(np.r_[lowest, climbed])[1:]
        reached = np.flatnonzero(climbed - bottoms > climb)
        if reached.size:
            return places[reached[0]] + fine / 2
        lowest, potential = bottoms[-1], climbed[-1]
    if rises[-1] > 0:
        return edge + side * 10 * width * (climb / 45) ** 2
    remedy = "take a box that holds the valley" if closed else "give an absorbing end there"
    raise ArithmeticError(
        f"{landscape.name} must hold the walkers on the side without an absorbing end, got a climb "
        f"of {potential - lowest:.3g} at {places[-1]:.3g}; {remedy}"
    )
