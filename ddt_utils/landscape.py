r"""A loss landscape, written once as a SymPy expression; everything else is generated from it.

The gradient :math:`\nabla L`, the Hessian :math:`H = \nabla\nabla L`, their NumPy and PyTorch
functions and the LaTeX on a page all come from one expression, so no formula is typed
twice and none can disagree with another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import sympy as sp


@dataclass(frozen=True)
class Landscape:
    r"""A loss :math:`L(\theta)` of n real variables.

    Args:
        expression: the loss, a SymPy expression in ``variables`` and in nothing else; ``Piecewise``
            is allowed.
        variables: the n coordinates, distinct real SymPy symbols.
        name: what the landscape is called in captions and error messages.
        box: one ``(low, high)`` per variable: the region that is plotted, searched and gridded.
            It does not bound the walkers.

    Raises:
        TypeError: a variable is not a real symbol.
        ValueError: the expression has other free symbols, a variable occurs twice, or the box is
            not one finite interval per variable.

    Example:
        >>> import sympy as sp
        >>> x = sp.Symbol("x", real=True)
        >>> well = Landscape(x**4 / 4 - x**2 / 2, (x,), name="quartic", box=((-2, 2),))
        >>> well.gradient_expression[0]
        x**3 - x
        >>> float(well.value(1.0))
        -0.25
    """

    expression: sp.Expr
    variables: tuple[sp.Symbol, ...]
    name: str
    box: tuple[tuple[float, float], ...]

    def __post_init__(self):
        object.__setattr__(self, "expression", sp.sympify(self.expression))
        object.__setattr__(self, "variables", tuple(self.variables))
        object.__setattr__(self, "box", tuple((float(a), float(b)) for a, b in self.box))
        for variable in self.variables:
            if not (isinstance(variable, sp.Symbol) and variable.is_real):
                raise TypeError(
                    f"variables must be real SymPy symbols, got {variable!r}; "
                    'write sympy.Symbol("x", real=True)'
                )
        if not self.variables or len(set(self.variables)) < len(self.variables):
            raise ValueError(
                f"variables must be distinct and at least one, got {self.variables}; "
                "name every coordinate once"
            )
        unknown = self.expression.free_symbols - set(self.variables)
        if unknown:
            raise ValueError(
                f"expression may use only the variables {self.variables}, got also {unknown}; "
                "substitute numbers for parameters with expression.subs"
            )
        if len(self.box) != self.dimension or not all(
            np.isfinite(a) and np.isfinite(b) and a < b for a, b in self.box
        ):
            raise ValueError(
                f"box must hold one finite (low, high) with low < high for each of the "
                f"{self.dimension} variables, got {self.box}"
            )

    @property
    def dimension(self) -> int:
        """The number n of variables."""
        return len(self.variables)

    @property
    def gradient_expression(self) -> sp.ImmutableMatrix:
        r""":math:`\nabla L` as a SymPy matrix of shape (n, 1)."""
        return _gradient(self.expression, self.variables)

    @property
    def hessian_expression(self) -> sp.ImmutableMatrix:
        r""":math:`\nabla\nabla L` as a SymPy matrix of shape (n, n)."""
        return _hessian(self.expression, self.variables)

    def latex(self) -> str:
        """The loss in LaTeX, as it is displayed on a page."""
        return sp.latex(self.expression)

    def value(self, *coordinates) -> np.ndarray:
        """The loss at points given one coordinate array per variable.

        Args:
            coordinates: n arrays or numbers that broadcast to one shape (...).

        Returns:
            Losses, shape (...), float64.

        Raises:
            ValueError: not one coordinate per variable, or a coordinate is NaN.
        """
        return self.evaluate((self.expression,), *coordinates)[..., 0]

    def gradient(self, *coordinates) -> np.ndarray:
        """The gradient at points given as for :meth:`value`; shape (..., n)."""
        return self.evaluate(tuple(self.gradient_expression), *coordinates)

    def hessian(self, *coordinates) -> np.ndarray:
        """The Hessian at points given as for :meth:`value`; shape (..., n, n)."""
        flat = self.evaluate(tuple(self.hessian_expression), *coordinates)
        return flat.reshape(flat.shape[:-1] + (self.dimension, self.dimension))

    def derivative(self, x, order: int = 1) -> np.ndarray:
        """The derivative of that order of a one-dimensional loss; the shape of ``x``.

        Raises:
            ValueError: the landscape has more than one variable.
        """
        if self.dimension != 1:
            raise ValueError(
                f"derivative needs one variable, {self.name} has {self.dimension}; "
                "use gradient and hessian"
            )
        expression = _differentiate(self.expression, self.variables[0], order)
        return self.evaluate((expression,), x)[..., 0]

    def torch_value(self, *coordinates):
        """The loss as a differentiable PyTorch function of n tensors that broadcast to (...).

        Example:
            ``torch.func.grad(landscape.torch_value)(theta)`` is L′(θ) in one dimension.
        """
        import torch

        self._check_count(coordinates)
        shape = torch.broadcast_shapes(*(c.shape for c in coordinates))
        value = _torch_function(self.expression, self.variables)(*coordinates)
        return (
            value.expand(shape)
            if torch.is_tensor(value)
            else coordinates[0].new_full(shape, float(value))
        )

    def rescaled(self, sharpness) -> Landscape:
        r"""The sharper landscape :math:`L(\sqrt{k}\,\theta)` with k = ``sharpness``.

        Every barrier stays, every Hessian eigenvalue is multiplied by k, and the box shrinks with
        the landscape.

        Raises:
            ValueError: ``sharpness`` is not positive.
        """
        if not sharpness > 0:
            raise ValueError(f"sharpness must be positive, got {sharpness}; k = 1 changes nothing")
        root = sp.sqrt(sp.sympify(sharpness))
        scaled = self.expression.subs({v: root * v for v in self.variables}, simultaneous=True)
        box = tuple((a / float(root), b / float(root)) for a, b in self.box)
        return Landscape(scaled, self.variables, name=f"{self.name}, k = {sharpness}", box=box)

    def evaluate(self, expressions, *coordinates) -> np.ndarray:
        """Any SymPy expressions in the variables, at points given as for :meth:`value`.

        Args:
            expressions: a tuple of m SymPy expressions.

        Returns:
            Shape (..., m), float64.
        """
        self._check_count(coordinates)
        arrays = np.broadcast_arrays(*(np.asarray(c, dtype=float) for c in coordinates))
        if any(np.isnan(a).any() for a in arrays):
            raise ValueError(
                f"coordinates must be numbers, got NaN for {self.name}; "
                "mask missing points before evaluating"
            )
        values = _numpy_function(tuple(expressions), self.variables)(*arrays)
        return np.stack([np.broadcast_to(v, arrays[0].shape) for v in values], -1).astype(float)

    def exit_condition(self, exit):
        """What ``exit`` means here, as a SymPy condition.

        Args:
            exit: a SymPy relational in the variables, And/Or of such, or a criterion of
                :mod:`ddt_utils.criterion`.

        Raises:
            ValueError: it is none of these, or has other symbols.
        """
        condition = exit.condition(self) if hasattr(exit, "condition") else exit
        if not isinstance(condition, (sp.core.relational.Relational, sp.And, sp.Or)):
            raise ValueError(
                f"exit must be a SymPy relational in {self.variables} or a criterion, got "
                f"{exit!r}; for example x > 1 with (x,) = landscape.variables"
            )
        unknown = condition.free_symbols - set(self.variables)
        if unknown:
            raise ValueError(
                f"exit may use only the variables {self.variables}, got also {unknown}; "
                "take the symbols from landscape.variables"
            )
        return condition

    def _check_count(self, coordinates):
        if len(coordinates) != self.dimension:
            raise ValueError(
                f"{self.name} takes one coordinate per variable, {self.dimension} in all, "
                f"got {len(coordinates)}; write value(x, y), not value(points)"
            )


@lru_cache(maxsize=512)
def _gradient(expression, variables):
    return sp.ImmutableMatrix([sp.diff(expression, v) for v in variables])


@lru_cache(maxsize=512)
def _hessian(expression, variables):
    return sp.ImmutableMatrix(sp.hessian(expression, variables))


@lru_cache(maxsize=512)
def _differentiate(expression, variable, order):
    return sp.diff(expression, variable, order)


@lru_cache(maxsize=512)
def _numpy_function(expressions, variables):
    return sp.lambdify(variables, expressions, modules="numpy", cse=True)


@lru_cache(maxsize=128)
def _torch_function(expression, variables):
    import torch

    def select(conditions, values, default=float("nan")):
        """numpy.select for tensors, which SymPy's printer emits for a Piecewise."""
        result = default
        for condition, value in reversed(list(zip(conditions, values, strict=True))):
            result = torch.where(torch.as_tensor(condition), value, result)
        return result

    names = {
        "select": select,
        "less": torch.lt,
        "less_equal": torch.le,
        "greater": torch.gt,
        "greater_equal": torch.ge,
        "nan": float("nan"),
        "pi": float(np.pi),
    }
    functions = ("exp", "log", "sin", "cos", "tan", "tanh", "sinh", "cosh", "sqrt", "abs")
    names.update({name: _lift(getattr(torch, name), getattr(np, name)) for name in functions})
    printer = _torch_printer()
    return sp.lambdify(variables, expression, modules=[names], printer=printer)


def _lift(of_tensor, of_number):
    """One function for tensors and for constants; a constant must not become a float32 tensor."""
    import torch

    return lambda v: of_tensor(v) if torch.is_tensor(v) else float(of_number(v))


def _torch_printer():
    from sympy.printing.numpy import NumPyPrinter

    class Printer(NumPyPrinter):
        """SymPy's NumPy printer without module names; the names are PyTorch's."""

        _module = ""

        def _module_format(self, fqn, register=True):
            return super()._module_format(fqn, register).rsplit(".", 1)[-1]

    return Printer(
        {"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True}
    )
