"""Least actions against closed forms, quadrature, Hamilton's equations, a grid, a chain."""

import numpy as np
import pytest
import sympy as sp
from numpy.polynomial.legendre import leggauss
from scipy.integrate import quad, solve_ivp
from scipy.linalg import solve_continuous_lyapunov
from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr

from ddt_utils import _curve, catalog, chains, critical, generator, paths
from ddt_utils.action import (
    Cumulants,
    Diffusion,
    SampleGradients,
    jump_action,
    least_action,
    minibatches,
)
from ddt_utils.landscape import Landscape
from ddt_utils.noise import FactorNoise, MinibatchNoise, StateDependentNoise, WhiteNoise

x, y, z = sp.symbols("x y z", real=True)
u = sp.Symbol("u", real=True)
BOX = ((-2, 2),) * 2
PLANE = Landscape(x**2 + y**2, (x, y), name="plane", box=BOX)
THETA, Q = sp.symbols("theta q", real=True)


def gorge(degrees):
    """The pass of the chapter on saddles, four times as stiff as its valleys, turned."""
    stiffness = 4 - 3 * (2 * u**2 / (1 + u**4)) ** 2
    return catalog.rotated_double_well(angle=sp.pi * degrees / 180, stiffness=stiffness)


def points_of(landscape):
    return critical.minima(landscape)[0], critical.saddles(landscape)[0]


@pytest.mark.parametrize("start, end", [(-1, 0), (np.float32(-1), sp.Integer(0)), ([-1], 0.0)])
def test_a_number_is_a_place_on_a_line(start, end):
    process = Diffusion(catalog.quartic(), WhiteNoise(0.07))
    found = least_action(process, start, end)
    assert found.value == pytest.approx(0.25 / 0.07, rel=1e-8)
    assert np.array_equal(found.points, least_action(process, [-1.0], [0.0]).points)
    for wrong in ("-1", None, True, 1j):
        with pytest.raises(ValueError, match="start must be a finite real number"):
            least_action(process, wrong, end)
    with pytest.raises(ValueError, match=r"start must be an array of shape \(2\), got shape \(\)"):
        least_action(Diffusion(PLANE, WhiteNoise(0.07)), -1, end)


# --- diffusions ----------------------------------------------------------------------------------


def test_even_noise_costs_the_barrier_along_the_path_of_lowest_loss():
    well = gorge(35)
    (start, other), (pass_,) = critical.minima(well), critical.saddles(well)
    found = least_action(Diffusion(well, WhiteNoise(0.07)), start, pass_)
    barrier = pass_.value - start.value
    assert found.value == pytest.approx(barrier / 0.07, rel=1e-8)
    assert found.error < 1e-6 and np.sum(found.costs) == pytest.approx(found.value, rel=1e-4)
    ends = [start.location, pass_.location]
    np.testing.assert_allclose(found.points[[0, -1]], ends, atol=1e-14)
    lowest = paths.minimum_energy_path(well, start, other).points
    away = np.linalg.norm(found.points[:, None] - lowest, axis=2).min(axis=1)
    assert away.max() < 0.02
    whole = least_action(Diffusion(well, WhiteNoise(0.07)), start, other, links=24)
    assert whole.value == pytest.approx(barrier / 0.07, rel=1e-4)  # downhill is free


def test_on_a_line_it_is_the_integral_of_the_slope_over_d():
    well, strength = catalog.quartic(), (1 + 2 * x**2) / 25
    (v,) = well.variables
    noise = StateDependentNoise(strength.subs(x, v))
    found = least_action(Diffusion(well, noise), [-1], [0])
    exact = quad(lambda t: (t**3 - t) * 25 / (1 + 2 * t**2), -1, 0)[0]
    assert abs(found.value - exact) < max(found.error, 1e-9 * exact) and found.error < 1e-5


@pytest.mark.parametrize(
    "pull, factor, end, error",
    [
        ([[1.7, 0.4, 0], [-0.9, 2.3, 0.5], [0.3, 0, 3.1]], [0.5, 0.3, 0.7], [0.8, -0.5, 0.6], 1e-3),
        ([[1.0, 2.0], [-1.5, 0.7]], [0.5, 0.4], [0.8, -0.5], 2e-2),  # it spirals out of a focus
    ],
)
def test_a_linear_drift_has_the_quasipotential_of_its_covariance(pull, factor, end, error):
    pull, end, n = np.array(pull), np.array(end), len(end)
    half = np.diag(factor) + 0.1 * np.eye(n, k=1)
    covariance = solve_continuous_lyapunov(pull, 2 * half @ half.T)
    variables = (x, y, z)[:n]
    plain = Landscape(sum(v**2 for v in variables), variables, name="plain", box=((-2, 2),) * n)
    drift = tuple(-sp.Matrix(pull.tolist()) * sp.Matrix(variables))
    process = Diffusion(plain, FactorNoise(half), drift=drift)
    found = least_action(process, np.zeros(n), end)
    exact = end @ np.linalg.solve(covariance, end) / 2
    assert abs(found.value - exact) < found.error < error
    momentum = np.linalg.solve(covariance, found.points[-1] + found.points[-2]) / 2
    np.testing.assert_allclose(found.momenta[-1], momentum, rtol=0.02, atol=0.02)
    finer = least_action(process, np.zeros(n), end, links=64)
    assert np.abs(finer.hamiltonian).max() < 0.4 * np.abs(found.hamiltonian).max() < 0.1


def maier_stein(beta):
    drift = (x - x**3 - beta * x * y**2, -(1 + x**2) * y)
    return Diffusion(PLANE, WhiteNoise(1.0), drift=drift)


def shot(beta, angle):
    """Hamilton's equations from beside the minimum: the action at the nearest point to the pass."""

    def flow(t, state):
        a, b, p, q, _ = state
        drift = np.array([a - a**3 - beta * a * b**2, -(1 + a**2) * b])
        turn = [
            (1 - 3 * a**2 - beta * b**2) * p - 2 * a * b * q,
            -2 * beta * a * b * p - (1 + a**2) * q,
        ]
        velocity = drift + 2 * np.array([p, q])
        return [*velocity, -turn[0], -turn[1], velocity @ [p, q]]

    aside = 1e-4 * np.array([np.cos(angle), np.sin(angle)])  # there p = 2 δ, S = δ²
    start = [-1 + aside[0], aside[1], *(2 * aside), 1e-8]
    times = np.linspace(0, 14, 1401)
    path = solve_ivp(flow, (0, 14), start, "DOP853", times, rtol=1e-10, atol=1e-13).y
    nearest = np.argmin(path[0] ** 2 + path[1] ** 2)
    return float(np.hypot(*path[:2, nearest])), float(path[4, nearest])


def test_the_maier_stein_pass_before_and_after_its_path_leaves_the_axis():
    """Below β = 4 the axis, S = 1/4 (Physical Review E 48, 931, 1993); then a curve beside it."""
    straight = least_action(maier_stein(3), [-1, 0], [0, 0])
    assert straight.value == pytest.approx(0.25, abs=1e-8)
    assert np.abs(straight.points[:, 1]).max() < 1e-3
    bowed = least_action(maier_stein(10), [-1, 0], [0, 0])
    assert np.abs(bowed.points[:, 1]).max() > 0.3 and bowed.error < 1e-6
    best = minimize_scalar(
        lambda angle: shot(10, angle)[0],
        bounds=(1.223, 1.231),
        method="bounded",
        options={"xatol": 1e-9},
    )
    distance, action = shot(10, best.x)
    assert distance < 0.02
    assert bowed.value == pytest.approx(action, abs=distance**2)


def test_uneven_noise_bends_the_path_as_the_chapter_on_saddles_found():
    exponents = []
    for angle in (0, 60, 90):
        well, mean = gorge(angle), 0.05
        noise = StateDependentNoise((sp.Float(1.5 * mean), sp.Float(0.5 * mean)))
        found = least_action(Diffusion(well, noise), *points_of(well), links=24)
        exponents.append(found.value * mean / 0.25)
    assert exponents == pytest.approx([2 / 3, 1.4249, 2], abs=1e-4)


def test_the_grid_s_waiting_times_grow_with_the_least_action():
    """Slope of ln τ in 1/ε, over powers of ε; D is full and depends on the place."""
    well = gorge(0)
    v, w = well.variables
    matrix = sp.Matrix([[1 - v / 4, sp.Rational(3, 5)], [sp.Rational(3, 5), 1 + w**2]])
    wanted = least_action(Diffusion(well, StateDependentNoise(matrix)), [-1, 0], [0, 0])
    along = quad(lambda t: (t**3 - t) / (1 - t / 4), -1, 0)[0]
    assert abs(wanted.value / along - 1) > 0.05  # so it is not the axis that decides
    tall, times = np.linspace(4, 9, 5), []
    for height in tall:
        noise = StateDependentNoise(0.25 / height * matrix)
        two = []
        for cells in (40, 80):
            grid = generator.fokker_planck(
                well, noise, cells=(2 * cells, cells), box=((-2, 1), (-1.4, 1.4)), exit=v >= 1
            )
            near = np.argmin(np.abs(grid.axes[0] + 1)), np.argmin(np.abs(grid.axes[1]))
            two.append(np.log(grid.mean_first_passage_time()[near]))
        times.append((4 * two[1] - two[0]) / 3)
    powers = np.stack([tall, tall**0, 1 / tall, tall**-2.0])
    found, short = ((np.linalg.pinv(powers[:n].T) @ times)[0] * 0.25 for n in (4, 3))
    assert abs(found - wanted.value) < 3 * abs(found - short) < 0.01 * wanted.value


# --- minibatches ---------------------------------------------------------------------------------

VALUES = np.array([-2.0, 0.5, 0.9, -0.3, 0.9])


def fits(values, variable=x):
    """Sample losses of a mean, and the landscape."""
    losses = tuple((variable - sp.Float(v)) ** 2 / 2 for v in values)
    mean = sp.expand(sum(losses) / len(losses))
    return losses, Landscape(mean, (variable,), name="mean", box=((-3, 3),))


def root(gradients):
    """The other q with E exp(-q g) = 1."""
    return brentq(lambda q: np.log(np.mean(np.exp(-q * gradients))), 1e-9, 60, xtol=1e-14)


@pytest.mark.parametrize("replacement, size", [(True, 1), (True, 3), (False, 1), (False, 3)])
def test_in_one_dimension_it_is_the_integral_of_the_root(replacement, size):
    losses, bowl = fits(VALUES)
    drawn = MinibatchNoise(losses, 0.07, size, replacement=replacement)
    found = least_action(minibatches(bowl, drawn), [0], [0.35])
    one = (
        VALUES
        if replacement or size == 1
        else (-VALUES.sum() + VALUES[:, None] + VALUES)[np.triu_indices(5, 1)] / -3
    )  # the batches of three are what two leave
    scale = size / 0.07 if replacement else 1 / 0.07
    exact = scale * quad(lambda t: root(t - one), 1e-9, 0.35, epsabs=1e-12)[0]
    assert abs(found.value - exact) < max(found.error, 1e-9 * exact) and found.error < 1e-5
    gauss = least_action(Diffusion(bowl, drawn), [0], [0.35]).value
    cut = 1 if replacement else (5 - size) / 4
    assert gauss == pytest.approx(0.35**2 * size / 0.07 / VALUES.var() / cut, rel=1e-9)
    assert found.value > 1.05 * gauss  # the outlier is on the other side


def plane_of(first, second):
    """All pairs of two sets of slopes, in the plane: independent noise, and its process."""
    shifts = np.array([(a, b) for a in first for b in second])
    losses = tuple(((x - sp.Float(a)) ** 2 + 3 * (y - sp.Float(b)) ** 2) / 2 for a, b in shifts)
    plane = Landscape(sp.expand(sum(losses) / len(losses)), (x, y), name="pairs", box=BOX)
    return plane, losses


def test_independent_directions_add():
    """K = K₁(q₁) + K₂(q₂), so the quasi-potential is a sum, on a curve that is not straight."""
    first, second = np.array([-2.0, 0.7, 1.3]), np.array([-0.5, -0.4, 0.9])
    plane, losses = plane_of(first, second)
    drawn = MinibatchNoise(losses, 0.2, 3)
    found = least_action(minibatches(plane, drawn), [0, 0], [0.6, 0.5])
    exact = quad(lambda t: root(t - first), 1e-9, 0.6)[0]
    exact = 15 * (exact + quad(lambda t: root(3 * (t - second)), 1e-9, 0.5)[0])
    assert abs(found.value - exact) < found.error < 2e-3 * exact
    ends = 15 * np.array([root(0.6 - first), root(3 * (0.5 - second))])
    np.testing.assert_allclose(found.momenta[-1], ends, rtol=0.02)
    straight = found.points[:, 0] * 0.5 / 0.6
    assert np.abs(found.points[:, 1] - straight).max() > 0.05
    assert np.abs(found.hamiltonian).max() < 0.02


def test_where_noise_is_much_larger_than_the_slope_it_is_the_diffusion():
    """To second order in q the two Hamiltonians agree, so with symmetric noise the rest is 1/s²."""
    rest = []
    for spread in (2.0, 4.0):
        values = spread * np.array([-1.0, -0.2, 0.2, 1.0])
        plane, losses = plane_of(values, 0.5 * values)
        drawn = MinibatchNoise(losses, 0.3, 2)
        process = minibatches(plane, drawn)
        gauss = least_action(Diffusion(plane, drawn), [0, 0], [0.3, -0.2], links=12)
        again = SampleGradients(
            process.gradients, 2, learning_rate=0.3, batch_size=2, gaussian=True
        )
        assert least_action(again, [0, 0], [0.3, -0.2], links=12).value == pytest.approx(
            gauss.value, rel=1e-7
        )
        rest.append(least_action(process, [0, 0], [0.3, -0.2], links=12).value / gauss.value - 1)
    assert abs(rest[0]) > 1e-3
    assert rest[0] / rest[1] == pytest.approx(4, rel=0.1)


def test_a_curve_of_other_samples_than_a_landscape_s():
    """Six samples of a pass; a gradient by hand, its Hessian products by differences, one S."""
    rng = np.random.default_rng(5)
    twists = rng.normal(size=(6, 2))
    twists -= twists.mean(axis=0)
    losses = tuple(
        (x**2 - 1) ** 2 / 4 + y**2 + sp.Float(a) * x * (1 + y) + sp.Float(b) * y for a, b in twists
    )
    pass_ = Landscape(sp.expand(sum(losses) / 6), (x, y), name="pass", box=BOX)

    def gradients(points):
        a, b = twists.T
        v, w = points.T[..., None]
        return np.stack([v**3 - v + a * (1 + w), 2 * w + a * v + b], axis=-1)

    drawn = MinibatchNoise(losses, 0.1, 4)
    one = least_action(minibatches(pass_, drawn), [-1, 0], [0, 0])
    two = least_action(
        SampleGradients(gradients, 2, learning_rate=0.1, batch_size=4), [-1, 0], [0, 0]
    )
    assert one.value == pytest.approx(two.value, rel=1e-9) and one.error < 1e-4 * one.value
    p, place = np.array([[3.0, -2.0]]), np.array([[0.4, 0.3]])
    g = gradients(place)[0]
    exact = 40 * np.log(np.mean(np.exp(-g @ p[0] / 40)))
    assert minibatches(pass_, drawn).hamiltonian(place, p) == pytest.approx(exact, rel=1e-12)


# --- tails ---------------------------------------------------------------------------------------


def regression(sigma, eta, size):
    """A line through pairs (ξ, σζ), both standard normal; θ is the error of its slope."""
    inside = 1 + 2 * Q * THETA - Q**2 * sp.Float(sigma) ** 2
    return Cumulants(
        -sp.log(inside) / 2, (THETA,), (Q,), learning_rate=eta, batch_size=size, tails=inside
    )


def jump_by_hand(sigma, end):
    """min over t of t²/σ² + (end − t)·(edge at t)."""

    def cost(t):
        return t**2 / sigma**2 + (end - t) * (t + np.sqrt(t**2 + sigma**2)) / sigma**2

    return minimize_scalar(cost, bounds=(-end, end), method="bounded", options={"xatol": 1e-10})


@pytest.mark.parametrize("end, jumps", [(0.3, False), (0.75, True)])
def test_a_gaussian_regression_climbs_near_and_jumps_far(end, jumps):
    process = regression(0.5, 0.2, 3)
    climb, jump = (f(process, [0], [end]) for f in (least_action, jump_action))
    by_hand = jump_by_hand(0.5, end)
    assert climb.value == pytest.approx(15 * end**2 / 0.25, rel=1e-9)
    assert jump.value == pytest.approx(15 * by_hand.fun, rel=1e-7)
    assert (jump.value < climb.value - 1e-6) == jumps
    if jumps:
        assert jump.points[-2] == pytest.approx([by_hand.x], abs=1e-4) and by_hand.x < -0.1


def test_in_the_plane_the_step_leaves_from_the_other_side_too():
    """Two features, E exp(-q·g) by a determinant; any direction costs the same."""
    place, tilt = sp.symbols("t:2", real=True), sp.symbols("q:2", real=True)
    t, q = sp.Matrix(place), sp.Matrix(tilt)
    inside = sp.expand((sp.eye(2) + q * t.T + t * q.T - q * q.T / 4).det())
    process = Cumulants(
        -sp.log(inside) / 2, place, tilt, learning_rate=0.2, batch_size=3, tails=inside
    )
    way = np.array([np.cos(0.7), np.sin(0.7)])
    found, by_hand = jump_action(process, [0, 0], 0.75 * way, links=4), jump_by_hand(0.5, 0.75)
    assert found.value == pytest.approx(15 * by_hand.fun, rel=1e-5)
    np.testing.assert_allclose(found.points[-2], by_hand.x * way, atol=2e-3)
    climb = least_action(process, [0, 0], 0.75 * way, links=4)
    assert climb.value == pytest.approx(15 * 0.75**2 / 0.25, rel=1e-6)


def waiting_time(sigma, eta, end, nodes=240):
    """Mean number of steps of θ ← θ − η ξ(θ ξ − σ ζ) from 0 until |θ| ≥ end: the exact chain.

    Given ξ the step is normal; T is a chain of straight pieces, whose mean under a normal law is
    known.
    """
    grid = np.linspace(-end, end, nodes + 1)
    at, weight = leggauss(40)
    at, weight = np.exp(5 * at - 3), weight * 5 * np.exp(5 * at - 3)
    weight = weight * 2 * np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi)
    weight /= weight.sum()
    chance = np.zeros((nodes + 1, nodes + 1))
    for xi, share in zip(at, weight, strict=True):
        wide = eta * xi * sigma
        off = (grid - (1 - eta * xi**2) * grid[:, None]) / wide
        ramp = wide * (off * ndtr(off) + np.exp(-(off**2) / 2) / np.sqrt(2 * np.pi))
        part = np.diff(ramp, axis=1) / np.diff(grid)  # mean share of the way through each piece
        below = ndtr(off)
        chance[:, :-1] += share * (part - below[:, :-1])
        chance[:, 1:] += share * (below[:, 1:] - part)
    inside = chance[1:-1, 1:-1]
    lost = 1 - inside.sum(axis=1)
    return np.linalg.solve(np.diag(lost + inside.sum(axis=1)) - inside, np.ones(nodes - 1))[
        nodes // 2 - 1
    ]


def slope_in_cold(cold, steps):
    """Slope of the logarithm in 1/η, with powers of η and one in front; with one term less."""
    powers = np.stack([1 / cold, cold**0, np.log(cold), cold])
    return ((np.linalg.pinv(powers[:n].T) @ np.log(steps))[0] for n in (4, 3))


def test_an_exact_chain_s_waiting_times_grow_with_the_jump():
    """The diffusion's slope would be 1.01, that of a climb all the way 3.24."""
    wanted = jump_action(regression(0.5, 1, 1), [0], [0.9]).value
    assert wanted == pytest.approx(1.6477, rel=1e-4)
    cold = 1 / np.linspace(5, 12, 5)
    found, short = slope_in_cold(cold, [waiting_time(0.5, eta, 0.9) for eta in cold])
    assert abs(found - wanted) < 0.03 * wanted and abs(found - short) < 0.03 * wanted


def test_an_exact_chain_s_waiting_times_grow_with_the_action_of_skewed_labels():
    """The mean of labels, drawn with Gaussian noise of width 0.5 on each gradient, B = 1."""
    cumulant = sp.log(sum(sp.exp(Q * sp.Float(v)) for v in VALUES) / 5) - Q * THETA + 0.125 * Q**2
    process = Cumulants(cumulant, (THETA,), (Q,), learning_rate=1, batch_size=1)
    wanted = least_action(process, [0], [0.8])
    exact = quad(lambda t: brentq(lambda q: root_of(q, t), 1e-9, 60), 1e-9, 0.8, epsabs=1e-10)[0]
    assert wanted.value == pytest.approx(exact, rel=1e-6)
    gauss = 0.64 / (VALUES.var() + 0.25)
    cold, steps = 1 / np.linspace(6, 18, 5), []
    for eta in cold:
        outcomes = [chains.Outcome(0.2, x - eta * (x - sp.Float(v)), 0.5 * eta) for v in VALUES]
        steps.append(chains.Chain(outcomes, x, (-2.5, 2)).mean_steps(start=0, upper=0.8, rtol=1e-6))
    found, short = slope_in_cold(cold, steps)
    assert abs(found - wanted.value) < 3 * abs(found - short) < 0.06 * wanted.value
    assert wanted.value > 1.1 * gauss


def root_of(q, t):
    return np.log(np.mean(np.exp(q * VALUES))) - q * t + 0.125 * q**2


# --- what is refused -----------------------------------------------------------------------------


def test_a_way_that_no_batch_steps_is_refused():
    losses, bowl = fits(VALUES)
    drawn = MinibatchNoise(losses, 0.07, 2)
    with pytest.raises(ArithmeticError, match="does some draw step that way"):
        least_action(minibatches(bowl, drawn), [0], [0.95])  # the largest sample is 0.9
    assert least_action(minibatches(bowl, drawn), [0], [0.85]).value > 0


@pytest.mark.parametrize(
    "noise, end", [((x - 1) ** 2, 2), (sp.Abs(x - 1), 2), ((x - sp.Rational(37, 100)) ** 2, 1.5)]
)
@pytest.mark.parametrize("links", [8, 32, 200])
def test_a_way_through_a_place_without_noise_has_no_price(noise, end, links):
    """∫ L'/D dx diverges there, as a power or as a logarithm."""
    bowl = Landscape(x**2 / 2, (x,), name="bowl", box=((-3, 3),))
    with pytest.raises(ArithmeticError, match="settle as links are added"):
        least_action(Diffusion(bowl, StateDependentNoise(noise)), [0], [end], links=links)


def test_a_way_past_a_place_with_hardly_any_noise_has_one():
    """D = √|x − 1| can be integrated over, and a floor of 1e-3 makes it fourteen times as dear."""
    bowl = Landscape(x**2 / 2, (x,), name="bowl", box=((-3, 3),))
    for noise in (sp.sqrt(sp.Abs(x - 1)), (x - 1) ** 2 + 1e-3):
        dear = sp.lambdify(x, x / noise)
        truth = quad(dear, 0, 2, points=[1], limit=500)[0]
        found = least_action(Diffusion(bowl, StateDependentNoise(noise)), [0], [2], links=64)
        assert found.value == pytest.approx(truth, rel=0.03)
        assert abs(found.value - truth) < 4 * found.error


def test_points_lie_where_the_cost_is_paid_if_much_of_the_way_is_free():
    """Half of the links evenly, half where the first half of the way is paid: 15 of 20."""

    class Even:
        def width(self, points):
            return np.eye(1)

    points = np.linspace(0, 3, 11)[:, None]
    shares = _curve.dense(Even(), points, np.repeat([0.4, 0.0], 5), 20)
    assert shares[0] == 0 and shares[-1] == 1 and (np.diff(shares) > 0).all()
    assert shares[15] == pytest.approx(0.5)
    assert _curve.dense(Even(), points, np.linspace(0.1, 1, 10), 20) is None


def test_a_first_guess_chooses_among_two_curves():
    """A round bowl with a hot quadrant: around on one side or on the other."""
    hot = (1 + 3 * sp.exp(-4 * (y - 1) ** 2) + sp.exp(-4 * (y + 1) ** 2)) / 10
    ring = Landscape((x**2 + y**2 - 1) ** 2 - x / 2, (x, y), name="ring", box=BOX)
    process = Diffusion(ring, StateDependentNoise(hot))
    start, pass_ = critical.minima(ring)[0], critical.saddles(ring)[0]
    upper, lower = (
        least_action(process, start, pass_, through=through)
        for through in ([0, 1], [[0.5, -0.8], [0, -1], [-0.5, -0.8]])
    )
    assert upper.points[:, 1].max() > 0.8 and lower.points[:, 1].min() < -0.8
    assert upper.value < 0.9 * lower.value
    assert upper.error < 1e-5 * upper.value
    with pytest.raises(ArithmeticError, match="has a corner.*end it there"):
        least_action(process, start, [-1.1, 0], through=[0, 1], links=8)


def test_a_drift_that_is_the_gradient_changes_nothing():
    well = gorge(35)
    drift = tuple(-g for g in well.gradient_expression)
    noise = StateDependentNoise((1 + well.variables[0] ** 2 / 3) / 9)
    one, two = (
        least_action(Diffusion(well, noise, drift=d), *points_of(well)) for d in (None, drift)
    )
    assert one.value == pytest.approx(two.value, rel=1e-9)


LOSSES, BOWL = fits(VALUES)
DRAWN = MinibatchNoise(LOSSES, 0.1, 2)
WHITE = WhiteNoise(0.1)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Diffusion(BOWL, 0.1), "noise must be a Noise"),
        (lambda: Diffusion("x", WHITE), "landscape must be a Landscape"),
        (lambda: Diffusion(PLANE, WHITE, drift=(x,)), "drift must have 2 entries"),
        (lambda: Diffusion(PLANE, WHITE, drift=(x, z)), "got also {z}"),
        (lambda: Diffusion(PLANE, WHITE, drift=("x", y)), "numbers or SymPy"),
        (lambda: minibatches(BOWL, WHITE), "noise must be a MinibatchNoise"),
        (lambda: minibatches(PLANE, DRAWN), "must be the mean"),
        (
            lambda: minibatches(
                fits(range(20))[1], MinibatchNoise(fits(range(20))[0], 0.1, 9, replacement=False)
            ),
            "at most 3000 batches.*167960",
        ),
        (
            lambda: SampleGradients(np.ones((3, 2)), 2, learning_rate=1, batch_size=1),
            "gradients must be a function",
        ),
        (lambda: SampleGradients(len, 0, learning_rate=1, batch_size=1), "dimension must be"),
        (lambda: SampleGradients(len, 1, learning_rate=-1, batch_size=1), "learning_rate must be"),
        (
            lambda: SampleGradients(len, 1, learning_rate=1, batch_size=1, gaussian="no"),
            "gaussian must be one of",
        ),
        (
            lambda: least_action(
                SampleGradients(lambda p: p, 1, learning_rate=1, batch_size=1), [0], [1]
            ),
            "gradients must be an array of shape",
        ),
        (
            lambda: Cumulants(Q * THETA, (THETA,), (THETA,), learning_rate=1, batch_size=1),
            "different symbols",
        ),
        (lambda: Cumulants(Q * x, (THETA,), (Q,), learning_rate=1, batch_size=1), "got also {x}"),
        (
            lambda: Cumulants(Q + THETA, (THETA,), (Q,), learning_rate=1, batch_size=1),
            "zero at q = 0, got theta",
        ),
        (lambda: least_action(BOWL, [0], [1]), "process must be a Diffusion"),
        (lambda: least_action(Diffusion(BOWL, WHITE), [0], [0]), "different points"),
        (lambda: least_action(Diffusion(BOWL, WHITE), [0, 1], [0]), "start must be an array"),
        (lambda: least_action(Diffusion(BOWL, WHITE), [0], [1], links=3), "links must be"),
        (
            lambda: least_action(Diffusion(PLANE, WHITE), [0, 0], [1, 0], through=[1]),
            "through must be an array",
        ),
        (
            lambda: least_action(Diffusion(PLANE, FactorNoise([[1], [2]])), [0, 0], [1, 0]),
            "positive definite",
        ),
        (lambda: jump_action(minibatches(BOWL, DRAWN), [0], [1]), "bounded gradients have none"),
        (
            lambda: jump_action(
                Cumulants(
                    Q**2 / 2 - Q * THETA,
                    (THETA,),
                    (Q,),
                    learning_rate=1,
                    batch_size=1,
                    tails=1 + Q**2,
                ),
                [0],
                [1],
            ),
            "without an edge no step is long",
        ),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
