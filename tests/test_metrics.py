"""PSNR and SSIM against their definitions, TensorFlow and closed forms."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib.stride_tricks import sliding_window_view
from skimage import data

from deblurgan.metrics import psnr, ssim, ssim_3d

sizes = st.tuples(st.integers(11, 30), st.integers(11, 30), st.just(3))
pairs = sizes.flatmap(lambda size: st.tuples(arrays(np.uint8, size), arrays(np.uint8, size)))


def by_definition(a, b, axes, border):
    """SSIM place by place: a Gaussian over so many axes, borders repeated by so much."""
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = functools.reduce(np.multiply.outer, [line / line.sum()] * axes)

    def mean(values):
        padded = np.pad(values, border, mode="edge")
        parts = sliding_window_view(padded, (11,) * axes, tuple(range(axes)))
        return np.tensordot(parts, window, axes)

    a, b = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = mean(a), mean(b)
    variances = mean(a**2) - mean_a**2 + mean(b**2) - mean_b**2
    similar = (2 * mean_a * mean_b + c1) * (2 * (mean(a * b) - mean_a * mean_b) + c2)
    return (similar / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean()


@settings(max_examples=20)
@given(pairs)
def test_measures_are_what_the_papers_define(pair):
    a, b = (image[:13, :12] for image in pair)
    assert ssim(a, b) == pytest.approx(by_definition(a, b, axes=2, border=0), abs=1e-6)
    assert ssim_3d(a, b) == pytest.approx(by_definition(a, b, axes=3, border=5), abs=1e-6)  # a volume, as MATLAB's
    if (a != b).any():
        error = ((a.astype(float) - b) ** 2).mean()
        assert psnr(a, b) == psnr(b, a) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)


def test_equal_to_tensorflow_on_a_real_photo():
    a = data.astronaut()
    b = np.clip(a.astype(int) + np.random.default_rng(0).integers(-30, 31, a.shape), 0, 255).astype(np.uint8)
    assert ssim(a, b) == pytest.approx(float(tf.image.ssim(a, b, 255)), abs=1e-4)  # float32
    assert psnr(a, b) == pytest.approx(float(tf.image.psnr(a, b, 255)), abs=1e-4)


@pytest.mark.filterwarnings("error")
def test_closed_forms():
    black, white = (np.full((16, 16, 3), level, np.uint8) for level in (0, 255))
    assert psnr(black, white) == 0
    assert psnr(black, black) == float("inf")
    assert ssim(black, black) == ssim_3d(black, black) == 1
    assert psnr(black, np.full_like(black, 5)) == pytest.approx(20 * np.log10(255 / 5))
    c1 = (0.01 * 255) ** 2
    assert ssim(black, white) == pytest.approx(c1 / (255**2 + c1))


@pytest.mark.parametrize("measure", [psnr, ssim, ssim_3d])
def test_what_cannot_be_compared_is_refused(measure):
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="8-bit"):
        measure(image / 255, image)
    with pytest.raises(ValueError, match="one size"):
        measure(image, image[:, :15])
    with pytest.raises(ValueError, match="11x11"):
        ssim(image[:10], image[:10])
