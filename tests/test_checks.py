"""Checks of arguments: what is taken, what is refused, and what the refusal says."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
import torch

from ddt_utils import _checks


@pytest.mark.parametrize(
    "value", [3, 3.5, np.float32(0.25), np.int64(7), np.array(2.5), sp.Rational(1, 3)]
)
def test_real_numbers_come_back_as_floats(value):
    found = _checks.number("it", value)
    assert type(found) is float
    assert found == pytest.approx(float(value), rel=1e-15)


@pytest.mark.parametrize(
    "value",
    ["3", b"3", None, True, np.True_, 1j, np.complex128(1), np.nan, np.inf, [1.0], np.ones(1),
     sp.Symbol("x"), sp.I, object()],
)  # fmt: skip
def test_what_is_no_finite_real_number_is_refused_by_name(value):
    with pytest.raises(
        ValueError, match="^width must be a finite real number, got .*; measure it$"
    ):
        _checks.number("width", value, remedy="measure it")


@pytest.mark.parametrize(
    ("bounds", "taken", "refused", "rule"),
    [
        (dict(above=2), 2.001, 2, "above 2"),
        (dict(least=2), 2, 1.999, "2 or more"),
        (dict(below=5), 4.999, 5, "below 5"),
        (dict(most=5), 5, 5.001, "5 at most"),
        (dict(above=-1, most=3), 3, -1, "above -1, 3 at most"),
    ],
)
def test_bounds(bounds, taken, refused, rule):
    assert _checks.number("it", taken, **bounds) == taken
    with pytest.raises(ValueError, match=f"must be a finite real number, {rule}, got {refused}"):
        _checks.number("it", refused, **bounds)


def test_an_infinity_is_taken_only_where_asked_for():
    assert _checks.number("it", np.inf, finite=False) == np.inf
    with pytest.raises(ValueError, match="got nan"):
        _checks.number("it", np.nan, finite=False)


def test_whole_numbers():
    assert [_checks.whole("n", v) for v in (3, 3.0, np.int32(4), np.float64(5))] == [3, 3, 4, 5]
    assert type(_checks.whole("n", 3.0)) is int
    assert _checks.whole("n", 2**53 + 1) == 2**53 + 1  # no rounding on the way
    for value in (2.5, True, "3", None, -1, np.nan, [2]):
        with pytest.raises(ValueError, match="^n must be"):
            _checks.whole("n", value)
    assert _checks.whole("n", 3, least=3, most=7) == 3
    for value in (2, 8):
        with pytest.raises(ValueError, match="a whole number, 3 or more, 7 at most, got"):
            _checks.whole("n", value, least=3, most=7)


def test_seeds_are_whole_and_never_wrap():
    assert _checks.seed(np.uint64(2**64 - 1)) == 2**64 - 1
    for value in (True, 1.0, "7", None, -1, 2**64, 2**64 + 1):
        with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2\*\*64"):
            _checks.seed(value)


def test_choices():
    assert _checks.choice("side", "left", ["left", "right"]) == "left"
    for value in ("up", 1, None, ["left"]):
        with pytest.raises(ValueError, match="side must be one of 'left', 'right', got"):
            _checks.choice("side", value, ["left", "right"])
    with pytest.raises(ValueError, match="must be one of 1, 2"):
        _checks.choice("n", True, [1, 2])


def test_an_array_takes_no_number_beyond_floats():
    for values in (10**400, [1, -(10**400)]):
        with pytest.raises(ValueError, match="^it must be an array of real numbers"):
            _checks.array("it", values)


def test_arrays():
    found = _checks.array("theta", [[1, 2, 3], [4, 5, 6]], shape=(None, 3))
    assert found.dtype == float
    assert found.tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(ValueError, match=r"of shape \(any, 3\), got shape \(2, 2\); reshape"):
        _checks.array("theta", np.ones((2, 2)), shape=(None, 3), remedy="reshape it")
    with pytest.raises(ValueError, match=r"theta must be finite, got nan at \[1, 0\]"):
        _checks.array("theta", [[1.0, 2.0], [np.nan, 3.0]])
    for values in ("abc", [1j, 2], [[1], [2, 3]], [True, False], [None]):
        with pytest.raises(ValueError, match="^theta must be"):
            _checks.array("theta", values)
    for kind in (float, int, bool):
        masked = np.ma.array([3, 0, 1], mask=[False, True, False]).astype(kind)
        with pytest.raises(ValueError, match="theta must be numbers, got masked ones; leave such"):
            _checks.array("theta", _checks.as_numbers(masked))
    assert _checks.array("theta", np.ma.array([3.0, 0.5])).tolist() == [3.0, 0.5]


@pytest.mark.parametrize(
    "kind, values",
    [
        (torch.bfloat16, [0.5, -2.0, 3.0]),
        (torch.float8_e5m2, [0.5, -2.0, 3.0]),
        (torch.float16, [0.5, -2.0, 3.0]),
        (torch.int8, [1, -2, 3]),
    ],
)
def test_tensors_of_any_precision_are_arrays(kind, values):
    given = torch.tensor(values).to(kind)
    assert _checks.array("it", given).tolist() == values
    assert _checks.array("it", _checks.as_numbers(given)).tolist() == values


def test_what_hangs_on_a_tensor_is_no_matter():
    """Of a conjugate the imaginary part has its sign as a flag."""
    part = torch.tensor([1.0, -2.0]).double()
    flagged = torch.complex(part, 3 * part).conj().imag
    assert flagged.is_neg()
    assert _checks.array("it", flagged).tolist() == [-3.0, 6.0]
    assert _checks.as_numbers(flagged).tolist() == [-3.0, 6.0]


@pytest.mark.parametrize(
    "values",
    [torch.ones(2, device="meta"), [torch.ones((), requires_grad=True)] * 2,
     torch.ones(2).to_sparse(), torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])],
    ids=["meta", "list with a history", "sparse", "nested"],
)  # fmt: skip
def test_what_numpy_cannot_read_is_refused_by_name(values):
    with pytest.raises(ValueError, match="^it must be an array of real numbers, got"):
        _checks.array("it", _checks.as_numbers(values))


def test_a_long_value_is_cut_short():
    with pytest.raises(ValueError) as caught:
        _checks.number("it", "x" * 10_000)
    assert len(str(caught.value)) < 220


def test_a_number_for_a_formula_stays_exact_and_is_never_an_array():
    third = sp.Rational(1, 3)
    for given in (third, 7, 0.1, Fraction(2, 7)):
        assert _checks.kept("it", given) is given
    for given, wanted, kind in (
        (np.array(0.1), 0.1, float),
        (np.float32(0.1), float(np.float32(0.1)), float),
        (np.int32(3), 3, int),
        (torch.tensor(0.25), 0.25, float),
        (Decimal("0.3"), 0.3, float),
    ):
        found = _checks.kept("it", given)
        assert found == wanted and type(found) is kind
    with pytest.raises(ValueError, match="it must be a finite real number, above 2, got array.2."):
        _checks.kept("it", np.array(2), above=2)
