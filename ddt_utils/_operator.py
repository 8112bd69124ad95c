r"""A Fokker–Planck operator on a grid and what it tells; built by :mod:`ddt_utils.generator`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ddt_utils import _checks, _rates, _shapes
from ddt_utils._mesh import share

_PATIENCE = 2e11  # products of numbers in an evolution: some minutes


@dataclass(frozen=True, eq=False)
class FokkerPlanck:
    r"""The operator in :math:`dP/dt = \mathcal{A}^\dagger P`, on a grid.

    :func:`ddt_utils.generator.fokker_planck` builds it.

    Densities are arrays of the grid's shape; they are zero where the exit holds.

    Args:
        landscape: whose operator it is.
        axes: the nodes of each variable, one increasing array per variable; of a periodic side
            without its high end, which is the low one.
        volumes: the cell that belongs to each node, half as wide at a wall; shape of the grid.
        inside: the nodes that do not absorb, a mask of the grid's shape.
        matrix: sparse (inside nodes, inside nodes); acts on densities at ``inside``.
        leak: the rate at which each inside node loses probability to the exit, shape
            (inside nodes,).
        log_weight: logarithm of the density at the inside nodes for which all currents vanish, up
            to a constant; None where there is none.
        mesh: the grid itself.

    Example:
        >>> from ddt_utils import catalog, generator, noise
        >>> well, kick = catalog.quartic(), noise.WhiteNoise(0.25)
        >>> operator = generator.fokker_planck(well, kick, cells=100)
        >>> rates = operator.decay_rates(2)
        >>> bool(abs(rates[0]) < 1e-9 < rates[1])
        True
    """

    landscape: object
    axes: tuple[np.ndarray, ...]
    volumes: np.ndarray
    inside: np.ndarray
    matrix: object
    leak: np.ndarray
    log_weight: np.ndarray | None
    mesh: object

    @property
    def points(self) -> tuple[np.ndarray, ...]:
        """The coordinates of all nodes, one array of the grid's shape per variable."""
        return tuple(np.meshgrid(*self.axes, indexing="ij"))

    @property
    def _flow(self):
        """The matrix that acts on probabilities of nodes, not densities; its columns lose only."""
        volume = self.volumes[self.inside]
        return self.matrix.multiply(volume[:, None]).multiply(1 / volume[None, :]).tocsc()

    def point_mass(self, *location) -> np.ndarray:
        """The density with all its probability at the node nearest to a location.

        Args:
            location: one coordinate per variable, inside the box and not on the exit.

        Returns:
            The density, shape of the grid.

        Raises:
            ValueError: a coordinate is no number or outside the box, or the node absorbs.
        """
        node = self.mesh.nearest(_checks.array("location", location, shape=(len(self.axes),)))
        density = np.zeros(self.inside.shape)
        density[node] = 1 / self.volumes[node]
        return self._density(density)

    def average(self, values, density) -> float:
        r"""The integral :math:`\int f P\,d\theta` of values f at the nodes over a density P.

        Args:
            values: f at :attr:`points`, or a number; broadcasts to the shape of the grid.
            density: P, shape of the grid.

        Returns:
            The integral by the rule of trapezoids.

        Raises:
            ValueError: a density of another shape; for one that is even give ``np.ones(shape)``;
                values that do not broadcast to the shape of the grid.
        """
        values, density = _checks.array("values", values), self._shaped(density)
        _shapes.require_within(density.shape, values, "give f at points, one function at a time")
        return float(np.sum(values * density * self.volumes))

    def probability(self, condition, density) -> float:
        """How much of a density lies where a condition holds: the occupation of a well.

        Args:
            condition: a SymPy relational in the landscape's variables, or And/Or of such, or a
                criterion of :mod:`ddt_utils.criterion`. A cell that its edge cuts counts in part.
            density: shape of the grid.

        Returns:
            The probability; its error is of second order in the spacing.

        Raises:
            ValueError: no such condition, or a density of another shape.

        Example:
            >>> from ddt_utils import catalog, generator, noise
            >>> well = catalog.tilted_quartic(0.1)
            >>> (x,) = well.variables
            >>> push = noise.WhiteNoise(0.125)
            >>> operator = generator.fokker_planck(well, push, cells=400)
            >>> round(operator.probability(x < 0, operator.stationary()), 3)
            0.8
        """
        condition = self.landscape.exit_condition(condition)
        return self.average(share(self.landscape, condition, self.mesh), self._density(density))

    def evolve(self, density, times) -> np.ndarray:
        r"""The density at later times, by the exponential of the matrix: no time step.

        Uniformisation: with :math:`\lambda` the largest rate in the matrix, the exponential is the
        mixture of the powers of :math:`1+\mathcal{A}^\dagger/\lambda` with Poisson weights of mean
        :math:`\lambda t`, in which every term is positive. The cost grows like :math:`\lambda t`,
        that is, like t over the square of the spacing.

        Args:
            density: at time zero, shape of the grid; zero where the exit holds.
            times: zero or positive, increasing.

        Returns:
            Densities, one grid per time, shape (len(times), …).

        Raises:
            ValueError: times that are not finite or do not increase, or are so long that the cost
                is no longer one of minutes; a density of another shape, or one on the exit.
        """
        times = _checks.array("times", times)
        waits = np.diff(np.atleast_1d(times), prepend=0.0)
        if times.ndim > 1 or not np.all(waits >= 0):
            raise ValueError(f"times must be zero or positive and increase, got {times}")
        state, result = self._density(density)[self.inside], []
        work = np.abs(self.matrix.diagonal()).max() * waits.sum() * self.matrix.nnz
        if work > _PATIENCE:
            raise ValueError(
                f"an evolution to t = {waits.sum():g} needs {work:.1g} products of numbers on this "
                "grid; use fewer cells, or for late times stationary() and decay_rates()"
            )
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

        Returns:
            The density, shape of the grid.

        Raises:
            ValueError: the grid has an exit, through which everything leaves in the end.
            ArithmeticError: currents circulate, and the way between two valleys is so rare that
                rounding, which acts as a leak of 1e-16 of the largest rate, decides between them.
        """
        if not self.inside.all():
            raise ValueError(
                "a stationary density needs a closed domain, but nodes absorb; leave out exit, or "
                "ask for slowest_density()"
            )
        if self.log_weight is not None:
            density = np.exp(self.log_weight - self.log_weight.max())
        else:
            density = _rates.rest(self._flow) / self.volumes.ravel()
        return self._on_grid(density / np.sum(density * self.volumes.ravel()))

    def slowest_density(self) -> np.ndarray:
        """The density that decays as a whole, normalised: quasi-stationary in front of an exit.

        Returns:
            The density, shape of the grid.

        Raises:
            ValueError: the grid has no exit.
            ArithmeticError: two valleys leak at so nearly the same rate that none is the slowest.
        """
        self._require_exit()
        weights, solve = self.volumes[self.inside], _rates.solver(-self.matrix)
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

        Returns:
            Times in units of t, shape of the grid. That from the node nearest to a place is
            ``operator.average(times, operator.point_mass(*place))``.

        Raises:
            ValueError: the grid has no exit.
            ArithmeticError: the time is so long that rounding, which acts as a leak of 1e-16 of the
                largest rate, would show in its fourth digit.
        """
        return self.first_passage_moments(1)[0]

    def first_passage_moments(self, count: int = 2) -> np.ndarray:
        r"""The first moments of the time to the exit: :math:`\mathcal{A}\,M_n = -n\,M_{n-1}`.

        The variance is ``moments[1] - moments[0] ** 2``.

        Args:
            count: how many moments.

        Returns:
            :math:`\langle T\rangle, \langle T^2\rangle, \dots` from every node, shape (count, …).

        Raises:
            ValueError: the grid has no exit, or ``count`` is no positive whole number.
            ArithmeticError: as for :meth:`mean_first_passage_time`.
        """
        self._require_exit()
        count = _checks.whole("count", count, least=1)
        volume = self.volumes[self.inside]  # turns densities into probabilities
        solve, moment, found = _rates.solver(-self.matrix.T), np.ones_like(volume), []
        with np.errstate(over="ignore", invalid="ignore"):
            for n in range(1, count + 1):
                moment = solve(n * volume * moment) / volume
                found.append(self._on_grid(moment))
        _rates.require_quick(found[0], np.abs(self.matrix.diagonal()).max())
        if not np.isfinite(found).all():
            raise ArithmeticError(
                f"moments must be floats, but one of the first {count} exceeds 1e308; ask for "
                "fewer, or take a shorter unit of time"
            )
        return np.array(found)

    def decay_rates(self, count: int = 2) -> np.ndarray:
        r"""The lowest eigenvalues of :math:`-\mathcal{A}^\dagger`, increasing.

        Without an exit the first is zero. In one dimension they are squared singular values of a
        bidiagonal matrix, which bisection finds to full *relative* accuracy (Demmel and Kahan, SIAM
        Journal on Scientific and Statistical Computing 11, 873, 1990). In two dimensions they are
        quotients of sums over differences, good to about the square of 1e-16 times the largest
        rate: a barrier of 40 D costs no digits. Where currents circulate, eigenvalues may be
        complex; the real parts are returned.

        Args:
            count: how many.

        Returns:
            Rates, shape (count,), in units of 1/t.

        Raises:
            ValueError: ``count`` is no whole number from 1 to the number of inside nodes less four.
        """
        return self._rates(count)[0]

    def _rates(self, count):
        """Rates, and how far rounding may have moved them."""
        most = self.matrix.shape[0] - 4
        count = _checks.whole("count", count, least=1, most=most, remedy="use more cells")
        volume = self.volumes[self.inside]
        if len(self.axes) == 1 and not self.mesh.periodic[0]:
            up = self.matrix.diagonal(-1) * volume[1:] / volume[:-1]
            down = self.matrix.diagonal(1) * volume[:-1] / volume[1:]
            rates = _rates.chain_rates(self.inside, up, down, -self.matrix.diagonal(), count)
            if not rates[int(self.inside.all()) :].all():
                raise ArithmeticError(
                    f"rates must be floats, but one of the lowest {count} is below 1e-308; raise "
                    "the noise, or compare exponents with exact.potential_difference"
                )
            return rates, 1e-13 * rates
        weight = None if self.log_weight is None else self.log_weight + np.log(volume)
        return _rates.plane_rates(self._flow, self.leak, weight, count)

    def _shrunk(self):
        """The same with an exit one node wider."""
        kept = self.leak == 0
        inside = self.inside.copy()
        inside[inside] = kept
        weight = None if self.log_weight is None else self.log_weight[kept]
        leak = np.asarray(self._flow[~kept][:, kept].sum(axis=0)).ravel()
        matrix = self.matrix[kept][:, kept].tocsc()
        return replace(self, inside=inside, matrix=matrix, leak=leak, log_weight=weight)

    def _density(self, density):
        """A density as an array, zero on the exit."""
        density = self._shaped(density)
        if density[~self.inside].any():
            raise ValueError(
                "a density must be zero where the exit holds, since probability there has already "
                "left; multiply it by operator.inside, and count what that takes away"
            )
        return density

    def _shaped(self, density):
        """A density as an array of the grid's shape."""
        density = _checks.array("density", density)
        if density.shape != self.inside.shape:
            raise ValueError(
                f"density must have the shape of the grid {self.inside.shape}, got "
                f"{density.shape}; evaluate it at operator.points"
            )
        return density

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
