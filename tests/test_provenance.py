"""One digest: every change that could change a number is seen, and no other."""

import ast
import decimal
import functools
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import torch

import ddt_utils
from ddt_utils import _sources, catalog, criterion, networks, noise, provenance, replicas

MODULE = '''
import functools
from dataclasses import dataclass
from math import sin
import numpy as np
FIRST, SECOND = 1.5, 100
WAYS = {"a": lambda v: v + 1, "b": lambda v: v + 2}
TWO = (lambda v: 3 * v, lambda v: 4 * v)
BOTH = {2, 5}
PARTIAL = functools.partial(max, 3, key=abs)
def made(c):
    def inner(v):
        return v * c
    return inner
SCALED = made(2)
@functools.lru_cache
def cached(v):
    return v - 7
@dataclass(frozen=True)
class Dial:
    turn: float = 0.25
    def apply(self, v):
        return v + self.turn
    @property
    def double(self):
        return 2 * self.turn
class Base:
    power = 2
class Child(Base):
    @staticmethod
    def raised(v):
        return v**Child.power
def decorated(function):
    @functools.wraps(function)
    def wrapper(*some):
        return function(*some) + 9
    return wrapper
@decorated
def shown(v):
    return v
def nested(v):
    return [FIRST * w for w in range(v)]
def swapped(v, low=0, *, high=8):
    """A docstring."""
    return FIRST * v + SECOND - low + high
def unused(v):
    return v / 77
def whole(v):
    # a comment
    return (swapped(v), WAYS["a"](v), TWO[0](v), sum(BOTH), PARTIAL(v), SCALED(v), cached(v),
            Dial(0.5).apply(v), Dial().double, Child.raised(v), shown(v), nested(v), sin(v),
            np.cos(v), v.unused)
'''


def imported(folder, source, name="chapter"):
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def digest_of(folder, source):
    return provenance.digest({"whole": imported(folder, source).whole})


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return digest_of(tmp_path_factory.mktemp("before"), MODULE)


# fmt: off
ALIKE = [
    (lambda v: v + 1), (lambda v: v * 100), (lambda v: (lambda w: w + v)), (lambda: None),
    *(lambda v: (lambda w: w * 2)(v), lambda v: (lambda w: w * 3)(v), lambda v=(lambda: 4): v),
]
TWINS = {"square": lambda out, y: (out - y) ** 2, "other": lambda out, y: (out - y) ** 4}
# fmt: on


def test_functions_of_one_line_are_told_apart():
    each = [*ALIKE, *TWINS.values(), ALIKE[2](3), ALIKE[6]()]
    assert len({provenance.digest({"f": f}) for f in each}) == len(each)
    assert len({_sources.definition(f.__code__) for f in each}) == len(each)
    plain = "f = lambda v: v * 100"
    (alone,) = [node for node in ast.walk(ast.parse(plain)) if isinstance(node, ast.Lambda)]
    assert _sources.definition(ALIKE[1].__code__) == json.dumps([_sources._plain(alone)]).encode()


@pytest.mark.parametrize(
    "right, wrong",
    [
        ("FIRST, SECOND = 1.5, 100", "SECOND, FIRST = 1.5, 100"),
        ("= 1.5, 100", "= 1.5000000000000002, 100"),
        ("= 1.5, 100", "= 1.5, 1.5"),
        ("= 1.5, 100", "= 1.5, 100.0"),
        ("lambda v: v + 1", "lambda v: v + 3"),
        ("lambda v: 3 * v, lambda v: 4 * v", "lambda v: 4 * v, lambda v: 3 * v"),
        ("{2, 5}", "{2, 5, 9}"),
        ("max, 3", "min, 3"),
        ("max, 3", "max, 4"),
        ("key=abs", "key=float"),
        ("made(2)", "made(3)"),
        ("return v * c", "return v + c"),
        ("return v - 7", "return v - 8"),
        ("Dial(0.5)", "Dial(0.75)"),
        ("turn: float = 0.25", "turn: float = 0.35"),
        ("return v + self.turn", "return v - self.turn"),
        ("return 2 * self.turn", "return 3 * self.turn"),
        ("power = 2", "power = 3"),
        ("return v**Child.power", "return Child.power**v"),
        ("    @staticmethod\n    def raised(v)", "    @classmethod\n    def raised(v)"),
        ("function(*some) + 9", "function(*some) + 8"),
        ("@decorated\ndef shown", "def shown"),
        ("@functools.lru_cache\n", ""),
        ("FIRST * w", "SECOND * w"),
        ("low=0", "low=1"),
        ("high=8", "high=9"),
        ("from math import sin", "from math import cos as sin"),
        ("np.cos(v)", "np.sin(v)"),
        ("import numpy as np", "import cmath as np"),
    ],
)
def test_a_change_that_counts_is_seen(before, tmp_path, right, wrong):
    assert MODULE.count(right) == 1
    assert digest_of(tmp_path, MODULE.replace(right, wrong)) != before


@pytest.mark.parametrize(
    "right, wrong",
    [
        ("A docstring.", "Another one."),
        ("    # a comment\n", "\n"),
        ("v / 77", "v / 78"),
        ("sum(BOTH), PARTIAL(v),", "sum(BOTH),\n            PARTIAL(v),"),
        ("import functools\n", "import functools\nimport ast\nnew = 3\n"),
        ("{2, 5}", "{5, 2}"),
    ],
)
def test_what_changes_no_number_is_not_seen(before, tmp_path, right, wrong):
    assert right in MODULE
    assert digest_of(tmp_path, MODULE.replace(right, wrong, 1)) == before


@dataclass
class Pair:
    one: object
    other: object


class Loop:
    def __init__(self, value):
        self.me, self.value = self, value


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


class Late:
    start = 3

    @functools.cached_property
    def square(self):
        return self.start**2


x, y = sp.symbols("x y", real=True)
KNOCK = np.eye(40)[:, [19]] * np.eye(40)[[22]] * 1e-9
VALUES = {
    "none": None,
    "false": False,
    "zero": 0,
    "text 0": "0",
    "byte 0": b"0",
    "0.0": 0.0,
    "-0.0": -0.0,
    "one": 1,
    "true": True,
    "1.0": 1.0,
    "complex": 1 + 0j,
    "next to one": np.nextafter(1.0, 2.0),
    "int64": np.int64(1),
    "int32": np.int32(1),
    "nan": np.nan,
    "inf": np.inf,
    "list": [1, 2],
    "tuple": (1, 2),
    "array": np.array([1, 2]),
    "floats": np.array([1.0, 2.0]),
    "single": np.array([1.0, 2.0], dtype=np.float32),
    "row": np.array([[1.0, 2.0]]),
    "column": np.array([[1.0], [2.0]]),
    "turned": np.array([2.0, 1.0]),
    "minus": np.array([1.0, -2.0]),
    "objects": np.array([1, "a"], dtype=object),
    "texts": np.array(["a", "bc"]),
    "tensor": torch.tensor([1.0, 2.0], dtype=torch.float64),
    "nested": [[1], 2],
    "nested else": [1, [2]],
    "set": {1, 2},
    "frozen": frozenset({1, 2}),
    "more": {1, 2, 3},
    "range": range(3),
    "dict": {"a": 1, "b": 2},
    "swapped": {"a": 2, "b": 1},
    "order": {"b": 2, "a": 1},
    "pair": Pair(1, 2),
    "pair else": Pair(2, 1),
    "loop": Loop(1),
    "loop else": Loop(2),
    "slots": Slotted(1, 2),
    "slots else": Slotted(2, 1),
    "late": Late(),
    "partial": functools.partial(max, 3),
    "partial else": functools.partial(max, 4),
    "method": Late().__init__,
    "builtin": len,
    "builtin else": max,
    "ufunc": np.exp,
    "ufunc else": np.log,
    "of a generator": np.random.default_rng(3).normal,
    "of another": np.random.default_rng(4).normal,
    "torch's": torch.sin,
    "torch's else": torch.cos,
    "dtype": torch.float32,
    "dtype else": torch.float64,
    "module": np,
    "class": int,
    "class else": float,
    "path": Path("a"),
    "path else": Path("b"),
    "decimal": decimal.Decimal("1.10"),
    "symbol": x,
    "other symbol": sp.Symbol("x"),
    "expression": x + y,
    "matrix": sp.Matrix([x, y]),
    "random": np.random.default_rng(1),
    "random else": np.random.default_rng(2),
    "logistic": networks.logistic(3),
    "linear": networks.linear(3),
    "logistic 4": networks.logistic(4),
    "net": networks.fully_connected((3, 4, 1)),
    "squared": networks.fully_connected((3, 4, 1), loss="squared"),
    "relu": networks.fully_connected((3, 4, 1), activation="relu"),
    "bowl": networks.quadratic([[2.0, 0.5], [0.5, 1.0]]),
    "bowl else": networks.quadratic([[2.0, 0.4], [0.4, 1.0]]),
    "SGD": replicas.SGD(0.1, 2),
    "SGD else": replicas.SGD(0.1, 3),
    "momentum": replicas.SGD(0.1, 2, momentum=0.5),
    "SGLD": replicas.sgld(0.1, 0.2, 40),  # a factor of which repr shows the corners
    "SGLD else": replicas.GaussianSGD(0.1, 2 * np.eye(40) - KNOCK),
    "SGLD third": replicas.GaussianSGD(0.1, 2 * np.eye(40) + KNOCK),
    "box": criterion.Box((0, 1), 0.5),
    "box else": criterion.Box((0, 1), 0.25),
    "quartic": catalog.quartic(),
    "white": noise.WhiteNoise(0.25),
    "white else": noise.WhiteNoise(0.5),
}


def test_no_two_of_these_values_have_one_digest():
    found = {name: provenance.digest({"v": value}) for name, value in VALUES.items()}
    for one, other in itertools.combinations(VALUES, 2):
        assert found[one] != found[other], (one, other)
    assert provenance.digest({"w": 1}) != found["one"] != provenance.digest({"v": 1, "w": 1})
    assert found == {name: provenance.digest({"v": value}) for name, value in VALUES.items()}


AGAIN = """
from tests.test_provenance import VALUES, provenance
names = [n for n in VALUES if n != "method"]
print(*(provenance.digest({"v": VALUES[name]}) for name in names))
"""


def test_another_process_finds_the_same_digests():
    found = subprocess.run(
        [sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONHASHSEED": "5"},
        cwd=Path(__file__).resolve().parent.parent,
    ).stdout.split()  # fmt: skip
    assert found == [
        provenance.digest({"v": value}) for name, value in VALUES.items() if name != "method"
    ]


def test_what_an_object_has_only_remembered_does_not_count():
    fresh, used = Late(), Late()
    assert used.square == 9
    assert provenance.digest({"v": fresh}) == provenance.digest({"v": used})
    landscape = catalog.quartic()
    before = provenance.digest({"v": landscape})
    landscape.value([0.5]), landscape.hessian([0.5])
    assert provenance.digest({"v": landscape}) == before


@pytest.mark.parametrize(
    "value", [threading.Lock(), open(os.devnull), (i for i in range(3)), memoryview(b"ab")]
)  # fmt: skip
def test_what_cannot_be_told_apart_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^dials\[1\]\['key'\] must have a content that tells it"):
        provenance.digest({"dials": [1, {"key": value}]})


def test_a_room_counts_with_what_it_imports(tmp_path):
    """In a copy of the package: a room that is reached, one that it imports, one that is not."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from ddt_utils import networks, provenance, replicas\n"
        "assert provenance.__file__.startswith(sys.argv[1])\n"
        "print(provenance.digest({'rule': replicas.GradientDescent(0.1)}))\n"
        "def f(k):\n    from ddt_utils import spectrum\n    return k\n"
    )
    import shutil

    source = Path(ddt_utils.__file__).parent
    shutil.copytree(source, tmp_path / "ddt_utils", ignore=shutil.ignore_patterns("__pycache__"))

    def found():
        command = [sys.executable, "-c", script, tmp_path]
        env = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout

    before = found()
    for name, counts in (("updates", True), ("_checks", True), ("spectrum", False)):
        path = tmp_path / "ddt_utils" / f"{name}.py"
        kept = path.read_text()
        path.write_text(kept + "\n# a comment\n")
        assert found() == before
        path.write_text(kept + "\nADDED = 1\n")
        assert (found() != before) == counts, name
        path.write_text(kept)


def test_computed_numbers_are_kept_apart():
    values = {"rate": 0.1, "deep": [Pair(1.5, 2), np.array([3.0, 4.0])], "set": {2.5}}
    found, numbers = provenance.origin(values)
    assert {name: np.ravel(v).tolist() for name, v in numbers.items()} == {
        "rate": [0.1], "deep[0].one": [1.5], "deep[1]": [3.0, 4.0],
    }  # fmt: skip
    assert provenance.origin(values | {"rate": 0.2})[0] == found
    for name, other in (("set", {2.6}), ("deep", [Pair(1.5, 3), np.array([3.0, 4.0])])):
        assert provenance.origin(values | {name: other})[0] != found
    assert provenance.digest(values) != provenance.digest(values | {"rate": 0.2})


def test_two_numbers_of_one_name_are_both_kept():
    def one(rate=0.1):
        return rate

    _, numbers = provenance.origin({"f": [one, functools.partial(one, rate=0.3)], "g": 1})
    assert sorted(float(v) for v in numbers.values()) == [0.1, 0.3]


def test_rooms_are_followed_through_their_imports():
    assert {"replicas", "escape", "streams", "_checks"} <= _sources.reached({"replicas"})
    assert "uci" not in _sources.reached({"replicas"})
    assert _sources.imports("def f():\n    from ddt_utils.simulate import rules") == {"simulate"}
    assert _sources.imports("import ddt_utils.exact as e\nfrom ddt_utils import data") == {
        "exact",
        "data",
    }
    assert _sources.room_of(Path(ddt_utils.__file__).parent / "simulate" / "cpu.txt") == "simulate"
    assert _sources.room_of(__file__) == ""


def test_defaults_of_a_dataclass_count():
    def of(factory):
        @dataclass
        class Dial:
            a: list = field(default_factory=factory)

        return provenance.digest({"v": Dial})

    assert of(list) != of(dict)
