r"""Noise with a memory: the increments of fractional Brownian motion, as a sum of states."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, gamma, log

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils.landscape import Landscape
from ddt_utils.noise import Noise
from ddt_utils.simulate._gradient import driven
from ddt_utils.simulate.rules import fresh
from ddt_utils.simulate.step import Rule, Start, Step

_RATIO = 4.0  # between neighbouring rates of the Ornstein–Uhlenbeck states
_FASTEST = 4.0  # the largest of them, per step, where the kicks are their increments


def fractional(hurst: float, *, memory: int = 1000) -> Rule:
    r"""Kicks with a memory, the increments of fractional Brownian motion :math:`B^H`.

    .. math:: \theta' = \theta - \nabla L\,dt + \sqrt2\,\sigma\,\Delta B^H,

    with :math:`E(B^H(t)-B^H(s))^2 = |t-s|^{2H}` (Mandelbrot and Van Ness, SIAM Review 10, 422,
    1968): kicks that undo each other for :math:`H < 1/2`, that persist for :math:`H > 1/2`. As
    noise of SGD: Tan, Zhang and Liu, arXiv:2206.04359.

    :math:`t^{2H}` is an integral over rates :math:`\lambda` of
    :math:`\lambda^{-1-2H}(1-e^{-\lambda t})`, and for :math:`H > 1/2` of
    :math:`\lambda^{-1-2H}(e^{-\lambda t} - 1 + \lambda t)`. So :math:`B^H` is a sum of independent
    Ornstein–Uhlenbeck processes, one for each rate, or of their integrals (Carmona, Coutin and
    Montseny, Statistical Inference for Stochastic Processes 3, 161, 2000). Here the rates go in
    powers of 4; what is faster than all is made of fresh numbers, what is slower is white or, for
    :math:`H > 1/2`, a constant. The states are at rest from the first step on, and a kick has
    exactly the variance that it should have. The variance of a sum of k kicks is
    :math:`k^{2H}` to 0.2 % for k up to ``memory``/10 and to 1 % up to ``memory``.

    Args:
        hurst: H, from 0.05 to 0.95.
        memory: over how many steps kicks are correlated as they should be, 10 to 10⁵. A factor
            of 4 costs one state and one normal number for each column of the noise's factor.

    Returns:
        The rule.

    Raises:
        ValueError: a number out of its range.

    Example:
        A place and nine states, with their law at the start.

        >>> from ddt_utils import catalog, noise
        >>> kick, dt = noise.WhiteNoise(0.25), sp.Symbol("dt")
        >>> step = fractional(0.25)(catalog.quartic(), kick, dt)
        >>> len(step.state), len(step.start.values)
        (10, 9)
    """
    hurst = _checks.number("hurst", hurst, least=0.05, most=0.95)
    memory = _checks.whole("memory", memory, least=10, most=10**5, remedy="it is a number of steps")
    law = _memory(hurst, memory)

    def remembering(landscape: Landscape, noise: Noise, dt: sp.Symbol) -> Step:
        where, factor = noise.factor(landscape)
        columns = factor.shape[1]
        states = [fresh(f"memory{j}_", len(law.keep)) for j in range(columns)]
        drawn = [fresh(f"xi{j}_", len(law.keep) + 1) for j in range(columns)]
        kicks, later = fresh("kick", columns), []
        for kick, own, xi in zip(kicks, states, drawn, strict=True):
            parts = [a * y for a, y in zip(law.old, own, strict=True)]
            parts += [b * z for b, z in zip(law.new, xi, strict=False)]
            where += ((kick, sp.Add(law.white * xi[-1], *parts)),)
            later += [
                p * y + q * z for p, q, y, z in zip(law.keep, law.fresh, own, xi, strict=False)
            ]
        update = driven(landscape, factor, kicks, sp.sqrt(2) * dt**hurst, dt)
        own, begin = sum(states, ()), fresh("rest", columns * len(law.keep))
        used = set().union(*(e.free_symbols for e in [*later, *(e for _, e in where)]))
        return Step(
            (*landscape.variables, *own),
            (*update, *later),
            normals=tuple(z for z in sum(drawn, ()) if z in used),
            where=where,
            start=Start(tuple(zip(own, begin, strict=True)), normals=begin) if own else None,
            physical=True,
        )

    return remembering


@dataclass(frozen=True)
class _Memory:
    """A kick is ``old`` · Y + ``new`` · ξ + ``white`` ζ, then Y' = ``keep`` Y + ``fresh`` ξ."""

    keep: tuple[float, ...]
    fresh: tuple[float, ...]
    old: tuple[float, ...]
    new: tuple[float, ...]
    white: float


def _memory(hurst, memory):
    """The Ornstein–Uhlenbeck states of unit variance whose kicks are fractional."""
    if hurst == 0.5:
        return _Memory((), (), (), (), 1.0)
    h, count = 2 * hurst, 3 + ceil(log(memory, _RATIO))
    rates = _FASTEST * _RATIO ** -np.arange(-1.0 if h > 1 else 0.0, count)
    keep, gone = np.exp(-rates), -np.expm1(-rates)
    fresh_ = np.sqrt(-np.expm1(-2 * rates))
    slowest = rates[-1] / np.sqrt(_RATIO)  # what is slower is lumped together
    if h < 1:  # increments of the states
        scale = h / gamma(1 - h)
        size = np.sqrt(scale * rates**-h * log(_RATIO) / 2)
        old, new = -size * gone, size * fresh_
        white = scale * slowest ** (1 - h) / (1 - h)
        rest = np.sqrt((1 - white - np.sum(old**2 + new**2)) / 2)  # of the faster ones
        old, new = np.append(old, -rest), np.append(new, rest)
        keep, fresh_ = np.append(keep, 0.0), np.append(fresh_, 1.0)
    else:  # integrals of the states over a step; what is new in them and not in Y' is white
        scale = h * (h - 1) / gamma(2 - h)
        size = np.sqrt(scale * rates ** (2 - h) * log(_RATIO) / 2) * gone / rates
        old, new = size, size * gone / fresh_
        frozen = np.sqrt(scale * slowest ** (2 - h) / (2 - h) / 2)
        old, new = np.append(old, frozen), np.append(new, 0.0)
        keep, fresh_ = np.append(keep, 1.0), np.append(fresh_, 0.0)
        white = 1 - np.sum(old**2 + new**2)
    numbers = (tuple(map(float, values)) for values in (keep, fresh_, old, new))
    return _Memory(*numbers, float(np.sqrt(white)))
