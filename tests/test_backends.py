"""The same training on TensorFlow and on JAX, in float32 and less, in one go and in several."""

import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from backends import CLIP
from conftest import ROOT

pytestmark = pytest.mark.xdist_group("backends")  # what they share is made once

BACKENDS = ("tensorflow", "jax")


QUICK = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
"""Compiling takes longer than the steps."""


def command_of(path, backend: str, precision: str, dropout: str, *epochs: str, devices: int = 1) -> dict:
    env = {**os.environ, **QUICK, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    env["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={devices}"
    arguments = [str(path), precision, str(devices), dropout, *epochs]
    return {"args": [sys.executable, str(ROOT / "tests/backends.py"), *arguments], "env": env, "text": True}


def trained(path, backend: str, *settings: str, devices: int = 1) -> dict[str, np.ndarray]:
    command = command_of(path, backend, *settings, devices=devices)
    done = subprocess.run(**command, capture_output=True)
    assert done.returncode == 0, done.stderr
    return results(path)


def results(path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def assert_same_steps(one: dict, other: dict) -> None:
    assert set(one) == set(other)
    for name in set(one) - {"restored"}:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(one["restored"].astype(int), other["restored"], atol=1)


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("float32")
    return {backend: trained(folder / f"{backend}.npz", backend, "float32", "0", "1") for backend in BACKENDS}


def test_both_backends_make_the_same_steps(two_steps):
    """Two steps of two critic updates each, from the same weights, batches and factors; gradients are clipped."""
    one, other = two_steps.values()
    assert set(one) == set(other)
    assert {"log d_penalty", "log d_norm", "log g_norm", "log g_adversarial", "log val_psnr"} < set(one)
    assert min(one["log d_norm"], one["log g_norm"]) > 1.2 * CLIP
    for name in set(one) - {"restored"}:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-3, atol=5e-4, err_msg=name)
    np.testing.assert_allclose(one["restored"].astype(int), other["restored"], atol=1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_convolutions_by_winograds_algorithm_make_the_same_steps(tmp_path, two_steps, backend, monkeypatch):
    """The generator's residual block and the critic's last convolution but one, through both derivatives."""
    monkeypatch.setenv("WINOGRAD_CHANNELS", "4")
    fast, plain = trained(tmp_path / "fast.npz", backend, "float32", "0", "1"), two_steps[backend]
    assert_same_steps(plain, fast)
    assert any((plain[name] != fast[name]).any() for name in plain), "nothing was computed in another way"


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_devices_make_the_steps_of_one(tmp_path, two_steps, backend):
    """Each has half of every batch."""
    assert_same_steps(two_steps[backend], trained(tmp_path / "two.npz", backend, "float32", "0", "1", devices=2))


def on_two_hosts(folder, *settings: str) -> list[dict[str, np.ndarray]]:
    """What two processes on JAX end with, each with a device of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = []
    for host in range(2):
        command = command_of(folder / f"{host}.npz", "jax", "float32", *settings)
        command["args"][4] = "2"  # devices of both
        command["env"] |= {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
            "KERAS_DISTRIBUTION_PROCESS_ID": str(host),
        }
        processes.append(subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return [results(folder / f"{host}.npz") for host in range(2)]


def test_two_hosts_make_the_steps_of_one(tmp_path, two_steps):
    """Two processes on JAX, each with half of every batch."""
    for host in on_two_hosts(tmp_path, "0", "1"):
        assert_same_steps(two_steps["jax"], host)


@pytest.fixture(scope="module")
def in_two_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    return {backend: trained(folder / f"{backend}.npz", backend, "float32", "0.5", "1", "3") for backend in BACKENDS}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_in_two_runs_ends_with_the_same_bits(tmp_path, in_two_runs, backend):
    """Networks, their average, optimizers, dropout and logs; also where nothing is left to do."""
    whole, parts = trained(tmp_path / "whole.npz", backend, "float32", "0.5", "3"), in_two_runs[backend]
    assert (whole.pop("first"), parts["first"]) == (0, 1)
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)


def test_two_hosts_go_on_from_what_the_first_one_has_kept(tmp_path, in_two_runs):
    """The checkpoint is on the first one alone."""
    one = in_two_runs["jax"]
    on_two_hosts(tmp_path, "0.5", "1")
    shutil.rmtree(tmp_path / "1.kept")
    for host in on_two_hosts(tmp_path, "0.5", "3"):
        assert host["first"] == 1
        for name in set(one) - {"restored"}:
            np.testing.assert_allclose(host[name], one[name], rtol=1e-2, atol=5e-3, err_msg=name)
        np.testing.assert_allclose(host["restored"].astype(int), one["restored"], atol=2)


@pytest.mark.parametrize(
    ("backend", "precision"),
    [("tensorflow", "mixed_bfloat16"), ("tensorflow", "mixed_float16"), ("jax", "mixed_float16")],
)
def test_lower_precision_is_close(tmp_path, two_steps, backend, precision):
    full = two_steps[backend]
    low = trained(tmp_path / "low.npz", backend, precision, "0", "1")
    for name in ("loss", "d_wasserstein", "d_penalty", "g_adversarial"):
        np.testing.assert_allclose(
            low[f"log {name}"], full[f"log {name}"], rtol=0.1, atol=0.01, err_msg=name
        )  # a scale for float16 is found first
