"""Which chapters a quick look executes: what changed, the quickest first, while time allows."""

import json
import shutil
import subprocess

import changed
import pytest

TIMES = {"index": 10.0, "part/a": 31.0, "part/b": 47.0, "part/c": 12.5}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A small repository with four committed chapters."""
    book = tmp_path / "book"
    for name in TIMES:
        path = book / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        path.with_suffix(".md").write_text("---\njupytext: x\n---\n")
    (book / "runtimes.json").write_text(json.dumps({"pages": TIMES}))
    for command in ("init -q", "add -A", "-c user.name=a -c user.email=a@b.c commit -q -m one"):
        subprocess.run(["git", "-C", tmp_path, *command.split()], check=True)
    texts = [book / f"{name}.md" for name in (*TIMES, "part/new one")]
    for name, value in (("ROOT", tmp_path), ("BOOK", book), ("RUNTIMES", book / "runtimes.json")):
        monkeypatch.setattr(changed, name, value)
    monkeypatch.setattr(changed, "chapters", lambda: texts)
    return book


def test_a_chapter_that_changed_is_named_and_a_new_one_too(repository):
    assert changed.changed() == []
    (repository / "part" / "b.ipynb").write_text("{ }")
    (repository / "part" / "a.md").write_text("other")  # a stale notebook is found elsewhere
    shutil.copy(repository / "index.ipynb", repository / "part" / "new one.ipynb")
    assert [p.stem for p in changed.changed()] == ["b", "new one"]


@pytest.mark.parametrize(
    ("seconds", "now", "later"),
    [
        (100, ["index", "c", "a", "b", "new one"], []),
        (60, ["index", "c", "a", "b"], ["new one"]),
        (30, ["index", "c", "a"], ["b", "new one"]),
        (5, ["index"], ["a", "b", "c", "new one"]),
        (4.9, [], ["index", "a", "b", "c", "new one"]),
    ],
)
def test_the_quickest_come_first_and_the_rest_is_named(seconds, now, later, repository):
    found = [repository / f"{name}.ipynb" for name in (*TIMES, "part/new one")]
    chosen, left = changed.within(found, seconds)
    assert [p.stem for p in chosen] == now
    assert [p.stem for p in left] == later


@pytest.mark.parametrize("content", ["<<<<<<< HEAD", '{"pages": [3.5]}'])
def test_run_times_that_are_damaged_are_named(content, repository):
    changed.RUNTIMES.write_text(content)
    with pytest.raises(ValueError, match="runtimes.json is damaged.*git checkout"):
        changed.within([])
