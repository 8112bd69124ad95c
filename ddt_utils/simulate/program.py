r"""The source of a compiled problem: one step, the exit, and the loops of the CPU or of CUDA.

A problem becomes one self-contained module: the arithmetic of ``arithmetic.txt``, the loops of
``cpu.txt`` or ``cuda.txt``, and in them the statements that :class:`~.writer.Writer` made of the
step. Both targets run the same statements; ``cache`` keeps what was compiled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import sympy as sp

from ddt_utils.simulate import draws
from ddt_utils.simulate.cache import load
from ddt_utils.simulate.step import CLOCK, Step
from ddt_utils.simulate.writer import Writer

LANES = 64  # walkers side by side on a CPU
CHUNK = 32  # steps between two inspections; an even number
BARRIER_SHIFT = 0.5825971579390106  # −ζ(1/2)/√(2π): Broadie, Glasserman and Kou (1997)
DT = sp.Symbol("dt", positive=True)

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Program:
    """A compiled problem.

    Attributes:
        source: the generated source.
        parameters: the numbers that it takes, in order.
        statements: those of the source that move a walker, from its state ``x0`` … and its random
            numbers to the new state ``n0`` …
        moves: the variable in ``statements`` that holds what is added to each coordinate, or None
            where the rule gives the new value and not a sum.
    """

    source: str
    parameters: tuple[float, ...]
    statements: str
    moves: tuple[str | None, ...]

    @property
    def module(self):
        """The compiled module with the loops."""
        return load(self.source)


def write(
    step: Step,
    *,
    dt: float,
    bound: float,
    dimension: int,
    exit,
    compensated: bool = False,
    target: str = "cpu",
) -> Program:
    """Generate the source of one problem.

    What a step adds to a coordinate is worked out as a whole and added once, so that a small
    drift is not rounded away beside a large coordinate before the noise is there.

    Args:
        step: the step of a walker.
        dt: the value of the symbol ``dt``.
        bound: a walker farther from the origin has diverged, unless the exit holds there.
        dimension: how many of the state variables are coordinates.
        exit: a SymPy condition in the symbols of the state.
        compensated: carry what rounding took from each coordinate to the next step (Kahan 1965);
            these remainders follow the state, one for each coordinate.
        target: ``"cpu"`` or ``"cuda"``.

    Returns:
        The program; nothing is compiled yet.

    Raises:
        ValueError: an expression has no generated form, or a minibatch is too large.
    """
    kept = carrying(step, dimension, compensated)
    size = len(step.state) + len(kept)
    names = {symbol: f"x{i}" for i, symbol in enumerate(step.state)}
    names |= {symbol: f"z{i}" for i, symbol in enumerate(step.normals)}
    names |= {symbol: f"u{i}" for i, symbol in enumerate(step.uniforms)}
    if step.batch:
        names |= {symbol: f"m{i}" for i, symbol in enumerate(step.batch.counts)}
    writer = Writer(names, {DT: sp.Float(dt)})
    for symbol, expression in step.where:
        writer.names[symbol] = writer.write(expression)
    moved, moves = _moved(writer, step.state, step.update, kept, dimension)
    moving = writer.turn_to({symbol: f"n{i}" for i, symbol in enumerate(step.state)})
    moving += [f"n{i} = {name}" for i, name in enumerate(moved)]
    reach = ["reach = mul(n0, n0)"]
    reach += [f"reach = fma(n{i}, n{i}, reach)" for i in range(1, dimension)]
    reach += [f"finite = reach < {writer.number(bound**2)}"]
    reached = writer.condition(exit)
    looking = writer.turn_to({})
    starting, begins = _start(writer, step, kept, dimension)
    spare = len(step.normals) % 2 == 1
    other = draws.uniforms(len(step.uniforms))
    other += draws.minibatch(step.batch, writer.number) if step.batch else []
    used = {f"n{i}": i for i, s in enumerate(step.state) if i < dimension or s in exit.free_symbols}
    parts = {
        "used": used,
        "parameters": [f"p{i} = parameters[{i}]" for i in range(len(writer.parameters))],
        "first draws": draws.normals(len(step.normals), spare, fresh=True) + other,
        "second draws": draws.normals(len(step.normals), spare, fresh=False) + other,
        "move": moving,
        "arrived": [*looking, *reach[:-1], f"there = {reached} & (reach < infinity)"],
        "look": [*looking, *reach, f"done = {reached} | ~finite"],
        "start": starting,
        "begins": begins,
    }
    assemble = {"cpu": _cpu, "cuda": _cuda}[target]
    fields = assemble(parts, size, spare, dimension)
    fields |= {"SIZES": [f"LANES, CHUNK = {LANES}, {CHUNK}"], "PARAMETERS": parts["parameters"]}
    text = (_HERE / f"{target}.txt").read_text(encoding="utf-8")
    arithmetic = (_HERE / "arithmetic.txt").read_text(encoding="utf-8")
    source = _filled(text, fields | {"ARITHMETIC": arithmetic.splitlines()})
    return Program(source, tuple(writer.parameters), "\n".join(moving), tuple(moves))


def carrying(step: Step, dimension: int, compensated: bool) -> list[int]:
    """Which variables of the state carry what rounding took from them, in the order of these.

    Args:
        step: the step, complete.
        dimension: how many of the state variables are coordinates.
        compensated: do the coordinates?

    Returns:
        The places in the state, coordinates if they do and a clock if there is one.
    """
    return [*range(dimension * compensated), *(i for i, s in enumerate(step.state) if s == CLOCK)]


def _moved(writer, state, values, kept, dimension):
    """Statements for new values of the state; returns its variables, and those of the moves."""
    rest = {i: f"x{len(state) + k}" for k, i in enumerate(kept)}  # lost when i was last added to
    moved, moves, lost = [], [], dict(rest)
    for i, (x, e) in enumerate(zip(state, values, strict=True)):
        name = f"x{i}"
        if not (e.is_Add and x in e.args and (i < dimension or i in kept)):
            moved.append(writer.write(e))
            moves.append(None if e != x else "zero")
            lost |= {i: "zero"} if i in kept and e != x else {}
            continue
        moves.append(writer.write(e - x))
        whole = writer.line(f"{moves[i]} + {rest[i]}") if i in kept else moves[i]
        moved.append(writer.line(f"{name} + {whole}"))
        if i in kept:  # exact where the value is larger than the move (Dekker 1971)
            taken = writer.line(f"{moved[i]} - {name}")
            lost[i] = writer.line(f"{whole} - {taken}")
    return moved + [lost[i] for i in kept], moves[:dimension]


def _start(writer, step, kept, dimension):
    """Statements that draw where a walker begins, none without a law; and what holds it then."""
    first = step.start
    if first is None:
        return [], []
    names = {symbol: f"x{i}" for i, symbol in enumerate(step.state)}
    names |= {symbol: f"z{i}" for i, symbol in enumerate(first.normals)}
    names |= {symbol: f"u{i}" for i, symbol in enumerate(first.uniforms)}
    writer.turn_to(names)
    law = dict(first.values)
    begins, _ = _moved(writer, step.state, [law.get(s, s) for s in step.state], kept, dimension)
    lines = draws.normals(len(first.normals)) + draws.uniforms(len(first.uniforms))
    return lines + writer.turn_to({}), begins


def shifted(condition, variables, diffusion):
    r"""The exit condition with every interface moved towards the walker.

    g > 0 becomes :math:`g + 0.5826\sqrt{2\,dt\,\nabla g^\top D \nabla g} > 0`.

    Args:
        condition: a SymPy condition.
        variables: the coordinates.
        diffusion: D, a SymPy matrix in them.

    Returns:
        The condition with the symbol ``dt``.
    """
    if isinstance(condition, (sp.And, sp.Or)):
        return condition.func(*(shifted(c, variables, diffusion) for c in condition.args))
    if not isinstance(condition, (sp.Gt, sp.Ge, sp.Lt, sp.Le)):
        return condition
    g = condition.gts - condition.lts
    normal = sp.Matrix([sp.diff(g, v) for v in variables])
    speed = (normal.T * diffusion * normal)[0]
    if sp.expand(speed).is_number:
        speed = sp.expand(speed).evalf()
    return g + BARRIER_SHIFT * sp.sqrt(2 * DT * speed) > 0


def _cpu(parts, size, spare, dimension):
    """The fields of ``cpu.txt``: a walker lives in lane ``l`` of small arrays."""
    state, twin = ([f"{name}{i}[l]" for i in range(size)] for name in "st")
    words = [f"w{word}[l]" for word in "abcd"]
    enter = [f"{word} = w{word}[l]" for word in "abcd"]
    leave = [f"w{word}[l] = {word}" for word in "abcd"]

    def free(draws):
        carried = ["spare = spare_[l]"] if spare and draws == "second draws" else []
        carry = ["spare_[l] = spare"] if spare and draws == "first draws" else []
        lines = [*enter, *(f"x{i} = {state[i]}" for i in range(size)), *carried, *parts[draws]]
        return lines + carry + parts["move"] + [f"{state[i]} = n{i}" for i in range(size)] + leave

    # an odd number of normals pairs two steps; a small state goes less often through memory
    stride = 2 if spare or size <= 4 else 1

    def absorbed(source, target):
        # from s to t and back: writing in place becomes masked stores, slow on some processors
        lines = [*enter, *(f"x{i} = {source[i]}" for i in range(size))]
        lines += ["at = when[l]" if source is state else "at = then[l]"]
        for turn in range(stride):
            draws = "second draws" if turn else "first draws"
            tick = "tick + one" if turn else "tick"
            lines += parts[draws] + parts["move"] + parts["look"]
            lines += ["alive = at == never", f"at = select(alive & done, {tick}, at)"]
            lines += [f"x{i} = select(alive, n{i}, x{i})" for i in range(size)]
        lines += [f"{target[i]} = x{i}" for i in range(size)]
        return lines + ["then[l] = at" if source is state else "when[l] = at"] + leave

    start = [f"{state[i]} = start[{i}]" for i in range(size)]
    if parts["start"]:
        start = [*enter, *(f"x{i} = start[{i}]" for i in range(size)), *parts["start"], *leave]
        start += [f"{place} = {name}" for place, name in zip(state, parts["begins"], strict=True)]
    record = [f"states[row, w, {i}] = {place}" for i, place in enumerate(state)]
    if size > dimension:  # the rest is recorded only where it is asked for
        rest, record = record[dimension:], record[:dimension]
        record += [f"if states.shape[2] > {dimension}:", *("    " + line for line in rest)]
    arrays = [f"s{i}" for i in range(size)] + [f"t{i}" for i in range(size)]
    arrays += ["when", "then"] + (["spare_"] if spare else [])
    return {
        "LANES": [f"w{word} = word_lanes()" for word in "abcd"]
        + [f"{name} = float_lanes()" for name in arrays],
        "START": start,
        "SEEDS": [", ".join(words) + " = seeds(seed, first + w)"],
        "LOAD": [f"{place} = state[w, {i}]" for i, place in enumerate(state)]
        + [f"{place} = words[w, {i}]" for i, place in enumerate(words)],
        "SAVE": [f"state[w, {i}] = {place}" for i, place in enumerate(state)]
        + [f"words[w, {i}] = {place}" for i, place in enumerate(words)],
        "SAVE_STATE": [f"state[w, {i}] = {place}" for i, place in enumerate(state)],
        "RECORD": record,
        "STRIDE": [f"STRIDE = {stride}  # steps from s to t"],
        "NEW": [f"{name} = {state[i]}" for name, i in parts["used"].items()],
        "ARRIVED": parts["arrived"],
        "THERE": absorbed(state, twin),
        "BACK": absorbed(twin, state),
        "COPY": [f"{state[i]} = {twin[i]}" for i in range(size)] + ["when[l] = then[l]"],
        "FIRST_FREE": free("first draws"),
        "SECOND_FREE": free("second draws"),
    }


def _cuda(parts, size, spare, dimension):
    """The fields of ``cuda.txt``: a walker lives in the registers of a thread."""
    state = [f"x{i}" for i in range(size)]

    def step(draws):
        lines = parts[draws] + parts["move"] + parts["look"]
        lines += ["alive = when == never", "when = select(alive & done, tick, when)"]
        return lines + [f"x{i} = select(alive, n{i}, x{i})" for i in range(size)]

    begin = [f"n{i} = {name}" for i, name in enumerate(parts["begins"])]
    begin += [f"x{i} = n{i}" for i in range(len(parts["begins"]))]
    return {
        "CLEAR": [
            "a = b = c = d = np.uint32(0)",
            *(f"{name} = zero" for name in [*state, *["spare"][:spare]]),
        ],
        "START": [f"x{i} = start[{i}]" for i in range(size)] + parts["start"] + begin,
        "SEEDS": ["a, b, c, d = seeds(seed, first + w)"],
        "LOAD": [f"{name} = state[w, {i}]" for i, name in enumerate(state)]
        + [f"{word} = words[w, {i}]" for i, word in enumerate("abcd")],
        "SAVE": [f"state[w, {i}] = {name}" for i, name in enumerate(state)]
        + [f"words[w, {i}] = {word}" for i, word in enumerate("abcd")],
        "SAVE_STATE": [f"state[w, {i}] = x{i}" for i in range(size)]
        + [f"words[w, {i}] = np.uint32(0)" for i in range(4)],
        "NEW": [f"{name} = x{i}" for name, i in parts["used"].items()],
        "ARRIVED": parts["arrived"],
        "FIRST_STEP": step("first draws"),
        "SECOND_STEP": step("second draws"),
    }


def _filled(template, fields):
    """The template with every line ``#NAME#`` replaced by the statements of that name."""

    def lines(match):
        return "\n".join(match[1] + line if line else "" for line in fields[match[2]])

    return re.sub(r"^( *)#([A-Z_]+)#$", lines, template, flags=re.MULTILINE)
