"""VGG19 up to block3_conv3, the features of DeblurGAN's perceptual loss. Its weights: see `vgg19_weights`."""

from pathlib import Path

import keras
from keras import layers, ops

from deblurgan.errors import UserError
from deblurgan.files import home_expanded
from deblurgan.networks.building import exact_dtype
from deblurgan.vgg19_weights import FILE, LAYERS, MD5, MEAN_BGR, POOLED, SCALE, URL, described, read_weights


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
    path = home_expanded(weights) if weights else download()
    print(described(path))
    image = x = layers.Input((None, None, 3))
    x = ImageNetInput(name="imagenet")(x)
    for name, filters in LAYERS.items():
        if name in POOLED:
            x = layers.MaxPooling2D(2, name=f"{name[:6]}_pool")(x)
        activation = None if name == "block3_conv3" else "relu"
        x = layers.Conv2D(filters, 3, padding="same", activation=activation, name=name)(x)
    model = keras.Model(image, layers.Rescaling(1 / SCALE, dtype=exact_dtype(), name="scale")(x), name="vgg19_features")
    for name, (kernel, bias) in read_weights(path).items():
        model.get_layer(name).set_weights([kernel, bias])
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
