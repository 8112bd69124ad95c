r"""Rare escapes: adaptive multilevel splitting on the compiled step.

At an exponent of 30 no walker that is merely followed gets out. But its way up is a matter of many
small pieces of luck: paths that climbed least are given up, paths that climbed more are continued
from where they were highest, with fresh random numbers, and the shares given up multiply to the
probability (Cérou and Guyader, Stochastic Analysis and Applications 25, 417, 2007).

*Source.* Walkers loop out of the valley, past an upper level of the source, and back below a lower
one. With ℓ the mean time of a loop and p the probability that one reaches the exit before it is
back, the mean escape time is

.. math:: \tau = \frac{\ell}{p},

exactly so if walkers that got out are put back at the start (Hill's relation; Cérou, Guyader,
Lelièvre and Pommier, Journal of Chemical Physics 134, 054108, 2011).

*Splitting.* N paths begin where walkers passed the source. In each round the lowest ones are cut,
with all ties, and branched from the others. The estimate

.. math:: \hat p = \frac{M}{N} \prod_i \Bigl(1 - \frac{K_i}{N}\Bigr),

with :math:`K_i` cut in round i and M paths in the exit at the end, has no bias for any N, any
level and any step, long ones included, because ties are cut and paths are branched strictly above
(Bréhier, Gazeau, Goudenège, Lelièvre and Rousset, Annals of Applied Probability 26, 3559, 2016).
With a level that orders places as the probability of escape does, its relative variance is little
more than :math:`|\ln p|/N`. With a bad one it stays right on average and scatters more, at worst so
that a rare repetition holds the mean: see ``RareEscapes.spread``. At an exponent of 30 in ten
dimensions, with a thousand paths, the distance along the escape direction has a spread of 0.25, a
direction that is eleven degrees off 0.3, and the loss itself, which any direction raises, 4.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils.simulate import _branching, _source
from ddt_utils.simulate._arguments import check_ensemble, steps_until
from ddt_utils.simulate._watch import Watch
from ddt_utils.simulate.cpu import thread_count
from ddt_utils.simulate.problem import Problem
from ddt_utils.simulate.rare import RareEscapes
from ddt_utils.simulate.run import Interrupted, engine
from ddt_utils.simulate.step import CLOCK
from ddt_utils.streams import stream

_TOGETHER = 4096  # walkers of the repetitions that are followed side by side
_LOOPS = 2  # loops of a walker that are timed


class Splitting:
    r"""Adaptive multilevel splitting of one problem, in independent repetitions.

    A repetition has its own random streams, so its numbers are the same whatever others there are,
    on any number of threads, any processor, and a GPU.

    Args:
        problem: what is simulated, with an exit. Its ``max_time`` ends nobody here (above 60 D a
            problem asks for one: give any). Walkers that got out begin again without a law of their
            start, which they forget while they settle.
        walkers: N, the paths of a repetition; a thousand for an exponent of 30.
        repetitions: how many; the standard error comes from their scatter.
        seed: a whole number from 0 to 2⁶⁴ − 1.
        level: how far a walker is on its way out, a SymPy expression in what an exit may use; any
            that increases towards the exit. By default how far it is past the exit's interface:
            x − b for x > b, L − c for L > c.
        source: the lower and the upper level of the source. By default the median of the levels of
            walkers at rest in the valley, and the level that one in ten of them exceeds.
        settle: the time in which walkers come to rest in the valley, in units of t. By default it
            is found by following some until their levels change no more.
        discard: the share of paths that a round cuts at least; 1/N is the last particle alone, the
            least variance for the most rounds.
        threads: how many threads share the walkers; all cores by default. No effect on results.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: CUDA where there is one.

    Raises:
        ValueError: a bad argument; a level that is no number at the start; a start above the
            source; a rule whose steps have durations of their own.
        RuntimeError: ``device="cuda"`` without CUDA.

    Example:
        An exponent of 30, ΔL/D with ΔL = 1/4. Following would take 10¹⁵ steps; this takes six
        million, and the exact chain of the discrete walker agrees.

        >>> from ddt_utils import catalog, chains, noise, simulate
        >>> well, kick = catalog.quartic(), noise.WhiteNoise(1 / 120)
        >>> (x,) = well.variables
        >>> problem = simulate.Problem(well, kick, start=-1, exit=x > 0, step=0.05,
        ...                            barrier_shift=False)
        >>> rare = simulate.Splitting(problem, walkers=400, repetitions=9, seed=3)
        >>> found = rare.finish().result()
        >>> chain = chains.of(well, kick, step=0.05)
        >>> truth = 0.05 * chain.mean_steps(start=-1, upper=0)
        >>> abs(found.mean - truth) < 3 * found.stderr < truth
        True
        >>> truth / 0.05 > 1e7 * found.walker_steps
        True
    """

    def __init__(
        self,
        problem: Problem,
        *,
        walkers: int,
        repetitions: int,
        seed: int,
        level=None,
        source: tuple[float, float] | None = None,
        settle: float | None = None,
        discard: float = 0.25,
        threads: int | None = None,
        device: str = "cpu",
    ):
        """Check the arguments; nobody starts yet."""
        if not isinstance(problem, Problem):
            raise ValueError(f"splitting needs a Problem, got {problem!r}; see simulate.Problem")
        if problem.exit is None:
            raise ValueError("splitting needs a problem with an exit, got one without; give it one")
        self.problem = problem
        self.walkers, self.seed = check_ensemble(walkers=walkers, seed=seed)
        _checks.whole("walkers", walkers, least=2, remedy="a path is branched from another one")
        self.repetitions = _checks.whole("repetitions", repetitions, least=1)
        share = _checks.number(
            "discard", discard, above=0, below=1, remedy="it is a share of the walkers"
        )
        self.discard = min(max(1, round(share * self.walkers)), self.walkers - 1)
        if CLOCK in problem._step.state:
            raise ValueError(
                "a walker of splitting forgets when it started, so its steps are of one length, "
                f"got a rule with durations, {problem.rule!r}; leave Step.duration out"
            )
        if level is not None:
            level = _check_level(level)
        self._watch = Watch(problem, level, engine(device), thread_count(threads))
        if settle is not None:
            remedy = "it is how long walkers take to come to rest in the valley"
            most = 2**40 * problem.step
            settle = _checks.number("settle", settle, above=0, below=most, remedy=remedy)
            settle = steps_until(settle, problem.step)
        self._settle = settle
        self._source = None if source is None else self._checked(source)
        self._watch.program("cpu")  # refuses a level that has no compiled form
        self._found = []  # of each repetition: probability, steps of a loop, rounds

    def __repr__(self):
        """The repetitions in one line."""
        return f"splitting with {self.repetitions} repetitions, {self.done} of them done"

    @property
    def done(self) -> int:
        """How many repetitions are done."""
        return len(self._found)

    def finish(self, *, progress: bool = False) -> Splitting:
        """Do the repetitions that are left, a few side by side.

        Args:
            progress: show a progress bar.

        Returns:
            The splitting itself.

        Raises:
            Interrupted: Ctrl-C was pressed; the repetitions that are done are kept.
            ValueError: the exit is not rare, walkers find no rest, diverge, or are caught between
                source and exit.
        """
        from tqdm import tqdm

        together = max(1, _TOGETHER // self.walkers)
        try:
            options = dict(total=self.repetitions, initial=self.done, unit=" repetitions")
            with tqdm(disable=not progress, **options) as bar:
                if self._settle is None or self._source is None:
                    self._settle, self._source = self._scout()
                while self.done < self.repetitions:
                    last = min(self.done + together, self.repetitions)
                    found = self._repeat(range(self.done, last))
                    self._found = self._found + found  # at once: an interrupt finds all or none
                    bar.update(len(found))
        except KeyboardInterrupt:
            raise Interrupted(self) from None
        return self

    def extend(self, repetitions: int) -> Splitting:
        """Ask for more repetitions.

        Args:
            repetitions: how many in all.

        Returns:
            The splitting itself, to be finished.

        Raises:
            ValueError: fewer than are done.
        """
        remedy = "repetitions that are done are kept"
        self.repetitions = _checks.whole("repetitions", repetitions, least=self.done, remedy=remedy)
        return self

    def result(self) -> RareEscapes:
        """What is known now.

        Returns:
            The repetitions that are done.

        Raises:
            ValueError: there is none.
        """
        if not self._found:
            raise ValueError(f"there is a result once a repetition is done, got {self}; finish it")
        p, steps, rounds = (np.array(column) for column in zip(*self._found, strict=True))
        return RareEscapes(
            probabilities=p,
            loops=steps * float(self.problem.step),
            source=tuple(float(z) * self._watch.unit for z in self._source),
            rounds=rounds,
            walkers=self.walkers,
            walker_steps=self._watch.walked,
            bias_correction=self.problem.bias_correction,
        )

    def _repeat(self, numbers):
        """Do these repetitions side by side."""
        generators = [stream(self.seed, "splitting", 1 + r) for r in numbers]
        streams = _branching.Streams(generators, self.walkers)
        everyone = self.walkers * len(numbers)
        states, steps = _source.loops(
            self._watch, streams, self._source, self._settle, _LOOPS, everyone
        )
        ask = self._watch, streams, states, self._source[0], self.walkers, self.discard
        probabilities, rounds = _branching.split(*ask)
        steps = steps.reshape(len(numbers), self.walkers).sum(axis=1) / (_LOOPS * self.walkers)
        return list(zip(probabilities, steps, rounds, strict=True))

    def _scout(self):
        """How many steps lead to rest, and the levels of the source."""
        settle, levels = _source.scout(self._watch, stream(self.seed, "splitting"), self._settle)
        if self._source is not None:
            return settle, self._source
        levels = levels[[len(levels) // 2, len(levels) * 9 // 10]]
        return settle, self._checked(levels * self._watch.unit)

    def _checked(self, source):
        """Two levels in the walkers' unit, the lower first, the start not above them."""
        remedy = "give two levels (low, high) of the source"
        low, high = _checks.array("source", source, shape=(2,), remedy=remedy) / self._watch.unit
        low, high = np.float32(low), np.float32(high)
        if not (low < high and self._watch.start_level <= high):
            raise ValueError(
                "source must be two levels, the lower first, with the start not above them, got "
                f"{source} and the start at {self._watch.start_level * self._watch.unit:g}"
            )
        return low, high


def _check_level(level):
    """A level as an expression of something."""
    try:
        found = sp.sympify(level, strict=True)
    except sp.SympifyError:
        found = None
    if not isinstance(found, sp.Expr) or not found.free_symbols:
        raise ValueError(
            f"level must be a SymPy expression in what a walker carries, got {level!r}; any that "
            "increases towards the exit will do"
        )
    return found
