"""Batches of random crops that are a pure function of (seed, step)."""

import itertools
import math
from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np

from deblurgan.params import Synthesize, Train
from deblurgan.training.augmentation import random_crop
from deblurgan.training.frames import Images

AHEAD = 2
"""Batches a worker that are cut before their turn."""


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
        How many cut batches ahead of their turn; 1: each batch is cut when it is asked for.

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
