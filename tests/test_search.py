"""The search page: sections from document trees, ranked by the script that the page runs."""

import gzip
import json
import sys
from pathlib import Path

import pytest
import yaml
from docutils import nodes
from docutils.utils import new_document

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import searching  # noqa: E402

BUILT = ROOT / "_build" / "html" / "_static" / "search-sections.js"
DEFINED = yaml.safe_load(searching.DEFINED.read_text(encoding="utf-8"))


def engine(book):
    racer = pytest.importorskip("py_mini_racer").MiniRacer()
    racer.eval(book)
    racer.eval((ROOT / "book" / "_static" / "search.js").read_text(encoding="utf-8"))
    return racer


def asked(racer, query):
    """Page, anchor and title of what is found, in order."""
    found = racer.eval(
        f"JSON.stringify(BookSearch.find(BOOK, {json.dumps(query)}).map(function (hit) {{"
        "var s = BOOK.sections[hit.index]; return [BOOK.pages[s[0]][0], s[1], s[2]]; }))"
    )
    return json.loads(found)


FOUND = {
    "book/a/one": [
        ["", "Saddles", "Where two valleys meet.", [], "chapter"],
        ["rates", "Rates", "A saddle is crossed at a rate.", [], "chapter"],
    ],
    "book/a/two": [
        ["", "Noise", "Of minima, one is flat. Rates do not matter.", [], "chapter"],
        ["far", "Far away", "A *pass* of Müller's: the minimum, flat.", ["pass"], "chapter"],
        ["pass", "Once more", "A pass that is passed in passing. Pass.", [], "chapter"],
    ],
    "book/api/x": [["x.saddle", "x.saddle", "Saddle saddle saddle.", [], "name"]],
}
SMALL, TEXTS = searching.index(
    FOUND, {"book/a/one": "Saddles", "book/a/two": "Noise", "book/api/x": "x"}
)
SMALL["defined"] = {"Flat minima": "book/a/two"}


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("saddle", "Saddles"),  # a title in the plural, before the module's name
        ("rates saddle", "Rates"),  # all words before one of them
        ("flat minima", "Noise"),  # the page that defines it
        ("pass", "Far away"),  # where it is set in italics
        ("muller", "Far away"),  # no accents asked
    ],
)
def test_a_query_finds_its_section_first(query, first):
    assert asked(engine(f"var BOOK = {json.dumps(SMALL)};"), query)[0][2] == first


def test_a_line_of_the_index_says_where_a_word_stands_and_how_often():
    lines = dict(line.split(" ", 1) for line in SMALL["words"].split("\n"))
    assert lines["saddle"] == "2 4.3"  # in the second section once, in the sixth three times
    assert lines["pass"] == "4 1.2" and lines["muller"] == "4"
    assert TEXTS[3] == "A *pass* of Müller's: the minimum, flat."
    many = searching.postings(["noise and 12"] * 3 + ["a flat noise"] * 9)
    assert "noise" not in many and "12" not in many  # everywhere, and no word
    assert "\nand 1 1 1" in "\n" + many


def test_words_are_the_same_where_they_are_counted_and_where_they_are_asked_for():
    text = "Müller’s criteria, minima: valleys; theories ties bus gas passes D₂ η/B θ-ss 2.5"
    if BUILT.is_file():
        folder = BUILT.parent / "search"
        text += " ".join(p.read_text(encoding="utf-8") for p in sorted(folder.glob("*7.js")))
    racer = engine("var BOOK = {};")
    assert searching.words(text) == json.loads(
        racer.eval(f"JSON.stringify(BookSearch.words({json.dumps(text)}))")
    )


def test_nothing_is_found_for_nothing_and_for_what_is_not_there():
    racer = engine(f"var BOOK = {json.dumps(SMALL)};")
    assert asked(racer, "") == asked(racer, "-- ?") == asked(racer, "zebra") == []


def test_an_excerpt_shows_the_word_asked_for():
    racer = engine("var BOOK = {};")
    text = "One " * 60 + "saddles are passed " + "two " * 80
    pieces = json.loads(racer.eval(f"JSON.stringify(BookSearch.excerpt({text!r}, 'saddle'))"))
    assert [p for p, is_asked in pieces if is_asked] == ["saddles"]
    assert pieces[0][0] == "… " and pieces[-1][0] == " …" and len(pieces) < 80


def test_sections_are_read_without_code_and_formulas():
    inner = nodes.section("", nodes.title("", "Inner"), nodes.paragraph("", "Deep."), ids=["inner"])
    told = nodes.paragraph(
        "", "", nodes.emphasis("", "Toll"), nodes.Text(" is "), nodes.math("", "x")
    )
    theorem = nodes.section("", nodes.paragraph("", "It holds."))
    top = nodes.section("", nodes.title("", "Top"), told, theorem, inner, ids=["top"])
    top += nodes.literal_block("", "print()")
    tree = new_document("")
    tree += top
    assert searching.sections(tree, "book/part/page") == [
        ["", "Top", "Toll is … It holds.", ["Toll"], "chapter"],
        ["inner", "Inner", "Deep.", [], "chapter"],
    ]


def test_every_page_that_defines_a_word_exists():
    for page in DEFINED.values():
        assert (ROOT / "book" / f"{page}.md").is_file(), page


@pytest.mark.skipif(not BUILT.is_file(), reason="the book is not built")
def test_the_book_s_words_land_where_they_are_defined():
    text = BUILT.read_text(encoding="utf-8")
    assert len(gzip.compress(text.encode())) < 110_000  # with its page below 300 kB
    racer = engine(text)
    for word, page in DEFINED.items():
        assert asked(racer, word)[0][0] == f"book/{page}", word
    titles = {title for page, anchor, title in asked(racer, "committor") if anchor}
    assert titles  # sections, and not pages alone
