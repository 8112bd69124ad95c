"""The joined style sheet keeps what pages use, and the icon fonts the icons that it names."""

import sys

from notebooks import BOOK

sys.path.insert(0, str(BOOK / "_ext"))
import lighten  # noqa: E402


def test_an_icon_may_be_an_escape_or_the_character_itself():
    css = """.a{a:"\\f002"} .b{--icon:"\uf06a"} .c{content:"\\1f4a1 "} .d{a:"\\201C"}"""
    assert lighten.icons(css) == {0xF002, 0xF06A, 0x1F4A1, 0x201C}


def test_rules_for_classes_that_nobody_uses_are_dropped():
    css = ".a{x:1}.b{x:2}.a .b,.c{x:3}@media print{.b{x:4}.c:not(.b){x:5}}p{x:6}"
    assert "".join(lighten.pruned(css, {"a", "c"})).split() == [
        ".a{x:1}",
        ".c{x:3}",
        "@media",
        "print{.c:not(.b){x:5}",
        "}",
        "p{x:6}",
    ]
