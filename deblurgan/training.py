"""DeblurGAN as a Keras model: `train_step` is the algorithm, `fit()` does the rest."""

import keras
import tensorflow as tf
from keras import ops

from deblurgan import losses
from deblurgan.params import Train


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


def build_optimizer(settings: Train, updates_per_step: int) -> keras.optimizers.Adam:
    """Adam with the schedule of the recipe, for a network updated so many times in each generator step."""
    updates = settings.steps * updates_per_step
    warmup, decay_from = (round(share * updates) for share in (settings.warmup, settings.decay_from))
    rate = Trapezoid(settings.learning_rate, updates, warmup, decay_from)
    return keras.optimizers.Adam(rate, settings.beta_1, settings.beta_2)


class DeblurGAN(keras.Model):
    """Generator and critic trained against each other (WGAN-GP), with content losses.

    Parameters
    ----------
    generator
        Blurred to restored images, see `models.build_generator`.
    critic
        `[blurred, judged]` to patch scores, see `models.build_critic`.
    averaged
        A second generator of the same architecture. It holds the moving average of the first one's weights,
        and is what validates and what is kept.
    settings
        The recipe.
    features
        Feature extractor of the content loss; needed where `settings.lambda_content` is not 0.
    seed
        Of the interpolation factors of the gradient penalty; with the step number it determines them.
    """

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        averaged: keras.Model,
        settings: Train,
        features: keras.Model | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(name="deblurgan")
        self.generator, self.critic, self.averaged = generator, critic, averaged
        self.averaged.set_weights(generator.get_weights())
        self.settings, self.features, self.seed = settings, features, seed
        names = ("loss", "pixel", "content", "psnr", "g_adversarial", "d_wasserstein", "d_penalty")
        self.means = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    def compile(self) -> None:
        """Give both networks the optimizer of the recipe."""
        super().compile(jit_compile=False)
        self.generator_optimizer = build_optimizer(self.settings, 1)
        self.critic_optimizer = build_optimizer(self.settings, self.settings.critic_steps)
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.critic_optimizer.build(self.critic.trainable_variables)

    def call(self, blurred, training=False):
        """Restore images with the averaged generator."""
        return self.averaged(blurred, training=training)

    def train_step(self, batch) -> dict:
        """Make all critic steps, each on its own batch, then one generator step on the last one.

        Parameters
        ----------
        batch
            `(blur, sharp)`, each (critic_steps, N, H, W, 3) in [-1, 1].

        Returns
        -------
        dict
            Means since the start of the epoch: `loss`, the weighted content losses; `pixel`, `content`,
            `g_adversarial`, `d_wasserstein` and `d_penalty` before their weights (d: the critic).
        """
        blur, sharp = batch
        adversarial = self.settings.lambda_adversarial > 0
        logs = {}
        if adversarial:
            for i in range(self.settings.critic_steps - 1):
                self._critic_step(blur[i], sharp[i], self.generator(blur[i], training=True))
        with tf.GradientTape() as tape:
            restored = self.generator(blur[-1], training=True)
            if adversarial:
                with tape.stop_recording():
                    logs |= self._critic_step(blur[-1], sharp[-1], restored)
            loss, content_logs = self._content_loss(restored, sharp[-1])
            logs |= content_logs
            if adversarial:
                logs["g_adversarial"] = losses.generator_adversarial(self.critic([blur[-1], restored], training=True))
                loss += self.settings.lambda_adversarial * logs["g_adversarial"]
        weights = self.generator.trainable_variables
        self.generator_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self._update_average()
        return self._averaged_logs(logs)

    def _critic_step(self, blur, sharp, restored) -> dict:
        """One update of the critic on given restored images."""
        restored = ops.stop_gradient(restored)
        iteration = ops.cast(self.critic_optimizer.iterations, "int32")
        shape = (ops.shape(sharp)[0], 1, 1, 1)
        between = losses.interpolate(sharp, restored, tf.random.stateless_uniform(shape, [self.seed, iteration]))
        with tf.GradientTape() as tape:
            real_scores = self.critic([blur, sharp], training=True)
            fake_scores = self.critic([blur, restored], training=True)
            with tf.GradientTape() as inner:
                inner.watch(between)
                scores = ops.mean(self.critic([blur, between], training=True), axis=(1, 2, 3))
            wasserstein = losses.critic_wasserstein(real_scores, fake_scores)
            penalty = losses.gradient_penalty(inner.gradient(scores, between))
            total = wasserstein + self.settings.lambda_penalty * penalty
        weights = self.critic.trainable_variables
        self.critic_optimizer.apply_gradients(zip(tape.gradient(total, weights), weights, strict=True))
        return {"d_wasserstein": wasserstein, "d_penalty": penalty}

    def _content_loss(self, restored, sharp) -> tuple:
        """Weighted sum of the content losses, `loss` among the logs, and each of them before its weight."""
        s = self.settings
        logs = {"pixel": losses.pixel(restored, sharp)}
        total = s.lambda_pixel * logs["pixel"]
        if s.lambda_content:
            logs["content"] = losses.content(self.features(restored), ops.stop_gradient(self.features(sharp)))
            total += s.lambda_content * logs["content"]
        return total, {**logs, "loss": total}

    def _update_average(self) -> None:
        """Move the averaged generator towards the trained one, faster at first."""
        step = ops.cast(self.generator_optimizer.iterations, "float32")
        keep = ops.minimum(self.settings.ema, step / (step + 10))
        for average, weight in zip(self.averaged.weights, self.generator.weights, strict=True):
            average.assign(keep * average + (1 - keep) * weight)

    def test_step(self, batch) -> dict:
        """Measure the averaged generator on `(blur, sharp)`, each (N, H, W, 3): content losses, and PSNR in dB."""
        blur, sharp = batch
        restored = self.averaged(blur, training=False)
        error = ops.mean(ops.square(ops.round((restored - sharp) * 127.5)), axis=(1, 2, 3))
        psnr = ops.mean(10 * ops.log10(255.0**2 / ops.maximum(error, 1e-10)))
        return self._averaged_logs({**self._content_loss(restored, sharp)[1], "psnr": psnr}, ops.shape(blur)[0])

    def _averaged_logs(self, logs: dict, weight=1) -> dict:
        """Means since the start of the epoch; the weight is the number of images of a batch that varies."""
        for name, value in logs.items():
            self.means[name].update_state(value, sample_weight=weight)
        return {name: self.means[name].result() for name in logs}
