r"""Is what is asked of walkers within their reach? The checks of a problem beside its numbers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import sympy as sp

from ddt_utils._enclosure import crossings
from ddt_utils._expressions import derivative, value
from ddt_utils.simulate import program
from ddt_utils.simulate.step import CLOCK

_HOPELESS = 60.0  # barriers over D, on the way to the exit: e⁶⁰ units of time or so
_HALVINGS = 40  # of an interval in which D changes, before the change counts as a jump


def check_distance(problem) -> None:
    """Refuse a start so near the exit that moving it by a constant is no correction.

    A Gaussian walk passes a far interface by 0.5826 step lengths on average, and one next to it by
    up to 0.7071. The difference falls like exp(-√(2π) distance), with the first zeros of
    1 − exp(λ²/2) beside 0: the mean time of a walker that starts at the moved exit is 21 % too
    long, of one that starts two step lengths from the exit 0.04 % too short.

    Args:
        problem: with an exit and the barrier shift.

    Raises:
        ValueError: the start lies within two step lengths.
    """
    n, start = problem.landscape.dimension, np.array(problem.start)
    values, vectors = np.linalg.eigh(problem.noise.diffusion(problem.landscape, *start))
    length = np.sqrt(2 * problem.step * np.maximum(values, 0))
    ways = np.vstack([np.eye(n), np.random.default_rng(0).standard_normal((32, n))])
    ways = (ways / np.linalg.norm(ways, axis=1)[:, None] * length) @ vectors.T
    near = start + np.multiply.outer([-2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2], ways)
    if np.any(_outside(problem)(*np.moveaxis(near, -1, 0))):
        raise ValueError(
            "start must lie two step lengths √(2 D dt) from the exit, or more, for the exit to be "
            f"moved towards the walker by 0.58 of one, got {start.tolist()} with step lengths "
            f"{[float(f'{v:.3g}') for v in length]} for {problem.exit}; take a smaller step, or "
            "barrier_shift=False for the discrete walk"
        )


def check_touch(problem) -> None:
    """Refuse a level that the exit's g only touches, in one dimension, where it is to be moved.

    The interface is moved by the slope of g. Where that vanishes on it, as at the height of a
    saddle, it moves two or three times as far as it should, a bias of order √dt.

    Args:
        problem: in one dimension, with the barrier shift.

    Raises:
        ValueError: walkers come to such a place.
    """
    (x,), (low, high), start = problem.landscape.variables, problem.landscape.box[0], problem.start
    grid, moved = np.linspace(low, high, 4001), problem._near_exit().subs(program.DT, problem.step)
    for part in problem.exit.atoms(sp.Gt, sp.Ge, sp.Lt, sp.Le):
        g = part.gts - part.lts
        slope = derivative(g, x)
        if not slope.has(x):
            continue
        size, rise, bend = (
            lambda at, f=f: np.broadcast_to(value(f, {x: at}), np.shape(at))
            for f in (g, slope, derivative(slope, x))
        )
        for place in crossings([rise, bend], grid):
            length = np.sqrt(2 * problem.step * float(_noise(problem, place)))
            near = place + program.BARRIER_SHIFT * length * np.linspace(-1, 1, 9)
            change = np.ptp(size(near))
            flat = np.abs(rise(np.array([place])))[0] * np.ptp(near) <= change / 2
            if not (flat and np.abs(size(np.array([place])))[0] <= change):
                continue
            way = start[0] + (place - start[0]) * np.linspace(0, 1, 2001)
            first = way[np.abs(way - place) > 3 * length]
            if np.any(_outside(problem)(first)):
                continue  # walkers are out before
            if np.any(sp.lambdify(x, moved, "numpy")(place + 3 * (near - place))):
                raise ValueError(
                    f"the exit must cross its level where it is moved towards the walker, got "
                    f"{problem.exit}, which only touches it at {x} = {round(place, 9) + 0.0:.6g}; "
                    "take criterion.Beyond that place, or barrier_shift=False for the discrete walk"
                )


def check_contact(problem) -> None:
    """Refuse a level that the exit's g nowhere crosses, in more than one dimension.

    Such an exit, as a square that is to be zero, has no inside, and its slope vanishes on it: where
    it is moved towards the walker it becomes a disk or a strip about a step long.

    Args:
        problem: with the barrier shift.

    Raises:
        ValueError: as far as SymPy can tell from the signs of its parts, g is never beyond it.
    """
    for part in problem.exit.atoms(sp.Gt, sp.Ge, sp.Lt, sp.Le):
        g = part.gts - part.lts
        if g.free_symbols and (g.is_nonpositive or sp.factor(g).is_nonpositive):
            raise ValueError(
                f"the exit must cross its level where it is moved towards the walker, got {part}, "
                "which only touches it; take a region with an inside, such as a small disk"
            )


def _noise(problem, place):
    return problem.noise.diffusion(problem.landscape, place)[0, 0]


def check_curvature(problem) -> None:
    """Refuse a step of a diffusion that jumps over the bottom of the valley.

    In a parabola of curvature h Euler's steps rest with the variance D/h / (1 − h dt/2).

    Args:
        problem: one whose step approximates continuous time.

    Raises:
        ValueError: h dt > 1 for the largest curvature at the start.
    """
    with np.errstate(all="ignore"):
        hessian = problem.landscape.hessian(*problem.start)
    largest = np.max(np.linalg.eigvalsh(hessian)) if np.all(np.isfinite(hessian)) else 0.0
    if problem.step * largest > 1:
        raise ValueError(
            "the step of a diffusion must be well below one over the curvature, got step "
            f"{problem.step:g} and curvature {largest:.3g} at the start; take a smaller step, or "
            "rule=sgd if the step itself is what happens"
        )


def check_duration(problem) -> None:
    """Refuse a step that takes no time at the start, as far as numbers tell.

    Args:
        problem: the problem.

    Raises:
        ValueError: the duration of a step is not positive and finite there.
    """
    step = problem._step
    if CLOCK not in step.state:
        return
    spent = step.update[step.state.index(CLOCK)] - CLOCK
    found = spent.subs(problem._beginning | {program.DT: problem.step})
    if found.is_number and not (found.is_finite and found > 0):
        raise ValueError(
            f"the duration of a step must be positive, got {spent}, which is {found} at the start; "
            "for a schedule divide by 1 + iteration"
        )


def check_way(problem) -> None:
    """Refuse an exit that no walker will see, in one dimension.

    Args:
        problem: in one dimension, without ``max_time``.

    Raises:
        ValueError: the exit is nowhere within the bound; on the way to it D vanishes, or the
            barrier ∫L′/D dx is hopelessly high.
    """
    (start,), frame = problem.start, problem.frame
    ways, remedy = [], "check its sign, use more noise, or set max_time"
    low, high = problem.landscape.box[0]
    even = np.linspace(0, 1, 20_001)
    far = np.union1d((high - low) * even, 2 * problem.farthest * even)
    for side in (-1, 1):
        x = start + side * far
        x = x[np.abs(x - frame.origin[0]) <= problem.farthest]
        out = np.broadcast_to(_outside(problem)(x), x.shape)
        if out.any():
            ways.append(x[: np.argmax(out)])  # up to the last place inside
    if not ways:
        raise ValueError(
            f"exit must be within reach, got {problem.exit}, which no place within "
            f"{problem.farthest:g} of the centre satisfies; {remedy}"
        )
    if problem._step.physical:
        return  # one long step may lead anywhere
    gates = [place for _, place in problem.noise.gates(problem.landscape)]
    blocked = [[g for g in gates if min(w[0], w[-1]) < g < max(w[0], w[-1])] for w in ways]
    uphill = [
        [g for g in found if _uphill(problem, g, w)] for found, w in zip(blocked, ways, strict=True)
    ]
    if all(uphill):
        raise ValueError(
            f"D must not vanish where walkers climb, got D = 0 at {uphill[0][0]:.4g} on the way to "
            f"{problem.exit}: in continuous time none passes, and a step does by luck, after some "
            "10¹⁰ of them; give HessianNoise a floor, or a max_time"
        )
    if min(_barrier(problem, way) for way in ways) > _HOPELESS:
        raise ValueError(
            f"exit must be within reach, got {problem.exit} behind a barrier of more than "
            f"{_HOPELESS:.0f} D; {remedy}"
        )


def _uphill(problem, place, way):
    return float(problem.landscape.derivative(place)) * np.sign(way[-1] - way[0]) > 0


def _barrier(problem, way):
    """The largest climb of ∫L′/D on the way, as far as both are known."""
    with np.errstate(all="ignore"):
        drift = problem.landscape.derivative(way)
        noise = problem.landscape.evaluate(
            tuple(problem.noise.diffusion_matrix(problem.landscape)), way
        )[..., 0]
        slope = drift / noise
    slope = np.where(np.isfinite(slope), slope, 0)
    climb = np.concatenate([[0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(way))])
    return np.max(climb - np.minimum.accumulate(climb))


def _outside(problem):
    return sp.lambdify(problem.landscape.variables, problem.exit, "numpy")


@lru_cache(maxsize=256)
def jumps(landscape, noise) -> bool:
    """Does D jump on a line through the box?

    Args:
        landscape: the loss.
        noise: what drives the walkers.

    Returns:
        Whether an entry of D changes within intervals as narrow as can be told apart.
    """
    entries = tuple(noise.diffusion_matrix(landscape))
    if not any(e.atoms(sp.Piecewise, sp.Heaviside, sp.sign, sp.floor) for e in entries):
        return False
    rng, n = np.random.default_rng(0), landscape.dimension
    low, high = np.transpose(landscape.box)
    ends = rng.uniform(low, high, (2, 32, n)) if n > 1 else np.array([[low], [high]])

    def diffusion(t):
        place = ends[0] + (ends[1] - ends[0]) * t[..., None]
        return landscape.evaluate(entries, *np.moveaxis(place, -1, 0))

    t = np.linspace(0, 1, 1001)[:, None] * np.ones(ends.shape[1])
    values = diffusion(t)
    scale = np.max(np.abs(values))
    change = np.max(np.abs(np.diff(values, axis=0)), axis=-1)
    left, line = np.nonzero(change > 1e-6 * scale)
    first = change[left, line]
    a, b = t[left, line], t[left + 1, line]
    ends = ends[:, line]
    for _ in range(_HALVINGS):
        middle = (a + b) / 2
        at = [diffusion(u) for u in (a, middle, b)]
        lower = np.max(np.abs(at[1] - at[0]), -1) > np.max(np.abs(at[2] - at[1]), -1)
        a, b = np.where(lower, a, middle), np.where(lower, middle, b)
    last = np.max(np.abs(diffusion(b) - diffusion(a)), -1)
    return bool(np.any(last > 1e-3 * first))
