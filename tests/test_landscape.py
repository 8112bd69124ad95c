"""A landscape's generated functions against PyTorch's derivatives, differences and identities;
what it promises, against losses whose jumps, kinks and poles are known by construction."""

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddt_utils import catalog
from ddt_utils.landscape import Landscape
from ddt_utils.noise import WhiteNoise

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


def line(loss, box=(-3, 3)):
    return Landscape(loss, (x,), name="line", box=(box,))


def plane(loss, box=((-3, 2), (-1, 4))):
    return Landscape(loss, (x, y), name="plane", box=box)


THIRD, SEVENTH, ROOT = sp.Rational(1, 3), sp.Rational(1, 7), sp.sqrt(2)
BENT = [  # loss, its breaks in (-3, 3), those where the slope jumps
    (x**4 / 4 - x**2 / 2, (), ()),
    ((sp.Abs(x) - 1) ** 2 / 2, (0,), (0,)),
    (sp.Abs(x - THIRD) ** 3, (1 / 3,), ()),
    (sp.Abs(x) ** sp.Rational(4, 3), (0,), ()),
    (x * sp.Abs(x) ** THIRD, (0,), ()),
    (sp.Min((x + 1) ** 2, 3 * (x - 1) ** 2), (2 - 3**0.5,), (2 - 3**0.5,)),
    (sp.Max(x, x**2, sp.Rational(1, 4)), (-0.5, 0, 0.25, 1), (-0.5, 0.25, 1)),
    (x * sp.sign(x - 1) - sp.sign(x - 1), (1,), (1,)),
    (sp.Heaviside(2 * x + 1) * (2 * x + 1) ** 2, (-0.5,), ()),
    (sp.Abs(sp.sin(2 * x)), (-np.pi / 2, 0, np.pi / 2), (-np.pi / 2, 0, np.pi / 2)),
    (sp.Piecewise((x**2, x < 1), (3 * x - 2, x < 2), (x**2, True)), (1, 2), (1, 2)),
    (sp.Piecewise((x**2 / 2, sp.Abs(x) < 1), (sp.Abs(x) - sp.S.Half, True)), (-1, 0, 1), ()),
    (sp.Piecewise((0, x <= 0), (sp.exp(-1 / x), True)), (0,), ()),
    (sp.Piecewise((0, (x > -1) & (x < ROOT)), ((x + 1) * (x - ROOT), True)), *((-1, 2**0.5),) * 2),
    (sp.sqrt(x**2 + sp.Rational(1, 100)) + sp.log(4 + x) + sp.tan(x / 3) - 2 / (x**2 + 1), (), ()),
    (ALL[3].expression, (-3 / 11**0.5, 3**-0.5), ()),  # two valleys
]  # fmt: skip


@pytest.mark.parametrize("loss, breaks, kinks", BENT, ids=lambda v: str(v)[:40])
def test_a_landscape_tells_where_its_formula_changes_and_where_its_slope_jumps(loss, breaks, kinks):
    well = line(loss)
    places = sorted({*well.breaks})
    assert all(any(abs(b - found) < 1e-15 for found in places) for b in breaks)
    # where two arguments of Max cross below the third the formula stays the same
    extra = [f for f in places if not any(abs(b - f) < 1e-15 for b in breaks)]
    np.testing.assert_allclose([float(sp.diff(loss, x).subs(x, f + 1e-9).evalf()
                                      - sp.diff(loss, x).subs(x, f - 1e-9).evalf()) for f in extra],
                               0, atol=1e-6)  # fmt: skip
    np.testing.assert_allclose(well.kinks, kinks, atol=1e-15)
    assert set(well.kinks) <= set(places)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(-28, 28), min_size=1, max_size=4, unique=True),
    st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=5, max_size=5),
    st.integers(0, 3),
    st.sampled_from([0, 1e-4, -0.37, 250]),
)
def test_random_pieces_are_joined_or_refused(tenths, bends, torn, height):
    """Parabolas that meet at random places: kinks where slopes differ; a jump anywhere is found."""
    ends = [sp.Rational(t, 10) for t in sorted(tenths)]
    torn %= len(ends)
    pieces, level = [bends[0][0] * (x - ends[0]) + bends[0][1] * (x - ends[0]) ** 2], 0
    kinks = []
    for k, (end, (slope, bend)) in enumerate(zip(ends, bends[1:], strict=False)):
        level = pieces[-1].subs(x, end) + (sp.Float(height) if k == torn else 0)
        pieces.append(level + slope * (x - end) + bend * (x - end) ** 2)
        if sp.diff(pieces[-2] - pieces[-1], x).subs(x, end) != 0:
            kinks.append(float(end))
    conditions = [*(x < end for end in ends), True]
    loss = sp.Piecewise(*zip(pieces, conditions, strict=True))
    if height and isinstance(loss, sp.Piecewise):
        with pytest.raises(ValueError, match=f"jumps from .* at x = {float(ends[torn]):.6g}, by"):
            line(loss)
    else:
        well = line(loss)
        np.testing.assert_allclose(well.kinks, kinks, atol=1e-15)
        joints = np.array([float(e) for e in ends])
        for b in well.breaks:
            assert np.abs(joints - b).min() < 1e-15


JUMPS = [
    (sp.Piecewise((0, x < 1), (2, 2 * x < 3), (0, True)), "from 0 to 2 at x = 1, by x < 1"),
    (sp.Piecewise((x**2 / 2, x < 1), (1 + x**2 / 2, True)), "from 0.5 to 1.5 at x = 1"),
    (sp.Heaviside(x - THIRD) + x**2, "from 0.111111 to 1.11111 at x = 0.333333, by Heaviside"),
    (x**2 - 3 * sp.sign(x + 2), "from 7 to 1 at x = -2, by sign"),
    (sp.Piecewise((1, sp.Abs(x - SEVENTH) < 1e-5), (0, True)), "from 0 to 1 at x = 0.142847"),
    (sp.Piecewise((1, (x - SEVENTH) ** 2 < 1e-10), (0, True)), "from 0 to 1 at x = 0.142847"),
    (sp.Piecewise((0, x < 1), (1, x < 1.00001), (0, True)), "from 0 to 1 at x = 1, "),
    (sp.Piecewise((x, x < 7), (x + 1, True)), "from 7 to 8 at x = 7"),  # where walkers may stray
    (1e-12 * sp.Piecewise((x, x < 1), (2 * x, True)), "from 1e-12 to 2e-12 at x = 1"),
    (1e6 + sp.Piecewise((x, x < 1), (x + 1, True)), "at x = 1"),
    (sp.exp(3 * x) + sp.Piecewise((0, x < -2), (0.01, True)), "at x = -2"),
    (sp.Piecewise((0, x <= 0), (1 / x, True)), "from 0 to inf at x = 0"),
    (sp.cos(x) * sp.Piecewise((1, sp.sin(x) > 0), (2, True)), "by sin"),
]  # fmt: skip


@pytest.mark.parametrize("loss, said", JUMPS, ids=lambda v: str(v)[:40])
def test_a_jump_is_refused_with_its_place_and_what_makes_it(loss, said):
    with pytest.raises(ValueError, match="must be continuous, but it jumps") as error:
        line(loss)
    assert said in str(error.value) and "tanh" in str(error.value)


R2 = x**2 + y**2


def test_in_the_plane_continuity_is_looked_at_along_every_switch():
    for condition in (R2 < 2, x * y > 1, x - 2 * y < sp.Rational(1, 3), (x > 0) & (x + y > 1)):
        with pytest.raises(ValueError, match="jumps"):
            plane(sp.Piecewise((R2, condition), (R2 + 1, True)))
        with pytest.raises(ValueError, match="jumps"):
            plane(sp.Piecewise((R2, condition), (2 * R2 + x, True)))
    for joined in (
        sp.Piecewise((R2, R2 < 2), (3 * R2 - 4, True)),
        sp.Piecewise((R2, x - 2 * y < THIRD), (R2 + (x - 2 * y - THIRD) ** 3, True)),
        sp.Piecewise((0, x * y < 1), (x * y - 1, True)),
        sp.Max(R2, 1 + x * y) + sp.Abs(x - y),
        sp.sqrt(R2),
    ):
        well = plane(joined)
        assert well.switches
        for line_only in ("breaks", "kinks"):
            with pytest.raises(ValueError, match="needs one variable, plane has 2; use switches"):
                getattr(well, line_only)
    assert plane(R2).switches == ()
    assert plane(sp.Abs(x - y)).switches == (x - y,)


BEYOND = [
    (sp.sqrt(x), "where x must be not negative"),
    (sp.log(x + 1), "where x + 1 must be positive"),
    (x - sp.log(x), "where x must be positive"),
    (4 * (x**-12 - x**-6), "where x must be not zero"),
    (1 / (x - sp.Float(0.7123)), "not at x = 0.7123, where x - 0.7123 must be not zero"),
    ((x - sp.Float(0.7123)) ** -2, "not at x = 0.7123"),
    (1 / (x**2 - 2 * x * sp.Rational(7, 9) + sp.Rational(49, 81)), "not at x = 0.777778"),
    (sp.tan(2 * x), "where cos(2*x) must be not zero"),
    ((x + 2) ** sp.Float(-0.7), "where x + 2 must be positive"),
    (x**x, "where x must be positive"),
    (sp.sin(x) / x, "not at x = 0"),
    (sp.exp(400 * x), "got inf at x ="),
    (sp.Piecewise((sp.log(x), x > -1), (0, True)), "where x must be positive"),
]


@pytest.mark.parametrize("loss, said", BEYOND, ids=lambda v: str(v)[:40])
def test_a_loss_that_is_not_real_and_finite_on_its_box_is_refused(loss, said):
    with pytest.raises(ValueError, match="must be real and finite on its box") as error:
        line(loss)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "number", [sp.Float("1e400"), sp.Float("-1e-330", 17), sp.Integer(10) ** 309]
)
def test_a_number_beyond_double_precision_is_refused(number):
    with pytest.raises(ValueError, match="numbers of line must fit double precision, got"):
        line(number * x + x**2)
    assert line(sp.Float("1e-300", 17) * x).value(1.0) == 1e-300


def test_in_the_plane_a_pole_at_one_point_or_beyond_a_line_is_found():
    for loss in (
        1 / ((x - THIRD) ** 2 + (y - sp.sqrt(2)) ** 2),
        sp.log((x + THIRD) ** 2 + (y - 2) ** 2),
        sp.log(x + 2 * y),
        sp.sqrt(1 - x * y),
        1 / (x * y - 1),
    ):
        with pytest.raises(ValueError, match="must be real and finite on its box, but"):
            plane(loss)
    spread = 1 / ((x - THIRD) ** 2 + (y - sp.sqrt(2)) ** 2 + sp.Rational(1, 1000))
    assert plane(spread).value(1 / 3, 2**0.5) == pytest.approx(1000)


def test_a_branch_may_be_singular_where_it_is_not_taken():
    well = line(sp.Piecewise((sp.log(x), x > 1), (x - 1, True)))
    assert well.value(np.array([-2.0, 2.0])) == pytest.approx([-3, np.log(2)])
    assert well.breaks == (1.0,) and well.kinks == ()


def test_a_box_may_be_as_small_as_an_atom():
    length, energy = sp.Float(3.4e-10, 17), sp.Float(1.6e-21, 17)
    bond = 4 * energy * ((length / x) ** 12 - (length / x) ** 6)
    assert line(bond, (0.8 * 3.4e-10, 4 * 3.4e-10)).value(3.4e-10) == pytest.approx(0, abs=1e-30)
    with pytest.raises(ValueError, match="not zero"):
        line(bond, (-3.4e-10, 3.4e-10))
    kinked = sp.Piecewise((x, x < length), (3 * x - 2 * length, True))
    assert line(kinked, (0, 1e-9)).kinks == pytest.approx((3.4e-10,), rel=1e-15)
    with pytest.raises(ValueError, match="jumps"):
        line(kinked + sp.Piecewise((0, x < length), (length / 1000, True)), (0, 1e-9))


@pytest.mark.parametrize("power", [sp.Rational(2, 3), sp.S.Half, sp.Float(0.9)])
def test_an_infinite_slope_on_a_line_is_refused(power):
    with pytest.raises(ValueError, match="slope of line must be finite.* at x = 0.25; round"):
        line(x**2 + sp.Abs(x - 0.25) ** power)
    assert line((x**2 + THIRD) ** power).breaks == ()


@pytest.mark.parametrize(
    "function, name",
    [
        (sp.floor(x), "floor"),
        (sp.ceiling(x), "ceiling"),
        (sp.Mod(x, 2), "Mod"),
        (sp.frac(x), "floor|frac"),
        (sp.LambertW(x + 4), "LambertW"),
        (sp.erf(x), "erf"),
        (sp.acos(x / 4), "acos"),
        (sp.gamma(x + 4), "gamma"),
        (sp.Function("f")(x), "f"),
        (sp.Integral(sp.exp(-(x**2)), (x, 0, x)), "Integral"),
        (sp.Derivative(sp.Function("g")(x), x), "Derivative"),
        (sp.Piecewise((x, sp.Ne(x, 1)), (1, True)), "Unequality"),
        (sp.Sum(x, (sp.Symbol("k"), 1, 2)), "Sum"),
    ],
)
def test_a_function_that_not_all_rooms_know_is_refused_by_name(function, name):
    with pytest.raises(ValueError, match=f"may not use ({name}), got"):
        line(function + x**2)


def test_numbers_that_are_none_and_pieces_without_an_end_are_refused():
    for wrong in (sp.I * x, x + sp.oo, sp.nan * x, sp.zoo + x):
        with pytest.raises(ValueError, match="must be real and finite, got"):
            line(wrong)
    for conditions in ((x < 1,), (x < 0, x > 0), (x < 0, x >= 0)):
        pieces = sp.Piecewise(*zip((x**2, 2 * x**2), conditions, strict=False), evaluate=False)
        with pytest.raises(ValueError, match="Piecewise of line must end in a branch .* True"):
            line(pieces)


CURVED = [
    sp.Max(x, 0, x**2) + sp.Min(x, 1 - x**3) ** 2,
    sp.Abs(sp.sin(3 * x)) + sp.atan(x) * sp.asinh(x) - sp.sinh(x) / 3 + sp.cosh(x),
    (sp.Abs(x - THIRD) - 1) ** 2 * sp.sign(x + 50),
    sp.Heaviside(x - THIRD) * (x - THIRD) * (2 + x) + 2**x,
    sp.Piecewise((sp.exp(x), x < 0), (1 + sp.Abs(x) ** 3, (x < 1) & (x > -9)), (2 * x, True)),
    (1 + x**2) ** x + x**2.0 + sp.log(1 + sp.exp(x)) + sp.sqrt(2 + sp.cos(x)),
]  # fmt: skip


@pytest.mark.parametrize("loss", CURVED, ids=str)
def test_derivatives_almost_everywhere_are_those_of_pytorch_and_of_differences(loss):
    well, points = line(loss, (-2, 2)), np.random.default_rng(1).uniform(-1.9, 1.9, 50)
    points = points[np.abs(points[:, None] - np.array([*well.breaks, 9])).min(axis=1) > 1e-3]
    theta, h = torch.tensor(points), 1e-4
    for order, differentiated in enumerate(
        (well.torch_value, torch.func.grad(well.torch_value), torch.func.hessian(well.torch_value))
    ):
        by_torch = torch.func.vmap(differentiated)(theta)
        assert by_torch.dtype == torch.float64
        np.testing.assert_allclose(well.derivative(points, order), by_torch, rtol=1e-9, atol=1e-12)
        if order:
            low, high = (well.derivative(points + s * h, order - 1) for s in (-1, 1))
            slope = (high - low) / (2 * h)
            np.testing.assert_allclose(well.derivative(points, order), slope, rtol=1e-5, atol=1e-5)
    assert not well.hessian_expression.has(sp.DiracDelta)


def test_the_value_at_a_kink_is_the_mean_of_its_sides_and_no_delta_is_left():
    knife = line((sp.Abs(x) - 2) ** 2 / 2 + 3 * sp.Max(x, -5 * x))
    assert knife.derivative(0.0) == pytest.approx((3 - 15 + 2 - 2) / 2)
    assert knife.derivative(0.0, 2) == knife.derivative(1.0, 2) == 1
    assert knife.hessian_expression[0] == 1
    assert knife.derivative(np.array([-1.0, 1.0]), 3).tolist() == [0, 0]
    cusp = line(sp.Abs(x) ** sp.Rational(4, 3))
    assert cusp.derivative(0.0) == 0 and cusp.derivative(0.0, 2) == np.inf


def test_a_kinked_landscape_seen_through_a_lens():
    well = line(sp.Max(x - 1, -3 * x) + x**2 / 7)
    assert well.kinks == (0.25,)
    assert well.rescaled(9).kinks == pytest.approx((0.25 / 3,), rel=1e-15)


BOX = ((-1, 1),)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((x**2, (sp.Symbol("z"),), "w", BOX), "real SymPy symbols"),
        ((x**2, ("x",), "w", BOX), "real SymPy symbols"),
        ((x**2, (), "w", ()), "at least one"),
        ((x**2, (x, x), "w", BOX * 2), "distinct"),
        ((x**2 + y, (x,), "w", BOX), "got also {y}"),
        ((x**2, (x,), "w", ((1, -1),)), "low < high"),
        ((x**2, (x,), "w", ((-np.inf, 1),)), "finite"),
        ((x**2, (x,), "w", BOX * 2), "each of the 1 variables"),
        ((x**2, (x,), "w", (-2, 2)), r"got \(-2, 2\); in one dimension write \(\(low, high\),\)"),
        ((x**2, (x,), "w", (("a", 1),)), "finite"),
        ((x**2, (x,), "w", ((-1j, 1),)), "finite"),
        ((x**2, (x,), "w", None), "box must hold"),
        (("x**2", (x,), "w", BOX), "must be a SymPy expression"),
        ((None, (x,), "w", BOX), "must be a SymPy expression"),
        ((sp.Matrix([x]), (x,), "w", BOX), "must be a SymPy expression"),
        ((x > 0, (x,), "w", BOX), "must be a SymPy expression"),
    ],
)
def test_a_bad_landscape_is_refused(arguments, said):
    expression, variables, name, box = arguments
    with pytest.raises(ValueError, match=said):
        Landscape(expression, variables, name=name, box=box)


def test_one_variable_and_a_number_need_no_brackets():
    assert Landscape(3, x, name="plain", box=BOX) == Landscape(sp.S(3), (x,), name="plain", box=BOX)


def test_bad_coordinates_are_refused():
    well = catalog.rotated_double_well()
    with pytest.raises(ValueError, match="one coordinate per variable, 2 in all, got 1"):
        well.value(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="one coordinate per variable, 2 in all, got 1"):
        well.torch_value(torch.zeros(3))
    with pytest.raises(ValueError, match="must be tensors"):
        well.torch_value(0.0, 1.0)
    for wrong in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match=f"y must be finite, got {wrong}"):
            well.gradient(0.0, wrong)
    for wrong in ("1", 1j, None, [0, "a"]):
        with pytest.raises(ValueError, match="x must be (an array of real numbers|finite)"):
            well.value(wrong, 0.0)
    with pytest.raises(ValueError, match="y must be an array of real numbers, got 1000"):
        well.value(0.0, 10**400)
    apart = r"x and y must have one shape, got x of shape \(2,\), y of shape \(3,\)"
    for call in (well.value, well.gradient, WhiteNoise(0.1).diffusion):
        with pytest.raises(ValueError, match=apart):
            call(*([well] if call.__name__ == "diffusion" else []), np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match=apart):
        well.torch_value(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="derivative needs one variable"):
        well.derivative(0.0)
    for order in (-1, 1.5, "1", None):
        with pytest.raises(ValueError, match="order must be"):
            catalog.quartic().derivative(0.0, order)
    for k in (0, -1, np.nan, "2", 1j, None):
        with pytest.raises(ValueError, match="sharpness must be a finite real number, above 0"):
            well.rescaled(k)


@pytest.mark.parametrize(
    "promise",
    [dict(positive=True), dict(nonpositive=True), dict(integer=True), dict(rational=True)],
)
def test_a_symbol_that_promises_more_than_its_box_keeps_is_refused(promise):
    # SymPy writes sqrt(p**2) as p or −p, and sin(π n) as 0
    p = sp.Symbol("p", **promise)
    with pytest.raises(ValueError, match="free to be anywhere in their box, got p from -2 to 3"):
        Landscape(sp.sqrt(p**2), (p,), name="cone", box=((-2, 3),))


def test_a_positive_symbol_is_taken_where_its_box_is_positive():
    p = sp.Symbol("p", positive=True)
    assert Landscape(p**3, (p,), name="cube", box=((0, 3),)).value(2) == 8


@pytest.mark.parametrize("power", [19, 25, 200])
def test_a_whole_number_of_any_length_is_a_number(power):
    x = sp.Symbol("x", real=True)
    loss = sp.sqrt(10**power * (3 + x**2))
    well = Landscape(loss, (x,), name="far", box=((-1, 2),))
    assert well.value(1.0) == pytest.approx(2 * 10 ** (power / 2), rel=1e-14)
    assert well.derivative(1.0) == pytest.approx(10 ** (power / 2) / 2, rel=1e-14)


def test_a_truth_value_is_no_loss():
    x = sp.Symbol("x", real=True)
    with pytest.raises(ValueError, match="expression must be a SymPy expression, got True"):
        Landscape(True, (x,), name="yes", box=((-1, 1),))
