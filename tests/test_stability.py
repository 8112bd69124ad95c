"""The smallest stable batch, against the eigenvalues of the whole map and a closed form."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from ddt_utils import curvature, networks
from ddt_utils.stability import curvature_rows, smallest_batch


def growth(rows, rate, batch):
    """The largest eigenvalue of the map of the second moment, as one matrix."""
    parts = np.einsum("mki,mkj->mij", rows, rows)
    mean, n = parts.mean(axis=0), rows.shape[2]
    keep = np.eye(n) - rate * mean
    scatter = sum(np.kron(h, h) for h in parts) / len(parts) - np.kron(mean, mean)
    return np.abs(np.linalg.eigvals(np.kron(keep, keep) + rate**2 / batch * scatter)).max()


@pytest.mark.parametrize("outputs", [1, 3])
def test_it_is_where_the_second_moment_neither_grows_nor_shrinks(outputs):
    rows = np.random.default_rng(1).standard_normal((5, outputs, 4))
    rate = 0.4 / outputs
    found = smallest_batch(rows, learning_rate=rate, tolerance=1e-9)
    assert 0.1 < found < 50
    assert growth(rows, rate, 1.001 * found) < 1 < growth(rows, rate, 0.999 * found)


@pytest.mark.parametrize("decay", [0.05, 0.7])
def test_weight_decay_is_in_the_curvature_of_every_sample(decay):
    """The same as rows √λ along every axis, which the whole map knows as samples' own."""
    rows = np.random.default_rng(2).standard_normal((5, 2, 4))
    penalty = np.broadcast_to(np.sqrt(decay) * np.eye(4), (5, 4, 4))
    whole, rate = np.concatenate([rows, penalty], axis=1), 0.2
    found = smallest_batch(rows, learning_rate=rate, weight_decay=decay, tolerance=1e-9)
    assert growth(whole, rate, 1.001 * found) < 1 < growth(whole, rate, 0.999 * found)
    assert found == pytest.approx(smallest_batch(whole, learning_rate=rate, tolerance=1e-9))
    top = np.linalg.eigvalsh(np.einsum("mki,mkj->ij", rows, rows) / 5)[-1]
    for edge in (1.99, 2.01):
        got = smallest_batch(rows, learning_rate=edge / (top + decay), weight_decay=decay)
        assert np.isinf(got) == (edge > 2)
    with pytest.raises(ValueError, match="weight_decay must be"):
        smallest_batch(rows, learning_rate=rate, weight_decay=-decay)


@pytest.mark.parametrize("root", [(0.7, 1.9, 1.2, 2.3), (1.21, 1.19, 1.2, 1.23)])
def test_one_direction_in_closed_form(root):
    """With samples that nearly agree B* is a ten-thousandth, and not zero."""
    root = np.array(root)
    h, rate = root**2, 0.3
    exact = rate * h.var() / (h.mean() * (2 - rate * h.mean()))
    assert smallest_batch(root[:, None], learning_rate=rate) == pytest.approx(exact, rel=1e-5)


def test_without_replacement_the_scatter_of_a_batch_is_smaller():
    """Every batch of two of four samples, listed: at B* exactly the moment is kept."""
    root = np.array([0.5, 2.0, 0.9, 3.1])
    h = root**2
    first, second = np.triu_indices(4, 1)
    pairs = (h[first] + h[second]) / 2

    def kept(rate):
        return np.mean((1 - rate * pairs) ** 2)

    rate = 2 * pairs.mean() / np.mean(pairs**2)
    assert kept(rate) == pytest.approx(1)
    found = smallest_batch(root[:, None], learning_rate=rate, replacement=False)
    assert found == pytest.approx(2, rel=1e-5)
    assert smallest_batch(root[:, None], learning_rate=rate) == pytest.approx(3, rel=1e-5)


def test_the_edge_of_the_full_batch_and_samples_that_agree():
    rows = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    top = np.linalg.eigvalsh(rows.T @ rows / 3)[-1]
    assert smallest_batch(rows, learning_rate=2.001 / top) == np.inf
    assert np.isfinite(smallest_batch(rows, learning_rate=1.9 / top))
    assert smallest_batch(np.tile([1.5, 0.5], (6, 1)), learning_rate=0.3) == 0


def test_rows_make_the_curvature_of_the_outputs():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((9, 3))
    for net, y in (
        (networks.fully_connected((3, 4, 3)), rng.integers(0, 3, 9)),
        (networks.fully_connected((3, 4, 1)), rng.integers(0, 2, 9)),
        (networks.fully_connected((3, 4, 1), loss="squared"), rng.standard_normal(9)),
    ):
        theta = net.initial(1, seed=3)[0]
        rows = curvature_rows(net, theta, x, y)
        assert rows.shape == (9, net.outputs(theta, torch.tensor(x)).shape[-1], net.size)
        whole = np.einsum("mki,mkj->ij", rows, rows) / 9
        np.testing.assert_allclose(whole, curvature.fisher(net, theta, x), atol=1e-12)


def test_a_batch_of_two_at_its_edge_by_listing_all_batches():
    """The learning rate for which B* is two: over all 25 batches of two the moment is kept."""
    rows = np.random.default_rng(4).standard_normal((5, 1, 3))
    edge = 2 / np.linalg.eigvalsh(rows[:, 0].T @ rows[:, 0] / 5)[-1]

    def beyond(rate):
        return smallest_batch(rows, learning_rate=rate, tolerance=1e-10) - 2

    rate = brentq(beyond, 0.01 * edge, 0.99 * edge)
    h = np.einsum("mki,mkj->mij", rows, rows)
    turns = [np.eye(3) - rate * (one + other) / 2 for one in h for other in h]
    moment = sum(np.kron(turn, turn) for turn in turns) / 25
    assert np.abs(np.linalg.eigvals(moment)).max() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(
    "given, words",
    [
        (dict(rows=np.zeros((3, 2))), "all zero"),
        (dict(rows=np.ones(3)), "rows must be"),
        (dict(rows=[[np.inf, 1.0]]), "finite"),
        (dict(learning_rate=0), "learning_rate"),
        (dict(learning_rate=np.nan), "learning_rate"),
        (dict(replacement="no"), "replacement"),
        (dict(tolerance=2), "tolerance"),
    ],
)
def test_what_makes_no_sense_is_refused(given, words):
    given = dict(rows=np.eye(3), learning_rate=0.1) | given
    with pytest.raises(ValueError, match=words):
        smallest_batch(given.pop("rows"), **given)


def test_a_loss_that_bends_down_is_refused():
    down = networks.Model(
        "down",
        (("w", (1,)),),
        lambda b, x: b["w"][..., None] * x,
        lambda o, y: -(o[..., 0] ** 2),
        (1,),
    )
    with pytest.raises(ValueError, match="convex in the outputs"):
        curvature_rows(down, [1.0], [[1.0]], [0.0])
