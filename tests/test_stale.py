"""A notebook that no longer matches its text, its code or its outputs is noticed."""

import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import notebooks
import pytest

from ddt_utils import _sources
from ddt_utils.ledger import MIME_TYPE
from tests.mutate import bare, mutated

ROOT = Path(__file__).resolve().parent.parent

CHAPTER = """---
jupytext:
  formats: ipynb,md:myst
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A small chapter

```{code-cell} ipython3
:tags: [setup]

already = "here"
```

```{code-cell} ipython3
import json
from pathlib import Path

from ddt_utils import exact, ledger, simulate

height = json.loads(Path("heights.json").read_text())["height"]
ledger.number("sm-height", height, stderr=0.1)
```

```{code-cell} ipython3
ledger.number("sm-double", 2 * height, digits=1)
```

```{code-cell} ipython3
---
tags: [keep]
---
row = ledger.claim(
    "small", statement="It is one.", status="measured",
    predicted=1.0, measured=height, stderr=0.1,
)
```
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A small book in a small repository, with its one chapter executed by the project's tool."""
    root = tmp_path_factory.mktemp("repository").resolve()
    text = root / "book" / "part" / "small.md"
    text.parent.mkdir(parents=True)
    text.write_text(CHAPTER, encoding="utf-8")
    (text.parent / "heights.json").write_text('{"height": 1.2}')
    shutil.copy(ROOT / "requirements.txt", root)
    shutil.copytree(
        ROOT / "ddt_utils", root / "ddt_utils", ignore=shutil.ignore_patterns("__pycache__")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, "BOOK", root / "book")
        assert notebooks.is_stale(text)  # there is no notebook yet
        assert notebooks.execute(text)[0] == "part/small"
    return root


@pytest.fixture
def repository(executed, tmp_path, monkeypatch):
    """A copy of the small repository, in the place of this one."""
    root = tmp_path.resolve() / "repository"
    shutil.copytree(executed, root)
    for name, place in (("ROOT", root), ("BOOK", root / "book")):
        monkeypatch.setattr(notebooks, name, place)
    monkeypatch.setattr(_sources, "PACKAGE", root / "ddt_utils")
    return root


def edit(path, right, wrong):
    path.write_text(mutated(path.read_text(encoding="utf-8"), right, wrong), encoding="utf-8")


def test_an_executed_chapter_is_not_stale(repository):
    text = repository / "book" / "part" / "small.md"
    assert notebooks.chapters() == [text]
    assert not notebooks.is_stale(text)


TEXT = "book/part/small.md"
GLUED = "application/papermill.record/text/plain"


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        (TEXT, "predicted=1.0", "predicted=1.1"),
        (TEXT, "row = ", "row =  "),
        ("book/part/heights.json", "1.2", "1.3"),
        ("ddt_utils/_panels.py", "_ORDER = 16", "_ORDER = 17"),
        ("ddt_utils/ledger.py", "LIMIT = 4.42", "LIMIT = 5"),
        (
            "ddt_utils/_estimates.py",
            "ESCAPED, CENSORED, DIVERGED = 1, 2, 3",
            "ESCAPED, CENSORED, DIVERGED = 1, 3, 2",
        ),
        ("ddt_utils/noise.py", '"stratonovich": 0.5', '"stratonovich": 0.4'),
        ("ddt_utils/simulate/program.py", "LANES = 64", "LANES = 32"),
        ("ddt_utils/simulate/cpu.txt", "def advance(", "def  advance("),
        ("requirements.txt", "sympy==", "sympy==0"),
    ],
    ids=lambda value: value.replace("\n", " ")[:30],
)
def test_a_notebook_made_by_other_code_is_stale(repository, file, right, wrong):
    text, before = repository / TEXT, notebooks.fingerprint(repository / TEXT)
    edit(repository / file, right, wrong)
    assert notebooks.fingerprint(text) != before
    assert notebooks.is_stale(text)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("# A small chapter", "# A short chapter"),
        ("tags: [keep]", "tags: [drop]"),
        (
            "```{code-cell} ipython3\nimport json",
            "One more.\n\n```{code-cell} ipython3\nimport json",
        ),
    ],
    ids=["a word", "a tag", "a paragraph"],
)
def test_a_notebook_of_another_text_is_stale(repository, right, wrong):
    text = repository / TEXT
    edit(text, right, wrong)
    notebook = nbformat.read(text.with_suffix(".ipynb"), as_version=4)
    assert not notebooks.same_text(text, notebook)
    assert notebooks.is_stale(text)


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        (TEXT, 'already = "here"', 'already = "there"'),
        ("ddt_utils/escape.py", "What a set of escape times says", "What escape times say"),
        ("ddt_utils/theory/sgd.py", "import numpy as np\n", "import numpy as np\n\nmore = 1\n"),
        ("requirements.txt", "pytest==", "pytest==0"),
    ],
    ids=["the set-up cell", "a docstring", "a room that is not reached", "a pin of a tool"],
)
def test_what_decides_no_output_makes_no_notebook_stale(repository, file, right, wrong):
    edit(repository / file, right, wrong)
    assert not notebooks.is_stale(repository / TEXT)


@pytest.fixture(scope="module")
def compared(executed, tmp_path_factory):
    """Which cells nbval finds different, in the true notebook and in a tampered one."""
    folder = tmp_path_factory.mktemp("nbval").resolve()
    shutil.copy(executed / "book" / "part" / "heights.json", folder)
    notebook = nbformat.read((executed / TEXT).with_suffix(".ipynb"), as_version=4)
    nbformat.write(notebook, folder / "true.ipynb")
    _, first, second, third = (c.outputs for c in notebook.cells if c.cell_type == "code")
    assert first[0].text == "sm-height = 1.20 ± 0.10\n"
    first[0].text = "sm-height = 1.21 ± 0.10\n"
    assert second[1].data == {GLUED: "'2.4'"}
    second[1].data = {GLUED: "'2.5'"}
    assert third[1].data[MIME_TYPE]["status"] == "measured"
    third[1].data[MIME_TYPE]["status"] = "derived"
    nbformat.write(notebook, folder / "tampered.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval"]
    command += ["--nbval-current-env", "-p", "nbval.plugin", "-p", "tests.nbval_plugin"]
    command += ["--nbval-sanitize-with", "tests/nbval-sanitize.cfg"]
    command += [f"--junitxml={folder / 'r.xml'}", str(folder)]
    run = subprocess.run(command, cwd=ROOT, env=bare(), capture_output=True, text=True)
    assert run.returncode == 1, run.stdout + run.stderr
    differ = {"true": [], "tampered": []}
    for case in ElementTree.parse(folder / "r.xml").iter("testcase"):
        assert case.find("error") is None and case.find("skipped") is None, run.stdout
        (name,) = [name for name in differ if name in case.get("classname")]
        differ[name].append(case.find("failure") is not None)
    return differ


@pytest.mark.parametrize(
    ("notebook", "differing"),
    [("true", [False] * 4), ("tampered", [False, True, True, True])],
)
def test_nbval_sees_every_output_that_was_tampered_with(notebook, differing, compared):
    """The set-up cell is true in both; the others have one false output each."""
    assert compared[notebook] == differing
