"""Photos a second and peak memory of deblurring, whole and in tiles, beside `model.predict` on the whole image.

    python -m benchmarks.deblur                                   # models/generator.keras
    python -m benchmarks.deblur --generator nafnet --norm layer   # another one, with random weights
    python -m benchmarks.deblur --generator nafnet --norm layer --filters 32 --blocks 28 --attention local --way auto

Each figure comes from a process of its own, which also says how long it took to its first image.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.peak import peak_bytes

ROOT = Path(__file__).parents[1]
STARTED = time.perf_counter()
SIZES = ((256, 256), (1280, 720), (6000, 4000))
WAYS = ("predict", "whole", "auto")
MODEL = ROOT / "models/generator.keras"


def generator_of(options: argparse.Namespace):
    """The model, or another architecture."""
    from benchmarks.defaults import default_params
    from deblurgan.networks.generators import build_generator
    from deblurgan.networks.model_files import load_generator

    if not options.generator:
        return load_generator(MODEL)
    changes = {"architecture": options.generator, "norm": options.norm, "filters": options.filters}
    changes |= {
        "blocks": options.blocks,
        "attention": options.attention,
        "upsample": "transpose" if options.generator == "resnet" else "shuffle",
    }
    return build_generator(default_params().generator.model_copy(update={**changes, "identity_start": False}))


def worker(options: argparse.Namespace, way: str, width: int, height: int) -> dict[str, float]:
    """Measure one way and size."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from deblurgan import backend  # isort: skip

    from deblurgan.images import to_float, to_uint8
    from deblurgan.restoration.neural import network
    from deblurgan.restoration.tiles import restore, tile_for

    backend.be_deterministic()
    generator = generator_of(options)
    method = network(generator)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)

    def work() -> None:
        if way == "predict":
            to_uint8(generator.predict(to_float(image)[None], verbose=0)[0])
        else:
            tile = None if way == "whole" else tile_for(method, image.shape, options.memory)
            to_uint8(restore(method, to_float(image), tile))

    before = peak_bytes()
    work()
    first, taken = time.perf_counter() - STARTED, []
    for _ in range(options.rounds if width < 2000 else 0):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    peak = peak_bytes()
    return {
        "seconds": statistics.median(taken) if taken else first,
        "first": first,
        "parameters": generator.count_params(),
        "peak": peak / 1e9,
        "more": (peak - before) / 1e9,
        "bytes": (peak - before) / (width * height),
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--generator", choices=("resnet", "nafnet", "unet"), help="random weights instead of the model's"
    )
    parser.add_argument("--norm", choices=("instance", "layer", "none"), default="none")
    parser.add_argument("--attention", choices=("none", "global", "local"), default="none")
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--memory", type=float, default=2.5, help="budget, GB (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, action="append", help="default: all")
    parser.add_argument("--size", action="append", help="WIDTHxHEIGHT (default: 256x256, 1280x720, 6000x4000)")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        way, width, height = options.worker
        print(json.dumps(worker(options, way, int(width), int(height))))
        return
    sizes = [tuple(map(int, text.split("x"))) for text in options.size or []] or SIZES
    print("| pixels | way | seconds | first image after | peak memory | more than before | bytes a pixel |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    failed = False
    for width, height in sizes:
        for way in options.way or WAYS:
            if width * height > 4e6 and way != "auto" and not options.way:
                continue  # tens of GB
            command = [sys.executable, "-m", "benchmarks.deblur", *sys.argv[1:], "--worker", way]
            done = subprocess.run([*command, str(width), str(height)], cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                failed = True
                print(f"| {width}x{height} | {way} | {' '.join(done.stderr.split()[-12:])} | | | | |")
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            row = f"| {width}x{height} | {way} | {found['seconds']:.3f} | {found['first']:.1f} s "
            row += f"| {found['peak']:.2f} GB | {found['more']:.2f} GB | {found['bytes']:.0f} |"
            print(row, flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
