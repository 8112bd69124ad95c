"""Paths over passes against direct integration, their own tangents and topology."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from ddt_utils import catalog
from ddt_utils.critical import escape_direction, minima, saddles
from ddt_utils.landscape import Landscape
from ddt_utils.paths import connected_minima, minimum_energy_path

x, y = sp.symbols("x y", real=True)
SURFACE = catalog.mueller_brown()


def test_descents_join_the_right_valleys():
    deep, right, middle = (p.location for p in minima(SURFACE))
    low, high = saddles(SURFACE)
    for saddle, pair in ((low, (middle, right)), (high, (deep, middle))):
        found = np.array(sorted(p.location.tolist() for p in connected_minima(SURFACE, saddle)))
        np.testing.assert_allclose(found, sorted(p.tolist() for p in pair), atol=1e-10)
    left, right = connected_minima(catalog.quartic(), saddles(catalog.quartic())[0])
    assert (left.location[0], right.location[0]) == pytest.approx((-1, 1))


def test_the_path_is_the_steepest_descent_from_its_saddles():
    """A second integrator, from each saddle; every point of it lies on the path."""
    deep, right, _ = minima(SURFACE)
    path = minimum_energy_path(SURFACE, deep, right, images=200)
    np.testing.assert_allclose(path.points[[0, -1]], [deep.location, right.location], atol=1e-12)
    assert [s.value for s in path.saddles] == pytest.approx([-40.6648, -72.2489], abs=1e-4)
    assert np.ptp(np.diff(path.arc)) < 1e-3 * path.arc[-1] / 200
    for saddle in path.saddles:
        for side in (-1, 1):
            start = saddle.location + side * 1e-4 * escape_direction(saddle)
            flow = solve_ivp(
                lambda t, p: -SURFACE.gradient(*p), (0, 0.02), start, "Radau", rtol=1e-8, atol=1e-9
            )
            gaps = np.linalg.norm(flow.y.T[:, None] - path.points, axis=2).min(axis=1)
            assert gaps.max() < 0.51 * path.arc[-1] / 199 + 1e-4


def test_the_gradient_is_the_tangent_of_the_path():
    well = catalog.rotated_double_well(stiffness=3 + sp.Symbol("u", real=True))
    surface = Landscape(well.expression + x * y**2 / 4, well.variables, name="bent", box=well.box)
    path = minimum_energy_path(surface, *minima(surface), images=400)
    tangent = np.gradient(path.points, path.arc, axis=0, edge_order=2)
    gradient = surface.gradient(*path.points.T)
    across = gradient[:, 0] * tangent[:, 1] - gradient[:, 1] * tangent[:, 0]
    assert np.abs(across).max() < 1e-3 * np.abs(gradient).max()


def test_a_guess_can_lead_over_the_other_pass():
    """Two valleys joined by two passes, around a hill."""
    ring = (x**2 + y**2 - 1) ** 2 - x**2 / 4 + y / 20
    well = Landscape(ring, (x, y), name="ring", box=((-2, 2),) * 2)
    left, right = sorted(minima(well), key=lambda p: p.location[0])
    for side in (-1, 1):
        path = minimum_energy_path(well, left, right, through=(0, side))
        assert len(path.saddles) == 1
        assert np.sign(path.saddles[0].location[1]) == side


def test_a_path_in_other_units_is_the_same_path():
    length, energy = sp.Float(3.4e-10, 17), sp.Float(1.6e-21, 17)
    to = {x: x / length, y: y / length}
    small = Landscape(
        energy * SURFACE.expression.subs(to, simultaneous=True),
        SURFACE.variables,
        name="small",
        box=tuple((a * 3.4e-10, b * 3.4e-10) for a, b in SURFACE.box),
    )
    for images in (60, 97):
        one = minimum_energy_path(SURFACE, *minima(SURFACE)[:2], images=images)
        other = minimum_energy_path(small, *minima(small)[:2], images=images)
        np.testing.assert_allclose(other.points / 3.4e-10, one.points, atol=1e-5)
        np.testing.assert_allclose(other.values / 1.6e-21, one.values, atol=1e-3)
        assert len(one.points) == images


def test_what_cannot_be_answered_is_refused():
    well = catalog.rotated_double_well()
    left, right = minima(well)
    (saddle,) = saddles(well)
    with pytest.raises(ValueError, match="end must be a minimum"):
        minimum_energy_path(well, left, saddle)
    with pytest.raises(ValueError, match="different minima"):
        minimum_energy_path(well, left, left)
    with pytest.raises(ValueError, match="images must be a whole number, 10 or more"):
        minimum_energy_path(well, left, right, images=3)
    with pytest.raises(ValueError, match="through must be an array of shape"):
        minimum_energy_path(well, left, right, through=(0, 1, 2))
    with pytest.raises(ValueError, match="start must be a minimum, got 3"):
        minimum_energy_path(well, 3, right)
    cliff = Landscape(x**3 - x + y**2, (x, y), name="cliff", box=((-1.5, 1.5), (-1, 1)))
    with pytest.raises(ValueError, match="a descent must end at a minimum in the box"):
        connected_minima(cliff, saddles(cliff)[0])


@pytest.mark.parametrize("stiff", [1e4, 1e6])
def test_a_valley_with_steep_sides_is_followed_to_its_end(stiff):
    gorge = Landscape(
        x**4 / 4 - x**2 / 2 + stiff * y**2, (x, y), name="gorge", box=((-2, 2), (-3, 2))
    )
    [saddle] = saddles(gorge)
    ends = connected_minima(gorge, saddle)
    np.testing.assert_allclose([e.location for e in ends], [[-1, 0], [1, 0]], atol=1e-6)
