r"""Paths that are cut and branched: adaptive multilevel splitting of one batch.

A walker's stream makes it walk the same way again, so no path is kept: to branch a path at the
first place above a level, it is walked again from where it began, up to there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils.simulate._watch import CUT, GONE


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
    who = who[watch.now(family.states[who]) < CUT]
    if len(who):
        ends, _ = watch.follow(family.states[who], family.words[who], below=low)
        family.tops[who] = watch.top(ends)
