"""How many altered copies of photos are taken for near duplicates, and how many photos that are others.

    python -m benchmarks.duplicates /photos [/more photos]    # minutes for some hundred; those of scikit-image without

Each photo is compared with altered copies of itself and with every other photo; and skies with one object each with
each other: plain photos are what a difference hash takes for one. `hash` counts what the hash alone says.
"""

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from deblurgan.cleaning.duplicates import Look, look, near_duplicates
from deblurgan.cleaning.sharpness import preview
from deblurgan.pairs import files_below
from deblurgan.sources import bundled

DISTANCE = 8
"""Of `clean.near_duplicate`."""


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Compress a photo."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def smaller(image: Image.Image, scale: float) -> Image.Image:
    """Scale a photo down."""
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def cropped(image: Image.Image, share: float, where: float = 0.5) -> Image.Image:
    """Cut a share of each side off; `where` 0 keeps the upper left corner, 0.5 the middle."""
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    left, top = round((image.width - width) * where), round((image.height - height) * where)
    return image.crop((left, top, left + width, top + height))


def brighter(image: Image.Image, gain: float) -> Image.Image:
    """Multiply stored values."""
    return image.point([min(255, round(value * gain)) for value in range(256)] * 3)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 75": lambda image: as_jpeg(image, 75),
    "JPEG, quality 40": lambda image: as_jpeg(image, 40),
    "JPEG, quality 20": lambda image: as_jpeg(image, 20),
    "three quarters of the size": lambda image: smaller(image, 0.75),
    "half the size": lambda image: smaller(image, 0.5),
    "a third of the size": lambda image: smaller(image, 0.33),
    "1 % cropped": lambda image: cropped(image, 0.01),
    "2 % cropped": lambda image: cropped(image, 0.02),
    "2 % cropped, at one corner": lambda image: cropped(image, 0.02, 0),
    "5 % cropped": lambda image: cropped(image, 0.05),
    "10 % cropped": lambda image: cropped(image, 0.1),
    "darker by a fifth": lambda image: brighter(image, 0.8),
    "brighter by a fifth": lambda image: brighter(image, 1.2),
    "cropped, smaller, darker, JPEG": lambda image: as_jpeg(brighter(smaller(cropped(image, 0.01), 0.6), 0.9), 60),
}


def sky_with_an_object(rng: np.random.Generator, width: int = 480, height: int = 320) -> Image.Image:
    """A sky that brightens towards the horizon, and a thing of any shape at any place in it, as a JPEG."""
    down, across = np.linspace(0, 1, height)[:, None, None], np.linspace(-0.5, 0.5, width)[None, :, None]
    top, bottom = rng.uniform([40, 90, 150], [110, 160, 230]), rng.uniform([130, 170, 200], [220, 230, 250])
    sky = top * (1 - down) + bottom * down + across * rng.normal(0, 12)
    angles, radii = np.sort(rng.uniform(0, 2 * np.pi, 7)), rng.uniform(0.02, 0.08) * width * rng.uniform(0.3, 1, 7)
    x, y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
    thing = Image.new("L", (width, height))
    corners = [(x + r * np.cos(a), y + r * np.sin(a)) for r, a in zip(radii, angles, strict=True)]
    ImageDraw.Draw(thing).polygon(corners, fill=255)
    share = np.asarray(thing.filter(ImageFilter.GaussianBlur(1)))[..., None] / 255
    mixed = sky * (1 - share) + rng.uniform(10, 90, 3) * share + rng.normal(0, 2, sky.shape)
    return as_jpeg(Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8)), 90)


def seen(image: Image.Image) -> Look:
    """The look of a photo, as cleaning takes it."""
    return look(preview(image))


def by_hash(looks: Sequence[Look]) -> int:
    """How many photos the hash alone takes for an earlier one."""
    kept: list[int] = []
    for its in looks:
        if all((its.bits ^ other).bit_count() > DISTANCE for other in kept):
            kept.append(its.bits)
    return len(looks) - len(kept)


def others(looks: Sequence[Look]) -> tuple[int, int]:
    """How many of these photos, all of them others, are taken for an earlier one, by hash and in the end."""
    photos = ((str(i), its) for i, its in enumerate(looks))
    return by_hash(looks), len(near_duplicates(photos, DISTANCE))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="photos of which no two are the same")
    parser.add_argument("--skies", type=int, default=120, help="how many to draw, ten times")
    options = parser.parse_args(arguments)
    files = [path for folder in options.folders for path in files_below(folder) if path.suffix in (".jpg", ".png")]
    looks: list[Look] = []
    found = {name: [0, 0] for name in COPIES}
    for path in files or sorted({photo.path for photo in (*bundled.SHARP, *bundled.BLURRED)}):
        image = Image.open(path).convert("RGB")
        looks.append(seen(image))
        for name, altered in COPIES.items():
            pair = (looks[-1], seen(altered(image)))
            for i, count in enumerate((by_hash(pair), others(pair)[1])):
                found[name][i] += count
    print(f"{len(looks)} photos; taken for another one:".ljust(40), "hash {}, in the end {}".format(*others(looks)))
    for seed in range(10):
        rng = np.random.default_rng(seed)
        skies = others([seen(sky_with_an_object(rng)) for _ in range(options.skies)])
        print(f"{options.skies} skies with an object, seed {seed}:".ljust(40), "hash {}, in the end {}".format(*skies))
    for name, counts in found.items():
        shares = (f"{count / len(looks):.1%}" for count in counts)
        print(f"{name}, found:".ljust(40), "hash {}, in the end {}".format(*shares))


if __name__ == "__main__":
    main()
