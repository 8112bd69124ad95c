"""Exponents of a network's ways out, against integrals on a line and the rooms beneath."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq

from ddt_utils import curvature, exponents, networks, passes
from ddt_utils.action import SampleGradients, least_action
from tests import models

X, Y = np.array([[1.0], [0.5], [1.5], [2.0]]), np.array([1.5, 0.2, 0.4, 3.3])
RATE, BATCH = 0.3, 5


def slopes(w):
    """The sample gradients, by hand."""
    return 2 * w * X[:, 0] * (w**2 * X[:, 0] - Y)


@pytest.fixture(scope="module")
def way():
    model = models.well()
    minimum = np.sqrt(X[:, 0] @ Y / (X[:, 0] @ X[:, 0]))
    found = passes.over(model, [0.1], X, Y, start=[minimum])
    assert found.minimum.location[0] == pytest.approx(minimum)
    return found


def test_on_a_line_every_exponent_is_an_integral(way):
    """White noise in addition keeps the noise alive at the saddle, where all samples rest."""
    a, floor, model = way.minimum.location[0], 0.2, models.well()
    got = exponents.exponents(
        model, way, X, Y, learning_rate=RATE, batch_size=BATCH, floor=floor, links=16
    )
    noise = lambda w: slopes(w).var() + floor  # noqa: E731
    line = quad(lambda w: -2 * slopes(w).mean() / noise(w), 0, a)[0] * BATCH / RATE
    assert got.diffusion.value == pytest.approx(line, rel=1e-4)
    assert abs(got.diffusion.value - line) < got.diffusion.error + 1e-6 * line
    assert got.lowest_path == pytest.approx(line, rel=4e-3)

    def tilt(w):
        def excess(q):
            return np.log(np.mean(np.exp(-q * slopes(w)))) + floor * q**2 / 2

        guess = 2 * slopes(w).mean() / noise(w)
        return brentq(excess, 0.3 * guess, 5 * guess)

    exact = quad(lambda w: -tilt(w), 1e-9, a - 1e-9)[0] * BATCH / RATE
    assert got.minibatches.value == pytest.approx(exact, rel=1e-4)
    assert abs(exact / line - 1) > 0.02  # the two are told apart
    climb = 2 * BATCH / RATE * way.barrier
    bends = way.minimum.hessian[0, 0], -way.saddle.hessian[0, 0]
    np.testing.assert_allclose(got.theorem, [climb / h for h in bends], rtol=1e-9)
    np.testing.assert_allclose(got.measured_noise, [climb / noise(w) for w in (a, 0.0)], rtol=1e-6)


def test_dials_enter_as_they_should(way):
    one, other = (
        exponents.exponents(
            models.well(), way, X, Y, learning_rate=r, batch_size=b, floor=0.1, actions=False
        )
        for r, b in ((RATE, BATCH), (0.1, 7))
    )
    factor = (7 / 0.1) / (BATCH / RATE)
    assert other.lowest_path == pytest.approx(factor * one.lowest_path)
    np.testing.assert_allclose(other.theorem, factor * np.array(one.theorem))
    np.testing.assert_allclose(other.measured_noise, factor * np.array(one.measured_noise))
    assert one.diffusion is one.minibatches is None


def test_noise_in_several_directions_is_that_along_e():
    """Two weights: Σ and H are taken along the escape direction, the one negative mode."""
    net = networks.fully_connected((1, 1, 1), activation="tanh", loss="squared")
    rng = np.random.default_rng(4)
    x, theta = rng.standard_normal((6, 1)), rng.standard_normal(4)
    at = passes.CriticalPoint(theta, 0.1, np.diag([2.0, 3.0, 5.0, 7.0]))
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    top = passes.CriticalPoint(theta + 0.1, 0.4, turn @ np.diag([-0.7, 1.0, 2.0, 3.0]) @ turn.T)
    points = np.linspace(theta, theta + 0.1, 5)
    way = passes.Pass(at, top, at, points, points + 0.1)
    y = rng.standard_normal(6)
    got = exponents.exponents(
        net, way, x, y, learning_rate=RATE, batch_size=BATCH, floor=0.05, actions=False
    )
    e, climb = turn[:, 0], 2 * BATCH / RATE * 0.3
    noise = [
        e @ curvature.gradient_covariance(net, place, x, y) @ e + 0.05
        for place in (theta, theta + 0.1)
    ]
    np.testing.assert_allclose(got.measured_noise, climb / np.array(noise))
    np.testing.assert_allclose(got.theorem, [climb / (e @ at.hessian @ e), climb / 0.7])


def test_a_model_as_a_process_is_its_sample_gradients():
    """Exact Hessians of the samples against gradients at two places, in three dimensions."""
    net = networks.logistic(3)
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((12, 3)), rng.integers(0, 2, 12)

    def gradients(points):
        return np.stack([curvature.sample_gradients(net, p, x, y) for p in points])

    middles, steps = rng.standard_normal((4, 3)), 0.1 * rng.standard_normal((4, 3))
    for gaussian in (True, False):
        given = dict(learning_rate=RATE, batch_size=BATCH, gaussian=gaussian)
        mine = exponents.minibatches(net, x, y, **given)
        plain = SampleGradients(gradients, 3, **given)
        for one, other in zip(
            mine.prices(middles, steps), plain.prices(middles, steps), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-8)


def test_a_floor_alone_is_white_noise():
    """More parameters than samples: Σ is singular, and a large floor is what decides."""
    net = networks.quadratic(np.diag([2.0, 0.7, 1.3]))
    x, y = np.array([[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]]), np.zeros(2)
    end = np.array([0.4, -0.3, 0.2])
    given = dict(learning_rate=RATE, batch_size=BATCH)
    with pytest.raises(ValueError, match="positive definite"):
        least_action(exponents.minibatches(net, x, y, **given), np.zeros(3), end)
    floor = 30.0  # in comparison the samples' own 0.04 is a small correction along one axis
    found = least_action(exponents.minibatches(net, x, y, **given, floor=floor), 0 * end, end)
    rise = end @ np.diag([2.0, 0.7, 1.3]) @ end / 2
    white = rise / (RATE * floor / (2 * BATCH))
    assert found.value == pytest.approx(white, rel=2e-3)
    assert found.value < white


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(floor=-0.1), "floor"),
        (dict(batch_size=0), "batch_size"),
        (dict(learning_rate="0.1"), "learning_rate"),
        (dict(links=2), "links"),
        (dict(way=None), "way must be a Pass"),
        (dict(x=np.full((4, 1), np.nan)), "finite"),
    ],
)
def test_what_makes_no_sense_is_refused(way, change, words):
    given = dict(way=way, x=X, y=Y, learning_rate=RATE, batch_size=BATCH, floor=0.1) | change
    with pytest.raises(ValueError, match=words):
        exponents.exponents(models.well(), actions=False, **given)


def test_a_path_has_points():
    process = exponents.minibatches(models.well(), X, Y, learning_rate=RATE, batch_size=BATCH)
    for points in ([[1.0]], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="points"):
            exponents.path_integral(process, points)
    assert torch.is_tensor(process.at.x)


def test_a_way_without_noise_is_refused_and_a_wait_costs_nothing():
    well = models.well()
    x, y = [[1.0], [1.0]], [0.0, 2.0]
    given = dict(learning_rate=0.5, batch_size=3)
    process = exponents.minibatches(well, x, y, **given, floor=0.1)
    path = np.linspace(1.0, 0.2, 7)[:, None]
    waits = np.repeat(path, [1, 3, 1, 2, 1, 1, 4], axis=0)
    assert exponents.path_integral(process, waits) == pytest.approx(
        exponents.path_integral(process, path), rel=1e-14
    )
    with pytest.raises(ValueError, match="two places or more, got 3 at one"):
        exponents.path_integral(process, path[[2, 2, 2]])
    with pytest.raises(ValueError, match="noise along the path must be positive"):
        exponents.path_integral(exponents.minibatches(well, x[:1], y[1:], **given), path)
    with pytest.raises(ValueError, match="process must be one of minibatches"):
        exponents.path_integral(3, path)
    way = passes.over(well, [0.1], x, y, start=[1.0])
    with pytest.raises(ValueError, match="noise along the escape direction must be positive"):
        exponents.exponents(well, way, x, y, **given, actions=False)  # none at the saddle, w = 0
