r"""A diffusion as a process for :mod:`ddt_utils.action`: any drift, any D."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp

from ddt_utils import _curve
from ddt_utils._diffusion import Noise, expression
from ddt_utils._expressions import derivative, numpy_function
from ddt_utils.landscape import Landscape


@dataclass(frozen=True)
class Diffusion:
    r"""The process :math:`d\theta=b\,dt+\sqrt{2D}\,dW` (Ito).

    Args:
        landscape: the loss; of it only the variables are used if there is a ``drift``.
        noise: gives D(θ), any of :mod:`ddt_utils.noise`, positive definite along the curve. Of
            :class:`~ddt_utils.noise.MinibatchNoise` this is the Gaussian of the same covariance.
        drift: b, a tuple of n SymPy expressions in the landscape's variables; None: −∇L.

    Raises:
        ValueError: no landscape, no noise, or a drift of another length or with other symbols.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> from ddt_utils.action import Diffusion, least_action
        >>> well = catalog.quartic()
        >>> process = Diffusion(well, noise.WhiteNoise(0.125))
        >>> round(least_action(process, [-1], [0]).value, 6)  # ΔL/D
        2.0
    """

    landscape: Landscape
    noise: Noise
    drift: tuple | None = None

    def __post_init__(self):
        """Check the arguments."""
        instance("landscape", self.landscape, Landscape)
        instance("noise", self.noise, Noise)
        if self.drift is None:
            return
        given = self.drift if isinstance(self.drift, (tuple, list)) else (self.drift,)
        drift = tuple(written("the drift", b, self.landscape.variables) for b in given)
        if len(drift) != self.landscape.dimension:
            raise ValueError(
                f"drift must have {self.landscape.dimension} entries, one per variable, got "
                f"{len(drift)}; give a tuple of SymPy expressions"
            )
        object.__setattr__(self, "drift", drift)

    @property
    def dimension(self) -> int:
        """The number n of variables."""
        return self.landscape.dimension

    @cached_property
    def _parts(self):
        """The drift, and the slopes of H, as functions of places and momenta."""
        variables = self.landscape.variables
        momenta = sp.symbols(f"p:{self.dimension}", cls=sp.Dummy, real=True)
        down = tuple(-g for g in self.landscape.gradient_expression)
        drift, p = down if self.drift is None else self.drift, sp.Matrix(momenta)
        matrix = self.noise.diffusion_matrix(self.landscape)
        value = (p.T * sp.Matrix(drift))[0] + (p.T * matrix * p)[0]
        slopes = tuple(derivative(value, v) for v in variables)
        return drift, slopes, (*variables, *momenta)

    def _at(self, points):
        """The drift and D."""
        matrix = self.noise.diffusion(self.landscape, *points.T)
        return self.landscape.evaluate(self._parts[0], *points.T), matrix

    def width(self, points) -> np.ndarray:
        """A factor of the mean D along a curve, shape (n, n); see ``_curve.cheapest``."""
        return _curve.factor(self._at(points)[1].mean(axis=0))

    def prices(self, middles, steps):
        """Cost, momentum and slope of each link; see ``_curve.cheapest``."""
        drift, matrix = self._at(middles)
        half = np.linalg.inv(_curve.factor(matrix))
        inverse = np.swapaxes(half, 1, 2) @ half
        along = np.einsum("kij,kj->ki", inverse, steps)
        length = np.sqrt(np.sum(steps * along, axis=1))
        against = np.einsum("kij,kj->ki", inverse, drift)
        pull = np.sqrt(np.sum(drift * against, axis=1))
        pace = length / np.maximum(pull, 1e-300)  # the time of the link
        p = (along / pace[:, None] - against) / 2
        cost = (length * pull - np.sum(against * steps, axis=1)) / 2
        return cost, p, -pace[:, None] * self._pull(middles, p)

    def _pull(self, points, p):
        _, slopes, symbols = self._parts
        found = numpy_function(slopes, symbols)(*points.T, *p.T)
        return np.stack([np.broadcast_to(v, len(points)) for v in found], axis=1)

    def hamiltonian(self, points, momenta) -> np.ndarray:
        r"""H(θ, p).

        Args:
            points: shape (k, n).
            momenta: shape (k, n).

        Returns:
            Shape (k,), in units of 1/t.
        """
        drift, matrix = self._at(points)
        return np.sum(momenta * drift, 1) + np.einsum("ki,kij,kj->k", momenta, matrix, momenta)


def instance(name, value, kind) -> None:
    """Refuse what is not of a class.

    Args:
        name: what the value is called.
        value: anything.
        kind: the class.

    Raises:
        ValueError: it is of another.
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, got {value!r}; see its module")


def written(name, value, symbols) -> sp.Expr:
    """An expression in given symbols.

    Args:
        name: what it is called.
        value: a number or SymPy.
        symbols: those that it may use.

    Returns:
        SymPy.

    Raises:
        ValueError: it is no expression, or has other symbols.
    """
    found = expression(name, value)
    unknown = found.free_symbols - set(symbols)
    if unknown:
        raise ValueError(
            f"{name} may use only the symbols {tuple(symbols)}, got also {unknown}; substitute "
            "numbers for parameters with expression.subs"
        )
    return found
