"""Blind deconvolution: the blur of a photo is found in the photo, undone, and left where it is not one."""

import itertools
import re

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from scipy import ndimage
from skimage import data
from skimage.registration import phase_cross_correlation

from deblurgan.blur.convolution import add_noise, blur_image
from deblurgan.blur.kinds import disc
from deblurgan.errors import UserError
from deblurgan.evaluation.measuring import blindly
from deblurgan.evaluation.metrics import psnr
from deblurgan.images import read_rgb, to_float, to_linear, to_uint8
from deblurgan.restoration import blind, deconvolution, fourier, kernel_estimation, kernel_selection, tiles
from deblurgan.restoration.command import main
from deblurgan.restoration.deconvolution import deconvolved
from deblurgan.restoration.kernel_estimation import (
    Equations,
    centred,
    centroid,
    cleaned,
    delta,
    estimate,
    likeness,
    radius,
    sides,
    trimmed,
)
from deblurgan.restoration.kernel_selection import Estimate, estimate_blur
from deblurgan.restoration.options import read_options

pytestmark = pytest.mark.xdist_group("blind")  # what they share is made once
SIDE = 25
kernels = st.integers(0, 10**6).map(
    lambda seed: ndimage.gaussian_filter(np.random.default_rng(seed).random((9, 9)) ** 6, 0.6)
)


def line(degrees: float, length: float = 16, side: int = 21) -> np.ndarray:
    """A straight motion, counted from the right upwards."""
    along = np.linspace(-length / 2, length / 2, 400)
    rows, columns = -along * np.sin(np.radians(degrees)), along * np.cos(np.radians(degrees))
    kernel = np.zeros((side, side))
    np.add.at(kernel, (np.rint(side // 2 + rows).astype(int), np.rint(side // 2 + columns).astype(int)), 1)
    return kernel / kernel.sum()


def shaken(sharp: np.ndarray, kernel: np.ndarray, **ways: bool) -> np.ndarray:
    return add_noise(blur_image(sharp, kernel, **ways), np.random.default_rng(0), 1)


@pytest.fixture(scope="module")
def heard() -> list[tuple[str, float]]:
    """What the estimation of `coffee` told of its progress: words and share of the work."""
    return []


@pytest.fixture(scope="module")
def coffee(heard):
    """A photo, shaken at 30 degrees, and what is found in it."""
    sharp = data.coffee()[:320, 100:421]  # one side even, one odd
    blur = shaken(sharp, line(30))
    found = estimate_blur(to_float(blur), in_light=True, side=SIDE, told=lambda *progress: heard.append(progress))
    return sharp, blur, found


def direction(kernel: np.ndarray) -> float:
    """Of the longer principal axis of a kernel, degrees from the right upwards, 0 to 180."""
    rows, columns = np.indices(kernel.shape) - np.array(ndimage.center_of_mass(kernel))[:, None, None]
    moments = [(kernel * one * other).sum() for one, other in ((columns, columns), (columns, -rows), (rows, rows))]
    return float(np.degrees(0.5 * np.arctan2(2 * moments[1], moments[0] - moments[2])) % 180)


def test_a_line_is_found_as_such_and_undone(coffee):
    sharp, blur, found = coffee
    assert found.doubt == ""
    assert direction(found.kernel) == pytest.approx(30, abs=5)
    assert radius(found.kernel) == pytest.approx(radius(line(30)), rel=0.15)
    assert likeness(found.kernel, line(30)) > 0.9
    assert psnr(tiles.deblur(found.method(in_light=True), blur), sharp) > psnr(blur, sharp) + 3


@pytest.mark.parametrize("way", ["sharp", "slight"])
def test_sharp_and_hardly_blurred_photos_are_left(way, monkeypatch):
    sharp = data.coffee()[:320, 100:420]
    blur = shaken(sharp, delta(1) if way == "sharp" else disc(1.2))
    monkeypatch.setattr(kernel_selection, "looks_sharp", lambda colours: False)  # which is not always right
    found = estimate_blur(to_float(blur), in_light=True, side=SIDE)
    assert radius(found.kernel) < kernel_selection.SLIGHT
    assert found.doubt == "its blur is slight"


def test_a_scene_of_two_motions_is_left():
    sharp = data.coffee()[:320, 100:420]
    blur = shaken(sharp, line(0))
    blur[:, 160:] = shaken(sharp, line(90))[:, 160:]
    found = estimate_blur(to_float(blur), in_light=True, side=SIDE)
    assert found.doubt
    assert found.agreement < 0.8


@pytest.mark.parametrize(
    ("sparsities", "agreement", "held_out", "consistency", "explained"),
    [
        ((0.8, 0.9), 0.5, 0.86, 0.5, True),
        ((0.8, 0.9), 0.5, 0.90, 0.5, False),  # sparse only where the kernel comes from
        ((0.8, 0.9), 0.5, np.inf, 0.5, False),  # nothing else to judge it by
        ((0.85, 0.93), 0.85, 0.95, 0.5, True),
        ((0.75, 1.03), 0.85, 0.95, 0.5, False),  # one part rings
        ((0.85, 1.03), 0.95, 0.95, 0.95, True),
        ((0.85, 1.03), 0.95, 0.95, 0.9, False),  # the kernel depends on the side
    ],
)
def test_the_less_kernels_agree_the_sparser_gradients_have_to_become(
    sparsities, agreement, held_out, consistency, explained
):
    found = Estimate(line(30), 0.005, sparsities, agreement, held_out, consistency)
    assert found.doubt == ("" if explained else "no single blur explains it")


def test_where_nothing_can_be_estimated_the_photo_is_left():
    for shape, side, why in (
        ((20, 400, 3), None, "too small for a blur of 21 pixels"),
        ((300, 300, 3), 51, "too small for a blur of 51 pixels"),
        ((300, 300, 3), None, "without edges that show a blur"),
    ):
        found = estimate_blur(np.full(shape, 0.2, np.float32), in_light=True, side=side)
        assert found.doubt == why
        assert found.kernel.tolist() == [[1.0]]


@pytest.mark.parametrize("sharp_at_sight", [False, True])
def test_the_true_kernel_is_measured_where_nothing_is_estimated(sharp_at_sight, monkeypatch):
    """With the photo's noise: the upper bound of what is estimated is not below the input."""
    sharp, kernel = data.coffee()[100:220, 150:310], line(30, 14)
    blur = add_noise(blur_image(sharp, kernel, linear=True), np.random.default_rng(0), 1)
    monkeypatch.setattr(kernel_selection, "looks_sharp", lambda _: sharp_at_sight)
    why = "it does not look blurred" if sharp_at_sight else "too small for a blur"
    assert estimate_blur(to_float(blur), in_light=True).doubt.startswith(why)
    images = blindly(blur, kernel, in_light=True)
    assert (images["blind"] == blur).all()
    assert psnr(images["true-kernel"], sharp) > psnr(blur, sharp) + 3


def test_a_photo_that_is_flat_but_for_clipped_lamps_is_left():
    """And is no division by zero: where gradients count there are none."""
    light = np.zeros((300, 300), np.float32)
    for top, left in ((70, 70), (70, 220), (220, 70), (220, 220)):
        light[top : top + 12, left : left + 12] = 6
    lamps = np.clip(ndimage.uniform_filter1d(light, 15, axis=1), 0, 1)[..., None].repeat(3, axis=2)
    assert estimate_blur(to_float(to_uint8(2 * lamps ** (1 / 2.2) - 1)), in_light=True, side=SIDE).doubt


def test_progress_goes_from_nothing_to_all_of_the_work(coffee, heard):
    shares = [share for _, share in heard]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.05
    assert shares[-1] == pytest.approx(1)
    scales = len(sides(SIDE))
    assert len(heard) == 3 * scales * kernel_estimation.ROUNDS  # kernels: of all parts and of two halves
    assert heard[0][0] == f"size 1 of 1, scale 1 of {scales}"
    assert heard[-1][0] == f"size 1 of 1, scale {scales} of {scales}"


def test_what_the_kernel_moves_is_a_fraction_of_a_pixel_and_undone():
    sharp = data.camera()[100:260, 150:310].astype(np.float32) / 255
    kernel = np.zeros((9, 9))
    kernel[4, 2:8] = 1 / 6  # its centroid lies half a pixel to the right
    blurred = ndimage.convolve(sharp, kernel, mode="nearest")
    inner = slice(12, -12)
    found = [deconvolved(blurred, kernel, 0.004, origin=origin)[inner, inner] for origin in (None, centroid(kernel))]
    shifts = [phase_cross_correlation(sharp[inner, inner], image, upsample_factor=20)[0] for image in found]
    assert centroid(kernel) == pytest.approx((4, 4.5))
    np.testing.assert_allclose(shifts, [(0, 0), (0, -0.5)], atol=0.1)
    assert np.abs(fourier.transfer(kernel, (40, 41), centroid(kernel))[0, 1].imag) < 1e-6


def test_the_same_bytes_on_any_number_of_cores(coffee, monkeypatch):
    _, blur, found = coffee
    cores = []
    monkeypatch.setattr(kernel_selection, "usable_cores", lambda: cores.append(1) or 1)
    again = estimate_blur(to_float(blur), in_light=True, side=SIDE)
    assert again.kernel.tobytes() == found.kernel.tobytes()
    assert again.sparsities == found.sparsities
    assert cores


@pytest.fixture(scope="module")
def patch():
    """One part of the photo, light, and the kernel that is found in it."""
    values = to_linear(shaken(data.coffee()[:160, 120:281], line(30, 9))[..., 1] / 255).astype(np.float32)
    return values, estimate([values], 15)


def test_a_kernel_is_a_kernel(patch):
    kernel = patch[1]
    assert kernel.shape == (15, 15)
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1)
    assert np.abs(np.array(ndimage.center_of_mass(kernel)) - 7).max() <= 0.51


def test_brightness_and_contrast_change_nothing(patch):
    values, kernel = patch
    np.testing.assert_array_equal(estimate([values / 4], 15), kernel)
    assert likeness(estimate([0.6 * values + 0.1], 15), kernel) > 0.98


def test_a_part_that_is_shifted_has_the_same_kernel(patch):
    kernel = patch[1]
    blur = shaken(data.coffee()[:200, 100:321], line(30, 9))[..., 1] / 255
    moved = estimate([to_linear(blur)[6:166, 23:184].astype(np.float32)], 15)
    assert likeness(moved, kernel) > 0.85


def test_a_turned_part_has_a_turned_kernel():
    values = to_linear(shaken(data.coffee()[:160, 120:281], line(30, 9))[..., 1] / 255).astype(np.float32)
    turned = estimate([np.ascontiguousarray(np.rot90(values))], 15)
    assert direction(turned) == pytest.approx(120, abs=12)


@given(kernels)
@settings(max_examples=15)
def test_from_sharp_gradients_the_kernel_itself_is_found(random):
    kernel = cleaned(random)
    sharp = fourier.wrapped(data.camera()[100:260, 150:310] / 255, 9).astype(np.float32)
    blurred = fourier.image_of(fourier.spectrum(sharp) * fourier.transfer(kernel, sharp.shape), sharp.shape)
    spectra = [fourier.spectrum(field) for field in fourier.differences(blurred)]
    equations = Equations.of(sharp, spectra, np.ones_like(sharp), 9)
    found = equations.solved(delta(9))
    assert found.min() >= 0
    assert likeness(found, kernel) > 0.97


@given(kernels, st.tuples(st.integers(-6, 6), st.integers(-6, 6)))
@settings(max_examples=30)
def test_cleaned_centred_and_trimmed_keep_what_a_kernel_is(kernel, shift):
    moved = np.roll(np.pad(kernel, 8), shift, (0, 1))
    found = trimmed(centred(cleaned(moved)))
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    assert len(found) % 2 == 1
    assert np.abs(np.array(ndimage.center_of_mass(found)) - len(found) // 2).max() <= 0.51
    assert likeness(found, cleaned(kernel)) == pytest.approx(1, abs=1e-6)
    assert radius(found) == pytest.approx(radius(cleaned(kernel)))


def test_faint_pixels_and_islands_go():
    kernel = np.zeros((15, 15))
    kernel[7, 4:11], kernel[1, 1], kernel[12, 12] = 1, 0.04, 0.5
    found = cleaned(kernel)
    assert np.argwhere(found)[:, 0].tolist() == [7] * 7
    assert cleaned(np.zeros((5, 5))).tolist() == delta(5).tolist()


@given(st.integers(1, 75).map(lambda n: 2 * n + 1))
def test_a_pyramid_grows_from_three_pixels_by_odd_sides(largest):
    found = sides(largest)
    assert found[0] == kernel_estimation.SMALLEST
    assert found[-1] == largest
    assert all(side % 2 for side in found)
    assert all(one < other for one, other in itertools.pairwise(found))


def test_parts_are_taken_where_edges_are_and_highlights_are_not():
    values = np.zeros((400, 400), np.float32)
    values[60:140:8, 60:140] = 0.5
    values[260:340:8, 260:340] = 1.0
    (part,) = kernel_selection.edged_parts(values, full=0.9)
    assert part.max() == 0.5
    assert part.shape == (200, 200)
    (part,) = kernel_selection.edged_parts(values, 0.9, most=120)
    assert part.shape == (120, 120)
    assert part.max() == 0.5


def saved(path, image):
    Image.fromarray(image).save(path)
    return path


def test_the_command_undoes_a_shake_and_shows_it(tmp_path, coffee, capsys, monkeypatch):
    monkeypatch.setattr(blind, "DELAY", 0)
    sharp, blur, found = coffee
    photo, out = saved(tmp_path / "shaken.png", blur), tmp_path / "out"
    options = ["--output", str(out), "--kernel-size", "24", "--show-kernel", "--compare"]
    main([str(photo), "--algorithm", "blind", *options])
    said = capsys.readouterr().err
    assert "one blur of" in said
    assert re.search(r"blur, size 1 of 1, scale \d of \d: +\d+%\|.*<\d\d:\d\d\]", said)
    assert psnr(read_rgb(out / "shaken.png"), sharp) > psnr(blur, sharp) + 3
    drawn = read_rgb(out / "shaken_kernel.png")
    assert len(drawn) == len(drawn[0]) >= 8 * len(found.kernel)
    assert drawn.max() == 255
    assert read_rgb(out / "shaken_before_after.png").shape == (320, 642, 3)
    main([str(photo), "--algorithm", "auto", "--output", str(tmp_path / "auto"), "--kernel-size", "25"])
    assert read_rgb(tmp_path / "auto/shaken.png").tobytes() == read_rgb(out / "shaken.png").tobytes()


@pytest.mark.long
def test_the_evaluation_measures_it_beside_the_kernel_that_is_known(coffee, monkeypatch):
    sharp, blur, _ = coffee
    monkeypatch.setattr(kernel_selection, "SIDES", (SIDE,))
    found = {name: psnr(image, sharp) for name, image in blindly(blur, line(30), in_light=True).items()}
    assert psnr(blur, sharp) + 3 < found["blind"] < found["true-kernel"]
    assert list(blindly(blur, None, in_light=True)) == ["blind"]


def test_the_command_leaves_what_no_single_blur_explains(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (200, 180, 3), dtype=np.uint8)
    photo = saved(tmp_path / "noise.png", noise)
    main([str(photo), "--algorithm", "blind", "--output", str(tmp_path / "out"), "--kernel-size", "9"])
    said = capsys.readouterr()
    assert "left as it is" in said.err
    assert "0 of 1 deblurred" in said.out
    assert (tmp_path / "out/noise.png").read_bytes() == photo.read_bytes()


def test_sixteen_bit_grey_stays_what_it_is(tmp_path):
    blur = shaken(data.coffee()[:200, 120:320, 1:2].repeat(3, 2), line(30, 9))[..., 0]
    photo = tmp_path / "grey.png"
    Image.fromarray(blur.astype(np.uint16) * 257).save(photo)
    main([str(photo), "--algorithm", "blind", "--output", str(tmp_path / "out"), "--kernel-size", "15"])
    with Image.open(tmp_path / "out/grey.png") as image:
        assert image.mode.startswith("I")
        assert image.size == (200, 200)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--kernel-size", "15"], "are for --algorithm blind and auto"),
        (["--algorithm", "wiener", "--show-kernel"], "are for --algorithm blind and auto"),
        (["--algorithm", "blind", "--kernel-size", "999"], "from 3 to 151"),
        (["--algorithm", "blind", "--video"], "is for photos"),
        (["--algorithm", "blind", "--ensemble"], "is for the network"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, what, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["photo.png", "--output", str(tmp_path), *options])
    assert what in capsys.readouterr().err


def test_always_holds_for_auto_too():
    arguments = ["a.png", "--output", "out", "--algorithm", "auto"]
    assert read_options(arguments).skip_sharp
    assert not read_options([*arguments, "--always"]).skip_sharp


def test_a_photo_is_refused_or_not_whatever_came_before_it():
    restorer = blind.BlindRestorer(tile=400)
    for _ in range(2):
        with pytest.raises(UserError, match="tiles of 400 pixels are too small"):
            restorer.check((1000, 1500))
        restorer.method = deconvolution.method(np.ones((3, 3)) / 9, 1.0, in_light=True)  # of a small blur
