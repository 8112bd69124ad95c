r"""The matrices that decide how SGD escapes: the loss's Hessian, the sample gradients' covariance.

The loss is the mean of m sample losses, :math:`L(\theta) = \frac1m\sum_i \ell_i(\theta)`. All
derivatives are PyTorch's, in double precision and exact up to rounding; results are NumPy float64
arrays. ``model`` is one of :mod:`ddt_utils.networks`, a wrapped ``torch.nn.Module`` included,
``theta`` one parameter vector of shape (n,), ``x`` the inputs of shape (m, d), or of whatever shape
the model's samples have, and ``y`` the targets of shape (m,), as tensors or arrays; the work is
done where ``theta`` is. Whole matrices are for up to ten thousand parameters;
:func:`hessian_operator` is for more.
"""

from __future__ import annotations

import math

import numpy as np

from ddt_utils import _checks, _derivatives
from ddt_utils.model import alone, differentiable

#: A whole (n, n) matrix of more parameters than this is refused; it would take 800 MB.
LARGEST = 10_000
_ENTRIES = 2**24  # of the arrays that are worked on at once, 128 MB


def sample_gradients(model, theta, x, y, *, chunk: int | None = None) -> np.ndarray:
    r"""The gradient :math:`\nabla\ell_i` of each sample loss, one row each; shape (m, n).

    Args:
        model: one of :mod:`ddt_utils.networks`.
        theta: one parameter vector, shape (n,).
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        chunk: samples that are differentiated at once; by default what takes 128 MB.

    Returns:
        The gradients, shape (m, n).

    Raises:
        ValueError: shapes that do not belong together, targets that are none of the model's
            classes, or a value or a result that is not finite. Every function here raises it.

    Example:
        >>> import numpy as np
        >>> from ddt_utils import networks
        >>> x, y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1.0, 1.0])
        >>> sample_gradients(networks.linear(2), np.zeros(2), x, y)
        array([[-1.,  0.],
               [ 0., -2.]])
    """
    with differentiable():
        theta, x, y = _checked(model, theta, x, y)
        rows = _gradients(model, theta, x, y, chunk)
        return np.concatenate([_checks.derivative(g) for g in rows])


def gradient_covariance(
    model, theta, x, y, *, batch_size: int = 1, replacement: bool = True, chunk: int | None = None
) -> np.ndarray:
    r"""The covariance C of one minibatch gradient; shape (n, n).

    .. math::
        C = \frac1B\Bigl(\frac1m\sum_i \nabla\ell_i\nabla\ell_i^\top - \nabla L\nabla L^\top\Bigr)
        \;\times\; \frac{m-B}{m-1}\ \text{without replacement.}

    The last factor is the correction for a finite population (Cochran, *Sampling Techniques*, 1977,
    section 2.6). The diffusion matrix of SGD is :math:`D = \frac{\eta}{2} C`.

    Args:
        model: one of :mod:`ddt_utils.networks`.
        theta: one parameter vector, shape (n,).
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        batch_size: B.
        replacement: may a sample be drawn twice into one minibatch?
        chunk: as for :func:`sample_gradients`.

    Returns:
        C, shape (n, n).

    Raises:
        ValueError: B is not a whole number from 1 to m (from 1, with replacement), or n is over
            :data:`LARGEST`.

    Example:
        >>> import numpy as np
        >>> from ddt_utils import networks
        >>> x, y = np.array([[1.0], [1.0]]), np.array([1.0, 3.0])
        >>> line = networks.linear(1)
        >>> gradient_covariance(line, np.zeros(1), x, y, batch_size=2)
        array([[0.5]])
    """
    with differentiable():
        theta, x, y = _checked(model, theta, x, y, whole=True)
        m = len(x)
        remedy = "more than all samples can only be drawn with replacement"
        _checks.choice("replacement", replacement, (True, False))
        most = None if replacement else m
        batch_size = _checks.whole("batch_size", batch_size, least=1, most=most, remedy=remedy)
        mean = sum(g.sum(0) for g in _gradients(model, theta, x, y, chunk)) / m
        centred = (g - mean for g in _gradients(model, theta, x, y, chunk))
        covariance = _checks.derivative(sum(g.T @ g for g in centred)) / (m * batch_size)
    return covariance if replacement else covariance * ((m - batch_size) / max(m - 1, 1))


def second_moment(model, theta, x, y, *, chunk: int | None = None) -> np.ndarray:
    r""":math:`\frac1m\sum_i\nabla\ell_i\nabla\ell_i^\top`, the "empirical Fisher"; shape (n, n).

    It takes the labels of the data, not labels drawn from the model, and is therefore no Fisher
    information (Kunstner, Hennig and Balles, NeurIPS 2019); that one is :func:`fisher`.

    Args:
        model: one of :mod:`ddt_utils.networks`.
        theta: one parameter vector, shape (n,).
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        chunk: as for :func:`sample_gradients`.

    Returns:
        The second moment, shape (n, n).

    Example:
        >>> import numpy as np
        >>> from ddt_utils import networks
        >>> x, y = np.array([[1.0], [1.0]]), np.array([1.0, 3.0])
        >>> second_moment(networks.linear(1), np.zeros(1), x, y)
        array([[5.]])
    """
    with differentiable():
        theta, x, y = _checked(model, theta, x, y, whole=True)
        rows = _gradients(model, theta, x, y, chunk)
        return _checks.derivative(sum(g.T @ g for g in rows)) / len(x)


def fisher(model, theta, x, *, chunk: int | None = None) -> np.ndarray:
    r"""The Fisher information, with labels drawn from the model; exact, shape (n, n).

    .. math::
        F = \frac1m\sum_i \mathrm{E}_{y\sim p_\theta(\cdot|x_i)}\,\nabla\ell\,\nabla\ell^\top
          = \frac1m\sum_i J_i^\top \Lambda_i J_i,

    with J the Jacobian of the outputs and :math:`\Lambda` the Hessian of the loss in the outputs.
    The second form, the generalised Gauss–Newton matrix, equals the first because for cross
    entropy, and for squared loss as a Gaussian of variance one, the outputs are natural parameters,
    so that :math:`\Lambda` does not depend on the label (Martens, JMLR 21(146), 2020, section 9).

    Args:
        model: one of :mod:`ddt_utils.networks`.
        theta: one parameter vector, shape (n,).
        x: inputs, shape (m, d).
        chunk: samples that are differentiated at once.

    Returns:
        F, shape (n, n).

    Raises:
        ValueError: :math:`\Lambda` does depend on the label, :math:`e^{-\ell}` is no probability
            of the classes, or n is over :data:`LARGEST`.

    Example:
        >>> import numpy as np
        >>> from ddt_utils import networks
        >>> fisher(networks.logistic(1), np.zeros(1), np.array([[2.0], [2.0]]))
        array([[1.]])
    """
    from torch.func import jacfwd, jacrev

    _checks.model(model)
    x = model.inputs(x)
    kind = np.int64 if model.classes or not model.target_shape else float
    labels = np.zeros((len(x), *(size or 1 for size in model.target_shape)), kind)
    with differentiable(), alone():
        theta, x, y = _checked(model, theta, x, labels, whole=True)
        shape = model.outputs(theta, x[:1]).shape[1:]
        total, rows = 0.0, _rows(chunk, _ENTRIES // (len(theta) * math.prod(shape)))
        bend = jacfwd(jacrev(_derivatives.output_loss(model, shape)))
        for xs, zeros in zip(x.split(rows), y.split(rows), strict=True):
            jacobian = _derivatives.jacobians(model, theta, xs)
            out = model.outputs(theta, xs).flatten(1)
            inner = _derivatives.of_any_label(model, bend, shape, out, zeros)
            total = total + jacobian.flatten(0, 1).T @ (inner @ jacobian).flatten(0, 1)
        return _symmetric(_checks.derivative(total) / len(x))


def hessian(model, theta, x, y, *, chunk: int | None = None) -> np.ndarray:
    r"""The Hessian :math:`H = \nabla\nabla L`; exact, symmetric, shape (n, n).

    With ``"relu"`` it is that of the smooth piece in which θ lies; the kinks are not seen.

    Args:
        model: one of :mod:`ddt_utils.networks`.
        theta: one parameter vector, shape (n,).
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        chunk: columns that are computed at once, forward over reverse; by default what takes about
            128 MB for each layer of the network.

    Returns:
        H, shape (n, n).

    Raises:
        ValueError: n is over :data:`LARGEST`; take :func:`hessian_operator`.

    Example:
        >>> import numpy as np
        >>> from ddt_utils import networks
        >>> x, y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1.0, 1.0])
        >>> hessian(networks.linear(2), np.zeros(2), x, y)
        array([[0.5, 0. ],
               [0. , 2. ]])
    """
    with differentiable():
        theta, x, y = _checked(model, theta, x, y, whole=True)
        return _symmetric(_products(model, theta, x, y, np.eye(len(theta)), chunk))


def hessian_vector_product(model, theta, x, y, vectors, *, chunk: int | None = None) -> np.ndarray:
    """H times vectors, without H (Pearlmutter 1994).

    Args:
        model: one of :mod:`ddt_utils.networks`.
        theta: one parameter vector, shape (n,).
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        vectors: shape (n,) or (n, k).
        chunk: columns that are multiplied at once, as for :func:`hessian`.

    Returns:
        The products, of the shape of the vectors.

    Example:
        >>> import numpy as np
        >>> from ddt_utils import networks
        >>> x, y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1.0, 1.0])
        >>> line = networks.linear(2)
        >>> hessian_vector_product(line, np.zeros(2), x, y, np.array([1.0, 1.0]))
        array([0.5, 2. ])
    """
    with differentiable():
        return _products(model, *_checked(model, theta, x, y), vectors, chunk)


def hessian_operator(model, theta, x, y, *, chunk: int | None = None):
    """The Hessian as a SciPy ``LinearOperator`` of shape (n, n), for models of any size.

    The gradient is computed once, and its graph is kept: a product is one backward pass through it.

    Args:
        model: one of :mod:`ddt_utils.networks`.
        theta: one parameter vector, shape (n,).
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        chunk: columns that are multiplied at once, as for :func:`hessian`.

    Returns:
        The operator.

    Example:
        >>> import numpy as np
        >>> from ddt_utils import networks
        >>> x, y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1.0, 1.0])
        >>> operator = hessian_operator(networks.linear(2), np.zeros(2), x, y)
        >>> operator.matvec(np.array([1.0, 1.0]))
        array([0.5, 2. ])
    """
    import torch
    from scipy.sparse.linalg import LinearOperator

    with differentiable():
        theta, x, y = _checked(model, theta, x, y)
        place = theta.clone().requires_grad_()
        (slope,) = torch.autograd.grad(model.loss(place, x, y), place, create_graph=True)
    _checks.derivative(slope)  # refused if it is not finite

    @differentiable()
    def times(vectors):
        columns = _columns(place, vectors)
        if not slope.requires_grad:  # a loss without curvature
            return np.zeros(np.shape(vectors))
        kept = dict(retain_graph=True, materialize_grads=True)
        found = [
            torch.autograd.grad(slope, place, part, is_grads_batched=True, **kept)[0]
            if len(part) > 1
            else torch.autograd.grad(slope, place, part[0], **kept)[0][None]
            for part in columns.split(_rows(chunk, _ENTRIES // x.numel()))
        ]
        return _checks.derivative(torch.cat(found)).T.reshape(np.shape(vectors))

    shape = (len(theta), len(theta))
    return LinearOperator(shape, times, times, times, dtype=float, rmatmat=times)


def _gradients(model, theta, x, y, chunk):
    """The sample gradients as tensors of at most ``chunk`` rows."""
    from torch.func import grad, vmap

    def loss(theta, xi, yi):
        return model.sample_losses(theta, xi[None], yi[None])[0]

    rows = _rows(chunk, _ENTRIES // len(theta))
    for xs, ys in zip(x.split(rows), y.split(rows), strict=True):
        yield vmap(grad(loss), (None, 0, 0))(theta, xs, ys)


def _products(model, theta, x, y, vectors, chunk):
    """H times (n,) or (n, k): the derivative of the gradient along every column."""
    from torch.func import grad, jvp, vmap

    def along(vector):
        return jvp(grad(lambda t: model.loss(t, x, y)), (theta,), (vector,))[1]

    columns = _columns(theta, vectors)
    with alone():
        found = vmap(along, chunk_size=_rows(chunk, _ENTRIES // x.numel()))(columns)
    return _checks.derivative(found).T.reshape(np.shape(vectors))


def _columns(theta, vectors):
    """Vectors (n,) or (n, k) as a tensor (k, n)."""
    vectors = _checks.array("vectors", vectors)
    if vectors.ndim not in (1, 2) or len(vectors) != len(theta) or not vectors.size:
        raise ValueError(
            f"vectors must have shape ({len(theta)},) or ({len(theta)}, k), not empty, got shape "
            f"{vectors.shape}"
        )
    return theta.new_tensor(np.atleast_2d(vectors.T))


def _rows(chunk, default):
    """How many at once."""
    return max(1, default) if chunk is None else _checks.whole("chunk", chunk, least=1)


def _checked(model, theta, x, y, whole=False):
    """θ, inputs and targets as tensors in double precision on the device of θ."""
    import torch

    _checks.model(model)
    device = theta.device if torch.is_tensor(theta) else "cpu"
    remedy = f"{model.name} has as many parameters; take one replica at a time"
    theta = _checks.array("theta", theta, shape=(model.size,), remedy=remedy)
    x = model.inputs(x)
    y = model.targets(y, len(x))
    if whole and len(theta) > LARGEST:
        raise ValueError(
            f"a whole matrix is for up to {LARGEST} parameters, {model.name} has {len(theta)}; "
            "use hessian_operator, or sample_gradients"
        )
    return tuple(torch.tensor(v, device=device) for v in (theta, x, y))


def _symmetric(matrix):
    return (matrix + matrix.T) / 2
