"""Do two drawings look the same? Bytes cannot say: they depend on the processor.

Matplotlib names clip paths and markers by a digest of their coordinates, and those differ in the
last bit between processors. So names are numbered as they appear and numbers compared as numbers.
"""

from __future__ import annotations

import re

TOLERANCE = 0.02  # points, or what a style counts in: less than anybody sees
_DIGEST = re.compile(r"\b([A-Za-z]\w*?)([0-9a-f]{10})\b")
_NUMBER = re.compile(r"(#[0-9a-fA-F]{6}\b)|(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def parts(text: str) -> tuple[str, list[float]]:
    """What a drawing consists of: its text without numbers, and the numbers in order.

    Args:
        text: the SVG.

    Returns:
        The text, in which names with a digest are numbered and colours kept, and the numbers.
    """
    order = {}
    text = _DIGEST.sub(lambda m: f"{m[1]}-{order.setdefault(m[2], len(order))}", text)
    numbers = [float(m[0]) for m in _NUMBER.finditer(text) if not m[1]]
    return _NUMBER.sub(lambda m: m[1] or "0", text), numbers


def look_alike(one: str, other: str, tolerance: float = TOLERANCE) -> bool:
    """Would a reader see the same picture?

    Args:
        one: an SVG.
        other: another one.
        tolerance: by how much any number may differ.

    Returns:
        Whether the elements are the same and no number differs by more than the tolerance.
    """
    (skeleton, numbers), (other_skeleton, other_numbers) = parts(one), parts(other)
    return skeleton == other_skeleton and all(
        abs(a - b) <= tolerance for a, b in zip(numbers, other_numbers, strict=True)
    )
