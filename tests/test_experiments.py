"""Experiments, presets and comparisons."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import PARAMS, ROOT, Repo, contents, edit_params

from deblurgan import presets
from deblurgan.errors import UserError
from deblurgan.params import check
from deblurgan.training.revisions import find_model
from deblurgan.yaml_files import read_yaml

pytestmark = pytest.mark.xdist_group("experiments")  # what they share is made once


@pytest.fixture(scope="module")
def repo(heavier: Repo, tmp_path_factory) -> Repo:
    return heavier.copy(tmp_path_factory.mktemp("experiments") / "repo")


@pytest.fixture(scope="module")
def queued(repo: Repo) -> str:
    """A pair of experiments more, from the queue; what DVC says of them when they have ended."""
    repo.dvc("exp", "run", "--queue", "-n", "pair", "-S", "evaluate.panels=2,3")
    repo.dvc("queue", "start", "-j", "1")
    while "Queued" in (state := repo.dvc("queue", "status")) or "Running" in state:
        for _ in range(20):  # a look at the results is cheaper than DVC
            time.sleep(0.5)
            if repo.git("for-each-ref", "refs/exps").count("/pair-") == 2:
                break
    return state


@pytest.mark.long
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
    for title in ("Reconstruction loss", "Validation PSNR", "metrics_evaluate_panels_", "step_000004.png"):
        assert title in page


@pytest.mark.long
def test_a_table_of_experiments_fits_a_terminal(repo: Repo, queued: str):
    """Names, what was changed, and the few figures that people compare: in 120 columns."""
    table = repo.run("make", "-o", "install", "experiments").splitlines()
    assert max(map(len, table)) <= 120
    heads = next(line.split() for line in table if "Experiment" in line)
    figures = ["psnr", "psnr_gain", "ssim", "val_psnr"]
    assert sorted(heads) == sorted(["Experiment", *figures, "train.lambda_pixel", "evaluate.panels"])
    for name, *values in (("heavier", 50, 1), ("pair-1", 50, 2), ("pair-2", 50, 3)):
        assert any(f"[{name}]" in line and all(f" {value} " in line for value in values) for line in table), name


@pytest.mark.long
def test_a_training_starts_from_the_generator_of_a_revision(repo: Repo):
    """Though DVC deletes the one in the workspace before the stage runs; without steps it stays as it was."""
    twin = repo.copy(repo.root.parent / "tuned")
    before = (twin.root / "models/generator.keras").read_bytes()
    edit_params(twin.root, {"train": {"init_from": "HEAD", "steps": 0}})
    assert "Running stage 'train'" in twin.dvc("repro", "train")
    assert (twin.root / "models/generator.keras").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "'nowhere' is neither a file, nor a git revision, nor pretrained"),
        ("none.keras", "'none.keras': no such file"),
        (
            "models/generator.keras",
            "no such file; models/generator.keras is what this run makes: name the git revision",
        ),
    ],
)
def test_a_start_that_cannot_be_had_is_one_line(name, said, monkeypatch, tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        find_model(name, Path("models/generator.keras"))


@pytest.mark.long
def test_queued_pair_of_experiments(repo: Repo, queued: str):
    assert queued.count("Success") == 2, queued
    rows = json.loads(repo.dvc("exp", "show", "--json"))
    panels = {
        revision["data"]["params"]["params.yaml"]["data"]["evaluate"]["panels"]
        for row in rows
        for experiment in row["experiments"] or []
        for revision in experiment["revs"]
    }
    assert {2, 3} <= panels


@pytest.mark.parametrize("path", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda p: p.stem)
def test_presets_are_valid(path: Path):
    both = presets.merged(read_yaml(PARAMS), read_yaml(path))
    assert check(both, path.name).train.lambda_pixel + check(both, path.name).train.lambda_content > 0
    assert path.read_text().startswith("# ")  # what the list of presets shows


@pytest.mark.long
def test_a_preset_runs_as_an_experiment(repo: Repo):
    twin = repo.root / "presets/tiny.yaml"
    twin.write_text("# Tiny\nevaluate:\n  panels: 0\n")
    repo.run(sys.executable, "-m", "deblurgan", "preset", "tiny", "-n", "tiny")
    assert read_yaml(repo.root / "params.yaml")["evaluate"]["panels"] == 0
    assert "# The tests' own parameters" in (repo.root / "params.yaml").read_text()
    assert "tiny" in repo.dvc("exp", "list")
    listed = repo.run(sys.executable, "-m", "deblurgan", "preset")
    assert all(name in listed for name in ("seed", "paper", "tiny"))


def test_values_reach_dvc_as_they_are(tmp_path, monkeypatch):
    (tmp_path / "presets").mkdir()
    (tmp_path / "params.yaml").write_text(PARAMS.read_text())
    changes = "train:\n  learning_rate: 1e-05\n  vgg_weights: a b.h5\nsynthesize:\n  length: [1, 2]\n"
    (tmp_path / "presets/some.yaml").write_text(changes)
    monkeypatch.chdir(tmp_path)
    assert presets.options("some", []) == [
        "-S", "train.learning_rate=1e-05", "-S", 'train.vgg_weights="a b.h5"', "-S", "synthesize.length=[1, 2]"
    ]  # fmt: skip


def test_a_preset_that_is_wrong_says_so(tmp_path, monkeypatch):
    (tmp_path / "presets").mkdir()
    (tmp_path / "params.yaml").write_text(PARAMS.read_text())
    (tmp_path / "presets/bad.yaml").write_text("train:\n  stepz: 3\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"params\.yaml with presets.bad\.yaml: train\.stepz is unknown .*steps"):
        presets.options("bad", [])
    with pytest.raises(UserError, match=r"no preset 'none'.* there are bad"):
        presets.options("none", [])


@pytest.fixture
def paper(workspace, monkeypatch) -> list:
    """A place with a preset that needs what is not there; the commands that DVC would be given."""
    (workspace / "presets").mkdir()
    changes = "ingest_gopro: {source: GOPRO_Large}\ntrain: {lambda_content: 100, vgg_weights: vgg.h5}\n"
    (workspace / "presets/paper.yaml").write_text(changes)
    commands = []
    monkeypatch.setattr(subprocess, "call", lambda command: commands.append(command) or 0)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return commands


@pytest.mark.parametrize(
    ("there", "further", "said"),
    [
        ([], [], "ingest_gopro.source = 'GOPRO_Large': no such folder or zip; put the data there, or add -S"),
        (["GOPRO_Large"], [], "train.vgg_weights = 'vgg.h5': no such file or folder"),
        (["GOPRO_Large"], ["-S", "train.vgg_weights=other.h5"], "train.vgg_weights = 'other.h5': no such file"),
        (
            ["GOPRO_Large", "vgg.h5"],
            ["--temp"],
            "ingest_gopro.source = 'GOPRO_Large': with --queue and --temp",
        ),
        (
            ["GOPRO_Large", "vgg.h5"],
            ["--queue", "-S", "ingest_gopro.source=/tmp"],
            "train.vgg_weights = 'vgg.h5': with --queue and --temp add -S train.vgg_weights=/",
        ),
        (["GOPRO_Large", "vgg.h5"], ["-S", "fetch_unsplash.source=api"], "needs a key in the environment variable"),
        (
            ["GOPRO_Large", "vgg.h5"],
            ["-S", "fetch_unsplash.source=mine"],
            "fetch_unsplash.source = 'mine': no such file",
        ),
        (["GOPRO_Large", "vgg.h5"], ["-S", "train.stepz=1"], "params.yaml with presets/paper.yaml and -S: train.stepz"),
    ],
)
def test_a_preset_that_cannot_run_changes_nothing(paper, workspace, there, further, said):
    for name in there:
        (workspace / name).mkdir()
    before = contents(workspace)
    with pytest.raises(UserError, match=re.escape(said)):
        presets.main(["paper", *further])
    assert contents(workspace) == before
    assert not paper


@pytest.mark.parametrize(
    ("there", "further"),
    [
        (["GOPRO_Large", "vgg.h5"], []),
        (["elsewhere"], ["--set-param=ingest_gopro.source=elsewhere", "-S", "train.lambda_content=0"]),
        (["elsewhere"], ["-S", "params.yaml:ingest_gopro.source=elsewhere", "-S", "train.lambda_content=0"]),
        (["GOPRO_Large", "vgg.h5"], ["-S", "other.yaml:key=1", "-S", "fetch_unsplash.source=s3://photos/mine"]),
        ([], ["-S", "ingest_gopro.source=/tmp", "-S", "train.lambda_content=0", "--queue"]),
        ([], ["--queue", "-S", "ingest_gopro.source=one,other"]),  # the stages see to sweeps
    ],
)
def test_a_preset_is_checked_with_what_is_set_on_the_way(paper, workspace, there, further):
    for name in there:
        (workspace / name).mkdir()
    with pytest.raises(SystemExit):
        presets.main(["paper", *further])
    assert paper[0][-len(further) :] == further or not further


def test_a_preset_names_the_values_of_an_earlier_experiment_that_stay(paper, workspace, capsys, monkeypatch):
    for name in ("GOPRO_Large", "vgg.h5"):
        (workspace / name).mkdir()
    presets.options("paper", [])  # where there is no repository
    for command in (
        ("init", "-q"),
        ("add", "params.yaml"),
        ("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "A"),
    ):
        subprocess.run(["git", *command], check=True)
    presets.options("paper", [])
    assert capsys.readouterr().err == ""
    edit_params(workspace, {"train": {"lambda_frequency": 50, "steps": 8, "lambda_content": 7}})
    presets.options("paper", ["-S", "train.steps=6"])
    said = capsys.readouterr().err
    assert "stay: train.lambda_frequency = 50; without them: `git checkout HEAD params.yaml" in said
    (workspace / "other").mkdir()
    monkeypatch.chdir(workspace / "other")
    with pytest.raises(UserError, match="in the repository's folder"):
        presets.main([])


@pytest.mark.parametrize(("code", "changed"), [(0, True), (1, True), (1, False)])
def test_a_preset_that_fails_says_how_to_go_back(paper, monkeypatch, capsys, code, changed):
    def fails(command: list[str]) -> int:
        if changed:
            edit_params(Path(), {"train": {"steps": 8}})
        return code

    monkeypatch.setattr(subprocess, "call", fails)
    assert presets.run([]) == code
    assert ("git checkout HEAD params.yaml dvc.lock metrics" in capsys.readouterr().err) == bool(code and changed)
