"""What a job gets: code, parameters and pairs, each below an address that a hash of its content names."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.files import files_below, home_expanded, sha256_of
from deblurgan.networks import vgg19
from deblurgan.params import Params
from deblurgan.s3 import Address, client, explained, listed
from deblurgan.threads import at_once
from deblurgan.training.revisions import find_model

ROOT = Path(__file__).parents[2]
CODE = ("deblurgan", "stages")
"""Packages that the job runs."""
AT_ONCE = 16
PARAMS, START, FEATURES = "params.yaml", "start.keras", "vgg19"
"""Names, for the job, of the parameters, the generator to start from, and the weights of VGG19 (any suffix)."""

Files = dict[str, Path]
"""Files by the names that they have for the job."""


@dataclass(frozen=True)
class Channel:
    """Files that the job finds in one folder."""

    name: str
    files: Files

    @property
    def digest(self) -> str:
        """A hash of names and contents."""
        known = hashlib.sha256()
        for name, path in sorted(self.files.items()):
            known.update(f"{sha256_of(path)} {name}\n".encode())
        return known.hexdigest()[:16]


def local_files(p: Params) -> tuple[Params, Files]:
    """Find what parameters name outside of the data.

    Returns
    -------
    p, files
        Parameters with the paths of this machine, and these files.

    Raises
    ------
    UserError
        The generator to start from, or the weights of VGG19, cannot be had.
    """
    files: Files = {}
    changed: dict[str, str] = {}
    if p.train.init_from:
        files[START] = find_model(p.train.init_from, Path("models/generator.keras"))
        changed["init_from"] = str(files[START])
    if p.train.lambda_content:
        path = home_expanded(p.train.vgg_weights) if p.train.vgg_weights else vgg19.download()
        files[FEATURES + path.suffix] = path
        changed["vgg_weights"] = str(path)
    for path in files.values():
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    return _with(p, changed), files


def _with(p: Params, changed: dict[str, str]) -> Params:
    return p.model_copy(update={"train": p.train.model_copy(update=changed)})


def channels(p: Params, files: Files, data: Path, folder: Path) -> list[Channel]:
    """Gather what a job gets.

    Parameters
    ----------
    p, files
        See `local_files`.
    data
        Folder with the pairs of `train` and `val`.
    folder
        Where the parameters are written as the job shall see them.
    """
    names = {"init_from": START} if START in files else {}
    for name in files:
        if name.startswith(FEATURES):
            names["vgg_weights"] = name
    written = folder / PARAMS
    written.write_text(yaml.safe_dump(_with(p, names).model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    code = {path.relative_to(ROOT).as_posix(): path for package in CODE for path in (ROOT / package).rglob("*.py")}
    pairs = [Channel(split, _below(data / split)) for split in ("train", "val")]
    return [Channel("code", code), Channel("run", {PARAMS: written, **files}), *pairs]


def _below(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path for path in files_below(folder)}


def upload(p: Params, files: Files, data: Path, store: Address) -> dict[str, Address]:
    """Upload what is not there yet; the address of each channel.

    Raises
    ------
    UserError
        The store cannot be listed, or refuses a file; what was uploaded stays.
    """
    s3 = client()
    with tempfile.TemporaryDirectory() as folder:
        found = [(one, store / one.name / one.digest) for one in channels(p, files, data, Path(folder))]
        todo = [(path, target / name) for one, target in found for name, path in _missing(s3, one, target)]
        size = sum(path.stat().st_size for path, _ in todo)
        with tqdm(total=size, desc="upload", unit="B", unit_scale=True, disable=not todo) as bar:
            for _, future in at_once(lambda file: _put(s3, *file), todo, AT_ONCE):
                bar.update(future.result())
    return {one.name: target for one, target in found}


def _missing(s3: Any, one: Channel, target: Address) -> Iterator[tuple[str, Path]]:
    prefix = f"{target.key}/"
    there = {found["Key"].removeprefix(prefix): found["Size"] for found in listed(s3, target, prefix)}
    yield from ((name, path) for name, path in one.files.items() if there.get(name) != path.stat().st_size)


def _put(s3: Any, path: Path, target: Address) -> int:
    with explained(target), open(path, "rb") as body:
        s3.put_object(Bucket=target.bucket, Key=target.key, Body=body)
    return path.stat().st_size
