"""Escape times of stochastic gradient descent: theory, exact values and simulation.

A loss landscape is written once, as a SymPy expression (:mod:`ddt_utils.landscape`); its gradient,
Hessian, compiled simulation step and LaTeX are generated from it. Importing this package seeds
nothing, downloads nothing and loads no heavy library; each room is imported by name::

    from ddt_utils import catalog, exact, simulate, theory
"""

__version__ = "0.1.0"
