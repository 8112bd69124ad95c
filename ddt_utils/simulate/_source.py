"""The source of rare escapes: when walkers have come to rest, and their loops out and back."""

from __future__ import annotations

import numpy as np

from ddt_utils.simulate._branching import Streams
from ddt_utils.simulate._watch import CUT

_SCOUTS = 1024  # walkers that find out where the source is
_FIRST, _LONGER, _LONGEST = 32, 4, 1 << 22  # steps until it is seen whether they have come to rest
_ALIKE = 0.086  # largest difference of two distributions of scouts, passed by chance in 1 of 1000


def scout(watch, generator, settle=None):
    """Follow some walkers until they are at rest in their valley.

    Args:
        watch: the walkers.
        generator: for their streams.
        settle: how many steps lead to rest, or None: until their levels, seen again after four
            times as many steps, are distributed as before.

    Returns:
        How many steps lead to rest, and the levels of the walkers then, sorted.

    Raises:
        ValueError: a quarter of the walkers reached the exit meanwhile, or there is no rest.
    """
    streams, states = Streams([generator], _SCOUTS), np.tile(watch.start, (_SCOUTS, 1))
    before, taken, more = None, 0, settle or _FIRST
    while True:
        states, _ = watch.follow(states, streams.words(np.arange(len(states))), most=more)
        taken += more
        states = states[watch.now(states) < CUT]
        gone = _SCOUTS - len(states)
        if gone > _SCOUTS // 4:
            raise ValueError(
                f"the exit must be rare, got {gone} of {_SCOUTS} walkers there within {taken} "
                "steps; use first_passage"
            )
        levels = np.sort(watch.now(states))
        if settle or (before is not None and _distance(before, levels) < _ALIKE):
            return taken, levels
        if taken > _LONGEST:
            raise ValueError(
                "walkers must come to rest in their valley, got levels that still change after "
                f"{taken} steps; give settle="
            )
        before, more = levels, (_LONGER - 1) * taken


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
        states[watch.now(states) >= CUT] = watch.start

    def out():
        put_back()
        walk(np.flatnonzero(watch.now(states) <= high), above=high)

    walk(everyone, most=settle)
    out()
    for turn in range(count + 1):
        if turn == 1:
            total[:] = 0
        walk(np.flatnonzero(watch.now(states) < CUT), below=low)
        out()
    return states, total


def _distance(one, other):
    """The largest difference of two distributions, each given by sorted numbers."""
    places = np.concatenate([one, other])
    shares = (np.searchsorted(s, places, side="right") / len(s) for s in (one, other))
    return float(np.max(np.abs(np.subtract(*shares))))
