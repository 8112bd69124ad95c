r"""Ensembles of walkers, :math:`d\theta = -\nabla L\,dt + \sqrt{2D}\,dW` in the Ito sense.

:func:`first_passage` follows each walker until it leaves, :func:`ensemble` records where walkers
are at given times. Both run the step that :mod:`ddt_utils.kernel` generates, on all cores, and give
the same bits for one (problem, seed) on every machine.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import sympy as sp

from ddt_utils.escape import EscapeTimes
from ddt_utils.landscape import Landscape
from ddt_utils.noise import Noise

_SLICE = 2_000  # chunks between two looks at the keyboard and the progress bar
_PATIENCE = 1e10  # walker-steps without an escape after which an exit counts as unreachable


def first_passage(
    landscape: Landscape,
    noise: Noise,
    *,
    start,
    exit,
    step: float,
    walkers: int,
    seed: int,
    max_time: float | None = None,
    barrier_shift: bool = True,
    threads: int | None = None,
    progress: bool = False,
) -> EscapeTimes:
    r"""Follow walkers by Euler–Maruyama until each first satisfies ``exit``.

    A walker that leaves between two steps is noticed late. The bias is removed to leading order by
    moving each interface g = 0 of the exit towards the walker by
    :math:`0.5826\sqrt{2\,dt\,\nabla g^\top D\nabla g}` (Broadie, Glasserman and Kou, Mathematical
    Finance 7, 325, 1997; Gobet and Menozzi, Stochastic Processes and their Applications 120, 130,
    2010). What remains is of order dt. Switch it off where the step is physical, as in SGD.

    Args:
        landscape: the loss L.
        noise: the diffusion D.
        start: where every walker starts, n numbers (or one, in one dimension).
        exit: a SymPy relational in the landscape's variables, or And/Or of such.
        step: dt, in units of t = learning rate × iterations.
        walkers: how many.
        seed: any integer; walker i of a seed has the same random stream in every call.
        max_time: walkers still inside then are censored; without it each is followed to its exit.
            Rounded up to a multiple of 32 steps.
        barrier_shift: correct the time-step bias as above.
        threads: how many threads share the walkers; all cores by default. No effect on results.
        progress: show a progress bar.

    Returns:
        The escape times, with the state in which each walker was last seen. A walker beyond ten
        times the box of the landscape has diverged, even if it satisfies the exit there.

    Raises:
        ValueError: a bad argument; a start that satisfies the exit or lies outside the box; or,
            without ``max_time``, 10¹⁰ walker-steps in a row in which no walker was done.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> well = catalog.quartic()
        >>> (x,) = well.variables
        >>> result = first_passage(well, noise.WhiteNoise(0.25), start=-1, exit=x > 1,
        ...                        step=0.01, walkers=1000, seed=1)
        >>> result.escaped
        1000
    """
    from ddt_utils import kernel

    point = _checked_start(landscape, start)
    _check(walkers=walkers, step=step, seed=seed)
    _check_outside(landscape, exit, point)
    if max_time is not None and not max_time > 0:
        raise ValueError(f"max_time must be positive, got {max_time}; leave it out to wait for all")
    bound = _bound(landscape)
    problem = kernel.build(
        landscape, noise, exit_condition=exit, step=step, bound=bound, barrier_shift=barrier_shift
    )
    limit = 2**62 if max_time is None else int(np.ceil(max_time / step - 1e-9))
    times = np.zeros(walkers, np.int64)
    status = np.zeros(walkers, np.int32)
    states = np.zeros((walkers, landscape.dimension), np.float32)
    shards = [_Shard(problem, int(a), int(b)) for a, b in _split(walkers, threads) if b > a]

    def advance(shard):
        return shard.advance(_SLICE, seed, limit, bound, point, times, status, states)

    with ThreadPoolExecutor(len(shards)) as pool, _bar(progress, walkers) as bar:
        seen = waited = 0  # walkers done; walker-steps since one was last done
        while working := sum(pool.map(advance, shards)):  # waits for every shard
            done = int(np.count_nonzero(status))
            waited = working * _SLICE * kernel.CHUNK + (waited if done == seen else 0)
            bar.update(done - seen)
            seen = done
            if max_time is None and waited > _PATIENCE:
                raise ValueError(
                    f"exit must be within reach, got no escape in {waited:.0e} walker-steps for "
                    f"{exit}; check its sign, use more noise, or set max_time"
                )
        bar.update(walkers - seen)
    return EscapeTimes(
        times=times * float(step),
        status=status.astype(np.uint8),
        states=states,
        step=float(step),
        bias_correction=(
            "interfaces moved towards the walker by 0.5826 √(2 D dt)"
            if barrier_shift
            else "none: the first passage of the discrete process"
        ),
    )


def ensemble(
    landscape: Landscape,
    noise: Noise,
    *,
    start,
    step: float,
    times,
    walkers: int,
    seed: int,
    threads: int | None = None,
) -> np.ndarray:
    """Where walkers that never leave are at given times, by Euler–Maruyama.

    Args:
        landscape: the loss L.
        noise: the diffusion D.
        start: where every walker starts, n numbers (or one, in one dimension).
        step: dt.
        times: increasing times, rounded to whole steps.
        walkers: how many.
        seed: any integer.
        threads: how many threads share the walkers; no effect on results.

    Returns:
        States, shape (len(times), walkers, n), float32.

    Raises:
        ValueError: a bad argument, times that do not increase, or a walker that diverged.
    """
    from ddt_utils import kernel

    point = _checked_start(landscape, start)
    _check(walkers=walkers, step=step, seed=seed)
    ticks = np.rint(np.atleast_1d(np.asarray(times, dtype=float)) / step)
    counts = np.diff(ticks, prepend=0).astype(np.int64)
    if not np.all(counts >= 0):
        raise ValueError(f"times must be positive and increase, got {times}")
    bound = _bound(landscape)
    problem = kernel.build(
        landscape, noise, exit_condition=sp.false, step=step, bound=bound, barrier_shift=False
    )
    states = np.zeros((len(counts), walkers, landscape.dimension), np.float32)
    parameters = np.array(problem.parameters, np.float32)

    def run(part):
        problem.module.evolve(*part, np.uint64(seed % 2**64), counts, point, parameters, states)

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, _split(walkers, threads, multiple=kernel.LANES)))
    lost = int(np.count_nonzero(~(np.abs(states) < bound).all(axis=(0, 2))))
    if lost:
        raise ValueError(
            f"walkers must stay within ±{bound:g}, but {lost} of {walkers} diverged; "
            f"take a smaller step than {step}: it must be well below 2 over the largest curvature "
            "they meet"
        )
    return states


class _Shard:
    """A range of walkers and the lanes that carry them, kept between two slices of work."""

    def __init__(self, problem, first, last):
        from ddt_utils.kernel import LANES

        self.problem = problem
        self.queue = np.array([first, last], np.int64)
        self.parameters = np.array(problem.parameters, np.float32)
        self.lanes = (
            np.zeros((4, LANES), np.uint32),
            np.zeros((problem.dimension + 2, LANES), np.float32),
            np.full(LANES, -1, np.int64),
            np.zeros(LANES, np.int64),
        )

    def advance(self, chunks, seed, limit, bound, point, *results):
        run = self.problem.module.advance
        seed = np.uint64(seed % 2**64)
        return run(
            chunks, self.queue, seed, limit, bound, point, self.parameters, *self.lanes, *results
        )


def _split(walkers, threads, multiple=1):
    count = threads or os.cpu_count() or 1
    if count < 1:
        raise ValueError(f"threads must be a positive integer, got {threads}")
    edges = np.linspace(0, walkers, count + 1).astype(int) // multiple * multiple
    edges[-1] = walkers
    return list(zip(edges[:-1], edges[1:], strict=True))


def _bar(progress, walkers):
    from tqdm import tqdm

    return tqdm(total=walkers, disable=not progress, unit=" walkers")


def _bound(landscape):
    """How far a walker may stray before it counts as diverged: ten boxes."""
    return 10 * max(max(abs(a), abs(b)) for a, b in landscape.box)


def _checked_start(landscape, start):
    point = np.atleast_1d(np.asarray(start, dtype=float))
    if point.shape != (landscape.dimension,) or not np.all(np.isfinite(point)):
        raise ValueError(
            f"start must be {landscape.dimension} finite numbers for {landscape.name}, got {start}"
        )
    if any(not a <= p <= b for p, (a, b) in zip(point, landscape.box, strict=True)):
        raise ValueError(
            f"start must lie in the box {landscape.box} of {landscape.name}, got {start}; "
            "give the landscape a larger box if the start is meant"
        )
    return point.astype(np.float32)


def _check(*, walkers, step, seed):
    if not (isinstance(walkers, (int, np.integer)) and walkers >= 1):
        raise ValueError(f"walkers must be a positive integer, got {walkers!r}")
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, got {step}; it is the time step dt")
    if not isinstance(seed, (int, np.integer)):
        raise ValueError(f"seed must be an integer, got {seed!r}")


def _check_outside(landscape, exit, point):
    landscape.check_exit(exit)
    values = {v: sp.Float(float(p)) for v, p in zip(landscape.variables, point, strict=True)}
    if exit.subs(values) == sp.true:
        raise ValueError(f"start must lie inside, got {point.tolist()}, which satisfies {exit}")
