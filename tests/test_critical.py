"""Critical points against polynomial roots, mpmath and topology, in any units."""

import warnings

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ddt_utils import catalog
from ddt_utils.critical import CriticalPoint, critical_points, escape_direction, minima, saddles
from ddt_utils.landscape import Landscape

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


def line(loss, low=-3, high=3):
    return Landscape(loss, (x,), name="line", box=((low, high),))


def plane(loss, box=((-3, 3), (-3, 3))):
    return Landscape(loss, (x, y), name="plane", box=box)


@pytest.mark.parametrize("length", [1.0, 3.4e-10, 3e11])
@pytest.mark.parametrize("energy", [1.0, 1.65e-21, 2e-120, 3e40])
def test_no_length_and_no_energy_is_special(length, energy):
    """A bond, a polynomial and a plane in other units have the same points, moved and scaled."""
    s, e = sp.Float(length, 17), sp.Float(energy, 17)
    bond = line(4 * e * ((s / x) ** 12 - (s / x) ** 6), 0.8 * length, 4 * length)
    (found,) = critical_points(bond)
    assert found.location[0] / length == pytest.approx(2 ** (1 / 6), rel=1e-12)
    assert found.value / energy == pytest.approx(-1, rel=1e-12)
    curvature = 72 * 2 ** (-1 / 3)
    assert found.eigenvalues[0] / energy * length**2 == pytest.approx(curvature, rel=1e-9)
    well = line(e * ((x / s) ** 4 / 4 - (x / s) ** 2 / 2 + (x / s) / 9), -2 * length, 2 * length)
    low, top, high = sorted(np.roots([1, 0, -1, 1 / 9]).real)
    np.testing.assert_allclose(
        [p.location[0] / length for p in critical_points(well)], [low, high, top], rtol=1e-9
    )
    box = ((-2 * length, 2 * length), (-3, 3))
    loss = e * (((x / s) ** 2 - 1) ** 2 + x / s * y / 5 + y**2)
    points = critical_points(plane(loss, box))
    away = np.sqrt(1 + 0.005)
    expected = [[-away, away / 10], [away, -away / 10], [0, 0]]
    np.testing.assert_allclose(
        [p.location / [length, 1] for p in points], expected, rtol=1e-9, atol=1e-9
    )
    assert [p.index for p in points] == [0, 0, 1]


def test_a_rugged_line_is_counted_to_the_last_crest():
    assert len(critical_points(line(sp.sin(400 * x), -20, 20))) == 2 * round(20 * 400 / np.pi)
    fine = critical_points(line(sp.sin(23 * x) + x / 3))
    angle = np.arccos(-1 / 69)
    truth = [(s * angle + 2 * np.pi * k) / 23 for s in (-1, 1) for k in range(-12, 13)]
    truth = sorted(t for t in truth if abs(t) < 3)
    found = sorted(p.location[0] for p in fine)
    np.testing.assert_allclose(found, truth, atol=1e-13)
    with pytest.raises(ValueError, match="must be told apart, but .* points on its box do not"):
        critical_points(line(sp.sin(4_000_000 * x), -20, 20))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(-25, 25), min_size=3, max_size=5, unique=True),
    st.lists(st.integers(1, 9), min_size=5, max_size=5),
)
def test_in_a_row_of_parabolas_every_bottom_is_found(tenths, bends):
    """The lowest of several parabolas: its minima are the bottoms that no other undercuts."""
    places = np.array(sorted(tenths)) / 10
    bends = bends[: len(places)]
    well = line(sp.Min(*(k * (x - sp.Rational(t, 10)) ** 2 + sp.Rational(k, 7)
                         for k, t in zip(bends, sorted(tenths), strict=True))))  # fmt: skip
    heights = np.array(bends)[:, None] * ((places - places[:, None]) ** 2 + 1 / 7)
    lowest = np.isclose(heights.min(axis=0), np.diagonal(heights))
    strict = np.sum(np.isclose(heights, heights.min(axis=0)), axis=0) == 1
    if not np.all(strict[lowest]):
        return
    found = sorted(p.location[0] for p in minima(well))
    np.testing.assert_allclose(found, places[lowest], atol=1e-12)
    if lowest.sum() > 1:
        with pytest.raises(ValueError, match="a crest, the slope of line jumps"):
            saddles(well)


def test_a_kink_is_no_critical_point_and_hides_none():
    knife = line((sp.Abs(x - 1) - 2) ** 2 / 2)
    assert [p.location[0] for p in minima(knife)] == pytest.approx([-1, 3])
    for index in (1, None):
        with pytest.raises(
            ValueError, match="x = 1, a crest, the slope of line jumps from 2 to -2"
        ):
            critical_points(knife, index=index)
    wedge = line(sp.Max(-3 * x, x) + (x - 2) ** 2 * sp.Heaviside(x - 2))
    with pytest.raises(ValueError, match="x = 0, a minimum, .* jumps from -3 to 1; round the kink"):
        minima(wedge)
    flank = line(sp.Piecewise((x**2, x < 1), (sp.Rational(1, 2) + x**3 / 2, True)))
    assert [p.location[0] for p in critical_points(flank)] == [0]
    cross = plane((sp.Abs(x) - 1) ** 2 / 2 + y**4 + y**2)
    assert [p.location.tolist() for p in minima(cross)] == [[-1, 0], [1, 0]]
    with pytest.raises(ValueError, match="a crest"):
        saddles(cross)


def test_a_condition_couples_the_variables_that_it_joins():
    """On either side of y = 0 the minimum in x is another; the Hessian does not say so."""
    left, right = (x + 1) ** 2 + 1 + y**2, (x - 1) ** 2 + 2 + (y - 1) ** 2
    folded = plane(sp.Min(left, right))
    assert [p.location.tolist() for p in minima(folded)] == [[-1, 0], [1, 1]]
    pieces = plane(sp.Piecewise((x**2 + (x - 3) * y**3 + y**2, y > 0), (x**2 + 2 * y**2, True)))
    for point in critical_points(pieces, seeds=256):
        assert np.abs(pieces.gradient(*point.location)).max() < 1e-9


def test_where_the_curvature_jumps_at_the_bottom_no_index_is_made_up():
    with pytest.raises(ValueError, match="curvature of line jumps from 2 to 6 .* at x = 0.5"):
        critical_points(line((x - 0.5) ** 2 * (2 + sp.sign(x - 0.5))))
    with pytest.raises(ValueError, match="finite Hessian without zero eigenvalue, got ..inf"):
        critical_points(line(sp.Abs(x - 1) ** sp.Rational(4, 3)))
    for flat in (sp.Integer(3), sp.Piecewise((0, x < 1), ((x - 1) ** 4, True))):
        with pytest.raises(ValueError, match="is flat"):
            critical_points(line(flat))


def ackley(x, y):
    hills = sp.exp((sp.cos(2 * sp.pi * x) + sp.cos(2 * sp.pi * y)) / 2)
    return -20 * sp.exp(-sp.sqrt((x**2 + y**2) / 2) / 5) - hills


def test_one_start_without_derivatives_ends_no_search():
    """Ackley's surface has a cone in the middle of the box, where a start lies."""
    with pytest.warns(UserWarning, match=r"plane has a minimum in a kink, near \[.*not listed"):
        found = minima(plane(ackley(x, y), ((-1.5, 1.5),) * 2))
    one = 0.9525  # on the axis, from any table of the function's minima: near one
    places = {tuple(np.round(p.location).tolist()) for p in found}
    assert places == {(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)} - {(0, 0)}
    assert min(abs(abs(p.location).max() - one) for p in found) < 0.03
    smooth = plane(ackley(x, y) + sp.Abs(x - y) * 0, ((0.5, 1.5), (-0.5, 1.5)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(minima(smooth)) == 2


def test_a_search_of_which_no_start_is_left_says_so():
    """The Hessian, per square of the box, is beyond double precision everywhere."""
    huge = sp.Float("3e307", 17) * (x**2 + x * y + y**2)
    with pytest.raises(ValueError, match="needs derivatives, but all 1024 starts in the box"):
        minima(plane(huge, ((-1, 1), (-1, 1))))
    with pytest.warns(UserWarning, match="kink"):
        assert minima(plane(sp.sqrt(x**2 + 3 * y**2))) == []


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(seeds=0), "seeds must be a whole number, 1 or more, 131072 at most, got 0"),
        (dict(seeds="9"), "seeds must be"),
        (dict(seeds=2.5), "seeds must be"),
        (dict(index="1"), "index must be .* got '1'"),
        (dict(index=-1), "index must be a whole number, 0 or more, got -1"),
        (dict(index=True), "index must be"),
        (dict(index=0.5), "index must be"),
    ],
)
def test_bad_arguments_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        critical_points(SURFACE, **options)
    assert critical_points(SURFACE, index=2) == []
    assert len(minima(SURFACE, seeds=np.int64(300))) == 3
    with pytest.raises(ValueError, match="needs a saddle of index 1, got 'here'"):
        escape_direction("here")


def test_flat_points_are_refused():
    for loss, variables in ((x**4, (x,)), ((x**2 + y**2 - 1) ** 2, (x, y))):
        well = Landscape(loss, variables, name="flat", box=((-2, 2),) * len(variables))
        with pytest.raises(ValueError, match="finite Hessian without zero eigenvalue"):
            critical_points(well)
    assert critical_points(Landscape(x, (x,), name="slope", box=((-1, 1),))) == []


@pytest.mark.parametrize("far", [1e3, 1e6, 1234567.1, -1e9])
def test_a_well_far_from_the_origin_is_found(far):
    well = Landscape(
        (x - far) ** 4 / 4 - (x - far) ** 2 / 2, (x,), name="far", box=((far - 2, far + 3),)
    )
    found = critical_points(well)
    assert [p.index for p in found] == [0, 0, 1]
    np.testing.assert_allclose([p.location[0] - far for p in found], (-1, 1, 0), atol=1e-6)


def test_in_a_kink_of_the_plane_the_mean_slope_makes_no_critical_point():
    tent = Landscape(
        (sp.Abs(x) - 1) ** 2 + (y - x) ** 2, (x, y), name="tent", box=((-2, 2), (-3, 3))
    )
    with pytest.warns(UserWarning, match=r"tent has a kink near \[.*not listed"):
        found = critical_points(tent)
    places = [p.location.round(9).tolist() for p in found]
    assert (places, [p.index for p in found]) == ([[-1, -1], [1, 1]], [0, 0])


def test_where_a_formula_changes_smoothly_a_critical_point_stays():
    bowl = Landscape(
        sp.Piecewise((x**2, x < 0), (3 * x**2 * (1 + x), True)) / 2 + (y - x) ** 2,
        (x, y), name="bowl", box=((-1, 2), (-1, 1)),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = critical_points(bowl, index=0)
    np.testing.assert_allclose([p.location for p in found], [[0, 0]], atol=1e-9)


@pytest.mark.parametrize(
    ("hessian", "said"),
    [
        ([[np.nan]], "hessian must be finite"),
        ([2.0], r"hessian must be an array of shape \(1, 1\)"),
    ],
)
def test_a_hessian_that_is_none_makes_no_minimum(hessian, said):
    with pytest.raises(ValueError, match=said):
        CriticalPoint(np.zeros(1), 0.0, np.array(hessian))


@pytest.mark.parametrize("what", [None, sp.Symbol("x"), 3])
def test_what_is_no_landscape_is_refused(what):
    with pytest.raises(ValueError, match="landscape must be a Landscape, got"):
        minima(what)
