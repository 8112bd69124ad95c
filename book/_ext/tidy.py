"""Small typography that no source should have to think of, put right on the built page.

Punctuation stays with its formula, a minus is a minus, large numbers are grouped, a word or a pair
of parentheses that a reference brings along is not written twice, and code names an equation by
its number.
"""

from __future__ import annotations

import re

from bs4 import NavigableString
from verbatim import Verbatim

# a comma, a parenthesis, "’s" or "th", up to a place where a line may end
_BEHIND = re.compile(r"[^\s\w(\[“‘/—–-][^\s/—–-]*[–-]?|[^\s/—–-]{1,3}(?![^\s/—–-])|[–-](?=\w)")
_BEFORE = re.compile(r"[(\[“‘]+$")
_GROUPS = re.compile(r"(?<![\w.,])\d{5,}(?![\w]*[\d,])")
_APART = re.compile(r"(?<=\d)\u202f(?=\d{3})")
_FEW = re.compile(r"(?<![\w,.])(\d),(?=\d{3}(?![\d,]))")  # 1,234 is written 1234
_POWER = re.compile(r"(?<![\w.])(\d(?:\.\d+)?)e([+-])0?(\d+)\b")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MINUS = re.compile(r"(?<![\w.)])-(?=[\d.]*\d)")
_LABEL = re.compile(r"\(?\b(eq-[a-z0-9]+(?:-[a-z0-9]+)+)\b\)?")  # a number has brackets of its own


def tidy(page, article) -> None:
    """Put one page's small typography right.

    Args:
        page: its soup, with its formulas set.
        article: the part of it that is read.
    """
    for number in article.find_all("span", class_="pasted-text"):
        _number(number)
    for link in article.find_all("a", class_="reference"):
        _said_once(link)
    for formula in article.find_all("span", class_="math"):
        _kept_together(page, formula)
    for text in article.find_all(string=re.compile(r"\d[,\u202f]\d")):
        if type(text) is NavigableString and text.find_parent(["pre", "code", "script"]) is None:
            text.replace_with(_FEW.sub(r"\1", _APART.sub(",", text)))
    for author in page.select("p.component-author"):
        author.string = author.get_text().replace("By The ", "By the ")
    for head in article.find_all("th"):
        if not head.get_text(strip=True) and not head.find(class_="math"):
            head.name = "td"  # an empty cell heads nothing
    for solution in article.select("div.solution > p.admonition-title > a"):
        text = solution.string
        if text and text.startswith(" "):
            text.replace_with(text[1:])
            solution.insert_before(" ")


def typeset_number(text: str) -> str:
    """A number as it is printed: a minus for a hyphen, a power of ten, groups from 10,000 on.

    Args:
        text: with numbers in it, as Python writes them.

    Example:
        >>> typeset_number("-0.5 of 1234 or 52000.25 ± 12")
        '−0.5 of 1234 or 52,000.25\xa0±\xa012'
        >>> typeset_number("2.3e-04")
        '2.3\xa0×\xa010⁻⁴'
    """
    text = re.sub(r"(?<=\d)\s?·\s?(?=10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹])", "\u00a0×\u00a0", _POWER.sub(_power, text))
    text = _GROUPS.sub(lambda m: f"{int(m[0]):,}", _MINUS.sub("−", text))
    return text.replace(" ± ", "\u00a0±\u00a0")


def _power(match):
    sign = match[2].replace("+", "")
    return f"{match[1]}\u00a0×\u00a010{(sign + match[3]).translate(_RAISED)}"


def _number(place):
    """A number that a cell computed, and its distance from the relation before it."""
    for text in place.find_all(string=True):
        if type(text) is NavigableString and (better := typeset_number(text)) != text:
            text.replace_with(better)
    while place.parent.name in ("strong", "a"):
        place = place.parent
    before = place.previous_sibling
    formula = next(iter(before.children), "") if getattr(before, "name", "") == "span" else ""
    if isinstance(formula, Verbatim) and re.search(r"[=≈<>≤≥∼∝]$", formula.words):
        before.insert_after("\u00a0")


def _said_once(link):
    """``((3.22))`` and ``Theorem Theorem 7.1`` say one thing twice."""
    before, said, behind = link.previous_sibling, link.get_text().strip(), link.next_sibling
    if type(before) is not NavigableString:
        return
    if re.fullmatch(r"\([\d.]+\)", said) and before.endswith("("):
        if type(behind) is NavigableString and behind.startswith(")"):
            before.replace_with(before[:-1])
            behind.replace_with(behind[1:])
    elif (kind := said.split(" ")[0]) and re.search(rf"\b{re.escape(kind)}\s$", before):
        if kind.isalpha() and said != kind:
            before.replace_with(before.rstrip()[: -len(kind)])


def _kept_together(page, formula):
    """No line begins with the comma behind a formula or ends with the parenthesis before it."""
    behind, before = formula.next_sibling, formula.previous_sibling
    tail = type(behind) is NavigableString and _BEHIND.match(behind)
    head = type(before) is NavigableString and _BEFORE.search(before)
    if not (tail or head):
        return
    box = formula.wrap(page.new_tag("span", attrs={"class": "together"}))
    if tail:
        behind.replace_with(behind[tail.end() :])
        box.append(tail[0])
    if head:
        before.replace_with(before[: head.start()])
        box.insert(0, head[0])


def equation_numbers(soups) -> dict[str, str]:
    """The number of every labelled equation of the book.

    Args:
        soups: of all pages.
    """
    found = {}
    for soup in soups:
        for place in soup.find_all("div", class_="math", id=True):
            number = place.find(class_="eqno")
            if number:
                shown = re.match(r"\([\d.]+\)", number.get_text().strip())
                found[place["id"].removeprefix("equation-")] = shown[0] if shown else ""
    return found


def name_equations(soup, numbers: dict[str, str]) -> None:
    """In code, an equation is called by its number, as everywhere else on the page.

    Args:
        soup: of a page.
        numbers: of the book's equations, by their labels.
    """
    for pre in soup.find_all("pre"):
        code = next(iter(pre.children), None)
        if isinstance(code, Verbatim) and "eq-" in code:
            better = _LABEL.sub(lambda m: numbers.get(m[1]) or m[0], code)
            code.replace_with(Verbatim(better))


def count_by_page(app, env) -> None:
    """Figures and equations of a page without a number begin at one, as those of a chapter do.

    Sphinx counts them on from page to page.
    """
    for page, kinds in env.toc_fignumbers.items():
        if not any(env.toc_secnumbers.get(page, {}).values()):
            for numbered in kinds.values():
                for i, name in enumerate(numbered, start=1):
                    numbered[name] = (i,)
