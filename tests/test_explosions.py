"""Results that are no restoration are made again, or left out, and said."""

import numpy as np
import pytest
from conftest import SMALL

from deblurgan.blur.convolution import blur_image
from deblurgan.images import read_rgb, to_float, to_uint8, write_png
from deblurgan.networks.generators import build_generator
from deblurgan.networks.layers import MeanAround
from deblurgan.networks.model_files import save_model
from deblurgan.restoration import command
from deblurgan.restoration.explosions import Guard, exploded
from deblurgan.restoration.neural import restoring, with_global_means
from deblurgan.restoration.tiles import Method, restore

pytestmark = pytest.mark.usefixtures("eager")  # to compile a generator takes longer than to run it once

LOCAL = SMALL.model_copy(
    update={"architecture": "nafnet", "attention": "local", "norm": "layer", "upsample": "shuffle"}
)


def photo(height=200, width=300, seed=0):
    """Edges, texture and noise, `float32` in [-1, 1]."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.repeat(rng.uniform(-1, 1, (height // 25, width // 25, 3)), 25, 0), 25, 1)
    return (0.9 * image + 0.1 * rng.uniform(-1, 1, image.shape)).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length", [15, 41])
def test_no_blur_is_taken_for_an_explosion(seed, length):
    """Sharp photos of blocks of full contrast, as the results of blurred ones."""
    sharp = photo(seed=seed)
    kernel = np.zeros((length, length))
    kernel[length // 2] = 1 / length
    blurred = to_float(blur_image(to_uint8(sharp), kernel))
    assert not exploded(blurred, sharp)


@pytest.mark.parametrize("size", [(7, 5), (64, 64), (128, 192), (130, 200)])
def test_a_block_that_is_another_one_is_an_explosion(size):
    image = np.zeros((*size, 3), np.float32)
    assert not exploded(image, image + 0.45)
    for value in (0.55, np.nan, np.inf):
        other = image.copy()
        other[-64:, -64:, 1] = value
        assert exploded(image, other)
    noisy = image + np.random.default_rng(0).normal(0, 0.5, image.shape)
    assert size == (7, 5) or not exploded(image, noisy)  # details may be anything


def test_a_tile_that_explodes_is_made_again_and_left_as_it_is_where_that_explodes_too():
    """Half of the image makes the method explode, a quarter of it the cautious one."""
    image = np.zeros((256, 512, 3), np.float32)
    image[:, 256:] = 0.4
    image[128:, 256:] = -0.4

    def run(tile):
        return np.clip(tile + (0.1 if abs(tile.mean()) < 0.15 else 1), -1, 1)

    def again(tile):
        return np.clip(tile + (0.2 if tile.mean() > 0 else 1), -1, 1)

    guard = Guard(run, again)
    found = restore(Method(guard, reach=0, bytes=1), image, 128)
    tiles = guard.tiles
    said = guard.in_words()
    np.testing.assert_allclose(found[:, :190], 0.1, atol=1e-6)
    np.testing.assert_allclose(found[:90, 320:], 0.6, atol=1e-6)
    np.testing.assert_allclose(found[170:, 320:], -0.4, atol=1e-6)
    assert said.startswith("warning: the network's result was no restoration: ")
    assert f" of {tiles} tiles restored with global statistics instead of local ones, " in said
    assert said.endswith(f" of {tiles} tiles left as they are")
    assert guard.in_words() == ""


@pytest.fixture(scope="module")
def local():
    return build_generator(LOCAL)


def scaled(generator, factor):
    """Weights scaled up until results have nothing to do with their input."""
    twin = build_generator(LOCAL)
    twin.set_weights(generator.get_weights())
    head = twin.get_layer("head")
    head.set_weights([0.1 * head.get_weights()[0], factor * np.ones(3, np.float32)])
    return twin


def test_only_a_generator_of_local_attention_has_a_more_cautious_way(local):
    whole = with_global_means(local)
    assert {layer.window for layer in whole.layers if isinstance(layer, MeanAround)} == {None}
    assert whole.get_layer("head") is local.get_layer("head")  # no copy of the weights
    assert with_global_means(whole) is None


@pytest.mark.long
def test_weights_scaled_up_leave_the_input_and_say_so(local, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = np.random.default_rng(0).integers(100, 156, (70, 90, 3), dtype=np.uint8)
    write_png(tmp_path / "photo.png", before)
    for name, factor in (("good", 0.0), ("bad", 1.0)):
        save_model(scaled(local, factor), tmp_path / f"{name}.keras")
        command.main(["photo.png", "--output", name, "--model", f"{name}.keras"])
        warned = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
        if name == "good":
            assert warned == []
            assert (read_rgb(tmp_path / "good/photo.png") != before).any()
        else:
            line = "deblur: warning: photo.png: the network's result was no restoration: 1 of 1 tiles left as they are"
            assert warned == [line]
            np.testing.assert_array_equal(read_rgb(tmp_path / "bad/photo.png"), before)


def test_what_explodes_with_local_statistics_is_restored_with_global_ones(local, monkeypatch):
    image = photo(48, 64)
    method, guard = restoring(local)
    wanted = restore(method, image)
    assert guard.in_words() == ""
    guard.run = lambda tile: np.full_like(tile, np.nan)
    np.testing.assert_allclose(restore(method, image), wanted, atol=1e-5)  # the window covers the image
    assert "1 of 1 tiles restored with global statistics" in guard.in_words()
