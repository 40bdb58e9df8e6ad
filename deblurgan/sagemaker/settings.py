"""deploy/sagemaker.yaml: where trainings run. Nothing in it determines a result."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from deblurgan.errors import UserError
from deblurgan.params import Section
from deblurgan.s3 import Address, parse
from deblurgan.yaml_files import read_yaml

FILE = Path("deploy/sagemaker.yaml")


class Settings(Section):
    """All of deploy/sagemaker.yaml, which explains each key."""

    store: Annotated[str, Field(pattern=r"^s3://")]
    role: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$")]
    image: Annotated[str, Field(min_length=1, max_length=255)]
    instance: Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")]
    volume: Annotated[int, Field(ge=1, le=16384)]
    hours: Annotated[float, Field(gt=0, le=672)]
    spot: bool
    patience: Annotated[float, Field(ge=0, le=672)]

    @property
    def address(self) -> Address:
        """Where data, checkpoints and models of trainings lie."""
        return parse(self.store, f"{FILE}: store")


def read_settings(path: Path = FILE) -> Settings:
    """Read and check the settings.

    Raises
    ------
    UserError
        A key is missing, unknown or impossible.
    """
    values = read_yaml(path)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        given = f" = {values[key]!r}" if key in values else ""
        raise UserError(
            f"{path}: {key}{given}: {first['msg'][0].lower()}{first['msg'][1:]}; docs/sagemaker.md"
        ) from None
