"""What the book asks of Sphinx beyond its extensions: two tables, and pages that stand alone.

The directives ``ledger-table`` and ``runtimes-table`` are filled from the executed notebooks and
from ``book/runtimes.json``. After the build every page is mended: figures are inlined so that they
follow the reader's theme, scripts that need the network or block the page are removed, and a page
with an image that nobody described, or with raw TeX, stops the build.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.statemachine import StringList
from formulas import cut_font, typeset
from lighten import lighten
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from ddt_utils.figures import PALETTE
from ddt_utils.ledger import claims_in

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
    """Every claim of ``book/claims.yml`` and what the chapters found about it."""

    def lines(self):
        found = {}
        for notebook in sorted(BOOK.rglob("*.ipynb")):
            page = "/" + notebook.relative_to(ROOT).with_suffix("").as_posix()
            self.env.note_dependency(str(notebook))
            for row in claims_in(notebook):
                found[row.key] = (row, page)
        self.env.note_dependency(str(BOOK / "claims.yml"))
        lines = []
        for part in yaml.safe_load((BOOK / "claims.yml").read_text(encoding="utf-8")):
            lines += ["", f"**{part['part']}**", "", self.head, "|---|---|---|---|---|---|"]
            for key, listed in part["claims"].items():
                lines.append(self.row(listed, *found.get(key, (None, None))))
        return lines

    head = "| claim | whose | asymptotic theory | exact for this noise and step | found | verdict |"
    whose = {"paper": "the paper", "folklore": "folklore", "book": "the book"}

    def row(self, listed, row, page):
        cells = [listed["claim"], self.whose[listed["origin"]], "", "", "", "{ddt-open}`open`"]
        if row is not None:
            kind = row.status.replace(" ", "-")
            found = " ".join([f"{row.measured}." if row.measured else "", row.statement]).strip()
            found = found.replace("*", r"\*")
            if row.why:
                found += " *" + row.why.replace("*", r"\*") + "*"
            cells[2:] = [
                self.side(row.predicted, row.distance),
                self.side(row.exact, row.exact_distance),
                found,
                f"[{row.status}]({page}){{.verdict .{kind}}}",
            ]
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    @staticmethod
    def side(value, distance):
        """A prediction, and where the finding lies, seen from it."""
        apart = f" ({distance:+.1f} s.e.)".replace("-", "−") if distance is not None else ""
        return value + apart


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


def open_role(name, rawtext, text, lineno, inliner, options=None, content=None):
    """The word ``open`` in the ledger."""
    return [nodes.inline(rawtext, text, classes=["open-claim"])], []


def exclude_texts(app, config):
    """A chapter is built from its executed notebook; its text, beside it, is left out."""
    for notebook in BOOK.rglob("*.ipynb"):
        text = notebook.with_suffix(".md").relative_to(ROOT).as_posix()
        config.exclude_patterns.append(text)


# --- after the build -----------------------------------------------------------------------------

_COLOURS = {light: f"var(--ddt-{name})" for name, (light, _) in PALETTE.items()}
_HEX = re.compile("|".join(_COLOURS))
_LONG = re.compile(r"(\d\.\d\d)\d+")  # a hundredth of a point is enough for a drawing
_RAW = re.compile(r"\\[A-Za-z(\[]|\$[^$\s][^$\n]*\$|\$\$|\{[a-z]+(?::[a-z]+)*\}`|:::+\s*\{")
_SCRIPTS = re.compile(r"fontawesome|thebe|require\.js|@jupyter-widgets|mathjax", re.I)


def palette_css() -> str:
    """The palette as CSS variables, for both themes."""

    def block(selector, which):
        values = " ".join(f"--ddt-{name}: {pair[which]};" for name, pair in PALETTE.items())
        return f"{selector} {{ {values} }}\n"

    return block("html", 0) + block('html[data-theme="dark"]', 1)


def inline_svg(svg_text: str, alt: str, prefix: str) -> BeautifulSoup:
    """A stored SVG as part of the page: described, with ids of its own and the theme's colours."""
    text = svg_text[svg_text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' (d|x|y)="[^"]*"', lambda m: _LONG.sub(r"\1", m[0]), text)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = _HEX.sub(lambda m: _COLOURS[m[0]], text)
    # presentation attributes do not take var(); the same thing as a style does
    text = re.sub(r'\b(fill|stroke)="(var\([^"]+\))"', r'style="\1: \2"', text)
    text = re.sub(r'style="([^"]*)"([^>]*?) style="([^"]*)"', r'style="\1; \3"\2', text)
    svg = BeautifulSoup(text, "html.parser").svg
    svg["role"], svg["aria-label"] = "img", alt
    svg["class"] = "ddt-figure"
    return svg


def mend(app, path: Path) -> list[str]:
    """Mend one page; returns what is wrong with it."""
    page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    name, wrong = path.relative_to(app.outdir).as_posix(), []
    wrong += [f"{name}: {problem}" for problem in typeset(page)]
    for script in page.find_all("script"):
        source, text = script.get("src", ""), script.string or ""
        if _SCRIPTS.search(source) or "THEBE" in text or "window.MathJax" in text:
            script.decompose()
        elif source and "search" not in name and "documentation_options" not in source:
            script["defer"] = ""
        elif 'dataset.mode = localStorage.getItem("mode") ||' in text:
            script.string = text.replace('|| ""', '|| "auto"')
    for link in page.find_all("link", rel="preload"):
        link.decompose()
    for link in page.select('a[href*="colab.research.google.com"]'):
        link["href"] = link["href"].replace("/book/", "/colab/")  # in plain Markdown
    article = page.find("article") or page
    for i, image in enumerate(page.find_all("img")):
        alt, source = image.get("alt", ""), image.get("src", "")
        in_article = image.find_parent("article") is not None
        target = (path.parent / source).resolve()
        if in_article and (len(alt) < 30 or Path(source).stem in alt):
            wrong.append(
                f"{name}: an image needs an alternative text written by hand: {source} {alt!r}"
            )
        if in_article and source.endswith(".svg") and target.is_file():
            image.replace_with(inline_svg(target.read_text(encoding="utf-8"), alt, f"f{i}"))
    shown = BeautifulSoup(str(article), "html.parser")
    for hidden in shown.select("pre, code, script, style, .math, annotation"):
        hidden.decompose()
    raw = re.search(_RAW, shown.get_text())
    if raw:
        wrong.append(f"{name}: raw markup on the page: …{raw[0]}…")
    if not page.find("meta", attrs={"name": "description"}):
        first = next((p.get_text(" ", strip=True) for p in article.select("section > p")), "")
        page.head.append(
            page.new_tag("meta", attrs={"name": "description", "content": first[:200]})
        )
    accessible(page)
    path.write_text(str(page), encoding="utf-8")
    return wrong


def accessible(page) -> None:
    """Mend what assistive technology trips over in the theme's markup."""
    for field in page.select('input[type="search"]'):
        field["aria-label"] = field.get("placeholder", "Search")
    for named_by_its_text in page.select("button.search-button-field, details > summary"):
        named_by_its_text.attrs.pop("aria-label", None)
    for sidebar in page.select("#pst-primary-sidebar"):
        sidebar["role"], sidebar["aria-label"] = "complementary", "The book's pages"
    for title in page.select("#jb-print-docs-body h1"):
        title.name = "p"  # one first heading a page
    for listing in page.select(
        '[role="doc-bibliography"], [role="doc-biblioentry"], [role="list"]'
    ):
        del listing["role"]
    for table in page.select("div.cell_output table, article table"):
        table.attrs.pop("border", None)


def finish(app, exception):
    """Mend every page; fail if one cannot be published."""
    if exception or app.builder.name != "html":
        return
    out = Path(app.outdir)
    (out / "_static" / "palette.css").write_text(palette_css(), encoding="utf-8")
    pages = [p for p in sorted(out.rglob("*.html")) if "_static" not in p.parts]
    pages.remove(out / "index.html")  # only sends the reader on to the landing page
    wrong = [problem for page in pages for problem in mend(app, page)]
    cut_font(out / "_static" / "fonts" / "math.woff")
    lighten(out, pages)
    if wrong:
        raise ExtensionError("pages that cannot be published:\n  " + "\n  ".join(wrong))


def setup(app):
    app.add_directive("ledger-table", LedgerTable)
    app.add_directive("runtimes-table", RuntimesTable)
    app.add_directive("step-cost-table", StepCostTable)
    app.add_directive("spectrum-table", SpectrumTable)
    app.add_directive("records-table", RecordsTable)
    app.add_role("ddt-open", open_role)
    app.connect("config-inited", exclude_texts)
    app.add_css_file("palette.css", priority=400)
    app.connect("build-finished", finish, priority=900)  # after the theme has written its styles
    return {"parallel_read_safe": True, "version": "1"}
