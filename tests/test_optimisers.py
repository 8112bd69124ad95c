"""SAM, Adam, AdaL, weight decay, normalised weights: loops by hand, exact chains, closed forms.

Statistical tests have fixed seeds and a false alarm of 1e-5 for each comparison.
"""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from scipy import integrate, linalg, special, stats

from ddt_utils import catalog, chains, simulate
from ddt_utils.landscape import Landscape
from ddt_utils.noise import FactorNoise, MinibatchNoise, StateDependentNoise, WhiteNoise
from ddt_utils.simulate import (
    Problem,
    adal,
    adam,
    label_noise,
    momentum,
    normalised,
    sam,
    sgd,
    weight_decay,
)
from ddt_utils.simulate._gradient import unbatched
from tests.played import DT, played

ALARM = 4.42  # standard errors that chance exceeds once in 1e5
WELL = catalog.quartic()
(x,) = WELL.variables
U, V = sp.symbols("u v", real=True)
STILL = FactorNoise(sp.zeros(2, 1))
SURFACE = Landscape(
    U**4 / 4 - U**2 / 2 + (V - U / 2) ** 2 + U * V**2 / 8,
    (U, V),
    name="surface",
    box=((-3, 3),) * 2,
)


def slope(p):
    u, v = p
    return np.array([u**3 - u - (v - u / 2) + v**2 / 8, 2 * v - u + u * v / 4])


# A loop by hand, with the same draws


def kicked(p, z, step):
    """The gradient of the surface with normal noise of D = diag(0.3 + u², 0.2 + v²/2)."""
    return slope(p) - np.sqrt(2 / step * np.array([0.3 + p[0] ** 2, 0.2 + p[1] ** 2 / 2])) * z


UNEVEN = StateDependentNoise((0.3 + U**2, 0.2 + V**2 / 2))


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("ascent", ["same", "independent", "full"])
def test_sam_with_normal_noise_is_the_loop_by_hand(ascent, unit):
    radius = 0.3 if unit else 0.02
    rule = sam(radius, ascent=ascent, normalised=unit)
    states, drawn = played(rule, SURFACE, UNEVEN, start=(0.5, -0.25), step=0.04, steps=25, seed=1)
    place = np.array([0.5, -0.25])
    for state, z in zip(states[1:], drawn["normals"], strict=True):
        uphill = slope(place)
        if ascent != "full":
            uphill = kicked(place, z[:2] if ascent == "same" else z[2:], 0.04)
        reach = radius / np.linalg.norm(uphill) if unit else radius
        place = place - 0.04 * kicked(place + reach * uphill, z[:2], 0.04)
        assert state == pytest.approx(place, rel=1e-9)
    assert drawn["normals"].shape[1] == (4 if ascent == "independent" else 2)


SAMPLES = tuple(
    SURFACE.expression + a * U + b * V**2 / 2 for a, b in [(1, 0.5), (-2, 0), (1, -0.5)]
)


def of_samples(p, share):
    """The gradient of the samples, each with its share."""
    u, v = p
    return slope(p) + share @ np.array([(1, 0.5 * v), (-2, 0), (1, -0.5 * v)])


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("ascent", ["same", "independent", "full"])
def test_sam_with_real_minibatches_is_the_loop_by_hand(ascent, replacement):
    """Two of three samples; the other minibatch is read off its uniform numbers."""
    noise = MinibatchNoise(SAMPLES, 0.04, 2, replacement)
    rule = sam(0.2, ascent=ascent)
    states, drawn = played(rule, SURFACE, noise, start=(0.5, -0.25), step=0.04, steps=25, seed=2)
    place = np.array([0.5, -0.25])
    for t, state in enumerate(states[1:]):
        share = drawn["counts"][t] / 2
        other = share
        if ascent == "independent" and replacement:
            cells = np.ceil(3 * drawn["uniforms"][t]) - 1
            other = np.bincount(cells.astype(int), minlength=3) / 2
        elif ascent == "independent":
            first, second = drawn["uniforms"][t]
            taken = [3 * first <= 2]
            taken += [2 * second <= 2 - taken[0]]
            other = np.array([*taken, 2 - sum(taken)]) / 2
        uphill = slope(place) if ascent == "full" else of_samples(place, other)
        ahead = place + 0.2 * uphill / np.linalg.norm(uphill)
        place = place - 0.04 * of_samples(ahead, share)
        assert state == pytest.approx(place, rel=1e-9)


@pytest.mark.parametrize(
    ("m", "size", "replacement", "weights"),
    [
        (4, 3, True, None),
        (3, 2, True, (0.2, 0.5, 0.3)),
        (5, 2, False, None),
        (3, 3, False, None),
    ],
)
def test_a_minibatch_drawn_by_uniform_numbers_follows_its_law(m, size, replacement, weights):
    """The multinomial or hypergeometric law of whole count vectors, by chi-square; alarm 1e-5."""
    losses = tuple(x**2 + x * sp.Rational(2 * i - m + 1, m) for i in range(m))
    bowl = Landscape(sp.expand(sum(losses) / m), (x,), name="bowl", box=((-3, 3),))
    step = sgd(bowl, MinibatchNoise(losses, 0.1, size, replacement), DT)
    step = unbatched(replace(step, batch=replace(step.batch, weights=weights)))
    assert step.batch is None
    drawn = 1 - np.random.default_rng(3).random((len(step.uniforms), 60_000))
    values = dict(zip(step.uniforms, drawn, strict=True))
    for name, e in step.where:
        inputs = sorted(e.free_symbols, key=str)
        values[name] = sp.lambdify(inputs, e, "numpy")(*(values[s] for s in inputs))
    counts = [v for name, v in values.items() if name.name.startswith("count")]
    drawn = np.array([np.broadcast_to(v, 60_000) for v in counts])
    assert drawn.shape == (m, 60_000) and np.all(drawn.sum(axis=0) == size) and drawn.min() >= 0
    cells, found = np.unique(drawn, axis=1, return_counts=True)
    law = stats.multinomial(size, weights or [1 / m] * m) if replacement else None
    shares = [law.pmf(c) if replacement else 1 / special.comb(m, size) for c in cells.T]
    assert sum(shares) == pytest.approx(1, abs=1e-9)
    if len(found) > 1:
        assert stats.chisquare(found, np.array(shares) * 60_000).pvalue > 1e-5


@pytest.mark.parametrize("corrected", [True, False])
def test_adam_is_the_loop_by_hand(corrected):
    start = dict() if corrected else dict(second_moment=(0.4, 1.5))
    rule = adam(0.8, 0.95, epsilon=1e-3, bias_correction=corrected, **start)
    states, drawn = played(rule, SURFACE, UNEVEN, start=(0.5, -0.25), step=0.04, steps=30, seed=4)
    place, mean = np.array([0.5, -0.25]), np.zeros(2)
    square = np.zeros(2) if corrected else np.array([0.4, 1.5])
    for t, (state, z) in enumerate(zip(states[1:], drawn["normals"], strict=True), start=1):
        g = kicked(place, z, 0.04)
        mean, square = 0.8 * mean + 0.2 * g, 0.95 * square + 0.05 * g**2
        a, b = (1 - 0.8**t, 1 - 0.95**t) if corrected else (1, 1)
        place = place - 0.04 * (mean / a) / (np.sqrt(square / b) + 1e-3)
        assert state[:2] == pytest.approx(place, rel=1e-9)
        assert state[2:6] == pytest.approx(np.append(mean, square), rel=1e-9)


def test_adam_is_that_of_torch():
    """The package's formula against PyTorch's optimiser, without noise."""
    torch = pytest.importorskip("torch")
    rule = weight_decay(0.3, rule=adam(0.7, 0.9, epsilon=1e-2))
    states, _ = played(rule, SURFACE, STILL, start=(0.5, -0.25), step=0.05, steps=40, seed=5)
    p = torch.tensor([0.5, -0.25], dtype=torch.float64, requires_grad=True)
    options = dict(lr=0.05, betas=(0.7, 0.9), eps=1e-2, weight_decay=0.3)
    optimiser = torch.optim.AdamW([p], **options)
    for state in states[1:]:
        p.grad = torch.tensor(slope(p.detach().numpy()))
        optimiser.step()
        assert state[:2] == pytest.approx(p.detach().numpy(), rel=1e-9)


def adal_loop(step, steps, draws):
    place, mean, square = np.array([0.5, -0.25]), np.zeros(2), np.zeros(2)
    for t in range(1, steps + 1):
        g = kicked(place, draws[t - 1], step) if draws is not None else slope(place)
        h = np.abs(g).sum() * g
        mean, square = 0.8 * mean + 0.2 * h, 0.95 * square + 0.05 * h**2
        fraction = 1 / np.sqrt(square / (1 - 0.95**t)) + 1e-3
        place = place - step / np.sqrt(t) * mean / (1 - 0.8**t) * fraction
        yield place


def test_adal_is_the_loop_by_hand_and_so_is_the_compiled_one():
    rule = adal(0.8, 0.95, epsilon=1e-3)
    options = dict(start=(0.5, -0.25), step=0.04)
    states, drawn = played(rule, SURFACE, UNEVEN, steps=30, seed=6, **options)
    for state, place in zip(states[1:], adal_loop(0.04, 30, drawn["normals"]), strict=True):
        assert state[:2] == pytest.approx(place, rel=1e-9)
    assert states[30][-1] == pytest.approx(0.04 * np.sum(np.arange(1, 31) ** -0.5))  # the time
    ticks = np.array([1, 2, 10, 60])
    found = simulate.ensemble(
        SURFACE, STILL, times=0.04 * ticks, walkers=3, seed=1, rule=rule, **options
    )
    by_hand = list(adal_loop(0.04, 60, None))
    for tick, places in zip(ticks, found, strict=True):
        assert places == pytest.approx(np.tile(by_hand[tick - 1], (3, 1)), abs=2e-6)


def test_normalised_weights_that_decay_are_the_loop_by_hand():
    rule = weight_decay(0.3, rule=normalised())
    states, drawn = played(rule, SURFACE, UNEVEN, start=(0.9, -1.25), step=0.04, steps=30, seed=7)
    place = np.array([0.9, -1.25])
    for state, z in zip(states[1:], drawn["normals"], strict=True):
        length = np.hypot(*place)
        unit = place / length
        g = kicked(unit, z, 0.04)
        across = (np.eye(2) - np.outer(unit, unit)) @ g / length
        place = (1 - 0.04 * 0.3) * place - 0.04 * across
        assert state == pytest.approx(place, rel=1e-9)


def test_decay_goes_by_the_time_of_the_rule_below():
    """AdaL's step is η/√t, and so is that of the decay beside it."""
    options = dict(start=(0.5, -0.25), step=0.04, steps=6, seed=7)
    plain, _ = played(adal(0.8, 0.95), SURFACE, UNEVEN, **options)
    both, _ = played(weight_decay(0.3, rule=adal(0.8, 0.95)), SURFACE, UNEVEN, **options)
    assert both[1][:2] == pytest.approx(plain[1][:2] - 0.04 * 0.3 * plain[0][:2], rel=1e-9)
    own = both[6][-2] - both[5][-2], both[6][-1] - both[5][-1]
    assert own == pytest.approx((1, 0.04 / np.sqrt(6)))
    moved = both[6][:2] - both[5][:2] + 0.3 * 0.04 / np.sqrt(6) * both[5][:2]
    mean, square = both[6][2:4] / (1 - 0.8**6), both[6][4:6] / (1 - 0.95**6)
    assert moved == pytest.approx(-0.04 / np.sqrt(6) * mean / np.sqrt(square), rel=1e-6)


def test_rules_can_be_put_on_top_of_each_other():
    """Momentum on SAM, and Adam on noisy labels: loops by hand."""
    rule = momentum(0.7, sam(0.3))
    states, drawn = played(rule, SURFACE, UNEVEN, start=(0.5, -0.25), step=0.04, steps=12, seed=8)
    place, speed = np.array([0.5, -0.25]), np.zeros(2)
    for state, z in zip(states[1:], drawn["normals"], strict=True):
        uphill = kicked(place, z, 0.04)
        ahead = place + 0.3 * uphill / np.linalg.norm(uphill)
        speed = 0.7 * speed - 0.04 * kicked(ahead, z, 0.04)
        place = place + speed
        assert state[:2] == pytest.approx(place, rel=1e-9)
    labels = label_noise([U * V, U - V], 0.6)
    rule = adam(0.6, 0.9, rule=labels)
    states, drawn = played(rule, SURFACE, STILL, start=(0.5, -0.25), step=0.04, steps=12, seed=9)
    place, mean, square = np.array([0.5, -0.25]), np.zeros(2), np.zeros(2)
    for t, (state, s) in enumerate(zip(states[1:], drawn["normals"], strict=True), start=1):
        u, v = place
        g = slope(place) - 0.6 * (s[-2] * np.array([v, u]) + s[-1] * np.array([1, -1])) / 2
        mean, square = 0.6 * mean + 0.4 * g, 0.9 * square + 0.1 * g**2
        place = place - 0.04 * mean / (1 - 0.6**t) / (np.sqrt(square / (1 - 0.9**t)) + 1e-8)
        assert state[:2] == pytest.approx(place, rel=1e-9)


# Linear theory


def linear(rule, curvature, diffusion):
    """The matrices A and Q of a rule on a parabola: state' = A state + Q (its normals).

    They are those of a place, and of a mean if there is one; a mean square stays what it is.
    """
    bowl = Landscape(curvature * x**2 / 2, (x,), name="bowl", box=((-9, 9),))
    step = rule(bowl, WhiteNoise(diffusion), DT).complete(1)
    still = dict(zip(step.state[2:], step.initial_state[1:], strict=True)) | {DT: 0.1}
    known = {}
    for name, e in step.where:
        known[name] = sp.expand(e.xreplace(known).xreplace(still))
    rows = sp.Matrix([e.xreplace(known).xreplace(still) for e in step.update[:2]])
    return (
        np.array(rows.jacobian(step.state[:2]).tolist(), float),
        np.array(rows.jacobian(step.normals).tolist(), float),
    )


@pytest.mark.parametrize(
    ("ascent", "curvature", "radius"),
    [("same", 2.5, 0.3), ("independent", 2.5, 0.3), ("full", 4, 0.2)],
)
def test_sam_on_a_parabola_has_its_exact_variance(ascent, curvature, radius):
    """x' = (1 − ηa)x − η(…): a = λ(1 + ρλ), and noise with itself, beside itself, or alone."""
    diffusion, eta = 0.35, 0.1
    rule = sam(radius, ascent=ascent, normalised=False)
    (a,), (q,) = linear(rule, curvature, diffusion)
    slope_ = curvature * (1 + radius * curvature)
    noise = 2 * diffusion / eta  # C
    growth = {
        "same": (1 + radius * curvature) ** 2,
        "independent": 1 + (radius * curvature) ** 2,
        "full": 1,
    }[ascent]
    exact = eta * noise * growth / (slope_ * (2 - eta * slope_))
    assert q @ q / (1 - a[0] ** 2) == pytest.approx(exact, rel=1e-9)


def test_adam_with_a_frozen_mean_square_has_the_covariance_of_the_heavy_ball():
    """η/√v for the rate and (1 − β₁) for the share of a gradient; discrete Lyapunov equation."""
    frozen = adam(0.8, 1, epsilon=1e-9, bias_correction=False, second_moment=6.25)
    step, kick = linear(frozen, 3.0, 0.35)
    found = linalg.solve_discrete_lyapunov(step, kick @ kick.T)[0, 0]
    rate = 0.1 * 0.2 / 2.5
    ball = np.array([[1 - rate * 3, 0.8], [-rate * 3, 0.8]])
    push = rate * np.sqrt(2 * 0.35 / 0.1) * np.ones((2, 1))
    exact = linalg.solve_discrete_lyapunov(ball, push @ push.T)[0, 0]
    assert found == pytest.approx(exact, rel=1e-7)


# Exact chains


def test_escape_of_sam_by_its_own_minibatch_is_a_run_of_heads():
    """Parabolas about ±1 with η(1 + ρ) = 1/2: x' = (x + c)/2, where c is one of the two centres.

    SAM without normalisation is SGD there, with the curvature 1 + ρ. From −1, k heads in a row lead
    to within 2^−k of the way, which takes (p^−k − 1)/(1 − p) steps on average, p = 1/2.
    """
    losses, radius, eta = ((x - 1) ** 2 / 2, (x + 1) ** 2 / 2), 0.25, 0.4
    bowl = Landscape(sp.expand(sum(losses) / 2), (x,), name="bowl", box=((-3, 3),))
    run = simulate.first_passage(
        bowl,
        MinibatchNoise(losses, eta, 1),
        start=-1,
        exit=x > 1 - 2 * (2.0**-5 + 4.0**-5 / 2),
        step=eta,
        walkers=40_000,
        seed=11,
        rule=sam(radius, normalised=False),
    )
    assert run.bias_correction.startswith("none")
    assert abs(run.mean / eta - 62) < ALARM * run.stderr / eta


def test_escape_of_sam_by_another_minibatch_or_the_full_gradient_is_the_exact_chain():
    """Given the kick of the climb the step is Gaussian; 40 nodes of Gauss and Hermite."""
    eta, radius, diffusion = 0.1, 0.2, 0.08
    sigma = np.sqrt(2 * diffusion / eta)
    z, weight = np.polynomial.hermite_e.hermegauss(40)
    down = x**3 - x
    climbs = {
        "independent": [*zip(weight / weight.sum(), sigma * z, strict=True)],
        "full": [(1, 0)],
    }
    for ascent, kicks in climbs.items():
        outcomes = [
            chains.Outcome(w, x - eta * down.subs(x, x + radius * (down + k)), eta * sigma)
            for w, k in kicks
        ]
        exact = chains.Chain(outcomes, x, box=(-3, 3)).mean_steps(start=-1, upper=0)
        run = simulate.first_passage(
            WELL,
            WhiteNoise(diffusion),
            start=-1,
            exit=x >= 0,
            step=eta,
            walkers=40_000,
            seed=12,
            rule=sam(radius, ascent=ascent, normalised=False),
        )
        assert abs(run.mean / eta - exact) < ALARM * run.stderr / eta


def test_escape_of_adam_with_a_frozen_mean_square_is_the_exact_chain():
    eta, square, diffusion = 0.1, 2.25, 0.2
    rate = eta / 1.5
    step = chains.Outcome(1, x - rate * (x**3 - x), rate * np.sqrt(2 * diffusion / eta))
    exact = chains.Chain([step], x, box=(-3, 3)).mean_steps(start=-1, upper=0)
    run = simulate.first_passage(
        WELL,
        WhiteNoise(diffusion),
        start=-1,
        exit=x >= 0,
        step=eta,
        walkers=40_000,
        seed=13,
        rule=adam(0, 1, bias_correction=False, second_moment=square),
    )
    assert abs(run.mean / eta - exact) < ALARM * run.stderr / eta


def tracking_chain(eta, beta, sigma, start, square, *, places=40, squares=14, kicks=120, wide=3.5):
    """Mean steps of Adam with β₁ = 0 from (start, square) to x ≥ 0 in the quartic well.

    T(x, v) = 1 + E T(x − η g/√v', v'), v' = βv + (1 − β)g², g = x³ − x + σξ. In (x, log v) T is
    interpolated at Chebyshev nodes; x' falls with ξ, so that the kicks that leave are those below
    one that is known, where the quadrature ends.
    """
    low, far = -2.6, 7.5
    scales = np.log(square) + np.array([-wide, wide])

    def nodes(count, a, b):
        return (a + b) / 2 - (b - a) / 2 * np.cos(np.pi * (np.arange(count) + 0.5) / count)

    def values(count, a, b, at):
        t = np.clip((2 * at - a - b) / (b - a), -1, 1)
        chebyshev = np.polynomial.chebyshev.chebvander
        own = chebyshev((2 * nodes(count, a, b) - a - b) / (b - a), count - 1)
        return np.linalg.solve(own.T, chebyshev(t, count - 1).reshape(-1, count).T).T

    def rows(place, log_v):
        place, v = np.ravel(place), np.exp(np.ravel(log_v))
        # the gradient beyond which no kick leaves: η g/√v' = x
        limit = (place / eta) ** 2
        rest = 1 - (1 - beta) * limit
        edge = np.full(place.size, -np.inf)
        edge[rest > 0] = -np.sqrt((limit * beta * v)[rest > 0] / rest[rest > 0])
        drift = place**3 - place
        first = np.clip((edge - drift) / sigma, -far, far)
        t, w = np.polynomial.legendre.leggauss(kicks)
        xi = first[:, None] + (t + 1) * (far - first[:, None]) / 2
        weight = w * (far - first[:, None]) / 2 * stats.norm.pdf(xi)
        g = drift[:, None] + sigma * xi
        new = beta * v[:, None] + (1 - beta) * g**2
        to = place[:, None] - eta * g / np.sqrt(new)
        a = values(places, low, 0.0, to).reshape(*to.shape, places)
        b = values(squares, *scales, np.log(new)).reshape(*to.shape, squares)
        return np.einsum("pk,pki,pkj->pij", weight, a, b, optimize=True).reshape(place.size, -1)

    grid = np.meshgrid(nodes(places, low, 0.0), nodes(squares, *scales), indexing="ij")
    matrix = rows(*grid)
    times = np.linalg.solve(np.eye(len(matrix)) - matrix, np.ones(len(matrix)))
    return 1 + (rows([start], [np.log(square)]) @ times)[0]


def test_escape_of_adam_that_tracks_is_an_exact_chain_in_two_dimensions():
    """The chain itself is first held against the one-dimensional chain of a frozen mean square."""
    eta, sigma = 0.15, 1.6
    frozen = chains.Outcome(1, x - eta / 1.5 * (x**3 - x), eta / 1.5 * sigma)
    frozen = chains.Chain([frozen], x, box=(-3, 3)).mean_steps(start=-0.6, upper=0)
    assert tracking_chain(eta, 1.0, sigma, -0.6, 2.25, wide=0.2) == pytest.approx(frozen, rel=1e-5)
    exact = tracking_chain(eta, 0.8, sigma, -0.6, 2.25)
    finer = tracking_chain(eta, 0.8, sigma, -0.6, 2.25, places=48, squares=18, kicks=160)
    assert exact == pytest.approx(finer, rel=1e-4)
    run = simulate.first_passage(
        WELL,
        WhiteNoise(eta * sigma**2 / 2),
        start=-0.6,
        exit=x >= 0,
        step=eta,
        walkers=40_000,
        seed=14,
        rule=adam(0, 0.8, epsilon=1e-9, bias_correction=False, second_moment=2.25),
    )
    assert abs(run.mean / eta - exact) < ALARM * run.stderr / eta
    assert abs(frozen / exact - 1) > 0.1


def share(beta, lag, count):
    """E ξ_j² / v of normal ξ and v = Σ_k β^k ξ_k² over ``count`` of them, j = ``lag`` ago.

    1/v = ∫ exp(−sv) ds, and each ξ is integrated by itself.
    """
    powers = beta ** np.arange(count)

    def integrand(s):
        return (1 + 2 * s * powers[lag]) ** -1.0 * np.prod((1 + 2 * s * powers) ** -0.5)

    return integrate.quad(integrand, 0, np.inf, epsabs=0, epsrel=1e-10, limit=400)[0]


def test_the_moves_of_adam_on_a_plain_have_their_exact_variance():
    """The first twelve, corrected for the start at zero: E m²/v = (1−β₁)² Σ β₁^{2k} E ξ_k²/v."""
    beta1, beta2, count = 0.6, 0.9, 100_000
    assert share(0.25, 0, 2) == pytest.approx(1 / (1 + 0.5), rel=1e-9)  # by the angle of (ξ, ξ')
    flat = Landscape(0 * x, (x,), name="flat", box=((-99, 99),))
    states = simulate.ensemble(
        flat,
        WhiteNoise(0.7),
        start=0,
        step=0.5,
        times=0.5 * np.arange(1, 13),
        walkers=count,
        seed=15,
        rule=adam(beta1, beta2),
    )[:, :, 0].astype(float)
    moves = np.diff(states, axis=0, prepend=0) / 0.5
    for t, move in enumerate(moves, start=1):
        kept = (1 - beta1) * beta1 ** np.arange(t) / (1 - beta1**t)
        scale = (1 - beta2**t) / (1 - beta2)
        exact = scale * sum(a**2 * share(beta2, k, t) for k, a in enumerate(kept))
        assert abs(np.mean(move**2) - exact) < ALARM * np.std(move**2) / np.sqrt(count) + 1e-6
        assert abs(move.mean()) < ALARM * np.sqrt(exact / count)


# Normalised weights


def test_normalised_weights_on_a_plain_grow_by_their_kicks_and_balance_with_decay():
    r"""r'² = (1 − ηλ)² r² + (ησξ/r)² exactly: the first step is a χ², the rest an identity.

    At rest (1 − a⁴) E r⁴ = 2a²η²σ² + 3η⁴σ⁴ E r⁻⁴, a = 1 − ηλ; r⁴ is ησ²/2λ where ηλ is small.
    """
    eta, rate, diffusion, count = 0.25, 0.08, 0.9, 100_000
    kick = np.sqrt(2 * diffusion * eta)  # ησ
    flat = Landscape(0 * U, (U, V), name="flat", box=((-9, 9),) * 2)
    states = simulate.ensemble(
        flat,
        WhiteNoise(diffusion),
        start=(1.2, -0.5),
        step=eta,
        times=eta * np.array([1, 800]),
        walkers=count,
        seed=17,
        rule=weight_decay(rate, rule=normalised()),
    ).astype(float)
    a, start = 1 - eta * rate, np.array([1.2, -0.5])
    first, late = (np.sum(s**2, axis=1) for s in states)
    across = (states[0] - a * start) @ [0.5, 1.2] / 1.3
    assert stats.kstest(across * 1.3 / kick, "norm").pvalue > 1e-5
    assert np.allclose(first, a**2 * 1.69 + across**2, rtol=1e-5)
    known = (1 - a**4) * late**2 - 2 * a**2 * kick**2 - 3 * kick**4 / late**2
    assert abs(known.mean()) < ALARM * known.std() / np.sqrt(count)
    balance = 2 * diffusion / (2 * rate)  # σ² η / 2λ with σ² = 2D/η
    assert np.mean(late**2) == pytest.approx(balance, rel=0.1)


# Refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sam(0), "radius must be .*above 0, got 0; use sgd"),
        (lambda: sam(0.1, ascent="other"), "ascent.*one of 'same'.*got 'other'"),
        (lambda: sam(0.1, normalised=1), "normalised must be one of True, False, got 1"),
        (lambda: adam(1), "beta1.*0 or more, below 1, got 1"),
        (lambda: adam(0.9, -0.1), "beta2.*0 or more.*got -0.1"),
        (lambda: adam(epsilon=0), "epsilon.*above 0, got 0.*0/0"),
        (lambda: adam(0.9, 1), "start at zero and move, got beta2 = 1"),
        (lambda: adam(second_moment=2.0), "start at zero.*bias_correction=False"),
        (lambda: adam(bias_correction=False, second_moment=None), "second_moment must be .*None"),
        (lambda: adam(bias_correction=False, second_moment=(1, -1)), "second_moment must be .*-1"),
        (lambda: sam(float("nan")), "radius must be .*nan"),
        (lambda: adam(0.9, 1, bias_correction=False), "frozen mean square must be positive"),
        (lambda: adal(0.9, 1), "beta2, of AdaL, must be below 1"),
        (lambda: weight_decay(-1), "rate must be .*above 0, got -1"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("wrong", [adam, "adam", lambda landscape, noise: None, lambda *a: 1, None])
def test_what_is_no_rule_is_refused(wrong):
    with pytest.raises(ValueError, match="a rule is a function of landscape, noise and dt.*adam()"):
        Problem(WELL, WhiteNoise(0.1), start=-1, exit=x > 0, step=0.1, rule=wrong)
    for rule in (sam(0.1, rule=wrong), weight_decay(0.1, rule=wrong), momentum(0.5, wrong)):
        with pytest.raises(ValueError, match="a rule is a function of landscape"):
            rule(WELL, WhiteNoise(0.1), DT)


def test_rules_that_do_not_fit_together_are_refused():
    options = dict(start=(0.5, 0.5), exit=U > 2, step=0.05)
    white = WhiteNoise(0.1)
    for rule in (sam(0.1, rule=momentum(0.5)), normalised(rule=adam())):
        with pytest.raises(ValueError, match="carries nothing but the place.*put that rule on top"):
            Problem(SURFACE, white, rule=rule, **options)
    wrong = adam(bias_correction=False, second_moment=(1, 2, 3))
    with pytest.raises(ValueError, match="one number or 2, one for each coordinate"):
        Problem(SURFACE, white, rule=wrong, **options)
    with pytest.raises(ValueError, match="at least two variables"):
        Problem(WELL, white, start=-1, exit=x > 0, step=0.1, rule=normalised())
    with pytest.raises(ValueError, match="first step from .* must be a number"):
        Problem(SURFACE, white, rule=normalised(), **options | {"start": (0, 0)})
    losses = tuple(x**2 + x * (2 * i - 63) for i in range(64))
    bowl = Landscape(sp.expand(sum(losses) / 64), (x,), name="bowl", box=((-3, 3),))
    step = sgd(bowl, MinibatchNoise(losses, 0.1, 32, replacement=False), DT)
    with pytest.raises(ValueError, match="independent of the first.*reshuffled epoch"):
        unbatched(replace(step, batch=replace(step.batch, reshuffled=True)))
    noise = MinibatchNoise(losses, 0.1, 65)
    with pytest.raises(ValueError, match="at most 4096/m of m samples, got 65 of 64"):
        sam(0.1, ascent="independent")(bowl, noise, DT)


@pytest.mark.parametrize("rule", [sam(0.2), adam(), adal()])
def test_no_gradient_is_no_move(rule):
    """At a minimum without noise: 0/0 in the formulas, but no step."""
    states, _ = played(
        rule, WELL, FactorNoise(sp.zeros(1, 1)), start=1.0, step=0.1, steps=3, seed=1
    )
    assert np.all(states[:, 0] == 1)
