"""The evaluation: rows that survive a kill, what people compare, pictures that compare from model to model."""

import csv
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SMALL, contents, edit_params
from PIL import Image

import stages.deblur
import stages.evaluate
from deblurgan import parallel
from deblurgan.blur.synthesis import blur_of
from deblurgan.cleaning import leaks
from deblurgan.errors import UserError
from deblurgan.evaluation import evaluator, scores
from deblurgan.evaluation.measuring import PairJob, measured
from deblurgan.evaluation.panels import spread
from deblurgan.evaluation.perceptual import distances
from deblurgan.evaluation.rows import Rows, kept_rows
from deblurgan.evaluation.scores import Score
from deblurgan.export.metadata import metadata_of
from deblurgan.export.onnx_file import onnx_bytes
from deblurgan.files import locked
from deblurgan.images import read_rgb, to_float, write_png
from deblurgan.networks.generators import build_generator
from deblurgan.networks.model_files import load_generator, save_model
from deblurgan.networks.vgg19 import build_features
from deblurgan.params import load
from deblurgan.pictures import PANEL_WIDTH, error_map, panel, save_gains, where_worst
from deblurgan.restoration import neural, restraint
from deblurgan.restoration.in_workers import SharedFile, deblurred
from deblurgan.training.losses import content
from deblurgan.vgg19_weights import LAYERS


class Killed(BaseException):
    """The end of a process."""


def squares(rows: Rows, count: int, last: int = 10**6) -> tuple[list, list]:
    """Rows of the first numbers; and which were worked on, until killed after the last."""
    seen = []

    def work(number: int) -> dict:
        if number > last:
            raise Killed
        seen.append(number)
        return {"square": number**2}

    try:
        return rows.of({str(n): n for n in range(count)}, work, lambda n: n), seen
    except Killed:
        return [], seen


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DEBLURGAN_CACHE", str(tmp_path))
    monkeypatch.setenv("DEBLURGAN_WORKERS", "1")
    return tmp_path / "evaluate"


def test_a_killed_evaluation_goes_on(cache, capsys):
    with kept_rows("mine") as rows:
        _, seen = squares(rows, 40, last=20)
        assert seen == list(range(21))
    kept = len((cache / "mine.jsonl").read_text().splitlines())
    assert kept > 10
    with kept_rows("mine") as rows:
        found, seen = squares(rows, 40)
    assert found == [{"square": n**2} for n in range(40)]
    assert seen == list(range(kept, 40))
    assert f"evaluate: {kept} of 40 images were measured before" in capsys.readouterr().out
    with kept_rows("mine") as rows:
        assert squares(rows, 41)[1] == [40]
    with kept_rows("of another generator") as rows:
        assert squares(rows, 3)[1] == [0, 1, 2]


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (lambda data: data[:-1], []),
        (lambda data: data[:-5], [7]),
        (lambda data: b"\xff\0" + data[2:], [0]),
        (lambda data: b"12\n" + data, []),
        (lambda data: b"", list(range(8))),
    ],
)
def test_a_damaged_row_is_measured_again(cache, damage, lost):
    with kept_rows("mine") as rows:
        squares(rows, 8)
    path = cache / "mine.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    with kept_rows("mine") as rows:
        found, seen = squares(rows, 9)
    assert seen == [*lost, 8]
    assert found == [{"square": n**2} for n in range(9)]
    with kept_rows("mine") as rows:
        assert squares(rows, 9) == (found, [])


def test_two_processes_never_write_the_same_rows(cache):
    with (
        locked(cache / "mine.lock"),
        pytest.raises(UserError, match=r"another process runs this evaluation: wait for it, or stop it \(.*mine"),
        kept_rows("mine"),
    ):
        pass


def test_rows_that_nobody_went_on_with_are_thrown_away(cache):
    for name in ("old", "new"):
        with kept_rows(name) as rows:
            squares(rows, 2)
    for path in cache.glob("old.*"):
        os.utime(path, (0, 0))
    with kept_rows("mine"):
        assert not list(cache.glob("old.*"))
        assert (cache / "new.jsonl").exists()


@functools.cache
def exported(seed: int) -> bytes:
    """A generator with random weights, as `export` writes it."""
    generator = build_generator(SMALL, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.keras"
        save_model(generator, path)
        return onnx_bytes(generator, metadata_of(generator, path))


def jobs(tmp_path: Path) -> dict[str, PairJob]:
    rng = np.random.default_rng(0)
    (tmp_path / "g.onnx").write_bytes(exported(1))
    found, model = {}, SharedFile.at(tmp_path / "g.onnx")
    for i in range(3):
        sharp = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        paths = [tmp_path / f"{half}{i}.png" for half in ("blur", "sharp")]
        for path, image in zip(paths, (sharp // 2, sharp), strict=True):
            write_png(path, image)
        kernel = np.ones((3, 3)) / 9
        found[str(i)] = PairJob(("d", "s", str(i)), *paths, model, False, kernel, False, "shake", ("wiener", "unsharp"))
    return found


def test_rows_do_not_depend_on_the_processes(cache, tmp_path, monkeypatch):
    """Nor on being kept."""
    images, found = jobs(tmp_path), []
    for workers in ("1", "2"):
        monkeypatch.setenv("DEBLURGAN_WORKERS", workers)
        with kept_rows(workers) as rows:
            found.append(rows.of(images, measured, lambda image: image))
        with kept_rows(workers) as rows:
            found.append(rows.of(images, measured, pytest.fail))
    assert found[0] == found[1] == found[2] == found[3]
    score = Score(**found[0][2])
    assert (score.frame, score.kind) == ("2", "shake")
    assert set(score.baselines) == {"wiener", "unsharp"}
    assert score["psnr_gain"] == score["psnr"] - score["input_psnr"] != 0
    assert set(score.stretched) == {f"{k}{m}" for k in ("", "input_") for m in ("psnr", "ssim", "ssim_3d")}


def test_a_weak_network_is_scored_beside_what_is_left_of_it(tmp_path):
    """Its small correction is taken back; the network alone has made the image better all the same."""
    generator = build_generator(SMALL.model_copy(update={"identity_start": True}))
    head = generator.get_layer("head")
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias + 0.02])  # brighter, if hardly: correction of the same sign everywhere
    save_model(generator, tmp_path / "g.keras")
    (tmp_path / "g.onnx").write_bytes(onnx_bytes(generator, metadata_of(generator, tmp_path / "g.keras")))
    sharp = np.random.default_rng(0).integers(40, 216, (32, 48, 3), dtype=np.uint8)
    for half, image in (("blur", sharp - 3), ("sharp", sharp)):
        write_png(tmp_path / f"{half}.png", image)
    model = SharedFile.at(tmp_path / "g.onnx")
    paths = tmp_path / "blur.png", tmp_path / "sharp.png"
    score = Score(**measured(PairJob(("d", "s", "1"), *paths, model, False, None, False)))
    assert score["psnr"] == score["input_psnr"] < score["network_psnr"]
    assert score["network_psnr_gain"] == score["network_psnr"] - score["input_psnr"]
    assert {"network_ssim", "network_ssim_gain"} <= set(score.measures)
    found = {**scores.report([score]), "unpaired": {"photos": 0}}
    (line,) = [line for line in scores.in_words(found) if "network alone, test" in line]
    assert f"-> {score['network_psnr']:.2f} dB" in line


def test_an_evaluation_that_another_one_tidies_up_for_goes_on(cache, monkeypatch):
    cache.mkdir()
    (cache / "old.jsonl").touch()
    os.utime(cache / "old.jsonl", (0, 0))
    stat = Path.stat

    def gone(path, **options):
        if path.name == "old.jsonl":
            path.unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", gone)
    with kept_rows("mine"):
        pass


@pytest.fixture
def ready(workspace, monkeypatch):
    """Test pairs, one of each scene less blurred than the one before, and a generator."""
    monkeypatch.setenv("DEBLURGAN_WORKERS", "1")
    edit_params(workspace, {"evaluate": {"panels": 3, "baselines": ["unsharp"]}})
    rng = np.random.default_rng(0)
    for i in range(6):
        sharp = rng.integers(0, 256, (40, 1100 if i == 0 else 60, 3), dtype=np.uint8)
        for kind, image in (("blur", sharp // (1 + 1 / (i + 1))), ("sharp", sharp)):
            write_png(workspace / f"data/resized/test/filmed/scene{i % 2}/{kind}/{i:06d}.png", image.astype(np.uint8))
    write_png(workspace / "data/resized/unpaired/a.png", sharp)
    save_generator(workspace, seed=1)
    return workspace


def save_generator(root: Path, seed: int) -> None:
    (root / "models").mkdir(exist_ok=True)
    (root / "models/generator.onnx").write_bytes(exported(seed))


@pytest.mark.parametrize(
    ("mode", "width", "known"), [("none", 16, True), ("tile", 16, True), ("fit", 512, True), ("fit", 16, False)]
)
def test_the_true_kernel_is_known_where_the_photo_was_not_scaled(tmp_path, mode, width, known):
    p = load(ROOT / "tests/params.yaml")
    size = p.resize.model_copy(update={"mode": mode, "width": width, "height": width})
    (tmp_path / "generator.onnx").write_bytes(b"")
    evaluation = evaluator.Evaluation(p.model_copy(update={"resize": size}), tmp_path, tmp_path / "generator.onnx")
    side = min(width, 30)
    path = tmp_path / "test/unsplash/7/blur/0000.png"
    write_png(path, np.zeros((side, side, 3), np.uint8))
    given = evaluation.blur(("unsplash", "7", "0000"))
    assert given is not None
    assert (evaluation.kernel(given, path) is not None) == known


def results(root: Path) -> dict[str, bytes]:
    return contents(root / "metrics")


def test_a_killed_stage_goes_on_to_the_same_bytes(ready, monkeypatch):
    stages.evaluate.main()
    undisturbed = results(ready)
    (finished,) = (ready / "cache/evaluate").glob("*.jsonl")
    finished.unlink()
    done, last = [], 4

    def counted(image):
        if len(done) == last:
            raise KeyboardInterrupt
        done.append(image)
        return measured(image)

    monkeypatch.setattr(evaluator, "measured", counted)
    monkeypatch.setattr(parallel, "AHEAD", 2)
    with pytest.raises(KeyboardInterrupt):
        stages.evaluate.main()
    before = len(finished.read_text().splitlines())
    assert before >= 2
    done, last = [], None
    stages.evaluate.main()
    assert len(done) == 7 - before
    assert results(ready) == undisturbed
    done = []
    edit_params(ready, {"evaluate": {"panels": 1}})
    stages.evaluate.main()
    assert done == []
    save_generator(ready, seed=2)  # whose rows are others
    stages.evaluate.main()
    assert len(done) == 7


def test_neither_stage_imports_tensorflow(ready):
    code = (
        "import sys, stages.deblur, stages.evaluate\nstages.deblur.main()\nstages.evaluate.main()\n"
        "assert not {'tensorflow', 'jax', 'keras'} & set(sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ready, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(stages.evaluate.METRICS.read_text())["images"] == 6
    assert [path.name for path in stages.deblur.OUT.iterdir()] == ["a.png"]


def test_in_eight_positions_what_is_measured_is_restored_in_them(ready, monkeypatch):
    for limit, pixels in (("NOTHING", 0.0), ("ALL", 0.01)):  # of a random generator the mean changes little
        monkeypatch.setattr(restraint, limit, pixels)
    stages.evaluate.main()
    once = json.loads(stages.evaluate.METRICS.read_text())
    edit_params(ready, {"evaluate": {"ensemble": True}})
    stages.evaluate.main()
    assert json.loads(stages.evaluate.METRICS.read_text())["psnr"] != once["psnr"]
    image = read_rgb(ready / "data/resized/unpaired/a.png")
    save_model(build_generator(SMALL, 1), ready / "g.keras")
    expected = neural.deblur(load_generator(ready / "g.keras"), image, ensemble=True)
    found, said = deblurred(SharedFile.at(stages.evaluate.MODEL), image, ensemble=True)
    np.testing.assert_allclose(found.astype(int), expected, atol=1)
    assert said == ""


def test_a_model_that_changed_is_never_taken_for_the_one_before(ready):
    """Workers of a cluster keep a model, and see the folder a little later."""
    image, model = np.full((20, 24, 3), 99, np.uint8), SharedFile.at(stages.evaluate.MODEL)
    one, _ = deblurred(model, image)
    save_generator(ready, 2)
    other, _ = deblurred(SharedFile.at(stages.evaluate.MODEL), image)
    assert (one != other).any()
    with pytest.raises(UserError, match=r"generator\.onnx on .* is not the file that this stage has seen"):
        deblurred(model, image)


def test_photos_whose_restoration_failed_are_named(ready, monkeypatch, capsys):
    monkeypatch.setattr("deblurgan.restoration.explosions.LARGEST", -1.0)
    stages.deblur.main()
    assert "deblur: warning: data/resized/unpaired/a.png: the network's result" in capsys.readouterr().out
    before, after = (read_rgb(path / "a.png") for path in (stages.deblur.PHOTOS, stages.deblur.OUT))
    np.testing.assert_array_equal(before, after)


@pytest.fixture
def vgg(tmp_path):
    rng, before, arrays = np.random.default_rng(0), 3, {}
    for name, filters in LAYERS.items():
        arrays[f"{name}__kernel"] = rng.normal(0, 0.05, (3, 3, before, filters)).astype(np.float32)
        arrays[f"{name}__bias"] = rng.normal(0, 0.05, filters).astype(np.float32)
        before = filters
    np.savez(tmp_path / "vgg.npz", **arrays)
    return tmp_path / "vgg.npz"


def test_the_distance_of_features_is_that_of_training(vgg):
    rng, features = np.random.default_rng(0), build_features(str(vgg))
    for shape in ((37, 50, 3), (64, 48, 3)):
        sharp, *others = rng.integers(0, 256, (3, *shape), dtype=np.uint8)
        target, *found = (features(to_float(image)[None]) for image in (sharp, *others))
        expected = [float(content(other, target)) for other in found]
        assert distances(SharedFile.at(vgg), sharp, *others) == pytest.approx(expected, rel=1e-4)


def test_the_distance_of_features_is_measured_where_it_is_asked_for(ready, vgg):
    edit_params(ready, {"evaluate": {"vgg_weights": str(vgg)}})
    stages.evaluate.main()
    report = json.loads(scores.REPORT.read_text())
    assert json.loads(stages.evaluate.METRICS.read_text())["vgg"] == report["vgg"] > 0
    assert report["input_vgg"] > 0
    edit_params(ready, {"evaluate": {"vgg_weights": "none.npz"}})
    with pytest.raises(UserError, match=r"vgg_weights = 'none\.npz': no such file"):
        stages.evaluate.main()


def test_few_figures_are_metrics_and_the_report_holds_all(ready, capsys):
    stages.evaluate.main()
    metrics, report = (json.loads(Path(path).read_text()) for path in (stages.evaluate.METRICS, scores.REPORT))
    assert list(metrics) == ["psnr", "psnr_gain", "ssim", "ssim_gain", "ssim_3d", "network_psnr_gain", "images"]
    assert metrics == {name: report[name] for name in metrics}
    assert {"input_psnr", "psnr_gain_95", "baselines", "datasets", "stretched_128", "unpaired"} <= set(report)
    assert report["unpaired"]["photos"] == 1
    said = capsys.readouterr().out
    scores.main()
    assert capsys.readouterr().out == said
    assert f"{'test':27s} {6:5d} images   PSNR" in said
    scores.REPORT.unlink()
    with pytest.raises(UserError, match=r"report\.json is not there: `dvc repro evaluate` makes it"):
        scores.main()


def test_test_images_that_look_like_ones_of_another_split_are_warned_of(ready, capsys):
    stages.evaluate.main()
    assert "warning" not in capsys.readouterr().out
    pairs = [(f"{split}/filmed/scene0/sharp/000000.png", "train/filmed/a/sharp/1.png") for split in ("test", "val")]
    leaks.write_leaks(ready / "data/resized/test", [leaks.Leak(*pair) for pair in [*pairs, *pairs[:1]]])
    stages.evaluate.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert [line.split(", so its scores are too good: ")[0] for line in lines] == [
        "warning: 2 sharp images of the test split look like images of another split",
        "warning: 1 sharp images of the val split look like images of another split",
    ]
    assert all(" like ".join(pair) in line for pair, line in zip(pairs, lines, strict=True))


def test_blind_deconvolution_is_measured_on_some_images_of_each_data_set(ready, capsys):
    """Photos as small as these are left as they are, so that it gains nothing."""
    edit_params(ready, {"evaluate": {"baselines": ["unsharp", "blind"], "blind_images": 2}})
    write_png(ready / "data/resized/test/other/scene/blur/000000.png", np.zeros((40, 60, 3), np.uint8))
    write_png(ready / "data/resized/test/other/scene/sharp/000000.png", np.full((40, 60, 3), 9, np.uint8))
    stages.evaluate.main()
    report = json.loads(scores.REPORT.read_text())
    found = report["baselines"]
    assert found["blind"]["images"] == 3
    assert "images" not in found["unsharp"]
    assert found["blind"]["psnr"] == found["blind"]["input_psnr"] != report["input_psnr"]
    assert report["datasets"]["filmed"]["baselines"]["blind"]["images"] == 2
    assert f"{'  blind, filmed':27s} {2:5d} images   PSNR" in capsys.readouterr().out
    with open(stages.evaluate.IMAGES, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [bool(row["blind_psnr"]) for row in rows] == [True, False, False, False, False, True, True]
    assert all(row["unsharp_psnr"] for row in rows)


def test_scores_come_by_kind_of_blur(ready, capsys):
    """The kind of a photo's blur is what `synthesize` says of the pair."""
    evaluate = {"baselines": ["blind"], "blind_images": 1}
    edit_params(ready, {"synthesize": {"layered": 0.4, "defocus": 0.3}, "evaluate": evaluate})
    p = load()
    for scene in ("a", "b"):
        for i in range(6):
            for half in ("blur", "sharp"):
                picture = np.full((40, 60, 3), i, np.uint8)
                write_png(ready / f"data/resized/test/unsplash/{scene}/{half}/{i:04d}.png", picture)
    stages.evaluate.main()
    with open(stages.evaluate.IMAGES, newline="") as stream:
        rows = list(csv.DictReader(stream))
    drawn = [row for row in rows if row["dataset"] == "unsplash"]
    kinds = [blur_of(row["scene"], int(row["frame"]), p.synthesize, p.seed)[0].kind for row in drawn]
    assert [row["kind"] for row in drawn] == kinds
    assert {row["kind"] for row in rows if row["dataset"] != "unsplash"} == {"filmed"}
    found = json.loads(scores.REPORT.read_text())["kinds"]
    assert {kind: part["images"] for kind, part in found.items()} == Counter(row["kind"] for row in rows)
    blind = {kind: part["baselines"]["blind"] for kind, part in found.items()}
    assert {kind: part.get("images", found[kind]["images"]) for kind, part in blind.items()} == dict.fromkeys(found, 1)
    said = capsys.readouterr().out
    assert f"{'blur: layered':27s} {kinds.count('layered'):5d} images   PSNR" in said
    assert f"{'  blind, blur: layered':27s} {1:5d} images   PSNR" in said


def test_panels_are_the_same_photos_for_all_models(ready):
    """In files of the same name, so that `dvc plots diff` sets a photo beside itself; narrow enough for two."""
    chosen = []
    for seed in (1, 2):
        save_generator(ready, seed)
        stages.evaluate.main()
        chosen.append(contents(stages.evaluate.PANELS))
    with open(stages.evaluate.IMAGES, newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: float(row["input_psnr"]))
    expected = [f"{row['dataset']}/{row['scene']}/{row['frame']}.png" for row in (rows[0], rows[2], rows[5])]
    assert sorted(chosen[0]) == sorted(chosen[1]) == sorted(expected)
    assert all(chosen[0][name] != chosen[1][name] for name in expected)
    for path in stages.evaluate.PANELS.rglob("*.png"):
        with Image.open(path) as image:
            assert image.width <= 1000


def test_panels_are_chosen_by_the_input_alone():
    def scored(frame: str, before: float, after: float) -> Score:
        return Score("d", "s", frame, {"input_psnr": before, "psnr": after, "psnr_gain": after - before})

    rows = [scored("c", 30, 31), scored("a", 20, 29), scored("b", 25, 20), scored("d", 30, 40)]
    assert [s.frame for s in spread(rows, 2)] == ["a", "d"]
    assert [s.frame for s in spread(rows[::-1], 10)] == ["a", "b", "c", "d"]
    assert spread(rows, 0) == []


@pytest.mark.parametrize("size", [(16, 16), (48, 64), (240, 320), (720, 1280), (30, 1500), (1500, 30)])
def test_a_panel_shows_all_images_with_captions(size):
    rng = np.random.default_rng(0)
    images = [np.full((*size, 3), level, np.uint8) for level in (40, 90, 140, 190)]
    captions = ["input: 20.00 dB", "result: 21.00 dB (+1.00)", "sharp", "error"]
    picture = panel(images, captions, "a photo")
    assert picture.shape[1] <= PANEL_WIDTH
    assert picture.shape[0] <= PANEL_WIDTH
    for part, image in zip(np.array_split(picture, 4, axis=1), images, strict=True):
        assert (part == image[0, 0]).all(axis=2).mean() > 0.001
    other = panel(images, [*captions[:3], "another"], "a photo")
    assert (other != picture).any()
    assert (panel(images, captions, "another") != picture).any()
    noise = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(4)]
    assert panel(noise, captions, "a photo").shape == picture.shape


def test_what_is_enlarged_is_where_the_error_is():
    sharp = np.full((80, 120, 3), 100, np.uint8)
    blur = sharp.copy()
    blur[60:64, 20:24] = 130
    error = error_map(blur, sharp)
    assert error[61, 21].tolist() == [120, 120, 120]
    assert error.sum() == 16 * 3 * 120
    part = blur[where_worst(error, 20, 30)]
    assert part.shape == (20, 30, 3)
    assert (part == 130).sum() == 16 * 3
    assert blur[where_worst(error, 100, 30)].shape == (80, 30, 3)


def test_gains_have_the_same_axes_for_all_models(tmp_path):
    names, inputs = ["gopro", "gopro", "unsplash"], [20, 25, 30]
    pictures = []
    for i, gains in enumerate(([1.0, 0.5, -0.2], [1.0, 0.5, -0.2], [9.0, -30.0, 60.0])):
        save_gains(tmp_path / f"{i}.png", inputs, gains, names)
        pictures.append(read_rgb(tmp_path / f"{i}.png"))
    assert pictures[0].shape == (400, 1000, 3)
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[0] != pictures[2]).any()
    for edge in (np.s_[-40:], np.s_[:, :60], np.s_[:, 515:550]):  # the axes with their numbers
        np.testing.assert_array_equal(pictures[0][edge], pictures[2][edge])
