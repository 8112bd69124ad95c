"""The CUDA kernel has the bits of the CPU, in numba's simulator and on a GPU where there is one."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from numba import njit, types

from ddt_utils import catalog, noise, simulate
from ddt_utils.landscape import Landscape
from ddt_utils.simulate import cache, cuda, soft

x, y = sp.symbols("x y", real=True)
TILTS = ((0.6, 0.1), (-0.5, -0.2), (0.3, 0.15), (-0.4, -0.05))


def well(loss, variables=(x,), reach=3):
    return Landscape(loss, variables, name="test", box=((-reach, reach),) * len(variables))


def problems():
    """Problems that together use every part of the generated step."""
    quartic = catalog.quartic()
    losses = [quartic.expression + a * x + b * x**2 for a, b in TILTS]
    mean = well(sp.expand(sum(losses) / 4))
    functions = sp.sin(x) + sp.cos(3 * x) + sp.tanh(x) + sp.exp(-(x**2)) + sp.sqrt(1 + x**2)
    functions += sp.log(1 + x**2) + 1 / (1 + x**2) + sp.Abs(x) ** 3 + (1 + x**2) ** sp.Float(0.7)
    plane = well(quartic.expression + y**2, (x, y))
    full = sp.Matrix([[1 + x**2, x * y / 2], [x * y / 2, 1 + y**2]])
    names = sp.symbols("q:3", real=True)
    space = well(sum(q**4 / 4 - q**2 / 2 for q in names), names)
    u = catalog.mueller_brown().variables[0]
    pieces = sp.Piecewise((x**2, x < 0), (sp.Max(x, x**2), True)) + sp.Min(x, 1) / 4

    def uneven(landscape, kick, dt):
        """SGD that multiplies each step by a uniform number."""
        step, size = simulate.sgd(landscape, kick, dt), sp.Dummy("size", real=True)
        moved = tuple(a + size * (b - a) for a, b in zip(step.state, step.update, strict=True))
        return replace(step, update=moved, uniforms=(size,))

    def scattered(landscape, kick, dt):
        """A walk that begins with a normal and a uniform number."""
        step, (a, u) = simulate.euler_maruyama(landscape, kick, dt), sp.symbols("a u", real=True)
        law = simulate.Start(((x, x + a / 5 + u / 8),), normals=(a,), uniforms=(u,))
        return replace(step, start=law)

    def epochs(landscape, kick, dt):
        """Reshuffled minibatches with momentum and a schedule."""
        step, k = simulate.momentum(0.75)(landscape, kick, dt), sp.Symbol("k", real=True)
        batch = replace(step.batch, reshuffled=True)
        return replace(step, batch=batch, iteration=k, duration=dt / (1 + k))

    def weighted(landscape, kick, dt):
        """Minibatches with samples that are drawn more or less often."""
        step = simulate.sgd(landscape, kick, dt)
        return replace(step, batch=replace(step.batch, weights=(0.35, 0.2, 0.05, 0.4)))

    def minibatch(size, replacement):
        return noise.MinibatchNoise(losses, 0.5, size, replacement=replacement)

    white, sgd = noise.WhiteNoise, dict(rule=simulate.sgd, step=0.5, max_time=50)
    return {
        "quartic": (quartic, white(1), dict(start=0, exit=x > 1, step=0.02, max_time=2)),
        "two exits, D(x)": (
            quartic,
            noise.StateDependentNoise(1 + x**2),
            dict(start=0, exit=sp.Or(x > 1, x < -2), step=0.02, max_time=2),
        ),
        "every function": (
            well(functions),
            white(1),
            dict(start=0, exit=x > 1, step=0.02, max_time=1),
        ),
        "full D(x, y)": (
            plane,
            noise.StateDependentNoise(full),
            dict(start=(0, 0), exit=x > 1, step=0.02, max_time=1),
        ),
        "three dimensions": (
            space,
            white(0.5),
            dict(start=(-1, 1, -1), exit=names[0] ** 2 + names[1] ** 2 > 4, step=0.05, max_time=4),
        ),
        "Mueller-Brown": (
            catalog.mueller_brown(),
            white(40),
            dict(start=(0, 0.5), exit=u > 0.3, step=1e-4, max_time=5e-3),
        ),
        "minibatches": (mean, minibatch(2, True), dict(start=-1, exit=x > -0.5, **sgd)),
        "minibatches without replacement": (
            mean,
            minibatch(2, False),
            dict(start=-1, exit=x > -0.7, **sgd),
        ),
        "epochs, a clock, an exit by velocity and time": (
            mean,
            minibatch(2, False),
            dict(
                start=-1,
                exit=(sp.Symbol("velocity0") > 0.4) | (sp.Symbol("time") > 1.9) & (x > -1),
                **sgd | dict(rule=epochs),
            ),
        ),
        "weighted minibatches": (
            mean,
            minibatch(3, True),
            dict(start=-1, exit=x > -0.5, **sgd | dict(rule=weighted)),
        ),
        "minibatches of five, uniform numbers, pieces": (
            well(pieces),
            noise.MinibatchNoise([pieces + k * x for k in range(-2, 3)], 0.5, 3),
            dict(start=0.5, exit=x > 1, rule=uneven, step=0.5, max_time=50),
        ),
        "momentum": (
            quartic,
            white(0.2),
            dict(start=-1, exit=x > 0, step=0.05, max_time=4, rule=simulate.momentum(0.9)),
        ),
        "averages of jumps": (
            quartic,
            white(0.05),
            dict(
                start=-1,
                exit=x > 0,
                step=0.1,
                max_time=5,
                rule=simulate.adal(rule=simulate.stable(1.5)),
            ),
        ),
        "memory": (
            quartic,
            white(0.2),
            dict(
                start=-1,
                exit=x > 0,
                step=0.05,
                max_time=3,
                rule=simulate.fractional(0.3, memory=10),
            ),
        ),
        "a law of the start": (
            quartic,
            white(1),
            dict(start=-1, exit=x > 1, step=0.02, max_time=2, rule=scattered),
        ),
        "divergence": (
            well(quartic.expression, reach=2),
            white(1),
            dict(start=-1, exit=(x > 3) & (x < 4), step=0.5, max_time=20),
        ),
    }


def follow(name, device, walkers):
    """Everything about the walkers at the end, as bytes; NaN of any sign is NaN."""
    landscape, kick, options = problems()[name]
    problem = simulate.Problem(landscape, kick, **options)
    run = simulate.Run(problem, walkers=walkers, seed=3, device=device).finish()
    pool = run._pool
    state = np.where(np.isnan(pool.state), np.float32(np.nan), pool.state)
    parts = pool.steps, pool.status, state, pool.words
    return [np.ascontiguousarray(part).tobytes().hex() for part in parts], pool.status.tolist()


SIMULATED = """
import json, sys, warnings
import numpy as np
from tests.test_cuda import follow, problems
np.seterr(over="ignore")
warnings.simplefilter("ignore")
json.dump({name: follow(name, "cuda", 24) for name in problems()}, sys.stdout)
"""


@pytest.fixture(scope="module")
def simulated(cuda_simulator):
    """What the kernels give in numba's CUDA simulator."""
    return json.loads(cuda_simulator(SIMULATED))


@pytest.mark.parametrize("name", problems())
def test_the_cuda_kernel_gives_the_bits_of_the_cpu(simulated, name):
    """Steps, outcomes, places and random streams of every walker."""
    here, status = follow(name, "cpu", 24)
    assert simulated[name][1] == status
    assert simulated[name][0] == here


def test_between_them_the_problems_end_in_every_way(simulated):
    assert {s for _, status in simulated.values() for s in status} == {1, 2, 3}


@pytest.mark.skipif(not cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("name", problems())
def test_a_gpu_gives_the_bits_of_the_cpu(name):
    assert follow(name, "cuda", 50_000) == follow(name, "cpu", 50_000)


def operations(source, **options):
    """The single-precision operations in the kernel's assembly for an H100, in order.

    Needs NVVM, but no GPU.
    """
    from numba.cuda import compile_ptx
    from numba.cuda.cudadrv import nvvm

    try:
        nvvm.NVVM()
    except Exception as error:
        pytest.skip(f"no NVVM to compile with: {error}")
    i1, i4, i8 = types.int8[::1], types.uint32[:, ::1], types.int64[::1]
    f1, f2 = types.float32[::1], types.float32[:, ::1]
    numbers = types.uint64, types.int64, types.int64
    signature = (types.int64, i8, i8, *numbers, f1, f1, i8, i1, f2, i4)
    original = nvvm.compile_ir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nvvm, "compile_ir", lambda code, **given: original(code, **given | options))
        kernel = cache.load(source).advance.py_func
        ptx = compile_ptx(kernel, signature, cc=(9, 0))[0]
    found = re.findall(r"\b(fma|mul|add|sub|div|sqrt)((?:\.\w+)*)\.f32", ptx)
    assert not any("ftz" in how or "approx" in how for _, how in found)
    assert all(".rn" in how for what, how in found if what in ("fma", "div", "sqrt"))
    return [what for what, _ in found]


@pytest.mark.parametrize("name", ["quartic", "every function"])
def test_the_compiler_of_the_gpu_fuses_nothing_of_its_own(name):
    """With fusion switched off the assembly has the same operations; roots and quotients round.

    Not so if the step were written with plain products and sums.
    """
    landscape, kick, options = problems()[name]
    source = simulate.Problem(landscape, kick, **options).program("cuda").source
    assert operations(source) == operations(source, fma=0)
    if name != "quartic":
        return
    assert operations(source).count("fma") > 15
    fused = "return builder.fma(*arguments)"
    assert source.count(fused) == 1
    plain = source.replace(
        fused, "a, b, c = arguments\n            return builder.fadd(builder.fmul(a, b), c)"
    )
    assert operations(plain) != operations(plain, fma=0)


def test_the_simulator_s_multiply_add_rounds_once():
    """Against the intrinsic of the CPU, halfway cases, tiny and infinite numbers included."""
    module = (
        simulate.Problem(catalog.quartic(), noise.WhiteNoise(1), start=0, exit=x > 1, step=0.1)
        .program()
        .module
    )
    fma = module.fma

    @njit
    def loop(a, b, c, out):
        for i in range(len(a)):
            out[i] = fma(a[i], b[i], c[i])

    rng = np.random.default_rng(1)
    a, b, c = rng.integers(0, 2**32, (3, 20_000), np.uint32).view(np.float32)
    small = rng.integers(-(2**12), 2**12, (3, 20_000)).astype(np.float32)
    near = small * np.float32(2.0) ** rng.integers(-30, 30, (3, 20_000)).astype(np.float32)
    half = -small[0] * small[1] * (1 + np.float32(2.0**-24) * rng.integers(-3, 4, 20_000))
    a, b, c = (
        np.concatenate(v)
        for v in (
            (a, near[0], small[0]),
            (b, near[1], small[1]),
            (c, near[2], half.astype(np.float32)),
        )
    )
    out = np.empty_like(a)
    loop(a, b, c, out)
    found = np.array([soft.fma(*t) for t in zip(a, b, c, strict=True)], np.float32)
    number = ~np.isnan(out)
    assert np.array_equal(np.isnan(found), ~number)
    assert np.array_equal(found[number].view(np.int32), out[number].view(np.int32))


def test_without_a_gpu_cuda_is_refused_with_a_remedy_and_auto_takes_the_cpu(monkeypatch):
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    landscape, kick, options = problems()["quartic"]
    problem = simulate.Problem(landscape, kick, **options)
    with pytest.raises(RuntimeError, match="numba-cuda.*the same, to the bit"):
        simulate.Run(problem, walkers=5, seed=1, device="cuda")
    assert simulate.Run(problem, walkers=5, seed=1, device="auto").finish().done == 5
    with pytest.raises(ValueError, match="'cpu', 'cuda', 'auto', got 'gpu'"):
        simulate.Run(problem, walkers=5, seed=1, device="gpu")
