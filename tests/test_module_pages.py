"""The module's pages: one a room, an example for every name, a drawing that follows the imports."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest
import yaml
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


def examples(room):
    """The docstrings with examples on the page of a room, by the name that it gives them."""
    module = importlib.import_module(f"ddt_utils.{room}")
    found = {module.__name__: module}
    for name, thing in offered(room).items():
        found[f"{module.__name__}.{name}"] = thing
        if inspect.isclass(thing):
            mine = inspect.getmembers(thing, lambda m: inspect.isroutine(m) or hasattr(m, "fget"))
            found |= {f"{module.__name__}.{name}.{n}": m for n, m in mine if n[0] != "_"}
    return {n: t for n, t in found.items() if ">>>" in (inspect.getdoc(t) or "")}


@pytest.mark.parametrize("room", ROOMS)
def test_an_example_on_a_page_knows_every_name_that_it_uses(room):
    for name, thing in examples(room).items():
        lines = inspect.getdoc(thing).splitlines()
        before = [line for line in lines if ">>>" not in line]
        module_pages.with_imports(None, None, name, thing, None, lines)
        assert module_pages.free_names("\n".join(lines)) == [], name
        assert [line for line in lines if ">>>" not in line] == before
        added = module_pages.imports_for(name, thing, inspect.getdoc(thing))
        assert all(len(f">>> {line}") <= 75 for line in added), name
        assert "_" not in "".join(re.findall(r"(?:\.| )(_)\w+", " ".join(added))), added
        exec("\n".join(added), {})


def test_an_example_is_introduced_as_a_reader_would():
    from ddt_utils import chains, networks, replicas, simulate, uci

    def added(name, thing):
        return module_pages.imports_for(name, thing, inspect.getdoc(thing))

    for name, thing, statements in (
        ("chains.Outcome", chains.Outcome, ["import sympy as sp", "chains Outcome"]),
        ("networks.from_module", networks.from_module, ["networks from_module"]),
        ("modules.from_module", networks.from_module, ["modules from_module"]),
        ("replicas.sgld", replicas.sgld, ["replicas sgld"]),
        (
            "simulate.momentum",
            simulate.momentum,
            ["import sympy as sp", "simulate euler_maruyama, momentum"],
        ),
        ("uci.checksum", uci.checksum, ["dataset Dataset", "uci checksum"]),
    ):
        wanted = [re.sub(r"^(?!import)(\w+) ", r"from ddt_utils.\1 import ", s) for s in statements]
        assert added(f"ddt_utils.{name}", thing) == wanted


def test_names_of_an_example_that_it_makes_itself_are_not_imported():
    text = ">>> import os\n>>> def f(a):\n...     return a + b + len(os.sep)\n>>> f([c for c in d])"
    assert module_pages.free_names(text) == ["b", "d"]


def test_the_default_of_a_field_is_no_method():
    from ddt_utils.simulate import Problem

    def skipped(name):
        thing = inspect.getattr_static(Problem, name)
        return module_pages.foreign_defaults(None, "class", name, thing, False, None)

    assert skipped("rule") and not skipped("times") and not skipped("limit")
    rule = inspect.getattr_static(Problem, "rule")
    assert not module_pages.foreign_defaults(None, "module", "a", rule, False, None)


def test_what_is_copied_of_an_example_is_python():
    from sphinx.highlighting import PygmentsBridge

    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]
    text = ">>> def f(a):\n...     return a + 1\n>>> f(2)\n3\n>>> f(4)\n5\n"
    page = BeautifulSoup(PygmentsBridge().highlight_block(text, "pycon"), "html.parser")
    for piece in page.select(config["copybutton_exclude"]):
        piece.decompose()
    lines = [line for line in page.pre.get_text().splitlines() if line.strip()]
    assert lines == ["def f(a):", "    return a + 1", "f(2)", "f(4)"]
