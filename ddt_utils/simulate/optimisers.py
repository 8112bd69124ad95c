r"""Optimisers other than SGD, as rules: SAM, Adam, AdaL.

Each is put on top of another rule, SGD if nothing else is said, and takes from it the gradient
:math:`\hat g`, noise included: of a real minibatch, with normal noise, with noisy labels or heavy
tails (:mod:`~ddt_utils.simulate.drives`). They can be put on top of each other:
``weight_decay(0.01, rule=adam())`` is AdamW, ``momentum(0.9, sam(0.05))`` is SAM with momentum. As
in :func:`~ddt_utils.simulate.sgd` the step is the learning rate and happens as it stands, so that
no barrier is shifted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils.landscape import Landscape
from ddt_utils.noise import Noise
from ddt_utils.simulate._gradient import along, bare, gradient, moved, unbatched
from ddt_utils.simulate.rules import fresh, sgd, slopes, step_of
from ddt_utils.simulate.step import Rule, Step

ASCENTS = ("same", "independent", "full")
_TINY = 1e-12  # beside the length of a gradient, as in the authors' code
_SMALLEST = 1e-30  # of a mean square that is divided by


def sam(radius: float, *, ascent: str = "same", normalised: bool = True, rule: Rule = sgd) -> Rule:
    r"""Sharpness-aware minimisation: the gradient is taken a little way uphill.

    .. math:: \theta' = \theta - \eta\,\hat g_2(\theta + \rho u),

    .. math:: u = \frac{\hat g_1(\theta)}{|\hat g_1(\theta)|}

    (Foret, Kleiner, Mobahi and Neyshabur, ICLR 2021), or :math:`u = \hat g_1(\theta)`, which is
    USAM (Andriushchenko and Flammarion, ICML 2022). What is drawn for the climb :math:`\hat g_1`
    decides what SAM does to an escape: the gradient of the same minibatch follows its own noise.
    Normal noise with the same draw means the same :math:`\xi` at both places.

    Args:
        radius: ρ, in units of θ; without normalisation in units of θ over the gradient.
        ascent: whose gradient one climbs: ``"same"``, that of the minibatch which the descent
            uses; ``"independent"``, that of another minibatch; ``"full"``, that of the loss.
        normalised: divide the gradient of the climb by its length.
        rule: the rule whose gradient is taken; it carries nothing but the place.

    Returns:
        The rule.

    Raises:
        ValueError: a radius that is not positive, an unknown ascent; from the rule, a rule below
            it that carries a velocity or the like.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> kick, dt = noise.WhiteNoise(0.25), sp.Symbol("dt")
        >>> twice = sam(0.1, ascent="independent")
        >>> len(twice(catalog.quartic(), kick, dt).normals)
        2
    """
    radius = _checks.number("radius", radius, above=0, remedy="use sgd for none")
    _checks.choice("ascent", ascent, ASCENTS)
    _checks.choice("normalised", normalised, (True, False))

    def sharpness_aware(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
        step = bare(step_of(rule, landscape, noise, dt), landscape, "sam")
        other = step
        if ascent == "independent":
            other = unbatched(step_of(rule, landscape, noise, dt))
        climb = slopes(landscape) if ascent == "full" else gradient(other, landscape, dt)
        n = landscape.dimension
        uphill, ahead, length = fresh("uphill", n), fresh("ahead", n), sp.Dummy("length", real=True)
        where = () if other is step else other.where
        where += (*step.where, *zip(uphill, climb, strict=True))
        if normalised:
            where += ((length, sp.sqrt(sp.Add(*(g**2 for g in uphill))) + _TINY),)
        reach = radius / length if normalised else radius
        where += tuple(
            (y, x + reach * g) for y, x, g in zip(ahead, landscape.variables, uphill, strict=True)
        )
        also, descent = moved(step, landscape, ahead, dt)
        fields = {"where": where + also, "physical": True}
        if ascent == "independent":
            fields["normals"] = step.normals + other.normals
            fields["uniforms"] = step.uniforms + other.uniforms
        return replace(step, update=along(landscape, descent, dt), **fields)

    return sharpness_aware


def adam(
    beta1: float = 0.9,
    beta2: float = 0.999,
    *,
    epsilon: float = 1e-8,
    bias_correction: bool = True,
    second_moment: float = 0.0,
    rule: Rule = sgd,
) -> Rule:
    r"""Adam: momentum, and a learning rate for each coordinate by the mean square of its gradient.

    .. math:: m' = \beta_1 m + (1-\beta_1)\,\hat g,

    .. math:: v' = \beta_2 v + (1-\beta_2)\,\hat g^2,

    .. math:: \theta' = \theta - \eta\,\frac{m'/(1-\beta_1^t)}{\sqrt{v'/(1-\beta_2^t)} + \epsilon}

    in the t-th step, coordinate by coordinate (Kingma and Ba, ICLR 2015); without bias correction
    the two :math:`1-\beta^t` are left out. A walker carries m, v and, with bias correction, the two
    :math:`1-\beta^t`, which are summed up and so keep their digits.

    Args:
        beta1: :math:`\beta_1` in [0, 1).
        beta2: :math:`\beta_2` in [0, 1]; with 1 the mean square is frozen at ``second_moment``.
        epsilon: :math:`\epsilon`, in units of the gradient, positive.
        bias_correction: divide the averages by the weight that they have collected since the start.
        second_moment: v at the start, a number or one for each coordinate, in units of the gradient
            squared; other than zero it takes ``bias_correction=False``.
        rule: the rule whose gradient is averaged.

    Returns:
        The rule.

    Raises:
        ValueError: a number out of its range; averages that are corrected for a start at zero and
            do not start there.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> kick, dt = noise.WhiteNoise(0.25), sp.Symbol("dt")
        >>> step = adam()(catalog.quartic(), kick, dt)
        >>> [symbol.name for symbol in step.state]
        ['x', 'mean0', 'square0', 'weight0', 'weight1']
    """
    beta1, beta2, epsilon = _averages(beta1, beta2, epsilon)
    _checks.choice("bias_correction", bias_correction, (True, False))
    given = [second_moment] if np.ndim(second_moment) == 0 else list(second_moment)
    given = [_checks.number("second_moment", v, least=0) for v in given]
    if bias_correction and (any(given) or beta2 == 1):
        raise ValueError(
            "bias correction is for averages that start at zero and move, got beta2 = "
            f"{beta2:g} and second_moment = {second_moment}; set bias_correction=False"
        )
    if beta2 == 1 and not all(given):
        raise ValueError(
            f"a frozen mean square must be positive, got {second_moment}; give second_moment, for "
            "instance the variance of the gradient"
        )

    def adaptive(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
        step = step_of(rule, landscape, noise, dt)
        pulls = gradient(step, landscape, dt)
        step, mean, square = _moments(step, pulls, beta1, beta2, given, bias_correction)
        moves = [m / (sp.sqrt(v) + epsilon) for m, v in zip(mean, square, strict=True)]
        return _with_moves(step, landscape, moves, dt)

    return adaptive


def adal(
    beta1: float = 0.9, beta2: float = 0.999, *, epsilon: float = 1e-8, rule: Rule = sgd
) -> Rule:
    r"""AdaL: Adam on a gradient that is multiplied by its own length, with :math:`\eta/\sqrt t`.

    .. math:: h = |\hat g|_1\,\hat g,

    .. math:: m' = \beta_1 m + (1-\beta_1)\,h,

    .. math:: v' = \beta_2 v + (1-\beta_2)\,h^2,

    .. math:: \theta' = \theta - \frac{\eta}{\sqrt t}\,\frac{m'}{1-\beta_1^t}
        \Bigl(\sqrt{\frac{1-\beta_2^t}{v'}} + \epsilon\Bigr)

    in the t-th step, with :math:`|\cdot|_1` the sum of absolute values (Zhang and others, 2021,
    arXiv:2107.01525). Escape times are sums of :math:`\eta/\sqrt t`. A gradient below 10⁻⁷ or so
    counts as none. That steps are larger than the rounding of the place is checked for the first;
    after a million they are a thousandth of it.

    Args:
        beta1: :math:`\beta_1` in [0, 1).
        beta2: :math:`\beta_2` in [0, 1).
        epsilon: :math:`\epsilon`, in units of the gradient to the power of −2, positive.
        rule: the rule whose gradient is transformed and averaged.

    Returns:
        The rule.

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> kick, dt = noise.WhiteNoise(0.25), sp.Symbol("dt")
        >>> step = adal()(catalog.quartic(), kick, dt)
        >>> len(step.state), step.iteration is not None
        (5, True)
    """
    beta1, beta2, epsilon = _averages(beta1, beta2, epsilon)
    if beta2 == 1:
        raise ValueError("beta2, of AdaL, must be below 1, got 1; a frozen mean square is Adam's")

    def transformed(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
        step = step_of(rule, landscape, noise, dt)
        pulls = fresh("pull", landscape.dimension)
        where = (*step.where, *zip(pulls, gradient(step, landscape, dt), strict=True))
        scale = sp.Dummy("scale", real=True)
        where += ((scale, sp.Add(*(sp.Abs(g) for g in pulls))),)
        step = replace(step, where=where)
        step, mean, square = _moments(step, [scale * g for g in pulls], beta1, beta2, [0.0], True)
        count = step.iteration or sp.Dummy("iteration", real=True)
        moves = [
            m * (1 / sp.sqrt(sp.Max(v, _SMALLEST)) + epsilon) / sp.sqrt(count + 1)
            for m, v in zip(mean, square, strict=True)
        ]
        duration = (step.duration or dt) / sp.sqrt(count + 1)
        return _with_moves(replace(step, iteration=count, duration=duration), landscape, moves, dt)

    return transformed


def _with_moves(step, landscape, moves, dt):
    """A step whose coordinates move so instead, the rest of its state as it stands."""
    update = along(landscape, moves, dt) + step.update[landscape.dimension :]
    return replace(step, update=update, physical=True)


def _averages(beta1, beta2, epsilon):
    remedy = "it is the share of an average that is kept"
    return (
        _checks.number("beta1", beta1, least=0, below=1, remedy=remedy),
        _checks.number("beta2", beta2, least=0, most=1, remedy=remedy),
        _checks.number("epsilon", epsilon, above=0, remedy="it keeps a division from 0/0"),
    )


def _moments(step, pulls, beta1, beta2, second_moment, corrected):
    """The step that carries the averages of the pulls and of their squares too, and the averages.

    They stand behind the coordinates: n means, n mean squares and, corrected, the two weights.

    Returns:
        The step, whose coordinates do not move yet, the n means and the n mean squares.

    Raises:
        ValueError: another number of mean squares at the start than of coordinates.
    """
    n, many = len(pulls), len(second_moment)
    if many not in (1, n):
        raise ValueError(
            f"second_moment must be one number or {n}, one for each coordinate, got {second_moment}"
        )
    start = [*[0.0] * n, *second_moment * (n // many)]
    old = (*fresh("mean", n), *fresh("square", n))
    new = (*fresh("next_mean", n), *fresh("next_square", n))
    values = [beta1 * m + (1 - beta1) * g for m, g in zip(old[:n], pulls, strict=True)]
    values += [beta2 * v + (1 - beta2) * g**2 for v, g in zip(old[n:], pulls, strict=True)]
    mean, square = new[:n], new[n:]
    if corrected:
        weights, heavier = fresh("weight", 2), fresh("next_weight", 2)
        values += [b * w + (1 - b) for b, w in zip((beta1, beta2), weights, strict=True)]
        old, new, start = old + weights, new + heavier, [*start, 0.0, 0.0]
        mean, square = ([a / w for a in m] for m, w in zip((mean, square), heavier, strict=True))
    rest = step.initial_state or (0.0,) * (len(step.state) - n)
    step = replace(
        step,
        state=(*step.state[:n], *old, *step.state[n:]),
        update=(*step.update[:n], *new, *step.update[n:]),
        initial_state=(*start, *rest),
        where=(*step.where, *zip(new, values, strict=True)),
    )
    return step, mean, square
