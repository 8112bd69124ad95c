"""The Fokker–Planck operator against quadrature, closed forms and a dense matrix exponential."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import cumulative_simpson, simpson
from scipy.interpolate import RegularGridInterpolator
from scipy.linalg import expm, solve_continuous_lyapunov
from scipy.special import jn_zeros

from ddt_utils import catalog, exact
from ddt_utils._mesh import Mesh, share
from ddt_utils.generator import decay_rates, fokker_planck
from ddt_utils.landscape import Landscape
from ddt_utils.noise import CONVENTIONS, HessianNoise, StateDependentNoise, WhiteNoise

WELL = catalog.quartic()
(x,) = WELL.variables
y = sp.Symbol("y", real=True)
HOT = StateDependentNoise((1 + x**2) / 25)
BOWL = Landscape(x**2 / 2, (x,), name="bowl", box=((-6, 6),))


def at(operator, value):
    return int(np.argmin(np.abs(operator.axes[0] - value)))


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
def test_stationary_density_is_that_of_quadrature(convention):
    errors = []
    for cells in (100, 200):
        operator = fokker_planck(WELL, HOT, cells=cells, box=((-3, 3),), convention=convention)
        truth = exact.stationary_density(WELL, HOT, operator.axes[0], convention=convention)
        errors.append(np.max(np.abs(operator.stationary() - truth)) / truth.max())
        assert operator.average(1, operator.stationary()) == pytest.approx(1, rel=1e-12)
    assert errors[1] < 1e-5
    wrong = exact.stationary_density(
        WELL, HOT, operator.axes[0], convention="ito" if convention != "ito" else "isothermal"
    )
    assert np.max(np.abs(operator.stationary() - wrong)) > 0.05


def test_stationary_density_of_white_noise_is_boltzmann_at_the_nodes():
    operator = fokker_planck(WELL, WhiteNoise(0.1), cells=60)
    density = operator.stationary()
    assert np.allclose(density, density[30] * np.exp(-WELL.value(operator.axes[0]) / 0.1))
    assert np.max(np.abs(operator.matrix @ density)) < 1e-10


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
def test_first_passage_times_converge_to_quadrature_at_second_order(convention):
    truth = exact.mean_first_passage_time(WELL, HOT, start=-1, upper=1, convention=convention)
    errors = []
    for cells in (400, 800):
        operator = fokker_planck(
            WELL, HOT, cells=cells, box=((-3, 1),), exit=x >= 1, convention=convention
        )
        errors.append(operator.mean_first_passage_time()[at(operator, -1)] / truth - 1)
    assert abs(errors[1]) < 1e-4
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.05)


def test_rates_of_the_parabola_are_the_integers():
    """Hermite polynomials: the rates of dx = −x dt + √(2D) dW are 0, 1, 2, …"""
    rates = decay_rates(BOWL, WhiteNoise(0.5), count=5)
    assert rates.values == pytest.approx(np.arange(5), abs=1e-9)
    assert np.all(np.abs(rates.values - np.arange(5)) <= 10 * rates.errors + 1e-12)


def test_rates_of_a_free_walker_between_two_walls_or_two_exits():
    flat = Landscape(0 * x, (x,), name="flat", box=((0, 1),))
    truth = 0.3 * (np.pi * np.arange(4)) ** 2
    assert decay_rates(flat, WhiteNoise(0.3), count=4).values == pytest.approx(truth, rel=1e-9)
    gone = sp.Or(x <= 0, x >= 1)
    ends = decay_rates(flat, WhiteNoise(0.3), count=3, exit=gone).values
    assert ends == pytest.approx(truth[1:], rel=1e-9)
    mixed = decay_rates(flat, WhiteNoise(0.3), count=3, exit=x <= 0).values
    assert mixed == pytest.approx(0.3 * (np.pi * (np.arange(3) + 0.5)) ** 2, rel=1e-9)


def test_an_exit_in_the_middle_leaves_two_chains():
    flat = Landscape(0 * x, (x,), name="flat", box=((-1, 1),))
    found = fokker_planck(flat, WhiteNoise(1.0), cells=800, exit=sp.And(x >= 0, x <= 0))
    quarter = (np.pi / 2) ** 2  # each side: one wall, one exit
    assert found.decay_rates(4) == pytest.approx([quarter, quarter, 9 * quarter, 9 * quarter], 1e-4)


def test_a_barrier_of_thirty_noises_costs_no_digits():
    """λ₁ of the closed double well against the mean time to leave its equilibrium by the saddle."""
    d = 0.25 / 30
    rate = decay_rates(WELL, WhiteNoise(d)).values[1]
    left = exact.mean_first_passage_time(WELL, WhiteNoise(d), start=-1, upper=0)
    z = np.linspace(-2, 0, 400_001)
    down, up = (np.exp(sign * (z**4 / 4 - z**2 / 2) / d) for sign in (-1, 1))
    below = cumulative_simpson(down, x=z, initial=0)
    mean = simpson(up * below**2, x=z) / below[-1] / d
    assert rate == pytest.approx(1 / mean, rel=1e-7)
    assert rate * left == pytest.approx(1, rel=1e-6)


def test_rates_add_where_the_coordinates_are_independent():
    """In the plane the rates of a sum are all sums of the rates of its parts."""
    u, v = sp.symbols("u v", real=True)
    loss = u**4 / 4 - u**2 / 2 + v**2
    plane = Landscape(loss, (u, v), name="plane", box=((-2.2, 2.2), (-2.5, 2.5)))
    found = decay_rates(plane, WhiteNoise(0.2), count=4)
    line = decay_rates(WELL, WhiteNoise(0.2), count=3, box=((-2.2, 2.2),)).values
    truth = np.sort([line[0], line[1], line[2], line[0] + 2.0, line[1] + 2.0])[:4]
    assert found.values == pytest.approx(truth, rel=2e-6, abs=1e-12)


def test_turning_the_plane_changes_no_rate():
    found = decay_rates(catalog.rotated_double_well(angle=sp.pi / 5), WhiteNoise(0.15))
    line = decay_rates(WELL, WhiteNoise(0.15)).values[1]
    assert found.values[1] == pytest.approx(line, rel=1e-5)


def test_a_density_evolves_as_an_independent_exponential_says():
    operator = fokker_planck(WELL, HOT, cells=50)
    start = operator.point_mass(-1)
    found = operator.evolve(start, [0, 0.3, 2.0])
    dense = operator.matrix.toarray()
    assert np.array_equal(found[0], start)
    for time, density in zip((0.3, 2.0), found[1:], strict=True):
        assert np.allclose(density, expm(dense * time) @ start, atol=1e-12)
        assert operator.average(1, density) == pytest.approx(1, rel=1e-12)
        assert density.min() >= -1e-14


def test_values_that_would_be_added_up_over_more_than_the_grid_are_refused():
    """Three functions at once, a column, both coordinates: each was summed over, without a word."""
    line = fokker_planck(catalog.quartic(), WhiteNoise(0.25), cells=60)
    plane = fokker_planck(catalog.rotated_double_well(), WhiteNoise(0.3), cells=(12, 14))
    for grid, odd in (
        (line, np.full((3, 61), 0.5)),
        (line, np.full((61, 1), 0.5)),
        (line, np.ones(60)),
        (plane, np.array(plane.points)),
        (plane, np.ones(13)),
    ):
        with pytest.raises(ValueError, match=r"one function at a time"):
            grid.average(odd, grid.stationary())
    assert plane.average(np.full((13, 1), 0.5), plane.stationary()) == pytest.approx(0.5)
    assert line.average(line.points, line.stationary()) == pytest.approx(0, abs=1e-12)


def test_a_parabola_s_mean_and_variance_relax_as_known():
    operator = fokker_planck(BOWL, WhiteNoise(0.25), cells=600)
    density = operator.evolve(operator.point_mass(2), [0.7])[0]
    mean = operator.average(operator.axes[0], density)
    variance = operator.average((operator.axes[0] - mean) ** 2, density)
    assert mean == pytest.approx(2 * np.exp(-0.7), rel=1e-3)
    assert variance == pytest.approx(0.25 * (1 - np.exp(-1.4)), rel=2e-3)


def test_noise_that_does_not_fit_the_landscape_ends_in_the_gaussian_of_lyapunov():
    """No detailed balance: D = diag(1, 3)/10 in a bowl with a coupled Hessian."""
    bowl = Landscape(x**2 + x * y + y**2, (x, y), name="bowl", box=((-3, 3), (-3, 3)))
    noise = StateDependentNoise((sp.Rational(1, 10), sp.Rational(3, 10)))
    operator = fokker_planck(bowl, noise, cells=120)
    assert operator.log_weight is None
    density, (a, b) = operator.stationary(), operator.points
    hessian = np.array([[2.0, 1.0], [1.0, 2.0]])
    truth = solve_continuous_lyapunov(hessian, 2 * np.diag([0.1, 0.3]))
    found = [[operator.average(p * q, density) for q in (a, b)] for p in (a, b)]
    assert np.allclose(found, truth, atol=2e-3 * truth.max())
    slow = decay_rates(bowl, noise, cells=30)
    assert slow.values == pytest.approx([0, 1], abs=1e-3)  # the smaller curvature


def test_hessian_noise_in_the_plane():
    """D ∝ H in a quadratic valley: both directions equally wide, covariance η/2B."""
    bowl = Landscape(2 * x**2 + y**2 / 2, (x, y), name="bowl", box=((-2, 2), (-2, 2)))
    noise = HessianNoise(learning_rate=0.2, batch_size=1)
    operator = fokker_planck(bowl, noise, cells=160)
    density, (a, b) = operator.stationary(), operator.points
    for values, truth in ((a**2, 0.1), (b**2, 0.1), (a * b, 0.0)):
        assert operator.average(values, density) == pytest.approx(truth, abs=3e-4)


def test_slowest_density_leaves_as_a_whole():
    operator = fokker_planck(WELL, WhiteNoise(0.08), cells=300, box=((-2.5, 1),), exit=x >= 1)
    density, (rate,) = operator.slowest_density(), operator.decay_rates(1)
    later = operator.evolve(density, [5.0])[0]
    assert np.allclose(later, density * np.exp(-5 * rate), atol=1e-9)
    mean = operator.average(operator.mean_first_passage_time(), density)
    assert mean == pytest.approx(1 / rate, rel=1e-9)


def test_first_passage_in_the_plane_against_quadrature_on_the_line():
    plane = catalog.rotated_double_well(angle=0, stiffness=2)
    a, _ = plane.variables
    operator = fokker_planck(
        plane, WhiteNoise(0.125), cells=(240, 60), box=((-2.4, 1), (-1.5, 1.5)), exit=a >= 1
    )
    time = operator.mean_first_passage_time()[at(operator, -1), 30]
    truth = exact.mean_first_passage_time(WELL, WhiteNoise(0.125), start=-1, upper=1)
    assert time == pytest.approx(truth, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cells": 3}, "cells must be integers"),
        ({"cells": 40.5}, "cells must be integers"),
        ({"cells": 5_000_000}, "nodes"),
        ({"box": ((1, -1),)}, "box must hold"),
        ({"exit": x > 5}, "does the box reach the exit"),
        ({"exit": x > -9}, "leave others inside"),
        ({"exit": y > 0}, "exit may use only the variables"),
        ({"exit": "x > 1"}, "exit must be a SymPy relational"),
        ({"convention": "strato"}, "convention must be one of"),
        ({"noise": StateDependentNoise(x)}, "diffusion must be positive"),
        ({"noise": StateDependentNoise(x**2)}, "diffusion must be positive"),
    ],
)
def test_bad_input_is_named(change, words):
    options = {"noise": WhiteNoise(0.1), "cells": 40} | change
    with pytest.raises(ValueError, match=words):
        fokker_planck(WELL, options.pop("noise"), **options)


def test_other_refusals():
    u, v = catalog.rotated_double_well().variables
    matrix = StateDependentNoise(sp.Matrix([[2 + u**2, 1], [1, 2 + v**2]]))
    with pytest.raises(ValueError, match="its factor"):
        fokker_planck(catalog.rotated_double_well(), matrix, cells=20, convention="stratonovich")
    with pytest.raises(ValueError, match="one or two variables"):
        fokker_planck(catalog.styblinski_tang(dimension=3), WhiteNoise(1.0), cells=20)
    closed = fokker_planck(WELL, WhiteNoise(0.1), cells=40)
    for needs_exit in (closed.mean_first_passage_time, closed.slowest_density):
        with pytest.raises(ValueError, match="needs an exit"):
            needs_exit()
    leaking = fokker_planck(WELL, WhiteNoise(0.1), cells=40, exit=x > 1)
    with pytest.raises(ValueError, match="closed domain"):
        leaking.stationary()
    with pytest.raises(ValueError, match="times must be"):
        closed.evolve(closed.stationary(), [2, 1])
    with pytest.raises(ValueError, match="shape of the grid"):
        closed.evolve(np.ones(3), [1])
    with pytest.raises(ValueError, match="count must be a whole number"):
        closed.decay_rates(40)
    frozen = fokker_planck(WELL, WhiteNoise(0.25 / 40), cells=400, exit=x > 1)
    with pytest.raises(ArithmeticError, match="rounding leaks"):
        frozen.mean_first_passage_time()


def test_slow_rates_of_the_plane_keep_their_digits():
    """An asymmetric double well times a valley; the line gives the truth. 36 and 24 D high."""
    u, v = sp.symbols("u v", real=True)
    loss, d = u**4 / 4 - u**2 / 2 + u / 20, 0.25 / 30
    plane = Landscape(loss + 0.7 * v**2, (u, v), name="plane", box=((-1.9, 1.8), (-0.8, 0.8)))
    line = Landscape(loss.subs(u, x), (x,), name="line", box=((-1.9, 1.8),))
    truth = decay_rates(line, WhiteNoise(d)).values[1]
    assert truth < 1e-11
    found = decay_rates(plane, WhiteNoise(d), cells=(80, 40))
    assert found.values[1] == pytest.approx(truth, rel=1e-6)
    assert abs(found.values[1] - truth) <= found.errors[1] + 1e-9 * truth
    # currents that circulate: two noises, of which the first decides
    turned = StateDependentNoise((sp.Float(d), sp.Float(1.3 * d)))
    other = decay_rates(plane, turned, cells=(80, 40))
    assert other.values[1] == pytest.approx(truth, rel=1e-6)
    assert abs(other.values[1] - truth) <= other.errors[1] + 1e-9 * truth


def test_two_slow_rates_in_front_of_an_exit():
    """Two valleys that empty through their own sides, 33 and 25 D high, and meet nowhere."""
    u, v = sp.symbols("u v", real=True)
    loss, d = -sp.cos(u) / 4 * (1 + u / 20), 0.25 / 15
    plane = Landscape(loss + 0.7 * v**2, (u, v), name="plane", box=((-3, 9), (-1, 1)))
    line = Landscape(loss.subs(u, x), (x,), name="line", box=((-3, 9),))
    gone = [sp.And(w >= 3, w <= 3.25) for w in (u, x)]
    found = decay_rates(plane, WhiteNoise(d), cells=(96, 24), exit=gone[0], count=2)
    truth = decay_rates(line, WhiteNoise(d), cells=96, exit=gone[1], count=2)
    assert truth.values[0] < 1e-11
    np.testing.assert_allclose(found.values, truth.values, rtol=1e-6)
    assert np.all(np.abs(found.values - truth.values) <= found.errors + 1e-9 * truth.values)


@pytest.mark.parametrize("edge", [1 / 3, 0.7, np.sqrt(2) / 2, 0.1 + 0.2])
@pytest.mark.parametrize("kind", [sp.Ge, sp.Gt])
def test_a_node_on_the_edge_of_the_exit_absorbs(edge, kind):
    """SymPy prints 15 digits, and the node is rounded on its own; both are on the edge."""
    width = edge + 2.1
    operator = fokker_planck(
        WELL, WhiteNoise(0.2), cells=60, box=((-2.1, edge),), exit=kind(x, edge)
    )
    assert not operator.inside[-1] and operator.inside[-2]
    beyond = fokker_planck(
        WELL, WhiteNoise(0.2), cells=63, box=((-2.1, edge + width / 20),), exit=kind(x, edge)
    )
    assert np.count_nonzero(~beyond.inside) == 4
    times = operator.mean_first_passage_time()[:50], beyond.mean_first_passage_time()[:50]
    np.testing.assert_allclose(*times, rtol=1e-10)


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
@pytest.mark.parametrize("cells", [137, 200])
def test_jumps_of_the_noise_and_kinks_of_the_loss(convention, cells):
    """Of second order wherever the jump lies between the nodes, or on one of them."""
    noise = StateDependentNoise(sp.Piecewise((0.3, x < -0.3), (0.11, True)))
    loss = Landscape(sp.Abs(x + sp.Rational(2, 5)) / 3 + x**2 / 7, (x,), name="V", box=((-4, 0.5),))
    truth = exact.mean_first_passage_time(
        loss, noise, start=-0.85, upper=0.5, convention=convention
    )
    sizes, errors = (cells, 4 * cells), []
    for count in sizes:
        operator = fokker_planck(
            loss, noise, cells=3 * count, box=((-3.55, 0.5),), exit=x >= 0.5, convention=convention
        )  # −0.85 is a node
        errors.append(operator.mean_first_passage_time()[at(operator, -0.85)] / truth - 1)
    assert abs(errors[-1]) < 60 / sizes[-1] ** 2
    assert abs(errors[0]) < 60 / sizes[0] ** 2


def test_moments_and_occupation_are_those_of_quadrature():
    operator = fokker_planck(
        WELL, HOT, cells=800, box=((-3, 0.6),), exit=x >= 0.6, convention="stratonovich"
    )
    start = at(operator, -0.75)
    truth = exact.first_passage_moments(
        WELL, HOT, start=float(operator.axes[0][start]), upper=0.6, convention="stratonovich"
    )
    np.testing.assert_allclose(operator.first_passage_moments()[:, start], truth, rtol=1e-4)
    errors = []
    for cells in (150, 300):
        closed = fokker_planck(catalog.tilted_quartic(0.15), HOT, cells=cells, box=((-3.1, 2.9),))
        share = closed.probability(sp.And(x > -0.31, x <= 1.17), closed.stationary())
        truth = exact.occupation(catalog.tilted_quartic(0.15), HOT, lower=-0.31, upper=1.17)
        errors.append(share / truth - 1)
    assert abs(errors[1]) < 5e-4
    assert abs(errors[0]) < 2e-3
    assert closed.probability(x > -3.1, closed.stationary()) == pytest.approx(1, rel=1e-12)
    assert closed.probability(x <= -3.1, closed.stationary()) < 1e-9


def test_a_full_diffusion_in_a_bowl_ends_in_the_gaussian_of_lyapunov():
    bowl = Landscape(x**2 + x * y / 2 + 0.7 * y**2, (x, y), name="bowl", box=((-3, 3), (-2.4, 2.4)))
    d = np.array([[0.21, -0.09], [-0.09, 0.11]])
    hessian = np.array([[2.0, 0.5], [0.5, 1.4]])
    truth = solve_continuous_lyapunov(hessian, 2 * d)
    errors = []
    for cells in ((60, 70), (120, 140)):
        operator = fokker_planck(bowl, StateDependentNoise(sp.Matrix(d)), cells=cells)
        links = operator.matrix.tocoo()
        assert links.data[links.row != links.col].min() >= 0
        density, (a, b) = operator.stationary(), operator.points
        assert density.min() >= -1e-12 * density.max()
        found = [[operator.average(p * q, density) for q in (a, b)] for p in (a, b)]
        errors.append(np.array(found) - truth)
    assert np.abs(errors[1]).max() < 2e-3 * truth.max()
    ratio = np.abs(errors[0]).max() / np.abs(errors[1]).max()
    assert ratio == pytest.approx(4, abs=0.8)
    modes = np.sort(np.linalg.eigvals(hessian).real)
    rates = decay_rates(bowl, StateDependentNoise(sp.Matrix(d)), cells=30, count=3)
    assert rates.values == pytest.approx([0, modes[0], min(2 * modes[0], modes[1])], abs=4e-3)


def test_a_full_diffusion_is_the_diagonal_one_in_turned_coordinates():
    """First passage of an anisotropic walker out of a turned strip, against the line's integral.

    L depends on s = cos a x + sin a y alone besides a valley across; D is diagonal in (s, t).
    """
    angle = 0.4
    c, s = np.cos(angle), np.sin(angle)
    along, across = c * x + s * y, c * y - s * x
    plane = Landscape(
        along**4 / 4 - along**2 / 2 + across**2, (x, y), name="turned", box=((-2.6, 1.8), (-2, 2))
    )
    turn = np.array([[c, s], [-s, c]])
    full = turn.T @ np.diag([0.16, 0.05]) @ turn
    truth = exact.mean_first_passage_time(WELL, WhiteNoise(0.16), start=-1, upper=0.6)
    times = []
    for cells in ((110, 100), (220, 200)):
        operator = fokker_planck(
            plane, StateDependentNoise(sp.Matrix(full)), cells=cells, exit=along >= 0.6
        )
        mean = RegularGridInterpolator(
            operator.axes, operator.mean_first_passage_time(), method="cubic"
        )
        times.append(float(mean([[-c, -s]])[0]))
    errors = np.abs(np.array(times) / truth - 1)
    assert errors[1] < 0.012 and errors[1] < 0.7 * errors[0]  # an oblique edge: of first order


def test_a_full_diffusion_that_depends_on_the_state_is_itos():
    """x = (z, w): ∂∂:(D P) with D21 of z. The mean of w's square obeys a moment equation.

    dz = −z dt + …, dw = −w dt + …, D = [[1, z/2], [z/2, 1 + z²/4]]/5: d⟨zw⟩ = −2⟨zw⟩ + 2⟨D21⟩ = 0,
    d⟨w²⟩ = −2⟨w²⟩ + 2⟨D22⟩, ⟨z²⟩ = 1/5; and ⟨z² w²⟩ separates D21 from −D21 no more than ⟨zzw⟩.
    """
    bowl = Landscape((x**2 + y**2) / 2, (x, y), name="bowl", box=((-3, 3), (-3, 3)))
    matrix = sp.Matrix([[1, x / 2], [x / 2, 1 + x**2 / 4]]) / 5
    operator = fokker_planck(bowl, StateDependentNoise(matrix), cells=(120, 120))
    density, (z, w) = operator.stationary(), operator.points
    assert operator.average(z**2, density) == pytest.approx(0.2, abs=1e-3)
    assert operator.average(w**2, density) == pytest.approx(0.2 + 0.2 / 20, abs=1e-3)
    # d⟨z²w⟩ = −3⟨z²w⟩ + 2⟨D11 w⟩ + 4⟨D21 z⟩ with ⟨w⟩ = 0
    assert operator.average(z**2 * w, density) == pytest.approx(4 * 0.1 * 0.2 / 3, abs=1e-3)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda g: g.point_mass(float("nan")), "location must be finite"),
        (lambda g: g.point_mass(9.0), "widen the box"),
        (lambda g: g.point_mass(1, 2), "shape"),
        (lambda g: g.point_mass(1.8), "already left"),
        (lambda g: g.evolve(g.volumes, [1.0]), "zero where the exit holds"),
        (lambda g: g.evolve(g.point_mass(-1), [np.inf]), "times must be finite"),
        (lambda g: g.evolve(g.point_mass(-1), "3"), "times must be"),
        (lambda g: g.evolve(g.point_mass(-1), [1e12]), "fewer cells"),
        (lambda g: g.decay_rates(2.5), "whole number"),
        (lambda g: g.decay_rates(0), "whole number"),
        (lambda g: g.first_passage_moments(0), "whole number"),
        (lambda g: g.probability("x", g.point_mass(-1)), "exit must be a SymPy relational"),
    ],
)
def test_odd_arguments_of_an_operator_are_named(act, words):
    grid = fokker_planck(WELL, WhiteNoise(0.1), cells=40, exit=x > 1.5)
    with pytest.raises(ValueError, match=words):
        act(grid)


def test_a_rate_that_does_not_converge_as_a_square_says_so():
    """An exit between nodes is of first order; the error must cover it."""
    flat = Landscape(0 * x, (x,), name="flat", box=((0, 1.3),))
    truth = 0.7 * (np.pi / 2 / 0.618) ** 2
    for cells in (37, 38, 40, 44, 59):
        rates = decay_rates(flat, WhiteNoise(0.7), count=1, cells=cells, exit=x > 0.618)
        assert 0 < abs(rates.values[0] - truth) < 3 * rates.errors[0] < 0.3 * truth
    on_a_node = decay_rates(flat, WhiteNoise(0.7), count=1, cells=26, exit=x > 0.65)
    assert on_a_node.errors[0] < 1e-7
    disc = Landscape(0 * x, (x, y), name="disc", box=((-1.1, 1.1), (-1.1, 1.1)))
    round_ = decay_rates(disc, WhiteNoise(0.7), count=1, cells=20, exit=x**2 + y**2 > 1)
    truth = 0.7 * jn_zeros(0, 1)[0] ** 2
    assert abs(round_.values[0] - truth) < round_.errors[0] < 0.1 * truth


@pytest.mark.parametrize(
    ("condition", "part"),
    [
        ("x > 0.95", 0.05),
        ("x < 0.07", 0.07),
        ("x > 0.7", 0.3),
        ("y > 0.9", 0.05),
        ("y < -0.7", 0.15),
    ],
)
def test_the_part_of_a_cell_at_a_wall_counts_half_a_cell(condition, part):
    """Of a box of area 2, above and below straight lines: no cell is counted twice or shifted."""
    x, y = sp.symbols("x y", real=True)
    land = Landscape(x**2 + y**2 / 2, (x, y), name="bowl", box=((0, 1), (-1, 1)))
    mesh = Mesh.of(land, WhiteNoise(0.3), (4, 5), None)
    held = share(land, sp.sympify(condition, {"x": x, "y": y}), mesh)
    assert (held * mesh.volumes).sum() == pytest.approx(2 * part, rel=1e-12)


# --- drifts that are no gradients, full D, periodic sides -----------------------------------------

FREE = Landscape(0 * x, (x, y), name="free", box=((0, 1.3), (-0.4, 0.5)))


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
def test_the_drift_of_a_loss_written_out_is_the_loss(convention):
    """And a landscape that comes with another drift is not looked at."""
    other = Landscape(x**2 / 3 + x, (x,), name="other", box=WELL.box)
    drift = tuple(-g for g in WELL.gradient_expression)
    for noise in (HOT, WhiteNoise(0.13)):
        options = {"cells": 120, "exit": x >= 1, "convention": convention}
        times = [
            fokker_planck(*args, noise, **options, **more).mean_first_passage_time()
            for args, more in (((WELL,), {}), ((other,), {"drift": drift}))
        ]
        np.testing.assert_allclose(*times, rtol=1e-9)


def test_a_rotation_along_level_sets_leaves_the_density_alone():
    """b = −∇L + s (L_y, −L_x) rests at exp(−L/D) (Bouchet and Reygner 2016). Of second order."""
    loss = x**2 / 2 + x * y / 3 + 0.4 * y**2 + x**4 / 20
    bowl = Landscape(loss, (x, y), name="bowl", box=((-2.6, 2.6), (-2.9, 2.9)))
    a, b = bowl.gradient_expression
    errors = []
    for cells in ((50, 60), (100, 120)):
        operator = fokker_planck(
            bowl, WhiteNoise(0.2), cells=cells, drift=(-a + 0.6 * b, -b - 0.6 * a)
        )
        truth = np.exp(-bowl.value(*operator.points) / 0.2)
        truth /= operator.average(1, truth)
        found = operator.stationary()
        assert found.min() > 0
        errors.append(operator.average(np.abs(found / truth - 1), truth))
    assert errors[1] < 0.004
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.3)
    wrong = fokker_planck(bowl, WhiteNoise(0.2), cells=50, drift=(-a + 0.6 * b, -b - 0.2 * a))
    truth = np.exp(-bowl.value(*wrong.points) / 0.2)
    truth /= wrong.average(1, truth)
    assert wrong.average(np.abs(wrong.stationary() - truth), np.ones_like(truth)) > 0.1


def test_a_linear_drift_with_a_full_diffusion_is_lyapunovs():
    """dθ = −Aθ dt + √(2D) dW: AΣ + ΣAᵀ = 2D, and rates that are the eigenvalues of A."""
    a, d = np.array([[1.1, 0.6], [-0.4, 1.9]]), np.array([[0.11, 0.05], [0.05, 0.17]])
    truth = solve_continuous_lyapunov(a, 2 * d)
    drift = tuple(-(sp.Matrix(a) * sp.Matrix([x, y])))
    box = Landscape(0 * x, (x, y), name="box", box=((-2, 2), (-2.1, 2.1)))
    errors, rates = [], []
    for cells in (50, 100):
        operator = fokker_planck(box, StateDependentNoise(sp.Matrix(d)), cells=cells, drift=drift)
        density, (u, v) = operator.stationary(), operator.points
        found = [[operator.average(p * q, density) for q in (u, v)] for p in (u, v)]
        errors.append(np.array(found) - truth)
        rates.append(operator.decay_rates(2)[1])
    assert np.abs(errors[1]).max() < 3e-3 * truth.max()
    assert np.abs(errors[0]).max() / np.abs(errors[1]).max() == pytest.approx(4, abs=0.5)
    slowest = np.linalg.eigvals(a).real.min()
    assert rates[1] == pytest.approx(slowest, rel=5e-3)
    assert (rates[0] - slowest) / (rates[1] - slowest) == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize("cross", [-0.19, 0.07, 0.28])
def test_waves_on_a_torus_decay_as_their_numbers_say(cross):
    """Constant full D: the rate of exp(i k·θ) is k·Dk, for narrow D too. Of second order."""
    d, sides = np.array([[0.5, cross], [cross, 0.21]]), np.array([1.3, 0.9])
    numbers = np.array([(i, j) for i in (-3, -2, -1, 0, 1, 2, 3) for j in (-2, -1, 0, 1, 2)])
    k = 2 * np.pi * numbers / sides
    truth = np.sort(np.einsum("ni,ij,nj->n", k, d, k))[:5]
    errors = []
    for cells in ((40, 36), (80, 72)):
        operator = fokker_planck(
            FREE, StateDependentNoise(sp.Matrix(d)), cells=cells, periodic=(True, True)
        )
        errors.append(operator.decay_rates(5)[1:] / truth[1:] - 1)
        flow = operator.matrix.tocoo()
        assert flow.data[flow.row != flow.col].min() >= 0
    assert np.abs(errors[1]).max() < 0.03
    np.testing.assert_allclose(errors[0] / errors[1], 4, atol=0.15)


def test_a_wind_on_a_torus_carries_a_density_around():
    """The mean phase turns by k·b and shrinks by k·Dk; one side has walls and its own mode."""
    d, wind, time = 0.02, 0.9, 1.7
    operator = fokker_planck(
        FREE, WhiteNoise(d), cells=(260, 8), drift=(wind, 0), periodic=(True, False)
    )
    assert operator.inside.shape == (260, 9)
    k = 2 * np.pi / 1.3
    start = operator.point_mass(1.3, 0.2)  # the high end is the low one
    assert np.argmax(start.max(axis=1)) == 0
    density = operator.evolve(start, [time])[0]
    found = operator.average(np.cos(k * operator.points[0]), density) + 1j * operator.average(
        np.sin(k * operator.points[0]), density
    )
    assert found == pytest.approx(np.exp((1j * k * wind - d * k**2) * time), abs=2e-3)


def test_rates_of_a_ring():
    """Of a free one D (2πk)² twice; of a washboard those of the line with the same parts."""
    ring = Landscape(0 * x, (x,), name="ring", box=((0.2, 1.7),))
    found = decay_rates(ring, WhiteNoise(0.3), count=5, periodic=True, cells=60).values
    first = 0.3 * (2 * np.pi / 1.5) ** 2
    assert found == pytest.approx([0, first, first, 4 * first, 4 * first], rel=1e-7, abs=1e-9)
    wave = Landscape(sp.cos(x), (x,), name="wave", box=((0, 2 * sp.pi),))
    tall = WhiteNoise(1 / 18)  # even modes of the ring are those of half of it between walls
    half = decay_rates(wave, tall, count=2, box=((0, np.pi),), cells=100).values[1]
    whole = decay_rates(wave, tall, count=3, periodic=True, cells=200).values
    assert np.abs(whole / half - 1).min() < 1e-7
    torus = Landscape(sp.cos(x) + y**2, (x, y), name="tube", box=((0, 2 * sp.pi), (-1.2, 1.2)))
    tube = decay_rates(torus, tall, cells=(50, 24), periodic=(True, False)).values[1]
    assert tube == pytest.approx(whole[1], rel=1e-4)


def test_a_periodic_box_may_begin_anywhere():
    """Also where D jumps and L has a kink; and a cell on the seam is half on either side."""
    saw = sp.Abs(sp.sin(sp.pi * x)) / 3
    noise = StateDependentNoise(sp.Piecewise((0.31, sp.sin(2 * sp.pi * x) > 0), (0.12, True)))
    found = []
    for low, start in ((-1.25, -0.85), (-0.375, 0.15)):
        ring = Landscape(saw, (x,), name="ring", box=((low, low + 1),))
        options = {"cells": 160, "periodic": True, "convention": "isothermal"}
        gone = fokker_planck(ring, noise, exit=sp.Eq(sp.sin(sp.pi * x), 0), **options)
        closed = fokker_planck(ring, noise, **options)
        density = closed.stationary()
        half = closed.probability(x > low + 0.5, density)
        assert half + closed.probability(x < low + 0.5, density) == pytest.approx(1, rel=1e-12)
        flat = np.ones(160)
        assert closed.probability(x > low + 0.7, flat) == pytest.approx(0.3, rel=1e-12)
        assert closed.probability(x < low + 0.2, flat) == pytest.approx(0.2, rel=1e-12)
        found.append(
            (
                gone.mean_first_passage_time()[at(gone, start)],
                closed.probability(sp.sin(2 * sp.pi * x + 0.4) > 0.3, density),
            )
        )
    assert found[0] == pytest.approx(found[1], rel=1e-9)
    with pytest.raises(ValueError, match="begins at no jump"):
        fokker_planck(WELL, noise, cells=40, box=((-0.5, 0.5),), drift=(x * 0,), periodic=True)


def test_a_full_diffusion_of_the_state_under_the_isothermal_convention():
    """J = bP − D∇P: with b = −D∇U it rests at exp(−U), and under Ito it does not."""
    u = x**2 + x * y / 2 + y**2
    matrix = sp.Matrix([[3 + x**2, 1 + x * y], [1 + x * y, 2 + y**2]]) / 9
    box = Landscape(u, (x, y), name="box", box=((-3, 3), (-3.2, 3.2)))
    drift = tuple(-(matrix * sp.Matrix(box.gradient_expression)))
    errors = []
    for cells in (48, 96):
        operator = fokker_planck(
            box, StateDependentNoise(matrix), cells=cells, drift=drift, convention="isothermal"
        )
        truth = np.exp(-box.value(*operator.points))
        truth /= operator.average(1, truth)
        even = np.ones_like(truth)
        errors.append(operator.average(np.abs(operator.stationary() - truth), even))
    assert errors[1] < 0.005
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.8)
    ito = fokker_planck(box, StateDependentNoise(matrix), cells=48, drift=drift)
    wrong = ito.stationary() - np.exp(-box.value(*ito.points)) / np.pi * np.sqrt(15 / 16)
    assert ito.average(np.abs(wrong), np.ones_like(wrong)) > 0.1


def test_a_turned_plane_has_the_rates_of_its_parts():
    """Full D, oblique to the grid and three times wider one way, where nothing absorbs."""
    c, s = np.cos(0.4), np.sin(0.4)
    along, across = c * x + s * y, c * y - s * x
    loss = along**4 / 4 - along**2 / 2 + across**2
    plane = Landscape(loss, (x, y), name="turned", box=((-2.5, 2.5), (-2, 2)))
    turn = np.array([[c, s], [-s, c]])
    full = StateDependentNoise(sp.Matrix(turn.T @ np.diag([0.16, 0.05]) @ turn))
    found = decay_rates(plane, full, cells=(40, 32))
    truth = decay_rates(WELL, WhiteNoise(0.16), box=((-2.6, 2.6),)).values[1]
    assert found.values[1] == pytest.approx(truth, rel=3e-4)
    assert abs(found.values[1] - truth) < 3 * found.errors[1] + 1e-4 * truth


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"drift": (x, x)}, "drift must have 1 entries"),
        ({"drift": (y,)}, "may use only the symbols"),
        ({"drift": ("x",)}, "the drift must be"),
        ({"drift": (1 / x,)}, "drift must be a finite number"),
        ({"drift": (sp.log(x),)}, "drift must be a finite number"),
        ({"drift": (sp.Piecewise((x, x < 0.01), (-x, x > 0.09)),)}, "finite between the nodes"),
        ({"drift": (sp.sin(x),), "periodic": True}, "the same at both ends"),
        ({"periodic": True, "noise": StateDependentNoise(1 + x**2 + x / 9)}, "both ends"),
        ({"periodic": (True, False)}, "one of them per variable"),
        ({"periodic": "x"}, "one of them per variable"),
        ({"periodic": 1}, "one of them per variable"),
    ],
)
def test_drifts_and_sides_that_make_no_sense_are_named(change, words):
    options = {"noise": WhiteNoise(0.1), "cells": 40} | change
    with pytest.raises(ValueError, match=words):
        fokker_planck(WELL, options.pop("noise"), **options)


def test_full_diffusions_that_fit_no_convention_are_named():
    kink = sp.Matrix([[2 + sp.Abs(x), 1], [1, 3]])
    with pytest.raises(ValueError, match="smooth"):
        fokker_planck(FREE, StateDependentNoise(kink), cells=20, convention="isothermal")
    narrow = sp.Matrix([[1, 0.999], [0.999, 1]])
    with pytest.raises(ValueError, match="shorter than half"):
        fokker_planck(FREE, StateDependentNoise(narrow), cells=6, periodic=True)


def test_valleys_that_rounding_would_fill_are_refused():
    """Circulating currents and a barrier of 60 D: no elimination knows which valley is fuller."""
    loss = x**4 / 4 - x**2 / 2 + y**2
    plane = Landscape(loss, (x, y), name="plane", box=((-1.6, 1.6), (-0.8, 0.8)))
    noise = StateDependentNoise((sp.Rational(1, 240), sp.Rational(1, 200)))
    grid = fokker_planck(plane, noise, cells=(40, 20))
    with pytest.raises(ArithmeticError, match="rounding leaks"):
        grid.stationary()


def test_a_rate_and_a_moment_beyond_floats_are_no_zero_and_no_nan():
    with pytest.raises(ArithmeticError, match="one of the lowest 3 is below 1e-308"):
        decay_rates(WELL, WhiteNoise(0.25 / 800), count=3)
    deep = decay_rates(WELL, WhiteNoise(0.25 / 300)).values[1]
    kramers = np.sqrt(2) / np.pi * np.exp(-300.0)
    assert deep == pytest.approx(kramers * (1 - 1.5 * 0.25 / 300), rel=1e-4)
    grid = fokker_planck(WELL, WhiteNoise(0.125), cells=100, exit=x >= 1.5)
    with pytest.raises(ArithmeticError, match="one of the first 300 exceeds 1e308"):
        grid.first_passage_moments(300)


def test_an_average_is_over_a_density_of_the_grid():
    grid = fokker_planck(WELL, WhiteNoise(0.125), cells=40)
    rest = grid.stationary()
    squares = [float(place) ** 2 for place in grid.axes[0]]
    assert grid.average(squares, rest.tolist()) == grid.average(grid.axes[0] ** 2, rest)
    for values, density in ((np.nan, rest), (3, 0.25), (3, rest[:-1])):
        with pytest.raises(ValueError, match="must"):
            grid.average(values, density)


@pytest.mark.parametrize("what", [None, 3, x**2])
def test_decay_rates_are_those_of_a_landscape(what):
    with pytest.raises(ValueError, match="landscape must be a Landscape, got"):
        decay_rates(what, WhiteNoise(0.1))
