"""The drawings that stand for the chapters, and the logo's two valleys: one hand, few lines."""

from __future__ import annotations

import math
import random

from ddt_utils.figures import PALETTE

WIDTH, HEIGHT = 160, 90


def colour(name, dark=False):
    return PALETTE[name][dark]


def path(points, stroke, width=2.2, fill="none", dash=""):
    """A polyline through points; every second one is enough of many."""
    points = [*points[:-1:2], points[-1]] if len(points) > 50 else points
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
                for a in (2 * math.pi * i / 28 for i in range(29))
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
            elements.append(path(well(x, x + 19, y, 6)[::4], colour("faint"), 1.6))
            elements.append(dot(x + 4.5, y - 1.5, 2.2, colour("sgd")))
            elements.append(path([(x + 20, y - 5), (132, 45)], colour("band"), 1))
    elements.append(dot(138, 45, 7, colour("sgd")))
    return elements


def is_it_gaussian():
    """Bars of a histogram with a long tail, and a bell drawn over them."""
    heights = (2, 3, 4, 7, 13, 30, 58, 64, 33, 14, 8, 5, 3, 2)
    elements = [
        path([(18 + 9.6 * i, 78), (18 + 9.6 * i, 78 - h)], colour("sgd"), 7)
        for i, h in enumerate(heights)
    ]
    bell = [(x, 78 - 60 * math.exp(-((x - 80) ** 2) / 420)) for x in range(16, 147)]
    return [*elements, path(bell, colour("ink"), 2.2)]


def noise_is_curvature():
    """Points along the diagonal of two axes."""
    chance = random.Random(5)
    elements = [path([(18, 10), (18, 78), (148, 78)], colour("muted"), 1.4)]
    elements.append(path([(24, 74), (142, 14)], colour("ink"), 1.6))
    for i in range(16):
        x = 28 + 7 * i
        spread = 7 * (1 - i / 18)
        elements.append(dot(x, 76 - (x - 20) * 0.508 + chance.gauss(0, spread), 3, colour("sgd")))
    return elements


def epochs():
    """A straight line, and dots that leave it and become level."""
    elements = [path([(18, 10), (18, 78), (148, 78)], colour("muted"), 1.4)]
    elements.append(path([(22, 74), (144, 14)], colour("white"), 2))
    level = [(22 + 2 * i, 74 - 26 * (1 - math.exp(-i / 26.4))) for i in range(62)]
    elements.append(path(level, colour("ink"), 1.6))
    return elements + [dot(x, y, 3, colour("sgd")) for x, y in level[5::8]]


def papers_noise():
    """Points along the diagonal of two axes, and others that rise more steeply below it."""
    elements = [path([(18, 10), (18, 78), (148, 78)], colour("muted"), 1.4)]
    elements.append(path([(24, 74), (142, 14)], colour("ink"), 1.6))
    for i in range(9):
        x = 30 + 13 * i
        elements.append(dot(x, 76 - (x - 20) * 0.508, 3, colour("flat")))
    for i in range(6):
        x = 78 + 12 * i
        elements.append(dot(x, 75 - (x - 74) * 0.74, 3, colour("sgd")))
    return elements


def _filled(share, shade):
    """The two valleys with a crowd at the bottom of each, the left one with a share."""
    elements = [path(well(12, 148, 80, 34), colour("ink"), 2.2)]
    for centre, part in ((37, share), (123, 1 - share)):
        bump = [(centre + d, 72 - 62 * part * math.exp(-(d**2) / 90)) for d in range(-24, 25)]
        elements.append(path(bump, colour(shade), 2.4))
    return elements


def white_noise():
    """Nearly equal crowds in two valleys."""
    return _filled(0.42, "white")


def sgd_noise():
    """The same loss twice: as it is, and as the noise of SGD weighs it."""
    plain = two_valleys(walker=0.36)[:2]
    weighed = []
    for i in range(81):
        x = 0.09 + 0.87 * i / 80
        depth = 0.32 if x < 0.36 else 1.15
        level = 1 - depth * (1 - min(valley(x), 1.0)) + max(valley(x) - 1, 0)
        weighed.append((8 + 144 * x, 64 - 52 * level + 14))
    return [*plain, path(weighed, colour("sgd"), 2, dash="1 5")]


def many_directions():
    """A way that narrows, seen from above: the paths of a stream that cross on it."""
    walls = [
        [(14 + 1.65 * i, 45 + side * (34 - 22 / (1 + math.exp(-(i - 40) / 9)))) for i in range(81)]
        for side in (-1, 1)
    ]
    rays = [[(14, 45 + 9 * n), (98, 45 - 3.4 * n)] for n in (-2, -1, 1, 2)]
    return [
        *(path(wall, colour("ink"), 2.4) for wall in walls),
        *(path(ray, colour("sgd"), 1.6) for ray in rays),
        path([(14, 45), (146, 45)], colour("muted"), 1.4, dash="2 5"),
        dot(14, 45, 4, colour("ink")),
    ]


def dials():
    """Three small panels, each with points on a rising line."""
    elements = []
    for n, rise in enumerate((0.9, 1.3, 1.1)):
        x = 12 + 48 * n
        elements.append(path([(x, 18), (x, 74), (x + 38, 74)], colour("muted"), 1.4))
        elements.append(path([(x + 5, 68), (x + 36, 68 - 34 * rise)], colour("ink"), 1.6))
        for i in range(5):
            elements.append(dot(x + 7 + 6.7 * i, 66 - 7.3 * rise * i, 2.8, colour("measurement")))
    return elements


def which_minimum():
    """A small warm and a large cool circle, with a way there and a narrower one back."""
    there = [(44 + t, 32 - 9 * math.sin(math.pi * t / 40)) for t in range(41)]
    back = [(44 + t, 60 + 9 * math.sin(math.pi * t / 40)) for t in range(41)]
    return [
        dot(28, 46, 12, colour("sharp")),
        dot(118, 46, 31, colour("flat")),
        path(there, colour("ink"), 4),
        path([(79, 23), (85, 32), (75, 34)], colour("ink"), 3),
        path(back, colour("ink"), 1.4),
        path([(51, 69), (44, 60), (54, 58)], colour("ink"), 1.4),
    ]


def large_batches():
    """Bars that double, and double again."""
    elements = [path([(12, 78), (148, 78)], colour("muted"), 1.4)]
    for i in range(7):
        x = 24 + 18.5 * i
        elements.append(path([(x, 75), (x, 74 - 1.05 * 1.95**i)], colour("sgd"), 8))
    return elements


def where_it_breaks():
    """A smooth line that stops, a gap, and the points that go on elsewhere."""
    line = [(14 + t, 74 - 26 * (t / 74) ** 1.4) for t in range(75)]
    elements = [path(line, colour("ink"), 2.2)]
    elements.append(
        path(
            [(90 + t, 47 - 34 * (t / 56)) for t in range(0, 57, 4)], colour("ink"), 1.4, dash="1 5"
        )
    )
    for i in range(5):
        elements.append(dot(20 + 15 * i, 74 - 26 * ((6 + 15 * i) / 74) ** 1.4, 3, colour("sgd")))
    for i in range(4):
        elements.append(dot(98 + 15 * i, 52 + 6 * i, 3.4, colour("deviation")))
    return elements


def _ellipse(x, y, long, turn):
    """A closed ellipse, half as wide as long, as points."""
    cos, sin = math.cos(turn), math.sin(turn)
    angles = [2 * math.pi * i / 60 for i in range(61)]
    across = [(long * math.cos(a), long / 2 * math.sin(a)) for a in angles]
    return [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in across]


def in_one_page():
    """A page: a line of large type, and a table of three rows."""
    elements = [path([(50, 8), (110, 8), (110, 82), (50, 82), (50, 8)], colour("ink"), 2.2)]
    elements.append(path([(60, 24), (100, 24)], colour("sgd"), 5))
    for y in (40, 53, 66):
        elements.append(path([(60, y), (74, y)], colour("muted"), 2.4))
        elements.append(path([(82, y), (100, y)], colour("muted"), 2.4))
    return elements


def logistic_valley():
    """A tilted bowl from above, a square around its bottom, and walkers that leave through it."""
    elements = [path(_ellipse(80, 45, 22 * k, 0.5), colour("faint"), 1.4) for k in (1, 2, 3)]
    elements.append(path([(52, 17), (108, 17), (108, 73), (52, 73), (52, 17)], colour("ink"), 2))
    for x, y in ((110, 60), (112, 67), (50, 25), (47, 32), (109, 52), (51, 38)):
        elements.append(dot(x, y, 3.2, colour("sgd")))
    return [*elements, dot(80, 45, 3.6, colour("ink"))]


def network_minimum():
    """A small network: two inputs, three units, one output."""
    left, middle, right = [(30, 28), (30, 62)], [(80, 16), (80, 45), (80, 74)], [(130, 45)]
    elements = [path([a, b], colour("faint"), 2) for a in left for b in middle]
    elements += [path([a, b], colour("faint"), 2) for a in middle for b in right]
    elements += [dot(x, y, 7, colour("ink")) for x, y in (*left, *right)]
    shades = ("sharp", "flat", "sgd")
    return elements + [dot(*m, 8, colour(s)) for m, s in zip(middle, shades, strict=True)]


def other_exits():
    """Two valleys with a hill between them, and a way that goes round its top."""
    valley = [(14 + t, 30 + 44 * math.sin(math.pi * t / 66) ** 2) for t in range(0, 133, 2)]
    elements = [path(valley, colour("ink"), 2.2)]
    around = [(47 + t, 66 - 58 * math.sin(math.pi * t / 66)) for t in range(0, 67, 2)]
    elements.append(path(around, colour("sgd"), 1.8, dash="2 5"))
    return elements + [dot(47, 68, 4, colour("sgd")), dot(113, 68, 4, colour("flat"))]


def papers_escapes():
    """A row of three panels with rising dots, and below it a bowl with a box around its bottom."""
    elements = []
    for i in range(3):
        left = 14 + 47 * i
        elements.append(path([(left, 6), (left, 40), (left + 38, 40)], colour("muted"), 1.4))
        elements.append(path([(left + 3, 37), (left + 36, 10)], colour("ink"), 1.6))
        for t in (6, 15, 24, 33):
            elements.append(dot(left + t, 39.5 - 0.82 * t, 2.6, colour("sgd")))
    bowl = [(80 + t, 84 - 0.0075 * t * t) for t in range(-66, 67, 2)]
    elements.append(path(bowl, colour("flat"), 2.4))
    box = [(58, 64), (102, 64), (102, 88), (58, 88), (58, 64)]
    return elements + [
        path(box, colour("muted"), 1.4, dash="3 4"),
        dot(108, 74, 3.6, colour("sgd")),
    ]


def spectrum():
    """Bars of falling height, a few large ones and many small."""
    heights = (62, 47, 30, 12, 8, 6, 5, 4, 3, 3, 2, 2)
    elements = [path([(12, 78), (148, 78)], colour("muted"), 1.4)]
    for i, height in enumerate(heights):
        x = 22 + 10.5 * i
        elements.append(path([(x, 75), (x, 75 - height)], colour("flat"), 5))
        elements.append(dot(x, 75 - 0.82 * height - 3, 2.6, colour("sgd")))
    return elements


def which_minima():
    """Many walkers above two valleys, most of them on their way into the flat one."""
    plain = two_valleys(walker=0.36)[:2]
    places = (0.2, 0.24, 0.5, 0.56, 0.6, 0.64, 0.68, 0.72, 0.76, 0.82)
    walkers = [dot(8 + 144 * x, 75 - 64 * min(valley(x), 1.0), 3.2, colour("sgd")) for x in places]
    return [*plain, *walkers]


def flatness_and_generalisation():
    """Two curves with the same bottom, and one of them moved aside."""
    first = [(14 + t, 24 + 50 * (1 - ((t - 50) / 52) ** 2)) for t in range(0, 101, 2)]
    moved = [(x + 20, y - 5) for x, y in first]
    return [
        path(first, colour("ink"), 2.4),
        path(moved, colour("sgd"), 2.4, dash="2 5"),
        dot(64, 74, 4, colour("flat")),
        path([(64, 74), (64, 60)], colour("muted"), 1.4),
    ]


def your_own_network():
    """A page: a small network at its top, and points beside two lines below."""
    page = [(42, 6), (118, 6), (118, 84), (42, 84), (42, 6)]
    elements = [path(page, colour("ink"), 2.2)]
    left, middle, right = [(58, 18), (58, 32)], [(80, 14), (80, 25), (80, 36)], [(102, 25)]
    elements += [path([a, b], colour("faint"), 1.4) for a in left for b in middle]
    elements += [path([a, b], colour("faint"), 1.4) for a in middle for b in right]
    elements += [dot(x, y, 3, colour("ink")) for x, y in (*left, *middle, *right)]
    elements.append(path([(50, 54), (110, 54)], colour("muted"), 1.4, dash="3 4"))
    for x, y in ((52, 66), (59, 72), (66, 62), (73, 70), (80, 66), (88, 69), (98, 55), (105, 53)):
        elements.append(dot(x, y, 2.6, colour("sgd")))
    return elements


def one_regression():
    """A level line, three curves that leave it downwards, and points that rise to the upper two."""
    elements = [path([(12, 20), (148, 20)], colour("ink"), 2.2)]
    for reach, shade, dash in ((104, "ink", ""), (52, "muted", "5 4"), (26, "muted", "1 5")):
        fall = [(12 + t, 20 + 58 * (t / (t + reach)) ** 3) for t in range(0, 137, 2)]
        elements.append(path(fall, colour(shade), 2, dash=dash))
    for x, y in ((30, 20), (58, 22), (86, 26), (114, 32), (140, 38)):
        elements += [dot(x, y + 9, 2.2, colour("faint")), dot(x, y, 3.2, colour("sgd"))]
    return elements


def steps():
    """A parabola in which the steps cross the bottom, each time a little higher."""
    bowl = [(80 + t, 76 - 0.0125 * t * t) for t in range(-70, 71, 2)]
    heights = (12, -20, 33, -52)
    hops = [(80 + t, 76 - 0.0125 * t * t) for t in heights]
    return [
        path(bowl, colour("flat"), 2.6),
        path(hops, colour("sgd"), 1.8),
        *(dot(x, y, 3.4, colour("sgd")) for x, y in hops),
    ]


def cousins():
    """Rows of points on lines of slope one, two and none."""
    elements = []
    for slope, shade in ((0.0, "flat"), (0.28, "sgd"), (0.56, "sharp")):
        points = [(22 + 16 * i, 78 - 10 - slope * 16 * i) for i in range(8)]
        elements.append(path(points, colour("muted"), 1.2))
        elements += [dot(x, y, 3.2, colour(shade)) for x, y in points]
    return elements


def no_barrier():
    """A level floor that a walker slides along, from where it is narrow to where it is wide."""
    upper = [(14 + t, 40 - 0.19 * t) for t in range(0, 133, 4)]
    lower = [(14 + t, 50 + 0.19 * t) for t in range(0, 133, 4)]
    walkers = [dot(24 + 26 * i, 45 + (3, -4, 5, -3, 2)[i], 4, colour("sgd")) for i in range(5)]
    return [
        path(upper, colour("sharp"), 2.6),
        path(lower, colour("flat"), 2.6),
        path([(24, 45), (128, 45)], colour("muted"), 1.2, dash="2 5"),
        *walkers,
    ]


def jumps_and_memory():
    """A walker that creeps, and leaps once far to the side."""
    draw, y, points = random.Random(4), 60.0, []
    for i in range(60):
        y += draw.gauss(0, 2) - 0.2 * (y - 60)
        points.append((14 + 1.5 * i, y))
    after = [(x + 95, y0 - 38) for x, y0 in points[:28]]
    return [
        path(points, colour("sgd"), 1.8),
        path([points[-1], after[0]], colour("sharp"), 2.4),
        path(after, colour("sgd"), 1.8),
    ]


def other_drives():
    """A double well, and the same one smoothed to a shallow wave."""
    sharp = well(14, 146, 76, 30)
    smooth = [(x, 62 - 5 * math.cos(4 * math.pi * (x - 14) / 132)) for x, _ in sharp]
    return [
        path(sharp, colour("flat"), 2.6),
        path(smooth, colour("ink"), 2, dash="2 5"),
        dot(80, 61, 5, colour("sgd")),
    ]


def what_flatness_is_good_for():
    """Four copies of one function, from narrow to wide, and the same step away from each bottom."""
    elements = []
    for i, (wide, shade) in enumerate(
        zip((5, 9, 14, 18), ("sharp", "sharp", "flat", "flat"), strict=False)
    ):
        centre = 24 + 37 * i
        bowl = [(centre + wide * t / 10, 76 - 0.5 * t * t) for t in range(-10, 11)]
        elements += [path(bowl, colour(shade), 2.4), dot(centre, 71, 3.4, colour("sgd"))]
    return elements


def the_map():
    """A map of four patches, with a point on each."""
    elements = [
        path([(20, 80), (20, 12)], colour("muted"), 1.6),
        path([(20, 80), (146, 80)], colour("muted"), 1.6),
    ]
    patches = ((26, 44, 58, 30, "ink"), (26, 16, 58, 22, "flat"), (90, 34, 52, 40, "sgd"))
    for x, y, wide, high, shade in patches:
        corner = [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high), (x, y)]
        elements.append(path(corner, colour(shade), 2.2))
        elements.append(dot(x + wide / 2, y + high / 2, 3.6, colour(shade)))
    return elements


#: The chapters in the order of the book; a function's name is the page's.
CHAPTERS = (
    sgd_to_diffusion,
    density_flow,
    kramers,
    measuring,
    saddles,
    is_it_gaussian,
    noise_is_curvature,
    epochs,
    papers_noise,
    white_noise,
    sgd_noise,
    many_directions,
    dials,
    which_minimum,
    large_batches,
    where_it_breaks,
    in_one_page,
    logistic_valley,
    network_minimum,
    other_exits,
    papers_escapes,
    spectrum,
    which_minima,
    flatness_and_generalisation,
    your_own_network,
    one_regression,
    jumps_and_memory,
    steps,
    no_barrier,
    other_drives,
    what_flatness_is_good_for,
    cousins,
    the_map,
    how_it_works,
    scaling_up,
)
