"""How a page opens: the figure of its result box, and the minutes that it takes."""

import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "book" / "_ext"))
import opening  # noqa: E402
from verbatim import Verbatim  # noqa: E402

PAGE = """<article><h1>Title</h1><div class="result container"><p>Why?</p>
<div class="result-figure"><p><a href="#fig-one">Fig. 7.2</a></p></div></div>
<div class="cell"><figure id="fig-one">DRAWING</figure></div>
<figure id="fig-two"><img src="a.png" alt="Two dots far from each other."></figure></article>"""


DRAWING = '<svg viewBox="0 0 400 300"><path/></svg>'


def soup(text=PAGE):
    page = BeautifulSoup(text, "html.parser")
    for place in page.find_all(string="DRAWING"):
        place.replace_with(Verbatim(DRAWING))
    return page


def test_the_box_shows_the_figure_of_its_page_once_more_without_a_copy():
    page = soup()
    assert opening.show_result(page) == []
    page = BeautifulSoup(str(page), "html.parser")
    link = page.select_one("aside.result a")
    assert link["aria-label"] == "Fig. 7.2, shown in full below"
    assert link.select_one("span").string == "Fig. 7.2"
    use = link.select_one("svg[aria-hidden] use")
    assert page.find(id=use["href"][1:]) is page.select_one("figure#fig-one svg")
    assert (use["width"], use["height"]) == ("400", "300")
    assert len(page.select("path")) == 1


def test_a_picture_is_shown_again_without_being_read_twice():
    page = soup(PAGE.replace("#fig-one", "#fig-two"))
    opening.show_result(page)
    assert page.select_one("aside.result img").attrs == {"src": "a.png", "alt": ""}


def test_a_figure_that_the_page_does_not_have_is_refused():
    (wrong,) = opening.show_result(soup(PAGE.replace("#fig-one", "#fig-three")))
    assert "names no figure of its page: 'Fig. 7.2'" in wrong


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("<p>" + "word " * 660 + "</p>", 3),
        ("<p>" + "word " * 660 + "</p><pre>" + "code " * 900 + "</pre>", 3),
        ("<p>" + "word " * 660 + "</p><details>" + "more " * 900 + "</details>", 3),
        ("<p>" + "word " * 440 + "</p>" + '<div class="math">x y z</div>' * 15, 4),
        ("<p>" + "word " * 440 + "</p>" + "<figure></figure>" * 9, 5),
        ("<p>" + "word " * 660 + '</p><div class="exercise">' + "more " * 900 + "</div>", 3),
        ("<p>" + "word " * 440 + "</p>" + '<p>as <span class="math">x y</span></p>' * 110, 3),
        ("<p>" + "word " * 440 + '</p><aside class="result">' + "more " * 220 + "</aside>", 3),
        ("<p>" + "word " * 440 + "</p><aside>" + "more " * 220 + "</aside>", 2),
        ("<p>" + "word " * 440 + '</p><p class="cite-page">' + "more " * 220 + "</p>", 2),
        ("<div class='escape-lab'>" + "more " * 220 + "</div>" + "<figure></figure>" * 5, 2),
        ("<p>a</p>", 1),
    ],
)
def test_minutes_count_words_formulas_and_figures_and_no_code(text, minutes):
    article = soup(f"<article>{text}</article>").article
    assert opening.whole(opening.seconds(article)) == minutes


def test_the_words_of_the_result_are_read_with_the_page():
    page = soup(PAGE.replace("Why?", "why " * 440))
    before = opening.seconds(page.article)
    opening.show_result(page)
    assert opening.seconds(page.article) == pytest.approx(before, abs=1) and before > 120


def test_a_chapter_says_its_minutes_under_its_title():
    page = soup()
    assert 0 < opening.tell_minutes(page, page.article) < 60
    assert page.h1.find_next_sibling().get_text() == "1 minute"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('<h1><span class="section-number">17. </span>T</h1><p>x</p>', True),
        ('<h1>T</h1><p>so <a class="evidence">2.5</a></p>', True),
        ('<h1>T</h1><div class="escape-lab"></div>', True),
        ('<h1>T</h1><table><tr><td><a class="evidence">2.5</a></td></tr></table>', False),
        ("<h1>T</h1><p>a list of symbols</p>", False),
    ],
)
def test_a_page_without_cells_says_its_minutes_if_it_is_read(text, told):
    page = soup(f"<article>{text}</article>")
    opening.tell_minutes(page, page.article)
    assert (page.find("p", class_="minutes") is not None) == told


def test_other_pages_tell_the_minutes_of_chapters_and_of_paths():
    needed = {"escape/kramers": 17.4 * 60, "theory/dials": 20.4 * 60}
    text = 'a <span class="minutes-of">escape/kramers, theory/dials</span> b'
    assert opening.fill_minutes(text, needed) == "a 38&nbsp;min b"  # rounded once
    with pytest.raises(ValueError, match="no page book/escape/cramers has minutes"):
        opening.fill_minutes(text.replace("kramers", "cramers"), needed)


ASIDE = """<article><h1>T</h1><div class="cell"></div><section><h2 id="a">Two doors</h2>
<div class="aside"><p>The rates add up.</p></div><p>{words}</p>
<section><h3>More</h3><p>x</p></section></section></article>"""


def test_an_aside_folds_to_the_end_of_its_section_and_is_not_counted():
    page = soup(ASIDE.format(words="w " * 660))
    assert opening.fold_asides(page) == []
    box = page.find("details", class_="aside")
    assert box.summary.get_text() == "Read on: 3 minutes"
    assert box.find("h3").get_text() == "More" and page.select_one("div.aside p").get_text()
    assert opening.tell_minutes(page, page.article) < 60
    assert page.find("p", class_="minutes").get_text() == "1 minute, and 3 for its asides"


def test_an_aside_stands_first_in_its_section():
    page = soup("<section><h2>A</h2><p>x</p><div class='aside'>what</div></section>")
    assert "does not stand first" in opening.fold_asides(page)[0]
