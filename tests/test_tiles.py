"""Images of any size within a budget of memory: tiles, by networks and by older algorithms."""

import numpy as np
import pytest
from conftest import SMALL, some_long
from hypothesis import given, settings
from hypothesis import strategies as st

from deblurgan.errors import UserError
from deblurgan.networks.generators import build_generator, stride
from deblurgan.restoration import neural, tiles
from deblurgan.restoration.neural import network, traits_of
from deblurgan.restoration.tiles import Method, _spans, check_tile, restore, tile_enough, tile_for
from deblurgan.restoration.traits import FARTHEST, ensembled

GENERATORS = {
    "resnet": SMALL,
    "resize": SMALL.model_copy(update={"upsample": "resize", "blocks": 2}),
    "nafnet": SMALL.model_copy(update={"architecture": "nafnet", "norm": "layer", "upsample": "shuffle"}),
    "unet": SMALL.model_copy(update={"architecture": "unet", "upsample": "shuffle"}),
}
LOCAL = GENERATORS["nafnet"].model_copy(update={"attention": "local"})
WIDE = Method(lambda image: image, reach=288, bytes=4e3, step=16)
"""As wide as a large NAFNet."""


def busy(generator):
    """Weights that let every pixel matter."""
    rng = np.random.default_rng(1)
    generator.set_weights([rng.normal(0, 0.25, weight.shape) for weight in generator.get_weights()])
    return generator


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (height, width, 3)).astype(np.float32)


@settings(max_examples=100)
@given(st.integers(1, 60), st.integers(2, 6), st.integers(2, 6))
def test_tiles_cover_a_side_and_their_shares_sum_to_one(length, margins, cores):
    step, margin = 16, 16 * margins
    length, tile = length * step, 2 * margin + step * cores
    total = np.zeros(length)
    for span, weights in _spans(length, tile, margin):
        assert span.stop - span.start == min(tile, length)
        assert span.start % step == 0
        assert 0 <= span.start < span.stop <= length
        total[span] += weights
        inner = margin - tiles.RAMP // 2
        assert span.start == 0 or not weights[:inner].any()  # what its border has spoilt has no share
        assert span.stop == length or not weights[-inner:].any()
    np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize("name", GENERATORS)
def test_what_lies_beyond_its_reach_does_not_matter_and_the_reach_is_no_exaggeration(name):
    generator = busy(build_generator(GENERATORS[name]))
    radius, step = traits_of(generator).reach, stride(generator)
    side = -(-(2 * radius + 8 * step) // step) * step
    x = pixels(side, side)
    changed, middle = x.copy(), side // 2
    changed[:, : middle - radius] = 0
    before, after = (generator.predict_on_batch(image[None])[0] for image in (x, changed))
    np.testing.assert_array_equal(before[:, middle:], after[:, middle:])
    assert np.abs(before - after)[:, middle - radius : middle - radius // 3].max() > 0


@pytest.mark.parametrize("name", some_long(GENERATORS, "nafnet"))
def test_tiles_give_what_the_whole_gives(name):
    method = network(busy(build_generator(GENERATORS[name])))
    margin = method.reach + tiles.RAMP
    image = pixels(3 * margin + 201, 4 * margin + 133)
    whole, tiled = (restore(method, image, tile) for tile in (None, 2 * margin + 64))
    assert np.abs(whole - image).mean() > 0.05
    np.testing.assert_allclose(whole, tiled, atol=1e-4)  # a grey level is 0.008


def test_with_instance_norm_tiles_stay_near_the_whole_and_have_no_seams():
    """The bound is on a photo's smooth light, with a generator whose residual image is large."""
    method = network(build_generator(SMALL.model_copy(update={"norm": "instance"})))
    y, x = np.mgrid[:352, :416] / 100
    image = np.stack([np.sin(3 * x + y), np.cos(2 * y), np.sin(x * y)], axis=-1).astype(np.float32) * 0.8
    image += 0.1 * pixels(352, 416)
    whole, tiled = (restore(method, image, tile) for tile in (None, 256))
    assert np.abs(whole - image).mean() > 0.001
    difference = whole - tiled
    assert np.sqrt(np.mean(difference**2)) < 0.6 * np.sqrt(np.mean((whole - image) ** 2))
    across = np.abs(np.diff(difference, axis=1)).mean(axis=(0, 2))
    assert across.max() < 4 * np.median(across) + 1e-3  # no column stands out


@pytest.mark.long
def test_with_local_attention_tiles_stay_near_the_whole():
    """A tile has the statistics of its own pixels where a window reaches beyond it."""
    generator = busy(build_generator(LOCAL))
    method = network(generator)
    y, x = np.mgrid[:416, :480] / 100
    image = np.stack([np.sin(3 * x + y), np.cos(2 * y), np.sin(x * y)], axis=-1).astype(np.float32) * 0.6
    image += 0.3 * pixels(416, 480)
    whole, tiled = (restore(method, image, tile) for tile in (None, 352))
    assert np.abs(whole - image).mean() > 0.05
    assert np.abs(whole - tiled).mean() < 0.1 * np.abs(whole - image).mean()


def test_the_margin_of_a_deep_generator_is_capped():
    generator = build_generator(GENERATORS["nafnet"].model_copy(update={"blocks": 28}))
    assert traits_of(generator).reach == 288
    assert network(generator).reach == FARTHEST


@pytest.mark.parametrize("tile", [None, 64])
def test_what_published_networks_are_shown_is_padded_with_black(tile):
    """As little as it takes, whatever the number of sizes."""
    image, shown = pixels(70, 90), []

    def run(part):
        shown.append(part.copy())
        return part

    method = Method(run, reach=0, bytes=1, step=16, black=True)
    np.testing.assert_allclose(restore(method, image, tile), image, atol=1e-6)
    last = shown[-1]
    below, right = 10, 6  # to 80 and 96
    assert (last[-below:] == -1).all()
    assert (last[:, -right:] == -1).all()
    assert (last[:-below, :-right] != -1).all()
    real = network(build_generator(LOCAL))
    assert (real.black, real.few_sizes, real.step) == (True, False, 16)


def test_tiles_are_chosen_by_the_memory():
    method = network(build_generator(SMALL))
    assert tile_for(method, (100, 100, 3)) is None
    tile = tile_for(method, (4000, 6000, 3), 2.0)
    assert tile % 4 == 0
    assert tile_for(method, (4000, 6000, 3), 1.8) < tile
    assert tile_for(method, (4000, 6000, 3), 1000) is None
    with pytest.raises(UserError, match=r"6000x4000 pixels need 1\.\d GB of memory or more, not 0\.5$"):
        tile_for(method, (4000, 6000, 3), 0.5)
    with pytest.raises(UserError, match=r"tiles of 32 pixels are too small: \d+ or more are needed"):
        restore(method, pixels(100, 100), 32)


def test_a_photo_too_large_for_the_budget_is_deblurred_in_tiles_by_the_pipeline(monkeypatch):
    """Its own copies come on top of the budget, so that no photo stops a stage."""
    generator, image = build_generator(SMALL), (127.5 * (pixels(300, 200) + 1)).astype(np.uint8)
    whole = neural.deblur(generator, image)
    monkeypatch.setattr(tiles, "MEMORY", neural.COPIES * 4 * 4 * 180**2 / 1e9)
    with pytest.raises(UserError, match=r"200x300 pixels need 0\.\d GB"):
        tile_for(network(generator), image.shape, tiles.MEMORY / 2)
    budget = tiles.MEMORY + tiles.IMAGE_BYTES * 60000 / 1e9
    assert tile_for(network(generator), image.shape, budget) < 300
    np.testing.assert_allclose(neural.deblur(generator, image).astype(int), whole, atol=1)


@pytest.mark.parametrize("shape", [(1000, 1400, 3), (300, 1500, 3)])
@pytest.mark.parametrize("tile", [None, 224, 400])
def test_the_work_is_the_pixels_that_a_method_is_shown(shape, tile):
    shown = [0]

    def run(image):
        shown[0] += image.shape[0] * image.shape[1]
        return image

    method = Method(run, reach=60, bytes=1, step=16)
    restore(method, np.zeros(shape, np.float32), tile)
    assert shown[0] == round(method.work(shape, tile) * shape[0] * shape[1])


def test_memory_in_which_tiles_overlap_less_is_known():
    shape = (4000, 6000, 3)
    assert WIDE.work(shape, 704) == pytest.approx(42, abs=1)
    enough = WIDE.gigabytes(shape, tile_enough(WIDE, shape))
    assert WIDE.work(shape, tile_for(WIDE, shape, enough + 0.01)) <= 3
    assert WIDE.work(shape, tile_for(WIDE, shape, enough - 0.3)) > 3


def test_the_budget_holds_whatever_the_tile():
    shape = (4000, 6000, 3)
    check_tile(WIDE, shape, 704, 6)
    check_tile(WIDE, shape, None, 100)
    with pytest.raises(UserError, match=r"^6000x4000 pixels whole need 9\d\.\d GB .* not 90; tiles of \d+ fit$"):
        check_tile(WIDE, shape, None, 90)
    with pytest.raises(UserError, match=r"^6000x4000 pixels in tiles of 2000 need 1\d\.\d GB of memory or more, not 6"):
        check_tile(WIDE, shape, 2000, 6)
    with pytest.raises(UserError, match=r"^60000x40000 pixels need 14\d\.\d GB of memory or more, not 6$"):
        check_tile(WIDE, (40000, 60000, 3), None, 6)


def test_images_of_many_sizes_are_shown_in_few():
    """Each size costs memory that a backend does not give back."""
    rng, shown = np.random.default_rng(0), set()

    def run(image):
        shown.add(image.shape)
        return image

    method = Method(run, reach=8, bytes=1, step=4, few_sizes=True)
    for _ in range(300):
        image = pixels(*rng.integers(1, 449, 2))
        np.testing.assert_array_equal(restore(method, image), image)
    assert len(shown) <= 49
    for side in range(1, 5000, 7):
        assert side <= method.shown(side) <= max(64, 1.25 * side + 64)
        assert method.shown(method.shown(side)) == method.shown(side)


def test_a_generator_is_shown_few_sizes(monkeypatch):
    generator, shown = build_generator(SMALL), set()
    monkeypatch.setattr(generator, "predict_on_batch", lambda batch: shown.add(batch.shape) or batch)
    for side in range(20, 120):
        neural.deblur(generator, np.zeros((side, 100, 3), np.uint8))
    assert shown == {(1, 64, 128, 3), (1, 128, 128, 3)}


def test_an_ensemble_is_the_mean_of_eight_positions_and_treats_all_alike():
    def lopsided(image):
        return image + np.linspace(0, 0.5, image.shape[1], dtype=np.float32)[None, :, None]

    method = ensembled(Method(lopsided, reach=1, bytes=4))
    image = pixels(6, 10) / 4
    found = method.run(image)
    np.testing.assert_allclose(found, image + 0.25, atol=1e-6)  # what leans to a side cancels out
    assert np.abs(lopsided(image) - found).max() > 0.2
    generator = busy(build_generator(SMALL))
    method = ensembled(network(generator))
    square = pixels(16, 16) / 4
    result = method.run(square)
    np.testing.assert_allclose(method.run(square[::-1]), result[::-1], atol=1e-5)
    np.testing.assert_allclose(method.run(np.rot90(square).copy()), np.rot90(result), atol=1e-5)
