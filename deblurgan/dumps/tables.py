"""Which objects of buckets are data of the pipeline: tables under git, on which the stages depend."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

from deblurgan.errors import UserError
from deblurgan.files import as_rows, write_csv
from deblurgan.s3 import Address

PHOTOS, PAIRS = Path("dumps/photos.csv"), Path("dumps/pairs.csv")
"""What `fetch_unsplash` and `ingest_gopro` read where their source is a bucket."""
UNPRINTABLE = re.compile(r"[%\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Registered:
    """An object as it was when it was registered.

    `object` is its whole address, `version` is empty where the bucket keeps no versions, `size` is in bytes.
    """

    object: str
    etag: str
    version: str
    size: int
    sha256: str


def read_table(path: Path) -> dict[str, Registered]:
    """Registered objects by address.

    Raises
    ------
    UserError
        The table is missing or damaged.
    """
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, strict=True))
        kept = [
            Registered(**{**row, "object": unquote(row["object"]), "size": int(row["size"])})  # type: ignore[arg-type]
            for row in rows
        ]
    except FileNotFoundError:
        raise UserError(f"{path} is missing: `git checkout {path}` brings it back") from None
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): `git checkout {path}` brings it back") from None
    return {one.object: one for one in kept}


def write_table(path: Path, registered: Iterable[Registered]) -> None:
    """Write the table by address, whole or not at all."""
    ordered = sorted(registered, key=lambda one: one.object)
    write_csv(path, as_rows(Registered, (replace(one, object=_in_a_line(one.object)) for one in ordered)))


def _in_a_line(name: str) -> str:
    """A name without control characters, which end a line of the table; `unquote` undoes it."""
    return UNPRINTABLE.sub(lambda found: quote(found[0]), name)


def below(registered: dict[str, Registered], address: Address) -> dict[str, Registered]:
    """The objects of an address, by their names below it; an archive is the object of that address itself."""
    if own := registered.get(str(address)):
        return {address.key.rpartition("/")[2]: own}
    start = f"{address}/"
    return {name.removeprefix(start): one for name, one in registered.items() if name.startswith(start)}
