"""Nodes of a box, their cells, and where on them a condition holds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils.noise import Noise

_MOST = 2_000_000  # nodes
_ON_EDGE = 1e-6  # of a spacing: so near to the edge of a condition a node lies on it
_CLOSED = 1e-9  # of a formula's size: what opposite sides of a periodic box may differ by


@dataclass(frozen=True)
class Mesh:
    """Nodes of a box: their axes, spacings, points, and cells with half ones at the walls.

    Of a periodic side the high end is the low one, and is no node of its own.
    """

    box: np.ndarray
    spacing: np.ndarray
    periodic: tuple

    @classmethod
    def of(cls, landscape, noise, cells, box, periodic=False):
        """The mesh that a caller asked for."""
        n = getattr(landscape, "dimension", 0)
        if n not in (1, 2):
            raise ValueError(
                f"a grid needs one or two variables, {getattr(landscape, 'name', landscape)} has "
                f"{n}; use simulate.first_passage"
            )
        if not isinstance(noise, Noise):
            raise ValueError(
                f"noise must be a model of ddt_utils.noise, got {noise!r}; for a constant D write "
                "noise.WhiteNoise(D)"
            )
        rule = "box must hold one (low, high) per variable"
        box = _checks.array("box", landscape.box if box is None else box, remedy=rule)
        if box.shape != (n, 2) or not np.all(box[:, 0] < box[:, 1]):
            raise ValueError(f"{rule}, got {box.tolist()}")
        counts = _checks.array("cells", cells)
        if counts.shape not in ((), (n,)) or np.any(counts != np.floor(counts)) or counts.min() < 4:
            raise ValueError(f"cells must be integers of at least 4, got {cells}")
        counts = np.broadcast_to(counts, (n,)).astype(int)
        if np.prod(counts + 1.0) > _MOST:
            raise ValueError(f"a grid may have {_MOST} nodes, got {cells} cells; use fewer")
        around = periodic if isinstance(periodic, (tuple, list)) else (periodic,) * n
        if len(around) != n or not all(isinstance(p, (bool, np.bool_)) for p in around):
            raise ValueError(
                f"periodic must be True, False or one of them per variable, got {periodic!r}"
            )
        return cls(box, (box[:, 1] - box[:, 0]) / counts, tuple(bool(p) for p in around))

    def __post_init__(self):
        """Set what follows from box, spacing and sides."""
        counts = np.rint((self.box[:, 1] - self.box[:, 0]) / self.spacing).astype(int)
        lines = [np.linspace(a, b, m + 1) for (a, b), m in zip(self.box, counts, strict=True)]
        axes = tuple(x[: x.size - p] for x, p in zip(lines, self.periodic, strict=True))
        widths = [np.ones(axis.size) for axis in axes]  # of the cells, in spacings
        for width, around in zip(widths, self.periodic, strict=True):
            if not around:
                width[[0, -1]] = 0.5
        sizes = [w * h for w, h in zip(widths, self.spacing, strict=True)]
        volumes = sizes[0] if len(axes) == 1 else np.multiply.outer(*sizes)
        points = np.meshgrid(*axes, indexing="ij")
        for name, value in zip(
            ("axes", "widths", "volumes", "points"), (axes, widths, volumes, points), strict=True
        ):
            object.__setattr__(self, name, value)

    @property
    def shape(self):
        """How many nodes each axis has."""
        return self.volumes.shape

    def along(self, i, values):
        """An array of axis i, shaped so that it broadcasts over the grid."""
        return values.reshape([-1 if j == i else 1 for j in range(len(self.axes))])

    def ends(self, offset):
        """Indices of the nodes from which and at which the links of an offset start and end."""
        first, last = [], []
        for e, n, around in zip(offset, self.shape, self.periodic, strict=True):
            start = np.arange(n) if around else np.arange(max(-e, 0), n - max(e, 0))
            first.append(start)
            last.append((start + e) % n)
        return np.ix_(*first), np.ix_(*last)

    def steps(self, start, end):
        """The way from nodes to nodes near them, around periodic sides; shape (variables, …)."""
        places = (np.unravel_index(nodes, self.shape) for nodes in (end, start))
        away = np.subtract(*(np.array(place) for place in places))
        for i, around in enumerate(self.periodic):
            if around:
                half = self.shape[i] // 2
                away[i] = (away[i] + half) % self.shape[i] - half
        return away * self.spacing[:, None]

    def nearest(self, place):
        """The node nearest to a place in the box."""
        node = []
        for x, axis, (low, high), around in zip(
            place, self.axes, self.box, self.periodic, strict=True
        ):
            _checks.number("location", x, least=low, most=high, remedy="widen the box")
            away = np.abs(axis - x)
            node.append(int(np.argmin(np.minimum(away, high - low - away) if around else away)))
        return tuple(node)

    def closes(self, landscape, expressions):
        """Which expressions are the same on opposite sides wherever the box is periodic."""
        whole = replace(self, periodic=(False,) * len(self.axes))
        values = landscape.evaluate(tuple(expressions), *whole.points)
        size = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
        same = np.ones(size.size, dtype=bool)
        for i in np.flatnonzero(self.periodic):
            gap = np.abs(np.take(values, 0, axis=i) - np.take(values, -1, axis=i))
            same &= gap.reshape(-1, size.size).max(axis=0) <= _CLOSED * size
        return same


def level(landscape, formula, mesh):
    """A formula at the centres of the cells, and by how much it changes across a cell."""
    value = landscape.evaluate((formula,), *mesh.points)[..., 0]
    slopes = np.gradient(value) if value.ndim > 1 else [np.gradient(value)]
    spread = np.zeros(value.shape)
    for i, slope in enumerate(slopes):
        spread += np.abs(slope) * mesh.along(i, mesh.widths[i])
    return value, spread


def on_a_zero(landscape, formula, mesh):
    """The nodes at which a formula is zero."""
    value, spread = level(landscape, formula, mesh)
    return np.abs(value) <= _ON_EDGE * spread


def holding(landscape, condition, mesh):
    """The nodes at which a condition holds, or on whose edge they lie."""
    return share(landscape, landscape.exit_condition(condition), mesh, whole=True) > 0


def on_nodes(landscape, condition, mesh):
    """Whether the edge of a condition runs through nodes and nowhere else."""
    quarters = 4 * share(landscape, landscape.exit_condition(condition), mesh)
    return bool(np.all(np.abs(quarters - np.rint(quarters)) < 1e-4))


def inside(landscape, exit, mesh):
    """The nodes that do not absorb."""
    if exit is None:
        return np.ones(mesh.shape, dtype=bool)
    kept = ~holding(landscape, exit, mesh)
    if kept.all() or np.count_nonzero(kept) < 4:
        raise ValueError(
            "exit must hold at some nodes and leave others inside, got "
            f"{landscape.exit_condition(exit)} on a box from "
            f"{[float(p.min()) for p in mesh.points]} to {[float(p.max()) for p in mesh.points]}; "
            "does the box reach the exit?"
        )
    return kept


def share(landscape, condition, mesh, *, whole=False):
    """The part of each cell in which a condition holds; ``whole``: 1 where its node lies in it."""
    held = _share(landscape, condition, replace(mesh, periodic=(False,) * len(mesh.axes)), whole)
    for i in np.flatnonzero(mesh.periodic):  # the two half cells at its ends are one
        held = np.moveaxis(held, i, 0)
        both = np.maximum(held[0], held[-1]) if whole else (held[0] + held[-1]) / 2
        held = np.moveaxis(np.concatenate([both[None], held[1:-1]]), 0, i)
    return held


def _share(landscape, condition, mesh, whole):
    """As :func:`share`, of a box with walls."""
    if condition in (sp.true, sp.false):
        return np.full(mesh.shape, float(bool(condition)))
    if isinstance(condition, (sp.And, sp.Or)):
        join = np.minimum if isinstance(condition, sp.And) else np.maximum
        return join.reduce([_share(landscape, c, mesh, whole) for c in condition.args])
    value, spread = level(landscape, condition.lhs - condition.rhs, mesh)
    if isinstance(condition, (sp.Lt, sp.Le)):
        value = -value
    if isinstance(condition, (sp.Eq, sp.Ne)):
        on = np.abs(value) <= _ON_EDGE * spread
        return (on if isinstance(condition, sp.Eq) else ~on).astype(float)
    if whole:
        return (value >= -_ON_EDGE * spread).astype(float)
    for i, axis in enumerate(mesh.axes):  # from the nodes at the walls to the centres of the cells
        slope = np.gradient(value, axis=i)
        centre = np.r_[0.25, np.zeros(len(axis) - 2), -0.25]
        value = value + slope * mesh.along(i, centre)
    return np.clip(0.5 + value / np.where(spread > 0, spread, 1.0), 0.0, 1.0)
