"""Networks: size, shape, start and saving."""

import json
import re
import zipfile

import keras
import numpy as np
import pytest
from conftest import ROOT, SMALL

from deblurgan.blur.convolution import blur_image
from deblurgan.errors import UserError
from deblurgan.evaluation.metrics import psnr
from deblurgan.networks.critic import build_critic
from deblurgan.networks.generators import build_generator, stride
from deblurgan.networks.layers import ReflectionPad
from deblurgan.networks.model_files import copy_weights, load_generator, save_half, save_model
from deblurgan.params import Critic
from deblurgan.pretrained import PRETRAINED
from deblurgan.restoration.neural import deblur

PAPER_GENERATOR = SMALL.model_copy(update={"filters": 64, "blocks": 9, "norm": "instance", "dropout": 0.5})
PAPER_CRITIC = Critic(filters=64, layers=3, norm="instance", conditional=False)
RANDOM = SMALL.model_copy(update={"blocks": 2})
IDENTITY = RANDOM.model_copy(update={"identity_start": True})


def images(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def test_the_papers_networks_have_the_papers_sizes():
    assert build_generator(PAPER_GENERATOR).count_params() == 11_378_179
    critic = build_critic(PAPER_CRITIC)
    assert critic.count_params() == 2_764_737
    assert critic.compute_output_shape([(1, 256, 256, 3)] * 2) == (1, 35, 35, 1)


@pytest.mark.parametrize("architecture", ["resnet", "nafnet", "unet"])
@pytest.mark.parametrize("norm", ["instance", "layer", "none"])
@pytest.mark.parametrize("upsample", ["transpose", "resize", "shuffle"])
def test_output_has_the_shape_and_range_of_the_input(architecture, norm, upsample, eager):
    changes = {"architecture": architecture, "norm": norm, "upsample": upsample}
    generator = build_generator(RANDOM.model_copy(update=changes))
    step = {"resnet": 4, "nafnet": 16, "unet": 8}[architecture]
    assert stride(generator) == step
    x = images(2, 2 * step, 3 * step, 3)
    y = generator.predict_on_batch(x)
    assert y.shape == x.shape
    assert np.abs(y).max() <= 1
    assert np.abs(y - x).max() > 1e-3


@pytest.mark.parametrize("architecture", ["resnet", "nafnet", "unet"])
def test_an_identity_start_is_the_identity(architecture):
    x = images(1, 16, 32, 3)
    generator = build_generator(IDENTITY.model_copy(update={"architecture": architecture}))
    np.testing.assert_array_equal(generator.predict_on_batch(x), x)


def test_a_published_nafnet_without_attention_has_its_size():
    """With its channel attention, c^2 + c weights in a block of c channels, it has the published 17.11 million."""
    settings = {"architecture": "nafnet", "filters": 32, "blocks": 28, "norm": "layer", "upsample": "shuffle"}
    blocks = {32: 2, 64: 2, 128: 2, 256: 28 + 1, 512: 1}
    attention = sum(count * (c * c + c) for c, count in blocks.items())
    count = build_generator(IDENTITY.model_copy(update=settings)).count_params()
    assert (count + attention) / 1e6 == pytest.approx(17.11, abs=0.005)


def test_a_nafnet_sees_a_pixels_surroundings_alone():
    """Channel attention, or instance norm, would see the whole image: a tile of it would be restored otherwise."""
    changes = {"architecture": "nafnet", "blocks": 1, "norm": "layer", "upsample": "shuffle"}
    generator = build_generator(RANDOM.model_copy(update=changes))
    rng = np.random.default_rng(1)
    generator.set_weights([rng.normal(0, 0.2, weight.shape) for weight in generator.get_weights()])
    x, edge = images(1, 192, 208, 3), 80
    whole, part = generator.predict_on_batch(x), generator.predict_on_batch(x[:, 16:, 32:])
    np.testing.assert_allclose(whole[:, 16 + edge : -16, 32 + edge : -16], part[:, edge:-16, edge:-16], atol=1e-5)
    assert np.abs(whole[:, 16:, 32:] - part).max() > 1e-3  # at its own borders


@pytest.mark.parametrize("upsample", ["transpose", "resize", "shuffle"])
def test_an_enlarging_layer_starts_with_the_power_that_its_activation_halves(upsample):
    """He's variance, whatever the numbers of channels; a transposed convolution meets a quarter of its taps."""
    generator = build_generator(RANDOM.model_copy(update={"filters": 32, "upsample": upsample}))
    signal = np.random.default_rng(0).normal(size=(2, 32, 32, 128)).astype(np.float32)
    layer = generator.get_layer("up1_conv" if upsample == "shuffle" else "up1")
    assert np.var(layer(signal)[:, 4:-4, 4:-4]) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("architecture", "name", "power"),
    [
        ("resnet", "block1_conv1", 2), ("resnet", "block1_conv2", 0.5), ("nafnet", "middle_conv1", 1),
        ("nafnet", "middle_depthwise", 1), ("nafnet", "down4", 1), ("nafnet", "up4_conv", 1),
        ("unet", "stem", 1), ("unet", "body1_conv1", 2), ("unet", "body1_conv2", 0.5), ("unet", "down3", 1),
        ("unet", "up3_conv", 1),
    ],
)  # fmt: skip
def test_other_layers_keep_power_too_twice_of_it_before_an_activation(architecture, name, power):
    changes = {"architecture": architecture, "filters": 32, "upsample": "shuffle"}
    layer = build_generator(RANDOM.model_copy(update=changes)).get_layer(name)
    signal = np.random.default_rng(0).normal(size=(2, 32, 32, layer.input.shape[-1])).astype(np.float32)
    assert np.var(layer(signal)[:, 2:-2, 2:-2]) == pytest.approx(power, rel=0.15)


@pytest.mark.parametrize("blocks", [1, 4, 16])
def test_residual_blocks_about_double_the_power_however_many_they_are(blocks):
    """Each adds to it; were it as much as there is, 9 would make 500 times of it, the output black or white."""
    generator = build_generator(RANDOM.model_copy(update={"filters": 32, "blocks": blocks}))
    ends = [generator.get_layer(name).output for name in ("down2_relu", f"block{blocks}")]
    before, after = keras.Model(generator.input, ends).predict_on_batch(images(2, 32, 32, 3))
    assert 1.5 < np.square(after).mean() / np.square(before).mean() < 3.5


def test_seeds_decide_the_weights():
    one, two, other = (build_generator(RANDOM, seed).get_weights() for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))


def test_dropout_is_off_at_inference_and_on_in_training():
    generator = build_generator(RANDOM.model_copy(update={"dropout": 0.5}))
    x = images(1, 16, 16, 3)
    np.testing.assert_array_equal(generator(x), generator(x))
    assert (np.asarray(generator(x, training=True)) != np.asarray(generator(x, training=True))).any()


def test_instance_norm_is_per_image_and_channel_without_learned_weights():
    norm = build_generator(RANDOM.model_copy(update={"norm": "instance"})).get_layer("stem_norm")
    x = images(2, 8, 9, 4)
    mean, variance = x.mean(axis=(1, 2), keepdims=True), x.var(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(norm(x), (x - mean) / np.sqrt(variance + 1e-5), atol=1e-5)
    assert not norm.weights


def test_a_conditional_critic_looks_at_the_blurred_image_and_another_does_not():
    sharp, blur, other = images(3, 1, 16, 16, 3)
    for conditional in (True, False):
        critic = build_critic(Critic(filters=4, layers=2, norm="instance", conditional=conditional))
        same = np.allclose(critic([blur, sharp]), critic([other, sharp]))
        assert same is not conditional


def test_reflection_padding_is_numpys():
    x = images(1, 5, 6, 2)
    expected = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(ReflectionPad(3)(x), expected)


def test_a_saved_generator_comes_back_and_its_bytes_depend_on_it_alone(tmp_path):
    generator = build_generator(RANDOM)
    save_model(generator, tmp_path / "one.keras")
    keras.Sequential([keras.layers.Dense(1)])  # Keras's counters of names must not matter
    save_model(build_generator(RANDOM), tmp_path / "two.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.keras", "two.keras"]
    with zipfile.ZipFile(tmp_path / "one.keras") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"date_saved" not in archive.read("metadata.json")
        ids = re.findall(rb'"shared_object_id": (\d+)', archive.read("config.json"))
        assert ids
        assert max(map(int, ids)) < len(ids)  # numbered, not memory addresses
    x = images(1, 16, 16, 3)
    loaded = load_generator(tmp_path / "one.keras")
    np.testing.assert_array_equal(loaded(x), generator(x))
    assert len(loaded.trainable_variables) == len(generator.trainable_variables)


def test_half_precision_halves_the_file_and_keeps_eleven_bits(tmp_path):
    generator = build_generator(RANDOM.model_copy(update={"filters": 16}))
    save_model(generator, tmp_path / "whole.keras")
    save_half(tmp_path / "whole.keras", tmp_path / "half.keras")
    sizes = [(tmp_path / f"{name}.keras").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.65 * sizes[1]
    loaded = load_generator(tmp_path / "half.keras")
    assert [weight.dtype for weight in loaded.weights] == ["float32"] * len(loaded.weights)
    for ours, theirs in zip(generator.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=2**-11, atol=2**-25)


def test_a_weight_that_half_precision_cannot_hold_is_refused(tmp_path):
    generator = build_generator(RANDOM)
    generator.layers[-2].bias.assign([1e6, 0, 0])
    save_model(generator, tmp_path / "whole.keras")
    with pytest.raises(UserError, match=r"whole\.keras: a weight of .* is too large for half precision"):
        save_half(tmp_path / "whole.keras", tmp_path / "half.keras")
    assert not (tmp_path / "half.keras").exists()


def test_the_pretrained_generator_is_small_and_sharpens_blurred_edges():
    """In the mean of several: from a flat side alone it cannot tell the length, and one edge may come out too steep."""
    assert PRETRAINED.stat().st_size < 6e6
    generator, gains = load_generator(PRETRAINED), []
    for length in (5, 9, 13, 17):
        for levels in ((0, 200), (200, 0)):
            edge = np.repeat(np.repeat(np.uint8(levels), 32), 64 * 3).reshape(64, 64, 3).swapaxes(0, 1)
            kernel = np.zeros((length, length))
            kernel[length // 2] = 1 / length
            blurred = np.rint(blur_image(edge, kernel)).astype(np.uint8)
            gains.append(psnr(deblur(generator, blurred), edge) - psnr(blurred, edge))
    assert np.mean(gains) > 1  # dB


@pytest.mark.parametrize(
    ("name", "pixel"), [("resnet", (-0.781753, -0.649664, -0.502595)), ("nafnet", (-1.0, -0.006061, -1.0))]
)
def test_generators_that_were_saved_when_the_library_was_one_folder_still_load(name, pixel):
    """Layers are found by the names that they are registered under, not by their modules."""
    generator = load_generator(ROOT / f"tests/data/{name}_before_moves.keras")
    image = np.linspace(-1, 1, 32 * 32 * 3, dtype=np.float32).reshape(1, 32, 32, 3)
    np.testing.assert_allclose(generator.predict_on_batch(image)[0, 5, 7], pixel, atol=1e-3)


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_what_is_no_generator_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"no model at .*none\.keras: `dvc repro train`"):
        load_generator(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(UserError, match=r"text\.keras is not a generator"):
        load_generator(tmp_path / "text.keras")
    photo = keras.Input((None, None, 3))
    others = (
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]),
        keras.Sequential([keras.layers.Conv2D(3, 3)]),  # never built
        keras.Model([photo, other := keras.Input((None, None, 3))], keras.layers.Add()([photo, other])),
        keras.Model(photo, [photo, photo]),
        keras.Model(grey := keras.Input((None, None, 1)), keras.layers.Concatenate()([grey] * 3)),
    )
    for model in others:
        save_model(model, tmp_path / "other.keras")
        with pytest.raises(UserError, match=r"other\.keras does not map images to images: its input is "):
            load_generator(tmp_path / "other.keras")


@pytest.mark.parametrize("size", [(1, 1), (3, 300), (7, 5), (16, 16), (17, 31), (64, 48)])
@pytest.mark.parametrize("architecture", ["resnet", "nafnet"])
def test_any_size_comes_back_in_its_size(size, architecture, eager):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    same, other = (
        build_generator(kind.model_copy(update={"architecture": architecture, "blocks": 1}))
        for kind in (IDENTITY, RANDOM)
    )
    np.testing.assert_array_equal(deblur(same, image), image)
    assert deblur(other, image).shape == image.shape


@pytest.mark.parametrize("grow", [False, True])
def test_measured_as_it_is_a_generator_has_the_attention_that_it_has(grow):
    """Windows have no weights; in a training, they may be others."""
    changes = {"architecture": "nafnet", "norm": "layer", "upsample": "shuffle", "blocks": 1}
    source, target = (
        build_generator(RANDOM.model_copy(update={**changes, "attention": kind})) for kind in ("global", "local")
    )
    if grow:
        assert copy_weights(source, target, "other.keras", grow=True) == []
    else:
        with pytest.raises(UserError, match=r"it has encoder1_1_means over all pixels, not encoder1_1_means over 384"):
            copy_weights(source, target, "other.keras")


@pytest.mark.parametrize("seed", [4294968, 20240101, 2**32 - 1])
def test_seeds_may_be_as_large_as_the_parameters_allow(seed):
    """JAX takes no larger ones than of 32 bits."""
    settings = RANDOM.model_copy(update={"dropout": 0.5})
    networks = (
        build_generator(settings, seed),
        build_critic(Critic(filters=4, layers=1, norm="none", conditional=True), seed),
    )
    configs = json.dumps([network.get_config() for network in networks])
    seeds = [int(found) for found in re.findall(r'"seed": (\d+)', configs)]
    assert len(seeds) > 4
    assert max(seeds) < 2**32


def test_a_generator_starts_from_another_ones_weights():
    source, target = build_generator(RANDOM, 1), build_generator(RANDOM, 2)
    copy_weights(source, target, "other.keras")
    x = images(1, 16, 16, 3)
    np.testing.assert_array_equal(source(x), target(x))


@pytest.mark.parametrize(
    ("change", "added"),
    [
        ({"blocks": 4}, ["block3", "block4"]),
        ({"blocks": 3, "norm": "instance"}, ["block3"]),
        ({"architecture": "unet", "upsample": "shuffle", "blocks": (1, 1, 2, 3, 1, 1, 1)}, ["encoder3_2", "body3"]),
        (
            {"architecture": "unet", "upsample": "shuffle", "blocks": (1, 1, 1, 2, 3, 1, 1)},
            ["decoder3_2", "decoder3_3"],
        ),
    ],
)
def test_a_generator_grows_by_blocks_that_change_nothing_at_first(change, added):
    source = build_generator(RANDOM.model_copy(update={**change, "blocks": 2}), 1)
    target = build_generator(RANDOM.model_copy(update=change), 2)
    assert copy_weights(source, target, "other.keras", grow=True) == added
    x = images(1, 16, 16, 3)
    np.testing.assert_allclose(source(x), target(x), atol=1e-6)
    assert all(np.any(target.get_layer(f"{name}_conv1").get_weights()[0]) for name in added)  # or none ever learned
    for one, other, grow in ((source, target, False), (target, source, True)):
        with pytest.raises(UserError, match=rf"{added[0]}_conv1"):
            copy_weights(one, other, "other.keras", grow=grow)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"filters": 8}, r"it has stem \(7x7x3x8, 8\), not stem \(7x7x3x4, 4\)"),
        ({"blocks": 1}, r"it has up1 \(.*\), not block2_conv1 \(3x3x16x16, 16\)"),
        ({"blocks": 3}, r"it has block3_conv1 \(3x3x16x16, 16\), not up1"),
    ],
)
def test_another_architecture_is_refused_by_its_first_differing_layer(change, named):
    other = build_generator(RANDOM.model_copy(update=change))
    with pytest.raises(UserError, match=rf"other\.keras differs from the generator of params\.yaml: {named}"):
        copy_weights(other, build_generator(RANDOM), "other.keras")
