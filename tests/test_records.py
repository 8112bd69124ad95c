"""Records of longer runs: kept with what made them, refused when it is no longer that."""

import json
import re
from collections import deque

import jupytext
import notebooks
import numpy as np
import pytest

from ddt_utils import records

FACTOR = 2.0
SHIFT = np.array([1.0, 2.0])
CALLS = deque()  # no list: what a function counts with is not what it is


class Shifted:
    def apply(self, x):
        return x + SHIFT


def helper(x):
    return FACTOR * Shifted().apply(x)


def run(x, device="nowhere"):
    CALLS.append(x)
    if x == 13:
        raise KeyboardInterrupt
    return dict(values=helper(x), total=np.float64(x), where=device, pair=(1, 2))


CASES = [dict(x=1), dict(x=2)]


@pytest.fixture
def full(monkeypatch):
    monkeypatch.setenv("DDT_FULL", "1")
    CALLS.clear()


@pytest.fixture
def kept(full, tmp_path, monkeypatch):
    records.larger("squares", run, CASES, folder=tmp_path)
    monkeypatch.delenv("DDT_FULL")
    CALLS.clear()
    return tmp_path


def test_a_record_is_read_as_it_was_made(kept):
    found = records.larger("squares", run, CASES, folder=kept)
    assert not CALLS
    assert found.results[1] == dict(values=[6.0, 8.0], total=2.0, where="cpu", pair=[1, 2])
    assert found.cases == tuple(CASES)
    assert {"python", "numpy", "torch"} <= set(found.versions)
    assert found.seconds >= 0 and "," not in found.made
    assert [p.name for p in kept.iterdir()] == ["squares.json"]


def test_only_named_records_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv("DDT_FULL", "other,squares")
    assert records.wanted("squares") and not records.wanted("square")
    monkeypatch.setenv("DDT_FULL", "0")
    assert not records.wanted("squares")
    with pytest.raises(FileNotFoundError, match="DDT_FULL=1"):
        records.larger("squares", run, CASES, folder=tmp_path)


@pytest.mark.parametrize(
    "name, value",
    [
        ("FACTOR", 3.0),
        ("SHIFT", np.array([1.0, 2.5])),
        ("helper", lambda x: x),
        ("Shifted", type("Shifted", (), {"apply": lambda self, x: x, "__module__": __name__})),
    ],
)
def test_a_record_of_other_code_is_refused(kept, monkeypatch, name, value):
    monkeypatch.setitem(globals(), name, value)
    with pytest.raises(ValueError, match="made by other code"):
        records.larger("squares", run, CASES, folder=kept)


def test_a_record_of_other_cases_is_refused(kept):
    with pytest.raises(ValueError, match="made by other cases"):
        records.larger("squares", run, CASES[:1], folder=kept)


def test_cases_are_needed(tmp_path):
    for none in ([], [3]):
        with pytest.raises(ValueError, match="one dictionary per call"):
            records.larger("squares", run, none, folder=tmp_path)


def test_rounding_does_not_make_a_record_foreign(kept, monkeypatch):
    monkeypatch.setitem(globals(), "SHIFT", SHIFT * (1 + 1e-12))
    assert records.larger("squares", run, CASES, folder=kept).results


def test_an_interrupted_run_goes_on_where_it_stopped(full, tmp_path):
    cases = [dict(x=1), dict(x=2), dict(x=13)]
    with pytest.raises(KeyboardInterrupt):
        records.larger("squares", run, cases, folder=tmp_path)
    assert [*CALLS] == [1, 2, 13] and not (tmp_path / "squares.json").exists()
    cases[2] = dict(x=3)
    found = records.larger("squares", run, cases, folder=tmp_path)
    assert [*CALLS] == [1, 2, 13, 3]
    assert [result["total"] for result in found.results] == [1.0, 2.0, 3.0]


def test_what_was_begun_on_another_machine_is_begun_again(full, tmp_path):
    cases = [dict(x=1), dict(x=13)]
    with pytest.raises(KeyboardInterrupt):
        records.larger("squares", run, cases, folder=tmp_path)
    part = tmp_path / "squares.part.json"
    part.write_text(json.dumps(json.loads(part.read_text()) | dict(device="another")))
    CALLS.clear()
    records.larger("squares", run, [dict(x=1)], folder=tmp_path)
    assert [*CALLS] == [1]


def test_a_fresh_run_replaces_the_record(kept, monkeypatch):
    monkeypatch.setenv("DDT_FULL", "squares")
    monkeypatch.setitem(globals(), "FACTOR", 4.0)
    assert records.larger("squares", run, CASES, folder=kept).results[0]["values"] == [8.0, 12.0]


def test_every_record_is_read_by_a_chapter_and_says_what_made_it():
    read = [
        name
        for text in notebooks.chapters()
        for name in notebooks.records_of(notebooks.code_of(jupytext.read(text)))
    ]
    kept = {path.stem: json.loads(path.read_text()) for path in records.FOLDER.glob("*.json")}
    assert sorted(kept) == sorted(read) and read
    for record in kept.values():
        assert re.fullmatch(r"[0-9a-f]{16}", record["code"])
        assert record["device"] and record["versions"]["torch"] and record["seconds"] > 0
        assert all(set(run) == {"case", "result"} for run in record["runs"])
