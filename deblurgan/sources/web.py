"""Getting things from the web: with patience, resumed where they broke off, checked."""

import contextlib
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.files import CACHE, locked, new_file, sha256_of

"""Environment variable: where downloads are kept, outside of any run's directory; ~/.cache/deblurgan without it."""
TIMEOUT = (10, 60)
TRIES = 5
CHUNK = 1 << 16


class HeaderAuth(AuthBase):
    """Sends an Authorization header, whatever a .netrc file says, and to no other host than the first."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the header into a request; a redirect to another host drops it again."""
        if self._value:
            request.headers["Authorization"] = self._value
        return request


class Gone(Exception):
    """What was asked for is not there any more."""


def address_for_people(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def patient_get(
    session: requests.Session, url: str, *, headers: dict[str, str] | None = None, stream: bool = False,
    before: Callable[[], None] = lambda: None,
) -> requests.Response:  # fmt: skip
    """Get a page; try again when the network or the server fails for a moment.

    Parameters
    ----------
    session, url, headers, stream
        As for `requests`.
    before
        Called before each request.

    Returns
    -------
    requests.Response
        Of any status but those below.

    Raises
    ------
    Gone
        404 or 410.
    UserError
        No answer, or a server error (5xx), five times in a row.
    """
    where = address_for_people(url)
    for attempt in range(TRIES):
        before()
        try:
            answer = session.get(url, timeout=TIMEOUT, headers=headers, stream=stream)
        except requests.RequestException as error:
            fault = f"no answer from {where} ({type(error).__name__})"
        else:
            if answer.status_code in (404, 410):
                raise Gone(f"{where} is gone ({answer.status_code})")
            if answer.status_code < 500:
                return answer
            fault = f"{where} answered {answer.status_code} {answer.reason}"
        if attempt < TRIES - 1:
            time.sleep(2**attempt)
    raise UserError(f"{fault}, {TRIES} times: check the network, run again")


def download(url: str, target: Path, *, sha256: str | None) -> None:
    """Download a zip archive; go on where an earlier attempt broke off, in this run or another.

    Parameters
    ----------
    url
        Where it is. A token in HF_TOKEN goes to huggingface.co alone.
    target
        Where it shall be. The part that has arrived is kept beside it as `<name>.part`.
    sha256
        What it must be, if that is known; otherwise it must be a zip archive with its end.

    Raises
    ------
    UserError
        The server does not deliver, the disk is too small, or the content is another: then it is thrown away.
    """
    with locked(target.with_name(f"{target.name}.lock")):
        if not target.exists():
            _download(url, target, sha256)


def _download(url: str, target: Path, sha256: str | None) -> None:
    where = address_for_people(url)
    part = target.with_name(f"{target.name}.part")
    tag = target.with_name(f"{target.name}.etag")
    token = os.environ.get("HF_TOKEN") if urlsplit(url).hostname == "huggingface.co" else None
    failures = 0
    best = part.stat().st_size if part.exists() else 0
    with requests.Session() as session:
        session.auth = HeaderAuth(f"Bearer {token}" if token else None)
        while True:
            try:
                if _continue(session, url, part, tag):
                    break
                fault = "the connection broke off"
            except requests.RequestException as error:
                fault = f"the connection broke off ({type(error).__name__})"
            except Gone as error:
                raise UserError(f"{error}: check ingest_gopro.source") from None
            have = part.stat().st_size if part.exists() else 0
            failures, best = (0, have) if have > best else (failures + 1, best)
            if failures == TRIES:
                raise UserError(f"{where}: {fault} {TRIES} times; what has arrived is kept, run again to go on")
            time.sleep(2**failures / 2)
    fault = ""
    if sha256 and (found := sha256_of(part)) != sha256:
        fault = f"has the SHA-256 {found}, and {sha256} is expected"
    elif not sha256 and not zipfile.is_zipfile(part):
        fault = "is no zip archive, or its end is missing"
    tag.unlink(missing_ok=True)
    if fault:
        part.unlink()
        raise UserError(f"{where} {fault}: thrown away; check ingest_gopro.source, or run again")
    os.replace(part, target)


def _continue(session: requests.Session, url: str, part: Path, tag: Path) -> bool:
    """Fetch what is missing of a file; whether it is whole."""
    have = part.stat().st_size if part.exists() else 0
    version = tag.read_text() if have and tag.exists() else ""
    headers = {"Accept-Encoding": "identity"}
    if version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    answer = patient_get(session, url, headers=headers, stream=True)
    where = address_for_people(url)
    with answer:
        given = answer.headers
        if given.get("Content-Encoding", "identity") != "identity":
            raise UserError(f"{where} sends the file in another encoding than its own: find another server")
        if version and answer.status_code == 416:  # nothing is missing, or the file has become smaller
            whole = given.get("Content-Range", "") == f"bytes */{have}"
            if not whole:
                part.unlink()
            return whole
        if version and answer.status_code == 206:
            rest = re.fullmatch(rf"bytes {have}-\d+/(\d+)", given.get("Content-Range", ""))
            if not rest or _version(answer) not in ("", version):
                part.unlink()  # another file, or another part of it, than was asked for
                return False
            start, total = have, int(rest[1])
        elif answer.status_code == 200:
            length = given.get("Content-Length", "")
            start, total = 0, int(length) if length.isdecimal() else None
        else:
            raise UserError(f"{where} answered {answer.status_code} {answer.reason}: check ingest_gopro.source")
        _check_room(part.parent, (total or 0) - start, where=where)
        with new_file(tag) as partial:
            partial.write_text(_version(answer) or version)
        with _bar(part.name.removesuffix(".part"), start, total) as bar, open(part, "ab" if start else "wb") as out:
            for chunk in answer.iter_content(CHUNK):
                out.write(chunk)
                bar.update(len(chunk))
    return total is None or part.stat().st_size == total


def _version(answer: requests.Response) -> str:
    """What tells this version of a file from others; empty where only a whole download is safe."""
    tag = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")


@contextlib.contextmanager
def _bar(name: str, start: int, total: int | None) -> Iterator[tqdm]:
    with tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, unit_divisor=1024) as bar:
        yield bar


def _check_room(folder: Path, needed: int, where: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{where} needs {needed / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB left: free some, or set "
            f"{CACHE} to a larger disk"
        )
