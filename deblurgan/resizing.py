"""Resizing; both halves of a pair have one size, so they always get the same geometry."""

from PIL import Image

from deblurgan.params import Resize


def new_size(width: int, height: int, settings: Resize) -> tuple[int, int]:
    """The size that an image gets.

    Parameters
    ----------
    width, height
        Its present size in pixels.
    settings
        `none` keeps it; `fit` scales it down, keeping its aspect ratio, until it lies within the given size;
        `stretch` gives it exactly the given size, whatever its aspect ratio.

    Returns
    -------
    width, height : int
        In pixels, at least 1.
    """
    if settings.mode == "none":
        return width, height
    if settings.mode == "stretch":
        return settings.width, settings.height
    scale = min(settings.width / width, settings.height / height, 1)
    return max(1, round(width * scale)), max(1, round(height * scale))


def resize_image(image: Image.Image, settings: Resize) -> Image.Image:
    """Resize with the antialiased Lanczos filter; the very image if its size stays."""
    size = new_size(*image.size, settings)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
