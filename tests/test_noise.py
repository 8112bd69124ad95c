"""Noise models: D as an expression agrees with D as numbers, and bad noise is refused."""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pytest
import sympy as sp
import torch

from ddt_utils import catalog, exact, simulate
from ddt_utils.landscape import Landscape
from ddt_utils.noise import (
    FactorNoise,
    HessianNoise,
    MinibatchNoise,
    Noise,
    StateDependentNoise,
    WhiteNoise,
    convention_exponent,
)

x, y = sp.symbols("x y", real=True)
bowl = Landscape(x**2 + 3 * y**2, (x, y), name="bowl", box=((-2, 2), (-2, 2)))


def test_white_noise_is_a_multiple_of_the_identity():
    matrices = WhiteNoise(0.25).diffusion(bowl, np.zeros((3, 1)), np.ones(4))
    assert matrices.shape == (3, 4, 2, 2)
    assert np.array_equal(matrices, np.broadcast_to(0.25 * np.eye(2), (3, 4, 2, 2)))


def test_one_expression_multiplies_the_identity_and_a_tuple_is_the_diagonal():
    point = (0.5, -1.0)
    one = StateDependentNoise(1 + x**2).diffusion(bowl, *point)
    two = StateDependentNoise((1 + x**2, sp.Float(2) + y**2)).diffusion(bowl, *point)
    assert np.allclose(one, 1.25 * np.eye(2), rtol=1e-15)
    assert np.allclose(two, np.diag([1.25, 3.0]), rtol=1e-15)


def test_hessian_noise_is_eta_over_two_b_times_the_curvature_and_its_floor():
    well = catalog.quartic()
    places = np.array([-1.0, 0.0, 3**-0.5, 1.5])
    curvature = np.abs(3 * places**2 - 1)
    bare = HessianNoise(learning_rate=0.1, batch_size=5).diffusion(well, places)
    floored = HessianNoise(learning_rate=0.1, batch_size=5, floor=0.5).diffusion(well, places)
    assert np.allclose(bare[..., 0, 0], 0.01 * curvature, atol=1e-16)
    assert np.allclose(floored[..., 0, 0], 0.01 * np.maximum(curvature, 0.5), atol=1e-16)


def test_hessian_noise_keeps_the_pieces_of_a_piecewise_well():
    well = catalog.piecewise_well(curvature_minimum=4, curvature_saddle=1, barrier=1)
    values = HessianNoise(learning_rate=1, batch_size=1).diffusion(well, np.linspace(-2, 0, 101))
    assert np.allclose(np.unique(values), [0.5, 2.0], rtol=1e-15)


@pytest.mark.parametrize("value", [0, -0.1, float("nan"), float("inf")])
def test_a_diffusion_that_is_not_positive_is_refused(value):
    with pytest.raises(ValueError, match=f"must be a finite real number, above 0, got {value}"):
        WhiteNoise(value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (sp.Symbol("k", real=True), "got also"),
        (sp.Matrix([[1, 2], [2, 1]]), "positive definite"),
        (sp.Matrix([[1, 0.5], [0.2, 1]]), "symmetric"),
        (sp.Matrix([[1, x], [2 * x, 1]]), "must be symmetric"),
        ((x**2,), "shape"),
        (sp.eye(3), "shape"),
    ],
)
def test_a_wrong_state_dependent_noise_is_refused(expression, message):
    with pytest.raises(ValueError, match=message):
        StateDependentNoise(expression).diffusion_matrix(bowl)


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_hessian_noise_in_the_plane_is_the_absolute_spectrum(floor):
    """Against the eigenvectors of NumPy, at minima, at the saddle and between."""
    well = catalog.rotated_double_well()
    push = HessianNoise(0.2, 1, floor=floor)
    for point in ((0.3, 0.1), (-0.5, 0.7), (0.0, 0.0), (1.0, -1.0), (-0.87, -0.5)):
        values, vectors = np.linalg.eigh(well.hessian(*point))
        spectrum = (vectors * np.maximum(np.abs(values), floor)) @ vectors.T
        np.testing.assert_allclose(push.diffusion(well, *point), 0.1 * spectrum, atol=1e-12)


def test_hessian_noise_in_the_plane_where_both_curvatures_are_the_same():
    x, y = sp.symbols("x y", real=True)
    monkey = Landscape(x**2 + y**2 + x**2 * y, (x, y), name="bent", box=((-1, 1), (-1, 1)))
    found = HessianNoise(0.2, 1).diffusion(monkey, 0.0, 0.0)
    np.testing.assert_allclose(found, 0.2 * np.eye(2), atol=1e-12)


def test_hessian_noise_refuses_a_full_hessian_in_three_dimensions_and_bad_numbers():
    x, y, z = sp.symbols("x y z", real=True)
    bent = Landscape(x**2 + y**2 + z**2 + x * y * z, (x, y, z), name="bent", box=((-1, 1),) * 3)
    with pytest.raises(ValueError, match="taken in two dimensions, that of bent has 3"):
        HessianNoise(0.1, 1).diffusion_matrix(bent)
    with pytest.raises(ValueError, match="batch_size must be a finite real number, above 0, got 0"):
        HessianNoise(0.1, 0)
    with pytest.raises(ValueError, match="floor must be a finite real number, 0 or more, got -1"):
        HessianNoise(0.1, 1, floor=-1)


def test_a_full_matrix_that_depends_on_the_place_is_allowed_and_recognised_as_symmetric():
    square = sp.Matrix([[1 + x**2, (x + y) ** 2 - x**2], [y**2 + 2 * x * y, 2 + y**2]])
    found = StateDependentNoise(square).diffusion(bowl, 0.5, -1.0)
    assert np.allclose(found, [[1.25, 0.0], [0.0, 3.0]], atol=1e-15)


def in_numbers(intermediate, factor, place):
    """A factor of D at a place, its named parts worked out in order."""
    values = dict(place)
    for symbol, expression in intermediate:
        values[symbol] = sp.sympify(expression).xreplace(values).evalf()
    return np.array(factor.xreplace(values).evalf().tolist(), dtype=float)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_factor_times_its_transpose_is_the_matrix(n):
    """Against numpy.linalg.cholesky of D in numbers, for a D that is full and one that is not."""
    names = sp.symbols(f"q:{n}", real=True)
    land = Landscape(sum(q**2 for q in names), names, name="bowl", box=((-2, 2),) * n)
    mix = sp.Matrix(n, n, lambda i, j: names[(i + j) % n] * (i + 1) + j)
    full = StateDependentNoise((mix * mix.T + sp.eye(n)).applyfunc(sp.expand))
    constant = StateDependentNoise(sp.Matrix(n, n, lambda i, j: 2 if i == j else 0.5))
    diagonal = StateDependentNoise(tuple(1 + q**2 for q in names))
    point = np.linspace(-0.75, 1.25, n)
    place = dict(zip(names, map(sp.Float, point), strict=True))
    for noise in (full, constant, diagonal):
        exact = np.linalg.cholesky(noise.diffusion(land, *point))
        assert np.allclose(in_numbers(*noise.factor(land), place), exact, rtol=1e-12, atol=1e-12)


def test_a_full_matrix_in_five_dimensions_is_refused_and_its_factor_is_taken():
    names = sp.symbols("q:5", real=True)
    land = Landscape(sum(q**2 for q in names), names, name="bowl", box=((-2, 2),) * 5)
    column = sp.Matrix(names)
    full = StateDependentNoise(column * column.T + sp.eye(5))
    assert full.diffusion(land, *np.ones(5)).shape == (5, 5)
    with pytest.raises(ValueError, match="up to 4 dimensions, bowl has 5; .*FactorNoise"):
        full.factor(land)
    wide = FactorNoise(column.row_join(sp.eye(5)))
    assert wide.factor(land)[1].shape == (5, 6)
    point = np.linspace(-1, 1, 5)
    assert np.allclose(wide.diffusion(land, *point), full.diffusion(land, *point), atol=1e-15)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (sp.Matrix([[1, x, y]]), r"2 rows for bowl, got shape \(1, 3\)"),
        (sp.Matrix([1, sp.Symbol("k", real=True)]), "got also"),
    ],
)
def test_a_wrong_factor_is_refused(factor, message):
    for method in ("factor", "diffusion_matrix"):
        with pytest.raises(ValueError, match=message):
            getattr(FactorNoise(factor), method)(bowl)


SLOPES = [  # losses and their gradients, typed twice on purpose
    (x**4 / 4 + y, lambda a, b: (a**3, 1)),
    (sp.sin(x) * y, lambda a, b: (np.cos(a) * b, np.sin(a))),
    ((x - 2 * y) ** 2, lambda a, b: (2 * (a - 2 * b), -4 * (a - 2 * b))),
    (sp.exp(x) - y**3, lambda a, b: (np.exp(a), -3 * b**2)),
    (x**2 * y**2, lambda a, b: (2 * a * b**2, 2 * a**2 * b)),
]


@pytest.mark.parametrize(
    ("replacement", "batch_size"),
    [(True, 1), (True, 2), (True, 5), (True, 6), (False, 1), (False, 2), (False, 3), (False, 5)],
)
@pytest.mark.parametrize("dimension", [1, 2])
def test_minibatch_noise_is_the_covariance_over_all_minibatches(dimension, replacement, batch_size):
    """D = (η/2) Cov, with every minibatch of five losses enumerated in NumPy."""
    one = dimension == 1
    losses = tuple(loss.subs(y, 1) if one else loss for loss, _ in SLOPES)
    names = (x,) if one else (x, y)
    land = Landscape(sum(losses) / 5, names, name="mean", box=((-2, 2),) * dimension)
    noise = MinibatchNoise(losses, 0.3, batch_size, replacement)
    draws = product(range(5), repeat=batch_size)
    batches = list(draws if replacement else combinations(range(5), batch_size))
    for a, b in [(0.5, -1.0), (-1.5, 0.75)]:
        place = (a,) if one else (a, b)
        slopes = np.array([slope(a, 1.0 if one else b) for _, slope in SLOPES])[:, :dimension]
        means = slopes[np.array(batches)].mean(axis=1)
        exact = 0.3 / 2 * np.cov(means.T, bias=True).reshape(dimension, dimension)
        assert np.allclose(noise.diffusion(land, *place), exact, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(losses=(x**2,)), "at least two sample losses"),
        (dict(learning_rate=0), "learning_rate must be a finite real number, above 0, got 0"),
        (dict(batch_size=0), "a whole number, 1 or more, 2 at most, got 0"),
        (dict(batch_size=1.5), "a whole number, 1 or more, 2 at most, got 1.5"),
        (dict(batch_size=3), "a whole number, 1 or more, 2 at most, got 3"),
        (dict(batch_size=0, replacement=True), "a whole number, 1 or more, got 0"),
    ],
)
def test_a_minibatch_that_cannot_be_drawn_is_refused(options, message):
    given = dict(losses=(x, -x), learning_rate=0.1, batch_size=1, replacement=False) | options
    with pytest.raises(ValueError, match=message):
        MinibatchNoise(**given)


def test_minibatch_noise_refuses_another_landscape():
    noise = MinibatchNoise((x**2 + y, x**2 - y), 0.1, 1)
    with pytest.raises(ValueError, match="must be the mean of the sample losses"):
        noise.diffusion_matrix(bowl)
    with pytest.raises(ValueError, match="got also"):
        MinibatchNoise((x**2 + sp.Symbol("k"), x), 0.1, 1).diffusion_matrix(bowl)


@pytest.mark.parametrize("losses", [(x**2 + y, 3 * y**2 - x), (x * y, x**2 - y**2 + x)], ids=str)
@pytest.mark.parametrize("replacement", [True, False])
def test_two_samples_in_the_plane_give_a_noise_of_rank_one_that_can_be_simulated(
    losses, replacement
):
    plane = Landscape(sum(losses) / 2, (x, y), name="plane", box=((-2, 2), (-2, 2)))
    eta = sp.Rational(1, 10)
    minibatch = MinibatchNoise(losses, eta, 1, replacement=replacement)
    where, sigma = minibatch.factor(plane)
    matrix = minibatch.diffusion_matrix(plane)
    assert not where and sp.simplify(sigma * sigma.T - matrix) == sp.zeros(2, 2)
    assert sp.simplify(matrix.det()) == 0
    assert minibatch == MinibatchNoise(losses, eta, 1.0, replacement=replacement)


def test_a_constant_matrix_without_an_inverse_asks_for_its_factor():
    flat = FactorNoise(sp.Matrix([[1], [2]])).diffusion_matrix(bowl)
    with pytest.raises(ValueError, match="positive definite"):
        StateDependentNoise(flat).factor(bowl)
    with pytest.raises(ValueError, match="a constant entry of D must be positive"):
        StateDependentNoise((-1, 1 + x**2)).factor(bowl)


SEVEN = [  # seven losses of two variables, no two alike
    (x**2 + y, lambda a, b: (2 * a, 1)),
    (3 * x * y, lambda a, b: (3 * b, 3 * a)),
    (sp.sin(2 * x) - y**2, lambda a, b: (2 * np.cos(2 * a), -2 * b)),
    (x**3 / 3 + 4 * y, lambda a, b: (a**2, 4)),
    (y**3 - 5 * x, lambda a, b: (-5, 3 * b**2)),
    (x * y**2, lambda a, b: (b**2, 2 * a * b)),
    (sp.exp(y) + x, lambda a, b: (1, np.exp(b))),
]


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("dimension", [1, 2])
def test_the_factor_of_minibatch_noise_is_that_of_all_its_minibatches(dimension, replacement):
    """σσᵀ from seven losses and batches of three, against every minibatch drawn in NumPy."""
    one = dimension == 1
    losses = tuple(loss.subs(y, 2) if one else loss for loss, _ in SEVEN)
    names = (x,) if one else (x, y)
    land = Landscape(sum(losses) / 7, names, name="mean", box=((-2, 2),) * dimension)
    noise = MinibatchNoise(losses, 0.3, 3, replacement)
    batches = list(product(range(7), repeat=3) if replacement else combinations(range(7), 3))
    for a, b in [(0.5, 2.0 if one else -1.0), (-1.25, 2.0 if one else 0.75)]:
        place = dict(zip(names, (sp.Float(a), sp.Float(b)), strict=False))
        slopes = np.array([slope(a, b) for _, slope in SEVEN])[:, :dimension]
        means = slopes[np.array(batches)].mean(axis=1)
        exact = 0.3 / 2 * np.cov(means.T, bias=True).reshape(dimension, dimension)
        sigma = in_numbers(*noise.factor(land), place)
        np.testing.assert_allclose(sigma @ sigma.T, exact, rtol=1e-11)
        np.testing.assert_allclose(
            noise.diffusion(land, *(a, b)[:dimension]), exact, rtol=1e-11, atol=1e-13
        )


def line(loss, low=-3, high=3):
    return Landscape(loss, (x,), name="line", box=((low, high),))


def test_the_gates_of_noise_are_where_it_vanishes():
    """At the inflections of the loss, to the last digits; none where the curvature jumps."""
    push = HessianNoise(0.3, 7)
    places = [(x, -(3**-0.5)), (x, 3**-0.5)]
    quartic = catalog.quartic()
    for (variable, place), (expected, where) in zip(push.gates(quartic), places, strict=True):
        assert str(variable) == str(expected) and place == pytest.approx(where, abs=1e-14)
    assert HessianNoise(0.3, 7, floor=1e-6).gates(quartic) == ()
    waves = [place for _, place in push.gates(line(sp.sin(2 * x + 1)))]
    truth = [(np.pi * k - 1) / 2 for k in (-1, 0, 1, 2)]
    np.testing.assert_allclose(waves, truth, atol=1e-13)
    assert push.gates(catalog.two_valleys(sharp=9, flat=1, saddle=2, barrier=3)) == ()
    assert push.gates(line((sp.Abs(x) - 1) ** 2 / 2)) == ()
    assert push.gates(line(x**2)) == WhiteNoise(0.2).gates(quartic) == ()
    assert StateDependentNoise((x - 1) ** 6).gates(line(x)) == ((x, pytest.approx(1, abs=1e-2)),)
    assert StateDependentNoise((x - 1) ** 2 + 1e-3).gates(line(x)) == ()
    three = catalog.styblinski_tang(dimension=3)
    found = push.gates(three)
    assert [v for v, _ in found] == [v for v in three.variables for _ in range(2)]
    np.testing.assert_allclose([abs(p) for _, p in found], np.sqrt(8 / 3), rtol=1e-14)
    small = sp.Float(1e-10, 17)
    tiny = line(1e-20 * ((x / small) ** 4 / 4 - (x / small) ** 2 / 2), -2e-10, 2e-10)
    np.testing.assert_allclose([p * 1e10 for _, p in push.gates(tiny)], [-(3**-0.5), 3**-0.5])
    assert push.gates(catalog.rotated_double_well()) == ()


INDEFINITE = [
    (sp.Matrix([[1, 5 * x], [5 * x, 1]]), (1.0, 0.5), r"\[\[1.0, 5.0\], \[5.0, 1.0\]\] at x = 1"),
    ((x + 1, 2), (-1.5, 0.5), "-0.5.*at x = -1.5, y = 0.5"),
    (y - x, (0.5, 0.25), "at x = 0.5, y = 0.25"),
    (1 / x**2, (0.0, 1.0), "inf.* at x = 0, y = 1"),
    (sp.log(sp.Rational(5, 2) + x), (-2.0, 1.0), "at x = -2, y = 1"),
    (sp.sqrt(x), (-1.0, 0.0), "nan.* at x = -1, y = 0"),
]


@pytest.mark.parametrize("expression, place, said", INDEFINITE, ids=str)
def test_a_diffusion_that_is_none_is_refused_where_it_is_used(expression, place, said):
    noise = StateDependentNoise(expression)
    points = np.array([place, (1.5, 2.0)]).T
    with pytest.raises(ValueError, match="no negative eigenvalue, got .*" + said):
        noise.diffusion(bowl, *points[:, :1])
    with pytest.raises(ValueError, match="no negative eigenvalue, got .*" + said):
        noise.diffusion(bowl, *points)
    with pytest.raises(ValueError, match="no negative eigenvalue"):
        noise.check(bowl)


def test_a_diffusion_of_lower_rank_or_that_vanishes_somewhere_is_allowed():
    column = sp.Matrix([1 + x, 3 * y - x])
    for noise in (
        FactorNoise(column),
        StateDependentNoise(column * column.T),
        StateDependentNoise((x**2, 1 + y**4)),
        HessianNoise(0.2, 3),
        MinibatchNoise((2 * x**2 + y * x, 6 * y**2 - y * x), 0.1, 1),
    ):
        noise.check(bowl)
    with pytest.raises(ValueError, match="must be the mean of the sample losses"):
        MinibatchNoise((x**2 + y, x**2 - y), 0.1, 1).check(bowl)


def test_noise_that_follows_the_curvature_needs_a_curvature():
    with pytest.raises(ValueError, match="noise of line would be zero.*give HessianNoise a floor"):
        HessianNoise(0.1, 2).diffusion(line(sp.Abs(x) + x), 1.0)
    floored = HessianNoise(0.1, 2, floor=4).diffusion(line(sp.Abs(x) + x), [0.0, 1.0])
    assert np.allclose(floored.ravel(), 0.1)
    knife = HessianNoise(0.3, 5).diffusion(line(7 * (sp.Abs(x) - 1) ** 2 / 2), [-2.0, 0.0, 0.5])
    assert np.allclose(knife.ravel(), 0.03 * 7)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_the_absolute_spectrum_at_any_scale(scale):
    """Of a Hessian that is nearly a multiple of the identity, and of one that is not."""
    for a, b, c in ((2, 5, -3), (2, 1e-7, 2 + 3e-7), (-4, 1e-9, -4)):
        loss = scale * (a * x**2 / 2 + b * x * y + c * y**2 / 2)
        land = Landscape(loss, (x, y), name="saddle", box=((-2, 2), (-2, 2)))
        values, vectors = np.linalg.eigh(np.array([[a, b], [b, c]], dtype=float))
        spectrum = (vectors * np.abs(values)) @ vectors.T
        found = HessianNoise(0.3, 5).diffusion(land, 0.3, 0.2) / scale / 0.03
        np.testing.assert_allclose(found, spectrum, atol=1e-12)


WRONG = ("0.1", 1j, None, True, np.array([0.1, 0.2]), float("nan"), 10**400)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: repr(w)[:12])
def test_arguments_that_are_no_numbers_are_refused_by_name(wrong):
    two = dict(losses=(x**2, 3 * x**2), learning_rate=0.1, batch_size=1)
    for make, name in (
        (lambda: WhiteNoise(wrong), "diffusion_constant must be"),
        (lambda: HessianNoise(wrong, 2), "learning_rate must be"),
        (lambda: HessianNoise(0.1, wrong), "batch_size must be"),
        (lambda: HessianNoise(0.1, 2, floor=wrong), "floor must be"),
        (lambda: MinibatchNoise(**two | dict(learning_rate=wrong)), "learning_rate must be"),
        (lambda: MinibatchNoise(**two | dict(batch_size=wrong)), "batch_size must be"),
        (lambda: MinibatchNoise(**two | dict(losses=(x**2, wrong))), "a sample loss must be"),
        (lambda: StateDependentNoise((1, wrong)), "an entry of D must be"),
        (lambda: StateDependentNoise(wrong), "D must be"),
    ):
        with pytest.raises(ValueError, match=name):
            make()


def test_expressions_that_are_not_real_and_finite_are_refused():
    for wrong in (sp.oo, sp.nan, sp.zoo + x, sp.I * x, float("inf")):
        with pytest.raises(ValueError, match="D must be"):
            StateDependentNoise(wrong)
        with pytest.raises(ValueError, match="an entry of the factor of D must be"):
            FactorNoise([[1], [wrong]])
    for shape in ([1, 2], np.zeros((0, 2)), np.ones((2, 2, 2))):
        with pytest.raises(ValueError, match="D must be a matrix, got shape"):
            StateDependentNoise(shape)
    with pytest.raises(ValueError, match="convention must be one of .* got 'strat'"):
        convention_exponent("strat")
    for replacement in ("no", 0, None):
        with pytest.raises(ValueError, match="replacement must be one of True, False"):
            MinibatchNoise((x**2, 3 * x**2), 0.1, 1, replacement=replacement)


def test_a_full_matrix_of_rank_one_is_simulated_without_a_root_of_less_than_nothing():
    # det D = 0 everywhere: half of the last pivots are rounded to below zero
    strong = 1 + x**2 / 3
    thin = StateDependentNoise(sp.Matrix([[strong, strong / 7], [strong / 7, strong / 49]]) / 5)
    run = simulate.first_passage(
        bowl, thin, start=(0, 0), exit=x > 1, step=0.01, walkers=200, seed=3
    )
    assert run.diverged == 0 and run.escaped == 200


def test_a_pivot_that_vanishes_before_the_last_leaves_a_factor():
    """D of rank two in three dimensions: the second pivot is zero, and so is its column."""
    names = u, v, w = sp.symbols("u v w", real=True)
    land = Landscape(u**2 / 2 + v**2 + 3 * w**2, names, name="bowl", box=((-2, 2),) * 3)
    mix = sp.Matrix([[2, 0], [3, 0], [u, 5]]) / 4
    thin = StateDependentNoise((mix * mix.T).applyfunc(sp.expand) * (1 + v**2 / 9))
    for point in ((0.0, 0.0, 0.0), (0.75, -1.25, 0.5)):
        place = dict(zip(names, map(sp.Float, point), strict=True))
        sigma = in_numbers(*thin.factor(land), place)
        assert np.allclose(sigma @ sigma.T, thin.diffusion(land, *point), rtol=1e-12, atol=1e-12)
    run = simulate.first_passage(
        land, thin, start=(0, 0, 0), exit=w > 0.7, step=0.01, walkers=200, seed=7
    )
    assert run.diverged == 0 and run.escaped == 200


def test_a_function_that_the_rooms_do_not_know_is_refused_by_name():
    with pytest.raises(ValueError, match=r"D may not use erf, which NumPy .* got erf\(x\)"):
        StateDependentNoise(1 + sp.erf(x) ** 2)
    with pytest.raises(ValueError, match="an entry of D may not use gamma"):
        StateDependentNoise((1 + x**2, sp.gamma(2 + y**2)))


@pytest.mark.parametrize("kind", [np.array, np.float32, torch.tensor, sp.Rational])
def test_a_strength_may_be_any_kind_of_number(kind):
    well = catalog.quartic()
    for make in (
        WhiteNoise,
        lambda v: HessianNoise(learning_rate=v, batch_size=3, floor=v),
        lambda v: HessianNoise(learning_rate=0.3, batch_size=v),
        StateDependentNoise,
    ):
        kick, plain = make(kind(0.375)), make(0.375)
        np.testing.assert_allclose(
            kick.diffusion(well, 0.7), plain.diffusion(well, 0.7), rtol=1e-15
        )
        assert hash(kick) is not None
        sigma = float(kick.factor(well)[1][0].subs(well.variables[0], 0.7))
        assert sigma**2 == pytest.approx(plain.diffusion(well, 0.7).item(), rel=1e-14)


def test_a_matrix_may_be_a_tensor():
    plane, d = catalog.rotated_double_well(), [[0.5, 0.125], [0.125, 0.25]]
    found = StateDependentNoise(torch.tensor(d)).diffusion(plane, 0.3, 0.4)
    np.testing.assert_allclose(found, d)
    found = FactorNoise(torch.tensor(d)).diffusion(plane, 0.3, 0.4)
    np.testing.assert_allclose(found, np.array(d) @ d)


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1.0, 1e20])
def test_symmetry_of_a_constant_is_judged_by_its_size(scale):
    for crooked in ([[1.0, 0.5], [0.0, 1.0]], [[1.0, 0.0], [0.5, 1.0]]):
        with pytest.raises(ValueError, match="symmetric"):
            StateDependentNoise(scale * np.array(crooked)).diffusion_matrix(bowl)
    even = scale * np.array([[1.0, 0.5], [0.5, 1.0]])
    np.testing.assert_array_equal(StateDependentNoise(even).diffusion(bowl, 0.0, 0.0), even)


def in_units(loss, scale):
    return Landscape(sp.Float(scale) * loss, (x, y), name="small", box=((-2, 2), (-2, 2)))


@pytest.mark.parametrize("scale", [1e-13, 1e-31, 1e-40, 1e-150, 1e-290])
@pytest.mark.parametrize("floor", [0.0, 0.7])
def test_the_absolute_spectrum_of_curvatures_in_tiny_units(scale, floor):
    """Of a minimum, of a saddle, and where there is no curvature."""
    for loss, at in ((x**2 + x * y + 1.5 * y**2, (0.3, 0.2)), (x * y + y**3, (0.1, 0.0))):
        truth = HessianNoise(0.2, 3, floor=floor).diffusion(in_units(loss, 1.0), *at)
        found = HessianNoise(0.2, 3, floor=floor * scale).diffusion(in_units(loss, scale), *at)
        np.testing.assert_allclose(found / scale, truth, rtol=1e-12, atol=1e-15)
    flat = in_units(x**2 * y + y**3, scale)
    assert not HessianNoise(0.2, 3).diffusion(flat, 0.0, 0.0).any()


@pytest.mark.parametrize("scale", [2.0**-80, 2.0**-100])
def test_walkers_in_tiny_units_are_those_in_ordinary_ones(scale):
    """Energies of nK in joules: single precision would lose the squares of the curvatures."""
    loss = (x**2 - 1) ** 2 + x * y + y**2

    def spread(unit):
        places = simulate.ensemble(
            in_units(loss, unit), HessianNoise(0.02 / unit, 0.3 / unit), start=(-1, 0),
            rule=simulate.sgd, step=0.02 / unit, times=[1 / unit], walkers=500, seed=1,
        )  # fmt: skip
        return places[0].T @ places[0] / 500

    np.testing.assert_allclose(spread(scale), spread(1.0), rtol=1e-3)


def test_a_noise_of_one_s_own_stays_what_it_is():
    """One that may change is refused by name, in every room; frozen it is as good as the book's."""

    def class_of(frozen):
        @dataclass(frozen=frozen)
        class Own(Noise):
            strength: float

            def diffusion_matrix(self, landscape):
                return sp.ImmutableMatrix(self.strength * sp.eye(landscape.dimension))

        return Own

    well, ask = catalog.quartic(), dict(start=-1, upper=0.8)
    with pytest.raises(ValueError, match=r"but Own has no hash; write @dataclass\(frozen=True\)"):
        class_of(frozen=False)(0.2)
    found = exact.mean_first_passage_time(well, class_of(frozen=True)(0.2), **ask)
    assert found == exact.mean_first_passage_time(well, WhiteNoise(0.2), **ask)
