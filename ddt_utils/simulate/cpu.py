"""Walkers on the cores of a CPU: every thread has its own lanes, all take from one list."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np

from ddt_utils import _checks
from ddt_utils.simulate.program import CHUNK, LANES

_FREE, _CLOSED = -1, -2  # what a lane without a walker holds


class CPU:
    """Carries a pool of walkers forward, a slice of work at a time.

    Args:
        problem: the problem.
        pool: the walkers; see :class:`ddt_utils.simulate.pool.Pool`.
        seed: of the random streams.
        threads: how many threads share the walkers; all cores by default. No effect on results.
    """

    block = 1 << 20  # walkers in memory at a time when their times are not kept
    slice_steps = 2_000 * CHUNK  # steps of a lane between two looks at the keyboard

    def __init__(self, problem, pool, seed: int, threads: int | None = None):
        """Make the arrays and the kernel ready."""
        program = problem.program("cpu")
        self._run = program.module.advance
        self._fixed = (
            np.uint64(seed),
            np.int64(pool.first),
            problem.limit,
            problem.start_state,
            np.array(program.parameters, np.float32),
            pool.steps,
            pool.status,
            pool.state,
            pool.words,
        )
        waiting = np.flatnonzero(pool.status == 0)
        self._work = np.zeros(1, np.int64), waiting  # how many of them were taken
        count = min(thread_count(threads), max(len(waiting), 1))
        # a thread with more lanes than its share of few walkers would leave others without work
        lanes = np.where(np.arange(LANES) < -(-len(waiting) // count), _FREE, _CLOSED)
        self._lanes = [lanes.copy() for _ in range(count)]
        self._locks, self._closed = [Lock() for _ in self._lanes], False
        self._threads = ThreadPoolExecutor(count)

    def advance(self) -> int:
        """Do a slice of work.

        Returns:
            How many walkers are being followed.
        """
        return sum(self._threads.map(self._slice, self._locks, self._lanes))

    def close(self) -> None:
        """Wait for the threads: from then on the pool is at rest."""
        while True:
            try:
                self._closed = True
                while any(lock.locked() for lock in self._locks):
                    time.sleep(0.001)
                return self._threads.shutdown(wait=False)
            except KeyboardInterrupt:
                pass  # pressed again: the pool must be at rest before it is shown

    def _slice(self, lock, lane):
        with lock:
            if self._closed:
                return 0
            return self._run(self.slice_steps // CHUNK, *self._work, lane, *self._fixed)


def processors() -> int:
    """How many processors this process may use.

    Returns:
        Those of its affinity (taskset, cpuset), and not more than SLURM gave to the task.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(count, int(given)) if given.isdigit() and int(given) else count


def thread_count(threads: int | None) -> int:
    """A number of threads.

    Args:
        threads: the number, or None for all processors that this process may use.

    Returns:
        The number.

    Raises:
        ValueError: it is not a positive whole number.
    """
    if threads is None:
        return processors()
    return _checks.whole("threads", threads, least=1, remedy="leave it out to take all cores")
