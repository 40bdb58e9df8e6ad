"""Bring GoPro pairs to data/source/gopro: from a GOPRO_Large folder, or filmed from bundled photos."""

import shutil
from pathlib import Path

from tqdm import tqdm

from deblurgan import params
from deblurgan.errors import reported
from deblurgan.files import new_directory
from deblurgan.images import write_png
from deblurgan.sources import bundled, gopro

OUT = Path("data/source/gopro")


def film_bundled(out: Path, settings: params.IngestGopro, seed: int) -> None:
    """Film the bundled scenes with the simulated camera."""
    linear = settings.blur == "blur_gamma"
    with tqdm(total=len(bundled.SCENES) * settings.bundled.pairs, desc="ingest_gopro", unit="pair") as bar:
        for name, photo in bundled.SCENES.items():
            for frame, blur, sharp in bundled.film_scene(name, photo, settings.bundled, linear=linear, seed=seed):
                write_png(out / name / "blur" / f"{frame}.png", blur)
                write_png(out / name / "sharp" / f"{frame}.png", sharp)
                bar.update()


def copy_folder(out: Path, settings: params.IngestGopro) -> None:
    """Copy the images of a GOPRO_Large folder."""
    for frame in tqdm(gopro.find_frames(settings.source, settings.blur), desc="ingest_gopro", unit="image"):
        target = out / frame.target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(frame.path, target)


def main() -> None:
    """Run the stage."""
    p = params.load()
    with new_directory(OUT) as out:
        if p.ingest_gopro.source == "bundled":
            film_bundled(out, p.ingest_gopro, p.seed)
        else:
            copy_folder(out, p.ingest_gopro)


if __name__ == "__main__":
    with reported("ingest_gopro"):
        main()
