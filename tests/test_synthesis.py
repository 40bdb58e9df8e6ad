"""Pairs from photos and from high-speed video."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import REAL_DATA, contents, edit_params
from hypothesis import given
from hypothesis import strategies as st

import stages.clean
import stages.fetch_unsplash
import stages.ingest_gopro
import stages.resize
import stages.synthesize
from deblurgan.blur import synthesis
from deblurgan.blur.contact_sheet import kernel_sheet
from deblurgan.blur.convolution import blur_image
from deblurgan.blur.frame_averaging import average_frames
from deblurgan.blur.kinds import Blur
from deblurgan.blur.synthesis import blur_of, consecutive
from deblurgan.blur.trajectory import random_path
from deblurgan.errors import UserError
from deblurgan.evaluation.metrics import psnr
from deblurgan.images import read_rgb, write_png
from deblurgan.params import Synthesize, load

OUT = Path("data/synthetic")
SETTINGS = Synthesize(
    pairs_per_photo=2, length=[30, 60], shake=[0.003, 0.01], exposure=[0.1, 1], noise=1, frames_per_pair=5,
    in_light=True, layered=0, defocus=0,
)  # fmt: skip


def lay_photos(workspace: Path, *names: str) -> None:
    for name in names:
        rng = np.random.default_rng(list(name.encode()))
        write_png(
            workspace / f"data/clean/unsplash/sharp/{name}.png", rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        )


def made() -> dict[str, bytes]:
    return {path.relative_to(OUT).as_posix().split("/", 1)[-1]: path.read_bytes() for path in OUT.rglob("*.png")}


@pytest.mark.parametrize("in_light", [True, False])
def test_a_photo_is_blurred_as_light_or_as_stored_values(workspace, in_light):
    edit_params(workspace, {"synthesize": {"in_light": in_light, "noise": 0}})
    lay_photos(workspace, "a")
    stages.synthesize.main()
    p = load()
    kernel = blur_of("a", 0, p.synthesize, p.seed)[0].kernel
    expected = blur_image(read_rgb(workspace / "data/clean/unsplash/sharp/a.png"), kernel, linear=in_light)
    (made_one,) = OUT.rglob("blur/0000.png")
    np.testing.assert_array_equal(read_rgb(made_one), np.rint(expected))


def test_each_photo_has_its_own_seed(workspace):
    """Pairs depend on nothing but the photo, its id and the pipeline's seed."""
    edit_params(workspace, {"synthesize": {"pairs_per_photo": 6}})
    lay_photos(workspace, "b")
    stages.synthesize.main()
    alone = made()
    lay_photos(workspace, "a", "c")
    edit_params(workspace, {"synthesize": {"pairs_per_photo": 7}})
    stages.synthesize.main()
    together = made()
    assert len(alone) == 12
    assert len(together) == 42
    assert alone.items() <= together.items()
    assert len({together[f"unsplash/b/blur/{i:04d}.png"] for i in range(7)}) == 7
    with open(OUT / "pairs.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(row["path"].split("/", 1)[1] for row in rows) == [n for n in sorted(together) if "/blur/" in n]
    assert all(row["kind"] == "motion" and 30 <= float(row["length"]) <= 60 and int(row["extent"]) % 2 for row in rows)
    assert read_rgb("metrics/synthesize/kernels.png").max() == 255


def test_kinds_of_blur_come_in_their_shares_and_are_noted(workspace):
    edit_params(workspace, {"synthesize": {"pairs_per_photo": 40, "layered": 0.4, "defocus": 0.3}})
    lay_photos(workspace, "a")
    stages.synthesize.main()
    with open(OUT / "pairs.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    kinds = [row["kind"] for row in rows]
    assert min(kinds.count(kind) for kind in ("motion", "layered", "defocus")) >= 3
    assert all(float(row["length"]) == 0 for row in rows if row["kind"] == "defocus")
    sharp = read_rgb(workspace / "data/clean/unsplash/sharp/a.png")
    for row in rows:
        assert 1 < np.abs(read_rgb(OUT / row["path"]).astype(int) - sharp).mean() < 80


@pytest.fixture
def blurred(monkeypatch) -> list[str]:
    """How often pairs were really made: by blurring a photo, by averaging frames."""
    calls = []
    for place, name in ((Blur, "applied"), (synthesis, "average_frames")):
        work = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *a, _n=name, _w=work, **k: calls.append(_n) or _w(*a, **k))
    return calls


def anew(blurred: list[str], keep: bool = True) -> tuple[dict[str, bytes], list[str]]:
    """What the stage makes, and which work it did for that; `keep`: with what an earlier run made."""
    blurred.clear()
    if not keep:
        shutil.rmtree(OUT)
    stages.synthesize.main()
    return contents(OUT), sorted(blurred)


def test_what_an_earlier_run_made_is_not_made_again(workspace, blurred, capsys):
    """A photo, a filmed pair or a clip more costs no more than what is made of it; nothing else changes."""
    edit_params(workspace, {"synthesize": {"pairs_per_photo": 2, "frames_per_pair": 3}})
    lay_photos(workspace, "a", "b")
    lay_video(workspace / "data/clean/pairs/video/unsplit/walk/frames", range(6))
    first, work = anew(blurred)
    assert work == 4 * ["applied"] + 2 * ["average_frames"]
    lay_video(workspace / "data/clean/pairs/gopro/train/GOPR0001/blur", range(1))
    lay_video(workspace / "data/clean/pairs/gopro/train/GOPR0001/sharp", range(1))
    assert anew(blurred) == (first, [])
    assert "synthesize: 0 pairs made, 6 kept as an earlier run made them" in capsys.readouterr().out
    lay_photos(workspace, "c")
    lay_video(workspace / "data/clean/pairs/video/unsplit/walk/frames", range(6, 9))
    more, work = anew(blurred)
    assert work == ["applied", "applied", "average_frames"]
    assert anew(blurred, keep=False)[0] == more
    edit_params(workspace, {"split": {"test_fraction": 0.9}})
    moved, work = anew(blurred)
    assert work == []
    assert set(moved) != set(more)
    assert anew(blurred, keep=False)[0] == moved


def test_what_is_not_the_same_is_made_again(workspace, blurred):
    """Other settings, another photo of the same name, a file that somebody has changed, notes that are damaged."""
    lay_photos(workspace, "a")
    first, _ = anew(blurred)
    edit_params(workspace, {"synthesize": {"noise": 2}})
    assert anew(blurred)[1] == ["applied"]
    edit_params(workspace, {"synthesize": {"noise": 1}})
    assert anew(blurred) == (first, ["applied"])
    photo = workspace / "data/clean/unsplash/sharp/a.png"
    same = photo.read_bytes()
    write_png(photo, 255 - read_rgb(photo))
    assert anew(blurred)[1] == ["applied"]
    photo.write_bytes(same)
    assert anew(blurred) == (first, ["applied"])
    (made_one,) = OUT.rglob("blur/0000.png")
    made_one.write_bytes(same)
    assert anew(blurred) == (first, ["applied"])
    for notes in (workspace / "cache/synthesized").iterdir():
        notes.write_text("{")
    assert anew(blurred) == (first, ["applied"])


def test_links_into_dvcs_cache_make_the_same_pairs(workspace):
    """As DVC lays them where its `cache.type` is symlink: what they lead to is named by a hash."""
    edit_params(workspace, {"synthesize": {"frames_per_pair": 3}})
    lay_photos(workspace, "a", "b")
    lay_video(workspace / "data/clean/pairs/video/unsplit/walk/frames", range(3))
    stages.synthesize.main()
    first = contents(OUT)
    for path in (workspace / "data/clean").rglob("*.png"):
        hashed = workspace / "dvc" / hashlib.md5(path.read_bytes()).hexdigest()
        hashed.parent.mkdir(exist_ok=True)
        path.rename(hashed)
        path.symlink_to(hashed)
    shutil.rmtree(OUT)
    stages.synthesize.main()
    assert contents(OUT) == first
    assert not any(path.is_symlink() for path in OUT.rglob("*"))


def test_a_seed_is_of_the_pair():
    kernels = [blur_of(*args, SETTINGS, 1)[0].kernel for args in (("a", 0), ("a", 0), ("a", 1), ("b", 0))]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert all(a.shape != b.shape or (a != b).any() for a, b in [kernels[:3:2], kernels[::3]])


def test_a_contact_sheet_shows_each_kernel():
    rng = np.random.default_rng(0)
    kernels = [random_path(rng, length=(20, 20), shake=(0.01,), exposure=(1,)).kernel for _ in range(11)]
    side = max(map(len, kernels)) * 2
    sheet = kernel_sheet(kernels, columns=4, zoom=2, gap=3)
    assert sheet.shape == (3 * (side + 3) + 3, 4 * (side + 3) + 3, 3)
    for i in range(12):
        top, left = (3 + place * (side + 3) for place in divmod(i, 4))
        assert sheet[top : top + side, left : left + side].max() == (255 if i < 11 else 0)
    assert kernel_sheet([]).size


def number(path: Path) -> int:
    return int("".join(c for c in path.stem if c.isdigit()))


@given(st.lists(st.integers(0, 60), unique=True), st.sampled_from([1, 3, 5]))
def test_runs_are_consecutive_and_never_share_a_frame(numbers, count):
    runs = list(consecutive([Path(f"f{n:04d}.png") for n in sorted(numbers)], count))
    for run in runs:
        assert [number(path) for path in run] == list(range(number(run[0]), number(run[0]) + count))
    used = [path for run in runs for path in run]
    assert len(used) == len(set(used))
    longest = max((len(part) for part in stretches(sorted(numbers))), default=0)
    assert bool(runs) == (longest >= count)


def stretches(numbers: list[int]) -> list[list[int]]:
    parts: list[list[int]] = []
    for n in numbers:
        if parts and parts[-1][-1] == n - 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return parts


def test_frames_without_numbers_follow_their_order():
    assert [len(run) for run in consecutive([Path(f"{c}.png") for c in "abcdefg"], 3)] == [3, 3]


def lay_video(root: Path, numbers, size=(40, 60)) -> None:
    image = np.random.default_rng(0).integers(0, 256, (size[0], size[1] + 80, 3), dtype=np.uint8)
    for n in numbers:
        write_png(root / f"{n:06d}.png", image[:, n : n + size[1]])


def test_a_video_becomes_pairs(workspace, capsys):
    lay_video(workspace / "raw/GOPR1234_03_00", [*range(1, 8), *range(10, 12)])
    lay_video(workspace / "raw/walk", range(11))
    edit_params(workspace, {"ingest_gopro": {"source": "raw", "dataset": "video"}})
    edit_params(workspace, {"fetch_unsplash": {"source": "none"}})
    edit_params(workspace, {"split": {"val_scenes": [], "test_fraction": 0.0, "val_fraction": 0.0}})
    edit_params(workspace, {"synthesize": {"frames_per_pair": 5}, "resize": {"mode": "none"}})
    stages.fetch_unsplash.main()
    stages.ingest_gopro.main()
    stages.clean.main()
    stages.synthesize.main()
    output = capsys.readouterr().out
    assert "GOPR1234_03_00: 3 of 9 frames left over by runs of 3 in a row" in output
    assert "walk: 1 of 11 frames left over by runs of 5 in a row" in output
    assert set(made()) == {
        f"video/{scene}/{kind}/{frame:06d}.png"
        for scene, frames in (("GOPR1234_03_00", (2, 5)), ("walk", (2, 7)))
        for frame in frames
        for kind in ("blur", "sharp")
    }
    scene = OUT / "train/video/walk"
    source = workspace / "data/clean/pairs/video/unsplit/walk/frames"
    assert (scene / "sharp/000002.png").read_bytes() == (source / "000002.png").read_bytes()
    expected = average_frames((read_rgb(source / f"{n:06d}.png") for n in range(5)), linear=True)
    np.testing.assert_array_equal(read_rgb(scene / "blur/000002.png"), expected)
    stages.resize.main()
    assert len(list((workspace / "data/resized/train/video").rglob("*.png"))) == 8


def test_frames_of_two_sizes_are_one_line(workspace):
    lay_video(workspace / "data/clean/pairs/video/unsplit/walk/frames", range(3))
    lay_video(workspace / "data/clean/pairs/video/unsplit/walk/frames", range(3, 6), size=(40, 50))
    edit_params(workspace, {"synthesize": {"frames_per_pair": 5}})
    with pytest.raises(UserError, match=r"walk/frames: frames of one size can be averaged; got"):
        stages.synthesize.main()
    assert not OUT.exists()


REAL = REAL_DATA / "GOPRO_240fps"


@pytest.mark.skipif(not REAL.is_dir(), reason="no real high-speed frames on this machine")
def test_real_high_speed_frames_become_pairs(workspace):
    edit_params(workspace, {"ingest_gopro": {"source": str(REAL)}, "fetch_unsplash": {"source": "none"}})
    edit_params(workspace, {"ingest_gopro": {"dataset": "gopro_240fps"}})
    stages.fetch_unsplash.main()
    stages.ingest_gopro.main()
    stages.clean.main()
    assert json.loads(Path("metrics/clean.json").read_text())["rejected"] == 0
    stages.synthesize.main()
    blurred = sorted(OUT.rglob("blur/*.png"))
    assert len(blurred) == 66 // 11
    for path in blurred:
        assert 18 < psnr(read_rgb(path), read_rgb(path.parent.with_name("sharp") / path.name)) < 40
