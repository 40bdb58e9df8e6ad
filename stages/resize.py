"""Resize pairs and unpaired photos, and arrange them by split: data/resized."""

import os
from collections import Counter
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from deblurgan import leaks, params
from deblurgan.cleaning import shared
from deblurgan.errors import UserError, reported
from deblurgan.files import new_directory, require, write_json
from deblurgan.pairs import files_below, find_pairs, place_of, with_validation
from deblurgan.resizing import SMALLEST, Job, resize_files
from deblurgan.scale import each

CLEAN = Path("data/clean")
SYNTHETIC = Path("data/synthetic")
OUT = Path("data/resized")
METRICS = Path("metrics/resize.json")
PARTS = ("train", "val", "test", "unpaired")
BATCH = 8
"""Images in a job; equal ones among them are resized once."""


def plan(split: params.Split) -> Iterator[tuple[Path, Path]]:
    """Pair every image with its place in data/resized."""
    pairs = find_pairs(CLEAN / "pairs")
    places = [place for pair in pairs if (place := place_of(PurePosixPath(pair.blur.relative_to(CLEAN))))]
    given, split = split, with_validation(split, places)
    if split != given:
        chosen = ", ".join(split.val_scenes[len(given.val_scenes) :])
        print(f"resize: no scenes to validate with are named, so split.val_fraction takes {chosen} from training")
    scenes = sorted({place.scene for place in places if place.part == "train"})
    if unknown := sorted(set(split.val_scenes) - set(scenes)):
        raise UserError(
            f"split.val_scenes names {', '.join(unknown)}, but {CLEAN}/pairs/*/train has {', '.join(scenes) or 'none'}"
        )
    for pair, place in zip(pairs, places, strict=True):
        for path in (pair.blur, pair.sharp):
            yield path, Path(place.split(split), place.dataset, place.scene, path.parent.name, path.name)
    for pair in find_pairs(SYNTHETIC):
        for path in (pair.blur, pair.sharp):
            yield path, path.relative_to(SYNTHETIC)
    for path in files_below(CLEAN / "unsplash" / "blurred"):
        yield path, Path("unpaired", path.name)


def jobs(out: Path, p: params.Params) -> Iterator[Job]:
    """Batch the images of each folder; unpaired photos are never cut into tiles."""
    images = sorted(plan(p.split), key=lambda image: image[1])
    for (one, target), (other, next_target) in pairwise(images):
        if target == next_target:
            raise UserError(f"{one} and {other} would both become {OUT / target}: rename one of their scenes")
    for folder, group in groupby(images, key=lambda image: image[1].parent):
        settings = p.resize
        if folder == Path("unpaired") and settings.mode == "tile":
            settings = settings.model_copy(update={"mode": "none"})
        rows = [(source.resolve(), out.resolve() / name) for source, name in group]
        yield from (Job(tuple(rows[i : i + BATCH]), settings) for i in range(0, len(rows), BATCH))


def main() -> None:
    """Run the stage."""
    p = params.load()
    require(CLEAN, SYNTHETIC)
    with new_directory(OUT) as out:
        for part in PARTS:  # empty ones, too: stages depend on them one by one
            (out / part).mkdir()
        todo = list(jobs(out, p))
        counts = Counter(target.relative_to(out.resolve()).parts[0] for job in todo for _, target in job.images)
        sharp: list[shared.Sharp] = []
        for done in each(resize_files, todo, label="resize", unit="image", size=lambda job: len(job.images)):
            sharp += done.sharp
            for path in done.left_out:
                tqdm.write(f"left out {os.path.relpath(path)}: its shorter side becomes less than {SMALLEST} pixels")
        shared.refuse_shared(sharp)
        found = shared.leaks(sharp, p.clean.near_duplicate)
        leaks.write_leaks(out / "test", found)
    needed = {"train": "train", "val": "train", "test": "evaluate"}
    for split in sorted(set(needed) - {leaks.split_of(image.place) for image in sharp}):
        print(
            f"resize: warning: no pair in {split}, without which {needed[split]} stops: see split in params.yaml; "
            "files whose names differ only in a number at their end are frames of one scene"
        )
    for line in leaks.in_words(found):
        print(f"resize: {line}")
    write_json(METRICS, {"images": dict(sorted(counts.items())), "near_duplicates_across_splits": len(found)})


if __name__ == "__main__":
    with reported("resize"):
        main()
