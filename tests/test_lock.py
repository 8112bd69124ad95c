"""What is asked for, what is locked and what is installed are one set."""

import ast
import re
import sys
import tomllib
from importlib import metadata

import lock
import pytest
from lock import ROOT, canonicalize_name

FOLDERS = ("ddt_utils", "tools", "tests", "book/_ext")
OPTIONAL = {"numba-cuda"}  # the tests of CUDA run where it is
ASKED, LOCKED = lock.pins(lock.ASKED), lock.pins(lock.LOCK)


def test_what_is_installed_is_what_is_locked():
    assert lock.differences() == [], "run make clean and make book, or make lock"


def test_what_is_asked_for_is_locked_at_the_same_version():
    assert ASKED.items() <= LOCKED.items()


def test_every_asked_package_is_explained():
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Dependencies")[1]
    for line in lock.ASKED.read_text(encoding="utf-8").splitlines():
        name = line.split("==")[0]
        assert line.startswith("#") or name in told, f"CONTRIBUTING.md does not say why {name}"


def test_the_lock_serves_every_python_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={lock.PYTHONS[0]}"
    assert ".".join(map(str, sys.version_info[:2])) in lock.PYTHONS
    header = lock.LOCK.read_text(encoding="utf-8").splitlines()[0]
    assert header.endswith(f"for Python {', '.join(lock.PYTHONS)}.")
    workflow = (ROOT / ".github" / "workflows" / "book.yml").read_text(encoding="utf-8")
    assert f'python: ["{lock.PYTHONS[0]}", "{lock.PYTHONS[-1]}"]' in workflow


def test_every_import_is_asked_for():
    """Except what the benchmarks compare with, which has a list of its own."""
    known = metadata.packages_distributions()
    own = {path.stem for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    for path in (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))):
        for name in _imported(path) - own - set(sys.stdlib_module_names) - {*FOLDERS}:
            found = {canonicalize_name(d) for d in known.get(name, [name])}
            assert found & (set(ASKED) | OPTIONAL), f"{path}: {name} is not in requirements.txt"


def _imported(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


NEEDS = {
    "a": ["b>=1; python_version < '3.12'", "c[x]"],
    "c": ["d; extra == 'x'", "e; extra == 'y'", "f; sys_platform == 'win32'"],
    "torch": ["g", "cuda==1; platform_system == 'Linux'"],
    "b": [],
    "d": ["lost>2"],
}


@pytest.mark.parametrize(
    ("asked", "python", "found", "missing"),
    [
        (["a"], "3.11", {"a", "b", "c", "d"}, {"lost"}),
        (["a"], "3.13", {"a", "c", "d"}, {"lost"}),
        (["c", "torch"], "3.12", {"c", "torch"}, {"g"}),
        (["c[y]"], "3.12", {"c"}, {"e"}),
    ],
)
def test_what_is_needed_is_followed_under_each_python(asked, python, found, missing):
    assert lock.reached(asked, NEEDS, python) == (found, missing)


def test_a_difference_from_the_lock_is_named(tmp_path):
    text = lock.LOCK.read_text(encoding="utf-8")
    other = re.sub(r"(?m)^sympy==.*$", "sympy==0.1", re.sub(r"(?m)^tqdm==.*\n", "", text))
    path = tmp_path / "requirements.lock"
    path.write_text(other + "ghost==1.0\nold==2 ; python_version < '3.0'\n", encoding="utf-8")
    assert lock.differences(path) == [
        "ghost 1.0 is locked, not installed",
        f"sympy 0.1 is locked, {metadata.version('sympy')} installed",
        f"tqdm {metadata.version('tqdm')} is installed, not locked",
    ]


def test_a_line_that_pins_nothing_is_refused(tmp_path):
    path = tmp_path / "requirements.lock"
    path.write_text("# a comment\nnumpy>=2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lines like name==1.2, got 'numpy>=2'; run make lock"):
        lock.pins(path)


def test_the_lock_says_which_pythons_need_a_package():
    rows = {"old": ("1.0", {"3.11"}), "all": ("2.0", set(lock.PYTHONS))}
    assert lock.written(rows).splitlines()[2:] == [
        'old==1.0 ; python_version == "3.11"',
        "all==2.0",
    ]
