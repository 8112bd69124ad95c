"""What of a loss of one's own is refused, by trying, for :mod:`.modules`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ddt_utils import _probe


def refuse(loss):
    """Refuse a class of losses, and one that divides each sample by the weight of its class.

    Args:
        loss: a function of one output and one target.

    Raises:
        ValueError: such a loss.
    """
    from torch.nn import CrossEntropyLoss, NLLLoss
    from torch.nn import functional as F

    if isinstance(loss, type):
        raise ValueError(
            f"loss must be a function of one output and one target, got the class {loss.__name__}; "
            f"make one, {loss.__name__}()"
        )
    if isinstance(loss, (CrossEntropyLoss, NLLLoss)):
        weighted = loss.weight is not None and loss.reduction == "mean"
    else:  # or with options bound to a function
        options = loss.keywords if isinstance(loss, partial) else {}
        torchs = options and loss.func in (F.cross_entropy, F.nll_loss)
        mean = options.get("reduction", "mean") == "mean"
        weighted = torchs and mean and options.get("weight") is not None
    if weighted:
        raise ValueError(
            "loss must be that of a sample, got a mean that divides it by the weight of its class; "
            "use reduction='sum'; the mean over samples is taken here"
        )


def tried(model, values, whole):
    """Refuse a loss of one's own that is none, of one sample at a time.

    Args:
        model: with that loss.
        values: parameters by name.
        whole: are inputs whole numbers?

    Raises:
        ValueError: such a loss; what it raises itself, with a remedy.
    """
    refusal = _refused(model, values, whole)
    if refusal is None:
        return
    scores = max(2, model.forward.once(values, _probe.inputs(model.input_shape, whole)).shape[-1])
    if model.classes or _refused(replace(model, classes=scores), values, whole) is not None:
        raise refusal
    raise ValueError(
        "loss must know how many classes there are, got no number for one that takes classes; "
        f"give classes={scores}"
    ) from refusal


def _refused(model, values, whole):
    """Why a loss is refused, or None."""
    try:
        _try_targets(model, values, whole)
    except ValueError as error:
        return error
    return None


def _try_targets(model, values, whole):
    """Refuse a loss that is none of these targets: zeros, or each of the classes."""
    import torch

    x = _probe.inputs(model.input_shape, whole)
    kind = torch.int64 if model.classes else torch.float64
    y = torch.zeros((len(x), *model.target_shape), dtype=kind)
    theta = torch.cat([part.flatten() for part in values.values()])

    def value(theta):
        return model.loss(theta, x, y)

    with _probe.derivatives():
        found = value(theta.expand(2, -1).clone().requires_grad_())
        torch.func.jvp(torch.func.grad(value), (theta,), (theta,))
    if found.dtype != torch.float64 or not found.requires_grad:
        raise ValueError(
            f"loss must return one real number that changes with the output, got {found.dtype} "
            f"{'with' if found.requires_grad else 'without'} a gradient; take no argmax in it"
        )
    out = model.outputs(theta, x)
    if model.classes:
        y = torch.arange(model.classes).repeat_interleave(len(x))
        y = y.reshape(-1, *[1] * len(model.target_shape)).expand(-1, *model.target_shape)
        out = out.repeat(model.classes, *[1] * (out.ndim - 1))
    try:
        found, again = (model.losses_of(out, y, y.shape[:1]) for _ in range(2))
    except (IndexError, RuntimeError) as error:
        raise ValueError(
            f"loss must take each of {model.classes} classes, got {str(error).splitlines()[0]:.160}"
            "; give classes= as many as there are scores"
        ) from error
    bad = ~found.isfinite()
    if model.classes and bad.any():
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"loss must be finite for each class, got {float(found[first])} for class "
            f"{first // len(x)}; leave out samples that do not count, in place of ignore_index"
        )
    if not found.equal(again) and not bad.any():
        raise ValueError(
            "loss must give the same number twice, got another one; keep nothing of a call in it"
        )
    _require_true(model, out, y)


def _require_true(model, out, y):
    """Refuse a loss whose slope or curvature in the outputs is not what it changes by."""
    import torch

    draw = np.random.default_rng(3)
    move, weights = (torch.from_numpy(draw.standard_normal(s)) for s in (out.shape, y.shape[:1]))
    for t in torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64):
        with _probe.derivatives():
            said = _probe.untrue(
                lambda t: (weights * model.losses_of(out + t * move, y, y.shape[:1])).sum(), t
            )
        if said:
            raise ValueError(
                f"loss must be differentiable in the output, got {said}; use no detach(), "
                "no_grad() or gradients of one's own that are not true"
            )
