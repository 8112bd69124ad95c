"""What the book asks of Sphinx beyond its extensions: its own tables, and pages that stand alone.

The tables are in ``tables``. After the build every page is mended: figures are inlined so that they
follow the reader's theme, scripts that need the network or block the page are removed, and a page
with an image that nobody described, or with raw TeX, stops the build.
"""

from __future__ import annotations

import html
import json
import re
from copy import copy
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from cards import ChapterCards
from evidence import Evidence
from folding import fold
from formulas import cut_font, typeset
from heights import tell_heights
from lighten import lighten
from opening import (
    Aside,
    Result,
    fill_minutes,
    fold_asides,
    minutes_role,
    show_result,
    tell_minutes,
)
from sphinx.errors import ExtensionError
from tables import TABLES
from tidy import count_by_page, equation_numbers, name_equations, tidy
from verbatim import Verbatim, parsed, text_of

from ddt_utils.figures import PALETTE

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"


def exclude_texts(app, config):
    """A chapter is built from its executed notebook; its text, beside it, is left out."""
    for notebook in BOOK.rglob("*.ipynb"):
        text = notebook.with_suffix(".md").relative_to(ROOT).as_posix()
        config.exclude_patterns.append(text)


# --- after the build -----------------------------------------------------------------------------

_COLOURS = {light: f"var(--ddt-{name})" for name, (light, _) in PALETTE.items()}
_HEX = re.compile("|".join(_COLOURS))
_LONG = re.compile(r"(\d\.\d\d)\d+")  # a hundredth of a point is enough for a drawing
_RAW = re.compile(r"\\[A-Za-z(\[]|\$[^$\s][^$\n]*\$|\$\$|\{[a-z]+(?::[a-z]+)*\}`|:::+\s*\{")
_THEME = """
(function (d) {
  var mode;
  try { mode = localStorage.getItem("mode"); } catch (e) {}
  d.dataset.mode = mode = /^(light|dark)$/.test(mode) ? mode : "auto";
  if (mode == "auto") mode = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  d.dataset.theme = mode;
  if (location.protocol != "file:") FILES.forEach(function (name) {
    var link = document.createElement("link");
    link.rel = "preload"; link.as = "font"; link.crossOrigin = "";
    link.href = d.dataset.content_root + "_static/fonts/" + name; document.head.appendChild(link);
  });
})(document.documentElement);
"""
_WAIT = """
(function (d) {
  function show() { d.classList.remove("waits"); }
  d.classList.add("waits");
  setTimeout(show, 1000);
  Promise.all(FACES.map(function (face) { return document.fonts.load(face); })).then(show, show);
})(document.documentElement);
"""
_FRONT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="_static/favicon.svg" type="image/svg+xml">
<meta http-equiv="refresh" content="0; url=book/index.html">
<a href="book/index.html">{title}</a>
</html>
"""
_FACES = {
    "1em 'Source Serif 4'": "source-serif-4-latin-400-normal.woff2",
    "1em 'Source Sans 3'": "source-sans-3-latin-400-normal.woff2",
    "600 1em 'Source Sans 3'": "source-sans-3-latin-600-normal.woff2",
    "600 1em 'Source Serif 4'": "source-serif-4-latin-600-normal.woff2",
    "italic 1em 'Source Serif 4'": "source-serif-4-latin-400-italic.woff2",
    "1em 'Escape Math'": "math.woff",
}
_SCRIPTS = re.compile(r"fontawesome|thebe|require\.js|@jupyter-widgets|mathjax", re.I)


def palette_css() -> str:
    """The palette as CSS variables, for both themes."""

    def block(selector, which):
        values = " ".join(f"--ddt-{name}: {pair[which]};" for name, pair in PALETTE.items())
        return f"{selector} {{ {values} }}\n"

    on_paper = f"@media print {{ {block('html, html[data-theme]', 0)} }}\n"
    return block("html", 0) + block('html[data-theme="dark"]', 1) + on_paper


def _shortened(numbers: str) -> str:
    """A drawing's numbers to a hundredth of a point, without zeros at their ends."""
    numbers = re.sub(r"(\.\d*?)0+(?!\d)", r"\1", _LONG.sub(r"\1", numbers))
    return " ".join(re.sub(r"\.(?!\d)", "", numbers).split()).join((" ", ""))


def inline_svg(svg_text: str, alt: str, prefix: str) -> Verbatim:
    """A stored SVG as part of the page: described, with ids of its own and the theme's colours."""
    text = svg_text[svg_text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' (d|x|y)="[^"]*"', lambda m: _shortened(m[0]), text)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    used = set(re.findall(r"#([\w-]+)", text))
    text = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", text)
    text = _HEX.sub(lambda m: _COLOURS[m[0]], text)
    # presentation attributes do not take var(); the same thing as a style does
    text = re.sub(r'\b(fill|stroke)="(var\([^"]+\))"', r'style="\1: \2"', text)
    text = re.sub(r'style="([^"]*)"([^>]*?) style="([^"]*)"', r'style="\1; \3"\2', text)
    text = re.sub(r"\s*(?:<!--.*?-->\s*)+", "\n", text, flags=re.S)
    said = f' role="img" aria-label="{html.escape(alt)}" class="ddt-figure">'
    return Verbatim(text.replace(">", said, 1).strip())


def mended(app, path: Path, needed: dict[str, float]) -> tuple[BeautifulSoup, list[str]]:
    """A page as it should be, and what is wrong with it that cannot be mended.

    It notes the seconds that the page needs.
    """
    page = parsed(path.read_text(encoding="utf-8"))
    name, wrong = path.relative_to(app.outdir).as_posix(), []
    wrong += [f"{name}: {problem}" for problem in fold(page, path, app)]
    wrong += [f"{name}: {problem}" for problem in typeset(page)]
    for script in page.find_all("script"):
        source, text = script.get("src", ""), script.string or ""
        if _SCRIPTS.search(source) or "THEBE" in text or "window.MathJax" in text:
            script.decompose()
        elif source and "search" not in name and "documentation_options" not in source:
            script["defer"] = ""
        elif 'dataset.mode = localStorage.getItem("mode") ||' in text:
            script.decompose()
    for link in page.find_all("link", rel="preload"):
        link.decompose()
    for link in page.select('a[href*="colab.research.google.com"]'):
        link["href"] = link["href"].replace("/book/", "/colab/")  # in plain Markdown
    article = page.find("article") or page
    for i, image in enumerate(page.find_all("img")):
        alt, source = image.get("alt", ""), image.get("src", "")
        in_article = image.find_parent("article") is not None
        target = (path.parent / source).resolve()
        if in_article and (len(alt) < 30 or Path(source).stem in alt):
            wrong.append(
                f"{name}: an image needs an alternative text written by hand: {source} {alt!r}"
            )
        if in_article and source.endswith(".svg") and target.is_file():
            image.replace_with(inline_svg(target.read_text(encoding="utf-8"), alt, f"f{i}"))
    tidy(page, article)
    wrong += [f"{name}: {problem}" for problem in show_result(page) + fold_asides(page)]
    if name.startswith("book/"):
        needed[name.removeprefix("book/").removesuffix(".html")] = tell_minutes(page, article)
    raw = re.search(_RAW, text_of(article, _is_raw_by_right))
    if raw:
        wrong.append(f"{name}: raw markup on the page: …{raw[0]}…")
    if not page.find("meta", attrs={"name": "description"}):
        first = next((" ".join(text_of(p).split()) for p in article.select("section > p")), "")
        page.head.append(
            page.new_tag("meta", attrs={"name": "description", "content": first[:200]})
        )
    steady(page)
    accessible(page)
    return page, wrong


def _is_raw_by_right(tag) -> bool:
    """Code and formulas may look like markup: they are."""
    return tag.name in ("pre", "code", "script", "style") or "math" in tag.get("class", ())


def steady(page) -> None:
    """Nothing flashes or moves while a page is loaded.

    The theme is decided before anything is drawn, and the text is drawn when its fonts are there:
    they are asked for at once, and after a second it is drawn with others of the same width.
    """
    if page.head is None:
        return
    page.html["data-theme"] = "light"  # for whoever reads without JavaScript
    faces = dict(_FACES)
    if not page.find(class_="math"):
        del faces["1em 'Escape Math'"]
    theme, wait = page.new_tag("script"), page.new_tag("script")
    theme.string = _THEME.replace("FILES", json.dumps(list(faces.values())))
    wait.string = _WAIT.replace("FACES", json.dumps(list(faces)))
    schemes = page.new_tag("meta", attrs={"name": "color-scheme", "content": "light dark"})
    charset = page.head.find("meta", charset=True)
    charset.insert_after(schemes) if charset else page.head.insert(0, schemes)
    schemes.insert_after(theme)
    page.head.append(wait)  # behind the style sheets, which name the fonts
    for logo in page.find_all("img", class_="logo__image"):
        logo["width"], logo["height"] = "160", "90"


def accessible(page) -> None:
    """Mend what assistive technology trips over in the theme's markup."""
    for field in page.select('input[type="search"]'):
        field["aria-label"] = field.get("placeholder", "Search")
    for named_by_its_text in page.select("button.search-button-field, details > summary"):
        named_by_its_text.attrs.pop("aria-label", None)
    for icon in page.select("summary > .toctree-toggle"):  # of a page with pages of its own
        link = icon.find_parent("details").find_previous_sibling("a")
        icon.parent["aria-label"] = f"Pages of {link.get_text(strip=True)}"
    for sidebar in page.select("#pst-primary-sidebar"):
        sidebar["role"], sidebar["aria-label"] = "complementary", "The book's pages"
    for title in page.select("#jb-print-docs-body h1"):
        title.name = "p"  # one first heading a page
    for listing in page.select(
        '[role="doc-bibliography"], [role="doc-biblioentry"], [role="list"]'
    ):
        del listing["role"]
    for table in page.select("div.cell_output table, article table"):
        table.attrs.pop("border", None)
    for table in page.select("div.ledger table"):
        as_cards(table)
    for table in page.select("article table"):
        kinds = [] if "role" in table.attrs else for_a_phone(table)
        if kinds:
            table["class"] = [*table.get("class", ()), *kinds]
            as_cards(table)


def for_a_phone(table) -> list[str]:
    """How a phone shows a table whose columns it would squeeze or cut: as entries.

    Returns:
        The classes: ``entries`` for text, ``entries lines`` for numbers, of four columns and a line
        of text in one row, or whose longest words do not stand side by side. Nothing for others.
    """
    rows = [row.find_all(["td", "th"]) for row in table.select("tr")]
    heads = table.select("thead th, thead td")
    columns = len(heads)
    if columns < 3 or any(len(row) != columns for row in rows):
        return []
    said = [[text_of(cell).strip() for cell in row] for row in rows]
    longest = [max(len(word) for text in column for word in re.split("[ \\n]", text))
               for column in zip(*said, strict=True)]  # fmt: skip
    below = said[1:]
    if columns >= 4 and max((sum(map(len, row)) for row in below), default=0) > 60:
        numbers = [bool(re.match(r"[−\d.]", text)) for row in below for text in row[1:]]
        return ["entries", "lines"] if 2 * sum(numbers) > len(numbers) else ["entries"]
    if 7 * sum(longest) + 12.8 * columns <= 358:
        return []
    told = any(len(text) > 60 for row in below for text in row[1:])  # no label beside a sentence
    return ["entries"] if told else ["entries", "lines"]


def as_cards(table) -> None:
    """Let a phone show the rows of a table below each other: every cell knows its column.

    A display other than a table's takes the meaning from the elements, so roles say it again. The
    name of a column is an attribute, and one with a formula stands in the cell, drawn as it is.
    """
    drawn = [None, *map(_drawn, table.select("thead th, thead td")[1:])]
    heads = [" ".join(text_of(head).split()) for head in table.select("thead th, thead td")]
    table["role"] = "table"
    for group in table.select("thead, tbody"):
        group["role"] = "rowgroup"
    for head in table.select("thead th"):
        head["role"] = "columnheader"
    for row in table.select("tr"):
        row["role"] = "row"
        for label, name, cell in zip(heads, drawn, row.find_all("td"), strict=False):
            cell["role"], cell["data-label"] = "cell", label
            if name is not None:
                cell["class"] = [*cell.get("class", ()), "labelled"]
                cell.insert(0, copy(name))


def _drawn(head):
    """The name of a column that has a formula, as an element."""
    if head.find(class_="math") is None:
        return None
    label = Tag(name="span", attrs={"class": ["card-label"]})
    for part in head.find("p") or head:
        label.append(copy(part))
    return label


def finish(app, exception):
    """Mend every page; fail if one cannot be published."""
    if exception or app.builder.name != "html":
        return
    out = Path(app.outdir)
    (out / "_static" / "palette.css").write_text(palette_css(), encoding="utf-8")
    pages = [p for p in sorted(out.rglob("*.html")) if "_static" not in p.parts]
    front = out / "index.html"  # only sends the reader on to the landing page
    front.write_text(_FRONT.format(title=html.escape(app.config.html_title)), encoding="utf-8")
    pages.remove(front)
    needed: dict[str, float] = {}
    found = {page: mended(app, page, needed) for page in pages}
    wrong = [problem for _, problems in found.values() for problem in problems]
    cut_font(out / "_static" / "fonts" / "math.woff")
    soups = {page: soup for page, (soup, _) in found.items()}
    numbers = equation_numbers(soups.values())
    for soup in soups.values():
        name_equations(soup, numbers)
        tell_heights(soup)
    lighten(out, soups)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        if "minutes-of" in text:
            page.write_text(fill_minutes(text, needed), encoding="utf-8")
    if wrong:
        raise ExtensionError("pages that cannot be published:\n  " + "\n  ".join(wrong))


def setup(app):
    for name, directive in TABLES.items():
        app.add_directive(name, directive)
    app.add_directive("result", Result)
    app.add_directive("aside", Aside, override=True)  # the name is taken
    app.add_directive("chapter-cards", ChapterCards)
    app.add_role("minutes", minutes_role)
    app.add_role("evidence", Evidence())
    app.connect("config-inited", exclude_texts)
    app.connect("env-check-consistency", count_by_page)
    app.add_css_file("palette.css", priority=400)
    app.connect("build-finished", finish, priority=900)  # after the theme has written its styles
    return {"parallel_read_safe": True, "version": "1"}
