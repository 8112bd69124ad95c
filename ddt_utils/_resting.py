r"""Where walkers on a line are after a long time, by quadrature; read as a part of ``exact``."""

from __future__ import annotations

import numpy as np

from ddt_utils import _checks
from ddt_utils._panels import Problem, converge


def stationary_density(landscape, noise, x, *, convention="ito", rtol=1e-10) -> np.ndarray:
    r"""The normalised stationary density :math:`m(x)/\int m`; for constant D it is exp(−L/D)/Z.

    Args:
        landscape: one-dimensional and confining.
        noise: gives D(x).
        x: where the density is wanted, any shape; far out in a tail, where less than 1e-17 of the
            mass is left, the result is 0.
        convention: as in :func:`ddt_utils.exact.mean_first_passage_time`.
        rtol: as there.

    Returns:
        Densities, the shape of ``x``, per unit of x.

    Raises:
        ValueError: as there.
        ArithmeticError: as there.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> well, push = catalog.quartic(), noise.WhiteNoise(0.125)
        >>> stationary_density(well, push, [-1, 0]).round(4)
        array([0.7088, 0.0959])
    """
    x = _checks.array("x", x, finite=False)
    if np.isnan(x).any():
        raise ValueError(f"x must be real numbers, got NaN at {np.argwhere(np.isnan(x))[0]}")
    points = np.unique(x)
    problem = Problem(landscape, noise, convention)

    def log_density(panels):
        inside = (points >= panels.edges[0]) & (points <= panels.edges[-1])
        z = points[inside]
        log_p = np.full(points.shape, -1e4)  # beyond the panels there is nothing: exp gives 0
        log_p[inside] = -panels.potential_at(z) - (1 - problem.alpha) * np.log(problem.diffusion(z))
        log_p[inside] -= panels.log_integral(panels.log_speed)
        return log_p

    log_p = converge(problem, log_density, None, None, (), _checks.number("rtol", rtol))
    return np.exp(log_p)[np.searchsorted(points, x)]


def occupation(landscape, noise, *, lower=None, upper=None, convention="ito", rtol=1e-10) -> float:
    r"""How much of the resting walkers lies between two points, :math:`\int_l^u m/\int m`.

    Between two saddles it is the occupation of a well.

    Args:
        landscape: one-dimensional and confining.
        noise: gives D(x).
        lower: left end of the interval, or None: minus infinity.
        upper: right end, or None: plus infinity.
        convention: as in :func:`ddt_utils.exact.mean_first_passage_time`.
        rtol: as there; it holds for small shares too.

    Returns:
        The share, from 0 to 1.

    Raises:
        ValueError: as there; the interval is empty.
        ArithmeticError: as there.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> tilted, push = catalog.tilted_quartic(0.1), noise.WhiteNoise(0.125)
        >>> round(occupation(tilted, push, upper=0), 4)
        0.7999
    """
    ends = {}
    for name, end in (("lower", lower), ("upper", upper)):
        ends[name] = None if end is None else _checks.number(name, end)
    points = tuple(e for e in ends.values() if e is not None)
    if len(points) == 2 and not points[0] < points[1]:
        raise ValueError(f"lower must be below upper, got {points[0]:g} and {points[1]:g}")
    low, high = (-np.inf if ends["lower"] is None else points[0]), np.inf
    high = high if ends["upper"] is None else points[-1]

    def log_share(panels):
        speed = panels.log_speed
        return panels.log_integral(speed, low, high) - panels.log_integral(speed)

    problem = Problem(landscape, noise, convention)
    rtol = _checks.number("rtol", rtol)
    return float(np.exp(converge(problem, log_share, None, None, points, rtol)))
