"""A sweep gives the bits of one run after the other, whatever happens to workers and files."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import sympy as sp

from ddt_utils import catalog, simulate
from ddt_utils.landscape import Landscape
from ddt_utils.noise import StateDependentNoise, WhiteNoise

sweep_module = sys.modules["ddt_utils.simulate.sweep"]  # the package exports the function
distributed = pytest.importorskip("distributed")

ROOT = Path(__file__).resolve().parent.parent
WELL = catalog.quartic()
(x,) = WELL.variables
FREE = simulate.Problem(WELL, WhiteNoise(0.25), start=-1, exit=x > 1, step=0.01)
CELLS = {
    "weak": replace(FREE, noise=WhiteNoise(0.2)),
    "strong": FREE,
    0.5: replace(FREE, noise=WhiteNoise(0.5), max_time=4.0),
}
WALKERS = 500
SHARD = sweep_module._shard


@pytest.fixture(scope="module")
def expected():
    return {
        key: simulate.Run(cell, walkers=WALKERS, seed=2, keep=False).finish().result()
        for key, cell in CELLS.items()
    }


@pytest.fixture(scope="module")
def threads():
    """A cluster inside this process: a scheduler and one worker."""
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def processes():
    """A cluster of two worker processes."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def swept(client, cells=CELLS, **changes):
    options = dict(walkers=WALKERS, seed=2, shard=120, client=client) | changes
    return simulate.sweep(cells, **options)


@pytest.fixture
def computed(tmp_path, monkeypatch):
    """Every shard that is computed leaves its first walker here; see ``noted``."""
    notes = tmp_path / "notes"
    notes.mkdir()

    def noted(problem, first, walkers, seed):
        with open(notes / f"{os.getpid()}-{time.monotonic_ns()}", "w") as stream:
            stream.write(f"{problem.noise.diffusion_constant} {first} {walkers}")
        return SHARD(problem, first, walkers, seed)

    monkeypatch.setattr(sweep_module, "_shard", noted)
    return lambda: sorted(note.read_text() for note in notes.iterdir())


# ------------------------------------------------------------------------- the same result


@pytest.mark.parametrize("shard", [63, 499, 500, 10_000])
def test_any_size_of_shard_gives_the_serial_result(shard, threads, expected):
    found = swept(threads, shard=shard)
    assert found == expected
    assert list(found) == list(CELLS)


def test_any_number_of_workers_gives_the_serial_result(expected):
    """One, two and three workers; a client that is given is used and left open."""
    options = dict(threads_per_worker=1, processes=False, dashboard_address=":0")
    with (
        distributed.LocalCluster(n_workers=1, **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        for workers in (1, 2, 3):
            cluster.scale(workers)
            client.wait_for_workers(workers)
            assert swept(client, shard=50) == expected
            assert client.status == "running"
            assert client.submit(sum, [1, 2]).result() == 3


def test_every_walker_is_computed_once(threads, computed):
    swept(threads)
    cuts = [(0, 120), (120, 120), (240, 120), (360, 120), (480, 20)]
    assert computed() == sorted(f"{d} {a} {n}" for d in (0.2, 0.25, 0.5) for a, n in cuts)


def test_a_killed_worker_loses_nothing(processes, expected, tmp_path, monkeypatch):
    """The fifth shard that begins kills its own process, once."""
    started, killed = tmp_path / "started", tmp_path / "killed"
    started.mkdir()

    def deadly(problem, first, walkers, seed):
        (started / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        if len(list(started.iterdir())) >= 5:
            try:
                killed.touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return SHARD(problem, first, walkers, seed)

    monkeypatch.setattr(sweep_module, "_shard", deadly)
    before = set(processes.run(os.getpid).values())
    assert swept(processes, folder=tmp_path / "cells") == expected
    assert killed.exists()
    processes.wait_for_workers(2)
    assert len(before - set(processes.run(os.getpid).values())) == 1
    assert len(list(started.iterdir())) >= 16  # fifteen shards and the one that died


# --------------------------------------------------------------------------------- errors


def test_an_error_in_a_shard_arrives_and_the_rest_is_cancelled(processes, tmp_path, monkeypatch):
    started = tmp_path / "started"
    started.mkdir()

    def failing(problem, first, walkers, seed):
        (started / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        if first == 50:
            raise ValueError(f"walker {first} cannot go on")
        time.sleep(0.02)
        return SHARD(problem, first, walkers, seed)

    monkeypatch.setattr(sweep_module, "_shard", failing)
    with pytest.raises(ValueError, match="walker 50 cannot go on"):
        swept(processes, walkers=3000, shard=10, folder=tmp_path / "cells")
    assert not (tmp_path / "cells").exists()  # no cell was complete
    deadline = time.monotonic() + 5
    while any(processes.processing().values()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(processes.processing().values())
    assert len(list(started.iterdir())) < 300  # of 900
    assert processes.submit(sum, [1, 2]).result() == 3


def test_bad_arguments_are_named(threads):
    for changes, message in (
        (dict(walkers=0), "walkers must be a whole number, 1 or more, got 0"),
        (dict(shard=0), "got 0"),
        (dict(seed="one"), "seed must be a whole number from 0 .* got 'one'"),
    ):
        with pytest.raises(ValueError, match=message):
            swept(threads, **changes)
    assert swept(threads, cells={}) == {}


def test_without_dask_the_remedy_is_named(monkeypatch, tmp_path, threads):
    finished = swept(threads, folder=tmp_path)
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(ImportError, match="pip install distributed"):
        swept(None)
    assert swept(None, folder=tmp_path) == finished  # what is on disk needs no cluster


# ------------------------------------------------------------------------ finished cells


def test_only_missing_cells_are_computed(threads, computed, expected, tmp_path):
    folder = tmp_path / "deep" / "cells"
    assert swept(threads, folder=folder) == expected
    files = sorted(folder.iterdir())
    assert len(files) == 3 and len(computed()) == 15
    assert swept(threads, folder=folder, shard=77) == expected
    assert len(computed()) == 15
    lost = Path(sweep_module._file(folder, CELLS["weak"], WALKERS, 2))
    lost.unlink()
    assert swept(threads, folder=str(folder), progress=True) == expected
    assert len(computed()) == 20 and computed().count("0.2 0 120") == 2
    assert sorted(folder.iterdir()) == files
    more = CELLS | {"new": replace(FREE, noise=WhiteNoise(0.3))}
    assert swept(threads, cells=more, folder=folder).keys() == more.keys()
    assert len(computed()) == 25


def test_a_half_written_file_is_not_used(threads, tmp_path):
    swept(threads, folder=tmp_path)
    file = Path(sweep_module._file(tmp_path, FREE, WALKERS, 2))
    whole = file.read_text()
    for damaged in ("", whole[:20], whole[:-1]):
        file.write_text(damaged)
        with pytest.raises(ValueError):
            swept(threads, folder=tmp_path)
    file.unlink()
    file.with_name(file.name + ".part").write_text(whole[:20])  # left by a killed process
    assert swept(threads, folder=tmp_path)["strong"].to_json() == whole


NAMED = {
    "walkers": (FREE, 501, 2),
    "seed": (FREE, 500, 3),
    "step": (replace(FREE, step=0.02), 500, 2),
    "start": (replace(FREE, start=-0.9), 500, 2),
    "noise": (replace(FREE, noise=WhiteNoise(0.26)), 500, 2),
    "a kind of noise": (replace(FREE, noise=StateDependentNoise((1 + x**2) / 4)), 500, 2),
    "exit": (replace(FREE, exit=x > 1.1), 500, 2),
    "a side of the exit": (replace(FREE, exit=sp.Or(x > 1, x < -1.5)), 500, 2),
    "rule": (replace(FREE, rule=simulate.momentum(0.5)), 500, 2),
    "friction": (replace(FREE, rule=simulate.momentum(0.6)), 500, 2),
    "max_time": (replace(FREE, max_time=9.0), 500, 2),
    "barrier_shift": (replace(FREE, barrier_shift=False), 500, 2),
    "landscape": (
        replace(FREE, landscape=Landscape(x**4 / 4 - x**2, (x,), name="deep", box=((-2, 2),))),
        500,
        2,
    ),
    "box": (
        replace(FREE, landscape=Landscape(WELL.expression, (x,), name="w", box=((-3, 3),))),
        500,
        2,
    ),
}


def test_a_file_is_named_by_all_that_decides_its_numbers_and_nothing_else(tmp_path):
    name = sweep_module._file(tmp_path, FREE, 500, 2)
    names = {what: sweep_module._file(tmp_path, *given) for what, given in NAMED.items()}
    assert len({name, *names.values()}) == len(NAMED) + 1
    same = Landscape(WELL.expression, (x,), name="another name", box=((-2, 2),))
    for equal in (
        (replace(FREE), 500, 2),
        (replace(FREE, landscape=same), 500, 2),
        (replace(FREE, start=(-1.0,), barrier_shift=True), 500, 2),
        (replace(FREE, noise=StateDependentNoise(sp.Float(0.25))), 500, 2),
    ):
        assert sweep_module._file(tmp_path, *equal) == name


NAMES = """
import json, sys
from tests.test_sweep import FREE, NAMED, sweep_module

print(json.dumps([sweep_module._file("", *g).name for g in [(FREE, 500, 2), *NAMED.values()]]))
"""


def test_a_file_has_the_same_name_in_every_process():
    """With another hash seed, on which the order of sets depends."""
    here = [sweep_module._file("", *given).name for given in [(FREE, 500, 2), *NAMED.values()]]
    done = subprocess.run(
        [sys.executable, "-c", NAMES],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == here


# -------------------------------------------------------------------- a cluster of its own

OWN = """
import logging
import multiprocessing
from distributed import Worker
from ddt_utils import simulate
from tests.test_sweep import CELLS

close = Worker.close

async def close_late(self, **options):
    # as a worker whose heartbeat finds the scheduler gone
    logging.getLogger("distributed.worker").error("Failed to communicate with scheduler")
    return await close(self, **options)

Worker.close = close_late

if __name__ == "__main__":
    found = simulate.sweep(CELLS, walkers=500, seed=2, shard=120)
    for key, kept in found.items():
        print(kept.to_json())
    assert not multiprocessing.active_children()
"""
BAD = """
import multiprocessing
import sympy as sp
from ddt_utils import simulate
from ddt_utils.landscape import Landscape
from tests.test_sweep import FREE, replace, x

if __name__ == "__main__":
    curve = Landscape(x**2 + sp.tan(x / 4), (x,), name="waves", box=((-2, 2),))
    try:
        simulate.sweep({1: replace(FREE, landscape=curve)}, walkers=500, seed=2, shard=50)
    except ValueError as error:
        print(error)
    assert not multiprocessing.active_children()
"""
STUCK = """
import sys
from ddt_utils import simulate
from ddt_utils.noise import WhiteNoise
from tests.test_sweep import FREE, replace

if __name__ == "__main__":
    cells = {"quick": FREE, "slow": replace(FREE, noise=WhiteNoise(0.01), max_time=1e7)}
    simulate.sweep(cells, walkers=500, seed=2, folder=sys.argv[1])
"""


def child(script, tmp_path, *arguments):
    """The script as a file, which worker processes can import, in a session of its own."""
    path = tmp_path / "script.py"
    path.write_text(script)
    return subprocess.Popen(
        [sys.executable, str(path), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def left_over(session):
    """Processes of a session that are still there two seconds later."""

    def there(process):
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            return os.getsid(process.pid) == session and process.status() != "zombie"

    return psutil.wait_procs(filter(there, psutil.process_iter()), timeout=2)[1]


@pytest.mark.parametrize("script", [OWN, BAD], ids=["result", "error"])
def test_a_cluster_of_its_own_is_quiet_and_gone_afterwards(script, tmp_path, expected):
    process = child(script, tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert not left_over(process.pid)
    if script is OWN:
        assert out.splitlines() == [kept.to_json() for kept in expected.values()]
        assert err == ""
    else:
        assert "no form for tan" in out


def test_an_interrupted_sweep_keeps_its_finished_cells_and_leaves_no_worker(tmp_path, expected):
    """A SIGINT to all processes of the sweep, as from a keyboard, after the first cell."""
    folder = tmp_path / "cells"
    process = child(STUCK, tmp_path, folder)
    file = Path(sweep_module._file(folder, FREE, WALKERS, 2))
    try:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert file.exists()
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        for left in left_over(process.pid):
            left.kill()
            process.returncode = "a process was left"
    assert process.returncode in (1, -signal.SIGINT)
    assert [path.name for path in folder.iterdir()] == [file.name]
    assert simulate.EscapeStatistics.from_json(file.read_text()) == expected["strong"]
