"""Files that are whole or not there, and errors that name the file and the remedy.

A file is written beside its place and put there in one step, so that whoever reads it, also after a
kill or on a full disk, finds the old content or the new one. Readers turn every way in which a file
can be torn, foreign or malicious into one ``ValueError``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shutil
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np

# what NumPy and zipfile are known to raise at files that are torn or of another kind
_TORN = (
    ValueError, KeyError, EOFError, OSError, TypeError, AttributeError, MemoryError,
    NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_STALE = 3600.0  # seconds after which an unfinished file belongs to a process that was killed


def write(path, data: bytes | str) -> None:
    """Put data into a file, all of it or nothing; text as UTF-8, line ends as they are.

    The unfinished file lies beside the path (``.NAME.RANDOM.part``) and is removed on failure;
    those that a killed process left there are removed by the next write. A link is followed, and a
    file that is there keeps its mode.

    Args:
        path: where to; its folder is made if it is not there.
        data: bytes, or text.

    Raises:
        ValueError: the path is none, or that of a folder.
        OSError: the disk is full, or the folder may not be written to; the file that was there is
            as it was.
    """
    path = Path(os.path.realpath(_named(path)))
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        with open(part, "xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def folder(name: str, value) -> Path:
    """A folder, which may not be there yet; ``~`` is one's home.

    Args:
        name: what it is called.
        value: a text or a path.

    Returns:
        Its path.

    Raises:
        ValueError: it is no path, or it is a file or lies in one.
    """
    named = isinstance(value, (str, Path)) and bool(str(value).strip())
    path = Path(os.path.expanduser(value)) if named else None
    if not named or not next((p for p in (path, *path.parents) if p.exists()), path).is_dir():
        raise ValueError(f"{name} must be a folder, got {value!r}; it is made if it is not there")
    return path


def write_json(path, content, *, indent: int | None = None) -> None:
    """Put numbers, texts, lists and dictionaries into a JSON file, all of it or nothing.

    Args:
        path: where to.
        content: what to write.
        indent: spaces of each level, or None for one line.
    """
    write(path, json.dumps(content, indent=indent, ensure_ascii=False) + "\n")


def write_arrays(path, arrays: dict) -> None:
    """Put arrays into an ``.npz`` file, all of it or nothing.

    Args:
        path: where to; no ending is added.
        arrays: by name; of numbers or texts, not of objects.
    """
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    write(path, stream.getbuffer())


def read_json(path, *, remedy: str, keys=()) -> dict:
    """The dictionary in a JSON file.

    Args:
        path: of the file.
        remedy: what the reader of an error should do.
        keys: names that the dictionary must have.

    Returns:
        The dictionary.

    Raises:
        ValueError: the file is torn or another one, or the path none or that of a folder; the
            message names it and the remedy.
        OSError: there is no such file, or it may not be read.
    """
    try:
        content = json.loads(_named(path).read_bytes())
    except (ValueError, RecursionError) as error:  # also of bytes that are no text
        raise ValueError(damaged(path, error, remedy)) from error
    if not isinstance(content, dict):
        problem = f"it holds a {type(content).__name__}, not a dictionary"
        raise ValueError(damaged(path, problem, remedy))
    _require(path, content, keys, remedy)
    return content


def read_arrays(path, *, remedy: str, keys=()) -> dict:
    """The arrays in an ``.npz`` file, all of them, by name; nothing that is pickled is loaded.

    Args:
        path: of the file.
        remedy: what the reader of an error should do.
        keys: names that must be there.

    Returns:
        Arrays by name.

    Raises:
        ValueError: the file is torn or another one, or the path none or that of a folder; the
            message names it and the remedy.
        OSError: there is no such file, or it may not be read.
    """
    content = _named(path).read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except _TORN as error:
        problem = "it is empty" if not content else _told(error)
        raise ValueError(damaged(path, problem, remedy)) from error
    _require(path, arrays, keys, remedy)
    return arrays


def require_like(path, found: dict, wanted: dict, remedy: str) -> None:
    """Refuse arrays of another shape or type than those that would have been written.

    Args:
        path: of the file.
        found: arrays by name, from :func:`read_arrays`.
        wanted: arrays by name.
        remedy: what the reader of an error should do.

    Raises:
        ValueError: an array differs; the message names it.
    """
    for name, part in wanted.items():
        if (found[name].shape, found[name].dtype) != (part.shape, part.dtype):
            problem = f"its {name} is {found[name].dtype} of shape {found[name].shape}"
            raise ValueError(damaged(path, problem, remedy))


def damaged(path, problem, remedy: str) -> str:
    """What a ``ValueError`` says of a file that is not what it should be.

    Args:
        path: of the file.
        problem: what is wrong with it: words, or the error that was met.
        remedy: what to do, as a phrase.

    Returns:
        The text of the error.
    """
    return f"{path} is damaged or not the expected file ({problem}); {remedy}"


def _named(path):
    """The path of a file; refused is what is none, or names a folder."""
    try:
        named = Path(path)
    except TypeError:
        raise ValueError(
            f"path must be that of a file, got {path!r:.80}; give a text or a pathlib.Path"
        ) from None
    if named.is_dir():
        raise ValueError(f"path must be that of a file, got the folder {path}; name a file in it")
    return named


def _require(path, found, keys, remedy):
    missing = [key for key in keys if key not in found]
    if missing:
        raise ValueError(damaged(path, f"it has no {', '.join(missing)}", remedy))


def _told(error):
    """What an error of NumPy's or zipfile's says, without its advice to unpickle."""
    if "pickle" in str(error):
        return "it holds no plain arrays"
    return str(error) or type(error).__name__


def _clean(path):
    """Remove what killed processes left beside a file."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE:
                part.unlink()
