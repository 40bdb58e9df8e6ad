"""What a person sees of a job: its state, its log, and a bar that moves with its figures."""

import re
import time
from typing import Any

from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.s3 import Unreachable, client
from deblurgan.sagemaker.job import COMPLETED, RUNNING, STOPPING, Job, described

GROUP = "/aws/sagemaker/TrainingJobs"
"""Where the log of each job is, in streams that begin with its name."""
POLL = 10.0
PATIENCE = 1800
"""Seconds between two looks, and for which the network may be away."""
STEP = re.compile(r"^step=(\d+) ")
SHOWN = {"loss": "train/loss", "val_psnr": "val/psnr"}
OVERLAP = 60_000
"""Milliseconds that each look at the log goes back: lines do not arrive in order."""


class Log:
    """The log of a job, read bit by bit."""

    def __init__(self, job: Job) -> None:
        self._job, self._logs = job, client("logs")
        self._seen: set[str] = set()
        self._since = 0

    def new_lines(self) -> list[str]:
        """Lines that have arrived since the last call; none where there is no log, or no right to read it."""
        from botocore.exceptions import BotoCoreError, ClientError

        begin = f"{self._job.name}/"
        asked: dict[str, Any] = {"logGroupName": GROUP, "logStreamNamePrefix": begin}
        lines = []
        try:
            for page in self._logs.get_paginator("filter_log_events").paginate(**asked, startTime=self._since):
                for event in page["events"]:
                    if event["eventId"] not in self._seen and event["logStreamName"].startswith(begin):
                        self._seen.add(event["eventId"])
                        self._since = max(self._since, event["timestamp"] - OVERLAP)
                        lines.append(event["message"].rstrip())
        except (BotoCoreError, ClientError):
            pass  # what counts is the state of the job
        return lines


def wait(job: Job, steps: int) -> dict[str, Any]:
    """Wait until a job has ended, and show how far it is; what SageMaker says about it then.

    Parameters
    ----------
    job
        The job.
    steps
        Generator steps of the whole training.

    Raises
    ------
    UserError
        SageMaker refuses, or does not answer for a long time: the job goes on.
    """
    log, answered, told = Log(job), time.monotonic(), ""
    sagemaker = client("sagemaker")
    with tqdm(total=steps, desc="train", unit="step") as bar:
        while True:
            try:
                found = described(job, sagemaker)
                answered = time.monotonic()
            except UserError as error:
                if not isinstance(error, Unreachable) or time.monotonic() - answered > PATIENCE:
                    raise UserError(f"{error}; {job.name} goes on: run it again to come back to it") from None
                tqdm.write(f"{error}: trying again")
                time.sleep(POLL)
                continue
            for line in log.new_lines():
                _show(line, bar)
            if (state := _state(found)) != told:
                told = state
                tqdm.write(f"{job.name}: {state}")
            if found["TrainingJobStatus"] not in (RUNNING, STOPPING):
                bar.n = max(bar.n, steps if found["TrainingJobStatus"] == COMPLETED else 0)
                return found
            time.sleep(POLL)


def _state(found: dict[str, Any]) -> str:
    """The state in SageMaker's words, with its own message."""
    message = next((one.get("StatusMessage", "") for one in found.get("SecondaryStatusTransitions", [])[-1:]), "")
    return f"{found['SecondaryStatus']}" + (f", {message}" if message else "")


def _show(line: str, bar: tqdm) -> None:
    """Move the bar by a line of figures, print another line."""
    if not (step := STEP.match(line)):
        tqdm.write(f"  {line}")
        return
    figures = dict(part.split("=", 1) for part in line.split() if "=" in part)
    bar.n = int(step[1])
    bar.set_postfix({name: figures[key] for name, key in SHOWN.items() if key in figures})
