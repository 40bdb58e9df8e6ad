"""Downloading photos from an image server: several at once, each one whole or not at all."""

import hashlib
import io
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from urllib.parse import urlencode

import requests
from PIL import Image

from deblurgan.errors import UserError
from deblurgan.files import cache_directory, new_file
from deblurgan.sources.unsplash import Photo
from deblurgan.sources.web import TRIES, Gone, HeaderAuth, address_for_people, patient_get

AT_ONCE = 8
QUALITY = 90


def fetch_photos(photos: Iterable[Photo], width: int) -> Iterator[tuple[Photo, Path | None]]:
    """Bring photos into the cache, those that are not there yet.

    Parameters
    ----------
    photos
        Which ones.
    width
        In pixels; the server scales wider ones down.

    Yields
    ------
    photo, path
        In the same order; the path is None when the server has no whole image of the photo any more.

    Raises
    ------
    UserError
        The network or the server stands in the way; photos that have arrived stay.
    """
    waiting: list[tuple[Photo, Future[Path | None]]] = [(photo, Future()) for photo in photos]
    todo = iter(list(waiting))
    lock = threading.Lock()
    session = requests.Session()
    session.auth = HeaderAuth(None)

    def work() -> None:
        while True:
            with lock:
                photo, future = next(todo, (None, None))
            if photo is None or future is None:
                return
            try:
                future.set_result(_fetch(session, photo, width))
            except BaseException as error:
                future.set_exception(error)

    for _ in range(AT_ONCE):  # daemons: a server that hangs keeps nobody from leaving
        threading.Thread(target=work, daemon=True).start()
    try:
        for photo, future in waiting:
            yield photo, future.result()
    finally:
        with lock:
            todo = iter(())


def _fetch(session: requests.Session, photo: Photo, width: int) -> Path | None:
    joint = "&" if "?" in photo.image else "?"  # urls.raw carries ixid, which must stay
    address = photo.image + joint + urlencode({"w": width, "fit": "max", "q": QUALITY, "fm": "jpg"})
    place = hashlib.sha256(photo.image.encode()).hexdigest()[:8]  # an id belongs to a server
    target = cache_directory() / "photos" / f"{photo.id}-{place}-w{width}-q{QUALITY}.jpg"
    if target.exists():
        return target
    for _ in range(TRIES):
        try:
            answer = patient_get(session, address)
        except Gone:
            return None
        if not answer.ok:
            raise UserError(f"{address_for_people(address)} answered {answer.status_code} {answer.reason}")
        if _is_whole(answer.content):
            with new_file(target) as partial:
                partial.write_bytes(answer.content)
            return target
    return None


def _is_whole(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.load()
    except Exception:
        return False  # decoders raise anything on garbage
    return True
