"""Look at the built pages: every page of the table of contents is there and has something on it."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def listed(node) -> list[str]:
    """The pages that the table of contents names."""
    if isinstance(node, dict):
        own = [node[k] for k in ("root", "file") if k in node]
        return own + [p for v in node.values() if isinstance(v, (dict, list)) for p in listed(v)]
    return [p for item in node for p in listed(item)]


def problems(html: Path) -> list[str]:
    """What is missing from the built pages."""
    wrong = []
    for name in listed(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))):
        page = html / f"{name}.html"
        if not page.is_file():
            wrong.append(f"{name}.html is missing")
        elif page.stat().st_size < 5_000 or "<h1" not in page.read_text(encoding="utf-8"):
            wrong.append(f"{name}.html is empty")
    return wrong


def main() -> int:
    html = ROOT / "_build" / "html"
    wrong = problems(html)
    if wrong:
        print("the book is incomplete: " + "; ".join(wrong), file=sys.stderr)
        return 1
    print(f"The book is in {html.relative_to(ROOT)}; open {html / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
