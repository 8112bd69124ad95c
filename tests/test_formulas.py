"""Formulas are set when the book is built: MathML from TeX, with a font that has what they use."""

import sys

import pytest
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from notebooks import BOOK

sys.path.insert(0, str(BOOK / "_ext"))
import formulas  # noqa: E402


def test_a_formula_becomes_mathml():
    shown = BeautifulSoup(formulas.mathml(r"\frac{2\pi}{H_a}", True), "html.parser").math
    assert shown["display"] == "block"
    top, bottom = shown.mfrac.find_all(recursive=False)
    assert (top.get_text(), bottom.get_text()) == ("2π", "Ha")
    assert formulas.mathml(r"\eta", False) == "<math><mi>η</mi></math>"


def test_what_cannot_be_set_is_named():
    page = BeautifulSoup(r'<span class="math">\(\fraq{1}{2}\)</span>', "html.parser")
    (problem,) = formulas.typeset(page)
    assert r"\fraq{1}{2}" in problem


def test_a_page_keeps_its_equation_numbers():
    page = BeautifulSoup(
        '<div class="math" id="e"><span class="eqno">(3.1)<a href="#e">#</a></span>\\[a\\]</div>'
        '<span class="math">\\(b&lt;c\\)</span>',
        "html.parser",
    )
    assert formulas.typeset(page) == []
    page = BeautifulSoup(str(page), "html.parser")
    assert page.div.select_one(".eqno").get_text() == "(3.1)#"
    assert page.div.math.get_text() == "a" and page.span.find_next("math") is not None
    assert [m.get_text() for m in page.select("math")] == ["a", "b<c"]


def test_the_font_has_every_character_that_was_set(tmp_path):
    formulas.typeset(
        BeautifulSoup(r'<span class="math">\(L\'\le\mathcal A\)</span>', "html.parser")
    )
    formulas.cut_font(tmp_path / "math.woff")
    cut = TTFont(tmp_path / "math.woff")
    there = cut.getBestCmap()
    assert {ord(c) for c in "L′≤√"} | {0x1D43F, 0x1D49C} <= there.keys()
    assert "MATH" in cut and (tmp_path / "math.woff").stat().st_size < 80_000


def test_a_prime_sits_on_the_line_that_a_superscript_gives_it(tmp_path):
    formulas.cut_font(tmp_path / "math.woff")
    cut, whole = TTFont(tmp_path / "math.woff"), TTFont(formulas.VENDOR / formulas.FONT)

    def extent(font):
        glyph = font["glyf"][font.getBestCmap()[ord("′")]]
        return glyph.yMin / font["head"].unitsPerEm, glyph.yMax / font["head"].unitsPerEm

    assert extent(cut) == pytest.approx((0.13, 0.55), abs=0.01)
    assert extent(whole)[0] > 0.3  # as in running text: raised already
