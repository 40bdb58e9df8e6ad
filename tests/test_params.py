"""The parameter check."""

import copy

import pytest
from conftest import PARAMS, ROOT, committed
from dvc.utils.serialize import parse_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from deblurgan.errors import UserError
from deblurgan.params import check, load
from deblurgan.yaml_files import parsed, read_yaml

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
        ("train.steps", True, "train.steps = True: input should be a valid integer"),
        ("train.deterministic", 1, "train.deterministic = 1: input should be a valid boolean"),
        ("train.crop", 130, "train.crop = 130: input should be a multiple of 4"),
        ("train.lambda_pixel", float("nan"), "train.lambda_pixel = nan"),
        ("ingest_gopro.bundled.speed", float("inf"), "ingest_gopro.bundled.speed = inf"),
        ("synthesize.shake", [float("inf")], "synthesize.shake.0 = inf"),
        ("synthesize.length", [10, 2000], "synthesize.length.1 = 2000: input should be less than or equal to 1000"),
        ("train.warmup", 0.8, "warmup (0.8) must not end after decay_from"),
        ("train.validate_every", 11, "must be a multiple of validate_every (11)"),
        (
            "resize.mode",
            "squash",
            "resize.mode = 'squash': input should be 'none', 'fit', 'pad', 'crop', 'stretch' or 'tile'",
        ),
        ("synthesize.length", [9, 3], "synthesize.length: must be [lowest, highest]"),
        ("synthesize.length", [9], "synthesize.length: must be [lowest, highest]"),
        ("synthesize.length", [9, 30, 60], "synthesize.length: must be [lowest, highest]"),
        ("synthesize.length", 9, "synthesize.length = 9: input should be a valid list"),
        ("synthesize.exposure", [0.5, 2], "exposure holds fractions"),
        ("synthesize.frames_per_pair", 10, "frames_per_pair must be odd"),
        ("fetch_unsplash.source", "lite", "source: lite needs lite: the path of the data set's folder"),
        ("ingest_gopro.dataset", "../up", "ingest_gopro.dataset = '../up': string should match pattern"),
        ("ingest_gopro.dataset", "unsplash", "dataset: unsplash is the name of the photos; choose another"),
        ("ingest_gopro.dataset", "test", "dataset: test is the name of all data sets together in the scores; choose"),
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


def by_dvc(text: str):
    """What DVC makes of params.yaml."""
    return parse_yaml(text, "params.yaml")


PRESETS = sorted(path.name for path in (ROOT / "presets").glob("*.yaml"))


@pytest.mark.parametrize("name", ["params.yaml", "tests/params.yaml", *(f"presets/{name}" for name in PRESETS)])
def test_files_are_read_as_dvc_reads_them(name):
    text = committed(name)
    assert parsed(text) == by_dvc(text)


SCALARS = (
    "1e-4", "1e-05", "1E3", "+1", "-0", "012", "0o14", "0x1F", "0b101", "1_000", "1.", ".5", "-.5e+3", ".5e3",
    "1:30", "yes", "no", "on", "Off", "true", "FALSE", "null", "~", "Null", "", "'1'", '"null"', ".inf", "-.INF",
    "0.1.2", "1-2", "e3", "y", "n",
    "[1, 1e-4, null]", "{a: 1e-4}", "a: b", "2026-11-24", "1 # comment",
)  # fmt: skip


def alike(one, other) -> bool:
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("scalar", SCALARS)
def test_values_are_read_as_dvc_reads_them(scalar):
    text = f"key:\n  {scalar}\nlist:\n  - {scalar}\n" if ":" in scalar and " " in scalar else f"key: {scalar}\n"
    assert alike(parsed(text)["key"], by_dvc(text)["key"])


@settings(max_examples=300)
@given(st.from_regex(r"[-+]?[0-9_.]{1,6}([eE][-+]?[0-9]{1,2})?|0[box][0-9a-f_]{1,4}", fullmatch=True))
def test_numbers_are_read_as_dvc_reads_them(scalar):
    text = f"key: {scalar}\n"
    try:
        expected = by_dvc(text)["key"]
    except ValueError:
        with pytest.raises(ValueError, match=r"invalid literal|could not convert"):
            parsed(text)
    else:
        assert alike(parsed(text)["key"], expected)


def test_a_key_that_is_there_twice_is_an_error(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("seed: 1\nseed: 2\n")
    with pytest.raises(UserError, match=r"params\.yaml is not valid YAML: the key 'seed' is there twice"):
        read_yaml(path)


def test_crops_fit_the_generator():
    values = changed("generator.architecture", "nafnet")
    values["train"]["crop"] = 40
    with pytest.raises(UserError, match=r"^params\.yaml: train\.crop = 40: must be a multiple of 16 for a nafnet$"):
        check(values, "params.yaml")
    values["train"]["crop"] = 48
    check(values, "params.yaml")
