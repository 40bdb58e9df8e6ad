"""Layers of the networks. Images and features are NHWC."""

import keras
from keras import layers, ops


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


@keras.saving.register_keras_serializable("deblurgan")
class Gate(layers.Layer):
    """The first half of the channels times the second half: NAFNet's simple gate, in place of an activation."""

    def call(self, images):
        """Halve `(N, H, W, 2 C)` to `(N, H, W, C)`."""
        one, other = ops.split(images, 2, axis=-1)
        return one * other

    def compute_output_shape(self, shape):
        """Shape of either half."""
        return (*shape[:3], shape[3] // 2)


@keras.saving.register_keras_serializable("deblurgan")
class ChannelScale(layers.Layer):
    """Each channel times a learned factor, which starts at 0: a residual branch that begins as nothing."""

    def build(self, shape) -> None:
        """Make the factors."""
        self.scale = self.add_weight(shape=(shape[-1],), initializer="zeros", name="scale")

    def call(self, images):
        """Scale `(N, H, W, C)`."""
        return images * ops.cast(self.scale, images.dtype)

    def compute_output_shape(self, shape):
        """Shape of the images."""
        return shape


@keras.saving.register_keras_serializable("deblurgan")
class PixelShuffle(layers.Layer):
    """Twice the height and width from a quarter of the channels (Shi et al., CVPR 2016)."""

    def call(self, images):
        """Rearrange `(N, H, W, 4 C)` to `(N, 2 H, 2 W, C)`."""
        return ops.depth_to_space(images, 2)

    def compute_output_shape(self, shape):
        """Shape of the larger images."""
        height, width = (None if side is None else 2 * side for side in shape[1:3])
        return (shape[0], height, width, shape[3] // 4)


@keras.saving.register_keras_serializable("deblurgan")
class MeanAround(layers.Layer):
    """Mean of each channel over the image, or over a window around each pixel.

    Over windows it is the test-time local converter of Chu et al., "Improving Image Restoration by Revisiting Global
    Information Aggregation", ECCV 2022, by running sums.

    Parameters
    ----------
    window
        Side of the window in pixels; None: the whole image. A side that is no longer than the window is taken whole.
    """

    def __init__(self, window: int | None, **options) -> None:
        super().__init__(**options)
        self.window = window

    def call(self, images):
        """Give `(N, H, W, C)` the means at all places of the window that lie within: (N, H - w + 1, W - w + 1, C)."""
        exact = ops.cast(images, keras.backend.result_type(images.dtype, "float32"))
        sides = ops.shape(images)[1:3]
        if self.window is None or all(isinstance(side, int) and side <= self.window for side in sides):
            return ops.cast(ops.mean(exact, axis=(1, 2), keepdims=True), images.dtype)
        rows = _running_mean(exact, 1, sides[0], self.window)
        return ops.cast(_running_mean(rows, 2, sides[1], self.window), images.dtype)

    def compute_output_shape(self, shape):
        """Shape of the means."""
        sides = [1 if self.window is None else side and max(side - self.window, 0) + 1 for side in shape[1:3]]
        return (shape[0], *sides, shape[3])

    def get_config(self) -> dict:
        """What `from_config` needs."""
        return {**super().get_config(), "window": self.window}


def _running_mean(images, axis: int, side, window: int):
    """Means of `window` neighbours along an axis of length `side`, or of all where there are no more."""
    width = min(side, window) if isinstance(side, int) else ops.minimum(side, window)
    padding = [(0, 0)] * 4
    padding[axis] = (1, 0)
    sums = ops.pad(ops.cumsum(images, axis=axis), padding)
    later, earlier = [slice(None)] * 4, [slice(None)] * 4
    later[axis], earlier[axis] = slice(width, None), slice(0, side + 1 - width)
    return (sums[tuple(later)] - sums[tuple(earlier)]) / ops.cast(width, images.dtype)


@keras.saving.register_keras_serializable("deblurgan")
class ScaleAround(layers.Layer):
    """Features times a map of factors, smaller than they are: in the middle, its borders repeated outwards."""

    def call(self, both):
        """Multiply `(N, H, W, C)` by `(N, h, w, C)`."""
        images, factors = both
        for axis in (1, 2):
            side, found = ops.shape(images)[axis], ops.shape(factors)[axis]
            if isinstance(found, int) and found == 1:
                continue  # one factor for all
            at = ops.arange(side) - (side - found) // 2
            factors = ops.take(factors, ops.clip(at, 0, found - 1), axis=axis)
        return images * factors

    def compute_output_shape(self, shapes):
        """Shape of the features."""
        return shapes[0]
