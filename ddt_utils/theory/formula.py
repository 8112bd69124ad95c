"""A formula written once, in SymPy: its LaTeX and its number both come from the one expression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp

from ddt_utils import _checks, _shapes


def symbols(**latex: str) -> tuple[tuple[sp.Symbol, ...], dict[sp.Symbol, str]]:
    """Symbols that are called by their argument in code and by their sign on the page.

    Args:
        **latex: argument name and how it is written in LaTeX.

    Returns:
        The symbols in the order given, and the table from symbol to LaTeX.
    """
    found = {sp.Symbol(name): written for name, written in latex.items()}
    return tuple(found), found


@dataclass(frozen=True, eq=False)
class Formula:
    r"""left = factor · exp(exponent), or left = factor where there is no exponent.

    Args:
        left: what the formula gives, in LaTeX.
        factor: the SymPy expression in front.
        latex_of: how each symbol is written.
        exponent: the SymPy expression in the exponential, zero for none.
    """

    left: str
    factor: sp.Expr
    latex_of: Mapping[sp.Symbol, str]
    exponent: sp.Expr = sp.S.Zero

    @property
    def latex(self) -> str:
        """The formula as it is written."""
        factor = "" if self.factor == 1 else sp.latex(self.factor, symbol_names=self.latex_of)
        if self.exponent == 0:
            return f"{self.left} = {factor}"
        exponent = sp.latex(self.exponent, symbol_names=self.latex_of)
        return rf"{self.left} = {factor} \exp\left({exponent}\right)"

    def value(self, **values):
        """The factor alone, as a number.

        Args:
            **values: a number or an array for every symbol of the factor, by argument name.

        Returns:
            A float, or an array where a value was one.

        Raises:
            ValueError: arrays whose shapes do not fit.
        """
        _shapes.common(values, values.values())
        with np.errstate(all="ignore"):  # what is not finite is refused by who asks
            return self._compiled["factor"](**self._needed(self.factor, values))

    def logarithm(self, **values):
        """The logarithm of factor · exp(exponent), which is a float where the product is none.

        Args:
            **values: a number or an array for every symbol, by argument name, all positive where
                they stand in the factor.

        Returns:
            A float, or an array where a value was one.

        Raises:
            ValueError: arrays whose shapes do not fit.
        """
        _shapes.common(values, values.values())
        with np.errstate(all="ignore"):
            exponent = self._compiled["exponent"](**self._needed(self.exponent, values))
            return self._compiled["log"](**self._needed(self.factor, values)) + exponent

    @cached_property
    def _compiled(self):
        log = sp.expand_log(sp.log(self.factor), force=True)
        forms = {"factor": self.factor, "log": log, "exponent": self.exponent}
        arguments = {"factor": self.factor, "log": self.factor, "exponent": self.exponent}
        return {
            name: sp.lambdify(sorted(arguments[name].free_symbols, key=str), form, "numpy")
            for name, form in forms.items()
        }

    @staticmethod
    def _needed(expression, values):
        return {s.name: values[s.name] for s in expression.free_symbols}


@dataclass(frozen=True)
class Prediction:
    """What a formula says, before anything is measured.

    Args:
        logarithm: ln of the predicted number, or an array where the inputs were arrays; it is a
            float also where the number is too large to be one.
        formula: the formula in LaTeX.
        assumptions: what must hold for it, one sentence each.
        source: where it comes from.

    Example:
        >>> from ddt_utils.theory import kramers_time
        >>> p = kramers_time(
        ...     curvature_minimum=2.0, curvature_saddle=1.0,
        ...     barrier=0.25, diffusion=0.05,
        ... )
        >>> round(float(p), 2)
        659.38
    """

    logarithm: float | np.ndarray
    formula: str
    assumptions: tuple[str, ...]
    source: str

    @property
    def value(self) -> float | np.ndarray:
        """The predicted number, in units of t.

        Raises:
            OverflowError: it is too large, or too small, for a float.
        """
        if np.any(np.abs(self.logarithm) > 700):
            extreme = np.ravel(self.logarithm)[np.argmax(np.abs(self.logarithm))]
            raise OverflowError(
                f"exp({extreme:.4g}) is beyond exp(±700), so the time is no float; "
                "compare logarithms with .logarithm"
            )
        return np.exp(self.logarithm)

    def __float__(self) -> float:
        """The value, where it is one number."""
        if np.ndim(self.logarithm):
            raise ValueError(
                f"one number is wanted, but the prediction holds {np.size(self.logarithm)}; "
                "take .value"
            )
        return float(self.value)


def sizes(**given) -> dict[str, float | np.ndarray]:
    """Check that every argument is positive and finite, number or array.

    One that is not is refused with a ValueError that names it, the value and the remedy.

    Args:
        **given: argument name and its (value, remedy).

    Returns:
        The values by name, as floats or arrays.
    """
    return {name: _positive(name, value, remedy) for name, (value, remedy) in given.items()}


def real(name: str, value, remedy: str):
    """Check that an argument is real and finite, number or array; else a ValueError says which.

    Args:
        name: what it is called.
        value: anything.
        remedy: what to do where it is neither.

    Returns:
        A float or an array.
    """
    if isinstance(value, (list, tuple)) or np.ndim(value):
        return _checks.array(name, value, remedy=remedy)
    return _checks.number(name, value, remedy=remedy)


def depth(name: str, value, remedy: str):
    """The size of a curvature at a saddle, whose sign does not count.

    Args:
        name: what it is called.
        value: number or array, negative or positive; zero and what is no number are refused.
        remedy: what to do where it is neither.

    Returns:
        Its absolute value.
    """
    return _positive(f"|{name}|", np.abs(real(name, value, remedy)), remedy)


def predict(formula: Formula, values: dict, assumptions: tuple, source: str) -> Prediction:
    """What a formula gives for values that were checked.

    Args:
        formula: the formula.
        values: a number or an array for each of its symbols.
        assumptions: what must hold for it.
        source: where it comes from.

    Returns:
        The prediction.

    Raises:
        ValueError: arrays whose shapes do not fit.
        OverflowError: not even the logarithm of the result is a finite float.
    """
    logarithm = formula.logarithm(**values)
    if not np.all(np.isfinite(logarithm)):
        raise OverflowError(
            f"the logarithm of the result must be finite, got {logarithm} for {values}; "
            "choose units in which the numbers are nearer to one"
        )
    return Prediction(logarithm, formula.latex, assumptions, source)


def _positive(name, value, remedy):
    found = real(name, value, remedy)
    if not np.all(found > 0):
        raise ValueError(f"{name} must be positive, got {value}; {remedy}")
    return found
