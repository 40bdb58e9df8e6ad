"""The losses of DeblurGAN as pure functions of arrays: WGAN-GP, pixel, frequency and perceptual losses.

Arjovsky et al. 2017 (Wasserstein), Gulrajani et al. 2017 (gradient penalty), Johnson et al. 2016 (perceptual), Cho
et al. 2021 (frequency).
"""

import math

from keras import ops


def image_scores(scores):
    """The score of each image, (N,): the mean of its patches' scores, (N, h, w, 1)."""
    return ops.mean(scores, axis=(1, 2, 3))


def critic_wasserstein(real_scores, fake_scores):
    """What the critic minimises: mean score of restored images minus mean score of sharp ones."""
    return ops.mean(fake_scores) - ops.mean(real_scores)


def generator_adversarial(fake_scores):
    """What the generator minimises against the critic: minus the mean score of restored images."""
    return -ops.mean(fake_scores)


def interpolate(real, fake, epsilon):
    """Points between sharp and restored images.

    Parameters
    ----------
    real, fake
        Images (N, H, W, C).
    epsilon
        (N, 1, 1, 1) in [0, 1], uniform, one for each image: 0 is real, 1 is fake.
    """
    return real + epsilon * (fake - real)


def gradient_penalty(gradients):
    """Mean squared distance of the critic's gradient norms from 1.

    Gulrajani et al. 2017, equation 3, without its weight. The norm is taken over all pixels and channels of an
    image.

    Parameters
    ----------
    gradients
        Gradients of the critic's score of each image with respect to that image, (N, H, W, C).
    """
    square = ops.sum(ops.square(gradients), axis=(1, 2, 3))
    norm = ops.sqrt(square + 1e-12)  # the root has no gradient at 0
    return ops.mean(ops.square(norm - 1))


def l1(restored, sharp):
    """Mean absolute error of images in [-1, 1]."""
    return ops.mean(ops.abs(restored - sharp))


def charbonnier(restored, sharp):
    """A mean absolute error that is smooth where it is small: sqrt(d^2 + 0.001^2) (Lai et al., CVPR 2017)."""
    return ops.mean(ops.sqrt(ops.square(restored - sharp) + 1e-6))


def negative_psnr(restored, sharp):
    """Minus the peak signal-to-noise ratio (PSNR) in decibels, mean over the images of a batch.

    Chen et al., "HINet: Half Instance Normalization Network for Image Restoration", CVPR workshops 2021, section 3.2.
    An error counts in proportion to the image's whole error: what is sharp already is not to be touched.
    """
    error = ops.mean(ops.square(ops.cast(restored - sharp, "float32")), axis=(1, 2, 3))  # (N,)
    return ops.mean(10 / math.log(10) * ops.log(error / 4 + 6e-5))  # the peak is 2; beyond 42 dB little counts


def frequency(restored, sharp):
    """Mean absolute error of the spectra, real and imaginary parts, by an orthonormal Fourier transform.

    Cho et al., "Rethinking Coarse-to-Fine Approach in Single Image Deblurring" (MIMO-UNet), ICCV 2021, equation 6.
    The mean absolute error of pixels says little about fine structure that is missing everywhere, which lies in many
    frequencies.
    """
    difference = ops.transpose(ops.cast(restored - sharp, "float32"), (0, 3, 1, 2))  # (N, 3, H, W)
    real, imaginary = ops.fft2((difference, ops.zeros_like(difference)))
    pixels = difference.shape[2] * difference.shape[3]
    return ops.mean(ops.abs(real) + ops.abs(imaginary)) / (2 * pixels**0.5)


PIXEL = {"l1": l1, "charbonnier": charbonnier, "psnr": negative_psnr}
"""The pixel losses by name."""


def content(restored_features, sharp_features):
    """The perceptual loss: mean squared distance of VGG19's feature maps (DeblurGAN, equation 4: its content loss)."""
    return ops.mean(ops.square(restored_features - sharp_features))
