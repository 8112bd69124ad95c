r"""What a way out of a network's minimum costs: the exponents that theories predict for SGD.

Weak noise leaves a minimum in a time :math:`\ln\tau\approx S`, and theories differ in S. For SGD
with the covariance :math:`\Sigma` of one sample's gradient, so that :math:`C=\Sigma/B` and
:math:`D=\eta\Sigma/2B`:

* *theorem*: density diffusion theory, :math:`\Sigma=H`, along the escape direction e alone,
  :math:`S=\frac{2B\Delta L}{\eta}\bigl(\frac s{H_{ae}}+\frac{1-s}{|H_{be}|}\bigr)` with
  :math:`0\le s\le1` (Xie, Sato and Sugiyama, ICLR 2021);
* *measured noise*: the same with the measured :math:`\Sigma_{ae}` and :math:`\Sigma_{be}`;
* *lowest path*: :math:`S=\frac B\eta\int 2|\nabla L|\,|d\theta|/(\hat t\cdot\Sigma\,\hat t)` along
  the path of lowest loss, as if the walker were held on it;
* *diffusion*: the least action of Gaussian noise with this :math:`\Sigma(\theta)`;
* *minibatches*: the least action of the minibatches themselves, see :mod:`ddt_utils.action`.

The last is the true one for small steps; what the others miss is what they leave out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks
from ddt_utils._derivatives import Derivatives, derivatives
from ddt_utils.action import LeastAction, SampleGradients, least_action
from ddt_utils.passes import Pass


@dataclass(frozen=True, eq=False)
class Exponents:
    r"""Predicted S of :math:`\ln\tau\approx S`, from a minimum to a saddle.

    Args:
        theorem: for s = 1 (the curvature of the minimum counts) and s = 0 (that of the saddle).
        measured_noise: the same with the measured noise in the place of the curvature.
        lowest_path: the integral along the path of lowest loss.
        diffusion: the least action of the Gaussian noise; None if it was not asked for.
        minibatches: the least action of the minibatches; None if it was not asked for.

    Example:
        >>> Exponents((2.0, 4.0), (3.0, 5.0), 3.5, None, None).theorem
        (2.0, 4.0)
    """

    theorem: tuple[float, float]
    measured_noise: tuple[float, float]
    lowest_path: float
    diffusion: LeastAction | None
    minibatches: LeastAction | None


def minibatches(
    model,
    x,
    y,
    *,
    learning_rate: float,
    batch_size: float,
    gaussian: bool = False,
    floor: float = 0.0,
) -> SampleGradients:
    r"""SGD on a model, as a process for :func:`ddt_utils.action.least_action`.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        learning_rate: η.
        batch_size: B, samples drawn with replacement.
        gaussian: take the Gaussian of the same mean and covariance, the diffusion, instead.
        floor: added to every eigenvalue of Σ, as Gaussian noise. A model of at least as many
            parameters as samples needs it, because then Σ is singular; let it tend to zero.

    Returns:
        The process.

    Raises:
        ValueError: samples that do not fit the model, or numbers out of range.

    Example:
        >>> from ddt_utils import networks
        >>> from ddt_utils.action import least_action
        >>> line, x, y = networks.linear(1), [[1.0], [1.0]], [1.0, -1.0]
        >>> for gaussian in (False, True):
        ...     process = minibatches(line, x, y, learning_rate=0.1,
        ...                           batch_size=2, gaussian=gaussian)
        ...     print(round(least_action(process, [0], [0.5]).value, 4))
        5.4969
        5.0
    """
    import torch

    at = derivatives(model, x, y)
    floor = _checks.number("floor", floor, least=0, remedy="it is added to the noise")

    def gradients(points):
        return at.sample_slopes(torch.tensor(points)).numpy()

    rates = dict(learning_rate=learning_rate, batch_size=batch_size, gaussian=gaussian)
    return _Minibatches(gradients, model.size, at=at, floor=floor, **rates)


def exponents(
    model,
    way: Pass,
    x,
    y,
    *,
    learning_rate: float,
    batch_size: float,
    floor: float = 0.0,
    links: int = 8,
    actions: bool = True,
) -> Exponents:
    """The exponents of a way out, by every theory.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        way: one of :mod:`ddt_utils.passes`.
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        learning_rate: η.
        batch_size: B.
        floor: as for :func:`minibatches`.
        links: of the coarsest chain of the least actions.
        actions: find the least actions, which takes most of the time.

    Returns:
        The exponents, each to be compared with the slope or the value of ln τ.

    Raises:
        ValueError: a singular Σ where ``floor`` is zero, or arguments that do not fit.
        ArithmeticError: a least action was not found.

    Example:
        >>> from ddt_utils import networks, passes
        >>> model = networks.Model(  # (w² − y)²/2, a double well
        ...     "square", (("w", (1,)),),
        ...     lambda blocks, x: blocks["w"][..., None] ** 2 * x,
        ...     lambda out, y: (out[..., 0] - y) ** 2 / 2, (1.0,))
        >>> x, y = [[1.0], [1.0]], [0.0, 2.0]
        >>> way = passes.over(model, [0.1], x, y, start=[1.0])
        >>> got = exponents(model, way, x, y, learning_rate=0.5, batch_size=1,
        ...                 floor=0.1, actions=False)
        >>> [round(bound, 9) for bound in got.theorem]
        [0.5, 1.0]
        >>> round(got.measured_noise[0], 4)
        0.4878
    """
    if not isinstance(way, Pass):
        raise ValueError(f"way must be a Pass, got {way!r}; see passes.exits")
    given = dict(learning_rate=learning_rate, batch_size=batch_size, floor=floor)
    process = minibatches(model, x, y, **given, gaussian=True)
    links = _checks.whole("links", links, least=4, remedy="a curve needs a shape")
    e, scale = way.direction, process.scale
    bends = e @ way.minimum.hessian @ e, -e @ way.saddle.hessian @ e
    if not bends[0] > 0:
        raise ValueError(f"the curvature along e must be positive at the minimum, got {bends[0]}")
    noises = np.einsum(
        "i,kij,j->k", e, _noise(process, np.stack([way.minimum.location, way.saddle.location])), e
    )
    if not (noises > 0).all():
        raise ValueError(
            f"the noise along the escape direction must be positive, got {noises.tolist()} at the "
            "minimum and the saddle; give a floor, and let it tend to zero"
        )
    climb = 2 * scale * way.barrier
    ends = way.minimum, way.saddle
    straight = [
        least_action(minibatches(model, x, y, **given, gaussian=one), *ends, links=links)
        if actions
        else None
        for one in (True, False)
    ]
    return Exponents(
        tuple(float(climb / bend) for bend in bends),
        tuple(float(climb / noise) for noise in noises),
        path_integral(process, way.up),
        *straight,
    )


def path_integral(process: SampleGradients, points) -> float:
    r"""The exponent of a walker that is held on a path, :math:`\int dL/D` with D along it.

    Args:
        process: one of :func:`minibatches`.
        points: of the path, shape (k, n).

    Returns:
        :math:`\frac B\eta\int2\,\nabla L\cdot d\theta/(\hat t\cdot\Sigma\,\hat t)`.

    Raises:
        ValueError: points of another shape, all at one place, or a way without noise.

    Example:
        >>> import numpy as np
        >>> from ddt_utils import networks
        >>> process = minibatches(networks.linear(1), [[1.0], [1.0]], [1.0, -1.0],
        ...                       learning_rate=0.1, batch_size=2)
        >>> path_integral(process, np.linspace(0, 0.5, 9)[:, None])
        5.0
    """
    if not isinstance(process, SampleGradients):
        raise ValueError(f"process must be one of minibatches, got {process!r}")
    points = _checks.array("points", points, shape=(None, process.dimension))
    apart = np.diff(points, axis=0).any(axis=1)
    if not apart.any():
        raise ValueError(f"points must be a path, two places or more, got {len(points)} at one")
    points = points[np.append(True, apart)]  # a walker that waits pays nothing
    middles, steps = (points[1:] + points[:-1]) / 2, np.diff(points, axis=0)
    noise = np.einsum("ki,kij,kj->k", steps, _noise(process, middles), steps)
    if not (noise > 0).all():
        raise ValueError(
            f"the noise along the path must be positive, got {noise.min():.3g} times a step "
            "squared; give minibatches a floor, and let it tend to zero"
        )
    climb = np.sum(process.gradients(middles).mean(axis=1) * steps, axis=1)
    return float(2 * process.scale * np.sum(climb * np.sum(steps**2, axis=1) / noise))


@dataclass(frozen=True, eq=False)
class _Minibatches(SampleGradients):
    """Minibatches of a model: exact Hessians of its samples, and noise that is even everywhere."""

    at: Derivatives | None = None
    floor: float = 0.0

    def _cumulant(self, points):
        inner, even = super()._cumulant(points), self.floor * np.eye(self.dimension)

        def floored(q):
            value, slope, bend = inner(q)
            return value + self.floor * np.sum(q**2, axis=1) / 2, slope + q @ even, bend + even

        return floored

    def _products(self, points, weights, q, reach):
        import torch

        return self.at.weighted_products(*map(torch.tensor, (points, weights, q))).numpy()


def _noise(process, points):
    """Σ at each point, shape (k, n, n)."""
    return process._cumulant(points)(np.zeros(points.shape))[2]
