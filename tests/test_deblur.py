"""Deblurring anybody's photos: formats, the command."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import imagecodecs
import imageio_ffmpeg
import numpy as np
import pytest
import tifffile
from conftest import ROOT, SMALL
from PIL import Image, ImageCms

from deblurgan.archive import save_model
from deblurgan.errors import UserError
from deblurgan.models import build_generator
from deblurgan.photos import read_photo, write_photo
from stages.deblur import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A generator that changes photos visibly, in a file."""
    path = tmp_path_factory.mktemp("model") / "generator.keras"
    save_model(build_generator(SMALL), path)
    return path


# formats


def photo(mode, size=(37, 23)):
    rng = np.random.default_rng(3)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, size[::-1]).astype(np.uint16))
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8), "RGBA")
    if mode == "P":
        return image.convert("RGB").quantize(20)
    return image.convert("RGB").convert(mode) if mode in ("1", "CMYK") else image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix", "kept"),
    [
        ("RGB", ".png", "RGB"), ("L", ".png", "L"), ("LA", ".png", "LA"), ("RGBA", ".png", "RGBA"),
        ("P", ".png", "RGB"), ("1", ".png", "L"), ("I;16", ".png", "I;16"), ("I;16", ".tif", "I;16"),
        ("RGB", ".tiff", "RGB"), ("RGBA", ".tiff", "RGBA"), ("L", ".tiff", "L"), ("LA", ".tiff", "LA"),
        ("CMYK", ".tif", "RGB"), ("RGBA", ".webp", "RGBA"), ("RGB", ".jpg", "RGB"),
        ("L", ".JPEG", "L"), ("CMYK", ".jpg", "RGB"),
    ],
)  # fmt: skip
def test_photos_come_back_as_they_were(tmp_path, mode, suffix, kept):
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    photo(mode).save(source, **options)
    read = read_photo(source)
    assert read.colours.shape == (23, 37, 3)
    write_photo(target, read)
    with Image.open(source) as before, Image.open(target) as after:
        assert after.mode == kept
        assert after.size == before.size
        if suffix in (".png", ".tiff") or mode == "I;16":
            np.testing.assert_array_equal(np.asarray(after), np.asarray(before.convert(kept)))
        if "A" in kept:
            np.testing.assert_array_equal(after.getchannel("A"), before.getchannel("A"))


def write_16_bits(path, pixels, **options):
    """Not by `write_photo`."""
    if path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(pixels))
    else:
        alpha = ["unassalpha"] if pixels.shape[2] == 4 else []
        tifffile.imwrite(path, pixels, photometric="rgb", planarconfig="contig", extrasamples=alpha, **options)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", {}), (".tif", {}), (".tif", {"byteorder": ">"}), (".tif", {"compression": "lzw", "predictor": True}),
        (".tif", {"compression": "zlib", "tile": (16, 16)}),
    ],
)  # fmt: skip
def test_16_bits_of_several_channels_come_back_bit_by_bit(tmp_path, channels, suffix, options):
    pixels = np.random.default_rng(0).integers(0, 65536, (23, 37, channels)).astype(np.uint16)
    write_16_bits(tmp_path / f"in{suffix}", pixels, **options)
    photo = read_photo(tmp_path / f"in{suffix}")
    assert (photo.colours.shape, photo.grey, photo.deep) == ((23, 37, 3), False, True)
    for target in (tmp_path / "out.png", tmp_path / "out.tif"):
        write_photo(target, photo)
        read = imagecodecs.png_decode(target.read_bytes()) if target.suffix == ".png" else tifffile.imread(target)
        np.testing.assert_array_equal(read, pixels)
        with Image.open(target) as image:  # Pillow sees the upper half of them
            assert image.size == (37, 23)
            image.load()
    write_photo(tmp_path / "out.webp", photo)
    write_photo(tmp_path / "out.jpg", photo)


def test_grey_of_16_bits_with_alpha_stays_so(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65536, (23, 37, 2)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    write_photo(tmp_path / "b.png", read_photo(tmp_path / "a.png"))
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "b.png").read_bytes()), pixels)


def test_what_a_tiff_means_by_its_numbers_is_minded(tmp_path):
    """White as zero, colours multiplied by alpha, a fourth channel of no meaning."""
    grey = np.arange(0, 60000, 100, dtype=np.uint16).reshape(20, 30)
    tifffile.imwrite(tmp_path / "white.tif", grey, photometric="miniswhite")
    assert (read_photo(tmp_path / "white.tif").colours[..., 0] == (65535 - grey) / np.float32(32767.5) - 1).all()
    half = np.full((9, 9, 4), 32768, np.uint16)
    half[0, 0] = 0
    for meaning, colour in (("assocalpha", 1), ("unassalpha", 0)):
        tifffile.imwrite(tmp_path / "a.tif", half, photometric="rgb", extrasamples=[meaning])
        photo = read_photo(tmp_path / "a.tif")
        np.testing.assert_allclose(photo.colours[1:], colour, atol=1e-4)
        np.testing.assert_array_equal(photo.alpha, half[..., 3])
    tifffile.imwrite(tmp_path / "b.tif", half, photometric="rgb", extrasamples=["unspecified"])
    assert read_photo(tmp_path / "b.tif").alpha is None


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_letters_beyond_ascii_are_kept(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x013B] = "Jörg Müller".encode()
    image = photo("RGB")
    image.save(tmp_path / f"a{suffix}", exif=exif)
    write_photo(tmp_path / f"b{suffix}", read_photo(tmp_path / f"a{suffix}"))
    with Image.open(tmp_path / f"b{suffix}") as after:
        assert after.getexif()[0x013B].encode("latin-1").decode() == "Jörg Müller"


def test_an_entry_that_breaks_the_rules_is_left_out_and_the_others_stay(tmp_path):
    tags = [(297, "s", 0, "first", True), (271, "s", 0, "A camera", True)]  # a page's number is no text
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb", extratags=tags)
    write_photo(tmp_path / "b.tif", read_photo(tmp_path / "a.tif"))
    with Image.open(tmp_path / "b.tif") as after:
        assert after.getexif()[271] == "A camera"
        assert 297 not in after.getexif()


def test_an_orientation_told_twice_is_applied_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[700] = 6, b'<x:xmpmeta tiff:Orientation="6" a="b"/>'
    photo("RGB").save(tmp_path / "a.tif", exif=exif)
    write_photo(tmp_path / "b.tif", read_photo(tmp_path / "a.tif"))
    write_photo(tmp_path / "c.tif", read_photo(tmp_path / "b.tif"))
    assert [Image.open(tmp_path / name).size for name in ("b.tif", "c.tif")] == [(23, 37), (23, 37)]


def test_a_large_kind_of_tiff_is_written_as_a_usual_one(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65536, (23, 37, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", bigtiff=True, description="a photo")
    write_photo(tmp_path / "b.tif", read_photo(tmp_path / "a.tif"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), pixels)


def test_planes_of_16_bits_are_put_together(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65536, (3, 9, 11)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate")
    write_photo(tmp_path / "b.tif", read_photo(tmp_path / "a.tif"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), np.moveaxis(pixels, 0, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_turned_and_described_as_8_are(tmp_path, suffix, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, 3)).astype(np.uint8)
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "A camera"
    exif.get_ifd(0x8769)[0x829A] = 0.005  # seconds
    exif.get_ifd(0x8825)[0x0002] = (48.0, 8.0, 14.5)
    data = exif.tobytes()
    exif = Image.Exif()
    exif.load(data)  # without this Pillow's TIFFs go without those two
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for bits in ("8", "16"):
        path = tmp_path / f"{bits}{suffix}"
        image.save(path, exif=exif, icc_profile=profile, dpi=(300, 300))
        if bits == "16":
            eight = read_photo(path)
            write_photo(path, replace(eight, colours=np.asarray(image) / np.float32(127.5) - 1, deep=True, kept={
                "exif": data, "icc_profile": profile, "dpi": (300, 300),
            }))  # fmt: skip
        write_photo(tmp_path / f"out{bits}{suffix}", read_photo(path))
    with Image.open(tmp_path / f"out8{suffix}") as eight, Image.open(tmp_path / f"out16{suffix}") as deep:
        np.testing.assert_array_equal(eight, deep)
        for after in (eight, deep):
            assert after.getexif().get(0x0112, 1) == 1
            assert after.getexif()[0x010F] == "A camera"
            assert after.getexif().get_ifd(0x8769)[0x829A] == pytest.approx(0.005)
            assert after.getexif().get_ifd(0x8825)[0x0002] == (48.0, 8.0, 14.5)
            assert after.info["icc_profile"] == profile
            assert after.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_exif_and_profile_are_kept_and_the_orientation_is_applied(tmp_path, suffix):
    image, exif = photo("RGB"), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    image.save(source, exif=exif, icc_profile=profile)
    write_photo(target, read_photo(source))
    with Image.open(target) as after:
        assert after.size == (23, 37)
        assert after.getexif().get(0x0112, 1) == 1
        assert after.getexif()[0x010F] == "A camera"
        assert after.info["icc_profile"] == profile


# the command


def deblurred(*arguments, model=None):
    main([str(argument) for argument in (*arguments, *(("--model", model) if model else ()))])


def test_a_folder_is_deblurred_in_place_of_names_and_never_twice(tmp_path, model, capsys):
    for name in ("a.png", "b.jpg", "c.bmp", "deep/d.webp", "notes.txt", "._a.png", ".trash/e.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a note") if name in ("notes.txt", "._a.png") else photo("RGB", (40, 30)).save(path)
    out = tmp_path / "out"
    deblurred(tmp_path / "in", "--output", out, "--recursive", model=model)
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == ["a.png", "b.jpg", "c.png", "deep/d.webp"]
    assert "4 of 4 deblurred" in capsys.readouterr().out
    first = (out / "a.png").read_bytes()
    assert np.abs(np.asarray(Image.open(out / "a.png")).astype(int) - np.asarray(photo("RGB", (40, 30)))).max() > 1
    with pytest.raises(SystemExit):
        deblurred(tmp_path / "in/a.png", "--output", out, model=model)
    assert f"{tmp_path}/in/a.png: {out}/a.png exists; --overwrite replaces it" in capsys.readouterr().err
    deblurred(tmp_path / "in/a.png", "--output", out, "--overwrite", "--compare", model=model)
    assert (out / "a.png").read_bytes() == first
    with Image.open(out / "a_before_after.png") as both:
        assert both.size == (80, 30)
        np.testing.assert_array_equal(np.asarray(both)[:, :40], np.asarray(photo("RGB", (40, 30))))
        np.testing.assert_array_equal(np.asarray(both)[:, 40:], np.asarray(Image.open(out / "a.png")))


def test_no_strength_leaves_a_photo_as_it_is(tmp_path, model):
    photo("RGBA").save(tmp_path / "a.png")
    deblurred(tmp_path / "a.png", "--output", tmp_path / "none", "--strength", "0", model=model)
    np.testing.assert_array_equal(Image.open(tmp_path / "none/a.png"), photo("RGBA"))
    for strength in ("0.5", "1"):
        deblurred(tmp_path / "a.png", "--output", tmp_path / strength, "--strength", strength, model=model)
    half, full = (np.asarray(Image.open(tmp_path / s / "a.png")).astype(int) for s in ("0.5", "1"))
    np.testing.assert_allclose(2 * half, full + np.asarray(photo("RGBA")), atol=2)


HOSTILE = {
    "empty.jpg": (b"", "empty file"),
    "page.png": (b"<html>404</html>", "not an image, or of a format that is not read"),
    "random.tif": (bytes(range(256)) * 4, "not an image, or of a format that is not read"),
}


def hostile_files(folder: Path) -> dict[str, str]:
    """Write files that are no photos; what is said of each."""
    folder.mkdir()
    for name, (data, _) in HOSTILE.items():
        (folder / name).write_bytes(data)
    said = {name: reason for name, (_, reason) in HOSTILE.items()}
    stream = io.BytesIO()
    photo("RGB", (300, 200)).save(stream, "PNG")
    (folder / "cut.png").write_bytes(stream.getvalue()[:9000])
    stream = io.BytesIO()
    photo("RGB", (300, 200)).save(stream, "JPEG")
    (folder / "cut.jpg").write_bytes(stream.getvalue()[:9000])
    said |= {"cut.png": "broken: ", "cut.jpg": "broken: "}
    frames = [photo("P"), photo("P").rotate(180)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(np.zeros((9, 9), np.float32)).save(folder / "float.tif")
    Image.fromarray(np.full((9, 9), 70000, np.int32)).save(folder / "int32.tif")
    Image.new("1", (20000, 20000)).save(folder / "bomb.png")
    said |= {
        "moving.gif": "animated, or of several pages",
        "float.tif": "float data: its range is not known",
        "int32.tif": "integers of more than 16 bits: their range is not known",
        "bomb.png": "20000x20000 pixels need 2",
    }
    return said


def test_hostile_files_get_a_line_each_and_the_others_are_done(tmp_path, model, capsys):
    said = hostile_files(tmp_path / "in")
    photo("RGB").save(tmp_path / "in/zz_good.png")
    with pytest.raises(SystemExit) as stopped:
        deblurred(tmp_path / "in", "--output", tmp_path / "out", model=model)
    assert stopped.value.code == 1
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("deblur: error: ")]
    assert len(lines) == len(said)
    for name, reason in said.items():
        assert any(line.startswith(f"deblur: error: {tmp_path}/in/{name}: {reason}") for line in lines), (name, lines)
    assert f"1 of {len(said) + 1} deblurred" in shown.out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["zz_good.png"]


@pytest.mark.parametrize("way", [(), ("--tile", "off"), ("--tile", "1000"), ("--algorithm", "richardson-lucy")])
def test_a_photo_beyond_the_memory_is_refused_before_it_is_decoded(tmp_path, model, capsys, way):
    stream = io.BytesIO()
    Image.new("1", (3000, 3000)).save(stream, "PNG")
    (tmp_path / "a.png").write_bytes(stream.getvalue()[:100])  # what would be decoded is not there
    with pytest.raises(SystemExit):
        deblurred(tmp_path / "a.png", "--output", tmp_path / "out", "--memory", "0.1", *way, model=model)
    assert "a.png: 3000x3000 pixels" in capsys.readouterr().err


def test_odd_metadata_is_a_reason_like_any_other(tmp_path):
    photo("RGB").save(tmp_path / "a.png", exif=b"Exif\0\0II*")  # a header that is cut off
    with pytest.raises(UserError, match=r"^broken: not a TIFF file"):
        read_photo(tmp_path / "a.png")


def test_results_within_a_folder_are_not_deblurred_again(tmp_path, model, capsys):
    (tmp_path / "in/more").mkdir(parents=True)
    for name in ("a.png", "more/b.png"):
        photo("RGB").save(tmp_path / "in" / name)
    for _ in range(2):
        deblurred(tmp_path / "in", "--output", tmp_path / "in/out", "--recursive", "--overwrite", model=model)
        assert "2 of 2 deblurred" in capsys.readouterr().out
    assert sorted(p.relative_to(tmp_path / "in/out").as_posix() for p in (tmp_path / "in/out").rglob("*.png")) == [
        "a.png",
        "more/b.png",
    ]


def test_two_files_are_never_written_under_one_name(tmp_path, model, capsys):
    for name in ("a.bmp", "a.png"):
        photo("RGB").save(tmp_path / name)
    with pytest.raises(SystemExit):
        deblurred(tmp_path, "--output", tmp_path / "out", model=model)
    assert f"another file is written as {tmp_path}/out/a.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.png", "--output", "out"], "deblur: error: none.png: no such file or folder"),
        (["empty", "--output", "out"], "deblur: error: empty: no file .png, .jpg,"),
        (["a.png", "--output", "out"], "deblur: error: no model at models/generator.keras: `dvc pull models/generator"),
        (["a.png", "--output", "out", "--model", "a.png"], "deblur: error: a.png is not a generator"),
        (["a.png"], "the following arguments are required: --output"),
        (["a.png", "--output", "out", "--strength", "2"], "'2' is not a number from 0 to 1"),
        (["a.png", "--output", "out", "--tile", "some"], "'some' is neither auto, nor off, nor a number of pixels"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(tmp_path, arguments, said):
    photo("RGB").save(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.deblur", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_classical_algorithm_needs_no_model(tmp_path):
    photo("L", (50, 40)).save(tmp_path / "a.png")
    deblurred(tmp_path / "a.png", "--output", tmp_path / "out", "--algorithm", "wiener", model=tmp_path / "none")
    assert Image.open(tmp_path / "out/a.png").size == (50, 40)


# clips


def test_a_clip_comes_back_with_all_its_frames(tmp_path, model, capsys):
    source = tmp_path / "clip.mp4"
    writer = imageio_ffmpeg.write_frames(str(source), (64, 48), fps=10, macro_block_size=1, quality=9)
    writer.send(None)
    for i in range(7):
        writer.send(np.full((48, 64, 3), 20 + 30 * i, np.uint8))
    writer.close()
    deblurred(source, "--output", tmp_path / "out", "--video", "--strength", "0.2", model=model)
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "out/clip.mp4"))[0] == 7
    frames = imageio_ffmpeg.read_frames(str(tmp_path / "out/clip.mp4"))
    facts = next(frames)
    assert facts["size"] == (64, 48)
    assert facts["fps"] == 10
    levels = [np.frombuffer(frame, np.uint8).mean() for frame in frames]
    assert np.all(np.diff(levels) > 10)
    (tmp_path / "bad.mp4").write_bytes(b"no clip")
    with pytest.raises(SystemExit):
        deblurred(tmp_path / "bad.mp4", "--output", tmp_path / "out", "--video", model=model)
    assert f"{tmp_path}/bad.mp4: no clip that ffmpeg can read" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("named", [None, "/nowhere/ffmpeg"])
def test_a_missing_ffmpeg_is_said(tmp_path, model, capsys, monkeypatch, named):
    monkeypatch.setattr("imageio_ffmpeg._utils._get_ffmpeg_exe", lambda: None)
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)
    if named:
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", named)
    (tmp_path / "clip.mp4").write_bytes(b"a clip")
    with pytest.raises(SystemExit):
        deblurred(tmp_path / "clip.mp4", "--output", tmp_path / "out", "--video", model=model)
    said = f"IMAGEIO_FFMPEG_EXE is {named}, which is missing" if named else "ffmpeg is missing: set IMAGEIO_FFMPEG_EXE"
    assert f"{tmp_path}/clip.mp4: {said}" in capsys.readouterr().err
