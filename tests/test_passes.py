"""Saddles and paths of networks, against closed forms and against the rooms for landscapes."""

import numpy as np
import pytest
import sympy as sp
import torch

from ddt_utils import catalog, critical, networks, passes, paths
from ddt_utils._derivatives import derivatives
from ddt_utils.landscape import Landscape
from tests import models

ONE = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)


def of_landscape(landscape):
    """A model whose loss is that of a landscape, whatever its one sample."""
    names, value = [str(v) for v in landscape.variables], landscape.torch_value

    def forward(blocks, x):
        height = value(*(blocks[name][..., 0] for name in names))
        return height[..., None, None].expand(*height.shape, x.shape[-2], 1)

    return networks.Model(
        name=landscape.name,
        shapes=tuple((name, (1,)) for name in names),
        forward=forward,
        output_loss=lambda out, y: out[..., 0],
        scales=(1.0,) * len(names),
    )


@pytest.fixture(scope="module")
def mueller():
    """Müller–Brown: three minima, two passes."""
    well = catalog.mueller_brown()
    return well, of_landscape(well)


def test_all_critical_points_of_a_landscape_are_found(mueller):
    well, model = mueller
    (low, high), (left, right) = well.box
    rng = np.random.default_rng(1)
    starts = rng.uniform([low, left], [high, right], (70, 2))
    for index in (0, 1):
        truth = [p for p in critical.critical_points(well, index=index)]
        found = passes.critical_points(model, starts, *ONE, index=index, longest=0.1)
        for one in truth:
            near = min(found, key=lambda p: np.linalg.norm(p.location - one.location))
            np.testing.assert_allclose(near.location, one.location, atol=1e-8)
            assert abs(near.value - one.value) < 1e-9 * abs(one.value)
            np.testing.assert_allclose(near.hessian, one.hessian, rtol=1e-6)
        assert [p.value for p in found] == sorted(p.value for p in found)


def test_the_path_between_two_minima_is_that_of_the_landscape(mueller):
    well, model = mueller
    low, _, high = sorted(critical.minima(well), key=lambda p: p.value)[0:3]
    truth = paths.minimum_energy_path(well, low, high)
    ways = passes.between(model, low.location + 0.01, high, *ONE)
    assert len(ways) == len(truth.saddles)
    for way, saddle in zip(ways, truth.saddles, strict=True):
        np.testing.assert_allclose(way.saddle.location, saddle.location, atol=1e-8)
    assert np.allclose(ways[0].minimum.location, low.location, atol=1e-8)
    assert np.allclose(ways[-1].beyond.location, high.location, atol=1e-8)
    for one, other in zip(ways, ways[1:], strict=False):
        assert np.allclose(one.beyond.location, other.minimum.location, atol=1e-8)
    length = np.array([well.box[0][1] - well.box[0][0], well.box[1][1] - well.box[1][0]])
    for way in ways:
        for points in (way.up, way.down):
            apart = np.linalg.norm(points[:, None] - truth.points, axis=2).min(axis=1)
            assert apart.max() < 0.01 * np.linalg.norm(length)


def test_the_halves_of_a_path_run_up_and_down_and_are_even(mueller):
    well, model = mueller
    saddle = critical.saddles(well)[0]
    ends = paths.connected_minima(well, saddle)
    for end in ends:
        way = passes.over(model, saddle, *ONE, start=end, links=20)
        assert np.allclose(way.minimum.location, end.location, atol=1e-8)
        assert way.up.shape == way.down.shape == (21, 2)
        assert np.allclose(way.up[-1], way.down[0]) and np.allclose(way.up[0], end.location)
        up, down = (np.diff(well.value(*points.T)) for points in (way.up, way.down))
        assert (up > 0).all() and (down < 0).all()
        steps = np.linalg.norm(np.diff(way.up, axis=0), axis=1)
        assert np.ptp(steps) < 0.05 * steps.mean()
        assert way.barrier == pytest.approx(saddle.value - end.value, rel=1e-9)
        e = way.direction
        assert abs(abs(e @ critical.escape_direction(saddle)) - 1) < 1e-8
        assert e @ (way.down[1] - way.saddle.location) > 0  # away from the minimum
    low = passes.over(model, saddle, *ONE)
    assert low.beyond.value < low.minimum.value


def test_exits_are_the_saddles_joined_to_the_minimum(mueller):
    well, model = mueller
    rng = np.random.default_rng(2)
    joined = {}
    for saddle in critical.saddles(well):
        for end in paths.connected_minima(well, saddle):
            joined.setdefault(tuple(end.location.round(4)), []).append(saddle.value)
    counts = set()
    for end in critical.minima(well):
        starts = end.location + 0.5 * rng.standard_normal((24, 2))
        ways = passes.exits(model, end, *ONE, starts=starts, longest=0.1)
        truth = sorted(joined[tuple(end.location.round(4))])
        np.testing.assert_allclose([way.saddle.value for way in ways], truth, rtol=1e-8)
        counts.add(len(ways))
    assert counts == {1, 2}


def test_a_symmetry_finds_the_images_of_an_exit():
    """Four wells at (±1, ±1): a saddle near one is met, its images lead out of the others."""
    x, y = sp.symbols("x y", real=True)
    loss = (x**2 - 1) ** 2 + 2 * (y**2 - 1) ** 2
    model = of_landscape(Landscape(loss, (x, y), name="four", box=((-2, 2),) * 2))
    starts = [[0.1, 0.9], [0.9, 0.1]]  # around the minimum (1, 1)
    turned = np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]])
    far = [-1.0, -1.0]
    assert passes.exits(model, far, *ONE, starts=starts) == []
    ways = passes.exits(model, far, *ONE, starts=starts, images=lambda p: p * turned)
    assert [round(way.barrier, 9) for way in ways] == [1.0, 2.0]
    np.testing.assert_allclose(ways[0].saddle.location, [0, -1], atol=1e-8)
    np.testing.assert_allclose(ways[1].beyond.location, [-1, 1], atol=1e-8)


def test_a_string_may_be_told_where_to_pass():
    """Two passes of different height between the same minima, around a hill in the middle."""
    x, y = sp.symbols("x y", real=True)
    loss = (x**2 - 1) ** 2 + y**4 / 4 - y**2 / 2 + y / 10 + 2 * sp.exp(-4 * (x**2 + y**2))
    loss = loss + 0.6 * y**2 * x**2
    model = of_landscape(Landscape(loss, (x, y), name="ring", box=((-2, 2),) * 2))
    ends = passes.critical_points(model, [[1.0, 0.0], [-1.0, 0.0]], *ONE, index=0)
    start, end = sorted(ends, key=lambda p: p.location[0])
    heights = []
    for aside in (1.0, -1.0):
        (way,) = passes.between(model, start, end, *ONE, through=[0.0, aside])
        assert np.sign(way.saddle.location[1]) == aside
        heights.append(way.barrier)
    assert heights[0] > heights[1] + 0.05


def test_derivatives_are_those_of_torch():
    model = networks.fully_connected((3, 4, 2))
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((7, 3)), rng.integers(0, 2, 7)
    at, theta = derivatives(model, x, y), model.initial(5, seed=4)
    each = at.sample_slopes(theta)
    one = torch.autograd.functional.jacobian(lambda t: model.sample_losses(t, at.x, at.y), theta[2])
    torch.testing.assert_close(each[2], one)
    torch.testing.assert_close(each.mean(1), at.slopes(theta))
    bend = torch.autograd.functional.hessian(lambda t: model.loss(t, at.x, at.y), theta[3])
    torch.testing.assert_close(at.bends(theta)[3], bend)
    weights = torch.tensor(rng.standard_normal((5, 7)))
    vectors = torch.tensor(rng.standard_normal((5, model.size)))
    found = at.weighted_products(theta, weights, vectors)
    bend = torch.autograd.functional.hessian(
        lambda t: (weights[1] * model.sample_losses(t, at.x, at.y)).sum(), theta[1]
    )
    torch.testing.assert_close(found[1], bend @ vectors[1])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda m: passes.critical_points(m, [[1.0]], *ONE, index=0), "2 parameters"),
        (lambda m: passes.critical_points(m, [1.0, np.nan], *ONE, index=0), "finite"),
        (lambda m: passes.critical_points(m, [1.0, 0.0], *ONE, index=3), "index must be"),
        (lambda m: passes.critical_points(m, [1.0, 0.0], *ONE, index=0, longest=0), "longest"),
        (lambda m: passes.over(m, [1.0, 0.9], *ONE), "saddle must be a critical point of index 1"),
        (lambda m: passes.over(m, [0.0, 1.0], *ONE, start=[1.0, -1.0]), "start must be an end"),
        (lambda m: passes.exits(m, [0.0, 0.0], *ONE, starts=[[1.0, 1.0]]), "index=0"),
        (lambda m: passes.over(m, [[0.1, 0.2], [0.3, 0.4]], *ONE), "saddle must be one parameter"),
        (lambda m: passes.critical_points(m, np.zeros((0, 2)), *ONE, index=0), "not be empty"),
        (lambda m: passes.between(m, [1.0, 1.0], [1.01, 1.0], *ONE), "different minima"),
        (lambda m: passes.between(m, [1.0, 1.0], [-1.0, 1.0], *ONE, images=3), "images"),
        (
            lambda m: passes.over(m, [0.0, 1.0], np.ones(1), np.ones(1)),
            "x must be an array of shape",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    x, y = sp.symbols("x y", real=True)
    loss = (x**2 - 1) ** 2 + 2 * (y**2 - 1) ** 2
    model = of_landscape(Landscape(loss, (x, y), name="four", box=((-2, 2),) * 2))
    with pytest.raises(ValueError, match=words):
        call(model)


def test_a_continuum_of_minima_is_no_critical_point():
    model = networks.diagonal_linear(1)  # u² − v² = 1 is a curve
    assert passes.critical_points(model, [[1.1, 0.4], [0.5, 0.2]], *ONE, index=0) == []
    way = passes.critical_points(model, [[0.1, 0.2]], *ONE, index=1)
    assert len(way) == 1 and np.abs(way[0].location).max() < 1e-8
    with pytest.raises(ArithmeticError, match="did not come to rest"):
        passes.over(model, [0.0, 0.0], *ONE)


def test_a_descent_follows_a_soft_valley_to_its_end():
    """From the top of (w² − 1)²/2 into a valley 20,000 times as soft, along which 3 are left."""
    w, z = sp.symbols("w z", real=True)
    soft = 2e-4
    well = Landscape((w**2 - 1) ** 2 / 2 + soft * (z - 3 * w) ** 2 / 2, (w, z), name="soft",
                     box=((-2, 2), (-5, 5)))  # fmt: skip
    way = passes.over(of_landscape(well), [0.01, 0.0], *ONE)
    ends = sorted((way.minimum.location.tolist(), way.beyond.location.tolist()))
    np.testing.assert_allclose(ends, [[-1, -3], [1, 3]], atol=1e-7)
    track = way.down if way.beyond.location[0] > 0 else way.up[::-1]
    # steepest descent: dz/dw there, integrated from the first place that is kept off the top
    slopes = np.stack([well.gradient(*place) for place in track[1:-1]])
    ahead = np.diff(track, axis=0)[1:]
    cosine = -np.sum(slopes * ahead, axis=1) / (
        np.linalg.norm(slopes, axis=1) * np.linalg.norm(ahead, axis=1)
    )
    assert np.median(cosine) > 0.999


@pytest.mark.parametrize("images", [24, 25])
def test_a_pass_in_the_middle_of_a_string_is_seen(images):
    """(w² − 1)²/2 between w = ±1: with an even number of images two of them are equally high."""
    well = models.well()
    (way,) = passes.between(well, [1.0], [-1.0], *ONE, images=images)
    assert way.barrier == pytest.approx(0.5, rel=1e-9)
