"""Noisy labels, stable kicks, kicks with a memory, inertia: loops by hand, exact laws and chains.

Statistical tests have fixed seeds and a false alarm of 1e-5 for each comparison.
"""

from itertools import product

import numpy as np
import pytest
import sympy as sp
from scipy import integrate, interpolate, linalg, stats

from ddt_utils import catalog, chains, simulate
from ddt_utils.landscape import Landscape
from ddt_utils.noise import FactorNoise, MinibatchNoise, StateDependentNoise, WhiteNoise
from ddt_utils.simulate import (
    Problem,
    euler_maruyama,
    fractional,
    label_noise,
    langevin,
    stable,
)
from ddt_utils.simulate.memory import _memory
from ddt_utils.simulate.precision import _Reader
from tests.played import DT, played

ALARM = 4.42  # standard errors that chance exceeds once in 1e5
WELL = catalog.quartic()
(x,) = WELL.variables
U, V = sp.symbols("u v", real=True)


def line(expression, reach):
    return Landscape(expression, (x,), name="line", box=((-reach, reach),))


# Noisy labels

OUTPUTS, TARGETS = (x - x**3 / 4, x**2 / 2 + x / 3), (0.4, 1.1)
FITTED = line(sp.expand(sum((f - y) ** 2 for f, y in zip(OUTPUTS, TARGETS, strict=True)) / 4), 3)


@pytest.mark.parametrize("law", ["normal", "sign"])
def test_noisy_labels_are_the_loop_by_hand(law):
    """With real minibatches: two of three samples of a model in two variables."""
    outputs = (U * V, U - V**2, U**2 / 2 + V)
    slopes = lambda u, v: np.array([(v, u), (1, -2 * v), (u, 1)])  # noqa: E731
    values = lambda u, v: np.array([u * v, u - v**2, u**2 / 2 + v])  # noqa: E731
    targets = np.array([0.5, -1.25, 0.75])
    losses = tuple((f - y) ** 2 / 2 for f, y in zip(outputs, targets, strict=True))
    surface = Landscape(sp.expand(sum(losses) / 3), (U, V), name="fit", box=((-3, 3),) * 2)
    for noise, batch in [
        (MinibatchNoise(losses, 0.05, 2), True),
        (FactorNoise(sp.zeros(2, 1)), False),
    ]:
        rule = label_noise(outputs, 0.7, law=law)
        states, drawn = played(rule, surface, noise, start=(0.5, -0.3), step=0.05, steps=20, seed=1)
        place = np.array([0.5, -0.3])
        for t, state in enumerate(states[1:]):
            share = drawn["counts"][t] / 2 if batch else np.ones(3) / 3
            shift = drawn["normals"][t][-3:] if law == "normal" else drawn["uniforms"][t][-3:]
            shift = 0.7 * (shift if law == "normal" else np.where(shift > 0.5, 1, -1))
            missed = values(*place) - (targets + shift)
            place = place - 0.05 * (share * missed) @ slopes(*place)
            assert state == pytest.approx(place, rel=1e-9)


def test_escape_by_noisy_labels_is_the_exact_chain():
    """Two labels of random sign and a little Gaussian noise: four outcomes with a width."""
    eta, spread, diffusion = 0.2, 1.4, 0.02
    down = FITTED.gradient_expression[0]
    outcomes = []
    for signs in product((-1, 1), repeat=2):
        push = sum(s * sp.diff(f, x) for s, f in zip(signs, OUTPUTS, strict=True)) / 2
        mean = x - eta * down + eta * spread * push
        outcomes.append(chains.Outcome(0.25, mean, np.sqrt(2 * diffusion * eta)))
    chain = chains.Chain(outcomes, x, box=(-3, 3))
    exact = chain.mean_steps(start=0.9, lower=-0.2)
    run = simulate.first_passage(
        FITTED,
        WhiteNoise(diffusion),
        start=0.9,
        exit=x <= -0.2,
        step=eta,
        walkers=40_000,
        seed=2,
        rule=label_noise(OUTPUTS, spread, law="sign"),
    )
    assert abs(run.mean / eta - exact) < ALARM * run.stderr / eta
    assert exact > 30


def test_noisy_labels_drift_along_a_valley_of_zero_loss():
    """L = (uv − 1)²/2: q = u² − v² falls as d ln q/dk = −η²σ² · 2/(2 − ηh), h = √(q² + 4).

    Each step multiplies q by 1 − η²g², g = uv − 1 − s, and at rest E g² = 2σ²/(2 − ηh); the slow
    drift is held to 1 %.
    """
    eta, spread, steps = 0.05, 0.5, 1500
    product_ = Landscape((U * V - 1) ** 2 / 2, (U, V), name="product", box=((-9, 9),) * 2)
    still = FactorNoise(sp.zeros(2, 1))
    states, _ = played(
        label_noise([U * V], spread, law="sign"),
        product_,
        still,
        start=(2.0, 0.5),
        step=eta,
        steps=steps,
        seed=3,
        walkers=(1000,),
    )
    gap = states[:, 0] ** 2 - states[:, 1] ** 2
    found = np.log(gap[-1] / 3.75)

    def slope(_, log_q):
        return -((eta * spread) ** 2) * 2 / (2 - eta * np.sqrt(np.exp(2 * log_q) + 4))

    theory = integrate.solve_ivp(slope, (0, steps), [np.log(3.75)], rtol=1e-9).y[0, -1]
    theory -= np.log(3.75)
    assert abs(found.mean() - theory) < ALARM * found.std() / 1000**0.5 + 0.01 * abs(theory)
    assert theory < -0.9


# Stable kicks


@pytest.mark.parametrize(("index", "n"), [(1.5, 2), (1, 1), (2, 1), (0.7, 1)])
def test_stable_kicks_have_their_characteristic_function(index, n):
    """E cos(kX) = exp(−t|k|^α) after a time t without drift; α = 1 is Cauchy, 2 is normal."""
    names, count = sp.symbols(f"q:{n}", real=True), 100_000
    states, _ = played(
        stable(index),
        Landscape(0 * names[0], names, name="flat", box=((-1e9, 1e9),) * n),
        WhiteNoise(1),
        start=[0.0] * n,
        step=0.25,
        steps=4,
        seed=81,
        walkers=(count,),
    )
    for t, places in zip((0.25, 1.0), states[[1, 4]], strict=True):
        for i in range(n):
            for k in (0.25, 0.5, 1, 2, 4):
                mean, twice = np.exp(-t * k**index), np.exp(-t * (2 * k) ** index)
                error = np.sqrt(((1 + twice) / 2 - mean**2) / count)
                assert abs(np.cos(k * places[i]).mean() - mean) < ALARM * error
                assert abs(np.sin(k * places[i]).mean()) < ALARM * np.sqrt((1 - twice) / 2 / count)
        if n > 1:  # independent coordinates: the function of the sum is a product
            mean = np.exp(-2 * t)
            error = np.sqrt(((1 + np.exp(-2 * t * 2**index)) / 2 - mean**2) / count)
            assert abs(np.cos(places[0] - places[1]).mean() - mean) < ALARM * error
    if index == 1:
        assert stats.kstest(states[4, 0], "cauchy").pvalue > 1e-5
    if index == 2:
        assert stats.kstest(states[4, 0], stats.norm(0, 2**0.5).cdf).pvalue > 1e-5


def test_stable_kicks_have_the_tails_of_scipy():
    """Compiled; counts beyond quantiles of scipy.stats.levy_stable, down to one in ten thousand."""
    count, levels = 200_000, np.array([1e-4, 1e-3, 1e-2, 0.25, 0.75, 0.99, 0.999, 0.9999])
    states = simulate.ensemble(
        line(0 * x, 1e9),
        WhiteNoise(4),
        start=0,
        step=0.5,
        times=[0.5],
        walkers=count,
        seed=82,
        rule=stable(1.5),
    )[0, :, 0].astype(float) / (2 * 0.5 ** (1 / 1.5))
    for level, edge in zip(levels, stats.levy_stable.ppf(levels, 1.5, 0), strict=True):
        assert stats.binomtest(int(np.sum(states < edge)), count, level).pvalue > 1e-5


@pytest.mark.parametrize("index", [0.5, 0.9, 1, 1.1, 1.5, 1.99, 2])
def test_no_stable_kick_is_lost_in_single_precision(index):
    """The statements of the engine at the ends of its uniform numbers, against mpmath."""
    mpmath = pytest.importorskip("mpmath")
    flat = line(0 * x, 1e6)
    problem = Problem(flat, WhiteNoise(1), start=0, exit=x > 9e5, step=1, rule=stable(index))
    ends = np.array([2.0**-32, 3e-7, 1e-3, 0.3, 0.5, 0.8, 1 - 2.0**-24, 1.0])
    u, w = (a.ravel() for a in np.meshgrid(ends, ends))
    draws = {"u0": u[None], "u1": w[None], "u2": np.full((1, u.size), 0.75)}
    points = np.zeros((1, 1, 1))
    found = _Reader(np.float32).moves(problem.program(), points, draws)[0, :, 0]
    assert np.all(np.isfinite(found))
    mpmath.mp.dps = 40
    for a, b, kick in zip(u, w, found, strict=True):
        angle = mpmath.pi / 2 * (1 - mpmath.mpf(a))
        wait = max(-mpmath.log(mpmath.mpf(b)), mpmath.mpf(2) ** -25)
        exact = mpmath.sin(index * angle) / mpmath.cos(angle) ** (1 / mpmath.mpf(index))
        power = (1 - mpmath.mpf(index)) / mpmath.mpf(index)
        exact *= (mpmath.cos((1 - index) * angle) / wait) ** power
        assert kick == pytest.approx(float(exact), rel=1e-4, abs=1e-6)


def test_jumps_out_of_a_parabola_are_the_exact_chain_and_none_is_lost():
    """N(x) = 1 + ∫ p(y − m(x)) N(y) dy with SciPy's stable density, at Gauss–Legendre nodes.

    Many land beyond ten times the box: they have left, and are not lost.
    """
    index, eta, scale, curvature = 1.5, 0.2, 0.25, 1.3
    size = scale * eta ** (1 / index)
    z, weight = np.polynomial.legendre.leggauss(60)
    grid = np.linspace(0, 6, 121) ** 2
    density = interpolate.CubicSpline(grid, stats.levy_stable.pdf(grid, index, 0))

    def kernel(place):
        away = np.abs(z - (1 - eta * curvature) * np.reshape(place, (-1, 1)))
        return density(away / size) / size * weight

    inside = np.linalg.solve(np.eye(60) - kernel(z), np.ones(60))
    exact = 1 + (kernel(0.25) @ inside)[0]
    run = simulate.first_passage(
        line(curvature * x**2 / 2, 2),
        WhiteNoise(scale**2),
        start=0.25,
        exit=sp.Or(x >= 1, x <= -1),
        step=eta,
        walkers=20_000,
        seed=3,
        rule=stable(index),
    )
    assert run.escaped == 20_000
    assert abs(run.mean / eta - exact) < ALARM * run.stderr / eta


# Kicks with a memory


def correlation(hurst, lag):
    """Of the increments of fractional Brownian motion over unit times."""
    k = np.asarray(lag, float)
    h = 2 * hurst
    return (np.abs(k + 1) ** h - 2 * k**h + np.abs(k - 1) ** h) / 2


@pytest.mark.parametrize("memory", [30, 1000])
@pytest.mark.parametrize("hurst", [0.05, 0.2, 0.35, 0.45, 0.5, 0.55, 0.7, 0.8, 0.95])
def test_sums_of_kicks_grow_as_fractional_brownian_motion_does(hurst, memory):
    """The law of the states: 0.2 % up to a tenth of the memory and 1 % over all of it."""
    law = _memory(hurst, memory)
    lags = np.arange(1, memory)
    keep, fresh, old, new = map(np.array, (law.keep, law.fresh, law.old, law.new))
    later = [np.sum((old**2 * keep + old * new * fresh) * keep ** (k - 1.0)) for k in lags]
    first = np.sum(old**2 + new**2) + law.white**2
    assert first == pytest.approx(1, rel=1e-12)
    assert np.allclose(keep**2 + fresh**2, 1, rtol=1e-12)
    counts = np.arange(1, memory + 1)
    variance = first * counts + 2 * np.array(
        [np.sum((n - lags[: n - 1]) * np.array(later[: n - 1])) for n in counts]
    )
    ratio = variance / counts ** (2 * hurst)
    assert np.max(np.abs(ratio[: memory // 10] - 1)) < 2e-3
    assert np.max(np.abs(ratio - 1)) < 1e-2


@pytest.mark.parametrize("hurst", [0.3, 0.7])
def test_kicks_with_a_memory_in_a_parabola(hurst):
    """Their correlations, from the first step on, and the variance that they cause.

    x' = (1 − ηh) x + kick, so that the kicks can be read off; correlations are held to 0.3 % and
    the variance, a double sum of them, to 1 %.
    """
    eta, curvature, diffusion, count = 0.5, 0.3, 0.7, 50_000
    ticks = np.array([0, 1, 2, 3, 40, 41, 42, 43, 200])
    states = simulate.ensemble(
        line(curvature * x**2 / 2, 99),
        WhiteNoise(diffusion),
        start=0,
        step=eta,
        times=eta * ticks,
        walkers=count,
        seed=4,
        rule=fractional(hurst, memory=200),
    )[:, :, 0].astype(float)
    scale = np.sqrt(2 * diffusion) * eta**hurst
    keep = 1 - eta * curvature
    kicks = np.array([states[i + 1] - keep * states[i] for i in (0, 1, 2, 4, 5, 6)]) / scale
    for group in (kicks[:3], kicks[3:]):  # from the first step and later
        for i, j in product(range(3), repeat=2):
            exact = correlation(hurst, abs(i - j))
            error = np.sqrt((1 + exact**2) / count)
            assert abs(np.mean(group[i] * group[j]) - exact) < ALARM * error + 3e-3
    for tick, place in zip(ticks[1:], states[1:], strict=True):
        powers = keep ** np.arange(tick)
        exact = powers @ linalg.toeplitz(correlation(hurst, np.arange(tick))) @ powers
        found = np.mean(place**2) / scale**2
        assert abs(found / exact - 1) < ALARM * np.sqrt(2 / count) + 1e-2


@pytest.mark.parametrize("hurst", [0.3, 0.7])
def test_the_first_kick_has_all_of_its_variance(hurst):
    count = 20_000
    options = dict(start=0.0, step=0.3, steps=2, seed=9, walkers=(count,))
    flat = line(0 * x, 99)
    states, _ = played(fractional(hurst, memory=30), flat, WhiteNoise(0.7), **options)
    kicks = np.diff(states[:, 0], axis=0) / np.sqrt(1.4) / 0.3**hurst
    assert np.all(np.abs(np.mean(kicks**2, axis=1) - 1) < ALARM * np.sqrt(2 / count))
    exact = correlation(hurst, 1)
    error = np.sqrt((1 + exact**2) / count)
    assert abs(np.mean(kicks[0] * kicks[1]) - exact) < ALARM * error + 3e-3


def test_half_is_white_and_two_kicks_need_two_memories():
    options = dict(start=(0.5, -0.25), step=0.04, steps=9, seed=5)
    surface = Landscape(U**4 / 4 + U * V + V**2, (U, V), name="surface", box=((-3, 3),) * 2)
    noise = StateDependentNoise((0.3 + U**2, 0.2 + V**2 / 2))
    white, _ = played(euler_maruyama, surface, noise, **options)
    half, _ = played(fractional(0.5), surface, noise, **options)
    assert np.allclose(white, half, rtol=1e-12)
    step = fractional(0.25, memory=100)(surface, noise, DT)
    one = fractional(0.25, memory=100)(WELL, WhiteNoise(0.2), DT)
    assert len(step.state) - 2 == 2 * (len(one.state) - 1) == len(step.start.normals)


def test_kicks_of_a_full_matrix_go_by_its_factor():
    surface = Landscape(U**4 / 4 + U * V + V**2, (U, V), name="surface", box=((-3, 3),) * 2)
    factor, place = np.array([[0.5, 0.0], [0.3, 0.7]]), np.array([0.5, -0.25])
    states, drawn = played(
        fractional(0.5), surface, FactorNoise(factor), start=place, step=0.04, steps=9, seed=5
    )
    for state, z in zip(states[1:], drawn["normals"], strict=True):
        down = np.array([place[0] ** 3 + place[1], place[0] + 2 * place[1]])
        place = place - 0.04 * down + np.sqrt(0.08) * factor @ z
        assert state == pytest.approx(place, rel=1e-9)


# Inertia


def test_inertia_is_the_loop_by_hand():
    """BAOAB with noise that depends on the place."""
    surface = Landscape(U**4 / 4 + U * V + V**2, (U, V), name="surface", box=((-3, 3),) * 2)
    noise = StateDependentNoise((0.3 + U**2, 0.2 + V**2 / 2))
    down = lambda p: np.array([p[0] ** 3 + p[1], p[0] + 2 * p[1]])  # noqa: E731
    sigma = lambda p: np.sqrt([0.3 + p[0] ** 2, 0.2 + p[1] ** 2 / 2])  # noqa: E731
    states, drawn = played(
        langevin(0.8), surface, noise, start=(0.5, -0.25), step=0.2, steps=15, seed=6
    )
    place = np.array([0.5, -0.25])
    speed = sigma(place) * drawn["rest"]
    assert states[0] == pytest.approx(np.append(place, speed), rel=1e-12)
    keep = np.exp(-0.8 * 0.2)
    for state, z in zip(states[1:], drawn["normals"], strict=True):
        speed = speed - 0.1 * down(place)
        place = place + 0.1 * speed
        speed = keep * speed + np.sqrt(1 - keep**2) * sigma(place) * z
        place = place + 0.1 * speed
        speed = speed - 0.1 * down(place)
        assert state == pytest.approx(np.append(place, speed), rel=1e-9)


def test_velocities_begin_at_rest_where_the_walker_is():
    """A full matrix that depends on the place: its factor has intermediate results."""
    matrix = sp.Matrix([[1 + U**2, U * V / 2], [U * V / 2, 1 + V**2]])
    plane = Landscape(0 * U, (U, V), name="plane", box=((-3, 3),) * 2)
    start = langevin(0.8)(plane, StateDependentNoise(matrix), DT).start
    factor = sp.Matrix([e for _, e in start.values]).jacobian(start.normals)
    there = factor.subs({U: 1.5, V: -0.75})
    exact = matrix.subs({U: 1.5, V: -0.75})
    assert np.allclose(np.array(there * there.T, float), np.array(exact, float), rtol=1e-12)


def test_inertia_in_a_parabola_rests_with_the_exact_variance():
    """Curvatures 1.5 and 6, D = 0.4 and 0.25: at first a ballistic flight, then D/h, at any step.

    Lagged covariances between by the matrices of the splitting, A and B as kicks and drifts.
    """
    curvatures, strengths, step, friction, count = (1.5, 6.0), (0.4, 0.25), 0.4, 0.7, 100_000
    bowl = Landscape(
        sum(h * q**2 / 2 for h, q in zip(curvatures, (U, V), strict=True)),
        (U, V),
        name="bowl",
        box=((-9, 9),) * 2,
    )
    ticks = np.array([0, 1, 2, 7, 100])
    states = simulate.ensemble(
        bowl,
        StateDependentNoise(tuple(map(sp.Float, strengths))),
        start=(0.5, -0.3),
        step=step,
        times=step * ticks,
        walkers=count,
        seed=7,
        rule=langevin(friction),
        observe=(U, V, *sp.symbols("velocity:2")),
    ).astype(float)
    keep = np.exp(-friction * step)
    for i, (h, d) in enumerate(zip(curvatures, strengths, strict=True)):
        pull, drift = np.array([[1, 0], [-step / 2 * h, 1]]), np.array([[1, step / 2], [0, 1]])
        slow = np.diag([1, keep])
        whole = pull @ drift @ slow @ drift @ pull
        push = pull @ drift @ np.array([[0], [np.sqrt((1 - keep**2) * d)]])
        rest = linalg.solve_discrete_lyapunov(whole, push @ push.T)
        assert rest[0, 0] == pytest.approx(d / h, rel=1e-9)
        covariance, mean = np.diag([0, d]), np.array([0.5, -0.3][i]) * np.eye(2)[0]
        history = [(mean, covariance)]
        for _ in range(ticks[-1]):
            mean, covariance = whole @ mean, whole @ covariance @ whole.T + push @ push.T
            history.append((mean, covariance))
        for tick, found in zip(ticks, states, strict=True):
            for j in (0, 1):  # the place and the velocity
                mean, variance = history[tick][0][j], history[tick][1][j, j]
                offset = found[:, i + 2 * j] - mean
                assert abs(offset.mean()) <= ALARM * np.sqrt(variance / count) + 1e-7
                error = variance * np.sqrt(2 / count)
                assert abs(np.mean(offset**2) - variance) <= ALARM * error + 1e-12
        lag = np.linalg.matrix_power(whole, 5) @ history[2][1]
        early, late = states[2, :, i] - history[2][0][0], states[3, :, i] - history[7][0][0]
        size = history[2][1][0, 0] * history[7][1][0, 0]
        error = np.sqrt((size + lag[0, 0] ** 2) / count)
        assert abs(np.mean(early * late) - lag[0, 0]) < ALARM * error


def test_inertia_rests_in_the_density_of_boltzmann_at_any_friction():
    """The quartic double well: E x² by quadrature; the step is small enough for 0.2 %."""
    diffusion, count = 0.3, 40_000
    weight = lambda q: np.exp(-(q**4 / 4 - q**2 / 2) / diffusion)  # noqa: E731
    square = integrate.quad(lambda q: q**2 * weight(q), -5, 5)[0]
    square /= integrate.quad(weight, -5, 5)[0]
    states, _ = played(
        langevin(0.9),
        WELL,
        WhiteNoise(diffusion),
        start=1.0,
        step=0.25,
        steps=200,
        seed=8,
        walkers=(count,),
    )
    place, speed = states[-1]
    assert abs(np.mean(place**2) - square) < ALARM * np.std(place**2) / 200 + 2e-3 * square
    assert abs(np.mean(speed**2) / diffusion - 1) < ALARM * np.sqrt(2 / count) + 0.02


# Refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: label_noise([], 1), "at least one output"),
        (lambda: label_noise([x], 0), "spread must be .*above 0, got 0"),
        (lambda: label_noise([x], 1, law="cauchy"), "law must be one of 'normal', 'sign'"),
        (lambda: label_noise(["x +"], 1), "an output"),
        (lambda: stable(0.4), "index must be .*0.5 or more.*got 0.4.*single precision"),
        (lambda: stable(2.5), "index must be .*got 2.5"),
        (lambda: fractional(0), "hurst must be .*got 0"),
        (lambda: fractional(0.3, memory=5), "memory must be a whole number, 10 or more"),
        (lambda: langevin(0), "friction must be .*above 0, got 0; euler_maruyama"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_outputs_must_be_those_of_the_samples():
    with pytest.raises(ValueError, match=r"the variables \(x,\) only, got also \{u\}"):
        label_noise([U], 1.0)(WELL, WhiteNoise(0.1), DT)
    losses = ((x - 1) ** 2, (x + 1) ** 2)
    bowl = line(x**2 + 1, 3)
    with pytest.raises(ValueError, match="one output for each of the 2 sample losses, got 1"):
        label_noise([x], 1.0)(bowl, MinibatchNoise(losses, 0.1, 1), DT)
