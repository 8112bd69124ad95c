"""Symmetric operators: what is one, its products, and a few of its eigenpairs; for ``spectrum``."""

from __future__ import annotations

import numpy as np

from ddt_utils import _checks

_DENSE = 4000  # dimensions of a matrix whose eigenvalues are found in a minute


def checked(operator) -> tuple:
    """A ``LinearOperator`` as it is, anything else as a checked matrix; and n.

    Args:
        operator: either.

    Returns:
        The operator and its dimension.

    Raises:
        ValueError: it is not square, not real, not finite or, as a matrix, not symmetric.
    """
    known = hasattr(operator, "matvec")
    matrix = operator if known else operator.toarray() if hasattr(operator, "toarray") else operator
    if known and np.issubdtype(operator.dtype or float, np.complexfloating):
        raise ValueError("operator must be real and symmetric, got a complex LinearOperator")
    a = matrix if known else _checks.array("operator", matrix, remedy="give a square matrix")
    if len(a.shape) != 2 or a.shape[0] != a.shape[1] or not a.shape[0]:
        raise ValueError(f"operator must be a square matrix or LinearOperator, got shape {a.shape}")
    if not known and not _checks.symmetric(a):
        raise ValueError("operator must be symmetric, got a matrix that is not; average A and Aᵀ")
    return a, a.shape[0]


def times(operator, vector) -> np.ndarray:
    """A product, refused if it is no number.

    Args:
        operator: of :func:`checked`.
        vector: shape (n,), or several as columns.

    Returns:
        An array of the same shape.

    Raises:
        ValueError: NaN or infinity in it.
    """
    found = operator @ vector
    if not np.isfinite(found).all():
        raise ValueError(
            "operator must give finite products, got NaN or infinity; does the loss overflow there?"
        )
    return found


def as_array(matrix) -> np.ndarray:
    """A matrix as an array.

    Args:
        matrix: an array, a tensor or a sparse matrix.

    Returns:
        An array.
    """
    matrix = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    return _checks.array("matrix", matrix, shape=(None, None))


def eigenpairs(operator, count, which, first, image) -> tuple:
    """A few eigenpairs by ARPACK, or all of them by NumPy where it fails, of any scale.

    Args:
        operator: of :func:`checked`, not zero.
        count: how many.
        which: ``"LA"``, ``"SA"`` or ``"LM"``.
        first: the first vector.
        image: the operator times that.

    Returns:
        Values and vectors, in any order.

    Raises:
        ValueError: ARPACK fails, and there are more than some thousand dimensions.
    """
    from scipy.sparse.linalg import ArpackError, aslinearoperator, eigsh

    size, power = np.abs(image).max(), 0
    if not 1e-12 <= size <= 1e12:  # ARPACK's tolerance is absolute: to about one, without rounding
        power = int(np.clip(1 - np.frexp(size)[1], -1000, 1000))
        operator = 2.0**power * aslinearoperator(operator)
    try:
        values, vectors = eigsh(operator, k=count, which=which, v0=first)
    except ArpackError as error:  # many eigenvalues that are the same, such as zeros
        values, vectors = _dense(operator, count, which, error)
    return np.ldexp(values, -power), vectors


def _dense(operator, count, which, error):
    """Eigenpairs by way of the matrix, where ARPACK has met ``error``."""
    n = operator.shape[0]
    if n > _DENSE:
        raise ValueError(
            f"operator must have eigenvalues that ARPACK can tell apart, got {n} dimensions and "
            f"({str(error)[:80]}); take the matrix and numpy.linalg.eigh, or another count"
        ) from error
    matrix = times(operator, np.eye(n))
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    sizes = {"LA": -values, "SA": values, "LM": -np.abs(values)}[which]
    kept = np.argsort(sizes, kind="stable")[:count]
    return values[kept], vectors[:, kept]
