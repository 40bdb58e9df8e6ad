"""The published architectures in plain NumPy, straight from a checkpoint's tensors: what a conversion is proved by.

Written from the papers and the authors' description, in `float64`, without a thought to speed. Images are (H, W, 3).
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from deblurgan.networks.generators import LEVELS
from deblurgan.params import Generator

Tensors = dict[str, np.ndarray]


def defined(settings: Generator, tensors: Tensors, image: np.ndarray) -> np.ndarray:
    """What a published network makes of an image, before it is clipped.

    Parameters
    ----------
    settings
        Architecture and blocks.
    tensors
        Of the checkpoint.
    image
        (H, W, 3) in [-1, 1]; sides are multiples of 16 and at most 384, so that local attention is global attention.

    Returns
    -------
    numpy.ndarray
        `float64` of the same shape.
    """
    weights = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    image = image.astype(np.float64)
    if settings.architecture == "nafnet":
        return 2 * _nafnet(settings, weights, (image + 1) / 2) - 1
    return _deblurgan(settings, weights, image)


def _conv(
    w: Tensors,
    x: np.ndarray,
    key: str,
    pad: int = 0,
    stride: int = 1,
    mode: Literal["constant", "reflect"] = "constant",
) -> np.ndarray:
    kernel = w[f"{key}.weight"]  # (out, in, h, w)
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)), mode=mode)
    windows = sliding_window_view(x, kernel.shape[2:], axis=(0, 1))[::stride, ::stride]
    return np.tensordot(windows, kernel, ((2, 3, 4), (1, 2, 3))) + w.get(f"{key}.bias", 0)


def _gated(x: np.ndarray) -> np.ndarray:
    one, other = np.split(x, 2, axis=-1)
    return one * other


def _layer_norm(w: Tensors, x: np.ndarray, key: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * w[f"{key}.weight"] + w[f"{key}.bias"]


def _naf_block(w: Tensors, x: np.ndarray, key: str) -> np.ndarray:
    y = _conv(w, _layer_norm(w, x, f"{key}.norm1"), f"{key}.conv1")
    windows = sliding_window_view(np.pad(y, ((1, 1), (1, 1), (0, 0))), (3, 3), axis=(0, 1))
    y = _gated(np.einsum("hwcij,cij->hwc", windows, w[f"{key}.conv2.weight"][:, 0]) + w[f"{key}.conv2.bias"])
    y = y * _conv(w, y.mean((0, 1), keepdims=True), f"{key}.sca.1")
    x = x + _conv(w, y, f"{key}.conv3") * w[f"{key}.beta"].ravel()
    y = _gated(_conv(w, _layer_norm(w, x, f"{key}.norm2"), f"{key}.conv4"))
    return x + _conv(w, y, f"{key}.conv5") * w[f"{key}.gamma"].ravel()


def _pixel_shuffled(x: np.ndarray) -> np.ndarray:
    """Channel c * 4 + 2 dy + dx of a pixel to channel c of the pixel at (dy, dx) in its place."""
    height, width, channels = x.shape
    x = x.reshape(height, width, channels // 4, 2, 2).transpose(0, 3, 1, 4, 2)
    return x.reshape(2 * height, 2 * width, channels // 4)


def _nafnet(settings: Generator, w: Tensors, image: np.ndarray) -> np.ndarray:
    assert not isinstance(settings.blocks, int)
    down, middle, up = settings.blocks[:LEVELS], settings.blocks[LEVELS], settings.blocks[LEVELS + 1 :]
    x, skips = _conv(w, image, "intro", pad=1), []
    for level, blocks in enumerate(down):
        for i in range(blocks):
            x = _naf_block(w, x, f"encoders.{level}.{i}")
        skips.append(x)
        x = _conv(w, x, f"downs.{level}", stride=2)
    for i in range(middle):
        x = _naf_block(w, x, f"middle_blks.{i}")
    for level, blocks in enumerate(up):
        x = _pixel_shuffled(_conv(w, x, f"ups.{level}.0")) + skips.pop()
        for i in range(blocks):
            x = _naf_block(w, x, f"decoders.{level}.{i}")
    return _conv(w, x, "ending", pad=1) + image


def _transposed(w: Tensors, x: np.ndarray, key: str) -> np.ndarray:
    """Stride 2, padding 1, output padding 1: pixel (2 y + i - 1, 2 x + j - 1) takes pixel (y, x) times tap (i, j)."""
    kernel = w[f"{key}.weight"]  # (in, out, 3, 3)
    height, width, _ = x.shape
    out = np.zeros((2 * height + 1, 2 * width + 1, kernel.shape[1]))
    for i in range(3):
        for j in range(3):
            out[i : i + 2 * height : 2, j : j + 2 * width : 2] += x @ kernel[:, :, i, j]
    return out[1:, 1:] + w[f"{key}.bias"]


def _deblurgan(settings: Generator, w: Tensors, image: np.ndarray) -> np.ndarray:
    assert isinstance(settings.blocks, int)

    def activated(x: np.ndarray, after: Callable = lambda y: np.maximum(y, 0)) -> np.ndarray:
        return after((x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5))

    x = activated(_conv(w, image, "model.1", pad=3, mode="reflect"))
    for number in (4, 7):
        x = activated(_conv(w, x, f"model.{number}", pad=1, stride=2))
    after, second = 10 + settings.blocks, 6 if settings.dropout else 5
    for number in range(10, after):
        y = activated(_conv(w, x, f"model.{number}.conv_block.1", pad=1, mode="reflect"))
        y = _conv(w, y, f"model.{number}.conv_block.{second}", pad=1, mode="reflect")
        x = x + activated(y, after=lambda normed: normed)
    for number in (after, after + 3):
        x = activated(_transposed(w, x, f"model.{number}"))
    return image + np.tanh(_conv(w, x, f"model.{after + 7}", pad=3, mode="reflect"))
