r"""What single precision can hold: where walkers are carried from, and the check of a step.

A float32 has 24 binary digits, so at x its last one is worth :math:`u\approx 2^{-23}|x|`. Adding a
move of standard deviation s to x rounds the sum to a multiple of u. As long as s > u the rounding
error is as good as independent noise of variance u²/12: no drift is lost, and the walker
diffuses as if D were larger by the fraction :math:`u^2/12s^2`. That is below 10⁻³ for s > 9.13 u.
Smaller steps carry the remainders of the additions along, which makes u 2²⁴ times smaller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import sympy as sp

from ddt_utils.simulate.rules import horner
from ddt_utils.simulate.step import Step

_TOLERANCE = 1e-3  # of D or of the drift, by rounding
_FEWEST = np.sqrt(1 / 12 / _TOLERANCE)  # last digits in the standard deviation of a step
_POINTS, _DRAWS = 128, 64


@dataclass(frozen=True)
class Frame:
    """The coordinates y in which walkers are carried: x = origin + scale · y.

    The origin is zero, and where the box does not contain zero, the centre of the box. The scale is
    one, and a power of two where the box is smaller than 2⁻²⁰ or larger than 2²⁰.

    Args:
        variables: the coordinates x, which also stand for y in what the methods return.
        origin: one number for each.
        scale: one power of two for each.
    """

    variables: tuple[sp.Symbol, ...]
    origin: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def of(cls, landscape) -> Frame:
        """The frame of a landscape.

        Args:
            landscape: the landscape, whose box decides.

        Returns:
            The frame.
        """
        origin, scale = [], []
        for low, high in landscape.box:
            origin.append(0.0 if low <= 0 <= high else low + (high - low) / 2)
            power = round(np.log2(max(abs(low - origin[-1]), abs(high - origin[-1]))))
            scale.append(1.0 if abs(power) <= 20 else 2.0**power)
        return cls(landscape.variables, tuple(origin), tuple(scale))

    @property
    def plain(self) -> bool:
        """Is y the same as x?"""
        return not any(self.origin) and all(s == 1 for s in self.scale)

    def inside(self, points) -> np.ndarray:
        """The y of points x, shape (..., n), float64."""
        return (np.asarray(points, float) - self.origin) / self.scale

    def outside(self, states: np.ndarray) -> np.ndarray:
        """The x of states y, shape (..., n): float32 as they come, float64 where they differ."""
        return states if self.plain else self.origin + np.multiply(self.scale, states)

    def reach(self, box) -> float:
        """How far the box reaches from the origin, in y."""
        return float(np.max(np.abs(self.inside(np.transpose(box)))))

    def step(self, step: Step) -> Step:
        """A step in x as a step in y.

        Args:
            step: what a rule returned.

        Returns:
            The same step; polynomials are expanded about the origin, with exact numbers.
        """
        if self.plain:
            return step
        update = [self._value(x, e) for x, e in zip(step.state, step.update, strict=True)]
        where = tuple((name, sp.Add(*self._terms(e))) for name, e in step.where)
        start = step.start
        if start is not None:
            start = replace(start, values=tuple((x, self._value(x, e)) for x, e in start.values))
        return replace(step, update=tuple(update), where=where, start=start)

    def condition(self, condition, at: dict):
        """A condition on x as one on y.

        Args:
            condition: a SymPy condition.
            at: the values of its symbols that set the unit in which both sides are compared.

        Returns:
            The condition.
        """
        if self.plain or not condition.free_symbols:
            return condition
        if isinstance(condition, (sp.And, sp.Or)):
            return condition.func(*(self.condition(c, at) for c in condition.args))
        difference = condition.lhs - condition.rhs
        unit = abs(difference.subs(at))
        unit = unit if unit.is_number and unit.is_finite and unit != 0 else 1
        side = sp.Add(*(t / unit for t in self._terms(difference)))
        return condition.func(side, 0, evaluate=False)

    def _value(self, x, e):
        """A new value e of a variable of the state, given in x, as one given in y."""
        if x not in self.variables:
            return sp.Add(*self._terms(e))
        i = self.variables.index(x)
        if e.is_Add and x in e.args:
            return sp.Add(x, *self._terms(e - x, self.scale[i]))
        return sp.Add(sp.Rational(-self.origin[i]) / self.scale[i], *self._terms(e, self.scale[i]))

    def _terms(self, e, unit=1.0):
        """The terms of an expression in x over ``unit``, as expressions in y."""
        places = {
            x: sp.Rational(c) + sp.Rational(s) * x
            for x, c, s in zip(self.variables, self.origin, self.scale, strict=True)
        }
        if e.is_polynomial(*self.variables) and e.free_symbols <= set(self.variables):
            return [self._expanded(e, places) / sp.Rational(unit)]
        terms = []
        for term in sp.Add.make_args(e):
            others, own = term.as_independent(*self.variables, as_Add=False)
            if own.is_polynomial(*self.variables):
                own = self._expanded(own, places)
                largest = max((abs(c) for c in own.as_coefficients_dict().values()), default=1)
                terms.append(others * largest / sp.Rational(unit) * horner(own / largest))
            else:
                terms.append(others / sp.Rational(unit) * own.xreplace(places))
        return terms

    @staticmethod
    def _expanded(e, places):
        exact = {f: sp.Rational(float(f)) for f in e.atoms(sp.Float)}
        return sp.expand(e.xreplace(exact).xreplace(places))


class _Reader:
    """The functions of generated statements, in NumPy at one precision."""

    def __init__(self, kind, others=()):
        self.names = {
            "fma": lambda a, b, c: (np.asarray(a, float) * b + c).astype(kind),
            "mul": lambda a, b: np.multiply(a, b, dtype=kind),
            "div": lambda a, b: np.divide(a, b, dtype=kind),
            "select": np.where,
            "root": np.sqrt,
            **{name: getattr(np, name) for name in ("exp", "log", "sin", "cos", "tanh")},
            **{"zero": kind(0), "one": kind(1), "half": kind(0.5), "nan": kind(np.nan)},
        }
        self.kind, self.others = kind, others  # what is carried beside the coordinates

    def moves(self, program, points, draws):
        """What is added to each coordinate, shape (..., n), at points and with draws by name."""
        n = points.shape[-1]
        names = self.names | {f"p{i}": self.kind(p) for i, p in enumerate(program.parameters)}
        names |= {name: np.asarray(value, self.kind) for name, value in draws.items()}
        names |= {f"x{i}": self.kind(0) for i in range(n, program.statements.count("\nn") + 2)}
        names |= {f"x{n + i}": self.kind(value) for i, value in enumerate(self.others)}
        names |= {f"x{i}": points[..., i].astype(self.kind) for i in range(n)}
        with np.errstate(all="ignore"):
            exec(program.statements, names)
            found = [
                names[move] if move else np.subtract(names[f"n{i}"], names[f"x{i}"], dtype=float)
                for i, move in enumerate(program.moves)
            ]
        shape = np.broadcast_shapes(*(np.shape(f) for f in found), points.shape[:-1])
        return np.stack([np.broadcast_to(f, shape) for f in found], -1).astype(float)


def compensation(problem, program) -> bool:
    """Must the remainders of the additions be carried along? Checked at points of the box.

    Args:
        problem: the problem, of which the frame, the start and the step are used.
        program: its program without compensation.

    Returns:
        Whether a step may be so small that a plain addition would lose a part of it.

    Raises:
        ValueError: a number of the step lies beyond single precision, the step is not a number at
            the start, the drift loses its digits, or even compensation is not enough.
    """
    name, step, frame = problem.landscape.name, problem._step, problem.frame
    scale = np.asarray(frame.scale)
    with np.errstate(all="ignore"):
        small = np.abs(np.array(program.parameters, np.float32))
    for p, found in zip(program.parameters, small, strict=True):
        if not np.isfinite(found) or (p and found < np.finfo(np.float32).tiny):
            raise ValueError(
                f"the numbers of a step must lie between 1e-38 and 3e38, got {p:.3g} for {name}; "
                "choose units of length and time in which the box and the step are nearer to one"
            )
    rng = np.random.default_rng(0)
    low, high = frame.inside(np.transpose(problem.landscape.box))
    points = rng.uniform(low, high, (_POINTS, len(low)))
    points = np.vstack([frame.inside(problem.start), points]).astype(np.float32).astype(float)
    kicks, none = _draws(step, rng)
    wide, narrow = (_Reader(kind, step.initial_state) for kind in (np.float64, np.float32))
    drift = wide.moves(program, points, none)
    spread = wide.moves(program, points[:, None], kicks) - drift[:, None]
    spread = np.sqrt(np.mean(spread**2, axis=1))
    if not np.all(np.isfinite(drift[0] + spread[0])):
        raise ValueError(
            f"the first step from {list(problem.start)} must be a number, got a move of "
            f"{(drift[0] * scale).tolist()} and noise of {(spread[0] * scale).tolist()}; "
            f"check the loss of {name} and its noise there"
        )
    known = np.isfinite(drift + spread)
    with np.errstate(all="ignore"):
        error = np.abs(narrow.moves(program, points, none) - drift)
        # an error of the drift tilts the potential by error · 2 width / spread², in units of D
        width = (high - low) * np.ones_like(drift)
        lost = (error > _TOLERANCE * np.abs(drift)) & (2 * error * width > _TOLERANCE * spread**2)
        lost |= ~np.isfinite(error)
    if np.mean(lost[known]) > 0.1:
        raise ValueError(
            f"the drift of {name} must keep its digits in single precision, got an error above "
            f"{_TOLERANCE:.1%} at {np.mean(lost[known]):.0%} of the points of the box; its terms "
            "cancel: write it in distances from the wells, such as (x - 3)**2"
        )
    last = np.spacing(np.abs(points).astype(np.float32)).astype(float)
    return _resolution(problem, drift, spread, known, last, program.moves)


def _resolution(problem, drift, spread, known, last, moves):
    """Is a plain addition too coarse? An error if even a compensated one is."""
    still = np.abs(drift) < last / _TOLERANCE / 2  # beside the rounding error of a plain addition
    known = known & (np.abs(drift) + spread > 0)
    coarse = np.where(spread > 0, spread < _FEWEST * last, still)
    if not (coarse & (still | (np.mean(coarse & known, axis=0) > 0.5)) & known).any():
        return False
    fine = last * 2.0**-24
    lost = np.where(spread > 0, spread < _FEWEST * fine, np.abs(drift) < fine / _TOLERANCE / 2)
    lost &= known
    sums = np.array([move is not None for move in moves])
    bad = np.where(sums, np.mean(lost, axis=0) > 0.5, np.any(coarse & known, axis=0))
    if bad.any():
        i = int(np.argmax(bad))
        size = np.median(np.hypot(drift, spread)[:, i]) * problem.frame.scale[i]
        remedy = "take a larger step or a smaller box around the walker"
        if sums[i]:
            remedy += ", or FactorNoise of zeros for no noise at all"
        else:
            remedy += ", or let the rule give the new place as a sum, x + move"
        raise ValueError(
            "a step must be larger than the rounding of the place, got moves of about "
            f"{size:.1e} in {problem.landscape.variables[i]} in the box "
            f"{problem.landscape.box[i]}, of which more than 0.1 % would be lost; {remedy}"
        )
    return True


def _draws(step, rng):
    """Random numbers of a step by name, (1, draws) each, and their middle."""
    kicks = {f"z{i}": rng.standard_normal((1, _DRAWS)) for i in range(len(step.normals))}
    none = {name: 0.0 for name in kicks}
    kicks |= {f"u{i}": 1 - rng.random((1, _DRAWS)) for i in range(len(step.uniforms))}
    none |= {f"u{i}": 0.5 for i in range(len(step.uniforms))}
    if step.batch:
        m, size = len(step.batch.counts), step.batch.size
        share = step.batch.weights or [1 / m] * m
        if step.batch.replacement:
            counts = rng.multinomial(size, share, _DRAWS)
        else:
            counts = rng.multivariate_hypergeometric([1] * m, size, _DRAWS)
        kicks |= {f"m{i}": counts[None, :, i] for i in range(m)}
        none |= {f"m{i}": size * share[i] for i in range(m)}
    return kicks, none
