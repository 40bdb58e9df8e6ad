"""VGG19 up to block3_conv3, the features of DeblurGAN's perceptual loss.

Weights: ImageNet, as Keras publishes them (from the authors, Simonyan and Zisserman 2015).
"""

import hashlib
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from deblurgan.errors import UserError
from deblurgan.networks.building import exact_dtype

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
MEAN_BGR = (103.939, 116.779, 123.68)
SCALE = 127.5
"""Features are divided by this: on the scale of images in [-1, 1] the paper's weight of 100 keeps its meaning."""


@keras.saving.register_keras_serializable("deblurgan")
class ImageNetInput(layers.Layer):
    """RGB in [-1, 1] to what VGG19 was trained on: BGR in [0, 255] minus the mean of ImageNet."""

    def call(self, images):
        """Convert (N, H, W, 3)."""
        return ops.flip(images + 1, axis=-1) * 127.5 - ops.array(MEAN_BGR, dtype=images.dtype)


def build_features(weights: str | None) -> keras.Model:
    """Build the feature extractor with the published weights.

    Parameters
    ----------
    weights
        A local copy: Keras's own `.h5` file, or an `.npz` with `<layer>__kernel` and `<layer>__bias`. None
        downloads it to ~/.keras once.

    Returns
    -------
    keras.Model
        Images (N, H, W, 3) in [-1, 1] to block3_conv3 before its ReLU, (N, H // 4, W // 4, 256), divided by
        127.5. Not trainable.

    Raises
    ------
    UserError
        The weights cannot be read or downloaded, or are not VGG19's; random weights are never used.
    """
    path = Path(weights).expanduser() if weights else download()
    published = path.is_file() and hashlib.md5(path.read_bytes()).hexdigest() == MD5
    print(
        f"VGG19 weights: {path}" + ("" if published else " (not the published file: its weights are used as they are)")
    )
    image = x = layers.Input((None, None, 3))
    x = ImageNetInput(name="imagenet")(x)
    for name, filters in LAYERS.items():
        if name in ("block2_conv1", "block3_conv1"):
            x = layers.MaxPooling2D(2, name=f"{name[:6]}_pool")(x)
        activation = None if name == "block3_conv3" else "relu"
        x = layers.Conv2D(filters, 3, padding="same", activation=activation, name=name)(x)
    model = keras.Model(image, layers.Rescaling(1 / SCALE, dtype=exact_dtype(), name="scale")(x), name="vgg19_features")
    for name, (kernel, bias) in read_weights(path).items():
        layer = model.get_layer(name)
        if kernel.shape != layer.kernel.shape or bias.shape != layer.bias.shape:
            raise UserError(f"{path} is not VGG19: {name} has shape {kernel.shape}, not {tuple(layer.kernel.shape)}")
        layer.set_weights([kernel, bias])
    model.trainable = False
    return model


def download() -> Path:
    """Fetch the weights to ~/.keras/models, or use what is there."""
    try:
        return Path(keras.utils.get_file(FILE, URL, cache_subdir="models", file_hash=MD5))
    except Exception as error:  # urllib raises bare Exception
        reason = " ".join(str(error).split())
        raise UserError(
            f"the VGG19 weights {FILE} are needed by train.lambda_content and could not be fetched from {URL} "
            f"({reason}); put a copy anywhere and set train.vgg_weights to its path, or set train.lambda_content: 0"
        ) from None


def read_weights(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read kernel and bias of each layer of `LAYERS`."""
    if not path.is_file():
        raise UserError(f"train.vgg_weights = {str(path)!r}: no such file; it is {FILE}, from {URL}")
    try:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return {name: (arrays[f"{name}__kernel"], arrays[f"{name}__bias"]) for name in LAYERS}
        full = keras.applications.VGG19(include_top=False, weights=str(path))
        return {name: tuple(full.get_layer(name).get_weights()) for name in LAYERS}
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} does not hold VGG19's weights ({reason}); {FILE} does, from {URL}") from None
