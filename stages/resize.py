"""Resize pairs and unpaired photos, and arrange them by split: data/resized."""

import os
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from deblurgan import params
from deblurgan.arrangement import jobs, plan, without_pairs
from deblurgan.cleaning import across_splits, leaks
from deblurgan.errors import reported
from deblurgan.files import new_directory, require, write_json
from deblurgan.parallel import each
from deblurgan.resize_jobs import resize_files
from deblurgan.resizing import TOO_THIN

CLEAN = Path("data/clean")
SYNTHETIC = Path("data/synthetic")
OUT = Path("data/resized")
METRICS = Path("metrics/resize.json")
PARTS = ("train", "val", "test", "unpaired")


def main() -> None:
    """Run the stage."""
    p = params.load()
    require(CLEAN, SYNTHETIC)
    with new_directory(OUT) as out:
        for part in PARTS:  # empty ones, too: stages depend on them one by one
            (out / part).mkdir()
        todo = list(jobs(list(plan(CLEAN, SYNTHETIC, p.split)), out, p.resize))
        counts = Counter(target.relative_to(out.resolve()).parts[0] for job in todo for _, target in job.images)
        sharp: list[across_splits.Sharp] = []
        for done in each(resize_files, todo, label="resize", unit="image", size=lambda job: len(job.images)):
            sharp += done.sharp
            for path in done.left_out:
                tqdm.write(f"left out {os.path.relpath(path)}: {TOO_THIN}")
        across_splits.refuse_shared(sharp)
        found = across_splits.leaks(sharp, p.clean.near_duplicate)
        leaks.write_leaks(out / "test", found)
    for line in without_pairs(image.place for image in sharp):
        print(f"resize: warning: {line}")
    for line in leaks.in_words(found):
        print(f"resize: {line}")
    write_json(METRICS, {"images": dict(sorted(counts.items())), "near_duplicates_across_splits": len(found)})


if __name__ == "__main__":
    with reported("resize"):
        main()
