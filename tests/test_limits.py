"""One extrapolation, against closed forms and SciPy's quadrature by it."""

import numpy as np
import pytest

from ddt_utils.limits import extrapolate


def errors(sizes):
    """A quantity with the limit 1.7 and three powers, no two numbers equal."""
    h = np.asarray(sizes)
    return 1.7 - 0.9 * h**0.5 + 2.3 * h - 0.4 * h**1.5


def test_the_named_powers_are_removed_whatever_the_sizes():
    sizes = [0.31, 0.11, 0.07, 0.02]
    found = extrapolate(sizes, errors(sizes), powers=(0.5, 1, 1.5))
    assert found.value == pytest.approx(1.7, abs=1e-12)
    shuffled = [sizes[i] for i in (2, 0, 3, 1)]
    again = extrapolate(shuffled, errors(shuffled), powers=(0.5, 1, 1.5, 2))
    assert (again.value, again.error) == pytest.approx((found.value, found.error), abs=1e-12)
    two = extrapolate(sizes[2:], errors(sizes[2:]), powers=(0.5,))
    weight = np.sqrt(0.07 / 0.02)
    by_hand = (weight * errors(0.02) - errors(0.07)) / (weight - 1)
    assert two.value == pytest.approx(by_hand, rel=1e-13)
    assert two.error == pytest.approx(abs(by_hand - errors(0.02)), rel=1e-12)


def test_the_trapezoids_of_a_smooth_integral():
    """Romberg's table: ∫ exp from 0 to 1; the stated error covers the true one, and not by far."""
    counts = np.array([5, 10, 20])
    values = [np.trapezoid(np.exp(z := np.linspace(0, 1, n + 1)), z) for n in counts]
    found = extrapolate(1 / counts, values, powers=(2, 4))
    assert abs(found.value - (np.e - 1)) < found.error < 1e-7


def test_values_that_do_not_fall_as_the_powers_say_have_a_large_error():
    """First order, taken for second: the truth stays within twice the error."""
    sizes = np.array([0.4, 0.2, 0.1])
    found = extrapolate(sizes, 3 + 0.5 * sizes, powers=(2, 4))
    assert abs(found.value - 3) < 1.2 * found.error
    honest = extrapolate(sizes, 3 + 0.5 * sizes**2 + 0.3 * sizes**4, powers=(2, 4))
    assert honest.error < 2e-3


def test_arrays_and_standard_errors():
    values = np.array([[1.9, 2.5, 7.0], [1.6, 2.2, 6.0]])
    found = extrapolate([0.2, 0.05], values, powers=(1,), stderr=values / 100)
    np.testing.assert_allclose(found.value, (4 * values[1] - values[0]) / 3)
    np.testing.assert_allclose(found.stderr, np.hypot(4 * values[1], values[0]) / 300)
    np.testing.assert_allclose(found.error, np.abs(values[1] - values[0]) / 3)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(sizes=[0.2]), "two or more"),
        (dict(sizes=[0.2, 0.2]), "different positive"),
        (dict(sizes=[0.2, -0.1]), "different positive"),
        (dict(sizes=[0.2, 0.1, 0.05]), "one value at each"),
        (dict(powers=()), "name the power"),
        (dict(powers=(-1,)), "powers must be positive"),
        (dict(values=[1, float("nan")]), "values must be finite"),
        (dict(values="12"), "values must be"),
        (dict(stderr=[0.1]), "stderr must be"),
    ],
)
def test_refusals(change, words):
    options = dict(sizes=[0.2, 0.1], values=[1.0, 2.0], powers=(2,)) | change
    with pytest.raises(ValueError, match=words):
        extrapolate(options.pop("sizes"), options.pop("values"), **options)


def test_what_the_powers_cannot_tell_apart_and_errors_below_zero_are_refused():
    with pytest.raises(ValueError, match="sizes must be told apart by the powers"):
        extrapolate([1e200, 3, 1e-200], [5, 3, 2], powers=(1, 2))
    with pytest.raises(ValueError, match="stderr must not be negative"):
        extrapolate([3, 1], [5, 4], powers=(1,), stderr=[0.2, -0.1])


def test_results_beyond_floats_are_refused_and_small_errors_are_no_zeros():
    for values in ([1e308, -1e308], [[1e308, 1], [-1e308, 1]]):
        with pytest.raises(ValueError, match="at size zero must be finite.*take another unit"):
            extrapolate([1, 0.5], values, powers=(1,))
    truth = extrapolate([1, 0.5], [3.0, 2.0], powers=(1,), stderr=[0.3, 0.1]).stderr
    for unit in (2.0**-700, 2.0**700):
        found = extrapolate([1, 0.5], [3.0, 2.0], powers=(1,), stderr=[0.3 * unit, 0.1 * unit])
        assert found.stderr == truth * unit
