"""Gradio set up so that it keeps to this machine, and served."""

import errno
import ipaddress
import os
import resource
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deblurgan.app.folders import temporary
from deblurgan.errors import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
OPEN_FILES = 4096
"""macOS allows 256 of its own accord."""
ROOM = 20
"""All files of the page may take so many times the largest upload."""


@dataclass(frozen=True)
class Settings:
    """How the page is served.

    Parameters
    ----------
    host, port
        Where it listens; port None: the first free one from 7860 on.
    auth
        User and password of each who may use it; empty: everybody who reaches it.
    address
        Where a reverse proxy shows it, an http or https address; None: there is none.
    largest
        Bytes of the largest photo that can be uploaded.
    memory
        Budget of a photo's restoration, GB.
    browser
        Whether a browser is opened.
    """

    host: str
    port: int | None
    auth: tuple[tuple[str, str], ...]
    address: str | None
    largest: int
    memory: float
    browser: bool


def keep_to_this_machine(folder: Path) -> None:
    """Set up Gradio and what lies under it, before they are imported: no telemetry, no downloads, one folder."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]  # the command line says everything
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(folder),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    local = ",".join(LOOPBACK)
    for name in ("NO_PROXY", "no_proxy"):  # Gradio asks itself whether it is there
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), local)))


def check_address(host: str, port: int | None) -> None:
    """Refuse an address that cannot be listened on.

    Raises
    ------
    UserError
        It says why.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
    except (OSError, UnicodeError) as error:  # UnicodeError: of a name that no host can have
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise UserError(f"port {port} is taken: choose another port with --port") from None
        what = f"--host {host}" + (f" --port {port}" if port else "")
        raise UserError(f"{what} cannot be listened on: {getattr(error, 'strerror', None) or error}") from None


def refuse_addresses() -> None:
    """Keep Gradio from fetching what a request names by address instead of uploading it."""
    from gradio import processing_utils

    async def refuse(url: str, *_: Any, **__: Any) -> str:
        raise ValueError(f"{url[:200]}: nothing is fetched from the web")

    processing_utils.async_ssrf_protected_download = refuse


def allow_open_files(wanted: int = OPEN_FILES) -> None:
    """Raise the limit of open files, where it is lower: each photo of an upload is one until all are there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def run(settings: Settings, ready: Callable[[str], None] = print) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Parameters
    ----------
    settings
        How.
    ready
        Called with a line that says where the page is.

    Raises
    ------
    UserError
        Gradio is missing, the port is taken, or the host is none of this machine.
    """
    check_address(settings.host, settings.port)
    allow_open_files()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the folder is deleted
    with temporary() as folders:
        keep_to_this_machine(folders.root)
        try:
            import gradio as gr
        except ImportError as error:
            raise UserError(
                f"{error.name} is missing: run `make app`, or pip install -r requirements-app.txt"
            ) from None
        from starlette.middleware import Middleware

        from deblurgan.app.examples import write_examples
        from deblurgan.app.guards import Guards
        from deblurgan.app.page import build
        from deblurgan.app.process import Process

        refuse_addresses()
        process = Process()
        page = build(folders, process, settings.memory, write_examples(folders.root))
        guards = Middleware(
            Guards,
            folders=folders,
            hosts=hosts_of(settings),
            public=public_name(settings),
            room=ROOM * settings.largest,
        )
        ended = threading.Event()
        fonts = ["system-ui", "sans-serif"]  # of the machine: a name in quotes would be fetched
        theme = gr.themes.Default(
            font=fonts, font_mono=["ui-monospace", "monospace"], primary_hue="blue", neutral_hue="slate"
        )
        try:
            _, where, _ = page.launch(
                server_name=f"[{settings.host}]" if ":" in settings.host else settings.host,
                server_port=settings.port,
                share=False,
                quiet=True,
                inbrowser=False,
                prevent_thread_lock=True,
                auth=[*settings.auth] or None,
                root_path=settings.address,
                max_file_size=settings.largest,
                ssr_mode=False,
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                pwa=False,
                mcp_server=False,
                show_error=True,
                app_kwargs={"middleware": [guards], "docs_url": None, "redoc_url": None, "openapi_url": None},
                theme=theme,
                css_paths=Path(__file__).with_name("page.css"),
                js=Path(__file__).with_name("page.js").read_text(encoding="utf-8"),
            )
        except OSError as error:
            raise UserError(f"the page cannot be served: {error}") from None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        try:
            ready(f"The page is at {settings.address or where}; Ctrl-C ends it.")
            if settings.browser:
                webbrowser.open(settings.address or where)
            while not ended.wait(1):
                pass
        finally:
            process.end()
            page.close(verbose=False)


def hosts_of(settings: Settings) -> frozenset[str]:
    """The names under which the page may be asked for; empty where it listens to the network, behind a password."""
    if not is_loopback(settings.host):
        return frozenset()
    named = public_name(settings)
    return frozenset({*LOOPBACK, settings.host, *([named] if named else [])})


def public_name(settings: Settings) -> str | None:
    """The name of the page's public address."""
    return urlsplit(settings.address).hostname if settings.address else None


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, which nobody else reaches."""
    try:
        return host in LOOPBACK or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
