"""Downloads: tried again, resumed where they broke off, checked."""

import contextlib
import errno
import io
import lzma
import os
import re
import shutil
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from tqdm import tqdm
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.exceptions import InvalidHeader as OddHeader
from urllib3.util import Retry

from deblurgan.errors import NO_ROOM, UserError
from deblurgan.files import CACHE, locked, new_file, sha256_of

TIMEOUT = (10, 60)
"""Seconds for a connection, and for each further piece of an answer."""
ANSWER = 180
"""Seconds until the headers of an answer are there, redirects included."""
PERIOD, LOWEST = 60, 1000
"""A download is given up that brings fewer than `LOWEST` bytes a second, on the average of `PERIOD` seconds."""
TRIES = 5
LONGEST = 120
"""Seconds between two tries, at most, where the server does not say."""
PATIENCE = 3600
"""Seconds that one request waits in all where the server asks to wait."""
CHUNK = 1 << 16

Result = TypeVar("Result")


class Gone(Exception):
    """The server does not have it, as a rule for ever (404, 410, 451)."""


NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    LocationValueError,
)
"""What Requests and urllib3 raise where they cannot read an address."""


class Refused(Gone):
    """The server does not give it today (403)."""


def address_for_people(url: str) -> str:
    """An address without what may be secret in it: user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where a password has odd characters, so that host and path cannot be told from it
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def retry_after(answer: requests.Response) -> float | None:
    """Seconds that a server asks to wait, as `Retry-After` says them: a number or a date; None if it does not."""
    said = answer.headers.get("Retry-After")
    try:
        return None if said is None else Retry(retry_after_max=10**9).parse_retry_after(said)
    except (OddHeader, ValueError, OverflowError):  # a date or a number that cannot be
        return None


class Session(requests.Session):
    """Requests that are repeated as HTTP asks, and that send secrets to no other host.

    An address's own `user:password@` and `authorization` go to the host that is asked for, and to no other one that it
    redirects to. A .netrc file has no say. Proxies and certificates are those of the environment.

    Parameters
    ----------
    authorization
        Value of that header.
    """

    def __init__(self, authorization: str | None = None) -> None:
        super().__init__()
        self.trust_env = False  # or requests would send what .netrc has for a host that it is redirected to
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        for scheme in ("https://", "http://"):
            self.mount(scheme, _ByProxy())
        if authorization:
            self.headers["Authorization"] = authorization
        self._lock = threading.Lock()
        self._not_before = 0.0

    def fetch(
        self, url: str, *, headers: dict[str, str] | None = None, stream: bool = False,
        before: Callable[[], None] = lambda: None, passed: Collection[int] = (),
        fault_of: Callable[[requests.Response], str] = lambda answer: "",
    ) -> requests.Response:  # fmt: skip
        """Get a page; try again when the network or the server fails for a moment, or when the server asks for it.

        An answer 408, 425, 429, 403 or 5xx is one to try again after, and so is any error with `Retry-After`, which is
        obeyed (RFC 9110, 10.2.3), by all threads of this session. 403 is among them since image hosts give it to whom
        they find too fast.

        Parameters
        ----------
        url, headers
            As for `requests`.
        stream
            Whether `body` shall read the answer; otherwise it is read here.
        before
            Called before each request.
        passed
            Statuses that the caller deals with.
        fault_of
            What is wrong with an answer that is none of the above; empty if nothing is.

        Returns
        -------
        requests.Response
            Of any status that is not named here.

        Raises
        ------
        Gone
            404, 410 or 451.
        Refused
            403, five times in a row.
        UserError
            No answer, or one to try again after, five times in a row, or for an hour where the server says how long
            to wait.
        """
        where = address_for_people(url)
        tries, waited = 0, 0.0
        while True:
            self._wait()
            before()
            status, asked = 0, None
            try:
                answer = _within(ANSWER, lambda: self.get(url, timeout=TIMEOUT, headers=headers, stream=True))
                if not stream:
                    answer.raw = io.BytesIO(b"".join(body(answer)))
            except NO_ADDRESS as error:
                raise UserError(f"{where} is no address ({type(error).__name__})") from None
            except (requests.RequestException, TimeoutError) as error:
                fault = f"no answer from {where} ({type(error).__name__})"
            else:
                status, asked = answer.status_code, retry_after(answer) if answer.status_code >= 400 else None
                if status in passed:
                    return answer
                if status in (404, 410):
                    raise Gone(f"{where} is gone ({status})")
                if status == 451:
                    raise Gone(f"{where} is refused ({status})")
                if status >= 500 or status in (403, 408, 425, 429) or asked is not None:
                    fault = f"{where} answered {status} {answer.reason}"
                elif fault := fault_of(answer):
                    fault = f"{where} {fault}"
                else:
                    return answer
                answer.close()
            delay = asked if asked and asked >= 1 else min(2.0**tries, LONGEST)
            tries += 1
            if status == 429 or asked is not None:
                if waited + delay > PATIENCE:
                    raise UserError(f"{fault}, and asks to wait: run again in {max(1, round(delay / 60))} minutes")
                self._put_off(delay, fault)
            elif tries < TRIES:
                time.sleep(delay)
            elif status == 403:
                raise Refused(f"{where} is refused ({status})")
            else:
                raise UserError(f"{fault}, {TRIES} times: check the network, run again")
            waited += delay

    def _wait(self) -> None:
        """Wait until requests may be sent again."""
        with self._lock:
            delay = self._not_before - time.time()
        if delay > 0:
            time.sleep(delay)

    def _put_off(self, delay: float, why: str) -> None:
        """Let no thread send a request for some time, and say so where somebody would wonder."""
        with self._lock:
            until = time.time() + delay
            if delay >= 10 and until > self._not_before + 5:
                clock = time.strftime("%H:%M:%S", time.localtime(until))
                tqdm.write(f"{why}: going on at {clock}. Interrupt any time: nothing is lost.")
            self._not_before = max(self._not_before, until)


class _ByProxy(HTTPAdapter):
    """Uses the proxy that the environment names for an address, for addresses of redirects too."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        return super().send(request, *args, **{**options, "proxies": get_environ_proxies(request.url or "")})


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """Do something in a thread that is left behind when it takes longer: a header may come a byte at a time."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(seconds)


def body(answer: requests.Response) -> Iterator[bytes]:
    """Yield what an answer holds, as it arrives.

    Raises
    ------
    requests.ConnectionError
        It breaks off.
    requests.Timeout
        It comes slower than `LOWEST`, or not at all.
    """
    start, brought = time.monotonic(), 0
    with contextlib.closing(answer):
        while True:
            try:
                piece = answer.raw.read1(CHUNK, decode_content=True)
            except HTTPError as error:
                raise requests.ConnectionError(type(error).__name__) from error
            if not piece:
                return
            yield piece
            brought += len(piece)
            if (passed := time.monotonic() - start) > PERIOD:
                if brought < LOWEST * passed:
                    raise requests.Timeout(f"{brought} bytes in {passed:.0f} seconds")
                start, brought = time.monotonic(), 0


def download(
    url: str, target: Path, *, sha256: str | None, remedy: str = "check ingest_gopro.source, or run again"
) -> None:
    """Download a zip archive; go on where an earlier attempt broke off, in this run or another.

    It gets its name when its content has been compared with its checksums, and one that is there already is compared
    again: a damaged one is deleted and downloaded anew.

    Parameters
    ----------
    url
        Where it is. A token in HF_TOKEN goes to https://huggingface.co alone.
    target
        Where it shall be. The part that has arrived is kept beside it as `<name>.part`.
    sha256
        What it must be, if that is known; otherwise all members of the zip archive must have their own checksums.
    remedy
        What to do where the server does not have it.

    Raises
    ------
    UserError
        The server does not deliver, the disk is too small, or the content is another: then it is thrown away.
    """
    part = target.with_name(f"{target.name}.part")
    with locked(target.with_name(f"{target.name}.lock")):
        if target.exists():
            if not (fault := _fault(target, sha256)):
                return
            tqdm.write(f"{target} {fault}: deleted, and downloaded anew")
            target.unlink()
        pieced = part.exists()
        try:
            pieced = _download(url, part, remedy) or pieced
            fault = _fault(part, sha256)
            if fault and pieced:
                tqdm.write(f"{part}, which came in several pieces, {fault}: deleted, and downloaded anew")
                part.unlink()
                _download(url, part, remedy)
                fault = _fault(part, sha256)
            if fault:
                part.unlink()
                where = address_for_people(url)
                raise UserError(f"{where} {fault}: thrown away; {remedy}")
            with open(part, "rb") as stream:
                os.fsync(stream.fileno())
        except OSError as error:
            if error.errno in NO_ROOM:
                raise UserError(
                    f"no space left for {part}: free some, or set {CACHE} to a larger disk; what has arrived is kept, "
                    "run again to go on"
                ) from None
            raise
        os.replace(part, target)


def _fault(path: Path, sha256: str | None) -> str:
    """The fault of an archive in words; empty if it has none."""
    if path.stat().st_size > 1e9:
        tqdm.write(f"{path.name}: comparing its checksums")
    if sha256:
        found = sha256_of(path)
        return "" if found == sha256 else f"has the SHA-256 {found}, and {sha256} is expected"
    if not zipfile.is_zipfile(path):
        return "is no zip archive, or its end is missing"
    name = "its list of files"
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename
                # what is encrypted or oddly packed is for who unpacks it to say
                with contextlib.suppress(NotImplementedError, RuntimeError), archive.open(member) as stream:
                    while stream.read(CHUNK):
                        pass
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # a fault of the disk, not of the archive
            raise
    except (zipfile.BadZipFile, EOFError, ValueError, struct.error, zlib.error, lzma.LZMAError):
        pass
    else:
        return ""
    return f"is damaged ({name})"


def _download(url: str, part: Path, remedy: str) -> bool:
    """Fetch a file, however often the connection breaks off; whether it came in several pieces."""
    where = address_for_people(url)
    tag = part.with_name(f"{part.name.removesuffix('.part')}.etag")
    try:
        address = urlsplit(url)
    except ValueError as error:
        raise UserError(f"{url} is no address ({error})") from None
    token = os.environ.get("HF_TOKEN") if (address.scheme, address.hostname) == ("https", "huggingface.co") else None
    failures = pieces = 0
    best = part.stat().st_size if part.exists() else 0
    with Session(f"Bearer {token}" if token else None) as session:
        while True:
            pieces += 1
            slow = False
            try:
                if _continue(session, url, part, tag, remedy):
                    tag.unlink(missing_ok=True)
                    return pieces > 1
                fault = "broke off"
            except requests.RequestException as error:
                slow = isinstance(error, requests.Timeout)
                fault = f"is too slow ({error})" if slow else f"broke off ({type(error).__name__})"
            except Gone as error:
                raise UserError(f"{error}: {remedy}") from None
            have = part.stat().st_size if part.exists() else 0
            failures = 0 if have > best and not slow else failures + 1
            best = max(have, best)
            if failures == TRIES:
                raise UserError(
                    f"{where}: the connection {fault} {TRIES} times; what has arrived is kept, run again to go on"
                )
            time.sleep(2**failures / 2)


def _continue(session: Session, url: str, part: Path, tag: Path, remedy: str) -> bool:
    """Fetch what is missing of a file; whether it is whole."""
    have = part.stat().st_size if part.exists() else 0
    version = tag.read_text() if have and tag.exists() else ""
    headers = {"Accept-Encoding": "identity"}
    if version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    answer = session.fetch(url, headers=headers, stream=True, passed=(416,))
    where = address_for_people(url)
    total: int | None
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
            part.unlink(missing_ok=True)  # before the tag of what follows is written: a kill must not marry the two
            with new_file(tag) as partial:
                partial.write_text(_version(answer))
        else:
            raise UserError(f"{where} answered {answer.status_code} {answer.reason}: {remedy}")
        _check_room(part.parent, (total or 0) - start, where=where)
        with _bar(part.name.removesuffix(".part"), start, total) as bar, open(part, "ab") as out:
            for piece in body(answer):
                out.write(piece)
                bar.update(len(piece))
    return total is None or part.stat().st_size == total


def _version(answer: requests.Response) -> str:
    """ETag or date of this version of a file; empty where only a whole download is safe."""
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
