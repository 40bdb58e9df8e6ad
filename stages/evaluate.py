"""Measure the generator on the test split: metrics/evaluate.json, a table per image, pictures."""

from stages import engine  # before anything that imports Keras

# isort: split

import csv
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from skimage.measure import blur_effect
from tqdm import tqdm

from deblurgan import params, tiles
from deblurgan.archive import load_generator
from deblurgan.classical import algorithm
from deblurgan.errors import UserError, reported
from deblurgan.evaluation import STRETCHED, Score, averages, by_scene, compared, in_words, report, score, spread
from deblurgan.figures import enlarged_part, error_map, save_gains, save_panel
from deblurgan.files import new_directory, new_file, write_json
from deblurgan.images import read_rgb, to_float
from deblurgan.inference import deblur
from deblurgan.losses import content
from deblurgan.pairs import Pair, files_below, find_pairs
from deblurgan.synthesis import blur_of
from deblurgan.vgg import build_features

DATA = Path("data/resized")
MODEL = Path("models/generator.keras")
METRICS = Path("metrics/evaluate.json")
IMAGES = Path("metrics/evaluate/images.csv")
SCENES = Path("metrics/evaluate/scenes.csv")
PANELS = Path("metrics/evaluate/panels")
GAINS = Path("metrics/evaluate/gains.png")


def name_of(blur: Path) -> tuple[str, str, str]:
    """Data set, scene and frame of a blurred test image."""
    dataset, scene, _, frame = blur.relative_to(DATA / "test").parts
    return dataset, scene, Path(frame).stem


def squashed(image: np.ndarray) -> np.ndarray:
    """Stretch an image to the square of the project that this began as."""
    small = Image.fromarray(image).resize((STRETCHED, STRETCHED), Image.Resampling.LANCZOS)
    return np.asarray(small)


def refuse_shared_scenes() -> None:
    """Stop where a photo or scene both trains and tests."""
    scenes = {
        split: {tuple(pair.blur.relative_to(DATA / split).parts[:2]) for pair in find_pairs(DATA / split)}
        for split in ("train", "val", "test")
    }
    both = sorted(scenes["test"] & (scenes["train"] | scenes["val"]))
    if both:
        names = ", ".join("/".join(scene) for scene in both[:5])
        raise UserError(f"{len(both)} scenes of the test split also train or validate: {names}")


class Evaluation:
    """The generator and what it is compared with."""

    def __init__(self, p: params.Params) -> None:
        self.seed, self.size, self.synthesize, self.settings = p.seed, p.resize, p.synthesize, p.evaluate
        # whether the blur of pairs that came as such, and of those that were made here, mixes light
        self.in_light = (p.ingest_gopro.blur == "blur_gamma", p.synthesize.in_light)
        self.generator = load_generator(MODEL)
        self.features = build_features(p.evaluate.vgg_weights) if p.evaluate.vgg_weights else None

    def restored(self, blur: np.ndarray) -> np.ndarray:
        """Deblur an image."""
        return deblur(self.generator, blur)

    def kernel(self, name: tuple[str, str, str], shape: tuple[int, ...]) -> np.ndarray | None:
        """The kernel that made a blurred image, where that is known."""
        dataset, scene, frame = name
        size = self.size
        untouched = size.mode == "none" or (size.mode == "fit" and shape[0] < size.height and shape[1] < size.width)
        if dataset == "unsplash" and untouched and frame.isdigit():
            return blur_of(scene, int(frame), self.synthesize, self.seed)[0].kernel
        return None

    def score(self, name: tuple[str, str, str], pair: Pair) -> tuple[Score, dict[str, float]]:
        """Measure an image; also as the project that this began as did."""
        blur, sharp = read_rgb(pair.blur), read_rgb(pair.sharp)
        restored, kernel = self.restored(blur), self.kernel(name, blur.shape)
        in_light = self.in_light[name[0] == "unsplash"]
        others = {key: tiles.deblur(algorithm(key, kernel, in_light=in_light), blur) for key in self.settings.baselines}
        found = score(name, blur, restored, sharp, others)
        if self.features:
            found.measures["vgg"], found.measures["input_vgg"] = self.distances(restored, blur, sharp)
        small_blur, small_sharp = (squashed(image) for image in (blur, sharp))
        small = compared(self.restored(small_blur), small_sharp)
        before = compared(small_blur, small_sharp)
        return found, {**small, **{f"input_{key}": value for key, value in before.items()}}

    def distances(self, *images: np.ndarray) -> list[float]:
        """Content losses of all images but the last one against that."""
        *others, sharp = (self.features(to_float(image)[None]) for image in images)
        return [float(keras.ops.convert_to_numpy(content(other, sharp))) for other in others]

    def sharpening(self) -> dict[str, float]:
        """How blurred the photos without a sharp partner are, 0 to 1, before and after."""
        rows = []
        for path in tqdm(files_below(DATA / "unpaired"), desc="unpaired", unit="photo"):
            photo = read_rgb(path)
            before, after = (float(blur_effect(image, channel_axis=-1)) for image in (photo, self.restored(photo)))
            rows.append({"blur_effect": after, "input_blur_effect": before})
        return {**averages(rows), "photos": len(rows)} if rows else {"photos": 0}

    def panel(self, path: Path, pair: Pair, s: Score) -> None:
        """Draw an image: input, output, sharp and error, and where the input is worst, enlarged."""
        blur, sharp = read_rgb(pair.blur), read_rgb(pair.sharp)
        restored = self.restored(blur)
        captions = (
            f"input {s['input_psnr']:.2f} dB / {s['input_ssim']:.3f}",
            f"deblurred {s['psnr']:.2f} dB / {s['ssim']:.3f}",
            f"sharp: {s.dataset} {s.scene} {s.frame}",
            "error of the deblurred, 4x",
        )
        images = (blur, restored, sharp, error_map(restored, sharp))
        save_panel(path, [images, enlarged_part(images, error_map(blur, sharp))], captions)


def write_tables(scores: list[Score]) -> None:
    """Write one row per image, and one per scene."""
    measures, others = list(scores[0].measures), list(scores[0].baselines)
    images = [["dataset", "scene", "frame", *measures, *(f"{name}_psnr" for name in others)]]
    for s in scores:
        values = [*s.measures.values(), *(s.baselines[name]["psnr"] for name in others)]
        images.append([s.dataset, s.scene, s.frame, *(f"{value:.4f}" for value in values)])
    scenes = [["dataset", "scene", "images", *measures]]
    for (dataset, scene), part in by_scene(scores).items():
        scenes.append([dataset, scene, part["images"], *(f"{part[name]:.4f}" for name in measures)])
    for path, rows in ((IMAGES, images), (SCENES, scenes)):
        with new_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)


def main() -> None:
    """Run the stage."""
    p = params.load()
    pairs = {name_of(pair.blur): pair for pair in find_pairs(DATA / "test")}
    if not pairs:
        raise UserError(f"no pair in {DATA / 'test'}: see split.test_fraction in params.yaml, and metrics/clean.json")
    refuse_shared_scenes()
    engine.be_deterministic()
    evaluation = Evaluation(p)
    found = [evaluation.score(name, pair) for name, pair in tqdm(pairs.items(), desc="evaluate", unit="image")]
    scores, small = [s for s, _ in found], [row for _, row in found]
    with new_directory(PANELS) as out:
        for i, s in enumerate(spread(scores, p.evaluate.panels), start=1):
            evaluation.panel(out / f"{i:02d}.png", pairs[s.dataset, s.scene, s.frame], s)
    save_gains(GAINS, [s["input_psnr"] for s in scores], [s["psnr_gain"] for s in scores], [s.dataset for s in scores])
    write_tables(scores)
    results = report(scores)
    results[f"stretched_{STRETCHED}"] = averages(small)
    results["unpaired"] = evaluation.sharpening()
    write_json(METRICS, results)
    print("\n".join(in_words(results)))


if __name__ == "__main__":
    with reported("evaluate"):
        main()
