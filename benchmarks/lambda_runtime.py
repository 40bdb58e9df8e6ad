"""A Runtime API of AWS Lambda on this machine, and a function that runs under it by AWS's client, `awslambdaric`."""

import http.server
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

API = "/2018-06-01/runtime"
DEADLINE = 120
"""Seconds that a call may take."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "RuntimeApi"

    def do_GET(self) -> None:
        """The function asks for its next call, and waits until there is one."""
        self.server.ready.set()
        number, event = self.server.calls.get()
        self._answer(
            200,
            json.dumps(event).encode(),
            {
                "Lambda-Runtime-Aws-Request-Id": f"call-{number}",
                "Lambda-Runtime-Deadline-Ms": str(round(1000 * (time.time() + DEADLINE))),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:live",
            },
        )

    def do_POST(self) -> None:
        """The function answers, or says what went wrong."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.answers.put((self.path.removeprefix(API), json.loads(body)))
        self._answer(202, b"{}", {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class RuntimeApi(http.server.ThreadingHTTPServer):
    """What a function talks to instead of AWS."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: queue.Queue[tuple[int, Any]] = queue.Queue()
        self.answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.ready = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Say nothing of a function that is killed while it waits."""


class Function:
    """A function in a process of its own, as Lambda starts one; use it in a `with`.

    Parameters
    ----------
    handler
        Its dotted name.
    package
        Folder of its code; nothing else is imported but what is installed, and not even this where the folder has it.
    environment
        More environment variables.
    """

    def __init__(self, handler: str, package: Path, environment: dict[str, str]) -> None:
        self._api = RuntimeApi()
        threading.Thread(target=self._api.serve_forever, args=(0.02,), daemon=True).start()
        self._number = 0
        here = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_port}",
            "LAMBDA_TASK_ROOT": str(package),
            "PYTHONPATH": str(package),
        }
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", handler],
            cwd=package,
            env={**os.environ, **environment, **here},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> "Function":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._api.shutdown()
        self._api.server_close()

    def call(self, event: Any, seconds: float = DEADLINE) -> tuple[str, Any]:
        """Call it: the last part of the path to which it has answered, `response` or `error`, and what it said."""
        self._number += 1
        self._api.calls.put((self._number, event))
        path, answer = self._api.answers.get(timeout=seconds)
        return path.rpartition("/")[2], answer

    def wait_until_ready(self, seconds: float = DEADLINE) -> float:
        """Wait until it has started and asks for a call; the seconds that this took."""
        if not self._api.ready.wait(seconds):
            raise TimeoutError("the function does not start")
        return time.monotonic() - self.started
