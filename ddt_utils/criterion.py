"""When a walker counts as escaped: the criteria, by name, and the question that each answers.

Which criterion is used decides which law is measured. To pass the saddle is to leave a valley; to
climb above a level or to leave a box is to wander far from its bottom, in whatever direction is
easiest, and the three have different exponents under the noise of SGD.

Every criterion but the quench is accepted wherever ``exit`` is asked for, by
:mod:`ddt_utils.simulate` and by :mod:`ddt_utils.generator`; all are accepted by
:mod:`ddt_utils.replicas`, for networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils.landscape import Landscape


class Criterion:
    """What every criterion offers: its condition, as SymPy, and its question, in words."""

    #: The question that an escape by this criterion answers.
    question: str

    def condition(self, landscape: Landscape) -> sp.Basic:
        """What holds outside.

        Args:
            landscape: the loss, whose variables it is written in.

        Returns:
            A SymPy relational, or And/Or of such.

        Raises:
            NotImplementedError: here; every criterion has its own.
        """
        raise NotImplementedError

    def outside(self, theta, loss):
        """Which of the parameter vectors θ, a tensor of shape (R, n), are outside; shape (R,).

        Args:
            theta: the parameters of R networks.
            loss: a function that gives their losses over all samples, shape (R,).

        Returns:
            A tensor of truth values, shape (R,).

        Raises:
            NotImplementedError: here; every criterion has its own.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Beyond(Criterion):
    r"""At or past a plane: :math:`(\theta - p)\cdot n \ge 0`.

    Through a saddle, across its escape direction, this is the first passage to the saddle; through
    the far minimum it is the escape to the other valley.

    Args:
        point: p on the plane, n numbers (or one, in one dimension).
        direction: its normal, which points outwards; any length but zero.

    Raises:
        ValueError: the direction is zero, or has not as many numbers as the point; by
            :meth:`condition` and :meth:`outside`, if there are not as many variables.

    Example:
        >>> from ddt_utils import catalog
        >>> Beyond(0, +1).condition(catalog.quartic())
        x >= 0.0
    """

    point: float | tuple
    direction: float | tuple

    question = "When does the walker first reach this plane?"

    def __post_init__(self):
        """Check the arguments."""
        point, normal = _numbers("point", self.point), _numbers("direction", self.direction)
        if len(point) != len(normal) or not np.any(normal):
            raise ValueError(
                f"direction must point somewhere, with one number per coordinate, got {normal} at "
                f"the point {point}; at a saddle take critical.escape_direction"
            )
        object.__setattr__(self, "point", point)
        object.__setattr__(self, "direction", normal)

    def condition(self, landscape: Landscape) -> sp.Basic:
        r""":math:`(\theta - p)\cdot n \ge 0`, solved for θ in one dimension."""
        _require_size("point", self.point, landscape.dimension, landscape.name)
        if landscape.dimension == 1:
            x, (place,) = landscape.variables[0], self.point
            return x >= place if self.direction[0] > 0 else x <= place
        parts = zip(landscape.variables, self.point, self.direction, strict=True)
        return sp.Add(*(n * (v - p) for v, p, n in parts if n)) >= 0

    def outside(self, theta, loss):
        """See :meth:`Criterion.outside`."""
        _require_size("point", self.point, theta.shape[-1])
        return (theta - theta.new_tensor(self.point)) @ theta.new_tensor(self.direction) >= 0


@dataclass(frozen=True)
class LevelSet(Criterion):
    r"""At or above a level: :math:`L(\theta) \ge h`.

    With h the loss at the saddle the walker has climbed as high as the lowest way out, but it may
    have done so anywhere. On a line a loss only touches that level, so that walkers step over it
    and an exit moved for continuous time is misplaced: :mod:`ddt_utils.simulate` refuses it there;
    take :class:`Beyond`. In more dimensions it is so near the saddle alone.

    Args:
        height: h, an absolute value of the loss, not one above the minimum.

    Raises:
        ValueError: the height is not finite.

    Example:
        >>> from ddt_utils import catalog
        >>> LevelSet(-0.1).condition(catalog.quartic())
        x**4/4 - x**2/2 >= -0.1
    """

    height: float

    question = "When does the loss first reach this value?"

    def __post_init__(self):
        """Check the arguments."""
        (height,) = _numbers("height", self.height)
        object.__setattr__(self, "height", height)

    def condition(self, landscape: Landscape) -> sp.Basic:
        r""":math:`L(\theta) \ge h`."""
        return landscape.expression >= self.height

    def outside(self, theta, loss):
        """See :meth:`Criterion.outside`."""
        return loss(theta) >= self.height


@dataclass(frozen=True)
class Box(Criterion):
    r"""Out of a box: some :math:`|\theta_i - c_i| \ge r_i`.

    As we understand Xie, Sato and Sugiyama (2021), their networks count as escaped by a criterion
    of this kind.

    Args:
        centre: c, n numbers (or one, in one dimension).
        half_width: r > 0, one number for all coordinates or n numbers.

    Raises:
        ValueError: a width that is not positive, or not as many widths as coordinates; by
            :meth:`condition` and :meth:`outside`, if there are not as many variables.

    Example:
        >>> from ddt_utils import catalog
        >>> Box(-1, 0.5).condition(catalog.quartic())
        (x >= -0.5) | (x <= -1.5)
    """

    centre: float | tuple
    half_width: float | tuple

    question = "When has some parameter first moved this far?"

    def __post_init__(self):
        """Check the arguments."""
        centre, widths = _numbers("centre", self.centre), _numbers("half_width", self.half_width)
        widths = widths * len(centre) if len(widths) == 1 else widths
        if len(widths) != len(centre) or min(widths) <= 0:
            raise ValueError(
                f"half_width must be positive, one number or one per coordinate, got {widths} "
                f"around {centre}"
            )
        if any(c - r == c or c + r == c for c, r in zip(centre, widths, strict=True)):
            raise ValueError(
                f"half_width must be wider than the rounding of the centre, got {widths} around "
                f"{centre}; shift the origin"
            )
        object.__setattr__(self, "centre", centre)
        object.__setattr__(self, "half_width", widths)

    def condition(self, landscape: Landscape) -> sp.Basic:
        """The sides of the box, joined by "or"."""
        _require_size("centre", self.centre, landscape.dimension, landscape.name)
        sides = zip(landscape.variables, self.centre, self.half_width, strict=True)
        return sp.Or(*(side for v, c, r in sides for side in (v >= c + r, v <= c - r)))

    def outside(self, theta, loss):
        """See :meth:`Criterion.outside`."""
        _require_size("centre", self.centre, theta.shape[-1])
        far = (theta - theta.new_tensor(self.centre)).abs() >= theta.new_tensor(self.half_width)
        return far.any(-1)


@dataclass(frozen=True)
class Quench(Criterion):
    r"""In another valley: descent without noise from here does not end at the minimum.

    The loss is followed downhill, :math:`\theta' = \theta - \eta\nabla L`, until the gradient is
    small or the iterations are spent. Whoever then lies within ``radius`` of ``minimum`` has not
    escaped.

    A replica that is looked at often is sooner caught beyond the ridge on a visit from which it
    would have returned: looked at in every iteration, the time is that of the first passage to the
    ridge, about half of the escape time. Leave several relaxation times of the saddle,
    :math:`1/|\lambda_-|`, between two looks.

    Args:
        minimum: where a walker that has not escaped ends, n numbers.
        radius: how near is near, a distance in θ.
        learning_rate: of the descent; below 2 over the largest curvature.
        iterations: how many steps at most.
        tolerance: the largest component of the gradient at which the descent has arrived.

    Raises:
        ValueError: a number that is not positive; by :meth:`outside`, if there are not as many
            parameters; by :meth:`condition`, always: a quench is no region that an expression
            describes.

    Example:
        >>> Quench(minimum=(1.0,), radius=0.2, learning_rate=0.1).iterations
        10000
    """

    minimum: tuple
    radius: float
    learning_rate: float
    iterations: int = 10_000
    tolerance: float = 1e-6

    question = "Does descent without noise no longer lead back to the same minimum?"

    def __post_init__(self):
        """Check the arguments."""
        object.__setattr__(self, "minimum", _numbers("minimum", self.minimum))
        for name in ("radius", "learning_rate", "tolerance"):
            object.__setattr__(self, name, _checks.number(name, getattr(self, name), above=0))
        object.__setattr__(
            self, "iterations", _checks.whole("iterations", self.iterations, least=1)
        )

    def condition(self, landscape: Landscape) -> sp.Basic:
        """There is none."""
        raise ValueError(
            "a quench is no region that an expression describes; use Beyond a saddle, or the "
            "replicas of a network"
        )

    def outside(self, theta, loss):
        """See :meth:`Criterion.outside`."""
        import torch

        _require_size("minimum", self.minimum, theta.shape[-1])
        with torch.inference_mode(False), torch.enable_grad():
            place, moving = theta.detach().clone(), torch.arange(len(theta), device=theta.device)
            for _ in range(int(self.iterations)):
                here = place[moving].requires_grad_()
                (slope,) = torch.autograd.grad(loss(here).sum(), here)
                place[moving] = here.detach() - self.learning_rate * slope
                moving = moving[slope.abs().amax(-1) > self.tolerance]
                if not len(moving):
                    break
        return (place - place.new_tensor(self.minimum)).norm(dim=-1) > self.radius


def _numbers(name, values):
    remedy = "one per coordinate"
    if np.ndim(values) == 0 and not hasattr(values, "__len__"):
        return (_checks.number(name, values, remedy=remedy),)
    array = _checks.array(name, values, shape=(None,), remedy=remedy)
    if not array.size:
        raise ValueError(f"{name} must be finite numbers, {remedy}, got {values!r}")
    return tuple(float(value) for value in array)


def _require_size(name, values, size, whose="the parameters of these networks"):
    if len(values) != size:
        raise ValueError(
            f"{name} needs {size} numbers for {whose}, got {len(values)}; give one per variable"
        )
