"""The critic, which judges images: the PatchGAN of Kupyn et al., CVPR 2018, after Isola et al., CVPR 2017.

Images are `float32` NHWC in [-1, 1].
"""

import keras
from keras import layers

from deblurgan.networks.building import LINEAR, exact_dtype, initializer, norm
from deblurgan.params import Critic


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
            kernel_initializer=initializer(settings.norm, 1000 * seed + i),
            name=f"conv{i}",
        )(x)
        if i:
            x = norm(x, settings.norm, f"norm{i}")
        x = layers.LeakyReLU(0.2, name=f"relu{i}")(x)
    x = layers.ZeroPadding2D(2, name="scores_pad")(x)
    init = initializer(settings.norm, 1000 * seed + 999, LINEAR)
    scores = layers.Conv2D(1, 4, kernel_initializer=init, dtype=exact_dtype(), name="scores")(x)
    return keras.Model([blurred, judged], scores, name="critic")
