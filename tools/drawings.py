"""Draw the logo, the favicon and the chapters' thumbnails: two valleys and a walker, one hand.

    python tools/drawings.py

The pages inline the thumbnails and exchange the palette's light colours for the reader's theme. The
README's picture is the landing page's figure, taken from its executed notebook.
"""

from __future__ import annotations

import json
import math
import random
from io import StringIO
from operator import itemgetter
from pathlib import Path

from matplotlib import pyplot as plt

from ddt_utils import figures
from ddt_utils.figures import PALETTE

BOOK = Path(__file__).resolve().parent.parent / "book"
STATIC = BOOK / "_static"
ENGINE = BOOK.parent / "benchmarks" / "engine.json"
WIDTH, HEIGHT = 160, 90


def colour(name, dark=False):
    return PALETTE[name][dark]


def path(points, stroke, width=2.2, fill="none", dash=""):
    """A polyline through points."""
    steps = " ".join(f"{'ML'[i > 0]}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{steps}" fill="{fill}" stroke="{stroke}" stroke-width="{width}"'
        f' stroke-linecap="round" stroke-linejoin="round"{dashes}/>'
    )


def dot(x, y, radius, fill):
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}"/>'


def valley(x):
    """Two valleys of equal depth, the left one sharp, for x in [0, 1]; 1 at the crest."""
    if x < 0.36:
        return min(
            1.25,
            1.0 * (1 - math.cos(2 * math.pi * (x - 0.22) / 0.28)) / 2 + 9 * max(0, 0.22 - x) ** 1.6,
        )
    return min(
        1.25, (1 - math.cos(2 * math.pi * (x - 0.68) / 0.64)) / 2 + 5 * max(0, x - 0.68) ** 2.2
    )


def two_valleys(dark=False, width=WIDTH, height=HEIGHT, margin=8, walker=0.36):
    """The recurring drawing: the sharp flank warm, the flat flank cool, a walker on the crest."""

    def place(x):
        return margin + x * (width - 2 * margin), height - margin - valley(x) * (
            height - 3.2 * margin
        )

    left = [place(0.09 + 0.27 * i / 40) for i in range(41)]
    right = [place(0.36 + 0.6 * i / 60) for i in range(61)]
    x, y = place(walker)
    return [
        path(left, colour("sharp", dark), 3),
        path(right, colour("flat", dark), 3),
        dot(x, y - 6, 5, colour("ink", dark)),
    ]


def picture(elements, width=WIDTH, height=HEIGHT):
    body = "\n".join(elements)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">\n{body}\n</svg>\n'
    )


def well(x0, x1, base, height, centre_height=1.0):
    """A double well between x0 and x1 as points."""
    points = []
    for i in range(81):
        u = -1.55 + 3.1 * i / 80
        level = (u**4 / 4 - u**2 / 2 + 0.25) / 0.25 * centre_height
        points.append((x0 + (x1 - x0) * i / 80, base - height * min(level, 2.4)))
    return points


def sgd_to_diffusion():
    chance = random.Random(4)
    points, smooth = [(14, 20)], []
    for i in range(34):
        x = 14 + 132 * (i + 1) / 34
        trend = 70 - 50 * math.exp(-3.2 * (i + 1) / 34)
        points.append((x, trend + chance.gauss(0, 6)))
    for i in range(35):
        smooth.append((14 + 132 * i / 34, 70 - 50 * math.exp(-3.2 * i / 34)))
    return [
        path(points, colour("sgd"), 1.5),
        path(smooth, colour("ink"), 2.2),
        dot(14, 20, 4, colour("ink")),
    ]


def density_flow():
    elements = [path(well(14, 146, 78, 30), colour("faint"), 2)]
    for centre, width, height, shade in (
        (47, 7, 56, "sgd"),
        (54, 15, 34, "flat"),
        (80, 40, 16, "white"),
    ):
        points = [
            (x, 76 - height * math.exp(-((x - centre) ** 2) / (2 * width**2)))
            for x in range(12, 149)
        ]
        elements.append(path(points, colour(shade), 2))
    return elements


def kramers():
    points = well(12, 148, 80, 44)
    elements = [path(points, colour("ink"), 2.4)]
    for centre, base in ((36.5, 80), (80, 36)):
        bump = [(centre + d, base - 6 - 16 * math.exp(-(d**2) / 60)) for d in range(-20, 21)]
        elements.append(path(bump, colour("sharp" if base == 80 else "flat"), 2))
    elements.append(dot(36.5, 74, 4.5, colour("ink")))
    return elements


def measuring():
    chance = random.Random(8)
    elements = [path([(18, 10), (18, 78), (148, 78)], colour("muted"), 1.4)]
    elements.append(path([(18 + t, 14 + 0.42 * t) for t in (0, 125)], colour("ink"), 1.6))
    for t in range(4, 122, 13):
        y = 14 + 0.42 * t + chance.gauss(0, 1 + t / 40)
        reach = 2 + t / 14
        elements.append(
            path([(18 + t, y - reach), (18 + t, y + reach)], colour("measurement"), 1.6)
        )
        elements.append(dot(18 + t, y, 3, colour("measurement")))
    return elements


def saddles():
    elements = []
    for centre in (48, 112):
        for radius in (8, 17, 26):
            ring = [
                (
                    centre + radius * math.cos(a) * (1.15 if radius > 20 else 1),
                    45 + 0.95 * radius * math.sin(a),
                )
                for a in (2 * math.pi * i / 48 for i in range(49))
            ]
            elements.append(path(ring, colour("faint"), 1.4))
    elements.append(
        path(
            [(48 + t, 45 - 5 * math.sin(t / 64 * 2 * math.pi)) for t in range(65)],
            colour("sgd"),
            2.4,
        )
    )
    elements += [dot(48, 45, 4, colour("sharp")), dot(112, 45, 4, colour("flat"))]
    elements.append(path([(76, 41), (84, 49)], colour("ink"), 2.2))
    elements.append(path([(76, 49), (84, 41)], colour("ink"), 2.2))
    return elements


def landing_figure() -> str:
    """The figure of the landing page as its notebook stores it."""
    cells = json.loads((BOOK / "index.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [
        o for c in cells for o in c.get("outputs", []) if "image/svg+xml" in o.get("data", {})
    ]
    return "".join(outputs[0]["data"]["image/svg+xml"])


def how_it_works():
    """Lanes: bars of different lengths, each begun where the one before it ended."""
    chance = random.Random(3)
    elements = []
    for lane in range(6):
        y, x = 13 + 13 * lane, 12.0
        while x < 148:
            length = min(3 - 26 * math.log(1 - chance.random()), 148 - x)
            shade = "flat" if chance.random() < 0.5 else "measurement"
            elements.append(path([(x + 2, y), (x + max(length - 2, 2), y)], colour(shade), 5))
            x += length
    return elements


def scaling_up():
    """Many small double wells, one sum."""
    elements = []
    for row in range(3):
        for column in range(4):
            x, y = 14 + 25 * column, 26 + 25 * row
            elements.append(path(well(x, x + 19, y, 6), colour("faint"), 1.6))
            elements.append(dot(x + 4.5, y - 1.5, 2.2, colour("sgd")))
            elements.append(path([(x + 20, y - 5), (132, 45)], colour("band"), 1))
    elements.append(dot(138, 45, 7, colour("sgd")))
    return elements


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


def main():
    figures.use_style()
    rows = json.loads(ENGINE.read_text(encoding="utf-8"))["rows"]
    files = {
        "step-cost.svg": step_cost(rows),
        "step-time.svg": step_time(rows),
        "two-valleys.svg": landing_figure(),
        "logo.svg": picture(two_valleys()),
        "logo-dark.svg": picture(two_valleys(dark=True)),
        "favicon.svg": picture(two_valleys(width=64, height=64, margin=4), 64, 64),
    }
    chapters = (sgd_to_diffusion, density_flow, kramers, measuring, saddles)
    for draw in (*chapters, how_it_works, scaling_up):
        files[f"thumbs/{draw.__name__.replace('_', '-')}.svg"] = picture(draw())
    for name, text in files.items():
        (STATIC / name).write_text(text, encoding="utf-8")
    print("drew " + ", ".join(files))


if __name__ == "__main__":
    main()
