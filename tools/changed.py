"""Name the executed chapters that changed since the last commit, as many as a short time allows.

    python tools/changed.py

The names go to the output, one a line; what is left to `make test` is said on the error stream.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from notebooks import BOOK, ROOT, RUNTIMES, chapters, run_times

SECONDS = 150  # of both cores together, by the run times that are stored
UNKNOWN = 60  # seconds, of a chapter that has none


def changed() -> list[Path]:
    """The notebooks that differ from the last commit, new ones among them."""
    command = ["git", "status", "--porcelain", "-z", "--untracked-files=all", "--", "book"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {entry[3:] for entry in said.split("\0") if entry}
    stored = [text.with_suffix(".ipynb") for text in chapters()]
    return [path for path in stored if path.relative_to(ROOT).as_posix() in names]


def within(found: list[Path], seconds: float = SECONDS) -> tuple[list[Path], list[Path]]:
    """Those that fit into a time, the quickest first, and the others.

    Args:
        found: notebooks.
        seconds: that may be spent on two cores.

    Returns:
        What is to be executed, and what is left.
    """
    times = run_times(RUNTIMES)

    def cost(path):
        return times.get(path.relative_to(BOOK).with_suffix("").as_posix(), UNKNOWN)

    chosen, spent = [], 0
    for path in sorted(found, key=cost):
        spent += cost(path)
        if spent <= 2 * seconds:
            chosen.append(path)
    return chosen, [path for path in found if path not in chosen]


if __name__ == "__main__":
    now, later = within(changed())
    for path in now:
        print(path.relative_to(ROOT).as_posix())
    if later:
        print("left to make test: " + ", ".join(p.stem for p in later), file=sys.stderr)
