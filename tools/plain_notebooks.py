"""Write, from every chapter, the notebook that Colab and GitHub show well: in plain Markdown.

A chapter is written in MyST, which Colab and GitHub do not know. Here its roles and directives
become Markdown: numbers stand where ``glue`` stood, theorems and exercises have their names,
equations their numbers, and references are links to the built pages. Nothing else changes: code
and outputs are those of the executed chapter.

python tools/plain_notebooks.py           write colab/**/*.ipynb
python tools/plain_notebooks.py --check   fail if any of them differs from its chapter
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from functools import cache
from pathlib import Path

import nbformat
import yaml
from pybtex.database import parse_file
from pybtex.richtext import Text

sys.path.insert(0, str(Path(__file__).parent))
from address import address  # noqa: E402
from notebooks import BOOK, ROOT, chapters, is_setup  # noqa: E402

from ddt_utils.ledger import MIME_TYPE  # noqa: E402

COLAB = ROOT / "colab"
NAMES = {
    "prf:theorem": "Theorem",
    "prf:proposition": "Proposition",
    "exercise-start": "Exercise",
    "figure": "Figure",
}
FENCE = re.compile(r"^(`{3,}|:{3,})\{([\w:-]+)\}[ \t]*(.*)$")
ROLE = re.compile(r"\{([a-z:]+)\}`([^`]+)`")
EQUATION = re.compile(r"^(\s*)\$\$ \((eq-[\w-]+)\)\s*$")
HEAD = """\
# {title}

*A copy of [the book's chapter]({page}) for Colab and GitHub. There the text is easier to read.*

The first cell installs `ddt_utils`, the book's module, if it is missing, and nothing else. Then
*Run all* computes every number again, in a minute or two. No GPU is needed. Where there is one
(*Runtime*, *Change runtime type*), `%env DDT_DEVICE=auto` in a cell before the others uses it:
walkers then have the same bits, networks the same random numbers and other last digits."""


@cache
def site() -> str:
    """The address of the built pages, from that of the repository."""
    owner, name = re.search(r"[/:]([\w.-]+)/([\w.-]+?)(?:\.git)?/?$", address()["url"]).groups()
    return f"https://{owner.lower()}.github.io/{name}"


@cache
def contents() -> dict[str, str]:
    """Every page of the table of contents with its chapter number, empty for those without one."""
    try:
        toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(
            f"_toc.yml must be YAML, got {' '.join(str(error).split())}; look for conflict "
            "markers, or restore it with git checkout _toc.yml"
        ) from error
    pages, count = {toc["root"]: ""}, 0
    for part in toc["parts"]:
        for chapter in part["chapters"]:
            count += bool(part.get("numbered"))
            pages[chapter["file"]] = str(count) if part.get("numbered") else ""
    return pages


@cache
def labels() -> dict[str, tuple[str, str, str]]:
    """Every label of the book: the address of its place, its kind, and its number or title."""
    found = {}
    for page, chapter in contents().items():
        counts: dict[str, int] = {}  # every page counts from one
        for label, kind, title in _labelled((ROOT / f"{page}.md").read_text(encoding="utf-8")):
            place = f"{site()}/{page}.html#{'equation-' if kind == 'Equation' else ''}{label}"
            if kind != "Section":
                counts[kind] = counts.get(kind, 0) + 1
                title = f"{chapter}.{counts[kind]}" if chapter else str(counts[kind])
            found[label] = (place, kind, title)
    return found


def _labelled(text):
    """The labels of one page in order, each with its kind, and a section's title."""
    lines, opened = text.split("\n"), None
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if found := EQUATION.match(line):
            yield found[2], "Equation", ""
        elif found := FENCE.match(line):
            opened = NAMES.get(found[2])
        elif opened and (found := re.match(r"\s*:(?:label|name): ([\w-]+)", line)):
            yield found[1], opened, ""
            opened = None
        elif found := re.match(r"    name: (fig-[\w-]+)", line):
            yield found[1], "Figure", ""
        elif found := re.match(r"^\(([\w-]+)\)=$", line):
            yield found[1], "Section", after.lstrip("# ")


@cache
def sources() -> dict[str, tuple[str, str, str]]:
    """Every source: its authors, its year and where to read it."""
    found = {}
    for key, entry in parse_file(str(BOOK / "references.bib")).entries.items():
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        names = [str(Text.from_latex(" ".join(p.prelast_names + p.last_names))) for p in people]
        who = names[0] + " et al." if len(names) > 3 else ", ".join(names[:-1])
        who = who if len(names) > 3 else " and ".join(filter(None, [who, names[-1]]))
        doi, url = entry.fields.get("doi"), entry.fields.get("url")
        where = f"https://doi.org/{doi}" if doi else url or f"{site()}/book/bibliography.html"
        found[key] = who, entry.fields["year"], where
    return found


def executed(stored: Path):
    """A chapter's executed notebook."""
    try:
        return nbformat.read(stored, as_version=4)
    except Exception as error:  # there is none, no JSON, or no notebook
        raise ValueError(
            f"{stored.relative_to(ROOT)} must be an executed notebook, got none or a damaged one; "
            "run make notebooks"
        ) from error


@cache
def glued(stored: Path) -> dict[str, str]:
    """The numbers that an executed chapter keeps for its prose."""
    values = {}
    for cell in executed(stored).cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            for kind, data in output.get("data", {}).items() if name else ():
                if kind.startswith("application/papermill.record/"):
                    values[name] = str(ast.literal_eval(data))
    return values


class Chapter:
    """One chapter on its way from MyST to plain Markdown.

    Args:
        text: the chapter's Markdown file; the executed notebook lies beside it.
    """

    def __init__(self, text: Path):
        self.stored = text.with_suffix(".ipynb")
        self.page = text.relative_to(ROOT).with_suffix("").as_posix()
        self.folder = text.parent

    def notebook(self):
        """The whole notebook, in plain Markdown."""
        book = executed(self.stored)
        setup = [self.code(c) for c in book.cells if is_setup(c)]
        cells, folded = [], []
        for cell in (c for c in book.cells if not is_setup(c)):
            if cell.cell_type == "code":
                cells += [self.code(cell), *self.caption(cell)]
                continue
            for piece in re.split(r"\n(?=#### Solution |### Exercise )", self.plain(cell.source)):
                if piece.strip():
                    cells.append(_markdown(piece.strip()))
                    if piece.startswith("#### Solution"):
                        folded.append(cells[-1])
        title, _, rest = cells[0].source.partition("\n")
        number = contents().get(self.page)
        title = (f"{number} · " if number else "") + title.removeprefix("# ")
        head = _markdown(HEAD.format(title=title, page=f"{site()}/{self.page}.html"))
        cells[:1] = [head, *setup, *([_markdown(rest.strip())] if rest.strip() else [])]
        _identify(cells)
        for cell in folded:
            cell.metadata["jp-MarkdownHeadingCollapsed"] = True
        book.cells = cells
        kernel = book.metadata["kernelspec"]
        folds = {"collapsed_sections": [cell["id"] for cell in folded]}
        book.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}, "colab": folds}
        nbformat.validate(book)
        return book

    def code(self, cell):
        """A code cell with the outputs that a notebook can show."""
        hidden = ("application/papermill", MIME_TYPE)
        outputs = [
            output
            for output in cell.outputs
            if not output.get("data") or not all(kind.startswith(hidden) for kind in output.data)
        ]
        tags = {"tags": ["setup"]} if is_setup(cell) else {}
        return nbformat.v4.new_code_cell(
            cell.source, outputs=outputs, execution_count=cell.execution_count, metadata=tags
        )

    def caption(self, cell):
        """The caption of a cell's figure, as a cell of its own."""
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure:
            _, _, number = labels()[figure["name"]]
            text = " ".join(self.inline(figure["caption"]).split())
            yield _markdown(f"**Figure {number}.** {text}")

    def plain(self, source: str) -> str:
        """Markdown without directives and roles."""
        out, lines = [], source.split("\n")
        while lines:
            line = lines.pop(0)
            if found := FENCE.match(line):
                end = next(i for i, one in enumerate(lines) if one.strip() == found[1])
                body, lines = lines[:end], lines[end + 1 :]
                out.append(self.directive(found[2], found[3], body))
            elif found := EQUATION.match(line):
                out += [rf"{found[1]}\tag{{{labels()[found[2]][2]}}}", f"{found[1]}$$"]
            elif not re.match(r"^\([\w-]+\)=$", line):
                out.append(self.inline(line))
        return "\n".join(out)

    def directive(self, name, argument, body):
        """What stands for a directive."""
        options = {}
        while body and (found := re.match(r"^\s*:(\w+): ?(.*)$", body[0])):
            options[found[1]] = found[2]
            body = body[1:]
        inside = self.plain("\n".join(body)).strip()
        label = options.get("label") or options.get("name")
        if name in ("exercise-end", "solution-end"):
            return ""
        if name == "exercise-start":
            return f"### Exercise {labels()[label][2]} · {self.inline(argument)}"
        if name == "solution-start":
            return f"#### Solution of exercise {labels()[argument.strip()][2]}"
        if name == "prf:proof":
            return f"*Proof.* {inside} ◻"
        if name in ("prf:theorem", "prf:proposition"):
            title = f" ({self.inline(argument)})" if argument else ""
            return f"**{NAMES[name]} {labels()[label][2]}**{title}**.** {inside}"
        if name in ("div", "aside"):
            return inside
        if name == "result":
            figure = f"\n\n{self.inline(f'{{numref}}`{argument.strip()}`')} shows it."
            return inside + (figure if argument.strip() else "")
        if name == "escape-lab":
            return f"**[The escape lab]({site()}/book/lab.html)** lets walkers go in your browser."
        if name == "chapter-cards":
            pages = [f"book/{line.partition(': ')[0]}" for line in body if line.strip()]
            return "\n".join(f"* [{_title(page)}]({site()}/{page}.html)" for page in pages)
        if name == "dropdown":
            return f"**{self.inline(argument)}**\n\n{inside}"
        raise ValueError(
            f"{self.page} has a directive {name!r} that no plain Markdown is known for; "
            "add it to Chapter.directive in tools/plain_notebooks.py"
        )

    def inline(self, text: str) -> str:
        """A line without roles, its links leading to the built pages."""
        text = ROLE.sub(self.role, text)
        return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s:]+)\)", self.link, text)

    def role(self, found):
        """What stands for a role."""
        name, content = found.groups()
        shown = re.match(r"^(.*?)\s*<(.+)>$", content)
        title, target = (shown[1], shown[2]) if shown else ("", content)
        if name == "glue:text":
            return glued(self.stored)[target]
        if name in ("eq", "numref", "prf:ref", "ref"):
            place, kind, number = labels()[target]
            number = {"Equation": f"({number})", "Section": number}.get(kind, f"{kind} {number}")
            return f"[{title or number}]({place})"
        if name == "minutes":
            return ""
        if name in ("cite:t", "cite:p"):
            return self.citation([sources()[key.strip()] for key in target.split(",")], name[-1])
        if name == "doc":
            page = self.path(target)
            return f"[{title or _title(page)}]({site()}/{page}.html)"
        if name.startswith("py:"):
            return f"[`{title or target}`]({site()}/book/api.html#{target})"
        raise ValueError(
            f"{self.page} has a role {name!r} that no plain Markdown is known for; "
            "add it to Chapter.role in tools/plain_notebooks.py"
        )

    @staticmethod
    def citation(entries, kind):
        """Authors and years, in the sentence or in brackets."""
        if kind == "t":
            return ", ".join(f"{who} ([{year}]({where}))" for who, year, where in entries)
        return "(" + "; ".join(f"[{who}, {year}]({where})" for who, year, where in entries) + ")"

    def link(self, found):
        """A link to a page or picture of the book, as an address that works anywhere."""
        mark, title, target = found.groups()
        path, _, anchor = target.partition("#")
        anchor = f"#{anchor}" if anchor else ""
        if not path:
            return f"{mark}[{title}]({site()}/{self.page}.html{anchor})"
        if path.endswith(".md"):
            return f"{mark}[{title}]({site()}/{self.path(path[:-3])}.html{anchor})"
        return f"{mark}[{title}]({site()}/{path.removeprefix('../')})"

    def path(self, target):
        """A page named from here, as the table of contents names it."""
        place = ROOT / target[1:] if target.startswith("/") else self.folder / target
        return place.resolve().relative_to(ROOT).as_posix()


@cache
def _title(page):
    text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
    title = re.search(r"(?m)^# (.+)$", text)[1]
    return f"{contents()[page]} {title}".strip()


def _markdown(source):
    return nbformat.v4.new_markdown_cell(source)


def _identify(cells):
    """Names for the cells that depend on nothing but their content."""
    used = {}
    for cell in cells:
        name = hashlib.sha256((cell.cell_type + cell.source).encode()).hexdigest()[:10]
        used[name] = used.get(name, 0) + 1
        cell["id"] = name if used[name] == 1 else f"{name}-{used[name]}"


def wanted() -> dict[Path, str]:
    """Every notebook of the folder, as it should be."""
    return {
        COLAB / text.relative_to(BOOK).with_suffix(".ipynb"): nbformat.writes(
            Chapter(text).notebook(), version=4
        ).rstrip()
        + "\n"
        for text in chapters()
    }


def main() -> int:
    try:
        files = wanted()
    except ValueError as error:
        sys.exit(str(error))
    stray = {p for p in COLAB.rglob("*.ipynb")} - files.keys()
    kept = {p: p.read_text(encoding="utf-8") if p.exists() else None for p in files}
    different = sorted(stray | {p for p, text in files.items() if kept[p] != text})
    names = ", ".join(p.relative_to(ROOT).as_posix() for p in different) or "nothing"
    if "--check" in sys.argv[1:]:
        print(f"differs from its chapter: {names}" + ("; run make notebooks" if different else ""))
        return bool(different)
    for path in different:
        if path in stray:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
    print(f"wrote {names}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
