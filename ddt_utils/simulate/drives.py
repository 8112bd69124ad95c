r"""What drives a walker other than Gaussian white noise: noisy labels, jumps, inertia.

The drift is :math:`-\nabla L`, and the strength of jumps and of thermal kicks is that of the
problem's noise, as :math:`\sigma` with :math:`D = \sigma\sigma^\top`. No barrier is shifted, as
that corrects for Gaussian kicks of a place. Kicks with a memory are
:func:`~ddt_utils.simulate.fractional`.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from ddt_utils import _checks
from ddt_utils._diffusion import expression
from ddt_utils._expressions import derivative
from ddt_utils.landscape import Landscape
from ddt_utils.noise import Noise
from ddt_utils.simulate._gradient import driven
from ddt_utils.simulate.rules import fresh, sgd, slopes, step_of
from ddt_utils.simulate.step import Rule, Start, Step

LAWS = ("normal", "sign")


def label_noise(outputs, spread: float, *, law: str = "normal", rule: Rule = sgd) -> Rule:
    r"""Labels that are disturbed anew in every iteration.

    For :math:`L = \frac1{2m}\sum_i (f_i - y_i)^2` and labels :math:`y_i + s_i`

    .. math:: \theta' = \theta + \Delta + \eta\sum_i w_i\,s_i\,\nabla f_i(\theta)

    with :math:`\Delta` what the other rule adds; :math:`w_i = 1/m`, and for real minibatches
    :math:`n_i/B`, where sample i is in the batch :math:`n_i` times, always with the same label
    (Blanc, Gupta, Valiant and Valiant, COLT 2020; Damian, Ma and Lee, NeurIPS 2021). It vanishes
    only where no output moves, and drifts along a valley of zero loss in :math:`\eta^{-2}` steps
    (Li, Wang and Arora, ICLR 2022).

    Args:
        outputs: :math:`f_i`, the m outputs of the model as formulas in the landscape's variables.
        spread: the standard deviation of :math:`s_i`, in units of the labels.
        law: ``"normal"``, or ``"sign"``: plus or minus ``spread`` with equal odds.
        rule: the rule that moves the walker otherwise.

    Returns:
        The rule.

    Raises:
        ValueError: a spread that is not positive, an unknown law, an output that is no formula;
            from the rule, other symbols or another number of samples than in the minibatch.

    Example:
        >>> from ddt_utils import landscape, noise
        >>> x, dt = sp.symbols("x dt", real=True)
        >>> fit = landscape.Landscape(
        ...     (x**2 - 2)**2 / 2, (x,), name="fit", box=((-3, 3),))
        >>> still = noise.FactorNoise(sp.zeros(1, 1))
        >>> step = label_noise([x**2], 0.5)(fit, still, dt)
        >>> step.update[0].subs(x, 3)
        3.0*_label0*dt - 42*dt + 3
    """
    outputs = tuple(expression("an output", f) for f in _checked_outputs(outputs))
    spread = _checks.number("spread", spread, above=0, remedy="it is that of the labels")
    _checks.choice("law", law, LAWS)

    def disturbed(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
        step, variables = step_of(rule, landscape, noise, dt), landscape.variables
        unknown = set().union(*(f.free_symbols for f in outputs)) - set(variables)
        if unknown:
            raise ValueError(
                f"the outputs may use the variables {variables} only, got also {unknown}; put "
                "numbers for the data"
            )
        m = len(outputs)
        counts, size = (step.batch.counts, step.batch.size) if step.batch else ((1,) * m, m)
        if len(counts) != m:
            raise ValueError(
                f"there must be one output for each of the {len(counts)} sample losses, got {m}"
            )
        draws = fresh("label", m)
        shifts = draws
        if law == "sign":
            half = sp.Rational(1, 2)
            shifts = [sp.Piecewise((1, u > half), (-1, True)) for u in draws]
        update = list(step.update)
        for j, x in enumerate(variables):
            kicks = (
                dt * spread / size * n * s * derivative(f, x)
                for n, s, f in zip(counts, shifts, outputs, strict=True)
            )
            update[j] = sp.Add(update[j], *kicks)
        drawn = {"uniforms": step.uniforms + draws}
        if law == "normal":
            drawn = {"normals": step.normals + draws}
        return replace(step, update=tuple(update), physical=True, **drawn)

    return disturbed


def _checked_outputs(outputs):
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    if not outputs:
        raise ValueError("there must be at least one output, got none; give f(θ) of each sample")
    return outputs


def stable(index: float) -> Rule:
    r"""Kicks with power-law tails, :math:`\theta' = \theta - \nabla L\,dt + dt^{1/\alpha}\sigma S`.

    The entries of S are independent with :math:`E\,e^{ikS} = e^{-|k|^\alpha}`: Cauchy's law for
    :math:`\alpha = 1`, a normal one of variance 2 for :math:`\alpha = 2`. They are drawn as
    Chambers, Mallows and Stuck do (Journal of the American Statistical Association 71, 340, 1976),

    .. math:: |S| = \frac{\sin(\alpha\Phi)}{(\cos\Phi)^{1/\alpha}}
        \Bigl(\frac{\cos((1-\alpha)\Phi)}{W}\Bigr)^{(1-\alpha)/\alpha},

    with an exponential W, a sign of its own, and :math:`\Phi = \frac\pi2(1-u)`, all of whose
    sines and cosines are written as sines of sums of positive terms: none loses its digits or its
    sign where the jump is long. As noise of SGD: Şimşekli, Sagun and Gürbüzbalaban, ICML 2019.

    Args:
        index: α, from 0.5 (longer jumps are beyond single precision) to 2.

    Returns:
        The rule. It takes any noise with a factor σ; for kicks of scale ε give
        ``WhiteNoise(epsilon**2)``.

    Raises:
        ValueError: an index out of its range.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> kick, dt = noise.WhiteNoise(0.1**2), sp.Symbol("dt", positive=True)
        >>> step = stable(1.5)(catalog.quartic(), kick, dt)
        >>> len(step.uniforms), len(step.normals)
        (3, 0)
    """
    remedy = "a kick beyond 1e38 is none in single precision"
    alpha = _checks.number("index", index, least=0.5, most=2, remedy=remedy)

    def levy(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
        where, factor = noise.factor(landscape)
        draws = fresh("uniform", 3 * factor.shape[1])
        jumps = [_stable(alpha, *draws[i : i + 3]) for i in range(0, len(draws), 3)]
        names = fresh("jump", len(jumps))
        update = driven(landscape, factor, names, dt ** (1 / alpha), dt)
        where = (*where, *zip(names, jumps, strict=True))
        return Step(landscape.variables, update, uniforms=draws, where=where, physical=True)

    return levy


def _stable(alpha, u, w, side):
    """A symmetric stable number from three uniform ones."""
    quarter = sp.pi / 2
    wait = sp.Max(-sp.log(w), 2.0**-25)  # of a w that was rounded to one
    sign = sp.Piecewise((1, side > sp.Rational(1, 2)), (-1, True))
    if alpha > 1:
        above = sp.sin(quarter * ((2 - alpha) + alpha * u))
        across = sp.sin(quarter * ((2 - alpha) + (alpha - 1) * u))
    else:
        above = sp.sin(quarter * alpha * (1 - u))
        across = sp.sin(quarter * (alpha + (1 - alpha) * u))
    size = above / sp.sin(quarter * u) ** (1 / alpha)
    if alpha > 1:
        size *= (wait / across) ** ((alpha - 1) / alpha)
    elif alpha < 1:
        size *= (across / wait) ** ((1 - alpha) / alpha)
    return sign * size


def langevin(friction: float) -> Rule:
    r"""Underdamped Langevin dynamics: a walker of unit mass that keeps its velocity for a while.

    .. math:: d\theta = v\,dt,

    .. math:: dv = -\nabla L\,dt - \gamma v\,dt + \sqrt{2\gamma}\,\sigma\,dW

    by the splitting BAOAB (Leimkuhler and Matthews, Applied Mathematics Research eXpress 2013, 34):

    .. math:: v_1 = v - \tfrac{dt}2\nabla L(\theta),

    .. math:: \theta_1 = \theta + \tfrac{dt}2 v_1,

    .. math:: v_2 = e^{-\gamma dt}v_1 + \sqrt{1-e^{-2\gamma dt}}\,\sigma(\theta_1)\,\xi,

    .. math:: \theta' = \theta_1 + \tfrac{dt}2 v_2,

    .. math:: v' = v_2 - \tfrac{dt}2\nabla L(\theta').

    With constant D = σ² the walker rests in :math:`\exp(-(L + v^2/2)/D)`, the same law of the place
    as without inertia, at any friction; in a parabola the variance of the place is right for every
    step :math:`dt < 2/\sqrt h`. The velocity starts at rest, as :math:`\sigma(\theta)\,\xi`. A
    place is noticed beyond an exit at the end of a step, late by at most one; halve the step to
    see what that does. Where friction is high, escapes take :math:`\gamma` times as long as those
    of :math:`d\theta = -\nabla L\,dt + \sqrt{2D}\,dW`.

    Args:
        friction: γ, per unit of time.

    Returns:
        The rule; the velocities ``velocity0`` and on stand behind the coordinates.

    Raises:
        ValueError: a friction that is not positive.

    Example:
        >>> from ddt_utils import catalog, noise, simulate
        >>> well, kick = catalog.quartic(), noise.WhiteNoise(0.25)
        >>> (x,) = well.variables
        >>> result = simulate.first_passage(
        ...     well, kick, start=-1, exit=x > 1, step=0.1,
        ...     walkers=1000, seed=1, rule=langevin(0.5))
        >>> result.escaped
        1000
    """
    gamma_ = _checks.number("friction", friction, above=0, remedy="euler_maruyama has no inertia")

    def inertial(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
        n, variables = landscape.dimension, landscape.variables
        names = ("velocity", "pulled", "middle", "kicked", "end")
        v, pulled, middle, kicked, end = (fresh(name, n) for name in names)
        before, factor = noise.factor(landscape)
        xi, down = fresh("xi", factor.shape[1]), slopes(landscape)
        at_middle = dict(zip(variables, middle, strict=True))
        at_end = dict(zip(variables, end, strict=True))
        keep = sp.exp(-gamma_ * dt)
        where = [(p, w - dt / 2 * s) for p, w, s in zip(pulled, v, down, strict=True)]
        where += [(y, x + dt / 2 * p) for y, x, p in zip(middle, variables, pulled, strict=True)]
        where += [(name, e.xreplace(at_middle)) for name, e in before]
        for k, p, row in zip(kicked, pulled, factor.tolist(), strict=True):
            kicks = (
                sp.sqrt(1 - keep**2) * f.xreplace(at_middle) * z
                for f, z in zip(row, xi, strict=True)
            )
            where.append((k, sp.Add(keep * p, *kicks)))
        update = [
            x + dt / 2 * p + dt / 2 * k for x, p, k in zip(variables, pulled, kicked, strict=True)
        ]
        where += zip(end, update, strict=True)
        update += [k - dt / 2 * s.xreplace(at_end) for k, s in zip(kicked, down, strict=True)]
        first = fresh("rest", factor.shape[1])
        known = dict(before)  # the start has no intermediate results
        thermal = [
            sp.Add(*(_inserted(f, known) * z for f, z in zip(row, first, strict=True)))
            for row in factor.tolist()
        ]
        return Step(
            (*variables, *v),
            tuple(update),
            normals=xi,
            where=tuple(where),
            start=Start(tuple(zip(v, thermal, strict=True)), normals=first),
            physical=True,
        )

    return inertial


def _inserted(e, known):
    """An expression without intermediate results."""
    while e.free_symbols & known.keys():
        e = e.xreplace(known)
    return e
