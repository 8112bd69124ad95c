r"""The links between the nodes of a grid, with the rates at which probability takes them.

A link joins a node to another one, a few steps of the grid away. Along it the current is taken as
constant (Scharfetter and Gummel, IEEE Transactions on Electron Devices 16, 64, 1969). A diagonal D
needs links to the nearest nodes; a full one is written, at every node, as
:math:`D = \sum_k \rho_k e_k e_k^\top` with three whole offsets and :math:`\rho_k \ge 0` (Selling's
decomposition; Fehrenbach and Mirebeau, Journal of Mathematical Imaging and Vision 49, 123, 2014),
so that no rate is negative either. With the drift b it is the difference of
:math:`\int D^{-1}b\cdot d\theta` along a link that decides between forth and back.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from ddt_utils._enclosure import switches
from ddt_utils._expressions import derivative
from ddt_utils._mesh import on_a_zero

_GAUSS = np.polynomial.legendre.leggauss(4)
_FARTHEST = 12  # of a full D: the longest link, in spacings


def links(landscape, noise, mesh, alpha, drift=None):
    """Yield the ends of links, as indices, and the rates of probability forth and back."""
    matrix = noise.diffusion_matrix(landscape)
    slope = landscape.gradient_expression if drift is None else tuple(-b for b in drift)
    _require_sound(landscape, mesh, slope, matrix)
    if not matrix.is_diagonal():
        yield from _full(landscape, mesh, slope, matrix, alpha)
        return
    for i, h in enumerate(mesh.spacing):
        offset = np.eye(len(mesh.axes), dtype=int)[i]
        first, last = mesh.ends(offset)
        line = _Line(landscape, mesh, offset, first, (*slope, matrix[i, i]))
        d = positive(landscape, matrix[i, i], mesh.points)
        at_nodes, middle = line.averages(landscape, mesh, matrix[i, i], d, alpha)
        if drift is not None or matrix[i, i].free_symbols:
            rise = h * line.mean(landscape, (slope[i] / matrix[i, i],))[..., 0]
        else:
            loss = landscape.value(*mesh.points)
            there = landscape.value(*line.at(1.0)) if mesh.periodic[i] else loss[last]
            rise = (there - loss[first]) / d.flat[0]
        # half cells at the walls exchange twice as fast
        width = np.broadcast_to(mesh.along(i, mesh.widths[i]), mesh.shape)
        up = middle * at_nodes[first] * _bernoulli(rise) / h**2 / width[first]
        down = middle * at_nodes[last] * _bernoulli(-rise) / h**2 / width[last]
        yield first, last, up, down


def _full(landscape, mesh, slope, matrix, alpha):
    """The links of a full D."""
    if matrix.free_symbols and alpha not in (0, 1):
        raise ValueError(
            "a full D that depends on the state says nothing of its factor, which the Stratonovich "
            f"convention needs, got one for {landscape.name}; take convention='ito' and add "
            "to drift= what the factor adds"
        )
    if matrix.free_symbols and alpha:
        if switches(matrix):
            raise ValueError(
                "a full D must be smooth under the isothermal convention, got one with a jump or "
                f"a kink for {landscape.name}; smooth it, or take convention='ito'"
            )
        spread = [
            sum(derivative(matrix[i, j], v) for j, v in enumerate(landscape.variables))
            for i in range(2)
        ]
        slope = tuple(s - more for s, more in zip(slope, spread, strict=True))
    force = tuple(matrix.LUsolve(sp.Matrix(slope)))
    relative = mesh.volumes / np.prod(mesh.spacing)
    for offset, shares in _decomposed(landscape, matrix, mesh):
        first, last = mesh.ends(offset)
        line = _Line(landscape, mesh, offset, first, (*slope, *matrix))
        rise = line.mean(landscape, force) @ (offset * mesh.spacing)
        area = np.ones(mesh.shape)
        for i in np.flatnonzero(offset == 0):  # a link along a wall is half as wide
            area = area * mesh.along(i, mesh.widths[i])
        up = (shares * area / relative)[first] * _bernoulli(rise)
        down = (shares * area / relative)[last] * _bernoulli(-rise)
        yield first, last, up, down


def _require_sound(landscape, mesh, slope, matrix):
    """Refuse a drift that is no number somewhere, or a periodic box that does not close."""
    values = landscape.evaluate(slope, *mesh.points)
    if not np.all(np.isfinite(values)):
        worst = np.argmin(np.isfinite(values).all(axis=-1))
        raise ValueError(
            f"the drift must be a finite number on the whole grid, got "
            f"{(-values.reshape(-1, len(slope))[worst]).tolist()} at "
            f"{[round(float(p.flat[worst]), 6) for p in mesh.points]}; choose a box where it is"
        )
    formulas = (*slope, *matrix)
    closes = mesh.closes(landscape, formulas)
    if not closes.all():
        raise ValueError(
            "on a periodic side drift and D must be the same at both ends of the box, got "
            f"{formulas[int(np.argmin(closes))]} on {mesh.box.tolist()}; give box= one "
            "period that begins at no jump"
        )


class _Line:
    """The links of one offset, each cut where one of given formulas changes."""

    def __init__(self, landscape, mesh, offset, first, formulas):
        self.starts = [p[first] for p in mesh.points]
        self.step, self.mesh = offset * mesh.spacing, mesh
        places = [np.zeros(self.starts[0].shape), np.ones(self.starts[0].shape)]
        self.ends = first, mesh.ends(offset)[1]
        for formula in switches(formulas):
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

    def at(self, share):
        """Points that far along each link; past a periodic side they come in at the other."""
        places = [p + share * s for p, s in zip(self.starts, self.step, strict=True)]
        for i in np.flatnonzero(self.mesh.periodic):
            (low, high), near = self.mesh.box[i], 1e-9 * self.mesh.spacing[i]
            turns = (places[i] < low - near) * 1.0 - (places[i] > high + near)
            places[i] = places[i] + turns * (high - low)
        return places

    def _evaluate(self, landscape, expression, share):
        return landscape.evaluate((expression,), *self.at(share))[..., 0]

    def mean(self, landscape, expressions, low=0.0, high=1.0):
        """The mean of expressions over a part of each link, shape (…, expressions)."""
        total = 0.0
        for a, b in zip(self.cuts[:-1], self.cuts[1:], strict=True):
            a, b = np.clip(a, low, high), np.clip(b, low, high)
            if not np.any(b > a):
                continue
            for node, weight in zip(*_GAUSS, strict=True):
                at = self.at(a + (b - a) * (1 + node) / 2)
                part = landscape.evaluate(tuple(expressions), *at)
                total = total + weight / 2 * ((b - a) / (high - low))[..., None] * part
        if not np.all(np.isfinite(total)):
            raise ValueError(
                f"drift and D must be finite between the nodes too, got {tuple(expressions)} with "
                "a gap or a pole; choose a box without"
            )
        return total

    def averages(self, landscape, mesh, diffusion, d, alpha):
        """D^(1 − α) at the nodes and D^α on the links; averages where D jumps in between."""
        at_nodes = d ** (1 - alpha)
        middle = positive(landscape, diffusion, self.at(0.5))
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
        average, near = np.zeros(d.shape), np.zeros(d.shape, dtype=bool)
        for ends, half in zip(self.ends, halves, strict=True):
            average[ends] += half
            near[ends] |= cut
        for formula in switches((diffusion,)):  # a node on which D changes over
            near |= on_a_zero(landscape, formula, mesh)
        average = average / 2 / mesh.along(i, mesh.widths[i])
        return np.where(near, 1 / average, at_nodes), middle


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
    long_ = 2 * np.abs(offsets).max(axis=(0, 1)) >= mesh.shape
    if np.any(long_ & mesh.periodic):
        raise ValueError(
            f"a link must be shorter than half of a periodic side, got {mesh.shape} cells for a D "
            "that narrow; use more cells"
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


def _bernoulli(x):
    """The function x / (exp(x) − 1), smooth through 0."""
    small = np.abs(x) < 1e-5
    safe = np.where(small, 1.0, np.clip(x, -700, 700))
    return np.where(small, 1 - x / 2 + x**2 / 12, safe / np.expm1(safe))
