"""Whether an exported model gives what Keras gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from deblurgan.errors import UserError
from deblurgan.evaluation.metrics import psnr
from deblurgan.evaluation.scores import HIGHEST_PSNR
from deblurgan.export.litert_file import LiteRTGenerator
from deblurgan.images import read_rgb, to_float, to_uint8
from deblurgan.layout import Pair
from deblurgan.networks.generators import stride
from deblurgan.restoration.exported import ExportedGenerator
from deblurgan.restoration.neural import running
from deblurgan.restoration.tiles import Restore
from deblurgan.sampling import evenly_spaced

LARGEST = 1e-4
"""Difference of a value in [-1, 1] from Keras's value at most, for a model in `float32`: 1/78 of a grey level."""
MOST_LOST = 0.05
"""PSNR that a model with weights in `float16` may lose, dB."""
CROPS, SIDE = 48, 256
"""So many test images at most, spread evenly, are compared; and their middle, of so many pixels a side."""

PROOF = (128, 192)
"""Height and width of the image by which models are compared where there is no test image."""


@dataclass(frozen=True)
class Comparison:
    """An exported model beside Keras.

    Attributes
    ----------
    difference
        The largest of any value, in [-1, 1].
    psnr, lost
        Mean PSNR against the sharp images, and how much lower than Keras's it is; dB.
    """

    difference: float
    psnr: float
    lost: float


def proof_image() -> np.ndarray:
    """Smooth shapes and noise, `float32` of shape (H, W, 3) in [-1, 1]."""
    y, x = np.mgrid[: PROOF[0], : PROOF[1]] / 20
    smooth = np.stack([np.sin(x + y), np.cos(x - 2 * y), np.sin(3 * x) * np.cos(y)], axis=-1)
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, smooth.shape)
    return (0.7 * smooth + noise).astype(np.float32)


def middles(pairs: Sequence[Pair], step: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The middle of test images and of their sharp partners.

    Parameters
    ----------
    pairs
        The test split.
    step
        What their sides are made multiples of.

    Returns
    -------
    list
        Pairs of `uint8` of shape (H, W, 3), H and W at most `SIDE`.
    """
    chosen = evenly_spaced(pairs, CROPS)
    return [(_middle(read_rgb(pair.blur), step), _middle(read_rgb(pair.sharp), step)) for pair in chosen]


def _middle(image: np.ndarray, step: int) -> np.ndarray:
    sides = [min(side, SIDE) // step * step for side in image.shape[:2]]
    top, left = ((whole - side) // 2 for whole, side in zip(image.shape[:2], sides, strict=True))
    return image[top : top + sides[0], left : left + sides[1]]


def compare(
    generator: keras.Model, runs: Mapping[str, Restore], crops: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[float, dict[str, Comparison]]:
    """Restore crops by Keras and by exported models.

    Parameters
    ----------
    generator
        The model of Keras.
    runs
        What restores by each exported model.
    crops
        Of `middles`.

    Returns
    -------
    psnr, comparisons
        Mean PSNR of Keras, dB; and each model beside it.
    """
    reference, found = running(generator), {name: list[tuple[float, float]]() for name in runs}
    scores = []
    for blur, sharp in crops:
        image = to_float(blur)
        expected = reference(image)
        scores.append(_score(expected, sharp))
        for name, run in runs.items():
            restored = run(image)
            found[name].append((float(np.abs(restored - expected).max()), _score(restored, sharp)))
    mean = float(np.mean(scores))
    comparisons = {}
    for name, rows in found.items():
        own = float(np.mean([score for _, score in rows]))
        comparisons[name] = Comparison(float(np.max([row[0] for row in rows])), own, mean - own)
    return mean, comparisons


def _score(restored: np.ndarray, sharp: np.ndarray) -> float:
    return min(psnr(to_uint8(restored), sharp), HIGHEST_PSNR)


def refuse_differing(path: Path, difference: float) -> None:
    """Refuse a model in `float32` that differs from Keras by more than `LARGEST`.

    Raises
    ------
    UserError
        It does, or gives something else than numbers.
    """
    if not difference <= LARGEST:
        raise UserError(
            f"{path} differs from Keras by {difference:.1e} of values in [-1, 1], more than {LARGEST:.0e}: it was not "
            "kept; see whether the installed packages are as in requirements.txt"
        )


def refuse_worse(path: Path, lost: float) -> None:
    """Refuse a model with weights in `float16` that loses more than `MOST_LOST`.

    Raises
    ------
    UserError
        It does, or gives something else than numbers.
    """
    if not lost <= MOST_LOST:
        raise UserError(
            f"{path} loses {lost:.2f} dB to weights in half precision, more than {MOST_LOST} dB: it was not kept; the "
            "generator has weights that are too large or too small"
        )


def check_litert(generator: keras.Model, litert: Path, name: Path) -> None:
    """Compare a LiteRT file with Keras on `proof_image`.

    Parameters
    ----------
    generator
        The model of Keras.
    litert
        The file.
    name
        What to call it in an error.

    Raises
    ------
    UserError
        It loses more than `MOST_LOST`, or cannot be run.
    """
    image = to_uint8(proof_image())
    _, found = compare(generator, {"litert": LiteRTGenerator(litert).run}, [(image, image)])
    refuse_worse(name, found["litert"].lost)


def checked(generator: keras.Model, onnx: Path, litert: Path, names: tuple[Path, Path], pairs: Sequence[Pair]) -> dict:
    """Compare both exported models with Keras on the test split; where it is empty, on `proof_image`.

    Parameters
    ----------
    generator
        The model of Keras.
    onnx, litert
        The files.
    names
        What to call them in an error.
    pairs
        The test split.

    Returns
    -------
    dict
        For `metrics/export.json`; without PSNR where no image was compared with a sharp one.

    Raises
    ------
    UserError
        One of them is not as good as it has to be.
    """
    crops = middles(pairs, stride(generator)) if pairs else []
    proof = to_uint8(proof_image())
    runs = {"onnx": ExportedGenerator(onnx).run, "litert": LiteRTGenerator(litert).run}
    own, found = compare(generator, runs, crops or [(proof, proof)])
    refuse_differing(names[0], found["onnx"].difference)
    refuse_worse(names[1], found["litert"].lost)
    report: dict = {"crops": len(crops)}
    if crops:
        report["keras"] = {"psnr": round(own, 4)}
    for name, path in (("onnx", onnx), ("litert", litert)):
        part = found[name]
        report[name] = {
            "megabytes": round(path.stat().st_size / 1e6, 3),
            "largest_difference": float(f"{part.difference:.1e}"),
        }
        if crops:
            report[name] |= {"psnr": round(part.psnr, 4), "psnr_lost": round(part.lost, 4) + 0.0}
    return report
