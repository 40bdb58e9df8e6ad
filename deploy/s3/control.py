"""Start and stop the S3 server of this machine: `python -m deploy.s3.control`, or `make s3` and `make s3-stop`."""

import argparse
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deblurgan.errors import UserError, reported
from deblurgan.files import home_expanded, locked

FOLDER, PORT = "DEBLURGAN_S3", "DEBLURGAN_S3_PORT"
"""Environment variables: where the data lie (default: ~/.local/share/deblurgan/s3), and the port (default: 8333)."""
PYTHON = Path(".venv-s3/bin/python")
SERVER = Path(__file__).with_name("server.py")
BUCKETS = tuple(f"deblurgan-{name}" for name in ("source", "resized", "deblurred", "models"))
"""Those of .dvc/config."""
REGION = "us-east-1"
PATIENCE, RELEASE = 60, 5
"""Seconds that the server may take to start, or to end; and that its ports may take to be free again."""


@dataclass(frozen=True)
class Keys:
    """What clients sign by."""

    key: str
    secret: str


class Store:
    """The folder of a server: its data, keys, log, and the process that serves it.

    Parameters
    ----------
    root
        The folder.
    port
        On 127.0.0.1; the three after it are taken, too.
    """

    def __init__(self, root: Path, port: int) -> None:
        self.root, self.port = root, port
        self.pid, self.log, self._keys = root / "pid", root / "log", root / "keys.json"

    @classmethod
    def from_environment(cls) -> "Store":
        """As the environment says.

        Raises
        ------
        UserError
            The port is none.
        """
        port = os.environ.get(PORT) or "8333"
        if not port.isdecimal() or not 0 < int(port) < 65533:
            raise UserError(f"{PORT} = {port!r} is no port")
        return cls(home_expanded(os.environ.get(FOLDER) or "~/.local/share/deblurgan/s3").absolute(), int(port))

    @property
    def address(self) -> str:
        """Where clients find the server."""
        return f"http://127.0.0.1:{self.port}"

    def keys(self) -> Keys:
        """The keys, which are made once for each folder."""
        if not self._keys.exists():
            new = Keys("local:deblurgan", secrets.token_urlsafe(24))
            with open(os.open(self._keys, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                json.dump(asdict(new), stream)
        return Keys(**json.loads(self._keys.read_text()))

    def environment(self) -> dict[str, str]:
        """What a client needs to know."""
        keys = self.keys()
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": keys.key,
            "AWS_SECRET_ACCESS_KEY": keys.secret,
            "AWS_DEFAULT_REGION": REGION,
        }

    def serving(self) -> int | None:
        """The process that serves this folder; None where it does not run."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int(self.pid.read_text())
            with contextlib.suppress(OSError):  # a number that another program has by now is not ours
                if str(self.root).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    return pid
        return None


def start(store: Store) -> None:
    """Start the server, unless it runs, and make the buckets that are not there.

    Raises
    ------
    UserError
        It is not installed, its port is taken, or its disk cannot hold it.
    """
    if not PYTHON.exists():
        raise UserError(f"{PYTHON} is missing: `make s3` installs the server")
    store.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(store.root / "lock"):
        if store.serving() is None:
            _check_disk(store.root)
            _check_ports(store)
            _launch(store)
        elif not _is_taken(store.port):
            raise UserError(f"the server of {store.root} runs on another port than {store.port}: `make s3-stop` first")
        _make_buckets(store)


def _check_disk(root: Path) -> None:
    """Refuse a file system without extended attributes, where Swift keeps what belongs to an object."""
    probe = root / "probe"
    try:
        probe.touch()
        os.setxattr(probe, "user.deblurgan", b"x")
    except (OSError, AttributeError) as error:
        raise UserError(
            f"{root} is on a file system without extended attributes ({error}): set {FOLDER} to a folder on a file "
            "system that has them"
        ) from None
    finally:
        probe.unlink(missing_ok=True)


def _check_ports(store: Store) -> None:
    """Refuse ports that stay taken: those of a server that has just ended are free in a moment."""
    until = time.monotonic() + RELEASE
    for port in range(store.port, store.port + 4):
        while _is_taken(port):
            if time.monotonic() > until:
                raise UserError(f"port {port} is taken by another program: set {PORT} to another port")
            time.sleep(0.1)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _launch(store: Store) -> None:
    """Start the process in the background, and wait until it answers."""
    command = [str(PYTHON.absolute()), "-W", "ignore", str(SERVER), str(store.root), str(store.port)]
    with open(store.log, "wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=store.root, start_new_session=True
        )
    assert process.stdin is not None
    with process.stdin as stream:
        stream.write(json.dumps(asdict(store.keys())).encode())
    store.pid.write_text(str(process.pid))
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", store.port), 1):
            return
        time.sleep(0.1)
    process.kill()
    raise UserError(f"the server does not start: {store.log} says why")


def client(store: Store) -> Any:
    """A client of this server, whatever the environment says."""
    import boto3
    from botocore.config import Config

    keys = store.keys()
    return boto3.client(
        "s3",
        endpoint_url=store.address,
        aws_access_key_id=keys.key,
        aws_secret_access_key=keys.secret,
        region_name=REGION,
        config=Config(retries={"mode": "standard", "total_max_attempts": 10}),
    )


def _make_buckets(store: Store) -> None:
    s3 = client(store)
    there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for bucket in BUCKETS:
        if bucket not in there:
            s3.create_bucket(Bucket=bucket)


def stop(store: Store) -> bool:
    """End the server; whether it ran. Its data stay.

    Raises
    ------
    UserError
        The process does not end.
    """
    if (pid := store.serving()) is None:
        return False
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + PATIENCE
    while store.serving() is not None:
        if time.monotonic() > until:
            raise UserError(f"process {pid} does not end: `kill -9 {pid}` ends it")
        time.sleep(0.05)
    store.pid.unlink(missing_ok=True)
    return True


def main() -> None:
    """Start or stop."""
    parser = argparse.ArgumentParser(prog="python -m deploy.s3.control", description=__doc__)
    parser.add_argument("what", choices=("start", "stop"))
    what = parser.parse_args().what
    store = Store.from_environment()
    if what == "stop":
        print(f"stopped; the data stay in {store.root}" if stop(store) else f"no server runs for {store.root}")
        return
    start(store)
    print(f"# S3 on {store.address}, data in {store.root}; buckets: {', '.join(BUCKETS)}")
    for name, value in store.environment().items():
        print(f"export {name}={value}")


if __name__ == "__main__":
    with reported("s3"):
        main()
