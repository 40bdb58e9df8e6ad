"""The training and validation step on TensorFlow."""

import functools

import keras
import tensorflow as tf

from deblurgan.training import losses


class Steps(keras.Model):
    """The steps that `fit()` and `evaluate()` call for a batch; `gan.DeblurGAN` is built on them."""

    def train_step(self, batch) -> dict:
        """Make all critic steps, each on its own batch, then one generator step on the last one.

        Parameters
        ----------
        batch
            See `batches.CropSequence`.

        Returns
        -------
        dict
            Means since the start of the epoch: `loss`, the weighted sum of pixel and perceptual loss; `pixel`,
            `content` (perceptual), `g_adversarial`, `d_wasserstein` and `d_penalty` before their weights; `g_norm` and
            `d_norm`, the norms of the gradients (g: of the generator; d: of the critic).
        """
        blur, sharp, epsilon = self.prepared(batch)  # (N, critic steps, H, W, 3) twice, (N, critic steps)
        last = self.settings.critic_steps - 1
        if self.adversarial and last:
            self._early_critic_steps(blur[:, :last], sharp[:, :last], epsilon[:, :last])
        logs = self._last_steps(blur[:, last], sharp[:, last], epsilon[:, last])  # (N, H, W, 3) twice, (N,)
        self._update_average()
        return self._means(logs)

    def _early_critic_steps(self, blur, sharp, epsilon) -> None:
        """All critic steps but the last, each on a batch of its own; (N, steps, H, W, 3)."""
        # the generator does not change between them: one pass restores all their images
        images = tf.reshape(blur, tf.concat([[-1], tf.shape(blur)[2:]], 0))  # (N steps, H, W, 3)
        restored = tf.reshape(self.generator(images, training=True), tf.shape(blur))
        for i in range(blur.shape[1]):
            self._critic_step(blur[:, i], sharp[:, i], restored[:, i], epsilon[:, i])

    def _last_steps(self, blur, sharp, epsilon) -> dict:
        """The last critic step and the generator's step, which share one restoration of (N, H, W, 3)."""
        logs: dict = {}
        with tf.GradientTape() as tape:
            restored = self.generator(blur, training=True)
            scores = None
            if self.adversarial:
                with tape.stop_recording():
                    logs |= self._critic_step(blur, sharp, restored, epsilon)
                scores = self.critic([blur, restored], training=True)
            total, generator_logs = self.generator_loss(restored, sharp, scores)
            total = self.generator_optimizer.scale_loss(_share(total))
        weights = self.generator.trainable_variables
        norm = _apply(self.generator_optimizer, tape.gradient(total, weights), weights)
        return {**logs, **generator_logs, "g_norm": norm}

    def _update_average(self) -> None:
        """Move the averaged generator's weights (EMA) towards the generator's."""
        weights, step = self.averaged.weights, self.generator_optimizer.iterations
        for weight, value in zip(weights, self.next_average(weights, self.generator.weights, step), strict=True):
            weight.assign(value)

    def test_step(self, batch) -> dict:
        """Measure the averaged generator: reconstruction losses, and PSNR in dB."""
        blur, sharp = self.prepared(batch)
        logs = self.validation_logs(self.averaged(blur, training=False), sharp)
        return self._means(logs, tf.shape(blur)[0])

    @functools.cached_property
    def _restore_alone(self):
        return tf.function(lambda images: self.averaged(images, training=False))

    def averaged_output(self, blurred):
        """Restore images with the averaged generator, on one device."""
        return self._restore_alone(tf.convert_to_tensor(blurred)).numpy()

    def _critic_step(self, blur, sharp, restored, epsilon) -> dict:
        """One update of the critic on given restored images."""
        restored = tf.stop_gradient(restored)
        between = losses.interpolate(sharp, restored, epsilon[:, None, None, None])
        with tf.GradientTape() as tape:
            # instance norm sees each image alone, so that both halves of a batch can be scored together
            scores = self.critic([tf.concat([blur, blur], 0), tf.concat([sharp, restored], 0)], training=True)
            with tf.GradientTape() as inner:
                inner.watch(between)
                score = tf.reduce_sum(losses.image_scores(self.critic([blur, between], training=True)))
            total, logs = self.critic_loss(*tf.split(scores, 2), inner.gradient(score, between))
            total = self.critic_optimizer.scale_loss(_share(total))
        weights = self.critic.trainable_variables
        return {**logs, "d_norm": _apply(self.critic_optimizer, tape.gradient(total, weights), weights)}

    def _means(self, logs: dict, weight=1) -> dict:
        """Means since the start of the epoch; the weight is the number of images of a batch that varies."""
        logs = self.measured(logs)
        for name, value in logs.items():
            self.means[name].update_state(_summed(value) / replicas(), sample_weight=weight)
        return {name: self.means[name].result() for name in logs}


def on_cpu() -> bool:
    """Whether there is no GPU to compute on."""
    return not tf.config.list_physical_devices("GPU")


def replicas() -> int:
    """How many devices make a step together."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def _share(loss):
    """One device's share of a loss: its gradients are summed over all devices."""
    return loss / replicas()


def _summed(values):
    """The sum over all devices."""
    return values if replicas() == 1 else tf.distribute.get_replica_context().all_reduce("sum", values)


def _apply(optimizer, gradients, weights):
    """Update weights; the norm of the gradients, before the optimizer clips them."""
    gradients = _summed(gradients)
    # Keras clips what one device has and sums then: each gives its share of the sum, see `optimizers.build_optimizer`
    optimizer.apply([gradient / replicas() for gradient in gradients], weights)
    return tf.linalg.global_norm(gradients)
