r"""Minibatches as a process for :mod:`ddt_utils.action`: the tilt of real samples.

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

from ddt_utils import _checks, _curve
from ddt_utils._drift import instance
from ddt_utils._expressions import derivative
from ddt_utils.landscape import Landscape
from ddt_utils.noise import MinibatchNoise

_BATCHES = 3000  # that are listed when a sample is drawn once at most


class Tilted:
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
class SampleGradients(Tilted):
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
        >>> from ddt_utils.action import SampleGradients, least_action
        >>> def gradients(points):  # two losses, (θ ± 1)²/2
        ...     return points[:, None] + np.array([[1.0], [-1.0]])
        >>> for gaussian in (False, True):
        ...     process = SampleGradients(
        ...         gradients, 1, learning_rate=0.1, batch_size=2,
        ...         gaussian=gaussian)
        ...     print(round(least_action(process, [0], [0.5]).value, 4))
        5.4969
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
        check_rates(self)
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
        return self._products(points, weights, q, 1e-3 * np.linalg.norm(steps, axis=1))

    def _products(self, points, weights, q, reach):
        """Σ (weight of sample i) H_i q, from the gradients at two places."""
        size = np.linalg.norm(q, axis=1, keepdims=True)
        way = q / np.maximum(size, 1e-300) * reach[:, None]
        beside = self._drawn(points + way) - self._drawn(points - way)
        return np.einsum("km,kmi->ki", weights, beside) * size / (2 * reach[:, None])


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
        >>> from ddt_utils.action import Diffusion, least_action, minibatches
        >>> x = sp.Symbol("x", real=True)
        >>> losses = tuple((x - y)**2 / 2 for y in (-2, 0.5, 0.5, 0.5, 0.5))
        >>> bowl = landscape.Landscape(
        ...     sum(losses) / 5, (x,), name="mean", box=((-3, 3),))
        >>> drawn = noise.MinibatchNoise(losses, learning_rate=0.05, batch_size=1)
        >>> for process in (minibatches(bowl, drawn), Diffusion(bowl, drawn)):
        ...     print(round(least_action(process, [0], [0.35]).value, 4))
        3.6627
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


def check_rates(process) -> None:
    """Check η and B of a process, and make numbers of them.

    Args:
        process: has both.

    Raises:
        ValueError: one of them is not positive and finite.
    """
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
