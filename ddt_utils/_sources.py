"""The syntax trees of the package's rooms and of functions: what they do, not how they look.

Docstrings, comments and layout are left out, and so is the version of Python.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import json
import linecache
from functools import lru_cache
from pathlib import Path
from types import CodeType

PACKAGE = Path(__file__).resolve().parent


def rooms() -> set[str]:
    """The names of all rooms.

    Returns:
        Names of modules, and of packages of modules.
    """
    names = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    return names - {"__init__"}


def room_of(path) -> str:
    """The room to which a file belongs.

    Args:
        path: of any file.

    Returns:
        The room's name, or an empty text for a file that is not in the package.
    """
    path = Path(path).resolve()
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py") if PACKAGE in path.parents else ""


def imports(source: str) -> set[str]:
    """The rooms that a source names in its import statements, wherever they stand.

    Args:
        source: of a module or a cell.

    Returns:
        Names of rooms.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ddt_utils"):
            names |= {*node.module.split(".")[1:2]} | {a.name for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("ddt_utils.")}
    return names & rooms()


def reached(some) -> set[str]:
    """Rooms, with those that they import, and those that these import, and so on.

    Args:
        some: names of rooms.

    Returns:
        Names of rooms.
    """
    found, waiting = set(), set(some)
    while waiting:
        room = waiting.pop()
        found.add(room)
        for path in files(room):
            if path.suffix == ".py":
                waiting |= _imported(path, _age(path)) - found
    return found


def files(room: str) -> list[Path]:
    """The files of a room: one module, or a package of several with its templates.

    Args:
        room: its name.

    Returns:
        Paths, sorted.
    """
    module, package = PACKAGE / f"{room}.py", PACKAGE / room
    return [module] if module.exists() else sorted(p for p in package.iterdir() if p.is_file())


def digest(room: str) -> str:
    """A digest of what a room does; of its templates, byte for byte.

    Args:
        room: its name.

    Returns:
        Hexadecimal digits.
    """
    found = hashlib.sha256()
    for path in files(room):
        content = _tree(path, _age(path)) if path.suffix == ".py" else path.read_bytes()
        found.update(b"%s:%d:" % (path.name.encode(), len(content)) + content)
    return found.hexdigest()


def tree(path) -> bytes:
    """The syntax tree of a file without its docstrings.

    Args:
        path: of a Python file.

    Returns:
        The tree as JSON, the same for every version of Python.
    """
    return _tree(Path(path), _age(path))


def definition(code: CodeType) -> bytes:
    """The syntax tree of one function without its docstrings.

    Args:
        code: of the function; its file, or its cell, is looked up where tracebacks look.

    Returns:
        The tree as JSON; of a function without a source, or not told from others of its line, its
        instructions.
    """
    linecache.checkcache(code.co_filename)
    source = "".join(linecache.getlines(code.co_filename))
    kinds = ast.Lambda if code.co_name == "<lambda>" else (ast.FunctionDef, ast.AsyncFunctionDef)
    try:
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    except SyntaxError:
        nodes = []
    found = [node for node in nodes if _begins(node) == code.co_firstlineno]
    if len(found) > 1:  # several in one line
        found = _around(found, code)
    if len(found) != 1:
        return json.dumps(_instructions(code)).encode()
    _strip(found[0])
    return json.dumps([_plain(found[0])]).encode()


def globals_of(code: CodeType) -> set[str]:
    """The global names that a function uses, functions within it included.

    Args:
        code: of the function.

    Returns:
        Names, those of Python's own functions among them.
    """
    ways = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    found = {i.argval for i in dis.get_instructions(code) if i.opname in ways}
    return found.union(*(globals_of(c) for c in code.co_consts if isinstance(c, CodeType)))


def _begins(node):
    """The line where a function begins, its decorators included."""
    return min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])


def _around(nodes, code):
    """Of functions that begin in one line, the one whose body holds all instructions of a code."""
    places = [p for p in code.co_positions() if None not in p and p[3] > 0]
    if not places:  # Python was told to keep none
        return []
    first, last = min((p[0], p[2]) for p in places), max((p[1], p[3]) for p in places)
    spans = {}
    for node in nodes:
        body = node.body if isinstance(node.body, list) else [node.body]
        begin = (body[0].lineno, body[0].col_offset)
        if begin <= first and last <= (body[-1].end_lineno, body[-1].end_col_offset):
            spans[begin] = node
    return [spans[max(spans)]] if spans else []  # the innermost begins last


def _instructions(code):
    consts = [_instructions(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), code.co_names, code.co_varnames, consts]


def _age(path):
    status = Path(path).stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _imported(path, age):
    return imports(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=256)
def _tree(path, age):
    found = ast.parse(path.read_text(encoding="utf-8"))
    _strip(found)
    return json.dumps(_plain(found)).encode()


def _strip(found):
    """Remove the docstrings from a tree."""
    for node in ast.walk(found):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.body and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]


def _plain(node):
    """A syntax tree as lists; the same for every version of Python, unlike ``ast.dump``."""
    if isinstance(node, ast.AST):
        filled = [(name, v) for name, v in ast.iter_fields(node) if v is not None and v != []]
        return [type(node).__name__, *([name, _plain(value)] for name, value in filled)]
    return [_plain(part) for part in node] if isinstance(node, list) else repr(node)
