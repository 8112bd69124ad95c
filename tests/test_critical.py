"""Critical points and paths against polynomial roots, mpmath, topology and direct integration."""

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from ddt_utils import catalog
from ddt_utils.critical import critical_points, escape_direction, minima, saddles
from ddt_utils.landscape import Landscape
from ddt_utils.paths import connected_minima, minimum_energy_path

x, y, z = sp.symbols("x y z", real=True)
SURFACE = catalog.mueller_brown()


def test_mueller_brown_to_twelve_digits():
    """mpmath solves for the same points, at 30 digits, from rounded published places."""
    gradient = sp.lambdify(SURFACE.variables, list(SURFACE.gradient_expression), "mpmath")
    found = critical_points(SURFACE)
    published = [(-0.558, 1.442), (0.623, 0.028), (-0.05, 0.467), (0.212, 0.293), (-0.822, 0.624)]
    assert [p.index for p in found] == [0, 0, 0, 1, 1]
    for point, place in zip(found, published, strict=True):
        with mp.workdps(30):
            exact = [float(c) for c in mp.findroot(gradient, place)]
        np.testing.assert_allclose(point.location, exact, atol=1e-12)
        np.testing.assert_allclose(point.eigenvalues, np.linalg.eigvalsh(SURFACE.hessian(*exact)))
        assert point.value == pytest.approx(float(SURFACE.value(*exact)), rel=1e-13)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-19, 19), min_size=1, max_size=6, unique=True))
def test_every_root_on_a_line_is_found(numerators):
    """L' has prescribed simple roots; between two minima there is a maximum."""
    roots = sorted(sp.Rational(n, 10) for n in numerators)
    slope = sp.expand(sp.prod(x - r for r in roots))
    well = Landscape(sp.integrate(slope, x), (x,), name="prescribed", box=((-2, 2),))
    found = sorted(critical_points(well), key=lambda p: p.location[0])
    np.testing.assert_allclose(
        [p.location[0] for p in found], [float(r) for r in roots], atol=1e-12
    )
    highest_is_minimum = [0 if (len(roots) - i) % 2 else 1 for i in range(len(roots))]
    assert [p.index for p in found] == highest_is_minimum


def test_a_line_that_is_no_polynomial():
    board = Landscape(-sp.cos(x), (x,), name="washboard", box=((-7, 10),))
    assert [round(p.location[0] / np.pi) for p in minima(board)] == [-2, 0, 2]
    assert [round(p.location[0] / np.pi) for p in saddles(board)] == [-1, 1, 3]
    well = catalog.two_valleys(sharp=4, flat=1, saddle=1, barrier=1)
    assert [p.location[0] for p in minima(well)] == pytest.approx([-np.sqrt(2.5), 2])
    assert [p.eigenvalues[0] for p in saddles(well)] == pytest.approx([-1])


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(-4, 4), min_size=7, max_size=7).filter(lambda c: any(c)),
    st.floats(0, 3.1),
)
def test_index_sum_of_a_confining_landscape_is_one(c, angle):
    """Poincaré–Hopf: where -∇L points inward on a sphere, minima − saddles + maxima = 1.

    So a single point that was missed, or found twice, breaks the sum.
    """
    u, w = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    terms = (x, y, x * y, x**2 - y**2, x**2 * y, x * y**2, x**3)
    loss = (u**4 + w**4) + sum(k * t for k, t in zip(c, terms, strict=True)) / 4 + (x + 2 * y) / 97
    well = Landscape(loss, (x, y), name="random", box=((-4, 4),) * 2)
    ring = 4 * np.exp(1j * np.linspace(0, 2 * np.pi, 200))
    outward = well.gradient(ring.real, ring.imag) * np.stack([ring.real, ring.imag], -1)
    assert np.all(outward.sum(-1) > 0)
    assert sum((-1) ** p.index for p in critical_points(well)) == 1


def test_ten_dimensions_by_combination():
    well = catalog.styblinski_tang()
    low, top, high = sorted(np.roots([4, 0, -32, 5]).real)
    bottoms, passes = minima(well), saddles(well)
    assert len(bottoms) == 2**10 and len(passes) == 10 * 2**9
    assert len({tuple(np.round(p.location, 6)) for p in passes}) == len(passes)
    np.testing.assert_allclose(bottoms[0].location, low)
    np.testing.assert_allclose(bottoms[-1].location, high)
    for point in passes[:: len(passes) // 7]:
        assert np.count_nonzero(np.isclose(point.location, top)) == 1
        assert np.abs(well.gradient(*point.location)).max() < 1e-10
        assert point.eigenvalues[0] == pytest.approx(-15.85261, abs=1e-5)
    assert len(critical_points(catalog.styblinski_tang(dimension=6))) == 3**6
    with pytest.raises(ValueError, match="ask for one index"):
        critical_points(catalog.styblinski_tang(dimension=12))


def test_uncoupled_groups_keep_the_order_of_their_variables():
    """x and z are coupled, y stands between them and is not."""
    loss = (x**4 / 4 - x**2 / 2) + (z - x) ** 2 + (y - 3) ** 2 + y / 7
    well = Landscape(loss, (x, y, z), name="mixed", box=((-2, 2), (0, 5), (-2, 2)))
    expected = {(-1, 3 - 1 / 14, -1): 0, (1, 3 - 1 / 14, 1): 0, (0, 3 - 1 / 14, 0): 1}
    found = {tuple(np.round(p.location, 9)): p.index for p in critical_points(well)}
    assert found == {tuple(np.round(k, 9)): v for k, v in expected.items()}


def test_rescaling_keeps_heights_and_multiplies_eigenvalues():
    for before, after in zip(
        critical_points(SURFACE), critical_points(SURFACE.rescaled(3)), strict=True
    ):
        assert after.value == pytest.approx(before.value, rel=1e-12)
        np.testing.assert_allclose(after.eigenvalues, 3 * before.eigenvalues, rtol=1e-10)


def test_the_escape_direction_turns_with_the_well():
    well = catalog.rotated_double_well(angle=0.4)
    (saddle,) = saddles(well)
    np.testing.assert_allclose(escape_direction(saddle), (np.cos(0.4), np.sin(0.4)))
    np.testing.assert_allclose(saddle.hessian @ escape_direction(saddle), -escape_direction(saddle))
    with pytest.raises(ValueError, match="needs a saddle of index 1"):
        escape_direction(minima(well)[0])


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


def test_what_cannot_be_answered_is_refused():
    for loss, variables in ((x**4, (x,)), ((x**2 + y**2 - 1) ** 2, (x, y))):
        well = Landscape(loss, variables, name="flat", box=((-2, 2),) * len(variables))
        with pytest.raises(ValueError, match="finite Hessian without zero eigenvalue"):
            critical_points(well)
    well = catalog.rotated_double_well()
    left, right = minima(well)
    (saddle,) = saddles(well)
    with pytest.raises(ValueError, match="end must be a minimum"):
        minimum_energy_path(well, left, saddle)
    with pytest.raises(ValueError, match="different minima"):
        minimum_energy_path(well, left, left)
    with pytest.raises(ValueError, match="images must be a whole number, 10 or more"):
        minimum_energy_path(well, left, right, images=3)
    cliff = Landscape(x**3 - x + y**2, (x, y), name="cliff", box=((-1.5, 1.5), (-1, 1)))
    with pytest.raises(ValueError, match="a descent must end at a minimum in the box"):
        connected_minima(cliff, saddles(cliff)[0])
    assert critical_points(Landscape(x, (x,), name="slope", box=((-1, 1),))) == []
