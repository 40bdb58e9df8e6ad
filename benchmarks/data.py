"""Speed and memory of the data stages, beside a plain Pillow loop and beside SciPy's convolution, in one run.

    python -m benchmarks.data    # half an hour; prints a table and whether each bar is met
    python -m benchmarks.data --frames 300 --rounds 1 --size 128x128 --no-memory    # minutes

The frames are generated: windows of the bundled photos, enlarged, with sensor noise, 1280x720, about as many bytes as
GoPro's. Variants take turns, round by round; what is compared is the median of each. Memory is the peak of a whole
process tree.
"""

import argparse
import functools
import os
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML
from scipy.signal import fftconvolve

from benchmarks.memory import run_watched
from deblurgan.blur.convolution import add_noise, blur_image
from deblurgan.blur.trajectory import random_path
from deblurgan.errors import reported
from deblurgan.images import from_linear, quantize, to_linear
from deblurgan.sources import bundled

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 1280, 720
SIZES = {"128x128": ("stretch", 128, 128), "640x360": ("fit", 640, 360)}
MEMORY_FRAMES = (100, 2000)


def make_frame(job: tuple[int, Path]) -> None:
    """Write one frame, different from every other one."""
    number, path = job
    photo = bundled.SHARP[number % len(bundled.SHARP)]
    with Image.open(photo.path) as image:
        large = image.convert("RGB").resize((WIDTH + 200, HEIGHT + 200), Image.Resampling.BICUBIC)
    rng = np.random.default_rng(number)
    left, top = rng.integers(0, 200, 2)
    window = np.asarray(large.crop((left, top, left + WIDTH, top + HEIGHT)), np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(add_noise(window, rng, 0.7)).save(path, compress_level=3)


def workspace(root: Path, frames: int) -> Path:
    """Lay out half as many pairs, and params.yaml."""
    scene = root / "data/source/pairs/bench/train/S"
    jobs = [(i, scene / ("blur", "sharp")[i % 2] / f"{i // 2:06d}.png") for i in range(frames)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(make_frame, jobs, chunksize=8))
    shutil.copy(ROOT / "params.yaml", root)
    (root / "data/source/unsplash").mkdir(parents=True)
    (root / "data/synthetic").mkdir(parents=True)
    os.sync()
    return root


def set_size(root: Path, size: str) -> None:
    """Choose what `resize` does."""
    yaml = YAML()
    values = yaml.load(root / "params.yaml")
    values["resize"]["mode"], values["resize"]["width"], values["resize"]["height"] = SIZES[size]
    values["split"]["val_scenes"] = []
    yaml.dump(values, root / "params.yaml")


def plain_loop(size: str) -> None:
    """The same work as anybody would write it: open, convert, resize, save."""
    width, height = SIZES[size][1:]
    shutil.rmtree("plain", ignore_errors=True)
    for path in sorted(Path("data/source").rglob("*.png")):
        target = Path("plain") / path.relative_to("data/source")
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).save(target)


VARIANTS = {
    "plain": "import benchmarks.data as b; work = lambda: b.plain_loop({size!r})",
    "clean": "import stages.clean as c; work = c.main",
    "resize": "import stages.resize as r; work = r.main",
    "clean+resize": "import stages.clean as c, stages.resize as r; work = lambda: (c.main(), r.main())",
}
"""What a process of its own runs; its imports are not counted, those of its workers are."""
TIMED = "; import time; start = time.perf_counter(); work(); print(time.perf_counter() - start)"


def measure(root: Path, name: str, size: str, workers: int) -> tuple[float, float]:
    """Seconds and peak megabytes of one variant."""
    set_size(root, size)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "DEBLURGAN_WORKERS": str(workers)}
    command = [sys.executable, "-c", VARIANTS[name].format(size=size) + TIMED]
    ran = run_watched(command, root, env)
    return float(ran.printed.splitlines()[-1]), ran.peak / 1e6


def bar(label: str, value: float, limit: float) -> None:
    """Print a ratio and whether it is as high as it should be."""
    print(f"  {'met   ' if value >= limit else 'MISSED'}  {label}: {value:.2f} (bar: {limit})")


def stages_benchmark(frames: int, rounds: int, sizes: list[str]) -> None:
    """Compare stages with the plain loop."""
    variants = [("plain", 1), ("clean", 1), ("resize", 1), ("clean+resize", 1), ("clean+resize", 2)]
    with tempfile.TemporaryDirectory() as folder:
        root = workspace(Path(folder), frames)
        stored = sum(path.stat().st_size for path in root.rglob("*.png")) / frames / 1e6
        print(f"{frames} frames of {WIDTH}x{HEIGHT}, {stored:.2f} MB each, {rounds} rounds\n")
        for size in sizes:
            taken: dict[tuple[str, int], list[tuple[float, float]]] = {variant: [] for variant in variants}
            for _ in range(rounds):
                for name, workers in variants:
                    taken[name, workers].append(measure(root, name, size, workers))
            seconds = {key: statistics.median(s for s, _ in runs) for key, runs in taken.items()}
            print(f"to {size} ({SIZES[size][0]})")
            for (name, workers), runs in taken.items():
                rate, memory = frames / seconds[name, workers], max(m for _, m in runs)
                print(f"  {name:13} {workers} worker{'s'[: workers - 1]:1}  {rate:6.1f} images/s  {memory:5.0f} MB")
            bar("clean+resize, 2 workers over 1", seconds["clean+resize", 1] / seconds["clean+resize", 2], 1.8)
            bar("resize over the plain loop", seconds["plain", 1] / seconds["resize", 1], 1.2)
            bar("clean+resize over the plain loop", seconds["plain", 1] / seconds["clean+resize", 1], 0.5)
            print()


def memory_benchmark() -> None:
    """See whether memory grows with the number of frames."""
    peaks = []
    for frames in MEMORY_FRAMES:
        with tempfile.TemporaryDirectory() as folder:
            peaks.append(measure(workspace(Path(folder), frames), "clean+resize", "128x128", 2)[1])
        print(f"clean+resize, 2 workers, {frames} frames: peak {peaks[-1]:.0f} MB")
    bar("memory of few frames over that of many", peaks[0] / peaks[1], 0.8)
    print()


def synthesize_benchmark(rounds: int) -> None:
    """Compare the blur with SciPy's convolution, alone and with the same light, borders and noise around it."""
    frame = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    draw = functools.partial(random_path, length=(30.0, 60.0), shake=(0.01, 0.005, 0.003), exposure=(0.5, 1.0))

    def ours(seed: int) -> None:
        rng = np.random.default_rng(seed)
        add_noise(blur_image(frame, draw(rng).kernel), rng, 1)

    def convolution_alone(seed: int) -> None:
        kernel = kernel_64(seed)
        floats = frame / 255
        for channel in range(3):
            fftconvolve(floats[..., channel], kernel, mode="same")

    def same_work(seed: int) -> None:
        rng, kernel = np.random.default_rng(seed), kernel_64(seed)
        light = np.pad(to_linear(frame / 255), ((32, 32), (32, 32), (0, 0)), mode="symmetric")
        mixed = np.stack([fftconvolve(light[..., c], kernel, mode="same")[32:-32, 32:-32] for c in range(3)], axis=-1)
        quantize(from_linear(mixed) + rng.normal(0, 1 / 255, mixed.shape))

    def kernel_64(seed: int) -> np.ndarray:
        kernel = draw(np.random.default_rng(seed)).kernel[:64, :64]
        return np.pad(kernel, ((0, 64 - len(kernel)), (0, 64 - len(kernel))))

    ways = {"ours": ours, "fftconvolve alone": convolution_alone, "fftconvolve, same work": same_work}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way(seed)
            taken[name].append(time.perf_counter() - start)
    middle = {name: statistics.median(seconds) for name, seconds in taken.items()}
    print(f"synthesize, one {WIDTH}x{HEIGHT} frame, median of {rounds}")
    for name, seconds in middle.items():
        print(f"  {name:24} {1000 * seconds:6.0f} ms")
    bar(
        "ours over fftconvolve with the same light, borders and noise",
        middle["fftconvolve, same work"] / middle["ours"],
        2,
    )
    bar("ours over fftconvolve alone, gamma-encoded, dark borders", middle["fftconvolve alone"] / middle["ours"], 2)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000, help="frames of the comparison (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions (default: %(default)s)")
    parser.add_argument("--no-memory", action="store_true", help=f"leave out the runs of {MEMORY_FRAMES} frames")
    parser.add_argument("--size", choices=SIZES, action="append", help="size to resize to (default: all of these)")
    options = parser.parse_args()
    synthesize_benchmark(20 * options.rounds)
    print()
    stages_benchmark(options.frames, options.rounds, options.size or list(SIZES))
    if not options.no_memory:
        memory_benchmark()


if __name__ == "__main__":
    with reported("data"):
        main()
