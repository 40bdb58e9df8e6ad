"""The Unsplash API: search, download, attribution (https://unsplash.com/documentation).

Every answer is kept in the cache before the next request is sent, so no run asks twice for what it knows: neither after
a kill, nor when it wants one photo more.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
from dotenv import dotenv_values

from deblurgan.errors import UserError
from deblurgan.files import cache_directory, new_file
from deblurgan.sources.rate_limit import LIMIT, REMAINING, Allowance
from deblurgan.sources.web import Gone, Refused, Session, address_for_people, retry_after

API = "https://api.unsplash.com"
KEY = "UNSPLASH_ACCESS_KEY"
LICENCE = "Unsplash API terms: not for redistribution; machine learning use is restricted"
REFERRAL = "?utm_source=deblurgan_pipeline&utm_medium=referral"
"""Unsplash's terms ask for this at the end of each link to it."""
PAGE = 30
"""Photos in an answer, at most."""


@dataclass(frozen=True)
class UnsplashPhoto:
    """One photo of Unsplash, and what is owed to its author.

    Raises
    ------
    ValueError
        A field is no text, the id is none of Unsplash's, or the image has no address.
    """

    id: str
    photographer: str
    profile: str
    link: str
    image: str
    licence: str
    download_location: str = ""

    def __post_init__(self) -> None:
        """Trust nothing that a server says."""
        for field in fields(self):
            if not isinstance(getattr(self, field.name), str):
                raise ValueError(f"{field.name} is no text")
            getattr(self, field.name).encode()
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.id):
            raise ValueError(f"{self.id!r} is no id")
        if urlsplit(self.image).scheme not in ("http", "https"):
            raise ValueError(f"{self.image!r} is no address")


class Client:
    """A session with the API.

    Parameters
    ----------
    key
        Access key; it goes into a header, never into an address, so that no log or error shows it.
    api
        Address of the server.
    """

    def __init__(self, key: str, api: str = API) -> None:
        self._api = api
        self._session = Session(f"Client-ID {key}")
        self._session.headers["Accept-Version"] = "v1"
        self._cache = cache_directory() / "unsplash" / hashlib.sha256(api.encode()).hexdigest()[:8]
        self._gone: list[Path] = []
        self._allowance = Allowance(self._cache / f"hour-{hashlib.sha256(key.encode()).hexdigest()[:8]}.json")

    @classmethod
    def from_environment(cls) -> "Client":
        """A client with the key in UNSPLASH_ACCESS_KEY or .env (and the server in UNSPLASH_API, for tests)."""
        try:
            key = (os.environ.get(KEY) or dotenv_values(".env").get(KEY) or "").strip()
        except UnicodeDecodeError:
            raise UserError(".env is not UTF-8: save it as UTF-8") from None
        if not key:
            raise UserError(
                f"fetch_unsplash.source = 'api' needs a key in the environment variable {KEY}, or in a file .env "
                "(https://unsplash.com/developers); or set fetch_unsplash.source: bundled"
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UserError(f"{KEY} holds characters that no key has: copy it again")
        return cls(key, os.environ.get("UNSPLASH_API", API))

    def search(self, query: str, count: int) -> Iterator[UnsplashPhoto]:
        """Find photos, the most relevant first; one request for each 30 that were not found before.

        Yields
        ------
        UnsplashPhoto
            At most `count`.

        Raises
        ------
        UserError
            The network, the key or the server stands in the way.
        """
        for page in range(1, -(-count // PAGE) + 1):
            results = self._page(query, page)
            yield from (_photo(result) for result in results[: count - (page - 1) * PAGE])
            if len(results) < PAGE:
                return

    def report_download(self, photo: UnsplashPhoto) -> None:
        """Tell Unsplash that a photo is downloaded, as its terms ask: one request, once for each photo.

        Raises
        ------
        Gone
            Unsplash does not have the photo any more, or refuses it.
        UserError
            As for `search`; or the photo wants the key to go elsewhere than to the API.
        """
        if not photo.download_location.startswith(f"{self._api}/"):
            shown = address_for_people(photo.download_location)
            raise UserError(f"photo {photo.id} has its download_location outside {self._api}, at {shown}: refused")
        mark = self._cache / "downloads" / f"{photo.id}.json"
        state = _kept(mark, "there")
        if state is None:
            state = {"there": True}
            try:
                self._get(photo.download_location)
            except Refused:
                raise
            except Gone as gone:
                state = {"there": False, "why": str(gone)}
            _keep(mark, state)
        if not state["there"]:
            self._gone.append(mark)
            raise Gone(state.get("why", "is gone"))

    def ask_again(self) -> None:
        """Forget which photos this client has found to be gone: too many are no news of photos but a fault."""
        for mark in self._gone:
            mark.unlink(missing_ok=True)

    def _page(self, query: str, page: int) -> list[dict[str, Any]]:
        parameters = urlencode({"query": query, "page": page, "per_page": PAGE})
        kept = self._cache / "searches" / f"{hashlib.sha256(parameters.encode()).hexdigest()[:16]}.json"
        state = _kept(kept, "results")
        if state is None:
            address = f"{self._api}/search/photos?{parameters}"
            try:
                answer = self._get(address)
                results = answer.json()["results"]
                [_photo(result) for result in results]
            except Gone as gone:
                raise UserError(f"{gone}: is this an API of Unsplash, and open to the key in {KEY}?") from None
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{address_for_people(address)} gave an answer that is not a search result") from None
            state = {"query": query, "page": page, "results": results}
            if results or page > 1:  # nothing at all may be a fault of the day
                _keep(kept, state)
        return list(state["results"])

    def _get(self, address: str) -> requests.Response:
        """One answer of the API, waiting out what it wants to be waited for."""
        where = address_for_people(address)
        while True:
            answer = self._session.fetch(address, before=self._allowance.spend, passed=(403, 429))
            left, wait = answer.headers.get(REMAINING), retry_after(answer)
            limited = answer.status_code == 403 and "rate limit" in answer.text.lower()
            self._allowance.heed(answer.headers.get(LIMIT), left if wait is None else None)
            if limited or answer.status_code == 429 or (answer.status_code == 403 and wait is not None):
                self._allowance.refused(wait, used_up=limited or left == "0")
                continue
            self._allowance.granted()
            if answer.status_code == 401:
                raise UserError(f"{where} refuses the key in {KEY} (401)")
            if answer.status_code == 403:
                raise Refused(f"{where} is refused (403)")
            if not answer.ok:
                raise UserError(f"{where} answered {answer.status_code} {answer.reason}")
            return answer


def _keep(path: Path, value: dict[str, Any]) -> None:
    with new_file(path) as partial:
        partial.write_text(json.dumps(value), encoding="utf-8")


def _kept(path: Path, key: str) -> dict[str, Any] | None:
    """A kept answer, if its file is whole."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and key in state else None


def _photo(result: dict[str, Any]) -> UnsplashPhoto:
    return UnsplashPhoto(
        id=result["id"],
        photographer=result["user"]["name"],
        profile=result["user"]["links"]["html"] + REFERRAL,
        link=result["links"]["html"] + REFERRAL,
        image=result["urls"]["raw"],
        licence=LICENCE,
        download_location=result["links"]["download_location"],
    )
