r"""Paths that are cut, copied and continued, on the compiled step: one batch of splitting.

A walker that is watched carries four numbers more: the level where it is, the highest level of its
path, and two levels at which it stops, one below and one above. In the exit its level is
:data:`GONE`. A walker's stream makes it walk the same way again, so no path is kept: to branch a
path at the first place above a level, it is walked again from where it began, up to there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import sympy as sp

from ddt_utils.escape import DIVERGED
from ddt_utils.simulate import program
from ddt_utils.simulate.pool import Pool
from ddt_utils.simulate.step import Step

GONE = np.float32(2.0**100)  # the level of the exit
_CUT = np.float32(2.0**80)  # above the level of every place that is not in the exit
_BEGUN = 2  # the engine starts a walker of no steps by itself; those here have a place and a stream
_FOR_EVER = 2**62
_PATIENCE = 1e9  # steps of one walker after which it counts as caught between source and exit


def height(exit):
    """How far a place is past the interface of an exit: g for g > 0, of several the decisive one.

    Args:
        exit: a SymPy relational, or And/Or of such.

    Returns:
        A SymPy expression, positive in the exit alone (or zero, for ``>=``).
    """
    if isinstance(exit, (sp.And, sp.Or)):
        return (sp.Min if isinstance(exit, sp.And) else sp.Max)(*map(height, exit.args))
    return exit.gts - exit.lts


def watched(step: Step, level, exit, dimension: int) -> Step:
    """A step whose walker also carries its level, the highest so far, and where it stops.

    Args:
        step: the step, complete.
        level: a SymPy expression in the symbols of its state.
        exit: a SymPy condition in them; there the level is :data:`GONE`.
        dimension: how many of the state variables are coordinates.

    Returns:
        The step, without a law of its start; its four last state variables are the level, the
        highest, the stop below and the stop above. It moves the other ones as before, to the last
        bit. (The level of a walker that carries the remainders of its additions is that of its
        place without the last one.)
    """
    where, update, new = list(step.where), [], {}
    for i, (x, e) in enumerate(zip(step.state, step.update, strict=True)):
        move, value = (sp.Dummy(f"{name}{i:02d}", real=True) for name in ("move", "value"))
        is_sum = e.is_Add and x in e.args and i < dimension  # what is added is worked out first
        where.append((move, e - x if is_sum else e))
        update.append(x + move if is_sum else move)
        where.append((value, update[-1]))
        new[x] = value
    now, top, below, above, here = (
        sp.Dummy(f"_{name}", real=True) for name in ("now", "top", "below", "above", "here")
    )
    there = sp.Piecewise((sp.Float(float(GONE)), exit), (level, True), evaluate=False)
    nowhere = sp.Float(4 * float(GONE))  # the highest level of a walker that once had none
    known = (sp.Max(top, here), here > -float(GONE))
    return replace(
        step,
        state=(*step.state, now, top, below, above),
        update=(*update, here, sp.Piecewise(known, (nowhere, True), evaluate=False), below, above),
        where=(*where, (here, there.xreplace(new))),
        initial_state=(*step.initial_state, 0.0, 0.0, 0.0, 0.0),
        start=None,
    )


class Watch:
    """Walkers of one problem, followed from level to level.

    Args:
        problem: the problem, with an exit.
        level: a SymPy expression in the landscape's variables, or None for :func:`height`.
        engine: the class that carries walkers forward.
        threads: how many threads share them.
    """

    def __init__(self, problem, level, engine, threads):
        """Write the program; it is compiled when walkers first walk."""
        self.problem, self._engine, self._threads = problem, engine, threads
        frame, step = problem.frame, problem._step
        at = problem._beginning | {program.DT: problem.step}
        level = height(problem.exit) if level is None else level
        level = step.named(level)
        at_start = level.subs(at).evalf()
        if not (at_start.is_real and at_start.is_finite):
            raise ValueError(
                f"level must be a number at the start, got {at_start} for {level} at "
                f"{list(problem.start)}; take an expression that is one wherever walkers go"
            )
        inside = frame.condition(sp.Gt(level, 0, evaluate=False), at)
        scaled = inside.lhs - inside.rhs
        places = frame.inside(problem.start).tolist()
        here = at | dict(zip(problem.landscape.variables, places, strict=True))
        #: one unit of the level that walkers carry
        self.unit = 1.0 if frame.plain or not at_start else float(at_start / scaled.subs(here))
        self.start_level = float(at_start) / self.unit
        exit = frame.condition(problem._near_exit(), at)
        self.step = watched(frame.step(step), scaled, exit, problem.landscape.dimension)
        self._now = len(self.step.state) - 4
        self._programs, self.walked = {}, 0
        start = problem.start_state
        more = np.float32([self.start_level, self.start_level, 0, 0])
        self.start = np.concatenate([start[: self._now], more, start[self._now :]])

    def program(self, target):
        """The generated source for a device."""
        if target not in self._programs:
            now, _, below, above = self.step.state[self._now :]
            self._programs[target] = program.write(
                self.step,
                dt=self.problem.step,
                bound=self.problem.bound / max(self.problem.frame.scale),
                dimension=self.problem.landscape.dimension,
                exit=sp.Or(now <= below, now > above),
                compensated=self.problem.compensated,
                target=target,
            )
        return self._programs[target]

    def now(self, states) -> np.ndarray:
        """The level of each walker."""
        return states[:, self._now]

    def top(self, states) -> np.ndarray:
        """The highest level of each walker's path, since it began."""
        return states[:, self._now + 1]

    def follow(self, states, words, *, below=-GONE, above=_CUT, most=None):
        """Walk on until the level is at most ``below`` or greater than ``above``.

        Args:
            states: where walkers are, shape (walkers, size), float32; left as it is.
            words: the streams, shape (walkers, 4), uint32.
            below: one level or one for each.
            above: one level or one for each; as it stands, the exit.
            most: stop after so many steps, an even number.

        Returns:
            The states after that, and how many steps each took.

        Raises:
            ValueError: a walker diverged or has no level, or is caught between the two.
        """
        pool = Pool.fresh(0, len(states), self.start.size)
        pool.state[:], pool.words[:], pool.steps[:] = states, words, _BEGUN
        pool.state[:, self._now + 1] = pool.state[:, self._now]
        pool.state[:, self._now + 2], pool.state[:, self._now + 3] = below, above
        limit = _FOR_EVER if most is None else _BEGUN + most
        task = SimpleNamespace(program=self.program, limit=limit, start_state=self.start)
        engine = self._engine(task, pool, 0, self._threads)
        waited, done = 0.0, 0  # steps of a lane since a walker was last done
        try:
            while not pool.status.all():  # no lane may be at work although walkers still wait
                steps = engine.slice_steps
                engine.advance()
                before, done = done, int(np.count_nonzero(pool.status))
                waited = steps + (waited if done == before else 0)
                if waited > _PATIENCE:
                    raise ValueError(
                        "walkers must come back to their source or reach the exit, got one that "
                        f"did neither in {waited:.0e} steps; is there a valley between? let the "
                        "source reach over it"
                    )
        finally:
            engine.close()
        steps = pool.steps - _BEGUN
        self.walked += int(steps.sum())
        lost = int(np.count_nonzero(pool.status == DIVERGED))
        if lost or not np.all(np.abs(self.top(pool.state)) <= GONE):
            raise ValueError(
                "walkers must stay within the bound and have a level wherever they go, got "
                f"{lost} of {len(states)} diverged; take a smaller step than {self.problem.step}, "
                "or a level that is a number everywhere"
            )
        return pool.state, steps


class Streams:
    """Fresh streams for the walkers of some repetitions, which do not depend on the others.

    Args:
        generators: one for each repetition.
        walkers: how many each has.
    """

    def __init__(self, generators, walkers):
        """Keep the generators."""
        self.generators, self._walkers = generators, walkers

    def words(self, who: np.ndarray) -> np.ndarray:
        """The words that start one stream each.

        Args:
            who: numbers of walkers in increasing order; those of repetition r begin at r·walkers.

        Returns:
            Shape (len(who), 4), uint32.
        """
        counts = np.bincount(who // self._walkers, minlength=len(self.generators))
        parts = [
            g.integers(2**32, size=(count, 4), dtype=np.uint32)
            for g, count in zip(self.generators, counts, strict=True)
        ]
        words = np.concatenate(parts)
        words[:, 3] |= 1  # a stream of zeros stays zero
        return words


def loops(watch, streams, source, settle, count, walkers):
    """Walk from the start to rest, and then in loops out of the source and back.

    A loop leads from a passage of the upper level down to the lower one and up again. A walker in
    the exit is put back at the start, in the same loop.

    Args:
        watch: the walkers.
        streams: their streams.
        source: the lower and the upper level.
        settle: how many steps lead to rest, an even number.
        count: how many loops are counted; one before them is not.
        walkers: how many.

    Returns:
        The states in which the walkers passed the upper level at last, and the steps of each in
        all counted loops.
    """
    low, high = source
    everyone, total = np.arange(walkers), np.zeros(walkers, np.int64)
    states = np.tile(watch.start, (walkers, 1))

    def walk(who, **until):
        if len(who):
            states[who], steps = watch.follow(states[who], streams.words(who), **until)
            total[who] += steps

    def put_back():
        states[watch.now(states) >= _CUT] = watch.start

    def out():
        put_back()
        walk(np.flatnonzero(watch.now(states) <= high), above=high)

    walk(everyone, most=settle)
    out()
    for turn in range(count + 1):
        if turn == 1:
            total[:] = 0
        walk(np.flatnonzero(watch.now(states) < _CUT), below=low)
        out()
    return states, total


@dataclass
class Family:
    """The paths of one batch: where each began, and in which stream; what became of it.

    Args:
        states: where they began, shape (walkers, size).
        words: their streams.
        tops: the highest level of each; :data:`GONE` for one that reached the exit.
    """

    states: np.ndarray
    words: np.ndarray
    tops: np.ndarray


def split(watch, streams, states, low, walkers, discard):
    r"""Adaptive multilevel splitting of the paths that begin in ``states``.

    In each round the ``discard`` lowest paths are cut, and with them all that are no higher than
    the highest of them (ties are cut too), and replaced by branches of the others, from the first
    place of a path that lies above. With :math:`K_i` of N cut in round i and M in the exit at the
    end, :math:`\hat p = \frac MN\prod_i(1 - K_i/N)` has no bias.

    Args:
        watch: the walkers.
        streams: their streams.
        states: where they begin, shape (repetitions · walkers, size).
        low: the level at which a path ends that did not reach the exit.
        walkers: N.
        discard: how many to cut at least, below N.

    Returns:
        The estimates, and the rounds that they took, shape (repetitions,).
    """
    repetitions = len(states) // walkers
    weights, rounds = np.ones(repetitions), np.zeros(repetitions, np.int64)
    everyone = np.arange(len(states))
    family = Family(states, streams.words(everyone), watch.now(states).copy())
    _finish(watch, family, everyone, low)
    active = list(range(repetitions))
    while active:
        cut, parents, goals, still = [], [], [], []
        for r in active:
            tops = family.tops[r * walkers : (r + 1) * walkers]
            goal = np.partition(tops, discard - 1)[discard - 1]
            dead, alive = np.flatnonzero(tops <= goal), np.flatnonzero(tops > goal)
            if goal >= GONE or not len(alive):
                weights[r] *= np.count_nonzero(tops >= GONE) / walkers
                continue
            weights[r] *= 1 - len(dead) / walkers
            rounds[r] += 1
            # each path has the same number of branches, or one more, drawn by lot
            chosen = np.resize(streams.generators[r].permutation(alive), len(dead))
            cut.append(r * walkers + dead)
            parents.append(r * walkers + chosen)
            goals.append(np.full(len(dead), goal))
            still.append(r)
        active = still
        if active:
            _branch(watch, streams, family, *map(np.concatenate, (cut, parents, goals)), low)
    return weights, rounds


def _branch(watch, streams, family, cut, parents, goals, low):
    """Replace paths by branches of others, from the first place above the goals."""
    first, which = np.unique(parents, return_index=True)
    goal = goals[which]
    places = family.states[first]
    again = watch.now(places) <= goal  # the others begin above the goal
    if again.any():
        who = first[again]
        places[again], _ = watch.follow(
            places[again], family.words[who], below=low, above=goal[again]
        )
    family.states[cut] = places[np.searchsorted(first, parents)]
    family.words[cut] = streams.words(cut)
    family.tops[cut] = watch.now(family.states[cut])
    _finish(watch, family, cut, low)


def _finish(watch, family, who, low):
    """Follow paths from where they begin until they are back or in the exit."""
    who = who[watch.now(family.states[who]) < _CUT]
    if len(who):
        ends, _ = watch.follow(family.states[who], family.words[who], below=low)
        family.tops[who] = watch.top(ends)
