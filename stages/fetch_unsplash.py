"""Bring sharp and blurred photos to data/source/unsplash, with their authors in photos.csv."""

from collections.abc import Iterable
from pathlib import Path

from deblurgan import params
from deblurgan.dumps.mirror import opened
from deblurgan.dumps.tables import PHOTOS
from deblurgan.errors import reported
from deblurgan.files import new_directory, write_csv
from deblurgan.sources.bundled import copy_bundled
from deblurgan.sources.own_photos import take_own
from deblurgan.sources.photo_downloads import download_photos

OUT = Path("data/source/unsplash")
COLUMNS = ("id", "kind", "photographer", "profile", "link", "licence", "query")


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
            rows = download_photos(out, p.fetch_unsplash)
        elif source != "none":
            with opened(source, PHOTOS) as folder:
                rows = list(take_own(out, folder))
        write_csv(out / "photos.csv", [COLUMNS, *rows])


if __name__ == "__main__":
    with reported("fetch_unsplash"):
        main()
