"""How replicas move: all of them in one step, on a processor or by CUDA graphs; who is lost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ddt_utils import _blocks, _checks, provenance
from ddt_utils.escape import DIVERGED, ESCAPED

FAR = 1e6  # a replica with a larger parameter has diverged
_KEPT = ("theta", "iteration", "status", "seen", "looked", "since")  # what is saved


class Fleet:
    """The mechanics of :class:`ddt_utils.replicas.Replicas`, which makes what is used here."""

    def _settle(self, dtype):
        """Take data, parameters and random numbers in some precision."""
        import torch

        device = self.theta.device
        parts = (torch.as_tensor(part, device=device) for part in self._data)
        self.x, self.y = (part.to(dtype) if part.is_floating_point() else part for part in parts)
        for name, part in (("x", self.x), ("y", self.y)):
            if not bool(part.isfinite().all()):
                raise ValueError(
                    f"{name} must be within what {dtype} holds, got numbers that become infinite; "
                    "rescale them, or take torch.float64"
                )
        self.theta = self.theta.to(dtype)
        self.state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in self.state.items()}
        self._blocks = _blocks.Blocks(
            self.rule, len(self.x), self.model.size, seed=self.seed, first=self.first,
            like=self.theta,
        )  # fmt: skip
        self._graph = (None, None)
        self._graphs = self._patient = device.type == "cuda"  # a GPU is asked once a block

    def _digest(self):
        parts = dict(model=self.model, rule=self.rule, seed=self.seed, first=self.first)
        return provenance.digest(parts | dict(x=self.x, y=self.y, start=self._start))

    def _first_state(self):
        """What the rule carries at the beginning."""
        state, count = self.rule.initial_state(self.theta), len(self.theta)
        found = state.values() if isinstance(state, Mapping) else [None]
        if not all(_is_tensor(part) and part.ndim and len(part) == count for part in found):
            raise ValueError(
                f"a rule's initial_state must return tensors with {count} rows by name, one row "
                f"per replica, got {str(state)[:120]}; return {{}} if nothing is carried"
            )
        return state

    def _rate(self):
        """The learning rate, one or one per replica: what an iteration counts."""
        remedy = "the rule must have one, or one per replica; times are counted in it"
        rate = getattr(self.rule, "learning_rate", None)
        if rate is None:
            raise ValueError(f"learning_rate must be a number above 0, got none; {remedy}")
        rate = _checks.array("learning_rate", rate, remedy=remedy)
        if rate.ndim > 1 or rate.size not in (1, len(self.theta)) or not (rate > 0).all():
            raise ValueError(f"learning_rate must be above 0, got {str(rate)[:80]}; {remedy}")
        return rate

    def _left(self):
        """How many iterations are left in this block."""
        return self._blocks.length - self.iteration % self._blocks.length

    def _advance(self, rows, count, *, rest=False):
        """Some iterations of one block; with ``rest``, replicas that are done stay where they are.

        A processor is told by ``rows`` who moves. A GPU is asked once a block who is done, and
        moves them in vain until then.
        """
        if not rows.size:  # all have diverged or are done: time goes on without them
            self.iteration += count
            return
        drawn = self._blocks.of(rows, self.iteration)
        if self._graphs and count > 1 and self._launched(rows, drawn, count, rest):
            return
        for _ in range(count):
            old = self._taken(rows, self.theta, self.state)
            draw = self._blocks.at(drawn, self.iteration)
            self._move(rows, *self._step(*old, draw, self.iteration), 1, rest)

    def _step(self, theta, old, draw, iteration):
        found = self.rule.step(self.gradient, theta, old, draw, iteration)
        if not (isinstance(found, (tuple, list)) and len(found) == 2):
            raise ValueError(
                "a rule's step must return the new parameters and the new state, got "
                f"{type(found).__name__}; end it with: return theta, state"
            )
        new, state = found
        if not isinstance(state, Mapping) or state.keys() != old.keys():
            raise ValueError(
                f"a rule's step must return the state that it was given, {sorted(old)}, got "
                f"{sorted(state) if isinstance(state, Mapping) else type(state).__name__}; name "
                "all of it in initial_state"
            )
        _require_like("new parameters", new, theta)
        for name, part in state.items():
            _require_like(name, part, old[name])
        return new, state

    def _launched(self, rows, drawn, count, rest):
        """The same by a CUDA graph; False if this rule cannot be captured in one."""
        old = self._taken(rows, self.theta, self.state)
        try:
            if self._graph[0] is not rows:
                draw = {name: part[:, 0] for name, part in drawn.items()}
                self._graph = (rows, _blocks.Captured(self._step, *old, draw))
        except RuntimeError:  # it asks the host for something, which a graph cannot
            self._graphs = False
            return False
        begin = self.iteration % self._blocks.length
        places = range(begin, begin + count)
        new = self._graph[1].run(*old, drawn, places, self.iteration)
        self._move(rows, *new, count, rest)
        return True

    def _taken(self, rows, theta, state):
        where = index(rows, theta)
        return theta[where], {name: part[where] for name, part in state.items()}

    def _move(self, rows, theta, state, count, rest=False):
        """Put the replicas of ``rows`` where they came; nothing has changed until the last line."""
        new, old = {"": theta, **state}, {"": self.theta, **self.state}
        where = index(rows, self.theta)
        if rest:
            stay = (self._status[where] != 0)[:, None]
            new = {name: old[name][where].where(stay, part) for name, part in new.items()}
        if rows.size < len(self.theta):
            new = {name: old[name].index_copy(0, where, part) for name, part in new.items()}
        theta = new.pop("")
        self.theta, self.state, self.iteration = theta, new, self.iteration + count

    def _note(self, rows, status, new, iteration):
        """Write down what has become of replicas, and when."""
        where = index(rows, self._status)
        seen = new.new_tensor(0, dtype=self._seen.dtype) + iteration
        self._seen[where] = seen.where(new, self._seen[where])
        self._status[where] = status.to(self._status.dtype).where(new, self._status[where])

    def _without_diverged(self, rows, before):
        """Those of ``rows`` that have not diverged since ``before``.

        The others are trained again from ``before``, step by step, and stay where each was when it
        passed the bound.

        Args:
            rows: of the replicas that moved.
            before: iteration, parameters and state when all of them were within the bound.

        Returns:
            Their numbers.
        """
        lost = rows[(~finite(self.theta[index(rows, self.theta)])).cpu().numpy()]
        if not lost.size:
            return rows
        iteration, theta, state = before
        theta, state = self._taken(lost, theta, state)
        drawn, seen = self._blocks.of(lost, iteration), self._seen.new_zeros(len(lost))
        for k in range(iteration, self.iteration):
            moved, after = self._step(theta, state, self._blocks.at(drawn, k), k)
            going = (seen == 0)[:, None]
            theta = moved.where(going, theta)
            state = {name: part.where(going, state[name]) for name, part in after.items()}
            seen = seen.masked_fill(going[:, 0] & ~finite(theta), k + 1)
        seen = seen.masked_fill(seen == 0, self.iteration)  # rounding: by a hair
        self._note(lost, seen.new_tensor(DIVERGED), seen > 0, seen)
        self._move(lost, theta, state, 0)
        return np.setdiff1d(rows, lost)

    def _watch(self, criterion):
        """Begin to watch for a criterion, or go on with the same one."""
        if not callable(getattr(criterion, "outside", None)):
            raise ValueError(
                "criterion must say who is outside, as those of ddt_utils.criterion do, got "
                f"{criterion!r}; take a Box or a LevelSet"
            )
        asked = provenance.digest({"criterion": criterion})
        if self._asked and asked != self._asked:
            raise ValueError(
                f"criterion must be the one that these replicas are watched for, got {criterion}; "
                "make new replicas to ask another question"
            )
        if not self._asked:
            out = self._outside(criterion, self.theta)
            if out.any():
                raise ValueError(
                    f"replicas must begin inside, got {int(out.sum())} of {len(out)} that are "
                    f"outside already for {criterion!r}; start elsewhere, or ask for more"
                )
            self._looked = self._since = self.iteration
            self._asked = asked

    def _outside(self, criterion, theta):
        """Who is outside; truth values of a criterion of one's own may be NumPy's or a list."""
        import torch

        found = criterion.outside(theta, self.loss)
        try:
            found = torch.as_tensor(found, device=theta.device)
        except (TypeError, ValueError, RuntimeError):
            pass  # refused below
        wrong = not _is_tensor(found) or found.dtype != torch.bool
        if wrong or found.shape != theta.shape[:1]:
            raise ValueError(
                f"a criterion's outside must return one truth value per replica, {len(theta)} of "
                f"them, got {_kind(found)}; compare, and take any(-1) over the parameters"
            )
        return found

    def _look(self, criterion, rows):
        """Note which replicas have escaped or diverged; no host is asked."""
        import torch

        theta, status = (v[index(rows, v)] for v in (self.theta, self._status))
        outside = torch.where(self._outside(criterion, theta), ESCAPED, 0)
        found = torch.where(finite(theta), outside, DIVERGED)
        self._note(rows, found, (status == 0) & (found != 0), self.iteration)
        self._looked = self.iteration

    def _kept(self):
        """What a training is where it stands, as arrays by name."""
        seen = (v.cpu().numpy() for v in (self._status, self._seen))
        numbers = (self.iteration, *seen, self._looked, self._since)
        parts = (self.theta.cpu().numpy(), *map(np.asarray, numbers))
        state = {f"state {name}": part.cpu().numpy() for name, part in self.state.items()}
        return dict(zip(_KEPT, parts, strict=True)) | state

    def _report(self):
        """Who has diverged, in words."""
        lost = self.diverged
        bad = self.theta[[*lost]].isnan().any(-1).tolist()
        where = f"beyond {FAR:g}" + (" or NaN" if any(bad) else "")
        remedy = "take a smaller learning_rate"
        if any(bad):
            remedy = "see what rule and loss give there, or " + remedy
        where = "that is NaN" if all(bad) else where
        some = ", ".join(f"{i} in iteration {k}" for i, k in [*lost.items()][:5])
        return (
            f"{len(lost)} of {len(self.theta)} replicas diverged, with a parameter {where} "
            f"(number {some}{', …' if len(lost) > 5 else ''}); they stand still; {remedy}"
        )


def spread(begin, count, size):
    """Where the replicas begin, each by itself.

    Args:
        begin: a tensor of shape (n,) or (R, n).
        count: R, or None.
        size: n.

    Returns:
        A tensor of shape (R, n).

    Raises:
        ValueError: another shape, or a replica that begins beyond the bound.
    """
    given = tuple(begin.shape)
    begin = begin.expand(count or 1, -1) if begin.ndim == 1 else begin
    if begin.ndim != 2 or begin.shape != (count or len(begin), size) or not len(begin):
        raise ValueError(
            f"start must have shape ({size},), or ({count or 'R'}, {size}), got {given}"
        )
    if not bool(finite(begin).all()):
        raise ValueError(
            f"start must be within ±{FAR:g}, got {float(begin.abs().max()):g}; beyond, a replica "
            "counts as diverged"
        )
    return begin


def finite(theta):
    """Which replicas have no parameter beyond the bound, and no nan.

    Args:
        theta: shape (R, n).

    Returns:
        Truth values, shape (R,).
    """
    return theta.abs().amax(-1) < FAR


def index(rows, like):
    """Row numbers as torch takes them; all rows, if these are all.

    Args:
        rows: numbers in order.
        like: a tensor of all rows.

    Returns:
        A slice, or a tensor.
    """
    import torch

    return slice(None) if rows.size == len(like) else torch.from_numpy(rows).to(like.device)


def _is_tensor(value):
    return hasattr(value, "is_floating_point")


def _kind(value):
    """What a value is, in words."""
    if _is_tensor(value):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return f"what is no tensor, {type(value).__name__}"


def _require_like(name, found, like):
    """Refuse what a step returns if it cannot take the place of what the step was given."""
    fits = _is_tensor(found) and found.shape == like.shape
    if not (fits and found.dtype == like.dtype and found.device == like.device):
        raise ValueError(
            f"a rule's step must return {name} like those that it was given, {_kind(like)} on "
            f"{like.device}, got {_kind(found)}; compute with the tensors that it is given"
        )
