"""Trajectories, kernels, convolution and the simulated camera."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import PARAMS, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal, stats

from deblurgan.blur.camera import camera_path, film, fold, smooth_noise
from deblurgan.blur.convolution import TILE, add_noise, blur_image
from deblurgan.blur.frame_averaging import average_frames
from deblurgan.blur.kinds import DEFOCUS, disc, draw_blur, shallow_focus
from deblurgan.blur.layered import Motion, layered_blur, random_region
from deblurgan.blur.trajectory import kernel_from_path, random_path, random_trajectory
from deblurgan.images import GAMMA
from deblurgan.params import load

seeds = st.integers(0, 2**32 - 1)
SHAKES = (0.003, 0.01)
SYNTHESIS = load(PARAMS).synthesize


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
    np.testing.assert_array_equal(add_noise(blur_image(image, np.ones((1, 1))), np.random.default_rng(0), 0), image)


@pytest.mark.parametrize(
    ("size", "length"), [((40, 50), 15), ((TILE[0] + 30, TILE[1] + 40), 40), ((3, 5), 60), ((1, 1), 9), ((50, 40), 600)]
)
@pytest.mark.parametrize("linear", [True, False])
def test_blur_is_a_mirrored_convolution_of_light_or_of_stored_values(size, length, linear):
    """For frames of one tile and of several, and for kernels larger than the frame."""
    image, kernel = photo(*size), kernel_from_path(random_trajectory(np.random.default_rng(3), length, 0.003))
    gamma = GAMMA if linear else 1
    light = (image / 255) ** gamma
    edge = len(kernel) // 2
    mirrored = np.pad(light, ((edge, edge), (edge, edge), (0, 0)), mode="symmetric")
    expected = signal.convolve(mirrored, kernel[..., None], mode="valid", method="fft")
    if min(image.shape[:2]) > len(kernel):
        other = np.stack([ndimage.convolve(light[..., c], kernel, mode="reflect") for c in range(3)], axis=-1)
        np.testing.assert_allclose(expected, other, atol=1e-9)
    expected = np.clip(expected, 0, 1)
    np.testing.assert_allclose(blur_image(image, kernel, linear=linear), 255 * expected ** (1 / gamma), atol=0.01)


@settings(max_examples=10)
@given(st.integers(0, 255), seeds)
def test_a_grey_photo_stays_as_it_is(level, seed):
    image = np.full((20, 30, 3), level, np.uint8)
    rng = np.random.default_rng(seed)
    blurred = add_noise(
        blur_image(image, random_path(rng, length=(30, 60), shake=SHAKES, exposure=(1,)).kernel), rng, 0
    )
    np.testing.assert_allclose(blurred, image, atol=1)  # brightness is kept, borders do not darken


def test_noise_has_the_given_strength():
    levels = np.full((300, 300, 3), 128, np.float32)
    for deviation in (1, 4, 20):
        noise = add_noise(levels, np.random.default_rng(0), deviation).astype(float) - 128
        assert noise.std() == pytest.approx(np.hypot(deviation, 1 / np.sqrt(12)), rel=0.01)  # and that of rounding
        assert noise.mean() == pytest.approx(0, abs=0.02 * deviation)
        assert stats.kurtosis(noise.ravel()) == pytest.approx(0, abs=0.1)
        assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.01
    assert add_noise(levels * 0, np.random.default_rng(0), 50).min() == 0


def test_the_same_seed_gives_the_same_blur():
    one, two, other = (blurred_photo(seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


# Bounding box of the open path in pixels, 5, 50 and 95 %, of trajectories of 60 pixels: an independent
# reimplementation of the published generator, 60 draws each.
EXTENTS = {0.01: (8, 13, 24), 0.005: (12, 17, 32), 0.003: (15, 27, 37)}


@pytest.mark.parametrize("shake", EXTENTS)
def test_trajectories_are_as_large_as_published_ones(shake):
    rng = np.random.default_rng(0)
    paths = [random_trajectory(rng, 60, shake) for _ in range(400)]
    boxes = [max(np.ptp(path.real), np.ptp(path.imag)) for path in paths]
    found = np.percentile(boxes, [5, 50, 95])
    np.testing.assert_allclose(found, EXTENTS[shake], rtol=0.3, atol=2)
    kernels = [len(kernel_from_path(path)) for path in paths[:50]]
    assert np.median(kernels) >= np.median(boxes[:50])  # about the centroid, so at least as wide
    assert max(kernels) < 64


def test_a_shorter_exposure_is_a_part_of_the_path():
    arguments = {"length": (40, 40), "shake": (0.005,)}
    whole = random_path(np.random.default_rng(5), exposure=(1.0,), **arguments)
    part = random_path(np.random.default_rng(5), exposure=(0.1,), **arguments)
    assert len(part.kernel) < len(whole.kernel)
    assert (part.length, part.shake, part.exposure) == (40, 0.005, 0.1)


def blurred_photo(seed, height=40, width=50):
    rng = np.random.default_rng(seed)
    blur = random_path(rng, length=(20, 40), shake=SHAKES, exposure=(0.5, 1))
    return add_noise(blur_image(photo(height, width), blur.kernel), rng, 1)


def test_other_processors_give_the_same_blur():
    """The same bytes with NumPy's vector instructions switched off."""
    code = (
        "import hashlib; from test_blur import blurred_photo;"
        "print(hashlib.sha256(blurred_photo(1, 250, 420).tobytes()).hexdigest())"
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
    np.testing.assert_array_equal(average_frames([photo()] * 7, linear=linear), photo())


def test_light_is_averaged_not_stored_values():
    frames = [np.full((2, 2, 3), value, np.uint8) for value in (0, 128, 255)]
    light = ((128 / 255) ** GAMMA + 1) / 3
    assert (average_frames(frames, linear=True) == round(255 * light ** (1 / GAMMA))).all()
    assert (average_frames(frames, linear=False) == 128).all()
    with pytest.raises(ValueError, match="one size"):
        average_frames([frames[0], frames[0][:1]], linear=True)
    with pytest.raises(ValueError, match="no frames"):
        average_frames([], linear=True)


def still(count=9):
    return np.zeros(count, complex)


def test_layers_that_stand_still_are_the_photo():
    image = photo()
    for linear in (True, False):
        blurred = layered_blur(image, (Motion(still()), Motion(still()), Motion(still())), 0, linear=linear)
        np.testing.assert_allclose(blurred, image, atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(seeds, st.integers(-9, 9), st.integers(-9, 9))
def test_a_background_that_is_elsewhere_is_shifted_with_mirrored_borders(seed, right, down):
    image = photo(seed=seed)
    expected = np.pad(image, ((9, 9), (9, 9), (0, 0)), mode="symmetric")[9 - down :, 9 - right :][:40, :50]
    moved = layered_blur(image, (Motion(still() + right + 1j * down),), 0)
    np.testing.assert_allclose(moved, expected, atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_background_alone_is_blurred_as_by_its_kernel(seed):
    """But for interpolation and rounding of the frames to bytes."""
    rng = np.random.default_rng(seed)
    image = photo(60, 70, seed)
    path = random_path(rng, length=(4, 30), shake=SHAKES, exposure=(1,))
    drawn = layered_blur(image, (Motion(path.opened - path.opened.mean()),), 0)
    expected = blur_image(image, path.kernel)
    assert np.abs(drawn - expected).mean() < 1


def test_a_camera_that_rolls_and_zooms_leaves_the_middle_and_blurs_the_corners():
    image = np.random.default_rng(0).integers(0, 256, (101, 101, 3), dtype=np.uint8)
    for motion in (Motion(still(), roll=0.05), Motion(still(), zoom=0.05)):
        error = np.abs(layered_blur(image, (motion,), 0) - image)
        assert error[48:53, 48:53].mean() < 6 < 40 < error[:10, :10].mean()


def test_a_region_moves_while_the_background_stands():
    image = photo(80, 90)
    motions = (Motion(still()), Motion(np.linspace(-8, 8, 99) + 0j))
    change = np.abs(layered_blur(image, motions, 3) - image).max(axis=2) > 0.5
    assert 0.05 < change.mean() < 0.9
    assert change.mean() > 0
    other = np.abs(layered_blur(image, motions, 4) - image).max(axis=2) > 0.5
    assert (change != other).any()  # the seed decides the outline


@settings(max_examples=20)
@given(seeds, st.integers(30, 90), st.integers(30, 90))
def test_a_region_takes_its_share_of_the_picture_and_has_a_soft_edge(seed, height, width):
    region = random_region(np.random.default_rng(seed), height, width)
    assert region.shape == (height, width)
    assert 0.02 < region.mean() / 255 < 0.55
    assert ((region > 0) & (region < 255)).any()


@settings(max_examples=20)
@given(st.floats(0.1, 12))
def test_a_disc_has_the_second_moment_of_a_disc(radius):
    kernel = disc(radius)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_array_equal(kernel, kernel[::-1].T)
    if radius > 1:  # of a disc of this radius, and of the pixels that it falls into
        moment = float(kernel.sum(axis=0) @ offsets**2)
        assert moment == pytest.approx(radius**2 / 4 + 1 / 12, abs=0.1)


@given(seeds)
@settings(max_examples=20)
def test_a_region_of_a_shallow_focus_is_soft_and_the_rest_is_the_photo(seed):
    sharp = np.random.default_rng(seed).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    seen = shallow_focus(np.random.default_rng(seed), sharp, linear=False)
    rng = np.random.default_rng(seed)
    inside = random_region(rng, 80, 100)  # 0 to 255
    soft = blur_image(sharp, disc(rng.uniform(*DEFOCUS)), linear=False)
    assert seen.dtype == np.uint8
    np.testing.assert_array_equal(seen[inside == 0], sharp[inside == 0])
    assert np.abs(seen[inside == 255] - soft[inside == 255]).max(initial=0) <= 0.51
    assert (np.minimum(sharp, np.floor(soft)) <= seen).all()
    assert (seen <= np.maximum(sharp, np.ceil(soft))).all()


def test_kinds_come_in_their_shares_and_without_them_nothing_changes():
    drawn = SYNTHESIS.model_copy(update={"layered": 0.5, "defocus": 0.2})
    kinds = [draw_blur(np.random.default_rng(n), drawn).kind for n in range(400)]
    assert 160 < kinds.count("layered") < 240
    assert 50 < kinds.count("defocus") < 110
    alone = draw_blur(np.random.default_rng(7), SYNTHESIS)
    path = random_path(np.random.default_rng(7), length=SYNTHESIS.length, shake=SYNTHESIS.shake, exposure=(0.1, 0.5, 1))
    assert alone.kind == "motion"
    np.testing.assert_array_equal(alone.kernel, path.kernel)


@pytest.mark.parametrize("shares", [{"layered": 1.0}, {"defocus": 1.0}, {}])
def test_a_scale_of_zero_hardly_blurs_and_one_blurs(shares):
    image, drawn = photo(), SYNTHESIS.model_copy(update=shares)
    for n in range(5):
        still = draw_blur(np.random.default_rng(n), drawn, 0.0).applied(image, linear=True)
        assert np.abs(still - image).mean() < 0.5
    whole = [draw_blur(np.random.default_rng(n), drawn).applied(image, linear=True) for n in range(5)]
    assert np.mean(np.abs(np.array(whole) - image)) > 2


@pytest.mark.parametrize("shares", [{"layered": 1.0}, {"defocus": 1.0}, {}])
def test_what_lies_beyond_the_reach_of_a_blur_changes_nothing(shares):
    """But for roll and zoom, which are about the middle of what is shown: the size stays."""
    image = photo(120, 130)
    for n in range(4):
        blur = draw_blur(np.random.default_rng(n), SYNTHESIS.model_copy(update={**shares, "length": (8.0, 12.0)}))
        reach = blur.reach(120, 130)
        changed = image.copy()
        changed[:, :20] = 255 - changed[:, :20]
        difference = np.abs(blur.applied(image, linear=True) - blur.applied(changed, linear=True))
        assert difference[:, 20 + reach :].max() < 0.05
