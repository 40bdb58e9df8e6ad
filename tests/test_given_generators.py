"""Generators that are given: measured as they are, and trained further."""

import json

import numpy as np
import pytest
from conftest import ROOT, SMALL, edit_params

import stages.train
from deblurgan.errors import UserError
from deblurgan.images import write_png
from deblurgan.networks.generators import build_generator
from deblurgan.networks.model_files import load_generator, save_model
from deblurgan.params import check
from deblurgan.presets import merged
from deblurgan.yaml_files import read_yaml

LOCAL = {
    "architecture": "nafnet", "filters": 2, "blocks": [1, 1, 1, 2, 1, 1, 1, 1, 1], "attention": "local",
    "norm": "layer", "upsample": "shuffle", "dropout": 0.0, "identity_start": False,
}  # fmt: skip
RECIPE = {"init_from": "given.keras", "lambda_adversarial": 0, "fresh_blur": False}


@pytest.fixture
def given(workspace):
    """A generator of local attention in a file, with a provenance, and data to measure it on."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        sharp = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        for half, image in (("blur", sharp // 2 + 64), ("sharp", sharp)):
            write_png(workspace / f"data/resized/{split}/gopro/s/{half}/1.png", image)
    generator = build_generator(SMALL.model_copy(update={**LOCAL, "blocks": tuple(LOCAL["blocks"])}))
    save_model(generator, workspace / "given.keras", {"licence": "MIT"})
    edit_params(workspace, {"generator": LOCAL})
    return workspace


def test_no_steps_measure_the_given_generator_and_keep_its_file(given):
    edit_params(given, {"train": {**RECIPE, "steps": 0}})
    stages.train.main()
    assert (given / "models/generator.keras").read_bytes() == (given / "given.keras").read_bytes()
    found = json.loads((given / "metrics/train.json").read_text())
    assert found["steps"] == 0
    assert 0 < found["val_psnr"] < 60
    assert (given / "metrics/train/plots/images/step_000000.png").is_file()
    rows = (given / "metrics/train/plots/metrics/val/psnr.tsv").read_text().splitlines()
    assert len(rows) == 2  # a header and the measurement


@pytest.mark.long
def test_a_given_generator_is_trained_further(given, eager):
    edit_params(given, {"train": {**RECIPE, "steps": 1, "validate_every": 1, "learning_rate": 1e-9, "ema": 0.0}})
    stages.train.main()
    before, after = (load_generator(given / name).get_weights() for name in ("given.keras", "models/generator.keras"))
    assert max(np.abs(a - b).max() for a, b in zip(before, after, strict=True)) < 1e-6


@pytest.mark.parametrize(
    ("change", "named"),
    [({"attention": "none"}, "it has encoder1_1_means"), ({"filters": 4}, r"it has stem \(3x3x3x2, 2\), not stem")],
)
def test_another_generator_than_the_parameters_ask_for_is_named(given, change, named):
    edit_params(given, {"generator": change, "train": {**RECIPE, "steps": 0}})
    with pytest.raises(UserError, match=rf"^train\.init_from differs from the generator of params\.yaml: {named}"):
        stages.train.main()


def changed(**sections):
    return check(merged(read_yaml(ROOT / "tests/params.yaml"), sections), "params")


def test_what_does_not_go_together_is_refused():
    with pytest.raises(UserError, match=r"steps: 0 trains nothing: it needs init_from"):
        changed(train={"steps": 0})
    with pytest.raises(UserError, match=r"attention is for architecture: nafnet, not resnet"):
        changed(generator={"attention": "local"})


@pytest.mark.parametrize(
    ("architecture", "blocks", "said"),
    [
        ("resnet", [1] * 9, r"blocks of resnet are one number, not a list: \(1, "),
        ("unet", [1] * 9, r"blocks of unet are a list of 7: \(1, "),
        ("nafnet", [1] * 7, r"blocks of nafnet are a list of 9: \(1, "),
        ("unet", [1, 1, 1, 0, 1, 1, 1], r"\[1, .*\] is neither a positive number nor a list of them"),
        ("unet", [], r"\[\] is neither a positive number nor a list of them"),
        ("unet", 1.5, r"1\.5 is neither a positive number nor a list of them"),
    ],
)
def test_blocks_are_counted_in_their_places(architecture, blocks, said):
    with pytest.raises(UserError, match=rf"generator.*{said}"):
        changed(generator={"architecture": architecture, "blocks": blocks})


@pytest.mark.long
def test_a_training_adds_blocks_to_a_given_generator(given, eager, capsys):
    """They change nothing at first, and are trained; measured as it is, a generator has the blocks that it has."""
    unet = {"architecture": "unet", "attention": "none", "norm": "none", "blocks": [1, 2, 1, 2, 1, 1, 3]}
    small = SMALL.model_copy(update={**LOCAL, **unet, "blocks": 1})
    save_model(build_generator(small), given / "given.keras")
    recipe = {**RECIPE, "steps": 2, "validate_every": 1, "learning_rate": 1e-8, "warmup": 0.0, "ema": 0.0}
    edit_params(given, {"generator": unet, "train": recipe})
    stages.train.main()
    said = capsys.readouterr().out
    assert "that change nothing at first: encoder2_2, body2, decoder1_2, decoder1_3" in said
    before, after = (load_generator(given / name) for name in ("given.keras", "models/generator.keras"))
    image = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(before(image), after(image), atol=1e-3)
    added = {layer.name for layer in after.layers} - {layer.name for layer in before.layers}
    last = [after.get_layer(name) for name in added if name.endswith("_conv2")]
    assert len(last) == 4
    assert all(np.abs(layer.get_weights()[0]).max() > 0 for layer in last)
    edit_params(given, {"train": {"steps": 0}})
    with pytest.raises(UserError, match=r"it has down2 .*, not encoder2_2_conv1 "):
        stages.train.main()


@pytest.mark.parametrize("name", ["nafnet-gopro", "finetune"])
def test_presets_of_published_weights_ask_for_their_architecture(name):
    preset = read_yaml(ROOT / f"presets/{name}.yaml")
    g = changed(**preset).generator
    assert (g.filters, g.blocks, g.attention) == (32, (1, 1, 1, 28, 1, 1, 1, 1, 1), "local")
    assert preset["train"]["init_from"] == "models/nafnet-gopro-32.keras"
