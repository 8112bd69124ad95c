"""What a stored result was made of, in one digest: values, functions, and the rooms they reach.

Records, resumed trainings and the notebooks' fingerprints ask one question: would the same thing be
computed again? The answer counts named values with all their digits, arrays by their bytes, objects
by their type and content, functions by their syntax tree together with the globals, defaults and
enclosed variables that they use, and everything of this package by the syntax trees of its rooms
and of the rooms that these import. Docstrings, comments and layout do not count, nor does the
version of Python. What cannot be told from another is refused by name.
"""

from __future__ import annotations

import builtins
import copyreg
import functools
import hashlib
import inspect
import sys
import sysconfig
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)

import numpy as np

from ddt_utils import _sources

_ATOMS = (type(None), bool, int, str, bytes, type(...), type(NotImplemented), range, slice)
_PLACES = {Path(sysconfig.get_path(k)).resolve() for k in ("stdlib", "platstdlib", "purelib")}
_SLOTS = (MemberDescriptorType, GetSetDescriptorType)
_UNSAID = frozenset(
    "__dict__ __weakref__ __doc__ __module__ __qualname__ __annotations__ __annotate__ __hash__ "
    "__annotate_func__ __annotations_cache__ __dataclass_fields__ __dataclass_params__ __slots__ "
    "__match_args__ __firstlineno__ __static_attributes__ __abstractmethods__ _abc_impl".split()
)


def digest(values: dict) -> str:
    """A digest of named values with all their digits, and of the code that they reach.

    Args:
        values: by name; anything but what has no content of its own, such as an open file.

    Returns:
        Twenty hexadecimal digits.

    Raises:
        ValueError: a value, or a part of one, cannot be told from another; the message names it.

    Example:
        >>> from ddt_utils import provenance
        >>> rates = 0.3, 0.1 + 0.2
        >>> one, other = (provenance.digest({"rate": rate}) for rate in rates)
        >>> one == other, one == provenance.digest({"rate": 3 / 10})
        (False, True)
    """
    return _Walk().over(values)


def origin(values: dict) -> tuple[str, dict]:
    """As :func:`digest`, with computed numbers apart, for results that are read on other machines.

    The last digits of a float that was computed are the processor's. Floats and arrays of floats
    are therefore not hashed but returned, to be compared with a tolerance.

    Args:
        values: by name, as for :func:`digest`.

    Returns:
        The digest of everything else, and arrays of the floats by name.

    Raises:
        ValueError: as for :func:`digest`.

    Example:
        >>> key, parts = origin({"walkers": 1000, "seed": 1})
        >>> len(key)
        20
    """
    numbers: dict = {}
    return _Walk(numbers).over(values), numbers


class _Walk:
    """One pass over values: whatever is met goes into one hash, in order."""

    def __init__(self, numbers=None):
        self.numbers = numbers  # where floats go, by name, if they are to be kept apart
        self.rooms, self.globals, self.open = set(), set(), []
        self.known = {}  # definitions by id: their numbers, and they themselves, so that ids stay
        self.sink = hashlib.sha256()

    def over(self, values):
        for name in sorted(values):
            self.text("value", name)
            self.value(values[name], name)
        for room in sorted(_sources.reached(self.rooms)):
            self.text("room", room, _sources.digest(room))
        return self.sink.hexdigest()[:20]

    def text(self, *words):
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogatepass")
            self.sink.update(b"%d:" % len(data) + data)

    def value(self, thing, path):
        """One value; ``path`` is its name, for messages and for numbers."""
        kind = type(thing)
        if kind in _ATOMS:
            self.text(kind.__name__, thing if kind is bytes else repr(thing))
        elif isinstance(thing, (float, complex, np.inexact)) or kind is np.ndarray:
            self.array(np.asarray(thing), path, "array" if kind is np.ndarray else "scalar")
        elif isinstance(thing, np.generic):
            self.text("scalar", repr(thing.dtype), thing.tobytes())
        elif isinstance(thing, (ModuleType, type, FunctionType)):
            self.definition(thing, path)
        elif id(thing) in self.open:
            self.text("inside", self.open.index(id(thing)))
        else:
            self.open.append(id(thing))
            self.compound(thing, kind, path)
            self.open.pop()

    def array(self, values, path, word):
        self.text(word, repr(values.dtype), values.shape)
        if values.dtype.hasobject:
            self.value(values.tolist(), path)
        elif self.numbers is None or values.dtype.kind not in "fc":
            self.text(np.ascontiguousarray(values).tobytes())
        else:
            while path in self.numbers:
                path += "′"
            self.numbers[path] = values

    def definition(self, thing, path):
        """A module, a class or a function: once, then by its number."""
        if id(thing) in self.known:
            return self.text("again", self.known[id(thing)][0])
        self.known[id(thing)] = (len(self.known), thing)
        if isinstance(thing, FunctionType):
            return self.function(thing, path)
        module = thing if isinstance(thing, ModuleType) else sys.modules.get(thing.__module__)
        place = _place(getattr(module, "__file__", None) or "")
        if not isinstance(thing, ModuleType) and (module is None or thing.__module__ == "__main__"):
            place = "elsewhere"
        if place == "here":
            self.rooms.add(_sources.room_of(module.__file__))
        if place != "elsewhere":
            self.text(place, thing.__name__, getattr(thing, "__qualname__", ""), module.__name__)
        elif isinstance(thing, ModuleType):
            self.text("module", _sources.tree(thing.__file__))
            self.rooms |= _sources.imports(Path(thing.__file__).read_text(encoding="utf-8"))
        else:
            self.own_class(thing, path)

    def function(self, thing, path):
        code, place = thing.__code__, _place(thing.__code__.co_filename)
        self.text("function", place, thing.__qualname__ if place != "elsewhere" else "")
        if place == "installed":
            self.text(thing.__module__)
        else:
            self.text(_sources.definition(code))
        if place == "here":
            self.rooms.add(_sources.room_of(code.co_filename))
        for name, cell in zip(code.co_freevars, thing.__closure__ or (), strict=True):
            self.text("enclosed", name)
            try:
                self.value(cell.cell_contents, f"{path}: {name}")
            except ValueError as error:
                if str(error) != "Cell is empty":
                    raise
        defaults = dict(enumerate(thing.__defaults__ or ())) | (thing.__kwdefaults__ or {})
        for name, default in defaults.items():
            self.text("default", name)
            self.value(default, f"{path}: default {name}")
        names = sorted(_sources.globals_of(code)) if place == "elsewhere" else ()
        for name in names:
            key = (id(thing.__globals__), name)
            if name in thing.__globals__ and key not in self.globals:
                self.globals.add(key)
                self.text("global", name)
                self.value(thing.__globals__[name], name)
            elif not hasattr(builtins, name):
                self.text("name", name)

    def own_class(self, thing, path):
        self.text("class", thing.__qualname__)
        for base in thing.__bases__:
            self.value(base, path)
        if is_dataclass(thing):
            for field in fields(thing):
                self.text("field", field.name)
                if field.default_factory is not MISSING:
                    self.value(field.default_factory, f"{path}.{field.name}")
        for name, member in sorted(vars(thing).items()):
            written = isinstance(member, FunctionType) and member.__code__.co_filename == "<string>"
            if name in _UNSAID or isinstance(member, _SLOTS) or (written and is_dataclass(thing)):
                continue
            self.text("member", name, type(member).__name__)
            if isinstance(member, property):
                member = (member.fget, member.fset, member.fdel)
            elif isinstance(member, functools.cached_property):
                member = member.func
            self.value(getattr(member, "__func__", member), f"{path}.{name}")

    def compound(self, thing, kind, path):
        """What has parts: containers, methods, and objects by what pickling would keep of them."""
        if kind in (list, tuple):
            self.text(kind.__name__, len(thing))
            for i, part in enumerate(thing):
                self.value(part, f"{path}[{i}]")
        elif kind is dict:
            self.text("dict", len(thing))
            for key, part in thing.items():
                self.value(key, f"a key of {path}")
                self.value(part, f"{path}[{key!r}]")
        elif kind in (set, frozenset):
            self.unordered(thing, kind, path)
        elif hasattr(thing, "detach") and hasattr(thing, "cpu"):
            self.text("tensor")
            self.array(_from_torch(thing, path), path, "array")
        elif isinstance(thing, (MethodType, BuiltinFunctionType)):
            self.text(
                "method", thing.__name__, getattr(thing, "__qualname__", ""), thing.__module__
            )
            self.value(thing.__self__, path)
            self.value(getattr(thing, "__func__", None), path)
        elif callable(thing) and hasattr(thing, "__wrapped__"):  # a cache, a compiled function
            self.text("wrapped", kind.__qualname__)
            self.value(thing.__wrapped__, path)
        elif hasattr(sys.modules.get("sympy"), "Basic") and _is_sympy(thing):
            self.text("expression", sys.modules["sympy"].srepr(thing))
        elif is_dataclass(thing):
            self.value(kind, path)
            for field in fields(thing):
                self.text(field.name)
                self.value(getattr(thing, field.name, None), f"{path}.{field.name}")
        else:
            self.object(thing, kind, path)

    def unordered(self, thing, kind, path):
        """A set: the digests of its members, sorted."""
        outer, numbers, found = self.sink, self.numbers, []
        self.numbers = None
        for part in thing:
            self.sink = hashlib.sha256()
            self.value(part, f"a member of {path}")
            found.append(self.sink.hexdigest())
        self.sink, self.numbers = outer, numbers
        self.text(kind.__name__, *sorted(found))

    def object(self, thing, kind, path):
        try:
            registered = copyreg.dispatch_table.get(kind)
            kept = registered(thing) if registered else thing.__reduce_ex__(2)
        except Exception as error:
            raise ValueError(
                f"{path} must have a content that tells it from others, got {kind.__qualname__} "
                f"({error}); pass what it is made from, or make it inside the function"
            ) from error
        if isinstance(kept, str):
            return self.text("named", kind.__module__, kept)
        maker, arguments, state, *items = (*kept, None, None, None)[:5]
        self.value(maker, path)
        self.value(arguments, path)
        if isinstance(state, dict):
            state = {
                key: part
                for key, part in state.items()
                if not isinstance(inspect.getattr_static(kind, key, 0), functools.cached_property)
            } or None
        for part, more in (("", state), *((":", it and list(it)) for it in items)):
            if isinstance(more, dict):
                for key, one in more.items():
                    self.text(key)
                    self.value(one, f"{path}.{key}")
            else:
                self.value(more, path + part)


def _place(path):
    """Where a file is: ``"here"`` in this package, ``"installed"``, or ``"elsewhere"``."""
    if not path or path.startswith("<frozen"):  # built into Python, or a module without a file
        return "installed"
    full = Path(path).resolve()
    if _sources.room_of(full) or full == _sources.PACKAGE / "__init__.py":
        return "here"
    return "installed" if any(place in full.parents for place in _PLACES) else "elsewhere"


def _is_sympy(thing):
    sympy = sys.modules["sympy"]
    return isinstance(thing, (sympy.Basic, sympy.MatrixBase))


def _from_torch(tensor, path):
    try:
        return tensor.detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{path} must be a tensor with a NumPy array, got {error}") from error
