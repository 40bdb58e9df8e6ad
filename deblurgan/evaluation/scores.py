"""Scores of restored images against sharp ones, beside the scores of the untouched input and of older algorithms.

`python -m deblurgan scores` says what the last evaluation found.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from deblurgan.errors import UserError
from deblurgan.evaluation.metrics import psnr, ssim, ssim_3d

REPORT = Path("metrics/evaluate/report.json")


@dataclass(frozen=True)
class Score:
    """One test image: measures by name (see `score`), PSNR and SSIM of each baseline, measures of `squashed`.

    `kind`: of its blur, `filmed` or one of the kinds that `blur.kinds` draws.
    """

    dataset: str
    scene: str
    frame: str
    measures: dict[str, float]
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    stretched: dict[str, float] = field(default_factory=dict)
    kind: str = "filmed"

    def __getitem__(self, name: str) -> float:
        """A measure."""
        return self.measures[name]


HIGHEST_PSNR = 100.0
"""PSNR that equal images count with, dB: with an infinite PSNR the mean would say nothing."""

STRETCHED = 128
"""Side in pixels of the squares to which the original student project stretched its frames before it measured."""

RESAMPLES = 2000
"""Bootstrap samples of the test images for a confidence interval."""

COMPARED = ("psnr", "psnr_gain", "ssim", "ssim_gain", "ssim_3d", "network_psnr_gain", "vgg", "images")
"""The scores of the report that people compare between models."""


def compared(image: np.ndarray, sharp: np.ndarray) -> dict[str, float]:
    """PSNR, SSIM and the SSIM of papers of one image; both are `uint8` of one shape (H, W, 3)."""
    return {
        "psnr": min(psnr(image, sharp), HIGHEST_PSNR),
        "ssim": ssim(image, sharp),
        "ssim_3d": ssim_3d(image, sharp),
    }


def squashed(image: np.ndarray) -> np.ndarray:
    """Stretch an image to the square that the original student project measured."""
    small = Image.fromarray(image).resize((STRETCHED, STRETCHED), Image.Resampling.LANCZOS)
    return np.asarray(small)


def score(
    name: tuple[str, str, str],
    blur: np.ndarray,
    restored: np.ndarray,
    sharp: np.ndarray,
    baselines: dict[str, np.ndarray] | None = None,
    alone: np.ndarray | None = None,
) -> Score:
    """Measure one image.

    Parameters
    ----------
    name
        Data set, scene, frame.
    blur, restored, sharp
        `uint8` of one shape (H, W, 3).
    baselines
        The blurred image as restored by each baseline.
    alone
        The blurred image as the network has it, before a small correction is taken back.

    Returns
    -------
    Score
        `psnr` in dB, `ssim` and `ssim_3d` of the restored image; the same of the blurred one as `input_psnr` and so on;
        and the difference as `psnr_gain` and so on. Of the network alone, if it is given: `network_psnr`,
        `network_ssim`, and their gains.
    """
    after, before = compared(restored, sharp), compared(blur, sharp)
    measures = {**after, **{f"input_{key}": value for key, value in before.items()}}
    measures |= {f"{key}_gain": after[key] - before[key] for key in after}
    if alone is not None:
        network = after if np.array_equal(alone, restored) else compared(alone, sharp)  # SSIM takes its time
        for key in ("psnr", "ssim"):
            measures |= {f"network_{key}": network[key], f"network_{key}_gain": network[key] - before[key]}
    others = {key: compared(image, sharp) for key, image in (baselines or {}).items()}
    return Score(*name, measures, others)


def summary(scores: Iterable[Score]) -> dict:
    """Average of each measure over images, how many there are, and `psnr_gain_95`, the interval of the mean gain."""
    scores = list(scores)
    found = {**averages([s.measures for s in scores]), "images": len(scores)}
    return {**found, "psnr_gain_95": interval([s["psnr_gain"] for s in scores])}


def by_scene(scores: Iterable[Score]) -> dict[tuple[str, str], dict]:
    """`summary` of each scene, by data set and scene."""
    scores = list(scores)
    scenes = sorted({(s.dataset, s.scene) for s in scores})
    return {scene: summary(s for s in scores if (s.dataset, s.scene) == scene) for scene in scenes}


def tables(scores: list[Score]) -> tuple[list[list], list[list]]:
    """Rows of a table of images and of a table of scenes, a header first."""
    measures, others = list(scores[0].measures), _baselines_of(scores)
    images = [["dataset", "scene", "frame", "kind", *measures, *(f"{name}_psnr" for name in others)]]
    for s in scores:
        values = [*s.measures.values(), *(s.baselines.get(name, {}).get("psnr") for name in others)]
        shown = ("" if value is None else f"{value:.4f}" for value in values)
        images.append([s.dataset, s.scene, s.frame, s.kind, *shown])
    scenes = [["dataset", "scene", "images", *measures]]
    for (dataset, scene), part in by_scene(scores).items():
        scenes.append([dataset, scene, part["images"], *(f"{part[name]:.4f}" for name in measures)])
    return images, scenes


def averages(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each value over rows of the same names."""
    return {name: round(float(np.mean([row[name] for row in rows])), 6) for name in rows[0]}


def interval(values: list[float], seed: int = 0) -> list[float]:
    """95 % bootstrap interval of a mean: between which means 95 % of resampled sets of images lie."""
    rng = np.random.default_rng(seed)
    each, count = np.asarray(values), len(values)
    means = [each[rng.integers(count, size=count)].mean() for _ in range(RESAMPLES)]
    return [round(float(bound), 6) for bound in np.percentile(means, (2.5, 97.5))]


def report(scores: list[Score]) -> dict:
    """Sum up a test.

    Returns
    -------
    dict
        `summary` of all images, with `baselines`, the mean measures of each of them; and under `datasets` the same of
        each data set; where a data set has several kinds of blur, under its `kinds` the same of each of them, and under
        `kinds` the same of all data sets together; `stretched_128` is the mean of `Score.stretched`.
    """
    datasets = {s.dataset: [other for other in scores if other.dataset == s.dataset] for s in scores}
    found = _beside_baselines(scores)
    found["datasets"] = {name: _beside_baselines(part) for name, part in sorted(datasets.items())}
    for name, part in datasets.items():
        if len({s.kind for s in part}) > 1:
            found["datasets"][name]["kinds"] = _by_kind(part)
            found["kinds"] = _by_kind(scores)
    if scores[0].stretched:
        found[f"stretched_{STRETCHED}"] = averages([s.stretched for s in scores])
    return found


def _by_kind(scores: list[Score]) -> dict[str, dict]:
    kinds = sorted({s.kind for s in scores})
    return {kind: _beside_baselines([s for s in scores if s.kind == kind]) for kind in kinds}


def _beside_baselines(scores: list[Score]) -> dict:
    """`summary`, and the mean measures of each baseline, if there are any.

    Of a baseline that was measured on some images only, also how many, and the mean measures of their inputs.
    """
    found, baselines = summary(scores), {}
    for name in _baselines_of(scores):
        own = [s for s in scores if name in s.baselines]
        baselines[name] = averages([s.baselines[name] for s in own])
        if len(own) < len(scores):
            inputs = averages([{key: s[f"input_{key}"] for key in s.baselines[name]} for s in own])
            baselines[name] |= {"images": len(own), **{f"input_{key}": value for key, value in inputs.items()}}
    return {**found, "baselines": baselines} if baselines else found


def _baselines_of(scores: list[Score]) -> list[str]:
    """Names of the baselines of any image, in order."""
    return list(dict.fromkeys(name for s in scores for name in s.baselines))


def in_words(found: dict) -> list[str]:
    """The report as lines to read: input, output and gain of each part of the test."""
    low, high = found["psnr_gain_95"]
    parts = {}
    for name, part in {"test": found, **found["datasets"]}.items():
        parts[name] = part
        before = {key: part[key] for key in ("images", "input_psnr", "input_ssim")}
        if "network_psnr" in part:
            alone = {"psnr": part["network_psnr"], "ssim": part["network_ssim"]}
            parts[f"  network alone, {name}"] = {**before, **alone}
        parts |= {f"  {key}, {name}": {**before, **other} for key, other in part.get("baselines", {}).items()}
    for kind, part in found.get("kinds", {}).items():
        parts[f"blur: {kind}"] = part
        some = {key: other for key, other in part.get("baselines", {}).items() if "images" in other}
        parts |= {f"  {key}, blur: {kind}": other for key, other in some.items()}
    parts[f"at {STRETCHED}x{STRETCHED}"] = {"images": found["images"], **found[f"stretched_{STRETCHED}"]}
    lines = []
    for name, part in parts.items():
        psnr_gain, ssim_gain = part["psnr"] - part["input_psnr"], part["ssim"] - part["input_ssim"]
        lines.append(
            f"{name:27s} {part['images']:5d} images   PSNR {part['input_psnr']:.2f} -> {part['psnr']:.2f} dB "
            f"({psnr_gain:+.2f})   SSIM {part['input_ssim']:.3f} -> {part['ssim']:.3f} ({ssim_gain:+.3f})"
        )
    lines[0] += f"   95 %: {low:+.2f} to {high:+.2f} dB"
    if found["unpaired"]["photos"]:
        u = found["unpaired"]
        change = f"blur effect {u['input_blur_effect']:.3f} -> {u['blur_effect']:.3f}"
        lines.append(f"{'without a partner':27s} {u['photos']:5d} photos   {change} (0: sharp, 1: blurred)")
    return lines


def main(arguments: Sequence[str] = ()) -> None:
    """Say what the last evaluation found."""
    parser = argparse.ArgumentParser(prog="python -m deblurgan scores", description=f"Print the scores of {REPORT}.")
    parser.parse_args(list(arguments))
    if not REPORT.exists():
        raise UserError(f"{REPORT} is not there: `dvc repro evaluate` makes it")
    try:
        lines = in_words(json.loads(REPORT.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # of a merge, say, whose conflicts are open
        raise UserError(f"{REPORT} is damaged ({error}): `dvc repro -f evaluate` makes it anew") from None
    print("\n".join(lines))
