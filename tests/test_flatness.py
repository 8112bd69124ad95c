"""Measures of flatness: whole matrices, copies of networks of two and three layers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from ddt_utils import curvature, networks, stability
from ddt_utils.flatness import copy, fisher_rao, flatness, flattest_copy, scalings


def relu(widths, **options):
    return networks.fully_connected(widths, activation="relu", **options)


def trained(widths, classes, seed):
    """A network, samples and labels; any place will do."""
    rng = np.random.default_rng(seed)
    net = relu(widths)
    x = rng.standard_normal((25, widths[0]))
    return net, net.initial(1, seed=seed)[0], x, rng.integers(0, classes, 25)


@pytest.mark.parametrize("widths, classes", [((3, 5, 1), 2), ((3, 4, 6, 3), 3)])
def test_copies_compute_the_same_and_share_three_measures(widths, classes):
    net, theta, x, y = trained(widths, classes, 1)
    factors = np.exp(np.random.default_rng(2).standard_normal(sum(widths[1:-1])))
    twin = copy(theta, scalings(net), factors)
    out = [net.outputs(torch.as_tensor(t), torch.tensor(x)) for t in (theta, twin)]
    torch.testing.assert_close(*out, rtol=1e-10, atol=1e-12)
    one, other = flatness(net, theta, x, y), flatness(net, twin, x, y)
    for name in ("relative", "fisher_rao", "flattest"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-8)
    assert other.trace > 1.5 * one.trace and other.top != pytest.approx(one.top, rel=0.1)
    a = np.exp(np.log(factors) @ scalings(net))
    np.testing.assert_allclose(other.diagonal, one.diagonal / a**2, rtol=1e-8, atol=1e-12)


def test_weight_decay_is_not_what_copies_share():
    """Its curvature is the same in every copy, and no copy of the loss."""
    net, theta, x, y = trained((3, 5, 1), 2, 6)
    decayed = replace(net, weight_decay=0.3)
    twin = copy(theta, scalings(net), np.exp(np.random.default_rng(2).standard_normal(5)))
    plain = flatness(net, theta, x, y)
    for place in (theta, twin):
        got = flatness(decayed, place, x, y)
        for name in ("relative", "fisher_rao", "flattest"):
            assert getattr(got, name) == pytest.approx(getattr(plain, name), rel=1e-8)
        own = flatness(net, place, x, y)
        assert got.trace == pytest.approx(own.trace + 0.3 * net.size)
        assert got.top == pytest.approx(own.top + 0.3)


def test_the_measures_are_what_their_names_say():
    net, theta, x, y = trained((3, 5, 1), 2, 3)
    got, bend = flatness(net, theta, x, y), curvature.hessian(net, theta, x, y)
    place = theta.numpy()
    assert got.trace == pytest.approx(np.trace(bend))
    assert got.top == pytest.approx(np.linalg.eigvalsh(bend)[-1])
    assert got.relative == pytest.approx(place**2 @ np.diag(bend))
    fish = curvature.fisher(net, theta, x)
    assert got.fisher_rao == pytest.approx(place @ fish @ place)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_norm_does_not_take_the_labels(classes):
    net = networks.fully_connected((4, 3, classes if classes > 2 else 1))
    rng = np.random.default_rng(4)
    x, theta = rng.standard_normal((11, 4)), net.initial(1, seed=5)[0]
    fish = curvature.fisher(net, theta, x)
    exact = float(theta.numpy() @ fish @ theta.numpy())
    for y in (np.zeros(11, int), rng.integers(0, classes, 11)):
        assert fisher_rao(net, theta, x, y) == pytest.approx(exact)


def test_one_hidden_layer_in_closed_form():
    net, theta, x, y = trained((3, 5, 1), 2, 6)
    bends = flatness(net, theta, x, y).diagonal
    into, out = bends[:20].reshape(4, 5).sum(axis=0), bends[20:25]
    floor = 2 * np.sqrt(into * out).sum() + bends[25]
    factors, trace = flattest_copy(bends, scalings(net))
    assert trace == pytest.approx(floor, rel=1e-10)
    np.testing.assert_allclose(factors, (into / out) ** 0.25, rtol=1e-6)
    twin = copy(theta, scalings(net), factors)
    assert flatness(net, twin, x, y).trace == pytest.approx(floor, rel=1e-8)


def test_two_hidden_layers_against_another_search():
    net, theta, x, y = trained((2, 3, 4, 1), 2, 7)
    bends, E = flatness(net, theta, x, y).diagonal, scalings(net)
    assert E.shape == (7, net.size)
    _, trace = flattest_copy(bends, E)
    other = minimize(
        lambda s: bends @ np.exp(-2 * s @ E),
        np.ones(7),
        method="Nelder-Mead",
        options=dict(maxiter=20_000, maxfev=20_000, xatol=1e-9, fatol=1e-12),
    )
    assert trace == pytest.approx(other.fun, rel=1e-5)
    assert trace <= other.fun * (1 + 1e-9)


def test_a_unit_that_is_always_off_does_not_matter():
    net = relu((1, 2, 1), loss="squared")
    theta = [2.0, 1.0, 0.0, -9.0, 0.5, 3.0, 0.0]  # the second unit never fires
    got = flatness(net, theta, [[1.0], [0.5]], [1.0, 1.0])
    w, v, x = 2.0, 0.5, np.array([1.0, 0.5])
    into, out = np.mean(v**2 * x**2) + v**2, np.mean((w * x) ** 2)
    assert got.flattest == pytest.approx(2 * np.sqrt(into * out) + 1)


def test_a_tanh_network_has_no_such_copies():
    net = networks.fully_connected((2, 3, 1))
    got = flatness(net, net.initial(1, seed=8)[0], np.eye(2), [0, 1])
    assert got.flattest is None
    with pytest.raises(ValueError, match="ReLU"):
        scalings(net)


@pytest.mark.parametrize("loss", ["squared", "cross entropy"])
def test_the_norm_of_sequences_is_that_of_the_whole_matrix(loss):
    """Outputs with two axes, as many samples as places: every number of an output counts once."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        net = torch.nn.Linear(3, 4)
    model, x = networks.from_module(net, loss, inputs=(4, 3)), np.random.default_rng(3)
    x, theta = x.normal(size=(5, 4, 3)), model.theta(net).numpy()
    y = np.zeros((5, *model.target_shape), int)
    truth = theta @ curvature.fisher(model, theta, x) @ theta
    assert fisher_rao(model, theta, x, y) == pytest.approx(truth, rel=1e-12)
    rows = stability.curvature_rows(model, theta, x, y)
    assert rows.shape == (5, 16, 16)
    np.testing.assert_allclose(
        np.einsum("mki,mkj->ij", rows, rows) / 5,
        curvature.fisher(model, theta, x),
        atol=1e-12,
    )


def test_one_network_is_asked_for():
    line, two = networks.linear(2), [[1.0, 3.0], [2.0, 4.0]]
    for ask in (fisher_rao, stability.curvature_rows):
        with pytest.raises(ValueError, match="one parameter vector of shape .2,., got .2, 2."):
            ask(line, two, [[1.0, 2.0]], [0.5])
    loud = networks.Model(
        "loud", (("w", (1,)),), lambda b, x: b["w"][..., None] * x,
        lambda o, y: o[..., 0].exp().exp(), (1.0,)
    )  # fmt: skip
    for ask in (fisher_rao, stability.curvature_rows):
        with pytest.raises(ValueError, match="derivatives must be finite"):
            ask(loud, [9.0], [[1.0]], [0.0])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: copy([1.0, 2.0], [[1, -1]], [0.0]), "positive"),
        (lambda: copy([1e10, 2.0], [[1, -1]], [1e303]), "the copy must be finite.*smaller"),
        (lambda: copy([1.0, 2.0, 3.0], [[1, -1]], [1.0]), "must end with"),
        (lambda: flattest_copy([1.0, -0.5], [[1, -1]]), "not be negative"),
        (lambda: flattest_copy([1.0, np.nan], [[1, -1]]), "finite"),
        (lambda: flatness(relu((1, 1, 1)), np.zeros(3), [[1.0]], [0]), "theta must be"),
        (lambda: scalings(networks.convolutional(8, 2, activation="relu")), "ReLU networks"),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
