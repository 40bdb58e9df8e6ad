"""Deblurring by an exported generator, without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deblurgan.files import sha256_of
from deblurgan.restoration import tiles
from deblurgan.restoration.explosions import Guard


@dataclass(frozen=True)
class Deblurrer:
    """Deblurs photos as the stage `deblur` does.

    Parameters
    ----------
    method, guard
        What restores, and what looks at its results.
    sha256
        Of the model's file.
    """

    method: tiles.Method
    guard: Guard
    sha256: str

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, str]:
        """Deblur one image, `uint8` of shape (H, W, 3); also what is to be said about it, see `Guard.in_words`."""
        self.guard.forget()  # a photo that failed
        return tiles.deblur(self.method, image), self.guard.in_words()


def load_deblurrer(path: Path, threads: int | None = None) -> Deblurrer:
    """Load a generator that `python -m deblurgan export` has written; so many threads compute an image.

    Raises
    ------
    UserError
        There is no such file, or it is no such generator.
    """
    from deblurgan.restoration.exported import ExportedGenerator  # ONNX Runtime takes time, and few need it

    method, guard = ExportedGenerator(path, threads).restoring()
    return Deblurrer(method, guard, sha256_of(path))
