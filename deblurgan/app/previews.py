"""Pictures of a photo before and after that browsers show, whatever the photo's own format."""

from pathlib import Path

import numpy as np
from PIL import Image

from deblurgan.restoration.photo_files import Photo, pixels_of, read_photo

LARGEST = 4096
"""Longer side of a preview, pixels: larger photos are made smaller for the screen."""
QUALITY = 92


def write_previews(before: Path, after: Path, folder: Path) -> tuple[Path, Path, tuple[int, int]]:
    """Write both, and give the size of the photo, (width, height); JPEG, or PNG where there is transparency.

    They lie in a folder of their own below `folder`: a photo may be called as one of them.
    """
    pictures, folder = [], folder / "previews"
    folder.mkdir(exist_ok=True)
    for name, path in (("before", before), ("after", after)):
        photo = read_photo(path)
        picture = _picture(photo)
        target = folder / f"{name}.{'png' if picture.mode == 'RGBA' else 'jpg'}"
        profile = photo.kept.get("icc_profile")
        if target.suffix == ".jpg":
            picture.save(target, icc_profile=profile, quality=QUALITY, subsampling=0)
        else:
            picture.save(target, icc_profile=profile, compress_level=1)
        pictures.append(target)
    return pictures[0], pictures[1], (photo.colours.shape[1], photo.colours.shape[0])


def _picture(photo: Photo) -> Image.Image:
    pixels = pixels_of(photo)
    if pixels.dtype == np.uint16:
        pixels = (pixels // 257).astype(np.uint8)
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGBA")
