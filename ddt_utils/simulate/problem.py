r"""What is simulated: a landscape, a noise, a rule, a start, an exit and a step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils._diffusion import check_rate
from ddt_utils.landscape import Landscape
from ddt_utils.noise import Noise
from ddt_utils.simulate import _reach, precision, program
from ddt_utils.simulate._arguments import check_rule, check_step, checked_start, steps_until
from ddt_utils.simulate.precision import Frame
from ddt_utils.simulate.rules import Rule, euler_maruyama, step_of
from ddt_utils.simulate.step import CLOCK


@dataclass(frozen=True)
class Problem:
    r"""One escape problem.

    Args:
        landscape: the loss L, of 1 to 16 variables.
        noise: what drives the walker.
        start: where every walker starts, n numbers (or one, in one dimension).
        exit: a criterion of :mod:`ddt_utils.criterion`, or a SymPy relational in the landscape's
            variables, or And/Or of such: x > 1, leaving a ball. What else the rule's walkers carry
            may stand in it under its name, as ``Symbol("velocity0")``. None for walkers that never
            leave. Kept as the relational.
        step: dt, in units of t = learning rate × iterations. For SGD it is the learning rate.
        rule: what a walker does in one step; see :mod:`ddt_utils.simulate.rules`.
        max_time: walkers still inside then are censored; without it each is followed to its exit.
            Rounded up to an even number of steps.
        barrier_shift: move each interface g = 0 of the exit towards the walker by
            :math:`0.5826\sqrt{2\,dt\,\nabla g^\top D\nabla g}`, which removes the leading bias of a
            crossing that is noticed only at the end of a step (Broadie, Glasserman and Kou,
            Mathematical Finance 7, 325, 1997; Gobet and Menozzi, Stochastic Processes and their
            Applications 120, 130, 2010). It assumes that the exit lies behind a smooth interface
            with noise across it: where :math:`\nabla g` vanishes on it, as on a level at the height
            of a saddle, it moves too far (refused in one dimension; in more a part of the exit that
            shrinks with dt). Where D jumps on the way it leaves a bias of order √dt, see
            :attr:`jumps`. By default on, and off where the rule says that the step is
            physical, as in SGD, where the exit uses more than coordinates, and where steps have a
            duration of their own.
        bound: a walker that is not out and farther than this from the origin has diverged (where
            the box does not contain the origin: from its centre). By default ten times the reach of
            the box. A walker that satisfies the exit has escaped however far it landed, unless the
            square of the distance is beyond single precision.

    Raises:
        ValueError: a bad argument; a start that satisfies the exit, lies outside the box, or within
            two step lengths of an exit that is moved; numbers beyond single precision; a diffusion
            whose step is longer than one over the curvature at the start; in one dimension and
            without ``max_time``, an exit that no walker will reach; in one dimension an exit that
            is moved and only touches its level; an exit that is not real at the start.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> well, kick = catalog.quartic(), noise.WhiteNoise(0.25)
        >>> (x,) = well.variables
        >>> problem = Problem(well, kick, start=-1, exit=x > 1, step=0.1)
        >>> problem.barrier_shift
        True
    """

    landscape: Landscape
    noise: Noise
    start: tuple
    exit: sp.Basic | None
    step: float
    rule: Rule = euler_maruyama
    max_time: float | None = None
    barrier_shift: bool | None = None
    bound: float | None = None

    def __post_init__(self):
        """Check the arguments."""
        if not isinstance(self.landscape, Landscape) or not isinstance(self.noise, Noise):
            raise ValueError(
                "a problem needs a Landscape and a noise of ddt_utils.noise, got "
                f"{type(self.landscape).__name__} and {self.noise!r}; for D = 0.1 write "
                "WhiteNoise(0.1)"
            )
        check_rule(self.rule)
        object.__setattr__(self, "step", check_step(self.step))
        if not 1 <= self.landscape.dimension <= 16:
            raise ValueError(
                f"a walker lives in 1 to 16 dimensions, {self.landscape.name} has "
                f"{self.landscape.dimension}"
            )
        place = checked_start(self.landscape, self.start).tolist()
        object.__setattr__(self, "start", tuple(place))
        self.noise.check(self.landscape)
        if self.exit is not None:
            object.__setattr__(self, "exit", self._named_exit())
            if self._out_at_start() == sp.true:
                raise ValueError(
                    f"start must lie inside, got {list(self.start)}, which satisfies {self.exit}"
                )
        self._check_bound()
        _reach.check_duration(self)
        if self.max_time is not None:
            remedy = "leave it out to wait for all, at most 2⁶¹ steps"
            most = 2**61 * self.step
            time = _checks.number("max_time", self.max_time, above=0, below=most, remedy=remedy)
            object.__setattr__(self, "max_time", time)
        if self._step.physical:
            check_rate(self.noise, self.step)
        if self.barrier_shift is None:
            shift = not self._step.physical and self._movable
            object.__setattr__(self, "barrier_shift", shift)
        _checks.choice("barrier_shift", self.barrier_shift, (True, False))
        if self.barrier_shift and not self._movable:
            raise ValueError(
                "an exit that is moved towards the walker uses coordinates alone, and each step "
                f"takes dt, got {self.exit} for the rule {self.rule}; leave barrier_shift out"
            )
        _ = self.compensated  # refuses what single precision or the exit's reach forbids

    def _named_exit(self):
        """The exit in the landscape's own variables, however their names came into it."""
        names, own = self._step.names, self.landscape.variables
        found = self.landscape.exit_condition(self.exit, tuple(names))
        others = [s for s in found.free_symbols - set(self._step.state) if names[s.name] in own]
        if not others:
            return found
        found = found.xreplace({symbol: names[symbol.name] for symbol in others})
        return self.landscape.exit_condition(found, tuple(names))

    def _out_at_start(self):
        """The exit at the start, refused where it is not real."""
        try:
            return self._step.named(self.exit).subs(self._beginning)
        except TypeError:
            raise ValueError(
                f"exit must be real where walkers are, got {self.exit}, which is not at the start "
                f"{list(self.start)}; write it without the root or the logarithm, as x > 1"
            ) from None

    def _check_bound(self):
        """Refuse a bound that single precision or the start exceeds."""
        scale = max(self.frame.scale)
        least = scale * float(np.linalg.norm(self.frame.inside(self.start)))
        remedy = "it is how far a walker may be from the origin, more than at its start"
        most = 1e19 * scale
        found = _checks.number("bound", self.farthest, above=least, most=most, remedy=remedy)
        object.__setattr__(self, "bound", None if self.bound is None else found)

    @property
    def farthest(self) -> float:
        """How far from the origin a walker that is not out has diverged, with or without bound."""
        if self.bound is not None:
            return self.bound
        return 10 * self.frame.reach(self.landscape.box) * max(self.frame.scale)

    @property
    def _beginning(self):
        """The value of each symbol of the state at the start, without a law."""
        values = (*self.start, *self._step.initial_state)
        return dict(zip(self._step.state, map(sp.Float, values), strict=True))

    @property
    def _movable(self):
        """Is there a length of a step by which the exit can be moved?"""
        return self._in_coordinates and CLOCK not in self._step.state

    @property
    def _in_coordinates(self):
        """Does the exit use coordinates alone?"""
        return self.exit is None or self.exit.free_symbols <= set(self.landscape.variables)

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
        return _sound(self)

    @cached_property
    def jumps(self) -> bool:
        r"""Does D jump somewhere in the box, as far as a scan of lines through it sees?

        There a step in the Ito sense takes the noise of the wrong side for a part of its length,
        in proportion to the time spent within a step length of the jump: the bias of Euler's scheme
        is then of order :math:`\sqrt{dt}`, and no moved interface corrects it.
        """
        return _reach.jumps(self.landscape, self.noise)

    @property
    def start_state(self) -> np.ndarray:
        """Where a walker starts in its frame, with whatever else it carries, float32."""
        n, place, step = self.landscape.dimension, self.frame.inside(self.start), self._step
        more = np.zeros(len(program.carrying(step, n, self.compensated)))
        state = np.float32([*place, *step.initial_state, *more])
        if self.compensated:
            state[len(step.state) :][:n] = place - state[:n]
        return state

    def times(self, steps: np.ndarray, states: np.ndarray) -> np.ndarray:
        """When walkers were last seen.

        Args:
            steps: steps that they took.
            states: what they carry, shape (walkers, state variables).

        Returns:
            Steps times dt; where the rule's steps have a duration of their own, its sum.
        """
        if CLOCK not in self._step.state:
            return steps * float(self.step)
        clock = states[:, self._step.state.index(CLOCK)]
        return clock.astype(float) + states[:, -1]  # the remainder of the clock is the last

    def _near_exit(self):
        """The exit where it stands for the walkers: moved towards them if that is asked for."""
        if self.exit is None:
            return sp.false
        if not self.barrier_shift:
            return self._step.named(self.exit)
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

    def carried(self, states: np.ndarray) -> dict:
        """What walkers carry beside their place.

        Args:
            states: what is carried, shape (..., state variables).

        Returns:
            An array of shape (...) for each name; names with an underscore in front are left out.
        """
        place = {symbol: i for i, symbol in enumerate(self._step.state)}
        return {
            name: states[..., place[symbol]]
            for name, symbol in self._step.names.items()
            if place[symbol] >= self.landscape.dimension and not name.startswith("_")
        }

    def program(self, target: str = "cpu") -> program.Program:
        """The generated source.

        Args:
            target: ``"cpu"`` or ``"cuda"``.

        Returns:
            The program; its ``module`` is compiled when first asked for.
        """
        return _program(self, target, self.compensated, program.LANES, program.CHUNK)

    def digest(self) -> str:
        """A name for the problem that is the same in every process: its source and numbers."""
        made = self.program()
        parts = [made.source, repr(made.parameters), repr(self.start)]
        parts += [repr(self.frame.origin), repr(self.frame.scale)]
        parts += [repr(float(self.step)), repr(self.limit)]
        initial = tuple(map(float, self._step.initial_state))
        parts += [repr(initial)] if any(initial) else []
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]

    def __getstate__(self):
        """The fields; what was worked out from them stays behind."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __setstate__(self, state):
        """Take the fields, which were checked when the problem was made."""
        self.__dict__.update(state)


@lru_cache(maxsize=256)
def _step(rule, landscape, noise):
    return step_of(rule, landscape, noise, program.DT).complete(landscape.dimension)


@lru_cache(maxsize=256)
def _sound(problem):
    """Whether walkers carry remainders, after all checks that need numbers: once for equal ones."""
    carried = precision.compensation(problem, _program(problem, "cpu", False, 2, 2))
    if problem.exit is not None and problem.barrier_shift:
        _reach.check_distance(problem)
        if problem.landscape.dimension == 1:
            _reach.check_touch(problem)
        else:
            _reach.check_contact(problem)
    if not problem._step.physical:
        _reach.check_curvature(problem)
    line = problem.landscape.dimension == 1 and problem._in_coordinates
    if problem.exit is not None and problem.max_time is None and line:
        _reach.check_way(problem)
    return carried


@lru_cache(maxsize=256)
def _program(problem, target, compensated, lanes, chunk):
    at = problem._beginning | {program.DT: problem.step}
    return program.write(
        problem.frame.step(problem._step),
        dt=problem.step,
        bound=problem.farthest / max(problem.frame.scale),
        dimension=problem.landscape.dimension,
        exit=problem.frame.condition(problem._near_exit(), at),
        compensated=compensated,
        target=target,
    )
