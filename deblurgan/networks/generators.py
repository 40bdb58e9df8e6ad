"""Generators, which restore images.

The ResNet generator is from Kupyn et al., "DeblurGAN: Blind Motion Deblurring Using
Conditional Adversarial Networks", CVPR 2018, section 3, after Johnson et al. 2016. There is one of the
blocks of Chen et al., "Simple Baselines for Image Restoration" (NAFNet), ECCV 2022; and a U-Net (Ronneberger et al.
2015) of plain residual blocks. Images are `float32` NHWC in [-1, 1].
"""

import itertools
import math
from collections.abc import Callable

import keras
from keras import layers

from deblurgan.networks import building
from deblurgan.networks.layers import (
    AddAndClip,
    ChannelScale,
    Gate,
    MeanAround,
    PixelShuffle,
    ReflectionPad,
    ScaleAround,
)
from deblurgan.params import Generator

LEVELS = 4
"""How often the NAFNet generator halves its images."""
UNET_WIDTHS = (1, 2, 4, 8)
"""Channels of the U-Net on each level, from the whole size to an eighth, in those of the first."""
WINDOW = 384
"""Side of the window of local attention in pixels of the image: 1.5 times the published networks' training crops."""


def stride(generator: keras.Model) -> int:
    """The number that the height and width of a generator's images have to be multiples of."""
    return math.prod(layer.strides[0] for layer in generator.layers if type(layer) is layers.Conv2D)


def numbered(name: str, count: int) -> list[str]:
    """Names of the blocks in one place, the first of which has the name of the place."""
    return [name, *(f"{name}_{i}" for i in range(2, count + 1))]


class _Parts:
    """Layers as the parameters ask for them, each with a seed of its own."""

    def __init__(self, settings: Generator, seed: int) -> None:
        self.settings = settings
        self.seeds = itertools.count(1000 * seed)

    def initializer(self, gain: float = building.RELU) -> keras.Initializer:
        return building.initializer(self.settings.norm, next(self.seeds), gain)

    def conv(
        self, x, filters: int, size: int, name: str, strides: int = 1, gain: float = building.RELU, bias: bool = True
    ):
        init = self.initializer(gain)
        return layers.Conv2D(filters, size, strides, kernel_initializer=init, use_bias=bias, name=name)(x)

    def same(self, x, filters: int, name: str, gain: float = building.RELU):
        """A 3x3 convolution, zeros beyond the borders."""
        init = self.initializer(gain)
        return layers.Conv2D(filters, 3, padding="same", kernel_initializer=init, name=name)(x)

    def norm(self, x, name: str):
        return building.norm(x, self.settings.norm, name)

    def dropout(self, x, name: str):
        rate = self.settings.dropout
        return layers.Dropout(rate, seed=next(self.seeds) % building.SEEDS, name=name)(x) if rate else x

    def up(self, x, filters: int, name: str, gain: float = building.RELU, bias: bool = True):
        """Twice the height and width; `bias` is for sub-pixel convolution."""
        if self.settings.upsample == "shuffle":
            return PixelShuffle(name=name)(self.conv(x, 4 * filters, 1, f"{name}_conv", gain=gain, bias=bias))
        if self.settings.upsample == "resize":
            x = layers.UpSampling2D(2, name=f"{name}_nearest")(x)
            return self.conv(ReflectionPad(1, name=f"{name}_pad")(x), filters, 3, name, gain=gain)
        # stride 2: a quarter of the taps meet; and Keras counts a transposed kernel's outputs as its inputs
        init = self.initializer(4 * gain * filters / x.shape[-1])
        x = layers.Conv2DTranspose(filters, 3, 2, kernel_initializer=init, name=name)(x)
        # the paper's alignment, which undoes that of a strided convolution; `same` padding is off by a pixel
        return layers.Cropping2D(((1, 0), (1, 0)), name=f"{name}_crop")(x)

    def head(self, x, size: int, activation: str | None, mirrored: bool = True):
        """The residual image, of features that are mirrored at borders or padded with zeros."""
        init = "zeros" if self.settings.identity_start else self.initializer(building.LINEAR)
        x = (ReflectionPad if mirrored else layers.ZeroPadding2D)(size // 2, name="head_pad")(x)
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
    (blocks,) = make.settings.blocks_by_place
    for i in range(1, blocks + 1):
        y = ReflectionPad(1, name=f"block{i}_pad1")(x)
        y = activated(make.conv(y, filters * 4, 3, f"block{i}_conv1"), f"block{i}_conv1")
        y = make.dropout(y, f"block{i}_dropout")
        y = ReflectionPad(1, name=f"block{i}_pad2")(y)
        # what the blocks add comes to the power of what they are added to, however many they are
        y = make.conv(y, filters * 4, 3, f"block{i}_conv2", gain=building.LINEAR / blocks)
        y = make.norm(y, f"block{i}_norm2")
        x = layers.Add(name=f"block{i}")([x, y])
    for i in (1, 2):
        x = activated(make.up(x, filters * 4 // 2**i, f"up{i}"), f"up{i}")
    return make.head(x, 7, "tanh")


def _naf_block(make: _Parts, x, level: int, name: str):
    """NAFNet's block on a level, 0 being the image's size: convolutions with a gate, then pointwise ones.

    Without channel attention a restored pixel depends on its surroundings alone. Attention takes its mean over the
    whole image, which differs between a training crop, a photo and a tile of the photo.
    """
    filters = x.shape[-1]
    y = make.conv(make.norm(x, f"{name}_norm1"), 2 * filters, 1, f"{name}_conv1", gain=building.LINEAR)
    init = make.initializer(2 * filters * building.LINEAR)  # Keras counts all channels as inputs of each
    y = layers.DepthwiseConv2D(3, padding="same", depthwise_initializer=init, name=f"{name}_depthwise")(y)
    y = Gate(name=f"{name}_gate1")(y)
    if make.settings.attention != "none":
        window = WINDOW >> level if make.settings.attention == "local" else None
        means = MeanAround(window, name=f"{name}_means")(y)
        factors = make.conv(means, filters, 1, f"{name}_attention", gain=building.LINEAR)
        y = ScaleAround(name=f"{name}_attended")([y, factors])
    y = make.conv(y, filters, 1, f"{name}_conv2", gain=building.LINEAR)
    y = ChannelScale(name=f"{name}_scale1")(make.dropout(y, f"{name}_dropout1"))
    x = layers.Add(name=f"{name}_add1")([x, y])
    y = make.conv(make.norm(x, f"{name}_norm2"), 2 * filters, 1, f"{name}_conv3", gain=building.LINEAR)
    y = make.conv(Gate(name=f"{name}_gate2")(y), filters, 1, f"{name}_conv4", gain=building.LINEAR)
    y = ChannelScale(name=f"{name}_scale2")(make.dropout(y, f"{name}_dropout2"))
    return layers.Add(name=f"{name}_add2")([x, y])


def _nafnet(make: _Parts, x):
    """A U-Net of NAFNet's blocks.

    With channel attention it is NAFNet as published: on images in [0, 1], which are padded with zeros.
    """
    blocks = make.settings.blocks_by_place
    published = make.settings.attention != "none"
    filters, skips = make.settings.filters, []
    if published:
        x = layers.Rescaling(0.5, 0.5, name="to_unit_range")(x)
        x = layers.ZeroPadding2D(1, name="stem_pad")(x)
    else:
        x = ReflectionPad(1, name="stem_pad")(x)
    x = make.conv(x, filters, 3, "stem", gain=building.LINEAR)
    for level in range(LEVELS):
        for i in range(blocks[level]):
            x = _naf_block(make, x, level, f"encoder{level + 1}_{i + 1}")
        skips.append(x)
        filters *= 2
        x = make.conv(x, filters, 2, f"down{level + 1}", strides=2, gain=building.LINEAR)
    for name in numbered("middle", blocks[LEVELS]):
        x = _naf_block(make, x, LEVELS, name)
    for level in reversed(range(LEVELS)):
        filters //= 2
        x = make.up(x, filters, f"up{level + 1}", building.LINEAR, bias=not published)
        x = layers.Add(name=f"skip{level + 1}")([x, skips.pop()])
        for name in numbered(f"decoder{level + 1}", blocks[2 * LEVELS - level]):
            x = _naf_block(make, x, level, name)
    if not published:
        return make.head(x, 3, None)
    residual = make.head(x, 3, None, mirrored=False)
    return layers.Rescaling(2.0, dtype=building.exact_dtype(), name="from_unit_range")(residual)


def _residual_block(make: _Parts, x, name: str, share: float = 1.0):
    """Two 3x3 convolutions; what they add has a share of the power of what it is added to."""
    filters = x.shape[-1]
    y = make.norm(make.same(x, filters, f"{name}_conv1"), f"{name}_norm1")
    y = make.dropout(layers.ReLU(name=f"{name}_relu")(y), f"{name}_dropout")
    y = make.norm(make.same(y, filters, f"{name}_conv2", building.LINEAR * share), f"{name}_norm2")
    return layers.Add(name=name)([x, y])


def _unet(make: _Parts, x):
    """A U-Net of residual blocks, most of them at an eighth of the size.

    There a convolution sees eight times as far as at the full size, for a tenth of the arithmetic.
    """
    filters, blocks = make.settings.filters, make.settings.blocks_by_place
    down, bottom, up = blocks[:3], blocks[3], blocks[:3:-1]  # from the whole size on, both ways
    x, skips = make.same(x, filters, "stem", building.LINEAR), []

    def residual_blocks(x, names):
        for name in names:
            x = _residual_block(make, x, name, 1 / len(names))
        return x

    for level, width in enumerate(UNET_WIDTHS[1:], 1):
        x = residual_blocks(x, numbered(f"encoder{level}", down[level - 1]))
        skips.append(x)
        x = make.conv(x, filters * width, 2, f"down{level}", strides=2, gain=building.LINEAR)
    x = residual_blocks(x, [f"body{i}" for i in range(1, bottom + 1)])
    for level, width in reversed(list(enumerate(UNET_WIDTHS[:-1], 1))):
        x = make.up(x, filters * width, f"up{level}", building.LINEAR)
        x = layers.Add(name=f"skip{level}")([x, skips.pop()])
        x = residual_blocks(x, numbered(f"decoder{level}", up[level - 1]))
    return make.head(x, 3, None)


BODIES: dict[str, Callable] = {"resnet": _resnet, "nafnet": _nafnet, "unet": _unet}
"""From blurred images to the residual ones, by the name of the architecture."""


def build_generator(settings: Generator, seed: int = 0) -> keras.Model:
    """Build the generator.

    Parameters
    ----------
    settings
        A `resnet` with 64 filters, 9 blocks, instance norm, transposed convolutions and dropout 0.5 is the paper's, of
        11,378,179 parameters. A `nafnet` with 32 filters, 28 blocks, attention, layer norm and sub-pixel convolution is
        NAFNet's authors' of width 32 for GoPro, of 17,111,907 parameters.
    seed
        Of the initial weights and of dropout.

    Returns
    -------
    keras.Model
        Blurred images (N, H, W, 3) in [-1, 1] to restored ones of the same shape and range; H and W are multiples of
        4 (`resnet`), 8 (`unet`) or 16 (`nafnet`), see `stride`. Dropout is active in training only, so inference is
        deterministic.
    """
    blurred = layers.Input((None, None, 3), name="blurred")
    residual = BODIES[settings.architecture](_Parts(settings, seed), blurred)
    restored = AddAndClip(name="restored", dtype=building.exact_dtype())([blurred, residual])
    return keras.Model(blurred, restored, name="generator")
