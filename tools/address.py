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
        {source},
    )
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*pip, source], check=True)
    print(f"ddt_utils was missing; installed it from {{source}}")"""


URL = re.compile(r"https://github\.com/([A-Za-z0-9][A-Za-z0-9-]{0,38})/([\w.-]{1,100})", re.ASCII)
BRANCH = re.compile(r"(?![-/.])(?!.*(\.\.|//|/\.|\.lock$|[./]$))[\w./+-]{1,100}", re.ASCII)
WIDTH = 75  # columns of a code cell


def address() -> dict[str, str]:
    """The repository's url and branch.

    Returns:
        What ``_config.yml`` says under ``repository``.

    Raises:
        ValueError: no launch button and no installation could use it, or the file is damaged.
    """
    try:
        config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise ValueError(
            f"_config.yml must be YAML in UTF-8, got {told}; look for conflict markers and tabs, "
            "or restore it with git checkout _config.yml"
        ) from error
    if not isinstance(config, dict):
        raise ValueError(
            f"_config.yml must hold names with values, got {str(config)[:80]!r}; restore it with "
            "git checkout _config.yml"
        )
    return checked(config.get("repository"))


def checked(repository) -> dict[str, str]:
    """An address from which working links, and a cell that installs the package, can be made.

    Args:
        repository: what stands under ``repository`` in ``_config.yml``.

    Returns:
        The same.

    Raises:
        ValueError: the url is not that of a repository on GitHub, as a browser shows it, or the
            branch is no text, or none that git allows.
    """
    here = repository if isinstance(repository, dict) else {}
    url, branch = here.get("url"), here.get("branch")
    found = URL.fullmatch(url) if isinstance(url, str) else None
    if not found or url.endswith((".git", ".")):
        raise ValueError(
            "repository: url in _config.yml must be https://github.com/OWNER/NAME, in letters, "
            f"digits and ._-, with nothing behind it, not even .git, got {url!r}; {_remedy(url)}"
        )
    if not isinstance(branch, str):
        raise ValueError(
            f"repository: branch in _config.yml must be a text, got {branch!r}; a name that YAML "
            'takes for a number or a truth value needs quotation marks, as in branch: "3.10"'
        )
    if not BRANCH.fullmatch(branch):
        raise ValueError(
            "repository: branch in _config.yml must be a branch's name of letters, digits and "
            f"._/+-, got {branch!r}; write the name that `git branch` shows"
        )
    return here


def _remedy(url) -> str:
    """What to write instead, where that can be told."""
    said = re.search(r"github\.com[:/]([\w-]+)/([\w.-]+?)(?:\.git)?/*$", str(url), re.ASCII)
    better = said and f"https://github.com/{said[1]}/{said[2]}"
    if better and URL.fullmatch(better) and not better.endswith((".git", ".")):
        return f"write {better}"
    return "copy it from the browser's address line; Colab opens repositories on GitHub only"


def literal(text: str, indent: int) -> str:
    """A text as Python's string, in several pieces where one would be too wide for a code cell.

    Args:
        text: without quotation marks or backslashes.
        indent: columns before the string.

    Returns:
        The source; the pieces stand one below the other.
    """
    room = WIDTH - indent - len('"",')
    pieces = []
    while len(text) > room:
        cut = text.rfind("/", 0, room) + 1
        cut = cut if cut > room // 3 else room
        pieces.append(text[:cut])
        text = text[cut:]
    return ("\n" + " " * indent).join(f'"{piece}"' for piece in [*pieces, text])


def rewritten_text(text: str) -> str:
    """A chapter's text with the set-up cell that the address asks for."""
    here = address()
    cell = SETUP.format(source=literal(f"git+{here['url']}@{here['branch']}", 8))
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
    try:
        notebook = nbformat.read(stored, as_version=4)
    except (ValueError, AttributeError, KeyError, nbformat.ValidationError) as error:
        raise ValueError(
            f"{stored} is no notebook ({type(error).__name__}); resolve the conflict in it, or "
            "delete it and run make notebooks"
        ) from error
    wanted = [c.source for c in jupytext.reads(text, fmt="md:myst").cells if is_setup(c)]
    for cell in notebook.cells:
        if is_setup(cell):
            cell.source = wanted[0]
    return nbformat.writes(notebook, version=4).rstrip() + "\n"


def rewritten_citation(text: str) -> str:
    """The citation file with the address."""
    line = f'repository-code: "{address()["url"]}"'
    changed, count = re.subn(r"(?m)^repository-code: .*$", line, text)
    if count != 1:
        raise ValueError(f"CITATION.cff has one line repository-code: …, found {count}")
    return changed


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
    """Rewrite, or only look.

    Returns:
        1 if something differs that was only to be looked at, or if the address cannot be used.
    """
    try:
        files = wanted()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    different = [(p, t) for p, t in files.items() if p.read_text(encoding="utf-8") != t]
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
