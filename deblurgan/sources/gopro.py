"""The GoPro data set (Nah, Kim and Lee, CVPR 2017): scenes, checksum, and which pairs may have its name."""

from collections.abc import Iterable

from deblurgan.errors import UserError
from deblurgan.layout import UNSPLIT
from deblurgan.sources.layouts import Entry

NAME = "gopro"
PUBLISHED = {"GOPRO_Large.zip": "24532c036712515cf33803704421311c91f6a080e76049d7e5e7fd22389f128e"}
"""SHA-256 of the published archive."""

TEST = frozenset(
    f"GOPR{scene}"
    for scene in (
        "0384_11_00", "0384_11_05", "0385_11_01", "0396_11_00", "0410_11_00", "0854_11_00", "0862_11_00", "0868_11_00",
        "0869_11_00", "0871_11_00", "0881_11_01",
    )
)  # fmt: skip
TRAIN = frozenset(
    f"GOPR{scene}"
    for scene in (
        "0372_07_00", "0372_07_01", "0374_11_00", "0374_11_01", "0374_11_02", "0374_11_03", "0378_13_00", "0379_11_00",
        "0380_11_00", "0384_11_01", "0384_11_02", "0384_11_03", "0384_11_04", "0385_11_00", "0386_11_00", "0477_11_00",
        "0857_11_00", "0868_11_01", "0868_11_02", "0871_11_01", "0881_11_00", "0884_11_00",
    )
)  # fmt: skip


def check_name(dataset: str, entries: Iterable[Entry]) -> None:
    """See to it that only GoPro's scenes in GoPro's own split are called by its name, or figures would not compare.

    Raises
    ------
    UserError
        They are something else, but the data set is to be called `gopro`.
    """
    if dataset != NAME:
        return
    for entry in entries:
        if entry.part == UNSPLIT:
            raise UserError(
                "these pairs have no train and test folders, so they are not GoPro with its official split: set "
                "ingest_gopro.dataset to a name of their own (they are then split by a hash of the scene or file name)"
            )
        if entry.scene not in {"train": TRAIN, "test": TEST}.get(entry.part, ()):
            raise UserError(
                f"{entry.name}: {entry.scene} is no {entry.part} scene of GoPro: set ingest_gopro.dataset to a name "
                "of its own"
            )
