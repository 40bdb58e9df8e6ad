"""Hostile and unusual files: each ends as a clean PNG or with its reason."""

import csv
import io
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

import stages.clean
from deblurgan.cleaning import clean_folder
from deblurgan.errors import UserError
from deblurgan.hygiene import Rejected, load_photo
from deblurgan.params import Clean

LIMITS = {"min_side": 32, "max_pixels": 10_000}


def gradient(height=40, width=50):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 5, y * 6, 128 + 0 * x], axis=-1).astype(np.uint8)


def encoded(image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(**options) -> bytes:
    return encoded(Image.fromarray(gradient()), **options)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(load_photo(data, **LIMITS)[0])


def reason(data: bytes) -> str:
    with pytest.raises(Rejected) as caught:
        load_photo(data, **LIMITS)
    return str(caught.value)


def test_what_is_right_already_is_untouched():
    image, untouched = load_photo(photo(), **LIMITS)
    assert untouched
    np.testing.assert_array_equal(np.asarray(image), gradient())


def sixteen_bit_rgb_png() -> bytes:
    """Pillow writes none: the format's own structure, by hand."""
    values = gradient().astype(">u2") * 257
    raw = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 50, 40, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def test_sixteen_bits_are_scaled_not_clipped():
    image, untouched = load_photo(sixteen_bit_rgb_png(), **LIMITS)
    assert not untouched
    np.testing.assert_array_equal(np.asarray(image), gradient())
    grey = gradient()[..., 0]
    found = pixels(encoded(Image.fromarray(grey.astype(np.uint16) * 257)))
    np.testing.assert_array_equal(found, np.stack([grey] * 3, axis=-1))


def test_alpha_is_laid_on_white():
    rgba = np.dstack([gradient(), np.zeros((40, 50), np.uint8)])
    rgba[:, 25:, 3] = 255
    found = pixels(encoded(Image.fromarray(rgba)))
    assert (found[:, :25] == 255).all()
    np.testing.assert_array_equal(found[:, 25:], gradient()[:, 25:])


def test_palette_grey_and_bilevel_keep_their_look():
    base = Image.fromarray(gradient())
    for mode in ("P", "L", "1", "LA"):
        other = base.convert(mode)
        np.testing.assert_array_equal(pixels(encoded(other)), np.asarray(other.convert("RGB")))
    transparent = base.convert("P")
    assert (pixels(encoded(transparent, transparency=transparent.getpixel((0, 0))))[0, 0] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation):
    stored = Image.fromarray(gradient())
    exif = Image.Exif()
    exif[0x0112] = orientation
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's transpositions that undo each orientation
    upright = stored.transpose(turns[orientation]) if orientation > 1 else stored
    np.testing.assert_array_equal(pixels(encoded(stored, exif=exif)), np.asarray(upright))


def test_a_colour_profile_is_applied_and_a_broken_one_ignored():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_allclose(pixels(photo(icc_profile=srgb)).astype(int), gradient(), atol=1)
    np.testing.assert_array_equal(pixels(photo(icc_profile=b"garbage")), gradient())
    swapped = srgb.replace(b"rXYZ", b"....").replace(b"gXYZ", b"rXYZ").replace(b"....", b"gXYZ")
    found = pixels(photo(icc_profile=swapped))  # red's primary is called green's and the reverse
    np.testing.assert_allclose(found.astype(int), gradient()[..., [1, 0, 2]], atol=2)


def test_cmyk_is_converted():
    found = pixels(encoded(Image.fromarray(gradient()).convert("CMYK"), "JPEG", quality=100))
    assert np.abs(found.astype(int) - gradient()).mean() < 3


def test_each_refusal_has_its_reason():
    frames = [Image.fromarray(gradient()), Image.fromarray(gradient()[::-1])]
    assert reason(b"") == reason(b"<html></html>") == reason(b"\x89PNG\r\n\x1a\n") == "not an image"
    assert reason(encoded(frames[0], "GIF")) == "not an image"  # a format that photos do not have
    assert reason(photo()[:-40]) == "truncated"
    for kind in ("PNG", "WEBP"):
        assert reason(encoded(frames[0], kind, save_all=True, append_images=frames[1:])) == "animated"
    assert reason(encoded(Image.new("RGB", (31, 100)))) == "too small"
    assert reason(encoded(Image.new("L", (101, 100)))) == "too large"
    assert reason(encoded(Image.new("1", (20_000, 20_000)))) == "too large"
    assert reason(encoded(Image.fromarray(gradient()[..., 0].astype(np.float32)), "TIFF")) == "float data"


@settings(max_examples=200)
@given(st.data())
def test_damage_anywhere_is_a_reason_or_an_image(data):
    whole = bytearray(photo(kind=data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF"]))))
    cut = data.draw(st.integers(0, len(whole)))
    for _ in range(data.draw(st.integers(0, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    check_damaged(bytes(whole[:cut]))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_truncation_at_every_byte_is_a_reason_or_an_image(kind):
    whole = photo(kind=kind)
    for cut in range(0, len(whole), 1 + len(whole) // 500):
        check_damaged(whole[:cut])


def test_a_tiff_without_its_size_is_refused():
    whole = bytearray(photo(kind="TIFF"))
    whole[7] = 8  # the first directory lies beyond the end
    assert reason(bytes(whole[:140])) in {"not an image", "truncated"}


def check_damaged(damaged: bytes):
    try:
        image, _ = load_photo(damaged, **LIMITS)
    except Rejected as refused:
        assert str(refused) in {"not an image", "truncated", "too small", "too large", "animated", "float data"}
    else:
        assert image.mode == "RGB"


def lay(root, files: dict[str, bytes]):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


FILES = {
    "unsplash/photos.csv": b"id\n",
    "unsplash/sharp/good.png": photo(),
    "unsplash/sharp/good.jpg": photo(kind="JPEG"),
    "unsplash/sharp/broken.jpg": b"no photo",
    "unsplash/blurred/alone.jpg": photo(kind="JPEG"),
    "gopro/train/S/blur/1.png": photo(),
    "gopro/train/S/sharp/1.png": photo(),
    "gopro/train/S/blur/2.png": photo(),
    "gopro/train/S/sharp/3.png": photo(),
    "gopro/train/S/blur/4.png": photo(),
    "gopro/train/S/sharp/4.png": b"broken",
    "gopro/test/S/blur/5.png": photo(),
    "gopro/test/S/sharp/5.png": encoded(Image.fromarray(gradient(40, 49))),
}


def test_every_file_is_accounted_for_once(tmp_path):
    lay(tmp_path / "source", FILES)
    (tmp_path / "clean").mkdir()
    kept, refused = clean_folder(tmp_path / "source", tmp_path / "clean", Clean(**LIMITS))
    assert sorted([row.source for row in kept] + [row.path for row in refused]) == sorted(
        set(FILES) - {"unsplash/photos.csv"}
    )
    assert {row.path: row.reason for row in refused} == {
        "unsplash/sharp/good.png": "another file has the same name",
        "unsplash/sharp/broken.jpg": "not an image",
        "gopro/train/S/blur/2.png": "missing partner",
        "gopro/train/S/sharp/3.png": "missing partner",
        "gopro/train/S/blur/4.png": "missing partner",
        "gopro/train/S/sharp/4.png": "not an image",
        "gopro/test/S/blur/5.png": "partner of another size",
        "gopro/test/S/sharp/5.png": "partner of another size",
    }
    written = sorted(p.relative_to(tmp_path / "clean").as_posix() for p in (tmp_path / "clean").rglob("*.*"))
    assert written == [row.path for row in kept]
    assert (tmp_path / "clean/gopro/train/S/blur/1.png").read_bytes() == photo()


def test_the_stage_reports_and_counts(workspace, capsys):
    lay(workspace / "data/source", FILES)
    stages.clean.main()
    with open(workspace / "data/clean/rejected.csv", encoding="utf-8") as stream:
        rejected = list(csv.DictReader(stream))
    counts = json.loads((workspace / "metrics/clean.json").read_text())
    assert counts["found"] == counts["kept"] + counts["rejected"] == len(FILES) - 1
    assert counts["rejected"] == len(rejected) == sum(counts["rejected_by_reason"].values()) == 8
    assert "rejected data/source/unsplash/sharp/broken.jpg: not an image" in capsys.readouterr().out


def test_an_empty_source_is_one_line_and_publishes_nothing(workspace):
    (workspace / "data/source/unsplash/sharp").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no usable image in data/source: 0 rejected; check fetch_unsplash\.source"):
        stages.clean.main()
    assert not (workspace / "data/clean").exists()
    assert not list((workspace / "data").glob(".*"))
