r"""Panels on a line, fine enough for a landscape and its noise, and integrals on them.

The panels end where a formula changes. They are halved until bounds that hold on the *whole* panel
(:mod:`ddt_utils._enclosure`) say that :math:`\Phi = \int L'/D` and log D change by little and
smoothly within each, so a spike is found however narrow it is. Where a formula has a part whose
bounds are not known (``_enclosure.enclosable``), only its values at the nodes decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import sympy as sp

from ddt_utils._enclosure import breakpoints, enclosable, enclose
from ddt_utils.noise import Noise, convention_exponent

_ORDER = 16
NODES, WEIGHTS = np.polynomial.legendre.leggauss(_ORDER)
_STEEPEST = 6.0  # change of Φ allowed within one panel
_BENDS = 4.0  # second differences of Φ and log D allowed within one panel
_MOST = 60_000
_NARROWEST = 1e-13  # of the largest edge
_NEGLIGIBLE = 40.0  # a tail this many units of log below its peak is cut: 4e-18
_FARTHEST = 1e120
_OUTSIDE = 30.0  # boxes from the origin: an end there is blamed, not what the loss is there
_FAR = 1e9  # lengths of the first panel beyond an end: what fails there is the tail's length


class Problem:
    """Drift and noise of a line as functions of arrays, and how finely it has to be cut."""

    def __init__(self, landscape, noise, convention):
        check_line(landscape, noise, "quadrature", "use generator.fokker_planck in two, ")
        self.landscape, self.noise = landscape, noise
        self.alpha = convention_exponent(convention)
        self.formulas = _formulas(landscape, noise.diffusion_matrix(landscape)[0])

    def diffusion(self, x):
        """D at points, refused where it is not positive."""
        d = self.noise.diffusion(self.landscape, x)[..., 0, 0]
        if not np.all(d > 0):
            worst = np.argmin(np.where(np.isnan(d), -np.inf, d))
            raise ValueError(_no_noise(np.ravel(x)[worst], np.ravel(d)[worst]))
        return d

    def force(self, x):
        """Φ′ = L′/D."""
        return self.landscape.derivative(x) / self.diffusion(x)

    def breakpoints(self, low, high):
        """Extremes of L and D, and every point at which one of their formulas changes."""
        from scipy.optimize import minimize_scalar

        inside = np.clip(self.landscape.box[0], low, high)
        grid = np.unique([np.linspace(*inside, 2000), np.linspace(low, high, 2000)])
        found = breakpoints(self.landscape, self.noise, grid)
        d = self.diffusion(grid)
        for k in np.flatnonzero((d[1:-1] < d[:-2]) & (d[1:-1] < d[2:])) + 1:
            dip = minimize_scalar(
                lambda x: float(self.noise.diffusion(self.landscape, x)[0, 0]),
                bounds=(grid[k - 1], grid[k + 1]),
                method="bounded",
                options={"xatol": 1e-13},
            )
            found.append(dip.x)
        for point, lowest in zip(found, self.diffusion(np.array(found)), strict=True):
            if lowest < 1e-10 * d.max():
                raise ValueError(_no_noise(point, lowest))
        return found

    def uneven(self, edges):
        """Which panels are too long: (Φ changes by too much, Φ or D may hide something)."""
        length = np.diff(edges)
        if self.formulas is None:
            nodes = edges[:-1, None] + length[:, None] * (1 + NODES) / 2
            change = length[:, None] / 2 * (self.force(nodes) @ running_matrix().T)
            steep = ~(np.ptp(change, axis=1) <= _STEEPEST)
            return steep, length > np.ptp(edges) / 500
        inset = 1e-3 * np.minimum(_NARROWEST * np.abs(edges).max(), length)
        low, high = edges[:-1] + inset, edges[1:] - inset
        (d, most), (slope, top), *bends = (enclose(f, low, high) for f in self.formulas)
        with np.errstate(all="ignore"):
            steep = ~(length * np.maximum(-slope, top) <= _STEEPEST * d)
            hidden = ~(most <= np.exp(2) * d) | ~(length * (top - slope) <= _STEEPEST * d)
            for power, (lowest, highest) in zip((2, 2, 4, 4), bends, strict=True):
                hidden |= ~(length**power * np.maximum(-lowest, highest) <= _BENDS * d)
        return steep, hidden


@lru_cache(maxsize=128)
def _formulas(landscape, diffusion):
    """D, L′ and their second and fourth derivatives, or None where bounds are not known."""
    x, loss = landscape.variables[0], landscape.expression
    slope = landscape.gradient_expression[0]
    bends = [sp.diff(f, x, order) for order in (2, 4) for f in (loss, diffusion)]
    if not all(enclosable(f) for f in (slope, diffusion, *bends)):
        return None
    return (diffusion, slope, *bends)


@dataclass(frozen=True)
class Panels:
    """Φ, scale and speed at the nodes of every panel; arrays are (panels, nodes)."""

    problem: Problem
    edges: np.ndarray  # (panels + 1,)

    @cached_property
    def half(self):
        """Half the length of each panel, shape (panels, 1)."""
        return np.diff(self.edges)[:, None] / 2

    @cached_property
    def nodes(self):
        """The nodes of each panel."""
        return (self.edges[:-1, None] + self.edges[1:, None]) / 2 + self.half * NODES

    @cached_property
    def log_diffusion(self):
        """Log of D at the nodes."""
        return np.log(self.problem.diffusion(self.nodes))

    @cached_property
    def edge_potential(self):
        """Φ at the edges, zero at the first; shape (panels + 1,)."""
        rise = self.half[:, 0] * (self.problem.force(self.nodes) @ WEIGHTS)
        return np.concatenate([[0.0], np.cumsum(rise)])

    @cached_property
    def potential(self):
        """Φ at the nodes."""
        inside = self.half * (self.problem.force(self.nodes) @ running_matrix().T)
        return self.edge_potential[:-1, None] + inside

    @cached_property
    def log_scale(self):
        """Log of the scale density at the nodes."""
        return self.potential - self.problem.alpha * self.log_diffusion

    @cached_property
    def log_speed(self):
        """Log of the speed density at the nodes."""
        return -self.potential - (1 - self.problem.alpha) * self.log_diffusion

    def potential_at(self, x):
        """Φ at points (k,) inside the panels."""
        k = np.clip(np.searchsorted(self.edges, x) - 1, 0, self.half.size - 1)
        reach = (x - self.edges[k])[:, None] / 2
        nodes = self.edges[k, None] + reach * (1 + NODES)
        return self.edge_potential[k] + reach[:, 0] * (self.problem.force(nodes) @ WEIGHTS)

    def log_panel_integrals(self, log_f):
        """Log of the integral of f over each panel."""
        peak = log_f.max(axis=1, keepdims=True)
        return (peak + np.log(self.half * (np.exp(log_f - peak) @ WEIGHTS[:, None])))[:, 0]

    def log_integral(self, log_f, low=-np.inf, high=np.inf):
        """Log of the integral of f between two edges."""
        chosen = (self.edges[:-1] >= low) & (self.edges[1:] <= high)
        return np.logaddexp.reduce(self.log_panel_integrals(log_f)[chosen], initial=-np.inf)

    def log_from_left(self, log_f):
        """Log of the integral of f from the left end to each node, and to each edge."""
        total = np.logaddexp.accumulate(np.r_[-np.inf, self.log_panel_integrals(log_f)])
        return self._running(log_f, running_matrix(), total[:-1]), total

    def log_to_right(self, log_f):
        """Log of the integral of f from each node to the right end, and from each edge."""
        total = np.r_[self.log_panel_integrals(log_f), -np.inf][::-1]
        total = np.logaddexp.accumulate(total)[::-1]
        return self._running(log_f, WEIGHTS - running_matrix(), total[1:]), total

    def _running(self, log_f, matrix, before):
        """Log of: the integral over other panels (before) plus that within this panel."""
        peak = log_f.max(axis=1, keepdims=True)
        inside = self.half * (np.exp(log_f - peak) @ matrix.T)
        inside = np.log(np.maximum(inside, np.finfo(float).tiny))
        return np.logaddexp(before[:, None], peak + inside)


@lru_cache(maxsize=1)
def running_matrix():
    """Row i integrates the interpolant of values at the nodes from −1 to node i."""
    degree = np.arange(_ORDER)
    values = np.polynomial.legendre.legvander(NODES, _ORDER)  # P_k at the nodes
    integrals = np.empty((_ORDER, _ORDER))
    integrals[:, 0] = NODES + 1
    integrals[:, 1:] = (values[:, 2:] - values[:, :-2]) / (2 * degree[1:] + 1)
    return integrals @ ((degree[:, None] + 0.5) * values[:, :-1].T * WEIGHTS)


def converge(problem, quantity, left, right, points, rtol, *, relative=False):
    """A quantity, mostly a logarithm, on panels and on twice the panels, until both agree."""
    panels = Panels(problem, _panel_edges(problem, left, right, points))
    value, difference = quantity(panels), np.inf
    for _ in range(5):
        if len(panels.edges) > _MOST:
            break
        middle = (panels.edges[:-1] + panels.edges[1:]) / 2
        panels = Panels(problem, np.sort(np.concatenate([panels.edges, middle])))
        previous, value = value, quantity(panels)
        if np.array_equal(value, previous):
            return value
        size = np.maximum(np.abs(value), 1.0) if relative else 1.0
        difference = np.max(np.abs(value - previous) / size)
        if difference <= rtol:
            return value
    raise ArithmeticError(
        f"quadrature must settle to rtol = {rtol:g}, but two refinements differ by "
        f"{difference:.2g} with {len(panels.edges) - 1} panels; is there a kink or a jump that "
        "SymPy's Piecewise, Abs, Max or Min does not show? else raise rtol"
    )


def _panel_edges(problem, left, right, points):
    """Edges from the left to the right end, closed at breakpoints, tails cut where m vanishes."""
    low, high = problem.landscape.box[0]
    inner = [e for e in (left, right, *points) if e is not None]
    low = min([low, *inner]) if left is None else left
    high = max([high, *inner]) if right is None else right
    ends = np.unique([low, high, *points])
    found = np.unique(problem.breakpoints(low, high))
    apart = np.abs(found[:, None] - ends).min(axis=1) > 1e-12 * (high - low)
    found = found[(low < found) & (found < high) & apart]
    found = found[np.diff(found, prepend=-np.inf) > 1e-12 * (high - low)]
    try:
        edges = subdivide(problem, np.sort(np.concatenate([ends, found])))
    except ArithmeticError as error:
        box = problem.landscape.box[0]
        far = max((e for e in (left, right) if e is not None), key=abs, default=0.0)
        if abs(far) < _OUTSIDE * max(map(abs, box)):
            raise
        raise ArithmeticError(
            f"an end or a wall must be near enough for panels that follow L'/D, got {far:g} for a "
            f"box of {box}; put it nearer, or leave it out where no walker comes so far"
        ) from error
    width = (high - low) / 16
    if left is None:
        edges = np.concatenate([_tail(problem, low, -width)[:-1], edges])
    if right is None:
        edges = np.concatenate([edges, _tail(problem, high, width)[1:]])
    return edges


def subdivide(problem, edges):
    """Halve panels until none is uneven; jumps end in panels that are as narrow as can be."""
    narrow = _NARROWEST * np.abs(edges).max()
    while True:
        steep, hidden = problem.uneven(edges)
        length = np.diff(edges)
        chosen = steep | (hidden & (length > 4 * narrow))
        if not chosen.any():
            return edges
        if (length[steep] < 2 * narrow).any() or len(edges) > _MOST:
            x = edges[:-1][steep if steep.any() else chosen][0]
            raise ArithmeticError(
                f"L'/D is too steep to integrate near x = {x:.6g}, where D = "
                f"{float(problem.diffusion(x)):.3g}: the noise nearly vanishes there, or the "
                "walker starts too far up; give the noise a floor, start lower, or take a box "
                "that does not reach so far up"
            )
        edges = np.sort(np.concatenate([edges, (edges[:-1] + edges[1:])[chosen] / 2]))


def _tail(problem, edge, width):
    """Edges from an outermost point outwards, until a negligible part of ∫m is left."""
    edges, potential, peak = np.array([edge]), 0.0, -np.inf
    outwards, falls, first, last = width > 0, False, abs(width), -np.inf
    while abs(width) < _FARTHEST and potential > -1e4:
        at = edges[-1] if outwards else edges[0]
        try:
            with np.errstate(all="ignore"):
                panels = Panels(problem, subdivide(problem, np.sort([at, at + width])))
        except ArithmeticError:
            climbs = problem.force(np.array(at)) * (1 if outwards else -1) > 0
            if climbs and abs(width) < _FAR * first:
                raise  # too steeply for panels
            falls &= climbs
            break
        rise = panels.edge_potential[-1]
        origin = potential if outwards else potential - rise
        mass = panels.log_integral(panels.log_speed) - origin
        pieces = (edges, panels.edges[1:]) if outwards else (panels.edges[:-1], edges)
        edges = np.concatenate(pieces)
        if mass < peak - _NEGLIGIBLE:
            return edges
        falls, last = mass < last - 1e-6, mass
        peak, potential = max(peak, mass), potential + (rise if outwards else -rise)
        width *= 2 if abs(rise) < 16 else 1
    side = "+∞" if outwards else "−∞"
    if falls and potential > -1e4:
        raise ArithmeticError(
            f"the stationary density of {problem.landscape.name} must fall fast enough for its "
            f"tail to be summed, but towards {side} the part beyond {edges[-outwards]:.2g} is "
            f"still {np.exp(last - peak):.2g} of the largest; put a wall far out with "
            "reflecting=, or give an absorbing end there"
        )
    raise ValueError(
        f"the walkers must be held on the side without an absorbing end, but "
        f"{problem.landscape.name} lets them drift towards {side} (the "
        "stationary density has no finite integral, so the mean is infinite); give an absorbing "
        "end there, a wall with reflecting=, or a box that holds the valleys"
    )


def check_line(landscape, noise, what, remedy):
    """Refuse what is no landscape on a line, or no noise."""
    if getattr(landscape, "dimension", None) != 1:
        name = getattr(landscape, "name", repr(landscape))
        raise ValueError(
            f"{what} needs one dimension, {name} has {getattr(landscape, 'dimension', 'none')}; "
            f"{remedy}simulate.first_passage in more"
        )
    if not isinstance(noise, Noise):
        raise ValueError(
            f"noise must be a model of ddt_utils.noise, got {noise!r}; for a constant D write "
            "noise.WhiteNoise(D)"
        )


def _no_noise(x, d):
    return (
        f"diffusion must be positive on the whole domain, got D({x:.6g}) = {d:.3g}; a walker "
        "never passes a point without noise: give the noise a floor, or end the domain before"
    )
