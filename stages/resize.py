"""Resize pairs and unpaired photos, and arrange them by split: data/resized."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from deblurgan import params
from deblurgan.errors import UserError, reported
from deblurgan.files import new_directory
from deblurgan.images import write_png
from deblurgan.pairs import files_below, find_pairs, split_of_scene
from deblurgan.resizing import new_size, resize_image

CLEAN = Path("data/clean")
SYNTHETIC = Path("data/synthetic")
OUT = Path("data/resized")
SMALLEST = 16
"""Pixels; SSIM needs 11, the generator mirrors up to 16."""


def plan(split: params.Split) -> Iterator[tuple[Path, Path]]:
    """Pair every image with its place in data/resized."""
    gopro = CLEAN / "gopro"
    scenes = sorted(path.name for path in gopro.glob("train/*"))
    if unknown := sorted(set(split.val_scenes) - set(scenes)):
        raise UserError(
            f"split.val_scenes names {', '.join(unknown)}, but {gopro}/train has {', '.join(scenes) or 'none'}"
        )
    for pair in find_pairs(gopro):
        official, scene = pair.blur.relative_to(gopro).parts[:2]
        for path in (pair.blur, pair.sharp):
            yield path, Path(split_of_scene(official, scene, split), "gopro", scene, path.parent.name, path.name)
    for pair in find_pairs(SYNTHETIC):
        part, photo = pair.blur.relative_to(SYNTHETIC).parts[:2]
        for path in (pair.blur, pair.sharp):
            yield path, Path(part, "unsplash", photo, path.parent.name, path.name)
    for path in files_below(CLEAN / "unsplash" / "blurred"):
        yield path, Path("unpaired", path.name)


def main() -> None:
    """Run the stage."""
    p = params.load()
    with new_directory(OUT) as out:
        for source, name in tqdm(list(plan(p.split)), desc="resize", unit="image"):
            target = out / name
            with Image.open(source) as image:
                size = new_size(*image.size, p.resize)
                if min(size) < SMALLEST:
                    tqdm.write(f"left out {source}: {size[0]}x{size[1]} after resizing, less than {SMALLEST} pixels")
                elif size == image.size:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, target)
                else:
                    write_png(target, np.asarray(resize_image(image, p.resize)))


if __name__ == "__main__":
    with reported("resize"):
        main()
