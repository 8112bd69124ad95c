"""Code folds into lines that the cells tell; page and notebook must agree, cell by cell."""

import copy
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import folding  # noqa: E402
from plain_formulas import tex  # noqa: E402
from verbatim import parsed, text_of  # noqa: E402

from ddt_utils.ledger import MIME_TYPE  # noqa: E402

GLUE = "application/papermill.record/text/plain"


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def number(name, value):
    return {
        "output_type": "display_data",
        "data": {GLUE: repr(value)},
        "metadata": {"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
    }


def claim(key, status="simulated", **more):
    row = dict(key=key, statement="H_a is 4.", status=status, predicted="2", exact="",
               measured="2.1 ± 0.1", distance=-1.5, exact_distance=None, why="")  # fmt: skip
    return {"output_type": "display_data", "metadata": {}, "data": {MIME_TYPE: row | more}}


def cell(source, *outputs, tags=(), **metadata):
    metadata = {"tags": list(tags), **metadata} if tags else metadata
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": list(outputs)}


def box(source, output="", hidden=""):
    """A cell as MyST-NB writes it."""
    code = (
        '<div class="cell_input docutils container"><div class="highlight-python"><div class='
        f'"highlight"><pre><span></span><span class="n">{source}</span>\n</pre></div></div></div>'
    )
    if hidden:
        code = f'<details class="admonition hide {hidden}"><summary>Show</summary>{code}</details>'
    if output:
        output = f'<div class="cell_output docutils container">{output}</div>'
    return f'<div class="cell tag_asserts-eq-a docutils container">{code}{output}</div>\n'


def said(text):
    return f'<div class="output stream"><div class="highlight"><pre>{text}</pre></div></div>'


FIGURE = (
    '<figure id="fig-a"><svg></svg><figcaption><span class="caption-number">Fig. 3.1 </span>'
    "</figcaption></figure>"
)
EQUATION = (
    '<div class="math" id="equation-eq-a"><span class="eqno">(3.4)<a class="headerlink" '
    'href="#equation-eq-a">#</a></span>\\[a\\]</div>'
)
PROSE = '<p>It is <span class="pasted-text from-xx-tau">41</span>.</p>'
CELLS = [
    cell("import sys", tags=["remove-cell"]),
    cell("assert a == b  # eq-a", tags=["hide-input", "asserts-eq-a"]),
    cell("show(1)", stream("xx-tau = 41\n"), number("xx-tau", "41")),
    cell("rows = 1", stream("k1: simulated. H_a is 4.\n"), claim("k1")),
    cell("rows = 2", stream("k2: deviates. H_a is 4.\n"), claim("k2", "deviates", why="See -2.")),
]
BOXES = [
    box("assert a == b  # eq-a", hidden="above-input"),
    box("show(1)", said("xx-tau = 41\n") + FIGURE),
    box("rows = 1", said("k1: simulated. H_a is 4.\n")),
    box("rows = 2", said("k2: deviates. H_a is 4.\n")),
]
HEAD = '<div class="article-header-buttons"><button>theme</button></div>'


def folded(boxes=BOXES, cells=CELLS, before=EQUATION + PROSE):
    page = parsed(f"<html><body>{HEAD}<article>{before}{''.join(boxes)}</article></body></html>")
    return page, folding.Folder(page, {"cells": copy.deepcopy(cells)}, "../").fold()


# --- the order of cells


def test_a_page_that_shows_its_notebook_is_folded():
    page, wrong = folded()
    assert wrong == []
    assert [f["id"] for f in page.select("article details")] == [f"cell-{i}" for i in (1, 2, 3, 4)]
    assert page.select_one("#cell-2").find("pre") and "show(1)" in text_of(
        page.select_one("#cell-2")
    )


@pytest.mark.parametrize(
    ("boxes", "cells"),
    [
        (BOXES[1:], CELLS),  # one fewer on the page: every later cell slips
        (BOXES[:-1], CELLS),
        (BOXES, CELLS[:-1]),
        (BOXES, [CELLS[0], CELLS[0], *CELLS[2:]]),
        (BOXES, [CELLS[0], cell("import sys"), *CELLS[1:]]),
        ([BOXES[1], BOXES[0], *BOXES[2:]], CELLS),  # as many, in another order
        ([BOXES[0], box("show(2)"), *BOXES[2:]], CELLS),  # the page is older than the notebook
    ],
)
def test_a_page_that_slipped_is_refused_and_left_alone(boxes, cells):
    page, wrong = folded(boxes, cells)
    assert len(wrong) == 1 and "notebook" in wrong[0] and "build the page again" in wrong[0]
    assert page.select("details.code-fold") == []


def test_the_refusal_says_where_and_what():
    _, (told,) = folded([BOXES[0], box("show(2)"), *BOXES[2:]])
    assert "cell 2" in told and "'show(2)'" in told and "'show(1)'" in told


def test_a_page_is_held_against_the_notebook_of_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(folding, "ROOT", tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": CELLS}), encoding="utf-8")
    app = SimpleNamespace(outdir=str(tmp_path / "out"))
    page = parsed(f"<article>{''.join(BOXES[1:])}</article>")
    assert "of its notebook" in folding.fold(page, tmp_path / "out" / "a.html", app)[0]
    good = parsed(f"<article>{EQUATION}{''.join(BOXES)}</article>")
    assert folding.fold(good, tmp_path / "out" / "a.html", app) == []
    text = parsed('<article><span class="pasted-text from-a::xx-tau">41</span></article>')
    assert folding.fold(text, tmp_path / "out" / "other.html", app) == []  # of no notebook
    assert text.span["data-cell"] == "a.html#cell-2"


# --- what folds and what stays


def test_code_and_repeated_numbers_fold_and_a_figure_stays():
    page, _ = folded()
    fold = page.select_one("#cell-2")
    assert "xx-tau = 41" in text_of(fold) and fold.find("figure") is None
    inside = page.find("figure").find_parent("div", class_="cell")
    assert [e.get("class", [""])[0] for e in inside.find_all("div", recursive=False)] == [
        "cell_output",
        "fold",
    ]
    assert fold.find_next_sibling() is None


def test_the_old_togglers_are_gone():
    page, _ = folded()
    assert page.select("details.hide") == [] and len(page.select("summary")) == 4
    assert not any(c.startswith("tag_asserts") for b in page.select(".cell") for c in b["class"])


PROGRAM = ["a = f(x)", "b = 2", "c = 3"]
LISTING = ["B  found", "1  0.25", "2  0.50"]
SIGMAS = [
    "1  41.5 +0.9 standard errors",
    "2  65.9 -0.4 standard errors",
    "3  9 +0.1 standard errors",
]


@pytest.mark.parametrize(
    ("lines", "made", "stays"),
    [
        (["xx-a = 1"], cell("", number("xx-a", "1")), []),
        (["xx-a = 1"], cell(""), []),  # one line that checks something
        (["xx-a = 1", *LISTING], cell("", number("xx-a", "1")), LISTING),
        ([*LISTING[:2], "xx-a = 1", LISTING[2], ""], cell("", number("xx-a", "1")), LISTING),
        (PROGRAM, cell("", number("xx-a", "1")), PROGRAM),
        (LISTING, cell("", tags=["hide-output"]), []),
        (LISTING[:1], cell("", tags=["keep-output"]), LISTING[:1]),
        (["xx-a = 1"], cell("", number("xx-a", "1"), tags=["keep-output"]), []),
        (LISTING, cell("", mystnb={"figure": {"name": "fig-a"}}), []),
        (SIGMAS, cell(""), []),
        (["k: derived. It holds."], cell("", claim("k", "derived")), []),
        (["k: derived. It holds.", *LISTING], cell("", claim("k", "derived")), LISTING),
    ],
)  # fmt: skip
def test_what_is_printed_is_sorted_by_what_it_says(lines, made, stays):
    inside, outside = folding.printed(lines, made)
    assert outside == stays
    assert sorted(filter(None, inside + outside)) == sorted(filter(None, lines))  # nothing is lost


def test_a_warning_and_a_traceback_stay():
    output = '<div class="output stderr">careful</div><div class="output traceback">Error</div>'
    page, _ = folded([box("f()", said("one\n") + output)], [cell("f()")])
    assert "careful" not in text_of(page.select_one("#cell-1"))
    assert "Error" not in text_of(page.select_one("#cell-1"))
    assert "one" in text_of(page.select_one("#cell-1"))
    assert {"careful", "Error"} <= set(text_of(page.select_one(".cell_output")).split("\n")) or (
        "carefulError" in text_of(page.select_one("article"))
    )


def test_a_cell_that_its_author_hid_folds_with_all_that_it_shows():
    hidden = box("f()", said("a\nb\nc\n") + FIGURE)
    wrapped = '<details class="hide above-input"><summary></summary><div class="cell_input'
    hidden = hidden.replace('<div class="cell_input', wrapped, 1)
    hidden = hidden.replace("</div>\n", "</details></div>\n")
    page, wrong = folded([hidden], [cell("f()", tags=["hide-cell"])])
    assert wrong == [] and page.select_one("#cell-1 figure") is not None


def test_a_listing_knows_its_width():
    page, _ = folded([box("f()", said("a\nbb  1234\nc\n"))], [cell("f()")])
    assert page.select_one("div.cell > .cell_output pre")["style"] == "--columns: 8"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["B  found", "1   0.25", "2   0.50"],
            ("", ["B", "found"], [["1", "0.25"], ["2", "0.50"]]),
        ),
        (
            [
                "a long one    law     walkers",
                "       2.0   41.0  41.5 ± 0.5",
                "       4.0  -66.3  65.9 ± 0.8",
            ],
            ("", ["a long one", "law", "walkers"],
             [["2.0", "41.0", "41.5 ± 0.5"], ["4.0", "-66.3", "65.9 ± 0.8"]]),
        ),
        (
            ["of both", "sharp   4  88.1 12345.6", "flat   10   9.9     1.0"],
            ("of both", [], [["sharp", "4", "88.1", "12345.6"], ["flat", "10", "9.9", "1.0"]]),
        ),
        (["B = 1: C = 2, D = 3", "B = 2: C = 4, D = 5", "B = 3: C = 4, D = 5"], None),
        (["      by heart    by rule", "0  1.16 1.42  1.18 1.69", "4  1.00 1.10  1.01 1.24"], None),
        (["a  1  2", "   3  4"], None),
        (["x = f(y)", "y = g(z)  # why", "z = 3"], None),
    ],
)  # fmt: skip
def test_an_even_table_is_typeset_and_another_is_left_as_it_is(lines, told):
    assert folding.table_of(lines) == told


def test_a_typeset_table_has_its_heads_and_minus_signs():
    lines = "B  found  way\n1   -0.25    3\n2    0.50    4\n"
    page, _ = folded([box("f()", said(lines))], [cell("f()")])
    table = page.select_one("div.cell > .cell_output table.printed")
    assert [h.get_text() for h in table.select("th")] == ["B", "found", "way"]
    assert [c.get_text() for c in table.select("td")] == ["1", "−0.25", "3", "2", "0.50", "4"]
    assert all(c["class"] == ["number"] for c in table.select("td"))


# --- what a line says


@pytest.mark.parametrize(
    ("source", "more", "told"),
    [
        ("# the noise of one step\nx = 1", {}, "the noise of one step"),
        ("# a first line\n# and a second.\nx = 1", {}, "a first line and a second"),
        ("# The noise of one step\nx = 1", {}, "the noise of one step"),
        ("# Fick's law beside Ito's\nx = 1", {}, "Fick's law beside Ito's"),
        ("# SGD and its diffusion\nx = 1", {}, "SGD and its diffusion"),
        ("# we count\nassert x", {"asserts": True}, "we count · asserts"),
        ("assert x == 1", {"asserts": True}, "asserts"),
        ("x = 1  # not at the start", {}, "sets x"),
        ("import numpy as np\nfrom a import b\nfigures.use_style()", {}, "imports"),
        ("def f():\n    assert g(1)\ndef g(x):\n    return x", {}, "defines f, g"),
        ('def f():\n    """Mean steps, given q."""\n    x = 1', {}, "mean steps, given q"),
        ('def f():\n    """B, and ln τ.\n\n    More."""\nx = 2', {}, "B, and ln τ"),
        ('def f():\n    """A."""\ndef g():\n    """B."""', {}, "defines f, g"),
        ("a, b = 1, 2\nc = d = 3\ne = 4", {}, "sets a, b, c and 2 more"),
        ("theory.kramers_time(well, 0.1)", {}, "predicts"),
        ("simulate.first_passage(w, walkers=40_000)", {}, "measures: 40,000 walkers"),
        ("simulate.ensemble(w, walkers=1)", {}, "measures: 1 walker"),
        ("simulate.ensemble(w, walkers=2 * 50)", {}, "measures: 100 walkers"),
        ("simulate.ensemble(w, walkers=n)", {}, "measures"),
        (
            "a = simulate.ensemble(w, walkers=20)\nb = simulate.ensemble(w, walkers=30_000)",
            {},
            "measures: 20 to 30,000 walkers",
        ),
        ("linear_fit(x, y)\nassert simulate.first_passage(w)", {}, "checks · measures"),
        ("plt.show()", {"figures": ["Fig. 3.1"]}, "draws Fig. 3.1"),
        ("theory.rate(1)\nplt.show()", {"figures": ["Fig. 3.1"]}, "predicts · draws Fig. 3.1"),
        ("rows = [ledger.claim(), exact.f()]", {"claims": 2}, "judges 2 claims"),
        ("ledger.claim()", {"claims": 1}, "judges the claim"),
        (
            "ledger.number('xx-a-b', 1)",
            {"glued": ["xx-a-b", "xx-c"]},
            "computes 2 numbers of the text",
        ),
        ("assert x", {"glued": ["xx-a"]}, "checks · computes 1 number of the text"),
        ("print(x)", {}, "shows"),
        ("%matplotlib inline", {}, "shows"),
    ],
)
def test_a_line_is_told_from_the_cell(source, more, told):
    assert folding.Reader().line(source, **more) == told


def test_a_line_knows_what_earlier_cells_defined():
    reader = folding.Reader()
    reader.line("crowd = 4_000")
    reader.line("def run(d):\n    return simulate.first_passage(well, walkers=crowd)")
    assert reader.line("times = run(0.1)") == "measures: 4000 walkers"
    assert folding.Reader().line("times = run(0.1)") == "sets times"


# --- links


def test_from_a_step_to_its_assertion_and_back():
    page, _ = folded()
    there = page.select_one("#equation-eq-a a.asserted")
    assert there["href"] == "#cell-1" and "(3.4)" in there["aria-label"]
    back = page.select_one("#cell-1").find_next_sibling(class_="fold-steps").a
    assert (back["href"], back.get_text()) == ("#equation-eq-a", "(3.4)")
    assert page.select_one("#cell-1 > summary > .tick") is not None
    assert page.select_one("#cell-2 > summary > .tick") is None
    assert page.select_one("#cell-1 > summary a") is None  # nothing to press within the line


def test_an_assertion_of_no_equation_is_told():
    _, (told,) = folded(before=PROSE)
    assert "asserts eq-a, but no equation" in told


def test_a_number_leads_to_the_cell_that_computed_it_and_is_no_link_in_the_way():
    page, _ = folded()
    there = page.select_one("p > .pasted-text")
    assert there["data-cell"] == "#cell-2" and there["class"] == ["pasted-text"]
    assert there.name == "span" and not there.has_attr("tabindex")


def test_a_number_of_another_page_leads_there():
    page = parsed('<article><span class="pasted-text from-book/b::xx-a">1</span></article>')
    folder = folding.Folder(page, {"cells": []}, elsewhere=lambda name: f"b.html#cell-9 {name}")
    assert folder.fold() == []
    assert page.span["data-cell"] == "b.html#cell-9 book/b::xx-a"


def test_an_unknown_number_stays_a_number():
    page, wrong = folded(before=EQUATION + PROSE.replace("xx-tau", "xx-none"))
    assert wrong == [] and not page.select_one("p > .pasted-text").has_attr("data-cell")


def test_the_place_of_a_number_counts_the_cells_that_are_shown(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": CELLS}), encoding="utf-8")
    assert folding.places(path) == {"xx-tau": "#cell-2"}


# --- verdicts


def test_verdicts_of_cells_side_by_side_are_one_table():
    page, _ = folded()
    (table,) = page.select("table.verdicts")
    assert [row["id"] for row in table.select("tbody tr")] == ["verdict-k1", "verdict-k2"]
    assert [head.get_text() for head in table.select("th")] == [
        "claim",
        "theory",
        "found",
        "verdict",
    ]
    first, second = table.select("tbody tr")
    cells = [cell.get_text() for cell in first.select("td")]
    space = "\N{NO-BREAK SPACE}"
    assert cells[1:] == [f"2 −1.5{space}s.e.", f"2.1{space}±{space}0.1", "simulated"]
    assert first.select_one(".math").get_text() == rf"\({tex('H_a')}\)"
    assert first.select_one("a.verdict")["href"] == "../ledger.html#claim-k1"
    assert second.select_one(".why").get_text() == "See −2."
    assert second.select_one("a")["class"] == ["verdict", "deviates"]
    assert "k1: simulated" in text_of(page.select_one("#cell-3"))  # what the cell printed


def test_text_between_verdicts_makes_them_two_tables():
    boxes = [*BOXES[:3], "<p>And then.</p>", BOXES[3]]
    page, wrong = folded(boxes)
    assert wrong == [] and len(page.select("table.verdicts")) == 2


def test_an_exact_solution_has_a_column_where_there_is_one():
    cells = [cell("x", claim("k", exact="3", exact_distance=0.24))]
    page, _ = folded([box("x")], cells)
    assert [h.get_text() for h in page.select("th")] == [
        "claim",
        "theory",
        "exact",
        "found",
        "verdict",
    ]
    assert page.select("td")[2].get_text() == "3 +0.2\N{NO-BREAK SPACE}s.e."


def test_the_ledger_leads_to_the_verdicts():
    page = parsed(
        '<table><tr id="claim-k1"><td><a class="verdict" href="a.html">derived</a></td></tr>'
        '<tr><td><a class="verdict" href="b.html">derived</a></td></tr></table>'
    )
    folding.to_the_cells(page)
    assert [a["href"] for a in page.select("a")] == ["a.html#verdict-k1", "b.html"]


# --- the page


def test_a_page_with_code_has_a_switch_and_one_without_has_none():
    page, _ = folded()
    switch = page.select_one(".article-header-buttons > button")
    assert switch["aria-pressed"] == "false" and switch["class"][-1] == "code-switch"
    page, wrong = folded([], [], "<p>No code.</p>")
    assert wrong == [] and page.select_one(".code-switch") is None and page.select("script") == []


# --- in a browser


@pytest.fixture
def reading(browser, tmp_path):
    """A folded page in a narrow window, far above its cells; the file behind it."""
    long = "f(" + "a_long_name, " * 20 + ")"
    boxes = [BOXES[0], box(long + "\nif x:\n    indented()", said("xx-tau = 41\n")), *BOXES[2:]]
    cells = [*CELLS[:2], cell(long + "\nif x:\n    indented()", *CELLS[2]["outputs"]), *CELLS[3:]]
    space = '<p style="height: 3000px">long</p><input>'
    page, wrong = folded(boxes, cells, EQUATION + PROSE + space)
    assert wrong == []
    static = (ROOT / "book" / "_static").as_uri()
    head = "".join(
        f'<link rel="stylesheet" href="{static}/{name}.css">' for name in ("escape", "folding")
    )
    scripts = "".join(
        f'<script src="{static}/{name}.js"></script>' for name in ("formulas", "folding")
    )
    file = tmp_path / "page.html"
    file.write_text(
        f"<!doctype html><html><head>{head}{scripts}</head>{page.body}</html>", encoding="utf-8"
    )
    context = browser.new_context(viewport={"width": 390, "height": 844})
    tab = context.new_page()
    tab.address = file.as_uri()
    tab.goto(tab.address)
    yield tab
    context.close()


def opened(tab):
    return tab.evaluate("[...document.querySelectorAll('details')].map(d => Number(d.open))")


def test_one_key_and_one_switch_show_all_code_and_are_remembered(reading):
    switch = reading.locator(".code-switch")
    assert opened(reading) == [0, 0, 0, 0]
    reading.keyboard.press("c")
    assert opened(reading) == [1, 1, 1, 1]
    assert switch.get_attribute("aria-pressed") == "true"
    assert reading.locator("[role=status]").text_content() == "All code is shown"
    reading.reload()
    assert opened(reading) == [1, 1, 1, 1] and switch.get_attribute("aria-pressed") == "true"
    switch.click()
    assert opened(reading) == [0, 0, 0, 0] and switch.get_attribute("aria-pressed") == "false"
    reading.reload()
    assert opened(reading) == [0, 0, 0, 0]


def test_the_key_does_not_disturb_typing_or_copying(reading):
    reading.locator("input").press("c")
    reading.locator("body").press("Control+c")
    assert opened(reading) == [0, 0, 0, 0]
    assert reading.locator("input").input_value() == "c"


def test_a_number_leads_to_its_cell_and_back_brings_the_reader_back(reading):
    reading.locator("p > .pasted-text").click()
    assert opened(reading) == [0, 1, 0, 0] and reading.evaluate("scrollY") > 2000
    reading.go_back()
    reading.wait_for_function("scrollY < 1000")


def test_numbers_are_links_for_the_keyboard_while_the_code_is_shown(reading):
    number = reading.locator("p > .pasted-text")
    assert number.get_attribute("role") is None
    reading.keyboard.press("c")
    assert (number.get_attribute("role"), number.get_attribute("tabindex")) == ("link", "0")
    number.press("Enter")
    assert reading.evaluate("location.hash") == "#cell-2"


def test_a_step_leads_to_its_assertion_and_an_address_opens_its_fold(reading):
    reading.locator("a.asserted").click()
    assert opened(reading) == [1, 0, 0, 0]
    reading.goto("about:blank")
    reading.goto(reading.address + "#cell-3")
    assert opened(reading) == [0, 0, 1, 0]


def test_code_keeps_its_lines_on_a_phone_and_scrolls_in_its_block(reading):
    reading.keyboard.press("c")
    reading.wait_for_timeout(100)
    style, wide, tab, overflow = reading.evaluate(
        """() => {
          const pre = document.querySelector('#cell-2 .cell_input pre');
          return [getComputedStyle(pre).whiteSpace, pre.scrollWidth > pre.clientWidth, pre.tabIndex,
            document.documentElement.scrollWidth - innerWidth];
        }"""
    )
    assert (style, wide, tab) == ("pre", True, 0) and overflow <= 0


def test_what_is_folded_is_printed_folded(reading):
    reading.locator("#cell-2 summary").click()
    reading.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened(reading) == [0, 1, 0, 0]


def test_without_a_script_everything_can_be_read(browser, reading):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(reading.address)
    assert not tab.locator(".code-switch").is_visible()
    assert not tab.locator("#cell-2 pre").first.is_visible()
    tab.locator("#cell-2 summary").click()
    assert tab.locator("#cell-2 pre").first.is_visible()
    context.close()
