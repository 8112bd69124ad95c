"""Small typography: what is put right on a built page, and what is left alone."""

import sys
import types

import pytest
from bs4 import BeautifulSoup
from notebooks import BOOK

sys.path.insert(0, str(BOOK / "_ext"))
import tidy  # noqa: E402
from verbatim import Verbatim, parsed  # noqa: E402


def mended(markup):
    """What becomes of this paragraph; F is a formula, R one that ends in a relation."""
    page = parsed(f"<article><p>{markup}</p></article>")
    for name in ("f", "r"):
        for place in page.find_all(name):
            place.name, place["class"] = "span", ["math"]
            place.append(Verbatim("<math><mi>D</mi></math>" if name == "f" else "<math>=</math>"))
    tidy.tidy(page, page.article)
    text = str(page.p)[3:-4]
    text = text.replace('<span class="math"><math><mi>D</mi></math></span>', "F")
    return text.replace('<span class="math"><math>=</math></span>', "R")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("of <f></f>, and", "of [F,] and"),
        ("(<f></f>) is", "[(F)] is"),
        ("the <f></f>th and <f></f>’s", "the [Fth] and [F’s]"),
        ("an <f></f>-fold", "an [F-]fold"),
        ("<f></f>).", "[F).]"),
        ("<f></f> and", "F and"),
        ("<f></f><f></f>", "FF"),
    ],
)
def test_punctuation_stays_with_its_formula(before, after):
    box = '<span class="together">'
    assert mended(before) == after.replace("[", box).replace("]", "</span>")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("-0.53", "−0.53"),
        ("10000", "10,000"),
        ("7690000 ± 18800", "7,690,000\u00a0±\u00a018,800"),
        ("52000.25", "52,000.25"),
        ("1234", "1234"),
        ("0.123456", "0.123456"),
        ("10,000", "10,000"),
        ("a5-27", "a5-27"),
        ("2-3", "2-3"),
        ("2.3e-04", "2.3\u00a0×\u00a010⁻⁴"),
        ("-5e+12 ± 3", "−5\u00a0×\u00a010¹²\u00a0±\u00a03"),
        ("2·10¹⁰ or 3 · 10⁻⁴", "2\u00a0×\u00a010¹⁰ or 3\u00a0×\u00a010⁻⁴"),
        ("size3e-5 12.5e-3", "size3e-5 12.5e-3"),
        ("(-2, -.5)", "(−2, −.5)"),
    ],
)
def test_numbers_are_printed_as_numbers(before, after):
    assert tidy.typeset_number(before) == after
    assert mended(f'<span class="pasted-text">{before}</span>').endswith(f">{after}</span>")


def test_a_number_keeps_its_distance_from_a_relation():
    number = '<strong><span class="pasted-text">0.2</span></strong>'
    assert mended(f"<r></r>{number}") == f"R\u00a0{number}"
    assert mended(f"<f></f>{number}") == f"F{number}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("noise ((3.22)). For", "noise (3.22). For"),
        ("noise ((3.22) and", "noise ((3.22) and"),
        ("by (3.22).", "by (3.22)."),
        ("Theorem Theorem 7.1 says", "Theorem 7.1 says"),
        ("Lemma Theorem 7.1 says", "Lemma Theorem 7.1 says"),
    ],
)
def test_nothing_is_said_twice(before, after):
    def linked(text):
        for said in ("(3.22)", "Theorem 7.1"):
            text = text.replace(said, f'<a class="reference">{said}</a>')
        return text

    assert mended(linked(before)) == linked(after)


def test_an_empty_cell_heads_nothing():
    assert mended("<table><tr><th></th><th>a</th></tr></table>").count("<th>") == 1


def test_code_calls_an_equation_by_its_number():
    page = parsed(
        '<div class="math" id="equation-eq-kr-rate"><span class="eqno">(3.2)<a>#</a></span></div>'
        "<pre><i># (eq-kr-rate)</i> eq-kr-rate, x-eq-kr, (eq-no-such)</pre><p>eq-kr-rate</p>"
    )
    numbers = tidy.equation_numbers([page])
    assert numbers == {"eq-kr-rate": "(3.2)"}
    tidy.name_equations(page, numbers)
    page = BeautifulSoup(str(page), "html.parser")
    assert page.pre.get_text() == "# (3.2) (3.2), x-eq-kr, (eq-no-such)"
    assert page.p.get_text() == "eq-kr-rate"


def test_a_page_without_a_number_counts_for_itself():
    env = types.SimpleNamespace(
        toc_secnumbers={"chapter": {"": (3,)}, "engine": {"": None}},
        toc_fignumbers={
            "chapter": {"figure": {"a": (3, 1)}},
            "engine": {"figure": {"b": (7,), "c": (8,)}, "displaymath": {"d": (4,)}},
            "index": {"figure": {"e": (9,)}},
        },
    )
    tidy.count_by_page(None, env)
    assert env.toc_fignumbers["chapter"] == {"figure": {"a": (3, 1)}}
    assert env.toc_fignumbers["engine"] == {
        "figure": {"b": (1,), "c": (2,)},
        "displaymath": {"d": (1,)},
    }
    assert env.toc_fignumbers["index"] == {"figure": {"e": (1,)}}


def test_the_line_at_the_foot_reads_as_a_sentence():
    page = parsed('<article></article><p class="component-author">By The authors of X</p>')
    tidy.tidy(page, page.article)
    assert page.select_one(".component-author").get_text() == "By the authors of X"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("after 5,000 steps", "after 5000 steps"),
        ("1,792.4, 2,345", "1792.4, 2345"),
        ("1\u202f265 of 105\u202f686\u202f491", "1265 of 105,686,491"),
        ("40,000 and 1,234,567", "40,000 and 1,234,567"),
        ("places 1,2,345 and x1,234", "places 1,2,345 and x1,234"),
        ("<code>f(5,000)</code>", "<code>f(5,000)</code>"),
    ],
)
def test_four_digits_are_one_group_everywhere(before, after):
    assert mended(before) == after
