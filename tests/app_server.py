"""The page as a process of its own, in a folder with models and commits; and a client without a browser."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import requests
from conftest import ROOT

WATCHED = """
import socket
_connect = socket.socket.connect
def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        with open({log!r}, "a") as log:
            log.write(f"{{address}}\\n")
        raise OSError("the network is cut")
    return _connect(self, address)
socket.socket.connect = connect
"""
"""A `sitecustomize`: processes reach this machine alone, and what they tried is written down."""


class Page:
    """A page that runs."""

    def __init__(self, process: subprocess.Popen, address: str, temporary: Path, log: Path, said: Path) -> None:
        self.process, self.address, self.temporary, self.log, self.said = process, address, temporary, log, said

    @property
    def reached_out(self) -> str:
        """Addresses beyond this machine that the page or its worker tried."""
        return self.log.read_text() if self.log.exists() else ""

    @property
    def root(self) -> Path:
        """The page's temporary folder."""
        (found,) = self.temporary.glob("deblurgan-app-*")
        return found


@contextlib.contextmanager
def served(workplace: Path, home: Path, *arguments: str) -> Iterator[Page]:
    """Run the page; `home` gets its temporary files and what it says."""
    temporary, log, said = home / "tmp", home / "connections", home / "said"
    temporary.mkdir(parents=True)
    (home / "sitecustomize.py").write_text(WATCHED.format(log=str(log)))
    environment = {
        **os.environ,
        "PYTHONPATH": f"{home}{os.pathsep}{ROOT}",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(temporary),
    }
    command = [sys.executable, "-m", "deblurgan", "app", "--no-browser", *arguments]
    with open(said, "w") as stream:
        process = subprocess.Popen(command, cwd=workplace, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    try:
        limit = time.monotonic() + 180
        while not (found := re.search(r"The page is at (\S+?)/?;", said.read_text())):
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < limit, said.read_text()
            time.sleep(0.1)
        yield Page(process, found[1], temporary, log, said)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


class Client:
    """What a browser says to the page, without one."""

    def __init__(self, page: Page) -> None:
        self.page, self.session = page, secrets.token_hex(6)
        self.http = requests.Session()
        self.http.trust_env = False
        config = self.http.get(f"{page.address}/config", timeout=60).json()
        self.functions = {found["api_name"]: found["id"] for found in config["dependencies"] if found["api_name"]}
        self.components = {found["id"]: found for found in config["components"]}
        self.outputs = {found["id"]: found["outputs"] for found in config["dependencies"]}

    def upload(self, files: list[tuple[str, bytes]]) -> requests.Response:
        """Upload files under names of one's own."""
        parts = [("files", (name, data, "application/octet-stream")) for name, data in files]
        return self.http.post(f"{self.page.address}/gradio_api/upload", files=parts, timeout=120)

    def run(self, paths: list[str], model: str = "Unsharp masking") -> dict[str, str]:
        """Deblur files that were uploaded; what the page shows at the end, by the ids of its parts."""
        files = [{"path": path, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}} for path in paths]
        return self.call("run", [files, model, 1, False, False])

    def call(self, name: str, data: list) -> dict[str, str]:
        """Call a function; what it left in each part, or under `error` why it failed."""
        function = self.functions[name]
        body = {"data": data, "fn_index": function, "session_hash": self.session, "trigger_id": None}
        joined = self.http.post(f"{self.page.address}/gradio_api/queue/join", json=body, timeout=60)
        if joined.status_code != 200:
            return {"error": joined.text}
        shown: dict[str, str] = {}
        address = f"{self.page.address}/gradio_api/queue/data?session_hash={self.session}"
        with self.http.get(address, stream=True, timeout=300) as stream:
            for line in stream.iter_lines():
                if not line.startswith(b"data:"):
                    continue
                message = json.loads(line[5:])
                if message["msg"] in ("process_generating", "process_completed"):
                    if not message["success"]:
                        return {"error": str(message["output"].get("error"))}
                    self._take(shown, function, message)
                if message["msg"] == "process_completed":
                    break
        return shown

    def _take(self, shown: dict[str, str], function: int, message: dict) -> None:
        for component, value in zip(self.outputs[function], message["output"].get("data", []), strict=False):
            identity = self.components[component]["props"].get("elem_id")
            if message["msg"] == "process_completed" or not isinstance(value, list):
                shown[identity] = value
