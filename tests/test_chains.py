"""Exact chains, against closed forms, mpmath, the room `discrete`, and walkers by hand."""

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.special import ndtr

from ddt_utils import catalog, chains, discrete, noise
from ddt_utils._elimination import eliminated
from ddt_utils._landing import cut
from ddt_utils.chains import Chain, Outcome
from ddt_utils.landscape import Landscape

x = sp.Symbol("x", real=True)


def batches(losses, rate, size, box=(-3, 3), replacement=True):
    """The chain of real minibatches of sample losses."""
    mean = Landscape(sum(losses) / len(losses), (x,), name="mean", box=(box,))
    return chains.minibatches(mean, noise.MinibatchNoise(losses, rate, size, replacement))


def labels(a=0.6, shift=0.25, width=0.2, p=0.3):
    """An uneven coin decides in which of two directions the parabola is pulled."""
    up, down = a * x + shift, a * x - shift * p / (1 - p)
    return Chain([Outcome(p, up, width), Outcome(1 - p, down, 1.5 * width)], x, box=(-4, 4))


def test_steps_that_forget_where_they_were_are_a_geometric_law():
    chain = Chain([Outcome(0.3, 0.25, 0.2), Outcome(0.7, -0.5, 0.4)], x, box=(-4, 4))
    hit = 0.3 * ndtr((0.25 - 1.4) / 0.2) + 0.7 * ndtr((-0.5 - 1.4) / 0.4)
    assert chain.mean_steps(start=0.1, upper=1.4) == pytest.approx(1 / hit, rel=1e-9)
    assert chain.decay_rate(upper=1.4) == pytest.approx(hit, rel=1e-9)
    low = 0.3 * ndtr((-1 - 0.25) / 0.2) + 0.7 * ndtr((-1 + 0.5) / 0.4)
    assert chain.mean_steps(start=0.1, lower=-1, upper=1.4) == pytest.approx(1 / (hit + low))


def test_an_outcome_of_an_unknown_function_is_named():
    with pytest.raises(ValueError, match="mean of an outcome may not use floor"):
        Outcome(1, sp.floor(x), 0.2)


def test_one_outcome_is_the_discrete_walker():
    well, white = catalog.quartic(), noise.WhiteNoise(0.07)
    chain = chains.of(well, white, step=0.1)
    exact = discrete.mean_first_passage_time(well, white, step=0.1, start=-1, upper=0.2)
    assert 0.1 * chain.mean_steps(start=-1, upper=0.2) == pytest.approx(exact, rel=1e-7)
    places = np.array([[-1.1, -0.4], [0.3, 0.9]])
    exact = discrete.stationary_density(well, white, places, step=0.1)
    assert np.allclose(chain.resting_density(places), exact, rtol=1e-6)


def test_noise_may_jump():
    well = catalog.piecewise_well(curvature_minimum=1, curvature_saddle=2, barrier=0.03)
    push = noise.HessianNoise(0.1, 6)
    chain = chains.of(well, push, step=0.1, box=(-1.2, 1))
    exact = discrete.mean_first_passage_time(well, push, step=0.1, start=-0.3, upper=0.3)
    assert 0.1 * chain.mean_steps(start=-0.3, upper=0.3) == pytest.approx(exact, rel=1e-7)


def test_forty_exponents_up_no_digit_is_lost():
    """Against mpmath with thirty digits and its own nodes: x ← 0.2 x + 0.22 ξ, beyond 1.9."""
    a, width, end, start = mpmath.mpf(2) / 10, mpmath.mpf(22) / 100, mpmath.mpf(19) / 10, 0
    low, panels, order = mpmath.mpf(-2.55), 3, 32
    with mpmath.workdps(30):
        roots = [(mpmath.mpf(r), mpmath.mpf(w)) for r, w in _legendre(order)]
        half = (end - low) / panels / 2
        nodes = [low + half * (2 * p + 1 + r) for p in range(panels) for r, _ in roots]
        weights = [half * w for _ in range(panels) for _, w in roots]

        def row(place):
            return [
                w * mpmath.npdf(y, a * place, width) for y, w in zip(nodes, weights, strict=True)
            ]

        matrix = mpmath.matrix([row(place) for place in nodes])
        times = mpmath.lu_solve(mpmath.eye(len(nodes)) - matrix, mpmath.ones(len(nodes), 1))
        exact = 1 + sum(p * t for p, t in zip(row(start), times, strict=True))
    chain = Chain([Outcome(1.0, 0.2 * x, 0.22)], x, box=(-2.5, 3))
    found = chain.mean_steps(start=0, upper=1.9)
    assert 33 < np.log(found) < 42
    assert found == pytest.approx(float(exact), rel=1e-8)


def _legendre(order):
    """Nodes and weights with thirty digits, by Newton's method from NumPy's."""
    derivative = lambda r: mpmath.diff(lambda z: mpmath.legendre(order, z), r)  # noqa: E731
    for r in np.polynomial.legendre.leggauss(order)[0]:
        r = mpmath.findroot(lambda z: mpmath.legendre(order, z), mpmath.mpf(r))
        yield r, 2 / ((1 - r**2) * derivative(r) ** 2)


def test_the_resting_density_has_the_cumulants_of_its_kicks():
    """κ_n at rest = κ_n of a kick over 1 − aⁿ, for x ← a x + kick."""
    a, width, p = 0.6, 0.2, 0.3
    grid = np.linspace(-3, 3, 4001)
    density = labels(a=a, width=width, p=p).resting_density(grid)

    def moment(n):
        return np.trapezoid(density * grid**n, grid)

    up, down = 0.25, -0.25 * p / (1 - p)
    second = p * (up**2 + width**2) + (1 - p) * (down**2 + (1.5 * width) ** 2)
    third = p * (up**3 + 3 * up * width**2) + (1 - p) * (down**3 + 3 * down * (1.5 * width) ** 2)
    assert moment(0) == pytest.approx(1, abs=1e-7)
    assert moment(1) == pytest.approx(0, abs=1e-7)
    assert moment(2) == pytest.approx(second / (1 - a**2), rel=1e-6)
    assert moment(3) == pytest.approx(third / (1 - a**3), rel=1e-5)


def test_a_rare_escape_decays_at_the_rate_of_its_mean():
    chain = labels()
    mean = chain.mean_steps(start=0, upper=2)
    assert mean > 1e4
    assert chain.decay_rate(upper=2) * mean == pytest.approx(1, rel=1e-3)
    grid = cut(chain, None, 2.0, 1.5, 0)
    matrix = grid.matrix(grid.nodes)
    largest = np.abs(np.linalg.eigvals(matrix)).max()
    assert chain.decay_rate(upper=2) == pytest.approx(1 - largest, rel=1e-6)


def test_minibatches_are_their_own_walk():
    """Against walkers by hand; and where a step goes to the batch's own minimum, exactly."""
    losses = [(x - 1) ** 2 / 2, (x + 1) ** 2, 3 * (x - sp.Rational(1, 3)) ** 2 / 2]
    chain = batches(losses, 0.2, 2, box=(-3, 3))
    assert len(chain.outcomes) == 6
    rng, many = np.random.default_rng(5), 20_000
    place, steps = np.zeros(many), np.zeros(many)
    inside = np.ones(many, dtype=bool)
    slope, centre = np.array([1.0, 2.0, 3.0]), np.array([1, -1, 1 / 3])
    while inside.any():
        batch = rng.integers(3, size=(2, inside.sum()))
        place[inside] -= 0.1 * (slope[batch] * (place[inside] - centre[batch])).sum(axis=0)
        steps[inside] += 1
        inside[inside] = place[inside] < 0.42
    error = steps.std() / np.sqrt(many)
    assert (
        abs(chain.mean_steps(start=0, upper=0.42, rtol=0.02) - steps.mean())
        < 4.5 * error + 0.01 * steps.mean()
    )

    once = batches([(x - c) ** 2 / 2 for c in (-1, 0, 2, 5)], 1, 2, box=(-3, 8), replacement=False)
    assert once.mean_steps(start=0.1, upper=3, rtol=1e-6) == pytest.approx(6 / 1, rel=1e-6)


def test_elimination_keeps_the_digits_of_a_probability_of_1e_minus_30():
    matrix = np.array([[0.0, 1.0, 0.0], [0.7, 0.0, 0.3], [1.0 - 1e-30, 0.0, 0.0]])
    solved = eliminated(matrix, [0.0, 0.0, 1e-30])
    # from 0: N = 1 + N1, N1 = 1 + 0.7 N + 0.3 N2, N2 = 1 + (1 − 1e-30) N
    assert solved.times(np.ones(3))[0] == pytest.approx(2.3 / 0.3e-30, rel=1e-12)
    still = eliminated(np.array([[0.0, 1.0, 0.0], [0.75, 0.0, 0.25], [1.0, 0, 0]]), np.zeros(3))
    assert np.allclose(still.resting(), np.array([1, 1, 0.25]) / 2.25)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Chain([Outcome(0.5, x, 1)], x, (-1, 1)), "must sum to 1, got 0.5"),
        (lambda: Chain([Outcome(1, sp.Symbol("y"), 1)], x, (-1, 1)), "may use only x, got also"),
        (lambda: Chain([Outcome(1, x / 2, 1)], x, (1, -1)), "low < high"),
        (lambda: Outcome(0, x, 1), "weight must be"),
        (lambda: labels().mean_steps(start=0), "needs an absorbing end"),
        (lambda: labels().mean_steps(start=2, upper=1), "start must lie inside"),
        (lambda: labels().mean_steps(start=0, upper=-5), "start must lie inside"),
        (lambda: labels(width=-0.2).mean_steps(start=0, upper=1), "width not negative"),
        (
            lambda: Chain([Outcome(1, x / 2)], x, (-1, 1)).resting_density([0]),
            "every outcome needs a width",
        ),
        (lambda: batches([x**2] * 40, 1, 5), "at most 3000 batches are listed, got 1086008"),
        (
            lambda: chains.minibatches(catalog.quartic(), noise.WhiteNoise(0.1)),
            "noise must be a MinibatchNoise",
        ),
        (lambda: chains.of(catalog.mueller_brown(), noise.WhiteNoise(1), step=1), "of one dim"),
        (lambda: Chain([Outcome(1, sp.Integer(2), 1)], "x", (-1, 1)), "must be a SymPy symbol"),
    ],
)
def test_what_is_no_chain_is_refused_with_rule_and_value(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_kick_too_small_for_the_box_is_refused():
    tiny = Chain([Outcome(1, x / 2, 1e-5)], x, box=(-1, 1))
    with pytest.raises(ArithmeticError, match="two refinements must agree"):
        tiny.mean_steps(start=0, upper=3e-5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Chain("ab", x, (-4, 3)), "outcomes must be a list of Outcome"),
        (lambda: Chain([Outcome(1, x / 2, 0.3)], x, None), "box must be"),
        (lambda: Chain([Outcome(1, x / 2, 0.3)], x, ((-4, 3),)), r"box must be an array of shape"),
        (lambda: chains.of(catalog.quartic(), 0.1, step=0.2), "noise must be a model"),
        (lambda: chains.of(catalog.quartic(), noise.WhiteNoise(0.1), step=0.2, box=()), "box must"),
    ],
)
def test_what_makes_no_chain_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_one_outcome_an_array_for_a_box_and_no_places_are_taken():
    chain = Chain(Outcome(np.array(1.0), x / 2, np.array(0.3)), x, np.array([-4, 3]))
    assert chain.box == (-4.0, 3.0)
    assert chain.resting_density([]).shape == (0,)


SPIKE = sp.exp(-(((x - 0.3) / 3e-4) ** 2))


@pytest.mark.parametrize(
    ("mean", "width", "truth"),
    [
        (x / 2, 0.2 + SPIKE, 6643.5),
        (x / 2, 0.2 + SPIKE.subs(x, 0.3 + (x - 0.3) / 10), 733.34),
        (x / 2 - 1.5e-5 * sp.diff(SPIKE, x), sp.sqrt(0.04), 67732.967674),
    ],
)
def test_a_feature_between_the_nodes_is_seen(mean, width, truth):
    """By brute force on fine grids, and of the loss with a bump by the room `discrete`."""
    chain = Chain([Outcome(1, mean, width)], x, box=(-2, 2))
    assert chain.mean_steps(start=0.5, lower=-1, upper=1, rtol=1e-5) == pytest.approx(
        truth, rel=1e-4
    )


def test_nothing_is_cut_where_all_is_smooth():
    chain = Chain([Outcome(1, x / 2, 0.2)], x, box=(-2, 2))
    assert cut(chain, -1.0, 1.0, 1.5, 0).nodes.size == 416


def test_weights_may_be_numbers_of_sympy():
    halves = [Outcome(sp.Rational(1, 2), x / 2, 0.3), Outcome(sp.Float(0.5), x / 2, 0.3)]
    found = Chain(halves, x, box=(-4, 4)).resting_density([0])
    assert found == pytest.approx(1.151647, rel=1e-6)


def test_a_foreign_symbol_does_not_hide_in_a_sum():
    y = sp.Symbol("y", real=True)
    with pytest.raises(ValueError, match="may use only x"):
        Chain([Outcome(1, x - y, y)], x, box=(-4, 4))
