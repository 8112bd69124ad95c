"""The benchmark of guarantees: each is really taken out, and its table says what was measured."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
import sympy as sp

from ddt_utils import catalog
from ddt_utils.noise import WhiteNoise
from ddt_utils.simulate import Problem

ROOT = Path(__file__).resolve().parent.parent
ROOMS = [str(ROOT / "benchmarks"), str(ROOT / "book" / "_ext")]
sys.path[:0] = ROOMS
try:  # for these alone: another folder has a pages.py, too
    contestants, engine, guarantees, tables = map(
        import_module, ("contestants", "engine", "guarantees", "tables")
    )
finally:
    for room in ROOMS:
        sys.path.remove(room)

x, y = sp.symbols("x y", real=True)
QUARTIC = Problem(catalog.quartic(), WhiteNoise(0.25), start=-1, exit=x > 0, step=0.01)
SURFACE = Problem(
    catalog.mueller_brown(scale=0.01), WhiteNoise(0.1), start=(-0.55, 1.44), exit=y < 0.5, step=0.01
)


def test_each_guarantee_is_taken_out_of_the_source():
    program = SURFACE.program()
    sources = {name: guarantees.without(program, [name]).source for name in guarantees.GUARANTEES}
    assert len({program.source, *sources.values()}) == 4
    for source in sources.values():
        compile(source, "step", "exec")
    bits, watch, exponential = sources.values()
    assert "builder.fma(" in program.source and "builder.fma(" not in bits
    assert "fastmath=False" not in bits and bits.count("fastmath=True") == 3
    assert "done = " in watch and "~finite" not in watch
    assert exponential.count("LOG2_E_LOW") == program.source.count("LOG2_E_LOW") - 1


def test_all_of_them_can_be_taken_out_together():
    source = guarantees.without(SURFACE.program(), list(guarantees.GUARANTEES)).source
    assert not [part for part in ("builder.fma(", "~finite", "np.float32(88)") if part in source]


def test_a_step_without_an_exponential_has_none_to_shorten():
    with pytest.raises(ValueError, match="without an exponential"):
        guarantees.without(QUARTIC.program(), ["the whole exponential"])


def test_a_source_that_was_rewritten_is_no_longer_measured():
    with pytest.raises(ValueError, match="must contain ' | ~finite'"):
        guarantees.unwatched("done = there")


def test_everyone_who_is_asked_is_known():
    assert set(engine.ALONE) < set(contestants.CONTESTANTS)
    assert set(engine.BUILDS) == set(contestants.CPP)


class Played:
    """Answers as a team does: the engine takes 3 ns a step, then 4, then 5 and so on."""

    def __init__(self, absent=()):
        self.absent = absent

    def ask(self, name, threads, seed, walkers, **job):
        if name in self.absent:
            return None
        cost = {"ours": 2 + seed, "other": 2}[name]
        useful = walkers * seed  # another ensemble every time
        return {"seconds": 3 * cost * useful, "cpu": cost * useful, "useful": useful}


def test_a_ratio_is_the_median_of_runs_in_turn():
    found = engine.in_turn(Played(), "quartic", ["other"], 70, 1)["other"]
    assert found["ns_cpu"] == pytest.approx((2 + (1 + engine.PAIRS) / 2) / 2)
    assert found["ns_cpu, each"][:3] == [1.5, 2, 2.5]
    assert len(found["ns_useful, each"]) == engine.PAIRS


def test_who_is_not_here_is_left_out():
    assert engine.in_turn(Played(absent=["other"]), "quartic", ["other"], 70, 1) == {}
    assert engine.in_turn(Played(absent=["ours"]), "quartic", ["other"], 70, 1) == {}


def test_the_table_shows_what_was_measured_and_a_dash_elsewhere():
    measured = {
        "pairs": 15,
        "machine": {"processor": "Some processor"},
        "instructions": {
            "avx2": {
                "quartic": {"C++ reference": {"ns_cpu": 1.234, "ns_useful": 9}},
                "mueller_brown": {
                    "C++ reference": {"ns_cpu": 1.567, "ns_useful": 9},
                    "C++ reference, two threads": {"ns_cpu": 9, "ns_useful": 1.06},
                },
            }
        },
    }
    first, _, head, _, alone, two = tables.GuaranteesTable.written(measured)
    assert first == "Median of 15 runs in turn on Some processor."
    assert head.startswith("| AVX2 | quartic |")
    assert alone == "| C++ | 1.23 | 1.57 |"
    assert two == "| C++, two threads | – | 1.06 |"
