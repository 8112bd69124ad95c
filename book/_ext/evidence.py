"""The role ``evidence``: a number of the ledger in a sentence, with a link to the row it is from.

``{evidence}`net-edge` `` is what was found about the claim ``net-edge``;
``{evidence}`net-edge:predicted` `` what was predicted. Nothing is typed: both come from the
executed notebooks, as the ledger itself does.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxRole

from ddt_utils.ledger import claims_in

BOOK = Path(__file__).resolve().parents[1]
SIDES = {"found": "measured", "predicted": "predicted", "exact": "exact", "verdict": "status"}


@lru_cache(maxsize=1)
def rows_of(notebooks: tuple[tuple[str, float], ...]) -> dict:
    """Every judged claim and its notebook, by key.

    Args:
        notebooks: paths, and when each was written, so that a changed one is read again.

    Returns:
        Pairs of a claim and the path of its notebook.
    """
    return {row.key: (row, path) for path, _ in notebooks for row in claims_in(Path(path))}


def told(rows: dict, text: str) -> tuple[str, str, str]:
    """What the role writes: the number, what stands behind it, and the claim's key.

    Args:
        rows: by key, as :func:`rows_of` returns them.
        text: of the role, ``KEY`` or ``KEY:SIDE``.

    Returns:
        The number, the claim's verdict and statement, and the key.

    Raises:
        ValueError: no such claim, no such side, or nothing on that side.
    """
    key, _, side = text.partition(":")
    if key not in rows:
        raise ValueError(f"no chapter judges the claim {key!r}; see book/claims.yml")
    if (side or "found") not in SIDES:
        raise ValueError(f"{text!r}: after the colon stands one of {', '.join(SIDES)}")
    row = rows[key][0]
    value = getattr(row, SIDES[side or "found"])
    if not side and not value:
        value = row.status  # a derived claim has no number
    if not value:
        raise ValueError(f"the claim {key!r} has nothing {side}")
    return value, f"{row.status}: {row.statement}", key


class Evidence(SphinxRole):
    """A number of the ledger that leads to its row."""

    def run(self):
        notebooks = sorted(BOOK.rglob("*.ipynb"))
        rows = rows_of(tuple((str(p), p.stat().st_mtime) for p in notebooks))
        try:
            value, behind, key = told(rows, self.text)
        except ValueError as error:
            message = self.inliner.reporter.error(str(error), line=self.lineno)
            return [], [message]
        self.env.note_dependency(rows[key][1])
        ledger = self.env.app.builder.get_relative_uri(self.env.docname, "book/ledger")
        link = nodes.reference(value, value, refuri=f"{ledger}#claim-{key}", classes=["evidence"])
        link["reftitle"] = behind
        return [link], []
