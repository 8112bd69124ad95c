"""How tall a section will be, told to the browser before it lays the section out.

Sections far from the reader are not laid out (``content-visibility`` in ``escape.css``). Until then
a box stands for each. If the boxes are about as tall as the sections, the scroll bar tells the
truth, and what is measured unseen seldom lies upon what follows. The pixels below were fitted to
all sections of the book as Chromium draws them, and a tenth is added: nine of ten come out between
0.9 and 1.6 of their height.
"""

from __future__ import annotations

import math

from verbatim import text_of

_READ = "p, li, dd, dt, div.math, .escape-lab, figure, figcaption, h2, h3, h4, tr, pre, summary"
_LINE, _MATH, _LAB, _FOLD = 24, 150, 700, 35  # pixels, on every screen
_SHUT = "details:not([open])"
_WIDE = {"letters": 78, "figure": 470, "head": 75, "row": 1.5, "shut": _SHUT}
_NARROW = {"letters": 40, "figure": 350, "head": 100, "row": 1.2}
_NARROW |= {"shut": f"{_SHUT}, details.ledger-part"}  # the ledger's script shuts these there


def tell_heights(page) -> None:
    """Write its expected height on every section that may be laid out late.

    Args:
        page: the soup of a page that is otherwise finished.
    """
    for section in page.select("article.bd-article > section > section"):
        wide, narrow = height(section, **_WIDE), height(section, **_NARROW)
        section["style"] = f"--tall: {wide}px; --tall-narrow: {narrow}px"


def height(section, letters: int, figure: int, head: int, row: float, shut: str) -> int:
    """The height of a section in pixels; what is folded does not count.

    Args:
        section: its soup.
        letters: how many letters stand in a line.
        figure: the height of a figure without its caption.
        head: the height of a heading.
        row: the space of a line in a table, in lines.
        shut: what is folded, as a CSS selector.

    Returns:
        The height.
    """
    unseen = {
        id(part)
        for fold in section.select(shut)
        for part in fold.find_all(True)
        if part.name != "summary" or part.parent is not fold
    }
    total = 0.0
    for part in section.select(_READ):
        if id(part) in unseen or (part.name in ("p", "li") and part.find_parent("table")):
            continue
        if part.name == "figure":
            total += figure
        elif part.name == "div":
            total += _MATH if "math" in part["class"] else _LAB
        elif part.name == "summary":
            total += _FOLD
        elif part.name in ("h2", "h3", "h4"):
            total += head
        elif part.name == "pre":
            total += (text_of(part).count("\n") + 1) * _LINE
        elif part.name == "tr" or not (part.name in ("li", "dd", "figcaption") and part.find("p")):
            lines = math.ceil(len(text_of(part)) / letters) * _LINE
            total += max(lines, _LINE) * row + 10 if part.name == "tr" else lines
    return round(1.1 * total)
