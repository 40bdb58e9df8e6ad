"""What is drawn for a crop: where it lies, its blur, JPEG, mirroring and turning."""

import io

import numpy as np
from PIL import Image

from deblurgan.blur.convolution import add_noise
from deblurgan.blur.kinds import Blur, draw_blur, mild_blur, shallow_focus
from deblurgan.images import read_rgb
from deblurgan.params import Synthesize, Train
from deblurgan.training.frames import Images

QUALITY = (40, 96)
"""Lowest quality of JPEG that is drawn, and the first that is too high: what phones and messengers use."""


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
        hardly or not at all; `shallow_focus`, the share of the crops with fresh blur of which a region is out of
        focus in both halves; `jpeg`, the share of blurred halves that pass through JPEG; `flip`, `flip_vertical` and
        `rotate`: each mirrors, or turns by a quarter, half of the crops.
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

    Enlarged photos are soft without being blurred, and so is what lies outside of a shallow depth of field: from sharp
    photos alone a network learns to sharpen whatever is soft.
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
    if settings.shallow_focus and rng.random() < settings.shallow_focus:
        part = shallow_focus(rng, part, linear=synthesis.in_light)
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
