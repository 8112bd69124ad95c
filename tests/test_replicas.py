"""Replicas: reproducible one by one, in any company, however cut; and right on known problems."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch
from scipy import linalg

from ddt_utils import curvature, networks, streams
from ddt_utils.criterion import Beyond, Box, LevelSet, Quench
from ddt_utils.replicas import (
    SAM,
    SGD,
    Adam,
    GaussianSGD,
    GradientDescent,
    LabelNoise,
    Replicas,
    Rule,
    sgld,
)  # fmt: skip

RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(60, 4)), RNG.integers(0, 2, 60)
NET = networks.fully_connected((4, 5, 2))
START = NET.initial(1, seed=2)[0].numpy()
RULES = [
    SGD(0.1, 8),
    SGD(0.1, 8, momentum=0.9),
    SGD(0.1, 8, sampling="distinct"),
    SGD(0.1, 7, sampling="epochs"),
    sgld(0.05, 1e-3, NET.size),
    GradientDescent(0.1),
]
IDS = ["SGD", "momentum", "distinct", "epochs", "SGLD", "GD"]
H = np.array([[2.0, 0.5], [0.5, 1.0]])
BOWL = networks.quadratic(H)
PLACES = RNG.normal(size=(40, 2))
PLACES -= PLACES.mean(0)


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_a_replica_is_the_same_alone_and_among_256(rule):
    """The same samples exactly (it draws by its number), the weights to 1e-9 or better."""
    many = Replicas(NET, X, Y, rule, start=START, replicas=256, seed=5).run(80)
    for number in (0, 200):
        options = dict(start=START, replicas=1, seed=5, first=number)
        alone = Replicas(NET, X, Y, rule, **options).run(80)
        apart = (many.theta[number] - alone.theta[0]).abs().max()
        assert float(apart) < 1e-9
        drawn = [c._blocks._kept[2] for c in (many, alone)]
        for name, part in drawn[1].items():
            assert torch.equal(drawn[0][name][number], part[0])
    if not isinstance(rule, GradientDescent):
        assert float((many.theta[0] - many.theta[1]).abs().max()) > 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_a_gpu_trains_the_same_replicas(rule, tmp_path):
    """The same draws, the weights to 1e-9; saved there, resumed here; and watched."""
    options = dict(start=START, replicas=64, seed=5)
    here, there = (Replicas(NET, X, Y, rule, device=d, **options).run(80) for d in ("cpu", "cuda"))
    assert float((here.theta - there.theta.cpu()).abs().max()) < 1e-9
    there.save(tmp_path / "state.npz")
    resumed = Replicas(NET, X, Y, rule, **options).resume(tmp_path / "state.npz").run(20)
    assert float((here.run(20).theta - resumed.theta).abs().max()) < 1e-9
    for criterion in (Box(START, 0.1), LevelSet(0.7), Quench(START, 0.4, 0.1, 5)):
        crowds = (Replicas(NET, X, Y, rule, device=d, **options) for d in ("cpu", "cuda"))
        here, there = (c.escape(criterion, max_iterations=100) for c in crowds)
        assert (here.times == there.times).mean() > 0.9  # rounding may shift a few


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_training_may_be_cut_saved_and_resumed(rule, tmp_path):
    def fresh(**other):
        options = dict(start=START, replicas=3, seed=5, first=2) | other
        return Replicas(NET, X, Y, rule, **options)

    whole = fresh().run(150)
    cut = fresh().run(1).run(69)
    cut.save(tmp_path / "state.npz")
    resumed = fresh().resume(tmp_path / "state.npz").run(80)
    assert torch.equal(resumed.theta, whole.theta) and resumed.iteration == 150
    assert resumed.state.keys() == whole.state.keys()
    assert all(torch.equal(resumed.state[name], whole.state[name]) for name in whole.state)
    for other in (dict(seed=6), dict(first=3), dict(replicas=4), dict(start=START + 1e-15)):
        with pytest.raises(ValueError, match="holds another training"):
            fresh(**other).resume(tmp_path / "state.npz")


class Slow(SGD):
    """A rule of one's own that shares every number with its parent."""

    def step(self, gradient, theta, state, draw, iteration):
        return theta - self.learning_rate / (2 + iteration) * gradient(theta, draw), state


OTHERS = {
    "learning rate": dict(rule=SGD(np.nextafter(0.1, 1), 8)),
    "batch": dict(rule=SGD(0.1, 7)),
    "sampling": dict(rule=SGD(0.1, 8, sampling="distinct")),
    "kind of rule": dict(rule=Slow(0.1, 8)),
    "activation": dict(model=networks.fully_connected((4, 5, 2), activation="relu")),
    "inputs": dict(x=np.nextafter(X, 9)),
    "targets": dict(y=1 - Y),
    "precision": dict(dtype=torch.float32),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_training_is_refused(other, tmp_path):
    def crowd(model=NET, x=X, y=Y, rule=RULES[0], **options):
        return Replicas(model, x, y, rule, start=START, replicas=3, seed=5, **options)

    crowd().run(3).save(tmp_path / "state.npz")
    assert crowd().resume(tmp_path / "state.npz").iteration == 3
    with pytest.raises(ValueError, match="holds another training"):
        crowd(**other).resume(tmp_path / "state.npz")


def test_another_loss_hessian_or_factor_is_refused(tmp_path):
    """What has the same name and size: the content of model and rule decides."""
    nets = [networks.fully_connected((4, 5, 1), loss=k) for k in ("cross entropy", "squared")]
    bowls = [networks.quadratic(h) for h in (H, H + np.diag([0, 1e-9]))]
    factors = [np.diag(np.arange(1.0, 41)) for _ in range(2)]
    factors[1][20, 21] = 1e-9
    wide, places = networks.quadratic(np.eye(40)), np.zeros((3, 40))
    begin = np.linspace(-0.3, 0.4, nets[0].size)
    for one, other in (
        [Replicas(net, X, Y, SGD(0.1, 8), start=begin, seed=5) for net in nets],
        [Replicas(b, PLACES, np.zeros(40), SGD(0.1, 8), start=[1, 2], seed=5) for b in bowls],
        [
            Replicas(wide, places, np.zeros(3), GaussianSGD(0.1, f), start=np.ones(40), seed=5)
            for f in factors
        ],
    ):
        one.run(2).save(tmp_path / "state.npz")
        with pytest.raises(ValueError, match="holds another training"):
            other.resume(tmp_path / "state.npz")


def test_a_save_is_whole_or_not_there(tmp_path, monkeypatch):
    crowd = Replicas(NET, X, Y, RULES[1], start=START, replicas=3, seed=5).run(3)
    crowd.save(tmp_path / "state")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        crowd.run(2).save(tmp_path / "state")
    monkeypatch.undo()
    fresh = Replicas(NET, X, Y, RULES[1], start=START, replicas=3, seed=5)
    assert fresh.resume(tmp_path / "state").iteration == 3
    whole = (tmp_path / "state").read_bytes()
    np.savez(tmp_path / "other.npz", theta=1)
    foreign = (tmp_path / "other.npz").read_bytes()
    for content in (b"", whole[:700], whole[: len(whole) // 2], foreign, b"nothing"):
        (tmp_path / "state").write_bytes(content)
        with pytest.raises(ValueError, match="state is damaged.*; resume from another copy"):
            fresh.resume(tmp_path / "state")


def test_sgd_is_what_a_plain_loop_of_torch_does():
    """The batches are read off; the optimiser is torch's own, with momentum."""
    rule = SGD(0.1, 8, momentum=0.8)
    crowd = Replicas(NET, X, Y, rule, start=START, replicas=2, seed=1)
    draw, length = rule.draws(len(X), NET.size)
    blocks = [draw(streams.stream(1, "training", 1, block)) for block in range(2)]
    batches = np.concatenate([block["indices"] for block in blocks])
    theta = torch.tensor(START, requires_grad=True)
    optimiser = torch.optim.SGD([theta], lr=0.1, momentum=0.8)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    for batch in batches[:100]:
        optimiser.zero_grad()
        NET.loss(theta, x[batch], y[batch]).backward()
        optimiser.step()
    torch.testing.assert_close(crowd.run(100).theta[1], theta.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sampling, factor", [("replacement", 1.0), ("distinct", 30 / 39)])
def test_a_quadratic_valley_rests_with_the_covariance_of_the_lyapunov_equation(sampling, factor):
    r"""S = (1 − ηH) S (1 − ηH) + η² C, C = H Cov H/B·(m−B)/(m−1); false alarm 1e-5 over three."""
    eta, batch = 0.2, 10
    rule = SGD(eta, batch, sampling=sampling)
    crowd = Replicas(BOWL, PLACES, np.zeros(40), rule, start=np.zeros(2), replicas=4000, seed=3)
    theta = crowd.run(60).theta.numpy()
    spread = H @ (PLACES.T @ PLACES / 40) @ H / batch * factor
    step = np.eye(2) - eta * H
    truth = linalg.solve_discrete_lyapunov(step, eta**2 * spread)
    found = np.cov(theta.T)
    error = np.sqrt((np.outer(np.diag(truth), np.diag(truth)) + truth**2) / 4000)
    assert np.abs((found - truth) / error).max() < 4.7


def test_sgld_rests_in_the_gibbs_density():
    """Quadratic: covariance D (H (1 − ηH/2))⁻¹ of the discrete chain; false alarm 1e-5."""
    eta, diffusion = 0.1, 0.3
    rule = sgld(eta, diffusion, 2)
    crowd = Replicas(BOWL, PLACES, np.zeros(40), rule, start=np.zeros(2), replicas=4000, seed=4)
    found = np.cov(crowd.run(120).theta.numpy().T)
    truth = diffusion * np.linalg.inv(H @ (np.eye(2) - eta * H / 2))
    error = np.sqrt((np.outer(np.diag(truth), np.diag(truth)) + truth**2) / 4000)
    assert np.abs((found - truth) / error).max() < 4.7


def test_gaussian_noise_has_the_covariance_of_its_factor():
    factor = np.array([[1.0], [0.5]])
    rule = GaussianSGD(0.1, factor)
    crowd = Replicas(BOWL, PLACES, np.zeros(40), rule, start=np.zeros(2), replicas=4000, seed=9)
    kicks = crowd.run(1).theta.numpy() / 0.1
    assert np.linalg.matrix_rank(kicks, tol=1e-9) == 1
    assert kicks[:, 0].var() == pytest.approx(1, abs=4.42 * np.sqrt(2 / 4000))


def test_an_epoch_visits_every_sample_once():
    draw, length = SGD(0.1, 6, sampling="epochs").draws(60, 3)
    batches = draw(streams.stream(1, "training", 0, 0))["indices"]
    assert length == 10 and sorted(batches.ravel()) == list(range(60))
    distinct, _ = SGD(0.1, 6, sampling="distinct").draws(60, 3)
    assert all(len(set(batch)) == 6 for batch in distinct(streams.stream(1, "training"))["indices"])


def test_every_sample_is_drawn_as_often():
    """χ² over 40 samples, 20 480 draws, each sampling; false alarm 1e-5."""
    for sampling in ("replacement", "distinct"):
        draw, _ = SGD(0.1, 5, sampling=sampling).draws(40, 3)
        blocks = [draw(streams.stream(1, "training", 0, block)) for block in range(64)]
        drawn = np.concatenate([block["indices"].ravel() for block in blocks])
        counts = np.bincount(drawn, minlength=40)
        assert np.sum((counts - 512.0) ** 2 / 512) < 92  # χ²(39) exceeds it once in 1e5


def test_escape_from_a_box_is_the_same_in_any_company_and_in_pieces():
    def crowd(first, count):
        options = dict(start=np.zeros(2), replicas=count, seed=3, first=first)
        return Replicas(BOWL, PLACES, np.zeros(40), SGD(0.1, 4), **options)

    box = Box((0, 0), 0.5)
    many = crowd(0, 200).escape(box, max_iterations=400)
    few = crowd(50, 20).escape(box, max_iterations=400)
    np.testing.assert_array_equal(many.times[50:70], few.times)
    np.testing.assert_array_equal(many.status[50:70], few.status)
    pieces = crowd(50, 20)
    pieces.escape(box, max_iterations=30)
    again = pieces.escape(box, max_iterations=400)
    np.testing.assert_array_equal(again.times, few.times)
    assert 0 < many.censored < 200 and np.abs(many.states[many.status == 1]).max(1).min() >= 0.5
    assert np.all(many.times[many.status == 2] == 400 * 0.1)


def test_watching_is_saved_and_resumed_in_the_middle(tmp_path):
    """With momentum, and after some have escaped: times, states and velocities go on."""

    def crowd():
        rule = SGD(0.1, 4, momentum=0.6)
        options = dict(start=np.zeros(2), replicas=60, seed=3, first=4)
        return Replicas(BOWL, PLACES, np.zeros(40), rule, **options).run(7)

    box = Box((0.1, -0.05), (0.6, 0.7))
    whole = crowd().escape(box, max_iterations=90, every=3)
    begun = crowd()
    early = begun.escape(box, max_iterations=30, every=3)
    assert 5 < early.escaped < 55 and early.escaped < whole.escaped < 60
    begun.save(tmp_path / "state.npz")
    resumed = crowd().resume(tmp_path / "state.npz")
    with pytest.raises(ValueError, match="criterion must be the one that these replicas"):
        resumed.escape(Box((0.1, -0.05), (0.6, 0.8)), max_iterations=90, every=3)
    again = resumed.escape(box, max_iterations=90, every=3)
    np.testing.assert_array_equal(again.times, whole.times)
    np.testing.assert_array_equal(again.status, whole.status)
    np.testing.assert_array_equal(again.states, whole.states)


@pytest.mark.parametrize("rule", RULES[:2], ids=IDS[:2])
def test_whoever_stays_moves_as_if_nobody_had_left(rule):
    """The replicas that are left at the end are where plain training takes them, and as fast."""
    width = 0.04 + 0.15 * rule.momentum
    far = Box(START, np.where(np.arange(NET.size) == 3, width, 9.0))
    crowd = Replicas(NET, X, Y, rule, start=START, replicas=40, seed=5)
    seen = crowd.escape(far, max_iterations=25)
    plain = Replicas(NET, X, Y, rule, start=START, replicas=40, seed=5).run(25)
    stay = torch.from_numpy(np.flatnonzero(seen.status == 2))
    assert 3 <= len(stay) <= 37
    assert float((crowd.theta[stay] - plain.theta[stay]).abs().max()) < 1e-12
    if rule.momentum:
        apart = crowd.state["velocity"][stay] - plain.state["velocity"][stay]
        assert float(apart.abs().max()) < 1e-12


def test_times_count_from_when_watching_begins():
    """Training before it moves where replicas begin and not when they are said to leave."""

    def crowd(first):
        rule = GaussianSGD(0.2, [[0.3]])
        model = networks.quadratic([[0.5]])
        options = dict(start=[0.0], replicas=200, seed=3, first=first)
        return Replicas(model, np.zeros((1, 1)), np.zeros(1), rule, **options)

    later = crowd(0).run(5)
    times = later.escape(Box(0, 0.4), max_iterations=35, every=5)
    assert times.times.max() == 35 * 0.2 and times.censored
    assert set(np.rint(times.times / 0.2)) <= {5.0 * k for k in range(1, 8)}
    rest = later.theta.numpy()[times.status == 2]
    assert later.iteration == 40 and np.abs(rest).max() < 0.4


def test_whoever_begins_outside_has_not_escaped():
    crowd = Replicas(
        BOWL, PLACES, np.zeros(40), SGD(0.1, 4), start=[[0.1, 0.0], [0.6, 0.2]], seed=3
    )
    with pytest.raises(ValueError, match="must begin inside, got 1 of 2"):
        crowd.escape(Box((0, 0), 0.5), max_iterations=9)
    assert crowd.iteration == 0
    assert crowd.escape(Box((0, 0), 0.8), max_iterations=9).times.shape == (2,)
    with pytest.raises(ValueError, match="make new replicas"):
        crowd.escape(LevelSet(9.0), max_iterations=20)


@dataclass(frozen=True)
class Averaged(Rule):
    """A rule with two named states and the iteration number: steps η/(1 + k), and their mean."""

    learning_rate: float

    def initial_state(self, theta):
        return {"mean": torch.zeros_like(theta), "ones": torch.ones_like(theta)}

    def step(self, gradient, theta, state, draw, iteration):
        theta = theta - self.learning_rate / (1 + iteration) * gradient(theta)
        mean = (iteration * state["mean"] + theta) / (1 + iteration)
        return theta, {"mean": mean, "ones": 2 * state["ones"]}


def test_a_rule_of_ones_own_sees_its_state_and_the_iteration(tmp_path):
    def crowd():
        options = dict(start=[[1.0, 0.3], [-0.2, 0.4]], seed=3)
        return Replicas(BOWL, PLACES, np.zeros(40), Averaged(0.3), **options)

    cut = crowd().run(4)
    cut.save(tmp_path / "state.npz")
    found = crowd().resume(tmp_path / "state.npz").run(3)
    theta, places = np.array([[1.0, 0.3], [-0.2, 0.4]]), []
    for k in range(7):
        theta = theta - 0.3 / (1 + k) * theta @ H
        places.append(theta)
    np.testing.assert_allclose(found.theta, theta, rtol=1e-12)
    np.testing.assert_allclose(found.state["mean"], np.mean(places, axis=0), rtol=1e-12)
    assert float(found.state["ones"].min()) == 2**7

    class Forgetful(Averaged):
        def step(self, gradient, theta, state, draw, iteration):
            return theta, {"mean": state["mean"]}

    with pytest.raises(ValueError, match="must return the state that it was given"):
        Replicas(BOWL, PLACES, np.zeros(40), Forgetful(0.3), start=[1, 2], seed=3).run(1)


class Decayed(networks.Model):
    """A model of one's own: a penalty on every sample's loss."""

    def sample_losses(self, theta, x, y):
        return super().sample_losses(theta, x, y) + 0.35 * (theta**2).sum(-1)[..., None]


def test_what_a_model_adds_to_its_loss_is_trained_and_differentiated():
    plain = networks.logistic(4)
    model = Decayed(**{f.name: getattr(plain, f.name) for f in fields(plain)})
    begin = np.array([0.3, -0.1, 0.2, 0.7])
    one, other = (
        Replicas(m, X, Y, GradientDescent(0.5), start=begin, seed=1).run(1) for m in (plain, model)
    )
    np.testing.assert_allclose(one.theta[0] - other.theta[0], 0.5 * 0.7 * begin, rtol=1e-12)
    apart = curvature.hessian(model, begin, X, Y) - curvature.hessian(plain, begin, X, Y)
    np.testing.assert_allclose(apart, 0.7 * np.eye(4), atol=1e-12)
    slopes = [curvature.sample_gradients(m, begin, X, Y) for m in (model, plain)]
    np.testing.assert_allclose(slopes[0] - slopes[1], np.tile(0.7 * begin, (60, 1)), atol=1e-12)


def test_targets_of_float_and_of_class_train_the_same():
    one = Replicas(NET, X, Y, RULES[0], start=START, replicas=2, seed=5).run(9)
    other = Replicas(NET, X, Y.astype(float), RULES[0], start=START, replicas=2, seed=5).run(9)
    assert torch.equal(one.theta, other.theta)


def test_the_time_out_of_an_interval_is_that_of_the_exact_walk():
    """One parameter, Gaussian kicks: the mean of `discrete`, which shares no code; 1e-5."""
    import sympy as sp

    from ddt_utils import discrete, noise
    from ddt_utils.landscape import Landscape

    u = sp.Symbol("u", real=True)
    bowl = Landscape(u**2, (u,), name="bowl", box=((-2, 2),))
    truth = discrete.mean_first_passage_time(
        bowl, noise.WhiteNoise(0.1), step=0.1, start=0, lower=-0.5, upper=0.5
    )
    model = networks.quadratic([[2.0]])
    crowd = Replicas(
        model, np.zeros((1, 1)), np.zeros(1), sgld(0.1, 0.1, 1), start=[0.0], replicas=6000, seed=8
    )
    times = crowd.escape(Box(0, 0.5), max_iterations=100_000)
    assert abs(times.mean - truth) < 4.42 * times.stderr


def test_criteria_say_what_they_mean_of_networks():
    theta = torch.tensor([[0.0, 0.0], [0.6, 0.0], [0.0, -0.9]], dtype=torch.float64)

    def loss(t):
        return BOWL.loss(t, torch.from_numpy(PLACES), torch.zeros(40))

    assert Box((0, 0), 0.5).outside(theta, loss).tolist() == [False, True, True]
    assert Beyond((0.5, 0), (1, 0)).outside(theta, loss).tolist() == [False, True, False]
    levels = [float(v) for v in loss(theta)]
    assert LevelSet(levels[1]).outside(theta, loss).tolist() == [v >= levels[1] for v in levels]


def test_the_quench_tells_two_valleys_apart():
    """L = ¼(θ² − 1)² as a network without samples of its own: whoever is beyond 0 ends at 1."""

    def loss(theta):
        return ((theta**2 - 1) ** 2 / 4).sum(-1)

    quench = Quench(-1, radius=0.1, learning_rate=0.2)
    theta = torch.tensor([[-1.7], [-0.9], [-1e-3], [1e-3], [0.4], [2.0]], dtype=torch.float64)
    assert quench.outside(theta, loss).tolist() == [False, False, False, True, True, True]
    assert theta[0] == -1.7  # the walkers stay where they are
    with pytest.raises(ValueError, match="no region"):
        quench.condition(None)


def test_what_blows_up_is_counted_apart():
    crowd = Replicas(
        BOWL, PLACES, np.zeros(40), SGD(50.0, 4), start=np.zeros(2), replicas=5, seed=1
    )
    times = crowd.escape(LevelSet(1e20), max_iterations=2000)
    assert times.diverged == 5 and times.escaped == 0


INTERRUPTED = """
import numpy as np
from tests.test_replicas import *
crowd = Replicas(NET, X, Y, SGD(0.1, 8), start=START, replicas=4, seed=5)
print("ready", flush=True)
try:
    crowd.run(10**9)
except KeyboardInterrupt:
    done = crowd.iteration
    again = Replicas(NET, X, Y, SGD(0.1, 8), start=START, replicas=4, seed=5).run(done)
    print(done > 0 and bool((again.theta == crowd.theta).all()))
"""


def test_an_interrupt_leaves_whole_iterations():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert out == "True\n"


def test_history_is_what_the_observer_saw():
    crowd = Replicas(NET, X, Y, SGD(0.1, 8), start=START, replicas=2, seed=5)
    crowd.run(10, every=5, observe=lambda c: (c.iteration, c.loss()))
    assert [seen for seen, _ in crowd.history] == [0, 5, 10]
    assert torch.equal(crowd.history[-1][1], crowd.loss())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SGD(0, 1), "learning_rate must be a finite real number, above 0"),
        (lambda: SGD(0.1, 1.5), "whole number, 1 or more, got 1.5"),
        (lambda: SGD(0.1, 1, momentum=1), "momentum must be .* below 1, got 1"),
        (lambda: SGD(0.1, 1, sampling="all"), "one of .*'epochs'"),
        (lambda: SGD(0.1, 100, sampling="epochs").draws(60, 3), "batch_size must be 60 at most"),
        (lambda: GaussianSGD(0.1, np.ones((2, 2, 2))), "factor must be a matrix"),
        (lambda: sgld(0.1, 0.1, 3).draws(60, 4), "must have 4 rows"),
        (lambda: sgld(0.1, -1, 3), "diffusion must be .* above 0"),
        (lambda: Replicas(NET, X, Y, RULES[0], start=np.zeros(3), seed=1), "start must have shape"),
        (
            lambda: Replicas(NET, X, Y[:5], RULES[0], start=START, seed=1),
            r"y must be an array of shape \(60\)",
        ),
        (
            lambda: Replicas(NET, X, Y, RULES[0], start=START * np.nan, seed=1),
            "start must be finite",
        ),
        (lambda: Replicas(NET, X, Y, RULES[0], start=START * 1j, seed=1), "start must be an array"),
        (lambda: Replicas(NET, X * np.nan, Y, RULES[0], start=START, seed=1), "x must be finite"),
        (lambda: Replicas(NET, X, Y + 1, RULES[0], start=START, seed=1), r"give y − 1 for labels"),
        (
            lambda: Replicas(NET, X, 2 * Y - 1, RULES[0], start=START, seed=1),
            r"give \(y \+ 1\) / 2",
        ),
        (lambda: Replicas(NET, X, Y + 0.5, RULES[0], start=START, seed=1), "y must be classes"),
        (lambda: Replicas(NET, X, Y * np.nan, RULES[0], start=START, seed=1), "y must be finite"),
        (lambda: Replicas(NET, X, Y, RULES[0], start=START, seed=1, first=-1), "first must be"),
        (lambda: Replicas(NET, X, Y, RULES[0], start=START, seed=1, replicas=0), "replicas must"),
        (lambda: Replicas(NET, X, Y, RULES[0], start=START, seed=1, device="tpux"), "device must"),
        (lambda: Replicas(NET, X, Y, RULES[0], start=START, seed=1, dtype=float), "dtype must be"),
        (lambda: Replicas(NET, X, Y, RULES[0], start=START, seed=1).run(2.5), "iterations must be"),
        (lambda: Replicas(NET, X, Y, RULES[0], start=START, seed=1).run(2, every=0), "every must"),
        (
            lambda: Replicas(NET, X, Y, RULES[0], start=START, seed=1).escape(
                LevelSet(9.0), max_iterations=0
            ),
            "max_iterations must be",
        ),
        *(
            (lambda v=v: SGD(v, 1), "learning_rate must be")
            for v in ("0.1", None, np.nan, 1j, True)
        ),
        *((lambda v=v: SGD(0.1, v), "batch_size must be") for v in ("2", None, np.nan, 0, [2])),
        *((lambda v=v: SGD(0.1, 2, momentum=v), "momentum must") for v in ("0.9", -0.1, None)),
        (lambda: GaussianSGD(0.1, 1j * np.eye(2)), "factor must be an array of real"),
        (lambda: GradientDescent(-0.5), "learning_rate must be"),
        (lambda: sgld(0.1, 0.2, 0), "size must be"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- a GPU's ways, on the processor --------------------------------------------------------------


class Played:
    """In place of a captured graph: the same step, played to the end of the stretch."""

    made = 0

    def __init__(self, step, theta, state, draw):
        self.step, Played.made = step, Played.made + 1

    def run(self, theta, state, drawn, places, iteration):
        for k, place in enumerate(places):
            draw = {name: part[:, place] for name, part in drawn.items()}
            now = torch.tensor(float(iteration + k), dtype=torch.float64)
            theta, state = self.step(theta, state, draw.get("", draw), now)
        return theta, state


@pytest.fixture
def gpus_ways(monkeypatch):
    """Graphs, numbers drawn as tensors, and a host that asks once a block."""
    from ddt_utils import _blocks, _fleet

    settle, begin = _fleet.Fleet._settle, _blocks.Blocks.__init__

    def settled(self, dtype):
        settle(self, dtype)
        self._graphs = self._patient = True

    def begun(self, rule, *args, **options):
        begin(self, rule, *args, **options)
        self._here = not rule.on_device

    def switch(on):
        monkeypatch.setattr(_fleet.Fleet, "_settle", settled if on else settle)
        monkeypatch.setattr(_blocks.Blocks, "__init__", begun if on else begin)
        monkeypatch.setattr(_blocks, "Captured", Played)

    return switch


GPU_RULES = [
    *RULES,
    Adam(0.02, 8),
    SAM(0.1, 8, radius=0.1, ascent="independent"),
    SGD(0.1, 8, probabilities=np.arange(60) + 1.0),
    LabelNoise(0.1, 8, strength=0.3, classes=2),
]


@pytest.mark.parametrize("rule", GPU_RULES, ids=[*IDS, "Adam", "SAM", "drawn", "labels"])
def test_what_is_written_for_a_gpu_trains_the_same_replicas(rule, gpus_ways, tmp_path):
    """Numbers, escapes and who is left, to the rounding of sums; looked at within blocks too."""
    found = []
    for on in (False, True):
        gpus_ways(on)
        made = Played.made
        crowd = Replicas(NET, X, Y, rule, start=START, replicas=30, seed=5)
        places = [crowd.run(11).theta, crowd.run(100).theta]
        assert (Played.made > made) == on
        for every in (1, 7):
            watched = Replicas(NET, X, Y, rule, start=START, replicas=30, seed=5)
            width = 0.01 if isinstance(rule, GradientDescent) else 0.12
            times = watched.escape(Box(START, width), max_iterations=150, every=every)
            places += [torch.from_numpy(v) for v in (times.times, times.status, times.states)]
        found.append(places)
    assert 0 < (found[0][-2] == 1).sum()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_a_rule_that_asks_the_host_is_not_captured(gpus_ways, monkeypatch):
    from ddt_utils import _blocks

    plain = Replicas(NET, X, Y, RULES[0], start=START, replicas=3, seed=5).run(100)
    gpus_ways(True)

    def refuse(*args):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(_blocks, "Captured", refuse)
    crowd = Replicas(NET, X, Y, RULES[0], start=START, replicas=3, seed=5).run(100)
    torch.testing.assert_close(crowd.theta, plain.theta, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "change, problem",
    [
        (dict(theta=np.zeros((2, 3))), r"its theta is float64 of shape \(2, 3\)"),
        (dict(theta=np.zeros((3, 3), np.float32)), "its theta is float32"),
        (dict(theta=np.array(["a"])), "its theta is <U1"),
        (dict(iteration=np.array([3, 4])), r"its iteration is int64 of shape \(2,\)"),
        (dict(iteration=2.5), "its iteration is float64"),
        (dict(status=np.zeros(2, np.int8)), r"its status is int8 of shape \(2,\)"),
        (dict(digest=np.array([])), "holds another training"),
    ],
)
def test_a_saved_state_with_other_arrays_is_refused(tmp_path, change, problem):
    def crowd():
        start, rule = np.zeros((3, 3)), SGD(0.1, 2)
        return Replicas(networks.logistic(3), np.eye(3), [0, 1, 1], rule, start=start, seed=1)

    crowd().run(3).save(tmp_path / "state.npz")
    kept = dict(np.load(tmp_path / "state.npz"))
    np.savez(tmp_path / "state.npz", **(kept | change))
    with pytest.raises(ValueError, match=problem):
        crowd().resume(tmp_path / "state.npz")


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(rule=SGD), "rule must be an updates.Rule, such as SGD.*, got <class"),
        (dict(rule=None), "rule must be an updates.Rule, .*, got None"),
        (dict(start=[3e6, 0.0, 0.0]), r"start must be within ±1e\+06, got 3e\+06"),
        (dict(start=[1e300, 0.0, 0.0], dtype=torch.float32), "start must be within"),
        (dict(x=1e300 * np.eye(3), dtype=torch.float32), "x must be within what torch.float32"),
    ],
)
def test_what_no_training_can_begin_with_is_refused(change, message):
    given = dict(x=np.eye(3), rule=SGD(0.1, 2), start=np.zeros(3), seed=1) | change
    x, rule = given.pop("x"), given.pop("rule")
    with pytest.raises(ValueError, match=message):
        Replicas(networks.logistic(3), x, [0, 1, 1], rule, **given)


def test_who_is_outside_must_be_said_and_who_observes_be_called():
    crowd = Replicas(
        networks.logistic(3), np.eye(3), [0, 1, 1], SGD(0.1, 2), start=np.zeros(3), seed=1
    )
    for wrong in (None, lambda theta: theta[:, 0] > 1):
        with pytest.raises(ValueError, match="criterion must say who is outside"):
            crowd.escape(wrong, max_iterations=5)
    with pytest.raises(ValueError, match="observe must be a function of the replicas, got 3"):
        crowd.run(5, observe=3)


class Own:
    """A criterion of one's own, which gives what it is made with."""

    def __init__(self, give):
        self.give = give

    def outside(self, theta, loss):
        return self.give((theta.abs() > 0.15).any(-1))


def logistic(rule=None, **options):
    given = dict(start=np.zeros(3), replicas=4, seed=1) | options
    x = np.eye(3) * [[1.0], [2.0], [-1.5]]
    return Replicas(networks.logistic(3), x, [0, 1, 1], rule or SGD(0.1, 2), **given)


@pytest.mark.parametrize("give", [lambda b: b.numpy(), lambda b: b.tolist(), lambda b: [*b]])
def test_truth_values_of_a_criterion_of_ones_own_may_be_numpys_or_a_list(give):
    found, plain = (logistic().escape(Own(g), max_iterations=90) for g in (give, lambda b: b))
    np.testing.assert_array_equal(found.times, plain.times)
    assert 0 < found.escaped and np.ptp(found.times) > 0


@pytest.mark.parametrize(
    "give",
    [
        lambda b: None,
        lambda b: b.double(),
        lambda b: b.any(),
        lambda b: bool(b.any()),
        lambda b: b[:, None].expand(-1, 3),
        lambda b: b[:2],
        lambda b: ["no"] * len(b),
    ],
    ids=["none", "floats", "0-d", "one", "each parameter", "some", "texts"],
)
def test_a_criterion_gives_one_truth_value_for_each_replica(give):
    with pytest.raises(ValueError, match="outside must return one truth value per replica, 4 of"):
        logistic().escape(Own(give), max_iterations=9)


def test_a_criterion_of_another_size_is_refused_before_training():
    for wrong in (Box(0.0, 0.3), Beyond((0.0,) * 4, (1.0,) * 4), Quench((0.0,), 5, 0.1, 5)):
        crowd = logistic()
        with pytest.raises(ValueError, match="needs 3 numbers for the parameters of these"):
            crowd.escape(wrong, max_iterations=9)
        assert crowd.iteration == 0


SWITCHES = {
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "off": lambda: torch.set_grad_enabled(False),
}


@pytest.mark.parametrize("made", ["within", "before"])
@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES)
def test_who_switches_gradients_off_trains_the_same(switch, made, tmp_path):
    quench = Quench((0.0,) * 3, 0.12, 0.1, 2)
    plain, other = logistic().run(5), logistic()
    plain.save(tmp_path / "state.npz")
    with switch():
        crowd = logistic() if made == "within" else other
        assert torch.equal(crowd.run(5).theta, plain.theta)
        assert torch.equal(crowd.gradient(crowd.theta), plain.gradient(plain.theta))
        place = torch.zeros(4, 3, dtype=torch.float64)
        np.testing.assert_array_equal(crowd.gradient(place), logistic().gradient(place.clone()))
        within = logistic().escape(quench, max_iterations=5).times
        assert quench.outside(place + 0.1, crowd.loss).tolist() == [True] * 4
        assert logistic().resume(tmp_path / "state.npz").run(2).iteration == 7
        assert crowd.rounding(3).max() < 1e-4
    np.testing.assert_array_equal(within, logistic().escape(quench, max_iterations=5).times)
    assert torch.equal(crowd.run(3).theta, plain.run(3).theta) and torch.is_grad_enabled()


@dataclass(frozen=True)
class Given(Rule):
    """A rule of one's own that returns, or begins with, what it is given."""

    give: object
    begin: object = staticmethod(lambda theta: {"last": torch.zeros_like(theta)})
    learning_rate: float = 0.1

    def initial_state(self, theta):
        return self.begin(theta)

    def step(self, gradient, theta, state, draw, iteration):
        return self.give(theta - 0.1 * gradient(theta), state)


@pytest.mark.parametrize(
    "give, message",
    [
        (lambda t, s: t, "must return the new parameters and the new state, got Tensor"),
        (lambda t, s: t[:2], "must return the new parameters and the new state, got Tensor"),
        (lambda t, s: None, "must return the new parameters and the new state, got NoneType"),
        (lambda t, s: (t, None), "return the state that it was given, .'last'., got NoneType"),
        (lambda t, s: (t, {}), r"return the state that it was given, .'last'., got \[\]"),
        (lambda t, s: (t.numpy(), s), "new parameters like .*float64 of shape .4, 3.*ndarray"),
        (lambda t, s: (t.float(), s), "new parameters like .*float64.*, got torch.float32"),
        (lambda t, s: (t[0], s), r"new parameters like .*\(4, 3\).*, got .*shape \(3,\)"),
        (lambda t, s: (None, s), "new parameters like .*, got what is no tensor, NoneType"),
        (lambda t, s: (t, {"last": t[:, 0]}), r"return last like .*, got .*shape \(4,\)"),
        (lambda t, s: (t, {"last": None}), "return last like .*, got what is no tensor"),
    ],
)
def test_a_step_that_returns_something_else_is_refused(give, message):
    crowd = logistic(Given(give))
    with pytest.raises(ValueError, match=message):
        crowd.run(3)
    assert crowd.iteration == 0 and not crowd.theta.any()


@pytest.mark.parametrize("state", [None, [1], {"a": 1.0}, {"a": torch.zeros(2)}], ids=str)
def test_an_initial_state_is_rows_by_name(state):
    with pytest.raises(ValueError, match="initial_state must return tensors with 4 rows by name"):
        logistic(Given(None, lambda theta: state))


@pytest.mark.parametrize("rate", [None, 0.0, "0.1", (0.1, 0.2), np.nan], ids=str)
def test_without_a_learning_rate_no_time_is_counted(rate):
    """It is told before anything is trained; training alone needs none."""
    crowd = logistic(Given(lambda t, s: (t, s), learning_rate=rate))
    with pytest.raises(ValueError, match="learning_rate must be .*; the rule must have one, or"):
        crowd.escape(LevelSet(9.0), max_iterations=5)
    assert crowd.iteration == 0 and crowd.run(2).iteration == 2


@pytest.mark.parametrize(
    "values, told",
    [
        ([np.nan] * 4, "that is NaN .*; see what rule and loss give there, or take a smaller"),
        ([np.nan, 0, np.inf, 0], r"beyond 1e\+06 or NaN .number 0 in iteration 1, 2 in"),
        ([0, 3e6, 0, 0], r"beyond 1e\+06 .number 1 in iteration 1.; .*; take a smaller"),
    ],
)
def test_nan_is_told_from_what_is_large(values, told):
    wrong = torch.tensor(values, dtype=torch.float64)[:, None]
    rule = Given(lambda t, s: (t + wrong[: len(t)] if len(t) == 4 else t + BAD, s))
    BAD = wrong[~(wrong[:, 0].abs() < 1e6)]
    with pytest.warns(UserWarning, match=told) as caught:
        logistic(rule).run(3)
    assert caught[0].filename == __file__


def test_history_begins_anew_with_every_call():
    def observe(crowd):
        if crowd.iteration == 6 and len(seen) < 4:
            seen.append("stopped")
            raise KeyboardInterrupt
        seen.append(crowd.iteration)
        return crowd.iteration

    seen, crowd = [], logistic()
    with pytest.raises(KeyboardInterrupt):
        crowd.run(10, every=2, observe=observe)
    assert crowd.history == [0, 2, 4] and crowd.iteration == 6
    assert crowd.run(4, every=2, observe=observe).history == [6, 8, 10]
    assert "begins anew" in " ".join(Replicas.run.__doc__.split()).replace("every call ", "")
    assert crowd.run(2).history == []


@pytest.mark.parametrize("device", ["meta", "mps", "xla"])
def test_a_device_without_numbers_is_refused(device):
    with pytest.raises(ValueError, match=f"device must be one that torch can use here.*{device}"):
        logistic(device=device)
