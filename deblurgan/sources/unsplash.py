"""The Unsplash API: search, download, attribution (https://unsplash.com/documentation)."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import requests

from deblurgan.errors import UserError

API = "https://api.unsplash.com"
LICENCE = "Unsplash API terms: not for redistribution; machine learning use is restricted"
TIMEOUT = (10, 60)


@dataclass(frozen=True)
class Result:
    """One photo of a search."""

    id: str
    photographer: str
    link: str
    image: str
    download_location: str


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
        self._session = requests.Session()
        self._session.headers.update({"Authorization": f"Client-ID {key}", "Accept-Version": "v1"})
        self._images = requests.Session()  # image servers get no key

    @classmethod
    def from_environment(cls) -> "Client":
        """A client with the key in UNSPLASH_ACCESS_KEY (and the server in UNSPLASH_API, for tests)."""
        key = os.environ.get("UNSPLASH_ACCESS_KEY", "").strip()
        if not key:
            raise UserError(
                "fetch_unsplash.source = 'api' needs a key in the environment variable UNSPLASH_ACCESS_KEY "
                "(https://unsplash.com/developers); or set fetch_unsplash.source: bundled"
            )
        return cls(key, os.environ.get("UNSPLASH_API", API))

    def search(self, query: str, count: int) -> Iterator[Result]:
        """Find up to 30 photos; one request.

        Raises
        ------
        UserError
            The network, the key or the hourly limit stands in the way.
        """
        address = f"{self._api}/search/photos?{urlencode({'query': query, 'per_page': count})}"
        for photo in self._get(self._session, address).json()["results"][:count]:
            yield _result(photo)

    def download(self, photo: Result, width: int) -> bytes:
        """Fetch a photo as JPEG of at most this width and report the download, as the terms ask; two requests."""
        if not photo.download_location.startswith(self._api + "/"):  # the key goes to the API alone
            raise UserError(f"photo {photo.id} has its download_location outside {self._api}: refused")
        self._get(self._session, photo.download_location)
        joint = "&" if "?" in photo.image else "?"  # urls.raw carries ixid, which must stay
        address = photo.image + joint + urlencode({"w": width, "fit": "max", "q": 90, "fm": "jpg"})
        return self._get(self._images, address).content

    def _get(self, session: requests.Session, address: str) -> requests.Response:
        place = address.split("?")[0]
        try:
            answer = session.get(address, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise UserError(f"no answer from {place} ({type(error).__name__}): check the network, run again") from None
        if answer.status_code == 401:
            raise UserError(f"{place} refuses the key in UNSPLASH_ACCESS_KEY (401)")
        if answer.status_code == 429 or (answer.status_code == 403 and "rate limit" in answer.text.lower()):
            raise UserError(f"{place}: the hourly limit of requests is used up: run again in the next hour")
        if not answer.ok:
            raise UserError(f"{place} answered {answer.status_code} {answer.reason}")
        return answer


def _result(photo: dict[str, Any]) -> Result:
    return Result(
        id=photo["id"],
        photographer=photo["user"]["name"],
        link=photo["links"]["html"],
        image=photo["urls"]["raw"],
        download_location=photo["links"]["download_location"],
    )
