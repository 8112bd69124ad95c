"""How minibatches are drawn, for :mod:`.optimisers`: which samples, and what each counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ddt_utils import _checks

BLOCK = 64  # iterations whose random numbers are drawn together
SAMPLINGS = ("replacement", "distinct", "epochs")


def draws(rule, samples: int, sets: int = 1) -> tuple[Callable, int]:
    """How the minibatches of a rule are drawn.

    Args:
        rule: with a ``batch_size``, ``sampling``, ``weights`` and ``probabilities``.
        samples: m, of the data.
        sets: how many minibatches an iteration needs, one after the other in a row.

    Returns:
        As of :meth:`.Rule.draws`: rows of indices and, if samples do not count the same, weights.

    Raises:
        ValueError: more distinct samples than there are, or not one weight per sample.
    """
    batch = rule.batch_size
    if batch > samples and rule.sampling != "replacement":
        raise ValueError(
            f"batch_size must be {samples} at most, the number of samples, got {batch}; more "
            "can only be drawn with sampling='replacement'"
        )
    table, edges = _table(rule, samples)
    length = samples // batch if rule.sampling == "epochs" else BLOCK

    def among(g):
        if rule.sampling == "epochs":
            return g.permutation(samples)[: length * batch].reshape(length, batch)
        if rule.sampling == "distinct":
            rows = _distinct(g.random((BLOCK * sets, samples)), batch)
            return rows.reshape(*rows.shape[:-2], BLOCK, sets * batch)
        if edges is not None:
            return _placed(edges, g.random((BLOCK, sets * batch)))
        return g.integers(0, samples, (BLOCK, sets * batch))

    def draw(g):
        rows = among(g)
        return dict(indices=rows) | ({} if table is None else dict(weights=_taken(table, rows)))

    return draw, length


def shares(name: str, values) -> tuple | None:
    """Numbers from 0, not all of them 0.

    Args:
        name: what they are called.
        values: anything; None is nothing given.

    Returns:
        The numbers as a tuple.

    Raises:
        ValueError: one that is negative or not finite, or none that is positive.
    """
    if values is None:
        return None
    found = _checks.array(name, values, shape=(None,))
    with np.errstate(over="ignore"):
        total = found.sum()
    if (found < 0).any() or not 0 < total < np.inf:
        shown = f"{found.min():g} to {found.max():g}" if found.size else "none"
        raise ValueError(
            f"{name} must be numbers from 0, one of them positive, of finite sum, got {shown}; "
            "only their proportions count"
        )
    return tuple(found.tolist())


def _table(rule, samples):
    """What a drawn sample counts, w/p, and the edges of the probabilities on [0, 1]."""
    given = {name: getattr(rule, name) for name in ("weights", "probabilities")}
    for name, values in given.items():
        if values is not None and len(values) != samples:
            raise ValueError(f"{name} must be one per sample, {samples}, got {len(values)}")
    if not any(given.values()):
        return None, None
    weights, chances = (np.array(v or (1.0,) * samples) for v in given.values())
    weights, chances = weights / weights.sum(), chances / chances.sum()
    never = np.flatnonzero((chances == 0) & (weights > 0))
    if never.size:
        raise ValueError(
            f"probabilities must be above 0 where a sample counts, got 0 for sample {never[0]}; "
            "give it the weight 0 as well"
        )
    table = weights / np.where(chances > 0, chances, 1)
    return table, np.cumsum(chances)[:-1] if rule.probabilities else None


def _distinct(keys, batch):
    """Minibatches without a sample twice, each set of samples as likely as any other."""
    if isinstance(keys, np.ndarray):
        return np.argpartition(keys, batch - 1, axis=-1)[..., :batch]
    return keys.topk(batch, largest=False, sorted=False).indices


def _placed(edges, chances):
    """Which interval between edges each number of [0, 1) lies in."""
    if isinstance(chances, np.ndarray):
        return np.searchsorted(edges, chances, side="right")
    import torch

    return torch.searchsorted(torch.as_tensor(edges, device=chances.device), chances, right=True)


def _taken(table, rows):
    """The entries of a table."""
    if isinstance(rows, np.ndarray):
        return table[rows]
    import torch

    return torch.as_tensor(table, device=rows.device)[rows]
