r"""How walkers go from one set to another: committors, reactive current, rate.

In a long run a walker visits two sets A and B again and again. Of each moment one may ask whether
it will reach B before A, with the probability :math:`q^+(\theta)`, the forward committor, and
whether it was in A after B, with the probability :math:`q^-(\theta)`, the backward one. With the
generator :math:`\mathcal A` and that of the same process watched backwards in time,
:math:`\tilde{\mathcal A}f=P^{-1}\mathcal A^\dagger(Pf)` with the stationary density P,

.. math:: \mathcal A\,q^+ = 0, \quad q^+|_A = 0, \quad q^+|_B = 1,

.. math:: \tilde{\mathcal A}\,q^- = 0, \quad q^-|_A = 1, \quad q^-|_B = 0.

Without circulating currents, as for :math:`b=-\nabla L` and the same D everywhere,
:math:`q^-=1-q^+`. The pieces of the run that go from A to B make the *reactive* current, in the Ito
sense

.. math:: J_{AB} = q^+q^-J + P D\,(q^-\nabla q^+ - q^+\nabla q^-),

with J the stationary current. It has no sources outside A and B, and its flux through any surface
that divides them is the number :math:`\nu` of transitions per unit of time (E and Vanden-Eijnden,
Journal of Statistical Physics 123, 503, 2006). All of it is computed for the walk between the nodes
of a grid (:mod:`ddt_utils.generator`), for which the theory is exact (Metzner, Schütte and
Vanden-Eijnden, Multiscale Modeling and Simulation 7, 1192, 2009): the flux is the same through
every surface but for rounding, and all numbers converge as the grid's do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ddt_utils import _checks
from ddt_utils._mesh import holding, on_nodes
from ddt_utils._operator import FokkerPlanck
from ddt_utils._rates import require_quick, solver
from ddt_utils.generator import fokker_planck
from ddt_utils.limits import Limit, extrapolate

__all__ = ["TransitionPaths", "probability_current", "transition_paths", "transition_rate"]


@dataclass(frozen=True, eq=False)
class TransitionPaths:
    r"""The transitions from a source A to a target B; :func:`transition_paths` finds them.

    Args:
        operator: whose walkers they are.
        source: the nodes of A, a mask of the grid's shape.
        target: the nodes of B.
        forward: :math:`q^+` at the nodes, shape of the grid.
        backward: :math:`q^-`; where currents circulate and the stationary density is zero in double
            precision it is unknown, nan.
        stationary: the stationary density P.
        flows: sparse (nodes, nodes); entry (i, j) counts how often a transition goes from node j to
            node i, per unit of time.

    Example:
        >>> from ddt_utils import catalog, generator, noise
        >>> well, kick = catalog.quartic(), noise.WhiteNoise(0.125)
        >>> (x,) = well.variables
        >>> grid = generator.fokker_planck(well, kick, cells=400)
        >>> found = transition_paths(grid, source=x <= -1, target=x >= 1)
        >>> found.forward[[100, 200, 250]].round(3)  # at −1, 0 and 1/2
        array([0.   , 0.5  , 0.886])

        The two sides are alike, so half of all time was A visited last; the current is the same
        everywhere between the sets.

        >>> round(found.share, 9), round(found.leaving_rate / found.rate, 9)
        (0.5, 2.0)
        >>> round(found.returning_rate / found.leaving_rate, 9)
        1.0
        >>> (found.current[0, [150, 200, 250]] / found.rate).round(6)
        array([1., 1., 1.])
        >>> round(found.duration, 2)
        3.27
        >>> whole = grid.average(1, found.reactive_density)
        >>> round(whole / found.rate / found.duration, 9)
        1.0
    """

    operator: FokkerPlanck
    source: np.ndarray
    target: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    stationary: np.ndarray
    flows: object

    @property
    def rate(self) -> float:
        r"""How many transitions from A to B there are per unit of time, :math:`\nu`.

        As many go back: it is one over the mean time of a round trip.
        """
        return float(self.flows[:, np.flatnonzero(self.source)].sum())

    @property
    def share(self) -> float:
        """The part of all time in which A was visited more recently than B."""
        last = np.where(self.target, 0.0, np.nan_to_num(self.backward))
        return self.operator.average(last, self.stationary)

    @property
    def leaving_rate(self) -> float:
        r"""One over the mean time from the first arrival in A to the next one in B."""
        return self.rate / self.share

    @property
    def returning_rate(self) -> float:
        """One over the mean time from the first arrival in B to the next one in A."""
        last = 1 - np.nan_to_num(self.backward, nan=1.0)
        return self.rate / self.operator.average(last, self.stationary)

    @property
    def reactive_density(self) -> np.ndarray:
        r"""Where walkers on their way from A to B are, :math:`P\,q^+q^-`; shape of the grid.

        Its integral is the part of all time that is spent on the way, not one.
        """
        return self.stationary * self.forward * np.nan_to_num(self.backward)

    @property
    def duration(self) -> float:
        """How long a transition takes on average, from the last moment in A to the first in B."""
        return self.operator.average(1, self.reactive_density) / self.rate

    @property
    def current(self) -> np.ndarray:
        r"""The reactive current :math:`J_{AB}` at the nodes, shape (variables, …).

        On the edges of A and B it is the mean of both sides.
        """
        return _field(self.operator, self.flows)

    def flux(self, condition) -> float:
        """How many more transitions leave a region than enter it, per unit of time.

        Args:
            condition: what holds in the region, as for
                :meth:`~ddt_utils.generator.FokkerPlanck.probability`.

        Returns:
            The flux; if A lies in the region and B outside it is :attr:`rate`, but for rounding.

        Raises:
            ValueError: no such condition.

        Example:
            >>> from ddt_utils import catalog, generator, noise
            >>> well, kick = catalog.quartic(), noise.WhiteNoise(0.125)
            >>> (x,) = well.variables
            >>> grid = generator.fokker_planck(well, kick, cells=400)
            >>> found = transition_paths(grid, source=x <= -1, target=x >= 1)
            >>> round(found.flux(x < 0.3), 6), round(found.rate, 6)
            (0.012185, 0.012185)
        """
        within = holding(self.operator.landscape, condition, self.operator.mesh).ravel()
        inner, outer = np.flatnonzero(within), np.flatnonzero(~within)
        out, back = self.flows[outer][:, inner], self.flows[inner][:, outer]
        return float(out.sum() - back.sum())


def transition_paths(operator, *, source, target) -> TransitionPaths:
    r"""The committors between two sets, and what follows from them.

    Args:
        operator: of :func:`ddt_utils.generator.fokker_planck`, without an exit.
        source: what holds in A: a SymPy relational in the landscape's variables, And/Or of such, or
            a criterion of :mod:`ddt_utils.criterion`. Nodes on its edge belong to it. Where the
            edge lies on nodes errors are of second order in the spacing, elsewhere of first.
        target: what holds in B.

    Returns:
        Committors, reactive current and rates.

    Raises:
        ValueError: an operator with an exit, a condition that holds at no node, or two that hold at
            the same, or everywhere.
        ArithmeticError: walkers wait so long elsewhere that rounding decides; see
            :meth:`~ddt_utils.generator.FokkerPlanck.mean_first_passage_time`.

    Example:
        A rotating bowl is crossed from left to right above, where it turns that way.

        >>> import sympy as sp
        >>> from ddt_utils import generator, landscape, noise
        >>> x, y = sp.symbols("x y", real=True)
        >>> bowl = landscape.Landscape(
        ...     x**2 + y**2, (x, y), name="bowl", box=((-2, 2),) * 2)
        >>> turning = (-2 * x + 3 * y, -2 * y - 3 * x)
        >>> grid = generator.fokker_planck(
        ...     bowl, noise.WhiteNoise(0.4), cells=40, drift=turning)
        >>> found = transition_paths(grid, source=x <= -1, target=x >= 1)
        >>> above, below = found.current[0, 20, [30, 10]]  # y = ±1
        >>> round(float(above), 3), round(float(below), 3)
        (0.09, -0.02)
    """
    _require_closed(operator)
    a, b = (holding(operator.landscape, c, operator.mesh) for c in (source, target))
    return _between(operator, source, target, a, b)


def _between(operator, source, target, a, b):
    """The transitions between two masks, which are called source and target."""
    for name, mask, condition in (("source", a, source), ("target", b, target)):
        if not mask.any():
            raise ValueError(
                f"{name} must hold at some node, got {condition} on {operator.mesh.box.tolist()}; "
                "use more cells or a wider box"
            )
    between = np.flatnonzero(~(a | b).ravel())
    if (a & b).any() or not between.size:
        raise ValueError(
            "source and target must have no node in common and leave some between them, got "
            f"{source} and {target}; move them apart, or use more cells"
        )
    at_a, at_b = np.flatnonzero(a), np.flatnonzero(b)
    flow = operator._flow.tocsr()
    stationary = operator.stationary()
    weight = (stationary * operator.volumes).ravel()
    solve = solver(-flow[between][:, between])
    require_quick(solve(np.ones(between.size), "T"), np.abs(flow.diagonal()).max())
    forward, last = b.ravel().astype(float), np.where(a.ravel(), weight, 0.0)
    forward[between] = solve(np.asarray(flow[at_b][:, between].sum(axis=0)).ravel(), "T")
    last[between] = solve(flow[between][:, at_a] @ weight[at_a])
    unknown = np.nan if operator.log_weight is None else 1 - forward
    backward = np.where(a.ravel(), 1.0, np.where(b.ravel(), 0.0, unknown))
    np.divide(last, weight, out=backward, where=(weight > 0) & ~(a | b).ravel())
    if not forward[flow[:, at_a].nonzero()[0]].max(initial=0.0) > 0:
        raise ArithmeticError(
            "transitions must be frequent enough for floats, but their rate is below 1e-308; raise "
            "the noise, or compare exponents with exact.potential_difference"
        )
    flows = flow.tocoo()
    apart = flows.row != flows.col
    i, j = flows.row[apart], flows.col[apart]
    amount = last[j] * flows.data[apart] * forward[i]
    return TransitionPaths(
        operator,
        a,
        b,
        forward.reshape(a.shape),
        backward.reshape(a.shape),
        stationary,
        type(flows)((amount, (i, j)), flow.shape).tocsr(),
    )


def transition_rate(landscape, noise, *, source, target, cells, **options) -> Limit:
    r"""The rate :math:`\nu` from three grids, extrapolated to a vanishing spacing.

    Args:
        landscape: as for :func:`ddt_utils.generator.fokker_planck`.
        noise: as there.
        source: what holds in A; its edge should lie on nodes of the coarsest grid, and if it does
            not, what one spacing of the finest grid changes is part of the error.
        target: what holds in B; its edge too.
        cells: of the coarsest grid; the others are twice and four times as fine.
        options: ``box``, ``drift``, ``periodic`` and ``convention``, as there.

    Returns:
        The number of transitions from A to B per unit of time, with its error
        (:func:`ddt_utils.limits.extrapolate`).

    Raises:
        ValueError: as there, and as for :func:`transition_paths`.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> well, kick = catalog.quartic(), noise.WhiteNoise(0.125)
        >>> (x,) = well.variables
        >>> found = transition_rate(
        ...     well, kick, source=x <= -1, target=x >= 1, cells=80)
        >>> round(float(found.value), 7), bool(found.error < 1e-7)
        (0.0121849, True)
    """
    cells = _checks.array("cells", cells)
    grids = [
        fokker_planck(landscape, noise, cells=cells * 2**level, **options) for level in range(3)
    ]
    found = [transition_paths(grid, source=source, target=target) for grid in grids]
    limit = extrapolate([4, 2, 1], [paths.rate for paths in found], powers=(2, 4))
    if all(on_nodes(landscape, condition, grids[0].mesh) for condition in (source, target)):
        return limit
    last = found[-1]
    links = grids[-1]._flow != 0
    wider = [(links @ mask.ravel()).reshape(mask.shape) for mask in (last.source, last.target)]
    apart = abs(_between(grids[-1], source, target, *wider).rate - last.rate)
    return replace(limit, error=limit.error + apart)


def probability_current(operator, density) -> np.ndarray:
    r"""The current of probability J, with :math:`\partial_tP=-\nabla\cdot J`.

    Of a stationary density it is what circulates: zero where the noise fits the drift.

    Args:
        operator: of :func:`ddt_utils.generator.fokker_planck`, without an exit.
        density: P, shape of the grid.

    Returns:
        J at the nodes, shape (variables, …); the mean of the currents of a node's links, so at a
        wall the normal part is that half a cell inside.

    Raises:
        ValueError: an operator with an exit, or a density of another shape.

    Example:
        A walker on a tilted ring: the current is the same everywhere.

        >>> import sympy as sp
        >>> from ddt_utils import generator, landscape, noise
        >>> x = sp.Symbol("x", real=True)
        >>> ring = landscape.Landscape(sp.cos(2 * sp.pi * x) / 7 - x / 2,
        ...                            (x,), name="ring", box=((0, 1),))
        >>> grid = generator.fokker_planck(
        ...     ring, noise.WhiteNoise(0.1), cells=200, periodic=True)
        >>> current = probability_current(grid, grid.stationary())
        >>> current.shape, current.min().round(6), current.max().round(6)
        ((1, 200), np.float64(0.267135), np.float64(0.267135))
    """
    _require_closed(operator)
    weight = (operator._density(density) * operator.volumes).ravel()
    flow = operator._flow.tocoo()
    return _field(operator, type(flow)((flow.data * weight[flow.col], (flow.row, flow.col))))


def _field(operator, flows):
    """The vector field of what goes along links: half of each belongs to either end."""
    flows = flows.tocoo()
    way = flows.data * operator.mesh.steps(flows.col, flows.row) / 2
    size = operator.inside.size
    both = [np.bincount(flows.row, w, size) + np.bincount(flows.col, w, size) for w in way]
    return np.array(both).reshape(-1, *operator.inside.shape) / operator.volumes


def _require_closed(operator):
    if not isinstance(operator, FokkerPlanck):
        raise ValueError(
            f"operator must be a FokkerPlanck, got {operator!r}; build it with "
            "generator.fokker_planck"
        )
    if not operator.inside.all():
        raise ValueError(
            "walkers must go back and forth for ever, but nodes absorb; build the operator without "
            "exit"
        )
