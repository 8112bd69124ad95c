"""How a network's critical points are found, for :mod:`ddt_utils.passes`; many starts at once."""

from __future__ import annotations

import numpy as np

from ddt_utils.critical import CriticalPoint

_SAME = 1e-5  # of their size: two points nearer than this are one
_LEVEL = 1e-9  # of the largest eigenvalue, per unit of θ: a smaller slope is none
_FLAT = 1e-6  # of the largest: a smaller eigenvalue is zero
_SOFT = 1e-3  # of the largest: a step divides by no less
_NUDGE = 0.01  # from a saddle to either side, in units of θ
_ROUNDS = 1000  # of a descent: looks at the Hessian
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
    near, share, steps = (_NEARER, 0.2, 10) if keep else (_NEAR, 0.5, 25)
    for _ in range(_ROUNDS):
        bend, slope = at.bends(place[moving]), at.slopes(place[moving])
        fine = torch.isfinite(bend).all(2).all(1)
        moving, bend, slope = moving[fine], bend[fine], slope[fine]
        if not len(moving):
            break
        values, frame = torch.linalg.eigh(bend)
        step = (frame.mT @ slope[..., None])[..., 0] / values
        ready = (values[:, 0] > 0) & (step.norm(dim=1) < near)
        done = torch.zeros(len(moving), dtype=bool)
        if ready.any():
            ends = newton(at, place[moving[ready]], 0, 30, near)
            for k, end in zip(torch.nonzero(ready)[:, 0].tolist(), ends, strict=True):
                start = place[moving[k]].numpy()
                if end is not None and np.linalg.norm(end.location - start) < 2 * near:
                    found[int(moving[k])], done[k] = end, True
        top = values.abs().amax(1)
        done |= slope.norm(dim=1) < _LEVEL * top  # at rest, and no minimum that stands alone
        moving, rate = moving[~done], share / top[~done][:, None]
        if not len(moving):
            break
        here = place[moving]
        for _ in range(steps):
            here = here - rate * at.slopes(here)
            for k, one in zip(moving.tolist(), here.numpy(), strict=True) if keep else ():
                tracks[k].append(one[None].copy())
        place[moving] = here
    return found, [np.concatenate(track) for track in tracks]
