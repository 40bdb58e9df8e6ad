"""The photos of Unsplash that are asked for: found, reported, and downloaded whole or left out by name."""

import contextlib
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import requests
from PIL import Image
from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.files import cache_directory, link_or_copy, new_file, write_csv
from deblurgan.params import FetchUnsplash
from deblurgan.sources import unsplash_lite
from deblurgan.sources.unsplash_api import Client, UnsplashPhoto
from deblurgan.sources.web import Gone, Session, address_for_people
from deblurgan.threads import at_once

AT_ONCE = 8
QUALITY = 90
FEW, FRACTION, START = 3, 0.05, 10
"""How many photos may be left out: three, or 5 %; while fewer are tried than are wanted, ten and 5 % of those."""


class Wanted(NamedTuple):
    """A photo, what it is wanted as, and the query that found it."""

    kind: str
    query: str
    photo: UnsplashPhoto


class LeftOutPhotos:
    """Photos that are not available. Only a few may be: a host that fails must not look like a small data set.

    Parameters
    ----------
    wanted
        How many photos there should be.
    """

    COLUMNS = ("id", "kind", "link", "reason", "query")

    def __init__(self, wanted: int) -> None:
        self.rows: list[tuple[str, ...]] = []
        self._wanted = wanted

    def add(self, wanted: Wanted, why: Gone, tried: int) -> None:
        """Name a photo that is not available; `tried`: how many were asked for up to now.

        Raises
        ------
        UserError
            More than a few photos are not available, or none is.
        """
        photo = wanted.photo
        tqdm.write(f"left out {photo.id}: {why} ({photo.link})")
        self.rows.append((photo.id, wanted.kind, photo.link, str(why), wanted.query))
        few = max(FEW, min(FRACTION * self._wanted, START + FRACTION * tried))
        if len(self.rows) > few or len(self.rows) == self._wanted:
            raise UserError(
                f"{len(self.rows)} of {tried} photos are not available, the last because {why}: with so many, the "
                "server or the network is at fault; photos that have arrived are kept, run it again later"
            )


def search(settings: FetchUnsplash, client: Client | None) -> Iterator[Wanted]:
    """Find what the queries ask for, by the API or, without a client, in the Lite data set.

    Yields
    ------
    Wanted
        Each photo once.

    Raises
    ------
    UserError
        Nothing is found at all, or the search fails.
    """
    seen: set[str] = set()
    queries = [("sharp", q) for q in settings.sharp_queries] + [("blurred", q) for q in settings.blurred_queries]
    for kind, query in queries:
        found = (
            client.search(query, settings.photos_per_query)
            if client
            else unsplash_lite.search_table(settings.lite or "", query, settings.photos_per_query)
        )
        new = {photo.id: photo for photo in found if photo.id not in seen}
        seen |= set(new)
        yield from (Wanted(kind, query, photo) for photo in new.values())
        if not new:
            tqdm.write(f"nothing new found for {query!r}")
    if not seen:
        raise UserError("nothing found for any of fetch_unsplash.sharp_queries and blurred_queries: change them")


def reported_downloads(wanted: Sequence[Wanted], client: Client, left_out: LeftOutPhotos) -> Iterator[Wanted]:
    """Report the download of each photo; yield the photos that Unsplash still has."""
    for tried, one in enumerate(tqdm(wanted, "downloads reported", unit="photo"), 1):
        try:
            client.report_download(one.photo)
        except Gone as gone:
            try:
                left_out.add(one, gone, tried)
            except UserError:
                client.ask_again()
                raise
        else:
            yield one


def fetch_photos(wanted: Sequence[Wanted], width: int, left_out: LeftOutPhotos) -> Iterator[tuple[Wanted, Path]]:
    """Bring photos that are not there yet into the cache.

    Parameters
    ----------
    wanted
        Which ones.
    width
        In pixels; the server scales wider ones down.
    left_out
        Takes those whose image the server does not have any more, or refuses.

    Yields
    ------
    wanted, path
        In the same order.

    Raises
    ------
    UserError
        The network or the server stands in the way; photos that have arrived stay.
    """
    session = Session()

    def work(one: Wanted) -> Path:
        return _fetch(session, one.photo, width)

    before = len(left_out.rows)
    with contextlib.closing(at_once(work, wanted, AT_ONCE)) as brought:
        for tried, (one, future) in enumerate(tqdm(brought, "photos", len(wanted), unit="photo"), before + 1):
            try:
                yield one, future.result()
            except Gone as gone:
                left_out.add(one, gone, tried)


def _fetch(session: Session, photo: UnsplashPhoto, width: int) -> Path:
    joint = "&" if "?" in photo.image else "?"  # urls.raw carries ixid, which must stay
    address = photo.image + joint + urlencode({"w": width, "fit": "max", "q": QUALITY, "fm": "jpg"})
    place = hashlib.sha256(photo.image.encode()).hexdigest()[:8]  # an id belongs to a server
    target = cache_directory() / "photos" / f"{photo.id}-{place}-w{width}-q{QUALITY}.jpg"
    if target.exists():
        return target
    answer = session.fetch(address, fault_of=_fault)
    if not answer.ok:
        raise UserError(f"{address_for_people(address)} answered {answer.status_code} {answer.reason}")
    with new_file(target) as partial:
        partial.write_bytes(answer.content)
    return target


def _fault(answer: requests.Response) -> str:
    """The fault of an answer that should be an image: a host that fails may send a page with status 200."""
    if not answer.ok:
        return ""
    try:
        with Image.open(io.BytesIO(answer.content), formats=["JPEG"]) as image:
            image.load()
    except Exception:  # decoders raise anything on garbage
        return f"sent no whole JPEG ({answer.headers.get('Content-Type', 'of unknown type')})"
    return ""


def download_photos(out: Path, settings: FetchUnsplash) -> Iterator[tuple[str, ...]]:
    """Write what Unsplash has, and left_out.csv if it lacks some of it; yield the rows of photos.csv."""
    client = Client.from_environment() if settings.source == "api" else None
    wanted = list(search(settings, client))
    left_out = LeftOutPhotos(len(wanted))
    there = list(reported_downloads(wanted, client, left_out)) if client else wanted
    for (kind, query, photo), path in fetch_photos(there, settings.width, left_out):
        link_or_copy(path, out / kind / f"{photo.id}.jpg")
        yield photo.id, kind, photo.photographer, photo.profile, photo.link, photo.licence, query
    if left_out.rows:
        write_csv(out / "left_out.csv", [LeftOutPhotos.COLUMNS, *left_out.rows])
