r"""Closed forms of the theory; every result carries its formula and the assumptions behind it.

Conventions: a is the minimum, b the saddle, :math:`\Delta L = L(b) - L(a)` the barrier and
:math:`\tau` the mean time to reach *the other valley*. The first passage to the saddle itself takes
:math:`\tau/2`, but only in the limit :math:`D \to 0`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils.noise import convention_exponent

_LOW_NOISE = "the barrier is high against the noise, so that Laplace's method holds"
_WHITE = "the diffusion is one constant, the same in every direction"
_QUADRATIC = "minimum and saddle are quadratic, with non-zero curvature"
_ONE_PATH = "one saddle leads out of the valley"


@dataclass(frozen=True)
class Prediction:
    """What a formula says, before anything is measured.

    Args:
        value: the predicted number, or an array where the inputs were arrays.
        formula: the formula in LaTeX.
        assumptions: what must hold for it, one sentence each.
        source: where it comes from.

    Example:
        >>> p = kramers_time(
        ...     curvature_minimum=2.0, curvature_saddle=1.0, barrier=0.25, diffusion=0.05
        ... )
        >>> round(float(p), 2)
        659.38
    """

    value: float | np.ndarray
    formula: str
    assumptions: tuple[str, ...]
    source: str

    def __float__(self) -> float:
        return float(self.value)


def kramers_time(*, curvature_minimum, curvature_saddle, barrier, diffusion) -> Prediction:
    r"""Kramers' mean escape time to the other valley, one dimension, constant diffusion.

    .. math:: \tau = \frac{2\pi}{\sqrt{L''(a)\,|L''(b)|}}\; e^{\Delta L/D}

    Args:
        curvature_minimum: :math:`L''(a) > 0`.
        curvature_saddle: :math:`L''(b)`; only its size :math:`|L''(b)|` counts.
        barrier: :math:`\Delta L = L(b) - L(a) > 0`.
        diffusion: D in :math:`d\theta = -L' dt + \sqrt{2D}\,dW`; number or array.

    Returns:
        The time in units of t (learning rate times iterations).

    Raises:
        ValueError: a sign is wrong or a number is not finite.
    """
    _require("curvature_minimum", curvature_minimum, "a minimum is curved upwards: pass L''(a)")
    depth = np.abs(curvature_saddle)
    _require("|curvature_saddle|", depth, "a flat-topped saddle has another formula")
    _require("barrier", barrier, "it is L(b) - L(a), saddle minus minimum")
    _require("diffusion", diffusion, "D is a variance per unit time: eta/2 times the covariance")
    attempts = np.sqrt(np.multiply(curvature_minimum, depth))
    return Prediction(
        value=_number(2 * np.pi / attempts * _exponential(np.divide(barrier, diffusion))),
        formula=r"\tau = \frac{2\pi}{\sqrt{L''(a)\,|L''(b)|}}\,e^{\Delta L/D}",
        assumptions=(_LOW_NOISE, _WHITE, _QUADRATIC, _ONE_PATH),
        source="Kramers (1940), overdamped limit",
    )


def kramers_correction(landscape, *, minimum, saddle) -> float:
    r"""The coefficient of the next order, :math:`\tau = \tau_{\rm Kramers}(1+\kappa D+O(D^2))`.

    Laplace's method, one order further, on both integrals of the mean first-passage time:

    .. math:: \kappa = \frac{5\,L'''(a)^2}{24\,L''(a)^3} - \frac{L''''(a)}{8\,L''(a)^2}
              + \frac{5\,L'''(b)^2}{24\,|L''(b)|^3} + \frac{L''''(b)}{8\,L''(b)^2}

    It holds for constant diffusion and a target well beyond the saddle (the other valley). Measured
    at the saddle itself, the first correction is of order :math:`\sqrt{D}\,L'''(b)` instead.

    Args:
        landscape: one-dimensional, four times differentiable at both points.
        minimum: where :math:`L' = 0` and :math:`L'' > 0`.
        saddle: where :math:`L' = 0` and :math:`L'' < 0`.

    Returns:
        κ, in units of 1/D. For the quartic :math:`x^4/4 - x^2/2` it is 3/2.

    Raises:
        ValueError: a point is not critical, or is not of the kind it is called.
    """
    at_minimum = [float(landscape.derivative(float(minimum), order)) for order in range(1, 5)]
    at_saddle = [float(landscape.derivative(float(saddle), order)) for order in range(1, 5)]
    width = landscape.box[0][1] - landscape.box[0][0]
    for name, point, derivatives in (
        ("minimum", minimum, at_minimum),
        ("saddle", saddle, at_saddle),
    ):
        if abs(derivatives[0]) > 1e-6 * width * abs(derivatives[1]):
            raise ValueError(
                f"{name} must be a critical point, got L'({point}) = {derivatives[0]:.3g}; "
                "find it with critical.critical_points"
            )
    upside_down = [-derivative for derivative in at_saddle]
    _require("L'' at the minimum", at_minimum[1], "are minimum and saddle exchanged?")
    _require("-L'' at the saddle", upside_down[1], "are minimum and saddle exchanged?")
    return _laplace(*at_minimum[1:]) + _laplace(*upside_down[1:])


def eyring_kramers_time(*, hessian_minimum, hessian_saddle, barrier, diffusion) -> Prediction:
    r"""The Eyring–Kramers mean escape time to the other valley in n dimensions.

    .. math:: \tau = \frac{2\pi}{|\lambda_-(b)|}
              \sqrt{\frac{|\det H(b)|}{\det H(a)}}\; e^{\Delta L/D}

    :math:`\lambda_-(b)` is the one negative eigenvalue of the Hessian at the saddle.

    Args:
        hessian_minimum: H(a), shape (n, n), symmetric and positive definite.
        hessian_saddle: H(b), shape (n, n), symmetric with exactly one negative eigenvalue.
        barrier: :math:`\Delta L = L(b) - L(a) > 0`.
        diffusion: the constant D, times the identity; number or array.

    Raises:
        ValueError: a matrix is not symmetric, not of matching shape, or not of the right index.
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
    _require("barrier", barrier, "it is L(b) - L(a), saddle minus minimum")
    _require("diffusion", diffusion, "D is a variance per unit time: eta/2 times the covariance")
    log_ratio = np.sum(np.log(np.abs(top))) - np.sum(np.log(bottom))
    prefactor = 2 * np.pi / abs(top[0]) * np.exp(log_ratio / 2)
    return Prediction(
        value=_number(prefactor * _exponential(np.divide(barrier, diffusion))),
        formula=r"\tau = \frac{2\pi}{|\lambda_-(b)|}\sqrt{\frac{|\det H(b)|}{\det H(a)}}"
        r"\,e^{\Delta L/D}",
        assumptions=(_LOW_NOISE, _WHITE, _QUADRATIC, _ONE_PATH),
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

    .. math:: \tau = \frac{2\pi}{\sqrt{H_a |H_b|}}
              \left(\frac{D_b}{D_a}\right)^{1/2 - \alpha} e^{\Delta\Phi},
              \qquad \Delta\Phi = \int_a^b \frac{L'}{D}\,dx

    with :math:`\alpha = 0, \frac12, 1` for the Ito, Stratonovich and isothermal reading. It is
    Laplace's method on the scale and speed densities of :mod:`ddt_utils.exact`.

    Args:
        curvature_minimum: :math:`H_a = L''(a) > 0`.
        curvature_saddle: :math:`H_b = L''(b)`; only its size counts.
        exponent: :math:`\Delta\Phi > 0`, from :func:`~ddt_utils.exact.potential_difference`.
        diffusion_minimum: :math:`D_a = D(a)`.
        diffusion_saddle: :math:`D_b = D(b)`.
        convention: ``"ito"``, ``"stratonovich"`` or ``"isothermal"``.

    Returns:
        The time to the other valley, in units of t.

    Raises:
        ValueError: a sign is wrong, or the convention is unknown.
    """
    _require("curvature_minimum", curvature_minimum, "a minimum is curved upwards: pass L''(a)")
    depth = np.abs(curvature_saddle)
    _require("|curvature_saddle|", depth, "a flat-topped saddle has another formula")
    _require("exponent", exponent, "it is the integral of L'/D from the minimum to the saddle")
    _require("diffusion_minimum", diffusion_minimum, "D is a variance per unit time")
    _require("diffusion_saddle", diffusion_saddle, "D is a variance per unit time")
    power = 0.5 - convention_exponent(convention)
    attempts = np.sqrt(np.multiply(curvature_minimum, depth))
    ratio = np.divide(diffusion_saddle, diffusion_minimum) ** power
    return Prediction(
        value=_number(2 * np.pi / attempts * ratio * _exponential(exponent)),
        formula=r"\tau = \frac{2\pi}{\sqrt{H_a |H_b|}}"
        r"\left(\frac{D_b}{D_a}\right)^{1/2 - \alpha} e^{\Delta\Phi}",
        assumptions=(
            _LOW_NOISE,
            f"the noise is read in the {convention} sense",
            "the diffusion is smooth and positive from the minimum to the saddle",
            _QUADRATIC,
            _ONE_PATH,
        ),
        source="Laplace's method on the scale and speed densities (Gardiner 2009, section 5.5)",
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

    .. math:: \tau = \frac{2\pi}{|H_{be}|}\,
              \exp\!\left[\frac{2B\,\Delta L}{\eta}
              \left(\frac{s}{H_{ae}} + \frac{1-s}{|H_{be}|}\right)\right]

    This is the theorem as it is stated, and the isothermal reading of the noise. In the
    Stratonovich reading the prefactor is :math:`2\pi/\sqrt{H_{ae}|H_{be}|}` and in the Ito reading,
    which is that of SGD, :math:`2\pi/H_{ae}`.

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

    Raises:
        ValueError: a sign is wrong, ``path_fraction`` lies outside [0, 1], or the convention is
            unknown.
    """
    _require("curvature_minimum", curvature_minimum, "pass the eigenvalue along the escape path")
    depth = np.abs(curvature_saddle)
    _require("|curvature_saddle|", depth, "pass the eigenvalue along the escape path")
    _require("barrier", barrier, "it is L(b) - L(a), saddle minus minimum")
    _require("learning_rate", learning_rate, "it is the step length of SGD")
    _require("batch_size", batch_size, "it is a number of samples")
    if not np.all((np.asarray(path_fraction) >= 0) & (np.asarray(path_fraction) <= 1)):
        raise ValueError(
            f"path_fraction must lie in [0, 1], got {path_fraction}; it is the share of the "
            "barrier below the point where the noise changes"
        )
    inverse = np.divide(path_fraction, curvature_minimum) + np.subtract(1, path_fraction) / depth
    exponent = 2 * np.divide(batch_size, learning_rate) * barrier * inverse
    alpha = convention_exponent(convention)
    attempts = np.power(curvature_minimum, 1.0 - alpha) * depth**alpha
    symbol = {0.0: "H_{ae}", 0.5: r"\sqrt{H_{ae}|H_{be}|}", 1.0: "|H_{be}|"}[alpha]
    return Prediction(
        value=_number(2 * np.pi / attempts * _exponential(exponent)),
        formula=rf"\tau = \frac{{2\pi}}{{{symbol}}}\exp\!\left[\frac{{2B\,\Delta L}}{{\eta}}"
        r"\left(\frac{s}{H_{ae}} + \frac{1-s}{|H_{be}|}\right)\right]",
        assumptions=(
            _LOW_NOISE,
            "the noise has two values, (eta/2B) H_a before one point of the path and (eta/2B) |H_b|"
            " after it",
            _QUADRATIC,
            "quasi-equilibrium: the valley relaxes faster than it leaks",
            _ONE_PATH,
        ),
        source="Xie, Sato, Sugiyama (2021), Theorem 3.2"
        + ("" if alpha == 1 else f", its noise read in the {convention} sense"),
    )


def path_fraction(
    *, exponent, curvature_minimum, curvature_saddle, barrier, learning_rate, batch_size
):
    r"""The s with which :func:`sgd_escape_time` has a given exponent.

    .. math:: s = \left(\frac{\eta\,\Delta\Phi}{2B\,\Delta L} - \frac{1}{|H_{be}|}\right) \Big/
              \left(\frac{1}{H_{ae}} - \frac{1}{|H_{be}|}\right)

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
        ValueError: a sign is wrong, or the two curvatures are of equal size, where every s will do.
    """
    depth = np.abs(curvature_saddle)
    for name, value in (
        ("curvature_minimum", curvature_minimum),
        ("|curvature_saddle|", depth),
        ("barrier", barrier),
        ("learning_rate", learning_rate),
        ("batch_size", batch_size),
    ):
        _require(name, value, "all are sizes")
    apart = np.divide(1.0, curvature_minimum) - np.divide(1.0, depth)
    if np.any(np.isclose(apart * depth, 0, atol=1e-12)):
        raise ValueError(
            f"the curvatures must differ in size, got {curvature_minimum} and {curvature_saddle}; "
            "with equal ones the noise is the same at both ends and s does not matter"
        )
    inverse = np.multiply(exponent, learning_rate) / (2 * np.multiply(batch_size, barrier))
    return _number((inverse - 1 / depth) / apart)


def occupation(escape_times) -> np.ndarray:
    r"""The share of time spent in each valley, :math:`P_v = \tau_v / \sum_u \tau_u`.

    For two valleys joined by one path, whose walkers can only swap, and low noise, at which a
    walker spends next to no time between them; for more, it needs every valley to be entered
    equally often.

    Args:
        escape_times: mean escape time of each valley, shape (valleys,), all positive.

    Returns:
        Fractions that sum to one, shape (valleys,).
    """
    times = np.array([float(t) for t in escape_times])
    if times.size < 2:
        raise ValueError(f"escape_times needs at least two valleys, got {times.size}")
    _require("escape_times", times, "give one mean time per valley")
    shares = times / times.max()
    return shares / shares.sum()


def chain_occupation(rates) -> np.ndarray:
    r"""The stationary law of a Markov jump process between valleys.

    P solves :math:`\sum_u P_u \gamma_{uv} = P_v \sum_u \gamma_{vu}`: what flows in flows out. It is
    found by elimination without subtraction (Grassmann, Taksar and Heyman, Operations Research 33,
    1107, 1985), so that rates of any difference in size keep all their digits.

    Args:
        rates: :math:`\gamma_{uv}` from valley u to valley v, shape (valleys, valleys); the diagonal
            is ignored.

    Returns:
        Fractions that sum to one, shape (valleys,).

    Raises:
        ValueError: not a square matrix of at least two valleys, a negative or infinite rate, or
            valleys between which no way leads.

    Example:
        >>> chain_occupation([[0, 1.0], [3.0, 0]])
        array([0.75, 0.25])
    """
    flow = np.array(rates, dtype=float)
    if flow.ndim != 2 or flow.shape[0] != flow.shape[1] or flow.shape[0] < 2:
        raise ValueError(f"rates must be a square matrix of at least two valleys, got {flow.shape}")
    np.fill_diagonal(flow, 0.0)
    if not (np.isfinite(flow).all() and (flow >= 0).all()):
        raise ValueError(f"rates must be finite and not negative, got {flow.tolist()}")
    for last in range(len(flow) - 1, 0, -1):
        out = flow[last, :last].sum()
        if not out > 0:
            raise ValueError(
                f"every valley must be reached from every other, got {np.array(rates).tolist()}; "
                "leave out valleys that nobody enters or leaves"
            )
        flow[:last, last] /= out
        flow[:last, :last] += np.outer(flow[:last, last], flow[last, :last])
        np.fill_diagonal(flow, 0.0)
    shares = np.ones(len(flow))
    for v in range(1, len(flow)):
        shares[v] = shares[:v] @ flow[:v, v]
    return shares / shares.sum()


def _laplace(second, third, fourth):
    """c of ∫exp(-f/D) = Gaussian·(1 + cD), from derivatives of f at its minimum."""
    return 5 * third**2 / (24 * second**3) - fourth / (8 * second**2)


def _eigenvalues(name, matrix):
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise ValueError(
            f"{name} must be a finite square matrix, got shape {matrix.shape}; "
            "pass landscape.hessian at the point"
        )
    if not np.allclose(matrix, matrix.T, rtol=1e-8, atol=1e-10 * np.abs(matrix).max()):
        raise ValueError(f"{name} must be symmetric, got {matrix.tolist()}; a Hessian is")
    return np.linalg.eigvalsh(matrix)


def _require(name, value, remedy):
    array = np.asarray(value, dtype=float)
    if not (np.isfinite(array).all() and np.all(array > 0)):
        raise ValueError(f"{name} must be positive and finite, got {value}; {remedy}")


def _exponential(exponent):
    if np.any(np.asarray(exponent) > 700):
        raise OverflowError(
            f"the exponent {np.max(exponent):.4g} exceeds 700, so the time is no float; "
            "compare logarithms instead"
        )
    return np.exp(exponent)


def _number(value):
    return float(value) if np.ndim(value) == 0 else value
