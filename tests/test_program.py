"""The generated step: its functions are accurate, its streams independent, its code vectorised."""

import dataclasses
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from numba import njit
from scipy import stats

from ddt_utils import catalog
from ddt_utils.escape import DIVERGED, ESCAPED
from ddt_utils.landscape import Landscape
from ddt_utils.noise import (
    FactorNoise,
    HessianNoise,
    MinibatchNoise,
    StateDependentNoise,
    WhiteNoise,
)
from ddt_utils.simulate import (
    Problem,
    Run,
    Start,
    Step,
    cache,
    cpu,
    ensemble,
    first_passage,
    momentum,
    program,
    sgd,
)

x, y = sp.symbols("x y", real=True)
SILENT = FactorNoise([[0]])


@pytest.fixture(scope="module")
def problem():
    return Problem(catalog.quartic(), WhiteNoise(0.25), start=-1, exit=x > 1, step=0.01).program()


def ulps(approximate, exact):
    return np.max(np.abs(approximate - exact) / np.spacing(np.abs(exact).astype(np.float32)))


def apply(function, points):
    @njit
    def loop(points, values):
        for i in range(len(points)):
            values[i] = function(points[i])

    values = np.empty(len(points), np.float32)
    loop(points, values)
    return values


def test_logarithm_and_exponential_are_right_to_two_units_in_the_last_place(problem):
    a = np.exp(np.linspace(-17, 17, 20_001)).astype(np.float32)
    a = a[np.abs(a - 1) > 1e-3]  # next to 1 the logarithm is compared in absolute terms
    assert ulps(apply(problem.module.log, a), np.log(a.astype(float))) < 2
    near = np.linspace(0.999, 1.001, 1001).astype(np.float32)
    error = apply(problem.module.log, near) - np.log(near.astype(float))
    assert np.max(np.abs(error)) < 1e-9
    b = np.linspace(-80, 80, 20_001).astype(np.float32)
    assert ulps(apply(problem.module.exp, b), np.exp(b.astype(float))) < 2


@pytest.mark.parametrize("name", ["sin", "cos", "tanh"])
def test_sine_cosine_and_tanh_are_right_to_three_parts_in_ten_million(problem, name):
    a = np.linspace(-100, 100, 40_001).astype(np.float32)
    error = apply(getattr(problem.module, name), a) - getattr(np, name)(a.astype(float))
    assert np.max(np.abs(error)) < 3e-7


LOSSES = [
    x**4 / 4 - x**2 / 2,
    sp.exp(-(x**2)) + x**2,
    sp.log(1 + x**2),
    sp.sqrt(1 + x**2),
    sp.sin(x) + x**2 / 8,
    sp.cos(3 * x),
    sp.tanh(x),
    sp.Abs(x - 1) ** 3,
    sp.Max(x, x**2),
    sp.Min(x, x**2),
    sp.Piecewise((x**2, x < 0), (2 * x**2, x < 1), (4 * x - 2, True)),
    sp.Piecewise(  # continuous, with conditions joined by And and Or
        (x + (x + 1) * (x + 2), (x > -2) & (x <= -1)),
        (x + (x + 9) * (4 * x - 1) / 8, (x < -9) | (x >= sp.Rational(1, 4))),
        (x, True),
    ),
    1 / (1 + x**2),
    (2 + x**2) ** sp.Rational(13, 10),  # a real power
    (2 + x) ** -0.7,
    2**x + sp.Float(1.5) ** (-x),
    (1 + x**2) ** x,  # an exponent that depends on the place
    (1 + x + x**2 / 3) ** 4,  # powers of sums
    (x - 3) ** 5 / 700 + (x**2 + 2) ** -3,
    (2 + x) ** sp.Rational(-3, 2) + (3 + x) ** sp.Rational(5, 2),
    x**2.0 / 3 + (x + 5) ** -1.5,  # powers that are whole or half, but not as SymPy's integers
    x * sp.Abs(x) + sp.Max(x, 0) ** 3,
    sp.exp(-x) * sp.sin(3 * x) / (2 + sp.cos(x)) - sp.tanh(2 * x) * sp.log(3 + x),
    sp.Max(x, x**2, sp.Rational(1, 5)) - sp.Min(2 * x, sp.Abs(x), 1),
    sp.Abs(sp.sin(x)) / (x - 7),
    sp.pi * x - sp.sqrt(2) * x**2 / 3,
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_the_step_moves_against_the_gradient(loss):
    well = Landscape(loss, (x,), name="test", box=((-1.5, 1.5),))
    for start in (-1.25, 0.375):
        options = dict(start=start, step=0.5, times=[0.5], walkers=1, seed=0, rule=sgd)
        moved = ensemble(well, SILENT, **options)[0, 0, 0]
        slope = float(sp.diff(loss, x).subs(x, start))
        assert moved == pytest.approx(start - 0.5 * slope, rel=3e-7, abs=3e-7)


@pytest.mark.parametrize("start", [-1.25, 0.001, 0.375])
def test_a_small_step_is_not_lost(start):
    """One step of 10⁻⁵ ends within a unit in the last place of the step in float64."""
    loss = x**4 / 4 - x**2 / 2 + sp.Rational(1, 7) * x**3 + sp.exp(x) / 3 + x / 11
    well = Landscape(loss, (x,), name="test", box=((-1.5, 1.5),))
    slope = sp.lambdify(x, sp.diff(loss, x), "numpy")
    options = dict(start=start, step=1e-5, times=[1e-5, 2e-5], walkers=1, seed=0)
    places = ensemble(well, SILENT, **options)[:, 0, 0]
    before = np.float32(start)
    for place in places:
        exact = float(before) - 1e-5 * slope(float(before))
        assert place != before
        assert abs(place - exact) <= np.spacing(np.abs(place))
        before = place


def test_what_is_constant_is_worked_out_in_double_precision():
    loss = sp.exp(sp.Rational(1, 3)) * x / 7 - sp.sqrt(2) * x**2 / 11
    well = Landscape(loss, (x,), name="test", box=((-10, 10),))
    problem = Problem(well, WhiteNoise(0.3), start=0, exit=x > sp.pi, step=0.1)
    found = np.array(problem.program().parameters)
    shift = 0.5825971579390106 * np.sqrt(2 * 0.1 * 0.3)
    for exact in (np.exp(1 / 3) / 7, -2 * np.sqrt(2) / 11, np.sqrt(2 * 0.1 * 0.3), shift - np.pi):
        assert np.min(np.abs(found / exact - 1)) < 1e-14


@pytest.mark.parametrize("name", ["tan", "asinh", "sinh", "floor"])
def test_an_unknown_function_is_named(name):
    well = Landscape(0 * x, (x,), name="test", box=((1, 3),))
    noise = StateDependentNoise(1 + getattr(sp, name)(x) ** 2)
    with pytest.raises(ValueError, match=f"no form for {name}, in .*knows sums.*tanh"):
        ensemble(well, noise, start=2, step=0.1, times=[1], walkers=1, seed=0)


def test_a_piecewise_without_a_default_is_refused():
    well = Landscape(0 * x, (x,), name="test", box=((1, 3),))
    noise = StateDependentNoise(sp.Piecewise((x, x > 0), (2, x < -1)))
    with pytest.raises(ValueError, match="must end in .expression, True., got"):
        ensemble(well, noise, start=2, step=0.1, times=[1], walkers=1, seed=0)


@pytest.mark.parametrize("side", [(-2, 0.5), (-0.5, 2)])
@pytest.mark.parametrize("axis", [0, 1])
def test_any_coordinate_beyond_the_bound_diverges(axis, side):
    """The bound is ten times the farthest side of the box, here 20, or what is asked for."""
    slope = Landscape(-(x, y)[axis], (x, y), name="slope", box=(side, (-1, 1.5)))
    for end, bound, status, when in [
        (18.5, None, ESCAPED, 19),
        (19.5, None, ESCAPED, 20),  # beyond the bound, but out
        (21.5, None, DIVERGED, 20),
        (21.5, 30, ESCAPED, 22),
        (21.5, 7.5, DIVERGED, 8),
    ]:
        run = first_passage(
            slope,
            FactorNoise([[0], [0]]),
            start=(0, 0),
            exit=(x, y)[axis] > end,
            step=1,
            walkers=3,
            seed=1,
            max_time=100,
            bound=bound,
        )
        assert np.all(run.status == status)
        assert np.all(run.times == when)


def test_a_step_that_is_not_a_number_is_refused_at_the_start_and_diverges_later():
    noise = StateDependentNoise(sp.exp(sp.log(x) ** 2))
    well = Landscape(x**2, (x,), name="test", box=((0.05, 2),))
    with pytest.raises(ValueError, match="[1-5] of 5 diverged"):
        ensemble(well, noise, start=0.1, step=0.1, times=[20], walkers=5, seed=0)

    def rule(landscape, noise, dt):
        return Step((x,), (x + dt * sp.log(x - 1),), physical=True)

    with pytest.raises(ValueError, match=r"first step from \[0.5\] must be a number.*nan"):
        ensemble(well, SILENT, start=0.5, step=0.1, times=[1], walkers=5, seed=0, rule=rule)


def test_the_shift_is_towards_the_walker_for_every_interface():
    diffusion = sp.Matrix([[0.2, 0], [0, 0.5]])
    reach = 0.5825971579390106 * np.sqrt(2 * 0.01)
    moved = program.shifted(sp.Or(x > 1, y < -2), (x, y), diffusion).subs(program.DT, 0.01)
    at = {x: 1 - 0.99 * reach * np.sqrt(0.2), y: 0}
    assert moved.subs(at) == sp.true
    assert moved.subs({**at, x: 1 - 1.01 * reach * np.sqrt(0.2)}) == sp.false
    at = {x: 0, y: -2 + 0.99 * reach * np.sqrt(0.5)}
    assert moved.subs(at) == sp.true
    assert moved.subs({**at, y: -2 + 1.01 * reach * np.sqrt(0.5)}) == sp.false
    steep = program.shifted(3 * x > 3, (x, y), diffusion).subs(
        program.DT, 0.01
    )  # a scaled g is the same interface
    assert steep.subs(x, 1 - 0.99 * reach * np.sqrt(0.2)) == sp.true
    assert steep.subs(x, 1 - 1.01 * reach * np.sqrt(0.2)) == sp.false


def uniforms(module, seed, walkers, draws):
    draw, seeds = module.draw, module.seeds

    @njit
    def loop(seed, out):
        for w in range(out.shape[0]):
            a, b, c, d = seeds(seed, w)
            for k in range(out.shape[1]):
                out[w, k], a, b, c, d = draw(a, b, c, d)

    out = np.empty((walkers, draws), np.uint32)
    loop(np.uint64(seed), out)
    return out


def test_streams_of_neighbouring_walkers_and_seeds_are_unrelated(problem):
    here, there = (uniforms(problem.module, seed, 2000, 500) for seed in (0, 1))
    words = np.concatenate([here.ravel(), there.ravel()])
    pairs = 2e6**2 / 2 / 2**32  # expected number of equal words among two million
    repeats = len(words) - len(np.unique(words))
    assert abs(repeats - pairs) < 4.5 * np.sqrt(pairs)
    windows = here[:, :-1].astype(np.uint64) << np.uint64(32) | here[:, 1:]
    assert len(np.unique(windows)) == windows.size  # no stretch of one stream occurs in another
    u, v = here / 2**32 - 0.5, there / 2**32 - 0.5
    size = 1 / np.sqrt(12)
    for a, b in [(u[1:], u[:-1]), (u, v), (u[:, 1:], u[:, :-1])]:
        correlation = np.mean(a * b) / size**2
        assert abs(correlation) < 4.42 / np.sqrt(a.size)  # alarm 1e-5
    counts = np.bincount((here >> 24).ravel(), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-5


def test_normals_have_normal_moments_tails_and_independent_halves(problem):
    """Alarms at 1e-5 each, from a million pairs."""
    pair = problem.module.normal_pair

    @njit
    def loop(words, out):
        for i in range(words.shape[0]):
            out[i, 0], out[i, 1] = pair(words[i, 0], words[i, 1])

    words = uniforms(problem.module, 7, 1000, 2000).reshape(-1, 2)
    z = np.empty(words.shape, np.float32)
    loop(words, z)
    z = z.astype(float)
    n = z.size
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs(np.mean(z**power) - moment) < 4.42 * np.sqrt(variance / n)
    for a, b in [(z[:, 0], z[:, 1]), (z[1:, 0], z[:-1, 1])]:
        assert abs(np.mean(a * b)) < 4.42 / np.sqrt(len(a))
    assert abs(np.mean((z[:, 0] ** 2 - 1) * (z[:, 1] ** 2 - 1))) < 4.42 * 2 / np.sqrt(len(z))
    edges = np.concatenate([[-np.inf], np.linspace(-4, 4, 81), [np.inf]])
    counts = np.histogram(z, edges)[0]
    assert stats.chisquare(counts, n * np.diff(stats.norm.cdf(edges))).pvalue > 1e-5
    assert stats.binomtest(int(np.sum(np.abs(z) > 4.5)), n, 2 * stats.norm.sf(4.5)).pvalue > 1e-5


def test_the_normals_end_where_the_smallest_uniform_number_says(problem):
    """u = 2⁻³² gives √(64 ln 2) = 6.66; the smallest hundred u are (j + ½)/2³¹, all different."""
    pair, uniform = problem.module.normal_pair, problem.module.uniform
    for j in (0, 1, 2, 7, 99):
        for low in (0, 1):  # the lowest bit of a draw is not used
            word = np.uint32(2 * j + low)
            assert uniform(word) == np.float32((j + 0.5) / 2**31)
            radius = pair(word, np.uint32(0))[0]
            assert radius == pytest.approx(np.sqrt(-2 * np.log((j + 0.5) / 2**31)), rel=1e-6)
    assert pair(np.uint32(0), np.uint32(0))[0] == pytest.approx(np.sqrt(64 * np.log(2)), rel=1e-6)
    assert uniform(np.uint32(2**32 - 1)) == 1 and pair(np.uint32(2**32 - 1), np.uint32(5))[0] == 0


def test_tails_beyond_five_deviations_have_their_share(problem):
    """2⁻¹⁸ of all first words have u < 2⁻¹⁸; among them the law of the radius is exact: u/2⁻¹⁸."""
    words = np.arange(0, 2**14, 3, dtype=np.uint32)
    radius = apply_pair(problem.module.normal_pair, words)
    share = np.exp(-(radius.astype(float) ** 2) / 2) * 2**32
    assert np.max(np.abs(share / (words // 2 * 2 + 1) - 1)) < 3e-5
    assert np.min(radius) > 4.99


def apply_pair(pair, words):
    @njit
    def loop(words, out):
        for i in range(len(words)):
            out[i] = pair(words[i], np.uint32(0))[0]

    out = np.empty(len(words), np.float32)
    loop(words, out)
    return out


def test_a_sweep_over_numbers_compiles_once(problem):
    other = Problem(
        catalog.quartic(), WhiteNoise(0.125), start=-1.5, exit=x > 0.75, step=0.02
    ).program()
    assert other.source == problem.source
    assert other.module is problem.module
    assert other.parameters != problem.parameters


def minibatch_problem(samples, size, replacement, rule=sgd, **options):
    losses = tuple(x**4 / 4 - x**2 / 2 + (i + 0.5 - samples / 2) * x for i in range(samples))
    well = Landscape(sp.expand(sum(losses) / samples), (x,), name="mean", box=((-2, 2),))
    noise = MinibatchNoise(losses, 0.1, size, replacement)
    return Problem(well, noise, start=-1, exit=x > 0, step=0.1, rule=rule, **options)


def problem_of(landscape, noise, start, exit, **options):
    return Problem(landscape, noise, start=start, exit=exit, step=0.01, **options)


TURNED = catalog.rotated_double_well()
STEEP = catalog.styblinski_tang()
PIECES = catalog.piecewise_well(curvature_minimum=4, curvature_saddle=1, barrier=1)
FULL = StateDependentNoise(sp.Matrix([[2 + x**2, x * y], [x * y, 1 + y**2]]) / 8)
EVERYTHING = Landscape(
    sp.log(2 + sp.sin(x)) + sp.exp(-(x**2)) + sp.tanh(x) + (1 + x**2) ** sp.Rational(6, 5) / 2,
    (x,),
    name="everything",
    box=((-2, 2),),
)
KERNELS = {
    "quartic": lambda: problem_of(catalog.quartic(), WhiteNoise(0.25), -1, x > 0),
    "multiplicative": lambda: problem_of(
        catalog.quartic(), StateDependentNoise(0.1 + x**2 / 10), -1, sp.Or(x > 0, x < -2)
    ),
    "Müller–Brown": lambda: problem_of(
        catalog.mueller_brown(scale=0.01), WhiteNoise(0.1), (-0.55, 1.44), y < 0.5
    ),
    "Styblinski–Tang": lambda: problem_of(
        STEEP, WhiteNoise(1), [-2.9] * 10, sp.Or(*(v > 0 for v in STEEP.variables))
    ),
    "full matrix": lambda: problem_of(TURNED, FULL, (-0.8, -0.5), x**2 + y**2 < 0.1),
    "minibatch of 4 samples": lambda: minibatch_problem(4, 3, True),
    "minibatch of 5 samples": lambda: minibatch_problem(5, 2, True),
    "minibatch without replacement": lambda: minibatch_problem(5, 2, False),
    "momentum": lambda: problem_of(
        TURNED, WhiteNoise(0.25), (-0.8, -0.5), x > 0, rule=momentum(0.5)
    ),
    "pieces": lambda: problem_of(PIECES, HessianNoise(0.5, 1), -1.5, x > 0),
    "everything": lambda: problem_of(EVERYTHING, WhiteNoise(0.25), 0.5, x > 1),
}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize("name", KERNELS)
def test_the_step_is_vector_code(name, tmp_path, monkeypatch):
    """All floating-point arithmetic and all shifts of the generator are on whole vectors.

    Apart from the clock, and at an inspection the distance of one walker that is done and whether
    it is out.
    """
    monkeypatch.setenv("DDT_UTILS_CACHE", str(tmp_path))
    problem = KERNELS[name]()
    fresh = cache.load.__wrapped__(problem.program().source)
    i8, f4, u4 = (np.zeros((1, 4), t) for t in (np.int64, np.float32, np.uint32))
    lane, status = np.full(program.LANES, -1), np.zeros(1, np.int8)
    numbers = (np.uint64(0), np.int64(0), 2, f4[0], f4[0])
    fresh.advance(0, i8[0], i8[0], lane, *numbers, i8[0], status, f4, u4)
    (assembly,) = fresh.advance.inspect_asm().values()
    operation = r"^\s+v?(?:fn?m(?:add|sub)\d*|add|sub|mul|div|sqrt)"
    packed = len(re.findall(operation + r"ps\b", assembly, re.MULTILINE))
    scalar = len(re.findall(operation + r"ss\b", assembly, re.MULTILINE))
    assert packed > 20
    (out,) = re.findall(r"(?s)n0 = s0\[l\]\n(.*?)there =", problem.program().source)
    assert scalar <= len(re.findall(r"(?m)^ +(?:v\d+|reach) =", out)) + 2
    assert re.search(r"^\s+v?pslld\s+\$9\b", assembly, re.MULTILINE)  # of xoshiro128+
    assert not re.search(r"^\s+shll\s+\$9\b", assembly, re.MULTILINE)
    assert not re.search(r"\b(?:fma|exp|exp2|log|sin|cos|tanh|pow|sqrt)f?\b", assembly)
    assert "vmaskmov" not in assembly  # masked stores cost dozens of cycles on some processors


WHOLE = """
import re, numpy as np
from ddt_utils.simulate import program
from tests.test_program import KERNELS
i8, f4, u4 = (np.zeros((1, 4), t) for t in (np.int64, np.float32, np.uint32))
numbers = (np.uint64(0), np.int64(0), 2, f4[0], f4[0])
arguments = (0, i8[0], i8[0], np.full(program.LANES, -1), *numbers, i8[0], np.zeros(1, np.int8))
for name in ("quartic", "Müller–Brown"):
    advance = KERNELS[name]().program().module.advance
    advance.compile(tuple(advance.typeof_pyval(value) for value in (*arguments, f4, u4)))
    (assembly,) = advance.inspect_asm().values()
    arithmetic = re.findall(r"^\\s+v(?:fn?m|add|sub|mul|sqrt)\\S*ps\\b.*", assembly, re.MULTILINE)
    print(sum("%zmm" in line for line in arithmetic), sum("%ymm" in line for line in arithmetic))
    moved = re.findall(r"^\\s+vmov(\\w+)\\s.*%rsp.*%zmm", assembly, re.MULTILINE)
    print(sum(kind in ("aps", "dqa64", "dqa32") for kind in moved), len(moved))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
def test_with_avx512_whole_registers_are_used_and_begin_at_cache_lines(tmp_path):
    """Compiled, not run, for a processor on which the compiler would prefer half registers."""
    environment = dict(os.environ, DDT_UTILS_CACHE=str(tmp_path), NUMBA_CPU_FEATURES="")
    environment["NUMBA_CPU_NAME"] = "icelake-server"
    root = Path(__file__).parent.parent
    run = subprocess.run(
        [sys.executable, "-c", WHOLE], env=environment, capture_output=True, cwd=root, text=True
    )
    assert run.returncode == 0, run.stderr
    for whole, half in np.reshape([int(n) for n in run.stdout.split()], (2, 2, 2))[:, 0]:
        assert whole > 50 and half == 0
    for aligned, moves in np.reshape([int(n) for n in run.stdout.split()], (2, 2, 2))[:, 1]:
        assert moves > 10 and aligned == moves


def epochs(landscape, noise, dt):
    """Reshuffled minibatches from scattered places, with steps of dt/(1 + k)."""
    step, (k, z) = sgd(landscape, noise, dt), sp.symbols("k z", real=True)
    (u,) = landscape.variables
    batch = dataclasses.replace(step.batch, reshuffled=True)
    start = Start(((u, u + z / 8),), normals=(z,))
    return dataclasses.replace(step, batch=batch, start=start, iteration=k, duration=dt / (1 + k))


MACHINES = """
import hashlib, sympy as sp
from ddt_utils import simulate
from ddt_utils.simulate import momentum
from tests.test_program import EVERYTHING, FULL, TURNED, minibatch_problem, problem_of, x, y
from tests.test_program import epochs
from ddt_utils.noise import StateDependentNoise
problems = [
    problem_of(EVERYTHING, StateDependentNoise(sp.sqrt(1 + x**2)), 0.5, x > 1),
    problem_of(TURNED, FULL, (-0.8, -0.5), x > 0, rule=momentum(0.5)),
    minibatch_problem(4, 2, True, max_time=20),
    minibatch_problem(5, 3, False, momentum(0.5), max_time=20),
    minibatch_problem(4, 2, False, epochs, max_time=20),
]
for problem in problems[{}]:
    run = simulate.Run(problem, walkers=200, seed=5, threads=1).finish().result()
    assert run.escaped + run.censored == 200
    print(hashlib.sha256(run.times.tobytes() + run.states.tobytes()).hexdigest())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="emulates x86 machines")
@pytest.mark.parametrize(("which", "count"), [(":1", 1), ("1:", 4)])
def test_the_bits_are_the_same_on_other_instruction_sets(which, count, tmp_path):
    """With wider registers, and with fused products, which the compiler must not make of others."""
    processes = []
    for name, features in [(None, None), ("nocona", "+sse2"), ("haswell", "+avx2,+fma")]:
        environment = dict(os.environ, DDT_UTILS_CACHE=str(tmp_path / str(name)))
        if name:
            environment |= {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
        command = [sys.executable, "-c", MACHINES.format(which)]
        root = Path(__file__).parent.parent
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, cwd=root, text=True)
        )
    outputs = [process.communicate(timeout=300)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(set(outputs[0])) == count
    assert outputs[1] == outputs[0] and outputs[2] == outputs[0]


@pytest.mark.parametrize(("lanes", "chunk"), [(16, 64), (128, 2)])
def test_lanes_and_chunks_change_no_bit(lanes, chunk, monkeypatch):
    """An odd number of normals, momentum, a minibatch, censored walkers; and an ensemble."""

    def results():
        odd = problem_of(catalog.quartic(), WhiteNoise(0.25), -1, x > 0, max_time=6)
        heavy = minibatch_problem(5, 3, False, momentum(0.5))
        runs = [Run(p, walkers=333, seed=5).finish().result() for p in (odd, heavy)]
        assert runs[0].censored > 10 and runs[0].escaped > 10
        # an odd number of steps in all: a normal is left over when the next lanes begin
        options = dict(start=-1, step=0.01, times=[0.01, 0.51], walkers=333, seed=6, threads=2)
        free = ensemble(catalog.quartic(), WhiteNoise(0.25), **options)
        return [free] + [a for r in runs for a in (r.times, r.status, r.states)]

    expected = results()
    for module in (program, cpu):
        monkeypatch.setattr(module, "LANES", lanes)
        monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(cpu.CPU, "slice_steps", 5 * chunk)
    source = problem_of(catalog.quartic(), WhiteNoise(0.25), -1, x > 0).program().source
    assert f"LANES, CHUNK = {lanes}, {chunk}\n" in source
    for one, other in zip(expected, results(), strict=True):
        assert np.array_equal(one, other)


def test_a_cache_that_cannot_be_written_is_no_obstacle(problem, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("DDT_UTILS_CACHE", str(blocked))
    module = cache.load.__wrapped__(problem.source + "\n# elsewhere\n")
    assert module.LANES == program.LANES


def test_the_cache_may_be_in_ones_home(problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DDT_UTILS_CACHE", "~/kept")
    cache.load.__wrapped__(problem.source + "\n# at home\n")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
