"""What the command takes from its start to the restored photo: Keras beside ONNX Runtime, seconds and peak memory.

    python -m benchmarks.start
    python -m benchmarks.start --model models/generator.keras --sizes 256x256 --rounds 5

The model is exported first. Both ways restore the same photos, of noise over a gradient, in turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.peak import UNIT
from deblurgan.errors import UserError, reported
from deblurgan.files import link_or_copy
from deblurgan.images import write_png
from deblurgan.pretrained import PRETRAINED

SIZES = ("256x256", "1280x720", "6000x4000")


def photo(width: int, height: int) -> np.ndarray:
    """A photo, `uint8` of shape (height, width, 3)."""
    gradient = np.linspace(0, 200, width, dtype=np.float32)[None, :, None]
    noise = np.random.default_rng(0).uniform(0, 55, (height, width, 3))
    return (gradient + noise).astype(np.uint8)


def run(model: Path, image: Path, out: Path) -> tuple[float, float]:
    """Deblur a photo in a process of its own: seconds, and the most memory in MB."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "deblurgan",
        "deblur",
        image,
        "--output",
        out,
        "--overwrite",
        "--model",
        model,
    ]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"{' '.join(map(str, command))} failed: run it to see why")
    return time.perf_counter() - start, usage.ru_maxrss * UNIT / 1e6


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=PRETRAINED, help="a .keras file")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WIDTHxHEIGHT")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keras, image, out = (Path(folder) / name for name in ("generator.keras", "photo.png", "out"))
        link_or_copy(options.model.resolve(), keras)
        subprocess.run([sys.executable, "-m", "deblurgan", "export", keras], check=True, stdout=subprocess.DEVNULL)
        models = (keras, keras.with_suffix(".onnx"))
        print("| photo | Keras | | ONNX Runtime | | times as fast |\n| --- | --- | --- | --- | --- | --- |")
        for size in options.sizes:
            width, height = map(int, size.split("x"))
            write_png(image, photo(width, height))
            rounds = [[run(model, image, out) for model in models] for _ in range(options.rounds)]
            seconds = [statistics.median(row[way][0] for row in rounds) for way in (0, 1)]
            memory = [max(row[way][1] for row in rounds) for way in (0, 1)]
            parts = (f"{time:.1f} s | {most:.0f} MB" for time, most in zip(seconds, memory, strict=True))
            print(f"| {size} | {' | '.join(parts)} | {seconds[0] / seconds[1]:.1f} |", flush=True)


if __name__ == "__main__":
    with reported("start"):
        main()
