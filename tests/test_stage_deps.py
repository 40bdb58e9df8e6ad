"""The deps of each stage name every module of this repository that its command imports, directly or not."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
PACKAGES = ("deblurgan", "stages")


def source(module: str) -> Path | None:
    """The file of a dotted name of this repository; None for an attribute and for other people's modules."""
    stem = ROOT.joinpath(*module.split("."))
    return next((file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()), None)


def imported(module: str) -> Iterator[str]:
    """Dotted names that a module imports anywhere in its body, and the packages that it lies in."""
    file = source(module)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    parts = module.split(".")
    yield from (".".join(parts[:n]) for n in range(1, len(parts)))
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def closure(module: str) -> set[str]:
    """Paths of all files of this repository that importing a module runs, empty ones left out."""
    seen, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in seen and name.split(".")[0] in PACKAGES and source(name):
            seen.add(name)
            todo += imported(name)
    files = {source(name) for name in seen}
    return {file.relative_to(ROOT).as_posix() for file in files if file.read_text().strip()}


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_the_import_closure(name: str):
    words = STAGES[name]["cmd"].split()
    needed = closure(words[words.index("-m") + 1])
    code = {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")}
    assert code == needed


@pytest.mark.parametrize("name", STAGES)
def test_params_are_those_the_script_reads(name: str):
    """`p.<section>` in the script, `p` being the loaded parameters, against the stage's params."""
    tree = ast.parse((ROOT / "stages" / f"{name}.py").read_text())
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "p"
    }
    assert read == set(STAGES[name].get("params", []))


def test_every_stage_is_described():
    assert all(stage.get("desc") for stage in STAGES.values())
