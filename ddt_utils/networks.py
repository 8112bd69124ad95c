r"""Small models as pure functions of one flat parameter vector, for one network or many at once.

A parameter vector :math:`\theta` has shape (n,); leading dimensions are replicas, so that one call
on shape (R, n) is R networks side by side, each on its own minibatch. Everything is differentiable
and works under ``torch.func``. Targets are classes (whole numbers) for cross entropy and real
numbers for squared loss.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ddt_utils import streams


@dataclass(frozen=True)
class Model:
    """A model: its parameter blocks, its outputs and the loss of a sample.

    Args:
        name: for messages and captions.
        shapes: (name, shape) of each block of parameters, in the order of the flat vector.
        forward: (blocks by name, inputs (..., B, d)) → outputs (..., B, k).
        criterion: (outputs (..., B, k), targets (..., B)) → losses (..., B).
        scales: standard deviation of the initial values of each block, 0 for zeros.
    """

    name: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    forward: Callable
    criterion: Callable
    scales: tuple[float, ...]

    @property
    def size(self) -> int:
        """The number n of parameters."""
        return sum(math.prod(shape) for _, shape in self.shapes)

    def blocks(self, theta) -> dict:
        """The parameter blocks of θ, shape (..., n), by name; each keeps the leading dimensions."""
        if theta.shape[-1] != self.size:
            raise ValueError(
                f"{self.name} has {self.size} parameters, got a vector of {theta.shape[-1]}"
            )
        # one split, whose gradient is one concatenation; slices would each fill a whole vector
        parts = theta.split([math.prod(shape) for _, shape in self.shapes], -1)
        named = zip(self.shapes, parts, strict=True)
        return {name: part.reshape(*theta.shape[:-1], *shape) for (name, shape), part in named}

    def outputs(self, theta, x):
        """What the model says of inputs x, shape (..., B, d); shape (..., B, k)."""
        return self.forward(self.blocks(theta), x)

    def sample_losses(self, theta, x, y):
        """The loss of each sample, shape (..., B)."""
        return self.criterion(self.outputs(theta, x), y)

    def loss(self, theta, x, y):
        """The loss averaged over the samples, shape (...)."""
        return self.sample_losses(theta, x, y).mean(-1)

    def accuracy(self, theta, x, y):
        """The share of samples that are put into their class, shape (...)."""
        out = self.outputs(theta, x)
        guess = (out[..., 0] > 0).long() if out.shape[-1] == 1 else out.argmax(-1)
        return (guess == y).double().mean(-1)

    def initial(self, replicas: int, *, seed: int):
        """Random parameters, normal with the scale of each block; tensor of shape (replicas, n).

        Replica i of a seed is the same for any number of replicas.
        """
        import torch

        scales = [
            np.full(math.prod(s), c) for (_, s), c in zip(self.shapes, self.scales, strict=True)
        ]
        draws = [
            streams.stream(seed, "initial", i).standard_normal(self.size) for i in range(replicas)
        ]
        return torch.from_numpy(np.array(draws) * np.concatenate(scales))


def logistic(features: int) -> Model:
    r"""Logistic regression: the log-odds of class 1 are :math:`w\cdot x`, without an offset."""
    return Model(
        name=f"logistic regression of {features} features",
        shapes=(("weight", (features, 1)),),
        forward=_linear,
        criterion=_binary_cross_entropy,
        scales=(features**-0.5,),
    )


def softmax(features: int, classes: int) -> Model:
    r"""Softmax regression: the scores of the classes are :math:`W^\top x`, without offsets.

    The same number added to all scores changes nothing, so the Hessian has ``features`` zero modes.
    """
    return Model(
        name=f"softmax regression of {features} features and {classes} classes",
        shapes=(("weight", (features, classes)),),
        forward=_linear,
        criterion=_cross_entropy,
        scales=(features**-0.5,),
    )


def linear(features: int) -> Model:
    r"""Linear regression with the squared loss :math:`\frac12(w\cdot x - y)^2`."""
    return Model(
        name=f"linear regression of {features} features",
        shapes=(("weight", (features, 1)),),
        forward=_linear,
        criterion=_squared,
        scales=(features**-0.5,),
    )


def diagonal_linear(features: int) -> Model:
    r"""Overparametrised linear regression: weights :math:`u\odot u - v\odot v`, squared loss.

    It interpolates wherever linear regression does, on whole manifolds of minima; at a loss of
    zero the Hessian is :math:`\frac4m A^\top X^\top X A` with :math:`A = (\mathrm{diag}\,u,
    -\mathrm{diag}\,v)`.
    """
    return Model(
        name=f"diagonal linear network of {features} features",
        shapes=(("u", (features,)), ("v", (features,))),
        forward=_diagonal,
        criterion=_squared,
        scales=(0.5, 0.5),
    )


def fully_connected(
    widths: tuple[int, ...], *, activation: str = "tanh", loss: str = "cross entropy"
) -> Model:
    """A fully connected network.

    Args:
        widths: of the layers, inputs and outputs included, for example (10, 16, 2). One output and
            cross entropy is a binary classifier.
        activation: ``"tanh"`` or ``"relu"``, after every layer but the last.
        loss: ``"cross entropy"`` or ``"squared"``, the latter for one output.

    Raises:
        ValueError: fewer than two widths, or an unknown activation or loss.
    """
    widths = tuple(int(w) for w in widths)
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths need inputs and outputs, all positive, got {widths}")
    if activation not in ("tanh", "relu"):
        raise ValueError(f"activation must be 'tanh' or 'relu', got {activation!r}")
    gain = math.sqrt(2.0) if activation == "relu" else 1.0
    shapes, scales = [], []
    for i, (inside, outside) in enumerate(itertools.pairwise(widths)):
        shapes += [(f"weight{i}", (inside, outside)), (f"bias{i}", (outside,))]
        scales += [(gain if i else 1.0) / math.sqrt(inside), 0.0]
    return Model(
        name=f"fully connected {activation} network {'–'.join(map(str, widths))}",
        shapes=tuple(shapes),
        forward=_Layers(len(widths) - 1, activation),
        criterion=_loss_of(loss, widths[-1]),
        scales=tuple(scales),
    )


def convolutional(
    side: int, classes: int, *, channels: int = 4, kernel: int = 3, activation: str = "tanh"
) -> Model:
    """A small convolutional network on square pictures, given as rows of side² numbers.

    One convolution without padding, the activation, averages over 2 × 2 blocks, one linear layer.

    Args:
        side: of the picture.
        classes: outputs.
        channels: of the convolution.
        kernel: side of the convolution's window.
        activation: ``"tanh"`` or ``"relu"``.

    Raises:
        ValueError: a kernel that does not fit, or leaves a side that is not even.
    """
    inner = side - kernel + 1
    if kernel < 1 or inner < 2 or inner % 2:
        raise ValueError(
            f"side − kernel + 1 must be an even number from 2 on, got {inner} for side {side} and "
            f"kernel {kernel}"
        )
    if activation not in ("tanh", "relu"):
        raise ValueError(f"activation must be 'tanh' or 'relu', got {activation!r}")
    flat = channels * (inner // 2) ** 2
    return Model(
        name=f"convolutional {activation} network, {channels} channels of {kernel} × {kernel}",
        shapes=(
            ("kernel", (kernel * kernel, channels)),
            ("bias0", (channels,)),
            ("weight1", (flat, classes)),
            ("bias1", (classes,)),
        ),
        forward=_Convolution(side, kernel, activation),
        criterion=_loss_of("cross entropy", classes),
        scales=(1 / kernel, 0.0, flat**-0.5, 0.0),
    )


def quadratic(hessian) -> Model:
    r"""Sample losses :math:`\frac12(\theta - x)^\top H (\theta - x)`, minima at the samples x.

    The Hessian is H everywhere and the covariance of the sample gradients is
    :math:`H\,\mathrm{Cov}(x)\,H`. Targets are not used.

    Args:
        hessian: H, shape (n, n), symmetric.

    Raises:
        ValueError: H is not a symmetric square matrix.
    """
    matrix = np.array(hessian, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T):
        raise ValueError(f"hessian must be a symmetric square matrix, got {matrix.tolist()}")
    return Model(
        name=f"quadratic loss of {len(matrix)} parameters",
        shapes=(("place", (len(matrix),)),),
        forward=lambda blocks, x: blocks["place"][..., None, :] - x,
        criterion=_Quadratic(matrix),
        scales=(1.0,),
    )


@dataclass(frozen=True)
class _Layers:
    count: int
    activation: str

    def __call__(self, blocks, x):
        for i in range(self.count):
            x = x @ blocks[f"weight{i}"] + blocks[f"bias{i}"][..., None, :]
            if i < self.count - 1:
                x = getattr(x, self.activation)()
        return x


@dataclass(frozen=True)
class _Convolution:
    side: int
    kernel: int
    activation: str

    def __call__(self, blocks, x):
        """Windows as columns: a convolution is a product with the kernel."""
        image = x.reshape(*x.shape[:-1], self.side, self.side)
        windows = image.unfold(-2, self.kernel, 1).unfold(-2, self.kernel, 1)
        inner = windows.shape[-3]
        columns = windows.reshape(*x.shape[:-2], -1, self.kernel**2)  # (..., B·inner², kernel²)
        maps = columns @ blocks["kernel"] + blocks["bias0"][..., None, :]
        maps = getattr(maps, self.activation)()
        half = inner // 2
        maps = maps.reshape(*maps.shape[:-2], x.shape[-2], half, 2, half, 2, maps.shape[-1])
        pooled = maps.mean((-4, -2)).flatten(-3)
        return pooled @ blocks["weight1"] + blocks["bias1"][..., None, :]


class _Quadratic:
    def __init__(self, matrix):
        self.matrix = matrix

    def __call__(self, apart, targets):
        import torch

        matrix = torch.as_tensor(self.matrix, dtype=apart.dtype, device=apart.device)
        return ((apart @ matrix) * apart).sum(-1) / 2


def _linear(blocks, x):
    return x @ blocks["weight"]


def _diagonal(blocks, x):
    return x @ (blocks["u"] ** 2 - blocks["v"] ** 2)[..., None]


def _loss_of(loss, outputs):
    if loss == "squared" and outputs == 1:
        return _squared
    if loss == "cross entropy":
        return _binary_cross_entropy if outputs == 1 else _cross_entropy
    raise ValueError(
        f"loss must be 'cross entropy', or 'squared' with one output, got {loss!r} with {outputs}"
    )


def _squared(out, y):
    return (out[..., 0] - y) ** 2 / 2


def _binary_cross_entropy(out, y):
    import torch

    wrong = out[..., 0] * (1 - 2 * y)  # log(1 + e^wrong), also far on the right side
    return torch.logaddexp(wrong, torch.zeros_like(wrong))


def _cross_entropy(out, y):
    classes = y.long().expand(
        out.shape[:-1]
    )  # all replicas on the same samples, or each on its own
    chosen = out.gather(-1, classes[..., None])[..., 0]
    return out.logsumexp(-1) - chosen
