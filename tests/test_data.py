"""Data sets against scikit-learn's own scaler, closed forms and the laws they are drawn from.

Statistical tests have fixed seeds and a false-alarm rate of 1e-5 each.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ddt_utils import data, networks
from ddt_utils.dataset import Dataset

RATE = 1e-5
BUNDLED = {
    "breast cancer": (data.breast_cancer, load_breast_cancer, (212, 357)),
    "wine": (data.wine, load_wine, (59, 71, 48)),
    "digits": (data.digits, load_digits, (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)),
}
GENERATED = {
    "mixture": lambda seed: data.gaussian_mixture(500, 4, classes=3, seed=seed),
    "logistic": lambda seed: data.teacher_logistic(500, 4, correlation=0.5, seed=seed),
    "regression": lambda seed: data.teacher_regression(500, 4, seed=seed),
    "signals": lambda seed: data.signals(500, seed=seed),
}


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_are_those_of_scikit_learn_standardised(name):
    load, original, counts = BUNDLED[name]
    found, whole = load(), original()
    raw = whole.data[:, whole.data.std(axis=0) > 0]
    np.testing.assert_allclose(found.inputs, StandardScaler().fit_transform(raw), atol=1e-12)
    np.testing.assert_array_equal(found.targets, whole.target)
    assert found.counts.tolist() == list(counts) and len(found) == sum(counts)
    assert found.name == name and len(found.classes) == len(counts) and found.source
    assert (found.inputs.dtype, found.targets.dtype) == (np.float64, np.int64)


def test_digits_can_stay_pictures():
    pictures, dropped = data.digits(keep_constant=True), data.digits()
    white = np.ptp(load_digits().data, axis=0) == 0
    assert pictures.features == 64 and dropped.features == 61 and white.sum() == 3
    assert not pictures.inputs[:, white].any()
    np.testing.assert_array_equal(pictures.inputs[:, ~white], dropped.inputs)


def test_classes_are_grouped_by_name_or_by_half():
    whole, halves = data.digits(), data.digits(binary=True)
    np.testing.assert_array_equal(halves.targets, whole.targets >= 5)
    assert halves.classes == ("0+1+2+3+4", "5+6+7+8+9") and halves.targets.dtype == np.int64
    named = data.digits(binary=["3", "0"])
    np.testing.assert_array_equal(named.targets, np.isin(whole.targets, (0, 3)))
    assert data.wine(binary=True).counts.tolist() == [59, 71 + 48]
    assert data.wine(binary=False).counts.tolist() == [59, 71, 48]
    for wrong in ((), ["10"], whole.classes):
        with pytest.raises(ValueError, match="some but not all of the classes"):
            whole.grouped(wrong)
    with pytest.raises(ValueError, match="some but not all"):
        data.teacher_regression(10, 2, seed=0).grouped(True)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_sets_depend_on_their_seed_only(name):
    make = GENERATED[name]
    first, other, again = make(7), make(8), make(7)
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert not np.allclose(first.inputs, other.inputs)
    np.testing.assert_allclose(first.inputs.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(first.inputs.std(axis=0), 1, atol=1e-12)


@pytest.mark.parametrize("classes, features", [(2, 1), (2, 5), (4, 3)])
def test_clouds_are_as_far_apart_as_asked(classes, features):
    """The Mahalanobis distance of two clouds does not change when columns are rescaled."""
    separation, m = 2.5, 20_000
    found = data.gaussian_mixture(m, features, classes=classes, separation=separation, seed=3)
    parts = [found.inputs[found.targets == c] for c in range(classes)]
    scatter = sum((p - p.mean(axis=0)).T @ (p - p.mean(axis=0)) for p in parts)
    precision = (m - classes - features - 1) * np.linalg.inv(scatter)  # unbiased
    pairs = [(a, b) for a in range(classes) for b in range(a)]
    for a, b in pairs:
        apart, share = parts[a].mean(axis=0) - parts[b].mean(axis=0), 1 / len(parts[a])
        share += 1 / len(parts[b])
        square = apart @ precision @ apart - features * share
        error = np.sqrt(4 * separation**2 * share + 2 * separation**4 / m)
        assert abs(square - separation**2) < stats.norm.isf(RATE / 2 / len(pairs)) * error


def test_the_best_classifier_of_two_clouds_is_as_good_as_stated():
    found = data.gaussian_mixture(40_000, 3, separation=2, seed=5)
    train, test = found.split(0.5, seed=0)
    rule = LinearDiscriminantAnalysis().fit(train.inputs, train.targets)
    right = int((rule.predict(test.inputs) == test.targets).sum())
    assert stats.binomtest(right, len(test), stats.norm.cdf(1)).pvalue > RATE


def score_test(found, weights):
    """p-value of the hypothesis that the labels come from the logistic model with these weights."""
    chance = 1 / (1 + np.exp(-found.inputs @ weights))
    score = found.inputs.T @ (found.targets - chance)
    fisher = (found.inputs.T * (chance * (1 - chance))) @ found.inputs
    return stats.chi2.sf(score @ np.linalg.solve(fisher, score), found.features)


def test_the_logistic_teacher_is_well_specified():
    found = data.teacher_logistic(20_000, 6, strength=3, correlation=0.6, seed=11)
    assert np.linalg.norm(found.truth) == pytest.approx(3, rel=1e-12)
    assert score_test(found, found.truth) > RATE
    assert score_test(found, 0.9 * found.truth) < RATE  # the test can fail
    chance = 1 / (1 + np.exp(-found.inputs @ found.truth))
    bins = np.digitize(chance, np.linspace(0, 1, 21)[1:-1])
    expected = np.bincount(bins, chance)
    spread = np.bincount(bins, chance * (1 - chance))
    surprise = ((np.bincount(bins, found.targets) - expected) ** 2 / spread).sum()
    assert stats.chi2.sf(surprise, 20) > RATE


def test_the_logistic_model_of_networks_has_its_minimum_near_the_truth():
    found = data.teacher_logistic(5_000, 4, seed=2)
    x, y = found.tensors()
    model = networks.logistic(4)
    theta = torch.tensor(found.truth, requires_grad=True)
    model.loss(theta, x, y).backward()
    chance = 1 / (1 + np.exp(-found.inputs @ found.truth))
    error = np.sqrt((found.inputs.T**2 * (chance * (1 - chance))).sum(axis=1)) / len(found)
    assert (np.abs(theta.grad.numpy()) < stats.norm.isf(RATE / 8) * error).all()
    fit = LogisticRegression(C=np.inf, fit_intercept=False).fit(found.inputs, found.targets)
    np.testing.assert_allclose(fit.coef_[0], found.truth, atol=0.25)


def test_the_regression_teacher_is_well_specified():
    found = data.teacher_regression(20_000, 5, noise=0.3, correlation=-0.4, seed=4)
    rest = (found.targets - found.inputs @ found.truth) / 0.3
    assert stats.kstest(rest, "norm").pvalue > RATE
    score = found.inputs.T @ rest
    square = score @ np.linalg.solve(found.inputs.T @ found.inputs, score)
    assert stats.chi2.sf(square, 5) > RATE
    assert found.targets.dtype == np.float64 and found.classes == () and found.counts is None
    assert np.linalg.norm(found.truth) == pytest.approx(1, rel=1e-12)
    exact = data.teacher_regression(50, 5, noise=0, seed=4)
    np.testing.assert_array_equal(exact.targets, exact.inputs @ exact.truth)


def test_features_of_teachers_are_correlated_as_asked():
    rho, m = 0.7, 20_000
    found = data.teacher_regression(m, 4, correlation=rho, seed=9)
    i, j = np.triu_indices(4, 1)
    measured = np.arctanh(np.corrcoef(found.inputs.T)[i, j])
    off = np.abs(measured - np.arctanh(rho ** (j - i))) * np.sqrt(m - 3)
    assert off.max() < stats.norm.isf(RATE / 2 / len(i))


def test_signals_are_what_the_docstring_says(monkeypatch):
    monkeypatch.setattr(data.Dataset, "standardised", lambda self: self)
    still = data.signals(400, shift=0, noise=0, seed=1)
    s = (np.arange(40) + 0.5 - 8) / 24
    for row, c in zip(still.inputs, still.targets, strict=True):
        tone = np.sin(np.pi * (2 + c // 2) * np.abs(s) ** (1.5 if c % 2 else 1))
        tone[(s < 0) | (s > 1)] = 0
        height = row @ tone / (tone @ tone)
        np.testing.assert_allclose(row, height * tone, atol=1e-12)
        assert 0.8 <= height <= 1.2
    noisy = data.signals(20_000, shift=0, noise=0.25, seed=1).inputs[:, 2]
    square = (noisy**2).sum() / (0.25**2 + 0.025**2)
    assert RATE / 2 < stats.chi2.cdf(square, 20_000) < 1 - RATE / 2
    moving = data.signals(2_000, noise=0, seed=1).inputs
    first = (np.abs(moving) > 1e-9).argmax(axis=1)
    assert set(first) == set(range(17))  # every free place, and no other


def test_signals_need_more_than_a_linear_classifier():
    def accuracy(shift):
        train, test = data.signals(4_000, shift=shift, seed=6).split(0.75, seed=0)
        rule = LinearDiscriminantAnalysis().fit(train.inputs, train.targets)
        return rule.score(test.inputs, test.targets)

    assert accuracy(0.0) > 0.95
    assert 0.12 < accuracy(1.0) < 0.6


def test_splits_share_nothing_and_lose_nothing():
    whole = data.Dataset("numbers", np.arange(10.0)[:, None], np.arange(10) % 3, ("a", "b", "c"))
    train, test = whole.split(0.7, seed=1)
    assert (len(train), len(test)) == (7, 3) and train.classes == whole.classes
    both = np.concatenate([train.inputs, test.inputs])[:, 0]
    assert sorted(both) == list(range(10)) and list(both) != sorted(both)
    np.testing.assert_array_equal(train.targets, train.inputs[:, 0] % 3)
    np.testing.assert_array_equal(train.inputs, whole.split(0.7, seed=1)[0].inputs)
    assert train.inputs.tolist() != whole.split(0.7, seed=2)[0].inputs.tolist()
    assert whole.subset([4, 1]).inputs.tolist() == [[4], [1]]
    assert whole.subset(whole.targets == 2).inputs.tolist() == [[2], [5], [8]]
    for wrong in (0, 0.01, 1.0, 7):
        with pytest.raises(ValueError, match="train_fraction must leave samples on both sides"):
            whole.split(wrong, seed=0)


def test_standardising_drops_or_keeps_constant_columns():
    inputs = np.column_stack([np.full(9, 0.1), np.arange(9.0), 1e6 + 1e-9 * np.arange(9)])
    whole = data.Dataset("columns", inputs, np.zeros(9), truth=np.ones(3))
    kept = whole.standardised(keep_constant=True)
    assert whole.standardised().features == 1 and kept.truth is None
    np.testing.assert_array_equal(kept.inputs[:, [0, 2]], 0)
    np.testing.assert_allclose(kept.inputs[:, 1], stats.zscore(np.arange(9)), rtol=1e-14)


def test_tensors_are_copies_and_arrays_are_read_only():
    found = data.wine()
    x, y = found.tensors()
    assert (x.dtype, y.dtype) == (torch.float64, torch.int64)
    assert data.teacher_regression(5, 2, seed=0).tensors()[1].dtype == torch.float64
    before = found.inputs.copy()
    x += 1
    np.testing.assert_array_equal(found.inputs, before)
    with pytest.raises(ValueError, match="read-only"):
        found.inputs[0] = 0
    mine = np.ones((2, 1))
    kept = data.Dataset("mine", mine, [0.0, 1.0])
    mine[0] = 5
    assert kept.inputs[0, 0] == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.ones(3), [0, 1, 1], ("a", "b")), "needs inputs of shape"),
        ((np.ones((3, 2)), [0, 1], ("a", "b")), "needs inputs of shape"),
        ((np.ones((0, 2)), [], ()), "needs inputs of shape"),
        ((np.full((2, 2), np.nan), [0, 1], ("a", "b")), "must be finite.*drop that sample"),
        ((np.ones((2, 2)), [0, np.inf], ()), "must be finite.*drop that sample"),
        ((np.ones((2, 2)), [0, 2], ("a", "b")), "classes, whole numbers from 0 to 1"),
        ((np.ones((2, 2)), [0.9, 1], ("a", "b")), "from 0 to 1, got 0.9; number the classes"),
        ((np.ones((2, 2)), [1, 2], ("a", "b")), "give targets − 1 for labels from 1"),
        ((np.ones((2, 2)), [1, -1], ("a", "b")), r"give \(targets \+ 1\) / 2"),
        ((np.ones((2, 2)) * 1j, [1, 0], ("a", "b")), "inputs must be an array of real numbers"),
        ((np.ones((2, 2)), ["0", "1"], ("a", "b")), "targets must be an array of real numbers"),
        ((np.ones((2, 2)), [0, -1], ("a", "b")), "classes, whole numbers from 0 to 1"),
    ],
)
def test_a_dataset_refuses_what_it_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.Dataset("wrong", *arguments)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: data.gaussian_mixture(9, 2, classes=4, seed=0), "simplex"),
        (lambda: data.gaussian_mixture(9, 2, classes=1, seed=0), "classes must be .* 2 or more"),
        (lambda: data.gaussian_mixture(1, 2, seed=0), "samples must be .* 2 or more"),
        (lambda: data.teacher_logistic(9, 0, seed=0), "features must be .* 1 or more"),
        (
            lambda: data.teacher_regression(9, 2, correlation=1, seed=0),
            "correlation must be .* below 1",
        ),
        (lambda: data.gaussian_mixture("9", 2, seed=0), "samples must be"),
        (lambda: data.gaussian_mixture(9, 2, separation=np.nan, seed=0), "separation must be"),
        (lambda: data.teacher_logistic(9, 2, strength=None, seed=0), "strength must be"),
        (lambda: data.teacher_regression(9, 2, noise=1j, seed=0), "noise must be"),
        (lambda: data.wine().split("half", seed=0), "train_fraction must be"),
        (lambda: data.signals(9, classes=11, seed=0), "classes must be .* 10 at most"),
        (lambda: data.signals(9, length=19, seed=0), "length must be .* 20 or more"),
        (lambda: data.signals(9, shift=1.5, seed=0), "shift must be .* 1 at most"),
    ],
)
def test_generators_say_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_importing_loads_nothing_heavy():
    code = "import sys; from ddt_utils import data, uci; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"torch", "sklearn", "scipy", "sympy"} & set(loaded.stdout.split())


@pytest.mark.parametrize("size", [1e-200, 1e-3, 1e200, 1.5e308])
def test_columns_of_any_size_are_standardised(size):
    column = np.array([0.3, -1.0, 0.9, 0.1, -0.2])
    found = Dataset("wide", np.stack([size * column, column], 1), np.arange(5)).standardised()
    np.testing.assert_allclose(found.inputs[:, 0], found.inputs[:, 1], rtol=1e-12)


def test_samples_are_picked_by_what_is_a_list_of_them():
    cards = Dataset("cards", np.arange(10.0).reshape(5, 2), [0, 1, 2, 0, 1], ("AB", "A", "B"))
    for some in (
        [1, 3],
        (1, 3),
        torch.tensor([1, 3]),
        slice(1, 4, 2),
        [False, True, False, True, False],
    ):
        np.testing.assert_array_equal(cards.subset(some).inputs[:, 0], [2, 6])
    for none in ([9], [], [1.0, 2.0], [True, False], "all", None, 2, [[0, 1]], np.zeros(5, bool)):
        with pytest.raises(ValueError, match="indices must be a list of whole numbers below 5"):
            cards.subset(none)


def test_groups_are_named_by_a_name_or_by_names():
    cards = Dataset("cards", np.arange(10.0).reshape(5, 2), [0, 1, 2, 0, 1], ("AB", "A", "B"))
    assert cards.grouped("AB").classes == ("A+B", "AB")
    assert cards.grouped(np.True_).classes == cards.grouped(True).classes
    numbered = Dataset("numbers", cards.inputs, cards.targets, (0, 1, 2))
    assert numbered.grouped([2]).classes == ("0+1", "2")
    for wrong in (1, 0.5, []):
        with pytest.raises(ValueError, match="binary must name some but not all"):
            cards.grouped(wrong)
    for twins in (("A", "A", "B"), (0, "0", 1)):
        with pytest.raises(ValueError, match="classes must have names of their own"):
            Dataset("twins", cards.inputs, cards.targets, twins)


def test_names_of_classes_have_an_order():
    inputs, targets = np.ones((3, 2)), [0, 1, 1]
    for names in (np.array(["a", "b"]), ["a", "b"], iter("ab"), {"a": 3, "b": 2}):
        assert Dataset("letters", inputs, targets, names).classes == ("a", "b")
    for wrong in (2, None, {"a", "b"}, frozenset("ab"), ([1], [2]), np.array([["a"], ["b"]])):
        with pytest.raises(ValueError, match="(?s)classes must be names in .*; give a tuple"):
            Dataset("letters", inputs, targets, wrong)
    with pytest.raises(ValueError, match="device must be one of torch's, got 'foo'"):
        Dataset("letters", inputs, targets).tensors("foo")


def test_whole_floats_are_counts_for_every_generator():
    for make in (data.teacher_logistic, data.teacher_regression):
        np.testing.assert_array_equal(make(20.0, 3.0, seed=2).inputs, make(20, 3, seed=2).inputs)
