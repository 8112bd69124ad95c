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


def shown(tex, display=False):
    return formulas.mathml(tex, display)


def space_before(tex, name):
    """Is there a thin space before the name of a function?"""
    before = BeautifulSoup(shown(tex), "html.parser").find("mi", string=name)
    before = before.previous_sibling
    return before is not None and before.name == "mspace"


@pytest.mark.parametrize(
    ("tex", "name", "there"),
    [
        (r"v_j\tanh(x)", "tanh", True),
        (r"\frac12\operatorname{erfc}z", "erfc", True),
        (r"f(x)\sin y", "sin", True),
        (r"\sqrt3\cos y", "cos", True),
        (r"v\tanh x", "tanh", True),
        (r"|\det H|", "det", False),
        (r"1/\ln x", "ln", False),
        (r"-\log x", "log", False),
        (r"(\ln x)", "ln", False),
    ],
)
def test_the_name_of_a_function_stands_apart_from_a_factor_and_close_to_a_bar(tex, name, there):
    assert space_before(tex, name) == there


def test_a_list_of_numbers_is_no_large_number_and_a_large_one_is_grouped_as_in_the_text():
    page = BeautifulSoup(shown(r"B=2,3,14"), "html.parser")
    assert [n.get_text() for n in page.select("mn")] == ["2", "3", "14"]
    assert [n.get_text() for n in page.select("mo[separator]")] == [",", ","]
    below = BeautifulSoup(shown(r"x_{0,7}"), "html.parser").msub
    assert len(below.find_all(recursive=False)) == 2
    for tex in (r"m=1,265", r"m=20\,000", r"m=7\,006\,491"):
        (number,) = BeautifulSoup(shown(tex), "html.parser").select("mn")
        assert number.get_text() == tex[2:].replace(r"\,", ",")


def test_a_formula_in_a_line_has_no_space_of_its_own_at_its_ends():
    assert '<mo rspace="0em">=</mo>' in shown("B=") and "rspace" not in shown("B=3")
    assert '<mo rspace="0em">×</mo>' in shown(r"t=\eta\times")
    assert shown(r"\propto y").startswith('<math><mrow><mo lspace="0em">∝')
    assert '<mo lspace="0em" movablelimits="false">∫' in shown(r"\int_3^z y\,dy")
    assert "mspace" not in shown(r"-\log") and "mspace" in shown(r"-\log x")
    assert "space=" not in shown(r"\propto y=", True)  # on lines of its own all is as it was
