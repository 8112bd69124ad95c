r"""Replicas of a small network, trained side by side, each with a random stream of its own.

R copies of a model are one tensor of shape (R, n), and one iteration moves them all. Replica i of a
seed draws the same minibatches and the same noise whatever R is, however training is cut into
pieces, and on any machine, because its random numbers come from a counter: Philox, keyed by (seed,
i), read by blocks of iterations (Salmon et al., SC 2011).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddt_utils import _checks, streams
from ddt_utils.escape import CENSORED, DIVERGED, ESCAPED, EscapeTimes

_FAR = 1e6  # a replica with a larger parameter has diverged
_BLOCK = 64  # iterations whose random numbers are drawn together
SAMPLINGS = ("replacement", "distinct", "epochs")


@dataclass(frozen=True)
class SGD:
    r"""Minibatch SGD: :math:`v' = \beta v - \eta\hat g,\ \theta' = \theta + v'`.

    Args:
        learning_rate: η.
        batch_size: B.
        momentum: β in [0, 1); 0 is plain SGD.
        sampling: ``"replacement"``: independent draws; ``"distinct"``: no sample twice in one
            minibatch; ``"epochs"``: all samples in a new order each epoch, the rest of m/B left
            out.

    Raises:
        ValueError: a number out of its range, or an unknown sampling.
    """

    learning_rate: float
    batch_size: int
    momentum: float = 0.0
    sampling: str = "replacement"

    def __post_init__(self):
        _positive("learning_rate", self.learning_rate)
        if not (self.batch_size == int(self.batch_size) and self.batch_size >= 1):
            raise ValueError(f"batch_size must be a whole number from 1, got {self.batch_size}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"sampling must be one of {SAMPLINGS}, got {self.sampling!r}")

    def draws(self, samples, size):
        """A function of (random generator, block) that draws the batches of a block, and how many
        iterations a block has."""
        batch = int(self.batch_size)
        if batch > samples and self.sampling != "replacement":
            raise ValueError(f"a minibatch of {batch} distinct samples needs more than {samples}")
        if self.sampling == "epochs":
            count = samples // batch
            return lambda g: g.permutation(samples)[: count * batch].reshape(count, batch), count
        if self.sampling == "distinct":
            return lambda g: _distinct(g, samples, batch), _BLOCK
        return lambda g: g.integers(0, samples, (_BLOCK, batch)), _BLOCK

    def step(self, gradient, theta, velocity, draw):
        """The new parameters and the new velocity; ``gradient(θ, indices)``."""
        move = -self.learning_rate * gradient(theta, draw)
        if self.momentum:
            move = self.momentum * velocity + move
        return theta + move, move


@dataclass(frozen=True)
class GaussianSGD:
    r"""SGD with Gaussian noise of one covariance: :math:`\theta' = \theta - \eta(\nabla L + F\xi)`.

    Args:
        learning_rate: η.
        factor: F with :math:`F F^\top = C`, the covariance of a minibatch gradient, shape (n, k);
            for SGLD of diffusion D it is :math:`\sqrt{2D/\eta}` times the identity, see
            :func:`sgld`.

    Raises:
        ValueError: η not positive, or F not a finite matrix.
    """

    learning_rate: float
    factor: np.ndarray

    def __post_init__(self):
        _positive("learning_rate", self.learning_rate)
        factor = np.asarray(self.factor, dtype=float)
        if factor.ndim != 2 or not np.isfinite(factor).all():
            raise ValueError(f"factor must be a finite matrix (n, k), got shape {factor.shape}")
        object.__setattr__(self, "factor", factor)

    def draws(self, samples, size):
        """See :meth:`SGD.draws`."""
        rows, count = self.factor.shape
        if rows != size:
            raise ValueError(f"factor needs {size} rows, one per parameter, got {rows}")
        return lambda g: g.standard_normal((_BLOCK, count)), _BLOCK

    def step(self, gradient, theta, velocity, draw):
        """See :meth:`SGD.step`; the gradient is that of all samples."""
        import torch

        factor = torch.as_tensor(self.factor, dtype=theta.dtype, device=theta.device)
        noise = draw.to(theta.dtype) @ factor.T
        return theta - self.learning_rate * (gradient(theta, None) + noise), velocity


def sgld(learning_rate: float, diffusion: float, size: int) -> GaussianSGD:
    r"""Descent with white noise: :math:`\theta' = \theta - \eta\nabla L + \sqrt{2D\eta}\,\xi`.

    Args:
        learning_rate: η.
        diffusion: D.
        size: the number n of parameters.
    """
    _positive("diffusion", diffusion)
    _positive("learning_rate", learning_rate)
    return GaussianSGD(learning_rate, np.sqrt(2 * diffusion / learning_rate) * np.eye(size))


@dataclass(frozen=True)
class GradientDescent:
    """Descent along the gradient of all samples, without noise."""

    learning_rate: float

    def __post_init__(self):
        _positive("learning_rate", self.learning_rate)

    def draws(self, samples, size):
        """Nothing is drawn."""
        return lambda g: np.zeros((_BLOCK, 0)), _BLOCK

    def step(self, gradient, theta, velocity, draw):
        """See :meth:`SGD.step`; the gradient is that of all samples."""
        return theta - self.learning_rate * gradient(theta, None), velocity


class Replicas:
    """R copies of a model in training.

    Training can be stopped at any iteration, by Ctrl-C too, and carried on by calling again, or in
    another process after :meth:`save` and :meth:`resume`: it is the same training, bit by bit on
    one machine.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        rule: :class:`SGD`, :class:`GaussianSGD` or :class:`GradientDescent`.
        start: where every replica begins, shape (n,), or each, shape (R, n).
        replicas: R, if ``start`` has shape (n,).
        seed: any integer.
        first: the number of the first replica, by which random streams are chosen.
        device: of torch.
        dtype: of the parameters, double precision by default.

    Raises:
        ValueError: shapes that do not fit, or numbers that are not finite.

    Example:
        >>> import numpy as np
        >>> from ddt_utils import networks
        >>> from ddt_utils.replicas import SGD, Replicas
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> y, model, rule = np.arange(50) % 2, networks.logistic(3), SGD(0.1, 5)
        >>> crowd = Replicas(model, x, y, rule, start=np.zeros(3), replicas=4, seed=1)
        >>> crowd.run(10).theta.shape
        torch.Size([4, 3])
    """

    def __init__(
        self, model, x, y, rule, *, start, replicas=None, seed, first=0, device="cpu", dtype=None
    ):
        import torch

        self.model, self.rule, self.seed, self.first = model, rule, _checks.seed(seed), int(first)
        like = dict(device=device, dtype=dtype or torch.float64)
        self.x = torch.as_tensor(np.array(x, dtype=float), **like)
        self.y = torch.as_tensor(np.array(y), device=device)
        begin = torch.as_tensor(np.array(start, dtype=float), **like)
        if begin.ndim == 1:
            begin = begin.expand(int(replicas or 1), -1)
        if begin.ndim != 2 or begin.shape[1] != model.size or replicas not in (None, len(begin)):
            raise ValueError(
                f"start must have shape ({model.size},), or ({replicas or 'R'}, {model.size}), got "
                f"{tuple(np.shape(start))}"
            )
        if self.x.ndim != 2 or self.y.shape != self.x.shape[:1] or not bool(begin.isfinite().all()):
            raise ValueError(
                f"x must have shape (m, d), y (m,), and all start values be finite, got "
                f"{tuple(self.x.shape)} and {tuple(self.y.shape)}"
            )
        self.theta = begin.clone()
        self.velocity = torch.zeros_like(self.theta)
        self.iteration = 0
        self._draw, self._length = rule.draws(len(self.x), model.size)
        self._status = np.zeros(len(self.theta), np.int8)
        self._seen = np.zeros(len(self.theta), np.int64)
        self._looked = 0
        self._block = (-1, None, None)

    def __repr__(self):
        return (
            f"{len(self.theta)} replicas of a {self.model.name} after {self.iteration} iterations"
        )

    def loss(self, theta=None):
        """The loss over all samples of parameters (R, n), by default the replicas' own; (R,)."""
        theta = self.theta if theta is None else theta
        return self.model.loss(theta, self.x, self.y)

    def gradient(self, theta, indices=None):
        """The gradient on the minibatches ``indices``, shape (R, B), or on all samples; (R, n)."""
        import torch

        x, y = (self.x, self.y) if indices is None else (self.x[indices], self.y[indices])
        theta = theta.detach().requires_grad_()
        (found,) = torch.autograd.grad(self.model.loss(theta, x, y).sum(), theta)
        return found

    def run(self, iterations: int, *, every=None, observe: Callable | None = None, progress=False):
        """Train for some iterations.

        Args:
            iterations: how many.
            every: call ``observe(self)`` before the first and after every so many iterations.
            observe: what to call; what it returns is kept in ``self.history``.
            progress: show a progress bar.

        Returns:
            The replicas themselves.
        """
        from tqdm import trange

        self.history = [observe(self)] if observe else []
        alive = np.arange(len(self.theta))
        for done in trange(1, iterations + 1, disable=not progress):
            self._advance(alive)
            if observe and done % (every or 1) == 0:
                self.history.append(observe(self))
        return self

    def escape(self, criterion, *, max_iterations: int, every: int = 1, progress=False):
        r"""Train each replica until it has escaped.

        Args:
            criterion: what counts as escaped; ``criterion.outside(θ, loss)`` for parameters (R, n)
                and the loss as a function of them, see :mod:`ddt_utils.criterion`.
            max_iterations: replicas still inside then are censored.
            every: look every so many iterations; a time is then late by half of them on average.
            progress: show a progress bar.

        Returns:
            :class:`ddt_utils.escape.EscapeTimes`, in units of t = learning rate × iterations. A
            replica with a parameter beyond 1e6 in size has diverged and does not count as escaped.

        Raises:
            ValueError: ``every`` or ``max_iterations`` below 1.
        """
        from tqdm import tqdm

        if every < 1 or max_iterations < 1:
            raise ValueError(
                f"every and max_iterations must be 1 or more, got {every} and {max_iterations}"
            )
        with tqdm(total=len(self.theta), disable=not progress, unit=" replicas") as bar:
            while True:
                alive = np.flatnonzero(self._status == 0)
                bar.update(len(self.theta) - alive.size - bar.n)
                at_rest = self.iteration % every == 0 or self.iteration >= max_iterations
                if alive.size and at_rest and self.iteration > self._looked:
                    self._look(criterion, alive)
                elif not alive.size or self.iteration >= max_iterations:
                    break
                else:
                    self._advance(alive)
        status = np.where(self._status == 0, CENSORED, self._status).astype(np.int8)
        eta = float(self.rule.learning_rate)
        return EscapeTimes(
            times=np.where(self._status == 0, self.iteration, self._seen) * eta,
            status=status,
            states=self.theta.cpu().numpy().copy(),
            step=eta,
            bias_correction=f"none: looked at every {every} iterations",
        )

    def save(self, path) -> None:
        """Write everything that training needs to go on."""
        state = dict(theta=self.theta.cpu().numpy(), velocity=self.velocity.cpu().numpy())
        state |= dict(iteration=self.iteration, status=self._status, seen=self._seen)
        state |= dict(looked=self._looked)
        with open(path, "wb") as file:
            np.savez(file, digest=self._digest(), **state)

    def resume(self, path):
        """Go on from what :meth:`save` wrote, of replicas that were made with the same arguments.

        Returns:
            The replicas themselves.

        Raises:
            ValueError: the file belongs to another training.
        """
        import torch

        with np.load(Path(path)) as state:
            if str(state["digest"]) != self._digest():
                raise ValueError(
                    f"{path} holds another training (model, data, rule, seed or replicas differ); "
                    "make the replicas with the arguments that they had"
                )
            self.theta = torch.from_numpy(state["theta"]).to(self.theta.device)
            self.velocity = torch.from_numpy(state["velocity"]).to(self.theta.device)
            self.iteration = int(state["iteration"])
            self._status, self._seen = state["status"], state["seen"]
            self._looked = int(state["looked"])
        self._block = (-1, None, None)
        return self

    def _look(self, criterion, alive):
        """Note which replicas have escaped or diverged."""
        theta = self.theta[_rows(alive, self.theta)]
        finite = (theta.abs().amax(-1) < _FAR).cpu().numpy()
        outside = np.asarray(criterion.outside(theta, self.loss).cpu())
        self._seen[alive] = self.iteration
        self._status[alive[outside & finite]] = ESCAPED
        self._status[alive[~finite]] = DIVERGED
        self._looked = self.iteration

    def _advance(self, alive):
        """One iteration of the replicas ``alive``; nothing has changed until its last line."""
        import torch

        number, place = divmod(self.iteration, self._length)
        block, those, drawn = self._block
        if block != number or not np.isin(alive, those).all():
            drawn = np.stack([self._draw(self._stream(i, number)) for i in alive])
            drawn = torch.from_numpy(np.ascontiguousarray(drawn)).to(self.theta.device)
            self._block = (number, alive, drawn)
        elif alive.size < those.size:
            drawn = drawn[_rows(np.searchsorted(those, alive), drawn)]
            self._block = (number, alive, drawn)
        rows = _rows(alive, self.theta)
        theta, velocity = self.rule.step(
            self.gradient, self.theta[rows], self.velocity[rows], drawn[:, place]
        )
        if alive.size < len(self.theta):
            theta = self.theta.index_copy(0, rows, theta)
            velocity = self.velocity.index_copy(0, rows, velocity)
        self.theta, self.velocity, self.iteration = theta, velocity, self.iteration + 1

    def _stream(self, replica, block):
        """The random numbers of a replica for a block of iterations."""
        return streams.stream(self.seed, "training", self.first + int(replica), block)

    def _digest(self):
        parts = [self.model.name, repr(self.rule), self.seed, self.first, tuple(self.theta.shape)]
        found = hashlib.sha256(repr(parts).encode())
        for tensor in (self.x, self.y):
            found.update(tensor.cpu().numpy().tobytes())
        return found.hexdigest()[:20]


def _rows(numbers, like):
    """Row numbers as torch takes them; all rows, if these are all."""
    import torch

    return slice(None) if numbers.size == len(like) else torch.from_numpy(numbers).to(like.device)


def _distinct(generator, samples, batch):
    """Minibatches without a sample twice, each set of samples as likely as any other."""
    keys = generator.random((_BLOCK, samples))
    return np.argpartition(keys, batch - 1, axis=1)[:, :batch]


def _positive(name, value):
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive and finite, got {value}")
