"""A ``torch.nn.Module`` as a pure function of its parameters, for :mod:`.modules`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from ddt_utils import _checks


@dataclass(frozen=True, eq=False)
class Forward:
    """The outputs of a module, with its parameters given; leading dimensions are replicas.

    The module is a copy in double precision whose trainable parameters are zeros, so that it says
    what the model is, whatever its weights: its digest is that of code, buffers and constants.

    Args:
        module: the copy.
        sample: the shape of one sample.
        lifted: make the parameters depend on the sample, by adding zero. Some layers, recurrent
            ones among them, add in place to sums of parameters, which a ``vmap`` over samples alone
            refuses.
    """

    module: object
    sample: tuple[int, ...]
    lifted: bool = False

    def __call__(self, blocks, x):
        """Outputs (..., B, k) of blocks of parameters by name and inputs (..., B, *sample)."""
        import torch
        from torch.func import vmap

        name, first = next(iter(blocks.items()))
        lead = first.shape[: first.ndim - self.module.get_parameter(name).ndim]
        own = x.shape[: x.ndim - 1 - len(self.sample)]
        if tuple(x.shape[len(own) + 1 :]) != self.sample or x.ndim <= len(self.sample):
            raise ValueError(
                f"x must have shape (..., B, {', '.join(map(str, self.sample))}), got "
                f"{tuple(x.shape)}"
            )
        if not lead:
            return self.once(blocks, x.flatten(0, len(own))).unflatten(0, x.shape[: len(own) + 1])
        shape = torch.broadcast_shapes(lead, own)
        rows = {
            name: block.expand(*shape, *block.shape[len(lead) :]).flatten(0, len(shape) - 1)
            for name, block in blocks.items()
        }
        if own:
            x = x.expand(*shape, *x.shape[len(own) :]).flatten(0, len(shape) - 1)
        return vmap(self.once, (0, 0 if own else None))(rows, x).unflatten(0, shape)

    def once(self, blocks, x):
        """One network on one set of samples; an output that is one number gets its axis."""
        like = next(iter(blocks.values()))
        constants = {
            name: value.to(like.device, like.dtype if value.is_floating_point() else None)
            for name, value in self.constants().items()
        }
        if self.lifted:
            own = 0 * x.reshape(-1)[0].to(like.dtype)
            blocks = {name: block + own for name, block in blocks.items()}
        try:
            with _differentiable_attention():
                out = self._called(constants, blocks, x)
        except IndexError as error:  # an embedding has no such row
            raise ValueError(
                f"x must hold whole numbers that {type(self.module).__name__} knows, got "
                f"{_short(error)}; count its tokens from 0"
            ) from error
        return out[..., None] if getattr(out, "ndim", 0) == 1 else out

    def _called(self, constants, blocks, x):
        """The module's outputs; torch maps recurrent layers only under a gradient."""
        from torch.func import functional_call, vjp

        def call(blocks):
            given = constants | blocks
            given |= {name: given[first] for name, first in self.again.items()}
            return functional_call(self.module, given, (x,), tie_weights=False)

        return vjp(call, blocks)[0] if self.lifted else call(blocks)

    @cached_property
    def again(self) -> dict:
        """Names under which layers hold a tensor that an earlier layer holds, with its name there.

        A layer that is called in several places is one layer and is not met twice here. (Torch's
        own tying sets and restores its parameters twice, and leaves them as plain tensors.)
        """
        first, found = {}, {}
        for path, layer in self.module.named_modules():
            for own in (layer._parameters, layer._buffers):
                for name, part in own.items():
                    full = f"{path}.{name}" if path else name
                    if part is not None and first.setdefault(id(part), full) != full:
                        found[full] = first[id(part)]
        return found

    def constants(self) -> dict:
        """What is not trained, by name: buffers and frozen parameters."""
        frozen = {k: p for k, p in self.module.named_parameters() if not p.requires_grad}
        return frozen | dict(self.module.named_buffers())

    def trained(self) -> dict:
        """What is trained, by name; shared parameters once."""
        return {k: p for k, p in self.module.named_parameters() if p.requires_grad}


@dataclass(frozen=True, eq=False)
class OutputLoss:
    """The loss of outputs with any number of axes.

    Args:
        loss: one of :mod:`.losses`, for all samples at once; or of one sample, if ``own``.
        axes: of one sample's output.
        target_axes: of one sample's target.
        own: is it a loss of one's own, of one sample?
        flat: are all numbers of an output one residual?
    """

    loss: Callable
    axes: int
    target_axes: int
    own: bool = False
    flat: bool = False

    def __call__(self, out, y):
        """The losses, shape (..., B)."""
        from torch.func import vmap

        lead = out.shape[: out.ndim - self.axes]
        y = y.expand(*lead, *y.shape[y.ndim - self.target_axes :])
        if self.own:
            flat = [part.flatten(0, len(lead) - 1) for part in (out, y)]
            try:
                found = vmap(self.loss)(*flat)
            except ValueError as error:
                shapes = [tuple(part.shape[1:]) for part in flat]
                raise ValueError(
                    f"loss must take one sample's output of shape {shapes[0]} and target of shape "
                    f"{shapes[1]} and return a tensor, got: {_short(error)}; give targets= the "
                    "shape that it takes, for torch's losses often that of the output"
                ) from error
            if found.numel() != math.prod(lead):
                raise ValueError(
                    f"loss must return one number for a sample, got shape {tuple(found.shape[1:])};"
                    " take the sum or the mean"
                )
            return found.reshape(lead)
        if self.flat:
            return self.loss(
                out.flatten(len(lead)), y.flatten(len(lead)) if self.target_axes else y
            )
        found = self.loss(out, y)
        return found.flatten(len(lead)).mean(-1) if self.target_axes else found


def template(module):
    """A copy of a module as :class:`Forward` keeps it, and the values that it came with.

    Args:
        module: anything.

    Returns:
        The copy, and its trainable parameters by name.

    Raises:
        ValueError: it is no module, or one whose outputs are no function of one flat vector.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.modules.instancenorm import _InstanceNorm

    if not isinstance(module, torch.nn.Module) or isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            f"module must be a torch.nn.Module, not scripted, got {type(module).__name__}; make "
            "one with a forward(self, x)"
        )
    _refuse_wrapped(module)
    for name, part in [*module.named_parameters(), *module.named_buffers()]:
        if part.is_meta:
            raise ValueError(
                f"module must have numbers, got {name!r} on the meta device; give it some with "
                "to_empty and load_state_dict"
            )
        if isinstance(part, torch.nn.parameter.UninitializedTensorMixin):
            raise ValueError(
                f"module must know its shapes, got the lazy parameter {name!r}; call it once on a "
                "batch of inputs"
            )
    for name, part in module.named_modules():
        counts = isinstance(part, _InstanceNorm) and part.track_running_stats
        if isinstance(part, _BatchNorm) or counts:
            raise ValueError(
                "module must treat each sample by itself, got the layer "
                f"{name or 'module'!r}, {type(part).__name__}, whose output depends on the batch; "
                "put GroupNorm or LayerNorm in its place, and train that"
            )
        embeds = isinstance(part, (torch.nn.Embedding, torch.nn.EmbeddingBag))
        if embeds and part.padding_idx is not None and part.weight.requires_grad:
            raise ValueError(
                f"gradients must be true, got the layer {name or 'module'!r} with padding_idx="
                f"{part.padding_idx}, a row that moves the output and has none; leave it out, and "
                "put zeros in forward in the place of that row, or freeze the layer"
            )
    _refuse_parameters(module)
    frozen = [name for name, part in module.named_parameters() if not part.requires_grad]
    trained = {name: part for name, part in module.named_parameters() if part.requires_grad}
    if not trained:
        rest = f"all of {frozen} frozen" if frozen else "none"
        remedy = "call module.requires_grad_(True)" if frozen else "give it a layer with weights"
        raise ValueError(f"module must have parameters to train, got {rest}; {remedy}")
    try:
        kept = copy.deepcopy(module).double().cpu().eval()
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"module must be one that copy.deepcopy copies, got {_short(error)}; keep no tensor "
            "with a history as an attribute, and take off pruning (prune.remove) and the old "
            "weight_norm (remove_weight_norm)"
        ) from error
    values = {name: part.detach().double().cpu().clone() for name, part in trained.items()}
    for name, part in values.items():
        _checks.array(name, part, remedy="start from weights that are finite")
    for part in kept.parameters():
        part.grad = None
        if part.requires_grad:
            part.data.zero_()
    return kept, values


def _refuse_wrapped(module):
    """Refuse what torch has wrapped or compiled, which says no more what is computed."""
    import torch

    for name, part in module.named_modules():
        if isinstance(part, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
            remedy = "give the module inside, its .module"
        elif hasattr(part, "_orig_mod"):
            remedy = "give the module that was compiled, its ._orig_mod"
        elif getattr(part, "_compiled_call_impl", None) is not None:
            remedy = "give one on which compile() was not called"
        else:
            continue
        raise ValueError(
            f"module must be as it was written, got {name or 'a module'!r} wrapped or compiled, "
            f"{type(part).__name__}; {remedy}"
        )


def _refuse_parameters(module):
    """Refuse parameters that are no numbers of their own, or whose gradients are changed."""
    import torch

    stores = {}
    for name, part in module.named_parameters():
        if not part.is_floating_point():
            raise ValueError(
                f"parameters must be real numbers, got {name!r} of {part.dtype}; keep whole "
                "numbers in a buffer, and real and imaginary parts as two parameters"
            )
        if part._backward_hooks or getattr(part, "_post_accumulate_grad_hooks", None):
            raise ValueError(
                f"gradients must be what they are, got a hook on {name!r}, which would be dropped; "
                "freeze the parameter, or write the mask into forward"
            )
        stores.setdefault(part.untyped_storage().data_ptr(), []).append((name, part))
    for sharers in stores.values():
        if len(sharers) == 1 or not sharers[0][1].numel():
            continue
        end = max(part.untyped_storage().nbytes() // part.element_size() for _, part in sharers)
        owner = torch.full((end,), -1)
        for i, (name, part) in enumerate(sharers):
            own = owner.as_strided(part.size(), part.stride(), part.storage_offset())
            if (own >= 0).any():
                first = sharers[int(own.max())][0]
                raise ValueError(
                    f"parameters must have numbers of their own, got {name!r} in the memory of "
                    f"{first!r}; tie them by making them one, such as b.weight = a.weight"
                )
            own.fill_(i)


@contextmanager
def _differentiable_attention():
    """Torch's attention in the form that can be differentiated twice, forward too, and mapped."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _short(error):
    """The first line of an error."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]
