"""A landscape's generated functions against PyTorch's derivatives, differences and identities."""

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddt_utils import catalog
from ddt_utils.landscape import Landscape

x, y = sp.symbols("x y", real=True)
ALL = [
    catalog.quartic(),
    catalog.tilted_quartic(0.1),
    catalog.piecewise_well(curvature_minimum=4, curvature_saddle=1, barrier=0.5),
    catalog.two_valleys(sharp=9, flat=1, saddle=2, barrier=1),
    catalog.rotated_double_well(angle=0.4, stiffness=2 + sp.Symbol("u", real=True) ** 2),
    catalog.mueller_brown(scale=sp.Rational(1, 100)),
    catalog.styblinski_tang(dimension=3),
]
NAMES = [well.name for well in ALL]


def places(well, count=40):
    low, high = np.array(well.box).T
    return low + (high - low) * np.random.default_rng(3).random((count, well.dimension))


@pytest.mark.parametrize("well", ALL, ids=NAMES)
def test_gradient_and_hessian_are_those_of_pytorch(well):
    """torch differentiates its own form of the loss; SymPy has differentiated the expression."""
    points = places(well)

    def loss(theta):
        return well.torch_value(*theta)

    theta = torch.tensor(points)
    value = torch.stack([loss(t) for t in theta])
    gradient = torch.stack([torch.func.grad(loss)(t) for t in theta])
    hessian = torch.stack([torch.func.hessian(loss)(t) for t in theta])
    np.testing.assert_allclose(well.value(*points.T), value, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(well.gradient(*points.T), gradient, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(well.hessian(*points.T), hessian, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("well", ALL, ids=NAMES)
def test_gradient_is_what_differences_of_the_loss_say(well):
    points, h = places(well), 1e-5
    for i in range(well.dimension):
        nudge = h * np.eye(well.dimension)[i]
        rise = well.value(*(points + nudge).T) - well.value(*(points - nudge).T)
        scale = np.abs(well.hessian(*points.T)).max()
        np.testing.assert_allclose(
            well.gradient(*points.T)[:, i], rise / (2 * h), rtol=1e-6, atol=1e-5 * scale
        )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=6), st.floats(-2, 2))
def test_derivatives_of_any_polynomial_are_those_of_numpy(coefficients, where):
    loss = sum(c * x**k for k, c in enumerate(coefficients))
    well = Landscape(loss, (x,), name="polynomial", box=((-2, 2),))
    for order in range(4):
        truth = np.polynomial.Polynomial(coefficients).deriv(order)(where)
        given_by = well.value(where) if order == 0 else well.derivative(where, order)
        np.testing.assert_allclose(given_by, truth, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=6, max_size=6), st.floats(-1, 1), st.floats(-1, 1))
def test_a_hessian_is_symmetric_and_predicts_the_gradient(c, u, w):
    loss = (
        c[0] * x**3 * y + c[1] * x**2 * y**2 + c[2] * x * y + c[3] * y**4 + c[4] * x + c[5] * x**2
    )
    well = Landscape(loss, (x, y), name="two variables", box=((-1, 1),) * 2)
    hessian, h = well.hessian(u, w), 1e-6
    np.testing.assert_array_equal(hessian, hessian.T)
    slope = (well.gradient(u + h, w) - well.gradient(u - h, w)) / (2 * h)
    np.testing.assert_allclose(slope, hessian[0], atol=1e-6)


@pytest.mark.parametrize("well", ALL, ids=NAMES)
@pytest.mark.parametrize("k", [3, sp.Rational(1, 2), 2.5])
def test_a_rescaled_landscape_is_the_same_one_seen_through_a_lens(well, k):
    sharper, points = well.rescaled(k), places(well)
    seen = points / np.sqrt(float(k))
    np.testing.assert_allclose(sharper.value(*seen.T), well.value(*points.T), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        sharper.hessian(*seen.T), float(k) * well.hessian(*points.T), rtol=1e-8, atol=1e-8
    )
    np.testing.assert_allclose(np.array(sharper.box) * np.sqrt(float(k)), well.box)


def test_shapes_follow_broadcasting():
    well = catalog.rotated_double_well()
    across, up = np.linspace(-1, 1, 5)[:, None], np.linspace(-1, 1, 7)
    assert well.value(across, up).shape == (5, 7)
    assert well.gradient(across, up).shape == (5, 7, 2)
    assert well.hessian(across, 0).shape == (5, 1, 2, 2)
    assert well.value(0, 0).shape == ()
    assert catalog.quartic().derivative(up).shape == (7,)
    assert catalog.quartic().gradient(up).shape == (7, 1)


def test_constants_have_the_shape_of_the_points():
    """The Hessian of a parabola does not depend on x, and its lambdified form is a bare number."""
    bowl = Landscape(x**2 / 2 + 0 * y, (x, y), name="trough", box=((-1, 1),) * 2)
    assert bowl.hessian(np.zeros(4), np.ones((3, 1))).shape == (3, 4, 2, 2)
    assert bowl.torch_value(torch.zeros(4), torch.ones(3, 1)).shape == (3, 4)
    flat = Landscape(sp.Integer(7), (x,), name="plain", box=((-1, 1),))
    np.testing.assert_array_equal(flat.value(np.zeros(3)), [7, 7, 7])
    assert flat.torch_value(torch.zeros(3)).tolist() == [7, 7, 7]
    assert flat.gradient(np.zeros(3)).tolist() == [[0], [0], [0]]


def test_symbolic_forms():
    well = catalog.quartic()
    (x,) = well.variables
    assert list(well.gradient_expression) == [x**3 - x]
    assert list(well.hessian_expression) == [3 * x**2 - 1]
    assert sp.latex(x**4 / 4 - x**2 / 2) == well.latex()
    assert well.derivative(0.5, 3) == pytest.approx(3.0)
    assert well == catalog.quartic() and hash(well) == hash(catalog.quartic())


BOX = ((-1, 1),)


@pytest.mark.parametrize(
    "arguments, error, said",
    [
        ((x**2, (sp.Symbol("z"),), "w", BOX), ValueError, "real SymPy symbols"),
        ((x**2, ("x",), "w", BOX), ValueError, "real SymPy symbols"),
        ((x**2, (), "w", ()), ValueError, "at least one"),
        ((x**2, (x, x), "w", BOX * 2), ValueError, "distinct"),
        ((x**2 + y, (x,), "w", BOX), ValueError, "got also {y}"),
        ((x**2, (x,), "w", ((1, -1),)), ValueError, "low < high"),
        ((x**2, (x,), "w", ((-np.inf, 1),)), ValueError, "finite"),
        ((x**2, (x,), "w", BOX * 2), ValueError, "each of the 1 variables"),
    ],
)
def test_a_bad_landscape_is_refused(arguments, error, said):
    expression, variables, name, box = arguments
    with pytest.raises(error, match=said):
        Landscape(expression, variables, name=name, box=box)


def test_bad_coordinates_are_refused():
    well = catalog.rotated_double_well()
    with pytest.raises(ValueError, match="one coordinate per variable, 2 in all, got 1"):
        well.value(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="one coordinate per variable, 2 in all, got 1"):
        well.torch_value(torch.zeros(3))
    with pytest.raises(ValueError, match="y must be finite, got nan"):
        well.gradient(0.0, np.nan)
    with pytest.raises(ValueError, match="derivative needs one variable"):
        well.derivative(0.0)
    for k in (0, -1, np.nan):
        with pytest.raises(ValueError, match="sharpness must be a finite real number, above 0"):
            well.rescaled(k)
