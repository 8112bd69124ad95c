r"""What a sample costs: losses of a model's outputs, for one network or many at once.

Outputs have shape (..., k), and leading dimensions are samples and replicas. These are the losses
that :mod:`.networks` names in words; a :class:`~ddt_utils.model.Model` of one's own takes them as
its ``output_loss``.
"""

from __future__ import annotations

import math


def squared(out, y):
    r"""Half the square of the residual, :math:`\frac12|f - y|^2`, summed over the outputs.

    Args:
        out: outputs f, shape (..., k).
        y: targets, shape (..., k); or (...) where there is one output.

    Returns:
        Losses, shape (...).

    Example:
        >>> import torch
        >>> squared(torch.tensor([[3.0], [0.0]]), torch.tensor([1.0, 1.0]))
        tensor([2.0000, 0.5000])
        >>> squared(torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
        tensor([2.5000])
    """
    if out.shape[-1] == 1:
        return (out[..., 0] - _alone(out, y)) ** 2 / 2
    return ((out - y) ** 2).sum(-1) / 2


def binary_cross_entropy(out, y):
    r"""Minus the logarithm of a class's probability, from the log-odds of class 1.

    .. math::
        \ell = \log(1 + e^{-f})\ \text{for class 1},\quad \log(1 + e^{f})\ \text{for class 0};

    value, slope and curvature keep their digits far on the right side, and beyond what an
    exponential function holds (f = 708) slope and curvature are zero.

    Args:
        out: log-odds f, shape (..., 1).
        y: classes 0 and 1, shape (...), or (..., 1).

    Returns:
        Losses, shape (...).

    Example:
        >>> import torch
        >>> binary_cross_entropy(torch.zeros(2, 1), torch.tensor([0, 1]))
        tensor([0.6931, 0.6931])
    """
    import torch

    wrong = out[..., 0] * (1 - 2 * _alone(out, y))
    # the second derivative of logaddexp asks for exp(-wrong), and infinity over infinity is none
    wrong = wrong.clamp(min=1 - math.log(torch.finfo(wrong.dtype).max))
    return torch.logaddexp(wrong, torch.zeros_like(wrong))


def cross_entropy(out, y):
    r"""Minus the logarithm of the probability of the class, :math:`\log\sum_c e^{f_c} - f_y`.

    Args:
        out: scores f of the classes, shape (..., k).
        y: classes, whole numbers from 0 to k − 1, shape (...); leading dimensions may be missing,
            if all replicas see the same samples.

    Returns:
        Losses, shape (...).

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(2, 3), torch.tensor([0, 2]))
        tensor([1.0986, 1.0986])
    """
    # all replicas on the same samples, or each on its own
    classes = y.long().expand(out.shape[:-1])
    chosen = out.gather(-1, classes[..., None])[..., 0]
    return out.logsumexp(-1) - chosen


def _alone(out, y):
    """Targets of a single output without its axis, so that samples meet their own targets only."""
    return y[..., 0] if y.shape == out.shape else y
