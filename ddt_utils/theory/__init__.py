r"""Closed forms of the theory; every result carries its formula and the assumptions behind it.

Conventions: a is the minimum, b the saddle, :math:`\Delta L = L(b) - L(a)` the barrier and
:math:`\tau` the mean time to reach *the other valley*. The first passage to the saddle itself takes
:math:`\tau/2`, but only in the limit :math:`D \to 0`.

Each formula is one SymPy expression, from which the number and the LaTeX are both made; the
times are a :class:`Prediction`, whose ``value`` is in units of t. Arguments that are no finite real
numbers, or have the wrong sign, are refused with a ValueError that says which, and what to do.
"""

from ddt_utils.theory.diffusion import (
    eyring_kramers_time,
    kramers_correction,
    kramers_time,
    state_dependent_time,
)
from ddt_utils.theory.formula import Prediction
from ddt_utils.theory.sgd import path_fraction, sgd_escape_time, step_factor
from ddt_utils.theory.valleys import chain_occupation, occupation

__all__ = [
    "Prediction",
    "chain_occupation",
    "eyring_kramers_time",
    "kramers_correction",
    "kramers_time",
    "occupation",
    "path_fraction",
    "sgd_escape_time",
    "state_dependent_time",
    "step_factor",
]
