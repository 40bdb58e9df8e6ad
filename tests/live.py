"""Buckets, a queue that is told what arrives, and workers: the live edge on moto's server."""

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import aws
import numpy as np
import psutil
from conftest import PARAMS, ROOT
from PIL import Image

from deblurgan.events.settings import Settings
from deblurgan.params import load

SOURCE, RESIZED, DEBLURRED = "live-source", "live-resized", "live-deblurred"


@dataclass
class Live:
    """The buckets and the queue at an address."""

    address: str
    source: str = SOURCE
    resized: str = RESIZED
    deblurred: str = DEBLURRED
    queue: str = ""
    dead: str = ""

    def client(self, service: str, key: str = "test", secret: str = "test"):
        return aws.client(service, self.address, key, secret)

    def create(self, receives: int = 5) -> "Live":
        """Make the buckets and queues; the source bucket tells the queue what arrives below photos/.

        What is received so often in vain is laid aside.
        """
        self.s3, self.sqs = self.client("s3"), self.client("sqs")
        for bucket in (self.source, self.resized, self.deblurred):
            self.s3.create_bucket(Bucket=bucket)
        self.dead = self.sqs.create_queue(QueueName="dead")["QueueUrl"]
        policy = {"deadLetterTargetArn": self.arn(self.dead), "maxReceiveCount": receives}
        attributes = {"RedrivePolicy": json.dumps(policy)}
        self.queue = self.sqs.create_queue(QueueName="arrivals", Attributes=attributes)["QueueUrl"]
        how = {
            "QueueArn": self.arn(self.queue),
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "photos/"}]}},
        }
        self.s3.put_bucket_notification_configuration(
            Bucket=self.source, NotificationConfiguration={"QueueConfigurations": [how]}
        )
        return self

    def arn(self, queue: str) -> str:
        found = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        return found["Attributes"]["QueueArn"]

    def put(self, key: str, data: bytes) -> None:
        self.s3.put_object(Bucket=self.source, Key=key, Body=data)

    def bodies(self) -> list[str]:
        """Take all messages off the queue, and leave out the one with which S3 has tested it."""
        found = []
        while messages := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found += [message["Body"]] if "s3:TestEvent" not in message["Body"] else []
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def waiting(self, queue: str) -> int:
        """Messages in a queue, seen or unseen."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def keys(self, bucket: str) -> set[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {entry["Key"] for page in pages for entry in page.get("Contents", ())}

    def read(self, bucket: str, key: str) -> bytes:
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def contents(self, bucket: str) -> dict[str, bytes]:
        return {key: self.read(bucket, key) for key in self.keys(bucket)}

    def settings(self, **changes) -> Settings:
        """Settings of processing in this process, with the tests' parameters and images of 64 pixels."""
        p = load(PARAMS)
        resize = p.resize.model_copy(update={"width": 64, "height": 64})
        said = {"clean": p.clean, "resize": resize, "revision": "1" * 40, "resized": self.resized, "client": self.s3}
        return Settings(**{**said, **changes})

    def environment(self, **more: str) -> dict[str, str]:
        own = {"PYTHONPATH": str(ROOT), "DEBLURGAN_RESIZED": self.resized}
        return {**os.environ, **aws.environment(self.address), **own, **more}

    def worker(self, *arguments: str, cwd: Path, **more: str) -> "Worker":
        """Start `python -m deblurgan events`."""
        command = [sys.executable, "-m", "deblurgan", "events", "--queue", self.queue, *map(str, arguments)]
        return Worker(command, cwd, self.environment(**more))


class Worker(subprocess.Popen):
    """A process that writes into files: nobody needs to read them for it to go on."""

    def __init__(self, command: list[str], cwd: Path, environment: dict[str, str]):
        number = len(list(cwd.glob("*.said")))
        self.said, self.complaints = cwd / f"{number}.said", cwd / f"{number}.complaints"
        with open(self.said, "w") as said, open(self.complaints, "w") as errors:
            super().__init__(command, cwd=cwd, env=environment, stdout=said, stderr=errors)

    def lines(self) -> list[dict]:
        """Whole lines of its log so far."""
        return [json.loads(line) for line in self.said.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def finish(self, code: int = 0, seconds: float = 120) -> tuple[list[dict], str]:
        """Wait for its own end; its lines of log, and what it said on standard error."""
        ended = self.wait(seconds)
        assert ended == code, self.said.read_text() + self.complaints.read_text()
        return self.lines(), self.complaints.read_text()

    def children(self) -> list[psutil.Process]:
        """Its processes that work."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children()
            return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        return []


def picture(seed: int, kind: str = "PNG", size: tuple[int, int] = (96, 72), mode: str = "RGB", **options) -> bytes:
    """A photo that differs from every other one."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(small).resize(size).convert(mode).save(stream, kind, **options)
    return stream.getvalue()
