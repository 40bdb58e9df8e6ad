"""The repository's own parameters, wherever a command runs."""

from pathlib import Path

from deblurgan.params import Params, load


def default_params() -> Params:
    """Read the repository's params.yaml."""
    return load(Path(__file__).parents[1] / "params.yaml")
