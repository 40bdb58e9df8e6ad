"""Trainings as git and DVC keep them: scores, loss curves and test panels of commits and experiments.

Everything is read through `dvc.api`, and from this machine alone: what DVC's cache lacks is said, not fetched.
"""

import csv
import functools
import io
import json
import re
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from deblurgan.errors import UserError

SCORES = "metrics/evaluate.json"
CURVES = "metrics/train/plots/metrics"
PANELS = "metrics/evaluate/panels"
LIMIT = 40
"""Commits that are looked at: the newest commits that changed the scores."""
EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(.+)")
"""Where DVC keeps finished experiments."""

NOWHERE = ".dvc/tmp/no-remote"
LOCK = threading.Lock()
"""DVC is used by one thread at a time."""


@dataclass(frozen=True)
class Training:
    """A commit or an experiment with scores.

    Parameters
    ----------
    rev
        Its hash.
    name
        Short hash, or the experiment's name.
    date, subject
        Of the commit.
    scores
        Of `metrics/evaluate.json`.
    """

    rev: str
    name: str
    date: str
    subject: str
    scores: dict[str, float]

    @property
    def label(self) -> str:
        """In one line."""
        return f"{self.name} · {self.date} · {self.subject}"


def trainings(limit: int = LIMIT) -> list[Training]:
    """Find the trainings whose scores are committed, from the oldest to the newest.

    Raises
    ------
    UserError
        This is no git repository with DVC.
    """
    found = _commits(f"-n{limit}", "HEAD", "--", SCORES)[::-1]
    for line in _git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines():
        if match := EXPERIMENT.fullmatch(line):
            found += [(rev, match[1], date, "experiment") for rev, _, date, _ in _commits("-n1", line)]
    with_scores = []
    for rev, name, date, subject in found:
        if scores := scores_of(rev):
            with_scores.append(Training(rev, name, date, subject, scores))
    return with_scores


@functools.lru_cache(maxsize=1000)
def scores_of(rev: str) -> dict[str, float]:
    """The scores of a revision; empty where it has none."""
    try:
        found = json.loads(_read(rev, SCORES))
    except (OSError, ValueError):
        return {}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


@functools.lru_cache(maxsize=100)
def curves_of(rev: str) -> dict[str, list[tuple[float, float]]]:
    """The curves of a revision, as (step, value), by name: `train/loss`, `val/psnr` and so on."""
    found = {}
    for path in _below(rev, CURVES):
        if path.endswith(".tsv"):
            name = PurePosixPath(path).relative_to(CURVES).with_suffix("").as_posix()
            rows = csv.reader(io.StringIO(_read(rev, path).decode()), delimiter="\t")
            found[name] = [point for row in rows if (point := _point(row))]
    return found


def panels_of(rev: str) -> list[str]:
    """The names of a revision's test panels: paths below their folder, data set and scene first."""
    found = (PurePosixPath(path) for path in _below(rev, PANELS))
    return sorted(path.relative_to(PANELS).as_posix() for path in found if path.suffix == ".png")


def panel(rev: str, name: str) -> bytes:
    """A test panel, PNG.

    Raises
    ------
    UserError
        DVC's cache does not have it.
    """
    try:
        return _read(rev, f"{PANELS}/{name}")
    except OSError:
        raise UserError(f"the panels of {rev[:7]} are not on this machine: `dvc fetch -A` brings them") from None


def _point(row: list[str]) -> tuple[float, float] | None:
    try:
        return float(row[0]), float(row[1])
    except (ValueError, IndexError):  # the header
        return None


def _commits(*chosen: str) -> list[tuple[str, str, str, str]]:
    """Hash, short hash, date and subject of commits, the newest first."""
    found = []
    for line in _git("log", "--no-show-signature", "--format=%H%x00%h%x00%cs%x00%s", *chosen).split("\n"):
        if line:
            rev, name, date, subject = line.split("\0", 3)
            found.append((rev, name, date, subject))
    return found


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise UserError("git is not installed: trainings are compared by their commits") from None
    if done.returncode:
        raise UserError(
            f"no commits to compare: {done.stderr.strip().splitlines()[-1] if done.stderr else 'git failed'}"
        )
    return done.stdout


def _read(rev: str, path: str) -> bytes:
    with LOCK:
        return _files(rev).read_bytes(path)


def _below(rev: str, folder: str) -> list[str]:
    """The files of a folder, as far as this machine knows them."""
    from dvc_data.index import DataIndexDirError

    with LOCK:
        try:
            return [str(path) for path in _files(rev).find(folder)]
        except (OSError, DataIndexDirError):
            return []


@functools.lru_cache(maxsize=8)
def _files(rev: str) -> Any:
    """The files of a revision, DVC's files too."""
    import dvc.api

    return dvc.api.DVCFileSystem(str(Path.cwd()), rev=rev, config=_without_network(_remotes()))


def _remotes() -> list[str]:
    import dvc.repo

    with dvc.repo.Repo() as repo:
        return list(repo.config["remote"])


def _without_network(names: Iterable[str]) -> dict[str, Any]:
    """Put a folder that is not there in the place of every remote: DVC would fetch what its cache lacks."""
    return {"remote": {name: {"url": str(Path.cwd() / NOWHERE)} for name in names}}
