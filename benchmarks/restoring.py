"""Photos a second of the stage `deblur`, by one worker and by several, beside Keras in one process, in turns.

    python -m benchmarks.restoring
    python -m benchmarks.restoring --photos 20 --size 256 --rounds 1 --workers 4

Seconds are those of the whole process, its start included; memory is the peak of all its processes together.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.memory import run_watched
from deblurgan.errors import reported
from deblurgan.files import link_or_copy
from deblurgan.images import write_png
from deblurgan.pretrained import PRETRAINED

ROOT = Path(__file__).parents[1]
KERAS = """
from deblurgan import backend
from pathlib import Path
from deblurgan.images import read_rgb, write_png
from deblurgan.networks.model_files import load_generator
from deblurgan.restoration import tiles
from deblurgan.restoration.neural import restoring
backend.be_deterministic()
method, guard = restoring(load_generator("models/generator.keras"))
for path in sorted(Path("data/resized/unpaired").iterdir()):
    write_png(Path("data/deblurred") / path.name, tiles.deblur(method, read_rgb(path)))
"""
"""One process, all of whose threads compute one photo after the other."""


def workspace(root: Path, photos: int, size: int, model: Path) -> None:
    """Lay out photos of noise over a gradient, and the generator in both forms."""
    rng = np.random.default_rng(0)
    for i in range(photos):
        photo = np.linspace(0, 200, size)[None, :, None] + rng.uniform(0, 55, (size, size, 3))
        write_png(root / f"data/resized/unpaired/{i:04d}.png", photo.astype(np.uint8))
    keras = root / "models/generator.keras"
    keras.parent.mkdir()
    link_or_copy(model.resolve(), keras)
    command = [sys.executable, "-m", "deblurgan", "export", str(keras)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def measure(root: Path, command: list[str], workers: int) -> tuple[float, float]:
    """Seconds and peak megabytes of a command with its processes."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "DEBLURGAN_WORKERS": str(workers)}
    ran = run_watched([sys.executable, *command], root, env)
    return ran.seconds, ran.peak / 1e6


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=PRETRAINED, help="a .keras file")
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--size", type=int, default=512, help="side of the photos, pixels")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ways = {"Keras, one process": (["-c", KERAS], 1)}
    ways |= {f"`deblur`, workers: {count}": (["-m", "stages.deblur"], count) for count in options.workers}
    with tempfile.TemporaryDirectory() as folder:
        workspace(Path(folder), options.photos, options.size, options.model)
        rounds = [[measure(Path(folder), *way) for way in ways.values()] for _ in range(options.rounds)]
    print("| | photos/s | times Keras | peak memory |\n| --- | --- | --- | --- |")
    seconds = [statistics.median(row[i][0] for row in rounds) for i in range(len(ways))]
    for i, name in enumerate(ways):
        most = max(row[i][1] for row in rounds)
        print(f"| {name} | {options.photos / seconds[i]:.2f} | {seconds[0] / seconds[i]:.2f} | {most:.0f} MB |")


if __name__ == "__main__":
    with reported("restoring"):
        main()
