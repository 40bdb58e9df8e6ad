"""`python -m deblurgan app`: the page in the browser."""

import argparse
import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from deblurgan.app.server import Settings, is_loopback, run
from deblurgan.errors import UserError
from deblurgan.restoration.options import number_between

AUTH = "DEBLURGAN_APP_AUTH"
"""Environment variable: user:password, several on lines of their own; a command line can be seen by others."""


def main(arguments: Sequence[str]) -> None:
    """Read the command line and serve the page."""
    run(read_settings(arguments))


def read_settings(arguments: Sequence[str]) -> Settings:
    """Read the command line.

    Raises
    ------
    UserError
        The page would be open to the network without a password, or a value makes no sense.
    """
    parser = argparse.ArgumentParser(
        prog="python -m deblurgan app",
        description="Deblur photos and compare trainings in the browser. The page is for this machine alone, fetches "
        "nothing from the web, restores one batch at a time, and deletes its files when it ends.",
        epilog="For a team: python -m deblurgan app --host 0.0.0.0 --auth ann:secret. docs/app.md has more.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, help="port (default: the first free one from 7860 on)")
    parser.add_argument(
        "--auth",
        action="append",
        default=[],
        metavar="USER:PASSWORD",
        help=f"who may use the page; may be given several times, or as {AUTH}, a line each. `none`: everybody",
    )
    parser.add_argument(
        "--address", metavar="URL", help="where a reverse proxy shows the page: https://photos.example.org/deblur"
    )
    parser.add_argument(
        "--largest",
        type=number_between(0.001, 100000),
        default=200.0,
        metavar="MB",
        help="largest photo that can be uploaded (default: 200)",
    )
    parser.add_argument(
        "--memory",
        type=number_between(0.1, 10000),
        default=2.5,
        metavar="GB",
        help="budget for a photo's restoration, as of `deblur` (default: 2.5)",
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    options = parser.parse_args(list(arguments))
    if "" in options.auth:
        raise UserError(f"--auth is empty: give user:password, or leave --auth out to take them from {AUTH}")
    who = options.auth or os.environ.get(AUTH, "").splitlines()
    auth = _users(who)
    unguarded = not auth and "none" not in who
    if unguarded and not is_loopback(options.host):
        raise UserError(
            f"--host {options.host} lets everybody in the network use the page: add --auth user:password, or --auth "
            "none if this is meant"
        )
    if options.address and not _is_address(options.address):
        raise UserError(f"--address {options.address} is no address like https://photos.example.org/deblur")
    if unguarded and options.address:
        raise UserError(
            f"--address {options.address} shows the page to everybody who can reach that address: add --auth "
            "user:password, or --auth none if the proxy asks for a password"
        )
    if options.port is not None and not 0 < options.port < 65536:
        raise UserError(f"--port {options.port}: a port is a number from 1 to 65535")
    return Settings(
        host=options.host,
        port=options.port,
        auth=auth,
        address=options.address.rstrip("/") if options.address else None,
        largest=round(options.largest * 1e6),
        memory=options.memory,
        browser=not options.no_browser,
    )


def _users(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found = []
    for text in texts:
        if text in ("none", ""):
            continue
        user, colon, password = text.partition(":")
        if not (user and colon and password):
            raise UserError("--auth takes user:password, both of them not empty")
        found.append((user, password))
    return tuple(found)


def _is_address(text: str) -> bool:
    try:
        address = urlsplit(text)
    except ValueError:
        return False
    return address.scheme in ("http", "https") and bool(address.hostname)
