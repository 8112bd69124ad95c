"""Open every built page from disk with the network closed, as a reader does, and look at it.

Wide and narrow, light and dark: nothing may go wrong in the console, nothing may be asked of the
network, nothing may move while a page is loaded, every formula must be typeset, nothing may stick
out of a phone, a drawing's text must be legible there, axe-core may find nothing serious, and a
typed search must find its page. A page is opened once a view, and everything is looked at then.
"""

import gzip
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
AXE = ROOT / "tests" / "vendor" / "axe.min.js"
PAGES = sorted(
    p.relative_to(HTML).as_posix()
    for p in HTML.rglob("*.html")
    if "_static" not in p.parts and p != HTML / "index.html"  # which only sends the reader on
)
CONTENT = [p for p in PAGES if p.startswith("book/")]
VIEWS = {"wide-light": (1280, 900, "light"), "phone-dark": (390, 844, "dark")}
OTHER_VIEWS = {"wide-dark": (1280, 900, "dark"), "phone-light": (390, 844, "light")}

pytestmark = pytest.mark.skipif(
    not os.environ.get("DDT_CHROMIUM"), reason="no Chromium: set DDT_CHROMIUM to its path"
)


@pytest.fixture(scope="module", params=[*VIEWS, *OTHER_VIEWS])
def view(browser, request):
    width, height, theme = {**VIEWS, **OTHER_VIEWS}[request.param]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, offline=True
    )
    context.add_init_script(WATCH)
    yield request.param, context
    context.close()


def opened(context, name, query=""):
    """A page with a record of everything that went wrong while it was read."""
    page = context.new_page()
    page.troubles, page.asked = [], []
    page.on("console", lambda m: m.type == "error" and page.troubles.append(m.text))
    page.on("pageerror", lambda e: page.troubles.append(str(e)))
    page.on("requestfailed", lambda r: page.troubles.append(f"failed: {r.url}"))
    page.on("request", lambda r: page.asked.append(r.url))
    page.goto(f"file://{HTML / name}{query}")
    page.evaluate("document.fonts.ready.then(() => 0)")
    page.wait_for_timeout(80)
    page.troubles += [
        f"asked: {url}" for url in page.asked if not url.startswith(("file:", "data:"))
    ]
    return page


WATCH = """
window.moved = 0;
new PerformanceObserver(list => list.getEntries().forEach(e => { window.moved += e.value; }))
  .observe({type: 'layout-shift', buffered: true});
"""

LOOK = """() => {
  const shown = e => e.getClientRects().length > 0;
  const sections = [...document.querySelectorAll('article.bd-article > section > section')];
  // all is laid out, not only what is near
  sections.forEach(e => { e.style.contentVisibility = 'visible'; });
  const told = innerWidth > 600 ? '--tall' : '--tall-narrow';  // before it was laid out
  const tall = sections.map(e => [parseFloat(e.style.getPropertyValue(told)), e.offsetHeight]);
  const prose = document.querySelector('article')?.cloneNode(true);
  prose?.querySelectorAll('pre, code, script, .math').forEach(e => e.remove());
  const text = prose?.textContent ?? '';
  return {
    tall: tall.filter(([, found]) => found > 600).map(([told, found]) => told / found),
    overflow: document.documentElement.scrollWidth - innerWidth,
    unrendered: [...document.querySelectorAll('span.math, div.math')]
      .filter(e => !e.querySelector('math')).map(e => e.textContent.slice(0, 60)),
    mathErrors: document.querySelectorAll('merror').length,
    mathScripts: [...document.scripts].filter(s => /mathjax|katex/i.test(s.src + s.text)).length,
    raw: (text.match(/\\$\\$|\\\\[A-Za-z]{2,}|\\{[a-z]+(:[a-z]+)*\\}`/) || [''])[0],
    unnamed: [...document.querySelectorAll('img, svg[role=img]')]
      .filter(e => shown(e) && !(e.getAttribute('alt') ?? e.getAttribute('aria-label'))).length,
    clipped: [...document.querySelectorAll('article div.math')]
      .filter(e => e.scrollWidth > e.clientWidth + 1 && !e.closest('dd')).map(e => e.id),
    cut: sections.flatMap(s => [...s.querySelectorAll('*')].filter(shown).filter(e => {
      const inner = e.getBoundingClientRect(), outer = s.getBoundingClientRect();
      return (inner.left < outer.left - 1 || inner.right > outer.right + 1)
        && e.checkVisibility() && !e.closest('math, svg, pre, thead, .scrolls');
    }).map(e => e.className || e.tagName)),
    scrolling: [...document.querySelectorAll('div.highlight pre')]
      .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1).length,
    headings: document.querySelectorAll('h1').length,
    moved: window.moved,
    tables: [...document.querySelectorAll('article .pst-scrollable-table-container')]
      .filter(e => shown(e) && e.scrollWidth > e.clientWidth + 1).length,
    apart: [...document.querySelectorAll('article span.math')].filter(e =>
      e.nextSibling?.nodeType == 3 && /^[.,;:!?)\\]]/.test(e.nextSibling.data)
      && !e.closest('.together')).map(e => e.parentElement.textContent.slice(0, 80)),
    lettering: Math.min(99, ...[...document.querySelectorAll('article figure svg.ddt-figure')]
      .filter(shown).flatMap(s => [...s.querySelectorAll('g[transform*="scale("]')])
      .map(g => g.getScreenCTM()).map(m => 100 * Math.hypot(m.c, m.d))),
    copies: [...document.querySelectorAll('button.copybtn')].map(b => b.ariaLabel),
    formulas: document.querySelectorAll('math').length,
    broken: [...document.images].filter(i => shown(i) && i.complete && !i.naturalWidth).length,
  };
}"""
# what axe-core may find in one view of a page and not in another, as far as a page decides it
OF_A_VIEW = ["color-contrast", "link-in-text-block", "scrollable-region-focusable"]
# a page of each kind: here axe-core tries every rule in both views, on the others in the wide one
OF_A_KIND = [
    f"book/{name}.html"
    for name in ("index", "escape/kramers", "ledger", "lab", "practice", "api/simulate")
]
AXE_RUN = """rules => axe.run(document, {resultTypes: ['violations'], ...(rules.length
  ? {runOnly: {type: 'rule', values: rules}} : {})}).then(r => r.violations
  .filter(v => ['serious', 'critical'].includes(v.impact))
  .map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 160), v.nodes[0].target]))"""


def looked_at(context, name, rules=None):
    """What there is to see on a page, in one visit; axe-core tries these rules, or [] for all."""
    page = opened(context, name)
    seen = page.evaluate(LOOK)
    seen |= {"troubles": list(page.troubles), "asked": page.asked, "axe": []}
    if rules is not None:
        page.evaluate(AXE.read_text(encoding="utf-8"))
        seen["axe"] = page.evaluate(AXE_RUN, rules)
    page.close()
    return seen


@pytest.mark.parametrize("name", PAGES)
def test_a_reader_sees_the_page_whole(view, name):
    kind, context = view
    if kind in OTHER_VIEWS and name.startswith("book/api/"):
        pytest.skip("the pages of the rooms are alike: each is seen in two views")
    every = kind == "wide-light" or name in OF_A_KIND
    rules = [] if every else OF_A_VIEW
    seen = looked_at(context, name, rules if kind in VIEWS and name in CONTENT else None)
    assert seen["troubles"] == []
    assert seen["overflow"] <= 0
    assert seen["unrendered"] == [] and seen["raw"] == ""
    assert seen["mathErrors"] == seen["mathScripts"] == 0
    assert seen["unnamed"] == 0 and seen["broken"] == 0
    assert seen["clipped"] == [] and seen["scrolling"] <= 2
    assert seen["cut"] == []  # a section cuts what sticks out of it
    if name != "book/ledger.html":  # all its parts are open here, and on a phone it shuts them
        assert all(0.6 < ratio < 2.5 for ratio in seen["tall"])
    assert seen["headings"] == 1 or not name.startswith("book/")
    assert seen["apart"] == []  # a comma from its formula
    assert seen["tables"] == 0 or "wide" in kind
    assert seen["lettering"] >= 9
    assert len(set(seen["copies"])) == len(seen["copies"]) and None not in seen["copies"]
    assert seen["axe"] == []
    assert len(seen["asked"]) <= 35
    weighs = sum(map(weight, set(seen["asked"])))
    assert weighs <= (400_000 if seen["formulas"] else 260_000) or name not in CONTENT
    if seen["moved"] > 0.02:  # on a busy machine a font may come a second late: look again
        seen = looked_at(context, name)
    assert seen["moved"] <= 0.02


def test_the_theme_is_known_before_anything_is_drawn(browser):
    """The script that manages the theme never comes, and the page is dark all the same."""
    context = browser.new_context(color_scheme="dark", offline=True)
    page = context.new_page()
    page.route("**/book.js", lambda route: route.abort())
    page.goto(f"file://{HTML / 'book' / 'index.html'}")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate(ground) == "rgb(20, 24, 29)"
    page.evaluate("localStorage.setItem('mode', 'light')")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.evaluate(ground) == "rgb(253, 252, 249)"
    logos = "[...document.querySelectorAll('.logo__image')].filter(e => e.offsetHeight).length"
    assert page.evaluate(logos) == 1
    context.close()


def test_paper_is_light_and_shows_what_is_folded(browser):
    context = browser.new_context(color_scheme="dark", offline=True)
    page = opened(context, "book/escape/kramers.html")
    ink = "getComputedStyle(document.documentElement).getPropertyValue('--ddt-ink').trim()"
    closed = "document.querySelectorAll('details:not([open]):not(.code-fold)').length"
    before = page.evaluate(ink), page.evaluate(closed)
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(ink) == "#20262e" != before[0]
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.evaluate(closed) == 0
    page.emulate_media(media="screen", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert (page.evaluate(ink), page.evaluate(closed)) == before
    context.close()


@pytest.mark.parametrize(
    ("query", "target"),
    [("Kramers", "escape/kramers"), ("gradient", "escape/sgd-to-diffusion")],
)
def test_a_typed_search_finds_its_page_first(browser, query, target):
    context = browser.new_context(offline=True)
    page = opened(context, "search.html")
    field = page.locator("input[name=q]:visible").first
    field.fill(query)
    field.press("Enter")
    page.wait_for_selector("#search-results ul.search li a", timeout=10_000)
    first = page.locator("#search-results ul.search li a").first.get_attribute("href")
    assert page.troubles == []
    context.close()
    assert target in first


def test_a_line_of_text_is_comfortable_to_read(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = opened(context, "book/escape/kramers.html")
    size, leading, characters = page.evaluate(
        """() => {
          const p = [...document.querySelectorAll('article p')].find(p => p.innerText.length > 250
            && !p.querySelector('math'));
          const style = getComputedStyle(p), range = document.createRange();
          range.selectNodeContents(p);
          const lines = new Set([...range.getClientRects()].map(r => Math.round(r.top / 8))).size;
          const pixels = parseFloat(style.fontSize);
          return [pixels, parseFloat(style.lineHeight) / pixels, p.innerText.length / lines];
        }"""
    )
    context.close()
    assert size >= 17
    assert 1.55 <= leading <= 1.65
    assert 60 <= characters <= 82


@pytest.mark.parametrize(
    ("width", "display", "label"), [(1280, "table-cell", "none"), (390, "block", '"found"')]
)
def test_the_ledger_is_a_table_on_a_desk_and_cards_on_a_phone(browser, width, display, label):
    context = browser.new_context(viewport={"width": width, "height": 844}, offline=True)
    page = opened(context, "book/ledger.html")
    seen = page.evaluate(
        """() => [...document.querySelectorAll('div.ledger tbody tr')].map(row => {
          const cell = row.cells[3];
          return [row.cells.length, getComputedStyle(cell).display,
            cell.textContent ? getComputedStyle(cell, '::before').content : '',
            Math.max(...[...row.cells].map(c => c.scrollWidth - c.clientWidth))];
        })"""
    )
    context.close()
    assert len(seen) > 100
    assert {cells for cells, *_ in seen} == {5}
    assert {shown for _, shown, *_ in seen} <= {display, "none"}
    assert {said for _, _, said, _ in seen} <= {label, ""}
    assert max(wide for *_, wide in seen) <= 1


def weight(address):
    """Bytes of a local file as a server would send it: text compressed, fonts as they are."""
    path = Path(unquote(urlparse(address).path))
    data = path.read_bytes() if path.is_file() else b""
    return len(data) if path.suffix in (".woff", ".woff2", ".png") else len(gzip.compress(data, 6))


def test_links_lead_somewhere():
    broken = []
    for name in PAGES:
        html = (HTML / name).read_text(encoding="utf-8")
        for link in set(re.findall(r'href="([^"]+)"', html)):
            if re.match(r"[a-z]+:|//", link):
                continue
            path, _, anchor = link.partition("#")
            target = (
                (HTML / name).parent.joinpath(path.split("?")[0]).resolve() if path else HTML / name
            )
            if not target.exists():
                broken.append(f"{name}: {link}")
            elif (
                anchor
                and target.suffix == ".html"
                and (f'id="{anchor}"' not in target.read_text(encoding="utf-8"))
            ):
                broken.append(f"{name}: {link}")
    assert broken == []
