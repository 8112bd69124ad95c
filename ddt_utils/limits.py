r"""What a quantity tends to as a step, a spacing or a noise goes to zero, with an honest error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks


@dataclass(frozen=True)
class Limit:
    """An extrapolated value.

    Args:
        value: at size zero; a number or an array.
        error: how much the last extrapolation changed it, the numerical error; shape of ``value``.
        stderr: its standard error if the values had one, else 0; shape of ``value``.

    Example:
        >>> limit = extrapolate([1.0, 0.5, 0.25], [3.0, 2.5, 2.25], powers=(1, 2))
        >>> round(float(limit.value), 6)
        2.0
    """

    value: float | np.ndarray
    error: float | np.ndarray
    stderr: float | np.ndarray = 0.0


def extrapolate(sizes, values, *, powers, stderr=None) -> Limit:
    r"""The limit of a quantity at size zero (Richardson's extrapolation).

    With n values at n sizes h, the n coefficients of

    .. math:: v(h) = v_0 + c_1 h^{p_1} + \dots + c_{n-1} h^{p_{n-1}}

    are found from the values (L. F. Richardson, Philosophical Transactions A 210, 307, 1911). The
    error is the distance to the same without the largest size and the last power. Where the values
    do not yet fall as the powers say (two extrapolations of that lower order differ by more than a
    quarter of what they correct), it is the difference of those two.

    Args:
        sizes: h, two or more different positive numbers, shape (n,).
        values: v, shape (n, …).
        powers: the exponents of the leading errors, at least n − 1, increasing; (2, 4) for a
            centred second-order method, (1, 2) for Euler's, (0.5, 1) for a barrier that is looked
            at once a step.
        stderr: standard errors of independent values, the shape of ``values``; None: there are
            none.

    Returns:
        The value at size zero, with its error.

    Raises:
        ValueError: sizes that are not positive and different or too far apart for their powers,
            values of another length, too few powers, a negative standard error, or a result beyond
            the range of floats.

    Example:
        The perimeter of a hexagon and of a dodecagon in a circle of diameter one give π.

        >>> limit = extrapolate([1 / 6, 1 / 12], [3.0, 3.105829], powers=(2,))
        >>> round(limit.value, 4), round(limit.error, 4)
        (3.1411, 0.0353)
    """
    sizes = _checks.array("sizes", sizes, shape=(None,))
    values = _checks.array("values", values)
    powers = _checks.array("powers", powers, shape=(None,))
    n = len(sizes)
    if n < 2 or not np.all(sizes > 0) or len(set(sizes)) < n or values.shape[:1] != (n,):
        raise ValueError(
            f"extrapolation needs one value at each of two or more different positive sizes, got "
            f"sizes {sizes.tolist()} and values of shape {values.shape}"
        )
    if len(powers) < n - 1 or not np.all(np.diff(powers, prepend=0.0) > 0):
        raise ValueError(
            f"powers must be positive, increasing and {n - 1} at least for {n} values, got "
            f"{powers.tolist()}; name the power of every error that is to be removed"
        )
    order = np.argsort(-sizes)
    sizes, values = sizes[order], values[order]

    def at_zero(chosen):
        """The value without error at size zero, as weights of the chosen values."""
        h = sizes[chosen] / sizes[chosen].max()
        columns = [np.ones_like(h), *(h**p for p in powers[: len(h) - 1])]
        weights = np.zeros(n)
        try:
            weights[chosen] = np.linalg.solve(np.array(columns), np.eye(len(h))[0])
        except np.linalg.LinAlgError:
            raise ValueError(
                f"sizes must be told apart by the powers of the errors, got {sizes.tolist()} and "
                f"{powers.tolist()}; halve the size from one value to the next"
            ) from None
        return weights

    weights = at_zero(np.arange(n))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
        found, fewer = _mean(weights, values), _mean(at_zero(np.arange(1, n)), values)
        error = np.abs(found - fewer)
        if n > 2:
            spread = np.abs(fewer - _mean(at_zero(np.arange(n - 1)), values))
            settled = spread <= np.abs(fewer - values[-1]) / 4
            error = np.where(settled, error, np.maximum(error, spread))
    spent = np.zeros_like(found)
    if stderr is not None:
        spent = _checks.array("stderr", stderr, shape=values.shape)[order]
        if not np.all(spent >= 0):
            raise ValueError(f"stderr must not be negative, got {stderr!r:.80}; zero is none")
        power = np.frexp(spent.max(axis=0))[1]  # squares may leave the range of floats
        spent = np.ldexp(np.sqrt(_mean(weights**2, np.ldexp(spent, -power) ** 2)), power)
    for name, number in (("value", found), ("error", error), ("stderr", spent)):
        _checks.array(f"the {name} at size zero", number, remedy="take another unit of the values")
    if values.ndim == 1:
        return Limit(float(found), float(error), float(spent))
    return Limit(found, error, spent)


def _mean(weights, values):
    return np.tensordot(weights, values, axes=1)
