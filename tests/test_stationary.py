"""Where walkers are after a long time: the Boltzmann density, and Ito's for D(x)."""

import numpy as np
import pytest
import sympy as sp
from scipy import integrate, stats

from ddt_utils import catalog
from ddt_utils.landscape import Landscape
from ddt_utils.noise import StateDependentNoise, WhiteNoise
from ddt_utils.simulate import ensemble

WELL = catalog.quartic()
(x,) = WELL.variables
ALARM = 1e-5
EDGES = np.linspace(-1.6, 1.6, 25)


def p_value(positions, log_density):
    """Chi-square of positions in bins against exp(log_density), normalised numerically."""
    z = np.linspace(-4, 4, 200_001)
    below = integrate.cumulative_trapezoid(np.exp(log_density(z)), z, initial=0)
    mass = np.interp(np.concatenate([[-4], EDGES, [4]]), z, below) / below[-1]
    counts = np.histogram(positions, np.concatenate([[-np.inf], EDGES, [np.inf]]))[0]
    return stats.chisquare(counts, len(positions) * np.diff(mass)).pvalue


@pytest.fixture(scope="module")
def boltzmann():
    options = dict(start=0, step=0.002, times=[30.0], walkers=120_000, seed=11)
    return ensemble(WELL, WhiteNoise(0.25), **options)[0, :, 0]


def test_white_noise_ends_in_the_boltzmann_density(boltzmann):
    assert p_value(boltzmann, lambda z: -(z**4 / 4 - z**2 / 2) / 0.25) > ALARM


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 2])
def test_a_wrong_factor_in_the_diffusion_would_be_seen(boltzmann, factor):
    assert p_value(boltzmann, lambda z: -(z**4 / 4 - z**2 / 2) / (0.25 * factor)) < ALARM


def test_state_dependent_noise_ends_in_the_density_of_ito():
    """∂(D P) = −L′ P gives P ∝ exp(−∫L′/D)/D; the isothermal density lacks the 1/D."""
    noise = StateDependentNoise(sp.Rational(1, 4) * (1 + x**2))
    options = dict(start=0, step=0.002, times=[30.0], walkers=30_000, seed=12)
    positions = ensemble(WELL, noise, **options)[0, :, 0]

    def exponent(z):  # −∫ (z³ − z) / ((1 + z²)/4) dz
        return -4 * (z**2 / 2 - np.log1p(z**2))

    assert p_value(positions, lambda z: exponent(z) - np.log1p(z**2)) > ALARM
    assert p_value(positions, exponent) < ALARM


def test_a_full_matrix_gives_the_gaussian_of_the_lyapunov_equation():
    """H S + S H = 2 D for the covariance S of dθ = −Hθ dt + √(2D) dW."""
    u, v = sp.symbols("u v", real=True)
    bowl = Landscape(u**2 + u * v + v**2, (u, v), name="bowl", box=((-3, 3), (-3, 3)))
    d = np.array([[0.4, -0.15], [-0.15, 0.2]])
    h = np.array([[2.0, 1.0], [1.0, 2.0]])
    noise = StateDependentNoise(sp.Matrix(d))
    walkers = 40_000
    options = dict(start=(0, 0), step=0.001, times=[8.0], walkers=walkers, seed=13)
    sample = np.cov(ensemble(bowl, noise, **options)[0].T)
    identity = np.eye(2)
    exact = np.linalg.solve(np.kron(h, identity) + np.kron(identity, h), 2 * d.ravel())
    exact = exact.reshape(2, 2)
    error = np.sqrt((exact**2 + np.outer(np.diag(exact), np.diag(exact))) / walkers)
    assert np.all(np.abs(sample - exact) < 4.8 * error)
