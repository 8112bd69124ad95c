r"""One room for random streams: each is keyed by a seed, a purpose and an index.

Two things that are drawn for different purposes are independent also where they have one seed, and
the thousandth of a kind is the same whether the others are drawn or not. The generator is Philox, a
function of a key and a counter (Salmon et al., SC 2011): seed and index are the two words of the
key; block and purpose are the two upper words of the counter, so that :math:`2^{128}` draws lie
between one stream and the next. (The walkers of :mod:`ddt_utils.simulate` run on any processor and
have a generator of their own, with one stream for each walker.)
"""

from __future__ import annotations

import numpy as np

from ddt_utils import _checks

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
