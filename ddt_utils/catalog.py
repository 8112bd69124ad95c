r"""The book's landscapes, each as a :class:`~ddt_utils.landscape.Landscape`.

Minima are called a, saddles b, and the barrier is :math:`\Delta L = L(b) - L(a)`. Curvatures
are second derivatives of the loss: :math:`H_a > 0` at a minimum and :math:`H_b < 0` at a saddle;
where a function asks for the curvature of a saddle it means :math:`|H_b|`.
"""

from __future__ import annotations

import sympy as sp

from ddt_utils import _checks
from ddt_utils.landscape import Landscape

_LONG = 10**15  # a fraction with so many digits is a measured number, and grows in a formula
_x, _y = sp.symbols("x y", real=True)


def quartic() -> Landscape:
    r"""The symmetric double well :math:`L = x^4/4 - x^2/2`.

    Minima at ±1 with curvature 2, a saddle at 0 with curvature −1, barrier 1/4.

    Returns:
        The landscape.

    Example:
        >>> well = quartic()
        >>> float(well.value(0.0) - well.value(1.0))
        0.25
    """
    return Landscape(_x**4 / 4 - _x**2 / 2, (_x,), name="quartic double well", box=((-2, 2),))


def tilted_quartic(tilt) -> Landscape:
    r"""The tilted double well :math:`L = x^4/4 - x^2/2 + \text{tilt}\cdot x`.

    Args:
        tilt: of the plane that is added; for a positive one the left valley is the deeper.

    Returns:
        The landscape.

    Raises:
        ValueError: the tilt in absolute value is at least :math:`2/(3\sqrt3)`, where the second
            valley disappears.

    Example:
        >>> from ddt_utils import critical
        >>> well = tilted_quartic(0.1)
        >>> [float(p.location[0].round(2)) for p in critical.minima(well)]
        [-1.05, 0.95]
    """
    limit = 2 / (3 * 3**0.5)
    tilt = _checks.kept("tilt", tilt)
    if not abs(tilt) < limit:
        raise ValueError(
            f"|tilt| must be below 2/(3√3) = {limit:.4f}, got {tilt}; "
            "a larger tilt leaves one valley only"
        )
    loss = _x**4 / 4 - _x**2 / 2 + sp.sympify(tilt) * _x
    return Landscape(loss, (_x,), name=f"quartic tilted by {tilt}", box=((-2, 2),))


def _flank(curvature_minimum, curvature_saddle, barrier):
    """Distances of the junction and of the minimum from the saddle, slopes matched."""
    fraction = curvature_saddle / (curvature_minimum + curvature_saddle)  # s of the paper
    junction = sp.sqrt(2 * (1 - fraction) * barrier / curvature_saddle)
    minimum = junction + sp.sqrt(2 * fraction * barrier / curvature_minimum)
    return junction, minimum


def _positive(**parameters):
    remedy = "curvatures of saddles are given as |H_b|"
    given = [_checks.kept(n, v, above=0, remedy=remedy) for n, v in parameters.items()]
    return [_exact(value) for value in given]


def _exact(value):
    """A number as a short fraction or root if it is one, else as a float."""
    found = sp.nsimplify(value)
    size = sp.prod(abs(r.p) * r.q for r in found.atoms(sp.Rational))
    return found if 0 < size < _LONG else sp.Float(float(value))


def two_valleys(*, sharp, flat, saddle, barrier) -> Landscape:
    r"""Two parabolic valleys of equal depth, a sharp one at x < 0 and a flat one at x > 0.

    The crest is the parabola :math:`\Delta L - |H_b| x^2/2` around x = 0, joined to each valley
    :math:`H_a (x - a)^2/2` where the slopes match. On each side the part of the barrier that lies
    on the valley's own parabola is :math:`s = |H_b|/(H_a + |H_b|)`.

    Args:
        sharp: curvature of the valley on the left.
        flat: curvature of the valley on the right.
        saddle: the curvature :math:`|H_b|` of the crest.
        barrier: the height ΔL of the crest above both minima.

    Returns:
        The landscape; its slope is continuous, its curvature jumps at the two junctions.

    Raises:
        ValueError: one of them is not positive.

    Example:
        >>> valleys = two_valleys(sharp=4, flat=1, saddle=2, barrier=0.5)
        >>> float(valleys.value(0.0))
        0.5
    """
    sharp, flat, saddle, barrier = _positive(sharp=sharp, flat=flat, saddle=saddle, barrier=barrier)
    left_junction, left = _flank(sharp, saddle, barrier)
    right_junction, right = _flank(flat, saddle, barrier)
    loss = sp.Piecewise(
        (sharp * (_x + left) ** 2 / 2, _x < -left_junction),
        (barrier - saddle * _x**2 / 2, _x < right_junction),
        (flat * (_x - right) ** 2 / 2, True),
    )
    reach = tuple(
        float(d + sp.sqrt(2 * barrier * 2 / h)) for d, h in ((left, sharp), (right, flat))
    )
    return Landscape(loss, (_x,), name="two valleys of equal depth", box=((-reach[0], reach[1]),))


def piecewise_well(*, curvature_minimum, curvature_saddle, barrier) -> Landscape:
    r"""The piecewise-quadratic double well on which the paper's exponent is exact.

    Mirror-symmetric: minima of curvature :math:`H_a` at ±b, a saddle of curvature
    :math:`-|H_b|` at 0, and :math:`s = |H_b|/(H_a + |H_b|)`. The curvature is one of two constants
    everywhere, so noise proportional to it has one of two temperatures.

    Args:
        curvature_minimum: :math:`H_a` of both valleys.
        curvature_saddle: :math:`|H_b|` of the crest.
        barrier: the height ΔL of the crest.

    Returns:
        The landscape.

    Raises:
        ValueError: one of them is not positive.

    Example:
        >>> well = piecewise_well(
        ...     curvature_minimum=2, curvature_saddle=1, barrier=0.5
        ... )
        >>> float(well.value(0.0))
        0.5
    """
    well = two_valleys(
        sharp=curvature_minimum, flat=curvature_minimum, saddle=curvature_saddle, barrier=barrier
    )
    return Landscape(well.expression, well.variables, name="piecewise-quadratic well", box=well.box)


def rotated_double_well(*, angle=sp.pi / 6, stiffness=2) -> Landscape:
    r"""A double well in the plane whose escape direction is turned by ``angle``.

    :math:`L = u^4/4 - u^2/2 + \text{stiffness}(u)\, v^2/2` with (u, v) the plane turned by the
    angle.

    Args:
        angle: from the x axis to the escape direction, in radians.
        stiffness: a number, or a SymPy expression in ``Symbol("u", real=True)`` and in nothing
            else, which makes the transverse curvature at the saddle (u = 0) differ from that at the
            minima (u = ±1).

    Returns:
        The landscape, in x and y.

    Raises:
        ValueError: the angle is no number, the stiffness neither one nor an expression, or it uses
            another symbol than u, such as x or y.

    Example:
        >>> from ddt_utils import critical
        >>> [saddle] = critical.saddles(rotated_double_well())
        >>> critical.escape_direction(saddle).round(3)
        array([0.866, 0.5  ])
    """
    u, v = sp.symbols("u v", real=True)
    angle = sp.sympify(_checks.kept("angle", angle, remedy="it is in radians"))
    if not isinstance(stiffness, (sp.Expr, str)):
        stiffness = _checks.kept("stiffness", stiffness, remedy="or give an expression in u")
    unknown = sp.sympify(stiffness).free_symbols - {u}
    if unknown:
        raise ValueError(
            f'stiffness may use only Symbol("u", real=True), got {stiffness}; u runs along the '
            "escape direction and is turned with the well"
        )
    loss = u**4 / 4 - u**2 / 2 + sp.sympify(stiffness) * v**2 / 2
    turned = {
        u: sp.cos(angle) * _x + sp.sin(angle) * _y,
        v: -sp.sin(angle) * _x + sp.cos(angle) * _y,
    }
    return Landscape(
        loss.subs(turned, simultaneous=True),
        (_x, _y),
        name="rotated double well",
        box=((-2, 2), (-2, 2)),
    )


def mueller_brown(*, scale=1) -> Landscape:
    r"""The Müller–Brown surface, times ``scale``: three minima, two saddles and a curved path.

    Source: Müller and Brown, Theoretica Chimica Acta 53, 75 (1979). In its own units the barriers
    are of order 100.

    Args:
        scale: ``sympy.Rational(1, 100)`` makes the barriers of order 1.

    Returns:
        The landscape.

    Raises:
        ValueError: the scale is not positive.

    Example:
        >>> from ddt_utils import critical
        >>> [float(p.value.round(1)) for p in critical.minima(mueller_brown())]
        [-146.7, -108.2, -80.8]
    """
    remedy = "a negative one exchanges minima and maxima"
    scale = _checks.kept("scale", scale, above=0, remedy=remedy)
    amplitude = (-200, -100, -170, 15)
    a = (-1, -1, sp.Rational(-13, 2), sp.Rational(7, 10))
    b = (0, 0, 11, sp.Rational(3, 5))
    c = (-10, -10, sp.Rational(-13, 2), sp.Rational(7, 10))
    x0, y0 = (1, 0, sp.Rational(-1, 2), -1), (0, sp.Rational(1, 2), sp.Rational(3, 2), 1)
    loss = sum(
        A * sp.exp(p * (_x - u) ** 2 + q * (_x - u) * (_y - w) + r * (_y - w) ** 2)
        for A, p, q, r, u, w in zip(amplitude, a, b, c, x0, y0, strict=True)
    )
    return Landscape(
        sp.sympify(scale) * loss, (_x, _y), name="Müller–Brown", box=((-1.5, 1.2), (-0.2, 2.0))
    )


def styblinski_tang(*, dimension=10) -> Landscape:
    r"""The Styblinski–Tang function :math:`\frac12\sum_i (\theta_i^4 - 16\theta_i^2 + 5\theta_i)`.

    The coordinates are independent; each has a global minimum near −2.904, a maximum near 0.157 and
    a local minimum near 2.747, so there are :math:`2^n` minima and :math:`n\,2^{n-1}` saddles.

    Args:
        dimension: n.

    Returns:
        The landscape, in theta_1 to theta_n.

    Raises:
        ValueError: n is not a whole number from 1.

    Example:
        >>> well = styblinski_tang(dimension=10)
        >>> round(float(well.value(*[-2.903534] * 10)), 2)
        -391.66
    """
    dimension = _checks.whole("dimension", dimension, least=1)
    theta = tuple(sp.Symbol(f"theta_{i}", real=True) for i in range(1, dimension + 1))
    loss = sum((t**4 - 16 * t**2 + 5 * t) / 2 for t in theta)
    return Landscape(
        loss, theta, name=f"Styblinski–Tang in {dimension} dimensions", box=((-4, 4),) * dimension
    )
