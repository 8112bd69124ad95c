"""Keep every chapter's notebook in step with its text: pair, execute, normalise, fingerprint.

python tools/notebooks.py              execute exactly the chapters that are stale
python tools/notebooks.py NAME.md ...  execute these
python tools/notebooks.py --check      say which are stale, and why, and fail if any is
python tools/notebooks.py --changed    list the notebooks that differ from the last commit's
python tools/notebooks.py --full ...   make the records of longer runs again, two at a time
python tools/notebooks.py --confirm    compute a part of each record again; keep it if that agrees
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path

import jupytext
import nbformat

from ddt_utils import _files, _sources, uci
from ddt_utils.records import CONFIRM, FULL, device, wanted

ROOT = Path(__file__).resolve().parent.parent
BOOK, RUNTIMES = ROOT / "book", ROOT / "book" / "runtimes.json"
VERSIONS_THAT_MATTER = (
    "numpy", "scipy", "sympy", "mpmath", "matplotlib", "numba", "torch", "scikit-learn",
)  # fmt: skip
LANGUAGE = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}
HEAD, CELL = "---\njupytext:", "\n```{code-cell}"  # a chapter begins with it, and has some
MARK = "\ufeff"  # a byte order mark, which some editors put before a text


def chapters() -> list[Path]:
    """The texts of all chapters, in the order of the table of contents' folders.

    A text with a chapter's head is one, and so is a text with cells or with a notebook beside it:
    what has lost its head is refused by name, and not passed over.

    Returns:
        Their paths.
    """
    texts = sorted(p for p in BOOK.rglob("*.md") if _of_the_book(p.relative_to(BOOK)))
    return [
        p for p in texts
        if p.with_suffix(".ipynb").exists() or _text(p).startswith(HEAD) or CELL in _text(p)
    ]  # fmt: skip


def _of_the_book(name: Path) -> bool:
    """Neither an asset nor a folder, nor what an editor or Jupyter has put beside a text."""
    aside = "_static" in name.parts or any(part.startswith(".") for part in name.parts)
    return not aside and (BOOK / name).is_file()


def _text(path: Path) -> str:
    """A text without a byte order mark, and with plain line ends."""
    try:
        return path.read_text(encoding="utf-8").removeprefix(MARK)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be UTF-8, got a byte that is not, {error}; save it as UTF-8"
        ) from error


def unfit(text: Path) -> str:
    """Why a chapter's text cannot be executed.

    Args:
        text: its path.

    Returns:
        A phrase; empty if it can be.
    """
    content = _text(text)
    if re.search(r"^(<{7}|>{7})", content, re.MULTILINE):
        return "the text has conflict markers; choose between the two versions"
    if not content.startswith(HEAD):
        return "the text does not begin with the head of a chapter, --- and jupytext:; restore it"
    return ""


def read(text: Path):
    """The chapter that a text is.

    Args:
        text: its path.

    Returns:
        A notebook without outputs.
    """
    return jupytext.reads(_text(text), fmt={"extension": ".md", "format_name": "myst"})


def is_setup(cell) -> bool:
    """Is this the cell that installs the package where it is missing?

    Args:
        cell: of a notebook.

    Returns:
        True if it is.
    """
    return "setup" in cell.metadata.get("tags", [])


def code_of(notebook) -> list[str]:
    """The sources of the code cells that count: all but the set-up cell.

    Args:
        notebook: any.

    Returns:
        One text for each cell.
    """
    return [c.source for c in notebook.cells if c.cell_type == "code" and not is_setup(c)]


def rooms_reached(sources: list[str]) -> set[str]:
    """The rooms of ddt_utils that these sources import, and those that the rooms import.

    Args:
        sources: of cells.

    Returns:
        Names of rooms.
    """
    return _sources.reached(set().union(*map(_sources.imports, sources)))


def fingerprint(text: Path) -> str:
    """A digest of all that decides a chapter's outputs; see CONTRIBUTING.md.

    Args:
        text: the chapter's path.

    Returns:
        Sixteen hexadecimal digits.
    """
    sources = code_of(read(text))
    digest = hashlib.sha256("\0".join(sources).encode())
    for name in sorted(
        set(re.findall(r"""["']([\w./-]+\.(?:json|csv|npz|yml))["']""", "".join(sources)))
    ):
        data = (text.parent / name).resolve()
        if data.is_file():
            digest.update(name.encode() + data.read_bytes())
    for name in records_of(sources):
        kept = _sources.PACKAGE / "records" / f"{name}.json"
        digest.update(name.encode() + (kept.read_bytes() if kept.exists() else b""))
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for pin in sorted(p for p in pins if p.split("==")[0] in VERSIONS_THAT_MATTER):
        digest.update(pin.encode())
    rooms = rooms_reached(sources)
    for room in sorted(rooms):
        digest.update(f"{room} {_sources.digest(room)}".encode())
    if "figures" in rooms:
        for font in sorted((_sources.PACKAGE / "fonts").glob("*.ttf")):
            digest.update(font.read_bytes())
    return digest.hexdigest()[:16]


def records_of(sources: list[str]) -> list[str]:
    """The names of the longer runs that these sources read.

    Args:
        sources: of cells.

    Returns:
        Names of records.
    """
    return sorted(re.findall(r"""records\.larger\(\s*["']([\w-]+)["']""", "\n".join(sources)))


def why_stale(text: Path) -> str:
    """Why the stored notebook is not what the text, or the code that it uses, would give now.

    Args:
        text: the chapter's path.

    Returns:
        A phrase; empty if the notebook is up to date.
    """
    stored = text.with_suffix(".ipynb")
    if wrong := unfit(text):
        return wrong
    if not stored.exists():
        return "not executed yet"
    if text.read_bytes().startswith(MARK.encode()):
        return "the text begins with a byte order mark, which executing it takes away"
    try:
        notebook = nbformat.read(stored, as_version=4)
        mark = notebook.metadata.get("ddt", {}).get("fingerprint")
        told = same_text(text, notebook)
    except Exception:  # no JSON, no notebook, a notebook without cells
        return f"{stored.name} is damaged: conflict markers, or half of a file"
    if not told:
        return "the text has changed"
    return "" if mark == fingerprint(text) else "the code that it uses has changed"


def is_stale(text: Path) -> bool:
    """Does the stored notebook differ from the text, or from the code that it was made by?

    Args:
        text: the chapter's path.

    Returns:
        True if it is to be executed again.
    """
    return bool(why_stale(text))


def same_text(text: Path, notebook) -> bool:
    """Are the cells of the notebook those of the text?

    Args:
        text: the chapter's path.
        notebook: the stored one.

    Returns:
        True if they are.
    """

    def cells(nb):
        return [(c.cell_type, c.source, c.metadata) for c in nb.cells if not is_setup(c)]

    return cells(read(text)) == cells(notebook)


def own_kernel():
    """The kernel of the Python that runs this, wherever Jupyter would look for a ``python3``.

    Returns:
        A class of kernel managers.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = KernelSpec(argv=command, display_name="Python 3", language="python")
    return type("OwnKernel", (AsyncKernelManager,), {"kernel_spec": property(lambda self: spec)})


def execute(text: Path) -> tuple[str, float]:
    """Execute a chapter and write the paired notebook.

    Args:
        text: the chapter's path.

    Returns:
        Its name and the seconds it took.
    """
    from nbclient import NotebookClient

    if text.read_bytes().startswith(MARK.encode()):
        _files.write(text, _text(text))
    notebook = read(text)
    started = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=900,
        kernel_manager_class=own_kernel(),
        record_timing=False,
        resources={"metadata": {"path": str(text.parent)}},
    ).execute(env={k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "PYTHONSTARTUP")})
    seconds = time.perf_counter() - started
    normalise(notebook)
    notebook.metadata["ddt"] = {"fingerprint": fingerprint(text)}
    nbformat.validate(notebook)
    _files.write(text.with_suffix(".ipynb"), nbformat.writes(notebook, version=4).rstrip() + "\n")
    return text.relative_to(BOOK).with_suffix("").as_posix(), round(seconds, 1)


def make_records(text: Path, place: int = 0) -> str:
    """Run a chapter as a script with its longer runs, which show their progress.

    Args:
        text: the chapter's path.
        place: the line of its progress bar, from the top.

    Returns:
        An empty text, or that of what went wrong.
    """
    code = "\n\n".join(code_of(read(text)))
    more = dict(MPLBACKEND="agg", PYTHONWARNINGS="ignore:FigureCanvasAgg", TQDM_POSITION=str(place))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / f"{text.stem}.py"
        script.write_text(code, encoding="utf-8")
        made = subprocess.run([sys.executable, script], cwd=text.parent, env=os.environ | more)
    return f"{text.relative_to(ROOT)} failed" if made.returncode else ""


def make_all_records(texts: list[Path], asked: str = FULL) -> int:
    """Make or confirm the records that are wanted, two chapters at a time, the longest first.

    Args:
        texts: the chapters' paths.
        asked: the variable that says which are wanted, ``DDT_FULL`` or ``DDT_CONFIRM``.

    Returns:
        How many chapters failed.

    Raises:
        ValueError: the variable names what is no record of these chapters.
    """
    os.environ.setdefault(asked, "1")
    every = {text: records_of(code_of(read(text))) for text in texts}
    require_known(asked, {name for names in every.values() for name in names})
    kept = {text: [n for n in names if wanted(n, asked)] for text, names in every.items()}
    texts = sorted((t for t in texts if kept[t]), key=lambda t: -_took(kept[t]))
    workers = 1 if device() == "cuda" else min(2, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        wrong = [*filter(None, pool.map(make_records, texts, range(len(texts))))]
    print("\n".join(wrong))
    return len(wrong)


def require_known(asked: str, names: set[str]) -> None:
    """Refuse a variable that names a record that is none: it would be passed over in silence.

    Args:
        asked: ``DDT_FULL`` or ``DDT_CONFIRM``.
        names: of the records that there are.

    Raises:
        ValueError: it names another.
    """
    said = [one.strip() for one in os.environ[asked].split(",") if one.strip()]
    wanted("", asked)  # 0, 1 or names
    other = [one for one in said if said not in (["0"], ["1"]) and one not in names]
    if other:
        near = get_close_matches(other[0], sorted(names), n=3) or sorted(names)
        raise ValueError(
            f"{asked} must name records of these chapters, got {', '.join(other)}, which "
            f"{'is none' if len(other) == 1 else 'are none'}; name one that is there, such as "
            f"{', '.join(near[:3]) or '(there is none)'}, or set it to 1 for all of them"
        )


def data_folder(named: str) -> Path:
    """The folder with the paper's data sets; it is said which of them lie there.

    Args:
        named: what ``DDT_DATA`` says, from where one is.

    Returns:
        Its full path.

    Raises:
        ValueError: no such folder, or none of the sets lies in it.
    """
    folder = Path(named).expanduser().resolve()
    lying = [name for name in uci.SETS if uci._lies(uci._REMOTE[name], folder)[0]]
    if not lying:
        what = "holds the files of none" if folder.is_dir() else "is no folder"
        raise ValueError(
            f"{uci.DATA} must name the folder of the data sets, but {folder} {what}; name "
            f"another, or unset it to have {', '.join(uci.SETS)} fetched"
        )
    print(f"from {folder}: {', '.join(lying)}; any other set is fetched")
    return folder


def _took(names):
    """The seconds that records took when they were made last."""
    took = 0.0
    for name in names:
        try:
            kept = _files.read_json(_sources.PACKAGE / "records" / f"{name}.json", remedy="")
            took += kept.get("seconds", 0.0)
        except (OSError, ValueError):
            took += 3600.0
    return took


def changed(commit: str) -> list[Path]:
    """The notebooks that are not what they were at a commit.

    Args:
        commit: anything that git takes for one.

    Returns:
        Paths of notebooks.
    """
    found = []
    for text in chapters():
        stored = text.with_suffix(".ipynb")
        name = f"{commit}:./{stored.relative_to(ROOT).as_posix()}"
        before = subprocess.run(["git", "show", name], cwd=ROOT, capture_output=True)
        if before.returncode or before.stdout != stored.read_bytes():
            found.append(stored)
    return found


def normalise(notebook) -> None:
    """Remove from an executed notebook whatever differs between two equal executions.

    Args:
        notebook: that is changed.
    """
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
    """Consecutive pieces of one stream as one output, as they arrive in unpredictable pieces.

    Args:
        outputs: of a cell.

    Returns:
        Fewer outputs.
    """
    result = []
    for output in outputs:
        last = result[-1] if result else None
        if last and output.output_type == "stream" == last.output_type and output.name == last.name:
            last.text += output.text
        else:
            result.append(output)
    return result


def run_times(path: Path) -> dict[str, float]:
    """The seconds that chapters took, by name.

    Args:
        path: of the file that has them.

    Returns:
        Seconds.

    Raises:
        ValueError: the file is damaged.
    """
    remedy = "restore it with git checkout book/runtimes.json"
    pages = _files.read_json(path, remedy=remedy, keys=["pages"])["pages"]
    if not isinstance(pages, dict):
        raise ValueError(_files.damaged(path, "its pages have no names", remedy))
    return pages


def record(times: dict[str, float]) -> None:
    """Write the run times, and the machine they were measured on, to the one file that has them.

    Args:
        times: seconds by name of the chapter.
    """
    kept = run_times(RUNTIMES) if RUNTIMES.exists() else {}
    known = {p.relative_to(BOOK).with_suffix("").as_posix() for p in chapters()}
    pages = {k: v for k, v in sorted((kept | times).items()) if k in known}
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    _files.write_json(RUNTIMES, {"machine": machine, "pages": pages}, indent=1)


def main() -> int:
    """Do what the command line asks for.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("texts", nargs="*", type=Path, help="chapters; by default all stale ones")
    parser.add_argument(
        "--check", action="store_true", help="execute nothing; fail if any is stale"
    )
    parser.add_argument(
        "--changed", nargs="?", const="HEAD", metavar="COMMIT", help="list what differs from it"
    )
    parser.add_argument(
        "--full", action="store_true", help="make the records of longer runs; store no notebook"
    )
    parser.add_argument(
        "--confirm", action="store_true", help="compute a part of each record again; store none"
    )
    options = parser.parse_args()
    given = [p.resolve() for p in options.texts]
    unknown = [str(p) for p in given if p not in chapters()]
    if unknown:
        parser.error(f"not a chapter: {', '.join(unknown)}; give texts of the book, such as "
                     "book/escape/kramers.md")  # fmt: skip
    wrong = [f"{p.relative_to(ROOT)}: {unfit(p)}" for p in given or chapters() if unfit(p)]
    if wrong and not (options.check or options.changed):
        parser.error("; ".join(wrong))
    if options.full or options.confirm:
        if named := os.environ.get(uci.DATA):
            try:  # a chapter runs in its own folder, where a relative path leads elsewhere
                os.environ[uci.DATA] = str(data_folder(named))
            except ValueError as error:
                parser.error(str(error))
        asked = FULL if options.full else CONFIRM
        try:
            return bool(make_all_records(given or chapters(), asked))
        except ValueError as error:
            parser.error(str(error))
    if options.changed:
        print(*(p.relative_to(ROOT).as_posix() for p in changed(options.changed)), sep="\n")
        return 0
    stale = {text: why_stale(text) for text in given or chapters()}
    if options.check or not given:
        stale = {text: why for text, why in stale.items() if why}
    for text, why in stale.items():
        print(f"stale: {text.relative_to(ROOT).as_posix()}{f' ({why})' if why else ''}")
    if options.check:
        print("run make notebooks" if stale else "every notebook matches its text")
        return bool(stale)
    print(f"executing {len(stale)} chapters" if stale else "every notebook matches its text")
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
