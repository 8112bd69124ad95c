"""First passages against exact means, and the same result however the work is cut."""

import numpy as np
import pytest
import sympy as sp
from scipy import integrate, stats

from ddt_utils import catalog, simulate
from ddt_utils.escape import CENSORED, DIVERGED, ESCAPED
from ddt_utils.landscape import Landscape
from ddt_utils.noise import StateDependentNoise, WhiteNoise
from ddt_utils.simulate import cpu, program
from ddt_utils.simulate import run as run_module

WELL = catalog.quartic()
(x,) = WELL.variables
ALARM = 4.42  # standard errors that chance exceeds once in 1e5


def passage(noise=None, landscape=WELL, **changes):
    options = dict(start=-1, exit=x > 1, step=0.01, walkers=2000, seed=1) | changes
    return simulate.first_passage(landscape, noise or WhiteNoise(0.25), **options)


def ito_mean(diffusion, start, end):
    """The double integral of Gardiner's section 5.5, by the trapezoidal rule on a fine grid."""
    z = np.linspace(-4, end, 400_001)
    d = diffusion(z)
    potential = integrate.cumulative_trapezoid((z**3 - z) / d, z, initial=0)
    potential -= potential[np.searchsorted(z, -1)]
    inner = integrate.cumulative_trapezoid(np.exp(-potential) / d, z, initial=0)
    part = z >= start - 1e-9
    return integrate.trapezoid((np.exp(potential) * inner)[part], z[part])


def test_mean_to_the_far_well_is_exact_within_the_error():
    exact = ito_mean(lambda z: np.full_like(z, 0.125), -1, 1)
    assert exact == pytest.approx(41.034, abs=2e-3)
    run = passage(WhiteNoise(0.125), step=0.002, walkers=40_000)
    assert abs(run.mean - exact) < ALARM * run.stderr + 0.001 * exact  # Euler error, order dt


def test_mean_to_the_top_needs_the_shift():
    """At the top the uncorrected error is 0.657 √dt, 4.6 % here and 9 standard errors."""
    exact = ito_mean(lambda z: np.full_like(z, 0.125), -1, 0)
    options = dict(noise=WhiteNoise(0.125), exit=x > 0, step=0.005, walkers=40_000)
    shifted, plain = passage(**options), passage(**options, barrier_shift=False)
    assert abs(shifted.mean - exact) < ALARM * shifted.stderr + 0.003 * exact
    assert plain.mean / exact - 1 == pytest.approx(0.657 * 0.005**0.5, abs=0.025)
    assert "0.5826" in shifted.bias_correction
    assert plain.bias_correction.startswith("none")


def test_state_dependent_noise_is_in_the_ito_convention():
    """The isothermal convention would give 415.5."""
    exact = ito_mean(lambda z: 0.04 * (1 + z**2), -1, 0)
    assert exact == pytest.approx(228.1, abs=0.1)
    noise = StateDependentNoise(sp.Rational(4, 100) * (1 + x**2))
    run = passage(noise, exit=x > 0, walkers=20_000)
    assert abs(run.mean - exact) < ALARM * run.stderr + 0.005 * exact


def test_a_rotated_landscape_has_the_same_times():
    """A separable double well and the same one turned by 30° under a full constant D."""
    u, v = sp.symbols("u v", real=True)
    c, s = sp.sqrt(3) / 2, sp.Rational(1, 2)
    along, across = c * u + s * v, c * v - s * u
    loss = along**4 / 4 - along**2 / 2 + across**2
    turned = Landscape(loss, (u, v), name="turned", box=((-3, 3), (-3, 3)))
    turn = sp.Matrix([[c, -s], [s, c]])
    full = StateDependentNoise((turn * sp.diag(0.125, 0.3) * turn.T).evalf())
    start = (-float(c), -float(s))
    run = passage(full, turned, start=start, exit=along > 0, step=0.005, walkers=10_000)
    exact = ito_mean(lambda z: np.full_like(z, 0.125), -1, 0)
    assert abs(run.mean - exact) < ALARM * run.stderr + 0.003 * exact


def test_equal_coordinates_leave_equally_often():
    """The two normals of one Box–Muller pair must not favour a coordinate."""
    u = sp.symbols("u0:4", real=True)
    loss = sum(v**4 / 4 - v**2 / 2 for v in u)
    doors = Landscape(loss, u, name="four doors", box=((-2, 2),) * 4)
    out = sp.Or(*(v > 1 for v in u))
    options = dict(start=(-1,) * 4, exit=out, step=0.02, walkers=100_000)
    run = passage(WhiteNoise(0.125), doors, **options)
    counts = np.bincount(np.argmax(run.states, axis=1), minlength=4)
    assert stats.chisquare(counts).pvalue > 1e-5


def test_two_ends_are_found_with_the_right_odds():
    flat = Landscape(0 * x, (x,), name="flat", box=((-2, 2),))
    run = passage(WhiteNoise(0.5), flat, start=0.5, exit=sp.Or(x > 1, x < -1), step=1e-4)
    assert run.escaped == 2000
    right = np.count_nonzero(run.states[:, 0] > 0)
    assert abs(right - 1500) < ALARM * np.sqrt(2000 * 0.75 * 0.25) + 10
    assert abs(run.mean - 0.75) < ALARM * run.stderr + 0.005


def test_the_exit_is_noticed_at_its_step():
    """Without noise to see, the step of the crossing is known."""
    slope = Landscape(-x, (x,), name="slope", box=((-2, 2),))
    for crossing in (1, 2, 31, 32, 33, 100):
        run = passage(
            WhiteNoise(1e-14),
            slope,
            start=0,
            exit=x > (crossing - 0.5) / 64,
            step=1 / 64,
            walkers=3,
        )
        assert np.array_equal(run.times, np.full(3, crossing / 64))
        assert run.states == pytest.approx(crossing / 64, abs=1e-5)


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("slice_length", [1, 7, 2000])
def test_threads_and_slices_change_no_bit(threads, slice_length, monkeypatch):
    one = passage(threads=1, walkers=700)
    monkeypatch.setattr(cpu.CPU, "slice_steps", slice_length * program.CHUNK)
    other = passage(threads=threads, walkers=700)
    assert np.array_equal(one.times, other.times)
    assert np.array_equal(one.states, other.states)


def test_a_walker_keeps_its_stream_when_others_are_added_and_seeds_differ():
    few, many = passage(walkers=50), passage(walkers=500)
    assert np.array_equal(few.times, many.times[:50])
    assert not np.any(passage(walkers=50, seed=2).states == few.states)
    assert not np.any(passage(walkers=5, seed=2**64 - 1).times == few.times[:5])


def test_walkers_still_inside_are_censored_at_the_limit():
    run = passage(max_time=6.4)
    assert run.escaped + run.censored == 2000 and run.censored > 500
    assert np.all(run.times[run.status == CENSORED] == pytest.approx(6.4))
    assert np.all(run.times[run.status == ESCAPED] <= 6.4 + 1e-9)
    assert np.all(run.states[run.status == CENSORED] < 1)
    free = passage()
    assert np.array_equal(run.times[run.status == ESCAPED], free.times[run.status == ESCAPED])


@pytest.mark.parametrize(("step", "escaped"), [(1.0, 70), (1e14, 70), (1e17, 0), (1e30, 0)])
def test_a_jump_beyond_the_exit_is_an_escape_as_far_as_single_precision_reaches(step, escaped):
    """From −10 one step of 1 leads to +980, far beyond the bound of 120, and the exit at 1."""
    wide = Landscape(WELL.expression, (x,), name="wide", box=((-12, 12),))
    exit = sp.Or(x > 1, x < -11)
    options = dict(exit=exit, step=step, walkers=70, rule=simulate.sgd)
    run = passage(landscape=wide, start=-10, **options)
    assert (run.diverged, run.escaped) == (70 - escaped, escaped)


def test_not_a_number_is_divergence():
    right = Landscape(WELL.expression, (x,), name="right half", box=((0.01, 2),))
    options = dict(start=0.5, exit=x > 5, walkers=100, max_time=100)
    run = passage(StateDependentNoise(x), right, **options)
    assert run.diverged == 100
    assert run.status.dtype == np.uint8 and np.all(run.status == DIVERGED)


@pytest.mark.parametrize("dimension", [1, 2, 3, 16])
def test_every_dimension_has_its_own_noise_per_coordinate(dimension):
    """Free diffusion: the covariance is 2 D t times the identity, in both steps of a pair."""
    names = sp.symbols(f"q:{dimension}", real=True)
    flat = Landscape(0 * names[0], names, name="flat", box=((-9, 9),) * dimension)
    options = dict(start=[0] * dimension, step=0.5, times=[0.5, 1.0, 2.5], walkers=4001, seed=3)
    states = simulate.ensemble(flat, WhiteNoise(0.25), **options).astype(float)
    assert states.shape == (3, 4001, dimension)
    steps = np.diff(states, axis=0, prepend=0).transpose(1, 0, 2).reshape(4001, -1)
    size = np.sqrt(np.repeat([0.25, 0.25, 0.75], dimension))
    products = (steps / size).T @ (steps / size) / 4001
    error = np.sqrt((1 + np.eye(len(size))) / 4001)
    assert np.all(np.abs(products - np.eye(len(size))) < 5.5 * error)  # alarm 1e-5 for all 48²/2


def test_ensemble_is_the_same_for_any_number_of_threads():
    options = dict(start=-1, step=0.01, times=[0.5, 2], walkers=333, seed=4)
    one = simulate.ensemble(WELL, WhiteNoise(0.25), threads=1, **options)
    assert np.array_equal(one, simulate.ensemble(WELL, WhiteNoise(0.25), threads=3, **options))


def test_an_exit_out_of_reach_ends_with_an_error(monkeypatch):
    monkeypatch.setattr(run_module, "_PATIENCE", 1e7)
    with pytest.raises(ValueError, match="within reach"):
        passage(WhiteNoise(0.01))
    gate = Landscape(WELL.expression, (x,), name="gate", box=((-2, 2),))
    with pytest.raises(ValueError, match="within reach"):  # some go right, the others never
        passage(WhiteNoise(0.01), gate, start=0, exit=x > 0.9)


def test_an_exit_with_an_absolute_value_is_two_exits():
    options = dict(start=0, step=0.01, walkers=3000)
    one = passage(exit=sp.Abs(x) > 1.2, **options)
    two = passage(exit=sp.Or(x > 1.2, x < -1.2), **options)
    assert np.array_equal(one.times, two.times)


@pytest.mark.parametrize("assumed", [{}, {"positive": True}, {"real": True}])
def test_an_exit_in_a_variable_of_the_same_name_is_the_same_exit(assumed):
    """Moved towards the walkers like any other."""
    named = sp.Symbol("x", **assumed)
    for own, other in ((x > 0.7, named > 0.7), ((x > 1) | (x < -2), (named > 1) | (x < -2))):
        plain = simulate.Problem(WELL, WhiteNoise(0.25), start=-1, exit=own, step=0.05)
        found = simulate.Problem(WELL, WhiteNoise(0.25), start=-1, exit=other, step=0.05)
        assert found.exit == own and found.barrier_shift is True
        assert found.digest() == plain.digest()


def test_an_exit_that_no_real_place_satisfies_is_refused():
    with pytest.raises(ValueError, match="exit must be a SymPy relational"):
        passage(exit=sp.Symbol("x") ** 2 < -1)


def test_a_step_bias_without_the_shift_is_refused():
    problem = simulate.Problem(
        WELL, WhiteNoise(0.25), start=-1, exit=x > 0, step=0.05, barrier_shift=False
    )
    with pytest.raises(ValueError, match="set barrier_shift=True"):
        simulate.step_bias(problem, walkers=10, seed=1)


def test_progress_reaches_the_number_of_walkers(capsys):
    passage(walkers=200, progress=True)
    assert "200/200" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(walkers=0), "walkers must be a whole number, 1 or more, got 0"),
        (dict(step=0), "step must be a finite real number, above 0, got 0"),
        (dict(step=float("nan")), "step must be a finite real number, above 0, got nan"),
        (dict(step=1j), "step must be a finite real number, above 0, got 1j"),
        (dict(seed=1.5), "seed must be a whole number from 0 .* got 1.5"),
        (dict(seed=True), "seed must be a whole number from 0 .* got True"),
        (dict(seed=-1), "seed must be a whole number from 0 .* got -1"),
        (dict(seed=2**64 + 1), "seed must be a whole number from 0 .* got 18446744073709551617"),
        (dict(noise=0.25), r"needs a Landscape and a noise .* 0.25; .*WhiteNoise\(0.1\)"),
        (dict(step=1.0), "well below one over the curvature, got step 1 and curvature 2 at"),
        (dict(exit=x > 3, noise=WhiteNoise(0.01)), "within reach, got x > 3 behind a barrier"),
        (dict(exit=x > 30), "within reach, got x > 30, which no place within 20 of"),
        (dict(exit=x > -0.9), "two step lengths.* with step lengths .0.0707.* for x > -0.9"),
        (dict(start=1j), "start must be an array of real numbers"),
        (dict(start="-1"), "start must be an array of real numbers"),
        (dict(barrier_shift="no"), "barrier_shift must be one of True, False"),
        (dict(max_time="3"), "max_time must be a finite real number"),
        (dict(max_time=-1), "max_time must be a finite real number, above 0, .* got -1"),
        (dict(max_time=np.inf), "max_time must be a finite real number, above 0, .* got inf"),
        (dict(threads=-1), "threads must be a whole number, 1 or more, got -1"),
        (dict(start=7), "start must lie in the box"),
        (dict(start=float("nan")), "start must be finite, got nan"),
        (dict(start=(0, 0)), "start must be an array of shape .1., got shape .2,."),
        (dict(start=1.5), "start must lie inside"),
        (dict(exit=True), "exit must be a SymPy relational"),
        (dict(exit=sp.Symbol("y") > 1), "got also {y}"),
        (dict(exit=sp.Eq(x, 1)), "a condition combines"),
    ],
)
def test_a_bad_argument_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        passage(**changes)


def test_ensemble_refuses_times_in_disorder_and_steps_that_diverge():
    options = dict(start=-1, walkers=10, seed=1)
    with pytest.raises(ValueError, match="times must be zero or positive, in order"):
        simulate.ensemble(WELL, WhiteNoise(0.25), step=0.1, times=[2, 1], **options)
    with pytest.raises(ValueError, match="diverged; take a smaller step than 3"):
        simulate.ensemble(WELL, WhiteNoise(0.25), step=3, times=[300], rule=simulate.sgd, **options)


def test_the_generated_constants_are_those_of_the_template():
    source = simulate.Problem(WELL, WhiteNoise(1), start=-1, exit=x > 1, step=0.1).program().source
    assert f"LANES, CHUNK = {program.LANES}, {program.CHUNK}\n" in source
