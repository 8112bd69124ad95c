"""The module's pages: one a room, an example for every name, a drawing that follows the imports."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import module_pages  # noqa: E402

ROOMS = module_pages.rooms()
WITHOUT_EXAMPLE = {  # why an example would show nothing
    "Criterion": "what criteria share; it is never made itself",
    "Rule": "what rules share; it is never made itself",
    "Estimates": "what results share; it is never made itself",
    "Interrupted": "raised by Ctrl-C",
    "sweep": "starts processes; its docstring shows a call that nothing runs",
    "fetch": "asks the network; its docstring says what for",
}


def offered(room):
    """The functions and classes of a room, by name."""
    module = importlib.import_module(f"ddt_utils.{room}")
    named = getattr(module, "__all__", None) or [
        n for n, t in vars(module).items() if getattr(t, "__module__", None) == module.__name__
    ]
    found = {n: getattr(module, n) for n in named if not n.startswith("_")}
    return {n: t for n, t in found.items() if inspect.isclass(t) or inspect.isroutine(t)}


def test_every_room_has_its_page():
    assert set(ROOMS) == set(module_pages.imports())
    assert {p.stem for p in module_pages.PAGES.glob("*.md")} == set(ROOMS)
    for room in ROOMS:
        page = (module_pages.PAGES / f"{room}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {room}\n")
        assert f".. automodule:: ddt_utils.{room}\n   :members:" in page


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_an_example(room):
    names = offered(room)
    assert names
    for name, thing in names.items():
        shown = ">>>" in (inspect.getdoc(thing) or "")
        assert shown != (name in WITHOUT_EXAMPLE), f"{room}.{name}"


@pytest.mark.parametrize("room", ROOMS)
def test_an_example_fits_the_page(room):
    for name, thing in offered(room).items():
        for line in inspect.getdoc(thing).splitlines():
            code = re.match(r"\s*((?:>>>|\.\.\.) .*)", line)
            assert not code or len(code[1].split("  # doctest")[0]) <= 75, f"{room}.{name}: {line}"


def test_the_drawing_shows_every_room_above_what_it_imports():
    needs = module_pages.imports()
    assert "noise" in needs["exact"] and "landscape" in needs["paths"]
    drawing = BeautifulSoup(module_pages.drawing(needs), "html.parser")
    height = {a.text: float(a.rect["y"]) for a in drawing.select("a")}
    assert set(height) == set(needs)
    for room, ones in needs.items():
        assert all(height[room] < height[one] for one in ones)
    assert "paths imports critical, landscape" in drawing.svg["aria-label"]
    assert {a["href"] for a in drawing.select("a")} == {f"api/{room}.html" for room in needs}


def test_an_import_that_others_imply_is_not_drawn():
    needs = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert module_pages.needed(needs) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_an_initial_at_the_start_of_a_line_is_no_list():
    lines = ["    B. of m losses", "D.", "1. first", "A word."]
    module_pages.no_lists_of_initials(None, None, None, None, None, lines)
    assert lines == [r"    \B. of m losses", r"\D.", "1. first", "A word."]
