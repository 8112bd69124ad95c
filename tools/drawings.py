"""Draw the logo, the favicon, the chapters' thumbnails and the charts of the Run times page.

    python tools/drawings.py           draw what no longer looks as it should
    python tools/drawings.py --check   name those, and fail if there are any

The pages inline the thumbnails and exchange the palette's light colours for the reader's theme. The
README's picture is the landing page's figure, taken from its executed notebook.
"""

from __future__ import annotations

import json
import sys
from io import StringIO
from operator import itemgetter
from pathlib import Path

from matplotlib import pyplot as plt
from svg import look_alike
from thumbnails import CHAPTERS, picture, two_valleys

from ddt_utils import figures

BOOK = Path(__file__).resolve().parent.parent / "book"
STATIC = BOOK / "_static"
BENCHMARKS = BOOK.parent / "benchmarks"


def landing_figure() -> str:
    """The figure of the landing page as its notebook stores it."""
    cells = json.loads((BOOK / "index.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [
        o for c in cells for o in c.get("outputs", []) if "image/svg+xml" in o.get("data", {})
    ]
    return "".join(outputs[0]["data"]["image/svg+xml"])


PROBLEMS = {
    "quartic": "quartic",
    "multiplicative": "quartic, D(x)",
    "mueller_brown": "Müller–Brown",
    "styblinski_tang": "Styblinski–Tang, n = 10",
}
CONTESTANTS = {  # the name in the benchmark: label, colour, marker
    "torchsde": ("torchsde", "flat", "v"),
    "diffrax": ("diffrax", "white", "s"),
    "JAX": ("JAX", "sgd", "D"),
    "torch eager": ("torch", "sharp", "^"),
    "C++ reference": ("C++", "theory", "x"),
    "ours": ("this book", "measurement", "o"),
}


def _measured(rows, problem, contestant, mode, value):
    """Walkers and a value of the runs on one thread, in order."""
    wanted = problem, contestant, mode, 1
    key = itemgetter("problem", "contestant", "mode", "threads")
    return sorted((row["walkers"], row[value]) for row in rows if key(row) == wanted)


def _legend(figure, axis):
    """One line above the axes."""
    handles, labels = axis.get_legend_handles_labels()
    options = dict(ncols=len(labels), columnspacing=0.9, handletextpad=0.2)
    figure.legend(handles, labels, loc="outside upper center", **options)


def _svg(figure) -> str:
    stream = StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return stream.getvalue()


def step_cost(rows) -> str:
    """What a walker-step costs, by the number of walkers, for the four problems."""
    fig, axes = figures.figure(height=4.6, rows=2, columns=2, sharex=True)
    for axis, (problem, title) in zip(axes.flat, PROBLEMS.items(), strict=True):
        for contestant, (label, color, marker) in CONTESTANTS.items():
            own = contestant in ("ours", "C++ reference")
            mode = "absorption" if own else "steady"
            found = _measured(rows, problem, contestant, mode, "ns_useful")
            style = dict(ms=4, lw=1, color=figures.COLORS[color], label=label)
            axis.plot(*zip(*found, strict=True), marker + "-", **style)
        ((_, floor),) = _measured(rows, problem, "ours", "free", "ns_useful")
        axis.axhline(floor, lw=1, ls=":", color=figures.COLORS["measurement"])
        axis.set(xscale="log", yscale="log")
        axis.text(0.97, 0.97, title, transform=axis.transAxes, ha="right", va="top")
        low, high = axis.get_ylim()
        axis.set_ylim(low, high * 3)
    for axis in axes[1]:
        axis.set_xlabel("walkers")
    for axis in axes[:, 0]:
        axis.set_ylabel("ns per step")
    _legend(fig, axes[0, 0])
    return _svg(fig)


def step_time(rows) -> str:
    """How long it takes until every walker of the quartic has escaped."""
    fig, axis = figures.figure(height=3.0)
    for contestant, (label, color, marker) in CONTESTANTS.items():
        found = _measured(rows, "quartic", contestant, "absorption", "seconds")
        style = dict(ms=5, lw=1, color=figures.COLORS[color], label=label)
        axis.plot(*zip(*found, strict=True), marker + "-", **style)
    axis.set(xscale="log", yscale="log", xlabel="walkers", ylabel="seconds to the last escape")
    _legend(fig, axis)
    return _svg(fig)


BATCHES = {1: ("flat", "o"), 8: ("sgd", "s"), 64: ("sharp", "^")}


def replica_gain(rows) -> str:
    """How much faster networks train side by side than one after the other."""
    widths = sorted({tuple(row["widths"]) for row in rows})
    fig, axes = figures.figure(height=2.9, columns=len(widths), sharey=True)
    for axis, shape in zip(axes, widths, strict=True):
        axis.axhline(1, lw=0.8, color=figures.COLORS["muted"])
        for batch, (color, marker) in BATCHES.items():
            for kind, style in (("torch.float64", "-"), ("torch.float32", ":")):
                wanted = [list(shape), batch, kind]
                found = sorted(
                    (row["replicas"], row["ratio"])
                    for row in rows
                    if [row["widths"], row["batch"], row["dtype"]] == wanted
                )
                style_ = dict(ms=4, lw=1.1, color=figures.COLORS[color])
                label = f"$B={batch}$" if style == "-" else None
                axis.plot(*zip(*found, strict=True), marker + style, label=label, **style_)
        axis.set(xscale="log", yscale="log", xlabel="replicas")
        axis.text(0.96, 0.05, "–".join(map(str, shape)), transform=axis.transAxes, ha="right")
    axes[0].set_ylabel("times as fast")
    _legend(fig, axes[0])
    return _svg(fig)


def drawings() -> dict[Path, str]:
    """Every drawing that is made here, by its file."""
    figures.use_style()
    rows = json.loads((BENCHMARKS / "engine.json").read_text(encoding="utf-8"))["rows"]
    side = json.loads((BENCHMARKS / "replicas.json").read_text(encoding="utf-8"))["rows"]
    files = {
        "step-cost.svg": step_cost(rows),
        "step-time.svg": step_time(rows),
        "replica-gain.svg": replica_gain(side),
        "two-valleys.svg": landing_figure(),
        "logo.svg": picture(two_valleys()),
        "logo-dark.svg": picture(two_valleys(dark=True)),
        "favicon.svg": picture(two_valleys(width=64, height=64, margin=4), 64, 64),
    }
    for draw in CHAPTERS:
        files[f"thumbs/{draw.__name__.replace('_', '-')}.svg"] = picture(draw())
    return {STATIC / name: text for name, text in files.items()}


def changed() -> dict[Path, str]:
    """The drawings that are missing or look different from the stored ones."""

    def stored(path):
        return path.read_text(encoding="utf-8") if path.exists() else ""

    return {p: text for p, text in drawings().items() if not look_alike(text, stored(p))}


def main() -> int:
    """Draw, or only look.

    Returns:
        1 if a drawing was to be looked at and is not as it should be, else 0.
    """
    check, found = "--check" in sys.argv[1:], changed()
    names = ", ".join(path.relative_to(STATIC).as_posix() for path in found) or "nothing"
    if check:
        print(f"differs: {names}" + "; run make drawings" * bool(found))
        return bool(found)
    for path, text in found.items():
        path.write_text(text, encoding="utf-8")
    print(f"drew {names}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
