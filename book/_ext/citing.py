"""How to cite the book and each of its pages: with the version and its date, from CITATION.cff."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from html import escape
from os import path
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]


@cache
def about() -> dict:
    """The citation file."""
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def authors() -> list[str]:
    return [a.get("name") or f"{a['given-names']} {a['family-names']}" for a in about()["authors"]]


def released() -> date:
    """When the version came out; not when the pages were built."""
    return date.fromisoformat(str(about()["date-released"]))


def line(title: str, bibtex: str) -> str:
    """The line at the end of a page.

    Args:
        title: the page's, as text.
        bibtex: the address of the BibTeX entry, seen from the page.

    Returns:
        HTML.
    """
    day, book = released(), about()
    when = f"{day.day} {day:%B %Y}"
    where = book["repository-code"]
    return (
        f'<p class="cite-page">Cite this page: {escape(", ".join(authors()))}, '
        f"“{escape(title)}”, in <em>{escape(book['title'])}</em>, version {book['version']}, "
        f'{when}, <a href="{escape(where)}">{escape(where)}</a> · '
        f'<a href="{bibtex}">BibTeX</a></p>'
    )


def bibtex() -> str:
    """The book as an entry for BibTeX."""
    book, day = about(), released()
    names = " and ".join("{" + name + "}" for name in authors())
    return "\n".join(
        [
            "@book{escape,",
            f"  author = {{{names}}},",
            f"  title = {{{book['title']}}},",
            f"  year = {{{day.year}}},",
            f"  note = {{Version {book['version']}, {day.isoformat()}}},",
            f"  url = {{{book['repository-code']}}}",
            "}",
        ]
    )


class CiteThisBook(SphinxDirective):
    """The book's BibTeX entry in a fold."""

    def run(self):
        code = nodes.literal_block(bibtex(), bibtex(), language="bibtex")
        return [
            nodes.raw("", "<details><summary>BibTeX</summary>", format="html"),
            code,
            nodes.raw("", "</details>", format="html"),
        ]


def add_line(app, pagename, templatename, context, doctree):
    """Put the line at the end of a page of the book."""
    if not doctree or not re.match(r"book/(?!index$)", pagename):
        return
    title = app.env.titles[pagename].astext()
    to = path.relpath("book/bibliography.html", path.dirname(pagename)).replace("\\", "/")
    context["body"] += line(title, f"{to}#cite-this-book")
