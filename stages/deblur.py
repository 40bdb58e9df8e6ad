"""Deblur the photos that have no sharp partner: data/resized/unpaired to data/deblurred."""

from deblurgan import backend  # before anything that imports Keras

# isort: split

from pathlib import Path

from tqdm import tqdm

from deblurgan.errors import reported
from deblurgan.files import files_below, new_directory, require
from deblurgan.images import read_rgb, write_png
from deblurgan.networks.model_files import load_generator
from deblurgan.restoration import tiles
from deblurgan.restoration.neural import restoring

PHOTOS = Path("data/resized/unpaired")
MODEL = Path("models/generator.keras")
OUT = Path("data/deblurred")


def main() -> None:
    """Run the stage."""
    require(PHOTOS, MODEL)
    backend.be_deterministic()
    generator = load_generator(MODEL)
    method, guard = restoring(generator)
    with new_directory(OUT) as out:
        for path in tqdm(files_below(PHOTOS), desc="deblur", unit="photo"):
            write_png(out / path.name, tiles.deblur(method, read_rgb(path)))
            if left_out := guard.in_words():
                tqdm.write(f"deblur: warning: {path}: {left_out}")


if __name__ == "__main__":
    with reported("deblur"):
        main()
