"""The tables that are filled when the book is built, from the notebooks and the benchmarks.

No number in them is typed: the ledger, in ``claims``, comes from the notebooks, the run times from
``book/runtimes.json``, costs of steps and of spectral tools from ``benchmarks``, and the longer
runs from ``ddt_utils/records``.
"""

from __future__ import annotations

import json
from pathlib import Path

from claims import LedgerTable, TallyTable
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"


class _Table(SphinxDirective):
    """A directive that writes Markdown lines and lets the parser make them a table."""

    def run(self):
        container = nodes.container()
        lines = StringList(self.lines(), source=self.env.docname)
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children


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
        "scalar numba": "numba, a walker at a time",
        "numba loop": "numba, written as in a textbook",
    }

    # followed to the exit; the others replaced
    absorbed = ("ours", "C++ reference", "scalar numba", "numba loop")

    def lines(self):
        path = ROOT / "benchmarks" / "engine.json"
        self.env.note_dependency(str(path))
        data = json.loads(path.read_text(encoding="utf-8"))
        machine = data["machine"]
        about = f"{machine['processor']}, {machine['instruction_set'][-1]}, one thread"
        lines = [f"Nanoseconds per useful step on {about}; the best number of walkers for each."]
        lines += ["", "| | quartic | D(x) | M–B | S–T |", "|---|---:|---:|---:|---:|"]
        measured = {row["contestant"] for row in data["rows"]}
        for contestant, label in self.contestants.items():
            if contestant not in measured:
                continue
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


class GuaranteesTable(_Table):
    """The engine beside C++ and beside itself without a guarantee, from the last benchmark."""

    rows = {  # measured, and by which time: where two threads share the work, the clock counts
        "C++ reference": ("C++", "ns_cpu"),
        "C++ reference, two threads": ("C++, two threads", "ns_useful"),
        "C++ reference, a thousand walkers": ("C++, a thousand walkers", "ns_cpu"),
        "C++ with the same": ("C++ that promises the same", "ns_cpu"),
        "C++ with the same, our lanes": ("C++ that promises the same, 64 lanes", "ns_cpu"),
        "without the same bits": ("this book, without the same bits", "ns_cpu"),
        "without the watch": ("this book, without the watch", "ns_cpu"),
        "without the whole exponential": ("this book, with a short exponential", "ns_cpu"),
        "without all": ("this book, with none of the three", "ns_cpu"),
    }
    sets = {"avx512f": "AVX-512", "avx2": "AVX2"}

    def lines(self):
        path = ROOT / "benchmarks" / "engine.json"
        self.env.note_dependency(str(path))
        data = json.loads(path.read_text(encoding="utf-8"))
        return self.written(data["guarantees"]) if "guarantees" in data else ["Not measured yet."]

    @classmethod
    def written(cls, data):
        """The lines of Markdown.

        Args:
            data: what ``benchmarks/engine.py --guarantees`` found.
        """
        lines = [f"Median of {data['pairs']} runs in turn on {data['machine']['processor']}."]
        for name, problems in data["instructions"].items():
            lines += ["", f"| {cls.sets[name]} | quartic | D(x) | M–B | S–T |"]
            lines.append("|---|---:|---:|---:|---:|")
            for row, (label, column) in cls.rows.items():
                found = [
                    ratios[row][column] if row in ratios else None for ratios in problems.values()
                ]
                if any(found):
                    cells = ["–" if ratio is None else f"{ratio:.2f}" for ratio in found]
                    lines.append(f"| {label} | " + " | ".join(cells) + " |")
        return lines


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
        told += f"{digit} × 10{str(int(power)).translate(self.raised)} of the largest entry."
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
    "tally-table": TallyTable,
    "runtimes-table": RuntimesTable,
    "step-cost-table": StepCostTable,
    "guarantees-table": GuaranteesTable,
    "spectrum-table": SpectrumTable,
    "records-table": RecordsTable,
}
