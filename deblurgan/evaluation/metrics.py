"""Image quality as the restoration field measures it: RGB, whole image, 8-bit values, no border cropped.

PSNR and SSIM are scikit-image's, with the settings of the papers.
"""

import numpy as np
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

SSIM_RADIUS = 5
"""Half width of the 11x11 window."""
SSIM_SIGMA = 1.5


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all pixels and channels.

    Parameters
    ----------
    image, reference
        `uint8` of one shape (H, W, 3).

    Returns
    -------
    float
        Decibels: 10 log10(255^2 / mean squared error); infinite for equal images.

    Raises
    ------
    ValueError
        Not `uint8`, or of different shapes.

    Examples
    --------
    Every value one grey level off:

    >>> photo = np.full((16, 16, 3), 128, np.uint8)
    >>> round(psnr(photo + np.uint8(1), photo), 2)
    48.13
    """
    _check(image, reference)
    with np.errstate(divide="ignore"):  # equal images
        return float(peak_signal_noise_ratio(reference, image, data_range=255))


def ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """Structural similarity: mean over channels and over the area where the window lies within the image.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 2004: Gaussian window 11x11, sigma 1.5, K1 = 0.01, K2 = 0.03.

    Parameters
    ----------
    image, reference
        `uint8` of one shape (H, W, 3), H and W at least 11.

    Returns
    -------
    float
        At most 1, which only equal images reach.

    Raises
    ------
    ValueError
        Not `uint8`, of different shapes, or smaller than the window.

    Examples
    --------
    >>> photo = np.arange(16 * 16 * 3).reshape(16, 16, 3).astype(np.uint8)
    >>> round(ssim(photo, photo), 6)
    1.0
    >>> ssim(255 - photo, photo) < 0
    True
    """
    _check(image, reference)
    if min(image.shape[:2]) < 2 * SSIM_RADIUS + 1:
        raise ValueError(f"SSIM needs at least 11x11 pixels; got {image.shape[1]}x{image.shape[0]}")
    return float(
        structural_similarity(
            image,
            reference,
            channel_axis=-1,
            data_range=255,
            gaussian_weights=True,
            sigma=SSIM_SIGMA,
            use_sample_covariance=False,
        )
    )


def ssim_3d(image: np.ndarray, reference: np.ndarray) -> float:
    """SSIM as many deblurring papers print it: a window over height, width *and* channels, to compare with papers.

    MATLAB's `ssim` does so, since it takes a colour image for a volume: a Gaussian of 11x11x11, borders
    repeated, mean over all. By .02 to .03 higher than `ssim` on photos. Parameters and errors as there; any size.
    """
    _check(image, reference)

    def mean(values: np.ndarray) -> np.ndarray:
        for axis in range(3):
            values = ndimage.correlate1d(values, _WINDOW, axis=axis, mode="nearest")
        return values

    x, y = image.astype(np.float64), reference.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = mean(x), mean(y)
    var_x = mean(x * x) - mean_x**2
    var_y = mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(np.mean(luminance * (2 * covariance + c2) / (var_x + var_y + c2)))


_WINDOW = np.exp(-(np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1) ** 2) / (2 * SSIM_SIGMA**2))
_WINDOW /= _WINDOW.sum()


def _check(image: np.ndarray, reference: np.ndarray) -> None:
    if image.dtype != np.uint8 or reference.dtype != np.uint8:
        raise ValueError(f"8-bit images are compared; got {image.dtype} and {reference.dtype}")
    if image.shape != reference.shape:
        raise ValueError(f"images of one size are compared; got {image.shape} and {reference.shape}")
