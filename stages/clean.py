"""Make every source image an upright 8-bit sRGB PNG in data/clean, or say in rejected.csv why not."""

import csv
from collections import Counter
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deblurgan import params
from deblurgan.cleaning import Kept, Refused, clean_folder
from deblurgan.errors import UserError, reported
from deblurgan.files import new_directory, write_json

SOURCE = Path("data/source")
OUT = Path("data/clean")
METRICS = Path("metrics/clean.json")


def write_table(path: Path, kind: type, rows: list[Any]) -> None:
    """Write dataclass instances as CSV."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, [field.name for field in fields(kind)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)


def main() -> None:
    """Run the stage."""
    p = params.load()
    with new_directory(OUT) as out:
        kept, refused = clean_folder(SOURCE, out, p.clean, lambda paths: tqdm(paths, desc="clean", unit="image"))
        for row in refused:
            print(f"rejected {SOURCE / row.path}: {row.reason}")
        if not kept:
            raise UserError(
                f"no usable image in {SOURCE}: {len(refused)} rejected; check fetch_unsplash.source and "
                "ingest_gopro.source in params.yaml"
            )
        write_table(out / "manifest.csv", Kept, kept)
        write_table(out / "rejected.csv", Refused, refused)
    datasets = sorted({Path(row.path).parts[0] for row in [*kept, *refused]})
    write_json(
        METRICS,
        {
            "found": len(kept) + len(refused),
            "kept": len(kept),
            "rejected": len(refused),
            "kept_by_dataset": {d: sum(row.path.startswith(f"{d}/") for row in kept) for d in datasets},
            "rejected_by_reason": dict(sorted(Counter(row.reason for row in refused).items())),
        },
    )


if __name__ == "__main__":
    with reported("clean"):
        main()
