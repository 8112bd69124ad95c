r"""The Fokker–Planck operator on a grid, in one and two dimensions.

.. math:: \partial_t P = \nabla\cdot(P\,\nabla L) + \nabla\nabla : (D P)

for a diagonal D in the Ito sense, and its relatives under the other conventions. With
:math:`\Phi = \int \partial_i L / D_{ii}\,d\theta_i` along a grid line the current is
:math:`J_i = -D_{ii}^{\alpha}\,e^{-\Phi}\,\partial_i(e^{\Phi} D_{ii}^{1-\alpha} P)`; between two
nodes it is taken as constant (Scharfetter and Gummel, IEEE Transactions on Electron Devices 16, 64,
1969). So probability is conserved, no density turns negative, and for constant D the stationary
density is exp(−L/D) at the nodes. What is computed converges as the square of the spacing.

This room shares nothing with the quadrature of :mod:`ddt_utils.exact` or the walkers of
:mod:`ddt_utils.simulate`; each is a check of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from ddt_utils.noise import convention_exponent

_GAUSS = np.polynomial.legendre.leggauss(4)
_MOST = 2_000_000  # nodes
_CELLS = {1: 400, 2: 80}  # of the coarsest grid that decay_rates uses


@dataclass(frozen=True, eq=False)
class FokkerPlanck:
    r"""The operator in :math:`dP/dt = \mathcal{A}^\dagger P`, on a grid; see :func:`fokker_planck`.

    Densities are arrays of the grid's shape; they are zero where the exit holds.

    Args:
        axes: the nodes of each variable, one increasing array per variable.
        volumes: the cell that belongs to each node, half as wide at a wall; shape of the grid.
        inside: the nodes that do not absorb, a mask of the grid's shape.
        matrix: sparse (inside nodes, inside nodes); acts on densities at ``inside``.
        log_weight: logarithm of the density at the inside nodes for which all currents vanish, up
            to a constant; None where there is none.
    """

    axes: tuple[np.ndarray, ...]
    volumes: np.ndarray
    inside: np.ndarray
    matrix: object
    log_weight: np.ndarray | None

    @property
    def points(self) -> tuple[np.ndarray, ...]:
        """The coordinates of all nodes, one array of the grid's shape per variable."""
        return tuple(np.meshgrid(*self.axes, indexing="ij"))

    def point_mass(self, *location) -> np.ndarray:
        """The density with all its probability at the node nearest to a location."""
        pairs = zip(self.axes, location, strict=True)
        node = tuple(int(np.argmin(np.abs(axis - x))) for axis, x in pairs)
        density = np.zeros(self.inside.shape)
        density[node] = 1 / self.volumes[node]
        return density

    def average(self, values, density) -> float:
        r"""The integral :math:`\int f P\,d\theta` of values f at the nodes over a density P."""
        return float(np.sum(values * density * self.volumes))

    def evolve(self, density, times) -> np.ndarray:
        r"""The density at later times, by the exponential of the matrix: no time step.

        Uniformisation: with :math:`\lambda` the largest rate in the matrix, the exponential is the
        mixture of the powers of :math:`1+\mathcal{A}^\dagger/\lambda` with Poisson weights of mean
        :math:`\lambda t`, in which every term is positive. The cost grows like :math:`\lambda t`,
        that is, like t over the square of the spacing.

        Args:
            density: at time zero, shape of the grid.
            times: zero or positive, increasing.

        Returns:
            Densities, one grid per time, shape (len(times), …).

        Raises:
            ValueError: times that do not increase, or a density of another shape.
        """
        waits = np.diff(np.atleast_1d(np.asarray(times, dtype=float)), prepend=0.0)
        if not np.all(waits >= 0):
            raise ValueError(f"times must be zero or positive and increase, got {times}")
        if np.shape(density) != self.inside.shape:
            raise ValueError(
                f"density must have the shape of the grid {self.inside.shape}, got "
                f"{np.shape(density)}; evaluate it at operator.points"
            )
        state, result = np.asarray(density, dtype=float)[self.inside], []
        for wait in waits:
            state = self._mixed(state, wait)
            result.append(self._on_grid(state))
        return np.array(result)

    def _mixed(self, state, wait):
        """The state after a time, by uniformisation."""
        from scipy.sparse import identity
        from scipy.stats import poisson

        rate = np.abs(self.matrix.diagonal()).max()
        jump = (identity(len(state)) + self.matrix / rate).tocsr()
        mean = rate * wait
        last = int(mean + 9 * np.sqrt(mean) + 40)  # beyond it less than 1e-17 is left
        weights = poisson.pmf(np.arange(last + 1), mean)
        total = np.zeros_like(state)
        for weight in weights / weights.sum():
            total += weight * state
            state = jump @ state
        return total

    def stationary(self) -> np.ndarray:
        """The density that no longer changes, normalised.

        Raises:
            ValueError: the grid has an exit, through which everything leaves in the end.
        """
        if not self.inside.all():
            raise ValueError(
                "a stationary density needs a closed domain, but nodes absorb; leave out exit, or "
                "ask for slowest_density()"
            )
        if self.log_weight is not None:
            density = np.exp(self.log_weight - self.log_weight.max())
        else:  # the null vector, with its sum in the place of one balance
            balance = self.matrix.tolil()
            balance[0] = self.volumes.ravel()[None]
            unit = np.zeros(balance.shape[0])
            unit[0] = 1
            density = _factorised(balance)(unit)
        return self._on_grid(density / np.sum(density * self.volumes.ravel()))

    def slowest_density(self) -> np.ndarray:
        """The density that decays as a whole, normalised: quasi-stationary in front of an exit.

        Raises:
            ValueError: the grid has no exit.
            ArithmeticError: two valleys leak at so nearly the same rate that none is the slowest.
        """
        self._require_exit()
        weights, solve = self.volumes[self.inside], _factorised(-self.matrix)
        state = np.full(weights.shape, 1 / weights.sum())
        for _ in range(500):
            previous, state = state, solve(state)
            state = state / np.sum(state * weights)
            if np.abs(state - previous).max() <= 1e-11 * state.max():
                return self._on_grid(state)
        raise ArithmeticError(
            "inverse iteration must settle, but two modes decay at nearly the same rate; use an "
            "exit that leaves one valley"
        )

    def mean_first_passage_time(self) -> np.ndarray:
        r"""The mean time to the exit from every node: :math:`\mathcal{A}\,T = -1`, 0 on the exit.

        Raises:
            ValueError: the grid has no exit.
            ArithmeticError: the time is so long that rounding, which acts as a leak of 1e-16 of the
                largest rate, would show in its fourth digit.
        """
        self._require_exit()
        volume = self.volumes[self.inside]  # turns densities into probabilities
        time = _factorised(-self.matrix.T)(volume) / volume
        leak = np.finfo(float).eps * np.abs(self.matrix.diagonal()).max()
        if not 0 <= leak * np.abs(time).max() < 1e-4:
            raise ArithmeticError(
                f"rounding leaks at a rate of {leak:.1g}, too near to the escape rate; use fewer "
                "cells, decay_rates, or in one dimension exact.mean_first_passage_time"
            )
        return self._on_grid(time)

    def decay_rates(self, count: int = 2) -> np.ndarray:
        r"""The lowest eigenvalues of :math:`-\mathcal{A}^\dagger`, increasing, shape (count,).

        Without an exit the first is zero. In one dimension they are squared singular values of a
        bidiagonal matrix, which bisection finds to full *relative* accuracy (Demmel and Kahan, SIAM
        Journal on Scientific and Statistical Computing 11, 873, 1990), so that a barrier of 30 D
        costs no digits. In two dimensions a rate is good to about 1e-16 of the largest one. Where
        currents circulate, eigenvalues may be complex; the real parts are returned.
        """
        if not 1 <= count <= self.matrix.shape[0] - 2:
            raise ValueError(
                f"count must lie between 1 and {self.matrix.shape[0] - 2}, the inside nodes less "
                f"two, got {count}; use more cells"
            )
        if len(self.axes) == 1:
            return self._chain_rates(count)
        from scipy.sparse import diags
        from scipy.sparse.linalg import eigs, eigsh

        shift = -1e-13 * np.abs(self.matrix.diagonal()).max()
        start = np.ones(self.matrix.shape[0])
        if self.log_weight is None:
            found = eigs(-self.matrix, k=count, sigma=shift, v0=start, return_eigenvectors=False)
        else:
            # in detailed balance the symmetric form has the links √(a_ij a_ji)
            links = self.matrix - diags(self.matrix.diagonal())
            links = links.multiply(links.T).sqrt()
            form = (diags(-self.matrix.diagonal()) - links).tocsc()
            found = eigsh(form, k=count, sigma=shift, v0=start, return_eigenvectors=False)
        rates = np.sort(found.real)
        if self.inside.all():
            rates[0] = 0.0
        return rates

    def _chain_rates(self, count):
        """Rates of the chains between absorbing nodes, each a path of nodes and of links."""
        from scipy.linalg import eigvalsh_tridiagonal

        volume = self.volumes[self.inside]
        up = self.matrix.diagonal(-1) * volume[1:] / volume[:-1]
        down = self.matrix.diagonal(1) * volume[:-1] / volume[1:]
        lost = -self.matrix.diagonal()
        where = np.flatnonzero(self.inside)
        rates = []
        for nodes in np.split(np.arange(len(where)), np.flatnonzero(np.diff(where) > 1) + 1):
            first, last = nodes[0], nodes[-1]
            roots = np.stack([up[first:last], down[first:last]], axis=1).ravel()
            if where[first] > 0:
                roots = np.r_[lost[first] - (up[first] if first < last else 0), roots]
            if where[last] < self.inside.size - 1:
                roots = np.r_[roots, lost[last] - (down[last - 1] if first < last else 0)]
            closed = len(roots) == 2 * len(nodes) - 2
            found = eigvalsh_tridiagonal(
                np.zeros(len(roots) + 1),
                np.sqrt(roots),
                select="i",
                select_range=(
                    len(roots) + 1 - len(nodes) + closed,
                    min(len(roots), len(roots) + count - len(nodes) + closed),
                ),
                lapack_driver="stebz",
                tol=1e-290,
            )
            rates += [0.0] * closed + list(found**2)
        return np.sort(rates)[:count]

    def _require_exit(self):
        if self.inside.all():
            raise ValueError(
                "this needs an exit, got a grid without absorbing nodes; build it with "
                "fokker_planck(…, exit=x > 1)"
            )

    def _on_grid(self, inner):
        grid = np.zeros(self.inside.shape)
        grid[self.inside] = inner
        return grid


def fokker_planck(
    landscape, noise, *, cells, box=None, exit=None, convention: str = "ito"
) -> FokkerPlanck:
    r"""Build the Fokker–Planck operator of a landscape and a noise on a grid.

    Args:
        landscape: in one or two dimensions.
        noise: its D must be diagonal; it may depend on the state.
        cells: how many intervals each variable's side of the box has, an integer or one per
            variable. The ends of the box are nodes.
        box: one (low, high) per variable; by default the landscape's. Its sides are reflecting
            walls, so it should reach to where hardly any walker comes.
        exit: a criterion of :mod:`ddt_utils.criterion`, or a SymPy relational in the landscape's
            variables, or And/Or of such. Nodes where it holds absorb; where its edge lies on nodes
            the error is of second order in the spacing, elsewhere of first.
        convention: ``"ito"``, ``"stratonovich"`` or ``"isothermal"``.

    Raises:
        ValueError: more than two variables, D not diagonal or not positive on the grid, an exit
            that holds at no node or at all, unknown convention, or too many nodes.

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
    alpha = convention_exponent(convention)
    axes, spacing = _axes(landscape, cells, box)
    shape = tuple(len(axis) for axis in axes)
    points = np.meshgrid(*axes, indexing="ij")
    matrix = noise.diffusion_matrix(landscape)
    if not matrix.is_diagonal():
        raise ValueError(
            f"D must be diagonal on a grid, got a full matrix for {landscape.name}; turn the "
            "coordinates so that it is"
        )
    index = np.arange(np.prod(shape)).reshape(shape)
    widths = [np.r_[0.5, np.ones(len(a) - 2), 0.5] * h for a, h in zip(axes, spacing, strict=True)]
    volumes = widths[0] if len(axes) == 1 else np.multiply.outer(*widths)
    rows, columns, rates, log_weight = [], [], [], None
    for i, h in enumerate(spacing):
        low = tuple(slice(None, -1) if j == i else slice(None) for j in range(len(axes)))
        high = tuple(slice(1, None) if j == i else slice(None) for j in range(len(axes)))
        start, end = index[low].ravel(), index[high].ravel()
        rise, middle = _along(landscape, matrix, i, [p[low] for p in points], h)
        at_nodes = _positive(landscape, matrix[i, i], points)
        up = middle**alpha * at_nodes[low] ** (1 - alpha) * _bernoulli(rise) / h**2
        down = middle**alpha * at_nodes[high] ** (1 - alpha) * _bernoulli(-rise) / h**2
        # rates per probability; half cells at the walls exchange twice as fast
        width = np.broadcast_to(
            widths[i].reshape([-1 if j == i else 1 for j in range(len(axes))]) / h, shape
        )
        up, down = (up / width[low]).ravel(), (down / width[high]).ravel()
        rows += [end, start, start, end]
        columns += [start, end, start, end]
        rates += [up, down, -up, -down]
        if len(axes) == 1:
            log_weight = -np.r_[0, np.cumsum(rise)] - (1 - alpha) * np.log(at_nodes)
    if len(axes) > 1 and not matrix.free_symbols and len(set(matrix.diagonal())) == 1:
        log_weight = (-landscape.value(*points) / float(matrix[0, 0])).ravel()
    return _assembled(
        axes, volumes, _inside(landscape, exit, points), rows, columns, rates, log_weight
    )


@dataclass(frozen=True)
class DecayRates:
    """Lowest decay rates, extrapolated to a vanishing spacing.

    Args:
        values: increasing, shape (count,), in units of 1/t.
        errors: how much the last extrapolation changed each, shape (count,).
    """

    values: np.ndarray
    errors: np.ndarray


def decay_rates(
    landscape, noise, *, count: int = 2, cells=None, box=None, exit=None, convention: str = "ito"
) -> DecayRates:
    r"""The lowest eigenvalues of :math:`-\mathcal{A}^\dagger`, from three grids.

    The rates on grids of spacing h, h/2 and h/4 are combined so that the errors of order
    :math:`h^2` and :math:`h^4` cancel (Richardson). In a double well the second rate tends, as the
    noise weakens, to the sum of the two escape rates.

    Args:
        landscape, noise, box, exit, convention: as for :func:`fokker_planck`.
        count: how many rates.
        cells: of the coarsest grid; by default 400 in one dimension, 80 by 80 in two.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> rates = decay_rates(catalog.quartic(), noise.WhiteNoise(0.125))
        >>> round(float(rates.values[1]), 6)
        0.056818
    """
    cells = np.multiply(_CELLS.get(landscape.dimension, 1) if cells is None else cells, 1)
    table = [
        fokker_planck(
            landscape,
            noise,
            cells=cells * 2**level,
            box=box,
            exit=exit,
            convention=convention,
        ).decay_rates(count)
        for level in range(3)
    ]
    twice = [(4 * fine - coarse) / 3 for coarse, fine in zip(table, table[1:], strict=False)]
    values = (16 * twice[1] - twice[0]) / 15
    return DecayRates(values, np.abs(values - twice[1]))


def _axes(landscape, cells, box):
    """Nodes and spacing of every variable."""
    if landscape.dimension > 2:
        raise ValueError(
            f"a grid needs one or two variables, {landscape.name} has {landscape.dimension}; "
            "use simulate.first_passage"
        )
    box = np.array(landscape.box if box is None else box, dtype=float)
    counts = np.broadcast_to(np.asarray(cells), (landscape.dimension,))
    if box.shape != (landscape.dimension, 2) or not np.all(box[:, 0] < box[:, 1]):
        raise ValueError(f"box must hold one (low, high) per variable, got {box.tolist()}")
    if not (np.issubdtype(counts.dtype, np.integer) and np.all(counts >= 4)):
        raise ValueError(f"cells must be integers of at least 4, got {cells}")
    if np.prod(counts + 1.0) > _MOST:
        raise ValueError(f"a grid may have {_MOST} nodes, got {cells} cells; use fewer")
    axes = tuple(np.linspace(a, b, n + 1) for (a, b), n in zip(box, counts, strict=True))
    return axes, (box[:, 1] - box[:, 0]) / counts


def _along(landscape, matrix, i, starts, h):
    """The change of Φ from each node to the next one of variable i, and D halfway."""

    def moved(share):
        return [p + share * h * (j == i) for j, p in enumerate(starts)]

    middle = _positive(landscape, matrix[i, i], moved(0.5))
    if not matrix[i, i].free_symbols:
        return (landscape.value(*moved(1)) - landscape.value(*starts)) / middle, middle
    slope, rise = landscape.gradient_expression[i], 0.0
    for node, weight in zip(*_GAUSS, strict=True):
        at = moved((1 + node) / 2)
        force = landscape.evaluate((slope,), *at)[..., 0] / _positive(landscape, matrix[i, i], at)
        rise = rise + weight / 2 * h * force
    return rise, middle


def _positive(landscape, expression, points):
    """D at points, or an error where it is not positive."""
    values = landscape.evaluate((expression,), *points)[..., 0]
    if not np.all(values > 0):
        worst = np.unravel_index(np.argmin(values), values.shape)
        raise ValueError(
            f"diffusion must be positive on the whole grid, got {values[worst]:.3g} at "
            f"{[round(float(p[worst]), 6) for p in points]}; give the noise a floor"
        )
    return values


def _inside(landscape, exit, points):
    """The nodes that do not absorb."""
    if exit is None:
        return np.ones(points[0].shape, dtype=bool)
    exit = landscape.exit_condition(exit)
    inside = ~np.broadcast_to(sp.lambdify(landscape.variables, exit)(*points), points[0].shape)
    if inside.all() or np.count_nonzero(inside) < 4:
        raise ValueError(
            f"exit must hold at some nodes and leave others inside, got {exit} on a box from "
            f"{[float(p.min()) for p in points]} to {[float(p.max()) for p in points]}; "
            "does the box reach the exit?"
        )
    return inside


def _assembled(axes, volumes, inside, rows, columns, rates, log_weight):
    """The operator on densities, without the absorbing nodes."""
    from scipy.sparse import coo_matrix

    volume = volumes.ravel()
    rows, columns, rates = (np.concatenate(v) for v in (rows, columns, rates))
    whole = coo_matrix(
        (rates * volume[columns] / volume[rows], (rows, columns)), (volume.size,) * 2
    )
    kept = np.flatnonzero(inside)
    matrix = whole.tocsr()[kept][:, kept].tocsc()
    return FokkerPlanck(
        axes, volumes, inside, matrix, None if log_weight is None else log_weight[kept]
    )


def _bernoulli(x):
    """x / (exp(x) − 1), smooth through 0."""
    small = np.abs(x) < 1e-5
    safe = np.where(small, 1.0, np.clip(x, -700, 700))
    return np.where(small, 1 - x / 2 + x**2 / 12, safe / np.expm1(safe))


def _factorised(matrix):
    """Solve with a sparse matrix, many times."""
    from scipy.sparse.linalg import splu

    return splu(matrix.tocsc()).solve
