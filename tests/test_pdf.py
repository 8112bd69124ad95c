"""The book as a PDF: links between pages, code or none, pages and bookmarks of a small one."""

import os
import re
import zlib
from pathlib import Path

import pdf
import pytest

HEAD = '<html><body><article class="bd-article">{}</article></body></html>'
PAGES = {
    "book/index": '<section id="top"><h1>Escape<a class="headerlink" href="#top">#</a></h1>'
    '<p><a href="part/one.html#eq">the law</a> <a href="search.html">no</a> '
    '<a href="https://example.org">out</a></p></section>',
    "book/part/one": '<section id="top"><h1>1. A marble that waits</h1><p id="eq">Luck.</p>'
    '<svg><g id="c" clip-path="url(#k)"></g></svg><a href="../index.html">back</a>'
    '<a href="#eq">here</a><details><summary>Proof</summary><p>Folded.</p></details>'
    '<div class="cell"><div class="cell_input"><pre>print()</pre></div></div></section>',
    "book/api/room": "<h1>room</h1>",
}
TOC = {
    "root": "book/index",
    "parts": [
        {
            "caption": "Part I",
            "chapters": [{"file": "book/part/one", "sections": [{"file": "book/api/room"}]}],
        }
    ],
}


@pytest.fixture
def html(tmp_path):
    for name, text in PAGES.items():
        page = tmp_path / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(HEAD.format(text), encoding="utf-8")
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "book.css").write_text("p { color: #222; }")
    return tmp_path


def test_links_between_pages_become_links_within(html):
    page = pdf.joined(html, pdf.contents(TOC), code=False)
    links, anchors = set(re.findall(r'href="#([^"]*)"', page)), re.findall(r' id="([^"]*)"', page)
    assert len(anchors) == len(set(anchors)) and links <= set(anchors)
    assert {"p1-eq", "p0", "p1"} <= links
    assert "url(#p1-k)" in page and 'href="https://example.org"' in page
    assert "headerlink" not in page and "search.html" not in page


def test_code_and_the_module_are_left_out_unless_asked_for(html):
    without = pdf.joined(html, pdf.contents(TOC), code=False)
    whole = pdf.joined(html, pdf.contents(TOC), code=True)
    assert pdf.NO_CODE in without and pdf.NO_CODE not in whole
    assert "<h1>room</h1>" in whole and "<h1>room</h1>" not in without


def test_what_is_folded_is_open_and_the_colours_are_light(html):
    page = pdf.joined(html, pdf.contents(TOC), code=False)
    assert "<details open>" in page and '<html lang="en" data-theme="light"' in page


def test_the_contents_name_every_part_and_chapter(html):
    page = pdf.joined(html, pdf.contents(TOC), code=False)
    listed = page[page.index("<h1>Contents") : page.index('id="p0"')]
    assert "<p>Part I</p>" in listed and '<a href="#p1">1. A marble that waits</a>' in listed


def words(data):
    """The text of a PDF as its fonts' tables of characters say it, page by page."""
    objects = dict(re.findall(rb"(?m)^(\d+) 0 obj\n(.*?)endobj", data, re.S))

    def stream(number):
        body = objects[number]
        raw = body[body.index(b"stream\n") + 7 : body.rindex(b"\nendstream")]
        return zlib.decompress(raw) if b"FlateDecode" in body else raw

    def table(font):
        found = re.search(rb"/ToUnicode (\d+) 0 R", objects[font])
        text, codes = stream(found[1]) if found else b"", {}
        for block in re.findall(rb"beginbfchar\n(.*?)endbfchar", text, re.S):
            for code, sign in re.findall(rb"<(\w+)> <(\w+)>", block):
                codes[int(code, 16)] = bytes.fromhex(sign.decode()).decode("utf-16-be")
        for block in re.findall(rb"beginbfrange\n(.*?)endbfrange", text, re.S):
            for low, high, sign in re.findall(rb"<(\w+)> <(\w+)> <(\w+)>", block):
                for i in range(int(low, 16), int(high, 16) + 1):
                    codes[i] = chr(int(sign, 16) + i - int(low, 16))
        return codes

    told = []
    for body in objects.values():
        if not re.search(rb"/Type /Page\b", body):
            continue
        fonts = dict(re.findall(rb"/(F\d+) (\d+) 0 R", body))
        codes, page = {}, []
        text = stream(re.search(rb"/Contents (\d+) 0 R", body)[1])
        for font, shown in re.findall(rb"/(F\d+) [\d.]+ Tf|<([0-9A-F]+)>", text):
            codes = table(fonts[font]) if font in fonts else codes
            page += [codes.get(int(shown[i : i + 4], 16), "") for i in range(0, len(shown), 4)]
        told.append("".join(page))
    return told


@pytest.mark.skipif(not os.environ.get("DDT_CHROMIUM"), reason="no Chromium")
def test_a_small_book_is_printed(html, tmp_path):
    target = tmp_path / "pdf" / "small.pdf"
    page = pdf.joined(html, pdf.contents(TOC), code=False)
    pdf.printed(page, target, os.environ["DDT_CHROMIUM"])
    data = target.read_bytes()
    assert len(re.findall(rb"/Type /Page\b", data)) == 4  # title, contents, two pages
    assert len(re.findall(rb"/Subtype /Link", data)) >= 5
    latest = data[data.rindex(b"xref\n", 0, data.rindex(b"startxref")) :]
    assert b"/Prev" in latest
    titles = [pdf.text_of(item["title"]) for item in pdf._ITEM.finditer(data)]
    assert {"Contents", "Escape", "1. A marble that waits"} <= {t.lstrip("\ufeff") for t in titles}
    text = words(data)
    assert "Luck." in "".join(text) and "Folded." in "".join(text)
    assert "print" not in "".join(text)
    assert not list(Path(target.parent).glob("*.html"))
