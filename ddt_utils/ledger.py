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

from ddt_utils import _checks, _files
from ddt_utils._output import say
from ddt_utils.escape import agreement

MIME_TYPE = "application/vnd.ddt.claim+json"
LIMIT = 4.42  # standard errors: a true claim is called a deviation once in 1e5 times
STATUSES = (
    "derived",
    "computed",
    "simulated",
    "measured",
    "in the limit",
    "another constant",
    "deviates",
)
_MEANING = {  # the statuses that need a reason
    "in the limit": "holds in a limit only",
    "another constant": "holds with another constant",
    "deviates": "deviates",
}


@dataclass(frozen=True)
class Claim:
    """One row of the ledger.

    Args:
        key: its name in ``book/claims.yml``.
        statement: what was found, in one sentence.
        status: ``derived`` (asserted in SymPy), ``computed`` (without random numbers),
            ``simulated`` (random walkers on a landscape), ``measured`` (gradients or training runs
            of a model on data), ``in the limit`` (found is what the exact solution for this noise
            and step says, whose limit is the claim's law), ``another constant`` (the form of the
            claim holds, with another constant than the claim's) or ``deviates``.
        predicted: what the claim's own theory says, as text; empty for a derivation.
        exact: what an exact solution for this noise and step says, as text, if there is one.
        measured: what was found, as text with its error; empty for a derivation.
        distance: standard errors from the prediction to what was found, or None.
        exact_distance: standard errors from the exact solution to what was found, or None.
        why: the reason of a limit, of another constant or of a deviation, in one sentence.

    Example:
        >>> row = Claim("rate", "It follows from the steady current.", "derived")
        >>> row.status
        'derived'
    """

    key: str
    statement: str
    status: str
    predicted: str = ""
    exact: str = ""
    measured: str = ""
    distance: float | None = None
    exact_distance: float | None = None
    why: str = ""


def with_error(value: float, stderr: float | None = None, digits: int | None = None) -> str:
    """A number as text, rounded to two digits of its standard error.

    Args:
        value: the number.
        stderr: its standard error.
        digits: decimals, if the error is not to decide; four significant digits without either.

    Returns:
        The text, with a typographical minus sign.

    Raises:
        ValueError: a number that is not finite, or an error that is not positive.

    Example:
        >>> with_error(41.0224, 0.189)
        '41.02 ± 0.19'
        >>> with_error(12345.6, 230)
        '12350 ± 230'
        >>> with_error(0.123456)
        '0.1235'
    """
    value = _finite("value", value)
    digits = digits if digits is None else _checks.whole("digits", digits, least=-300)
    if stderr is None:
        rounded = value if digits is None else round(value, digits)
        text = f"{rounded + 0.0:.4g}" if digits is None else f"{rounded + 0.0:.{max(digits, 0)}f}"
        return text.replace("-", "−")
    stderr = _checks.number("standard error", stderr, above=0, remedy="leave it out if exact")
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


def _words(name, value):
    """Refuse what cannot stand in the book as a name or a sentence."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a text with words in it, got {value!r}")


def _finite(name, value):
    return _checks.number(name, value, remedy="find out what went wrong first")


def number(name: str, value, *, stderr: float | None = None, digits: int | None = None) -> None:
    r"""Print a number and keep its text for the prose, where ``{glue:text}`` shows it by name.

    Args:
        name: unique in the book; begins with the chapter's prefix.
        value: a number, or a text that is shown as it is.
        stderr: the standard error of a simulated number.
        digits: decimals; by default two digits of the standard error decide.

    Raises:
        ValueError: neither a text nor a finite number, or a standard error that is not positive.

    Example:
        >>> number("ms-tau", 41.0224, stderr=0.189)
        ms-tau = 41.02 ± 0.19
    """
    _words("name", name)
    text = value if isinstance(value, str) else with_error(value, stderr, digits)
    say(f"{name} = {text}")
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
    exact=None,
    measured=None,
    stderr: float | None = None,
    error: float | None = None,
    digits: int | None = None,
    why: str = "",
) -> Claim:
    """Confront a prediction with what was found and write the verdict into the ledger.

    A row is held to its exact solution if it has one, else to its prediction. A number with a
    standard error that lies more than 4.42 of them away (once in 10⁵ times if the claim is true)
    deviates, and so does a computed number that lies further away than its own error. A row that
    agrees with its exact solution but not with its prediction says so: ``in the limit``, or
    ``another constant``.

    Args:
        key: the claim's name in ``book/claims.yml``.
        statement: what was found, in one sentence.
        status: one of ``STATUSES``; see :class:`Claim`.
        predicted: what the claim's own, asymptotic theory says: a number, or a text. Of ``another
            constant`` it is the corrected constant, unless ``exact`` is given.
        exact: what an exact solution for this noise and step says: a number, or a text.
        measured: what was found: a number, or a text.
        stderr: the standard error of a number that has random numbers in it.
        error: the numerical error of a ``computed`` number: a bound, or the spread of an
            extrapolation; it is no standard error.
        digits: decimals, if the error is not to decide.
        why: the reason of a limit, of another constant or of a deviation, in one sentence.

    Returns:
        The row.

    Raises:
        ValueError: an unknown status, a number without the error or the prediction that its status
            needs, or a limit, another constant or a deviation without a reason.

    Example:
        >>> claim("slope", statement="It is one.", status="simulated", predicted=1,
        ...       measured=1.003, stderr=0.004)  # doctest: +ELLIPSIS
        slope: simulated. It is one.; predicted 1 (found at +0.7 standard errors), ...
        Claim(key='slope', statement='It is one.', status='simulated', ...)
    """
    _checks.choice("status", status, STATUSES)
    _words("key", key), _words("statement", statement)
    if not isinstance(why, str):
        raise ValueError(f"why must be a sentence, got {why!r}")
    if stderr is not None and error is not None:
        raise ValueError(
            f"{key}: a number has a standard error ({stderr}) or a numerical error ({error}), not "
            "both; give stderr= if random numbers decide it, error= if none do"
        )
    found = dict(predicted=predicted, exact=exact, measured=measured, stderr=stderr, error=error)
    texts = ("predicted", "exact", "measured")
    found = {
        name: value
        if value is None or (name in texts and isinstance(value, str))
        else _finite(name, value)
        for name, value in found.items()
    }
    _require_numbers(status, **found)
    near, far = _distance("exact", **found), _distance("predicted", **found)
    verdict = _verdict(status, near, far)
    if verdict in _MEANING and not why:
        raise ValueError(
            f"{key} {_MEANING[verdict]}: predicted {predicted}, exact {exact}, found {measured}; "
            "find out why and say why= in one sentence"
        )
    random = stderr is not None
    row = Claim(
        key=key,
        statement=statement,
        status=verdict,
        predicted=_text(predicted, None, digits),
        exact=_text(exact, None, digits),
        measured=_text(measured, stderr if random else error, digits),
        distance=round(far, 1) + 0.0 if random and far is not None else None,
        exact_distance=round(near, 1) + 0.0 if random and near is not None else None,
        why=why,
    )
    say(_line(row))
    _display({MIME_TYPE: asdict(row)}, {})
    return row


def _require_numbers(status, predicted, exact, measured, stderr, error):
    """Refuse a number without the error, and a finding without the prediction, that it needs."""
    if status in ("derived", "deviates") or isinstance(measured, str):
        return
    given = stderr if stderr is not None else error
    if measured is None or given is None or (predicted is None and exact is None):
        raise ValueError(
            f"a {status} claim needs predicted (or exact), measured and stderr (or error), got "
            f"{predicted} ({exact}), {measured} and {stderr} ({error}); status='derived' is for "
            "what SymPy asserted"
        )
    if status == "computed" and error is None:
        raise ValueError(
            f"a computed claim needs its numerical error, got stderr={stderr}; use error="
        )
    if status in ("simulated", "measured") and stderr is None:
        raise ValueError(f"a {status} claim needs a standard error, got error={error}; use stderr=")


def _distance(name, *, measured, stderr, error, **sides):
    """Standard errors from one side to what was found, if both are numbers."""
    # A numerical error is a bound: it counts as the whole limit.
    unit = stderr if stderr is not None else error and error / LIMIT
    if unit is None or not all(isinstance(v, Real) for v in (measured, sides[name])):
        return None
    return agreement(measured, unit, sides[name])


def _verdict(status, near, far):
    """The status that the distances allow."""
    if status == "derived":
        return status
    judged = far if near is None else near
    if judged is not None and abs(judged) > LIMIT:
        return "deviates"
    off = near is not None and far is not None and abs(far) > LIMIT
    return "deviates" if off and status not in _MEANING else status


def _line(row):
    """A row as it is printed."""
    parts = [
        f"{label} {value}" + (f" ({_apart(distance)})" if distance is not None else "")
        for label, value, distance in (
            ("predicted", row.predicted, row.distance),
            ("exact for this noise and step", row.exact, row.exact_distance),
            ("found", row.measured, None),
        )
        if value
    ]
    text = f"{row.key}: {row.status}. {row.statement}" + ("; " if parts else "") + ", ".join(parts)
    return text + (f". {row.why}" if row.why else "")


def _apart(distance):
    """Where the finding lies, seen from a prediction."""
    return f"found at {distance:+.1f} standard errors".replace("-", "−")


def claims_in(notebook: Path) -> list[Claim]:
    """The rows that an executed notebook wrote.

    Args:
        notebook: its file.

    Returns:
        The rows, in the order in which the cells made them.

    Raises:
        ValueError: the file is no notebook, or a row of it no claim.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.NamedTemporaryFile("w", suffix=".ipynb") as file:
        ...     _ = file.write('{"cells": []}')
        ...     file.flush()
        ...     claims_in(Path(file.name))
        []
    """
    remedy = "execute the chapter again"
    cells = _files.read_json(notebook, remedy=remedy, keys=("cells",))["cells"]
    try:
        outputs = [o for cell in cells for o in cell.get("outputs", [])]
        rows = [o["data"][MIME_TYPE] for o in outputs if MIME_TYPE in o.get("data", {})]
        return [Claim(**(json.loads(r) if isinstance(r, str) else r)) for r in rows]
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(_files.damaged(notebook, error, remedy)) from error


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
