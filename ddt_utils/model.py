r"""What a model is: a pure function of one flat parameter vector, for one network or many at once.

A parameter vector :math:`\theta` has shape (n,); leading dimensions are replicas, so that one call
on shape (R, n) is R networks side by side, each on its own minibatch. Everything is differentiable
and works under ``torch.func``. Targets are classes (whole numbers from 0) for cross entropy and
real numbers for squared loss. The models themselves are in :mod:`.networks`; a sample that is no
row of numbers, such as a picture, is for the models of :mod:`.modules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks, streams

_KNOWN: ContextVar[bool] = ContextVar("targets were checked before", default=False)


@contextmanager
def known_targets():
    """Within it models do not look at targets again: who trains has checked them once.

    Example:
        >>> import torch
        >>> from ddt_utils import networks
        >>> x, y = torch.eye(2, dtype=torch.float64), torch.tensor([0, 1])
        >>> with known_targets():
        ...     loss = networks.logistic(2).loss(torch.zeros(2).double(), x, y)
        >>> round(loss.item(), 4)
        0.6931
    """
    before = _KNOWN.set(True)
    try:
        yield
    finally:
        _KNOWN.reset(before)


@contextmanager
def differentiable():
    """Within it torch computes gradients, whatever the caller has switched off around it.

    Example:
        >>> import torch
        >>> with torch.inference_mode(), differentiable():
        ...     place = torch.ones(2, requires_grad=True)
        ...     slope = torch.autograd.grad((place**2).sum(), place)
        >>> slope
        (tensor([2., 2.]),)
    """
    import torch

    with torch.inference_mode(False), torch.enable_grad():
        yield


@dataclass(frozen=True)
class Model:
    r"""A model: its parameter blocks, its outputs and the loss of an output.

    Args:
        name: for messages and captions.
        shapes: (name, shape) of each block of parameters, in the order of the flat vector.
        forward: (blocks by name, inputs (..., B, d)) → outputs (..., B, k).
        output_loss: (outputs (..., B, k), targets (..., B)) → losses (..., B).
        scales: standard deviation of the initial values of each block, 0 for zeros.
        classes: how many classes the targets number, from 0; or 0 if targets are real numbers.
        input_shape: of one sample; None in it is any number. Where this page says (..., B, d), a
            model of pictures has (..., B, channels, height, width).
        target_shape: of one sample's target; () is one number.
        weight_decay: λ; every sample loss carries :math:`\frac\lambda2|\theta|^2`, which is in the
            gradient of every minibatch and adds nothing to its noise.

    Example:
        >>> from dataclasses import replace
        >>> from ddt_utils import networks
        >>> model = networks.fully_connected((10, 16, 2))
        >>> model.size
        210
        >>> held = replace(model, weight_decay=0.01)
        >>> import torch
        >>> theta = held.initial(3, seed=1)  # three networks
        >>> held.blocks(theta)["weight0"].shape
        torch.Size([3, 10, 16])
        >>> x = torch.ones(5, 10, dtype=torch.float64)
        >>> y = torch.tensor([0, 1, 1, 0, 1])
        >>> held.outputs(theta, x).shape, held.sample_losses(theta, x, y).shape
        (torch.Size([3, 5, 2]), torch.Size([3, 5]))
        >>> held.loss(theta, x, y).shape, held.accuracy(theta, x, y).shape
        (torch.Size([3]), torch.Size([3]))
    """

    name: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    forward: Callable
    output_loss: Callable
    scales: tuple[float, ...]
    classes: int = 0
    input_shape: tuple[int | None, ...] = (None,)
    target_shape: tuple[int | None, ...] = ()
    weight_decay: float = 0.0

    @property
    def size(self) -> int:
        """The number n of parameters."""
        return sum(math.prod(shape) for _, shape in self.shapes)

    def blocks(self, theta) -> dict:
        """The parameter blocks.

        Args:
            theta: θ, shape (..., n).

        Returns:
            Tensors by name; each keeps the leading dimensions.

        Raises:
            ValueError: another number of parameters.
        """
        if theta.shape[-1] != self.size:
            raise ValueError(
                f"{self.name} has {self.size} parameters, got a vector of {theta.shape[-1]}"
            )
        # one split, whose gradient is one concatenation; slices would each fill a whole vector
        parts = theta.split([math.prod(shape) for _, shape in self.shapes], -1)
        named = zip(self.shapes, parts, strict=True)
        return {name: part.reshape((*theta.shape[:-1], *shape)) for (name, shape), part in named}

    def outputs(self, theta, x):
        """What the model says of its inputs.

        Args:
            theta: θ, shape (..., n).
            x: inputs, shape (..., B, d).

        Returns:
            A tensor of shape (..., B, k).
        """
        return self.forward(self.blocks(theta), x)

    def inputs(self, x) -> np.ndarray:
        """Inputs, checked.

        Args:
            x: shape (m, d), or ``(m, *input_shape)``.

        Returns:
            An array of the same shape.

        Raises:
            ValueError: another shape, no samples, or a number that is not finite.
        """
        shape, takes = (None, *self.input_shape), f"so {self.name} takes its samples"
        found = _checks.array("x", x, shape=shape, finite=False, remedy=takes)
        if not found.size:
            raise ValueError(f"x must not be empty, got shape {found.shape}")
        return _checks.array("x", found, remedy="leave such samples out")

    def targets(self, y, samples: int | None = None) -> np.ndarray:
        """Targets, checked: classes as int64, real numbers as they are.

        Args:
            y: shape (m,), or ``(m, *target_shape)``.
            samples: m, if it is known.

        Returns:
            An array of the same shape.

        Raises:
            ValueError: another shape, a number that is not finite, or none of the model's classes.
        """
        found = _checks.array("y", _checks.as_numbers(y), shape=(samples, *self.target_shape))
        if self.classes:
            return _checks.classes("y", found, self.classes)
        whole = np.asarray(_checks.as_numbers(y)).dtype.kind in "iu"
        return found.astype(np.int64) if whole else found

    def sample_losses(self, theta, x, y):
        """The loss of each sample, weight decay included.

        A model of one's own may add to it, and everyone follows.

        Args:
            theta: θ, shape (..., n).
            x: inputs, shape (..., B, d).
            y: targets, shape (..., B).

        Returns:
            A tensor of shape (..., B).

        Raises:
            ValueError: a target that is none of the model's classes, or not one for each sample.
        """
        self._require(x, y)
        losses = self.output_loss(self.outputs(theta, x), y)
        if not self.weight_decay:
            return losses
        return losses + self.weight_decay / 2 * (theta**2).sum(-1)[..., None]

    def loss(self, theta, x, y):
        """The loss averaged over the samples.

        Args:
            theta: θ, shape (..., n).
            x: inputs, shape (..., B, d).
            y: targets, shape (..., B).

        Returns:
            A tensor of shape (...).
        """
        return self.sample_losses(theta, x, y).mean(-1)

    def accuracy(self, theta, x, y):
        """The share of samples that are put into their class; outputs that are NaN put into none.

        Args:
            theta: θ, shape (..., n).
            x: inputs, shape (..., B, d).
            y: classes, shape (..., B).

        Returns:
            A tensor of shape (...).

        Raises:
            ValueError: a target that is none of the model's classes, or a model without classes.
        """
        if not self.classes:
            raise ValueError(f"accuracy must be asked of a model with classes, got {self.name}")
        self._require(x, y)
        out = self.outputs(theta, x)
        guess = (out[..., 0] > 0).long() if out.shape[-1] == 1 else out.argmax(-1)
        right = ((guess == y) & ~out.isnan().any(-1)).double()
        return right.flatten(right.ndim - 1 - len(self.target_shape)).mean(-1)

    def initial(self, replicas: int, *, seed: int):
        """Random parameters, normal with the scale of each block.

        Replica i of a seed is the same for any number of replicas, and independent of what drives a
        training of the same seed.

        Args:
            replicas: R, how many.
            seed: a whole number from 0 to 2⁶⁴ − 1.

        Returns:
            A tensor of shape (R, n).

        Raises:
            ValueError: no such numbers.
        """
        import torch

        count = _checks.whole("replicas", replicas, least=1)
        scales = [
            np.full(math.prod(s), c) for (_, s), c in zip(self.shapes, self.scales, strict=True)
        ]
        draws = [
            streams.stream(seed, "initial", i).standard_normal(self.size) for i in range(count)
        ]
        return torch.from_numpy(np.array(draws) * np.concatenate(scales))

    def _require(self, x, y):
        """Refuse targets that are no classes; within a ``vmap`` over them they cannot be read.

        Targets of another shape would be broadcast: each sample would meet all of them.

        Raises:
            ValueError: a target that is no class, or not one target for each sample.
        """
        import torch

        if _KNOWN.get():
            return
        if not torch.is_tensor(y):
            raise ValueError(f"y must be a tensor, got {type(y).__name__}; give torch.as_tensor(y)")
        count = x.shape[x.ndim - 1 - len(self.input_shape)]
        found = tuple(y.shape[: y.ndim - len(self.target_shape)])
        if not found or found[-1] != count:
            raise ValueError(
                f"y must have one target for each of {count} samples, got shape {tuple(y.shape)}; "
                "drop or move an axis of it"
            )
        if not self.classes:
            return
        try:
            wrong = bool(((y != y.floor()) | (y < 0) | (y >= self.classes)).any())
        except RuntimeError:
            return
        if wrong:
            _checks.classes("y", y.tolist(), self.classes)
