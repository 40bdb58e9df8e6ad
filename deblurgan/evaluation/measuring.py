"""Measuring restored images: no network is needed, so that any process can do it."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from skimage.measure import blur_effect

from deblurgan.evaluation.rows import Row
from deblurgan.evaluation.scores import compared, score, squashed
from deblurgan.images import read_rgb, to_float
from deblurgan.restoration import deconvolution, tiles
from deblurgan.restoration.blind import estimate_blur
from deblurgan.restoration.classical import ALGORITHMS, algorithm


@dataclass(frozen=True)
class Restored:
    """A test image that the networks have restored and that is not measured yet.

    Attributes
    ----------
    name
        Data set, scene, frame.
    sharp
        Where the sharp image is.
    blur, restored
        `uint8` of one shape (H, W, 3).
    stretched
        The blurred image, first `squashed`, then restored.
    kernel
        Point spread function of the blur, for the baselines; None where it is not known.
    in_light
        Whether the blur has mixed light, or stored values.
    baselines
        Names of `classical.ALGORITHMS`, and `blind`, see `blindly`.
    measures
        What the networks have measured themselves.
    kind
        See `scores.Score`.
    """

    name: tuple[str, str, str]
    sharp: Path
    blur: np.ndarray
    restored: np.ndarray
    stretched: np.ndarray
    kernel: np.ndarray | None
    in_light: bool
    baselines: tuple[str, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
    kind: str = "filmed"


@dataclass(frozen=True)
class Sharpened:
    """A photo without a sharp partner, before and after: `uint8` of one shape (H, W, 3)."""

    before: np.ndarray
    after: np.ndarray


def measured(job: Restored | Sharpened) -> Row:
    """Do either job."""
    return scored(job) if isinstance(job, Restored) else blur_effects(job)


def scored(job: Restored) -> Row:
    """Score a test image, the baselines on it, and the image at the size of the original student project."""
    sharp = read_rgb(job.sharp)
    classical = [name for name in job.baselines if name in ALGORITHMS]
    methods = {name: algorithm(name, job.kernel, in_light=job.in_light) for name in classical}
    others = {name: tiles.deblur(method, job.blur) for name, method in methods.items()}
    if "blind" in job.baselines:
        others |= blindly(job)
    found = score(job.name, job.blur, job.restored, sharp, others)
    small_sharp = squashed(sharp)
    before, after = (compared(image, small_sharp) for image in (squashed(job.blur), job.stretched))
    stretched = {**after, **{f"input_{key}": value for key, value in before.items()}}
    return asdict(found) | {"measures": {**found.measures, **job.measures}, "stretched": stretched, "kind": job.kind}


def blindly(job: Restored) -> dict[str, np.ndarray]:
    """The image by blind deconvolution, and by the same deconvolution with the known kernel as `true-kernel`."""
    found = estimate_blur(to_float(job.blur), in_light=job.in_light)
    images = {"blind": job.blur if found.doubt else tiles.deblur(found.method(in_light=job.in_light), job.blur)}
    if job.kernel is not None:
        known = deconvolution.method(job.kernel, found.noise, in_light=job.in_light)
        images["true-kernel"] = tiles.deblur(known, job.blur)
    return images


def blur_effects(job: Sharpened) -> Row:
    """How blurred a photo is, 0 to 1, before and after."""
    before, after = (float(blur_effect(photo, channel_axis=-1)) for photo in (job.before, job.after))
    return {"blur_effect": after, "input_blur_effect": before}
