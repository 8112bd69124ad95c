r"""Exact escape times in one dimension, by quadrature: the truth the asymptotic formulas approach.

With :math:`\Phi(x) = \int^x L'/D` and :math:`\alpha = 0, \frac12, 1` for the Ito, Stratonovich and
isothermal (Hänggi–Klimontovich) reading of the noise, the process has the scale and speed densities

.. math:: s = D^{-\alpha} e^{\Phi}, \qquad m = D^{\alpha - 1} e^{-\Phi},

and everything here is an integral over them (Gardiner, *Stochastic Methods*, section 5.5). All
integrands are positive and are summed as logarithms, so a barrier of 100 D costs neither range nor
digits. The real line is cut into panels on which :math:`\Phi` changes by a few units, with 16
Gauss–Legendre nodes each; every result is computed again on twice the panels and refused if the
two differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import sympy as sp

from ddt_utils.noise import convention_exponent

_ORDER = 16
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_ORDER)
_STEEPEST = 4.0  # change of Φ allowed within one panel
_NEGLIGIBLE = 40.0  # a tail this many units of log below its peak is cut: 4e-18
_FARTHEST = 1e120


def mean_first_passage_time(
    landscape,
    noise,
    *,
    start,
    lower=None,
    upper=None,
    reflecting=None,
    convention="ito",
    rtol=1e-10,
) -> float:
    r"""The mean time until a walker first reaches ``lower`` or ``upper``.

    With one absorbing end, here the upper one at b,

    .. math:: \tau(x) = \int_x^b s(y) \int_{-\infty}^y m(z)\, dz\, dy,

    and with two, :math:`\tau(x) = \int G(x, z)\, m(z)\, dz` with the Green's function
    :math:`G(x, z) = S(l, x \wedge z)\, S(x \vee z, u) / S(l, u)` of the scale
    :math:`S(y, z) = \int_y^z s`.

    Args:
        landscape: one-dimensional.
        noise: gives D(x), positive on the whole domain.
        start: where the walkers begin, inside the domain and not on an absorbing end.
        lower: absorbing end on the left, or None: none there.
        upper: absorbing end on the right, or None.
        reflecting: where a wall stands on the side without an absorbing end; None is no wall, and
            the landscape itself must hold the walkers.
        convention: ``"ito"``, ``"stratonovich"`` or ``"isothermal"``; they agree where D is
            constant.
        rtol: relative difference between two refinements at which the result is accepted.

    Returns:
        The mean time, in units of t.

    Raises:
        ValueError: the domain has no absorbing end, does not contain the start, or does not hold
            the walkers; D is not positive in it; unknown convention.
        ArithmeticError: two refinements never agreed to ``rtol``, or the time exceeds 1e308.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> white = noise.WhiteNoise(0.125)
        >>> round(mean_first_passage_time(catalog.quartic(), white, start=-1, upper=1), 3)
        41.034
    """
    if lower is None and upper is None:
        raise ValueError(
            "a first passage needs an absorbing end, got lower=None and upper=None; "
            "give the point at which the walker counts as escaped"
        )
    if reflecting is not None and lower is not None and upper is not None:
        raise ValueError(
            f"a wall needs a side without an absorbing end, got reflecting={reflecting} with "
            f"lower={lower} and upper={upper}; drop one of the three"
        )
    _require_inside(start, lower, upper)
    left, right = lower, upper
    if reflecting is not None:
        left, right = (reflecting, upper) if lower is None else (lower, reflecting)
        if not left <= start <= right:
            raise ValueError(
                f"start must lie between the wall and the absorbing end, got start={start}, "
                f"reflecting={reflecting}; put the wall behind the walker"
            )

    def log_time(panels):
        below = panels.right_edges <= start
        green = np.empty_like(panels.log_speed)
        if lower is None:
            green = panels.scale_to_right
            green[below] = panels.log_scale_of(~below)
        elif upper is None:
            green = panels.scale_from_left
            green[~below] = panels.log_scale_of(below)
        else:
            whole = panels.log_scale_of(np.ones_like(below))
            green[below] = panels.scale_from_left[below] + panels.log_scale_of(~below) - whole
            green[~below] = panels.scale_to_right[~below] + panels.log_scale_of(below) - whole
        return panels.log_integral(panels.log_speed + green)

    problem = _Problem(landscape, noise, convention)
    log_value = _converge(problem, log_time, left, right, (start,), rtol)
    if log_value > 709:
        raise ArithmeticError(
            f"the mean time is exp({log_value:.4g}) and no float; raise the noise, or compare "
            "escape rates by their logarithms"
        )
    return float(np.exp(log_value))


def splitting_probability(
    landscape, noise, *, start, lower, upper, convention="ito", rtol=1e-10
) -> float:
    r"""The probability to leave (lower, upper) at the upper end, :math:`S(l, x)/S(l, u)`.

    Arguments and errors are those of :func:`mean_first_passage_time`; both ends absorb.
    """
    if lower is None or upper is None:
        raise ValueError(
            f"splitting needs two absorbing ends, got lower={lower} and upper={upper}; "
            "with one end every walker leaves there"
        )
    _require_inside(start, lower, upper)

    def log_probability(panels):
        below = panels.right_edges <= start
        return panels.log_scale_of(below) - panels.log_scale_of(np.ones_like(below))

    problem = _Problem(landscape, noise, convention)
    return float(np.exp(_converge(problem, log_probability, lower, upper, (start,), rtol)))


def stationary_density(landscape, noise, x, *, convention="ito", rtol=1e-10) -> np.ndarray:
    r"""The normalised stationary density :math:`m(x)/\int m`; for constant D it is exp(−L/D)/Z.

    Args:
        landscape: one-dimensional and confining.
        noise: gives D(x).
        x: where the density is wanted, any shape; far out in a tail, where less than 1e-17 of the
            mass is left, the result is 0.
        convention: as in :func:`mean_first_passage_time`.
        rtol: as there.

    Returns:
        Densities, the shape of ``x``.
    """
    x = np.asarray(x, dtype=float)
    points = np.unique(x)
    problem = _Problem(landscape, noise, convention)

    def log_density(panels):
        inside = (points >= panels.edges[0]) & (points <= panels.edges[-1])
        z = points[inside]
        log_p = np.full(points.shape, -1e4)  # beyond the panels there is nothing: exp gives 0
        log_p[inside] = -panels.potential_at(z) - (1 - problem.alpha) * np.log(problem.diffusion(z))
        log_p[inside] -= panels.log_integral(panels.log_speed)
        return log_p

    log_p = _converge(problem, log_density, None, None, (), rtol)
    return np.exp(log_p)[np.searchsorted(points, x)]


def potential_difference(landscape, noise, *, start, end, rtol=1e-10) -> float:
    r"""The exponent of an escape, :math:`\Delta\Phi = \int_{start}^{end} L'/D\,dx`.

    From a minimum to a saddle it is the barrier in units of the noise that is met on the way,
    whatever the convention; where D is constant it is :math:`\Delta L/D`.

    Args:
        landscape: one-dimensional.
        noise: gives D(x), positive between the two points.
        start: where the climb begins.
        end: where it ends.
        rtol: difference between two refinements at which the result is accepted, relative to 1 or
            to the result, whichever is larger.

    Returns:
        :math:`\Phi(end) - \Phi(start)`, a pure number.

    Raises:
        ValueError: D is not positive on the way.
        ArithmeticError: two refinements never agreed.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> white = noise.WhiteNoise(0.125)
        >>> potential_difference(catalog.quartic(), white, start=-1, end=0)
        2.0
    """
    problem = _Problem(landscape, noise, "ito")
    low, high = min(start, end), max(start, end)
    if low == high:
        return 0.0

    def rise(panels):
        return panels.edge_potential[-1]

    found = float(_converge(problem, rise, low, high, (), rtol))
    return round(found if start < end else -found, 13)


def breakpoints(landscape, noise, grid) -> list:
    """Extremes of L, and every point at which a formula of L, its slope or D changes.

    Args:
        landscape: one-dimensional.
        noise: gives D(x).
        grid: ascending points, shape (k,); of two breakpoints between neighbours none is seen.

    Returns:
        The points, in no order.
    """
    from scipy.optimize import bisect

    found = []
    for function in _switches(landscape, noise.diffusion_matrix(landscape)[0]):

        def value(x, function=function):
            return np.broadcast_to(function(x), np.shape(x)).astype(float)

        sign = np.sign(value(grid))
        found += list(grid[sign == 0])
        for k in np.flatnonzero(sign[:-1] * sign[1:] < 0):
            found.append(bisect(value, grid[k], grid[k + 1], xtol=1e-14))
    return found


class _Problem:
    """Drift and noise as functions of arrays, and where they have kinks or extremes."""

    def __init__(self, landscape, noise, convention):
        if landscape.dimension != 1:
            raise ValueError(
                f"quadrature needs one dimension, {landscape.name} has {landscape.dimension}; "
                "use generator.fokker_planck in two, simulate.first_passage in more"
            )
        self.landscape, self.noise = landscape, noise
        self.alpha = convention_exponent(convention)

    def diffusion(self, x):
        d = self.noise.diffusion(self.landscape, x)[..., 0, 0]
        if not np.all(d > 0):
            worst = np.argmin(np.where(np.isnan(d), -np.inf, d))
            _reject_diffusion(np.ravel(x)[worst], np.ravel(d)[worst])
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
                _reject_diffusion(point, lowest)
        return found


@dataclass(frozen=True)
class _Panels:
    """Φ, scale and speed at the nodes of every panel; arrays are (panels, nodes)."""

    problem: _Problem
    edges: np.ndarray  # (panels + 1,)

    @property
    def right_edges(self):
        return self.edges[1:]

    @cached_property
    def half(self):
        return np.diff(self.edges)[:, None] / 2

    @cached_property
    def nodes(self):
        return (self.edges[:-1, None] + self.edges[1:, None]) / 2 + self.half * _NODES

    @cached_property
    def log_diffusion(self):
        return np.log(self.problem.diffusion(self.nodes))

    @cached_property
    def edge_potential(self):
        rise = self.half[:, 0] * (self.problem.force(self.nodes) @ _WEIGHTS)
        return np.concatenate([[0.0], np.cumsum(rise)])

    @cached_property
    def potential(self):
        inside = self.half * (self.problem.force(self.nodes) @ _running_matrix().T)
        return self.edge_potential[:-1, None] + inside

    @cached_property
    def log_scale(self):
        return self.potential - self.problem.alpha * self.log_diffusion

    @cached_property
    def log_speed(self):
        return -self.potential - (1 - self.problem.alpha) * self.log_diffusion

    def potential_at(self, x):
        """Φ at points (k,) inside the panels."""
        k = np.clip(np.searchsorted(self.edges, x) - 1, 0, self.half.size - 1)
        reach = (x - self.edges[k])[:, None] / 2
        nodes = self.edges[k, None] + reach * (1 + _NODES)
        return self.edge_potential[k] + reach[:, 0] * (self.problem.force(nodes) @ _WEIGHTS)

    def log_panel_integrals(self, log_f):
        peak = log_f.max(axis=1, keepdims=True)
        return (peak + np.log(self.half * (np.exp(log_f - peak) @ _WEIGHTS[:, None])))[:, 0]

    def log_integral(self, log_f):
        return np.logaddexp.reduce(self.log_panel_integrals(log_f))

    def log_scale_of(self, chosen):
        """log of the scale of the chosen panels (a mask)."""
        return np.logaddexp.reduce(self.log_panel_integrals(self.log_scale)[chosen])

    def _running(self, matrix, before):
        """log of: the integral of s over other panels (before) plus that within this panel."""
        peak = self.log_scale.max(axis=1, keepdims=True)
        inside = self.half * (np.exp(self.log_scale - peak) @ matrix.T)
        inside = np.log(np.maximum(inside, np.finfo(float).tiny))
        return np.logaddexp(before[:, None], peak + inside)

    @property
    def scale_from_left(self):
        """log of the integral of s from the left end to each node."""
        total = np.logaddexp.accumulate(self.log_panel_integrals(self.log_scale))
        return self._running(_running_matrix(), np.concatenate([[-np.inf], total[:-1]]))

    @property
    def scale_to_right(self):
        """log of the integral of s from each node to the right end."""
        total = np.logaddexp.accumulate(self.log_panel_integrals(self.log_scale)[::-1])[::-1]
        return self._running(_WEIGHTS - _running_matrix(), np.concatenate([total[1:], [-np.inf]]))


def _converge(problem, log_quantity, left, right, points, rtol):
    """log_quantity on panels and on twice the panels, until both agree to rtol."""
    panels = _Panels(problem, _panel_edges(problem, left, right, points))
    value = log_quantity(panels)
    for _ in range(5):
        middle = (panels.edges[:-1] + panels.edges[1:]) / 2
        panels = _Panels(problem, np.sort(np.concatenate([panels.edges, middle])))
        previous, value = value, log_quantity(panels)
        difference = np.max(np.abs(value - previous))
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
    stops = np.unique([low, high, *points, *problem.breakpoints(low, high)])
    stops = stops[(low <= stops) & (stops <= high)]
    apart = np.diff(stops) > 1e-12 * (high - low)
    edges = _subdivide(problem, stops[np.concatenate([[True], apart])])
    width = (high - low) / 16
    if left is None:
        edges = np.concatenate([_tail(problem, low, -width)[:-1], edges])
    if right is None:
        edges = np.concatenate([edges, _tail(problem, high, width)[1:]])
    return edges


def _subdivide(problem, edges):
    """Halve panels until Φ changes by a few units at most within each."""
    narrowest = 1e-13 * np.abs(edges).max()
    while True:
        panels = _Panels(problem, edges)
        rise = panels.half * (problem.force(panels.nodes) @ _running_matrix().T)
        steep = ~(np.ptp(rise, axis=1) <= _STEEPEST)
        if not steep.any():
            return edges
        if panels.half[steep].min() < narrowest or len(edges) > 30_000:
            x = edges[:-1][steep][0]
            raise ArithmeticError(
                f"L'/D is too steep to integrate near x = {x:.6g}, where D = "
                f"{float(problem.diffusion(x)):.3g}: the noise nearly vanishes there, or the "
                "walker starts too far up; give the noise a floor, or start lower"
            )
        edges = np.sort(np.concatenate([edges, (edges[:-1] + edges[1:])[steep] / 2]))


def _tail(problem, edge, width):
    """Edges from an outermost point outwards, until a negligible part of ∫m is left."""
    edges, potential, peak = np.array([edge]), 0.0, -np.inf
    outwards = width > 0
    while abs(width) < _FARTHEST and potential > -1e4:
        at = edges[-1] if outwards else edges[0]
        try:
            with np.errstate(all="ignore"):
                panels = _Panels(problem, _subdivide(problem, np.sort([at, at + width])))
        except ArithmeticError:
            break
        rise = panels.edge_potential[-1]
        origin = potential if outwards else potential - rise
        mass = panels.log_integral(panels.log_speed) - origin
        pieces = (edges, panels.edges[1:]) if outwards else (panels.edges[:-1], edges)
        edges = np.concatenate(pieces)
        if mass < peak - _NEGLIGIBLE:
            return edges
        peak, potential = max(peak, mass), potential + (rise if outwards else -rise)
        width *= 2 if abs(rise) < 4 * _STEEPEST else 1
    raise ValueError(
        f"the walkers must be held on the side without an absorbing end, but "
        f"{problem.landscape.name} lets them drift towards {'+∞' if outwards else '−∞'} (the "
        "stationary density has no finite integral, so the mean is infinite); give an absorbing "
        "end there, or a wall with reflecting="
    )


def _reject_diffusion(x, d):
    raise ValueError(
        f"diffusion must be positive on the whole domain, got D({x:.6g}) = {d:.3g}; a walker "
        "never passes a point without noise: give the noise a floor, or end the domain before"
    )


def _require_inside(start, left, right):
    low = -np.inf if left is None else left
    high = np.inf if right is None else right
    if not low < start < high:
        raise ValueError(
            f"start must lie strictly between the ends, got start={start} with {low} and {high}; "
            "a walker that starts at or beyond an end has already left"
        )


@lru_cache(maxsize=1)
def _running_matrix():
    """Row i integrates the interpolant of values at the nodes from −1 to node i."""
    degree = np.arange(_ORDER)
    values = np.polynomial.legendre.legvander(_NODES, _ORDER)  # P_k at the nodes
    integrals = np.empty((_ORDER, _ORDER))
    integrals[:, 0] = _NODES + 1
    integrals[:, 1:] = (values[:, 2:] - values[:, :-2]) / (2 * degree[1:] + 1)
    return integrals @ ((degree[:, None] + 0.5) * values[:, :-1].T * _WEIGHTS)


@lru_cache(maxsize=128)
def _switches(landscape, diffusion):
    """Functions whose zeros are extremes of L or D or places where a formula changes."""
    x = landscape.variables[0]
    slope = landscape.gradient_expression[0]
    formulas = [slope]
    for expression in (landscape.expression, slope, diffusion):
        for part in sp.preorder_traversal(expression):
            if isinstance(part, (sp.Abs, sp.sign, sp.Heaviside)):
                formulas.append(part.args[0])
            elif isinstance(part, (sp.Max, sp.Min)):
                formulas += [a - b for i, a in enumerate(part.args) for b in part.args[:i]]
            elif isinstance(part, sp.core.relational.Relational):
                formulas.append(part.lhs - part.rhs)
    formulas = [f for f in dict.fromkeys(formulas) if f.has(x)]
    return tuple(sp.lambdify(x, f, modules="numpy") for f in formulas)
