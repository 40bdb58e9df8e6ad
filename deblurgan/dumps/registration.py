"""What has arrived in a bucket becomes data of the pipeline: `python -m deblurgan dumps pull`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from deblurgan.dumps.mirror import Archived, Changed, bring, safe
from deblurgan.dumps.tables import Registered, below, read_table, write_table
from deblurgan.errors import UserError
from deblurgan.s3 import Address, client, listed
from deblurgan.sources.layouts import IMAGES
from deblurgan.sources.own_photos import KINDS

ARCHIVE = ".zip"


@dataclass
class Found:
    """What there is below an address: objects that can be data, and names of the others."""

    objects: list[Registered] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


@dataclass
class Counts:
    """What a registration has changed: how many objects of each kind, and those that could not be registered."""

    new: int = 0
    changed: int = 0
    as_before: int = 0
    gone: int = 0
    forgotten: bool = False
    left_out: list[str] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)


def is_photo(name: str) -> bool:
    """Whether a name below the address names an image in `sharp/` or `blurred/`."""
    path = PurePosixPath(name)
    return is_image(name) and len(path.parts) > 1 and path.parts[0] in KINDS


def is_image(name: str) -> bool:
    """Whether a name names an image."""
    path = PurePosixPath(name)
    return safe(name) and path.suffix.lower() in IMAGES and not any(part.startswith(".") for part in path.parts)


def find(address: Address, usable: Callable[[str], bool]) -> Found:
    """List what is below an address; an address that ends with .zip is that one object.

    Raises
    ------
    UserError
        The bucket cannot be listed.
    """
    archive = address.key.lower().endswith(ARCHIVE)
    prefix = address.key if archive or not address.key else f"{address.key}/"
    found, names = Found(), set[str]()
    for one in tqdm(listed(client(), address, prefix), desc=f"listing {address}", unit="object"):
        name = one["Key"].removeprefix(prefix)
        if one["Key"].endswith("/") or (archive and name):  # folders of consoles
            continue
        above = {str(folder) for folder in PurePosixPath(name).parents}
        if archive or (usable(name) and not above & names):  # S3 has objects below objects, disks do not
            names.add(name)
            whole = str(Address(address.bucket, one["Key"]))
            found.objects.append(Registered(whole, one["ETag"], "", one["Size"], ""))
        else:
            found.others.append(name)
    return found


def register(address: Address, table: Path, usable: Callable[[str], bool], *, forget: bool = False) -> Counts:
    """Bring what is new below an address, and write down which objects are data of the pipeline from now on.

    Parameters
    ----------
    address
        Bucket and prefix, or a zip.
    table
        Table of registered objects; objects of other addresses stay.
    usable
        Whether an object of this name below the address can be data.
    forget
        Whether objects that are no longer in the bucket leave the table.

    Raises
    ------
    UserError
        There is no usable object, or one cannot be brought and is not archived: what has arrived is kept on this
        machine, and the table is as it was.
    """
    before = read_table(table)
    known = below(before, address)
    found = find(address, usable)
    if not found.objects and not (known and forget):
        what = f"none of its {len(found.others)} objects" if found.others else "no object"
        raise UserError(f"{address}: {what} can be data: {_wanted(address, usable)}")
    counts = Counts(left_out=found.others)
    there = {one.object: one for one in found.objects}
    ours = {one.object for one in known.values()}
    now = {name: one for name, one in before.items() if name not in ours or name in there or not forget}
    counts.gone, counts.forgotten = sum(one.object not in there for one in known.values()), forget
    todo = []
    for name, one in there.items():
        if name in before and (before[name].etag, before[name].size) == (one.etag, one.size):
            counts.as_before += 1
        else:
            todo.append(one)
    for one, brought in bring(todo):
        if isinstance(brought, Changed):
            tqdm.write(f"{one.object} has changed or gone meanwhile: the next pull looks at it again")
            continue
        if isinstance(brought, Archived):
            counts.archived.append(str(brought))
            continue
        if isinstance(brought, UserError):
            raise brought
        counts.new += one.object not in before
        counts.changed += one.object in before
        now[one.object] = brought
    write_table(table, now.values())
    return counts


def _wanted(address: Address, usable: Callable[[str], bool]) -> str:
    if usable is is_photo:
        return f"put sharp photos below {address / 'sharp'}, blurred ones without a partner below {address / 'blurred'}"
    return "put pairs there as docs/data.md says"


def in_words(address: Address, table: Path, counts: Counts, shown: int = 100) -> Iterator[str]:
    """What a registration has found, in lines."""
    yield from _few([f"left out {address / name}" for name in counts.left_out], shown)
    yield from _few([f"left out {reason}" for reason in counts.archived], shown)
    yield f"{address}: {counts.new} new, {counts.changed} changed, {counts.as_before} as before: {table}"
    if counts.gone:
        then = "they were taken out of the table" if counts.forgotten else "--forget takes them out of the table"
        yield f"{counts.gone} registered before are no longer in the bucket; {then}"


def _few(lines: list[str], shown: int) -> Iterable[str]:
    return lines[:shown] + ([f"and {len(lines) - shown} more like these"] if len(lines) > shown else [])
