"""Scores of restored images against sharp ones, beside those of the untouched input and of older algorithms.

`python -m deblurgan.evaluation` says what the last evaluation found.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from skimage.measure import blur_effect

from deblurgan import tiles
from deblurgan.classical import algorithm
from deblurgan.errors import UserError, reported
from deblurgan.files import cache_directory, locked, new_file
from deblurgan.images import read_rgb
from deblurgan.metrics import psnr, ssim, ssim_3d
from deblurgan.scale import each

REPORT = Path("metrics/evaluate/report.json")

Item = TypeVar("Item")
Row = dict[str, Any]


@dataclass(frozen=True)
class Score:
    """One test image: measures by name, see `score`, for each baseline its PSNR and SSIM, and those of `squashed`."""

    dataset: str
    scene: str
    frame: str
    measures: dict[str, float]
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    stretched: dict[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        """A measure."""
        return self.measures[name]


HIGHEST_PSNR = 100.0
"""What equal images count as, in dB: a mean with their infinite PSNR would say nothing."""

STRETCHED = 128
"""Side in pixels to which the project that this began as squashed its frames, and at which it measured."""

RESAMPLES = 2000
"""Of the test images, for an interval of confidence."""

COMPARED = ("psnr", "psnr_gain", "ssim", "ssim_gain", "ssim_3d", "vgg", "images")
"""What of the report people compare from model to model."""

KEPT_DAYS = 30
"""After so long without a new row, the rows of an evaluation that nobody went on with are thrown away."""


def compared(image: np.ndarray, sharp: np.ndarray) -> dict[str, float]:
    """PSNR, SSIM and the SSIM of papers of one image; both are `uint8` of one shape (H, W, 3)."""
    return {
        "psnr": min(psnr(image, sharp), HIGHEST_PSNR),
        "ssim": ssim(image, sharp),
        "ssim_3d": ssim_3d(image, sharp),
    }


def squashed(image: np.ndarray) -> np.ndarray:
    """Stretch an image to the square of the project that this began as."""
    small = Image.fromarray(image).resize((STRETCHED, STRETCHED), Image.Resampling.LANCZOS)
    return np.asarray(small)


@dataclass(frozen=True)
class Restored:
    """A test image as the networks have left it, all that is measured of it being still to do.

    Attributes
    ----------
    name
        Data set, scene, frame.
    sharp
        Where the sharp image is.
    blur, restored
        `uint8` of one shape (H, W, 3).
    stretched
        What the generator makes of `squashed` of the blurred one.
    kernel
        Point spread function of the blur, for the baselines; None where it is not known.
    in_light
        Whether the blur has mixed light, or stored values.
    baselines
        Names of `classical.ALGORITHMS`.
    measures
        What the networks have measured themselves.
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


@dataclass(frozen=True)
class Sharpened:
    """A photo without a sharp partner, before and after: `uint8` of one shape (H, W, 3)."""

    before: np.ndarray
    after: np.ndarray


def measured(job: Restored | Sharpened) -> Row:
    """Do either job."""
    return scored(job) if isinstance(job, Restored) else blurriness(job)


def scored(job: Restored) -> Row:
    """Score a test image, the baselines on it, and what is left of both at the size of the project before."""
    sharp = read_rgb(job.sharp)
    methods = {name: algorithm(name, job.kernel, in_light=job.in_light) for name in job.baselines}
    others = {name: tiles.deblur(method, job.blur) for name, method in methods.items()}
    found = score(job.name, job.blur, job.restored, sharp, others)
    small_sharp = squashed(sharp)
    before, after = (compared(image, small_sharp) for image in (squashed(job.blur), job.stretched))
    stretched = {**after, **{f"input_{key}": value for key, value in before.items()}}
    return asdict(found) | {"measures": {**found.measures, **job.measures}, "stretched": stretched}


def blurriness(job: Sharpened) -> Row:
    """How blurred a photo is, 0 to 1, before and after."""
    before, after = (float(blur_effect(photo, channel_axis=-1)) for photo in (job.before, job.after))
    return {"blur_effect": after, "input_blur_effect": before}


class Rows:
    """Rows of an evaluation by the name of what they are about, each written down as soon as it is there.

    A row that was cut off or damaged when a run was killed is as if it had never been.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, {}
        content = path.read_bytes() if path.exists() else b""
        for line in content.splitlines():
            with contextlib.suppress(ValueError, TypeError):
                name, row = json.loads(line)
                self.found[name] = row
        whole = "".join(map(_line, self.found.items()))
        if content != whole.encode():
            with new_file(path) as partial:
                partial.write_text(whole, encoding="utf-8")

    def of(
        self,
        items: dict[str, Item],
        work: Callable[[Any], Row],
        prepare: Callable[[Item], Any],
    ) -> list[Row]:
        """The rows of all items, in their order; what is not there yet is measured, see `scale.each`."""
        missing = [name for name in items if name not in self.found]
        if len(missing) < len(items):
            print(f"evaluate: {len(items) - len(missing)} of {len(items)} images were measured before")
        todo = [items[name] for name in missing]
        with open(self.path, "a", encoding="utf-8") as stream:
            results = each(work, todo, label="evaluate", unit="image", prepare=prepare)
            for name, row in zip(missing, results, strict=True):
                self.found[name] = row
                stream.write(_line((name, row)))
                stream.flush()
        return [self.found[name] for name in items]


def _line(entry: tuple[str, Row]) -> str:
    return json.dumps(entry) + "\n"


@contextlib.contextmanager
def kept_rows(name: str) -> Iterator[Rows]:
    """The rows of one evaluation, held by this process alone.

    They lie in the cache directory, outside of DVC's outputs, which DVC deletes before each run.

    Parameters
    ----------
    name
        Of all that determines a row but the images: an evaluation by another one never sees them.

    Raises
    ------
    UserError
        Another process is at this very evaluation.
    """
    path = cache_directory() / "evaluate" / f"{name}.jsonl"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path.with_suffix(".lock"), wait=False))
        except BlockingIOError:
            raise UserError(f"another process is at this evaluation: wait for it, or end it ({path})") from None
        for other in path.parent.glob("*"):
            if other.stat().st_mtime < time.time() - KEPT_DAYS * 24 * 3600:
                other.unlink(missing_ok=True)
        yield Rows(path)


def score(
    name: tuple[str, str, str],
    blur: np.ndarray,
    restored: np.ndarray,
    sharp: np.ndarray,
    baselines: dict[str, np.ndarray] | None = None,
) -> Score:
    """Measure one image.

    Parameters
    ----------
    name
        Data set, scene, frame.
    blur, restored, sharp
        `uint8` of one shape (H, W, 3).
    baselines
        What others made of the blurred image.

    Returns
    -------
    Score
        `psnr` in dB, `ssim` and `ssim_3d` of the restored image; the same of the blurred one as `input_psnr` and so on;
        and the difference as `psnr_gain` and so on.
    """
    after, before = compared(restored, sharp), compared(blur, sharp)
    measures = {**after, **{f"input_{key}": value for key, value in before.items()}}
    measures |= {f"{key}_gain": after[key] - before[key] for key in after}
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


def averages(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each value over rows of the same names."""
    return {name: round(float(np.mean([row[name] for row in rows])), 6) for name in rows[0]}


def interval(values: list[float], seed: int = 0) -> list[float]:
    """95 % bootstrap interval of a mean: between which means 95 % of resampled sets of images lie."""
    rng = np.random.default_rng(seed)
    sample = np.asarray(values)[rng.integers(len(values), size=(RESAMPLES, len(values)))]
    return [round(float(bound), 6) for bound in np.percentile(sample.mean(axis=1), (2.5, 97.5))]


def report(scores: list[Score]) -> dict:
    """Sum up a test.

    Returns
    -------
    dict
        `summary` of all images, with `baselines`, the mean measures of each of them; and under `datasets` the same of
        each data set; `stretched_128` is the mean of `Score.stretched`.
    """
    datasets = {s.dataset: [other for other in scores if other.dataset == s.dataset] for s in scores}
    found = _beside_baselines(scores)
    found["datasets"] = {name: _beside_baselines(part) for name, part in sorted(datasets.items())}
    if scores[0].stretched:
        found[f"stretched_{STRETCHED}"] = averages([s.stretched for s in scores])
    return found


def _beside_baselines(scores: list[Score]) -> dict:
    """`summary`, and the mean measures of each baseline, if there are any."""
    found, names = summary(scores), scores[0].baselines
    if names:
        found["baselines"] = {name: averages([s.baselines[name] for s in scores]) for name in names}
    return found


def spread(scores: list[Score], count: int) -> list[Score]:
    """Up to `count` scores from the most to the least blurred input, evenly spaced: the same for all models."""
    ordered = sorted(scores, key=lambda s: (s["input_psnr"], s.dataset, s.scene, s.frame))
    chosen = np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)
    return [ordered[i] for i in chosen]


def in_words(found: dict) -> list[str]:
    """The report as lines to read: input, output and gain of each part of the test."""
    low, high = found["psnr_gain_95"]
    parts = {}
    for name, part in {"test": found, **found["datasets"]}.items():
        parts[name] = part
        before = {key: part[key] for key in ("images", "input_psnr", "input_ssim")}
        parts |= {f"  {key}, {name}": {**before, **other} for key, other in part.get("baselines", {}).items()}
    parts[f"at {STRETCHED}x{STRETCHED}"] = {"images": found["images"], **found[f"stretched_{STRETCHED}"]}
    lines = []
    for name, part in parts.items():
        psnr_gain, ssim_gain = part["psnr"] - part["input_psnr"], part["ssim"] - part["input_ssim"]
        lines.append(
            f"{name:26s} {part['images']:5d} images   PSNR {part['input_psnr']:.2f} -> {part['psnr']:.2f} dB "
            f"({psnr_gain:+.2f})   SSIM {part['input_ssim']:.3f} -> {part['ssim']:.3f} ({ssim_gain:+.3f})"
        )
    lines[0] += f"   95 %: {low:+.2f} to {high:+.2f} dB"
    if found["unpaired"]["photos"]:
        u = found["unpaired"]
        change = f"blur effect {u['input_blur_effect']:.3f} -> {u['blur_effect']:.3f}"
        lines.append(f"{'without a partner':26s} {u['photos']:5d} photos   {change} (0: sharp, 1: blurred)")
    return lines


def main() -> None:
    """Say what the last evaluation found."""
    if not REPORT.exists():
        raise UserError(f"{REPORT} is not there: `dvc repro evaluate` makes it")
    print("\n".join(in_words(json.loads(REPORT.read_text(encoding="utf-8")))))


if __name__ == "__main__":
    with reported("evaluation"):
        main()
