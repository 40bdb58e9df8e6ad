r"""Generators of several architectures, trained equally long on real frames and photos, measured on real test frames.

    python -m benchmarks.quality --pairs GOPRO_Large/train --frames GOPRO_240fps --photos BSDS500/train \
                                 --test GOPRO_Large/test --minutes 20

Each generator learns by the same recipe, the pixel loss alone: no critic takes part of the time. How many steps fit
into the minutes is measured first, for all of them, so that the schedule ends in time; run it where nothing else runs.
High-speed frames are averaged as stored values, as GoPro's `blur` was, photos get synthetic motion blur that mixes
stored values, too, and the test frames are restored whole. The last column says how visible the grid is on which a
generator halves and doubles its images (`grid`).
"""

import argparse
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

from deblurgan.blur.frame_averaging import average_frames
from deblurgan.blur.synthesis import consecutive
from deblurgan.evaluation.scores import score, summary
from deblurgan.images import read_rgb
from deblurgan.layout import find_pairs
from deblurgan.params import Generator, Params, load
from deblurgan.restoration.neural import deblur
from deblurgan.training.batches import CropSequence
from deblurgan.training.frames import Frame, Images
from deblurgan.training.gan import DeblurGAN, build

PAPER = {"architecture": "resnet", "filters": 64, "blocks": 9, "norm": "instance", "upsample": "transpose"}
PAPER |= {"dropout": 0.5, "identity_start": False}
PLAIN = {**PAPER, "norm": "none", "dropout": 0.0}
NAFNET = {"architecture": "nafnet", "norm": "layer", "upsample": "shuffle", "dropout": 0.0, "identity_start": True}
SMALL = {**PLAIN, "filters": 16, "blocks": 4, "identity_start": True}
UNET = {**SMALL, "architecture": "unet", "blocks": 8, "upsample": "shuffle"}
GENERATORS: dict[str, dict[str, object]] = {
    "paper": PAPER,
    "paper, no norm": PLAIN,
    "paper, no norm, identity start": {**PLAIN, "identity_start": True},
    "small": SMALL,
    "small, resize": {**SMALL, "upsample": "resize"},
    "small, shuffle": {**SMALL, "upsample": "shuffle"},
    "small, instance norm": {**SMALL, "norm": "instance"},
    "small, random start": {**SMALL, "identity_start": False},
    "unet": UNET,
    "unet, resize": {**UNET, "upsample": "resize"},
    "unet, 24 filters": {**UNET, "filters": 24},
    "nafnet 16": {**NAFNET, "filters": 16, "blocks": 4},
    "nafnet 32": {**NAFNET, "filters": 32, "blocks": 4},
}
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


def params(generator: dict, steps: int, options: argparse.Namespace) -> Params:
    """The recipe; photos are blurred as GoPro's `blur` was, by mixing stored values."""
    p = load(Path(__file__).parents[1] / "params.yaml")
    recipe = {
        "steps": steps, "learning_rate": options.rate, "batch_size": options.batch, "crop": options.crop,
        "photo_share": 0.5, "lambda_adversarial": 0.0, "lambda_content": 0.0, "critic_steps": 1, "ema": 0.995,
    }  # fmt: skip
    network = Generator.model_validate({**p.generator.model_dump(), **generator})
    changes = {"seed": options.seed, "generator": network, "train": p.train.model_copy(update=recipe)}
    return p.model_copy(update={**changes, "synthesize": p.synthesize.model_copy(update={"in_light": False})})


def model_of(p: Params) -> DeblurGAN:
    """The model to train."""
    keras.utils.set_random_seed(p.seed)
    return build(p.generator, p.critic, p.train, p.seed)


class Steps(keras.callbacks.Callback):
    """A bar, and the seconds that each step took."""

    def __init__(self, name: str, steps: int) -> None:
        super().__init__()
        self.bar, self.last = tqdm(total=steps, desc=name, unit="step"), time.perf_counter()
        self.taken: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move the bar."""
        now = time.perf_counter()
        self.taken.append(now - self.last)
        self.last = now
        self.bar.update()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Close the bar."""
        self.bar.close()


def train(name: str, p: Params, pairs: list[Images], steps: int) -> tuple[DeblurGAN, list[float]]:
    """Train for so many steps of the schedule; the seconds that each took."""
    model, clock = model_of(p), Steps(name, steps)
    crops = CropSequence(pairs, p.train, p.seed, p.synthesize)
    model.fit(crops, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[clock])
    return model, clock.taken


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in (("pairs", "training pairs"), ("frames", "240 fps frames"), ("photos", "sharp photos")):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"folder of {text}")
    parser.add_argument("--test", type=Path, required=True, help="folder of test pairs")
    parser.add_argument("--minutes", type=float, default=20, help="of each training (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=GENERATORS, help="a generator (default: all)")
    parser.add_argument("--rate", type=float, default=0.0005, help="learning rate (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="size of a batch (default: %(default)s)")
    parser.add_argument("--crop", type=int, default=128, help="side of the crops (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another one for another run (default: %(default)s)")
    options = parser.parse_args()
    pairs = [Images(Frame(read_rgb(pair.sharp)), Frame(read_rgb(pair.blur))) for pair in find_pairs(options.pairs)]
    filmed, frames = len(pairs), averaged(options.frames)
    photos = [read_rgb(path) for path in sorted(options.photos.glob("*.jpg"))]
    pairs += frames + [Images(Frame(photo), photo=True) for photo in photos]
    test = [(pair.blur, read_rgb(pair.blur), read_rgb(pair.sharp)) for pair in find_pairs(options.test)]
    print(f"{filmed} filmed and {len(frames)} averaged pairs, {len(photos)} photos; {len(test)} test frames")
    print(backend.device(), flush=True)
    steps = {}
    for name in options.only or GENERATORS:
        _, taken = train(f"{name}: speed", params(GENERATORS[name], 12, options), pairs, 12)
        steps[name] = max(1, round(60 * options.minutes / statistics.median(taken[2:])))
    print("| generator | parameters | steps | input | restored | gain | grid |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name, count in steps.items():
        model, _ = train(name, params(GENERATORS[name], count, options), pairs, count)
        results = [deblur(model.averaged, image) for _, image, _ in test]
        scores = [
            score(("gopro", blur.parent.parent.name, blur.stem), image, result, sharp)
            for (blur, image, sharp), result in zip(test, results, strict=True)
        ]
        found = summary(scores)
        pattern = np.mean([grid(image, result) for (_, image, _), result in zip(test, results, strict=True)])
        print(
            f"| {name} | {model.generator.count_params():,} | {count} "
            f"| {found['input_psnr']:.2f} dB, {found['input_ssim']:.3f} | {found['psnr']:.2f} dB, {found['ssim']:.3f} "
            f"| {found['psnr_gain']:+.2f} dB, {found['ssim_gain']:+.3f} "
            f"| {100 * pattern:.1f} % |",
            flush=True,
        )
        keras.backend.clear_session()


if __name__ == "__main__":
    main()
