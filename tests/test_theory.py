"""The closed forms against the exact times they approach, against SymPy, and against each other."""

import re

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from ddt_utils import catalog, discrete, exact, theory
from ddt_utils.exact import mean_first_passage_time
from ddt_utils.landscape import Landscape
from ddt_utils.noise import HessianNoise, MinibatchNoise, StateDependentNoise, WhiteNoise
from ddt_utils.theory import (
    Prediction,
    chain_occupation,
    eyring_kramers_time,
    kramers_correction,
    kramers_time,
    occupation,
    path_fraction,
    sgd,
    sgd_escape_time,
    state_dependent_time,
    step_factor,
)
from ddt_utils.theory import diffusion as white

QUARTIC = dict(curvature_minimum=2, curvature_saddle=-1, barrier=0.25)
UNEVEN = dict(curvature_minimum=2.5, curvature_saddle=-1.7, barrier=0.6, diffusion=0.09)
HESSIANS = dict(
    hessian_minimum=np.diag([3.0, 7.0, 0.5]),
    hessian_saddle=np.diag([1.9, -2.3, 5.0]),
    barrier=0.6,
    diffusion=0.09,
)
SGD = dict(
    curvature_minimum=4,
    curvature_saddle=1.7,
    barrier=0.9,
    learning_rate=0.1,
    batch_size=3,
    path_fraction=0.2,
)
STATE = dict(
    curvature_minimum=2.5,
    curvature_saddle=-1.7,
    exponent=6.1,
    diffusion_minimum=0.09,
    diffusion_saddle=0.05,
)


def tilted():
    """A tilted quartic with its left minimum, saddle and right minimum."""
    well = catalog.tilted_quartic(sp.Rational(1, 5))
    points = sorted(float(r) for r in sp.nroots(sp.diff(well.expression, *well.variables)))
    return well, points


def test_kramers_time_is_the_low_noise_limit():
    for diffusion, tolerance in ((0.25 / 30, 0.014), (0.25 / 300, 0.0014)):
        truth = mean_first_passage_time(catalog.quartic(), WhiteNoise(diffusion), start=-1, upper=1)
        prediction = kramers_time(diffusion=diffusion, **QUARTIC)
        assert float(prediction) == pytest.approx(truth, rel=tolerance)


def test_kramers_time_to_the_saddle_is_half():
    truth = mean_first_passage_time(catalog.quartic(), WhiteNoise(0.25 / 300), start=-1, upper=0)
    assert float(kramers_time(diffusion=0.25 / 300, **QUARTIC)) / 2 == pytest.approx(
        truth, rel=2e-3
    )


def test_a_prediction_says_what_it_rests_on():
    prediction = kramers_time(diffusion=np.array([0.1, 0.2]), **QUARTIC)
    assert isinstance(prediction, Prediction)
    assert prediction.value.shape == (2,)
    assert len(prediction.assumptions) == 4 and "Kramers" in prediction.source
    np.testing.assert_allclose(
        prediction.value, [float(kramers_time(diffusion=d, **QUARTIC)) for d in (0.1, 0.2)]
    )


def test_correction_of_the_quartic_is_three_halves():
    assert kramers_correction(catalog.quartic(), minimum=-1, saddle=0) == pytest.approx(1.5)


@pytest.mark.parametrize("sixth", [0, sp.Rational(1, 7)])
def test_correction_against_a_series_of_the_integrals(sixth):
    """Gaussian moments by SymPy; with x⁶ in the loss no two derivatives at a and b are equal."""
    x = catalog.quartic().variables[0]
    loss = tilted()[0].expression + sixth * x**6
    well = Landscape(loss, (x,), name="sextic", box=((-2, 2),))
    roots = [complex(r) for r in sp.nroots(sp.diff(loss, x))]
    a, b, _ = sorted(r.real for r in roots if abs(r.imag) < 1e-9)
    u, e = sp.symbols("u epsilon", positive=True)

    def coefficient(loss, point):
        local = [sp.diff(loss, x, k).subs(x, point) / sp.factorial(k) for k in (2, 3, 4)]
        tail = sp.exp(-(local[1] * e * u**3 + local[2] * e**2 * u**4))
        order = sp.diff(tail, e, 2).subs(e, 0) / 2
        weight = sp.exp(-local[0] * u**2)

        def moment(f):
            powers = sp.Poly(sp.expand(f), u).terms()
            return sum(
                c * sp.gamma(sp.Rational(k + 1, 2)) / local[0] ** sp.Rational(k + 1, 2)
                for (k,), c in powers
            )

        assert weight.subs(u, 0) == 1
        return moment(order) / moment(sp.Integer(1))

    truth = coefficient(well.expression, a) + coefficient(-well.expression, b)
    assert kramers_correction(well, minimum=a, saddle=b) == pytest.approx(float(truth), rel=1e-12)


def test_the_error_after_the_correction_is_of_second_order():
    well, (a, b, c) = tilted()
    diffusion = np.array([0.008, 0.004, 0.002])
    exact = np.array(
        [mean_first_passage_time(well, WhiteNoise(d), start=a, upper=c) for d in diffusion]
    )
    kramers = kramers_time(
        curvature_minimum=well.derivative(a, 2),
        curvature_saddle=well.derivative(b, 2),
        barrier=well.value(b) - well.value(a),
        diffusion=diffusion,
    ).value
    coefficient = kramers_correction(well, minimum=a, saddle=b)
    error = np.abs(exact / kramers - 1 - coefficient * diffusion)
    slope = np.polyfit(np.log(diffusion), np.log(error), 1)[0]
    assert 1.9 < slope < 2.15
    bare = np.polyfit(np.log(diffusion), np.log(np.abs(exact / kramers - 1)), 1)[0]
    assert 0.9 < bare < 1.1


def test_eyring_kramers_in_one_dimension_is_kramers():
    one = eyring_kramers_time(
        hessian_minimum=[[2.0]], hessian_saddle=[[-1.0]], barrier=0.25, diffusion=0.05
    )
    assert float(one) == pytest.approx(float(kramers_time(diffusion=0.05, **QUARTIC)), rel=1e-14)


def test_eyring_kramers_takes_the_whole_determinant_of_the_saddle():
    """No two numbers equal, λ₋ = −2.3, turned; written out, |λ₋| stands under the root once."""
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    given = HESSIANS | dict(
        hessian_minimum=turn.T @ HESSIANS["hessian_minimum"] @ turn,
        hessian_saddle=turn @ HESSIANS["hessian_saddle"] @ turn.T,
    )
    by_hand = 2 * np.pi * np.sqrt(1.9 * 5.0 / (2.3 * 3.0 * 7.0 * 0.5)) * np.exp(0.6 / 0.09)
    assert float(eyring_kramers_time(**given)) == pytest.approx(by_hand, rel=1e-12)
    assert float(eyring_kramers_time(**HESSIANS)) == pytest.approx(by_hand, rel=1e-12)


def test_eyring_kramers_against_the_exact_time_in_a_stiff_valley():
    """Across a stiff way the walker feels L + (D/2) ln k, whose exact time is a quadrature."""
    x = catalog.quartic().variables[0]
    stiffness = sp.Rational(21, 5) * sp.exp(-(x**2) * sp.log(sp.Rational(42, 13)))
    loss = sp.Rational(23, 10) * (x**4 / 4 - x**2 / 2)
    gaps = []
    for diffusion in (0.01, 0.005):
        felt = loss + sp.Rational(diffusion) / 2 * sp.log(stiffness)
        well = Landscape(felt, (x,), name="felt", box=((-2, 2),))
        truth = mean_first_passage_time(well, WhiteNoise(diffusion), start=-1, upper=1)
        predicted = eyring_kramers_time(
            hessian_minimum=np.diag([4.6, 130.0]),
            hessian_saddle=np.diag([420.0, -2.3]),
            barrier=0.575,
            diffusion=diffusion,
        )
        gaps.append(truth / float(predicted) - 1)
    assert abs(gaps[1]) < 2e-3 and 2 * gaps[1] - gaps[0] == pytest.approx(0, abs=1e-4)


def test_eyring_kramers_of_many_dimensions_does_not_overflow():
    """Determinants of 10³⁰⁰⁰ whose ratio is one but for the two numbers of the way."""
    n = 1000
    prediction = eyring_kramers_time(
        hessian_minimum=np.diag([3.0] + [1e3] * n),
        hessian_saddle=np.diag([-2.3] + [1e3] * n),
        barrier=0.6,
        diffusion=np.array([0.09, 0.07]),
    )
    plain = [
        kramers_time(curvature_minimum=3, curvature_saddle=2.3, barrier=0.6, diffusion=d)
        for d in (0.09, 0.07)
    ]
    np.testing.assert_allclose(prediction.value, [float(p) for p in plain], rtol=1e-10)


def one_formula(text):
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize(
    ("function", "formulas"),
    [
        (kramers_time, [white._KRAMERS]),
        (kramers_correction, [white._CORRECTION]),
        (eyring_kramers_time, [white._EYRING]),
        (state_dependent_time, [white._UNEVEN]),
        (sgd_escape_time, [sgd._SGD[1]]),
        (path_fraction, [sgd._FRACTION]),
        (step_factor, [sgd._STEP]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_docstring_writes_the_formula_that_is_computed(function, formulas):
    blocks = function.__doc__.split(".. math::")[1:]
    shown = [one_formula(block.split("\n\n")[0]) for block in blocks]
    assert shown == [one_formula(formula.latex) for formula in formulas]


def test_a_prediction_writes_the_formula_that_it_was_computed_from():
    """And the other two prefactors of SGD stand in the docstring as well."""
    assert kramers_time(**UNEVEN).formula == white._KRAMERS.latex
    assert eyring_kramers_time(**HESSIANS).formula == white._EYRING.latex
    assert state_dependent_time(**STATE).formula == white._UNEVEN.latex
    text = one_formula(sgd_escape_time.__doc__)
    for convention, power in (("ito", 0), ("stratonovich", sp.Rational(1, 2)), ("isothermal", 1)):
        formula = sgd._SGD[power]
        assert sgd_escape_time(**SGD, convention=convention).formula == formula.latex
        assert one_formula(sp.latex(formula.factor, symbol_names=formula.latex_of)) in text


@pytest.mark.parametrize(
    ("function", "given", "truth"),
    [
        (kramers_time, UNEVEN, 2 * np.pi / np.sqrt(2.5 * 1.7) * np.exp(0.6 / 0.09)),
        (
            state_dependent_time,
            STATE | dict(convention="isothermal"),
            2 * np.pi / np.sqrt(2.5 * 1.7) * np.sqrt(0.09 / 0.05) * np.exp(6.1),
        ),
        (
            sgd_escape_time,
            SGD | dict(convention="stratonovich"),
            2 * np.pi / np.sqrt(4 * 1.7) * np.exp(2 * 3 * 0.9 / 0.1 * (0.2 / 4 + 0.8 / 1.7)),
        ),
        (
            sgd_escape_time,
            SGD,
            2 * np.pi / 1.7 * np.exp(2 * 3 * 0.9 / 0.1 * (0.2 / 4 + 0.8 / 1.7)),
        ),
    ],
)
def test_formulas_written_out_where_no_two_numbers_are_equal(function, given, truth):
    assert float(function(**given)) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("convention", ["ito", "stratonovich", "isothermal"])
def test_a_diffusion_that_depends_on_the_place_tends_to_the_exact_time(convention):
    """A tilted quartic, so that curvatures and D at both points are four different numbers."""
    well, (a, b, c) = tilted()
    x = well.variables[0]
    gaps = []
    for scale in (0.006, 0.003):
        noise = StateDependentNoise(scale * (1 + x / 3 + x**2))
        predicted = state_dependent_time(
            curvature_minimum=well.derivative(a, 2),
            curvature_saddle=well.derivative(b, 2),
            exponent=exact.potential_difference(well, noise, start=a, end=b),
            diffusion_minimum=float(noise.diffusion(well, a).squeeze()),
            diffusion_saddle=float(noise.diffusion(well, b).squeeze()),
            convention=convention,
        )
        truth = mean_first_passage_time(well, noise, start=a, upper=c, convention=convention)
        gaps.append(truth / float(predicted) - 1)
    assert abs(gaps[1]) < 0.03 and 2 * gaps[1] - gaps[0] == pytest.approx(0, abs=4e-3)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_step_changes_the_time_by_a_factor_that_stays(side):
    """Exact walk over exact diffusion at four learning rates, extrapolated to none."""
    well, (a, b, c) = tilted()
    x = well.variables[0]
    start, ends = (a, dict(upper=c)) if side == "left" else (c, dict(lower=a))
    rates = (0.16, 0.12, 0.1, 0.08)

    def noise(rate):
        return StateDependentNoise(rate / 2 * (sp.Rational(3, 2) - sp.tanh(2 * x)) / 3)

    ratios = [
        discrete.mean_first_passage_time(
            well, noise(rate), step=rate, start=start, rtol=1e-6, **ends
        )
        / mean_first_passage_time(well, noise(rate), start=start, **ends)
        for rate in rates
    ]
    limit = np.polyfit(rates, ratios, 3)[-1]
    found = [
        step_factor(well, noise(rate), learning_rate=rate, start=start, end=b) for rate in rates
    ]
    np.testing.assert_allclose(found, found[0], rtol=1e-9)  # whatever the learning rate
    assert limit == pytest.approx(found[0], abs=3e-3)
    assert abs(found[0] - 1) > 0.02


def test_the_factor_of_the_step_in_closed_form():
    """Quartic and C = 1 + 8x²: the integral by SymPy; without a change of C the factor is one."""
    well = catalog.quartic()
    x = well.variables[0]
    slope, covariance = sp.diff(well.expression, x), 1 + 8 * x**2
    integral = sp.integrate(
        sp.apart(sp.cancel(slope**2 * sp.diff(covariance, x) / covariance**2)), (x, -1, 0)
    )
    noise = StateDependentNoise(sp.Rational(1, 20) * covariance / 6)
    found = step_factor(well, noise, learning_rate=0.1, start=-1, end=0)
    assert found == pytest.approx(float(sp.exp(3 * integral)), rel=1e-9)
    assert found == pytest.approx(0.822, abs=5e-4)
    assert step_factor(well, WhiteNoise(0.1), learning_rate=0.3, start=-1, end=0) == 1
    back = step_factor(well, noise, learning_rate=0.1, start=1, end=0)
    assert back == pytest.approx(found, rel=1e-9)


def test_the_factor_of_the_step_sees_a_bump_that_is_narrower_than_nodes_are_apart():
    """A ten-thousandth wide and a hundredth high: it makes 0.556 of 0.968."""
    height, width, centre = 0.01, 1e-4, -0.501237
    x = sp.Symbol("x", real=True)
    bump = height * sp.exp(-(((x - centre) / width) ** 2))
    well = Landscape(x**4 / 4 - x**2 / 2 + bump, (x,), name="bumpy", box=((-2, 2),))
    noise = StateDependentNoise((1 + 8 * x**2) / 4)
    near = centre + width * np.linspace(-12, 12, 400)
    edges = np.unique(np.concatenate([np.linspace(-1, 0, 200), near]))
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = np.diff(edges)[:, None] / 2
    z = (edges[1:, None] + edges[:-1, None]) / 2 + half * nodes
    away = (z - centre) / width
    slope = z**3 - z - 2 * height * away / width * np.exp(-(away**2))
    integral = np.sum(half * weights * slope**2 * 4 * z / ((1 + 8 * z**2) / 4) ** 2)
    found = [step_factor(well, noise, learning_rate=0.5, start=-1, end=0)]
    shift = x + 3
    other = Landscape(well.expression.subs(x, -shift), (x,), name="other", box=((-5, -1),))
    turned = StateDependentNoise((1 + 8 * shift**2) / 4)
    found.append(step_factor(other, turned, learning_rate=0.5, start=-2, end=-3))
    assert np.exp(integral / 8) == pytest.approx(0.5557, abs=5e-5)
    assert found == pytest.approx([np.exp(integral / 8)] * 2, rel=1e-8)


def test_sgd_escape_time_is_exact_in_the_piecewise_well_under_the_isothermal_convention():
    """Its exponent is that of the exact time, and its prefactor is the isothermal one."""
    s = 1.7 / (4 + 1.7)
    bottom = -(np.sqrt(2 * 0.9 * (1 - s) / 1.7) + np.sqrt(2 * 0.9 * s / 4))
    well = catalog.piecewise_well(curvature_minimum=4, curvature_saddle=1.7, barrier=0.9)
    noise = HessianNoise(0.1, 5)
    exact = {
        c: mean_first_passage_time(well, noise, start=bottom, upper=-bottom, convention=c)
        for c in ("isothermal", "ito")
    }
    given = SGD | dict(batch_size=5, path_fraction=s)
    predicted = float(sgd_escape_time(**given))
    assert exact["isothermal"] == pytest.approx(predicted, rel=0.02)
    assert exact["ito"] == pytest.approx(predicted * 1.7 / 4, rel=0.02)
    swapped = given | dict(curvature_minimum=1.7, curvature_saddle=4)
    assert abs(np.log(exact["isothermal"] / float(sgd_escape_time(**swapped)))) > 10


def test_sgd_escape_time_with_one_curvature_is_kramers():
    one = sgd_escape_time(**{**SGD, "curvature_minimum": 1.7, "path_fraction": 0.37})
    diffusion = 0.1 / (2 * 3) * 1.7
    kramers = kramers_time(
        curvature_minimum=1.7, curvature_saddle=-1.7, barrier=0.9, diffusion=diffusion
    )
    assert float(one) == pytest.approx(float(kramers), rel=1e-13)


@pytest.mark.parametrize("convention", ["ito", "stratonovich", "isothermal"])
@pytest.mark.parametrize("curvatures", [(4, 1), (1, 4)])
def test_the_prefactor_of_each_convention_is_what_quadrature_tends_to(convention, curvatures):
    """Exact times to the crest, doubled, at exponents 12 and 48: the distance falls like 1/√."""
    top, bottom = curvatures[1], curvatures[0]
    well = catalog.piecewise_well(curvature_minimum=bottom, curvature_saddle=top, barrier=1)
    s = top / (bottom + top)
    start = -(np.sqrt(2 * s / bottom) + np.sqrt(2 * (1 - s) / top))
    gaps = []
    for exponent in (12, 48):
        ratio = exponent / (s / bottom + (1 - s) / top)  # 2B/η
        noise = HessianNoise(2 / ratio, 1)
        options = dict(learning_rate=2 / ratio, batch_size=1, convention=convention)
        predicted = sgd_escape_time(
            curvature_minimum=bottom, curvature_saddle=top, barrier=1, path_fraction=s, **options
        )
        general = state_dependent_time(
            curvature_minimum=bottom,
            curvature_saddle=top,
            exponent=exact.potential_difference(well, noise, start=start, end=0),
            diffusion_minimum=bottom / ratio,
            diffusion_saddle=top / ratio,
            convention=convention,
        )
        assert float(general) == pytest.approx(float(predicted), rel=1e-9)
        truth = exact.mean_first_passage_time(
            well, noise, start=start, upper=0, convention=convention
        )
        gaps.append(2 * truth / float(predicted) - 1)
    assert abs(gaps[1]) < 0.02 and abs(gaps[1]) < 0.7 * abs(gaps[0])


def test_path_fraction_undoes_the_exponent():
    numbers = dict(curvature_minimum=3.0, curvature_saddle=-1.7, barrier=0.6, batch_size=2.5)
    numbers |= dict(learning_rate=0.1)
    for s in (0.0, 0.3, 1.0):
        exponent = 2 * 2.5 / 0.1 * 0.6 * (s / 3 + (1 - s) / 1.7)
        assert path_fraction(exponent=exponent, **numbers) == pytest.approx(s)
    assert path_fraction(exponent=30.0, **numbers) < 0  # noise that nearly vanishes on the way
    with pytest.raises(ValueError, match="must differ in size"):
        path_fraction(exponent=1.0, **numbers | dict(curvature_minimum=1.7))
    several = path_fraction(exponent=np.array([10.0, 12.0]), **numbers)
    single = [path_fraction(exponent=e, **numbers) for e in (10, 12)]
    np.testing.assert_allclose(several, single, rtol=1e-13)
    expressions = sgd._SGD[1].exponent.subs(sgd._s, sgd._FRACTION.factor)
    assert sp.simplify(expressions - sgd._climb) == 0


def test_the_exponent_is_the_barrier_over_a_constant_noise_and_changes_its_sign_on_the_way_back():
    well, white = catalog.tilted_quartic(0.1), WhiteNoise(0.02)
    climb = exact.potential_difference(well, white, start=-1, end=0.3)
    assert climb == pytest.approx(float(well.value(0.3) - well.value(-1)) / 0.02, rel=1e-12)
    assert exact.potential_difference(well, white, start=0.3, end=-1) == -climb
    assert exact.potential_difference(well, white, start=1, end=1) == 0


def test_a_chain_is_balanced_and_keeps_its_digits():
    """Against the null vector with 60 digits of mpmath; the rates differ by forty orders."""
    rates = np.exp(np.random.default_rng(3).uniform(-60, 30, (6, 6)))
    found = chain_occupation(rates)
    with mp.workdps(120):
        flow = mp.matrix(rates.tolist())
        for v in range(6):
            flow[v, v] = 0
            flow[v, v] = -mp.fsum(flow[v, u] for u in range(6))
        balance = flow.T
        for u in range(6):
            balance[5, u] = 1
        truth = mp.lu_solve(balance, mp.matrix([0, 0, 0, 0, 0, 1]))
    np.testing.assert_allclose(found, [float(t) for t in truth], rtol=1e-12)


def test_two_valleys_of_a_chain_are_occupied_like_their_times():
    np.testing.assert_allclose(chain_occupation([[0, 1 / 7], [1 / 2, 0]]), occupation([7, 2]))


def test_a_chain_must_hang_together():
    for cut in (
        [[0, 1], [0, 0]],
        [[0, 0], [1, 0]],  # all go to the first valley and stay
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],  # nobody enters or leaves the third
        [[0, 1, 0], [1, 0, 0], [1, 0, 0]],  # nobody comes back to the third
        [[0, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 5], [0, 0, 7, 0]],
    ):
        with pytest.raises(ValueError, match="reached from every other.*leave out"):
            chain_occupation(cut)
    with pytest.raises(ValueError, match="square"):
        chain_occupation([[0, 1]])
    with pytest.raises(ValueError, match="not negative"):
        chain_occupation([[0, -1], [1, 0]])


def test_occupation():
    shares = occupation([kramers_time(diffusion=0.1, **QUARTIC), 3e6])
    assert shares.sum() == pytest.approx(1)
    assert shares[0] / shares[1] == pytest.approx(
        float(kramers_time(diffusion=0.1, **QUARTIC)) / 3e6
    )


def test_occupation_agrees_with_the_stationary_masses():
    """White noise in a tilted well: at low noise the shares are those of exp(−L/D)."""
    well, diffusion = catalog.tilted_quartic(sp.Rational(1, 50)), 0.01
    a, b, c = sorted(float(r) for r in sp.nroots(sp.diff(well.expression, *well.variables)))
    times = [
        kramers_time(
            curvature_minimum=well.derivative(m, 2),
            curvature_saddle=well.derivative(b, 2),
            barrier=well.value(b) - well.value(m),
            diffusion=diffusion,
        )
        for m in (a, c)
    ]
    grid = np.linspace(-2.5, 2.5, 40001)
    weight = np.exp(-(well.value(grid) - well.value(a)) / diffusion)
    odds = np.trapezoid(weight[grid < b], grid[grid < b]) / np.trapezoid(
        weight[grid > b], grid[grid > b]
    )
    share = occupation(times)
    assert odds > 30 and share[0] / share[1] == pytest.approx(odds, rel=0.01)


GIVEN = {
    kramers_time: UNEVEN,
    eyring_kramers_time: HESSIANS,
    state_dependent_time: STATE,
    sgd_escape_time: SGD,
}


@pytest.mark.parametrize(
    "function, change, message",
    [
        (kramers_time, dict(diffusion=-0.1), "diffusion must be positive, got -0.1"),
        (kramers_time, dict(diffusion=0), "without noise nobody escapes"),
        (kramers_time, dict(barrier=0), "saddle minus minimum"),
        (kramers_time, dict(curvature_minimum=-2), r"pass L''\(a\)"),
        (kramers_time, dict(curvature_saddle=0), "flat-topped"),
        (eyring_kramers_time, dict(diffusion=0), "without noise nobody escapes"),
        (eyring_kramers_time, dict(barrier=-1), "saddle minus minimum"),
        (state_dependent_time, dict(exponent=-1), "integral of L'/D"),
        (state_dependent_time, dict(diffusion_minimum=0), "diffusion_minimum must be positive"),
        (state_dependent_time, dict(diffusion_saddle=-1), "diffusion_saddle must be positive"),
        (state_dependent_time, dict(convention="Ito"), "convention must be one of"),
        (sgd_escape_time, dict(path_fraction=1.2), r"must lie in \[0, 1\], got 1.2"),
        (sgd_escape_time, dict(path_fraction=[0.5, -0.1]), r"must lie in \[0, 1\]"),
        (sgd_escape_time, dict(batch_size=0), "number of samples"),
        (sgd_escape_time, dict(learning_rate=-1), "step length"),
        (sgd_escape_time, dict(convention="levy"), "convention must be one of"),
    ],
)
def test_errors(function, change, message):
    with pytest.raises(ValueError, match=message):
        function(**GIVEN[function] | change)


@pytest.mark.parametrize("odd", [1j, "0.1", None, True, np.nan, np.inf, sp.Symbol("x"), ["a"]])
@pytest.mark.parametrize(
    "function", [kramers_time, eyring_kramers_time, state_dependent_time, sgd_escape_time]
)
def test_what_is_no_number_is_refused_by_name(function, odd):
    """Every argument of every formula in turn."""
    for name, value in GIVEN[function].items():
        wrong = [odd] if isinstance(value, np.ndarray) else odd
        with pytest.raises(ValueError, match=f"{name}.* must be .*;"):
            function(**GIVEN[function] | {name: wrong})


def test_odd_arguments_of_what_is_no_time():
    numbers = {k: v for k, v in SGD.items() if k != "path_fraction"} | dict(exponent=4.0)
    for name in numbers:
        for odd in (1j, "2", None, True, np.nan, [np.nan, 2.0]):
            with pytest.raises(ValueError, match=f"{name}.* must be"):
                path_fraction(**numbers | {name: odd})
    well = catalog.quartic()
    for odd in (1j, "0", None, np.nan, [0.0, 1.0]):
        with pytest.raises(ValueError, match="minimum must be"):
            kramers_correction(well, minimum=odd, saddle=0)
        with pytest.raises(ValueError, match="saddle must be"):
            kramers_correction(well, minimum=-1, saddle=odd)
        with pytest.raises(ValueError, match="escape_times must be"):
            occupation([1.0, odd])
        with pytest.raises(ValueError, match="rates must be"):
            chain_occupation([[0, 1.0], [odd, 0]])
        for name in ("learning_rate", "start", "end"):
            good = dict(learning_rate=0.1, start=-1, end=0)
            with pytest.raises(ValueError, match=f"{name} must be"):
                step_factor(well, WhiteNoise(0.1), **good | {name: odd})
    for odd in ("12", 3.0, None, kramers_time(**UNEVEN)):
        with pytest.raises(ValueError, match="give one mean time per valley"):
            occupation(odd)
    plane = catalog.rotated_double_well()
    with pytest.raises(ValueError, match="one dimension"):
        kramers_correction(plane, minimum=-1, saddle=0)
    with pytest.raises(ValueError, match="one dimension"):
        step_factor(plane, WhiteNoise(0.1), learning_rate=0.1, start=-1, end=0)


def test_numbers_of_sympy_and_arrays_are_taken():
    exactly = dict(
        curvature_minimum=sp.Rational(5, 2),
        curvature_saddle=-sp.Rational(17, 10),
        barrier=sp.Rational(3, 5),
        diffusion=sp.Rational(9, 100),
    )
    assert float(kramers_time(**exactly)) == pytest.approx(float(kramers_time(**UNEVEN)))
    together = sgd_escape_time(**SGD | dict(batch_size=[2, 3], learning_rate=np.array([[0.1]])))
    single = [float(sgd_escape_time(**SGD | dict(batch_size=b))) for b in (2, 3)]
    np.testing.assert_allclose(together.value, [single], rtol=1e-13)
    with pytest.raises(ValueError, match="holds 2; take .value"):
        float(together)


def test_times_beyond_floats_keep_their_logarithm():
    long = kramers_time(**UNEVEN | dict(diffusion=1e-4))
    assert long.logarithm == pytest.approx(6000 + np.log(2 * np.pi / np.sqrt(2.5 * 1.7)), rel=1e-12)
    with pytest.raises(OverflowError, match="compare logarithms"):
        float(long)
    longer = kramers_time(**UNEVEN | dict(diffusion=np.array([1e-4, 0.99e-4])))
    with pytest.raises(OverflowError, match=r"exp\(6062\)"):
        _ = longer.value
    shares = occupation([long, kramers_time(**UNEVEN | dict(diffusion=1e-4, curvature_minimum=10))])
    np.testing.assert_allclose(shares, [2 / 3, 1 / 3], rtol=1e-9)
    with pytest.raises(OverflowError, match="logarithm of the result"):
        kramers_time(**UNEVEN | dict(diffusion=5e-324))
    with pytest.raises(OverflowError, match="s must be a finite float"):
        path_fraction(
            exponent=1e200,
            curvature_minimum=4,
            curvature_saddle=1.7,
            barrier=1e-200,
            learning_rate=0.1,
            batch_size=3,
        )
    with pytest.raises(OverflowError, match="300 orders"):
        chain_occupation([[0, 1e-300], [1e300, 0]])


def test_the_factor_of_the_step_is_refused_where_the_noise_vanishes_or_jumps():
    well = catalog.quartic()
    x = well.variables[0]
    with pytest.raises(ValueError, match="D must be positive on the way, got 0"):
        step_factor(well, StateDependentNoise(x**2), learning_rate=0.1, start=-1, end=0)
    joined = catalog.piecewise_well(curvature_minimum=4, curvature_saddle=1.7, barrier=0.9)
    with pytest.raises(
        ValueError, match="D must be smooth on the way, got a jump of ln D by 0.856"
    ):
        step_factor(joined, HessianNoise(0.1, 5), learning_rate=0.1, start=-1.25, end=0)
    steep = StateDependentNoise(sp.Piecewise((0.1, x < -0.5), (0.2, x < -0.4), (0.1, True)))
    with pytest.raises(ValueError, match="D must be smooth"):  # up and down again
        step_factor(well, steep, learning_rate=0.1, start=-1, end=0)
    assert theory.step_factor is step_factor


def test_errors_of_points_and_matrices():
    with pytest.raises(ValueError, match="minimum must be a critical point"):
        kramers_correction(catalog.quartic(), minimum=-0.9, saddle=0)
    with pytest.raises(ValueError, match="exchanged"):
        kramers_correction(catalog.quartic(), minimum=0, saddle=-1)
    good = dict(
        hessian_minimum=np.eye(2), hessian_saddle=np.diag([-1.0, 1.0]), barrier=1.0, diffusion=0.1
    )
    for change, message in (
        (dict(hessian_minimum=np.diag([1.0, -1.0])), "positive definite"),
        (dict(hessian_saddle=np.eye(2)), "exactly one negative"),
        (dict(hessian_saddle=np.array([[-1.0]])), "one shape"),
        (dict(hessian_minimum=np.array([[1.0, 2.0], [0.0, 1.0]])), "symmetric"),
        (dict(hessian_minimum=np.ones(3)), "square"),
        (dict(hessian_minimum=np.ones((0, 0))), "square"),
        (dict(hessian_saddle=np.array([[-1.0, np.nan], [np.nan, 1.0]])), "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            eyring_kramers_time(**{**good, **change})
    with pytest.raises(ValueError, match="two valleys or more"):
        occupation([1.0])


def test_the_curvature_of_a_saddle_counts_by_its_size():
    up = kramers_time(diffusion=0.1, **{**QUARTIC, "curvature_saddle": 1})
    assert float(up) == float(kramers_time(diffusion=0.1, **QUARTIC))


def test_correction_of_a_cosine():
    """Both integrals are Bessel functions, I₀(1/D) = √(D/2π) exp(1/D) (1 + D/8 + …)."""
    x = catalog.quartic().variables[0]
    well = Landscape(sp.cos(x), (x,), name="cosine", box=((-4, 4),))
    assert kramers_correction(well, minimum=-np.pi, saddle=0) == pytest.approx(2 / 8)


def test_the_factor_of_the_step_takes_the_learning_rate_of_its_noise():
    well = catalog.quartic()
    (x,) = well.variables
    tilt = x / 2 + x**2 / 8
    losses = (well.expression + tilt, well.expression - tilt)
    for noise in (MinibatchNoise(losses, learning_rate=0.1, batch_size=1), HessianNoise(0.1, 1)):
        with pytest.raises(ValueError, match="got step 0.2 and a noise with 0.1"):
            step_factor(well, noise, learning_rate=0.2, start=-1, end=0)
    for other in (0.1, None):
        with pytest.raises(ValueError, match="must be a model of ddt_utils.noise"):
            step_factor(well, other, learning_rate=0.1, start=-1, end=0)


def test_a_factor_or_a_coefficient_that_is_no_float_is_refused():
    well = catalog.quartic()
    (x,) = well.variables
    for rise in (0.01 + (x + 1) ** 2, 0.01 + x**2):
        with pytest.raises(OverflowError, match="with which D was made"):
            step_factor(well, StateDependentNoise(rise), learning_rate=1e6, start=-1, end=0)
    tiny = Landscape(sp.Float(1e-150) * well.expression, (x,), name="tiny", box=well.box)
    with pytest.raises(OverflowError, match="the coefficient must be a finite float"):
        kramers_correction(tiny, minimum=-1, saddle=0)


def test_shapes_that_do_not_fit_are_refused_by_name():
    apart = dict(barrier=[1, 2, 3])
    for call in (
        lambda: kramers_time(**UNEVEN | apart | dict(diffusion=[0.1, 0.2])),
        lambda: sgd_escape_time(**SGD | apart | dict(path_fraction=[0.1, 0.2])),
        lambda: path_fraction(
            **{k: v for k, v in SGD.items() if k != "path_fraction"} | apart | dict(exponent=[1, 2])
        ),
    ):
        with pytest.raises(ValueError, match=r"must have one shape, got .*barrier of shape \(3,\)"):
            call()
    for call in (
        lambda: kramers_time(**UNEVEN | dict(barrier=[[1], [1, 2]])),
        lambda: sgd_escape_time(**SGD | dict(path_fraction=[[0.1], [0.1, 0.2]])),
    ):
        with pytest.raises(ValueError, match="(barrier|path_fraction) must be an array of real"):
            call()
