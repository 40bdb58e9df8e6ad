"""Trainings that survive their process: a later run goes on where one was killed, and ends with the same bytes.

Checkpoints lie outside of DVC's outputs, which DVC deletes before each run, under a name that is a hash of everything
that determines the training: a run with other data, parameters or code never sees them.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from deblurgan.errors import UserError
from deblurgan.files import cache_directory, locked, new_file, sha256_of

Logs = dict[str, float]
FILE, DONE = "checkpoint.npz", "done"


def fingerprint(facts: Any, files: dict[str, Path]) -> str:
    """Name a training by what determines it.

    Parameters
    ----------
    facts
        Parameters, versions, device: anything that JSON holds.
    files
        Data and code, by names that do not depend on where this copy of the repository lies.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(files):
        digest.update(f"{name}\0{sha256_of(files[name])}\0".encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder for one training, held by this process alone.

    It lies in the cache directory, so that a training goes on in another copy of the repository, too: those of
    `dvc exp run --temp` and `--queue` are temporary. It stays when the body has succeeded, since DVC has not stored the
    outputs yet, until the next training begins.

    Raises
    ------
    UserError
        Another process is at this very training.
    """
    folder = cache_directory() / "train" / name
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder.with_suffix(".lock"), wait=False))
        except BlockingIOError:
            raise UserError(f"another process is at this training: wait for it, or end it ({folder})") from None
        for other in folder.parent.glob(f"*/{DONE}"):
            with contextlib.suppress(BlockingIOError), locked(other.parent.with_suffix(".lock"), wait=False):
                shutil.rmtree(other.parent, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        yield folder
        (folder / DONE).touch()


def save(folder: Path, variables: list[keras.Variable], history: list[Logs]) -> None:
    """Write the state of a training and what it has logged, a set for each epoch; whole or not at all."""
    arrays = {f"{i:05d}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
    with new_file(folder / FILE) as partial, open(partial, "wb") as stream:
        np.savez(stream, history=np.array(json.dumps(history)), **arrays)


def last_checkpoint(folder: Path) -> tuple[list[np.ndarray], list[Logs]]:
    """Read the last checkpoint.

    Returns
    -------
    values, history
        Of the variables, and what was logged until then; both are empty if there is none.
    """
    path = folder / FILE
    if not path.is_file():
        return [], []
    with np.load(path) as arrays:
        history = json.loads(str(arrays["history"]))
        return [arrays[name] for name in sorted(set(arrays) - {"history"})], history


class Checkpoint(keras.callbacks.Callback):
    """Save at the end of each epoch; last among the callbacks, so that one that stops a bad training comes first.

    Parameters
    ----------
    folder
        See `scratch`.
    history
        What was logged before, see `last_checkpoint`.
    """

    def __init__(self, folder: Path, history: list[Logs]) -> None:
        super().__init__()
        self.folder, self.history = folder, history

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save."""
        self.history.append({name: float(value) for name, value in (logs or {}).items()})
        save(self.folder, self.model.state, self.history)
