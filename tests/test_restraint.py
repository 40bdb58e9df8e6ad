"""What is hardly blurred is left as it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from deblurgan.blur.convolution import blur_image
from deblurgan.images import to_float, to_uint8
from deblurgan.restoration import restraint
from deblurgan.restoration.explosions import HARDLY
from deblurgan.restoration.photo_files import Photo
from deblurgan.restoration.restorer import Restorer
from deblurgan.restoration.restraint import ALL, NOTHING, moved, removed, restrain
from deblurgan.restoration.tiles import Method, restore
from deblurgan.restoration.traits import guarded


def smooth(height, width, seed=0, sigma=3.0):
    """Clouds, `float32` in [-1, 1]."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    clouds = ndimage.gaussian_filter(noise, (sigma, sigma, 0))
    return np.clip(clouds / (3 * clouds.std()), -1, 1).astype(np.float32)


@pytest.mark.parametrize("pixels", [0.1, 0.5, 1, 2])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_shift_is_measured_in_pixels(pixels, axis):
    """Of a picture without edges across the shift, as the gradient then lies along it."""
    places = np.arange(300)
    picture, shifted = (0.6 * np.sin((places + shift) / 9)[:, None, None] for shift in (0, pixels))
    before, after = (
        np.broadcast_to(one, (300, 40, 3)).swapaxes(0, axis).astype(np.float32) for one in (picture, shifted)
    )
    assert moved(before, after) == pytest.approx(pixels, rel=0.02)


@pytest.mark.parametrize("radius", [0.3, 0.5, 0.7, 1])
@pytest.mark.parametrize("grain", [1.5, 3])
def test_a_mild_blur_is_measured_by_its_radius(radius, grain):
    """Of a Gaussian in two dimensions, the mean square distance from its centre is twice its variance."""
    noise = np.fft.fft2(np.random.default_rng(0).normal(size=(300, 200)))
    sharp, blurred = (
        np.fft.ifft2(ndimage.fourier_gaussian(noise, deviation)).real[..., None].repeat(3, axis=2)
        for deviation in (grain, np.hypot(grain, radius / np.sqrt(2)))
    )
    assert removed(blurred, sharp) == pytest.approx(radius, rel=0.1)
    assert removed(sharp, blurred) == 0


@given(st.integers(1, 600), st.integers(1, 40), st.floats(0, 0.5), st.integers(0, 99))
def test_rows_that_are_worked_on_at_a_time_make_no_difference(height, width, strength, seed):
    rng = np.random.default_rng(seed)
    before, other = rng.uniform(-1, 1, (2, height, width, 3)).astype(np.float32)
    after = before + np.float32(strength) * (other - before)
    grey = before.mean(axis=2)
    change = after.mean(axis=2) - grey
    least = restraint.LEAST**2 * grey.size
    gradients = sum(np.square(np.gradient(grey, axis=axis)).sum() for axis in (0, 1) if grey.shape[axis] > 1)
    expected = np.sqrt(np.square(change).sum() / (gradients + least))
    assert moved(before, after) == pytest.approx(expected, rel=1e-3, abs=1e-6)
    laplacian = ndimage.gaussian_laplace(grey, 1, mode="nearest")
    agreement = -(ndimage.gaussian_filter(change, 1, mode="nearest") * laplacian).sum()
    expected = 2 * np.sqrt(max(agreement, 0) / (np.square(laplacian).sum() + least))
    assert removed(before, after) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def shift(image):
    """What a shift by a pixel changes: it moves edges, and sharpens none."""
    return np.gradient(image, axis=1)


def sharpening(image):
    """What a blur of an RMS radius of 2 pixels changes, but for higher orders: it sharpens edges, and moves none."""
    return -ndimage.gaussian_laplace(image, 1, axes=(0, 1))


@given(st.sampled_from([shift, sharpening]), st.floats(0, 3), st.integers(0, 99))
def test_a_small_correction_is_taken_back_a_large_one_kept_and_one_between_in_part(by, strength, seed):
    before = smooth(60, 300, seed)
    correction = np.float32(strength) * by(before)
    after = before + correction
    pixels = moved(before, after) + removed(before, after)
    share = restrain(before, after)
    assert share == pytest.approx(np.clip((pixels - NOTHING) / (ALL - NOTHING), 0, 1), abs=1e-3)
    np.testing.assert_allclose(after, before + share * correction, atol=1e-6)
    if pixels < 0.99 * NOTHING:
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("by", [shift, sharpening])
def test_a_larger_correction_never_becomes_a_smaller_one(by):
    before = smooth(60, 80)
    wrong = by(before)
    found = []
    for strength in np.linspace(0, 3, 61):
        after = before + np.float32(strength) * wrong
        restrain(before, after)
        found.append(float(np.abs(after - before).mean()))
    assert found == sorted(found)
    assert found[1] == 0 < found[-1]


@pytest.mark.parametrize("noise", [0, 2, 5])
def test_noise_that_is_taken_away_is_no_blur(noise):
    sharp = smooth(200, 300, sigma=1.5)
    noisy = sharp + np.random.default_rng(0).normal(0, noise / 127.5, sharp.shape).astype(np.float32)
    assert removed(noisy, sharp) == 0
    assert restrain(noisy, sharp.copy()) == 0


@pytest.mark.parametrize("noise", [0, 1, 3])
def test_the_true_correction_of_a_mild_blur_is_kept(noise):
    """An RMS radius of 1.4 pixels moves edges by a small part of this, and is found all the same."""
    sharp = smooth(200, 300)
    blurred = ndimage.gaussian_filter(sharp, (1, 1, 0))
    grain = np.random.default_rng(0).normal(0, noise / 127.5, sharp.shape).astype(np.float32)
    before, after = blurred + grain, sharp + grain
    assert moved(before, after) < NOTHING / 2
    assert restrain(before, after) == 1


@pytest.mark.parametrize("length", [9, 15, 31])
def test_the_true_correction_of_a_blur_that_one_sees_is_kept(length):
    sharp = to_uint8(smooth(200, 300, sigma=1.5))
    kernel = np.zeros((length, length))
    kernel[length // 2] = 1 / length
    blurred = to_float(blur_image(sharp, kernel))
    after = to_float(sharp)
    assert restrain(blurred, after) == 1
    np.testing.assert_array_equal(after, to_float(sharp))


def test_a_plain_background_hides_no_correction():
    """A small blurred thing on a large white page."""
    before, after = (np.ones((800, 900, 3), np.float32) for _ in range(2))
    sharp = smooth(64, 64, sigma=1)
    before[:64, :64], after[:64, :64] = ndimage.gaussian_filter(sharp, (3, 3, 0)), sharp
    assert moved(before, after) > ALL


def test_images_of_one_colour_stay():
    before = np.full((20, 30, 3), 0.25, np.float32)
    after = before + np.float32(0.02 * 2 / 255)
    assert restrain(before, after) == 0
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("restrained", [True, False])
def test_a_guarded_method_looks_at_the_whole_not_at_its_tiles(restrained):
    """One half is changed much. This is enough for the whole: the half that is changed little is changed, too."""
    image = smooth(128, 512)
    image[:, 256:] = 0.5 * image[:, 256:] + 0.5
    image[:, :256] = 0.5 * image[:, :256] - 0.5

    def run(tile):
        return tile + np.float32(0.3 if tile.mean() > 0 else 0.004)

    method, guard = guarded(Method(run, 0, 1), None, ensemble=False, restrained=restrained)
    found = restore(method, image, 128)
    assert guard.tiles > 4
    np.testing.assert_allclose(found[:, :180] - image[:, :180], 0.004, atol=1e-5)
    assert not guard.unchanged
    assert guard.in_words() == ""
    image = smooth(128, 512)
    method, guard = guarded(
        Method(lambda tile: tile + np.float32(0.004), 0, 1), None, ensemble=False, restrained=restrained
    )
    assert (restore(method, image, 128) == image).all() == restrained
    assert guard.in_words() == (f"note: {HARDLY}: left as it is" if restrained else "")
    assert guard.in_words() == ""


def test_frames_that_are_left_are_counted():
    method, guard = guarded(
        Method(lambda image: image + np.float32(0.2 * (image.mean() > 0)), 0, 1), None, ensemble=False, restrained=True
    )
    for brightness in (-0.3, 0.3, -0.3):
        restore(method, 0.5 * smooth(40, 50) + np.float32(brightness))
    assert guard.in_words() == f"note: 2 of 3 frames {HARDLY}: left as they are"


def test_a_photo_that_failed_is_not_spoken_of_later():
    calls = []

    def run(tile):
        calls.append(tile)
        if len(calls) == 2:
            raise MemoryError
        return tile + np.float32(2 if len(calls) == 1 else 0)

    method, guard = guarded(Method(run, 0, 1), None, ensemble=False, restrained=True)
    restorer = Restorer(method, tile=64, guard=guard)
    photo = Photo(smooth(40, 100), False, False, None, {})
    with pytest.raises(MemoryError):
        restorer.restored(photo)
    assert restorer.left_out().startswith("warning: ")
    assert restorer.restored(photo) is photo
    assert restorer.left_out() == f"note: {HARDLY}: left as it is"
