"""Runs too long for a page: made once, where there is time or a GPU, and kept with the package.

A chapter writes such a run as a function and a list of cases. Usually :func:`larger` reads what the
cases gave from ``ddt_utils/records/NAME.json``, where it stands with the device and the versions
that made it. With ``DDT_FULL=1`` in the environment (or ``DDT_FULL=NAME``, for one record) the
cases are computed again, on a GPU if there is one, and the file is written anew. A record is
refused when the function, or anything of the chapter's that it uses, is no longer what made it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from numbers import Number
from pathlib import Path
from types import CodeType, FunctionType, SimpleNamespace

import numpy as np

FULL = "DDT_FULL"
FOLDER = Path(__file__).resolve().parent / "records"
_PACKAGES = ("numpy", "scipy", "torch", "numba", "scikit-learn")


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

    Making shows its progress. It can be interrupted: finished cases are kept beside the record, and
    the next run with the same code on the same device goes on from there.

    Args:
        name: of the record, lowercase with hyphens.
        function: called as ``function(**case)``; with ``device="cuda"`` or ``"cpu"`` as well, if
            it has such an argument. It returns numbers, arrays, lists or dictionaries of them.
        cases: keyword arguments, one dictionary per call.
        folder: where records are, by default in the package.

    Raises:
        ValueError: no cases, or a record made by other code or for other cases.
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
    cases = [json.loads(json.dumps(case)) for case in cases]
    if not cases or not all(isinstance(case, dict) for case in cases):
        raise ValueError(f"cases must be keyword arguments, one dictionary per call, got {cases}")
    path = Path(folder or FOLDER) / f"{name}.json"
    code = _digest(function)
    if wanted(name):
        _make(path, function, cases, code)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no record {name!r} yet: run this once with {FULL}=1 in the environment"
        )
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["code"] != code or [run["case"] for run in stored["runs"]] != cases:
        part = "code" if stored["code"] != code else "cases"
        raise ValueError(
            f"the record {name!r} was made by other {part} than this: restore it, or run this once "
            f"with {FULL}=1 in the environment"
        )
    return Record(
        name=name,
        cases=tuple(cases),
        results=tuple(run["result"] for run in stored["runs"]),
        device=stored["device"],
        versions=stored["versions"],
        seconds=stored["seconds"],
    )


def wanted(name: str) -> bool:
    """Is this record to be made? If ``DDT_FULL`` is 1, or a list of names with its name in it."""
    return os.environ.get(FULL, "") == "1" or name in os.environ.get(FULL, "").split(",")


def device() -> str:
    """``"cuda"`` if torch finds a GPU, else ``"cpu"``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _make(path, function, cases, code):
    """Compute what is not there yet, and write the record."""
    from tqdm import tqdm

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.json")
    extra = dict(device=device()) if "device" in inspect.signature(function).parameters else {}
    head = dict(code=code, device=_machine(extra.get("device")), versions=_versions())
    runs, seconds = [], 0.0
    if part.exists():
        kept = json.loads(part.read_text(encoding="utf-8"))
        if all(kept[key] == value for key, value in head.items()):
            runs, seconds = kept["runs"], kept["seconds"]
    runs = [run for run in runs if run["case"] in cases]
    done = [run["case"] for run in runs]
    for case in tqdm([case for case in cases if case not in done], desc=path.stem):
        begin = time.perf_counter()
        runs.append(dict(case=case, result=_plain(function(**case, **extra))))
        seconds += time.perf_counter() - begin
        _write(part, head | dict(seconds=round(seconds, 1), runs=runs))
    runs = [next(run for run in runs if run["case"] == case) for case in cases]
    _write(path, head | dict(seconds=round(seconds, 1), runs=runs))
    part.unlink(missing_ok=True)


def _write(path, content):
    """All of it or nothing: a torn file never stands under the record's name."""
    text = json.dumps(content, indent=0, ensure_ascii=False) + "\n"
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


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


def _digest(function) -> str:
    """A digest of a function and of all of the chapter's that it reaches.

    Functions and classes count by their source, numbers and texts by their value, arrays by shape
    and size, dataclasses by their fields.
    """
    parts, waiting, seen = [], [function], set()
    while waiting:
        thing = waiting.pop()
        thing = inspect.unwrap(thing) if callable(thing) else thing
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, FunctionType) and _own(thing, function):
            parts.append(inspect.getsource(thing))
            waiting += _reached(thing)
        elif isinstance(thing, type) and _own(thing, function):
            waiting += [part for part in vars(thing).values() if isinstance(part, FunctionType)]
        elif isinstance(thing, (Number, str)):
            parts.append(_number(thing))
        elif is_dataclass(thing) and not isinstance(thing, type):
            waiting += [type(thing), *(getattr(thing, field.name) for field in fields(thing))]
        elif isinstance(thing, SimpleNamespace):
            waiting += vars(thing).values()
        elif hasattr(thing, "shape") and hasattr(thing, "dtype"):
            parts.append(_array(_plain(thing)))
        elif isinstance(thing, (list, tuple, dict)):
            waiting += [*thing.values(), *thing] if isinstance(thing, dict) else [*thing]
    return hashlib.sha256("\0".join(sorted(parts)).encode()).hexdigest()[:16]


def _own(thing, function) -> bool:
    """Does it belong to the chapter, as the function does?"""
    return thing.__module__ == function.__module__


def _reached(function):
    """The values of the global names that a function mentions, nested functions included."""
    names, waiting = set(), [function.__code__]
    while waiting:
        code = waiting.pop()
        names |= set(code.co_names)
        waiting += [const for const in code.co_consts if isinstance(const, CodeType)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    found = function.__globals__
    return defaults + [found[name] for name in sorted(names) if name in found]


def _number(value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _array(values) -> str:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        return f"{array.dtype.kind}{array.shape}"
    return f"{array.shape} {np.abs(array.astype(float)).sum():.5g}"
