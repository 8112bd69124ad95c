"""Small models: regressions, and networks of a few layers; each is a :class:`.Model`.

Any ``torch.nn.Module`` becomes one by :func:`from_module`, of :mod:`.modules`.
Targets are classes (whole numbers from 0) for cross entropy and real numbers for squared loss.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from ddt_utils import _checks, _layers, losses
from ddt_utils.model import Model
from ddt_utils.modules import ModuleModel, from_module

__all__ = [
    "Model", "ModuleModel", "convolutional", "diagonal_linear", "from_module", "fully_connected",
    "linear", "logistic", "quadratic", "softmax",
]  # fmt: skip


def logistic(features: int) -> Model:
    r"""Logistic regression: the log-odds of class 1 are :math:`w\cdot x`, without an offset.

    Args:
        features: d.

    Returns:
        The model, of d parameters.

    Example:
        >>> import torch
        >>> x, y = torch.eye(2, dtype=torch.float64), torch.tensor([0, 1])
        >>> loss = logistic(2).loss(torch.zeros(2, dtype=torch.float64), x, y)
        >>> round(loss.item(), 4)
        0.6931
    """
    name = "logistic regression of {} features"
    return _flat(name, features, 1, losses.binary_cross_entropy, classes=2)


def softmax(features: int, classes: int) -> Model:
    r"""Softmax regression: the scores of the classes are :math:`W^\top x`, without offsets.

    The same number added to all scores changes nothing, so the Hessian has ``features`` zero modes.

    Args:
        features: d.
        classes: k, from 2.

    Returns:
        The model, of dk parameters.

    Example:
        >>> softmax(features=4, classes=3).size
        12
    """
    count = _checks.whole(
        "classes", classes, least=2, remedy="for two, logistic has fewer parameters"
    )
    name = f"softmax regression of {{}} features and {count} classes"
    return _flat(name, features, count, losses.cross_entropy, classes=count)


def linear(features: int) -> Model:
    r"""Linear regression with the squared loss :math:`\frac12(w\cdot x - y)^2`.

    Args:
        features: d.

    Returns:
        The model, of d parameters.

    Example:
        >>> import torch
        >>> model, y = linear(2), torch.tensor([1.0, 3.0], dtype=torch.float64)
        >>> x = torch.eye(2, dtype=torch.float64)
        >>> model.loss(torch.zeros(2, dtype=torch.float64), x, y).item()
        2.5
    """
    return _flat("linear regression of {} features", features, 1, losses.squared)


def diagonal_linear(features: int) -> Model:
    r"""Overparametrised linear regression: weights :math:`u\odot u - v\odot v`, squared loss.

    It interpolates wherever linear regression does, on whole manifolds of minima; at a loss of
    zero the Hessian is :math:`\frac4m A^\top X^\top X A` with :math:`A = (\mathrm{diag}\,u,
    -\mathrm{diag}\,v)`.

    Args:
        features: d.

    Returns:
        The model, of 2d parameters.

    Example:
        >>> diagonal_linear(5).size
        10
    """
    count = _checks.whole("features", features, least=1)
    return Model(
        name=f"diagonal linear network of {count} features",
        shapes=(("u", (count,)), ("v", (count,))),
        forward=_layers.diagonal,
        input_shape=(count,),
        output_loss=losses.squared,
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
        loss: ``"cross entropy"``, or, for one output, ``"squared"``.

    Returns:
        The model.

    Raises:
        ValueError: fewer than two widths, or an unknown activation or loss.

    Example:
        >>> net = fully_connected((10, 16, 2), activation="relu")
        >>> net.size
        210
    """
    if isinstance(widths, str) or np.ndim(widths) != 1 or len(widths) < 2:
        raise ValueError(
            f"widths must be inputs, layers and outputs, such as (10, 16, 2), got {widths}"
        )
    widths = tuple(_checks.whole("widths", w, least=1) for w in widths)
    _checks.choice("activation", activation, _layers.ACTIVATIONS)
    shapes, scales = [], []
    for i, (inside, outside) in enumerate(itertools.pairwise(widths)):
        gain = math.sqrt(2.0) if i and activation == "relu" else 1.0
        shapes += [(f"weight{i}", (inside, outside)), (f"bias{i}", (outside,))]
        scales += [gain / math.sqrt(inside), 0.0]
    return Model(
        name=f"fully connected {activation} network {'–'.join(map(str, widths))}",
        shapes=tuple(shapes),
        forward=_layers.Layers(len(widths) - 1, activation),
        input_shape=widths[:1],
        scales=tuple(scales),
        **_loss_of(loss, widths[-1]),
    )


def convolutional(
    side: int, classes: int, *, channels: int = 4, kernel: int = 3, activation: str = "tanh"
) -> Model:
    """A small convolutional network on square pictures, given as rows of side² numbers.

    One convolution without padding, the activation, averages over 2 × 2 blocks, one linear layer.

    Args:
        side: of the picture.
        classes: outputs; one output is a binary classifier.
        channels: of the convolution.
        kernel: side of the convolution's window.
        activation: ``"tanh"`` or ``"relu"``.

    Returns:
        The model.

    Raises:
        ValueError: a kernel that does not fit, or leaves a side that is not even.

    Example:
        >>> convolutional(8, 10, channels=4).size
        410
    """
    given = dict(side=side, classes=classes, channels=channels, kernel=kernel)
    side, classes, channels, kernel = (_checks.whole(k, v, least=1) for k, v in given.items())
    _checks.choice("activation", activation, _layers.ACTIVATIONS)
    inner = side - kernel + 1
    if inner < 2 or inner % 2:
        raise ValueError(
            f"side − kernel + 1 must be an even number from 2 on, got {inner} for side {side} and "
            f"kernel {kernel}"
        )
    flat = channels * (inner // 2) ** 2
    return Model(
        name=f"convolutional {activation} network, {channels} channels of {kernel} × {kernel}",
        shapes=(
            ("kernel", (kernel * kernel, channels)),
            ("bias0", (channels,)),
            ("weight1", (flat, classes)),
            ("bias1", (classes,)),
        ),
        forward=_layers.Convolution(side, kernel, activation),
        input_shape=(side * side,),
        scales=(1 / kernel, 0.0, flat**-0.5, 0.0),
        **_loss_of("cross entropy", classes),
    )


def quadratic(hessian) -> Model:
    r"""Sample losses :math:`\frac12(\theta - x)^\top H (\theta - x)`, minima at the samples x.

    The Hessian is H everywhere and the covariance of the sample gradients is
    :math:`H\,\mathrm{Cov}(x)\,H`. Targets are not used.

    Args:
        hessian: H, shape (n, n), symmetric.

    Returns:
        The model, of n parameters.

    Raises:
        ValueError: H is not a finite symmetric square matrix.

    Example:
        >>> import numpy as np
        >>> model = quadratic(np.diag([4.0, 1.0]))
        >>> model.size
        2
    """
    matrix = _checks.array("hessian", hessian, shape=(None, None))
    if not _checks.symmetric(matrix):
        raise ValueError(f"hessian must be a symmetric square matrix, got {matrix.tolist()}")
    return Model(
        name=f"quadratic loss of {len(matrix)} parameters",
        shapes=(("place", (len(matrix),)),),
        forward=_layers.displacement,
        input_shape=(len(matrix),),
        output_loss=_layers.Quadratic(matrix),
        scales=(1.0,),
    )


def _flat(name, features, outputs, output_loss, classes=0):
    """A model without hidden layers and offsets."""
    count = _checks.whole("features", features, least=1)
    return Model(
        name=name.format(count),
        shapes=(("weight", (count, outputs)),),
        forward=_layers.linear,
        input_shape=(count,),
        output_loss=output_loss,
        scales=(count**-0.5,),
        classes=classes,
    )


def _loss_of(loss, outputs):
    """The loss of a network's outputs, and how many classes its targets number."""
    _checks.choice("loss", loss, ("cross entropy", "squared"))
    if loss == "squared" and outputs > 1:
        raise ValueError(
            f"loss must be 'cross entropy', or 'squared' with one output, got {outputs}"
        )
    if loss == "squared":
        return dict(output_loss=losses.squared)
    if outputs == 1:
        return dict(output_loss=losses.binary_cross_entropy, classes=2)
    return dict(output_loss=losses.cross_entropy, classes=outputs)
