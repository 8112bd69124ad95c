"""A run: walkers that are followed, interrupted, kept on disk, continued, and counted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from ddt_utils import _checks, _devices, _files
from ddt_utils.escape import CENSORED, EscapeTimes
from ddt_utils.simulate._arguments import check_ensemble, in_memory
from ddt_utils.simulate.cpu import CPU, thread_count
from ddt_utils.simulate.pool import ARRAYS, Pool
from ddt_utils.simulate.problem import Problem
from ddt_utils.simulate.statistics import EscapeStatistics, tally
from ddt_utils.simulate.step import CLOCK

_CROWD = 4096  # walkers that count in the patience: each is to have had time to escape
_PATIENCE = 1e10  # walker-steps without an escape after which an exit counts as unreachable


class Interrupted(KeyboardInterrupt):
    """Raised by Ctrl-C in a long simulation; ``run`` holds it, at rest and ready to go on."""

    def __init__(self, run: Run):
        """Keep the run."""
        super().__init__(f"{run}; go on with error.run.finish(), look with error.run.result()")
        self.run = run


class Run:
    """Walkers of one problem on their way out.

    A run can be stopped at any moment and carried on, here or in another process: it is the same
    run, to the last bit, however it is cut.

    Args:
        problem: what is simulated.
        walkers: how many.
        seed: a whole number from 0 to 2⁶⁴ − 1; walker i of a seed has the same random stream in
            every run.
        first: the number of the first walker; shards of one ensemble differ in it.
        keep: keep the time and the last place of every walker; without, memory is constant and
            the result is an :class:`EscapeStatistics`.
        threads: how many threads share the walkers; all cores by default. No effect on results.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: CUDA where there is one; by default what
            ``DDT_DEVICE`` in the environment says, and ``"cpu"`` without it.

    Raises:
        ValueError: a bad argument, or more walkers than memory has room for.
        RuntimeError: ``device="cuda"`` without CUDA.

    Example:
        >>> from ddt_utils import catalog, noise, simulate
        >>> well = catalog.quartic()
        >>> (x,) = well.variables
        >>> kick = noise.WhiteNoise(0.25)
        >>> problem = simulate.Problem(well, kick, start=-1, exit=x > 1, step=0.01)
        >>> run = simulate.Run(problem, walkers=1000, seed=1, keep=False).finish()
        >>> run.result().escaped
        1000
    """

    def __init__(
        self,
        problem: Problem,
        *,
        walkers: int,
        seed: int,
        first: int = 0,
        keep: bool = True,
        threads: int | None = None,
        device: str | None = None,
    ):
        """Check the arguments; nobody starts yet."""
        _require(problem)
        problem.landscape.exit_condition(problem.exit, tuple(problem._step.names))
        self.problem = problem
        self.walkers, self.seed = check_ensemble(walkers=walkers, seed=seed)
        self.first = _checks.whole(
            "first", first, most=2**62, remedy="it is the number of a walker"
        )
        self.keep = bool(_checks.choice("keep", keep, (True, False)))
        if not self.keep and CLOCK in problem._step.state:
            raise ValueError(
                "without its walkers a run counts steps, got keep=False and steps with a duration "
                "of their own; leave keep out"
            )
        self._engine, self._threads = engine(device), thread_count(threads)
        self._past = None  # the statistics of the blocks that are done
        self._pool = self._block(self.first)

    def __repr__(self):
        """The run in one line."""
        return f"a run of {self.walkers} walkers, {self.done} of them done"

    @property
    def done(self) -> int:
        """How many walkers have escaped, were censored, or diverged."""
        return self._pool.first - self.first + int(np.count_nonzero(self._pool.status))

    def finish(self, *, progress: bool = False) -> Run:
        """Follow every walker to its end.

        Args:
            progress: show a progress bar.

        Returns:
            The run itself.

        Raises:
            Interrupted: Ctrl-C was pressed; nothing is lost.
            ValueError: without ``max_time``, 10¹⁰ walker-steps in a row and no walker was done.
        """
        from tqdm import tqdm

        try:
            options = dict(total=self.walkers, initial=self.done, unit=" walkers")
            with tqdm(disable=not progress, **options) as bar:
                while self.done < self.walkers:
                    if self._pool.status.all():
                        self._turn_over()
                    self._follow(bar)
        except KeyboardInterrupt:
            raise Interrupted(self) from None
        return self

    def result(self) -> EscapeTimes | EscapeStatistics:
        """What is known now; a walker that is still on its way counts as censored.

        Returns:
            The escape times of the walkers that have started, or with ``keep=False`` their
            statistics.

        Raises:
            ValueError: no walker has started.
        """
        pool, dt = self._pool, self.problem.step
        started = (pool.steps > 0) | (pool.status != 0)
        correction = self.problem.bias_correction
        if not started.any() and self._past is None:
            raise ValueError(f"there is a result once a walker has started, got {self}; finish it")
        if not self.keep:
            current = tally(pool.steps[started], pool.status[started], dt, correction)
            return current if self._past is None else self._past + current
        status = np.where(pool.status == 0, CENSORED, pool.status)
        return EscapeTimes(
            times=self.problem.times(pool.steps[started], pool.state[started]),
            status=status[started].astype(np.uint8),
            states=self.problem.frame.outside(
                pool.state[started, : self.problem.landscape.dimension]
            ),
            step=float(dt),
            bias_correction=correction,
            carried=self.problem.carried(pool.state[started]),
        )

    def extend(self, max_time: float | None) -> Run:
        """Let censored walkers go on to a later time, from where they are.

        Args:
            max_time: later than before; None follows everyone to the exit.

        Returns:
            The run itself, to be finished.

        Raises:
            ValueError: an earlier time, or a run that does not keep its walkers.
        """
        later = replace(self.problem, max_time=max_time)
        if not self.keep or later.limit < self.problem.limit:
            raise ValueError(
                "a run with keep=True is extended to a later time, got keep="
                f"{self.keep} and max_time {self.problem.max_time} → {max_time}"
            )
        self.problem = later
        self._pool.status[self._pool.status == CENSORED] = 0
        return self

    def save(self, path) -> None:
        """Write everything that :meth:`resume` needs into one ``.npz`` file, at once or not at all.

        Args:
            path: the file; a file of that name is replaced.

        Raises:
            ValueError: the path is none, or that of a folder.
        """
        pool = self._pool
        numbers = {
            "digest": self.problem.digest(),
            "walkers": self.walkers,
            "seed": str(self.seed),
            "first": self.first,
            "keep": self.keep,
            "block": pool.first,
            "past": self._past.to_json() if self._past else "",
        }
        arrays = {name: getattr(pool, name) for name in ARRAYS}
        _files.write_arrays(path, {"about": np.array(json.dumps(numbers)), **arrays})

    @classmethod
    def resume(cls, path, problem: Problem, *, threads=None, device: str | None = None) -> Run:
        """The run that was saved in a file, ready to be finished.

        Args:
            path: what :meth:`save` wrote.
            problem: the same problem as then.
            threads: as for a new run.
            device: as for a new run; it need not be the same one.

        Returns:
            The run.

        Raises:
            ValueError: the file is damaged, no saved run, or one of another problem; no problem;
                a path that is none, or that of a folder.
            OSError: there is no such file, or it may not be read.
        """
        _require(problem)
        remedy = "give a file that Run.save wrote, or start the run again"
        arrays = _files.read_arrays(path, remedy=remedy, keys=("about", *ARRAYS))
        try:
            about = json.loads(str(arrays.pop("about")))
            past = EscapeStatistics.from_json(about["past"]) if about["past"] else None
            pool = Pool.read(about["block"], arrays)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(_files.damaged(path, error, remedy)) from error
        if about["digest"] != problem.digest():
            raise ValueError(
                f"{path} holds a run of another problem ({about['digest']}, got "
                f"{problem.digest()}); give the landscape, noise, rule, start, "
                "exit, step, max_time and barrier_shift that made it"
            )
        run = cls(
            problem,
            walkers=about["walkers"],
            seed=int(about["seed"]),
            first=about["first"],
            keep=about["keep"],
            threads=threads,
            device=device,
        )
        run._past, run._pool = past, pool
        return run

    def _block(self, first):
        left = self.first + self.walkers - first
        many = left if self.keep else min(left, self._engine.block)
        size = len(self.problem.start_state)
        each = 9 + 4 * size + 16  # bytes of one walker in a pool
        with in_memory(many, each, "take fewer, or keep=False"):
            return Pool.fresh(first, many, size)

    def _turn_over(self):
        """Add a finished block to the past and begin the next."""
        past, pool = self.result(), self._block(self._pool.first + len(self._pool.steps))
        self._past, self._pool = past, pool  # together: an interrupt finds both or neither

    def _follow(self, bar):
        """Follow the walkers of this block to their ends."""
        engine = self._engine(self.problem, self._pool, self.seed, self._threads)
        waited = 0  # walker-steps since a walker was last done
        try:
            seen = self.done
            while True:
                steps = engine.slice_steps
                working = engine.advance()
                if not working:
                    break
                done = self.done
                waited = min(working, _CROWD) * steps + (waited if done == seen else 0)
                bar.update(done - seen)
                seen = done
                if self.problem.max_time is None and waited > _PATIENCE:
                    raise ValueError(
                        f"exit must be within reach, got no escape in {waited:.0e} walker-steps "
                        f"for {self.problem.exit}; check its sign, use more noise, or set max_time"
                    )
        finally:
            engine.close()
        bar.update(self.done - seen)


def _require(problem):
    if not isinstance(problem, Problem):
        raise ValueError(f"a run needs a Problem, got {problem!r:.80}; see simulate.Problem")


def engine(device: str | None):
    """The class that carries walkers forward on a device.

    Args:
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: CUDA where there is one; by default what
            ``DDT_DEVICE`` in the environment says, and ``"cpu"`` without it.

    Returns:
        :class:`~.cpu.CPU` or :class:`~.cuda.CUDA`.

    Raises:
        ValueError: an unknown device.
        RuntimeError: ``"cuda"`` without CUDA.
    """
    from ddt_utils.simulate import cuda

    named = _devices.chosen(device, cuda.is_available)
    if _checks.choice("device", named, _devices.NAMES) == "cpu":
        return CPU
    cuda.require()
    return cuda.CUDA
