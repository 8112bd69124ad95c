r"""What a step is: what a walker carries, what it draws, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils._diffusion import expression
from ddt_utils.landscape import Landscape
from ddt_utils.noise import Noise

CLOCK = sp.Dummy("time", real=True)  # the sum of the durations of a walker's steps


@dataclass(frozen=True)
class Batch:
    r"""A minibatch that is drawn afresh in every step.

    Args:
        counts: one symbol per sample: how often it is in the minibatch.
        size: B, how many samples are drawn.
        replacement: may a sample be drawn twice?
        weights: the probability of each sample in a draw, with replacement; equal by default. An
            unbiased gradient divides by them, as importance sampling does:
            :math:`\hat g = \frac1B \sum_i n_i \nabla\ell_i/(m w_i)`. They are kept to
            :math:`10^{-7}`, small ones to :math:`10^{-5}` of themselves.
        reshuffled: draw without replacement from those that were not drawn yet, until all m were;
            then begin a new epoch. m is at most 256; as for all draws without replacement, a step
            draws m numbers, and compiling takes a third of a second or more for each sample.

    Raises:
        ValueError: weights that are not m positive numbers with the sum one, or without
            replacement; epochs with replacement; a size below one, or above m without replacement,
            or one that does not divide m in epochs.

    Example:
        >>> counts = sp.symbols("n_0:3", integer=True)
        >>> Batch(counts, size=5, replacement=True).size
        5
    """

    counts: tuple[sp.Symbol, ...]
    size: int
    replacement: bool
    weights: tuple[float, ...] | None = None
    reshuffled: bool = False

    def __post_init__(self):
        """Check the arguments."""
        m, most = len(self.counts), None if self.replacement else len(self.counts)
        remedy = f"of {m} samples; with replacement it may be larger"
        object.__setattr__(
            self,
            "size",
            _checks.whole("the size of a batch", self.size, least=1, most=most, remedy=remedy),
        )
        if self.weights is not None:
            weights = _checks.array("weights", self.weights, shape=(m,), remedy="one per sample")
            if not (np.all(weights > 0) and abs(np.sum(weights) - 1) < 1e-9):
                raise ValueError(
                    f"weights must be positive with the sum one, got {weights} with {sum(weights)};"
                    " divide by the sum, and leave out a sample that is never drawn"
                )
            if not self.replacement:
                raise ValueError(
                    "weights are those of draws with replacement, got replacement=False; without "
                    "it a sample's chance depends on the others"
                )
            object.__setattr__(self, "weights", tuple(map(float, weights)))
        if self.reshuffled and (self.replacement or m % self.size or m > 256):
            raise ValueError(
                "an epoch is drawn without replacement, of at most 256 samples, in batches whose "
                f"size divides their number, got {self.size} of {m} and replacement="
                f"{self.replacement}"
            )


@dataclass(frozen=True)
class Start:
    """Where walkers begin: drawn once for each of them, from its own random stream.

    Args:
        values: (symbol of the state, expression) pairs; what is not named begins as it would
            without a law. An expression may use the random numbers below, dt, and the symbols of
            the state, which stand for the values without a law: the start of the problem and
            ``initial_state``.
        normals: symbols of independent standard normal numbers.
        uniforms: symbols of independent uniform numbers in (0, 1].

    Raises:
        ValueError: two expressions for one symbol.

    Example:
        >>> v, xi = sp.symbols("v xi", real=True)
        >>> thermal = Start(((v, sp.sqrt(0.25) * xi),), normals=(xi,))
        >>> thermal.values[0][1]
        0.5*xi
    """

    values: tuple[tuple[sp.Symbol, sp.Expr], ...]
    normals: tuple[sp.Symbol, ...] = ()
    uniforms: tuple[sp.Symbol, ...] = ()

    def __post_init__(self):
        """Check the symbols."""
        pairs = tuple((symbol, expression("a start", e)) for symbol, e in self.values)
        if len(dict(pairs)) < len(pairs):
            raise ValueError(
                f"a start gives each variable of the state one expression, got {pairs}; add up or "
                "choose"
            )
        object.__setattr__(self, "values", pairs)


@dataclass(frozen=True)
class Step:
    r"""One step of a walker.

    Args:
        state: what a walker carries, one symbol each: the coordinates first, in the order of the
            landscape's variables, then anything else, such as velocities, which start at zero.
            An exit and an observable may use each, by a symbol of its name.
        update: the new value of each, in the symbols of ``state``, of the random numbers, of
            ``where`` and in ``dt``.
        normals: symbols of independent standard normal numbers, fresh in every step.
        uniforms: symbols of independent uniform numbers in (0, 1], fresh in every step.
        batch: a minibatch, fresh in every step.
        where: intermediate results, (symbol, expression) in the order in which they are needed.
        initial_state: values of the state beyond the coordinates at the start; zeros by default.
        start: a law by which walkers begin instead. The exit is looked at after each step: a walker
            that begins outside has escaped if it is there after the first.
        iteration: a symbol for the number of steps before this one, exact up to 2²⁴ of them.
        duration: the time that a step takes, in the same symbols as ``update``, where it is not dt:
            a schedule :math:`\eta_t`. Escape times are then sums of it, carried with the digits of
            a double, while ``max_time`` and the times of an ensemble still count steps, as times
            over dt.
        physical: is the step itself what happens, as in SGD, and not an approximation of continuous
            time? Then no barrier is shifted unless that is asked for.

    Raises:
        ValueError: not one update for each state variable, not one initial value for each that is
            no coordinate, a start of something else, or a symbol that has two meanings.

    Example:
        >>> x, dt, xi = sp.symbols("x dt xi", real=True)
        >>> step = Step((x,), (x - x * dt + sp.sqrt(dt) * xi,), normals=(xi,))
        >>> step.update[0].subs(xi, 0)
        -dt*x + x
    """

    state: tuple[sp.Symbol, ...]
    update: tuple[sp.Expr, ...]
    normals: tuple[sp.Symbol, ...] = ()
    uniforms: tuple[sp.Symbol, ...] = ()
    batch: Batch | None = None
    where: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()
    initial_state: tuple[float, ...] = ()
    start: Start | None = None
    iteration: sp.Symbol | None = None
    duration: sp.Expr | None = None
    physical: bool = False

    def __post_init__(self):
        """Check the symbols."""
        named = [*self.state, *self.normals, *self.uniforms, *(name for name, _ in self.where)]
        named += self.batch.counts if self.batch else ()
        named += [self.iteration][: bool(self.iteration)]
        named += (*self.start.normals, *self.start.uniforms) if self.start else ()
        twice = sorted({str(name) for name in named if named.count(name) > 1})
        if twice or any(not isinstance(name, sp.Symbol) or name.name == "dt" for name in named):
            raise ValueError(
                "the symbols of a step must be distinct and none of them dt, got "
                f"{twice or named}; sympy.Dummy makes symbols that nobody else has"
            )
        others = [s for s, _ in self.start.values if s not in self.state] if self.start else []
        if others:
            raise ValueError(
                f"start may give values to the state {self.state} only, got also {others}; add "
                "them to the state"
            )
        for value in self.initial_state:
            _checks.number("an initial value of the state", value)
        if len(self.update) != len(self.state):
            raise ValueError(
                f"a step needs one update for each of its {len(self.state)} state variables, got "
                f"{len(self.update)}"
            )

    @property
    def names(self) -> dict:
        """The symbols of the state by name; where two have one name, the first of them."""
        found = {}
        for symbol in self.state:
            found.setdefault(symbol.name, symbol)
        return found

    def named(self, e: sp.Basic) -> sp.Basic:
        """An expression or a condition in the symbols of the state.

        Args:
            e: one whose symbols are those of the state, or others with their names.

        Returns:
            The same in the symbols of the state.

        Raises:
            ValueError: a symbol of another name.
        """
        others = e.free_symbols - set(self.state)
        unknown = sorted(symbol.name for symbol in others if symbol.name not in self.names)
        if unknown:
            raise ValueError(
                f"what is asked of a walker may use {', '.join(self.names)}, got {unknown} in {e}"
            )
        return e.xreplace({symbol: self.names[symbol.name] for symbol in others})

    def complete(self, dimension: int) -> Step:
        """The step with every value that a walker carries in its state.

        Args:
            dimension: n, how many of the state variables are coordinates.

        Returns:
            A step with all of ``initial_state``, whose ``iteration`` and whose sum of ``duration``
            are state variables, like the samples that an epoch has used.

        Raises:
            ValueError: a number of initial values that does not fit.
        """
        initial = self.initial_state or (0.0,) * (len(self.state) - dimension)
        if len(initial) != len(self.state) - dimension:
            raise ValueError(
                f"initial_state must have {len(self.state) - dimension} values, one for each state "
                f"variable beyond the coordinates, got {len(initial)}"
            )
        more, step = {}, replace(self, iteration=None, duration=None)
        if self.iteration is not None:
            more[self.iteration] = self.iteration + 1
        if self.duration is not None:
            more[CLOCK] = CLOCK + expression("the duration of a step", self.duration)
        if self.batch and self.batch.reshuffled:
            chances, drawn, used = _epoch(self.batch)
            more |= used
            step = replace(
                step, batch=None, uniforms=step.uniforms + chances, where=drawn + step.where
            )
        return replace(
            step,
            state=(*self.state, *more),
            update=(*self.update, *more.values()),
            initial_state=(*initial, *(0.0,) * len(more)),
        )


def _epoch(batch):
    """Uniforms, what they draw from the samples that are left, and what is used afterwards."""
    # one sample after the other: taken with probability (places left) / (samples left)
    m, size = len(batch.counts), batch.size
    chances, seen, places, samples = (
        sp.symbols(f"{name}:{m}", real=True, cls=sp.Dummy)
        for name in ("chance", "_seen", "places", "samples")
    )
    used = sp.Dummy("_used", real=True)
    drawn, place, sample = [], sp.Integer(size), m - used
    for j, count in enumerate(batch.counts):
        drawn += [(places[j], place), (samples[j], sample)]
        taken = chances[j] * samples[j] <= places[j]
        drawn.append((count, sp.Piecewise((1 - seen[j], taken), (0, True))))
        place, sample = places[j] - count, samples[j] - 1 + seen[j]
    goes_on = used < m - size
    after = {used: sp.Piecewise((used + size, goes_on), (0, True))}
    for flag, count in zip(seen, batch.counts, strict=True):
        after[flag] = sp.Piecewise((flag + count, goes_on), (0, True))
    return chances, tuple(drawn), after


Rule = Callable[[Landscape, Noise, sp.Symbol], Step]
