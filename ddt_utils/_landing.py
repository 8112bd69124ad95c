"""Where the steps of a chain land, on panels: the matrix of one step, and what it loses.

The room :mod:`ddt_utils.chains` solves its equations with it. Every entry is a probability, so none
is negative: an outcome that is wide beside the panels is averaged at their nodes, a narrow one is
shared between the two nodes beside it. Panels are as short as the widths at some thousand places
ask for, and shorter where ``_narrow`` finds something between these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils._enclosure import crossings, switches
from ddt_utils._expressions import value
from ddt_utils._narrow import resolved
from ddt_utils._panels import NODES, WEIGHTS
from ddt_utils._walk import normal

_REACH = 30.0  # widths; a rare escape may take one long step
_LONGEST = 2.5  # widths in a panel
MOST = 4500  # nodes; the elimination takes their number to the third power
_LOOKED = 4001  # places at which widths are looked at
_SPREAD = np.polynomial.hermite_e.hermegauss(9)


@dataclass(frozen=True)
class Landing:
    """A chain on panels with Gauss–Legendre nodes; an open side keeps what lands beyond."""

    chain: object
    edges: np.ndarray
    open_sides: tuple[bool, bool]
    narrow: float  # a width below it is interpolated

    @property
    def nodes(self):
        """All nodes, increasing."""
        half = np.diff(self.edges)[:, None] / 2
        return (self.edges[:-1, None] + half * (1 + NODES)).ravel()

    def outcomes(self, x):
        """Weight, mean and width of every outcome from places x."""
        for outcome in self.chain.outcomes:
            at = {self.chain.variable: x}
            mean = np.broadcast_to(value(outcome.mean, at), x.shape)
            width = np.broadcast_to(value(outcome.width, at), x.shape)
            if not (np.isfinite(mean).all() and np.isfinite(width).all() and (width >= 0).all()):
                raise ValueError(
                    f"where a step ends must be finite and its width not negative, got "
                    f"{outcome.mean} and {outcome.width} in {self.edges[0]:g} to "
                    f"{self.edges[-1]:g}; mend the formula or take a smaller box"
                )
            yield float(outcome.weight), mean, width

    def beyond(self, mean, width):
        """The probabilities to land beyond the left and the right edge, each to its own digits."""
        from scipy.special import ndtr

        size = np.maximum(width, 1e-300)
        return ndtr((self.edges[0] - mean) / size), ndtr((mean - self.edges[-1]) / size)

    def leak(self, x):
        """The probability to be absorbed in a step from x."""
        total = np.zeros(x.size)
        for weight, mean, width in self.outcomes(x):
            for lost, is_open in zip(self.beyond(mean, width), self.open_sides, strict=True):
                total += 0 if is_open else weight * lost
        return total

    def matrix(self, x):
        """The probabilities to land at the nodes from places x, shape (places, nodes)."""
        nodes = self.nodes
        weights = (np.diff(self.edges)[:, None] / 2 * WEIGHTS).ravel()
        matrix = np.zeros((x.size, nodes.size))
        for weight, mean, width in self.outcomes(x):
            wide = width >= self.narrow
            for i in np.flatnonzero(wide):
                reach = _REACH * width[i]
                first, last = np.searchsorted(nodes, [mean[i] - reach, mean[i] + reach])
                where = slice(first, last)
                landed = weights[where] * normal(nodes[where], mean[i], width[i])
                left, right = self.beyond(mean[i], width[i])
                known, found = max(1 - left - right, 0.0), landed.sum()
                if known > 1e-9 and found > 1e-9:  # probability is conserved to the last digit
                    landed *= known / found
                matrix[i, where] += weight * landed
                matrix[i, 0] += weight * left * self.open_sides[0]
                matrix[i, -1] += weight * right * self.open_sides[1]
            self._interpolate(matrix, np.flatnonzero(~wide), weight, mean, width)
        return matrix

    def _interpolate(self, matrix, places, weight, mean, width):
        nodes = self.nodes
        for offset, share in zip(*_SPREAD, strict=True):
            share = weight * share / _SPREAD[1].sum()
            end = mean[places] + width[places] * offset
            kept = (end > self.edges[0]) | self.open_sides[0]
            kept &= (end < self.edges[-1]) | self.open_sides[1]
            right = np.clip(np.searchsorted(nodes, end), 1, nodes.size - 1)
            part = np.clip((end - nodes[right - 1]) / (nodes[right] - nodes[right - 1]), 0, 1)
            np.add.at(matrix, (places[kept], right[kept] - 1), (share * (1 - part))[kept])
            np.add.at(matrix, (places[kept], right[kept]), (share * part)[kept])


def cut(chain, lower, upper, finer, wider):
    """Panels as short as the narrowest step that ends there, or None: too many."""
    margin = wider * (chain.box[1] - chain.box[0])
    low = chain.box[0] - margin if lower is None else lower
    high = chain.box[1] + margin if upper is None else upper
    if not low < high:
        raise ValueError(
            f"the absorbing ends must lie inside the box {chain.box}, got {lower} and {upper}; "
            "choose a wider box"
        )
    open_sides = lower is None, upper is None
    narrow = 12 * (high - low) / MOST
    bare = Landing(chain, np.array([low, high]), open_sides, narrow)
    x = np.linspace(low, high, _LOOKED)
    least = np.full(x.size, (high - low) / (16 * _LONGEST))
    for _, mean, width in bare.outcomes(x):
        fine = width >= narrow
        first, last = np.searchsorted(x, [mean - 5 * width, mean + 5 * width])
        for i in np.flatnonzero(fine & (last > first)):
            part = least[first[i] : last[i]]
            np.minimum(part, width[i], out=part)
    if any((width < narrow).any() for _, _, width in bare.outcomes(x)):
        least[:] = np.minimum(least, narrow)
    count = np.cumsum(finer * (high - low) / (_LOOKED - 1) / (_LONGEST * least))
    panels = int(np.ceil(count[-1])) + 1
    if panels * NODES.size > MOST:
        return None
    edges = np.interp(np.linspace(0, count[-1], panels + 1), np.r_[0, count[:-1]], x)
    edges[0], edges[-1] = low, high
    formulas = switches([f for o in chain.outcomes for f in (o.mean, o.width)])
    functions = [lambda at, f=f: value(f, {chain.variable: at}) for f in formulas]
    edges = np.unique(np.r_[edges, crossings(functions, x)])
    edges = edges[np.r_[True, np.diff(edges) > 1e-12 * (high - low)]]
    found = Landing(chain, edges, open_sides, narrow)
    return resolved(found, _LONGEST, int(np.ceil(finer)), MOST)
