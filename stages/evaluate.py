"""Measure the generator on the test split: metrics/evaluate.json, a table per image, pictures."""

from stages import engine  # before anything that imports Keras

# isort: split

import csv
from pathlib import Path

from tqdm import tqdm

from deblurgan import params
from deblurgan.archive import load_generator
from deblurgan.errors import UserError, reported
from deblurgan.evaluation import MEASURES, Score, report, score, spread
from deblurgan.figures import save_panel
from deblurgan.files import new_directory, new_file, write_json
from deblurgan.images import read_rgb
from deblurgan.inference import deblur
from deblurgan.pairs import find_pairs

TEST = Path("data/resized/test")
MODEL = Path("models/generator.keras")
METRICS = Path("metrics/evaluate.json")
TABLE = Path("metrics/evaluate/images.csv")
PANELS = Path("metrics/evaluate/panels")


def name_of(blur: Path) -> tuple[str, str, str]:
    """Data set, scene and frame of a blurred test image."""
    dataset, scene, _, frame = blur.relative_to(TEST).parts
    return dataset, scene, Path(frame).stem


def write_table(scores: list[Score]) -> None:
    """Write one row per image."""
    columns = ("dataset", "scene", "frame", *MEASURES)
    with new_file(TABLE) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(columns)
        for row in scores:
            values = (getattr(row, name) for name in columns)
            table.writerow([f"{value:.4f}" if isinstance(value, float) else value for value in values])


def in_words(name: str, part: dict[str, float]) -> str:
    """One line of the report."""
    psnr = f"PSNR {part['input_psnr']:.2f} -> {part['psnr']:.2f} dB ({part['psnr_gain']:+.2f})"
    ssim = f"SSIM {part['input_ssim']:.3f} -> {part['ssim']:.3f} ({part['ssim_gain']:+.3f})"
    return f"{name:10s} {part['images']:4d} images   {psnr}   {ssim}"


def main() -> None:
    """Run the stage."""
    p = params.load()
    pairs = {name_of(pair.blur): pair for pair in find_pairs(TEST)}
    if not pairs:
        raise UserError(f"no pair in {TEST}: see split.test_fraction in params.yaml, and metrics/clean.json")
    engine.be_deterministic()
    generator = load_generator(MODEL)
    scores = []
    for name, pair in tqdm(pairs.items(), desc="evaluate", unit="image"):
        blur = read_rgb(pair.blur)
        scores.append(score(name, blur, deblur(generator, blur), read_rgb(pair.sharp)))
    with new_directory(PANELS) as out:
        for i, s in enumerate(spread(scores, p.evaluate.panels), start=1):
            pair = pairs[s.dataset, s.scene, s.frame]
            blur, sharp = read_rgb(pair.blur), read_rgb(pair.sharp)
            captions = (
                f"input {s.input_psnr:.2f} dB / {s.input_ssim:.3f}",
                f"deblurred {s.psnr:.2f} dB / {s.ssim:.3f}",
                f"sharp: {s.dataset} {s.scene} {s.frame}",
            )
            save_panel(out / f"{i:02d}.png", (blur, deblur(generator, blur), sharp), captions)
    write_table(scores)
    found = report(scores)
    write_json(METRICS, found)
    for name, part in {"test": found, **found["datasets"]}.items():
        print(in_words(name, part))


if __name__ == "__main__":
    with reported("evaluate"):
        main()
