r"""A race of generators and recipes: trained equally long, measured on real frames of a scene that none was trained on.

    python -m benchmarks.quality --pairs GOPRO_Large/train --frames GOPRO_240fps --photos KODAK \
                                 --validation REDS/train/000 --minutes 10

Each candidate starts from nothing and differs from the preset `pretrain` in what its name says. No critic takes part of
the time. How many steps fit into the minutes is measured first, for all of them, so that the learning rate has fallen
in time; run it where nothing else runs. Each is measured after every quarter of its steps, by the averaged generator,
on a few whole frames. High-speed frames are averaged as stored values, as GoPro's `blur` was. The last column says how
visible the grid is on which a generator halves and doubles its images (`grid`).
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as stages/train.py

from deblurgan import backend  # before anything that imports Keras

# isort: split

import keras
import numpy as np
from tqdm import tqdm

from benchmarks.cost import settings_of
from deblurgan.blur.frame_averaging import average_frames
from deblurgan.blur.synthesis import consecutive
from deblurgan.errors import UserError, reported
from deblurgan.evaluation.metrics import psnr
from deblurgan.files import files_below
from deblurgan.images import read_rgb
from deblurgan.layout import find_pairs
from deblurgan.params import Params, check
from deblurgan.presets import merged
from deblurgan.restoration.neural import deblur
from deblurgan.sampling import evenly_spaced
from deblurgan.training.batches import CropSequence
from deblurgan.training.frames import Frame, Images, loader_threads
from deblurgan.training.gan import build

PAPER = {"architecture": "resnet", "filters": 64, "blocks": 9, "norm": "instance", "upsample": "transpose"}
PAPER |= {"dropout": 0.5, "identity_start": False}
NAFNET = {"architecture": "nafnet", "norm": "layer", "blocks": 4}
CANDIDATES: dict[str, dict[str, dict[str, object]]] = {
    "preset": {},
    "24 filters": {"generator": {"filters": 24}},
    "8 blocks": {"generator": {"blocks": 8}},
    "16 blocks": {"generator": {"blocks": 16}},
    "4 blocks": {"generator": {"blocks": 4}},
    "upsample: resize": {"generator": {"upsample": "resize"}},
    "upsample: transpose": {"generator": {"upsample": "transpose"}},
    "identity_start: false": {"generator": {"identity_start": False}},
    "norm: instance": {"generator": {"norm": "instance"}},
    "resnet, 4 blocks": {"generator": {"architecture": "resnet", "blocks": 4, "upsample": "transpose"}},
    "nafnet": {"generator": NAFNET},
    "nafnet, global attention": {"generator": {**NAFNET, "attention": "global"}},
    "resnet as published": {"generator": PAPER},
    "l1": {"train": {"pixel": "l1", "lambda_frequency": 0}},
    "charbonnier": {"train": {"lambda_frequency": 0}},
    "psnr": {"train": {"pixel": "psnr", "lambda_pixel": 1, "lambda_frequency": 0}},
    "9 crops of 128": {"train": {"crop": 128, "batch_size": 9}},
    "2 crops of 272": {"train": {"crop": 272, "batch_size": 2}},
    "1 crop of 192": {"train": {"batch_size": 1}},
    "8 crops of 192": {"train": {"batch_size": 8}},
    "no layered blur": {"synthesize": {"layered": 0}},
    "bfloat16": {"train": {"precision": "mixed_bfloat16"}},
}
"""What is put over the preset."""
VALIDATING = 4
"""Frames that are restored at most."""
SPEED = 12
"""Steps by which a candidate's speed is measured; the first is compiled."""
Frames = list[tuple[np.ndarray, np.ndarray]]
QUARTERS = 4
"""Parts of a training after each of which it is measured."""
LENGTHS = (7, 9, 11, 13)
"""Numbers of frames that make one blurred frame, as in the GoPro data set."""


def averaged(folder: Path) -> list[Images]:
    """Pairs of all runs of consecutive frames that overlap by half, of all lengths in turn."""
    pairs = []
    for scene in sorted(path for path in folder.iterdir() if path.is_dir()):
        frames, start, turn = sorted(scene.glob("*.png")), 0, 0
        while start < len(frames):
            length = LENGTHS[turn % len(LENGTHS)]
            for run in consecutive(frames[start : start + length], length):
                blur = average_frames((read_rgb(frame) for frame in run), linear=False)
                pairs.append(Images(Frame(read_rgb(run[length // 2])), Frame(blur)))
            start, turn = start + length // 2, turn + 1
    return pairs


def grid(blur: np.ndarray, restored: np.ndarray, period: int = 4) -> float:
    """How much a correction's detail depends on the place on the grid of strided layers: its "checkerboard".

    Parameters
    ----------
    blur, restored : numpy.ndarray
        `uint8`, (height, width, channels).
    period : int
        Pixels between places that strided layers treat alike.

    Returns
    -------
    float
        The mean absolute differences of neighbouring pixels' corrections are taken for each of the `period`
        positions, along and across; their highest less their lowest, over their mean. 0: no grid.
    """
    correction, spreads = restored.astype(np.float64) - blur, []
    for axis in (0, 1):
        profile = np.abs(np.diff(correction, axis=axis)).mean(axis=(1 - axis, 2))
        places = [profile[place::period].mean() for place in range(period)]
        spreads.append((max(places) - min(places)) / max(np.mean(places), 1e-12))
    return float(np.mean(spreads))


def params(candidate: str, steps: int, options: argparse.Namespace) -> Params:
    """The preset's parameters with what the candidate changes."""
    length = {"steps": steps, "validate_every": steps, "init_from": None}
    race = merged({"seed": options.seed, "train": {**options.train, **length}}, CANDIDATES[candidate])
    return check(merged(settings_of("pretrain").model_dump(mode="json"), race), candidate)


class Course(keras.callbacks.Callback):
    """A bar, the seconds that each step took, and the gain after each quarter."""

    def __init__(self, name: str, steps: int, frames: Frames) -> None:
        super().__init__()
        self.bar, self.last, self.frames = tqdm(total=steps, desc=name, unit="step"), time.perf_counter(), frames
        self.taken: list[float] = []
        self.gains: list[float] = []
        self.pattern = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self.last = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move the bar."""
        now = time.perf_counter()
        self.taken.append(now - self.last)
        self.last = now
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Restore the frames."""
        results = [deblur(self.model.averaged, blur, restrained=False) for blur, _ in self.frames]
        pairs = list(zip(results, self.frames, strict=True))
        self.gains.append(float(np.mean([psnr(found, sharp) - psnr(blur, sharp) for found, (blur, sharp) in pairs])))
        self.pattern = float(np.mean([grid(blur, found) for found, (blur, _) in pairs]))

    def on_train_end(self, logs: dict | None = None) -> None:
        """Close the bar."""
        self.bar.close()


def train(name: str, p: Params, pairs: list[Images], steps: int, frames: Frames) -> tuple[int, Course]:
    """Train for so many steps; the number of the generator's parameters and how the training went."""
    keras.utils.set_random_seed(p.seed)
    model, course = build(p.generator, p.critic, p.train, p.seed), Course(name, steps, frames)
    crops = CropSequence(pairs, p.train, p.seed, p.synthesize, threads=loader_threads())
    epochs = min(QUARTERS, steps)
    model.fit(crops, epochs=epochs, steps_per_epoch=steps // epochs, shuffle=False, verbose=0, callbacks=[course])
    parameters = model.generator.count_params()
    keras.backend.clear_session()
    return parameters, course


def numbers(text: str) -> dict[str, float]:
    """Read `key=number,key=number`."""
    return {key: json.loads(value) for key, value in (part.split("=") for part in text.split(","))}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in (("pairs", "training pairs"), ("frames", "240 fps frames"), ("photos", "sharp photos")):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"folder of {text}")
    parser.add_argument("--validation", type=Path, required=True, help="folder of pairs of another scene")
    parser.add_argument("--minutes", type=float, default=10, help="of each training (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=CANDIDATES, help="a candidate (default: all)")
    parser.add_argument("--train", type=numbers, default={}, help="values of all, such as learning_rate=0.001,mild=0")
    parser.add_argument("--seed", type=int, default=1, help="another one for another run (default: %(default)s)")
    options = parser.parse_args()
    pairs = [Images(Frame(read_rgb(pair.sharp)), Frame(read_rgb(pair.blur))) for pair in find_pairs(options.pairs)]
    filmed, made = len(pairs), averaged(options.frames)
    photos = [read_rgb(path) for path in files_below(options.photos)]
    pairs += made + [Images(Frame(photo), photo=True) for photo in photos]
    watched = evenly_spaced(list(find_pairs(options.validation)), VALIDATING)
    frames = [(read_rgb(pair.blur), read_rgb(pair.sharp)) for pair in watched]
    if not frames or not filmed or not photos:
        raise UserError("training pairs, photos and pairs to validate on are needed, and a folder holds none")
    print(f"{filmed} filmed and {len(made)} averaged pairs, {len(photos)} photos; {len(frames)} frames to validate on")
    print(backend.device(), flush=True)
    steps = {}
    for name in options.only or CANDIDATES:
        _, course = train(f"{name}: speed", params(name, SPEED, options), pairs, SPEED, frames[:1])
        steps[name] = max(1, round(60 * options.minutes / statistics.median(course.taken[2:])))
    print("| candidate | parameters | steps | gain after a quarter | half | three quarters | all | grid |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name, count in steps.items():
        parameters, course = train(name, params(name, count, options), pairs, count, frames)
        gains = " | ".join(f"{gain:+.2f} dB" for gain in course.gains)
        print(f"| {name} | {parameters:,} | {count} | {gains} | {100 * course.pattern:.1f} % |", flush=True)


if __name__ == "__main__":
    with reported("quality"):
        main()
