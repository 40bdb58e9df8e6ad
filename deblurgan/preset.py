"""Run a preset as a DVC experiment.

    python -m deblurgan.preset                                  list the presets
    python -m deblurgan.preset NAME [options of dvc exp run]    run one, for instance: paper --queue -S train.steps=100

A preset is presets/NAME.yaml: the values of a recipe, put over those of params.yaml. Each value becomes a `-S` option,
so that params.yaml keeps its comments and shows, in the experiment's commit, exactly what ran.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deblurgan.errors import UserError, reported
from deblurgan.params import check, read_yaml

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


def options(name: str) -> list[str]:
    """The options of `dvc exp run` that set a preset.

    Raises
    ------
    UserError
        There is no such preset, or what it makes of params.yaml is not valid.
    """
    path = PRESETS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))
        raise UserError(f"no preset {name!r} in {PRESETS}/: there are {known}")
    changes = read_yaml(path)
    check(merged(read_yaml("params.yaml"), changes), f"params.yaml with {path}")
    return [part for key, value in flattened(changes) for part in ("-S", f"{key}={json.dumps(value)}")]


def main(arguments: list[str]) -> None:
    """List the presets, or become `dvc exp run`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip(), "\n")
        for path in sorted(PRESETS.glob("*.yaml")):
            print(f"{path.stem:10s} {path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        return
    name, *rest = arguments
    command = [sys.executable, "-m", "dvc", "exp", "run", *options(name), *rest]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    with reported("preset"):
        main(sys.argv[1:])
