"""Convolution by Winograd's algorithm beside the backend's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from deblurgan.networks import winograd
from deblurgan.networks.critic import build_critic
from deblurgan.networks.generators import build_generator
from deblurgan.params import load

SIZES = (2, 3, 4, 5)


def arrays(size: int, height: int = 11, width: int = 9, inputs: int = 3, filters: int = 2):
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, height, width, inputs)), rng.normal(size=(size, size, inputs, filters))


@pytest.mark.parametrize("size", SIZES)
def test_matrices_turn_one_dimensional_filtering_into_products(size):
    into, taps, out = winograd.matrices(size)
    rng = np.random.default_rng(0)
    pixels, kernel = rng.normal(size=winograd.TILE), rng.normal(size=size)
    assert len(out) == winograd.TILE + 1 - size
    np.testing.assert_allclose(out @ ((taps @ kernel) * (into @ pixels)), np.correlate(pixels, kernel, "valid"))


def test_matrices_of_three_taps_are_the_published_ones():
    """Lavin and Gray, section 4.3: F(4x4, 3x3)."""
    into, taps, out = winograd.matrices(3)
    assert into[1].tolist() == [0, -4, -4, 1, 1, 0]
    assert taps[3].tolist() == [1 / 24, 1 / 12, 1 / 6]
    assert out[3].tolist() == [0, 1, -1, 8, -8, 1]


@given(size=st.sampled_from(SIZES), more=st.tuples(st.integers(0, 9), st.integers(0, 9)), channels=st.integers(1, 4))
def test_it_is_the_definition(size, more, channels):
    images, kernel = arrays(size, size + more[0], size + more[1], channels)
    windows = sliding_window_view(images, kernel.shape[:2], axis=(1, 2))
    expected = np.einsum("nhwcij,ijcf->nhwf", windows, kernel)
    np.testing.assert_allclose(winograd.convolve(images, kernel), expected, atol=1e-12)


def test_rounding_errors_in_float32_are_small():
    """About 2e-6 of the deviation, where sums by the definition have 2e-7."""
    images, kernel = (array.astype(np.float32) for array in arrays(3, 40, 40, 128, 16))
    exact = winograd.convolve(images.astype(np.float64), kernel.astype(np.float64)).numpy()
    error = winograd.convolve(images, kernel).numpy() - exact
    assert 1e-8 < error.std() / exact.std() < 5e-6


@pytest.mark.parametrize("size", SIZES)
def test_derivatives_are_those_of_the_definition(size):
    """Of first order, and that of the gradient penalty: the gradient by the kernel of that by the images."""
    images, kernel = map(tf.constant, arrays(size))

    def derivatives(convolve):
        with tf.GradientTape() as outer:
            outer.watch([images, kernel])
            with tf.GradientTape(persistent=True) as inner:
                inner.watch([images, kernel])
                score = tf.reduce_sum(tf.tanh(convolve(images, kernel)))
            first = inner.gradient(score, [images, kernel])
            total = tf.reduce_sum(first[0] ** 2) + tf.reduce_sum(first[1] ** 3)
        return [*first, *outer.gradient(total, [images, kernel])]

    definition = derivatives(lambda images, kernel: tf.nn.conv2d(images, kernel, 1, "VALID"))
    for found, expected in zip(derivatives(winograd.convolve), definition, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [3, 4])
def test_a_layer_gives_what_it_gave(size, padding, monkeypatch):
    monkeypatch.setattr(winograd, "CHANNELS", 3)
    layer = keras.layers.Conv2D(5, size, padding=padding, activation="relu", bias_initializer="normal")
    network = keras.Sequential([keras.Input((None, None, 3)), layer])
    images = np.random.default_rng(0).normal(size=(2, 9, 13, 3)).astype(np.float32)
    before, saved = network(images).numpy(), network.to_json()
    winograd.speed_up(network)
    after = network(images).numpy()
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert (after != before).any(), "nothing was computed in another way"
    assert network.to_json() == saved
    of_any_size = tf.function(network, input_signature=[tf.TensorSpec((None, None, None, 3))])
    np.testing.assert_allclose(of_any_size(images), before, atol=1e-4)


def test_it_is_used_where_many_channels_meet_at_stride_one():
    p = load("params.yaml")
    paper = {"architecture": "resnet", "filters": 64, "norm": "instance"}
    generator = build_generator(p.generator.model_copy(update={**paper, "blocks": 2}))
    critic = build_critic(p.critic.model_copy(update={"filters": 64, "norm": "instance", "layers": 3}))
    chosen = [
        layer.name
        for network in (generator, critic)
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D) and winograd.gains(layer)
    ]
    assert chosen == ["block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "conv3"]


def test_it_is_not_used_in_lower_precision():
    """Its sums cancel: half the digits of float16 would be lost."""
    layer = keras.layers.Conv2D(128, 3, dtype="mixed_bfloat16")
    layer.build((None, None, None, 128))
    assert not winograd.gains(layer)
    full = keras.layers.Conv2D(128, 3)
    full.build((None, None, None, 128))
    assert winograd.gains(full)
