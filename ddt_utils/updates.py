r"""What a replica does in one iteration: the update rules of :mod:`ddt_utils.replicas`.

A rule has a ``learning_rate`` and says, in three methods, what it carries beside the parameters,
what it draws and how it steps; see :class:`Rule`. A new one is a small class, for example a descent
in the direction of the gradient's sign::

    @dataclass(frozen=True)
    class SignDescent(Rule):
        learning_rate: float

        def step(self, gradient, theta, state, draw, iteration):
            return theta - self.learning_rate * gradient(theta).sign(), state
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks

_BLOCK = 64  # iterations whose random numbers are drawn together
SAMPLINGS = ("replacement", "distinct", "epochs")


class Rule:
    """What every rule offers; the names are those of the walkers' rules in ``simulate``."""

    learning_rate: float

    def initial_state(self, theta) -> dict:
        """What a replica carries beside its parameters, by name, at the beginning.

        Args:
            theta: the parameters, shape (R, n).

        Returns:
            Tensors with R rows, such as ``{"velocity": torch.zeros_like(theta)}``; here none.
        """
        return {}

    def draws(self, samples: int, size: int) -> tuple[Callable, int]:
        """How the random numbers of a replica are drawn; here none are.

        Args:
            samples: m, of the data.
            size: n, the number of parameters.

        Returns:
            A function of a NumPy generator that draws for a block of iterations, one row each, and
            how many iterations a block has.
        """
        return lambda g: np.zeros((_BLOCK, 0)), _BLOCK

    def step(self, gradient: Callable, theta, state: dict, draw, iteration: int):
        """One iteration.

        Args:
            gradient: a function of θ, and of indices of samples, shape (R, B), or of all samples.
            theta: the parameters, shape (R, n).
            state: what :meth:`initial_state` or the last step returned.
            draw: the row of this iteration for each replica.
            iteration: how many iterations there were before this one.

        Returns:
            The new parameters, and the new state under the same names.

        Raises:
            NotImplementedError: by a rule that does not say it.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what a step is")


@dataclass(frozen=True)
class SGD(Rule):
    r"""Minibatch SGD: :math:`v' = \beta v - \eta\hat g,\ \theta' = \theta + v'`, v = 0 at first.

    Args:
        learning_rate: η.
        batch_size: B.
        momentum: β in [0, 1); 0 is plain SGD.
        sampling: ``"replacement"``: independent draws; ``"distinct"``: no sample twice in one
            minibatch; ``"epochs"``: all samples in a new order each epoch, the rest of m/B left
            out.

    Raises:
        ValueError: a number out of its range, or an unknown sampling.

    Example:
        >>> rule = SGD(0.1, batch_size=32, momentum=0.9)
        >>> rule.sampling
        'replacement'
    """

    learning_rate: float
    batch_size: int
    momentum: float = 0.0
    sampling: str = "replacement"

    def __post_init__(self):
        """Check the arguments."""
        _set(self, "learning_rate", _checks.number("learning_rate", self.learning_rate, above=0))
        _set(self, "batch_size", _checks.whole("batch_size", self.batch_size, least=1))
        _set(self, "momentum", _checks.number("momentum", self.momentum, least=0, below=1))
        _checks.choice("sampling", self.sampling, SAMPLINGS)

    def initial_state(self, theta) -> dict:
        """See :meth:`Rule.initial_state`: the velocity, if there is momentum."""
        import torch

        return {"velocity": torch.zeros_like(theta)} if self.momentum else {}

    def draws(self, samples: int, size: int) -> tuple[Callable, int]:
        """The minibatches, as indices of samples; see :meth:`Rule.draws`.

        Args:
            samples: m, of the data.
            size: n, the number of parameters.

        Returns:
            As of :meth:`Rule.draws`; a row has B indices.

        Raises:
            ValueError: more distinct samples are asked for than there are.
        """
        batch = self.batch_size
        if batch > samples and self.sampling != "replacement":
            raise ValueError(
                f"batch_size must be {samples} at most, the number of samples, got {batch}; more "
                "can only be drawn with sampling='replacement'"
            )
        if self.sampling == "epochs":
            count = samples // batch
            return lambda g: g.permutation(samples)[: count * batch].reshape(count, batch), count
        if self.sampling == "distinct":
            return lambda g: _distinct(g, samples, batch), _BLOCK
        return lambda g: g.integers(0, samples, (_BLOCK, batch)), _BLOCK

    def step(self, gradient, theta, state, draw, iteration):
        """See :meth:`Rule.step`."""
        move = -self.learning_rate * gradient(theta, draw)
        if not self.momentum:
            return theta + move, state
        move = self.momentum * state["velocity"] + move
        return theta + move, {"velocity": move}


@dataclass(frozen=True, eq=False)
class GaussianSGD(Rule):
    r"""SGD with Gaussian noise of one covariance: :math:`\theta' = \theta - \eta(\nabla L + F\xi)`.

    Args:
        learning_rate: η.
        factor: F with :math:`F F^\top = C`, the covariance of a minibatch gradient, shape (n, k);
            for SGLD of diffusion D it is :math:`\sqrt{2D/\eta}` times the identity, see
            :func:`sgld`.

    Raises:
        ValueError: η not positive, or F not a finite matrix.

    Example:
        >>> import numpy as np
        >>> rule = GaussianSGD(0.1, np.diag([0.2, 0.1]))
        >>> rule.learning_rate
        0.1
    """

    learning_rate: float
    factor: np.ndarray

    def __post_init__(self):
        """Check the arguments."""
        _set(self, "learning_rate", _checks.number("learning_rate", self.learning_rate, above=0))
        _set(self, "factor", _checks.array("factor", self.factor, shape=(None, None)))

    def draws(self, samples: int, size: int) -> tuple[Callable, int]:
        """Standard normal numbers, one for each column of F; see :meth:`Rule.draws`.

        Args:
            samples: m, of the data.
            size: n, the number of parameters.

        Returns:
            As of :meth:`Rule.draws`.

        Raises:
            ValueError: F has not one row per parameter.
        """
        rows, count = self.factor.shape
        if rows != size:
            raise ValueError(f"factor must have {size} rows, one per parameter, got {rows}")
        return lambda g: g.standard_normal((_BLOCK, count)), _BLOCK

    def step(self, gradient, theta, state, draw, iteration):
        """See :meth:`Rule.step`; the gradient is that of all samples."""
        import torch

        factor = torch.as_tensor(self.factor, dtype=theta.dtype, device=theta.device)
        noise = draw.to(theta.dtype) @ factor.T
        return theta - self.learning_rate * (gradient(theta) + noise), state


def sgld(learning_rate: float, diffusion: float, size: int) -> GaussianSGD:
    r"""Descent with white noise: :math:`\theta' = \theta - \eta\nabla L + \sqrt{2D\eta}\,\xi`.

    Args:
        learning_rate: η.
        diffusion: D.
        size: the number n of parameters.

    Returns:
        The rule.

    Raises:
        ValueError: η or D not positive, or n no number of parameters.

    Example:
        >>> rule = sgld(0.1, diffusion=0.05, size=2)
        >>> rule.factor.round(6)
        array([[1., 0.],
               [0., 1.]])
    """
    rate = _checks.number("learning_rate", learning_rate, above=0)
    power = _checks.number("diffusion", diffusion, above=0)
    return GaussianSGD(
        rate, np.sqrt(2 * power / rate) * np.eye(_checks.whole("size", size, least=1))
    )


@dataclass(frozen=True)
class GradientDescent(Rule):
    """Descent along the gradient of all samples, without noise.

    Args:
        learning_rate: η.

    Raises:
        ValueError: η not positive.

    Example:
        >>> GradientDescent(0.1)
        GradientDescent(learning_rate=0.1)
    """

    learning_rate: float

    def __post_init__(self):
        """Check the arguments."""
        _set(self, "learning_rate", _checks.number("learning_rate", self.learning_rate, above=0))

    def step(self, gradient, theta, state, draw, iteration):
        """See :meth:`Rule.step`; the gradient is that of all samples."""
        return theta - self.learning_rate * gradient(theta), state


def _set(rule, name, value):
    object.__setattr__(rule, name, value)


def _distinct(generator, samples, batch):
    """Minibatches without a sample twice, each set of samples as likely as any other."""
    keys = generator.random((_BLOCK, samples))
    return np.argpartition(keys, batch - 1, axis=1)[:, :batch]
