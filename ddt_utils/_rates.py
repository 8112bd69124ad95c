r"""The lowest decay rates of a Fokker–Planck operator on a grid, small ones to their own accuracy.

A rate of :math:`e^{-30}` beside a largest one of :math:`10^4` is lost when it is read off from
products with the matrix, whose diagonal is a sum that has been rounded. In terms of differences
along links,

.. math:: -f^\top \mathcal{A} q = \sum_{j \to i} (f_j - f_i)\, a_{ij}\, q_j
    + \sum_j \ell_j f_j q_j

(with :math:`\ell` the rates into an exit), nothing cancels, and errors of the left and right
eigenvectors enter as their product only.
"""

from __future__ import annotations

import numpy as np

_SLOW = 1e-7  # of the largest rate: below it products with the matrix have lost digits
_SEED = 7


def chain_rates(inside, up, down, lost, count):
    """Rates of the chains between absorbing nodes, each a path of nodes and of links.

    They are squared singular values of a bidiagonal matrix.

    Returns:
        The lowest of all of them, increasing, shape (count,).
    """
    from scipy.linalg import eigvalsh_tridiagonal

    where = np.flatnonzero(inside)
    rates = []
    for nodes in np.split(np.arange(len(where)), np.flatnonzero(np.diff(where) > 1) + 1):
        first, last = nodes[0], nodes[-1]
        roots = np.stack([up[first:last], down[first:last]], axis=1).ravel()
        if where[first] > 0:
            roots = np.r_[lost[first] - (up[first] if first < last else 0), roots]
        if where[last] < inside.size - 1:
            roots = np.r_[roots, lost[last] - (down[last - 1] if first < last else 0)]
        closed = len(roots) == 2 * len(nodes) - 2
        found = eigvalsh_tridiagonal(
            np.zeros(len(roots) + 1),
            np.sqrt(roots),
            select="i",
            select_range=(
                len(roots) + 1 - len(nodes) + closed,
                min(len(roots), len(roots) + count - len(nodes) + closed),
            ),
            lapack_driver="stebz",
            tol=1e-290,
        )
        rates += [0.0] * closed + list(found**2)
    return np.sort(rates)[:count]


def rest(flow):
    """The probabilities that no current changes, where some circulates.

    All nodes but the likeliest are eliminated; what is left has signs with which no sum cancels.

    Args:
        flow: sparse, column j holds the rates of probability from node j; (nodes, nodes).

    Returns:
        Probabilities, positive, with the sum one.

    Raises:
        ArithmeticError: valleys are joined so weakly that rounding decides between them.
    """
    from scipy.sparse import identity

    matrix, size = -flow, flow.shape[0]
    largest = matrix.diagonal().max()
    likely = solver(matrix + 1e-13 * largest * identity(size))(np.ones(size))
    pin = int(np.argmax(likely))
    others = np.delete(np.arange(size), pin)
    solve = solver(matrix.tocsr()[others][:, others])
    require_quick(solve(np.ones(size - 1), "T"), largest)
    found = np.ones(size)
    found[others] = solve(flow.tocsc()[:, [pin]].toarray()[others, 0])
    return found / found.sum()


def require_quick(waits, largest):
    """Refuse mean waits so long that the rounding of the largest rate acts as a leak.

    Args:
        waits: mean times to where walkers are taken out, any shape.
        largest: the largest rate.

    Raises:
        ArithmeticError: the leak would show in the fourth digit.
    """
    leak = np.finfo(float).eps * largest
    if not leak * np.abs(waits).max() < 1e-4:
        raise ArithmeticError(
            f"rounding leaks at a rate of {leak:.1g}, too near to the escape rate; use fewer "
            "cells, decay_rates, or in one dimension exact.mean_first_passage_time"
        )


def solver(matrix):
    """Solve with a sparse matrix whose columns are ruled by their diagonal, many times.

    Args:
        matrix: sparse, square.

    Returns:
        A function of a right-hand side, and of "T" for the transposed matrix.
    """
    from scipy.sparse.linalg import splu

    return splu(matrix.tocsc()).solve


def plane_rates(flow, leak, log_weight, count):
    """The lowest rates in any dimension, and how far rounding may have moved each.

    Args:
        flow: sparse, column j holds the rates of probability from node j; (nodes, nodes).
        leak: rates into the exit, shape (nodes,); all zero without an exit.
        log_weight: logarithm of the probabilities in which no current flows, or None.
        count: how many rates.

    Returns:
        Rates and errors, increasing, each of shape (count,).
    """
    from scipy.sparse import diags, identity
    from scipy.sparse.linalg import splu

    links = flow.tocoo()
    apart = links.row != links.col
    i, j, rate = links.row[apart], links.col[apart], links.data[apart]
    balanced, closed = log_weight is not None, not leak.any()
    if balanced:  # in detailed balance the symmetric form has the links √(a_ij a_ji)
        root = np.exp(np.clip(log_weight[j] - log_weight[i], -1400, 1400) / 4)
        rate = rate * root**2
        left_rest = right_rest = np.exp((log_weight - log_weight.max()) / 2)
        hops = type(links)((rate, (i, j)), shape=flow.shape)
        matrix = (diags(-flow.diagonal()) - (hops + hops.T) / 2).tocsc()
        once = i < j
        i, j, rate, root = i[once], j[once], rate[once, None], root[once, None]
    else:
        matrix, left_rest, right_rest = (-flow).tocsc(), np.ones(flow.shape[0]), None
        rate = rate[:, None]
    largest = matrix.diagonal().max()
    shift = 1e-13 * largest
    lu = splu(matrix + shift * identity(len(leak), format="csc"))

    def form(f, q):
        """−fᵀAq without cancellation, and fᵀq."""
        if balanced:
            flux = (f[i] * root - f[j] / root).T @ (rate * (q[i] * root - q[j] / root))
        else:
            flux = (f[j] - f[i]).T @ (rate * q[j])
        return flux + (f * leak[:, None]).T @ q, f.T @ q

    def cleaned(f, q):
        """Orthonormal columns, without the mode at rest."""
        if closed:
            total = left_rest @ right_rest
            f = f - np.outer(left_rest, right_rest @ f) / total
            q = q - np.outer(right_rest, left_rest @ q) / total
        return tuple(
            np.linalg.svd(v, full_matrices=False)[0][:, : count + 2 - closed] for v in (f, q)
        )

    if right_rest is None and closed:
        right_rest = lu.solve(lu.solve(np.ones(len(leak))))
        right_rest /= right_rest.sum()
    q = _lowest(matrix, lu.solve, count + 2, shift, balanced)
    f = q if balanced else _lowest(matrix.T, lambda v: lu.solve(v, "T"), count + 2, shift, False)
    found = []
    for _ in range(2):  # twice, so that their difference tells what rounding does
        q = lu.solve(q)
        f, q = cleaned(q if balanced else lu.solve(f, "T"), q)
        found.append(_ritz(form, f, q, largest))
    before, after = found
    rates, errors = after[: count - closed], 2 * np.abs(after - before)[: count - closed]
    rest = np.zeros(int(closed))
    return np.r_[rest, rates], np.r_[rest, errors]


def _lowest(matrix, solve, count, shift, symmetric):
    """An orthonormal basis, real, of the space of the lowest eigenvectors."""
    from scipy.sparse.linalg import LinearOperator, eigs, eigsh

    count = min(count, matrix.shape[0] - 2)
    start = np.random.default_rng(_SEED).standard_normal(matrix.shape[0])
    inverse = LinearOperator(matrix.shape, matvec=solve, dtype=float)
    find = eigsh if symmetric else eigs
    vectors = find(matrix, k=count, sigma=-shift, v0=start, OPinv=inverse)[1]
    both = np.column_stack([vectors.real, vectors.imag]) if np.iscomplexobj(vectors) else vectors
    return np.linalg.svd(both, full_matrices=False)[0][:, :count]


def _ritz(form, f, q, largest):
    """Eigenvalues in two spaces, increasing; slow ones again in their own part of the spaces."""
    from scipy.linalg import eig, schur

    def slow(re, im=0.0):
        return np.hypot(re, im) < _SLOW * largest

    g, m = form(f, q)
    values = np.sort(eig(g, m, right=False).real)
    right, kept = schur(np.linalg.solve(m, g), sort=slow)[1:]
    left, also = schur(np.linalg.solve(m.T, g.T), sort=slow)[1:]
    if kept and kept == also:
        g, m = form(f @ left[:, :kept], q @ right[:, :kept])
        values = np.r_[np.sort(eig(g, m, right=False).real), values[kept:]]
    return values
