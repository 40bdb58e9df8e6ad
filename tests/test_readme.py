"""The README says what the repository holds: scores, parameters, photographs, files."""

import json
import re

import pytest
from conftest import ROOT, committed
from ruamel.yaml import YAML

from deblurgan.preset import flattened
from deblurgan.sources import bundled

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def report() -> dict:
    return json.loads(committed("metrics/evaluate/report.json"))


def row(name: str, part: dict) -> str:
    """One line of the table of scores."""
    psnr_gain, ssim_gain = part["psnr"] - part["input_psnr"], part["ssim"] - part["input_ssim"]
    psnr = f"{part['input_psnr']:.2f} dB | {part['psnr']:.2f} dB | {psnr_gain:+.2f} dB"
    ssim = f"{part['input_ssim']:.3f} | {part['ssim']:.3f} | {ssim_gain:+.3f}"
    return f"| {name} | {part['images']} | {psnr} | {ssim} |"


def test_scores_are_the_committed_ones(report):
    before = {name: report[name] for name in ("images", "input_psnr", "input_ssim")}
    parts = {"all": report, **report["datasets"], **report["baselines"]}
    expected = [row(name, {**before, **part}) for name, part in parts.items()]
    table = committed("README.md").split("<!-- scores -->")[1].split("<!-- /scores -->")[0].strip().splitlines()
    assert table[2:] == expected, "\n".join(expected)


def test_the_default_run_is_above_its_input(report):
    assert report["psnr_gain"] > 0
    assert report["ssim_gain"] > 0


def test_parameters_are_the_defaults():
    table = committed("README.md").split("## Parameters")[1]
    listed = dict(re.findall(r"^\| `([\w.]+)` \| `(.+?)` \|", table, flags=re.MULTILINE))
    values = YAML(typ="safe").load(committed("params.yaml"))
    assert {key: YAML(typ="safe").load(text) for key, text in listed.items()} == dict(flattened(values))


def test_every_photograph_is_credited():
    section = README.split("## Photographs")[1].split("\n## ")[0]
    photos = {*bundled.SCENES.values(), *bundled.SHARP, *bundled.BLURRED}
    assert set(re.findall(r"`(\w+)`", section)) == {photo.id for photo in photos}


def test_files_that_are_named_exist():
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert links
    assert all((ROOT / link).exists() for link in links)
