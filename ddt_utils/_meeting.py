"""What meets in a model: parameters, samples and targets, as tensors that belong together."""

from __future__ import annotations

from ddt_utils import _checks


def tensor(name: str, value) -> None:
    """Refuse what is no tensor.

    Args:
        name: what it is called.
        value: anything.

    Raises:
        ValueError: it is none.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        raise ValueError(
            f"{name} must be a tensor, got {type(value).__name__}; give torch.as_tensor({name})"
        )


def shape(model, theta, x, y) -> tuple:
    """The shape of the losses: leading axes, and the samples.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        theta: shape (..., n).
        x: inputs, shape (..., B, d).
        y: targets, shape (..., B).

    Returns:
        The shape (..., B).
    """
    at = x.ndim - 1 - len(model.input_shape)
    lead, own, count = theta.shape[:-1], x.shape[:at], x.shape[at : at + 1]
    others = y.shape[: max(0, y.ndim - 1 - len(model.target_shape))]
    if own in ((), lead) and others in ((), lead):
        return lead + count
    import torch

    return torch.broadcast_shapes(lead, own, others) + count


def require(model, theta, x, y) -> None:
    """Refuse what is no tensor of the model's samples, and targets that are no classes.

    Within a ``vmap`` over them targets cannot be read. Targets of another shape would be broadcast:
    each sample would meet all of them; so would inputs of another width.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        theta: shape (..., n).
        x: inputs, shape (..., B, d).
        y: targets, shape (..., B).

    Raises:
        ValueError: such arguments.
    """
    for name, part in (("theta", theta), ("x", x), ("y", y)):
        tensor(name, part)
    axes = len(model.input_shape)
    pairs = zip(model.input_shape, x.shape[max(0, x.ndim - axes) :], strict=False)
    if x.ndim <= axes or any(n not in (None, m) for n, m in pairs):
        wanted = ", ".join("any" if n is None else str(n) for n in model.input_shape)
        raise ValueError(
            f"x must have shape (..., B, {wanted}), got {tuple(x.shape)}; so {model.name} takes "
            "its samples"
        )
    count = x.shape[x.ndim - 1 - axes]
    found = tuple(y.shape[: y.ndim - len(model.target_shape)])
    if not found or found[-1] != count:
        raise ValueError(
            f"y must have one target for each of {count} samples, got shape {tuple(y.shape)}; "
            "drop or move an axis of it"
        )
    if not model.classes:
        return
    try:
        wrong = bool(((y != y.floor()) | (y < 0) | (y >= model.classes)).any())
    except RuntimeError:
        return
    if wrong:
        _checks.classes("y", y.tolist(), model.classes)
