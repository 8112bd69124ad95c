"""What a step may carry and draw: laws of the start, against laws that are known in closed form.

Statistical tests have fixed seeds and a false alarm of 1e-5 for each comparison.
"""

import dataclasses

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from ddt_utils import catalog, simulate
from ddt_utils.landscape import Landscape
from ddt_utils.noise import FactorNoise, WhiteNoise
from ddt_utils.simulate import Problem, Run, Start, Step, euler_maruyama

x, y, v, c = sp.symbols("x y v c", real=True)
z, q, a, b = sp.symbols("z q a b", real=True)
ALARM = 4.42  # standard errors that chance exceeds once in 1e5
SILENT = FactorNoise([[0]])


def bowl(curvature=0.7, centre=0, reach=9):
    loss = sp.nsimplify(curvature) * (x - centre) ** 2 / 2
    return Landscape(loss, (x,), name="bowl", box=((centre - reach, centre + reach),))


def beginning(start, *, state=(x, v), **options):
    """A rule under which everything stays where it began, but what is carried is added to x."""

    def rule(landscape, noise, dt):
        return Step(
            state,
            (sp.Add(x, *(dt * s for s in state[1:])), *state[1:]),
            start=start,
            physical=True,
            **options,
        )

    return rule


# The start


def test_walkers_begin_by_their_law():
    """x normal about the start, v uniform and joined to x; the moves are v: both laws are seen."""
    law = Start(((x, x + 0.3 * a), (v, 2 * q - 1 + a / 2)), normals=(a,), uniforms=(q,))
    options = dict(start=0.5, step=0.25, times=[0, 0.25, 0.5], walkers=50_000, seed=4)
    states = simulate.ensemble(bowl(), SILENT, rule=beginning(law), **options)[:, :, 0]
    first, moved = states[0].astype(float), np.diff(states.astype(float), axis=0)
    kick = (first - 0.5) / 0.3
    assert stats.kstest(kick, "norm").pvalue > 1e-5
    uniform = (moved[0] / 0.25 - kick / 2 + 1) / 2
    assert stats.kstest(uniform, "uniform").pvalue > 1e-5
    assert abs(np.corrcoef(kick, uniform)[0, 1]) < ALARM / np.sqrt(50_000)
    assert np.max(np.abs(moved[1] - moved[0])) < 1e-5  # drawn once


def test_what_a_law_does_not_name_begins_as_without_it():
    law = Start(((c, v + 3 * c + 0 * x),))
    rule = beginning(law, state=(x, v, c), initial_state=(0.25, 0.5))
    options = dict(start=-2, step=0.5, times=[0, 0.5], walkers=3, seed=1)
    states = simulate.ensemble(bowl(), SILENT, rule=rule, **options)[:, :, 0]
    assert np.all(states[0] == -2)
    assert np.all(states[1] == -2 + 0.5 * (0.25 + (0.25 + 3 * 0.5)))


def coloured(strength, decay, stationary=True):
    """Descent with a kick that remembers: c ← ρc + √(1 − ρ²) s·z, x ← x − dt(L′ + c)."""

    def rule(landscape, noise, dt):
        (slope,) = landscape.gradient_expression
        new = decay * c + sp.sqrt(1 - decay**2) * strength * z
        start = Start(((c, strength * a),), normals=(a,)) if stationary else None
        update = (x - dt * (slope + c), new)
        return Step((x, c), update, normals=(z,), start=start, physical=True)

    return rule


@pytest.mark.parametrize("stationary", [True, False])
def test_a_coloured_kick_is_stationary_from_the_start(stationary):
    """The exact covariance of the linear recursion, to the first steps, where it matters."""
    strength, decay, step, curvature = sp.Rational(3, 5), sp.Rational(9, 10), 0.25, 0.7
    count, steps = 40_000, 6
    rule = coloured(strength, decay, stationary)
    options = dict(start=0, step=step, times=step * np.arange(1, steps + 1), walkers=count, seed=8)
    found = simulate.ensemble(bowl(curvature), SILENT, rule=rule, **options)[:, :, 0].astype(float)
    move = np.array([[1 - step * curvature, -step], [0, float(decay)]])
    kick = np.diag([0, (1 - float(decay) ** 2) * float(strength) ** 2])
    covariance = np.diag([0, float(strength) ** 2 * stationary])
    for places in found:
        covariance = move @ covariance @ move.T + kick
        exact = covariance[0, 0]
        assert abs(np.mean(places**2) - exact) <= ALARM * exact * np.sqrt(2 / count)


def test_a_start_is_the_same_for_any_cut_and_from_any_origin(monkeypatch):
    """An odd number of normals in start and step; a far origin moves every place and no bit."""
    noise = WhiteNoise(0.25)

    def rule(landscape, kick, dt):
        (u,) = landscape.variables
        step = euler_maruyama(landscape, kick, dt)
        law = Start(((u, u + 0.2 * a + 0.125 * q),), normals=(a,), uniforms=(q,))
        return dataclasses.replace(step, start=law)

    def leave(centre=0, **options):
        loss = catalog.quartic().expression.subs(catalog.quartic().variables[0], x - centre)
        well = Landscape(loss, (x,), name="well", box=((centre - 2, centre + 2),))
        problem = Problem(well, noise, start=centre - 1, exit=x > centre + 1, step=0.01, rule=rule)
        return Run(problem, walkers=200, seed=6, **options).finish().result()

    one = leave(threads=1)
    assert len(set(one.times)) > 150
    two = leave(threads=2)
    assert np.array_equal(one.times, two.times) and np.array_equal(one.states, two.states)
    part = leave(first=37)
    assert np.array_equal(part.times[:163], one.times[37:])
    assert np.array_equal(leave(centre=-300).times, one.times)


def test_a_start_beside_steps_that_carry_remainders():
    """Twenty steps of 1e-7 from a place whose last digit is 6e-8: the law of both is normal."""
    step, count = 1e-14, 20_000

    def rule(landscape, kick, dt):
        walk = euler_maruyama(landscape, kick, dt)
        return dataclasses.replace(walk, start=Start(((x, x + 0.03 * a),), normals=(a,)))

    options = dict(start=0.7, step=step, rule=rule)
    assert Problem(bowl(), WhiteNoise(0.5), exit=x > 8, **options).compensated
    options |= dict(times=[0, 20 * step], walkers=count, seed=3)
    states = simulate.ensemble(bowl(), WhiteNoise(0.5), **options)[:, :, 0].astype(float)
    assert stats.kstest((states[0] - 0.7) / 0.03, "norm").pvalue > 1e-5
    spread = np.mean((states[1] - states[0]) ** 2) / (20 * step)
    digit = np.spacing(np.float32(0.7)) ** 2 / 6 / (20 * step)  # of two places as they are seen
    assert abs(spread - 1 - digit) < ALARM * np.sqrt(2 / count)


def test_a_start_is_checked():
    with pytest.raises(ValueError, match="one expression, got"):
        Start(((v, x), (v, a)))
    with pytest.raises(ValueError, match=r"state \(x,\) only, got also \[v\]; add"):
        Step((x,), (x,), start=Start(((v, 1),)))
    with pytest.raises(ValueError, match="must be distinct"):
        Step((x,), (x + z,), normals=(z,), start=Start(((x, z),), normals=(z,)))
    law = Start(((v, a * y),), normals=(a,))
    with pytest.raises(ValueError, match="got also y"):
        Problem(bowl(), SILENT, start=0, exit=x > 1, step=0.1, rule=beginning(law))
