r"""What drives the walker: the diffusion matrix :math:`D(\theta)` of
:math:`d\theta = -\nabla L\,dt + \sqrt{2D}\,dW` (Ito).

For SGD :math:`D = \frac{\eta}{2} C`, where C is the covariance of one minibatch gradient. A noise
model states D as a SymPy matrix in the variables of a landscape, from which the compiled step, the
quadrature and the Fokker–Planck operator are generated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from ddt_utils.landscape import Landscape

#: Where in a step the noise is evaluated, as a fraction of the step.
CONVENTIONS = {"ito": 0.0, "stratonovich": 0.5, "isothermal": 1.0}


def convention_exponent(convention: str) -> float:
    r"""The :math:`\alpha` of a convention: the Ito drift is :math:`-\nabla L + \alpha D'`.

    Raises:
        ValueError: the convention is not one of :data:`CONVENTIONS`.
    """
    if convention not in CONVENTIONS:
        raise ValueError(
            f"convention must be one of {sorted(CONVENTIONS)}, got {convention!r}; "
            "SGD, which evaluates its noise before the step, is 'ito'"
        )
    return CONVENTIONS[convention]


class Noise:
    """What every noise model offers: D as SymPy, and from it D as numbers."""

    def diffusion_matrix(self, landscape: Landscape) -> sp.ImmutableMatrix:
        """D as a SymPy matrix of shape (n, n) in the variables of the landscape."""
        raise NotImplementedError

    def diffusion(self, landscape: Landscape, *coordinates) -> np.ndarray:
        """D at points given as one coordinate array per variable; shape (..., n, n)."""
        flat = landscape.evaluate(tuple(self.diffusion_matrix(landscape)), *coordinates)
        return flat.reshape(flat.shape[:-1] + (landscape.dimension, landscape.dimension))


@dataclass(frozen=True)
class WhiteNoise(Noise):
    """The same noise everywhere and in every direction: D times the identity, as in SGLD.

    Args:
        diffusion_constant: D, half a variance per unit time.

    Raises:
        ValueError: D is not positive and finite.

    Example:
        >>> from ddt_utils import catalog
        >>> WhiteNoise(0.25).diffusion_matrix(catalog.quartic())
        Matrix([[0.25]])
    """

    diffusion_constant: float

    def __post_init__(self):
        _require_positive(self.diffusion_constant, "diffusion_constant")

    def diffusion_matrix(self, landscape: Landscape) -> sp.ImmutableMatrix:
        """D times the identity of shape (n, n)."""
        strength = sp.sympify(self.diffusion_constant)
        return sp.ImmutableMatrix(strength * sp.eye(landscape.dimension))


@dataclass(frozen=True)
class StateDependentNoise(Noise):
    r"""Noise that depends on where the walker is.

    Args:
        expression: D(θ) in the variables of the landscape: one SymPy expression (times the
            identity), a tuple of n expressions (a diagonal matrix), or a constant symmetric
            positive-definite matrix.

    Raises:
        ValueError: by :meth:`diffusion_matrix`, if D uses unknown symbols, has the wrong shape, is
            a constant that is not positive definite, or a full matrix that depends on θ.
    """

    expression: sp.Expr | tuple | sp.MatrixBase

    def diffusion_matrix(self, landscape: Landscape) -> sp.ImmutableMatrix:
        """D as a SymPy matrix of shape (n, n)."""
        n, given = landscape.dimension, self.expression
        if isinstance(given, tuple):
            matrix = sp.diag(*given)
        elif isinstance(given, (sp.MatrixBase, list, np.ndarray)):
            matrix = sp.Matrix(given)
        else:
            matrix = sp.sympify(given) * sp.eye(n)
        if matrix.shape != (n, n):
            raise ValueError(
                f"D must be {n} × {n} for {landscape.name}, got shape {matrix.shape}; "
                "give one expression, one per variable, or an n × n matrix"
            )
        unknown = matrix.free_symbols - set(landscape.variables)
        if unknown:
            raise ValueError(
                f"D may use only the variables {landscape.variables}, got also {unknown}; "
                "take the symbols from landscape.variables"
            )
        if matrix.free_symbols and not matrix.is_diagonal():
            raise ValueError(
                "a D that depends on the state must be diagonal, got a full matrix; "
                "give one expression per variable"
            )
        if not matrix.free_symbols:
            numbers = np.array(matrix.tolist(), dtype=float)
            if not np.allclose(numbers, numbers.T) or np.linalg.eigvalsh(numbers).min() <= 0:
                raise ValueError(
                    f"a constant D must be symmetric and positive definite, got {numbers.tolist()}"
                )
        return sp.ImmutableMatrix(matrix)


@dataclass(frozen=True)
class HessianNoise(Noise):
    r"""The noise of SGD near a minimum, :math:`D = \frac{\eta}{2B}\max(|H|, \text{floor})`.

    The covariance of a minibatch gradient is taken as :math:`|H|/B`, with :math:`|H|` the absolute
    value of the spectrum of the Hessian (Xie, Sato and Sugiyama, ICLR 2021). Without a floor D
    vanishes where a curvature changes sign smoothly, and a walker in continuous time can never
    climb past such a point.

    Args:
        learning_rate: η, time per iteration.
        batch_size: B.
        floor: the smallest curvature that the noise sees, in units of H.

    Raises:
        ValueError: η or B not positive, the floor negative; by :meth:`diffusion_matrix`, if the
            Hessian is not diagonal.
    """

    learning_rate: float
    batch_size: float
    floor: float = 0.0

    def __post_init__(self):
        _require_positive(self.learning_rate, "learning_rate")
        _require_positive(self.batch_size, "batch_size")
        if not self.floor >= 0:
            raise ValueError(f"floor must be zero or positive, got {self.floor}; it is a curvature")

    @property
    def temperature(self) -> sp.Expr:
        """η/2B, by which the curvature is multiplied to give D."""
        return sp.sympify(self.learning_rate) / (2 * sp.sympify(self.batch_size))

    def diffusion_matrix(self, landscape: Landscape) -> sp.ImmutableMatrix:
        """D as a diagonal SymPy matrix of shape (n, n)."""
        hessian = landscape.hessian_expression
        if not hessian.is_diagonal():
            raise ValueError(
                f"HessianNoise needs a diagonal Hessian, that of {landscape.name} is full; "
                "use a landscape that is a sum over its coordinates"
            )
        return sp.diag(
            *(self.temperature * self._floored(h) for h in hessian.diagonal())
        ).as_immutable()

    def _floored(self, curvature):
        if isinstance(curvature, sp.Piecewise):  # keeps the pieces of a piecewise-quadratic well
            return sp.Piecewise(*((self._floored(e), c) for e, c in curvature.args))
        size = sp.Abs(curvature)
        return sp.Max(size, sp.sympify(self.floor)) if self.floor else size


def _require_positive(value, name):
    if not (np.isfinite(float(value)) and value > 0):
        raise ValueError(
            f"{name} must be positive and finite, got {value}; "
            "D = learning_rate / 2 times the covariance of a minibatch gradient"
        )
