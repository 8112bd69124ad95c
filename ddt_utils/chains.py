r"""Exact chains: discrete walkers whose step is Gaussian once something hidden is drawn.

A walker on a line draws first which of several things happens, outcome i with probability
:math:`w_i` (a minibatch, a label, a feature), and then takes a Gaussian step,

.. math:: y = \mu_i(x) + s_i(x)\,\xi, \qquad \xi\sim\mathcal N(0,1).

With :math:`p(y|x) = \sum_i w_i\,\mathcal N(y;\mu_i,s_i^2)` the mean number of steps N to leave
(l, u) and the resting density P solve

.. math:: N(x) = 1 + \int_l^u p(y|x)\,N(y)\,dy,

.. math:: P(y) = \int p(y|x)\,P(x)\,dx .

Both are solved at Gauss–Legendre nodes (Nyström's method), by an elimination that never subtracts
(``_elimination``), so that a wait of :math:`e^{40}` steps keeps its digits. An outcome
without width, as a minibatch of given samples is, is interpolated linearly between nodes: its
errors fall slowly, and ``rtol`` says how far. Panels are shortened where a mean or a width has a
narrow feature (``_narrow``), and every result is computed again on finer panels and, on a side
without an absorbing end, in a wider box.

:mod:`ddt_utils.discrete` is the case of one outcome, whose mean and width follow a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from math import comb, factorial, prod

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils._diffusion import check_rate, expression
from ddt_utils._elimination import eliminated
from ddt_utils._expressions import derivative, require_known
from ddt_utils._landing import MOST, cut
from ddt_utils._panels import check_line
from ddt_utils._walk import normal
from ddt_utils.noise import MinibatchNoise

_BATCHES = 3000
_FINER = (1.0, 1.5, 2.2, 3.3)


@dataclass(frozen=True)
class Outcome:
    """What may happen in a step: with what probability, and where the walker then lands.

    Args:
        weight: its probability.
        mean: where the step ends on average, a formula in the chain's variable.
        width: the standard deviation of where it ends, a formula; zero if there is none.

    Raises:
        ValueError: a weight that is not positive, or what is no formula.

    Example:
        >>> x = sp.Symbol("x", real=True)
        >>> Outcome(0.25, x / 2, 0.1).mean
        x/2
    """

    weight: float
    mean: sp.Expr
    width: sp.Expr = sp.Integer(0)

    def __post_init__(self):
        """Check."""
        object.__setattr__(self, "weight", _checks.kept("weight", self.weight, above=0))
        for name in ("mean", "width"):
            found = expression(name, getattr(self, name))
            require_known(found, f"the {name} of an outcome")
            object.__setattr__(self, name, found)


@dataclass(frozen=True)
class Chain:
    """A discrete walker on a line, given by what may happen in a step.

    Args:
        outcomes: their weights sum to one.
        variable: the symbol that stands for the place.
        box: (low, high): where walkers are followed on a side without an absorbing end; what is
            beyond is put back on the edge, and a wider box must give the same.

    Raises:
        ValueError: what is no outcome, weights that do not sum to one, symbols other than the
            variable, a box that is none.

    Example:
        SGD on a parabola with labels drawn anew, ±1 with equal odds, and Gaussian noise.

        >>> x = sp.Symbol("x", real=True)
        >>> sides = [Outcome(0.5, 0.9 * x + 0.1 * s, 0.05) for s in (-1, 1)]
        >>> chain = Chain(sides, x, box=(-2, 2))
        >>> round(chain.mean_steps(start=0, upper=1), 1)
        156210.5
    """

    outcomes: Sequence[Outcome]
    variable: sp.Symbol
    box: tuple[float, float]

    def __post_init__(self):
        """Check."""
        outcomes = self.outcomes if isinstance(self.outcomes, (tuple, list)) else (self.outcomes,)
        if not all(isinstance(outcome, Outcome) for outcome in outcomes):
            raise ValueError(f"outcomes must be a list of Outcome, got {self.outcomes!r:.80}")
        object.__setattr__(self, "outcomes", tuple(outcomes))
        if not isinstance(self.variable, sp.Symbol):
            raise ValueError(
                f"variable must be a SymPy symbol, got {self.variable!r}; it stands for the place"
            )
        total = sum(outcome.weight for outcome in self.outcomes)
        if not abs(total - 1) < 1e-9:
            raise ValueError(f"the weights of all outcomes must sum to 1, got {total}; divide them")
        used = {s for o in self.outcomes for s in o.mean.free_symbols | o.width.free_symbols}
        if used - {self.variable}:
            raise ValueError(
                f"an outcome may use only {self.variable}, got also {used - {self.variable}}; "
                "give numbers for the others, or their values as outcomes of their own"
            )
        remedy = "give (low, high), two numbers"
        low, high = _checks.array("box", self.box, shape=(2,), remedy=remedy).tolist()
        if not low < high:
            raise ValueError(f"the box must have low < high, got {self.box}")
        object.__setattr__(self, "box", (low, high))

    def mean_steps(self, *, start, lower=None, upper=None, rtol=1e-8) -> float:
        """The mean number of steps until the walker is first seen at or beyond an end.

        Args:
            start: where it begins, between the ends.
            lower: absorbing end on the left, or None.
            upper: absorbing end on the right, or None.
            rtol: relative difference between two refinements that is accepted.

        Returns:
            The mean number; times the learning rate it is a time.

        Raises:
            ValueError: no absorbing end, or a start outside.
            ArithmeticError: two refinements never agreed.

        Example:
            >>> x = sp.Symbol("x", real=True)
            >>> chain = Chain([Outcome(1, 0.5 * x, 0.3)], x, box=(-2, 2))
            >>> round(chain.mean_steps(start=0, lower=-1, upper=1), 1)
            278.6
        """
        start = float(_checks.number("start", start))
        low, high = self._ends(lower, upper, start)

        def steps(grid):
            solved = eliminated(grid.matrix(grid.nodes), grid.leak(grid.nodes))
            known = solved.times(np.ones(grid.nodes.size))
            return 1 + grid.matrix(np.array([start]))[0] @ known

        return float(self._settled(steps, low, high, rtol))

    def decay_rate(self, *, lower=None, upper=None, rtol=1e-8) -> float:
        """The rate at which walkers that are still inside are lost, per step, after a long time.

        Args:
            lower: absorbing end on the left, or None.
            upper: absorbing end on the right, or None.
            rtol: as in :meth:`mean_steps`.

        Returns:
            One minus the largest eigenvalue of the step without those that it absorbs.

        Raises:
            ValueError: no absorbing end.
            ArithmeticError: two refinements never agreed, or two valleys lose walkers equally
                slowly.

        Example:
            >>> x = sp.Symbol("x", real=True)
            >>> chain = Chain([Outcome(1, 0.5 * x, 0.3)], x, box=(-2, 2))
            >>> round(1 / chain.decay_rate(lower=-1, upper=1), 1)
            277.6
        """
        low, high = self._ends(lower, upper, None)

        def rate(grid):
            solved = eliminated(grid.matrix(grid.nodes), grid.leak(grid.nodes))
            shape, before = np.ones(grid.nodes.size), np.inf
            for _ in range(500):  # the slowest is what is left after many steps backwards
                times = solved.times(shape)
                found, shape = 1 / times.max(), times / times.max()
                if abs(found - before) <= rtol / 10 * found:
                    return found
                before = found
            raise ArithmeticError(
                "one decay must be slower than all others, but after 500 iterations none was; "
                "put an absorbing end between the two valleys"
            )

        return float(self._settled(rate, low, high, rtol))

    def resting_density(self, x, *, rtol=1e-7) -> np.ndarray:
        """The density in which walkers come to rest, normalised.

        Args:
            x: where it is wanted, any shape. Every outcome needs a width: without one there is no
                density.
            rtol: difference of two refinements, relative to the largest value that is asked for.

        Returns:
            Densities, the shape of ``x``, per unit of x.

        Raises:
            ValueError: an outcome without width.
            ArithmeticError: two refinements never agreed.

        Example:
            The variance at rest is 0.09 / (1 − 0.25) = 0.12.

            >>> x = sp.Symbol("x", real=True)
            >>> chain = Chain([Outcome(1, 0.5 * x, 0.3)], x, box=(-4, 4))
            >>> float(chain.resting_density([0])[0].round(6))
            1.151647
        """
        x = _checks.array("x", x)
        if any(outcome.width == 0 for outcome in self.outcomes):
            raise ValueError(
                "every outcome needs a width for a density, got one without; give it a small one"
            )

        def density(grid):
            shares = eliminated(grid.matrix(grid.nodes), np.zeros(grid.nodes.size)).resting()
            found = np.zeros(x.size)
            for weight, mean, width in grid.outcomes(grid.nodes):
                found += weight * (normal(x.ravel()[:, None], mean, width) @ shares)
            return found

        found = self._settled(density, None, None, rtol)
        return found.reshape(x.shape)

    def _ends(self, lower, upper, start):
        if lower is None and upper is None:
            raise ValueError(
                "a first passage needs an absorbing end, got lower=None and upper=None; "
                "give the point at which the walker counts as escaped"
            )
        low = None if lower is None else float(_checks.number("lower", lower))
        high = None if upper is None else float(_checks.number("upper", upper))
        inside = (-np.inf if low is None else low), (np.inf if high is None else high)
        if start is not None and not inside[0] < start < inside[1]:
            raise ValueError(f"start must lie inside {inside}, got {start:g}")
        return low, high

    def _settled(self, quantity, lower, upper, rtol):
        """The quantity on finer panels and in wider boxes, until two agree."""
        rtol, before = _checks.number("rtol", rtol, above=0), None
        apart = np.inf
        for level, finer in enumerate(_FINER):
            grid = cut(self, lower, upper, finer, wider=0.15 * level)
            if grid is None:
                break
            found = quantity(grid)
            if before is not None:
                size = max(np.max(np.abs(found), initial=0.0), 1e-300)
                apart = np.max(np.abs(found - before), initial=0.0) / size
                if apart <= rtol:
                    return found
            before = found
        raise ArithmeticError(
            f"two refinements must agree to rtol = {rtol:g}, but differ by {apart:.2g} (at most "
            f"{MOST} nodes); is the walker held in the box, are the widths not too small beside "
            "it? outcomes without width need a larger rtol"
        )


def of(landscape, noise, *, step, box=None) -> Chain:
    """The chain of SGD with Gaussian noise, as in :mod:`ddt_utils.discrete`.

    Args:
        landscape: one-dimensional.
        noise: gives D(x).
        step: dt; for SGD the learning rate.
        box: as of :class:`Chain`; None: that of the landscape.

    Returns:
        A chain with one outcome; its mean is x − L′ dt and its width √(2 D dt).

    Raises:
        ValueError: more than one dimension, or a step that is not positive or not the learning
            rate of the noise.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> chain = of(catalog.quartic(), noise.WhiteNoise(0.125), step=0.1)
        >>> round(0.1 * chain.mean_steps(start=-1, upper=0), 3)
        21.421
    """
    step = _checks.number("step", step, above=0)
    (x,) = _line(landscape)
    check_line(landscape, noise, "a chain", "use ")
    check_rate(noise, step)
    d = noise.diffusion_matrix(landscape)[0]
    mean = x - step * landscape.gradient_expression[0]
    box = landscape.box[0] if box is None else box
    return Chain([Outcome(1.0, mean, sp.sqrt(2 * step * d))], x, box)


def minibatches(landscape, noise, *, box=None) -> Chain:
    r"""The chain of SGD with real minibatches of a few samples: every batch is an outcome.

    Args:
        landscape: one-dimensional, the mean of the sample losses.
        noise: a :class:`~ddt_utils.noise.MinibatchNoise`: the losses, η, B, with or without
            replacement.
        box: as of :class:`Chain`; None: that of the landscape.

    Returns:
        The chain, with :math:`\binom{m+B-1}{B}` outcomes without width, or :math:`\binom mB` if
        samples are not drawn twice. For most, ask it with an ``rtol`` of 1e-2 or 1e-3.

    Raises:
        ValueError: other noise, another landscape, more than one dimension, or more than 3000
            batches.

    Example:
        >>> from ddt_utils import landscape, noise
        >>> x = sp.Symbol("x", real=True)
        >>> losses = tuple((x - c) ** 2 / 2 for c in (-1, 0, 3))
        >>> mean = landscape.Landscape(
        ...     sum(losses) / 3, (x,), name="mean", box=((-2, 4),))
        >>> drawn = noise.MinibatchNoise(losses, learning_rate=1, batch_size=2)
        >>> chain = minibatches(mean, drawn)
        >>> round(chain.mean_steps(start=0.1, upper=2, rtol=1e-6), 6)
        9.0
    """
    if not isinstance(noise, MinibatchNoise):
        raise ValueError(f"noise must be a MinibatchNoise, got {noise!r:.80}; for others use of()")
    (x,) = _line(landscape)
    noise.check(landscape)
    eta, size, m = float(noise.learning_rate), noise.batch_size, len(noise.losses)
    many = comb(m + size - 1, size) if noise.replacement else comb(m, size)
    if many > _BATCHES:
        raise ValueError(
            f"at most {_BATCHES} batches are listed, got {many} of {size} from {m} samples; "
            "take fewer samples or simulate"
        )
    slopes = [derivative(loss, x) for loss in noise.losses]
    draw = combinations_with_replacement if noise.replacement else combinations
    outcomes = []
    for batch in draw(range(m), size):
        orders = factorial(size) / prod(factorial(batch.count(i)) for i in set(batch))
        weight = orders / m**size if noise.replacement else 1 / many
        outcomes.append(Outcome(weight, x - eta * sum(slopes[i] for i in batch) / size))
    return Chain(outcomes, x, landscape.box[0] if box is None else box)


def _line(landscape):
    """The variable of a landscape on a line."""
    if getattr(landscape, "dimension", None) != 1:
        raise ValueError(
            f"landscape must be a Landscape of one dimension, got {landscape!r:.80}; a chain is on "
            "a line"
        )
    return landscape.variables
