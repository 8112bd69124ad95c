"""What the catalog says of its landscapes, against roots found elsewhere and published values."""

from fractions import Fraction
from itertools import product

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
import torch

from ddt_utils import catalog

# Müller and Brown, Theoretica Chimica Acta 53, 75 (1979), and the many papers that use the surface
PUBLISHED = {
    (-0.558, 1.442): (-146.70, 0),
    (0.623, 0.028): (-108.17, 0),
    (-0.050, 0.467): (-80.77, 0),
    (-0.822, 0.624): (-40.66, 1),
    (0.212, 0.293): (-72.25, 1),
}


def mueller_brown_by_hand(x, y):
    """The surface, typed once more from the paper's table, for mpmath."""
    rows = (
        (-200, -1, 0, -10, 1, 0),
        (-100, -1, 0, -10, 0, 0.5),
        (-170, -6.5, 11, -6.5, -0.5, 1.5),
        (15, 0.7, 0.6, 0.7, -1, 1),
    )
    return sum(
        A * mp.exp(a * (x - u) ** 2 + b * (x - u) * (y - v) + c * (y - v) ** 2)
        for A, a, b, c, u, v in rows
    )


@pytest.mark.parametrize("place", PUBLISHED)
def test_mueller_brown_has_the_published_stationary_points(place):
    value, index = PUBLISHED[place]
    with mp.workdps(40):

        def gradient(x, y):
            return (
                mp.diff(mueller_brown_by_hand, (x, y), (1, 0)),
                mp.diff(mueller_brown_by_hand, (x, y), (0, 1)),
            )

        exact = mp.findroot(gradient, place, tol=1e-40)
        height = mueller_brown_by_hand(*exact)
    exact = np.array([float(c) for c in exact])
    assert np.round(exact, 3) == pytest.approx(place, abs=1.01e-3)
    assert float(height) == pytest.approx(value, abs=5.1e-3)
    surface = catalog.mueller_brown()
    assert surface.value(*exact) == pytest.approx(float(height), rel=1e-13)
    assert np.abs(surface.gradient(*exact)).max() < 1e-10
    assert np.count_nonzero(np.linalg.eigvalsh(surface.hessian(*exact)) < 0) == index


def test_the_scale_multiplies_the_surface():
    scaled, surface = catalog.mueller_brown(scale=sp.Rational(1, 100)), catalog.mueller_brown()
    assert scaled.value(0.3, 0.4) == pytest.approx(surface.value(0.3, 0.4) / 100)


def test_styblinski_tang_has_the_roots_that_numpy_finds():
    low, top, high = sorted(np.roots([4, 0, -32, 5]).real)
    well = catalog.styblinski_tang(dimension=1)
    np.testing.assert_allclose((low, top, high), (-2.903534, 0.156731, 2.746803), atol=1e-6)
    for place, value, curvature in (
        (low, -39.166166, 34.58306),
        (top, 0.195612, -15.85261),
        (high, -25.029447, 29.26956),
    ):
        assert well.derivative(place) == pytest.approx(0, abs=1e-12)
        assert well.value(place) == pytest.approx(value, abs=1e-6)
        assert well.derivative(place, 2) == pytest.approx(curvature, abs=1e-5)


def test_styblinski_tang_is_a_sum_over_coordinates():
    well, line = catalog.styblinski_tang(dimension=4), catalog.styblinski_tang(dimension=1)
    theta = np.array([-2.0, 0.3, 1.1, 3.0])
    assert well.value(*theta) == pytest.approx(line.value(theta).sum())
    np.testing.assert_allclose(well.hessian(*theta), np.diag(line.derivative(theta, 2)))
    for dimension in (0, 2.5, -1, "2", True):
        with pytest.raises(ValueError, match="dimension must be"):
            catalog.styblinski_tang(dimension=dimension)


def test_the_quartic_is_as_described():
    well = catalog.quartic()
    assert well.derivative(np.array([-1, 0, 1])).tolist() == [0, 0, 0]
    assert well.derivative(np.array([-1, 0, 1]), 2).tolist() == [2, -1, 2]
    assert well.value(0) - well.value(1) == 0.25


def test_a_tilted_quartic_is_deeper_on_the_left():
    roots = sorted(np.roots([1, 0, -1, 0.2]).real)
    well = catalog.tilted_quartic(0.2)
    np.testing.assert_allclose(well.derivative(np.array(roots)), 0, atol=1e-14)
    assert well.value(roots[0]) < well.value(roots[2]) < well.value(roots[1])
    for tilt in (0.385, -0.385, np.nan):
        with pytest.raises(ValueError, match="tilt"):
            catalog.tilted_quartic(tilt)


@pytest.mark.parametrize("sharp, flat, saddle, barrier", [(16, 1, 4, 1), (3, 0.5, 0.2, 2.5)])
def test_two_valleys_are_equally_deep_and_smooth(sharp, flat, saddle, barrier):
    well = catalog.two_valleys(sharp=sharp, flat=flat, saddle=saddle, barrier=barrier)
    left = -np.sqrt(2 * barrier * (1 / saddle + 1 / sharp))
    right = np.sqrt(2 * barrier * (1 / saddle + 1 / flat))
    np.testing.assert_allclose(well.value(np.array([left, 0, right])), (0, barrier, 0), atol=1e-12)
    np.testing.assert_allclose(well.derivative(np.array([left, 0, right])), 0, atol=1e-12)
    np.testing.assert_allclose(
        well.derivative(np.array([left, 0, right]), 2), (sharp, -saddle, flat)
    )
    assert well.box[0][0] < left and right < well.box[0][1]
    for side, curvature in ((-1, sharp), (1, flat)):
        fraction = saddle / (curvature + saddle)
        junction = side * np.sqrt(2 * (1 - fraction) * barrier / saddle)
        assert well.value(junction) == pytest.approx(fraction * barrier)
        near = junction * (1 + np.array([-1e-9, 1e-9]))
        assert well.derivative(near)[0] == pytest.approx(well.derivative(near)[1], abs=1e-7)
        assert sorted(well.derivative(near, 2)) == pytest.approx([-saddle, curvature])


def test_a_piecewise_well_is_its_own_mirror_image():
    well = catalog.piecewise_well(curvature_minimum=4, curvature_saddle=1, barrier=0.5)
    x = np.linspace(*well.box[0], 101)
    np.testing.assert_allclose(well.value(x), well.value(-x), atol=1e-12)
    assert well.box[0][0] == -well.box[0][1]


def test_curvatures_and_barriers_are_positive():
    for wrong, value in product(("sharp", "flat", "saddle", "barrier"), (-1, 0, np.nan)):
        parameters = dict(sharp=4, flat=1, saddle=1, barrier=1) | {wrong: value}
        with pytest.raises(
            ValueError, match=f"{wrong} must be a finite real number, above 0, got {value}"
        ):
            catalog.two_valleys(**parameters)


def test_a_rotation_turns_the_well_and_changes_nothing_else():
    u = sp.Symbol("u", real=True)
    angle, stiffness = 0.7, 3 - 2 * u**2
    level = catalog.rotated_double_well(angle=0, stiffness=stiffness)
    turned = catalog.rotated_double_well(angle=angle, stiffness=stiffness)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for place in ([1, 0], [0, 0], [0.3, -0.4]):
        there = rotation @ place
        assert turned.value(*there) == pytest.approx(float(level.value(*place)))
        np.testing.assert_allclose(
            turned.hessian(*there), rotation @ level.hessian(*place) @ rotation.T, atol=1e-12
        )
    np.testing.assert_allclose(level.hessian(0, 0), np.diag([-1, 3]), atol=1e-12)
    np.testing.assert_allclose(level.hessian(1, 0), np.diag([2, 1]), atol=1e-12)


@pytest.mark.parametrize("seed", range(7))
def test_measured_curvatures_of_sixteen_digits_make_two_valleys(seed):
    sharp, flat, saddle, barrier = np.random.default_rng(seed).random(4) + 0.1
    well = catalog.two_valleys(sharp=sharp, flat=flat, saddle=saddle, barrier=barrier)
    right = np.sqrt(2 * barrier * (1 / saddle + 1 / flat))
    np.testing.assert_allclose(well.value([0, right]), (barrier, 0), atol=1e-12)
    np.testing.assert_allclose(well.derivative([0, right], 2), (-saddle, flat), rtol=1e-12)


# SymPy takes this float for 2**(428/771)*3**(185/257)*5**(195/257)*7**(710/771)/294
def test_a_float_that_looks_like_a_root_is_a_float():
    well = catalog.two_valleys(sharp=2, flat=0.22428327649956395, saddle=0.7, barrier=0.3)
    assert float(well.value(0)) == pytest.approx(0.3, rel=1e-14)
    exact = catalog.two_valleys(sharp=2, flat=1 / 3, saddle=0.75, barrier=0.25)
    assert not exact.expression.atoms(sp.Float)


@pytest.mark.parametrize("kind", [np.array, np.float32, torch.tensor, Fraction, sp.Rational])
def test_a_parameter_may_be_any_kind_of_number(kind):
    for make, name in (
        (catalog.tilted_quartic, "tilt"),
        (lambda v: catalog.two_valleys(sharp=3, flat=v, saddle=2, barrier=1), "flat"),
        (lambda v: catalog.rotated_double_well(angle=v, stiffness=v), "angle"),
        (lambda v: catalog.mueller_brown(scale=v), "scale"),
        (catalog.quartic().rescaled, "sharpness"),
    ):
        place = np.array([0.3, 0.7])[: len(make(0.25).variables)]
        assert make(kind(0.25)).value(*place) == pytest.approx(make(0.25).value(*place)), name


@pytest.mark.parametrize(
    "wrong", [dict(angle=True), dict(angle=[0.3]), dict(angle=np.inf), dict(stiffness=None)]
)
def test_a_turn_and_a_stiffness_are_numbers(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be a finite real number, got "):
        catalog.rotated_double_well(**wrong)
