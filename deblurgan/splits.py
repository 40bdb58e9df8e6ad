"""Which images train, validate and test: by scene or photo, never by frame."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from deblurgan.layout import UNSPLIT, Place
from deblurgan.params import Split


def split_of(place: Place, split: Split) -> str:
    """`train`, `val` or `test`: the source's own, except that named training scenes validate; or by a hash."""
    if place.part == UNSPLIT:
        return split_by_hash(place.scene, split)
    return "val" if place.part == "train" and place.scene in split.val_scenes else place.part


def with_validation(split: Split, places: Iterable[Place]) -> Split:
    """Take scenes for validation out of the training scenes of each source that comes without any.

    Parameters
    ----------
    split
        A source that has one of its `val_scenes` needs no others.
    places
        The places of all images of the sources.

    Returns
    -------
    Split
        Its `val_scenes` grow by a share `val_fraction` of the source's training scenes, by a hash of their names;
        at least one, if one remains to train on.
    """
    parts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for place in places:
        parts[place.dataset][place.part].add(place.scene)
    chosen: list[str] = []
    for scenes in parts.values():
        by_hash = sorted(scenes["train"], key=_position)
        if split.val_fraction and not scenes["val"] and not scenes["train"] & set(split.val_scenes):
            count = sum(_position(scene) < split.val_fraction for scene in by_hash)
            chosen += sorted(by_hash[: max(0, min(max(count, 1), len(by_hash) - 1))])
    return split.model_copy(update={"val_scenes": (*split.val_scenes, *chosen)}) if chosen else split


def _position(name: str) -> float:
    """A number in [0, 1) from a hash of a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def split_by_hash(name: str, split: Split) -> str:
    """The split of a photo or scene, by a hash of its name: adding others never moves one."""
    position = _position(name)
    if position < split.test_fraction:
        return "test"
    return "val" if position < split.test_fraction + split.val_fraction else "train"
