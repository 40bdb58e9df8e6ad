"""Make pairs in data/synthetic: sharp photos with random motion blur, and averaged frames of high-speed video.

DVC leaves the pairs of an earlier run there (`persist`): pairs that would become the same are taken over.
"""

import csv
from dataclasses import asdict, fields
from pathlib import Path

from deblurgan import params
from deblurgan.blur.contact_sheet import kernel_sheet
from deblurgan.blur.synthesis import (
    Earlier,
    FramesJob,
    Made,
    PhotoJob,
    blur_of,
    count_pairs,
    frames_jobs,
    make_pairs,
    photo_jobs,
)
from deblurgan.errors import reported
from deblurgan.files import new_directory, require
from deblurgan.images import write_png
from deblurgan.parallel import each

CLEAN = Path("data/clean")
OUT = Path("data/synthetic")
KERNELS = Path("metrics/synthesize/kernels.png")
SHOWN = 64


def draw_kernels(photos: list[PhotoJob]) -> None:
    """Draw the first blur kernels of each photo, as many as a sheet holds."""
    pairs = sorted((i, job.photo.stem, job) for job in photos for i in job.numbers)[:SHOWN]
    blurs = (blur_of(photo, i, job.settings, job.seed)[0] for i, photo, job in pairs)
    write_png(KERNELS, kernel_sheet([blur.kernel for blur in blurs]))


def main() -> None:
    """Run the stage."""
    p = params.load()
    require(CLEAN)
    with new_directory(OUT) as out:
        earlier = Earlier(OUT, p.synthesize, p.seed)
        photos = photo_jobs(CLEAN, out, p.synthesize, p.split, p.seed, earlier)
        videos, left_out = frames_jobs(CLEAN, out, p.synthesize, p.split, earlier)
        jobs: list[PhotoJob | FramesJob] = [*photos, *videos]
        made = kept = 0
        for line in left_out:
            print(f"synthesize: {line}")
        with open(out / "pairs.csv", "w", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, [field.name for field in fields(Made)], lineterminator="\n")
            table.writeheader()
            for done in each(make_pairs, jobs, label="synthesize", unit="pair", size=count_pairs):
                table.writerows(asdict(row) for row in done.rows)
                earlier.note(done.scene, done.known)
                made, kept = made + len(done.rows) - done.kept, kept + done.kept
    earlier.write()
    print(f"synthesize: {made} pairs made, {kept} kept as an earlier run made them")
    draw_kernels(photos)


if __name__ == "__main__":
    with reported("synthesize"):
        main()
