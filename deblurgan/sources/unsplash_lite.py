"""The Unsplash Dataset Lite: 25,000 photos that may train models internally (https://unsplash.com/data).

`photos.tsv000`, or `photos.csv000` in later versions, lists them, and further parts if there are any; the photos
themselves come from Unsplash's image servers, without key and limit.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from deblurgan.errors import UserError
from deblurgan.files import home_expanded
from deblurgan.sources.unsplash_api import REFERRAL, UnsplashPhoto

TABLES = "photos.[ct]sv*"
LICENCE = "Unsplash Dataset Lite: internal use, also for training models; not for redistribution"


def search_table(path: Path | str, query: str, count: int) -> Iterator[UnsplashPhoto]:
    """Find photos whose description holds every word of a query, in the order of the list.

    Parameters
    ----------
    path
        A table, or the folder that all parts of it lie in.
    query
        Words; case does not matter.
    count
        How many at most.

    Yields
    ------
    UnsplashPhoto
        Each one once.

    Raises
    ------
    UserError
        The table is not there, or is not a table of the Lite data set.
    """
    path = home_expanded(path)
    tables = sorted(path.glob(TABLES)) if path.is_dir() else [path]
    if not tables:
        raise UserError(
            f"fetch_unsplash.lite: {path} holds no {TABLES}; get the Lite data set from https://unsplash.com/data"
        )
    words = set(query.lower().split())
    seen: set[str] = set()
    for photo in (photo for table in tables for photo in _described(table, words)):
        if photo.id not in seen:
            seen.add(photo.id)
            yield photo
        if len(seen) == count:
            return


def _described(table: Path, words: set[str]) -> Iterator[UnsplashPhoto]:
    """Photos of one part of the table whose description holds all words."""
    try:
        with open(table, newline="", encoding="utf-8-sig") as stream:
            delimiter = "\t" if "\t" in stream.readline() else ","  # tabs, in photos.csv000 too
            stream.seek(0)
            for row in csv.DictReader(stream, delimiter=delimiter):
                described = f"{row['photo_description']} {row['ai_description']}".lower()
                if words <= set("".join(c if c.isalnum() else " " for c in described).split()):
                    yield _photo(row)
    except FileNotFoundError:
        raise UserError(
            f"fetch_unsplash.lite: {table} is not there; get the Lite data set from https://unsplash.com/data"
        ) from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"{table} is no table of photos of the Unsplash data set ({type(error).__name__}: {error})"
        ) from None


def _photo(row: dict[str, str]) -> UnsplashPhoto:
    name = f"{row['photographer_first_name'] or ''} {row['photographer_last_name'] or ''}".strip()
    return UnsplashPhoto(
        id=row["photo_id"],
        photographer=name or row["photographer_username"],
        profile=f"https://unsplash.com/@{row['photographer_username']}{REFERRAL}",
        link=row["photo_url"] + REFERRAL,
        image=row["photo_image_url"],
        licence=LICENCE,
    )
