"""A proxy between a client and a server, on which neither can rely."""

import contextlib
import http.client
import random
import threading
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

from servers import Handler, Server

FAULTS = ("500", "503", "slow", "no answer", "lost answer", "half an answer")


class ProxyHandler(Handler):
    """Passes requests on, or does not."""

    def pass_on(self):
        server = self.server
        length = int(self.headers.get("Content-Length", 0))
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(length)
        with server.lock:
            fault = server.fault_of(self.path)
            server.faults[fault] += 1
        if fault in ("500", "503"):
            return self.answer(int(fault), b"<Error><Code>SlowDown</Code></Error>", "application/xml")
        if fault == "no answer":
            return self.cut()
        if fault == "slow":
            server.stall.wait(server.pause)
        target = http.client.HTTPConnection(urlsplit(server.target).netloc, timeout=60)
        with contextlib.closing(target):
            target.request(self.command, self.path, body, dict(self.headers.items()))
            found = target.getresponse()
            data = found.read()
        if fault == "lost answer":
            return self.cut()
        self.send_response(found.status)
        for name, value in found.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "server", "date"):
                self.send_header(name, value)
        if found.getheader("Content-Length") is None:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault == "half an answer" else data)
        return self.cut() if fault == "half an answer" else None

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

    def cut(self):
        """Close the connection."""
        self.wfile.flush()
        self.close_connection = True


def by_chance(share: float, seed: int = 0) -> Callable[[str], str | None]:
    """Any fault, for such a share of the requests."""
    rng = random.Random(seed)
    return lambda _: rng.choice(FAULTS) if rng.random() < share else None


class FaultyProxy(Server):
    """Passes on what comes, but for the fault that each request has, by its path; what is slow waits for `pause`."""

    def __init__(self, target: str, fault_of: Callable[[str], str | None] = lambda _: None, pause: float = 1.0):
        super().__init__(ProxyHandler)
        self.target, self.fault_of, self.pause = target, fault_of, pause
        self.faults: Counter[str | None] = Counter()
        self.stall = threading.Event()
