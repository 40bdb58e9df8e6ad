"""Initial weights and norms of generators and critic."""

import keras
from keras import layers

from deblurgan.networks.layers import InstanceNorm

RELU, LINEAR = 2.0, 1.0
"""Variance of initial weights, times their number, that keeps a signal's power: a ReLU takes half of it away."""


def exact_dtype() -> str:
    """The type of weights, in which losses are computed where layers compute in a lower precision."""
    return keras.config.dtype_policy().variable_dtype


SEEDS = 2**32
"""JAX takes no larger ones."""


def initializer(norm: str, seed: int, gain: float = RELU) -> keras.Initializer:
    """N(0, 0.02) as in the paper's code; without a norm to rescale it, He's variance, or signals die out."""
    seed %= SEEDS
    if norm == "instance":
        return keras.initializers.RandomNormal(0, 0.02, seed=seed)
    return keras.initializers.VarianceScaling(gain, "fan_in", "truncated_normal", seed=seed)


def norm(x, norm: str, name: str):
    """Instance norm without learned scale or offset, as in the paper's code; layer norm over channels; or nothing."""
    if norm == "instance":
        return InstanceNorm(name=name)(x)
    return layers.LayerNormalization(epsilon=1e-6, name=name)(x) if norm == "layer" else x
