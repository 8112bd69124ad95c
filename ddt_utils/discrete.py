r"""Exact results for the discrete walker itself: the truth for SGD, whose step is no error.

One step of length dt takes the walker from x to

.. math:: y = x - L'(x)\,dt + \sqrt{2 D(x)\,dt}\;\xi, \qquad \xi \sim \mathcal N(0, 1),

so with :math:`p(y|x)` for the normal density of y the mean time T inside (l, u), counted in whole
steps, and the stationary density P solve

.. math:: T(x) = dt + \int_l^u p(y|x)\,T(y)\,dy,

.. math:: P(y) = \int p(y|x)\,P(x)\,dx .

With dt the learning rate this is SGD with Gaussian noise of covariance :math:`C = 2D/\eta`; with
dt small it tends to the diffusion of :mod:`ddt_utils.exact`. Both equations are solved at
Gauss–Legendre nodes (Nyström's method; where a step is shorter than the nodes are apart, T is
interpolated instead). Every result is computed again on finer panels and a wider domain and refused
if the two differ.
"""

from __future__ import annotations

import numpy as np

from ddt_utils import _checks
from ddt_utils._diffusion import check_rate
from ddt_utils._panels import check_line
from ddt_utils._walk import walk

_ROUNDED = 0.01  # of the walkers, that rounding may move
_LEVELS = ((45, 1), (65, 2), (95, 3), (140, 5), (200, 8))  # climb of Φ, parts of a panel


def mean_first_passage_time(
    landscape, noise, *, step, start, lower=None, upper=None, rtol=1e-7
) -> float:
    """The mean time until the discrete walker is first seen at or beyond ``lower`` or ``upper``.

    No barrier is shifted and no crossing within a step is noticed: the overshoot is part of the
    process.

    Args:
        landscape: one-dimensional.
        noise: gives D(x), zero at single points at most. Of
            :class:`~ddt_utils.noise.MinibatchNoise` only the covariance is used; real minibatches
            have another law.
        step: dt, in units of t; for SGD the learning rate, which must be that of the noise.
        start: where the walker begins, between the ends.
        lower: absorbing end on the left, or None: none there.
        upper: absorbing end on the right, or None.
        rtol: relative difference between two refinements at which the result is accepted.

    Returns:
        The mean time in units of t, the number of steps times ``step``.

    Raises:
        ValueError: no absorbing end, a start outside, a step that is not positive or not the
            learning rate of the noise, more than one dimension.
        ArithmeticError: two refinements never agreed, because the walker is not held on the side
            without an end or because the step is too short for this method.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> well, white = catalog.quartic(), noise.WhiteNoise(0.125)
        >>> ask = {"step": 0.1, "start": -1, "upper": 0}
        >>> time = mean_first_passage_time(well, white, **ask)
        >>> round(time, 3)
        21.421
    """
    if lower is None and upper is None:
        raise ValueError(
            "a first passage needs an absorbing end, got lower=None and upper=None; "
            "give the point at which the walker counts as escaped"
        )
    start = _checks.number("start", start)
    lower = None if lower is None else _checks.number("lower", lower)
    upper = None if upper is None else _checks.number("upper", upper)
    low, high = (-np.inf if lower is None else lower), (np.inf if upper is None else upper)
    if not low < start < high:
        raise ValueError(f"start must lie inside ({low:g}, {high:g}), got {start:g}")

    def log_time(walk):
        from scipy.sparse import identity
        from scipy.sparse.linalg import splu

        rows, leak = walk.rows(walk.nodes).tocoo(), walk.leak(walk.nodes)
        inverse = splu((identity(leak.size) - rows).tocsc())
        times = inverse.solve(np.full(leak.size, walk.step))
        for _ in range(4):  # differences of times keep the digits that 1 − p loses
            flow = rows.data * (times[rows.row] - times[rows.col])
            lack = walk.step - leak * times - np.bincount(rows.row, flow, leak.size)
            correction = inverse.solve(lack)
            times = times + correction
        found = walk.step + float((walk.rows(np.array([start])) @ times)[0])
        if not (found > 0 and np.abs(correction).max() <= 1e-9 * np.abs(times).max()):
            raise ArithmeticError(
                "the mean time must be shorter than some 1e13 steps, or rounding decides; is the "
                "walker held on the side without an end, and can it get past every point without "
                "noise? else compare shorter times"
            )
        return np.log(found)

    return float(np.exp(_converge(landscape, noise, step, lower, upper, start, log_time, rtol)))


def stationary_density(landscape, noise, x, *, step, rtol=1e-6) -> np.ndarray:
    """The density in which the discrete walker comes to rest, normalised.

    Args:
        landscape: one-dimensional and confining.
        noise: as in :func:`mean_first_passage_time`.
        x: where the density is wanted, any shape.
        step: as there.
        rtol: difference between two refinements, relative to the largest density.

    Returns:
        Densities, the shape of ``x``, per unit of x.

    Raises:
        ValueError: as in :func:`mean_first_passage_time`.
        ArithmeticError: as there; also where valleys are joined so weakly (time scales 1e9 apart)
            that rounding decides between them.

    Example:
        A parabola of curvature h rests with the variance 2 D / (h (2 − h dt)), here 1/14.

        >>> import sympy as sp
        >>> from ddt_utils import landscape, noise
        >>> x = sp.Symbol("x", real=True)
        >>> bowl = landscape.Landscape(2 * x**2, (x,), name="bowl", box=((-2, 2),))
        >>> found = stationary_density(bowl, noise.WhiteNoise(0.2), [0], step=0.15)
        >>> (found * (2 * 3.14159265 / 14) ** 0.5).round(5)
        array([1.])
    """
    x = _checks.array("x", x)
    kept = {}

    def density(walk):
        from scipy.sparse import identity, vstack
        from scipy.sparse.linalg import splu

        rows = walk.rows(walk.nodes)
        mass = np.ones(walk.nodes.size)
        balance = (rows.T - identity(mass.size)).tocsr()
        total = np.zeros(mass.size)
        total[-1] = 1.0
        inverse = splu(vstack([balance[:-1], mass[None, :]]).tocsc())
        shares = inverse.solve(total)
        even = np.append(np.full(mass.size - 1, np.finfo(float).eps / mass.size), 0.0)
        moved = np.abs(inverse.solve(even)).sum()  # by rounding alone
        if not moved < _ROUNDED:
            raise ArithmeticError(
                f"the valleys of {landscape.name} must be joined well enough for a density at rest "
                f"to be found, but rounding moves {moved:.2g} of it between them; take more noise, "
                "or a landscape that has one valley alone"
            )
        found = (walk.density(x.ravel()) @ shares).reshape(x.shape)
        kept["density"] = np.maximum(found, 0.0)  # rounding leaves less than nothing in a tail
        peak = kept.setdefault("peak", np.max(shares / walk.weights))
        lost = shares @ sum(walk.outside(walk.nodes))
        return kept["density"] / (peak if abs(lost) < _checks.number("rtol", rtol) else np.nan)

    middle = (landscape.box[0][0] + landscape.box[0][1]) / 2
    _converge(landscape, noise, step, None, None, middle, density, rtol)
    return kept["density"]


def _converge(landscape, noise, step, lower, upper, start, quantity, rtol):
    """The quantity on ever finer panels and ever wider domains, until two agree to rtol."""
    check_line(landscape, noise, "the discrete walker", "use ")
    step, rtol = _checks.number("step", step), _checks.number("rtol", rtol)
    if not step > 0:
        raise ValueError(f"step must be positive and finite, got {step}")
    check_rate(noise, step)
    previous, difference = None, np.inf
    for climb, parts in _LEVELS:
        try:
            value = quantity(walk(landscape, noise, step, lower, upper, start, climb, parts))
        except ArithmeticError:
            if previous is None:
                raise
            break
        if previous is not None:
            difference = np.max(np.abs(value - previous), initial=0.0)
            if difference <= rtol:
                return value
        previous = value
    raise ArithmeticError(
        f"two refinements must agree to rtol = {rtol:g}, but differ by {difference:.2g}; is the "
        "walker held on the side without an end, is a step of "
        f"{step} short enough for the curvature there, and long enough for this method?"
    )
