"""Leaks, which make the scores of a test split too good: its images that look like images of another split."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deblurgan.files import as_rows, write_csv

TABLE = "near_duplicates.csv"
"""Lies in the folder of the test split where images look like ones of another split, or it is not there."""


@dataclass(frozen=True)
class Leak:
    """A row of the table: an image of the test or the validation split, and one of another split that it looks like."""

    image: str
    like: str


def split_named(place: str) -> str:
    """The split of an image, by its place."""
    return place.partition("/")[0]


def write_leaks(test: Path, found: Sequence[Leak]) -> None:
    """Put the table into the folder of the test split, if there is something to say."""
    if found:
        test.mkdir(exist_ok=True)
        write_csv(test / TABLE, as_rows(Leak, found))


def read_leaks(test: Path) -> list[Leak]:
    """Read the table of the test split's folder."""
    if not (test / TABLE).exists():
        return []
    with open(test / TABLE, newline="", encoding="utf-8") as stream:
        return [Leak(**row) for row in csv.DictReader(stream)]


def in_words(found: Sequence[Leak]) -> list[str]:
    """Say it in a line for each split, none where nothing leaks."""
    lines = []
    for split in ("test", "val"):
        if some := [leak for leak in found if split_named(leak.image) == split]:
            lines.append(
                f"warning: {len(some)} sharp images of the {split} split look like images of another split, so its "
                f"scores are too good: for example {some[0].image} like {some[0].like} (all: "
                f"data/resized/test/{TABLE}). "
                "Put the frames of a clip into one folder, or give them one name with a number at its end"
            )
    return lines
