"""The same training on TensorFlow and on JAX, in float32 and less, in one go and in several."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from backends import CLIP
from conftest import LONG, PARAMS, ROOT, TINY, edit_params

from deblurgan import backend as chosen  # noqa: F401  before anything that imports Keras

# isort: split

from deblurgan.evaluation.metrics import psnr
from deblurgan.images import read_rgb, write_png
from deblurgan.networks.model_files import load_generator
from deblurgan.restoration.neural import deblur

pytestmark = pytest.mark.xdist_group("backends")  # what they share is made once

BACKENDS = ("tensorflow", "jax")
QUICK = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
"""Compiling takes longer than the steps."""
ONE_DEVICE = {
    "tensorflow": ("plain", "winograd", "whole", "parts", "mixed_bfloat16", "mixed_float16"),
    "jax": ("plain", "winograd", "whole", "parts", "mixed_float16"),
}
"""What is trained there."""

Results = dict[str, dict[str, np.ndarray]]
"""Of trainings, by their names."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Path:
    """Where JAX keeps what it has compiled."""
    return tmp_path_factory.mktemp("compiled")


def start(folder: Path, compiled: Path, backend: str, devices: int, *names: str, **hosts: str) -> subprocess.Popen:
    """Begin trainings; `hosts`: environment variables of a host among several."""
    folder.mkdir()
    flags = f"{QUICK['XLA_FLAGS']} --xla_force_host_platform_device_count={1 if hosts else devices}"
    own = {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": str(compiled)}
    command = [sys.executable, str(ROOT / "tests/backends.py"), str(folder), str(devices), *names]
    env = {**os.environ, **QUICK, **own, "XLA_FLAGS": flags, **hosts}
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def results(folder: Path, *names: str) -> Results:
    return {name: dict(np.load(folder / f"{name}.npz")) for name in names}


def trained(folder: Path, compiled: Path, backend: str, devices: int, *names: str) -> Results:
    process = start(folder, compiled, backend, devices, *names)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return results(folder, *names)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory, compiled) -> dict[str, Results]:
    folder, found = tmp_path_factory.mktemp("one device"), {}
    for backend, names in ONE_DEVICE.items():
        asked = names if os.environ[LONG] == "1" else ("plain",)
        found[backend] = trained(folder / backend, compiled, backend, 1, *asked)
    return found


def hosts_together() -> dict[str, str]:
    """Environment variables of two hosts, but for which of them one is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory, compiled) -> list[dict[str, np.ndarray]]:
    """What two processes on JAX end with, each with a device of its own."""
    folder, name, together = tmp_path_factory.mktemp("two hosts"), "plain in two runs", hosts_together()
    processes = [
        start(folder / f"{host}", compiled, "jax", 2, name, **together, KERAS_DISTRIBUTION_PROCESS_ID=f"{host}")
        for host in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return [results(folder / f"{host}", name)[name] for host in range(2)]


def assert_same_steps(one: dict, other: dict) -> None:
    assert set(one) == set(other)
    for name in set(one) - {"restored"}:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(one["restored"].astype(int), other["restored"], atol=1)


def test_both_backends_make_the_same_steps(one_device):
    """Of two critic updates each, from the same weights, batches and factors; gradients are clipped."""
    one, other = (one_device[backend]["plain"] for backend in BACKENDS)
    assert set(one) == set(other)
    assert {"log d_penalty", "log d_norm", "log g_norm", "log g_adversarial", "log val_psnr"} < set(one)
    assert min(one["log d_norm"], one["log g_norm"]) > 1.2 * CLIP
    for name in set(one) - {"restored"}:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-3, atol=5e-4, err_msg=name)
    np.testing.assert_allclose(one["restored"].astype(int), other["restored"], atol=1)


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
def test_convolutions_by_winograds_algorithm_make_the_same_steps(one_device, backend):
    """The generator's residual block and the critic's last convolution but one, through both derivatives."""
    plain, fast = (one_device[backend][name] for name in ("plain", "winograd"))
    assert_same_steps(plain, fast)
    assert any((plain[name] != fast[name]).any() for name in plain), "nothing was computed in another way"


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_devices_make_the_steps_of_one(tmp_path, one_device, compiled, backend):
    """Each has half of every batch."""
    two = trained(tmp_path / "two", compiled, backend, 2, "plain")
    assert_same_steps(one_device[backend]["plain"], two["plain"])


@pytest.mark.long
def test_two_hosts_make_the_steps_of_one(two_hosts, one_device):
    """Two processes on JAX, each with half of every batch; they go on from a checkpoint of the first one."""
    one = one_device["jax"]["plain"]
    for host in two_hosts:
        assert (one["first"], host["first"]) == (0, 1)
        assert_same_steps({**one, "first": 1}, host)


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_in_two_runs_ends_with_the_same_bits(one_device, backend):
    """Networks, their average, optimizers, dropout and logs; also where nothing is left to do."""
    whole, parts = (one_device[backend][name] for name in ("whole", "parts"))
    assert (whole["first"], parts["first"]) == (0, 1)
    for name in set(whole) - {"first"}:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)


@pytest.mark.long
@pytest.mark.parametrize(
    ("backend", "precision"),
    [("tensorflow", "mixed_bfloat16"), ("tensorflow", "mixed_float16"), ("jax", "mixed_float16")],
)
def test_lower_precision_is_close(one_device, backend, precision):
    full, low = (one_device[backend][name] for name in ("plain", precision))
    for name in ("loss", "d_wasserstein", "d_penalty", "g_adversarial"):
        np.testing.assert_allclose(
            low[f"log {name}"], full[f"log {name}"], rtol=0.1, atol=0.01, err_msg=name
        )  # a scale for float16 is found first


def stage_on_two_hosts(root: Path, recipe: dict) -> list[tuple[int, str]]:
    """Run `train` on two small pairs on two hosts; their exit codes, and what they said."""
    for split in ("train", "val"):
        for half, brightness in (("blur", 1), ("sharp", 2)):
            image = np.random.default_rng(brightness).integers(0, 120, (40, 48, 3), dtype=np.uint8) * brightness
            write_png(root / f"data/resized/{split}/gopro/s/{half}/1.png", image)
    shutil.copy(PARAMS, root / "params.yaml")
    recipe = {**TINY["train"], "lambda_adversarial": 0.0, "init_from": None, **recipe}
    edit_params(root, {"generator": TINY["generator"], "train": recipe})
    env = {**os.environ, **QUICK, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), **hosts_together()}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "stages.train"],
            cwd=root,
            env={**env, "KERAS_DISTRIBUTION_PROCESS_ID": f"{host}", "DEBLURGAN_CACHE": str(root / f"cache{host}")},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for host in range(2)
    ]
    said = ["".join(process.communicate()) for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


@pytest.mark.long
def test_the_stage_ends_on_two_hosts_and_the_first_writes_the_best_generator(tmp_path):
    """Hosts set a generator's weights together, or wait for each other for ever."""
    ended = stage_on_two_hosts(tmp_path, {"keep": "best"})
    assert [code for code, _ in ended] == [0, 0], "\n".join(text for _, text in ended)
    validated = (tmp_path / "metrics/train/plots/metrics/val/psnr.tsv").read_text().splitlines()[1:]
    best = max(float(line.split("\t")[1]) for line in validated)
    assert json.loads((tmp_path / "metrics/train.json").read_text())["val_psnr"] == pytest.approx(best, abs=1e-4)
    blur, sharp = (read_rgb(tmp_path / f"data/resized/val/gopro/s/{half}/1.png") for half in ("blur", "sharp"))
    crop = slice(4, 36), slice(8, 40)  # the middle
    restored = deblur(load_generator(tmp_path / "models/generator.keras"), blur[crop])
    assert psnr(restored, sharp[crop]) == pytest.approx(best, abs=0.2)  # on the other backend, and rounded


@pytest.mark.long
def test_where_one_host_stops_the_other_stops_too_and_says_so(tmp_path):
    """The first alone sees that a training diverges; neither waits for what the other will never compute."""
    changes = {"lambda_pixel": 1e38, "learning_rate": 0.9}
    (first, reason), (second, consequence) = stage_on_two_hosts(tmp_path, changes)
    assert first == 1
    assert "train: error: training diverged" in reason
    assert second != 0
    ours, jaxs = "train: error: host 1 of 2 cannot go on", "another task died"  # whichever notices first
    assert ours in consequence or jaxs in consequence, consequence
    assert "Traceback" not in reason + consequence
