"""Random numbers as tensors: NumPy's own, word for word, and what is made of them."""

import numpy as np
import pytest
import torch
from scipy import stats

from ddt_utils import _philox, streams
from ddt_utils.streams import Streams

TOP = 2**64 - 1
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def numpys(draw, indices, seed=7, block=3):
    return np.stack([draw(streams.stream(seed, "training", i, block)) for i in indices])


def ours(indices, device, seed=7, block=3):
    return Streams(seed, "training", indices, block, device=device)


@pytest.mark.parametrize("device", DEVICES)
def test_words_are_those_of_numpy_s_philox(device):
    """At any key, counter and place, the signs of all words included."""
    keys, counter = (TOP - 5, 2**63 + 11), (2, TOP, 2**63)
    given = [np.array(words, np.uint64) for words in (keys, (0, *counter))]
    bits = np.random.Philox(key=given[0], counter=given[1])
    truth = bits.random_raw(1000).view(np.int64)
    key = [_philox.signed(k) for k in keys]
    for start in (0, 1, 6, 403):
        at = torch.tensor([start], device=device)
        found = _philox.words(key, counter, at, 500).cpu().numpy()
        np.testing.assert_array_equal(found[0], truth[start : start + 500])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("high", [1, 2, 3, 64, 500, 1_000_003, 3_000_000_001, 2**32 - 1])
def test_whole_numbers_are_numpy_s(high, device):
    """With refusals: of 3 000 000 001 every third number is drawn again."""
    indices = (0, 5, TOP)
    truth = numpys(lambda g: g.integers(0, high, (64, 9)), indices)
    found = ours(indices, device).integers(0, high, (64, 9))
    np.testing.assert_array_equal(found.cpu().numpy(), truth)
    assert found.dtype == torch.int64


@pytest.mark.parametrize("device", DEVICES)
def test_a_stream_goes_on_after_each_kind_of_number(device):
    def draw(g):
        whole, real = g.integers(0, 77, (64, 8)), g.random((5, 3))
        return whole, g.standard_normal((64, 21)), real, g.random((2,)), g.standard_normal((3,))

    indices = range(60)
    for k, part in enumerate(draw(ours(indices, device))):
        truth = numpys(lambda g, k=k: draw(g)[k], indices)
        np.testing.assert_allclose(part.cpu().numpy(), truth, rtol=1e-15, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_normal_numbers_are_numpy_s_ziggurat(device):
    """A million and a half, of which 15 000 lie at edges and 400 in the tail."""
    truth = numpys(lambda g: g.standard_normal((50, 600)), range(50), seed=TOP)
    found = ours(range(50), device, seed=TOP).standard_normal((50, 600)).cpu().numpy()
    assert (np.abs(truth) > _philox._TAIL).sum() > 200
    assert (found != truth).mean() < 1e-4  # the logarithm's last digit, in the tail
    np.testing.assert_allclose(found, truth, rtol=4e-16, atol=0)


def test_normal_numbers_are_normal():
    """Kolmogorov and Smirnov, and the tails; false alarm 1e-5."""
    found = Streams(3, "training", range(40)).standard_normal((25_000,)).numpy().ravel()
    assert stats.kstest(found, "norm").pvalue > 1e-5
    for edge in (1.0, 3.0, 3.7, 4.2):
        expected = found.size * 2 * stats.norm.sf(edge)
        assert abs((np.abs(found) > edge).sum() - expected) < 4.42 * np.sqrt(expected)


def test_streams_are_cut_up_as_memory_wants(monkeypatch):
    whole = Streams(5, "probes", range(30), 2)
    one = whole.integers(0, 12, (7,)), whole.standard_normal((40,))
    monkeypatch.setattr(streams, "_WORDS", 300)
    pieces = Streams(5, "probes", range(30), 2)
    other = pieces.integers(0, 12, (7,)), pieces.standard_normal((40,))
    assert all(map(torch.equal, one, other))


def test_each_is_the_stream_of_every_index():
    indices = (3, 0, TOP, 12)
    found = [g.standard_normal(5) for g in streams.each(11, "probes", indices, 4)]
    truth = [streams.stream(11, "probes", i, 4).standard_normal(5) for i in indices]
    np.testing.assert_array_equal(found, truth)
    words = [int(g.integers(0, 99, 3)[0]) for g in streams.each(11, "probes", indices)]
    assert words == [int(streams.stream(11, "probes", i).integers(0, 99)) for i in indices]


def test_errors():
    with pytest.raises(ValueError, match="integers must be drawn first"):
        drawn = Streams(1, "training", [0])
        drawn.random((2,))
        drawn.integers(0, 9, (2,))
    with pytest.raises(ValueError, match="high must be 1 to"):
        Streams(1, "training", [0]).integers(4, 4, (2,))
    with pytest.raises(ValueError, match="purpose must be one of"):
        Streams(1, "trainig", [0])
