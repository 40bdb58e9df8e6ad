"""Losses against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from deblurgan.networks.critic import build_critic
from deblurgan.params import Critic
from deblurgan.training import losses


def images(seed, count=2, size=5):
    return np.random.default_rng(seed).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


def gradients_of(critic, batch):
    batch = tf.convert_to_tensor(batch)
    with tf.GradientTape() as tape:
        tape.watch(batch)
        scores = critic(batch)
    return tape.gradient(scores, batch)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(0.01, 10))
def test_the_penalty_of_a_linear_critic_is_known(seed, norm):
    """The gradient of x -> w.x is w everywhere, so the penalty is (|w| - 1)^2."""
    w = images(seed, count=1)
    w *= norm / np.linalg.norm(w)
    found = gradients_of(lambda x: tf.reduce_sum(x * w, axis=(1, 2, 3)), images(seed + 1))
    assert float(losses.gradient_penalty(found)) == pytest.approx((norm - 1) ** 2, rel=1e-3, abs=1e-5)


def test_the_penalty_takes_the_norm_over_the_whole_image_and_the_mean_over_images():
    gradients = np.zeros((2, 4, 5, 3), np.float32)
    gradients[0] = 1  # norm sqrt(60)
    gradients[1, 0, 0, 0] = 3
    expected = ((60**0.5 - 1) ** 2 + (3 - 1) ** 2) / 2
    assert float(losses.gradient_penalty(gradients)) == pytest.approx(expected, rel=1e-5)


def test_the_penalty_can_be_differentiated_where_the_critic_is_flat():
    flat = tf.zeros((1, 2, 2, 3))
    with tf.GradientTape() as tape:
        tape.watch(flat)
        penalty = losses.gradient_penalty(flat)
    assert float(penalty) == pytest.approx(1, abs=1e-5)
    assert np.isfinite(tape.gradient(penalty, flat)).all()


def test_the_second_order_gradient_equals_finite_differences():
    """Of the penalty with respect to the critic's weights, in float64."""
    rng = np.random.default_rng(0)
    x, v = tf.constant(rng.normal(size=(3, 2, 2, 1))), tf.constant(rng.normal(size=(4, 5)))

    def penalty(weights):
        with tf.GradientTape() as tape:
            tape.watch(x)
            hidden = tf.tanh(tf.reshape(x, (3, 4)) @ (weights * v))
            score = tf.reduce_sum(hidden, axis=1)
        return losses.gradient_penalty(tape.gradient(score, x))

    w = tf.Variable(rng.normal(size=(4, 5)))
    with tf.GradientTape() as tape:
        value = penalty(w)
    analytic = tape.gradient(value, w).numpy()
    step = 1e-6
    for index in np.ndindex(4, 5):
        bump = np.zeros((4, 5))
        bump[index] = step
        numeric = (penalty(w + bump) - penalty(w - bump)) / (2 * step)
        assert analytic[index] == pytest.approx(float(numeric), rel=1e-5, abs=1e-7)


def test_wasserstein_terms():
    real, fake = np.array([[3.0, 5.0]]), np.array([[1.0, 2.0]])
    assert float(losses.critic_wasserstein(real, fake)) == 1.5 - 4
    assert float(losses.generator_adversarial(fake)) == -1.5


def test_interpolation_ends_at_its_images_and_is_linear_between():
    real, fake = images(0), images(1)
    epsilon = np.array([0.0, 1.0], np.float32).reshape(2, 1, 1, 1)
    between = np.asarray(losses.interpolate(real, fake, epsilon))
    np.testing.assert_allclose(between[0], real[0])
    np.testing.assert_allclose(between[1], fake[1], atol=1e-6)
    np.testing.assert_allclose(losses.interpolate(real, fake, 0.25), 0.75 * real + 0.25 * fake, atol=1e-6)


def test_pixel_and_perceptual_losses():
    a, b = images(0), images(1)
    assert float(losses.l1(a, b)) == pytest.approx(np.abs(a - b).mean(), rel=1e-5)
    assert float(losses.charbonnier(a, b)) == pytest.approx(np.sqrt((a - b) ** 2 + 1e-6).mean(), rel=1e-5)
    assert float(losses.content(a, b)) == pytest.approx(((a - b) ** 2).mean(), rel=1e-5)
    assert float(losses.l1(a, a)) == float(losses.content(a, a)) == 0


def test_the_loss_in_decibels_is_the_mean_of_each_images_psnr():
    sharp, restored = images(0), images(1)
    restored[1] = sharp[1] + 0.1 * (restored[1] - sharp[1])
    expected = [peak_signal_noise_ratio(a, b, data_range=2) for a, b in zip(sharp, restored, strict=True)]
    assert float(losses.negative_psnr(restored, sharp)) == pytest.approx(-np.mean(expected), abs=0.1)
    assert -45 < float(losses.negative_psnr(sharp, sharp)) < -40  # and not without end


@pytest.fixture
def float64():
    for name in ("float64", "float32"):
        keras.config.set_floatx(name)
        keras.config.set_dtype_policy(name)
        if name == "float64":
            yield


@pytest.mark.parametrize("norm", ["instance", "none"])
@pytest.mark.parametrize("conditional", [True, False])
def test_the_penaltys_gradient_is_that_of_finite_differences(float64, norm, conditional):
    """The second derivative of the whole critic, to each of its weights in a random direction."""
    critic, rng = (
        build_critic(Critic(filters=3, layers=2, norm=norm, conditional=conditional)),
        np.random.default_rng(0),
    )
    for variable in critic.trainable_variables:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    blur, between = (tf.constant(rng.normal(size=(2, 12, 12, 3))) for _ in range(2))

    def penalty():
        with tf.GradientTape() as tape:
            tape.watch(between)
            score = tf.reduce_sum(losses.image_scores(critic([blur, between], training=True)))
        return losses.gradient_penalty(tape.gradient(score, between))

    with tf.GradientTape() as tape:
        value = penalty()
    gradients = tape.gradient(value, critic.trainable_variables)
    for variable, gradient in zip(critic.trainable_variables, gradients, strict=True):
        start, direction, values = variable.numpy(), rng.normal(size=variable.shape), []
        for step in (1e-6, -1e-6):
            variable.assign(start + step * direction)
            values.append(float(penalty()))
        variable.assign(start)
        found = 0 if gradient is None else np.sum(gradient * direction)
        assert found == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-7), variable.path


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(4, 9), st.integers(4, 9))
def test_the_frequency_loss_is_that_of_numpys_transform(seed, height, width):
    one, other = np.random.default_rng(seed).uniform(-1, 1, (2, 2, height, width, 3)).astype(np.float32)
    spectra = np.fft.fft2(one - other, axes=(1, 2), norm="ortho")
    expected = (np.abs(spectra.real) + np.abs(spectra.imag)).mean() / 2
    assert float(losses.frequency(one, other)) == pytest.approx(expected, rel=1e-4)


def test_the_frequency_loss_counts_scattered_errors_more_than_a_wave():
    """Of one size; a wave has all its power in one frequency, and the sum of absolute values favours few."""
    flat = np.zeros((1, 16, 16, 3), np.float32)
    wave = np.broadcast_to(np.where(np.arange(16) % 2, 0.1, -0.1)[:, None], (16, 16)).astype(np.float32)
    noise = np.random.default_rng(0).permutation(wave.ravel()).reshape(16, 16)
    repeated, scattered = (float(losses.frequency(flat, flat + error[None, :, :, None])) for error in (wave, noise))
    assert 0 < repeated < scattered
