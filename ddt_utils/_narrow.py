"""What hides between the nodes of a chain: panels are halved until nothing narrow is left there.

Bounds on whole gaps between nodes (``_enclosure``) tell where the mean or the width of an outcome
may leave its values at the two ends; there it is looked at, ever closer. Where a formula has a part
whose bounds are not known, or where they stay wide, only its values at the nodes decide.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ddt_utils._enclosure import enclosable, enclose, switches
from ddt_utils._expressions import derivative, value
from ddt_utils._panels import NODES, WEIGHTS

_SEEN = 1e-3  # widths by which a mean or a width may leave what the nodes show of it
_FINE = 1e-3  # of that where something narrow is resolved
_CUSP = 100.0  # times that at an end of a panel, for a formula with kinks or roots
_SHORTEST = 1e-12  # panel, of the whole line
_GAPS = 30_000  # of one formula that are looked at
_LANDS = 5.0  # widths within which most steps end
_BARYCENTRIC = (-1.0) ** np.arange(NODES.size) * np.sqrt((1 - NODES**2) * WEIGHTS)


def resolved(landing, longest, parts, most):
    """The same panels, but halved, and then cut into parts, where something narrow hides in them.

    Args:
        landing: a chain on panels.
        longest: how many widths of the steps that end in a panel it may be long.
        parts: of each panel that was halved; finer for another refinement.
        most: nodes that are allowed.

    Returns:
        The landing itself where nothing hides, another one, or None: too many nodes.
    """
    edges = landing.edges
    shortest = _SHORTEST * np.ptp(edges)
    new, unseen = np.zeros(edges.size - 1, dtype=bool), np.ones(edges.size - 1, dtype=bool)
    while True:
        long_ = unseen.copy()
        long_[unseen] = _hiding(landing, np.flatnonzero(unseen), new[unseen])
        if (new | long_).any():
            long_ |= _lands_narrowly(landing, new, longest)
        long_ &= np.diff(landing.edges) > shortest
        if not long_.any():
            break
        landing = _divided(landing, np.where(long_, 2, 1))
        if (landing.edges.size - 1) * NODES.size > most:
            return None
        new, unseen = (np.repeat(v, np.where(long_, 2, 1)) for v in (new | long_, long_))
    if not new.any():
        return landing
    landing = _divided(landing, np.where(new, parts, 1))
    return landing if (landing.edges.size - 1) * NODES.size <= most else None


def _divided(landing, parts):
    """Each panel in so many parts."""
    edges = landing.edges
    within = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    inner = np.repeat(edges[:-1], parts) + within * np.repeat(np.diff(edges) / parts, parts)
    return replace(landing, edges=np.r_[inner, edges[-1]])


def _lands_narrowly(landing, new, longest):
    """Panels that are long beside the width of a step that ends in them and begins in a new one."""
    edges, long_ = landing.edges, np.zeros(new.size, dtype=bool)
    length = np.diff(edges)
    for _, mean, width in landing.outcomes(landing.nodes.reshape(-1, NODES.size)[new].ravel()):
        width = np.maximum(width, landing.narrow)
        first = np.maximum(np.searchsorted(edges, mean - _LANDS * width) - 1, 0)
        last = np.searchsorted(edges, mean + _LANDS * width)
        for a, b, size in zip(first, last, width, strict=True):
            long_[a:b] |= length[a:b] > longest * size
    return long_


def _hiding(landing, panels, new):
    """In which of some panels a mean or a width does what its values at the nodes do not show."""
    variable, found = landing.chain.variable, np.zeros(panels.size, dtype=bool)
    left, half = landing.edges[panels], np.diff(landing.edges)[panels] / 2
    points = left[:, None] + half[:, None] * (1 + np.r_[-1 + 1e-9, NODES, 1 - 1e-9])
    for mean, width in dict.fromkeys((o.mean, o.width) for o in landing.chain.outcomes):
        size = np.broadcast_to(value(width, {variable: points}), points.shape)
        size = _SEEN * np.maximum(size, landing.narrow)
        for formula in (mean, width):
            if not formula.has(variable) or not enclosable(formula):
                continue
            # where something was found, it must be a polynomial through the nodes as well
            middle = (points[new, 1:] + points[new, :-1]) / 2
            found[new] |= _bent(formula, variable, points[new], middle, _FINE * size[new, 1:])
            ends = size[:, [0, -1]]
            if switches([formula]):  # it may end in a cusp there
                ends = np.broadcast_to(_CUSP * size.max(axis=1, keepdims=True), ends.shape)
            found |= _bent(formula, variable, points, points[:, [0, -1]], ends)
            rest = ~found
            found[rest] = _leaving(formula, variable, points[rest], size[rest])
    return found


def _bent(formula, variable, points, places, size):
    """In which panels a formula is, at places, no polynomial through its values at the nodes."""
    known, at = value(formula, {variable: points}), value(formula, {variable: places})
    row = np.repeat(np.arange(len(points)), places.shape[1])
    foreseen = _foreseen(points, known, row, places.ravel()).reshape(places.shape)
    return np.any(np.abs(at - foreseen) > size, axis=1)


def _leaving(formula, variable, points, size):
    """In which panels a formula, somewhere between two nodes, leaves their values unforeseen.

    Args:
        formula: the formula.
        variable: its symbol.
        points: both ends and the nodes of each panel, shape (panels, nodes + 2).
        size: by how much it may leave them there.

    Returns:
        Truth values, shape (panels,).
    """
    known, found, slope = value(formula, {variable: points}), np.zeros(len(points), bool), None
    row = np.repeat(np.arange(len(points)), points.shape[1] - 1)
    gaps = np.array([v[:, s].ravel() for v in (points, known) for s in (np.s_[:-1], np.s_[1:])])
    allowed = np.minimum(size[:, :-1], size[:, 1:]).ravel()
    while 0 < row.size < _GAPS:
        a, b, start, end = gaps
        low, high = np.minimum(start, end) - allowed, np.maximum(start, end) + allowed
        bounds = enclose(formula, a, b)
        open_ = (bounds[0] < low) | (bounds[1] > high)
        open_ &= ~found[row] & (b - a > 1e-14 * np.abs(points).max())
        if slope is None and open_.any():
            slope = derivative(formula, variable)
        row, gaps, allowed, low, high = (v[..., open_] for v in (row, gaps, allowed, low, high))
        a, b, start, end = gaps
        if row.size and enclosable(slope):
            steepest = np.max(np.abs(enclose(slope, a, b)), axis=0)
            with np.errstate(invalid="ignore"):
                reach, centre = steepest * (b - a) / 2, (start + end) / 2
            open_ = ~((centre - reach >= low) & (centre + reach <= high))
            row, gaps, allowed, low, high = (v[..., open_] for v in (row, gaps, allowed, low, high))
            a, b, start, end = gaps
        middle = (a + b) / 2
        there = np.broadcast_to(value(formula, {variable: middle}), middle.shape)
        left = (there < low) | (there > high)
        left[left] = np.abs(there - _foreseen(points, known, row, middle))[left] > allowed[left]
        found[row[left]] = True
        gaps = np.hstack([[a, middle, start, there], [middle, b, there, end]])
        row, allowed = np.tile(row, 2), np.tile(allowed, 2)
    return found


def _foreseen(points, known, row, places):
    """The polynomials through the nodes of some panels, each at a place in it."""
    centre = (points[row, 0] + points[row, -1]) / 2
    half = (points[row, -1] - points[row, 0]) / 2 / (1 - 1e-9)
    apart = ((places - centre) / half)[:, None] - NODES
    terms = _BARYCENTRIC / np.where(np.abs(apart) < 1e-14, 1e-14, apart)
    return (terms * known[row, 1:-1]).sum(axis=1) / terms.sum(axis=1)
