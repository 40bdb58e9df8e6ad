"""Deblur the photos that have no sharp partner: data/deblurred."""

from stages import engine  # before anything that imports Keras

# isort: split

from pathlib import Path

from tqdm import tqdm

from deblurgan.archive import load_generator
from deblurgan.errors import reported
from deblurgan.files import new_directory
from deblurgan.images import read_rgb, write_png
from deblurgan.inference import deblur
from deblurgan.pairs import files_below

PHOTOS = Path("data/resized/unpaired")
MODEL = Path("models/generator.keras")
OUT = Path("data/deblurred")


def main() -> None:
    """Run the stage."""
    engine.be_deterministic()
    generator = load_generator(MODEL)
    with new_directory(OUT) as out:
        for path in tqdm(files_below(PHOTOS), desc="deblur", unit="photo"):
            write_png(out / path.name, deblur(generator, read_rgb(path)))


if __name__ == "__main__":
    with reported("deblur"):
        main()
