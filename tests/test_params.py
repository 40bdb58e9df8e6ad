"""The parameter check."""

import copy

import pytest
from conftest import PARAMS, committed
from hypothesis import given, settings
from hypothesis import strategies as st

from deblurgan.errors import UserError
from deblurgan.params import check, load, read_yaml

GOOD = read_yaml(PARAMS)


def changed(key: str, value) -> dict:
    values = copy.deepcopy(GOOD)
    *parents, last = key.split(".")
    section = values
    for name in parents:
        section = section[name]
    section[last] = value
    return values


def test_the_default_and_the_tests_own_parameters_are_valid(tmp_path):
    (tmp_path / "params.yaml").write_text(committed("params.yaml"))
    assert load(tmp_path / "params.yaml").train.steps
    assert load(PARAMS).train.steps == GOOD["train"]["steps"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("train.lambda_pixle", 1, "train.lambda_pixle is unknown (did you mean lambda_pixel?)"),
        ("trian", {}, "trian is unknown (did you mean train?)"),
        ("train.steps", "100", "train.steps = '100': input should be a valid integer"),
        ("train.steps", 0, "train.steps = 0: input should be greater than or equal to 1"),
        ("train.steps", True, "train.steps = True: input should be a valid integer"),
        ("train.deterministic", 1, "train.deterministic = 1: input should be a valid boolean"),
        ("train.crop", 130, "train.crop = 130: input should be a multiple of 4"),
        ("train.lambda_pixel", float("nan"), "train.lambda_pixel = nan"),
        ("ingest_gopro.bundled.speed", float("inf"), "ingest_gopro.bundled.speed = inf"),
        ("synthesize.shake", [float("inf")], "synthesize.shake.0 = inf"),
        ("synthesize.length", [10, 2000], "at most 1000"),
        ("train.warmup", 0.8, "warmup (0.8) must not end after decay_from"),
        ("train.validate_every", 11, "must be a multiple of validate_every (11)"),
        (
            "resize.mode",
            "squash",
            "resize.mode = 'squash': input should be 'none', 'fit', 'pad', 'crop', 'stretch' or 'tile'",
        ),
        ("synthesize.length", [9, 3], "length must be [lowest, highest]"),
        ("synthesize.exposure", [0.5, 2], "exposure holds fractions"),
        ("synthesize.frames_per_pair", 10, "frames_per_pair must be odd"),
        ("fetch_unsplash.source", "lite", "source: lite needs lite: the path of the data set's folder"),
        ("ingest_gopro.dataset", "../up", "ingest_gopro.dataset = '../up': string should match pattern"),
        ("ingest_gopro.sha256", "24532C", "ingest_gopro.sha256 = '24532C': string should match pattern"),
        ("clean.denoise", "wavelet", "clean.denoise = 'wavelet': input should be 'none', 'median' or 'gaussian'"),
        ("clean.posterize", 9, "clean.posterize = 9: input should be less than or equal to 8"),
        ("split.val_scenes", "GOPR0001", "split.val_scenes = 'GOPR0001': input should be a valid list"),
        ("split.test_fraction", 0.99, "val_fraction + test_fraction must stay below 1"),
        ("generator.norm", None, "generator.norm = None: input should be 'instance', 'layer' or 'none'"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(key, value, said):
    with pytest.raises(UserError) as caught:
        check(changed(key, value), "params.yaml")
    text = str(caught.value)
    assert text.startswith("params.yaml: ")
    assert said in text
    assert "\n" not in text


def test_all_lambdas_zero_teach_nothing():
    values = changed("train.lambda_pixel", 0)
    values["train"]["lambda_adversarial"] = 0
    with pytest.raises(UserError, match="nothing to learn from"):
        check(values, "params.yaml")


@pytest.mark.parametrize("key", ["seed", "clean", "train.beta_1", "ingest_gopro.bundled.speed"])
def test_a_missing_key_is_named(key):
    values = changed(key, 0)
    *parents, last = key.split(".")
    section = values
    for name in parents:
        section = section[name]
    del section[last]
    with pytest.raises(UserError, match=f"^params.yaml: {key} is missing$"):
        check(values, "params.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "is not valid YAML"),
        ("just words", "must hold keys and values"),
        ("", "must hold"),
        ("a: 1\na: 2", "a"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, text, said):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match="is missing: run from the root"):
        load(tmp_path / "params.yaml")


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists), st.sampled_from(sorted(GOOD)))
def test_no_value_crashes_the_check(value, section):
    for values in ({**GOOD, section: value}, {**GOOD, section: {"x": value}}):
        try:
            check(values, "params.yaml")
        except UserError as error:
            assert section in str(error)
        else:
            assert section == "seed"


def test_exponents_are_numbers_as_dvc_writes_them(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("rate: 1e-05\nother: 1e-4\n")
    assert read_yaml(path) == {"rate": 1e-5, "other": 1e-4}


def test_crops_fit_the_generator():
    values = changed("generator.architecture", "nafnet")
    values["train"]["crop"] = 40
    with pytest.raises(UserError, match=r"^params\.yaml: train\.crop = 40: must be a multiple of 16 for a nafnet$"):
        check(values, "params.yaml")
    values["train"]["crop"] = 48
    check(values, "params.yaml")
