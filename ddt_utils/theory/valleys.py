"""Several valleys: the share of time that is spent in each, from escape times or from rates."""

from __future__ import annotations

import numpy as np

from ddt_utils import _checks
from ddt_utils.theory.formula import Prediction


def occupation(escape_times) -> np.ndarray:
    r"""The share of time spent in each valley, :math:`P_v = \tau_v / \sum_u \tau_u`.

    For two valleys joined by one path, whose walkers can only swap, and low noise, at which a
    walker spends next to no time between them; for more, it needs every valley to be entered
    equally often.

    Args:
        escape_times: mean escape time of each valley, numbers or predictions, shape (valleys,), all
            positive. Of predictions the logarithms are taken, so that none is too long.

    Returns:
        Fractions that sum to one, shape (valleys,).

    Raises:
        ValueError: fewer than two valleys, or a time that is no positive number.

    Example:
        >>> occupation([3.0, 1.0])
        array([0.75, 0.25])
    """
    if isinstance(escape_times, (str, bytes, Prediction)) or not np.iterable(escape_times):
        raise ValueError(
            f"escape_times must be a list, got {escape_times!r:.80}; give one mean time per valley"
        )
    logs = np.array([_log_time(time) for time in escape_times])
    if logs.size < 2:
        raise ValueError(
            f"escape_times must name two valleys or more, got {logs.size}; one is never left"
        )
    shares = np.exp(logs - logs.max())
    return shares / shares.sum()


def chain_occupation(rates) -> np.ndarray:
    r"""The stationary law of a Markov jump process between valleys.

    P solves :math:`\sum_u P_u \gamma_{uv} = P_v \sum_u \gamma_{vu}`: what flows in flows out. It is
    found by elimination without subtraction (Grassmann, Taksar and Heyman, Operations Research 33,
    1107, 1985), so that rates of very different size keep all their digits.

    Args:
        rates: :math:`\gamma_{uv}` from valley u to valley v, shape (valleys, valleys); the diagonal
            is ignored.

    Returns:
        Fractions that sum to one, shape (valleys,).

    Raises:
        ValueError: not a square matrix of at least two valleys, a negative or infinite rate, or
            a valley that cannot be reached from another: some rates would not matter then.
        OverflowError: the rates differ by more orders of magnitude than floats have.

    Example:
        >>> chain_occupation([[0, 1.0], [3.0, 0]])
        array([0.75, 0.25])
    """
    from scipy.sparse.csgraph import connected_components

    remedy = "give the rate from valley u to valley v in row u, column v"
    flow = np.array(_checks.array("rates", rates, finite=False, remedy=remedy))
    if flow.ndim != 2 or flow.shape[0] != flow.shape[1] or flow.shape[0] < 2:
        raise ValueError(
            f"rates must be a square matrix of two valleys or more, got {flow.shape}; {remedy}"
        )
    np.fill_diagonal(flow, 0.0)
    if not (np.isfinite(flow).all() and (flow >= 0).all()):
        raise ValueError(f"rates must be finite and not negative, got {flow.tolist()}; {remedy}")
    groups, group = connected_components(flow > 0, directed=True, connection="strong")
    if groups > 1:
        apart = [int(np.argmax(group == g)) for g in range(2)]
        raise ValueError(
            f"every valley must be reached from every other, got no way from {apart[0]} to "
            f"{apart[1]} or none back in {flow.tolist()}; leave out valleys that are never entered "
            "or never left"
        )
    with np.errstate(all="ignore"):
        for last in range(len(flow) - 1, 0, -1):
            flow[:last, last] /= flow[last, :last].sum()
            flow[:last, :last] += np.outer(flow[:last, last], flow[last, :last])
        shares = np.ones(len(flow))
        for v in range(1, len(flow)):
            shares[v] = shares[:v] @ flow[:v, v]
        shares /= shares.sum()
    if not (np.isfinite(shares).all() and (shares > 0).all()):
        raise OverflowError(
            f"the rates must lie within 300 orders of magnitude, got {np.array(rates).tolist()}; "
            "a valley that is left so much sooner holds nobody: leave it out"
        )
    return shares


def _log_time(time):
    if isinstance(time, Prediction):
        return _checks.number("escape_times", time.logarithm, remedy="give one number per valley")
    return np.log(_checks.number("escape_times", time, above=0, remedy="they are mean times"))
