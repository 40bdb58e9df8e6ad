"""Restoring in any process, on any machine: each process reads a model once, and one thread computes an image.

What comes out does not depend on how many processes there are, since the threads of an image are always the same.
"""

import functools
import platform
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deblurgan.errors import UserError
from deblurgan.files import sha256_of
from deblurgan.images import read_rgb, to_uint8, write_png
from deblurgan.restoration import tiles
from deblurgan.restoration.exported import ExportedGenerator


@dataclass(frozen=True)
class SharedFile:
    """A file that workers read and keep, by where it is and by what is in it.

    Workers of a cluster live longer than a stage: the path alone could name the model of an earlier training.
    """

    path: Path
    sha256: str

    @classmethod
    def at(cls, path: Path) -> "SharedFile":
        """Name a file as it is now."""
        return cls(path.absolute(), sha256_of(path))

    def checked(self) -> Path:
        """Where the file is, if it is the one that was named.

        Raises
        ------
        UserError
            This machine sees another one.
        """
        if sha256_of(self.path) != self.sha256:
            raise UserError(
                f"{self.path} on {platform.node()} is not the file that this stage has seen: it was changed "
                "meanwhile, or the machines do not share the folder"
            )
        return self.path


@functools.lru_cache(maxsize=1)
def _loaded(model: SharedFile) -> ExportedGenerator:
    return ExportedGenerator(model.checked(), threads=1)


def deblurred(model: SharedFile, image: np.ndarray, *, ensemble: bool = False) -> tuple[np.ndarray, str]:
    """Deblur one image.

    Parameters
    ----------
    model
        A file that `export` has written.
    image
        `uint8` of shape (H, W, 3), of any size.
    ensemble
        Whether to restore in eight positions, see `traits.ensembled`.

    Returns
    -------
    restored, left_out
        `uint8` of the same shape; and what the guard has to say about it, see `Guard.in_words`.

    Raises
    ------
    UserError
        The file is no exported generator, or another one than it was.
    """
    method, guard = _loaded(model).restoring(ensemble=ensemble)  # a guard that has seen nothing yet
    return tiles.deblur(method, image), guard.in_words()


def deblurred_and_alone(
    model: SharedFile, image: np.ndarray, *, ensemble: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Deblur one image, see `deblurred`.

    Returns
    -------
    restored, alone
        As `deblurred` has it; and as the network has it, before a small correction is taken back, see `restraint`.
    """
    method, guard = _loaded(model).restoring(ensemble=ensemble)
    seen: list[np.ndarray] = []

    def finish(before: np.ndarray, after: np.ndarray) -> None:
        seen.append(to_uint8(after))
        guard.finish(before, after)

    restored = tiles.deblur(replace(method, finish=finish), image)
    return restored, seen[0]


@dataclass(frozen=True)
class DeblurFile:
    """A photo to deblur, and the PNG that becomes of it."""

    source: Path
    target: Path
    model: SharedFile


def deblur_file(job: DeblurFile) -> str:
    """Deblur a file; what the guard has to say about it."""
    restored, left_out = deblurred(job.model, read_rgb(job.source))
    write_png(job.target, restored)
    return left_out
