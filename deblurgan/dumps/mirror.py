"""Objects of buckets on this machine: brought once, whole, and shown to a stage as a folder."""

import contextlib
import hashlib
import http.client
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from deblurgan.dumps.tables import Registered, below, read_table
from deblurgan.errors import UserError
from deblurgan.files import CACHE, cache_directory, link_or_copy, locked, naming, sha256_of
from deblurgan.s3 import SCHEME, TRIES, client, explained, in_words, parse
from deblurgan.threads import at_once

AT_ONCE = 8
CHUNK = 1 << 20
LEFT_FOR = 86400
"""Seconds after which a folder that a killed stage left is removed."""
GONE, DENIED = (404, 405, 412, 416), 403
"""Answers of S3. 405: a delete marker; 403: versions need s3:GetObjectVersion, which who may read objects can lack."""
FOLDER = "folder-"
"""Beginning of the names of folders that are shown to stages."""


class Changed(UserError):
    """The object is gone, or is another one by now."""


class Archived(UserError):
    """The object cannot be read before somebody restores it from an archive of S3."""


def place() -> Path:
    """The folder of all objects on this machine."""
    path = cache_directory() / "dumps"
    path.mkdir(exist_ok=True)
    return path


def path_of(one: Registered) -> Path:
    """Where this version of an object is, or will be."""
    name = hashlib.sha256(f"{one.object}\n{one.etag}\n{one.size}".encode()).hexdigest()
    return place() / name[:2] / name


def bring(objects: Sequence[Registered]) -> Iterator[tuple[Registered, Registered | UserError]]:
    """Bring the objects that this machine lacks, and compare them with what is known of them.

    A download that broke off goes on where it was, also in another run.

    Parameters
    ----------
    objects
        Those without a SHA-256 are new: it is taken from what arrives.

    Yields
    ------
    asked, found
        In the same order; `found` has the SHA-256 and the version, or is the error of this one object.

    Raises
    ------
    UserError
        The disk is too small.
    """
    missing = sum(one.size for one in objects if not path_of(one).exists())
    if missing > (free := shutil.disk_usage(place()).free):
        raise UserError(
            f"{missing / 1e9:.1f} GB are to be brought, and {place()} has {free / 1e9:.1f} GB left: free some, or set "
            f"{CACHE} to a larger disk"
        )
    s3 = client()
    with _alone(), tqdm(total=missing, desc="dumps", unit="B", unit_scale=True, disable=not missing) as bar:

        def work(one: Registered) -> Registered:
            return _brought(s3, one, bar.update)

        for one, future in at_once(work, objects, AT_ONCE):
            try:
                yield one, future.result()
            except UserError as error:
                yield one, error


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes from bringing objects meanwhile."""
    lock = place() / "lock"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, wait=False))
        except BlockingIOError:
            tqdm.write("another process brings objects: waiting for it")
            stack.enter_context(locked(lock))
        yield


def _brought(s3: Any, one: Registered, arrived: Callable[[int], Any]) -> Registered:
    """One object, brought if it is not there, or not what it should be."""
    path, version, known = path_of(one), one.version, bool(one.sha256)
    with explained(one.object):
        if not _is_right(path, one):
            part = path.with_name(f"{path.name}.part")
            part.parent.mkdir(exist_ok=True)
            version, known = _download(s3, one, part, arrived), True
            if one.sha256 and (found := sha256_of(part)) != one.sha256:
                part.unlink()
                raise UserError(f"{one.object} has the SHA-256 {found}, and {one.sha256} is registered: thrown away")
            os.replace(part, path)
        if not known:  # brought by a run that was killed before it could register
            with _expecting(one):
                version = _version(s3.head_object(**_asked(one)))
    return replace(one, sha256=sha256_of(path), version=version)


def _is_right(path: Path, one: Registered) -> bool:
    """Whether a whole object is there; a damaged one is deleted."""
    if not path.exists():
        return False
    if path.stat().st_size == one.size and (not one.sha256 or sha256_of(path) == one.sha256):
        return True
    tqdm.write(f"{path} is damaged: deleted, and {one.object} is brought anew")
    path.unlink()
    return False


def _download(s3: Any, one: Registered, part: Path, arrived: Callable[[int], Any]) -> str:
    """Fetch what is missing of an object, however often the connection breaks off; its version."""
    from botocore.exceptions import FlexibleChecksumError, HTTPClientError, IncompleteReadError
    from urllib3.exceptions import HTTPError

    failures, version = 0, one.version
    part.touch()
    arrived(part.stat().st_size)
    while (have := part.stat().st_size) != one.size:
        if have > one.size:
            raise UserError(f"{part} is larger than {one.object}: delete it, run again")
        try:
            with _expecting(one):
                answer = s3.get_object(**_asked(one), **({"Range": f"bytes={have}-"} if have else {}))
        except Changed:
            if not one.version:
                raise
            one = replace(one, version="")  # the current one may be the same: put anew, or never replaced
            continue
        version = _version(answer)
        if answer["ETag"] != one.etag or answer["ContentLength"] != one.size - have:
            raise _changed(one)
        try:
            with naming(part), open(part, "ab") as out, contextlib.closing(answer["Body"]) as body:
                while piece := body.read(CHUNK):
                    out.write(piece)
                    arrived(len(piece))
            continue
        except FlexibleChecksumError:
            arrived(-part.stat().st_size)
            part.write_bytes(b"")
            fault = "arrives damaged"
        except (HTTPClientError, IncompleteReadError, HTTPError, http.client.HTTPException, ConnectionError) as error:
            fault = f"broke off ({type(error).__name__})"
        failures = 0 if part.stat().st_size > have else failures + 1
        if failures == TRIES:
            raise UserError(f"{one.object} {fault} {TRIES} times: what has arrived is kept, run again to go on")
        time.sleep(2**failures / 4)
    return version


def _asked(one: Registered) -> dict[str, str]:
    """Arguments of a request for this very version of an object."""
    address = parse(one.object, one.object)
    version = {"VersionId": one.version} if one.version else {}
    return {"Bucket": address.bucket, "Key": address.key, "IfMatch": one.etag, **version}


def _version(answer: dict[str, Any]) -> str:
    """The version of an object; empty where a bucket keeps none, or kept none at the time (`null`)."""
    return answer.get("VersionId", "").replace("null", "")


@contextlib.contextmanager
def _expecting(one: Registered) -> Iterator[None]:
    """Tell an object that is another one by now, or archived, from other errors."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        code, status = error.response["Error"].get("Code"), error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code == "InvalidObjectState":
            raise Archived(f"{one.object}: {in_words(error)}") from None
        if code == "NoSuchBucket":
            raise
        if status in GONE or (status == DENIED and one.version):
            raise _changed(one) from None
        raise


def _changed(one: Registered) -> Changed:
    return Changed(
        f"{one.object} is gone, or no longer what was registered: `python -m deblurgan dumps pull` registers what is "
        "there now, `dvc pull` brings what the pipeline took earlier"
    )


@contextlib.contextmanager
def opened(source: str, table: Path) -> Iterator[str]:
    """A local path of a source: a folder of the registered objects where the source is a bucket, or the source itself.

    Parameters
    ----------
    source
        Any source; `s3://bucket/prefix` is what is looked after here.
    table
        Table of the registered objects.

    Raises
    ------
    UserError
        Nothing of it is registered, or an object cannot be brought any more.
    """
    if not source.startswith(SCHEME):
        yield source
        return
    address = parse(source, "source")
    found = below(read_table(table), address)
    if not found:
        raise UserError(f"{address}: no object is registered in {table}: run `python -m deblurgan dumps pull` first")
    for left in place().glob(f"{FOLDER}*"):
        if time.time() - left.stat().st_mtime > LEFT_FOR:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=FOLDER, dir=place()) as folder:
        root = Path(folder, address.bucket, *PurePosixPath(address.key).parts)
        archive = next(iter(found.values())).object == str(address)
        names = {one.object: root if archive else root / name for name, one in found.items()}
        for one, brought in bring(list(found.values())):
            if isinstance(brought, UserError):
                raise brought
            link_or_copy(path_of(one), names[one.object])
        try:
            yield str(root)
        except UserError as error:
            raise UserError(str(error).replace(str(root), str(address))) from None


def safe(name: str) -> bool:
    """Whether an object's name can be a file's name below a folder."""
    parts = name.split("/")
    return all(part not in ("", ".", "..") and "\0" not in part and len(os.fsencode(part)) <= 255 for part in parts)
