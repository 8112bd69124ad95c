r"""What is simulated: a landscape, a noise, a rule, a start, an exit and a step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

import numpy as np
import sympy as sp

from ddt_utils.landscape import Landscape
from ddt_utils.noise import Noise
from ddt_utils.simulate import precision, program
from ddt_utils.simulate.precision import Frame
from ddt_utils.simulate.rules import Rule, euler_maruyama


@dataclass(frozen=True)
class Problem:
    r"""One escape problem.

    Args:
        landscape: the loss L, of 1 to 16 variables.
        noise: what drives the walker.
        start: where every walker starts, n numbers (or one, in one dimension).
        exit: a criterion of :mod:`ddt_utils.criterion`, or a SymPy relational in the landscape's
            variables, or And/Or of such: x > 1, leaving a ball. None for walkers that never leave.
            Kept as the relational.
        step: dt, in units of t = learning rate × iterations. For SGD it is the learning rate.
        rule: what a walker does in one step; see :mod:`ddt_utils.simulate.rules`.
        max_time: walkers still inside then are censored; without it each is followed to its exit.
            Rounded up to an even number of steps.
        barrier_shift: move each interface g = 0 of the exit towards the walker by
            :math:`0.5826\sqrt{2\,dt\,\nabla g^\top D\nabla g}`, which removes the leading bias of a
            crossing that is noticed only at the end of a step (Broadie, Glasserman and Kou,
            Mathematical Finance 7, 325, 1997; Gobet and Menozzi, Stochastic Processes and their
            Applications 120, 130, 2010). It assumes that the exit lies behind a smooth interface
            with noise across it. By default on, and off where the rule says that the step is
            physical, as in SGD.

    Raises:
        ValueError: a bad argument; a start that satisfies the exit or lies outside the box.
    """

    landscape: Landscape
    noise: Noise
    start: tuple
    exit: sp.Basic | None
    step: float
    rule: Rule = euler_maruyama
    max_time: float | None = None
    barrier_shift: bool | None = None

    def __post_init__(self):
        object.__setattr__(self, "step", float(self.step))
        check_step(self.step)
        if not 1 <= self.landscape.dimension <= 16:
            raise ValueError(
                f"a walker lives in 1 to 16 dimensions, {self.landscape.name} has "
                f"{self.landscape.dimension}"
            )
        point = checked_start(self.landscape, self.start)
        object.__setattr__(self, "start", tuple(float(p) for p in point))
        if self.exit is not None:
            object.__setattr__(self, "exit", self.landscape.exit_condition(self.exit))
            values = dict(zip(self.landscape.variables, map(sp.Float, self.start), strict=True))
            if self.exit.subs(values) == sp.true:
                raise ValueError(
                    f"start must lie inside, got {list(self.start)}, which satisfies {self.exit}"
                )
        if self.max_time is not None and not 0 < self.max_time < 2**61 * self.step:
            raise ValueError(
                "max_time must be positive, and not beyond 2⁶¹ steps, got "
                f"{self.max_time}; leave it out to wait for all"
            )
        eta = getattr(self.noise, "learning_rate", None)
        if self._step.physical and eta is not None and not np.isclose(float(eta), self.step):
            raise ValueError(
                f"the step of SGD is its learning rate, got step {self.step} and a noise with {eta}"
            )
        if self.barrier_shift is None:
            object.__setattr__(self, "barrier_shift", not self._step.physical)
        if self.barrier_shift and self.exit is not None:
            self._check_distance()
        self.compensated  # noqa: B018  the step is checked against single precision, once

    @cached_property
    def _step(self):
        return _step(self.rule, self.landscape, self.noise)

    @cached_property
    def frame(self) -> Frame:
        """The coordinates in which walkers are carried, those of the landscape in most cases."""
        return Frame.of(self.landscape)

    @cached_property
    def compensated(self) -> bool:
        """Are the steps so small that walkers carry the remainders of their additions along?"""
        return precision.compensation(self, _program(self, "cpu", False, 2, 2))

    @property
    def bound(self) -> float:
        """How far from the frame's origin a walker may stray: ten times the reach of the box."""
        return 10 * self.frame.reach(self.landscape.box)

    @property
    def start_state(self) -> np.ndarray:
        """Where a walker starts in its frame, with whatever else it carries, float32."""
        n, place = self.landscape.dimension, self.frame.inside(self.start)
        state = np.zeros(len(self._step.state) + n * self.compensated, np.float32)
        state[:n] = place
        if self.compensated:
            state[-n:] = place - state[:n]
        return state

    def _check_distance(self):
        """Refuse a start so near the exit that moving it by a constant is no correction.

        A Gaussian walk passes a far interface by 0.5826 step lengths on average, and one next to it
        by up to 0.7071. The difference falls like exp(-√(2π) distance) (the zeros of 1 − exp(λ²/2)
        next to 0): the mean time of a walker that starts at the moved exit is 21 % too long, of one
        that starts two step lengths from the exit 0.3 % at most.
        """
        n, start = self.landscape.dimension, np.array(self.start)
        values, vectors = np.linalg.eigh(self.noise.diffusion(self.landscape, *start))
        length = np.sqrt(2 * self.step * np.maximum(values, 0))
        ways = np.vstack([np.eye(n), np.random.default_rng(0).standard_normal((32, n))])
        ways = (ways / np.linalg.norm(ways, axis=1)[:, None] * length) @ vectors.T
        near = start + np.multiply.outer([-2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2], ways)
        if np.any(
            sp.lambdify(self.landscape.variables, self.exit, "numpy")(*np.moveaxis(near, -1, 0))
        ):
            raise ValueError(
                "start must lie two step lengths √(2 D dt) from the exit, or more, for the exit to "
                f"be moved towards the walker by 0.58 of one, got {list(self.start)} with step "
                f"lengths {length.round(6).tolist()} for {self.exit}; take a smaller step, or "
                "barrier_shift=False for the discrete walk"
            )

    def _near_exit(self):
        """The exit where it stands for the walkers: moved towards them if that is asked for."""
        if self.exit is None:
            return sp.false
        if not self.barrier_shift:
            return self.exit
        diffusion = self.noise.diffusion_matrix(self.landscape)
        return program.shifted(self.exit, self.landscape.variables, diffusion)

    @property
    def limit(self) -> int:
        """The number of steps after which a walker is censored, an even number."""
        return steps_until(self.max_time, self.step)

    @property
    def bias_correction(self) -> str:
        """What is done about the time-step bias, in words."""
        if self.barrier_shift:
            return "interfaces moved towards the walker by 0.5826 √(2 D dt)"
        return "none: the first passage of the discrete process"

    def program(self, target: str = "cpu") -> program.Program:
        """The generated source, for ``"cpu"`` or ``"cuda"``."""
        return _program(self, target, self.compensated, program.LANES, program.CHUNK)

    def digest(self) -> str:
        """A name for the problem that is the same in every process: its source and numbers."""
        made = self.program()
        parts = [made.source, repr(made.parameters), repr(self.start)]
        parts += [repr(self.frame.origin), repr(self.frame.scale)]
        parts += [repr(float(self.step)), repr(self.limit)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]

    def __getstate__(self):
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __setstate__(self, state):
        self.__dict__.update(state)


@lru_cache(maxsize=256)
def _step(rule, landscape, noise):
    return rule(landscape, noise, program.DT)


@lru_cache(maxsize=256)
def _program(problem, target, compensated, lanes, chunk):
    at = dict(zip(problem.landscape.variables, problem.start, strict=True))
    at[program.DT] = problem.step
    return program.write(
        problem.frame.step(problem._step),
        dt=problem.step,
        bound=problem.bound,
        dimension=problem.landscape.dimension,
        exit=problem.frame.condition(problem._near_exit(), at),
        compensated=compensated,
        target=target,
    )


def steps_until(time, step) -> int:
    """How many steps lead to a time, rounded up to an even number; None is for ever."""
    return 2**62 if time is None else 2 * max(1, int(np.ceil(time / step / 2 - 1e-9)))


def checked_start(landscape, start) -> np.ndarray:
    """The start as n numbers, or an error that says what is wrong with it."""
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
    return point


def check_step(step) -> None:
    """Refuse a time step that is not positive and finite."""
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, got {step}; it is the time step dt")


def check_ensemble(*, walkers, seed) -> None:
    """Refuse a number of walkers or a seed that is none."""
    if not (isinstance(walkers, (int, np.integer)) and walkers >= 1):
        raise ValueError(f"walkers must be a positive integer, got {walkers!r}; write int(1e6)")
    if not isinstance(seed, (int, np.integer)):
        raise ValueError(f"seed must be an integer, got {seed!r}")
