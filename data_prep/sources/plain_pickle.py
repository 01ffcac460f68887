"""Pickles of plain data, read without running anything.

`pickle.Unpickler` with a guarded `find_class` is not enough: it reserves whatever memory a length or a memo
number claims, and numpy rebuilds arrays in C from states that it trusts. This reader knows the opcodes that
lists, tuples, numbers, text, bytes and numpy arrays of numbers are written with, builds Python values only,
and refuses everything else, above all every name that is not numpy's own for an array.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np

from data_prep.errors import InputError

# An array takes about 32 steps and an evaluation set has 14,000 photos at most; so a small file cannot keep
# the reader, or the memory, busy for long.
_MOST_STEPS = 1_000_000
_OLDEST_PROTOCOL, _NEWEST_PROTOCOL = 2, 5
_STOP = pickle.STOP[0]
_INT32, _UINT16, _UINT32, _UINT64 = (struct.Struct(form) for form in ("<i", "<H", "<I", "<Q"))
_NUMBERS = {"b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"}


@dataclass
class PlainArray:
    """A numpy array as it is stored; empty until its state comes, as numpy pickles it.

    Attributes:
        kind: numpy's letter and bytes an item: `u1`, `b1`, ... `i8`; little-endian.
        shape: extents.
        data: the items.
    """

    kind: str = "u1"
    shape: tuple[int, ...] = (0,)
    data: bytes = b""

    def numbers(self) -> list[int]:
        """The items one after the other."""
        return np.frombuffer(self.data, f"<{self.kind.replace('b', 'u')}").tolist()


class _Name(Enum):
    """What a pickle may name: numpy's parts of an array, and how old protocols write bytes."""

    NDARRAY = auto()
    DTYPE = auto()
    RECONSTRUCT = auto()
    SCALAR = auto()
    FROM_BUFFER = auto()
    ENCODE = auto()


_NAMES = {
    "numpy.ndarray": _Name.NDARRAY,
    "numpy.dtype": _Name.DTYPE,
    "numpy.core.multiarray._reconstruct": _Name.RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _Name.RECONSTRUCT,
    "numpy.core.multiarray.scalar": _Name.SCALAR,
    "numpy._core.multiarray.scalar": _Name.SCALAR,
    "numpy.core.numeric._frombuffer": _Name.FROM_BUFFER,
    "numpy._core.numeric._frombuffer": _Name.FROM_BUFFER,
    "_codecs.encode": _Name.ENCODE,
}


@dataclass(frozen=True)
class _Kind:
    """A dtype."""

    code: str


class _RefusedError(Exception):
    """What is in the pickle that must not be."""


def read_plain_pickle(data: bytes, *, field: str) -> object:
    """The value in a pickle: None, bool, int, str, bytes, list, tuple or `PlainArray`, nested as written.

    What Python 2 wrote as `str` comes as bytes. Names that lie about where data belongs come as inert marks.

    Args:
        data: the file's content.
        field: its name, for the message.

    Raises:
        InputError: it is broken, or holds or would run anything else.
    """
    try:
        return _Reader(data).run()
    except _RefusedError as refused:
        got: object = refused
    except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:
        got = f"a broken pickle ({type(error).__name__})"
    raise InputError(
        field,
        "must be a pickle of lists, bytes, booleans and numpy arrays only",
        got=got,
        fix="Fetch it again from a place that you trust; no part of it was run.",
    )


class _Reader:
    """Executes the admitted opcodes on a stack of plain values.

    Args:
        data: the pickle.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under each mark
        self._memo: dict[int, Any] = {}
        self._may_encode = len(data)  # bytes: text named again and again must not be copied each time

    def run(self) -> object:
        if len(self._data) < 2 or self._data[:1] != pickle.PROTO:
            raise _RefusedError("no pickle of protocol 2 to 5")
        for _ in range(_MOST_STEPS):
            opcode = self._data[self._place]
            self._place += 1
            if opcode == _STOP:
                return self._stack.pop()
            if opcode not in _ACTIONS:
                raise _RefusedError(f"opcode {bytes((opcode,))!r} at byte {self._place - 1:,}")
            _ACTIONS[opcode](self)
        raise _RefusedError(f"more than {_MOST_STEPS:,} steps")

    # --- bytes

    def _take(self, length: int) -> bytes:
        # Compared before anything is copied: the length is the file's claim.
        if not 0 <= length <= len(self._data) - self._place:
            raise _RefusedError(f"{length:,} bytes claimed at byte {self._place:,}, the file ends before")
        self._place += length
        return self._data[self._place - length : self._place]

    def _byte(self) -> int:
        self._place += 1
        return self._data[self._place - 1]

    def _number(self, form: struct.Struct) -> int:
        (number,) = form.unpack_from(self._data, self._place)
        self._place += form.size
        return int(number)

    def _line(self) -> str:
        end = self._data.index(b"\n", self._place, self._place + 200)
        line = self._take(end - self._place)
        self._place += 1
        return line.decode("ascii")

    # --- opcodes

    def protocol(self) -> None:
        protocol = self._byte()
        if not _OLDEST_PROTOCOL <= protocol <= _NEWEST_PROTOCOL:
            raise _RefusedError(f"pickle protocol {protocol}")

    def frame(self) -> None:
        self._take(8)

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def push_all(self, kind: type[list[Any]] | type[tuple[Any, ...]]) -> None:
        items = self._since_mark()
        self._stack.append(kind(items))

    def tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise _RefusedError("a tuple of values that are not there")
        split = len(self._stack) - count
        self._stack[split:] = [tuple(self._stack[split:])]

    def append(self) -> None:
        value = self._stack.pop()
        self._list().append(value)

    def extend(self) -> None:
        values = self._since_mark()
        self._list().extend(values)

    def _list(self) -> list[Any]:
        if not isinstance(self._stack[-1], list):
            raise _RefusedError("items for something that is no list")
        return self._stack[-1]

    def remember(self, number: int) -> None:
        self._memo[number] = self._stack[-1]

    def recall(self, number: int) -> None:
        self._stack.append(self._memo[number])

    def name(self, path: str) -> None:
        if path not in _NAMES:
            raise _RefusedError(f"the name {path[:80]}, which would be run")
        self._stack.append(_NAMES[path])

    def name_from_stack(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self.name(f"{_text(module)}.{_text(name)}")

    def call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(arguments, tuple) or not isinstance(function, _Name):
            raise _RefusedError("a call of something that is no function of an array")
        self._stack.append(self._called(function, arguments))

    def _called(self, function: _Name, arguments: tuple[Any, ...]) -> Any:
        if function is _Name.RECONSTRUCT and arguments[0] is _Name.NDARRAY:
            return PlainArray()
        if function is _Name.DTYPE:
            return _kind(arguments[0])
        if function is _Name.SCALAR:
            return _scalar(*arguments)
        if function is _Name.FROM_BUFFER:
            data, kind, shape, _ = arguments
            return _array(kind, shape, data)
        if function is _Name.ENCODE:
            return self._encoded(*arguments)
        raise _RefusedError(f"a call of {function.name.lower()}")

    def _encoded(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise _RefusedError("text in an encoding that is not latin1")
        self._may_encode -= len(text)
        if self._may_encode < 0:
            raise _RefusedError("more text than the file is long")
        return text.encode("latin1")

    def build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if not isinstance(state, tuple) or len(state) < 4:
            raise _RefusedError("a state that is not an array's")
        if isinstance(target, PlainArray):
            shape, kind, _, data = state[-4:]
            # In place, not a new one: the memo knows it already, and repeated photos come from there.
            target.__dict__.update(vars(_array(kind, shape, data)))
        elif isinstance(target, _Kind):
            _refuse_other_kind(target, state)
        else:
            raise _RefusedError("a state for something that is no array")


def _text(value: Any) -> str:
    if isinstance(value, bytes):  # Python 2's str
        value = value.decode("ascii")
    if not isinstance(value, str):
        raise _RefusedError("something else where text belongs")
    return value


def _kind(code: Any) -> _Kind:
    code = _text(code).lstrip("|<")
    if code not in _NUMBERS:
        raise _RefusedError(f"a numpy array of {code[:20]!r}")
    return _Kind(code)


def _refuse_other_kind(kind: _Kind, state: tuple[Any, ...]) -> None:
    # version, byte order, sub-array, names, fields, ...
    if _text(state[1]) not in ("|", "<") or any(part is not None for part in state[2:5]):
        raise _RefusedError(f"a numpy array of big-endian or compound {kind.code}")


def _scalar(kind: Any, data: Any) -> int:
    (value,) = _array(kind, (1,), data).numbers()
    return bool(value) if kind.code == "b1" else value


def _array(kind: Any, shape: Any, data: Any) -> PlainArray:
    if not (isinstance(kind, _Kind) and isinstance(shape, tuple) and isinstance(data, bytes)):
        raise _RefusedError("an array of something else than numbers")
    if not all(type(extent) is int and extent >= 0 for extent in shape) or len(shape) > 4:
        raise _RefusedError("an array of impossible shape")
    if math.prod(shape) * int(kind.code[1]) != len(data):
        raise _RefusedError(f"an array of shape {shape} in {len(data):,} bytes")
    return PlainArray(kind.code, shape, data)


_ACTIONS_BY_CODE: dict[bytes, Callable[[_Reader], None]] = {
    pickle.PROTO: _Reader.protocol,
    pickle.FRAME: _Reader.frame,
    pickle.MARK: _Reader.mark,
    pickle.NONE: lambda reader: reader.push(None),
    pickle.NEWTRUE: lambda reader: reader.push(True),
    pickle.NEWFALSE: lambda reader: reader.push(False),
    pickle.BININT: lambda reader: reader.push(reader._number(_INT32)),
    pickle.BININT1: lambda reader: reader.push(reader._byte()),
    pickle.BININT2: lambda reader: reader.push(reader._number(_UINT16)),
    pickle.LONG1: lambda reader: reader.push(
        int.from_bytes(reader._take(reader._byte()), "little", signed=True)
    ),
    pickle.SHORT_BINBYTES: lambda reader: reader.push(reader._take(reader._byte())),
    pickle.BINBYTES: lambda reader: reader.push(reader._take(reader._number(_UINT32))),
    pickle.BINBYTES8: lambda reader: reader.push(reader._take(reader._number(_UINT64))),
    pickle.BYTEARRAY8: lambda reader: reader.push(reader._take(reader._number(_UINT64))),
    pickle.SHORT_BINSTRING: lambda reader: reader.push(reader._take(reader._byte())),
    pickle.BINSTRING: lambda reader: reader.push(reader._take(reader._number(_INT32))),
    pickle.SHORT_BINUNICODE: lambda reader: reader.push(reader._take(reader._byte()).decode()),
    pickle.BINUNICODE: lambda reader: reader.push(reader._take(reader._number(_UINT32)).decode()),
    pickle.BINUNICODE8: lambda reader: reader.push(reader._take(reader._number(_UINT64)).decode()),
    pickle.EMPTY_TUPLE: lambda reader: reader.push(()),
    pickle.TUPLE1: lambda reader: reader.tuple_of(1),
    pickle.TUPLE2: lambda reader: reader.tuple_of(2),
    pickle.TUPLE3: lambda reader: reader.tuple_of(3),
    pickle.TUPLE: lambda reader: reader.push_all(tuple),
    pickle.LIST: lambda reader: reader.push_all(list),
    pickle.EMPTY_LIST: lambda reader: reader.push([]),
    pickle.APPEND: _Reader.append,
    pickle.APPENDS: _Reader.extend,
    pickle.BINPUT: lambda reader: reader.remember(reader._byte()),
    pickle.LONG_BINPUT: lambda reader: reader.remember(reader._number(_UINT32)),
    pickle.MEMOIZE: lambda reader: reader.remember(len(reader._memo)),
    pickle.BINGET: lambda reader: reader.recall(reader._byte()),
    pickle.LONG_BINGET: lambda reader: reader.recall(reader._number(_UINT32)),
    pickle.GLOBAL: lambda reader: reader.name(f"{reader._line()}.{reader._line()}"),
    pickle.STACK_GLOBAL: _Reader.name_from_stack,
    pickle.REDUCE: _Reader.call,
    pickle.BUILD: _Reader.build,
}
_ACTIONS = {code[0]: action for code, action in _ACTIONS_BY_CODE.items()}
