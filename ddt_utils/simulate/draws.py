"""Statements that draw the random numbers of a step: normals, uniforms, minibatches."""

from __future__ import annotations

import numpy as np

from ddt_utils.simulate.step import Batch


def normals(count: int, spare: bool = False, *, fresh: bool = True) -> list[str]:
    """Statements that draw the normals ``z0``, ``z1`` and so on.

    Args:
        count: how many.
        spare: is half of the last pair left over for another step?
        fresh: is there none left over from the step before?

    Returns:
        The statements; with ``spare`` the variable of that name holds what is left over.
    """
    lines, drawn = [], 0
    if spare and not fresh:
        lines, drawn = ["z0 = spare"], 1
    while drawn < count:
        lines += ["r, a, b, c, d = draw(a, b, c, d)", "q, a, b, c, d = draw(a, b, c, d)"]
        second = f"z{drawn + 1}" if drawn + 1 < count else "spare"
        lines.append(f"z{drawn}, {second} = normal_pair(r, q)")
        drawn += 2
    return lines


def uniforms(count: int) -> list[str]:
    """Statements that draw the uniforms ``u0``, ``u1`` and so on.

    Args:
        count: how many.

    Returns:
        The statements.
    """
    draws = "r, a, b, c, d = draw(a, b, c, d)"
    return [line for i in range(count) for line in (draws, f"u{i} = uniform(r)")]


def minibatch(batch: Batch, number) -> list[str]:
    """Statements that count in ``m0``, ``m1`` and so on how often each sample is in the minibatch.

    Args:
        batch: the minibatch.
        number: a function that keeps a constant and returns the parameter that holds it.

    Returns:
        The statements.

    Raises:
        ValueError: it is too large to be drawn.
    """
    m, size = len(batch.counts), batch.size
    if m > 256 or m * size > 4096:
        raise ValueError(
            f"a drawn minibatch holds at most 4096/m of m samples and m at most 256, got {size} of "
            f"{m}; use normal noise with the same covariance"
        )
    draw = "r, a, b, c, d = draw(a, b, c, d)"
    if not batch.replacement:
        # one sample after the other: taken with probability (places left) / (samples left)
        lines, left = [], f"np.float32({size})"
        for j in range(m - 1):
            share = f"np.float32({(m - j) * 2.0**-24!r})"
            take = f"mul(np.float32(np.int32(r >> np.uint32(8))), {share})"
            lines += [
                draw,
                f"m{j} = select({take} < {left}, one, zero)",
                f"left{j} = {left} - m{j}",
            ]
            left = f"left{j}"
        return [*lines, f"m{m - 1} = {left}"]
    if batch.weights:
        return _weighted(batch, number)
    lines, bits, unused = [], (m - 1).bit_length(), 0
    for i in range(size):
        if m & (m - 1):  # the integer part of m times a fraction; bias below m / 2^24
            fraction = "np.uint32(r >> np.uint32(8))"
            index = f"np.uint32(np.uint32({fraction} * np.uint32({m})) >> np.uint32(24))"
            lines.append(draw)
        else:  # m is a power of two: a few of the upper 24 bits each
            if unused < bits:
                lines.append(draw)
                unused = 24
            unused -= bits
            index = f"np.uint32(r >> np.uint32({unused + 8})) & np.uint32({m - 1})"
        lines.append(f"index = np.int32({index})")
        for j in range(m - 1):
            one = f"select(index == np.int32({j}), one, zero)"
            lines.append(f"m{j} = {f'm{j} + ' if i else ''}{one}")
    taken = " - ".join(f"m{j}" for j in range(m - 1))
    return [*lines, f"m{m - 1} = np.float32({size}) - {taken}"]


def _weighted(batch, number):
    """Counts of samples with weights: how many uniforms lie below each sum of weights."""
    # small weights come first, where sums of them and uniforms have all their digits
    *order, last = sorted(range(len(batch.counts)), key=lambda j: batch.weights[j])
    ends = [number(end) for end in np.cumsum([batch.weights[j] for j in order])]
    lines = []
    for i in range(batch.size):
        lines += ["r, a, b, c, d = draw(a, b, c, d)", "share = uniform(r)"]
        for j, end in zip(order, ends, strict=True):
            one = f"select(share <= {end}, one, zero)"
            lines.append(f"below{j} = {f'below{j} + ' if i else ''}{one}")
    held = [f"below{j}" for j in order]
    total = f"np.float32({batch.size})"
    below = zip([*order, last], [*held, total], ["", *(f" - {name}" for name in held)], strict=True)
    return lines + [f"m{j} = {upper}{lower}" for j, upper, lower in below]
