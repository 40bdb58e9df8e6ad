"""Train DeblurGAN on data/resized: models/generator.keras, loss curves and sample pictures.

A run that is killed goes on where it was when it is started again.
"""

import os

# TensorFlow has these kernels on by default on some processors only; on others they nearly halve the time of a step.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from stages import engine  # before anything that imports Keras

# isort: split

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
from dvclive import Live

from deblurgan import params
from deblurgan.archive import load_generator, save_model
from deblurgan.callbacks import Curves, Diverged, Divergence, Progress, Samples, psnr_of_each
from deblurgan.checkpoints import Checkpoint, fingerprint, last_checkpoint, meaning_of, scratch
from deblurgan.crops import CropSequence, centre_crops
from deblurgan.datasets import Images, frames_of, keep_in_memory, load_pairs
from deblurgan.errors import UserError, reported
from deblurgan.files import home_expanded, require, sha256_of, write_json
from deblurgan.memory import free_memory
from deblurgan.training import DeblurGAN, build
from stages.revisions import find_model

DATA = Path("data/resized")
MODEL = Path("models/generator.keras")
METRICS = Path("metrics/train.json")
CURVES = Path("metrics/train")
SPEED = Path("metrics/speed.json")
SAMPLE_ROWS = 4
TENSORBOARD = "DEBLURGAN_TENSORBOARD"
"""Environment variable: the folder where TensorBoard looks for trainings."""


COMPUTING = (
    "blur.convolution", "blur.trajectory", "crops", "images", "layers", "losses", "models", "steps_jax",
    "steps_tensorflow", "training", "vgg", "winograd",
)  # fmt: skip
"""Modules of the library whose change makes another training; without a change of the others it goes on."""
LAST_GOOD = "last_good.keras"


def name_of(p: params.Params, pairs: list[Images], val: list[Images], start: Path | None) -> str:
    """Name this training by its data, its parameters and the code that computes it.

    Where the same bytes are asked for, also by this machine: on others it goes on otherwise.
    """
    t, modules = p.train, [f"deblurgan.{name}" for name in COMPUTING]
    code = {name: meaning_of(Path(sys.modules[name].__file__)) for name in modules if name in sys.modules}
    weights = home_expanded(t.vgg_weights) if t.vgg_weights and t.lambda_content else None
    with ThreadPoolExecutor() as pool:
        frames = frames_of([*pairs, *val])
        digests = dict(zip(frames, pool.map(lambda frame: sha256_of(frame.path), frames), strict=True))
    data = [[digests.get(half) for pair in split for half in (pair.blur, pair.sharp)] for split in (pairs, val)]
    files = [path and sha256_of(path) for path in (start, weights)]
    recipe = [p.generator.model_dump(), p.critic.model_dump(), t.model_dump(exclude={"init_from", "vgg_weights"})]
    if any(pair.blur is None for pair in pairs):
        recipe.append(p.synthesize.model_dump(exclude={"pairs_per_photo", "frames_per_pair"}))
    return fingerprint([p.seed, recipe, code, data, files, engine.facts() if t.deterministic else []])


def kept_generator(model: DeblurGAN, folder: Path, lowest: float) -> str:
    """Save the generator of the last checkpoint, if it is above a PSNR, and say how to go on from it."""
    kept = last_checkpoint(folder, model.state)
    if not kept.history or kept.history[-1]["val_psnr"] < lowest:
        return ""
    for variable, value in zip(model.state, kept.values, strict=True):
        variable.assign(value)
    save_generator(model, folder / LAST_GOOD)
    step, psnr = len(kept.history) * model.settings.validate_every, kept.history[-1]["val_psnr"]
    return f"; train.init_from={folder / LAST_GOOD} begins with the generator after step {step} ({psnr:.1f} dB)"


def save_generator(model: DeblurGAN, path: Path) -> None:
    """Write the averaged generator."""
    model.averaged.trainable = True  # for whoever trains it further
    save_model(model.averaged, path)


def train(p: params.Params, share: engine.Share) -> None:
    """Train, or go on with the training of these parameters; hosts but the first only help, and write nothing."""
    t = p.train
    pairs = load_pairs(DATA, "train", t.crop, fresh=t.fresh_blur > 0)
    val = load_pairs(DATA, "val", t.crop)
    print(f"train: {len(pairs)} pairs, val: {len(val)}; {t.steps} steps of {t.batch_size} crops {t.crop}x{t.crop}")
    threads = keep_in_memory(pairs, len(val), t.crop, free_memory())
    start = find_model(t.init_from, MODEL) if t.init_from else None
    model = build(p.generator, p.critic, t, p.seed, load_generator(start) if start else None)
    print(f"generator: {model.generator.count_params():,} parameters, on {engine.device()}")
    validation = centre_crops(val, t.crop, share.devices)

    def fit(done: int, callbacks: list[keras.callbacks.Callback]) -> None:
        if done * t.validate_every < t.steps:
            first = done * t.validate_every
            crops = CropSequence(pairs, t, p.seed, p.synthesize, first, share.host, share.hosts, threads)
            try:
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
            except Exception:
                if isinstance(crops.error, UserError):  # TensorFlow wraps it into one of its own
                    raise crops.error from None
                raise

    if share.host:
        fit(share.go_on(model.state, [], 0), [])
        return
    name, boards = name_of(p, pairs, val, start), os.environ.get(TENSORBOARD)
    with scratch(name) as folder, Live(str(CURVES), dvcyaml=None, report=None, save_dvc_exp=False) as live:
        kept = last_checkpoint(folder, model.state)
        share.go_on(model.state, kept.values, len(kept.history))
        done = len(kept.history) * t.validate_every
        if done:
            print(f"going on after step {done} of {t.steps}")
        blur, sharp = (images[: len(val)] for images in validation)
        rows = np.linspace(0, len(blur) - 1, min(SAMPLE_ROWS, len(blur))).round().astype(int)
        at = {round(moment * t.steps) for moment in t.sample_at}
        progress = Progress(t.steps, done)
        divergence = Divergence(t.validate_every, float(psnr_of_each(blur, sharp).mean()), kept.history)
        watching = [
            divergence,
            Curves(live, t.validate_every, kept.history, home_expanded(boards) / name if boards else None),
            Samples(live, kept.restored, blur[rows], sharp[rows], at, done),
            Checkpoint(folder, kept),
            progress,
        ]
        try:
            fit(len(kept.history), watching)
        except Diverged as error:
            raise UserError(f"{error}{kept_generator(model, folder, divergence.lowest)}") from None
        save_generator(model, MODEL)
        write_json(METRICS, {"steps": t.steps, **dict(sorted(kept.history[-1].items()))})
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
