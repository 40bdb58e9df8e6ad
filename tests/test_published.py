"""Published networks: as their authors compute them, on both backends."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import REAL_DATA, ROOT, SMALL
from torch_files import save_legacy, save_zip

from deblurgan.errors import UserError
from deblurgan.networks.generators import build_generator
from deblurgan.networks.layers import MeanAround, ScaleAround
from deblurgan.published.architectures import plan_of
from deblurgan.published.checkpoints import read_checkpoint
from deblurgan.published.conversion import converted, proof_image, unclipped
from deblurgan.published.definitions import defined

RECORDED = REAL_DATA / "published_weights"
NAFNET = SMALL.model_copy(
    update={"architecture": "nafnet", "blocks": 28, "attention": "local", "norm": "layer", "upsample": "shuffle"}
)
FEW = (2, 1, 1, 3, 2, 1, 2, 1, 1)


def random_tensors(width=2, blocks=FEW):
    """A NAFNet checkpoint; every tensor matters."""
    rng = np.random.default_rng(1)
    tensors = {}

    def add(key, *shape):
        tensors[key] = rng.normal(0, 0.5 / np.sqrt(max(1, np.prod(shape[1:]))), shape).astype("f4")

    def conv(key, *shape):
        add(f"{key}.weight", *shape)
        add(f"{key}.bias", shape[0])

    def block(key, c):
        add(f"{key}.beta", 1, c, 1, 1)
        add(f"{key}.gamma", 1, c, 1, 1)
        for norm in ("norm1", "norm2"):
            add(f"{key}.{norm}.weight", c)
            add(f"{key}.{norm}.bias", c)
        for part, shape in {"conv1": (2 * c, c, 1, 1), "conv2": (2 * c, 1, 3, 3), "conv3": (c, c, 1, 1)}.items():
            conv(f"{key}.{part}", *shape)
        for part, shape in {"sca.1": (c, c, 1, 1), "conv4": (2 * c, c, 1, 1), "conv5": (c, c, 1, 1)}.items():
            conv(f"{key}.{part}", *shape)

    conv("intro", width, 3, 3, 3)
    for level in range(4):
        c = width * 2**level
        for i in range(blocks[level]):
            block(f"encoders.{level}.{i}", c)
        conv(f"downs.{level}", 2 * c, c, 2, 2)
        add(f"ups.{3 - level}.0.weight", 4 * c, 2 * c, 1, 1)
        for i in range(blocks[8 - level]):
            block(f"decoders.{3 - level}.{i}", c)
    for i in range(blocks[4]):
        block(f"middle_blks.{i}", 16 * width)
    conv("ending", 3, width, 3, 3)
    return tensors


def random_resnet(width=2, blocks=2, second=6):
    rng = np.random.default_rng(2)
    shapes = {"1": (width, 3, 7, 7), "4": (2 * width, width, 3, 3), "7": (4 * width, 2 * width, 3, 3)}
    for i in range(blocks):
        shapes |= {f"{10 + i}.conv_block.{number}": (4 * width, 4 * width, 3, 3) for number in (1, second)}
    shapes |= {f"{10 + blocks}": (4 * width, 2 * width, 3, 3), f"{13 + blocks}": (2 * width, width, 3, 3)}
    shapes[f"{17 + blocks}"] = (3, width, 7, 7)
    tensors = {}
    for number, shape in shapes.items():
        outputs = shape[1] if number in (f"{10 + blocks}", f"{13 + blocks}") else shape[0]
        tensors[f"model.{number}.weight"] = rng.normal(0, 0.3, shape).astype("f4")
        tensors[f"model.{number}.bias"] = rng.normal(0, 0.3, outputs).astype("f4")
    return tensors


@pytest.mark.parametrize(
    ("width", "attention", "blocks", "parameters"),
    [(8, "local", 28, 1_121_883), (32, "global", (1, 1, 1, 28, 1, 1, 1, 1, 1), 17_111_907)],
)
def test_nafnet_has_as_many_parameters_as_published(width, attention, blocks, parameters):
    settings = NAFNET.model_copy(update={"filters": width, "attention": attention, "blocks": blocks})
    assert build_generator(settings).count_params() == parameters


# channel attention


def means_by_definition(image, window):
    """Of every window that lies within (H, W, C); the outermost ones stand for those that do not."""
    height, width, _ = image.shape
    rows, columns = min(window, height), min(window, width)
    means = np.array(
        [
            [image[y : y + rows, x : x + columns].mean((0, 1)) for x in range(width - columns + 1)]
            for y in range(height - rows + 1)
        ]
    )
    beyond = np.subtract(image.shape, means.shape)
    return np.pad(means, np.stack([beyond // 2, (beyond + 1) // 2], axis=-1), mode="edge")


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("window", [4, 5, 9, 12, 14, 99])
def test_local_means_are_those_of_a_window_around_each_pixel(window, static):
    size = (9, 14)
    images = np.random.default_rng(0).normal(1, 1, (2, *size, 3)).astype("f4")
    given = keras.Input((*size, 3) if static else (None, None, 3))
    model = keras.Model(given, ScaleAround()([given, MeanAround(window)(given)]))
    if not static:  # the second size makes TensorFlow forget both
        model.predict_on_batch(images[:, :-1, :-2])
    expected = [image * means_by_definition(image, window) for image in images.astype("f8")]
    np.testing.assert_allclose(model.predict_on_batch(images), expected, atol=2e-5)


def test_local_attention_is_global_attention_where_the_window_covers_the_image():
    tensors = random_tensors()
    local = converted(tensors).generator
    whole = build_generator(plan_of(tensors).settings.model_copy(update={"attention": "global"}))
    whole.set_weights(local.get_weights())
    rng = np.random.default_rng(0)
    small, large = (rng.uniform(-1, 1, (1, *size, 3)).astype("f4") for size in ((384, 64), (800, 64)))
    large[:, :400] *= 0.1
    np.testing.assert_allclose(local(small), whole(small), atol=1e-5)
    assert np.abs(local(large) - whole(large)).max() > 5e-5


# conversion


def test_a_nafnet_is_converted_with_blocks_and_width_of_its_shapes(tmp_path):
    found = converted(read_checkpoint(save_zip(tmp_path / "some.pth", random_tensors(), "params")))
    assert (found.plan.settings.filters, found.plan.settings.blocks) == (2, FEW)
    assert found.plan.settings.attention == "local"
    assert found.error < 1e-5
    image = proof_image()
    residual = unclipped(found.generator).predict_on_batch(image[None])[0] - image
    assert np.abs(residual).max() > 0.1


@pytest.mark.parametrize(("second", "dropout"), [(5, 0.0), (6, 0.5)])
def test_a_deblurgan_is_converted_whether_or_not_dropout_is_in_its_list(tmp_path, second, dropout):
    tensors = random_resnet(second=second)
    statistics = {f"model.2.{name}": np.zeros(2, "f4") for name in ("running_mean", "running_var")}
    statistics["model.2.num_batches_tracked"] = np.array(3)
    found = converted(read_checkpoint(save_legacy(tmp_path / "some.pth", {**tensors, **statistics})))
    assert (found.plan.settings.filters, found.plan.settings.blocks, found.plan.settings.dropout) == (2, 2, dropout)
    assert found.error < 1e-5


@pytest.mark.long
@pytest.mark.parametrize("tensors", [random_tensors(), random_resnet()])
def test_every_tensor_matters_to_the_definition(tensors):
    """What a conversion is proved by would not notice a tensor that is not used."""
    plan, image = plan_of(tensors), proof_image()
    before = defined(plan.settings, tensors, image)
    for key, array in tensors.items():
        changed = {**tensors, key: array + np.random.default_rng(3).normal(0, 0.5, array.shape)}
        after = defined(plan.settings, changed, image)
        unseen = key.startswith("model.") and key.endswith(".bias") and not key.startswith("model.19.")
        assert (np.abs(after - before).max() > 1e-6) != unseen, key  # instance norm takes biases away


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"encoders.3.1.conv2.weight": None}, r"NAFNet as published: encoders\.3\.1\.conv2\.weight is missing"),
        ({"ups.0.0.bias": np.zeros(32, "f4")}, r"NAFNet as published: ups\.0\.0\.bias is left over"),
        ({"intro.bias": np.zeros(3, "f4")}, r"intro\.bias is 3, not 2$"),
        ({"middle_blks.0.norm1.weight": np.zeros((32, 1), "f4")}, r"middle_blks\.0\.norm1\.weight is 32x1, not 32$"),
        ({"encoders.3.1000000000.beta": np.zeros(1, "f4")}, r"encoders\.3\.3\.beta, .* and \d+ more are missing"),
        ({"intro.weight": np.zeros((2, 3, 3), "f4")}, "neither NAFNet"),
        ({"ending.bias": np.full(3, np.nan, "f4")}, r"ending\.bias holds values that are not finite"),
    ],
)
def test_tensors_of_another_network_are_named(change, named):
    tensors = {key: array for key, array in {**random_tensors(), **change}.items() if array is not None}
    with pytest.raises(UserError, match=named):
        converted(tensors)


def test_other_kinds_of_deblurgan_are_named():
    tensors = random_resnet()
    with pytest.raises(UserError, match=r"DeblurGAN as published: model\.2\.weight, model\.2\.bias are left over"):
        converted({**tensors, "model.2.weight": np.zeros(2, "f4"), "model.2.bias": np.zeros(2, "f4")})
    del tensors["model.11.conv_block.6.bias"]
    with pytest.raises(UserError, match=r"DeblurGAN as published: model\.11\.conv_block\.6\.bias is missing"):
        converted(tensors)


def test_a_wrong_conversion_does_not_pass_its_proof(monkeypatch):
    monkeypatch.setattr("deblurgan.published.architectures._shuffled", lambda tensor: tensor.transpose(2, 3, 1, 0))
    with pytest.raises(UserError, match=r"differs by \S+ from NAFNet's definition"):
        converted(random_tensors())


# outputs that the authors' code gave


def recorded_outputs():
    """The largest difference of converted networks from each recorded output, in its own scale."""
    found = {}
    deblurgan = converted(read_checkpoint(RECORDED / "deblurgan_ngf16_legacy.pth")).generator
    with np.load(RECORDED / "deblurgan_ngf16_io.npz") as io:
        output = deblurgan.predict_on_batch(io["input"][None] / np.float32(127.5) - 1)[0]
        found["deblurgan"] = np.abs(output - io["output"]).max()
    nafnet = unclipped(converted(read_checkpoint(RECORDED / "nafnet_width8.pth")).generator)
    with np.load(RECORDED / "nafnet_width8_io.npz") as io:
        for name, expected in (("small", "small_global"), ("large", "large_local")):
            height, width = io[name].shape[:2]
            padding = ((0, -height % 16), (0, -width % 16), (0, 0))
            given = np.pad(io[name] / np.float32(127.5) - 1, padding, constant_values=-1)
            output = (nafnet.predict_on_batch(given[None])[0][:height, :width] + 1) / 2
            found[expected] = np.abs(output - io[expected]).max()
    return found


def on_jax():
    """The same there, in a process of its own."""
    code = "from test_published import recorded_outputs; print(*recorded_outputs().values())"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    quick = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}  # compiling is most of it
    env = {**os.environ, **quick, "KERAS_BACKEND": "jax", "PYTHONPATH": path, "DEBLURGAN_TEST_DATA": str(REAL_DATA)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return map(float, done.stdout.split())


@pytest.mark.skipif(not RECORDED.exists(), reason="no recorded outputs here")
@pytest.mark.parametrize("differences", [lambda: recorded_outputs().values(), on_jax], ids=["tensorflow", "jax"])
def test_recorded_outputs_of_the_authors_code_are_reproduced(differences):
    found = list(differences())
    assert len(found) == 3
    assert max(found) < 1e-4
