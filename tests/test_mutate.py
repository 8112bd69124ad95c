"""What must run before a cell in which a mistake is made: enough, and little more."""

import pytest

from tests.mutate import mutated, needed, pieces

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


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        (["name = slow()", "for name in 'ab':\n    t = name", "assert t == 'b'"], [1, 2]),
        (["name = 3", "for k in (name,):\n    t = k", "assert t == 3"], [0, 1, 2]),
        (["k = 5", "for k in ():\n    pass", "assert k == 5"], [0, 1, 2]),
        (["h = 3", "f = [h for _ in 'a']", "h = slow()", "assert f == [3]"], [0, 1, 3]),
        (["h = slow()", "h = 1\nf = lambda: h", "h = 2", "assert f() == 2"], [1, 2, 3]),
        (["f = [lambda: h]", "h = 4", "t = f[0]()", "assert t == 4"], [0, 1, 2, 3]),
        (["import torch", "torch.manual_seed(3)", "assert torch.initial_seed() == 3"], [0, 1, 2]),
    ],
)
def test_loops_comprehensions_and_functions_take_names_in_their_own_time(cells, kept):
    assert needed(cells, [len(cells) - 1]) == kept
    names = {}
    for i in kept:
        exec(cells[i], names)


def test_a_cell_falls_into_its_statements():
    cells = ["# first\na = 1; b = 2\n\n@f\ndef g():\n    pass\n# last", "a = 3\nb = 4"]
    found = list(pieces(cells, {1}))
    assert [i for i, _ in found] == [0, 0, 0, 1] and found[-1][1] == cells[1]
    assert "\n".join(part for i, part in found if i == 0 and part) == cells[0]


def test_a_mistake_is_made_once_or_not_at_all():
    assert mutated("a + b", "+", "-") == "a - b"
    for text in ("a b", "a + b + c"):
        with pytest.raises(AssertionError, match="the mistake is not made"):
            mutated(text, "+", "-")
