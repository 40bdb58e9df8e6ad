"""The stage `train` on SageMaker (DEBLURGAN_TRAIN=sagemaker): a job is submitted or found, waited for, brought back."""

import sys
from pathlib import Path
from typing import Any

from deblurgan.errors import UserError
from deblurgan.params import Params
from deblurgan.sagemaker.bundle import local_files, upload
from deblurgan.sagemaker.job import COMPLETED, RUNNING, STOPPING, Job, described, key_of, latest, stop, submit
from deblurgan.sagemaker.naming import name_of
from deblurgan.sagemaker.results import fetch
from deblurgan.sagemaker.settings import Settings, read_settings
from deblurgan.sagemaker.watching import wait
from deblurgan.training.run import Outputs


def main(p: Params, data: Path, outputs: Outputs) -> None:
    """Train there what would be trained here.

    Parameters
    ----------
    p
        All parameters.
    data
        Folder with the pairs of `train` and `val`.
    outputs
        Where the results belong.

    Raises
    ------
    UserError
        The settings, the data or the account do not suffice, the job fails, or somebody stops it.
    """
    settings = read_settings()
    p, files = local_files(p)
    name = name_of(p, data)
    key = key_of(name, p, settings)
    job = latest(key)
    if job and job.status == COMPLETED:
        print(f"{job.name} has trained this already")
        if fetch(described(job), outputs):
            return
        print("but its model is no longer in the bucket")
    if job and job.status in (RUNNING, STOPPING):
        print(f"coming back to {job.name}")
    else:
        if job and job.status != COMPLETED:
            print(f"{job.name} is {job.status}: going on from its last checkpoint")
        sent = upload(p, files, data, settings.address)
        job = submit(key, job.attempt + 1 if job else 1, p, settings, sent, name)
        print(in_words(job, settings))
    try:
        found = wait(job, p.train.steps)
    except KeyboardInterrupt:
        raise _left(job) from None
    _refuse_failed(job, found)
    if not fetch(found, outputs):
        raise UserError(f"{job.name} has completed, and its model is not in the bucket: run it again")


def in_words(job: Job, settings: Settings) -> str:
    """What has been submitted."""
    price = f"spare machine, waiting at most {settings.patience:g} hours" if settings.spot else "on demand"
    return f"submitted {job.name}: {settings.instance} ({price}), at most {settings.hours:g} hours"


def _refuse_failed(job: Job, found: dict[str, Any]) -> None:
    status = found["TrainingJobStatus"]
    if status != COMPLETED:
        reason = " ".join(found.get("FailureReason", "").split()) or found["SecondaryStatus"]
        raise UserError(f"{job.name} is {status} ({reason}): run it again, and it goes on from its last checkpoint")


def _left(job: Job) -> UserError:
    """Ask whether a job shall go on without anybody watching; what to say at the end."""
    answer = ""
    if sys.stdin and sys.stdin.isatty():
        try:
            answer = input(f"\nShall {job.name} go on? [Y/n] ")
        except (EOFError, KeyboardInterrupt):
            print()
    if answer.strip().lower().startswith("n"):
        stop(job)
        return UserError(f"{job.name} is being stopped: run it again, and it goes on from its last checkpoint")
    return UserError(f"{job.name} goes on, and costs: run it again to come back to it, or to stop it by Ctrl-C")
