"""Train DeblurGAN on data/resized: models/generator.keras, loss curves and sample pictures.

A run that is killed goes on where it was when it is started again.
"""

import importlib
import os

# TensorFlow has these kernels on by default on some processors only; on others they nearly halve the time of a step.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from deblurgan import backend  # before anything that imports Keras

# isort: split

from pathlib import Path

import keras

from deblurgan import params
from deblurgan.errors import UserError, reported
from deblurgan.files import require
from deblurgan.training import devices
from deblurgan.training.run import Outputs, train

DATA = Path("data/resized")
OUTPUTS = Outputs(
    model=Path("models/generator.keras"),
    metrics=Path("metrics/train.json"),
    curves=Path("metrics/train"),
    speed=Path("metrics/speed.json"),
)
WHERE = "DEBLURGAN_TRAIN"
"""Environment variable: `sagemaker` trains there (docs/sagemaker.md)."""


def main() -> None:
    """Run the stage."""
    p = params.load()
    t = p.train
    if t.deterministic and t.jit and backend.BACKEND == "tensorflow":
        raise UserError("train.jit has no effect on TensorFlow with train.deterministic: set one of them to false")
    if where := os.environ.get(WHERE):
        if where != "sagemaker":
            raise UserError(f"{WHERE} = {where!r}: it can be sagemaker, or not be set")
        # by its name, so that it is no code of the training, which does not depend on where it runs
        importlib.import_module("deblurgan.sagemaker.launch").main(p, DATA, OUTPUTS)
        return
    if t.deterministic:
        backend.be_deterministic()
    with devices.all_devices(t.batch_size) as share:
        if t.jit and share.devices > 1 and backend.BACKEND == "tensorflow":
            raise UserError(
                f"train.jit works with one device on TensorFlow, not with {share.devices}: set it to false, hide the "
                "others (CUDA_VISIBLE_DEVICES), or set KERAS_BACKEND=jax"
            )
        require(DATA / "train", DATA / "val")
        keras.utils.set_random_seed(p.seed)
        train(p, share, DATA, OUTPUTS)


if __name__ == "__main__":
    with reported("train"):
        main()
