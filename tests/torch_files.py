"""Files of `torch.save`, written by hand: what PyTorch would write, and worse."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np

KINDS = {"f8": "Double", "f4": "Float", "f2": "Half", "i8": "Long", "i4": "Int", "u1": "Byte", "b1": "Bool"}
"""Words in the names of storage classes, by NumPy's type."""
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    """A number, negative or large ones too."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def sides(values) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def storage(key: str, kind: str, count: int, legacy: bool = False) -> bytes:
    """A persistent id."""
    of, view = name("torch", f"{kind}Storage"), b"N" if legacy else b""
    return b"(" + text("storage") + of + text(key) + text("cpu") + number(count) + view + b"tQ"


def tensor(of: bytes, offset: int, shape, strides) -> bytes:
    """A call of `_rebuild_tensor_v2`."""
    hooks = name("collections", "OrderedDict") + b")R"
    parts = of + number(offset) + sides(shape) + sides(strides) + b"\x89" + hooks
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + parts + b"tR"


def dictionary(items: dict[str, bytes]) -> bytes:
    """An `OrderedDict` with the attribute that state dictionaries have."""
    filled = name("collections", "OrderedDict") + b")R(" + b"".join(text(key) + value for key, value in items.items())
    return filled + b"u}" + text("_metadata") + b"}sb"


def pickled(content: bytes) -> bytes:
    return b"\x80\x02" + content + b"."


def steps(array: np.ndarray) -> list[int]:
    """Strides in elements."""
    return [stride // array.itemsize for stride in array.strides]


def parts(arrays: dict[str, np.ndarray], legacy: bool = False) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Pickled tensors by name, each of a storage of its own, and the bytes of the storages."""
    tensors, stored = {}, {}
    for i, (key, array) in enumerate(arrays.items()):
        kind = KINDS[array.dtype.str[1:]]
        tensors[key] = tensor(storage(str(i), kind, array.size, legacy), 0, array.shape, steps(array))
        stored[str(i)] = array.ravel(order="K").tobytes()
    return tensors, stored


def zipped(
    content: bytes, stored: dict[str, bytes], top: str = "archive", compression: int = 0, byteorder: bytes = b"little"
) -> bytes:
    """The bytes of a zip archive as `torch.save` writes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr(f"{top}/data.pkl", pickled(content))
        archive.writestr(f"{top}/byteorder", byteorder)
        for key, data in stored.items():
            archive.writestr(f"{top}/data/{key}", data)
        archive.writestr(f"{top}/version", b"3\n")
    return out.getvalue()


def legacy(content: bytes, stored: dict[str, bytes], sizes: dict[str, int], little: bool = True) -> bytes:
    """The bytes of a file of before version 1.6; `sizes`: of an element of each storage."""
    order = b"\x88" if little else b"\x89"
    system = b"}(" + text("protocol_version") + number(PROTOCOL) + text("little_endian") + order
    keys = b"](" + b"".join(map(text, stored)) + b"e"
    five = (number(MAGIC), number(PROTOCOL), system + b"u", content, keys)
    counted = (struct.pack("<q", len(data) // sizes[key]) + data for key, data in stored.items())
    return b"".join(map(pickled, five)) + b"".join(counted)


def save_zip(path: Path, arrays: dict[str, np.ndarray], wrapper: str | None = None) -> Path:
    """Write tensors as newer versions do, under a key of their own if there is a wrapper."""
    tensors, stored = parts(arrays)
    content = dictionary(tensors)
    path.write_bytes(zipped(b"}" + text(wrapper) + content + b"s" if wrapper else content, stored))
    return path


def save_legacy(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write tensors as older versions did."""
    tensors, stored = parts(arrays, legacy=True)
    sizes = {str(i): array.itemsize for i, array in enumerate(arrays.values())}
    path.write_bytes(legacy(dictionary(tensors), stored, sizes))
    return path
