"""Formulas that a sentence writes in plain characters, as TeX.

A claim, and what a chapter found about it, are plain text, so that a notebook can print them:
"the slope is 2BΔL/η". On a page such a stretch is a formula like any other. What counts as one is
decided here, from its characters; a word is never taken for a product of letters.
"""

from __future__ import annotations

import re

_GREEK = dict(
    zip(
        "αβγδεζηθκλμνξπρστφχψωΓΔΘΛΞΠΣΦΨΩ",
        "alpha beta gamma delta varepsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau "
        "varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split(),
        strict=True,
    )
)
_SIGNS = {
    "∇": r"\nabla ", "∂": r"\partial ", "∫": r"\int ", "∞": r"\infty ", "−": "-", "·": r"\cdot ",
    "±": r"\pm ", "≈": r"\approx ", "∝": r"\propto ", "≤": r"\le ", "≥": r"\ge ", "½": r"\tfrac12 ",
    "→": r"\to ", "|": r"\vert ", "*": "^*", "′": "'", "″": "''",
}  # fmt: skip
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀ", "0123456789+-T", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-", strict=True))
_FUNCTIONS = ("exp", "ln", "tr", "det", "max", "erfc")
_PRODUCTS = (
    "BC",
    "LH",
    "SH",
    "Br",
    "Bs",
    "hM",
    "dt",
    "dx",
    "dy",
)  # letters that stand side by side
_TOKEN = re.compile(
    rf"(?P<sub>[A-Za-z{''.join(_GREEK)}]_[A-Za-z0-9]+)|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z][A-Za-zß-ÿ]*(?:['’][a-z]+)?)"
    rf"|(?P<greek>[{''.join(_GREEK)}])|(?P<sign>[=+/^√<>{''.join(map(re.escape, _SIGNS))}"
    rf"{''.join(_RAISED)}{''.join(_LOWERED)}])|(?P<bracket>[()\[\]])|(?P<space> )|(?P<other>.)"
)

LONG = 24  # characters of a formula that needs no place to break
_SAYS = re.compile(rf"[A-Za-z√{''.join(_GREEK)}]")  # a number alone is no formula


def _kind(token, before: str, after: str) -> str:
    """What a token can be: a letter, a function, a joint of formulas, or none of them."""
    kind, text = token.lastgroup, token[0]
    if kind in ("sub", "greek"):
        return "letter"
    if text == "," and re.search(r"max\([^()]*$", before):
        return "sign"
    if kind != "word":
        return "none" if kind == "other" else kind
    if text in _FUNCTIONS:
        return "none" if re.match(r"[ -]?[a-z]{2}|\.", after) else "function"
    if text in "aAIE" or text == "AI":  # articles, a pronoun, a name
        inside = before.endswith("(") and after.startswith(")")
        return "letter" if inside or (text == "E" and after.startswith(" exp")) else "none"
    if len(text) == 1 or text in _PRODUCTS:
        return "letter" if not re.match(r"[-–.][A-Za-z]", after) else "none"
    return "none"


def _runs(text: str):
    """Stretches of tokens that could be one formula: (start, end)."""
    start = end = None
    last = "none"
    for token in _TOKEN.finditer(text):
        kind = _kind(token, text[: token.start()], text[token.end() :])
        breaks = kind == "bracket" and last == "space" and text[token.start() - 2].isalnum()
        if start is not None and (kind == "none" or breaks):
            yield start, end
            start = None
        if kind not in ("none", "space"):
            start = token.start() if start is None else start
            end = token.end()
        last = kind
    if start is not None:
        yield start, end


def _trimmed(text: str) -> tuple[int, int]:
    """Where a stretch begins and ends once brackets that do not match are left to the sentence."""
    start, end = 0, len(text)
    while start < end:
        depth, unmatched = [], []
        for i in range(start, end):
            if text[i] in "([":
                depth.append(i)
            elif text[i] in ")]":
                unmatched += [] if depth else [i]
                depth[-1:] = []
        wrong = depth + unmatched
        if not wrong and re.fullmatch(r"\([^()]*\)", text[start:end]):
            return start + 1, end - 1  # the sentence's own
        if text[start] in " )]+=/^" or start in wrong:
            start += 1
        elif text[end - 1] in " ([+=/^−·√" or end - 1 in wrong:
            end -= 1
        elif text.count("|", start, end) % 2:
            return start, start
        elif wrong:
            end = min(wrong)
        else:
            break
    return start, end


def tex(formula: str) -> str:
    r"""A formula in plain characters, as TeX.

    Args:
        formula: without dollar signs.

    Returns:
        TeX for what stands between them.

    Example:
        >>> tex("2π/|H_be| · exp(−√(2B)x²)")
        '2\\pi /\\vert H_{be}\\vert \\cdot \\exp(-\\sqrt{2B}x^{2})'
    """
    formula = _grouped(formula, "√", r"\\sqrt{", "}")
    formula = _grouped(formula, "^", "^{", "}")
    formula = re.sub(r"√(.)", r"\\sqrt{\1}", formula)
    formula = re.sub(rf"([A-Za-z{''.join(_GREEK)}])_([A-Za-z0-9]+)", r"\1_{\2}", formula)
    formula = re.sub(r" (d[txy])\b", r"\\,\1", formula)
    for marks, joint in ((_RAISED, "^"), (_LOWERED, "_")):
        formula = re.sub(
            f"[{''.join(marks)}]+",
            lambda m, marks=marks, joint=joint: f"{joint}{{{''.join(marks[c] for c in m[0])}}}",
            formula,
        )
    formula = re.sub(rf"(?<![\\A-Za-z])({'|'.join(_FUNCTIONS)})(?![A-Za-z])", _function, formula)
    formula = "".join(_SIGNS.get(c, c) for c in formula)
    formula = re.sub(rf"[{''.join(_GREEK)}]", lambda m: rf"\{_GREEK[m[0]]} ", formula)
    formula = formula.replace(r"\vert  ", r"\vert ").replace("<", r"\lt ").replace(">", r"\gt ")
    return re.sub(r" +", " ", formula).strip()


def _function(match) -> str:
    return rf"\operatorname{{{match[1]}}}" if match[1] in ("tr", "erfc") else rf"\{match[1]}"


def _grouped(text: str, sign: str, opening: str, closing: str) -> str:
    """A sign before a bracket takes all that stands in it."""
    while (place := text.find(sign + "(")) >= 0:
        depth, end = 0, place + 1
        for end in range(place + 1, len(text)):
            depth += (text[end] == "(") - (text[end] == ")")
            if depth == 0:
                break
        inner = text[place + 2 : end]
        text = text[:place] + opening.replace("\\\\", "\\") + inner + closing + text[end + 1 :]
    return text


def _pieces(formula: str):
    """A formula as Markdown; a long one in pieces, between which a line can end."""
    start, depth, held = 0, 0, []
    for i, sign in enumerate(formula):
        if sign in "([":
            held += [depth] if formula[i - 1] in "√^" and i else []
            depth += 1
        elif sign in ")]":
            depth -= 1
            held = held[:-1] if held and held[-1] == depth else held
        joint = formula[i : i + 3] in (" · ", " = ", " + ", " − ") or formula[i - 1 : i + 1] == ")("
        if joint and not held and i - start > 8 and len(formula) > LONG:
            yield f"${_open(tex(formula[start:i]), start)}$" + (" " if sign == " " else "\u200b")
            start = i
    yield f"${_open(tex(formula[start:]), start)}$"


def _open(piece: str, start: int) -> str:
    """A piece that begins with a sign, which stands between two things and not before one."""
    return f"{{}}{piece}" if start and piece[0] in "-+=" else piece


def with_formulas(text: str) -> str:
    r"""A sentence with its formulas between dollar signs, where they were plain characters.

    Args:
        text: the sentence.

    Returns:
        The same in Markdown.

    Example:
        >>> with_formulas("The slope is 2BΔL/η, at a fixed B.")
        'The slope is $2B\\Delta L/\\eta$, at a fixed $B$.'
    """
    found, done = [], 0
    for start, end in _runs(text):
        first, last = (start + place for place in _trimmed(text[start:end]))
        if first < last and _SAYS.search(re.sub("|".join(_FUNCTIONS), "", text[first:last])):
            found += [text[done:first], "".join(_pieces(text[first:last]))]
            done = last
    return "".join([*found, text[done:]])
