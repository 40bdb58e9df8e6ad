"""The pipeline as DVC runs it, with tiny parameters, in copies of this repository."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, Repo, committed, contents, edit_params, fresh_copy, git
from ruamel.yaml import YAML

import stages.train
from deblurgan.presets import flattened

STAGES = list(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"])


def stages_run(output: str) -> list[str]:
    return [name for name in STAGES if f"Running stage '{name}'" in output]


def test_all_stages_run_once(finished: Repo, tmp_path):
    assert stages_run(finished.first_output) == STAGES
    again = finished.copy(tmp_path / "again").dvc("repro")
    assert stages_run(again) == []
    assert "up to date" in again


def test_outputs_are_there_and_scores_consistent(finished: Repo):
    report = json.loads((finished.root / "metrics/evaluate/report.json").read_text())
    assert report["images"] == sum(part["images"] for part in report["datasets"].values()) == 3
    for part in (report, *report["datasets"].values()):
        assert part["psnr_gain"] == pytest.approx(part["psnr"] - part["input_psnr"], abs=1e-5)
        assert part["ssim_gain"] == pytest.approx(part["ssim"] - part["input_ssim"], abs=1e-5)
    assert set(report["baselines"]) == {"unsharp", "wiener", "richardson-lucy"}
    assert report["stretched_128"]["input_psnr"] > report["input_psnr"]  # small photos hide blur
    assert report["unpaired"]["photos"] == 2
    table = (finished.root / "metrics/evaluate/images.csv").read_text().splitlines()
    assert len(table) == 1 + report["images"]
    assert table[0].startswith("dataset,scene,frame,kind,psnr,ssim,ssim_3d,input_psnr")
    scenes = (finished.root / "metrics/evaluate/scenes.csv").read_text().splitlines()
    assert sum(int(row.split(",")[2]) for row in scenes[1:]) == report["images"]
    deblurred = sorted(p.name for p in (finished.root / "data/deblurred").iterdir())
    assert deblurred == sorted(p.name for p in (finished.root / "data/resized/unpaired").iterdir()) != []
    steps = (finished.root / "metrics/train/plots/metrics/val/loss.tsv").read_text().split()
    assert steps[0::2] == ["step", "2", "4"]


def test_no_photo_or_scene_is_in_two_splits(finished: Repo):
    resized = finished.root / "data/resized"
    scenes = [scene.name for split in ("train", "val", "test") for scene in (resized / split).glob("*/*")]
    assert len(scenes) == len(set(scenes)) == 14


@pytest.mark.long
def test_two_fresh_copies_give_the_same_lock(finished: Repo, tmp_path):
    other = fresh_copy(tmp_path / "another clone", tmp_path)
    other.dvc("repro")
    assert (other.root / "dvc.lock").read_text() == (finished.root / "dvc.lock").read_text()


def test_a_photo_more_to_deblur_trains_nothing(finished: Repo, tmp_path):
    repo = finished.copy(tmp_path / "repo")
    photos = repo.root / "data/resized/unpaired"
    shutil.copy(next(photos.iterdir()), photos / "more.png")
    status = json.loads(repo.dvc("status", "--json"))
    assert set(status) == {"resize", "evaluate", "deblur"}  # the first: because it is not what it made


def results(repo: Repo) -> dict[str, bytes]:
    """All that training and evaluation leave; how fast they were is no result."""
    found = contents(repo.root / "metrics") | contents(repo.root / "models")
    return {name: data for name, data in found.items() if name != "speed.json"}


def test_a_parameter_reruns_what_depends_on_it_and_put_back_comes_from_dvcs_cache(
    finished: Repo, heavier: Repo, tmp_path
):
    """So does an earlier commit, also where a user takes what git has back and lets `dvc repro` do the rest."""
    assert stages_run(heavier.first_output) == ["train", "export", "evaluate", "deblur"]
    repo, first, second = heavier.copy(tmp_path / "repo"), results(finished), results(heavier)
    assert second != first
    edit_params(repo.root, {"train": {"lambda_pixel": 100}})
    assert stages_run(repo.dvc("repro")) == []
    assert results(repo) == first
    repo.git("checkout", "-q", "--", ".")
    for revision, expected in (("HEAD~1", first), ("main", second)):
        repo.git("checkout", "-q", revision)
        assert stages_run(repo.dvc("repro")) == []
        assert results(repo) == expected
        assert repo.git("status", "--porcelain") == ""


def test_code_reruns_its_stage(finished: Repo, tmp_path):
    repo = finished.copy(tmp_path / "repo")
    for name in STAGES:
        with open(repo.root / f"stages/{name}.py", "a") as script:
            script.write("# changed\n")
    status = json.loads(repo.dvc("status", "--json"))
    changed = {stage: [why for why in found if "changed deps" in why] for stage, found in status.items()}
    assert changed == {name: [{"changed deps": {f"stages/{name}.py": "modified"}}] for name in STAGES}
    repo.git("checkout", "-q", "--", "stages")
    with open(repo.root / "stages/deblur.py", "a") as script:
        script.write("# changed\n")
    assert stages_run(repo.dvc("repro")) == ["deblur"]


def test_the_committed_lock_is_true():
    """The code and the parameters that the committed dvc.lock records are those that were committed with it."""
    yaml = YAML(typ="safe", pure=True)
    pipeline, lock = (yaml.load(committed(name))["stages"] for name in ("dvc.yaml", "dvc.lock"))
    values = dict(flattened(yaml.load(committed("params.yaml"))))
    assert list(lock) == list(pipeline)
    for name, stage in pipeline.items():
        recorded = {dep["path"]: dep["md5"] for dep in lock[name]["deps"]}
        assert sorted(recorded) == sorted(stage["deps"]), f"{name}: {AGAIN}"
        code = {path: md5 for path, md5 in recorded.items() if path.endswith(".py")}
        held = {path: hashlib.md5(git("show", f"HEAD:./{path}")).hexdigest() for path in code}
        assert code == held, f"{name}: {AGAIN}"
        for key, value in lock[name].get("params", {}).get("params.yaml", {}).items():
            for leaf, recorded_value in flattened({key: value}):
                assert values[leaf] == recorded_value, f"{name}, {leaf}: {AGAIN}"


AGAIN = "run `make repro` and commit dvc.lock and metrics/"


def train_until(repo: Repo, moment: int | None) -> None:
    """Run the pipeline and kill it with all its processes, once so many epochs are logged; None: as it starts."""
    curve = repo.root / "metrics/train/plots/metrics/val/loss.tsv"
    curve.unlink(missing_ok=True)  # an earlier run's
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=repo.root, env=repo.env, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    results = [repo.root / name for name in ("models/generator.keras", "metrics/train.json")]
    # not before the stage runs: until then DVC may be writing its own lock file, which a kill there leaves broken
    started = False
    while not started or len(lines_of(curve)) <= (moment or -1):
        assert process.poll() is None
        time.sleep(0.05)
        started = started or is_training(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not any(path.exists() for path in results)


def is_training(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):  # one of them has just ended
        return any("stages.train" in child.cmdline() for child in psutil.Process(pid).children(recursive=True))
    return False


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.long
def test_a_killed_training_goes_on_to_the_same_bytes(finished: Repo, tmp_path, monkeypatch, capsys):
    """Killed as it starts and at several moments; and what another training left is never taken for this one's."""
    repo = finished.copy(tmp_path / "repo")
    edit_params(repo.root, {"train": {"steps": 400, "validate_every": 2, "sample_at": [0, 0.01, 1]}})
    train_until(repo, 3)
    edit_params(repo.root, {"train": {"steps": 40}})
    repo.commit("A short training")
    undisturbed = repo.copy(tmp_path / "undisturbed")
    assert "going on" not in undisturbed.dvc("repro", "train")
    for moment in (None, 12):
        train_until(repo, moment)
    assert "going on after step" in repo.dvc("repro", "train")
    for name in ("dvc.lock", "models/generator.keras", "metrics/train.json"):
        assert (repo.root / name).read_bytes() == (undisturbed.root / name).read_bytes()
    repo.commit("Undisturbed")
    assert "up to date" in repo.dvc("status", "train")
    shutil.rmtree(repo.root / "metrics/train/plots")
    monkeypatch.chdir(repo.root)
    monkeypatch.setenv("DEBLURGAN_CACHE", repo.env["DEBLURGAN_CACHE"])
    stages.train.main()  # as after a kill when all but the results was written
    assert "going on after step 40 of 40" in capsys.readouterr().out
    assert repo.git("status", "--porcelain") == ""
    assert "up to date" in repo.dvc("status", "train")


def test_a_wrong_parameter_is_one_line(finished: Repo, tmp_path):
    repo = finished.copy(tmp_path / "repo")
    edit_params(repo.root, {"train": {"steps": "many"}})
    output = repo.run(sys.executable, "-m", "stages.clean", ok=False)
    assert output == "clean: error: params.yaml: train.steps = 'many': input should be a valid integer\n"
    assert (repo.root / "data/clean/manifest.csv").exists()
