"""The deps of each stage name every module of this repository that its command imports, directly or not."""

import ast

import pytest
from conftest import ROOT
from ruamel.yaml import YAML
from stage_deps import DVC_YAML, closure, written

STAGES = YAML(typ="safe").load(DVC_YAML)["stages"]


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_the_import_closure(name: str):
    words = STAGES[name]["cmd"].split()
    needed = closure(words[words.index("-m") + 1])
    code = {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")}
    assert code == needed, "run `make deps`"


@pytest.mark.parametrize("name", STAGES)
def test_params_are_those_the_script_reads(name: str):
    """`p.<section>` in the script, `p` being the loaded parameters, against the stage's params."""
    tree = ast.parse((ROOT / "stages" / f"{name}.py").read_text())
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "p"
    }
    assert read == {key.partition(".")[0] for key in STAGES[name].get("params", [])}


def test_every_stage_is_described():
    assert all(stage.get("desc") for stage in STAGES.values())


def test_make_deps_changes_nothing_that_is_right_and_mends_what_is_not():
    text = DVC_YAML.read_text()
    assert written(text) == text
    assert written(text.replace("      - deblurgan/errors.py\n", "")) == text
