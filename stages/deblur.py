"""Deblur the photos that have no sharp partner: data/resized/unpaired to data/deblurred."""

from pathlib import Path

from tqdm import tqdm

from deblurgan.errors import reported
from deblurgan.files import files_below, new_directory, require
from deblurgan.parallel import each
from deblurgan.restoration.explosions import labelled
from deblurgan.restoration.in_workers import DeblurFile, SharedFile, deblur_file

PHOTOS = Path("data/resized/unpaired")
MODEL = Path("models/generator.onnx")
OUT = Path("data/deblurred")


def main() -> None:
    """Run the stage."""
    require(PHOTOS, MODEL)
    model, photos = SharedFile.at(MODEL), files_below(PHOTOS)
    with new_directory(OUT) as out:
        todo = [DeblurFile(path.resolve(), out.resolve() / path.name, model) for path in photos]
        results = each(deblur_file, todo, label="deblur", unit="photo")
        for path, left_out in zip(photos, results, strict=True):
            if left_out:
                tqdm.write(labelled(path, left_out))


if __name__ == "__main__":
    with reported("deblur"):
        main()
