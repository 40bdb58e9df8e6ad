"""Pairs in memory, and random crops that are a pure function of (seed, step)."""

from pathlib import Path

import keras
import numpy as np

from deblurgan.errors import UserError
from deblurgan.images import read_rgb, to_float
from deblurgan.pairs import find_pairs

Images = tuple[np.ndarray, np.ndarray]
"""Blurred and sharp, of one shape."""


def load_pairs(root: Path, split: str, smallest: int) -> list[Images]:
    """Read all pairs of a split.

    Parameters
    ----------
    root
        `data/resized`.
    split
        `train`, `val` or `test`.
    smallest
        Smallest height and width that can be used, in pixels; smaller pairs are counted and left out.

    Returns
    -------
    list of (blur, sharp)
        `uint8` of shape (H, W, 3).

    Raises
    ------
    UserError
        There is no such pair, or one is of two sizes.
    """
    pairs, small = [], []
    for pair in find_pairs(root / split):
        blur, sharp = read_rgb(pair.blur), read_rgb(pair.sharp)
        if blur.shape != sharp.shape:
            raise UserError(f"{pair.blur} and its sharp partner differ in size: {blur.shape} and {sharp.shape}")
        if min(blur.shape[:2]) < smallest:
            small.append(pair.blur)
        else:
            pairs.append((blur, sharp))
    if small:
        print(f"{split}: {len(small)} pairs are smaller than train.crop = {smallest} and left out, {small[0]} first")
    if not pairs:
        raise UserError(
            f"no pair of at least {smallest}x{smallest} pixels in {root / split}: see the split and resize sections of "
            "params.yaml, metrics/clean.json, or lower train.crop"
        )
    return pairs


def random_crops(pairs: list[Images], rng: np.random.Generator, count: int, size: int, flip: bool) -> Images:
    """Cut random squares out of random pairs.

    Parameters
    ----------
    pairs
        `uint8` images, see `load_pairs`.
    rng
        Source of randomness.
    count
        Number of crops.
    size
        Side of a crop in pixels.
    flip
        Whether to mirror half of them left to right.

    Returns
    -------
    blur, sharp : numpy.ndarray
        `float32` of shape (count, size, size, 3) in [-1, 1]; both halves of a pair are cut alike.
    """
    crops = []
    for index in rng.integers(len(pairs), size=count):
        both = np.stack(pairs[index])
        top, left = rng.integers(both.shape[1] - size + 1), rng.integers(both.shape[2] - size + 1)
        crop = both[:, top : top + size, left : left + size]
        crops.append(crop[:, :, ::-1] if flip and rng.random() < 0.5 else crop)
    blur, sharp = np.stack(crops, axis=1)
    return to_float(blur), to_float(sharp)


def centre_crops(pairs: list[Images], size: int) -> Images:
    """The middle square of every pair, as `random_crops` returns them."""
    crops = []
    for pair in pairs:
        both = np.stack(pair)
        top, left = (both.shape[1] - size) // 2, (both.shape[2] - size) // 2
        crops.append(both[:, top : top + size, left : left + size])
    blur, sharp = np.stack(crops, axis=1)
    return to_float(blur), to_float(sharp)


class CropSequence(keras.utils.PyDataset):
    """The batches of a whole training, one item for each generator step, a pure function of (seed, step).

    Give it to `fit()` with `shuffle=False`, and with `steps_per_epoch` to stop for validation on the way.

    Parameters
    ----------
    pairs
        See `load_pairs`.
    seed
        Of all batches.
    steps
        Number of generator steps.
    batch_size
        Crops in each batch.
    critic_steps
        Batches in each item: every critic step sees a fresh one.
    crop
        Side of the crops in pixels.
    flip
        Whether to mirror half of them.

    Notes
    -----
    An item is `(blur, sharp)`, `float32` of shape (critic_steps, batch_size, crop, crop, 3) in [-1, 1].
    """

    def __init__(
        self, pairs: list[Images], *, seed: int, steps: int, batch_size: int, critic_steps: int, crop: int, flip: bool
    ) -> None:
        super().__init__()
        self.pairs, self.seed, self.steps = pairs, seed, steps
        self.batch_size, self.critic_steps, self.crop, self.flip = batch_size, critic_steps, crop, flip

    def __len__(self) -> int:
        """Number of generator steps."""
        return self.steps

    def __getitem__(self, step: int) -> Images:
        """Cut the crops of one generator step."""
        rng = np.random.default_rng([self.seed, step])
        count = self.critic_steps * self.batch_size
        blur, sharp = random_crops(self.pairs, rng, count, self.crop, self.flip)
        shape = (self.critic_steps, self.batch_size, *blur.shape[1:])
        return blur.reshape(shape), sharp.reshape(shape)
