"""The deps of each stage name every module of this repository that its command imports, directly or not."""

import ast
import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from conftest import PARAMS, ROOT
from ruamel.yaml import YAML
from stage_deps import DVC_YAML, closure, written

from deblurgan.errors import UserError
from deblurgan.params import Params, Synthesize, load
from deblurgan.training.batches import CropSequence
from deblurgan.training.frames import Frame, Images

STAGES = YAML(typ="safe").load(DVC_YAML)["stages"]


def data_of(stage: dict) -> list[str]:
    """What a stage reads that is neither code nor comes with the repository."""
    return [dep for dep in stage["deps"] if dep.startswith(("data/", "models/"))]


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_the_import_closure(name: str):
    words = STAGES[name]["cmd"].split()
    needed = closure(words[words.index("-m") + 1])
    code = {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")}
    assert code == needed, "run `make deps`"


@pytest.mark.parametrize("name", STAGES)
def test_params_are_those_the_script_reads(name: str):
    """`p.<section>` in the script and the library below it, `p` being all parameters, against the stage's params."""
    trees = [ast.parse((ROOT / path).read_text()) for path in closure(f"stages.{name}")]
    read = {
        node.attr
        for node in itertools.chain.from_iterable(map(ast.walk, trees))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "p"
    } & set(Params.model_fields)
    assert read == {key.partition(".")[0] for key in STAGES[name].get("params", [])}


def test_the_keys_of_a_section_are_those_that_are_read(monkeypatch):
    """A stage that names single keys of a section reads no other one."""
    named = [key.partition(".")[2] for key in STAGES["train"]["params"] if key.startswith("synthesize.")]
    settings = load(PARAMS)
    read = set()

    class Watched(Synthesize):
        def __getattribute__(self, name: str):
            if name in Synthesize.model_fields:
                read.add(name)
            return super().__getattribute__(name)

    watched = Watched(**settings.synthesize.model_dump())
    sharp = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    crops = CropSequence([Images(Frame(sharp), photo=True)], settings.train, 1, watched)
    read.clear()  # validation reads all
    crops[0]
    assert sorted(read) == sorted(named)


def test_descriptions_fit_a_terminal():
    """Of 80 columns, beside the names, as `dvc stage list` shows them."""
    room = 80 - max(map(len, STAGES)) - 2
    assert all(0 < len(stage["desc"]) <= room for stage in STAGES.values())


def test_results_of_stages_are_served_from_dvcs_cache():
    """DVC takes no run of a stage from its cache where a plain out, no metric and no plot, is kept by git instead."""
    outs = [out for stage in STAGES.values() for out in stage.get("outs", [])]
    assert not [out for out in outs if isinstance(out, dict) and not next(iter(out.values())).get("cache", True)]


@pytest.fixture
def inputs(workspace) -> None:
    """All that stages read, but empty."""
    paths = {Path(dep) for stage in STAGES.values() for dep in data_of(stage)}
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir()


@pytest.mark.parametrize("name", [name for name, stage in STAGES.items() if data_of(stage)])
def test_a_missing_input_is_an_error_and_replaces_nothing(workspace, inputs, name):
    """Each in turn, though all others are there."""
    stage = importlib.import_module(f"stages.{name}")
    outs = [Path(next(iter(out)) if isinstance(out, dict) else out) for out in STAGES[name]["outs"]]
    for out in outs:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.touch() if out.suffix else (out / "an earlier result").mkdir(parents=True, exist_ok=True)
    before = sorted(workspace.rglob("*"))
    for dep in map(Path, data_of(STAGES[name])):
        hidden = dep.rename(workspace / "hidden")
        with pytest.raises(UserError, match=f"^{dep} is missing: make it with `dvc repro`, or fetch it with"):
            stage.main()
        hidden.rename(dep)
        assert sorted(workspace.rglob("*")) == before


def test_make_deps_changes_nothing_that_is_right_and_mends_what_is_not():
    text = DVC_YAML.read_text()
    assert written(text) == text
    assert written(text.replace("      - deblurgan/errors.py\n", "")) == text
