"""Experiments, presets and comparisons."""

import json
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, Repo

from deblurgan import preset
from deblurgan.errors import UserError
from deblurgan.params import check, read_yaml


@pytest.fixture(scope="module")
def repo(finished: Repo, tmp_path_factory) -> Repo:
    """A finished copy with one experiment more, applied and committed."""
    repo = finished.copy(tmp_path_factory.mktemp("experiments") / "repo")
    repo.dvc("exp", "run", "-n", "heavier", "-S", "train.lambda_pixel=50")
    repo.commit("Heavier pixel loss")
    return repo


def test_comparisons_show_what_changed(repo: Repo):
    params = json.loads(repo.dvc("params", "diff", "HEAD~1", "--json"))
    assert params["params.yaml"]["train.lambda_pixel"] == {"old": 100, "new": 50, "diff": -50}
    metrics = json.loads(repo.dvc("metrics", "diff", "HEAD~1", "--json"))
    train = metrics["diff"]["metrics/train.json"] if "diff" in metrics else metrics["metrics/train.json"]
    assert train["loss"]["new"] < train["loss"]["old"]
    shown = json.loads(repo.dvc("metrics", "show", "--json"))
    assert shown["" if "" in shown else "workspace"]["data"]["metrics/evaluate.json"]["data"]["images"] == 3
    repo.dvc("plots", "diff", "HEAD~1", "-o", "dvc_plots")
    page = (repo.root / "dvc_plots/index.html").read_text()
    for title in ("Content loss", "Validation PSNR", "01.png", "step_000004.png"):
        assert title in page


def test_queued_pair_of_experiments(repo: Repo):
    repo.dvc("exp", "run", "--queue", "-S", "evaluate.panels=2,3")
    repo.dvc("queue", "start", "-j", "1")
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and ("Queued" in (state := repo.dvc("queue", "status")) or "Running" in state):
        time.sleep(1)
    assert state.count("Success") == 2, state
    rows = json.loads(repo.dvc("exp", "show", "--json"))
    panels = {
        revision["data"]["params"]["params.yaml"]["data"]["evaluate"]["panels"]
        for row in rows
        for experiment in row["experiments"] or []
        for revision in experiment["revs"]
    }
    assert {2, 3} <= panels


@pytest.mark.parametrize("path", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda p: p.stem)
def test_presets_are_valid_and_differ(path: Path):
    base, changes = read_yaml(ROOT / "params.yaml"), read_yaml(path)
    both = preset.merged(base, changes)
    check(both, path.name)
    leaves, before = dict(preset.flattened(changes)), dict(preset.flattened(base))
    assert leaves
    same = [key for key, value in leaves.items() if before[key] == value and key != "critic.filters"]
    assert not same, f"{path} repeats params.yaml: {same}"


def test_a_preset_runs_as_an_experiment(repo: Repo):
    twin = repo.root / "presets/tiny.yaml"
    twin.write_text("# Tiny\nevaluate:\n  panels: 0\ntrain:\n  learning_rate: 1e-05\n")
    try:
        output = repo.run(sys.executable, "-m", "deblurgan.preset", "tiny", "--dry", "-n", "tiny")
        assert "train" in output
        assert read_yaml(repo.root / "params.yaml")["train"]["learning_rate"] == 1e-05
        listed = repo.run(sys.executable, "-m", "deblurgan.preset")
        assert all(name in listed for name in ("seed", "paper", "tiny"))
    finally:
        twin.unlink()
        repo.git("checkout", "-q", "--", ".")


def test_a_preset_that_is_wrong_says_so(tmp_path, monkeypatch):
    (tmp_path / "presets").mkdir()
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "presets/bad.yaml").write_text("train:\n  stepz: 3\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"params\.yaml with presets.bad\.yaml: train\.stepz is unknown .*steps"):
        preset.options("bad")
    with pytest.raises(UserError, match=r"no preset 'none'.* there are bad"):
        preset.options("none")
