"""Single precision: far origins, odd units and small steps give right numbers or are refused.

The truth is the law of the parabola, L = k(x − c)²/2: mean c + (x₀ − c)e^{−kt} and variance
(D/k)(1 − e^{−2kt}), up to the relative error k dt/2 of Euler's step, which is tolerated;
or the same problem in other units or about another origin. Alarms are 4.42 standard errors, 1e-5.
"""

import numpy as np
import pytest
import sympy as sp

from ddt_utils.landscape import Landscape
from ddt_utils.noise import FactorNoise, StateDependentNoise, WhiteNoise
from ddt_utils.simulate import Problem, Step, ensemble, first_passage, momentum

x, y = sp.symbols("x y", real=True)
ALARM = 4.42


def quartic(c=0, s=1, form=lambda e: e):
    """A double well with minima at c ± s and a barrier of 1/4."""
    u = (x - sp.Float(c, 17)) / sp.Float(s, 17) if s != 1 else x - c
    loss = form(u**4 / 4 - u**2 / 2) * (sp.Float(s, 17) ** 2 if s != 1 else 1)
    return Landscape(loss, (x,), name=f"quartic at {c}", box=((c - 2 * s, c + 2 * s),))


def leave(well, c=0, s=1, **options):
    noise = StateDependentNoise(s * s * (0.2 + ((x - c) / s) ** 2 / 10))
    options = dict(start=c - s, exit=x > c + s / 2, step=0.02, walkers=200, seed=3) | options
    return first_passage(well, noise, **options)


@pytest.mark.parametrize("form", [lambda e: e, sp.expand], ids=["distances", "expanded"])
@pytest.mark.parametrize("c", [10_000, -300])
def test_a_far_origin_changes_no_bit(c, form):
    here, there = leave(quartic()), leave(quartic(c, form=form), c)
    assert np.array_equal(here.times, there.times)
    assert there.states.dtype == np.float64
    assert np.max(np.abs(there.states - c - here.states)) < 1e-9
    options = dict(start=c - 1, step=0.02, times=[0.5, 3], walkers=70, seed=5)
    free = ensemble(quartic(c, form=form), WhiteNoise(0.3), **options)
    options["start"] = -1
    assert np.max(np.abs(free - c - ensemble(quartic(), WhiteNoise(0.3), **options))) < 1e-9


@pytest.mark.parametrize("s", [2.0**-33, 2.0**40, 1e-10])
def test_the_unit_of_length_does_not_matter(s):
    """Bit for bit where it is a power of two, and up to rounding where it is not."""
    here, there = leave(quartic()), leave(quartic(s=s), s=s)
    assert there.states / s == pytest.approx(here.states, rel=0.2)
    if np.log2(s) % 1 == 0:
        assert np.array_equal(here.times, there.times)
    else:
        assert there.mean == pytest.approx(here.mean, rel=0.02)


def test_a_far_origin_and_a_small_unit_of_one_coordinate_of_two():
    """An exit across both, in a landscape that couples them; to first order nothing changes."""
    c, s = 700.0, 2.0**-30

    def problem(u, v, box, start):
        loss = (u**2 - 1) ** 2 / 4 + (v - u / 2) ** 2
        noise = FactorNoise([[sp.Rational(1, 2)], [sp.Rational(1, 3) * (s if v != y else 1)]])
        if v != y:
            loss = Landscape(loss, (x, y), name="far", box=box)
            return loss, noise, start
        return Landscape(loss, (x, y), name="near", box=box), noise, start

    near = problem(x, y, ((-2, 2), (-2, 2)), (-1, 0.25))
    far = problem(x - c, y, ((c - 2, c + 2), (-2, 2)), (c - 1, 0.25))
    options = dict(step=0.02, walkers=100, seed=1)
    here = first_passage(*near[:2], start=near[2], exit=x + y / 3 > 0.125, **options)
    there = first_passage(*far[:2], start=far[2], exit=x - c + y / 3 > 0.125, **options)
    assert np.array_equal(here.times, there.times)
    assert there.states - [c, 0] == pytest.approx(here.states.astype(float), abs=1e-6)


@pytest.mark.parametrize(("step", "end"), [(1e-3, 6.0), (4e-4, 3.0)])
def test_a_bowl_far_from_the_origin_rests_with_the_right_variance(step, end):
    """The box holds the origin: a place at 10⁴ has digits of 10⁻³, and the drift is below them."""
    bowl = Landscape((x - 10_000) ** 2 / 2, (x,), name="bowl", box=((-1, 10_002),))
    options = dict(start=10_000, step=step, times=[end], walkers=4000, seed=2)
    places = ensemble(bowl, WhiteNoise(0.05), **options)[0, :, 0].astype(float)
    assert Problem(
        bowl, WhiteNoise(0.05), start=10_000, exit=x > 10_001, step=step
    ).compensated == (step < 5e-4)
    truth = 0.05 * (1 - np.exp(-2 * end))
    rounding = 2 * (2.0**-10) ** 2 / 12  # of the place itself, and of its reading
    assert abs(places.var() - truth) < ALARM * truth * np.sqrt(2 / 4000) + truth * step + rounding
    assert abs(places.mean() - 10_000) < ALARM * np.sqrt(truth / 4000)


@pytest.mark.parametrize("rule", [None, momentum(0.0)], ids=["plain", "momentum"])
def test_steps_below_the_last_digit_add_up(rule):
    """Steps of 4e-8 at 0.75, where the last digit is worth 6e-8; with the slope 3 of a parabola."""
    d, step, end, walkers = 1e-8, 1e-7, 0.1, 256
    bowl = Landscape(3 * x**2 / 2, (x,), name="bowl", box=((-2, 2),))
    options = dict(start=0.75, step=step, times=[end], walkers=walkers, seed=1)
    places = ensemble(bowl, WhiteNoise(d), **options, **(dict(rule=rule) if rule else {}))
    places = places[0, :, 0].astype(float)
    spread = d / 3 * (1 - np.exp(-6 * end))
    mean = 0.75 * np.exp(-3 * end)
    assert abs(places.mean() - mean) < ALARM * np.sqrt(spread / walkers) + 6e-8
    assert abs(places.var() - spread) < ALARM * spread * np.sqrt(2 / walkers)


def test_a_walk_with_small_steps_is_continued_with_its_remainders(tmp_path):
    from ddt_utils.simulate import Run

    bowl = Landscape(3 * x**2 / 2, (x,), name="bowl", box=((-2, 2),))
    options = dict(start=0.75, exit=x < 0.7499, step=1e-7, max_time=2e-3)
    problem = Problem(bowl, WhiteNoise(1e-7), **options)
    assert problem.compensated and len(problem.start_state) == 2
    whole = Run(problem, walkers=70, seed=1).finish().result()
    assert 0 < whole.escaped
    part = Run(Problem(bowl, WhiteNoise(1e-7), **options), walkers=70, seed=1, threads=1)
    part.problem = Problem(bowl, WhiteNoise(1e-7), **(options | dict(max_time=1.7e-5)))
    rest = part.finish().extend(2e-3).finish().result()
    assert np.array_equal(whole.times, rest.times)
    assert np.array_equal(whole.states, rest.states)


def refusal(match, well=None, noise=None, **options):
    options = dict(start=-1, exit=x > 1, step=0.01) | options
    with pytest.raises(ValueError, match=match):
        Problem(well or quartic(), noise or WhiteNoise(0.25), **options)


def test_what_remains_beyond_single_precision_is_refused():
    refusal("between 1e-38 and 3e38, got -1e-40.*choose units", step=1e-40)
    refusal("between 1e-38 and 3e38.*choose units", noise=WhiteNoise(1e-320))
    refusal(
        "larger than the rounding of the place.*in x in the box.*FactorNoise of zeros",
        noise=WhiteNoise(1e-30),
    )
    refusal("larger than the rounding", step=1e-30)
    cancelling = sp.exp(sp.expand((x - 5000) ** 2) / 9)
    far = Landscape(cancelling, (x,), name="far", box=((4990, 5010),))
    refusal(
        "drift of far must keep its digits.*write it in distances", far, start=4999, exit=x > 5001
    )


def test_a_rule_that_gives_no_sum_is_not_compensated():
    def exact(landscape, noise, dt):
        z = sp.Dummy("z", real=True)
        return Step((x,), (sp.cos(x) * x + sp.sqrt(dt) * z / 1e4,), normals=(z,), physical=True)

    refusal("give the new place as a sum, x . move", rule=exact, step=1e-8)


def test_a_start_behind_the_exit_that_was_moved_is_refused():
    flat = Landscape(0 * x, (x,), name="flat", box=((-1, 1),))
    options = dict(start=0, exit=sp.Abs(x) > sp.Rational(1, 100), step=0.005)
    refusal(
        "two step lengths.*smaller step, or barrier_shift=False",
        flat,
        WhiteNoise(1),
        **options,
    )
    Problem(flat, WhiteNoise(1), **options, barrier_shift=False)
