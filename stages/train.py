"""Train DeblurGAN on data/resized: models/generator.keras, loss curves and sample pictures.

A run that is killed goes on where it was when it is started again.
"""

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
from deblurgan.checkpoints import Checkpoint, fingerprint, restore, scratch
from deblurgan.datasets import CropSequence, centre_crops, load_pairs
from deblurgan.errors import reported
from deblurgan.files import home_expanded, write_json
from deblurgan.pairs import files_below
from deblurgan.training import build
from stages.revisions import find_model

DATA = Path("data/resized")
MODEL = Path("models/generator.keras")
METRICS = Path("metrics/train.json")
CURVES = Path("metrics/train")
SPEED = Path("metrics/speed.json")
SAMPLE_ROWS = 4


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


def main() -> None:
    """Run the stage."""
    p = params.load()
    t = p.train
    if t.deterministic:
        engine.be_deterministic()
    keras.utils.set_random_seed(p.seed)
    train, val = (load_pairs(DATA, split, t.crop) for split in ("train", "val"))
    print(f"train: {len(train)} pairs, val: {len(val)}; {t.steps} steps of {t.batch_size} crops {t.crop}x{t.crop}")
    start = find_model(t.init_from, MODEL) if t.init_from else None
    model = build(p.generator, p.critic, t, p.seed, load_generator(start) if start else None)
    print(f"generator: {model.generator.count_params():,} parameters, on {engine.device()}")
    blur, sharp = centre_crops(val, t.crop)
    rows = np.linspace(0, len(blur) - 1, min(SAMPLE_ROWS, len(blur))).round().astype(int)
    at = {round(share * t.steps) for share in t.sample_at}
    with scratch(name_of(p, start)) as folder, Live(str(CURVES), dvcyaml=None, report=None, save_dvc_exp=False) as live:
        history = restore(folder, model.state)
        done = len(history) * t.validate_every
        if done:
            print(f"going on after step {done} of {t.steps}")
        progress = Progress(t.steps, done)
        watching = [
            Curves(live, t.validate_every, history),
            Samples(live, folder, blur[rows], sharp[rows], at, done),
            Checkpoint(folder, history),
            progress,
        ]
        if done < t.steps:
            model.fit(
                CropSequence(train, t, p.seed, p.synthesize, done),
                initial_epoch=len(history),
                epochs=t.steps // t.validate_every,
                steps_per_epoch=t.validate_every,
                shuffle=False,
                validation_data=(blur, sharp),
                validation_batch_size=t.batch_size,
                callbacks=watching,
                verbose=0,
            )
        model.averaged.trainable = True  # for whoever trains it further
        save_model(model.averaged, MODEL)
        write_json(METRICS, {"steps": t.steps, **dict(sorted(history[-1].items()))})
        progress.write(SPEED, engine.device())
    (CURVES / "metrics.json").unlink()  # DVCLive's summary, which metrics/train.json repeats


if __name__ == "__main__":
    with reported("train"):
        main()
