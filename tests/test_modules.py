"""Modules of one's own as models, against torch's autograd and plain loops, one by one."""

import copy
from collections import deque
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import weight_norm as old_norm
from torch.nn.utils.parametrizations import orthogonal, weight_norm

from ddt_utils import curvature, losses, networks, provenance, records, spectrum, streams
from ddt_utils.dataset import Dataset
from ddt_utils.replicas import SGD, GradientDescent, Replicas

RNG = np.random.default_rng(7)
M = 7


class Positions(nn.Module):
    """Attention over tokens, with a buffer, a frozen scale and a shared embedding."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.norm = nn.LayerNorm(4)
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True)
        self.scale = nn.Parameter(torch.tensor(1.5), requires_grad=False)
        self.out = nn.Linear(4, 5, bias=False)
        self.out.weight = self.embed.weight
        self.register_buffer("places", torch.linspace(-1, 1, 12).reshape(3, 4))

    def forward(self, x):
        x = self.embed(x) + self.scale * self.places
        normed = self.norm(x)
        return self.out(x + self.inner(normed, normed, normed, need_weights=False)[0])


class Recurrent(nn.Module):
    """A hand-made recurrence that returns one number a sample, without an axis of its own."""

    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(5, 3)
        self.read = nn.Parameter(torch.tensor([0.3, -0.4, 0.9]))

    def forward(self, x):
        h = x.new_zeros(len(x), 3)
        for part in x.unbind(1):
            h = torch.tanh(self.cell(torch.cat([h, part], -1)))
        return h @ self.read


def made(maker, seed=3):
    """A module with weights of its own, the global random numbers left as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return maker().double()


def mlp():
    return made(
        lambda: nn.Sequential(
            nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.Dropout(0.4), nn.Linear(6, 3)
        )
    )


def convnet():
    return made(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.GELU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(16, 1),
        )
    )  # fmt: skip


def auto():
    return made(lambda: nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv1d(3, 2, 1)))


def rounded(out, y):
    return F.smooth_l1_loss(out, y, beta=0.7)


def case(name, net, options, x, y, truth):
    return pytest.param(net, options, x, y, truth, id=name)


def reals(*shape):
    return torch.from_numpy(RNG.normal(size=shape))


def whole(top, *shape):
    return torch.from_numpy(RNG.integers(0, top, shape))


def tokens_loss(out, y):
    return F.cross_entropy(out.reshape(-1, 5), y.reshape(-1))


# the mean loss of torch's own, of all outputs and targets at once
CASES = [
    case("mlp", mlp(), {}, reals(M, 4), whole(3, M), F.cross_entropy),
    case("convolution", convnet(), dict(inputs=(2, 4, 4)), reals(M, 2, 4, 4), whole(2, M),
         lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], y.double())),
    case("pictures", auto(), dict(loss="squared", inputs=(2, 5)), reals(M, 2, 5), reals(M, 2, 5),
         lambda out, y: F.mse_loss(out, y) * 10 / 2),
    case("attention", made(Positions), dict(inputs=(3,)), whole(5, M, 3),
         whole(5, M, 3), tokens_loss),
    case("recurrence", made(Recurrent), dict(loss="squared", inputs=(4, 2)), reals(M, 4, 2),
         reals(M), lambda out, y: F.mse_loss(out, y) / 2),
    case("own loss", mlp(), dict(loss=rounded, targets=(3,)), reals(M, 4), reals(M, 3),
         rounded),
    case("orthogonal", made(lambda: orthogonal(nn.Linear(4, 3), orthogonal_map="cayley")),
         dict(loss=nn.CrossEntropyLoss(label_smoothing=0.1), classes=3), reals(M, 4), whole(3, M),
         nn.CrossEntropyLoss(label_smoothing=0.1)),
]  # fmt: skip
every_case = pytest.mark.parametrize("net, options, x, y, truth", CASES)


def plain(net, truth, x, y, decay):
    """Loss, gradient and Hessian by torch's own loops, without torch.func."""
    net = copy.deepcopy(net).eval()
    with sdpa_kernel(SDPBackend.MATH):
        return _plain(net, truth, x, y, decay)


def _plain(net, truth, x, y, decay):
    own = [part for part in net.parameters() if part.requires_grad]
    loss = truth(net(x), y) + decay / 2 * sum((part**2).sum() for part in own)
    first = torch.autograd.grad(loss, own, create_graph=True)
    flat = torch.cat([part.flatten() for part in first])
    rows = [
        torch.cat([
            part.flatten()
            for part in torch.autograd.grad(
                one, own, retain_graph=True, materialize_grads=True, allow_unused=True
            )
        ])
        for one in flat
    ]  # fmt: skip
    return loss.detach(), flat.detach().numpy(), torch.stack(rows).numpy()


@every_case
def test_derivatives_are_those_of_plain_autograd(net, options, x, y, truth):
    decay = 0.3
    model = networks.from_module(net, **options, weight_decay=decay)
    theta = model.theta(net)
    loss, slope, bend = plain(net, truth, x, y, decay)
    torch.testing.assert_close(model.loss(theta, x, y), loss, rtol=1e-12, atol=0)
    rows = curvature.sample_gradients(model, theta, x, y)
    np.testing.assert_allclose(rows.mean(0), slope, rtol=1e-10, atol=1e-12)
    each = [
        plain(net, truth, xi[None], yi[None], decay)[1] for xi, yi in zip(x[:2], y, strict=False)
    ]
    np.testing.assert_allclose(rows[:2], each, rtol=1e-10, atol=1e-12)
    found = curvature.hessian(model, theta, x, y)
    np.testing.assert_allclose(found, bend, rtol=1e-8, atol=1e-10)
    operator = curvature.hessian_operator(model, theta, x, y)
    assert spectrum.top_eigenpairs(operator, count=2, seed=1)[0] == pytest.approx(
        np.linalg.eigvalsh(bend)[::-1][:2], rel=1e-9
    )
    covariance = curvature.gradient_covariance(model, theta, x, y, batch_size=3)
    centred = rows - rows.mean(0)
    np.testing.assert_allclose(covariance, centred.T @ centred / M / 3, rtol=1e-9, atol=1e-13)


@every_case
def test_replicas_are_plain_training_loops_one_by_one(net, options, x, y, truth):
    """Momentum on minibatches that are drawn from the streams of the replicas, the first block."""
    decay, rate = 0.02, 0.07
    model = networks.from_module(net, **options, weight_decay=decay)
    starts = model.theta(net) + 0.1 * reals(3, model.size)
    rule = SGD(rate, 3, momentum=0.6)
    crowd = Replicas(model, x, y, rule, start=starts, seed=4).run(5)
    draw, _ = rule.draws(M, model.size)
    drawn = [next(iter(draw(g).values()))[:5] for g in streams.each(4, "training", range(3))]
    for start, batches, end in zip(starts, drawn, crowd.theta, strict=True):
        alone = model.module(start).eval()
        own = [part for part in alone.parameters() if part.requires_grad]
        loop = torch.optim.SGD(own, rate, momentum=0.6, weight_decay=decay)
        for batch in batches:
            loop.zero_grad()
            truth(alone(x[batch]), y[batch]).backward()
            loop.step()
        torch.testing.assert_close(model.theta(alone), end, rtol=1e-9, atol=1e-12)


@every_case
def test_leading_dimensions_are_replicas(net, options, x, y, truth):
    model = networks.from_module(net, **options)
    theta = model.theta(net) + 0.2 * reals(2, 3, model.size)
    one = torch.stack([model.sample_losses(t, x, y) for t in theta.flatten(0, 1)])
    torch.testing.assert_close(model.sample_losses(theta, x, y).flatten(0, 1), one)
    rows = whole(M, 3, 4)
    own = torch.stack([model.loss(theta[1, i], x[r], y[r]) for i, r in enumerate(rows)])
    torch.testing.assert_close(model.loss(theta, x[rows], y[rows])[1], own)
    shared = torch.stack([model.loss(theta[0, 0], x[r], y[r]) for r in rows])
    torch.testing.assert_close(model.loss(theta[0, 0], x[rows], y[rows]), shared)


@every_case
def test_single_precision_is_that_of_the_parameters(net, options, x, y, truth):
    model = networks.from_module(net.float(), **options)
    net.double()
    theta = model.theta(net).expand(2, -1)
    crowd = Replicas(
        model, x, y, GradientDescent(0.1), start=theta, seed=1, dtype=torch.float32
    ).run(3)
    exact = Replicas(model, x, y, GradientDescent(0.1), start=theta, seed=1).run(3)
    assert crowd.theta.dtype == torch.float32
    torch.testing.assert_close(crowd.theta.double(), exact.theta, rtol=1e-3, atol=1e-4)


def test_the_fisher_matrix_is_the_average_over_labels_of_the_model():
    """Of scores; of pictures, F = JᵀJ; of sequences it is the mean over the places."""
    for param in (CASES[0], CASES[2], CASES[3]):
        net, options, x, _, _ = param.values
        model = networks.from_module(net, **options, weight_decay=0.4)
        theta = model.theta(net)
        jacobian = torch.func.jacrev(lambda t, m=model, x=x: m.outputs(t, x))(theta).detach()
        out = model.outputs(theta, x)
        if model.classes:
            p, places = out.softmax(-1), max(1, *out.shape[1:-1], 1)
            inner = torch.diag_embed(p) - p[..., :, None] * p[..., None, :]
            truth = torch.einsum("...in,...ij,...jm->nm", jacobian, inner, jacobian) / M / places
        else:
            flat = jacobian.flatten(0, -2)
            truth = flat.T @ flat / M
        np.testing.assert_allclose(
            curvature.fisher(model, theta, x), truth.detach(), rtol=1e-9, atol=1e-12
        )


def test_shared_parameters_are_one_and_frozen_ones_none():
    net = made(Positions)
    model = networks.from_module(net, inputs=(3,))
    names = [name for name, _ in model.shapes]
    assert "embed.weight" in names and "out.weight" not in names and "scale" not in names
    theta = model.theta(net)
    back = model.module(theta + 1)
    assert back.out.weight is back.embed.weight and float(back.scale) == 1.5
    torch.testing.assert_close(model.theta(back), theta + 1)
    assert model.accuracy(theta, whole(5, M, 3), whole(5, M, 3)).shape == ()


def test_the_module_is_left_as_it_was_and_drops_nothing():
    net = mlp().float().train()
    before = copy.deepcopy(net.state_dict())
    state = torch.random.get_rng_state()
    model = networks.from_module(net)
    assert torch.equal(state, torch.random.get_rng_state())
    assert net.training and net[3].p == 0.4
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert all(part.dtype == torch.float32 for part in net.parameters())
    with torch.no_grad():
        net[0].weight.zero_()  # the model has its own
    x = reals(M, 4)
    assert bool(model.outputs(model.initial(1, seed=2)[0], x).std() > 0)


def test_initial_values_are_those_of_the_layers():
    model = networks.from_module(mlp())
    many = model.initial(40, seed=7)
    assert torch.equal(many[:3], model.initial(3, seed=7))
    assert len(many.unique(dim=0)) == 40
    assert not torch.equal(many[:3], model.initial(3, seed=8))
    weights = model.blocks(many)["0.weight"]
    assert float(weights.abs().max()) <= 0.5 < 2.2 * float(weights.std())  # uniform, ± 1/√4
    assert bool((model.blocks(many)["1.weight"] == 1).all())
    with pytest.raises(ValueError, match="give it a method reset_parameters"):
        networks.from_module(made(Recurrent), "squared", inputs=(4, 2)).initial(2, seed=1)


def digest(model):
    return provenance.digest(dict(model=model))


def test_the_digest_is_that_of_code_and_buffers_not_of_weights():
    one, other = made(Positions, 1), made(Positions, 2)
    first = digest(networks.from_module(one, inputs=(3,)))
    assert digest(networks.from_module(other, inputs=(3,))) == first
    found = {first, digest(networks.from_module(one, inputs=(3,), weight_decay=0.1))}
    other.places += 1
    found.add(digest(networks.from_module(other, inputs=(3,))))
    one.scale.data += 1
    found.add(digest(networks.from_module(one, inputs=(3,))))
    one.norm.eps = 1e-3
    found.add(digest(networks.from_module(one, inputs=(3,))))
    text = "class Own(nn.Sequential):\n    def forward(self, x):\n        return super().forward(x)"
    for change in ("", " * 2"):
        space = dict(nn=nn, __name__="__main__")
        exec(compile(text + change, "<own>", "exec"), space)
        found.add(digest(networks.from_module(space["Own"](nn.Linear(2, 2)))))
    for act in (nn.GELU(), nn.Tanh()):
        found.add(digest(networks.from_module(nn.Sequential(nn.Linear(2, 2), act))))
    assert len(found) == 9


def test_records_and_resumed_trainings_know_the_module(tmp_path, monkeypatch):
    x, y = reals(M, 4), whole(3, M)

    def run(net, seed):
        model = networks.from_module(net)
        return Replicas(model, x, y, SGD(0.1, 2), start=model.initial(1, seed=3)[0], seed=seed)

    run(mlp(), 1).run(3).save(tmp_path / "state.npz")
    resumed = run(made(lambda: mlp().float(), 9), 1).resume(tmp_path / "state.npz").run(2)
    torch.testing.assert_close(resumed.theta, run(mlp(), 1).run(5).theta)
    changed = mlp()
    changed[1].eps = 0.1
    with pytest.raises(ValueError, match="holds another training"):
        run(changed, 1).resume(tmp_path / "state.npz")
    model = networks.from_module(mlp())

    def last(seed):
        start = model.initial(1, seed=3)[0]
        return Replicas(model, x, y, SGD(0.1, 2), start=start, seed=seed).run(2).theta.sum()

    monkeypatch.setenv("DDT_FULL", "1")
    made_ = records.larger("module", last, [dict(seed=1)], folder=tmp_path).results
    monkeypatch.delenv("DDT_FULL")
    assert records.larger("module", last, [dict(seed=1)], folder=tmp_path).results == made_
    model = networks.from_module(changed)
    with pytest.raises(ValueError, match="made by other"):
        records.larger("module", last, [dict(seed=1)], folder=tmp_path)


def test_a_data_set_has_samples_of_any_shape():
    pictures = Dataset("noise", RNG.normal(size=(9, 2, 4, 4)), np.arange(9) % 2, ("a", "b"))
    assert (len(pictures), pictures.features) == (9, 32)
    x, y = pictures.tensors()
    net = convnet()
    model = networks.from_module(net, inputs=x.shape[1:])
    assert curvature.sample_gradients(model, model.theta(net), x, y).shape == (9, model.size)
    flat = pictures.standardised()
    np.testing.assert_allclose(flat.inputs.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(flat.inputs.var(0), 1)
    assert flat.subset([1, 2]).inputs.shape == (2, 2, 4, 4)
    maps = Dataset("maps", RNG.normal(size=(9, 2)), RNG.normal(size=(9, 3)))
    assert maps.split(0.34, seed=1)[0].targets.shape == (3, 3)
    dark = np.array(pictures.inputs)
    dark[:, 0, 0, 0] = 2.0
    with pytest.raises(ValueError, match="keep_constant=True"):
        Dataset("dark", dark, np.arange(9.0)).standardised()
    kept = Dataset("dark", dark, np.arange(9.0)).standardised(keep_constant=True)
    assert not kept.inputs[:, 0, 0, 0].any()


def test_public_losses_are_torchs():
    out, y, k = reals(4, 6, 3), whole(3, 6), whole(2, 6)
    truth = F.cross_entropy(out.flatten(0, 1), y.repeat(4), reduction="none").reshape(4, 6)
    torch.testing.assert_close(losses.cross_entropy(out, y), truth)
    truth = F.binary_cross_entropy_with_logits(
        out[..., 1], k.double().expand(4, 6), reduction="none"
    )
    torch.testing.assert_close(losses.binary_cross_entropy(out[..., 1:2], k), truth)
    goal = reals(6, 3)
    torch.testing.assert_close(losses.squared(out, goal), ((out - goal) ** 2).sum(-1) / 2)
    torch.testing.assert_close(
        losses.squared(out[..., :1], goal[:, 0])[2], (out[2, :, 0] - goal[:, 0]) ** 2 / 2
    )


class Odd(nn.Module):
    """A linear layer with a way of going wrong."""

    def __init__(self, how):
        super().__init__()
        self.line = nn.Linear(3, 2)
        self.extra = nn.Parameter(torch.ones(2))
        self.register_buffer("seen", torch.zeros(2))
        self.how = how

    def forward(self, x):
        return self.how(self, x)


class Old(torch.autograd.Function):
    """Written as before torch.func."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, slope):
        return slope * 2


def odd(how):
    return lambda: networks.from_module(Odd(how))


def count(net, x):
    net.seen += 1
    return net.line(x) * net.extra


def shifted(net, x):
    x -= 1
    return net.line(x) * net.extra


def gathered(net, x):
    out = x.new_zeros(len(x), 2)
    out += net.line(x) * net.extra
    return out


def branched(net, x):
    out = net.line(x) * net.extra
    return out if (out != 0).any() else -out


def rounded_through(net, x):
    """A straight-through estimator: steps, with a slope that they do not have."""
    out = net.line(x) * net.extra
    return out + (out.round() - out).detach()


def padded(at=0):
    return nn.Sequential(nn.Embedding(3, 2, padding_idx=at), nn.Flatten(), nn.Linear(8, 2))


def renormed():
    return nn.Sequential(nn.Embedding(3, 2, max_norm=0.5), nn.Flatten(), nn.Linear(8, 2))


def kept(net, x):
    net.last = net.line(x) * net.extra
    return net.last


def counted(net, x):
    net.calls = getattr(net, "calls", 0) + 1
    return net.line(x) * net.extra


class Keeps(nn.Module):
    """Activations, in a list or a dictionary that is there from the beginning."""

    def __init__(self, kind):
        super().__init__()
        self.line, self.kept = nn.Linear(3, 2), kind()

    def forward(self, x):
        out = self.line(x)
        if isinstance(self.kept, dict):
            self.kept.setdefault("all", {})["last"] = out.detach()
        else:
            self.kept.append(out.detach())
        return out


def hooked(how):
    net = nn.Linear(3, 2)
    getattr(net.weight, how)(lambda slope: None)
    return networks.from_module(net)


def sharing(columns):
    """Two layers whose weights lie in one piece of memory, columns 0 to 2 and others."""
    net, whole = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), torch.randn(3, 6)
    net[0].weight.data, net[1].weight.data = whole[:, :3], whole[:, columns]
    return networks.from_module(net)


WEIGHTS = torch.tensor([1.0, 1.0, 10.0]).double()


def of_classes(loss, count=3):
    return networks.from_module(nn.Linear(4, 3), loss, classes=count)


class Looked(nn.Module):
    """An embedding that is called as a function, in a vocabulary of five."""

    def __init__(self, at, trained=True):
        super().__init__()
        self.rows = nn.Parameter(torch.randn(5, 2), requires_grad=trained)
        self.line, self.at = nn.Linear(8, 2), at

    def forward(self, x):
        return self.line(F.embedding(x, self.rows, padding_idx=self.at).flatten(1))


class Weighted(nn.Module):
    """A loss that keeps torch's, with weights."""

    def __init__(self):
        super().__init__()
        self.inner = nn.CrossEntropyLoss(WEIGHTS)

    def forward(self, out, y):
        return self.inner(out, y)


def by_hand(out, y):
    """The mean over a batch that the user had, without torch's loss."""
    costs = -out.log_softmax(-1).gather(-1, y[..., None])[..., 0]
    return (WEIGHTS[y] * costs).sum() / WEIGHTS[y].sum()


def of_numbered(weight):
    """Classes as real numbers."""
    net = nn.Linear(4, 3)
    return networks.from_module(net, lambda out, y: F.cross_entropy(out, y.long(), weight=weight))


def compiled():
    net = nn.Linear(3, 2)
    net.compile()
    return net


class Wrapped(nn.Module):
    """As torch.compile wraps a module."""

    def __init__(self, net):
        super().__init__()
        self._orig_mod = net

    def forward(self, x):
        return self._orig_mod(x)


def unlearned():
    net = nn.Linear(2, 2).requires_grad_(False)
    return networks.from_module(net)


def with_parameter(value, trained=True):
    net = nn.Linear(2, 2)
    net.extra = nn.Parameter(value, requires_grad=trained)
    return networks.from_module(net)


def normed():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


LINE = nn.Linear(3, 2)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: networks.from_module(torch.tanh), "must be a torch.nn.Module.*; make one"),
        (lambda: networks.from_module(nn.Tanh(), inputs=2), "parameters to train, got none; give"),
        (unlearned, r"all of \['weight', 'bias'\] frozen; call module.requires_grad_"),
        (lambda: networks.from_module(nn.LazyLinear(2), inputs=3), "lazy .*'weight'; call it once"),
        (lambda: networks.from_module(normed()), "layer '1', BatchNorm1d.*; put GroupNorm"),
        (lambda: networks.from_module(normed().eval()), "layer '1', BatchNorm1d"),
        (lambda: with_parameter(torch.ones(2) * 1j), "got 'extra' of torch.complex64; keep"),
        (lambda: with_parameter(torch.ones(2).long(), False), "got 'extra' of torch.int64; keep"),
        (lambda: with_parameter(torch.ones(2) * np.nan), "extra must be finite"),
        (lambda: with_parameter(torch.ones(2)), "got 'extra', which does not; remove it"),
        (odd(lambda net, x: net.line(x - x.mean(0)) * net.extra), "each sample by itself"),
        (odd(lambda net, x: (net.line(x) * net.extra).sum()), "a row for each of 3 samples"),
        (odd(lambda net, x: (net.line(x) * net.extra).squeeze(0)), "a row for each of 1 samples"),
        (odd(lambda net, x: F.dropout(net.line(x), 0.5) * net.extra), "draw no random numbers"),
        (odd(lambda net, x: net.line(x) * net.extra + torch.randn(2)), "draw no random numbers"),
        (odd(count), "not write to 'seen'"),
        (odd(shifted), "not write to its inputs"),
        (odd(gathered), "many networks at once, got: .*; write x = x . "),
        (odd(branched), "torch.where in the place of an if"),
        (odd(lambda net, x: net.line(x).sign() * net.extra), "zero for 'line.weight'"),
        (odd(lambda net, x: net.line(x).detach() * net.extra), "zero for 'line.weight'"),
        (odd(lambda net, x: net.line(x) * net.line(x).detach() * net.extra), "slope .* no detach"),
        (odd(rounded_through), "got the slope .* where the output changes by"),
        (lambda: networks.from_module(padded(), inputs=(4,)), "layer .0. with padding_idx=0"),
        (odd(kept), "keep nothing of a call in the module, got the attribute 'last'"),
        (odd(counted), "keep nothing of a call in the module, got the attribute 'calls'"),
        (lambda: networks.from_module(nn.utils.spectral_norm(nn.Linear(3, 2))), "keep nothing of"),
        (lambda: networks.from_module(nn.Linear(3, 2, device="meta")), "'weight' on the meta dev"),
        (lambda: networks.from_module(nn.DataParallel(LINE)), "DataParallel; give the module ins"),
        (lambda: networks.from_module(compiled()), "compiled, Linear; give one on which compile"),
        (lambda: networks.from_module(nn.Sequential(Wrapped(LINE))), "'0' wrapped .*_orig_mod"),
        (lambda: networks.from_module(renormed(), inputs=(4,)), "write to '0.weight'.*max_norm"),
        (lambda: networks.from_module(old_norm(nn.Linear(3, 2))), "copies, .*remove_weight_norm"),
        (lambda: networks.from_module(nn.LSTM(3, 4), inputs=(5, 2)), "shape .5, 2., got .*input_s"),
        (lambda: networks.from_module(LINE, nn.BCEWithLogitsLoss()), "of shape .2,. and target of"),
        (lambda: networks.from_module(LINE, lambda out, y: 0.5), "and return a tensor, got"),
        (odd(lambda net, x: net.line(x).round().detach() + 0 * x[:, :2]), "without a gradient"),
        (odd(lambda net, x: Old.apply(net.line(x)) * net.extra), "give the function a setup_con"),
        (odd(lambda net, x: (net.line(x) * net.extra, x)), "return one tensor, got tuple"),
        (odd(lambda net, x: (net.line(x) * net.extra).float()), "got torch.float32.*place of .flo"),
        (odd(lambda net, x: net.line(x) * net.extra * 1j), "complex128.*real part"),
        (odd(lambda net, x: net.line(x.float()) * net.extra), "with the dtype of x"),
        (lambda: networks.from_module(nn.Conv2d(1, 2, 3)), "got None and a module without a lin"),
        (lambda: networks.from_module(LINE, inputs=(4,)), "shape \\(4,\\), got .*give inputs="),
        (lambda: networks.from_module(LINE, inputs="3"), "inputs must be a shape"),
        (lambda: networks.from_module(LINE, inputs=(0,)), "inputs must be a whole number, 1"),
        (lambda: networks.from_module(LINE, "hinge"), "loss must be one of .*, got 'hinge'; or"),
        (lambda: networks.from_module(LINE, targets=(2,)), "targets and classes must be left out"),
        (lambda: networks.from_module(LINE, classes=3), "which knows them: .. and 2 for .*and 3"),
        (lambda: networks.from_module(LINE, "squared", targets=(3,)), "knows them: .2,. and 0 for"),
        (lambda: networks.from_module(LINE, F.binary_cross_entropy), "often that of the output"),
        (lambda: networks.from_module(LINE, rows, targets=(2,)), "return one number for a"),
        (lambda: networks.from_module(LINE, lambda out, y: out.argmax().double()), "no argmax in"),
        (lambda: networks.from_module(LINE, F.huber_loss, targets=(2,)), "smooth_l1_loss for hub"),
        (lambda: networks.from_module(weight_norm(nn.Linear(3, 2))), "forward over reverse"),
        (lambda: networks.from_module(LINE, weight_decay=-1), "weight_decay must be"),
        *(
            (lambda at=at: networks.from_module(padded(at), inputs=(4,)), "layer '0' with padding")
            for at in (2, -1)
        ),
        *(
            (lambda at=at: networks.from_module(Looked(at), inputs=(4,)), "F.embedding with padd")
            for at in (0, 3, -1)
        ),
        (lambda: hooked("register_hook"), "got a hook on 'weight', .*mask into forward"),
        (lambda: hooked("register_post_accumulate_grad_hook"), "got a hook on 'weight'"),
        (lambda: sharing(slice(0, 3)), "got '1.weight' in the memory of '0.weight'; tie them"),
        (lambda: sharing(slice(2, 5)), "got '1.weight' in the memory of '0.weight'; tie them"),
        *(
            (lambda kind=kind: networks.from_module(Keeps(kind)), "got the attribute 'kept'")
            for kind in (list, dict, deque)
        ),
        (lambda: of_classes(nn.CrossEntropyLoss(WEIGHTS)), "a mean that divides .*='sum'"),
        (lambda: of_classes(nn.NLLLoss(WEIGHTS)), "a mean that divides .* reduction='sum'"),
        (lambda: of_classes(partial(F.cross_entropy, weight=WEIGHTS)), "a mean that divides"),
        *(
            (lambda loss=loss: of_classes(loss), "a mean that divides .* reduction='sum'")
            for loss in (
                lambda out, y: F.cross_entropy(out, y, WEIGHTS),
                lambda out, y: 0.5 * F.cross_entropy(out[None], y[None], weight=WEIGHTS) + 0.3,
                lambda out, y: F.nll_loss(out.log_softmax(-1), y, weight=WEIGHTS),
                Weighted(),
                by_hand,
            )
        ),
        (lambda: of_numbered(WEIGHTS), "a mean that divides .* reduction='sum'"),
        (lambda: of_classes(nn.CrossEntropyLoss(ignore_index=0)), "got nan for class 0; leave out"),
        (lambda: of_classes(nn.CrossEntropyLoss(ignore_index=2)), "got nan for class 2; leave out"),
        (lambda: of_classes(F.cross_entropy, 5), "each of 5 classes, got .*; give classes="),
        (lambda: of_classes(nn.CrossEntropyLoss(), 0), "got no number for .*; give classes=3"),
        (lambda: of_classes(nn.CrossEntropyLoss), "got the class CrossEntropyLoss; make one, Cros"),
    ],
)  # fmt: skip
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "loss, told",
    [
        ("cross entropy", dict(classes=2)),
        ("cross entropy", dict(classes=2, targets=())),
        ("squared", dict(targets=(2,))),
        ("squared", dict(targets=2, classes=0)),
    ],
)
def test_what_a_named_loss_knows_may_be_said_too(loss, told):
    said, plain = networks.from_module(LINE, loss, **told), networks.from_module(LINE, loss)
    assert provenance.digest(dict(model=said)) == provenance.digest(dict(model=plain))
    assert said.classes == plain.classes and said.target_shape == plain.target_shape


def test_what_is_nearly_refused_is_right():
    """Disjoint pieces of one memory, a frozen row of padding, weights of classes in a sum."""
    assert sharing(slice(3, 6)).size == 24
    frozen = padded(2)
    frozen[0].requires_grad_(False)
    assert networks.from_module(frozen, inputs=(4,)).size == 18
    assert networks.from_module(Looked(3, trained=False), inputs=(4,)).size == 18
    looked, tokens, targets = Looked(None), torch.arange(12).reshape(3, 4) % 5, reals(3, 2)
    model = networks.from_module(looked, "squared", inputs=(4,))
    (F.mse_loss(looked(tokens), targets)).backward()  # the same, over two outputs: half the squares
    found = curvature.sample_gradients(model, model.theta(looked), tokens, targets).mean(0)
    truth = torch.cat([part.grad.flatten() for part in looked.parameters()])
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-6)
    net, x, y = made(lambda: nn.Linear(4, 3)), reals(M, 4), torch.arange(M) % 3
    for loss in (nn.CrossEntropyLoss(WEIGHTS, reduction="sum"), nn.CrossEntropyLoss()):
        model = networks.from_module(net, loss, classes=3)
        found = model.loss(model.theta(net), x, y) * (M if loss.reduction == "sum" else 1)
        torch.testing.assert_close(found, loss(net(x), y))
    for loss in (  # weights that a sample keeps, and losses of one sample that look like a mean
        lambda out, y: WEIGHTS[y] * F.cross_entropy(out, y),
        lambda out, y: F.cross_entropy(out, y, weight=WEIGHTS, reduction="none"),
        lambda out, y: (WEIGHTS * out.softmax(-1)).sum() / WEIGHTS.sum() - out[..., 0].sum() * y,
        lambda out, y: -(out.softmax(0)[y] + 0.01).log(),
    ):
        model = networks.from_module(net, loss, classes=3)
        alone = torch.stack([loss(*pair) for pair in zip(net(x), y, strict=True)]).mean()
        torch.testing.assert_close(model.loss(model.theta(net), x, y), alone)
    shares = nn.CrossEntropyLoss(WEIGHTS)  # of shares the mean is over samples
    model, goal = networks.from_module(net, shares, targets=(3,)), reals(M, 3).softmax(-1)
    torch.testing.assert_close(model.loss(model.theta(net), x, goal), shares(net(x), goal))
    masked = nn.BCEWithLogitsLoss(weight=WEIGHTS)
    model, goal = networks.from_module(net, masked, targets=(3,)), (reals(M, 3) > 0).double()
    torch.testing.assert_close(model.loss(model.theta(net), x, goal), masked(net(x), goal))


def test_whole_numbers_are_real_targets_for_a_loss_of_one_s_own():
    net = made(lambda: nn.Linear(4, 1))
    model, x = networks.from_module(net, lambda out, y: F.mse_loss(out[0], y)), reals(M, 4)
    theta, y = model.theta(net), torch.arange(M)
    for ask in (curvature.hessian, curvature.sample_gradients):
        np.testing.assert_array_equal(ask(model, theta, x, y), ask(model, theta, x, y.double()))
    crowd = Replicas(model, x, y, SGD(0.1, 2), start=theta, seed=1).run(3)
    other = Replicas(model, x, y.double(), SGD(0.1, 2), start=theta, seed=1).run(3)
    assert torch.equal(crowd.theta, other.theta)


class Swish(torch.autograd.Function):
    """x/(1 + e⁻ˣ), with true derivatives; its kinds below have one that is not."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x * torch.sigmoid(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def slope(x):
        half = torch.sigmoid(x)
        return half + x * half * (1 - half)

    @staticmethod
    def backward(ctx, grad):
        return grad * Swish.slope(*ctx.saved_tensors)

    @staticmethod
    def jvp(ctx, tangent):
        return tangent * Swish.slope(*ctx.saved_tensors)


class Once(Swish):
    """Its backward is not to be differentiated, and forward mode does not ask."""

    backward = staticmethod(torch.autograd.function.once_differentiable(Swish.backward))


class Detached(Swish):
    """The slope is a constant for who differentiates it, forward or back."""

    @staticmethod
    def backward(ctx, grad):
        return grad * Swish.slope(*(x.detach() for x in ctx.saved_tensors))


class Unrecorded(Swish):
    """The slope is a constant for who differentiates it back."""

    @staticmethod
    def backward(ctx, grad):
        with torch.no_grad():
            slope = Swish.slope(*ctx.saved_tensors)
        return grad * slope


class Forwards(Swish):
    """The derivative forward is half of what it is."""

    @staticmethod
    def jvp(ctx, tangent):
        return Swish.jvp(ctx, tangent) / 2


def bent(kind):
    return odd(lambda net, x: kind.apply(net.line(x) * net.extra))()


def tangent(net, x):
    """Value and slope of a tanh are there, its curvature is not."""
    out = net.line(x) * net.extra
    at = out.detach()
    return at.tanh() + (1 - at.tanh() ** 2) * (out - at)


def test_true_derivatives_of_one_s_own_are_those_of_torch_s():
    theta = torch.linspace(-1, 1, 10).double()
    x = reals(M, 3)
    own, torchs = bent(Swish), odd(lambda net, x: F.silu(net.line(x) * net.extra))()
    labels = torch.arange(M) % 2
    np.testing.assert_allclose(
        curvature.hessian(own, theta, x, labels), curvature.hessian(torchs, theta, x, labels)
    )


@pytest.mark.parametrize(
    "make, what",
    [
        (lambda: bent(Once), "curvature .* slope changes"),
        (lambda: bent(Detached), "curvature .* slope changes"),
        (lambda: bent(Unrecorded), "curvature .* slope changes"),
        (lambda: bent(Forwards), "slope .* output changes"),
        (odd(tangent), "curvature .* slope changes"),
    ],
)
def test_a_second_derivative_that_is_not_true_is_refused(make, what):
    with pytest.raises(ValueError, match=f"forward must be differentiable .* got the {what}"):
        make()


def focal(out, y, held=False):
    loss = F.cross_entropy(out, y)
    chance = torch.exp(-loss)
    return (1 - (chance.detach() if held else chance)) ** 2 * loss


def weighed(out, y):
    with torch.no_grad():
        weight = 1 + out[0] ** 2
    return weight * F.mse_loss(out, y)


class Fading:
    """A loss that remembers how often it was asked."""

    calls = 0

    def __call__(self, out, y):
        self.calls += 1
        return F.mse_loss(out, y) / self.calls


@pytest.mark.parametrize(
    "loss, options, words",
    [
        (partial(focal, held=True), dict(classes=3), "the slope .* where the output changes"),
        (weighed, dict(targets=(3,)), "the (slope|curvature) .* changes by"),
        (Fading(), dict(targets=(3,)), "the same number twice"),
    ],
)
def test_a_loss_whose_gradient_is_not_true_is_refused(loss, options, words):
    net = made(lambda: nn.Linear(4, 3))
    with pytest.raises(ValueError, match=f"loss must .*{words}"):
        networks.from_module(net, loss, **options)
    model = networks.from_module(net, focal, classes=3)  # the same without a detach
    theta, x, y = model.theta(net), reals(M, 4), torch.arange(M) % 3
    here = theta.clone().requires_grad_()
    scores = x @ here[:12].reshape(3, 4).T + here[12:]
    told = sum(focal(out, one) for out, one in zip(scores, y, strict=True)) / M
    (slope,) = torch.autograd.grad(told, here)
    np.testing.assert_allclose(curvature.sample_gradients(model, theta, x, y).mean(0), slope)


class First(nn.Module):
    """What its first call leaves behind, in the layer or in something that the layer holds."""

    def __init__(self, kind):
        super().__init__()
        self.line, self.kind, self.box = nn.Linear(3, 2), kind, SimpleNamespace(scale=None)
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, x):
        first, self.box.scale = self.box.scale is None, self.box.scale or 1.0
        if self.kind == "scale" and first:
            self.box.scale = float(x.std())
        if self.kind == "buffer" and first:
            self.shift = self.shift + 1
        if self.kind == "weights" and first:
            with torch.no_grad():
                self.line.weight.mul_(2)
        return self.line(x) * self.box.scale + self.shift


@pytest.mark.parametrize(
    "kind, words",
    [
        ("scale", "keep nothing of its first call"),
        ("buffer", "keep nothing of its first call"),
        ("weights", "not write to 'line.weight'"),
    ],
)
def test_what_a_first_call_leaves_behind_is_refused(kind, words):
    """Unless it is the user's own call, or the same whatever it was called with."""
    with pytest.raises(ValueError, match=f"forward must {words}"):
        networks.from_module(First(kind))
    net, x = made(lambda: First(kind)), reals(M, 3)
    told = net(x)
    model = networks.from_module(net, "squared")
    torch.testing.assert_close(model.outputs(model.theta(net), x), net(x))
    torch.testing.assert_close(told, net(x))
    assert networks.from_module(First("nothing")).size == 8


def rows(out, y):
    return F.smooth_l1_loss(out, y, reduction="none")


def test_samples_and_targets_of_another_shape_are_refused():
    net = made(Positions)
    model = networks.from_module(net, inputs=(3,))
    theta = model.theta(net)
    x, y = whole(5, M, 3), whole(5, M, 3)
    for wrong, message in [
        ((x[:, :2], y), r"x must be an array of shape \(any, 3\), got shape \(7, 2\)"),
        ((x + 0.5, y), "x must be whole numbers"),
        ((x, y[:, 0]), r"y must be an array of shape \(7, 3\)"),
        ((x, y + 1), "whole numbers from 0 to 4"),
        ((x[:0], y[:0]), "x must not be empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            curvature.hessian(model, theta, *wrong)
        with pytest.raises(ValueError, match=message):
            Replicas(model, *wrong, SGD(0.1, 2), start=theta, seed=1)
    with pytest.raises(ValueError, match="x must have shape"):
        model.outputs(theta, x[:, :2])
    with pytest.raises(ValueError, match="difference at"):
        model.theta(mlp())
    with pytest.raises(ValueError, match="theta must be"):
        model.module(theta[1:])


class Stack(nn.Module):
    """A recurrent layer of torch's own, and what reads it; its layers are met twice or share."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.cell = getattr(nn, kind)(3, 3)
        self.read, self.other = nn.Linear(3, 2), nn.Linear(3, 2)
        self.again = nn.Sequential(self.read, nn.Tanh())
        self.other.weight = self.read.weight
        self.log_scale = nn.Parameter(torch.tensor(0.3))
        self.register_buffer("places", torch.arange(2))

    def forward(self, x):
        if self.kind.endswith("Cell"):
            h = None
            for part in x.unbind(1):
                h = self.cell(part, h)
            last = h[0] if isinstance(h, tuple) else h
        else:
            last = self.cell(x.transpose(0, 1))[0][-1]
        return self.log_scale.exp() * self.again(last) + self.other(last) * self.places


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell", "RNN", "GRU", "LSTM"])
def test_recurrent_layers_shared_layers_and_single_numbers(kind):
    """Gradients sample by sample are those of autograd; so is the Hessian; theta goes and comes."""
    net = made(lambda: Stack(kind))
    model = networks.from_module(net, inputs=(4, 3))
    names = [name for name, _ in net.named_parameters()]
    assert [name for name, _ in model.shapes] == names
    assert model.size == sum(part.numel() for part in net.parameters())
    x, y = torch.from_numpy(RNG.normal(size=(M, 4, 3))), torch.from_numpy(RNG.integers(0, 2, M))
    theta, rows = model.theta(net), []
    for xi, yi in zip(x, y, strict=True):
        found = torch.autograd.grad(F.cross_entropy(net(xi[None]), yi[None]), net.parameters())
        rows.append(torch.cat([part.flatten() for part in found]).numpy())
    np.testing.assert_allclose(
        curvature.sample_gradients(model, theta, x, y), rows, rtol=1e-9, atol=1e-12
    )
    place = theta.clone().requires_grad_()
    bend = torch.autograd.functional.hessian(lambda t: model.loss(t, x, y), place)
    np.testing.assert_allclose(curvature.hessian(model, theta, x, y), bend, rtol=1e-8, atol=1e-11)
    assert np.isfinite(curvature.fisher(model, theta, x)).all()
    torch.testing.assert_close(model.module(theta)(x), net(x), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(model.theta(model.module(theta)), theta, rtol=0, atol=0)
    pair = torch.stack([theta, 1.1 * theta])
    alone = torch.stack([model.loss(one, x, y) for one in pair])
    torch.testing.assert_close(model.loss(pair, x, y), alone, rtol=1e-12, atol=0)


def test_tokens_that_an_embedding_does_not_know_are_refused():
    net = made(Positions)
    model = networks.from_module(net, inputs=(3,))
    x, y = whole(5, M, 3).numpy(), whole(5, M, 3)
    for wrong in (x + 3, x - 9):
        with pytest.raises(ValueError, match="whole numbers that Positions knows.*count its tok"):
            curvature.sample_gradients(model, model.theta(net), wrong, y)
