"""Exact escape times against closed forms, mpmath, and an ODE solver that knows no quadrature."""

import re

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_bvp

from ddt_utils import catalog, exact
from ddt_utils._enclosure import enclose
from ddt_utils.exact import mean_first_passage_time, splitting_probability, stationary_density
from ddt_utils.landscape import Landscape
from ddt_utils.noise import HessianNoise, StateDependentNoise, WhiteNoise

x = catalog.quartic().variables[0]
ALPHA = {"ito": 0, "stratonovich": sp.Rational(1, 2), "isothermal": 1}


def landscape(expression, box=(-2, 2)):
    return Landscape(sp.sympify(expression), (x,), name="test", box=(box,))


def double_integral(potential, diffusion, alpha, start, end, panels):
    """∫ s(y) ∫ m(z) dz dy with 18 digits, as the page writes it; Φ given in closed form."""
    with mp.workdps(18):
        alpha = mp.mpf(alpha.p) / alpha.q if isinstance(alpha, sp.Rational) else mp.mpf(alpha)
        scale = sp.lambdify(x, sp.exp(potential) * diffusion ** (-sp.nsimplify(alpha)), "mpmath")
        speed = sp.lambdify(
            x, sp.exp(-potential) / diffusion ** (1 - sp.nsimplify(alpha)), "mpmath"
        )
        tail = mp.quad(speed, [-6, -4, -3, -2, -1.5, -1, start])

        def outer(y):
            return scale(y) * (tail + mp.quad(speed, [start, y]))

        return float(mp.quad(outer, mp.linspace(start, end, panels + 1)))


@pytest.mark.parametrize("height", [1, 3])
def test_white_noise_against_mpmath(height):
    diffusion = sp.Rational(1, 4 * height)
    well = catalog.quartic()
    truth = double_integral(well.expression / diffusion, diffusion, 0, -1, 0, 6)
    time = mean_first_passage_time(well, WhiteNoise(float(diffusion)), start=-1, upper=0)
    assert time == pytest.approx(truth, rel=1e-11)


@pytest.mark.parametrize("convention", sorted(ALPHA))
def test_conventions_against_mpmath(convention):
    diffusion = (1 + x**2) / 25
    potential = 25 * (x**2 / 2 - sp.log(1 + x**2))
    assert sp.simplify(sp.diff(potential, x) - (x**3 - x) / diffusion) == 0
    truth = double_integral(potential, diffusion, sp.Rational(ALPHA[convention]), -1, 0, 6)
    noise = StateDependentNoise(diffusion)
    time = mean_first_passage_time(
        catalog.quartic(), noise, start=-1, upper=0, convention=convention
    )
    assert time == pytest.approx(truth, rel=1e-11)


def test_conventions_differ_in_the_prefactor_as_the_diffusion_does():
    """Ito over isothermal tends to D(b)/D(a) to the power one: here 1/2."""
    noise = StateDependentNoise((1 + x**2) / 200)
    times = {
        c: mean_first_passage_time(catalog.quartic(), noise, start=-1, upper=1, convention=c)
        for c in ALPHA
    }
    assert times["ito"] / times["isothermal"] == pytest.approx(0.5, rel=0.02)
    assert times["stratonovich"] / times["isothermal"] == pytest.approx(0.5**0.5, rel=0.02)


def test_free_diffusion():
    flat, white = landscape(0 * x), WhiteNoise(0.3)
    both = mean_first_passage_time(flat, white, start=0.2, lower=-1, upper=1)
    assert both == pytest.approx((1 - 0.2) * (1 + 0.2) / (2 * 0.3), rel=1e-12)
    wall = mean_first_passage_time(flat, white, start=0.2, reflecting=-1, upper=1)
    assert wall == pytest.approx((2**2 - 1.2**2) / (2 * 0.3), rel=1e-12)
    mirrored = mean_first_passage_time(flat, white, start=-0.2, lower=-1, reflecting=1)
    assert mirrored == pytest.approx(wall, rel=1e-13)


@pytest.mark.parametrize("slope", [0.7, 40.0])
def test_uphill_from_a_wall(slope):
    time = mean_first_passage_time(
        landscape(slope * x), WhiteNoise(0.5), start=0, reflecting=0, upper=1
    )
    ratio = slope / 0.5
    assert time == pytest.approx((np.expm1(ratio) / ratio - 1) / slope, rel=1e-11)


@pytest.mark.parametrize("height", [2, 30, 100])
def test_ornstein_uhlenbeck(height):
    """From the bottom of a parabola up to ``height`` times D: √π ∫ exp(u²)(1 + erf u) du."""
    diffusion, stiffness = 0.3, 2.0
    with mp.workdps(25):
        top = mp.sqrt(height)
        truth = mp.sqrt(mp.pi) * mp.quad(
            lambda u: mp.exp(u**2) * (1 + mp.erf(u)), mp.linspace(0, top, 5)
        )
    edge = np.sqrt(2 * height * diffusion / stiffness)
    time = mean_first_passage_time(
        landscape(stiffness * x**2 / 2), WhiteNoise(diffusion), start=0, upper=edge
    )
    assert time == pytest.approx(float(truth) / stiffness, rel=1e-11)


def test_a_tail_that_falls_like_a_power():
    truth = sp.integrate((1 + x**2) * 2 * (sp.atan(x) + sp.pi / 2), (x, -1, 0))
    time = mean_first_passage_time(
        landscape(sp.log(1 + x**2) / 2), WhiteNoise(0.5), start=-1, upper=0
    )
    assert time == pytest.approx(float(truth), rel=1e-10)


@pytest.mark.parametrize("convention", sorted(ALPHA))
def test_against_the_backward_equation_solved_as_an_ode(convention):
    """−L′f′ + D f″ + αD′f′ = −1 with both ends absorbing, by collocation."""
    loss, diffusion = x**4 / 4 - x**2 / 2 + x / 5, (2 + sp.sin(3 * x)) / 10
    alpha = ALPHA[convention]
    drift = sp.lambdify(x, -sp.diff(loss, x) + alpha * sp.diff(diffusion, x))
    d = sp.lambdify(x, diffusion)
    grid = np.linspace(-1.3, 0.9, 60)
    solution = solve_bvp(
        lambda z, f: np.vstack([f[1], (-1 - drift(z) * f[1]) / d(z)]),
        lambda left, right: np.array([left[0], right[0]]),
        grid,
        np.ones((2, 60)),
        tol=1e-9,
        max_nodes=20000,
    )
    assert solution.success
    time = mean_first_passage_time(
        landscape(loss),
        StateDependentNoise(diffusion),
        start=-0.4,
        lower=-1.3,
        upper=0.9,
        convention=convention,
    )
    assert time == pytest.approx(solution.sol(-0.4)[0], rel=1e-7)


@pytest.mark.parametrize("height, digits", [(30, 2e-3), (100, 1.6e-4), (300, 1.8e-5)])
def test_high_barriers_keep_their_digits(height, digits):
    """Against Kramers with its next order; what is left is of order D²."""
    diffusion = 0.25 / height
    time = mean_first_passage_time(catalog.quartic(), WhiteNoise(diffusion), start=-1, upper=1)
    kramers = 2 * np.pi / np.sqrt(2) * np.exp(height) * (1 + 1.5 * diffusion)
    assert abs(time / kramers - 1) < digits


def test_piecewise_curvature_jumps_are_breakpoints():
    """A jump of D inside the path: the two temperatures of the paper, in closed form."""
    well = catalog.piecewise_well(curvature_minimum=4, curvature_saddle=1, barrier=1)
    noise = HessianNoise(0.2, 1)  # D = 0.1 |L″|, so D = 0.4 below and 0.1 above the junction
    saddle_share = sp.Rational(1, 5)
    junction = sp.sqrt(2 * (1 - saddle_share))
    bottom = junction + sp.sqrt(2 * saddle_share / 4)
    with mp.workdps(25):
        c, a = mp.mpf(str(junction.n(25))), mp.mpf(str(bottom.n(25)))

        def phi(z):  # in units of T = 0.1, with z the distance below the crest
            return 5 * (z - a) ** 2 if z > c else 5 * (c - a) ** 2 + 5 * (c**2 - z**2)

        def speed(z):
            return mp.exp(-phi(z)) / (mp.mpf("0.4") if z > c else mp.mpf("0.1"))

        below = mp.quad(speed, [a, a + 1, a + 4])

        def outer(y):
            cuts = [y, c, a] if y < c else [y, a]
            return mp.exp(phi(y)) * (below + mp.quad(speed, cuts))

        truth = mp.quad(outer, [0, c / 2, c, a])
    time = mean_first_passage_time(well, noise, start=-float(bottom), upper=0)
    assert time == pytest.approx(float(truth), rel=1e-10)


@pytest.mark.parametrize("k", [0.3, 7.0])
def test_sharpness_identity(k):
    """L(√k θ) with the same white noise is the same process, k times faster."""
    well, white = catalog.tilted_quartic(0.1), WhiteNoise(0.1)
    slow = mean_first_passage_time(well, white, start=-1, upper=0.9)
    fast = mean_first_passage_time(
        well.rescaled(k), white, start=-1 / np.sqrt(k), upper=0.9 / np.sqrt(k)
    )
    assert fast == pytest.approx(slow / k, rel=1e-10)


def test_passages_add_up():
    """To reach c a walker must first reach b; with two ends, by the splitting probabilities."""
    well, noise = catalog.tilted_quartic(0.15), StateDependentNoise((2 + sp.cos(x)) / 20)

    def time(**ends):
        return mean_first_passage_time(well, noise, convention="stratonovich", **ends)

    assert time(start=-1.2, upper=0.8) == pytest.approx(
        time(start=-1.2, upper=-0.1) + time(start=-0.1, upper=0.8), rel=1e-11
    )
    up = splitting_probability(
        well, noise, start=0.1, lower=-0.9, upper=0.7, convention="stratonovich"
    )
    assert time(start=0.1, upper=0.7) == pytest.approx(
        time(start=0.1, lower=-0.9, upper=0.7) + (1 - up) * time(start=-0.9, upper=0.7), rel=1e-10
    )


def test_splitting_probability():
    flat, white = landscape(0 * x), WhiteNoise(0.7)
    assert splitting_probability(flat, white, start=0.2, lower=-1, upper=1) == pytest.approx(0.6)
    ramp = splitting_probability(landscape(3 * x), white, start=0.2, lower=-1, upper=1)
    assert ramp == pytest.approx(np.expm1(3 / 0.7 * 1.2) / np.expm1(3 / 0.7 * 2), rel=1e-12)
    deep = splitting_probability(
        catalog.quartic(), WhiteNoise(0.25 / 100), start=-0.9, lower=-1, upper=0
    )
    assert 0 < deep < 1e-30


def test_stationary_density_is_boltzmann_for_white_noise():
    points = np.linspace(-1.9, 1.9, 39).reshape(3, 13)
    density = stationary_density(catalog.quartic(), WhiteNoise(0.11), points)
    with mp.workdps(20):
        weight = mp.quad(
            lambda z: mp.exp(-(z**4 / 4 - z**2 / 2) / mp.mpf("0.11")), [-4, -1, 0, 1, 4]
        )
    truth = np.exp(-catalog.quartic().value(points) / 0.11) / float(weight)
    np.testing.assert_allclose(density, truth, rtol=1e-11)


@pytest.mark.parametrize("convention", sorted(ALPHA))
def test_stationary_density_carries_no_current(convention):
    """L′p + D^α (D^(1−α) p)′ = 0, by a fourth-order difference of the result."""
    diffusion, h = (1 + x**2) / 10, 1e-3
    points = np.linspace(-1.7, 1.7, 30)
    well, noise = catalog.quartic(), StateDependentNoise(diffusion)
    d, alpha = sp.lambdify(x, diffusion), float(ALPHA[convention])

    def p(z):
        return stationary_density(well, noise, z, convention=convention)

    def flow(z):
        return d(z) ** (1 - alpha) * p(z)

    slope = (
        8 * (flow(points + h) - flow(points - h)) - flow(points + 2 * h) + flow(points - 2 * h)
    ) / (12 * h)
    current = well.derivative(points) * p(points) + d(points) ** alpha * slope
    np.testing.assert_allclose(current, 0, atol=1e-9)
    grid = np.linspace(-12, 12, 20001)
    assert np.trapezoid(p(grid), grid) == pytest.approx(1, abs=1e-6)
    assert p(1e6) == 0


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(upper=None), "needs an absorbing end"),
        (dict(start=0.5), "start must lie strictly between"),
        (dict(start=float("nan")), "start must be a finite real number"),
        (dict(start="-1"), "start must be a finite real number"),
        (dict(start=[-1.0, -0.5]), "start must be a finite real number"),
        (dict(start=1j), "start must be a finite real number"),
        (dict(upper=True), "upper must be a finite real number"),
        (dict(upper=float("inf")), "upper must be a finite real number"),
        (dict(rtol="1e-3"), "rtol must be a finite real number"),
        (dict(noise=0.1), "noise.WhiteNoise"),
        (dict(landscape=3), "needs one dimension, 3 has none"),
        (dict(reflecting=-0.5), "between the wall and the absorbing end"),
        (dict(lower=-2, reflecting=-3), "needs a side without"),
        (dict(convention="hk"), "'ito', 'stratonovich', 'isothermal'"),
        (dict(noise=StateDependentNoise(x)), "no negative eigenvalue.* at x = -2"),
        (dict(noise=StateDependentNoise((x + 0.3) ** 2)), r"got D\(-0.3\) = 0"),
        (dict(noise=HessianNoise(0.1, 1)), r"got D\(-0.57735\).*floor"),
        (dict(landscape=landscape(-(x**4))), "must be held.*−∞"),
        (dict(landscape=landscape(0 * x)), "must be held.*reflecting="),
        (dict(landscape=catalog.rotated_double_well()), "needs one dimension"),
    ],
)
def test_errors_name_rule_and_remedy(change, message):
    arguments = dict(
        landscape=catalog.quartic(), noise=WhiteNoise(0.1), start=-1, upper=0, lower=None
    )
    arguments.update(change)
    with pytest.raises(ValueError, match=message):
        mean_first_passage_time(arguments.pop("landscape"), arguments.pop("noise"), **arguments)


def test_refuses_what_it_cannot_resolve():
    hidden_jumps = StateDependentNoise(1 + sp.sinc(3e5 * sp.sin(x - sp.Rational(1, 3))) / 2)
    with pytest.raises(ArithmeticError, match="must settle"):
        mean_first_passage_time(catalog.quartic(), hidden_jumps, start=-1, upper=1)
    with pytest.raises(ArithmeticError, match="no float"):
        mean_first_passage_time(catalog.quartic(), WhiteNoise(2.5e-4), start=-1, upper=0)
    with pytest.raises(ArithmeticError, match="too far up"):
        mean_first_passage_time(catalog.quartic(), WhiteNoise(0.1), start=-1e6, upper=0)
    with pytest.raises(ValueError, match="two absorbing ends"):
        splitting_probability(catalog.quartic(), WhiteNoise(0.1), start=0, lower=None, upper=1)


def test_a_flat_topped_saddle_has_a_gamma_function_in_its_prefactor():
    """L = x⁶/6 − x⁴/4: ∫exp(−x⁴/4D) = (4D)^¼ Γ(¼)/2, and its next order 0.338 √D."""
    diffusion = 1 / 12 / 400
    time = mean_first_passage_time(
        landscape(x**6 / 6 - x**4 / 4), WhiteNoise(diffusion), start=-1, upper=1
    )
    flat = (4 * diffusion) ** 0.25 * float(sp.gamma(sp.Rational(1, 4))) / 2
    next_order = 1 + 4 / 3 * np.sqrt(diffusion) * float(
        sp.gamma(sp.Rational(7, 4)) / sp.gamma(sp.Rational(1, 4))
    )
    leading = np.sqrt(2 * np.pi * diffusion / 2) / diffusion * flat * np.exp(400)
    assert time == pytest.approx(leading * next_order, rel=2e-3)
    assert abs(time / leading - 1) > 5e-3


SPIKE = sp.exp(-(((x - sp.Rational(3217, 10000)) * 10**4) ** 2))


def midpoint_sums(loss, diffusion, start, end, alpha=0.0, near=(), low=-4.0):
    """∫ s ∫ m by midpoint sums on cells that are small near given places; order two."""
    cells = [np.linspace(low, end, 400_001)]
    cells += [p + np.linspace(-1e-3, 1e-3, 200_001) for p in near]
    edges = np.unique(np.concatenate([*cells, [start]]))
    edges = edges[(edges >= low) & (edges <= end)]
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    d = np.broadcast_to(sp.lambdify(x, diffusion)(middle), middle.shape)
    slope = np.broadcast_to(sp.lambdify(x, sp.diff(loss, x))(middle), middle.shape) / d * width
    phi = np.cumsum(slope) - slope / 2
    inner = np.cumsum(d ** (alpha - 1) * np.exp(-phi) * width)
    inner -= d ** (alpha - 1) * np.exp(-phi) * width / 2
    return np.sum((d**-alpha * np.exp(phi) * inner * width)[middle > start])


@pytest.mark.parametrize(
    "loss, diffusion",
    [
        (x**4 / 4 - x**2 / 2 + sp.Rational(6, 5) * SPIKE, sp.Rational(1, 10)),
        (x**4 / 4 - x**2 / 2, (1 + 12 * SPIKE) / 10),
        (x**4 / 4 - x**2 / 2, (1 - SPIKE * sp.Rational(9, 10)) / 10),
    ],
)
def test_a_spike_far_narrower_than_a_panel_is_seen(loss, diffusion):
    """12 D high and 1e-4 wide: it adds 6e-4 of the time and more, the quadrature claims 1e-10."""
    noise = StateDependentNoise(diffusion)
    time = mean_first_passage_time(landscape(loss), noise, start=-0.9, upper=0.8)
    truth = midpoint_sums(loss, diffusion, -0.9, 0.8, near=(0.3217,))
    assert time == pytest.approx(truth, rel=2e-7)
    smooth = mean_first_passage_time(catalog.quartic(), WhiteNoise(0.1), start=-0.9, upper=0.8)
    assert abs(time / smooth - 1) > 5e-6


def test_a_faint_spike_is_seen_to_first_order():
    """A height of 1e-2 D adds w ∫(exp(A e^(−u²)) − 1) du times the known factors."""
    height, d = 0.01, 0.1
    time = mean_first_passage_time(
        landscape(x**4 / 4 - x**2 / 2 + d * height * SPIKE), WhiteNoise(d), start=-0.9, upper=0.8
    )
    plain = mean_first_passage_time(catalog.quartic(), WhiteNoise(d), start=-0.9, upper=0.8)
    with mp.workdps(20):
        place = mp.mpf("0.3217")

        def phi(z):
            return (z**4 / 4 - z**2 / 2) / mp.mpf("0.1")

        gain, loss = (
            mp.quad(lambda u, s=s: mp.expm1(s * height * mp.exp(-(u**2))), [-7, 0, 7]) / 10**4
            for s in (1, -1)
        )
        below = mp.quad(lambda z: mp.exp(-phi(z)), [-4, -1, 0, place])
        above = mp.quad(lambda z: mp.exp(phi(z)), [place, 0.8])
        extra = (mp.exp(phi(place)) * gain * below + mp.exp(-phi(place)) * loss * above) / d
    assert time - plain == pytest.approx(float(extra), rel=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        (sp.Abs(x) - 1) ** 2 / 2,
        sp.Min((x + 1) ** 2 / 2, (x - 1) ** 2 / 3),
        sp.Max(x**2 / 2, sp.Rational(3, 4) - x),
        sp.Abs(x - sp.Rational(1, 3)) ** sp.Rational(6, 5),
    ],
)
def test_kinks_of_the_loss(loss):
    time = mean_first_passage_time(
        landscape(loss, box=(-3, 3)), WhiteNoise(0.17), start=-0.6, lower=-2.3, upper=1.1
    )
    edges = np.unique(np.r_[np.linspace(-2.3, 1.1, 400_001), -0.6])
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    phi = sp.lambdify(x, loss)(middle) / 0.17
    s, m = np.exp(phi) * width, np.exp(-phi) / 0.17 * width
    left = np.cumsum(s) - s / 2
    whole, at = s.sum(), s[middle < -0.6].sum()
    low = middle < -0.6
    truth = ((whole - at) * (left * m)[low].sum() + at * ((whole - left) * m)[~low].sum()) / whole
    assert time == pytest.approx(truth, rel=1e-7)


@pytest.mark.parametrize("convention", sorted(ALPHA))
def test_conventions_where_the_diffusion_jumps(convention):
    """Free walkers from 0.3 of [0, 1.7], wall and exit; D is 0.8 up to 0.9 and 0.2 beyond.

    The scale of the second part is D^(−α), so T = ∫ s ∫ m is three integrals of constants.
    """
    alpha = float(ALPHA[convention])
    noise = StateDependentNoise(sp.Piecewise((0.8, x < 0.9), (0.2, True)))
    time = mean_first_passage_time(
        landscape(0 * x, box=(0, 1.7)),
        noise,
        start=0.3,
        reflecting=0,
        upper=1.7,
        convention=convention,
    )
    first = (0.9**2 - 0.3**2) / 2 / 0.8
    second = 0.8**2 / 2 / 0.2 + 0.2**-alpha * 0.8 * 0.8 ** (alpha - 1) * 0.9
    assert time == pytest.approx(first + second, rel=1e-11)
    share = exact.occupation(
        landscape(sp.Piecewise((4 * x**2, x < 0), (0, x < 1.7), (4 * (x - 1.7) ** 2, True))),
        noise,
        lower=0,
        upper=0.9,
        convention=convention,
    )
    wings = [np.sqrt(np.pi * d / 4) / 2 * d ** (alpha - 1) for d in (0.8, 0.2)]
    parts = [0.9 * 0.8 ** (alpha - 1), 0.8 * 0.2 ** (alpha - 1)]
    assert share == pytest.approx(parts[0] / (sum(parts) + sum(wings)), rel=1e-10)


def test_the_exponent_where_the_diffusion_jumps_and_the_loss_has_a_kink():
    noise = StateDependentNoise(sp.Piecewise((0.7, x < 0.25), (0.2, x < 1.1), (0.9, True)))
    rise = exact.potential_difference(landscape(sp.Abs(x - 0.5)), noise, start=1.6, end=-0.3)
    truth = -(0.5 / 0.9 + 0.6 / 0.2) + 0.25 / 0.2 + 0.55 / 0.7
    assert rise == pytest.approx(truth, abs=1e-12)


def test_noise_that_jumps_at_every_floor_is_cut_there():
    """Free walkers between a wall at −1 and an exit at 1: T = ∫ dy ∫ dz / D(z)."""
    diffusion = sp.Rational(1, 2) + sp.floor(3 * x + sp.Rational(1, 3)) / 20
    time = mean_first_passage_time(
        landscape(0 * x), StateDependentNoise(diffusion), start=-0.7, reflecting=-1, upper=1
    )
    cuts = np.r_[-1, -0.7, [(k - 1 / 3) / 3 for k in range(-2, 4)], 1]
    cuts, truth = np.sort(cuts), 0.0
    for a, b in zip(cuts[:-1], cuts[1:], strict=True):
        d = 0.5 + np.floor(3 * (a + b) / 2 + 1 / 3) / 20
        truth += (b - a) * (1 - max((a + b) / 2, -0.7)) / d  # what z adds for all y beyond it
    assert time == pytest.approx(truth, rel=1e-11)


def test_second_moments():
    """An interval without drift, and the exponential law behind a high barrier."""
    flat, d = landscape(0 * x), 0.3
    moments = exact.first_passage_moments(flat, WhiteNoise(d), start=0.2, lower=-1, upper=1.4)
    a, z = 1.2, 0.0  # half width, and the start seen from the middle
    mean = (a**2 - z**2) / (2 * d)
    square = (5 * a**4 - 6 * a**2 * z**2 + z**4) / (12 * d**2)
    np.testing.assert_allclose(moments, [mean, square], rtol=1e-12)
    wall = exact.first_passage_moments(flat, WhiteNoise(d), start=-0.5, upper=0.7, reflecting=-0.5)
    np.testing.assert_allclose(wall, [mean, square], rtol=1e-12)
    far = exact.first_passage_moments(
        catalog.quartic(), WhiteNoise(0.25 / 60), start=-1, upper=1, count=4
    )
    np.testing.assert_allclose(far / far[0] ** np.arange(1, 5), [1, 2, 6, 24], rtol=1e-9)


def test_moments_against_the_backward_equation():
    """D f″ + (αD′ − L′) f′ = −2 T, with T from the same equation, by collocation."""
    loss, diffusion = x**4 / 4 - x**2 / 2 + x / 5, (2 + sp.sin(3 * x)) / 10
    drift = sp.lambdify(x, -sp.diff(loss, x) + sp.diff(diffusion, x) / 2)
    d = sp.lambdify(x, diffusion)

    def slopes(z, f):
        return np.vstack(
            [f[1], (-1 - drift(z) * f[1]) / d(z), f[3], (-2 * f[0] - drift(z) * f[3]) / d(z)]
        )

    solution = solve_bvp(
        slopes,
        lambda left, right: np.array([left[0], right[0], left[2], right[2]]),
        np.linspace(-1.3, 0.9, 60),
        np.ones((4, 60)),
        tol=1e-9,
        max_nodes=20000,
    )
    moments = exact.first_passage_moments(
        landscape(loss),
        StateDependentNoise(diffusion),
        start=-0.4,
        lower=-1.3,
        upper=0.9,
        convention="stratonovich",
    )
    np.testing.assert_allclose(moments, solution.sol(-0.4)[[0, 2]], rtol=1e-7)


def test_occupation_of_a_well():
    """Against the density, added up; a share of 1e-20 keeps its digits."""
    well, noise = catalog.tilted_quartic(0.15), StateDependentNoise((2 + sp.cos(x)) / 20)
    options = dict(convention="isothermal")
    grid = np.linspace(-4, 4, 400_001)
    density = stationary_density(well, noise, grid, **options)
    inside = (grid >= -0.3) & (grid <= 1.2)
    found = exact.occupation(well, noise, lower=-0.3, upper=1.2, **options)
    assert found == pytest.approx(np.trapezoid(density[inside], grid[inside]), rel=3e-5)
    parts = [dict(upper=-0.3), dict(lower=-0.3, upper=1.2), dict(lower=1.2)]
    assert sum(exact.occupation(well, noise, **p, **options) for p in parts) == pytest.approx(1)
    bowl = landscape(2 * x**2)
    rare = exact.occupation(bowl, WhiteNoise(0.1), lower=1.5)
    assert rare == pytest.approx(sp.erfc(1.5 * sp.sqrt(2 / sp.Float(0.1, 25))).n(18) / 2, rel=1e-9)
    with pytest.raises(ValueError, match="lower must be below upper"):
        exact.occupation(bowl, WhiteNoise(0.1), lower=1, upper=0.5)
    assert stationary_density(bowl, WhiteNoise(0.1), []).shape == (0,)
    with pytest.raises(ValueError, match="NaN"):
        stationary_density(bowl, WhiteNoise(0.1), [0, float("nan")])


@pytest.mark.parametrize(
    "formula",
    [
        x**3 - x,
        sp.sin(3 * x) * sp.cos(x**2),
        1 / (x - 3),
        sp.Abs(x - 1) ** sp.Rational(6, 5),
        sp.Piecewise((x**2, x < 0), (sp.sin(x), sp.And(x < 1, x**2 > 0.1)), (3, True)),
        sp.Max(x, x**2 - 1, 0) - sp.Min(x, 1 - x),
        sp.Heaviside(x - 0.5) * x + sp.sign(x + 0.2) * sp.floor(3 * x),
        sp.tanh(5 * x) - sp.log(3 + x) + sp.sqrt(2 + x),
        (2 + x) ** x + x**-3,
        sp.cosh(x - 0.2) * sp.exp(-((10 * x) ** 2)),
    ],
)
def test_bounds_of_a_formula_hold_and_narrow_down(formula):
    random = np.random.default_rng(3)
    low = random.uniform(-1.9, 1.9, 300)
    high = low + 10 ** random.uniform(-6, 0, 300)
    least, most = enclose(formula, low, high)
    inside = low[:, None] + (high - low)[:, None] * np.linspace(1e-3, 1 - 1e-3, 201)
    values = np.broadcast_to(sp.lambdify(x, formula)(inside), inside.shape)
    slack = 1e-9 * (1 + np.abs(values).max(axis=1))
    assert np.all(least <= values.min(axis=1) + slack)
    assert np.all(most >= values.max(axis=1) - slack)
    narrow = high - low < 1e-4
    assert np.median((most - least)[narrow] / (high - low)[narrow]) < 60


@pytest.mark.parametrize("scale", [1e-3, 1e-9, 1e-20])
def test_a_small_exponent_is_not_rounded_away(scale):
    push = StateDependentNoise((1 + x**2) / scale)
    # ∫ (x³ − x)/(1 + x²) dx = x²/2 − ln(1 + x²)
    found = exact.potential_difference(catalog.quartic(), push, start=-1, end=0)
    assert found == pytest.approx(scale * (np.log(2) - 0.5), rel=1e-9)


@pytest.mark.parametrize("loss", [x**40, sp.exp(5 * x) + sp.exp(-5 * x)])
def test_a_wall_too_steep_for_panels_is_not_said_to_let_walkers_go(loss):
    steep = Landscape(loss, (x,), name="trough", box=((-1.9, 1.9),))
    with pytest.raises(ArithmeticError, match="too steep to integrate .* does not reach so far up"):
        mean_first_passage_time(steep, WhiteNoise(0.1), start=0, upper=0.4)


@pytest.mark.parametrize(
    ("slope", "error", "told"),
    [
        (0.3, ValueError, "lets them drift towards"),
        (0.5, ValueError, "lets them drift towards"),
        (0.55, ArithmeticError, "must fall fast enough .* reflecting="),
    ],
)
def test_a_tail_without_end_is_told_from_walkers_that_are_not_held(slope, error, told):
    """The stationary density goes like |x| to the power of −2 slope."""
    well = landscape(slope * sp.log(1 + x**2))
    with pytest.raises(error, match=told):
        mean_first_passage_time(well, WhiteNoise(1.0), start=0, upper=1)


@pytest.mark.parametrize("wall", [-100, -1e9, -1e30, -1e200])
def test_a_wall_where_no_walker_comes_changes_nothing(wall):
    """On the way to it L'/D is too steep for panels; up to the nearer one it is integrated."""
    well = Landscape(x**4 / 4 - 0.7 * x**2, (x,), name="well", box=((-1.9, 1.9),))
    for ends in (dict(start=-0.8, upper=0.9), dict(start=-0.8, upper=0.9, convention="isothermal")):
        near = mean_first_passage_time(well, WhiteNoise(0.15), reflecting=-5, **ends)
        far = mean_first_passage_time(well, WhiteNoise(0.15), reflecting=wall, **ends)
        np.testing.assert_allclose(far, near, rtol=1e-9)
    mirror = dict(start=0.8, lower=-0.9, reflecting=-wall)
    np.testing.assert_allclose(
        mean_first_passage_time(well, WhiteNoise(0.15), **mirror), near, 1e-9
    )


@pytest.mark.parametrize("wall", [-1e15, -1e30, -1e100, -1e200])
def test_a_wall_too_far_for_a_loss_that_does_not_hold_is_named(wall):
    """Where the loss is flat the wall decides, so it is not left out; nor is the noise blamed."""
    flat = Landscape(x**2 / (1 + x**2), (x,), name="flat", box=((-3, 3),))
    ask = dict(start=0, upper=1, reflecting=wall)
    with pytest.raises(ArithmeticError, match=re.escape(f"got {wall:g} for a box of")):
        mean_first_passage_time(flat, WhiteNoise(0.125), **ask)
    with pytest.raises(ArithmeticError, match=re.escape(f"got {wall:g} for a box of")):
        mean_first_passage_time(flat, WhiteNoise(0.125), start=0, upper=1, lower=wall)
