r"""What can be said about a mean escape time, from however the times are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks

ESCAPED, CENSORED, DIVERGED = 1, 2, 3


@dataclass(frozen=True)
class TestResult:
    """The outcome of a test: its statistic and the probability of one at least as extreme.

    Example:
        >>> TestResult(statistic=0.3, p_value=0.76).p_value > 0.05
        True
    """

    __test__ = False  # not a test case for pytest

    statistic: float
    p_value: float


class Estimates:
    """What can be said about the mean escape time, from however the times are kept.

    A subclass gives how many walkers escaped, are ``censored`` and ``diverged``; the time that all
    spent, ``total_time``; and the sums that the methods below call.
    """

    @property
    def mean(self) -> float:
        """The mean escape time.

        Without censored walkers the sample mean, whatever the law of the times. With them the
        maximum-likelihood estimate under the exponential law: the time spent by all walkers
        divided by the number of escapes.
        """
        self._require(1)
        return float(self.total_time / self.escaped)

    @property
    def stderr(self) -> float:
        """The standard error of :attr:`mean`: of the sample mean, or mean/√escapes if censored."""
        self._require(2)
        if self.censored:
            return self.mean / np.sqrt(self.escaped)
        return float(self._deviation() / np.sqrt(self.escaped))

    @property
    def rate(self) -> float:
        """The escape rate, 1 / :attr:`mean`."""
        if not self.mean > 0:
            raise ValueError(
                "a rate needs a mean time above zero, got 0; let walkers start inside the exit"
            )
        return 1 / self.mean

    @property
    def rate_stderr(self) -> float:
        """The standard error of :attr:`rate`, to first order."""
        if 1e-150 < self.mean < 1e150:
            return self.stderr / self.mean**2
        return self.stderr / self.mean * self.rate

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        r"""A confidence interval of the mean under the exponential law.

        :math:`2\sum t/\tau` is chi-square with 2 × escapes degrees of freedom: exactly when every
        walker escaped, approximately when some were censored at a fixed time (Epstein and Sobel,
        Journal of the American Statistical Association 48, 486, 1953).

        Args:
            level: how often such an interval holds the mean.

        Returns:
            Its lower and its upper end, in units of time.

        Raises:
            ValueError: ``level`` is not between 0 and 1, or no walker escaped.
        """
        from scipy import stats

        level = _checks.number("level", level, above=0, below=1, remedy="0.95 is usual")
        self._require(1)
        total, degrees = 2 * self.total_time, 2 * self.escaped
        high, low = total / stats.chi2.ppf([(1 - level) / 2, (1 + level) / 2], degrees)
        return float(low), float(high)

    @property
    def median(self) -> float:
        """The time by which half of the walkers had escaped."""
        return self.quantile(0.5)

    def quantile(self, probability: float) -> float:
        """The time by which that fraction of the walkers had escaped.

        Args:
            probability: the fraction; 0.5 gives the median.

        Returns:
            The time; from statistics without the times, to within a 64th of it.

        Raises:
            ValueError: a walker was censored before that time, or too few escaped at all.
        """
        remedy = "0.5 is the median"
        fraction = _checks.number("probability", probability, above=0, below=1, remedy=remedy)
        self._require(1)
        value = self._quantile(fraction)
        if value is None:
            raise ValueError(
                f"the {fraction} quantile is hidden by censoring: only {self.escaped} of "
                f"{self.walkers} walkers escaped; allow more time"
            )
        return float(value)

    def survival(self, times) -> np.ndarray:
        """The fraction of the walkers that were still inside at given times.

        From statistics without the times exact at the edges of the bins, linear between.

        Args:
            times: any shape.

        Returns:
            Fractions, of the same shape.

        Raises:
            ValueError: walkers were censored, or none escaped, or a time is no number.
        """
        at = _checks.array("times", times, finite=False)
        if np.isnan(at).any():
            raise ValueError(f"times must be numbers, got {times!r:.80}; infinity is one")
        self._require(1)
        if self.censored:
            raise ValueError(
                f"the fraction still inside is hidden by {self.censored} censored walkers; "
                "leave out max_time"
            )
        return self._survival(at)

    def after(self, start: float) -> Estimates:
        """The walkers that were still inside at a time, their clocks set to zero then.

        Under the exponential law the remaining times have the same mean; before it holds, while
        the walkers settle in the valley, they do not.

        Args:
            start: the time.

        Raises:
            ValueError: nobody was left inside, or the times were not kept.
        """
        raise ValueError(
            "after needs the time of every walker, got statistics alone; simulate with keep=True"
        )

    def exponentiality(self) -> TestResult:
        r"""Is the law of the times exponential? The Cox–Oakes score test, two-sided.

        Against a Weibull law of shape c the score at c = 1, with d escapes, times t and
        :math:`u = t/\hat\tau`, is :math:`d + \sum_{escaped}\ln u - \sum_{all} u\ln u`, of variance
        :math:`d\pi^2/6` without censoring; with censoring the variance is the observed information
        (Cox and Oakes, *Analysis of Survival Data*, 1984). The p-value is that of the
        standardised score under the normal law. It does not depend on the mean, and it is blind to
        departures that leave the Weibull shape at one; look at the survival curve as well.

        Returns:
            The standardised score and its p-value.

        Raises:
            ValueError: fewer than ten escapes, or an escape at time zero, which no exponential law
                has.
        """
        from scipy import stats

        self._require(10)
        d = self.escaped
        logarithms, first, second = self._logarithms(self.mean)
        score = d + logarithms - first
        information = d + second - first**2 / d if self.censored else d * np.pi**2 / 6
        z = score / np.sqrt(information)
        return TestResult(float(z), float(2 * stats.norm.sf(abs(z))))

    def _quantile(self, probability):
        """The time by which that fraction had escaped, or None if that is hidden."""
        raise NotImplementedError

    def _survival(self, times):
        """The fraction still inside at times, nobody being censored."""
        raise NotImplementedError

    def _deviation(self):
        """The standard deviation of the times, all of them escapes."""
        raise NotImplementedError

    def _logarithms(self, unit):
        """Σ ln u over the escapes, Σ u ln u and Σ u ln² u over all, with u = time / unit."""
        raise NotImplementedError

    def _require(self, least):
        if self.diverged:
            raise ValueError(
                f"no estimate is made from diverged walkers, got {self.diverged} of "
                f"{self.walkers}; take a smaller step"
            )
        if self.escaped < least:
            raise ValueError(
                f"at least {least} walkers must escape for this, got {self.escaped} of "
                f"{self.walkers}; allow more time or more noise"
            )
