"""Evaluating a generator on the test split: networks in one process, measuring in as many as there are cores."""

import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np

from deblurgan.blur.kinds import Blur
from deblurgan.blur.synthesis import blur_of
from deblurgan.evaluation.measuring import Restored, Sharpened, measured
from deblurgan.evaluation.rows import kept_rows
from deblurgan.evaluation.scores import Score, averages, squashed
from deblurgan.files import files_below, home_expanded, sha256_of
from deblurgan.images import read_rgb, to_float
from deblurgan.layout import Pair
from deblurgan.params import Params
from deblurgan.pictures import error_map, panel

NUMBER = re.compile(r"\d+")
"""At the beginning of a frame's name: which of a photo's pairs it is, or is cut from."""
PACKAGE = "deblurgan"
"""Whose modules, as far as they are imported, are the code that an evaluation runs."""


def name_of(blur: Path) -> tuple[str, str, str]:
    """Data set, scene and frame of a blurred test image, `.../<data set>/<scene>/blur/<frame>`."""
    dataset, scene, _, frame = blur.parts[-4:]
    return dataset, scene, Path(frame).stem


class Networks:
    """The generator, and VGG19 where its distance is asked for: what cannot be sent to other processes.

    Only here is TensorFlow imported: the processes that measure import the stage's script, too.
    """

    def __init__(self, model: Path, vgg_weights: str | None, *, ensemble: bool = False) -> None:
        from deblurgan import backend  # before anything that imports Keras

        # isort: split
        import keras

        from deblurgan.networks.model_files import load_generator
        from deblurgan.networks.vgg19 import build_features
        from deblurgan.restoration.neural import deblur
        from deblurgan.training.losses import content

        backend.be_deterministic()
        self.facts, self.deblur, self.content, self.numpy = backend.facts, deblur, content, keras.ops.convert_to_numpy
        self.generator, self.ensemble = load_generator(model), ensemble
        self.features = build_features(vgg_weights) if vgg_weights else None

    def restored(self, blur: np.ndarray) -> np.ndarray:
        """Deblur an image."""
        return self.deblur(self.generator, blur, ensemble=self.ensemble)

    def distances(self, restored: np.ndarray, blur: np.ndarray, sharp: Path) -> dict[str, float]:
        """Perceptual losses of the restored and of the blurred image; none without VGG19."""
        if not self.features:
            return {}
        *both, target = (self.features(to_float(image)[None]) for image in (restored, blur, read_rgb(sharp)))
        vgg, before = (float(self.numpy(self.content(features, target))) for features in both)
        return {"vgg": vgg, "input_vgg": before}


class Evaluation:
    """The generator and what it is compared with.

    Parameters
    ----------
    p
        All parameters.
    data
        Folder with the pairs of `test`, and with the photos of `unpaired`.
    model
        The generator's file.
    """

    def __init__(self, p: Params, data: Path, model: Path) -> None:
        self.data, self.model = data, model
        self.seed, self.size, self.synthesize, self.settings = p.seed, p.resize, p.synthesize, p.evaluate
        # whether the blur of pairs that came as such, and of those that were made here, mixes light
        self.in_light = (p.ingest_gopro.blur == "blur_gamma", p.synthesize.in_light)
        self.blind: set[tuple[str, str, str]] = set()  # names of images, see `chosen`
        self.networks = Networks(model, p.evaluate.vgg_weights, ensemble=p.evaluate.ensemble)

    def name(self) -> str:
        """Name the evaluation by all that determines its rows but the images: generator, code, parameters, machine."""
        files: dict[str, Path | str | None] = {
            module: part.__file__ for module, part in sys.modules.items() if module.startswith(PACKAGE)
        }
        files["generator"] = self.model
        if self.settings.vgg_weights:
            files["vgg"] = home_expanded(self.settings.vgg_weights)
        sections = [self.synthesize.model_dump(), self.size.model_dump(), self.settings.model_dump(exclude={"panels"})]
        sums = {name: sha256_of(file) for name, file in files.items() if file and name != "deblurgan.pictures"}
        facts = [self.seed, self.in_light, sections, self.networks.facts(), sums]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def blur(self, name: tuple[str, str, str]) -> Blur | None:
        """The blur that a photo was given; None where the blur was filmed."""
        dataset, scene, frame = name
        number = NUMBER.match(frame)
        if dataset != "unsplash" or not number:
            return None
        return blur_of(scene, int(number[0]), self.synthesize, self.seed)[0]

    def kernel(self, blur: Blur, shape: tuple[int, ...]) -> np.ndarray | None:
        """The kernel that made a blurred image, where there is one: a picture that was made smaller has another."""
        size = self.size
        untouched = size.mode == "none" or (size.mode == "fit" and shape[0] < size.height and shape[1] < size.width)
        return blur.kernel if untouched and not blur.motions else None

    def restore(self, item: Pair | Path) -> Restored | Sharpened:
        """Do all that needs the networks to a pair, or to a photo without a sharp partner."""
        if isinstance(item, Path):
            photo = read_rgb(item)
            return Sharpened(photo, self.networks.restored(photo))
        name, blur = name_of(item.blur), read_rgb(item.blur)
        images = (blur, self.networks.restored(blur), self.networks.restored(squashed(blur)))
        distances = self.networks.distances(images[1], blur, item.sharp)
        drawn = self.blur(name)
        kernel, kind = (self.kernel(drawn, blur.shape), drawn.kind) if drawn else (None, "filmed")
        in_light = self.in_light[name[0] == "unsplash"]
        baselines = tuple(one for one in self.settings.baselines if one != "blind" or name in self.blind)
        return Restored(name, item.sharp.resolve(), *images, kernel, in_light, baselines, distances, kind)

    def measure(self, pairs: list[Pair]) -> tuple[list[Score], dict[str, float]]:
        """Measure the test images; and how blurred photos without a sharp partner are, before and after."""
        self.blind = self.chosen([name_of(pair.blur) for pair in pairs])
        items: dict[str, Pair | Path] = {self.identity(pair.blur, pair.sharp): pair for pair in pairs}
        items |= {self.identity(path): path for path in files_below(self.data / "unpaired")}
        with kept_rows(self.name()) as rows:
            found = rows.of(items, measured, self.restore)
        scores, unpaired = [Score(**row) for row in found[: len(pairs)]], found[len(pairs) :]
        return scores, {**averages(unpaired), "photos": len(unpaired)} if unpaired else {"photos": 0}

    def chosen(self, names: list[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
        """The images that blind deconvolution is measured on: some of each data set and kind of blur, evenly spaced."""
        found: set[tuple[str, str, str]] = set()
        if "blind" not in self.settings.baselines:
            return found
        groups: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
        for name in sorted(names):
            drawn = self.blur(name)
            groups.setdefault((name[0], drawn.kind if drawn else "filmed"), []).append(name)
        for own in groups.values():
            places = np.linspace(0, len(own) - 1, min(self.settings.blind_images, len(own))).round().astype(int)
            found |= {own[place] for place in places}
        return found

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

    def identity(self, *images: Path) -> str:
        """Name images by where they are and what is in them, and by whether blind deconvolution is measured on them."""
        named = " ".join(f"{path.relative_to(self.data).as_posix()} {sha256_of(path)}" for path in images)
        return f"{named} blind" if len(images) == 2 and name_of(images[0]) in self.blind else named
