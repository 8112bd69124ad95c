r"""What a walker does in one step, as data.

A rule is a function of a landscape, a noise and the symbol ``dt`` that returns a
:class:`~ddt_utils.simulate.Step`: the new state as SymPy expressions of the old one and of fresh
random numbers. The compiled loop is generated from it, so a new rule is a few lines of algebra and
no change in the engine.

For example, SGD that looks at the sign of the gradient alone, noise included, and its escape:

>>> def sign_descent(landscape, noise, dt):
...     step = euler_maruyama(landscape, noise, dt)
...     pairs = zip(step.state, step.update)
...     moves = [x + dt * sp.sign(new - x) for x, new in pairs]
...     return replace(step, update=tuple(moves), physical=True)
>>> from ddt_utils import catalog, noise, simulate
>>> well, kick = catalog.quartic(), noise.WhiteNoise(0.25)
>>> (x,) = well.variables
>>> found = simulate.first_passage(
...     well, kick, start=-1, exit=x >= 0, step=0.05,
...     walkers=1000, seed=1, rule=sign_descent)
>>> found.escaped
1000

There are rules of a diffusion, :func:`~ddt_utils.simulate.euler_maruyama`,
:func:`isothermal` and :func:`stratonovich`; SGD,
:func:`~ddt_utils.simulate.sgd`; other noise, :func:`~ddt_utils.simulate.label_noise`,
:func:`~ddt_utils.simulate.stable`, :func:`~ddt_utils.simulate.fractional` and, with inertia,
:func:`~ddt_utils.simulate.langevin`; and what goes on top of one of these,
:func:`~ddt_utils.simulate.momentum`, :func:`~ddt_utils.simulate.sam`,
:func:`~ddt_utils.simulate.adam`, :func:`~ddt_utils.simulate.adal`,
:func:`~ddt_utils.simulate.weight_decay` and :func:`~ddt_utils.simulate.normalised`.

What a rule's walkers carry beside their place has a name by which an exit or an observable can ask
for it: the ``velocity0`` of :func:`~ddt_utils.simulate.momentum`, for example.

A walker that is not out and lands beyond ten times the box of its landscape has diverged, so a rule
with long jumps, such as Lévy noise, wants a bound of its own; see
:class:`~ddt_utils.simulate.Problem`.
"""

from __future__ import annotations

import inspect
from dataclasses import replace

import sympy as sp

from ddt_utils import _checks, _expressions
from ddt_utils.landscape import Landscape
from ddt_utils.noise import MinibatchNoise, Noise
from ddt_utils.simulate.step import Batch, Rule, Step


def euler_maruyama(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
    r"""A step of the diffusion, :math:`\theta' = \theta - \nabla L\,dt + \sqrt{2\,dt}\,\sigma\xi`.

    :math:`D = \sigma\sigma^\top` is the diffusion matrix and :math:`\xi` a standard normal vector:
    the noise is evaluated before the step.

    Args:
        landscape: the loss L.
        noise: what drives the walker.
        dt: the symbol of the time step.

    Returns:
        The step.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> kick = noise.WhiteNoise(0.25)
        >>> len(euler_maruyama(catalog.quartic(), kick, sp.Symbol("dt")).normals)
        1
    """
    where, factor = noise.factor(landscape)
    xi = fresh("xi", factor.shape[1])
    update = []
    for i, (x, slope) in enumerate(zip(landscape.variables, slopes(landscape), strict=True)):
        kicks = (sp.sqrt(2 * dt) * factor[i, j] * z for j, z in enumerate(xi))
        update.append(sp.Add(x, -dt * slope, *kicks))
    return Step(landscape.variables, tuple(update), normals=xi, where=where)


def isothermal(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
    r"""A step under the isothermal reading: the noise is evaluated where the step ends.

    :math:`y = \theta + \sqrt{2\,dt}\,\sigma(\theta)\,\xi` and
    :math:`\theta' = \theta - \nabla L\,dt + \sqrt{2\,dt}\,\sigma(y)\,\xi` (Lançon, Batrouni, Lobry
    and Ostrowsky, Europhysics Letters 54, 28, 2001): the Ito drift is :math:`-\nabla L + D'`, and
    the density of a walk without drift stays uniform: also where D jumps, whatever dt.

    Args:
        landscape: the loss L.
        noise: one with a diagonal D.
        dt: the symbol of the time step.

    Returns:
        The step.

    Raises:
        ValueError: D is not diagonal.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> kick = noise.WhiteNoise(0.25)
        >>> len(isothermal(catalog.quartic(), kick, sp.Symbol("dt")).normals)
        1
    """
    return _evaluated_later(landscape, noise, dt, "isothermal", lambda before, after: after)


def stratonovich(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
    r"""A step under the Stratonovich reading, with the Ito drift :math:`-\nabla L + D'/2`.

    As :func:`isothermal`, with :math:`\sqrt{\sigma(\theta)\,\sigma(y)}` for :math:`\sigma(y)`.
    Where D jumps the odds of the two sides are right to 0.1 % for a jump by a factor of 2.25, and
    to 1 % for one of 6.25, whatever dt.

    Args:
        landscape: the loss L.
        noise: one with a diagonal D.
        dt: the symbol of the time step.

    Returns:
        The step.

    Raises:
        ValueError: D is not diagonal.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> kick = noise.WhiteNoise(0.25)
        >>> len(stratonovich(catalog.quartic(), kick, sp.Symbol("dt")).normals)
        1
    """

    def mean(before, after):
        return sp.sqrt(before * after)

    return _evaluated_later(landscape, noise, dt, "stratonovich", mean)


def _evaluated_later(landscape, noise, dt, name, mean):
    """An Euler step whose noise is a mean of its values at both ends of the step."""
    where, factor = noise.factor(landscape)
    if not (factor.is_square and factor.is_diagonal()):
        raise ValueError(
            f"the rule {name} takes a diagonal D, got the factor {factor.tolist()}; choose axes in "
            "which D is diagonal, or add its drift to the loss and take euler_maruyama"
        )
    n, variables = landscape.dimension, landscape.variables
    xi, end, before, after = (fresh(word, n) for word in ("xi", "end", "before", "after"))
    there = dict(zip(variables, end, strict=True))
    where = list(where)
    where += zip(before, factor.diagonal(), strict=True)
    where += (
        (y, x + sp.sqrt(2 * dt) * b * z)
        for y, x, b, z in zip(end, variables, before, xi, strict=True)
    )
    where += ((a, s.xreplace(there)) for a, s in zip(after, factor.diagonal(), strict=True))
    update = (
        sp.Add(x, -dt * slope, sp.sqrt(2 * dt) * mean(b, a) * z)
        for x, slope, b, a, z in zip(variables, slopes(landscape), before, after, xi, strict=True)
    )
    return Step(variables, tuple(update), normals=xi, where=tuple(where))


def sgd(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
    r"""One iteration of SGD: :math:`\theta' = \theta - \eta\,\hat g(\theta)`; dt is :math:`\eta`.

    With :class:`~ddt_utils.noise.MinibatchNoise` the gradient :math:`\hat g` is that of a minibatch
    which is really drawn. With any other noise :math:`\hat g = \nabla L + C^{1/2}\xi` with normal
    :math:`\xi` and :math:`C = 2D/\eta`; the formula is then that of Euler and Maruyama, but the
    step is the thing itself.

    Args:
        landscape: the loss L.
        noise: what drives the walker.
        dt: the symbol of the learning rate.

    Returns:
        The step.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> kick = noise.HessianNoise(learning_rate=0.1, batch_size=5)
        >>> step = sgd(catalog.quartic(), kick, sp.Symbol("dt"))
        >>> len(step.update)
        1
    """
    if not isinstance(noise, MinibatchNoise):
        return replace(euler_maruyama(landscape, noise, dt), physical=True)
    noise.check(landscape)
    counts = fresh("count", len(noise.losses))
    slopes = [
        [horner(_expressions.derivative(loss, x)) for x in landscape.variables]
        for loss in noise.losses
    ]
    update = []
    for i, x in enumerate(landscape.variables):
        parts = (-dt / noise.batch_size * n * s[i] for n, s in zip(counts, slopes, strict=True))
        update.append(sp.Add(x, *parts))
    batch = Batch(counts, noise.batch_size, noise.replacement)
    return Step(landscape.variables, tuple(update), batch=batch, physical=True)


def momentum(beta: float, rule: Rule = sgd) -> Rule:
    r"""Heavy-ball momentum on top of another rule.

    :math:`v' = \beta v + \Delta,\ \theta' = \theta + v'`, where :math:`\Delta` is what the other
    rule would add to :math:`\theta`. The velocity starts at zero. Where a walker hardly moves in
    :math:`1/(1-\beta)` steps, it does what it would with the step :math:`dt/(1-\beta)` and
    the noise :math:`D/(1-\beta)`, while times count dt a step.

    Args:
        beta: :math:`\beta`, the share of the velocity that is kept.
        rule: the rule whose moves are added up.

    Returns:
        The rule.

    Raises:
        ValueError: :math:`\beta` is not in [0, 1).

    Example:
        >>> from ddt_utils import catalog, noise
        >>> heavy, kick = momentum(0.9, euler_maruyama), noise.WhiteNoise(0.25)
        >>> len(heavy(catalog.quartic(), kick, sp.Symbol("dt")).state)
        2
    """
    remedy = "it is the share of the velocity that is kept"
    _checks.number("beta, of momentum,", beta, least=0, below=1, remedy=remedy)

    def heavy_ball(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
        step = step_of(rule, landscape, noise, dt)
        n = landscape.dimension
        v = fresh("velocity", n)
        w = fresh("faster", n)
        kept = tuple(
            (new, beta * old + (moved - x))
            for new, old, moved, x in zip(w, v, step.update, step.state, strict=False)
        )
        return replace(
            step,
            state=(*step.state[:n], *v, *step.state[n:]),
            update=(
                *(x + new for x, new in zip(step.state, w, strict=False)),
                *w,
                *step.update[n:],
            ),
            initial_state=(0.0,) * n + step.initial_state if step.initial_state else (),
            where=step.where + kept,
            physical=True,  # the barrier shift is that of a walker without velocity
        )

    return heavy_ball


def step_of(rule: Rule, landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
    """The step of a rule.

    Args:
        rule: the rule.
        landscape: the loss.
        noise: what drives the walker.
        dt: the symbol of the time step.

    Returns:
        What the rule returns for them.

    Raises:
        ValueError: it is no function of these three that returns a step.
    """
    name, step = getattr(rule, "__name__", repr(rule)), None
    try:
        inspect.signature(rule).bind(landscape, noise, dt)
    except (TypeError, ValueError):
        fits = False
    else:
        fits, step = True, rule(landscape, noise, dt)
    if not isinstance(step, Step):
        found = f"{name}, which returned {step!r:.80}" if fits else name
        raise ValueError(
            "a rule is a function of landscape, noise and dt that returns a Step, got "
            f"{found}; a rule with options is made by a call first, as in momentum(0.9) or adam()"
        )
    return step


def fresh(name: str, count: int) -> tuple[sp.Dummy, ...]:
    """Symbols that no landscape can have used.

    Args:
        name: what they are called.
        count: how many.

    Returns:
        Real symbols, ``name0`` and so on.
    """
    return tuple(sp.Dummy(f"{name}{i}", real=True) for i in range(count))


def slopes(landscape: Landscape) -> list[sp.Expr]:
    """The gradient; a polynomial in one variable as Horner's rule, which takes fewer operations.

    Args:
        landscape: the loss.

    Returns:
        n expressions.
    """
    return [horner(slope) for slope in landscape.gradient_expression]


def horner(slope: sp.Expr) -> sp.Expr:
    """A polynomial in one variable as Horner's rule; powers of sums stay, they would cancel.

    Args:
        slope: any expression.

    Returns:
        The same function; the same expression if it is no such polynomial.
    """
    polynomial = len(slope.free_symbols) == 1 and slope.is_polynomial()
    return sp.horner(slope) if polynomial and slope == sp.expand(slope) else slope
