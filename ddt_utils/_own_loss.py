"""What of a loss of one's own is refused, by trying, for :mod:`.modules`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ddt_utils import _probe
from ddt_utils._slopes import untrue


def refuse(loss):
    """Refuse a class of losses in the place of one.

    Args:
        loss: a function of one output and one target.

    Raises:
        ValueError: a class.
    """
    if isinstance(loss, type):
        raise ValueError(
            f"loss must be a function of one output and one target, got the class {loss.__name__}; "
            f"make one, {loss.__name__}()"
        )


def tried(model, values, whole):
    """Refuse a loss of one's own that is none, of one sample at a time.

    Args:
        model: with that loss.
        values: parameters by name.
        whole: are inputs whole numbers?

    Raises:
        ValueError: such a loss; one that divides each sample by the weight of its class; what it
            raises itself, with a remedy.
    """
    divides = []
    with _probe.watching(lambda *call: divides.append(_divides(*call))):
        refusal = _refused(model, values, whole)
    if refusal is None:
        if any(divides) or _is_mean_over_classes(model, values, whole):
            raise ValueError(
                "loss must be that of a sample, got a mean that divides it by the weight of its "
                "class; use reduction='sum'; the mean over samples is taken here"
            )
        return
    scores = max(2, model.forward.once(values, _probe.inputs(model.input_shape, whole)).shape[-1])
    if model.classes or _refused(replace(model, classes=scores), values, whole) is not None:
        raise refusal
    raise ValueError(
        "loss must know how many classes there are, got no number for one that takes classes; "
        f"give classes={scores}"
    ) from refusal


def _divides(func, args, given):
    """Is it a call of torch's losses that divides by weights of classes?"""
    from torch.nn import functional as F

    if func not in (F.cross_entropy, F.nll_loss) or given.get("weight") is None:
        return False
    sums = given.get("size_average") is False or given.get("reduce") is False
    shares = args[1].is_floating_point()  # of classes: these weights are kept
    return given.get("reduction", "mean") == "mean" and not (sums or shares)


def _is_mean_over_classes(model, values, whole):
    """Is the loss of two samples at once (w_i l_i + w_j l_j) / (w_i + w_j), with other weights?"""
    import torch

    # then single samples do not show the weights; a loss that takes no two is no such mean
    x, loss = _probe.inputs(model.input_shape, whole), model.output_loss.loss
    with torch.no_grad():
        out = model.forward.once(values, x)
    for i in range(model.classes - 1):
        y = torch.tensor([i, i + 1]).reshape(-1, *[1] * len(model.target_shape))
        y = y.expand(-1, *model.target_shape)
        shares = []
        for pair in (out[:2], out[1:3]):
            try:
                with torch.no_grad():
                    both, ends = float(loss(pair, y)), [float(loss(pair[k], y[k])) for k in (0, 1)]
            except Exception:  # noqa: BLE001 - whatever it raises, it takes single samples
                return False
            apart = ends[0] - ends[1]
            shares.append((both - ends[1]) / apart if abs(apart) > 1e-6 * abs(both) else math.nan)
        same = abs(shares[0] - shares[1]) < 1e-8
        if same and 0 < shares[0] < 1 and abs(shares[0] - 0.5) > 1e-6:
            return True
    return False


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
            said = untrue(
                lambda t: (weights * model.losses_of(out + t * move, y, y.shape[:1])).sum(), t
            )
        if said:
            raise ValueError(
                f"loss must be differentiable in the output, got {said}; use no detach(), "
                "no_grad() or gradients of one's own that are not true"
            )
