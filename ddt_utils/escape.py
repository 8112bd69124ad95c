r"""What a set of escape times says, and how surely.

The mean escape time :math:`\tau` and the rate :math:`\gamma = 1/\tau` are estimated with a standard
error, walkers that had not escaped when the simulation ended are accounted for, and the exponential
law on which the word "rate" rests can be tested.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

ESCAPED, CENSORED, DIVERGED = 1, 2, 3


@dataclass(frozen=True)
class TestResult:
    """The outcome of a test: its statistic and the probability of one at least as extreme."""

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
        return 1 / self.mean

    @property
    def rate_stderr(self) -> float:
        """The standard error of :attr:`rate`, to first order."""
        return self.stderr / self.mean**2

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        r"""A confidence interval of the mean under the exponential law.

        :math:`2\sum t/\tau` is chi-square with 2 × escapes degrees of freedom: exactly when every
        walker escaped, approximately when some were censored at a fixed time (Epstein and Sobel,
        Journal of the American Statistical Association 48, 486, 1953).

        Raises:
            ValueError: ``level`` is not between 0 and 1.
        """
        from scipy import stats

        _check_level(level)
        self._require(1)
        total, degrees = 2 * self.total_time, 2 * self.escaped
        high, low = total / stats.chi2.ppf([(1 - level) / 2, (1 + level) / 2], degrees)
        return float(low), float(high)

    @property
    def median(self) -> float:
        """The time by which half of the walkers had escaped."""
        return self.quantile(0.5)

    def exponentiality(self) -> TestResult:
        r"""Is the law of the times exponential? The Cox–Oakes score test, two-sided.

        Against a Weibull law of shape c the score at c = 1, with d escapes, times t and
        :math:`u = t/\hat\tau`, is :math:`d + \sum_{escaped}\ln u - \sum_{all} u\ln u`, of variance
        :math:`d\pi^2/6` without censoring; with censoring the variance is the observed information
        (Cox and Oakes, *Analysis of Survival Data*, 1984). The p-value is that of the
        standardised score under the normal law. It does not depend on the mean, and it is blind to
        departures that leave the Weibull shape at one; look at the survival curve as well.
        """
        from scipy import stats

        self._require(10)
        d = self.escaped
        logarithms, first, second = self._logarithms(self.mean)
        score = d + logarithms - first
        information = d + second - first**2 / d if self.censored else d * np.pi**2 / 6
        z = score / np.sqrt(information)
        return TestResult(float(z), float(2 * stats.norm.sf(abs(z))))

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


@dataclass(frozen=True)
class EscapeTimes(Estimates):
    """Escape times of an ensemble of walkers.

    Args:
        times: when each walker escaped or was last seen, shape (walkers,), in units of
            t = learning rate × iterations.
        status: ``ESCAPED``, ``CENSORED`` (still inside) or ``DIVERGED``, shape (walkers,).
        states: where each walker was then, shape (walkers, n).
        step: the time step dt.
        bias_correction: what was done about the time-step bias, in words.

    Raises:
        ValueError: no walkers, lengths that differ, or a time that is negative or not finite.
    """

    times: np.ndarray
    status: np.ndarray
    states: np.ndarray
    step: float
    bias_correction: str

    def __post_init__(self):
        times = np.asarray(self.times, dtype=float)
        if times.ndim != 1 or len(times) == 0:
            raise ValueError(
                f"times must be one number per walker and at least one, got shape {times.shape}"
            )
        if len(self.status) != len(times) or len(self.states) != len(times):
            raise ValueError(
                "times, status and states must have one entry per walker, got "
                f"{len(times)}, {len(self.status)} and {len(self.states)}"
            )
        wrong = ~(np.isfinite(times) & (times >= 0))
        if wrong.any():
            raise ValueError(
                f"times must be finite and not negative, got {times[wrong][:3]}; "
                "a walker that never escaped is censored at the time when it was last seen"
            )
        status, states = np.asarray(self.status), np.asarray(self.states)
        unknown = ~np.isin(status, (ESCAPED, CENSORED, DIVERGED))
        if unknown.any():
            raise ValueError(
                f"status must be {ESCAPED} (escaped), {CENSORED} (censored) or {DIVERGED} "
                f"(diverged), got {status[unknown][:3]}"
            )
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "status", status)
        object.__setattr__(self, "states", states)

    @property
    def escaped(self) -> int:
        """How many walkers escaped."""
        return int(np.count_nonzero(self.status == ESCAPED))

    @property
    def censored(self) -> int:
        """How many were still inside when they were last seen."""
        return int(np.count_nonzero(self.status == CENSORED))

    @property
    def diverged(self) -> int:
        """How many left every bound; they are never counted as escapes."""
        return int(np.count_nonzero(self.status == DIVERGED))

    @property
    def walkers(self) -> int:
        """How many walkers there were."""
        return len(self.times)

    @property
    def total_time(self) -> float:
        """The time that all walkers together spent inside."""
        return float(np.sum(self.times))

    def quantile(self, probability) -> float:
        """The time by which that fraction of the walkers had escaped.

        Raises:
            ValueError: a walker was censored before that time, or too few escaped at all.
        """
        if not 0 < probability < 1:
            raise ValueError(
                f"probability must lie between 0 and 1, got {probability}; 0.5 is the median"
            )
        self._require(1)
        known = np.sort(np.where(self.status == ESCAPED, self.times, np.inf))
        value = known[int(np.ceil(probability * len(known))) - 1]
        hidden = self.censored and value > np.min(self.times[self.status == CENSORED])
        if not np.isfinite(value) or hidden:
            raise ValueError(
                f"the {probability} quantile is hidden by censoring: only {self.escaped} of "
                f"{len(known)} walkers escaped; allow more time"
            )
        return float(value)

    def after(self, start: float) -> EscapeTimes:
        """The walkers that were still inside at time ``start``, their clocks set to zero then.

        Under the exponential law the remaining times have the same mean; before it holds, while
        the walkers settle in the valley, they do not.
        """
        if not start >= 0:
            raise ValueError(f"start must be zero or positive, got {start}; clocks begin at zero")
        left = self.times > start
        if not left.any():
            raise ValueError(
                f"start must leave walkers inside, got {start}; the last was seen at "
                f"{np.max(self.times)}"
            )
        return replace(
            self, times=self.times[left] - start, status=self.status[left], states=self.states[left]
        )

    def _deviation(self):
        return np.std(self.times, ddof=1)

    def _logarithms(self, unit):
        u = self.times / unit
        log = np.log(u, where=u > 0, out=np.zeros_like(u))
        return np.sum(log[self.status == ESCAPED]), np.sum(u * log), np.sum(u * log**2)


@dataclass(frozen=True)
class Fit:
    """A weighted straight line y = intercept + slope · x.

    Args:
        slope: the fitted slope.
        slope_stderr: its standard error, from the stated errors of y.
        intercept: the value at x = 0.
        intercept_stderr: its standard error.
        chi_square: the sum of squared standardised residuals.
        degrees: points minus two.
    """

    slope: float
    slope_stderr: float
    intercept: float
    intercept_stderr: float
    chi_square: float
    degrees: int

    @property
    def p_value(self) -> float:
        """How often a true straight line would scatter at least as much."""
        from scipy import stats

        return float(stats.chi2.sf(self.chi_square, self.degrees)) if self.degrees else 1.0

    def slope_interval(self, level: float = 0.95) -> tuple[float, float]:
        """The interval of the slope that holds it with that probability."""
        from scipy import stats

        _check_level(level)
        reach = stats.norm.ppf((1 + level) / 2) * self.slope_stderr
        return self.slope - reach, self.slope + reach


def linear_fit(x, y, stderr) -> Fit:
    """Fit a straight line to points with known standard errors, by weighted least squares.

    Args:
        x: abscissae, shape (points,), at least two different ones.
        y: ordinates, shape (points,).
        stderr: standard errors of y, shape (points,) or one number.

    Raises:
        ValueError: fewer than two different x, NaN, or an error that is not positive.
    """
    x, y, stderr = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in (x, y, stderr)))
    if x.ndim != 1 or len(np.unique(x)) < 2 or not np.all(np.isfinite(x + y)):
        raise ValueError(f"a line needs finite points at two or more different x, got x = {x}")
    if not np.all(np.isfinite(stderr) & (stderr > 0)):
        raise ValueError(
            f"standard errors must be positive and finite, got {stderr}; they weigh the points"
        )
    weight = stderr**-2.0
    centre = np.sum(weight * x) / np.sum(weight)
    spread = np.sum(weight * (x - centre) ** 2)
    slope = np.sum(weight * (x - centre) * y) / spread
    intercept = np.sum(weight * y) / np.sum(weight) - slope * centre
    return Fit(
        slope=float(slope),
        slope_stderr=float(spread**-0.5),
        intercept=float(intercept),
        intercept_stderr=float(np.sqrt(1 / np.sum(weight) + centre**2 / spread)),
        chi_square=float(np.sum(((y - intercept - slope * x) / stderr) ** 2)),
        degrees=len(x) - 2,
    )


def agreement(measured: float, stderr: float, predicted: float) -> float:
    """How many standard errors the measurement lies above the prediction."""
    if not stderr > 0:
        raise ValueError(
            f"the standard error must be positive, got {stderr}; without one nothing is compared"
        )
    return float((measured - predicted) / stderr)


def _check_level(level):
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}; 0.95 is usual")
