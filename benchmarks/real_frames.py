r"""What a generator gains on whole frames of data sets, and whether it harms what is hardly blurred.

    python -m benchmarks.real_frames pretrained/generator.keras GOPRO_Large/test REDS/train/001
    python -m benchmarks.real_frames pretrained/generator.keras GOPRO_Large/test --jpeg 80
    python -m benchmarks.real_frames pretrained/generator.keras --sharp KODAK --always
    python -m benchmarks.real_frames pretrained/generator.keras --shaken KODAK
    python -m benchmarks.real_frames pretrained/generator.keras GOPRO_Large/test --picture docs/example.png

Each folder holds pairs below `blur/` and `sharp/`. With `--sharp`, sharp photos get blurs of an RMS radius of 0, 0.5
and 1 pixels and a grey level of noise; the gain over the untouched input says whether they are harmed. With `--shaken`
they get the camera shake of `synthesize` in params.yaml. Images that the generator finds hardly blurred are left as
they are, as by `deblur`, but for `--always`.
"""

import argparse
import itertools
import os
import statistics
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as stages/train.py

from deblurgan import backend  # noqa: F401  before anything that imports Keras

# isort: split

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from benchmarks.defaults import default_params
from deblurgan.blur.convolution import add_noise
from deblurgan.blur.kinds import draw_blur
from deblurgan.errors import UserError, reported
from deblurgan.evaluation.metrics import psnr, ssim
from deblurgan.files import files_below
from deblurgan.images import read_rgb, write_png
from deblurgan.layout import find_pairs
from deblurgan.networks.model_files import load_generator
from deblurgan.pictures import captioned, side_by_side, stacked
from deblurgan.restoration.neural import deblur
from deblurgan.training.augmentation import compressed

RADII = (0.0, 0.5, 1.0)
"""RMS radii of mild blurs in pixels."""
HARMED = 0.1
"""Decibels: an image that loses more has lost something that can be seen."""
PART = (240, 400)
"""Height and width of what is drawn of a frame."""
Images = Iterator[tuple[np.ndarray, np.ndarray]]


def frames(folder: Path, quality: int | None) -> Images:
    """Blurred and sharp frames, the blurred ones as a JPEG leaves them where a quality is given."""
    for pair in find_pairs(folder):
        blur = read_rgb(pair.blur)
        yield compressed(blur, quality) if quality else blur, read_rgb(pair.sharp)


def mildly_blurred(folder: Path, radius: float) -> Images:
    """Photos with a round Gaussian blur of an RMS radius in pixels, and without."""
    for i, path in enumerate(files_below(folder)):
        sharp = read_rgb(path)
        levels = ndimage.gaussian_filter(sharp.astype(np.float32), (radius / 2**0.5, radius / 2**0.5, 0))
        yield add_noise(levels, np.random.default_rng(i), 1), sharp


def shaken(folder: Path) -> Images:
    """Photos with the blur and the noise that `synthesize` would give them."""
    settings = default_params().synthesize
    for i, path in enumerate(files_below(folder)):
        rng, sharp = np.random.default_rng(i), read_rgb(path)
        levels = draw_blur(rng, settings).applied(sharp, linear=settings.in_light)
        yield add_noise(levels, rng, settings.noise), sharp


def row(name: str, generator, images: Images, always: bool) -> tuple[str, int]:
    """Measure one set of images, and say which has the median gain; `always`: also those that are hardly blurred."""
    gains, ssims, inputs, left = [], [], [], 0
    for blur, sharp in tqdm(images, desc=name, unit="image", leave=False):
        restored, before = deblur(generator, blur, restrained=not always), psnr(blur, sharp)
        left += bool((restored == blur).all())
        inputs.append(before)
        gains.append(psnr(restored, sharp) - before)
        ssims.append(ssim(restored, sharp) - ssim(blur, sharp))
    if not gains:
        raise UserError(f"{name}: no pairs below blur/ and sharp/, or no photos")
    mean, median, worst = statistics.mean(gains), statistics.median(gains), min(gains)
    text = (
        f"| {name} ({len(gains)}) | {left} | {statistics.mean(inputs):.2f} dB | {mean:+.2f} dB | {median:+.2f} dB | "
        f"{worst:+.2f} dB | {sum(gain < -HARMED for gain in gains)} | {statistics.mean(ssims):+.3f} |"
    )
    return text, sorted(range(len(gains)), key=gains.__getitem__)[len(gains) // 2]


def best_part(generator, blur: np.ndarray, sharp: np.ndarray, always: bool) -> np.ndarray:
    """Of a frame the part whose error falls most: input, result and sharp side by side."""
    frames = blur, deblur(generator, blur, restrained=not always), sharp
    errors = [np.square(frame.astype(np.float32) - frames[2]).mean(axis=2) for frame in frames[:2]]
    height, width = PART
    rows, columns = (max(side - part, 0) + 1 for side, part in zip(errors[0].shape, PART, strict=True))
    places = itertools.product(range(0, rows, 20), range(0, columns, 20))
    top, left = max(
        places, key=lambda at: float((errors[0] - errors[1])[at[0] : at[0] + height, at[1] : at[1] + width].sum())
    )
    parts = [frame[top : top + height, left : left + width] for frame in frames]
    captions = (
        *(f"{name} {psnr(part, parts[2]):.2f} dB" for name, part in zip(("input", "result"), parts, strict=False)),
        "sharp",
    )
    return side_by_side([captioned(part, text) for part, text in zip(parts, captions, strict=True)])


def main() -> None:
    """Print a row for each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folders", type=Path, nargs="*", help="with pairs")
    parser.add_argument(
        "--jpeg", type=int, choices=range(1, 96), metavar="QUALITY", help="frames pass through JPEG first"
    )
    parser.add_argument("--sharp", type=Path, nargs="*", default=[], help="folders of sharp photos")
    parser.add_argument("--shaken", type=Path, nargs="*", default=[], help="folders of sharp photos to shake")
    parser.add_argument("--always", action="store_true", help="also restore images that are hardly blurred")
    parser.add_argument("--picture", type=Path, help="also draw a part of each folder's median frame into this file")
    options = parser.parse_args()
    if options.picture and not options.folders:
        parser.error("--picture draws frames of folders: name one")
    generator = load_generator(options.model)
    print("| images | left as they are | input | mean gain | median | worst | harmed | SSIM |\n|" + 8 * " --- |")
    parts = []
    for folder in options.folders:
        name = f"{folder}, JPEG {options.jpeg}" if options.jpeg else str(folder)
        text, median = row(name, generator, frames(folder, options.jpeg), options.always)
        print(text, flush=True)
        if options.picture:
            middle = next(itertools.islice(frames(folder, options.jpeg), median, None))
            parts.append(best_part(generator, *middle, options.always))
    if options.picture:
        write_png(options.picture, stacked(parts))
    for folder in options.sharp:
        for radius in RADII:
            name = f"{folder}, RMS radius {radius:g} px"
            print(row(name, generator, mildly_blurred(folder, radius), options.always)[0], flush=True)
    for folder in options.shaken:
        print(row(f"{folder}, shaken", generator, shaken(folder), options.always)[0], flush=True)


if __name__ == "__main__":
    with reported("real_frames"):
        main()
