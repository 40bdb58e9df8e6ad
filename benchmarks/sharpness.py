"""How often `deblur` is wrong about which photos look blurred.

    python -m benchmarks.sharpness data/raw/GOPRO_Large data/raw/KODAK

A folder with pairs (`blur/` and `sharp/` with images of equal names) is taken as it is; the images of any other are
taken for sharp, and blurred as `synthesize` does, once for each exposure of params.yaml.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deblurgan.blur.convolution import add_noise, blur_image
from deblurgan.blur.trajectory import random_path
from deblurgan.cleaning.sharpness import looks_sharp
from deblurgan.files import files_below
from deblurgan.images import read_rgb, to_float
from deblurgan.layout import find_pairs
from deblurgan.params import load
from deblurgan.seeds import seed_for


def labelled(folder: Path, noise: float) -> Iterator[tuple[str, np.ndarray]]:
    """Images of a folder, each with what it is."""
    settings, pairs = load().synthesize, find_pairs(folder)
    for pair in pairs:
        yield "sharp", read_rgb(pair.sharp)
        yield "blurred", read_rgb(pair.blur)
    for path in [] if pairs else files_below(folder):
        sharp = read_rgb(path)
        rng = np.random.default_rng(seed_for(1, path.stem))
        yield "sharp", add_noise(sharp, rng, noise)
        for exposure in settings.exposure:
            blur = random_path(rng, length=settings.length, shake=settings.shake, exposure=(exposure,))
            kind = f"blurred, {exposure:g} of {settings.length[0]:g} to {settings.length[1]:g} pixels"
            yield kind, add_noise(blur_image(sharp, blur.kernel), rng, noise)


def main() -> None:
    """Print a line for each folder and kind of image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument(
        "--noise", type=float, default=1, help="of photos that are blurred here, grey levels (default: 1)"
    )
    options = parser.parse_args()
    print(f"{'images':48} {'count':>6} {'wrong':>6}")
    for folder in options.folders:
        said: dict[str, list[bool]] = defaultdict(list)
        for kind, image in tqdm(labelled(folder, options.noise), desc=folder.name, leave=False):
            said[kind].append(looks_sharp(to_float(image)) != (kind == "sharp"))
        for kind, wrong in said.items():
            print(f"{f'{folder.name}, {kind}':48} {len(wrong):6} {np.mean(wrong):6.1%}")


if __name__ == "__main__":
    main()
