"""How many crops a second the input pipeline cuts, beside how many the last training consumed.

    dvc repro train && python -m benchmarks.loader

Reads `data/resized`, `params.yaml` and `metrics/speed.json`. As many threads as a training has cut crops while the
devices compute.
"""

import argparse
import json
import time
from pathlib import Path

from deblurgan.errors import reported
from deblurgan.files import require
from deblurgan.memory import free_memory
from deblurgan.params import load
from deblurgan.training.batches import CropSequence
from deblurgan.training.frames import keep_in_memory, load_pairs, loader_threads

SECONDS = 5
SPEED = Path("metrics/speed.json")


def images_per_second(sequence: CropSequence) -> float:
    """Measure for some seconds."""
    index, images, started = 0, 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        blur, *_ = sequence[index % len(sequence)]
        images += blur.shape[0] * blur.shape[1]
        index += 1
    return images / (time.perf_counter() - started)


def main() -> None:
    """Measure all kinds of crops."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    p = load()
    t = p.train
    require(SPEED, Path("data/resized/train"))
    speed = json.loads(SPEED.read_text())
    consumed = speed["steps_per_second"] * t.batch_size * t.critic_steps
    print(f"consumed by the last training: {consumed:.0f} images/s ({speed['device']})")
    kinds: dict[str, dict] = {
        "as trained": {},
        "photos as stored": {"photo_share": 1.0, "fresh_blur": False},
        "photos blurred anew": {"photo_share": 1.0, "fresh_blur": True},
    }
    for name, changes in kinds.items():
        settings = t.model_copy(update=changes)
        pairs = load_pairs(Path("data/resized"), "train", t.crop, fresh=settings.fresh_blur)
        for place, free in (("decoded on the way", 0), ("in memory", free_memory())):
            keep_in_memory(pairs, 0, t.crop, free)
            for threads in (1, loader_threads()):
                cut = images_per_second(CropSequence(pairs, settings, p.seed, p.synthesize, threads=threads))
                how = f"{place}, threads: {threads}, {t.crop}x{t.crop}"
                print(f"{name}, {how}: {cut:.0f} images/s, {cut / consumed:.1f}x")


if __name__ == "__main__":
    with reported("loader"):
        main()
