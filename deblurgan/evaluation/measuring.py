"""Restoring and measuring an image, by any process."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from skimage.measure import blur_effect

from deblurgan.evaluation.perceptual import distances
from deblurgan.evaluation.rows import Row
from deblurgan.evaluation.scores import compared, score, squashed
from deblurgan.images import read_rgb, to_float
from deblurgan.restoration import deconvolution, tiles
from deblurgan.restoration.classical import ALGORITHMS, algorithm
from deblurgan.restoration.in_workers import SharedFile, deblurred, deblurred_and_alone
from deblurgan.restoration.kernel_selection import estimate_blur


@dataclass(frozen=True)
class PairJob:
    """A test image to restore and to measure.

    Attributes
    ----------
    name
        Data set, scene, frame.
    blur, sharp
        Where the images are.
    model, ensemble
        What restores it, see `in_workers.deblurred`.
    kernel
        Point spread function of the blur, for the baselines; None where it is not known.
    in_light
        Whether the blur has mixed light, or stored values.
    kind
        See `scores.Score`.
    baselines
        Names of `classical.ALGORITHMS`, and `blind`, see `blindly`.
    vgg
        Weights of VGG19, if its distance is asked for.
    """

    name: tuple[str, str, str]
    blur: Path
    sharp: Path
    model: SharedFile
    ensemble: bool
    kernel: np.ndarray | None
    in_light: bool
    kind: str = "filmed"
    baselines: tuple[str, ...] = ()
    vgg: SharedFile | None = None


@dataclass(frozen=True)
class PhotoJob:
    """A photo without a sharp partner, and what restores it."""

    photo: Path
    model: SharedFile
    ensemble: bool


def measured(job: PairJob | PhotoJob) -> Row:
    """Do either job."""
    return scored(job) if isinstance(job, PairJob) else blur_effects(job)


def scored(job: PairJob) -> Row:
    """Score a test image, the baselines on it, and the image at the size of the original student project."""
    blur, sharp = read_rgb(job.blur), read_rgb(job.sharp)
    restored, alone = deblurred_and_alone(job.model, blur, ensemble=job.ensemble)
    stretched, _ = deblurred(job.model, squashed(blur), ensemble=job.ensemble)
    classical = [name for name in job.baselines if name in ALGORITHMS]
    methods = {name: algorithm(name, job.kernel, in_light=job.in_light) for name in classical}
    others = {name: tiles.deblur(method, blur) for name, method in methods.items()}
    if "blind" in job.baselines:
        others |= blindly(blur, job.kernel, in_light=job.in_light)
    found = score(job.name, blur, restored, sharp, others, alone)
    if job.vgg:
        found.measures.update(zip(("vgg", "input_vgg"), distances(job.vgg, sharp, restored, blur), strict=True))
    after, before = (compared(image, squashed(sharp)) for image in (stretched, squashed(blur)))
    small = {**after, **{f"input_{key}": value for key, value in before.items()}}
    return asdict(found) | {"stretched": small, "kind": job.kind}


def blindly(blur: np.ndarray, kernel: np.ndarray | None, *, in_light: bool) -> dict[str, np.ndarray]:
    """The image by blind deconvolution, and by the same deconvolution with the known kernel as `true-kernel`."""
    found = estimate_blur(to_float(blur), in_light=in_light)
    images = {"blind": blur if found.doubt else tiles.deblur(found.method(in_light=in_light), blur)}
    if kernel is not None:
        images["true-kernel"] = tiles.deblur(deconvolution.method(kernel, found.noise, in_light=in_light), blur)
    return images


def blur_effects(job: PhotoJob) -> Row:
    """How blurred a photo is, 0 to 1, before and after."""
    photo = read_rgb(job.photo)
    restored, _ = deblurred(job.model, photo, ensemble=job.ensemble)
    before, after = (float(blur_effect(image, channel_axis=-1)) for image in (photo, restored))
    return {"blur_effect": after, "input_blur_effect": before}
