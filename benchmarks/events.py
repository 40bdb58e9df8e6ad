"""The live edge: photos a second, memory and cold start of the worker and of the handler, beside a plain loop.

python -m benchmarks.events --photos 24 --megapixels 24

S3 and SQS are moto's, on the same cores. The plain loop is what such functions do as a rule: open, resize, save, one by
one, with files on the disk, and without a thought of colour profiles, orientation or what is no photo.

With a model, one process deblurs a photo on all cores. What several at a time gain is then told from one core, too.
"""

import argparse
import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import psutil
from PIL import Image

from benchmarks.lambda_runtime import Function
from deblurgan.errors import UserError, reported

ROOT = Path(__file__).parents[1]
BUCKETS = SOURCE, RESIZED, DEBLURRED = "live-source", "live-resized", "live-deblurred"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
PASSES = 3
"""Of each measurement, the fastest of which counts: other work on the machine makes all of them slower."""
SIDE = 512
"""Of what the plain loop makes, pixels: that of the default parameters."""


def photo(megapixels: float) -> bytes:
    """A JPEG of so many pixels, 3:2, with details at all scales."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(height * 1.5)
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (height // 64, width // 64, 3), dtype=np.uint8))
    coarse = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    fine = rng.integers(0, 24, (height, width, 1), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse // 8 * 7 + fine).save(stream, "JPEG", quality=90)
    return stream.getvalue()


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A server of moto, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None:
                raise UserError("moto's server does not start: python -m pip install -r requirements-dev.txt")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def bodies(count: int) -> list[str]:
    """What S3 says about so many photos."""
    return [
        json.dumps(
            {
                "Records": [
                    {
                        "eventName": "ObjectCreated:Put",
                        "s3": {"bucket": {"name": SOURCE}, "object": {"key": f"photos/{i}.jpg"}},
                    }
                ]
            }
        )
        for i in range(count)
    ]


def peak(process: psutil.Process) -> float:
    """The most memory that a process has had, MB; 0 if it has ended."""
    with contextlib.suppress(OSError, psutil.Error):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def worker(
    number: int, sqs: Any, photos: int, environment: dict[str, str], params: Path, cores: set[int] | None = None
) -> tuple[float, float]:
    """Photos a second of so many processes, all of which wait for the first; the most memory of one, MB.

    `params`: the file of parameters; `cores`: those that they may use; all without it.
    """
    queue = sqs.create_queue(QueueName="arrivals", Attributes=dead_letters(sqs))["QueueUrl"]
    options = ["--queue", queue, "--workers", str(number), "--params", str(params)]
    command = [sys.executable, "-m", "deblurgan", "events", *options]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
    )
    assert process.stdout
    try:
        while asking(process.pid) < number:
            time.sleep(0.05)
        began = time.monotonic()
        for body in bodies(photos):
            sqs.send_message(QueueUrl=queue, MessageBody=body)
        done, most = 0, 0.0
        for line in process.stdout:
            said = json.loads(line)
            if said["outcome"] == "resized":
                done += 1
                most = max([most, *map(peak, psutil.Process(process.pid).children())])
                if done == photos:
                    return photos / (time.monotonic() - began), most
            elif said["outcome"] != "started":
                raise SystemExit(line)
    finally:
        process.terminate()
        process.wait()
        sqs.delete_queue(QueueUrl=queue)
    raise SystemExit("the worker has ended")


def asking(pid: int) -> int:
    """How many processes of a worker ask the queue for messages."""
    with contextlib.suppress(psutil.Error):
        return sum(bool(child.net_connections()) for child in psutil.Process(pid).children())
    return 0


def dead_letters(sqs: Any) -> dict[str, str]:
    """What a queue needs to lay aside what fails."""
    queue = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})}


def handler(package: Path, photos: int, environment: dict[str, str]) -> dict[str, float]:
    """Figures of the handler under AWS's runtime client."""
    name = "deblurgan.events.aws_lambda.handler"
    starts = []
    for _ in range(PASSES):
        with Function(name, package, environment) as function:
            ready = function.wait_until_ready()
            starts.append(ready)
    with Function(name, package, environment) as function:
        function.wait_until_ready()
        began = time.monotonic()
        for body in bodies(photos):
            kind, answer = function.call({"Records": [{"messageId": "m", "body": body}]})
            if (kind, answer) != ("response", {"batchItemFailures": []}):
                raise SystemExit(f"{kind}: {answer}")
        seconds = time.monotonic() - began
        memory = peak(psutil.Process(function.process.pid))
    return {"start": min(starts), "rate": photos / seconds, "memory": memory}


def plain(data: bytes, photos: int) -> float:
    """Photos a second of the plain loop."""
    with tempfile.TemporaryDirectory() as folder:
        for i in range(photos):
            Path(folder, f"{i}.jpg").write_bytes(data)
        began = time.monotonic()
        for i in range(photos):
            with Image.open(f"{folder}/{i}.jpg") as image:
                image.resize((SIDE, SIDE)).save(f"{folder}/{i}.png")
        return photos / (time.monotonic() - began)


def empty(client: Any) -> None:
    """Remove all results."""
    for bucket in (RESIZED, DEBLURRED):
        for entry in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=entry["Key"])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description=__doc__)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--model", type=Path, help="exported generator: photos are deblurred, too")
    parser.add_argument(
        "--package", type=Path, default=ROOT, help="what make lambda made for this machine (default: this repository)"
    )
    options = parser.parse_args()
    package = options.package.absolute()  # and no link followed: the handler takes the params.yaml beside its code
    data = photo(options.megapixels)
    print(
        f"{options.photos} JPEGs of {options.megapixels:g} MP, {len(data) / 1e6:.1f} MB each, {os.cpu_count()} cores\n"
    )
    print("| | photos a second | memory, MB | start, s |\n| --- | --- | --- | --- |", flush=True)
    rate = plain(data, options.photos)
    print(f"| plain loop, files | {rate:.2f} | | |", flush=True)
    with server() as address:
        environment = {**os.environ, **KEYS, "AWS_ENDPOINT_URL": address, "DEBLURGAN_RESIZED": RESIZED}
        if options.model:
            environment |= {"DEBLURGAN_DEBLURRED": DEBLURRED, "DEBLURGAN_MODEL": str(options.model.resolve())}
        keys = {name.lower(): value for name, value in KEYS.items() if name != "AWS_DEFAULT_REGION"}
        s3, sqs = (
            boto3.client(service, endpoint_url=address, region_name=KEYS["AWS_DEFAULT_REGION"], **keys)
            for service in ("s3", "sqs")
        )
        for bucket in BUCKETS:
            s3.create_bucket(Bucket=bucket)
        for i in range(options.photos):
            s3.put_object(Bucket=SOURCE, Key=f"photos/{i}.jpg", Body=data)
        ways: list[tuple[str, int, set[int] | None]] = [("one at a time", 1, None), ("two at a time", 2, None)]
        if options.model and hasattr(os, "sched_getaffinity"):  # one process deblurs on all cores; macOS has no such
            ways.insert(0, ("one at a time, on one core", 1, {min(os.sched_getaffinity(0))}))
        rates: dict[str, list[float]] = {name: [] for name, _, _ in ways}
        memory = 0.0
        for _ in range(PASSES):
            for name, number, cores in ways:
                rate, most = worker(number, sqs, options.photos, environment, package / "params.yaml", cores)
                rates[name].append(rate)
                memory = max(memory, most)
                empty(s3)
        best = {name: max(found) for name, found in rates.items()}
        for name, rate in best.items():
            print(f"| worker, {name} | {rate:.2f} | {memory:.0f} each | |", flush=True)
        found = handler(package, options.photos, environment)
        print(f"| handler | {found['rate']:.2f} | {found['memory']:.0f} | {found['start']:.2f} |")
    print()
    two = best.pop("two at a time")
    for name, rate in best.items():
        print(f"two at a time: {two / rate:.2f} times {name} (at least 1.8)")
    print(f"cold start of the handler: {found['start']:.2f} s (at most 2)")
    print(f"memory of a photo: {max(memory, found['memory']):.0f} MB (at most 512)")


if __name__ == "__main__":
    with reported("events"):
        main()
