"""One contestant in a process of its own: ``python contestants.py NAME THREADS``.

It reads one job a line as JSON from standard input, {problem, mode, walkers, seed, budget}, and
answers with one line. The modes:

absorption  every walker is followed to its exit, and its time is kept;
steady      the number of walkers at work stays the same, an absorbed one is replaced, for about
            ``budget`` seconds; what a step costs when nobody waits for the slowest walker;
free        steps without absorption, for about ``budget`` seconds: random numbers and drift alone.

``useful`` counts the walker-steps before absorption, ``executed`` all of them.
"""

import ctypes
import importlib
import json
import math
import os
import sys
import time
from functools import partial

import numpy as np
from guarantees import GUARANTEES, without
from problems import NAMES, PROBLEMS, WELLS

WINDOW = 64  # steps between two looks at who has left, where a contestant works in windows
LONG = 4000  # steps of one call without absorption, where a call has a cost of its own
LOST = 10**6  # steps after which a walker has lost its way: more than a hundred mean times


class Contestant:
    """What every contestant offers; each method returns (executed, useful, times in steps)."""

    steps = WINDOW

    def __init__(self, threads):
        self.threads = threads

    def warm(self, problem, mode, walkers):
        """Compile."""

    def absorption(self, problem, walkers, seed):
        raise NotImplementedError

    def window(self, problem, mode, walkers, seed):
        """Make a function that advances a standing population by ``self.steps`` steps."""
        raise NotImplementedError

    def run(self, problem, mode, walkers, seed, budget):
        if mode == "absorption":
            return self.absorption(problem, walkers, seed)
        advance = self.window(problem, mode, walkers, seed)
        advance()
        begin = time.perf_counter()
        advance()
        repeats = max(1, int(budget / (time.perf_counter() - begin)))
        begin, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            advance()
        self.clock = time.perf_counter() - begin, time.process_time() - cpu
        executed = repeats * self.steps * walkers
        return executed, executed, None


# ---------------------------------------------------------------------------- the book's engine


class Ours(Contestant):
    """The package, reached through ``first_passage`` and ``ensemble`` only."""

    steps = LONG

    def __init__(self, threads):
        super().__init__(threads)
        self.known = {}

    def arguments(self, problem):
        import sympy as sp

        from ddt_utils import catalog, noise

        if problem not in self.known:
            p = PROBLEMS[problem]
            landscape = {
                "quartic": catalog.quartic,
                "multiplicative": catalog.quartic,
                "mueller_brown": lambda: catalog.mueller_brown(scale=sp.Rational(1, 100)),
                "styblinski_tang": catalog.styblinski_tang,
            }[problem]()
            v = landscape.variables
            model, exit = noise.WhiteNoise(p.diffusion), v[0] > 1
            if problem == "multiplicative":
                model = noise.StateDependentNoise(sp.Float(p.diffusion) * (1 + v[0] ** 2))
            elif problem == "mueller_brown":
                exit = v[1] < sp.Rational(1, 4)
            elif problem == "styblinski_tang":
                exit = sp.Or(*(t < 0 for t in v))
            self.known[problem] = landscape, model, exit, p
        return self.known[problem]

    def absorption(self, problem, walkers, seed):
        from ddt_utils.simulate import first_passage

        landscape, model, exit, p = self.arguments(problem)
        result = first_passage(
            landscape,
            model,
            start=p.start,
            exit=exit,
            step=p.step,
            walkers=walkers,
            seed=seed,
            max_time=p.step * LOST,
            barrier_shift=False,
            threads=self.threads,
        )
        if result.censored:
            raise ValueError(f"every walker must leave, got one that is lost in {problem}")
        steps = result.times / p.step
        return None, steps.sum(), steps

    def window(self, problem, mode, walkers, seed):
        from ddt_utils.simulate import ensemble

        landscape, model, _, p = self.arguments(problem)
        options = dict(start=p.start, step=p.step, walkers=walkers, seed=seed, threads=self.threads)
        return lambda: ensemble(landscape, model, times=[LONG * p.step], **options)

    def warm(self, problem, mode, walkers):
        if mode == "absorption":
            self.absorption(problem, 100, 1)
        else:
            self.window(problem, mode, 100, 1)()


class Without(Ours):
    """The package, its generated source robbed of guarantees; see guarantees.py."""

    def __init__(self, names, threads):
        super().__init__(threads)
        from ddt_utils.simulate import program

        write = program.write
        program.write = lambda *args, **options: without(write(*args, **options), names)


class Reference(Contestant):
    """reference.cpp, in the build that is fastest for the problem."""

    steps = LONG

    def __init__(self, name, threads):
        super().__init__(threads)
        builds = json.loads(os.environ["DDT_REFERENCE"])[name]
        self.builds = {name: ctypes.CDLL(path) for name, path in builds.items()}
        self.chosen = {}

    def call(self, library, problem, walkers, seed, threads, count):
        times = np.zeros(walkers, np.int64)
        states = np.zeros((walkers, PROBLEMS[problem].dimension), np.float32)
        library.run(
            NAMES.index(problem),
            ctypes.c_uint64(seed),
            ctypes.c_int64(walkers),
            threads,
            ctypes.c_int64(count),
            times.ctypes.data_as(ctypes.c_void_p),
            states.ctypes.data_as(ctypes.c_void_p),
        )
        return times

    def warm(self, problem, mode, walkers):
        count = 0 if mode == "absorption" else 1000
        best = {}
        for _ in range(4):
            for name, library in self.builds.items():
                begin = time.process_time()
                self.call(library, problem, 2000, 1, 1, count)
                best[name] = min(best.get(name, math.inf), time.process_time() - begin)
        self.chosen[problem, mode] = min(best, key=best.get)

    def absorption(self, problem, walkers, seed):
        library = self.builds[self.chosen[problem, "absorption"]]
        times = self.call(library, problem, walkers, seed, self.threads, 0)
        return None, times.sum(), times

    def window(self, problem, mode, walkers, seed):
        library = self.builds[self.chosen[problem, mode]]
        return lambda: self.call(library, problem, walkers, seed, self.threads, LONG)


class Loop(Contestant):
    """A plain numba loop, one walker at a time, in double precision with NumPy's normals."""

    def __init__(self, threads):
        super().__init__(threads)
        from numba import njit

        @njit
        def walk(times, generator, step, constant, quadratic):
            for i in range(times.size):
                x, count = -1.0, 0
                while x <= 1:
                    size = math.sqrt(2 * step * (constant + quadratic * x * x))
                    x += (x - x * x * x) * step + size * generator.standard_normal()
                    count += 1
                times[i] = count

        self.walk = walk

    def warm(self, problem, mode, walkers):
        self.absorption(problem, 1, 1)

    def absorption(self, problem, walkers, seed):
        p, times = PROBLEMS[problem], np.zeros(walkers, np.int64)
        slope = p.diffusion if problem == "multiplicative" else 0.0
        self.walk(times, np.random.default_rng(seed), p.step, p.diffusion, slope)
        return times.sum(), times.sum(), times


class Scalar(Contestant):
    """A numba loop as an expert writes it, one walker at a time.

    Single precision, the engine's own random numbers in local variables, both normals of a pair,
    whatever is constant outside the loop. What it lacks is walkers side by side.
    """

    def __init__(self, threads):
        super().__init__(threads)
        import numba

        from ddt_utils import catalog, noise, simulate

        well = catalog.quartic()
        (x,) = well.variables
        options = dict(start=-1, exit=x > 1, step=0.005)
        made = simulate.Problem(well, noise.WhiteNoise(0.125), **options).program().module
        draw, seeds, normal_pair, f32 = made.draw, made.seeds, made.normal_pair, np.float32

        @numba.njit(inline="always")
        def moved(x, z, drift, size, ratio):
            kick = size * z if ratio == 0 else size * z * math.sqrt(f32(1) + ratio * x * x)
            return x + ((x - x * x * x) * drift + kick)

        @numba.njit(fastmath=True, parallel=True)
        def walk(times, seed, step, constant, quadratic):
            drift, size = f32(step), f32(math.sqrt(2 * step * constant))
            ratio = f32(quadratic / constant)
            for i in numba.prange(times.size):
                a, b, c, d = seeds(seed, i)
                x, count = f32(-1), 0
                while True:
                    r, a, b, c, d = draw(a, b, c, d)
                    q, a, b, c, d = draw(a, b, c, d)
                    z, other = normal_pair(r, q)
                    x = moved(x, z, drift, size, ratio)
                    count += 1
                    if x > f32(1):
                        break
                    x = moved(x, other, drift, size, ratio)
                    count += 1
                    if x > f32(1):
                        break
                times[i] = count

        numba.set_num_threads(threads)
        self.walk = walk

    def warm(self, problem, mode, walkers):
        self.absorption(problem, 10, 1)

    def absorption(self, problem, walkers, seed):
        p, times = PROBLEMS[problem], np.zeros(walkers, np.int64)
        slope = p.diffusion if problem == "multiplicative" else 0.0
        self.walk(times, seed, p.step, p.diffusion, slope)
        return times.sum(), times.sum(), times


# ---------------------------------------------------------------------------- PyTorch


class Torch(Contestant):
    """Eager PyTorch: float32, in place, noise drawn for many steps at once."""

    def __init__(self, threads):
        super().__init__(threads)
        import torch

        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def population(self, problem, walkers):
        start = self.torch.tensor(PROBLEMS[problem].start)
        return start[:, None].repeat(1, walkers)  # one row a coordinate

    def stepper(self, problem, x):
        """A function of one step's normals that moves x in place."""
        torch, p = self.torch, PROBLEMS[problem]
        dt, size = p.step, math.sqrt(2 * p.step * p.diffusion)
        work, other, constant = torch.empty_like(x), torch.empty_like(x), torch.tensor(-1.0)

        def quartic(z):
            torch.addcmul(constant, x, x, out=work)
            x.addcmul_(work, x, value=-dt).add_(z, alpha=size)

        def multiplicative(z):
            torch.mul(x, x, out=work)
            torch.add(work, 1, out=other).sqrt_()
            x.addcmul_(work.sub_(1), x, value=-dt).addcmul_(other, z, value=size)

        eight = torch.tensor(-8.0)

        def styblinski_tang(z):
            torch.addcmul(eight, x, x, out=work)
            x.addcmul_(work, x, value=-2 * dt).add_(z, alpha=size).sub_(2.5 * dt)

        height, a, b, c, u0, v0 = (t[:, None] for t in torch.tensor(WELLS).T)

        def mueller_brown(z):
            u, v = x[0] - u0, x[1] - v0
            left, right = (a * u).addcmul_(b, v, value=0.5), (c * v).addcmul_(b, u, value=0.5)
            e = (left * u).addcmul_(right, v).exp_().mul_(height)
            x[0].sub_(left.mul_(e).sum(0), alpha=2 * dt)
            x[1].sub_(right.mul_(e).sum(0), alpha=2 * dt)
            x.add_(z, alpha=size)

        return locals()[problem]

    def outside(self, problem, x):
        if problem == "styblinski_tang":
            return x.amin(0) < 0
        return x[1] < 0.25 if problem == "mueller_brown" else x[0] > 1

    def window(self, problem, mode, walkers, seed):
        torch = self.torch
        torch.manual_seed(seed)
        x = self.population(problem, walkers)
        start = self.population(problem, 1)
        move, rows = self.stepper(problem, x), max(1, min(WINDOW, 2**21 // x.numel()))
        noise = torch.empty(rows, *x.shape)

        def advance():
            for k in range(WINDOW):
                if k % rows == 0:
                    noise.normal_()
                move(noise[k % rows])
                if mode == "steady":
                    out = self.outside(problem, x)
                    if x.shape[0] == 1:
                        x.masked_fill_(out, -1.0)
                    else:
                        torch.where(out, start, x, out=x)

        return advance

    def absorption(self, problem, walkers, seed):
        torch = self.torch
        torch.manual_seed(seed)
        x, executed, done = self.population(problem, walkers), 0, []
        count = torch.zeros(walkers)
        while x.shape[1]:
            move, alive = self.stepper(problem, x), torch.ones(x.shape[1])
            noise = torch.empty(WINDOW, *x.shape).normal_()
            for k in range(WINDOW):
                count.add_(alive)
                move(noise[k])
                alive.masked_fill_(self.outside(problem, x), 0.0)
            executed += WINDOW * x.shape[1]
            kept = alive > 0
            done.append(count[~kept])
            x, count = x[:, kept].contiguous(), count[kept]  # compaction
        times = torch.cat(done).double().numpy()
        return executed, times.sum(), times


class TorchSDE(Torch):
    """torchsde: Euler, diagonal noise, fixed step, a Brownian interval without Lévy area.

    The solver has no notion of absorption: a walker that has left stands still, which drift and
    diffusion see to, until the window ends.
    """

    def __init__(self, threads):
        super().__init__(threads)
        import torchsde

        self.sde = torchsde

    def solver(self, problem, absorbing):
        torch, p, outside = self.torch, PROBLEMS[problem], self.outside
        size = math.sqrt(2 * p.diffusion)
        height, a, b, c, u0, v0 = torch.tensor(WELLS).T

        class Equation:
            noise_type, sde_type = "diagonal", "ito"
            count = None

            def f(self, t, y):
                if problem == "styblinski_tang":
                    drift = (8 - y * y).mul_(2 * y).sub_(2.5)
                elif problem == "mueller_brown":
                    u, v = y[:, :1] - u0, y[:, 1:] - v0
                    left, right = 2 * a * u + b * v, 2 * c * v + b * u
                    e = (u * left + v * right).mul_(0.5).exp_().mul_(-height)
                    drift = torch.stack((left.mul_(e).sum(1), right.mul_(e).sum(1)), 1)
                else:
                    drift = (1 - y * y).mul_(y)
                if absorbing:
                    self.alive = (~outside(problem, y.T))[:, None].float()
                    if self.count is not None:
                        self.count.add_(self.alive[:, 0])
                    drift.mul_(self.alive)
                return drift

            def g(self, t, y):
                if problem == "multiplicative":
                    spread = (y * y).add_(1).sqrt_().mul_(size)
                else:
                    spread = torch.full_like(y, size)
                return spread.mul_(self.alive) if absorbing else spread

        return Equation()

    def solve(self, equation, y, step, steps=WINDOW):
        end = steps * step
        self.entropy += 1000003  # a new path in every window
        brownian = self.sde.BrownianInterval(
            t0=0.0,
            t1=end,
            size=y.shape,
            dtype=y.dtype,
            dt=step,
            entropy=self.entropy,
            cache_size=2 * steps + 2,
        )
        span = self.torch.tensor([0.0, end])
        return self.sde.sdeint(equation, y, span, bm=brownian, method="euler", dt=step)[-1]

    def window(self, problem, mode, walkers, seed):
        self.torch.manual_seed(seed)
        self.entropy = seed
        p = PROBLEMS[problem]
        equation = self.solver(problem, mode == "steady")
        y, start = self.population(problem, walkers).T.contiguous(), self.torch.tensor(p.start)

        def advance():
            nonlocal y
            y = self.solve(equation, y, p.step)
            if mode == "steady":
                y = self.torch.where(self.outside(problem, y.T)[:, None], start, y)

        return advance

    def absorption(self, problem, walkers, seed):
        torch, p = self.torch, PROBLEMS[problem]
        torch.manual_seed(seed)
        self.entropy = seed
        equation, executed, done = self.solver(problem, True), 0, []
        y = self.population(problem, walkers).T.contiguous()
        equation.count = torch.zeros(walkers)
        while len(y):
            y = self.solve(equation, y, p.step, 4 * WINDOW)
            executed += 4 * WINDOW * len(y)
            kept = ~self.outside(problem, y.T)
            done.append(equation.count[~kept])
            y, equation.count = y[kept], equation.count[kept]
        times = torch.cat(done).double().numpy()
        return executed, times.sum(), times


# ---------------------------------------------------------------------------- JAX


class Jax(Contestant):
    """JAX: a compiled loop over all walkers, with its default random numbers."""

    def __init__(self, threads):
        super().__init__(threads)
        import jax

        self.jax, self.jnp = jax, jax.numpy
        self.compiled = {}

    def key(self, seed):
        return self.jax.random.key(seed)

    def start(self, problem, walkers):
        point = self.jnp.array(PROBLEMS[problem].start, "float32")
        return self.jnp.tile(point[:, None], (1, walkers))

    def drift(self, problem, x):
        jnp = self.jnp
        if problem == "styblinski_tang":
            return x * (16 - 2 * x * x) - 2.5
        if problem == "mueller_brown":
            down = [0.0, 0.0]
            for height, a, b, c, u0, v0 in WELLS:
                u, v = x[0] - u0, x[1] - v0
                e = height * jnp.exp(a * u * u + b * u * v + c * v * v)
                down = [down[0] - e * (2 * a * u + b * v), down[1] - e * (2 * c * v + b * u)]
            return jnp.stack(down)
        return x * (1 - x * x)

    def spread(self, problem, x):
        size = math.sqrt(2 * PROBLEMS[problem].diffusion)
        return size * self.jnp.sqrt(1 + x * x) if problem == "multiplicative" else size

    def outside(self, problem, x):
        if problem == "styblinski_tang":
            return x.min(0) < 0
        return x[1] < 0.25 if problem == "mueller_brown" else x[0] > 1

    def moved(self, problem, x, key):
        dt = PROBLEMS[problem].step
        z = self.jax.random.normal(key, x.shape, "float32")
        return x + dt * self.drift(problem, x) + math.sqrt(dt) * self.spread(problem, x) * z

    def function(self, problem, mode, walkers):
        if (problem, mode, walkers) not in self.compiled:
            self.compiled[problem, mode, walkers] = self.jax.jit(
                self.passage(problem, walkers)
                if mode == "absorption"
                else self.standing(problem, mode, walkers)
            )
        return self.compiled[problem, mode, walkers]

    def standing(self, problem, mode, walkers):
        jax, jnp = self.jax, self.jnp
        start = self.start(problem, 1)

        def one(x, key):
            x = self.moved(problem, x, key)
            if mode == "steady":
                x = jnp.where(self.outside(problem, x), start, x)
            return x, None

        return lambda x, key: jax.lax.scan(one, x, jax.random.split(key, WINDOW))[0]

    def passage(self, problem, walkers):
        jax, jnp = self.jax, self.jnp

        def one(carry):
            x, count, alive, key, steps = carry
            key, used = jax.random.split(key)
            x = self.moved(problem, x, used)
            count = count + alive
            return x, count, alive & ~self.outside(problem, x), key, steps + 1

        def run(key):
            alive = jnp.ones(walkers, bool)
            carry = self.start(problem, walkers), jnp.zeros(walkers, "int32"), alive, key, 0
            done = jax.lax.while_loop(lambda c: c[2].any(), one, carry)
            return done[1], done[4]

        return run

    def warm(self, problem, mode, walkers):
        if mode != "absorption":
            self.window(problem, mode, walkers, 1)()
        else:
            compiled = self.function(problem, mode, walkers)
            self.compiled[problem, mode, walkers] = compiled.lower(self.key(1)).compile()

    def window(self, problem, mode, walkers, seed):
        run, x = self.function(problem, mode, walkers), self.start(problem, walkers)
        key, turn = self.key(seed), 0

        def advance():
            nonlocal x, turn
            turn += 1
            x = run(x, self.jax.random.fold_in(key, turn)).block_until_ready()

        return advance

    def absorption(self, problem, walkers, seed):
        count, steps = self.function(problem, "absorption", walkers)(self.key(seed))
        times = np.asarray(count, float)
        return int(steps) * walkers, times.sum(), times


class Diffrax(Jax):
    """diffrax: Euler with a constant step; to absorption with its event, walkers by ``vmap``."""

    def __init__(self, threads):
        super().__init__(threads)
        import diffrax
        import lineax

        self.diffrax, self.lineax = diffrax, lineax

    def solve(self, problem, y, key, end, **options):
        d, jax = self.diffrax, self.jax
        shape = jax.ShapeDtypeStruct(y.shape, "float32")
        path = d.UnsafeBrownianPath(shape=shape, key=key)
        absorbing = options.pop("absorbing", False)

        def held(value, y):
            return self.jnp.where(self.outside(problem, y), 0.0, value) if absorbing else value

        def drift(t, y, args):
            return held(self.drift(problem, y), y)

        def diffusion(t, y, args):
            spread = self.jnp.broadcast_to(self.spread(problem, y), y.shape)
            return self.lineax.DiagonalLinearOperator(held(spread, y))

        terms = d.MultiTerm(d.ODETerm(drift), d.ControlTerm(diffusion, path))
        return d.diffeqsolve(
            terms,
            d.Euler(),
            0.0,
            end,
            PROBLEMS[problem].step,
            y,
            saveat=d.SaveAt(t1=True),
            adjoint=d.ForwardMode(),
            max_steps=None,
            **options,
        )

    def standing(self, problem, mode, walkers):
        jnp, start = self.jnp, self.start(problem, 1)
        end = WINDOW * PROBLEMS[problem].step

        def run(x, key):
            x = self.solve(problem, x, key, end, absorbing=mode == "steady").ys[0]
            return jnp.where(self.outside(problem, x), start, x) if mode == "steady" else x

        return run

    def passage(self, problem, walkers):
        jax, d = self.jax, self.diffrax
        start = self.start(problem, 1)[:, 0]
        event = d.Event(lambda t, y, args, **_: self.outside(problem, y))

        def one(key):
            done = self.solve(problem, start, key, math.inf, event=event)
            return done.ts[0] / PROBLEMS[problem].step

        def run(key):
            times = jax.vmap(one)(jax.random.split(key, walkers))
            return times, times.max()

        return run

    def absorption(self, problem, walkers, seed):
        executed, _, times = super().absorption(problem, walkers, seed)
        times = np.rint(times)
        return executed, times.sum(), times


CPP = ("C++ reference", "C++ with the same", "C++ with the same, our lanes")
CONTESTANTS = {
    "ours": (Ours, "numba"),
    **{name: (partial(Reference, name), "numpy") for name in CPP},
    **{f"without {name}": (partial(Without, [name]), "numba") for name in GUARANTEES},
    "without all": (partial(Without, list(GUARANTEES)), "numba"),
    "numba loop": (Loop, "numba"),
    "scalar numba": (Scalar, "numba"),
    "torch eager": (Torch, "torch"),
    "torchsde": (TorchSDE, "torchsde"),
    "JAX": (Jax, "jax"),
    "diffrax": (Diffrax, "diffrax"),
}


def main():
    kind, module = CONTESTANTS[sys.argv[1]]
    threads = int(sys.argv[2])
    if module in ("jax", "diffrax") and hasattr(os, "sched_setaffinity"):
        # XLA takes all the processors that it sees
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        importlib.import_module(module)
        contestant = kind(threads)
        answer = {"ready": True}
    except Exception as error:
        answer = {"ready": False, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)
    warmed = set()
    for line in sys.stdin:
        job = json.loads(line)
        what = job["problem"], job["mode"], job["walkers"]
        answer = {}
        try:
            if what not in warmed:
                begin = time.perf_counter()
                contestant.warm(*what)
                answer["preparation"] = time.perf_counter() - begin
                warmed.add(what)
            contestant.clock = None
            begin, cpu = time.perf_counter(), time.process_time()
            executed, useful, times = contestant.run(*what, job["seed"], job["budget"])
            clock = time.perf_counter() - begin, time.process_time() - cpu
            answer["seconds"], answer["cpu"] = contestant.clock or clock
            answer["useful"] = float(useful)
            answer["executed"] = float(executed) if executed else None
            if times is not None:
                answer["mean"] = float(np.mean(times))
                answer["error"] = float(np.std(times) / math.sqrt(len(times)))
            if what[0:2] in getattr(contestant, "chosen", {}):
                answer["build"] = contestant.chosen[what[0:2]]
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
