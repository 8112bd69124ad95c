r"""How small a batch a minimum tolerates: where SGD with it no longer stays.

Near a minimum sample i pulls with its own curvature :math:`h_i`, and one step of SGD multiplies the
distance from it by a random matrix :math:`I-\frac\eta B\sum_b h_{i_b}`. The second moment S of the
distance is then carried by

.. math:: S\mapsto(I-\eta H)S(I-\eta H)+\frac{\eta^2}B\,\mathcal V(S),

.. math:: \mathcal V(S)=\frac1m\sum_ih_iSh_i-HSH,

and does not shrink to nothing where this map has an eigenvalue of one or more (Wu, Ma and E,
NeurIPS 2018). For a full batch that is :math:`\eta\lambda_{\max}\ge2`, the edge of stability. The
smallest batch :math:`B^\star` for which it shrinks is the largest eigenvalue of

.. math:: \eta^2\,(1-\mathcal A)^{-1}\mathcal V,\qquad\mathcal A(S)=(I-\eta H)S(I-\eta H),

found by a power iteration, because both maps keep covariances positive. The curvatures are those of
the outputs, :math:`h_i=\sum_kr_{ik}r_{ik}^\top` (Gauss and Newton), exact where the samples are
fitted.
"""

from __future__ import annotations

import numpy as np

from ddt_utils import _checks
from ddt_utils._derivatives import derivatives, jacobians, output_loss, place

_NONE = 1e-6  # of the largest curvature: what is smaller moves nobody
_ROUNDS = 10_000


def curvature_rows(model, theta, x, y) -> np.ndarray:
    r"""The roots of the sample curvatures, :math:`h_i=\sum_kr_{ik}r_{ik}^\top`.

    Row k of sample i is that of :math:`\Lambda_i^{1/2}J_i`, with J the Jacobian of the outputs and
    :math:`\Lambda` the Hessian of the sample's loss in the outputs. The weight decay of a model is
    not in them; give it to :func:`smallest_batch`.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        theta: one parameter vector, shape (n,).
        x: inputs, shape (m, d).
        y: targets, shape (m,).

    Returns:
        Shape (m, k, n), k the number of outputs, all numbers of an output in one row.

    Raises:
        ValueError: shapes or numbers that do not fit, a loss that is not convex in the outputs, or
            one that overflows.

    Example:
        >>> from ddt_utils import networks
        >>> curvature_rows(networks.linear(2), [0, 0], [[1.0, 3.0]], [1.0])
        array([[[1., 3.]]])
    """
    from torch.func import jacrev, vmap

    at = derivatives(model, x, y)
    theta = place("theta", model, theta)
    out = model.outputs(theta, at.x).detach()
    shape = out.shape[1:]

    bent = jacrev(jacrev(output_loss(model, shape)))
    chunk = max(1, 2**22 // model.size)
    jacobian = jacobians(model, theta, at.x, chunk).detach()
    values, frame = np.linalg.eigh(_checks.derivative(vmap(bent)(out.flatten(1), at.y)))
    if (values < -1e-9 * np.abs(values).max()).any():
        raise ValueError(
            f"the loss must be convex in the outputs of {model.name}, got a curvature of "
            f"{values.min():.3g}; squared loss and cross entropy are"
        )
    root = np.sqrt(np.maximum(values, 0))[:, :, None] * frame.transpose(0, 2, 1)
    return root @ _checks.derivative(jacobian)


def smallest_batch(
    rows,
    *,
    learning_rate: float,
    replacement: bool = True,
    weight_decay: float = 0.0,
    tolerance: float = 1e-6,
) -> float:
    r"""The batch :math:`B^\star` from which on SGD stays at a minimum, in mean square.

    Args:
        rows: of the sample curvatures, shape (m, n) or (m, k, n); see :func:`curvature_rows`.
        learning_rate: η.
        replacement: may a sample be drawn twice into one minibatch? Without, B is counted as
            :math:`B(m-1)/(m-B)`, and no batch needs to be larger than m.
        weight_decay: λ, which is not in the rows: it is added to H, and to every :math:`h_i`.
        tolerance: of the power iteration, the relative change at which it stops.

    Returns:
        :math:`B^\star`, a real number; infinite where :math:`\eta\lambda_{\max}\ge2`, and zero
        where all samples agree.

    Raises:
        ValueError: rows that are no numbers, a learning rate that is not positive, or a negative
            weight decay.
        ArithmeticError: the power iteration did not come to rest.

    Example:
        One direction with two curvatures h, 4 and 16: η Var(h)/(⟨h⟩(2 − η⟨h⟩)).

        >>> round(smallest_batch([[2.0], [4.0]], learning_rate=0.1), 6)
        0.36
    """
    rate = _checks.number("learning_rate", learning_rate, above=0)
    tolerance = _checks.number("tolerance", tolerance, above=0, below=1)
    decay = _checks.number("weight_decay", weight_decay, least=0)
    _checks.choice("replacement", replacement, (True, False))
    found = _checks.array("rows", rows)
    found = found[:, None] if found.ndim == 2 else found
    found = _checks.array("rows", found, shape=(None, None, None), remedy="one block a sample")
    m = len(found)
    flat = found.reshape(-1, found.shape[-1])
    if not flat.size or not flat.any():
        raise ValueError(f"rows must not be empty or all zero, got shape {found.shape}")
    lam, frame = np.linalg.eigh(flat.T @ flat / m)
    if rate * (lam[-1] + decay) >= 2:
        return np.inf
    keep = lam > _NONE * lam[-1]
    lam, rows = lam[keep], found @ frame[:, keep]
    left = 1 - rate * (lam + decay)
    gap = 1 - np.outer(left, left)
    S, before = np.eye(len(lam)), np.inf
    for _ in range(_ROUNDS):
        if rows.shape[1] == 1:
            one = rows[:, 0]
            lifted = (one * np.sum((one @ S) * one, axis=1)[:, None]).T @ one / m
        else:
            inner = rows @ S @ rows.transpose(0, 2, 1) @ rows
            lifted = np.tensordot(rows, inner, ((0, 1), (0, 1))) / m
        new = rate**2 * (lifted - lam[:, None] * S * lam) / gap
        new = (new + new.T) / 2
        size = np.trace(new) / np.trace(S)
        if size <= 1e-12:
            return 0.0
        if abs(size - before) < tolerance * size:
            return float(size if replacement else m * size / (m - 1 + size))
        before, S = size, new / np.trace(new)
    raise ArithmeticError(
        f"the power iteration must come to rest, but B* still changes from {before:.6g} to "
        f"{size:.6g} after {_ROUNDS} rounds; are two answers nearly equal?"
    )
