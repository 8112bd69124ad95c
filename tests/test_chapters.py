"""The tool that keeps notebooks in step with their texts, tried on a small book of its own."""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import notebooks
import pytest

from ddt_utils import _files, _sources

CHAPTER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Small

```{code-cell} ipython3
:tags: [remove-cell, setup]

pass
```

```{code-cell} ipython3
import os
from ddt_utils import records

print("kernel of", os.environ.get("WHO", "this environment"), os.environ.get("MPLBACKEND"))
```
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A book of one chapter, executed while Jupyter's path names another kernel python3."""
    root = tmp_path_factory.mktemp("small").resolve()
    text = root / "book" / "part" / "small.md"
    text.parent.mkdir(parents=True)
    text.write_text(CHAPTER, encoding="utf-8")
    shutil.copy(notebooks.ROOT / "requirements.txt", root)
    kernel = root / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    foreign = ["env", "WHO=another", sys.executable, "-m", "ipykernel_launcher", "-f"]
    about = dict(argv=[*foreign, "{connection_file}"], display_name="Python 3", language="python")
    (kernel / "kernel.json").write_text(json.dumps(about))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, "ROOT", root)
        patch.setattr(notebooks, "BOOK", root / "book")
        patch.setenv("JUPYTER_PATH", str(root / "jupyter"))
        patch.setenv("MPLBACKEND", "agg")
        notebooks.execute(text)
    return root


@pytest.fixture
def book(made, tmp_path, monkeypatch):
    root = tmp_path.resolve() / "copy"
    shutil.copytree(made, root)
    for name, place in (
        ("ROOT", root), ("BOOK", root / "book"), ("RUNTIMES", root / "book" / "runtimes.json"),
    ):  # fmt: skip
        monkeypatch.setattr(notebooks, name, place)
    return root / "book" / "part" / "small.md"


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["notebooks.py", *map(str, arguments)])
    return notebooks.main()


def printed(text):
    cells = nbformat.read(text.with_suffix(".ipynb"), as_version=4).cells
    return "".join(o.text for c in cells for o in c.get("outputs", []))


def test_the_kernel_is_the_python_that_runs_the_tool_and_draws_into_the_notebook(book):
    assert printed(book).startswith("kernel of this environment")
    assert "agg" not in printed(book)
    assert not notebooks.why_stale(book)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: "<<<<<<< HEAD\n" + content,
        lambda content: content[: len(content) // 2],
        lambda content: "",
        lambda content: "[]",
        lambda content: '{"nbformat": 4}',
        lambda content: "null",
    ],
    ids=["conflict", "torn", "empty", "list", "no cells", "null"],
)
def test_a_damaged_notebook_is_stale_and_named(book, damage, monkeypatch, capsys):
    stored = book.with_suffix(".ipynb")
    stored.write_text(damage(stored.read_text(encoding="utf-8")), encoding="utf-8")
    assert run(monkeypatch, "--check") == 1
    assert "stale: book/part/small.md (small.ipynb is damaged" in capsys.readouterr().out


def test_a_damaged_notebook_is_made_again(book, monkeypatch, capsys):
    stored = book.with_suffix(".ipynb")
    whole = stored.read_text(encoding="utf-8")
    stored.write_text("<<<<<<< HEAD\n" + whole, encoding="utf-8")
    assert run(monkeypatch) == 0
    assert stored.read_text(encoding="utf-8") == whole
    assert list(json.loads(notebooks.RUNTIMES.read_text())["pages"]) == ["part/small"]
    assert run(monkeypatch, "--check") == 0


def test_a_byte_order_mark_hides_no_chapter_and_goes_when_it_is_executed(book, monkeypatch, capsys):
    book.write_bytes(b"\xef\xbb\xbf" + book.read_bytes().replace(b"# Small", b"# Smaller"))
    assert notebooks.chapters() == [book]
    assert run(monkeypatch, "--check") == 1
    assert "small.md (the text begins with a byte order mark" in capsys.readouterr().out
    assert run(monkeypatch) == 0
    assert book.read_bytes().startswith(b"---\n") and not notebooks.is_stale(book)


@pytest.mark.parametrize(
    "before, why",
    [
        ("<<<<<<< HEAD\n", "conflict markers"),
        ("\n", "does not begin with the head"),
        ("\ufeff\ufeff", "does not begin with the head"),
        ("title: Small\n", "does not begin with the head"),
    ],
    ids=["conflict", "blank", "two marks", "title"],
)
def test_a_chapter_that_has_lost_its_head_is_named(book, before, why, monkeypatch, capsys):
    whole = book.read_text(encoding="utf-8")
    book.write_text(before + whole, encoding="utf-8")
    assert notebooks.chapters() == [book]
    assert run(monkeypatch, "--check") == 1
    assert "stale: book/part/small.md (the text" in (said := capsys.readouterr().out)
    assert why in said
    stored = book.with_suffix(".ipynb").read_bytes()
    with pytest.raises(SystemExit):
        run(monkeypatch)
    assert "book/part/small.md: the text" in capsys.readouterr().err
    assert book.with_suffix(".ipynb").read_bytes() == stored
    book.with_suffix(".ipynb").unlink()  # its cells tell
    assert notebooks.chapters() == [book]


def test_a_chapter_in_another_encoding_is_named(book):
    book.with_suffix(".ipynb").unlink()
    book.write_text(book.read_text(encoding="utf-8") + "Grenzhöhe", encoding="latin-1")
    with pytest.raises(ValueError, match="small.md must be UTF-8.*save it as UTF-8"):
        notebooks.chapters()


def test_what_editors_leave_beside_a_text_is_no_chapter(book):
    (book.parent / ".#small.md").symlink_to("someone@somewhere.1234")
    (book.parent / "folder.md").mkdir()
    kept = book.parent / ".ipynb_checkpoints"
    kept.mkdir()
    (kept / "small-checkpoint.md").write_text(book.read_text(encoding="utf-8"))
    assert notebooks.chapters() == [book]


def test_an_interrupted_write_leaves_the_notebook_that_was_there(book, monkeypatch):
    before = book.with_suffix(".ipynb").read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        notebooks.execute(book)
    assert book.with_suffix(".ipynb").read_bytes() == before
    assert sorted(p.name for p in book.parent.iterdir()) == ["small.ipynb", "small.md"]


def test_what_has_changed_since_a_commit_is_listed(book, monkeypatch, capsys):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *words], cwd=notebooks.ROOT, check=True, capture_output=True)

    git("init")
    stored = book.with_suffix(".ipynb")
    assert notebooks.changed("HEAD") == [stored]
    git("add", ".")
    git("commit", "-m", "one")
    assert notebooks.changed("HEAD") == []
    stored.write_text(stored.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert run(monkeypatch, "--changed") == 0
    assert capsys.readouterr().out == "book/part/small.ipynb\n"


def test_a_text_that_is_no_chapter_is_refused(book, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, book.parent / "other.md")
    assert "not a chapter" in capsys.readouterr().err


def test_run_times_that_are_damaged_name_their_remedy(book):
    notebooks.RUNTIMES.write_text("<<<<<<< HEAD")
    with pytest.raises(ValueError, match="runtimes.json is damaged.*git checkout"):
        notebooks.record({"part/small": 1.5})


FULL = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
---

# Full

```{code-cell} ipython3
import time
from pathlib import Path
from ddt_utils import records


def run(name):
    # wait, for a minute at most, until both have begun
    Path(name + ".began").touch()
    for _ in range(600):
        if Path("one.began").exists() and Path("two.began").exists():
            return "together"
        time.sleep(0.1)
    return "alone"


print(records.larger("%s", run, [dict(name="%s")], folder=".").results)
```
"""


def test_two_records_are_made_at_once_and_a_failure_is_told(book, monkeypatch, capsys):
    for name in ("one", "two"):
        (book.parent / f"{name}.md").write_text(FULL % (name, name), encoding="utf-8")
    (book.parent / "zero.md").write_text(FULL.replace("Path(name", "Path(1 / 0") % ("zero", "zero"))
    monkeypatch.setenv("DDT_FULL", "one,two,zero")
    assert run(monkeypatch, "--full") == 1
    assert "book/part/zero.md failed" in capsys.readouterr().out
    for name in ("one", "two"):
        kept = _files.read_json(book.parent / f"{name}.json", remedy="")
        assert kept["runs"][0]["result"] == "together"
    assert not (book.parent / "zero.json").exists()


@pytest.mark.parametrize("variable", ["DDT_FULL", "DDT_CONFIRM"])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("valleis", "got valleis, which is none; name one that is there, such as valleys, or"),
        ("valleys, pases,two", "got pases, two, which are none; .* such as passes, or"),
        ("1,valleys", "be 0, 1 or names of records joined by commas"),
        ("yes", "be 0, 1 or names of records joined by commas"),
    ],
)
def test_a_record_that_no_chapter_has_is_refused(book, monkeypatch, capsys, variable, said, told):
    """A mistyped name used to make nothing, and to say nothing."""
    for name in ("valleys", "passes"):
        (book.parent / f"{name}.md").write_text(FULL % (name, name), encoding="utf-8")
    monkeypatch.setenv(variable, said)
    monkeypatch.setattr(notebooks, "make_records", lambda *_: pytest.fail("it went on"))
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "--full" if variable == "DDT_FULL" else "--confirm")
    assert stopped.value.code == 2
    assert re.search(f"{variable} must .*{told}", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("1", ["passes", "valleys"]),
        ("0", []),
        (" passes ,", ["passes"]),
        (None, ["passes", "valleys"]),
    ],
)
def test_records_that_are_named_are_made(book, monkeypatch, said, expected):
    for name in ("valleys", "passes"):
        (book.parent / f"{name}.md").write_text(FULL % (name, name), encoding="utf-8")
    monkeypatch.delenv("DDT_FULL", raising=False)
    if said is not None:
        monkeypatch.setenv("DDT_FULL", said)
    found = []
    monkeypatch.setattr(notebooks, "make_records", lambda text, *_: found.append(text.stem) or "")
    assert run(monkeypatch, "--full") == 0
    assert sorted(found) == expected


def test_the_fingerprint_sees_rooms_behind_rooms(book, monkeypatch, tmp_path):
    package = tmp_path / "package" / "ddt_utils"
    shutil.copytree(_sources.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(_sources, "PACKAGE", package)
    before = notebooks.fingerprint(book)
    for name, counts in (("streams", True), ("networks", False)):
        path = package / f"{name}.py"
        kept = path.read_text(encoding="utf-8")
        path.write_text(kept + "\nADDED = 1\n", encoding="utf-8")
        assert (notebooks.fingerprint(book) != before) == counts
        path.write_text(kept, encoding="utf-8")
