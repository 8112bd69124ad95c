"""What is asked of walkers, checked: a start, a step, a time, a number of them."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np

from ddt_utils import _checks


def steps_until(time: float | None, step: float) -> int:
    """How many steps lead to a time.

    Args:
        time: the time, or None for ever.
        step: dt.

    Returns:
        The number, rounded up to an even one.
    """
    return 2**62 if time is None else 2 * max(1, int(np.ceil(time / step / 2 - 1e-9)))


def checked_start(landscape, start) -> np.ndarray:
    """A start as n numbers.

    Args:
        landscape: the loss.
        start: n numbers, or one in one dimension.

    Returns:
        The numbers, shape (n,), float64.

    Raises:
        ValueError: other numbers than n, or a place outside the box.
    """
    remedy = f"{landscape.name} has the variables {landscape.variables}"
    given = [start] if np.ndim(start) == 0 and landscape.dimension == 1 else start
    point = _checks.array("start", given, shape=(landscape.dimension,), remedy=remedy)
    if any(not a <= p <= b for p, (a, b) in zip(point, landscape.box, strict=True)):
        raise ValueError(
            f"start must lie in the box {landscape.box} of {landscape.name}, got {start}; "
            "give the landscape a larger box if the start is meant"
        )
    return point


def check_step(step) -> float:
    """A time step, positive and finite.

    Args:
        step: anything.

    Returns:
        The step as a float.
    """
    return _checks.number("step", step, above=0, remedy="it is the time step dt")


def check_rule(rule) -> None:
    """Refuse a rule that may change after a problem was checked with it.

    Args:
        rule: anything.

    Raises:
        ValueError: it has no hash.
    """
    try:
        hash(rule)
    except TypeError:
        raise ValueError(
            f"rule must stay what it is, got {rule!r:.80}, which has no hash; write "
            "@dataclass(frozen=True), or a function"
        ) from None


def check_ensemble(*, walkers, seed) -> tuple[int, int]:
    """A number of walkers and a seed.

    Args:
        walkers: anything.
        seed: anything.

    Returns:
        Both as integers.
    """
    remedy = "write int(1e6) for a million"
    return _checks.whole("walkers", walkers, least=1, remedy=remedy), _checks.seed(seed)


@contextmanager
def in_memory(walkers: int, each: int, remedy: str):
    """Where room is made for walkers; a machine that has too little says how much is wanted.

    Args:
        walkers: how many.
        each: bytes of one walker.
        remedy: what to do about it.

    Raises:
        ValueError: there is not so much memory.
    """
    try:
        yield
    except (MemoryError, ValueError, OverflowError):  # NumPy's, of what no machine can hold
        raise ValueError(
            f"walkers must fit into memory, got {walkers}, which need {walkers * each:.3g} bytes; "
            f"{remedy}"
        ) from None
