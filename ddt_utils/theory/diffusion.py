"""How long a diffusion takes to escape: one constant D in one or n dimensions, and D(x) in one."""

from __future__ import annotations

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils.noise import convention_exponent
from ddt_utils.theory.formula import Formula, Prediction, depth, predict, sizes, symbols

LOW_NOISE = "the barrier is high against the noise, so that Laplace's method holds"
WHITE = "the diffusion is one constant, the same in every direction"
QUADRATIC = "minimum and saddle are quadratic, with non-zero curvature"
ONE_PATH = "one saddle leads out of the valley"

(_Ha, _Hb, _barrier, _D), _names = symbols(
    curvature_minimum="L''(a)", curvature_saddle="|L''(b)|", barrier=r"\Delta L", diffusion="D"
)
_KRAMERS = Formula(r"\tau", 2 * sp.pi / sp.sqrt(_Ha * _Hb), _names, _barrier / _D)

(_down, _det_a, _det_b), _more = symbols(
    descent=r"|\lambda_-(b)|", det_minimum=r"\det H(a)", det_saddle=r"|\det H(b)|"
)
_EYRING = Formula(
    r"\tau", 2 * sp.pi / _down * sp.sqrt(_det_b / _det_a), _names | _more, _barrier / _D
)

(_Da, _Db, _alpha, _climb), _more = symbols(
    diffusion_minimum="D_a", diffusion_saddle="D_b", alpha=r"\alpha", exponent=r"\Delta\Phi"
)
_UNEVEN = Formula(
    r"\tau",
    2 * sp.pi / sp.sqrt(_Ha * _Hb) * (_Db / _Da) ** (sp.Rational(1, 2) - _alpha),
    _names | _more | {_Ha: "H_a", _Hb: "|H_b|"},
    _climb,
)

(_a2, _a3, _a4, _b2, _b3, _b4), _names_next = symbols(
    a2="L''(a)", a3="L'''(a)", a4="L''''(a)", b2="|L''(b)|", b3="L'''(b)", b4="L''''(b)"
)
_CORRECTION = Formula(
    r"\kappa",
    5 * _a3**2 / (24 * _a2**3)
    - _a4 / (8 * _a2**2)
    + 5 * _b3**2 / (24 * _b2**3)
    + _b4 / (8 * _b2**2),
    _names_next,
)


def kramers_time(*, curvature_minimum, curvature_saddle, barrier, diffusion) -> Prediction:
    r"""Kramers' mean escape time to the other valley, one dimension, constant diffusion.

    .. math:: \tau = \frac{2 \pi}{\sqrt{L''(a) |L''(b)|}} \exp\left(\frac{\Delta L}{D}\right)

    Args:
        curvature_minimum: :math:`L''(a) > 0`.
        curvature_saddle: :math:`L''(b)`; only its size :math:`|L''(b)|` counts.
        barrier: :math:`\Delta L = L(b) - L(a) > 0`.
        diffusion: D in :math:`d\theta = -L' dt + \sqrt{2D}\,dW`; number or array.

    Returns:
        The time in units of t (learning rate times iterations).

    Example:
        >>> predicted = kramers_time(
        ...     curvature_minimum=2, curvature_saddle=-1,
        ...     barrier=0.25, diffusion=0.05,
        ... )
        >>> round(float(predicted), 1), predicted.source
        (659.4, 'Kramers (1940), overdamped limit')
    """
    top = depth("curvature_saddle", curvature_saddle, "a flat-topped saddle has another formula")
    values = sizes(
        curvature_minimum=(curvature_minimum, "a minimum is curved upwards: pass L''(a)"),
        barrier=(barrier, "it is L(b) - L(a), saddle minus minimum"),
        diffusion=(diffusion, "without noise nobody escapes; D is eta/2 times the covariance"),
    )
    values["curvature_saddle"] = top
    return predict(
        _KRAMERS,
        values,
        assumptions=(LOW_NOISE, WHITE, QUADRATIC, ONE_PATH),
        source="Kramers (1940), overdamped limit",
    )


def kramers_correction(landscape, *, minimum, saddle) -> float:
    r"""The coefficient of the next order, :math:`\tau = \tau_{\rm Kramers}(1+\kappa D+O(D^2))`.

    Laplace's method, one order further, on both integrals of the mean first-passage time:

    .. math:: \kappa = \frac{L''''(b)}{8 |L''(b)|^{2}} + \frac{5 L'''(b)^{2}}{24 |L''(b)|^{3}}
              - \frac{L''''(a)}{8 L''(a)^{2}} + \frac{5 L'''(a)^{2}}{24 L''(a)^{3}}

    It holds for constant diffusion and a target well beyond the saddle (the other valley). Measured
    at the saddle itself, the first correction is of order :math:`\sqrt{D}\,L'''(b)` instead.

    Args:
        landscape: one-dimensional, four times differentiable at both points.
        minimum: where :math:`L' = 0` and :math:`L'' > 0`.
        saddle: where :math:`L' = 0` and :math:`L'' < 0`.

    Returns:
        κ, in units of 1/D. For the quartic :math:`x^4/4 - x^2/2` it is 3/2.

    Raises:
        ValueError: a point is not critical, is not of the kind it is called, or the landscape has
            no four derivatives there.
        OverflowError: the coefficient is beyond the range of floats.

    Example:
        >>> from ddt_utils import catalog
        >>> round(kramers_correction(catalog.quartic(), minimum=1, saddle=0), 9)
        1.5
    """
    if getattr(landscape, "dimension", None) != 1:
        raise ValueError(
            f"landscape must be a Landscape of one dimension, got {landscape!r:.80}; "
            "the next order in more dimensions is not in closed form here"
        )
    width = landscape.box[0][1] - landscape.box[0][0]
    found = []
    for name, point, sign in (("minimum", minimum, 1), ("saddle", saddle, -1)):
        point = _checks.number(name, point, remedy="find it with critical.critical_points")
        slopes = [float(landscape.derivative(point, order)) for order in range(1, 5)]
        if not np.all(np.isfinite(slopes)):
            raise ValueError(
                f"the landscape must have four derivatives at the {name}, got {slopes} at {point}; "
                "a kink there has another law"
            )
        if abs(slopes[0]) > 1e-6 * width * abs(slopes[1]):
            raise ValueError(
                f"{name} must be a critical point, got L'({point}) = {slopes[0]:.3g}; "
                "find it with critical.critical_points"
            )
        if not sign * slopes[1] > 0:
            raise ValueError(
                f"L'' at the {name} must be {'positive' if sign > 0 else 'negative'}, got "
                f"{slopes[1]:.6g}; are minimum and saddle exchanged?"
            )
        found += [sign * slopes[1], slopes[2], slopes[3]]
    names = ("a2", "a3", "a4", "b2", "b3", "b4")
    try:
        kappa = float(_CORRECTION.value(**dict(zip(names, found, strict=True))))
    except ArithmeticError:  # a power of a curvature is no float
        kappa = np.nan
    if not np.isfinite(kappa):
        raise OverflowError(
            f"the coefficient must be a finite float, got {kappa} for derivatives {found}; "
            "choose units in which the curvatures are nearer to one"
        )
    return kappa


def eyring_kramers_time(*, hessian_minimum, hessian_saddle, barrier, diffusion) -> Prediction:
    r"""The Eyring–Kramers mean escape time to the other valley in n dimensions.

    .. math:: \tau = \frac{2 \pi \sqrt{\frac{|\det H(b)|}{\det H(a)}}}{|\lambda_-(b)|}
              \exp\left(\frac{\Delta L}{D}\right)

    :math:`\lambda_-(b)` is the one negative eigenvalue of the Hessian at the saddle.

    Args:
        hessian_minimum: H(a), shape (n, n), symmetric and positive definite.
        hessian_saddle: H(b), shape (n, n), symmetric with exactly one negative eigenvalue.
        barrier: :math:`\Delta L = L(b) - L(a) > 0`.
        diffusion: the constant D, times the identity; number or array. For another D(θ) there is no
            such formula: its exponent is :func:`ddt_utils.action.least_action`.

    Returns:
        The time in units of t.

    Raises:
        ValueError: a matrix is not symmetric, not of matching shape, or not of the right index; a
            sign is wrong.

    Example:
        >>> predicted = eyring_kramers_time(
        ...     hessian_minimum=[[2.0, 0.0], [0.0, 1.0]],
        ...     hessian_saddle=[[-1.0, 0.0], [0.0, 4.0]],
        ...     barrier=0.25, diffusion=0.05,
        ... )
        >>> round(float(predicted), 1)
        1318.8
    """
    bottom = _eigenvalues("hessian_minimum", hessian_minimum)
    top = _eigenvalues("hessian_saddle", hessian_saddle)
    if bottom.size != top.size:
        raise ValueError(
            f"both Hessians must have one shape, got n = {bottom.size} and {top.size}; "
            "evaluate one landscape at both points"
        )
    if bottom[0] <= 0:
        raise ValueError(
            f"hessian_minimum must be positive definite, got eigenvalues {bottom}; "
            "a degenerate or unstable point has no Eyring–Kramers formula"
        )
    if not (top[0] < 0 and np.all(top[1:] > 0)):
        raise ValueError(
            f"hessian_saddle must have exactly one negative eigenvalue, got {top}; "
            "pass the saddle of index 1 that separates the valleys"
        )
    values = sizes(
        barrier=(barrier, "it is L(b) - L(a), saddle minus minimum"),
        diffusion=(diffusion, "without noise nobody escapes; D is eta/2 times the covariance"),
    )
    # Only their ratio counts: divided by their geometric mean neither overflows for large n.
    half = (np.sum(np.log(np.abs(top))) - np.sum(np.log(bottom))) / 2
    values |= {"descent": -top[0], "det_saddle": np.exp(half), "det_minimum": np.exp(-half)}
    return predict(
        _EYRING,
        values,
        assumptions=(LOW_NOISE, WHITE, QUADRATIC, ONE_PATH),
        source="Eyring (1935), Kramers (1940); reviewed by Berglund (2013)",
    )


def state_dependent_time(
    *,
    curvature_minimum,
    curvature_saddle,
    exponent,
    diffusion_minimum,
    diffusion_saddle,
    convention="ito",
) -> Prediction:
    r"""Kramers' time in one dimension where the diffusion D depends on the place.

    .. math:: \tau = \frac{2 \pi \left(\frac{D_b}{D_a}\right)^{\frac{1}{2} - \alpha}}
              {\sqrt{H_a |H_b|}} \exp\left(\Delta\Phi\right)

    with :math:`\Delta\Phi = \int_a^b L'/D\,dx` and :math:`\alpha = 0, \frac12, 1` for the Ito,
    Stratonovich and isothermal reading. It is Laplace's method on the scale and speed densities of
    :mod:`ddt_utils.exact`.

    Args:
        curvature_minimum: :math:`H_a = L''(a) > 0`.
        curvature_saddle: :math:`H_b = L''(b)`; only its size counts.
        exponent: :math:`\Delta\Phi > 0`, from :func:`~ddt_utils.exact.potential_difference`.
        diffusion_minimum: :math:`D_a = D(a)`.
        diffusion_saddle: :math:`D_b = D(b)`.
        convention: ``"ito"``, ``"stratonovich"`` or ``"isothermal"``.

    Returns:
        The time to the other valley, in units of t.

    Example:
        >>> predicted = state_dependent_time(
        ...     curvature_minimum=2, curvature_saddle=1, exponent=5,
        ...     diffusion_minimum=0.05, diffusion_saddle=0.1, convention="ito",
        ... )
        >>> round(float(predicted), 1)
        932.5
    """
    top = depth("curvature_saddle", curvature_saddle, "a flat-topped saddle has another formula")
    values = sizes(
        curvature_minimum=(curvature_minimum, "a minimum is curved upwards: pass L''(a)"),
        exponent=(exponent, "it is the integral of L'/D from the minimum to the saddle"),
        diffusion_minimum=(diffusion_minimum, "D is a variance per unit time"),
        diffusion_saddle=(diffusion_saddle, "D is a variance per unit time"),
    )
    values["curvature_saddle"] = top
    values["alpha"] = convention_exponent(convention)
    return predict(
        _UNEVEN,
        values,
        assumptions=(
            LOW_NOISE,
            f"the noise is read in the {convention} sense",
            "the diffusion is smooth and positive from the minimum to the saddle",
            QUADRATIC,
            ONE_PATH,
        ),
        source="Laplace's method on the scale and speed densities (Gardiner 2009, section 5.5)",
    )


def _eigenvalues(name, matrix):
    """Of a symmetric matrix, ascending."""
    found = _checks.array(name, matrix, remedy="pass landscape.hessian at the point")
    if found.ndim != 2 or found.shape[0] != found.shape[1] or not found.size:
        raise ValueError(
            f"{name} must be a square matrix, got shape {found.shape}; "
            "pass landscape.hessian at the point"
        )
    if not _checks.symmetric(found):
        raise ValueError(f"{name} must be symmetric, got {found.tolist()}; a Hessian is")
    return np.linalg.eigvalsh(found)
