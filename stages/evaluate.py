"""Measure the generator on the test split: metrics/evaluate.json, a table per image, pictures."""

from pathlib import Path

from deblurgan import params
from deblurgan.cleaning import leaks
from deblurgan.errors import UserError, reported
from deblurgan.evaluation.evaluator import Evaluation, name_of
from deblurgan.evaluation.panels import spread
from deblurgan.evaluation.scores import COMPARED, REPORT, in_words, report, tables
from deblurgan.files import new_directory, require, write_csv, write_json
from deblurgan.images import write_png
from deblurgan.layout import find_pairs
from deblurgan.pictures import save_gains

DATA = Path("data/resized")
MODEL = Path("models/generator.onnx")
METRICS = Path("metrics/evaluate.json")  # and REPORT
IMAGES = Path("metrics/evaluate/images.csv")
SCENES = Path("metrics/evaluate/scenes.csv")
PANELS = Path("metrics/evaluate/panels")
GAINS = Path("metrics/evaluate/gains.png")


def main() -> None:
    """Run the stage."""
    p = params.load()
    require(DATA / "test", DATA / "unpaired", MODEL)
    pairs = {name_of(pair.blur): pair for pair in find_pairs(DATA / "test")}
    if not pairs:
        raise UserError(f"no pair in {DATA / 'test'}: see split.test_fraction in params.yaml, and metrics/clean.json")
    evaluation = Evaluation(p, DATA, MODEL)
    scores, unpaired = evaluation.measure(list(pairs.values()))
    with new_directory(PANELS) as out:
        chosen = spread(scores, p.evaluate.panels)
        pictures = evaluation.panels([pairs[s.dataset, s.scene, s.frame] for s in chosen], chosen)
        for s, picture in zip(chosen, pictures, strict=True):
            write_png(out / s.dataset / s.scene / f"{s.frame}.png", picture)
    save_gains(GAINS, [s["input_psnr"] for s in scores], [s["psnr_gain"] for s in scores], [s.dataset for s in scores])
    for path, rows in zip((IMAGES, SCENES), tables(scores), strict=True):
        write_csv(path, rows)
    results = {**report(scores), "unpaired": unpaired}
    write_json(REPORT, results)
    write_json(METRICS, {name: results[name] for name in COMPARED if name in results})
    print("\n".join([*in_words(results), *leaks.in_words(leaks.read_leaks(DATA / "test"))]))


if __name__ == "__main__":
    with reported("evaluate"):
        main()
