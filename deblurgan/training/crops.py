"""Random crops that are a pure function of (seed, step)."""

import io
import itertools
import math
from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np
from PIL import Image

from deblurgan.blur.convolution import add_noise
from deblurgan.blur.kinds import Blur, draw_blur, mild_blur
from deblurgan.images import read_rgb
from deblurgan.params import Synthesize, Train
from deblurgan.training.frames import Images

QUALITY = (40, 96)
"""Lowest quality of JPEG that is drawn, and the first that is too high: what phones and messengers use."""
AHEAD = 2
"""Batches a worker that are cut before their turn."""


def random_crop(pair: Images, rng: np.random.Generator, settings: Train, synthesis: Synthesize) -> np.ndarray:
    """Cut a random square out of a pair.

    Parameters
    ----------
    pair
        At least as large as the square; one without a blurred half is blurred anew.
    rng
        Source of randomness.
    settings
        `crop`, its side in pixels; `zoom`, how much photos that are blurred anew are enlarged at most; `fresh_scale`,
        between which factors of its size fresh blur is drawn; `mild`, the share of sharp halves that are blurred
        hardly or not at all; `jpeg`, the share of blurred halves that pass through
        JPEG; `flip`, `flip_vertical` and `rotate`: each mirrors, or turns by a quarter, half of the crops.
    synthesis
        What to draw a new blur from.

    Returns
    -------
    numpy.ndarray
        `uint8` of shape (2, crop, crop, 3), blurred and sharp.
    """
    if settings.mild and rng.random() < settings.mild:
        crop = _blurred_crop(pair.sharp.pixels(), mild_blur(rng, synthesis), rng, settings, synthesis)
    elif pair.blur is None:
        drawn = draw_blur(rng, synthesis, rng.uniform(*settings.fresh_scale))
        crop = _blurred_crop(pair.sharp.pixels(), drawn, rng, settings, synthesis)
    else:
        top, left = (int(rng.integers(side - settings.crop + 1)) for side in pair.sharp.size)
        crop = pair.square(top, left, settings.crop)
    if settings.jpeg and rng.random() < settings.jpeg:
        crop = np.stack([compressed(crop[0], int(rng.integers(*QUALITY))), crop[1]])
    if settings.flip and rng.random() < 0.5:
        crop = crop[:, :, ::-1]
    if settings.flip_vertical and rng.random() < 0.5:
        crop = crop[:, ::-1]
    if settings.rotate and rng.random() < 0.5:
        crop = crop.swapaxes(1, 2)[:, ::-1]
    return crop


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """What JPEG of a quality from 1 to 95, its colours at half the size, leaves of `uint8` of shape (H, W, 3)."""
    with io.BytesIO() as stream:
        Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
        return read_rgb(stream)


def _blurred_crop(
    sharp: np.ndarray, drawn: Blur, rng: np.random.Generator, settings: Train, synthesis: Synthesize
) -> np.ndarray:
    """Enlarge a photo, blur it and cut a square, (2, crop, crop, 3); computed for the square's surroundings alone.

    Enlarged photos are soft without being blurred: from sharp ones alone a network learns to sharpen whatever is soft.
    """
    size, zoom = settings.crop, rng.uniform(1, settings.zoom)
    radius = drawn.reach(size, size)
    height, width = (int(side * zoom) for side in sharp.shape[:2])
    top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    # the square and what the kernel mixes into it: its radius to each side, less where the photo ends; there
    # `blur_image` mirrors the part as it would mirror the whole photo
    above, before = min(top, radius), min(left, radius)
    below, behind = min(height, top + size + radius), min(width, left + size + radius)
    part = _enlarged(sharp, (width, height), (left - before, top - above, behind, below))  # (h, w, 3)
    inside = (slice(above, above + size), slice(before, before + size))
    blurred = drawn.applied(part, linear=synthesis.in_light)[inside]
    return np.stack([add_noise(blurred, rng, synthesis.noise), part[inside]])


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
        At least as large as the square, with both halves.
    size
        Of the square, in pixels.
    multiple
        The first pairs are repeated until there is a multiple of this number: several devices take equal shares.

    Returns
    -------
    tuple of numpy.ndarray
        Blurred and sharp, `uint8` of shape (N, size, size, 3).
    """
    count = -(-len(pairs) // multiple) * multiple
    crops = np.empty((2, count, size, size, 3), np.uint8)
    for i, pair in enumerate(itertools.islice(itertools.cycle(pairs), count)):
        top, left = ((side - size) // 2 for side in pair.sharp.size)
        crops[:, i] = pair.square(top, left, size)
    return crops[0], crops[1]


class CropSequence(keras.utils.PyDataset):
    """The batches of a whole training, one item for each generator step, a pure function of (seed, step).

    Give it to `fit()` with `shuffle=False`, and with `steps_per_epoch` to stop for validation on the way.

    Parameters
    ----------
    pairs
        See `training.frames.load_pairs`.
    settings
        Number of steps, size of batches, how to cut.
    seed
        Of all batches.
    synthesis
        What new blur is drawn from. A share `settings.photo_share` of the crops is cut from photos, the others from
        filmed pairs; where one kind is missing, all from the other.
    first
        The step to begin with.
    part, parts
        Of so many equal parts of each batch, the one to yield; hosts that train together have one each.
    threads
        How many cut batches ahead of their turn, where frames are decoded on the way; 1: none does.

    Attributes
    ----------
    error : Exception or None
        What a batch failed with.

    Notes
    -----
    An item is `(blur, sharp, epsilon)`: images, `uint8` of shape (batch_size, critic_steps, crop, crop, 3), a fresh
    batch for every critic step; and epsilon, which says where between a sharp and a restored image the critic's
    gradient is penalised (see `losses.interpolate`), `float32` of shape (batch_size, critic_steps), uniform in [0, 1].
    """

    def __init__(
        self,
        pairs: list[Images],
        settings: Train,
        seed: int,
        synthesis: Synthesize,
        first: int = 0,
        part: int = 0,
        parts: int = 1,
        threads: int = 1,
    ) -> None:
        super().__init__()
        self.settings, self.seed, self.synthesis, self.first = settings, seed, synthesis, first
        self.part, self.parts = part, parts
        photos, filmed = ([pair for pair in pairs if pair.photo == photo] for photo in (True, False))
        self.kinds = (photos, filmed)
        self.photo_share = settings.photo_share if photos and filmed else float(bool(photos))
        # Keras's own workers begin with the first batch again after each validation
        self.pool = ThreadPoolExecutor(threads, "crops") if threads > 1 else None
        self.ahead, self.waiting = AHEAD * threads, dict[int, Future]()
        self.error: Exception | None = None

    def __len__(self) -> int:
        """Number of generator steps that are left."""
        return self.settings.steps - self.first

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut the crops of one generator step, or take the crops that were cut ahead."""
        try:
            if not self.pool:
                return self._batch(index)
            for later in range(index, min(index + self.ahead, len(self))):
                if later not in self.waiting:
                    self.waiting[later] = self.pool.submit(self._batch, later)
            return self.waiting.pop(index).result()
        except Exception as error:
            self.error = error
            raise

    def _batch(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.seed, self.first + index])
        shape = (self.settings.batch_size, self.settings.critic_steps)
        crops = np.stack([self._crop(rng) for _ in range(math.prod(shape))], axis=1)  # (2, N critic steps, H, W, 3)
        blur, sharp = crops.reshape(2, *shape, *crops.shape[2:])  # (N, critic steps, H, W, 3) each
        epsilon = rng.random(shape, dtype=np.float32)  # (N, critic steps)
        return self.part_of(blur), self.part_of(sharp), self.part_of(epsilon)

    def part_of(self, array: np.ndarray) -> np.ndarray:
        """Cut this host's part out of what is for all, along the first axis."""
        return np.array_split(array, self.parts)[self.part]

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        pairs = self.kinds[0 if rng.random() < self.photo_share else 1]
        return random_crop(pairs[rng.integers(len(pairs))], rng, self.settings, self.synthesis)
