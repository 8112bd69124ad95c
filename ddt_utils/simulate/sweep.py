"""Many problems at once, on this machine or on a cluster, with the same bits as one by one."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from ddt_utils import _checks, _files
from ddt_utils.simulate._arguments import check_ensemble
from ddt_utils.simulate.cpu import processors
from ddt_utils.simulate.problem import Problem
from ddt_utils.simulate.run import Run
from ddt_utils.simulate.statistics import EscapeStatistics


def sweep(
    problems: Mapping,
    *,
    walkers: int,
    seed: int,
    shard: int = 100_000,
    folder=None,
    client=None,
    progress: bool = False,
) -> dict:
    """Escape statistics of many problems, cut into shards of walkers that run on Dask.

    A shard is some walkers of one problem. Its result does not depend on where it runs, and results
    are whole numbers that are added, so the outcome is that of :func:`first_passage` to the last
    bit, for any number of workers. A shard whose worker dies is run again by another one.

    Args:
        problems: the cells of the sweep, a :class:`Problem` for each key.
        walkers: how many for each problem.
        seed: a whole number from 0 to 2⁶⁴ − 1, the same for all cells: walker i has the same random
            numbers in each, so the errors of similar cells are correlated. Differences are the
            sharper for it; a fit across cells that assumes independence needs a seed, and so a
            sweep, for each.
        shard: how many walkers make one task.
        folder: where finished cells are kept, one small file each; a repeated sweep computes only
            what is missing there. Without it nothing is kept.
        client: a ``dask.distributed.Client`` of the cluster to use; without it a cluster of one
            process per core of this machine is started and stopped again. A script that starts
            processes needs the usual ``if __name__ == "__main__":``.
        progress: show a progress bar.

    Returns:
        :class:`EscapeStatistics` for each key, in the order of ``problems``.

    Raises:
        ValueError: a bad argument, a damaged file, or whatever the simulation of a cell raises.
        RuntimeError: the calling script cannot be imported by the worker processes.
        ImportError: Dask is not installed.

    Example:
        A sweep over η/B on the cores of this machine::

            from ddt_utils import catalog, noise
            from ddt_utils.simulate import Problem, sweep

            well = catalog.quartic()
            (x,) = well.variables
            cells = {T: Problem(well, noise.HessianNoise(2 * T, 1, floor=0.1), start=-1,
                                exit=x > 0, step=0.01) for T in (0.1, 0.05, 0.025)}
            if __name__ == "__main__":
                found = sweep(cells, walkers=1_000_000, seed=1, folder="sweep")
    """
    from tqdm import tqdm

    if not isinstance(problems, Mapping) or any(
        not isinstance(problem, Problem) for problem in problems.values()
    ):
        raise ValueError(
            "problems must be a dictionary with a Problem for each key, got "
            f"{type(problems).__name__}; write "
            "{key: Problem(...) for key in ...}"
        )
    walkers, seed = check_ensemble(walkers=walkers, seed=seed)
    shard = _checks.whole("shard", shard, least=1, remedy="it is a number of walkers")
    files = {
        key: _file(folder, problem, walkers, seed) for key, problem in problems.items() if folder
    }
    found = {key: _read(file) for key, file in files.items() if file.exists()}
    missing = {key: problem for key, problem in problems.items() if key not in found}
    parts = [(first, min(shard, walkers - first)) for first in range(0, walkers, shard)]
    total, known = len(problems) * len(parts), len(found) * len(parts)
    with tqdm(total=total, initial=known, disable=not progress, unit=" shards") as bar:
        if missing:
            with _cluster(client) as cluster:
                _compute(cluster, missing, parts, seed, found, files, bar)
    return {key: found[key] for key in problems}


def _compute(cluster, missing, parts, seed, found, files, bar):
    """Run the missing shards, add up what comes back, and keep each cell when it is complete."""
    from dask.distributed import as_completed

    tasks, left = {}, {}
    for key, problem in missing.items():
        left[key] = len(parts)
        for first, count in parts:
            tasks[cluster.submit(_shard, problem, first, count, seed, pure=False)] = key
    try:
        for task in as_completed(tasks, loop=cluster.loop):
            key = tasks[task]
            found[key] = found[key] + task.result() if key in found else task.result()
            task.release()
            left[key] -= 1
            if not left[key] and key in files:
                _files.write(files[key], found[key].to_json())
            bar.update()
    finally:
        cluster.cancel(list(tasks))


def _shard(problem, first, walkers, seed):
    run = Run(problem, walkers=walkers, seed=seed, first=first, keep=False, threads=1)
    return run.finish().result()


@contextmanager
def _cluster(client):
    """The given client, or one of a cluster of this machine for as long as it is needed."""
    try:
        from dask.distributed import Client, LocalCluster, WorkerPlugin
    except ImportError as error:
        raise ImportError("a sweep runs on Dask; install it: pip install distributed") from error
    if client is not None:
        yield client
        return

    class Quiet(WorkerPlugin):
        """A worker that notices the end of the cluster a moment late has nothing to report."""

        def setup(self, worker):
            logging.getLogger("distributed").setLevel(logging.CRITICAL)

    _require_importable()
    options = dict(dashboard_address=":0", silence_logs=logging.CRITICAL)
    options |= dict(n_workers=processors(), threads_per_worker=1)
    with (
        tempfile.TemporaryDirectory(prefix="ddt_sweep_", ignore_cleanup_errors=True) as folder,
        LocalCluster(**options, local_directory=folder) as workers,
        Client(workers, set_as_default=False) as local,
    ):
        local.register_plugin(Quiet())
        yield local


@lru_cache(maxsize=1)
def _require_importable():
    """Refuse a script that would start the sweep again in every worker that imports it.

    A process that is just starting and comes here is such a worker: it ends without a word.

    Raises:
        RuntimeError: worker processes cannot import the calling script.
    """
    script = sys.modules["__main__"]
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(1)
    if not hasattr(script, "__file__") or getattr(script, "__spec__", None) is not None:
        return  # a notebook, or a module
    trial = multiprocessing.get_context("spawn").Process(target=os.getpid)
    trial.start()
    trial.join()
    if trial.exitcode:
        raise RuntimeError(
            "a sweep starts worker processes, which import the calling script, and that failed "
            f"for {script.__file__}; put the script into a file, and the call under "
            'if __name__ == "__main__":'
        )


def _file(folder, problem: Problem, walkers, seed) -> Path:
    """The file of a cell, named by all that decides its numbers."""
    return Path(folder) / f"{problem.digest()}-{walkers}-{seed}.json"


def _read(file: Path) -> EscapeStatistics:
    remedy = "delete it to compute the cell again"
    try:
        return EscapeStatistics.from_json(file.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(_files.damaged(file, error, remedy)) from error
