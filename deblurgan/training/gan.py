"""DeblurGAN as a Keras model: generator and critic against each other (WGAN-GP), and losses against the sharp image.

What one step computes is here and in `losses`; how a backend takes gradients is in `step_tensorflow` and `step_jax`.
`fit()` does the rest.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from deblurgan.images import to_float, to_uint8
from deblurgan.networks.critic import build_critic
from deblurgan.networks.generators import build_generator
from deblurgan.networks.model_files import copy_weights
from deblurgan.networks.vgg19 import build_features
from deblurgan.networks.winograd import speed_up
from deblurgan.params import Critic, Generator, Train
from deblurgan.training import losses
from deblurgan.training.optimizers import build_optimizer

if keras.backend.backend() == "jax":
    from deblurgan.training.step_jax import Steps, on_cpu
else:
    from deblurgan.training.step_tensorflow import Steps, on_cpu

RAMP = 3
"""Of t steps, the average holds about the last t / RAMP until `settings.ema` holds fewer: shorter averages of short
trainings are noisier, and their scores on photos of other kinds are lower."""


class DeblurGAN(Steps):
    """Generator and critic trained against each other (WGAN-GP), with reconstruction losses: pixel and perceptual.

    A batch for training is `(blur, sharp, epsilon)` as `batches.CropSequence` makes it; one for validation is
    `(blur, sharp)`, `uint8` images of shape (N, H, W, 3).

    Parameters
    ----------
    generator
        Blurred to restored images, see `networks.generators.build_generator`.
    critic
        `[blurred, judged]` to patch scores, see `networks.critic.build_critic`.
    averaged
        A second generator of the same architecture. It holds the moving average of the first one's weights, mixed with
        those of `start`, and is what validates and what is kept.
    settings
        The recipe.
    features
        VGG19, whose features the perceptual loss compares; needed where `settings.lambda_content` is not 0.
    start
        Weights of which `settings.init_share` is mixed into the average; None: the average is the generator's alone.
    """

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        averaged: keras.Model,
        settings: Train,
        features: keras.Model | None = None,
        start: list[np.ndarray] | None = None,
    ) -> None:
        super().__init__(name="deblurgan")
        averaged.set_weights(generator.get_weights())
        averaged.trainable = False
        self.generator, self.critic, self.averaged = generator, critic, averaged
        self.settings = settings
        self.start = start
        # a function, not a layer of this model: its weights are constants, which JAX must not take away while it trains
        # (Any: without a content loss it is None, and nobody calls it)
        self.features: Any = features and (lambda images: features(images))
        self.adversarial = settings.lambda_adversarial > 0
        names = "loss pixel frequency content psnr g_adversarial g_norm d_wasserstein d_penalty d_norm"
        self.means = {name: keras.metrics.Mean(name=name) for name in names.split()}
        self.built = True

    def compile(self) -> None:
        """Give both networks the optimizer of the recipe."""
        super().compile(jit_compile=self.settings.jit or keras.backend.backend() == "jax")
        self.generator_optimizer = build_optimizer(self.settings, 1)
        self.critic_optimizer = build_optimizer(self.settings, self.settings.critic_steps)
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.critic_optimizer.build(self.critic.trainable_variables)
        self.optimizer = _Both(self.generator_optimizer, self.critic_optimizer)

    @property
    def state(self) -> list[keras.Variable]:
        """All that a training changes: networks, optimizers and the state of dropout's seed generators."""
        parts = (self.generator, self.critic, self.averaged, self.generator_optimizer, self.critic_optimizer)
        return [variable for part in parts for variable in part.variables]

    def averaged_among(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Those of the values of `state` that are the averaged generator's."""
        before = len(self.generator.variables) + len(self.critic.variables)
        return values[before : before + len(self.averaged.variables)]

    def restored(self, images: np.ndarray) -> np.ndarray:
        """Restore `uint8` images of shape (N, H, W, 3) with the averaged generator, at any moment of a training."""
        return to_uint8(self.averaged_output(to_float(images)))

    def call(self, blurred, training=False):
        """Restore images with the averaged generator."""
        return self.averaged(blurred, training=training)

    @staticmethod
    def prepared(batch) -> tuple:
        """A batch with its images as `float32` in [-1, 1]."""
        blur, sharp, *epsilon = batch
        return tuple(ops.cast(images, "float32") / 127.5 - 1 for images in (blur, sharp)) + tuple(epsilon)

    def critic_loss(self, real_scores, fake_scores, gradients) -> tuple:
        """What the critic minimises, and its parts before their weights; see `losses` for the arguments."""
        wasserstein = losses.critic_wasserstein(real_scores, fake_scores)
        penalty = losses.gradient_penalty(gradients)
        return wasserstein + self.settings.lambda_penalty * penalty, {
            "d_wasserstein": wasserstein,
            "d_penalty": penalty,
        }

    def generator_loss(self, restored, sharp, scores) -> tuple:
        """What the generator minimises, and its parts; `scores`: the critic's of the restored images, or None."""
        total, logs = self.reconstruction_losses(restored, sharp)
        if scores is not None:
            logs["g_adversarial"] = losses.generator_adversarial(scores)
            total += self.settings.lambda_adversarial * logs["g_adversarial"]
        return total, logs

    def reconstruction_losses(self, restored, sharp) -> tuple:
        """Weighted sum of pixel and perceptual loss, and the logs: `loss`; `pixel`, `content` before their weights."""
        s = self.settings
        logs = {"pixel": losses.PIXEL[s.pixel](restored, sharp)}
        total = s.lambda_pixel * logs["pixel"]
        if s.lambda_frequency:
            logs["frequency"] = losses.frequency(restored, sharp)
            total += s.lambda_frequency * logs["frequency"]
        if s.lambda_content:
            wanted = ops.stop_gradient(self.features(sharp))
            logs["content"] = losses.content(self.features(restored), wanted)
            total += s.lambda_content * logs["content"]
        return total, {**logs, "loss": total}

    def measured(self, logs: dict) -> dict:
        """The logs to show: all but the norms of float16 gradients, which are scaled and may overflow."""
        return {k: v for k, v in logs.items() if self.settings.precision != "mixed_float16" or not k.endswith("_norm")}

    def next_average(self, averaged, weights, step) -> list:
        """The averaged generator's weights after a generator step, counted from 1, whose average keeps less at first.

        With s = `settings.init_share` they approach (1 - s) * the generator's weights + s * the weights of `start`:
        mixed weights forget less of what the start could do (Wortsman et al., Robust fine-tuning of zero-shot models,
        CVPR 2022).
        """
        step, share = ops.cast(step, "float32"), self.settings.init_share
        keep = ops.minimum(self.settings.ema, step / (step + RAMP))
        if self.start:
            weights = [(1 - share) * weight + share * first for weight, first in zip(weights, self.start, strict=True)]
        return [keep * average + (1 - keep) * weight for average, weight in zip(averaged, weights, strict=True)]

    def validation_logs(self, restored, sharp) -> dict:
        """Reconstruction losses, and PSNR in dB of images as they would be stored."""
        error = ops.mean(ops.square(ops.round((restored - sharp) * 127.5)), axis=(1, 2, 3))
        psnr = ops.mean(10 * ops.log10(255.0**2 / ops.maximum(error, 1e-10)))
        return {**self.reconstruction_losses(restored, sharp)[1], "psnr": psnr}


class _Both:
    """Two optimizers where Keras asks a model for the variables of one."""

    built = True

    def __init__(self, *optimizers: keras.optimizers.Optimizer) -> None:
        self.optimizers = optimizers

    @property
    def variables(self) -> list[keras.Variable]:
        return [variable for optimizer in self.optimizers for variable in optimizer.variables]


def build(
    generator: Generator, critic: Critic, settings: Train, seed: int, start: keras.Model | None = None
) -> DeblurGAN:
    """Build and compile the model of a recipe.

    Parameters
    ----------
    generator, critic, settings
        Architectures and recipe.
    seed
        Of the initial weights and of dropout.
    start
        A generator to begin with, of the same architecture; residual blocks that it lacks change nothing at first.

    Raises
    ------
    UserError
        The weights of VGG19, for the perceptual loss, cannot be had, or `start` is of another architecture.
    """
    keras.config.set_dtype_policy(settings.precision)
    features = build_features(settings.vgg_weights) if settings.lambda_content else None
    trained, judge = build_generator(generator, seed), build_critic(critic, seed)
    keras.config.set_dtype_policy("float32")
    if start:
        added = copy_weights(start, trained, "train.init_from", grow=settings.steps > 0)
        if added:
            print(f"train: blocks that train.init_from lacks, and that change nothing at first: {', '.join(added)}")
    if settings.winograd and on_cpu():
        for network in filter(None, (trained, judge, features)):
            speed_up(network)
    given = trained.get_weights() if start and settings.init_share else None
    model = DeblurGAN(trained, judge, build_generator(generator, seed), settings, features, given)
    model.compile()
    return model
