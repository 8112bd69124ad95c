r"""Ensembles of walkers, :math:`d\theta = -\nabla L\,dt + \sqrt{2D}\,dW` in the Ito sense, and SGD.

:func:`first_passage` follows each walker until it leaves, :func:`ensemble` records where walkers
are at given times, :class:`Splitting` finds escapes too rare to wait for, :func:`sweep` runs many
problems on a cluster. The step is generated from the SymPy expressions of the landscape, the noise
and the exit, runs on all cores or on a GPU, and gives the same bits for one (problem, seed) on
every machine.
"""

from ddt_utils.simulate.driver import ensemble, first_passage, step_bias
from ddt_utils.simulate.drives import label_noise, langevin, stable
from ddt_utils.simulate.memory import fractional
from ddt_utils.simulate.optimisers import adal, adam, sam
from ddt_utils.simulate.problem import Problem
from ddt_utils.simulate.rare import RareEscapes
from ddt_utils.simulate.rules import euler_maruyama, momentum, sgd
from ddt_utils.simulate.run import Interrupted, Run
from ddt_utils.simulate.splitting import Splitting
from ddt_utils.simulate.statistics import EscapeStatistics
from ddt_utils.simulate.step import Batch, Start, Step
from ddt_utils.simulate.sweep import sweep
from ddt_utils.simulate.weights import normalised, weight_decay

__all__ = [
    "Batch",
    "EscapeStatistics",
    "Interrupted",
    "Problem",
    "RareEscapes",
    "Run",
    "Splitting",
    "Start",
    "Step",
    "adal",
    "adam",
    "ensemble",
    "euler_maruyama",
    "first_passage",
    "fractional",
    "label_noise",
    "langevin",
    "momentum",
    "normalised",
    "sam",
    "sgd",
    "stable",
    "step_bias",
    "sweep",
    "weight_decay",
]
