"""Run a preset as a DVC experiment.

    python -m deblurgan preset                                  list the presets
    python -m deblurgan preset NAME [options of dvc exp run]    run one, for instance: paper --queue -S seed=2

A preset is presets/NAME.yaml: the values of a recipe, put over params.yaml. Each value becomes a `-S` option, so that
params.yaml keeps its comments and shows, in the experiment's commit, exactly what ran.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from deblurgan.errors import UserError
from deblurgan.files import home_expanded
from deblurgan.params import Params, check
from deblurgan.sources.ingest import locate
from deblurgan.sources.unsplash_api import Client
from deblurgan.yaml_files import read_yaml

PRESETS = Path("presets")


def flattened(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of nested dictionaries as dotted key and value."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with the leaves of `changes` put over its own."""
    both = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        both[key] = merged(base[key], value) if nested else value
    return both


def set_on_the_way(arguments: list[str]) -> dict[str, Any] | None:
    """The values of `-S key=value` options of `dvc exp run`, nested; None for a sweep, no plain value, another file."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-S", "--set-param", action="append", default=[])
    values: dict[str, Any] = {}
    for text in parser.parse_known_args(arguments)[0].set_param:
        key, _, value = text.partition("=")
        key = key.removeprefix("params.yaml:")
        if ":" in key or "(" in value or ("," in value and value[0] not in "[\"'"):
            return None
        try:
            leaf = YAML(typ="safe", pure=True).load(value)
        except YAMLError:
            return None
        for part in reversed(key.split(".")):
            leaf = {part: leaf}
        values = merged(values, leaf)
    return values


NO_FOLDERS = {"bundled", "none", "lite", "api"}
"""Values of `fetch_unsplash.source` that name no folder."""
APART = {"--queue", "--temp"}
"""Options of `dvc exp run` by which an experiment runs in a folder of its own, which has what git and DVC have."""


def check_that_all_is_there(p: Params, *, apart: bool = False) -> None:
    """Stop if a source or a weights file of the parameters is missing: DVC would notice after hours of work.

    Parameters
    ----------
    p
        The parameters.
    apart
        Whether the experiment runs in another folder, where relative paths lead elsewhere.

    Raises
    ------
    UserError
        What is missing, and where it is named.
    """
    source = p.ingest_gopro.source
    if source != "bundled" and not source.startswith("kaggle:") and "://" not in source:
        if not home_expanded(source).exists():
            raise UserError(
                f"ingest_gopro.source = {source!r}: no such folder or zip; put the data there, or add "
                "-S ingest_gopro.source=/path/to/it"
            )
        if apart and not home_expanded(source).is_absolute():
            where = home_expanded(source).resolve()
            raise UserError(
                f"ingest_gopro.source = {source!r}: with --queue and --temp add -S ingest_gopro.source={where}"
            )
        locate(p.ingest_gopro)
    if p.fetch_unsplash.source == "api":
        Client.from_environment()
    start = p.train.init_from if p.train.init_from and Path(p.train.init_from).suffix == ".keras" else None
    photos = p.fetch_unsplash.source
    named = {
        "train.init_from": start,
        "fetch_unsplash.source": None if photos in NO_FOLDERS or "://" in photos else photos,
        "fetch_unsplash.lite": p.fetch_unsplash.lite if p.fetch_unsplash.source == "lite" else None,
        "train.vgg_weights": p.train.vgg_weights if p.train.lambda_content else None,
        "evaluate.vgg_weights": p.evaluate.vgg_weights,
    }
    for key, path in named.items():
        if path and not home_expanded(path).exists():
            more = "; `python -m deblurgan weights` lists what can be had" if key == "train.init_from" else ""
            raise UserError(f"{key} = {path!r}: no such file or folder{more}")
        if path and apart and not home_expanded(path).is_absolute():
            raise UserError(f"{key} = {path!r}: with --queue and --temp add -S {key}={home_expanded(path).resolve()}")
    if p.train.lambda_content and not p.train.vgg_weights:
        from deblurgan.networks.vgg19 import download  # takes seconds

        download()


BACK = "`git checkout HEAD params.yaml dvc.lock metrics && dvc checkout`"
"""Takes the working tree back to the last commit."""


def uncommitted(values: dict[str, Any]) -> dict[str, Any]:
    """The values that differ from the last commit's params.yaml, by dotted keys; none where git does not know."""
    found = subprocess.run(["git", "show", "HEAD:./params.yaml"], capture_output=True)
    try:
        before = YAML(typ="safe", pure=True).load(found.stdout)
    except YAMLError:
        return {}
    if found.returncode or not isinstance(before, dict):
        return {}
    committed = dict(flattened(before))
    return {key: value for key, value in flattened(values) if value != committed.get(key)}


def run(command: list[str]) -> int:
    """Run DVC; where it fails and the parameters are left changed, say how to go on and how to go back."""
    path = Path("params.yaml")
    before = path.read_bytes()
    signal.signal(signal.SIGINT, lambda *_: None)  # DVC hears it, too, and ends
    code = subprocess.call(command)
    if code and path.read_bytes() != before:
        print(
            "preset: params.yaml holds the preset's values now: `dvc repro` goes on with them; back to the commit, "
            f"without edits that are not in it: {BACK}",
            file=sys.stderr,
        )
    return code


def options(name: str, arguments: list[str]) -> list[str]:
    """The options of `dvc exp run` that set a preset, after a look at whether it can run.

    Parameters
    ----------
    name
        Of a file in presets/.
    arguments
        Further options, which count more.

    Raises
    ------
    UserError
        There is no such preset, what it makes of params.yaml is not valid, or what it needs is not there.
    """
    path = PRESETS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))
        raise UserError(f"no preset {name!r} in {PRESETS}/: there are {known}")
    changes, own = read_yaml(path), read_yaml("params.yaml")
    values = merged(own, changes)
    p = check(values, f"params.yaml with {path}")
    further = set_on_the_way(arguments)
    named = dict(flattened(merged(changes, further or {})))
    if kept := [f"{key} = {value!r}" for key, value in uncommitted(own).items() if key not in named]:
        print(
            f"preset: note: values of params.yaml that are not committed stay: {', '.join(kept)}; without them: {BACK}",
            file=sys.stderr,
        )
    if further is not None:
        if further:
            p = check(merged(values, further), f"params.yaml with {path} and -S")
        check_that_all_is_there(p, apart=not APART.isdisjoint(arguments))
    return [part for key, value in flattened(changes) for part in ("-S", f"{key}={json.dumps(value)}")]


def main(arguments: list[str]) -> None:
    """List the presets, or run one."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip(), "\n")
        paths = sorted(PRESETS.glob("*.yaml"))
        if not paths:
            raise UserError(f"no preset in {PRESETS.resolve()}: run it in the repository's folder")
        width = max(len(path.stem) for path in paths)
        for path in paths:
            about = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
            print(f"{path.stem:{width}s}  {about}")
        return
    name, *rest = arguments
    sys.exit(run([sys.executable, "-m", "dvc", "exp", "run", *options(name, rest), *rest]))
