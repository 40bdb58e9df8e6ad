"""Make every source image an upright 8-bit sRGB PNG in data/clean, or say in rejected.csv why not.

`python -m stages.clean --verify` compares data/clean with the checksums of its manifest instead.
"""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from deblurgan import params
from deblurgan.cleaning.folder import FOLDERS, Kept, Label, Refused, check_manifest, clean_folder
from deblurgan.errors import UserError, reported
from deblurgan.files import new_directory, require, write_json
from deblurgan.pairs import scene_of

SOURCE = Path("data/source")
OUT = Path("data/clean")
METRICS = Path("metrics/clean.json")


def write_table(path: Path, kind: type, rows: Sequence[Any]) -> None:
    """Write dataclass instances as CSV."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, [field.name for field in fields(kind)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)


def across_scenes(labels: list[Label]) -> list[Label]:
    """Those of images that look like one of another scene."""
    return [n for n in labels if n.near_duplicate_of and scene_of(n.path) != scene_of(n.near_duplicate_of)]


def counts(kept: list[Kept], refused: list[Refused], labels: list[Label]) -> dict[str, Any]:
    """Count everything, for metrics/clean.json."""
    return {
        "found": len(kept) + len(refused),
        "kept": len(kept),
        "rejected": len(refused),
        "kept_by_dataset": dict(sorted(Counter(label.dataset for label in labels).items())),
        "rejected_by_reason": dict(sorted(Counter(row.reason for row in refused).items())),
        "doubtful": dict(sorted(Counter(label.doubt for label in labels if label.doubt).items())),
        "near_duplicates_kept": sum(label.near_duplicate_of != "" for label in labels),
        "near_duplicates_across_scenes": len(across_scenes(labels)),
    }


def clean() -> None:
    """Run the stage."""
    p = params.load()
    require(*(SOURCE / folder for folder in FOLDERS))
    with new_directory(OUT) as out:
        kept, refused, labels = clean_folder(SOURCE, out, p.clean)
        for row in refused:
            print(f"rejected {SOURCE / row.path}: {row.reason}{f' of {row.of}' if row.of else ''}")
        if not kept:
            raise UserError(
                f"no usable image in {SOURCE}: {len(refused)} rejected; check fetch_unsplash.source and "
                "ingest_gopro.source in params.yaml"
            )
        for label in labels:
            if label.doubt:
                print(f"doubtful {label.path}: {label.doubt} (blurriness {label.blurriness})")
        if leaking := across_scenes(labels):
            print(
                f"warning: {len(leaking)} sharp images look like one of another scene: {leaking[0].path} like "
                f"{leaking[0].near_duplicate_of}, for one (all: near_duplicate_of in {OUT / 'labels.csv'}). If they "
                "are frames of one clip, put them into one folder; resize and evaluate name those of different splits"
            )
        write_table(out / "manifest.csv", Kept, kept)
        write_table(out / "rejected.csv", Refused, refused)
        write_table(out / "labels.csv", Label, labels)
    write_json(METRICS, counts(kept, refused, labels))


def verify() -> None:
    """Name each file of data/clean that is not as its manifest says."""
    manifest = OUT / "manifest.csv"
    if not manifest.exists():
        raise UserError(f"{manifest} is not there: run `dvc repro clean`, or `dvc pull data/clean`")
    with open(manifest, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    faults = check_manifest(OUT, rows)
    for fault in faults:
        print(fault)
    if faults:
        raise UserError(f"{len(faults)} of {len(rows)} files differ: get them back with `dvc checkout data/clean`")
    print(f"all {len(rows)} files are as {manifest} says")


def main(arguments: Sequence[str] = ()) -> None:
    """Clean, or verify."""
    parser = argparse.ArgumentParser(prog="python -m stages.clean", description=__doc__)
    parser.add_argument("--verify", action="store_true", help="compare data/clean with its checksums, change nothing")
    (verify if parser.parse_args(arguments).verify else clean)()


if __name__ == "__main__":
    with reported("clean"):
        main(sys.argv[1:])
