"""How a page opens: its result in a box, how many minutes it takes to read, and what may wait.

The directive ``result`` holds the chapter's question, its answer, and the label of the one figure
that shows it. The figure is not stored twice: the box shows the one below again. The role
``minutes`` tells, on any page, how long others take: ``{minutes}`escape/kramers, theory/dials` ``.

The directive ``aside`` stands first in a section that the argument does without, and says in a
sentence or two what it finds. On the built page these words stay; the rest of the section folds.
"""

from __future__ import annotations

import re

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from verbatim import Verbatim

WORDS, FORMULA, FIGURE = 220, 8, 20  # words a minute; seconds for a displayed formula, a figure
_READ = "div.cell, h1 .section-number, p a.evidence, .escape-lab"
_UNREAD = {"pre", "code", "script", "style", "svg", "nav", "details", "aside"}
_UNREAD_KINDS = {"headerlink", "exercise", "solution", "cell_input", "card-label", "cite-page"}
_TOLD = re.compile(r'<span class="minutes-of">([^<]*)</span>')


class Result(SphinxDirective):
    """The box that opens a chapter: question, answer, and the figure that shows it."""

    has_content = True
    optional_arguments = 1

    def run(self):
        box = nodes.container("", classes=["result"])
        lines = list(self.content)
        if self.arguments:
            lines += ["", ":::{div} result-figure", f"{{numref}}`{self.arguments[0]}`", ":::"]
        self.state.nested_parse(StringList(lines, self.content.source(0)), 0, box)
        return [box]


class Aside(SphinxDirective):
    """What a section finds that a reader of the argument may leave folded."""

    has_content = True

    def run(self):
        said = nodes.container("", classes=["aside"])
        self.state.nested_parse(self.content, self.content_offset, said)
        return [said]


def fold_asides(page) -> list[str]:
    """Fold what follows the words of an aside, to the end of its section.

    Args:
        page: the soup of a page.

    Returns:
        What is wrong with the page's asides, a sentence each.
    """
    wrong = []
    for said in page.select("div.aside"):
        before = said.find_previous_sibling()
        if said.parent.name != "section" or before is None or before.name not in ("h2", "h3"):
            wrong.append(f"an aside does not stand first in its section: {said.get_text()[:60]!r}")
            continue
        box, line = page.new_tag("details", attrs={"class": "aside"}), page.new_tag("summary")
        for part in list(said.next_siblings):
            box.append(part.extract())
        needed = whole(seconds(box))
        line.string = f"Read on: {needed} minute{'s' * (needed > 1)}"
        box.insert(0, line)
        said.insert_after(box)
    return wrong


def minutes_role(name, rawtext, text, lineno, inliner, options=None, content=()):
    """How many minutes some pages take together; the number is put in after the build."""
    return [nodes.inline(rawtext, text, classes=["minutes-of"])], []


def show_result(page) -> list[str]:
    """Put the figure that a result box names into the box, once more, without a copy.

    Args:
        page: the soup of a page whose figures are in place.

    Returns:
        What is wrong with the page's box, a sentence each.
    """
    wrong = []
    for box in page.select("div.result"):
        box.name, box["aria-label"] = "aside", "The result of this chapter"
        for place in box.select(".result-figure"):
            link = place.select_one('a[href^="#"]')
            figure = link and page.find("figure", id=link["href"][1:])
            drawing = figure and (_drawing(figure) or figure.find("img"))
            if drawing is None:
                wrong.append(f"the result box names no figure of its page: {place.get_text()!r}")
                continue
            number = link.get_text(strip=True)
            link.string, link["aria-label"] = "", f"{number}, shown in full below"
            link.append(_again(page, drawing, figure["id"]))
            caption = page.new_tag("span")
            caption.string = number
            link.append(caption)
    return wrong


def _drawing(figure):
    """The inlined drawing of a figure."""
    strings = (part for part in figure.descendants if isinstance(part, Verbatim))
    return next((part for part in strings if part.startswith("<svg")), None)


def _again(page, drawing, label):
    """The same drawing at another place: an image as it is, an SVG by reference."""
    if not isinstance(drawing, Verbatim):
        attributes = {k: v for k, v in drawing.attrs.items() if k != "id"} | {"alt": ""}
        return page.new_tag("img", attrs=attributes)
    name, box = f"{label}-drawing", re.search(r'\bviewBox="([^"]*)"', drawing)[1]
    drawing.replace_with(Verbatim(drawing.replace("<svg", f'<svg id="{name}"', 1)))
    again = page.new_tag("svg", attrs={"viewBox": box, "aria-hidden": "true"})
    width, height = box.split()[2:]
    target = {"href": f"#{name}", "width": width, "height": height}
    again.append(page.new_tag("use", attrs=target))
    return again


def seconds(article) -> float:
    """How long a page takes to read: words, formulas and figures; no code, no exercises, no asides.

    A formula in the line counts as a word, the lab as a figure, without the labels of its controls.

    Args:
        article: the soup of the text of a page; left as it is.

    Returns:
        Seconds.
    """
    spent = 0.0
    parts = [article] if article.name != "details" else list(article.children)
    while parts:
        part = parts.pop()
        if isinstance(part, Verbatim):  # code, a drawing, or a formula, which is counted below
            continue
        if isinstance(part, str):
            spent += 60 * len(part.split()) / WORDS
            continue
        kinds = set(part.get("class", ()))
        if (part.name in _UNREAD and "result" not in kinds) or kinds & _UNREAD_KINDS:
            continue
        if "math" in kinds:
            spent += FORMULA if part.name == "div" else 60 / WORDS
            continue
        lab = "escape-lab" in kinds
        spent += FIGURE * (lab or part.name == "figure")
        parts += [] if lab else part.children
    return spent


def whole(spent: float) -> int:
    """Whole minutes, at least 1."""
    return max(1, round(spent / 60))


def tell_minutes(page, article) -> int:
    """Write under the title of a page that is read, not looked up, how long it takes.

    Such a page has cells, a number, the lab or sentences that stand on numbers of the ledger.

    Args:
        page: the soup of a page.
        article: its text.

    Returns:
        The seconds that it takes, without its asides.
    """
    spent, title = seconds(article), article.find("h1")
    if title is not None and article.select_one(_READ):
        line, needed = page.new_tag("p", attrs={"class": "minutes"}), whole(spent)
        line.string = f"{needed} minute{'s' * (needed > 1)}"
        more = sum(seconds(box) for box in article.select("details.aside"))
        if more:
            line.string += f", and {whole(more)} for its asides"
        title.insert_after(line)
    return spent


def fill_minutes(text: str, needed: dict[str, float]) -> str:
    """Put numbers where the role ``minutes`` stood.

    Args:
        text: a page, written.
        needed: the seconds of every page, by its name below ``book``.

    Returns:
        The page with numbers.

    Raises:
        ValueError: a page that there is not.
    """

    def told(match):
        names = [name.strip() for name in match[1].split(",")]
        unknown = [name for name in names if name not in needed]
        if unknown:
            raise ValueError(f"no page book/{unknown[0]} has minutes of reading")
        return f"{whole(sum(needed[name] for name in names))}&nbsp;min"

    return _TOLD.sub(told, text)
