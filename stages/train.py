"""Train DeblurGAN on data/resized: models/generator.keras, loss curves and sample pictures."""

from stages import engine  # before anything that imports Keras

# isort: split

from pathlib import Path

import keras
import numpy as np
from dvclive import Live

from deblurgan import params
from deblurgan.archive import save_model
from deblurgan.callbacks import Curves, Samples
from deblurgan.datasets import CropSequence, centre_crops, load_pairs
from deblurgan.errors import reported
from deblurgan.files import write_json
from deblurgan.models import build_critic, build_generator
from deblurgan.training import DeblurGAN
from deblurgan.vgg import build_features

DATA = Path("data/resized")
MODEL = Path("models/generator.keras")
METRICS = Path("metrics/train.json")
CURVES = Path("metrics/train")
SAMPLE_ROWS = 4


def main() -> None:
    """Run the stage."""
    p = params.load()
    t = p.train
    keras.utils.set_random_seed(p.seed)
    if t.deterministic:
        engine.be_deterministic()
    features = build_features(t.vgg_weights) if t.lambda_content else None
    train, val = (load_pairs(DATA, split, t.crop) for split in ("train", "val"))
    print(
        f"train: {len(train)} pairs, val: {len(val)} pairs, {t.steps} steps of {t.batch_size} crops {t.crop}x{t.crop}"
    )

    generator = build_generator(p.generator, p.seed)
    print(f"generator: {generator.count_params():,} parameters")
    model = DeblurGAN(
        generator, build_critic(p.critic, p.seed), build_generator(p.generator, p.seed), t, features, p.seed
    )
    model.compile()
    batches = CropSequence(
        train,
        seed=p.seed,
        steps=t.steps,
        batch_size=t.batch_size,
        critic_steps=t.critic_steps,
        crop=t.crop,
        flip=t.flip,
    )
    blur, sharp = centre_crops(val, t.crop)
    rows = np.linspace(0, len(blur) - 1, min(SAMPLE_ROWS, len(blur))).round().astype(int)
    at = {round(share * t.steps) for share in t.sample_at}
    with Live(str(CURVES), dvcyaml=None, report=None, save_dvc_exp=False) as live:
        history = model.fit(
            batches,
            epochs=t.steps // t.validate_every,
            steps_per_epoch=t.validate_every,
            shuffle=False,
            validation_data=(blur, sharp),
            validation_batch_size=t.batch_size,
            callbacks=[Curves(live), Samples(live, blur[rows], sharp[rows], at)],
        ).history
    (CURVES / "metrics.json").unlink()  # DVCLive's summary, which metrics/train.json repeats
    save_model(model.averaged, MODEL)
    write_json(METRICS, {"steps": t.steps, **{name: values[-1] for name, values in sorted(history.items())}})


if __name__ == "__main__":
    with reported("train"):
        main()
