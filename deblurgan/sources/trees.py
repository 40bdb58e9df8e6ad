"""Files in a folder or in a zip archive, seen alike."""

import contextlib
import errno
import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from deblurgan.errors import UserError
from deblurgan.files import link_or_copy
from deblurgan.pairs import files_below

CHUNK = 1 << 20


class Tree(Protocol):
    """Named files that can be put elsewhere."""

    def names(self) -> list[str]:
        """Their paths with forward slashes, in the order in which they are read fastest."""

    def put(self, name: str, target: Path) -> None:
        """Bring one to a place of its own."""


class Folder:
    """Files below a directory; putting them elsewhere links them where the file system can."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        """See `Tree`."""
        return [path.relative_to(self._root).as_posix() for path in files_below(self._root)]

    def put(self, name: str, target: Path) -> None:
        """See `Tree`."""
        link_or_copy(self._root / name, target)


class Zip:
    """Members of a zip archive; putting them elsewhere streams them, and compares their checksums."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        self._names = [member.filename for member in members if not member.is_dir()]
        self._members = {member.filename: member for member in reversed(members)}

    def names(self) -> list[str]:
        """See `Tree`."""
        return self._names

    def put(self, name: str, target: Path) -> None:
        """See `Tree`.

        Raises
        ------
        UserError
            The member is damaged or encrypted.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._archive.open(self._members[name]) as source, open(target, "wb") as out:
                shutil.copyfileobj(source, out, CHUNK)
        except OSError as error:
            if error.errno not in (None, errno.EINVAL):  # a fault of the disk, not of the archive
                raise
            raise UserError(f"{self._archive.filename}: {name} is damaged ({error})") from None
        except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, RuntimeError, ValueError) as error:
            fault = "encrypted" if "encrypted" in str(error) else f"damaged ({type(error).__name__})"
            raise UserError(f"{self._archive.filename}: {name} is {fault}") from None


@contextlib.contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """Open a folder or a zip archive.

    Raises
    ------
    UserError
        It is neither, or it is not there.
    """
    if path.is_dir():
        yield Folder(path)
    elif path.is_file():
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
            raise UserError(f"{path} is no zip archive, or its end is missing") from None
        with archive:
            yield Zip(archive)
    else:
        raise UserError(f"ingest_gopro.source: {path} is not there")
