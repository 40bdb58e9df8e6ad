"""Scores of restored images against sharp ones, beside those of the untouched input."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from deblurgan.metrics import psnr, ssim


@dataclass(frozen=True)
class Score:
    """One test image: PSNR in dB and SSIM, of the restored image and of the blurred input."""

    dataset: str
    scene: str
    frame: str
    psnr: float
    ssim: float
    input_psnr: float
    input_ssim: float

    @property
    def psnr_gain(self) -> float:
        """How much better than the input, in dB."""
        return self.psnr - self.input_psnr

    @property
    def ssim_gain(self) -> float:
        """How much better than the input."""
        return self.ssim - self.input_ssim


HIGHEST_PSNR = 100.0
"""What equal images count as, in dB: a mean with their infinite PSNR would say nothing."""

MEASURES = ("psnr", "ssim", "input_psnr", "input_ssim", "psnr_gain", "ssim_gain")
"""Attributes of `Score` that are averaged."""


def score(name: tuple[str, str, str], blur: np.ndarray, restored: np.ndarray, sharp: np.ndarray) -> Score:
    """Measure one image; all three are `uint8` of one shape (H, W, 3). `name`: data set, scene, frame."""
    restored_psnr, input_psnr = (min(psnr(image, sharp), HIGHEST_PSNR) for image in (restored, blur))
    return Score(*name, restored_psnr, ssim(restored, sharp), input_psnr, ssim(blur, sharp))


def summary(scores: Iterable[Score]) -> dict[str, float | int]:
    """Average of each measure over images, and how many there are."""
    scores = list(scores)
    means = {name: float(np.mean([getattr(s, name) for s in scores])) for name in MEASURES}
    return {**{name: round(value, 6) for name, value in means.items()}, "images": len(scores)}


def report(scores: list[Score]) -> dict:
    """The content of metrics/evaluate.json: `summary` of all images, and of each data set under `datasets`."""
    datasets = sorted({s.dataset for s in scores})
    return {
        **summary(scores),
        "datasets": {name: summary(s for s in scores if s.dataset == name) for name in datasets},
    }


def spread(scores: list[Score], count: int) -> list[Score]:
    """Up to `count` scores from the worst to the best PSNR gain, evenly spaced: a fair choice to look at."""
    ordered = sorted(scores, key=lambda s: (s.psnr_gain, s.dataset, s.scene, s.frame))
    chosen = np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)
    return [ordered[i] for i in chosen]
