"""Rare escapes by splitting against exact mean times: how far apart, at what cost.

    python benchmarks/splitting.py benchmarks/splitting.json

On a line the truth is the exact chain of the discrete walker; with independent directions besides
it is the same; in a plane that does not separate it is the decay rate of the Fokker-Planck
operator, and the rule is that of Leimkuhler and Matthews (Applied Mathematics Research eXpress
2013, 34), whose resting density has no error of first order in the step. The counts and estimates
are the same on every machine; seconds are printed and not kept.
"""

import json
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import sympy as sp

from ddt_utils import catalog, chains, generator, simulate
from ddt_utils.landscape import Landscape
from ddt_utils.noise import MinibatchNoise, WhiteNoise

WELL = catalog.quartic()
(x,) = WELL.variables
STIFF = (2, 3, 0.7, 1.5, 4, 0.3, 5, 1.2, 2.5)
WALKERS, REPETITIONS = 2000, 64


def line(exponent, step):
    """The quartic well to its top, and the exact chain."""
    kick = WhiteNoise(0.25 / exponent)
    problem = simulate.Problem(
        WELL, kick, start=-1, exit=x > 0, step=step, barrier_shift=False, max_time=1
    )
    return problem, step * chains.of(WELL, kick, step=step).mean_steps(start=-1, upper=0)


def ten(exponent, step):
    """The same with nine quadratic directions, which change nothing."""
    names = sp.symbols("q:10", real=True)
    loss = WELL.expression.subs(x, names[0])
    loss += sum(h * q**2 / 2 for h, q in zip(STIFF, names[1:], strict=True))
    landscape = Landscape(loss, names, name="ten", box=((-2, 2),) * 10)
    kick, start = WhiteNoise(0.25 / exponent), (-1, *[0] * 9)
    problem = simulate.Problem(
        landscape, kick, start=start, exit=names[0] > 0, step=step, barrier_shift=False
    )
    return problem, line(exponent, step)[1]


def averaged(landscape, noise, dt):
    """Euler's step with the mean of two kicks, this one and the last (Leimkuhler and Matthews)."""
    step = simulate.euler_maruyama(landscape, noise, dt)
    last = sp.symbols(f"last:{landscape.dimension}", real=True)
    mean = {kick: (kick + old) / 2 for kick, old in zip(step.normals, last, strict=True)}
    update = tuple(e.xreplace(mean) for e in step.update) + step.normals
    return simulate.Step((*step.state, *last), update, normals=step.normals)


def plane(exponent, step):
    """A turned well whose stiffness changes on the way, to the other side, and its generator."""
    u = sp.Symbol("u", real=True)
    well = catalog.rotated_double_well(stiffness=1 + 3 * u**2)
    a, b = well.variables
    kick, exit = WhiteNoise(0.25 / exponent), sp.sqrt(3) / 2 * a + b / 2 >= sp.Rational(7, 10)
    sides = ((-1.5, 1.0), (-1.2, 0.9))
    [rate] = generator.decay_rates(well, kick, count=1, cells=80, box=sides, exit=exit).values
    start = (-float(np.sqrt(3)) / 2, -0.5)
    problem = simulate.Problem(
        well, kick, start=start, exit=exit, step=step, rule=averaged, barrier_shift=False
    )
    return problem, 1 / rate


def minibatches(width, eta):
    """Three samples of a skew law, three to a batch, and a kick that makes the chain smooth."""
    tilts = (0.7, -0.3, -0.4)

    def kicked(landscape, noise, dt):
        step, kick = simulate.sgd(landscape, noise, dt), sp.Dummy("kick", real=True)
        return simulate.Step(
            step.state,
            (step.update[0] + dt * width * kick,),
            normals=(kick,),
            batch=step.batch,
            physical=True,
        )

    drawn = MinibatchNoise(tuple(WELL.expression + a * x for a in tilts), eta, 3)
    means = [
        x - eta * (WELL.gradient_expression[0] + sum(batch) / 3)
        for batch in product(tilts, repeat=3)
    ]
    outcomes = [chains.Outcome(1 / 27, mean, eta * width) for mean in means]
    truth = eta * chains.Chain(outcomes, x, (-2, 2)).mean_steps(start=-1, upper=0.1)
    problem = simulate.Problem(WELL, drawn, start=-1, exit=x > 0.1, step=eta, rule=kicked)
    return problem, truth


def cases():
    """Name, problem, truth, level."""
    for exponent in (6, 15, 30, 40):
        yield f"line, exponent {exponent}", *line(exponent, 0.05), None
    yield "minibatches", *minibatches(0.15, 0.2), None
    yield "plane, exponent 30", *plane(30, 0.025), None
    problem, truth = ten(30, 0.05)
    first, second, *_ = problem.landscape.variables
    yield "ten dimensions, exponent 30", problem, truth, None
    yield "ten dimensions, a level eleven degrees off", problem, truth, first + second / 5
    yield "ten dimensions, the loss as the level", problem, truth, problem.landscape.expression


def main(path):
    rows = []
    for name, problem, truth, level in cases():
        begin = time.perf_counter()
        splitting = simulate.Splitting(
            problem, walkers=WALKERS, repetitions=REPETITIONS, seed=12, level=level
        )
        found = splitting.finish().result()
        seconds = time.perf_counter() - begin
        row = {
            "case": name,
            "truth": float(f"{truth:.6g}"),
            "found": float(f"{found.mean:.6g}"),
            "relative error": round(found.stderr / found.mean, 4),
            "standard errors apart": round((found.rate - 1 / truth) / found.rate_stderr, 2),
            "spread": round(found.spread, 3),
            "rounds": round(float(found.rounds.mean()), 1),
            "walker-steps": found.walker_steps,
            "steps of one escape": float(f"{truth / problem.step:.3g}"),
        }
        rows.append(row)
        print(row, f"{seconds:.0f} s", flush=True)
    answer = {"walkers": WALKERS, "repetitions": REPETITIONS, "rows": rows}
    Path(path).write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
