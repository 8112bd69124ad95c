"""Bounds of a formula on whole intervals, so that no narrow feature between points is missed.

Interval arithmetic (Moore, *Interval Analysis*, 1966) on a SymPy expression of one variable: every
operation returns bounds that hold on the whole interval. They may be wide, and become as narrow as
the formula's true range when the intervals shrink. Rounding is not taken into account: the bounds
decide how finely something is computed, not its value.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import sympy as sp

_TURN = 2 * np.pi
_GROWING = {
    sp.exp: np.exp,
    sp.log: np.log,
    sp.tanh: np.tanh,
    sp.sinh: np.sinh,
    sp.atan: np.arctan,
    sp.asinh: np.arcsinh,
    sp.floor: np.floor,
    sp.ceiling: np.ceil,
    sp.sign: np.sign,
}


def switches(expressions) -> list:
    """Formulas whose zeros are the places where an expression goes over into another one.

    Args:
        expressions: SymPy expressions.

    Returns:
        Different SymPy expressions, each with free symbols.
    """
    found = []
    for part in (p for e in expressions for p in sp.preorder_traversal(sp.sympify(e))):
        if isinstance(part, (sp.Abs, sp.sign, sp.Heaviside)):
            found.append(part.args[0])
        elif isinstance(part, (sp.Max, sp.Min)):
            found += [a - b for i, a in enumerate(part.args) for b in part.args[:i]]
        elif isinstance(part, sp.core.relational.Relational):
            found.append(part.lhs - part.rhs)
        elif isinstance(part, (sp.floor, sp.ceiling)):
            found.append(sp.sin(sp.pi * part.args[0]))
        elif isinstance(part, sp.Mod):
            found.append(sp.sin(sp.pi * part.args[0] / part.args[1]))
        elif part.is_Pow and part.exp.is_number and not part.exp.is_integer:
            found.append(part.base)
    return [f for f in dict.fromkeys(found) if f.free_symbols and not f.has(sp.DiracDelta)]


def breakpoints(landscape, noise, grid) -> list:
    """Extremes of L, and every point at which a formula of L, its slope or D changes.

    Args:
        landscape: one-dimensional.
        noise: gives D(x).
        grid: ascending points, shape (k,); of two breakpoints between neighbours none is seen.

    Returns:
        The points, in no order.

    Example:
        >>> import numpy as np
        >>> from ddt_utils import catalog, noise
        >>> well, grid = catalog.quartic(), np.linspace(-1.5, 1.5, 8)
        >>> found = breakpoints(well, noise.WhiteNoise(0.25), grid)
        >>> [round(float(place), 6) for place in found]
        [-1.0, 0.0, 1.0]
    """
    return crossings(_switches(landscape, noise.diffusion_matrix(landscape)[0]), grid)


def crossings(functions, grid) -> list:
    """The zeros of functions of one variable, as far as a grid sees them.

    Args:
        functions: each of an array of places.
        grid: ascending points, shape (k,); of two zeros between neighbours none is seen.

    Returns:
        The points, in no order.
    """
    from scipy.optimize import bisect

    found = []
    for function in functions:

        def signed(x, function=function):
            with np.errstate(all="ignore"):
                return np.broadcast_to(function(x), np.shape(x)).astype(float)

        sign = np.sign(signed(grid))
        found += list(grid[sign == 0])
        for k in np.flatnonzero(sign[:-1] * sign[1:] < 0):
            found.append(bisect(signed, grid[k], grid[k + 1], xtol=1e-14))
    return found


@lru_cache(maxsize=128)
def _switches(landscape, diffusion):
    """Functions whose zeros are extremes of L or D or places where a formula changes."""
    x = landscape.variables[0]
    slope = landscape.gradient_expression[0]
    formulas = dict.fromkeys([slope, *switches((landscape.expression, slope, diffusion))])
    formulas = [f for f in formulas if f.has(x) and not f.has(sp.DiracDelta)]
    return tuple(sp.lambdify(x, f, modules="numpy") for f in formulas)


def enclosable(expression) -> bool:
    """Whether every part of a formula is known here; others are bounded by plus minus infinity.

    Args:
        expression: a SymPy expression.

    Returns:
        True if :func:`enclose` narrows down with the intervals.
    """
    known = (sp.Symbol, sp.Number, sp.NumberSymbol, sp.Add, sp.Mul, sp.Pow, sp.Abs, sp.Max, sp.Min)
    known += (sp.sin, sp.cos, sp.cosh, sp.Heaviside, sp.DiracDelta, sp.Piecewise, *_GROWING)
    known += (sp.core.relational.Relational, sp.And, sp.Or, sp.Not, sp.Tuple)
    known += (sp.functions.elementary.piecewise.ExprCondPair, type(sp.true), type(sp.false))
    return all(isinstance(part, known) for part in sp.preorder_traversal(expression))


def enclose(expression, low, high) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of an expression on the open intervals (low, high).

    Args:
        expression: a SymPy expression with at most one free symbol.
        low: left ends, shape (k,).
        high: right ends, shape (k,).

    Returns:
        Lower and upper bounds, each of shape (k,); infinite where nothing is known.

    Example:
        >>> x = sp.Symbol("x", real=True)
        >>> low, high = enclose(x**2 - 1, np.array([-1.0, 2.0]), np.array([2.0, 3.0]))
        >>> low.tolist(), high.tolist()
        ([-1.0, 3.0], [3.0, 8.0])
    """
    known = {}

    def bounds(e):
        if e not in known:
            with np.errstate(all="ignore"):
                lower, upper = _bounds(e, bounds, low, high)
            lower = np.where(np.isnan(lower), -np.inf, lower)
            known[e] = lower, np.where(np.isnan(upper), np.inf, upper)
        return known[e]

    return tuple(np.broadcast_to(b, np.shape(low)).astype(float) for b in bounds(expression))


def _bounds(e, bounds, low, high):
    """One node of the expression, its arguments bounded by ``bounds``."""
    if e.is_Symbol:
        return low, high
    if e.is_number and e.is_extended_real:
        return float(e), float(e)
    if isinstance(e, sp.Piecewise):
        return _pieces(e, bounds, low)
    parts = [bounds(a) for a in e.args]
    if e.is_Add:
        return sum(p[0] for p in parts), sum(p[1] for p in parts)
    if e.is_Mul:
        result = parts[0]
        for part in parts[1:]:
            result = _product(result, part)
        return result
    if e.is_Pow:
        return _power(e.exp, *parts)
    if isinstance(e, (sp.Max, sp.Min)):
        least = np.maximum if isinstance(e, sp.Max) else np.minimum
        return tuple(_reduce(least, side) for side in zip(*parts, strict=True))
    return _function(e, *parts[0])


def _function(e, a, b):
    """A function of one argument that lies between a and b."""
    if type(e) in _GROWING:
        f = _GROWING[type(e)]
        if isinstance(e, sp.log):
            a = np.maximum(a, 0)
        return f(a), f(b)
    if isinstance(e, (sp.Abs, sp.cosh)):
        least, most = np.maximum(np.maximum(a, -b), 0), np.maximum(-a, b)
        return (np.cosh(least), np.cosh(most)) if isinstance(e, sp.cosh) else (least, most)
    if isinstance(e, sp.Heaviside):
        return np.where(a >= 0, 1.0, 0.0), np.where(b <= 0, 0.0, 1.0)
    if isinstance(e, sp.DiracDelta):
        away = (a >= 0) | (b <= 0)
        return np.where(away, 0.0, -np.inf), np.where(away, 0.0, np.inf)
    if isinstance(e, (sp.sin, sp.cos)):
        shift = _TURN / 4 if isinstance(e, sp.sin) else 0.0  # sin t = cos(t − π/2)
        a, b = a - shift, b - shift
        at_top = np.ceil(a / _TURN) * _TURN <= b
        at_bottom = np.ceil(a / _TURN - 0.5) * _TURN + _TURN / 2 <= b
        ends = np.cos(a), np.cos(b)
        return np.where(at_bottom, -1.0, np.minimum(*ends)), np.where(
            at_top, 1.0, np.maximum(*ends)
        )
    return -np.inf, np.inf


def _pieces(e, bounds, low):
    """The union over the pieces that may hold somewhere in the interval."""
    open_ = np.ones(np.shape(low), dtype=bool)
    least, most = np.full(open_.shape, np.inf), np.full(open_.shape, -np.inf)
    for value, condition in e.args:
        surely, maybe = _holds(condition, bounds)
        taken = open_ & maybe
        if taken.any():
            a, b = bounds(value)
            least = np.where(taken, np.minimum(least, a), least)
            most = np.where(taken, np.maximum(most, b), most)
        open_ = open_ & ~surely
    return np.where(open_, -np.inf, least), np.where(open_, np.inf, most)


def _holds(condition, bounds):
    """Whether a condition holds everywhere and whether it holds anywhere in the open interval."""
    if condition in (sp.true, sp.false):
        return bool(condition), bool(condition)
    if isinstance(condition, (sp.And, sp.Or)):
        join = np.logical_and if isinstance(condition, sp.And) else np.logical_or
        parts = zip(*(_holds(a, bounds) for a in condition.args), strict=True)
        return tuple(_reduce(join, side) for side in parts)
    if isinstance(condition, sp.Not):
        surely, maybe = _holds(condition.args[0], bounds)
        return np.logical_not(maybe), np.logical_not(surely)
    a, b = bounds(condition.lhs - condition.rhs)
    if isinstance(condition, (sp.Gt, sp.Ge)):
        return a >= 0, b > 0
    if isinstance(condition, (sp.Lt, sp.Le)):
        return b <= 0, a < 0
    never = (a > 0) | (b < 0)
    return (never, ~never | True) if isinstance(condition, sp.Ne) else (never & False, ~never)


def _product(first, second):
    """The range of a product; zero times infinity is zero, as a bound of an open interval is."""
    ends = [np.multiply(a, b) for a in first for b in second]
    ends = [np.where(np.isnan(v), 0.0, v) for v in ends]
    return _reduce(np.minimum, ends), _reduce(np.maximum, ends)


def _power(exponent, base, power):
    """A base within its bounds to a power within its own."""
    a, b = base
    if not exponent.is_number:
        positive = np.log(np.maximum(a, 0)), np.log(np.maximum(b, 0))
        lower, upper = _product(positive, power)
        return np.exp(lower), np.exp(upper)
    n = float(exponent)
    if n < 0:
        a, b = _power(sp.sympify(-exponent), base, (-power[0], -power[1]))
        across = (a < 0) & (b > 0)
        low, high = 1 / np.where(b == 0, -0.0, b), 1 / np.where(a == 0, 0.0, a)
        return np.where(across, -np.inf, low), np.where(across, np.inf, high)
    if not exponent.is_integer:
        a, b = np.maximum(a, 0), np.maximum(b, 0)
    elif exponent.is_even:
        a, b = np.maximum(np.maximum(a, -b), 0), np.maximum(-a, b)
    return np.power(a, n), np.power(b, n)


def _reduce(function, values):
    result, *others = values
    for value in others:
        result = function(result, value)
    return result
