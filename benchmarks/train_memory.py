"""How much memory a preset's training takes beside its frames: whether it fits a machine of so many gigabytes.

    python -m benchmarks.train_memory --preset paper --memory 8
    python -m benchmarks.train_memory --preset best --memory 8 --pairs 1000 --size 512x512 --steps 2

The stage `train` runs some steps in a process of its own, on as many pairs as GoPro has, with validation, checkpoint
and sample picture. It sees only so much free memory as a machine of `--memory` gigabytes leaves it; what it does take
is watched from outside. On a CPU networks and batches are in this memory, too; with a GPU they are in the GPU's.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.cost import settings_of
from benchmarks.memory import run_watched
from benchmarks.train import features_with_random_weights
from deblurgan.errors import reported
from deblurgan.images import write_png
from deblurgan.params import Params
from deblurgan.resizing import resized

ROOT = Path(__file__).parents[1]
PAIRS, GOPRO = 2103, (1280, 720)
"""Number of GoPro's training pairs, and the size of its frames."""
VALIDATING = 8
DISTINCT = 4
"""Files that differ; all others are links to them, which are decoded one by one as others are."""
STAGE = """
import sys
import psutil
from deblurgan.errors import reported
from deblurgan.training import run
limit, free = float(sys.argv.pop(1)), run.free_memory
run.free_memory = lambda: max(0, int(min(free(), limit - psutil.Process().memory_full_info().uss)))
from stages import train
with reported("train"):
    train.main()
"""
"""The stage `train` on a machine of so many bytes of memory."""


def lay_pairs(folder: Path, pairs: int, width: int, height: int) -> None:
    """Write pairs of frames with details at all scales."""
    for kind in ("blur", "sharp"):
        (folder / kind).mkdir(parents=True)
        for i in range(pairs):
            path = folder / kind / f"{i:06d}.png"
            if i >= DISTINCT:
                path.hardlink_to(folder / kind / f"{i % DISTINCT:06d}.png")
                continue
            rng = np.random.default_rng([i, len(kind)])
            coarse = Image.fromarray(rng.integers(0, 200, (height // 8, width // 8, 3), dtype=np.uint8))
            large = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
            write_png(path, large + rng.integers(0, 8, large.shape, dtype=np.uint8))


def settings(preset: str, steps: int, changes: dict) -> Params:
    """The preset's parameters, but for its number of steps."""
    p = settings_of(preset, features_with_random_weights())
    return p.model_copy(
        update={"train": p.train.model_copy(update={"steps": steps, "validate_every": steps, **changes})}
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_memory", description=__doc__)
    parser.add_argument("--preset", default="paper", help="presets/NAME.yaml (default: %(default)s)")
    parser.add_argument("--memory", type=float, default=8, help="gigabytes of the machine (default: %(default)g)")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="(default: GoPro's %(default)s)")
    parser.add_argument("--size", help="WIDTHxHEIGHT of their frames (default: GoPro's, as the preset resizes them)")
    parser.add_argument("--steps", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--no-jit", action="store_true", help="without XLA, whatever the preset says")
    parser.add_argument("--batch", type=int, help="crops of a batch (default: as the preset says)")
    options = parser.parse_args()
    changes = ({"jit": False} if options.no_jit else {}) | ({"batch_size": options.batch} if options.batch else {})
    p = settings(options.preset, options.steps, changes)
    _, frame = next(resized(Image.new("RGB", GOPRO), p.resize))
    width, height = map(int, options.size.split("x")) if options.size else frame.size
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "params.yaml").write_text(p.model_dump_json())
        for split, pairs in (("train", options.pairs), ("val", VALIDATING)):
            lay_pairs(root / "data/resized" / split / "frames/scene", pairs, width, height)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "DEBLURGAN_CACHE": str(root / "cache")}
        command = [sys.executable, "-c", STAGE, str(options.memory * 1e9)]
        ran = run_watched(command, root, env, quiet=False)
    batch = f"{p.train.batch_size} crops of {p.train.crop}x{p.train.crop} a step"
    print(f"{options.preset}, {options.pairs} pairs of {width}x{height}, {batch}, a machine of {options.memory:g} GB")
    print("\n".join(line for line in ran.printed.splitlines() if line.startswith(("frames: ", "generator: "))))
    print(f"{options.steps} steps in {ran.seconds:.0f} s, start and validation included")
    fits = "fits" if ran.peak <= options.memory * 1e9 else "does not fit"
    print(f"most memory: {ran.peak / 1e9:.1f} GB: {fits}")


if __name__ == "__main__":
    with reported("train_memory"):
        main()
