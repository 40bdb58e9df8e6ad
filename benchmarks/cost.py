"""Operations of a training step of each preset, as XLA counts them; nothing is trained.

    KERAS_BACKEND=jax python -m benchmarks.cost             # presets seed, paper and best; minutes
    KERAS_BACKEND=jax python -m benchmarks.cost pretrain    # another preset

`python -m benchmarks.train --preset NAME` measures what a preset's training costs on this machine.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np

from benchmarks.peak import peak_bytes
from benchmarks.train import features_with_random_weights
from deblurgan import backend
from deblurgan.errors import UserError, reported
from deblurgan.params import Params, check
from deblurgan.presets import merged
from deblurgan.training import devices
from deblurgan.training.batches import CropSequence
from deblurgan.training.frames import Frame, Images
from deblurgan.training.gan import build
from deblurgan.yaml_files import read_yaml

ROOT = Path(__file__).parents[1]
PRESETS = ("seed", "paper", "best")


class Clock(keras.callbacks.Callback):
    """When the training began, and when each epoch ended."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Begin."""
        self.times = [time.perf_counter()]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def settings_of(name: str, vgg_weights: str | None = None, precision: str | None = None) -> Params:
    """The parameters of a preset, with these VGG19 weights and, where it is given, this precision."""
    preset = read_yaml(ROOT / "presets" / f"{name}.yaml")
    train = {"vgg_weights": vgg_weights} | ({"precision": precision} if precision else {})
    changes = merged(preset, {"train": train})
    return check(merged(read_yaml(ROOT / "params.yaml"), changes), name)


def random_crops(p: Params) -> CropSequence:
    """Batches of a preset, of random images."""
    side, rng = 2 * p.train.crop, np.random.default_rng(0)
    frames = [Frame(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(16)]
    pairs = [Images(*halves) for halves in zip(frames[:8], frames[8:], strict=True)]
    return CropSequence(pairs, p.train, p.seed, p.synthesize)


def operations(p: Params, crops: CropSequence) -> float:
    """Floating point operations of a step by the definitions, as XLA counts them; JAX only, 0 elsewhere."""
    if backend.BACKEND != "jax":
        return 0.0
    import jax

    model = build(p.generator, p.critic, p.train.model_copy(update={"winograd": False}), p.seed)
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state = tuple([variable.value for variable in group] for group in groups)
    analysis = jax.jit(model.train_step).lower(state, crops[0]).cost_analysis()
    return analysis["flops"] if analysis else 0.0


def memory() -> str:
    """The most that was in use."""
    if "cores" in backend.device():
        return f"{peak_bytes() / 1e9:.1f} GB of memory"
    if backend.BACKEND == "jax":
        import jax

        peak = jax.devices()[0].memory_stats()["peak_bytes_in_use"]
    else:
        peak = backend.tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return f"{peak / 1e9:.1f} GB of GPU memory"


def measure(name: str, vgg_weights: str, rounds: int, precision: str | None, *, whole: bool) -> None:
    """Train on random images for twice so many steps, the first ones not counted, or for all; print the cost."""
    p = settings_of(name, vgg_weights, precision)
    t = p.train
    crops, clock = random_crops(p), Clock()
    with devices.all_devices(t.batch_size):
        flops = operations(p, crops)
        model = build(p.generator, p.critic, t, p.seed)
        steps, epochs = (t.validate_every, t.steps // t.validate_every) if whole else (rounds, 2)
        model.fit(crops, epochs=epochs, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[clock])
    begun, *ends = clock.times
    each = (ends[-1] - ends[0]) / (steps * (epochs - 1))  # the first epoch is compiled
    images = t.batch_size * t.critic_steps / each
    print(
        f"{name}: {t.batch_size} x {t.crop}x{t.crop}, {t.critic_steps} critic steps, {t.precision}; {backend.device()}"
    )
    print(f"  {each:.4f} s a step, {1 / each:.2f} steps/s, {images:.1f} images/s, {memory()}")
    print(f"  {t.steps} steps: {'measured' if whole else 'extrapolated'}, ", end="")
    print(f"{(ends[-1] - begun if whole else t.steps * each) / 3600:.2f} hours")
    if flops:
        print(f"  {flops / 1e12:.3f} TFLOP a step, {flops / each / 1e12:.2f} TFLOP/s")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=PRESETS, help=f"default: {', '.join(PRESETS)}")
    options = parser.parse_args()
    if backend.BACKEND != "jax":
        raise UserError("JAX counts the operations: KERAS_BACKEND=jax python -m benchmarks.cost")
    weights = features_with_random_weights()
    for name in options.presets:
        p = settings_of(name, weights)
        flops = operations(p, random_crops(p))
        steps = p.train.steps
        print(f"{name}: {flops / 1e12:.2f} TFLOP a step, {steps:,} steps: {flops * steps / 1e15:,.1f} PFLOP")


if __name__ == "__main__":
    with reported("cost"):
        main()
