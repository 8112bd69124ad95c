r"""The gradient that a rule steps along, :math:`\hat g = (\theta - \theta')/dt`, here or elsewhere.

What a rule adds to the coordinates is :math:`-dt\,\hat g`, its noise included. A rule that is put
on top of another one takes this gradient and does something else with it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import sympy as sp

from ddt_utils.simulate.rules import fresh, slopes
from ddt_utils.simulate.step import Batch, Step


def driven(landscape, factor: sp.Matrix, kicks, size, dt: sp.Symbol) -> tuple[sp.Expr, ...]:
    """The coordinates after a step down the slope and kicks by the factor of D.

    Args:
        landscape: the loss.
        factor: σ, n × k.
        kicks: k symbols, the kicks in units of ``size``.
        size: an expression in dt.
        dt: the symbol of the time step.

    Returns:
        n expressions.
    """
    return tuple(
        sp.Add(x, -dt * slope, *(size * f * z for f, z in zip(row, kicks, strict=True)))
        for x, slope, row in zip(
            landscape.variables, slopes(landscape), factor.tolist(), strict=True
        )
    )


def gradient(step: Step, landscape, dt: sp.Symbol) -> list[sp.Expr]:
    """What a step follows, noise included: what it adds to each coordinate, over −dt.

    Args:
        step: of the rule.
        landscape: whose variables the first of its state are.
        dt: the symbol of the learning rate.

    Returns:
        n expressions in the symbols of the step.
    """
    moves = (new - x for new, x in zip(step.update, landscape.variables, strict=False))
    return [sp.Add(*(-term / dt for term in sp.Add.make_args(move))) for move in moves]


def bare(step: Step, landscape, name: str) -> Step:
    """The step of a rule whose gradient is asked for at another place than the walker's.

    Args:
        step: of the rule.
        landscape: the loss.
        name: of the rule that asks.

    Returns:
        The step.

    Raises:
        ValueError: it carries something beside the place, which would have to move as well.
    """
    if len(step.state) > landscape.dimension or step.iteration is not None:
        raise ValueError(
            f"{name} takes the gradient of a rule that carries nothing but the place, such as sgd, "
            f"got one that carries {step.state[landscape.dimension :]} too; put that rule on top, "
            f"as in momentum(0.9, {name}(...))"
        )
    return step


def moved(step: Step, landscape, places, dt: sp.Symbol):
    """The gradient of a step with the same draws, at another place.

    Args:
        step: of a rule that carries nothing but the place.
        landscape: the loss.
        places: n expressions, or symbols.
        dt: the symbol of the learning rate.

    Returns:
        The intermediate results, under names of their own, and n expressions.
    """
    names = {name: sp.Dummy(name.name, real=True) for name, _ in step.where}
    there = dict(zip(landscape.variables, places, strict=True)) | names
    where = tuple((names[name], e.xreplace(there)) for name, e in step.where)
    return where, [e.xreplace(there) for e in gradient(step, landscape, dt)]


def along(landscape, pulls, dt: sp.Symbol) -> tuple[sp.Expr, ...]:
    """The coordinates after a step of dt against what is given, n expressions."""
    return tuple(x - dt * g for x, g in zip(landscape.variables, pulls, strict=True))


def unbatched(step: Step) -> Step:
    """A step that draws its minibatch by uniform numbers, so that another one can be drawn too.

    Args:
        step: of any rule.

    Returns:
        The same step, the counts of its batch among its intermediate results.

    Raises:
        ValueError: a minibatch of more than 4096/m of m samples, as everywhere, or of an epoch.
    """
    if step.batch is None:
        return step
    if step.batch.reshuffled:
        raise ValueError(
            "a second minibatch must be independent of the first, got one of a reshuffled epoch; "
            "draw anew in each step, or use the same minibatch"
        )
    draw = _with if step.batch.replacement else _without
    uniforms, where = draw(step.batch)
    return replace(
        step, batch=None, uniforms=(*step.uniforms, *uniforms), where=(*where, *step.where)
    )


def _with(batch: Batch):
    """B samples one after the other, sample j where u is within its share of (0, 1]."""
    m, uniforms, below = len(batch.counts), fresh("sample", batch.size), []
    if m * batch.size > 4096:
        raise ValueError(
            f"a second minibatch holds at most 4096/m of m samples, got {batch.size} of {m}; use "
            "normal noise with the same covariance"
        )
    ends, edges = np.cumsum(batch.weights or [1 / m] * m)[:-1], fresh("below", m - 1)
    for name, end in zip(edges, ends, strict=True):
        below.append((name, sp.Add(*(_one(u <= float(end)) for u in uniforms))))
    lower, upper = (sp.S.Zero, *edges), (*edges, sp.Integer(batch.size))
    counts = (high - low for low, high in zip(lower, upper, strict=True))
    return uniforms, [*below, *zip(batch.counts, counts, strict=True)]


def _without(batch: Batch):
    """Sample after sample, taken with probability (places left) / (samples left)."""
    m, left = len(batch.counts), sp.Integer(batch.size)
    uniforms, where = fresh("sample", m - 1), []
    for j, u in enumerate(uniforms):
        where.append((batch.counts[j], _one(u * (m - j) <= left)))
        rest = sp.Dummy(f"left{j}", real=True)
        where.append((rest, left - batch.counts[j]))
        left = rest
    return uniforms, [*where, (batch.counts[-1], left)]


def _one(condition):
    return sp.Piecewise((1, condition), (0, True))
