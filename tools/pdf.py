"""Make one PDF of the built book: numbered chapters, working links, contents and bookmarks.

    python tools/pdf.py            without code, into _build/pdf/escape.pdf
    python tools/pdf.py --code     with all code, and the pages of the module

The built pages are joined into one: every anchor gets the number of its page, every link between
pages becomes a link within, and the browser that the tests use prints it, always in the light
colours.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import escape, unescape
from pathlib import Path
from posixpath import join, normpath

import yaml

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run")
_ARTICLE = re.compile(r"<article[^>]*>(.*)</article>", re.S)
_TITLE = re.compile(r"<h1[^>]*>(.*?)</h1>", re.S)
_DROPPED = re.compile(
    r'<script\b.*?</script>|<noscript>.*?</noscript>|<a class="headerlink".*?</a>'
    r"|<button\b.*?</button>|<form\b.*?</form>",
    re.S,
)
STYLE = """
@page { size: A4; margin: 19mm 18mm 20mm; }
html, html[data-theme="light"] { --ddt-ground: #fff; --pst-color-background: #fff; }
html, body { background: #fff; font-size: 11.5pt; }
body { display: block; height: auto; overflow: visible; }
article.bd-article { display: block; max-width: none; padding: 0;
  font-size: 11pt; line-height: 1.5; }
article h1 { font-size: 22pt; margin: 0 0 12pt; }
article h2 { font-size: 15pt; margin-top: 20pt; }
article h3 { font-size: 12pt; }
section.pdf-page { break-before: page; }
h1, h2, h3, summary, .admonition-title, caption { break-after: avoid; }
figure, table tr, div.math, .chapter-grid > div, pre { break-inside: avoid; }
p, li { orphans: 3; widows: 3; }
.pdf-title { height: 230mm; display: flex; flex-direction: column; justify-content: center; }
.pdf-title h1 { font-size: 34pt; } .pdf-title svg, .pdf-title img { width: 70mm; }
.pdf-contents p { margin: 10pt 0 2pt; font-weight: 600; font-family: var(--pst-font-family-base); }
.pdf-contents ul { list-style: none; margin: 0; padding: 0; } .pdf-contents li { margin: 1pt 0; }
.pdf-contents a { text-decoration: none; }
.prev-next-footer, .header-article, .toggle-button, .sd-summary-state-marker,
.sd-summary-chevron-right { display: none !important; }
div.math { overflow: visible; } div.math.scrolls { mask-image: none; }
div.highlight pre, div.cell_output pre { font-size: 7.6pt; white-space: pre-wrap; }
figure svg.ddt-figure { max-width: 150mm; max-height: 200mm; }
div.ledger table { font-size: 8pt; } article table { font-size: 9pt; }
"""
NO_CODE = """
div.cell_input, details.code-fold, .fold, details.hide.above-input, details.above-input
{ display: none !important; }
div.cell > details.hide:not(:has(.cell_output)) { display: none !important; }
div.cell:not(:has(.cell_output *)) { display: none; }
"""


def contents(toc: dict) -> list[tuple[str, list[str]]]:
    """The parts of the table of contents and their pages, in order; the root stands alone."""
    parts = [("", [toc["root"]])]
    for part in toc["parts"]:
        pages = []
        for chapter in part["chapters"]:
            pages.append(chapter["file"])
            pages += [section["file"] for section in chapter.get("sections", [])]
        parts.append((part.get("caption", ""), pages))
    return parts


def joined(html: Path, parts, *, code: bool) -> str:
    """All pages as one.

    Args:
        html: the folder of the built book.
        parts: captions and names of pages.
        code: with the code and the pages of the module.

    Returns:
        The page that is printed.
    """
    if not code:  # the module's pages are code
        parts = [(c, [n for n in ns if not n.startswith("book/api/")]) for c, ns in parts]
    names = [name for _, pages in parts for name in pages]
    number = {f"{name}.html": i for i, name in enumerate(names)}
    bodies, titles = [], {}
    for name in names:
        text = (html / f"{name}.html").read_text(encoding="utf-8")
        body = _DROPPED.sub("", _ARTICLE.search(text)[1])
        titles[name] = re.sub(r"<[^>]+>", "", _TITLE.search(body)[1]).strip()
        bodies.append(moved(body, f"{name}.html", number, html))
    return (
        '<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head>'
        '<meta charset="utf-8"/><title>Escape: why SGD finds flat minima</title>'
        f'<link rel="stylesheet" href="{(html / "_static" / "book.css").resolve().as_uri()}"/>'
        f"<style>{STYLE}{'' if code else NO_CODE}</style></head><body>"
        f'<article class="bd-article">{front(html)}{listed(parts, titles, number)}'
        + "".join(
            f'<section class="pdf-page" id="p{i}">{b}</section>' for i, b in enumerate(bodies)
        )
        + "</article></body></html>"
    )


def front(html: Path) -> str:
    """The title page: title, authors, version and its date."""
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    authors = ", ".join(a.get("name") or f"{a['given-names']} {a['family-names']}"
                        for a in about["authors"])  # fmt: skip
    logo = (html / "_static" / "logo.svg").resolve().as_uri()
    return (
        f'<div class="pdf-title"><img src="{logo}" alt="Two valleys and a walker"/>'
        f'<p role="heading" aria-level="1" style="font-size: 30pt">{escape(about["title"])}</p>'
        f'<p class="byline">{escape(authors)}</p><p class="byline">Version {about["version"]}, '
        f"{about['date-released']} · {escape(about['repository-code'])}</p></div>"
    )


def listed(parts, titles, number) -> str:
    """The table of contents, every line a link."""
    rows = []
    for caption, pages in parts:
        rows.append(f"<p>{escape(caption)}</p>" if caption and pages else "")
        items = (f'<li><a href="#p{number[f"{n}.html"]}">{titles[n]}</a></li>' for n in pages)
        rows.append(f"<ul>{''.join(items)}</ul>")
    return f'<section class="pdf-page pdf-contents"><h1>Contents</h1>{"".join(rows)}</section>'


def moved(body: str, page: str, number: dict[str, int], html: Path) -> str:
    """A page's markup with anchors of its own and links that lead to the joined pages."""
    here, folder = number[page], os.path.dirname(page)

    def link(match):
        address = match[1]
        if re.match(r"[a-z]+:|//", address):
            return match[0]
        path, _, anchor = address.partition("#")
        target = normpath(join(folder, path)) if path else page
        if target in number:
            place = f"p{number[target]}" + (f"-{anchor}" if anchor else "")
            return f'href="#{place}"'
        if not (html / target).exists() or target.endswith(".html"):
            return ""  # what is not printed has no address on paper
        return f'href="{(html / target).resolve().as_uri()}"'

    def source(match):
        if re.match(r"[a-z]+:|//", match[1]):
            return match[0]
        return f'src="{(html / normpath(join(folder, match[1]))).resolve().as_uri()}"'

    body = re.sub(r'(?<=\s)id="([^"]*)"', rf'id="p{here}-\1"', body)
    body = re.sub(r"url\(#([^)\"]*)\)", rf"url(#p{here}-\1)", body)
    body = re.sub(r'(?<=\s)src="([^"]*)"', source, body)
    body = re.sub(r'(?<=[\s:])href="([^"]*)"', link, body)
    return re.sub(r"<details\b(?![^>]*\bopen\b)", "<details open", body)


def printed(page: str, target: Path, chromium: str) -> None:
    """Print a page with the browser.

    Args:
        page: the markup.
        target: the PDF.
        chromium: the browser's path.
    """
    from playwright.sync_api import sync_playwright

    target.parent.mkdir(parents=True, exist_ok=True)
    source = target.with_suffix(".html")
    source.write_text(page, encoding="utf-8")
    small = "font: 8pt sans-serif; color: #55606b; width: 100%; text-align: center"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS])
        tab = browser.new_context(color_scheme="light", offline=True).new_page()
        tab.set_default_timeout(600_000)
        tab.goto(source.resolve().as_uri())
        tab.evaluate("document.fonts.ready.then(() => 0)")
        tab.pdf(
            path=str(target),
            outline=True,
            tagged=True,
            print_background=True,
            prefer_css_page_size=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=f'<div style="{small}"><span class="pageNumber"></span></div>',
        )
        browser.close()
    source.unlink()
    target.write_bytes(mended(target.read_bytes(), page))


_ITEM = re.compile(
    rb"(?P<number>\d+) 0 obj\n<</Title (?P<title>\((?:\\.|[^\\)])*\)|<[0-9A-F]*>)"
    rb"(?P<rest>\n/Dest .*?)endobj\n",
    re.S,
)


def headings(page: str) -> list[str]:
    """The headings of a page, as they are read."""
    found = re.findall(r"<h[1-6][^>]*>(.*?)</h[1-6]>", page, re.S)
    return [" ".join(unescape(re.sub(r"<[^>]+>", "", h)).split()) for h in found]


def text_of(title: bytes) -> str:
    """A text of a PDF: in brackets, or as hexadecimal digits."""
    if title.startswith(b"<"):
        return bytes.fromhex(title[1:-1].decode()).decode("utf-16")
    return re.sub(rb"\\(.)", rb"\1", title[1:-1]).decode("latin-1")


def mended(data: bytes, page: str) -> bytes:
    """The PDF with bookmarks that say what the headings say.

    Chromium says a heading twice when it has moved it to another page, and joins the words at the
    end of a line. So the bookmarks are written again, as an update at the end of the file.

    Args:
        data: the PDF.
        page: the markup that was printed.

    Returns:
        The PDF, longer.
    """
    waiting, objects = headings(page), {}
    for item in _ITEM.finditer(data):
        letters = sorted(re.sub(r"\s", "", text_of(item["title"])))
        for i, heading in enumerate(waiting):
            once = re.sub(r"\s", "", heading)
            if letters in (sorted(once), sorted(2 * once)):
                title = b"<%s>" % ("\ufeff" + heading).encode("utf-16-be").hex().upper().encode()
                number = int(item["number"])
                objects[number] = b"%d 0 obj\n<</Title %s%sendobj\n" % (number, title, item["rest"])
                waiting = waiting[i + 1 :]
                break
    start = data.rindex(b"startxref") + len(b"startxref")
    before, trailer = int(data[start:].split()[0]), data[data.rindex(b"trailer") : start]
    keys = re.search(rb"<<(.*)>>", trailer, re.S)[1]
    out, rows = bytearray(data), []
    for number, text in objects.items():
        rows.append(b"%d 1\n%010d 00000 n \n" % (number, len(out)))
        out += text
    place = len(out)
    out += b"xref\n" + b"".join(rows)
    out += b"trailer\n<<%s\n/Prev %d>>\nstartxref\n%d\n%%%%EOF\n" % (keys, before, place)
    return bytes(out)


def main() -> int:
    """Print the book.

    Returns:
        1 if there is no book or no browser, else 0.
    """
    html, target = ROOT / "_build" / "html", ROOT / "_build" / "pdf" / "escape.pdf"
    chromium = (
        os.environ.get("DDT_CHROMIUM")
        or subprocess.run(
            ["bash", "tools/browser.sh"], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip()
    )
    if not chromium or not (html / "_static" / "book.css").is_file():
        print("the PDF needs the built book (make book) and a Chromium", file=sys.stderr)
        return 1
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    page = joined(html, contents(toc), code="--code" in sys.argv[1:])
    printed(page, target, chromium)
    print(f"The book is in {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
