"""Deconvolution with a known kernel."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data

from deblurgan.blur.convolution import add_noise, blur_image
from deblurgan.evaluation.metrics import psnr
from deblurgan.images import from_linear, quantize, to_float, to_linear, to_uint8
from deblurgan.restoration import deconvolution, fourier, tiles

KERNEL = np.zeros((13, 13))
KERNEL[6, 1:12] = 1 / 11
"""Eleven pixels across."""


@given(st.tuples(st.integers(5, 40), st.integers(5, 40)), st.integers(0, 99))
@settings(max_examples=20)
def test_adjoint_and_spectra_fit_the_differences(shape, seed):
    rng = np.random.default_rng(seed)
    image, *field = rng.standard_normal((3, *shape)).astype(np.float32)
    both = sum((own * other).sum() for own, other in zip(fourier.differences(image), field, strict=True))
    assert both == pytest.approx((image * fourier.adjoint_differences(*field)).sum(), rel=1e-3, abs=1e-2)
    twice = fourier.image_of(fourier.spectrum(image) * fourier.difference_power(shape), shape)
    np.testing.assert_allclose(twice, fourier.adjoint_differences(*fourier.differences(image)), atol=1e-4)


def test_a_transfer_function_blurs():
    image = np.random.default_rng(0).random((40, 51)).astype(np.float32)
    kernel = np.random.default_rng(1).random((7, 7))
    kernel /= kernel.sum()
    blurred = fourier.image_of(fourier.spectrum(image) * fourier.transfer(kernel, image.shape), image.shape)
    np.testing.assert_allclose(blurred, ndimage.convolve(image, kernel, mode="wrap"), atol=1e-5)


def test_a_wrapped_image_meets_its_opposite_borders_smoothly():
    ramp = np.add.outer(np.linspace(0, 1, 60), np.linspace(0, 2, 80)).astype(np.float32)
    larger = fourier.wrapped(ramp, 20)
    np.testing.assert_array_equal(larger[:60, :80], ramp)
    assert np.abs(np.concatenate([one.ravel() for one in fourier.differences(larger)])).max() < 0.3


@pytest.mark.parametrize("in_light", [True, False])
def test_a_known_blur_is_undone_by_several_decibels(in_light):
    sharp = data.astronaut()[:200, 120:320]
    blur = add_noise(blur_image(sharp, KERNEL, linear=in_light), np.random.default_rng(0), 1)
    right, wrong = (
        psnr(tiles.deblur(deconvolution.method(KERNEL, 0.005, in_light=way), blur), sharp)
        for way in (in_light, not in_light)
    )
    assert right > psnr(blur, sharp) + 5
    assert right > wrong + 1


def test_borders_do_not_ring():
    """The error near the border is hardly larger than within, though what lies beyond is unknown there."""
    sharp = data.astronaut()[:200, 120:320]
    blur = add_noise(blur_image(data.astronaut(), KERNEL)[:200, 120:320], np.random.default_rng(0), 1)
    found = tiles.deblur(deconvolution.method(KERNEL, 0.005, in_light=True), blur)
    error, before = (np.square(image.astype(float) - sharp) for image in (found, blur))
    inner = (slice(None), slice(20, -20))
    assert error.mean() < before.mean() / 2
    assert np.delete(error, np.s_[20:-20], axis=1).mean() < np.delete(before, np.s_[20:-20], axis=1).mean()
    assert error[inner].mean() < before[inner].mean() / 2


def test_clipped_highlights_are_treated_as_what_they_are():
    light = 1.6 * to_linear(data.astronaut()[:200, 120:320, 1] / 255)
    blur = np.minimum(ndimage.convolve(light, KERNEL) + np.random.default_rng(0).normal(0, 0.004, light.shape), 1)
    sharp = np.minimum(light, 1)
    aware, naive = (
        np.square(np.clip(deconvolution.deconvolved(blur, KERNEL, 0.006, full), 0, 1) - sharp).mean()
        for full in (0.985, np.inf)
    )
    assert 0.05 < (blur >= 0.985).mean() < 0.5
    assert aware < 0.8 * naive < 0.8 * np.square(blur - sharp).mean()


def test_what_is_not_blurred_stays():
    photo = data.astronaut()[:90, 120:231]
    found = tiles.deblur(deconvolution.method(np.ones((1, 1)), 0.004, in_light=False), photo)
    assert psnr(found, photo) > 38
    grey = np.full((70, 50, 3), 0.3, np.float32)
    np.testing.assert_allclose(deconvolution.method(KERNEL, 0.005, in_light=True).run(grey), grey, atol=2e-3)


def test_tiles_give_what_the_whole_gives_but_for_choices_of_the_prior():
    """The prior is not convex: where two images explain a pixel equally well, a tile may choose the other one."""
    method = deconvolution.method(KERNEL, 0.005, in_light=True)
    sharp = data.astronaut()[:160, 100:460]
    image = to_float(add_noise(blur_image(sharp, KERNEL), np.random.default_rng(0), 1))
    whole, tiled = (tiles.restore(method, image, tile) for tile in (None, method.smallest_tile))
    assert 127.5 * np.sqrt(np.square(whole - tiled).mean()) < 1.6
    assert psnr(to_uint8(tiled), sharp) == pytest.approx(psnr(to_uint8(whole), sharp), abs=0.15)


def test_grey_stays_grey():
    grey = data.camera()[:64, :64, None].repeat(3, axis=2)
    found = deconvolution.method(KERNEL, 0.005, in_light=True).run(to_float(grey))
    assert np.array_equal(found[..., 0], found[..., 2])


def test_the_memory_of_a_pixel_is_known():
    image = np.random.default_rng(0).random((600, 600, 3)).astype(np.float32)
    method = deconvolution.method(KERNEL, 0.005, in_light=True)
    tracemalloc.start()
    method.run(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < method.bytes * 600 * 600


@given(st.floats(0.004, 0.05), st.integers(0, 20))
@settings(max_examples=10)
def test_noise_is_measured_under_edges(deviation, seed):
    blurred = ndimage.gaussian_filter(data.camera()[:200, :200] / 255, 2)
    noisy = blurred + deviation * np.random.default_rng(seed).standard_normal(blurred.shape)
    assert deconvolution.noise_of(noisy) == pytest.approx(deviation, rel=0.15)


def test_brighter_than_white_is_kept_inside_and_clipped_at_the_end():
    light = np.zeros((60, 60), np.float32)
    light[28:32, 28:32] = 4
    stored = quantize(from_linear(np.minimum(ndimage.convolve(light, KERNEL), 1)))[..., None].repeat(3, 2)
    found = deconvolution.method(KERNEL, 0.005, in_light=True).run(to_float(stored))
    assert found.max() <= 1
    assert deconvolution.deconvolved(to_linear(stored[..., 0] / 255), KERNEL, 0.005, 0.98).max() > 1.5
