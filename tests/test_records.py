"""Records of longer runs: kept with what made them, refused when it is no longer that."""

import functools
import json
import re
import types

import jupytext
import notebooks
import numpy as np
import pytest

from ddt_utils import _likeness, records

FACTOR = 2.0
SHIFT = np.array([1.0, 2.0])
CALLS = types.ModuleType("json")  # known by its name: what a function counts with is not what it is
CALLS.list = []


class Shifted:
    def apply(self, x):
        return x + SHIFT


def helper(x):
    return FACTOR * Shifted().apply(x)


def run(x, device="nowhere"):
    CALLS.list.append(x)
    if x == 13:
        raise KeyboardInterrupt
    return dict(values=helper(x), total=np.float64(x), where=device, pair=(1, 2))


CASES = [dict(x=1), dict(x=2)]


@pytest.fixture
def full(monkeypatch):
    monkeypatch.setenv("DDT_FULL", "1")
    CALLS.list.clear()


@pytest.fixture
def kept(full, tmp_path, monkeypatch):
    records.larger("squares", run, CASES, folder=tmp_path)
    monkeypatch.delenv("DDT_FULL")
    CALLS.list.clear()
    return tmp_path


def test_a_record_is_read_as_it_was_made(kept):
    found = records.larger("squares", run, CASES, folder=kept)
    assert not CALLS.list
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
    with pytest.raises(FileNotFoundError, match="DDT_FULL=squares in the environment"):
        records.larger("squares", run, CASES, folder=tmp_path)


@pytest.mark.parametrize(
    "name, value",
    [
        ("FACTOR", 3.0),
        ("FACTOR", 2.0 + 1e-11),
        ("SHIFT", np.array([1.0, 2.5])),
        ("SHIFT", np.array([2.0, 1.0])),
        ("SHIFT", np.array([1.0, -2.0])),
        ("SHIFT", np.array([[1.0, 2.0]])),
        ("SHIFT", np.array([1, 2])),
        ("helper", lambda x: x),
        ("Shifted", type("Shifted", (), {"apply": lambda self, x: x, "__module__": __name__})),
    ],
)
def test_a_record_of_other_code_is_refused(kept, monkeypatch, name, value):
    monkeypatch.setitem(globals(), name, value)
    with pytest.raises(ValueError, match="made by other (code|numbers)"):
        records.larger("squares", run, CASES, folder=kept)


def test_a_record_of_other_cases_is_refused(kept):
    with pytest.raises(ValueError, match="made by other cases"):
        records.larger("squares", run, CASES[:1], folder=kept)


def test_cases_are_needed_and_a_name(tmp_path):
    for name in ("../squares", "", None, "a b"):
        with pytest.raises(ValueError, match="words joined by hyphens"):
            records.larger(name, run, CASES, folder=tmp_path)
    with pytest.raises(ValueError, match="plain numbers"):
        records.larger("squares", run, [dict(x={1})], folder=tmp_path)
    for none in ([], [3]):
        with pytest.raises(ValueError, match="one dictionary per call"):
            records.larger("squares", run, none, folder=tmp_path)


def test_rounding_does_not_make_a_record_foreign(kept, monkeypatch):
    """The last digits of a computed number are the processor's; those of a typed one are not."""
    for value in (SHIFT * (1 + 1e-12), np.array([1.0, 2 + 3e-16])):
        monkeypatch.setitem(globals(), "SHIFT", value)
        assert records.larger("squares", run, CASES, folder=kept).results
    for value in (SHIFT * (1 + 3e-8), SHIFT + 1e-9):
        monkeypatch.setitem(globals(), "SHIFT", value)
        with pytest.raises(ValueError, match=r"numbers \(SHIFT was 1, 2 and is 1\.0"):
            records.larger("squares", run, CASES, folder=kept)


LONG = np.sqrt(np.arange(1000.0)).reshape(20, 50)


def of_long(x):
    return float(x * LONG.sum())


def test_one_entry_of_a_long_array_is_seen_and_its_rounding_is_not(full, tmp_path, monkeypatch):
    records.larger("long", of_long, [dict(x=1)], folder=tmp_path)
    monkeypatch.delenv("DDT_FULL")
    monkeypatch.setitem(globals(), "LONG", np.nextafter(LONG, 9))
    assert records.larger("long", of_long, [dict(x=1)], folder=tmp_path).results
    swapped, moved, turned = LONG.copy(), LONG.copy(), LONG.copy()
    swapped[3, 7], swapped[3, 8] = LONG[3, 8], LONG[3, 7]
    moved[11, 2] *= 1 + 1e-5
    turned[0, 5] *= -1
    for other in (swapped, moved, turned, LONG[:, ::-1], LONG.reshape(50, 20), -LONG):
        monkeypatch.setitem(globals(), "LONG", other)
        with pytest.raises(ValueError, match="made by other (code|numbers)"):
            records.larger("long", of_long, [dict(x=1)], folder=tmp_path)


def test_an_interrupted_run_goes_on_where_it_stopped(full, tmp_path):
    cases = [dict(x=1), dict(x=2), dict(x=13)]
    with pytest.raises(KeyboardInterrupt):
        records.larger("squares", run, cases, folder=tmp_path)
    assert CALLS.list == [1, 2, 13] and not (tmp_path / "squares.json").exists()
    cases[2] = dict(x=3)
    found = records.larger("squares", run, cases, folder=tmp_path)
    assert CALLS.list == [1, 2, 13, 3]
    assert [result["total"] for result in found.results] == [1.0, 2.0, 3.0]


def test_what_was_begun_on_another_machine_is_begun_again(full, tmp_path):
    cases = [dict(x=1), dict(x=13)]
    with pytest.raises(KeyboardInterrupt):
        records.larger("squares", run, cases, folder=tmp_path)
    part = tmp_path / "squares.part.json"
    part.write_text(json.dumps(json.loads(part.read_text()) | dict(device="another")))
    CALLS.list.clear()
    records.larger("squares", run, [dict(x=1)], folder=tmp_path)
    assert CALLS.list == [1]


def begun(folder):
    """A half-made record: the case 1 is done, the case 13 was interrupted."""
    with pytest.raises(KeyboardInterrupt):
        records.larger("squares", run, [dict(x=1), dict(x=13)], folder=folder)
    CALLS.list.clear()
    return folder / "squares.part.json"


@pytest.mark.parametrize("name, value", [("helper", lambda x: [x]), ("FACTOR", 7.0)])
def test_what_other_code_or_other_numbers_began_is_begun_again(
    full, tmp_path, monkeypatch, name, value
):
    begun(tmp_path)
    monkeypatch.setitem(globals(), name, value)
    found = records.larger("squares", run, [dict(x=1), dict(x=3)], folder=tmp_path)
    assert CALLS.list == [1, 3]
    expected = [1] if name == "helper" else [14.0, 21.0]
    assert found.results[0]["values"] == expected


@pytest.mark.parametrize("content", ["", '{"code": ', "[]", "{}", '{"code": 1, "runs": 3}', "\0"])
def test_a_torn_half_made_record_is_made_again(full, tmp_path, content):
    part = begun(tmp_path)
    part.write_text(content)
    found = records.larger("squares", run, [dict(x=1), dict(x=3)], folder=tmp_path)
    assert CALLS.list == [1, 3] and [r["total"] for r in found.results] == [1.0, 3.0]
    assert not part.exists()


@pytest.mark.parametrize("content", ["", '{"code": ', "[]", '{"code": "0"}', "<<<<<<< HEAD"])
def test_a_damaged_record_names_file_and_remedy(kept, content):
    (kept / "squares.json").write_text(content)
    with pytest.raises(
        ValueError, match=r"squares\.json is damaged.*; restore it, or run this once"
    ):
        records.larger("squares", run, CASES, folder=kept)


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
        assert re.fullmatch(r"[0-9a-f]{20}", record["code"]) and isinstance(record["numbers"], dict)
        assert record["device"] and record["versions"]["torch"] and record["seconds"] > 0
        assert all(set(run) == {"case", "result"} for run in record["runs"])


# --- confirmed instead of made again --------------------------------------------------------------


def doubled(x, device="nowhere"):  # other code with the same results
    return run(x, device=device)


def halved(x, device="nowhere"):
    found = run(x, device=device)
    return found | dict(total=np.float64(x if x < 3 else x / 2))


@pytest.fixture
def three(full, tmp_path, monkeypatch):
    records.larger("cubes", run, [*CASES, dict(x=5)], folder=tmp_path)
    monkeypatch.delenv("DDT_FULL")
    CALLS.list.clear()
    return tmp_path


def test_a_record_of_other_code_is_confirmed_by_its_first_and_last_case(three, monkeypatch):
    cases = [*CASES, dict(x=5)]
    with pytest.raises(ValueError, match="made by other code"):
        records.larger("cubes", doubled, cases, folder=three)
    before = json.loads((three / "cubes.json").read_text())
    monkeypatch.setenv("DDT_CONFIRM", "cubes")
    records.larger("cubes", doubled, cases, folder=three)
    assert CALLS.list == [1, 5]
    monkeypatch.delenv("DDT_CONFIRM")
    assert len(records.larger("cubes", doubled, cases, folder=three).results) == 3
    after = json.loads((three / "cubes.json").read_text())
    assert after["confirmed"] == [0, 2] and "confirmed" not in before
    assert after["runs"] == before["runs"] and after["code"] != before["code"]


def test_a_record_with_other_results_is_not_confirmed(three, monkeypatch):
    before = (three / "cubes.json").read_text()
    monkeypatch.setenv("DDT_CONFIRM", "1")
    with pytest.raises(
        ValueError, match="'x': 5.* gave .* and gives .*make it again with DDT_FULL"
    ):
        records.larger("cubes", halved, [*CASES, dict(x=5)], folder=three)
    with pytest.raises(ValueError, match="has other cases"):
        records.larger("cubes", run, CASES, folder=three)
    assert (three / "cubes.json").read_text() == before


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (dict(a=[1.0, 2]), dict(a=[1.0 + 1e-12, 2]), True),
        (dict(a=[1.0, 2]), dict(a=[1.0 + 1e-6, 2]), False),
        (dict(a=[1.0, 2]), dict(a=[1.0, 3]), False),
        (dict(a=1.0), dict(b=1.0), False),
        ([1.0, 2.0], [1.0], False),
        (float("nan"), float("nan"), True),
        ("yes", "no", False),
        (True, 1, False),
    ],
)
def test_results_agree_up_to_rounding(one, other, same):
    assert _likeness.agree(one, other) is same


def odd_result(kind):
    return {
        "complex": 1j,
        "complex array": np.array([1j, 2.0]),
        "set": {1, 3},
        "whole keys": {np.int64(2): 3},
        "date": np.datetime64("2020-01-01"),
    }[kind]


@pytest.mark.parametrize("kind", ["complex", "complex array", "set", "whole keys", "date"])
def test_a_result_that_no_file_holds_is_told_with_its_case(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("DDT_FULL", "other, odd")
    with pytest.raises(ValueError, match=f"a case must give numbers, .*{kind}.*; take complex"):
        records.larger("odd", odd_result, [dict(kind=kind)], folder=tmp_path)


def test_a_function_without_code_of_its_own_is_refused(tmp_path):
    for wrong in (3, max, functools.partial(odd_result, "set")):
        with pytest.raises(ValueError, match="function must be written with def"):
            records.larger("odd", wrong, [dict(kind="set")], folder=tmp_path)


@pytest.mark.parametrize("variable", ["", "DDT_CONFIRM"])
@pytest.mark.parametrize(
    "change",
    [
        dict(runs=None),
        dict(runs=[1]),
        dict(runs=[{"case": {"kind": "x"}}]),
        dict(versions=[]),
        dict(versions={}),
        dict(versions={"torch": None}),
        dict(seconds="long"),
        dict(device=None),
    ],
)
def test_a_record_of_another_kind_is_told(change, variable, tmp_path, monkeypatch):
    def double(x):
        return 2 * x

    monkeypatch.setenv("DDT_FULL", "twice")
    records.larger("twice", double, [dict(x=3)], folder=tmp_path)
    monkeypatch.delenv("DDT_FULL")
    path = tmp_path / "twice.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    if variable:
        monkeypatch.setenv(variable, "twice")
    with pytest.raises(ValueError, match="twice.json is damaged or not the expected file"):
        records.larger("twice", double, [dict(x=3)], folder=tmp_path)


def twofold(x, device="nowhere"):
    return {str(x): 2 * x}


@pytest.mark.parametrize("said", ["yes", "on", "all", "*", "squares;cubes", "2", "squares cubes"])
@pytest.mark.parametrize("variable", ["DDT_FULL", "DDT_CONFIRM"])
def test_a_variable_that_says_something_else_is_refused(said, variable, monkeypatch):
    """It used to be passed over, and the old record was read."""
    monkeypatch.setenv(variable, said)
    with pytest.raises(ValueError, match=f"{variable} must be 0, 1 or names of records"):
        records.wanted("squares", variable)


def test_spaces_in_a_variable_do_not_matter(monkeypatch):
    for said, found in {" 1 ": True, "1\n": True, " 0": False, " ": False, "a , b,": True}.items():
        monkeypatch.setenv("DDT_FULL", said)
        assert records.wanted("b") is found


@pytest.mark.parametrize(
    "cases, told",
    [
        (5, "one dictionary per call, got 5"),
        (np.arange(3), r"one dictionary per call, got \[0 1 2\]"),
        (dict(x=1), "one dictionary per call, got .'x': 1"),
        (None, "one dictionary per call, got None"),
        ([dict(y=1)], "cases must be what twofold takes, got .'y': 1.*; device is given by itself"),
        ([dict(x=1, device="cpu")], "must be what twofold takes, .*device is given by itself"),
        ([{1: 2}], "plain numbers, .*the key 1 is no text"),
        ([dict(x={"a": [{2: 3}]})], "plain numbers, .*the key 2 is no text"),
    ],
)
def test_cases_that_are_none_are_refused(cases, told, full, tmp_path):
    with pytest.raises(ValueError, match=told):
        records.larger("twice", twofold, cases, folder=tmp_path)
    assert not [*tmp_path.iterdir()]


def test_keys_that_json_would_make_one_are_refused(full, tmp_path):
    def mixed(x):
        return [{"inner": {x: 1, str(x): 2}}]

    with pytest.raises(ValueError, match="dictionaries of them by texts, .*the key 3 is no text"):
        records.larger("mixed", mixed, [dict(x=3)], folder=tmp_path)


@pytest.mark.parametrize("folder", [3, "", b"here", "FILE", "FILE/within"], ids=str)
def test_what_is_no_folder_of_records_is_refused(folder, full, tmp_path):
    (tmp_path / "file").write_text("")
    if isinstance(folder, str):
        folder = folder.replace("FILE", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="folder must be a folder, got"):
        records.larger("twice", twofold, [dict(x=3)], folder=folder)


def test_a_folder_may_be_in_ones_home(full, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    records.larger("twice", twofold, [dict(x=3)], folder="~/kept/here")
    assert (tmp_path / "kept" / "here" / "twice.json").is_file()


@pytest.mark.parametrize(
    "odd", [3, None, ["a"], [[1]], [True], {"size": 1}, {"size": 1, "sums": [1]}], ids=str
)
def test_a_record_whose_numbers_are_none_is_told(odd, kept):
    path = kept / "squares.json"
    content = json.loads(path.read_text())
    for name in content["numbers"]:
        numbers = content["numbers"] | {name: odd}
        path.write_text(json.dumps(content | dict(numbers=numbers)))
        with pytest.raises(ValueError, match="squares.json is damaged .*its numbers of"):
            records.larger("squares", run, CASES, folder=kept)
