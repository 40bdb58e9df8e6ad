"""What requests must pass before the page sees them."""

import shutil
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from deblurgan.app.folders import Folders

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TEXT = 1 << 20
"""Bytes of a request that is no upload."""
SPARE = 1_000_000_000
"""Bytes of the disk that uploads leave free."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""The browser itself refuses to fetch anything from elsewhere."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guards:
    """An ASGI middleware.

    Parameters
    ----------
    app
        The page.
    folders
        Where uploads go.
    hosts
        Names under which the page may be asked for; empty: under any. A foreign site whose name leads to 127.0.0.1
        ("DNS rebinding") would otherwise read what the browser's user does here.
    public
        The name of the page's public address, if it has one. Requests of sites of other names are refused: the browser
        sends the user's cookie along.
    room
        Bytes that all files of the page may take.
    """

    def __init__(self, app: Any, folders: Folders, hosts: frozenset[str], public: str | None, room: int) -> None:
        self.app, self.folders, self.hosts, self.public, self.room = app, folders, hosts, public, room
        self.coming = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on and add headers to its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        upload = scope["path"].rstrip("/").endswith("/upload") and scope["method"] == "POST"
        length = headers.get("content-length", "")
        refusal = self.refusal(scope, headers, upload=upload)
        if refusal:
            await _say(send, *refusal)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        if not upload:
            await self.app(scope, receive, guarded)
            return
        missing = int(length)
        self.coming += missing
        try:
            with self.folders.upload() as came:

                def arrived(count: int) -> None:
                    """What has come lies in the folder, and counts there."""
                    nonlocal missing
                    came()
                    count = min(count, missing)
                    missing -= count
                    self.coming -= count

                await self.app(scope, _whole(receive, arrived), guarded)
        finally:
            self.coming -= missing

    def refusal(self, scope: Scope, headers: dict[str, str], *, upload: bool) -> tuple[int, str] | None:
        """Status and reason of a request that is not let in."""
        if self.hosts and host_of(headers.get("host", "")) not in self.hosts:
            return 421, "this page is not served under that name"
        if "origin" in headers and not self.is_own(headers["origin"], headers.get("host", "")):
            return 403, "another site may not use this page"
        if "/file=http" in scope["path"] or "/proxy=" in scope["path"]:
            return 404, "nothing is fetched from the web"
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            return None
        if not headers.get("content-length", "").isdigit():
            return 411, "a request must say how long it is"
        length = int(headers["content-length"])
        if not upload:
            return (413, "too long") if length > TEXT else None
        if length > self.room:
            return 413, f"more than {self.room / 1e9:.1f} GB at once"
        if self.coming + length + self.folders.size() > self.room:
            return 507, "the page's folder is full: try again when others have done"
        if shutil.disk_usage(self.folders.root).free - self.coming - length < SPARE:
            return 507, "the disk of the page is nearly full"
        return None

    def is_own(self, origin: str, host: str) -> bool:
        """Whether an origin is the page's own: the name that is asked for, or the public one."""
        name = host_of(origin.partition("://")[2])
        return bool(name) and name in (host_of(host), self.public)


def host_of(text: str) -> str:
    """The name in a `Host` header, without the port.

    Examples
    --------
    >>> host_of("LocalHost:7860"), host_of("[::1]:7860"), host_of("")
    ('localhost', '::1', '')
    """
    text = text.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _whole(receive: Receive, arrived: Callable[[int], None]) -> Receive:
    """Make an upload that is cut off one that is refused: Gradio's parser deletes its files then, and only then.

    `arrived` is called with the bytes of every piece.
    """
    from starlette.formparsers import MultiPartException

    async def received() -> MutableMapping[str, Any]:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MultiPartException("the upload was cut off")
        arrived(len(message.get("body", b"")))
        return message

    return received


async def _say(send: Send, status: int, reason: str) -> None:
    body = f"{reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")]  # what was not read is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
