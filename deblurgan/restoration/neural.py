"""Deblurring by a generator."""

import math

import keras
import numpy as np
from keras import layers

from deblurgan.networks.generators import stride
from deblurgan.networks.layers import MeanAround, PixelShuffle
from deblurgan.restoration import tiles
from deblurgan.restoration.explosions import Guard
from deblurgan.restoration.traits import Traits, guarded, method_of

COPIES = 8
"""The most memory in use, in multiples of the network's largest layer output; measured by benchmarks/deblur.py."""


def traits_of(generator: keras.Model) -> Traits:
    """Add up the kernels from the first layer to the last, each at the scale of its images."""
    scale, width, largest = 1.0, 0.0, 0.0
    for layer in generator.layers:
        enlarging = isinstance(layer, layers.Conv2DTranspose | layers.UpSampling2D | PixelShuffle)
        if enlarging:
            scale /= 2
        if hasattr(layer, "kernel_size"):
            width += (layer.kernel_size[0] - 1) * scale
        if not enlarging and hasattr(layer, "strides"):
            scale *= layer.strides[0]
        largest = max(largest, 4 * layer.output.shape[-1] / scale**2)
    step = stride(generator)
    reach = math.ceil(width / 2) + step  # kernels of even sizes lean to one side
    return Traits(step, reach, COPIES * largest, pads_with_black(generator))


def network(generator: keras.Model, *, few_sizes: bool = True) -> tiles.Method:
    """Restoring by a generator, see `networks.generators.build_generator`.

    Each new size of images costs memory, since oneDNN keeps what it prepared for the size, and time where XLA compiles:
    `few_sizes` is for images of many sizes.

    Without instance norm a restored pixel depends on its surroundings alone, so that tiles give what the whole image
    gives, but for rounding, and for what lies further away than `traits.FARTHEST`. Instance norm takes mean and
    variance over all pixels that the network is shown. A tile is then restored by its own statistics, as a crop was in
    training, and the result differs slightly.
    Channel attention takes means over what it is shown, or over a window where it is local.

    A generator that pads with black inside is shown images that are padded with black to the next multiple of its
    stride, as its authors show them, whatever `few_sizes` says.
    """
    return method_of(running(generator), traits_of(generator), few_sizes=few_sizes)


def running(generator: keras.Model) -> tiles.Restore:
    """What restores one image by a generator."""

    def run(image: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(generator.predict_on_batch(image[None])[0])

    return run


def pads_with_black(generator: keras.Model) -> bool:
    """Whether a generator is one of those that published weights are for, see `generators.build_generator`."""
    return any(layer.name == "to_unit_range" for layer in generator.layers)


def restoring(
    generator: keras.Model, *, few_sizes: bool = True, ensemble: bool = False, restrained: bool = True
) -> tuple[tiles.Method, Guard]:
    """A generator's method as photos are restored by it, and the guard that looks at its results.

    A tile that explodes is restored again with global statistics where the generator has local ones, or left as it is.
    With `restrained`, so is an image that is hardly blurred.
    """
    again, method = with_global_means(generator), network(generator, few_sizes=few_sizes)
    return guarded(method, running(again) if again else None, ensemble=ensemble, restrained=restrained)


def with_global_means(generator: keras.Model) -> keras.Model | None:
    """A generator of local attention, with global attention in its place and the same weights; None for others."""
    if not any(isinstance(layer, MeanAround) and layer.window for layer in generator.layers):
        return None

    def same(layer: keras.Layer) -> keras.Layer:
        return MeanAround(None, name=layer.name) if isinstance(layer, MeanAround) else layer

    return keras.models.clone_model(generator, clone_function=same)


def deblur(generator: keras.Model, image: np.ndarray, *, ensemble: bool = False, restrained: bool = True) -> np.ndarray:
    """Deblur one image by a generator, see `tiles.deblur` and `restoring`.

    Examples
    --------
    A generator that has not been trained yet leaves images as they are:

    >>> from deblurgan.networks.generators import build_generator
    >>> from deblurgan.params import Generator
    >>> generator = build_generator(
    ...     Generator(architecture="resnet", filters=4, blocks=1, attention="none", norm="none",
    ...               upsample="resize", dropout=0, identity_start=True)
    ... )
    >>> photo = np.arange(21 * 30 * 3).reshape(21, 30, 3).astype(np.uint8)
    >>> bool((deblur(generator, photo) == photo).all())
    True
    """
    return tiles.deblur(restoring(generator, ensemble=ensemble, restrained=restrained)[0], image)
