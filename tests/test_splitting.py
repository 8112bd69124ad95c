"""Rare escapes: no bias at any number of paths, exact times at exponents of 30, the same bits."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from ddt_utils import catalog, chains, criterion, simulate
from ddt_utils.landscape import Landscape
from ddt_utils.noise import MinibatchNoise, WhiteNoise
from ddt_utils.simulate import _branching, _source, _watch, cpu, splitting
from ddt_utils.streams import stream

ALARM = 4.42  # standard errors that chance exceeds once in 1e5
WELL = catalog.quartic()
(x,) = WELL.variables
y = sp.Symbol("y", real=True)
TILTS = ((0.9, 0.1), (-0.8, -0.2), (0.5, 0.15), (-0.6, -0.05))


def to_the_top(exponent, step, **changes):
    """The discrete walker in the quartic well; ΔL = 1/4."""
    ask = dict(start=-1, exit=x > 0, step=step, barrier_shift=False) | changes
    return simulate.Problem(WELL, WhiteNoise(0.25 / exponent), **ask)


def exact_time(problem, upper=0):
    chain = chains.of(problem.landscape, problem.noise, step=problem.step)
    return problem.step * chain.mean_steps(start=problem.start[0], upper=upper)


def found(problem, **options):
    return simulate.Splitting(problem, **options).finish().result()


def agrees(result, truth):
    """Is the rate, which has no bias, that of the mean time?"""
    return abs(result.rate - 1 / truth) < ALARM * result.rate_stderr


EASY = to_the_top(6, 0.3)  # a step is 0.16 long: paths jump over levels
FEW = dict(walkers=20, repetitions=3, seed=5, threads=1)


# --- the pieces -----------------------------------------------------------------------------------


def test_the_level_of_an_exit_is_positive_in_the_exit_alone():
    exits = [
        x > 0.3,
        x <= -0.4,
        sp.Or(x > 1, y >= 2, x < -y),
        sp.And(x > y, sp.Or(y > 0.7, x**2 + y**2 > 4)),
    ]
    places = np.random.default_rng(1).normal(0, 2, (400, 2))
    for exit in exits:
        level = sp.lambdify((x, y), _watch.height(exit))
        inside = sp.lambdify((x, y), exit)
        signs = {(bool(level(*p) > 0), bool(inside(*p))) for p in places}
        assert signs == {(True, True), (False, False)}


def sampled(size, rate):
    losses = [WELL.expression + a * x + b * x**2 for a, b in TILTS]
    mean = Landscape(sp.expand(sum(losses) / 4), (x,), name="mean", box=((-3, 3),))
    return mean, MinibatchNoise(tuple(losses), rate, size)


def far_away():
    z = x - 1000
    loss = z**4 / 4 - z**2 / 2
    return Landscape(loss, (x,), name="far", box=((998, 1002),)), WhiteNoise(0.2)


WATCHED = {
    "line": lambda: to_the_top(2, 0.02),
    "plane": lambda: simulate.Problem(
        Landscape(x**4 / 4 - x**2 / 2 + y**2, (x, y), name="plane", box=((-3, 3), (-3, 3))),
        WhiteNoise(0.25),
        start=(-1, 0.2),
        exit=sp.Or(x > 0.9, y > 2),
        step=0.01,
    ),
    "minibatches": lambda: simulate.Problem(
        *sampled(2, 0.4), start=-1, exit=x > 0.5, step=0.4, rule=simulate.sgd
    ),
    "momentum": lambda: to_the_top(2, 0.05, rule=simulate.momentum(0.6)),
    "far away": lambda: simulate.Problem(*far_away(), start=999, exit=x > 1000.5, step=0.02),
    "compensated": lambda: to_the_top(2, 1e-12, exit=x > 0, max_time=4e-10),
}


@pytest.mark.parametrize("name", WATCHED)
def test_a_walker_that_is_watched_moves_as_one_that_is_not(name):
    problem = WATCHED[name]()
    run = simulate.Run(problem, walkers=70, seed=11, threads=1).finish()
    watch = _watch.Watch(problem, None, cpu.CPU, 1)
    seeds = problem.program().module.seeds
    words = np.array([seeds(np.uint64(11), np.int64(i)) for i in range(70)], np.uint32)
    most = None if problem.max_time is None else problem.limit
    states, steps = watch.follow(np.tile(watch.start, (70, 1)), words, most=most)
    carried = np.delete(states, range(watch._now, watch._now + 4), axis=1)
    assert problem.compensated == (name == "compensated")
    assert np.array_equal(steps, run._pool.steps) and steps.min() > 0
    assert np.array_equal(carried, run._pool.state)
    assert np.all(watch.now(states) == _watch.GONE) == (most is None)


def test_a_path_is_walked_again_up_to_the_first_place_above_a_level():
    watch = _watch.Watch(to_the_top(1.5, 0.1), None, cpu.CPU, 1)
    streams = _branching.Streams([stream(3, "splitting")], 200)
    words, begin = streams.words(np.arange(200)), np.tile(watch.start, (200, 1))
    ends, steps = watch.follow(begin, words, below=-1.1)
    tops = watch.top(ends)
    back = tops < _watch.GONE
    assert 3 < back.sum() < 197 and np.all(watch.now(ends)[back] <= -1.1)
    halfway = np.where(back, tops, -0.2) / 2 - 0.5  # between the start and the highest place
    there, first = watch.follow(begin, words, below=-1.1, above=halfway)
    rises = tops > -1
    assert np.all(watch.now(there)[rises] > halfway[rises])
    assert np.all(first <= steps) and np.all(first[rises & back] < steps[rises & back])
    just = np.where(rises, np.nextafter(tops, np.float32(-9)), np.float32(-0.01))
    at_top, _ = watch.follow(begin, words, below=-1.1, above=just)
    assert np.array_equal(watch.now(at_top)[rises], tops[rises])
    above = np.where(back, tops, np.float32(9))
    again, all_steps = watch.follow(begin, words, below=-1.1, above=above)
    assert np.array_equal(again[back][:, :-2], ends[back][:, :-2])
    assert np.array_equal(all_steps, steps)


def test_everyone_is_followed_also_where_all_lanes_are_free_at_the_end_of_a_slice():
    many = 400_000  # gone after a few steps, more of them than a slice has places for
    watch = _watch.Watch(EASY, None, cpu.CPU, 1)
    words = _branching.Streams([stream(3, "splitting")], many).words(np.arange(many))
    begin = np.tile(watch.start, (many, 1))
    _, steps = watch.follow(begin, words, below=-1.0, above=-0.99)
    assert steps.min() == 1 and watch.walked == steps.sum()


# --- no bias ------------------------------------------------------------------------------------


def exact_probability(problem, entry, low):
    """The chance that the chain is seen above zero before at most ``low``, by Nyström's method."""
    nodes, weights = np.polynomial.legendre.leggauss(120)
    nodes, weights = low - low * (nodes + 1) / 2, -low * weights / 2
    mean = lambda z: z - problem.step * (z**3 - z)  # noqa: E731
    width = np.sqrt(2 * problem.step * float(problem.noise.diffusion_constant))
    kernel = stats.norm.pdf(nodes, mean(nodes)[:, None], width) * weights
    direct = stats.norm.sf(0, mean(nodes), width)
    chances = np.linalg.solve(np.eye(len(nodes)) - kernel, direct)
    first = stats.norm.pdf(nodes, mean(entry), width) * weights
    return float(stats.norm.sf(0, mean(entry), width) + first @ chances)


def estimates(level, *, walkers, discard, repetitions, low=-0.9, entry=-0.75):
    """Estimates of the chance from one entry, each with few paths."""
    watch = _watch.Watch(EASY, level, cpu.CPU, 2)
    generators = [stream(17, "splitting", i) for i in range(repetitions)]
    states = np.tile(watch.start, (walkers * repetitions, 1))
    states[:, 0] = entry
    states[:, watch._now] = entry if level is None else float(level.subs(x, entry))
    streams = _branching.Streams(generators, walkers)
    return _branching.split(watch, streams, states, low, walkers, discard)[0]


STAIRS = sp.Piecewise((-0.9, x <= -0.9), (-0.6, x < -0.5), (-0.3, x < -0.2), (-0.1, True))
WAVES = {
    "distance": None,
    "few stairs": STAIRS,  # ties are the rule
    "not monotone": sp.Piecewise((-0.9, x <= -0.9), (sp.Max(x + sp.sin(20 * x) / 5, -0.89), True)),
}


@pytest.mark.parametrize("name", WAVES)
def test_the_estimate_has_no_bias_whatever_the_level_and_however_few_the_paths(name):
    values = estimates(WAVES[name], walkers=12, discard=5, repetitions=4000)
    truth = exact_probability(EASY, -0.75, -0.9)
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert error < 0.05 * truth
    assert abs(values.mean() - truth) < ALARM * error


def test_the_last_particle_alone_has_no_bias():
    values = estimates(None, walkers=4, discard=1, repetitions=3000)
    truth = exact_probability(EASY, -0.75, -0.9)
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert error < 0.07 * truth
    assert abs(values.mean() - truth) < ALARM * error


def test_many_small_repetitions_give_the_exact_mean_time():
    result = found(EASY, walkers=16, repetitions=1500, seed=4, discard=0.3)
    assert result.rate_stderr < 0.04 * result.rate
    assert agrees(result, exact_time(EASY))


# --- exponents of 30 ------------------------------------------------------------------------------


SOURCES = {"found": {}, "given": dict(source=(-1.05, -0.8)), "at rest": dict(settle=15)}


@pytest.mark.parametrize("source", SOURCES)
def test_an_exponent_of_30_on_a_line(source):
    problem = to_the_top(30, 0.05)
    result = found(problem, walkers=1000, repetitions=10, seed=8, **SOURCES[source])
    truth = exact_time(problem)
    assert truth > 1e13 and result.rate_stderr < 0.2 * result.rate
    assert agrees(result, truth)
    assert result.walker_steps < 1e-5 * truth / problem.step


def test_an_exponent_of_30_in_ten_dimensions():
    names = sp.symbols("q:10", real=True)
    u, *others = names
    stiff = (2, 3, 0.7, 1.5, 4, 0.3, 5, 1.2, 2.5)
    loss = u**4 / 4 - u**2 / 2 + sum(h * q**2 / 2 for h, q in zip(stiff, others, strict=True))
    ten = Landscape(loss, names, name="ten", box=((-2, 2),) * 10)
    line = to_the_top(30, 0.1)
    problem = simulate.Problem(
        ten, line.noise, start=(-1, *[0] * 9), exit=u > 0, step=0.1, barrier_shift=False
    )
    result = found(problem, walkers=1000, repetitions=8, seed=2, level=u + others[0] / 5)
    assert result.rate_stderr < 0.25 * result.rate
    assert agrees(result, exact_time(line))


def test_minibatches_that_need_a_rare_run_of_luck():
    """Samples are drawn and each step has a kick besides, so the exact chain is smooth."""
    tilts, eta, width = (0.7, -0.3, -0.4), 0.2, 0.15
    losses = tuple(WELL.expression + a * x for a in tilts)
    drawn = MinibatchNoise(losses, eta, 3)

    def kicked(landscape, noise, dt):
        step, kick = simulate.sgd(landscape, noise, dt), sp.Dummy("kick", real=True)
        return replace(step, update=(step.update[0] + dt * width * kick,), normals=(kick,))

    batches = product(tilts, repeat=3)
    moves = [x - eta * (WELL.gradient_expression[0] + sum(batch) / 3) for batch in batches]
    outcomes = [chains.Outcome(1 / 27, move, eta * width) for move in moves]
    truth = eta * chains.Chain(outcomes, x, (-2, 2)).mean_steps(start=-1, upper=0.1)
    problem = simulate.Problem(WELL, drawn, start=-1, exit=x > 0.1, step=eta, rule=kicked)
    result = found(problem, walkers=1000, repetitions=10, seed=6)
    assert truth > 1e15 and result.rate_stderr < 0.3 * result.rate
    assert agrees(result, truth)


def test_the_level_and_the_exit_may_use_a_velocity():
    """Underdamped, to an energy: E wanders in one dimension, so the time is a quadrature."""
    friction, heat, top, dt = 0.05, 0.05, 0.5, 0.02
    bowl = Landscape(x**2 / 2, (x,), name="bowl", box=((-3, 3),))
    v, kick = sp.Symbol("v", real=True), sp.Dummy("kick", real=True)

    def langevin(landscape, noise, dt):
        spread = sp.sqrt(2 * friction * heat * dt)
        moved = v - dt * landscape.gradient_expression[0] - friction * dt * v + spread * kick
        return simulate.Step((x, v), (x + dt * moved, moved), normals=(kick,), physical=True)

    energy = (x**2 + v**2) / 2
    problem = simulate.Problem(
        bowl, WhiteNoise(heat), start=0.1, exit=energy > top, step=dt, rule=langevin
    )
    e = np.linspace(1e-9, top / heat, 4001)  # dE = friction (heat − E) dt + √(2 friction heat E) dW
    inner = np.expm1(e) / e  # in units of the heat: ∫ exp(E) (1 − exp(−E))/E dE / friction
    truth = float(np.trapezoid(inner, e)) / friction
    result = found(problem, walkers=500, repetitions=10, seed=3)
    assert result.source[1] < 0 and result.stderr < 0.08 * result.mean
    assert abs(result.mean / truth - 1) < 0.07 + ALARM * result.stderr / result.mean


def test_two_exits_are_the_first_of_two():
    cap = Landscape(x**2 / 2, (x,), name="bowl", box=((-4, 4),))
    noise = WhiteNoise(0.05)
    ask = dict(start=0, step=0.2, barrier_shift=False)
    exit = criterion.Box(0.1, half_width=1.2)
    problem = simulate.Problem(cap, noise, exit=exit, **ask)
    truth = 0.2 * chains.of(cap, noise, step=0.2).mean_steps(start=0, lower=-1.1, upper=1.3)
    assert agrees(found(problem, walkers=200, repetitions=40, seed=1), truth)


# --- the same bits ----------------------------------------------------------------------------


def same(one, other):
    return (
        np.array_equal(one.probabilities, other.probabilities)
        and np.array_equal(one.loops, other.loops)
        and one.source == other.source
        and np.array_equal(one.rounds, other.rounds)
    )


def test_threads_and_company_change_no_bit(monkeypatch):
    whole = found(EASY, **FEW)
    assert same(whole, found(EASY, **FEW | {"threads": 2}))
    monkeypatch.setattr(splitting, "_TOGETHER", 1)  # each repetition by itself
    assert same(whole, found(EASY, **FEW))
    parts = simulate.Splitting(EASY, **FEW | {"repetitions": 1}).finish()
    assert parts.done == 1 and same(whole, parts.extend(3).finish().result())
    other = found(EASY, **FEW | {"seed": 6})
    assert not set(whole.probabilities) & set(other.probabilities)
    assert len(set(whole.probabilities)) == 3


def test_the_bits_are_those_of_every_machine():
    result = found(EASY, **FEW)
    known = ["0x1.128b692a08114p-8", "0x1.a09d90d0e5605p-7", "0x1.574f0e2d0e561p-8"]
    assert [float(p).hex() for p in result.probabilities] == known
    assert [round(t / 0.3 * 40) for t in result.loops] == [978, 1187, 1042]


SIMULATED = """
import sys, warnings
import numpy as np
from tests.test_splitting import on
np.seterr(over="ignore")
warnings.simplefilter("ignore")
print(on("cuda"))
"""


def on(device):
    """What a small splitting finds on a device: without scouts, who are many for a simulator."""
    ask = dict(FEW, walkers=6, repetitions=2, source=(-1.05, -0.9), settle=2.4, discard=0.4)
    result = found(to_the_top(3, 0.3), device=device, **ask)
    return [float(v).hex() for v in (*result.probabilities, *result.loops)], result.walker_steps


def test_the_cuda_kernel_gives_the_bits_of_the_cpu(cuda_simulator):
    assert cuda_simulator(SIMULATED).strip() == str(on("cpu"))


def test_ctrl_c_keeps_the_repetitions_that_are_done(monkeypatch):
    monkeypatch.setattr(splitting, "_TOGETHER", 1)
    whole = found(EASY, **FEW)
    job, split = simulate.Splitting(EASY, **FEW), _branching.split

    def pressed(*arguments):
        if job.done == 2:
            raise KeyboardInterrupt
        return split(*arguments)

    monkeypatch.setattr(_branching, "split", pressed)
    with pytest.raises(simulate.Interrupted, match="3 repetitions, 2 of them done") as error:
        job.finish()
    kept = error.value.run
    assert kept.result().repetitions == 2
    monkeypatch.setattr(_branching, "split", split)
    assert same(whole, kept.finish().result())


# --- what a result says -------------------------------------------------------------------------


def test_errors_are_those_of_a_ratio():
    rng = np.random.default_rng(3)
    common = rng.gamma(10, 1 / 10, 400)  # what p and the loops share cancels in the rate
    p = 2e-9 * rng.gamma(25, 1 / 25, 400) * common
    loops = 3 * rng.gamma(50, 1 / 50, 400) * common
    result = simulate.RareEscapes(p, loops, (0, 1), np.ones(400), 10, 1, "none")
    assert result.probability == np.mean(p)
    assert result.probability_stderr == pytest.approx(np.std(p, ddof=1) / 20)
    assert result.rate == pytest.approx(np.mean(p) / np.mean(loops))
    assert result.mean == pytest.approx(1 / result.rate)
    expected = np.sqrt((1 / 25 + 1 / 50) / 400)
    assert result.stderr / result.mean == pytest.approx(expected, rel=0.2)
    assert result.rate_stderr / result.rate == pytest.approx(result.stderr / result.mean)
    assert result.spread == pytest.approx(np.sqrt(1 / 25 + 1 / 10 + 1 / 250), rel=0.2)


def test_a_time_that_nobody_found_is_an_error():
    none = simulate.RareEscapes(np.zeros(3), np.ones(3), (0, 1), np.ones(3), 10, 1, "none")
    assert none.probability == none.rate == 0
    for name in ("mean", "spread", "stderr"):
        with pytest.raises(ValueError, match="must reach the exit, got none of 3"):
            getattr(none, name)
    one = simulate.RareEscapes(np.ones(1), np.ones(1), (0, 1), np.ones(1), 10, 1, "none")
    assert one.mean == 1
    with pytest.raises(ValueError, match="two repetitions, got 1"):
        _ = one.stderr


# --- what is refused ----------------------------------------------------------------------------


def slower(landscape, noise, dt):
    step = simulate.euler_maruyama(landscape, noise, dt)
    return replace(step, duration=dt / (1 + x**2))


REFUSED = {
    "no problem": (dict(problem=WELL), "needs a Problem"),
    "no exit": (dict(problem=to_the_top(6, 0.3, exit=None)), "with an exit"),
    "one path": (dict(walkers=1), "walkers must be a whole number, 2 or more"),
    "half a repetition": (dict(repetitions=0.5), "repetitions must be a whole number"),
    "no seed": (dict(seed=None), "seed must be"),
    "a text": (dict(level="x"), "level must be a SymPy expression"),
    "a constant": (dict(level=sp.Integer(2)), "level must be a SymPy expression"),
    "another variable": (dict(level=x + y), "what is asked of a walker may use x, got"),
    "a condition": (dict(level=x > 0), "level must be a SymPy expression"),
    "no number at the start": (dict(level=sp.log(x)), "level must be a number at the start"),
    "no compiled form": (dict(level=sp.gamma(x + 3)), "no form for gamma"),
    "a clock": (dict(problem=to_the_top(6, 0.3, rule=slower)), "steps are of one length"),
    "all of them": (dict(discard=1), "discard must be"),
    "levels exchanged": (dict(source=(-0.5, -0.9)), "the lower first"),
    "one level": (dict(source=-0.5), "source must be an array of shape"),
    "a start above": (dict(source=(-1.5, -1.2)), "the start not above them"),
    "no time": (dict(settle=0), "settle must be"),
    "threads": (dict(threads=0), "threads must be"),
    "device": (dict(device="tpu"), "device must be"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_arguments_are_refused(name):
    changes, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        simulate.Splitting(**dict(problem=EASY, **FEW) | changes)


def test_what_splitting_cannot_do_is_said():
    with pytest.raises(ValueError, match="there is a result once a repetition is done"):
        simulate.Splitting(EASY, **FEW).result()
    with pytest.raises(ValueError, match="repetitions must be"):
        simulate.Splitting(EASY, **FEW).finish().extend(2)
    with pytest.raises(ValueError, match="must be rare.*use first_passage"):
        found(to_the_top(0.5, 0.1), **FEW)


def test_walkers_that_find_no_rest_are_an_error(monkeypatch):
    monkeypatch.setattr(_source, "_LONGEST", 1000)
    flat = Landscape(x**2 / 2e4, (x,), name="flat", box=((-900, 900),))
    problem = simulate.Problem(flat, WhiteNoise(1), start=0, exit=x > 800, step=0.1)
    with pytest.raises(ValueError, match="come to rest.*give settle="):
        found(problem, **FEW)


@pytest.mark.parametrize("level", [sp.log(-x - sp.Float(0.5)), x * 1e26, x - 1 / (x + 0.6) ** 20])
def test_a_level_that_is_no_moderate_number_somewhere_is_refused(level):
    with pytest.raises(ValueError, match="have a level wherever they go"):
        found(EASY, **FEW, level=level, source=(-3, -0.6), settle=9)


def test_a_walker_caught_between_source_and_exit_is_an_error(monkeypatch):
    monkeypatch.setattr(_watch, "_PATIENCE", 1e5)
    loss = x**6 / 6 - x**4 * sp.Rational(5, 4) + 2 * x**2  # minima at 0 and ±2
    three = Landscape(loss, (x,), name="three valleys", box=((-4, 4),))
    problem = simulate.Problem(three, WhiteNoise(0.06), start=-2, exit=x > 1, step=0.01)
    with pytest.raises(ValueError, match="come back to their source or reach the exit"):
        found(problem, walkers=100, repetitions=1, seed=1)
