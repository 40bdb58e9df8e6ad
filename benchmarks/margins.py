"""What narrow margins of tiles cost: differences of tiles from the whole, in grey levels, and the work they make.

    python -m benchmarks.margins models/nafnet-gopro-32.keras photo.png

The margin that is needed is less than a deep network's receptive field, whose outer parts hardly matter.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from deblurgan import backend  # isort: skip

from deblurgan.errors import reported
from deblurgan.images import read_rgb, to_float
from deblurgan.networks.model_files import load_generator
from deblurgan.restoration.neural import network, traits_of
from deblurgan.restoration.tiles import RAMP, restore

MARGINS = (32, 64, 96, 112, 128, 192)
"""Pixels."""


def differences(path: Path, photo: Path, core: int) -> list[str]:
    """A table: for each margin, how far tiles whose inner parts have `core` pixels are from the whole."""
    generator, image = load_generator(path), to_float(read_rgb(photo))
    method = network(generator)
    whole = restore(method, image)
    rows = [
        f"Receptive field: {traits_of(generator).reach} pixels to each side; the result differs from its input by "
        f"{127.5 * np.abs(whole - image).mean():.1f} grey levels.",
        "",
        "| margin | tile | mean | 99.9 % | largest | times the work |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for margin in MARGINS:
        narrow = replace(method, reach=margin - RAMP // 2)
        tile = 2 * margin + core
        apart = 127.5 * np.abs(restore(narrow, image, tile) - whole)
        figures = " | ".join(f"{figure:.2f}" for figure in (apart.mean(), np.quantile(apart, 0.999), apart.max()))
        rows.append(f"| {margin} | {tile} | {figures} | {narrow.work(image.shape, tile):.1f} |")
    return rows


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--core", type=int, default=128, help="pixels of a tile that count (default: %(default)s)")
    options = parser.parse_args()
    backend.be_deterministic()
    print("\n".join(differences(options.model, options.photo, options.core)))


if __name__ == "__main__":
    with reported("margins"):
        main()
