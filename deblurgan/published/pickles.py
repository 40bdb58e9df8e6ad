"""Pickles of PyTorch, read as data: nothing that a pickle names is imported or called.

A pickle is a program for a stack machine, and Python's own machine runs any function that it names. This one knows the
instructions that tensors, containers, numbers and texts take. Names stay names, and calls are known of three of them.
"""

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from deblurgan.errors import UserError


class Name(NamedTuple):
    """A name of a module's, as a pickle writes it."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class StorageOf(NamedTuple):
    """What a pickle says of a storage: class, key and number of elements."""

    kind: str
    key: str
    elements: int


class TensorOf(NamedTuple):
    """What a pickle says of a tensor: its storage and the part of it, offset and strides in elements."""

    storage: StorageOf
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?",
}  # fmt: skip
"""Classes of storages in the module `torch`, and the type of their elements."""
ORDERED = Name("collections", "OrderedDict")
TENSOR = Name("torch._utils", "_rebuild_tensor_v2")
PARAMETER = Name("torch._utils", "_rebuild_parameter")
NAMES = {ORDERED, TENSOR, PARAMETER, *(Name("torch", kind) for kind in STORAGES)}
"""Every name that a pickle may contain."""
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LARGEST_PICKLE = 4 << 20
"""Bytes of a pickle, which holds the names and shapes of tensors alone; in memory it may take sixty times as much."""
ARGUMENTS = 8
"""Of a call, at most."""
DIMENSIONS = 32
"""Of a tensor, at most."""
BITS = 64
"""Of a number that counts, at most."""
PLAIN = (
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINSTRING", "SHORT_BINSTRING",
)  # fmt: skip
"""Instructions that put their own argument onto the stack."""


def read_pickle(stream: BinaryIO, storages: dict[str, StorageOf] | None = None) -> Any:
    """Read one pickle, up to its end.

    Parameters
    ----------
    stream
        Where the pickle begins.
    storages
        Takes all storages that the pickle mentions, by their keys.

    Returns
    -------
    object
        Numbers, texts, None, tuples, lists and dictionaries, with `Name`, `StorageOf` and `TensorOf`. All that is not
        for data is left out: attributes of objects, hooks, whether a tensor has gradients.

    Raises
    ------
    UserError
        It names, calls or does something else than tensors need, or is larger than any checkpoint's; the text says it,
        and does not name the file.
    EOFError, ValueError, IndexError, KeyError, TypeError
        It is cut or damaged.
    """
    machine = _Machine({} if storages is None else storages)
    first = stream.tell()
    for instruction, argument, place in pickletools.genops(stream):
        if instruction.name == "STOP":
            break
        if (place or 0) - first > LARGEST_PICKLE:
            raise UserError("its pickle is larger than any checkpoint's")
        machine.do(instruction.name, argument)
    (result,) = machine.stack
    return result


class _Machine:
    def __init__(self, storages: dict[str, StorageOf]) -> None:
        self.stack: list[Any] = []  # since the last mark
        self.below: list[list[Any]] = []  # before it, and before the marks before it
        self.storages = storages
        self.memo: dict[int, Any] = {}
        self.pairs = 0  # that came as arguments
        self.calls: dict[Name, Callable] = {ORDERED: self.ordered, TENSOR: _tensor, PARAMETER: _parameter}

    def do(self, name: str, argument: Any) -> None:
        """Carry one instruction out."""
        stack = self.stack  # until a mark begins or ends
        if name in ("PROTO", "FRAME"):
            return
        if name in PLAIN:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name == "MARK":
            self.below.append(stack)
            self.stack = []
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"D": dict, "L": list, "T": tuple}[name[6]]())
        elif name == "TUPLE":
            parts = self.marked()
            self.stack.append(tuple(parts))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            parts = [stack.pop() for _ in range(int(name[-1]))]
            stack.append(tuple(reversed(parts)))
        elif name in ("APPEND", "APPENDS"):
            parts = self.marked() if name == "APPENDS" else [stack.pop()]
            _the(list, self.stack[-1]).extend(parts)
        elif name in ("SETITEM", "SETITEMS"):
            parts = self.marked() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _the(dict, self.stack[-1]).update(zip(map(_key, parts[::2]), parts[1::2], strict=True))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self.name(*(argument.split(" ", 1) if name == "GLOBAL" else (stack.pop(-2), stack.pop())))
        elif name == "BINPERSID":
            storage = _storage(stack.pop())
            if self.storages.setdefault(storage.key, storage) != storage:
                raise UserError(f"its storage {storage.key[:80]!r} is described in two ways")
            stack.append(storage)
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            if (
                not isinstance(called, Name) or called not in self.calls
            ):  # what is no name is neither hashed nor printed
                what = str(called)[:80] if isinstance(called, Name) else f"a {type(called).__name__}"
                raise UserError(f"it calls {what}, which is no part of a checkpoint")
            if len(_the(tuple, arguments)) > ARGUMENTS:
                raise UserError(f"it calls {called} with {len(arguments)} arguments")
            stack.append(self.calls[called](*arguments))
        elif name == "BUILD":
            stack.pop()  # attributes, of which state dictionaries have the versions of their layers
            _the(dict, stack[-1])
        else:
            raise UserError(f"its pickle has the instruction {name}, which is no part of a checkpoint")

    def name(self, module: Any, name: Any) -> None:
        """Put a name onto the stack, if it is one of the few."""
        found = Name(_the(str, module), _the(str, name))
        if found not in NAMES:
            raise UserError(f"it asks for {str(found)[:80]!r}, which is no part of a checkpoint: a file that runs code")
        self.stack.append(found)

    def ordered(self, pairs: Any = ()) -> dict:
        """`collections.OrderedDict()`, filled later, or of pairs, as Python 2 wrote it."""
        self.pairs += len(pairs)
        if self.pairs > LARGEST_PICKLE:  # one list, taken again and again
            raise UserError("it holds more names than a pickle of its size can")
        return {_key(key): value for key, value in pairs}

    def marked(self) -> list[Any]:
        """Take what lies above the last mark."""
        parts, self.stack = self.stack, self.below.pop()
        return parts


def _the(kind: type, value: Any) -> Any:
    """A value, which is of a kind."""
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} where {kind.__name__} is expected")
    return value


def _key(value: Any) -> str | int:
    """A key of a dictionary: the hash of nested tuples may take for ever."""
    if type(value) not in (str, int):
        raise TypeError(f"a key of the type {type(value).__name__}")
    return _short(value) if type(value) is int else value


def _storage(named: Any) -> StorageOf:
    """A storage of its persistent id."""
    word, kind, key, _, count, *view = _the(tuple, named)
    if word != "storage" or type(kind) is not Name or kind.name not in STORAGES or view not in ([], [None]):
        raise UserError("it holds a storage of a kind that is not read (a view of another storage, say)")
    return StorageOf(kind.name, _the(str, key), _count(count))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorOf:
    """`_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`."""
    if max(len(_the(tuple, sides)) for sides in (shape, strides)) > DIMENSIONS:
        raise UserError(f"it holds a tensor of more than {DIMENSIONS} dimensions")
    shape, strides = (tuple(map(_count, sides)) for sides in (shape, strides))
    return TensorOf(_the(StorageOf, storage), _count(offset), shape, strides)


def _parameter(tensor: Any, *_: Any) -> TensorOf:
    """`_rebuild_parameter(data, requires_grad, hooks)`."""
    return _the(TensorOf, tensor)


def _count(value: Any) -> int:
    """A number that is not negative."""
    if _short(_the(int, value)) < 0:
        raise ValueError(f"{value} is negative")
    return value


def _short(value: int) -> int:
    """A number that can be printed and multiplied."""
    if value.bit_length() > BITS:
        raise ValueError(f"a number of {value.bit_length()} bits")
    return value
