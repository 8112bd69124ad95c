"""Small random mistakes in the rooms where numbers are made: how many do a room's own tests notice?

    python benchmarks/mutants.py                    every room, and write mutants.json
    python benchmarks/mutants.py noise exact        only these
    python benchmarks/mutants.py noise --mutants 40

A mutant differs from the room in one place: another operator, a comparison turned or closed, a
number changed, a condition negated, min for max, a sign lost. It is made in a copy of package and
tests, and the room's own test files run on it until one fails. Text, annotations, and what only
refuses arguments are left alone. A mutant that lives either shows a gap in the tests or changes
nothing; which of the two it is has to be read. Places are drawn with a fixed seed.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).with_suffix(".json")
ROOMS = {  # room: its files, the tests that should notice
    "noise": (("noise", "_diffusion"), ("noise", "stationary")),
    "theory": (("theory/diffusion", "theory/sgd", "theory/valleys", "theory/formula"), ("theory",)),
    "exact": (("exact", "_panels", "_resting"), ("exact",)),
    "discrete": (("discrete", "_walk"), ("discrete",)),
    "generator": (("generator", "_mesh", "_links", "_operator", "_rates"), ("generator",)),
    "transitions": (("transitions",), ("transitions",)),
    "chains": (("chains", "_landing", "_narrow", "_elimination"), ("chains",)),
    "action": (("action", "_curve", "_drift", "_tilted", "_cumulants"), ("action",)),
    "limits": (("limits",), ("limits",)),
    "escape": (("escape",), ("escape",)),
    "paths": (("critical", "paths", "_search"), ("critical", "paths")),
    "networks": (("networks", "model", "_layers", "losses"), ("networks", "modules")),
    "modules": (("modules", "_module", "_probe", "_own_loss", "_slopes"), ("modules",)),
    "replicas": (
        ("replicas", "updates", "optimisers", "_fleet", "_blocks", "_minibatches"),
        ("replicas", "replica_optimisers"),
    ),
    "streams": (("streams", "_philox"), ("streams", "philox")),
    "curvature": (("curvature",), ("curvature",)),
    "spectrum": (("spectrum",), ("spectrum",)),
    "passes": (("passes", "_following"), ("passes",)),
    "exponents": (("exponents", "_derivatives"), ("exponents", "passes")),
    "leak": (("leak", "_level"), ("leak",)),
    "stability": (("stability",), ("stability",)),
    "flattening": (("flattening",), ("flattening",)),
    "flatness": (("flatness",), ("flatness",)),
    "rules": (("simulate/rules", "simulate/writer"), ("rules", "program", "stationary")),
    "problem": (("simulate/problem", "simulate/precision"), ("precision", "simulate", "run")),
    "statistics": (("simulate/statistics",), ("statistics",)),
    "optimisers": (
        ("simulate/optimisers", "simulate/weights", "simulate/_gradient"),
        ("optimisers",),
    ),
    "drives": (("simulate/drives", "simulate/memory"), ("drives",)),
    "splitting": (
        (
            "simulate/splitting",
            "simulate/rare",
            "simulate/_branching",
            "simulate/_source",
            "simulate/_watch",
        ),
        ("splitting",),
    ),
}
SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.MatMult: ast.Add, ast.Mod: ast.FloorDiv, ast.FloorDiv: ast.Mod,
    ast.Lt: ast.LtE, ast.LtE: ast.Gt, ast.Gt: ast.GtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "maximum": "minimum", "minimum": "maximum", "argmin": "argmax"}
NAMES |= {
    "argmax": "argmin",
    "sin": "cos",
    "cos": "sin",
    "any": "all",
    "all": "any",
    "exp": "expm1",
}


def places(tree: ast.Module) -> list[tuple[ast.AST, str]]:
    """Where a mistake can be made, and which: a node and a word for the change.

    Args:
        tree: of a room's file.

    Returns:
        Nodes in the order of the source; text, annotations, imports and refusals have none.
    """
    found = []

    def visit(node):
        text = isinstance(node, (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr))
        if text or _refuses(node):
            return
        found.extend((node, kind) for kind in _kinds(node))
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    visit(child)

    visit(tree)
    return found


def _refuses(node) -> bool:
    """Does this only look at arguments: a call of ``_checks``, a condition of a refusal?"""
    if isinstance(node, ast.If):
        return isinstance(node.body[-1], ast.Raise)
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_checks.")


def _kinds(node) -> list[str]:
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in SWAPS:
        return ["operator"]
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPS:
        return ["comparison"]
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return ["number"]
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        return ["condition"]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        return ["sign"]
    if isinstance(node, (ast.Name, ast.Attribute)):
        return ["function"] if (getattr(node, "id", None) or node.attr) in NAMES else []
    return []


def mutate(node: ast.AST, kind: str) -> str:
    """Make the mistake in place.

    Args:
        node: of a syntax tree.
        kind: which mistake, as :func:`places` names it.

    Returns:
        The change in a few words.
    """
    before = ast.unparse(node)
    if kind == "operator":
        node.op = SWAPS[type(node.op)]()
    elif kind == "comparison":
        node.ops = [SWAPS[type(node.ops[0])]()]
    elif kind == "number":
        node.value = node.value + 1 if isinstance(node.value, int) else 1.5 * node.value + 0.1
    elif kind == "condition":
        before = ast.unparse(node.test)
        node.test = ast.UnaryOp(op=ast.Not(), operand=node.test)
        return f"{before} -> not"
    elif kind == "sign":
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
        if isinstance(node.op, ast.Not):
            node.operand = ast.UnaryOp(op=ast.Not(), operand=node.operand)
    elif isinstance(node, ast.Name):
        node.id = NAMES[node.id]
    else:
        node.attr = NAMES[node.attr]
    return f"{before} -> {ast.unparse(node)}".replace("\n", " ")[:160]


def drawn(room: str, number: int) -> list[dict]:
    """Mutants of a room, at places drawn with a seed of its own.

    Args:
        room: one of ``ROOMS``.
        number: how many.

    Returns:
        File, line, change and the whole changed source of each.
    """
    every = []
    for file in ROOMS[room][0]:
        tree = ast.parse((ROOT / "ddt_utils" / f"{file}.py").read_text(encoding="utf-8"))
        every += [(file, index) for index in range(len(places(tree)))]
    chosen = random.Random(room).sample(every, min(number, len(every)))
    mutants = []
    for file, index in chosen:
        tree = ast.parse((ROOT / "ddt_utils" / f"{file}.py").read_text(encoding="utf-8"))
        node, kind = places(tree)[index]
        line = node.lineno
        change = mutate(node, kind)
        source = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
        mutants.append(dict(file=f"{file}.py", line=line, change=change, source=source))
    return mutants


def tested(room: str, mutant: dict | None, seconds: float, cache: Path) -> tuple[str, float]:
    """Run a room's tests on a copy.

    Args:
        room: one of ``ROOMS``.
        mutant: what is changed in the copy, or None.
        seconds: after which a test that hangs counts as one that failed.
        cache: where compiled steps are kept between copies.

    Returns:
        ``lives`` if every test passed, else ``caught``, or ``hangs``; and the seconds.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for part in ("ddt_utils", "tests", "tools"):
            ignored = shutil.ignore_patterns("__pycache__", "vendor", "*.ipynb")
            shutil.copytree(ROOT / part, Path(folder) / part, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", folder)
        if mutant:
            (Path(folder) / "ddt_utils" / mutant["file"]).write_text(mutant["source"])
        files = [f"tests/test_{name}.py" for name in ROOMS[room][1]]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
        more = dict(PYTHONPATH=folder, PYTHONDONTWRITEBYTECODE="1", DDT_UTILS_CACHE=str(cache))
        more |= dict(OMP_NUM_THREADS="1", MPLBACKEND="agg")
        try:
            run = subprocess.run(
                command, cwd=folder, env=os.environ | more, capture_output=True, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return "hangs", time.monotonic() - started
    return "caught" if run.returncode else "lives", time.monotonic() - started


def judged(room: str, number: int, cache: Path) -> dict:
    """How many mutants of a room its tests notice.

    Args:
        room: one of ``ROOMS``.
        number: how many are made.
        cache: where compiled steps are kept.

    Returns:
        The number made and caught, and those that live, each by file, line and change.

    Raises:
        RuntimeError: the tests fail without a mutant.
    """
    outcome, seconds = tested(room, None, 1200, cache)
    if outcome != "lives":
        raise RuntimeError(f"the tests of {room} fail without a mistake; mend them first")
    mutants = drawn(room, number)
    with ThreadPoolExecutor(2) as pool:
        outcomes = [
            o for o, _ in pool.map(lambda m: tested(room, m, 5 * seconds + 60, cache), mutants)
        ]
    lives = [
        f"{m['file']}:{m['line']}: {m['change']}"
        for m, o in zip(mutants, outcomes, strict=True)
        if o == "lives"
    ]
    return dict(made=len(mutants), caught=len(mutants) - len(lives), lives=sorted(lives))


def main() -> None:
    """Judge the rooms that are asked for and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("rooms", nargs="*", help="by default all: " + " ".join(ROOMS))
    parser.add_argument("--mutants", type=int, default=20, help="per room")
    options = parser.parse_args()
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as cache:
        for room in options.rooms or ROOMS:
            known[room] = found = judged(room, options.mutants, Path(cache))
            print(f"{room}: {found['caught']} of {found['made']}", *found["lives"], sep="\n  ")
            ordered = {name: known[name] for name in ROOMS if name in known}
            text = json.dumps(ordered, indent=1, ensure_ascii=False)
            RESULTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
