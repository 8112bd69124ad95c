"""The flow towards flat places, against an ODE solver, exact clouds and a step of many walkers."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from ddt_utils import networks
from ddt_utils.flattening import cloud_flow, flow

X, Y = [[1.0], [2.0]], [1.0, 3.0]
DIAGONAL = networks.diagonal_linear(1)  # outputs (u² − v²) x
SQUARES, CROSS = np.mean(np.square(X)), np.mean(np.prod([np.ravel(X), Y], axis=0))


def parts(theta):
    """Loss and trace of H of (u² − v²) x, and their slopes, by hand."""
    u, v = theta
    w = u**2 - v**2
    loss = (SQUARES * w**2 - 2 * CROSS * w + np.mean(np.square(Y))) / 2
    slope = (SQUARES * w - CROSS) * np.array([2 * u, -2 * v])
    trace = SQUARES * (4 * u**2 + 4 * v**2)  # Σ (∂w)²; the second derivatives of w cancel
    return loss, slope, trace, SQUARES * np.array([8 * u, 8 * v])


@pytest.mark.parametrize("noise, level", [("loss", None), (0.7, 0.7)])
def test_the_flow_is_that_of_an_ode_solver(noise, level):
    ratio, start, time = 0.13, np.array([1.6, 0.9]), 1.0

    def force(t, theta):
        loss, slope, _, bend = parts(theta)
        return -slope - ratio / 4 * (2 * loss if level is None else level) * bend

    exact = solve_ivp(force, (0, time), start, rtol=1e-10, atol=1e-12).y[:, -1]
    ends = [
        flow(DIAGONAL, start, X, Y, ratio=ratio, time=time, step=step, noise=noise)[0].numpy()
        for step in (0.01, 0.005)
    ]
    np.testing.assert_allclose(2 * ends[1] - ends[0], exact, atol=1e-3)
    still = flow(DIAGONAL, start, X, Y, ratio=0, time=time, step=0.005)[0].numpy()
    assert np.abs(exact - still).max() > 0.05  # what the noise does


def test_a_trace_in_closed_form_is_taken_as_given():
    def trace(theta):
        return SQUARES * 4 * (theta**2).sum(-1)

    given = dict(ratio=0.2, time=0.5, step=0.01)
    starts = [[1.6, 0.9], [1.2, 0.4]]
    one = flow(DIAGONAL, starts, X, Y, **given)
    torch.testing.assert_close(flow(DIAGONAL, starts, X, Y, **given, trace=trace), one)
    other = flow(DIAGONAL, starts, X, Y, **given, trace=lambda t: 2 * trace(t))
    assert (one - other).abs().max() > 0.01


def test_without_noise_it_is_descent():
    start = np.array([1.6, 0.9])
    end = flow(DIAGONAL, start, X, Y, ratio=0, time=0.3, step=0.1)[0].numpy()
    for _ in range(3):
        start = start - 0.1 * parts(start)[1]
    np.testing.assert_allclose(end, start)


def test_a_cloud_in_a_bowl_widens_as_it_must():
    """S of an Ornstein–Uhlenbeck process, with the noise of the samples and with Σ = cH."""
    bend = np.array([[2.0, 0.6], [0.6, 1.1]])
    bowl = networks.quadratic(bend)
    x = np.array([[1.0, 0.2], [-0.7, 0.1], [0.3, -1.2]])
    given, ratio, time = dict(ratio=0.3, step=0.05), 0.3, 0.8
    drawn = bend @ np.cov(x.T, bias=True) @ bend
    for noise, sigma in (("samples", drawn), (1.7, 1.7 * bend)):
        got = cloud_flow(bowl, x.mean(axis=0), x, np.zeros(3), time=time, noise=noise, **given)
        values, axes = np.linalg.eigh(bend)
        pair = values[:, None] + values
        exact = ratio * (1 - np.exp(-time * pair)) / pair * (axes.T @ sigma @ axes)
        np.testing.assert_allclose(got.covariance[0].numpy(), axes @ exact @ axes.T, rtol=1e-9)
        np.testing.assert_allclose(got.theta[0].numpy(), x.mean(axis=0), atol=1e-12)


def test_a_cloud_at_rest_pulls_as_the_first_flow_does():
    """Slow along the valley, fast across it: after a while both flows slide alike."""
    start, ratio = [1.5, 0.5], 0.02
    given = dict(ratio=ratio, time=4.0, step=0.05)
    x, y = [[1.0]], [2.0]
    slow = flow(DIAGONAL, start, x, y, noise=1.0, **given)[0]
    cloud = cloud_flow(DIAGONAL, start, x, y, noise=1.0, **given)
    still = flow(DIAGONAL, start, x, y, **(given | dict(ratio=0)))[0]
    moved, also = (place[1] - still[1] for place in (slow, cloud.theta[0]))
    assert float(also / moved) == pytest.approx(1, abs=0.06)
    assert float(moved) < -0.01


def test_the_cloud_pulls_with_half_of_the_trace():
    """One step from a given cloud: −½∇tr(HS), by differences of the Hessian by hand."""
    start, step = np.array([1.6, 0.9]), 0.001
    one = cloud_flow(DIAGONAL, start, X, Y, ratio=0.5, time=2 * step, step=step, noise=2.0)
    first = cloud_flow(DIAGONAL, start, X, Y, ratio=0.5, time=step, step=step, noise=2.0)
    S, place = first.covariance[0].numpy(), first.theta[0].numpy()

    def bend(theta):
        (u, v), pull = theta, SQUARES * (theta[0] ** 2 - theta[1] ** 2) - CROSS
        turn = 4 * SQUARES * np.array([[u * u, -u * v], [-u * v, v * v]])
        return turn + 2 * pull * np.diag([1, -1])

    extra = np.array(
        [np.sum(S * (bend(place + h) - bend(place - h))) / 4e-5 for h in 1e-5 * np.eye(2)]
    )
    expected = place - step * (parts(place)[1] + extra)
    np.testing.assert_allclose(one.theta[0].numpy(), expected, atol=1e-9)
    assert np.abs(step * extra).max() > 1e-6


@pytest.mark.parametrize("how", [flow, cloud_flow])
@pytest.mark.parametrize(
    "change, words",
    [
        (dict(ratio=-0.1), "ratio"),
        (dict(time=0), "time"),
        (dict(step=np.nan), "step"),
        (dict(noise="white"), "noise"),
        (dict(noise=-1), "noise"),
        (dict(starts=[1.0, 2.0, 3.0]), "2 parameters"),
    ],
)
def test_what_makes_no_sense_is_refused(how, change, words):
    given = dict(starts=[1.0, 0.5], ratio=0.1, time=1.0) | change
    with pytest.raises(ValueError, match=words):
        how(DIAGONAL, given.pop("starts"), X, Y, **given)


def test_a_step_that_is_too_large_is_told():
    with pytest.raises(ArithmeticError, match="ran away"):
        flow(DIAGONAL, [5.0, 0.5], X, Y, ratio=0.1, time=300, step=3.0)


@pytest.mark.parametrize("time, step", [(0.05, 0.2), (1.0, 0.3), (0.7, 0.25)])
def test_a_flow_ends_when_it_is_asked_to(time, step):
    """In a bowl Euler's method multiplies by 1 − hλ; n equal steps of at most h end at the time."""
    bowl, x, y = networks.quadratic([[0.8]]), [[0.0], [0.0]], [0.0, 0.0]
    count = math.ceil(time / step)
    truth = 1.7 * (1 - 0.8 * time / count) ** count
    end = flow(bowl, [1.7], x, y, ratio=0, time=time, step=step)
    assert float(end) == pytest.approx(truth, rel=1e-12)
    end = cloud_flow(bowl, [1.7], x, y, ratio=0.1, time=time, step=step, noise=3)
    assert float(end.theta) == pytest.approx(truth, rel=1e-12)
    width = 0.15 * (1 - math.exp(-2 * 0.8 * time))  # S of the linear equation, ηc/2B at rest
    assert float(end.covariance) == pytest.approx(width, rel=1e-9)


@pytest.mark.parametrize(
    "trace, got",
    [
        (lambda theta: 4 * (theta**2).sum(1, keepdim=True), r"got shape \(2, 1\)"),
        (lambda theta: (theta**2).sum(), r"got shape \(\)"),
        (3, "got shape 3"),
    ],
)
def test_a_trace_of_another_shape_is_refused(trace, got):
    """It would be broadcast: each place would be pulled by the loss of all."""
    net, starts = networks.diagonal_linear(1), [[1.5, 0.5], [1.0, 1.2]]
    with pytest.raises(ValueError, match="one number for each of 2 places, " + got):
        flow(net, starts, [[1.0]], [2.0], ratio=0.1, time=1, trace=trace)
