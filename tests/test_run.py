"""A run is the same to the last bit however it is cut, stopped, kept on disk and continued."""

import contextlib
import json
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from ddt_utils import catalog, simulate
from ddt_utils.escape import CENSORED, DIVERGED, ESCAPED
from ddt_utils.landscape import Landscape
from ddt_utils.noise import WhiteNoise
from ddt_utils.simulate import cpu, program
from ddt_utils.simulate import run as run_module
from ddt_utils.simulate.statistics import tally

ROOT = Path(__file__).resolve().parent.parent
ALARM = 4.42  # standard errors that chance exceeds once in 1e5
WELL = catalog.quartic()
(x,) = WELL.variables
u, v = sp.symbols("u v", real=True)
VALLEY = Landscape(u**4 / 4 - u**2 / 2 + v**2, (u, v), name="valley", box=((-3, 3), (-3, 3)))
BOWL = Landscape(x**2 / 2, (x,), name="bowl", box=((-5, 5),))
LINE = simulate.Problem(WELL, WhiteNoise(0.25), start=-1, exit=x > 1, step=0.01)
PROBLEMS = {
    "line": LINE,  # one normal a step: every walker carries half a pair
    "plane": simulate.Problem(VALLEY, WhiteNoise(0.25), start=(-1, 0), exit=u > 1, step=0.01),
    "momentum": replace(LINE, step=0.02, rule=simulate.momentum(0.5)),
}
WALKERS = 300


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]


def run_of(problem, **changes):
    return simulate.Run(problem, **dict(walkers=WALKERS, seed=7, threads=1) | changes)


def result_of(problem, **changes):
    return run_of(problem, **changes).finish().result()


def python(script, *arguments):
    """Run a script in another process; returns its exit status, output and errors."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def same(a, b):
    """The same times, ends and places, bit by bit."""
    return all(
        np.asarray(getattr(a, k)).tobytes() == np.asarray(getattr(b, k)).tobytes()
        for k in ("times", "status", "states")
    )


def stopped(monkeypatch, run, slices, chunks=1):
    """The run after that many slices of work, each of so many chunks, as Ctrl-C leaves it."""
    advance, taken = cpu.CPU.advance, []

    def counted(self):
        if len(taken) == slices:
            raise KeyboardInterrupt
        taken.append(1)
        return advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(cpu.CPU, "slice_steps", chunks * program.CHUNK)
        patch.setattr(cpu.CPU, "advance", counted)
        with pytest.raises(simulate.Interrupted) as error:
            run.finish()
    assert error.value.run is run
    return run


# ---------------------------------------------------------------- however the work is cut


def test_threads_and_slices_change_no_bit(problem, monkeypatch):
    whole = result_of(problem)
    for threads, chunks in ((2, 2000), (5, 7), (1, 1), (3, 1)):
        monkeypatch.setattr(cpu.CPU, "slice_steps", chunks * program.CHUNK)
        assert same(result_of(problem, threads=threads), whole)


def test_shards_change_no_bit(problem):
    whole = result_of(problem)
    cuts = [0, 1, 64, 165, WALKERS]
    parts = [
        result_of(problem, first=a, walkers=b - a) for a, b in zip(cuts, cuts[1:], strict=False)
    ]
    for name in ("times", "status", "states"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert joined.tobytes() == getattr(whole, name).tobytes()


@pytest.mark.parametrize("block", [1, 63, 100, WALKERS])
def test_blocks_change_no_bit(problem, block, monkeypatch):
    """The statistics of walkers in blocks are those of all their times."""
    limited = replace(problem, max_time=20.0)
    times = result_of(limited)
    steps = np.rint(times.times / limited.step).astype(np.int64)
    expected = tally(steps, times.status, limited.step, limited.bias_correction)
    assert expected.censored and expected.escaped
    monkeypatch.setattr(cpu.CPU, "block", block)
    assert result_of(limited, keep=False, threads=2) == expected


# ------------------------------------------------------------------ stopped and continued


def test_a_run_stopped_after_every_slice_goes_on(problem, monkeypatch):
    advance = cpu.CPU.advance

    def once(self):
        if self.__dict__.setdefault("worked", False):
            raise KeyboardInterrupt
        self.worked = True
        return advance(self)

    for keep in (True, False):
        whole, run, stops = result_of(problem, keep=keep), run_of(problem, keep=keep, threads=2), 0
        with monkeypatch.context() as patch:
            patch.setattr(cpu.CPU, "block", 70)
            patch.setattr(cpu.CPU, "slice_steps", 5 * program.CHUNK)
            patch.setattr(cpu.CPU, "advance", once)
            while run.done < WALKERS:
                with contextlib.suppress(simulate.Interrupted):
                    run.finish()
                    break
                stops += 1
        found = run.finish().result()
        assert same(found, whole) if keep else found == whole
        assert stops > 5


@pytest.mark.parametrize("keep", [True, False])
def test_an_interrupt_at_any_line_loses_and_doubles_nothing(keep, monkeypatch):
    """A KeyboardInterrupt at each line of run.py in turn, in a run of several blocks."""
    monkeypatch.setattr(cpu.CPU, "block", 40)
    monkeypatch.setattr(cpu.CPU, "slice_steps", 20 * program.CHUNK)
    problem = replace(LINE, max_time=12.0)
    whole = result_of(problem, walkers=100, keep=keep)
    for line in range(1, 10_000):
        run, left = run_of(problem, walkers=100, keep=keep), [line]

        def trace(frame, event, _, left=left):
            if frame.f_code.co_filename != run_module.__file__:
                return None
            if event == "line":
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            run.finish()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        found = run.finish().result()
        assert same(found, whole) if keep else found == whole, f"interrupted at line {line}"
        if left[0] > 0:
            break
    assert line > 30


FINISH = """
import json, sys
from dataclasses import replace
import numpy as np
from ddt_utils import simulate
from tests.test_run import PROBLEMS

for path, name, max_time, threads in json.loads(sys.argv[1]):
    problem = replace(PROBLEMS[name], max_time=max_time)
    run = simulate.Run.resume(path, problem, threads=threads).finish()
    found = run.result()
    if run.keep:
        np.savez(path + ".out", times=found.times, status=found.status, states=found.states)
    else:
        open(path + ".out", "w").write(found.to_json())
"""


def test_a_run_is_continued_in_another_process(tmp_path, monkeypatch):
    """Saved before it began, on its way, and at its end; with and without its walkers kept."""
    monkeypatch.setattr(cpu.CPU, "block", 128)
    jobs, expected = [], []
    for name, problem in PROBLEMS.items():
        problem = replace(problem, max_time=40.0)
        for slices in (0, 1, 2, 4, None):
            for keep in (True, False):
                run = run_of(problem, keep=keep, threads=2)
                if slices is None:
                    run.finish()
                else:
                    stopped(monkeypatch, run, slices, chunks=7)
                    assert bool(slices) == bool(run.done) and run.done < WALKERS
                path = str(tmp_path / f"{name}-{slices}-{keep}.npz")
                run.save(path)
                jobs.append((path, name, 40.0, 1 + len(jobs) % 3))
                expected.append(result_of(problem, keep=keep))
    assert python(FINISH, json.dumps(jobs)) == (0, "", "")
    for (path, *_), whole in zip(jobs, expected, strict=True):
        if isinstance(whole, simulate.EscapeStatistics):
            with open(path + ".out", encoding="utf-8") as stream:
                assert simulate.EscapeStatistics.from_json(stream.read()) == whole, path
        else:
            with np.load(path + ".out.npz") as found:
                for name in ("times", "status", "states"):
                    assert found[name].tobytes() == getattr(whole, name).tobytes(), path


LONG = replace(LINE, noise=WhiteNoise(0.05))
INTERRUPTED = """
import time
from ddt_utils import simulate
from ddt_utils.simulate import cpu
from tests.test_run import LINE, LONG

simulate.Run(LINE, walkers=1, seed=1, threads=1).finish()  # compiled
run = simulate.Run(LONG, walkers=40_000, seed=3, threads=1)

def go():
    print("going", flush=True)
    try:
        run.finish()
        print("was not interrupted", flush=True)
    except simulate.Interrupted as error:
        assert error.run is run
        known = run.result()
        print("stopped", run.done, known.escaped, known.censored, flush=True)

go()
slice_steps, cpu.CPU.slice_steps = cpu.CPU.slice_steps, 15_000_000  # half a second
go()
before = run.result()
time.sleep(0.8)
after = run.result()
print(before.escaped == after.escaped and before.total_time == after.total_time, flush=True)
cpu.CPU.slice_steps = slice_steps
found = run.finish().result()
print(found.escaped, repr(float(found.times.sum())), repr(float(found.states.sum())))
"""


def test_ctrl_c_stops_within_seconds_and_the_run_goes_on():
    """A real SIGINT, and then two in a row: the second comes while a slice is finished."""
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "going\n"
            time.sleep(0.1)
            child.send_signal(signal.SIGINT)
            sent = time.monotonic()
            said, *numbers = child.stdout.readline().split()
            assert time.monotonic() - sent < 5  # the run itself takes minutes
            done, escaped, censored = map(int, numbers)
            assert (said, escaped) == ("stopped", done)
            assert 0 < done < 40_000 and 0 < censored <= program.LANES
            assert child.stdout.readline() == "going\n"
            for _ in range(2):
                time.sleep(0.15)
                child.send_signal(signal.SIGINT)
            assert child.stdout.readline().split()[0] == "stopped"
            assert child.stdout.readline() == "True\n"  # no thread was still at work
            last = child.stdout.readline().split()
            assert child.wait(60) == 0
        finally:
            child.kill()
    whole = simulate.Run(LONG, walkers=40_000, seed=3).finish().result()
    total, places = float(whole.times.sum()), float(whole.states.sum())
    assert last == [str(whole.escaped), repr(total), repr(places)]


# --------------------------------------------------------------------------- a later limit


def test_extended_walkers_are_those_of_a_later_limit(problem, monkeypatch):
    early, late = replace(problem, max_time=6.0), replace(problem, max_time=21.0)
    run = run_of(early).finish()
    assert run.result().censored > 30
    assert same(run.extend(21.0).finish().result(), result_of(late))
    assert run.result().censored > 0
    assert same(run.extend(None).finish().result(), result_of(problem))
    halfway = stopped(monkeypatch, run_of(early, threads=2), 1, chunks=13)
    assert same(halfway.extend(21.0).finish().result(), result_of(late))


def test_an_extended_run_is_saved_with_its_new_limit(tmp_path):
    early, late = replace(LINE, max_time=6.0), replace(LINE, max_time=21.0)
    run_of(early).finish().extend(21.0).save(tmp_path / "run.npz")
    assert same(simulate.Run.resume(tmp_path / "run.npz", late).finish().result(), result_of(late))
    with pytest.raises(ValueError, match="another problem"):
        simulate.Run.resume(tmp_path / "run.npz", early)


def test_only_a_kept_run_is_extended_and_only_to_later():
    limited = replace(LINE, max_time=6.0)
    with pytest.raises(ValueError, match="extended to a later time"):
        run_of(limited).extend(5.0)
    with pytest.raises(ValueError, match="extended to a later time"):
        run_of(limited, keep=False).extend(7.0)
    with pytest.raises(ValueError, match="extended to a later time"):
        run_of(LINE).extend(7.0)


def test_the_limit_is_the_next_even_number_of_steps():
    """Against exact fractions, where time/step is not a float64; and at least two steps."""
    for step in ("0.01", "0.1", "0.3", "0.007", "1"):
        for time_ in ("0.01", "0.02", "0.14", "0.28", "0.64", "0.65", "4.2", "5.4", "7", "1000.01"):
            exact = Fraction(time_) / Fraction(step)
            expected = 2 * -(-exact // 2)
            limited = replace(LINE, step=float(step), max_time=float(time_), rule=simulate.sgd)
            assert limited.limit == expected, (step, time_)
    assert replace(LINE, max_time=1e-12).limit == 2
    assert LINE.limit > 2**60


def test_the_limit_does_not_depend_on_the_chunk(problem, monkeypatch):
    """Censored walkers are where those of an ensemble without an exit are at that time."""
    for ticks in (2, 66, 200):
        limited = replace(problem, max_time=ticks * problem.step)
        found = result_of(limited)
        inside = found.status == CENSORED
        assert inside.sum() > 20
        assert np.array_equal(found.times[inside], np.full(inside.sum(), ticks * problem.step))
        states = simulate.ensemble(
            problem.landscape,
            problem.noise,
            start=problem.start,
            step=problem.step,
            rule=problem.rule,
            times=[ticks * problem.step],
            walkers=WALKERS,
            seed=7,
        )[0]
        assert np.array_equal(states[inside], found.states[inside])


def test_another_chunk_gives_the_same_bits(monkeypatch):
    limited = replace(LINE, max_time=6.66)
    whole = result_of(limited)
    monkeypatch.setattr(program, "CHUNK", 10)
    assert same(result_of(replace(LINE, max_time=6.66)), whole)


# ------------------------------------------------------------------------------- on disk


@pytest.mark.parametrize(
    "changes",
    [
        dict(step=0.02),
        dict(start=-0.9),
        dict(noise=WhiteNoise(0.26)),
        dict(exit=x > 1.1),
        dict(max_time=5.0),
        dict(barrier_shift=False),
        dict(rule=simulate.momentum(0.5)),
        dict(landscape=VALLEY, start=(-1, 0), exit=u > 1),
        dict(landscape=Landscape(WELL.expression, (x,), name="wider", box=((-9, 9),))),
    ],
    ids=" ".join,
)
def test_another_problem_is_refused(changes, tmp_path):
    run_of(LINE).save(tmp_path / "run.npz")
    with pytest.raises(ValueError, match="another problem"):
        simulate.Run.resume(tmp_path / "run.npz", replace(LINE, **changes))


def test_walkers_that_begin_with_another_state_are_another_problem(tmp_path):
    """A frozen mean square stands in the initial state alone, not in the source."""
    first, second, again = (
        replace(LINE, rule=simulate.adam(beta2=1, bias_correction=False, second_moment=square))
        for square in (0.5, 2.0, 0.5)
    )
    assert first.digest() == again.digest() != second.digest()
    run_of(replace(first, max_time=0.5)).save(tmp_path / "run.npz")
    with pytest.raises(ValueError, match="another problem"):
        simulate.Run.resume(tmp_path / "run.npz", replace(second, max_time=0.5))


@pytest.mark.parametrize("kind", [sp.Integer, np.array, np.float32, Fraction])
def test_a_time_and_a_bound_are_numbers_of_any_kind(kind):
    plain = replace(LINE, max_time=30.0, bound=7.0)
    found = replace(LINE, max_time=kind(30), bound=kind(7))
    assert found == plain and found.digest() == plain.digest()
    assert (type(found.max_time), type(found.bound)) == (float, float)
    assert same(result_of(found), result_of(plain))


def test_no_file_and_no_problem_are_refused_by_name(tmp_path):
    run, path = run_of(LINE), tmp_path / "run.npz"
    run.save(path)
    for wrong in (None, WELL):
        with pytest.raises(ValueError, match="a run needs a Problem"):
            simulate.Run.resume(path, wrong)
    for wrong in (None, tmp_path):
        for call in (lambda w=wrong: simulate.Run.resume(w, LINE), lambda w=wrong: run.save(w)):
            with pytest.raises(ValueError, match="path must be that of a file, got"):
                call()


def test_more_walkers_than_memory_holds_are_refused_by_their_bytes():
    crowd = 10**15
    with pytest.raises(ValueError, match=r"fit into memory, got 10+, which need 2\.9e\+16 bytes"):
        simulate.Run(LINE, walkers=crowd, seed=1)
    where = dict(start=-1, step=0.01, times=[0.5, 1.0], walkers=crowd, seed=1)
    with pytest.raises(ValueError, match=r"fit into memory, got 10+, which need 8e\+15 bytes"):
        simulate.ensemble(WELL, WhiteNoise(0.25), **where)
    assert simulate.Run(LINE, walkers=crowd, seed=1, keep=False).done == 0


KILLED = """
import os, signal, sys
import numpy as np
from ddt_utils import simulate
from tests.test_run import LINE

run = simulate.Run(LINE, walkers=300, seed=7)
run.save(sys.argv[1])
run.finish()
save = np.savez

def half(stream, **arrays):
    save(stream, **arrays)
    stream.truncate(stream.tell() // 2)
    os.kill(os.getpid(), signal.SIGKILL)

np.savez = half
run.save(sys.argv[1])
"""


def test_a_process_killed_while_it_saves_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.npz"
    assert python(KILLED, path)[0] == -signal.SIGKILL
    run = simulate.Run.resume(path, LINE)
    assert run.done == 0
    assert same(run.finish().result(), result_of(LINE))
    run.save(path)  # what the killed process left behind is in nobody's way
    assert simulate.Run.resume(path, LINE).done == WALKERS


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    run_of(LINE).finish().save(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(damaged)
        with pytest.raises(Exception):  # noqa: B017 - NumPy and zipfile raise what they like
            simulate.Run.resume(path, LINE)


# ---------------------------------------------------------------------- half of a result


@pytest.mark.parametrize("keep", [True, False])
def test_the_estimate_of_a_half_done_run_is_unbiased(keep, monkeypatch):
    """Against the closed form of a walker that forgets: with L = x²/2 and dt = 1 each new place is
    a normal number, whatever the old one, so an exit x > c is geometric with p = P(ξ > c). Two
    seeds and three moments: six tests of 1e-5 each, with a relative error of about 1/√escapes."""
    p = stats.norm.sf(3.0)
    problem = simulate.Problem(
        BOWL, WhiteNoise(0.5), start=0, exit=x > 3.0, step=1.0, barrier_shift=False
    )
    for seed in (1, 2):
        for slices in (1, 2, 5):
            run = run_of(problem, walkers=200_000, seed=seed, keep=keep, threads=2)
            found = stopped(monkeypatch, run, slices, chunks=300).result()
            assert program.LANES < found.censored <= 2 * program.LANES  # who waits is left out
            assert found.walkers == run.done + found.censored
            work = 2 * slices * 300 * program.CHUNK * program.LANES
            assert 0.9 * work < found.total_time <= work
            assert abs(found.mean * p - 1) * np.sqrt(found.escaped) < ALARM
            assert found.stderr == pytest.approx(found.mean / np.sqrt(found.escaped))


def test_done_counts_all_three_ends_and_nothing_else(monkeypatch):
    run = run_of(LINE)
    assert run.done == 0 and "300 walkers, 0 of them done" in repr(run)
    found = stopped(monkeypatch, run, 3, chunks=20).result()
    ended = sum(np.count_nonzero(found.status == end) for end in (ESCAPED, DIVERGED))
    assert 0 < run.done == ended < WALKERS
    assert run_of(replace(LINE, max_time=6.0)).finish().done == WALKERS


def test_the_progress_bar_counts_blocks_and_what_was_done_before(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cpu.CPU, "block", 70)
    run = stopped(monkeypatch, run_of(LINE, keep=False), 30, chunks=20)
    assert 70 < run.done < WALKERS
    before = run.done
    run.save(tmp_path / "run.npz")
    capsys.readouterr()
    simulate.Run.resume(tmp_path / "run.npz", LINE).finish(progress=True)
    shown = capsys.readouterr().err
    assert f"{before}/300" in shown and "300/300" in shown
    assert not capsys.readouterr().out
    simulate.Run.resume(tmp_path / "run.npz", LINE).finish()
    assert capsys.readouterr() == ("", "")


def test_ten_million_walkers_need_no_more_memory_than_two_blocks():
    quick = replace(LINE, exit=x > -0.9, max_time=0.64, barrier_shift=False)

    def peak(walkers):
        tracemalloc.start()
        try:
            found = result_of(quick, walkers=walkers, keep=False, threads=2)
            assert found.walkers == walkers
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1000)
    assert peak(10_000_000) < 1.02 * peak(2 * cpu.CPU.block)
