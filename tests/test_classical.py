"""The algorithms from before there were networks."""

import tracemalloc

import numpy as np
import pytest
from skimage import data, restoration

from deblurgan.blur.convolution import add_noise, blur_image
from deblurgan.evaluation.metrics import psnr
from deblurgan.images import to_float
from deblurgan.restoration import classical, tiles

FEW = {"richardson-lucy": lambda image, kernel, iterations: classical.richardson_lucy(image, kernel, 2)}


@pytest.mark.parametrize("in_light", [True, False])
@pytest.mark.parametrize("name", classical.ALGORITHMS)
def test_what_a_known_kernel_has_blurred_becomes_sharper(name, in_light):
    y, x = np.mgrid[:96, :128]
    sharp = np.stack([((x // 9 + y // 7) % 2) * 140 + 40] * 3, axis=-1).astype(np.uint8)
    kernel = classical.guessed_kernel()
    blur = np.rint(blur_image(sharp, kernel, linear=in_light)).astype(np.uint8)
    method = classical.algorithm(name, kernel, in_light=in_light)
    assert psnr(tiles.deblur(method, blur), sharp) > psnr(blur, sharp) + 0.5
    flat = np.full((40, 30, 3), 0.3, np.float32)
    np.testing.assert_allclose(tiles.restore(method, flat), flat, atol=0.02)


@pytest.mark.parametrize("name", ["wiener", "richardson-lucy"])
def test_blur_that_mixed_light_is_undone_in_light(name):
    """Stored values are another quantity: around bright places the two differ by far more than rounding."""
    sharp, kernel = data.astronaut()[:160, 150:310], classical.guessed_kernel()
    blur = add_noise(blur_image(sharp, kernel, linear=True), np.random.default_rng(0), 0.5)
    light, stored = (
        psnr(tiles.deblur(classical.algorithm(name, kernel, in_light=way), blur), sharp) for way in (True, False)
    )
    assert light > stored + 0.2


def test_more_iterations_of_richardson_and_lucy_go_further():
    sharp, kernel = data.astronaut()[:160, 150:310], classical.guessed_kernel()
    blur = np.rint(blur_image(sharp, kernel, linear=False))[..., 1] / 255
    errors = [
        np.abs(classical.richardson_lucy(blur, kernel, *count)[20:-20, 20:-20] - sharp[20:-20, 20:-20, 1] / 255).mean()
        for count in ((10,), (classical.ITERATIONS,), ())
    ]
    assert errors[1] == errors[2] < 0.95 * errors[0]


@pytest.mark.parametrize("scene", ["photo", "noise"])
@pytest.mark.parametrize("name", classical.ALGORITHMS)
def test_tiles_give_what_the_whole_gives(name, scene):
    """To a fiftieth of a grey level at the worst pixel, also of the hardest image, noise of all levels."""
    method = classical.algorithm(name, classical.guessed_kernel(), in_light=True)
    image = {
        "photo": data.astronaut()[:100, 150:390],
        "noise": np.random.default_rng(0).integers(0, 256, (100, 240, 3), dtype=np.uint8),
    }[scene]
    image = to_float(image)
    whole, tiled = (tiles.restore(method, image, tile) for tile in (None, method.smallest_tile))
    assert np.abs(whole - image).mean() > 0.01
    assert 127.5 * np.abs(whole - tiled).max() < 0.02


@pytest.mark.parametrize("name", classical.ALGORITHMS)
def test_the_memory_of_a_pixel_is_known(name, monkeypatch):
    image = np.zeros((600, 600, 3), np.float32)
    method = classical.algorithm(name, classical.guessed_kernel(), in_light=True)
    monkeypatch.setitem(classical.ALGORITHMS, name, FEW.get(name, classical.ALGORITHMS[name]))
    tracemalloc.start()
    method.run(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < method.bytes * 600 * 600


def test_large_images_are_cut_so_that_work_can_be_watched():
    method = classical.algorithm("richardson-lucy", classical.guessed_kernel(), in_light=True)
    assert tiles.tile_for(method, (1000, 1000, 3), 100) is None
    assert tiles.tile_for(method, (4000, 6000, 3), 100) == classical.TILE
    assert method.work((4000, 6000, 3), classical.TILE) < 1.6


def test_wieners_borders_ring_less_than_where_they_do_not_meet():
    """A straight kernel has zeros in its spectrum: what jumps at a border comes back all over."""
    sharp, kernel = data.coffee()[80:320, 100:420], np.zeros((21, 21))
    kernel[10] = 1 / 21
    blur = add_noise(blur_image(sharp, kernel, linear=False), np.random.default_rng(0), 1)[..., 1] / 255
    apart = restoration.wiener(blur, kernel, 0.02, clip=False)
    meeting = classical.wiener(blur, kernel)
    errors = [np.sqrt(np.mean((np.clip(one, 0, 1) - sharp[..., 1] / 255) ** 2)) for one in (apart, meeting)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("length", [3, 9, 21])
def test_unsharp_takes_a_motion_for_as_wide_whichever_way_it_goes(length):
    kernel = np.zeros((21, 21))
    kernel[10, 10 - length // 2 : 11 + length // 2] = 1 / length
    image = data.coffee()[:96, :128, 1] / 255
    across, down = classical.unsharp(image, kernel), classical.unsharp(image.T, kernel.T).T
    np.testing.assert_allclose(across, down, atol=1e-12)
    guessed = classical.guessed_kernel(2.0)
    assert classical._deviation(guessed) == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("name", classical.ALGORITHMS)
def test_a_long_kernel_gets_tiles_larger_than_the_usual_ones(name):
    """Its margins leave nothing of the usual ones."""
    kernel = np.zeros((301, 301))
    kernel[150] = 1 / 301
    method = classical.algorithm(name, kernel, in_light=True)
    tile = tiles.tile_for(method, (853, 6000, 3), 16)
    assert tile is not None
    assert method.smallest_tile <= tile <= max(classical.TILE, method.smallest_tile)
