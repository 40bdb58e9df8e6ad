"""Anybody's photos: read whatever they are, deblur their colours, write them as they were."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from deblurgan import heif
from deblurgan.colour import to_srgb
from deblurgan.errors import UserError
from deblurgan.files import new_file
from deblurgan.orientation import ORIENTATION, upright
from deblurgan.restoration.metadata import XMP_TAG, described, png_chunks, segment
from deblurgan.restoration.sixteen_bit import read_sixteen_bit, sixteen_bit_png
from deblurgan.restoration.tiff import exif_bytes, tiff

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
"""Formats that Pillow reads (MPO counts as JPEG). HEIC is read by `heif`."""
WRITTEN = {
    ".png": "PNG", **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"), ".webp": "WEBP",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
}  # fmt: skip
"""Suffixes that are written as they are; HEIC and AVIF become .jpg, or .png if transparent, others .png."""
SUFFIXES = (*WRITTEN, *heif.SUFFIXES, ".bmp", ".gif")
"""Files of a folder with these suffixes are photos."""

OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 4},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95, "method": 4},
}
LAYOUT = {
    *range(254, 260), 262, 266, 273, *range(277, 282), 284, 317, 320, *range(322, 326), 330, *range(332, 335), 336,
    *range(338, 343), 347, *range(512, 522), *range(529, 533), 34675, 37724,
}  # fmt: skip
"""Tags of a TIFF that say how its pixels are stored, or hold other versions of them, not what they show."""
SUBFILE, FOLDERS_OF_IMAGES = 254, 330
"""Tags of a TIFF: of which kind its image is (1: a smaller version), and where its further images are."""
EXPOSURE, MAKER_NOTE = 0x8769, 0x927C
"""Tags of EXIF: the folder of the exposure, and what the camera's maker has put there."""
SEGMENT = {"exif": 65533, "xmp": 65504}
"""Bytes of metadata that a segment of a JPEG holds; HEIC, AVIF and others may have more."""
TIFFS = (b"II*\0", b"MM\0*")
"""How the files of TIFFs begin."""
ROWS = 64
"""Rows of a photo that are converted at once."""


@dataclass(frozen=True)
class Photo:
    """A photo in memory, upright.

    Parameters
    ----------
    colours
        `float32` of shape (H, W, 3) in [-1, 1]; of a grey photo, three times the same.
    grey, sixteen_bit
        Whether the file has one channel of colour; and whether it has 16 bits a channel.
    alpha
        Of shape (H, W), `uint16` for a photo of 16 bits, else `uint8`; or None.
    kept
        Metadata of the file: Pillow's `exif`, `icc_profile`, `dpi`, and the fields of `metadata.described`.
    before
        Colours to write on the left of these; or None.
    """

    colours: np.ndarray
    grey: bool
    sixteen_bit: bool
    alpha: np.ndarray | None
    kept: dict[str, Any]
    before: np.ndarray | None = None


def read_photo(path: Path, allowed: Callable[[tuple[int, int]], Any] = lambda _: None) -> Photo:
    """Read a photo.

    Parameters
    ----------
    path
        PNG, JPEG, WebP, TIFF, BMP, GIF, HEIC or AVIF (the last two of 8 bits; more bits are cut to 8).
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
            image = heif.opened(data, FORMATS)
        except UserError:
            raise
        except Exception:  # decoders raise anything on garbage
            what = "a TIFF of a kind" if data[:4] in TIFFS else "not an image, or of a format"
            raise UserError(f"{what} that is not read") from None
        try:
            if getattr(image, "n_frames", 1) > 1 and image.format not in heif.SEVERAL:
                raise UserError("animated, or of several pages")
            if _is_preview_of_raw(image):
                raise UserError("a raw photo, of which only the small preview is read: save it as a TIFF first")
            if kind := heif.hdr(image, data):
                raise UserError(f"HDR ({kind}), whose light no JPEG or PNG holds: save it as a usual photo first")
            if image.mode == "F":
                raise UserError("float data: its range is not known")
            allowed((image.height, image.width))
            sixteen_bit = read_sixteen_bit(image, data)
            if sixteen_bit is None:
                image.load()
            levels = np.ravel(image.getextrema()) if sixteen_bit is None and image.mode == "I" else ()
            if not all(0 <= level <= 65535 for level in levels):
                raise UserError("integers of more than 16 bits: their range is not known")
            return _decoded(image, sixteen_bit)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # of the decoder, or of odd metadata
            raise UserError(f"broken: {' '.join(str(error).split()) or type(error).__name__}") from None


def _is_preview_of_raw(image: Image.Image) -> bool:
    """Whether it is what a camera's raw file (NEF, DNG) shows first; the photo itself lies in a folder of the file."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(SUBFILE, 0) & 1 and image.tag_v2.get(FOLDERS_OF_IMAGES))


def _decoded(image: Image.Image, sixteen_bit: np.ndarray | None) -> Photo:
    """The photo of a loaded image, of whose pixels those of 16 bits come from `read_sixteen_bit`."""
    # before `_kept_of` takes the orientation out of the image's EXIF
    turned = upright(image) if sixteen_bit is None else image
    kept = _kept_of(image)
    if sixteen_bit is not None:
        return _photo_of(sixteen_bit, kept)
    if turned.mode in ("CMYK", "LAB"):  # results are RGB, which the photo's own profile does not describe
        turned = to_srgb(turned, kept.pop("icc_profile", None))
    pixels = _pixels_of_image(turned)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and set(
        image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, ())
    ) == {12}:
        pixels = pixels << 4 | pixels >> 8  # to all of 16 bits
    return _photo_of(pixels, kept)


def _kept_of(image: Image.Image) -> dict[str, Any]:
    """The metadata of an image for `Photo.kept`, without the tags that describe how its file stores pixels."""
    kept = {name: image.info[name] for name in ("icc_profile", "dpi") if image.info.get(name)}
    kept |= described(image)
    exif = image.getexif()
    for tag in (ORIENTATION, XMP_TAG, *LAYOUT):  # XMP is among what `described` gives
        exif.pop(tag, None)
    if len(exif):
        kept["exif"] = exif_bytes(exif)
    return kept


def _pixels_of_image(image: Image.Image) -> np.ndarray:
    """Grey or RGB, with or without alpha: `uint8` or, of Pillow's integers, `uint16` of shape (H, W, C)."""
    if image.mode.startswith("I"):  # "I;16" and its like, or "I" with 32 bits, of which `read_photo` allows 16
        return np.clip(np.asarray(image), 0, 65535).astype(np.uint16)[..., None]
    grey = image.mode in ("1", "L", "LA", "La")
    kind = ("L" if grey else "RGB") + ("A" if image.has_transparency_data else "")
    if kind.endswith("A"):
        # Pillow turns a palette with transparency, or a grey level that is transparent, into an alpha in RGBA only
        image = image.convert("RGBA")
    pixels = np.asarray(image.convert(kind))  # (H, W) or (H, W, C)
    return pixels.reshape(*pixels.shape[:2], -1)


def _photo_of(pixels: np.ndarray, kept: dict[str, Any]) -> Photo:
    """The photo of `uint8` or `uint16` of shape (H, W, C): grey or RGB, with or without alpha."""
    channels, half = pixels.shape[2], np.float32(np.iinfo(pixels.dtype).max / 2)
    grey = channels < 3
    alpha = pixels[..., -1] if channels in (2, 4) else None  # (H, W)
    colours = np.broadcast_to(pixels[..., : 1 if grey else 3], (*pixels.shape[:2], 3)) / half - 1  # (H, W, 3)
    return Photo(colours, grey, pixels.dtype == np.uint16, alpha, kept)


def pixels_of(photo: Photo) -> np.ndarray:
    """The pixels to write, `uint8` or `uint16` of shape (H, W, C) as the file had them, but colours for a palette."""
    shown = [colours for colours in (photo.before, photo.colours) if colours is not None]
    channels = (1 if photo.grey else 3) + (photo.alpha is not None)
    height, width = photo.colours.shape[:2]
    pixels = np.empty((height, len(shown) * width, channels), np.uint16 if photo.sixteen_bit else np.uint8)
    for i, colours in enumerate(shown):
        half = pixels[:, i * width : (i + 1) * width]
        for top in range(0, height, ROWS):  # a few rows at a time: floats take four times the memory
            unit = (np.clip(colours[top : top + ROWS], -1, 1) + 1) / 2
            if photo.grey:
                unit = unit.mean(axis=2, keepdims=True, dtype=np.float32)
            half[top : top + ROWS, :, : unit.shape[2]] = np.rint(unit * np.iinfo(pixels.dtype).max)
        if photo.alpha is not None:
            half[..., -1] = photo.alpha
    return pixels


def _eight_bits(alpha: np.ndarray | None) -> np.ndarray | None:
    return None if alpha is None else (alpha // 257).astype(np.uint8)


def before_and_after(before: Photo, after: Photo) -> Photo:
    """Both in one, before on the left."""
    return replace(after, before=before.colours)


def written_name(path: Path) -> str:
    """The name under which a photo is written: its own, but for formats that are only read."""
    suffix = path.suffix.lower()
    if suffix in WRITTEN:
        return path.name
    return f"{path.stem}{'.jpg' if suffix in heif.SUFFIXES and not heif.may_be_transparent(path) else '.png'}"


def write_photo(path: Path, photo: Photo) -> None:
    """Write a photo, whole or not at all; see `write_photos`."""
    write_photos([(path, photo)])


def write_photos(results: Iterable[tuple[Path, Photo | bytes]]) -> None:
    """Write photos, all of them or none; a file's own bytes are written as they are.

    Raises
    ------
    UserError
        One is too large for its format.
    """
    with contextlib.ExitStack() as stack:
        for path, photo in results:
            parts = [photo] if isinstance(photo, bytes) else _encoded(photo, WRITTEN[path.suffix.lower()])
            with open(stack.enter_context(new_file(path)), "wb") as file:
                file.writelines(parts)
            del parts  # before the next photo takes memory


def _encoded(photo: Photo, kind: str) -> list[bytes]:
    """The file's content, in parts: to join them would take their memory twice."""
    if photo.sixteen_bit and kind in ("JPEG", "WEBP"):
        photo = replace(photo, sixteen_bit=False, alpha=_eight_bits(photo.alpha))
    pixels = pixels_of(photo if kind != "JPEG" else replace(photo, alpha=None))
    try:
        if kind == "TIFF":
            return tiff(pixels, photo.kept)
        if photo.sixteen_bit and pixels.shape[2] > 1:
            return sixteen_bit_png(pixels, photo.kept)
        image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        if kind == "WEBP":
            image = image.convert("RGB" if photo.alpha is None else "RGBA")
        stream = io.BytesIO()  # Pillow would forget why a disk takes no more
        image.save(stream, format=kind, **OPTIONS[kind], **_said(photo.kept, kind))
        return [stream.getvalue()]
    except (ValueError, OverflowError, RuntimeError, TypeError, OSError, struct.error) as error:
        raise UserError(f"cannot be written as {kind}: {' '.join(str(error).split())}") from None


def _said(kept: dict[str, Any], kind: str) -> dict[str, Any]:
    """The kept metadata as options of `Image.save`."""
    names = {"PNG": (), "JPEG": ("xmp", "comment"), "WEBP": ("xmp",)}[kind]
    said = {name: kept[name] for name in ("exif", "icc_profile", "dpi", *names) if name in kept}
    if kind == "PNG":
        said["pnginfo"] = png_chunks(kept)
    if kind == "JPEG":
        if "photoshop" in kept:
            said["extra"] = segment(kept["photoshop"])
        if len(said.get("exif", b"")) > SEGMENT["exif"]:
            said["exif"] = _without_maker_note(said["exif"])
        said = {name: value for name, value in said.items() if name not in SEGMENT or len(value) <= SEGMENT[name]}
    return said


def _without_maker_note(data: bytes) -> bytes:
    """EXIF without what most often makes it too long for a JPEG, and what nobody else can read."""
    exif = Image.Exif()
    exif.load(data)
    exif.get_ifd(EXPOSURE).pop(MAKER_NOTE, None)
    return exif_bytes(exif)
