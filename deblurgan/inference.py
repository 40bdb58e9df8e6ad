"""Deblurring images of any size."""

import keras
import numpy as np

from deblurgan.images import to_float, to_uint8
from deblurgan.models import stride


def deblur(generator: keras.Model, image: np.ndarray) -> np.ndarray:
    """Deblur one image.

    Parameters
    ----------
    generator
        See `models.build_generator`.
    image
        `uint8` of shape (H, W, 3), of any size.

    Returns
    -------
    numpy.ndarray
        `uint8` of the same shape. The image is mirrored below and right up to a multiple of the network's
        stride, at least up to 16 pixels, and cut back afterwards.
    """
    height, width = image.shape[:2]
    step = stride(generator)
    down, right = (max(16, -(-side // step) * step) - side for side in (height, width))
    padded = np.pad(image, ((0, down), (0, right), (0, 0)), mode="symmetric")
    restored = generator.predict_on_batch(to_float(padded)[None])[0]
    return to_uint8(restored[:height, :width])
