"""SageMaker's part of a training job: the channels, the container in a folder like /opt/ml, the log, the model."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from aws import REGION, client
from moto.sagemaker.models import FakeTrainingJob, sagemaker_backends

ACCOUNT = "123456789012"
GROUP = "/aws/sagemaker/TrainingJobs"
Moment = Callable[[Path], bool]
"""Whether a machine is to be taken away now; it is given the folder like /opt/ml."""


class Platform:
    """Runs the jobs that moto only writes down.

    Parameters
    ----------
    endpoint
        Of moto, in this process.
    folder
        Where machines get their folders.
    requests
        Arguments of CreateTrainingJob as they were sent: moto forgets some. Whoever submits fills it.
    """

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.s3, self.logs = client("s3", endpoint), client("logs", endpoint)
        self.folder, self.requests = folder, {}
        self.interruptions: list[tuple[Moment, int]] = []
        self.machines = 0
        self.held = False  # jobs wait for a machine
        self.printed: list[str] = []
        self.canned: dict[str, bytes] | None = None  # what a job leaves that needs no machine
        self.exits: list[int] = []
        self.kept: dict[Path, tuple[int, int]] = {}
        self.logs.create_log_group(logGroupName=GROUP)

    @contextlib.contextmanager
    def running(self) -> Iterator["Platform"]:
        """Run jobs that are submitted meanwhile."""
        born, ended, faults = FakeTrainingJob.__init__, threading.Event(), []

        def begin(job, *arguments, **values):
            born(job, *arguments, **values)
            job.training_job_status, job.secondary_status, job.secondary_status_transitions = (
                "InProgress",
                "Starting",
                [],
            )

        def serve() -> None:
            while not ended.wait(0.05):
                for job in () if self.held else self.jobs():
                    if job.training_job_status == "InProgress" and job.training_job_name in self.requests:
                        try:
                            self.run(job)
                        except BaseException as error:
                            faults.append(error)
                            self.end(job, "Failed", f"the platform itself: {error!r}")

        FakeTrainingJob.__init__ = begin
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()
            FakeTrainingJob.__init__ = born
        assert not faults, faults

    @staticmethod
    def jobs() -> list[FakeTrainingJob]:
        return list(sagemaker_backends[ACCOUNT][REGION].training_jobs.values())

    @staticmethod
    def end(job: FakeTrainingJob, status: str, reason: str = "") -> None:
        if reason:
            job.failure_reason = reason
        job.secondary_status = status
        job.training_job_status = status

    def run(self, job: FakeTrainingJob) -> None:
        """All of a job, on as many machines as it takes."""
        request = self.requests[job.training_job_name]
        stream = f"{job.training_job_name}/algo-1-1"
        self.logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        status = 0
        while True:
            home = self.machine(request, channels=self.canned is None)
            job.secondary_status = "Training"
            moment, number = self.interruptions.pop(0) if self.interruptions else (None, 0)
            if self.canned is not None:
                for name, content in self.canned.items():
                    (home / "model" / name).parent.mkdir(parents=True, exist_ok=True)
                    (home / "model" / name).write_bytes(content)
                break
            status = self.compute(request, home, stream, moment, number)
            self.exits.append(status)
            if moment is None or status == 0:
                break
            job.secondary_status = "Interrupted"
        failure = home / "output/failure"
        if status:
            self.end(
                job, "Failed", f"AlgorithmError: {failure.read_text() if failure.exists() else ''}, exit code: {status}"
            )
            return
        archive = home / "model.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(home / "model", ".")
        self.s3.upload_file(str(archive), *located(job.model_artifacts["S3ModelArtifacts"]))
        self.end(job, "Completed")

    def machine(self, request: dict, *, channels: bool) -> Path:
        """A new folder like /opt/ml, with channels, configuration and the checkpoints of the machine before."""
        self.machines += 1
        home = self.folder / f"machine {self.machines}/opt/ml"
        for name in ("input/config", "model", "output", "checkpoints"):
            (home / name).mkdir(parents=True)
        (home / "input/config/hyperparameters.json").write_text(json.dumps(request["HyperParameters"]))
        older = home.parents[1] / "app/deblurgan"  # the image's own code, in its working directory
        older.mkdir(parents=True)
        (older / "__init__.py").write_text("raise SystemExit('the code of the image runs')")
        for channel in request["InputDataConfig"] if channels else ():
            source = channel["DataSource"]["S3DataSource"]["S3Uri"]
            assert self.download(source, home / "input/data" / channel["ChannelName"]), source
        self.download(request["CheckpointConfig"]["S3Uri"] + "/", home / "checkpoints")
        return home

    def compute(self, request: dict, home: Path, stream: str, moment: Moment | None, number: int) -> int:
        """Run the container's command; its exit status."""
        how, own = request["AlgorithmSpecification"], {"PYTHONPATH", "PYTHONSAFEPATH", "DEBLURGAN_CACHE"}
        env = {name: value for name, value in os.environ.items() if name not in own and not name.startswith("AWS_")}
        env |= {name: value.replace("/opt/ml", str(home)) for name, value in request["Environment"].items()}
        interpreter, *rest = how["ContainerEntrypoint"]
        assert interpreter == "python"
        process = subprocess.Popen(
            [sys.executable, *rest, str(home)], cwd=home.parents[1] / "app", env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        reader = threading.Thread(target=self.read, args=(process, stream))
        reader.start()
        told = False
        while process.poll() is None:
            self.keep(request, home)
            if moment and not told and moment(home):
                process.send_signal(number)
                told = True
            time.sleep(0.05)
        reader.join()
        if number != signal.SIGKILL:  # SageMaker gives two minutes after SIGTERM
            self.keep(request, home)
        return process.returncode

    def read(self, process: subprocess.Popen, stream: str) -> None:
        for line in process.stdout:
            self.printed.append(line.rstrip("\n"))
            if line.strip():
                event = {"timestamp": int(time.time() * 1000), "message": line.rstrip("\n")}
                self.logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=[event])

    def keep(self, request: dict, home: Path) -> None:
        """Copy the checkpoints to the bucket, as they are at this moment."""
        bucket, key = located(request["CheckpointConfig"]["S3Uri"])
        for path in sorted((home / "checkpoints").rglob("*")):
            with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
                stat = path.stat()
                if path.is_file() and self.kept.get(path) != (stat.st_mtime_ns, stat.st_size):
                    self.kept[path] = (stat.st_mtime_ns, stat.st_size)
                    name = f"{key}/{path.relative_to(home / 'checkpoints').as_posix()}"
                    self.s3.put_object(Bucket=bucket, Key=name, Body=path.read_bytes())

    def download(self, address: str, folder: Path) -> int:
        bucket, prefix = located(address)
        count = 0
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for one in page.get("Contents", []):
                target = folder / one["Key"].removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                self.s3.download_file(bucket, one["Key"], str(target))
                count += 1
        return count


def located(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.netloc, parts.path.lstrip("/")
