"""The ledger, the search page and the cheat sheet as a reader uses them, in a browser."""

import os
import re
from pathlib import Path

import pytest

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
pytestmark = pytest.mark.skipif(
    not (os.environ.get("DDT_CHROMIUM") and (HTML / "book" / "ledger.html").is_file()),
    reason="needs the built book and a Chromium",
)
SHOWN = "() => [...document.querySelectorAll('.ledger-part tbody tr')].filter(r => r.offsetParent)"


@pytest.fixture
def opened(browser):
    made = []

    def page(name, width=1280, scripts=True):
        size = {"width": width, "height": 844}
        made.append(browser.new_context(viewport=size, offline=True, java_script_enabled=scripts))
        tab = made[-1].new_page()
        tab.goto(f"file://{HTML / name}")
        return tab

    yield page
    for context in made:
        context.close()


def count(page):
    return page.locator(".ledger-count").text_content()  # also before the section is laid out


def test_claims_are_chosen_by_keyboard_and_counted(opened):
    page = opened("book/ledger.html")
    total = page.evaluate(f"({SHOWN})().length")
    assert total > 100 and count(page) == f"{total} claims"
    page.locator(".ledger-controls input").focus()
    page.keyboard.type("kramers")
    some = page.evaluate(f"({SHOWN})().map(r => r.textContent.toLowerCase())")
    assert 0 < len(some) < total and all("kramers" in text for text in some)
    assert count(page) == f"{len(some)} of {total} claims"
    for name, kind in (("whose", "of-folklore"), ("verdict", "is-deviates")):
        page.locator(".ledger-controls button").press("Enter")
        page.wait_for_function(
            f"document.querySelector('.ledger-count').textContent == '{total} claims'"
        )
        page.locator(f"select[name={name}]").select_option(kind)
        chosen = page.evaluate(f"({SHOWN})().map(r => r.className)")
        assert 0 < len(chosen) < total and all(kind in kinds.split() for kinds in chosen)


def test_an_address_shows_its_claim_in_a_folded_part(opened):
    page = opened("book/ledger.html#claim-net-kramers", width=390)
    assert page.locator("#claim-net-kramers").is_visible()
    assert not page.locator("#claim-kramers-rate").is_visible()  # its part is folded
    assert page.locator("#claim-net-kramers math").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_phone_shows_the_parts_before_their_claims(opened):
    page = opened("book/ledger.html", width=390)
    tall = page.evaluate("document.documentElement.scrollHeight / innerHeight")
    assert tall < 12  # screens


def test_without_a_script_every_claim_is_there(opened):
    page = opened("book/ledger.html", scripts=False)
    assert page.locator("#claim-kramers-rate").is_visible()
    assert not page.locator(".ledger-controls").is_visible()


def test_every_claim_has_an_address_and_every_verdict_a_page():
    text = (HTML / "book" / "ledger.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr[^>]*id="claim-([\w-]+)"', text)
    assert len(rows) == len(set(rows)) > 100
    for page, anchor in re.findall(
        r'<a class="[^"]*verdict[^"]*" href="([^"#]+)(?:#([^"]*))?"', text
    ):
        target = (HTML / "book" / page).read_text(encoding="utf-8")
        assert not anchor or f'id="{anchor}"' in target, (page, anchor)


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("saddle", "escape/saddles"),
        ("flat minima", "theory/sgd-noise"),
        ("sgld", "theory/white-noise"),
        ("hessian", "noise/noise-is-curvature"),
        ("escape rate", "escape/kramers"),
        ("GPU", "engine/how-it-works"),
    ],
)
def test_a_search_shows_sections_with_the_words_around(opened, query, target):
    page = opened(f"search.html?q={query}")
    links = page.locator("#search-results ul.search li > a")
    links.first.wait_for()
    assert target in links.first.get_attribute("href")
    assert any("#" in link.get_attribute("href") for link in links.all())
    assert page.locator("#search-results mark").count() > 3


def test_the_cheat_sheet_is_one_page_of_paper(opened):
    edges = dict.fromkeys(("top", "bottom", "left", "right"), "12mm")
    data = opened("book/cheat-sheet.html").pdf(format="A4", margin=edges)
    assert len(re.findall(rb"/Type /Page\b", data)) == 1
