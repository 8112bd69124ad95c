r"""The compiled step, generated from the SymPy expressions of a landscape, a noise and an exit.

One Euler–Maruyama step in the Ito sense,
:math:`\theta \leftarrow \theta - \nabla L\,dt + \sqrt{2D\,dt}\,\xi`, is written as numba source for
64 walkers side by side, so that the compiler turns it into vector instructions. A walker that has
reached its exit is replaced by the next one at the next of the regular inspections.

Two decisions make the results the same bits on every machine. Every a·b + c is an explicit fused
multiply–add, and no mathematical library is called: logarithm, exponential, sine and cosine are the
polynomials below. And every walker has its own random stream, xoshiro128+ (Blackman and Vigna,
2018) seeded by mixing (seed, walker), so nothing depends on threads or on how the work is cut.

Numbers in the expressions become parameters of the generated function. A sweep over curvatures,
diffusions, steps or thresholds therefore compiles once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import sympy as sp

LANES = 64  # walkers side by side
CHUNK = 32  # steps between two inspections
BARRIER_SHIFT = 0.5825971579390106  # −ζ(1/2)/√(2π): Broadie, Glasserman and Kou (1997)


class _Writer:
    """Writes SymPy expressions as single-precision statements, one operation per line."""

    def __init__(self, variables):
        self.names = {v: f"x{i}" for i, v in enumerate(variables)}
        self.lines, self.parameters, self.known = [], [], {}

    def line(self, text):
        if text not in self.known:
            self.known[text] = f"v{len(self.known)}"
            self.lines.append(f"{self.known[text]} = {text}")
        return self.known[text]

    def number(self, value):
        value = float(value)
        if value not in self.parameters:
            self.parameters.append(value)
        return f"p{self.parameters.index(value)}"

    def write(self, e):
        if e.is_Number or e.is_NumberSymbol:
            return self.number(e)
        if e.is_Symbol:
            return self.names[e]
        if e.is_Add:
            return self.sum(e)
        if e.is_Mul:
            return self.product(e)
        if e.is_Pow:
            return self.power(e)
        if isinstance(e, sp.Piecewise):
            return self.pieces(e)
        if isinstance(e, (sp.Max, sp.Min)):
            sign = ">" if isinstance(e, sp.Max) else "<"
            result, *rest = (self.write(a) for a in e.args)
            for other in rest:
                result = self.line(f"select({result} {sign} {other}, {result}, {other})")
            return result
        if isinstance(e, sp.log):
            a = self.write(e.args[0])
            return self.line(f"select({a} > zero, log({a}), nan)")
        name = {sp.exp: "exp", sp.sin: "sin", sp.cos: "cos", sp.tanh: "tanh"}
        if e.func in name:
            return self.line(f"{name[e.func]}({self.write(e.args[0])})")
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

    def sum(self, e):
        terms = sorted(e.args, key=lambda t: (not t.is_Number, t.is_Mul, t.sort_key()))
        result = self.write(terms[0])
        for term in terms[1:]:
            if term.is_Mul:
                first, rest = term.as_two_terms()
                result = self.line(f"fma({self.write(first)}, {self.write(rest)}, {result})")
            else:
                result = self.line(f"{result} + {self.write(term)}")
        return result

    def product(self, e):
        above = [a for a in e.args if not (a.is_Pow and a.exp.is_negative)]
        below = [1 / a for a in e.args if a.is_Pow and a.exp.is_negative]
        result = self.write(above[0]) if above else self.number(1)
        for factor in above[1:]:
            result = self.line(f"{result} * {self.write(factor)}")
        for factor in below:
            result = self.line(f"{result} / {self.write(factor)}")
        return result

    def power(self, e):
        if not (2 * e.exp).is_Integer:
            raise ValueError(f"the compiled step knows powers n and n/2 only, got {e}")
        base, whole = self.write(e.base), int(sp.floor(abs(e.exp)))
        result = self.line(f"sqrt({base})") if abs(e.exp) != whole else None
        while whole:
            if whole & 1:
                result = base if result is None else self.line(f"{result} * {base}")
            whole >>= 1
            if whole:
                base = self.line(f"{base} * {base}")
        return self.line(f"one / {result}") if e.exp.is_negative else result

    def pieces(self, e):
        *first, (default, always) = e.args
        if always is not sp.true:
            raise ValueError(f"a Piecewise must end in (expression, True), got {e}")
        result = self.write(default)
        for value, condition in reversed(first):
            result = self.line(
                f"select({self.condition(condition)}, {self.write(value)}, {result})"
            )
        return result

    def condition(self, c):
        if c in (sp.true, sp.false):
            return "(one > zero)" if c is sp.true else "(one < zero)"
        if isinstance(c, (sp.And, sp.Or)):
            return (
                "("
                + (" & " if isinstance(c, sp.And) else " | ").join(
                    self.condition(a) for a in c.args
                )
                + ")"
            )
        if isinstance(c, (sp.Gt, sp.Ge, sp.Lt, sp.Le)):
            return f"({self.write(c.lhs)} {c.rel_op} {self.write(c.rhs)})"
        raise ValueError(f"a condition combines <, <=, >, >= with And and Or, got {c}")


@dataclass(frozen=True)
class Kernel:
    """A compiled problem.

    Attributes:
        module: the generated module with ``advance`` and ``evolve``.
        parameters: the numbers that it takes, in order.
        source: the generated source.
        dimension: n.
    """

    module: object
    parameters: tuple[float, ...]
    source: str
    dimension: int


def build(landscape, noise, *, exit_condition, step, bound, barrier_shift) -> Kernel:
    r"""Generate and compile the step of one problem.

    Args:
        landscape: the loss.
        noise: the noise model.
        exit_condition: a SymPy relational, or And/Or of relationals, in the landscape's variables.
        step: dt.
        bound: a walker with a coordinate beyond ±bound has diverged.
        barrier_shift: move every interface g = 0 of the exit towards the walker by
            :math:`0.5826\sqrt{2\,dt\,\nabla g^\top D \nabla g}`.

    Raises:
        ValueError: an expression has no compiled form.
    """
    diffusion = noise.diffusion_matrix(landscape)
    if barrier_shift:
        exit_condition = shifted(exit_condition, landscape.variables, diffusion, step)
    writer = _Writer(landscape.variables)
    n = landscape.dimension
    moved = []
    for i, slope in enumerate(landscape.gradient_expression):
        slope = sp.horner(slope) if n == 1 and slope.is_polynomial() else slope
        moved.append(
            writer.line(f"fma({writer.number(-float(step))}, {writer.write(slope)}, x{i})")
        )
    for i, row in enumerate(_amplitudes(diffusion, step)):
        for j, amplitude in enumerate(row):
            if amplitude != 0:
                moved[i] = writer.line(f"fma({writer.write(amplitude)}, z{j}, {moved[i]})")
    step_lines, writer.lines = writer.lines, []
    # the exit is asked of the new state, so nothing computed from the old one may be reused
    writer.known = {f"new{i}": name for i, name in enumerate(writer.known.values())}
    writer.names = {v: f"n{i}" for i, v in enumerate(landscape.variables)}
    finite = " & ".join(
        f"(n{i} < {writer.number(bound)}) & (n{i} > {writer.number(-bound)})" for i in range(n)
    )
    reached = writer.condition(exit_condition)
    source = _module(n, moved, step_lines, writer.lines, reached, finite, len(writer.parameters))
    return Kernel(_load(source), tuple(writer.parameters), source, n)


def shifted(condition, variables, diffusion, step):
    """The exit condition with every interface moved towards the walker; see :func:`build`."""
    if isinstance(condition, (sp.And, sp.Or)):
        return condition.func(*(shifted(c, variables, diffusion, step) for c in condition.args))
    if not isinstance(condition, (sp.Gt, sp.Ge, sp.Lt, sp.Le)):
        return condition
    g = condition.gts - condition.lts
    normal = sp.Matrix([sp.diff(g, v) for v in variables])
    speed = sp.simplify((normal.T * diffusion * normal)[0])
    if speed.is_number:
        speed = speed.evalf()
    return g + BARRIER_SHIFT * sp.sqrt(2 * sp.Float(step) * speed) > 0


def _amplitudes(diffusion, step):
    """The factor of 2 D dt, row by row: Cholesky for a constant matrix, roots for a diagonal."""
    n = diffusion.shape[0]
    if not diffusion.is_diagonal():
        import numpy as np

        factor = np.linalg.cholesky(2 * float(step) * np.array(diffusion.tolist(), dtype=float))
        return [[sp.Float(factor[i, j]) if factor[i, j] else 0 for j in range(n)] for i in range(n)]
    rows = [[0] * n for _ in range(n)]
    for i in range(n):
        factor, rest = diffusion[i, i].as_independent(*diffusion.free_symbols, as_Add=False)
        if not diffusion[i, i].free_symbols:
            factor, rest = diffusion[i, i], 1
        elif not factor.is_positive:
            factor, rest = 1, diffusion[i, i]
        rows[i][i] = sp.sqrt(2 * float(step) * factor).evalf() * sp.sqrt(rest)
    return rows


def _module(n, moved, step_lines, exit_lines, reached, finite, count):
    lanes = range(n)
    spare = n % 2
    words = [f"w{word}[l]" for word in "abcd"]
    state = [f"s{i}[l]" for i in range(n + 2)]  # coordinates, spare normal, exit
    twin = [f"t{i}[l]" for i in range(n + 2)]
    load = [f"{word} = {place}" for word, place in zip("abcd", words, strict=True)]
    save = [f"{place} = {word}" for word, place in zip("abcd", words, strict=True)]
    kept = [(place, f"lane_words[{i}, l]") for i, place in enumerate(words)]
    kept += [(place, f"lane_floats[{i}, l]") for i, place in enumerate(state)]

    def normals(first):
        """Statements that draw n normals; an odd dimension shares one pair between two steps."""
        lines, drawn = [], 0
        if spare and not first:
            lines, drawn = [f"z0 = {state[n]}"], 1
        while drawn < n:
            lines += ["u, a, b, c, d = draw(a, b, c, d)", "w, a, b, c, d = draw(a, b, c, d)"]
            if drawn + 1 < n:
                lines.append(f"z{drawn}, z{drawn + 1} = normal_pair(u, w)")
            else:
                lines += [f"z{drawn}, other = normal_pair(u, w)", f"{state[n]} = other"]
            drawn += 2
        return lines

    def lane(first, source):
        body = load + [f"x{i} = {source[i]}" for i in lanes] + normals(first) + step_lines
        return body + [f"n{i} = {m}" for i, m in enumerate(moved)]

    def absorbed(first):
        # from s to t and back: writing in place becomes masked stores, slow on some processors
        source, target = (state, twin) if first else (twin, state)
        body = lane(first, source) + exit_lines
        body += [
            f"when = {source[n + 1]}",
            "alive = when == never",
            f"done = alive & ({reached} | ~({finite}))",
            f"{target[n + 1]} = select(done, tick, when)",
        ]
        return body + [f"{target[i]} = select(alive, n{i}, x{i})" for i in lanes] + save

    def free(first):
        return lane(first, state) + [f"{state[i]} = n{i}" for i in lanes] + save

    def loop(body, indent):
        pad = " " * indent
        return f"{pad}for l in range(LANES):\n" + "\n".join(f"{pad}    {t}" for t in body)

    fields = {
        "PARAMETERS": "\n".join(f"    p{i} = parameters[{i}]" for i in range(count)),
        "LANES": "\n".join(
            [f"    {w[:-3]} = word_lanes()" for w in words]
            + [f"    {s[:-3]} = float_lanes()" for s in state + twin]
        ),
        "ENTER": "\n".join(f"        {here} = {there}" for here, there in kept),
        "LEAVE": "\n".join(f"        {there} = {here}" for here, there in kept),
        "START": "\n".join(f"                {state[i]} = start[{i}]" for i in lanes),
        "BEGIN": "\n".join(f"            {state[i]} = start[{i}]" for i in lanes),
        "RECORD": "\n".join(f"                states[w, {i}] = {state[i]}" for i in lanes),
        "KEEP": "\n".join(f"                states[t, w, {i}] = {state[i]}" for i in lanes),
        "FINITE": " and ".join(f"abs({state[i]}) < bound" for i in lanes),
        "ABSORB_A": loop(absorbed(True), 12),
        "ABSORB_B": loop(absorbed(False), 12),
        "FREE_A": loop(free(True), 16),
        "FREE_B": loop(free(False), 20),
    }
    fields["WHEN"] = state[n + 1]
    text = (Path(__file__).parent / "kernel_template.txt").read_text()
    for key, value in fields.items():
        text = text.replace(f"#{key}#", value.rstrip())
    return text


@lru_cache(maxsize=256)
def _load(source):
    """Import the source from a content-hashed module, so that a second process compiles nothing."""
    name = "ddt_kernel_" + hashlib.sha256(source.encode()).hexdigest()[:20]
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ddt_utils"
    folder = Path(os.environ.get("DDT_UTILS_CACHE", default))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.py"
        if not path.exists():
            handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
            with os.fdopen(handle, "w") as stream:
                stream.write(source)
            os.replace(temporary, path)  # atomic: two processes may race
    except OSError:  # a read-only home: compile in a folder of this process
        folder = Path(tempfile.mkdtemp(prefix="ddt_utils_"))
        path = folder / f"{name}.py"
        path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
