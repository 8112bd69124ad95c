"""Walkers that are watched: how high they are on their way out, and where they are to stop.

A walker that is watched carries four numbers more: the level where it is, the highest level of its
path, and two levels at which it stops, one below and one above. In the exit its level is
:data:`GONE`.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import sympy as sp

from ddt_utils.escape import DIVERGED
from ddt_utils.simulate import program
from ddt_utils.simulate.pool import Pool
from ddt_utils.simulate.step import Step

GONE = np.float32(2.0**100)  # the level of the exit
CUT = np.float32(2.0**80)  # above the level of every place that is not in the exit
_NOWHERE = np.float32(2.0**110)  # of a place without a level
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
    now, top, below, above, climbed, here = (
        sp.Dummy(f"_{name}", real=True)
        for name in ("now", "top", "below", "above", "climbed", "here")
    )
    there = sp.Piecewise(
        (sp.Float(float(GONE)), exit.xreplace(new)),
        (climbed, sp.Abs(climbed) < sp.Float(float(CUT))),
        (sp.Float(float(_NOWHERE)), True),
        evaluate=False,
    )
    return replace(
        step,
        state=(*step.state, now, top, below, above),
        update=(*update, here, sp.Max(top, here), below, above),
        where=(*where, (climbed, level.xreplace(new)), (here, there)),
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
                bound=self.problem.farthest / max(self.problem.frame.scale),
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

    def follow(self, states, words, *, below=-GONE, above=CUT, most=None):
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
        if lost or np.any(self.top(pool.state) == _NOWHERE):
            raise ValueError(
                "walkers must stay within the bound and have a level wherever they go, got "
                f"{lost} of {len(states)} diverged; take a smaller step than {self.problem.step}, "
                "or a level that is a number everywhere"
            )
        return pool.state, steps
