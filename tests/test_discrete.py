"""The discrete walker's exact results against closed forms, mpmath and the walkers themselves."""

import itertools

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from scipy import stats

from ddt_utils import _walk, catalog, chains, discrete, exact, simulate
from ddt_utils.landscape import Landscape
from ddt_utils.noise import HessianNoise, StateDependentNoise, WhiteNoise

x = sp.Symbol("x", real=True)
FLAT = Landscape(0 * x, (x,), name="plain", box=((-5, 5),))
VALLEY = Landscape(3 * x**2 / 2, (x,), name="valley", box=((-3, 3),))
WELL = catalog.piecewise_well(curvature_minimum=4, curvature_saddle=1, barrier=1)
LEFT = -(np.sqrt(1.6) + np.sqrt(0.1))  # its minimum


def test_a_driftless_walk_between_two_ends_against_mpmath():
    """T(x) = dt + ∫p T, summed as dt Σ P(inside after n steps) with mpmath's quadrature rule."""
    kick = mp.mpf(1)  # √(2 D dt) with D = 1/2, dt = 1
    nodes = [mp.mpf(v) for v in np.polynomial.legendre.leggauss(40)[0]]
    weights = [mp.mpf(v) for v in np.polynomial.legendre.leggauss(40)[1]]
    rows = [
        [w * mp.npdf(b - a, 0, kick) for b, w in zip(nodes, weights, strict=True)] for a in nodes
    ]
    matrix = mp.matrix(rows)
    times = mp.lu_solve(mp.eye(40) - matrix, mp.matrix([1] * 40))
    pairs = zip(nodes, weights, times, strict=True)
    truth = 1 + mp.fsum(w * mp.npdf(b, mp.mpf("0.3"), kick) * t for b, w, t in pairs)
    found = discrete.mean_first_passage_time(
        FLAT, WhiteNoise(0.5), step=1, start=0.3, lower=-1, upper=1
    )
    assert found == pytest.approx(float(truth), rel=1e-9)


@pytest.mark.parametrize("noise", [WhiteNoise(0.2), HessianNoise(0.02, 0.15)])
def test_as_the_step_vanishes_it_tends_to_the_diffusion(noise):
    """The distance falls like the root of the step, so Richardson's value is far closer."""
    ends = dict(start=-1, upper=-0.75)
    curve = catalog.quartic()

    def at(step):
        push = noise
        if isinstance(noise, HessianNoise):
            push = HessianNoise(step, 0.15 * step / 0.02, floor=0.5)
        return push, discrete.mean_first_passage_time(curve, push, step=step, **ends)

    (push, coarse), (_, fine) = at(4e-4), at(1e-4)
    truth = exact.mean_first_passage_time(curve, push, **ends)
    assert fine / truth - 1 == pytest.approx((coarse / truth - 1) / 2, rel=0.1)
    assert 2 * fine - coarse == pytest.approx(truth, rel=2e-3)


def test_a_quadratic_valley_rests_with_the_width_of_the_discrete_walk():
    """A linear recursion: its variance is D·2/(h (2 − h dt)), and it stays normal."""
    places = np.linspace(-1, 1, 9)
    for step in (0.05, 0.4, 0.6):
        variance = 0.1 * 2 / (3 * (2 - 3 * step))
        found = discrete.stationary_density(VALLEY, WhiteNoise(0.1), places, step=step)
        truth = np.exp(-(places**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        np.testing.assert_allclose(found, truth, rtol=1e-5)


def test_the_stationary_density_tends_to_that_of_the_diffusion_with_order_one():
    places, white, curve = np.linspace(-1.5, 1.5, 7), WhiteNoise(0.125), catalog.quartic()
    truth = exact.stationary_density(curve, white, places)
    coarse, fine = (
        discrete.stationary_density(curve, white, places, step=step) for step in (4e-3, 2e-3)
    )
    np.testing.assert_allclose(2 * fine - coarse, truth, rtol=3e-4)
    assert np.abs(fine / truth - 1).max() > 2e-3  # the test would notice one without the other


@pytest.mark.parametrize("eta", [0.02, 0.1, 0.3])
def test_walkers_of_sgd_take_the_time(eta):
    """Noise that jumps, a step that is not small; false alarm 1e-5 each."""
    noise = HessianNoise(eta, 4 * eta / 2)
    truth = discrete.mean_first_passage_time(WELL, noise, step=eta, start=LEFT, upper=0)
    run = simulate.first_passage(
        WELL, noise, start=LEFT, exit=WELL.variables[0] >= 0, step=eta, walkers=60_000, seed=5,
        rule=simulate.sgd,
    )  # fmt: skip
    assert abs(run.mean - truth) < 4.42 * run.stderr
    diffusion = exact.mean_first_passage_time(WELL, noise, start=LEFT, upper=0)
    assert abs(truth - diffusion) > 10 * run.stderr  # the test would notice the other truth


def test_a_point_without_noise_is_jumped():
    """D = c|L''| on the quartic vanishes at ±1/√3: no diffusion passes, a discrete walker does."""
    noise = HessianNoise(0.05, 0.1)
    curve = catalog.quartic()
    truth = discrete.mean_first_passage_time(curve, noise, step=0.05, start=-1, upper=0)
    run = simulate.first_passage(
        curve, noise, start=-1, exit=curve.variables[0] >= 0, step=0.05, walkers=60_000, seed=6,
        rule=simulate.sgd,
    )  # fmt: skip
    assert abs(run.mean - truth) < 4.42 * run.stderr


def test_what_is_mirrored_takes_as_long():
    noise = StateDependentNoise(sp.Rational(1, 10) * (1 + x**2))
    curve, turned = catalog.tilted_quartic(0.1), catalog.tilted_quartic(-0.1)
    options = dict(step=0.1)
    right = discrete.mean_first_passage_time(curve, noise, start=-1, upper=0.3, **options)
    left = discrete.mean_first_passage_time(turned, noise, start=1, lower=-0.3, **options)
    assert right == pytest.approx(left, rel=1e-7)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(upper=None), "needs an absorbing end"),
        (dict(start=2), r"inside \(-inf, 1\), got 2"),
        (dict(step=0), "step must be positive"),
        (dict(noise=HessianNoise(0.2, 1)), "its learning rate, got step 0.1 and a noise with 0.2"),
        (dict(landscape=catalog.mueller_brown()), "needs one dimension"),
        (dict(noise=StateDependentNoise(x)), "no negative eigenvalue"),
    ],
)
def test_errors(change, message):
    options = (
        dict(landscape=catalog.quartic(), noise=WhiteNoise(0.1), step=0.1, start=-1, upper=1)
        | change
    )
    with pytest.raises(ValueError, match=message):
        discrete.mean_first_passage_time(options.pop("landscape"), options.pop("noise"), **options)


def test_what_cannot_be_settled_is_refused():
    slope = Landscape(-x, (x,), name="slope", box=((-1, 1),))
    with pytest.raises(ArithmeticError, match="must hold the walkers"):
        discrete.mean_first_passage_time(slope, WhiteNoise(0.1), step=0.1, start=0, lower=-1)
    with pytest.raises(ArithmeticError, match="must agree"):  # η h > 2: the valley throws it out
        discrete.stationary_density(VALLEY, WhiteNoise(0.1), np.array([0.0]), step=0.7)


def by_midpoints(loss, diffusion, step, start, stops, count):
    """T at the middles of equal cells between two stops each: another rule, another grid.

    L′ or D may jump at a stop, and T with them, which would cost the rule its second order.
    """
    drift = sp.lambdify(x, -sp.diff(loss, x))
    edges = [np.linspace(a, b, count + 1) for a, b in itertools.pairwise(stops)]
    places = np.concatenate([(e[1:] + e[:-1]) / 2 for e in edges])
    weight = np.concatenate([np.diff(e) for e in edges])

    def rows(z):
        width = np.sqrt(2 * step * np.broadcast_to(sp.lambdify(x, diffusion)(z), z.shape))[:, None]
        away = (places - (z + step * drift(z))[:, None]) / width
        return weight * np.exp(-(away**2) / 2) / np.sqrt(2 * np.pi) / width

    times = np.linalg.solve(np.eye(places.size) - rows(places), np.full(places.size, step))
    return step + (rows(np.array([start])) @ times)[0]


@pytest.mark.parametrize(
    "loss, diffusion, cut",
    [
        (x**4 / 4 - x**2 / 2 + x / 9, (2 + sp.sin(3 * x)) / 9, 0.2),
        (sp.Abs(x + sp.Rational(1, 4)) / 3 + x**2 / 5, sp.Rational(3, 10), -0.25),
        (
            x**2 / 3,
            sp.Piecewise((sp.Rational(2, 5), x < sp.Rational(1, 8)), (sp.Rational(1, 9), True)),
            0.125,
        ),
    ],
)
def test_against_another_rule_on_another_grid(loss, diffusion, cut):
    """Smooth, a kink in L, a jump of D; the rule of midpoints on either side, extrapolated."""
    step, start, low, high = 0.07, -0.35, -1.3, 0.85
    stops = low, cut, high
    coarse, fine = (by_midpoints(loss, diffusion, step, start, stops, n) for n in (150, 300))
    found = discrete.mean_first_passage_time(
        Landscape(loss, (x,), name="test", box=((-2, 2),)), StateDependentNoise(diffusion),
        step=step, start=start, lower=low, upper=high,
    )  # fmt: skip
    error = abs(fine - coarse)
    assert abs(found - (4 * fine - coarse) / 3) < 1e-2 * error
    assert error < 1e-3 * fine


@pytest.mark.parametrize("eta, share", [(0.1, 0.1), (0.05, 0.1)])
def test_a_gate_without_noise_is_solved_to_the_tolerance_that_is_claimed(eta, share):
    """Two discretisations, the claim tightened by 1e3: the values must agree to the looser one."""
    noise, curve = HessianNoise(eta, share), catalog.quartic()
    options = dict(step=eta, start=-0.97, upper=0.03)
    found = discrete.mean_first_passage_time(curve, noise, **options)
    tight = discrete.mean_first_passage_time(curve, noise, rtol=1e-10, **options)
    assert found == pytest.approx(tight, rel=1e-7)
    walk = _walk.walk(curve, noise, eta, -12.0, 0.03, -0.97, 45, 7)
    rows = walk.rows(walk.nodes).toarray()
    times = np.linalg.solve(np.eye(len(rows)) - rows, np.full(len(rows), eta))
    independent = eta + (walk.rows(np.array([-0.97])) @ times)[0]
    assert found == pytest.approx(independent, rel=1e-7)


def test_a_step_conserves_probability():
    noise = HessianNoise(0.1, 0.3)
    for lower, upper in ((-1.5, 0.4), (None, 0.4), (-0.6, None)):
        walk = _walk.walk(catalog.quartic(), noise, 0.1, lower, upper, -0.5, 45, 1)
        total = np.asarray(walk.rows(walk.nodes).sum(axis=1)).ravel()
        np.testing.assert_allclose(total + walk.leak(walk.nodes), 1, rtol=1e-13)


def test_times_of_1e10_steps_keep_their_digits():
    """For a linear recursion the mean to a far level is that of a second, denser discretisation."""
    options = dict(step=0.23, start=0.1, upper=1.5)
    found = discrete.mean_first_passage_time(VALLEY, WhiteNoise(0.1), **options)
    assert found > 1e10 * 0.23
    tight = discrete.mean_first_passage_time(VALLEY, WhiteNoise(0.1), rtol=1e-10, **options)
    assert found == pytest.approx(tight, rel=1e-8)
    # Kac: the mean time between visits is one over the probability to be beyond
    variance = 0.1 * 2 / (3 * (2 - 3 * 0.23))
    beyond = stats.norm.sf(1.5 / np.sqrt(variance))
    assert found == pytest.approx(0.23 / beyond, rel=0.05)


def test_noise_that_grows_without_bound_needs_no_end():
    """D ~ x⁶ outside: Φ stays bounded, and yet an absorbing end far out changes nothing."""
    bowl = Landscape(x**2 / 2, (x,), name="bowl", box=((-3, 3),))
    noise = StateDependentNoise(sp.Rational(1, 10) + x**6 / 1000)
    options = dict(step=0.1, start=0.1, upper=1)
    found = discrete.mean_first_passage_time(bowl, noise, **options)
    ended = discrete.mean_first_passage_time(bowl, noise, lower=-200, **options)
    assert found == pytest.approx(ended, rel=1e-9)


@pytest.mark.parametrize("depth", [12, -12])
def test_a_spike_narrower_than_a_kick_is_seen(depth):
    """A place 1e-3 wide that throws the walker far out: the time changes by its share."""
    width = sp.Rational(1, 1000)
    loss = x**2 / 2 + depth * sp.exp(-(((x - sp.Rational(1, 7)) / width) ** 2)) / 10
    noise, options = WhiteNoise(0.2), dict(step=0.05, start=-0.1, lower=-0.4, upper=0.6)
    spiked = Landscape(loss, (x,), name="spiked", box=((-3, 3),))
    bowl = Landscape(x**2 / 2, (x,), name="bowl", box=((-3, 3),))
    found = discrete.mean_first_passage_time(spiked, noise, **options)
    plain = discrete.mean_first_passage_time(bowl, noise, **options)
    coarse = by_midpoints(loss, sp.Rational(1, 5), 0.05, -0.1, (-0.4, 0.6), 1400)
    finer = by_midpoints(loss, sp.Rational(1, 5), 0.05, -0.1, (-0.4, 0.6), 2100)
    assert abs(found / plain - 1) > 5e-4
    assert abs(found / finer - 1) < max(2e-5, 2 * abs(coarse / finer - 1))


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(start=[-1, 0]), ValueError, "start must be a finite real number"),
        (dict(start="-1"), ValueError, "start must be a finite real number"),
        (dict(upper=float("nan")), ValueError, "upper must be a finite real number"),
        (dict(step=0.1j), ValueError, "step must be a finite real number"),
        (dict(step=float("inf")), ValueError, "step must be a finite real number"),
        (dict(noise=0.1), ValueError, "noise.WhiteNoise"),
        (dict(noise=WhiteNoise(1e-30)), ArithmeticError, "kicks the walker by"),
        (dict(noise=WhiteNoise(0.004)), ArithmeticError, "1e13 steps"),
    ],
)
def test_odd_arguments(change, error, message):
    options = dict(noise=WhiteNoise(0.1), step=0.1, start=-1, upper=1) | change
    with pytest.raises(error, match=message):
        discrete.mean_first_passage_time(catalog.quartic(), options.pop("noise"), **options)


def test_no_density_is_less_than_nothing():
    # e^-20 of the peak: the error of the solution, 1e-8 of it, has either sign
    found = discrete.stationary_density(
        catalog.tilted_quartic(0.1), WhiteNoise(0.01), np.linspace(0.6, 1.3, 29), step=0.1
    )
    assert np.all(found >= 0) and np.all(found < 1e-6)


@pytest.mark.parametrize("ask", ["discrete", "chains", "simulate"])
@pytest.mark.parametrize("rate", [0.2, 3e-9])
def test_a_step_of_another_learning_rate_is_refused_however_short(ask, rate):
    well, noise = catalog.quartic(), HessianNoise(learning_rate=rate, batch_size=3, floor=0.1)
    step = rate / 2
    with pytest.raises(ValueError, match="step of SGD is its learning rate"):
        if ask == "discrete":
            discrete.mean_first_passage_time(well, noise, step=step, start=-1, upper=0)
        elif ask == "chains":
            chains.of(well, noise, step=step)
        else:
            simulate.Problem(well, noise, start=-1, exit=x > 0, step=step, rule=simulate.sgd)


def test_a_box_beside_the_valley_is_named():
    far = Landscape((x - 50) ** 2 / 2, (x,), name="far", box=((-2, 2),))
    with pytest.raises(ArithmeticError, match="take a box that holds the valley"):
        discrete.stationary_density(far, WhiteNoise(1.0), [0.0], step=0.1)


@pytest.mark.parametrize("strength", [0.004, 0.001])
def test_a_density_that_rounding_decides_is_refused(strength):
    """All walkers were said to be in the right valley of two equal ones, whatever is asked."""
    well = catalog.quartic()
    for x in ([-1, 0.01], [1]):
        with pytest.raises(ArithmeticError, match="joined well enough .* rounding moves"):
            discrete.stationary_density(well, WhiteNoise(strength), x, step=0.1)
