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
from deblurgan.sources import bundled, unsplash_lite
from deblurgan.sources.photos import fetch_photos
from deblurgan.sources.unsplash import Client, Photo

OUT = Path("data/source/unsplash")
COLUMNS = ("id", "kind", "photographer", "profile", "link", "licence", "query")
STRONG = {"length": (60.0, 60.0), "shake": (0.003,), "exposure": (0.5,)}


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


def search(settings: params.FetchUnsplash) -> Iterator[tuple[str, str, Photo]]:
    """Yield kind, query and photo of all that is asked for and is still there, each photo once."""
    client = Client.from_environment() if settings.source == "api" else None
    seen: set[str] = set()
    wanted = [("sharp", q) for q in settings.sharp_queries] + [("blurred", q) for q in settings.blurred_queries]
    for kind, query in wanted:
        found = (
            client.search(query, settings.photos_per_query)
            if client
            else unsplash_lite.find_photos(settings.lite or "", query, settings.photos_per_query)
        )
        new = list({photo.id: photo for photo in found if photo.id not in seen}.values())
        for photo in tqdm(new, desc=query, unit="photo"):
            seen.add(photo.id)
            if client is None or client.report_download(photo):
                yield kind, query, photo
            else:
                tqdm.write(f"left out {photo.id}: Unsplash does not have it any more ({photo.link})")
        if not new:
            tqdm.write(f"nothing new found for {query!r}")


def download(out: Path, settings: params.FetchUnsplash) -> Iterator[tuple[str, ...]]:
    """Write what Unsplash has; yield the rows of photos.csv."""
    wanted = list(search(settings))
    photos = fetch_photos((photo for _, _, photo in wanted), settings.width)
    for (kind, query, photo), (_, path) in zip(wanted, tqdm(photos, "photos", len(wanted), unit="photo"), strict=True):
        if path is None:
            tqdm.write(f"left out {photo.id}: its image is gone or broken ({photo.link})")
            continue
        link_or_copy(path, out / kind / f"{photo.id}.jpg")
        yield photo.id, kind, photo.photographer, photo.profile, photo.link, photo.licence, query


def main() -> None:
    """Run the stage."""
    p = params.load()
    with new_directory(OUT) as out:
        (out / "sharp").mkdir()
        (out / "blurred").mkdir()
        rows: Iterable[tuple[str, ...]] = ()
        if p.fetch_unsplash.source == "bundled":
            rows = copy_bundled(out, p.seed)
        elif p.fetch_unsplash.source != "none":
            rows = download(out, p.fetch_unsplash)
        with open(out / "photos.csv", "w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(COLUMNS)
            table.writerows(rows)


if __name__ == "__main__":
    with reported("fetch_unsplash"):
        main()
