"""A sentence's evidence is the ledger's: its number, its verdict, its row."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "book" / "_ext"))
import evidence  # noqa: E402

ROWS = {
    "xx-found": (
        SimpleNamespace(
            measured="1.20 ± 0.04", predicted="1.25", exact="", status="measured", statement="A."
        ),
        "a.ipynb",
    ),
    "xx-derived": (
        SimpleNamespace(measured="", predicted="", exact="", status="derived", statement="B."),
        "a.ipynb",
    ),
}


def test_a_claim_tells_what_was_found_what_was_predicted_and_its_verdict():
    assert evidence.told(ROWS, "xx-found") == ("1.20 ± 0.04", "measured: A.", "xx-found")
    assert evidence.told(ROWS, "xx-found:predicted")[0] == "1.25"
    assert evidence.told(ROWS, "xx-found:verdict")[0] == "measured"
    assert evidence.told(ROWS, "xx-derived")[0] == "derived"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("xx-fuond", "no chapter judges"),
        ("xx-found:wish", "one of found"),
        ("xx-found:exact", "has nothing exact"),
        ("xx-derived:found", "has nothing found"),
    ],
)
def test_what_the_ledger_does_not_know_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        evidence.told(ROWS, text)


def test_every_evidence_on_the_pages_is_there():
    notebooks = sorted(evidence.BOOK.rglob("*.ipynb"))
    rows = evidence.rows_of(tuple((str(p), p.stat().st_mtime) for p in notebooks))
    used = [
        text
        for page in evidence.BOOK.rglob("*.md")
        for text in re.findall(r"\{evidence\}`([^`]+)`", page.read_text(encoding="utf-8"))
    ]
    assert used
    for text in used:
        assert evidence.told(rows, text)[0]
