"""Noise models: D as an expression agrees with D as numbers, and bad noise is refused."""

import numpy as np
import pytest
import sympy as sp

from ddt_utils import catalog
from ddt_utils.landscape import Landscape
from ddt_utils.noise import HessianNoise, StateDependentNoise, WhiteNoise

x, y = sp.symbols("x y", real=True)
bowl = Landscape(x**2 + 3 * y**2, (x, y), name="bowl", box=((-2, 2), (-2, 2)))


def test_white_noise_is_a_multiple_of_the_identity():
    matrices = WhiteNoise(0.25).diffusion(bowl, np.zeros((3, 1)), np.ones(4))
    assert matrices.shape == (3, 4, 2, 2)
    assert np.array_equal(matrices, np.broadcast_to(0.25 * np.eye(2), (3, 4, 2, 2)))


def test_one_expression_multiplies_the_identity_and_a_tuple_is_the_diagonal():
    point = (0.5, -1.0)
    one = StateDependentNoise(1 + x**2).diffusion(bowl, *point)
    two = StateDependentNoise((1 + x**2, sp.Float(2) + y**2)).diffusion(bowl, *point)
    assert np.allclose(one, 1.25 * np.eye(2), rtol=1e-15)
    assert np.allclose(two, np.diag([1.25, 3.0]), rtol=1e-15)


def test_hessian_noise_is_eta_over_two_b_times_the_curvature_and_its_floor():
    well = catalog.quartic()
    places = np.array([-1.0, 0.0, 3**-0.5, 1.5])
    curvature = np.abs(3 * places**2 - 1)
    bare = HessianNoise(learning_rate=0.1, batch_size=5).diffusion(well, places)
    floored = HessianNoise(learning_rate=0.1, batch_size=5, floor=0.5).diffusion(well, places)
    assert np.allclose(bare[..., 0, 0], 0.01 * curvature, atol=1e-16)
    assert np.allclose(floored[..., 0, 0], 0.01 * np.maximum(curvature, 0.5), atol=1e-16)


def test_hessian_noise_keeps_the_pieces_of_a_piecewise_well():
    well = catalog.piecewise_well(curvature_minimum=4, curvature_saddle=1, barrier=1)
    values = HessianNoise(learning_rate=1, batch_size=1).diffusion(well, np.linspace(-2, 0, 101))
    assert np.allclose(np.unique(values), [0.5, 2.0], rtol=1e-15)


@pytest.mark.parametrize("value", [0, -0.1, float("nan"), float("inf")])
def test_a_diffusion_that_is_not_positive_is_refused(value):
    with pytest.raises(ValueError, match=f"must be positive and finite, got {value}"):
        WhiteNoise(value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (sp.Symbol("k", real=True), "got also"),
        (sp.Matrix([[1, 2], [2, 1]]), "positive definite"),
        (sp.Matrix([[1, 0.5], [0.2, 1]]), "symmetric"),
        (sp.Matrix([[1, x], [2 * x, 1]]), "must be symmetric"),
        ((x**2,), "shape"),
        (sp.eye(3), "shape"),
    ],
)
def test_a_wrong_state_dependent_noise_is_refused(expression, message):
    with pytest.raises(ValueError, match=message):
        StateDependentNoise(expression).diffusion_matrix(bowl)


def test_hessian_noise_refuses_a_full_hessian_and_bad_numbers():
    with pytest.raises(ValueError, match="diagonal Hessian"):
        HessianNoise(0.1, 1).diffusion_matrix(catalog.mueller_brown())
    with pytest.raises(ValueError, match="batch_size must be positive"):
        HessianNoise(0.1, 0)
    with pytest.raises(ValueError, match="floor must be zero or positive, got -1"):
        HessianNoise(0.1, 1, floor=-1)
