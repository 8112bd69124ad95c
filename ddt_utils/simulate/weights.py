r"""Weights that decay, and weights that are divided by their length."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from ddt_utils import _checks
from ddt_utils.landscape import Landscape
from ddt_utils.noise import Noise
from ddt_utils.simulate._gradient import along, bare, moved
from ddt_utils.simulate.rules import fresh, sgd, step_of
from ddt_utils.simulate.step import Rule, Step


def weight_decay(rate: float, *, rule: Rule = sgd) -> Rule:
    r"""Weight decay beside another rule: :math:`\theta' = (1-\eta\lambda)\,\theta + \Delta`.

    :math:`\Delta` is what the other rule would add to :math:`\theta`. On top of SGD it is the
    gradient of :math:`\lambda|\theta|^2/2`; on top of Adam it is not, and the two together are
    AdamW (Loshchilov and Hutter, ICLR 2019).

    Args:
        rate: λ, per unit of time t = η × iterations, or of the sum of the rule's steps.
        rule: the rule that moves the walker otherwise.

    Returns:
        The rule.

    Raises:
        ValueError: a rate that is not positive.

    Example:
        >>> from ddt_utils import catalog, noise, simulate
        >>> kick, dt = noise.WhiteNoise(0.25), sp.Symbol("dt")
        >>> adamw = weight_decay(0.5, rule=simulate.adam())
        >>> step = adamw(catalog.quartic(), kick, dt)
        >>> [symbol.name for symbol in step.state]
        ['x', 'mean0', 'square0', 'weight0', 'weight1']
    """
    rate = _checks.number("rate", rate, above=0, remedy="it is the λ of weight decay")

    def decaying(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
        step, n = step_of(rule, landscape, noise, dt), landscape.dimension
        time = step.duration or dt
        update = tuple(
            new - time * rate * x for new, x in zip(step.update, landscape.variables, strict=False)
        )
        return replace(step, update=update + step.update[n:])

    return decaying


def normalised(*, rule: Rule = sgd) -> Rule:
    r"""Descent of a model that divides its weights by their length, as normalisation layers do.

    The loss is :math:`\ell(w) = L(w/|w|)` and its gradient, with :math:`u = w/|w|`,

    .. math:: \hat g_\ell(w) = \frac{1}{|w|}\left(\hat g(u) - u\,(u\cdot\hat g(u))\right),

    noise included: across w, and smaller the longer w is. With weight decay the two balance at
    :math:`|w|^4 = \eta\sigma^2/2\lambda`, where :math:`\sigma^2` is the trace of the covariance of
    the gradient across u (Li, Lyu and Arora, NeurIPS 2020; Li, Wang and Yu, NeurIPS 2022).

    Args:
        rule: the rule whose gradient at u is taken; it carries nothing but the place.

    Returns:
        The rule. A start at the origin has no direction and is refused when a problem is made.

    Raises:
        ValueError: from the rule, fewer than two variables.

    Example:
        >>> from ddt_utils import landscape, noise
        >>> u, v = sp.symbols("u v", real=True)
        >>> ring = landscape.Landscape(u, (u, v), name="ring", box=((-9, 9),) * 2)
        >>> kick, dt = noise.WhiteNoise(0.5), sp.Symbol("dt")
        >>> step = weight_decay(0.05, rule=normalised())(ring, kick, dt)
        >>> for name, value in step.where[:3]:
        ...     print(name, value)
        _length sqrt(u**2 + v**2)
        _unit0 u/_length
        _unit1 v/_length
    """

    def projected(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
        n, variables = landscape.dimension, landscape.variables
        if n < 2:
            raise ValueError(
                f"normalised weights need at least two variables, got {variables}: one number over "
                "its length is a sign; take a loss of two"
            )
        step = bare(step_of(rule, landscape, noise, dt), landscape, "normalised")
        length, unit = sp.Dummy("length", positive=True), fresh("unit", n)
        pulls, radial = fresh("pull", n), sp.Dummy("radial", real=True)
        where = ((length, sp.sqrt(sp.Add(*(x**2 for x in variables)))),)
        where += tuple((u, x / length) for u, x in zip(unit, variables, strict=True))
        also, at_unit = moved(step, landscape, unit, dt)
        where += (*also, *zip(pulls, at_unit, strict=True))
        where += ((radial, sp.Add(*(u * g for u, g in zip(unit, pulls, strict=True)))),)
        across = [(g - u * radial) / length for u, g in zip(unit, pulls, strict=True)]
        update = along(landscape, across, dt)
        return replace(step, where=where, update=update, physical=True)

    return projected
