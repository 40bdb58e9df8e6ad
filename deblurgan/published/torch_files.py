"""Files of `torch.save`, without PyTorch: zip archives (since version 1.6) and the legacy format before.

Their layout is defined by `torch/serialization.py` and `caffe2/serialize/inline_container.cc`.
"""

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from deblurgan.errors import UserError
from deblurgan.published.pickles import LARGEST_PICKLE, STORAGES, StorageOf, TensorOf, read_pickle

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""What a legacy file begins with, pickled."""


def read_zip(path: Path) -> Any:
    """Read a zip archive of `torch.save`, see `read_pickle`; tensors are arrays.

    Raises
    ------
    UserError
        It holds what does not belong into it; the text does not name the file.
    zipfile.BadZipFile, EOFError, ValueError, IndexError, KeyError, TypeError
        It is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise UserError(f"its member {member.filename!r} is compressed or encrypted, as PyTorch writes none")
        if len(set(names)) < len(names) or sum(member.file_size for member in members) > path.stat().st_size:
            raise UserError("its members lie upon one another, as PyTorch writes none")
        pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise UserError(f"it has {len(pickles)} members data.pkl, where a checkpoint has one")
        top = pickles[0].removesuffix("/data.pkl")
        if f"{top}/byteorder" in names and archive.read(f"{top}/byteorder") != b"little":
            raise UserError("its numbers are big-endian, which is not read")
        if archive.getinfo(pickles[0]).file_size > LARGEST_PICKLE:
            raise UserError("its pickle is larger than any checkpoint's")

        def bytes_of(storage: StorageOf) -> bytes:
            if not storage.key.isalnum():
                raise UserError(f"its pickle asks for the storage {storage.key[:80]!r}, which is no name of one")
            return archive.read(f"{top}/data/{storage.key}")

        return _with_arrays(read_pickle(io.BytesIO(archive.read(pickles[0]))), _Storages(bytes_of))


def read_legacy(path: Path) -> Any:
    """Read a file of `torch.save` of before version 1.6, see `read_zip`."""
    with open(path, "rb") as stream:
        magic, protocol, system = (read_pickle(stream) for _ in range(3))
        if magic != MAGIC or protocol != PROTOCOL:
            raise UserError("it is a pickle, but not of PyTorch")
        if system.get("little_endian") is not True:
            raise UserError("its numbers are big-endian, which is not read")
        storages: dict[str, StorageOf] = {}
        found, keys = read_pickle(stream, storages), read_pickle(stream)
        kept = dict(_legacy_storages(stream, keys, storages, path.stat().st_size))
        return _with_arrays(found, _Storages(lambda storage: kept[storage.key]))


def _legacy_storages(
    stream: BinaryIO, keys: list[str], known: dict[str, StorageOf], end: int
) -> Iterator[tuple[str, bytes]]:
    """The bytes of each storage, which follow the pickles in the order of their keys up to the file's end."""
    for key in keys:
        storage = known.get(key) if isinstance(key, str) else None  # the hash of nested tuples may take for ever
        if storage is None:
            what = repr(key[:80]) if isinstance(key, str) else f"named by a {type(key).__name__}"
            raise UserError(f"its storage {what} belongs to no tensor")
        count = int.from_bytes(stream.read(8), "little")
        if count != storage.elements:
            raise UserError(f"its storage {key[:80]!r} has {count} elements, where its pickle says {storage.elements}")
        size = count * _type_of(storage).itemsize
        if size > end - stream.tell():
            raise EOFError
        yield key, stream.read(size)


class _Storages:
    """Arrays of storages, each read once.

    Parameters
    ----------
    bytes_of
        Reads one.
    """

    def __init__(self, bytes_of: Callable[[StorageOf], bytes]) -> None:
        self.bytes_of = bytes_of
        self.arrays: dict[str, np.ndarray] = {}
        self.unseen = 0  # elements of storages that no tensor has shown yet

    def array(self, tensor: TensorOf) -> np.ndarray:
        """A tensor as a view of its storage, which cannot be written."""
        storage, shape = tensor.storage, tensor.shape
        size = math.prod(shape)
        reach = sum((side - 1) * stride for side, stride in zip(shape, tensor.strides, strict=True))
        if size and (size > storage.elements or tensor.offset + reach >= storage.elements):
            sides = "x".join(map(str, shape))[:80]
            raise UserError(f"a tensor of {sides} does not lie within its storage of {storage.elements} elements")
        if storage.key not in self.arrays:
            data, kind = self.bytes_of(storage), _type_of(storage)
            if len(data) != storage.elements * kind.itemsize:
                raise UserError(
                    f"its storage {storage.key!r} has not the {storage.elements} elements that its pickle says"
                )
            self.arrays[storage.key] = np.frombuffer(data, kind)
            self.unseen += storage.elements
        self.unseen -= size
        if self.unseen < 0:
            raise UserError("its tensors lie upon one another, as no published network's do")
        array = self.arrays[storage.key]
        if not size:
            return np.zeros(shape, array.dtype)
        strides = [stride * array.itemsize for stride in tensor.strides]
        return np.lib.stride_tricks.as_strided(array[tensor.offset :], shape, strides, writeable=False)


def _type_of(storage: StorageOf) -> np.dtype:
    name = STORAGES[storage.kind]
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def _with_arrays(found: Any, storages: _Storages) -> Any:
    """A dictionary, and dictionaries in it, with arrays for tensors; one array for a tensor that is named twice."""
    arrays: dict[TensorOf, np.ndarray] = {}

    def made(value: Any) -> Any:
        if type(value) is not TensorOf:
            return value
        if value not in arrays:
            arrays[value] = storages.array(value)
        return arrays[value]

    if type(found) is not dict:
        raise UserError("it holds no dictionary of tensors")
    return {
        key: {name: made(part) for name, part in value.items()} if type(value) is dict else made(value)
        for key, value in found.items()
    }
