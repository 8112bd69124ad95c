"""Markup that a page shows and that nobody needs to take apart: formulas, drawings, coloured code.

They are nine tenths of a page's elements. As text that is written as it stands they cost nothing;
as elements, parsed and written again at every step, they took most of the time of a build.
"""

from __future__ import annotations

import html
import re

from bs4 import BeautifulSoup, NavigableString
from bs4.element import CData, PageElement, PreformattedString

_TAG = re.compile(r"<[^>]*>")
_CODE = re.compile(r"(<pre>)(?!</pre>)(.+?)(?=</pre>)", re.S)
_PLACE = re.compile(r"\ue000(\d+)\ue001")


class Verbatim(PreformattedString):
    """A string that is markup already, and is written into the page as it is."""

    PREFIX = SUFFIX = ""

    @property
    def letters(self) -> str:
        """All that stands between its tags."""
        return html.unescape(_TAG.sub("", self))

    @property
    def words(self) -> str:
        """What a formula says, token by token, and what code says; a drawing says nothing."""
        if self.startswith("<svg"):
            return ""
        if not self.startswith("<math"):
            return self.letters
        return " ".join(html.unescape(_TAG.sub(" ", self)).split())

    @property
    def classes(self) -> set[str]:
        """The classes that its elements have."""
        return {c for found in re.findall(r'\bclass="([^"]*)"', self) for c in found.split()}


def parsed(text: str) -> BeautifulSoup:
    """The soup of a page, in which what stands in a <pre> is one verbatim string.

    Args:
        text: the page as Sphinx wrote it.
    """
    codes = []

    def put_aside(match):
        codes.append(match[2].replace("&quot;", '"').replace("&#39;", "'"))
        return f"{match[1]}\ue000{len(codes) - 1}\ue001"

    page = BeautifulSoup(_CODE.sub(put_aside, text), "html.parser")
    for pre in page.find_all("pre"):
        if pre.string and (place := _PLACE.fullmatch(pre.string)):
            pre.string.replace_with(Verbatim(codes[int(place[1])]))
    return page


def text_of(element: PageElement, skip=lambda tag: False) -> str:
    """The text of an element, verbatim parts included; drawings have none.

    Args:
        element: of a page.
        skip: whether an element in it is left out.
    """
    parts = []

    def walk(tag):
        for child in tag.children:
            if isinstance(child, Verbatim):
                parts.append(child.words)
            elif type(child) in (NavigableString, CData):
                parts.append(child)
            elif hasattr(child, "children") and not skip(child):
                walk(child)

    walk(element)
    return "".join(parts)
