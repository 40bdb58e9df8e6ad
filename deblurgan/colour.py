"""Converting a file's colours to sRGB, by its colour profile."""

import io

from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")
_LAB = ImageCms.createProfile("LAB")


def to_srgb(image: Image.Image, profile: bytes | None = None) -> Image.Image:
    """Convert to sRGB.

    Parameters
    ----------
    image
        Of any mode without alpha: RGB, grey, CMYK, LAB ...
    profile
        The ICC profile of its colours. A broken one, or one of another kind of colours, is ignored, as browsers do.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.
    """
    if image.mode == "YCbCr":  # only another way to write RGB, which the profile is of
        image = image.convert("RGB")
    if profile or image.mode == "LAB":
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile and image.mode != "LAB" else _LAB
            image = ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB") or image
        except (OSError, ImageCms.PyCMSError, ValueError):
            pass
    return image.convert("RGB")
