"""How long SGD takes to escape in density diffusion theory, and what its finite step adds."""

from __future__ import annotations

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils._diffusion import check_rate
from ddt_utils._panels import WEIGHTS, Problem, check_line, converge
from ddt_utils.noise import StateDependentNoise, convention_exponent
from ddt_utils.theory.diffusion import LOW_NOISE, ONE_PATH, QUADRATIC
from ddt_utils.theory.formula import Formula, Prediction, depth, predict, real, sizes, symbols

(_Ha, _Hb, _barrier, _climb), _names = symbols(
    curvature_minimum="H_{ae}",
    curvature_saddle="|H_{be}|",
    barrier=r"\Delta L",
    exponent=r"\Delta\Phi",
)
(_eta, _B, _s), _more = symbols(learning_rate=r"\eta", batch_size="B", path_fraction="s")
_names |= _more
_SGD = {
    power: Formula(
        r"\tau",
        2 * sp.pi / (_Ha ** (1 - power) * _Hb**power),
        _names,
        2 * _B * _barrier / _eta * (_s / _Ha + (1 - _s) / _Hb),
    )
    for power in (sp.S.Zero, sp.Rational(1, 2), sp.S.One)
}
_FRACTION = Formula(
    "s", (_eta * _climb / (2 * _B * _barrier) - 1 / _Hb) / (1 / _Ha - 1 / _Hb), _names
)

(_slope, _change, _D, _x, _a, _b), _way = symbols(
    slope="L'", change="D'", diffusion="D", place="x", start="a", end="b"
)
_STEP = Formula(
    r"f_{\rm step}",
    sp.S.One,
    _names | _way,
    _eta / 4 * sp.Integral(_slope**2 * _change / _D**2, (_x, _a, _b)),
)


def sgd_escape_time(
    *,
    curvature_minimum,
    curvature_saddle,
    barrier,
    learning_rate,
    batch_size,
    path_fraction,
    convention="isothermal",
) -> Prediction:
    r"""The escape time of SGD in density diffusion theory (Xie, Sato, Sugiyama 2021, Theorem 3.2).

    .. math:: \tau = \frac{2 \pi}{|H_{be}|} \exp\left(\frac{2 \Delta L B
              \left(\frac{1 - s}{|H_{be}|} + \frac{s}{H_{ae}}\right)}{\eta}\right)

    The exponent is exact in one dimension for noise of two values, and in more where the stiffness
    across the way does not change. The prefactor is that of the theorem as it is stated, and of the
    isothermal reading of the noise. In the
    Stratonovich reading the prefactor is
    :math:`\frac{2 \pi}{\sqrt{H_{ae}} \sqrt{|H_{be}|}}` and in the Ito reading, that of the
    diffusion which SGD tends to, :math:`\frac{2 \pi}{H_{ae}}`.

    Args:
        curvature_minimum: :math:`H_{ae} > 0`, the curvature of the minimum along the escape path.
        curvature_saddle: :math:`H_{be}`, that of the saddle; only its size counts.
        barrier: :math:`\Delta L > 0`.
        learning_rate: :math:`\eta > 0`.
        batch_size: :math:`B > 0`.
        path_fraction: s in [0, 1], the share of the barrier that is climbed with the noise of the
            minimum; the rest is climbed with the noise of the saddle.
        convention: ``"isothermal"`` (the theorem), ``"stratonovich"`` or ``"ito"``.

    Returns:
        The time in units of t; divide by the learning rate for iterations.

    Example:
        >>> predicted = sgd_escape_time(
        ...     curvature_minimum=2, curvature_saddle=1, barrier=0.5,
        ...     learning_rate=0.1, batch_size=1, path_fraction=0.5,
        ... )
        >>> round(float(predicted.logarithm), 3)
        9.338
    """
    values = _along_the_path(
        curvature_minimum, curvature_saddle, barrier, learning_rate, batch_size
    )
    values["path_fraction"] = _share(path_fraction)
    power = convention_exponent(convention)
    formula = _SGD[sp.Rational(power)]
    return predict(
        formula,
        values,
        assumptions=(
            LOW_NOISE,
            "the noise has two values, (eta/2B) H_a before one point of the path and (eta/2B) |H_b|"
            " after it",
            QUADRATIC,
            "quasi-equilibrium: the valley relaxes faster than it leaks",
            ONE_PATH,
        ),
        source="Xie, Sato, Sugiyama (2021), Theorem 3.2"
        + ("" if power == 1 else f", its noise read in the {convention} sense"),
    )


def path_fraction(
    *, exponent, curvature_minimum, curvature_saddle, barrier, learning_rate, batch_size
):
    r"""The s with which :func:`sgd_escape_time` has a given exponent.

    .. math:: s = \frac{- \frac{1}{|H_{be}|} + \frac{\Delta\Phi \eta}{2 \Delta L B}}
              {- \frac{1}{|H_{be}|} + \frac{1}{H_{ae}}}

    Args:
        exponent: :math:`\Delta\Phi`, from :func:`~ddt_utils.exact.potential_difference`.
        curvature_minimum: :math:`H_{ae} > 0`.
        curvature_saddle: :math:`H_{be}`; only its size counts.
        barrier: :math:`\Delta L > 0`.
        learning_rate: :math:`\eta > 0`.
        batch_size: :math:`B > 0`.

    Returns:
        A pure number. Nothing keeps it within 0 and 1, and where the noise is weaker on the way
        than at both ends it is not.

    Raises:
        ValueError: a sign is wrong, something is no finite real number, or the two curvatures are
            of equal size, where every s will do.
        OverflowError: s is beyond the range of floats.

    Example:
        >>> share = path_fraction(
        ...     exponent=6.0, curvature_minimum=2, curvature_saddle=1, barrier=0.5,
        ...     learning_rate=0.1, batch_size=1,
        ... )
        >>> round(float(share), 3)
        0.8
    """
    values = _along_the_path(
        curvature_minimum, curvature_saddle, barrier, learning_rate, batch_size
    )
    bottom, top = values["curvature_minimum"], values["curvature_saddle"]
    if np.any(np.isclose(np.divide(top, bottom), 1, rtol=0, atol=1e-12)):
        raise ValueError(
            f"the curvatures must differ in size, got {curvature_minimum} and {curvature_saddle}; "
            "with equal ones the noise is the same at both ends and s does not matter"
        )
    remedy = "it is the integral of L'/D from the minimum to the saddle"
    found = _FRACTION.value(exponent=real("exponent", exponent, remedy), **values)
    if not np.all(np.isfinite(found)):
        raise OverflowError(
            f"s must be a finite float, got {found} for {values}; "
            "choose units in which the numbers are nearer to one"
        )
    return found


def step_factor(landscape, noise, *, learning_rate, start, end) -> float:
    r"""The factor by which the finite step of SGD changes the time of its diffusion.

    At a fixed batch size and a covariance that is smooth and positive on the way, the mean escape
    time of SGD with Gaussian noise over that of its Ito diffusion tends, as :math:`\eta \to 0`, to

    .. math::
        f_{\rm step} =
        \exp\left(\frac{\eta \int\limits_{a}^{b} \frac{D' L'^{2}}{D^{2}}\, dx}{4}\right)

    With D = ηΣ/2B it is :math:`\exp\left(\frac B2 \int_a^b L'^2 \Sigma'/\Sigma^2\,dx\right)`,
    which does not depend on η. It is one for constant noise and tends to one as B → 0. *Many
    directions, and the factor in front* derives it, by the expansion of the resting density of the
    walk to the order after the exponent.

    Args:
        landscape: one-dimensional.
        noise: gives D(x), smooth and positive between the two points.
        learning_rate: :math:`\eta > 0`, with which D was made.
        start: the minimum a.
        end: the saddle b, on either side of a.

    Returns:
        The factor, a pure number.

    Raises:
        ValueError: not one dimension, no model of noise or one with another learning rate, a
            number is none, D is not positive and smooth on the way.
        ArithmeticError: the integral does not settle, as where D nearly vanishes.
        OverflowError: the factor is beyond the range of floats.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> well = catalog.quartic()
        >>> (x,) = well.variables
        >>> kick = noise.StateDependentNoise((1 + 8 * x**2) / 4)
        >>> round(step_factor(well, kick, learning_rate=0.5, start=-1, end=0), 3)
        0.968
    """
    from scipy.integrate import quad

    check_line(landscape, noise, "the factor of the step", "the way is not known beforehand, use ")
    eta = _checks.number("learning_rate", learning_rate, above=0, remedy="it is that of the noise")
    check_rate(noise, eta)
    start = _checks.number("start", start, remedy="it is the minimum")
    end = _checks.number("end", end, remedy="it is the saddle")
    (x,) = landscape.variables
    diffusion = noise.diffusion_matrix(landscape)[0]
    slope, change = sp.diff(landscape.expression, x), sp.diff(diffusion, x)
    places = np.linspace(start, end, 4001)
    met = landscape.evaluate([diffusion], places)[..., 0]
    if not np.all(met > 0):
        raise ValueError(
            f"D must be positive on the way, got {np.min(met):.3g}; where it vanishes the time of "
            "SGD and that of its diffusion have no common limit"
        )
    middles = (places[1:] + places[:-1]) / 2
    growth = landscape.evaluate([change / diffusion], middles)[..., 0] * np.diff(places)
    jump = np.abs(np.diff(np.log(met)) - growth).max()
    if not jump < 1e-3:
        raise ValueError(
            f"D must be smooth on the way, got a jump of ln D by {jump:.3g}; there the walk "
            "makes a whole step with the noise that it leaves, and only exact times tell the factor"
        )
    (integral,) = _STEP.exponent.atoms(sp.Integral)
    met = {_slope: slope, _change: change, _D: diffusion}
    integrand = sp.lambdify(x, integral.function.subs(met), "numpy")
    found, error = quad(integrand, start, end, limit=400, epsabs=1e-12, epsrel=1e-10)
    if not error <= 1e-8 * max(1.0, abs(found)):
        raise ArithmeticError(
            f"the integral must settle, got {found:.6g} with error {error:.1g}; "
            "a D that nearly vanishes on the way has no such factor"
        )
    held = _on_panels(landscape, diffusion, integrand, start, end)
    if abs(held - found) > 1e-8 * max(1.0, abs(held)):  # adaptive nodes may pass over a narrow one
        found = held
    logarithm = float(_STEP.exponent.subs({integral: found, _eta: eta}))
    if not abs(logarithm) < 700:
        raise OverflowError(
            f"the factor must be a finite float above zero, got exp({logarithm:.4g}); "
            "give the learning rate with which D was made"
        )
    return float(sp.exp(logarithm))


def _on_panels(landscape, diffusion, integrand, start, end):
    """An integral along the way on panels that miss no feature of L or D, however narrow."""
    if start == end:
        return 0.0
    places = np.linspace(start, end, 4001)
    climb = np.abs(landscape.derivative(places) / landscape.evaluate([diffusion], places)[..., 0])
    unit = max(float(climb.mean() * abs(end - start)), 1e-300)  # the strength of D is no matter

    def total(panels):
        values = np.broadcast_to(integrand(panels.nodes), panels.nodes.shape)
        return float(np.sum(panels.half[:, 0] * (values @ WEIGHTS)))

    problem = Problem(landscape, StateDependentNoise(diffusion * unit), "ito")
    low, high = sorted((start, end))
    found = converge(problem, total, low, high, (), 1e-9, relative=True)
    return found if start < end else -found


def _along_the_path(curvature_minimum, curvature_saddle, barrier, learning_rate, batch_size):
    remedy = "pass the eigenvalue along the escape path"
    top = depth("curvature_saddle", curvature_saddle, remedy)
    return {"curvature_saddle": top} | sizes(
        curvature_minimum=(curvature_minimum, remedy),
        barrier=(barrier, "it is L(b) - L(a), saddle minus minimum"),
        learning_rate=(learning_rate, "it is the step length of SGD"),
        batch_size=(batch_size, "it is a number of samples"),
    )


def _share(value):
    remedy = "it is the share of the barrier below the point where the noise changes"
    found = real("path_fraction", value, remedy)
    if not np.all((found >= 0) & (found <= 1)):
        raise ValueError(f"path_fraction must lie in [0, 1], got {value}; {remedy}")
    return found
