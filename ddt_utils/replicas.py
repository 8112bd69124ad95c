r"""Replicas of a small network, trained side by side, each with a random stream of its own.

R copies of a model are one tensor of shape (R, n), and one iteration moves them all, by a rule of
:mod:`ddt_utils.updates`. Replica i of a seed draws the same minibatches and the same noise whatever
R is, however training is cut into pieces, and on any machine, because its random numbers come from
a counter, keyed by seed and replica and read by blocks of iterations, see
:mod:`ddt_utils.streams`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ddt_utils import _checks, _files, provenance, streams
from ddt_utils.escape import CENSORED, DIVERGED, ESCAPED, EscapeTimes
from ddt_utils.model import known_targets
from ddt_utils.updates import SGD, GaussianSGD, GradientDescent, Rule, sgld

__all__ = ["SGD", "GaussianSGD", "GradientDescent", "Replicas", "Rule", "sgld"]
_FAR = 1e6  # a replica with a larger parameter has diverged
_KEPT = ("theta", "iteration", "status", "seen", "looked", "since")


class Replicas:
    """R copies of a model in training.

    Training can be stopped at any iteration, by Ctrl-C too, and carried on by calling again, or in
    another process after :meth:`save` and :meth:`resume`: it is the same training, bit by bit on
    one machine.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        x: inputs, shape (m, d).
        y: targets, shape (m,): classes from 0, or real numbers, as the model says.
        rule: :class:`.SGD`, :class:`.GaussianSGD`, :class:`.GradientDescent` or one's own.
        start: where every replica begins, shape (n,), or each, shape (R, n).
        replicas: R, if ``start`` has shape (n,); one by default.
        seed: a whole number from 0 to 2⁶⁴ − 1.
        first: the number of the first replica, by which random streams are chosen; from 0.
        device: of torch.
        dtype: of the parameters, ``torch.float64`` by default, or ``torch.float32``.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, or targets that are not
            what the model takes.

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
    """

    def __init__(
        self, model, x, y, rule, *, start, replicas=None, seed, first=0, device="cpu", dtype=None
    ):
        """See the class."""
        import torch

        dtype = dtype or torch.float64
        if dtype not in (torch.float64, torch.float32):
            raise ValueError(f"dtype must be torch.float64 or torch.float32, got {dtype}")
        try:
            device = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"device must be one of torch's, got {device!r}") from error
        self.model, self.rule, self.seed = model, rule, _checks.seed(seed)
        self.first = _checks.whole("first", first, most=2**63)
        inputs = model.inputs(x)
        self.x = torch.as_tensor(inputs, device=device)
        self.x = self.x.to(dtype) if self.x.is_floating_point() else self.x
        self.y = torch.as_tensor(model.targets(y, len(inputs)), device=device)
        self.y = self.y.to(dtype) if self.y.is_floating_point() else self.y
        begin = torch.as_tensor(_checks.array("start", start), dtype=dtype, device=device)
        count = None if replicas is None else _checks.whole("replicas", replicas, least=1)
        if begin.ndim == 1:
            begin = begin.expand(count or 1, -1)
        shape = (count or len(begin), model.size)
        if begin.shape != shape or not len(begin):
            raise ValueError(
                f"start must have shape ({model.size},), or ({count or 'R'}, {model.size}), got "
                f"{tuple(np.shape(start))}"
            )
        self.theta = begin.clone()
        self.state = rule.initial_state(self.theta)
        self.iteration = 0
        self._start = begin.cpu().numpy().copy()
        self._draw, self._length = rule.draws(len(inputs), model.size)
        self._status = np.zeros(len(self.theta), np.int8)
        self._seen = np.zeros(len(self.theta), np.int64)
        self._looked = self._since = 0  # iterations: of the last look, and when watching began
        self._asked = ""  # the criterion that is watched, by its digest
        self._block = (-1, None, None)

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

    def gradient(self, theta, indices=None):
        """The gradient of the loss.

        Args:
            theta: parameters, shape (R, n).
            indices: of the samples of each replica's minibatch, shape (R, B); by default all.

        Returns:
            A tensor of shape (R, n).
        """
        import torch

        x, y = (self.x, self.y) if indices is None else (self.x[indices], self.y[indices])
        theta = theta.detach().requires_grad_()
        with known_targets():
            loss = self.model.loss(theta, x, y).sum()
        (found,) = torch.autograd.grad(loss, theta)
        return found

    def run(self, iterations: int, *, every=None, observe: Callable | None = None, progress=False):
        """Train for some iterations.

        Args:
            iterations: how many, from 0.
            every: call ``observe(self)`` before the first and after every so many iterations.
            observe: what to call; what it returns is kept in ``self.history``.
            progress: show a progress bar.

        Returns:
            The replicas themselves.

        Raises:
            ValueError: no such numbers.
        """
        from tqdm import trange

        iterations = _checks.whole("iterations", iterations)
        every = _checks.whole("every", 1 if every is None else every, least=1)
        self.history = [observe(self)] if observe else []
        alive = np.arange(len(self.theta))
        for done in trange(1, iterations + 1, disable=not progress):
            self._advance(alive)
            if observe and done % every == 0:
                self.history.append(observe(self))
        return self

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
            count. A replica with a parameter beyond 1e6 in size has diverged and has not escaped.

        Raises:
            ValueError: ``every`` or ``max_iterations`` below 1, replicas that are outside when
                watching begins, or another criterion than the one that is being watched.
        """
        from tqdm import tqdm

        every = _checks.whole("every", every, least=1)
        limit = _checks.whole("max_iterations", max_iterations, least=1)
        self._watch(criterion)
        with tqdm(total=len(self.theta), disable=not progress, unit=" replicas") as bar:
            while True:
                alive, done = np.flatnonzero(self._status == 0), self.iteration - self._since
                bar.update(len(self.theta) - alive.size - bar.n)
                at_rest = done % every == 0 or done >= limit
                if alive.size and at_rest and self.iteration > self._looked:
                    self._look(criterion, alive)
                elif not alive.size or done >= limit:
                    break
                else:
                    self._advance(alive)
        status = np.where(self._status == 0, CENSORED, self._status).astype(np.int8)
        last = np.where(self._status == 0, self.iteration, self._seen)
        return EscapeTimes(
            times=(last - self._since) * float(self.rule.learning_rate),
            status=status,
            states=self.theta.cpu().numpy().copy(),
            step=float(self.rule.learning_rate),
            bias_correction=f"none: looked at every {every} iterations",
        )

    def save(self, path) -> None:
        """Write everything that training needs to go on, all of it or nothing.

        Args:
            path: of the file, by custom with the ending ``.npz``; what is there is replaced.
        """
        numbers = (self._status, self._seen, self._looked, self._since)
        state = dict(zip(_KEPT, (self.theta.cpu().numpy(), self.iteration, *numbers), strict=True))
        state |= {f"state {name}": part.cpu().numpy() for name, part in self.state.items()}
        _files.write_arrays(path, state | dict(digest=[self._digest(), self._asked]))

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

        names = [f"state {name}" for name in self.state]
        kept = _files.read_arrays(
            path,
            remedy="resume from another copy, or train again from the beginning",
            keys=("digest", *_KEPT, *names),
        )
        digest, asked = np.append(kept["digest"], "")[:2]
        if digest != self._digest():
            raise ValueError(
                f"{path} holds another training (model, data, rule, start, seed, number of "
                "replicas or the code of the package differ); make the replicas with the arguments "
                "that they had"
            )
        place = self.theta.device
        self.theta = torch.from_numpy(kept["theta"]).to(place)
        self.state = {k: torch.from_numpy(kept[f"state {k}"]).to(place) for k in self.state}
        self.iteration, self._looked, self._since = (
            int(kept[name]) for name in ("iteration", "looked", "since")
        )
        self._status, self._seen, self._asked = kept["status"], kept["seen"], str(asked)
        self._block = (-1, None, None)
        return self

    def _watch(self, criterion):
        """Begin to watch for a criterion, or go on with the same one."""
        asked = provenance.digest({"criterion": criterion})
        if self._asked and asked != self._asked:
            raise ValueError(
                f"criterion must be the one that these replicas are watched for, got {criterion}; "
                "make new replicas to ask another question"
            )
        if not self._asked:
            out = np.asarray(criterion.outside(self.theta, self.loss).cpu())
            if out.any():
                raise ValueError(
                    f"replicas must begin inside, got {out.sum()} of {out.size} that are outside "
                    f"already for {criterion!r}; start elsewhere, or ask for more"
                )
            self._looked = self._since = self.iteration
            self._asked = asked

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
        old = {name: part[rows] for name, part in self.state.items()}
        theta, state = self.rule.step(
            self.gradient, self.theta[rows], old, drawn[:, place], self.iteration
        )
        if state.keys() != old.keys():
            raise ValueError(
                f"a rule's step must return the state that it was given, {sorted(old)}, got "
                f"{sorted(state)}; name all of it in initial_state"
            )
        if alive.size < len(self.theta):
            theta = self.theta.index_copy(0, rows, theta)
            state = {name: self.state[name].index_copy(0, rows, v) for name, v in state.items()}
        self.theta, self.state, self.iteration = theta, state, self.iteration + 1

    def _stream(self, replica, block):
        """The random numbers of a replica for a block of iterations."""
        return streams.stream(self.seed, "training", self.first + int(replica), block)

    def _digest(self):
        parts = dict(model=self.model, rule=self.rule, seed=self.seed, first=self.first)
        return provenance.digest(parts | dict(x=self.x, y=self.y, start=self._start))


def _rows(numbers, like):
    """Row numbers as torch takes them; all rows, if these are all."""
    import torch

    return slice(None) if numbers.size == len(like) else torch.from_numpy(numbers).to(like.device)
