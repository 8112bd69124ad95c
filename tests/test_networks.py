"""Models against torch.nn, closed forms and each other."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from ddt_utils import (
    _derivatives,
    curvature,
    flatness,
    flattening,
    losses,
    networks,
    passes,
    stability,
)
from ddt_utils.replicas import SGD, Replicas

RNG = np.random.default_rng(5)
X = torch.from_numpy(RNG.normal(size=(12, 6)))
CLASSES = torch.from_numpy(RNG.integers(0, 3, 12))
SIGNS = torch.from_numpy(RNG.integers(0, 2, 12))
REALS = torch.from_numpy(RNG.normal(size=12))
PICTURES = torch.from_numpy(RNG.normal(size=(12, 16)))
MODELS = [
    (networks.logistic(6), X, SIGNS),
    (networks.softmax(6, 3), X, CLASSES),
    (networks.linear(6), X, REALS),
    (networks.diagonal_linear(6), X, REALS),
    (networks.fully_connected((6, 5, 3)), X, CLASSES),
    (networks.fully_connected((6, 5, 4, 1), activation="relu"), X, SIGNS),
    (networks.fully_connected((6, 4, 1), loss="squared"), X, REALS),
    (
        networks.convolutional(4, 3, channels=2),
        torch.from_numpy(RNG.normal(size=(12, 16))),
        CLASSES,
    ),
    (networks.quadratic(np.diag([1.0, 2, 3, 4, 5, 6])), X, SIGNS),
]
NAMES = [model.name for model, _, _ in MODELS]


@pytest.mark.parametrize("model, x, y", MODELS, ids=NAMES)
def test_replicas_are_the_same_model_side_by_side(model, x, y):
    """On shared samples, on samples of their own, and under torch.func."""
    theta = model.initial(4, seed=1)
    one_by_one = torch.stack([model.sample_losses(t, x, y) for t in theta])
    torch.testing.assert_close(model.sample_losses(theta, x, y), one_by_one, rtol=1e-12, atol=0)
    rows = torch.from_numpy(RNG.integers(0, 12, (4, 5)))
    own = torch.stack([model.loss(t, x[r], y[r]) for t, r in zip(theta, rows, strict=True)])
    torch.testing.assert_close(model.loss(theta, x[rows], y[rows]), own, rtol=1e-12, atol=0)
    mapped = torch.func.vmap(lambda t: model.loss(t, x, y))(theta)
    torch.testing.assert_close(mapped, model.loss(theta, x, y), rtol=1e-12, atol=0)


@pytest.mark.parametrize("model, x, y", MODELS, ids=NAMES)
def test_the_gradient_is_that_of_finite_differences(model, x, y):
    theta = model.initial(1, seed=2)[0]
    theta = theta + 0.1 * torch.from_numpy(RNG.normal(size=model.size))  # off the kinks
    gradient = torch.func.grad(lambda t: model.loss(t, x, y))(theta)
    direction = torch.from_numpy(RNG.normal(size=model.size))
    ends = [float(model.loss(theta + h * direction, x, y)) for h in (1e-5, -1e-5)]
    assert float(gradient @ direction) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_a_fully_connected_network_is_that_of_torch():
    model = networks.fully_connected((6, 5, 4, 3), activation="relu")
    theta = model.initial(1, seed=3)[0]
    layers = torch.nn.Sequential(
        torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4), torch.nn.ReLU(),
        torch.nn.Linear(4, 3),
    ).double()  # fmt: skip
    blocks = model.blocks(theta)
    with torch.no_grad():
        for i, layer in enumerate(layers[::2]):
            layer.weight.copy_(blocks[f"weight{i}"].T)
            layer.bias.copy_(blocks[f"bias{i}"])
    torch.testing.assert_close(model.outputs(theta, X), layers(X), rtol=1e-12, atol=1e-14)
    loss = torch.nn.functional.cross_entropy(layers(X), CLASSES)
    torch.testing.assert_close(model.loss(theta, X, CLASSES), loss, rtol=1e-12, atol=0)


def test_a_convolution_is_that_of_torch():
    model = networks.convolutional(8, 3, channels=4, activation="relu")
    theta = model.initial(1, seed=3)[0]
    pictures = torch.from_numpy(RNG.normal(size=(12, 64)))
    blocks = model.blocks(theta)
    kernel = blocks["kernel"].T.reshape(4, 1, 3, 3)
    maps = torch.nn.functional.conv2d(pictures.reshape(12, 1, 8, 8), kernel, blocks["bias0"]).relu()
    pooled = torch.nn.functional.avg_pool2d(maps, 2).permute(0, 2, 3, 1).reshape(12, -1)
    torch.testing.assert_close(
        model.outputs(theta, pictures), pooled @ blocks["weight1"] + blocks["bias1"]
    )


def test_binary_cross_entropy_is_that_of_torch_and_stays_finite():
    model = networks.logistic(6)
    theta = model.initial(1, seed=4)[0]
    truth = torch.nn.functional.binary_cross_entropy_with_logits(X @ theta, SIGNS.double())
    torch.testing.assert_close(model.loss(theta, X, SIGNS), truth)
    assert bool(model.loss(1e4 * theta, X, SIGNS).isfinite())
    for margin in (25.0, -25.0, 0.0):  # loss, slope and curvature keep their digits far out
        one, here = torch.eye(1).double(), torch.tensor([margin]).double()
        curve = networks.logistic(1)

        def loss(t, curve=curve, one=one):
            return curve.loss(t, one, torch.ones(1))

        right = np.exp(-margin) / (1 + np.exp(-margin))
        assert float(loss(here)) == pytest.approx(np.log1p(np.exp(-margin)), rel=1e-12)
        assert float(torch.func.grad(loss)(here)) == pytest.approx(-right, rel=1e-12)
        bend = float(torch.func.hessian(loss)(here))
        assert bend == pytest.approx(right * (1 - right), rel=1e-9)


def test_closed_hessians():
    """Quadratic: H; linear regression: XᵀX/m; diagonal network at zero loss: 4 AᵀXᵀXA/m."""
    x = X - X.mean(0)
    matrix = np.array([[2.0, 0.3], [0.3, 1.0]])

    def hessian(model, theta, x, y):
        return torch.func.hessian(lambda t: model.loss(t, x, y))(theta)

    quadratic = networks.quadratic(matrix)
    found = hessian(quadratic, torch.ones(2, dtype=torch.float64), x[:, :2], SIGNS)
    torch.testing.assert_close(found, torch.from_numpy(matrix))
    moment = X.T @ X / len(X)
    line = networks.linear(6)
    torch.testing.assert_close(hessian(line, torch.zeros(6).double(), X, REALS), moment)
    twice = networks.diagonal_linear(6)
    theta = twice.initial(1, seed=1)[0]
    u, v = theta[:6], theta[6:]
    spread = torch.cat([torch.diag(u), -torch.diag(v)], 1)
    exact = X @ (u**2 - v**2)
    torch.testing.assert_close(hessian(twice, theta, X, exact), 4 * spread.T @ moment @ spread)


def test_accuracy_counts():
    model = networks.logistic(2)
    theta = torch.tensor([1.0, 0.0], dtype=torch.float64)
    x = torch.tensor([[1.0, 0], [2, 0], [-1, 0], [-2, 0]], dtype=torch.float64)
    assert float(model.accuracy(theta, x, torch.tensor([1, 1, 0, 1]))) == 0.75
    three = networks.softmax(2, 2)
    both = torch.stack([torch.tensor([0.0, 1, 0, 0]), torch.tensor([1.0, 0, 0, 0])]).double()
    assert three.accuracy(both, x, torch.tensor([1, 1, 0, 1])).tolist() == [0.75, 0.25]


def test_initial_values_are_those_of_the_replica():
    model = networks.fully_connected((6, 50, 3))
    many = model.initial(30, seed=7)
    assert torch.equal(many[:3], model.initial(3, seed=7))
    assert not torch.equal(many[:3], model.initial(3, seed=8))
    weights = model.blocks(many)["weight0"]
    assert float(weights.std()) == pytest.approx(6**-0.5, rel=0.05)
    assert not bool(model.blocks(many)["bias0"].any())


@pytest.mark.parametrize(
    "model, labels, message",
    [
        (networks.logistic(6), 2 * SIGNS - 1, r"give \(y \+ 1\) / 2 for labels −1 and \+1"),
        (networks.logistic(6), SIGNS * 0.5, "got 0.5; number the classes from 0"),
        (networks.softmax(6, 3), CLASSES + 1, "got 3; give y − 1 for labels from 1"),
        (networks.fully_connected((6, 5, 3)), CLASSES - 1, "whole numbers from 0 to 2, got -1"),
        (networks.fully_connected((6, 1)), SIGNS + 1, "whole numbers from 0 to 1, got 2"),
        (networks.convolutional(4, 3), CLASSES.double() / 2, "whole numbers from 0 to 2, got 0.5"),
    ],
)
def test_targets_that_are_no_classes_are_refused(model, labels, message):
    theta, x = model.initial(2, seed=1), PICTURES if "conv" in model.name else X
    for ask in (model.loss, model.sample_losses, model.accuracy):
        with pytest.raises(ValueError, match=message):
            ask(theta, x, labels)
    with pytest.raises(ValueError, match=message):
        torch.func.grad(lambda t: model.loss(t, x, labels))(theta[0])
    with pytest.raises(ValueError, match=message):
        model.targets(labels)


def test_targets_are_what_the_model_takes():
    assert networks.logistic(6).targets(SIGNS == 1).dtype == np.int64
    assert networks.logistic(6).targets([0.0, 1.0]).tolist() == [0, 1]
    assert networks.linear(6).targets(REALS).dtype == np.float64
    for wrong in (REALS * np.nan, REALS[None], REALS + 1j, ["a"], None):
        with pytest.raises(ValueError, match="^y must be"):
            networks.linear(6).targets(wrong)
    with pytest.raises(ValueError, match=r"shape \(13\), got shape \(12,\)"):
        networks.linear(6).targets(REALS, 13)
    with pytest.raises(ValueError, match="accuracy must be asked of a model with classes"):
        networks.linear(6).accuracy(torch.zeros(6).double(), X, REALS)
    with pytest.raises(ValueError, match="y must be a tensor"):
        networks.logistic(6).loss(torch.zeros(6).double(), X, SIGNS.numpy())


def test_whole_targets_of_any_size_keep_their_sign():
    """Beyond 2⁵³ a float is as near, and beyond 2⁶³ int64 has no such number."""
    big = np.array([2**63 + 2**12, 3], np.uint64)
    assert networks.linear(6).targets(big).tolist() == [2.0**63 + 2**12, 3.0]
    assert networks.linear(6).targets([2**63 - 1, 3]).tolist() == [2.0**63, 3.0]
    assert networks.linear(6).targets([2**52 + 1, 3]).dtype == np.int64


@pytest.mark.parametrize(
    "y, remedy",
    [
        (REALS[:, None], r"got shape \(12, 1\); so linear .*; give y\[:, 0\] of one column"),
        (np.eye(12)[:, :3], r"got shape \(12, 3\); so linear .* y.argmax\(1\) of a column for"),
        (REALS.tolist() + [np.nan], "got nan at .12.; leave such samples out"),
    ],
)
def test_targets_of_another_shape_meet_with_a_remedy(y, remedy):
    with pytest.raises(ValueError, match=remedy):
        networks.linear(6).targets(y)


TANH = networks.fully_connected((6, 5, 4, 3))
LINES = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: curvature.hessian(TANH, t, X, CLASSES),
        lambda t: curvature.hessian_vector_product(TANH, t, X, CLASSES, t),
        lambda t: curvature.fisher(TANH, t, X),
        lambda t: flatness.fisher_rao(TANH, t, X, CLASSES),
        lambda t: _derivatives.derivatives(TANH, X, CLASSES).bends(t[None]).numpy(),
        lambda t: flattening.flow(TANH, t, X, CLASSES, ratio=0.3, time=0.4).numpy(),
        lambda t: flattening.cloud_flow(TANH, t, X, CLASSES, ratio=0.3, time=0.5).theta.numpy(),
        lambda t: networks.from_module(LINES).initial(2, seed=int(1e6 * abs(t[0]))).numpy(),
    ],
)
def test_threads_find_what_one_finds(ask):
    """Torch has one forward mode and one random generator for all threads."""
    places = TANH.initial(5, seed=3)
    alone = [ask(t) for t in places]
    with ThreadPoolExecutor(5) as pool:
        for _ in range(4):
            for one, other in zip(alone, pool.map(ask, places), strict=True):
                np.testing.assert_array_equal(one, other)


def test_targets_of_another_shape_are_not_broadcast():
    """A column of targets would give each sample the loss of all targets."""
    theta = torch.full((6,), 0.3).double()
    for model, y in ((networks.linear(6), REALS), (networks.logistic(6), SIGNS)):
        for wrong in (y[:, None], y[:1], y[:5], y[0]):
            with pytest.raises(ValueError, match="one target for each of 12 samples, got shape"):
                model.loss(theta, X, wrong)
    with pytest.raises(ValueError, match="one target for each of 12 samples"):
        networks.logistic(6).accuracy(theta, X, SIGNS[:, None])
    out = (X @ theta)[:, None]
    for loss, y in ((losses.squared, REALS), (losses.binary_cross_entropy, SIGNS)):
        torch.testing.assert_close(loss(out, y[:, None]), loss(out, y), rtol=0, atol=0)


@pytest.mark.parametrize("model, x, y", MODELS, ids=NAMES)
def test_inputs_of_another_width_are_refused(model, x, y):
    for wrong in (x[:, :-1], x[:, :1], torch.cat([x, x], 1)):
        with pytest.raises(ValueError, match=f"x must be an array of shape .any, {x.shape[1]}."):
            model.inputs(wrong)


@pytest.mark.parametrize("model, x, y", MODELS, ids=NAMES)
def test_what_meets_a_model_is_a_tensor_of_its_width_and_precision(model, x, y):
    theta = model.initial(2, seed=1)
    for ask in (model.loss, model.sample_losses):
        for wrong in (x[:, :-1], x[:, :1], torch.cat([x, x], 1), x[0]):
            with pytest.raises(ValueError, match="x must have shape|one target for each"):
                ask(theta, wrong, y)
        with pytest.raises(ValueError, match="x must be a tensor, got ndarray; give torch.as_ten"):
            ask(theta, x.numpy(), y)
        with pytest.raises(ValueError, match="theta must be a tensor, got ndarray"):
            ask(theta.numpy(), x, y)
    for wrong in ((theta.numpy(), x), (theta, x.numpy())):
        with pytest.raises(ValueError, match="must be a tensor"):
            model.outputs(*wrong)
    if "quadratic" in model.name:  # a difference, of any two precisions
        return
    for wrong in (x.float(), x.long()):
        with pytest.raises(ValueError, match="x must have the precision of theta, torch.float64"):
            model.loss(theta, wrong, y)
    torch.testing.assert_close(model.loss(theta.float(), x.float(), y).double(),
                               model.loss(theta, x, y), rtol=1e-4, atol=1e-5)  # fmt: skip


SHAPES = {
    "each output meets all targets": lambda out, y: (out - y) ** 2 / 2,
    "an axis is kept": lambda out, y: (out - y[..., None]) ** 2 / 2,
    "a mean over everything": lambda out, y: ((out[..., 0] - y) ** 2).mean(),
    "a mean over the replicas": lambda out, y: ((out[..., 0] - y) ** 2).flatten(0, -2).mean(0),
    "a number": lambda out, y: 0.5,
}


@pytest.mark.parametrize("loss", SHAPES.values(), ids=SHAPES)
def test_a_loss_of_another_shape_is_refused(loss):
    """Broadcast, it would still have a mean: of each sample with the targets of all the others."""
    model = replace(networks.linear(6), output_loss=loss)
    one = model.initial(1, seed=1)[0]
    own = torch.stack([X, 2 * X, X, -X])  # minibatches of four replicas
    asks = [
        lambda: model.loss(one.expand(4, 6), X, REALS),
        lambda: model.loss(one.expand(4, 6), own, REALS),
        lambda: model.loss(one, own, REALS),
        lambda: Replicas(model, X, REALS, SGD(0.1, 3), start=one, replicas=3, seed=1).run(1),
        lambda: passes.critical_points(model, one, X, REALS, index=0),
    ]
    if loss is not SHAPES["a mean over the replicas"]:
        asks += [
            lambda: curvature.hessian(model, one, X, REALS),
            lambda: curvature.sample_gradients(model, one, X, REALS),
            lambda: curvature.fisher(model, one, X),
            lambda: flatness.fisher_rao(model, one, X, REALS),
            lambda: stability.curvature_rows(model, one, X, REALS),
        ]
    for ask in asks:
        with pytest.raises(ValueError, match="output_loss of linear regression .* for each sample"):
            ask()


def test_leading_axes_of_samples_and_targets_are_replicas_too():
    model = networks.linear(6)
    one, own, y = model.initial(1, seed=1)[0], torch.stack([X, 2 * X, -X]), REALS
    rows = torch.stack([model.sample_losses(one, x, y) for x in own])
    torch.testing.assert_close(model.sample_losses(one, own, y), rows)
    torch.testing.assert_close(model.sample_losses(one.expand(3, 6), own, y), rows)
    many = torch.stack([y, y + 1])
    rows = torch.stack([model.sample_losses(one, X, goal) for goal in many])
    torch.testing.assert_close(model.sample_losses(one, X, many), rows)


@pytest.mark.parametrize("margin", [690.0, 709.5, 1e3, 1e30, 1e308])
def test_the_loss_of_two_classes_has_curvature_zero_far_out_not_nan(margin):
    """p(1 − p) with p = 1/(1 + e^f) is below 1e-299 there; the slope is 0 or 1."""
    line, here = networks.logistic(1), torch.tensor([margin], dtype=torch.float64)
    for label in (0, 1):

        def loss(t, y=label):
            return line.loss(t, torch.ones(1, 1).double(), torch.tensor([y]))

        assert float(loss(here)) == pytest.approx((1 - label) * margin, abs=1e-290)
        slope = float(torch.func.grad(loss)(here))
        assert slope == pytest.approx(1 - label, abs=1e-290)
        assert 0 <= float(torch.func.hessian(loss)(here)) < 1e-290


def other_classes(model):
    """As many as the data have, without scores for them."""
    changed = replace(model, classes=5)
    return changed.loss(torch.zeros(model.size).double(), X, CLASSES + 2)


def test_a_network_that_says_nothing_classifies_nothing():
    for model, y in ((networks.logistic(6), SIGNS * 0), (networks.softmax(6, 3), CLASSES * 0)):
        assert float(model.accuracy(torch.full((model.size,), np.nan).double(), X, y)) == 0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: networks.fully_connected((3,)), "widths must be inputs, layers and outputs"),
        (lambda: networks.fully_connected((3, 2), activation="gelu"), "one of .*, got 'gelu'"),
        (lambda: networks.fully_connected((3, 2), loss="squared"), "with one output"),
        (lambda: networks.convolutional(4, 2, kernel=4), "got 1 for side 4 and kernel 4"),
        (lambda: networks.convolutional(8, 2, activation="sin"), "got 'sin'"),
        (lambda: networks.quadratic([[1.0, 2.0], [0.0, 1.0]]), "symmetric square"),
        (lambda: networks.quadratic([[3e-9, 2e-9], [0.0, 1e-9]]), "symmetric square"),
        *((lambda v=v: networks.logistic(v), "features must be") for v in (0, "3", 2.5, None)),
        *((lambda v=v: networks.softmax(3, v), "classes must be") for v in (1, "3", None)),
        (lambda: networks.diagonal_linear(-1), "features must be"),
        (lambda: networks.fully_connected("32"), "widths must be"),
        (lambda: networks.fully_connected((3, 0, 2)), "widths must be"),
        (lambda: networks.fully_connected((3, 2.5)), "widths must be"),
        (lambda: networks.fully_connected((3, 1), loss="hinge"), "loss must be one of"),
        (lambda: networks.convolutional(8, 2, channels=0), "channels must be"),
        (lambda: networks.quadratic(1j * np.eye(2)), "hessian must be an array of real"),
        (lambda: networks.quadratic(np.nan * np.eye(2)), "hessian must be finite"),
        *((lambda v=v: networks.linear(3).initial(v, seed=1), "replicas") for v in (0, -1, "2")),
        (lambda: networks.logistic(3).blocks(torch.zeros(4)), "has 3 parameters, got a vector"),
        (lambda: networks.logistic(3).blocks(torch.tensor(1.0)), "has 3 parameters, got a vector"),
        *(
            (lambda v=v: replace(networks.linear(3), weight_decay=v), "weight_decay must be")
            for v in (np.nan, -1, "a", None)
        ),
        *(
            (lambda v=v: replace(networks.softmax(3, 2), classes=v), "classes must be")
            for v in (-1, 2.5, "a", None)
        ),
        (lambda: other_classes(networks.softmax(6, 2)), "many as the scores of softmax .*, 2, got"),
        (lambda: other_classes(networks.from_module(torch.nn.Linear(6, 3))), ", 3, got 5; make a"),
    ],
)  # fmt: skip
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
