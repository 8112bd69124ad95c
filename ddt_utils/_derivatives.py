"""A model's loss and its derivatives at many places at once, each of shape (R, n)."""

from __future__ import annotations

from dataclasses import dataclass

from ddt_utils import _checks
from ddt_utils.model import known_targets

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

        place = theta.detach().requires_grad_()
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
        with known_targets():
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

        place = theta.detach().requires_grad_()
        with known_targets():
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
    return Derivatives(model, torch.tensor(x), torch.as_tensor(model.targets(y, len(x))))


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
    if not len(found):
        raise ValueError(f"{name} must not be empty, got shape {found.shape}; {remedy}")
    return torch.tensor(_checks.array(name, found, shape=(None, model.size), remedy=remedy))


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
