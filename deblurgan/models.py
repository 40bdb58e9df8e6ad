"""The networks of DeblurGAN: ResNet generator and PatchGAN critic.

Kupyn et al., "DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial Networks", CVPR 2018, section 3,
after Johnson et al. 2016 (generator) and Isola et al. 2017 (critic). Images are `float32` NHWC in [-1, 1].
"""

import keras
from keras import layers, ops

from deblurgan.params import Critic, Generator

STRIDE = 4
"""The generator takes images whose height and width are multiples of this."""


@keras.saving.register_keras_serializable("deblurgan")
class ReflectionPad(layers.Layer):
    """Mirror the image at its borders, without repeating the edge.

    Parameters
    ----------
    width
        Pixels added on each side; less than the image's height and width.
    """

    def __init__(self, width: int, **options) -> None:
        super().__init__(**options)
        self.width = width

    def call(self, images):
        """Pad `(N, H, W, C)` to `(N, H + 2 width, W + 2 width, C)`."""
        return ops.pad(images, ((0, 0), (self.width,) * 2, (self.width,) * 2, (0, 0)), mode="reflect")

    def compute_output_shape(self, shape):
        """Shape of the padded images."""
        grown = [None if side is None else side + 2 * self.width for side in shape[1:3]]
        return (shape[0], *grown, shape[3])

    def get_config(self) -> dict:
        """What `from_config` needs."""
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("deblurgan")
class InstanceNorm(layers.Layer):
    """Each channel of each image to mean 0 and variance 1, without learned scale or offset.

    Written out, since the gradient penalty differentiates it twice: TensorFlow's `moments`, on which Keras's own layers
    are built, stops the gradient at the mean, and their second derivative is wrong.
    """

    EPSILON = 1e-5

    def call(self, images):
        """Normalise `(N, H, W, C)`."""
        exact = ops.cast(images, keras.backend.result_type(images.dtype, "float32"))  # float16 would overflow
        centred = exact - ops.mean(exact, axis=(1, 2), keepdims=True)
        variance = ops.mean(ops.square(centred), axis=(1, 2), keepdims=True)
        return ops.cast(centred * ops.rsqrt(variance + self.EPSILON), images.dtype)

    def compute_output_shape(self, shape):
        """Shape of the images."""
        return shape


@keras.saving.register_keras_serializable("deblurgan")
class AddAndClip(layers.Layer):
    """The global skip: `clip(image + residual, -1, 1)`."""

    def call(self, images):
        """Add a list of two tensors of one shape."""
        image, residual = images
        return ops.clip(image + residual, -1, 1)

    def compute_output_shape(self, shapes):
        """Shape of either input."""
        return shapes[0]


def exact_dtype() -> str:
    """The type of weights, in which losses are computed where layers compute in a lower precision."""
    return keras.config.dtype_policy().variable_dtype


def _initializer(norm: str, seed: int, gain: float = 1.0) -> keras.Initializer:
    """N(0, 0.02) as in the paper's code; without a norm to rescale it, He's variance, or signals die out."""
    if norm == "instance":
        return keras.initializers.RandomNormal(0, 0.02, seed=seed)
    return keras.initializers.VarianceScaling(2 * gain, "fan_in", "truncated_normal", seed=seed)


def _norm(x, norm: str, name: str):
    """Instance norm without learned scale or offset, as in the paper's code; or nothing."""
    if norm == "none":
        return x
    return InstanceNorm(name=name)(x)


def build_generator(settings: Generator, seed: int = 0) -> keras.Model:
    """Build the generator.

    Parameters
    ----------
    settings
        With 64 filters, 9 blocks, instance norm and dropout 0.5 it is the paper's, of 11,378,179 parameters.
    seed
        Of the initial weights and of dropout.

    Returns
    -------
    keras.Model
        Blurred images (N, H, W, 3) in [-1, 1] to restored ones of the same shape and range; H and W are
        multiples of 4. Dropout is active in training only, so inference is deterministic.
    """
    norm = settings.norm
    seeds = iter(range(1000 * seed, 1000 * seed + 1000))

    def conv(x, filters, size, name, strides=1):
        init = _initializer(norm, next(seeds))
        return layers.Conv2D(filters, size, strides, kernel_initializer=init, name=name)(x)

    def activated(x, name):
        return layers.ReLU(name=f"{name}_relu")(_norm(x, norm, f"{name}_norm"))

    def up(x, filters, name):
        if settings.upsample == "resize":
            x = layers.UpSampling2D(2, name=f"{name}_nearest")(x)
            return conv(ReflectionPad(1, name=f"{name}_pad")(x), filters, 3, name)
        init = _initializer(norm, next(seeds), gain=4)  # stride 2: a quarter of the taps meet
        return layers.Conv2DTranspose(filters, 3, 2, padding="same", kernel_initializer=init, name=name)(x)

    blurred = layers.Input((None, None, 3), name="blurred")
    x = ReflectionPad(3, name="stem_pad")(blurred)
    x = activated(conv(x, settings.filters, 7, "stem"), "stem")
    for i in (1, 2):
        x = layers.ZeroPadding2D(1, name=f"down{i}_pad")(x)
        x = activated(conv(x, settings.filters * 2**i, 3, f"down{i}", strides=2), f"down{i}")
    for i in range(1, settings.blocks + 1):
        y = ReflectionPad(1, name=f"block{i}_pad1")(x)
        y = activated(conv(y, settings.filters * 4, 3, f"block{i}_conv1"), f"block{i}_conv1")
        if settings.dropout:
            y = layers.Dropout(settings.dropout, seed=next(seeds), name=f"block{i}_dropout")(y)
        y = ReflectionPad(1, name=f"block{i}_pad2")(y)
        y = _norm(conv(y, settings.filters * 4, 3, f"block{i}_conv2"), norm, f"block{i}_norm2")
        x = layers.Add(name=f"block{i}")([x, y])
    for i in (1, 2):
        x = activated(up(x, settings.filters * 4 // 2**i, f"up{i}"), f"up{i}")
    x = ReflectionPad(3, name="head_pad")(x)
    init = "zeros" if settings.identity_start else _initializer(norm, next(seeds))
    residual = layers.Conv2D(3, 7, activation="tanh", kernel_initializer=init, name="head")(x)
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
    init = _initializer(settings.norm, 1000 * seed + 999)
    scores = layers.Conv2D(1, 4, kernel_initializer=init, dtype=exact_dtype(), name="scores")(x)
    return keras.Model([blurred, judged], scores, name="critic")
