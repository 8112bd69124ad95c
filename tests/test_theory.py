"""The closed forms against the exact times they approach, against SymPy, and against each other."""

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from ddt_utils import catalog, exact
from ddt_utils.exact import mean_first_passage_time
from ddt_utils.landscape import Landscape
from ddt_utils.noise import HessianNoise, WhiteNoise
from ddt_utils.theory import (
    Prediction,
    chain_occupation,
    eyring_kramers_time,
    kramers_correction,
    kramers_time,
    occupation,
    path_fraction,
    sgd_escape_time,
    state_dependent_time,
)

QUARTIC = dict(curvature_minimum=2, curvature_saddle=-1, barrier=0.25)
SGD = dict(
    curvature_minimum=4,
    curvature_saddle=1,
    barrier=1,
    learning_rate=0.1,
    batch_size=2,
    path_fraction=0.2,
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


def test_correction_against_a_series_of_the_integrals():
    """Gaussian moments by SymPy, for a loss with every derivative present."""
    well, (a, b, _) = tilted()
    x = well.variables[0]
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


def test_eyring_kramers_with_a_transverse_valley():
    """A valley that is k times wider at the minimum: the transverse integrals give √k, by hand."""
    rotation = np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    bottom = rotation.T @ np.diag([2.0, 1.0]) @ rotation
    top = rotation @ np.diag([-1.0, 5.0]) @ rotation.T
    two = eyring_kramers_time(
        hessian_minimum=bottom, hessian_saddle=top, barrier=0.25, diffusion=np.array([0.05])
    )
    one = kramers_time(diffusion=0.05, **QUARTIC)
    assert two.value[0] == pytest.approx(float(one) * np.sqrt(5), rel=1e-13)


def test_sgd_escape_time_is_exact_in_the_piecewise_well_under_the_isothermal_convention():
    """Its exponent is that of the exact time, and its prefactor is the isothermal one."""
    junction = np.sqrt(2 * 0.8)
    bottom = -(junction + np.sqrt(2 * 0.2 / 4))
    well = catalog.piecewise_well(curvature_minimum=4, curvature_saddle=1, barrier=1)
    noise = HessianNoise(0.1, 4)
    exact = {
        c: mean_first_passage_time(well, noise, start=bottom, upper=-bottom, convention=c)
        for c in ("isothermal", "ito")
    }
    predicted = float(sgd_escape_time(**{**SGD, "batch_size": 4}))
    assert exact["isothermal"] == pytest.approx(predicted, rel=0.02)
    assert exact["ito"] == pytest.approx(predicted / 4, rel=0.02)
    swapped = {**SGD, "batch_size": 4, "curvature_minimum": 1, "curvature_saddle": 4}
    assert abs(np.log(exact["isothermal"] / float(sgd_escape_time(**swapped)))) > 10


def test_sgd_escape_time_with_one_curvature_is_kramers():
    one = sgd_escape_time(**{**SGD, "curvature_minimum": 1, "path_fraction": 0.37})
    kramers = kramers_time(curvature_minimum=1, curvature_saddle=1, barrier=1, diffusion=0.1 / 4)
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
    numbers = dict(curvature_minimum=3.0, curvature_saddle=-1.0, barrier=0.5, batch_size=2.0)
    numbers |= dict(learning_rate=0.1)
    for s in (0.0, 0.3, 1.0):
        exponent = 2 * 2 / 0.1 * 0.5 * (s / 3 + (1 - s) / 1)
        assert path_fraction(exponent=exponent, **numbers) == pytest.approx(s)
    assert path_fraction(exponent=30.0, **numbers) < 0  # noise that nearly vanishes on the way
    with pytest.raises(ValueError, match="must differ in size"):
        path_fraction(exponent=1.0, **numbers | dict(curvature_minimum=1.0))


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
    with pytest.raises(ValueError, match="reached from every other"):
        chain_occupation([[0, 1], [0, 0]])
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


@pytest.mark.parametrize(
    "function, change, message",
    [
        (kramers_time, dict(diffusion=-0.1), "diffusion must be positive and finite, got -0.1"),
        (kramers_time, dict(diffusion=float("nan")), "diffusion must be positive"),
        (kramers_time, dict(barrier=0), "saddle minus minimum"),
        (kramers_time, dict(curvature_minimum=-2), r"pass L''\(a\)"),
        (kramers_time, dict(curvature_saddle=0), "flat-topped"),
        (sgd_escape_time, dict(path_fraction=1.2), r"must lie in \[0, 1\], got 1.2"),
        (sgd_escape_time, dict(batch_size=0), "number of samples"),
        (sgd_escape_time, dict(learning_rate=-1), "step length"),
    ],
)
def test_errors(function, change, message):
    arguments = dict(diffusion=0.1, **QUARTIC) if function is kramers_time else dict(SGD)
    with pytest.raises(ValueError, match=message):
        function(**{**arguments, **change})


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
    ):
        with pytest.raises(ValueError, match=message):
            eyring_kramers_time(**{**good, **change})
    with pytest.raises(OverflowError, match="700"):
        kramers_time(diffusion=1e-4, **QUARTIC)
    with pytest.raises(ValueError, match="at least two"):
        occupation([1.0])


def test_the_curvature_of_a_saddle_counts_by_its_size():
    up = kramers_time(diffusion=0.1, **{**QUARTIC, "curvature_saddle": 1})
    assert float(up) == float(kramers_time(diffusion=0.1, **QUARTIC))


def test_correction_of_a_cosine():
    """Both integrals are Bessel functions, I₀(1/D) = √(D/2π) exp(1/D) (1 + D/8 + …)."""
    x = catalog.quartic().variables[0]
    well = Landscape(sp.cos(x), (x,), name="cosine", box=((-4, 4),))
    assert kramers_correction(well, minimum=-np.pi, saddle=0) == pytest.approx(2 / 8)
