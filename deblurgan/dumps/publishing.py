"""Deblurred photos go to a bucket under readable names: `python -m deblurgan dumps push`."""

import hashlib
import mimetypes
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deblurgan.files import files_below, sha256_of
from deblurgan.s3 import Address, client, explained, listed
from deblurgan.threads import at_once

AT_ONCE = 8
SHA256, REVISION = "sha256", "revision"
"""Metadata of each object: hash of its content, and git revision of the working tree that made it."""


@dataclass(frozen=True)
class File:
    """A file and the name that it is to have below the address."""

    path: Path
    name: str


def publish(folder: Path, address: Address) -> dict[str, int]:
    """Upload files that are not there yet, or are others by now; nothing is deleted.

    Parameters
    ----------
    folder
        Its visible files are published, each whole or not at all.
    address
        Bucket and prefix.

    Returns
    -------
    dict
        How many files were `new`, `changed` and `as before`.

    Raises
    ------
    UserError
        The bucket cannot be listed, or refuses a file; what was uploaded stays.
    """
    s3 = client()
    prefix = f"{address.key}/" if address.key else ""
    there = {one["Key"].removeprefix(prefix): one for one in listed(s3, address, prefix)}
    files = [File(path, path.relative_to(folder).as_posix()) for path in files_below(folder)]
    revision = _revision()
    counts = {"new": 0, "changed": 0, "as before": 0}

    def work(file: File) -> str:
        return _publish(s3, file, address / file.name, there.get(file.name), revision)

    for _, future in tqdm(at_once(work, files, AT_ONCE), total=len(files), desc="dumps", unit="photo"):
        counts[future.result()] += 1
    return counts


def _publish(s3: Any, file: File, target: Address, there: dict[str, Any] | None, revision: str) -> str:
    """Upload one file, if need be; what was done."""
    asked = {"Bucket": target.bucket, "Key": target.key}
    with explained(target):
        if there and _is_same(s3, file.path, asked, there):
            return "as before"
        metadata = {SHA256: sha256_of(file.path)} | ({REVISION: revision} if revision else {})
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        with open(file.path, "rb") as body:
            s3.put_object(**asked, Body=body, ContentType=kind, Metadata=metadata)
    return "changed" if there else "new"


def _is_same(s3: Any, path: Path, asked: dict[str, str], there: dict[str, Any]) -> bool:
    """Whether an object has the content of a file; its ETag is the MD5 where its bucket does not encrypt by KMS."""
    if there["Size"] != path.stat().st_size:
        return False
    with open(path, "rb") as stream:
        if there["ETag"].strip('"') == hashlib.file_digest(stream, "md5").hexdigest():
            return True
    return s3.head_object(**asked)["Metadata"].get(SHA256) == sha256_of(path)


def _revision() -> str:
    """The git revision of the working tree, marked where it has changes; empty without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def in_words(address: Address, counts: dict[str, int]) -> Iterator[str]:
    """What a publication has done."""
    yield f"{address}: " + ", ".join(f"{count} {what}" for what, count in counts.items())
