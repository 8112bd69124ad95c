r"""Philox on tensors: NumPy's random numbers for many keys at once, on any device of torch.

Philox4x64-10 (Salmon et al., SC 2011) is a function of a key and a counter in integer arithmetic,
so every device gives the same words. Here the words are the bit patterns of int64, whose products
and sums wrap around as unsigned ones do; the upper half of a product is put together from halves of
32 bits. What is made of the words (whole numbers by Lemire's method, numbers in [0, 1), normal
numbers by the ziggurat) is made as NumPy's ``Generator`` makes it, word by word.
"""

from __future__ import annotations

from functools import cache

_LOW = 0xFFFFFFFF
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_TAIL = 3.6541528853610088  # where the ziggurat's base layer ends
_ROOM = 24  # words: a pair of the tail is refused once in nine, eleven in a row never


def signed(word: int) -> int:
    """The int64 with the bits of an unsigned word.

    Args:
        word: from 0 to 2⁶⁴ − 1.

    Returns:
        The number.
    """
    return (word + 2**63) % 2**64 - 2**63


def words(key, counter, start, count: int):
    """Consecutive words of streams.

    Args:
        key: two int64 tensors that go together, or numbers; one row each.
        counter: the upper three words of the counter, numbers.
        start: the first word that is wanted of each row, int64, shape (R,).
        count: how many.

    Returns:
        The words, int64, shape (R, count).
    """
    import torch

    first = start.div(4, rounding_mode="floor")
    steps = torch.arange(count // 4 + 2, device=start.device)
    block = first[:, None] + steps + 1  # NumPy counts up before it draws
    lanes = [block, *(torch.full_like(block, signed(c)) for c in counter)]
    keys = [torch.as_tensor(k, device=start.device).reshape(-1, 1) for k in key]
    for _ in range(_ROUNDS):
        high0, low0 = _product(lanes[0], _MULTIPLIERS[0])
        high1, low1 = _product(lanes[2], _MULTIPLIERS[1])
        lanes = [high1 ^ lanes[1] ^ keys[0], low1, high0 ^ lanes[3] ^ keys[1], low0]
        keys = [k + signed(w) for k, w in zip(keys, _WEYL, strict=True)]
    flat = torch.stack(lanes, -1).flatten(1)
    where = (start - 4 * first)[:, None] + torch.arange(count, device=start.device)
    return flat.gather(1, where)


def integers(found, high: int, count: int):
    """Whole numbers below ``high``, by Lemire's method on halves of 32 bits.

    Args:
        found: words, shape (R, N); more than needed, as some are refused.
        high: from 2 to 2³².
        count: how many.

    Returns:
        The numbers, shape (R, count), and how many words each row has used.
    """
    import torch

    halves = torch.stack([found & _LOW, _upper(found)], -1).flatten(1)
    product = halves * high
    taken = (product & _LOW) >= (2**32 - high) % high
    kept, used = _kept(_upper(product), taken, count)
    return kept, used.div(2, rounding_mode="floor") + 1


def uniforms(found):
    """Numbers in [0, 1) of 53 bits, one of each word."""
    return _shifted(found, 11).double() * 2.0**-53


def normals(found, count: int):
    """Standard normal numbers by the ziggurat of Marsaglia and Tsang (2000), as NumPy has it.

    A number takes one word; of one in a hundred the word lies at an edge of its layer, and the next
    word decides whether it counts; of one in four thousand it lies in the base, and pairs of words
    make the tail. So first all words are read as numbers, then those few are set right.

    Args:
        found: words, shape (R, N); more than needed, by 64 at least.
        count: how many.

    Returns:
        The numbers, float64, shape (R, count), and how many words each row has used.
    """
    import torch

    inside, width, height = (t.to(found.device) for t in _ziggurat())
    layer = found & 0xFF
    size = _shifted(found, 9) & (2**52 - 1)
    value = size * width[layer]
    value = torch.where(_shifted(found, 8) & 1 == 1, -value, value).flatten()
    slow = size >= inside[layer]
    slow[:, -_ROOM:] = False  # beyond the numbers that are wanted; no word of the next row is read
    at = slow.flatten().nonzero()[:, 0]
    layer, size = layer.flatten()[at], size.flatten()[at]
    pairs, tail = _tail(found.flatten(), at)
    tail = torch.where(_shifted(size, 8) & 1 == 1, -tail, tail)
    lower, upper = height[layer], height[layer - 1]
    chance = uniforms(found.flatten()[at + 1])
    under = lower + (upper - lower) * chance < torch.exp(-0.5 * value[at] ** 2)
    length = torch.where(layer == 0, 1 + 2 * pairs, 2)
    # of two words in a row that are slow, the second may be what the first one asks for
    asks = torch.ones_like(under)
    while True:
        reach = torch.where(asks, at + length, 0).cummax(0).values.roll(1)
        reach[:1] = 0
        before, asks = asks, at >= reach
        if torch.equal(before, asks):
            break
    taken = torch.ones_like(value, dtype=torch.bool)
    taken[at] = (layer == 0) | under
    value[at] = torch.where(layer == 0, tail, value[at])
    for k in range(1, int(length.max()) if len(length) else 0):
        taken[(at + k)[asks & (length > k)]] = False
    width = torch.ones_like(taken, dtype=torch.long)
    width[at] = length
    kept, last = _kept(value.view_as(found), taken.view_as(found), count)
    return kept, last + width.view_as(found).gather(1, last[:, None])[:, 0]


def _tail(found, at):
    """From where a number in the base begins: how many pairs of words it takes, and its size."""
    import torch

    pairs, tail = torch.zeros_like(at), torch.zeros_like(at, dtype=torch.double)
    for k in range(_ROOM // 2 - 1, 0, -1):  # the first pair that is good counts
        far = -torch.log1p(-uniforms(found[at + 2 * k - 1])) / _TAIL
        room = -torch.log1p(-uniforms(found[at + 2 * k]))
        good = room + room > far * far
        pairs, tail = torch.where(good, k, pairs), torch.where(good, _TAIL + far, tail)
    return pairs, tail


def _kept(values, taken, count):
    """The first ``count`` values that are taken, in order, and where the last of them stood."""
    import torch

    place = taken.long().cumsum(1) - 1
    place = torch.where(taken & (place < count), place, count)  # the rest goes into one place more
    kept = values.new_zeros(len(values), count + 1).scatter_(1, place, values)
    where = torch.arange(values.shape[1], device=values.device).expand_as(place)
    last = torch.where(place == count - 1, where, 0).amax(1)
    return kept[:, :count], last


def _product(a, constant: int):
    """The upper and the lower word of a product."""
    low, high = constant & _LOW, constant >> 32
    below, above = a & _LOW, _upper(a)
    middle = above * low + _upper(below * low)
    other = below * high + (middle & _LOW)
    return above * high + _upper(middle) + _upper(other), a * signed(constant)


def _upper(a):
    """The upper 32 bits."""
    return (a >> 32) & _LOW


def _shifted(a, bits: int):
    """A shift to the right that brings zeros in."""
    return (a >> bits) & (2 ** (64 - bits) - 1)


@cache
def _ziggurat():
    """Of 256 layers: the first whole number outside, the width of a unit, the density at the end.

    The widths are read off NumPy, from a generator whose first word is chosen (of SFC64 it is the
    sum of its state) and whose second decides an edge for the number; 2⁴⁹ is inside all layers
    but one.

    Returns:
        Three tensors of 256 numbers.
    """
    import numpy as np
    import torch

    bits = np.random.SFC64(0)
    state, widths = bits.state, []
    for layer in range(256):
        state["state"]["state"] = np.array([(2**49 << 9) + layer, 0, 0, 0], dtype=np.uint64)
        bits.state = state
        widths.append(np.random.Generator(bits).standard_normal() / 2.0**49)
    ends = np.array(widths) * 2.0**52
    inner = np.array([_TAIL, 0, *ends[1:-1]])
    heights = np.exp(-(ends**2) / 2)
    heights[0] = 1
    inside = (inner / ends * 2.0**52).astype(np.int64)
    return tuple(torch.from_numpy(v) for v in (inside, np.array(widths), heights))
