"""The published weights of VGG19, up to block3_conv3, read without Keras.

ImageNet, as Keras publishes them (from the authors, Simonyan and Zisserman 2015).
"""

import hashlib
import zipfile
from pathlib import Path

import h5py
import numpy as np

from deblurgan.errors import UserError

FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg19/{FILE}"
MD5 = "253f8cb515780f3b799900260a226db6"
LAYERS = {
    "block1_conv1": 64,
    "block1_conv2": 64,
    "block2_conv1": 128,
    "block2_conv2": 128,
    "block3_conv1": 256,
    "block3_conv2": 256,
    "block3_conv3": 256,
}
POOLED = ("block2_conv1", "block3_conv1")
"""Layers whose input is made half as large, by the maximum of 2x2 pixels."""
MEAN_BGR = (103.939, 116.779, 123.68)
SCALE = 127.5
"""Features are divided by this: on the scale of images in [-1, 1] the paper's weight of 100 keeps its meaning."""


def described(path: Path) -> str:
    """A line that says which file it is."""
    published = path.is_file() and hashlib.md5(path.read_bytes()).hexdigest() == MD5
    return f"VGG19 weights: {path}" + (
        "" if published else " (not the published file: its weights are used as they are)"
    )


def read_weights(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read kernel (3, 3, channels in, channels out) and bias (channels out,) of each layer of `LAYERS`.

    Parameters
    ----------
    path
        Keras's own `.h5` file, or an `.npz` with `<layer>__kernel` and `<layer>__bias`.

    Raises
    ------
    UserError
        There is no such file, or it does not hold the weights of VGG19.
    """
    if not path.is_file():
        raise UserError(f"vgg_weights = {str(path)!r}: no such file; it is {FILE}, from {URL}")
    try:
        found = _of_npz(path) if path.suffix == ".npz" else _of_hdf5(path)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} does not hold VGG19's weights ({reason}); {FILE} does, from {URL}") from None
    before = 3
    for name, filters in LAYERS.items():
        for values, shape in zip(found[name], ((3, 3, before, filters), (filters,)), strict=True):
            if values.shape != shape:
                raise UserError(f"{path} is not VGG19: {name} has shape {values.shape}, not {shape}")
        before = filters
    return found


def _of_npz(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    with np.load(path) as arrays:
        return {name: (arrays[f"{name}__kernel"], arrays[f"{name}__bias"]) for name in LAYERS}


def _of_hdf5(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A group for each layer, which names its kernel and its bias, in this order."""
    found = {}
    with h5py.File(path) as file:
        for name in LAYERS:
            kernel, bias = file[name].attrs["weight_names"]
            found[name] = (file[name][kernel][()], file[name][bias][()])
    return found
