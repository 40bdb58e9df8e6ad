"""The networks: generators, which restore images, and the critic, which judges them.

The ResNet generator and the PatchGAN critic are those of Kupyn et al., "DeblurGAN: Blind Motion Deblurring Using
Conditional Adversarial Networks", CVPR 2018, section 3, after Johnson et al. 2016 and Isola et al. 2017. The other
generator is of the blocks of Chen et al., "Simple Baselines for Image Restoration" (NAFNet), ECCV 2022. Images are
`float32` NHWC in [-1, 1].
"""

import math
from collections.abc import Callable

import keras
from keras import layers

from deblurgan.layers import AddAndClip, ChannelScale, Gate, InstanceNorm, PixelShuffle, ReflectionPad
from deblurgan.params import Critic, Generator

LEVELS = 4
"""How often the NAFNet generator halves its images."""

RELU, LINEAR = 2.0, 1.0
"""Variance of initial weights, times their number, that keeps a signal's power: a ReLU takes half of it away."""


def exact_dtype() -> str:
    """The type of weights, in which losses are computed where layers compute in a lower precision."""
    return keras.config.dtype_policy().variable_dtype


def stride(generator: keras.Model) -> int:
    """The number that the height and width of a generator's images have to be multiples of."""
    return math.prod(layer.strides[0] for layer in generator.layers if type(layer) is layers.Conv2D)


def _initializer(norm: str, seed: int, gain: float = RELU) -> keras.Initializer:
    """N(0, 0.02) as in the paper's code; without a norm to rescale it, He's variance, or signals die out."""
    if norm == "instance":
        return keras.initializers.RandomNormal(0, 0.02, seed=seed)
    return keras.initializers.VarianceScaling(gain, "fan_in", "truncated_normal", seed=seed)


def _norm(x, norm: str, name: str):
    """Instance norm without learned scale or offset, as in the paper's code; layer norm over channels; or nothing."""
    if norm == "instance":
        return InstanceNorm(name=name)(x)
    return layers.LayerNormalization(epsilon=1e-6, name=name)(x) if norm == "layer" else x


class _Parts:
    """Layers as the parameters ask for them, each with a seed of its own."""

    def __init__(self, settings: Generator, seed: int) -> None:
        self.settings = settings
        self.seeds = iter(range(1000 * seed, 1000 * seed + 1000))

    def initializer(self, gain: float = RELU) -> keras.Initializer:
        return _initializer(self.settings.norm, next(self.seeds), gain)

    def conv(self, x, filters: int, size: int, name: str, strides: int = 1, gain: float = RELU):
        init = self.initializer(gain)
        return layers.Conv2D(filters, size, strides, kernel_initializer=init, name=name)(x)

    def norm(self, x, name: str):
        return _norm(x, self.settings.norm, name)

    def dropout(self, x, name: str):
        rate = self.settings.dropout
        return layers.Dropout(rate, seed=next(self.seeds), name=name)(x) if rate else x

    def up(self, x, filters: int, name: str, gain: float = RELU):
        """Twice the height and width."""
        if self.settings.upsample == "shuffle":
            return PixelShuffle(name=name)(self.conv(x, 4 * filters, 1, f"{name}_conv", gain=gain))
        if self.settings.upsample == "resize":
            x = layers.UpSampling2D(2, name=f"{name}_nearest")(x)
            return self.conv(ReflectionPad(1, name=f"{name}_pad")(x), filters, 3, name, gain=gain)
        # stride 2: a quarter of the taps meet; and Keras counts a transposed kernel's outputs as its inputs
        init = self.initializer(4 * gain * filters / x.shape[-1])
        x = layers.Conv2DTranspose(filters, 3, 2, kernel_initializer=init, name=name)(x)
        # the paper's alignment, which undoes that of a strided convolution; `same` padding is off by a pixel
        return layers.Cropping2D(((1, 0), (1, 0)), name=f"{name}_crop")(x)

    def head(self, x, size: int, activation: str | None):
        """The residual image."""
        init = "zeros" if self.settings.identity_start else self.initializer(LINEAR)
        x = ReflectionPad(size // 2, name="head_pad")(x)
        return layers.Conv2D(3, size, activation=activation, kernel_initializer=init, name="head")(x)


def _resnet(make: _Parts, x):
    """DeblurGAN's generator: two strided convolutions, residual blocks at a quarter of the size, and back."""
    filters = make.settings.filters

    def activated(x, name):
        return layers.ReLU(name=f"{name}_relu")(make.norm(x, f"{name}_norm"))

    x = activated(make.conv(ReflectionPad(3, name="stem_pad")(x), filters, 7, "stem"), "stem")
    for i in (1, 2):
        x = layers.ZeroPadding2D(1, name=f"down{i}_pad")(x)
        x = activated(make.conv(x, filters * 2**i, 3, f"down{i}", strides=2), f"down{i}")
    for i in range(1, make.settings.blocks + 1):
        y = ReflectionPad(1, name=f"block{i}_pad1")(x)
        y = activated(make.conv(y, filters * 4, 3, f"block{i}_conv1"), f"block{i}_conv1")
        y = make.dropout(y, f"block{i}_dropout")
        y = ReflectionPad(1, name=f"block{i}_pad2")(y)
        # what the blocks add comes to the power of what they are added to, however many they are
        y = make.conv(y, filters * 4, 3, f"block{i}_conv2", gain=LINEAR / make.settings.blocks)
        y = make.norm(y, f"block{i}_norm2")
        x = layers.Add(name=f"block{i}")([x, y])
    for i in (1, 2):
        x = activated(make.up(x, filters * 4 // 2**i, f"up{i}"), f"up{i}")
    return make.head(x, 7, "tanh")


def _naf_block(make: _Parts, x, filters: int, name: str):
    """NAFNet's block: depthwise and pointwise convolutions with a gate, then pointwise ones.

    Without its channel attention, whose mean over the whole image is another one in a training crop, in a photo and in
    a tile of it: what a pixel becomes here depends on its surroundings alone.
    """
    y = make.conv(make.norm(x, f"{name}_norm1"), 2 * filters, 1, f"{name}_conv1", gain=LINEAR)
    init = make.initializer(2 * filters * LINEAR)  # Keras counts all channels as inputs of each
    y = layers.DepthwiseConv2D(3, padding="same", depthwise_initializer=init, name=f"{name}_depthwise")(y)
    y = make.conv(Gate(name=f"{name}_gate1")(y), filters, 1, f"{name}_conv2", gain=LINEAR)
    y = ChannelScale(name=f"{name}_scale1")(make.dropout(y, f"{name}_dropout1"))
    x = layers.Add(name=f"{name}_add1")([x, y])
    y = make.conv(make.norm(x, f"{name}_norm2"), 2 * filters, 1, f"{name}_conv3", gain=LINEAR)
    y = make.conv(Gate(name=f"{name}_gate2")(y), filters, 1, f"{name}_conv4", gain=LINEAR)
    y = ChannelScale(name=f"{name}_scale2")(make.dropout(y, f"{name}_dropout2"))
    return layers.Add(name=f"{name}_add2")([x, y])


def _nafnet(make: _Parts, x):
    """A U-Net of NAFNet's blocks: one on each level down and up, `blocks` on the last but one, one at the bottom."""
    filters, skips = make.settings.filters, []
    x = make.conv(ReflectionPad(1, name="stem_pad")(x), filters, 3, "stem", gain=LINEAR)
    for level in range(LEVELS):
        for i in range(make.settings.blocks if level == LEVELS - 1 else 1):
            x = _naf_block(make, x, filters, f"encoder{level + 1}_{i + 1}")
        skips.append(x)
        filters *= 2
        x = make.conv(x, filters, 2, f"down{level + 1}", strides=2, gain=LINEAR)
    x = _naf_block(make, x, filters, "middle")
    for level in reversed(range(LEVELS)):
        filters //= 2
        x = make.up(x, filters, f"up{level + 1}", LINEAR)
        x = layers.Add(name=f"skip{level + 1}")([x, skips.pop()])
        x = _naf_block(make, x, filters, f"decoder{level + 1}")
    return make.head(x, 3, None)


BODIES: dict[str, Callable] = {"resnet": _resnet, "nafnet": _nafnet}
"""From blurred images to the residual ones, by the name of the architecture."""


def build_generator(settings: Generator, seed: int = 0) -> keras.Model:
    """Build the generator.

    Parameters
    ----------
    settings
        A `resnet` with 64 filters, 9 blocks, instance norm, transposed convolutions and dropout 0.5 is the paper's, of
        11,378,179 parameters.
    seed
        Of the initial weights and of dropout.

    Returns
    -------
    keras.Model
        Blurred images (N, H, W, 3) in [-1, 1] to restored ones of the same shape and range; H and W are multiples of
        4 (`resnet`) or 16 (`nafnet`), see `stride`. Dropout is active in training only, so inference is deterministic.
    """
    blurred = layers.Input((None, None, 3), name="blurred")
    residual = BODIES[settings.architecture](_Parts(settings, seed), blurred)
    restored = AddAndClip(name="restored", dtype=exact_dtype())([blurred, residual])
    return keras.Model(blurred, restored, name="generator")


def build_critic(settings: Critic, seed: int = 0) -> keras.Model:
    """Build the critic.

    Parameters
    ----------
    settings
        With 64 filters, 3 layers, instance norm and `conditional: false` it is the paper's, of 2,764,737
        parameters.
    seed
        Of the initial weights.

    Returns
    -------
    keras.Model
        A list `[blurred, judged]` of images (N, H, W, 3) in [-1, 1] to a map of scores (N, h, w, 1), unbounded
        and one for each patch. An unconditional critic looks at `judged` alone.
    """
    blurred = layers.Input((None, None, 3), name="blurred")
    judged = layers.Input((None, None, 3), name="judged")
    x = layers.Concatenate(name="pair")([blurred, judged]) if settings.conditional else judged
    for i in range(settings.layers + 1):
        x = layers.ZeroPadding2D(2, name=f"conv{i}_pad")(x)
        x = layers.Conv2D(
            settings.filters * min(2**i, 8),
            4,
            strides=2 if i < settings.layers else 1,
            kernel_initializer=_initializer(settings.norm, 1000 * seed + i),
            name=f"conv{i}",
        )(x)
        if i:
            x = _norm(x, settings.norm, f"norm{i}")
        x = layers.LeakyReLU(0.2, name=f"relu{i}")(x)
    x = layers.ZeroPadding2D(2, name="scores_pad")(x)
    init = _initializer(settings.norm, 1000 * seed + 999, LINEAR)
    scores = layers.Conv2D(1, 4, kernel_initializer=init, dtype=exact_dtype(), name="scores")(x)
    return keras.Model([blurred, judged], scores, name="critic")
