r"""How fast walkers leak out of a quadratic valley: of a box, or over a level, under any noise.

In a valley :math:`L=\frac12\theta\cdot H\theta` with kicks of one covariance C walkers rest in a
Gaussian crowd of covariance S. Where it is narrow, the rate of exits is the resting density P at
the edge times the pull of the loss, :math:`\gamma\approx\int P\,\nu\cdot H\theta`, whatever
circulates: a Gaussian integral. With :math:`\theta=\varrho\,S^{1/2}u`, the edge at
:math:`\varrho_0(u)`,

.. math:: \gamma=\bigl\langle n\,a\,\mathcal Q_{n+2}
          -\operatorname{tr}H\,\mathcal Q_n\bigr\rangle_u ,

with :math:`a=u\cdot S^{1/2}HS^{-1/2}u` and :math:`\mathcal Q_n` the chance that chi-square exceeds
:math:`\varrho_0^2(u)`. That is for weak noise. The same valley with the same noise, simulated, is
the *null model* of an experiment: a difference shows what it leaves out, a loss that is not
quadratic, kicks that are not Gaussian. Real minibatches climb a level with another exponent,
:class:`LevelTilt`.

Exits are measured from the minimum: a :class:`~ddt_utils.criterion.Box` around 0, or a
:class:`~ddt_utils.criterion.LevelSet` whose height is above the minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from ddt_utils import _checks
from ddt_utils._level import LevelTilt, level_tilt
from ddt_utils.criterion import Box, LevelSet
from ddt_utils.landscape import Landscape
from ddt_utils.noise import StateDependentNoise

__all__ = ["OVERSHOOT", "LevelTilt", "Valley", "level_tilt"]

#: By how much a discrete walker is past an edge when it is seen, in units of its kick:
#: −ζ(½)/√(2π).
OVERSHOOT = 0.5825971579390107
_SLOW = 1e-7  # ηλ below which one step is too little to be solved for
_WEAK = 690.0  # exponents beyond which a rate is no number of double precision


@dataclass(frozen=True, eq=False)
class Valley:
    r"""A quadratic valley and the kicks in it, :math:`\theta\leftarrow\theta-\eta(H\theta+\xi)`.

    Args:
        hessian: H, shape (n, n), positive definite.
        covariance: C of the noise ξ of one iteration, shape (n, n), positive definite; of a
            minibatch :func:`ddt_utils.curvature.gradient_covariance`.
        learning_rate: η, below 2 over the largest curvature.

    Raises:
        ValueError: matrices that are not symmetric and positive definite, or too large a step.

    Example:
        >>> import numpy as np
        >>> valley = Valley(np.diag([2.0, 0.5]), np.diag([0.2, 0.8]), 0.1)
        >>> np.diag(valley.spread).round(4)
        array([0.0056, 0.0821])

        How long to leave a box, over which side, and the same as walkers have it:

        >>> box = Box((0, 0), (0.25, 0.8))
        >>> round(valley.exponent(box), 3), round(valley.mean_time(box), 1)
        (3.9, 49.0)
        >>> valley.sides(box).round(2)
        array([0.3, 0.7])
        >>> run = valley.simulated(box, walkers=400, seed=1)
        >>> bool(abs(run.mean / valley.mean_time(box) - 1) < 0.25)
        True
    """

    hessian: np.ndarray
    covariance: np.ndarray
    learning_rate: float

    def __post_init__(self):
        """Check the arguments."""
        n = None
        for name in ("hessian", "covariance"):
            found = _checks.array(name, getattr(self, name), shape=(n, n))
            n = len(found)
            low = np.linalg.eigvalsh(found)[0] if found.shape == (n, n) and n else -1.0
            if not (low > 0 and _checks.symmetric(found)):
                raise ValueError(
                    f"{name} must be symmetric and positive definite, got shape {found.shape} and "
                    f"lowest eigenvalue {low:.3g}; leave out directions without curvature or noise"
                )
            object.__setattr__(self, name, found)
        top = float(np.linalg.eigvalsh(self.hessian)[-1])
        rate = _checks.number(
            "learning_rate",
            self.learning_rate,
            above=0,
            below=2 / top,
            remedy="from 2 over the largest curvature on nothing rests in the valley",
        )
        object.__setattr__(self, "learning_rate", rate)

    @cached_property
    def spread(self) -> np.ndarray:
        r"""S of the crowd at rest, shape (n, n); one more step reproduces it.

        :math:`S=(I-\eta H)S(I-\eta H)+\eta^2C`; for small steps :math:`HS+SH=\eta C`.
        """
        from scipy.linalg import solve_discrete_lyapunov

        rate, curves = self.learning_rate, np.linalg.eigvalsh(self.hessian)
        if rate * curves[0] < _SLOW:  # 1 − ηλ has lost digits of λ: mode by mode
            curves, frame = np.linalg.eigh(self.hessian)
            pair = curves[:, None] + curves - rate * np.outer(curves, curves)
            return frame @ (rate * (frame.T @ self.covariance @ frame) / pair) @ frame.T
        keep = np.eye(len(self.hessian)) - rate * self.hessian
        return solve_discrete_lyapunov(keep, rate**2 * self.covariance)

    def exponent(self, exit) -> float:
        r"""What ln τ tends to: :math:`\min r^2/2S_{ii}`, or h over the largest eigenvalue of SH.

        Args:
            exit: a box around 0, or a level above the minimum.

        Returns:
            The exponent.

        Raises:
            ValueError: another exit.
        """
        way = self._checked(exit)
        if isinstance(way, Box):
            return float(np.min(np.square(way.half_width) / 2 / np.diag(self.spread)))
        return way.height / float(np.linalg.eigvals(self.spread @ self.hessian).real.max())

    def mean_time(self, exit) -> float:
        """The law for weak noise, in units of t; the finite step is in S and in the overshoot.

        The average over directions is taken over 8192 points of a Sobol sequence.

        Args:
            exit: a box around 0, or a level above the minimum.

        Returns:
            The mean time to leave, 1/γ.

        Raises:
            ValueError: another exit, or one that is so near that the law has no meaning.
        """
        from scipy import stats
        from scipy.linalg import sqrtm

        way, H, C = self._checked(exit), self.hessian, self.covariance
        n, root = len(H), sqrtm(self.spread).real
        sphere = _sphere(n)
        to, kick = sphere @ root, OVERSHOOT * self.learning_rate
        if isinstance(way, Box):
            walls = np.array(way.half_width) + kick * np.sqrt(np.diag(C))
            edge = 1 / np.max(np.abs(to) / walls, axis=1)
        else:
            out = to @ H / np.linalg.norm(to @ H, axis=1)[:, None]
            edge = np.sqrt(2 * way.height / np.sum(to @ H * to, axis=1))
            past = kick * np.sqrt(np.sum(out @ C * out, axis=1))
            edge = edge + past / np.sum(out * to, axis=1)
        pull = np.sum(sphere @ root @ H @ np.linalg.inv(root) * sphere, axis=1)
        far, farther = (stats.chi2.sf(edge**2, k) for k in (n, n + 2))
        rate = float(np.mean(n * pull * farther - np.trace(H) * far))
        if not rate > 0 and self.exponent(way) > _WEAK:
            raise ValueError(
                f"exit must be within an exponent of {_WEAK:g}, beyond which the mean time is no "
                f"number of double precision, got {self.exponent(way):.6g}; take the exponent"
            )
        if not rate > 0:
            raise ValueError(
                f"exit must be far out in the crowd, got {exit!r} with the exponent "
                f"{self.exponent(exit):.3g}; the law is for weak noise"
            )
        return 1 / rate

    def sides(self, exit: Box) -> np.ndarray:
        """Which coordinate leaves a box first, as the law has it.

        Args:
            exit: a box around 0.

        Returns:
            The shares of the exits, shape (n,).

        Raises:
            ValueError: another exit.
        """
        if not isinstance(self._checked(exit), Box):
            raise ValueError(f"exit must be a Box, got {exit!r}; a level has no sides")
        spread = np.diag(self.spread)
        kick = OVERSHOOT * self.learning_rate * np.sqrt(np.diag(self.covariance))
        far = (np.array(exit.half_width) + kick) / np.sqrt(spread)
        low = np.min(far) ** 2 / 2
        low = low if low > _WEAK else 0.0  # shares stay numbers where all rates are none
        with np.errstate(under="ignore"):
            fall = np.exp(low - far**2 / 2)
        rates = np.diag(self.hessian @ self.spread) / spread * far * fall
        return rates / rates.sum()

    def simulated(self, exit, *, walkers: int, seed: int):
        """The null model: walkers in this valley with Gaussian kicks, from the minimum.

        Args:
            exit: a box around 0, or a level above the minimum.
            walkers: how many.
            seed: a whole number.

        Returns:
            Their :class:`~ddt_utils.escape.EscapeTimes`.

        Raises:
            ValueError: another exit, or as for :func:`ddt_utils.simulate.first_passage`.
        """
        import sympy as sp

        from ddt_utils import simulate

        way, n = self._checked(exit), len(self.hessian)
        places_ = sp.symbols(f"u1:{n + 1}", real=True)
        at = sp.Matrix(places_)
        reach = (
            max(way.half_width)
            if isinstance(way, Box)
            else np.sqrt(2 * way.height / np.linalg.eigvalsh(self.hessian)[0])
        )
        wide = 5 * max(np.sqrt(np.diag(self.spread)).max(), reach)
        flat = Landscape(
            (at.T * sp.Matrix(self.hessian) * at)[0] / 2,
            places_,
            name="quadratic valley",
            box=((-wide, wide),) * n,
        )
        kicks = StateDependentNoise(sp.Matrix(self.learning_rate / 2 * self.covariance))
        return simulate.first_passage(
            flat,
            kicks,
            start=(0,) * n,
            exit=way,
            step=self.learning_rate,
            rule=simulate.sgd,
            walkers=walkers,
            seed=seed,
        )

    def _checked(self, way):
        """An exit that is measured from the minimum."""
        n = len(self.hessian)
        if isinstance(way, Box) and len(way.centre) == n and not np.any(way.centre):
            return way
        if isinstance(way, LevelSet) and way.height > 0:
            return way
        raise ValueError(
            f"exit must be a Box around {(0,) * n} or a LevelSet above 0, got {way!r}; measure it "
            "from the minimum"
        )


@cache
def _sphere(n):
    """Directions, evenly spread, shape (8192, n)."""
    from scipy.stats import norm, qmc

    points = norm.ppf(np.clip(qmc.Sobol(n, seed=1).random_base2(13), 1e-12, 1 - 1e-12))
    return points / np.linalg.norm(points, axis=1)[:, None]
