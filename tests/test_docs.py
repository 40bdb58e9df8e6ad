"""README and docs say what the repository holds: scores, files, commands, parameters, photographs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, committed
from ruamel.yaml import YAML

from deblurgan.__main__ import COMMANDS
from deblurgan.presets import flattened
from deblurgan.sources import bundled

DOCS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "pretrained/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
MOST_LINES = 150
FILES = (".md", ".py", ".keras", ".onnx", ".tflite")
"""Ends of names that look like parameters and are files."""
SHOWN = ("richardson-lucy", "blind")
"""The older algorithms of the front page; `python -m deblurgan scores` prints all."""


@pytest.fixture
def report() -> dict:
    return json.loads(committed("metrics/evaluate/report.json"))


def row(name: str, part: dict) -> str:
    """One line of the table of scores."""
    psnr_gain, ssim_gain = part["psnr"] - part["input_psnr"], part["ssim"] - part["input_ssim"]
    psnr = f"{part['input_psnr']:.2f} dB | {part['psnr']:.2f} dB | {psnr_gain:+.2f} dB"
    ssim = f"{part['input_ssim']:.3f} | {part['ssim']:.3f} | {ssim_gain:+.3f}"
    return f"| {name} | {psnr} | {ssim} |"


def test_scores_are_the_committed_ones(report):
    expected = []
    for name, part in {"all": report, **report["datasets"]}.items():
        expected.append(row(f"**{name}**, {part['images']} images", part))
        before = {key: part[key] for key in ("input_psnr", "input_ssim")}
        for other, scores in part["baselines"].items():
            if other in SHOWN:
                count = f", {scores['images']} images" if "images" in scores else ""
                expected.append(row(other + count, {**before, **scores}))
    table = committed("README.md").split("<!-- scores -->")[1].split("<!-- /scores -->")[0].strip().splitlines()
    assert table[2:] == expected, "\n".join(expected)


def test_the_default_run_is_above_its_input(report):
    assert report["psnr_gain"] > 0
    assert report["ssim_gain"] > 0


def test_the_front_page_is_short():
    assert len(DOCS[0].read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_every_photograph_is_credited():
    page = (ROOT / "docs/photographs.md").read_text(encoding="utf-8")
    photos = {*bundled.SCENES.values(), *bundled.SHARP, *bundled.BLURRED}
    assert set(re.findall(r"`(\w+)`", page)) == {photo.id for photo in photos}


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!http)([^)]+)\)", text):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, link


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_files_commands_and_parameters_that_are_named_exist(page: Path):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:deblurgan|stages|tests|benchmarks|docs|presets|deploy)/[\w./-]*\.\w+)`", text):
        assert (ROOT / name).exists(), name
    for module in re.findall(r"python -m ((?:stages|benchmarks)\.\w+)", text):
        code = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        assert 'if __name__ == "__main__":' in code, f"{module} does nothing"
    for command in re.findall(r"python -m deblurgan (\w+)", text):
        assert command in COMMANDS, command
    code = "\n".join([*re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL), *re.findall(r"`([^`\n]+)`", text)])
    for target in re.findall(r"^make ([a-z][a-z0-9-]*)", code, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), target
    params = YAML(typ="safe").load(committed("params.yaml"))
    known = dict(flattened(params))
    sections = "|".join(name for name, values in params.items() if isinstance(values, dict))
    for key in re.findall(rf"(?<![\w./-])((?:{sections})\.[a-z_0-9.]*[a-z_0-9])(?![\w.*/])", text):
        assert key in known or any(name.startswith(f"{key}.") for name in known) or key.endswith(FILES), key


def test_the_front_door_lists_its_commands_and_each_explains_itself():
    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "deblurgan", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    listed = said()
    assert all(re.search(rf"^  {name} ", listed, flags=re.MULTILINE) for name in COMMANDS)
    for name in COMMANDS:
        assert f"python -m deblurgan {name}" in said(name, "--help")


@pytest.mark.parametrize("module", [["stages.clean"], ["deblurgan", "deblur", "a.png", "--output", "out"]])
def test_a_python_without_the_packages_says_which_to_use(module):
    env = {**os.environ, "DVC_STAGE": "clean"}
    command = [sys.executable, "-S", "-m", *module]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: \S+ has no package \w+: activate the environment first, .*\n", done.stderr)


def test_an_unknown_command_is_one_error_and_the_list():
    command = [sys.executable, "-m", "deblurgan", "debluer"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("deblurgan: error: no command 'debluer'\n")


def test_every_parameter_is_explained():
    """By a sentence above it, or above one that it shares the sentence with."""
    explained = False
    for line in committed("params.yaml").splitlines():
        if not line.strip() or re.fullmatch(r"\w+:|  bundled:", line):
            explained = False
        elif line.strip().startswith("#"):
            explained = True
        else:
            assert explained, line


@pytest.mark.parametrize("arguments", ["scores", "--help"])
def test_a_reader_that_has_seen_enough_is_no_error(arguments):
    command = f"{sys.executable} -u -m deblurgan {arguments} | true"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
