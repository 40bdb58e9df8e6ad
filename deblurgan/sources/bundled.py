"""The photographs that come with scikit-image, arranged so that, with the default split, no photo serves two.

Drawings, scans and test patterns of that package are left out; stars, a stained tissue and a retina are no street,
but teach textures and smooth surfaces; the two motorcycle views show one scene, and only one is used. Authors and
licences are as scikit-image's documentation states.
"""

import functools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from PIL import Image
from tqdm import tqdm

from deblurgan.blur.camera import camera_path, film
from deblurgan.blur.convolution import add_noise, blur_image
from deblurgan.blur.frame_averaging import average_frames
from deblurgan.blur.trajectory import random_path
from deblurgan.errors import UserError
from deblurgan.images import quantize, read_rgb
from deblurgan.params import BundledCamera
from deblurgan.seeds import seed_for


@dataclass(frozen=True)
class BundledPhoto:
    """A photograph inside the scikit-image package."""

    file: str
    author: str
    licence: str
    link: str

    @property
    def id(self) -> str:
        """Its name without the suffix."""
        return Path(self.file).stem

    @property
    def path(self) -> Path:
        """Where the installed package keeps it."""
        return Path(skimage.__file__).parent / "data" / self.file


MOTORCYCLE = BundledPhoto(
    "motorcycle_left.png",
    "Nera Nesic, Porter Westling, Xi Wang, York Kitajima, Greg Krathwohl, Daniel Scharstein",
    "Middlebury Stereo 2014: research use with citation",
    "https://vision.middlebury.edu/stereo/data/scenes2014/",
)
ASTRONAUT = BundledPhoto("astronaut.png", "NASA", "public domain", "https://flic.kr/p/r9qvLn")
BRICK = BundledPhoto("brick.png", "CC0Textures", "CC0", "https://cc0textures.com/view.php?tex=Bricks25")
COFFEE = BundledPhoto("coffee.png", "Rachel Michetti", "CC0", "https://scikit-image.org")
CAMERA = BundledPhoto("camera.png", "Lav Varshney", "CC0", "https://scikit-image.org")

SCENES = {
    "train/GOPR9001_11_00": MOTORCYCLE,
    "train/GOPR9002_07_00": ASTRONAUT,
    "train/GOPR9003_09_00": BRICK,
    "test/GOPR9004_13_00": COFFEE,
    "test/GOPR9005_09_00": CAMERA,
}
"""GoPro-like scenes, named as the data set names them: GOPR, clip, frames averaged, part."""

SHARP = (
    ASTRONAUT,
    BundledPhoto("chelsea.png", "Stefan van der Walt", "CC0", "https://scikit-image.org"),
    BundledPhoto("coins.png", "Brooklyn Museum", "no known restrictions", "https://www.brooklynmuseum.org"),
    BundledPhoto("grass.png", "linolafett", "CC0", "https://www.deviantart.com/linolafett/art/Grass-01-434853879"),
    BundledPhoto("gravel.png", "CC0Textures", "CC0", "https://cc0textures.com/view.php?tex=Gravel04"),
    BundledPhoto("hubble_deep_field.jpg", "NASA", "public domain", "https://hubblesite.org"),
    BundledPhoto(
        "ihc.png", "Center for Microscopy and Molecular Imaging", "no known restrictions", "https://scikit-image.org"
    ),
    MOTORCYCLE,
    BundledPhoto(
        "retina.jpg",
        "Mikael Häggström",
        "CC0",
        "https://commons.wikimedia.org/wiki/File:Fundus_photograph_of_normal_left_eye.jpg",
    ),
)
"""Sharp photos in the place of Unsplash's. Their ids put chelsea into the test and gravel into the validation
split, all others into training; two of those are training scenes above, too."""

BLURRED = (
    BundledPhoto("rocket.jpg", "SpaceX", "public domain", "https://www.flickr.com/photos/spacexphotos/16511594820"),
    BundledPhoto("text.png", "Wikipedia", "public domain", "https://en.wikipedia.org/wiki/File:Corner.png"),
)
"""Photos that are delivered strongly blurred and without a partner; their sharp versions serve nowhere else."""


def film_scene(
    name: str, photo: BundledPhoto, camera: BundledCamera, *, linear: bool, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Film one photo and average its frames into pairs.

    Parameters
    ----------
    name
        Key of `SCENES`; its middle number is how many consecutive frames are averaged.
    photo
        What is filmed.
    camera
        Frame size, motion and number of pairs.
    linear
        Whether light is averaged, or stored values.
    seed
        The pipeline's seed.

    Yields
    ------
    frame, blur, sharp
        Name of the middle frame (its number in the video) and both images, `uint8` of shape (H, W, 3).

    Raises
    ------
    UserError
        The frames are as large as the photo.
    """
    count = int(name.split("_")[1])
    image = read_rgb(photo.path)
    room = ((image.shape[0] - camera.height) / 2, (image.shape[1] - camera.width) / 2)
    if min(room) <= 0:
        raise UserError(
            f"ingest_gopro.bundled: frames of {camera.width}x{camera.height} leave the camera no room to move in "
            f"{photo.file} ({image.shape[1]}x{image.shape[0]}): lower width and height"
        )
    rng = np.random.default_rng(seed_for(seed, "camera", name))
    path = camera_path(rng, count * camera.pairs, room, camera.speed, camera.rotation)
    frames = film(image, path, camera.width, camera.height)
    for first in range(0, len(path), count):
        taken = [quantize(next(frames)) for _ in range(count)]
        yield f"{first + count // 2 + 1:06d}", average_frames(taken, linear=linear), taken[count // 2]


strong_blur = functools.partial(random_path, length=(60.0, 60.0), shake=(0.003,), exposure=(0.5,))
"""Blur of the photos without a sharp partner."""


def copy_bundled(out: Path, seed: int) -> Iterator[tuple[str, ...]]:
    """Write scikit-image's photos; yield their rows of photos.csv."""
    for photo in tqdm(SHARP + BLURRED, desc="fetch_unsplash", unit="photo"):
        kind = "blurred" if photo in BLURRED else "sharp"
        target = out / kind / f"{photo.id}.jpg"
        if kind == "blurred":
            rng = np.random.default_rng(seed_for(seed, "unpartnered", photo.id))
            blurred = blur_image(read_rgb(photo.path), strong_blur(rng).kernel)
            Image.fromarray(add_noise(blurred, rng, 1)).save(target, quality=95, subsampling=0)
        elif photo.path.suffix == ".jpg":
            shutil.copyfile(photo.path, target)
        else:
            Image.fromarray(read_rgb(photo.path)).save(target, quality=95, subsampling=0)
        yield photo.id, kind, photo.author, "", photo.link, photo.licence, "bundled"
