"""What splitting found: the probability of an escape, its rate, the mean time, their errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RareEscapes:
    r"""What independent repetitions of splitting found.

    Args:
        probabilities: the estimate of p of each repetition, shape (repetitions,).
        loops: the mean time of a loop in each, in units of t.
        source: the lower and the upper level between which loops are counted.
        rounds: how many rounds each took.
        walkers: N, how many paths each had.
        walker_steps: the steps of all walkers together: what it cost.
        bias_correction: what was done about the time-step bias, in words.

    Example:
        >>> import numpy as np
        >>> p, loops = np.array([2e-9, 4e-9]), np.array([3.0, 3.0])
        >>> rounds = np.array([90, 88])
        >>> found = RareEscapes(p, loops, (-1.2, -0.8), rounds, 1000, 10**8, "")
        >>> round(found.mean / 1e9, 6), round(found.stderr / found.mean, 3)
        (1.0, 0.333)
    """

    probabilities: np.ndarray
    loops: np.ndarray
    source: tuple[float, float]
    rounds: np.ndarray
    walkers: int
    walker_steps: int
    bias_correction: str

    @property
    def repetitions(self) -> int:
        """How many repetitions there were."""
        return len(self.probabilities)

    @property
    def probability(self) -> float:
        """p, the probability that a loop reaches the exit; an estimate without bias."""
        return float(np.mean(self.probabilities))

    @property
    def probability_stderr(self) -> float:
        """Its standard error, from the scatter of the repetitions."""
        return self._error(self.probabilities)

    @property
    def spread(self) -> float:
        """Relative standard deviation of one repetition's p; above one, trust no error bar."""
        return self.probability_stderr * self.repetitions**0.5 / self._reached()

    @property
    def rate(self) -> float:
        """Escapes in a unit of t, p over the mean time of a loop."""
        return self.probability / float(np.mean(self.loops))

    @property
    def rate_stderr(self) -> float:
        """Standard error of the rate."""
        return self.rate * self._relative()

    @property
    def mean(self) -> float:
        """The mean escape time, one over the rate; its bias is its relative variance."""
        self._reached()
        return 1 / self.rate

    @property
    def stderr(self) -> float:
        """Standard error of the mean escape time."""
        return self.mean * self._relative()

    def _relative(self):
        p = self.probabilities / self._reached()
        return self._error(p - self.loops / np.mean(self.loops))

    def _error(self, values):
        if self.repetitions < 2:
            raise ValueError(
                f"an error needs two repetitions, got {self.repetitions}; extend and finish"
            )
        return float(np.std(values, ddof=1) / np.sqrt(self.repetitions))

    def _reached(self):
        if not self.probability > 0:
            raise ValueError(
                f"a repetition must reach the exit, got none of {self.repetitions}; take more "
                "walkers, or a level that rises along the way out"
            )
        return self.probability
