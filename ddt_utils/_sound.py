r"""What a loss must be before anything is built on it: real, finite and without a jump.

A quadrature that splits its panels, a step that follows a slope and a grid that takes differences
all assume it, and each goes wrong in its own way where it does not hold. So it is decided once,
when a :class:`~ddt_utils.landscape.Landscape` is made, from the expression itself: logarithms,
roots and denominators say where a loss may cease to be real, conditions and ``Abs`` where its
formula changes; numbers decide whether they do so in the box. On a line every change of formula is
found that 2001 points can see, and continuity is checked as far as a walker may stray, ten times
the box; in more dimensions it is sampled.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

from ddt_utils._expressions import derivative, guards_and_switches, require_known, value
from ddt_utils._line import GRID, dips

_CLOUD = 400  # points in more dimensions
_JUMP = 1e-8  # against the loss on both sides and its variation near by


@lru_cache(maxsize=512)
def breaks(expression, variables, box, name) -> tuple:
    """Refuse a loss that is not real, finite and continuous; say where its formula changes.

    Args:
        expression: the loss, in nothing but the variables.
        variables: real symbols.
        box: one (low, high) per variable.
        name: what the loss is called in an error.

    Returns:
        On a line the places in the box, increasing, at which the formula changes; else ().

    Raises:
        ValueError: an unknown function, a Piecewise without a last branch, a place where the loss
            is not real or not finite, a jump, or on a line an infinite slope.
    """
    require_known(expression, name)
    loss = _Loss(expression, variables, box, name)
    with np.errstate(all="ignore"):
        guards, switches = guards_and_switches(expression)
        for guard in guards:
            loss.require_defined(*guard)
        loss.require_finite()
        return loss.require_continuous(switches)


class _Loss:
    """A loss with the points at which it is looked at; shapes (n, points)."""

    def __init__(self, expression, variables, box, name):
        self.expression, self.variables, self.name = expression, variables, name
        self.low, self.high = np.array(box).T[:, :, None]
        self.line = len(variables) == 1
        self.points = self._grid() if self.line else self._cloud()

    def _grid(self):
        return np.linspace(self.low[:, 0], self.high[:, 0], GRID).T

    def _cloud(self):
        """An additive recurrence that fills the box evenly, with its centre and corners."""
        n = len(self.variables)
        ratio = 2.0
        for _ in range(40):  # the root of r^(n + 1) = r + 1
            ratio = (1 + ratio) ** (1 / (n + 1))
        unit = (0.5 + np.arange(_CLOUD)[:, None] * ratio ** -np.arange(1.0, n + 1)) % 1
        middle = 0.5 + 0.5 * np.concatenate([np.zeros((1, n)), np.eye(n), -np.eye(n)])
        corners = np.array(list(product((0.0, 1.0), repeat=n))) if n <= 6 else np.empty((0, n))
        return self.low + (self.high - self.low) * np.concatenate([middle, corners, unit]).T

    def __call__(self, expression, points):
        found = value(expression, dict(zip(self.variables, points, strict=True)))
        return np.broadcast_to(found, points.shape[1:])

    def place(self, point):
        """A point in words."""
        names = [f"{v} = {x:.6g}" for v, x in zip(self.variables, np.ravel(point), strict=True)]
        return ", ".join(names)

    def inside(self, region, points):
        """Whether the branches of a region are taken at the points."""
        holds = np.ones(points.shape[1], dtype=bool)
        for condition, wanted in region:
            holds &= self(condition, points) == wanted
        return holds

    def require_defined(self, rule, guard, region, part):
        """Refuse a place in the box at which a logarithm, a root or a denominator has no value."""
        at, g = self.points, self(guard, self.points)
        bad = np.isnan(g)
        if rule == "not zero":
            bad |= g == 0
        elif rule == "positive":
            bad |= g <= 0
        else:
            bad |= g < -1e-12 * np.nanmax(np.abs(g))
        if rule != "not negative" and not bad.any():
            zeros = self.zeros(guard, at)
            at = np.concatenate([at, zeros], axis=1)
            bad = np.concatenate([bad, np.ones(zeros.shape[1], dtype=bool)])
        bad &= self.inside(region, at)
        if bad.any():
            raise ValueError(
                f"the loss of {self.name} must be real and finite on its box, but {part} is not at "
                f"{self.place(at[:, bad][:, 0])}, where {guard} must be {rule}; choose a box "
                "without such places, or give them a value with Piecewise"
            )

    def require_finite(self):
        """Refuse a box that holds a place where the loss is infinite or NaN."""
        loss = self(self.expression, self.points)
        bad = ~np.isfinite(loss)
        if bad.any():
            raise ValueError(
                f"the loss of {self.name} must be real and finite on its box, got "
                f"{loss[bad][0]} at {self.place(self.points[:, bad][:, 0])}; choose a smaller box, "
                "or give such places a value with Piecewise"
            )

    def require_continuous(self, switches):
        """Refuse a jump, and on a line an infinite slope; the breaks in the box."""
        places = []
        for switch, kind, part in switches:
            left, right, root = self.crossings(switch, self.points)
            self._require_no_jump(left, right, root, part)
            if self.line:
                root = np.concatenate([root, self.touches(switch)], axis=1)
                if kind == "power":
                    self._require_finite_slope(root)
                places.extend(root[0].tolist())
                far = 10 * max(abs(self.low[0, 0]), abs(self.high[0, 0]))
                wide = np.linspace(-far, far, GRID)[None]
                self._require_no_jump(*self.crossings(switch, wide), part)
        kept, apart = [], 4 * np.spacing(np.abs([self.low, self.high]).max())
        for x in sorted(places):
            if not kept or x - kept[-1] > apart:
                kept.append(x)
        return tuple(kept)

    def _require_no_jump(self, left, right, root, part):
        if not left.shape[1]:
            return
        below, above = self(self.expression, left), self(self.expression, right)
        step = (self.high - self.low) / GRID
        toward = np.where(right == left, 0, np.sign(right - left))
        near = [self(self.expression, p) for p in (left - step * toward, right + step * toward)]
        variation = np.nan_to_num(np.abs(near[0] - below) + np.abs(near[1] - above), posinf=0)
        jump = np.abs(above - below)
        bad = jump > _JUMP * (np.abs(below) + np.abs(above) + variation)
        # a pole of which only one side is in the box is infinite on that side
        bad |= np.isfinite(below) != np.isfinite(above)
        if self.line:
            outside = ((left < self.low) | (left > self.high))[0]
            bad &= ~(outside & ~(np.isfinite(below) & np.isfinite(above)))
        if bad.any():
            k = int(np.argmax(bad))
            raise ValueError(
                f"the loss of {self.name} must be continuous, but it jumps from {below[k]:.6g} to "
                f"{above[k]:.6g} at {self.place(root[:, k])}, by {part}; join the pieces there, or "
                "write the step as a steep smooth one, such as h*(1 + tanh((x - x0)/w))/2"
            )

    def _require_finite_slope(self, places):
        """Refuse a place beside which the slope grows without bound."""
        x = self.variables[0]
        slope, step = derivative(self.expression, x), (self.high - self.low) * 1e-5
        for side in (-1, 1):
            near, nearer = (np.abs(self(slope, places + side * step * d)) for d in (1, 1e-4))
            inside = (places + side * step >= self.low) & (places + side * step <= self.high)
            bad = inside[0] & (nearer > 1.2 * near) & (nearer > 0)
            bad &= np.abs(self(slope, places + side * step * 1e-8)) > 1.2 * nearer
            if bad.any():
                raise ValueError(
                    f"the slope of {self.name} must be finite, but it grows without bound at "
                    f"{self.place(places[:, bad][:, 0])}; round the cusp off, for example with "
                    "(x**2 + w**2)**p for Abs(x)**(2*p)"
                )

    def zeros(self, expression, points):
        """Places at which an expression is zero, crossing it or touching it."""
        return np.concatenate(
            [self.crossings(expression, points)[2], self.touches(expression)], axis=1
        )

    def crossings(self, expression, points):
        """Where an expression changes sign, as far as the points see.

        Args:
            expression: SymPy.
            points: ascending on a line; in more dimensions every two neighbours are compared.

        Returns:
            The last place before, the first after, and the one at which it is nearest to zero.
        """
        if self.line:
            points = np.concatenate([points, self._dips(expression, points)], axis=1)
            points = np.unique(points)[None]
        at = np.sign(self(expression, points))
        change = at[:-1] * at[1:] < 0
        left, right, here = points[:, :-1][:, change], points[:, 1:][:, change], at[:-1][change]
        for _ in range((1100 if self.line else 70) if change.any() else 0):  # halvings
            middle = left + (right - left) / 2
            if np.all((middle == left) | (middle == right)):
                break
            there = np.sign(self(expression, middle))
            left = np.where(there == here, middle, left)
            right = np.where(there == here, right, middle)
        nearer = np.abs(self(expression, left)) < np.abs(self(expression, right))
        root = np.where(nearer, left, right)
        if self.line:
            right = np.where(self(expression, right) == 0, np.nextafter(right, np.inf), right)
        on = points[:, at == 0]  # looked at from both sides
        step = np.spacing(np.abs(on) if self.line else 4 * (self.high - self.low))
        return tuple(
            np.concatenate(pair, axis=1)
            for pair in ((left, on - step), (right, on + step), (root, on))
        )

    def touches(self, expression):
        """Places at which an expression comes down to zero without changing its sign."""
        if self.line:
            at = self._dips(expression, self.points)
            step = (self.high - self.low) / GRID
            around = np.maximum(*(np.abs(self(expression, at + side * step)) for side in (-1, 1)))
            return at[:, np.abs(self(expression, at)) <= 1e-10 * around]
        size = np.abs(self(expression, self.points))
        best = self.points[:, np.argsort(size)[:8]]
        moves = np.concatenate([np.zeros((1, len(best))), np.eye(len(best)), -np.eye(len(best))])
        for halving in range(48):
            reach = (self.high - self.low) * 0.5**halving / 4
            near = best[:, None] + reach[:, None] * moves.T[:, :, None]
            near = np.clip(near, self.low[:, None], self.high[:, None])
            heights = np.abs(self(expression, near))
            best = near[:, np.argmin(heights, axis=0), np.arange(best.shape[1])]
        return best[:, np.abs(self(expression, best)) <= 1e-12 * np.median(size)]

    def _dips(self, expression, points):
        return dips(lambda at: self(expression, at), points)


def require_room(variables, box) -> None:
    """Refuse a symbol that promises SymPy more than the box keeps: it would simplify with that.

    Args:
        variables: real symbols.
        box: one (low, high) per variable.

    Raises:
        ValueError: one is whole or rational, or has a sign that the box does not.
    """
    for variable, (low, high) in zip(variables, box, strict=True):
        beyond = (variable.is_nonnegative and low < 0) or (variable.is_nonpositive and high > 0)
        if beyond or variable.is_rational is not None or variable.is_integer is not None:
            raise ValueError(
                f"variables must be free to be anywhere in their box, got {variable} from {low:g} "
                f"to {high:g} with the assumptions {variable._assumptions_orig}, by which SymPy "
                'simplifies formulas; write sympy.Symbol("x", real=True)'
            )


def places(variables, box) -> np.ndarray:
    """Points that fill a box evenly, with its centre and corners.

    Args:
        variables: one symbol per dimension.
        box: one (low, high) per variable.

    Returns:
        Shape (n, points).
    """
    return _Loss(None, variables, box, "").points
