"""The cards of the landing page: every chapter's picture, number, title, question and minutes.

A line of the directive ``chapter-cards`` names a chapter and describes its picture; title, question
and number are the chapter's own.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
_SHORT = 125  # characters of a question that is shown whole
_QUOTED = re.compile(r"(?m)^(?:> ?.*\n?)+")


def numbers() -> dict[str, str]:
    """The number of every page of the table of contents, empty for those without one."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    found, count = {}, 0
    for part in toc["parts"]:
        for chapter in part["chapters"]:
            count += bool(part.get("numbered"))
            page = chapter["file"].removeprefix("book/")
            found[page] = str(count) if part.get("numbered") else ""
    return found


def title_and_question(text: str) -> tuple[str, str]:
    """What a chapter is called and what it asks: its heading, and the first that it quotes.

    Args:
        text: the chapter in Markdown.

    Returns:
        The two. Of a long quotation the last sentence; nothing if the chapter quotes nothing.
    """
    title = re.search(r"(?m)^# (.+)$", text)[1]
    quoted = _QUOTED.search(text)
    asked = " ".join(line.removeprefix(">").strip() for line in (quoted or [""])[0].splitlines())
    return title, asked if len(asked) <= _SHORT else re.split(r"(?<=[.?!]) ", asked)[-1]


class ChapterCards(SphinxDirective):
    """A grid of cards, in the order in which the chapters are named."""

    has_content = True

    def run(self):
        lines, listed = [], numbers()
        for place, line in enumerate(filter(None, self.content)):
            page, _, seen = line.partition(": ")
            if page not in listed or not seen:
                raise self.error(
                    f"a card is 'part/page: what its picture shows' with a page of _toc.yml, got "
                    f"{line!r} in line {place + 1}"
                )
            lines += card(page, seen, listed[page])
            self.env.note_dependency(str(ROOT / f"book/{page}.md"))
        grid = nodes.container("", classes=["chapter-grid"])
        self.state.nested_parse(StringList(lines, self.env.docname), self.content_offset, grid)
        return [grid]


def card(page: str, seen: str, number: str) -> list[str]:
    """One card, as Markdown.

    Args:
        page: a chapter below ``book``.
        seen: what its picture shows.
        number: of the chapter, may be empty.

    Returns:
        Lines.
    """
    text = (ROOT / f"book/{page}.md").read_text(encoding="utf-8")
    title, question = title_and_question(text)
    name = f"{number} · " if number else ""
    return [
        ":::{div} card-of-chapter",
        f"![{seen}](/book/_static/thumbs/{Path(page).name}.svg)",
        "",
        f"{name}[{title}](/book/{page}.md)",
        "",
        f"{question} {{minutes}}`{page}`",
        ":::",
    ]
