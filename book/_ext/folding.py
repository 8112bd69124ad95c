"""The argument reads without the code: every code cell of a page folds into one quiet line.

The line is told from the cell: its first comment if it begins with one, else its tags and its
calls. What only repeats numbers of the text (the printed lines of ``ledger.number`` and
``ledger.claim``) folds with the code; figures, printed tables and formulas stay where they are, and
verdicts become rows of a table. From a displayed equation a mark leads to the cell that asserts
it, from a number of the text to the cell that computed it, from a verdict to the ledger, and back.

The page and the notebook are held against each other, cell by cell: a page that shows another
cell than its notebook has at that place cannot be published.
"""

from __future__ import annotations

import ast
import json
import os
import re
from functools import cache
from pathlib import Path

from docutils import nodes
from myst_nb.ext.glue.roles import PasteTextRole
from myst_nb.ext.glue.utils import PendingGlueReference
from plain_formulas import with_formulas
from tidy import typeset_number
from verbatim import text_of

from ddt_utils.ledger import MIME_TYPE

ROOT = Path(__file__).resolve().parents[2]
ASSERTS = "asserts-"  # tag: the cell asserts the displayed equation of this label
KEPT, HIDDEN = "keep-output", "hide-output"  # tags: what is printed stays on the page, or folds
GLUED = "from-"  # class by which a number in the text remembers its name until the page is folded
_CHECKED = re.compile(r"standard errors?\b|chi-?sq|chi²|rejected")
_APPLIED = (  # before the first paint, so that nothing moves for who has the code shown
    'try{if(localStorage.getItem("escape-code")=="shown"){document.documentElement.classList.add('
    '"code-shown");document.querySelectorAll("details.code-fold").forEach(function(f){f.open=true})'
    "}}catch(e){}"
)


# --- what a cell says it does --------------------------------------------------------------------

_ROOMS = {  # what a cell does that calls a room of ddt_utils
    "theory": "predicts",
    "exact": "solves by quadrature",
    "discrete": "solves for the discrete walker",
    "generator": "solves on a grid",
    "chains": "solves for the chain",
    "transitions": "follows the crossings",
    "action": "finds the least action",
    "passes": "finds the passes",
    "exponents": "predicts",
    "leak": "predicts",
    "flattening": "follows the flow",
    "flatness": "measures the flatness",
    "limits.extrapolate": "extrapolates",
    "paths": "finds the path",
    "critical": "finds minima and saddles",
    "curvature": "differentiates the model",
    "spectrum": "finds the spectrum",
    "records.larger": "reads a longer run",
    "data": "loads data",
}
_FITS, _COMPARES = ("linear_fit", "line_through"), ("agreement",)
_WALKS = ("first_passage", "ensemble", "step_bias", "Run", "Splitting", "sweep")
_TRAINS = ("Replicas",)
_NAMES = ("Fick", "Simpson", "Kramers", "Gauss", "Newton", "Cauchy")  # keep their capital letter
_ORDER = ("checks", "predicts", "measures", "trains")  # what is said first


def _dotted(node) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _grouped(number: int) -> str:
    return f"{number:,}" if number >= 10_000 else str(number)


def _listed(names: list[str], most: int = 3) -> str:
    """Some names in a row, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class Reader:
    """Reads the code cells of a chapter in their order and says of each what it does.

    A function of the chapter does for its caller what its own code does, and a name stands for
    the whole number that an earlier cell gave to it.
    """

    def __init__(self):
        self.functions: dict[str, list[ast.AST]] = {}
        self.numbers: dict[str, int] = {}

    def line(self, source: str, *, asserts=False, claims=0, figures=(), glued=()) -> str:
        """What the cell does, in one line.

        Args:
            source: its code.
            asserts: does it assert a displayed equation? Their numbers stand beside the line.
            claims: how many claims it judges.
            figures: the numbers of its figures, as the page has them.
            glued: the names of the numbers that it gives to the text.
        """
        try:
            tree = ast.parse(source)
        except SyntaxError:  # a magic command, say
            tree = ast.parse("")
        does, names = self._does(tree), self._names(tree)
        parts = ["asserts"] if asserts else [] if claims else does
        if claims:
            parts += ["judges the claim" if claims == 1 else f"judges {claims} claims"]
        parts = parts[:2] + [f"draws {_listed(list(figures))}"] * bool(figures)
        if glued and parts in ([], ["checks"]):
            parts.append(f"computes {len(glued)} number{'s' * (len(glued) > 1)} of the text")
        said = first_comment(source) or " · ".join(parts or [self._plain(tree, names)])
        return f"{said} · asserts" if asserts and first_comment(source) else said

    def _does(self, tree) -> list[str]:
        """What the calls and assertions of a cell amount to, the most telling first."""
        found: dict[str, None] = {}
        walkers: list[int | None] = []
        for node in self._reached(tree):
            if isinstance(node, ast.Assert):
                found["checks"] = None
            if not isinstance(node, ast.Call):
                continue
            name = _dotted(node.func)
            room, last = name.split(".")[0], name.split(".")[-1]
            if last in _WALKS and room in ("simulate", last):
                found["measures"] = None
                walkers += [self._whole(k.value) for k in node.keywords if k.arg == "walkers"]
            elif last in _TRAINS:
                found["trains replicas"] = None
            elif last in _FITS:
                found["fits a line"] = None
            elif last in _COMPARES:
                found["counts standard errors"] = None
            elif what := _ROOMS.get(name) or _ROOMS.get(room):
                found[what] = None
        told = [self._measured(walkers) if what == "measures" else what for what in found]
        return sorted(told, key=lambda w: [not w.startswith(o) for o in _ORDER])

    @staticmethod
    def _measured(walkers):
        known = sorted({number for number in walkers if number})
        if not known:
            return "measures"
        span = _grouped(known[-1])
        if len(known) > 1:
            span = f"{_grouped(known[0])} to {span}"
        return f"measures: {span} walker" + "s" * (known[-1] > 1)

    def _reached(self, tree):
        """The nodes that run when the cell does: not the bodies of what it only defines."""
        seen, waiting = set(), [n for n in tree.body if not isinstance(n, ast.FunctionDef)]
        self.functions |= {n.name: n.body for n in tree.body if isinstance(n, ast.FunctionDef)}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if (number := self._whole(node.value)) is not None:
                    self.numbers[node.targets[0].id] = number
        while waiting:
            for node in ast.walk(waiting.pop(0)):
                yield node
                name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
                if name in self.functions and name not in seen:
                    seen.add(name)
                    waiting += self.functions[name]

    def _whole(self, node) -> int | None:
        """A whole number that is written down, here or in an earlier cell."""
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        if isinstance(node, ast.Name):
            return self.numbers.get(node.id)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            sides = self._whole(node.left), self._whole(node.right)
            return None if None in sides else sides[0] * sides[1]
        return None

    @staticmethod
    def _names(tree) -> list[str]:
        """The names that the cell gives values to."""
        targets = [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
        flat = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])]
        return list(dict.fromkeys(e.id for e in flat if isinstance(e, ast.Name)))

    @staticmethod
    def _plain(tree, names) -> str:
        """The last resort: what is left to say about a cell."""
        imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        defined = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        if 2 * len(imports) > len(tree.body):
            return "imports"
        if defined:
            said = [ast.get_docstring(n) for n in tree.body if isinstance(n, ast.FunctionDef)]
            if len(defined) == 1 and said and said[0]:
                return _running(said[0].split("\n")[0].rstrip("."))
            return "defines " + _listed(defined)
        return "sets " + _listed(names) if names else "shows"


def first_comment(source: str) -> str:
    """The comment with which a cell begins, if it begins with one, as running text."""
    lines = []
    for line in source.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#! ").rstrip())
    text = _running(" ".join(lines).rstrip("."))
    return text if len(text) <= 110 else re.split(r"(?<=[a-z0-9)])[.;:] ", text)[0]


def _running(text: str) -> str:
    """A sentence as it goes on in a line: with a small letter, but for a name or a symbol."""
    if re.match(r"[A-Z][a-z]+\b|A ", text) and not text.startswith(_NAMES):
        return text[0].lower() + text[1:]
    return text


# --- the parts of a notebook ---------------------------------------------------------------------


def shown_cells(notebook: dict) -> list[dict]:
    """The code cells that a page shows, in their order."""
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    return [c for c in cells if "remove-cell" not in c["metadata"].get("tags", [])]


def _source(cell) -> str:
    return "".join(cell["source"])


def _outputs(cell, kind):
    """The data of one kind that a cell wrote."""
    for output in cell["outputs"]:
        for mime, data in output.get("data", {}).items():
            if mime == kind:
                yield json.loads(data) if isinstance(data, str) else data


def claims_of(cell) -> list[dict]:
    """The claims that a cell judges."""
    return list(_outputs(cell, MIME_TYPE))


def glued_by(cell) -> list[str]:
    """The names of the numbers that a cell gives to the text."""
    named = [o.get("metadata", {}).get("scrapbook", {}).get("name") for o in cell["outputs"]]
    return [name for name in named if name]


@cache
def places(notebook: Path) -> dict[str, str]:
    """Where on its page every number of a notebook was computed."""
    cells = shown_cells(json.loads(notebook.read_text(encoding="utf-8")))
    return {name: f"#cell-{i}" for i, cell in enumerate(cells, 1) for name in glued_by(cell)}


def printed(lines: list[str], cell: dict) -> tuple[list[str], list[str]]:
    """Split what a cell printed into what folds with its code and what stays on the page.

    A line that repeats a number of the text, or a verdict, folds. What is left stays if it is a
    table or a listing, three lines or more; not if it checks something (it then says by how
    many standard errors), or belongs to a figure that shows the same.
    """
    names, claims = set(glued_by(cell)), claims_of(cell)
    tags = cell["metadata"].get("tags", [])

    def repeats(line):
        return line.partition(" = ")[0] in names or any(
            line.startswith(f"{claim['key']}: {claim['status']}.") for claim in claims
        )

    rest = [line for line in lines if not repeats(line)]
    told = [line for line in rest if line.strip()]
    checks = bool(told) and all(_CHECKED.search(line) for line in told)
    figure = "figure" in cell["metadata"].get("mystnb", {})
    stays = len(told) >= 3 and not checks and not figure and HIDDEN not in tags
    if KEPT in tags and told or stays:
        return [line for line in lines if repeats(line)], "\n".join(rest).strip("\n").split("\n")
    return lines, []


# --- printed tables ------------------------------------------------------------------------------

_NUMBER = re.compile(r"[+−-]?\d[\d.,]*(?:e[+-]?\d+)?(?: ± [\d.]+)?[%°D]?|[-–]|")
_RAGGED = re.compile(r"  |=$|\d [+−-]?\d")  # two cells that were not told apart


def _numeric(cells) -> bool:
    return any(cells) and all(_NUMBER.fullmatch(cell) for cell in cells)


def _cut(lines: list[str]) -> list[list[str]]:
    """Lines cut into cells where all of them have a space, words of one cell kept together."""
    width = max(map(len, lines))
    padded = [line.ljust(width) for line in lines]
    used = [any(line[i] != " " for line in padded) for i in range(width)]
    spans = [found.span() for found in re.finditer("x+", "".join(" x"[u] for u in used))]
    kept: list[tuple[int, int]] = []
    for start, end in spans:
        if kept and start - kept[-1][1] == 1:
            left = [line[slice(*kept[-1])].strip() for line in padded]
            right = [line[start:end].strip() for line in padded]
            numbers = _numeric(left[1:]) and _numeric(right[1:])  # below the heads
            if not numbers or "±" in (left[-1][-1:], right[-1]):
                kept[-1] = (kept[-1][0], end)
                continue
        kept.append((start, end))
    return [[line[a:b].strip() for a, b in kept] for line in padded]


def table_of(lines: list[str]) -> tuple[str, list[str], list[list[str]]] | None:
    """A printed table as title, heads and rows, if its columns are even; else None.

    Example:
        >>> table_of(["B  found", "1   0.25", "2   0.50"])
        ('', ['B', 'found'], [['1', '0.25'], ['2', '0.50']])
    """
    if len(lines) < 3 or not all(line.strip() for line in lines):
        return None
    for title, rest in (("", lines), (lines[0].strip(), lines[1:])):
        rows = _cut(rest)
        headed = [
            _numeric(column[1:]) and not _numeric(column[:1]) for column in zip(*rows, strict=True)
        ]
        heads = rows[0] if sum(headed) > 1 or headed == [False, True] else []
        body = rows[1:] if heads else rows
        columns = list(zip(*body, strict=True))
        even = sum(map(_numeric, columns)) if all(map(any, columns)) else 0
        ragged = any(_RAGGED.search(cell) for row in [[title], *rows] for cell in row)
        if even > 1 and len(body) > 1 and not ragged:
            return title, heads, body
    return None


# --- folding a page ------------------------------------------------------------------------------

_COLUMNS = ("claim", "theory", "exact", "found", "verdict")


class Folder:
    """Folds the cells of one page.

    Args:
        page: its soup, as Sphinx wrote it.
        notebook: the notebook that it shows.
        up: the way from the page to the folder of the ledger page, with a slash at its end.
        elsewhere: tells where a number of another notebook was computed, seen from this page.
    """

    def __init__(self, page, notebook: dict, up: str = "", elsewhere=lambda name: ""):
        self.page, self.up, self.elsewhere = page, up, elsewhere
        self.cells = shown_cells(notebook)
        self.article = page.find("article") or page
        self.boxes = self.article.find_all("div", class_="cell")
        self.equations = {
            box["id"]: number
            for box in self.article.find_all("div", class_="math", id=True)
            if (number := box.find(class_="eqno"))
        }
        self.reader = Reader()
        self.wrong: list[str] = []

    def fold(self) -> list[str]:
        """Fold every cell; returns what is wrong with the page."""
        if problem := self.difference():
            return [problem]
        self.link_numbers()
        group, groups = None, []
        for i, (box, cell) in enumerate(zip(self.boxes, self.cells, strict=True), 1):
            follows = group is not None and box.find_previous_sibling() is group[-1]
            self.fold_cell(box, cell, f"cell-{i}")
            if claims := claims_of(cell):  # of cells side by side one table
                if not follows:
                    group = [box, [], box]
                    groups.append(group)
                group[1].extend(claims)
                group[-1] = box
            else:
                group = None
        for box, claims, _ in groups:
            box.find(class_="fold").insert_before(self.verdicts(claims))
        if self.boxes:
            self.offer()
        return self.wrong

    def difference(self) -> str:
        """Where page and notebook disagree, if they do."""
        for i, (box, cell) in enumerate(zip(self.boxes, self.cells, strict=False), 1):
            code = box.select_one("div.cell_input pre")
            here, there = text_of(code) if code else "", _source(cell)
            if here.split() != there.split() and "remove-input" not in _tags(cell):
                return (
                    f"code cell {i} of the page is not cell {i} of its notebook: the page has "
                    f"{_start(here)!r}, the notebook {_start(there)!r}; build the page again"
                )
        if len(self.boxes) != len(self.cells):
            return (
                f"the page shows {len(self.boxes)} code cells, its notebook has "
                f"{len(self.cells)}; build the page again"
            )
        return ""

    def tag(self, name, *inside, **attributes):
        """A new element; an underscore stands for a hyphen, and one at the end is left out."""
        named = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items()}
        made = self.page.new_tag(name, attrs=named)
        for part in inside:
            made.append(part)
        return made

    # --- one cell

    def fold_cell(self, box, cell, place):
        """Put code and what only repeats numbers into one fold, below what stays."""
        code = [e.extract() for e in box.find_all("div", class_="cell_input")]
        outputs = box.find_all("div", class_="cell_output")
        whole = {id(o) for o in outputs if o.find_parent("details", class_="above-input")}
        inside, stays = self.tag("div", class_="cell_output"), []
        for output in outputs:
            if id(output) in whole:  # the author hid the cell with all that it shows
                inside.extend([e.extract() for e in output.find_all(True, recursive=False)])
                continue
            stays += self.sorted_output(output, cell, inside)
        labels = [t.removeprefix(ASSERTS) for t in _tags(cell) if t.startswith(ASSERTS)]
        figures = [
            number.get_text(" ", strip=True)
            for element in stays
            for number in element.find_all("span", class_="caption-number")
        ]
        line = self.reader.line(
            _source(cell),
            asserts=bool(labels),
            claims=len(claims_of(cell)),
            figures=figures,
            glued=glued_by(cell),
        )
        steps = [step for label in labels if (step := self.step(label, place))]
        summary = self.tag("summary")
        if steps:
            summary.append(self.tag("span", class_="tick", aria_hidden="true"))
        summary.append(line)
        if steps:
            said = " " + ", ".join(step.get_text() for step in steps)
            summary.append(self.tag("span", said, class_="only-said"))
        fold = self.tag("details", summary, *code, class_="code-fold", id=place)
        if inside.contents:
            fold.append(inside)
        box.clear()
        box["class"] = [c for c in box["class"] if not c.startswith(f"tag_{ASSERTS}")]
        if stays:
            box.append(self.tag("div", *stays, class_="cell_output"))
        box.append(self.tag("div", fold, class_="fold"))
        if steps:
            box.find(class_="fold").append(self.tag("span", *steps, class_="fold-steps"))

    def sorted_output(self, output, cell, inside):
        """What stays of an output; the rest goes into the fold."""
        elements = [e.extract() for e in output.find_all(True, recursive=False)]
        streams = [e for e in elements if "stream" in e.get("class", ())]
        lines = [line for e in streams for line in text_of(e).strip("\n").split("\n")]
        folded, kept = printed(lines, cell)
        stays = []
        for element in elements:
            if "stream" in element.get("class", ()):
                if kept and element is streams[0]:
                    even = table_of(kept)
                    stays.append(self.table(*even) if even else self.listing(kept))
                if folded and element is streams[0]:
                    inside.append(self.listing(folded))
            elif text_of(element).lstrip().startswith(("Claim(", "[Claim(")):
                inside.append(element)  # the value of the cell's last line
            else:
                stays.append(element)
        return stays

    def table(self, title, heads, rows):
        """A printed table, typeset."""
        numeric = [_numeric(column) for column in zip(*rows, strict=True)]

        def row(cells, name):
            made = self.tag("tr")
            for text, number in zip(cells, numeric, strict=True):
                text = typeset_number(text)
                kind = {"class_": "number"} if number else {}
                made.append(self.tag(name if text else "td", text, **kind))
            return made

        body = self.tag("tbody", *[row(cells, "td") for cells in rows])
        parts = [self.tag("thead", row(heads, "th")), body] if heads else [body]
        if title:
            parts.insert(0, self.tag("caption", title.rstrip(":")))
        table = self.tag("table", *parts, class_="printed")
        return self.tag("div", table, class_="pst-scrollable-table-container")

    def listing(self, lines):
        """Printed lines; a phone sets them so small that the longest fits."""
        columns = max(map(len, lines), default=0)
        pre = self.tag("pre", "\n".join(lines) + "\n", style=f"--columns: {columns}")
        told = not any("  " in line or line.startswith(" ") for line in lines)  # nothing is aligned
        kind = "output stream" + " running" * (told and columns > 62)
        return self.tag("div", self.tag("div", pre, class_="highlight"), class_=kind)

    def step(self, label, place):
        """A link to an asserted equation; the equation gets one to the cell."""
        number = self.equations.get(f"equation-{label}")
        if number is None:
            self.wrong.append(f"a cell asserts {label}, but no equation has this label")
            return None
        said = f"({_number(number)})"
        if not number.find(class_="asserted"):
            tick = self.tag("span", class_="tick", aria_hidden="true")
            number.insert(
                0,
                self.tag(
                    "a",
                    tick,
                    class_="asserted",
                    href=f"#{place}",
                    title="asserted by code",
                    aria_label=f"{said} is asserted: to the code",
                ),
            )
        return self.tag("a", said, href=f"#equation-{label}", aria_label=f"back to equation {said}")

    # --- the page

    def link_numbers(self):
        """Every number of the text knows the cell that computed it.

        It is no link until the code of the page is shown (``folding.js``): sixty links a page
        between the words would be read out one by one, and be in the way of the tabulator key.
        """
        here = {
            name: f"#cell-{i}" for i, cell in enumerate(self.cells, 1) for name in glued_by(cell)
        }
        for number in self.article.find_all("span", class_="pasted-text"):
            kept = [c for c in number["class"] if not c.startswith(GLUED)]
            for name in set(number["class"]) - set(kept):
                name = name.removeprefix(GLUED)
                if place := here.get(name) or ("::" in name and self.elsewhere(name)):
                    number["data-cell"] = place
            number["class"] = kept

    def verdicts(self, claims):
        """The table of claims, with what was predicted and found, and the verdict."""
        exact = any(claim["exact"] for claim in claims)
        columns = [c for c in _COLUMNS if c != "exact" or exact]
        head = self.tag(
            "tr",
            *[self.tag("th", c, scope="col", role="columnheader") for c in columns],
            role="row",
        )
        rows = [self.verdict(claim, columns) for claim in claims]
        table = self.tag(
            "table",
            self.tag("thead", head, role="rowgroup"),
            self.tag("tbody", *rows, role="rowgroup"),
            class_="verdicts",
            role="table",
        )
        return table

    def verdict(self, claim, columns):
        """One row of it."""
        kind = claim["status"].replace(" ", "-")
        told = self.words(claim["statement"])
        if claim["why"]:
            told += [self.tag("span", *self.words(claim["why"]), class_="why")]
        cells = {
            "claim": told,
            "theory": self.side(claim["predicted"], claim["distance"]),
            "exact": self.side(claim["exact"], claim["exact_distance"]),
            "found": self.words(claim["measured"]),
            "verdict": [
                self.tag(
                    "a",
                    claim["status"],
                    class_=f"verdict {kind}",
                    href=f"{self.up}ledger.html#claim-{claim['key']}",
                    title="to its row in the ledger",
                )
            ],
        }
        row = self.tag("tr", id=f"verdict-{claim['key']}", role="row")
        for column in columns:
            row.append(self.tag("td", *cells[column], data_label=column, role="cell"))
        return row

    def side(self, value, distance):
        """A prediction, and where the finding lies, seen from it."""
        told = self.words(value)
        if distance is not None:
            apart = f"{distance:+.1f}".replace("-", "−") + "\N{NO-BREAK SPACE}s.e."
            told += [" ", self.tag("span", apart, class_="apart")]
        return told

    def words(self, text):
        """A text of the ledger, its formulas set."""
        parts = re.split(r"\$([^$]*)\$", with_formulas(text))
        for i, part in enumerate(parts):
            if i % 2:
                parts[i] = self.tag("span", rf"\({part}\)", class_="math")
            else:
                parts[i] = typeset_number(part)
        return [part for part in parts if part]

    def offer(self):
        """The switch in the header, and the reader's last choice before the first paint."""
        buttons = self.page.find(class_="article-header-buttons")
        if buttons is not None:
            buttons.insert(
                0,
                self.tag(
                    "button",
                    self.tag("span", "Code", class_="code-switch__name"),
                    class_="btn btn-sm code-switch",
                    type="button",
                    aria_pressed="false",
                    aria_label="Show all code",
                    aria_keyshortcuts="c",
                    title="Show all code (c)",
                ),
            )
        self.article.append(self.tag("script", _APPLIED))


def _number(place) -> str:
    """The number of an equation, without its brackets."""
    return re.search(r"\(([^()]*)\)", place.get_text())[1]


def _tags(cell) -> list[str]:
    return cell["metadata"].get("tags", [])


def _start(code: str) -> str:
    return next((line.strip() for line in code.splitlines() if line.strip()), "nothing")[:60]


def fold(page, target: Path, app) -> list[str]:
    """Fold the code of one page.

    Args:
        page: its soup, as Sphinx wrote it.
        target: the file of the page.
        app: Sphinx.

    Returns:
        What is wrong with the page, a sentence each.
    """
    name = target.relative_to(app.outdir).with_suffix("").as_posix()
    source = ROOT / f"{name}.ipynb"
    if name == "book/ledger":
        to_the_cells(page)

    def elsewhere(glued):
        document, _, key = glued.partition("::")
        place = places(ROOT / f"{document}.ipynb").get(key)
        other = os.path.relpath(document, Path(name).parent).replace(os.sep, "/")
        return f"{other}.html{place}" if place else ""

    up = os.path.relpath("book", Path(name).parent).replace(os.sep, "/") + "/"
    notebook = {"cells": []}  # a page of text may show numbers of other pages
    if source.is_file():
        notebook = json.loads(source.read_text(encoding="utf-8"))
    return Folder(page, notebook, up, elsewhere).fold()


def to_the_cells(page) -> None:
    """From a row of the ledger to the verdict on its page, below which the cell is folded."""
    for link in page.find_all("a", class_="verdict"):
        row = link.find_parent(id=re.compile("^claim-"))
        if row is not None and "#" not in link["href"]:
            link["href"] += "#" + row["id"].replace("claim-", "verdict-", 1)


# --- when the pages are read ---------------------------------------------------------------------


class Number(PasteTextRole):
    """A computed number in the text, which remembers its name."""

    def run(self):
        made, messages = super().run()
        for i, node in enumerate(made):
            name = self.text.partition(":")[0]
            if isinstance(node, PendingGlueReference):  # of another page
                name = f"{node.refdoc}::{node.key}"
                made[i] = nodes.inline("", "", node, classes=["pasted-text", GLUED + name])
            elif "pasted-text" in node.get("classes", ()):
                node["classes"].append(GLUED + name)
        return made, messages


def setup(app):
    def remember(app, config):
        app.add_role_to_domain("glue", "text", Number(), override=True)

    app.connect("config-inited", remember)
    app.add_css_file("folding.css", priority=900)  # after the look of the book
    app.add_js_file("folding.js")
    return {"parallel_read_safe": True, "version": "1"}
