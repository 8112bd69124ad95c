"""The two questions that a chapter asks of walkers: when do they leave, and where are they?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ddt_utils import _checks
from ddt_utils._diffusion import expression
from ddt_utils._expressions import numpy_function
from ddt_utils.escape import EscapeTimes
from ddt_utils.landscape import Landscape
from ddt_utils.noise import Noise
from ddt_utils.simulate import program
from ddt_utils.simulate._arguments import check_ensemble, check_step, in_memory
from ddt_utils.simulate.cpu import thread_count
from ddt_utils.simulate.problem import Problem
from ddt_utils.simulate.rules import Rule, euler_maruyama
from ddt_utils.simulate.run import Run
from ddt_utils.simulate.statistics import EscapeStatistics


def first_passage(
    landscape: Landscape,
    noise: Noise,
    *,
    start,
    exit,
    step: float,
    walkers: int,
    seed: int,
    rule: Rule = euler_maruyama,
    max_time: float | None = None,
    barrier_shift: bool | None = None,
    bound: float | None = None,
    keep: bool = True,
    threads: int | None = None,
    device: str | None = None,
    progress: bool = False,
) -> EscapeTimes | EscapeStatistics:
    r"""Follow walkers until each first satisfies ``exit``.

    Args:
        landscape: the loss L.
        noise: what drives the walkers.
        start: where every walker starts, n numbers (or one, in one dimension).
        exit: a criterion of :mod:`ddt_utils.criterion`, or a SymPy relational in the landscape's
            variables, or And/Or of such; what else walkers carry may stand in it under its name.
        step: dt, in units of t = learning rate × iterations; for SGD the learning rate.
        walkers: how many.
        seed: a whole number from 0 to 2⁶⁴ − 1; walker i of a seed has the same random stream in
            every call.
        rule: what a walker does in one step: :func:`euler_maruyama`, :func:`sgd`,
            :func:`momentum`, or one of your own.
        max_time: walkers still inside then are censored; without it each is followed to its exit.
            Rounded up to an even number of steps.
        barrier_shift: correct the time-step bias; see :class:`Problem`. By default on, for SGD off.
        bound: how far from the origin a walker that is not out has diverged; see :class:`Problem`.
        keep: keep the time and the last place of every walker; without, memory is constant.
        threads: how many threads share the walkers; all cores by default. No effect on results.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: CUDA where there is one; by default what
            ``DDT_DEVICE`` in the environment says, and ``"cpu"`` without it.
        progress: show a progress bar.

    Returns:
        The escape times, with the state in which each walker was last seen, its place in
        ``states`` and what else it carried in ``carried``; with ``keep=False`` their statistics.

    Raises:
        ValueError: a bad argument; a start that satisfies the exit or lies outside the box; an
            expression without a compiled form; or, without ``max_time``, 10¹⁰ walker-steps in a row
            in which no walker was done.
        Interrupted: Ctrl-C was pressed; its ``run`` can be continued.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> well, white = catalog.quartic(), noise.WhiteNoise(0.25)
        >>> (x,) = well.variables
        >>> result = first_passage(well, white, start=-1, exit=x > 1,
        ...                        step=0.01, walkers=1000, seed=1)
        >>> result.escaped
        1000
    """
    problem = Problem(
        landscape,
        noise,
        start=start,
        exit=exit,
        step=step,
        rule=rule,
        max_time=max_time,
        barrier_shift=barrier_shift,
        bound=bound,
    )
    run = Run(problem, walkers=walkers, seed=seed, keep=keep, threads=threads, device=device)
    return run.finish(progress=progress).result()


def step_bias(problem: Problem, *, walkers: int, seed: int, device: str | None = None):
    r"""What the time step still does to the mean escape time, by halving it.

    With the barrier shift on, the bias of the mean is :math:`c\,dt^p` with p = 1, so
    :math:`1/(1-2^{-p})`, that is twice, the difference between dt and dt/2 estimates it. Where D
    jumps (:attr:`Problem.jumps`) p is ½ for Euler's scheme and the factor 3.41. The two ensembles
    are independent.

    Args:
        problem: the problem at the step in question.
        walkers: how many, for each of the two steps.
        seed: as for :class:`Run`; the halved step uses seed + 1.
        device: as for :class:`Run`.

    Returns:
        The bias relative to the mean, and its standard error.

    Raises:
        ValueError: the problem has no barrier shift, so that its bias goes like √dt.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> well, white = catalog.quartic(), noise.WhiteNoise(0.25)
        >>> (x,) = well.variables
        >>> problem = Problem(well, white, start=-1, exit=x > 1, step=0.1)
        >>> bias, stderr = step_bias(problem, walkers=1_000_000, seed=1)
        >>> # −0.031 by quadrature: dt² is not nothing
        >>> abs(bias + 0.036) < 4.4 * stderr < 0.02
        True
    """
    if not problem.barrier_shift:
        raise ValueError(
            "step_bias needs a problem whose bias is of first order in dt, got one without the "
            "barrier shift; set barrier_shift=True"
        )
    order = 0.5 if problem.jumps and problem.rule is euler_maruyama else 1.0
    factor = 1 / (1 - 2**-order)
    halved = replace(problem, step=problem.step / 2)
    whole, half = (
        Run(p, walkers=walkers, seed=s, keep=False, device=device).finish().result()
        for p, s in ((problem, seed), (halved, (_checks.seed(seed) + 1) % 2**64))
    )
    ratio = half.mean / whole.mean
    error = ratio * np.hypot(half.stderr / half.mean, whole.stderr / whole.mean)
    return factor * (1 - ratio), factor * float(error)


def _stretches(counts):
    """Counts of steps in pieces, and after which of them which row is recorded, else -1."""
    pieces, rows, most = [], [], max(1 << 14, int(counts.sum()) >> 20)
    for row, count in enumerate(counts):
        whole, rest = divmod(int(count), most)
        pieces += [most] * whole + [rest]
        rows += [-1] * whole + [row]
    return np.array(pieces, np.int64), np.array(rows, np.int64)


def _observables(problem, observe):
    """A function of places and of what else is carried that works out what is asked for."""
    step, n = problem._step, problem.landscape.dimension
    given = observe if isinstance(observe, (tuple, list)) else (observe,)
    asked = tuple(step.named(expression("an observable", e)) for e in given)
    if not asked:
        raise ValueError("observe needs an expression at least, got none; leave it out for places")
    function = numpy_function(asked, step.state)

    def values(places, others):
        state = np.moveaxis(places, -1, 0).astype(float), np.moveaxis(others, -1, 0).astype(float)
        with np.errstate(all="ignore"):
            found = function(*state[0], *state[1][: len(step.state) - n])
        return np.stack([np.broadcast_to(v, places.shape[:-1]) for v in found], -1).astype(float)

    return values


def ensemble(
    landscape: Landscape,
    noise: Noise,
    *,
    start,
    step: float,
    times,
    walkers: int,
    seed: int,
    rule: Rule = euler_maruyama,
    observe=None,
    bound: float | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Where walkers that never leave are at given times.

    Args:
        landscape: the loss L.
        noise: what drives the walkers.
        start: where every walker starts, n numbers (or one, in one dimension).
        step: dt; for SGD the learning rate.
        times: times in order, rounded to whole steps.
        walkers: how many.
        seed: as for :func:`first_passage`.
        rule: what a walker does in one step.
        observe: SymPy expressions in the coordinates and whatever else walkers carry, under its
            name; by default the coordinates.
        bound: how far from the origin a walker has diverged; see :class:`Problem`.
        threads: how many threads share the walkers; no effect on results.

    Returns:
        States, shape (len(times), walkers, n), float32; float64 where the box of the landscape does
        not contain the origin, or is smaller than 1e-6 or larger than 1e6. Of k expressions shape
        (len(times), walkers, k), float64, worked out from the walkers' states.

    Raises:
        ValueError: a bad argument, times out of order, more walkers than memory has room for, or
            a walker that diverged.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> places = ensemble(catalog.quartic(), noise.WhiteNoise(0.25), start=-1,
        ...                   step=0.01, times=[0.5, 1.0], walkers=1000, seed=1)
        >>> places.shape
        (2, 1000, 1)

        What else walkers carry, by its name:

        >>> import sympy as sp
        >>> from ddt_utils.simulate import momentum
        >>> speed = sp.Symbol("velocity0")
        >>> energy = ensemble(catalog.quartic(), noise.WhiteNoise(0.25), start=-1,
        ...                   step=0.01, times=[0.0, 1.0], walkers=1000, seed=1,
        ...                   rule=momentum(0.9), observe=speed**2 / 2)
        >>> energy.shape
        (2, 1000, 1)
    """
    walkers, seed = check_ensemble(walkers=walkers, seed=seed)
    times, step = np.atleast_1d(_checks.array("times", times)), check_step(step)
    ticks = np.rint(times / step)
    if times.ndim > 1 or not np.all(np.diff(ticks, prepend=0) >= 0) or np.any(ticks >= 2**61):
        raise ValueError(
            f"times must be zero or positive, in order and below 2⁶¹ steps, got {times}; sort them"
        )
    options = dict(exit=None, rule=rule, barrier_shift=False, bound=bound)
    problem = Problem(landscape, noise, start=start, step=step, **options)
    made, n = problem.program(), landscape.dimension
    width = n if observe is None else len(problem.start_state)
    asked = None if observe is None else _observables(problem, observe)
    with in_memory(walkers, 4 * len(ticks) * width, "take fewer, or fewer times"):
        states = np.zeros((len(ticks), walkers, width), np.float32)
    numbers = problem.start_state, np.array(made.parameters, np.float32), states
    counts, rows = _stretches(np.diff(ticks, prepend=0).astype(np.int64))
    stop = np.zeros(1, np.int8)

    def follow(begin, end):
        made.module.evolve(begin, end, np.uint64(seed), counts, rows, *numbers, stop)

    count = thread_count(threads)
    piece = 4096 // program.LANES * program.LANES
    piece = min(piece, -(-walkers // (count * program.LANES)) * program.LANES)
    edges = np.append(np.arange(0, walkers, piece), walkers)
    with ThreadPoolExecutor(count) as pool:
        try:
            for part in [pool.submit(follow, *ends) for ends in pairwise(edges)]:
                part.result()
        except BaseException:
            stop[0] = 1  # Ctrl-C: the threads see it after their stretch
            pool.shutdown(cancel_futures=True)
            raise
    reach = max(problem.frame.scale) * np.linalg.norm(states[..., :n].astype(float), axis=-1)
    lost = int(np.count_nonzero(~(reach < problem.farthest).all(axis=0)))
    if lost:
        raise ValueError(
            f"walkers must stay within {problem.farthest:g} of the origin, but {lost} of {walkers} "
            f"diverged; take a smaller step than {step}: it must be well below 2 over the largest "
            "curvature they meet"
        )
    places = problem.frame.outside(states[..., :n])
    return places if asked is None else asked(places, states[..., n:])
