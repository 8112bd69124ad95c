r"""What a walker does in one step, as data.

A rule is a function of a landscape, a noise and the symbol ``dt`` that returns a :class:`Step`: the
new state as SymPy expressions of the old one and of fresh random numbers. The compiled loop is
generated from it, so a new rule is a few lines of algebra and no change in the engine.

For example, SGD that looks at the sign of the gradient alone::

    def sign_descent(landscape, noise, dt):
        step = euler_maruyama(landscape, noise, dt)
        moves = [x + dt * sp.sign(new - x) for x, new in zip(step.state, step.update)]
        return dataclasses.replace(step, update=tuple(moves), physical=True)

A walker that lands beyond ten times the box of its landscape has diverged, so a rule with long
jumps, such as Lévy noise, wants a large box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import sympy as sp

from ddt_utils.landscape import Landscape
from ddt_utils.noise import MinibatchNoise, Noise


@dataclass(frozen=True)
class Batch:
    """A minibatch that is drawn afresh in every step.

    Args:
        counts: one symbol per sample: how often it is in the minibatch.
        size: B, how many samples are drawn.
        replacement: may a sample be drawn twice?
    """

    counts: tuple[sp.Symbol, ...]
    size: int
    replacement: bool


@dataclass(frozen=True)
class Step:
    """One step of a walker.

    Args:
        state: what a walker carries, one symbol each: the coordinates first, in the order of the
            landscape's variables, then anything else, such as velocities, which start at zero.
        update: the new value of each, in the symbols of ``state``, of the random numbers, of
            ``where`` and in ``dt``.
        normals: symbols of independent standard normal numbers, fresh in every step.
        uniforms: symbols of independent uniform numbers in (0, 1], fresh in every step.
        batch: a minibatch, fresh in every step.
        where: intermediate results, (symbol, expression) in the order in which they are needed.
        physical: is the step itself what happens, as in SGD, and not an approximation of continuous
            time? Then no barrier is shifted unless that is asked for.
    """

    state: tuple[sp.Symbol, ...]
    update: tuple[sp.Expr, ...]
    normals: tuple[sp.Symbol, ...] = ()
    uniforms: tuple[sp.Symbol, ...] = ()
    batch: Batch | None = None
    where: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()
    physical: bool = False

    def __post_init__(self):
        if len(self.update) != len(self.state):
            raise ValueError(
                f"a step needs one update for each of its {len(self.state)} state variables, got "
                f"{len(self.update)}"
            )


Rule = Callable[[Landscape, Noise, sp.Symbol], Step]


def euler_maruyama(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
    r"""A step of the diffusion, :math:`\theta' = \theta - \nabla L\,dt + \sqrt{2\,dt}\,\sigma\xi`.

    :math:`D = \sigma\sigma^\top` is the diffusion matrix and :math:`\xi` a standard normal vector:
    the noise is evaluated before the step.
    """
    where, factor = noise.factor(landscape)
    xi = _fresh("xi", factor.shape[1])
    update = []
    slopes = _slopes(landscape.expression, landscape.variables)
    for i, (x, slope) in enumerate(zip(landscape.variables, slopes, strict=True)):
        kicks = (sp.sqrt(2 * dt) * factor[i, j] * z for j, z in enumerate(xi))
        update.append(sp.Add(x, -dt * slope, *kicks))
    return Step(landscape.variables, tuple(update), normals=xi, where=where)


def sgd(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
    r"""One iteration of SGD: :math:`\theta' = \theta - \eta\,\hat g(\theta)`; dt is :math:`\eta`.

    With :class:`~ddt_utils.noise.MinibatchNoise` the gradient :math:`\hat g` is that of a minibatch
    which is really drawn. With any other noise :math:`\hat g = \nabla L + C^{1/2}\xi` with normal
    :math:`\xi` and :math:`C = 2D/\eta`; the formula is then that of Euler and Maruyama, but the
    step is the thing itself.
    """
    if not isinstance(noise, MinibatchNoise):
        return replace(euler_maruyama(landscape, noise, dt), physical=True)
    noise.check(landscape)
    counts = _fresh("count", len(noise.losses))
    slopes = [_slopes(loss, landscape.variables) for loss in noise.losses]
    update = []
    for i, x in enumerate(landscape.variables):
        parts = (-dt / noise.batch_size * n * s[i] for n, s in zip(counts, slopes, strict=True))
        update.append(sp.Add(x, *parts))
    batch = Batch(counts, noise.batch_size, noise.replacement)
    return Step(landscape.variables, tuple(update), batch=batch, physical=True)


def momentum(beta: float, rule: Rule = sgd) -> Rule:
    r"""Heavy-ball momentum on top of another rule.

    :math:`v' = \beta v + \Delta,\ \theta' = \theta + v'`, where :math:`\Delta` is what the other
    rule would add to :math:`\theta`. The velocity starts at zero.

    Args:
        beta: :math:`\beta`, the share of the velocity that is kept.

    Raises:
        ValueError: :math:`\beta` is not in [0, 1).
    """
    if not 0 <= beta < 1:
        raise ValueError(f"momentum keeps a share of the velocity in [0, 1), got {beta}")

    def heavy_ball(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
        step = rule(landscape, noise, dt)
        n = landscape.dimension
        v = _fresh("velocity", n)
        w = _fresh("faster", n)
        kept = tuple(
            (new, beta * old + (moved - x))
            for new, old, moved, x in zip(w, v, step.update, step.state, strict=False)
        )
        return replace(
            step,
            state=step.state + v,
            update=tuple(x + new for x, new in zip(step.state, w, strict=False))
            + step.update[n:]
            + w,
            where=step.where + kept,
            physical=True,  # the barrier shift is that of a walker without velocity
        )

    return heavy_ball


def _fresh(name, count):
    """Symbols that no landscape can have used."""
    return tuple(sp.Dummy(f"{name}{i}", real=True) for i in range(count))


def _slopes(loss, variables):
    """The gradient; a polynomial in one variable as Horner's rule, which takes fewer operations."""
    return [horner(sp.diff(loss, x)) for x in variables]


def horner(slope: sp.Expr) -> sp.Expr:
    """A polynomial in one variable as Horner's rule; powers of sums stay, they would cancel."""
    polynomial = len(slope.free_symbols) == 1 and slope.is_polynomial()
    return sp.horner(slope) if polynomial and slope == sp.expand(slope) else slope
