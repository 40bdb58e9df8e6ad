"""PSNR and SSIM against scikit-image, TensorFlow and closed forms."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib.stride_tricks import sliding_window_view
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deblurgan.metrics import psnr, ssim, ssim_3d


def skimage_ssim(a, b):
    return structural_similarity(
        a, b, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )


sizes = st.tuples(st.integers(11, 30), st.integers(11, 30), st.just(3))
pairs = sizes.flatmap(lambda size: st.tuples(arrays(np.uint8, size), arrays(np.uint8, size)))


@settings(max_examples=50)
@given(pairs)
def test_equal_to_scikit_image(pair):
    a, b = pair
    assert ssim(a, b) == pytest.approx(skimage_ssim(a, b), abs=1e-6)
    if (a != b).any():
        assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255), abs=1e-6)


@settings(max_examples=20)
@given(sizes.flatmap(lambda size: st.tuples(arrays(np.uint8, size), arrays(np.uint8, size))))
def test_the_ssim_of_papers_is_that_of_a_volume(pair):
    """The definition, place by place: a Gaussian of 11x11x11, borders repeated."""
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.einsum("i,j,k->ijk", line, line, line)
    window /= window.sum()

    def mean(values):
        padded = np.pad(values, 5, mode="edge")
        return np.einsum("hwcijk,ijk->hwc", sliding_window_view(padded, (11, 11, 11)), window)

    a, b = (image[:13, :12].astype(np.float64) for image in pair)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = mean(a), mean(b)
    variances = mean(a**2) - mean_a**2 + mean(b**2) - mean_b**2
    similar = (2 * mean_a * mean_b + c1) * (2 * (mean(a * b) - mean_a * mean_b) + c2)
    expected = similar / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))
    assert ssim_3d(a.astype(np.uint8), b.astype(np.uint8)) == pytest.approx(expected.mean(), abs=1e-6)


def test_equal_on_a_real_photo():
    a = data.astronaut()
    b = np.clip(a.astype(int) + np.random.default_rng(0).integers(-30, 31, a.shape), 0, 255).astype(np.uint8)
    assert ssim(a, b) == pytest.approx(skimage_ssim(a, b), abs=1e-6)
    assert ssim(a, b) == pytest.approx(float(tf.image.ssim(a, b, 255)), abs=1e-4)  # float32
    assert psnr(a, b) == pytest.approx(float(tf.image.psnr(a, b, 255)), abs=1e-4)


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
