"""What a job has made becomes the outputs of the stage."""

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.files import new_directory, new_file
from deblurgan.s3 import client, explained, parse
from deblurgan.training.run import Outputs

MOST = 20e9
"""Bytes that the results of a training never have."""


def names_of(outputs: Outputs) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files that every training leaves, and beginnings of the names of all that it may leave."""
    whole = (outputs.model.as_posix(), outputs.metrics.as_posix())
    return whole, (*whole, outputs.speed.as_posix(), f"{outputs.curves.as_posix()}/plots/")


def fetch(found: dict[str, Any], outputs: Outputs) -> bool:
    """Bring the outputs of a job that has completed to their places.

    Parameters
    ----------
    found
        What SageMaker says about the job.
    outputs
        Where they belong; earlier ones are replaced when all have arrived.

    Returns
    -------
    bool
        Whether they were there: somebody may have deleted them from the bucket.

    Raises
    ------
    UserError
        They cannot be downloaded, or are not those of a training.
    """
    from botocore.exceptions import ClientError

    address = parse(found["ModelArtifacts"]["S3ModelArtifacts"], "model of the job")
    s3 = client()
    with tempfile.TemporaryDirectory(dir=".", prefix=".sagemaker.") as folder:
        archive = Path(folder, "model.tar.gz")
        with explained(address):
            try:
                size = s3.head_object(Bucket=address.bucket, Key=address.key)["ContentLength"]
            except ClientError as error:
                if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                    return False
                raise
            with tqdm(total=size, desc="model", unit="B", unit_scale=True) as bar:
                s3.download_file(address.bucket, address.key, str(archive), Callback=bar.update)
        whole, allowed = names_of(outputs)
        unpack(archive, Path(folder), allowed)
        for name in whole:
            if not Path(folder, name).is_file():
                raise UserError(f"{address} holds no {name}: the job has run something else than this training")
        _place(Path(folder), outputs)
    return True


def unpack(archive: Path, folder: Path, allowed: tuple[str, ...]) -> None:
    """Unpack the files whose names begin in one of these ways; nothing else leaves the archive.

    Raises
    ------
    UserError
        The archive is damaged, or larger than results ever are.
    """
    try:
        with gzip.open(archive) as stream:  # to its end, where its checksum is
            while stream.read(1 << 20):
                pass
        with tarfile.open(archive, "r:gz") as members:
            total = 0
            for member in members:
                name = PurePosixPath(member.name.removeprefix("./"))
                total += member.size
                if total > MOST:
                    raise UserError(f"{archive.name} of the job holds more than {MOST / 1e9:.0f} GB")
                if member.isfile() and ".." not in name.parts and str(name).startswith(allowed):
                    source, target = members.extractfile(member), folder / name
                    assert source is not None  # as it is a file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with source, open(target, "wb") as out:
                        shutil.copyfileobj(source, out)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # a fault of the disk
            raise
        raise UserError(f"{archive.name} of the job is damaged ({error})") from None


def _place(folder: Path, outputs: Outputs) -> None:
    """Put files where they belong, the generator last: it says that a training is complete."""
    outputs.curves.parent.mkdir(parents=True, exist_ok=True)
    with new_directory(outputs.curves) as curves:
        shutil.copytree(folder / outputs.curves, curves, dirs_exist_ok=True)
    outputs.speed.unlink(missing_ok=True)  # of another training
    for path in (outputs.speed, outputs.metrics, outputs.model):
        if (folder / path).exists():
            with new_file(path) as partial:
                os.replace(folder / path, partial)
