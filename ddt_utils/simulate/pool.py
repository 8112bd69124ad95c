"""Walkers at rest: all that is needed to carry any of them on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ARRAYS = ("steps", "status", "state", "words")


@dataclass
class Pool:
    """Everything about some walkers, so that any of them can be carried on from here.

    Args:
        first: the number of the first walker, by which its random stream is chosen.
        steps: steps taken, shape (walkers,), int64.
        status: 0 for a walker that waits or runs, otherwise how it ended, int8.
        state: what each carries, shape (walkers, state variables), float32.
        words: the state of each random stream, shape (walkers, 4), uint32.
    """

    first: int
    steps: np.ndarray
    status: np.ndarray
    state: np.ndarray
    words: np.ndarray

    @classmethod
    def fresh(cls, first: int, walkers: int, size: int) -> Pool:
        """Walkers that have not started.

        Args:
            first: the number of the first.
            walkers: how many.
            size: how many numbers each carries.

        Returns:
            The pool.
        """
        return cls(
            first,
            np.zeros(walkers, np.int64),
            np.zeros(walkers, np.int8),
            np.zeros((walkers, size), np.float32),
            np.zeros((walkers, 4), np.uint32),
        )

    @classmethod
    def read(cls, first: int, arrays: dict) -> Pool:
        """Walkers as they were stored.

        Args:
            first: the number of the first.
            arrays: the other fields by name.

        Returns:
            The pool.

        Raises:
            ValueError: arrays that are not those of one pool.
        """
        pool = cls(first, **{name: arrays[name] for name in ARRAYS})
        fresh = cls.fresh(first, len(pool.steps), pool.state.shape[1])
        for name in ARRAYS:
            found, known = getattr(pool, name), getattr(fresh, name)
            if found.shape != known.shape or found.dtype != known.dtype:
                raise ValueError(f"its {name} do not fit the rest")
        return pool
