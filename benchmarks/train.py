"""Speed of the training step and of inference, beside a straightforward Keras implementation, in one run.

    python -m benchmarks.train                        # the paper's networks, batches of 1 and 8; half an hour
    python -m benchmarks.train --batch 1 --rounds 3   # minutes
    python -m benchmarks.train --preset seed          # what a preset costs here; KERAS_BACKEND=jax for a GPU
    python -m benchmarks.train --preset pretrain --precision mixed_bfloat16

The reference does what the WGAN-GP example of keras.io does, with our networks and losses: for each critic step it
restores anew and scores sharp, restored and interpolated images one after the other; then it restores once more for the
generator. Both run with TensorFlow's own kernels, with those of oneDNN, which `stages/train.py` switches on, and
compiled by XLA; each is compared with the reference that runs in the same way. Every variant runs in a process of its
own, and they take turns; what is compared is the median. VGG19 has random weights, which cost the same time.
"""

import argparse
import atexit
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np

from deblurgan.params import Train

SIZE, INFERENCE, CRITIC_STEPS = 128, 256, 5
FILTERS, BLOCKS = 64, 9
PRECISIONS = get_args(Train.model_fields["precision"].annotation)
VARIANTS = [f"{who}, {how}" for how in ("plain", "oneDNN", "XLA") for who in ("reference", "ours")]


def features_with_random_weights() -> str:
    """Write an archive that `vgg19.build_features` reads; its path."""
    from deblurgan.networks.vgg19 import LAYERS

    rng, channels = np.random.default_rng(0), 3
    arrays: dict[str, Any] = {}  # NumPy's types take each of them for the switch `allow_pickle`
    for name, filters in LAYERS.items():
        arrays[f"{name}__kernel"] = rng.normal(0, 0.05, (3, 3, channels, filters)).astype(np.float32)
        arrays[f"{name}__bias"], channels = np.zeros(filters, np.float32), filters
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "random.npz"
    np.savez(path, **arrays)
    return str(path)


def build_paper(batch: int, *, winograd: bool):
    """The model of the paper's recipe."""
    from benchmarks.defaults import default_params
    from deblurgan.training.gan import build

    p = default_params()
    networks = {"filters": FILTERS, "norm": "instance"}
    generator = {**networks, "blocks": BLOCKS, "dropout": 0.5, "identity_start": False}
    critic = {**networks, "layers": 3, "conditional": False}
    train = {"critic_steps": CRITIC_STEPS, "batch_size": batch, "winograd": winograd, "ema": 0.0}
    weights = {"lambda_adversarial": 1.0, "lambda_content": 100.0, "lambda_pixel": 0.0}
    settings = p.train.model_copy(update={**train, **weights, "vgg_weights": features_with_random_weights()})
    return build(p.generator.model_copy(update=generator), p.critic.model_copy(update=critic), settings, seed=1)


def reference_step(model) -> Callable:
    """The step as the example of keras.io has it."""
    import tensorflow as tf

    from deblurgan.training import losses

    def step(blur, sharp, epsilon):
        blur, sharp, epsilon = model.prepared((blur, sharp, epsilon))
        for i in range(CRITIC_STEPS):
            x, y = blur[:, i], sharp[:, i]
            with tf.GradientTape() as tape:
                restored = model.generator(x, training=True)
                fake = model.critic([x, restored], training=True)
                real = model.critic([x, y], training=True)
                between = losses.interpolate(y, restored, epsilon[:, i, None, None, None])
                with tf.GradientTape() as inner:
                    inner.watch(between)
                    scores = losses.image_scores(model.critic([x, between], training=True))
                penalty = losses.gradient_penalty(inner.gradient(scores, between))
                total = losses.critic_wasserstein(real, fake) + model.settings.lambda_penalty * penalty
            weights = model.critic.trainable_variables
            model.critic_optimizer.apply(tape.gradient(total, weights), weights)
        x, y = blur[:, -1], sharp[:, -1]
        with tf.GradientTape() as tape:
            restored = model.generator(x, training=True)
            content = losses.content(model.features(restored), model.features(y))
            adversarial = losses.generator_adversarial(model.critic([x, restored], training=True))
            total = model.settings.lambda_content * content + adversarial
        weights = model.generator.trainable_variables
        model.generator_optimizer.apply(tape.gradient(total, weights), weights)
        return total

    return step


def timed(work: Callable, rounds: int) -> list[float]:
    """Seconds of each call after the first, which compiles."""
    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken[1:]


def worker(variant: str, batch: int, rounds: int) -> dict[str, list[float]]:
    """Measure one variant."""
    ours = variant.startswith("ours")
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = str(int("oneDNN" in variant))  # read when TensorFlow is imported
    import tensorflow as tf

    from deblurgan.restoration.neural import network
    from deblurgan.restoration.tiles import restore

    model = build_paper(batch, winograd=ours)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (batch, CRITIC_STEPS, SIZE, SIZE, 3), dtype=np.uint8) for _ in range(2)]
    arrays = [tf.constant(array) for array in (*images, rng.random((batch, CRITIC_STEPS), dtype=np.float32))]
    work = (lambda *batch: model.train_step(batch)) if ours else reference_step(model)
    step = tf.function(work, jit_compile="XLA" in variant)
    photo = rng.uniform(-1, 1, (1, INFERENCE, INFERENCE, 3)).astype(np.float32)

    method = network(model.averaged)

    def inference():
        return restore(method, photo[0]) if ours else model.generator.predict_on_batch(photo)

    return {"step": timed(lambda: step(*arrays), rounds), "inference": timed(inference, 3 * rounds)}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, action="append", help="size of a batch (default: 1 and 8)")
    parser.add_argument("--rounds", type=int, default=3, help="measured steps of each process (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=2, help="processes of each variant (default: %(default)s)")
    parser.add_argument("--preset", help="measure the cost of presets/NAME.yaml instead, on either backend")
    parser.add_argument("--precision", choices=PRECISIONS, help="with --preset: instead of the preset's own")
    parser.add_argument("--whole", action="store_true", help="with --preset: all of its steps")
    parser.add_argument("--worker", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.preset:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as stages/train.py
        from benchmarks.cost import measure

        measure(options.preset, features_with_random_weights(), options.rounds, options.precision, whole=options.whole)
        return
    if options.worker:
        print(json.dumps(worker(options.worker, options.batch[0], options.rounds)))
        return
    for batch in options.batch or [1, 8]:
        taken: dict[str, dict[str, list[float]]] = {name: {"step": [], "inference": []} for name in VARIANTS}
        for _ in range(options.turns):
            for name in VARIANTS:
                command = [sys.executable, "-m", "benchmarks.train", "--worker", name]
                command += ["--batch", str(batch), "--rounds", str(options.rounds)]
                env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
                done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
                for what, seconds in json.loads(done.stdout.splitlines()[-1]).items():
                    taken[name][what] += seconds
        print(
            f"batch {batch}, {SIZE}x{SIZE}, {CRITIC_STEPS} critic steps; inference {INFERENCE}x{INFERENCE}, one image"
        )
        middle = {name: {what: statistics.median(s) for what, s in both.items()} for name, both in taken.items()}
        for name, both in middle.items():
            reference = middle[name.replace("ours", "reference")]
            gains = " ".join(f"{what} x{reference[what] / both[what]:.2f}" for what in both if name.startswith("ours"))
            print(f"  {name:18} step {both['step']:6.2f} s   inference {1000 * both['inference']:5.0f} ms   {gains}")


if __name__ == "__main__":
    main()
