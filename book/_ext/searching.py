"""The index of the search page: the book's sections, defined words and names, and where they stand.

Sphinx's own search knows pages; a page of this book has twenty screens. So the sections are taken
from the document trees as they are written, and ``search.js`` ranks them in the browser, also from
a file. What stands in code, printed output and formulas is left out. The index holds how often a
section has which word, a third of the weight of the text; the text of a section is a file of its
own, and fetched for its excerpt when it is looked at.
"""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import yaml
from docutils import nodes
from sphinx import addnodes

DEFINED = Path(__file__).resolve().parents[1] / "search.yml"
_UNREAD = (nodes.literal_block, nodes.doctest_block, nodes.field_list, nodes.raw, nodes.comment)
_APPARATUS = re.compile(r"^(Exercises?|References|Summary|Solutions?)\b")
_LISTS = re.compile(r"book/(ledger|runtimes|bibliography|cheat-sheet)$")
_EVERYWHERE = 0.3  # a word in more of the sections than that tells none from another
_STEMS = {"minima": "minimum", "maxima": "maximum", "criteria": "criterion", "matrices": "matrix"}
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


def words(text: str) -> list[str]:
    """The words of a text as they are looked up: no accents, no plurals; as in ``search.js``."""
    plain = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text)).lower()
    return [_stem(word) for word in re.findall("[a-z0-9\u0370-\u03ff]+", plain)]


def _stem(word: str) -> str:
    if word in _STEMS:
        return _STEMS[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and re.search("[^su]s$", word) else word


def postings(texts: list[str]) -> str:
    """In which texts each word stands, a line a word.

    A line is the word, then for each of its texts how many places that lies after the last one, and
    after a point how often the word stands there, if more than once. Words of digits alone are left
    out, and such as stand nearly everywhere.
    """
    places: dict[str, list[tuple[int, int]]] = {}
    for i, text in enumerate(texts):
        for word, count in Counter(words(text)).items():
            places.setdefault(word, []).append((i, count))
    lines = []
    for word, found in sorted(places.items()):
        if word.isdigit() or len(found) > max(_EVERYWHERE * len(texts), 3):
            continue
        before = [-1, *(i for i, _ in found)]
        steps = (
            f"{i - last}" + (f".{count}" if count > 1 else "")
            for (i, count), last in zip(found, before, strict=False)
        )
        lines.append(" ".join([word, *steps]))
    return "\n".join(lines)


def index(found: dict[str, list], titles: dict[str, str]) -> tuple[dict, list[str]]:
    """What the search page reads, and the texts of the sections.

    The first has the pages, their sections, the words of each, and the pages that define a word.
    """
    pages = sorted(found)
    defined = yaml.safe_load(DEFINED.read_text(encoding="utf-8"))
    every = [(i, *section) for i, page in enumerate(pages) for section in found[page]]
    texts = [text for _, _, _, text, _, _ in every]
    book = {
        "defined": {word: f"book/{page}" for word, page in defined.items()},
        "pages": [[page, titles[page]] for page in pages],
        "sections": [[i, anchor, title, *rest] for i, anchor, title, _, *rest in every],
        "words": postings(texts),
    }
    return book, texts


def finish(app, exception):
    """Write the index, and let the search page use it."""
    if exception or app.builder.name != "html":
        return
    found, out = dict(getattr(app, "ddt_sections", {})), Path(app.outdir)
    for docname in app.env.found_docs - found.keys():  # pages that were not written again
        found[docname] = sections(app.env.get_doctree(docname), docname)
    titles = {name: title.astext() for name, title in app.env.titles.items()}
    book, texts = index(found, titles)
    text = json.dumps(book, ensure_ascii=False, separators=(",", ":"))
    (out / "_static" / "search-sections.js").write_text(f"var BOOK = {text};\n", encoding="utf-8")
    folder = out / "_static" / "search"  # a section a file
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for i, told in enumerate(texts):
        script = f"BookSearch.told({i}, {json.dumps(told, ensure_ascii=False)});\n"
        (folder / f"{i}.js").write_text(script, encoding="utf-8")
    page = out / "search.html"
    html = _SCRIPTS.sub("", page.read_text(encoding="utf-8"))
    ours = "".join(
        f'<script defer src="_static/{name}.js"></script>' for name in ("search-sections", "search")
    )
    page.write_text(html.replace("</head>", f"{ours}</head>"), encoding="utf-8")
    for name in ("searchindex.js", "_static/searchtools.js", "_static/language_data.js"):
        (out / name).unlink(missing_ok=True)
