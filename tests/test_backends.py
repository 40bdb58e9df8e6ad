"""The same training on TensorFlow and on JAX, in float32 and less, in one go and in several."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

BACKENDS = ("tensorflow", "jax")


QUICK = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
"""Compiling takes longer than the steps."""


def trained(path, backend: str, *arguments: str) -> dict[str, np.ndarray]:
    env = {**os.environ, **QUICK, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests/backends.py"), str(path), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("float32")
    return {backend: trained(folder / f"{backend}.npz", backend, "float32", "1") for backend in BACKENDS}


def test_both_backends_make_the_same_steps(two_steps):
    """Two steps of two critic updates each, from the same weights, batches and interpolation factors."""
    one, other = two_steps.values()
    assert set(one) == set(other)
    assert {"log d_penalty", "log d_norm", "log g_norm", "log g_adversarial", "log val_psnr"} < set(one)
    for name in set(one) - {"restored"}:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-3, atol=5e-4, err_msg=name)
    np.testing.assert_allclose(one["restored"].astype(int), other["restored"], atol=1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_in_two_runs_ends_with_the_same_bits(tmp_path, backend):
    """Networks, their average, optimizers, dropout and logs; also where nothing is left to do."""
    whole = trained(tmp_path / "whole.npz", backend, "float32", "3")
    parts = trained(tmp_path / "parts.npz", backend, "float32", "1", "3")
    assert set(whole) == set(parts)
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)


@pytest.mark.parametrize(
    ("backend", "precision"),
    [("tensorflow", "mixed_bfloat16"), ("tensorflow", "mixed_float16"), ("jax", "mixed_float16")],
)
def test_lower_precision_is_close(tmp_path, two_steps, backend, precision):
    full = two_steps[backend]
    low = trained(tmp_path / "low.npz", backend, precision, "1")
    for name in ("loss", "d_wasserstein", "d_penalty", "g_adversarial"):
        np.testing.assert_allclose(
            low[f"log {name}"], full[f"log {name}"], rtol=0.1, atol=0.01, err_msg=name
        )  # a scale for float16 is found first
