"""Train DeblurGAN on data/resized: models/generator.keras, loss curves and sample pictures.

A run that is killed goes on where it was when it is started again.
"""

import os

# TensorFlow has these kernels on by default on some processors only; on others they nearly halve the time of a step.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from stages import engine  # before anything that imports Keras

# isort: split

import sys
from pathlib import Path

import keras
import numpy as np
from dvclive import Live

from deblurgan import params
from deblurgan.archive import load_generator, save_model
from deblurgan.callbacks import Curves, Progress, Samples
from deblurgan.checkpoints import Checkpoint, fingerprint, last_checkpoint, scratch
from deblurgan.datasets import CropSequence, centre_crops, load_pairs
from deblurgan.errors import UserError, reported
from deblurgan.files import home_expanded, require, write_json
from deblurgan.pairs import files_below
from deblurgan.training import build
from stages.revisions import find_model

DATA = Path("data/resized")
MODEL = Path("models/generator.keras")
METRICS = Path("metrics/train.json")
CURVES = Path("metrics/train")
SPEED = Path("metrics/speed.json")
SAMPLE_ROWS = 4
TENSORBOARD = "DEBLURGAN_TENSORBOARD"
"""Environment variable: the folder where TensorBoard looks for trainings."""


def name_of(p: params.Params, start: Path | None) -> str:
    """Name this training by its data, code, parameters and machine."""
    own = {name: module.__file__ for name, module in sys.modules.items() if name.startswith(("deblurgan", "stages"))}
    files = {name: Path(file) for name, file in {**own, "stages.train": __file__}.items() if file}
    files |= {path.as_posix(): path for split in ("train", "val") for path in files_below(DATA / split)}
    if start:
        files["start"] = start
    if p.train.vgg_weights and p.train.lambda_content:
        files["vgg"] = home_expanded(p.train.vgg_weights)
    sections = [section.model_dump() for section in (p.synthesize, p.generator, p.critic, p.train)]
    return fingerprint([p.seed, sections, engine.facts()], files)


def train(p: params.Params, share: engine.Share) -> None:
    """Train, or go on with the training of these parameters; hosts but the first only help, and write nothing."""
    t = p.train
    pairs, val = (load_pairs(DATA, split, t.crop) for split in ("train", "val"))
    print(f"train: {len(pairs)} pairs, val: {len(val)}; {t.steps} steps of {t.batch_size} crops {t.crop}x{t.crop}")
    start = find_model(t.init_from, MODEL) if t.init_from else None
    model = build(p.generator, p.critic, t, p.seed, load_generator(start) if start else None)
    print(f"generator: {model.generator.count_params():,} parameters, on {engine.device()}")
    validation = centre_crops(val, t.crop, share.devices)

    def fit(done: int, callbacks: list[keras.callbacks.Callback]) -> None:
        if done * t.validate_every < t.steps:
            crops = CropSequence(pairs, t, p.seed, p.synthesize, done * t.validate_every, share.host, share.hosts)
            model.fit(
                crops,
                initial_epoch=done,
                epochs=t.steps // t.validate_every,
                steps_per_epoch=t.validate_every,
                shuffle=False,
                validation_data=tuple(crops.part_of(images) for images in validation),
                validation_batch_size=t.batch_size // share.hosts,
                callbacks=callbacks,
                verbose=0,
            )

    if share.host:
        fit(share.go_on(model.state, [], 0), [])
        return
    name, boards = name_of(p, start), os.environ.get(TENSORBOARD)
    with scratch(name) as folder, Live(str(CURVES), dvcyaml=None, report=None, save_dvc_exp=False) as live:
        kept, history = last_checkpoint(folder)
        share.go_on(model.state, kept, len(history))
        done = len(history) * t.validate_every
        if done:
            print(f"going on after step {done} of {t.steps}")
        blur, sharp = centre_crops(val, t.crop)
        rows = np.linspace(0, len(blur) - 1, min(SAMPLE_ROWS, len(blur))).round().astype(int)
        at = {round(moment * t.steps) for moment in t.sample_at}
        progress = Progress(t.steps, done)
        watching = [
            Curves(live, t.validate_every, history, home_expanded(boards) / name if boards else None),
            Samples(live, folder, blur[rows], sharp[rows], at, done),
            Checkpoint(folder, history),
            progress,
        ]
        fit(len(history), watching)
        model.averaged.trainable = True  # for whoever trains it further
        save_model(model.averaged, MODEL)
        write_json(METRICS, {"steps": t.steps, **dict(sorted(history[-1].items()))})
        progress.write(SPEED, engine.device())
    (CURVES / "metrics.json").unlink()  # DVCLive's summary, which metrics/train.json repeats


def main() -> None:
    """Run the stage."""
    p = params.load()
    require(DATA / "train", DATA / "val")
    t = p.train
    if t.deterministic and t.jit and engine.BACKEND == "tensorflow":
        raise UserError("train.jit has no effect on TensorFlow with train.deterministic: set one of them to false")
    if t.deterministic:
        engine.be_deterministic()
    with engine.all_devices(t.batch_size) as share:
        if t.jit and share.devices > 1 and engine.BACKEND == "tensorflow":
            raise UserError(
                f"train.jit works with one device on TensorFlow, not with {share.devices}: set it to false, hide the "
                "others (CUDA_VISIBLE_DEVICES), or set KERAS_BACKEND=jax"
            )
        keras.utils.set_random_seed(p.seed)
        train(p, share)


if __name__ == "__main__":
    with reported("train"):
        main()
