"""Eigenvalues without a matrix, against NumPy's eigenvalues of the matrix."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, aslinearoperator
from scipy.stats import norm

from ddt_utils import _symmetric, networks
from ddt_utils.curvature import hessian, hessian_operator
from ddt_utils.spectrum import (
    hutchinson_trace,
    in_eigenbasis,
    lanczos,
    proportionality,
    spectral_density,
    subspace_overlap,
    top_eigenpairs,
)

RNG = np.random.default_rng(7)
N = 40
BASIS = np.linalg.qr(RNG.normal(size=(N, N)))[0]
VALUES = np.sort(np.concatenate([[30.0, 20.0, -4.0], RNG.exponential(size=N - 3)]))[::-1]
MATRIX = (BASIS * VALUES) @ BASIS.T
MATRIX = (MATRIX + MATRIX.T) / 2
FALSE_ALARM = 1e-5


@pytest.mark.parametrize("operator", [MATRIX, aslinearoperator(MATRIX)], ids=["matrix", "operator"])
def test_top_eigenpairs(operator):
    values, vectors = top_eigenpairs(operator, count=4, seed=1)
    np.testing.assert_allclose(values, VALUES[:4], rtol=1e-11)
    np.testing.assert_allclose(MATRIX @ vectors, vectors * values, atol=1e-10)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-12)
    assert (vectors.max(0) == np.abs(vectors).max(0)).all()
    lowest = top_eigenpairs(operator, count=2, seed=1, which="SA")[0]
    np.testing.assert_allclose(lowest, VALUES[-2:], rtol=1e-9)
    largest = top_eigenpairs(operator, count=3, seed=1, which="LM")[0]
    np.testing.assert_allclose(largest, [30, 20, VALUES[2]], rtol=1e-11)


def test_top_eigenpairs_of_a_network_are_those_of_its_hessian():
    model = networks.fully_connected((5, 6, 3))
    x, y = RNG.normal(size=(30, 5)), RNG.integers(0, 3, 30)
    theta = model.initial(1, seed=3)[0]
    values, vectors = np.linalg.eigh(hessian(model, theta, x, y))
    found = top_eigenpairs(hessian_operator(model, theta, x, y), count=3, seed=5)
    np.testing.assert_allclose(found[0], values[::-1][:3], rtol=1e-10)
    assert subspace_overlap(found[1], vectors[:, -3:]) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("which, largest", [("LA", 3.0), ("SA", 0.0), ("LM", 3.0)])
@pytest.mark.parametrize("rank", [0, 1, 2, 5])
def test_matrices_of_low_rank_have_their_zeros(rank, which, largest):
    """A flat direction, a dead network: SciPy's own iteration cannot begin at a zero matrix."""
    values = np.r_[np.linspace(3, 1, rank), np.zeros(N - rank)]
    matrix = (BASIS * values) @ BASIS.T
    for operator in (matrix + matrix.T, aslinearoperator(matrix + matrix.T)):
        found, vectors = top_eigenpairs(operator, count=4, seed=3, which=which)
        due = values[:4] if which != "SA" else np.zeros(4)
        np.testing.assert_allclose(found, 2 * due, atol=1e-10)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-10)


def test_the_dead_layer_of_a_network_has_no_curvature():
    model = networks.fully_connected((3, 8, 1), activation="relu", loss="squared")
    theta = -np.ones(model.size)
    theta[-9:] = 0
    x = np.abs(RNG.normal(size=(20, 3)))
    dead = hessian(model, theta, x, np.zeros(20))[:24, :24]
    assert top_eigenpairs(dead, count=2, seed=0)[0].tolist() == [0, 0]


def test_tensors_and_sparse_matrices_are_matrices():
    found = top_eigenpairs(MATRIX, count=2, seed=4)[0]
    for other in (torch.from_numpy(MATRIX), csr_array(MATRIX), MATRIX.tolist()):
        np.testing.assert_allclose(top_eigenpairs(other, count=2, seed=4)[0], found, rtol=1e-12)
    assert hutchinson_trace(torch.eye(3), probes=2, seed=0).value == 3


def test_a_seed_gives_the_same_numbers_and_another_gives_others():
    def run(seed):
        density = spectral_density(
            MATRIX, steps=5, probes=3, seed=seed, grid=np.linspace(-5, 5, 7), width=1.0
        )
        trace = hutchinson_trace(MATRIX, probes=3, seed=seed)
        return np.concatenate([density.density, density.stderr, [trace.value, trace.stderr]])

    first = run(1)
    np.random.default_rng(0)
    np.random.seed(3)  # noqa: NPY002 the global generator is not to matter
    np.testing.assert_array_equal(first, run(1))
    assert (first != run(2)).all()
    pairs = [top_eigenpairs(MATRIX, count=2, seed=4) for _ in range(2)]
    np.testing.assert_array_equal(pairs[0][1], pairs[1][1])


def test_the_trace_is_within_its_error_which_is_the_known_one():
    probes = 400
    found = hutchinson_trace(MATRIX, probes=probes, seed=2)
    off = MATRIX - np.diag(np.diag(MATRIX))
    sigma = np.sqrt(2 * np.sum(off**2) / probes)
    assert abs(found.value - VALUES.sum()) < norm.isf(FALSE_ALARM / 2) * sigma
    assert found.stderr == pytest.approx(sigma, rel=0.25)


def test_the_trace_of_a_diagonal_matrix_needs_no_luck():
    found = hutchinson_trace(np.diag(VALUES), probes=2, seed=0)
    assert found.value == pytest.approx(VALUES.sum(), rel=1e-13) and found.stderr < 1e-12


@pytest.mark.parametrize("steps", [1, 2, 5, 15])
def test_lanczos_is_a_gauss_quadrature(steps):
    """Chebyshev polynomials, none of which is small: exact below the degree 2·steps, not at it."""
    values, start = np.sort(RNG.uniform(-1, 1, N)), RNG.normal(size=N)
    matrix = (BASIS * values) @ BASIS.T
    nodes, weights = lanczos((matrix + matrix.T) / 2, start, steps=steps)
    parts = (BASIS.T @ start) ** 2 / (start @ start)
    assert len(nodes) == steps
    degrees = np.arange(2 * steps + 1)[:, None]
    off = np.cos(degrees * np.arccos(nodes)) @ weights
    off = off - np.cos(degrees * np.arccos(values)) @ parts
    np.testing.assert_allclose(off[:-1], 0, atol=1e-12)
    assert abs(off[-1]) > 1e-6


def test_lanczos_stops_when_there_are_no_more_eigenvalues_to_be_found():
    values = np.repeat([0.0, 1.0, 5.0], [20, 15, 5])
    matrix = (BASIS * values) @ BASIS.T
    start = RNG.normal(size=N)
    nodes, weights = lanczos((matrix + matrix.T) / 2, start, steps=30)
    np.testing.assert_allclose(nodes, [0, 1, 5], atol=1e-10)
    parts = (BASIS.T @ start) ** 2 / (start @ start)
    np.testing.assert_allclose(weights, [parts[values == v].sum() for v in (0, 1, 5)], atol=1e-10)
    nodes, weights = lanczos(np.zeros((3, 3)), np.ones(3), steps=3)
    assert nodes == [0] and weights == [1]
    nodes, weights = lanczos(MATRIX, start, steps=10 * N)
    np.testing.assert_allclose(nodes, VALUES[::-1], atol=1e-9)


def test_the_spectral_density_is_within_its_error_which_is_the_known_one():
    """One probe of the density at t has the variance of Hutchinson's trace of N(A; t)/n."""
    grid, width, probes = np.linspace(-6, 32, 20), 1.5, 300
    found = spectral_density(MATRIX, steps=N, probes=probes, seed=8, grid=grid, width=width)
    exact, sigma = [], []
    for t in grid:
        smeared = norm.pdf(VALUES, t, width) / N
        matrix = (BASIS * smeared) @ BASIS.T
        exact.append(smeared.sum())
        sigma.append(np.sqrt(2 * np.sum((matrix - np.diag(np.diag(matrix))) ** 2) / probes))
    # a bound in standard deviations for twenty places together, plus rounding
    limit = norm.isf(FALSE_ALARM / 2 / len(grid)) * np.array(sigma) + 1e-12
    assert (np.abs(found.density - exact) < limit).all()
    np.testing.assert_allclose(found.stderr, sigma, rtol=0.3, atol=1e-12)
    np.testing.assert_array_equal(found.grid, grid)


def test_the_spectral_density_integrates_to_one():
    grid = np.linspace(-15, 45, 2001)
    found = spectral_density(MATRIX, steps=12, probes=2, seed=8, grid=grid, width=1.0)
    assert np.trapezoid(found.density, grid) == pytest.approx(1, abs=1e-10)


def test_a_matrix_in_the_eigenbasis():
    other = RNG.normal(size=(N, N))
    other = other @ other.T
    found = in_eigenbasis(other, MATRIX)
    np.testing.assert_allclose(found.curvatures, VALUES, atol=1e-12)
    np.testing.assert_allclose(
        found.directions @ found.matrix @ found.directions.T, other, atol=1e-10
    )
    np.testing.assert_allclose(in_eigenbasis(MATRIX, MATRIX).matrix, np.diag(VALUES), atol=1e-12)
    assert in_eigenbasis(other, np.diag([3.0, 1, 2] + [0.0] * (N - 3))).matrix[
        0, 1
    ] == pytest.approx(other[0, 2])


def test_proportionality():
    found = proportionality(2.5 * MATRIX, MATRIX)
    assert found.trace_ratio == pytest.approx(2.5) and found.slope == pytest.approx(2.5)
    assert found.cosine == pytest.approx(1, abs=1e-14)
    assert proportionality(-MATRIX, MATRIX).cosine == pytest.approx(-1, abs=1e-14)
    found = proportionality(np.diag([1.0, 1, 0]), np.diag([1.0, 0, 1]))
    assert (found.trace_ratio, found.slope) == (1, 0.5) and found.cosine == pytest.approx(0.5)
    other = RNG.normal(size=(N, N))
    other = other + other.T
    found = proportionality(other, MATRIX)
    fitted = np.linalg.lstsq(MATRIX.reshape(-1, 1), other.ravel())
    assert found.slope == pytest.approx(fitted[0][0])
    left = np.sqrt(fitted[1][0]) / np.linalg.norm(other)
    assert np.sqrt(1 - found.cosine**2) == pytest.approx(left)


def test_overlap_of_subspaces():
    mixed = BASIS[:, :3] @ RNG.normal(size=(3, 3))
    assert subspace_overlap(BASIS[:, :3], mixed) == pytest.approx(1, abs=1e-12)
    assert subspace_overlap(BASIS[:, :3], BASIS[:, 3:8]) == pytest.approx(0, abs=1e-14)
    assert subspace_overlap(BASIS[:, :4], BASIS[:, 2:4]) == pytest.approx(2 / np.sqrt(8))
    angle = 0.3
    tilted = np.cos(angle) * BASIS[:, :1] + np.sin(angle) * BASIS[:, 1:2]
    assert subspace_overlap(tilted, BASIS[:, :1]) == pytest.approx(np.cos(angle) ** 2)


ONE = np.ones((2, 2))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: top_eigenpairs(MATRIX, count=N, seed=0), "count must be .* 39 at most, got 40"),
        (
            lambda: top_eigenpairs(MATRIX, count=0, seed=0),
            "count must be a whole number, 1 or more",
        ),
        (lambda: top_eigenpairs(MATRIX[:3], count=1, seed=0), "operator must be a square"),
        (lambda: hutchinson_trace(3.0, probes=2, seed=0), "operator must be a square"),
        (
            lambda: hutchinson_trace(MATRIX * np.nan, probes=2, seed=0),
            "operator must be finite, got nan",
        ),
        (lambda: hutchinson_trace(ONE * np.inf, probes=2, seed=0), "must be finite, got inf"),
        (
            lambda: hutchinson_trace(MATRIX, probes=1, seed=0),
            "probes must be .*got 1; a standard error needs two",
        ),
        (lambda: lanczos(MATRIX, np.ones(N), steps=0), "steps must be .* got 0"),
        (lambda: lanczos(MATRIX, np.zeros(N), steps=2), "of length 0.0"),
        (lambda: lanczos(MATRIX, np.ones(3), steps=2), r"start must be an array of shape \(40\)"),
        (
            lambda: spectral_density(MATRIX, steps=2, probes=2, seed=0, grid=[0.0], width=0.0),
            "width must be .* above 0, got 0.0",
        ),
        (lambda: in_eigenbasis(np.triu(MATRIX), MATRIX), "must be symmetric"),
        (lambda: top_eigenpairs(MATRIX * (1 + 1j), count=1, seed=0), "array of real numbers"),
        (lambda: top_eigenpairs(aslinearoperator(1j * ONE), count=1, seed=0), "real and symmetric"),
        (lambda: top_eigenpairs(MATRIX, count=1, seed=0, which="XX"), "which must be one of"),
        (lambda: top_eigenpairs(MATRIX, count=1.5, seed=0), "count must be a whole number"),
        (
            lambda: spectral_density(MATRIX, steps=2, probes=2, seed=0, grid=[[0.0]], width=1.0),
            "grid must be an array of shape",
        ),
        (lambda: proportionality(1j * ONE, ONE), "matrix must be an array of real numbers"),
        (lambda: in_eigenbasis(ONE, MATRIX), r"one shape \(n, n\), got \(2, 2\) and \(40, 40\)"),
        (lambda: proportionality(0 * ONE, ONE), "matrices that are not zero"),
        (lambda: proportionality(ONE, np.diag([1.0, -1])), "a Hessian with a trace"),
        (lambda: subspace_overlap(ONE, ONE), "columns of a basis must be independent"),
        (lambda: subspace_overlap(np.ones(2), ONE), "must be given as columns"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("left, right", [(3e200, 2e200), (3e-200, 2e-200), (3e200, 2e-100)])
def test_matrices_of_any_size_are_compared(left, right):
    one, other = np.diag([1.0, 2.0, 4.0]), np.diag([3.0, 1.0, 2.0])
    found, truth = (proportionality(*p) for p in ((left * one, right * other), (one, other)))
    assert found.cosine == pytest.approx(truth.cosine, rel=1e-14)
    assert found.slope == pytest.approx(truth.slope * (left / right), rel=1e-14)
    assert found.trace_ratio == pytest.approx(truth.trace_ratio * (left / right), rel=1e-14)


def test_what_is_no_number_is_refused_by_name():
    broken = LinearOperator((4, 4), matvec=lambda v: v * np.nan, dtype=float)
    for ask in (
        lambda: top_eigenpairs(broken, count=2, seed=1),
        lambda: hutchinson_trace(broken, probes=3, seed=1),
        lambda: lanczos(broken, np.arange(1.0, 5), steps=3),
    ):
        with pytest.raises(ValueError, match="operator must give finite products"):
            ask()
    with pytest.raises(ValueError, match="a Hessian with a trace"):
        proportionality(np.eye(3), np.diag([0.1, 0.2, -0.3]))  # its trace is a rounding
    with pytest.raises(ValueError, match="subspaces must be given as columns"):
        subspace_overlap(np.zeros((3, 0)), np.eye(3))


@pytest.mark.parametrize("which", ["LA", "SA", "LM"])
@pytest.mark.parametrize("scale", [2.0**-996, 2.0**-93, 2.0**-50, 2.0**60, 2.0**900])
def test_matrices_of_any_scale_have_their_eigenvalues(scale, which):
    """A power of two changes no digit; within 1e-12 and 1e12 ARPACK sees what it is given."""
    values, vectors = top_eigenpairs(MATRIX, count=3, seed=1, which=which)
    for matrix in (scale * MATRIX, aslinearoperator(scale * MATRIX)):
        found, places = top_eigenpairs(matrix, count=3, seed=1, which=which)
        np.testing.assert_allclose(found / scale, values, rtol=1e-11)
        np.testing.assert_allclose(places, vectors, atol=1e-7)


@pytest.mark.parametrize("form", [np.asarray, aslinearoperator], ids=["matrix", "operator"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_least_eigenvalues_of_few_samples_are_zeros(count, form):
    """Of 100 parameters and 10 samples 90 directions are flat, which ARPACK does not settle."""
    x = np.random.default_rng(0).normal(size=(10, 100))
    matrix = hessian(networks.logistic(100), np.zeros(100), x, np.arange(10) % 2)
    for seed in range(5):
        found, places = top_eigenpairs(form(matrix), count=count, seed=seed, which="SA")
        np.testing.assert_allclose(found, 0, atol=1e-12)
        np.testing.assert_allclose(matrix @ places, 0, atol=1e-12)
        np.testing.assert_allclose(places.T @ places, np.eye(count), atol=1e-12)


class Unsettled:
    """An ARPACK that never settles."""

    def __call__(self, *_, **__):
        raise ArpackNoConvergence("no convergence", [], [])


@pytest.mark.parametrize("scale", [1.0, 2.0**-93])
def test_where_arpack_fails_numpy_finds_them_or_the_remedy_is_told(scale, monkeypatch):
    monkeypatch.setattr("scipy.sparse.linalg.eigsh", Unsettled())
    small = {"LA": VALUES[:3], "SA": VALUES[-3:]}
    small["LM"] = np.sort(VALUES[np.argsort(-np.abs(VALUES))[:3]])[::-1]
    for which, values in small.items():
        found, places = top_eigenpairs(scale * MATRIX, count=3, seed=1, which=which)
        np.testing.assert_allclose(found / scale, values, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(MATRIX @ places, places * values, atol=1e-10)
    monkeypatch.setattr(_symmetric, "_DENSE", N - 1)
    with pytest.raises(ValueError, match="40 dimensions and .*no convergence.*; take the matrix"):
        top_eigenpairs(MATRIX, count=3, seed=1)
