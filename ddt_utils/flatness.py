r"""How flat a network's minimum is, in measures that copies of the same function share.

In a ReLU network the weights into a unit can be multiplied by α > 0 and those out of it divided by
α: the function stays, and the Hessian becomes :math:`A^{-1}HA^{-1}` with the diagonal A of the
factors. Its trace and its largest eigenvalue can be made as large as one likes (Dinh, Pascanu,
Bengio and Bengio, ICML 2017). The same at all copies are

* the *relative sharpness* :math:`\sum_j\theta_j^2H_{jj}` (Petzka and others, NeurIPS 2021, with
  every weight by itself),
* the *Fisher–Rao norm* :math:`\theta\cdot F\theta` (Liang, Poggio, Rakhlin and Stokes, AISTATS
  2019), for networks of any activation,
* the trace of the *flattest copy*, :math:`\min_A\operatorname{tr}A^{-1}HA^{-1}`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks, curvature
from ddt_utils._derivatives import derivatives, of_any_label, output_loss, place
from ddt_utils._layers import Layers
from ddt_utils.model import alone, differentiable


@dataclass(frozen=True, eq=False)
class Flatness:
    """Measures of one network, each smaller where it is flatter.

    Weight decay, which copies do not share, counts in the trace, the top and the diagonal only.

    Args:
        trace: of the Hessian.
        top: its largest eigenvalue.
        relative: the relative sharpness.
        fisher_rao: the Fisher–Rao norm.
        flattest: the trace of the flattest copy, None for a model without such copies.
        diagonal: of the Hessian, shape (n,).

    Example:
        >>> from ddt_utils import networks
        >>> flatness(networks.linear(1), [3.0], [[2.0]], [6.0]).relative
        36.0
    """

    trace: float
    top: float
    relative: float
    fisher_rao: float
    flattest: float | None
    diagonal: np.ndarray


def flatness(model, theta, x, y) -> Flatness:
    """All measures at one place.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        theta: one parameter vector, shape (n,).
        x: inputs, shape (m, d).
        y: targets, shape (m,).

    Returns:
        The measures.

    Raises:
        ValueError: shapes or numbers that do not fit.

    Example:
        One ReLU unit with the weights 2 and 1/2: the trace is w² + v², that of the flattest 2wv.

        >>> from ddt_utils import networks
        >>> unit = networks.fully_connected(
        ...     (1, 1, 1), activation="relu", loss="squared")
        >>> got = flatness(unit, [2.0, 0.0, 0.5, 0.0], [[1.0]], [1.0])
        >>> got.trace, round(got.flattest, 4)
        (5.5, 3.8284)
    """
    bend = curvature.hessian(model, theta, x, y)
    weights = place("theta", model, theta).numpy()
    diagonal = np.diag(bend).copy()
    shared = diagonal - model.weight_decay  # that of copies
    known = _is_relu(model)
    return Flatness(
        float(diagonal.sum()),
        float(np.linalg.eigvalsh(bend)[-1]),
        float(weights**2 @ shared),
        fisher_rao(model, theta, x, y),
        flattest_copy(shared, scalings(model))[1] if known else None,
        diagonal,
    )


def fisher_rao(model, theta, x, y) -> float:
    r"""The Fisher–Rao norm :math:`\theta\cdot F\theta`, without F.

    With :math:`u=J\theta`, what the outputs change by when all weights grow in proportion, it is
    the mean of :math:`u\cdot\Lambda u`, with :math:`\Lambda` the loss's Hessian in the outputs.

    Args:
        model: a :class:`ddt_utils.networks.Model`, whose outputs are natural parameters (see
            :func:`ddt_utils.curvature.fisher`).
        theta: one parameter vector, shape (n,).
        x: inputs, shape (m, d).
        y: targets, shape (m,); they do not matter.

    Returns:
        The norm, squared.

    Raises:
        ValueError: shapes or numbers that do not fit, or a loss as :func:`.curvature.fisher` too
            refuses it.

    Example:
        >>> from ddt_utils import networks
        >>> fisher_rao(networks.linear(2), [1.0, 2.0], [[3.0, 1.0]], [0.0])
        25.0
    """
    from torch.func import grad, jvp

    at = derivatives(model, x, y)
    here = place("theta", model, theta)
    with differentiable(), alone():
        out, moved = jvp(lambda t: model.outputs(t, at.x), (here,), (here,))
        loss = output_loss(model, out.shape[1:])

        def bent(o, yi, u):
            slope = grad(lambda v: loss(v, yi))
            return u.flatten() @ jvp(slope, (o,), (u,))[1].flatten()

        found = of_any_label(model, bent, out.shape[1:], out, at.y, moved)
    return float(_checks.derivative(found.mean()))


def scalings(model) -> np.ndarray:
    r"""Which weights stand into and out of each hidden unit of a fully connected ReLU network.

    Args:
        model: of :func:`ddt_utils.networks.fully_connected` with ``activation="relu"``.

    Returns:
        An array of shape (units, n), 1 into the unit (its offset included), −1 out of it, else 0.
        The copy by the factors α has :math:`\theta_j\prod_u\alpha_u^{E_{uj}}`.

    Raises:
        ValueError: another model.

    Example:
        >>> from ddt_utils import networks
        >>> scalings(networks.fully_connected((1, 2, 1), activation="relu"))
        array([[ 1.,  0.,  1.,  0., -1.,  0.,  0.],
               [ 0.,  1.,  0.,  1.,  0., -1.,  0.]])
    """
    _checks.model(model)
    if not _is_relu(model):
        raise ValueError(
            f"scalings are known for fully connected ReLU networks, got {model.name}; write the "
            "array down (1 into a unit, −1 out of it), if the model has such copies"
        )
    shapes = dict(model.shapes)
    rows = []
    for layer in range(len(shapes) // 2 - 1):
        for unit in range(shapes[f"weight{layer}"][1]):
            parts = {name: np.zeros(shape) for name, shape in shapes.items()}
            parts[f"weight{layer}"][:, unit] = parts[f"bias{layer}"][unit] = 1
            parts[f"weight{layer + 1}"][unit] = -1
            rows.append(np.concatenate([parts[name].ravel() for name in shapes]))
    return np.array(rows).reshape(-1, model.size)


def copy(theta, exponents, factors):
    r"""The copy of a network in which unit u is scaled by :math:`\alpha_u`.

    Args:
        theta: shape (..., n).
        exponents: of :func:`scalings`, shape (units, n).
        factors: α > 0, shape (..., units).

    Returns:
        The copy, shape (..., n), as NumPy array.

    Raises:
        ValueError: a factor that is not positive, or shapes that do not fit.

    Example:
        >>> from ddt_utils import networks
        >>> net = networks.fully_connected((1, 1, 1), activation="relu")
        >>> copy([2.0, 0.5, 3.0, 1.0], scalings(net), [4.0])
        array([8.  , 2.  , 0.75, 1.  ])
    """
    exponents = _checks.array("exponents", exponents, shape=(None, None))
    theta, factors = _checks.array("theta", theta), _checks.array("factors", factors)
    if theta.shape[-1:] != exponents.shape[1:] or factors.shape[-1:] != exponents.shape[:1]:
        raise ValueError(
            f"theta and factors must end with {exponents.shape[1]} and {exponents.shape[0]} "
            f"numbers, got shapes {theta.shape} and {factors.shape}"
        )
    if not (factors > 0).all():
        raise ValueError(f"factors must be positive, got {factors.min():.6g}; ReLU has no others")
    with np.errstate(over="ignore"):
        found = theta * np.exp(np.log(factors) @ exponents)
    return _checks.array("the copy", found, remedy="take smaller factors")


def flattest_copy(diagonal, exponents) -> tuple[np.ndarray, float]:
    r"""The copy with the smallest trace of the Hessian.

    The trace of a copy, :math:`\sum_jH_{jj}\prod_u\alpha_u^{-2E_{uj}}`, is convex in ln α where no
    :math:`H_{jj}` is negative, as in ReLU networks, whose outputs are linear in every single
    weight. With one hidden layer it is :math:`\sum_u2\sqrt{p_uq_u}` and what no unit scales, with
    the traces p into and q out of each unit.

    Args:
        diagonal: of the Hessian, shape (n,).
        exponents: of :func:`scalings`, shape (units, n).

    Returns:
        The factors α of the copy, shape (units,), and its trace. A unit whose weights on one side
        do not matter goes as flat as it can, to a factor near zero or infinity.

    Raises:
        ValueError: a negative entry of the diagonal, or shapes that do not fit.
        ArithmeticError: the minimum was not found.

    Example:
        >>> factors, trace = flattest_copy([4.0, 0.25], [[1, -1]])
        >>> factors.round(6), round(trace, 6)
        (array([2.]), 2.0)
    """
    from scipy.optimize import minimize

    exponents = _checks.array("exponents", exponents, shape=(None, None))
    diagonal = _checks.array("diagonal", diagonal, shape=(exponents.shape[1],))
    if (diagonal < -1e-9 * np.abs(diagonal).max(initial=0)).any():
        raise ValueError(
            f"diagonal must not be negative, got {diagonal.min():.6g}; only then has the search "
            "for the flattest copy one answer"
        )
    weights = np.maximum(diagonal, 0) / max(diagonal.sum(), 1e-300)
    matters = weights > 0

    def trace(log_scale):
        parts = weights[matters] * np.exp(
            -2 * np.clip(log_scale @ exponents[:, matters], -300, 300)
        )
        inner = exponents[:, matters]
        return parts.sum(), -2 * inner @ parts, 4 * (inner * parts) @ inner.T

    if not len(exponents) or not matters.any():
        return np.ones(len(exponents)), float(diagonal.sum())
    into, out = (exponents > 0) @ weights, (exponents < 0) @ weights
    both = (into > 0) & (out > 0)  # for one hidden layer this is the answer
    begin = np.log(np.where(both, into, 1) / np.where(both, out, 1)) / 4
    found = minimize(
        lambda s: trace(s)[:2],
        begin,
        jac=True,
        hess=lambda s: trace(s)[2],
        method="trust-exact",
        options={"gtol": 1e-12, "maxiter": 2000},
    )
    if not np.abs(trace(found.x)[1]).max() < 1e-6:
        raise ArithmeticError(
            f"the flattest copy must be level in every factor, got a slope of "
            f"{np.abs(trace(found.x)[1]).max():.2g}; does a unit matter at all?"
        )
    return np.exp(found.x), float(found.fun * diagonal.sum())


def _is_relu(model):
    """Is it a fully connected ReLU network?"""
    return isinstance(model.forward, Layers) and model.forward.activation == "relu"
