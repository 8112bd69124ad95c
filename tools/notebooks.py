"""Keep every chapter's notebook in step with its text: pair, execute, normalise, fingerprint.

python tools/notebooks.py              execute exactly the chapters that are stale
python tools/notebooks.py NAME.md ...  execute these
python tools/notebooks.py --check      say which are stale, and fail if any is
python tools/notebooks.py --full ...   make the records of longer runs again
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jupytext
import nbformat

from ddt_utils.records import FULL, wanted

ROOT = Path(__file__).resolve().parent.parent
BOOK, PACKAGE, RUNTIMES = ROOT / "book", ROOT / "ddt_utils", ROOT / "book" / "runtimes.json"
VERSIONS_THAT_MATTER = (
    "numpy", "scipy", "sympy", "mpmath", "matplotlib", "numba", "torch", "scikit-learn",
)  # fmt: skip
LANGUAGE = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}


def chapters() -> list[Path]:
    """The texts of all chapters, in the order of the table of contents' folders."""
    texts = sorted(p for p in BOOK.rglob("*.md") if "_static" not in p.parts)
    return [p for p in texts if p.read_text(encoding="utf-8").startswith("---\njupytext:")]


def is_setup(cell) -> bool:
    return "setup" in cell.metadata.get("tags", [])


def code_of(notebook) -> list[str]:
    """The sources of the code cells that count: all but the set-up cell."""
    return [c.source for c in notebook.cells if c.cell_type == "code" and not is_setup(c)]


def rooms_reached(sources: list[str]) -> set[str]:
    """The rooms of ddt_utils that these sources import, and those that the rooms import."""
    found, waiting = set(), set().union(*(_imports(s) for s in sources)) if sources else set()
    while waiting:
        room = waiting.pop()
        found.add(room)
        for path in _files(room):
            if path.suffix == ".py":
                waiting |= _imports(path.read_text(encoding="utf-8")) - found
    return found


def _imports(source: str) -> set[str]:
    rooms = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ddt_utils"):
            names |= {*node.module.split(".")[1:2]} | {a.name for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("ddt_utils.")}
    return names & rooms - {"__init__"}


def _files(room: str) -> list[Path]:
    """The files of a room: one module, or a package of several with its templates."""
    module, package = PACKAGE / f"{room}.py", PACKAGE / room
    return [module] if module.exists() else sorted(p for p in package.iterdir() if p.is_file())


def _tree(path: Path) -> str:
    """A room's syntax tree without docstrings: what it does, not what it says."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.body and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
    return json.dumps(_plain(tree))


def _plain(node):
    """A syntax tree as lists; the same for every version of Python, unlike ``ast.dump``."""
    if isinstance(node, ast.AST):
        filled = [(name, v) for name, v in ast.iter_fields(node) if v is not None and v != []]
        return [type(node).__name__, *([name, _plain(value)] for name, value in filled)]
    return [_plain(part) for part in node] if isinstance(node, list) else repr(node)


def fingerprint(text: Path) -> str:
    """A digest of all that decides a chapter's outputs; see CONTRIBUTING.md."""
    sources = code_of(jupytext.read(text))
    digest = hashlib.sha256("\0".join(sources).encode())
    for name in sorted(
        set(re.findall(r"""["']([\w./-]+\.(?:json|csv|npz|yml))["']""", "".join(sources)))
    ):
        data = (text.parent / name).resolve()
        if data.is_file():
            digest.update(name.encode() + data.read_bytes())
    for name in records_of(sources):
        kept = PACKAGE / "records" / f"{name}.json"
        digest.update(name.encode() + (kept.read_bytes() if kept.exists() else b""))
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for pin in sorted(p for p in pins if p.split("==")[0] in VERSIONS_THAT_MATTER):
        digest.update(pin.encode())
    rooms = rooms_reached(sources)
    for room in sorted(rooms):
        for path in _files(room):
            digest.update(_tree(path).encode() if path.suffix == ".py" else path.read_bytes())
    if "figures" in rooms:
        for font in sorted((PACKAGE / "fonts").glob("*.ttf")):
            digest.update(font.read_bytes())
    return digest.hexdigest()[:16]


def records_of(sources: list[str]) -> list[str]:
    """The names of the longer runs that these sources read."""
    return sorted(re.findall(r"""records\.larger\(\s*["']([\w-]+)["']""", "\n".join(sources)))


def is_stale(text: Path) -> bool:
    """Does the stored notebook differ from the text, or from the code that it was made by?"""
    stored = text.with_suffix(".ipynb")
    if not stored.exists():
        return True
    notebook = nbformat.read(stored, as_version=4)
    mark = notebook.metadata.get("ddt", {}).get("fingerprint")
    return mark != fingerprint(text) or not same_text(text, notebook)


def same_text(text: Path, notebook) -> bool:
    """Are the cells of the notebook those of the text?"""

    def cells(nb):
        return [(c.cell_type, c.source, c.metadata) for c in nb.cells if not is_setup(c)]

    return cells(jupytext.read(text)) == cells(notebook)


def execute(text: Path):
    """Execute a chapter, write the paired notebook, and return its name and seconds."""
    from nbclient import NotebookClient

    notebook = jupytext.read(text)
    started = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(text.parent)}},
    ).execute()
    seconds = time.perf_counter() - started
    normalise(notebook)
    notebook.metadata["ddt"] = {"fingerprint": fingerprint(text)}
    nbformat.validate(notebook)
    text.with_suffix(".ipynb").write_text(
        nbformat.writes(notebook, version=4).rstrip() + "\n", encoding="utf-8"
    )
    return text.relative_to(BOOK).with_suffix("").as_posix(), round(seconds, 1)


def make_records(text: Path) -> None:
    """Run a chapter as a script with its longer runs, which show their progress."""
    code = "\n\n".join(code_of(jupytext.read(text)))
    more = dict(MPLBACKEND="agg", PYTHONWARNINGS="ignore:FigureCanvasAgg")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / f"{text.stem}.py"
        script.write_text(code, encoding="utf-8")
        subprocess.run([sys.executable, script], cwd=text.parent, env=os.environ | more, check=True)


def normalise(notebook) -> None:
    """Remove from an executed notebook whatever differs between two equal executions."""
    notebook.metadata["language_info"] = dict(LANGUAGE)
    notebook.metadata.pop("widgets", None)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    used = {}
    for cell in notebook.cells:
        key = "set-up" if is_setup(cell) else cell.cell_type + cell.source
        name = hashlib.sha256(key.encode()).hexdigest()[:10]
        used[name] = used.get(name, 0) + 1
        cell["id"] = name if used[name] == 1 else f"{name}-{used[name]}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = merged(cell.outputs)


def merged(outputs) -> list:
    """Consecutive pieces of one stream as one output, as they arrive in unpredictable pieces."""
    result = []
    for output in outputs:
        last = result[-1] if result else None
        if last and output.output_type == "stream" == last.output_type and output.name == last.name:
            last.text += output.text
        else:
            result.append(output)
    return result


def record(times: dict[str, float]) -> None:
    """Write the run times, and the machine they were measured on, to the one file that has them."""
    pages = json.loads(RUNTIMES.read_text())["pages"] if RUNTIMES.exists() else {}
    known = {p.relative_to(BOOK).with_suffix("").as_posix() for p in chapters()}
    pages = {k: v for k, v in sorted((pages | times).items()) if k in known}
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    RUNTIMES.write_text(json.dumps({"machine": machine, "pages": pages}, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("texts", nargs="*", type=Path, help="chapters; by default all stale ones")
    parser.add_argument(
        "--check", action="store_true", help="execute nothing; fail if any is stale"
    )
    parser.add_argument(
        "--full", action="store_true", help="make the records of longer runs; store no notebook"
    )
    options = parser.parse_args()
    if options.full:
        os.environ.setdefault(FULL, "1")
        for text in [p.resolve() for p in options.texts] or chapters():
            if any(map(wanted, records_of(code_of(jupytext.read(text))))):
                make_records(text)
        return 0
    stale = [p.resolve() for p in options.texts] or [p for p in chapters() if is_stale(p)]
    names = ", ".join(p.relative_to(ROOT).as_posix() for p in stale)
    if options.check:
        print(f"stale: {names}; run make notebooks" if stale else "every notebook matches its text")
        return bool(stale)
    print(f"executing {names}" if stale else "every notebook matches its text")
    times = {}
    with ProcessPoolExecutor(1 if len(stale) < 2 else min(2, os.cpu_count() or 1)) as pool:
        for name, seconds in pool.map(execute, stale):
            print(f"  {name}: {seconds} s")
            times[name] = seconds
    if times:
        record(times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
