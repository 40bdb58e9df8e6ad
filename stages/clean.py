"""Make every source image an upright 8-bit sRGB PNG in data/clean, or say in rejected.csv why not.

`python -m stages.clean --verify` compares data/clean with the checksums of its manifest instead.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from deblurgan import params
from deblurgan.cleaning.folder import FOLDERS, KeptImage, Label, RejectedImage, check_manifest, clean_folder
from deblurgan.cleaning.report import across_scenes, counts
from deblurgan.errors import UserError, reported
from deblurgan.files import as_rows, new_directory, require, write_csv, write_json

SOURCE = Path("data/source")
OUT = Path("data/clean")
METRICS = Path("metrics/clean.json")


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
                f"warning: {len(leaking)} sharp images look like an image of another scene: for example "
                f"{leaking[0].path} like {leaking[0].near_duplicate_of} (all: near_duplicate_of in "
                f"{OUT / 'labels.csv'}). Put the frames of a clip into one folder; resize and evaluate name the images "
                "of different splits"
            )
        write_csv(out / "manifest.csv", as_rows(KeptImage, kept))
        write_csv(out / "rejected.csv", as_rows(RejectedImage, refused))
        write_csv(out / "labels.csv", as_rows(Label, labels))
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
