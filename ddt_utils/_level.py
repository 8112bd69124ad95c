"""What real minibatches pay to climb a level along a line, for :mod:`ddt_utils.leak`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks
from ddt_utils._derivatives import derivatives, place
from ddt_utils._tilted import SampleGradients


@dataclass(frozen=True, eq=False)
class LevelTilt:
    r"""What minibatches pay to climb a level along a line, to either end, per unit of B/η.

    Args:
        minibatches: the tilt's :math:`\int q\,ds` to the ends ahead and behind.
        changing: the same for Gaussian noise of the samples' variance c(s), :math:`\int 2L'/c\,ds`.
        fixed: for the variance at the minimum, 2h/c(0), as in a :class:`ddt_utils.leak.Valley`.

    Example:
        >>> tilt = LevelTilt((2.0, 3.0), (2.5, 2.5), 2.2)
        >>> round(tilt.over_null(learning_rate=0.1, batch_size=1), 4)
        0.2707
    """

    minibatches: tuple[float, float]
    changing: tuple[float, float]
    fixed: float

    def over_null(
        self, *, learning_rate: float, batch_size: float, changing: bool = False
    ) -> float:
        """By what the exponents multiply the null model's mean time to the level.

        Args:
            learning_rate: η.
            batch_size: B.
            changing: take the Gaussian noise that changes on the way, not the minibatches.

        Returns:
            τ over that of the null model; the prefactor and the finite step are left to it.

        Raises:
            ValueError: a number that is not positive, or a ratio beyond double precision.
        """
        dial = _checks.number("batch_size", batch_size, above=0)
        dial /= _checks.number("learning_rate", learning_rate, above=0)
        ends = np.array(self.changing if changing else self.minibatches)
        with np.errstate(over="ignore", divide="ignore", under="ignore"):
            found = float(1 / np.mean(np.exp(dial * (self.fixed - ends))))
        if not np.isfinite(found):
            raise ValueError(
                f"batch_size / learning_rate must leave a number of double precision, got "
                f"{dial:.6g}; compare the exponents"
            )
        return found


def level_tilt(
    model, minimum, x, y, *, height: float, direction=None, nodes: int = 30
) -> LevelTilt:
    r"""The exponents of a level for real minibatches, along one line through a minimum.

    Where noise is nearly in proportion to the curvature walkers climb a level along the sharpest
    direction. There the tilt q of :math:`\frac1m\sum_ie^{-qg_i(s)}=1`, with the slopes
    :math:`g_i` of the samples along the line, is what a unit of length costs.

    Args:
        model: a :class:`ddt_utils.networks.Model`.
        minimum: a critical point, or its place, shape (n,).
        x: inputs, shape (m, d).
        y: targets, shape (m,).
        height: of the level above the minimum.
        direction: of the line, shape (n,); by default the sharpest.
        nodes: of the quadrature.

    Returns:
        The exponents, per unit of B/η.

    Raises:
        ValueError: a level that is not reached within a thousand times where the curvature puts
            it, or arguments that do not fit.

    Example:
        Two samples y = ±1 of (θ − y)²/2: the tilt of two values.

        >>> from ddt_utils import networks
        >>> line, x, y = networks.linear(1), [[1.0], [1.0]], [1.0, -1.0]
        >>> tilt = level_tilt(line, [0.0], x, y, height=0.125)
        >>> round(tilt.minibatches[0], 4), round(tilt.fixed, 4)  # B = η = 1
        (0.2748, 0.25)
    """
    import torch
    from scipy.optimize import brentq

    at, start = derivatives(model, x, y), place("minimum", model, minimum)
    height = _checks.number("height", height, above=0, remedy="it is measured from the minimum")
    nodes = _checks.whole("nodes", nodes, least=2)
    bend = at.bends(start[None])[0]
    if direction is None:
        v = torch.linalg.eigh(bend)[1][:, -1]
    else:
        v = place("direction", model, direction)
        if not bool(v.any()):
            raise ValueError("direction must not be zero, got only zeros; leave it out")
        v = v / v.norm()
    curve, floor = float(v @ bend @ v), at.losses(start[None])
    if not curve > 0:
        raise ValueError(f"the curvature along the direction must be positive, got {curve:.3g}")

    def slopes(points):
        return (at.sample_slopes(start + torch.tensor(points) * v) @ v).numpy()[..., None]

    def rise(s):
        return float(at.losses((start + s * v)[None]) - floor) - height

    processes = [
        SampleGradients(slopes, 1, learning_rate=1, batch_size=1, gaussian=g) for g in (False, True)
    ]
    found, (nodes_, weights) = [], np.polynomial.legendre.leggauss(nodes)
    for side in (1, -1):
        guess = np.sqrt(2 * height / curve)
        far = next((guess * k for k in 2.0 ** np.arange(11) if rise(side * guess * k) > 0), None)
        if far is None:
            raise ValueError(
                f"height must be reached along the line, got {height:.6g}, which is not met within "
                f"{1000 * guess:.3g} of the minimum; ask for a lower level"
            )
        end = brentq(lambda s, side=side: rise(side * s), 0, far, xtol=1e-14 * far)
        s, ahead = side * end * (nodes_[:, None] + 1) / 2, np.full((nodes, 1), float(side))
        found.append([end / 2 * weights @ p.prices(s, ahead)[0] for p in processes])
    (one, other), noise = found, np.var(slopes(np.zeros((1, 1))))
    return LevelTilt(
        (float(one[0]), float(other[0])),
        (float(one[1]), float(other[1])),
        float(2 * height / noise),
    )
