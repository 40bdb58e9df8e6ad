"""Files in a folder or in a zip archive, seen alike."""

import contextlib
import errno
import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from deblurgan.errors import UserError
from deblurgan.files import link_or_copy, naming
from deblurgan.pairs import files_below

CHUNK = 1 << 20
RATIO = 200
"""Most that a whole archive of images may grow by: PNG and JPEG hardly do, drawn pages as BMP by a hundred, and an
archive of zeros by a thousand. A member never becomes more than its entry says."""


class Tree(Protocol):
    """Named files that can be put elsewhere."""

    def names(self) -> list[str]:
        """Their paths with forward slashes, in the order in which they are read fastest."""

    def room(self, names: Iterable[str], folder: Path) -> int:
        """Bytes that putting these below a folder takes from its disk."""

    def put(self, name: str, target: Path) -> None:
        """Bring one to a place of its own."""


class Folder:
    """Files below a directory; putting them elsewhere links them where the file system can."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        """See `Tree`."""
        return [path.relative_to(self._root).as_posix() for path in files_below(self._root)]

    def room(self, names: Iterable[str], folder: Path) -> int:
        """See `Tree`."""
        files = ((self._root / name).stat() for name in names)
        disk = folder.stat().st_dev
        return sum(file.st_size for file in files if file.st_dev != disk)

    def put(self, name: str, target: Path) -> None:
        """See `Tree`."""
        with naming(target):
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

    def room(self, names: Iterable[str], folder: Path) -> int:
        """See `Tree`.

        Raises
        ------
        UserError
            That is far more than images can be packed by, or cannot be told before.
        """
        path, wanted = Path(str(self._archive.filename)), [self._members[name] for name in names]
        for member in wanted:
            if member.compress_type == zipfile.ZIP_BZIP2:  # a block of it may become gigabytes in memory
                raise UserError(f"{path}: {member.filename} is packed by bzip2: unpack it, and name the folder")
        needed = sum(member.file_size for member in wanted)
        if needed > RATIO * path.stat().st_size:
            raise UserError(
                f"{path}: {path.stat().st_size / 1e6:.1f} MB become {needed / 1e6:,.0f} MB, more than {RATIO} times as "
                "much, as in an archive made to fill disks: if it is right, unpack it, and name the folder"
            )
        return needed

    def put(self, name: str, target: Path) -> None:
        """See `Tree`.

        Raises
        ------
        UserError
            The member is damaged or encrypted.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with naming(target), self._archive.open(self._members[name]) as source, open(target, "wb") as out:
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
