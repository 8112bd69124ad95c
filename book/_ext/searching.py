"""The index of the search page: the book's sections, defined words and names, with their text.

Sphinx's own search knows pages; a page of this book has twenty screens. So the sections are taken
from the document trees as they are written, and ``search.js`` ranks them in the browser, also from
a file. What stands in code, printed output and formulas is left out.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from docutils import nodes
from sphinx import addnodes

DEFINED = Path(__file__).resolve().parents[1] / "search.yml"
_UNREAD = (nodes.literal_block, nodes.doctest_block, nodes.field_list, nodes.raw, nodes.comment)
_APPARATUS = re.compile(r"^(Exercises?|References|Summary|Solutions?)\b")
_LISTS = re.compile(r"book/(ledger|runtimes|bibliography|cheat-sheet)$")
_SCRIPTS = re.compile(
    r"<script[^>]*(?:searchtools|searchindex|language_data)[^>]*>\s*</script>\s*", re.S
)


def sections(doctree, docname: str) -> list[list]:
    """What can be found on one page: [anchor, title, text, words in italics, kind] each."""
    found = []
    for section in doctree.findall(nodes.section):
        title = _title(section)
        if title is None:  # a theorem, say; its text belongs to the section around it
            continue
        first = section.parent is doctree
        kind = "chapter" if re.match(r"book/\w+/", docname) else "page"
        if docname.startswith("book/api"):
            kind = "name"
        elif _LISTS.search(docname) or _APPARATUS.match(title.astext()):
            kind = "list"
        parts = [c for c in section.children if c is not title]
        text, italics = _read(parts)
        anchor = "" if first else section["ids"][0]
        found.append([anchor, title.astext(), text, italics, kind])
    for term in doctree.findall(nodes.term):
        if term["ids"] and isinstance(term.parent, nodes.definition_list_item):
            text = _without_place(_read(term.parent.children[1:])[0], term.parent)
            found.append([term["ids"][0], _words(term), text, [_words(term)], "term"])
    for name in doctree.findall(addnodes.desc_signature):
        if name["ids"]:
            text, _ = _read([c for c in name.parent.children if c is not name][:1])
            found.append(
                [name["ids"][0], name["ids"][0].removeprefix("ddt_utils."), text[:300], [], "name"]
            )
    return found


def _title(section):
    return section[0] if section.children and isinstance(section[0], nodes.title) else None


def _without_place(text: str, entry) -> str:
    """What an entry of the glossary says, without the title of the page that it ends with."""
    for kind in (nodes.reference, addnodes.pending_xref):
        for link in entry.findall(kind):
            text = text.removesuffix(f": {_words(link)}.")
    return text


def _words(node) -> str:
    return " ".join(node.astext().split())


def _read(parts) -> tuple[str, list[str]]:
    """The text of some nodes without that of sections within, and what they set in italics."""
    told, italics = [], []

    def walk(node):
        if isinstance(node, (*_UNREAD, addnodes.desc)):
            return
        if isinstance(node, (nodes.math, nodes.math_block)):
            told.append("…")
            return
        if isinstance(node, nodes.section) and _title(node):
            return
        if isinstance(node, nodes.Text):
            told.append(node.astext())
            return
        if isinstance(node, nodes.emphasis):
            italics.append(_words(node))
        for child in node.children:
            walk(child)
        if not isinstance(node, nodes.Inline):
            told.append(" ")

    for part in parts:
        walk(part)
    text = re.sub(r"\s+", " ", "".join(told)).strip()
    return re.sub(r" ([.,;:)])", r"\1", text), [i for i in italics if len(i) < 40]


def collect(app, doctree, docname):
    """Keep the sections of a page that is being written."""
    if app.builder.name == "html":
        app.ddt_sections = getattr(app, "ddt_sections", {})
        app.ddt_sections[docname] = sections(doctree, docname)


def index(found: dict[str, list], titles: dict[str, str]) -> dict:
    """What the search page reads: the pages, their sections, and the pages that define a word."""
    pages = sorted(found)
    defined = yaml.safe_load(DEFINED.read_text(encoding="utf-8"))
    return {
        "defined": {word: f"book/{page}" for word, page in defined.items()},
        "pages": [[page, titles[page]] for page in pages],
        "sections": [[i, *s] for i, page in enumerate(pages) for s in found[page]],
    }


def finish(app, exception):
    """Write the index, and let the search page use it."""
    if exception or app.builder.name != "html":
        return
    found, out = dict(getattr(app, "ddt_sections", {})), Path(app.outdir)
    for docname in app.env.found_docs - found.keys():  # pages that were not written again
        found[docname] = sections(app.env.get_doctree(docname), docname)
    titles = {name: title.astext() for name, title in app.env.titles.items()}
    text = json.dumps(index(found, titles), ensure_ascii=False, separators=(",", ":"))
    (out / "_static" / "search-sections.js").write_text(f"var BOOK = {text};\n", encoding="utf-8")
    page = out / "search.html"
    html = _SCRIPTS.sub("", page.read_text(encoding="utf-8"))
    ours = "".join(
        f'<script defer src="_static/{name}.js"></script>' for name in ("search-sections", "search")
    )
    page.write_text(html.replace("</head>", f"{ours}</head>"), encoding="utf-8")
    for name in ("searchindex.js", "_static/searchtools.js", "_static/language_data.js"):
        (out / name).unlink(missing_ok=True)
