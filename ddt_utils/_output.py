"""Print what an output can show: a pipe on Windows has no minus sign, an old terminal no τ."""

from __future__ import annotations

import sys
import unicodedata

_WRITTEN = {"−": "-", "±": "+/-", "×": "x", "·": "*", "–": "-", "—": "-", "…": "..."}
_WRITTEN |= {"≈": "~", "≤": "<=", "≥": ">=", "→": "->", "∞": "inf", "√": "sqrt", "∝": "~"}
_WRITTEN |= dict.fromkeys("‘’′", "'") | dict.fromkeys("“”″", '"')


def say(line: str) -> None:
    """Print a line; what the output cannot show is said in other words.

    Args:
        line: printed as it is wherever the encoding of the output allows it.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print("".join(c if _shows(c, encoding) else _plain(c, encoding) for c in line))


def _shows(text, encoding):
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _plain(character, encoding):
    """A character in other words: − as -, τ as tau, ½ as 1/2, and ? where there are none."""
    name = unicodedata.name(character, "")
    greek = name.split(" WITH ")[0].split()[-1:] if name.startswith("GREEK ") else [""]
    ways = (
        _WRITTEN.get(character, ""),
        greek[0].lower() if " SMALL " in name else greek[0].capitalize(),
        unicodedata.normalize("NFKD", character).replace("⁄", "/").replace("−", "-"),
    )
    return next((way for way in ways if way and _shows(way, encoding)), "?")
