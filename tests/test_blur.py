"""Trajectories, kernels, convolution and the simulated camera."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from deblurgan.blur.camera import average_frames, camera_path, film, fold, smooth_noise
from deblurgan.blur.trajectory import blur_image, kernel_from_path, random_blur, random_trajectory
from deblurgan.images import GAMMA

seeds = st.integers(0, 2**32 - 1)
SHAKES = (0.003, 0.01)


def photo(height=40, width=50, seed=0):
    noise = np.random.default_rng(seed).random((height, width, 3))
    return np.rint(ndimage.gaussian_filter(noise, (2, 2, 0)) * 255).astype(np.uint8)


def centroid(kernel):
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    return kernel.sum(axis=1) @ offsets, kernel.sum(axis=0) @ offsets


@settings(max_examples=20)
@given(seeds, st.floats(1, 80), st.sampled_from(SHAKES))
def test_a_trajectory_has_exactly_its_length(seed, length, shake):
    path = random_trajectory(np.random.default_rng(seed), length, shake)
    assert path[0] == 0
    np.testing.assert_allclose(np.abs(np.diff(path)), length / (len(path) - 1))


@settings(max_examples=20)
@given(seeds, st.floats(1, 60), st.sampled_from(SHAKES), st.sampled_from([0.1, 0.5, 1]))
def test_a_kernel_sums_to_one_and_is_centred(seed, length, shake, exposure):
    path = random_trajectory(np.random.default_rng(seed), length, shake)
    kernel = kernel_from_path(path[: int(exposure * len(path))])
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert (kernel >= 0).all()
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(centroid(kernel), 0, atol=1e-9)


def test_the_kernel_of_a_straight_line_is_known():
    kernel = kernel_from_path(np.linspace(-3, 3, 6001) + 0j)
    assert kernel.shape == (7, 7)
    np.testing.assert_allclose(kernel[3], [1 / 12, *[1 / 6] * 5, 1 / 12], atol=1e-3)
    assert kernel.sum() == pytest.approx(kernel[3].sum())
    np.testing.assert_array_equal(kernel_from_path(np.zeros(5, complex)), [[1]])


def test_no_motion_changes_nothing():
    image = photo()
    np.testing.assert_array_equal(np.rint(blur_image(image, np.ones((1, 1))) * 255), image)


def test_blur_is_a_mirrored_convolution_of_light():
    image, kernel = photo(), kernel_from_path(random_trajectory(np.random.default_rng(3), 15, 0.01))
    light = (image / 255) ** GAMMA
    expected = np.stack([ndimage.convolve(light[..., c], kernel, mode="reflect") for c in range(3)], axis=-1)
    np.testing.assert_allclose(blur_image(image, kernel), expected ** (1 / GAMMA), atol=1e-3)


@settings(max_examples=10)
@given(st.integers(0, 255), seeds)
def test_a_grey_photo_stays_as_it_is(level, seed):
    image = np.full((20, 30, 3), level, np.uint8)
    blurred = random_blur(image, np.random.default_rng(seed), length=(30, 60), shake=SHAKES, exposure=(1,), noise=0)
    np.testing.assert_allclose(blurred, image, atol=1)  # brightness is kept, borders do not darken


def test_noise_has_the_given_strength():
    image = np.full((100, 100, 3), 128, np.uint8)
    noisy = random_blur(image, np.random.default_rng(0), length=(5, 5), shake=SHAKES, exposure=(1,), noise=4)
    assert noisy.std() == pytest.approx(4, rel=0.05)


def test_the_same_seed_gives_the_same_blur():
    arguments = {"length": (10, 20), "shake": SHAKES, "exposure": (0.5, 1), "noise": 1}
    one, two, other = (random_blur(photo(), np.random.default_rng(seed), **arguments) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_other_processors_give_the_same_blur():
    """The same bytes with NumPy's vector instructions switched off."""
    code = (
        "import hashlib, numpy as np; from test_blur import photo, random_blur; rng = np.random.default_rng(1);"
        "b = random_blur(photo(90, 120), rng, length=(20, 40), shake=(.005,), exposure=(1,), noise=1);"
        "print(hashlib.sha256(b.tobytes()).hexdigest())"
    )
    umath = np._core._multiarray_umath
    able = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    sums = set()
    for disabled in ("", " ".join(able)):
        path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
        env = {**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled, "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        sums.add(done.stdout.strip())
    assert len(sums) == 1


@given(st.lists(st.floats(-1000, 1000), min_size=2), st.floats(1, 100))
def test_folding_keeps_distances_and_the_limit(positions, limit):
    folded = fold(np.array(positions), limit)
    assert (np.abs(folded) <= limit + 1e-6).all()
    inside = np.abs(positions) <= limit
    np.testing.assert_allclose(folded[inside], np.array(positions)[inside], atol=1e-6)
    assert (np.abs(np.diff(folded)) <= np.abs(np.diff(positions)) + 1e-6).all()


@settings(max_examples=10)
@given(seeds, st.floats(0.1, 5))
def test_a_camera_moves_smoothly_within_its_room(seed, speed):
    path = camera_path(np.random.default_rng(seed), 400, (30, 50), speed, rotation=1)
    assert (np.abs(path[:, :2]) <= (30, 50)).all()
    steps = np.hypot(*np.diff(path[:, :2], axis=0).T)
    assert 0.2 * speed < np.median(steps) < 5 * speed


def test_smooth_noise_has_unit_variance():
    noise = smooth_noise(np.random.default_rng(0), 200_000, 5)
    assert noise.std() == pytest.approx(1, rel=0.05)
    assert noise.mean() == pytest.approx(0, abs=0.05)


def test_a_still_camera_in_the_middle_sees_the_photo():
    image = photo(41, 51)
    (frame,) = film(image, np.zeros((1, 3)), 31, 21)
    np.testing.assert_allclose(frame * 255, image[10:31, 10:41], atol=1e-3)


def test_a_camera_that_moves_by_whole_pixels_sees_them_shifted():
    image = photo(41, 51)
    (frame,) = film(image, np.array([[3.0, -4.0, 0]]), 31, 21)
    np.testing.assert_allclose(frame * 255, image[13:34, 6:37], atol=1e-3)


def test_a_quarter_turn_turns_the_photo():
    image = photo(31, 31)
    (frame,) = film(image, np.array([[0, 0, np.pi / 2]]), 31, 31)
    turned = np.rot90(image, 1 if np.allclose(frame * 255, np.rot90(image), atol=1) else -1)
    np.testing.assert_allclose(frame * 255, turned, atol=1e-3)


@pytest.mark.parametrize("linear", [True, False])
def test_averaging_equal_frames_changes_nothing(linear):
    frame = photo() / 255
    blur, sharp = average_frames([frame] * 7, linear=linear)
    np.testing.assert_array_equal(sharp, photo())
    np.testing.assert_allclose(blur, photo(), atol=1)


def test_light_is_averaged_not_stored_values():
    frames = [np.full((1, 1, 3), value) for value in (0.0, 0.5, 1.0)]
    blur, sharp = average_frames(frames, linear=True)
    assert sharp.ravel().tolist() == [128] * 3
    assert blur.ravel().tolist() == [round(255 * ((0.5**2.2 + 1) / 3) ** (1 / 2.2))] * 3
    assert average_frames(frames, linear=False)[0].ravel().tolist() == [128] * 3
    with pytest.raises(ValueError, match="odd number"):
        average_frames(frames[:2], linear=True)
