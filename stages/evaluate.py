"""Measure the generator on the test split: metrics/evaluate.json, a table per image, pictures."""

import csv
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from deblurgan import leaks, params
from deblurgan.errors import UserError, reported
from deblurgan.evaluation import (
    COMPARED,
    REPORT,
    Restored,
    Score,
    Sharpened,
    averages,
    by_scene,
    in_words,
    kept_rows,
    measured,
    report,
    spread,
    squashed,
)
from deblurgan.figures import error_map, panel, save_gains
from deblurgan.files import home_expanded, new_directory, new_file, require, sha256_of, write_json
from deblurgan.images import read_rgb, to_float, write_png
from deblurgan.pairs import Pair, files_below, find_pairs
from deblurgan.synthesis import blur_of

DATA = Path("data/resized")
MODEL = Path("models/generator.keras")
METRICS = Path("metrics/evaluate.json")  # and REPORT
IMAGES = Path("metrics/evaluate/images.csv")
SCENES = Path("metrics/evaluate/scenes.csv")
PANELS = Path("metrics/evaluate/panels")
GAINS = Path("metrics/evaluate/gains.png")

PACKAGES = ("deblurgan", "stages")
"""Whose modules, as far as they are imported, are the code that an evaluation runs."""


def name_of(blur: Path) -> tuple[str, str, str]:
    """Data set, scene and frame of a blurred test image."""
    dataset, scene, _, frame = blur.relative_to(DATA / "test").parts
    return dataset, scene, Path(frame).stem


class Networks:
    """The generator, and VGG19 where its distance is asked for: what cannot be sent to other processes.

    Only here is TensorFlow imported: the processes that measure import this script, too.
    """

    def __init__(self, p: params.Params) -> None:
        from stages import engine  # before anything that imports Keras

        # isort: split
        import keras

        from deblurgan.archive import load_generator
        from deblurgan.inference import deblur
        from deblurgan.losses import content
        from deblurgan.vgg import build_features

        engine.be_deterministic()
        self.facts, self.deblur, self.content, self.numpy = engine.facts, deblur, content, keras.ops.convert_to_numpy
        self.generator = load_generator(MODEL)
        self.features = build_features(p.evaluate.vgg_weights) if p.evaluate.vgg_weights else None

    def restored(self, blur: np.ndarray) -> np.ndarray:
        """Deblur an image."""
        return self.deblur(self.generator, blur)

    def distances(self, restored: np.ndarray, blur: np.ndarray, sharp: Path) -> dict[str, float]:
        """Content losses of the restored and the blurred image, if there is a network that takes them."""
        if not self.features:
            return {}
        *both, target = (self.features(to_float(image)[None]) for image in (restored, blur, read_rgb(sharp)))
        vgg, before = (float(self.numpy(self.content(features, target))) for features in both)
        return {"vgg": vgg, "input_vgg": before}


class Evaluation:
    """The generator and what it is compared with."""

    def __init__(self, p: params.Params) -> None:
        self.seed, self.size, self.synthesize, self.settings = p.seed, p.resize, p.synthesize, p.evaluate
        # whether the blur of pairs that came as such, and of those that were made here, mixes light
        self.in_light = (p.ingest_gopro.blur == "blur_gamma", p.synthesize.in_light)
        self.networks = Networks(p)

    def name(self) -> str:
        """Name the evaluation by all that determines its rows but the images: generator, code, parameters, machine."""
        files = {module: part.__file__ for module, part in sys.modules.items() if module.startswith(PACKAGES)}
        files |= {"stages.evaluate": __file__, "generator": MODEL}
        if self.settings.vgg_weights:
            files["vgg"] = home_expanded(self.settings.vgg_weights)
        sections = [self.synthesize.model_dump(), self.size.model_dump(), self.settings.model_dump(exclude={"panels"})]
        sums = {name: sha256_of(file) for name, file in files.items() if file and name != "deblurgan.figures"}
        facts = [self.seed, self.in_light, sections, self.networks.facts(), sums]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def kernel(self, name: tuple[str, str, str], shape: tuple[int, ...]) -> np.ndarray | None:
        """The kernel that made a blurred image, where that is known."""
        dataset, scene, frame = name
        size = self.size
        untouched = size.mode == "none" or (size.mode == "fit" and shape[0] < size.height and shape[1] < size.width)
        if dataset == "unsplash" and untouched and frame.isdigit():
            return blur_of(scene, int(frame), self.synthesize, self.seed)[0].kernel
        return None

    def restore(self, item: Pair | Path) -> Restored | Sharpened:
        """Do all that needs the networks to a pair, or to a photo without a sharp partner."""
        if isinstance(item, Path):
            photo = read_rgb(item)
            return Sharpened(photo, self.networks.restored(photo))
        name, blur = name_of(item.blur), read_rgb(item.blur)
        images = (blur, self.networks.restored(blur), self.networks.restored(squashed(blur)))
        distances = self.networks.distances(images[1], blur, item.sharp)
        kernel = self.kernel(name, blur.shape)
        in_light = self.in_light[name[0] == "unsplash"]
        return Restored(name, item.sharp.resolve(), *images, kernel, in_light, self.settings.baselines, distances)

    def measure(self, pairs: list[Pair]) -> tuple[list[Score], dict[str, float]]:
        """Measure the test images; and how blurred photos without a sharp partner are, before and after."""
        items: dict[str, Pair | Path] = {identity(pair.blur, pair.sharp): pair for pair in pairs}
        items |= {identity(path): path for path in files_below(DATA / "unpaired")}
        with kept_rows(self.name()) as rows:
            found = rows.of(items, measured, self.restore)
        scores, unpaired = [Score(**row) for row in found[: len(pairs)]], found[len(pairs) :]
        return scores, {**averages(unpaired), "photos": len(unpaired)} if unpaired else {"photos": 0}

    def panel(self, pair: Pair, s: Score) -> np.ndarray:
        """Draw a test image."""
        blur, sharp = read_rgb(pair.blur), read_rgb(pair.sharp)
        restored = self.networks.restored(blur)
        captions = (
            f"input: {s['input_psnr']:.2f} dB, SSIM {s['input_ssim']:.3f}",
            f"result: {s['psnr']:.2f} dB ({s['psnr_gain']:+.2f}), SSIM {s['ssim']:.3f}",
            "sharp",
            "error of the result, four times as strong",
        )
        title = f"{s.dataset} {s.scene} {s.frame}; below, where the error of the input is largest"
        return panel((blur, restored, sharp, error_map(restored, sharp)), captions, title)


def identity(*images: Path) -> str:
    """Name images by where they are and what is in them."""
    return " ".join(f"{path.relative_to(DATA).as_posix()} {sha256_of(path)}" for path in images)


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
    require(DATA / "test", DATA / "unpaired", MODEL)
    pairs = {name_of(pair.blur): pair for pair in find_pairs(DATA / "test")}
    if not pairs:
        raise UserError(f"no pair in {DATA / 'test'}: see split.test_fraction in params.yaml, and metrics/clean.json")
    evaluation = Evaluation(p)
    scores, unpaired = evaluation.measure(list(pairs.values()))
    with new_directory(PANELS) as out:
        for s in spread(scores, p.evaluate.panels):
            picture = evaluation.panel(pairs[s.dataset, s.scene, s.frame], s)
            write_png(out / s.dataset / s.scene / f"{s.frame}.png", picture)
    save_gains(GAINS, [s["input_psnr"] for s in scores], [s["psnr_gain"] for s in scores], [s.dataset for s in scores])
    write_tables(scores)
    results = {**report(scores), "unpaired": unpaired}
    write_json(REPORT, results)
    write_json(METRICS, {name: results[name] for name in COMPARED if name in results})
    print("\n".join([*in_words(results), *leaks.in_words(leaks.read_leaks(DATA / "test"))]))


if __name__ == "__main__":
    with reported("evaluate"):
        main()
