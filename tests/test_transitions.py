"""Committors, reactive currents and rates against closed forms, quadrature and passage times."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import dblquad, quad, trapezoid

from ddt_utils import catalog, exact
from ddt_utils.criterion import Beyond
from ddt_utils.generator import fokker_planck
from ddt_utils.landscape import Landscape
from ddt_utils.noise import CONVENTIONS, StateDependentNoise, WhiteNoise
from ddt_utils.transitions import probability_current, transition_paths, transition_rate

WELL = catalog.quartic()
(x,) = WELL.variables
y = sp.Symbol("y", real=True)
TILTED = Landscape(
    x**4 / 4 - x**2 / 2 + x / 9, (x,), name="tilted", box=((-sp.Rational(5, 2), sp.Rational(9, 4)),)
)
PLANE = Landscape(
    x**4 / 4 - x**2 / 2 + x / 20 + 0.7 * y**2 + x * y / 5,
    (x, y),
    name="plane",
    box=((-2.1, 2.1), (-1.75, 1.75)),
)


def turned(strength):
    """The drift −∇L + s·(∂L/∂y, −∂L/∂x), which leaves exp(−L/D) at rest."""
    a, b = PLANE.gradient_expression
    return -a + strength * b, -b - strength * a


def crossing(cells=(84, 70), strength=0.75, d=0.12, **options):
    grid = fokker_planck(PLANE, WhiteNoise(d), cells=cells, drift=turned(strength), **options)
    return transition_paths(grid, source=x <= -0.9, target=x >= 0.8)


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
def test_on_a_line_a_round_trip_takes_both_passages(convention):
    """ν (T_ab + T_ba) = 1 and k_ab T_ab = 1: each passage by quadrature. Of second order."""
    noise = StateDependentNoise((1 + x**2 / 3) / 7)
    there = exact.mean_first_passage_time(
        TILTED, noise, start=-0.8, upper=0.7, convention=convention
    )
    back = exact.mean_first_passage_time(
        TILTED, noise, start=0.7, lower=-0.8, convention=convention
    )
    errors = []
    for cells in (240, 480):
        grid = fokker_planck(
            TILTED, noise, cells=cells, box=((-3.05, 2.95),), convention=convention
        )  # −0.8 and 0.7 are nodes
        found = transition_paths(grid, source=x <= -0.8, target=x >= 0.7)
        assert np.abs(found.backward - (1 - found.forward)).max() < 1e-10
        errors.append(
            (
                found.rate * (there + back) - 1,
                found.leaving_rate * there - 1,
                found.returning_rate * back - 1,
            )
        )
    assert np.abs(errors[1]).max() < 2e-4
    assert np.divide(*errors) == pytest.approx(4, abs=0.1)


def test_an_extrapolated_rate_is_that_of_quadrature_and_knows_its_error():
    noise, ends = WhiteNoise(0.09), {"source": x <= -0.8, "target": x >= 0.7}
    there = exact.mean_first_passage_time(TILTED, noise, start=-0.8, upper=0.7)
    back = exact.mean_first_passage_time(TILTED, noise, start=0.7, lower=-0.8)
    found = transition_rate(TILTED, noise, cells=80, box=((-3.05, 2.95),), **ends)
    error = abs(found.value * (there + back) - 1)
    assert error < 1e-5
    assert error <= 3 * found.error * (there + back)
    for cells in (67, 83):  # edges between nodes, at the same node of all three grids
        between = transition_rate(TILTED, noise, cells=cells, box=((-3.05, 2.95),), **ends)
        error = abs(between.value * (there + back) - 1)
        assert 1e-3 < error < between.error * (there + back) < 0.1


def test_committor_density_and_duration_are_those_of_quadrature():
    d, a, b = 0.15, -0.75, 0.6
    grid = fokker_planck(TILTED, WhiteNoise(d), cells=700, box=((-2.4, 2.25),))
    a, b = (float(grid.axes[0][np.argmin(np.abs(grid.axes[0] - v))]) for v in (a, b))
    found = transition_paths(grid, source=x <= a, target=x >= b)

    def up(z):
        return np.exp(TILTED.value(z) / d)

    whole = quad(up, a, b)[0]
    total = quad(lambda z: 1 / up(z), -2.4, 2.25)[0]
    places = grid.axes[0][(grid.axes[0] > a) & (grid.axes[0] < b)]
    truth = np.array([quad(up, a, z)[0] for z in places]) / whole
    np.testing.assert_allclose(found.forward[~(found.source | found.target)], truth, atol=2e-5)
    rate = d / whole / total
    assert found.rate == pytest.approx(rate, rel=2e-5)
    on_way = np.interp(places, grid.axes[0], found.reactive_density)
    np.testing.assert_allclose(on_way, truth * (1 - truth) / up(places) / total, rtol=1e-3)
    duration = trapezoid(truth * (1 - truth) / up(places), places) / total / rate
    assert found.duration == pytest.approx(duration, rel=1e-3)


def test_a_ring_with_a_wind_is_known_in_closed_form():
    """Constant drift v: exponentials on both arcs; backward in time the wind turns. Exact."""
    v, d, b = 0.7, 0.3, 0.35
    ring = Landscape(0 * x, (x,), name="ring", box=((0, 1),))
    grid = fokker_planck(ring, WhiteNoise(d), cells=140, drift=(v,), periodic=True)
    found = transition_paths(grid, source=sp.Eq(x, 0), target=sp.Eq(x, sp.Rational(7, 20)))
    places = grid.axes[0]

    def committor(z, wind):  # to b before 0 or 1
        low, high = (1 - np.exp(-wind * z / d)), np.exp(-wind * z / d) - np.exp(-wind / d)
        near = 1 - np.exp(-wind * b / d)
        far = np.exp(-wind * b / d) - np.exp(-wind / d)
        return np.where(z <= b, low / near, high / far)

    np.testing.assert_allclose(found.forward, committor(places, v), atol=1e-11)
    np.testing.assert_allclose(found.backward, 1 - committor(places, -v), atol=1e-11)
    rate = v / (1 - np.exp(-v * b / d)) + v / (np.exp(v * (1 - b) / d) - 1)
    assert found.rate == pytest.approx(rate, rel=1e-10)
    share = quad(lambda z: 1 - committor(z, -v), 0, 1, points=[b])[0]
    assert found.share == pytest.approx(share, rel=1e-4)
    assert found.stationary == pytest.approx(1, rel=1e-12)
    assert probability_current(grid, found.stationary)[0] == pytest.approx(v, rel=1e-12)


def test_the_current_of_a_tilted_ring_is_stratonovichs():
    """J = D (1 − e^{−F/D}) / ∫∫ exp((L(z + u) − L(z))/D), Stratonovich 1958; not one link off."""
    d, force = 0.13, 0.45
    loss = sp.sin(2 * sp.pi * x) / 8 + sp.cos(4 * sp.pi * x) / 30 - force * x
    ring = Landscape(loss, (x,), name="ring", box=((-0.3, 0.7),))

    def ratio(u, z):
        return np.exp((ring.value(z + u) - ring.value(z)) / d)

    truth = d * (1 - np.exp(-force / d)) / dblquad(ratio, 0, 1, 0, 1)[0]
    errors = []
    for cells in (50, 100):
        grid = fokker_planck(ring, WhiteNoise(d), cells=cells, periodic=True)
        current = probability_current(grid, grid.stationary())[0]
        assert np.ptp(current) < 1e-9 * truth
        errors.append(current[0] / truth - 1)
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.1)
    assert abs(errors[1]) < 1e-3
    flat = fokker_planck(
        ring, WhiteNoise(d), cells=50, drift=(-sp.sin(2 * sp.pi * x),), periodic=True
    )
    assert flat.log_weight is not None
    assert np.abs(probability_current(flat, flat.stationary())).max() < 1e-12


def test_backwards_in_time_the_wind_turns():
    """q⁻ of −∇L + J∇L against 1 − q⁺ of −∇L − J∇L, an independent solution. Of second order."""
    errors = []
    for cells in ((42, 35), (84, 70)):
        found, reverse = crossing(cells), crossing(cells, strength=-0.75)
        weight = found.stationary * found.operator.volumes
        errors.append(np.sum(weight * np.abs(found.backward - (1 - reverse.forward))))
        apart = np.sum(weight * np.abs(found.backward - (1 - found.forward)))
    assert errors[0] / errors[1] == pytest.approx(4, abs=1.0)
    assert errors[1] < 0.004
    assert apart > 5 * errors[1]


def test_the_flux_is_the_same_through_every_surface():
    found = crossing()
    conditions = (x < -0.9 + 0.01, x < 0, x + y / 5 < 0.3, x <= 0.75)
    for condition in conditions:
        assert found.flux(condition) == pytest.approx(found.rate, rel=1e-9)
    assert found.flux(y < 0) == pytest.approx(0, abs=2 * found.rate)  # cuts A and B
    backward = transition_paths(found.operator, source=x >= 0.8, target=x <= -0.9)
    assert backward.rate == pytest.approx(found.rate, rel=1e-9)
    assert backward.flux(x < 0.2) == pytest.approx(-found.rate, rel=1e-9)
    # the current's field, integrated across: along y a wall's node has half a cell
    across = np.sum(found.current[0] * found.operator.volumes, axis=1)
    across = across / np.diff(found.operator.axes[0]).mean()
    middle = (found.operator.axes[0] > -0.84) & (found.operator.axes[0] < 0.74)
    np.testing.assert_allclose(across[middle], found.rate, rtol=1e-9)


def test_the_rate_is_one_over_the_passage_from_where_walkers_arrive():
    """1/k = Σ (arrivals at A) · T_B, with T_B from the operator that absorbs at B."""
    found = crossing()
    home = transition_paths(found.operator, source=x >= 0.8, target=x <= -0.9)
    absorbing = fokker_planck(
        PLANE, WhiteNoise(0.12), cells=(84, 70), drift=turned(0.75), exit=x >= 0.8
    )
    arrivals = np.asarray(home.flows.sum(axis=1)).ravel() * found.source.ravel()
    time = absorbing.mean_first_passage_time().ravel()
    mean = arrivals @ time / arrivals.sum()
    assert found.leaving_rate * mean == pytest.approx(1, rel=1e-8)
    total = 1 / found.leaving_rate + 1 / found.returning_rate
    assert found.rate * total == pytest.approx(1, rel=1e-9)


def test_a_rotation_speeds_up_the_escape_as_known():
    """Bouchet and Reygner 2016: the rate is multiplied by λ₊ over its value without rotation."""
    d = 0.06
    slope = sp.Matrix(PLANE.gradient_expression)
    top = sp.nsolve(slope, (x, y), (0.05, 0))
    hessian = slope.jacobian((x, y)).subs({x: top[0], y: top[1]})

    def unstable(s):
        matrix = -sp.Matrix([[1, -s], [s, 1]]) * hessian
        return np.linalg.eigvals(np.array(matrix, dtype=float)).real.max()

    rates = []
    for cells in ((84, 70), (168, 140)):
        calm, turning = (crossing(cells, strength=s, d=d).leaving_rate for s in (0.0, 1.5))
        rates.append(turning / calm)
    ratio = (4 * rates[1] - rates[0]) / 3
    assert unstable(1.5) / unstable(0) > 1.4
    assert ratio == pytest.approx(unstable(1.5) / unstable(0), rel=0.06)


def test_turning_the_plane_changes_nothing():
    """A full D, sets whose edges are oblique, a criterion: the line's rate."""
    c, s = np.cos(0.4), np.sin(0.4)
    along, across = c * x + s * y, c * y - s * x
    loss = along**4 / 4 - along**2 / 2 + across**2
    plane = Landscape(loss, (x, y), name="turned", box=((-2.4, 2.4), (-2.2, 2.2)))
    turn = np.array([[c, s], [-s, c]])
    full = StateDependentNoise(sp.Matrix(turn.T @ np.diag([0.16, 0.05]) @ turn))
    grid = fokker_planck(plane, full, cells=(144, 132))
    found = transition_paths(
        grid,
        source=along <= -0.8,
        target=Beyond((0.8 * c, 0.8 * s), (c, s)),
    )
    truth = 0.5 / exact.mean_first_passage_time(WELL, WhiteNoise(0.16), start=-0.8, upper=0.8)
    assert found.rate == pytest.approx(truth, rel=0.03)  # oblique edges: of first order
    assert np.abs(found.backward - (1 - found.forward))[found.stationary > 1e-6].max() < 0.01


def test_where_nobody_comes_the_backward_committor_is_unknown():
    frozen = fokker_planck(
        PLANE, WhiteNoise(0.02), cells=(24, 20), box=((-4, 4), (-5, 5)), drift=turned(0.1)
    )
    found = transition_paths(frozen, source=x <= -1, target=x >= 1)
    unknown = np.isnan(found.backward)
    assert np.all(found.stationary[unknown] == 0)
    assert np.isfinite([found.rate, found.share, found.duration, found.current.max()]).all()
    wide = fokker_planck(WELL, WhiteNoise(0.02), cells=120, box=((-6, 6),))
    found = transition_paths(wide, source=x <= -1, target=x >= 0.3)
    assert np.any(found.stationary == 0)
    np.testing.assert_allclose(found.backward, 1 - found.forward, atol=1e-12)
    line = fokker_planck(WELL, WhiteNoise(0.001), cells=80, box=((-3, 3),))
    with pytest.raises(ArithmeticError, match="rounding leaks"):
        transition_paths(line, source=x <= -1.6, target=x >= 1.6)


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (x <= -3, x >= 1, "source must hold at some node"),
        (x <= -1, x >= 5, "target must hold at some node"),
        (x <= 0, x >= 0, "no node in common"),
        (x < 0.01, x > 0.02, "some between"),
        ("x < 0", x > 1, "must be a SymPy relational"),
        (y < 0, x > 1, "may use only the variables"),
    ],
)
def test_sets_that_make_no_sense_are_refused(source, target, words):
    grid = fokker_planck(WELL, WhiteNoise(0.1), cells=40)
    with pytest.raises(ValueError, match=words):
        transition_paths(grid, source=source, target=target)


def test_an_operator_must_be_closed():
    leaking = fokker_planck(WELL, WhiteNoise(0.1), cells=40, exit=x > 1)
    with pytest.raises(ValueError, match="without exit"):
        transition_paths(leaking, source=x < -1, target=x > 0)
    with pytest.raises(ValueError, match="without exit"):
        probability_current(leaking, leaking.slowest_density())
    with pytest.raises(ValueError, match="must be a FokkerPlanck"):
        transition_paths(WELL, source=x < -1, target=x > 0)
    closed = fokker_planck(WELL, WhiteNoise(0.1), cells=40)
    with pytest.raises(ValueError, match="shape of the grid"):
        probability_current(closed, np.ones(7))


def test_transitions_too_rare_for_floats_have_no_rate_zero():
    grid = fokker_planck(WELL, WhiteNoise(0.25 / 800), cells=200)
    with pytest.raises(ArithmeticError, match="their rate is below 1e-308"):
        transition_paths(grid, source=x <= -1, target=x >= 1)
