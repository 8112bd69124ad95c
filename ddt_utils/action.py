r"""What an escape costs: the curve of least action, for any drift, noise, and for real minibatches.

Where noise is weak a walker leaves along one curve, and the mean time of escape grows as

.. math:: \ln\tau\approx S=\min_{\text{curves}}\int p\cdot d\theta,

.. math:: H(\theta,p)=0,

with S the **quasi-potential** of the end, p at each place the largest in the direction of the
curve, and H the Hamiltonian of the process (Freidlin and Wentzell, Random Perturbations of
Dynamical Systems, 3rd ed., 2012). All is stated for the noise *as given*: S is the exponent itself,
with no factor left out. Of a diffusion
:math:`d\theta=b\,dt+\sqrt{2D}\,dW`

.. math:: H=b\cdot p+p\cdot Dp,

.. math:: S=\min\tfrac12\int\bigl(|b|_{D^{-1}}|d\theta|_{D^{-1}}-b\cdot D^{-1}d\theta\bigr),

which is :math:`\Delta L/D` for :math:`b=-\nabla L` and the same D everywhere. Of SGD with
independent minibatches of B samples, :math:`\theta\leftarrow\theta-\eta\hat g`, as η → 0 at fixed B

.. math:: H=\frac B\eta K\Bigl(\theta,\frac{\eta p}B\Bigr),

.. math:: K(\theta,q)=\ln\mathbb E\,e^{-q\cdot g},

with g the gradient of one sample: the logarithm of
:math:`\mathbb E\,e^{-\alpha\cdot\hat g}` is :math:`BK(\theta,\alpha/B)` per step, :math:`1/\eta`
steps make a unit of t, and :math:`p=\alpha/\eta`. To second order in p this is the Hamiltonian of
the diffusion with :math:`D=\frac\eta{2B}\operatorname{Cov}g`.

Of finitely many samples gradients are bounded, and so is K on every bounded set of q. Where a
sample can be as far away as it likes, and its gradient has an exponential tail, K is finite up to
an edge only, and then one step may carry a walker all the way, at a cost of the same order:
:func:`jump_action`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddt_utils import _checks, _curve
from ddt_utils._cumulants import Cumulants
from ddt_utils._drift import Diffusion
from ddt_utils._tilted import SampleGradients, minibatches
from ddt_utils.limits import extrapolate

__all__ = [
    "Cumulants",
    "Diffusion",
    "LeastAction",
    "SampleGradients",
    "jump_action",
    "least_action",
    "minibatches",
]

_BOW = 0.02  # of the first guess, in units of its length
_SETTLED = 0.05  # the largest error of a price, in units of it


@dataclass(frozen=True, eq=False)
class LeastAction:
    r"""The cheapest curve that was found, and what it costs.

    Args:
        value: S, with :math:`\ln\tau\approx S`. The curve is a local minimum, so S is an upper
            bound of the quasi-potential: other curves may be cheaper still.
        error: the numerical error of S, from three chains (:func:`ddt_utils.limits.extrapolate`),
            and what the spacing of their points still changed.
        points: the finest chain, evenly spaced in units of the noise, but closer where the cost is
            paid if a good part of the way is free; shape (links + 1, n). Of a jump the last two are
            where it starts and lands.
        costs: the price of each link, which add up to S but for the error, shape (links,).
        momenta: p on each link, shape (links, n).
        hamiltonian: H(θ, p) at the inner points with the mean p of both links, in units of 1/t;
            it falls as the square of the links' length. Shape (links − 1,), of a jump one less.

    Example:
        >>> from ddt_utils import catalog, noise
        >>> process = Diffusion(catalog.quartic(), noise.WhiteNoise(0.05))
        >>> found = least_action(process, [-1], [0], links=8)
        >>> round(found.value, 6), found.points.shape, found.costs.shape
        (5.0, (33, 1), (32,))
    """

    value: float
    error: float
    points: np.ndarray
    costs: np.ndarray
    momenta: np.ndarray
    hamiltonian: np.ndarray


def least_action(process, start, end, *, through=None, links: int = 32) -> LeastAction:
    r"""The curve from one point to another along which noise carries a walker most cheaply.

    The geometric action of a chain of points is minimised (Heymann and Vanden-Eijnden,
    Communications on Pure and Applied Mathematics 61, 1052, 2008), with momenta and the slopes of
    the Hamiltonian as in the simplified method of Grafke, Schäfer and Vanden-Eijnden (Fields
    Institute Communications 79, 17, 2017), for three chains, each twice as fine as the one before.
    Downhill is free, so a curve need go no further than a saddle. At a critical point on its way a
    curve has a corner, and fewer digits.

    Args:
        process: :class:`Diffusion`, :func:`minibatches`, :class:`SampleGradients` or
            :class:`Cumulants`.
        start: where the curve begins, usually a minimum: n numbers, on a line one number will do,
            or a critical point.
        end: where it ends.
        through: one point (n,) or several (k, n) that the first guess passes; by default it is
            straight, bent by a fiftieth of its length so that it cannot rest on an axis of
            symmetry.
        links: of the coarsest chain.

    Returns:
        The curve, with S for the noise as given, so that :math:`\ln\tau\approx S`.

    Raises:
        ValueError: an argument of another shape, start and end the same, or D not positive
            definite on the way.
        ArithmeticError: the curve did not come to rest, no draw steps the way that it has to go, or
            finer chains cost more and more, as where the noise vanishes on the way.

    Example:
        A rotating bowl: S is half of :math:`x\cdot\Sigma^{-1}x`, here with Σ = D/2.

        >>> import sympy as sp
        >>> from ddt_utils import landscape, noise
        >>> x, y = sp.symbols("x y", real=True)
        >>> bowl = landscape.Landscape(
        ...     x**2 + y**2, (x, y), name="bowl", box=((-2, 2),) * 2)
        >>> drift = (-2 * x + y / 2, -2 * y - x / 2)
        >>> process = Diffusion(bowl, noise.WhiteNoise(0.1), drift=drift)
        >>> round(least_action(process, [0, 0], [1, 0]).value, 2)
        10.0
    """
    start, end = _ends(process, start, end)
    links = _checks.whole("links", links, least=4, remedy="a curve needs a shape")
    found = _curve.cheapest(process, _guess(start, end, through), links)
    shares = _curve.dense(process, *found[:2], 4 * links)
    if shares is not None:
        found = _curve.cheapest(process, found[0], links, shares[::4])
    chains = [found]
    for fine in (2, 1):
        few = None if shares is None else shares[::fine]
        chains.append(_curve.cheapest(process, chains[-1][0], 4 * links // fine, few))
    chains = [(*chain[:3], chain[4]) for chain in chains]
    return _result(process, chains)


def jump_action(process: Cumulants, start, end, *, links: int = 32) -> LeastAction:
    r"""The cheapest way that ends with one long step, where tails are exponential.

    The chance of a step v from θ falls as :math:`e^{-J}`,
    :math:`J=\frac B\eta\max\{q\cdot v: K(\theta,q)<\infty\}`, which is of the same order as the
    price of a curve. So a walker may climb to a place from which a single step is cheap, not
    necessarily on the way, and leave at once; that place is sought by its slopes from the start.
    Where no such step is cheaper than to climb all the way, the step has no length and S is that
    of :func:`least_action`. Two long steps, or a climb after the step, are not tried.

    Args:
        process: a law with ``tails``. Finitely many samples have none: their gradients are bounded.
        start: where the curve begins.
        end: where the step lands.
        links: of the coarsest chain before the step.

    Returns:
        The curve; the last link is the step. S for the noise as given.

    Raises:
        ValueError: no law with ``tails``, start and end the same, or no edge in the direction of
            the step.
        ArithmeticError: as for :func:`least_action`, or no best place was found.

    Example:
        >>> import sympy as sp
        >>> theta, q = sp.symbols("theta q", real=True)
        >>> inside = 1 + 2 * q * theta - q**2
        >>> process = Cumulants(-sp.log(inside) / 2, (theta,), (q,),
        ...                     learning_rate=1, batch_size=1, tails=inside)
        >>> found = jump_action(process, [0], [2])
        >>> round(found.value, 4), found.points[-2:].round(3).tolist()
        (1.7847, [[-0.412], [2.0]])
        >>> round(least_action(process, [0], [2]).value, 4)
        4.0
    """
    from scipy.optimize import minimize

    if getattr(process, "tails", None) is None:
        raise ValueError(
            f"a long step needs a law with tails, got {process!r}; bounded gradients have none, "
            "take least_action alone"
        )
    start, end = _ends(process, start, end)
    links = _checks.whole("links", links, least=4, remedy="a curve needs a shape")
    length, place, chains = np.linalg.norm(end - start), start, []
    for level in range(3):

        def whole(x, links=links * 2**level):
            """The curve to where the step begins and the step, and the slope of the cost."""
            place = start + length * x
            stay = np.linalg.norm(end - place) < 1e-9 * length  # no step: the climb alone
            price, p, slope = (0, 0 * end, 0) if stay else process.jump(place, end)
            if np.linalg.norm(place - start) < 1e-6 * length:
                return (np.stack([place, end]), np.array([price]), p[None], 0), slope * length
            points, costs, momenta, pull, unrest = _curve.cheapest(
                process, _guess(start, place, None), links
            )
            chain = np.r_[points, end[None]], np.r_[costs, price], np.r_[momenta, p[None]], unrest
            return chain, (slope + pull) * length * (not stay)

        def cost(x, whole=whole):
            (_, costs, *_), slope = whole(x)
            return np.sum(costs), slope

        found = minimize(cost, (place - start) / length, jac=True, method="L-BFGS-B")
        there = (end - start) / length
        best = there if cost(there)[0] <= found.fun * (1 + 1e-12) else found.x
        place = start + length * best
        chains.append(whole(best)[0])
    return _result(process, chains, steps=1)


def _ends(process, start, end):
    """The two ends, checked."""
    if not hasattr(process, "prices"):
        raise ValueError(
            f"process must be a Diffusion, minibatches, SampleGradients or Cumulants, got "
            f"{process!r}; wrap the landscape and the noise in one"
        )
    shape, given = (process.dimension,), {"start": start, "end": end}
    places = {name: getattr(place, "location", place) for name, place in given.items()}
    if process.dimension == 1:  # a number is a place
        places = {
            name: place if np.ndim(place) else [_checks.number(name, place)]
            for name, place in places.items()
        }
    start, end = (_checks.array(name, place, shape=shape) for name, place in places.items())
    if np.array_equal(start, end):
        raise ValueError(
            f"start and end must be different points, got {start} twice; the end is a saddle, or "
            "the place to be reached"
        )
    return start, end


def _guess(start, end, through):
    """The first guess of a curve, a polygon."""
    if through is not None:
        places = _checks.array("through", through)
        places = _checks.array("through", np.atleast_2d(places), shape=(None, len(start)))
        return np.concatenate([start[None], places, end[None]])
    share, way = np.linspace(0, 1, 17)[:, None], end - start
    aside = np.cos(1 + np.arange(len(start)))
    aside -= way * (aside @ way) / (way @ way)
    aside *= _BOW * np.linalg.norm(way) / max(np.linalg.norm(aside), 1e-12 * np.linalg.norm(way))
    return start + share * way + np.sin(np.pi * share) * (aside if len(start) > 1 else 0)


def _result(process, chains, steps=0):
    """Chains, each twice as fine as the one before, as one result; the last links may be steps."""
    points, costs, momenta, _ = chains[-1]
    sizes = [2.0**-k for k in range(len(chains))]
    sums = [np.sum(costs) for _, costs, *_ in chains]
    limit = extrapolate(sizes, sums, powers=(2, 4))
    error = limit.error + max(unrest for *_, unrest in chains)
    before, last = np.diff(sums)
    rises = last > 0.8 * abs(before) and last > _SETTLED / 5 * abs(limit.value)
    if rises or not error < _SETTLED * abs(limit.value) + 1e-6:
        raise ArithmeticError(
            f"the price must settle as links are added, got {', '.join(f'{s:.4g}' for s in sums)} "
            "for chains each twice as fine; where noise vanishes on the way no price is enough: "
            "lead the curve around it by through=, or give the noise a floor; else take more links"
        )
    smooth = momenta[: len(momenta) - steps]
    energy = np.zeros(0)
    if len(smooth) > 1:
        energy = process.hamiltonian(points[1 : len(smooth)], (smooth[1:] + smooth[:-1]) / 2)
    return LeastAction(limit.value, error, points, costs, momenta, energy)
