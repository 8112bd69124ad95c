r"""Exact escape times in one dimension, by quadrature: the truth the asymptotic formulas approach.

With :math:`\Phi(x) = \int^x L'/D` and :math:`\alpha = 0, \frac12, 1` for the Ito, Stratonovich and
isothermal (Hänggi–Klimontovich) reading of the noise, the process has the scale and speed densities

.. math:: s = D^{-\alpha} e^{\Phi}, \qquad m = D^{\alpha - 1} e^{-\Phi},

and everything here is an integral over them (Gardiner, *Stochastic Methods*, section 5.5), also
where L has a kink or D jumps: what is continuous there is the current and
:math:`D^{1-\alpha} e^{\Phi} P`. All integrands are positive and are summed as logarithms, so a
barrier of 100 D costs neither range nor digits. The line is cut into panels with 16 Gauss–Legendre
nodes each (``_panels``), which find every feature of the formulas, however narrow,
inside the box and as far out as walkers come; every result is computed again on twice the panels
and refused if the two differ. What a formula hides in a function without known bounds (a Bessel
function, say) is seen if it is wider than a thousandth of the domain. Two dimensions are for
:mod:`.generator`.
"""

from __future__ import annotations

import numpy as np

from ddt_utils import _checks
from ddt_utils._enclosure import breakpoints
from ddt_utils._panels import Problem, converge
from ddt_utils._resting import occupation, stationary_density

__all__ = [
    "breakpoints",
    "first_passage_moments",
    "mean_first_passage_time",
    "occupation",
    "potential_difference",
    "splitting_probability",
    "stationary_density",
]


def mean_first_passage_time(
    landscape,
    noise,
    *,
    start,
    lower=None,
    upper=None,
    reflecting=None,
    convention="ito",
    rtol=1e-10,
) -> float:
    r"""The mean time until a walker first reaches ``lower`` or ``upper``.

    With one absorbing end, here the upper one at b,

    .. math:: \tau(x) = \int_x^b s(y) \int_{-\infty}^y m(z)\, dz\, dy,

    and with two, :math:`\tau(x) = \int G(x, z)\, m(z)\, dz` with the Green's function
    :math:`G(x, z) = S(l, x \wedge z)\, S(x \vee z, u) / S(l, u)` of the scale
    :math:`S(y, z) = \int_y^z s`.

    Args:
        landscape: one-dimensional.
        noise: gives D(x), positive on the whole domain.
        start: where the walkers begin, inside the domain and not on an absorbing end.
        lower: absorbing end on the left, or None: none there.
        upper: absorbing end on the right, or None.
        reflecting: where a wall stands on the side without an absorbing end; None is no wall, and
            the landscape itself must hold the walkers.
        convention: ``"ito"``, ``"stratonovich"`` or ``"isothermal"``; they agree where D is
            constant.
        rtol: relative difference between two refinements at which the result is accepted.

    Returns:
        The mean time, in units of t.

    Raises:
        ValueError: the domain has no absorbing end, does not contain the start, or does not hold
            the walkers; D is not positive in it; an argument is no number; unknown convention.
        ArithmeticError: two refinements never agreed to ``rtol``, or the time exceeds 1e308.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> white = noise.WhiteNoise(0.125)
        >>> well = catalog.quartic()
        >>> round(mean_first_passage_time(well, white, start=-1, upper=1), 3)
        41.034
    """
    moments = first_passage_moments(
        landscape,
        noise,
        start=start,
        lower=lower,
        upper=upper,
        reflecting=reflecting,
        convention=convention,
        count=1,
        rtol=rtol,
    )
    return float(moments[0])


def first_passage_moments(
    landscape,
    noise,
    *,
    start,
    lower=None,
    upper=None,
    reflecting=None,
    convention="ito",
    count=2,
    rtol=1e-10,
) -> np.ndarray:
    r"""The first moments :math:`\langle T^n\rangle` of the time to ``lower`` or ``upper``.

    With G as in :func:`mean_first_passage_time`,

    .. math:: \langle T^n\rangle(x) = n \int G(x, z)\, m(z)\, \langle T^{n-1}\rangle(z)\, dz

    (Darling and Siegert, Annals of Mathematical Statistics 24, 624, 1953). The variance is
    ``moments[1] - moments[0] ** 2``.

    Args:
        landscape: as in :func:`mean_first_passage_time`.
        noise: as there.
        start: as there.
        lower: as there.
        upper: as there.
        reflecting: as there.
        convention: as there.
        count: how many moments.
        rtol: as there, for every moment.

    Returns:
        :math:`\langle T\rangle, \langle T^2\rangle, \dots`, shape (count,), in powers of the unit
        of t.

    Raises:
        ValueError: as in :func:`mean_first_passage_time`; ``count`` is no positive whole number.
        ArithmeticError: as there.

    Example:
        The time to leave an interval of half width 1 without drift has the mean 1/2D and the second
        moment 5/12D².

        >>> from ddt_utils import landscape, noise
        >>> import sympy as sp
        >>> x = sp.Symbol("x", real=True)
        >>> flat = landscape.Landscape(0 * x, (x,), name="flat", box=((-1, 1),))
        >>> white = noise.WhiteNoise(0.5)
        >>> first_passage_moments(flat, white, start=0, lower=-1, upper=1).round(6)
        array([1.      , 1.666667])
    """
    count = _checks.whole("count", count, least=1)
    start, lower, upper = _ends(start, lower, upper)
    left, right = lower, upper
    if reflecting is not None:
        reflecting = _checks.number("reflecting", reflecting)
        if lower is not None and upper is not None:
            raise ValueError(
                f"a wall needs a side without an absorbing end, got reflecting={reflecting:g} with "
                f"lower={lower:g} and upper={upper:g}; drop one of the three"
            )
        left, right = (reflecting, upper) if lower is None else (lower, reflecting)
        if not left <= start <= right:
            raise ValueError(
                f"start must lie between the wall and the absorbing end, got start={start:g}, "
                f"reflecting={reflecting:g}; put the wall behind the walker"
            )

    def log_moments(panels):
        # G(x, z) = exp(a(lesser of x and z) + b(greater)), at the nodes and at the edges
        a, b = panels.log_from_left(panels.log_scale), panels.log_to_right(panels.log_scale)
        if lower is None:
            a = tuple(np.zeros_like(v) for v in a)
        elif upper is None:
            b = tuple(np.zeros_like(v) for v in b)
        else:
            a = tuple(v - a[1][-1] for v in a)
        at = np.searchsorted(panels.edges, start)
        time, found = (0.0, 0.0), []
        for n in range(1, count + 1):
            below = panels.log_from_left(a[0] + panels.log_speed + time[0])
            above = panels.log_to_right(b[0] + panels.log_speed + time[0])
            time = tuple(np.log(n) + np.logaddexp(b[i] + below[i], a[i] + above[i]) for i in (0, 1))
            found.append(time[1][at])
        return np.array(found)

    problem, rtol = Problem(landscape, noise, convention), _checks.number("rtol", rtol)
    try:
        logs = converge(problem, log_moments, left, right, (start,), rtol)
    except ArithmeticError:
        logs = _without_wall(problem, log_moments, lower, upper, start, reflecting, rtol)
        if logs is None:
            raise
    if not logs.max() < 709:
        raise ArithmeticError(
            f"the mean time is exp({logs[0]:.4g}) and a moment is no float; raise the noise, or "
            "compare escape rates by their logarithms"
        )
    return np.exp(logs)


def splitting_probability(
    landscape, noise, *, start, lower, upper, convention="ito", rtol=1e-10
) -> float:
    r"""The probability to leave (lower, upper) at the upper end, :math:`S(l, x)/S(l, u)`.

    Args:
        landscape: as in :func:`mean_first_passage_time`.
        noise: as there.
        start: where the walkers begin, between the ends.
        lower: the left end, which absorbs.
        upper: the right end, which absorbs.
        convention: as there.
        rtol: as there.

    Returns:
        The probability.

    Raises:
        ValueError: as there; an end is missing.
        ArithmeticError: as there.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> pull = dict(start=-0.2, lower=-1, upper=1)
        >>> well, push = catalog.quartic(), noise.WhiteNoise(0.125)
        >>> round(splitting_probability(well, push, **pull), 4)
        0.307
    """
    if lower is None or upper is None:
        raise ValueError(
            f"splitting needs two absorbing ends, got lower={lower} and upper={upper}; "
            "with one end every walker leaves there"
        )
    start, lower, upper = _ends(start, lower, upper)

    def log_probability(panels):
        scale = panels.log_scale
        return panels.log_integral(scale, high=start) - panels.log_integral(scale)

    problem = Problem(landscape, noise, convention)
    rtol = _checks.number("rtol", rtol)
    return float(np.exp(converge(problem, log_probability, lower, upper, (start,), rtol)))


def potential_difference(landscape, noise, *, start, end, rtol=1e-10) -> float:
    r"""The exponent of an escape, :math:`\Delta\Phi = \int_{start}^{end} L'/D\,dx`.

    From a minimum to a saddle it is the barrier in units of the noise that is met on the way,
    whatever the convention; where D is constant it is :math:`\Delta L/D`.

    Args:
        landscape: one-dimensional.
        noise: gives D(x), positive between the two points.
        start: where the climb begins.
        end: where it ends.
        rtol: difference between two refinements at which the result is accepted, relative to 1 or
            to the result, whichever is larger.

    Returns:
        :math:`\Phi(end) - \Phi(start)`, a pure number.

    Raises:
        ValueError: D is not positive on the way, or an end is no number.
        ArithmeticError: two refinements never agreed.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> white = noise.WhiteNoise(0.125)
        >>> potential_difference(catalog.quartic(), white, start=-1, end=0)
        2.0
    """
    start, end = _checks.number("start", start), _checks.number("end", end)
    problem = Problem(landscape, noise, "ito")
    low, high = min(start, end), max(start, end)
    if low == high:
        return 0.0

    def rise(panels):
        return panels.edge_potential[-1]

    rtol = _checks.number("rtol", rtol)
    found = float(converge(problem, rise, low, high, (), rtol, relative=True))
    found = found if start < end else -found
    return round(found, 13) if abs(found) > 1e-6 else found


def _without_wall(problem, quantity, lower, upper, start, wall, rtol):
    """The quantity where no walker comes to a wall far out, because the loss holds all; or None."""
    low, high = problem.landscape.box[0]
    if wall is None or low <= wall <= high:
        return None
    reached = []

    def seen(panels):
        reached.append(np.abs(panels.edges).max() < abs(wall))
        return quantity(panels)

    try:
        found = converge(problem, seen, lower, upper, (start,), rtol)
    except (ArithmeticError, ValueError):
        return None
    return found if all(reached) else None


def _ends(start, lower, upper):
    """The start and the ends as numbers, the start between them."""
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
        raise ValueError(
            f"start must lie strictly between the ends, got start={start:g} with {low:g} and "
            f"{high:g}; a walker that starts at or beyond an end has already left"
        )
    return start, lower, upper
