"""Markup that is not taken apart: it is written as it stands, and its words are still heard."""

import sys

import pytest
from bs4 import BeautifulSoup
from notebooks import BOOK

sys.path.insert(0, str(BOOK / "_ext"))
from verbatim import Verbatim, parsed, text_of  # noqa: E402

CODE = '<pre><i></i><b class="n b">a</b> <b class="o">&lt;</b> &quot;b&quot;</pre>'


def test_markup_is_written_as_it_stands():
    page = BeautifulSoup("<p>so </p>", "html.parser")
    page.p.append(Verbatim("<math><mo>&lt;</mo></math>"))
    assert str(page) == "<p>so <math><mo>&lt;</mo></math></p>"


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("<math><mi>a</mi><mo>&lt;</mo><mi>b</mi></math>", "a < b"),
        ('<span class="n">if</span> a &lt; b:\n    c', "if a < b:\n    c"),
        ("<svg><style>*{stroke: none}</style></svg>", ""),
    ],
)
def test_what_it_says(markup, words):
    assert Verbatim(markup).words == words


def test_a_page_is_the_same_with_its_code_put_aside():
    text = f"<div>{CODE}<p>and</p><pre>plain</pre><pre></pre>{CODE}</div>"
    page = parsed(text)
    assert len(page.find_all(True)) == 6
    assert str(BeautifulSoup(str(page), "html.parser")) == str(BeautifulSoup(text, "html.parser"))
    assert text_of(page.pre) == 'a < "b"' and text_of(page.p) == "and"


def test_classes_are_known_and_parts_can_be_left_out():
    page = parsed(f"<p>one {CODE}<b>two</b></p>")
    (code,) = page.pre.children
    assert code.classes == {"n", "b", "o"}
    assert text_of(page, lambda tag: tag.name == "pre") == "one two"
