"""The examples in docstrings do what they show."""

import doctest
import importlib
import shutil

import pytest
from conftest import PARAMS, ROOT

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "deblurgan").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", MODULES)
def test_examples(module, monkeypatch, tmp_path):
    shutil.copy(PARAMS, tmp_path)  # some read params.yaml
    monkeypatch.chdir(tmp_path)
    examples = doctest.testmod(importlib.import_module(module))
    assert examples.attempted
    assert not examples.failed
