r"""The parts of a Fokker–Planck operator on a grid: nodes, links with their rates, exits.

A link joins a node to another one, a few steps of the grid away. Along it the current is taken as
constant (Scharfetter and Gummel, IEEE Transactions on Electron Devices 16, 64, 1969). A diagonal D
needs links to the nearest nodes; a full one is written, at every node, as
:math:`D = \sum_k \rho_k e_k e_k^\top` with three whole offsets and :math:`\rho_k \ge 0` (Selling's
decomposition; Fehrenbach and Mirebeau, Journal of Mathematical Imaging and Vision 49, 123, 2014),
so that no rate is negative either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from ddt_utils import _checks
from ddt_utils._enclosure import switches
from ddt_utils.noise import Noise

_GAUSS = np.polynomial.legendre.leggauss(4)
_MOST = 2_000_000  # nodes
_ON_EDGE = 1e-6  # of a spacing: so near to the edge of an exit a node lies on it
_FARTHEST = 12  # of a full D: the longest link, in spacings


@dataclass(frozen=True)
class Mesh:
    """Nodes of a box: their axes, spacings, points, and cells with half ones at the walls."""

    axes: tuple
    spacing: np.ndarray
    points: list
    widths: list  # of the cells along each axis, in spacings
    volumes: np.ndarray

    @classmethod
    def of(cls, landscape, noise, cells, box):
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
        axes = tuple(np.linspace(a, b, m + 1) for (a, b), m in zip(box, counts, strict=True))
        spacing = (box[:, 1] - box[:, 0]) / counts
        widths = [np.r_[0.5, np.ones(len(a) - 2), 0.5] for a in axes]
        sizes = [w * h for w, h in zip(widths, spacing, strict=True)]
        volumes = sizes[0] if n == 1 else np.multiply.outer(*sizes)
        return cls(axes, spacing, np.meshgrid(*axes, indexing="ij"), widths, volumes)

    def ends(self, offset):
        """Slices of the nodes from which and at which the links of an offset start and end."""
        first = tuple(
            slice(max(-e, 0), n - max(e, 0)) for e, n in zip(offset, self.shape, strict=True)
        )
        last = tuple(
            slice(max(e, 0), n - max(-e, 0)) for e, n in zip(offset, self.shape, strict=True)
        )
        return first, last

    @property
    def shape(self):
        """How many nodes each axis has."""
        return self.volumes.shape

    def along(self, i, values):
        """An array of axis i, shaped so that it broadcasts over the grid."""
        return values.reshape([-1 if j == i else 1 for j in range(len(self.axes))])


def links(landscape, noise, mesh, alpha):
    """Yield the ends of links, as slices, and the rates of probability forth and back."""
    matrix = noise.diffusion_matrix(landscape)
    relative = mesh.volumes / np.prod(mesh.spacing)
    if matrix.is_diagonal():
        for i, h in enumerate(mesh.spacing):
            offset = np.eye(len(mesh.axes), dtype=int)[i]
            first, last = mesh.ends(offset)
            line = _Line(landscape, mesh, offset, first, (matrix[i, i],))
            d = positive(landscape, matrix[i, i], mesh.points)
            at_nodes, middle = line.averages(landscape, mesh, matrix[i, i], d, alpha)
            if matrix[i, i].free_symbols:
                force = landscape.gradient_expression[i] / matrix[i, i]
                rise = h * line.mean(landscape, (force,))[..., 0]
            else:
                loss = landscape.value(*mesh.points)
                rise = (loss[last] - loss[first]) / d.flat[0]
            # half cells at the walls exchange twice as fast
            width = np.broadcast_to(mesh.along(i, mesh.widths[i]), mesh.shape)
            up = middle * at_nodes[first] * _bernoulli(rise) / h**2 / width[first]
            down = middle * at_nodes[last] * _bernoulli(-rise) / h**2 / width[last]
            yield first, last, up, down
        return
    if matrix.free_symbols and alpha:
        raise ValueError(
            f"a full D that depends on the state is read in the Ito sense on a grid, got a full "
            f"matrix for {landscape.name}; turn the coordinates so that D is diagonal"
        )
    slope = sp.Matrix(landscape.gradient_expression)
    force = tuple(matrix.LUsolve(slope))
    for offset, shares in _decomposed(landscape, matrix, mesh):
        first, last = mesh.ends(offset)
        line = _Line(landscape, mesh, offset, first, tuple(matrix))
        rise = line.mean(landscape, force) @ (offset * mesh.spacing)
        area = np.ones(mesh.shape)
        for i in np.flatnonzero(offset == 0):  # a link along a wall is half as wide
            area = area * mesh.along(i, mesh.widths[i])
        up = (shares * area / relative)[first] * _bernoulli(rise)
        down = (shares * area / relative)[last] * _bernoulli(-rise)
        yield first, last, up, down


class _Line:
    """The links of one offset, each cut where a formula of the loss's slope or of D changes."""

    def __init__(self, landscape, mesh, offset, first, diffusion):
        self.starts = [p[first] for p in mesh.points]
        self.step = offset * mesh.spacing
        places = [np.zeros(self.starts[0].shape), np.ones(self.starts[0].shape)]
        formulas = switches((*landscape.gradient_expression, *diffusion))
        for formula in formulas:
            sign = [np.sign(self._evaluate(landscape, formula, t)) for t in places[:2]]
            crossed = sign[0] * sign[1] < 0
            if crossed.any():
                low, high = np.zeros(crossed.shape), np.ones(crossed.shape)
                for _ in range(50):
                    middle = (low + high) / 2
                    before = np.sign(self._evaluate(landscape, formula, middle)) == sign[0]
                    low, high = np.where(before, middle, low), np.where(before, high, middle)
                places.append(np.where(crossed, middle, 0.0))
        self.cuts = np.sort(places, axis=0)

    def _at(self, share):
        """Points that far along each link."""
        return [p + share * s for p, s in zip(self.starts, self.step, strict=True)]

    def _evaluate(self, landscape, expression, share):
        return landscape.evaluate((expression,), *self._at(share))[..., 0]

    def mean(self, landscape, expressions, low=0.0, high=1.0):
        """The mean of expressions over a part of each link, shape (…, expressions)."""
        total = 0.0
        for a, b in zip(self.cuts[:-1], self.cuts[1:], strict=True):
            a, b = np.clip(a, low, high), np.clip(b, low, high)
            if not np.any(b > a):
                continue
            for node, weight in zip(*_GAUSS, strict=True):
                at = self._at(a + (b - a) * (1 + node) / 2)
                part = landscape.evaluate(tuple(expressions), *at)
                total = total + weight / 2 * ((b - a) / (high - low))[..., None] * part
        return total

    def averages(self, landscape, mesh, diffusion, d, alpha):
        """D^(1 − α) at the nodes and D^α on the links; averages where D jumps in between."""
        at_nodes = d ** (1 - alpha)
        middle = positive(landscape, diffusion, self._at(0.5))
        middle = middle**alpha
        if len(self.cuts) == 2:
            return at_nodes, middle
        cut = np.any((self.cuts > 0) & (self.cuts < 1), axis=0)
        whole = self.mean(landscape, (diffusion**-alpha,))[..., 0]
        middle = np.where(cut, 1 / whole, middle)
        halves = [
            self.mean(landscape, (diffusion ** (alpha - 1),), *part)[..., 0]
            for part in ((0.0, 0.5), (0.5, 1.0))
        ]
        i = int(np.flatnonzero(self.step)[0])
        ends = [[(0, 1) if j == i else (0, 0) for j in range(d.ndim)]]
        ends.append([pair[::-1] for pair in ends[0]])
        weight = mesh.along(i, mesh.widths[i])
        average = sum(np.pad(h, e) for h, e in zip(halves, ends, strict=True)) / 2 / weight
        near = sum(np.pad(cut.astype(int), e) for e in ends) > 0
        near |= self._on_a_switch(landscape, mesh, diffusion)
        return np.where(near, 1 / average, at_nodes), middle

    def _on_a_switch(self, landscape, mesh, diffusion):
        """Nodes on which D changes over."""
        found = np.zeros(mesh.shape, dtype=bool)
        for formula in switches((diffusion,)):
            value, spread = level(landscape, formula, mesh)
            found |= np.abs(value) <= _ON_EDGE * spread
        return found


def _decomposed(landscape, matrix, mesh):
    """Yield offsets e and weights ρ on the grid with Σ ρ e eᵀ = D, in units of the spacings."""
    flat = landscape.evaluate(tuple(matrix), *mesh.points).reshape(-1, 2, 2)
    d = flat / np.multiply.outer(mesh.spacing, mesh.spacing)
    size = d[:, 0, 0] + d[:, 1, 1]
    gap = np.linalg.det(d)
    if not np.all((d[:, 0, 0] > 0) & (gap > 1e-12 * size**2)):
        worst = int(np.argmin(gap / size**2))
        raise ValueError(
            f"D must be positive definite on the whole grid, got {flat[worst].tolist()} at "
            f"{[round(float(p.ravel()[worst]), 6) for p in mesh.points]}; give the noise a floor"
        )
    base = np.broadcast_to([[1, 0], [0, 1], [-1, -1]], (len(d), 3, 2)).copy()
    pairs = ((0, 1, 2), (0, 2, 1), (1, 2, 0))

    def product(i, j):
        return np.einsum("na,nab,nb->n", base[:, i], d, base[:, j])

    for _ in range(100):
        done = True
        for i, j, k in pairs:
            turn = product(i, j) > 1e-14 * size
            done &= not turn.any()
            a, b = base[turn, i], base[turn, j]
            base[turn, i], base[turn, k] = -a, a - b
        if done:
            break
    offsets = np.stack([-base[:, :, 1], base[:, :, 0]], axis=-1)
    sign = np.where(offsets[..., 0] != 0, np.sign(offsets[..., 0]), np.sign(offsets[..., 1]))
    offsets = offsets * sign[..., None]
    weights = np.stack([np.maximum(-product(i, j), 0.0) for i, j, _ in pairs], axis=1)
    offsets = offsets[:, [k for *_, k in pairs]]
    if np.abs(offsets[weights > 1e-12 * size[:, None]]).max() > _FARTHEST:
        raise ValueError(
            f"D must not be so narrow across the grid that a link is longer than {_FARTHEST} "
            "spacings; turn the coordinates, or use other numbers of cells"
        )
    for offset in np.unique(offsets.reshape(-1, 2), axis=0):
        mine = np.sum(weights * np.all(offsets == offset, axis=-1), axis=1)
        if mine.any():
            yield offset, mine.reshape(mesh.shape)


def positive(landscape, expression, points):
    """D at points, or an error where it is not positive."""
    values = landscape.evaluate((expression,), *points)[..., 0]
    if not np.all(values > 0):
        worst = np.unravel_index(np.argmin(values), values.shape)
        raise ValueError(
            f"diffusion must be positive on the whole grid, got {values[worst]:.3g} at "
            f"{[round(float(p[worst]), 6) for p in points]}; give the noise a floor"
        )
    return values


def level(landscape, formula, mesh):
    """A formula at the centres of the cells, and by how much it changes across a cell."""
    value = landscape.evaluate((formula,), *mesh.points)[..., 0]
    slopes = np.gradient(value) if value.ndim > 1 else [np.gradient(value)]
    spread = np.zeros(value.shape)
    for i, slope in enumerate(slopes):
        spread += np.abs(slope) * mesh.along(i, mesh.widths[i])
    return value, spread


def inside(landscape, exit, mesh):
    """The nodes that do not absorb."""
    if exit is None:
        return np.ones(mesh.shape, dtype=bool)
    condition = landscape.exit_condition(exit)
    kept = share(landscape, condition, mesh, whole=True) == 0
    if kept.all() or np.count_nonzero(kept) < 4:
        raise ValueError(
            f"exit must hold at some nodes and leave others inside, got {condition} on a box from "
            f"{[float(p.min()) for p in mesh.points]} to {[float(p.max()) for p in mesh.points]}; "
            "does the box reach the exit?"
        )
    return kept


def share(landscape, condition, mesh, *, whole=False):
    """The part of each cell in which a condition holds; ``whole``: 1 where its node lies in it."""
    if condition in (sp.true, sp.false):
        return np.full(mesh.shape, float(bool(condition)))
    if isinstance(condition, (sp.And, sp.Or)):
        join = np.minimum if isinstance(condition, sp.And) else np.maximum
        parts = [share(landscape, c, mesh, whole=whole) for c in condition.args]
        return join.reduce(parts)
    value, spread = level(landscape, condition.lhs - condition.rhs, mesh)
    if isinstance(condition, (sp.Lt, sp.Le)):
        value = -value
    if isinstance(condition, (sp.Eq, sp.Ne)):
        on = np.abs(value) <= _ON_EDGE * spread
        return (on if isinstance(condition, sp.Eq) else ~on).astype(float)
    if whole:
        return (value >= -_ON_EDGE * spread).astype(float)
    for i, axis in enumerate(
        mesh.axes
    ):  # from the nodes at the walls to the centres of their cells
        slope = np.gradient(value, axis=i)
        centre = np.r_[0.25, np.zeros(len(axis) - 2), -0.25]
        value = value + slope * mesh.along(i, centre)
    return np.clip(0.5 + value / np.where(spread > 0, spread, 1.0), 0.0, 1.0)


def _bernoulli(x):
    """The function x / (exp(x) − 1), smooth through 0."""
    small = np.abs(x) < 1e-5
    safe = np.where(small, 1.0, np.clip(x, -700, 700))
    return np.where(small, 1 - x / 2 + x**2 / 12, safe / np.expm1(safe))
