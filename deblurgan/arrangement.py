"""Which image goes where in data/resized: by split, data set, scene and kind."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path, PurePosixPath

from deblurgan.errors import UserError
from deblurgan.files import files_below
from deblurgan.layout import find_pairs, place_of
from deblurgan.params import Resize, Split
from deblurgan.resize_jobs import ResizeJob
from deblurgan.resizing import whole
from deblurgan.splits import split_of, with_validation

BATCH = 8
"""Images in a job; equal ones among them are resized once."""


def plan(clean: Path, synthetic: Path, split: Split) -> Iterator[tuple[Path, Path]]:
    """Pair every image with its place below data/resized.

    Parameters
    ----------
    clean, synthetic
        The outputs of cleaning and of synthesis.
    split
        Which scenes and photos validate and test.

    Raises
    ------
    UserError
        A scene that shall validate is not there.
    """
    pairs = find_pairs(clean / "pairs")
    places = [place for pair in pairs if (place := place_of(PurePosixPath(pair.blur.relative_to(clean))))]
    given, split = split, with_validation(split, places)
    if split != given:
        chosen = ", ".join(split.val_scenes[len(given.val_scenes) :])
        print(f"resize: no scenes to validate with are named, so split.val_fraction takes {chosen} from training")
    every = [place_of(PurePosixPath(path.relative_to(clean))) for path in files_below(clean / "pairs")]  # frames, too
    scenes = sorted({place.scene for place in every if place and place.part == "train"})
    if unknown := sorted(set(split.val_scenes) - set(scenes)):
        raise UserError(
            f"split.val_scenes names {', '.join(unknown)}, but {clean}/pairs/*/train has {', '.join(scenes) or 'none'}"
        )
    for pair, place in zip(pairs, places, strict=True):
        for path in (pair.blur, pair.sharp):
            yield path, Path(split_of(place, split), place.dataset, place.scene, path.parent.name, path.name)
    for pair in find_pairs(synthetic):
        for path in (pair.blur, pair.sharp):
            yield path, path.relative_to(synthetic)
    for path in files_below(clean / "unsplash" / "blurred"):
        yield path, Path("unpaired", path.name)


def jobs(images: list[tuple[Path, Path]], out: Path, settings: Resize) -> Iterator[ResizeJob]:
    """Batch the images of each folder; unpaired photos are never cut into tiles.

    Raises
    ------
    UserError
        Two images would get the same place.
    """
    images = sorted(images, key=lambda image: image[1])
    for (one, target), (other, next_target) in pairwise(images):
        if target == next_target:
            raise UserError(f"{one} and {other} would both become data/resized/{target}: rename one of their scenes")
    for folder, group in groupby(images, key=lambda image: image[1].parent):
        rows = [(source.absolute(), out.resolve() / name) for source, name in group]
        how = whole(settings) if folder == Path("unpaired") else settings
        yield from (ResizeJob(tuple(rows[i : i + BATCH]), how) for i in range(0, len(rows), BATCH))


def without_pairs(places: Iterable[str]) -> Iterator[str]:
    """Say which splits have no pair, and which data sets none to test, with what to do.

    Parameters
    ----------
    places
        Of all sharp images: `<split>/<data set>/<scene>/...`.
    """
    scenes: dict[str, set[str]] = defaultdict(set)
    splits: dict[str, set[str]] = defaultdict(set)
    for place in places:
        split, dataset, scene, *_ = place.split("/")
        for group in ("", dataset):
            scenes[group].add(f"{dataset}/{scene}")
            splits[group].add(split)
    way = "See split in params.yaml, or lay the pairs into train/, val/ and test/: docs/data.md"
    for split, stage in (("test", "evaluate"), ("train", "train"), ("val", "train")):
        if split not in splits[""]:
            count = len(scenes[""])
            yield f"no pair in {split}, without which {stage} stops; scenes: {count}, each in one split. {way}"
    for dataset in sorted(splits.keys() - {""}):
        if "test" in splits[""] - splits[dataset]:
            yield (
                f"no pair of {dataset} in test, so that evaluate measures other data sets alone; its scenes: "
                f"{len(scenes[dataset])}, each in one split. {way}"
            )
