"""What a step may carry and draw: starts, names, bounds, against laws in closed form and NumPy.

Statistical tests have fixed seeds and a false alarm of 1e-5 for each comparison.
"""

import dataclasses
from itertools import combinations, permutations, product

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from ddt_utils import catalog, simulate
from ddt_utils.escape import ESCAPED
from ddt_utils.landscape import Landscape
from ddt_utils.noise import FactorNoise, MinibatchNoise, WhiteNoise
from ddt_utils.simulate import Batch, Problem, Run, Start, Step, euler_maruyama, sgd
from ddt_utils.simulate.program import DT

x, y, v, c = sp.symbols("x y v c", real=True)
z, q, a, b = sp.symbols("z q a b", real=True)
ALARM = 4.42  # standard errors that chance exceeds once in 1e5
SILENT = FactorNoise([[0]])


def bowl(curvature=0.7, centre=0, reach=9):
    loss = sp.nsimplify(curvature) * (x - centre) ** 2 / 2
    return Landscape(loss, (x,), name="bowl", box=((centre - reach, centre + reach),))


def beginning(start, *, state=(x, v), **options):
    """A rule under which everything stays where it began, but what is carried is added to x."""

    def rule(landscape, noise, dt):
        return Step(
            state,
            (sp.Add(x, *(dt * s for s in state[1:])), *state[1:]),
            start=start,
            physical=True,
            **options,
        )

    return rule


# The start


def test_walkers_begin_by_their_law():
    """x normal about the start, v uniform and joined to x; the moves are v: both laws are seen."""
    law = Start(((x, x + 0.3 * a), (v, 2 * q - 1 + a / 2)), normals=(a,), uniforms=(q,))
    options = dict(start=0.5, step=0.25, times=[0, 0.25, 0.5], walkers=50_000, seed=4)
    states = simulate.ensemble(bowl(), SILENT, rule=beginning(law), **options)[:, :, 0]
    first, moved = states[0].astype(float), np.diff(states.astype(float), axis=0)
    kick = (first - 0.5) / 0.3
    assert stats.kstest(kick, "norm").pvalue > 1e-5
    uniform = (moved[0] / 0.25 - kick / 2 + 1) / 2
    assert stats.kstest(uniform, "uniform").pvalue > 1e-5
    assert abs(np.corrcoef(kick, uniform)[0, 1]) < ALARM / np.sqrt(50_000)
    assert np.max(np.abs(moved[1] - moved[0])) < 1e-5  # drawn once


def test_what_a_law_does_not_name_begins_as_without_it():
    law = Start(((c, v + 3 * c + 0 * x),))
    rule = beginning(law, state=(x, v, c), initial_state=(0.25, 0.5))
    options = dict(start=-2, step=0.5, times=[0, 0.5], walkers=3, seed=1)
    states = simulate.ensemble(bowl(), SILENT, rule=rule, **options)[:, :, 0]
    assert np.all(states[0] == -2)
    assert np.all(states[1] == -2 + 0.5 * (0.25 + (0.25 + 3 * 0.5)))


def coloured(strength, decay, stationary=True):
    """Descent with a kick that remembers: c ← ρc + √(1 − ρ²) s·z, x ← x − dt(L′ + c)."""

    def rule(landscape, noise, dt):
        (slope,) = landscape.gradient_expression
        new = decay * c + sp.sqrt(1 - decay**2) * strength * z
        start = Start(((c, strength * a),), normals=(a,)) if stationary else None
        update = (x - dt * (slope + c), new)
        return Step((x, c), update, normals=(z,), start=start, physical=True)

    return rule


@pytest.mark.parametrize("stationary", [True, False])
def test_a_coloured_kick_is_stationary_from_the_start(stationary):
    """The exact covariance of the linear recursion, to the first steps, where it matters."""
    strength, decay, step, curvature = sp.Rational(3, 5), sp.Rational(9, 10), 0.25, 0.7
    count, steps = 40_000, 6
    rule = coloured(strength, decay, stationary)
    options = dict(start=0, step=step, times=step * np.arange(1, steps + 1), walkers=count, seed=8)
    found = simulate.ensemble(bowl(curvature), SILENT, rule=rule, **options)[:, :, 0].astype(float)
    move = np.array([[1 - step * curvature, -step], [0, float(decay)]])
    kick = np.diag([0, (1 - float(decay) ** 2) * float(strength) ** 2])
    covariance = np.diag([0, float(strength) ** 2 * stationary])
    for places in found:
        covariance = move @ covariance @ move.T + kick
        exact = covariance[0, 0]
        assert abs(np.mean(places**2) - exact) <= ALARM * exact * np.sqrt(2 / count)


@pytest.mark.parametrize("off", [False, True])
def test_a_start_is_the_same_for_any_cut_and_from_any_origin(off):
    """An odd number of normals in start and step; a far origin moves every place and no bit."""
    noise = WhiteNoise(0.25)

    def rule(landscape, kick, dt):
        (u,) = landscape.variables
        step = euler_maruyama(landscape, kick, dt)
        place = landscape.box[0][0] + 1 if off else u
        law = Start(((u, place + 0.2 * a + 0.125 * q),), normals=(a,), uniforms=(q,))
        return dataclasses.replace(step, start=law)

    def leave(centre=0, **options):
        loss = catalog.quartic().expression.subs(catalog.quartic().variables[0], x - centre)
        well = Landscape(loss, (x,), name="well", box=((centre - 2, centre + 2),))
        problem = Problem(well, noise, start=centre - 1, exit=x > centre + 1, step=0.01, rule=rule)
        return Run(problem, walkers=200, seed=6, **options).finish().result()

    one = leave(threads=1)
    assert len(set(one.times)) > 150
    two = leave(threads=2)
    assert np.array_equal(one.times, two.times) and np.array_equal(one.states, two.states)
    part = leave(first=37)
    assert np.array_equal(part.times[:163], one.times[37:])
    assert np.array_equal(leave(centre=-300).times, one.times)


def test_a_start_beside_steps_that_carry_remainders():
    """Twenty steps of 1e-7 from a place whose last digit is 6e-8: the law of both is normal."""
    step, count = 1e-14, 20_000

    def rule(landscape, kick, dt):
        walk = euler_maruyama(landscape, kick, dt)
        return dataclasses.replace(walk, start=Start(((x, x + 0.03 * a),), normals=(a,)))

    options = dict(start=0.7, step=step, rule=rule)
    assert Problem(bowl(), WhiteNoise(0.5), exit=x > 8, **options).compensated
    options |= dict(times=[0, 20 * step], walkers=count, seed=3)
    states = simulate.ensemble(bowl(), WhiteNoise(0.5), **options)[:, :, 0].astype(float)
    assert stats.kstest((states[0] - 0.7) / 0.03, "norm").pvalue > 1e-5
    spread = np.mean((states[1] - states[0]) ** 2) / (20 * step)
    digit = np.spacing(np.float32(0.7)) ** 2 / 6 / (20 * step)  # of two places as they are seen
    assert abs(spread - 1 - digit) < ALARM * np.sqrt(2 / count)


def test_a_start_is_checked():
    with pytest.raises(ValueError, match="one expression, got"):
        Start(((v, x), (v, a)))
    with pytest.raises(ValueError, match=r"state \(x,\) only, got also \[v\]; add"):
        Step((x,), (x,), start=Start(((v, 1),)))
    with pytest.raises(ValueError, match="must be distinct"):
        Step((x,), (x + z,), normals=(z,), start=Start(((x, z),), normals=(z,)))
    law = Start(((v, a * y),), normals=(a,))
    with pytest.raises(ValueError, match="got also y"):
        Problem(bowl(), SILENT, start=0, exit=x > 1, step=0.1, rule=beginning(law))


# What is carried: exits, observables, results


VELOCITY = sp.Symbol("velocity0")


def test_velocity_is_returned_and_observed():
    """Heavy ball: v′ = βv − ηL′ + noise and x′ = x + v′, so each place differs by the velocity."""
    rule = simulate.momentum(0.8)
    options = dict(start=0.5, step=0.1, walkers=300, seed=2, rule=rule)
    times = 0.1 * np.arange(5)
    asked = [x, VELOCITY, x * VELOCITY - 3]
    seen = simulate.ensemble(bowl(), WhiteNoise(0.3), times=times, observe=asked, **options)
    places = simulate.ensemble(bowl(), WhiteNoise(0.3), times=times, **options)[:, :, 0]
    assert seen.dtype == np.float64 and np.array_equal(seen[..., 0], places)
    assert np.all(seen[0, :, 1] == 0)
    assert np.max(np.abs(np.diff(places, axis=0) - seen[1:, :, 1])) < 3e-7
    assert np.array_equal(seen[..., 2], seen[..., 0] * seen[..., 1] - 3)
    alone = simulate.ensemble(bowl(), WhiteNoise(0.3), times=times, observe=VELOCITY, **options)
    assert np.array_equal(alone[..., 0], seen[..., 1])
    run = simulate.first_passage(
        bowl(), WhiteNoise(0.3), exit=x > 60, max_time=0.4, bound=50, **options
    )
    assert np.array_equal(run.carried["velocity0"], seen[-1, :, 1].astype(np.float32))
    late = run.after(0.3)
    assert np.array_equal(late.carried["velocity0"], run.carried["velocity0"])


@pytest.mark.parametrize("centre", [0, 500])
def test_an_exit_may_ask_for_energy(centre):
    """First step at which v²/2 + L exceeds a level, against NumPy on the recorded walkers."""
    well, level, step = bowl(0.7, centre), 0.9, 0.125
    rule, steps = simulate.momentum(0.8), 64
    energy = well.expression + VELOCITY**2 / 2
    options = dict(start=centre + 0.25, step=step, walkers=400, seed=9, rule=rule)
    times = step * np.arange(1, steps + 1)
    seen = simulate.ensemble(well, WhiteNoise(0.05), times=times, observe=energy, **options)[..., 0]
    over = seen > level
    clear = np.min(np.abs(seen - level), axis=0) > 1e-5  # no tie that rounding decides
    assert np.mean(clear) > 0.9
    first = np.where(over.any(axis=0), np.argmax(over, axis=0) + 1, steps) * step
    run = simulate.first_passage(
        well, WhiteNoise(0.05), exit=energy > level, max_time=step * steps, **options
    )
    assert 50 < run.escaped < 380 and run.bias_correction.startswith("none")
    assert np.array_equal(run.times[clear], first[clear])
    assert np.array_equal((run.status == ESCAPED)[clear], over.any(axis=0)[clear])


def test_what_a_walker_counts_may_end_it():
    """The number of steps by its name, in a rule that approximates continuous time."""

    def rule(landscape, noise, dt):
        walk = euler_maruyama(landscape, noise, dt)
        return dataclasses.replace(walk, iteration=sp.Dummy("steps", real=True))

    options = dict(start=0.5, step=0.125, walkers=5, seed=2, rule=rule)
    exit = sp.Symbol("steps") >= 11
    run = simulate.first_passage(bowl(), WhiteNoise(0.01), exit=exit, **options)
    assert np.all(run.times == 11 * 0.125) and np.all(run.carried["steps"] == 11)
    with pytest.raises(ValueError, match="uses coordinates alone, got steps >= 11; leave"):
        Problem(
            bowl(), WhiteNoise(0.01), start=0, exit=exit, step=0.1, rule=rule, barrier_shift=True
        )
    with pytest.raises(ValueError, match="start must lie inside.*steps < 3"):
        Problem(bowl(), WhiteNoise(0.01), start=0, exit=sp.Symbol("steps") < 3, step=0.1, rule=rule)


def test_a_variable_comes_before_what_has_its_name():
    """A coordinate that is called velocity0 is meant by that symbol, not the velocity."""
    (u,) = names = (sp.Symbol("velocity0", real=True),)
    well = Landscape(u**2 / 2, names, name="bowl", box=((-3, 3),))
    options = dict(start=0.5, step=0.1, times=[0.1, 0.2], walkers=9, seed=1)
    options |= dict(rule=simulate.momentum(0.5))
    seen = simulate.ensemble(well, WhiteNoise(0.1), observe=sp.Symbol("velocity0"), **options)
    assert np.array_equal(seen, simulate.ensemble(well, WhiteNoise(0.1), **options))


def test_an_unknown_name_is_refused_with_those_that_are_known():
    options = dict(start=0, step=0.1, rule=simulate.momentum(0.5))
    with pytest.raises(ValueError, match=r"variables \(x,\) and x, velocity0, got also {speed}"):
        Problem(bowl(), SILENT, exit=sp.Symbol("speed") > 1, **options)
    options |= dict(times=[1], walkers=1, seed=0)
    with pytest.raises(ValueError, match=r"may use x, velocity0, got \['speed'\] in 2\*speed"):
        simulate.ensemble(bowl(), SILENT, observe=[2 * sp.Symbol("speed")], **options)
    with pytest.raises(ValueError, match="an expression at least, got none"):
        simulate.ensemble(bowl(), SILENT, observe=[], **options)
    with pytest.raises(ValueError, match="an observable must be"):
        simulate.ensemble(bowl(), SILENT, observe=["x"], **options)


@pytest.mark.parametrize("bound", [0, 0.5, -3, 1e25, np.inf, np.nan, "far", True])
def test_a_bound_is_farther_than_the_start_and_within_single_precision(bound):
    with pytest.raises(ValueError, match="bound must be .*more than at its start"):
        Problem(bowl(), SILENT, start=0.5, exit=x > 1, step=0.1, bound=bound)


# Minibatches


def counting(batch):
    """A rule that adds up how often each sample was drawn, from a batch of that many symbols."""

    def rule(landscape, noise, dt):
        seen = sp.symbols(f"seen:{len(batch.counts)}", real=True)
        update = (x, *(s + n for s, n in zip(seen, batch.counts, strict=True)))
        return Step((x, *seen), update, batch=batch, physical=True)

    return rule


def drawn(m, size, *, steps, walkers=40_000, **options):
    """How often each sample was in each of the first minibatches; shape (steps, walkers, m)."""
    counts = sp.symbols(f"n:{m}", real=True)
    batch = Batch(counts, size, **options)
    seen = simulate.ensemble(
        bowl(),
        SILENT,
        start=0,
        step=1,
        times=np.arange(1, steps + 1),
        walkers=walkers,
        seed=m + 10 * size,
        rule=counting(batch),
        observe=sp.symbols(f"seen:{m}"),
    )
    return np.diff(seen, axis=0, prepend=0).astype(int)


def compare(codes, law):
    """A chi-square test of whole numbers against {number: probability}; rare ones together."""
    values, found = np.unique(codes, return_counts=True)
    found = dict(zip(values.tolist(), found.tolist(), strict=True))
    observed = np.array([found.pop(code, 0) for code in law])
    assert not found  # nothing outside the law
    expected = np.array(list(law.values())) * codes.size
    assert expected.sum() == pytest.approx(codes.size, rel=1e-9)
    if len(law) == 1:
        return
    rare = expected < 10
    pooled = [np.append(v[~rare], v[rare].sum()) if rare.any() else v for v in (observed, expected)]
    assert stats.chisquare(*pooled).pvalue > 1e-5


WEIGHTS = (0.25, 0.03, 0.42, 0.3)


@pytest.mark.parametrize(("size", "weights"), [(1, WEIGHTS), (3, WEIGHTS), (2, (0.9998, 2e-4))])
def test_weighted_minibatches_follow_the_multinomial_law(size, weights):
    m = len(weights)
    counts = drawn(m, size, steps=3, replacement=True, weights=weights)
    assert np.all(counts.sum(axis=2) == size) and counts.min() >= 0
    base = (size + 1) ** np.arange(m)
    cells = [c for c in product(range(size + 1), repeat=m) if sum(c) == size]
    law = {int(base @ c): stats.multinomial.pmf(c, size, weights) for c in cells}
    compare((counts @ base).ravel(), law)
    one, two = counts[:-1, :, 0].ravel(), counts[1:, :, 0].ravel()
    assert abs(np.corrcoef(one, two)[0, 1]) < ALARM / np.sqrt(len(one))


@pytest.mark.parametrize(("m", "size"), [(3, 1), (6, 2), (4, 4)])
def test_an_epoch_is_every_order_with_the_same_probability(m, size):
    """All sequences of minibatches of one epoch, and of two in a row."""
    length = m // size
    counts = drawn(m, size, steps=2 * length, replacement=False, reshuffled=True)
    epochs = counts.reshape(2, length, -1, m)
    assert np.all(epochs.sum(axis=1) == 1) and np.all(counts.sum(axis=2) == size)
    place = np.tensordot(np.arange(length), epochs, axes=(0, 1))  # when each sample came
    codes = place @ length ** np.arange(m)
    orders = set(permutations(np.repeat(np.arange(length), size).tolist()))
    law = {int(np.dot(o, length ** np.arange(m))): 1 / len(orders) for o in orders}
    compare(codes.ravel(), law)
    if m == 3:
        both = codes[0] * length**m + codes[1]
        compare(both, {a * length**m + b: 1 / len(law) ** 2 for a in law for b in law})


def test_two_epochs_of_sgd_have_the_moments_of_all_orders():
    """Parabolas of one curvature, tilted by samples; the variance is far below that of draws."""
    tilts = (0.5, -0.25, 1.5, 0.25)
    losses = tuple(x**2 / 2 + t * x for t in tilts)
    well = Landscape(sp.expand(sum(losses) / 4), (x,), name="well", box=((-5, 5),))

    def epochs(landscape, noise, dt):
        step = sgd(landscape, noise, dt)
        return dataclasses.replace(step, batch=dataclasses.replace(step.batch, reshuffled=True))

    rate, options = 0.2, dict(start=1.0, step=0.2, walkers=20_000, seed=3)
    noise = MinibatchNoise(losses, rate, 2, replacement=False)
    times = rate * np.arange(1, 5)
    found = simulate.ensemble(well, noise, times=times, rule=epochs, **options)[..., 0]
    exact = np.array([1.0])  # every order of the pairs of two epochs
    pairs = [(tilts[i] + tilts[j]) / 2 for i, j in combinations(range(4), 2)]
    for _ in range(2):
        half = ((1 - rate) * exact - rate * pair for pair in pairs)
        rest = (sum(tilts) / 2 - pair for pair in pairs)
        exact = np.concatenate([(1 - rate) * p - rate * r for p, r in zip(half, rest, strict=True)])
    mean, spread = exact.mean(), exact.std()
    assert abs(found[3].mean() - mean) < ALARM * spread / np.sqrt(20_000)
    fourth = np.mean((exact - mean) ** 4) - spread**4
    assert abs(found[3].var() - spread**2) < ALARM * np.sqrt(fourth / 20_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(size=2, replacement=True, weights=(0.5, 0.4, 0.2)), "with the sum one, got"),
        (dict(size=2, replacement=True, weights=(0.5, 0.5, 0)), "positive with the sum one"),
        (dict(size=2, replacement=True, weights=(0.5, 0.5)), "weights must"),
        (dict(size=2, replacement=False, weights=(0.5, 0.3, 0.2)), "replacement=False; without"),
        (dict(size=3, replacement=True, reshuffled=True), "without replacement, .*got 3 of 3"),
        (dict(size=2, replacement=False, reshuffled=True), "divides their number, got 2 of 3"),
        (dict(size=0, replacement=True), "size of a batch must be .*got 0"),
        (dict(size=4, replacement=False), "size of a batch must be .*got 4"),
    ],
)
def test_a_batch_is_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Batch(sp.symbols("n:3"), **options)


# Time


def annealed(landscape, noise, dt):
    """Descent with steps of dt/√(1 + k)."""
    k = sp.Symbol("k", real=True)
    step, spent = euler_maruyama(landscape, noise, dt), dt / sp.sqrt(1 + k)
    update = tuple(e.xreplace({dt: spent}) for e in step.update)
    return dataclasses.replace(step, update=update, iteration=k, duration=spent, physical=True)


def test_escape_times_are_sums_of_a_schedule():
    """η_k = dt/√(1 + k): each escape time is the sum up to the step in which it was."""
    options = dict(start=0.5, exit=x > 1.3, step=0.25, walkers=500, seed=5, rule=annealed)
    run = simulate.first_passage(bowl(), WhiteNoise(0.8), max_time=0.25 * 400, **options)
    steps = run.carried["k"].astype(int)
    sums = np.cumsum(0.25 / np.sqrt(np.arange(1, 401)))
    assert len(set(steps)) > 50 and run.censored > 0 and run.escaped > 100
    assert run.times == pytest.approx(sums[steps - 1], rel=1e-7)
    assert np.all(steps[run.status != ESCAPED] == 400)
    with pytest.raises(ValueError, match="keep=False and steps with a duration"):
        simulate.first_passage(bowl(), WhiteNoise(0.8), keep=False, max_time=9, **options)


def test_a_clock_keeps_the_digits_of_a_double():
    """200 000 steps of the float32 next to 0.1, beside coordinates that carry remainders or not."""

    def still(landscape, noise, dt):
        walk = euler_maruyama(landscape, noise, dt)
        return dataclasses.replace(walk, duration=sp.Float(0.1), physical=True)

    for step in (0.1, 1e-12):
        problem = Problem(
            bowl(0.001),
            WhiteNoise(1e-3),
            start=0.5,
            exit=x > 8,
            step=step,
            rule=still,
            max_time=200_000 * step,
            bound=1e9,
        )
        assert problem.compensated is (step < 1e-3)
        run = Run(problem, walkers=3, seed=1).finish().result()
        exact = 200_000 * float(np.float32(0.1))
        assert run.times == pytest.approx(np.full(3, exact), rel=1e-12)


def test_a_duration_is_positive():
    for duration in (sp.Float(0), -DT, sp.log(DT)):

        def rule(landscape, noise, dt, duration=duration):
            step = euler_maruyama(landscape, noise, dt)
            return dataclasses.replace(step, duration=duration.subs(DT, dt))

        with pytest.raises(ValueError, match="duration of a step must be positive, got"):
            Problem(bowl(), WhiteNoise(0.1), start=0, exit=x > 1, step=0.1, rule=rule)
