"""Adam and its learning-rate schedule."""

import keras
from keras import ops

from deblurgan.params import Train

if keras.backend.backend() == "jax":
    from deblurgan.training.step_jax import replicas
else:
    from deblurgan.training.step_tensorflow import replicas


@keras.saving.register_keras_serializable("deblurgan")
class Trapezoid(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly, stays, and falls linearly to 0; the paper's does not rise.

    Parameters
    ----------
    rate
        The rate where it stays.
    steps
        Optimizer step at which it reaches 0.
    warmup
        Optimizer step at which it has risen to `rate`; 0: it starts there.
    decay_from
        Optimizer step from which it falls.
    """

    def __init__(self, rate: float, steps: int, warmup: int, decay_from: int) -> None:
        self.rate, self.steps, self.warmup, self.decay_from = rate, steps, warmup, decay_from

    def __call__(self, step):
        """Rate at an optimizer step, counted from 0."""
        step = ops.cast(step, "float32")
        risen = (step + 1) / (self.warmup + 1)
        left = (self.steps - step) / max(1, self.steps - self.decay_from)
        return self.rate * ops.clip(ops.minimum(risen, left), 0.0, 1.0)

    def get_config(self) -> dict:
        """What `from_config` needs."""
        return {"rate": self.rate, "steps": self.steps, "warmup": self.warmup, "decay_from": self.decay_from}


def build_optimizer(settings: Train, updates_per_step: int) -> keras.optimizers.Optimizer:
    """Adam with the learning-rate schedule of the recipe; `updates_per_step`: updates in each generator step."""
    updates = settings.steps * updates_per_step
    warmup, decay_from = (round(share * updates) for share in (settings.warmup, settings.decay_from))
    rate = Trapezoid(settings.learning_rate, updates, warmup, decay_from)
    clip = settings.clip_norm and settings.clip_norm / replicas()  # of one device's share of the gradients' sum
    adam = keras.optimizers.Adam(rate, settings.beta_1, settings.beta_2, global_clipnorm=clip)
    return keras.optimizers.LossScaleOptimizer(adam) if settings.precision == "mixed_float16" else adam
