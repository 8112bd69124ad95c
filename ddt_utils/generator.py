r"""The Fokker–Planck operator on a grid, in one and two dimensions.

.. math:: \partial_t P = -\nabla\cdot(b\,P) + \nabla\nabla : (D P)

in the Ito sense, with the drift :math:`b=-\nabla L` or any other, and its relatives under the other
conventions. With :math:`\Phi = -\int b_i / D_{ii}\,d\theta_i` along a grid line the current is

.. math:: J_i = -D_{ii}^{\alpha}\,e^{-\Phi}\,\partial_i(e^{\Phi} D_{ii}^{1-\alpha} P)

for a diagonal D; between two nodes it is taken as constant (Scharfetter and Gummel, IEEE
Transactions on Electron Devices 16, 64, 1969). So probability is conserved, no density turns
negative, and for constant D and :math:`b=-\nabla L` the density at rest is exp(−L/D) at the nodes.
What is computed converges as the square of the spacing, also where L has a kink or D jumps (a jump
oblique to the grid: as the spacing). A full D is split into three directions with positive weights
(``_links``), so all of this holds for it too; as a function of the state it is read in the Ito
sense, or in the isothermal one, which adds :math:`\sum_j\partial_jD_{ij}` to the drift.

This room shares nothing with the quadrature of :mod:`ddt_utils.exact` or the walkers of
:mod:`ddt_utils.simulate`; each is a check of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks
from ddt_utils._drift import Diffusion
from ddt_utils._links import links
from ddt_utils._mesh import Mesh, inside, on_nodes
from ddt_utils._operator import FokkerPlanck
from ddt_utils.limits import extrapolate
from ddt_utils.noise import convention_exponent

__all__ = [
    "DecayRates",
    "FokkerPlanck",
    "decay_rates",
    "fokker_planck",
]

_BALANCED = 1e-9  # of all differences around a ring: a sum that is zero but for rounding
_CELLS = {1: 400, 2: 80}  # of the coarsest grid that decay_rates uses


def fokker_planck(
    landscape,
    noise,
    *,
    cells,
    box=None,
    exit=None,
    drift=None,
    periodic=False,
    convention: str = "ito",
) -> FokkerPlanck:
    r"""Build the Fokker–Planck operator of a landscape and a noise on a grid.

    Args:
        landscape: in one or two dimensions; of it only the variables and the box are used if there
            is a ``drift``.
        noise: its D may depend on the state.
        cells: how many intervals each variable's side of the box has, an integer or one per
            variable. The ends of the box are nodes.
        box: one (low, high) per variable; by default the landscape's. Its sides are reflecting
            walls, so it should reach to where hardly any walker comes.
        exit: a criterion of :mod:`ddt_utils.criterion`, or a SymPy relational in the landscape's
            variables, or And/Or of such. Nodes where it holds absorb, and so do those on its edge
            (to a millionth of a spacing), whether the relational is strict or not. Where the edge
            lies on nodes the error is of second order in the spacing, elsewhere of first.
        drift: b, a tuple of SymPy expressions in the landscape's variables, one per variable, that
            takes the place of −∇L; it need not be a gradient. Where it is none, a link of length h
            acts with :math:`\tfrac{bh}2\coth\tfrac{bh}{2D}` in the place of D, so that bh/D must be
            small for a rare escape.
        periodic: True, False or one of them per variable: whether a walker that leaves by the high
            end of the box comes in by the low one. Drift and D must be the same at both; L need
            not, so that a tilted washboard can be had.
        convention: ``"ito"``, ``"stratonovich"`` or ``"isothermal"``; it decides about the noise,
            for any drift. For a full D that depends on the state ``"stratonovich"`` has no meaning,
            since it depends on the factor of D.

    Returns:
        The operator.

    Raises:
        ValueError: more than two variables, D not positive definite on the grid, a full D that
            depends on the state under a convention that does not fit it, a drift that is not finite
            or has other symbols, a periodic side that does not close, an exit that holds at no node
            or leaves fewer than four, unknown convention, or too many nodes.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> well = catalog.quartic()
        >>> (x,) = well.variables
        >>> operator = fokker_planck(well, noise.WhiteNoise(0.125), cells=400,
        ...                          box=((-3, 1),), exit=x >= 1)
        >>> time = operator.mean_first_passage_time()
        >>> round(float(time[200]), 2), float(operator.axes[0][200])
        (41.03, -1.0)
    """
    from scipy.sparse import coo_matrix

    alpha = convention_exponent(convention)
    mesh = Mesh.of(landscape, noise, cells, box, periodic)
    drift = Diffusion(landscape, noise, drift).drift
    index = np.arange(mesh.volumes.size).reshape(mesh.shape)
    rows, columns, rates = [], [], []
    for first, last, up, down in links(landscape, noise, mesh, alpha, drift):
        start, end = index[first].ravel(), index[last].ravel()
        rows += [end, start, start, end]
        columns += [start, end, start, end]
        rates += [up.ravel(), down.ravel(), -up.ravel(), -down.ravel()]
    log_weight = _log_weight(landscape, noise, mesh, drift, up, down)
    kept = inside(landscape, exit, mesh)
    volume, where = mesh.volumes.ravel(), np.flatnonzero(kept)
    rows, columns, rates = (np.concatenate(v) for v in (rows, columns, rates))
    leak = np.zeros(volume.size)
    leaving = kept.ravel()[columns] & ~kept.ravel()[rows]
    np.add.at(leak, columns[leaving], rates[leaving])
    rates = rates * volume[columns] / volume[rows]
    whole = coo_matrix((rates, (rows, columns)), (volume.size,) * 2)
    return FokkerPlanck(
        landscape,
        mesh.axes,
        mesh.volumes,
        kept,
        whole.tocsr()[where][:, where].tocsc(),
        leak[where],
        None if log_weight is None else log_weight[where],
        mesh,
    )


def _log_weight(landscape, noise, mesh, drift, up, down):
    """The logarithm of the density in which no current flows, or None where there is none."""
    if len(mesh.axes) == 1:  # up · P · volume is the same forth and back
        bias = np.log(up) - np.log(down)
        if mesh.periodic[0]:
            if abs(bias.sum()) > _BALANCED * np.abs(bias).sum():
                return None
            bias = bias[:-1]
        return np.r_[0, np.cumsum(bias)] - np.log(mesh.volumes)
    matrix = noise.diffusion_matrix(landscape)
    even = matrix == matrix[0, 0] * matrix.eye(2) and not matrix.free_symbols
    if drift is not None or not even or not mesh.closes(landscape, (landscape.expression,))[0]:
        return None
    return (-landscape.value(*mesh.points) / float(matrix[0, 0])).ravel()


@dataclass(frozen=True)
class DecayRates:
    """Lowest decay rates, extrapolated to a vanishing spacing.

    Args:
        values: increasing, shape (count,), in units of 1/t.
        errors: how much the last extrapolation changed each (:func:`ddt_utils.limits.extrapolate`),
            what rounding may have changed and, where the edge of an exit lies between nodes of the
            coarsest grid, what one spacing of the finest changes; shape (count,).

    Example:
        >>> import numpy as np
        >>> rates = DecayRates(np.array([0.0, 0.25]), np.array([0.0, 1e-6]))
        >>> float(rates.values[1])
        0.25
    """

    values: np.ndarray
    errors: np.ndarray


def decay_rates(landscape, noise, *, count: int = 2, cells=None, **options) -> DecayRates:
    r"""The lowest eigenvalues of :math:`-\mathcal{A}^\dagger`, from three grids.

    The rates on grids of spacing h, h/2 and h/4 are combined so that the errors of order
    :math:`h^2` and :math:`h^4` cancel (Richardson). In a double well the second rate tends, as the
    noise weakens, to the sum of the two escape rates.

    Args:
        landscape: as for :func:`fokker_planck`.
        noise: as there.
        count: how many rates.
        cells: of the coarsest grid; by default 400 in one dimension, 80 by 80 in two.
        options: ``box``, ``exit``, ``drift``, ``periodic`` and ``convention``, as there.

    Returns:
        The rates, with errors.

    Raises:
        ValueError: as there; ``count`` is no whole number in range.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> rates = decay_rates(catalog.quartic(), noise.WhiteNoise(0.125))
        >>> round(float(rates.values[1]), 6)
        0.056818
    """
    _checks.landscape(landscape)
    cells = _CELLS.get(landscape.dimension, 1) if cells is None else cells
    cells = _checks.array("cells", cells)
    grids = [
        fokker_planck(landscape, noise, cells=cells * 2**level, **options) for level in range(3)
    ]
    rates, rounding = np.swapaxes([grid._rates(count) for grid in grids], 0, 1)
    limit = extrapolate([4, 2, 1], rates, powers=(2, 4))
    error, exit = limit.error + rounding.max(axis=0), options.get("exit")
    if exit is not None and not on_nodes(landscape, exit, grids[0].mesh):
        error = error + np.abs(grids[-1]._shrunk()._rates(count)[0] - rates[-1])
    return DecayRates(limit.value, error)
