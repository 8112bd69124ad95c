r"""What drives the walker: the diffusion matrix :math:`D(\theta)`.

It stands in :math:`d\theta = -\nabla L\,dt + \sqrt{2D}\,dW` (Ito). For SGD
:math:`D = \frac{\eta}{2} C`, where C is the covariance of one minibatch gradient. A noise model
states D as a SymPy matrix in the variables of a landscape, from which the compiled step, the
quadrature and the Fokker–Planck operator are generated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils._diffusion import (
    Noise,
    curvature_unit,
    expression,
    keep,
    matrix_of,
    require_symbols,
    symmetric,
)
from ddt_utils.landscape import Landscape

_SCALE = "D = learning_rate / 2 times the covariance of a minibatch gradient"

#: Where in a step the noise is evaluated, as a fraction of the step.
CONVENTIONS = {"ito": 0.0, "stratonovich": 0.5, "isothermal": 1.0}


def convention_exponent(convention: str) -> float:
    r"""The :math:`\alpha` of a convention: the Ito drift is :math:`-\nabla L + \alpha D'`.

    Args:
        convention: a name.

    Returns:
        The fraction of the step at which the noise is evaluated.

    Raises:
        ValueError: the convention is not one of :data:`CONVENTIONS`.

    Example:
        >>> [convention_exponent(c) for c in ("ito", "stratonovich", "isothermal")]
        [0.0, 0.5, 1.0]
    """
    remedy = "SGD, which evaluates its noise before the step, is 'ito'"
    return CONVENTIONS[_checks.choice("convention", convention, CONVENTIONS, remedy=remedy)]


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
        """Check the arguments."""
        keep(self, "diffusion_constant", above=0, remedy=_SCALE)

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

    Example:
        >>> from ddt_utils import catalog
        >>> well = catalog.quartic()
        >>> (x,) = well.variables
        >>> StateDependentNoise((1 + x**2) / 4).diffusion_matrix(well)
        Matrix([[x**2/4 + 1/4]])
    """

    expression: sp.Expr | tuple | sp.MatrixBase

    def __post_init__(self):
        """Check the arguments."""
        given = self.expression
        if isinstance(given, tuple):
            given = tuple(expression("an entry of D", entry) for entry in given)
        elif isinstance(given, (sp.MatrixBase, list)) or np.ndim(given):
            given = matrix_of("D", given)
        else:
            given = expression("D", given)
        object.__setattr__(self, "expression", given)

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
        require_symbols(matrix, landscape)
        if not matrix.free_symbols:
            numbers = np.array(matrix.tolist(), dtype=float)
            if not _checks.symmetric(numbers) or np.linalg.eigvalsh(numbers).min() <= 0:
                raise ValueError(
                    f"a constant D must be symmetric and positive definite, got {numbers.tolist()}"
                )
        elif matrix.is_diagonal() and any(d.is_number and d <= 0 for d in matrix.diagonal()):
            raise ValueError(
                f"a constant entry of D must be positive, got {list(matrix.diagonal())}; give a "
                "direction without noise with FactorNoise"
            )
        elif not symmetric(matrix):
            raise ValueError(f"D must be symmetric, got {matrix.tolist()}")
        return sp.ImmutableMatrix(matrix)


@dataclass(frozen=True)
class FactorNoise(Noise):
    r"""Noise given by its factor: :math:`D = \sigma(\theta)\sigma(\theta)^\top`.

    For a full D in many dimensions, or one of low rank.

    Args:
        expression: :math:`\sigma`, a matrix of shape (n, k) in the variables of the landscape; k
            independent noises drive the walker.

    Raises:
        ValueError: by its methods, if :math:`\sigma` has not n rows or uses unknown symbols.

    Example:
        >>> from ddt_utils import catalog
        >>> well = catalog.rotated_double_well()
        >>> kicks = FactorNoise(sp.Matrix([1, 2]) / 2)
        >>> kicks.diffusion_matrix(well)
        Matrix([
        [1/4, 1/2],
        [1/2,   1]])
    """

    expression: sp.MatrixBase

    def __post_init__(self):
        """Check the arguments."""
        object.__setattr__(self, "expression", matrix_of("the factor of D", self.expression))

    def factor(self, landscape: Landscape) -> tuple[tuple, sp.Matrix]:
        """The given factor; see ``Noise.factor``."""
        sigma = self.expression
        if sigma.shape[0] != landscape.dimension:
            raise ValueError(
                f"the factor of D needs {landscape.dimension} rows for {landscape.name}, got "
                f"shape {sigma.shape}"
            )
        require_symbols(sigma, landscape)
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

    Example:
        >>> from ddt_utils import catalog
        >>> (x,) = catalog.quartic().variables
        >>> samples = ((x - 1) ** 2 / 2, (x + 1) ** 2 / 2)
        >>> bowl = Landscape(sum(samples) / 2, (x,), name="bowl", box=((-3, 3),))
        >>> kick = MinibatchNoise(samples, learning_rate=0.1, batch_size=2)
        >>> kick.diffusion_matrix(bowl)[0].subs(x, 0)
        0.0250000000000000
    """

    losses: tuple
    learning_rate: float
    batch_size: int
    replacement: bool = True

    def __post_init__(self):
        """Check the arguments."""
        losses = self.losses if isinstance(self.losses, (tuple, list)) else (self.losses,)
        losses = tuple(expression("a sample loss", loss) for loss in losses)
        object.__setattr__(self, "losses", losses)
        keep(self, "learning_rate", above=0, remedy=_SCALE)
        if len(losses) < 2:
            raise ValueError(f"minibatches need at least two sample losses, got {losses}")
        _checks.choice("replacement", self.replacement, (True, False))
        size = _checks.whole(
            "batch_size",
            self.batch_size,
            least=1,
            most=None if self.replacement else len(losses),
            remedy="without replacement a batch holds a sample once at most",
        )
        object.__setattr__(self, "batch_size", size)

    def check(self, landscape: Landscape) -> None:
        """Refuse a landscape that is not the mean of the sample losses.

        Args:
            landscape: the loss.

        Raises:
            ValueError: the two differ somewhere in the box, or a loss has other symbols.
        """
        require_symbols(sp.Matrix(self.losses), landscape)
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
        """In one dimension √D, otherwise the centred sample gradients; see ``Noise.factor``."""
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
            Hessian in more than two dimensions, or a loss without any curvature and no floor.

    Example:
        >>> from ddt_utils import catalog
        >>> kick = HessianNoise(learning_rate=0.1, batch_size=5)
        >>> kick.diffusion_matrix(catalog.quartic())[0].subs("x", 1)
        0.01*Abs(3*x**2 - 1)
    """

    learning_rate: float
    batch_size: float
    floor: float = 0.0

    def __post_init__(self):
        """Check the arguments."""
        keep(self, "learning_rate", above=0, remedy=_SCALE)
        keep(self, "batch_size", above=0, remedy=_SCALE)
        keep(self, "floor", least=0, remedy="it is a curvature")

    @property
    def temperature(self) -> sp.Expr:
        """η/2B, by which the curvature is multiplied to give D."""
        return sp.sympify(self.learning_rate) / (2 * sp.sympify(self.batch_size))

    def diffusion_matrix(self, landscape: Landscape) -> sp.ImmutableMatrix:
        """D as a SymPy matrix of shape (n, n); a full Hessian is taken in two dimensions."""
        hessian = landscape.hessian_expression
        if hessian.is_zero_matrix and not self.floor:
            raise ValueError(
                f"the noise of {landscape.name} would be zero, as its curvature is everywhere but "
                "at kinks; give HessianNoise a floor"
            )
        if not hessian.is_diagonal():
            if landscape.dimension != 2:
                raise ValueError(
                    "a full Hessian is taken in two dimensions, that of "
                    f"{landscape.name} has {landscape.dimension}; use a landscape that is a sum "
                    "over its coordinates, or give the factor of D with FactorNoise"
                )
            unit = curvature_unit(landscape)
            return (self.temperature * unit * self._spectral(hessian, unit)).as_immutable()
        entries = (self.temperature * self._floored(h) for h in hessian.diagonal())
        return sp.diag(*entries).as_immutable()

    def _spectral(self, hessian, unit):
        """A function of a 2 × 2 matrix: it acts on the eigenvalues, mean ± half the gap."""
        if unit != 1:
            hessian = hessian.applyfunc(lambda h: sp.Add(*(t / unit for t in sp.Add.make_args(h))))
        mean = hessian.trace() / 2
        half = sp.sqrt(((hessian[0, 0] - hessian[1, 1]) / 2) ** 2 + hessian[0, 1] ** 2)
        upper, lower = (self._floored(mean + sign * half, unit) for sign in (1, -1))
        # where the gap closes the second term is 0/0 and its limit 0
        slope = (upper - lower) / (2 * sp.Max(half, sp.Float(1e-30)))
        return (upper + lower) / 2 * sp.eye(2) + slope * (hessian - mean * sp.eye(2))

    def _floored(self, curvature, unit=1):
        if isinstance(curvature, sp.Piecewise):  # keeps the pieces of a piecewise-quadratic well
            return sp.Piecewise(*((self._floored(e, unit), c) for e, c in curvature.args))
        size = sp.Abs(curvature)
        return sp.Max(size, sp.sympify(self.floor) / unit) if self.floor else size
