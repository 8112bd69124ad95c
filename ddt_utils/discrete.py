r"""Exact results for the discrete walker itself: the truth for SGD, whose step is no error.

One step of length dt takes the walker from x to

.. math:: y = x - L'(x)\,dt + \sqrt{2 D(x)\,dt}\;\xi, \qquad \xi \sim \mathcal N(0, 1),

so with :math:`p(y|x)` for the normal density of y the mean time T inside (l, u), counted in whole
steps, and the stationary density P solve

.. math:: T(x) = dt + \int_l^u p(y|x)\,T(y)\,dy,

.. math:: P(y) = \int p(y|x)\,P(x)\,dx .

With dt the learning rate this is SGD with Gaussian noise of covariance :math:`C = 2D/\eta`; with
dt small it tends to the diffusion of :mod:`ddt_utils.exact`. Both equations are solved at
Gauss–Legendre nodes (Nyström's method; where a step is shorter than the nodes are apart, T is
interpolated instead). Every result is computed again on finer panels and a wider domain and refused
if the two differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ddt_utils.exact import breakpoints

_ORDER = 16
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_ORDER)
_REACH = 8.5  # kicks beyond which a step never ends: 2e-17
_MOST = 60_000


def mean_first_passage_time(
    landscape, noise, *, step, start, lower=None, upper=None, rtol=1e-7
) -> float:
    """The mean time until the discrete walker is first seen at or beyond ``lower`` or ``upper``.

    No barrier is shifted and no crossing within a step is noticed: the overshoot is part of the
    process.

    Args:
        landscape: one-dimensional.
        noise: gives D(x), zero at single points at most. Of
            :class:`~ddt_utils.noise.MinibatchNoise` only the covariance is used; real minibatches
            have another law.
        step: dt, in units of t; for SGD the learning rate, which must be that of the noise.
        start: where the walker begins, between the ends.
        lower: absorbing end on the left, or None: none there.
        upper: absorbing end on the right, or None.
        rtol: relative difference between two refinements at which the result is accepted.

    Returns:
        The mean time in units of t, the number of steps times ``step``.

    Raises:
        ValueError: no absorbing end, a start outside, a step that is not positive or not the
            learning rate of the noise, more than one dimension.
        ArithmeticError: two refinements never agreed, because the walker is not held on the side
            without an end or because the step is too short for this method.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> well, white = catalog.quartic(), noise.WhiteNoise(0.125)
        >>> time = mean_first_passage_time(well, white, step=0.1, start=-1, upper=0)
        >>> round(time, 3)
        21.421
    """
    if lower is None and upper is None:
        raise ValueError(
            "a first passage needs an absorbing end, got lower=None and upper=None; "
            "give the point at which the walker counts as escaped"
        )
    low, high = (-np.inf if lower is None else lower), (np.inf if upper is None else upper)
    if not low < start < high:
        raise ValueError(f"start must lie inside ({low}, {high}), got {start}")

    def log_time(walk):
        from scipy.sparse import identity
        from scipy.sparse.linalg import splu

        matrix = (identity(walk.nodes.size) - walk.rows(walk.nodes)).tocsc()
        times = splu(matrix).solve(np.full(walk.nodes.size, float(step)))
        found = step + float((walk.rows(np.array([float(start)])) @ times)[0])
        # a matrix that is singular to rounding returns any sign
        return np.log(found) if found > 0 else np.inf

    return float(np.exp(_converge(landscape, noise, step, lower, upper, start, log_time, rtol)))


def stationary_density(landscape, noise, x, *, step, rtol=1e-6) -> np.ndarray:
    """The density in which the discrete walker comes to rest, normalised.

    Args:
        landscape: one-dimensional and confining.
        noise: as in :func:`mean_first_passage_time`.
        x: where the density is wanted, any shape.
        step: as there.
        rtol: difference between two refinements, relative to the largest density.

    Returns:
        Densities, the shape of ``x``.

    Raises:
        ValueError: as in :func:`mean_first_passage_time`.
        ArithmeticError: as there; also where valleys are joined so weakly (time scales 1e9 apart)
            that rounding decides between them.
    """
    x = np.asarray(x, dtype=float)

    kept = {}

    def density(walk):
        from scipy.sparse import identity, vstack
        from scipy.sparse.linalg import splu

        rows = walk.rows(walk.nodes)
        mass = np.ones(walk.nodes.size)
        balance = (rows.T - identity(mass.size)).tocsr()
        total = np.zeros(mass.size)
        total[-1] = 1.0
        shares = splu(vstack([balance[:-1], mass[None, :]]).tocsc()).solve(total)
        kept["density"] = (walk.density(x.ravel()) @ shares).reshape(x.shape)
        peak = kept.setdefault("peak", np.max(shares / (walk.half * _WEIGHTS).ravel()))
        lost = 1 - shares @ (rows @ mass)
        return kept["density"] / (peak if abs(lost) < rtol else np.nan)

    middle = (landscape.box[0][0] + landscape.box[0][1]) / 2
    _converge(landscape, noise, step, None, None, middle, density, rtol)
    return kept["density"]


@dataclass(frozen=True)
class _Walk:
    """The transition of one step on panels with Gauss–Legendre nodes."""

    landscape: object
    noise: object
    step: float
    edges: np.ndarray  # (panels + 1,)

    @cached_property
    def half(self):
        return np.diff(self.edges)[:, None] / 2

    @cached_property
    def nodes(self):
        return (self.edges[:-1, None] + self.half * (1 + _NODES)).ravel()

    def aim_and_kick(self, x):
        aim = x - self.step * self.landscape.derivative(x)
        return aim, _kick(self.landscape, self.noise, self.step, x)

    def rows(self, x):
        """The matrix that averages a function, given at the nodes, over a step from x."""
        from scipy.sparse import csr_matrix

        aim, kick = self.aim_and_kick(x)
        first = np.searchsorted(self.edges, aim - _REACH * kick, side="right") - 1
        last = np.searchsorted(self.edges, aim + _REACH * kick, side="left")
        panels = self.half.size
        first, last = np.clip(first, 0, panels), np.clip(last, 0, panels)
        wide = np.array([self.half[a:b].max(initial=0.0) for a, b in zip(first, last, strict=True)])
        smooth = wide <= 2.25 * kick
        counts = np.where(smooth, (last - first) * _ORDER, 0)
        i = np.repeat(np.arange(x.size), counts)
        j = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        j += np.repeat(first * _ORDER, counts)
        weight = (self.half * _WEIGHTS).ravel()[j]
        value = [weight * _normal(self.nodes[j], aim[i], kick[i])]
        rows, columns = [i], [j]
        for k in np.flatnonzero(~smooth):
            for panel in range(first[k], last[k]):
                rows.append(np.full(_ORDER, k))
                columns.append(np.arange(panel * _ORDER, (panel + 1) * _ORDER))
                value.append(self._interpolated(panel, aim[k], kick[k]))
        entries = np.concatenate(value), (np.concatenate(rows), np.concatenate(columns))
        return csr_matrix(entries, shape=(x.size, self.nodes.size))

    def _interpolated(self, panel, aim, kick):
        """Weights of a panel's nodes in the average over the steps that end in the panel."""
        low, high = self.edges[panel], self.edges[panel + 1]
        low, high = max(low, aim - _REACH * kick), min(high, aim + _REACH * kick)
        if not kick > 0:
            inside = low <= aim < high
            return self._lagrange(panel, np.array([aim]))[0] * inside
        cuts = np.linspace(low, high, int(np.ceil((high - low) / (4 * kick))) + 1)
        half = np.diff(cuts)[:, None] / 2
        y = (cuts[:-1, None] + half * (1 + _NODES)).ravel()
        weight = (half * _WEIGHTS).ravel() * _normal(y, aim, kick)
        return weight @ self._lagrange(panel, y)

    def _lagrange(self, panel, y):
        """The values at y, shape (k,), of the panel's interpolating polynomials, (k, nodes)."""
        z = (y - self.edges[panel]) / self.half[panel] - 1
        apart = z[:, None] - _NODES
        exact = np.abs(apart) < 1e-14
        terms = _BARYCENTRIC / np.where(exact, 1.0, apart)
        hit = exact.any(axis=1)
        return np.where(hit[:, None], exact, terms / terms.sum(axis=1, keepdims=True))

    def density(self, y):
        """The matrix that turns shares at the nodes into the density after a step, at y."""
        aim, kick = self.aim_and_kick(self.nodes)
        return _normal(y[:, None], aim, np.maximum(kick, 1e-300))


_BARYCENTRIC = (-1.0) ** np.arange(_ORDER) * np.sqrt((1 - _NODES**2) * _WEIGHTS)


def _normal(y, mean, width):
    return np.exp(-(((y - mean) / width) ** 2) / 2) / (np.sqrt(2 * np.pi) * width)


def _kick(landscape, noise, step, x):
    d = noise.diffusion(landscape, x)[..., 0, 0]
    if not np.all(d >= 0):
        raise ValueError(f"D must not be negative, got {np.min(d):.3g}")
    return np.sqrt(2 * step * d)


def _converge(landscape, noise, step, lower, upper, start, quantity, rtol):
    """The quantity on ever finer panels and ever wider domains, until two agree to rtol."""
    if landscape.dimension != 1:
        raise ValueError(
            f"the discrete walker needs one dimension, {landscape.name} has {landscape.dimension}; "
            "use simulate.first_passage"
        )
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, got {step}")
    eta = getattr(noise, "learning_rate", None)
    if eta is not None and not np.isclose(float(eta), float(step)):
        raise ValueError(
            f"the step of SGD is its learning rate, got step {step} and a noise with {eta}"
        )
    previous, difference = None, np.inf
    for climb, panel in ((45, 4.0), (65, 3.2), (95, 2.4), (140, 1.7), (200, 1.2)):
        edges = _edges(landscape, noise, step, lower, upper, start, climb, panel)
        if (edges.size - 1) * _ORDER > _MOST:
            break
        value = quantity(_Walk(landscape, noise, float(step), edges))
        if previous is not None:
            difference = np.max(np.abs(value - previous))
            if difference <= rtol:
                return value
        previous = value
    raise ArithmeticError(
        f"two refinements must agree to rtol = {rtol:g}, but differ by {difference:.2g}; is the "
        "walker held on the side without an end, is a step of "
        f"{step} short enough for the curvature there, and long enough for this method?"
    )


def _edges(landscape, noise, step, lower, upper, start, climb, panel):
    """Panels of so many kicks, closed at breakpoints; open sides end after a climb of Φ."""
    low = _cut(landscape, noise, step, start, -1, climb) if lower is None else float(lower)
    high = _cut(landscape, noise, step, start, +1, climb) if upper is None else float(upper)
    grid = np.linspace(low, high, 4001)
    stops = np.unique([low, high, *breakpoints(landscape, noise, grid)])
    stops = stops[np.r_[True, np.diff(stops) > 1e-12 * (high - low)]]
    kick = _kick(landscape, noise, step, grid)
    floor = 0.05 * np.median(kick)
    edges = [low]
    for a, b in zip(stops[:-1], stops[1:], strict=True):
        inside = kick[(grid > a) & (grid < b)]
        middle = _kick(landscape, noise, step, np.array([(a + b) / 2]))
        length = panel * max(np.min(np.r_[inside, middle]), floor)
        edges += list(np.linspace(a, b, int(np.ceil((b - a) / length)) + 1)[1:])
    return np.array(edges)


def _cut(landscape, noise, step, start, side, climb):
    """Where an open side ends: Φ has climbed so far above its lowest value on the way."""
    width = landscape.box[0][1] - landscape.box[0][0]
    edge = landscape.box[0][0 if side < 0 else 1]
    edge = min(edge, start) if side < 0 else max(edge, start)
    fine = side * width / 400
    lowest, potential = 0.0, 0.0
    for part in range(10):
        places = edge + fine * (400 * part + np.arange(400) + 0.5)
        kick = np.maximum(_kick(landscape, noise, step, places), 1e-300)
        rises = landscape.derivative(places) * fine * 2 * step / kick**2
        climbed = potential + np.cumsum(rises)
        bottoms = np.minimum.accumulate(np.r_[lowest, climbed])[1:]
        reached = np.flatnonzero(climbed - bottoms > climb)
        if reached.size:
            return places[reached[0]] + fine / 2
        lowest, potential = bottoms[-1], climbed[-1]
    raise ArithmeticError(
        f"{landscape.name} must hold the walkers on the side without an absorbing end, got a climb "
        f"of {potential - lowest:.3g} at {places[-1]:.3g}; give an absorbing end there"
    )
