"""How a number reaches the page, and how a claim reaches the ledger.

:func:`number` prints a value and stores its text for the prose; :func:`claim` confronts a
prediction with a measurement and stores the verdict as a cell output of its own kind, from which
the book's ledger page is assembled when it is built. Both need nothing but IPython, so a chapter
alone in Colab tells the same story.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path

from ddt_utils.escape import agreement

MIME_TYPE = "application/vnd.ddt.claim+json"
LIMIT = 4.42  # standard errors: a true claim is called a deviation once in 1e5 times


@dataclass(frozen=True)
class Claim:
    """One row of the ledger.

    Args:
        key: its name in ``book/claims.yml``.
        statement: what was found, in one sentence.
        status: ``derived`` (asserted in SymPy), ``simulated``, ``measured``, ``another constant``
            (the form of the claim holds, with another constant than the claim's) or ``deviates``.
        predicted: the prediction as text, empty for a derivation.
        measured: the measurement as text with its standard error, empty for a derivation.
        distance: how many standard errors apart they are, or None.
        why: the reason of a deviation or of another constant, in one sentence.
    """

    key: str
    statement: str
    status: str
    predicted: str = ""
    measured: str = ""
    distance: float | None = None
    why: str = ""


def with_error(value: float, stderr: float | None = None, digits: int | None = None) -> str:
    """A number as text, rounded to two digits of its standard error.

    Args:
        value: the number.
        stderr: its standard error.
        digits: decimals, if the error is not to decide; four significant digits without either.

    Example:
        >>> with_error(41.0224, 0.189)
        '41.02 ± 0.19'
        >>> with_error(12345.6, 230)
        '12350 ± 230'
        >>> with_error(0.123456)
        '0.1235'
    """
    value = _finite("value", value)
    if stderr is None:
        text = f"{value:.4g}" if digits is None else f"{round(value, digits) + 0.0:.{digits}f}"
        return text.replace("-", "−")
    stderr = float(stderr)
    if not (stderr > 0 and math.isfinite(stderr)):
        raise ValueError(
            f"the standard error must be positive and finite, got {stderr}; leave it out if exact"
        )
    largest = max(abs(value), stderr)
    if digits is None and largest >= 1e15:  # beyond the digits of a double
        power = math.floor(math.log10(largest))
        return f"({with_error(value / 10**power, stderr / 10**power)}) × 10^{power}"
    if digits is None:
        digits = _digits(round(stderr, _digits(stderr)))  # 0.0996 is shown as 0.10
    value, stderr = round(value, digits) + 0.0, round(stderr, digits)  # + 0.0: no negative zero
    shown = max(digits, 0)
    return f"{value:.{shown}f} ± {stderr:.{shown}f}".replace("-", "−")


def _digits(stderr):
    """Decimals that show two digits of a standard error."""
    return 1 - math.floor(math.log10(stderr))


def _finite(name, value):
    if not math.isfinite(float(value)):
        raise ValueError(
            f"the {name} must be a finite number, got {value}; find out what went wrong first"
        )
    return float(value)


def number(name: str, value, *, stderr: float | None = None, digits: int | None = None) -> None:
    r"""Print a number and keep its text for the prose, where ``{glue:text}`` shows it by name.

    Args:
        name: unique in the book; begins with the chapter's prefix.
        value: a number, or a text that is shown as it is.
        stderr: the standard error of a simulated number.
        digits: decimals; by default two digits of the standard error decide.

    Example:
        >>> number("ms-tau", 41.0224, stderr=0.189)
        ms-tau = 41.02 ± 0.19
    """
    text = value if isinstance(value, str) else with_error(value, stderr, digits)
    print(f"{name} = {text}")
    _display(
        {"application/papermill.record/text/plain": repr(text)},  # a text, however numeric
        {"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
    )


def claim(
    key: str,
    *,
    statement: str,
    status: str,
    predicted=None,
    measured=None,
    stderr: float | None = None,
    digits: int | None = None,
    why: str = "",
) -> Claim:
    """Confront a prediction with a measurement and write the verdict into the ledger.

    Args:
        key: the claim's name in ``book/claims.yml``.
        statement: what was found, in one sentence.
        status: ``derived``, ``simulated``, ``measured``, ``another constant`` or ``deviates``. A
            simulated or measured claim that lies more than 4.42 standard errors from its prediction
            (once in 10⁵ times if it is true) becomes ``deviates`` by itself. Of ``another
            constant`` the prediction is the corrected one, and it is held to the same limit.
        predicted: the predicted number, or a text.
        measured: the measured number, or a text.
        stderr: the standard error of the measured number.
        digits: decimals, if the standard error is not to decide.
        why: why the claim deviates, or where its constant goes wrong, in one sentence.

    Returns:
        The row.

    Raises:
        ValueError: an unknown status, a measured number without a standard error or prediction, or
            another constant without a reason.
    """
    statuses = ("derived", "simulated", "measured", "another constant", "deviates")
    if status not in statuses:
        raise ValueError(f"status must be one of {statuses}, got {status!r}")
    distance = None
    if isinstance(measured, Real) and isinstance(predicted, Real) and stderr is not None:
        numbers = {"measured": measured, "predicted": predicted, "standard error": stderr}
        numbers = {name: _finite(name, value) for name, value in numbers.items()}
        distance = agreement(*(numbers[n] for n in ("measured", "standard error", "predicted")))
        if status != "derived" and abs(distance) > LIMIT:
            status = "deviates"
    elif status not in ("derived", "deviates") and not isinstance(measured, str):
        raise ValueError(
            f"a {status} claim needs predicted, measured and stderr, got {predicted}, {measured} "
            f"and {stderr}; status='derived' is for what SymPy asserted"
        )
    if status == "another constant" and not why:
        raise ValueError(f"{key} holds with another constant; say why= in one sentence")
    row = Claim(
        key=key,
        statement=statement,
        status=status,
        predicted=_text(predicted, None, digits),
        measured=_text(measured, stderr, digits),
        distance=None if distance is None else round(distance, 1) + 0.0,
        why=why,
    )
    found = f"; predicted {row.predicted}" if row.predicted else ""
    found += f", found {row.measured}" if row.measured else ""
    if row.distance is not None:
        found += f", {row.distance:+.1f} standard errors apart".replace("-", "−")
    reason = f". {why}" if why else ""
    print(f"{key}: {row.status}. {statement}{found}{reason}")
    _display({MIME_TYPE: asdict(row)}, {})
    return row


def claims_in(notebook: Path) -> list[Claim]:
    """The rows that an executed notebook wrote, in order."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    outputs = [o for cell in cells for o in cell.get("outputs", [])]
    rows = [o["data"][MIME_TYPE] for o in outputs if MIME_TYPE in o.get("data", {})]
    return [Claim(**(json.loads(r) if isinstance(r, str) else r)) for r in rows]


def _text(value, stderr, digits):
    if value is None or isinstance(value, str):
        return value or ""
    return with_error(value, stderr, digits)


def _display(bundle, metadata):
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    if get_ipython() is not None:
        display(bundle, raw=True, metadata=metadata)
