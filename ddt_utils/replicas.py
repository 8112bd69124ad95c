r"""Replicas of a small network, trained side by side, each with a random stream of its own.

R copies of a model are one tensor of shape (R, n), and one iteration moves them all, by a rule of
:mod:`ddt_utils.updates`. Replica i of a seed draws the same minibatches and the same noise whatever
R is, however training is cut into pieces, and on any machine, because its random numbers come from
a counter, keyed by seed and replica and read by blocks of iterations, see
:mod:`ddt_utils.streams`.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import numpy as np

from ddt_utils import _checks, _devices, _files, _fleet
from ddt_utils.escape import CENSORED, DIVERGED, EscapeTimes
from ddt_utils.model import differentiable, known_targets
from ddt_utils.optimisers import SAM, SGD, Adam, LabelNoise
from ddt_utils.updates import GaussianSGD, GradientDescent, Rule, sgld

__all__ = [
    "SAM", "SGD", "Adam", "GaussianSGD", "GradientDescent", "LabelNoise", "Replicas", "Rule",
    "sgld",
]  # fmt: skip


class Replicas(_fleet.Fleet):
    """R copies of a model in training.

    Training can be stopped at any iteration, by Ctrl-C too, and carried on by calling again, or in
    another process after :meth:`save` and :meth:`resume`: it is the same training, bit by bit on
    one machine. On another processor or on a GPU the random numbers are the same and the last
    digits of sums are not.

    A replica with a parameter beyond 1e6 in size, or NaN, has diverged: it stands still,
    :attr:`diverged` and a warning say which one and in which iteration, and the others go on.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        x: inputs, shape (m, d), or as the model takes them.
        y: targets, shape (m,): classes from 0, or real numbers, as the model says.
        rule: :class:`.SGD`, :class:`.GaussianSGD`, :class:`.GradientDescent`, another of
            :mod:`ddt_utils.optimisers`, or one's own.
        start: where every replica begins, shape (n,), or each, shape (R, n).
        replicas: R, if ``start`` has shape (n,); one by default.
        seed: a whole number from 0 to 2⁶⁴ − 1.
        first: the number of the first replica, by which random streams are chosen; from 0.
        device: of torch, or ``"auto"``: a GPU where there is one; by default what ``DDT_DEVICE``
            in the environment says, and ``"cpu"`` without it.
        dtype: of the parameters, ``torch.float64`` by default, or ``torch.float32``; see
            :meth:`rounding`.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite or not within what ``dtype``
            holds, a start beyond 1e6, targets that are not what the model takes, a device that
            cannot be used, what is no model or no rule, or a rule that begins without a state.

    Example:
        >>> import numpy as np
        >>> from ddt_utils import networks
        >>> from ddt_utils.replicas import SGD, Replicas
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> y, model, rule = np.arange(50) % 2, networks.logistic(3), SGD(0.1, 5)
        >>> start = np.zeros(3)
        >>> crowd = Replicas(model, x, y, rule, start=start, replicas=4, seed=1)
        >>> crowd.run(10).theta.shape
        torch.Size([4, 3])
        >>> crowd.loss().shape, crowd.diverged
        (torch.Size([4]), {})
        >>> crowd.gradient(crowd.theta).shape
        torch.Size([4, 3])

        Stopped, kept, and gone on with elsewhere:

        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "crowd.npz")
        >>> crowd.save(path)
        >>> twin = Replicas(model, x, y, rule, start=start, replicas=4, seed=1)
        >>> twin.resume(path).iteration
        10
    """

    @differentiable()
    def __init__(
        self, model, x, y, rule, *, start, replicas=None, seed, first=0, device=None, dtype=None
    ):
        """See the class."""
        import torch

        dtype = dtype or torch.float64
        if dtype not in (torch.float64, torch.float32):
            raise ValueError(f"dtype must be torch.float64 or torch.float32, got {dtype}")
        device = _devices.of_torch(device, dtype)
        _checks.model(model)
        if not isinstance(rule, Rule):
            raise ValueError(
                f"rule must be an updates.Rule, such as SGD(0.1, batch_size=8), got {rule!r}"
            )
        self.model, self.rule, self.seed = model, rule, _checks.seed(seed)
        self.first = _checks.whole("first", first, most=2**63)
        inputs = model.inputs(x)
        self._data = inputs, model.targets(y, len(inputs))
        rule.suits(model, len(inputs), model.size)
        begin = torch.as_tensor(_checks.array("start", start), dtype=dtype, device=device)
        count = None if replicas is None else _checks.whole("replicas", replicas, least=1)
        begin = _fleet.spread(begin, count, model.size)
        self.theta = begin.clone()
        self.state = self._first_state()
        self.iteration = 0
        self._start = begin.cpu().numpy().copy()
        self._settle(dtype)
        self._status = torch.zeros(len(begin), dtype=torch.int8, device=device)
        self._seen = torch.zeros(len(begin), dtype=torch.int64, device=device)
        self._looked = self._since = 0  # iterations: of the last look, and when watching began
        self._asked = ""  # the criterion that is watched, by its digest

    def __repr__(self):
        """How many, of what, and how far."""
        return (
            f"{len(self.theta)} replicas of a {self.model.name} after {self.iteration} iterations"
        )

    def loss(self, theta=None):
        """The loss over all samples.

        Args:
            theta: parameters, shape (R, n); by default the replicas' own.

        Returns:
            A tensor of shape (R,).
        """
        theta = self.theta if theta is None else theta
        with known_targets():
            return self.model.loss(theta, self.x, self.y)

    @property
    def diverged(self) -> dict:
        """Which replicas have diverged, counted from 0, and in which iteration each did."""
        which = (self._status == DIVERGED).nonzero()[:, 0]
        return dict(zip(which.tolist(), self._seen[which].tolist(), strict=True))

    def gradient(self, theta, indices=None, *, targets: Callable | None = None, weights=None):
        """The gradient of the loss.

        Args:
            theta: parameters, shape (R, n).
            indices: of the samples of each replica's minibatch, shape (R, B); by default all.
            targets: a function of the targets of these samples that returns others.
            weights: what to multiply each sample's loss with, shape (R, B).

        Returns:
            A tensor of shape (R, n).
        """
        import torch

        if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
            with differentiable():
                theta = theta.clone()
                return self.gradient(theta, indices, targets=targets, weights=weights)
        x, y = self.x, self.y
        if indices is not None:
            x, y = (v[indices.flatten()].view(*indices.shape, *v.shape[1:]) for v in (x, y))
        y = y if targets is None else targets(y)
        theta = theta.detach().requires_grad_()
        with known_targets():
            if weights is None:
                loss = self.model.loss(theta, x, y)
            else:
                loss = (weights * self.model.sample_losses(theta, x, y)).mean(-1)
            (found,) = torch.autograd.grad(loss.sum(), theta)
        return found

    @differentiable()
    def run(self, iterations: int, *, every=None, observe: Callable | None = None, progress=False):
        """Train for some iterations.

        Args:
            iterations: how many, from 0.
            every: call ``observe(self)`` before the first and after every so many iterations, 1 by
                default.
            observe: what to call; what it returns is kept in ``self.history``, which every call
                begins anew: after Ctrl-C take what is there before going on.
            progress: show a progress bar.

        Returns:
            The replicas themselves.

        Raises:
            ValueError: no such numbers, ``every`` with nobody to observe, or a rule's step that
                returns no parameters and state like those that it was given.
        """
        from tqdm import tqdm

        iterations = _checks.whole("iterations", iterations)
        if observe is not None and not callable(observe):
            raise ValueError(f"observe must be a function of the replicas, got {observe!r}")
        if every is not None and observe is None:
            raise ValueError(f"every must go with observe, got every={every!r} alone; give both")
        every = _checks.whole("every", 1 if every is None else every, least=1)
        self.history = [observe(self)] if observe else []
        rows, done, known = _which(self._status != DIVERGED), 0, len(self.diverged)
        with tqdm(total=iterations, disable=not progress) as bar:
            while done < iterations:
                ahead = min(iterations, (done // every + 1) * every if observe else iterations)
                before = (self.iteration, self.theta, self.state)
                count = min(ahead - done, self._left())
                self._advance(rows, count)
                rows, done = self._without_diverged(rows, before), done + count
                bar.update(count)
                if observe and done % every == 0:
                    self.history.append(observe(self))
        if len(self.diverged) > known:
            warnings.warn(self._report(), stacklevel=3)  # past what switches gradients on
        return self

    @differentiable()
    def escape(self, criterion, *, max_iterations: int, every: int = 1, progress=False):
        r"""Train each replica until it has escaped.

        Called again, it goes on: with a larger ``max_iterations``, also after :meth:`resume`.

        Args:
            criterion: what counts as escaped; ``criterion.outside(θ, loss)`` for parameters (R, n)
                and the loss as a function of them, see :mod:`ddt_utils.criterion`.
            max_iterations: replicas still inside then are censored.
            every: look every so many iterations; a time is then late by half of them on average.
            progress: show a progress bar.

        Returns:
            :class:`ddt_utils.escape.EscapeTimes`, in units of t = learning rate × iterations,
            counted, as ``max_iterations`` is, from the first call; training before it does not
            count. A replica with a parameter beyond 1e6 in size, or NaN, has diverged and has not
            escaped.

        Raises:
            ValueError: ``every`` or ``max_iterations`` below 1, replicas that are outside when
                watching begins, another criterion than the one that is being watched, one that
                gives no truth value for each replica, or a rule without a learning rate.

        Example:
            A bowl with white noise, until the loss is above a level.

            >>> from ddt_utils import criterion, networks
            >>> bowl, x, y = networks.quadratic([[2.0]]), [[0.0]], [0.0]
            >>> crowd = Replicas(bowl, x, y, sgld(0.1, 0.1, 1), start=[0.0],
            ...                  replicas=50, seed=1)
            >>> found = crowd.escape(criterion.LevelSet(0.2), max_iterations=500)
            >>> found.escaped, bool(found.times.max() <= 50)
            (50, True)
        """
        from tqdm import tqdm

        every = _checks.whole("every", every, least=1)
        limit = _checks.whole("max_iterations", max_iterations, least=1)
        rate = self._rate()
        self._watch(criterion)
        rows = _which(self._status == 0)
        with tqdm(total=len(self.theta), disable=not progress, unit=" replicas") as bar:
            while True:
                done = self.iteration - self._since
                at_rest = done % every == 0 or done >= limit
                if looked := bool(rows.size and at_rest and self.iteration > self._looked):
                    self._look(criterion, rows)
                ask = self._left() == self._blocks.length if self._patient else looked
                if ask or done >= limit:
                    rows = _which(self._status == 0)
                bar.update(len(self.theta) - rows.size - bar.n)
                if not rows.size or done >= limit:
                    break
                count = min(every - done % every, limit - done, self._left())
                self._advance(rows, count, rest=self._patient)
        status, seen = (v.cpu().numpy() for v in (self._status, self._seen))
        last = np.where(status == 0, self.iteration, seen)
        return EscapeTimes(
            times=(last - self._since) * rate,
            status=np.where(status == 0, CENSORED, status).astype(np.int8),
            states=self.theta.cpu().numpy().copy(),
            step=float(rate.max()),
            bias_correction=f"none: looked at every {every} iterations",
        )

    @differentiable()
    def rounding(self, iterations: int = 64):
        r"""What single precision does to training: the next iterations, in both precisions.

        The replicas themselves stay where they are.

        Args:
            iterations: how many.

        Returns:
            :math:`|\theta_{32} - \theta_{64}|/|\theta_{64} - \theta|` of each replica, an array of
            shape (R,), where θ is where it is now.

        Raises:
            ValueError: no such number.

        Example:
            >>> import numpy as np
            >>> from ddt_utils import networks
            >>> x, model = np.eye(3), networks.logistic(3)
            >>> crowd = Replicas(model, x, [0, 1, 1], SGD(0.1, 2), start=np.zeros(3), seed=1)
            >>> bool(crowd.rounding(20).max() < 1e-5)
            True
        """
        import torch

        ends = []
        for dtype in (torch.float32, torch.float64):
            twin = copy.copy(self)
            twin._settle(dtype)
            twin._status, twin._seen = self._status.clone(), self._seen.clone()
            ends.append(twin.run(iterations).theta.double())
        moved = (ends[1] - self.theta).norm(dim=-1)
        return ((ends[0] - ends[1]).norm(dim=-1) / moved.where(moved > 0, 1.0)).cpu().numpy()

    def save(self, path) -> None:
        """Write everything that training needs to go on, all of it or nothing.

        Args:
            path: of the file, by custom with the ending ``.npz``; what is there is replaced.
        """
        _files.write_arrays(path, self._kept() | dict(digest=[self._digest(), self._asked]))

    @differentiable()
    def resume(self, path):
        """Go on from what :meth:`save` wrote, of replicas that were made with the same arguments.

        Args:
            path: of the file.

        Returns:
            The replicas themselves.

        Raises:
            ValueError: the file is damaged, or belongs to another training.
        """
        import torch

        remedy = "resume from another copy, or train again from the beginning"
        own = self._kept()
        kept = _files.read_arrays(path, remedy=remedy, keys=("digest", *own))
        digest, asked = np.append(kept["digest"], ["", ""])[:2]
        if digest != self._digest():
            raise ValueError(
                f"{path} holds another training (model, data, rule, start, seed, number of "
                "replicas or the code of the package differ); make the replicas with the arguments "
                "that they had"
            )
        _files.require_like(path, kept, own, remedy)
        place = self.theta.device
        self.theta = torch.from_numpy(kept["theta"]).to(place)
        self.state = {k: torch.from_numpy(kept[f"state {k}"]).to(place) for k in self.state}
        self.iteration, self._looked, self._since = (
            int(kept[name]) for name in ("iteration", "looked", "since")
        )
        self._status, self._seen = (torch.from_numpy(kept[k]).to(place) for k in ("status", "seen"))
        self._asked = str(asked)
        return self


def _which(marked):
    """The numbers of the replicas that are marked."""
    return np.flatnonzero(marked.cpu().numpy())
