"""First-passage problems in 1 to 10 dimensions whose mean time is known without asymptotics.

Three routes to a truth: one coordinate decides the exit, and the time is that of its quadrature;
the first of n independent coordinates to leave ends the passage, and the time is the integral of
the product of their survival functions; or everything depends on the radius alone, which diffuses
in one dimension with the drift −L′(r) + (n − 1) D/r.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import sympy as sp
from scipy import integrate
from scipy.linalg import eigh_tridiagonal
from scipy.optimize import brentq
from scipy.stats import ortho_group

from ddt_utils import catalog, exact
from ddt_utils.landscape import Landscape
from ddt_utils.noise import HessianNoise, Noise, StateDependentNoise, WhiteNoise

x = sp.Symbol("x", real=True)
BARRIER_SHIFT = 0.5825971579390106  # −ζ(1/2)/√(2π)


@dataclass(frozen=True, eq=False)
class Problem:
    """A first passage and its exact mean.

    Args:
        name: in words.
        landscape, noise, start, exit: as for ``simulate.first_passage``.
        step: dt; where the bias is extrapolated, the finer of two.
        walkers: with that step.
        truth: computes the exact mean in the Ito convention.
        isothermal: computes the mean that the isothermal convention would give; None where D is
            constant along the way.
        line: the problem in one dimension, with the same step, that alone decides the exit; None
            where there is no such problem.
    """

    name: str
    landscape: Landscape
    noise: Noise
    start: tuple
    exit: sp.Basic
    step: float
    walkers: int
    truth: Callable[[], float]
    isothermal: Callable[[], float] | None = None
    line: Problem | None = None


# --- truths ---------------------------------------------------------------------------------------


def survival(loss, diffusion, *, start, lower=None, upper=None, box, cells=1600):
    """Times → the probability that a one-dimensional walker is still inside.

    The backward operator D ∂² − L′ ∂ on a grid that meets ``start`` and the ends, made symmetric
    with the speed density and expanded in its eigenvectors. Without an end the box closes the grid.

    Args:
        loss, diffusion: L and D, SymPy expressions in x.
        start: with two ends, a fraction k/cells of the way between them.
        box: (low, high), beyond which hardly any walker comes.
    """
    slope = sp.lambdify(x, sp.diff(loss, x) / diffusion)

    def wall(edge):
        """Where, on the way to the edge of the box, the stationary density has sunk to e^−40."""
        z = np.linspace(start, edge, 2001)
        rise = integrate.cumulative_trapezoid(slope(z), z, initial=0)
        return z[np.argmax(rise > 40)] if rise.max() > 40 else edge

    low = wall(box[0]) if lower is None else lower
    high = wall(box[1]) if upper is None else upper
    h = (high - low) / cells
    if lower is None:
        h = (high - start) / round((high - start) / h)
        low = high - cells * h
    elif upper is None:
        h = (start - low) / round((start - low) / h)
        high = low + cells * h
    grid = np.linspace(low, high, cells + 1)
    strength = np.broadcast_to(sp.lambdify(x, diffusion)(grid), grid.shape).astype(float)
    halves = np.linspace(low, high, 2 * cells + 1)
    potential = integrate.cumulative_simpson(
        np.broadcast_to(slope(halves), halves.shape), x=halves, initial=0
    )
    potential -= np.interp(start, halves, potential)
    scale = np.exp(potential[1::2])
    speed = np.exp(-potential[::2]) / strength
    speed[[0, -1]] /= 2
    links = 1 / (scale * h)
    kept = slice(lower is not None, cells + (upper is None))
    weight = (speed * h)[kept]
    lost = np.zeros(cells + 1)
    lost[:-1] += links
    lost[1:] += links
    inner = links[(lower is not None) : cells - (upper is not None)]
    values, vectors = eigh_tridiagonal(
        lost[kept] / weight, -inner / np.sqrt(weight[:-1] * weight[1:])
    )
    here = int(np.argmin(np.abs(grid[kept] - start)))
    assert abs(grid[kept][here] - start) < 1e-6 * h
    share = vectors[here] * (vectors.T @ np.sqrt(weight)) / np.sqrt(weight[here])
    return lambda t: np.exp(-np.multiply.outer(t, values)) @ share


def mean_of_first(*survivals, scale):
    """The integral of the product of survival functions; ``scale`` is a time of its order."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    edges = scale * np.r_[0, 2.0 ** np.arange(-12, 8.1, 0.5)]
    half = np.diff(edges)[:, None] / 2
    t = edges[:-1, None] + half * (1 + nodes)
    product = np.prod([s(t.ravel()) for s in survivals], axis=0).reshape(t.shape)
    return float(np.sum(half * weights * product))


def radial_mean(loss, diffusion, n, *, start, lower=None, upper):
    """The mean time for the radius, from ``start``, to ``upper`` or, if given, to ``lower``.

    The scale and speed densities are s = r^(1−n) exp(L/D) and m = r^(n−1) exp(−L/D)/D.

    Args:
        loss: L, a SymPy expression in x, which stands for the radius.
        diffusion: D, a number.
    """
    low, half = 0.0 if lower is None else lower, 100_000
    r = np.r_[np.linspace(low, start, half + 1)[:-1], np.linspace(start, upper, half + 1)]
    potential = np.broadcast_to(sp.lambdify(x, loss)(r), r.shape) / diffusion
    speed = r ** (n - 1) * np.exp(-potential) / diffusion
    mass = integrate.cumulative_simpson(speed, x=r, initial=0)
    with np.errstate(divide="ignore"):
        scale = r ** (1.0 - n) * np.exp(potential)
    if lower is None:
        return float(integrate.simpson(scale[half:] * mass[half:], x=r[half:]))
    # τ is the share of the scale below the start times the whole ∫ s m, less its part below
    reach = integrate.cumulative_simpson(scale, x=r, initial=0)
    inner = integrate.cumulative_simpson(scale * mass, x=r, initial=0)
    return float(reach[half] / reach[-1] * inner[-1] - inner[half])


def discrete_mean(problem, step):
    r"""The exact mean of the Euler–Maruyama process itself, with the shifted exit.

    :math:`T(z) = dt + \int p(z, y)\,T(y)\,dy` over the inside, with p the normal density of mean
    z − L′(z) dt and variance 2 D(z) dt, solved at Gauss–Legendre nodes. Every interface at c
    absorbs from the point at which the walker is 0.5826 √(2 D dt) away from c.

    Args:
        problem: in one dimension.
    """
    slope = sp.lambdify(x, sp.diff(problem.landscape.expression, x))
    strength = sp.lambdify(x, problem.noise.diffusion_matrix(problem.landscape)[0])
    low, high = problem.landscape.box[0]
    for side in problem.exit.args if isinstance(problem.exit, sp.Or) else [problem.exit]:
        sign = 1 if side.gts == x else -1
        edge = float(side.lts if sign > 0 else side.gts)
        at = edge - sign * brentq(
            lambda r, e=edge, s=sign: r - BARRIER_SHIFT * np.sqrt(2 * step * strength(e - s * r)),
            0,
            2,
        )
        low, high = (low, at) if sign > 0 else (at, high)

    def width(z):
        return np.sqrt(2 * step * np.broadcast_to(strength(z), z.shape))

    nodes, weights = np.polynomial.legendre.leggauss(16)
    narrow = width(np.linspace(low, high, 500)).min()
    edges = np.linspace(low, high, int(np.ceil((high - low) / (3.5 * narrow))) + 1)
    half = np.diff(edges)[:, None] / 2
    y, weight = (edges[:-1, None] + half * (1 + nodes)).ravel(), (half * weights).ravel()

    def transition(z):
        centre, spread = (z - step * slope(z))[:, None], width(z)[:, None]
        return np.exp(-(((y - centre) / spread) ** 2) / 2) / np.sqrt(2 * np.pi) / spread * weight

    times = np.linalg.solve(np.eye(len(y)) - transition(y), np.full(len(y), step))
    return float(step + (transition(np.array(problem.start, dtype=float)) @ times)[0])


# --- problems -------------------------------------------------------------------------------------


def _line(name, loss, noise, start, exit, step, walkers=80_000, *, box=(-4, 4), **ends):
    """One dimension; the ends say to ``exact`` what ``exit`` says to the walkers."""
    well = Landscape(loss, (x,), name=name, box=(box,))
    depends = noise.diffusion_matrix(well).free_symbols

    def mean(convention):
        return lambda: exact.mean_first_passage_time(
            well, noise, start=start, convention=convention, **ends
        )

    other = mean("isothermal") if depends else None
    problem = Problem(name, well, noise, (start,), exit, step, walkers, mean("ito"), other)
    return replace(problem, line=problem)


def _one_decides(name, problem, rest, diffusion, start, step, walkers=60_000, turn=None):
    """The one-dimensional problem in coordinate 0, among others that do not act on it.

    Args:
        rest: function of the other coordinates, their loss.
        diffusion: function of all coordinates, the list of the others' D.
        turn: orthogonal matrix from these to the walkers' coordinates; the D must be constant.
    """
    n = 1 + len(start)
    q = sp.symbols(f"q:{n}", real=True)
    (upper,) = [b for b in (problem.exit.gts,) if b == x]
    first = dict(zip((x,), q, strict=False))
    if turn is None:
        seen, point = q, (*problem.start, *start)
    else:
        seen = tuple(sp.Matrix(turn) * sp.Matrix(q))
        point = tuple(turn.T @ np.array((*problem.start, *start)))
    to = dict(zip(q, seen, strict=True))
    loss = problem.landscape.expression.subs(first) + rest(*q[1:])
    own = problem.noise.diffusion_matrix(problem.landscape)[0].subs(first)
    others = [sp.sympify(d) for d in diffusion(*q)]
    if turn is None:
        noise = StateDependentNoise((own, *others))
    else:
        full = turn.T @ np.diag([float(d) for d in (own, *others)]) @ turn
        noise = StateDependentNoise(sp.Matrix((full + full.T) / 2))
    landscape = Landscape(loss.subs(to, simultaneous=True), q, name=name, box=((-6, 6),) * n)
    exit = problem.exit.subs(first).subs(to, simultaneous=True)
    truths = problem.truth, problem.isothermal, replace(problem, step=step)
    return Problem(name, landscape, noise, point, exit, step, walkers, *truths)


def _first_of(name, coordinates, step, walkers=220_000, *, box=(-4, 4), scale):
    """Independent coordinates, each (loss in x, D in x, start, lower, upper); any exit counts."""
    n = len(coordinates)
    q = sp.symbols(f"q:{n}", real=True)
    loss = sum(c[0].subs(x, v) for c, v in zip(coordinates, q, strict=True))
    noise = StateDependentNoise(
        tuple(sp.sympify(c[1]).subs(x, v) for c, v in zip(coordinates, q, strict=True))
    )
    ends = []
    for (*_, lower, upper), v in zip(coordinates, q, strict=True):
        ends += [] if lower is None else [v < lower]
        ends += [] if upper is None else [v > upper]

    def truth():
        functions = {
            c: survival(c[0], sp.sympify(c[1]), start=c[2], lower=c[3], upper=c[4], box=box)
            for c in dict.fromkeys(coordinates)
        }
        return mean_of_first(*(functions[c] for c in coordinates), scale=scale)

    landscape = Landscape(loss, q, name=name, box=(box,) * n)
    start = tuple(c[2] for c in coordinates)
    return Problem(name, landscape, noise, start, sp.Or(*ends), step, walkers, truth)


def _ball(name, n, loss, diffusion, start, upper, step, walkers=220_000, *, lower=None):
    """A radial loss (in x, even) and the sphere of radius ``upper``, or the shell down to lower."""
    q = sp.symbols(f"q:{n}", real=True)
    square = sum(v**2 for v in q)
    r2 = sp.Symbol("r2", positive=True)
    radial = sp.sympify(loss).subs(x, sp.sqrt(r2)).subs(r2, square)
    landscape = Landscape(radial, q, name=name, box=((-upper, upper),) * n)
    direction = np.arange(1.0, n + 1) * (-1) ** np.arange(n)
    point = tuple(start * direction / np.linalg.norm(direction))
    exit = square > upper**2
    if lower is not None:
        exit = sp.Or(exit, square < lower**2)

    def truth():
        return radial_mean(loss, diffusion, n, start=start, lower=lower, upper=upper)

    return Problem(name, landscape, WhiteNoise(diffusion), point, exit, step, walkers, truth)


def _quartic(a, b):
    """a x⁴ − b x² with its barrier b²/4a."""
    return a * x**4 - b * x**2, b**2 / (4 * a)


def problems() -> list[Problem]:
    """All of them; those that differ in numbers only share one compiled kernel."""
    well, barrier = _quartic(0.26, 0.52)  # minima ±1, H_a = 2.08, H_b = −1.04
    deep, depth = _quartic(0.11, 0.55)  # minima ±1.581, H_a = 2.2, H_b = −1.1
    lean = well + 0.04 * x
    white = WhiteNoise
    found = [
        _line("top, 0.5", well, white(barrier / 0.5), -1, x > 0, 0.003, upper=0),
        _line("top, 1", well, white(barrier / 1), -1.01, x > 0.01, 0.005, upper=0.01),
        _line("top, 2", well, white(barrier / 2), -0.99, x > 0.02, 0.01, upper=0.02),
        _line("top, 3", deep, white(depth / 3), -1.58, x > 0.03, 0.015, upper=0.03),
        _line("top, 4", deep, white(depth / 4), -1.6, x > 0.04, 0.03, upper=0.04),
        _line("top, 6", well, white(barrier / 6), -1, x > 0.05, 0.03, 60_000, upper=0.05),
        _line("top, 8", well, white(barrier / 8), -1, x > -0.03, 0.035, 40_000, upper=-0.03),
        _line("far well, 2", deep, white(depth / 2), -1.5, x > 1.5, 0.015, upper=1.5),
        _line("far well, 4", well, white(barrier / 4), -1.1, x > 0.9, 0.03, upper=0.9),
        _line("beyond, from uphill", well, white(0.2), 0.4, x > 1.4, 0.006, upper=1.4),
        _line("next to the exit", well, white(0.11), -0.4, x > 0.06, 0.005, upper=0.06),
        _line("from far out", deep, white(0.35), -2.6, x > 0.07, 0.01, upper=0.07),
        _line("leaning well, 3", lean, white(0.09), -1.02, x > 0.08, 0.02, upper=0.08),
        _line("leaning, 1", lean, white(0.27), -0.7, x > 0.5, 0.005, upper=0.5),
    ]
    both = [
        ("two ends, 0.7", well, 0.3, -1, -1.9, 0.1, 0.004),
        ("two ends, off centre", deep, 0.4, -1.0, -2.5, 0.2, 0.005),
        ("two ends, middle", deep, 0.21, 0.3, -1.7, 1.9, 0.015),
        ("two ends, 4", well, 0.065, -0.9, -1.7, 0.12, 0.03),
    ]
    for name, loss, d, start, low, high, step in both:
        exit = sp.Or(x > high, x < low)
        found.append(_line(name, loss, white(d), start, exit, step, lower=low, upper=high))
    grows = StateDependentNoise
    found += [
        _line("D grows, top", well, grows(0.07 * (1.1 + x**2)), -1, x > 0.03, 0.01, upper=0.03),
        _line(
            "D grows, far",
            deep,
            grows(0.09 * (1.2 + x**2)),
            -1.5,
            x > 1.3,
            0.015,
            upper=1.3,
        ),
        _line("D grows, uphill", well, grows(0.12 * (0.9 + x**2)), 0.2, x > 1.2, 0.004, upper=1.2),
        _line(
            "D grows, 5",
            well,
            grows(0.041 * (0.8 + x**2)),
            -1.03,
            x > 0.015,
            0.015,
            50_000,
            upper=0.015,
        ),
        _line(
            "D falls, two ends",
            well,
            grows(0.3 * sp.exp(-0.7 * x**2)),
            -0.8,
            sp.Or(x > 0.25, x < -1.6),
            0.006,
            lower=-1.6,
            upper=0.25,
        ),
        _line(
            "D waves",
            deep,
            grows(0.32 + 0.13 * sp.sin(2.3 * x)),
            -1.2,
            x > 0.35,
            0.01,
            upper=0.35,
        ),
        _line(
            "D of the curvature, with a floor",
            well,
            HessianNoise(0.1, 1, floor=1.5),
            -1,
            x > 0.02,
            0.01,
            upper=0.02,
        ),
        _line(
            "washboard, two ends",
            -0.3 * sp.cos(2.1 * x) + 0.07 * x,
            white(0.15),
            0.2,
            sp.Or(x > 2.9, x < -3.1),
            0.02,
            lower=-3.1,
            upper=2.9,
        ),
        _line(
            "Morse",
            0.8 * sp.exp(-2.4 * x) - 1.6 * sp.exp(-1.2 * x),
            white(0.3),
            0.4,
            x > 1.6,
            0.006,
            box=(-1.5, 3),
            upper=1.6,
        ),
        _line(
            "piecewise parabolas",
            catalog.piecewise_well(
                curvature_minimum=2.3, curvature_saddle=1.2, barrier=0.4
            ).expression,
            white(0.14),
            -1.0,
            x > 0.05,
            0.012,
            upper=0.05,
        ),
    ]
    by_name = {p.name: p for p in found}
    top, lower_top = by_name["top, 3"], by_name["top, 2"]
    grow = by_name["D grows, top"]
    found += [
        _one_decides(
            "first of 2 decides, D depends on it",
            grow,
            lambda y: 0.7 * y**2,
            lambda u, v: [0.2 + 0.1 * u**2],
            [0.3],
            0.01,
        ),
        _one_decides(
            "first of 3 decides",
            top,
            lambda y, z: 0.6 * y**2 + 0.3 * y * z + 0.4 * z**2,
            lambda *q: [0.31, 0.12],
            [0.5, -0.4],
            0.015,
        ),
    ]
    for n, base, seed in ((2, top, 1), (2, lower_top, 2), (3, lower_top, 3), (3, top, 4)):
        strengths = [0.11, 0.23, 0.17][: n - 1]
        found.append(
            _one_decides(
                f"turned in {n} dimensions, {base.name}",
                base,
                lambda *q: sum((0.45 + 0.15 * k) * v**2 for k, v in enumerate(q)),
                lambda *q, strengths=strengths: strengths,
                [0.3, -0.2, 0.1][: n - 1],
                base.step,
                turn=ortho_group.rvs(n, random_state=seed),
            )
        )
    one = (well, 0.13, -1.0, None, 0.05)
    two = (deep, 0.29, -1.6, None, 0.2)
    wide = (deep, 0.24, -1.2, -2.7, 0.3)
    narrow = (deep, 0.16, -1.45, -2.5, 0.3)
    soft = (well, 0.1 * (1.15 + x**2), -1.0, None, 0.1)
    softer = (well, 0.06 * (1.25 + x**2), -1.0, None, 0.07)
    more = (well, 0.22, -0.9, None, 0.25)
    # the walkers start next to the local minimum at 2.747 and leave next to the top at 0.157
    styblinski = (x**4 - 16 * x**2 + 5 * x) / 2
    found += [
        _first_of("first of 2, three ends", (soft, wide), 0.01, scale=10),
        _first_of("first of 2, three ends, less D", (softer, narrow), 0.015, scale=30),
        _first_of("first of 5", (one,) * 3 + (two,) * 2, 0.01, scale=5),
        _first_of("first of 5, more D", (more,) * 2 + (two,) * 3, 0.006, scale=5),
    ]
    for name, d, step, walkers in (
        ("2", 12.7, 6e-4, 220_000),
        ("4", 6.35, 1e-3, 110_000),
        ("6", 4.23, 1.2e-3, 54_000),
    ):
        coordinate = (styblinski, d, 2.7, 0.15, None)
        found.append(
            _first_of(
                f"Styblinski–Tang in 10 dimensions, {name}",
                (coordinate,) * 10,
                step,
                walkers,
                box=(0.15, 5.25),
                scale=1,
            )
        )
    hat, brim = 0.24 * x**4 - 0.5 * x**2, 0.31 * x**4 - 0.7 * x**2
    found += [
        _ball("free in a ball, 3", 3, sp.Integer(0), 0.5, 0.3, 1.1, 0.001, 110_000),
        _ball("free in a ball, 3, off centre", 3, sp.Integer(0), 0.3, 0.8, 1.2, 0.001, 160_000),
        _ball("Ornstein–Uhlenbeck, 2", 2, 0.6 * x**2, 0.35, 0.2, 1.4, 0.003),
        _ball("Ornstein–Uhlenbeck, 2, less D", 2, 0.55 * x**2, 0.24, 0.7, 1.5, 0.005, 110_000),
        _ball("Ornstein–Uhlenbeck, 10", 10, 0.7 * x**2, 0.21, 0.1, 1.8, 0.002, 110_000),
        _ball("hat in 3 dimensions", 3, hat, 0.14, 1.0, 1.5, 0.003),
        _ball("hat in 3 dimensions, from the middle", 3, brim, 0.12, 0.4, 1.5, 0.002),
        _ball("shell in 3 dimensions", 3, hat, 0.13, 1.1, 1.7, 0.002, 70_000, lower=0.35),
        _ball("shell in 3 dimensions, lower", 3, brim, 0.19, 0.8, 1.6, 0.002, lower=0.45),
    ]
    return found
