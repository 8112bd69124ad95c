r"""What every noise of :mod:`ddt_utils.noise` offers: D as SymPy and as numbers, its factor, gates.

A diffusion matrix is symmetric and has no negative eigenvalue. What an expression says only at
places is checked where it is used, and :meth:`Noise.check` looks all over the box.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import sympy as sp

from ddt_utils import _checks, _line, _sound
from ddt_utils._expressions import require_printable
from ddt_utils.landscape import Landscape


class Noise:
    """What every noise model offers: D as SymPy, and from it D as numbers.

    Raises:
        ValueError: a class of one's own whose noises have no hash, as those of a dataclass that is
            not frozen: they may change after they were looked at.
    """

    def __new__(cls, *args, **kwargs):
        """Refuse a class whose noises have no hash."""
        if cls.__hash__ is None:
            raise ValueError(
                f"a noise must stay what it is, but {cls.__name__} has no hash; write "
                "@dataclass(frozen=True)"
            )
        return super().__new__(cls)

    def diffusion_matrix(self, landscape: Landscape) -> sp.ImmutableMatrix:
        """D as SymPy.

        Args:
            landscape: the loss, whose variables D is written in.

        Returns:
            A matrix of shape (n, n).

        Raises:
            NotImplementedError: here; every noise model has its own.
        """
        raise NotImplementedError

    def factor(self, landscape: Landscape) -> tuple[tuple, sp.Matrix]:
        r"""A matrix :math:`\sigma` with :math:`\sigma\sigma^\top = D`, for the simulated step.

        Roots of a diagonal D, otherwise the lower triangle of Cholesky.

        Args:
            landscape: the loss.

        Returns:
            Intermediate results (symbol, expression) in the order in which they are needed, and
            :math:`\sigma` of shape (n, k) in terms of them.

        Raises:
            ValueError: D is a full matrix that depends on the state in more than four dimensions,
                or a constant one that is not positive definite.
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
        """D at points.

        Args:
            landscape: the loss.
            coordinates: one array per variable, as for ``Landscape.value``.

        Returns:
            Shape (..., n, n), float64.

        Raises:
            ValueError: at one of the points D is not finite, or has a negative eigenvalue.
        """
        entries, n = _entries(self, landscape), landscape.dimension
        flat = landscape.evaluate(entries, *coordinates)
        matrices = flat.reshape(*flat.shape[:-1], n, n)
        bad = ~np.isfinite(flat).all(axis=-1)
        if all(entries[n * i + j] == 0 for i in range(n) for j in range(n) if i != j):
            bad |= (np.diagonal(matrices, axis1=-2, axis2=-1) < 0).any(axis=-1)
        else:
            lowest = np.linalg.eigvalsh(np.where(bad[..., None, None], 0, matrices))[..., 0]
            bad |= lowest < -1e-9 * np.abs(flat).max(axis=-1)
        if bad.any():
            at = [np.broadcast_to(c, bad.shape)[bad][0] for c in coordinates]
            place = ", ".join(
                f"{v} = {x:.6g}" for v, x in zip(landscape.variables, at, strict=True)
            )
            raise ValueError(
                "D must be finite and have no negative eigenvalue, got "
                f"{matrices[bad][0].tolist()} at {place}; a covariance is never negative: mend its "
                "expression there"
            )
        return matrices

    def check(self, landscape: Landscape) -> None:
        """Refuse a D that is none somewhere in the box of the landscape, as far as samples see.

        Args:
            landscape: the loss.

        Raises:
            ValueError: unknown symbols, another shape, a place where D is not finite or has a
                negative eigenvalue.
        """
        _checked(self, landscape)

    def gates(self, landscape: Landscape) -> tuple[tuple[sp.Symbol, float], ...]:
        r"""Places in the box where D vanishes, through which no walker climbs.

        Where D comes down to zero under a slope, a walker in continuous time passes only downhill,
        and a simulated one crosses by the luck of a step: it may wait for ever. So does
        :class:`~ddt_utils.noise.HessianNoise` without a floor where a curvature changes sign
        smoothly. Where D jumps, from one temperature to another, there is no gate.

        Args:
            landscape: the loss.

        Returns:
            (variable, place) for every place where the entry of a diagonal D that belongs to a
            variable, and depends on it alone, touches zero. Empty for a full D.
        """
        return _gates(self, landscape)


@lru_cache(maxsize=256)
def _entries(noise, landscape):
    """The entries of D, which take SymPy far longer to write down than NumPy to evaluate."""
    return tuple(noise.diffusion_matrix(landscape))


@lru_cache(maxsize=256)
def _checked(noise, landscape):
    noise.diffusion(landscape, *_sound.places(landscape.variables, landscape.box))


@lru_cache(maxsize=256)
def _gates(noise, landscape):
    n, found = landscape.dimension, []
    entries = _entries(noise, landscape)
    if any(entries[n * i + j] != 0 for i in range(n) for j in range(n) if i != j):
        return ()
    for i, (variable, (low, high)) in enumerate(
        zip(landscape.variables, landscape.box, strict=True)
    ):
        entry = entries[n * i + i]
        if entry.free_symbols == {variable}:

            def strength(x, entry=entry, variable=variable):
                others = [x if v == variable else 0 * x for v in landscape.variables]
                return landscape.evaluate((entry,), *others)[..., 0]

            found += [(variable, place) for place in _line.touching(strength, low, high)]
    return tuple(found)


def keep(noise, name, **bounds) -> None:
    """Check a number of a noise, and hold it as formulas take it.

    Args:
        noise: a frozen dataclass.
        name: the attribute.
        bounds: as for :func:`ddt_utils._checks.kept`.
    """
    object.__setattr__(noise, name, _checks.kept(name, getattr(noise, name), **bounds))


def check_rate(noise, step) -> None:
    """Refuse a step of SGD that is not the learning rate with which the noise was made.

    Args:
        noise: of any kind; only one with a learning rate is looked at.
        step: dt.

    Raises:
        ValueError: they differ by more than a hundred-thousandth.
    """
    eta = getattr(noise, "learning_rate", None)
    if eta is not None and not np.isclose(float(eta), step, atol=0):
        raise ValueError(
            f"the step of SGD is its learning rate, got step {step} and a noise with {eta}"
        )


@lru_cache(maxsize=256)
def curvature_unit(landscape) -> sp.Expr:
    """A unit in which no curvature of a landscape is lost when it is squared.

    Args:
        landscape: the loss.

    Returns:
        One, and a power of two where all curvatures in the box are below 2⁻⁴⁰.
    """
    with np.errstate(all="ignore"):
        sizes = np.abs(landscape.hessian(*_sound.places(landscape.variables, landscape.box)))
    power = np.frexp(np.max(sizes, where=np.isfinite(sizes), initial=0.0))[1] - 1
    small = np.any(sizes > 0) and power < -40
    return sp.Float(2.0**power) if small else sp.S.One


def symmetric(matrix) -> bool:
    """Whether a SymPy matrix equals its transpose, as expressions or at a few places.

    Args:
        matrix: square.

    Returns:
        The answer.
    """
    difference = matrix - matrix.T
    return difference == sp.zeros(*matrix.shape) or sp.simplify(difference) == sp.zeros(
        *matrix.shape
    )


def require_symbols(matrix, landscape) -> None:
    """Refuse a D that uses other symbols than the variables.

    Args:
        matrix: D or its factor.
        landscape: the loss whose variables it may use.

    Raises:
        ValueError: an entry has an unknown symbol.
    """
    unknown = matrix.free_symbols - set(landscape.variables)
    if unknown:
        raise ValueError(
            f"D may use only the variables {landscape.variables}, got also {unknown}; "
            "take the symbols from landscape.variables"
        )


def expression(name, value) -> sp.Expr:
    """A number or a SymPy expression, as SymPy.

    Args:
        name: what it is called.
        value: anything.

    Returns:
        The expression.

    Raises:
        ValueError: a text, None, a truth value, a number that is not real and finite, a function
            that the rooms do not know, or anything else that is neither.
    """
    if isinstance(value, sp.Expr):
        if value.has(sp.nan, sp.oo, -sp.oo, sp.zoo, sp.I):
            raise ValueError(
                f"{name} must be real and finite, got {value}; give numbers or SymPy expressions"
            )
        require_printable(value, name)
        return value
    return sp.sympify(_checks.kept(name, value, remedy="give numbers or SymPy expressions"))


def matrix_of(name, given) -> sp.ImmutableMatrix:
    """A SymPy matrix of numbers and expressions.

    Args:
        name: what it is called.
        given: rows, an array, a tensor or a SymPy matrix.

    Returns:
        The matrix.

    Raises:
        ValueError: no matrix, or an entry that :func:`expression` refuses.
    """
    given = given.detach().cpu().numpy() if hasattr(given, "detach") else given
    rows = given.tolist() if isinstance(given, (sp.MatrixBase, np.ndarray)) else given
    shape = np.shape(np.array(rows, dtype=object))
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{name} must be a matrix, got shape {shape}; give its rows")
    what = f"an entry of {name}"
    return sp.ImmutableMatrix([[expression(what, entry) for entry in row] for row in rows])


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
            pivot = lower[j, j]  # where it vanishes D has no kick in this direction, nor across
            entry = sp.sqrt(rest) if i == j else sp.Piecewise((rest / pivot, pivot > 0), (0, True))
            name = sp.Dummy(f"factor_{i}{j}", real=True)
            where.append((name, entry))
            lower[i, j] = name
    return tuple(where), lower
