"""Anybody's photos: read whatever they are, deblur their colours, write them as they were."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from deblurgan.errors import UserError
from deblurgan.files import new_file

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "MPO")
WRITTEN = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
"""Suffixes that are written as they are; others become .png."""

OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 4},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95, "method": 4},
    "TIFF": {"compression": "tiff_lzw"},
}
ORIENTATION = 0x0112
LAYOUT = (*range(254, 260), 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339, 34675)
"""Tags of a TIFF that say how its pixels are stored, not what they show."""


@dataclass(frozen=True)
class Photo:
    """A photo in memory, upright.

    Parameters
    ----------
    colours
        `float32` of shape (H, W, 3) in [-1, 1]; of a grey photo, three times the same.
    grey, deep
        Whether the file has one channel; and 16 bits of it.
    alpha
        `uint8` of shape (H, W), or None.
    kept
        What the file says besides: Pillow's `exif`, `icc_profile`, `dpi`.
    """

    colours: np.ndarray
    grey: bool
    deep: bool
    alpha: np.ndarray | None
    kept: dict[str, Any]


def read_photo(path: Path, allowed: Callable[[tuple[int, int]], Any] = lambda _: None) -> Photo:
    """Read a photo.

    Parameters
    ----------
    path
        PNG, JPEG, WebP, TIFF, BMP or GIF.
    allowed
        Called with (height, width) before anything is decoded; raises if that is too large.

    Raises
    ------
    UserError
        It is no image, broken, animated, or of a kind that cannot be kept.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow's about odd metadata
        data = path.read_bytes()
        if not data:
            raise UserError("empty file")
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Exception:  # decoders raise anything on garbage
            raise UserError("not an image, or of a format that is not read") from None
        try:
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a phone's JPEG with a preview
                raise UserError("animated, or of several pages")
            if image.mode == "F":
                raise UserError("float data: its range is not known")
            allowed((image.height, image.width))
            image.load()
            if image.mode == "I" and not all(0 <= level <= 65535 for level in image.getextrema()):
                raise UserError("integers of more than 16 bits: their range is not known")
            return _decoded(image)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # of the decoder, or of odd metadata
            raise UserError(f"broken: {' '.join(str(error).split()) or type(error).__name__}") from None


def _decoded(image: Image.Image) -> Photo:
    kept = {name: image.info[name] for name in ("icc_profile", "dpi") if image.info.get(name)}
    exif = image.getexif()
    upright = ImageOps.exif_transpose(image)
    for tag in (ORIENTATION, *LAYOUT):
        exif.pop(tag, None)
    if len(exif):
        kept["exif"] = exif.tobytes()
    if upright.mode.startswith("I"):  # 16 bits in Pillow's integer modes
        grey = np.clip(np.asarray(upright).astype(np.float32), 0, 65535) / np.float32(32767.5) - 1
        return Photo(np.repeat(grey[..., None], 3, axis=2), True, True, None, kept)
    grey = upright.mode in ("1", "L", "LA", "La")
    alpha = None
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        alpha = np.asarray(upright.getchannel("A"))
    if upright.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        kept.pop("icc_profile", None)  # of colours that are not kept
    colours = np.asarray(upright.convert("RGB")).astype(np.float32) / np.float32(127.5) - 1
    return Photo(colours, grey, False, alpha, kept)


def with_colours(photo: Photo, colours: np.ndarray) -> Photo:
    """The same photo with other colours, `float32` of its shape in [-1, 1]."""
    return replace(photo, colours=colours)


def image_of(photo: Photo) -> Image.Image:
    """As a Pillow image of the kind it was read from; palettes become colours."""
    unit = (np.clip(photo.colours, -1, 1) + 1) / 2
    if photo.grey:
        unit = unit.mean(axis=2, dtype=np.float32)
    if photo.deep:
        return Image.fromarray(np.rint(unit * 65535).astype(np.uint16))
    image = Image.fromarray(np.rint(unit * 255).astype(np.uint8))
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    return image


def side_by_side(before: Photo, after: Photo) -> Photo:
    """Both in one, before on the left."""
    alpha = None if before.alpha is None else np.concatenate([before.alpha, before.alpha], axis=1)
    return replace(after, colours=np.concatenate([before.colours, after.colours], axis=1), alpha=alpha)


def written_name(path: Path) -> str:
    """The name under which a photo is written: its own, but for formats that are only read."""
    return path.name if path.suffix.lower() in WRITTEN else f"{path.stem}.png"


def write_photo(path: Path, photo: Photo) -> None:
    """Write a photo, whole or not at all.

    Raises
    ------
    UserError
        It is too large for the format.
    """
    kind = WRITTEN[path.suffix.lower()]
    image = image_of(photo)
    if kind in ("JPEG", "WEBP") and (photo.deep or (kind == "JPEG" and photo.alpha is not None)):
        image = image_of(replace(photo, deep=False, alpha=photo.alpha if kind == "WEBP" else None))
    if kind == "WEBP" and image.mode not in ("RGB", "RGBA"):
        image = image.convert("RGBA" if photo.alpha is not None else "RGB")
    try:
        with new_file(path) as partial:
            image.save(partial, format=kind, **OPTIONS[kind], **photo.kept)
    except (ValueError, OverflowError, RuntimeError, TypeError, struct.error) as error:
        raise UserError(f"cannot be written as {kind}: {' '.join(str(error).split())}") from None
