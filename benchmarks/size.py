"""What each way of resizing does to PSNR and SSIM of blurred against sharp images, before any deblurring.

    python -m benchmarks.size data/raw/GOPRO_Large/train/GOPR0372_07_00

The folder is searched for `blur/` and `sharp/` with images of equal names.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from deblurgan.evaluation.metrics import psnr, ssim
from deblurgan.layout import find_pairs
from deblurgan.params import Resize
from deblurgan.resizing import resized

WAYS = {
    "as they are": Resize(mode="none", width=16, height=16, filter="lanczos"),
    "fit 640x360": Resize(mode="fit", width=640, height=360, filter="lanczos"),
    "fit 256x256": Resize(mode="fit", width=256, height=256, filter="lanczos"),
    "stretch 128x128": Resize(mode="stretch", width=128, height=128, filter="lanczos"),
}


def read(path: Path, settings: Resize) -> np.ndarray:
    """Read an image at the size that the settings give it."""
    with Image.open(path) as image:
        ((_, small),) = resized(image.convert("RGB"), settings)
        return np.asarray(small)


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    pairs = find_pairs(folder)
    if not pairs:
        sys.exit(f"{folder} has no images of equal names under blur/ and sharp/")
    print(f"{len(pairs)} pairs of {folder}, blurred against sharp")
    for name, settings in WAYS.items():
        images = [(read(pair.blur, settings), read(pair.sharp, settings)) for pair in pairs]
        decibels = statistics.fmean(psnr(blur, sharp) for blur, sharp in images)
        likeness = statistics.fmean(ssim(blur, sharp) for blur, sharp in images)
        print(f"  {name:16} {decibels:6.2f} dB  {likeness:.3f}")


if __name__ == "__main__":
    main()
