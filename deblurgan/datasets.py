"""Pairs in memory, and random crops that are a pure function of (seed, step)."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from deblurgan.blur.convolution import add_noise, blur_image
from deblurgan.blur.trajectory import random_blur
from deblurgan.errors import UserError
from deblurgan.images import read_rgb
from deblurgan.pairs import find_pairs
from deblurgan.params import Synthesize, Train

DRAWN = "unsplash"
"""The data set whose blur is drawn from random trajectories, and can be drawn again."""


@dataclass(frozen=True)
class Images:
    """A pair: `uint8` of shape (2, H, W, 3), blurred and sharp; `drawn`: whether its blur is a random kernel's."""

    both: np.ndarray
    drawn: bool = False


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
    list of Images
        Decoded once, for the whole training.

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
            pairs.append(Images(np.stack([blur, sharp]), pair.blur.relative_to(root / split).parts[0] == DRAWN))
    if small:
        print(f"{split}: {len(small)} pairs are smaller than train.crop = {smallest} and left out, {small[0]} first")
    if not pairs:
        raise UserError(
            f"no pair of at least {smallest}x{smallest} pixels in {root / split}: see the split and resize sections of "
            "params.yaml, metrics/clean.json, or lower train.crop"
        )
    return pairs


def random_crop(pair: Images, rng: np.random.Generator, settings: Train, blur: Synthesize | None = None) -> np.ndarray:
    """Cut a random square out of a pair.

    Parameters
    ----------
    pair
        At least as large as the square.
    rng
        Source of randomness.
    settings
        `crop`, its side in pixels; `zoom`, how much photos that are blurred anew are enlarged at most; `flip`,
        `flip_vertical` and `rotate`: each mirrors, or turns by a quarter, half of the crops.
    blur
        What to draw a new blur from; None keeps the pair's.

    Returns
    -------
    numpy.ndarray
        `uint8` of shape (2, crop, crop, 3), blurred and sharp.
    """
    if blur:
        crop = _blurred_crop(pair.both[1], rng, settings, blur)
    else:
        size = settings.crop
        top, left = (rng.integers(side - size + 1) for side in pair.both.shape[1:3])
        crop = pair.both[:, top : top + size, left : left + size]
    if settings.flip and rng.random() < 0.5:
        crop = crop[:, :, ::-1]
    if settings.flip_vertical and rng.random() < 0.5:
        crop = crop[:, ::-1]
    if settings.rotate and rng.random() < 0.5:
        crop = crop.swapaxes(1, 2)[:, ::-1]
    return crop


def _blurred_crop(sharp: np.ndarray, rng: np.random.Generator, settings: Train, blur: Synthesize) -> np.ndarray:
    """Enlarge a photo, blur it anew and cut a square, (2, crop, crop, 3); computed for the square's surroundings alone.

    Enlarged photos are soft without being blurred: from sharp ones alone a network learns to sharpen whatever is soft.
    """
    kernel = random_blur(rng, length=blur.length, shake=blur.shake, exposure=blur.exposure).kernel
    size, radius, zoom = settings.crop, len(kernel) // 2, rng.uniform(1, settings.zoom)
    height, width = (int(side * zoom) for side in sharp.shape[:2])
    top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
    above, before = min(top, radius), min(left, radius)
    below, behind = min(height, top + size + radius), min(width, left + size + radius)
    part = _enlarged(sharp, (width, height), (left - before, top - above, behind, below))
    inside = (slice(above, above + size), slice(before, before + size))
    blurred = blur_image(part, kernel, linear=blur.in_light)[inside]
    return np.stack([add_noise(blurred, rng, blur.noise), part[inside]])


def _enlarged(image: np.ndarray, size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """The part of an image, enlarged to a width and height, that lies within left, top, right and bottom."""
    left, top, right, bottom = box
    if size == (image.shape[1], image.shape[0]):
        return image[top:bottom, left:right]
    across, down = image.shape[1] / size[0], image.shape[0] / size[1]
    source = (left * across, top * down, right * across, bottom * down)
    resample = Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize((right - left, bottom - top), resample, box=source))


def centre_crops(pairs: list[Images], size: int, multiple: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Cut the middle square out of every pair.

    Parameters
    ----------
    pairs
        At least as large as the square.
    size
        Of the square, in pixels.
    multiple
        The first pairs are repeated until there is a multiple of this number: several devices take equal shares.

    Returns
    -------
    tuple of numpy.ndarray
        Blurred and sharp, `uint8` of shape (N, size, size, 3).
    """
    crops = []
    for pair in itertools.islice(itertools.cycle(pairs), -(-len(pairs) // multiple) * multiple):
        top, left = ((side - size) // 2 for side in pair.both.shape[1:3])
        crops.append(pair.both[:, top : top + size, left : left + size])
    blur, sharp = np.stack(crops, axis=1)
    return blur, sharp


class CropSequence(keras.utils.PyDataset):
    """The batches of a whole training, one item for each generator step, a pure function of (seed, step).

    Give it to `fit()` with `shuffle=False`, and with `steps_per_epoch` to stop for validation on the way.

    Parameters
    ----------
    pairs
        See `load_pairs`.
    settings
        Number of steps, size of batches, how to cut.
    seed
        Of all batches.
    blur
        What new blur is drawn from, for a share `settings.fresh_blur` of the crops. They are cut from the photos whose
        blur was drawn, the others from filmed pairs; where there are none of either kind, all from the other.
    first
        The step to begin with.
    part, parts
        Of so many equal parts of each batch, the one to yield; hosts that train together have one each.

    Notes
    -----
    An item is `(blur, sharp, position)`: images, `uint8` of shape (batch_size, critic_steps, crop, crop, 3), a fresh
    batch for every critic step; and where between a restored and a sharp image the critic's gradient is penalised,
    `float32` of shape (batch_size, critic_steps), uniform in [0, 1].
    """

    def __init__(
        self,
        pairs: list[Images],
        settings: Train,
        seed: int,
        blur: Synthesize,
        first: int = 0,
        part: int = 0,
        parts: int = 1,
    ) -> None:
        super().__init__()
        self.settings, self.seed, self.first = settings, seed, first
        self.part, self.parts = part, parts
        drawn = [pair for pair in pairs if pair.drawn and settings.fresh_blur]
        filmed = [pair for pair in pairs if not (pair.drawn and settings.fresh_blur)]
        self.kinds = ((drawn, blur), (filmed, None))
        self.fresh = settings.fresh_blur if drawn and filmed else float(bool(drawn))

    def __len__(self) -> int:
        """Number of generator steps that are left."""
        return self.settings.steps - self.first

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut the crops of one generator step."""
        rng = np.random.default_rng([self.seed, self.first + index])
        shape = (self.settings.batch_size, self.settings.critic_steps)
        crops = np.stack([self._crop(rng) for _ in range(math.prod(shape))], axis=1)
        blur, sharp = crops.reshape(2, *shape, *crops.shape[2:])
        return tuple(self.part_of(array) for array in (blur, sharp, rng.random(shape, dtype=np.float32)))

    def part_of(self, array: np.ndarray) -> np.ndarray:
        """Cut this host's part out of what is for all, along the first axis."""
        return np.array_split(array, self.parts)[self.part]

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        pairs, blur = self.kinds[0 if rng.random() < self.fresh else 1]
        return random_crop(pairs[rng.integers(len(pairs))], rng, self.settings, blur)
