"""Hessians and gradient covariances against closed forms, differences, and a second derivative."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import combinations, product

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.special import softmax as softmax_of
from torch.nn import functional as F

from ddt_utils import flatness, networks, passes, stability
from ddt_utils.curvature import (
    LARGEST,
    fisher,
    gradient_covariance,
    hessian,
    hessian_operator,
    hessian_vector_product,
    sample_gradients,
    second_moment,
)
from ddt_utils.replicas import SGD, Replicas

RNG = np.random.default_rng(11)
M, D = 14, 4
X = RNG.normal(size=(M, D))
SIGNS, CLASSES, REALS = RNG.integers(0, 2, M), RNG.integers(0, 3, M), RNG.normal(size=M)
SPD = np.array([[3.0, 1, 0, 0], [1, 2, 0.5, 0], [0, 0.5, 1, 0], [0, 0, 0, 0.1]])
PICTURES = RNG.normal(size=(M, 16))
MODELS = [
    (networks.logistic(D), X, SIGNS),
    (networks.softmax(D, 3), X, CLASSES),
    (networks.linear(D), X, REALS),
    (networks.diagonal_linear(D), X, REALS),
    (networks.quadratic(SPD), X, SIGNS),
    (networks.fully_connected((D, 5, 3)), X, CLASSES),
    (networks.fully_connected((D, 4, 3, 1), activation="relu"), X, SIGNS),
    (networks.fully_connected((D, 4, 1), loss="squared"), X, REALS),
    (networks.convolutional(4, 3, channels=2), PICTURES, CLASSES),
]
every_model = pytest.mark.parametrize("model, x, y", MODELS, ids=[m.name for m, _, _ in MODELS])


def place(model, seed=2):
    """Not the initial values themselves, whose offsets are zero."""
    return np.random.default_rng(seed).normal(size=model.size) * 0.7


def closed_form(kind, theta):
    """Sample gradients, Hessian and Fisher information, by hand."""
    if kind == "logistic":
        p = expit(X @ theta)
        curved = np.einsum("i,ij,ik->jk", p * (1 - p), X, X) / M
        return (p - SIGNS)[:, None] * X, curved, curved
    if kind == "softmax":
        p = softmax_of(X @ theta.reshape(D, 3), axis=1)
        gradients = np.einsum("ij,ic->ijc", X, p - np.eye(3)[CLASSES]).reshape(M, -1)
        inner = np.einsum("ic,cd->icd", p, np.eye(3)) - np.einsum("ic,id->icd", p, p)
        curved = np.einsum("ij,ik,icd->jckd", X, X, inner).reshape(3 * D, 3 * D) / M
        return gradients, curved, curved
    if kind == "linear":
        return (X @ theta - REALS)[:, None] * X, X.T @ X / M, X.T @ X / M
    if kind == "diagonal":
        u, v = theta[:D], theta[D:]
        residual = X @ (u**2 - v**2) - REALS
        slopes = 2 * np.hstack([X * u, -X * v])
        bend = 2 * (residual @ X / M) * np.array([[1.0], [-1.0]])
        outer = slopes.T @ slopes / M
        return residual[:, None] * slopes, outer + np.diag(bend.ravel()), outer
    return (theta - X) @ SPD, SPD, SPD


@pytest.mark.parametrize(
    "case, kind", list(enumerate(["logistic", "softmax", "linear", "diagonal", "quadratic"]))
)
def test_closed_forms(case, kind):
    model, x, y = MODELS[case]
    theta = place(model)
    gradients, curved, information = closed_form(kind, theta)
    np.testing.assert_allclose(sample_gradients(model, theta, x, y), gradients, atol=1e-13)
    np.testing.assert_allclose(hessian(model, theta, x, y), curved, atol=1e-13)
    np.testing.assert_allclose(fisher(model, theta, x), information, atol=1e-13)
    np.testing.assert_allclose(
        gradient_covariance(model, theta, x, y), np.cov(gradients.T, bias=True), atol=1e-13
    )
    np.testing.assert_allclose(
        second_moment(model, theta, x, y), gradients.T @ gradients / M, atol=1e-13
    )


def test_the_covariance_of_a_quadratic_loss_is_hessian_covariance_hessian():
    model, theta = networks.quadratic(SPD), np.ones(D)
    expected = SPD @ np.cov(X.T, bias=True) @ SPD / 5
    found = gradient_covariance(model, theta, X, SIGNS, batch_size=5)
    np.testing.assert_allclose(found, expected, atol=1e-13)


@every_model
def test_gradients_and_hessian_are_those_of_reverse_mode_alone(model, x, y):
    """torch.autograd, one sample at a time and reverse over reverse, not torch.func."""
    theta, xs, ys = torch.tensor(place(model)), torch.tensor(x), torch.tensor(y)
    rows = [
        torch.autograd.functional.jacobian(
            lambda t, i=i: model.loss(t, xs[i : i + 1], ys[i : i + 1]), theta
        )
        for i in range(M)
    ]
    np.testing.assert_allclose(
        sample_gradients(model, theta, x, y), torch.stack(rows), rtol=1e-11, atol=1e-13
    )
    second = torch.autograd.functional.hessian(lambda t: model.loss(t, xs, ys), theta)
    np.testing.assert_allclose(hessian(model, theta, x, y), second, rtol=1e-10, atol=1e-12)


@every_model
def test_gradients_and_hessian_are_what_differences_of_the_loss_say(model, x, y):
    theta, xs, ys, h = place(model), torch.tensor(x), torch.tensor(y), 1e-5
    nudges = h * np.eye(model.size)

    def slope(loss):
        return np.stack([(loss(theta + v) - loss(theta - v)) / (2 * h) for v in nudges])

    losses = slope(lambda t: model.sample_losses(torch.tensor(t), xs, ys).numpy())
    np.testing.assert_allclose(sample_gradients(model, theta, x, y), losses.T, atol=1e-7)
    bends = slope(lambda t: sample_gradients(model, t, x, y).mean(0))
    np.testing.assert_allclose(hessian(model, theta, x, y), bends, atol=1e-7)


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_the_covariance_is_that_of_all_minibatches_there_are(batch_size, replacement):
    """All m^B ordered draws with replacement, all B of m without: no formula is needed."""
    model, few = networks.fully_connected((D, 2, 1)), slice(0, 5)
    theta, x, y = place(model), X[few], SIGNS[few]
    rows = sample_gradients(model, theta, x, y)
    draws = (
        product(range(5), repeat=batch_size) if replacement else combinations(range(5), batch_size)
    )
    minibatches = np.array([rows[list(draw)].mean(0) for draw in draws])
    found = gradient_covariance(model, theta, x, y, batch_size=batch_size, replacement=replacement)
    np.testing.assert_allclose(found, np.cov(minibatches.T, bias=True), atol=1e-14)


def test_a_minibatch_of_all_samples_has_no_noise_unless_drawn_with_replacement():
    model, x, y = MODELS[0]
    theta = place(model)
    whole = gradient_covariance(model, theta, x, y, batch_size=M, replacement=False)
    np.testing.assert_array_equal(whole, 0)
    assert np.trace(gradient_covariance(model, theta, x, y, batch_size=3 * M)) > 0
    alone = gradient_covariance(model, theta, x[:1], y[:1], replacement=False)
    np.testing.assert_array_equal(alone, 0)


@pytest.mark.parametrize("case", [0, 1, 5, 6, 8])
def test_the_fisher_information_is_the_average_over_the_labels_of_the_model(case):
    """Its definition, label by label, for cross entropy; the probabilities are written out."""
    model, x, _ = MODELS[case]
    theta = place(model)
    out = model.outputs(torch.tensor(theta), torch.tensor(x)).numpy()
    chance = softmax_of(out if out.shape[1] > 1 else np.hstack([0 * out, out]), axis=1)
    expected = 0
    for label in range(chance.shape[1]):
        rows = sample_gradients(model, theta, x, np.full(M, label))
        expected = expected + (chance[:, label] * rows.T) @ rows / M
    np.testing.assert_allclose(fisher(model, theta, x), expected, rtol=1e-11, atol=1e-13)


def test_the_fisher_information_of_squared_loss_is_that_of_a_gaussian():
    """Gauss–Hermite quadrature over labels of unit variance; exact for a quadratic integrand."""
    model, x, _ = MODELS[7]
    theta = place(model)
    out = model.outputs(torch.tensor(theta), torch.tensor(x)).numpy()[:, 0]
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    expected = 0
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        rows = sample_gradients(model, theta, x, out + node)
        expected = expected + weight * rows.T @ rows / M
    np.testing.assert_allclose(fisher(model, theta, x), expected, rtol=1e-11, atol=1e-13)


def test_the_fisher_information_is_refused_where_its_formula_does_not_hold():
    model, x, _ = MODELS[2]
    quartic = networks.Model(
        "quartic", model.shapes, model.forward, lambda out, y: (out[..., 0] - y) ** 4, (1.0,)
    )
    with pytest.raises(ValueError, match="outputs of quartic must be natural parameters"):
        fisher(quartic, place(model), x)


@pytest.mark.parametrize(
    "loss, words",
    [
        (partial(F.cross_entropy, weight=torch.tensor([1, 1, 9.0]).double()), "natural parameters"),
        (lambda out, y, reduction: 2 * F.cross_entropy(out, y, reduction="none"), "up to 1 only"),
        (partial(F.cross_entropy, label_smoothing=0.1), "minus the logarithm of a class's prob"),
        (F.cross_entropy, ""),
    ],
)
def test_every_label_has_its_probability(loss, words):
    """The first two labels have the same weight here, and the third another."""
    model = replace(MODELS[1][0], output_loss=partial(loss, reduction="none"))
    theta = place(model)
    asks = (lambda m: fisher(m, theta, X), lambda m: flatness.fisher_rao(m, theta, X, CLASSES))
    for ask in asks:
        if words:
            with pytest.raises(ValueError, match=words):
                ask(model)
        else:
            np.testing.assert_allclose(ask(model), ask(MODELS[1][0]), rtol=1e-10, atol=1e-13)


def test_layers_that_are_mapped_over_samples_only_have_a_fisher_matrix():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        net = torch.nn.Sequential(torch.nn.Linear(D, 5), torch.nn.PReLU(), torch.nn.Linear(5, 3))
    model, expected = networks.from_module(net), 0
    theta = model.theta(net).numpy()
    chance = softmax_of(model.module(theta)(torch.tensor(X)).detach().numpy(), axis=1)
    for label in range(3):
        rows = sample_gradients(model, theta, X, np.full(M, label))
        expected = expected + (chance[:, label] * rows.T) @ rows / M
    np.testing.assert_allclose(fisher(model, theta, X), expected, rtol=1e-11, atol=1e-13)
    rows = stability.curvature_rows(model, theta, X, CLASSES)
    np.testing.assert_allclose(np.einsum("mki,mkj->ij", rows, rows) / M, expected, atol=1e-12)


SWITCHES = [torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False)]


@pytest.mark.parametrize("switch", SWITCHES, ids=["no_grad", "inference_mode", "set"])
def test_the_caller_may_have_switched_gradients_off(switch):
    plain, x, y = MODELS[5]

    def module():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            return torch.nn.Sequential(
                torch.nn.Linear(D, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3)
            )

    def all_of_them():
        net = module()
        wrapped = networks.from_module(net)
        for model, theta in ((plain, plain.initial(1, seed=3)[0]), (wrapped, wrapped.theta(net))):
            for function in (hessian, sample_gradients, gradient_covariance, second_moment):
                yield function(model, theta, x, y)
            yield fisher(model, theta, x)
            yield hessian_operator(model, theta, x, y) @ np.ones(model.size)
            yield hessian_vector_product(model, theta, x, y, np.ones(model.size))
            yield flatness.fisher_rao(model, theta, x, y)
            yield stability.curvature_rows(model, theta, x, y)
        [found] = passes.critical_points(MODELS[0][0], np.zeros(D), X, SIGNS, index=0)
        yield found.location

    expected, before = [*all_of_them()], torch.is_grad_enabled()
    try:
        with switch():
            found = [*all_of_them()]
            assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(before)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@every_model
def test_products_are_those_of_the_whole_hessian(model, x, y):
    theta, vectors = place(model), RNG.normal(size=(model.size, 3))
    whole = hessian(model, theta, x, y)
    np.testing.assert_array_equal(whole, whole.T)
    operator = hessian_operator(model, theta, x, y)
    for v in (vectors, vectors[:, 0], vectors[:, :1]):
        product_ = hessian_vector_product(model, theta, x, y, v)
        assert product_.shape == v.shape and product_.dtype == np.float64
        np.testing.assert_allclose(product_, whole @ v, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(operator @ v, product_, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(operator.T @ vectors, whole @ vectors, rtol=1e-10, atol=1e-12)


@every_model
def test_chunks_change_nothing(model, x, y):
    theta = place(model)
    for function in (sample_gradients, gradient_covariance, second_moment, hessian):
        np.testing.assert_allclose(
            function(model, theta, x, y, chunk=3), function(model, theta, x, y), atol=1e-13
        )
    np.testing.assert_allclose(
        fisher(model, theta, x, chunk=3), fisher(model, theta, x), atol=1e-13
    )


def test_double_precision_whatever_comes_in_and_no_graph_is_left_behind():
    model, x, y = MODELS[5]
    theta = torch.tensor(place(model), requires_grad=True)
    with torch.no_grad():
        quiet = hessian(model, theta, torch.tensor(x), torch.tensor(y))
    np.testing.assert_array_equal(quiet, hessian(model, theta.detach().numpy(), x, y))
    assert quiet.dtype == np.float64 and theta.grad is None
    single = gradient_covariance(model, theta, x.astype(np.float32), y.astype(np.int32))
    assert single.dtype == np.float64
    exact = gradient_covariance(model, theta, x.astype(np.float32).astype(float), y)
    np.testing.assert_array_equal(single, exact)


def test_a_large_centre_costs_no_digits():
    """The mean gradient is 1e7 times the spread; a difference of two squares would lose it."""
    x = RNG.normal(size=(50, 3))
    model = networks.quadratic(np.eye(3))
    found = gradient_covariance(model, np.full(3, 1e7), x, np.zeros(50))
    np.testing.assert_allclose(found, np.cov(x.T, bias=True), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "function", [sample_gradients, gradient_covariance, hessian, second_moment]
)
def test_bad_input_is_refused(function):
    model, x, y = MODELS[0]
    theta = place(model)
    with pytest.raises(
        ValueError, match=r"theta must be an array of shape \(4\), got shape \(2, 4\)"
    ):
        function(model, np.stack([theta, theta]), x, y)
    with pytest.raises(ValueError, match=r"y must be an array of shape"):
        function(model, theta, x, y[1:])
    with pytest.raises(ValueError, match="x must not be empty"):
        function(model, theta, x[:0], y[:0])
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="theta must be finite"):
            function(model, theta * bad, x, y)
        with pytest.raises(ValueError, match="x must be finite"):
            function(model, theta, np.where(x > 1, bad, x), y)
        with pytest.raises(ValueError, match="y must be finite"):
            function(model, theta, x, np.full(M, bad))
    for theta_, x_, y_, name in ((1j * theta, x, y, "theta"), (theta, 1j * x, y, "x")):
        with pytest.raises(ValueError, match=f"{name} must be an array of real numbers"):
            function(model, theta_, x_, y_)
    for bad in (-1, 1.5, "3"):
        with pytest.raises(ValueError, match="chunk must be .*whole number, 1 or more"):
            function(model, theta, x, y, chunk=bad)


LABELS = [
    (
        networks.logistic(D),
        2 * SIGNS - 1,
        r"whole numbers from 0 to 1, got -1; give \(y \+ 1\) / 2",
    ),
    (networks.fully_connected((D, 3, 3)), CLASSES + 1, "got 3; give y − 1 for labels from 1"),
    (networks.softmax(D, 3), CLASSES + 0.5, "from 0 to 2, got .*5; number the classes from 0"),
    (networks.softmax(D, 3), CLASSES - 1, "got -1; number the classes from 0"),
]


@pytest.mark.parametrize("model, labels, message", LABELS)
@pytest.mark.parametrize("function", [sample_gradients, gradient_covariance, hessian])
def test_labels_that_are_no_classes_are_refused(function, model, labels, message):
    with pytest.raises(ValueError, match=message):
        function(model, place(model), X, labels)


def test_whole_floats_and_truth_values_are_classes():
    model = networks.softmax(D, 3)
    found = hessian(model, place(model), X, CLASSES)
    np.testing.assert_array_equal(found, hessian(model, place(model), X, CLASSES * 1.0))
    model = networks.logistic(D)
    found = sample_gradients(model, place(model), X, SIGNS)
    np.testing.assert_array_equal(found, sample_gradients(model, place(model), X, SIGNS == 1))


def test_a_loss_that_overflows_is_refused():
    model = networks.diagonal_linear(D)
    with pytest.raises(ValueError, match="derivatives must be finite"):
        hessian(model, np.full(2 * D, 1e200), X, REALS)


@pytest.mark.parametrize("size", [40.0, 1e3, 1e30])
def test_logits_of_any_size_have_matrices(size):
    """Of certain answers, right and wrong, all are those of the slopes 0 and 1."""
    model, x, y = networks.logistic(2), [[1.0, 0.5], [2.0, 3.0]], [1, 0]
    theta = [size, size]
    np.testing.assert_allclose(hessian(model, theta, x, y), 0, atol=1e-15)
    np.testing.assert_allclose(
        hessian_operator(model, theta, x, y) @ np.array([1.0, 3.0]), 0, atol=1e-15
    )
    np.testing.assert_allclose(fisher(model, theta, x), 0, atol=1e-15)
    np.testing.assert_allclose(sample_gradients(model, theta, x, y), [[0, 0], [2, 3]], atol=1e-15)


@pytest.mark.parametrize(
    "model, remedy",
    [
        (torch.nn.Linear(4, 2), "got Linear; wrap it with networks.from_module"),
        (networks.logistic, "got function; take one of networks"),
        (networks.Model, "got the class Model; take one of networks"),
        (None, "got NoneType; take one of networks"),
    ],
)
def test_what_is_no_model_is_refused(model, remedy):
    theta, y = np.zeros(4), SIGNS
    for ask in (
        lambda: hessian(model, theta, X, y),
        lambda: fisher(model, theta, X),
        lambda: passes.critical_points(model, theta, X, y, index=0),
        lambda: Replicas(model, X, y, SGD(0.1, 2), start=theta, seed=1),
        lambda: flatness.scalings(model),
    ):
        with pytest.raises(ValueError, match="model must be a networks.Model, " + remedy):
            ask()


def test_whether_samples_are_drawn_twice_is_a_truth_value():
    model, x, y = MODELS[0]
    for wrong in ("no", None, 0):
        with pytest.raises(ValueError, match="replacement must be one of True, False"):
            gradient_covariance(model, place(model), x, y, replacement=wrong)
    for wrong in (None, 3.0, x[:, :2]):
        with pytest.raises(ValueError, match="x must be an array of shape"):
            fisher(model, place(model), wrong)


@pytest.mark.parametrize("batch_size, replacement", [(0, True), (1.5, True), (M + 1, False)])
def test_a_bad_batch_size_is_refused(batch_size, replacement):
    model, x, y = MODELS[0]
    with pytest.raises(ValueError, match=f"batch_size must be .* got {batch_size}"):
        gradient_covariance(
            model, place(model), x, y, batch_size=batch_size, replacement=replacement
        )


def test_a_matrix_that_would_not_fit_is_refused_and_its_operator_is_not():
    model = networks.logistic(LARGEST + 1)
    theta, x, y = np.zeros(model.size), RNG.normal(size=(3, model.size)), [0, 1, 1]
    for function in (hessian, gradient_covariance, second_moment):
        with pytest.raises(ValueError, match="use hessian_operator"):
            function(model, theta, x, y)
    v = RNG.normal(size=model.size)
    np.testing.assert_allclose(
        hessian_operator(model, theta, x, y) @ v, x.T @ (x @ v) / 12, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("shape", [(3,), (5, 2), (4, 2, 1), (4, 0)])
def test_vectors_of_another_size_are_refused(shape):
    model, x, y = MODELS[0]
    with pytest.raises(ValueError, match=r"vectors must have shape \(4,\)"):
        hessian_vector_product(model, place(model), x, y, np.ones(shape))


def test_importing_loads_no_torch_and_no_scipy():
    code = (
        "import sys, ddt_utils.curvature, ddt_utils.spectrum;"
        "assert not {'torch', 'scipy'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_read_only_arrays_are_taken_without_a_warning():
    """As a Dataset keeps them; torch warns of tensors that share such memory."""
    import warnings

    from ddt_utils import data, replicas

    wine = data.wine(binary=True)
    model = networks.logistic(wine.features)
    theta = np.zeros(model.size)
    theta.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hessian(model, theta, wine.inputs, wine.targets)
        rule = replicas.SGD(0.1, 4)
        replicas.Replicas(model, wine.inputs, wine.targets, rule, start=theta, seed=1).run(1)
