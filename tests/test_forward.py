"""The networks' output beside the same computation in plain NumPy and float64, written from the papers."""

import numpy as np
import pytest
from conftest import SMALL
from numpy.lib.stride_tricks import sliding_window_view

from deblurgan.networks.critic import build_critic
from deblurgan.networks.generators import build_generator
from deblurgan.params import Critic

RESNET = SMALL.model_copy(update={"blocks": 2, "norm": "instance", "dropout": 0.5})
UNET = RESNET.model_copy(update={"architecture": "unet", "norm": "none", "upsample": "shuffle"})
UNET = UNET.model_copy(update={"blocks": (1, 2, 1, 3, 2, 1, 3)})
NAFNET = RESNET.model_copy(update={"architecture": "nafnet", "norm": "layer", "upsample": "shuffle"})


class Numpy:
    """Layers by their definitions, with the weights of a Keras model."""

    def __init__(self, model):
        self.weights = {layer.name: [np.asarray(w, np.float64) for w in layer.get_weights()] for layer in model.layers}
        self.used = set()

    def of(self, name):
        self.used.add(name)
        return self.weights[name]

    def conv(self, x, name, stride=1):
        kernel, bias = self.of(name)
        windows = sliding_window_view(x, kernel.shape[:2], axis=(1, 2))[:, ::stride, ::stride]
        return np.einsum("nhwcij,ijcf->nhwf", windows, kernel) + bias

    def transposed(self, x, name):
        """Twice the size: pixel (2 y + i - 1, 2 x + j - 1) takes pixel (y, x) times tap (i, j)."""
        kernel, bias = self.of(name)
        n, height, width, _ = x.shape
        out = np.zeros((n, 2 * height + 1, 2 * width + 1, kernel.shape[2]))
        for i in range(3):
            for j in range(3):
                out[:, i : i + 2 * height : 2, j : j + 2 * width : 2] += x @ kernel[i, j].T
        return out[:, 1:, 1:] + bias

    def depthwise(self, x, name):
        kernel, bias = self.of(name)
        windows = sliding_window_view(padded(x, 1, "constant"), kernel.shape[:2], axis=(1, 2))
        return np.einsum("nhwcij,ijc->nhwc", windows, kernel[..., 0]) + bias

    def layer_norm(self, x, name):
        scale, offset = self.of(name)
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * scale + offset


def padded(x, width, mode):
    return np.pad(x, ((0, 0), (width, width), (width, width), (0, 0)), mode=mode)


def instance_norm(x):
    return (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)


def gate(x):
    one, other = np.split(x, 2, axis=-1)
    return one * other


def shuffled(x):
    n, height, width, channels = x.shape
    x = x.reshape(n, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, 2 * height, 2 * width, channels // 4)


def relu(x):
    return np.maximum(x, 0)


def papers_generator(net, blurred):
    x = relu(instance_norm(net.conv(padded(blurred, 3, "reflect"), "stem")))
    for i in (1, 2):
        x = relu(instance_norm(net.conv(padded(x, 1, "constant"), f"down{i}", stride=2)))
    for i in (1, 2):
        y = relu(instance_norm(net.conv(padded(x, 1, "reflect"), f"block{i}_conv1")))
        x = x + instance_norm(net.conv(padded(y, 1, "reflect"), f"block{i}_conv2"))
    for i in (1, 2):
        x = relu(instance_norm(net.transposed(x, f"up{i}")))
    return np.clip(blurred + np.tanh(net.conv(padded(x, 3, "reflect"), "head")), -1, 1)


def nafnet(net, blurred):
    def block(x, name):
        y = gate(net.depthwise(net.conv(net.layer_norm(x, f"{name}_norm1"), f"{name}_conv1"), f"{name}_depthwise"))
        x = x + net.conv(y, f"{name}_conv2") * net.of(f"{name}_scale1")[0]
        y = net.conv(gate(net.conv(net.layer_norm(x, f"{name}_norm2"), f"{name}_conv3")), f"{name}_conv4")
        return x + y * net.of(f"{name}_scale2")[0]

    x, skips = net.conv(padded(blurred, 1, "reflect"), "stem"), []
    for level in (1, 2, 3, 4):
        for i in (1, 2) if level == 4 else (1,):
            x = block(x, f"encoder{level}_{i}")
        skips.append(x)
        x = net.conv(x, f"down{level}", stride=2)
    x = block(x, "middle")
    for level in (4, 3, 2, 1):
        x = block(shuffled(net.conv(x, f"up{level}_conv")) + skips.pop(), f"decoder{level}")
    return np.clip(blurred + net.conv(padded(x, 1, "reflect"), "head"), -1, 1)


def unet(net, blurred):
    """Levels of 1, 2 and 1 blocks down, 3 at an eighth of the size, 2, 1 and 3 up."""

    def conv(x, name):
        return net.conv(padded(x, 1, "constant"), name)

    def block(x, name):
        return x + conv(relu(conv(x, f"{name}_conv1")), f"{name}_conv2")

    def blocks(x, *names):
        for name in names:
            x = block(x, name)
        return x

    x, skips = conv(blurred, "stem"), []
    for level, names in enumerate((["encoder1"], ["encoder2", "encoder2_2"], ["encoder3"]), 1):
        skips.append(blocks(x, *names))
        x = net.conv(skips[-1], f"down{level}", stride=2)
    x = blocks(x, "body1", "body2", "body3")
    up = {3: ["decoder3", "decoder3_2"], 2: ["decoder2"], 1: ["decoder1", "decoder1_2", "decoder1_3"]}
    for level, names in up.items():
        x = blocks(shuffled(net.conv(x, f"up{level}_conv")) + skips.pop(), *names)
    return np.clip(blurred + net.conv(padded(x, 1, "reflect"), "head"), -1, 1)


def papers_critic(net, judged):
    x = judged
    for i in range(4):
        x = net.conv(padded(x, 2, "constant"), f"conv{i}", stride=2 if i < 3 else 1)
        x = instance_norm(x) if i else x
        x = np.where(x > 0, x, 0.2 * x)
    return net.conv(padded(x, 2, "constant"), "scores")


def with_random_weights(model):
    rng = np.random.default_rng(1)
    model.set_weights(
        [rng.normal(0, 0.3 / np.sqrt(max(1, w[..., 0].size)) ** 0.5, w.shape) for w in model.get_weights()]
    )
    return model


def images():
    return np.random.default_rng(0).uniform(-1, 1, (2, 32, 48, 3)).astype(np.float32)


@pytest.mark.parametrize(("settings", "reference"), [(RESNET, papers_generator), (NAFNET, nafnet), (UNET, unet)])
def test_a_generator_computes_what_its_paper_says(settings, reference):
    generator = with_random_weights(build_generator(settings))
    net, x = Numpy(generator), images()
    expected = reference(net, x.astype(np.float64))
    np.testing.assert_allclose(generator.predict_on_batch(x), expected, atol=2e-5)
    assert np.abs(expected - x).mean() > 0.05
    assert net.used == {layer.name for layer in generator.layers if layer.weights}


def test_the_critic_computes_what_its_paper_says():
    critic = with_random_weights(build_critic(Critic(filters=4, layers=3, norm="instance", conditional=False)))
    net, x = Numpy(critic), images()
    expected = papers_critic(net, x.astype(np.float64))
    np.testing.assert_allclose(critic.predict_on_batch([x, x]), expected, rtol=1e-4, atol=1e-5)
    assert net.used == {layer.name for layer in critic.layers if layer.weights}
    assert expected.shape == (2, 7, 9, 1)
