"""Rules: minibatches are drawn fairly, and every step is that of an independent recursion.

The truth is a multinomial law, an enumeration of all minibatches, a linear solve, a closed form, or
a simulation in NumPy with float64 and another generator. Statistical tests have fixed seeds and a
false alarm of 1e-5 for each comparison unless they say otherwise.
"""

import dataclasses
from itertools import combinations, product
from math import comb, factorial, prod

import numpy as np
import pytest
import sympy as sp
from scipy import linalg, stats

from ddt_utils import catalog, simulate
from ddt_utils.landscape import Landscape
from ddt_utils.noise import FactorNoise, MinibatchNoise, Noise, StateDependentNoise, WhiteNoise
from ddt_utils.simulate import Problem, Step, euler_maruyama, momentum, sgd

WELL = catalog.quartic()
(x,) = WELL.variables
ALARM = 4.42  # standard errors that chance exceeds once in 1e5


class Silent(Noise):
    """No noise at all, in any dimension."""

    def factor(self, landscape):
        return (), sp.zeros(landscape.dimension, 1)

    def diffusion_matrix(self, landscape):
        return sp.ImmutableMatrix(sp.zeros(landscape.dimension))


SILENT = Silent()


def plane(expression, names, reach=3):
    """A landscape in the given variables, with the same box for each."""
    return Landscape(expression, names, name="test", box=((-reach, reach),) * len(names))


def mean_landscape(losses, names, reach=3):
    return plane(sp.expand(sum(losses) / len(losses)), names, reach)


def check_moments(sample, mean, covariance, kurtosis=None):
    """Mean and covariance of points (N, n); the error is that of a normal law, or as given."""
    count, n = sample.shape
    offset = sample - mean
    assert np.all(np.abs(offset.mean(axis=0)) < ALARM * np.sqrt(np.diag(covariance) / count))
    found = offset.T @ offset / count
    if kurtosis is None:
        size = np.diag(covariance)
        kurtosis = np.outer(size, size) + covariance**2
    assert np.all(np.abs(found - covariance) < ALARM * np.sqrt(kurtosis / count) + 1e-6)


# Minibatches


def all_batches(m, size, replacement):
    """Every minibatch, all equally likely."""
    return np.array(
        list(product(range(m), repeat=size) if replacement else combinations(range(m), size))
    )


def drawn_counts(m, size, replacement, *, walkers=60_000, steps=4):
    """How often each sample was in each of the first minibatches; shape (steps, walkers, m).

    With the sample losses −m x_i and a learning rate of B, coordinate i counts sample i.
    """
    names = sp.symbols(f"q:{m}", real=True)
    losses = tuple(-name for name in names)
    noise = MinibatchNoise(losses, size, size, replacement)
    states = simulate.ensemble(
        mean_landscape(losses, names, reach=steps * size),
        noise,
        start=[0] * m,
        step=size,
        times=size * np.arange(1, steps + 1),
        walkers=walkers,
        seed=m + 100 * size,
        rule=sgd,
    )
    return np.diff(states.astype(float), axis=0, prepend=0)


@pytest.mark.parametrize(
    ("m", "size", "replacement"),
    [
        (2, 30, True),  # more than the 24 bits of one word
        (4, 1, True),
        (4, 13, True),
        (8, 2, True),
        (3, 7, True),
        (5, 1, True),
        (6, 3, True),
        (4, 2, False),
        (5, 1, False),
        (6, 3, False),
        (7, 6, False),
    ],
)
def test_minibatches_follow_the_multinomial_or_the_hypergeometric_law(m, size, replacement):
    """A chi-square test of whole count vectors, and of one step against the next; alarm 1e-5."""
    counts = drawn_counts(m, size, replacement)
    assert np.array_equal(counts, np.rint(counts)) and counts.min() >= 0
    assert np.all(counts.sum(axis=2) == size)
    cells = [c for c in product(range((size if replacement else 1) + 1), repeat=m - 1)]
    cells = [
        (*c, size - sum(c)) for c in cells if 0 <= size - sum(c) <= (size if replacement else 1)
    ]
    if replacement:
        law = [factorial(size) / prod(map(factorial, c)) / m**size for c in cells]
    else:
        law = [1 / comb(m, size)] * len(cells)
    assert sum(law) == pytest.approx(1, abs=1e-12)
    code = (size + 1) ** np.arange(m)
    samples = (counts.reshape(-1, m) @ code).astype(np.int64)
    values, found = np.unique(samples, return_counts=True)
    found = dict(zip(values.tolist(), found.tolist(), strict=True))
    observed = np.array([found.pop(int(np.dot(c, code)), 0) for c in cells])
    assert not found  # nothing outside the law
    expected = np.array(law) * len(samples)
    rare = expected < 10
    pooled = [np.append(v[~rare], v[rare].sum()) if rare.any() else v for v in (observed, expected)]
    assert stats.chisquare(*pooled).pvalue > 1e-5
    one, two = counts[:-1, :, 0].ravel(), counts[1:, :, 0].ravel()
    correlation = np.corrcoef(one, two)[0, 1]
    assert abs(correlation) < ALARM / np.sqrt(len(one))


A = np.array([[1.0, 0.5], [-0.5, 1.0], [2.0, -1.0], [0.25, 0.75], [-1.0, -0.5]])
TARGETS = np.array([0.5, -0.25, 1.0, 0.0, -0.75])


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("start", [(0.5, -0.25), (-1.0, 1.5)])
def test_one_step_has_the_moments_of_all_minibatches(start, replacement):
    """Least squares on five points, three in a minibatch; exact moments up to the fourth."""
    names = sp.symbols("u v", real=True)
    losses = tuple(
        (sum(c * n for c, n in zip(map(sp.Rational, row), names, strict=True)) - t) ** 2 / 2
        for row, t in zip(A, map(sp.Rational, TARGETS), strict=True)
    )
    rate = 0.25
    gradients = (A @ start - TARGETS)[:, None] * A
    ends = start - rate * gradients[all_batches(5, 3, replacement)].mean(axis=1)
    states = simulate.ensemble(
        mean_landscape(losses, names),
        MinibatchNoise(losses, rate, 3, replacement),
        start=start,
        step=rate,
        times=[rate],
        walkers=200_000,
        seed=11,
        rule=sgd,
    )[0].astype(float)
    mean = np.array(start) - rate * gradients.mean(axis=0)
    assert np.allclose(ends.mean(axis=0), mean, rtol=1e-12)
    products = (ends - mean)[:, :, None] * (ends - mean)[:, None, :]
    check_moments(states, mean, products.mean(axis=0), products.var(axis=0))
    distance = np.abs(states[:2000, None] - ends).max(axis=2).min(axis=1)
    assert distance.max() < 1e-6  # every end belongs to a minibatch


def test_the_full_batch_without_replacement_is_gradient_descent():
    losses = tuple(WELL.expression + a * x + a * x**2 for a in (-1, sp.Rational(1, 4), 0.75))
    states = simulate.ensemble(
        mean_landscape(losses, (x,)),
        MinibatchNoise(losses, 0.2, 3, replacement=False),
        start=0.1,
        step=0.2,
        times=0.2 * np.arange(1, 12),
        walkers=500,
        seed=3,
        rule=sgd,
    )[:, :, 0]
    assert np.all(states == states[:, :1])
    place = float(np.float32(0.1))
    for state in states[:, 0]:
        place -= 0.2 * (place**3 - place)
        assert state == pytest.approx(place, rel=2e-6)


def run_law(p, length, longest):
    """P(the first run of so many heads ends at toss n), n = 0, 1, …, longest."""
    law, waiting = np.zeros(longest + 1), np.zeros(length)
    waiting[0] = 1  # by the number of heads in a row
    for n in range(1, longest + 1):
        law[n] = p * waiting[-1]
        waiting = np.append((1 - p) * waiting.sum(), p * waiting[:-1])
    return law


@pytest.mark.parametrize(
    ("centres", "size", "replacement", "heads", "length"),
    [
        ((-1, 1), 1, True, 1 / 2, 5),
        ((1, -1, 1), 1, True, 2 / 3, 6),
        ((1, -1, 1), 2, False, 1 / 3, 3),
    ],
)
def test_escape_by_minibatches_is_a_run_of_heads(centres, size, replacement, heads, length):
    """Parabolas with η H = 1/2: x' = (x + c)/2, where c is the greater of two values or the lesser.

    From the lesser, only k heads in a row lead to within 2^−k of the way to the greater. The mean
    number of iterations is (p^−k − 1)/(1 − p), and the whole law is known.
    """
    losses = tuple((x - c) ** 2 / 2 for c in centres)
    low = -1 if size == 1 else 0
    run = simulate.first_passage(
        mean_landscape(losses, (x,)),
        MinibatchNoise(losses, 0.5, size, replacement),
        start=low,
        exit=x > 1 - (1 - low) * (2.0**-length + 4.0**-length / 2),
        step=0.5,
        walkers=40_000,
        seed=21,
        rule=sgd,
    )
    tosses = np.rint(run.times / 0.5).astype(int)
    exact = (heads**-length - 1) / (1 - heads)
    assert abs(tosses.mean() - exact) < ALARM * tosses.std() / 200
    law = run_law(heads, length, 100 * int(exact))
    assert law @ np.arange(len(law)) == pytest.approx(exact, rel=1e-9)
    ends = np.unique(np.searchsorted(np.cumsum(law), np.arange(0.05, 0.99, 0.05)) + 1)
    expected = np.diff(np.cumsum(law)[ends - 1], prepend=0, append=1)
    observed = np.bincount(np.digitize(tosses, ends), minlength=len(expected))
    assert stats.chisquare(observed, expected * 40_000).pvalue > 1e-5


def numpy_escape(slopes, *, rate, friction, walkers, seed):
    """Iterations of SGD from −1 to x > 0, where a minibatch adds a + bx to x³ − x.

    ``slopes`` holds (a, b) of every minibatch, all equally likely.
    """
    rng = np.random.default_rng(seed)
    place, speed, times, step = np.full(walkers, -1.0), np.zeros(walkers), [], 0
    while len(place):
        step += 1
        a, b = slopes[rng.integers(len(slopes), size=len(place))].T
        speed = friction * speed - rate * (place**3 - place + a + b * place)
        place = place + speed
        times += [step] * np.count_nonzero(place > 0)
        place, speed = place[place <= 0], speed[place <= 0]
    return np.array(times)


@pytest.mark.parametrize(
    ("size", "replacement", "friction", "spread"),
    [(2, True, 0.0, 1.8), (3, False, 0.0, 3.0), (2, False, 0.7, 1.2)],
)
def test_minibatch_escape_from_a_double_well_is_that_of_numpy(size, replacement, friction, spread):
    """Five samples that differ in slope and curvature, skewed; with momentum too."""
    tilts = spread * np.array([-1.0, -0.5, -0.25, 0.25, 1.5])
    bends = spread * np.array([0.5, -0.75, 0.0, 0.5, -0.25])
    losses = tuple(
        WELL.expression + sp.Float(a) * x + sp.Float(b) * x**2 / 2
        for a, b in zip(tilts, bends, strict=True)
    )
    rate = 0.2
    run = simulate.first_passage(
        mean_landscape(losses, (x,)),
        MinibatchNoise(losses, rate, size, replacement),
        start=-1,
        exit=x > 0,
        step=rate,
        walkers=100_000,
        seed=31,
        rule=momentum(friction) if friction else sgd,
    )
    slopes = np.stack([tilts, bends], axis=1)[all_batches(5, size, replacement)].mean(axis=1)
    times = numpy_escape(slopes, rate=rate, friction=friction, walkers=40_000, seed=32)
    assert run.escaped == 100_000
    error = np.hypot(run.stderr / rate, times.std() / np.sqrt(len(times)))
    assert abs(run.mean / rate - times.mean()) < ALARM * error
    assert stats.ks_2samp(np.rint(run.times / rate), times).pvalue > 1e-5  # ties: conservative


@pytest.mark.parametrize(("m", "size", "replacement"), [(257, 1, True), (64, 65, True)])
def test_a_minibatch_that_is_too_large_is_refused(m, size, replacement):
    losses = tuple(x**2 + x * sp.Rational(2 * i - m + 1, m) for i in range(m))
    noise = MinibatchNoise(losses, 0.1, size, replacement)
    with pytest.raises(ValueError, match=f"at most 4096/m of m samples.*got {size} of {m}"):
        Problem(mean_landscape(losses, (x,)), noise, start=0, exit=x > 1, step=0.1, rule=sgd)


def test_sgd_refuses_a_landscape_that_is_not_the_mean_of_its_losses():
    noise = MinibatchNoise((x**2, 3 * x**2), 0.1, 1)
    with pytest.raises(ValueError, match="must be the mean of the sample losses"):
        Problem(plane(x**2, (x,)), noise, start=0, exit=x > 1, step=0.1, rule=sgd)


# SGD with normal noise


def discrete_mean(diffusion, *, step, start, end, nodes=400):
    """Mean first passage of x' = x − η(x³ − x) + √(2Dη) ξ beyond ``end``, times η.

    T(x) = 1 + ∫ p(x → y) T(y) dy over y < end, by Nyström's method with Gauss–Legendre nodes.
    """
    low = -3.5
    z, weight = np.polynomial.legendre.leggauss(nodes)
    z = low + (z + 1) * (end - low) / 2
    weight = weight * (end - low) / 2

    def kernel(place):
        place = np.atleast_1d(place)[:, None]
        width = np.sqrt(2 * diffusion(place) * step)
        return stats.norm.pdf(z, place - step * (place**3 - place), width) * weight

    inside = np.linalg.solve(np.eye(nodes) - kernel(z), np.ones(nodes))
    return step * (1 + (kernel(start) @ inside)[0])


@pytest.mark.parametrize("scale", [0.125, 0.25])
@pytest.mark.parametrize("power", [0, 1])
def test_sgd_with_normal_noise_is_the_discrete_walk(power, scale):
    """η = 0.1 and a passage to the top: continuous time would give 20 % less."""

    def strength(z):
        return scale * (1 + z**2) ** power / 2**power

    exact = discrete_mean(strength, step=0.1, start=-1, end=0)
    assert discrete_mean(strength, step=0.1, start=-1, end=0, nodes=300) == pytest.approx(
        exact, rel=1e-9
    )
    noise = StateDependentNoise(strength(x)) if power else WhiteNoise(scale)
    options = dict(start=-1, exit=x > 0, step=0.1, walkers=200_000, seed=41)
    run = simulate.first_passage(WELL, noise, rule=sgd, **options)
    assert run.bias_correction.startswith("none")
    assert abs(run.mean - exact) < ALARM * run.stderr
    moved = simulate.first_passage(WELL, noise, rule=sgd, barrier_shift=True, **options)
    assert moved.mean < 0.9 * exact and "0.5826" in moved.bias_correction


def test_the_barrier_is_shifted_only_where_the_step_approximates_time():
    options = dict(start=-1, exit=x > 0, step=0.1)
    for rule, shift in [
        (euler_maruyama, True),
        (sgd, False),
        (momentum(0.5), False),
        (momentum(0.5, sgd), False),
    ]:
        problem = Problem(WELL, WhiteNoise(0.25), rule=rule, **options)
        assert problem.barrier_shift is shift
        assert Problem(
            WELL, WhiteNoise(0.25), rule=rule, barrier_shift=not shift, **options
        ).barrier_shift is (not shift)
    assert not Problem(WELL, WhiteNoise(0.25), barrier_shift=False, **options).barrier_shift


# Momentum


@pytest.mark.parametrize("friction", [0.0, 0.5, 0.9])
def test_momentum_without_noise_is_the_heavy_ball(friction):
    names = sp.symbols("u v", real=True)
    loss = names[0] ** 4 / 4 - names[0] ** 2 / 2 + (names[1] - names[0] / 2) ** 2
    ticks = np.array([1, 2, 3, 10, 41])
    states = simulate.ensemble(
        plane(loss, names),
        SILENT,
        start=(0.25, -0.5),
        step=0.05,
        times=0.05 * ticks,
        walkers=3,
        seed=1,
        rule=momentum(friction),
    )
    place, speed = np.array([0.25, -0.5]), np.zeros(2)
    for tick in range(1, 42):
        u, v = place
        speed = friction * speed - 0.05 * np.array([u**3 - u - (v - u / 2), 2 * v - u])
        place = place + speed
        if tick in ticks:
            found = states[list(ticks).index(tick)]
            assert np.all(found == found[0]) or np.allclose(found, found[0], atol=1e-7)
            assert found[0] == pytest.approx(place, abs=2e-6)


def test_heavy_balls_in_a_parabola_have_the_covariance_of_the_lyapunov_equation():
    """Curvatures 1 and 6 and unequal noises; lagged covariances after 1, 2, 7 and 300 steps.

    x' = x + v', v' = βv − ηHx + √(2Dη) ξ is linear, so the covariance of (x, v) obeys
    Σ' = AΣAᵀ + Q and tends to the solution of the discrete Lyapunov equation.
    """
    names = sp.symbols("u v", real=True)
    curvatures, strengths, rate, friction = (1.0, 6.0), (0.25, 0.5), 0.1, 0.8
    bowl = plane(sum(h * n**2 / 2 for h, n in zip(curvatures, names, strict=True)), names, 9)
    states = simulate.ensemble(
        bowl,
        StateDependentNoise(tuple(map(sp.Float, strengths))),
        start=(0, 0),
        step=rate,
        times=rate * np.array([1, 2, 7, 300]),
        walkers=100_000,
        seed=51,
        rule=momentum(friction),
    ).astype(float)
    for i in (0, 1):
        h, d = curvatures[i], strengths[i]
        move = np.array([[1 - rate * h, friction], [-rate * h, friction]])
        kick = 2 * d * rate * np.ones((2, 2))
        covariance, history = np.zeros((2, 2)), {0: np.zeros((2, 2))}
        for n in range(1, 301):
            covariance = move @ covariance @ move.T + kick
            history[n] = covariance
        assert history[300] == pytest.approx(linalg.solve_discrete_lyapunov(move, kick), rel=1e-9)
        ticks = (1, 2, 7, 300)
        exact = np.empty((4, 4))
        for a, b in product(range(4), repeat=2):
            first, later = sorted((ticks[a], ticks[b]))
            exact[a, b] = (np.linalg.matrix_power(move, later - first) @ history[first])[0, 0]
        check_moments(states[:, :, i].T, np.zeros(4), exact)
    cross = states[3, :, 0] * states[3, :, 1]
    assert abs(cross.mean()) < ALARM * cross.std() / np.sqrt(len(cross))


@pytest.mark.parametrize("friction", [1, -0.1, 1.5])
def test_a_friction_outside_its_range_is_refused(friction):
    with pytest.raises(ValueError, match=rf"beta.*0 or more, below 1, got {friction}"):
        momentum(friction)


# Full diffusion matrices that depend on the state


def full_matrix(names):
    """A positive definite matrix, every entry of which depends on the place."""
    n = len(names)
    mix = sp.Matrix(n, n, lambda i, j: sp.Rational(i + 2 * j + 1, 4 + n) * names[(i + j) % n])
    return (mix * mix.T + sp.eye(n) / 2).applyfunc(sp.expand)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_one_step_with_a_full_matrix_has_its_covariance(n):
    names = sp.symbols(f"q:{n}", real=True)
    flat = plane(0 * names[0], names, 9)
    for start in (np.linspace(-1, 1.5, n), np.linspace(2, -0.5, n)):
        states = simulate.ensemble(
            flat,
            StateDependentNoise(full_matrix(names)),
            start=start,
            step=0.125,
            times=[0.125],
            walkers=200_000,
            seed=61,
        )[0].astype(float)
        mix = np.array(
            [[(i + 2 * j + 1) / (4 + n) * start[(i + j) % n] for j in range(n)] for i in range(n)]
        )
        exact = mix @ mix.T + np.eye(n) / 2
        assert np.abs(exact - np.diag(np.diag(exact))).max() > 0.1
        check_moments((states - start) / np.sqrt(2 * 0.125), np.zeros(n), exact)


def test_a_full_matrix_is_evaluated_before_the_step():
    """Two steps in a row: the second covariance is the mean of D over where the first led."""
    names = sp.symbols("u v", real=True)
    u, v = names
    noise = StateDependentNoise(sp.Matrix([[1 + u**2, u * v / 2], [u * v / 2, 1 + v**2]]))
    states = simulate.ensemble(
        plane(0 * u, names, 99),
        noise,
        start=(1, 0.5),
        step=0.05,
        times=[0.05, 0.1],
        walkers=200_000,
        seed=62,
    ).astype(float)
    for before, after in [(np.full((200_000, 2), (1, 0.5)), states[0]), (states[0], states[1])]:
        a, b = before.T
        moved = (after - before) / np.sqrt(0.1)
        for product_, exact in [
            (moved[:, 0] ** 2, 1 + a**2),
            (moved[:, 0] * moved[:, 1], a * b / 2),
            (moved[:, 1] ** 2, 1 + b**2),
        ]:
            error = product_ - exact
            assert abs(error.mean()) < ALARM * error.std() / np.sqrt(len(error))


@pytest.mark.parametrize(("n", "k"), [(3, 2), (2, 3), (1, 4), (5, 1)])
def test_a_factor_of_any_shape_drives_the_walker(n, k):
    names = sp.symbols(f"q:{n}", real=True)
    sigma = sp.Matrix(n, k, lambda i, j: sp.Rational(i - j, 2) + names[(i + j) % n] / (1 + i + j))
    start = np.linspace(0.5, 1.5, n)
    states = simulate.ensemble(
        plane(0 * names[0], names, 9),
        FactorNoise(sigma),
        start=start,
        step=0.125,
        times=[0.125],
        walkers=200_000,
        seed=63,
    )[0].astype(float)
    factor = np.array(
        [[(i - j) / 2 + start[(i + j) % n] / (1 + i + j) for j in range(k)] for i in range(n)]
    )
    moved = (states - start) / np.sqrt(2 * 0.125)
    check_moments(moved, np.zeros(n), factor @ factor.T)
    # the kicks span as many directions as the factor has columns
    assert np.linalg.matrix_rank(moved[:50], tol=1e-4) == min(n, k)


def test_a_full_matrix_in_five_dimensions_asks_for_its_factor():
    names = sp.symbols("q:5", real=True)
    with pytest.raises(ValueError, match="up to 4 dimensions, test has 5; .*FactorNoise"):
        Problem(
            plane(0 * names[0], names),
            StateDependentNoise(full_matrix(names)),
            start=[0] * 5,
            exit=names[0] > 1,
            step=0.1,
        )


# Rules of a reader's own


def reflected(landscape, noise, dt):
    """A walk between hard walls at ±1."""
    step = euler_maruyama(landscape, noise, dt)
    folded = (1 - sp.Abs(2 - sp.Abs(new + 1)) for new in step.update)
    return dataclasses.replace(step, update=tuple(folded))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_walk_between_walls_fills_the_box_evenly(n):
    """Kolmogorov–Smirnov against a uniform law, and no correlation; alarm 1e-5 each."""
    names = sp.symbols(f"q:{n}", real=True)
    states = simulate.ensemble(
        plane(0 * names[0], names, 1),
        WhiteNoise(0.5),
        start=[0.5] * n,
        step=0.1,
        times=[0.2, 12.0, 12.1],
        walkers=40_000,
        seed=71,
        rule=reflected,
    ).astype(float)
    assert np.abs(states).max() <= 1
    for i in range(n):
        for late in states[1:, :, i]:
            assert stats.kstest(late, stats.uniform(-1, 2).cdf).pvalue > 1e-5
        moved = states[2, :, i] - states[1, :, i]
        near = np.abs(states[1, :, i]) < 0.1  # far from the walls a kick is normal
        assert stats.kstest(moved[near] / np.sqrt(0.1), "norm").pvalue > 0.01
        assert stats.kstest(states[0, :, i], stats.uniform(-1, 2).cdf).pvalue < 1e-9
    for i, j in combinations(range(n), 2):
        correlation = 3 * np.mean(states[1, :, i] * states[1, :, j])
        assert abs(correlation) < ALARM / 200


def sign_descent(landscape, noise, dt):
    """The example in the documentation of the rules."""
    step = euler_maruyama(landscape, noise, dt)
    moves = [q + dt * sp.sign(new - q) for q, new in zip(step.state, step.update, strict=True)]
    return dataclasses.replace(step, update=tuple(moves), physical=True)


def test_the_documented_rule_works():
    names = sp.symbols("u v w", real=True)
    tilted = plane(names[0] + 2 * names[1] - names[2], names)
    states = simulate.ensemble(
        tilted,
        SILENT,
        start=(0, 0, 0),
        step=0.125,
        times=[0.125, 0.25],
        walkers=2,
        seed=1,
        rule=sign_descent,
    )
    moves = np.diff(states, axis=0, prepend=0)
    downhill = np.array([-0.125, -0.125, 0.125], np.float32)  # the slope is (1, 2, −1)
    assert np.array_equal(moves, np.broadcast_to(downhill, (2, 2, 3)))


def test_one_rule_may_use_normals_uniforms_and_a_minibatch_together():
    """Three normals, two uniforms and a minibatch; sums of independent parts, known moments."""
    losses = (x, -x, x, -x)
    noise = MinibatchNoise(losses, 1, 1)

    def mixed(landscape, noise, dt):
        step = sgd(landscape, noise, dt)
        z, u = sp.symbols("z:3", real=True), sp.symbols("u:2", real=True)
        new = step.update[0] + z[0] + 2 * z[1] - z[2] * 3 + 12 * u[0] - 6 * u[1] ** 2
        return dataclasses.replace(step, update=(new,), normals=z, uniforms=u)

    count = 100_000
    states = simulate.ensemble(
        plane(0 * x, (x,), 99),
        noise,
        start=0,
        step=1.0,
        times=[1, 2, 3, 4],
        walkers=count,
        seed=91,
        rule=mixed,
    )[:, :, 0].astype(float)
    moved = np.diff(states, axis=0, prepend=0)
    mean, variance = 6 - 2, 1 + 4 + 9 + 1 + 144 / 12 + 36 * (1 / 5 - 1 / 9)
    check_moments(moved.T, np.full(4, mean), variance * np.eye(4))


def test_a_step_needs_an_update_for_each_state_variable():
    with pytest.raises(ValueError, match="one update for each of its 1 state variables, got 2"):
        Step((x,), (x, x))


@pytest.mark.parametrize("name", ["xi", "velocity", "faster", "count", "factor"])
def test_a_variable_may_have_any_name(name):
    """The symbols of a rule are its own, whatever the variables of a landscape are called."""
    rules = {"velocity": momentum(0.5), "faster": momentum(0.5), "count": sgd}
    own = "factor_00 factor_10" if name == "factor" else f"{name}:2"
    results = []
    for names in (sp.symbols("q:2", real=True), sp.symbols(own, real=True)):
        a, b = names
        losses = (a**2 + 2 * b, b**2 - 2 * b)
        noise = {
            "count": MinibatchNoise(losses, 0.1, 1),
            "factor": StateDependentNoise(sp.Matrix([[1 + b**2, a / 9], [a / 9, 1 + a**2]])),
        }.get(name, WhiteNoise(0.25))
        results.append(
            simulate.ensemble(
                mean_landscape(losses, names, 9),
                noise,
                start=(0.5, -0.5),
                step=0.1,
                times=[0.1, 0.5],
                walkers=7,
                seed=2,
                rule=rules.get(name, euler_maruyama),
            )
        )
    assert np.array_equal(*results)


def test_a_rule_of_one_s_own_stays_what_it_is():
    def class_of(frozen):
        @dataclasses.dataclass(frozen=frozen)
        class Own:
            share: float

            def __call__(self, landscape, noise, dt):
                return simulate.momentum(self.share)(landscape, noise, dt)

        return Own

    def problem(rule):
        ask = dict(start=-1, exit=x > 1, step=0.02, rule=rule)
        return simulate.Problem(WELL, WhiteNoise(0.25), **ask)

    with pytest.raises(ValueError, match="rule must stay what it is, got .*Own"):
        problem(class_of(frozen=False)(0.5))
    found = problem(class_of(frozen=True)(0.5))
    assert found.digest() == problem(simulate.momentum(0.5)).digest()
