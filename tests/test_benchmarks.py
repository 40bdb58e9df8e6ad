"""The benchmarks run: each at its smallest size, in this process where it can."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PARAMS, ROOT, SMALL
from PIL import Image

from benchmarks import (
    blind,
    cost,
    data,
    deblur,
    duplicates,
    events,
    loader,
    margins,
    nafnet_torch,
    pretraining_data,
    quality,
    real_frames,
    restoring,
    sharpness,
    size,
    start,
    train,
    train_memory,
)  # fmt: skip
from deblurgan import params, yaml_files
from deblurgan.errors import UserError
from deblurgan.networks.generators import build_generator
from deblurgan.networks.model_files import save_model
from deblurgan.params import load
from deblurgan.restoration import restraint

TINY_TRAIN = {"steps": 2, "validate_every": 2, "crop": 32, "batch_size": 1, "winograd": False, "lambda_content": 0.0}


def picture(path, seed, side=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)


def pairs(folder):
    for i in range(2):
        for half in ("blur", "sharp"):
            picture(folder / "scene" / half / f"{i:06d}.png", 2 * i + (half == "sharp"))
    return folder


def called(monkeypatch, module, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


@pytest.fixture(autouse=True)
def parameters(monkeypatch):
    """The tests' own parameters, where a benchmark in this process reads params.yaml: this is the user's."""
    user = ROOT / "params.yaml"

    def mine(path):
        return PARAMS if Path(path).resolve() == user else path

    read, copy = yaml_files.read_yaml, shutil.copy
    for module in (params, cost):
        monkeypatch.setattr(module, "read_yaml", lambda path: read(mine(path)))
    monkeypatch.setattr(
        shutil,
        "copy",
        lambda source, target: copy(mine(source), target / "params.yaml" if mine(source) is PARAMS else target),
    )


@pytest.fixture
def workers_here(monkeypatch):
    """Run the workers that a benchmark starts in this process."""

    def run(command, **_):
        output = io.StringIO()
        with contextlib.redirect_stdout(output), monkeypatch.context() as here:
            here.setattr(sys, "argv", command[2:])
            sys.modules[command[2]].main()
        return subprocess.CompletedProcess(command, 0, output.getvalue(), "")

    monkeypatch.setattr(subprocess, "run", run)


def test_deblur(monkeypatch, capsys, workers_here):
    with pytest.raises(SystemExit) as ended:
        called(
            monkeypatch,
            deblur,
            "--generator",
            "resnet",
            "--filters",
            4,
            "--blocks",
            1,
            "--rounds",
            1,
            "--size",
            "40x32",
        )
    assert not ended.value.code
    rows = [line.split("|")[2].strip() for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == ["predict", "whole", "auto"]


def test_deblur_ends_with_an_error_where_a_way_fails(monkeypatch, capsys):
    failing = subprocess.CompletedProcess([], 1, "", "TypeError: no such argument")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failing)
    with pytest.raises(SystemExit) as ended:
        called(monkeypatch, deblur, "--size", "40x32")
    assert ended.value.code
    assert "TypeError: no such argument" in capsys.readouterr().out


@pytest.mark.long
def test_nafnet_beside_pytorchs(monkeypatch, capsys, workers_here):
    """PyTorch is none of the project's packages: its time is made up here."""
    monkeypatch.setattr(nafnet_torch, "in_torch", lambda *_: {"seconds": 100.0, "parameters": 1, "peak": 0.0})
    monkeypatch.setattr(nafnet_torch, "SIZES", ((40, 32),))
    monkeypatch.setattr(nafnet_torch, "BLOCKS", 1)
    called(monkeypatch, nafnet_torch, "--filters", 2, "--rounds", 1)
    rows = [[cell.strip() for cell in line.split("|")[2:-2]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [
        ["local", "torch"], ["local", "whole"], ["local", "auto"], ["global", "torch"], ["global", "whole"],
    ]  # fmt: skip
    assert len({row[2] for row in rows if row[1] != "torch"}) == 1
    assert all(0 <= float(row[4]) < 1 for row in rows if row[1] != "torch")


@pytest.mark.long
def test_train(monkeypatch, capsys, workers_here, eager):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "")  # a worker sets it
    monkeypatch.setattr(train, "VARIANTS", ["reference, plain", "ours, plain"])
    for name, value in (("SIZE", 32), ("INFERENCE", 32), ("CRITIC_STEPS", 1), ("FILTERS", 4), ("BLOCKS", 1)):
        monkeypatch.setattr(train, name, value)
    called(monkeypatch, train, "--batch", 1, "--rounds", 1, "--turns", 1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1].strip() for line in lines[1:]] == ["reference, plain", "ours, plain"]


def test_cost(monkeypatch, capsys, eager):
    p = load(PARAMS)
    for preset in (ROOT / "presets").glob("*.yaml"):
        assert cost.settings_of(preset.stem, "weights.npz").train.vgg_weights == "weights.npz"
        assert cost.settings_of(preset.stem, "weights.npz", "mixed_float16").train.precision == "mixed_float16"
    tiny = {
        "generator": SMALL,
        "critic": p.critic.model_copy(update={"filters": 4, "layers": 1}),
        "train": p.train.model_copy(update=TINY_TRAIN),
    }
    monkeypatch.setattr(cost, "settings_of", lambda *_: p.model_copy(update=tiny))
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    monkeypatch.setattr(train, "features_with_random_weights", lambda: "")
    called(monkeypatch, train, "--preset", "seed", "--rounds", 1)
    assert "s a step" in capsys.readouterr().out
    monkeypatch.setattr(cost.backend, "BACKEND", "jax")
    monkeypatch.setattr(cost, "features_with_random_weights", lambda: "")
    monkeypatch.setattr(cost, "operations", lambda *_: 2e12)
    called(monkeypatch, cost, "seed")
    assert capsys.readouterr().out == f"seed: 2.00 TFLOP a step, {TINY_TRAIN['steps']:,} steps: 0.0 PFLOP\n"
    monkeypatch.setattr(cost.backend, "BACKEND", "tensorflow")
    with pytest.raises(UserError, match="KERAS_BACKEND=jax"):
        called(monkeypatch, cost)


@pytest.mark.long
def test_train_memory(monkeypatch, capsys):
    p = load(PARAMS)
    tiny = {"generator": SMALL, "train": p.train.model_copy(update={**TINY_TRAIN, "init_from": None})}
    tiny["train"] = tiny["train"].model_copy(update={"lambda_adversarial": 0.0})
    monkeypatch.setattr(train_memory, "settings_of", lambda *_: p.model_copy(update=tiny))
    monkeypatch.setattr(train_memory, "features_with_random_weights", lambda: "")
    called(monkeypatch, train_memory, "--pairs", 6, "--size", "640x480", "--steps", 1, "--memory", 8)
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("frames: 12, 0.0 GB decoded; ")
    found = re.fullmatch(r"most memory: ([0-9.]+) GB: fits", said[-1])
    assert 0.2 < float(found[1]) < 3  # TensorFlow's own, and hardly more


@pytest.mark.long
def test_quality(monkeypatch, capsys, tmp_path, eager):
    recipe = {"crop": 32, "batch_size": 1, "precision": "float32"}
    tiny = {"generator": {"filters": 4, "blocks": 1}, "train": recipe, "synthesize": {"layered": 0}}
    both = {"tiny": tiny, "tiny, l1": {**tiny, "train": {**recipe, "pixel": "l1"}}}
    monkeypatch.setattr(quality, "CANDIDATES", both)
    monkeypatch.setattr(quality, "LENGTHS", (3,))
    monkeypatch.setattr(quality, "SPEED", 4)
    for i in range(4):
        picture(tmp_path / "frames/clip" / f"{i:06d}.png", i)
    picture(tmp_path / "photos/a.jpg", 9)
    folders = {"pairs": pairs(tmp_path / "pairs"), "validation": pairs(tmp_path / "validation")}
    options = [f"--{name}={folders.get(name, tmp_path / name)}" for name in ("pairs", "frames", "photos", "validation")]
    called(monkeypatch, quality, *options, "--minutes", 1e-6, "--only", "tiny", "--train", "learning_rate=0.001,mild=0")
    row = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"\| tiny \| [\d,]+ \| 1 \| [+-]\d+\.\d\d dB \| .* % \|", row)


def test_loader(monkeypatch, capsys, workspace):
    pairs(Path("data/resized/train/gopro"))
    Path("metrics").mkdir()
    Path("metrics/speed.json").write_text(json.dumps({"steps_per_second": 1, "device": "none"}))
    monkeypatch.setattr(loader, "SECONDS", 0.01)
    called(monkeypatch, loader)
    said = capsys.readouterr().out
    assert "consumed by the last training: 2 images/s (none)" in said
    assert said.count("photos blurred anew") == 4  # in memory and decoded on the way, by one thread and by several


@pytest.mark.long
def test_events(monkeypatch, capsys, tmp_path):
    (tmp_path / "deblurgan").symlink_to(ROOT / "deblurgan")
    shutil.copyfile(PARAMS, tmp_path / "params.yaml")  # the user's own lies beside the code
    monkeypatch.setattr(events, "PASSES", 1)
    called(monkeypatch, events, "--photos", 4, "--megapixels", 0.1, "--package", tmp_path)
    said = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("|")]
    assert rows[2:] == ["plain loop, files", "worker, one at a time", "worker, two at a time", "handler"]
    assert "cold start of the handler" in said


def test_events_without_its_server_end_with_a_line(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(UserError, match="requirements-dev"), events.server():
        pass


def test_size(monkeypatch, capsys, tmp_path):
    called(monkeypatch, size, pairs(tmp_path))
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(size.WAYS)


def test_data(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(data, "WIDTH", 96)
    monkeypatch.setattr(data, "HEIGHT", 64)
    data.synthesize_benchmark(1)
    assert "bar: 2" in capsys.readouterr().out
    (tmp_path / "one").mkdir()
    root = data.workspace(tmp_path / "one", 2)
    seconds, megabytes = data.measure(root, "clean+resize", "128x128", 1)
    assert seconds > 0
    assert megabytes > 10
    assert len(list(root.rglob("data/resized/**/*.png"))) == 2
    shutil.copytree(root / "data/source", root / "copy/data/source")
    monkeypatch.chdir(root / "copy")
    data.plain_loop("128x128")
    assert len(list(Path("plain").rglob("*.png"))) == 2


@pytest.fixture
def tiny_model(tmp_path):
    save_model(build_generator(SMALL), tmp_path / "tiny.keras")
    return tmp_path / "tiny.keras"


def test_real_frames(monkeypatch, capsys, tmp_path, tiny_model):
    picture(tmp_path / "photos/a.png", 1)
    photos = tmp_path / "photos"
    given = [pairs(tmp_path / "test"), "--jpeg", 80, "--sharp", photos, "--shaken", photos]
    called(monkeypatch, real_frames, tiny_model, *given)
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 1 + len(real_frames.RADII) + 1
    assert "JPEG 80 (2)" in rows[0]
    assert "shaken (1)" in rows[-1]
    assert all(row.count(" dB |") == 4 and row.count("|") == header.count("|") for row in rows)


@pytest.mark.parametrize(("options", "left"), [((), 1), (("--always",), 0)])
def test_real_frames_that_are_hardly_blurred_are_left(monkeypatch, capsys, tmp_path, tiny_model, options, left):
    monkeypatch.setattr(restraint, "NOTHING", 5)
    monkeypatch.setattr(restraint, "ALL", 6)
    picture(tmp_path / "photos/a.png", 1)
    called(monkeypatch, real_frames, tiny_model, "--sharp", tmp_path / "photos", *options)
    row = capsys.readouterr().out.splitlines()[2]
    assert f" (1) | {left} | " in row
    assert row.count("+0.00 dB") == 3 * left


def test_blind(monkeypatch, capsys, tmp_path):
    picture(tmp_path / "photos/a.png", 1, side=120)
    monkeypatch.setattr(blind.kernel_selection, "SIDES", (9,))
    called(monkeypatch, blind, tmp_path / "photos", "--noise", 1, "--each")
    header, *rows = capsys.readouterr().out.splitlines()
    assert sum("true kernel" in row for row in rows) == len(blind.WAYS)
    found = [row for row in rows if row.startswith("| ") and "dB" in row]
    assert [row.split(",")[0] for row in found] == [f"| {way}" for way in blind.WAYS]
    assert {row.count("|") for row in [header, *found]} == {10}
    called(monkeypatch, blind, tmp_path / "photos", "--mild", "--pairs", pairs(tmp_path / "test"))
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" (")[0] for row in rows[:3]] == ["| sharp", "| hardly blurred", "| several motions"]
    assert rows[3].startswith(f"| {tmp_path / 'test'} (2) |")
    assert all("| +0.00 dB | +0.00 dB |" in row for row in rows)  # noise looks like no single blur
    called(monkeypatch, blind, tmp_path / "photos", "--size", "130x110")
    assert "| 130x110 |" in capsys.readouterr().out
    monkeypatch.setattr(blind, "PART", (60, 60))
    monkeypatch.setattr(blind, "SHEETS", 1)
    called(monkeypatch, blind, tmp_path / "photos", "--pictures", tmp_path)
    with Image.open(tmp_path / "blind_1.jpg") as image:
        assert image.size == (5 * 60 + 4 * 4, 60 + 18)


def test_pretraining_data(monkeypatch, tmp_path):
    monkeypatch.setattr(quality, "LENGTHS", (3,))
    for i in range(4):
        picture(tmp_path / "frames/clip" / f"{i:06d}.png", i)
    picture(tmp_path / "photos/a.png", 9)
    for part, scene in (("train", "GOPR1"), ("test", "GOPR2")):
        pairs(tmp_path / "gopro" / part).joinpath("scene").rename(tmp_path / "gopro" / part / scene)
    for name in ("000", "001"):
        pairs(tmp_path / "reds/train").joinpath("scene").rename(tmp_path / "reds/train" / name)
    options = [f"--{name}={tmp_path / name}" for name in ("gopro", "reds", "frames", "photos")]
    monkeypatch.setattr(pretraining_data, "EVERY", 1)
    called(monkeypatch, pretraining_data, tmp_path / "out", *options, "--test-scenes", "REDS_001")
    scenes = {path.parent.parent.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert scenes == {
        *(f"pairs/{part}/{scene}" for part in ("train", "val") for scene in ("GOPR1", "REDS_000", "high_speed")),
        "pairs/test/GOPR2", "pairs/test/REDS_001", "photos",
    }  # fmt: skip
    photos = {path.name for path in (tmp_path / "out/photos/sharp").iterdir()}
    frames = {f"{scene}_{i:06d}.png" for scene in ("GOPR1", "REDS_000") for i in range(1)}
    assert photos == {"a.png", *frames}  # and none that validates or tests


def test_margins(monkeypatch, capsys, tmp_path, tiny_model):
    monkeypatch.setattr(margins, "MARGINS", (32, 48))
    picture(tmp_path / "photo.png", 3, side=96)
    called(monkeypatch, margins, tiny_model, tmp_path / "photo.png", "--core", 32)
    rows = capsys.readouterr().out.splitlines()[4:]
    assert [row.split(" | ")[1] for row in rows] == ["96", "128"]


@pytest.mark.long
def test_start(monkeypatch, capsys, tiny_model):
    monkeypatch.chdir(ROOT)
    called(monkeypatch, start, "--model", tiny_model, "--sizes", "32x16", "--rounds", 1)
    row = capsys.readouterr().out.splitlines()[2].split(" | ")
    assert row[0] == "| 32x16"
    assert float(row[-1].strip(" |")) > 0


def test_sharpness(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(ROOT)
    called(monkeypatch, sharpness, pairs(tmp_path / "pairs"))
    assert "sharp" in capsys.readouterr().out


def test_duplicates(monkeypatch, capsys, tmp_path):
    for i in range(3):
        picture(tmp_path / f"photos/{i}.png", i)
    called(monkeypatch, duplicates, tmp_path / "photos", "--skies", 2)
    assert capsys.readouterr().out.splitlines()


@pytest.mark.long
def test_restoring(monkeypatch, capsys, tiny_model):
    sizes = ("--photos", 2, "--size", 32, "--rounds", 1, "--workers", 1, 2)
    called(monkeypatch, restoring, "--model", tiny_model, *sizes)
    rows = [row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["Keras, one process", "`deblur`, workers: 1", "`deblur`, workers: 2"]
    assert all(float(row[1]) > 0 for row in rows)
