"""What is said of a set of escape times, against SciPy, closed forms and repeated experiments."""

import numpy as np
import pytest
from scipy import integrate, linalg, optimize, stats

from ddt_utils import catalog, simulate
from ddt_utils.escape import (
    CENSORED,
    DIVERGED,
    ESCAPED,
    EscapeTimes,
    TestResult,
    agreement,
    linear_fit,
)
from ddt_utils.noise import WhiteNoise

ALARM = 1e-5
FAR = 4.42  # standard errors that chance exceeds once in 1e5


def seen(times, limit=np.inf):
    """Escape times observed until ``limit``."""
    times = np.asarray(times, dtype=float)
    status = np.where(times < limit, ESCAPED, CENSORED).astype(np.uint8)
    states = np.arange(len(times), dtype=np.float32)[:, None]
    return EscapeTimes(np.minimum(times, limit), status, states, 0.01, "none")


def exponential(count, *, seed, mean=3.0):
    return np.random.default_rng(seed).exponential(mean, count)


def log_likelihood(result, shape, log_rate):
    """That of a Weibull law, from SciPy's densities and survival functions."""
    law = stats.weibull_min(shape, scale=np.exp(-log_rate / shape))
    gone = result.status == ESCAPED
    return np.sum(law.logpdf(result.times[gone])) + np.sum(law.logsf(result.times[~gone]))


def test_without_censoring_mean_and_error_are_those_of_a_sample():
    times = np.random.default_rng(1).gamma(2.5, size=57)
    result = seen(times)
    assert (result.escaped, result.censored, result.diverged) == (57, 0, 0)
    assert result.mean == pytest.approx(np.mean(times), rel=1e-14)
    assert result.stderr == pytest.approx(stats.sem(times), rel=1e-14)


def test_with_censoring_mean_and_error_are_those_of_the_likelihood():
    result = seen(exponential(400, seed=2), limit=2.0)
    assert 100 < result.censored < 300
    data = stats.CensoredData.right_censored(result.times, result.status == CENSORED)
    _, scale = stats.expon.fit(data, floc=0)
    assert result.mean == pytest.approx(scale, rel=1e-4)  # SciPy climbs there step by step
    h = 1e-3 * result.mean
    below, here, above = (
        log_likelihood(result, 1.0, -np.log(mean)) for mean in result.mean + np.array([-h, 0, h])
    )
    assert (above - below) / (2 * h) == pytest.approx(0, abs=1e-3)
    assert result.stderr == pytest.approx((-(above - 2 * here + below) / h**2) ** -0.5, rel=1e-4)


@pytest.mark.parametrize("limit", [np.inf, 0.7], ids=["all", "censored"])
def test_the_mean_is_unbiased_and_its_error_is_what_it_says(limit):
    walkers, experiments = 200, 3000
    times = exponential((experiments, walkers), seed=3, mean=1.0)
    results = [seen(row, limit) for row in times]
    means = np.array([r.mean for r in results])
    rates = np.array([r.rate for r in results])
    left = np.exp(-limit)
    escaping = 1 - left
    # to first order in 1/walkers the quotient of sums is too long by this, and the inverse by that
    long = limit * left / (walkers * escaping**2) if left else 0.0
    variance = 1 / (walkers * escaping)
    error = np.sqrt(variance / experiments)
    assert abs(means.mean() - 1 - long) < FAR * error
    assert abs(rates.mean() - 1 + long - variance) < FAR * error + 5 * variance**2
    for found, told in (
        (means, [r.stderr for r in results]),
        (rates, [r.rate_stderr for r in results]),
    ):
        assert found.std() / np.mean(told) == pytest.approx(1, abs=FAR / np.sqrt(2 * experiments))


def test_the_walkers_that_stayed_are_not_left_out():
    """With a limit of 0.7 τ the mean of those that escaped is a third of τ."""
    result = seen(exponential(100_000, seed=4, mean=1.0), limit=0.7)
    alone = result.times[result.status == ESCAPED].mean()
    assert alone < 0.35
    assert abs(result.mean - 1) < FAR * result.stderr


def test_censoring_loses_the_information_of_those_that_stayed():
    times = exponential(100_000, seed=5, mean=1.0)
    full, cut = seen(times), seen(times, limit=0.5)
    assert cut.stderr / full.stderr == pytest.approx((1 - np.exp(-0.5)) ** -0.5, rel=0.02)


def test_rate_is_the_inverse_with_the_same_relative_error():
    result = seen(exponential(50, seed=6), limit=4.0)
    assert result.rate == pytest.approx(1 / result.mean, rel=1e-14)
    assert result.rate_stderr / result.rate == pytest.approx(result.stderr / result.mean)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_the_interval_of_one_walker_is_elementary(level):
    """2t/τ has the law of chi-square with two degrees of freedom: P(t > sτ) = exp(−s)."""
    low, high = seen([2.0]).interval(level)
    assert low == pytest.approx(-2 / np.log((1 - level) / 2), rel=1e-12)
    assert high == pytest.approx(-2 / np.log((1 + level) / 2), rel=1e-12)


@pytest.mark.parametrize("level", [0.5, 0.95])
@pytest.mark.parametrize(
    ("walkers", "limit", "slack"), [(3, np.inf, 0.0), (60, 3.0, 0.005)], ids=["all", "censored"]
)
def test_the_interval_covers_as_often_as_it_says(walkers, limit, slack, level):
    experiments = 3000
    held = 0
    for times in exponential((experiments, walkers), seed=7):
        low, high = seen(times, limit).interval(level)
        held += low < 3.0 < high
    error = np.sqrt(level * (1 - level) / experiments)
    assert abs(held / experiments - level) < FAR * error + slack


def test_quantiles_are_those_of_the_sample():
    times = exponential(41, seed=8)
    for probability in (0.001, 0.1, 0.5, 20 / 41, 0.9, 0.999):
        truth = np.quantile(times, probability, method="inverted_cdf")
        assert seen(times).quantile(probability) == truth
    assert seen(times).median == np.median(times)


def test_censoring_changes_no_quantile_and_hides_the_late_ones():
    times = np.arange(1.0, 11.0)
    result = seen(times, limit=6.5)
    for probability in (0.1, 0.35, 0.6):
        assert result.quantile(probability) == seen(times).quantile(probability)
    for probability in (0.61, 0.9):
        with pytest.raises(ValueError, match=f"{probability} quantile is hidden.*only 6 of 10"):
            result.quantile(probability)
    with pytest.raises(ValueError, match="allow more time"):
        _ = seen(times, limit=4.5).median


def test_a_walker_lost_before_a_quantile_hides_it():
    """Nobody knows whether the three that were last seen at 1 escaped before the fourth."""
    status = np.array([CENSORED, CENSORED, CENSORED, ESCAPED])
    result = EscapeTimes(np.array([1.0, 1, 1, 10]), status, np.zeros((4, 1)), 0.01, "none")
    with pytest.raises(ValueError, match="hidden by censoring"):
        result.quantile(0.25)


def test_after_sets_the_clocks_of_those_still_inside():
    result = seen([1.0, 2.0, 5.0, 9.0, 7.0], limit=8.0)
    later = result.after(2.0)
    assert later.times.tolist() == [3.0, 6.0, 5.0]
    assert later.status.tolist() == [ESCAPED, CENSORED, ESCAPED]
    assert later.states.tolist() == [[2], [3], [4]]
    assert (later.step, later.bias_correction) == (result.step, result.bias_correction)
    assert len(result.times) == 5
    with pytest.raises(
        ValueError, match="start must leave walkers inside, got 8.0; the last was seen at 8.0"
    ):
        result.after(8.0)


@pytest.mark.parametrize("limit", [np.inf, 4.0], ids=["all", "censored"])
def test_an_exponential_law_forgets_how_long_it_waited(limit):
    later = seen(exponential(20_000, seed=9), limit).after(1.5)
    assert abs(later.mean - 3) < FAR * later.stderr
    assert later.exponentiality().p_value > ALARM


def test_two_stages_do_not_forget():
    """The second stage alone is left to most walkers: the mean falls from 2 towards 1."""
    result = seen(np.random.default_rng(10).gamma(2, size=20_000))
    later = result.after(5.0)
    assert abs(later.mean - (1 + 1 / 6)) < FAR * later.stderr
    assert result.mean > 1.9


@pytest.mark.parametrize("limit", [np.inf, 3.0], ids=["all", "censored"])
def test_exponentiality_is_the_score_of_a_weibull_law(limit):
    """Derivatives of SciPy's likelihood in shape and rate, by differences."""
    result = seen(np.random.default_rng(11).weibull(1.2, 300) * 3, limit)
    found = result.exponentiality()
    assert isinstance(found, TestResult)
    at, h = np.array([1.0, -np.log(result.mean)]), 1e-4

    def value(*moves):
        return log_likelihood(result, *(at + h * np.array(moves)))

    score = (value(1, 0) - value(-1, 0)) / (2 * h)
    assert abs(value(0, 1) - value(0, -1)) / (2 * h) < 1e-4  # the rate is at its maximum
    if np.isfinite(limit):
        shapes = -(value(1, 0) - 2 * value(0, 0) + value(-1, 0)) / h**2
        rates = -(value(0, 1) - 2 * value(0, 0) + value(0, -1)) / h**2
        mixed = -(value(1, 1) - value(1, -1) - value(-1, 1) + value(-1, -1)) / (4 * h**2)
        information = shapes - mixed**2 / rates
    else:  # its expectation, by quadrature
        moments = [
            integrate.quad(lambda u, n=n: np.exp(-u) * u * np.log(u) ** n, 0, 50)[0] for n in (1, 2)
        ]
        information = 300 * (1 + moments[1] - moments[0] ** 2)
    assert found.statistic == pytest.approx(score / np.sqrt(information), rel=1e-4)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.statistic)), rel=1e-12)


@pytest.mark.parametrize("limit", [np.inf, 3.0, 0.9], ids=["all", "a third stay", "most stay"])
def test_p_values_of_exponential_times_are_uniform(limit):
    p_values = [
        seen(times, limit).exponentiality().p_value for times in exponential((1500, 600), seed=12)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > ALARM


@pytest.mark.parametrize("limit", [np.inf, 1.5], ids=["all", "censored"])
@pytest.mark.parametrize(
    ("law", "sign"),
    [
        (lambda rng: rng.weibull(1.25, 2000), 1),
        (lambda rng: rng.weibull(0.8, 2000), -1),
        (lambda rng: rng.gamma(1.5, 1 / 1.5, 2000), 1),
        (lambda rng: rng.exponential(np.where(rng.random(2000) < 0.5, 0.2, 1.8)), -1),
    ],
    ids=["weibull-late", "weibull-early", "gamma", "mixture"],
)
def test_other_laws_are_recognised(law, sign, limit):
    found = seen(law(np.random.default_rng(13)), limit).exponentiality()
    assert found.p_value < ALARM
    assert np.sign(found.statistic) == sign


def test_exponentiality_does_not_depend_on_the_unit_and_takes_no_escape_at_zero():
    times = exponential(100, seed=14)
    times[3] = 0.0
    with pytest.raises(ValueError, match="escape times must be positive .* a time of zero"):
        seen(times, 4).exponentiality()
    status = np.where(np.arange(100) == 3, CENSORED, ESCAPED)
    whole = EscapeTimes(times, status, np.zeros((100, 1)), 0.01, "none")
    assert np.isfinite(whole.exponentiality().statistic)  # censored at once: it says nothing
    times[3] = 1e-3
    bare, scaled = (seen(factor * times, 4 * factor).exponentiality() for factor in (1, 1e6))
    assert np.isfinite(bare.statistic)
    assert bare.statistic == pytest.approx(scaled.statistic, rel=1e-10)


ESTIMATES = {
    "mean": lambda r: r.mean,
    "stderr": lambda r: r.stderr,
    "rate": lambda r: r.rate,
    "rate_stderr": lambda r: r.rate_stderr,
    "interval": lambda r: r.interval(),
    "median": lambda r: r.median,
    "quantile": lambda r: r.quantile(0.1),
    "exponentiality": lambda r: r.exponentiality(),
}


@pytest.mark.parametrize("name", ESTIMATES)
def test_no_estimate_is_made_from_walkers_that_diverged(name):
    result = seen(exponential(30, seed=15))
    result.status[7] = DIVERGED
    assert (result.escaped, result.censored, result.diverged) == (29, 0, 1)
    with pytest.raises(ValueError, match="diverged walkers, got 1 of 30; take a smaller step"):
        ESTIMATES[name](result)


@pytest.mark.parametrize(
    ("name", "least"),
    [("mean", 1), ("rate", 1), ("interval", 1), ("median", 1), ("stderr", 2)]
    + [("rate_stderr", 2), ("exponentiality", 10)],
)
def test_an_estimate_needs_escapes(name, least):
    few = seen(np.arange(1.0, 21.0), limit=least - 0.5)
    assert few.escaped == least - 1
    message = f"at least {least} walkers must escape for this, got {least - 1} of 20; allow more"
    with pytest.raises(ValueError, match=message):
        ESTIMATES[name](few)
    if name != "median":
        ESTIMATES[name](seen(np.arange(1.0, 21.0), limit=least + 0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: seen([]), r"at least one, got shape \(0,\)"),
        (lambda: seen([[1.0]]), r"one number per walker.*got shape \(1, 1\)"),
        (lambda: seen([1.0, -0.5]), r"finite and not negative, got \[-0.5\]; a walker that never"),
        (lambda: seen([np.nan]), r"finite and not negative, got \[nan\]"),
        (lambda: seen([np.inf]), r"got \[inf\].*is censored at the time"),
        (
            lambda: EscapeTimes(np.ones(2), np.ones(3), np.ones((2, 1)), 0.1, "none"),
            "one entry per walker, got 2, 3 and 2",
        ),
        (
            lambda: EscapeTimes(np.ones(2), np.ones(2), np.ones((4, 1)), 0.1, "none"),
            "one entry per walker, got 2, 2 and 4",
        ),
        (
            lambda: seen([1.0]).interval(1),
            "level must be a finite real number, above 0, below 1, got 1; 0.95 is usual",
        ),
        (lambda: seen([1.0]).interval(95), "got 95; 0.95"),
        (lambda: seen([1.0]).interval(np.nan), "got nan; 0.95"),
        (
            lambda: seen([1.0]).quantile(0),
            "probability must be a finite real number, above 0, below 1, got 0",
        ),
        (lambda: seen([1.0]).quantile(50), "above 0, below 1, got 50"),
        (lambda: linear_fit([1, 2], [1, 2], 0.1).slope_interval(0), "level must.*got 0; 0.95"),
        (lambda: linear_fit([1, 1], [1, 2], 0.1), r"two or more different x, got x = \[1. 1.\]"),
        (lambda: linear_fit([1], [1], 0.1), "two or more different x"),
        (lambda: linear_fit([1, 2], [1, np.nan], 0.1), "a line needs finite points"),
        (lambda: linear_fit([1, np.inf], [1, 2], 0.1), "a line needs finite points"),
        (
            lambda: linear_fit([1, 2], [1, 2], [0.1, 0]),
            r"must be positive and finite, got \[0.1 0. \]; they",
        ),
        (lambda: linear_fit([1, 2], [1, 2], [np.nan, 1]), "must be positive and finite, got .nan"),
        (lambda: agreement(1, 0, 1), "stderr must be a finite real number, above 0, got 0"),
        (lambda: agreement(1, np.nan, 1), "stderr must be a finite real number, above 0, got nan"),
    ],
)
def test_an_error_names_rule_value_and_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_lists_are_as_good_as_arrays():
    result = EscapeTimes([1.0, 3.0], [ESCAPED, ESCAPED], [[1], [1]], 0.1, "none")
    assert (result.escaped, result.mean) == (2, 2.0)


def slowest_mean(diffusion, end):
    """1/λ of the lowest mode with an absorbing end: −D ψ″ + (L′²/4D − L″/2) ψ = λ ψ."""
    x, h = np.linspace(-3, end, 6001, retstep=True)
    x = x[1:-1]
    potential = (x**3 - x) ** 2 / (4 * diffusion) - (3 * x**2 - 1) / 2
    lowest = linalg.eigvalsh_tridiagonal(
        potential + 2 * diffusion / h**2,
        np.full(len(x) - 1, -diffusion / h**2),
        select="i",
        select_range=(0, 0),
    )
    return 1 / lowest[0]


def test_a_simulation_that_ended_early_still_gives_the_rate():
    """Of the quartic well at ΔL/D = 2, stopped at one mean time; settled after eight units."""
    well = catalog.quartic()
    (x,) = well.variables
    run = simulate.first_passage(
        well,
        WhiteNoise(0.125),
        start=-1,
        exit=x > 1,
        step=0.005,
        walkers=20_000,
        seed=16,
        max_time=40,
    )
    truth = slowest_mean(0.125, 1)
    assert 38 < truth < 41
    assert run.censored > 5000 and run.escaped > 5000 and run.diverged == 0
    later = run.after(8.0)
    assert later.censored == run.censored
    assert abs(later.mean - truth) < FAR * later.stderr + 0.003 * truth  # Euler error, order dt
    low, high = later.interval(1 - ALARM)
    assert low < truth * 1.003 and truth * 0.997 < high
    assert later.exponentiality().p_value > ALARM
    assert run.exponentiality().p_value < ALARM  # nobody escapes at once
    assert run.quantile(0.3) == np.quantile(run.times, 0.3, method="inverted_cdf")
    with pytest.raises(ValueError, match="0.8 quantile is hidden by censoring"):
        run.quantile(0.8)


LINE = dict(
    x=[0.5, 1.0, 2.0, 3.5, 4.0], y=[1.1, 2.3, 3.9, 8.1, 8.2], stderr=[0.1, 0.3, 0.2, 1, 0.4]
)


def test_a_line_is_that_of_curve_fit_and_of_polyfit():
    fit = linear_fit(**LINE)
    values, covariance = optimize.curve_fit(
        lambda x, slope, intercept: slope * x + intercept,
        *(np.array(LINE[k]) for k in "xy"),
        sigma=LINE["stderr"],
        absolute_sigma=True,
    )
    assert (fit.slope, fit.intercept) == pytest.approx(values, rel=1e-7)
    errors = np.sqrt(np.diag(covariance))
    assert (fit.slope_stderr, fit.intercept_stderr) == pytest.approx(errors, rel=1e-6)
    weights = 1 / np.array(LINE["stderr"])
    values, covariance = np.polyfit(LINE["x"], LINE["y"], 1, w=weights, cov="unscaled")
    assert (fit.slope, fit.intercept) == pytest.approx(values, rel=1e-12)
    errors = np.sqrt(np.diag(covariance))
    assert (fit.slope_stderr, fit.intercept_stderr) == pytest.approx(errors, rel=1e-12)
    residuals = (np.polyval(values, LINE["x"]) - LINE["y"]) * weights
    assert fit.chi_square == pytest.approx(residuals @ residuals, rel=1e-10)
    assert fit.degrees == 3


def test_one_error_serves_all_points():
    one = linear_fit(LINE["x"], LINE["y"], 0.2)
    assert one == linear_fit(LINE["x"], LINE["y"], [0.2] * 5)
    assert one.slope == pytest.approx(stats.linregress(LINE["x"], LINE["y"]).slope, rel=1e-12)


def test_a_line_through_two_points_has_nothing_left_to_test():
    fit = linear_fit([1, 3], [2, 8], [0.3, 0.4])
    assert (fit.slope, fit.intercept) == pytest.approx((3, -1))
    assert fit.slope_stderr == pytest.approx(0.5 / 2)
    assert (fit.degrees, fit.p_value) == (0, 1.0)
    assert fit.chi_square == pytest.approx(0, abs=1e-20)


def test_fits_of_a_true_line_scatter_as_they_say():
    rng, x, error = np.random.default_rng(17), np.array([1, 2, 4, 5, 9]), np.array([3, 1, 2, 1, 4])
    fits = [linear_fit(x, 2 - 3 * x + error * rng.standard_normal(5), error) for _ in range(3000)]
    assert stats.kstest([f.p_value for f in fits], "uniform").pvalue > ALARM
    for level in (0.5, 0.95):
        held = np.mean([low < -3 < high for low, high in (f.slope_interval(level) for f in fits)])
        assert abs(held - level) < FAR * np.sqrt(level * (1 - level) / len(fits))
    away = [(f.intercept - 2) / f.intercept_stderr for f in fits]
    assert stats.kstest(away, "norm").pvalue > ALARM


def test_a_curve_is_no_line():
    x = np.linspace(0, 1, 9)
    assert linear_fit(x, x**2, 0.03).p_value < ALARM < linear_fit(x, x**2, 0.3).p_value


def test_agreement_counts_errors_from_prediction_to_measurement():
    assert agreement(5.0, 0.5, 4.0) == 2.0
    assert agreement(3.0, 0.5, 4.0) == -2.0
    low, high = linear_fit([0, 1], [0, 1], 1.0).slope_interval(stats.norm.cdf(2) * 2 - 1)
    assert (low, high) == pytest.approx((1 - 2 * np.sqrt(2), 1 + 2 * np.sqrt(2)))


def test_survival_is_a_fraction_of_all_walkers():
    times = seen([3.0, 1.0, 7.0, 5.0, 4.0])
    assert np.allclose(times.survival([0.5, 1.0, 3.5, 6.9, 8.0]), [1, 0.8, 0.6, 0.2, 0])


def test_an_interval_is_of_ninety_five_percent_unless_told_otherwise():
    line = linear_fit([0, 1, 3], [1.0, 3.1, 7.4], [0.1, 0.3, 0.2])
    low, high = line.slope_interval()
    assert (high - low) / 2 == pytest.approx(stats.norm.ppf(0.975) * line.slope_stderr)


@pytest.mark.parametrize("a", [1e-200, 1e200, 3.0])
@pytest.mark.parametrize("b", [1e-90, 1e90, 7.0])
def test_a_line_has_no_preferred_units(a, b):
    x, y, stderr = np.array([0.0, 1, 3]), np.array([1, 3.5, 4]), np.array([0.1, 0.2, 0.3])
    plain, line = linear_fit(x, y, stderr), linear_fit(a * x, b * y, b * stderr)
    assert line.slope / b * a == pytest.approx(plain.slope, rel=1e-12)
    assert line.slope_stderr / b * a == pytest.approx(plain.slope_stderr, rel=1e-12)
    assert line.intercept / b == pytest.approx(plain.intercept, rel=1e-12)
    assert line.chi_square == pytest.approx(plain.chi_square, rel=1e-10)


def test_a_line_that_no_float_describes_is_refused():
    for x, y, stderr in (
        ([0, 1e-300], [0, 1e300], 3),
        ([0, 2, 3], [0, 1, 2], [1e-200, 3, 1e200]),
    ):
        with pytest.raises(ValueError):
            linear_fit(x, y, stderr)
    with pytest.raises(ValueError, match="distance in standard errors must be a finite"):
        agreement(3.0, 1e-320, 5.0)


def _times(times):
    many = len(times)
    return EscapeTimes(times, np.full(many, 1), np.zeros((many, 1)), 0.1, "none")


def test_a_rate_needs_time_and_survival_a_number():
    with pytest.raises(ValueError, match="a rate needs a mean time above zero"):
        _ = _times([0.0, 0.0]).rate
    far, plain = _times(np.array([3e100, 5e100, 4e100])), _times([3.0, 5, 4])
    assert far.rate * 1e100 == pytest.approx(plain.rate, rel=1e-12)
    assert far.rate_stderr * 1e100 == pytest.approx(plain.rate_stderr, rel=1e-12)
    with pytest.raises(ValueError, match="times must be numbers, got"):
        _times([3.0, 5]).survival([4, np.nan])
    with pytest.raises(ValueError, match="one entry per walker, got 2, 0 and 1"):
        EscapeTimes([3.0, 5], None, [[0.0]], 0.1, "none")


@pytest.mark.parametrize("unit", [2.0**-1000, 2.0**-660, 2.0**660, 2.0**1000])
def test_an_error_has_no_preferred_unit(unit):
    times = np.array([1.3, 2.9, 0.4, 7.1])
    assert seen(times * unit).stderr == seen(times).stderr * unit
    assert seen(times).stderr == np.std(times, ddof=1) / 2


def test_times_whose_sum_is_no_float_are_refused():
    with pytest.raises(ValueError, match="must have a sum that is a float.*another unit"):
        seen([1e308, 1.5e308])


def test_what_happens_to_the_arrays_of_the_caller_changes_nothing():
    times, status, states = np.ones(2), np.full(2, ESCAPED, np.uint8), np.zeros((2, 1), np.float32)
    speed = np.full(2, 0.5)
    carried = {"speed": speed}
    found = EscapeTimes(times, status, states, 0.1, "none", carried)
    for array in (times, status, states, speed):
        array[0] = 99
    carried["more"] = speed
    assert (found.mean, found.escaped, found.states.max()) == (1.0, 2, 0.0)
    assert list(found.carried) == ["speed"] and found.carried["speed"].max() == 0.5
    assert (found.status.dtype, found.states.dtype) == (np.uint8, np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(times=[1j]), "times must be an array of real numbers"),
        (dict(times=["a"]), "times must be an array of real numbers"),
        (dict(times=[[1.0], [1.0, 2.0]]), "times must be an array of real numbers.*per walker"),
        (dict(times=[10**400]), "times must be an array of real numbers"),
        (dict(status=["a"]), "status must be an array of real numbers"),
        (dict(status=[[1], [1, 1]]), "status must be an array of real numbers"),
        (dict(states=[[1], [1, 1]]), "states must be an array of real numbers"),
        (dict(carried=None), "carried must be a dictionary, got None"),
        (dict(carried={"v": ["a"]}), r"carried\['v'\] must be an array of real numbers"),
        (dict(carried={"v": [1.0, 2.0]}), r"carried must have one number per walker.*\(2,\)"),
        (dict(step="a"), "step must be a finite real number, above 0"),
        (dict(step=-1), "step must be a finite real number, above 0, got -1"),
    ],
)
def test_arguments_that_are_no_numbers_are_refused_by_name(change, message):
    good = dict(times=[1.0], status=[1], states=[[0.0]], step=0.1, bias_correction="none")
    with pytest.raises(ValueError, match=message):
        EscapeTimes(**good | change)
