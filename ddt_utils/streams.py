r"""One room for random streams: each is keyed by a seed, a purpose and an index.

Two things that are drawn for different purposes are independent also where they have one seed, and
the thousandth of a kind is the same whether the others are drawn or not. The generator is Philox, a
function of a key and a counter (Salmon et al., SC 2011): seed and index are the two words of the
key; block and purpose are the two upper words of the counter, so that :math:`2^{128}` draws lie
between one stream and the next. (The walkers of :mod:`ddt_utils.simulate` run on any processor and
have a generator of their own, with one stream for each walker.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ddt_utils import _checks, _philox

#: What streams are for, and the word of the counter that tells them apart. Never renumber.
PURPOSES = {
    "training": 0,  # the minibatches and the noise of a replica, by blocks of iterations
    "initial": 1,  # the parameters at which a replica begins
    "split": 3,  # which samples belong to which part of a set
    "probes": 4,  # the random vectors of a trace or of a spectral density
    "lanczos": 5,  # the first vector of an iteration
    "sums": 6,  # the weights with which provenance sums an array
    "splitting": 16,  # the branches of rare escapes: which paths, and the walkers' streams
}
_WORDS = 1 << 22  # that are drawn together


def stream(seed: int, purpose: str, index: int = 0, block: int = 0) -> np.random.Generator:
    """The random numbers of one purpose.

    Args:
        seed: a whole number from 0 to 2⁶⁴ − 1.
        purpose: one of :data:`PURPOSES`.
        index: which one of its kind, for example the number of a replica; from 0.
        block: which piece of the stream, for streams that are read in pieces; from 0.

    Returns:
        A generator at the beginning of the stream.

    Raises:
        ValueError: a seed, an index or a block that is no such number, or an unknown purpose.

    Example:
        >>> from ddt_utils import streams
        >>> streams.stream(7, "split").integers(100, size=3)
        array([52, 27,  7])
    """
    purpose = _checks.choice("purpose", purpose, tuple(PURPOSES))
    index, block = (
        _checks.whole(name, value, most=2**64 - 1)
        for name, value in (("index", index), ("block", block))
    )
    key = np.array([_checks.seed(seed), index], dtype=np.uint64)
    counter = np.array([0, 0, block, PURPOSES[purpose]], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def each(seed: int, purpose: str, indices, block: int = 0) -> Iterator[np.random.Generator]:
    """The streams of many indices, one after the other, in a tenth of the time.

    Args:
        seed: as for :func:`stream`.
        purpose: as for :func:`stream`.
        indices: which ones, whole numbers from 0 to 2⁶⁴ − 1.
        block: as for :func:`stream`.

    Yields:
        One generator, at the beginning of each stream in turn; the next turn moves it.

    Raises:
        ValueError: as for :func:`stream`; indices that are no such numbers.

    Example:
        >>> from ddt_utils import streams
        >>> [int(g.integers(100)) for g in streams.each(7, "split", [0, 1])]
        [52, 32]
        >>> int(streams.stream(7, "split", 1).integers(100))
        32
    """
    generator = stream(seed, purpose, 0, block)
    bits = generator.bit_generator
    state = bits.state
    key = state["state"]["key"] = state["state"]["key"].copy()
    for index in _words_of(indices):
        key[1] = index
        bits.state = state
        yield generator


class Streams:
    """The streams of many indices at once, as tensors, on any device of torch.

    The same numbers as those of :func:`stream`, index by index: whole numbers and numbers in [0, 1)
    to the bit, normal numbers to the rounding of the device's logarithm in their far tails. A
    stream is read once, whole numbers first.

    Args:
        seed: as for :func:`stream`.
        purpose: as for :func:`stream`.
        indices: which ones, an array of shape (R,).
        block: as for :func:`stream`.
        device: of torch.

    Raises:
        ValueError: as for :func:`stream`; indices that are no such numbers.

    Example:
        >>> from ddt_utils import streams
        >>> streams.Streams(7, "split", [0, 1]).integers(0, 100, (3,)).tolist()
        [[52, 27, 7], [32, 5, 97]]
    """

    def __init__(self, seed: int, purpose: str, indices, block: int = 0, device="cpu"):
        """See the class."""
        import torch

        purpose = _checks.choice("purpose", purpose, tuple(PURPOSES))
        index = _words_of(indices).view(np.int64)
        self._keys = torch.as_tensor(index, device=device)
        self._seed = _philox.signed(_checks.seed(seed))
        self._counter = (0, _checks.whole("block", block, most=2**64 - 1), PURPOSES[purpose])
        self._at = torch.zeros_like(self._keys)  # the next word of each

    def integers(self, low: int, high: int, shape: tuple):
        """Whole numbers from ``low`` on and below ``high``.

        Args:
            low: from 0.
            high: at most 2³² above ``low``.
            shape: of each stream's numbers.

        Returns:
            A tensor of shape ``(R, *shape)``, int64.

        Raises:
            ValueError: the streams were read before, or there are no such numbers.
        """
        count, width = math.prod(shape), high - low
        if not 1 <= width < 2**32:
            raise ValueError(f"high must be 1 to 2**32 - 1 above low, got {low} and {high}")
        if self._at.any():
            raise ValueError("integers must be drawn first, got streams that were read before")
        if width == 1:
            return self._at.new_full((len(self._at), *shape), low)
        refused = count * ((2**32 - width) % width) / 2**32  # on average
        spare = count + math.ceil(refused + 12 * math.sqrt(refused)) + 16
        make = self._filled(math.ceil(spare / 2), lambda w: _philox.integers(w, width, count))
        return make.reshape(-1, *shape) + low

    def random(self, shape: tuple):
        """Numbers in [0, 1).

        Args:
            shape: of each stream's numbers.

        Returns:
            A tensor of shape ``(R, *shape)``, float64.
        """
        count = math.prod(shape)
        return self._filled(count, lambda w: (_philox.uniforms(w), count)).reshape(-1, *shape)

    def standard_normal(self, shape: tuple):
        """Standard normal numbers.

        Args:
            shape: of each stream's numbers.

        Returns:
            A tensor of shape ``(R, *shape)``, float64.
        """
        count = math.prod(shape)
        spare = math.ceil(1.025 * count + 3 * math.sqrt(count)) + 64  # 1.022 ± 0.2/√count each
        return self._filled(spare, lambda w: _philox.normals(w, count)).reshape(-1, *shape)

    def _filled(self, count, make):
        """What ``make`` makes of so many words of each stream, a few streams at a time."""
        import torch

        parts, together = [], max(1, _WORDS // (count + 4))
        for keys, at in zip(self._keys.split(together), self._at.split(together), strict=True):
            found, used = make(_philox.words((self._seed, keys), self._counter, at, count))
            parts.append(found)
            at += used
        return torch.cat(parts)


def _words_of(indices):
    """Numbers of streams as 64-bit words, refused if one is none: it would be another stream."""
    found = np.asarray(indices.cpu() if hasattr(indices, "cpu") else indices)
    if found.ndim == 1 and found.dtype.kind == "u":
        return found.astype(np.uint64)
    if found.ndim == 1 and found.dtype.kind == "i" and not (found < 0).any():
        return found.astype(np.uint64)
    if np.ndim(indices) != 1:
        raise ValueError(
            f"indices must be a list of whole numbers, got {indices!r:.80}; write [0] for one"
        )
    whole = [_checks.whole("an index", index, most=2**64 - 1) for index in indices]
    return np.array(whole, dtype=np.uint64)


def samples(seed: int) -> np.random.Generator:
    """The random numbers of a generated data set: NumPy's default generator, PCG64.

    A set is part of what is measured, so the set of a seed stays what it is while the streams of
    everything that is done with it are keyed by purpose. PCG64 shares no stream with Philox.

    Args:
        seed: a whole number from 0 to 2⁶⁴ − 1.

    Returns:
        A generator at the beginning of the set.

    Example:
        >>> samples(1).random() == samples(1).random()
        True
    """
    return np.random.default_rng(_checks.seed(seed))
