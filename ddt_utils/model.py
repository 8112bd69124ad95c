r"""What a model is: a pure function of one flat parameter vector, for one network or many at once.

A parameter vector :math:`\theta` has shape (n,); leading dimensions are replicas, so that one call
on shape (R, n) is R networks side by side, each on its own minibatch. Everything is differentiable
and works under ``torch.func``. Targets are classes (whole numbers from 0) for cross entropy and
real numbers for squared loss. The models themselves are in :mod:`.networks`; a sample that is no
row of numbers, such as a picture, is for the models of :mod:`.modules`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks, _meeting, losses, streams

_KNOWN: ContextVar[bool] = ContextVar("targets were checked before", default=False)
_ALONE = threading.RLock()


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


@contextmanager
def alone():
    """Within it no other thread is: torch's forward mode and random generator serve all threads.

    A derivative that is taken forward while another thread takes one may be wrong without an error.

    Example:
        >>> with alone(), alone():
        ...     "a thread does not wait for itself"
        'a thread does not wait for itself'
    """
    with _ALONE:
        yield


@dataclass(frozen=True)
class Model:
    r"""A model: its parameter blocks, its outputs and the loss of an output.

    Args:
        name: for messages and captions.
        shapes: (name, shape) of each block of parameters, in the order of the flat vector.
        forward: (blocks by name, inputs (..., B, d)) → outputs (..., B, k).
        output_loss: (outputs (..., B, k), targets (..., B)) → losses (..., B), one for each sample.
        scales: standard deviation of the initial values of each block, 0 for zeros.
        classes: how many classes the targets number, from 0; or 0 if targets are real numbers.
        input_shape: of one sample; None in it is any number. Where this page says (..., B, d), a
            model of pictures has (..., B, channels, height, width).
        target_shape: of one sample's target; () is one number.
        weight_decay: λ; every sample loss carries :math:`\frac\lambda2|\theta|^2`, which is in the
            gradient of every minibatch and adds nothing to its noise.

    Raises:
        ValueError: a number of classes or a weight decay that is none.

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

    def __post_init__(self):
        """Check the numbers, which ``dataclasses.replace`` may bring in."""
        object.__setattr__(self, "classes", _checks.whole("classes", self.classes))
        decay = _checks.kept("weight_decay", self.weight_decay, least=0)
        object.__setattr__(self, "weight_decay", decay)

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
            ValueError: no tensor, or another number of parameters.
        """
        _meeting.tensor("theta", theta)
        if not theta.ndim or theta.shape[-1] != self.size:
            raise ValueError(
                f"{self.name} has {self.size} parameters, got a vector of "
                f"{theta.shape[-1] if theta.ndim else 'no axis'}"
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

        Raises:
            ValueError: no tensors, or not of one precision.
            RuntimeError: what else torch refuses in the forward, by shape.
            TypeError: or by kind.
        """
        blocks = self.blocks(theta)
        _meeting.tensor("x", x)
        try:
            return self.forward(blocks, x)
        except (RuntimeError, TypeError) as error:
            if x.dtype != theta.dtype and (x.is_floating_point() or "type" in str(error)):
                raise ValueError(
                    f"x must have the precision of theta, {theta.dtype}, got {x.dtype}; give "
                    "x.to(theta.dtype)"
                ) from error
            raise

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
        takes = f"so {self.name} takes its targets"
        if getattr(y, "ndim", 1) == 2 and not self.target_shape:
            takes += "; give y[:, 0] of one column, y.argmax(1) of a column for each class"
        given, shape = _checks.as_numbers(y), (samples, *self.target_shape)
        found = _checks.array("y", given, shape=shape, finite=False, remedy=takes)
        found = _checks.array("y", found, remedy="leave such samples out")
        if self.classes:
            return _checks.classes("y", found, self.classes)
        whole = np.asarray(given).dtype.kind in "iu"
        small = np.abs(found).max(initial=0.0) < 2.0**53  # beyond, a float is no other number
        return found.astype(np.int64) if whole and small else found

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
            ValueError: a target that is none of the model's classes, or not one for each sample;
                inputs that the model does not take, or an ``output_loss`` of another shape.
        """
        self._require(theta, x, y)
        found = self.losses_of(self.outputs(theta, x), y, _meeting.shape(self, theta, x, y))
        if not self.weight_decay:
            return found
        return found + self.weight_decay / 2 * (theta**2).sum(-1)[..., None]

    def losses_of(self, out, y, shape):
        """The losses of outputs, without weight decay.

        Args:
            out: outputs, shape (..., B, k).
            y: targets, shape (..., B).
            shape: the losses must have it; any other would be broadcast, and a mean taken of it.

        Returns:
            A tensor of that shape.

        Raises:
            ValueError: losses of another shape, or classes that are not those of the outputs.
        """
        kind = getattr(self.output_loss, "loss", self.output_loss)
        if kind is losses.cross_entropy and out.shape[-1] != self.classes:
            raise ValueError(
                f"classes must be as many as the scores of {self.name}, {out.shape[-1]}, got "
                f"{self.classes}; make a model with more outputs"
            )
        found = self.output_loss(out, y)
        if getattr(found, "shape", None) != shape:
            got = getattr(found, "shape", None)
            raise ValueError(
                f"output_loss of {self.name} must return one loss for each sample, shape "
                f"{tuple(shape)}, got {type(found).__name__ if got is None else tuple(got)}; take "
                "out[..., 0] of a single output, and the sum over the axes of an output only"
            )
        return found

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
        self._require(theta, x, y)
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

    def _require(self, theta, x, y):
        """Refuse what does not belong to the model, unless that was checked before."""
        if not _KNOWN.get():
            _meeting.require(self, theta, x, y)
