"""A limit of requests an hour that is remembered on disk: a new run does not count anew."""

import json
import time
from pathlib import Path

from ratelimit import RateLimitDecorator, RateLimitException
from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.files import locked, new_file

LIMIT, REMAINING = "X-Ratelimit-Limit", "X-Ratelimit-Remaining"
"""Headers of the server's answers: requests an hour, and those that are left this hour."""
HOUR = 3600
DEMO = 50
"""Requests an hour of a new key of Unsplash, until the server says another number."""
MARGIN = 5
"""Seconds that clocks may differ."""
REFUSALS = 3
"""Hours without any request before giving up."""
LONGEST = 300
"""Seconds between two requests, at most, when the server refuses one without a word on when to come back."""
WONDER = 10
"""Longest wait without a message, seconds."""


class Allowance:
    """The requests that a key may still send: a `ratelimit` that runs share, and that listens to the server.

    Parameters
    ----------
    path
        Where the count is kept; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = path.with_name(f"{path.name}.lock")
        self._hour = RateLimitDecorator(DEMO, HOUR + MARGIN, clock=time.time)
        self._count = self._hour(lambda: None)
        self._not_before = 0.0
        self._refusals: list[float] = []

    def spend(self) -> None:
        """Wait until one more request is allowed, and count it, before it is sent; other runs count in, too."""
        while True:
            with locked(self._lock):
                self._load()
                why, ready = "Unsplash asks to wait", self._not_before
                if ready <= time.time():
                    try:
                        self._count()
                        self._save()
                        return
                    except RateLimitException as full:
                        why = f"Unsplash allows {self._hour.clamped_calls} requests an hour, and they are used up"
                        ready = time.time() + full.period_remaining
            _wait(why, ready)

    def heed(self, limit: str | None, remaining: str | None) -> None:
        """Take over what the server says of its limit and of what is left of it this hour."""
        with locked(self._lock):
            self._load()
            if limit and limit.isdecimal() and int(limit) > 0:
                self._hour.clamped_calls = int(limit)
            if remaining == "0":
                self._use_up()
            self._save()

    def granted(self) -> None:
        """The server has answered."""
        self._refusals = []

    def refused(self, wait: float | None, *, used_up: bool) -> None:
        """The server refuses a request for now.

        Parameters
        ----------
        wait
            Seconds that it asks to wait, if it does.
        used_up
            Whether it says that the hour's requests are used up. Then the next full hour brings new ones.

        Raises
        ------
        UserError
            It has refused for hours, or asks to wait for hours.
        """
        now = time.time()
        self._refusals.append(now)
        if now - self._refusals[0] >= REFUSALS * HOUR:
            raise UserError(f"Unsplash has refused every request for {REFUSALS} hours: is the key used elsewhere?")
        if wait and wait > REFUSALS * HOUR:
            raise UserError(f"Unsplash asks to wait for {wait / HOUR:.0f} hours: run it again then")
        with locked(self._lock):
            self._load()
            if used_up and wait is None:
                self._use_up()
            else:
                self._not_before = now + (wait or min(2.0 ** (len(self._refusals) - 1), LONGEST))
            self._save()

    def _use_up(self) -> None:
        """Nothing more before the next full hour."""
        self._hour.num_calls = self._hour.clamped_calls
        self._hour.last_reset = (time.time() // HOUR) * HOUR

    def _load(self) -> None:
        if not self._path.exists():
            return
        try:
            state = json.loads(self._path.read_text())
            limit, used = max(1, int(state["limit"])), max(0, int(state["used"]))
            since, not_before = float(state["since"]), float(state["not_before"])
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{self._path} is damaged: wait an hour, so that its count does not matter, and delete it"
            ) from None
        now = time.time()  # a clock that was wrong once must not stop everything
        self._hour.clamped_calls, self._hour.num_calls, self._hour.last_reset = limit, used, min(since, now)
        self._not_before = min(not_before, now + REFUSALS * HOUR)

    def _save(self) -> None:
        state = {
            "limit": self._hour.clamped_calls,
            "used": self._hour.num_calls,
            "since": self._hour.last_reset,
            "not_before": self._not_before,
        }
        with new_file(self._path) as partial:
            partial.write_text(json.dumps(state))


def _wait(why: str, ready: float) -> None:
    start = time.time()
    if ready - start >= WONDER:
        clock = time.strftime("%H:%M:%S", time.localtime(ready))
        tqdm.write(
            f"{why}: going on at {clock}, in {(ready - start) / 60:.0f} minutes. Interrupt any time: nothing is lost, "
            "and nothing asked for twice."
        )
    with tqdm(total=round(ready - start), desc="waiting", unit="s", leave=False, delay=WONDER) as bar:
        while (now := time.time()) < ready:
            bar.update(round(now - start) - bar.n)
            time.sleep(min(1.0, ready - now))
