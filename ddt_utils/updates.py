r"""What a replica does in one iteration: the update rules of :mod:`ddt_utils.replicas`.

A rule has a ``learning_rate`` and says, in three methods, what it carries beside the parameters,
what it draws and how it steps; see :class:`Rule`. A new one is a small class, for example a descent
in the direction of the gradient's sign:

>>> from ddt_utils import networks, replicas
>>> @dataclass(frozen=True)
... class SignDescent(Rule):
...     learning_rate: float
...     def step(self, gradient, theta, state, draw, iteration):
...         return theta - self.learning_rate * gradient(theta).sign(), state
>>> line, x, y = networks.linear(1), [[1.0], [1.0]], [1.0, 3.0]
>>> crowd = replicas.Replicas(
...     line, x, y, SignDescent(0.25), start=[0.0], seed=1)
>>> crowd.run(8).theta.tolist()
[[2.0]]

With minibatches it is an SGD of another :meth:`~Descent.shaped`. Until it has climbed a level,
three steps of a fair coin away, it takes nine on average:

>>> from ddt_utils import criterion, optimisers
>>> class SignSGD(optimisers.SGD):
...     def shaped(self, slope, theta):
...         return slope.sign()
>>> crowd = replicas.Replicas(
...     line, x, y, SignSGD(0.25, 1), start=[2.0], replicas=200, seed=1)
>>> found = crowd.escape(criterion.LevelSet(0.78), max_iterations=1000)
>>> bool(abs(found.mean - 9 * 0.25) < 3 * found.stderr)  # in units of t
True

Rules with a second gradient, a memory of sizes or noise on the labels are in
:mod:`ddt_utils.optimisers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ddt_utils import _checks, _devices
from ddt_utils._minibatches import BLOCK


class Rule:
    """What every rule offers; the names are those of the walkers' rules in ``simulate``.

    ``learning_rate`` is one number or a tuple of one per replica. ``on_device`` says that the
    function of :meth:`draws` takes :class:`ddt_utils.streams.Streams` as well as one generator, so
    that a GPU draws its own numbers; without it they are drawn on the host and copied.
    """

    learning_rate: float | tuple
    on_device = False

    def suits(self, model, samples: int, size: int) -> None:
        """Refuse a model that the rule cannot train; here none is.

        Args:
            model: the model.
            samples: m, of the data.
            size: n, the number of parameters.
        """

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
            A function of a NumPy generator that draws for a block of iterations, one row each (an
            array, or several by name), and how many iterations a block has.
        """
        return lambda g: np.zeros((BLOCK, 0)), BLOCK

    def step(self, gradient: Callable, theta, state: dict, draw, iteration: int):
        """One iteration.

        Args:
            gradient: :meth:`ddt_utils.replicas.Replicas.gradient`: a function of θ, and of indices
                of samples, shape (R, B), or of all samples.
            theta: the parameters, shape (R, n).
            state: what :meth:`initial_state` or the last step returned.
            draw: the row of this iteration for each replica, of each name if they have names.
            iteration: how many iterations there were before this one; on a GPU a tensor without
                dimensions.

        Returns:
            The new parameters, and the new state under the same names.

        Raises:
            NotImplementedError: by a rule that does not say it.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what a step is")


@dataclass(frozen=True)
class Descent(Rule):
    r"""What descents share: :math:`v' = \beta v - \eta(g + \lambda\theta),\ \theta' = \theta + v'`.

    Args:
        learning_rate: η, one number, or one per replica.
        momentum: β in [0, 1); 0 is plain descent. v = 0 at first.
        weight_decay: λ, of a penalty :math:`\frac\lambda2|\theta|^2` on the loss.
        normalised: take the direction :math:`g/|g|` of each replica's gradient in place of g.

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> isinstance(GradientDescent(0.1, weight_decay=0.01), Descent)
        True
    """

    learning_rate: float | tuple
    momentum: float = field(default=0.0, kw_only=True)
    weight_decay: float = field(default=0.0, kw_only=True)
    normalised: bool = field(default=False, kw_only=True)

    def __post_init__(self):
        """Check the arguments."""
        settle(
            self,
            learning_rate=_rates(self.learning_rate),
            momentum=_checks.number("momentum", self.momentum, least=0, below=1),
            weight_decay=_checks.number("weight_decay", self.weight_decay, least=0),
            normalised=_checks.choice("normalised", self.normalised, (True, False)),
        )

    def initial_state(self, theta) -> dict:
        """See :meth:`Rule.initial_state`: the velocity, and learning rates of one's own.

        Args:
            theta: the parameters, shape (R, n).

        Returns:
            As of :meth:`Rule.initial_state`.

        Raises:
            ValueError: not as many learning rates as replicas.
        """
        import torch

        state = {"velocity": torch.zeros_like(theta)} if self.momentum else {}
        if isinstance(self.learning_rate, tuple):
            if len(self.learning_rate) != len(theta):
                raise ValueError(
                    f"learning_rate must be one number or one per replica, {len(theta)}, got "
                    f"{len(self.learning_rate)}"
                )
            state["learning_rate"] = theta.new_tensor(self.learning_rate)[:, None]
        return state

    def descend(self, slope, theta, state) -> tuple:
        """The step along a gradient.

        Args:
            slope: g, shape (R, n).
            theta: the parameters, shape (R, n).
            state: of :meth:`initial_state`, or later.

        Returns:
            As of :meth:`Rule.step`.
        """
        move = -state.get("learning_rate", self.learning_rate) * self.shaped(slope, theta)
        if not self.momentum:
            return theta + move, state
        move = self.momentum * state["velocity"] + move
        return theta + move, state | {"velocity": move}

    def shaped(self, slope, theta):
        """A gradient, of length one if that was asked for, with the decay of the weights.

        Args:
            slope: g, shape (R, n).
            theta: the parameters, shape (R, n).

        Returns:
            A tensor of shape (R, n).
        """
        slope = direction(slope) if self.normalised else slope
        return slope + self.weight_decay * theta if self.weight_decay else slope


@dataclass(frozen=True)
class GradientDescent(Descent):
    """Descent along the gradient of all samples, without noise.

    Args:
        learning_rate: η, one number, or one per replica.
        momentum: see ``Descent``.
        weight_decay: see ``Descent``.
        normalised: see ``Descent``.

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> GradientDescent(0.1, momentum=0.9).momentum
        0.9
    """

    def step(self, gradient, theta, state, draw, iteration):
        """See :meth:`Rule.step`; the gradient is that of all samples."""
        return self.descend(gradient(theta), theta, state)


@dataclass(frozen=True, eq=False)
class GaussianSGD(Descent):
    r"""SGD with Gaussian noise of one covariance: the gradient is :math:`\nabla L + F\xi`.

    Args:
        learning_rate: η, one number, or one per replica.
        factor: F with :math:`F F^\top = C`, the covariance of a minibatch gradient: a matrix of
            shape (n, k); or the diagonal of one, n numbers; or one number times the identity. For
            SGLD of diffusion D it is :math:`\sqrt{2D/\eta}`, see :func:`sgld`.
        momentum: see ``Descent``.
        weight_decay: see ``Descent``.
        normalised: see ``Descent``; of gradient and noise together.

    Raises:
        ValueError: a number out of its range, or F not finite.

    Example:
        >>> import numpy as np
        >>> rule = GaussianSGD(0.1, np.diag([0.2, 0.1]))
        >>> rule.learning_rate
        0.1
    """

    factor: np.ndarray
    on_device = True

    def __post_init__(self):
        """Check the arguments."""
        super().__post_init__()
        factor = _checks.array("factor", self.factor)
        if factor.ndim > 2 or not factor.size:
            raise ValueError(
                f"factor must be a matrix, its diagonal or one number, got shape {factor.shape}"
            )
        settle(self, factor=factor)

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
        if self.factor.ndim and len(self.factor) != size:
            rows = len(self.factor)
            raise ValueError(f"factor must have {size} rows, one per parameter, got {rows}")
        count = self.factor.shape[1] if self.factor.ndim == 2 else size
        return lambda g: g.standard_normal((BLOCK, count)), BLOCK

    def step(self, gradient, theta, state, draw, iteration):
        """See :meth:`Rule.step`; the gradient is that of all samples."""
        factor = _devices.held(self.factor, theta)
        noise = draw @ factor.T if factor.ndim == 2 else factor * draw
        return self.descend(gradient(theta) + noise, theta, state)


def sgld(learning_rate: float, diffusion: float, size: int | None = None) -> GaussianSGD:
    r"""Descent with white noise: :math:`\theta' = \theta - \eta\nabla L + \sqrt{2D\eta}\,\xi`.

    Args:
        learning_rate: η.
        diffusion: D, half a variance per unit of t.
        size: the number n of parameters, if it is to be checked.

    Returns:
        The rule.

    Raises:
        ValueError: η or D not positive, or n no number of parameters.

    Example:
        >>> rule = sgld(0.1, diffusion=0.2)
        >>> rule.factor.round(6)
        np.float64(2.0)
    """
    rate = _checks.number("learning_rate", learning_rate, above=0)
    power = np.sqrt(2 * _checks.number("diffusion", diffusion, above=0) / rate)
    if size is None:
        return GaussianSGD(rate, power)
    return GaussianSGD(rate, np.full(_checks.whole("size", size, least=1), power))


def direction(slope):
    """Each replica's vector divided by its length; a vector of zeros as it is.

    Args:
        slope: shape (R, n).

    Returns:
        A tensor of shape (R, n).

    Example:
        >>> import torch
        >>> direction(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    length = slope.norm(dim=-1, keepdim=True)
    return slope / length.where(length > 0, 1.0)


def settle(rule, **values):
    """Set checked values in a frozen rule.

    Args:
        rule: the rule.
        values: by name.

    Example:
        >>> rule = GradientDescent(0.1)
        >>> settle(rule, learning_rate=0.2)
        >>> rule.learning_rate
        0.2
    """
    for name, value in values.items():
        object.__setattr__(rule, name, value)


def _rates(value):
    """One learning rate, or a tuple of some."""
    if np.ndim(value) == 0 or isinstance(value, (str, bytes)):
        return _checks.number("learning_rate", value, above=0)
    found = _checks.array("learning_rate", value, shape=(None,)).tolist()
    if not found:
        raise ValueError("learning_rate must be one number or one per replica, got none")
    return tuple(_checks.number("learning_rate", one, above=0) for one in found)
