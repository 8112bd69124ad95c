"""Set every formula when the book is built: TeX becomes MathML, which browsers draw themselves.

Temml turns TeX into MathML, once, in a JavaScript engine inside Python; the mathematical font is
cut down to the characters that the book uses. A page brings no script for its formulas, nothing
moves while it is read, and a screen reader finds the formula as it is.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from pathlib import Path

from verbatim import Verbatim

VENDOR = Path(__file__).parent / "vendor"
FONT = "stix-two-math-latin-400-normal.woff"
_ITALIC = {  # where Unicode keeps the italics that a lone letter is drawn with
    **{chr(97 + i): 0x1D44E + i for i in range(26)},
    **{chr(65 + i): 0x1D434 + i for i in range(26)},
    **{chr(0x3B1 + i): 0x1D6FC + i for i in range(25)},
    **{chr(0x391 + i): 0x1D6E2 + i for i in range(25)},
    "h": 0x210E,
    **dict(zip("∂ϵϑϰϕϱϖ", range(0x1D715, 0x1D71C), strict=True)),
}

_THIN = '<mspace width="0.1667em"></mspace>'
_LARGE = re.compile(rf"(?<=\d)</mn>{_THIN}<mn>(?=\d{{3}}(?!\d))")
_COMMA = '</mn><mo separator="true">,</mo><mn>'
_LIST = re.compile(r"<mn>(?!\d{1,3}(?:,\d{3})+<)\d+(?:,\d+)+</mn>")
_BAR = re.compile(rf"(<mi>[|/]</mi>)(<mrow>)?{_THIN}(?=<mi>[a-zA-Z]{{2,}}</mi><mo>\u2061)")
_NAME = re.compile(
    r'(?:</(?:msub|msup|msubsup|mfrac|msqrt|mstyle)>|"postfix" stretchy="false">[^<]</mo></mrow>)'
    r"(?:<mrow>)?(?=<mi>[a-zA-Z]{2,}</mi><mo>\u2061)"
)
_FIRST = re.compile(r"^(<math><mrow>(?:<m(?:sub|sup|subsup)>)?<mo)(?=>| movable)")
_LAST_SPACE = re.compile(r"<mspace[^>]*></mspace>((?:</mrow>)+</math>)$")
_LAST = re.compile(r"<mo>(?=[^<\u2061]+</mo>(?:</mrow>)+</math>$)([^<]+)")

_ALWAYS = "′√‾¯|()[]{}"  # what primes, roots, bars and fences are drawn with
_USED: set[str] = set(_ALWAYS)  # the characters of all formulas that were set


@cache
def _engine():
    from py_mini_racer import MiniRacer

    engine = MiniRacer()
    engine.eval((VENDOR / "temml.min.js").read_text(encoding="utf-8"))
    engine.eval("function set(tex, shown) {return temml.renderToString("
                "tex, {displayMode: shown, throwOnError: true})}")  # fmt: skip
    return engine


@cache
def mathml(tex: str, display: bool) -> str:
    r"""A formula as MathML.

    Args:
        tex: what stands between the dollar signs.
        display: on lines of its own.

    Returns:
        The element.

    Raises:
        ValueError: TeX that Temml does not understand.

    Example:
        >>> mathml(r"\\eta", False)
        '<math><mi>η</mi></math>'
    """
    from py_mini_racer import JSEvalException

    try:
        shown = _engine().call("set", tex, display).replace(">~</mo>", ">˜</mo>")  # an accent
    except JSEvalException as problem:
        told = str(problem).split("\n")[0]
        raise ValueError(f"a formula that cannot be set: {tex!r} ({told})") from None
    return spaced(shown) if display else flush(spaced(shown))


def spaced(shown: str) -> str:
    """Give names of functions and lists of numbers the spaces that TeX gives them.

    Temml sets a thin space before a name behind a letter, and none behind anything larger; it sets
    one behind a bar or a slash, too; and it takes the commas of 2,3,4 for those of a large number.
    A large number is grouped as in the text.

    Args:
        shown: a formula as MathML.

    Example:
        >>> spaced("<math><mn>2,4,8</mn></math>").count("separator")
        2
    """
    shown = _LARGE.sub(",", shown)
    shown = _LIST.sub(lambda m: f"<mrow>{m[0].replace(',', _COMMA)}</mrow>", shown)
    shown = _BAR.sub(r"\1\2", shown)
    return _NAME.sub(rf"\g<0>{_THIN}", shown)


def flush(shown: str) -> str:
    """Take away the space at the ends of a formula in running text, where words have their own.

    Args:
        shown: a formula as MathML.

    Example:
        >>> flush("<math><mrow><mi>B</mi><mo>=</mo></mrow></math>")
        '<math><mrow><mi>B</mi><mo rspace="0em">=</mo></mrow></math>'
    """
    shown = _FIRST.sub(r'\1 lspace="0em"', shown)
    shown = _LAST_SPACE.sub(r"\1", shown)
    return _LAST.sub(r'<mo rspace="0em">\1', shown)


def typeset(page) -> list[str]:
    """Set the formulas of one page.

    Args:
        page: the soup of a page as Sphinx wrote it, with TeX between its delimiters.

    Returns:
        What could not be set, a sentence each.
    """
    wrong = []
    for place in page.select("span.math, div.math"):
        number = place.select_one(".eqno")
        tex = "".join(t for t in place.strings if number is None or number not in t.parents).strip()
        display = place.name == "div"
        tex = re.sub(r"^\\[\[(]|\\[\])]$", "", tex).strip()
        try:
            formula = Verbatim(mathml(tex, display))
            _USED.update(formula.letters)
        except ValueError as problem:
            wrong.append(str(problem))
            continue
        for part in list(place.contents):
            if part is not number:
                part.extract()
        place.append(formula)
    return wrong


def cut_font(target: Path) -> None:
    """Write the mathematical font with the characters of the formulas that were set.

    Args:
        target: the file to write, WOFF.
    """
    from fontTools import subset
    from fontTools.ttLib import TTFont

    logging.getLogger("fontTools").setLevel(logging.WARNING)
    codes = {*map(ord, _USED), *(_ITALIC[letter] for letter in _USED & _ITALIC.keys())}
    font = TTFont(VENDOR / FONT)
    cutter = subset.Subsetter(subset.Options(flavor="woff", layout_features=["*"]))
    cutter.populate(unicodes=codes)
    cutter.subset(font)
    _lower_prime(font)
    # Chromium adds the kern of a root's degree to roots without a degree, on the wrong side
    font["MATH"].table.MathConstants.RadicalKernAfterDegree.Value = 0
    font.flavor = "woff"
    font.save(target)


def _lower_prime(font):
    """Draw the prime as a superscript wants it: as TeX's fonts do, larger and on the line.

    The font has it small and high, as in running text, and raised once more it would float.
    """
    from fontTools.pens.transformPen import TransformPen
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    name, size, table = font.getBestCmap()[ord("′")], font["head"].unitsPerEm, font["glyf"]
    old, pen = table[name], TTGlyphPen(None)
    grow = 0.42 * size / (old.yMax - old.yMin)
    move = 0.05 * size - grow * old.xMin, 0.13 * size - grow * old.yMin
    font.getGlyphSet()[name].draw(TransformPen(pen, (grow, 0, 0, grow, *move)))
    table[name] = pen.glyph()
    width = grow * (old.xMax - old.xMin) + 0.1 * size
    font["hmtx"][name] = (round(width), round(0.05 * size))
