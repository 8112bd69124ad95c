"""The tables of the book, as Markdown and as they reach a phone."""

import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from ddt_utils.ledger import Claim

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "book" / "_ext"))
import ddt_pages  # noqa: E402
import tables  # noqa: E402

PARTS = [
    {
        "part": "Part one",
        "claims": {
            "a": {"origin": "paper", "claim": "It is 2|x|."},
            "b": {"origin": "folklore", "claim": "Flat is good."},
        },
    },
    {"part": "Part two", "claims": {"c": {"origin": "paper", "claim": "It falls."}}},
]
FOUND = {
    "a": (
        Claim(
            key="a",
            statement="A *star*.",
            status="in the limit",
            predicted=".6667",
            exact=".6240",
            measured=".6241 ± .0014",
            distance=-30.4,
            exact_distance=0.1,
            why="No run is there.",
        ),
        "/book/part/page",
    ),
    "c": (Claim("c", "By SymPy.", "derived"), "/book/part/other"),
}


@pytest.fixture
def lines():
    return tables.LedgerTable.written(tables.LedgerTable.__new__(tables.LedgerTable), PARTS, FOUND)


def test_the_ledger_counts_verdicts_by_who_makes_the_claim(lines):
    assert lines[:3] == [
        "* Of the paper, 2: 1 derived, 1 in the limit.",
        "* Of folklore, 1: 1 open.",
        "* Of the book, 0: .",
    ]


def test_a_row_keeps_theory_exact_solution_and_finding_apart(lines):
    (row,) = [line for line in lines if "2\\|x\\|" in line]
    assert row == (
        r"| It is 2\|x\|. [the paper]{.origin .paper} | .6667 [−30.4 s.e.]{.apart} "
        r"| .6240 [+0.1 s.e.]{.apart} | .6241 ± .0014. A \*star\*. *No run is there.* "
        r"| [in the limit](/book/part/page){.verdict .in-the-limit} |"
    )


def test_a_claim_that_nobody_tried_is_open_and_a_derivation_has_no_numbers(lines):
    assert "| Flat is good. [folklore]{.origin .folklore} |  |  |  | [open]{.open-claim} |" in lines
    (row,) = [line for line in lines if "It falls" in line]
    assert row.endswith("|  |  | By SymPy. | [derived](/book/part/other){.verdict .derived} |")


def test_every_cell_of_a_card_says_its_column_and_stays_a_cell():
    page = BeautifulSoup(
        "<div class='ledger'><table><thead><tr><th>claim</th><th>found  it</th></tr></thead>"
        "<tbody><tr><td>One.</td><td>2</td></tr></tbody></table></div><table><tr><td>3</td></tr>"
        "</table>",
        "html.parser",
    )
    ddt_pages.accessible(page)
    first, second, other = page.select("td")
    assert (first["data-label"], second["data-label"]) == ("claim", "found  it")
    assert (first["role"], second["role"], other.get("role")) == ("cell", "cell", None)
    assert [e["role"] for e in page.select("div.ledger table, div.ledger tr")] == [
        "table",
        "row",
        "row",
    ]
    assert [e["role"] for e in page.select("thead, tbody")] == ["rowgroup", "rowgroup"]
