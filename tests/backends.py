"""Trains a small model on the backend that KERAS_BACKEND names: what other tests run in a process of its own.

`python backends.py FOLDER DEVICES NAME...` makes those of `TRAININGS` on so many devices made of one processor, one
after the other: starting a backend takes longer than a training. FOLDER/NAME.npz holds the weights, the logs of the
last epoch, and how many epochs the last run found done.
"""

import dataclasses
import functools
import shutil
import sys
from pathlib import Path

import keras
import numpy as np

from deblurgan import backend
from deblurgan.networks import winograd
from deblurgan.params import Params, load
from deblurgan.training import devices, gan
from deblurgan.training.batches import CropSequence, centre_crops
from deblurgan.training.checkpoints import Checkpoint, last_checkpoint
from deblurgan.training.frames import Frame, Images
from deblurgan.training.gan import DeblurGAN, _Both, build

ROOT = Path(__file__).parents[1]
STEPS = 2
"""In an epoch."""
CLIP = 0.5
"""Norm to which gradients are cut."""


@dataclasses.dataclass(frozen=True)
class Training:
    """Epochs in as many runs as there are numbers, each going on from the checkpoint of the one before.

    Without dropout the first step depends on no backend.
    """

    precision: str = "float32"
    dropout: float = 0.0
    epochs: tuple[int, ...] = (2,)
    winograd: int = winograd.CHANNELS
    """How many channels a convolution needs to be computed by that algorithm."""


TRAININGS = {
    "plain": Training(),
    "plain in two runs": Training(epochs=(1, 2)),
    "winograd": Training(winograd=4),
    "mixed_bfloat16": Training("mixed_bfloat16"),
    "mixed_float16": Training("mixed_float16"),
    "whole": Training(dropout=0.5, epochs=(3,)),
    "parts": Training(dropout=0.5, epochs=(1, 3)),
}


def params(precision: str, dropout: float) -> Params:
    p = load(ROOT / "tests/params.yaml")
    networks = {"filters": 4, "norm": "instance"}
    changes = {
        "generator": {**networks, "blocks": 1, "dropout": dropout, "identity_start": False},
        "critic": {**networks, "layers": 1},
        "train": {
            "steps": 100, "critic_steps": 2, "batch_size": 2, "crop": 24, "precision": precision,
            "lambda_adversarial": 1.0, "lambda_content": 1.0, "clip_norm": CLIP, "init_share": 0.25,
        },
    }  # fmt: skip
    return p.model_copy(update={name: getattr(p, name).model_copy(update=new) for name, new in changes.items()})


def small_features(_: str | None) -> keras.Model:
    """Stand in for VGG19."""
    features = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, dtype="float32")])
    rng = np.random.default_rng(2)
    features.set_weights([rng.normal(0, 0.1, weight.shape) for weight in features.get_weights()])
    return features


def pairs() -> list[Images]:
    sharp = np.random.default_rng(0).integers(0, 256, (3, 32, 40, 3), dtype=np.uint8)
    return [Images(Frame(image), Frame(image // 2)) for image in sharp]


def fit(model: DeblurGAN, p: Params, folder: Path, epochs: int, share: devices.Share) -> tuple:
    """Go on from what the folder holds until that many epochs are done; the last one's logs, and how many were."""
    kept = last_checkpoint(folder, model.state)
    first = share.go_on(model.state, kept.values, len(kept.history))
    crops = CropSequence(pairs(), p.train, p.seed, p.synthesize, first * STEPS, share.host, share.hosts)
    model.fit(
        crops, initial_epoch=first, epochs=epochs,
        steps_per_epoch=STEPS, shuffle=False, verbose=0, callbacks=[Checkpoint(folder, kept)],
        validation_data=tuple(crops.part_of(images) for images in centre_crops(pairs()[:1], 24, share.devices)),
    )  # fmt: skip
    return kept.history[-1], first


def with_the_same_start(model: DeblurGAN) -> DeblurGAN:
    """Weights and optimizers whose first step depends on no backend."""
    rng = np.random.default_rng(1)
    for network in (model.generator, model.critic):
        network.set_weights([rng.normal(0, 0.1, weight.shape) for weight in network.get_weights()])
    model.start = model.generator.get_weights()  # as one given by `train.init_from`
    model.averaged.set_weights(model.start)
    scaled = model.settings.precision == "mixed_float16"
    adam = model.critic_optimizer.inner_optimizer if scaled else model.critic_optimizer
    plain = [keras.optimizers.SGD(0.001, global_clipnorm=adam.global_clipnorm) for _ in range(2)]
    plain = [keras.optimizers.LossScaleOptimizer(sgd) for sgd in plain] if scaled else plain
    model.generator_optimizer, model.critic_optimizer = plain
    model.generator_optimizer.build(model.generator.trainable_variables)
    model.critic_optimizer.build(model.critic.trainable_variables)
    model.optimizer = _Both(model.generator_optimizer, model.critic_optimizer)
    return model


def devices_of_one_processor(count: int) -> None:
    """Have as many devices; JAX is told by an environment variable before it starts."""
    if count > 1 and backend.BACKEND == "tensorflow":
        import tensorflow as tf

        parts = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


def train(training: Training, out: Path, count: int) -> None:
    """Make a training; only the first of several hosts has a checkpoint to go on from."""
    winograd.CHANNELS = training.winograd
    folder, p = out.with_suffix(".kept"), params(training.precision, training.dropout)
    folder.mkdir()
    for epochs in training.epochs:
        with devices.all_devices(p.train.batch_size) as share:
            keras.utils.set_random_seed(1)
            assert share.devices == count
            model = build(p.generator, p.critic, p.train, p.seed)
            if not p.generator.dropout:
                model = with_the_same_start(model)
            logs, first = fit(model, p, folder, epochs, share)
            restored = model.restored(centre_crops(pairs(), 24)[0])
        if share.host:
            shutil.rmtree(folder)
            folder.mkdir()
    weights = {f"weight {i}": keras.ops.convert_to_numpy(value) for i, value in enumerate(model.state)}
    np.savez(out, first=first, restored=restored, **weights, **{f"log {name}": value for name, value in logs.items()})


def main() -> None:
    folder, count, *names = sys.argv[1:]
    devices_of_one_processor(int(count))
    gan.build_features = small_features
    keras.distribution.initialize = functools.cache(keras.distribution.initialize)  # hosts find each other once
    for name in names:
        train(TRAININGS[name], Path(folder) / f"{name}.npz", int(count))


if __name__ == "__main__":
    main()
