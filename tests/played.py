"""A rule played in NumPy with float64: its own formulas and given draws, without the engine.

A loop that is written by hand must land on the same places, digit by digit.
"""

import numpy as np
import sympy as sp

DT = sp.Symbol("dt", positive=True)


def played(rule, landscape, noise, *, start, step, steps, seed, walkers=()):
    """States of walkers, shape (steps + 1, variables of the state, *walkers), and what was drawn.

    The draws are arrays by kind: ``normals``, ``uniforms`` and ``counts``, shape (steps, number,
    *walkers).
    """
    made = rule(landscape, noise, DT).complete(landscape.dimension)
    rng = np.random.default_rng(seed)
    counts = made.batch.counts if made.batch else ()
    names = [*made.state, *made.normals, *made.uniforms, *counts, DT]
    parts = []
    for name, e in (*made.where, *((None, e) for e in made.update)):
        parts.append(sp.lambdify(names, e, "numpy"))
        names += [name] if name is not None else []
    shape = tuple(np.atleast_1d(walkers)) if np.size(walkers) else ()

    def spread(values):
        return [np.broadcast_to(float(v), shape).copy() for v in values]

    begin = dict(zip(made.state, spread([*np.atleast_1d(start), *made.initial_state]), strict=True))
    first = getattr(made, "start", None)
    drawn = {"normals": [], "uniforms": [], "counts": [], "rest": []}
    if first is not None:
        xi = rng.standard_normal((len(first.normals), *shape))
        known = [*begin.values(), *xi, step]
        inputs = [*made.state, *first.normals, DT]
        law = {s: sp.lambdify(inputs, e, "numpy")(*known) for s, e in first.values}
        begin |= {s: np.broadcast_to(v, shape) for s, v in law.items()}
        drawn["rest"] = xi
    state = list(begin.values())
    states = [np.array(state)]
    for _ in range(steps):
        z = rng.standard_normal((len(made.normals), *shape))
        u = 1 - rng.random((len(made.uniforms), *shape))
        c = _batch(made.batch, rng, shape)
        values = [*state, *z, *u, *c, step]
        for part in parts[: len(made.where)]:
            values.append(part(*values))
        state = [np.broadcast_to(part(*values), shape) for part in parts[len(made.where) :]]
        states.append(np.array(state))
        for kind, found in (("normals", z), ("uniforms", u), ("counts", c)):
            drawn[kind].append(found)
    return np.array(states), {kind: np.array(found) for kind, found in drawn.items()}


def _batch(batch, rng, shape):
    if batch is None:
        return np.zeros((0, *shape))
    m = len(batch.counts)
    if batch.replacement:
        found = rng.multinomial(batch.size, [1 / m] * m, shape or None)
    else:
        found = rng.multivariate_hypergeometric([1] * m, batch.size, shape or None)
    return np.moveaxis(found, -1, 0).astype(float)
