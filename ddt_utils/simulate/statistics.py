r"""Exact statistics of any number of escape times in constant memory.

Counts and sums are whole numbers of steps, so they do not depend on the order in which walkers
finish or parts are added: 10⁸ walkers give the same digits in one run and in a thousand shards. A
histogram with bins of equal width in log₂, 64 to the octave, keeps what quantiles and the test of
the exponential law need.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from ddt_utils.escape import DIVERGED, ESCAPED, Estimates

_PER_OCTAVE = 64
_BINS = 63 * _PER_OCTAVE


@dataclass(frozen=True)
class EscapeStatistics(Estimates):
    """What is kept of an ensemble when its times are not.

    Offers the same estimates as :class:`ddt_utils.escape.EscapeTimes`. Two of them with the same
    step add up to those of all their walkers.

    Args:
        escaped: how many walkers escaped.
        censored: how many were still inside when they were last seen.
        diverged: how many left every bound; they are never counted as escapes.
        total_steps: the steps of all walkers that did not diverge.
        total_squares: the sum of their squares.
        counts: how many walkers ended in each bin, escaped and censored, shape (2, bins).
        sums: the sum of their steps, shape (2, bins); below 2⁶³ each.
        step: the time step dt.
        bias_correction: what was done about the time-step bias, in words.

    Example:
        >>> from ddt_utils import catalog, noise, simulate
        >>> well = catalog.quartic()
        >>> (x,) = well.variables
        >>> kick = noise.WhiteNoise(0.25)
        >>> problem = simulate.Problem(well, kick, start=-1, exit=x > 1, step=0.01)
        >>> run = simulate.Run(problem, walkers=100, seed=1, keep=False)
        >>> run.finish().result().walkers
        100
    """

    escaped: int
    censored: int
    diverged: int
    total_steps: int
    total_squares: int
    counts: np.ndarray
    sums: np.ndarray
    step: float
    bias_correction: str

    @property
    def walkers(self) -> int:
        """How many walkers there were."""
        return self.escaped + self.censored + self.diverged

    @property
    def total_time(self) -> float:
        """The time that all walkers together spent inside."""
        return self.total_steps * self.step

    def _quantile(self, probability):
        rank = probability * self.walkers
        below = np.cumsum(self.counts[0])
        k = int(np.searchsorted(below, rank))
        if k == _BINS or np.any(self.counts[1, : k + 1]):
            return None
        low, width = _edges()
        inside = (rank - (below[k] - self.counts[0, k])) / self.counts[0, k]
        return (low[k] + (width[k] - 1) * inside) * self.step

    def _survival(self, times):
        low, width = _edges()
        gone = np.r_[0, np.cumsum(self.counts[0])] / self.walkers
        return 1 - np.interp(times / self.step, np.r_[low - 1, low[-1] + width[-1]], gone)

    def __add__(self, other: EscapeStatistics) -> EscapeStatistics:
        """The statistics of both together."""
        if not isinstance(other, EscapeStatistics):
            return NotImplemented
        if (self.step, self.bias_correction) != (other.step, other.bias_correction):
            raise ValueError(
                "only statistics of the same step and correction add up, got "
                f"{self.step} and {other.step}, {self.bias_correction!r} and "
                f"{other.bias_correction!r}"
            )
        return EscapeStatistics(
            *(getattr(self, k) + getattr(other, k) for k in _ADDED), self.step, self.bias_correction
        )

    def __eq__(self, other):
        """Are all numbers the same?"""
        return isinstance(other, EscapeStatistics) and self.to_json() == other.to_json()

    def __reduce__(self):
        """As JSON, to be pickled."""
        return EscapeStatistics.from_json, (self.to_json(),)

    def __hash__(self):
        """A hash of all numbers."""
        return hash(self.to_json())

    def to_json(self) -> str:
        """Everything as text; bins without walkers are left out.

        Returns:
            JSON.
        """
        filled = np.flatnonzero(self.counts.any(axis=0))
        kept = {k: getattr(self, k) for k in _ADDED[:5]}
        kept |= {"step": self.step, "bias_correction": self.bias_correction}
        kept |= {"bins": filled.tolist()}
        kept |= {k: getattr(self, k)[:, filled].tolist() for k in ("counts", "sums")}
        return json.dumps(kept)

    @classmethod
    def from_json(cls, text: str) -> EscapeStatistics:
        """The statistics that :meth:`to_json` wrote.

        Args:
            text: JSON.

        Returns:
            The statistics.
        """
        kept = json.loads(text)
        filled = kept.pop("bins")
        for name in ("counts", "sums"):
            full = np.zeros((2, _BINS), np.int64)
            full[:, filled] = kept[name]
            kept[name] = full
        return cls(**kept)

    def _deviation(self):
        n = self.escaped
        spread = n * self.total_squares - self.total_steps**2  # whole numbers: nothing cancels
        return np.sqrt(float(spread) / n / (n - 1)) * self.step

    def _logarithms(self, unit):
        _, width = _edges()
        c, total = self.counts.astype(float), self.sums * (self.step / unit)
        middle = np.divide(total, c, where=c > 0, out=np.ones_like(total))
        log = np.log(middle)
        # to second order in the scatter of the whole numbers within a bin
        scatter = c * (width**2 - 1) / 12 * (self.step / unit) ** 2
        scatter[1] = 0  # whoever was censored was so at one time
        logs = c * log - scatter / middle**2 / 2
        first = total * log + scatter / middle / 2
        second = total * log**2 + scatter / middle * (1 + log)
        return float(logs[0].sum()), float(first.sum()), float(second.sum())


_ADDED = ("escaped", "censored", "diverged", "total_steps", "total_squares", "counts", "sums")


def tally(
    steps: np.ndarray, status: np.ndarray, step: float, bias_correction: str
) -> EscapeStatistics:
    """The statistics of walkers that took so many steps; those still running are censored.

    Args:
        steps: steps of each walker, at least one, shape (walkers,), int64.
        status: how each ended, shape (walkers,); 0 for one that runs.
        step: the time step dt.
        bias_correction: in words.

    Returns:
        The statistics.
    """
    gone, lost = status == ESCAPED, status == DIVERGED
    counts, sums = np.zeros((2, 2, _BINS), np.int64)
    for row, mask in enumerate((gone, ~gone & ~lost)):
        t = steps[mask]
        bins = _bin(t)
        counts[row] = np.bincount(bins, minlength=_BINS)
        high, low = (np.bincount(bins, part, _BINS) for part in (t >> 24, t & 0xFFFFFF))
        sums[row] = (high.astype(np.int64) << 24) + low.astype(np.int64)
    kept = steps[~lost]
    return EscapeStatistics(
        escaped=int(gone.sum()),
        censored=int((~gone & ~lost).sum()),
        diverged=int(lost.sum()),
        total_steps=_whole_sum(kept),
        total_squares=_sum_of_squares(kept),
        counts=counts,
        sums=sums,
        step=float(step),
        bias_correction=bias_correction,
    )


def _bin(t):
    """The bin of a whole number: its octave and the six binary digits after the first."""
    exponent = np.frexp(t.astype(float))[1] - 1
    digits = np.where(
        exponent >= 6, t >> np.maximum(exponent - 6, 0), t << np.maximum(6 - exponent, 0)
    )
    return exponent * _PER_OCTAVE + digits - _PER_OCTAVE


def _edges():
    """The lowest whole number of each bin and how many whole numbers it holds."""
    octave, digit = np.divmod(np.arange(_BINS), _PER_OCTAVE)
    low = np.ldexp(_PER_OCTAVE + digit, octave - 6)
    return np.ceil(low), np.maximum(np.ldexp(1.0, octave - 6), 1.0)


def _whole_sum(values):
    """The exact sum of whole numbers of at most 63 bits."""
    return (int(np.sum(values >> 32)) << 32) + int(np.sum(values & 0xFFFFFFFF))


def _sum_of_squares(values):
    high, low = values >> 31, values & 0x7FFFFFFF
    squares = _whole_sum(high * high) << 62, _whole_sum(high * low) << 32, _whole_sum(low * low)
    return sum(squares)
