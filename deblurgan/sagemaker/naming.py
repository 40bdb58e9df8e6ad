"""What both machines agree on: the name of a training, and how its figures are printed."""

from pathlib import Path

from deblurgan.params import Params
from deblurgan.training.frames import load_pairs
from deblurgan.training.revisions import find_model
from deblurgan.training.run import training_name

TRAINING = "training"
"""The hyperparameter with the name of the training."""
METRICS = tuple(
    f"{part}/{name}"
    for part, names in {
        "train": (
            "loss", "pixel", "content", "frequency", "d_wasserstein", "d_penalty", "d_norm", "g_adversarial", "g_norm",
        ),
        "val": ("loss", "pixel", "content", "frequency", "psnr"),
    }.items()
    for name in names
)  # fmt: skip
"""Figures that a training logs, if its losses are used."""


def pattern(metric: str) -> str:
    """The regular expression that finds a figure in a line of `reporting`."""
    return rf"\b{metric}=([-+.0-9einfa]+)"


def name_of(p: Params, data: Path) -> str:
    """Name a training by its data, parameters and code, whatever machine it runs on.

    Parameters
    ----------
    p
        All parameters; the paths in them are those of this machine.
    data
        Folder with the pairs of `train` and `val`.

    Raises
    ------
    UserError
        The pairs, or the generator to start from, are not there.
    """
    t = p.train
    pairs, val = load_pairs(data, "train", t.crop, fresh=t.fresh_blur), load_pairs(data, "val", t.crop)
    start = find_model(t.init_from, Path("models/generator.keras")) if t.init_from else None
    return training_name(p, pairs, val, start, anywhere=True)
