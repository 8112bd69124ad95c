r"""Minibatches from a law as a process for :mod:`ddt_utils.action`: its cumulants, its tails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from ddt_utils import _curve
from ddt_utils._drift import written
from ddt_utils._expressions import derivative, numpy_function
from ddt_utils._tilted import Tilted, check_rates


@dataclass(frozen=True)
class Cumulants(Tilted):
    r"""SGD with samples from a law, by its :math:`K(\theta,q)=\ln\mathbb E\,e^{-q\cdot g}`.

    Args:
        expression: K, a SymPy expression in ``variables`` and ``momenta``, convex in q and zero at
            q = 0; not real outside its domain.
        variables: θ, n symbols.
        momenta: q, n symbols.
        learning_rate: η.
        batch_size: B.
        tails: where an edge bounds the domain of K, an expression that is positive inside, zero on
            the edge; for :func:`jump_action`. None: K is finite everywhere.

    Raises:
        ValueError: other symbols, K(θ, 0) is not zero, or η, B not positive.

    Example:
        A line fitted to y = σξ without slope, features x ~ N(0, 1): E exp(−q g) by hand, with the
        distance θ and g = x(θx − σξ).

        >>> import sympy as sp
        >>> from ddt_utils.action import Cumulants, jump_action, least_action
        >>> theta, q = sp.symbols("theta q", real=True)
        >>> inside = 1 + 2 * q * theta - q**2 / 4  # σ = 1/2
        >>> process = Cumulants(-sp.log(inside) / 2, (theta,), (q,),
        ...                     learning_rate=0.1, batch_size=1, tails=inside)
        >>> round(least_action(process, [0], [0.75]).value, 6)  # θ²/σ²/η
        22.5
        >>> round(jump_action(process, [0], [0.75]).value, 2)
        14.28
    """

    expression: sp.Expr
    variables: tuple
    momenta: tuple
    learning_rate: float
    batch_size: float
    tails: sp.Expr | None = None

    def __post_init__(self):
        """Check the arguments."""
        check_rates(self)
        known = tuple(self.variables) + tuple(self.momenta)
        if len(self.variables) != len(self.momenta) or len(set(known)) < len(known) or not known:
            raise ValueError(
                f"variables and momenta must be n different symbols each, got {known}; name one q "
                "for every variable"
            )
        value = written("K", self.expression, known)
        at_zero = sp.simplify(value.subs(dict.fromkeys(self.momenta, 0)))
        if at_zero != 0:
            raise ValueError(
                f"K must be zero at q = 0, got {at_zero}; it is the logarithm of a mean of "
                "exp(-q·g), and a law has the mass one"
            )
        if self.tails is not None:
            written("tails", self.tails, known)

    @property
    def dimension(self) -> int:
        """The number n of variables."""
        return len(self.variables)

    def _cumulant(self, points, of=None):
        value, momenta, n = self.expression if of is None else of, self.momenta, self.dimension
        first = [derivative(value, q) for q in momenta]
        every = (value, *first, *(derivative(f, q) for f in first for q in momenta))

        def at(q):
            found = self._evaluated(every, points, q)
            return found[:, 0], found[:, 1 : n + 1], found[:, n + 1 :].reshape(-1, n, n)

        return at

    def _evaluated(self, expressions, points, q):
        with np.errstate(all="ignore"):
            called = numpy_function(tuple(expressions), (*self.variables, *self.momenta))
            found = called(*points.T, *q.T)
        return np.stack([np.broadcast_to(v, len(points)) for v in found], axis=1).astype(float)

    def _slopes(self, points, q, steps, of=None):
        value = self.expression if of is None else of
        return self._evaluated([derivative(value, v) for v in self.variables], points, q)

    def jump(self, place, end):
        """The price of one step from a place to another: the largest q·v inside the edge.

        Args:
            place: where it begins, shape (n,).
            end: where it lands, shape (n,).

        Returns:
            The price, p (n,), and the slope of the price in ``place`` (n,).

        Raises:
            ValueError: there is no edge in the direction of the step.
            ArithmeticError: the best q on the edge was not found.
        """
        place, step = place[None], (end - place)[None]
        reach = np.geomspace(1e-6, 1e6, 4000)[:, None] * step / np.sum(step**2)
        level = self._evaluated([self.tails], np.repeat(place, len(reach), 0), reach)[:, 0]
        (out,) = np.nonzero(~(level > 0))
        if not out.size or not out[0]:
            raise ValueError(
                f"tails must be positive at q = 0 and vanish at an edge along {step[0]}, got "
                f"{level[0]:.3g} to {level[-1]:.3g} at {place[0]}; without an edge no step is long"
            )
        edge, q = self._cumulant(place, -self.tails), reach[out[0] - 1 : out[0]]
        pace = np.sum(step**2, axis=1) / np.abs(np.sum(edge(q)[1] * step, axis=1))
        q, pace = _curve.support(edge, step, (q, pace))
        pull = -pace[:, None] * self._slopes(place, q, step, -self.tails)
        return self.scale * np.sum(q * step), self.scale * q[0], self.scale * (pull - q)[0]
