"""Bring pairs to data/source/pairs: GoPro, pairs of one's own, or films of bundled photos."""

from pathlib import Path

from tqdm import tqdm

from deblurgan import params
from deblurgan.dumps.mirror import opened
from deblurgan.dumps.tables import PAIRS
from deblurgan.errors import reported
from deblurgan.files import files_below, new_directory
from deblurgan.images import write_png
from deblurgan.sources import bundled
from deblurgan.sources.ingest import ingest, locate

OUT = Path("data/source/pairs")
SHOWN = 100


def film_bundled(out: Path, settings: params.IngestGopro, seed: int) -> None:
    """Film the bundled scenes with the simulated camera."""
    linear = settings.blur == "blur_gamma"
    with tqdm(total=len(bundled.SCENES) * settings.bundled.pairs, desc="ingest_gopro", unit="pair") as bar:
        for name, photo in bundled.SCENES.items():
            for frame, blur, sharp in bundled.film_scene(name, photo, settings.bundled, linear=linear, seed=seed):
                write_png(out / name / "blur" / f"{frame}.png", blur)
                write_png(out / name / "sharp" / f"{frame}.png", sharp)
                bar.update()


def main() -> None:
    """Run the stage."""
    p = params.load()
    with new_directory(OUT) as out:
        if p.ingest_gopro.source == "bundled":
            film_bundled(out / p.ingest_gopro.dataset, p.ingest_gopro, p.seed)
            return
        with opened(p.ingest_gopro.source, PAIRS) as source:
            path = locate(p.ingest_gopro.model_copy(update={"source": source}))
            shown = path if source == p.ingest_gopro.source else p.ingest_gopro.source
            lines = ingest(path, out, p.ingest_gopro, lambda entries: tqdm(entries, desc="ingest_gopro", unit="image"))
        images = [path.relative_to(out).parts for path in files_below(out)]
        scenes = len({parts[:3] for parts in images})
        what = "frames of high-speed video" if images[0][3] == "frames" else "images of pairs"
        print(f"ingest_gopro: {len(images)} {what} in {scenes} scenes of {shown}, called {p.ingest_gopro.dataset}")
        for line in lines[:SHOWN]:
            print(f"ingest_gopro: {line.replace(str(path), str(shown))}")
        if len(lines) > SHOWN:
            print(f"ingest_gopro: and {len(lines) - SHOWN} more like these")


if __name__ == "__main__":
    with reported("ingest_gopro"):
        main()
