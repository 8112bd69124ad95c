r"""What a set of escape times says, and how surely.

The mean escape time :math:`\tau` and the rate :math:`\gamma = 1/\tau` are estimated with a standard
error, walkers that had not escaped when the simulation ended are accounted for, and the exponential
law on which the word "rate" rests can be tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ddt_utils import _checks
from ddt_utils._estimates import CENSORED, DIVERGED, ESCAPED, Estimates, TestResult

__all__ = [
    "CENSORED",
    "DIVERGED",
    "ESCAPED",
    "EscapeTimes",
    "Estimates",
    "Fit",
    "TestResult",
    "agreement",
    "linear_fit",
]


@dataclass(frozen=True)
class EscapeTimes(Estimates):
    """Escape times of an ensemble of walkers.

    Args:
        times: when each walker escaped or was last seen, shape (walkers,), in units of
            t = learning rate × iterations.
        status: ``ESCAPED`` (1), ``CENSORED`` (2, still inside) or ``DIVERGED`` (3), names of this
            room, shape (walkers,).
        states: where each walker was then, shape (walkers, n).
        step: the time step dt, positive.
        bias_correction: what was done about the time-step bias, in words.
        carried: what else each walker carried then, such as its velocity: an array of shape
            (walkers,) for each name.

    The arrays are copied: what happens to the caller's changes nothing here.

    Raises:
        ValueError: no walkers, lengths that differ, something that is no number, a time that is
            negative or not finite, times whose sum is no float, or a step that is not positive.

    Example:
        >>> import numpy as np
        >>> times = EscapeTimes(
        ...     times=[1.0, 3.0, 4.0], status=[ESCAPED, ESCAPED, CENSORED],
        ...     states=np.zeros((3, 1)), step=0.1, bias_correction="none",
        ... )
        >>> times.mean
        4.0
    """

    times: np.ndarray
    status: np.ndarray
    states: np.ndarray
    step: float
    bias_correction: str
    carried: dict = field(default_factory=dict)

    def __post_init__(self):
        """Check the arguments."""
        remedy = "give one number per walker"
        times = _checks.array("times", self.times, finite=False, remedy=remedy)
        status = _copied("status", self.status, remedy)
        states = _copied("states", self.states, "give the place of every walker")
        if not isinstance(self.carried, Mapping):
            raise ValueError(
                f"carried must be a dictionary, got {self.carried!r:.80}; give an array for each "
                "name, or leave it out"
            )
        carried = {k: _copied(f"carried[{k!r}]", v, remedy) for k, v in self.carried.items()}
        _checks.number("step", self.step, above=0, remedy="it is the time step dt")
        if times.ndim != 1 or len(times) == 0:
            raise ValueError(
                f"times must be one number per walker and at least one, got shape {times.shape}"
            )
        many = [len(v) if v.ndim else 0 for v in (status, states)]
        if many != [len(times)] * 2:
            raise ValueError(
                "times, status and states must have one entry per walker, got "
                f"{len(times)}, {many[0]} and {many[1]}"
            )
        odd = {name: v.shape for name, v in carried.items() if v.shape != times.shape}
        if odd:
            raise ValueError(
                f"carried must have one number per walker, {len(times)}, for each name, got {odd}"
            )
        wrong = ~(np.isfinite(times) & (times >= 0))
        if wrong.any():
            raise ValueError(
                f"times must be finite and not negative, got {times[wrong][:3]}; "
                "a walker that never escaped is censored at the time when it was last seen"
            )
        with np.errstate(over="ignore"):
            total = np.sum(times)
        if not np.isfinite(total):
            raise ValueError(
                f"times must have a sum that is a float, got {len(times)} of up to {times.max()}; "
                "take another unit of time"
            )
        unknown = ~np.isin(status, (ESCAPED, CENSORED, DIVERGED))
        if unknown.any():
            raise ValueError(
                f"status must be {ESCAPED} (escaped), {CENSORED} (censored) or {DIVERGED} "
                f"(diverged), got {status[unknown][:3]}"
            )
        kept = dict(times=times, status=status, states=states, carried=carried)
        for name, values in kept.items():
            object.__setattr__(self, name, values)

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

    def _quantile(self, probability):
        known = np.sort(np.where(self.status == ESCAPED, self.times, np.inf))
        value = known[int(np.ceil(probability * len(known))) - 1]
        hidden = self.censored and value > np.min(self.times[self.status == CENSORED])
        return None if hidden or not np.isfinite(value) else value

    def _survival(self, times):
        return 1 - np.searchsorted(np.sort(self.times), times, side="right") / self.walkers

    def after(self, start: float) -> EscapeTimes:
        """The walkers that were still inside at a time; see :meth:`Estimates.after`."""
        start = _checks.number("start", start, least=0, remedy="clocks begin at zero")
        left = self.times > start
        if not left.any():
            raise ValueError(
                f"start must leave walkers inside, got {start}; the last was seen at "
                f"{np.max(self.times)}"
            )
        return replace(
            self,
            times=self.times[left] - start,
            status=self.status[left],
            states=self.states[left],
            carried={name: values[left] for name, values in self.carried.items()},
        )

    def _deviation(self):
        power = np.frexp(self.times.max())[1]  # squares of times may leave the range of floats
        return np.ldexp(np.std(np.ldexp(self.times, -power), ddof=1), power)

    def _logarithms(self, unit):
        if np.any(self.times[self.status == ESCAPED] == 0):
            raise ValueError(
                "escape times must be positive for this test, got a time of zero; let walkers "
                "start inside"
            )
        u = self.times / unit
        log = np.log(u, where=u > 0, out=np.zeros_like(u))
        return np.sum(log[self.status == ESCAPED]), np.sum(u * log), np.sum(u * log**2)


def _copied(name, values, remedy):
    """Numbers of any kind, infinite or not, in an array of their own."""
    values = values.detach().cpu() if hasattr(values, "detach") else values
    _checks.array(name, values, finite=False, remedy=remedy)
    return np.array(values)


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

    Example:
        >>> line = linear_fit([0, 1, 2], [1.0, 3.1, 4.9], [0.1, 0.1, 0.1])
        >>> [float(end.round(2)) for end in line.slope_interval()]
        [1.81, 2.09]
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
        """The interval of the slope that holds it with that probability.

        Args:
            level: the probability.

        Returns:
            The lower and the upper end.
        """
        from scipy import stats

        level = _checks.number("level", level, above=0, below=1, remedy="0.95 is usual")
        reach = stats.norm.ppf((1 + level) / 2) * self.slope_stderr
        return self.slope - reach, self.slope + reach


def linear_fit(x, y, stderr) -> Fit:
    """Fit a straight line to points with known standard errors, by weighted least squares.

    Args:
        x: abscissae, shape (points,), at least two different ones.
        y: ordinates, shape (points,).
        stderr: standard errors of y, shape (points,) or one number.

    Returns:
        The line.

    Raises:
        ValueError: fewer than two different x, NaN, an error that is not positive, or numbers that
            leave no finite line.

    Example:
        >>> line = linear_fit([0, 1, 2], [1.0, 3.1, 4.9], [0.1, 0.1, 0.1])
        >>> round(line.slope, 3), round(line.slope_stderr, 3)
        (1.95, 0.071)
    """
    given = (("x", x), ("y", y), ("stderr", stderr))
    arrays = [_checks.array(name, value, finite=False) for name, value in given]
    try:
        x, y, stderr = np.broadcast_arrays(*arrays)
    except ValueError:
        shapes = [a.shape for a in arrays]
        raise ValueError(f"x, y and stderr must have one shape, got {shapes}") from None
    if x.ndim != 1 or len(np.unique(x)) < 2 or not np.all(np.isfinite(x + y)):
        raise ValueError(f"a line needs finite points at two or more different x, got x = {x}")
    if not np.all(np.isfinite(stderr) & (stderr > 0)):
        raise ValueError(
            f"standard errors must be positive and finite, got {stderr}; they weigh the points"
        )
    scale = np.max(np.abs(x)), np.min(stderr)
    if not all(1e-100 < s < 1e100 for s in scale):  # squares would leave the range of floats
        a, b = (2.0 ** np.floor(np.log2(s)) for s in scale)
        with np.errstate(over="ignore"):
            line = linear_fit(x / a, y / b, stderr / b)
        units = {"slope": b / a, "slope_stderr": b / a, "intercept": b, "intercept_stderr": b}
        found = {name: float(getattr(line, name) * unit) for name, unit in units.items()}
        for name, value in found.items():
            _checks.number(name, value, remedy="take other units of x and y")
        return replace(line, **found)
    with np.errstate(all="ignore"):  # what is not finite is refused
        weight = stderr**-2.0
        centre = np.sum(weight * x) / np.sum(weight)
        spread = np.sum(weight * (x - centre) ** 2)
        slope = np.sum(weight * (x - centre) * y) / spread
        intercept = np.sum(weight * y) / np.sum(weight) - slope * centre
        chi_square = np.sum(((y - intercept - slope * x) / stderr) ** 2)
    if not (spread > 0 and np.isfinite([spread, slope, intercept, chi_square]).all()):
        raise ValueError(
            "a line needs errors and places that floats can weigh against each other, got x = "
            f"{x} with errors {stderr}; leave out the points that do not count"
        )
    return Fit(
        slope=float(slope),
        slope_stderr=float(spread**-0.5),
        intercept=float(intercept),
        intercept_stderr=float(np.sqrt(1 / np.sum(weight) + centre**2 / spread)),
        chi_square=float(chi_square),
        degrees=len(x) - 2,
    )


def agreement(measured: float, stderr: float, predicted: float) -> float:
    """How far a measurement lies above a prediction.

    Args:
        measured: the measurement.
        stderr: its standard error.
        predicted: the prediction.

    Returns:
        The distance in standard errors.

    Raises:
        ValueError: no number, a standard error that is not positive, or a distance that is no
            float.

    Example:
        >>> round(agreement(measured=41.0, stderr=0.2, predicted=40.5), 2)
        2.5
    """
    remedy = "without a standard error nothing is compared"
    error = _checks.number("stderr", stderr, above=0, remedy=remedy)
    found = _checks.number("measured", measured) - _checks.number("predicted", predicted)
    with np.errstate(over="ignore"):
        distance = float(np.float64(found) / error)
    return _checks.number("the distance in standard errors", distance, remedy="take other units")
