"""How a network's critical points are found, for :mod:`ddt_utils.passes`; many starts at once."""

from __future__ import annotations

import numpy as np

from ddt_utils.critical import CriticalPoint

_SAME = 1e-5  # of their size: two points nearer than this are one
_LEVEL = 1e-9  # of the largest eigenvalue, per unit of θ: a smaller slope is none
_FLAT = 1e-6  # of the largest: a smaller eigenvalue is zero
_SOFT = 1e-3  # of the largest: a step divides by no less
_NUDGE = 0.01  # from a saddle to either side, in units of θ
_ROUNDS = 2000  # of a descent: looks at the Hessian
_REACH = 0.04  # of a step of a descent, in units of θ; a kept path takes a quarter
_NEAR, _NEARER = 0.1, 0.005  # Newton's method takes over where its step is shorter; of kept paths
ENTRIES = 2**22  # of Hessians at once


def newton(at, theta, index, iterations, longest) -> list[CriticalPoint | None]:
    """Newton's method, uphill along the lowest modes.

    Args:
        at: the derivatives.
        theta: starts, shape (R, n).
        index: how many modes are climbed.
        iterations: at most.
        longest: step, a distance.

    Returns:
        For each start the critical point of this index, or None.
    """
    import torch

    place, moving = theta.clone(), torch.arange(len(theta))
    found: list[CriticalPoint | None] = [None] * len(theta)
    for left in range(iterations, -1, -1):
        here = place[moving]
        slope, bend = at.slopes(here), at.bends(here)
        fine = torch.isfinite(slope).all(1) & torch.isfinite(bend).all(2).all(1)
        moving, here, slope, bend = moving[fine], here[fine], slope[fine], bend[fine]
        if not len(moving):
            break
        values, frame = torch.linalg.eigh(bend)
        top = values.abs().amax(1)
        level = slope.norm(dim=1) < _LEVEL * top
        if level.any():
            height = at.losses(here)
        for k in torch.nonzero(level)[:, 0].tolist():
            sharp = values[k].abs() > _FLAT * top[k]
            if sharp.all() and int((values[k] < 0).sum()) == index:
                arrays = here[k].numpy().copy(), bend[k].numpy().copy()
                found[int(moving[k])] = CriticalPoint(arrays[0], float(height[k]), arrays[1])
        part = (frame.mT @ slope[..., None])[..., 0]
        part = part / torch.maximum(values.abs(), _SOFT * top[:, None])
        part[:, :index] *= -1
        size = part.norm(dim=1, keepdim=True)
        move = (frame @ (part * torch.clamp(longest / size, max=1.0))[..., None])[..., 0]
        place[moving] = here - move
        moving = moving[~level]
        if not left or not len(moving):
            break
    return found


def same(one, other) -> bool:
    """Are two places one?

    Args:
        one: shape (n,).
        other: shape (n,).

    Returns:
        Whether they are.
    """
    return bool(np.linalg.norm(one - other) < _SAME * (1 + np.linalg.norm(one)))


def beside(saddle) -> np.ndarray:
    """The places on both sides of a saddle from which descents leave.

    Args:
        saddle: a critical point of index 1.

    Returns:
        Shape (2, n).
    """
    down = np.linalg.eigh(saddle.hessian)[1][:, 0]
    return saddle.location + _NUDGE * np.array([[-1], [1]]) * down


def descents(at, starts, keep=False):
    """Steepest descents, until Newton's method takes over at a minimum.

    A step goes as far along the flow of the local parabola as a short way allows: a soft valley
    costs no more steps than a stiff one.

    Args:
        at: the derivatives.
        starts: shape (R, n).
        keep: also return the places on the way.

    Returns:
        For each start the minimum or None, and a list of arrays (steps, n), empty unless kept.
    """
    import torch

    place, moving = torch.tensor(starts), torch.arange(len(starts))
    found: list[CriticalPoint | None] = [None] * len(starts)
    tracks = [[one[None].copy()] for one in starts] if keep else []
    near, reach = (_NEARER, _REACH / 4) if keep else (_NEAR, _REACH)
    for _ in range(_ROUNDS):
        bend, slope = at.bends(place[moving]), at.slopes(place[moving])
        fine = torch.isfinite(bend).all(2).all(1)
        moving, bend, slope = moving[fine], bend[fine], slope[fine]
        if not len(moving):
            break
        values, frame = torch.linalg.eigh(bend)
        part = (frame.mT @ slope[..., None])[..., 0]
        ready = (values[:, 0] > 0) & ((part / values).norm(dim=1) < near)
        done = torch.zeros(len(moving), dtype=bool)
        if ready.any():
            ends = newton(at, place[moving[ready]], 0, 30, near)
            for k, end in zip(torch.nonzero(ready)[:, 0].tolist(), ends, strict=True):
                start = place[moving[k]].numpy()
                if end is not None and np.linalg.norm(end.location - start) < 2 * near:
                    found[int(moving[k])], done[k] = end, True
        done |= slope.norm(dim=1) < _LEVEL * values.abs().amax(1)  # at rest, and no minimum
        moving = moving[~done]
        if not len(moving):
            break
        here = place[moving]
        flow, last = _along(values[~done], frame[~done], part[~done], reach)
        for k, start, moves, end in zip(moving.tolist(), here, flow, last.tolist(), strict=True):
            if keep:
                tracks[k].append((start + moves[: end + 1]).numpy())
            place[k] = start + moves[end]
    return found, [np.concatenate(track) for track in tracks]


def _along(values, frame, part, reach):
    """Moves down local parabolas after doubled times, shape (R, K, n), and the last in reach."""
    import torch

    times = 2.0 ** torch.arange(-12, 30) / values.abs().amax(1, keepdim=True)
    rates = (values[:, None] * times[..., None]).clamp_min(-100)  # of growth: out of reach
    grown = torch.where(
        rates.abs() < 1e-9, times[..., None], -torch.expm1(-rates) / values[:, None]
    )
    moves = -(grown * part[:, None]) @ frame.mT
    inside = moves.norm(dim=2) <= reach
    return moves, (inside.sum(1) - 1).clamp_min(0)
