"""Pictures of some test images: input, result, sharp image and error, side by side."""

from dataclasses import dataclass

import numpy as np

from deblurgan.evaluation.scores import Score
from deblurgan.images import read_rgb
from deblurgan.layout import Pair
from deblurgan.pictures import error_map, panel
from deblurgan.restoration.in_workers import SharedFile, deblurred
from deblurgan.sampling import evenly_spaced


def spread(scores: list[Score], count: int) -> list[Score]:
    """Up to `count` scores from the most to the least blurred input, evenly spaced: the same for all models."""
    ordered = sorted(scores, key=lambda s: (s["input_psnr"], s.dataset, s.scene, s.frame))
    return evenly_spaced(ordered, count)


@dataclass(frozen=True)
class PanelJob:
    """A test image to draw, what restores it, and its score."""

    pair: Pair
    model: SharedFile
    ensemble: bool
    score: Score


def drawn(job: PanelJob) -> np.ndarray:
    """Draw a test image, `uint8` of shape (H, W, 3)."""
    blur, sharp, s = read_rgb(job.pair.blur), read_rgb(job.pair.sharp), job.score
    restored, _ = deblurred(job.model, blur, ensemble=job.ensemble)
    captions = (
        f"input: {s['input_psnr']:.2f} dB, SSIM {s['input_ssim']:.3f}",
        f"result: {s['psnr']:.2f} dB ({s['psnr_gain']:+.2f}), SSIM {s['ssim']:.3f}",
        "sharp",
        "error of the result, four times as strong",
    )
    title = f"{s.dataset} {s.scene} {s.frame}; below, where the error of the input is largest"
    return panel((blur, restored, sharp, error_map(restored, sharp)), captions, title)
