"""What must run before a cell in which a mistake is made: enough, and little more."""

import pytest

from tests.mutate import mutated, needed

CELLS = [
    "import sympy as sp\nimport numpy as np",  # 0
    "x = sp.Symbol('x')\nh = 3",  # 1
    "slow = np.ones(10**6)",  # 2: nobody's
    "def f(y):\n    return y + shift",  # 3
    "shift = 2",  # 4
    "found = [f(1)]",  # 5
    "found.append(h)",  # 6
    "table = {}\nfor k in (5, 7):\n    table[k] = k * h",  # 7
    "h = 4",  # 8
    "assert found == [3, 3] and h == 4",  # 9
    "assert table[7] == 21 and sp.diff(x**2, x) == 2 * x",  # 10
]


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ([9], [0, 1, 3, 4, 5, 6, 8, 9]),
        ([10], [0, 1, 7, 10]),
        ([8], [8]),
        ([5, 8], [3, 4, 5, 8]),
    ],
)
def test_what_a_cell_depends_on_runs_before_it(wanted, kept):
    found = needed(CELLS, wanted)
    assert set(kept) - {0} <= set(found) and 2 not in found
    assert len(found) <= len(kept) + 1
    names = {}
    for i in found:
        exec(CELLS[i], names)


def test_a_mistake_is_made_once_or_not_at_all():
    assert mutated("a + b", "+", "-") == "a - b"
    for text in ("a b", "a + b + c"):
        with pytest.raises(AssertionError, match="the mistake is not made"):
            mutated(text, "+", "-")
