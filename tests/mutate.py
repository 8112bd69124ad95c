"""How a mistake is made on purpose, what must run before it, and runs of pytest for it alone."""

import ast
import json
import os
import subprocess
import symtable
import sys
import tempfile
from dataclasses import dataclass, field

CHANGING = {"append", "extend", "update", "add", "setdefault", "pop", "insert", "remove", "clear"}
CHANGING |= {"manual_seed", "set_default_dtype"}  # of torch
COMPREHENSIONS = {"listcomp", "setcomp", "dictcomp", "genexpr"}


def mutated(text, old, new):
    """The text with one passage exchanged, which must be there exactly once."""
    assert text.count(old) == 1, f"found {text.count(old)} times, so the mistake is not made: {old}"
    return text.replace(old, new)


def bare():
    """The environment for a pytest of its own, without options or plugins from outside."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@dataclass
class Names:
    """What a cell has to do with names: those it sets for sure, changes, uses, and uses later."""

    sets: set = field(default_factory=set)
    changes: set = field(default_factory=set)
    uses: set = field(default_factory=set)
    later: set = field(default_factory=set)


def names_of(source):
    """The names of a cell, so that nothing that decides its outcome is left out."""
    names = Names()
    for node in ast.parse(source).body:
        table = symtable.symtable(ast.unparse(node), "cell", "exec")
        symbols = table.get_symbols()
        names.later |= _globals(table, called=True)
        used = {s.get_name() for s in symbols if s.is_referenced()} | _globals(table)
        used -= _of_loops(node)
        names.uses |= used - names.sets  # set in this cell, it comes from no other
        names.changes |= {
            s.get_name() for s in symbols if s.is_assigned() or s.is_imported() or s.is_namespace()
        }
        for part in ast.walk(node):
            if isinstance(part, (ast.Subscript, ast.Attribute)):
                if not isinstance(part.ctx, ast.Load) or getattr(part, "attr", "") in CHANGING:
                    names.changes.add(_base(part))
        targets = node.targets if isinstance(node, ast.Assign) else []
        whole = [t for target in targets for t in getattr(target, "elts", [target])]
        names.sets |= {t.id for t in whole if isinstance(t, ast.Name)}
        if isinstance(node, ast.FunctionDef):
            names.sets.add(node.name)
    return names


def _of_loops(statement):
    """The names that a loop of the statement sets before its body, and nothing else, uses them."""
    found = set()
    for loop in ast.walk(statement):
        if isinstance(loop, ast.For):
            body = {id(part) for line in loop.body for part in ast.walk(line)}
            outside = (part for part in ast.walk(statement) if id(part) not in body)
            loads = (p for p in outside if isinstance(p, ast.Name) and isinstance(p.ctx, ast.Load))
            set_ = {p.id for p in ast.walk(loop.target) if isinstance(p, ast.Name)}
            found |= set_ - {p.id for p in loads}
    return found


def _globals(table, called=False):
    """The names that functions, lambdas and comprehensions take from outside.

    With ``called`` those that are taken when it is called: not those of a comprehension.
    """
    found = set()
    for inner in table.get_children():
        if not called or inner.get_name() not in COMPREHENSIONS:
            names = (s for s in inner.get_symbols() if s.is_global() and s.is_referenced())
            found |= {s.get_name() for s in names}
            found |= _globals(inner)
        else:
            found |= _globals(inner, called)
    return found


def _base(node):
    while isinstance(node, (ast.Subscript, ast.Attribute, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def pieces(cells, whole):
    """The statements of cells, each with the place of its cell; some cells are left whole."""
    for i, cell in enumerate(cells):
        lines, first = cell.splitlines(), 0
        body = [] if i in whole else ast.parse(cell).body[:-1]
        for statement in body:
            yield i, "\n".join(lines[first : statement.end_lineno])
            first = statement.end_lineno
        yield i, "\n".join(lines[first:])


def needed(cells, wanted):
    """The places of those cells on which the wanted ones depend, themselves included, in order."""
    names, kept = [names_of(cell) for cell in cells], set(wanted)
    while True:
        live, found = set(), set()
        for i in reversed(range(max(wanted) + 1)):
            called = set().union(*(names[k].later for k in kept if k < i))  # who may be called now
            if i in wanted or names[i].changes & (live | called):
                found.add(i)
                live |= names[i].later
                live = (live - names[i].sets) | names[i].uses
        if found <= kept:
            return sorted(kept)
        kept |= found


SERVER = """
import importlib, json, os, sys

import pytest

for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin:
    folder, environment, arguments = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.environ.update(environment)
        sys.path.insert(0, folder)
        out = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = pytest.main(arguments)
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
LIBRARIES = """
hypothesis matplotlib.pyplot mpmath numba scipy.integrate scipy.interpolate scipy.optimize
scipy.sparse.linalg scipy.stats sklearn.datasets sympy torch torch.func
""".split()


class Pytests:
    """Many runs of pytest, each in a process of its own that begins with the libraries imported.

    The server imports nothing that is tested, so a run finds what its own folder holds.
    """

    def __init__(self):
        """Start the server, which begins to import."""
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER, *LIBRARIES],
            cwd=tempfile.gettempdir(),  # nothing to import here
            env=bare(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, folder, environment, arguments):
        """Pytest's exit status, and what it printed."""
        job = json.dumps([str(folder), environment, arguments])
        print(job, file=self._server.stdin, flush=True)
        code = int(self._server.stdout.readline())
        return code, (folder / "said.txt").read_text(encoding="utf-8")

    def close(self):
        """Wait for the server to end."""
        self._server.communicate()
