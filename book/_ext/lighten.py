"""Make the built pages light: one style sheet and one script instead of two dozen, nothing unused.

The theme ships every rule of Bootstrap and every icon of Font Awesome. After the build, the style
sheets are joined, rules for classes that no page and no script mentions are dropped, and the icon
fonts are cut down to the icons that are left. What a page looks like does not change.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from verbatim import Verbatim

# loaded by name or on one page only, so they stay as they are
_APART = re.compile(r"documentation_options|search(tools|index)|language_data|scorer|lab\.js")
_CLASS = re.compile(r"\.((?:[\w-]|\\.)+)")
_URL = re.compile(r"""url\(\s*["']?(?!data:|#|https?:)([^"')?#]+)[^"')]*["']?\s*\)""")
_IMPORT = re.compile(r"""@import\s+(?:url\()?["']([^"']+)["']\)?;""")
# The theme looks for boxes that scroll and for the section that is read, and lays out the whole
# page for that at once; formulas.js does both while the page is drawn.
_MEASURES = '"complete"===document.readyState?O():window.addEventListener("load",O)'
_FONT_SOURCES = re.compile(r"src:url\(([^)]*?)\.woff2\) format\(\"woff2\"\)[^;}]*")


def lighten(out: Path, soups: dict) -> None:
    """Join, prune and rewrite what the pages load, and write the pages."""
    sheets, everything = _files(soups, "link", out), _files(soups, "script", out)
    scripts = [f for f in everything if not _APART.search(f.as_posix())]
    static = out / "_static"
    # the first semicolon keeps one script's "use strict" from ruling over all of them
    code = ";\n".join(["", *(f.read_text(encoding="utf-8") for f in scripts)])
    code = re.sub(r"//# sourceMappingURL=\S+", "", code)
    if code.count(_MEASURES) != 1:
        raise ValueError("the theme's script measures in another way: see _MEASURES")
    code = code.replace(_MEASURES, "0")
    used = {c for soup in soups.values() for part in soup.descendants for c in _classes(part)}
    for file in everything:  # classes that a script gives to what it draws
        used |= set(re.findall(r"[\w-]+", file.read_text(encoding="utf-8")))
    css = "\n".join(_sheet(f, static) for f in sheets)
    css = "".join(pruned(css, used))
    css = _FONT_SOURCES.sub(lambda m: _icon_font(static, m[1], css) or m[0], css)
    (static / "book.css").write_text(css, encoding="utf-8")
    (static / "book.js").write_text(code, encoding="utf-8")
    for page, soup in soups.items():
        if soup.body:
            soup.body.attrs.pop("data-bs-spy", None)
        up = os.path.relpath(static, page.parent).replace(os.sep, "/")
        _replace(soup, "link", page, sheets, {"rel": "stylesheet", "href": f"{up}/book.css"})
        if "search" not in page.name:
            _replace(soup, "script", page, scripts, {"src": f"{up}/book.js", "defer": ""})
        page.write_text(str(soup), encoding="utf-8")


def _classes(part):
    """The classes that a part of a page has."""
    if isinstance(part, Verbatim):
        return part.classes
    return part.get("class", ()) if hasattr(part, "attrs") else ()


def _local(page: Path, address: str) -> Path | None:
    if not address or re.match(r"[a-z]+:|//", address):
        return None
    return Path(os.path.normpath(page.parent / address.split("?")[0]))


def _loaded(soup, tag):
    """The elements of one kind that load a file, in order, each with the file's address."""
    if tag == "link":
        return [(e, e["href"]) for e in soup.find_all("link", rel="stylesheet", href=True)]
    return [(e, e["src"]) for e in soup.find_all("script", src=True)]


def _files(soups, tag, out):
    """Every file that some page loads, in the order in which pages load them."""
    found = {}
    for page, soup in soups.items():
        for _, address in _loaded(soup, tag):
            file = _local(page, address)
            if file and file.is_file() and out in file.parents:
                found[file] = None
    return list(found)


def _replace(soup, tag, page, files, attributes):
    """Put one element in the place of the first that loads one of the files; drop the others."""
    ours = [e for e, address in _loaded(soup, tag) if _local(page, address) in files]
    if ours:
        ours[0].insert_before(soup.new_tag(tag, attrs=attributes))
    for element in ours:
        element.decompose()


def _sheet(file: Path, static: Path) -> str:
    """A style sheet with its imports, its addresses seen from the folder of the joined one."""
    text = re.sub(r"/\*.*?\*/", "", file.read_text(encoding="utf-8"), flags=re.S)
    text = re.sub(r'@charset "[^"]*";', "", text)
    text = _IMPORT.sub(lambda m: _sheet(file.parent / m[1], static), text)

    def moved(match):
        target = os.path.normpath(file.parent / match[1])
        return f"url({os.path.relpath(target, static)})".replace(os.sep, "/")

    return _URL.sub(moved, text)


def _blocks(css: str):
    """The top-level parts of a style sheet: (what stands before the brace, what within it)."""
    start = depth = opened = 0
    for match in re.finditer(r"[{};]|\"[^\"]*\"|'[^']*'", css):
        sign = match[0]
        if sign == "{":
            depth += 1
            opened = match.start() if depth == 1 else opened
        elif sign == "}":
            depth -= 1
            if depth == 0:
                yield css[start:opened].strip(), css[opened + 1 : match.start()]
                start = match.end()
        elif sign == ";" and depth == 0:
            yield css[start : match.start()].strip(), None
            start = match.end()


def pruned(css: str, used: set[str]):
    """The style sheet without rules for classes that are not in use."""
    for head, body in _blocks(css):
        if body is None:
            yield f"{head};"
        elif head.startswith(("@media", "@supports", "@layer", "@container")):
            inner = "".join(pruned(body, used))
            if inner:
                yield f"{head}{{{inner}}}\n"
        elif head.startswith("@"):
            yield f"{head}{{{body}}}\n"
        else:
            selectors = [s for s in _selectors(head) if _in_use(s, used)]
            rules = " ".join(body.split())
            if selectors and rules:
                yield f"{','.join(selectors)}{{{rules}}}\n"


def _selectors(head: str) -> list[str]:
    """A list of selectors, split at the commas outside parentheses."""
    return [s.strip() for s in re.split(r",(?![^(]*\))", head)]


def _in_use(selector: str, used: set[str]) -> bool:
    """Are all classes that it requires in use? Those inside :not() and its like are not asked."""
    required = re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", "", selector)
    return all(name.replace("\\", "") in used for name in _CLASS.findall(required))


def icons(css: str) -> set[int]:
    """The icons that a style sheet names, as escapes or as the characters themselves."""
    named = {int(code, 16) for code in re.findall(r"""["']\\([0-9a-fA-F]{4,6}) ?["']""", css)}
    return named | {ord(sign) for sign in re.findall("[\ue000-\uf8ff]", css)}


def _icon_font(static: Path, stem: str, css: str) -> str | None:
    """Cut an icon font down to the icons that the style sheet still names."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    logging.getLogger("fontTools").setLevel(logging.WARNING)
    source = static / f"{stem}.ttf"
    if "webfonts" not in stem or not source.is_file():
        return None
    font = TTFont(source)
    options = subset.Options(flavor="woff", layout_features=[], notdef_outline=True)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=icons(css))
    cutter.subset(font)
    font.flavor = "woff"
    font.save(static / f"{stem}.woff")
    return f'src:url({stem}.woff) format("woff")'
