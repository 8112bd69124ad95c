"""Readings of the noise, the order of the step's error, and what is refused before it is run.

Truths: quadrature under the three readings (``exact``), the stationary density of a jump of D, and
counting. Alarms are 4.42 standard errors, 1e-5, unless a test says otherwise.
"""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from ddt_utils import catalog, exact, simulate
from ddt_utils.landscape import Landscape
from ddt_utils.noise import FactorNoise, HessianNoise, StateDependentNoise, WhiteNoise
from ddt_utils.simulate import Problem, Run, Step, cpu, euler_maruyama, rules
from ddt_utils.simulate import run as run_module
from ddt_utils.simulate.driver import _stretches

WELL = catalog.quartic()
(x,) = WELL.variables
UNEVEN = StateDependentNoise(0.15 + x**2 / 5 + x / 20)
ALARM = 4.42


@pytest.mark.parametrize("name", ["ito", "stratonovich", "isothermal"])
def test_each_reading_has_its_escape_time(name):
    """The three truths lie 19 to 60 % apart; Euler's error in the bulk is about the step."""
    rule = {"ito": euler_maruyama, "stratonovich": rules.stratonovich}.get(name, rules.isothermal)
    step = 0.005
    run = simulate.first_passage(
        WELL, UNEVEN, start=-1, exit=x > 0.5, step=step, walkers=20_000, seed=3, rule=rule
    )
    truth = exact.mean_first_passage_time(WELL, UNEVEN, start=-1, upper=0.5, convention=name)
    assert abs(run.mean - truth) < ALARM * run.stderr + step * truth


@pytest.mark.parametrize(
    ("rule", "power", "slack"),
    [(euler_maruyama, 1, 0), (rules.stratonovich, 0.5, 0.002), (rules.isothermal, 0, 0)],
)
def test_the_odds_at_a_jump_of_the_noise_are_those_of_the_reading(rule, power, slack):
    """Density ~ exp(−∫L′/D) D^(α − 1): with walls 2x⁸/8 the odds of the two sides are known."""
    low, high = 0.2, 0.45
    well = Landscape(x**8 / 4, (x,), name="flat bottom", box=((-1.5, 1.5),))
    kick = StateDependentNoise(sp.Piecewise((low, x < 0), (high, True)))
    walkers = 20_000
    places = simulate.ensemble(
        well, kick, start=0.25, step=0.0005, times=[12.0], walkers=walkers, seed=2, rule=rule
    )[0, :, 0]
    sides = [d**-power * d ** (1 / 8) for d in (low, high)]  # the width goes like D^(1/8)
    share = sides[0] / sum(sides)
    error = np.sqrt(share * (1 - share) / walkers)
    assert abs(np.mean(places < 0) - share) < ALARM * error + slack + 0.002


def test_a_reading_other_than_ito_wants_a_diagonal_noise():
    u, v = sp.symbols("u v", real=True)
    plane = Landscape(u**2 + v**2, (u, v), name="plane", box=((-2, 2), (-2, 2)))
    turned = FactorNoise([[1, 0], [sp.Rational(1, 2), 1]])
    for rule in (rules.isothermal, rules.stratonovich):
        with pytest.raises(ValueError, match=f"the rule {rule.__name__} takes a diagonal D"):
            Problem(plane, turned, start=(0, 0), exit=u > 1, step=0.01, rule=rule)


def test_where_the_noise_jumps_the_bias_is_of_order_one_half():
    """The factor of the estimate is 1/(1 − 2^(−1/2)), and 2 where D is smooth."""
    well = catalog.piecewise_well(curvature_minimum=4, curvature_saddle=1, barrier=1)
    (z,) = well.variables
    jump = Problem(well, HessianNoise(0.5, 1), start=-1.5, exit=z > 0, step=0.01)
    smooth = replace(jump, noise=WhiteNoise(0.5))
    assert jump.jumps and not smooth.jumps
    assert not Problem(WELL, UNEVEN, start=-1, exit=x > 1, step=0.01).jumps
    for problem, factor in ((jump, 1 / (1 - 2**-0.5)), (smooth, 2)):
        bias, error = simulate.step_bias(problem, walkers=2000, seed=4)
        means = [
            Run(replace(problem, step=0.01 / k), walkers=2000, seed=3 + k, keep=False)
            .finish()
            .result()
            .mean
            for k in (1, 2)
        ]
        assert bias == pytest.approx(factor * (1 - means[1] / means[0]), rel=1e-12)
        assert error > 0


def test_a_noise_that_vanishes_on_the_way_up_is_refused():
    gate = HessianNoise(0.2, 1)
    options = dict(start=-1, exit=x > 1, step=0.01)
    with pytest.raises(ValueError, match="D = 0 at -0.5774 on the way to x > 1.*a floor"):
        Problem(WELL, gate, **options)
    Problem(WELL, gate, **options, max_time=10)
    Problem(WELL, HessianNoise(0.2, 1, floor=0.01), **options)
    down = Problem(WELL, gate, start=-0.05, exit=x < -0.9, step=0.01)  # the gate is met downhill
    assert down.landscape is WELL


def test_the_symbols_of_a_step_are_distinct():
    z, dt = sp.Symbol("z", real=True), sp.Symbol("dt", positive=True)
    for given in (
        dict(normals=(x,)),
        dict(normals=(z,), uniforms=(z,)),
        dict(normals=(z,), where=((z, x),)),
        dict(iteration=x),
        dict(normals=(dt,)),
    ):
        with pytest.raises(ValueError, match="symbols of a step must be distinct"):
            Step((x,), (x + z,), **given)
    with pytest.raises(ValueError, match="initial_state must have 1 values"):
        Step((x, z), (x + z, z), initial_state=(1, 2)).complete(1)


def test_a_state_has_initial_values_and_steps_are_counted():
    """x ← x + 2ᵏ·v with v ← v/4 from v = 3/8: the sum of 3/8 · 2^(−k), and k counts from zero."""
    v, k = sp.symbols("v k", real=True)

    def rule(landscape, noise, dt):
        update = (x + 2**k * v, v / 4)
        return Step((x, v), update, initial_state=(0.375,), iteration=k, physical=True)

    flat = Landscape(0 * x, (x,), name="flat", box=((-2, 2),))
    times = np.arange(1, 6)
    places = simulate.ensemble(
        flat, FactorNoise([[0]]), start=-1, step=1, times=times, walkers=3, seed=0, rule=rule
    )[:, :, 0]
    truth = -1 + 0.375 * np.cumsum(0.5 ** np.arange(5))
    assert places == pytest.approx(np.repeat(truth[:, None], 3, axis=1), abs=1e-6)
    problem = Problem(flat, FactorNoise([[0]]), start=-1, exit=x > -0.28, step=1, rule=rule)
    assert set(Run(problem, walkers=5, seed=1).finish().result().times) == {5.0}


def test_a_power_of_zero_is_zero():
    valley = Landscape(sp.Abs(x) ** sp.Rational(4, 3), (x,), name="valley", box=((-2, 2),))
    places = simulate.ensemble(
        valley, WhiteNoise(0.1), start=0, step=0.001, times=[0.1], walkers=50, seed=1
    )
    assert np.all(np.isfinite(places)) and places.std() > 0.05


@pytest.mark.parametrize("first", [0, 13])
def test_a_run_of_later_walkers_is_resumed_after_an_odd_number_of_steps(first, tmp_path):
    """Saved while it runs: an odd number of chunks, the first walker, the middle of a block."""
    problem = Problem(WELL, WhiteNoise(0.25), start=-1, exit=x > 1, step=0.01)
    whole = Run(problem, walkers=30, seed=5, first=first).finish().result()
    run = Run(problem, walkers=30, seed=5, first=first, threads=2)
    engine = cpu.CPU(problem, run._pool, 5, 2)
    engine.slice_steps = 3 * 32
    engine.advance()
    engine.close()
    run.save(tmp_path / "run.npz")
    again = Run.resume(tmp_path / "run.npz", problem)
    assert (again.first, again.seed, again.walkers) == (first, 5, 30)
    assert 0 < np.count_nonzero(again._pool.steps) and not again._pool.status.all()
    found = again.finish().result()
    assert np.array_equal(found.times, whole.times)
    assert np.array_equal(found.states, whole.states)


def test_each_escape_renews_the_patience(monkeypatch):
    """Walkers that leave one by one need twice as many steps in all as none may wait for."""
    monkeypatch.setattr(run_module, "_PATIENCE", 1e6)
    monkeypatch.setattr(cpu.CPU, "slice_steps", 10 * 32)
    problem = Problem(WELL, WhiteNoise(0.25), start=-1, exit=x > 1, step=0.01)
    try:
        run = Run(problem, walkers=1500, seed=3, threads=1).finish().result()
    except ValueError as refusal:
        raise AssertionError("patience was lost although walkers escaped") from refusal
    assert run.escaped == 1500 and run.times.sum() / 0.01 > 2e6


def test_a_torn_or_foreign_file_is_named(tmp_path):
    problem = Problem(WELL, WhiteNoise(0.25), start=-1, exit=x > 1, step=0.01)
    Run(problem, walkers=10, seed=1).save(tmp_path / "run.npz")
    content = (tmp_path / "run.npz").read_bytes()
    np.savez(tmp_path / "other.npz", a=1)
    for name, data in (("empty", b""), ("half", content[:700]), ("text", b"hello"), ("other", 0)):
        path = tmp_path / f"{name}.npz"
        if data != 0:
            path.write_bytes(data)
        with pytest.raises(ValueError, match=f"{name}.npz is damaged.*or start the run again"):
            Run.resume(path, problem)


def test_an_ensemble_listens_to_ctrl_c():
    done = threading.Event()

    def press():
        time.sleep(3)
        if not done.is_set():
            os.kill(os.getpid(), 2)

    options = dict(start=-1, step=1e-3, walkers=4000, seed=1)
    simulate.ensemble(WELL, WhiteNoise(0.25), times=[0.01], **options)  # compiled
    threading.Thread(target=press, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        simulate.ensemble(WELL, WhiteNoise(0.25), times=[1e5], **options)
    done.set()
    assert time.monotonic() - began < 60  # it would take a quarter of an hour and more


def test_stretches_add_up():
    counts = np.array([0, 5, 40_000, 1 << 14])
    pieces, rows = _stretches(counts)
    ends = np.cumsum(pieces)[rows >= 0]
    assert list(ends) == list(np.cumsum(counts)) and list(rows[rows >= 0]) == [0, 1, 2, 3]
    assert pieces.max() <= 1 << 14


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux sets affinities")
def test_processors_are_those_of_this_process():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from ddt_utils.simulate.cpu import thread_count; print(thread_count(None))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "1"
    environment = os.environ | {"SLURM_CPUS_PER_TASK": "1"}
    code = "from ddt_utils.simulate.cpu import processors; print(processors())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize("pattern", ["*.py", "__pycache__/*.nbi", "__pycache__/*.nbc"])
def test_a_torn_cache_is_made_again(pattern, tmp_path, monkeypatch):
    from ddt_utils.simulate import cache

    monkeypatch.setenv("DDT_UTILS_CACHE", str(tmp_path))
    problem = Problem(WELL, WhiteNoise(0.25), start=-1, exit=x > 1, step=0.01, max_time=1)

    def numbers():
        cache.load.cache_clear()
        return Run(problem, walkers=40, seed=1, threads=1).finish().result().states

    before = numbers()
    torn = list(tmp_path.glob(pattern))
    assert torn
    for path in torn:
        path.write_bytes(b"" if pattern != "*.py" else b"raise SystemExit(3)")
    for _ in range(2):
        assert np.array_equal(numbers(), before)
    cache.load.cache_clear()


TOUCH = WELL.expression


@pytest.mark.parametrize("exit", [TOUCH >= 0, TOUCH >= 1e-7, (x - 1) ** 3 > 0, (x - 1) ** 5 >= 0])
def test_an_exit_that_only_touches_its_level_is_not_moved(exit):
    ask = {"start": -1, "exit": exit, "step": 0.01}
    with pytest.raises(ValueError, match="only touches it at x = "):
        Problem(WELL, WhiteNoise(0.1), **ask)


@pytest.mark.parametrize(
    "exit", [TOUCH >= -0.05, x**3 + x > 0, sp.Or(x > -0.5, TOUCH >= 0), sp.Abs(x) > 1.6]
)
def test_an_exit_that_crosses_its_level_before_is_moved(exit):
    assert Problem(WELL, WhiteNoise(0.1), start=-1, exit=exit, step=0.01).barrier_shift


X, Y = sp.symbols("X Y", real=True)
PLANE = Landscape(X**2 / 2 + 3 * Y**2, (X, Y), name="bowl", box=((-3, 3), (-3, 3)))


@pytest.mark.parametrize(
    "exit",
    [
        (X - 1) ** 2 + Y**2 <= 0,
        -((X - 1) ** 2) - 2 * Y**4 >= 0,
        sp.expand((X + 3 * Y - 1) ** 2) <= 0,
        sp.Abs(X * Y - 0.3) <= 0,
        sp.Or(X > 2, (X - 1) ** 2 + Y**2 <= 0),
    ],
)
def test_an_exit_in_the_plane_that_only_touches_its_level_is_not_moved(exit):
    """It used to become a disk, or a strip, about a step wide."""
    ask = {"start": (0, 0.5), "exit": exit, "step": 0.001, "max_time": 5}
    with pytest.raises(ValueError, match="which only touches it; take a region with an inside"):
        Problem(PLANE, WhiteNoise(0.2), **ask)
    assert not Problem(PLANE, WhiteNoise(0.2), **ask, barrier_shift=False).barrier_shift


@pytest.mark.parametrize(
    "exit",
    [(X - 1) ** 2 + Y**2 <= 0.04, X**2 + Y**2 > 4, sp.And(X > 1, Y > -1), sp.Or(X > 2, Y**2 > 3)],
)
def test_an_exit_in_the_plane_with_an_inside_is_moved(exit):
    ask = {"start": (0, 0.5), "exit": exit, "step": 0.001, "max_time": 5}
    assert Problem(PLANE, WhiteNoise(0.2), **ask).barrier_shift


@pytest.mark.parametrize("exit", [sp.log(x) > 0, sp.sqrt(x) > 1])
def test_an_exit_that_is_not_real_at_the_start_is_named(exit):
    with pytest.raises(ValueError, match="exit must be real where walkers are"):
        Problem(WELL, WhiteNoise(0.1), start=-1, exit=exit, step=0.01)
