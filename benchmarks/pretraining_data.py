"""Lay out the data that presets/pretrain.yaml trains on: filmed pairs of several data sets, and sharp photos.

    python -m benchmarks.pretraining_data data/raw/pretrain --gopro GOPRO_Large --reds REDS --frames GOPRO_240fps \
        --photos KODAK --test-scenes REDS_001

REDS comes as `train_blur` and `train_sharp`: arrange it as `train/<scene>/{blur,sharp}` first. Training scenes of GoPro
and REDS train, but for `--test-scenes`, which test beside GoPro's own test scenes. Frames of high-speed video are
averaged as stored values, 7 to 13 at a time, as the GoPro data set does, and train too. The last tenth of each
training scene validates: it shows how training goes, and says nothing of other scenes. Photos, and every fourth frame
of the training scenes, get synthetic blur. Frames and photos are linked or copied.
"""

import argparse
from collections import defaultdict
from pathlib import Path

from tqdm import tqdm

from benchmarks.quality import averaged
from deblurgan.errors import UserError, reported
from deblurgan.files import files_below, link_or_copy, new_directory
from deblurgan.images import write_png
from deblurgan.layout import Pair, find_pairs

EVERY = 4
"""Of so many sharp frames one becomes a photo: neighbours show the same."""
VALIDATING = 0.1
"""Share of a training scene's pairs, its last ones, that validate."""


def split(i: int, count: int) -> str:
    """Which part the pair with a number, of so many of its scene, belongs to."""
    return "val" if i >= count - max(1, round(VALIDATING * count)) else "train"


def main() -> None:
    """Lay out the data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    for name in ("gopro", "reds", "frames", "photos"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--test-scenes", nargs="*", default=[], help="scenes that test instead of training")
    options = parser.parse_args()
    with new_directory(options.out) as out:
        for name, root in (("GOPRO", options.gopro), ("REDS", options.reds)):
            if not (pairs := find_pairs(root)):
                raise UserError(f"{root}: no pairs in folders blur and sharp side by side")
            scenes = defaultdict[Path, list[Pair]](list)
            for pair in pairs:
                scenes[pair.blur.parent.parent].append(pair)
            for folder, members in tqdm(scenes.items(), desc=name, unit="scene"):
                scene = folder.name if folder.name.startswith(name[:4]) else f"{name}_{folder.name}"
                test = folder.parent.name == "test" or scene in options.test_scenes
                for i, pair in enumerate(members):
                    target = out / "pairs" / ("test" if test else split(i, len(members))) / scene
                    link_or_copy(pair.blur.resolve(), target / "blur" / pair.blur.name)
                    link_or_copy(pair.sharp.resolve(), target / "sharp" / pair.sharp.name)
                    if not test and split(i, len(members)) == "train" and i % EVERY == 0:
                        photo = out / "photos" / "sharp" / f"{scene}_{pair.sharp.name}"
                        link_or_copy(pair.sharp.resolve(), photo)
        made = averaged(options.frames)
        for i, images in enumerate(made):
            folder, name = out / "pairs" / split(i, len(made)) / "high_speed", f"{i:04d}.png"
            assert images.blur is not None  # averaged frames are pairs
            write_png(folder / "blur" / name, images.blur.pixels())
            write_png(folder / "sharp" / name, images.sharp.pixels())
        if not (photos := list(files_below(options.photos))):
            raise UserError(f"{options.photos}: no photos")
        for path in photos:
            link_or_copy(path.resolve(), out / "photos" / "sharp" / path.name)


if __name__ == "__main__":
    with reported("pretraining_data"):
        main()
