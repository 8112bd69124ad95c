"""Leaks of quadratic valleys, against exact chains, closed forms and walkers."""

import numpy as np
import pytest
import sympy as sp
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import zeta

from ddt_utils import curvature, discrete, networks
from ddt_utils.criterion import Beyond, Box, LevelSet
from ddt_utils.landscape import Landscape
from ddt_utils.leak import OVERSHOOT, LevelTilt, Valley, level_tilt
from ddt_utils.noise import WhiteNoise

RNG = np.random.default_rng(1)
TURN = np.linalg.qr(RNG.standard_normal((3, 3)))[0]
H = TURN @ np.diag([0.4, 1.1, 2.7]) @ TURN.T
HALF = np.array([[1.0, 0.3, 0.0], [0.0, 0.7, -0.4], [0.2, 0.0, 1.3]])
C = HALF @ HALF.T


def test_the_crowd_at_rest_is_reproduced_by_a_step():
    eta = 0.3
    S = Valley(H, C, eta).spread
    keep = np.eye(3) - eta * H
    np.testing.assert_allclose(keep @ S @ keep + eta**2 * C, S, rtol=1e-12)
    small = Valley(H, C, 1e-4).spread
    np.testing.assert_allclose(H @ small + small @ H, 1e-4 * C, atol=6e-8)
    theta = np.zeros((200_000, 3))
    for _ in range(60):
        theta = theta @ keep - eta * RNG.standard_normal(theta.shape) @ HALF.T
    np.testing.assert_allclose(np.cov(theta.T), S, atol=0.01)


def test_overshoot_is_its_constant():
    assert pytest.approx(-zeta(0.5) / np.sqrt(2 * np.pi)) == OVERSHOOT


def test_a_box_on_a_line_is_that_of_the_exact_chain():
    """The law tends to the exact mean time of the discrete walker as the exponent grows."""
    h, c, eta = 1.7, 2.3, 0.05
    x = sp.Symbol("x", real=True)
    bowl = Landscape(sp.Float(h) * x**2 / 2, (x,), name="bowl", box=((-9, 9),))
    valley, off = Valley([[h]], [[c]], eta), []
    s = float(valley.spread[0, 0])
    for exponent in (4.0, 8.0):
        r = np.sqrt(2 * s * exponent)
        exact = discrete.mean_first_passage_time(
            bowl, WhiteNoise(eta * c / 2), step=eta, start=0.0, lower=-r, upper=r
        )
        assert valley.exponent(Box(0.0, r)) == pytest.approx(exponent)
        off.append(valley.mean_time(Box(0.0, r)) / exact - 1)
    assert abs(off[1]) < 0.6 * abs(off[0]) < 0.2


def test_a_level_with_even_noise_is_an_ornstein_uhlenbeck_radius():
    """S proportional to the inverse of H: the rate of a level is that of a chi-square."""
    eta, d = 1e-5, 0.05
    h = np.diag([0.5, 1.2, 3.1])
    valley = Valley(h, 2 * d / eta * np.eye(3), eta)
    height = 9 * d
    w = 2 * height / d
    rate = np.trace(h) * (stats.chi2.sf(w, 5) - stats.chi2.sf(w, 3))
    assert valley.exponent(LevelSet(height)) == pytest.approx(height / d, rel=1e-3)
    far = valley.mean_time(LevelSet(height))
    assert far == pytest.approx(1 / rate, rel=0.05)  # the rest is the overshoot, √η


@pytest.mark.parametrize("kind", ["box", "level"])
def test_the_law_is_near_the_walkers(kind):
    valley = Valley(H, C / 8, 0.05)
    if kind == "box":
        way = Box((0, 0, 0), np.sqrt(12 * np.diag(valley.spread)) * [1, 1.02, 1.04])
    else:
        way = LevelSet(6.0 * np.linalg.eigvals(valley.spread @ H).real.max())
    assert valley.exponent(way) == pytest.approx(6.0)
    run = valley.simulated(way, walkers=4000, seed=3)
    assert run.escaped == 4000
    assert valley.mean_time(way) == pytest.approx(run.mean, rel=0.2)
    if kind == "box":
        counts = np.bincount(np.argmax(np.abs(run.states) / way.half_width, axis=1), minlength=3)
        told = 4000 * valley.sides(way)
        assert stats.chi2.sf(np.sum((counts - told) ** 2 / told), 2) > 1e-6


def test_the_exponent_of_a_level_is_the_hottest_direction():
    valley = Valley(H, C / 8, 1e-3)
    S, height = valley.spread, 0.3
    trials = RNG.standard_normal((200_000, 3))
    trials *= np.sqrt(2 * height / np.einsum("ri,ij,rj->r", trials, H, trials))[:, None]
    least = np.einsum("ri,ij,rj->r", trials, np.linalg.inv(S), trials).min() / 2
    exponent = valley.exponent(LevelSet(height))
    assert exponent <= least < 1.01 * exponent


def test_the_tilt_of_a_level_is_an_integral_of_roots():
    rng = np.random.default_rng(4)
    model = networks.logistic(2)
    x, y = rng.standard_normal((40, 2)) * [1.5, 0.4], rng.integers(0, 2, 40)
    theta = np.zeros(2)
    for _ in range(30):
        slope = curvature.sample_gradients(model, theta, x, y).mean(axis=0)
        theta = theta - np.linalg.solve(curvature.hessian(model, theta, x, y), slope)
    v = np.linalg.eigh(curvature.hessian(model, theta, x, y))[1][:, -1]
    import torch

    def loss(s):
        return float(model.loss(torch.tensor(theta + s * v), torch.tensor(x), torch.tensor(y)))

    height, found, changing = 0.05, [], []
    got = level_tilt(model, theta, x, y, height=height)
    for side in (1, -1):
        end = brentq(lambda s, k=side: loss(k * s) - loss(0) - height, 1e-6, 20)

        def pay(s, k=side):
            g = k * curvature.sample_gradients(model, theta + k * s * v, x, y) @ v
            plain = 2 * g.mean() / g.var()
            return plain, brentq(lambda q: np.log(np.mean(np.exp(-q * g))), plain / 3, 3 * plain)

        found.append(quad(lambda s: pay(s)[1], 1e-9, end, epsrel=1e-8)[0])
        changing.append(quad(lambda s: pay(s)[0], 1e-9, end, epsrel=1e-8)[0])
    np.testing.assert_allclose(sorted(got.minibatches), sorted(found), rtol=1e-6)
    np.testing.assert_allclose(sorted(got.changing), sorted(changing), rtol=1e-6)
    noise = v @ curvature.gradient_covariance(model, theta, x, y) @ v
    assert got.fixed == pytest.approx(2 * height / noise)
    dial = 12 / 0.4
    told = 2 / np.sum(np.exp(dial * (got.fixed - np.array(found))))
    assert got.over_null(learning_rate=0.4, batch_size=12) == pytest.approx(told, rel=1e-5)
    other = level_tilt(model, theta, x, y, height=height, direction=-3 * v)
    sign = np.sign(v @ np.linalg.eigh(curvature.hessian(model, theta, x, y))[1][:, -1])
    np.testing.assert_allclose(other.minibatches, got.minibatches[:: int(-sign)], rtol=1e-6)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Valley(-H, C, 0.1), "positive definite"),
        (lambda: Valley(H, C[:2, :2], 0.1), "covariance"),
        (lambda: Valley(H + np.eye(3, k=1), C, 0.1), "symmetric"),
        (lambda: Valley(H, C, 2 / 2.6), "learning_rate"),
        (lambda: Valley(H, C, 0.1).mean_time(Box((0, 0, 1), 1.0)), "Box around"),
        (lambda: Valley(H, C, 0.1).mean_time(LevelSet(-1.0)), "above 0"),
        (lambda: Valley(H, C, 0.1).exponent(Beyond((0, 0, 1), (0, 0, 1))), "exit must be"),
        (lambda: Valley(H, C, 0.1).sides(LevelSet(1.0)), "no sides"),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_level_that_is_never_reached_is_refused():
    line = networks.linear(1)
    with pytest.raises(ValueError, match="height"):
        level_tilt(line, [0.0], [[1.0], [1.0]], [1.0, -1.0], height=-0.1)
    flat = networks.logistic(1)
    with pytest.raises(ValueError, match="height must be reached"):
        level_tilt(flat, [0.0], [[1.0], [1.0]], [0, 1], height=1e9)


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1e6])
def test_symmetry_is_judged_by_the_size_of_a_matrix(size):
    crooked = size * np.array([[3.0, 0.9], [0.0, 2.0]])
    for matrices in ((crooked, np.eye(2)), (np.eye(2), crooked)):
        with pytest.raises(ValueError, match="symmetric"):
            Valley(*matrices, 1e-7)
    Valley(np.eye(2), (crooked + crooked.T) / 2, 0.1)


@pytest.mark.parametrize("rate", [1e-3, 1e-6, 1e-9, 1e-17, 1e-30])
@pytest.mark.parametrize("n", [3, 12])
def test_the_crowd_keeps_its_digits_for_steps_of_any_size(rate, n):
    """S_ij = ηC_ij/(λ_i + λ_j − ηλ_iλ_j) in the frame of H."""
    curves = np.geomspace(1e-3, 3.0, n)
    noise = np.eye(n) + 0.2
    frame = np.linalg.qr(np.random.default_rng(4).normal(size=(n, n)))[0]
    valley = Valley(frame @ np.diag(curves) @ frame.T, frame @ noise @ frame.T, rate)
    truth = rate * noise / (curves[:, None] + curves - rate * np.outer(curves, curves))
    np.testing.assert_allclose(frame.T @ valley.spread @ frame, truth, rtol=1e-6)


def test_exits_too_rare_for_a_number_have_sides_and_an_exponent():
    valley = Valley(np.diag([1.0, 2.0]), 0.01 * np.eye(2), 0.1)
    for width in (2.0, 1e3):
        even = Box((0, 0), (width, 3 * width))
        np.testing.assert_allclose(valley.sides(even), [1, 0])
        with pytest.raises(ValueError, match="within an exponent of 690.*; take the exponent"):
            valley.mean_time(even)
    with pytest.raises(ValueError, match="within an exponent of 690"):
        valley.mean_time(LevelSet(3.0))
    with pytest.raises(ValueError, match="compare the exponents"):
        LevelTilt((4.0, 3.0), (2.5, 2.5), 2.2).over_null(learning_rate=1e-6, batch_size=3)
    line, x, y = networks.linear(1), [[1.0], [1.0]], [1.0, -1.0]
    with pytest.raises(ValueError, match="direction must not be zero"):
        level_tilt(line, [0.0], x, y, height=0.1, direction=[0.0])
    with pytest.raises(ValueError, match="minimum must be one parameter vector"):
        level_tilt(line, [[0.0], [5.0]], x, y, height=0.1)


@pytest.mark.parametrize("unit", [2.0**-50, 2.0**-64, 2.0**-200])
def test_a_valley_of_any_size_is_simulated(unit):
    curves, noise = np.diag([2.0, 0.5]), np.diag([0.2, 0.8])
    for way, small in (
        (Box((0, 0), (0.25, 0.8)), Box((0, 0), (0.25 * unit, 0.8 * unit))),
        (LevelSet(0.1), LevelSet(0.1 * unit**2)),
    ):
        wide, narrow = Valley(curves, noise, 0.1), Valley(curves, noise * unit**2, 0.1)
        truth = wide.simulated(way, walkers=200, seed=1).times
        np.testing.assert_array_equal(narrow.simulated(small, walkers=200, seed=1).times, truth)
