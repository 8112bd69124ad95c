r"""What drives the walker: the diffusion matrix :math:`D(\theta)` of
:math:`d\theta = -\nabla L\,dt + \sqrt{2D}\,dW` (Ito).

For SGD :math:`D = \frac{\eta}{2} C`, where C is the covariance of one minibatch gradient. A noise
model states D as a SymPy matrix in the variables of a landscape, from which the compiled step, the
quadrature and the Fokker–Planck operator are generated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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


@lru_cache(maxsize=256)
def _entries(noise, landscape):
    """The entries of D, which take SymPy far longer to write down than NumPy to evaluate."""
    return tuple(noise.diffusion_matrix(landscape))


class Noise:
    """What every noise model offers: D as SymPy, and from it D as numbers."""

    def diffusion_matrix(self, landscape: Landscape) -> sp.ImmutableMatrix:
        """D as a SymPy matrix of shape (n, n) in the variables of the landscape."""
        raise NotImplementedError

    def factor(self, landscape: Landscape) -> tuple[tuple, sp.Matrix]:
        r"""A matrix :math:`\sigma` with :math:`\sigma\sigma^\top = D`, for the simulated step.

        Roots of a diagonal D, otherwise the lower triangle of Cholesky.

        Returns:
            Intermediate results (symbol, expression) in the order in which they are needed, and
            :math:`\sigma` of shape (n, k) in terms of them.

        Raises:
            ValueError: D is a full matrix that depends on the state in more than four dimensions.
        """
        diffusion = self.diffusion_matrix(landscape)
        if diffusion.is_diagonal():
            return (), sp.diag(*(_root(d) for d in diffusion.diagonal()))
        if not diffusion.free_symbols:
            try:
                lower = np.linalg.cholesky(np.array(diffusion.tolist(), dtype=float))
            except np.linalg.LinAlgError:
                raise ValueError(
                    f"D must be positive definite, got {diffusion.tolist()}; give the factor of a "
                    "D of lower rank with FactorNoise"
                ) from None
            return (), sp.Matrix(lower).applyfunc(lambda v: v if v else sp.Integer(0))
        if landscape.dimension > 4:
            raise ValueError(
                "a full D that depends on the state is factorised in up to 4 dimensions, "
                f"{landscape.name} has {landscape.dimension}; give its factor with FactorNoise"
            )
        return _cholesky(diffusion)

    def diffusion(self, landscape: Landscape, *coordinates) -> np.ndarray:
        """D at points given as one coordinate array per variable; shape (..., n, n)."""
        flat = landscape.evaluate(_entries(self, landscape), *coordinates)
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
            identity), a tuple of n expressions (a diagonal matrix), or a symmetric matrix of
            numbers or expressions.

    Raises:
        ValueError: by :meth:`diffusion_matrix`, if D uses unknown symbols, has the wrong shape, is
            not symmetric, or is a constant that is not positive definite.
    """

    expression: sp.Expr | tuple | sp.MatrixBase

    def __post_init__(self):
        if isinstance(self.expression, (sp.MatrixBase, list, np.ndarray)):
            object.__setattr__(self, "expression", sp.ImmutableMatrix(self.expression))

    def diffusion_matrix(self, landscape: Landscape) -> sp.ImmutableMatrix:
        """D as a SymPy matrix of shape (n, n)."""
        n, given = landscape.dimension, self.expression
        if isinstance(given, tuple):
            matrix = sp.diag(*given)
        elif isinstance(given, sp.MatrixBase):
            matrix = sp.Matrix(given)
        else:
            matrix = sp.sympify(given) * sp.eye(n)
        if matrix.shape != (n, n):
            raise ValueError(
                f"D must be {n} × {n} for {landscape.name}, got shape {matrix.shape}; "
                "give one expression, one per variable, or an n × n matrix"
            )
        _check_symbols(matrix, landscape)
        if not matrix.free_symbols:
            numbers = np.array(matrix.tolist(), dtype=float)
            if not np.allclose(numbers, numbers.T) or np.linalg.eigvalsh(numbers).min() <= 0:
                raise ValueError(
                    f"a constant D must be symmetric and positive definite, got {numbers.tolist()}"
                )
        elif matrix.is_diagonal() and any(d.is_number and d <= 0 for d in matrix.diagonal()):
            raise ValueError(
                f"a constant entry of D must be positive, got {list(matrix.diagonal())}; give a "
                "direction without noise with FactorNoise"
            )
        elif not matrix.is_diagonal() and sp.simplify(matrix - matrix.T) != sp.zeros(n, n):
            raise ValueError(f"D must be symmetric, got {matrix.tolist()}")
        return sp.ImmutableMatrix(matrix)


@dataclass(frozen=True)
class FactorNoise(Noise):
    r"""Noise given by its factor: :math:`D = \sigma(\theta)\sigma(\theta)^\top`.

    For a full D in many dimensions, or one of low rank, whose factor is known.

    Args:
        expression: :math:`\sigma`, a matrix of shape (n, k) in the variables of the landscape; k
            independent noises drive the walker.

    Raises:
        ValueError: by its methods, if :math:`\sigma` has not n rows or uses unknown symbols.
    """

    expression: sp.MatrixBase

    def __post_init__(self):
        object.__setattr__(self, "expression", sp.ImmutableMatrix(self.expression))

    def factor(self, landscape: Landscape) -> tuple[tuple, sp.Matrix]:
        """The given factor; see :meth:`Noise.factor`."""
        sigma = self.expression
        if sigma.shape[0] != landscape.dimension:
            raise ValueError(
                f"the factor of D needs {landscape.dimension} rows for {landscape.name}, got "
                f"shape {sigma.shape}"
            )
        _check_symbols(sigma, landscape)
        return (), sigma

    def diffusion_matrix(self, landscape: Landscape) -> sp.ImmutableMatrix:
        """D as a SymPy matrix of shape (n, n)."""
        sigma = self.factor(landscape)[1]
        return (sigma * sigma.T).as_immutable()


@dataclass(frozen=True)
class MinibatchNoise(Noise):
    r"""The noise of SGD itself: B of m sample losses are drawn in every iteration.

    The loss is the mean of the sample losses. As a noise model this is
    :math:`D = \frac{\eta}{2} C`, with C the exact covariance of the minibatch gradient: the
    covariance of the sample gradients divided by B, and without replacement also multiplied by
    :math:`(m - B)/(m - 1)`. With the rule :func:`ddt_utils.simulate.sgd` the minibatches are drawn.

    Args:
        losses: the m sample losses, SymPy expressions in the variables of the landscape.
        learning_rate: η, time per iteration.
        batch_size: B.
        replacement: may a sample be drawn twice into one minibatch?

    Raises:
        ValueError: fewer than two losses; η not positive; B not a whole number from 1 to m (from 1,
            with replacement); by :meth:`check`, a landscape that is not the mean of the losses.
    """

    losses: tuple
    learning_rate: float
    batch_size: int
    replacement: bool = True

    def __post_init__(self):
        object.__setattr__(self, "losses", tuple(sp.sympify(loss) for loss in self.losses))
        _require_positive(self.learning_rate, "learning_rate")
        if len(self.losses) < 2:
            raise ValueError(f"minibatches need at least two sample losses, got {self.losses}")
        most = np.inf if self.replacement else len(self.losses)
        if not (self.batch_size == int(self.batch_size) and 1 <= self.batch_size <= most):
            raise ValueError(
                f"batch_size must be a whole number from 1 to {most}, got {self.batch_size}"
            )
        object.__setattr__(self, "batch_size", int(self.batch_size))

    def check(self, landscape: Landscape) -> None:
        """Refuse a landscape that is not the mean of the sample losses.

        Raises:
            ValueError: the two differ somewhere in the box, or a loss has other symbols.
        """
        _check_symbols(sp.Matrix(self.losses), landscape)
        low, high = np.transpose(landscape.box)
        places = np.random.default_rng(0).uniform(low, high, (32, landscape.dimension))
        mean = landscape.evaluate(self.losses, *places.T).mean(axis=-1)
        loss = landscape.value(*places.T)
        if not np.allclose(mean, loss, rtol=1e-9, atol=1e-9 * np.max(np.abs(loss))):
            raise ValueError(
                f"the loss of {landscape.name} must be the mean of the sample losses, got "
                f"{landscape.expression}; build the landscape from the losses"
            )

    def factor(self, landscape: Landscape) -> tuple[tuple, sp.Matrix]:
        """In one dimension √D, otherwise the centred sample gradients; see :meth:`Noise.factor`."""
        if landscape.dimension == 1:
            return super().factor(landscape)
        self.check(landscape)
        m = len(self.losses)
        slopes = sp.Matrix(self.losses).jacobian(landscape.variables)
        centred = slopes - sp.ones(m, 1) * (sp.ones(1, m) * slopes / m)
        scale = sp.sympify(self.learning_rate) / (2 * m * self.batch_size)
        if not self.replacement:
            scale *= sp.Rational(m - self.batch_size, m - 1)
        return (), (sp.sqrt(scale) * centred.T).applyfunc(sp.expand)

    def diffusion_matrix(self, landscape: Landscape) -> sp.ImmutableMatrix:
        """D as a SymPy matrix of shape (n, n)."""
        self.check(landscape)
        m = len(self.losses)
        slopes = sp.Matrix(self.losses).jacobian(landscape.variables)
        mean = sp.ones(1, m) * slopes / m
        centred = slopes - sp.ones(m, 1) * mean
        covariance = (centred.T * centred / m / self.batch_size).applyfunc(sp.factor)
        if not self.replacement:
            covariance *= sp.Rational(m - self.batch_size, m - 1)
        return (sp.sympify(self.learning_rate) / 2 * covariance).as_immutable()


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
        ValueError: η or B not positive, the floor negative; by :meth:`diffusion_matrix`, a full
            Hessian in more than two dimensions.
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
        """D as a SymPy matrix of shape (n, n); a full Hessian is taken in two dimensions."""
        hessian = landscape.hessian_expression
        if not hessian.is_diagonal():
            if landscape.dimension != 2:
                raise ValueError(
                    "a full Hessian is taken in two dimensions, that of "
                    f"{landscape.name} has {landscape.dimension}; use a landscape that is a sum "
                    "over its coordinates, or give the factor of D with FactorNoise"
                )
            return (self.temperature * self._spectral(hessian)).as_immutable()
        return sp.diag(
            *(self.temperature * self._floored(h) for h in hessian.diagonal())
        ).as_immutable()

    def _spectral(self, hessian):
        """A function of a 2 × 2 matrix: it acts on the eigenvalues, mean ± half the gap."""
        mean = hessian.trace() / 2
        half = sp.sqrt(((hessian[0, 0] - hessian[1, 1]) / 2) ** 2 + hessian[0, 1] ** 2)
        upper, lower = self._floored(mean + half), self._floored(mean - half)
        # where the gap closes the second term is 0/0 and its limit 0
        slope = (upper - lower) / (2 * sp.Max(half, sp.Float(1e-12)))
        return (upper + lower) / 2 * sp.eye(2) + slope * (hessian - mean * sp.eye(2))

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


def _check_symbols(matrix, landscape):
    unknown = matrix.free_symbols - set(landscape.variables)
    if unknown:
        raise ValueError(
            f"D may use only the variables {landscape.variables}, got also {unknown}; "
            "take the symbols from landscape.variables"
        )


def _root(d):
    """√d, with a positive constant factor taken out of the root and pieces kept."""
    if isinstance(d, sp.Piecewise):
        return sp.Piecewise(*((_root(e), c) for e, c in d.args))
    constant, rest = d.as_independent(*d.free_symbols, as_Add=False)
    if not constant.is_positive:
        return sp.sqrt(d)
    return sp.sqrt(constant) * (_root(rest) if isinstance(rest, sp.Piecewise) else sp.sqrt(rest))


def _cholesky(matrix):
    """The lower triangle, entry by entry, each named so that no expression grows."""
    n, where, lower = matrix.shape[0], [], sp.zeros(*matrix.shape)
    for j in range(n):
        for i in range(j, n):
            rest = matrix[i, j] - sum(lower[i, k] * lower[j, k] for k in range(j))
            if i == j > 0:  # where D has no inverse rounding may leave less than nothing
                rest = sp.Max(rest, 0)
            entry = sp.sqrt(rest) if i == j else rest / lower[j, j]
            name = sp.Dummy(f"factor_{i}{j}", real=True)
            where.append((name, entry))
            lower[i, j] = name
    return tuple(where), lower
