"""With what the live edge works: buckets, parameters, code and model, all of which its results name."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deblurgan import s3
from deblurgan.errors import UserError
from deblurgan.events.deblurring import Deblurrer, load_deblurrer
from deblurgan.params import Clean, Params, Resize, load

ROOT = Path(__file__).parents[2]
"""Of the repository, or of the package that AWS Lambda runs, where params.yaml lies."""
REVISION = "REVISION"
"""File in the package that says which code it is."""
DIRTY = "-dirty"
"""End of a revision whose code was changed since."""
RESIZED, DEBLURRED, MODEL = "DEBLURGAN_RESIZED", "DEBLURGAN_DEBLURRED", "DEBLURGAN_MODEL"
"""Environment variables: the buckets of resized and of deblurred photos, the exported generator."""


@dataclass(frozen=True)
class Settings:
    """How objects are processed.

    Parameters
    ----------
    clean, resize
        Sections of the parameters.
    revision
        Of the code.
    resized
        Bucket of the resized photos and of the reports on refused ones.
    deblurred, deblur
        Bucket of the deblurred photos, and what deblurs them; both or none.
    client
        Of S3, as boto3 makes it.
    """

    clean: Clean
    resize: Resize
    revision: str
    resized: str
    deblurred: str | None = None
    deblur: Deblurrer | None = None
    client: Any = field(default_factory=s3.client, repr=False)

    @property
    def destinations(self) -> list[str]:
        """The buckets that are written to."""
        return [bucket for bucket in (self.resized, self.deblurred) if bucket]

    def history(self, etag: str) -> dict[str, str]:
        """What a result is made of, as metadata of its object.

        Parameters
        ----------
        etag
            Of the source.
        """
        return {"source-etag": etag, "code-revision": self.revision, "parameters-sha256": self.parameters_sha256}

    @property
    def parameters_sha256(self) -> str:
        """Hash of the parameters on which a result depends."""
        values = {"clean": self.clean.model_dump(mode="json"), "resize": self.resize.model_dump(mode="json")}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def is_definite(self) -> bool:
        """Whether the revision says all about the code, so that what it made already need not be made again."""
        return bool(self.revision) and not self.revision.endswith(DIRTY)


def settings_of(
    resized: str, deblurred: str | None, model: Path | None, params: Params, threads: int | None = None
) -> Settings:
    """Put the settings of this code together; so many threads deblur a photo, as many as there are cores by default.

    Raises
    ------
    UserError
        A bucket without the model that fills it, or the reverse; one bucket for both; a model that cannot be run.
    """
    if bool(deblurred) != bool(model):
        given, missing = (DEBLURRED, MODEL) if deblurred else (MODEL, DEBLURRED)
        raise UserError(f"{given} is given without {missing}: deblurring needs both a bucket and an exported generator")
    if resized == deblurred:
        raise UserError(f"{resized} is to hold both resized and deblurred photos: name two buckets")
    deblur = load_deblurrer(model, threads) if model else None
    return Settings(params.clean, params.resize, code_revision(), resized, deblurred or None, deblur)


def settings_from(environment: Mapping[str, str] = os.environ, root: Path = ROOT) -> Settings:
    """The settings that environment variables name, with the parameters of the code's own params.yaml.

    Raises
    ------
    UserError
        A variable is missing; see also `settings_of`.
    """
    if not environment.get(RESIZED):
        raise UserError(f"{RESIZED} is not set: it names the bucket of the resized photos")
    model = environment.get(MODEL)
    path = root / model if model else None  # a relative one is of the package
    return settings_of(environment[RESIZED], environment.get(DEBLURRED), path, load(root / "params.yaml"))


def code_revision(root: Path = ROOT) -> str:
    """The git revision of the code, with `-dirty` where it was changed since; `unknown-dirty` outside of git."""
    if (root / REVISION).is_file():
        return (root / REVISION).read_text(encoding="utf-8").strip()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "deblurgan")
        return git("rev-parse", "HEAD") + (DIRTY if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"unknown{DIRTY}"
