r"""The eigenvalues of a symmetric operator, and how two symmetric matrices compare.

An ``operator`` is a NumPy array of shape (n, n) or a SciPy ``LinearOperator``, such as
:func:`ddt_utils.curvature.hessian_operator`, which is known by its products alone. A matrix must be
finite and symmetric; of a ``LinearOperator`` that is taken for granted. Eigenvalues and curvatures
are in units of the operator, and come largest first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks, _symmetric, streams


def top_eigenpairs(operator, *, count: int, seed: int, which: str = "LA"):
    """A few eigenvalues of a symmetric operator, the largest first, with their directions.

    By SciPy's ``eigsh`` (ARPACK, implicitly restarted Lanczos) to machine precision.

    Args:
        operator: a ``LinearOperator`` or a matrix, shape (n, n).
        count: how many, fewer than n.
        seed: of the first vector.
        which: ``"LA"`` the largest, ``"SA"`` the smallest, ``"LM"`` those of largest modulus.

    Returns:
        Eigenvalues (count,), descending, and unit vectors (n, count), signed so that the largest
        component is positive. Of an operator that is zero, zeros and the first directions.

    Raises:
        ValueError: the operator is no finite symmetric matrix, ``count`` not from 1 to n − 1, or
            eigenvalues too close for ARPACK in more than some thousand dimensions.

    Example:
        >>> import numpy as np
        >>> matrix = np.diag(np.arange(9.0))
        >>> values, directions = top_eigenpairs(matrix, count=2, seed=1)
        >>> values.round(6)
        array([8., 7.])
    """
    operator, n = _symmetric.checked(operator)
    remedy = "for all eigenvalues take the matrix and numpy.linalg.eigh"
    count = _checks.whole("count", count, least=1, most=n - 1, remedy=remedy)
    _checks.choice("which", which, ("LA", "SA", "LM"))
    first = streams.stream(seed, "lanczos").standard_normal(n)
    image = _symmetric.times(operator, first)
    if not np.any(image):  # a random vector is mapped to zero: all are
        return np.zeros(count), np.eye(n, count)
    values, vectors = _symmetric.eigenpairs(operator, count, which, first, image)
    order = np.argsort(-values)
    return values[order], _signed(vectors[:, order])


@dataclass(frozen=True)
class Estimate:
    """An average over random probes: its value and its standard error.

    Example:
        >>> import numpy as np
        >>> hutchinson_trace(np.eye(3), probes=10, seed=1)
        Estimate(value=3.0, stderr=0.0)
    """

    value: float
    stderr: float


def hutchinson_trace(operator, *, probes: int, seed: int) -> Estimate:
    r"""The trace as the average of :math:`v^\top A v` over random signs v.

    One probe has the variance :math:`2\sum_{i\ne j} A_{ij}^2` (Hutchinson, Communications in
    Statistics 18, 1059, 1989).

    Args:
        operator: A, symmetric, as for :func:`top_eigenpairs`.
        probes: how many random vectors, at least two.
        seed: of the random vectors.

    Returns:
        The trace and its standard error.

    Example:
        >>> import numpy as np
        >>> trace = hutchinson_trace(np.diag([1.0, 2.0, 3.0]), probes=10, seed=1)
        >>> trace.value
        6.0
    """
    operator, n = _symmetric.checked(operator)
    found = [v @ _symmetric.times(operator, v) for v in _signs(n, probes, seed)]
    return Estimate(float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(probes)))


@dataclass(frozen=True)
class SpectralDensity:
    """A density of eigenvalues on a ``grid`` of curvatures, with its standard error; shape (k,).

    Example:
        >>> import numpy as np
        >>> grid = np.linspace(-1, 3, 5)
        >>> found = SpectralDensity(grid, np.full(5, 0.25), np.zeros(5))
        >>> float(found.density[0])
        0.25
    """

    grid: np.ndarray
    density: np.ndarray
    stderr: np.ndarray


def spectral_density(
    operator, *, steps: int, probes: int, seed: int, grid, width: float
) -> SpectralDensity:
    r"""The density of eigenvalues :math:`\frac1n\sum_i N(t;\lambda_i,\text{width}^2)` on a grid.

    By stochastic Lanczos quadrature (Ghorbani, Krishnan and Xiao, ICML 2019; Ubaru, Chen and Saad,
    SIAM J. Matrix Anal. Appl. 38, 1075, 2017). The standard error is that of the probes; the bias
    falls with ``steps`` and is gone when ``steps`` reaches the number of distinct eigenvalues.

    Args:
        operator: as for :func:`hutchinson_trace`.
        steps: Lanczos steps for each probe; as many vectors of size n are kept.
        probes: as for :func:`hutchinson_trace`.
        seed: as for :func:`hutchinson_trace`.
        grid: where the density is wanted, shape (k,).
        width: of the Gaussians, in units of the operator.

    Returns:
        The density with its standard error.

    Example:
        >>> import numpy as np
        >>> grid = np.linspace(-1, 4, 101)
        >>> found = spectral_density(np.diag([1.0, 1.0, 2.0]), steps=2, probes=50,
        ...                          seed=1, grid=grid, width=0.2)
        >>> round(float(np.trapezoid(found.density, grid)), 3)
        1.0
    """
    grid = _checks.array("grid", grid, shape=(None,))
    width = _checks.number("width", width, above=0, remedy="it is a curvature")
    operator, n = _symmetric.checked(operator)
    found = []
    for probe in _signs(n, probes, seed):
        nodes, weights = lanczos(operator, probe, steps=steps)
        away = (grid[:, None] - nodes) / width
        found.append(np.exp(-(away**2) / 2) @ weights / (width * np.sqrt(2 * np.pi)))
    stderr = np.std(found, axis=0, ddof=1) / np.sqrt(probes)
    return SpectralDensity(grid, np.mean(found, axis=0), stderr)


def lanczos(operator, start, *, steps: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Nodes and weights with :math:`\sum_k w_k f(t_k) = u^\top f(A)\,u`, u along ``start``.

    Exact for polynomials f of degree below 2 ``steps`` (Golub and Meurant, *Matrices, Moments and
    Quadrature*, 2010). Every vector is orthogonalised twice against all before it. There are fewer
    nodes than steps where the vectors already span a space that A maps into itself.

    Args:
        operator: A, symmetric, as for :func:`top_eigenpairs`.
        start: shape (n,), not zero.
        steps: how many, from 1.

    Returns:
        Nodes and weights, each of shape (steps,) or shorter.

    Raises:
        ValueError: a start of another shape, or that is zero or not finite.

    Example:
        >>> import numpy as np
        >>> nodes, weights = lanczos(np.diag([1.0, 3.0]), np.ones(2), steps=2)
        >>> nodes.round(6), weights.round(6)
        (array([1., 3.]), array([0.5, 0.5]))
    """
    from scipy.linalg import eigh_tridiagonal

    operator, n = _symmetric.checked(operator)
    steps = _checks.whole("steps", steps, least=1)
    vector = _checks.array("start", start, shape=(n,))
    size = np.linalg.norm(vector)
    if not 0 < size < np.inf:
        raise ValueError(f"start must have a direction, got a vector of length {size}")
    vector = vector / size
    basis, diagonal, beside = np.empty((min(steps, n), n)), [], []
    for k in range(len(basis)):
        basis[k] = vector
        image = _symmetric.times(operator, vector)
        diagonal.append(vector @ image)
        scale = np.linalg.norm(image)
        for _ in range(2):
            image = image - basis[: k + 1].T @ (basis[: k + 1] @ image)
        rest = np.linalg.norm(image)
        if k + 1 == len(basis) or rest <= 1e-10 * max(scale, np.max(np.abs(diagonal))):
            break
        beside.append(rest)
        vector = image / rest
    nodes, vectors = eigh_tridiagonal(np.array(diagonal), np.array(beside))
    return nodes, vectors[0] ** 2


@dataclass(frozen=True)
class Eigenbasis:
    """A matrix, shape (n, n), in the unit eigenvectors of a Hessian, the columns of ``directions``.

    Its diagonal belongs to the eigenvalues of the Hessian, ``curvatures``, descending.

    Example:
        >>> import numpy as np
        >>> basis = in_eigenbasis(np.eye(2), np.diag([1.0, 3.0]))
        >>> basis.curvatures
        array([3., 1.])
    """

    curvatures: np.ndarray
    directions: np.ndarray
    matrix: np.ndarray


def in_eigenbasis(matrix, hessian) -> Eigenbasis:
    r""":math:`V^\top C V` for the eigenvectors V of a Hessian, the largest curvature first.

    Args:
        matrix: C, symmetric, shape (n, n).
        hessian: symmetric, of the same shape.

    Returns:
        The matrix in that basis, with the basis.

    Example:
        >>> import numpy as np
        >>> in_eigenbasis(np.diag([5.0, 7.0]), np.diag([1.0, 3.0])).matrix.round(6)
        array([[7., 0.],
               [0., 5.]])
    """
    matrix, hessian = _pair(matrix, hessian)
    values, vectors = np.linalg.eigh(hessian)
    vectors = _signed(vectors[:, ::-1])
    return Eigenbasis(values[::-1], vectors, vectors.T @ matrix @ vectors)


@dataclass(frozen=True)
class Proportionality:
    r"""How far a matrix C is a multiple of a Hessian H.

    Args:
        trace_ratio: :math:`\mathrm{Tr}\,C / \mathrm{Tr}\,H`.
        slope: the s for which :math:`\|C - sH\|` is least in the Frobenius norm.
        cosine: :math:`\mathrm{Tr}(CH)/\|C\|\|H\|`; 1 for a positive multiple, and the share of
            :math:`\|C\|` that :math:`C - sH` leaves is :math:`\sqrt{1 - \text{cosine}^2}`.

    Example:
        >>> import numpy as np
        >>> proportionality(2 * np.eye(2), np.eye(2)).trace_ratio
        2.0
    """

    trace_ratio: float
    slope: float
    cosine: float


def proportionality(matrix, hessian) -> Proportionality:
    """How far two symmetric matrices are proportional.

    Args:
        matrix: C, shape (n, n), not zero.
        hessian: H, of the same shape, not zero and with a trace.

    Returns:
        Three measures.

    Raises:
        ValueError: a matrix that is not finite and symmetric, or zero.

    Example:
        >>> import numpy as np
        >>> found = proportionality(np.diag([2.0, 4.0]), np.diag([1.0, 2.0]))
        >>> round(found.slope, 6), round(found.cosine, 6)
        (2.0, 1.0)
    """
    (one, other), trace = _pair(matrix, hessian), np.trace(hessian)
    sizes = [np.abs(part).max() for part in (one, other)]
    if not min(sizes) > 0 or abs(trace) <= 1e-14 * np.abs(np.diag(other)).sum():
        raise ValueError(
            "proportionality needs matrices that are not zero and a Hessian with a trace, got "
            f"largest entries {sizes[0]:g} and {sizes[1]:g} and trace {trace:g}"
        )
    units = [2.0 ** (np.frexp(size)[1] - 1) for size in sizes]  # squares of all sizes are numbers
    one, other = one / units[0], other / units[1]
    product, squares = np.sum(one * other), (np.sum(one**2), np.sum(other**2))
    unit = units[0] / units[1]
    return Proportionality(
        float(np.trace(one) / np.trace(other) * unit),
        float(product / squares[1] * unit),
        float(product / np.sqrt(squares[0] * squares[1])),
    )


def subspace_overlap(first, second) -> float:
    r""":math:`\mathrm{Tr}(PQ)/\sqrt{jk}` for the projectors P and Q on the spans of the columns.

    One for the same space, zero for orthogonal ones, :math:`\sqrt{jk}/n` on average for random ones
    (Gur-Ari, Roberts and Dyer, arXiv:1812.04754).

    Args:
        first: a basis, shape (n, j), its columns independent.
        second: another, shape (n, k).

    Returns:
        The overlap.

    Raises:
        ValueError: bases of other shapes, or columns that are not independent.

    Example:
        >>> import numpy as np
        >>> round(subspace_overlap(np.eye(3)[:, :1], np.eye(3)[:, :2]), 4)
        0.7071
    """
    first, second = _checks.array("first", first), _checks.array("second", second)
    both = first.ndim == second.ndim == 2 and first.size and second.size
    if not (both and len(first) == len(second)):
        raise ValueError(
            f"subspaces must be given as columns, (n, j) and (n, k), got {first.shape} and "
            f"{second.shape}"
        )
    if any(np.linalg.matrix_rank(a) < a.shape[1] for a in (first, second)):
        raise ValueError("the columns of a basis must be independent; drop some")
    cosines = np.linalg.qr(first)[0].T @ np.linalg.qr(second)[0]
    return float(np.sum(cosines**2) / np.sqrt(first.shape[1] * second.shape[1]))


def _pair(matrix, hessian):
    arrays = (_symmetric.as_array(part) for part in (matrix, hessian))
    (one, _), (other, _) = (_symmetric.checked(part) for part in arrays)
    if one.shape != other.shape:
        raise ValueError(
            f"the matrices must have one shape (n, n), got {one.shape} and {other.shape}"
        )
    return one, other


def _signs(n, probes, seed):
    """Random vectors of ±1, one for each probe."""
    remedy = "a standard error needs two probes"
    generator = streams.stream(seed, "probes")
    count = _checks.whole("probes", probes, least=2, remedy=remedy)
    return (generator.choice([-1.0, 1.0], n) for _ in range(count))


def _signed(vectors):
    """Columns whose component of largest modulus is positive."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0)
    return vectors * np.where(largest < 0, -1.0, 1.0)
