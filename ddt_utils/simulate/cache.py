"""Generated sources as modules, which a second process need not compile again."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import types
from functools import lru_cache
from pathlib import Path

from ddt_utils import _files


@lru_cache(maxsize=256)
def load(source: str):
    """A source as a module, compiled in the process that first needs it.

    What numba compiles is kept beside a copy of the source, in ``$DDT_UTILS_CACHE`` (``~`` is one's
    home) or in ``ddt_utils`` of the user's cache folder. A copy that differs is replaced, and what
    is torn or finds no room is compiled again.

    Args:
        source: of a program.

    Returns:
        The module.
    """
    name = "ddt_kernel_" + hashlib.sha256(source.encode()).hexdigest()[:20]
    try:
        shared = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(os.environ.get("DDT_UTILS_CACHE") or Path(shared) / "ddt_utils")
        return _executed(name, source, folder.expanduser())
    except (OSError, RuntimeError):  # a read-only or full home, or none: a folder of this process
        folder = Path(tempfile.mkdtemp(prefix="ddt_utils_"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return _executed(name, source, folder)


def _executed(name, source, folder):
    path = folder / f"{name}.py"
    if not path.is_file() or path.read_bytes() != source.encode():
        _files.write(path, source)
    module = types.ModuleType(name)
    module.__file__ = str(path)
    exec(compile(source, str(path), "exec"), module.__dict__)  # the source itself, not the file
    sys.modules[name] = module
    for function in vars(module).values():
        if getattr(function, "_cache", None) is not None:
            function._cache = _Forgiving(function._cache)
    return module


class _Forgiving:
    """What numba has kept of a function, where a torn file or a full disk is no error."""

    def __init__(self, kept):
        self._kept = kept

    def __getattr__(self, name):
        return getattr(self._kept, name)

    def load_overload(self, *arguments):
        try:
            return self._kept.load_overload(*arguments)
        except Exception:  # whatever unpickling a torn file raises
            with contextlib.suppress(Exception):
                self._kept.flush()
            return None

    def save_overload(self, *arguments):
        with contextlib.suppress(Exception):
            self._kept.save_overload(*arguments)
