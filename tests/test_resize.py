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
from deblurgan.errors import UserError
from deblurgan.images import read_rgb, write_png
from deblurgan.metrics import psnr
from deblurgan.params import Resize
from deblurgan.resizing import resized


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


def test_what_leaks_into_another_split_is_named_and_counted(workspace, capsys):
    """clean does not know the splits; it names images of other scenes that look alike."""
    shutil.rmtree(workspace / "data")
    (workspace / "data/synthetic").mkdir(parents=True)
    edit_params(workspace, {"split": {"val_scenes": ["A"]}})
    rows = ["path,near_duplicate_of"]
    for scene, like in (("train/A", "train/B"), ("train/B", "train/C"), ("train/C", ""), ("test/T", "train/A")):
        name = f"pairs/g/{scene}/sharp/1.png"
        for path in (name, name.replace("sharp", "blur")):
            write_png(workspace / "data/clean" / path, np.zeros((20, 20, 3), np.uint8))
        rows.append(f"{name},{like and f'pairs/g/{like}/sharp/1.png'}")
    (workspace / "data/clean/labels.csv").write_text("\n".join(rows) + "\n")
    stages.resize.main()
    said = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert said == [
        "resize: warning: pairs/g/train/A/sharp/1.png (val) looks like pairs/g/train/B/sharp/1.png (train)",
        "resize: warning: pairs/g/test/T/sharp/1.png (test) looks like pairs/g/train/A/sharp/1.png (val)",
    ]
    counts = json.loads((workspace / "metrics/resize.json").read_text())
    assert counts == {"images": {"test": 2, "train": 4, "val": 2}, "near_duplicates_across_splits": 2}


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
