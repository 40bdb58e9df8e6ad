"""Finding images that lie in two splits: the same image, or two that look alike."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image

from deblurgan.cleaning.duplicates import Look, across_groups, look
from deblurgan.cleaning.leaks import Leak, split_named
from deblurgan.cleaning.sharpness import preview
from deblurgan.errors import UserError

SHOWN = 5


@dataclass(frozen=True)
class Sharp:
    """A sharp image: its place, `<split>/<data set>/<scene>/...`, a checksum of its pixels, and its look.

    The checksum is empty where the image has only one colour: such images say nothing of each other.
    """

    place: str
    pixels: str
    look: Look


def sharp_image(place: str, image: Image.Image) -> Sharp:
    """Describe an image of mode RGB."""
    plain = image.getcolors(1) is not None
    pixels = hashlib.sha256(f"{image.size}".encode())
    pixels.update(image.tobytes())
    return Sharp(place, "" if plain else pixels.hexdigest(), look(preview(image)))


def refuse_shared(images: Iterable[Sharp]) -> None:
    """Stop where an image of the test split also trains or validates, pixel by pixel, whatever it is called.

    Raises
    ------
    UserError
        Names the first five.
    """
    images = [image for image in images if image.pixels]
    others = {image.pixels: image.place for image in images if split_named(image.place) != "test"}
    tests = (image for image in images if split_named(image.place) == "test")
    both = [f"{image.place} is {others[image.pixels]}" for image in tests if image.pixels in others]
    if both:
        raise UserError(
            f"{len(both)} sharp images of the test split also train or validate: {', '.join(both[:SHOWN])}: take them "
            "out of one of the sources"
        )


def leaks(images: Sequence[Sharp], distance: int | None) -> list[Leak]:
    """Find sharp images of the test and validation splits that look like ones of another split.

    Parameters
    ----------
    images
        Of all splits.
    distance
        `clean.near_duplicate`: largest number of bits in which their hashes differ; None finds nothing.
    """
    near = across_groups([(image.place, image.look, split_named(image.place)) for image in images], distance)
    return [Leak(name, like) for name, like in sorted(near.items()) if split_named(name) != "train"]
