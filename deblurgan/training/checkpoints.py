"""Trainings that survive their process: a later run goes on where one was killed, and ends with the same bytes.

Checkpoints lie outside of DVC's outputs, which DVC deletes before each run, under a name that is a hash of everything
that determines the training: a run with other data, parameters or code never sees them.
"""

import ast
import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from deblurgan.errors import UserError
from deblurgan.files import CACHE, cache_directory, locked, new_file, remove_partials

Logs = dict[str, float]
FILE, BEFORE, DONE = "checkpoint.npz", "before.npz", "done"
SAMPLE = "sample_"
"""Beginning of the names of restored images in a checkpoint."""
BEST = "best_"
"""Beginning of the names of the best generator's weights."""
DAMAGED = ".damaged"
"""Suffix of a checkpoint that is of no use; it is kept until its folder goes."""
DAYS = 28
"""For which the checkpoints of a training are kept that has not gone on."""


@dataclass
class TrainingState:
    """What a checkpoint holds: values of the variables, logs of each epoch, and restored images for sample pictures.

    `best` are the weights of the averaged generator after the epoch of the highest `val_psnr`.
    Restored images are `uint8` of shape (N, H, W, 3), by the number of their step. A run that goes on draws the sample
    pictures from them again, so that all pictures have captions of the same code.
    """

    values: list[np.ndarray] = field(default_factory=list)
    history: list[Logs] = field(default_factory=list)
    restored: dict[int, np.ndarray] = field(default_factory=dict)
    best: list[np.ndarray] = field(default_factory=list)

    @property
    def best_logs(self) -> Logs:
        """Logs of the epoch of the highest `val_psnr`, of the first of equals."""
        return max(self.history, key=lambda logs: logs["val_psnr"])


def fingerprint(facts: Any) -> str:
    """Name a training by all that determines it: anything that JSON holds."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def meaning_of(code: Path) -> str:
    """What a module computes: its statements, without comments, docstrings and layout."""
    return ast.unparse(_WithoutDocstrings().visit(ast.parse(code.read_text(encoding="utf-8"))))


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder for one training, held by this process alone.

    The folder lies in the cache directory, so that a training also goes on in another copy of the repository: the
    copies of `dvc exp run --temp` and `--queue` are temporary. After a training that has ended, the folder stays until
    the next training begins, since DVC has not stored the outputs yet. After a training that was killed or stopped, it
    stays for `DAYS`.

    Raises
    ------
    UserError
        Another process runs the same training.
    """
    folder = cache_directory() / "train" / name
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder.with_suffix(".lock"), wait=False))
        except BlockingIOError:
            raise UserError(f"another process runs this training: wait for it, or stop it ({folder})") from None
        for other in folder.parent.iterdir():
            if other != folder and other.is_dir() and ((other / DONE).exists() or _days_since(other) > DAYS):
                with contextlib.suppress(BlockingIOError), locked(other.with_suffix(".lock"), wait=False):
                    shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        remove_partials(folder)  # of killed processes: each is as large as a checkpoint
        yield folder
        (folder / DONE).touch()


def _days_since(folder: Path) -> float:
    """Age of the last change in a folder."""
    return (time.time() - folder.stat().st_mtime) / 86400


def save(folder: Path, variables: list[keras.Variable], kept: TrainingState) -> None:
    """Write a checkpoint: variables, logs and sample pictures. The checkpoint before it is kept as well.

    Raises
    ------
    UserError
        The checkpoint cannot be written, say on a full disk; the last one stays.
    """
    path = folder / FILE
    arrays = {f"{i:05d}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
    arrays |= {f"{SAMPLE}{step}": images for step, images in kept.restored.items()}
    arrays |= {f"{BEST}{i:05d}": weights for i, weights in enumerate(kept.best)}
    try:
        with new_file(path) as partial:
            with open(partial, "wb") as stream:
                np.savez(stream, history=np.array(json.dumps(kept.history)), **arrays)
            if path.exists():
                os.replace(path, folder / BEFORE)
    except OSError as error:
        needed = sum(array.nbytes for array in arrays.values()) / 1e6
        raise UserError(
            f"the checkpoint {path} cannot be written ({error.strerror or error}): free {needed:.0f} MB there, or set "
            f"{CACHE} to a folder of another disk and move {folder} to its train/; run again, and training goes on "
            "from the checkpoint before"
        ) from None


def last_checkpoint(folder: Path, variables: list[keras.Variable]) -> TrainingState:
    """Read the last checkpoint; if it is damaged, say so and read the checkpoint before it.

    Parameters
    ----------
    folder
        See `scratch`.
    variables
        The state of the training; the checkpoint must have their shapes.

    Returns
    -------
    TrainingState
        Empty if there is none.
    """
    shapes = [tuple(variable.shape) for variable in variables]
    for path in (folder / FILE, folder / BEFORE):
        try:
            return _read(path, shapes)
        except FileNotFoundError:
            continue
        except MemoryError:
            raise
        except Exception as error:  # damaged bytes make NumPy and zipfile raise anything
            if isinstance(error, OSError) and error.errno:  # the system's fault, not the file's
                raise
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            os.replace(path, path.with_suffix(DAMAGED))
            then = "from the checkpoint before it, if there is one" if path.name == FILE else "anew"
            print(f"{path} is damaged ({reason}) and left out: training goes on {then}", flush=True)
    return TrainingState()


def _read(path: Path, shapes: list[tuple[int, ...]]) -> TrainingState:
    with np.load(path) as arrays:  # the CRC-32 of each member is checked
        history = json.loads(str(arrays["history"]))
        restored = {int(name.removeprefix(SAMPLE)): arrays[name] for name in arrays if name.startswith(SAMPLE)}
        values = [arrays[name] for name in sorted(name for name in arrays if name.isdigit())]
        best = [arrays[name] for name in sorted(name for name in arrays if name.startswith(BEST))]
    if [value.shape for value in values] != shapes:
        raise ValueError("it is of another network or optimizer")
    return TrainingState(values, history, restored, best)


class Checkpoint(keras.callbacks.Callback):
    """Save at the end of each epoch; last among the callbacks, so that one that stops a bad training comes first.

    Parameters
    ----------
    folder
        See `scratch`.
    kept
        Of earlier runs; its history grows.
    """

    def __init__(self, folder: Path, kept: TrainingState) -> None:
        super().__init__()
        self.folder, self.kept = folder, kept

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save."""
        self.kept.history.append({name: float(value) for name, value in (logs or {}).items()})
        if self.kept.best_logs is self.kept.history[-1]:
            self.kept.best = [keras.ops.convert_to_numpy(weight).copy() for weight in self.model.averaged.weights]
        save(self.folder, self.model.state, self.kept)
