r"""The curve of least action between two points, whatever the Hamiltonian.

A process has a Hamiltonian :math:`H(\theta,p)`, convex in p, with :math:`H(\theta,0)=0`. The action
of a curve is :math:`\int\ell(\theta,d\theta)` with the price of a piece

.. math:: \ell(\theta,v)=\max_p\{p\cdot v : H(\theta,p)\le 0\},\qquad v=\lambda H_p,

so :math:`\partial\ell/\partial v=p` and :math:`\partial\ell/\partial\theta=-\lambda H_\theta` with
the best p and its multiplier λ, the time that the piece takes (Heymann and Vanden-Eijnden,
Communications on Pure and Applied Mathematics 61, 1052, 2008).
"""

from __future__ import annotations

import numpy as np

_ROUNDS = 30  # of moving the curve across itself and spacing its points evenly
_NEWTON = 100
_FREE, _LITTLE = (
    0.02,
    0.2,
)  # a link is free that costs less than this share of the mean; and few are


def cheapest(process, knots, links, shares=None):
    """The curve with so many links that costs least, from a first guess.

    Between two rounds the points are spaced evenly, in units of the noise. In a round each moves
    across the curve only, so that none slides along it. The moves are written in sines along the
    curve, as the stiffness of the chain grows with the square of their number.

    Args:
        process: has ``prices(middles, steps)``, which returns costs (k,), p (k, n) and the slopes
            of the cost in the middle (k, n), and ``width(points)``, a factor of its noise (n, n).
        knots: points (m, n) of a polygon.
        links: how many.
        shares: of the length, at which the points lie, from 0 to 1; evenly by default.

    Returns:
        Points (links + 1, n), costs (links,), momenta (links, n), slope of their sum in the end
        (n,), and how much the sum still changed.

    Raises:
        ArithmeticError: the curve did not come to rest.
    """
    from scipy.fft import dst
    from scipy.optimize import minimize

    width = process.width(spaced(knots, links, shares))
    curve = spaced(np.linalg.solve(width, knots.T).T, links, shares)
    soft, values = 1 / np.arange(1, links)[:, None], [np.inf]

    def priced(curve):
        points = curve @ width.T
        return process.prices((points[1:] + points[:-1]) / 2, np.diff(points, axis=0))

    for round_ in range(_ROUNDS):
        curve = spaced(curve, links, shares)
        tangents = np.gradient(curve, axis=0)[1:-1]
        tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)

        def across(shift, tangents=tangents):
            return shift - tangents * np.sum(tangents * shift, axis=1, keepdims=True)

        def moved(x, curve=curve, across=across):
            waves = soft * x.reshape(links - 1, -1)
            return curve + np.pad(across(dst(waves, 1, axis=0, norm="ortho")), ((1, 1), (0, 0)))

        def cost(x, moved=moved, across=across):
            try:
                costs, momenta, pulls = priced(moved(x))
            except (ArithmeticError, ValueError):
                if not np.any(x):
                    raise
                return 1e300, 0 * x
            slope = momenta[:-1] - momenta[1:] + (pulls[:-1] + pulls[1:]) / 2
            waves = soft * dst(across(slope @ width), 1, axis=0, norm="ortho")
            return np.sum(costs), waves.ravel()

        options = {"maxiter": 25 if round_ < 6 else 200, "maxcor": 30, "ftol": 1e-14}
        options |= {"gtol": 1e-10, "maxfun": 10**5}
        found = minimize(
            cost, np.zeros(curve[1:-1].size), jac=True, method="L-BFGS-B", options=options
        )
        curve = moved(found.x)
        values.append(float(found.fun))
        if abs(values[-1] - values[-2]) <= 1e-9 * abs(values[-1]) + 1e-13:
            break
    # where a corner falls between two points decides about the last digits
    unrest = float(np.ptp(values[-2 if round_ + 1 < _ROUNDS else -8 :]))
    if not unrest <= 0.02 * abs(values[-1]) + 1e-13:
        raise ArithmeticError(
            f"the curve must come to rest, but its action {values[-1]:.6g} still changes by "
            f"{unrest:.2g} after {_ROUNDS} rounds; does it pass a critical point, where it has a "
            "corner? then end it there; else give a first guess with through= or more links than "
            f"{links}"
        )
    costs, momenta, pulls = priced(curve)
    return curve @ width.T, costs, momenta, momenta[-1] + pulls[-1] / 2, unrest


def dense(process, points, costs, links):
    """Where points lie closer, so that half of them are where the cost is paid; downhill is free.

    Args:
        process: as for :func:`cheapest`.
        points: of a curve, evenly spaced, shape (m + 1, n).
        costs: of its links, shape (m,).
        links: how many it is to have.

    Returns:
        Shares of the length, shape (links + 1,); None, for even ones, if little of it is free.
    """
    paid = np.maximum(costs, 0)
    if np.mean(paid < _FREE * paid.mean()) < _LITTLE:
        return None
    steps = np.diff(points, axis=0)
    length = np.linalg.norm(np.linalg.solve(process.width(points), steps.T), axis=0)
    parts = length, length / length.sum() + paid / paid.sum()
    arc, due = (np.concatenate([[0], np.cumsum(part)]) / part.sum() for part in parts)
    return np.interp(np.linspace(0, 1, links + 1), due, arc)


def spaced(points, links, shares=None):
    """A polygon with evenly spaced points, straight between them, so that no corner overshoots.

    Args:
        points: shape (m, n).
        links: how many.
        shares: of the length, at which the points lie instead.

    Returns:
        Shape (links + 1, n); the ends are kept.
    """
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    arc = np.concatenate([[0], np.cumsum(lengths)])
    even = arc[-1] * (np.linspace(0, 1, links + 1) if shares is None else shares)
    return np.stack([np.interp(even, arc, column) for column in points.T], axis=1)


def support(hamiltonian, steps, guess=None):
    r"""The largest p·v under H(p) ≤ 0, for many v at once, by Newton's method.

    Solves :math:`\lambda H_p=v`, H = 0; a step that leaves the domain of H or does not come nearer
    is halved.

    Args:
        hamiltonian: a function of p (k, n) that returns H (k,), H_p (k, n) and H_pp (k, n, n), not
            finite outside its domain.
        steps: v, shape (k, n).
        guess: p (k, n) and λ (k,); by default those of the Gaussian of the same drift and noise.

    Returns:
        p (k, n) and λ (k,).

    Raises:
        ValueError: the default guess, where H_pp(0) is not positive definite.
        ArithmeticError: there is no such p.
    """
    with np.errstate(all="ignore"):  # outside its domain H has no value
        p, pace, lost = _supported(hamiltonian, steps, guess)
    if lost.any():
        raise ArithmeticError(
            f"noise must be able to carry the walker along {steps[lost][0]}, but no tilt does so; "
            "does some draw step that way? if not, no curve through there is ever taken: choose "
            "another end, or another first guess with through="
        )
    return p, pace


def _supported(hamiltonian, steps, guess):
    """p, λ, and where they were not found."""
    if guess is not None:
        unit = np.broadcast_to(np.eye(steps.shape[1]), (len(steps), *steps.shape[1:] * 2))
        return _newton(hamiltonian, steps, *guess, unit)
    _, drift, spread = hamiltonian(np.zeros_like(steps))
    unit = np.linalg.inv(factor(spread))
    aim, drift = ((unit @ v[..., None])[..., 0] for v in (steps, drift))
    pace = np.linalg.norm(aim, axis=1) / np.maximum(np.linalg.norm(drift, axis=1), 1e-100)
    gauss = (np.swapaxes(unit, 1, 2) @ (aim / pace[:, None] - drift)[..., None])[..., 0]
    p, pace, lost = _newton(hamiltonian, steps, gauss, pace, unit)
    if not lost.any():
        return p, pace, lost
    p = _on_ray(hamiltonian, gauss)  # once more, from where the ray through the guess meets H = 0
    ahead = (unit @ hamiltonian(p)[1][..., None])[..., 0]
    pace = np.sum(aim * ahead, axis=1) / np.sum(ahead**2, axis=1)
    return _newton(hamiltonian, steps, p, np.maximum(pace, 1e-100), unit)


def _newton(hamiltonian, steps, p, pace, unit):
    """p, λ, and where they were not found."""
    k, n = steps.shape
    unit = unit / np.linalg.norm(unit @ steps[..., None], axis=1)[..., None]

    def residual(p, pace):
        value, slope, bend = hamiltonian(p)
        off = (unit @ (pace[:, None] * slope - steps)[..., None])[..., 0]
        return np.c_[off, value], slope, bend

    left, slope, bend = residual(p, pace)
    for _ in range(_NEWTON):
        size = np.linalg.norm(left, axis=1)
        fine = np.isfinite(size)
        if not (size[fine] > 1e-13).any():
            break
        matrix = np.zeros((k, n + 1, n + 1))
        matrix[:, :n, :n] = unit @ (pace[:, None, None] * bend)
        matrix[:, :n, n] = (unit @ slope[..., None])[..., 0]
        matrix[:, n, :n] = slope
        matrix[~np.isfinite(matrix).all(axis=(1, 2))] = np.eye(n + 1)
        right = -np.where(fine[:, None], left, 0)[..., None]
        try:
            move = np.linalg.solve(matrix, right)[..., 0]
        except np.linalg.LinAlgError:
            move = (np.linalg.pinv(matrix) @ right)[..., 0]
        share = np.minimum(1, 0.6 * pace / np.maximum(np.abs(move[:, n]), 1e-300))
        for _ in range(40):
            trial = p + share[:, None] * move[:, :n], pace + share * move[:, n]
            tried, *rest = residual(*trial)
            worse = ~(np.linalg.norm(tried, axis=1) <= (1 - 1e-4 * share) * size)
            if not (worse & fine & (size > 1e-10)).any():
                break
            share = np.where(worse, share / 2, share)
        if worse.all():
            break
        p = np.where(worse[:, None], p, trial[0])
        pace = np.where(worse, pace, trial[1])
        left, slope, bend = residual(p, pace)
    return p, pace, ~(np.linalg.norm(left, axis=1) < 1e-8) | ~(pace > 0)


def _on_ray(hamiltonian, p):
    """Multiples of p, between H < 0 and H > 0 or no value, by bisection."""
    low, high = np.zeros(len(p)), np.ones(len(p))
    for _ in range(60):
        high = np.where(hamiltonian(high[:, None] * p)[0] <= 0, 2 * high, high)
    for _ in range(80):
        middle = (low + high) / 2
        inside = hamiltonian(middle[:, None] * p)[0] <= 0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low[:, None] * p


def factor(matrices):
    """Cholesky's factor of noise.

    Args:
        matrices: D or a covariance, shape (..., n, n).

    Returns:
        Shape (..., n, n).

    Raises:
        ValueError: one of them is not positive definite.
    """
    try:
        return np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        lowest = float(np.linalg.eigvalsh(matrices)[..., 0].min())
        raise ValueError(
            "noise must be positive definite along the curve, got the lowest eigenvalue "
            f"{lowest:.3g}; add a little noise in every direction, or choose ends between which "
            "none vanishes (see Noise.gates)"
        ) from None
