"""Pairs from folders, archives, addresses and Kaggle, in all the layouts that people have."""

import errno
import hashlib
import io
import json
import os
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import skimage
from conftest import PARAMS, REAL_DATA, ROOT, edit_params
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import uniform_filter
from servers import FileServer, Handler, Server, running

import stages.clean
import stages.fetch_unsplash
import stages.ingest_gopro
import stages.resize
import stages.synthesize
from deblurgan.errors import UserError
from deblurgan.evaluation.metrics import psnr
from deblurgan.images import read_rgb, write_png
from deblurgan.params import load
from deblurgan.sources import bundled, gopro, web
from deblurgan.sources.layouts import recognise
from deblurgan.splits import split_by_hash

OUT = Path("data/source/pairs")
TRAIN, TEST = "GOPR0372_07_00", "GOPR0384_11_00"


def png(name: str, size: tuple[int, int] = (40, 48)) -> bytes:
    """An image that differs from every other one."""
    rng = np.random.default_rng(list(hashlib.sha256(name.encode()).digest()))
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def lay(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(name) if name.lower().endswith(".png") else b"text")


def pack(path: Path, names: list[str], **options) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name in names:
            archive.writestr(name, png(name) if name.lower().endswith(".png") else b"text")
    return path


def official(kinds=("blur", "blur_gamma", "sharp"), top: str = "") -> list[str]:
    names = [
        f"{top}{part}/{scene}/{kind}/000047.png" for part, scene in (("train", TRAIN), ("test", TEST)) for kind in kinds
    ]
    return [*names, f"{top}train/{TRAIN}/frames 7 offset 0.txt"]


def taken() -> dict[str, bytes]:
    return {path.relative_to(OUT).as_posix(): path.read_bytes() for path in OUT.rglob("*") if path.is_file()}


def settings(workspace: Path, source: str, **more) -> None:
    edit_params(workspace, {"ingest_gopro": {"source": source, "blur": "blur", **more}})


def test_no_bundled_photo_serves_two_splits():
    split = load(PARAMS).split
    where: dict[str, set[str]] = {}
    for scene, photo in bundled.SCENES.items():
        part, name = scene.split("/")
        where.setdefault(photo.file, set()).add("val" if name in split.val_scenes else part)
    for photo in bundled.SHARP:
        where.setdefault(photo.file, set()).add(split_by_hash(photo.id, split))
    for photo in bundled.BLURRED:
        where.setdefault(photo.file, set()).add("unpaired")
    assert all(len(parts) == 1 for parts in where.values()), where
    assert set.union(*where.values()) == {"train", "val", "test", "unpaired"}
    assert not {"motorcycle_left.png", "motorcycle_right.png"} <= set(where)  # two views of one scene
    assert all(photo.path.is_file() for photo in (*bundled.SHARP, *bundled.BLURRED, *bundled.SCENES.values()))


def test_bundled_scenes_have_the_official_layout(workspace):
    stages.ingest_gopro.main()
    names = sorted(taken())
    assert names[:2] == [f"gopro/test/GOPR9004_13_00/{kind}/000007.png" for kind in ("blur", "sharp")]
    assert len(names) == 2 * len(bundled.SCENES)
    for path in OUT.rglob("blur/*.png"):
        sharp = path.parent.with_name("sharp") / path.name
        assert 10 < psnr(read_rgb(path), read_rgb(sharp)) < 45


def test_bundled_photos_have_their_authors(workspace):
    stages.fetch_unsplash.main()
    lines = Path("data/source/unsplash/photos.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(bundled.SHARP) + len(bundled.BLURRED)
    assert "Mikael Häggström" in "".join(lines)
    assert len(list(Path("data/source/unsplash").rglob("*.jpg"))) == len(lines) - 1


def test_no_photos_when_none_are_wanted(workspace):
    edit_params(workspace, {"fetch_unsplash": {"source": "none"}})
    stages.fetch_unsplash.main()
    files = [path.name for path in Path("data/source/unsplash").rglob("*") if path.is_file()]
    assert files == ["photos.csv"]


def test_a_camera_without_room_is_one_line(workspace):
    edit_params(workspace, {"ingest_gopro": {"bundled": {"width": 100, "height": 512}}})
    with pytest.raises(UserError, match=r"100x512 leave the camera no room to move in \w+\.png"):
        stages.ingest_gopro.main()
    assert not OUT.exists()


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("top", ["", "GOPRO_Large/", "deep/down/"])
@pytest.mark.parametrize("blur", ["blur", "blur_gamma"])
def test_the_official_layout_is_taken_byte_for_byte(workspace, form, top, blur, capsys):
    names = official(top=top)
    if form == "folder":
        lay(workspace / "raw", names)
    else:
        pack(workspace / "raw", names)
    settings(workspace, "raw", blur=blur)
    stages.ingest_gopro.main()
    assert taken() == {
        f"gopro/{part}/{scene}/{kind}/000047.png": png(f"{top}{part}/{scene}/{source}/000047.png")
        for part, scene in (("train", TRAIN), ("test", TEST))
        for kind, source in (("blur", blur), ("sharp", "sharp"))
    }
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ingest_gopro:")]
    assert lines == ["ingest_gopro: 4 images of pairs in 2 scenes of raw, called gopro"]


LAYOUTS = {
    "mirror with input and target": (
        ["Gopro/train/input/GOPR0372_07_00-000047.png", "Gopro/train/target/GOPR0372_07_00-000047.png"],
        {"train/GOPR0372_07_00/blur/000047.png", "train/GOPR0372_07_00/sharp/000047.png"},
    ),
    "one of several sets": (
        ["DBlur/Gopro/test/blur/a1.png", "DBlur/Gopro/test/sharp/a1.png", "DBlur/HIDE/test/blur/1.png"],
        {"test/a/blur/a1.png", "test/a/sharp/a1.png"},
    ),
    "flattened, without split": (
        ["gopro_deblur/blur/images/GOPR0372_07_00_000047.png", "gopro_deblur/sharp/images/GOPR0372_07_00_000047.png"],
        {"unsplit/GOPR0372_07_00/blur/000047.png", "unsplit/GOPR0372_07_00/sharp/000047.png"},
    ),
    "own pairs by name": (
        ["blur/x.png", "sharp/x.png", "blur/y.png", "sharp/y.png"],
        {"unsplit/x/blur/x.png", "unsplit/x/sharp/x.png", "unsplit/y/blur/y.png", "unsplit/y/sharp/y.png"},
    ),
    "frames of clips, side by side": (
        [f"{kind}/{name}.png" for kind in ("blur", "sharp") for name in ("walk_0000", "walk_0001", "park-7", "7", "x")],
        {
            f"unsplit/{scene}/{kind}/{name}.png"
            for kind in ("blur", "sharp")
            for scene, name in (
                ("walk", "walk_0000"),
                ("walk", "walk_0001"),
                ("park", "park-7"),
                ("7", "7"),
                ("x", "x"),
            )
        },
    ),
    "frames that a file manager numbered": (
        [f"{kind}/{name}.png" for kind in ("blur", "sharp") for name in ("walk (1)", "walk (28)", "park(2)", "(3)")],
        {
            f"unsplit/{scene}/{kind}/{name}.png"
            for kind in ("blur", "sharp")
            for scene, name in (("walk", "walk (1)"), ("walk", "walk (28)"), ("park", "park(2)"), ("(3)", "(3)"))
        },
    ),
    "photos that a camera numbered": (
        [f"{kind}/{name}.png" for kind in ("blur", "sharp") for name in ("IMG_0001", "IMG_0002", "DSC01234")],
        {
            f"unsplit/{name}/{kind}/{name}.png"
            for kind in ("blur", "sharp")
            for name in ("IMG_0001", "IMG_0002", "DSC01234")
        },
    ),
    "numbers in parts": (
        [f"{part}/{kind}/0001.png" for part in ("train", "test") for kind in ("input", "target")],
        {f"{part}/0001/{kind}/0001.png" for part in ("train", "test") for kind in ("blur", "sharp")},
    ),
    "own pairs by scene": (
        ["mine/walk/day/blur/1.png", "mine/walk/day/sharp/1.png", "mine/park/blur/1.png", "mine/park/sharp/1.png"],
        {f"unsplit/{scene}/{kind}/1.png" for scene in ("mine-walk-day", "mine-park") for kind in ("blur", "sharp")},
    ),
    "a single scene": (
        ["walk/blur/1.png", "walk/sharp/1.png", "walk/blur/2.png", "walk/sharp/2.png"],
        {f"unsplit/walk/{kind}/{n}.png" for kind in ("blur", "sharp") for n in (1, 2)},
    ),
    "own pairs with a split": (
        ["train/a/blur/1.png", "train/a/sharp/1.png", "valid/b/blur/1.png", "valid/b/sharp/1.png"],
        {f"{place}/{kind}/1.png" for place in ("train/a", "val/b") for kind in ("blur", "sharp")},
    ),
    "kinds above scenes": (
        ["blur/walk/0001.png", "sharp/walk/0001.png", "mine/blur/park/day/1.png", "mine/sharp/park/day/1.png"],
        {
            f"unsplit/{name}"
            for kind in ("blur", "sharp")
            for name in (f"walk/{kind}/0001.png", f"mine-park-day/{kind}/1.png")
        },
    ),
    "kinds above parts": (
        [f"REDS/{kind}/{part}/000/00000000.png" for kind in ("blur", "sharp") for part in ("train", "val")],
        {f"{part}/000/{kind}/00000000.png" for kind in ("blur", "sharp") for part in ("train", "val")},
    ),
    "REDS as published": (
        [f"{part}/{part}_{kind}/000/00000000.png" for kind in ("blur", "sharp") for part in ("train", "val")],
        {f"{part}/000/{kind}/00000000.png" for kind in ("blur", "sharp") for part in ("train", "val")},
    ),
    "REDS, each archive in a folder of its own": (
        [f"{part}_{kind}/{part}/{part}_{kind}/000/0.png" for kind in ("blur", "sharp") for part in ("train", "val")],
        {f"{part}/000/{kind}/0.png" for kind in ("blur", "sharp") for part in ("train", "val")},
    ),
    "kinds behind the names of scenes": (
        ["walk_blur/1.png", "walk_sharp/1.png", "Park-Blur/1.png", "Park-Sharp/1.png"],
        {f"unsplit/{scene}/{kind}/1.png" for scene in ("walk", "Park") for kind in ("blur", "sharp")},
    ),
    "scenes that are called like kinds": (
        ["blur/still_sharp/1.png", "sharp/still_sharp/1.png", "my_blur/blur/1.png", "my_blur/sharp/1.png"],
        {f"unsplit/{scene}/{kind}/1.png" for scene in ("still_sharp", "my_blur") for kind in ("blur", "sharp")},
    ),
    "video of a set for deblurring": (
        ["gopro_deblur/nuclear_plant/1.png", "DBlur/clearing/1.png"],
        {"unsplit/gopro_deblur-nuclear_plant/frames/1.png", "unsplit/DBlur-clearing/frames/1.png"},
    ),
    "high-speed video": (
        ["all/train/GOPR0372_07_00/000001.png", "all/train/GOPR0372_07_00/000002.png"],
        {"train/GOPR0372_07_00/frames/000001.png", "train/GOPR0372_07_00/frames/000002.png"},
    ),
    "one video": (
        ["clips/street/f1.png", "clips/street/f2.png"],
        {"unsplit/clips-street/frames/f1.png", "unsplit/clips-street/frames/f2.png"},
    ),
    "other spellings": (
        ["./My Set/Train/a/Blur/1.PNG", "./My Set/Train/a/Sharp/1.PNG"],
        {"train/a/blur/1.PNG", "train/a/sharp/1.PNG"},
    ),
    "bare frames": (["1.png", "2.png"], {"unsplit/video/frames/1.png", "unsplit/video/frames/2.png"}),
}


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_recognised(workspace, name, form):
    names, targets = LAYOUTS[name]
    if form == "folder":
        lay(workspace / "raw", names)
    else:
        pack(workspace / "raw", names)
    settings(workspace, "raw", dataset="mine")
    stages.ingest_gopro.main()
    assert set(taken()) == {f"mine/{target}" for target in targets}


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_scenes_deep_in_folders_with_long_names_are_taken(workspace, form, capsys):
    deep = "/".join(f"{i} {'Straße' * 12}" for i in range(6))
    names = [f"{deep}/{scene}/{kind}/{i}.png" for scene in "ab" for kind in ("blur", "sharp") for i in (1, 2)]
    if form == "folder":
        lay(workspace / "raw", names)
    else:
        pack(workspace / "raw", [*names, f"{'x' * 300}/blur/1.png"])
    settings(workspace, "raw", dataset="mine")
    stages.ingest_gopro.main()
    assert sorted(taken().values()) == sorted(map(png, names))
    assert len(list((OUT / "mine/unsplit").iterdir())) == 2
    assert capsys.readouterr().out.count("xx/blur/1.png belongs to no pair, left out") == (form == "zip")


def pan(photo: np.ndarray, frames: int) -> list[np.ndarray]:
    """Frames of a camera that turns to the right and a little down, by a tenth of a frame each."""
    return [photo[3 * i : 3 * i + 130, 14 * i : 14 * i + 140] for i in range(frames)]


CLIPS = [pan(photo, 12) for photo in (skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea())]
PHOTOS = [np.stack([photo[:160, :160]] * 3, -1) for photo in (
    skimage.data.camera(), skimage.data.coins(), skimage.data.moon(), skimage.data.page(), skimage.data.clock(),
)]  # fmt: skip


def lay_pairs(root: Path, images: list[np.ndarray], name: str, first: int = 1) -> None:
    """Pairs with a number for a name."""
    for i, image in enumerate(images, first):
        write_png(root / "blur" / name.format(i), uniform_filter(image, (5, 5, 1)))
        write_png(root / "sharp" / name.format(i), image)


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("name", ["{:06d}.png", "{}.png", "IMG_{:04d}.png", "walk{} copy.png", "({}).png"])
def test_numbered_frames_of_a_clip_are_one_scene_and_numbered_photos_are_not(workspace, name, form, capsys):
    lay_pairs(workspace / "raw", [image for images in (*CLIPS, PHOTOS) for image in images], name)
    if form == "zip":
        shutil.make_archive("raw", "zip", workspace / "raw")
    settings(workspace, "raw" if form == "folder" else "raw.zip", dataset="mine")
    stages.ingest_gopro.main()
    clip_of = {i: (i - 1) // 12 * 12 + 1 if i <= 36 else i for i in range(1, 42)}  # three clips, then photos
    assert set(taken()) == {
        f"mine/unsplit/{name.format(first).removesuffix('.png')}/{kind}/{name.format(i)}"
        for i, first in clip_of.items()
        for kind in ("blur", "sharp")
    }
    assert len(list((OUT / "mine/unsplit").iterdir())) == 8  # and no empty folder
    said = "the names of 41 pairs tell no clip, and neighbours among them look alike: taken for 8 clips"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".HEIC", ".avif", ".jfif"])
def test_what_phones_write_is_read_as_other_formats_are(workspace, suffix, capsys):
    frames = [*CLIPS[0][:3], CLIPS[0][3][:100], *CLIPS[1][:2]]
    lay_pairs(workspace / "raw", frames, "IMG_{:04d}.png", first=9)
    for path in sorted((workspace / "raw").rglob("*.png")):
        with Image.open(path) as image:
            if suffix == ".HEIC":
                pillow_heif.from_pillow(image).save(path.with_suffix(suffix), quality=95)
            else:
                image.save(path.with_suffix(suffix), "AVIF" if suffix == ".avif" else "JPEG", quality=95)
        path.unlink()
    settings(workspace, "raw", dataset="mine")
    edit_params(workspace, {"fetch_unsplash": {"source": "none"}})
    stages.ingest_gopro.main()
    clip_of = {9: 9, 10: 9, 11: 9, 12: 9, 13: 13, 14: 13}
    names = {f"IMG_{first:04d}/{kind}/IMG_{i:04d}" for i, first in clip_of.items() for kind in ("blur", "sharp")}
    assert set(taken()) == {f"mine/unsplit/{name}{suffix}" for name in names}
    odd = [
        f"IMG_0009/{kind}/IMG_0012{suffix}: 140x100, the others of its scene are 140x130" for kind in ("blur", "sharp")
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [f"ingest_gopro: mine/unsplit/{line}" for line in odd]
    for stage in (stages.fetch_unsplash, stages.clean):
        stage.main()
    clean = workspace / "data/clean/pairs/mine/unsplit"
    assert {path.relative_to(clean).as_posix() for path in clean.rglob("*.png")} == {f"{name}.png" for name in names}


def test_numbered_frames_of_a_clip_that_trains_do_not_validate(workspace):
    for part, clips in (("train", CLIPS[:2]), ("test", CLIPS[2:])):
        lay_pairs(workspace / "raw" / part, [image for images in clips for image in images], "{:04d}.png")
    settings(workspace, "raw", dataset="mine")
    edit_params(workspace, {"split": {"val_scenes": [], "val_fraction": 0.3}, "fetch_unsplash": {"source": "none"}})
    for stage in (stages.ingest_gopro, stages.fetch_unsplash, stages.clean, stages.synthesize, stages.resize):
        stage.main()
    scenes = {path.relative_to("data/resized").as_posix() for path in Path("data/resized").glob("*/mine/*")}
    assert {scene.partition("/")[0] for scene in scenes} == {"train", "val", "test"}
    assert {scene.partition("/")[2] for scene in scenes} == {"mine/0001", "mine/0013"}
    assert len(scenes) == 3  # a clip that trains, one that validates, one that tests


@given(st.lists(st.text(alphabet="abtrains/bluhp.gex\\:_0 ", max_size=30).map(lambda s: s + ".png"), max_size=8))
def test_any_names_give_safe_and_distinct_targets(names):
    try:
        entries, _ = recognise(names, "blur")
    except UserError as error:
        assert "\n" not in str(error)
        return
    targets = [entry.target for entry in entries]
    assert len(set(targets)) == len(targets)
    for entry in entries:
        assert entry.name in names
        parts = entry.target.split("/")
        assert len(parts) == 4
        assert not any(part in ("", ".", "..") or "\\" in part or ":" in part for part in parts)


def test_an_archive_cannot_write_elsewhere(workspace, capsys):
    evil = ["../blur/x.png", "../sharp/x.png", "/blur/y.png", "a/../../blur/z.png", "blur/..\\..\\w.png"]
    pack(workspace / "raw.zip", [*official(), *evil])
    settings(workspace, "raw.zip")
    before = {path for path in workspace.parent.rglob("*.png") if workspace not in path.parents}
    stages.ingest_gopro.main()
    assert len(taken()) == 4
    assert {path for path in workspace.parent.rglob("*.png") if workspace not in path.parents} == before
    assert capsys.readouterr().out.count("belongs to no pair, left out") == len(evil)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (zipfile.ZIP_DEFLATED, r"raw\.zip: 0\.0 MB become 6 MB, more than 200 times as much.*unpack it, and name the"),
        (zipfile.ZIP_BZIP2, r"000047\.png is packed by bzip2: unpack it, and name the folder"),
    ],
)
def test_an_archive_that_would_fill_the_disk_is_refused_before(workspace, method, said):
    with zipfile.ZipFile(workspace / "raw.zip", "w", method) as archive:
        for name in official(("blur_gamma", "sharp"))[:-1]:
            archive.writestr(name, bytes(1_500_000))
    settings(workspace, "raw.zip", blur="blur_gamma")
    with pytest.raises(UserError, match=said):
        stages.ingest_gopro.main()
    assert not OUT.exists()


def test_an_archive_that_is_larger_than_the_free_disk_is_refused_before(workspace, monkeypatch):
    pack(workspace / "raw.zip", official())
    settings(workspace, "raw.zip")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(UserError, match=r"raw\.zip needs 0\.0 GB below .*, whose disk has 0\.0 GB left: free some"):
        stages.ingest_gopro.main()
    assert not OUT.exists()


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_disk_that_fills_meanwhile_is_said_with_the_file(workspace, monkeypatch, form):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    lay(workspace / "raw", official())
    pack(workspace / "raw.zip", official())
    for name in ("copyfile", "copyfileobj"):
        monkeypatch.setattr(shutil, name, full)
    monkeypatch.setattr(os, "link", full)
    settings(workspace, "raw" if form == "folder" else "raw.zip")
    with pytest.raises(OSError, match=r"No space left on device: '.*pairs.*\.partial/gopro/.*/000047\.png'"):
        stages.ingest_gopro.main()


def test_what_is_odd_is_named(workspace, capsys):
    lay(workspace / "raw", [*official(), f"train/{TRAIN}/blur/000050.png", f"train/{TRAIN}/notes.docx", "cover.png"])
    odd = workspace / f"raw/train/{TRAIN}/sharp/000053.png"
    for kind in ("blur", "sharp"):
        odd.parent.with_name(kind).joinpath("000053.png").write_bytes(png("odd", (40, 44)))
        odd.parent.with_name(kind).joinpath("000056.png").write_bytes(png(f"even{kind}"))
    settings(workspace, "raw")
    stages.ingest_gopro.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "ingest_gopro: raw: cover.png belongs to no pair, left out",
        f"ingest_gopro: raw: train/{TRAIN}/notes.docx belongs to no pair, left out",
        f"ingest_gopro: gopro/train/{TRAIN}/blur/000050.png: no partner in sharp/",
        f"ingest_gopro: gopro/train/{TRAIN}/blur/000053.png: 44x40, the others of its scene are 48x40",
        f"ingest_gopro: gopro/train/{TRAIN}/sharp/000053.png: 44x40, the others of its scene are 48x40",
    ]


def test_files_are_linked_where_the_disk_allows(workspace):
    lay(workspace / "raw", official())
    settings(workspace, "raw")
    stages.ingest_gopro.main()
    assert all(path.stat().st_nlink == 2 for path in OUT.rglob("*.png"))


def test_files_are_copied_where_links_are_not_to_be_had(workspace, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    lay(workspace / "raw", official())
    monkeypatch.setattr(os, "link", refuse)
    settings(workspace, "raw")
    stages.ingest_gopro.main()
    assert len(taken()) == 4
    assert all(path.stat().st_nlink == 1 for path in OUT.rglob("*.png"))


@pytest.mark.parametrize(
    ("names", "more", "said"),
    [
        (["readme.txt"], {}, "no pairs below folders blur and sharp, and no numbered frames"),
        (["train/A/sharp/1.png"], {}, "sharp images but none in a folder 'blur': blurred ones are missing"),
        (["A/blur/1.png", "A/gt/1.png"], {}, "blurred images but none in a folder 'sharp': sharp ones are missing"),
        (["blurry/0.png", "clear/0.png"], {}, r"blurry/0\.png is called like half of a pair, but lies below no folder"),
        (["train/0001.png", "GT/0001.png"], {}, r"GT/0001\.png is called like half of a pair, .*: call the folders so"),
        (["train/MotionBlurred/a/1.png"], {}, "is called like half of a pair, .* or rename them if this is high-speed"),
        (["a/blur_1.png", "a/sharp_1.png"], {}, r"a/blur_1\.png is called like half of a pair"),
        (["val/val_blur_jpeg/000/1.png", "val/val_sharp/000/1.png"], {}, "none in a folder 'blur': blurred ones are"),
        (
            official(("blur", "sharp")),
            {"blur": "blur_gamma"},
            "none in a folder 'blur_gamma': set ingest_gopro.blur to",
        ),
        (["blur/x.png", "sharp/x.png"], {}, "no train and test folders, so they are not GoPro with its official split"),
        (["train/walk/blur/1.png", "train/walk/sharp/1.png"], {}, "walk is no train scene of GoPro"),
        ([f"train/{TEST}/blur/1.png", f"train/{TEST}/sharp/1.png"], {}, f"{TEST} is no train scene of GoPro"),
        (
            ["A/test/blur/1.png", "B/test/blur/1.png"],
            {},
            r"several data sets side by side .A, B.: name the folder of one",
        ),
    ],
)
def test_what_is_not_what_it_should_be_is_one_line(workspace, names, more, said):
    lay(workspace / "raw", names)
    settings(workspace, "raw", **more)
    with pytest.raises(UserError, match=said) as caught:
        stages.ingest_gopro.main()
    assert "\n" not in str(caught.value)
    assert not OUT.exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "'nowhere' is neither 'bundled' nor a folder, a zip or an address"),
        ("ftp://host/x.zip", "is no https://... address of a zip"),
        ("https://host/", "is no https://... address of a zip"),
        ("http://host/x.zip", "is not encrypted: give the archive's ingest_gopro.sha256"),
        ("kaggle:owner/name", "write kaggle:owner/name/versions/N"),
        ("file.txt", "file.txt is no zip archive, or its end is missing"),
    ],
)
def test_a_source_that_is_none_is_one_line(workspace, source, said):
    (workspace / "file.txt").write_text("text")
    settings(workspace, source)
    with pytest.raises(UserError, match=said):
        stages.ingest_gopro.main()


def test_a_damaged_archive_is_one_line(workspace):
    path = pack(workspace / "raw.zip", official())
    whole = path.read_bytes()
    settings(workspace, "raw.zip")
    for damaged in (whole[: len(whole) // 2], whole.replace(png(official()[0])[60:80], b"x" * 20, 1)):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"is no zip archive, or its end is missing|000047\.png is damaged"):
            stages.ingest_gopro.main()
        assert not OUT.exists()
    flagged = bytearray(whole)
    at = whole.index(b"PK\x01\x02")
    flagged[at + 8] |= 1
    path.write_bytes(flagged)
    with pytest.raises(UserError, match=r"000047\.png is encrypted"):
        stages.ingest_gopro.main()


def test_a_checksum_is_compared(workspace):
    path = pack(workspace / "raw.zip", official())
    settings(workspace, "raw.zip", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    stages.ingest_gopro.main()
    assert len(taken()) == 4
    settings(workspace, "raw.zip", sha256="0" * 64)
    with pytest.raises(UserError, match=r"raw\.zip has the SHA-256 .* is expected: copy it again"):
        stages.ingest_gopro.main()
    path.rename(workspace / "GOPRO_Large.zip")
    settings(workspace, "GOPRO_Large.zip", sha256=None)
    with pytest.raises(UserError, match="24532c036712515cf33803704421311c91f6a080e76049d7e5e7fd22389f128e is expected"):
        stages.ingest_gopro.main()


@pytest.fixture
def archive(workspace, monkeypatch):
    """A zip on a server that can be slow, broken, or forgetful."""
    monkeypatch.setattr(web.time, "sleep", lambda seconds: None)
    pack(workspace / "made.zip", official(), compression=zipfile.ZIP_STORED)
    with zipfile.ZipFile(workspace / "made.zip", "a") as made:
        made.writestr("padding.txt", os.urandom(1_000_000))
    body = (workspace / "made.zip").read_bytes()
    with running(FileServer(body)) as server:
        settings(workspace, f"{server.address}/made.zip?token=secret", sha256=hashlib.sha256(body).hexdigest())
        yield server


def test_a_download_is_kept_and_not_repeated(workspace, archive, capsys):
    stages.ingest_gopro.main()
    shutil.rmtree(OUT)
    stages.ingest_gopro.main()
    assert len(taken()) == 4
    assert len(archive.ranges) == 1
    assert "secret" not in "".join(capsys.readouterr())


def test_a_broken_download_goes_on_where_it_broke_off(workspace, archive):
    archive.breaks = [400_000, 200_000, 0, 300_000, None]
    stages.ingest_gopro.main()
    assert len(taken()) == 4
    starts = [int(r.removeprefix("bytes=").removesuffix("-")) if r else 0 for r in archive.ranges]
    assert starts == sorted(starts)
    assert starts[1] > 0


def test_a_server_without_ranges_is_asked_for_all_of_it(workspace, archive):
    archive.resumable = False
    archive.breaks = [500_000, 300_000, None]
    stages.ingest_gopro.main()
    assert len(taken()) == 4


def test_a_file_that_changed_meanwhile_is_not_mixed(workspace, archive):
    archive.breaks = [400_000, (404, {})]
    with pytest.raises(UserError, match=r"made\.zip is gone .404.: check ingest_gopro\.source"):
        stages.ingest_gopro.main()
    archive.etag = '"two"'
    stages.ingest_gopro.main()
    assert len(taken()) == 4


def test_a_wrong_download_is_thrown_away(workspace, archive):
    settings(workspace, f"{archive.address}/made.zip", sha256="0" * 64)
    with pytest.raises(UserError, match=r"made\.zip has the SHA-256 .* is expected: thrown away; check ingest"):
        stages.ingest_gopro.main()
    assert not [path for path in (workspace / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_download_that_never_gets_on_is_one_line(workspace, archive):
    archive.breaks = [0] * 99
    with pytest.raises(UserError, match=r"broke off .*5 times; what has arrived is kept, run again to go on"):
        stages.ingest_gopro.main()


@pytest.mark.parametrize(
    ("odd", "breaks", "said"),
    [
        ("another part", [400_000], None),
        ("another version", [400_000], None),
        ("no length", [], None),
        ("no length", [400_000], "is no zip archive, or its end is missing: thrown away"),
        ("unasked part", [], "answered 206"),
        ("nothing", [], "answered 204"),
        ("a page", [], "is no zip archive, or its end is missing: thrown away"),
        ("compressed", [], "in another encoding than its own|broke off .ContentDecodingError"),
    ],
)
def test_an_odd_server_gives_no_odd_archive(workspace, archive, odd, breaks, said):
    """Without a checksum to compare: whole and unmixed, or one line and nothing kept."""
    target = workspace / "cache/archives/x.zip"
    archive.breaks, archive.odd = [*breaks], odd
    if said:
        with pytest.raises(UserError, match=said):
            web.download(f"{archive.address}/made.zip", target, sha256=None)
        assert not target.exists()
        archive.odd, archive.breaks = None, []
    web.download(f"{archive.address}/made.zip", target, sha256=None)
    assert target.read_bytes() == archive.body


def test_two_runs_share_one_download(workspace, archive):
    archive.pause = 0.01
    target = workspace / "cache/archives/x.zip"
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: web.download(f"{archive.address}/made.zip", target, sha256=None), range(3)))
    assert target.read_bytes() == archive.body
    assert len(archive.ranges) == 1


def test_a_disk_that_is_too_small_is_said_before(workspace, archive, monkeypatch):
    monkeypatch.setattr(web.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(UserError, match=r"needs 0\.0 GB, and .* has 0\.0 GB left: free some, or set DEBLURGAN_CACHE"):
        stages.ingest_gopro.main()


class KaggleHandler(Handler):
    """The part of Kaggle's API that kagglehub uses for one data set."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        if (body.get("ownerSlug"), body.get("datasetSlug")) != ("someone", "some-pairs"):
            return self.answer(403, b"{}")
        return self.answer(302, Location=f"{self.server.files.address}/archive.zip")


def test_kaggle_is_asked_for_the_version_and_goes_on(workspace, monkeypatch):
    kaggle_env = pytest.importorskip("kagglesdk.kaggle_env")
    monkeypatch.setattr(web.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(workspace / "kaggle"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(workspace / "no credentials"))
    names, targets = LAYOUTS["flattened, without split"]
    body = pack(workspace / "made.zip", names).read_bytes()
    with running(FileServer(body)) as files, running(Server(KaggleHandler)) as api:
        files.pace, files.breaks = 500, [3000, None]
        api.files, api.asked = files, []
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, api.address)
        settings(workspace, "kaggle:someone/some-pairs/versions/3", dataset="gopro-kaggle")
        stages.ingest_gopro.main()
        assert set(taken()) == {f"gopro-kaggle/{target}" for target in targets}
        assert str(api.asked[0]["datasetVersionNumber"]) == "3"
        asked = len(api.asked)
        stages.ingest_gopro.main()
        assert len(api.asked) == asked
        settings(workspace, "kaggle:someone/other/versions/1", dataset="gopro-kaggle")
        with pytest.raises(UserError, match="Kaggle answers 403 for someone/other/versions/1: is it public"):
            stages.ingest_gopro.main()


def test_the_official_split_is_the_published_one():
    assert len(gopro.TRAIN) == 22
    assert len(gopro.TEST) == 11
    assert not gopro.TRAIN & gopro.TEST
    presets = [load_scenes(path) for path in (ROOT / "presets").glob("*.yaml")]
    assert all(set(scenes) <= gopro.TRAIN for scenes in presets)


def load_scenes(path: Path) -> list[str]:
    from deblurgan.yaml_files import read_yaml

    return read_yaml(path)["split"]["val_scenes"]


REAL = REAL_DATA / "GOPRO_Large"


@pytest.mark.skipif(not REAL.is_dir(), reason="no real GoPro frames on this machine")
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_real_gopro_frames_pass_through_all_stages(workspace, form):
    source = REAL
    names = sorted(path.relative_to(REAL).as_posix() for path in REAL.rglob("*.png"))
    if form == "zip":
        source = workspace / "real.zip"
        with zipfile.ZipFile(source, "w", zipfile.ZIP_STORED) as archive:
            for name in names:
                archive.write(REAL / name, name)
    settings(workspace, str(source))
    edit_params(
        workspace,
        {
            "split": {"val_scenes": []},
            "fetch_unsplash": {"source": "none"},
            "resize": {"mode": "stretch", "width": 128, "height": 128},
        },
    )
    for stage in (stages.fetch_unsplash, stages.ingest_gopro, stages.clean):
        stage.main()
    clean = workspace / "data/clean/pairs/gopro"
    assert all((clean / name).read_bytes() == (REAL / name).read_bytes() for name in names)
    counts = json.loads((workspace / "metrics/clean.json").read_text())
    assert counts["kept"] == counts["found"] == len(names) > 0
    assert not counts["doubtful"]
    (workspace / "data/synthetic").mkdir()
    stages.resize.main()
    out = workspace / "data/resized"
    assert len(list(out.rglob("*.png"))) == len(names)
    scene = out / f"train/gopro/{TRAIN}"
    stretched = [psnr(read_rgb(path), read_rgb(scene / "sharp" / path.name)) for path in (scene / "blur").iterdir()]
    whole = [
        psnr(read_rgb(clean / f"train/{TRAIN}/blur/{path.name}"), read_rgb(clean / f"train/{TRAIN}/sharp/{path.name}"))
        for path in (scene / "blur").iterdir()
    ]
    assert (
        np.mean(stretched) > np.mean(whole) + 4
    )  # stretching hides blur: the reason to say at which size one measures
