"""Random streams: those that were asked for, independent of every other, never a twin's."""

import itertools

import numpy as np
import pytest
import torch

from ddt_utils import data, networks, spectrum, streams
from ddt_utils.replicas import GaussianSGD, Replicas


def test_a_stream_is_philox_at_its_key_and_counter():
    """Against the generator itself: seed and index are the key, block and purpose the counter."""
    words = dict(key=[11, 5], counter=[0, 0, 3, streams.PURPOSES["probes"]])
    truth = np.random.Generator(np.random.Philox(**words)).random(7)
    np.testing.assert_array_equal(streams.stream(11, "probes", 5, 3).random(7), truth)
    top = streams.stream(2**64 - 1, "split", 2**64 - 1)
    state = top.bit_generator.state["state"]
    assert state["key"].tolist() == [2**64 - 1] * 2
    assert state["counter"].tolist() == [0, 0, 0, streams.PURPOSES["split"]]


def test_training_keeps_the_counter_that_it_always_had():
    truth = np.random.Generator(np.random.Philox(key=[7, 2], counter=[0, 0, 4, 0])).integers(60)
    assert streams.stream(7, "training", 2, 4).integers(60) == truth
    assert len(set(streams.PURPOSES.values())) == len(streams.PURPOSES)


def test_seed_purpose_index_and_block_each_make_another_stream():
    """All pairs of 2 × 6 × 3 × 2 streams: no correlation of 1000 normals above 5.5/√1000.

    False alarm: 2556 pairs × 4e-8 = 1e-4, at fixed seeds.
    """
    keys = [*itertools.product((1, 2), streams.PURPOSES, (0, 1, 2), (0, 1))]
    draws = np.array([streams.stream(*key).standard_normal(1000) for key in keys])
    correlations = np.corrcoef(draws)[np.triu_indices(len(keys), 1)]
    assert np.abs(correlations).max() < 5.5 / np.sqrt(1000)


def test_the_first_kick_is_not_the_initial_draw():
    """One seed for where replicas begin and for what drives them: 1200 pairs, false alarm 1e-5."""
    model = networks.quadratic(np.diag([1.0, 2.0, 4.0]))
    begin = model.initial(400, seed=9)
    rule = GaussianSGD(0.25, np.eye(3))
    crowd = Replicas(
        model, np.zeros((2, 3)), np.zeros(2), rule, start=np.zeros(3), replicas=400, seed=9
    )
    kicks = crowd.run(1).theta
    found = np.corrcoef(begin.numpy().ravel(), kicks.numpy().ravel())[0, 1]
    assert abs(found) < 4.42 / np.sqrt(1200)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", None, True, np.nan, [3]])
@pytest.mark.parametrize(
    "draw",
    [
        lambda seed: streams.stream(seed, "training"),
        lambda seed: networks.logistic(3).initial(2, seed=seed),
        lambda seed: Replicas(
            networks.quadratic(np.eye(2)), np.zeros((2, 2)), np.zeros(2),
            GaussianSGD(0.1, np.eye(2)), start=np.zeros(2), seed=seed,
        ),
        lambda seed: data.gaussian_mixture(9, 3, seed=seed),
        lambda seed: data.teacher_logistic(9, 3, seed=seed),
        lambda seed: data.teacher_regression(9, 3, seed=seed),
        lambda seed: data.signals(9, seed=seed),
        lambda seed: data.wine().split(0.3, seed=seed),
        lambda seed: spectrum.top_eigenpairs(np.diag([1.0, 2, 4]), count=1, seed=seed),
        lambda seed: spectrum.hutchinson_trace(np.eye(3), probes=2, seed=seed),
    ],
    ids="stream initial replicas mixture logistic regression signals split pairs trace".split(),
)  # fmt: skip
def test_every_seed_is_checked_by_the_same_law(draw, seed):
    with pytest.raises(ValueError, match=r"^seed must be a whole number from 0 to 2\*\*64 - 1"):
        draw(seed)


@pytest.mark.parametrize(
    "words, message",
    [
        ((1, "trainig"), "purpose must be one of 'training'"),
        ((1, "split", -1), "index must be a whole number, 0 or more"),
        ((1, "split", 2**64), "index must be a whole number"),
        ((1, "split", 0, 1.5), "block must be a whole number"),
    ],
)
def test_errors(words, message):
    with pytest.raises(ValueError, match=message):
        streams.stream(*words)


@pytest.mark.parametrize("wrong", [[1.5], [True], ["1"], [None], [-1], [2**64], [0, 2.5], 3])
def test_an_index_that_is_none_is_no_other_stream(wrong):
    for ask in (streams.each, streams.Streams):
        with pytest.raises(ValueError, match="ind(ex|ices) must be a"):
            list(ask(7, "split", wrong)) if ask is streams.each else ask(7, "split", wrong)
        with pytest.raises(ValueError, match="an index must be a whole number"):
            arrays = np.array([0.7]) if ask is streams.each else np.array([-3])
            list(ask(7, "split", arrays)) if ask is streams.each else ask(7, "split", arrays)


def test_indices_may_be_any_whole_numbers():
    wanted = streams.Streams(7, "split", [0, 1, 2**64 - 1]).random((3,))
    for given in ([0.0, np.int8(1), 2**64 - 1], np.array([0, 1, 2**64 - 1], np.uint64)):
        assert torch.equal(streams.Streams(7, "split", given).random((3,)), wanted)
    few = streams.Streams(7, "split", torch.arange(2)).random((3,))
    assert torch.equal(few, wanted[:2])
