"""Training jobs: submitted, found again by the name of their training, and stopped."""

import os
import re
from dataclasses import dataclass
from typing import Any

from deblurgan import backend
from deblurgan.params import Params
from deblurgan.s3 import Address, client, explained
from deblurgan.sagemaker.naming import METRICS, TRAINING, pattern
from deblurgan.sagemaker.settings import Settings
from deblurgan.training.checkpoints import fingerprint

SERVICE = "SageMaker"
COMMAND = ["python", "-m", "deblurgan.sagemaker.container"]
INPUT, CHECKPOINTS = "/opt/ml/input/data", "/opt/ml/checkpoints"
"""Where SageMaker puts the channels, and the folder that it keeps in the store."""
CODE = {"PYTHONPATH": f"{INPUT}/code", "PYTHONSAFEPATH": "1"}
"""Environment of the code that is sent: without the second, the image's working directory, and its code, come first."""
RUNNING, STOPPING, COMPLETED = "InProgress", "Stopping", "Completed"


@dataclass(frozen=True)
class Job:
    """A training job; `status` is SageMaker's word, `attempt` counts from 1."""

    name: str
    attempt: int
    status: str


def key_of(name: str, p: Params, settings: Settings) -> str:
    """Name the jobs of a training, `deblurgan-<hash>`.

    With `train.deterministic` also by image and kind of machine, which change the last bits.

    Parameters
    ----------
    name
        See `naming.name_of`.
    p, settings
        All parameters, and where the training runs.
    """
    machine = [settings.image, settings.instance] if p.train.deterministic else []
    return f"deblurgan-{fingerprint([name, *machine])}"


def latest(key: str) -> Job | None:
    """The last job of a training; None if there is none.

    Raises
    ------
    UserError
        SageMaker does not answer, or refuses.
    """
    jobs = []
    with explained(SERVICE):
        pages = client("sagemaker").get_paginator("list_training_jobs").paginate(NameContains=key)
        for found in (one for page in pages for one in page["TrainingJobSummaries"]):
            if number := re.fullmatch(rf"{key}-(\d+)", found["TrainingJobName"]):
                jobs.append(Job(found["TrainingJobName"], int(number[1]), found["TrainingJobStatus"]))
    return max(jobs, key=lambda job: job.attempt, default=None)


def described(job: Job, sagemaker: Any = None) -> dict[str, Any]:
    """All that SageMaker says about a job; `sagemaker`: a client, for who asks often.

    Raises
    ------
    UserError
        SageMaker does not answer, or refuses.
    """
    with explained(f"{SERVICE}, {job.name}"):
        return (sagemaker or client("sagemaker")).describe_training_job(TrainingJobName=job.name)


def submit(key: str, attempt: int, p: Params, settings: Settings, sent: dict[str, Address], name: str) -> Job:
    """Submit a job, which goes on from the checkpoints of those before it.

    Parameters
    ----------
    key, attempt
        See `key_of`, `Job`.
    p, settings
        All parameters, and where the training runs.
    sent
        Addresses of the channels.
    name
        What the job must find that it computes.

    Raises
    ------
    UserError
        SageMaker does not answer, or refuses: the machine is not in the account's quota, for instance.
    """
    job = Job(f"{key}-{attempt}", attempt, RUNNING)
    with explained(f"{SERVICE}, {job.name}"):
        client("sagemaker").create_training_job(**request(job, p, settings, sent, name, settings.address / key))
    return job


def request(
    job: Job, p: Params, settings: Settings, sent: dict[str, Address], name: str, place: Address
) -> dict[str, Any]:
    """Arguments of `CreateTrainingJob`; `place` is where checkpoints and results lie."""
    seconds = round(3600 * settings.hours)
    spot = {"MaxWaitTimeInSeconds": seconds + round(3600 * settings.patience)} if settings.spot else {}
    switches = {switch: os.environ[switch] for switch in backend.SWITCHES if switch in os.environ}
    return {
        "TrainingJobName": job.name,
        "RoleArn": settings.role,
        "AlgorithmSpecification": {
            "TrainingImage": settings.image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": COMMAND,
            "MetricDefinitions": [{"Name": metric.replace("/", ":"), "Regex": pattern(metric)} for metric in METRICS],
        },
        "HyperParameters": {TRAINING: name, **shown(p)},
        "Environment": {**CODE, "KERAS_BACKEND": backend.BACKEND, **switches},
        "InputDataConfig": [_channel(channel, address) for channel, address in sent.items()],
        "OutputDataConfig": {"S3OutputPath": str(place / "output")},
        "CheckpointConfig": {"S3Uri": str(place / "checkpoints"), "LocalPath": CHECKPOINTS},
        "ResourceConfig": {"InstanceType": settings.instance, "InstanceCount": 1, "VolumeSizeInGB": settings.volume},
        "EnableManagedSpotTraining": settings.spot,
        "StoppingCondition": {"MaxRuntimeInSeconds": seconds, **spot},
        "Tags": [{"Key": "project", "Value": "deblurgan"}],
    }


def _channel(name: str, address: Address) -> dict[str, Any]:
    place = {"S3DataType": "S3Prefix", "S3Uri": f"{address}/", "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": place}}


def shown(p: Params) -> dict[str, str]:
    """Parameters as SageMaker's pages show and compare them; the job itself reads its own params.yaml."""
    sections = {"generator": p.generator, "critic": p.critic, "train": p.train}
    values = {f"{name}.{key}": value for name, s in sections.items() for key, value in s.model_dump().items()}
    return {"seed": str(p.seed), **{key: str(value)[:2500] for key, value in values.items()}}


def stop(job: Job) -> None:
    """Have a job stopped; its last checkpoint stays.

    Raises
    ------
    UserError
        SageMaker does not answer, or refuses.
    """
    with explained(f"{SERVICE}, {job.name}"):
        client("sagemaker").stop_training_job(TrainingJobName=job.name)
