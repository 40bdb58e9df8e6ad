"""What restoring by a generator takes, whatever computes it: Keras, or a runtime of exported models."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from deblurgan.restoration import tiles
from deblurgan.restoration.explosions import Guard

FARTHEST = 96
"""Pixels to each side that margins of tiles have at most; benchmarks/margins.py measures what is lost by it."""


@dataclass(frozen=True)
class Traits:
    """What a generator asks of the images that it is shown.

    Attributes
    ----------
    stride
        What their heights and widths are multiples of.
    reach
        Pixels to each side that a restored pixel depends on.
    bytes
        Memory that a pixel takes while it is restored.
    black
        Whether they are padded with black below and right to a multiple of the stride, or mirrored.
    """

    stride: int
    reach: int
    bytes: float
    black: bool


def method_of(run: tiles.Restore, traits: Traits, *, few_sizes: bool) -> tiles.Method:
    """Restoring by a generator, see `neural.network`."""
    few = few_sizes and not traits.black
    return tiles.Method(
        run, min(traits.reach, FARTHEST), traits.bytes, traits.stride, few_sizes=few, black=traits.black
    )


def guarded(
    method: tiles.Method, again: Callable[[np.ndarray], np.ndarray] | None, *, ensemble: bool, restrained: bool
) -> tuple[tiles.Method, Guard]:
    """A method as photos are restored by it, and the guard that looks at its results.

    Parameters
    ----------
    method
        Of the generator.
    again
        The more cautious way for tiles that explode, if there is one: global statistics instead of local ones.
    ensemble
        Whether to restore in eight positions, see `ensembled`.
    restrained
        Whether to leave what is hardly blurred as it is, see `restraint`.
    """
    guard = Guard(ensembled(method).run if ensemble else method.run, again)
    return replace(method, run=guard, finish=guard.finish if restrained else None), guard


def ensembled(method: tiles.Method) -> tiles.Method:
    """A method that restores an image in eight positions, mirrored and turned, and averages what comes back.

    "Self-ensemble" of Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops
    2017: eight times the time, for what a generator should see alike in all positions and does not quite.
    """

    def run(image: np.ndarray) -> np.ndarray:
        total = np.zeros_like(image)
        for turns in range(4):
            for step in (1, -1):  # as it is, and mirrored
                shown = np.ascontiguousarray(np.rot90(image, turns)[:, ::step])
                total += np.rot90(method.run(shown)[:, ::step], -turns)
        return total / 8

    return replace(method, run=run)
