"""The repository's public address stands once, in _config.yml; write it wherever it is needed.

python tools/address.py           rewrite set-up cells and the citation file
python tools/address.py --check   fail if any of them differs
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jupytext
import nbformat
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from notebooks import ROOT, chapters, is_setup  # noqa: E402

SETUP = """\
import importlib.util, os, subprocess, sys

if importlib.util.find_spec("ddt_utils") is None:
    source = os.environ.get(
        "DDT_UTILS_SOURCE",
        "git+{url}@{branch}",
    )
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*pip, source], check=True)
    print(f"ddt_utils was missing; installed it from {{source}}")"""


def address() -> dict[str, str]:
    """The repository's url and branch."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]


def rewritten_text(text: str) -> str:
    """A chapter's text with the set-up cell that the address asks for."""
    here = address()
    cell = SETUP.format(url=here["url"], branch=here["branch"])
    pattern = r"(```\{code-cell\}[^\n]*\n:tags: \[remove-cell, setup\]\n\n?).*?(\n```)"
    changed, count = re.subn(
        pattern, lambda m: m[1].rstrip("\n") + "\n\n" + cell + m[2], text, flags=re.S
    )
    if count != 1:
        raise ValueError(
            f"a chapter has one cell with the tags [remove-cell, setup], found {count}"
        )
    return changed


def rewritten_notebook(stored: Path, text: str) -> str:
    """The stored notebook with the set-up cell of the text; outputs are untouched."""
    notebook = nbformat.read(stored, as_version=4)
    wanted = [c.source for c in jupytext.reads(text, fmt="md:myst").cells if is_setup(c)]
    for cell in notebook.cells:
        if is_setup(cell):
            cell.source = wanted[0]
    return nbformat.writes(notebook, version=4).rstrip() + "\n"


def rewritten_citation(text: str) -> str:
    """The citation file with the address."""
    return re.sub(r"(?m)^repository-code: .*$", f'repository-code: "{address()["url"]}"', text)


def wanted() -> dict[Path, str]:
    """Every file that names the address, as it should be."""
    files = {}
    for chapter in chapters():
        text = rewritten_text(chapter.read_text(encoding="utf-8"))
        files[chapter] = text
        stored = chapter.with_suffix(".ipynb")
        if stored.exists():
            files[stored] = rewritten_notebook(stored, text)
    citation = ROOT / "CITATION.cff"
    files[citation] = rewritten_citation(citation.read_text(encoding="utf-8"))
    return files


def main() -> int:
    different = [(p, t) for p, t in wanted().items() if p.read_text(encoding="utf-8") != t]
    names = ", ".join(p.relative_to(ROOT).as_posix() for p, _ in different) or "nothing"
    if "--check" in sys.argv[1:]:
        print(f"differs from the address in _config.yml: {names}")
        return bool(different)
    for path, text in different:
        path.write_text(text, encoding="utf-8")
    print(f"rewrote {names}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
