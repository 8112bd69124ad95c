"""The generated step: its functions are accurate, its streams independent, its code vectorised."""

import platform
import re
import subprocess
import sys

import numpy as np
import pytest
import sympy as sp
from numba import njit
from scipy import stats

from ddt_utils import catalog
from ddt_utils.landscape import Landscape
from ddt_utils.noise import StateDependentNoise, WhiteNoise
from ddt_utils.simulate import Problem, ensemble, program

x, y = sp.symbols("x y", real=True)


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
    1 / (1 + x**2),
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_the_step_moves_against_the_gradient(loss):
    well = Landscape(loss, (x,), name="test", box=((-10, 10),))
    for start in (-1.25, 0.375):
        options = dict(start=start, step=0.5, times=[0.5], walkers=1, seed=0)
        moved = ensemble(well, WhiteNoise(1e-30), **options)[0, 0, 0]
        slope = float(sp.diff(loss, x).subs(x, start))
        assert moved == pytest.approx(start - 0.5 * slope, rel=3e-7, abs=3e-7)


def test_an_unknown_function_is_named():
    well = Landscape(sp.gamma(x), (x,), name="test", box=((1, 3),))
    with pytest.raises(ValueError, match="no form for (gamma|polygamma)"):
        ensemble(well, WhiteNoise(1), start=2, step=0.1, times=[1], walkers=1, seed=0)


def test_a_logarithm_of_a_negative_number_is_not_a_number():
    noise = StateDependentNoise(sp.exp(sp.log(x) ** 2))
    well = Landscape(x**2, (x,), name="test", box=((-2, 2),))
    with pytest.raises(ValueError, match="5 of 5 diverged"):
        ensemble(well, noise, start=-1, step=0.1, times=[1], walkers=5, seed=0)


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


def test_a_sweep_over_numbers_compiles_once(problem):
    other = Problem(
        catalog.quartic(), WhiteNoise(0.125), start=-1.5, exit=x > 0.75, step=0.02
    ).program()
    assert other.source == problem.source
    assert other.module is problem.module
    assert other.parameters != problem.parameters


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
def test_the_step_is_vector_code(problem, tmp_path, monkeypatch):
    monkeypatch.setenv("DDT_UTILS_CACHE", str(tmp_path))
    fresh = program.load.__wrapped__(problem.source)
    i8, f4, u4 = (np.zeros((1, 4), t) for t in (np.int64, np.float32, np.uint32))
    lane, status = np.full(64, -1), np.zeros(1, np.int8)
    numbers = (np.uint64(0), np.int64(0), 2, 2.0, f4[0], f4[0])
    fresh.advance(0, i8[0], i8[0], lane, *numbers, i8[0], status, f4, u4)
    (assembly,) = fresh.advance.inspect_asm().values()
    packed = len(re.findall(r"\bv?(?:fn?m(?:add|sub)\d*ps|mulps)\b", assembly))
    scalar = len(re.findall(r"\bv?(?:fn?m(?:add|sub)\d*ss|mulss)\b", assembly))
    assert packed > 40
    assert scalar < packed / 10
    assert "vmaskmov" not in assembly  # masked stores cost dozens of cycles on some processors


SCRIPT = """
import hashlib, sympy as sp
from ddt_utils import catalog, noise, simulate
x, = catalog.quartic().variables
run = simulate.first_passage(catalog.quartic(), noise.StateDependentNoise(0.1 + x**2 / 10),
    start=-1, exit=sp.Or(x > 1, x < -2), step=0.02, walkers=300, seed=5, threads=1)
print(hashlib.sha256(run.times.tobytes() + run.states.tobytes()).hexdigest())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="emulates x86 machines")
def test_the_bits_are_the_same_on_other_instruction_sets(tmp_path):
    import os

    digests = set()
    for name, features in [(None, None), ("nocona", "+sse2"), ("haswell", "+avx2,+fma")]:
        environment = dict(os.environ, DDT_UTILS_CACHE=str(tmp_path / str(name)))
        if name:
            environment |= {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1


def test_a_cache_that_cannot_be_written_is_no_obstacle(problem, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("DDT_UTILS_CACHE", str(blocked))
    module = program.load.__wrapped__(problem.source + "\n# elsewhere\n")
    assert module.LANES == program.LANES
