"""Resizing: geometry, quality, and the stage's arrangement by split."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import edit_params
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data

import stages.resize
import stages.synthesize
from deblurgan.cleaning import leaks
from deblurgan.errors import UserError
from deblurgan.evaluation.metrics import psnr
from deblurgan.images import read_rgb, write_png
from deblurgan.layout import Place
from deblurgan.params import Resize
from deblurgan.resizing import resized
from deblurgan.yaml_files import read_yaml


def settings(mode="fit", width=128, height=96, kernel="lanczos") -> Resize:
    return Resize(mode=mode, width=width, height=height, filter=kernel)


def pieces(image: Image.Image, wanted: Resize) -> dict[str, Image.Image]:
    return dict(resized(image, wanted))


sides = st.integers(1, 400)
modes = st.sampled_from(["none", "fit", "pad", "crop", "stretch", "tile"])


@given(sides, sides, modes)
def test_sizes(width, height, mode):
    image = Image.new("RGB", (width, height))
    found = pieces(image, settings(mode))
    for suffix, piece in found.items():
        w, h = piece.size
        if mode == "none":
            assert piece is image
        elif mode in ("stretch", "pad", "crop"):
            assert (w, h) == (128, 96)
        elif mode == "tile":
            assert (w, h) == (min(width, 128), min(height, 96))
        else:
            assert w <= min(width, 128)
            assert h <= min(height, 96)
            assert w == 128 or h == 96 or (w, h) == (width, height)
            assert abs(w / width - h / height) <= 0.5 / width + 0.5 / height + 1e-9 or 1 in (w, h)
        assert bool(suffix) == (mode == "tile")


@given(st.integers(1, 300), st.integers(1, 300))
def test_tiles_cover_every_pixel_unscaled(width, height):
    values = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    whole = np.zeros_like(values)
    found = pieces(Image.fromarray(values), settings("tile"))
    assert len(found) == -(-width // 128) * -(-height // 96)
    for suffix, piece in found.items():
        top, left = int(suffix[2:7]), int(suffix[8:13])
        whole[top : top + piece.height, left : left + piece.width] = np.asarray(piece)
    np.testing.assert_array_equal(whole, values)


def test_the_filters_are_pillows():
    image = Image.fromarray(data.chelsea())
    for kernel, resample in (("lanczos", Image.Resampling.LANCZOS), ("bicubic", Image.Resampling.BICUBIC)):
        (found,) = pieces(image, settings("stretch", 300, 200, kernel)).values()
        expected = image.resize((300, 200), resample)  # shrinks too little for any shortcut
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("photo", [data.astronaut, data.coffee, data.retina, data.chelsea])
def test_the_shortcut_stays_within_its_tolerance(photo):
    image = Image.fromarray(photo())
    (found,) = pieces(image, settings("stretch", 64, 64)).values()
    expected = image.resize((64, 64), Image.Resampling.LANCZOS)
    assert psnr(np.asarray(found), np.asarray(expected)) > 47


def test_cropping_keeps_the_middle_and_padding_mirrors():
    values = np.zeros((100, 300, 3), np.uint8)
    values[:, 100:200] = 200
    (cropped,) = pieces(Image.fromarray(values), settings("crop", 100, 100)).values()
    assert (np.asarray(cropped) == 200).all()
    photo = Image.fromarray(data.chelsea()[:60, :100])
    (padded,) = pieces(photo, settings("pad", 120, 90)).values()
    np.testing.assert_array_equal(np.asarray(padded)[:60, :100], np.asarray(photo))
    np.testing.assert_array_equal(np.asarray(padded)[60:90, :100], np.asarray(photo)[:29:-1][:30])
    np.testing.assert_array_equal(np.asarray(padded)[:60, 100:], np.asarray(photo)[:, :79:-1][:, :20])


@pytest.fixture
def workspace(workspace):
    edit_params(workspace, {"split": {"val_scenes": ["B"], "test_fraction": 0.0, "val_fraction": 0.0}})
    for name in ("clean/pairs/gopro/train/A", "clean/pairs/gopro/train/B", "clean/pairs/gopro/test/C",
                 "clean/pairs/mine/unsplit/D", "synthetic/val/unsplash/photo"):  # fmt: skip
        for kind in ("blur", "sharp"):
            write_png(workspace / "data" / name / kind / "1.png", np.full((100, 50, 3), len(kind), np.uint8))
    write_png(workspace / "data/clean/unsplash/blurred/alone.png", np.zeros((20, 30, 3), np.uint8))
    write_png(workspace / "data/clean/pairs/mine/unsplit/D/frames/1.png", np.zeros((20, 30, 3), np.uint8))
    return workspace


OUT = Path("data/resized")


def test_images_are_arranged_by_split(workspace):
    stages.resize.main()
    scenes = sorted({path.parent.parent.relative_to(OUT).as_posix() for path in OUT.rglob("sharp/*.png")})
    assert scenes == ["test/gopro/C", "train/gopro/A", "train/mine/D", "val/gopro/B", "val/unsplash/photo"]
    assert [path.name for path in (OUT / "unpaired").iterdir()] == ["alone.png"]
    assert not list(OUT.rglob("frames"))
    assert read_rgb(OUT / "train/gopro/A/blur/1.png")[0, 0, 0] == 4
    assert read_rgb(OUT / "train/gopro/A/sharp/1.png")[0, 0, 0] == 5


@pytest.mark.parametrize("mode", ["none", "fit", "pad", "crop", "stretch", "tile"])
def test_both_halves_get_the_same_geometry(workspace, mode):
    """A pair whose halves are equal stays equal, piece by piece."""
    image = np.random.default_rng(0).integers(0, 256, (150, 90, 3), dtype=np.uint8)
    for kind in ("blur", "sharp"):
        write_png(workspace / "data/clean/pairs/gopro/test/C" / kind / "1.png", image)
    edit_params(workspace, {"resize": {"mode": mode, "width": 64, "height": 48}})
    stages.resize.main()
    scene = OUT / "test/gopro/C"
    names = sorted(path.name for path in (scene / "blur").iterdir())
    assert names == sorted(path.name for path in (scene / "sharp").iterdir())
    assert len(names) == (2 * 4 if mode == "tile" else 1)
    for name in names:
        assert (scene / "blur" / name).read_bytes() == (scene / "sharp" / name).read_bytes()
        with Image.open(scene / "blur" / name) as written:
            assert (written.mode, written.format) == ("RGB", "PNG")
    assert [path.name for path in (OUT / "unpaired").iterdir()] == ["alone.png"]  # never cut


def test_equal_images_are_resized_once(workspace):
    image = np.random.default_rng(0).integers(0, 256, (150, 90, 3), dtype=np.uint8)
    for i in range(5):
        write_png(workspace / f"data/synthetic/train/unsplash/p/blur/{i}.png", image[::-1] // (i + 1))
        write_png(workspace / f"data/synthetic/train/unsplash/p/sharp/{i}.png", image)
    edit_params(workspace, {"resize": {"mode": "fit", "width": 64, "height": 48}})
    stages.resize.main()
    sharp = [OUT / f"train/unsplash/p/sharp/{i}.png" for i in range(5)]
    assert len({path.read_bytes() for path in sharp}) == 1
    assert len({path.stat().st_ino for path in sharp}) == 1


def test_an_unknown_validation_scene_is_one_line(workspace):
    edit_params(workspace, {"split": {"val_scenes": ["B", "GOPR0000_07_00"]}})
    with pytest.raises(UserError, match=r"names GOPR0000_07_00, but data/clean/pairs/\*/train has A, B"):
        stages.resize.main()


def test_what_becomes_too_thin_is_named_and_left_out(workspace, capsys):
    for kind in ("blur", "sharp"):
        write_png(workspace / "data/clean/pairs/gopro/test/C" / kind / "2.png", np.zeros((20, 200, 3), np.uint8))
    stages.resize.main()
    assert [path.name for path in (OUT / "test/gopro/C/blur").iterdir()] == ["1.png"]
    output = "".join(capsys.readouterr())
    assert "left out data/clean/pairs/gopro/test/C/blur/2.png: its shorter side becomes less than 16 pixels" in output


def lay_pair(workspace: Path, place: str, image: np.ndarray) -> None:
    """A sharp image, and one of its size that is dark."""
    for kind, values in (("sharp", image), ("blur", image // 2)):
        write_png(workspace / "data/clean/pairs/mine" / place / kind / "1.png", values)


def textured(number: int) -> np.ndarray:
    """An image that looks like no other one."""
    small = np.random.default_rng(number).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((60, 80), Image.Resampling.BICUBIC))


@pytest.fixture
def bare(workspace):
    """Without pairs."""
    shutil.rmtree(workspace / "data/clean/pairs")
    values = read_yaml("params.yaml")
    values["split"]["val_scenes"], values["resize"]["mode"] = [], "none"
    (workspace / "params.yaml").write_text(json.dumps(values))
    return workspace


def test_scenes_of_one_name_in_different_parts_are_different_ones(bare, capsys):
    for i, part in enumerate(("train", "val", "test")):
        lay_pair(bare, f"{part}/000", textured(i))
    stages.resize.main()
    assert {path.parent.parent.relative_to(OUT).as_posix() for path in OUT.rglob("mine/*/sharp/1.png")} == {
        "train/mine/000",
        "val/mine/000",
        "test/mine/000",
    }
    assert not (OUT / "test" / leaks.TABLE).exists()
    assert not [line for line in capsys.readouterr().out.splitlines() if "warning" in line and "mine" in line]


def test_an_image_that_tests_and_trains_is_refused_whatever_its_scene_is_called(bare):
    lay_pair(bare, "train/A", textured(0))
    lay_pair(bare, "val/B", textured(1))
    lay_pair(bare, "test/C", textured(0))
    with pytest.raises(
        UserError, match=r"1 sharp images of the test split also train .*C/sharp/1\.png is train/mine/A/s"
    ):
        stages.resize.main()
    assert not OUT.exists()
    for part in ("train/A", "test/C"):
        lay_pair(bare, part, np.zeros((80, 60, 3), np.uint8))  # a black frame is nobody's
    stages.resize.main()


def test_an_image_that_looks_like_one_of_another_split_is_warned_of(bare, capsys):
    lay_pair(bare, "train/A", data.astronaut()[100:300, 100:300])
    lay_pair(bare, "val/B", textured(1))
    lay_pair(bare, "test/C", data.astronaut()[102:302, 102:302])  # the next frame, as it were
    lay_pair(bare, "test/D", textured(2))
    stages.resize.main()
    found = [leaks.Leak("test/mine/C/sharp/1.png", "train/mine/A/sharp/1.png")]
    assert leaks.read_leaks(OUT / "test") == found
    assert json.loads((bare / "metrics/resize.json").read_text())["near_duplicates_across_splits"] == 1
    said = (
        "warning: 1 sharp images of the test split look like images of another split, so its scores are too good: for "
        "example test/mine/C"
    )
    assert said in capsys.readouterr().out
    assert [line[: len(said)] for line in leaks.in_words(found)] == [said]  # which evaluate says, too
    edit_params(bare, {"clean": {"near_duplicate": None}})
    stages.resize.main()
    assert leaks.read_leaks(OUT / "test") == []


def test_training_scenes_validate_where_a_source_has_no_others(bare, capsys):
    for i in range(20):
        lay_pair(bare, f"train/{i:03d}", textured(i))
    lay_pair(bare, "test/000", textured(99))

    def validating(**split) -> set[str]:
        edit_params(bare, {"split": split})
        stages.resize.main()
        train, val = ({path.name for path in (OUT / part / "mine").glob("*")} for part in ("train", "val"))
        assert not train & val
        assert len(train | val) == 20
        return val

    some = validating(val_fraction=0.2)
    assert 1 < len(some) < 8
    assert f"split.val_fraction takes {min(some)}" in capsys.readouterr().out
    assert validating(val_fraction=0.4) > some  # by a hash: the same ones again
    assert len(validating(val_fraction=0.0001)) == 1
    assert validating(val_fraction=0.0) == set()
    assert validating(val_fraction=0.2, val_scenes=["007"]) == {"007"}
    edit_params(bare, {"split": {"val_fraction": 0.2, "val_scenes": []}})
    lay_pair(bare, "val/100", textured(100))
    stages.resize.main()
    assert [path.name for path in (OUT / "val/mine").iterdir()] == ["100"]


def test_a_split_without_pairs_is_warned_of_before_hours_of_training(bare, capsys):
    lay_pair(bare, "train/A", textured(0))
    shutil.rmtree(bare / "data/synthetic")
    (bare / "data/synthetic").mkdir()
    stages.resize.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert [line.partition(" stops")[0] for line in lines] == [
        "resize: warning: no pair in test, without which evaluate",
        "resize: warning: no pair in val, without which train",
    ]


def test_filmed_scenes_validate_in_the_same_way(bare):
    places = [Place("mine", part, name, "frames") for part, name in (("train", "a"), ("train", "b"), ("test", "c"))]
    frames = [
        bare / f"data/clean/pairs/mine/{place.part}/{place.scene}/frames/{i}.png" for place in places for i in range(3)
    ]
    for i, path in enumerate(frames):
        write_png(path, textured(i))
    edit_params(bare, {"split": {"val_fraction": 0.1}, "synthesize": {"frames_per_pair": 3}})
    stages.synthesize.main()
    made = Path("data/synthetic")
    assert sorted(path.parent.name for path in made.glob("*/mine")) == ["test", "train", "val"]
    edit_params(bare, {"split": {"val_scenes": ["b"]}})
    stages.synthesize.main()
    stages.resize.main()
    assert [path.name for path in (OUT / "val/mine").iterdir()] == ["b"]


@pytest.mark.parametrize("alone", [True, False])
def test_a_single_clip_is_warned_of_with_the_way_to_split_it(bare, capsys, alone):
    lay_pair(bare, "unsplit/walk", textured(0))
    if alone:
        shutil.rmtree(bare / "data/synthetic")
        (bare / "data/synthetic").mkdir()
    else:  # photos test and validate
        for i, split in enumerate(("train", "val", "test"), 1):
            for kind in ("blur", "sharp"):
                write_png(bare / f"data/synthetic/{split}/unsplash/{i}/{kind}/0.png", textured(i))
    stages.resize.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert len(lines) == (2 if alone else 1)
    assert all("scenes: 1, each in one split. See split" in line and "docs/data.md" in line for line in lines)
    assert alone or "no pair of mine in test, so that evaluate measures other data sets alone; its" in lines[0]
