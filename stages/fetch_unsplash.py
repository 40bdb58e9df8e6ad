"""Bring sharp and blurred photos to data/source/unsplash, with their authors in photos.csv."""

import csv
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from deblurgan import params
from deblurgan.blur.convolution import add_noise, blur_image
from deblurgan.blur.trajectory import random_blur
from deblurgan.errors import reported
from deblurgan.files import link_or_copy, new_directory
from deblurgan.images import read_rgb
from deblurgan.pairs import seed_for
from deblurgan.sources import bundled, own
from deblurgan.sources.photos import LeftOut, fetch_photos, reported_downloads, search
from deblurgan.sources.unsplash import Client

OUT = Path("data/source/unsplash")
COLUMNS = ("id", "kind", "photographer", "profile", "link", "licence", "query")
STRONG = {"length": (60.0, 60.0), "shake": (0.003,), "exposure": (0.5,)}
SHOWN = 100


def copy_bundled(out: Path, seed: int) -> Iterator[tuple[str, ...]]:
    """Write scikit-image's photos; yield their rows of photos.csv."""
    for photo in tqdm(bundled.SHARP + bundled.BLURRED, desc="fetch_unsplash", unit="photo"):
        kind = "blurred" if photo in bundled.BLURRED else "sharp"
        target = out / kind / f"{photo.id}.jpg"
        if kind == "blurred":
            rng = np.random.default_rng(seed_for(seed, "unpartnered", photo.id))
            blurred = blur_image(read_rgb(photo.path), random_blur(rng, **STRONG).kernel)
            Image.fromarray(add_noise(blurred, rng, 1)).save(target, quality=95, subsampling=0)
        elif photo.path.suffix == ".jpg":
            shutil.copyfile(photo.path, target)
        else:
            Image.fromarray(read_rgb(photo.path)).save(target, quality=95, subsampling=0)
        yield photo.id, kind, photo.author, "", photo.link, photo.licence, "bundled"


def take_own(out: Path, source: str) -> Iterator[tuple[str, ...]]:
    """Link or copy the photos of a folder; yield their rows of photos.csv."""
    photos, others = own.find_photos(source)
    for name in others[:SHOWN]:
        print(f"left out {name}: no image in sharp/ or blurred/")
    if len(others) > SHOWN:
        print(f"left out {len(others) - SHOWN} more like these")
    for photo in tqdm(photos, desc="fetch_unsplash", unit="photo"):
        link_or_copy(photo.path, out / photo.kind / f"{photo.id}{photo.path.suffix.lower()}")
        yield photo.id, photo.kind, "", "", photo.name, own.LICENCE, "folder"


def download(out: Path, settings: params.FetchUnsplash) -> Iterator[tuple[str, ...]]:
    """Write what Unsplash has, and left_out.csv if it lacks some of it; yield the rows of photos.csv."""
    client = Client.from_environment() if settings.source == "api" else None
    wanted = list(search(settings, client))
    left_out = LeftOut(len(wanted))
    there = list(reported_downloads(wanted, client, left_out)) if client else wanted
    for (kind, query, photo), path in fetch_photos(there, settings.width, left_out):
        link_or_copy(path, out / kind / f"{photo.id}.jpg")
        yield photo.id, kind, photo.photographer, photo.profile, photo.link, photo.licence, query
    if left_out.rows:
        write_table(out / "left_out.csv", LeftOut.COLUMNS, left_out.rows)


def write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Write a CSV file."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)


def main() -> None:
    """Run the stage."""
    p = params.load()
    with new_directory(OUT) as out:
        (out / "sharp").mkdir()
        (out / "blurred").mkdir()
        source = p.fetch_unsplash.source
        rows: Iterable[tuple[str, ...]] = ()
        if source == "bundled":
            rows = copy_bundled(out, p.seed)
        elif source in ("api", "lite"):
            rows = download(out, p.fetch_unsplash)
        elif source != "none":
            rows = take_own(out, source)
        write_table(out / "photos.csv", COLUMNS, rows)


if __name__ == "__main__":
    with reported("fetch_unsplash"):
        main()
