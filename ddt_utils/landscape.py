r"""A loss landscape, written once as a SymPy expression; everything else is generated from it.

The gradient :math:`\nabla L`, the Hessian :math:`H = \nabla\nabla L`, their NumPy and PyTorch
functions and the LaTeX on a page all come from one expression, so no formula is typed
twice and none can disagree with another.

A landscape is also a promise to other rooms: on its box the loss is real, finite and continuous.
A slope may jump; :attr:`Landscape.kinks` says where.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import sympy as sp

from ddt_utils import _checks, _line, _shapes, _sound
from ddt_utils._expressions import Torch, derivative, numpy_function, switches, value


@dataclass(frozen=True)
class Landscape:
    r"""A loss :math:`L(\theta)` of n real variables: real, finite and continuous on its box.

    Args:
        expression: the loss, a SymPy expression in ``variables`` and in nothing else, built from
            sums, products, powers, exp, log, sin, cos, tan, sinh, cosh, tanh, asinh, atan, Abs,
            sign, Heaviside, Max, Min and Piecewise (conditions with <, <=, >, >=, And, Or; its last
            branch for all other places).
        variables: the n coordinates, distinct real SymPy symbols.
        name: what the landscape is called in captions and error messages.
        box: one ``(low, high)`` per variable: the region that is plotted, searched and gridded.
            It does not bound the walkers.

    Raises:
        ValueError: a variable is no real symbol, promises more (positive, in a box that reaches
            below zero) or occurs twice; the expression has other symbols
            or an unknown function; the box is not one finite interval per variable; in it the loss
            is not real, not finite, or jumps, or on a line its slope is infinite.

    Example:
        >>> import sympy as sp
        >>> x = sp.Symbol("x", real=True)
        >>> loss = x**4 / 4 - x**2 / 2
        >>> well = Landscape(loss, (x,), name="quartic", box=((-2, 2),))
        >>> well.gradient_expression[0]
        x**3 - x
        >>> float(well.value(1.0))
        -0.25
        >>> Landscape(sp.Max(x, -2 * x), (x,), name="wedge", box=((-2, 2),)).kinks
        (0.0,)
    """

    expression: sp.Expr
    variables: tuple[sp.Symbol, ...]
    name: str
    box: tuple[tuple[float, float], ...]

    def __post_init__(self):
        """Check the arguments."""
        variables = self.variables
        if not isinstance(variables, (tuple, list, sp.Tuple)):
            variables = (variables,)
        object.__setattr__(self, "variables", tuple(variables))
        for variable in self.variables:
            if not (isinstance(variable, sp.Symbol) and variable.is_real):
                raise ValueError(
                    f"variables must be real SymPy symbols, got {variable!r}; "
                    'write sympy.Symbol("x", real=True)'
                )
        if not self.variables or len(set(self.variables)) < len(self.variables):
            raise ValueError(
                f"variables must be distinct and at least one, got {self.variables}; "
                "name every coordinate once"
            )
        number = isinstance(self.expression, (int, float, np.number))
        if isinstance(self.expression, bool) or not (
            number or isinstance(self.expression, sp.Expr)
        ):
            raise ValueError(
                f"expression must be a SymPy expression, got {self.expression!r}; write it with "
                "sympy.Symbol, not as a text or a matrix"
            )
        object.__setattr__(self, "expression", sp.sympify(self.expression))
        unknown = self.expression.free_symbols - set(self.variables)
        if unknown:
            raise ValueError(
                f"expression may use only the variables {self.variables}, got also {unknown}; "
                "substitute numbers for parameters with expression.subs"
            )
        object.__setattr__(self, "box", _checked_box(self.box, self.dimension))
        _sound.require_room(self.variables, self.box)
        _sound.breaks(self.expression, self.variables, self.box, self.name)

    @property
    def dimension(self) -> int:
        """The number n of variables."""
        return len(self.variables)

    @property
    def gradient_expression(self) -> sp.ImmutableMatrix:
        r""":math:`\nabla L` as a SymPy matrix of shape (n, 1), wherever there is one.

        Where a slope jumps it has one of the two values (``Piecewise``) or their mean (``Abs``,
        ``Max``, ``Min``).
        """
        return _gradient(self.expression, self.variables)

    @property
    def hessian_expression(self) -> sp.ImmutableMatrix:
        r""":math:`\nabla\nabla L` as a SymPy matrix of shape (n, n), wherever there is one.

        The delta function that a jump of the slope would add is left out.
        """
        return _hessian(self.expression, self.variables)

    @property
    def switches(self) -> tuple[sp.Expr, ...]:
        """Expressions g; the formula of the loss changes only where some g is zero."""
        return switches(self.expression)

    @property
    def breaks(self) -> tuple[float, ...]:
        """The places in the box where the formula of a one-dimensional loss changes, increasing.

        Between two of them the loss has all derivatives.

        Raises:
            ValueError: the landscape has more than one variable.
        """
        self._require_line("breaks", "switches")
        return _sound.breaks(self.expression, self.variables, self.box, self.name)

    @property
    def kinks(self) -> tuple[float, ...]:
        """Those of the :attr:`breaks` at which the slope jumps."""
        return _line.kinks(self.expression, self.variables[0], self.box[0], self.breaks)

    def latex(self) -> str:
        """The loss in LaTeX."""
        return sp.latex(self.expression)

    def value(self, *coordinates) -> np.ndarray:
        """The loss at points given one coordinate array per variable.

        Args:
            coordinates: n arrays or numbers that broadcast to one shape (...).

        Returns:
            Losses, shape (...), float64; NaN or infinite only outside the box.

        Raises:
            ValueError: as for :meth:`evaluate`.
        """
        return self.evaluate((self.expression,), *coordinates)[..., 0]

    def gradient(self, *coordinates) -> np.ndarray:
        """The gradient at points.

        Args:
            coordinates: as for :meth:`value`.

        Returns:
            Shape (..., n), float64.
        """
        return self.evaluate(tuple(self.gradient_expression), *coordinates)

    def hessian(self, *coordinates) -> np.ndarray:
        """The Hessian at points.

        Args:
            coordinates: as for :meth:`value`.

        Returns:
            Shape (..., n, n), float64; infinite or NaN where a curvature is, as for
            ``abs(x)**(4/3)`` at 0.
        """
        flat = self.evaluate(tuple(self.hessian_expression), *coordinates)
        return flat.reshape(flat.shape[:-1] + (self.dimension, self.dimension))

    def derivative(self, x, order: int = 1) -> np.ndarray:
        """A derivative of a one-dimensional loss.

        Args:
            x: places, any shape.
            order: 0 for the loss, 1 for its slope, and so on.

        Returns:
            The shape of ``x``, float64.

        Raises:
            ValueError: the landscape has more than one variable, or the order is no whole number.
        """
        self._require_line("derivative", "gradient and hessian")
        expression = self.expression
        for _ in range(_checks.whole("order", order)):
            expression = derivative(expression, self.variables[0])
        return self.evaluate((expression,), x)[..., 0]

    def torch_value(self, *coordinates):
        """The loss as a differentiable PyTorch function.

        Args:
            coordinates: n tensors that broadcast to one shape (...).

        Returns:
            A tensor of shape (...).

        Raises:
            ValueError: not one tensor per variable, or tensors whose shapes do not fit.
        """
        import torch

        self._check_count(coordinates)
        if not all(torch.is_tensor(c) for c in coordinates):
            raise ValueError(
                f"coordinates must be tensors, got {coordinates!r}; for numbers and arrays there "
                "is value"
            )
        shape = _shapes.common(self.variables, coordinates)
        at = dict(zip(self.variables, coordinates, strict=True))
        found = value(self.expression, at, Torch(coordinates[0]))
        if torch.is_tensor(found):
            return found.expand(shape)
        return coordinates[0].new_full(shape, float(found))

    def rescaled(self, sharpness) -> Landscape:
        r"""The sharper landscape :math:`L(\sqrt{k}\,\theta)`.

        Args:
            sharpness: k. Every barrier stays, every Hessian eigenvalue is multiplied by k, and the
                box shrinks with the landscape.

        Returns:
            The landscape.

        Raises:
            ValueError: ``sharpness`` is not positive.
        """
        sharpness = _checks.kept("sharpness", sharpness, above=0, remedy="k = 1 changes nothing")
        root = sp.sqrt(sp.sympify(sharpness))
        scaled = self.expression.subs({v: root * v for v in self.variables}, simultaneous=True)
        box = tuple((a / float(root), b / float(root)) for a, b in self.box)
        return Landscape(scaled, self.variables, name=f"{self.name}, k = {sharpness}", box=box)

    def evaluate(self, expressions, *coordinates) -> np.ndarray:
        """Any SymPy expressions in the variables, at points.

        Args:
            expressions: a tuple of m SymPy expressions.
            coordinates: as for :meth:`value`.

        Returns:
            Shape (..., m), float64.

        Raises:
            ValueError: not one coordinate per variable, a coordinate is no finite number, or
                coordinates whose shapes do not fit.
        """
        self._check_count(coordinates)
        remedy = f"a place of {self.name} is made of numbers"
        arrays = [
            _checks.array(str(v), c, remedy=remedy)
            for v, c in zip(self.variables, coordinates, strict=True)
        ]
        arrays = _shapes.together(self.variables, arrays)
        with np.errstate(all="ignore"):
            values = numpy_function(tuple(expressions), self.variables)(*arrays)
        return np.stack([np.broadcast_to(v, arrays[0].shape) for v in values], -1).astype(float)

    def exit_condition(self, exit, also=()):
        """What ``exit`` means here, as a SymPy condition.

        Args:
            exit: a SymPy relational in the variables, And/Or of such, or a criterion of
                :mod:`ddt_utils.criterion`.
            also: names of other symbols that are known where the condition is used.

        Returns:
            The condition that holds outside.

        Raises:
            ValueError: it is none of these, or has other symbols.
        """
        condition = exit.condition(self) if hasattr(exit, "condition") else exit
        if not isinstance(condition, (sp.core.relational.Relational, sp.And, sp.Or)):
            raise ValueError(
                f"exit must be a SymPy relational in {self.variables} or a criterion, got "
                f"{exit!r}; for example x > 1 with (x,) = landscape.variables"
            )
        others = condition.free_symbols - set(self.variables)
        unknown = {symbol for symbol in others if symbol.name not in also}
        if unknown:
            named = f" and {', '.join(also)}" if also else ""
            raise ValueError(
                f"exit may use only the variables {self.variables}{named}, got also {unknown}; "
                "take the symbols from landscape.variables"
            )
        return condition

    def _check_count(self, coordinates):
        if len(coordinates) != self.dimension:
            raise ValueError(
                f"{self.name} takes one coordinate per variable, {self.dimension} in all, "
                f"got {len(coordinates)}; write value(x, y), not value(points)"
            )

    def _require_line(self, what, instead):
        if self.dimension != 1:
            raise ValueError(
                f"{what} needs one variable, {self.name} has {self.dimension}; use {instead}"
            )


def _checked_box(box, dimension):
    try:
        pairs = tuple((_checks.number("low", a), _checks.number("high", b)) for a, b in box)
    except (TypeError, ValueError):
        pairs = ()
    if len(pairs) != dimension or not all(a < b for a, b in pairs):
        raise ValueError(
            f"box must hold one finite (low, high) with low < high for each of the "
            f"{dimension} variables, got {box!r}; in one dimension write ((low, high),)"
        )
    return pairs


@lru_cache(maxsize=512)
def _gradient(expression, variables):
    return sp.ImmutableMatrix([derivative(expression, v) for v in variables])


@lru_cache(maxsize=512)
def _hessian(expression, variables):
    slopes = _gradient(expression, variables)
    n = len(variables)
    upper = {(i, j): derivative(slopes[i], variables[j]) for j in range(n) for i in range(j + 1)}
    return sp.ImmutableMatrix(n, n, lambda i, j: upper[min(i, j), max(i, j)])
