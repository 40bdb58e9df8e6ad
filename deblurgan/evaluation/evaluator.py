"""Evaluating a generator on the test split, in as many processes as there are cores."""

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from deblurgan.blur.kinds import Blur
from deblurgan.blur.synthesis import blur_of
from deblurgan.evaluation.measuring import PairJob, PhotoJob, measured
from deblurgan.evaluation.panels import PanelJob, drawn
from deblurgan.evaluation.rows import kept_rows
from deblurgan.evaluation.scores import Score, averages
from deblurgan.files import files_below, home_expanded, sha256_of
from deblurgan.layout import Pair
from deblurgan.machine import processors, versions
from deblurgan.parallel import each
from deblurgan.params import Params
from deblurgan.restoration.in_workers import SharedFile
from deblurgan.sampling import evenly_spaced
from deblurgan.vgg19_weights import described, read_weights

NUMBER = re.compile(r"\d+")
"""At the beginning of a frame's name: which of a photo's pairs it is, or is cut from."""
PACKAGE = "deblurgan"
"""Whose modules, as far as they are imported, are the code that an evaluation runs."""
DRAWING = ("deblurgan.pictures", "deblurgan.evaluation.panels")
"""Modules that no row depends on."""
LIBRARIES = ("onnxruntime", "numpy", "scipy", "scikit-image", "pillow")
"""Packages that rows depend on."""


def name_of(blur: Path) -> tuple[str, str, str]:
    """Data set, scene and frame of a blurred test image, `.../<data set>/<scene>/blur/<frame>`."""
    dataset, scene, _, frame = blur.parts[-4:]
    return dataset, scene, Path(frame).stem


class Evaluation:
    """The generator and what it is compared with.

    Parameters
    ----------
    p
        All parameters.
    data
        Folder with the pairs of `test`, and with the photos of `unpaired`.
    model
        The exported generator.

    Raises
    ------
    UserError
        `evaluate.vgg_weights` cannot be read.
    """

    def __init__(self, p: Params, data: Path, model: Path) -> None:
        self.data, self.model = data, SharedFile.at(model)
        self.seed, self.size, self.synthesize, self.settings = p.seed, p.resize, p.synthesize, p.evaluate
        # whether the blur of pairs that came as such, and of those that were made here, mixes light
        self.in_light = (p.ingest_gopro.blur == "blur_gamma", p.synthesize.in_light)
        self.blind: set[tuple[str, str, str]] = set()  # names of images, see `chosen`
        self.vgg = None
        if p.evaluate.vgg_weights:
            path = home_expanded(p.evaluate.vgg_weights)
            read_weights(path)  # what is wrong with them is said before anything is measured
            self.vgg = SharedFile.at(path)
            print(described(path))

    def name(self) -> str:
        """Name the evaluation by all that determines its rows but the images: generator, code, parameters, machine."""
        modules = {name: part.__file__ for name, part in sys.modules.items() if name.startswith(PACKAGE)}
        code = {name: sha256_of(file) for name, file in modules.items() if file and name not in DRAWING}
        sections = [self.synthesize.model_dump(), self.size.model_dump(), self.settings.model_dump(exclude={"panels"})]
        contents = [self.model.sha256, self.vgg and self.vgg.sha256]
        facts = [self.seed, self.in_light, sections, versions(*LIBRARIES), processors(), code, contents]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def blur(self, name: tuple[str, str, str]) -> Blur | None:
        """The blur that a photo was given; None where the blur was filmed."""
        dataset, scene, frame = name
        number = NUMBER.match(frame)
        if dataset != "unsplash" or not number:
            return None
        return blur_of(scene, int(number[0]), self.synthesize, self.seed)[0]

    def kernel(self, blur: Blur, path: Path) -> np.ndarray | None:
        """The kernel that made a blurred image, where there is one: a picture that was scaled has another."""
        size = self.size
        with Image.open(path) as image:  # its header alone
            smaller = image.height < size.height and image.width < size.width
        untouched = size.mode in ("none", "tile") or (size.mode == "fit" and smaller)
        return blur.kernel if untouched and not blur.motions else None

    def job(self, item: Pair | Path) -> PairJob | PhotoJob:
        """What a worker is told about a pair, or about a photo without a sharp partner."""
        ensemble = self.settings.ensemble
        if isinstance(item, Path):
            return PhotoJob(item.resolve(), self.model, ensemble)
        name, blur, sharp = name_of(item.blur), item.blur.resolve(), item.sharp.resolve()
        given = self.blur(name)
        kernel, kind = (self.kernel(given, blur), given.kind) if given else (None, "filmed")
        in_light = self.in_light[name[0] == "unsplash"]
        baselines = tuple(one for one in self.settings.baselines if one != "blind" or name in self.blind)
        return PairJob(name, blur, sharp, self.model, ensemble, kernel, in_light, kind, baselines, self.vgg)

    def measure(self, pairs: list[Pair]) -> tuple[list[Score], dict[str, float]]:
        """Measure the test images; and how blurred photos without a sharp partner are, before and after."""
        self.blind = self.chosen([name_of(pair.blur) for pair in pairs])
        items: dict[str, Pair | Path] = {self.identity(pair.blur, pair.sharp): pair for pair in pairs}
        items |= {self.identity(path): path for path in files_below(self.data / "unpaired")}
        with kept_rows(self.name()) as rows:
            found = rows.of(items, measured, self.job)
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
            found.update(evenly_spaced(own, self.settings.blind_images))
        return found

    def panels(self, pairs: list[Pair], scores: list[Score]) -> Iterator[np.ndarray]:
        """Draw test images, each with its score."""
        jobs = [
            PanelJob(Pair(pair.blur.resolve(), pair.sharp.resolve()), self.model, self.settings.ensemble, s)
            for pair, s in zip(pairs, scores, strict=True)
        ]
        yield from each(drawn, jobs, label="panels", unit="image")

    def identity(self, *images: Path) -> str:
        """Name images by where they are and what is in them, and by whether blind deconvolution is measured on them."""
        named = " ".join(f"{path.relative_to(self.data).as_posix()} {sha256_of(path)}" for path in images)
        return f"{named} blind" if len(images) == 2 and name_of(images[0]) in self.blind else named
