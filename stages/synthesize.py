"""Give sharp photos without a blurred partner random motion blur: data/synthetic."""

import shutil
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deblurgan import params
from deblurgan.blur.trajectory import random_blur
from deblurgan.errors import reported
from deblurgan.files import new_directory
from deblurgan.images import read_rgb, write_png
from deblurgan.pairs import files_below, seed_for, split_of_photo

PHOTOS = Path("data/clean/unsplash/sharp")
OUT = Path("data/synthetic")


def main() -> None:
    """Run the stage."""
    p = params.load()
    s = p.synthesize
    with new_directory(OUT) as out:
        for path in tqdm(files_below(PHOTOS), desc="synthesize", unit="photo"):
            sharp = read_rgb(path)
            scene = out / split_of_photo(path.stem, p.split) / path.stem
            for i in range(s.pairs_per_photo):
                rng = np.random.default_rng(seed_for(p.seed, "synthesize", path.stem, str(i)))
                blur = random_blur(sharp, rng, length=s.length, shake=s.shake, exposure=s.exposure, noise=s.noise)
                write_png(scene / "blur" / f"{i:04d}.png", blur)
                (scene / "sharp").mkdir(exist_ok=True)
                shutil.copyfile(path, scene / "sharp" / f"{i:04d}.png")  # clean images are PNGs already


if __name__ == "__main__":
    with reported("synthesize"):
        main()
