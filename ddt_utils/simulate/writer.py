"""SymPy expressions as single-precision statements, one operation per line.

Every a·b + c becomes an explicit fused multiply–add, every other product a ``mul`` that no compiler
fuses with a later sum, every choice a ``select`` without a branch. Whatever is constant during a
run is worked out here in double precision and becomes a parameter of the generated function: a
sweep over curvatures, diffusions, steps or thresholds compiles once.
"""

from __future__ import annotations

import sympy as sp

#: Functions of one argument that the generated module knows under the same name.
FUNCTIONS = {sp.exp: "exp", sp.sin: "sin", sp.cos: "cos", sp.tanh: "tanh"}


class Writer:
    """Collects the statements that work out expressions, and the parameters that they need.

    Args:
        names: the variable of the generated code that holds each symbol.
        constants: the value of each symbol that does not change during a run.
    """

    def __init__(self, names: dict, constants: dict | None = None):
        """Nothing is written yet."""
        self.names, self.constants = dict(names), dict(constants or {})
        self.lines, self.parameters, self._known = [], [], {}

    def line(self, text: str) -> str:
        """Keep the value of a text.

        Args:
            text: an expression of the generated code.

        Returns:
            The variable that holds it; the same text is worked out once.
        """
        if text not in self._known:
            self._known[text] = f"v{len(self._known)}"
            self.lines.append(f"{self._known[text]} = {text}")
        return self._known[text]

    def number(self, value) -> str:
        """Keep a constant.

        Args:
            value: a SymPy expression of constants, or a number.

        Returns:
            The parameter that holds it.
        """
        value = float(sp.sympify(value).xreplace(self.constants))
        if value not in self.parameters:
            self.parameters.append(value)
        return f"p{self.parameters.index(value)}"

    def turn_to(self, names: dict) -> list[str]:
        """Hand over the statements so far and go on with other values of the symbols.

        What was worked out from the old values is forgotten: its names stay taken.

        Args:
            names: the variable of the generated code that holds each symbol from now on.

        Returns:
            The statements, one a line.
        """
        lines, self.lines = self.lines, []
        self._known = {f"taken {i}": name for i, name in enumerate(self._known.values())}
        self.names = dict(names)
        return lines

    def write(self, e: sp.Expr) -> str:
        """Statements for an expression.

        Args:
            e: the expression.

        Returns:
            The variable with its value.

        Raises:
            ValueError: the expression uses a function that has no generated form.
        """
        if e.free_symbols <= self.constants.keys():
            return self.number(e)
        if e.is_Symbol:
            if e not in self.names:
                raise ValueError(
                    "a step may use its state, its random numbers, its `where` and dt, got also "
                    f"{e}; list it in the Step"
                )
            return self.names[e]
        if e.is_Add:
            return self._sum(e)
        if e.is_Mul:
            return self._product(e)
        if e.is_Pow:
            if e.exp.is_Float and (2 * float(e.exp)).is_integer():  # x**2.0 is meant as x**2
                return self.write(e.base ** sp.Rational(int(2 * e.exp), 2))
            return self._power(e)
        if isinstance(e, sp.Piecewise):
            return self._pieces(e)
        if isinstance(e, (sp.Max, sp.Min)):
            sign = ">" if isinstance(e, sp.Max) else "<"
            result, *rest = (self.write(a) for a in e.args)
            for other in rest:
                result = self.line(f"select({result} {sign} {other}, {result}, {other})")
            return result
        if e.func in FUNCTIONS:
            return self.line(f"{FUNCTIONS[e.func]}({self.write(e.args[0])})")
        if isinstance(e, sp.log):
            a = self.write(e.args[0])
            return self.line(f"select({a} > zero, log({a}), nan)")
        if isinstance(e, sp.Abs):
            a = self.write(e.args[0])
            return self.line(f"select({a} < zero, -{a}, {a})")
        if isinstance(e, sp.sign):
            a = self.write(e.args[0])
            return self.line(f"select({a} < zero, -one, select({a} > zero, one, zero))")
        if isinstance(e, sp.Heaviside):  # the derivative of Max and Min
            a = self.write(e.args[0])
            return self.line(f"select({a} < zero, zero, select({a} > zero, one, half))")
        raise ValueError(
            f"the compiled step has no form for {e.func.__name__}, in {e}; it knows sums, "
            "products, powers, Piecewise, Abs, sign, Max, Min, exp, log, sin, cos and tanh"
        )

    def condition(self, c) -> str:
        """A boolean expression of the generated code for a SymPy condition.

        Args:
            c: the condition.

        Returns:
            Its text.

        Raises:
            ValueError: it is no combination of <, <=, >, >= by And and Or.
        """
        if c in (sp.true, sp.false):
            return "(one > zero)" if c is sp.true else "(one < zero)"
        if isinstance(c, (sp.And, sp.Or)):
            sign = " & " if isinstance(c, sp.And) else " | "
            parts = sorted(c.args, key=sp.default_sort_key)
            return "(" + sign.join(self.condition(a) for a in parts) + ")"
        if isinstance(c, (sp.Gt, sp.Ge, sp.Lt, sp.Le)):
            return f"({self.write(c.lhs)} {c.rel_op} {self.write(c.rhs)})"
        raise ValueError(f"a condition combines <, <=, >, >= with And and Or, got {c}")

    def _apart(self, e):
        """A product as (its constant factors, the rest)."""
        return e.as_independent(*(e.free_symbols - self.constants.keys()), as_Add=False)

    def _sum(self, e):
        terms = sorted(e.args, key=lambda t: (t.is_Mul, sp.default_sort_key(t)))
        constant = sum(t for t in terms if t.free_symbols <= self.constants.keys())
        terms = [t for t in terms if not t.free_symbols <= self.constants.keys()]
        if constant != 0:
            result = self.number(constant)
        else:
            result = self.write(terms.pop(0))
        for term in terms:
            factor, rest = self._apart(term)
            if factor != 1:
                result = self.line(f"fma({self.number(factor)}, {self.write(rest)}, {result})")
            elif term.is_Mul or term.is_Pow and term.exp.is_Integer and term.exp > 1:
                if term.is_Mul:
                    first, rest = term.as_two_terms()
                else:
                    first, rest = term.base ** (term.exp // 2), term.base ** ((term.exp + 1) // 2)
                result = self.line(f"fma({self.write(first)}, {self.write(rest)}, {result})")
            else:
                result = self.line(f"{result} + {self.write(term)}")
        return result

    def _product(self, e):
        constant, rest = self._apart(e)
        factors = sp.Mul.make_args(rest)
        above = [a for a in factors if not (a.is_Pow and a.exp.is_negative)]
        below = [1 / a for a in factors if a.is_Pow and a.exp.is_negative]
        if constant != 1 or not above:
            result = self.number(constant)
        else:
            result = self.write(above.pop(0))
        for factor in above:
            result = self.line(f"mul({result}, {self.write(factor)})")
        for factor in below:
            result = self.line(f"div({result}, {self.write(factor)})")
        return result

    def _power(self, e):
        base = self.write(e.base)
        if not (2 * e.exp).is_Integer:  # a real power, of a positive number only
            logarithm = self.line(f"select({base} > zero, log({base}), nan)")
            power = self.line(f"exp(mul({self.write(e.exp)}, {logarithm}))")
            if not (e.exp.is_number and e.exp.is_positive):
                return power
            return self.line(f"select({base} == zero, zero, {power})")
        whole = int(sp.floor(abs(e.exp)))
        result = self.line(f"root({base})") if abs(e.exp) != whole else None
        while whole:
            if whole & 1:
                result = base if result is None else self.line(f"mul({result}, {base})")
            whole >>= 1
            if whole:
                base = self.line(f"mul({base}, {base})")
        return self.line(f"div(one, {result})") if e.exp.is_negative else result

    def _pieces(self, e):
        *first, (default, always) = e.args
        if always is not sp.true:
            raise ValueError(f"a Piecewise must end in (expression, True), got {e}")
        result = self.write(default)
        for value, condition in reversed(first):
            result = self.line(
                f"select({self.condition(condition)}, {self.write(value)}, {result})"
            )
        return result
