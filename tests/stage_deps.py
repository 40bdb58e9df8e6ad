"""What code each stage of dvc.yaml runs. `make deps` writes it there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DVC_YAML = ROOT / "dvc.yaml"
PACKAGES = ("deblurgan", "stages")
CODE = re.compile(r"(?:      - (?:stages|deblurgan)/\S+\.py\n)+")
"""Lines of a stage's deps that name code."""


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


def ordered(name: str) -> list[str]:
    """Code that a stage runs: its own script, the other modules by name."""
    script = f"stages/{name}.py"
    return [script, *sorted(closure(f"stages.{name}") - {script})]


def written(text: str) -> str:
    """Fill the code deps of every stage of a dvc.yaml in."""
    head, *stages = re.split(r"^  (?=\w+:\n    desc: )", text, flags=re.MULTILINE)
    filled = []
    for stage in stages:
        lines = "".join(f"      - {path}\n" for path in ordered(stage.split(":")[0]))
        filled.append(CODE.sub(lambda _, lines=lines: lines, stage, count=1))
    return "  ".join([head, *filled])


if __name__ == "__main__":
    DVC_YAML.write_text(written(DVC_YAML.read_text()))
