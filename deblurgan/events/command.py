"""`python -m deblurgan events`: a worker that lives as long as you let it."""

import argparse
import json
import os
import sys
from pathlib import Path

from deblurgan import s3
from deblurgan.errors import UserError
from deblurgan.events.handling import log
from deblurgan.events.settings import DEBLURRED, MODEL, RESIZED
from deblurgan.events.supervisor import Supervisor
from deblurgan.events.worker import Work
from deblurgan.parallel import usable_cores

VISIBILITY = range(2, 43201)
"""Seconds that SQS allows, without those that are too short to be renewed in time."""


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deblurgan events",
        description="Process photos as they arrive in a bucket that tells a queue about them: clean, resize and deblur "
        "them as the pipeline does, into buckets of their own. One line of JSON says what became of each.",
        epilog="Credentials, region and endpoint come from the usual AWS variables. Ctrl-C or SIGTERM ends it when the "
        "photos under way are done. See docs/aws.md.",
    )
    environment = os.environ.get
    parser.add_argument("--queue", required=True, metavar="URL", help="address of the SQS queue")
    parser.add_argument(
        "--resized",
        default=environment(RESIZED),
        metavar="BUCKET",
        help=f"bucket of the resized photos, and of rejected/ (default: {RESIZED})",
    )
    parser.add_argument(
        "--deblurred",
        default=environment(DEBLURRED),
        metavar="BUCKET",
        help=f"bucket of the deblurred photos (default: {DEBLURRED}, or none)",
    )
    parser.add_argument(
        "--model",
        default=environment(MODEL) or None,
        type=Path,
        metavar="ONNX",
        help=f"exported generator that deblurs them (default: {MODEL}, or none)",
    )
    parser.add_argument("--params", type=Path, default="params.yaml", help="parameters (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="photos at a time (default: %(default)s)")
    parser.add_argument(
        "--visibility",
        type=int,
        default=60,
        metavar="SECONDS",
        help="after so long the photo of a killed process comes again (default: %(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="end when the queue is empty: for cron")
    options = parser.parse_args(arguments)
    if not options.resized:
        parser.error(f"--resized, or {RESIZED}, must name the bucket of the resized photos")
    if options.workers < 1:
        parser.error("--workers must be 1 or more")
    if options.visibility not in VISIBILITY:
        parser.error(f"--visibility must be {VISIBILITY.start} to {VISIBILITY.stop - 1} seconds")
    return options


def check(what: Work) -> None:
    """Refuse to start where the first message would fail.

    Raises
    ------
    UserError
        The parameters, the model, a bucket or the queue are not as they should be.
    """
    settings = what.settings()
    for bucket in settings.destinations:
        with s3.explained(f"s3://{bucket}"):
            settings.client.head_bucket(Bucket=bucket)
    with s3.explained(what.queue):
        found = s3.client("sqs").get_queue_attributes(QueueUrl=what.queue, AttributeNames=["RedrivePolicy"])
    policy = json.loads(found.get("Attributes", {}).get("RedrivePolicy", "{}"))
    if not policy.get("deadLetterTargetArn"):
        print(
            f"events: warning: {what.queue} has no dead-letter queue: what fails is tried again and again",
            file=sys.stderr,
        )


def main(arguments: list[str]) -> None:
    """Work."""
    options = read_options(arguments)
    what = Work(
        options.queue,
        options.resized,
        options.deblurred,
        options.model,
        options.params,
        options.visibility,
        options.once,
        max(1, usable_cores() // options.workers),
    )
    check(what)
    log("started", queue=options.queue, workers=options.workers)
    supervisor = Supervisor(what, options.workers)
    counts = supervisor.run()
    log("ended", **dict(sorted(counts.items())))
    if options.once and (lost := counts["failed"] + counts["worker ended"]):
        raise UserError(f"{lost} messages failed: they come again, or lie in the dead-letter queue")
