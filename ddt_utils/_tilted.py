r"""Minibatches as a process for :mod:`ddt_utils.action`: the tilt of real samples, or of a law.

The price of a piece of a curve is the largest :math:`q\cdot v` with
:math:`K(\theta,q)=\ln\mathbb E\,e^{-q\cdot g}\le0`, and q, the momentum per sample, is found by
Newton's method from that of the Gaussian of the same mean and covariance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import sympy as sp

from ddt_utils import _checks, _curve
from ddt_utils._diffusion import expression
from ddt_utils._expressions import derivative, numpy_function
from ddt_utils.landscape import Landscape
from ddt_utils.noise import MinibatchNoise

_BATCHES = 3000  # that are listed when a sample is drawn once at most


class _Tilted:
    """Minibatches, whose price is found by Newton's method; q = η p / B."""

    @property
    def scale(self) -> float:
        """B/η, by which the action per sample is multiplied."""
        return self.batch_size / self.learning_rate

    def width(self, points) -> np.ndarray:
        """A factor of the mean covariance along a curve; see ``_curve.cheapest``."""
        zero = np.zeros_like(points)
        return _curve.factor(self._cumulant(points)(zero)[2].mean(axis=0))

    def prices(self, middles, steps):
        """Cost, momentum and slope of each link; see ``_curve.cheapest``."""
        cumulant = self._cumulant(middles)
        q, pace = _curve.support(cumulant, steps)
        slopes = self._slopes(middles, q, steps)
        scale = self.scale
        return scale * np.sum(q * steps, axis=1), scale * q, -scale * pace[:, None] * slopes

    def hamiltonian(self, points, momenta) -> np.ndarray:
        r"""H(θ, p) = (B/η) K(θ, ηp/B).

        Args:
            points: shape (k, n).
            momenta: shape (k, n).

        Returns:
            Shape (k,), in units of 1/t.
        """
        return self.scale * self._cumulant(points)(momenta / self.scale)[0]


@dataclass(frozen=True)
class SampleGradients(_Tilted):
    r"""SGD with minibatches of m samples whose gradients are given by a function.

    For a network, whose loss is no SymPy expression: :math:`K=\ln\frac1m\sum_i e^{-q\cdot g_i}`.
    The slope of K in θ needs the Hessian of no sample, only the gradients at two places beside each
    point, :math:`H_iq\approx(g_i(\theta+tq)-g_i(\theta-tq))/2t`.

    Args:
        gradients: a function of points (k, n) that returns :math:`g_i`, shape (k, m, n), float64.
        dimension: n.
        learning_rate: η.
        batch_size: B, samples drawn with replacement.
        gaussian: take the Gaussian of the same mean and covariance, the diffusion, instead.

    Raises:
        ValueError: an argument out of range; by the action, gradients of another shape or a
            covariance that is not positive definite.

    Example:
        >>> import numpy as np
        >>> def gradients(points):  # two losses, (θ ± 1)²/2
        ...     return points[:, None] + np.array([[1.0], [-1.0]])
        >>> for gaussian in (False, True):
        ...     process = SampleGradients(gradients, 1, learning_rate=0.1, batch_size=2,
        ...                               gaussian=gaussian)
        ...     print(round(least_action(process, [0], [0.5]).value, 4))
        5.2324
        5.0
    """

    gradients: Callable
    dimension: int
    learning_rate: float
    batch_size: float
    gaussian: bool = False

    def __post_init__(self):
        """Check the arguments."""
        if not callable(self.gradients):
            raise ValueError(f"gradients must be a function, got {self.gradients!r}; see its shape")
        _checks.whole("dimension", self.dimension, least=1)
        _check_rates(self)
        _checks.choice("gaussian", self.gaussian, (True, False))

    def _drawn(self, points):
        shape = (len(points), None, self.dimension)
        return _checks.array("gradients", self.gradients(points), shape=shape)

    def _cumulant(self, points):
        drawn = self._drawn(points)

        def gaussian(q):
            value = -np.einsum("ki,ki->k", mean, q) + np.einsum("ki,kij,kj->k", q, spread, q) / 2
            return value, np.einsum("kij,kj->ki", spread, q) - mean, spread

        def exact(q):
            odds, value = _odds(drawn, q)
            down = -np.einsum("km,kmi->ki", odds, drawn)
            bend = np.swapaxes(odds[..., None] * drawn, 1, 2) @ drawn
            return value, down, bend - down[:, :, None] * down[:, None]

        mean = drawn.mean(axis=1)
        spread = np.swapaxes(drawn, 1, 2) @ drawn / drawn.shape[1]
        spread = spread - mean[:, :, None] * mean[:, None]
        return gaussian if self.gaussian else exact

    def _slopes(self, points, q, steps):
        """K_θ = Σ (weight of sample i) H_i q."""
        drawn = self._drawn(points)
        if self.gaussian:
            off = np.einsum("kmi,ki->km", drawn - drawn.mean(axis=1, keepdims=True), q)
            weights = (off - 1) / drawn.shape[1]
        else:
            weights = -_odds(drawn, q)[0]
        size = np.linalg.norm(q, axis=1, keepdims=True)
        way = q / np.maximum(size, 1e-300)
        reach = 1e-3 * np.linalg.norm(steps, axis=1, keepdims=True)
        beside = self._drawn(points + reach * way) - self._drawn(points - reach * way)
        return np.einsum("km,kmi->ki", weights, beside) * size / (2 * reach)


def minibatches(landscape: Landscape, noise: MinibatchNoise) -> SampleGradients:
    r"""SGD on a landscape with the minibatches themselves, not a Gaussian in their place.

    Args:
        landscape: the mean of the sample losses.
        noise: the losses, η and B. Without replacement all batches are listed, and a batch is taken
            for a sample with B = 1.

    Returns:
        The process, for :func:`least_action`.

    Raises:
        ValueError: other noise, another landscape, or more than 3000 batches.

    Example:
        >>> import sympy as sp
        >>> from ddt_utils import landscape, noise
        >>> x = sp.Symbol("x", real=True)
        >>> losses = tuple((x - y)**2 / 2 for y in (-2, 0.5, 0.5, 0.5, 0.5))
        >>> bowl = landscape.Landscape(sum(losses) / 5, (x,), name="mean", box=((-3, 3),))
        >>> drawn = noise.MinibatchNoise(losses, learning_rate=0.05, batch_size=1)
        >>> for process in (minibatches(bowl, drawn), Diffusion(bowl, drawn)):
        ...     print(round(least_action(process, [0], [0.35]).value, 4))
        4.7148
        2.45
    """
    instance("noise", noise, MinibatchNoise)
    instance("landscape", landscape, Landscape)
    noise.check(landscape)
    n, m, size = landscape.dimension, len(noise.losses), noise.batch_size
    slopes = tuple(derivative(loss, v) for loss in noise.losses for v in landscape.variables)
    batches = None
    if not noise.replacement and size > 1:
        count = math.comb(m, size)
        if count > _BATCHES:
            raise ValueError(
                f"without replacement at most {_BATCHES} batches are listed, got {count}; take "
                "replacement=True, which is nearly the same where B is much smaller than m"
            )
        chosen = np.array(list(combinations(range(m), size)))
        batches = np.zeros((count, m))
        np.put_along_axis(batches, chosen, 1 / size, axis=1)

    def gradients(points):
        found = landscape.evaluate(slopes, *points.T).reshape(len(points), m, n)
        return found if batches is None else batches @ found

    return SampleGradients(
        gradients,
        n,
        learning_rate=float(noise.learning_rate),
        batch_size=size if batches is None else 1,
    )


@dataclass(frozen=True)
class Cumulants(_Tilted):
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
        >>> theta, q = sp.symbols("theta q", real=True)
        >>> inside = 1 + 2 * q * theta - q**2 / 4  # σ = 1/2
        >>> process = Cumulants(-sp.log(inside) / 2, (theta,), (q,), learning_rate=0.1,
        ...                     batch_size=1, tails=inside)
        >>> round(least_action(process, [0], [0.75]).value, 6)  # θ²/σ²/η
        22.5
        >>> round(jump_action(process, [0], [0.75]).value, 2)
        13.64
    """

    expression: sp.Expr
    variables: tuple
    momenta: tuple
    learning_rate: float
    batch_size: float
    tails: sp.Expr | None = None

    def __post_init__(self):
        """Check the arguments."""
        _check_rates(self)
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


def instance(name, value, kind) -> None:
    """Refuse what is not of a class.

    Args:
        name: what the value is called.
        value: anything.
        kind: the class.

    Raises:
        ValueError: it is of another.
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, got {value!r}; see its module")


def written(name, value, symbols) -> sp.Expr:
    """An expression in given symbols.

    Args:
        name: what it is called.
        value: a number or SymPy.
        symbols: those that it may use.

    Returns:
        SymPy.

    Raises:
        ValueError: it is no expression, or has other symbols.
    """
    found = expression(name, value)
    unknown = found.free_symbols - set(symbols)
    if unknown:
        raise ValueError(
            f"{name} may use only the symbols {tuple(symbols)}, got also {unknown}; substitute "
            "numbers for parameters with expression.subs"
        )
    return found


def _check_rates(process):
    """Check η and B."""
    for name in ("learning_rate", "batch_size"):
        remedy = "the action is B/η times that of one sample"
        value = _checks.number(name, getattr(process, name), above=0, remedy=remedy)
        object.__setattr__(process, name, value)


def _odds(drawn, q):
    """The weights of the samples under a tilt, shape (k, m), and K, shape (k,)."""
    power = -(drawn @ q[..., None])[..., 0]
    top = power.max(axis=1, keepdims=True)
    odds = np.exp(power - top)
    total = odds.mean(axis=1, keepdims=True)
    return odds / (total * odds.shape[1]), (np.log(total) + top)[:, 0]
