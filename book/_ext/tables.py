"""The tables that are filled when the book is built, from the notebooks and the benchmarks.

No number in them is typed: the ledger comes from the executed notebooks, the run times from
``book/runtimes.json``, costs of steps and of spectral tools from ``benchmarks``, and the longer
runs from ``ddt_utils/records``.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from ddt_utils.ledger import STATUSES, claims_in

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"


class _Table(SphinxDirective):
    """A directive that writes Markdown lines and lets the parser make them a table."""

    def run(self):
        container = nodes.container()
        lines = StringList(self.lines(), source=self.env.docname)
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children


class LedgerTable(_Table):
    """Every claim of ``book/claims.yml``, whose it is, and what the chapters found about it."""

    head = "| claim | asymptotic theory | exact for this noise and step | found | verdict |"
    whose = {"paper": "the paper", "folklore": "folklore", "book": "the book"}

    def run(self):
        return [nodes.container("", *super().run(), classes=["ledger"])]

    def lines(self):
        found = {}
        for notebook in sorted(BOOK.rglob("*.ipynb")):
            page = "/" + notebook.relative_to(ROOT).with_suffix("").as_posix()
            self.env.note_dependency(str(notebook))
            for row in claims_in(notebook):
                found[row.key] = (row, page)
        self.env.note_dependency(str(BOOK / "claims.yml"))
        parts = yaml.safe_load((BOOK / "claims.yml").read_text(encoding="utf-8"))
        return self.written(parts, found)

    def written(self, parts, found):
        """The count of verdicts and one table for every part, as Markdown."""
        listed = {key: claim for part in parts for key, claim in part["claims"].items()}
        lines = [self.counted(origin, listed, found) for origin in self.whose]
        for part in parts:
            lines += ["", f"**{part['part']}**", "", self.head, "|---|---|---|---|---|"]
            for key, claim in part["claims"].items():
                lines.append(self.row(claim, *found.get(key, (None, None))))
        return lines

    def counted(self, origin, listed, found):
        """How the claims of one origin fared, in one line."""
        keys = [key for key, claim in listed.items() if claim["origin"] == origin]
        verdicts = [found[key][0].status if key in found else "open" for key in keys]
        told = [f"{verdicts.count(v)} {v}" for v in (*STATUSES, "open") if v in verdicts]
        return f"* Of {self.whose[origin]}, {len(keys)}: {', '.join(told)}."

    def row(self, listed, row, page):
        origin = listed["origin"]
        claim = f"{listed['claim']} [{self.whose[origin]}]{{.origin .{origin}}}"
        cells = [claim, "", "", "", "[open]{.open-claim}"]
        if row is not None:
            kind = row.status.replace(" ", "-")
            found = " ".join([f"{row.measured}." if row.measured else "", row.statement]).strip()
            found = found.replace("*", r"\*")
            if row.why:
                found += " *" + row.why.replace("*", r"\*") + "*"
            cells[1:] = [
                self.side(row.predicted, row.distance),
                self.side(row.exact, row.exact_distance),
                found,
                f"[{row.status}]({page}){{.verdict .{kind}}}",
            ]
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    @staticmethod
    def side(value, distance):
        """A prediction, and where the finding lies, seen from it."""
        if distance is None:
            return value
        apart = f"{distance:+.1f}".replace("-", "−")
        return f"{value} [{apart} s.e.]{{.apart}}"


class RuntimesTable(_Table):
    """What executing each page cost."""

    def lines(self):
        path = BOOK / "runtimes.json"
        self.env.note_dependency(str(path))
        data = json.loads(path.read_text(encoding="utf-8"))
        lines = [f"Measured on {data['machine']}.", "", "| page | seconds |", "|---|---:|"]
        pages = [n for n in self.env.found_docs if n.removeprefix("book/") in data["pages"]]
        order = [d for d in self.env.toctree_includes.get("book/index", [])]
        for name in sorted(pages, key=lambda n: order.index(n) if n in order else -1):
            lines.append(f"| [](/{name}) | {data['pages'][name.removeprefix('book/')]:.1f} |")
        lines.append(f"| all | {sum(data['pages'].values()):.1f} |")
        return lines


class StepCostTable(_Table):
    """Nanoseconds per useful walker-step on one thread, from the last benchmark."""

    contestants = {
        "ours": "this book",
        "C++ reference": "C++",
        "torch eager": "torch",
        "JAX": "JAX",
        "diffrax": "diffrax",
        "torchsde": "torchsde",
        "numba loop": "numba, a walker at a time",
    }

    absorbed = ("ours", "C++ reference", "numba loop")  # followed to the exit; the others replaced

    def lines(self):
        path = ROOT / "benchmarks" / "engine.json"
        self.env.note_dependency(str(path))
        data = json.loads(path.read_text(encoding="utf-8"))
        machine = data["machine"]
        about = f"{machine['processor']}, {machine['instruction_set'][-1]}, one thread"
        lines = [f"Nanoseconds per useful step on {about}; the best number of walkers for each."]
        lines += ["", "| | quartic | D(x) | M–B | S–T |", "|---|---:|---:|---:|---:|"]
        for contestant, label in self.contestants.items():
            mode = "absorption" if contestant in self.absorbed else "steady"
            lines.append(self.row(data, label, contestant, mode))
        return [*lines, self.row(data, "random numbers and drift alone", "ours", "free")]

    @staticmethod
    def row(data, label, contestant, mode):
        cells = []
        for problem in data["problems"]:
            wanted = problem, contestant, mode, 1
            costs = [
                row["ns_useful"]
                for row in data["rows"]
                if (row["problem"], row["contestant"], row["mode"], row["threads"]) == wanted
            ]
            cells.append(f"{min(costs):.3g}" if costs else "–")
        return f"| {label} | " + " | ".join(cells) + " |"


class SpectrumTable(_Table):
    """Milliseconds of the spectral tools and of two libraries, from the last benchmark."""

    tasks = {"product": "product", "top": "top ten", "trace": "trace", "density": "density"}
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

    def lines(self):
        path = ROOT / "benchmarks" / "spectrum.json"
        self.env.note_dependency(str(path))
        data = json.loads(path.read_text(encoding="utf-8"))
        rows, differences = data["rows"], data["differences"].values()
        times = {
            (row["parameters"], row["task"], row["contestant"]): 1e3 * row["seconds"]
            for row in rows
        }
        contestants = list(dict.fromkeys(row["contestant"] for row in rows))
        lines = ["| n | | " + " | ".join(contestants).replace("ours", "this book") + " |"]
        lines.append("|---:|---|" + "---:|" * len(contestants))
        for size in dict.fromkeys(row["parameters"] for row in rows):
            for task, label in self.tasks.items():
                found = [times.get((size, task, contestant)) for contestant in contestants]
                cells = ["–" if v is None else f"{float(f'{v:.3g}'):g}" for v in found]
                lines.append(f"| {size} | {label} | " + " | ".join(cells) + " |")
        worst = max(value for found in differences for value in found.values())
        told = "Hessian, Fisher matrix and second moment were compared with those of curvlinops, a "
        told += "product with PyHessian's: the largest difference is "
        digit, power = f"{worst:.0e}".split("e")
        told += f"{digit} · 10{str(int(power)).translate(self.raised)} of the largest entry."
        return [*lines, "", told]


class RecordsTable(_Table):
    """The longer runs, and what made them."""

    def lines(self):
        lines = ["| run | made on | Python, torch | minutes |", "|---|---|---|---:|"]
        for path in sorted((ROOT / "ddt_utils" / "records").glob("*.json")):
            self.env.note_dependency(str(path))
            kept = json.loads(path.read_text(encoding="utf-8"))
            made = f"{kept['versions']['python']}, {kept['versions']['torch'].split('+')[0]}"
            cells = [path.stem, kept["device"], made, f"{kept['seconds'] / 60:.1f}"]
            lines.append("| " + " | ".join(cells) + " |")
        return lines


TABLES = {
    "ledger-table": LedgerTable,
    "runtimes-table": RuntimesTable,
    "step-cost-table": StepCostTable,
    "spectrum-table": SpectrumTable,
    "records-table": RecordsTable,
}
