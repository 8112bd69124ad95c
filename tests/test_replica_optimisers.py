"""Rules of training, each against a plain loop that trains one network, with torch's optimisers."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ddt_utils import networks, streams
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

RNG = np.random.default_rng(17)
X, Y = RNG.normal(size=(45, 4)), RNG.integers(0, 3, 45)
REAL = RNG.normal(size=45)
NET = networks.fully_connected((4, 5, 3))
LINE = networks.fully_connected((4, 6, 1), loss="squared")
SEED, STEPS, BATCH = 23, 67, 7  # more than a block of iterations
STARTS = {net.name: net.initial(3, seed=4).numpy() for net in (NET, LINE)}
SHARES = RNG.uniform(0.1, 2, 45)


def trained(rule, net=NET, y=Y, steps=STEPS, **options):
    options = dict(start=STARTS[net.name], seed=SEED) | options
    return Replicas(net, X, y, rule, **options).run(steps)


def numbers(replica, draw):
    """What NumPy draws for a replica by blocks of 64 iterations, one row an iteration."""
    blocks = [draw(streams.stream(SEED, "training", replica, b)) for b in (0, 1)]
    return [row for block in blocks for row in zip(*block, strict=True)][:STEPS]


def minibatches(g):
    return (g.integers(0, 45, (64, BATCH)),)


def slope(net, theta, x=X, y=Y, weights=None):
    """The gradient of one network, by torch's own rules."""
    theta = torch.as_tensor(theta).clone().requires_grad_()
    losses = net.sample_losses(theta, torch.as_tensor(x), torch.as_tensor(y))
    loss = losses.mean() if weights is None else (torch.as_tensor(weights) * losses).mean()
    return torch.autograd.grad(loss, theta)[0].numpy()


def by_torch(optimiser, replica, full=False, rule=minibatches):
    """One network and torch's optimiser; its parameters at the end."""
    theta = torch.tensor(STARTS[NET.name][replica], requires_grad=True)
    steps = optimiser([theta])
    for (batch,) in numbers(replica, rule):
        steps.zero_grad()
        batch = slice(None) if full else batch
        NET.loss(theta, torch.as_tensor(X[batch]), torch.as_tensor(Y[batch])).backward()
        steps.step()
    return theta.detach()


TORCH = {
    "decay": (
        SGD(0.3, BATCH, weight_decay=0.07),
        lambda p: torch.optim.SGD(p, lr=0.3, weight_decay=0.07),
    ),
    "decay and momentum": (
        SGD(0.1, BATCH, weight_decay=0.07, momentum=0.7),
        lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.07, momentum=0.7),
    ),
    "descent": (
        GradientDescent(0.2, momentum=0.6, weight_decay=0.03),
        lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.6, weight_decay=0.03),
    ),
    "Adam": (
        Adam(0.02, BATCH, momentum=0.8, memory=0.97, epsilon=1e-3),
        lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.97), eps=1e-3),
    ),
    "AdamW": (
        Adam(0.02, BATCH, momentum=0.8, memory=0.97, epsilon=1e-3, weight_decay=0.3),
        lambda p: torch.optim.AdamW(
            p, lr=0.02, betas=(0.8, 0.97), eps=1e-3, weight_decay=0.3
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule, optimiser", TORCH.values(), ids=TORCH)
def test_a_rule_is_torch_s_own_optimiser(rule, optimiser):
    crowd = trained(rule)
    for replica in (0, 2):
        one = by_torch(optimiser, replica, full=isinstance(rule, GradientDescent))
        torch.testing.assert_close(crowd.theta[replica], one, rtol=1e-9, atol=1e-11)


def test_adam_without_correction_begins_slower_and_ends_the_same():
    rule = Adam(0.02, BATCH, momentum=0.8, memory=0.97, epsilon=1e-3, corrected=False)
    theta = STARTS[NET.name][1].copy()
    mean, square = np.zeros_like(theta), np.zeros_like(theta)
    for (batch,) in numbers(1, minibatches):
        g = slope(NET, theta, X[batch], Y[batch])
        mean, square = 0.8 * mean + 0.2 * g, 0.97 * square + 0.03 * g**2
        theta = theta - 0.02 * mean / (np.sqrt(square) + 1e-3)
    np.testing.assert_allclose(trained(rule).theta[1], theta, rtol=1e-9, atol=1e-11)


def pair(g):
    both = g.integers(0, 45, (64, 2 * BATCH))
    return both[:, :BATCH], both[:, BATCH:]


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("ascent", ["same", "independent", "full"])
def test_sam_climbs_by_the_gradient_that_it_names(ascent, unit):
    rule = SAM(0.1, BATCH, radius=0.3, ascent=ascent, unit=unit, momentum=0.4, weight_decay=0.05)
    crowd = trained(rule)
    theta, velocity = STARTS[NET.name][2].copy(), 0
    draw = pair if ascent == "independent" else lambda g: minibatches(g) * 2
    for own, other in numbers(2, draw):
        up = slice(None) if ascent == "full" else other
        uphill = slope(NET, theta, X[up], Y[up])
        uphill = 0.3 * uphill / (np.linalg.norm(uphill) if unit else 1)
        g = slope(NET, theta + uphill, X[own], Y[own])
        velocity = 0.4 * velocity - 0.1 * (g + 0.05 * theta)
        theta = theta + velocity
    np.testing.assert_allclose(crowd.theta[2], theta, rtol=1e-9, atol=1e-11)


def test_an_ascent_of_nothing_is_plain_sgd():
    one, other = trained(SAM(0.1, BATCH, radius=0)), trained(SGD(0.1, BATCH))
    assert torch.equal(one.theta, other.theta)


def test_sam_at_a_place_without_slope_stays_finite():
    bowl = networks.quadratic(np.diag([1.0, 3.0]))
    rule = SAM(0.1, 2, radius=0.3, ascent="full")
    crowd = Replicas(bowl, np.zeros((2, 2)), np.zeros(2), rule, start=np.zeros(2), seed=1)
    assert crowd.run(3).theta.tolist() == [[0, 0]]


def test_normal_noise_on_real_targets():
    rule = LabelNoise(0.05, BATCH, strength=0.6, momentum=0.3)
    theta, velocity = STARTS[LINE.name][1].copy(), 0

    def draw(g):
        return *minibatches(g), g.standard_normal((64, BATCH))

    for batch, noise in numbers(1, draw):
        g = slope(LINE, theta, X[batch], REAL[batch] + 0.6 * noise)
        velocity = 0.3 * velocity - 0.05 * g
        theta = theta + velocity
    found = trained(rule, LINE, REAL).theta[1]
    np.testing.assert_allclose(found, theta, rtol=1e-9, atol=1e-11)


def test_flipped_classes():
    rule = LabelNoise(0.2, BATCH, strength=0.4, classes=3)
    theta = STARTS[NET.name][1].copy()
    for batch, chance in numbers(1, lambda g: (*minibatches(g), g.random((64, BATCH)))):
        y = np.where(chance < 0.4, np.floor(chance / 0.4 * 3), Y[batch]).astype(int)
        theta = theta - 0.2 * slope(NET, theta, X[batch], y)
    np.testing.assert_allclose(trained(rule).theta[1], theta, rtol=1e-9, atol=1e-11)


def test_a_blurred_class_is_each_of_the_others_as_often():
    """Of 40 000 labels of class 1: 2/3 · 0.6 changed, evenly; false alarm 1e-5."""
    seen = []

    def gradient(theta, indices, targets):
        seen.append(targets(torch.ones(indices.shape, dtype=torch.int64)))
        return torch.zeros_like(theta)

    rule = LabelNoise(0.1, 100, strength=0.6, classes=3)
    draw, _ = rule.draws(45, 1)
    drawn = draw(streams.stream(1, "training"))
    for k in range(4):
        one = {name: torch.from_numpy(part[16 * k : 16 * k + 16]) for name, part in drawn.items()}
        rule.step(gradient, torch.zeros(16, 1), {}, one, k)
    counts = np.bincount(torch.cat(seen).flatten().numpy(), minlength=3) / 6400
    error = 4.42 * np.sqrt(0.2 * 0.8 / 6400)
    np.testing.assert_allclose(counts, [0.2, 0.6, 0.2], atol=error * 1.3)


def weighted_loop(weights, chances, replica):
    p = chances / chances.sum()
    factor = weights / weights.sum() / p
    theta = STARTS[NET.name][replica].copy()

    def draw(g):
        return (np.searchsorted(np.cumsum(p)[:-1], g.random((64, BATCH)), side="right"),)

    even = np.ptp(chances) == 0
    for (batch,) in numbers(replica, minibatches if even else draw):
        theta = theta - 0.2 * slope(NET, theta, X[batch], Y[batch], factor[batch])
    return theta


ONES = np.ones(45)
WEIGHTED = {
    "weights": (dict(weights=3 * SHARES), SHARES, ONES),
    "resampled": (dict(weights=SHARES, probabilities=7 * SHARES), SHARES, SHARES),
    "importance": (dict(probabilities=SHARES), ONES, SHARES),
    "both": (dict(weights=SHARES[::-1], probabilities=SHARES), SHARES[::-1], SHARES),
}


@pytest.mark.parametrize("options, weights, chances", WEIGHTED.values(), ids=WEIGHTED)
def test_weights_and_probabilities(options, weights, chances):
    found = trained(SGD(0.2, BATCH, **options)).theta[1]
    np.testing.assert_allclose(found, weighted_loop(weights, chances, 1), rtol=1e-9, atol=1e-11)


def test_samples_come_as_often_as_they_should_and_gradients_are_right_on_average():
    """χ² over 45 samples, 19 200 draws; the mean gradient of the weighted loss; false alarm 1e-5.

    A sample of weight and probability zero is never drawn.
    """
    chances, weights = SHARES.copy(), SHARES[::-1].copy()
    chances[5] = weights[5] = 0
    rule = SGD(0.1, 300, weights=weights, probabilities=chances)
    drawn = rule.draws(45, 1)[0](streams.stream(3, "training"))
    counts = np.bincount(drawn["indices"].ravel(), minlength=45)
    expected = 19_200 * chances / chances.sum()
    assert counts[5] == 0
    rest = np.arange(45) != 5
    assert np.sum((counts - expected)[rest] ** 2 / expected[rest]) < 99  # χ²(43), once in 1e5
    values = drawn["weights"] * REAL[drawn["indices"]]
    error = values.std() / np.sqrt(values.size)
    assert abs(values.mean() - np.sum(weights * REAL) / weights.sum()) < 4.42 * error


RATES = (0.05, 0.3, 0.11)


@pytest.mark.parametrize(
    "make",
    [
        lambda rate: SGD(rate, BATCH, momentum=0.6),
        lambda rate: Adam(rate, BATCH, weight_decay=0.2),
        lambda rate: SAM(rate, BATCH, radius=0.1, ascent="full"),
        lambda rate: GaussianSGD(rate, np.linspace(0.1, 0.4, NET.size)),
    ],
    ids="SGD Adam SAM Gaussian".split(),
)
def test_every_replica_may_have_a_learning_rate_of_its_own(make, tmp_path):
    crowd = trained(make(RATES))
    for i, rate in enumerate(RATES):
        alone = trained(make(rate), start=STARTS[NET.name][i], first=i)
        torch.testing.assert_close(crowd.theta[i], alone.theta[0], rtol=1e-9, atol=1e-12)
    begun = trained(make(RATES), steps=30)
    begun.save(tmp_path / "state.npz")
    again = trained(make(RATES), steps=0).resume(tmp_path / "state.npz").run(STEPS - 30)
    assert torch.equal(again.theta, crowd.theta)
    with pytest.raises(ValueError, match="one number or one per replica, 3, got 2"):
        trained(make(RATES[:2]))


def test_times_count_each_replica_s_own_learning_rate():
    """Straight down a slope of one: t = η × iterations, rounded up, whatever η is."""
    from ddt_utils.criterion import Box

    model = networks.Model(
        name="slope",
        shapes=(("place", (1,)),),
        forward=lambda blocks, x: blocks["place"][..., None, :] + 0 * x,
        output_loss=lambda out, y: -out[..., 0],
        scales=(1.0,),
    )
    rule = GradientDescent((0.1, 0.25, 0.07))
    crowd = Replicas(model, np.zeros((2, 1)), np.zeros(2), rule, start=np.zeros((3, 1)), seed=1)
    found = crowd.escape(Box(0, 0.85), max_iterations=30)
    np.testing.assert_allclose(found.times, [0.9, 1.0, 0.91], rtol=1e-12)
    assert found.escaped == 3 and found.step == 0.25


def test_the_length_of_weights_rests_where_decay_and_steps_of_length_eta_balance():
    """Scale-invariant loss, normalised descent: |θ|² → η/(λ(2 − ηλ)).

    The gradient is orthogonal to θ, so |θ'|² = (1 − ηλ)²|θ|² + η², exactly.
    """

    class Free(networks.Model):
        def outputs(self, theta, x):
            return super().outputs(theta / theta.norm(dim=-1, keepdim=True), x)

    free = Free(**{name: getattr(NET, name) for name in NET.__dataclass_fields__})
    eta, decay = 0.07, 0.9
    rule = SGD(eta, BATCH, weight_decay=decay, normalised=True)
    crowd = Replicas(free, X, Y, rule, start=STARTS[NET.name], seed=SEED)
    lengths = [float(crowd.run(1).theta[1].norm() ** 2) for _ in range(3)]
    before = np.sum(STARTS[NET.name][1] ** 2)
    for length in lengths:
        expected = (1 - eta * decay) ** 2 * before + eta**2
        assert length == pytest.approx(expected, rel=1e-9)
        before = length
    rest = eta / (decay * (2 - eta * decay))
    found = crowd.run(300).theta.norm(dim=-1) ** 2
    np.testing.assert_allclose(found, rest, rtol=1e-9)


def test_a_factor_is_a_matrix_its_diagonal_or_a_number():
    each = [0.3, np.full(NET.size, 0.3), 0.3 * np.eye(NET.size)]
    ends = [trained(GaussianSGD(0.1, factor)).theta for factor in each]
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-13, atol=1e-14)
    white = sgld(0.1, 0.1 * 0.3**2 / 2)
    torch.testing.assert_close(trained(white).theta, ends[0], rtol=1e-12, atol=1e-13)
    uneven = np.linspace(0.1, 0.7, NET.size)
    one, other = (trained(GaussianSGD(0.1, f)).theta for f in (uneven, np.diag(uneven)))
    torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-14)


OTHERS = [
    SGD(0.1, BATCH, weights=SHARES, probabilities=SHARES[::-1]),
    SAM(0.1, BATCH, radius=0.1, ascent="independent", momentum=0.5),
    SAM(0.1, BATCH, radius=0.1, sampling="epochs"),
    SAM(0.1, BATCH, radius=0.1, ascent="independent", sampling="distinct"),
    LabelNoise(0.1, BATCH, strength=0.4, classes=3, sampling="epochs"),
    Adam(0.02, BATCH),
    GradientDescent(0.1, momentum=0.9, normalised=True),
]


@pytest.mark.parametrize("rule", OTHERS, ids=lambda rule: type(rule).__name__)
def test_a_training_is_resumed_in_the_middle(rule, tmp_path):
    whole = trained(rule)
    trained(rule, steps=33).save(tmp_path / "state.npz")
    again = trained(rule, steps=0).resume(tmp_path / "state.npz").run(STEPS - 33)
    assert torch.equal(again.theta, whole.theta) and again.state.keys() == whole.state.keys()
    alone = trained(rule, start=STARTS[NET.name][2], first=2)
    torch.testing.assert_close(alone.theta[0], whole.theta[2], rtol=1e-9, atol=1e-12)


# --- who is lost ---------------------------------------------------------------------------------


def test_a_replica_that_diverges_is_named_with_its_iteration_and_leaves_the_rest_alone():
    """Quadratic, |1 − ηh| = 3: |θ| = 3^k passes 1e6 in iteration 13, from 1/9 in 15."""
    bowl = networks.quadratic([[2.0]])
    rule = GradientDescent((0.1, 2.0, 0.3, 2.0))
    options = dict(start=[[0.5], [1.0], [0.2], [1 / 9]], seed=1)
    crowd = Replicas(bowl, np.zeros((2, 1)), np.zeros(2), rule, **options)
    with pytest.warns(UserWarning, match="2 of 4 replicas diverged") as said:
        crowd.run(200)
    assert crowd.diverged == {1: 13, 3: 15} and crowd.iteration == 200
    assert "(number 1 in iteration 13, 3 in iteration 15)" in str(said[0].message)
    np.testing.assert_allclose(crowd.theta[[1, 3], 0].abs(), [3.0**13, 3.0**13], rtol=1e-12)
    np.testing.assert_allclose(crowd.theta[0, 0], 0.5 * 0.8**200, rtol=1e-10)
    np.testing.assert_allclose(crowd.theta[2, 0], 0.2 * 0.4**200, rtol=1e-10)
    with warnings.catch_warnings():  # it is said once
        warnings.simplefilter("error")
        crowd.run(70)
    assert crowd.diverged == {1: 13, 3: 15}


def test_time_goes_on_when_all_have_diverged():
    """Also over the end of a block, with minibatches to draw for nobody."""
    bowl = networks.quadratic([[2.0]])
    crowd = Replicas(
        bowl, np.zeros((3, 1)), np.zeros(3), SGD((2.0, 2.5), 2), start=[[1.0], [1.0]], seed=1
    )
    with pytest.warns(UserWarning, match="2 of 2 replicas diverged"):
        crowd.run(200)
    assert crowd.diverged == {0: 13, 1: 10} and crowd.iteration == 200
    np.testing.assert_allclose(crowd.theta[:, 0].abs(), [3.0**13, 4.0**10], rtol=1e-12)


@dataclass(frozen=True)
class Broken(Rule):
    """Makes a nan of the second replica in iteration 70, and a momentum of it."""

    learning_rate: float = 0.1

    def initial_state(self, theta):
        return {"last": torch.zeros_like(theta), "mark": torch.arange(len(theta))[:, None]}

    def step(self, gradient, theta, state, draw, iteration):
        bad = (state["mark"] == 1) & (iteration == 69)
        slope = gradient(theta)
        return theta - self.learning_rate * torch.where(bad, torch.nan, slope), state | dict(
            last=slope
        )


def test_a_nan_is_found_in_its_iteration_and_its_state_kept(tmp_path):
    crowd = Replicas(NET, X, Y, Broken(), start=STARTS[NET.name], seed=1)
    with pytest.warns(UserWarning, match="number 1 in iteration 70"):
        crowd.run(100)
    assert crowd.diverged == {1: 70} and bool(crowd.theta[1].isnan().all())
    plain = Replicas(NET, X, Y, GradientDescent(0.1), start=STARTS[NET.name], seed=1).run(100)
    torch.testing.assert_close(crowd.theta[[0, 2]], plain.theta[[0, 2]], rtol=1e-11, atol=1e-13)
    crowd.save(tmp_path / "state.npz")
    fresh = Replicas(NET, X, Y, Broken(), start=STARTS[NET.name], seed=1)
    fresh.resume(tmp_path / "state.npz")
    assert fresh.diverged == {1: 70}
    again = fresh.run(10).theta
    assert bool(again[[0, 2]].isfinite().all()) and fresh.diverged == {1: 70}


def test_every_without_observe_is_refused():
    with pytest.raises(ValueError, match="every must go with observe, got every=5 alone"):
        trained(SGD(0.1, BATCH)).run(10, every=5)


def test_rounding_says_what_single_precision_would_do():
    crowd = trained(SGD(0.1, BATCH), dtype=torch.float32)
    place = crowd.theta.clone()
    found = crowd.rounding(70)
    assert found.shape == (3,) and 1e-9 < found.min() <= found.max() < 1e-4
    assert torch.equal(crowd.theta, place) and crowd.iteration == STEPS
    assert crowd.x.dtype == torch.float32
    double = trained(SGD(0.1, BATCH))
    begin = double.theta.clone()
    apart = double.rounding(70)
    single = trained(SGD(0.1, BATCH), steps=0, dtype=torch.float32)
    single.theta, single.iteration = begin.float(), STEPS
    moved = (double.run(70).theta - begin).norm(dim=-1)
    truth = (single.run(70).theta.double() - double.theta).norm(dim=-1) / moved
    np.testing.assert_allclose(apart, truth, rtol=1e-9)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SAM(0.1, 2, radius=-1), "radius must be .*0 or more"),
        (lambda: SAM(0.1, 2, radius=0.1, ascent="half"), "ascent must be one of 'same'"),
        (lambda: SAM(0.1, 2, radius=0.1, unit=1), "unit must be one of True"),
        (lambda: SAM(0.1, 2, radius=0.1, ascent="full", weights=ONES), "weights must be left out"),
        (
            lambda: SAM(0.1, 2, radius=0.1, ascent="independent", sampling="epochs"),
            "an epoch has no second minibatch",
        ),
        (lambda: Adam(0.1, 2, memory=1), "memory must be .* below 1"),
        (lambda: Adam(0.1, 2, epsilon=0), "epsilon must be .* above 0"),
        (lambda: Adam(0.1, 2, momentum=1.0), "momentum must be .* below 1"),
        (lambda: LabelNoise(0.1, 2, strength=1.5, classes=3), "strength must be .* 1 at most"),
        (lambda: LabelNoise(0.1, 2, strength=-0.5), "strength must be .*0 or more"),
        (lambda: trained(LabelNoise(0.1, 2, strength=0.5)), "classes must be 3, as the targets"),
        (lambda: trained(LabelNoise(0.1, 2, strength=0.5, classes=2)), "classes must be 3"),
        (
            lambda: trained(LabelNoise(0.1, 2, strength=0.5, classes=2), LINE, REAL),
            "classes must be 0",
        ),
        (lambda: SGD(0.1, 2, weight_decay=-1), "weight_decay must be"),
        (lambda: SGD(0.1, 2, normalised=1), "normalised must be one of True"),
        (lambda: SGD(0.1, 2, weights=[-1, 2]), "from 0, one of them positive, .* got -1 to 2"),
        (lambda: SGD(0.1, 2, weights=[1e308, 1e308]), "of finite sum, got 1e.308 to 1e.308"),
        (lambda: SGD([], 2), "learning_rate must be one number or one per replica, got none"),
        (lambda: SGD(0.1, 2, weights=[]), "weights must be numbers from 0"),
        (lambda: SGD(0.1, 2, probabilities=[0, 0]), "probabilities must be numbers from 0"),
        (lambda: SGD(0.1, 2, probabilities=[1, np.nan]), "probabilities must be finite"),
        (
            lambda: SGD(0.1, 2, probabilities=ONES, sampling="epochs"),
            "must go with sampling='replacement'",
        ),
        (lambda: trained(SGD(0.1, 2, weights=[1, 2])), "weights must be one per sample, 45, got 2"),
        (
            lambda: trained(SGD(0.1, 2, probabilities=[0, *ONES[1:]])),
            "above 0 where a sample counts, got 0 for sample 0",
        ),
        (lambda: SGD((0.1, -0.2), 2), "learning_rate must be .* above 0"),
        (lambda: SGD([[0.1]], 2), "learning_rate must be an array of shape"),
        (lambda: GaussianSGD(0.1, []), "factor must be a matrix, its diagonal or one number"),
        (lambda: GaussianSGD(0.1, np.inf), "factor must be finite"),
        (lambda: trained(GaussianSGD(0.1, np.ones(4))), "factor must have 43 rows"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
