"""The training and validation step on JAX: as on TensorFlow, written as functions of the variables' values."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import keras

from deblurgan.training import devices, losses


def on_cpu() -> bool:
    """Whether there is no GPU to compute on."""
    return jax.default_backend() == "cpu"


def replicas() -> int:
    """How many devices share the sum of gradients: JAX computes them of the whole batch."""
    return 1


class _Values(dict):
    """The values of variables while a step is computed."""

    def __init__(self, groups: list[list[keras.Variable]], values: Any) -> None:
        super().__init__()
        self.groups = groups
        for group, part in zip(groups, values, strict=True):
            self.put(group, part)

    def of(self, variables: list[keras.Variable]) -> list:
        return [self[id(variable)] for variable in variables]

    def put(self, variables: list[keras.Variable], values: Any) -> None:
        self.update((id(variable), value) for variable, value in zip(variables, values, strict=True))

    def state(self) -> tuple[list, ...]:
        return tuple(self.of(group) for group in self.groups)


class Steps(keras.Model):
    """The steps that `fit()` and `evaluate()` call for a batch; `gan.DeblurGAN` is built on them."""

    def train_step(self, state, batch) -> tuple:
        """Make all critic steps, each on its own batch, then one generator step on the last one.

        Parameters
        ----------
        state
            Values of the trainable, of other, of the optimizers' and of the metrics' variables.
        batch
            See `batches.CropSequence`.

        Returns
        -------
        logs, state
            As on TensorFlow, and the new values.
        """
        now = _Values(
            [
                self.trainable_variables,
                self.non_trainable_variables,
                self.optimizer.variables,
                self.metrics_variables,
            ],
            state,
        )
        blur, sharp, epsilon = self.prepared(batch)  # (N, critic steps, H, W, 3) twice, (N, critic steps)
        last = self.settings.critic_steps - 1
        if self.adversarial and last:
            self._early_critic_steps(now, blur[:, :last], sharp[:, :last], epsilon[:, :last])
        logs = self._last_steps(now, blur[:, last], sharp[:, last], epsilon[:, last])  # (N, H, W, 3) twice, (N,)
        self._update_average(now)
        return self._means(now, logs), now.state()

    def _early_critic_steps(self, now: _Values, blur, sharp, epsilon) -> None:
        """All critic steps but the last, each on a batch of its own; (N, steps, H, W, 3)."""
        # the generator does not change between them: one pass restores all their images
        weights = now.of(self.generator.trainable_variables)
        restored, others = self._restore(now, weights, blur.reshape(-1, *blur.shape[2:]))  # (N steps, H, W, 3)
        now.put(self.generator.non_trainable_variables, others)
        restored = restored.reshape(blur.shape)
        for i in range(blur.shape[1]):
            self._critic_step(now, blur[:, i], sharp[:, i], restored[:, i], epsilon[:, i])

    def _last_steps(self, now: _Values, blur, sharp, epsilon) -> dict:
        """The last critic step and the generator's step, which share one restoration of (N, H, W, 3)."""
        generator, logs = self.generator, dict[str, Any]()
        weights = now.of(generator.trainable_variables)
        # the critic's step needs the images before the generator's gradient is known: `backward` waits for it
        restored, backward, others = jax.vjp(lambda weights: self._restore(now, weights, blur), weights, has_aux=True)
        now.put(generator.non_trainable_variables, others)
        if self.adversarial:
            logs |= self._critic_step(now, blur, sharp, restored, epsilon)

        def loss(restored):
            scores = self._scores(now.of(self.critic.trainable_variables), blur, restored) if self.adversarial else None
            total, logs = self.generator_loss(restored, sharp, scores)
            return self._scaled(now, self.generator_optimizer, total), logs

        gradient, generator_logs = jax.grad(loss, has_aux=True)(restored)  # (N, H, W, 3)
        (gradients,) = backward(gradient)  # one for each weight
        norm = self._apply(now, generator, self.generator_optimizer, gradients)
        return {**logs, **generator_logs, "g_norm": norm}

    def _update_average(self, now: _Values) -> None:
        """Move the averaged generator's weights (EMA) towards the generator's."""
        averaged, weights = (now.of(network.weights) for network in (self.averaged, self.generator))
        step = now.of([self.generator_optimizer.iterations])[0]
        now.put(self.averaged.weights, self.next_average(averaged, weights, step))

    def _restore(self, now: _Values, weights, images) -> tuple[jax.Array, list]:
        """Restored images, and the generator's other variables after it: dropout's seeds."""
        others = now.of(self.generator.non_trainable_variables)
        return self.generator.stateless_call(weights, others, images, training=True)

    def test_step(self, state, batch) -> tuple:
        """Measure the averaged generator: reconstruction losses, and PSNR in dB."""
        now = _Values([self.trainable_variables, self.non_trainable_variables, self.metrics_variables], state)
        blur, sharp = self.prepared(batch)
        averaged = self.averaged
        restored, _ = averaged.stateless_call(
            now.of(averaged.trainable_variables), now.of(averaged.non_trainable_variables), blur, training=False
        )
        logs = self._means(now, self.validation_logs(restored, sharp), blur.shape[0])
        return logs, now.state()

    @functools.cached_property
    def _restore_alone(self):
        return jax.jit(functools.partial(self.averaged.stateless_call, training=False))

    def averaged_output(self, blurred):
        """Restore images with the averaged generator, on one device."""
        self.jax_state_sync()  # while it trains, the variables are elsewhere
        parts = (self.averaged.trainable_variables, self.averaged.non_trainable_variables)
        values = [[keras.ops.convert_to_numpy(variable) for variable in part] for part in parts]
        with devices.alone():
            output, _ = self._restore_alone(*values, blurred)
        return keras.ops.convert_to_numpy(output)

    def _scores(self, weights, blur, judged):
        return self.critic.stateless_call(weights, [], [blur, judged], training=True)[0]

    def _critic_step(self, now: _Values, blur, sharp, restored, epsilon) -> dict:
        """One update of the critic on given restored images."""
        restored = jax.lax.stop_gradient(restored)
        between = losses.interpolate(sharp, restored, epsilon[:, None, None, None])

        def loss(weights):
            # instance norm sees each image alone, so that both halves of a batch can be scored together
            scores = self._scores(weights, jnp.concatenate([blur, blur]), jnp.concatenate([sharp, restored]))
            slopes = jax.grad(lambda images: losses.image_scores(self._scores(weights, blur, images)).sum())(between)
            total, logs = self.critic_loss(*jnp.split(scores, 2), slopes)
            return self._scaled(now, self.critic_optimizer, total), logs

        gradients, logs = jax.grad(loss, has_aux=True)(now.of(self.critic.trainable_variables))
        return {**logs, "d_norm": self._apply(now, self.critic, self.critic_optimizer, gradients)}

    def _scaled(self, now: _Values, optimizer, loss):
        """The loss times the scale that keeps float16 gradients from vanishing."""
        values = zip(optimizer.variables, now.of(optimizer.variables), strict=True)
        with keras.StatelessScope(state_mapping=values):
            return optimizer.scale_loss(loss)

    def _apply(self, now: _Values, network, optimizer, gradients):
        """Update weights; the norm of the gradients, before the optimizer clips them."""
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients))
        weights, variables = optimizer.stateless_apply(
            now.of(optimizer.variables), gradients, now.of(network.trainable_variables)
        )
        now.put(network.trainable_variables, weights)
        now.put(optimizer.variables, variables)
        return norm

    def _means(self, now: _Values, logs: dict, weight=1) -> dict:
        """Means since the start of the epoch; the weight is the number of images of a batch that varies."""
        means = {}
        for name, value in self.measured(logs).items():
            mean = self.means[name]
            now.put(mean.variables, mean.stateless_update_state(now.of(mean.variables), value, sample_weight=weight))
            means[name] = mean.stateless_result(now.of(mean.variables))
        return means
