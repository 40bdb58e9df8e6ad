"""Servers on 127.0.0.1 that behave like those that the pipeline talks to, and a clock for who waits for them."""

import contextlib
import hashlib
import http.server
import io
import json
import threading
import time
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

KEY = "a-very-secret-key"


class Clock:
    """Time that passes when somebody sleeps; a stop watch that a server may turn."""

    def __init__(self):
        self.now, self.watch = 1_700_000_000.0, 0.0
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.watch

    def turn(self, seconds: float) -> None:
        self.watch += seconds

    def __getattr__(self, name):
        return getattr(time, name)


class Handler(http.server.BaseHTTPRequestHandler):
    """What the servers below share."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str):
        if status == 204:
            body = b""  # nobody reads it, so that it would be taken for the start of the next answer
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def drip(self):
        """A byte at a time, without an end; each takes as long as the server's `tick` makes it take."""
        self.send_response(200)
        self.send_header("Content-Length", str(10**9))
        self.end_headers()
        while True:
            self.server.tick()
            self.wfile.write(b"x")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """A server with its address; clients that are killed are no error."""

    daemon_threads = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.lock = threading.Lock()
        self.tick = lambda: None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        pass


@contextlib.contextmanager
def running(server: Server):
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def jpeg(seed: str) -> bytes:
    """A photo that differs from every other one."""
    rng = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
    picture = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((64, 48)).save(picture, "JPEG")
    return picture.getvalue()


class UnsplashHandler(Handler):
    """Search, download reports and images, with the hourly limit."""

    def do_GET(self):
        server, url = self.server, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        with server.lock:
            server.requests.append((url.path, query, self.headers.get("Authorization")))
            fault = server.faults.pop(0) if server.faults and url.path.startswith(server.faulty) else None
        if fault == "hang up":
            self.close_connection = True
            return None
        if fault == "half an image":
            return self.answer(200, jpeg("x")[:300], "image/jpeg")
        if fault == "a page":
            return self.answer(200, b"<html>Please come back later</html>", "text/html")
        if fault == "drip":
            return self.drip()
        if isinstance(fault, tuple):
            return self.answer(fault[0], b"{}", **fault[1])
        if fault:
            return self.answer(fault, b"{}")
        if url.path.startswith("/image/"):
            server.stall.wait()
            name = url.path.removeprefix("/image/")
            if name in server.gone_images:
                return self.answer(server.gone_images[name])
            return self.answer(200, jpeg(name), "image/jpeg")
        if self.headers.get("Authorization") != f"Client-ID {KEY}":
            return self.answer(401, b'{"errors": ["OAuth error: The access token is invalid"]}')
        with server.lock:
            left = server.left = server.left - 1
        rates = {"X_Ratelimit_Limit": str(server.limit), "X_Ratelimit_Remaining": str(max(left, 0))}
        if left < 0:  # as recorded: plain text under a JSON content type
            return self.answer(server.refusal, b"Rate Limit Exceeded", **rates)
        if url.path.endswith("/download"):
            if (name := url.path.split("/")[2]) in server.gone:
                return self.answer(server.gone[name], b'{"errors": ["Couldn\'t find Photo"]}', **rates)
            return self.answer(200, b'{"url": "somewhere"}', **rates)
        if url.path == "/search/photos":
            return self.answer(200, json.dumps({"results": server.search(query)}).encode(), **rates)
        return self.answer(404, **rates)


class Unsplash(Server):
    """An API of Unsplash with 70 photos for each query, or with `recorded` ones."""

    def __init__(self):
        super().__init__(UnsplashHandler)
        self.requests: list[tuple[str, dict[str, str], str | None]] = []
        self.limit = self.left = 1000
        self.refusal = 403
        self.gone: dict[str, int] = {}  # statuses of what cannot be had
        self.gone_images: dict[str, int] = {}
        self.faults: list[int | str | tuple[int, dict[str, str]]] = []
        self.faulty = "/"
        self.recorded: list[dict] | None = None
        self.stall = threading.Event()
        self.stall.set()

    def search(self, query: dict[str, str]) -> list[dict]:
        if self.recorded is not None:
            return self.recorded if query["page"] == "1" else []
        first = (int(query["page"]) - 1) * int(query["per_page"])
        names = [f"{query['query'][0]}{i}" for i in range(70)][first : first + int(query["per_page"])]
        return [self.photo(name) for name in names]

    def photo(self, name: str) -> dict:
        return {
            "id": name,
            "user": {"name": "Ann Ä. Other", "links": {"html": f"{self.address}/@ann"}},
            "links": {
                "html": f"{self.address}/p/{name}",
                "download_location": f"{self.address}/photos/{name}/download?ixid=1",
            },
            "urls": {"raw": f"{self.address}/image/{name}?ixid=7"},
        }

    def asked(self, word: str) -> int:
        """How many requests had a word in their path."""
        return sum(word in path for path, _, _ in self.requests)


class FileHandler(Handler):
    """One file, by ranges."""

    def do_GET(self):
        server = self.server
        with server.lock:
            server.ranges.append(self.headers.get("Range"))
            server.credentials.append(self.headers.get("Authorization"))
            broken = server.breaks.pop(0) if server.breaks else None
        if isinstance(broken, tuple):
            return self.answer(broken[0], b"{}", **broken[1])
        if broken == "drip":
            return self.drip()
        if broken == "drip a header":
            return self.drip_a_header()
        start, status = 0, 200
        wanted = self.headers.get("Range")
        if wanted and server.resumable and self.headers.get("If-Range") == server.etag:
            start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
        if start >= len(server.body):
            return self.answer(416, Content_Range=f"bytes */{len(server.body)}")
        body = server.body[start:]
        if server.odd == "unasked part":
            start, status, body = 1000, 206, server.body[1000:2000]
        elif server.odd == "another part" and status == 206:
            start, body = 0, server.body
        elif server.odd == "nothing":
            status, body = 204, b""
        elif server.odd == "a page":
            body = b"<html>Please log in</html>"
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        if server.odd == "no length":
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        if server.odd == "compressed":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("ETag", '"two"' if server.odd == "another version" and status == 206 else server.etag)
        self.end_headers()
        pace = server.pace
        for at in range(0, len(body), pace):
            if broken is not None and at >= broken:
                self.close_connection = True
                return None
            self.wfile.write(body[at : at + pace])
            server.slow.wait(server.pause)
        return None

    def drip_a_header(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not self.server.slow.wait(0.02):
            self.wfile.write(b"x")


class FileServer(Server):
    """Serves `body`; `breaks` says after how many bytes each connection is cut (None: not at all), or what fails."""

    def __init__(self, body: bytes):
        super().__init__(FileHandler)
        self.body, self.etag = body, '"one"'
        self.ranges: list[str | None] = []
        self.credentials: list[str | None] = []
        self.breaks: list[int | str | tuple[int, dict[str, str]] | None] = []
        self.resumable = True
        self.odd: str | None = None
        self.pace, self.pause, self.slow = 1 << 16, 0.0, threading.Event()
