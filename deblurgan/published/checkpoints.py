"""A file of weights to named arrays, whichever of the formats it has."""

import errno
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  gives NumPy the type bfloat16
import numpy as np
from safetensors import safe_open

from deblurgan.errors import UserError
from deblurgan.published.torch_files import read_legacy, read_zip

WRAPPERS = ("params_ema", "params", "state_dict")
"""Under which keys trainings keep the weights among other things; the averaged ones first."""
LONGEST_NAME = 80
"""Characters of a name in a message."""


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Read the weights of a network.

    Parameters
    ----------
    path
        A file of `torch.save`, zip or legacy, or `.safetensors`. What it is shows in its first bytes.

    Returns
    -------
    dict
        `float32` arrays by name, of floating-point tensors as they are stored, and integer ones. The prefix `module.`,
        which parallel trainings put before all names, is taken away.

    Raises
    ------
    UserError
        It is none of these, damaged, or holds what does not belong into it: nothing that it names is ever run.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        found = _reader(path)(path)
    except UserError as error:
        raise UserError(f"{path} is refused: {error}") from None
    except Exception as error:  # damaged bytes make zipfile, safetensors and pickletools raise anything
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a fault of the disk
            raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path} is damaged, or is no file of weights ({reason})") from None
    tensors = _weights(path, found)
    prefix = "module."
    if all(name.startswith(prefix) for name in tensors):
        tensors = {name.removeprefix(prefix): array for name, array in tensors.items()}
    return {name: _real(array, f"{path} is refused: {name[:LONGEST_NAME]!r}") for name, array in tensors.items()}


def _real(array: np.ndarray, what: str) -> np.ndarray:
    """An array as `float32`, or of integers as it is."""
    if array.dtype.kind == "c":
        raise UserError(f"{what} has complex numbers")
    return array if array.dtype.kind in "iub" else array.astype(np.float32, copy=False)


def _reader(path: Path) -> Any:
    with open(path, "rb") as stream:
        start = stream.read(9)
    if start[:4] == b"PK\3\4" or zipfile.is_zipfile(path):
        return read_zip
    if start[:1] == b"\x80":
        return read_legacy
    if start[8:] == b"{":
        return _read_safetensors
    raise UserError("it is neither a file of PyTorch nor .safetensors")


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dictionary


def _weights(path: Path, found: dict[Any, Any]) -> dict[str, np.ndarray]:
    """The dictionary of tensors that a file holds, or has under one of a few keys."""
    inner = next((found[key] for key in WRAPPERS if type(found.get(key)) is dict), found)
    for name, value in inner.items():
        if not isinstance(value, np.ndarray) or not isinstance(name, str):
            kind = "a tensor" if isinstance(value, np.ndarray) else type(value).__name__
            raise UserError(f"{path} is refused: {str(name)[:LONGEST_NAME]!r} is {kind}, where weights are expected")
    if not inner:
        raise UserError(f"{path} holds no weights")
    return inner
