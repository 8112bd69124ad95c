"""Escape criteria: what they mean, and that walkers and operators take them for exits."""

import numpy as np
import pytest
import sympy as sp
import torch

from ddt_utils import catalog, critical, generator, simulate
from ddt_utils.criterion import Beyond, Box, Criterion, LevelSet, Quench
from ddt_utils.landscape import Landscape
from ddt_utils.noise import WhiteNoise

x, y = sp.symbols("x y", real=True)
BOWL = Landscape(2 * x**2 + y**2 / 2, (x, y), name="bowl", box=((-3, 3), (-3, 3)))
RULES = [
    (Beyond((1, 0), (1, 1)), lambda p: p[:, 0] + p[:, 1] >= 1),
    (LevelSet(1.0), lambda p: 2 * p[:, 0] ** 2 + p[:, 1] ** 2 / 2 >= 1),
    (Box((0, 0.5), 1), lambda p: np.abs(p - [0, 0.5]).max(axis=1) >= 1),
    (Box((0, 0), (1, 2)), lambda p: (np.abs(p) / [1, 2]).max(axis=1) >= 1),
]


@pytest.mark.parametrize("criterion, holds", RULES)
def test_the_condition_is_what_the_words_say(criterion, holds):
    points = np.random.default_rng(1).uniform(-2, 2, (400, 2))
    condition = sp.lambdify((x, y), criterion.condition(BOWL))
    np.testing.assert_array_equal([condition(*p) for p in points], holds(points))


def test_in_one_dimension_a_plane_is_a_point_with_a_side():
    well = catalog.quartic()
    (z,) = well.variables
    assert Beyond(0, 1).condition(well) == (z >= 0.0)
    assert Beyond(0.5, -2).condition(well) == (z <= 0.5)


def test_every_criterion_says_which_question_it_answers():
    questions = [kind.question for kind in Criterion.__subclasses__()]
    assert len(set(questions)) == len(questions) == 4
    assert all(question.endswith("?") for question in questions)


@pytest.mark.parametrize("criterion, holds", RULES)
def test_walkers_take_a_criterion_for_an_exit(criterion, holds):
    """The same walkers, to the bit, as with the relational written out; all end outside."""
    options = dict(start=(0, 0), step=0.02, walkers=300, seed=3)
    named = simulate.first_passage(BOWL, WhiteNoise(0.5), exit=criterion, **options)
    spelt = simulate.first_passage(BOWL, WhiteNoise(0.5), exit=criterion.condition(BOWL), **options)
    np.testing.assert_array_equal(named.times, spelt.times)
    problem = simulate.Problem(BOWL, WhiteNoise(0.5), start=(0, 0), exit=criterion, step=0.02)
    assert problem.exit == criterion.condition(BOWL)


def test_operator_and_walkers_agree_on_a_box():
    """The mean over walkers against the grid, 1 % for the grid; false alarm 1e-5."""
    box, push = Box((0, 0), 1), WhiteNoise(0.3)
    grid = generator.fokker_planck(BOWL, push, cells=120, box=((-1.2, 1.2),) * 2, exit=box)
    centre = tuple(int(np.argmin(np.abs(axis))) for axis in grid.axes)
    truth = grid.mean_first_passage_time()[centre]
    run = simulate.first_passage(
        BOWL, push, start=(0, 0), exit=box, step=0.002, walkers=40_000, seed=4
    )
    assert abs(run.mean - truth) < 4.42 * run.stderr + 0.01 * truth


def test_the_plane_at_a_saddle():
    surface = catalog.rotated_double_well()
    (saddle,) = critical.saddles(surface)
    plane = Beyond(saddle.location, critical.escape_direction(saddle))
    minima = critical.minima(surface)
    sides = [plane.condition(surface).subs(dict(zip(surface.variables, m.location, strict=True)))
             for m in minima]  # fmt: skip
    assert sorted(map(bool, sides)) == [False, True]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Beyond(0, 0), "must point somewhere"),
        (lambda: Beyond((0, 0), 1), "one number per coordinate"),
        (lambda: Beyond(np.nan, 1), "point must be a finite real number, got nan"),
        (lambda: LevelSet(np.inf), "height must be a finite real number, got inf"),
        (lambda: Box((0, 0), (1, 1, 1)), "half_width must be positive"),
        (lambda: Box(0, -1), "half_width must be positive"),
        (lambda: Box(0, 1).condition(BOWL), "centre needs 2 numbers for bowl, got 1"),
        (lambda: Beyond(0, 1).condition(BOWL), "point needs 2 numbers for bowl, got 1"),
        (lambda: Beyond("a", 1), "point must be"),
        (lambda: Beyond(None, 1), "point must be"),
        (lambda: Beyond((0, 1j), (1, 0)), "point must be"),
        (lambda: Beyond(((0, 1),), (1, 0)), "point must be"),
        (lambda: Beyond((), ()), "point must be finite numbers"),
        (lambda: Beyond((0, np.inf), (1, 0)), "point must be finite"),
        (lambda: LevelSet(True), "height must be"),
        (lambda: LevelSet("1"), "height must be"),
        (lambda: Box((0, 0), None), "half_width must be"),
        (lambda: Box((0, 0), (1, 0)), "half_width must be positive"),
        (lambda: Quench((0, 1), 0, 0.1), "radius must be a finite real number, above 0, got 0"),
        (lambda: Quench((0, 1), 1, "0.1"), "learning_rate must be"),
        (lambda: Quench((0, 1), 1, 0.1, iterations=2.5), "iterations must be a whole number"),
        (lambda: Quench((0, 1), 1, 0.1, tolerance=np.nan), "tolerance must be"),
        (lambda: Quench((0, 1), 1, 0.1).condition(BOWL), "no region that an expression"),
        (lambda: BOWL.exit_condition(5), "or a criterion, got 5"),
        (lambda: BOWL.exit_condition("x > 1"), "or a criterion, got 'x > 1'"),
        (lambda: BOWL.exit_condition(sp.Symbol("q") > 1), "got also {q}"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_of_numpy_and_sympy_are_taken():
    assert Beyond(np.array([1, 2]), [3, 4.5]) == Beyond((1.0, 2.0), (3.0, 4.5))
    assert LevelSet(sp.Rational(1, 4)).height == 0.25
    assert Box(np.float64(1.5), np.int64(2)) == Box((1.5,), (2.0,))


def test_a_quench_that_runs_out_of_iterations_counts_where_it_is():
    """Descent on k x²/2 shrinks x by 1 − ηk in each iteration, with η = 0.1 and k = 3."""
    import torch

    start = torch.tensor([[2.0], [-0.5]], dtype=torch.float64)
    for iterations in (1, 2, 5):
        left = 0.7**iterations
        for radius, outside in ((1.99 * left, [True, False]), (2.01 * left, [False, False])):
            rule = Quench(0, radius, 0.1, iterations=iterations)
            assert rule.outside(start, lambda t: 1.5 * t[:, 0] ** 2).tolist() == outside


def test_a_box_narrower_than_rounding_is_refused():
    with pytest.raises(ValueError, match="wider than the rounding of the centre"):
        Box((3.0, 1e17), (0.5, 2.0))


@pytest.mark.parametrize("numbers", [1, 2, 4], ids=str)
@pytest.mark.parametrize(
    "make, name",
    [
        (lambda n: Box((0.0,) * n, 0.5), "centre"),
        (lambda n: Beyond((0.0,) * n, (1.0,) * n), "point"),
        (lambda n: Quench((0.0,) * n, 0.5, 0.1), "minimum"),
    ],
    ids=["box", "plane", "quench"],
)
def test_a_criterion_of_another_size_is_refused(make, name, numbers):
    """One number is not meant for every parameter."""
    theta = torch.zeros(5, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=f"{name} needs 3 numbers .*, got {numbers}; give one"):
        make(numbers).outside(theta, lambda t: (t**2).sum(-1))
    assert make(3).outside(theta, lambda t: (t**2).sum(-1)).tolist() == [name == "point"] * 5
