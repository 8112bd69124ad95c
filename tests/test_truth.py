"""The simulator against truths from outside it.

Mean first-passage times in 1 to 10 dimensions, decay rates of the Fokker–Planck operator in two,
stationary densities in two, and random landscapes, noises, exits and options.

The barrier shift removes the leading bias of the time step. What remains is of order dt and is
removed in one of two ways. Where one dimension decides, the mean of the Euler–Maruyama process
itself is known from an integral equation, which gives the bias as a number. Elsewhere two
independent runs are extrapolated, 2 T(dt) − T(2 dt), which leaves a bias of order dt²; in one
dimension and with the same steps it is 0.1 % or so.
"""

from functools import cache

import numpy as np
import pytest
import sympy as sp
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from ddt_utils import exact, generator
from ddt_utils.escape import CENSORED, DIVERGED, ESCAPED
from ddt_utils.landscape import Landscape
from ddt_utils.noise import StateDependentNoise, WhiteNoise
from ddt_utils.simulate import ensemble, first_passage
from tests import problems

PROBLEMS = {p.name: p for p in problems.problems()}
LINES = [name for name, p in PROBLEMS.items() if len(p.start) == 1]
CONVENTIONS = [name for name, p in PROBLEMS.items() if p.isothermal]
ALARM = 1e-5  # of each family of tests
#: standard errors that one of all problems exceeds by chance with half the alarm of the family
LIMIT = stats.norm.isf(ALARM / 2 / len(PROBLEMS) / 2)
COARSE = 0.7  # walkers with twice the step, a share that makes the error smallest for its cost


def extrapolated(quantity, step, walkers, seed):
    """2 q(dt) − q(2 dt) and its standard error, from quantity(step, walkers, seed)."""
    fine, fine_error = quantity(step, walkers, seed)
    coarse, coarse_error = quantity(2 * step, int(COARSE * walkers), seed + 1)
    return 2 * fine - coarse, np.hypot(2 * fine_error, coarse_error)


@cache
def measured(name):
    """The mean of a problem without the bias of the step, its standard error and the truth."""
    problem, truth = PROBLEMS[name], PROBLEMS[name].truth()

    def mean(step, walkers, seed):
        run = first_passage(
            problem.landscape,
            problem.noise,
            start=problem.start,
            exit=problem.exit,
            step=step,
            walkers=walkers,
            seed=seed,
        )
        assert run.escaped == walkers
        return run.mean, run.stderr

    setting = problem.step, problem.walkers, 1000 + 2 * list(PROBLEMS).index(name)
    if problem.line is None:
        return *extrapolated(mean, *setting), truth
    found, error = mean(*setting)
    return found - (problems.discrete_mean(problem.line, problem.step) - truth), error, truth


# --- the truths themselves ------------------------------------------------------------------------


def test_there_are_forty_problems_from_one_to_ten_dimensions():
    assert len(PROBLEMS) >= 40
    assert {len(p.start) for p in PROBLEMS.values()} == {1, 2, 3, 5, 10}


@pytest.mark.parametrize("low", [None, -1.6])
def test_survival_integrates_to_the_mean_of_quadrature(low):
    x = problems.x
    loss, diffusion = x**4 / 4 - x**2 / 2, 0.1 * (1 + x**2)
    well = Landscape(loss, (x,), name="well", box=((-4, 4),))
    noise = StateDependentNoise(diffusion)
    mean = exact.mean_first_passage_time(well, noise, start=-0.8, lower=low, upper=0)
    s = problems.survival(loss, diffusion, start=-0.8, lower=low, upper=0, box=(-4, 4))
    assert s(0.0) == pytest.approx(1, abs=1e-9)
    assert problems.mean_of_first(s, scale=mean) == pytest.approx(mean, rel=2e-5)


def test_the_first_of_two_equal_memoryless_coordinates_takes_half_the_time():
    def s(t):
        return np.exp(-t / 3)

    assert problems.mean_of_first(s, s, scale=1) == pytest.approx(1.5, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_free_diffusion_leaves_a_ball_after_the_square_of_its_radius_over_two_n_d(n):
    time = problems.radial_mean(sp.Integer(0), 0.3, n, start=0.4, upper=1.5)
    assert time == pytest.approx((1.5**2 - 0.4**2) / (2 * n * 0.3), rel=1e-7)


def test_free_diffusion_between_two_spheres():
    """T solves D (T″ + 2T′/r) = −1 with T = 0 on both: −r²/6D + A + B/r."""
    low, high, r, d = 0.5, 1.5, 0.8, 0.3
    b = (low**2 - high**2) / (6 * d) / (1 / low - 1 / high)
    a = low**2 / (6 * d) - b / low
    time = problems.radial_mean(sp.Integer(0), d, 3, start=r, lower=low, upper=high)
    assert time == pytest.approx(-(r**2) / (6 * d) + a + b / r, rel=1e-5)


@pytest.mark.parametrize("name", LINES)
def test_the_bias_of_the_step_is_small_and_of_its_first_power(name):
    """What is subtracted below is 2.5 % at most, and extrapolation leaves 0.15 % of it."""
    problem, truth = PROBLEMS[name], PROBLEMS[name].truth()
    bias = [problems.discrete_mean(problem, problem.step / k) / truth - 1 for k in (1, 2)]
    assert abs(bias[0]) < 0.025
    assert abs(2 * bias[1] - bias[0]) < 1.5e-3


# --- mean first-passage times ---------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_mean_first_passage_time_is_exact(name):
    """Chance fails one of all problems in 2e5 runs; the error is 1 % of the mean at most."""
    mean, error, truth = measured(name)
    assert error < 0.0102 * truth
    assert abs(mean - truth) < LIMIT * error


@pytest.mark.parametrize("name", CONVENTIONS)
def test_the_isothermal_time_is_refused(name):
    mean, error, _ = measured(name)
    assert abs(mean - PROBLEMS[name].isothermal()) > 2 * LIMIT * error


def test_all_problems_together_show_neither_scatter_nor_offset_beyond_chance():
    """Two statistics, a quarter of the alarm of 1e-5 each; an offset of 0.5 % everywhere fails."""
    mean, error, truth = np.transpose([measured(name) for name in PROBLEMS])
    assert np.median(error / truth) <= 0.005
    z = (mean - truth) / error
    assert stats.chi2.sf(np.sum(z**2), len(z)) > ALARM / 4
    assert abs(np.sum(z)) / np.sqrt(len(z)) < stats.norm.isf(ALARM / 8)


# --- the slowest decay in two dimensions ----------------------------------------------------------

u, v = sp.symbols("u v", real=True)
LOSS = 0.3 * u**4 - 0.5 * u**2 + 0.4 * u * v + 0.6 * v**2 + 0.2 * u**2 * v**2  # bounded below
SADDLE = Landscape(LOSS, (u, v), name="coupled", box=((-2.8, 2.8), (-2.4, 2.4)))
SETTLED = 9.0  # the second mode has sunk by e^−9 against the first when clocks start
DECAYS = {  # noise, exit, box whose edges are the exit, angle by which the walkers' plane is turned
    "anisotropic": (StateDependentNoise((0.17, 0.45)), u >= 0.4, ((-2.8, 0.4), (-2.4, 2.4)), 0),
    "state-dependent": (
        StateDependentNoise((0.13 * (1 + 0.5 * v**2), 0.22 * (1 + 0.3 * u**2))),
        u >= 0.4,
        ((-2.8, 0.4), (-2.4, 2.4)),
        0,
    ),
    "state-dependent, two exits": (
        StateDependentNoise((0.21 * (1 + 0.4 * v**2), 0.15 * (1 + 0.6 * u**2))),
        sp.Or(u >= 0.6, v >= 1.2),
        ((-2.8, 0.6), (-2.4, 1.2)),
        0,
    ),
    "a full matrix": (StateDependentNoise((0.19, 0.4)), u >= 0.3, ((-2.8, 0.3), (-2.4, 2.4)), 0.7),
}


def turned(noise, exit, angle):
    """The same problem in a plane turned by an angle, where D is a full matrix."""
    c, s = float(np.cos(angle)), float(np.sin(angle))
    to = {u: c * u + s * v, v: -s * u + c * v}
    loss = LOSS.subs(to, simultaneous=True)
    landscape = Landscape(loss, (u, v), name="turned", box=((-4, 4), (-4, 4)))
    turn = np.array([[c, s], [-s, c]])
    full = turn.T @ np.diag([float(d) for d in noise.expression]) @ turn
    return landscape, StateDependentNoise(sp.Matrix(full)), exit.subs(to, simultaneous=True), turn.T


@pytest.mark.parametrize("name", DECAYS)
def test_late_survivors_leave_at_the_lowest_rate_of_the_operator(name):
    """Family-wise alarm 1e-5; the standard error is near 0.5 %."""
    noise, exit, box, angle = DECAYS[name]
    rates = generator.decay_rates(SADDLE, noise, cells=32, box=box, exit=exit)
    first, second = rates.values
    assert rates.errors[0] < 3e-4 * first
    wait = SETTLED / (second - first)
    landscape, start = SADDLE, np.array([-0.9, 0.25])
    if angle:
        landscape, noise, exit, turn = turned(noise, exit, angle)
        start = turn @ start

    def remaining(step, walkers, seed):
        run = first_passage(
            landscape, noise, start=start, exit=exit, step=step, walkers=walkers, seed=seed
        )
        late = run.after(np.ceil(wait / step) * step)
        return late.mean, late.stderr

    walkers = int(220_000 * np.exp(first * wait))
    mean, error = extrapolated(remaining, 0.008, walkers, 50)
    assert error * first < 0.0065
    assert abs(mean - 1 / first) < stats.norm.isf(ALARM / len(DECAYS) / 2) * error


# --- stationary densities in the plane ------------------------------------------------------------

BOWL = 0.3 * u**4 + 0.5 * u**2 + 0.4 * u * v + 0.6 * v**2 + 0.2 * u**2 * v**2
CUP = Landscape(BOWL, (u, v), name="cup", box=((-3, 3), (-3, 3)))


def chi_square(landscape, noise, log_density, *, seed, reach):
    """p-value of where 40 000 walkers are after a long time, in 12 × 12 bins and outside."""
    edges, fine = np.linspace(-reach, reach, 13), np.linspace(-6, 6, 24 * 50 + 1)
    options = dict(start=(0.3, -0.2), step=0.002, times=[12.0], walkers=40_000, seed=seed)
    states = ensemble(landscape, noise, **options)[0]
    counts = np.histogram2d(*states.T, [edges, edges])[0].ravel()
    weight = np.exp(log_density(*np.meshgrid(fine, fine, indexing="ij")))
    total = integrate.simpson(integrate.simpson(weight, x=fine), x=fine)
    nodes, shares = np.polynomial.legendre.leggauss(6)
    points = (edges[:-1, None] + np.diff(edges)[:, None] / 2 * (1 + nodes)).ravel()
    values = np.exp(log_density(*np.meshgrid(points, points, indexing="ij"))) / total
    values = values.reshape(12, 6, 12, 6) * (np.diff(edges)[0] / 2) ** 2
    mass = np.einsum("aibj,i,j->ab", values, shares, shares).ravel()
    mass, counts = np.r_[mass, 1 - mass.sum()], np.r_[counts, len(states) - counts.sum()]
    rare = mass * len(states) < 5
    mass = np.r_[mass[~rare], mass[rare].sum()]
    counts = np.r_[counts[~rare], counts[rare].sum()]
    return stats.chisquare(counts, mass * len(states)).pvalue


def test_white_noise_in_the_plane_ends_in_the_boltzmann_density():
    value = sp.lambdify((u, v), BOWL)
    noise, options = WhiteNoise(0.35), dict(seed=61, reach=1.5)
    assert chi_square(CUP, noise, lambda a, b: -value(a, b) / 0.35, **options) > ALARM
    assert chi_square(CUP, noise, lambda a, b: -value(a, b) / 0.385, **options) < ALARM


def test_noise_that_grows_with_the_loss_ends_in_the_density_of_ito():
    """∇(D P) = −P ∇L with D = d (1 + L): P ∝ (1 + L)^(−1 − 1/d); isothermal (1 + L)^(−1/d)."""
    value, d = sp.lambdify((u, v), BOWL), 0.25
    noise, options = StateDependentNoise(d * (1 + BOWL)), dict(seed=62, reach=1.8)
    ito, isothermal = (
        chi_square(CUP, noise, lambda a, b, k=k: -k * np.log1p(value(a, b)), **options)
        for k in (1 + 1 / d, 1 / d)
    )
    assert ito > ALARM
    assert isothermal < ALARM


def test_moments_without_detailed_balance_are_those_of_the_grid():
    """Currents circulate; four moments at a family-wise 1e-5, the step extrapolated."""
    noise = StateDependentNoise((0.2 * (1 + 0.5 * v**2), 0.35 * (1 + 0.4 * u**2)))
    moments = [u**2, v**2, u * v, u**2 * v**2]
    values = sp.lambdify((u, v), moments)

    def on_grid(cells):
        operator = generator.fokker_planck(CUP, noise, cells=cells)
        density = operator.stationary()
        return np.array([operator.average(f, density) for f in values(*operator.points)])

    truth = (4 * on_grid(120) - on_grid(60)) / 3

    def sample(step, walkers, seed):
        options = dict(start=(0.3, -0.2), step=step, times=[12.0], walkers=walkers, seed=seed)
        found = np.array(values(*ensemble(CUP, noise, **options)[0].astype(float).T))
        return found.mean(axis=1), found.std(axis=1) / np.sqrt(walkers)

    mean, error = extrapolated(sample, 0.01, 200_000, 63)
    assert np.all(error[[0, 1, 3]] < 0.02 * truth[[0, 1, 3]])
    assert np.all(np.abs(mean - truth) < stats.norm.isf(ALARM / 8) * error)


# --- random landscapes, noises, exits and options -------------------------------------------------

EPSILON = 2.0**-23
eighths = st.integers(-12, 12).filter(bool).map(lambda k: k / 8)  # exact in single precision
positive = st.integers(1, 12).map(lambda k: k / 8)


@st.composite
def terms(draw, q):
    """A term of a loss and, per variable, the size of what its derivative adds up and subtracts."""
    n = len(q)
    i, j = draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))
    c, w = draw(eighths), draw(eighths)
    kind = draw(st.sampled_from(["polynomial", "wave", "exponential", "pieces"]))
    if kind == "polynomial":
        a, b = draw(st.sampled_from([(1, 0), (2, 0), (3, 0), (4, 0), (1, 1), (2, 1), (2, 2)]))
        term = c * q[i] ** a * q[j] ** b
        size = [sp.Abs(sp.diff(term, z)) for z in q]
    elif kind == "wave":
        phase = w * q[i] + draw(eighths) * q[j]
        term = c * draw(st.sampled_from([sp.sin, sp.cos]))(phase)
        size = [abs(c) * sp.Abs(sp.diff(phase, z)) * (1 + 4 * sp.Abs(q[i]) + 4 * sp.Abs(q[j]))
                for z in q]  # fmt: skip
    elif kind == "exponential":
        term = c * sp.exp(w * q[i])
        size = [sp.Abs(sp.diff(term, z)) * (1 + 2 * sp.Abs(q[i])) for z in q]
    else:
        joint = draw(st.integers(-8, 8)) / 8 + 1 / 16
        height = (c - w) * joint**2 / 2  # the pieces meet
        term = sp.Piecewise((c * q[i] ** 2 / 2, q[i] < joint), (w * q[i] ** 2 / 2 + height, True))
        size = [(abs(c) + abs(w)) * sp.Abs(z) if z == q[i] else sp.Integer(0) for z in q]
    return term, size


@st.composite
def losses(draw, most):
    """A landscape in up to so many dimensions and the sizes of its gradient's parts."""
    n = draw(st.integers(1, most))
    q = sp.symbols(f"q:{n}", real=True)
    drawn = draw(st.lists(terms(q), min_size=2, max_size=5))
    loss = sum((t for t, _ in drawn), sum(z**4 / 4 for z in q))
    size = [sum((s[k] for _, s in drawn), sp.Abs(z) ** 3) for k, z in enumerate(q)]
    landscape = Landscape(loss, q, name="random", box=((-4, 4),) * n)
    return landscape, size


@st.composite
def noises(draw, q):
    """Constant or state-dependent, the same or another one for each coordinate."""
    if draw(st.booleans()):
        return WhiteNoise(draw(positive))
    other = [draw(st.sampled_from(q)) for _ in q]
    shapes = [1, lambda z: 1 + z**2, lambda z: 2 + sp.sin(z), lambda z: sp.exp(-z / 2)]
    chosen = [draw(st.sampled_from(shapes)) for _ in q]
    strength = [draw(positive) for _ in q]
    return StateDependentNoise(
        tuple(
            sp.sympify(d * (f(z) if callable(f) else f))
            for d, f, z in zip(strength, chosen, other, strict=True)
        )
    )


def normals(n, walkers, seed, steps):
    """The normals that drive the walkers: steps of size 1 in a flat landscape with D = 1/2."""
    q = sp.symbols(f"q:{n}", real=True)
    flat = Landscape(0 * q[0], q, name="flat", box=((-9, 9),) * n)
    options = dict(start=[0] * n, step=1, times=range(1, steps + 1), walkers=walkers, seed=seed)
    states = ensemble(flat, WhiteNoise(0.5), **options).astype(float)
    return np.diff(states, axis=0, prepend=0)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_normals_have_unit_variance(n):
    """Without this the next test would not know the amplitude; alarm 1e-5."""
    z = normals(n, 5000, 8, 3)
    low, high = stats.chi2.ppf([ALARM / 8, 1 - ALARM / 8], z.size)
    assert low < np.sum(z**2) < high


PATIENT = dict(
    deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@settings(max_examples=5, **PATIENT)
@given(st.data())
def test_a_step_is_that_of_numpy_to_single_precision(data):
    """θ − ∇L dt + √(2 D dt) ξ in float64, three steps, each from the state where the last ended."""
    landscape, size = data.draw(losses(4))
    noise = data.draw(noises(landscape.variables))
    n, step = landscape.dimension, data.draw(st.sampled_from([1 / 16, 0.01, 0.001]))
    seed = data.draw(st.integers(0, 2**40))
    z = normals(n, 70, seed, 3)
    size = sp.lambdify(landscape.variables, size)
    for _ in range(3):
        start = np.array([data.draw(st.integers(-12, 12)) / 8 for _ in range(n)])
        options = dict(start=start, step=step, times=[step, 2 * step, 3 * step], walkers=70)
        states = ensemble(landscape, noise, seed=seed, **options).astype(float)
        before = np.concatenate([np.broadcast_to(start, (1, 70, n)), states[:-1]])
        at = np.moveaxis(before, -1, 0)
        diffusion = np.einsum("...ii->...i", noise.diffusion(landscape, *at))
        kick = np.sqrt(2 * diffusion * step)
        expected = before - step * landscape.gradient(*at) + kick * z
        parts = np.stack([np.broadcast_to(s, at[0].shape) for s in size(*at)], -1)
        slack = np.abs(before) + step * parts + kick * (1 + np.abs(z)) + np.abs(expected)
        assert np.all(np.abs(states - expected) < 12 * EPSILON * slack)


@st.composite
def exits(draw, q):
    """One or two half-spaces, or the outside of a ball; the origin's neighbourhood is inside."""
    kind = draw(st.sampled_from(["side", "or", "and", "ball", "slanted"]))
    a, b = draw(st.integers(4, 10)) / 8, draw(st.integers(4, 10)) / 8
    first, last = q[0], q[-1]
    return {
        "side": first > a,
        "or": sp.Or(first > a, last < -b),
        "and": sp.And(first > a / 2, last < b),
        "ball": sum(z**2 for z in q) >= a**2,
        "slanted": sum((k + 1) * z for k, z in enumerate(q)) / 2 <= -a,
    }[kind]


def margins(exit, q, noise, landscape, step, shift):
    """The exit as nested lists of functions that are positive outside; by the formula of the docs.

    Each is g, or g + 0.5826 √(2 dt ∇gᵀ D ∇g) with the shift.
    """
    if isinstance(exit, (sp.And, sp.Or)):
        inner = [margins(e, q, noise, landscape, step, shift) for e in exit.args]
        combine = np.minimum if isinstance(exit, sp.And) else np.maximum
        return lambda *at: combine.reduce([f(*at) for f in inner])
    g = exit.gts - exit.lts
    slope = sp.Matrix([sp.diff(g, z) for z in q])
    if shift:
        speed = (slope.T * noise.diffusion_matrix(landscape) * slope)[0]
        g = g + 0.5825971579390106 * sp.sqrt(2 * step * speed)
    function = sp.lambdify(q, g)
    return lambda *at: np.broadcast_to(function(*at), at[0].shape)


@settings(max_examples=5, **PATIENT)
@given(st.data())
def test_every_walker_is_accounted_for_and_the_exit_decides(data):
    landscape, _ = data.draw(losses(4))
    q = landscape.variables
    noise, exit = data.draw(noises(q)), data.draw(exits(q))
    shift = data.draw(st.booleans())
    step = data.draw(st.sampled_from([1 / 64, 0.01, 0.003]))
    outside = margins(exit, q, noise, landscape, step, shift)
    assume(outside(*np.zeros((len(q), 1)))[0] < 0)
    for _ in range(4):  # options that need no new kernel
        max_time = data.draw(st.sampled_from([0.1, 0.3, 1.0, 5.0]))
        walkers = data.draw(st.sampled_from([1, 63, 64, 65, 300]))
        threads = data.draw(st.integers(2, 5))
        seed = data.draw(st.integers(0, 2**64 - 1))
        options = dict(
            start=[0] * len(q),
            exit=exit,
            step=step,
            seed=seed,
            barrier_shift=shift,
            max_time=max_time,
        )
        try:
            run = first_passage(landscape, noise, walkers=walkers, threads=1, **options)
        except ValueError as refusal:  # the start may lie too near to an exit that is moved
            assume("two step lengths" not in str(refusal))
            raise
        again = first_passage(landscape, noise, walkers=walkers, threads=threads, **options)
        assert np.array_equal(run.times, again.times)
        assert np.array_equal(run.status, again.status)
        assert np.array_equal(run.states, again.states, equal_nan=True)
        assert run.escaped + run.censored + run.diverged == walkers
        assert run.times.shape == run.status.shape == (walkers,)
        assert run.states.shape == (walkers, len(q))

        limit = 2 * np.ceil(max_time / step / 2 - 1e-9)  # an even number of steps
        ticks = run.times / step
        assert np.allclose(ticks, np.rint(ticks), rtol=0, atol=1e-6)
        assert np.all(ticks[run.status == CENSORED] == pytest.approx(limit))
        assert np.all((ticks > 0.5) & (ticks < limit + 0.5))

        margin = outside(*run.states.astype(float).T)
        assert np.all(margin[run.status == ESCAPED] > -1e-5)
        assert np.all(margin[run.status == CENSORED] < 1e-5)
        inside = np.abs(run.states).max(axis=1) < 40  # ten boxes; false for not-a-number
        assert np.all(inside[run.status == CENSORED]) and not np.any(inside[run.status == DIVERGED])


@pytest.mark.parametrize("towards, escaped", [(1, 100), (-1, 0)])
def test_who_lands_past_every_bound_has_escaped_only_through_the_exit(towards, escaped):
    """L = −x⁴: the walkers cross from inside to beyond every bound in one stride."""
    cliff = Landscape(-(u**4), (u,), name="cliff", box=((-2, 2),))
    options = dict(step=1, max_time=10, walkers=100, seed=3)
    run = first_passage(cliff, WhiteNoise(0.01), start=1.9 * towards, exit=u > 10, **options)
    assert run.escaped == escaped and run.diverged == 100 - escaped
    assert np.all(np.abs(run.states) > 20)
