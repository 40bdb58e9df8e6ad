"""deploy/Dockerfile, as far as it can be read without building it."""

import re
import shutil
import subprocess

from conftest import ROOT

from deblurgan.restoration.options import read_options

STEPS = (ROOT / "deploy/Dockerfile").read_text().replace("\\\n", "")


def test_what_is_copied_is_there_and_not_ignored():
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", STEPS, flags=re.MULTILINE)
    copied = {name for names in copies for name in names.split()}
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)


def test_the_example_of_photos_is_a_command_that_runs():
    (arguments,) = re.findall(r"^#   docker run .* deblurgan deblur (.+)$", STEPS, flags=re.MULTILINE)
    options = read_options(arguments.split())
    (mounted,) = options.inputs
    assert options.output.is_relative_to(mounted)  # what lies elsewhere is gone with the container


def test_tensorflow_has_the_version_that_is_pinned(tmp_path):
    """The steps that tell its version, and leave it to the chosen build, run as they are."""
    for name in ("requirements.txt", "requirements-app.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (steps,) = (line for line in STEPS.splitlines() if line.startswith("RUN python -m venv"))
    sed = " && ".join(step for step in steps.split("&&") if "sed " in step)
    said = subprocess.run(["sh", "-c", f'{sed} && echo "$version"'], cwd=tmp_path, capture_output=True, text=True)
    (pinned,) = re.findall(r"^tensorflow==([\d.]+)", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
    assert said.stdout == f"{pinned}\n"
    left = (tmp_path / "requirements.txt").read_text() + (tmp_path / "requirements-app.txt").read_text()
    assert "tensorflow==" not in left
    assert "\nkeras==" in left
