"""So many requests an hour, counted on disk: a run that starts over does not start to count anew."""

import json
import time
from pathlib import Path

from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.files import locked, new_file

HOUR = 3600
DEMO = 50
"""Requests an hour of a new key of Unsplash, until the server says another number."""
MARGIN = 5
"""Seconds that clocks may differ."""
REFUSALS = 3
"""Hours in a row without any request before giving up."""


class Allowance:
    """The requests that a key may still send.

    Parameters
    ----------
    path
        Where the count is kept; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = path.with_name(f"{path.name}.lock")
        self._limit: int = DEMO
        self._sent: list[float] = []
        self._closed_until = 0.0
        self._refusals = 0

    def spend(self) -> None:
        """Wait until one more request is allowed, and count it, before it is sent; other runs count in, too."""
        while True:
            with locked(self._lock):
                self._load()
                ready = self._ready()
                if ready <= time.time():
                    self._sent = [*self._recent(), time.time()]
                    self._save()
                    return
            self._wait(ready)

    def heed(self, limit: str | None, remaining: str | None) -> None:
        """Take over what the server says of its limit and of what is left of it this hour."""
        self._refusals = 0
        with locked(self._lock):
            self._load()
            if limit and limit.isdecimal() and int(limit) > 0:
                self._limit = int(limit)
            if remaining == "0":
                self._close()
            self._save()

    def refused(self) -> None:
        """The server says that the hour's requests are used up: nothing more before the next full hour.

        Raises
        ------
        UserError
            It has said so for hours.
        """
        self._refusals += 1
        if self._refusals > REFUSALS:
            raise UserError(f"Unsplash has refused every request for {REFUSALS} hours: is the key used elsewhere?")
        with locked(self._lock):
            self._load()
            self._close()
            self._save()

    def _load(self) -> None:
        if not self._path.exists():
            return
        try:
            state = json.loads(self._path.read_text())
            self._limit, sent = max(1, int(state["limit"])), [float(moment) for moment in state["sent"]]
            closed = float(state["closed_until"])
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{self._path} is damaged: wait an hour, so that its count does not matter, and delete it"
            ) from None
        now = time.time()  # a clock that was wrong once must not stop everything
        self._sent = [min(moment, now) for moment in sent]
        self._closed_until = min(closed, now + HOUR + MARGIN)

    def _recent(self) -> list[float]:
        return [moment for moment in self._sent if moment > time.time() - HOUR - MARGIN]

    def _ready(self) -> float:
        """When the next request may go."""
        recent = self._recent()
        free = recent[-self._limit] + HOUR + MARGIN if len(recent) >= self._limit else 0.0
        return max(free, self._closed_until)

    def _close(self) -> None:
        self._closed_until = (time.time() // HOUR + 1) * HOUR + MARGIN

    def _save(self) -> None:
        state = {"limit": self._limit, "sent": self._sent, "closed_until": self._closed_until}
        with new_file(self._path) as partial:
            partial.write_text(json.dumps(state))

    def _wait(self, ready: float) -> None:
        start = time.time()
        clock = time.strftime("%H:%M", time.localtime(ready))
        tqdm.write(
            f"Unsplash allows {self._limit} requests an hour, and they are used up: going on at {clock}, in "
            f"{(ready - start) / 60:.0f} minutes. Interrupt any time: nothing is lost, and nothing asked for twice."
        )
        with tqdm(total=round(ready - start), desc="waiting", unit="s", leave=False) as bar:
            while (now := time.time()) < ready:
                bar.update(round(now - start) - bar.n)
                time.sleep(min(1.0, ready - now))
