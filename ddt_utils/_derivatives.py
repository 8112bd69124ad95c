"""A model's loss and its derivatives at many places at once, each of shape (R, n)."""

from __future__ import annotations

from dataclasses import dataclass

from ddt_utils import _checks
from ddt_utils.model import alone, differentiable, known_targets

_ENTRIES = 2**24  # of the arrays that are worked on at once, 128 MB


@dataclass(frozen=True, eq=False)
class Derivatives:
    """The loss of a model over its samples as a function of θ.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        x: inputs, a tensor of shape (m, ...).
        y: targets, a tensor of m rows.
    """

    model: object
    x: object
    y: object

    def losses(self, theta):
        """The loss at each place.

        Args:
            theta: shape (R, n).

        Returns:
            A tensor of shape (R,).
        """
        with known_targets():
            return self.model.loss(theta, self.x, self.y)

    def slopes(self, theta):
        """The gradient at each place.

        Args:
            theta: shape (R, n).

        Returns:
            A tensor of shape (R, n).
        """
        import torch

        with differentiable():
            place = theta.detach().clone().requires_grad_()
            return torch.autograd.grad(self.losses(place).sum(), place)[0]

    def bends(self, theta):
        """The Hessian at each place.

        Args:
            theta: shape (R, n).

        Returns:
            A tensor of shape (R, n, n).
        """
        from torch.func import hessian, vmap

        n = theta.shape[-1]
        with differentiable(), known_targets(), alone():
            one = hessian(lambda t: self.model.loss(t, self.x, self.y))
            return vmap(one, chunk_size=max(1, _ENTRIES // (n * (n + self.x.numel()))))(theta)

    def sample_slopes(self, theta):
        """The gradient of each sample's loss at each place.

        Args:
            theta: shape (R, n).

        Returns:
            A tensor of shape (R, m, n).
        """
        import torch

        m = len(self.x)
        with differentiable():
            rows = theta.split(max(1, _ENTRIES // (m * theta.shape[1])))
            return torch.cat([self._each(some) for some in rows])

    def _each(self, theta):
        """A replica for every place and sample, each with a minibatch of one."""
        import torch

        k, m = len(theta), len(self.x)
        crowd = theta.detach().repeat_interleave(m, 0).requires_grad_()
        x, y = (part.repeat(k, *[1] * (part.ndim - 1))[:, None] for part in (self.x, self.y))
        with known_targets():
            total = self.model.sample_losses(crowd, x, y).sum()
        return torch.autograd.grad(total, crowd)[0].reshape(k, m, -1)

    def weighted_products(self, theta, weights, vectors):
        r"""A weighted sum of the samples' Hessians times a vector, :math:`\sum_iw_iH_iv`.

        Args:
            theta: shape (R, n).
            weights: w, shape (R, m).
            vectors: v, shape (R, n).

        Returns:
            A tensor of shape (R, n).
        """
        import torch

        with differentiable(), known_targets():
            place = theta.detach().clone().requires_grad_()
            total = (weights * self.model.sample_losses(place, self.x, self.y)).sum()
            (slope,) = torch.autograd.grad(total, place, create_graph=True)
            if not slope.requires_grad:  # losses without curvature
                return torch.zeros_like(place)
            return torch.autograd.grad((slope * vectors).sum(), place, materialize_grads=True)[0]


def derivatives(model, x, y) -> Derivatives:
    """A model and its samples, checked.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        x: inputs, shape (m, ...).
        y: targets, m rows.

    Returns:
        Its derivatives, in double precision.

    Raises:
        ValueError: numbers that are not finite, no samples, or targets that are not the model's.
    """
    import torch

    _checks.model(model)
    x = model.inputs(x)
    with differentiable():
        return Derivatives(model, torch.tensor(x), torch.as_tensor(model.targets(y, len(x))))


def output_loss(model, shape):
    """One sample's loss as a function of its outputs and its target, to be mapped over samples.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        shape: of one sample's outputs; they may also come flat.

    Returns:
        The function; it refuses, as the model does, losses of another shape.
    """

    def loss(out, label):
        return model.losses_of(out.reshape(1, *shape), label[None], (1,))[0]

    return loss


def of_any_label(model, bend, shape, out, labels, *more):
    """What the loss's curvature in the outputs says, which must not depend on the labels.

    With classes they are asked for each; the loss must then be minus the logarithm of their
    probability (of a sequence it is a mean, and is not asked).

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        bend: a function of one sample's outputs, its target, and what else there is of it.
        shape: of one sample's outputs.
        out: outputs, m rows, flat or not.
        labels: targets, m rows.
        more: of each sample, m rows each.

    Returns:
        ``bend`` of each sample.

    Raises:
        ValueError: it does depend on the labels, or probabilities do not add up to one.
    """
    from torch.func import vmap

    found, zeros = vmap(bend)(out, labels, *more), labels * 0
    for c in range(0 if bool(labels.any()) else 1, max(2, model.classes)):
        other = vmap(bend)(out, zeros + c, *more)
        if not found.allclose(other, rtol=1e-9, atol=1e-12, equal_nan=True):
            raise ValueError(
                f"the outputs of {model.name} must be natural parameters, got a curvature of the "
                "loss that depends on the label; average sample_gradients over the labels instead"
            )
    if model.classes and not model.target_shape:
        loss = vmap(output_loss(model, shape))
        total = sum((-loss(out, zeros + c)).exp() for c in range(model.classes))
        far = (total - 1).abs().max()
        if far > 1e-9:
            raise ValueError(
                f"the loss of {model.name} must be minus the logarithm of a class's probability, "
                f"got probabilities that add up to 1 only within {float(far):.3g}; average "
                "sample_gradients over the labels with the probabilities that you mean"
            )
    return found


def jacobians(model, theta, x, chunk=None):
    """The Jacobian of each sample's outputs, flat.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        theta: shape (n,).
        x: inputs of m samples.
        chunk: samples that are differentiated at once; by default all.

    Returns:
        A tensor of shape (m, k, n).
    """
    import torch
    from torch.func import grad, jacrev, vmap

    def outputs(theta, xi):
        return model.outputs(theta, xi[None])[0].flatten()

    try:
        return vmap(jacrev(outputs), (None, 0), chunk_size=chunk)(theta, x)
    except RuntimeError:  # some layers, PReLU's among them, are mapped over samples only
        count = model.outputs(theta, x[:1]).numel()
        rows = [grad(lambda t, xi, k=k: outputs(t, xi)[k]) for k in range(count)]
        return torch.stack([vmap(row, (None, 0), chunk_size=chunk)(theta, x) for row in rows], 1)


def places(name: str, model, values):
    """Parameter vectors, checked.

    Args:
        name: what they are called.
        model: has ``size`` parameters.
        values: shape (n,) or (R, n).

    Returns:
        A tensor of shape (R, n), in double precision.

    Raises:
        ValueError: another shape, none at all, or numbers that are not finite.
    """
    import torch

    remedy = f"{model.name} has {model.size} parameters"
    found = _checks.array(name, getattr(values, "location", values), remedy=remedy)
    found = found[None] if found.ndim == 1 else found
    if found.ndim and not len(found):
        raise ValueError(f"{name} must not be empty, got shape {found.shape}; {remedy}")
    found = _checks.array(name, found, shape=(None, model.size), remedy=remedy)
    with differentiable():
        return torch.tensor(found)


def place(name: str, model, values):
    """One parameter vector, checked.

    Args:
        name: what it is called.
        model: has ``size`` parameters.
        values: shape (n,), or (1, n); a critical point is taken by its location.

    Returns:
        A tensor of shape (n,), in double precision.

    Raises:
        ValueError: another shape, several vectors, or numbers that are not finite.
    """
    found = places(name, model, values)
    if len(found) > 1:
        raise ValueError(
            f"{name} must be one parameter vector of shape ({model.size},), got "
            f"{tuple(found.shape)}; take one at a time"
        )
    return found[0]
