"""Bring sharp and blurred photos to data/source/unsplash, with their authors in photos.csv."""

import csv
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from deblurgan import params
from deblurgan.blur.trajectory import random_blur
from deblurgan.errors import reported
from deblurgan.files import new_directory
from deblurgan.images import read_rgb
from deblurgan.pairs import seed_for
from deblurgan.sources import bundled, unsplash

OUT = Path("data/source/unsplash")
COLUMNS = ("id", "kind", "photographer", "link", "licence", "query")
STRONG = {"length": (60.0, 60.0), "shake": (0.003,), "exposure": (0.5,), "noise": 1.0}


def copy_bundled(out: Path, seed: int) -> Iterator[tuple[str, ...]]:
    """Write scikit-image's photos; yield their rows of photos.csv."""
    for photo in tqdm(bundled.SHARP + bundled.BLURRED, desc="fetch_unsplash", unit="photo"):
        kind = "blurred" if photo in bundled.BLURRED else "sharp"
        target = out / kind / f"{photo.id}.jpg"
        if kind == "blurred":
            rng = np.random.default_rng(seed_for(seed, "unpartnered", photo.id))
            blurred = random_blur(read_rgb(photo.path), rng, **STRONG)
            Image.fromarray(blurred).save(target, quality=95, subsampling=0)
        elif photo.path.suffix == ".jpg":
            shutil.copyfile(photo.path, target)
        else:
            Image.fromarray(read_rgb(photo.path)).save(target, quality=95, subsampling=0)
        yield photo.id, kind, photo.author, photo.link, photo.licence, "bundled"


def download(out: Path, settings: params.FetchUnsplash) -> Iterator[tuple[str, ...]]:
    """Write what the API finds; yield the rows of photos.csv."""
    client = unsplash.Client.from_environment()
    seen: set[str] = set()
    wanted = [("sharp", q) for q in settings.sharp_queries] + [("blurred", q) for q in settings.blurred_queries]
    for kind, query in wanted:
        found = [photo for photo in client.search(query, settings.photos_per_query) if photo.id not in seen]
        for photo in tqdm(found, desc=query, unit="photo"):
            (out / kind / f"{photo.id}.jpg").write_bytes(client.download(photo, settings.width))
            seen.add(photo.id)
            yield photo.id, kind, photo.photographer, photo.link, unsplash.LICENCE, query


def main() -> None:
    """Run the stage."""
    p = params.load()
    with new_directory(OUT) as out:
        (out / "sharp").mkdir()
        (out / "blurred").mkdir()
        rows: Iterable[tuple[str, ...]] = ()
        if p.fetch_unsplash.source == "bundled":
            rows = copy_bundled(out, p.seed)
        elif p.fetch_unsplash.source == "api":
            rows = download(out, p.fetch_unsplash)
        with open(out / "photos.csv", "w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(COLUMNS)
            table.writerows(rows)


if __name__ == "__main__":
    with reported("fetch_unsplash"):
        main()
