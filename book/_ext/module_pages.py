"""The module's pages: the overview with its drawing, made from the rooms' imports and docstrings.

Each room has a thin page ``book/api/ROOM.md`` that autodoc fills.
"""

from __future__ import annotations

import ast
import builtins
import doctest
import inspect
import re
import symtable
import sys
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from ddt_utils import _sources

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "book" / "api"
WIDTH, ROW, BOX, HIGH, SIZE = 640, 5, 116, 34, 17  # units of the drawing; boxes a row

# links to the page that once held all rooms are sent on
_SENT_ON = (
    "<script>(function () { var m = /^#(?:module-)?ddt_utils\\.(\\w+)/.exec(location.hash); "
    "var to = m && 'api/' + m[1] + '.html'; "
    "if (to && Array.from(document.links).some(function (a) "
    "{ return a.getAttribute('href') === to; })) location.replace(to + location.hash); })();"
    "</script>"
)
_INITIAL = re.compile(r"^(\s*)([A-Za-z])\.(?=\s|$)")  # "B." at the start of a line is no list


def rooms() -> list[str]:
    """The rooms in the order of their pages in the table of contents."""
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"file: book/api/(\w+)", text)


def imports() -> dict[str, set[str]]:
    """Which rooms each room imports, by itself or through a part that it alone needs to know."""
    direct = {
        room: set().union(*(_sources.imports(p.read_text("utf-8")) for p in _python(room))) - {room}
        for room in _sources.rooms()
    }

    def through(room, seen):
        found = set()
        for other in direct[room] - seen:
            found |= through(other, seen | {other}) if other.startswith("_") else {other}
        return found

    names = [room for room in direct if not room.startswith("_")]
    return {room: through(room, {room}) - {room} for room in names}


def _python(room):
    return [path for path in _sources.files(room) if path.suffix == ".py"]


def sentence(room: str) -> str:
    """The first sentence of a room's docstring, as Markdown."""
    file = next(p for p in _python(room) if p.stem in (room, "__init__"))
    first = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))).split("\n\n")[0]
    first = re.sub(r":math:`([^`]*)`", r"$\1$", " ".join(first.split()))
    return re.sub(r":\w+:`~?\.?([\w.]*?)(\w+)`|``([^`]*)``", r"`\2\3`", first)


def layers(needs: dict[str, set[str]]) -> list[list[str]]:
    """The rooms in rows, each above all that it imports, ordered so that few lines cross."""
    level = {}

    def height(room):
        if room not in level:
            level[room] = 1 + max(map(height, needs[room]), default=-1)
        return level[room]

    found = [[] for _ in range(1 + max(map(height, needs)))]
    for room in sorted(needs):
        found[level[room]].append(room)
    users = {r: [u for u in needs if r in needs[u]] for r in needs}
    # what nothing rests on and what rests on nothing stands at the side
    found[0].sort(key=lambda r: (not users[r], r))
    place = {}
    for _ in range(4):
        for row in found:
            for i, room in enumerate(row):
                place[room] = (i + 0.5) / len(row)
        for up, row in enumerate(found):
            near = needs if up else users
            row.sort(
                key=lambda r, near=near: (
                    not (near[r] or users[r]),
                    sum(place[n] for n in near[r]) / max(len(near[r]), 1) if near[r] else place[r],
                )
            )
    return [row[i : i + ROW] for row in found for i in range(0, len(row), ROW)]


def needed(needs: dict[str, set[str]]) -> dict[str, set[str]]:
    """The imports without those that others imply."""

    def below(room):
        return set().union(*(needs[n] | below(n) for n in needs[room]))

    return {r: {n for n in ns if not any(n in below(o) | needs[o] for o in ns - {n})}
            for r, ns in needs.items()}  # fmt: skip


def drawing(needs: dict[str, set[str]]) -> str:
    """The rooms and their imports as an SVG; the higher imports the lower."""
    rows, gap = layers(needs), 62
    high = len(rows) * (HIGH + gap) - gap + 8
    at = {}
    for i, row in enumerate(rows):
        spare = (WIDTH - len(row) * BOX) / (len(row) + 1)
        for k, room in enumerate(row):
            at[room] = (spare + k * (BOX + spare), high - 4 - HIGH - i * (HIGH + gap))
    lines, boxes = [], []
    for room, ones in needed(needs).items():
        x, y = at[room]
        for other in sorted(ones):
            u, v = at[other]
            start, end, bend = (x + BOX / 2, y + HIGH), (u + BOX / 2, v), 0.6 * (v - y - HIGH)
            lines.append(
                f'<path d="M{start[0]:.1f} {start[1]:.1f}C{start[0]:.1f} {start[1] + bend:.1f} '
                f'{end[0]:.1f} {end[1] - bend:.1f} {end[0]:.1f} {end[1]:.1f}" '
                'class="import"/>'
            )
    for room, (x, y) in at.items():
        boxes.append(
            f'<a href="api/{room}.html"><rect x="{x:.1f}" y="{y:.1f}" rx="6" '
            f'width="{BOX}" height="{HIGH}"/>'
            f'<text x="{x + BOX / 2:.1f}" y="{y + 23:.1f}" text-anchor="middle" '
            f'font-size="{SIZE}">{room}</text></a>'
        )
    return (
        f'<svg class="ddt-figure module-map" viewBox="0 0 {WIDTH} {high:.0f}" role="group" '
        f'aria-label="{escape(told(needs))}">{"".join(lines)}{"".join(boxes)}</svg>'
    )


def told(needs: dict[str, set[str]]) -> str:
    """The drawing in words."""
    joints = [f"{r} imports {', '.join(sorted(needs[r]))}" for r in sorted(needs) if needs[r]]
    alone = ", ".join(sorted(room for room in needs if not needs[room]))
    whole = "The rooms of the module and what they import"
    return f"{whole}: {'; '.join(joints)}. {alone} import no other room."


class Overview(SphinxDirective):
    """The drawing of the rooms, and what each is for."""

    def run(self):
        for path in _sources.PACKAGE.rglob("*.py"):
            self.env.note_dependency(str(path))
        caption = (
            "The rooms, from their import statements: a room stands above all that it imports. "
            "A line that others imply is left out."
        )
        figure = (
            f'<figure class="module-figure">{drawing(imports())}'
            f"<figcaption>{caption}</figcaption></figure>{_SENT_ON}"
        )
        lines = ["| room | what it is |", "|---|---|"]
        lines += [f"| [{room}](/book/api/{room}) | {sentence(room)} |" for room in rooms()]
        place = nodes.container()
        self.state.nested_parse(StringList(lines, source=self.env.docname), 0, place)
        return [nodes.raw("", figure, format="html"), *place.children]


def no_lists_of_initials(app, what, name, thing, options, lines):
    """A line of a docstring that begins with "B." or "D." goes on with its sentence."""
    lines[:] = [_INITIAL.sub(r"\1\\\2.", line) for line in lines]


def foreign_defaults(app, what, name, thing, skip, options):
    """A function that a field of a class has as its default is none of its methods."""
    elsewhere = inspect.isfunction(thing) and "." not in thing.__qualname__
    return True if what == "class" and elsewhere else skip


def with_imports(app, what, name, thing, options, lines):
    """The first example of a docstring begins with the names that only its own module knows.

    A doctest runs inside the module that it stands in; a reader copies it into an empty file.
    """
    begin = next((i for i, line in enumerate(lines) if line.lstrip().startswith(">>> ")), None)
    if begin is not None:
        indent = " " * (len(lines[begin]) - len(lines[begin].lstrip()))
        found = imports_for(name, thing, "\n".join(lines))
        lines[begin:begin] = [f"{indent}>>> {statement}" for statement in found]


def imports_for(name: str, thing: object, text: str) -> list[str]:
    """The import statements that the examples of a docstring lack; it is ``name`` on its page."""
    thing = getattr(thing, "fget", thing)
    room = sys.modules[".".join(name.split(".")[:2])]
    own = thing.__name__ if inspect.ismodule(thing) else getattr(thing, "__module__", room.__name__)
    home = sys.modules[own]
    modules, names = [], {}
    for free in free_names(text):
        value = vars(home).get(free, vars(room).get(free))
        if inspect.ismodule(value):
            modules.append(_module_import(value.__name__, free))
        else:
            names.setdefault(_offering(room, free, value), []).append(free)
    return sorted(modules) + [f"from {m} import {', '.join(ns)}" for m, ns in sorted(names.items())]


def _module_import(module, name):
    above, _, last = module.rpartition(".")
    if last == name:
        return f"from {above} import {name}" if above else f"import {name}"
    return f"import {module} as {name}"


def _offering(room, name, value):
    """The module that a reader imports a name from: the page's room, if that is where it stands."""
    own = getattr(value, "__module__", room.__name__)
    public = getattr(room, "__all__", None)
    offered = name in public if public else own.startswith(f"{room.__name__.rpartition('.')[0]}._")
    return room.__name__ if offered or own == room.__name__ else own


def free_names(text: str) -> list[str]:
    """The names that the examples of a text use and do not make themselves, sorted."""
    source = "".join(example.source for example in doctest.DocTestParser().get_examples(text))
    known = set(dir(builtins)) | {"__name__"}

    def used(table):
        top = table.get_type() == "module"
        here = {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
        here |= {s.get_name() for s in table.get_symbols() if top and s.is_referenced()}
        return here.union(*map(used, table.get_children()))

    whole = symtable.symtable(source, "example", "exec")
    made = {s.get_name() for s in whole.get_symbols() if s.is_assigned() or s.is_imported()}
    return sorted(used(whole) - made - known)
