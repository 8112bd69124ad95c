"""The tables of the book, as Markdown and as they reach a phone."""

import re
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from ddt_utils.ledger import Claim

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "book" / "_ext"))
import claims  # noqa: E402
import ddt_pages  # noqa: E402
import formulas  # noqa: E402
import plain_formulas  # noqa: E402
from verbatim import Verbatim, parsed  # noqa: E402

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


def lines():
    return [
        claims.row(claim, *FOUND.get(key, (None, None)))
        for part in PARTS
        for key, claim in part["claims"].items()
    ]


def test_the_tally_counts_verdicts_by_who_makes_the_claim():
    table = claims.tally(PARTS, FOUND)
    assert table[0] == "| verdict | the paper | folklore | the book | all |"
    assert "| [derived]{.tallied} | 1 | – | – | 1 |" in table
    assert "| [open]{.tallied} | – | 1 | – | 1 |" in table
    assert table[-1] == "| all | 2 | 1 | 0 | 3 |"


def test_a_row_keeps_theory_exact_solution_and_finding_apart():
    assert lines()[0] == (
        r"| It is $2\vert x\vert$. [the paper]{.origin .paper} | .6667 [−30.4 s.e.]{.apart} "
        r"| .6240 [+0.1 s.e.]{.apart} | .6241 ± .0014. A \*star\*. *No run is there.* "
        r"| [in the limit](/book/part/page){.verdict .in-the-limit} |"
    )


def test_a_claim_that_nobody_tried_is_open_and_a_derivation_has_no_numbers():
    assert (
        lines()[1]
        == "| Flat is good. [folklore]{.origin .folklore} |  |  |  | [open]{.open-claim} |"
    )
    assert lines()[2].endswith(
        "|  |  | By SymPy. | [derived](/book/part/other){.verdict .derived} |"
    )


def test_every_formula_of_the_ledger_can_be_set():
    told = [claim["claim"] for part in claims.listed() for claim in part["claims"].values()]
    told += [text for row, _ in claims.judged().values() for text in (row.statement, row.why)]
    tex = {t for text in told for t in re.findall(r"\$([^$]*)\$", claims.written(text))}
    assert len(tex) > 100
    for formula in tex:
        formulas.mathml(formula, False)  # raises if it cannot


@pytest.mark.parametrize(
    ("text", "set_"),
    [
        ("A walk in E, by Wu, Ma and E (2018): SGD.", "A walk in E, by Wu, Ma and E (2018): SGD."),
        ("over η/4 (s = 0.8 read off)", r"over $\eta /4$ ($s = 0.8$ read off)"),
        ("at L(a) − L″(b)/2, 17 ± 2 percent", "at $L(a) - L''(b)/2$, 17 ± 2 percent"),
        ("the Müller–Brown map, log–log axes", "the Müller–Brown map, log–log axes"),
        ("as √(2πB*)^(α − 1)", r"as $\sqrt{2\pi B^*}^{\alpha - 1}$"),
        ("ln(flat : sharp), exp of a sum", "ln(flat : sharp), exp of a sum"),
        ("with η = 1.5, σ_H = 0.2: steps", r"with $\eta = 1.5$, $\sigma _{H} = 0.2$: steps"),
    ],
)
def test_a_word_is_no_product_of_letters(text, set_):
    assert plain_formulas.with_formulas(text) == set_


def test_every_cell_of_a_card_says_its_column_and_stays_a_cell():
    page = BeautifulSoup(
        "<div class='ledger'><table><thead><tr><th>claim</th><th>found  it</th></tr></thead>"
        "<tbody><tr><td>One.</td><td>2</td></tr></tbody></table></div><table><tr><td>3</td></tr>"
        "</table>",
        "html.parser",
    )
    ddt_pages.accessible(page)
    first, second, other = page.select("td")
    assert (first["data-label"], second["data-label"]) == ("claim", "found it")
    assert (first["role"], second["role"], other.get("role")) == ("cell", "cell", None)
    assert [e["role"] for e in page.select("div.ledger table, div.ledger tr")] == [
        "table",
        "row",
        "row",
    ]
    assert [e["role"] for e in page.select("thead, tbody")] == ["rowgroup", "rowgroup"]


def table(*rows):
    cells = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    text = f"<table><thead>{cells[0]}</thead><tbody>{''.join(cells[1:])}</tbody></table>"
    return BeautifulSoup(text, "html.parser").table


WORDS = ["L", "the loss, averaged over the data, of which there are many", "[L]", "(1.1)"]


@pytest.mark.parametrize(
    ("rows", "kinds"),
    [
        ([["", "B", "found"], ["a", "0.50", "0.51"]], []),
        ([["symbol", "meaning", "scale", "first"], WORDS], ["entries"]),
        ([["dial", "law", "found"], ["B", "0.48469\u00a0±\u00a00.00096", "2.5"]], []),
        (
            [["", "sharp", "flat", "both"], ["walkers"] + ["0.04158\u00a0±\u00a00.00098"] * 3],
            ["entries", "lines"],
        ),
        (
            [
                ["if you", "read", "takes"],
                ["haven’t-much-time", "extraordinary" * 2 + " page" * 9, "5"],
            ],
            ["entries"],
        ),
        ([["one", "two"], ["a " * 90, "b " * 90]], []),
        ([["one", "two", "three"], ["a", "b"]], []),
    ],
)
def test_a_phone_shows_a_wide_table_as_entries(rows, kinds):
    assert ddt_pages.for_a_phone(table(*rows)) == kinds


def test_the_name_of_a_column_with_a_formula_is_drawn_in_its_cells():
    page = parsed(
        "<article><table><thead><tr><th>n</th><th><p>slope in <i class='math'></i></p></th>"
        "<th>p</th></tr></thead><tbody><tr><td>3</td><td>0.7</td><td>5</td></tr></tbody></table>"
        "</article>"
    )
    page.i.append(Verbatim("<math><msub><mi>r</mi><mi>b</mi></msub></math>"))
    ddt_pages.as_cards(page.table)
    first, second, third = page.select("td")
    assert "labelled" in second["class"] and not first.get("class") and not third.get("class")
    label = second.find("span", class_="card-label")
    assert str(label).count("<msub><mi>r</mi><mi>b</mi></msub>") == 1
    assert label.get_text().startswith("slope in ") and second.get_text().endswith("0.7")
    assert "<msub>" in str(page.thead)  # the head keeps its own
