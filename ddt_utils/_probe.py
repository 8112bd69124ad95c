"""Is a module a smooth function of its parameters, sample by sample? Asked once, for `modules`."""

from __future__ import annotations

import operator
from collections import deque
from contextlib import contextmanager

import numpy as np

_SAMPLES, _PLACES = 3, 9
_REMEDIES = {
    "in-place": "write x = x + … in the place of x += …, and activations without inplace=True",
    "inplace": "write x = x + … in the place of x += …, and activations without inplace=True",
    "random": "draw no random numbers in forward; layers that drop out are switched off",
    "control flow": "put torch.where in the place of an if on values",
    ".item()": "put torch.where in the place of an if on values",
    "autograd.function": "give the function a setup_context and a jvp, or write it in torch's own",
    "forward ad": "write it in functions that torch differentiates forward over reverse, such as "
    "smooth_l1_loss for huber_loss",
    "broadcast shape": "write x = x + … in the place of x += …, which cannot grow",
}


def inputs(sample, whole, seed=0):
    """A few samples to try a module on: normal numbers, or zeros and ones."""
    import torch

    draw = np.random.default_rng(seed)
    shape = (_SAMPLES, *sample)
    if whole:
        return torch.from_numpy(draw.integers(0, 2, shape))
    return torch.from_numpy(draw.standard_normal(shape))


def output_shape(forward, blocks, x):
    """The shape of one sample's output, of a module that may be trusted.

    Args:
        forward: of :mod:`._module`.
        blocks: parameters by name.
        x: inputs of a few samples.

    Returns:
        The shape.

    Raises:
        ValueError: it draws random numbers, looks from sample to sample, writes to what it is
            given, returns no tensor in double precision, or is not smooth in its parameters.
    """
    import torch

    constants = {name: part.clone() for name, part in forward.constants().items()}
    given = x.clone()
    held = _held(forward.module)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), derivatives():
        out = _one_tensor(forward.once(blocks, x), len(x))
        again = []
        for seed in range(4):  # layers that drop out may drop the same twice, by chance
            torch.manual_seed(seed)
            again.append(forward.once(blocks, x))
        alone = torch.cat([_one_tensor(forward.once(blocks, xi[None]), 1) for xi in given])
    changed = [k for k, part in forward.constants().items() if not _equal(part, constants[k])]
    if changed or not _equal(x, given):
        raise ValueError(
            f"forward must not write to {'its inputs' if not changed else repr(changed[0])}; write "
            "x = x + … in the place of x += …, and activations without inplace=True"
        )
    kept = [
        name for name, now in _held(forward.module).items() if not _same(held.get(name, ()), now)
    ]
    if kept:
        raise ValueError(
            f"forward must keep nothing of a call in the module, got the attribute {kept[0]!r}; "
            "keep it in a variable of forward, or return it"
        )
    if not all(_equal(out, one) for one in again):
        raise ValueError(
            "forward must give the same output twice, got another one; " + _REMEDIES["random"]
        )
    if alone.shape != out.shape or not torch.allclose(
        alone, out, rtol=1e-6, atol=1e-9, equal_nan=True
    ):
        raise ValueError(
            "module must treat each sample by itself, got other outputs for a sample alone than "
            "in a batch; take no mean over the first axis, and no squeeze() of it"
        )
    with torch.random.fork_rng(devices=[]):
        _smooth(forward, blocks, given)
    return tuple(out.shape[1:])


def needs_lift(forward, blocks, whole) -> bool:
    """Must the parameters depend on the sample, so that each sample can have its own gradient?

    Args:
        forward: of :mod:`._module`.
        blocks: parameters by name.
        whole: are inputs whole numbers?

    Returns:
        Whether they must.
    """
    from torch.func import grad, vmap

    def slopes(xi):
        return grad(lambda own: forward.once(own, xi[None]).sum())(blocks)

    try:
        vmap(slopes)(inputs(forward.sample, whole))
    except RuntimeError:
        return True
    return False


def _one_tensor(out, count):
    """An output that is one tensor in double precision, with a row for each sample."""
    import torch

    if not torch.is_tensor(out):
        raise ValueError(
            f"forward must return one tensor, got {type(out).__name__}; wrap the module in one "
            "that picks it"
        )
    if out.dtype != torch.float64:
        raise ValueError(
            f"forward must return real numbers of the precision of its parameters, got {out.dtype} "
            "for torch.float64; take x.dtype in the place of .float(), and the real part"
        )
    if not out.ndim or len(out) != count or not out.numel():
        raise ValueError(
            f"forward must return a row for each of {count} samples, got shape {tuple(out.shape)}; "
            "keep the first axis for the samples"
        )
    return out


def _smooth(forward, blocks, x):
    """Refuse what has no two derivatives for many networks at once, or steps."""
    import torch
    from torch.func import grad, jvp, vmap

    draw = np.random.default_rng(1)
    moves = {
        name: torch.from_numpy(draw.standard_normal(part.shape)) * (0.1 + _spread(part))
        for name, part in blocks.items()
    }
    with torch.no_grad():
        out = forward.once(blocks, x)
    weights = torch.from_numpy(draw.standard_normal(out.shape))

    def value(blocks):
        return (weights * forward.once(blocks, x)).sum()

    def at(t, blocks):
        return {name: part + t * moves[name] for name, part in blocks.items()}

    def along(t, blocks):
        return jvp(grad(value), (at(t, blocks),), (moves,))

    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    with torch.enable_grad(), derivatives():
        slopes, _ = vmap(along, (0, None))(ends, blocks)
        still = {name for name, slope in slopes.items() if not bool(slope.any())}
        for k in range(1, _PLACES if still else 0):
            found = grad(value)(at(k / _PLACES, blocks))
            still = {name for name in still if not bool(found[name].any())}
        own = {k: p.clone().requires_grad_() for k, p in blocks.items()}
        result = value(own)
        if not result.requires_grad:
            raise ValueError(
                "forward must be differentiable in its parameters, got outputs without a "
                "gradient; use no detach(), no_grad() or argmax in it"
            )
        reached = torch.autograd.grad(result, list(own.values()), allow_unused=True)
    for (name, part), slope in zip(blocks.items(), reached, strict=True):
        if name not in still:
            continue
        with torch.no_grad():
            moved = [
                forward.once(blocks | {name: part + far * moves[name]}, x)
                for far in (1, -1, 10, -10)
            ]
        if not all(_equal(one, out) for one in moved):
            raise ValueError(
                f"forward must be differentiable in its parameters, got a gradient of zero for "
                f"{name!r}, which moves the output; use no step functions, detach() or no_grad()"
            )
        if slope is None:
            raise ValueError(
                f"every parameter must reach the output, got {name!r}, which does not; remove it, "
                "or freeze it with requires_grad_(False)"
            )
    with derivatives():
        _true(value, lambda t: at(t, blocks), moves)


def _true(value, at, moves):
    """Refuse a gradient that is not what the output changes by, as behind a detach().

    Differences over a step and over half of it tell a smooth place from a kink.

    Raises:
        ValueError: such a gradient.
    """
    import torch
    from torch.func import grad_and_value

    for place in (0.2, 0.5, 0.9):
        slope, level = grad_and_value(value)(at(place))
        told = float(sum((part * moves[name]).sum() for name, part in slope.items()))
        with torch.no_grad():
            rises = [
                float(value(at(place + far)) - value(at(place - far))) / (2 * far)
                for far in (1e-5, 5e-6)
            ]
        scale = abs(told) + abs(rises[1]) + 1e-3 * abs(float(level))
        smooth = abs(rises[0] - rises[1]) < 1e-3 * scale
        if smooth and abs(told - rises[1]) > 0.01 * scale:
            raise ValueError(
                f"forward must be differentiable in its parameters, got the slope {told:.4g} where "
                f"the output changes by {rises[1]:.4g}; use no detach(), no_grad(), padding_idx or "
                "gradients of one's own that are not true"
            )


def _held(module):
    """What layers hold beside parameters, buffers and layers, by name; lists and dicts apart."""
    own = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
    return {
        f"{path}.{name}".strip("."): list(_taken_apart(part))
        for path, layer in module.named_modules()
        for name, part in vars(layer).items()
        if name not in own
    }


def _taken_apart(part, depth=4):
    """A value and, if it holds others, all of these."""
    yield part
    if depth and isinstance(part, (list, tuple, dict, set, deque)):
        for one in (*part, *part.values()) if isinstance(part, dict) else part:
            yield from _taken_apart(one, depth - 1)


def _same(before, now):
    """The same objects, no more and no less?"""
    return len(before) == len(now) and all(map(operator.is_, before, now))


@contextmanager
def derivatives():
    """Torch's refusals, with what to do about them."""
    try:
        yield
    except (RuntimeError, TypeError, AttributeError) as error:
        text = str(error).strip()
        remedy = next((v for k, v in _REMEDIES.items() if k in text.lower()), "")
        first = text.splitlines()[0][:200] if text else type(error).__name__
        raise ValueError(
            "module must be one that torch.func differentiates, for many networks at once, got: "
            f"{first}; {remedy or 'write it in functions of torch that vmap and jvp know'}"
        ) from error


def _spread(part):
    return float(part.abs().mean())


def _equal(one, other):
    """The same numbers, or both none."""
    return one.shape == other.shape and bool(
        ((one == other) | ((one != one) & (other != other))).all()
    )
