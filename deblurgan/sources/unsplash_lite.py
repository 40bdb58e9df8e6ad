"""The Unsplash Dataset Lite: 25,000 photos that may train models internally (https://unsplash.com/data).

`photos.tsv000` lists them; the photos themselves come from Unsplash's image servers, without key and limit.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from deblurgan.errors import UserError
from deblurgan.files import home_expanded
from deblurgan.sources.unsplash import REFERRAL, Photo

TABLE = "photos.tsv000"
LICENCE = "Unsplash Dataset Lite: internal use, also for training models; not for redistribution"


def find_photos(path: Path | str, query: str, count: int) -> Iterator[Photo]:
    """Find photos whose description holds every word of a query, in the order of the list.

    Parameters
    ----------
    path
        The table, or the folder that it lies in.
    query
        Words; case does not matter.
    count
        How many at most.

    Raises
    ------
    UserError
        The table is not there, or is another one.
    """
    path = home_expanded(path)
    table = path / TABLE if path.is_dir() else path
    words = set(query.lower().split())
    try:
        with open(table, newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                described = f"{row['photo_description']} {row['ai_description']}".lower()
                if words <= set("".join(c if c.isalnum() else " " for c in described).split()):
                    yield _photo(row)
                    count -= 1
                    if not count:
                        return
    except FileNotFoundError:
        raise UserError(
            f"fetch_unsplash.lite: {table} is not there; get the Lite data set from https://unsplash.com/data"
        ) from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{table} is no {TABLE} of the Unsplash data set ({type(error).__name__}: {error})") from None


def _photo(row: dict[str, str]) -> Photo:
    name = f"{row['photographer_first_name'] or ''} {row['photographer_last_name'] or ''}".strip()
    return Photo(
        id=row["photo_id"],
        photographer=name or row["photographer_username"],
        profile=f"https://unsplash.com/@{row['photographer_username']}{REFERRAL}",
        link=row["photo_url"] + REFERRAL,
        image=row["photo_image_url"],
        licence=LICENCE,
    )
