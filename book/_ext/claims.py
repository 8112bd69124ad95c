"""The ledger: every claim of the book, whose it is, what came of it, and a way through them.

The claims stand in ``book/claims.yml``, the verdicts in the executed notebooks. Every row has the
anchor ``claim-KEY``. Without a script the page is whole: a count, one table a part, all open.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from plain_formulas import with_formulas
from sphinx.util.docutils import SphinxDirective

from ddt_utils.ledger import STATUSES, claims_in

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
WHOSE = {"paper": "the paper", "folklore": "folklore", "book": "the book"}
VERDICTS = (*STATUSES, "open")
HEAD = "| claim | asymptotic theory | exact for this noise and step | found | verdict |"
# parts of the list are folded on a phone, before anything is drawn
_FOLD = (
    "<script>if (matchMedia('(max-width: 600px)').matches) "
    "document.querySelectorAll('details.ledger-part').forEach(function (part) "
    "{ part.open = false; });</script>"
)


def listed() -> list[dict]:
    """The parts of ``book/claims.yml`` with their claims."""
    return yaml.safe_load((BOOK / "claims.yml").read_text(encoding="utf-8"))


def judged() -> dict:
    """What the executed notebooks found: key of the claim, (row, page)."""
    found = {}
    for notebook in sorted(BOOK.rglob("*.ipynb")):
        page = "/" + notebook.relative_to(ROOT).with_suffix("").as_posix()
        found |= {row.key: (row, page) for row in claims_in(notebook)}
    return found


def verdict(found, key) -> str:
    return found[key][0].status if key in found else "open"


def written(text: str) -> str:
    """A plain sentence as Markdown: formulas set, and no sign taken for markup."""
    parts = re.split(r"(\$[^$]*\$)", with_formulas(text))
    return "".join(p if p.startswith("$") else re.sub(r"([*_\[\]])", r"\\\1", p) for p in parts)


def tally(parts, found) -> list[str]:
    """How the claims fared, by whose they are: a table in Markdown."""
    whose = {key: claim["origin"] for part in parts for key, claim in part["claims"].items()}
    lines = ["| verdict | " + " | ".join(WHOSE.values()) + " | all |", "|---|---:|---:|---:|---:|"]
    for name in VERDICTS:
        keys = [key for key in whose if verdict(found, key) == name]
        counts = [sum(whose[key] == origin for key in keys) for origin in WHOSE]
        cells = [str(n) if n else "–" for n in (*counts, len(keys))]
        lines.append(f"| [{name}]{{.tallied}} | " + " | ".join(cells) + " |")
    counts = [sum(w == origin for w in whose.values()) for origin in WHOSE]
    return [*lines, "| all | " + " | ".join(map(str, (*counts, len(whose)))) + " |"]


def row(claim, found, page) -> str:
    """One claim as a row of a table in Markdown."""
    origin = claim["origin"]
    told = f"{written(claim['claim'])} [{WHOSE[origin]}]{{.origin .{origin}}}"
    cells = [told, "", "", "", "[open]{.open-claim}"]
    if found is not None:
        kind = found.status.replace(" ", "-")
        said = [f"{found.measured}." if found.measured else "", found.statement]
        said = written(" ".join(said).strip())
        said += f" *{written(found.why)}*" if found.why else ""
        cells[1:] = [
            side(found.predicted, found.distance),
            side(found.exact, found.exact_distance),
            said,
            f"[{found.status}]({page}){{.verdict .{kind}}}",
        ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def side(value, distance) -> str:
    """A prediction, and where the finding lies, seen from it."""
    if distance is None:
        return written(value)
    apart = f"{distance:+.1f}".replace("-", "−")
    return f"{written(value)} [{apart} s.e.]{{.apart}}"


def controls(parts) -> str:
    """The form above the claims: a search field, three choices and the count."""

    def choice(name, label, options):
        items = "".join(f'<option value="{v}">{escape(t)}</option>' for v, t in options.items())
        return (
            f"<label><span>{label}</span> "
            f'<select name="{name}"><option value="">any</option>{items}</select></label>'
        )

    total = sum(len(part["claims"]) for part in parts)
    return (
        '<form class="ledger-controls" aria-label="Choose claims">'
        '<input type="search" name="words" placeholder="Search the claims" autocomplete="off"/>'
        + choice("part", "Part", {i: p["part"] for i, p in enumerate(parts)})
        + choice("whose", "Whose", {f"of-{key}": name for key, name in WHOSE.items()})
        + choice("verdict", "Verdict", {f"is-{v.replace(' ', '-')}": v for v in VERDICTS})
        + '<button type="reset">Show all</button>'
        f'<p class="ledger-count" role="status" aria-live="polite">{total} claims</p></form>'
        "<noscript><style>.ledger-controls { display: none; }</style></noscript>"
    )


class LedgerTable(SphinxDirective):
    """Every claim of ``book/claims.yml``, whose it is, and what the chapters found about it."""

    def run(self):
        for path in (*BOOK.rglob("*.ipynb"), BOOK / "claims.yml"):
            self.env.note_dependency(str(path))
        parts, found = listed(), judged()
        box = nodes.container("", classes=["ledger"])
        box += nodes.raw("", controls(parts), format="html")
        for i, part in enumerate(parts):
            count = len(part["claims"])
            box += nodes.raw(
                "",
                f'<details class="ledger-part" data-part="{i}" open><summary>'
                f"{escape(part['part'])} "
                f'<span class="ledger-part-count">{count}</span></summary>',
                format="html",
            )
            lines = [HEAD, "|---|---|---|---|---|"]
            lines += [row(c, *found.get(k, (None, None))) for k, c in part["claims"].items()]
            box += self.table(lines, part["claims"], found)
            box += nodes.raw("", "</details>", format="html")
        box += nodes.raw("", _FOLD, format="html")
        return [box]

    def table(self, lines, claims, found):
        """The parsed table, its rows with an anchor and with what they can be chosen by."""
        place = nodes.container()
        self.state.nested_parse(StringList(lines, source=self.env.docname), 0, place)
        rows = [r for r in place.findall(nodes.row) if isinstance(r.parent, nodes.tbody)]
        for line, (key, claim) in zip(rows, claims.items(), strict=True):
            line["ids"].append(f"claim-{key}")
            kind = verdict(found, key).replace(" ", "-")
            line["classes"] += [f"of-{claim['origin']}", f"is-{kind}"]
        return place.children


class TallyTable(SphinxDirective):
    """How many claims came to which verdict."""

    def run(self):
        place = nodes.container("", classes=["tally"])
        lines = StringList(tally(listed(), judged()), source=self.env.docname)
        self.state.nested_parse(lines, 0, place)
        return [place]
