"""Runs too long for a page: made once, where there is time or a GPU, and kept with the package.

A chapter writes such a run as a function and a list of cases. Usually :func:`larger` reads what the
cases gave from ``ddt_utils/records/NAME.json``, where it stands with the device and the versions
that made it. With ``DDT_FULL=1`` in the environment (or ``DDT_FULL=NAME``, for one record) the
cases are computed again, on a GPU if there is one, and the file is written anew. A record is
refused when the function is no longer what made it: its code, anything of the chapter's that it
uses, or a room of the package that it reaches, see :mod:`ddt_utils.provenance`.
"""

from __future__ import annotations

import inspect
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ddt_utils import _files, _likeness, provenance

FULL, CONFIRM = "DDT_FULL", "DDT_CONFIRM"
FOLDER = Path(__file__).resolve().parent / "records"
_PACKAGES = ("numpy", "scipy", "torch", "numba", "scikit-learn")
_PARTS = ("code", "numbers", "device", "versions", "seconds", "runs")
_SWITCHES = ("yes", "no", "on", "off", "true", "false", "all", "none")  # not 1, and no record


@dataclass(frozen=True)
class Record:
    """What a longer run gave, and what made it.

    Args:
        name: of the record.
        cases: the keyword arguments of each call.
        results: what each call returned, in the same order, as numbers, lists and dictionaries.
        device: the machine's or the GPU's name.
        versions: of Python and of the packages that count.
        seconds: how long it took.

    Example:
        >>> versions = {"python": "3.11", "torch": "2.10"}
        >>> stored = Record("squares", ({"x": 2},), (4,), "cpu", versions, 0.1)
        >>> stored.results[0]
        4
    """

    name: str
    cases: tuple
    results: tuple
    device: str
    versions: dict
    seconds: float

    @property
    def made(self) -> str:
        """Device, version of torch and duration, as a phrase for the page."""
        version_ = self.versions["torch"].split("+")[0]
        minutes = max(1, round(self.seconds / 60))
        return f"{self.device} with torch {version_} in {minutes} min"


def larger(name: str, function: Callable, cases: Sequence[dict], *, folder=None) -> Record:
    """The results of a longer run: read from its record, or, with ``DDT_FULL=1``, made.

    A change of the package that leaves a record as it was need not cost the hour that it took:
    with ``DDT_CONFIRM=NAME`` its first case and its last are computed again, and if they agree the
    record names this code as its own, and says which of its cases were tried.

    Making shows its progress. It can be interrupted: finished cases are kept beside the record, and
    the next run with the same code on the same device goes on from there.

    Args:
        name: of the record, lowercase with hyphens.
        function: called as ``function(**case)``; with ``device="cuda"`` or ``"cpu"`` as well, if
            it has such an argument. It returns numbers, arrays, lists or dictionaries of them.
        cases: keyword arguments, one dictionary per call.
        folder: where records are, by default in the package.

    Returns:
        What the cases gave, with what made it.

    Raises:
        ValueError: no cases, or not what the function takes; a folder or a variable of the
            environment that is none; results or cases that JSON does not hold; a file that is
            damaged; or a record made by other code, with other numbers or for other cases. Two
            numbers of at most 12 digits, as one types them, must be equal; a number that was
            computed may differ by 1e-8 of its size, as between processors.
        FileNotFoundError: there is no such record yet.

    Example:
        >>> import os, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> def square(x):
        ...     return x**2
        >>> os.environ["DDT_FULL"] = "1"
        >>> larger("squares", square, [dict(x=3)], folder=folder).results
        (9,)
        >>> del os.environ["DDT_FULL"]
        >>> larger("squares", square, [dict(x=3)], folder=folder).results
        (9,)
    """
    if not hasattr(function, "__code__"):
        raise ValueError(f"function must be written with def, got {function!r}; wrap it in one")
    cases = _as_called(function, cases)
    if not _is_name(name):
        raise ValueError(f"name must be words joined by hyphens, got {name!r}; it names a file")
    path = (FOLDER if folder is None else _files.folder("folder", folder)) / f"{name}.json"
    code, numbers = provenance.origin({function.__name__: function})
    made_of = {"code": code, "numbers": {key: _likeness.compact(v) for key, v in numbers.items()}}
    if wanted(name):
        _make(path, function, cases, made_of)
    elif wanted(name, CONFIRM):
        _confirm(path, function, cases, made_of)
    again = f"run this once with {FULL}={name} in the environment"
    if not path.exists():
        raise FileNotFoundError(f"there is no record {name!r} yet: {again}")
    stored = _stored(path, f"restore it, or {again}", _PARTS)
    other = _other(stored, made_of)
    if not other and [run["case"] for run in stored["runs"]] != cases:
        other = "cases"
    if other:
        raise ValueError(
            f"the record {name!r} was made by other {other} than this: restore it, or {again}"
        )
    return Record(
        name=name,
        cases=tuple(cases),
        results=tuple(run["result"] for run in stored["runs"]),
        device=stored["device"],
        versions=stored["versions"],
        seconds=stored["seconds"],
    )


def wanted(name: str, variable: str = FULL) -> bool:
    """Is this record to be made, or confirmed?

    Args:
        name: of the record.
        variable: ``DDT_FULL`` or ``DDT_CONFIRM``.

    Returns:
        Whether the environment's variable is 1, or a list of names with this one in it.

    Raises:
        ValueError: the variable is neither empty, 0, 1 nor names joined by commas.

    Example:
        >>> wanted("no-such-record")
        False
    """
    said = os.environ.get(variable, "").strip()
    asked = [one.strip() for one in said.split(",") if one.strip()]
    if said in ("", "0", "1"):
        return said == "1"
    for one in asked:
        if not _is_name(one) or one.isdigit() or one.lower() in _SWITCHES:
            raise ValueError(
                f"{variable} must be 0, 1 or names of records joined by commas, got {said!r}; set "
                "it to 1 for all of them, or unset it"
            )
    return name in asked


def device() -> str:
    """``"cuda"`` if torch finds a GPU, else ``"cpu"``.

    Returns:
        The name that torch calls it by.

    Example:
        >>> device() in ("cpu", "cuda")
        True
    """
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _make(path, function, cases, made_of):
    """Compute what is not there yet, and write the record."""
    from tqdm import tqdm

    part, extra = path.with_suffix(".part.json"), _extra(function)
    head = made_of | dict(device=_machine(extra.get("device")), versions=_versions())
    runs, seconds = _begun(part, head, cases)
    done = [run["case"] for run in runs]
    for case in tqdm([case for case in cases if case not in done], desc=path.stem):
        begin = time.perf_counter()
        runs.append(dict(case=case, result=_result(function, case, extra)))
        seconds += time.perf_counter() - begin
        _files.write_json(part, head | dict(seconds=round(seconds, 1), runs=runs), indent=0)
    runs = [next(run for run in runs if run["case"] == case) for case in cases]
    _files.write_json(path, head | dict(seconds=round(seconds, 1), runs=runs), indent=0)
    part.unlink(missing_ok=True)


def _confirm(path, function, cases, made_of):
    """Run the first case and the last again; if both agree, this code counts as the record's."""
    stored = _stored(path, f"make it again with {FULL}={path.stem}", _PARTS[2:])
    if [run["case"] for run in stored["runs"]] != cases:
        raise ValueError(f"the record {path.stem!r} has other cases: make it, with {FULL}")
    tried, extra = sorted({0, len(cases) - 1}), _extra(function)
    for k in tried:
        found, kept = _result(function, cases[k], extra), stored["runs"][k]["result"]
        if not _likeness.agree(_as_stored(found), kept):
            raise ValueError(
                f"the record {path.stem!r} is another one now: {cases[k]} gave {str(kept)[:80]} "
                f"and gives {str(found)[:80]}; make it again with {FULL}={path.stem}"
            )
    _files.write_json(path, stored | made_of | {"confirmed": tried}, indent=0)


def _stored(path, remedy, keys):
    """What a record's file holds, of the kinds that it must have."""
    stored = _files.read_json(path, remedy=remedy, keys=keys)
    kinds = dict(code=str, numbers=dict, versions=dict, seconds=(int, float), device=str, runs=list)
    for key in keys:
        if key in kinds and not isinstance(stored[key], kinds[key]):
            raise ValueError(_files.damaged(path, f"its {key} are of another kind", remedy))
    for key, part in stored["numbers"].items() if "numbers" in keys else ():
        if not _likeness.is_compact(part):
            raise ValueError(_files.damaged(path, f"its numbers of {key} are none", remedy))
    for run in stored["runs"]:
        if not isinstance(run, dict) or not {"case", "result"} <= run.keys():
            raise ValueError(_files.damaged(path, "a run has no case or no result", remedy))
    if not isinstance(stored["versions"].get("torch"), str):
        raise ValueError(_files.damaged(path, "its versions do not name torch", remedy))
    return stored


def _begun(part, head, cases):
    """The runs of a half-made record and their seconds; none if other code, or a kill, left it."""
    try:
        kept = _files.read_json(part, remedy="it is made again", keys=_PARTS)
        same = kept["device"] == head["device"] and kept["versions"] == head["versions"]
        if same and not _other(kept, head):
            return [run for run in kept["runs"] if run["case"] in cases], float(kept["seconds"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return [], 0.0


def _other(stored, made_of) -> str:
    """What a record was made by that is not there now, as words; empty if it is the same."""
    if stored["code"] != made_of["code"]:
        return "code"
    differs = _likeness.difference(stored["numbers"], made_of["numbers"])
    return f"numbers ({differs})" if differs else ""


def _is_name(name):
    return isinstance(name, str) and name.replace("-", "").isalnum()


def _asks(function):
    return "device" in inspect.signature(function).parameters


def _extra(function):
    """The machine, for a function that asks for one."""
    return dict(device=device()) if _asks(function) else {}


def _as_called(function, cases):
    """The cases as JSON gives them back, if the function takes them."""
    found = list(cases) if hasattr(cases, "__iter__") else []
    if not found or not all(isinstance(case, dict) for case in found):
        raise ValueError(
            f"cases must be keyword arguments, one dictionary per call, got {str(cases)[:120]}"
        )
    found = [_as_stored(case) for case in found]
    given = dict(device=None) if _asks(function) else {}
    for case in found:
        try:
            inspect.signature(function, follow_wrapped=False).bind(**case, **given)
        except TypeError as error:
            more = f"; {', '.join(given)} is given by itself" if given else ""
            raise ValueError(
                f"cases must be what {function.__name__} takes, got {case} ({error}){more}"
            ) from error
    return found


def _as_stored(case):
    """A case as JSON gives it back."""
    try:
        _require_texts(case)
        return json.loads(json.dumps(case))
    except TypeError as error:
        raise ValueError(
            f"cases must hold plain numbers, texts and lists, got {case} ({error})"
        ) from error


def _require_texts(value):
    """Refuse a key that is no text: JSON makes one of it, and perhaps one of two."""
    for key in value if isinstance(value, dict) else ():
        if not isinstance(key, str):
            raise TypeError(f"the key {key!r} is no text")
    inside = value.values() if isinstance(value, dict) else value
    for part in inside if isinstance(value, (dict, list, tuple)) else ():
        _require_texts(part)


def _result(function, case, extra):
    """What a case gives, as JSON holds it."""
    found = function(**case, **extra)
    try:
        plain = _plain(found)
        _require_texts(plain)
        json.dumps(plain)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a case must give numbers, arrays, texts, lists or dictionaries of them by texts, got "
            f"{type(found).__name__} of {case} ({error}); take complex numbers apart, and list sets"
        ) from error
    return plain


def _plain(value):
    """Arrays, tensors and tuples as lists, numbers as Python's own."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def _machine(where):
    """The name of the GPU, or how many cores of which kind."""
    if where == "cuda":
        import torch

        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores of {platform.machine()}"


def _versions():
    found = dict(python=platform.python_version())
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
