"""Hygiene of the repository: pins, names, vendored assets, the one address."""

import hashlib
import importlib
import inspect
import json
import re
import subprocess
import sys
import tomllib

import address
import drawings
import pages
import plain_notebooks
import pytest
from fontTools.ttLib import TTFont
from notebooks import ROOT

from ddt_utils import _sources

TRACKED = subprocess.run(
    ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
).stdout.split("\n")
TEXTS = [
    f
    for f in TRACKED
    if f.endswith(
        (".md", ".py", ".yml", ".toml", ".txt", ".lock", ".cfg", ".sh", ".css", ".cff", ".ipynb")
    )
    and "vendor" not in f
    and (ROOT / f).is_file()
]


def test_the_package_has_lower_bounds_only():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = sum(project["optional-dependencies"].values(), [])
    for requirement in [*project["dependencies"], *extras]:
        assert re.fullmatch(r"[\w-]+>=[\d.]+", requirement)


def test_the_address_is_the_same_everywhere():
    for path, text in address.wanted().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run make address"


def test_the_address_stands_in_one_place():
    here = address.address()["url"]
    files = {*address.wanted(), *plain_notebooks.wanted(), ROOT / "_config.yml"}
    derived = {p.relative_to(ROOT).as_posix() for p in files}
    naming = {f for f in TEXTS if here in (ROOT / f).read_text(encoding="utf-8")}
    assert naming <= derived


def test_no_file_names_a_machine():
    pattern = re.compile("/" + "work/|/" + "root/|/home/" + r"\w|" + "file" + r":///\w")
    for name in TEXTS:
        found = pattern.search((ROOT / name).read_text(encoding="utf-8"))
        assert not found, f"{name}: {found[0]}"


def test_no_file_holds_a_conflict():
    for name in TEXTS:
        found = re.search(r"(?m)^(<{7}|>{7}) \S", (ROOT / name).read_text(encoding="utf-8"))
        assert not found, f"{name}: a conflict that nobody resolved"


def test_vendored_assets_are_what_they_were():
    listed = (ROOT / "book" / "_static" / "vendored.sha256").read_text().splitlines()
    assert len(listed) >= 15
    for line in listed:
        digest, name = line.split(maxsplit=1)
        assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == digest, name


def test_the_book_was_built_whole():
    assert pages.problems(ROOT / "_build" / "html") == []


_SHADE = r"\b(dark|light|bright|pale)(er|est)?\b|\b(black|grey|gray)\b|\bwhite\b(?![- ]noise)"


def test_no_caption_names_a_shade():
    """Dark is light in the other theme; a line is named by its style or by what it means."""
    for page in sorted((ROOT / "_build" / "html" / "book").rglob("*.html")):
        captions = re.findall(r"<figcaption>.*?</figcaption>", page.read_text("utf-8"), re.S)
        for caption in captions:
            words = " ".join(re.sub(r"<[^>]*>", "", caption).split())
            found = re.search(_SHADE, words, re.I)
            assert not found, f"{page.stem}: {found[0]!r} in “{words}”"


def test_the_icon_fonts_have_every_icon_of_the_built_style_sheet():
    static = ROOT / "_build" / "html" / "_static"
    css = (static / "book.css").read_text(encoding="utf-8")
    signs = re.findall("[\ue000-\uf8ff]", css)
    named = {ord(s) for s in signs} | {int(c, 16) for c in re.findall(r'"\\(f[0-9a-f]{3})"', css)}
    fonts = [TTFont(font) for font in static.glob("vendor/fontawesome/webfonts/*.woff")]
    assert len(fonts) == 3 and len(named) > 20 and signs
    assert named <= set().union(*(font.getBestCmap() for font in fonts))


def test_a_missing_page_is_noticed(tmp_path):
    assert "book/index.html is missing" in pages.problems(tmp_path)


def test_every_drawing_looks_as_its_tool_draws_it():
    """The README's picture, the charts of the benchmarks, the thumbnails and the logos."""
    assert [path.name for path in drawings.changed()] == [], "run make drawings"


def test_other_libraries_have_the_same_matrices():
    """As the benchmark found them; to 1e-6 or better."""
    stored = json.loads((drawings.BENCHMARKS / "spectrum.json").read_text(encoding="utf-8"))
    for found in stored["differences"].values():
        assert set(found) == {"Hessian", "Fisher matrix", "second moment", "product, PyHessian"}
        assert max(found.values()) < 1e-6


def test_every_picture_and_file_of_the_readme_exists():
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_make_help_lists_the_verbs():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    for verb in (
        "book",
        "test",
        "quick",
        "notebooks",
        "serve",
        "clean",
        "address",
        "test-colab",
        "lock",
    ):
        assert re.search(rf"(?m)^{verb}\s+\w", said)


def test_every_room_is_documented_and_every_public_name_explained():
    pages_ = (ROOT / "book" / "api").glob("*.md")
    page = "".join(path.read_text(encoding="utf-8") for path in pages_)
    for path in sorted((ROOT / "ddt_utils").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        room = importlib.import_module(name)
        assert room.__doc__
        if parts[1].startswith("_") and parts[1] != "__init__":
            continue  # a part, which no chapter imports
        assert name.count(".") != 1 or f".. automodule:: {name}\n" in page, name
        for label, thing in vars(room).items():
            if getattr(thing, "__module__", None) != name or label.startswith("_"):
                continue
            assert inspect.getdoc(thing), f"{name}.{label} has no docstring"
            for part, member in vars(thing).items() if inspect.isclass(thing) else ():
                if not part.startswith("_") and (callable(member) or isinstance(member, property)):
                    assert inspect.getdoc(member), f"{name}.{label}.{part} has no docstring"


def test_every_package_of_the_package_is_installed():
    """Setuptools is told the packages by name, so a new folder is forgotten easily."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    folders = {p.parent for p in (ROOT / "ddt_utils").rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(told["setuptools"]["packages"]) == names


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, ddt_utils; print(*{'numba', 'torch', 'sympy', 'scipy'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""


@pytest.mark.parametrize("name", ["README.md"])
def test_the_readme_s_code_runs(name):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)
    assert blocks
    for block in blocks:
        source = "\n".join(line.removeprefix("  ") for line in block.splitlines())
        exec(compile(source, name, "exec"), {})


# --- the size of the house -----------------------------------------------------------------------

LINES = 330
EXAMPLE = re.compile(r"\n( *)Example:\n(?:\1 +\S.*\n|\n(?=\1 +\S))+")  # of several paragraphs too


def test_a_room_is_no_longer_than_contributing_says():
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"A room has at most {LINES} lines, the examples of its docstrings not counted" in told
    for path in sorted((ROOT / "ddt_utils").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = len(EXAMPLE.sub("", text).splitlines())
        assert lines <= LINES, f"{path.name} has {lines} lines; split it where a reader would look"


def test_every_room_stands_in_contributing_and_imports_what_is_said_there():
    """Rooms import each other as the first table says, and parts whatever they like."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## The rooms")[1]
    first, second = re.findall(r"(?m)(?:^\|.*\n)+", text)[:2]
    said = dict(re.findall(r"(?m)^\| `(\w+)` \|.*\| ([^|]+) \|$", first))
    parts = set(re.findall(r"`(_\w+)`", second))
    assert set(said) | parts == _sources.rooms()
    for room in said:
        texts = [p.read_text(encoding="utf-8") for p in _sources.files(room) if p.suffix == ".py"]
        found = set().union(*map(_sources.imports, texts)) - {room} - parts
        assert found <= set(said[room].split(", ")), f"{room} imports {found}"
