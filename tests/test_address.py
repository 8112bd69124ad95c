"""The repository's address: what can be used gives working cells, the rest is refused at once."""

import ast

import address
import pytest
import yaml

LONG = "https://github.com/" + "o" * 39 + "/" + "a-rather-long-name-of-a-repository-" * 2 + "x" * 30
CHAPTER = "```{code-cell} ipython3\n:tags: [remove-cell, setup]\n\nold = 1\n```\n"


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Put an address in the place of the repository's."""

    def configure(url, branch="main"):
        text = f"repository:\n  url: {url}\n  branch: {branch}\n"
        (tmp_path / "_config.yml").write_text(text, encoding="utf-8")
        monkeypatch.setattr(address, "ROOT", tmp_path)

    return configure


@pytest.mark.parametrize(
    ("url", "branch", "meant"),
    [
        ("https://github.com/some-lab/escape", "main", "main"),
        ("https://github.com/some-lab/sgd-exponentially-favors-flat-minima", "main", "main"),
        ("https://github.com/some-lab/escape", '"3.10"', "3.10"),
        ("https://github.com/some-lab/escape.of_sgd", "release/2.0+cpu", "release/2.0+cpu"),
        (LONG, "feature/" + "b" * 90, "feature/" + "b" * 90),
    ],
)
def test_an_address_gives_a_cell_that_installs_from_it(url, branch, meant, configured):
    configured(url, branch)
    text = address.rewritten_text(CHAPTER)
    cell = text.split("[remove-cell, setup]\n\n")[1].split("\n```")[0]
    strings = [n.value for n in ast.walk(ast.parse(cell)) if isinstance(n, ast.Constant)]
    assert f"git+{url}@{meant}" in strings
    assert max(map(len, cell.splitlines())) <= 75
    assert address.rewritten_text(text) == text
    citation = yaml.safe_load(address.rewritten_citation("repository-code: x\n"))
    assert citation == {"repository-code": url}


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("git@github.com:some-lab/escape.git", "write https://github.com/some-lab/escape$"),
        ("ssh://git@github.com/some-lab/escape", "write https://github.com/some-lab/escape$"),
        ("https://github.com/some-lab/escape.git", "write https://github.com/some-lab/escape$"),
        ("https://github.com/some-lab/escape/", "write https://github.com/some-lab/escape$"),
        ("http://github.com/some-lab/escape", "write https://github.com/some-lab/escape$"),
        ("github.com/some-lab/escape", "write https://github.com/some-lab/escape$"),
        ("'https://github.com/some-lab/esc\"ape'", "copy it from the browser"),
        ("https://github.com/some-lab", "copy it"),
        ("https://github.com/some-lab/..", "copy it"),
        ("https://github.com/-some-lab/escape", "copy it"),
        ("https://github.com/some-lab/escape/tree/main", "copy it"),
        ("https://github.com/some lab/escape", "copy it"),
        ("https://github.com/some-lab/escäpe", "copy it"),
        ("https://gitlab.com/some-lab/escape", "Colab opens repositories on GitHub only"),
        ("", "got None; copy it"),
        ("[a, b]", r"got \['a', 'b'\]; copy it"),
        ("3", "got 3; copy it"),
    ],
)
def test_an_address_that_would_not_work_is_refused(url, remedy, configured):
    configured(url)
    with pytest.raises(ValueError, match=r"(?s)url in _config.yml must be https.*" + remedy):
        address.rewritten_text(CHAPTER)


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        ("3.10", r'a text, got 3.1; .* needs quotation marks, as in branch: "3.10"'),
        ("on", "a text, got True"),
        ("", "a text, got None"),
        ("2026-11-29", "a text, got datetime.date"),
        ('"a b"', "letters, digits and ._/.-, got 'a b'; write the name that `git branch` shows"),
        ("'a\"b'", "got 'a\"b'"),
        ("-x", "got '-x'"),
        ("a..b", "got 'a..b'"),
        ("a.lock", "got 'a.lock'"),
        ("a/", "got 'a/'"),
        ("/a", "got '/a'"),
    ],
)
def test_a_branch_that_would_not_work_is_refused(branch, message, configured):
    configured("https://github.com/some-lab/escape", branch)
    with pytest.raises(ValueError, match=f"branch in _config.yml must be .*{message}"):
        address.address()


def test_without_an_address_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "_config.yml").write_text("title: none\n")
    monkeypatch.setattr(address, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="got None"):
        address.address()


def test_the_tool_says_what_is_wrong_and_changes_nothing(configured, monkeypatch, capsys):
    configured("git@github.com:some-lab/escape.git")
    monkeypatch.setattr("sys.argv", ["address.py"])
    before = {p: p.read_bytes() for p in address.chapters()}
    assert address.main() == 1
    assert "write https://github.com/some-lab/escape" in capsys.readouterr().err
    assert before == {p: p.read_bytes() for p in address.chapters()}


@pytest.mark.parametrize(
    "content",
    [b"", b"- one", b"<<<<<<< HEAD\na: 1\n", b"a:\n\tb: 1", "title: Höhe".encode("latin-1")],
)
def test_a_damaged_configuration_is_refused_by_name(content, tmp_path, monkeypatch):
    monkeypatch.setattr(address, "ROOT", tmp_path)
    (tmp_path / "_config.yml").write_bytes(content)
    with pytest.raises(ValueError, match="_config.yml must .*git checkout _config.yml"):
        address.address()


@pytest.mark.parametrize("content", ["<<<<<<< HEAD\n{}\n", "", '{"cells": ', "[]", '{"a": 1}'])
def test_a_damaged_notebook_is_named(content, tmp_path):
    stored = tmp_path / "damaged.ipynb"
    stored.write_text(content)
    with pytest.raises(ValueError, match=r"damaged.ipynb is no notebook .*run make notebooks"):
        address.rewritten_notebook(stored, CHAPTER)
