"""Pairs, splits, files, resizing, figures, evaluation tables and VGG19 features."""

import os
from pathlib import PurePosixPath

import h5py
import keras
import numpy as np
import pytest
from conftest import REAL_DATA
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from deblurgan.backend import held_back_stderr
from deblurgan.errors import UserError, reported
from deblurgan.evaluation.scores import by_scene, interval, report, score
from deblurgan.files import new_directory, new_file, write_json
from deblurgan.images import from_linear, read_rgb, to_float, to_linear, to_uint8, write_png
from deblurgan.layout import Place, find_pairs, partner, place_of
from deblurgan.networks import vgg19
from deblurgan.params import Split
from deblurgan.pictures import CAPTION, captioned, side_by_side, stacked
from deblurgan.seeds import seed_for
from deblurgan.splits import split_by_hash, split_of

WEIGHTS = REAL_DATA / "VGG19/vgg19_block1to3_exact_fp32.npz"
SPLIT = Split(val_fraction=0.1, test_fraction=0.2, val_scenes=["B"])


def test_bytes_survive_the_round_trip_through_floats():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(to_float(levels)), levels)
    np.testing.assert_allclose(from_linear(to_linear(levels / 255)) * 255, levels, atol=1e-9)
    assert to_uint8(np.array([-2.0, 2.0])).tolist() == [0, 255]


def test_png_round_trip(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_png(tmp_path / "a/b.png", image)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a/b.png"), image)


@given(st.lists(st.text(min_size=1, max_size=11), min_size=1, unique=True))
def test_adding_photos_never_moves_one(ids):
    assert [split_by_hash(i, SPLIT) for i in ids] == [split_by_hash(i, SPLIT) for i in reversed(ids)][::-1]


def test_the_hash_splits_in_the_given_proportions():
    parts = [split_by_hash(f"photo{i}", SPLIT) for i in range(20_000)]
    assert parts.count("test") / len(parts) == pytest.approx(0.2, abs=0.01)
    assert parts.count("val") / len(parts) == pytest.approx(0.1, abs=0.01)


def test_official_test_scenes_stay_and_named_training_scenes_validate():
    places = [Place("gopro", part, scene, "blur") for part, scene in (("train", "A"), ("train", "B"), ("test", "B"))]
    assert [split_of(place, SPLIT) for place in places] == ["train", "val", "test"]


def test_a_set_without_a_split_is_split_by_scene():
    assert {split_of(Place("mine", "unsplit", "walk", kind), SPLIT) for kind in ("blur", "sharp")} == {
        split_by_hash("walk", SPLIT)
    }


@pytest.mark.parametrize(
    ("name", "place", "other"),
    [
        ("unsplash/sharp/abc.jpg", Place("unsplash", "unsplit", "abc", "sharp"), None),
        ("unsplash/sharp/sharp/abc.jpg", None, None),
        ("pairs/gopro/train/A/blur/1.png", Place("gopro", "train", "A", "blur"), "pairs/gopro/train/A/sharp/1.png"),
        ("pairs/mine/unsplit/A/frames/1.png", Place("mine", "unsplit", "A", "frames"), None),
        ("photos.csv", None, None),
        ("pairs/gopro/train/A/other/1.png", None, None),
    ],
)
def test_a_path_says_where_an_image_belongs(name, place, other):
    assert place_of(PurePosixPath(name)) == place
    assert partner(PurePosixPath(name)) == (PurePosixPath(other) if other else None)


def test_seeds_depend_on_all_names():
    assert len({tuple(seed_for(*args)) for args in ((1, "a"), (2, "a"), (1, "b"), (1, "a", "b"), (1, "ab"))}) == 5


def test_pairs_are_found_by_name_and_order(tmp_path):
    for name in ("s/blur/2.png", "s/sharp/2.png", "s/blur/1.png", "s/sharp/1.png", "s/blur/3.png", "s/.x/blur/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [pair.sharp.relative_to(tmp_path).as_posix() for pair in find_pairs(tmp_path)] == [
        "s/sharp/1.png",
        "s/sharp/2.png",
    ]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep/file"
    with new_file(path) as partial:
        partial.write_text("old")
    with pytest.raises(RuntimeError), new_file(path) as partial:
        partial.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old"
    assert names(path.parent) == ["file"]


def test_a_directory_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out"
    (tmp_path / ".out.abcd1234.partial").mkdir()
    (tmp_path / ".out.abcd1234.partial/left by a killed run").touch()
    with new_directory(path) as partial:
        (partial / "old").touch()
    assert names(path) == ["old"]
    with pytest.raises(RuntimeError), new_directory(path) as partial:
        (partial / "new").touch()
        raise RuntimeError
    assert names(path) == ["old"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("end", [KeyboardInterrupt, ImportError])
def test_notes_of_a_backend_are_shown_when_it_fails_and_not_when_it_is_interrupted(capfd, end):
    with pytest.raises(end), held_back_stderr():
        os.write(2, b"no GPU")
        raise end
    assert ("no GPU" in capfd.readouterr().err) == (end is ImportError)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (UserError("what and where"), "stage: error: what and where"),
        (OSError(28, "No space left on device", "data/x"), "stage: error: No space left on device: data/x"),
        (KeyboardInterrupt(), "stage: interrupted"),
    ],
)
def test_what_a_user_causes_is_one_line(raised, said):
    with pytest.raises(SystemExit, match=said), reported("stage"):
        raise raised
    with pytest.raises(ZeroDivisionError), reported("stage"):
        raise ZeroDivisionError


sides = st.integers(1, 5000)


def test_pictures_are_joined():
    black = np.zeros((4, 5, 3), np.uint8)
    assert side_by_side([black, black], gap=2).shape == (4, 12, 3)
    assert stacked([black, black[:, :3]], gap=1).shape == (9, 5, 3)


@pytest.mark.parametrize("width", [32, 128, 400])
def test_a_caption_stands_whole_above_its_image(width):
    image = np.full((20, width, 3), 77, np.uint8)
    found = captioned(image, "result, step 1200: 24.46 dB")
    np.testing.assert_array_equal(found[CAPTION:], image)
    strip = found[:CAPTION]
    assert strip.min() < 200
    assert (strip[[0, -1]] == 255).all()
    assert (strip[:, [0, -1]] == 255).all()  # nothing is cut off
    assert (captioned(image, "sharp") != found).any()


def scores():
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for i, dataset in enumerate(("gopro", "gopro", "unsplash")):
        blur, restored = (np.clip(sharp + rng.normal(0, s, sharp.shape), 0, 255).astype(np.uint8) for s in (20, 5 + i))
        yield score((dataset, "scene", str(i)), blur, restored, sharp, {"unsharp": blur})


def test_the_report_averages_over_images():
    rows = list(scores())
    found = report(rows)
    assert found["images"] == 3
    assert found["datasets"]["gopro"]["images"] == 2
    assert found["psnr"] == pytest.approx(np.mean([row["psnr"] for row in rows]), abs=1e-5)
    assert found["datasets"]["unsplash"]["ssim_gain"] == pytest.approx(
        rows[2]["ssim"] - rows[2]["input_ssim"], abs=1e-5
    )
    for part in (found, *found["datasets"].values()):
        assert part["baselines"]["unsharp"]["psnr"] == part["input_psnr"]
    assert found["datasets"]["gopro"]["baselines"] != found["baselines"]
    scenes = by_scene(rows)
    assert list(scenes) == [("gopro", "scene"), ("unsplash", "scene")]
    assert {**scenes["gopro", "scene"], "baselines": found["datasets"]["gopro"]["baselines"]} == found["datasets"][
        "gopro"
    ]
    low, high = found["psnr_gain_95"]
    assert min(row["psnr_gain"] for row in rows) <= low <= found["psnr_gain"] <= high
    assert found["psnr_gain"] == pytest.approx(found["psnr"] - found["input_psnr"], abs=1e-5)
    assert list(found["datasets"]) == ["gopro", "unsplash"]


def test_equal_images_count_as_100_db():
    image = np.zeros((16, 16, 3), np.uint8)
    perfect = score(("d", "s", "f"), image, image, image)
    assert (perfect["psnr"], perfect["psnr_gain"], perfect["ssim"]) == (100, 0, 1)


def test_the_interval_is_that_of_the_means_distribution():
    """For many normal values: 1.96 standard errors to each side."""
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = interval(list(values))
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert interval([1.5]) == [1.5, 1.5]


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def random_weights(path):
    rng, before, arrays = np.random.default_rng(0), 3, {}
    for name, filters in vgg19.LAYERS.items():
        arrays[f"{name}__kernel"] = rng.normal(0, 0.05, (3, 3, before, filters)).astype(np.float32)
        arrays[f"{name}__bias"] = rng.normal(0, 0.05, filters).astype(np.float32)
        before = filters
    np.savez(path, **arrays)
    return arrays


def test_features_are_block3_conv3_before_its_relu(tmp_path):
    """Against Keras's own VGG19 with the same weights and its own preprocessing."""
    arrays = random_weights(tmp_path / "weights.npz")
    full = keras.applications.VGG19(include_top=False, weights=None)
    for name in vgg19.LAYERS:
        full.get_layer(name).set_weights([arrays[f"{name}__kernel"], arrays[f"{name}__bias"]])
    image = np.random.default_rng(1).integers(0, 256, (1, 32, 48, 3)).astype(np.float32)
    reference = keras.Model(full.input, full.get_layer("block3_conv3").output)
    expected = reference.predict_on_batch(keras.applications.vgg19.preprocess_input(image.copy()))
    features = vgg19.build_features(str(tmp_path / "weights.npz"))
    found = features.predict_on_batch(image / 127.5 - 1)
    assert found.min() < 0
    np.testing.assert_allclose(np.maximum(found, 0) * vgg19.SCALE, expected, atol=1e-2)
    assert not features.trainable_variables


def test_weights_in_keras_own_file_are_read(tmp_path):
    full = keras.applications.VGG19(include_top=False, weights=None)
    path = tmp_path / "vgg19.h5"
    with h5py.File(path, "w") as file:  # the layout of the published file: a group a layer, names in attributes
        file.attrs["layer_names"] = [layer.name.encode() for layer in full.layers]
        for layer in full.layers:
            group, weights = file.create_group(layer.name), layer.get_weights()
            names = [f"{layer.name}_W_1:0", f"{layer.name}_b_1:0"][: len(weights)]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, values in zip(names, weights, strict=True):
                group.create_dataset(name, data=values)
    kernel, bias = vgg19.read_weights(path)["block2_conv1"]
    np.testing.assert_array_equal(kernel, full.get_layer("block2_conv1").get_weights()[0])
    assert bias.shape == (128,)


def test_missing_or_wrong_weights_are_one_line_and_never_random(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"vgg_weights = .*none\.h5.*no such file; it is vgg19_weights"):
        vgg19.build_features(str(tmp_path / "none.h5"))
    (tmp_path / "text.h5").write_text("no weights")
    np.savez(tmp_path / "whole.npz", a=1)
    with pytest.raises(UserError, match=r"text\.h5 does not hold VGG19's weights"):
        vgg19.build_features(str(tmp_path / "text.h5"))
    for name, damage in (("empty", b""), ("cut", (tmp_path / "whole.npz").read_bytes()[:-9])):
        (tmp_path / f"{name}.npz").write_bytes(damage)
        with pytest.raises(UserError, match=rf"{name}\.npz does not hold VGG19's weights"):
            vgg19.build_features(str(tmp_path / f"{name}.npz"))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(UserError, match=r"array\.npz does not hold VGG19's weights"):
        vgg19.build_features(str(tmp_path / "array.npz"))
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(UserError, match=r"other\.npz does not hold VGG19's weights"):
        vgg19.build_features(str(tmp_path / "other.npz"))

    monkeypatch.setattr(vgg19, "URL", "http://127.0.0.1:9/vgg19.h5")
    monkeypatch.setattr(vgg19, "FILE", "vgg19_nowhere.h5")
    with pytest.raises(UserError) as caught:
        vgg19.build_features(None)
    for part in ("vgg19_nowhere.h5", "http://127.0.0.1:9/vgg19.h5", "train.vgg_weights", "train.lambda_content"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the published weights are not on this machine")
def test_published_weights_tell_blurred_from_sharp():
    features = vgg19.build_features(str(WEIGHTS))
    sharp = to_float(data.astronaut())[None]
    blur = np.asarray(keras.layers.AveragePooling2D(9, 1, padding="same")(sharp))
    a, b = features.predict_on_batch(blur), features.predict_on_batch(sharp)
    assert np.square(a - b).mean() > 10 * np.square(features.predict_on_batch(sharp + 1 / 255) - b).mean()
