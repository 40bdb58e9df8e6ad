"""Pairs to train on: which there are, and what of them stays in memory."""

import string
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.images import read_rgb
from deblurgan.layout import Pair, find_pairs
from deblurgan.parallel import usable_cores

DRAWN = "unsplash"
"""The data set whose blur is drawn from random trajectories, and can be drawn again."""

FOR_FRAMES = 0.5
"""Share of the free memory that frames may take; networks, batches and libraries need the other half."""

BROKEN = (OSError, SyntaxError, ValueError)
"""What Pillow raises on a damaged file."""

MOST_THREADS = 16
"""Most threads that decode frames and cut crops."""


class Frame:
    """An image, in memory or in a file that is decoded whenever its pixels are asked for.

    Parameters
    ----------
    source
        A file, of which the header is read; or `uint8` of shape (H, W, 3).

    Attributes
    ----------
    size : tuple of int
        Height and width in pixels.
    path : pathlib.Path or None
        The file.
    """

    def __init__(self, source: Path | np.ndarray) -> None:
        self.path = source if isinstance(source, Path) else None
        self.kept = None if isinstance(source, Path) else source
        self.size = _size_of(source) if isinstance(source, Path) else source.shape[:2]

    @property
    def bytes(self) -> int:
        """How much memory its pixels take."""
        return 3 * self.size[0] * self.size[1]

    def pixels(self) -> np.ndarray:
        """The image as `uint8` of shape (H, W, 3)."""
        if self.kept is not None:
            return self.kept
        assert self.path is not None  # where nothing is kept
        return _decoded(self.path)

    def keep(self) -> None:
        """Have the pixels in memory from now on."""
        self.kept = self.pixels()


@dataclass(frozen=True)
class Images:
    """A pair, both halves of one size; or, without a blurred half, a photo that each crop blurs anew.

    `photo`: its blur is synthetic.
    """

    sharp: Frame
    blur: Frame | None = None
    photo: bool = False

    def square(self, top: int, left: int, size: int) -> np.ndarray:
        """Cut a square out of both halves, `uint8` of shape (2, size, size, 3), blurred and sharp."""
        assert self.blur is not None  # without it, there is nothing but the sharp half to cut
        halves = (half.pixels() for half in (self.blur, self.sharp))
        return np.stack([half[top : top + size, left : left + size] for half in halves])


def _size_of(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except BROKEN as error:
        raise _damaged(path, error) from None


def _decoded(path: Path) -> np.ndarray:
    try:
        return read_rgb(path)
    except BROKEN as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return UserError(f"{path} cannot be decoded ({reason}): `dvc repro resize` makes it anew")


def load_pairs(root: Path, split: str, smallest: int, *, fresh: bool = False) -> list[Images]:
    """Find all pairs of a split; of their files the headers are read.

    Parameters
    ----------
    root
        `data/resized`.
    split
        `train`, `val` or `test`.
    smallest
        Smallest height and width that can be used, in pixels; smaller pairs are counted and left out.
    fresh
        Whether photos are blurred anew for each crop: their blurred halves are not used then.

    Raises
    ------
    UserError
        There is no such pair, one is of two sizes, or a file is no image.
    """
    pairs, small = list[Images](), list[Images]()
    photos = dict[tuple, Frame]()  # all pairs of a photo share one sharp frame
    for pair in find_pairs(root / split):
        photo = pair.blur.relative_to(root / split).parts[0] == DRAWN
        sharp = photos.setdefault(_photo_of(pair), Frame(pair.sharp)) if photo else Frame(pair.sharp)
        images = Images(sharp, None if photo and fresh else Frame(pair.blur), photo)
        if images.blur and images.blur.size != sharp.size:
            raise UserError(f"{pair.blur} and its sharp partner differ in size: {images.blur.size} and {sharp.size}")
        (pairs if min(images.sharp.size) >= smallest else small).append(images)
    if small:
        first = (small[0].blur or small[0].sharp).path
        print(f"{split}: {len(small)} pairs are smaller than train.crop = {smallest} and left out, {first} first")
    if not pairs:
        raise UserError(
            f"no pair of at least {smallest}x{smallest} pixels in {root / split}: see the split and resize sections of "
            "params.yaml, metrics/clean.json, or lower train.crop"
        )
    return pairs


def _photo_of(pair: Pair) -> tuple:
    """A key that is equal for the sharp halves of one photo.

    `synthesize` numbers the pairs of a photo, and `resize` adds the place of a tile to their names.
    """
    return pair.sharp.parent, pair.sharp.name.lstrip(string.digits), pair.sharp.stat().st_size


def frames_of(pairs: Iterable[Images]) -> list[Frame]:
    """All frames of pairs, each once, in their order."""
    frames = (half for images in pairs for half in (images.blur, images.sharp))
    return list(dict.fromkeys(frame for frame in frames if frame))


def loader_threads() -> int:
    """How many threads cut crops ahead of their turn, so that a fast device does not wait for fresh blur."""
    return max(2, min(usable_cores(), MOST_THREADS))


def keep_in_memory(pairs: list[Images], validating: int, crop: int, free: int) -> None:
    """Decode as many frames as fit into memory, say how many these are, and what to do if it is not all.

    Parameters
    ----------
    pairs
        Of the training.
    validating
        Number of validation crops.
    crop
        Their side, pixels.
    free
        Free memory, bytes.

    Raises
    ------
    UserError
        There is too little memory for the validation crops alone, or a file is damaged.
    """
    crops = 2 * 2 * validating * crop * crop * 3  # both halves, which Keras copies
    if crops > free:
        raise UserError(
            f"{validating} validation crops of {crop}x{crop} pixels take {crops / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free: lower split.val_fraction or train.crop, or name fewer split.val_scenes"
        )
    frames, room, kept = frames_of(pairs), FOR_FRAMES * free - crops, []
    needed = sum(frame.bytes for frame in frames)
    for frame in frames:
        room -= frame.bytes
        if room < 0:
            break
        kept.append(frame)
    told = f"frames: {len(frames)}, {needed / 1e9:.1f} GB decoded; {free / 1e9:.1f} GB of memory are free"
    if len(kept) < len(frames):
        told += (
            f": {len(kept)} of them stay in memory, the others are decoded for each crop, slower; "
            f"{(needed + crops) / FOR_FRAMES / 1e9:.1f} GB of free memory would hold all, or smaller frames "
            "(resize.mode, resize.width and resize.height)"
        )
    print(told, flush=True)
    with ThreadPoolExecutor(loader_threads()) as pool:
        for _ in tqdm(pool.map(Frame.keep, kept), "decode", len(kept), leave=False, unit="frame"):
            pass
