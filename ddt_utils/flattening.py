r"""The slow pull of noise towards flat places, where no barrier is crossed.

Noise of SGD keeps a walker :math:`\delta` off the bottom of its valley, and there the mean slope is
that of :math:`L+\frac12\operatorname{tr}(HS)`, with S the covariance of δ. Along the valley this
leaves, to first order in the learning rate,

.. math:: \dot\theta=-\nabla\bigl[L+\tfrac12\operatorname{tr}(HS)\bigr]_{S\text{ fixed}},

.. math:: \dot S=-HS-SH+\frac\eta B\Sigma .

Where the noise of one sample is :math:`\Sigma=cH`, the cloud rests at :math:`S=\frac{\eta c}{2B}I`,
and the pull is :math:`-\frac{\eta c}{4B}\nabla\operatorname{tr}H`: with squared loss and residuals
that do not depend on the inputs c is 2L, which gives
:math:`-\frac{\eta L}{2B}\nabla\operatorname{tr}H`; for likelihoods of a model that is right c is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks
from ddt_utils._derivatives import alone, derivatives, places

_SOFT = 1e-6  # a cloud is carried along directions of less or negative curvature as along this one


@dataclass(frozen=True, eq=False)
class Cloud:
    """Networks and the clouds of walkers around them.

    Args:
        theta: their centres, a tensor of shape (R, n).
        covariance: S of each, a tensor of shape (R, n, n).

    Example:
        >>> import torch
        >>> Cloud(torch.zeros(2, 3), torch.zeros(2, 3, 3)).theta.shape
        torch.Size([2, 3])
    """

    theta: object
    covariance: object


def flow(
    model,
    starts,
    x,
    y,
    *,
    ratio: float,
    time: float,
    step: float = 0.2,
    noise: str | float = "loss",
    trace: Callable | None = None,
):
    r"""The flow :math:`\dot\theta=-\nabla L-\frac{\eta c}{4B}\nabla\operatorname{tr}H`.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        starts: one place (n,) or many (R, n).
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        ratio: η/B; 0 is the flow of descent.
        time: how long, in units of t = η × iterations.
        step: of Euler's method, below 2 over the largest curvature; a little less, where ``time``
            is not a multiple of it.
        noise: c of :math:`\Sigma=cH`; ``"loss"`` is 2L.
        trace: a function of θ (R, n) that gives tr H, shape (R,), if it is known in closed form;
            by default it is differentiated, which takes third derivatives.

    Returns:
        The places at the end, a tensor of shape (R, n).

    Raises:
        ValueError: shapes or numbers that do not fit.
        ArithmeticError: a place that ran away, after too large a step.

    Example:
        >>> from ddt_utils import networks
        >>> model = networks.diagonal_linear(1)  # u² − v², for the target 2
        >>> for ratio in (0, 0.1):
        ...     end = flow(model, [1.5, 0.5], [[1.0]], [2.0], ratio=ratio, time=30,
        ...                noise=1, step=0.05)
        ...     print(end.numpy().round(3))
        [[1.5 0.5]]
        [[1.378 0.   ]]
    """
    import torch
    from torch.func import hessian, vmap

    at, theta = derivatives(model, x, y), places("starts", model, starts)
    ratio, step, count = _clock(ratio, time, step)
    level = _noise(noise)

    def traced(place):
        one = hessian(lambda t: at.model.loss(t, at.x, at.y))
        with alone():
            return vmap(lambda t: torch.trace(one(t)))(place)

    if trace is not None:
        shape = tuple(np.shape(trace(theta))) if callable(trace) else trace
        if shape != (len(theta),):
            raise ValueError(
                f"trace must be a function that gives one number for each of {len(theta)} places, "
                f"got shape {shape}; sum over the other axes"
            )
    trace = trace or traced
    for _ in range(count):
        place = theta.requires_grad_()
        loss = at.losses(place)
        total = loss + ratio / 4 * level(loss.detach()) * trace(place) if ratio else loss
        (slope,) = torch.autograd.grad(total.sum(), place)
        theta = place.detach() - step * slope
    return _finite(theta, step)


def cloud_flow(
    model,
    starts,
    x,
    y,
    *,
    ratio: float,
    time: float,
    step: float = 0.25,
    noise: str | float = "samples",
) -> Cloud:
    r"""The flow with a cloud that has its own covariance, and needs time to widen.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        starts: one place (n,) or many (R, n), where the clouds are points.
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        ratio: η/B.
        time: how long, in units of t.
        step: of Euler's method for the places; the clouds are carried exactly over each step with
            the curvature and the noise at its beginning; a little less, where ``time`` is not a
            multiple of it.
        noise: ``"samples"`` for the covariance of the sample gradients, ``"loss"`` for
            :math:`\Sigma=2LH`, or c of :math:`\Sigma=cH`.

    Returns:
        Places and clouds at the end.

    Raises:
        ValueError: shapes or numbers that do not fit.
        ArithmeticError: a place that ran away, after too large a step.

    Example:
        In a bowl the cloud rests at S = ηc/2B.

        >>> from ddt_utils import networks
        >>> bowl, x, y = networks.quadratic([[4.0]]), [[1.0], [1.0]], [0.0, 0.0]
        >>> end = cloud_flow(bowl, [1.0], x, y, ratio=0.1, time=10, noise=3)
        >>> end.covariance.numpy().round(6)
        array([[[0.15]]])
    """
    import torch
    from torch.func import grad, hessian, vmap

    at, theta = derivatives(model, x, y), places("starts", model, starts)
    ratio, step, count = _clock(ratio, time, step)
    level = None if noise == "samples" else _noise(noise)

    def with_cloud(place, cloud):
        bend = hessian(lambda t: at.model.loss(t, at.x, at.y))(place)
        return at.model.loss(place, at.x, at.y) + (bend * cloud).sum() / 2, bend

    pulled = vmap(grad(with_cloud, has_aux=True))
    cloud = theta.new_zeros(len(theta), model.size, model.size)
    for _ in range(count):
        with alone():
            slope, bend = pulled(theta, cloud)
        values, axes = torch.linalg.eigh(bend)
        values = values.clamp(min=_SOFT)
        pair = values[:, :, None] + values[:, None, :]
        if level is None:
            apart = at.sample_slopes(theta)
            apart = (apart - apart.mean(1, keepdim=True)) @ axes
            kicks = apart.mT @ apart / len(at.x)
        else:
            kicks = torch.diag_embed(level(at.losses(theta))[:, None] * values)
        turned = torch.exp(-step * pair) * (axes.mT @ cloud @ axes)
        turned = turned - ratio * torch.expm1(-step * pair) / pair * kicks
        cloud, theta = axes @ turned @ axes.mT, theta - step * slope
    return Cloud(_finite(theta, step), cloud)


def _clock(ratio, time, step):
    """η/B, the step and how many of them, checked."""
    ratio = _checks.number("ratio", ratio, least=0, remedy="it is η/B")
    step = _checks.number("step", step, above=0)
    time = _checks.number("time", time, above=0, remedy="it is η × iterations")
    count = max(1, round(time / step))
    if abs(count * step - time) > 1e-9 * time:  # steps that end when asked
        count = math.ceil(time / step)
        step = time / count
    return ratio, step, count


def _noise(noise):
    """The noise over the curvature, as a function of the losses."""
    if isinstance(noise, str):
        _checks.choice("noise", noise, ("loss",), remedy="or a number, c of Σ = cH")
        return lambda losses: 2 * losses
    value = _checks.number("noise", noise, least=0, remedy="or 'loss' for 2L")
    return lambda losses: value * losses.new_ones(len(losses))


def _finite(theta, step):
    """The places, if none ran away."""
    if not bool(theta.isfinite().all()):
        raise ArithmeticError(
            f"a place must stay finite, but one ran away with a step of {step:g}; take a step "
            "below 2 over the largest curvature"
        )
    return theta
