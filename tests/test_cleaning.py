"""Hostile and unusual files: each ends as a clean PNG or with its reason."""

import csv
import errno
import hashlib
import io
import itertools
import json
import os
import shutil
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import skimage
from conftest import REAL_DATA
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFilter
from scipy import ndimage

import stages.clean
from deblurgan.cleaning import conversion, duplicates
from deblurgan.cleaning.conversion import Rejected, load_photo
from deblurgan.cleaning.folder import clean_folder
from deblurgan.cleaning.sharpness import blurriness, preview
from deblurgan.errors import UserError
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


def chunk(name: bytes, body: bytes) -> bytes:
    """A piece of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def sixteen_bit_rgb_png() -> bytes:
    """Pillow writes none: the format's own structure, by hand."""
    values = gradient().astype(">u2") * 257
    raw = b"".join(b"\0" + row.tobytes() for row in values)
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


def test_short_memory_is_no_fault_of_the_photo(monkeypatch):
    def fails(*_, **__):
        raise MemoryError

    monkeypatch.setattr(conversion, "is_clean", fails)
    assert reason(photo()) == "truncated"  # there is room for such a small one: the file asks for too much
    monkeypatch.setattr(np, "empty", fails)
    with pytest.raises(MemoryError):
        reason(photo())


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


SIZES = st.sampled_from([0, 1, 31, 32, 50, 101, 65_535, 2**20, 2**31 - 1, 2**31, 2**32 - 1])


def png_header(data) -> bytes:
    fields = [data.draw(SIZES), data.draw(SIZES), *(data.draw(st.integers(0, 255)) for _ in range(5))]
    body = data.draw(st.binary(max_size=200))
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(">IIBBBBB", *fields)), chunk(b"IDAT", zlib.compress(body)),
         chunk(b"IEND", b"")]
    )  # fmt: skip


def bmp_header(data) -> bytes:
    width, height = (min(data.draw(SIZES), 2**31 - 1) * data.draw(st.sampled_from([1, -1])) for _ in range(2))
    bits, compression = data.draw(st.sampled_from([0, 1, 4, 8, 16, 24, 32, 64])), data.draw(st.integers(0, 6))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, data.draw(SIZES), 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, data.draw(SIZES)) + header + data.draw(st.binary(max_size=200))


def tiff_header(data) -> bytes:
    tags = data.draw(
        st.lists(st.sampled_from([256, 257, 258, 259, 262, 273, 277, 278, 279, 320, 338, 339]), max_size=12)
    )
    kinds, counts = st.integers(0, 13), st.sampled_from([0, 1, 3, 2**16, 2**32 - 1])
    entries = [struct.pack("<HHII", tag, data.draw(kinds), data.draw(counts), data.draw(SIZES)) for tag in tags]
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(entries) + data.draw(st.binary(max_size=100))


def jpeg_header(data) -> bytes:
    height, width = (data.draw(st.integers(0, 65_535)) for _ in range(2))
    parts = data.draw(st.integers(0, 5))
    frame = (
        struct.pack(">BHHB", data.draw(st.sampled_from([8, 12, 16])), height, width, parts) + b"\x01\x11\x00" * parts
    )
    marker = data.draw(st.sampled_from([0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xE1, 0xE2]))
    return (
        b"\xff\xd8\xff"
        + bytes([marker])
        + struct.pack(">H", 2 + len(frame))
        + frame
        + data.draw(st.binary(max_size=200))
    )


def webp_header(data) -> bytes:
    kind = data.draw(st.sampled_from([b"VP8 ", b"VP8L", b"VP8X", b"ANIM"]))
    body = data.draw(st.binary(max_size=100))
    return b"RIFF" + struct.pack("<I", data.draw(SIZES)) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


@settings(max_examples=300)
@given(st.data(), st.sampled_from([png_header, bmp_header, tiff_header, jpeg_header, webp_header]))
def test_any_header_is_a_reason_or_an_image(data, header):
    check_damaged(header(data))


def test_a_bomb_is_refused_before_it_is_decoded():
    """What says that it is 3.6 gigapixels large is told by its header."""
    for side, limit in ((60_000, 100_000_000), (12_000, 100_000_000)):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        bomb = (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(bytes(1000)))
            + chunk(b"IEND", b"")
        )
        with pytest.raises(Rejected, match="too large"):
            load_photo(bomb, min_side=32, max_pixels=limit)


def test_other_formats_and_documents_are_no_images():
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100)
    for data in (
        heic,
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"PK\x03\x04" + bytes(50),
        bytes(1000),
    ):
        assert reason(data) == "not an image"


def check_damaged(damaged: bytes):
    try:
        image, _ = load_photo(damaged, **LIMITS)
    except Rejected as refused:
        assert str(refused) in {"not an image", "truncated", "too small", "too large", "animated", "float data", "HDR"}
    else:
        assert image.mode == "RGB"


def lay(root, files: dict[str, bytes]):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def textured(name: str, size=(40, 50)) -> Image.Image:
    """A photo that looks like no other one."""
    rng = np.random.default_rng(list(name.encode()))
    return Image.fromarray(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)).resize(
        size[::-1], Image.Resampling.NEAREST
    )


def png(name: str, size=(40, 50)) -> bytes:
    return encoded(textured(name, size))


ODD = {
    "unsplash/photos.csv": b"id\n",
    "unsplash/sharp/good.png": png("good"),
    "unsplash/sharp/good.jpg": png("another"),
    "unsplash/sharp/broken.jpg": b"no photo",
    "unsplash/blurred/alone.jpg": encoded(textured("alone"), "JPEG"),
    "unsplash/elsewhere/x.png": png("x"),
    "pairs/gopro/train/S/blur/1.png": png("1b"),
    "pairs/gopro/train/S/sharp/1.png": png("1s"),
    "pairs/gopro/train/S/blur/2.png": png("2b"),
    "pairs/gopro/train/S/sharp/3.png": png("3s"),
    "pairs/gopro/train/S/blur/4.png": png("4b"),
    "pairs/gopro/train/S/sharp/4.png": b"broken",
    "pairs/gopro/test/S/blur/5.png": png("5b"),
    "pairs/gopro/test/S/sharp/5.png": png("5s", (40, 49)),
    "pairs/gopro/train/S/frames/6.png": png("6"),
}
SETTINGS = Clean(**LIMITS, near_duplicate=8, denoise="none", equalize=False, posterize=None)


def cleaned(tmp_path, files: dict[str, bytes], settings=SETTINGS):
    """Kept paths, reasons of the refused, and labels."""
    for folder in ("source", "clean"):
        shutil.rmtree(tmp_path / folder, ignore_errors=True)
        (tmp_path / folder).mkdir()
    lay(tmp_path / "source", {**files, "left over/from before.png": png("old")})
    kept, refused, labels = clean_folder(tmp_path / "source", tmp_path / "clean", settings)
    found = [row.source for row in kept] + [row.path for row in refused]
    assert sorted(found) == sorted(name for name in files if not name.endswith("photos.csv"))
    written = {p.relative_to(tmp_path / "clean").as_posix(): p for p in (tmp_path / "clean").rglob("*") if p.is_file()}
    assert sorted(written) == [row.path for row in kept] == [label.path for label in labels]
    for row in kept:
        data = written[row.path].read_bytes()
        assert (row.sha256, row.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        with Image.open(written[row.path]) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (row.width, row.height))
    return (
        [row.path for row in kept],
        {row.path: row.reason for row in refused},
        {label.path: label for label in labels},
    )


def test_every_file_is_accounted_for_once(tmp_path):
    _, refused, _ = cleaned(tmp_path, ODD)
    assert refused == {
        "unsplash/sharp/good.png": "another file has the same name",
        "unsplash/sharp/broken.jpg": "not an image",
        "unsplash/elsewhere/x.png": "not where a photo belongs",
        "pairs/gopro/train/S/blur/2.png": "missing partner",
        "pairs/gopro/train/S/sharp/3.png": "missing partner",
        "pairs/gopro/train/S/blur/4.png": "missing partner",
        "pairs/gopro/train/S/sharp/4.png": "not an image",
        "pairs/gopro/test/S/blur/5.png": "partner of another size",
        "pairs/gopro/test/S/sharp/5.png": "partner of another size",
    }
    passed = tmp_path / "clean/pairs/gopro/train/S/blur/1.png"
    assert passed.read_bytes() == png("1b")
    assert passed.stat().st_nlink == 2  # not even copied


@settings(max_examples=30)
@given(st.data())
def test_any_mixture_is_accounted_for(tmp_path_factory, data):
    """kept + rejected = found, whatever lies where."""
    images = [png("a"), png("b"), png("b", (40, 60)), photo(kind="JPEG"), b"no image", png("a")[:99], b""]
    places = st.sampled_from(["unsplash/sharp", "unsplash/blurred", "pairs/g/train/A/blur", "pairs/g/train/A/sharp",
                              "pairs/g/unsplit/B/frames", "pairs", "unsplash", "pairs/deep/down"])  # fmt: skip
    names = st.builds("{}/{}.{}".format, places, st.integers(0, 2), st.sampled_from(["png", "jpg", "txt"]))
    cleaned(tmp_path_factory.mktemp("mix"), data.draw(st.dictionaries(names, st.sampled_from(images), max_size=10)))


def blurred(image: Image.Image, sigma=2) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(sigma))


def test_a_photo_that_is_there_twice_is_refused(tmp_path):
    base = Image.fromarray(skimage.data.chelsea()[:96, :96])
    files = {
        "unsplash/sharp/a.png": encoded(base),
        "unsplash/sharp/same-pixels.webp": encoded(base, "WEBP", lossless=True),
        "unsplash/sharp/nearly.jpg": encoded(base, "JPEG", quality=40),
        "unsplash/sharp/other.png": encoded(Image.fromarray(skimage.data.coffee()[:96, :96])),
        "unsplash/blurred/its-blur.png": encoded(blurred(base)),
    }
    kept, refused, _ = cleaned(tmp_path, files)
    assert refused == {
        "unsplash/sharp/same-pixels.webp": "exact duplicate",
        "unsplash/sharp/nearly.jpg": "near duplicate",
    }
    assert "unsplash/blurred/its-blur.png" in kept  # never compared across a pair
    _, refused, _ = cleaned(tmp_path, files, SETTINGS.model_copy(update={"near_duplicate": None}))
    assert refused == {"unsplash/sharp/same-pixels.webp": "exact duplicate"}


def test_the_first_of_many_alike_is_kept(tmp_path):
    """Also when a chain of small steps leads from one to the other."""
    base = skimage.data.chelsea()[:96, :96]
    files = {f"unsplash/sharp/{i}.png": encoded(Image.fromarray(np.roll(base, i, axis=1))) for i in range(12)}
    kept, refused, _ = cleaned(tmp_path, files)
    assert kept[0] == "unsplash/sharp/0.png"
    assert 1 < len(kept) < 12
    assert set(refused.values()) == {"near duplicate"}


def test_in_pairs_likeness_is_named_and_only_equal_pairs_are_refused(tmp_path):
    base = Image.fromarray(skimage.data.chelsea()[:96, :96])
    files = {}
    for scene, frame, quality in (("train/A", 1, 95), ("train/A", 2, 60), ("train/B", 9, 50), ("test/T", 5, 95)):
        sharp = Image.open(io.BytesIO(encoded(base, "JPEG", quality=quality)))
        files[f"pairs/g/{scene}/sharp/{frame}.png"] = encoded(sharp)
        files[f"pairs/g/{scene}/blur/{frame}.png"] = encoded(blurred(base, 3))
    kept, refused, labels = cleaned(tmp_path, files)
    assert refused == {f"pairs/g/train/A/{kind}/1.png": "exact duplicate" for kind in ("blur", "sharp")}
    near = {name: label.near_duplicate_of for name, label in labels.items() if label.near_duplicate_of}
    assert near == {
        "pairs/g/test/T/sharp/5.png": "pairs/g/train/A/sharp/2.png",
        "pairs/g/train/A/sharp/2.png": "pairs/g/train/B/sharp/9.png",  # of another scene: it may come to another split
        "pairs/g/train/B/sharp/9.png": "pairs/g/train/A/sharp/2.png",
    }
    assert len(kept) == 6
    shown = stages.clean.counts([], [], list(labels.values()))
    assert (shown["near_duplicates_kept"], shown["near_duplicates_across_scenes"]) == (3, 3)


def sky(rng: np.random.Generator) -> Image.Image:
    """A sky that brightens towards the horizon and to one side, with a bird at a place of its own."""
    values = np.linspace(90, 200, 160)[:, None] + np.linspace(0, 40, 240) + rng.normal(0, 1, (160, 240))
    top, left, height, width = (*rng.integers(20, 120, 2), *rng.integers(6, 24, 2))
    values[top : top + height, left : left + width] = rng.integers(20, 80)
    return Image.fromarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8)).convert("RGB")


def test_plain_photos_with_other_things_in_them_are_no_duplicates(tmp_path):
    """Their difference hashes say so: most of a sky falls in brightness alike."""
    rng = np.random.default_rng(0)
    skies = [sky(rng) for _ in range(12)]
    files = {f"unsplash/sharp/{i:02d}.png": encoded(image) for i, image in enumerate(skies)}
    copies = {
        "unsplash/sharp/a-smaller.png": encoded(skies[3].resize((150, 100), Image.Resampling.LANCZOS)),
        "unsplash/sharp/b-cropped.png": encoded(skies[4].crop((1, 1, 237, 159))),
        "unsplash/sharp/c-darker.png": encoded(skies[5].point(lambda value: round(value * 0.8))),
    }
    _, refused, _ = cleaned(tmp_path, files | copies, SETTINGS.model_copy(update={"max_pixels": 10**6}))
    assert refused == dict.fromkeys(copies, "near duplicate")
    hashes = [duplicates.look(preview(image)).bits for image in skies]
    assert any((a ^ b).bit_count() <= SETTINGS.near_duplicate for a, b in itertools.combinations(hashes, 2))


@pytest.mark.parametrize("name", ["KODAK", "BSDS500"])
def test_no_two_real_photos_are_taken_for_one(name):
    files = sorted(path for path in (REAL_DATA / name).rglob("*") if path.suffix in (".png", ".jpg"))[:24]
    if not files:
        pytest.skip(f"no photos of {name} on this machine")
    looks = [(path.name, duplicates.look(preview(Image.open(path)))) for path in files]
    assert duplicates.near_duplicates(looks, 64) == {}  # whatever their hashes say
    copy = Image.open(files[0]).convert("RGB").resize((300, 200), Image.Resampling.LANCZOS)
    again = [looks[0], ("copy", duplicates.look(preview(copy)))]
    assert duplicates.near_duplicates(again, SETTINGS.near_duplicate) == {"copy": files[0].name}


def test_a_file_that_is_larger_than_its_pixels_can_be_is_not_read(tmp_path):
    lay(tmp_path / "source", {"unsplash/sharp/good.png": png("good"), "unsplash/sharp/bomb.png": png("bomb")})
    os.truncate(tmp_path / "source/unsplash/sharp/bomb.png", 10_000 * 8 + (1 << 26) + 1)
    (tmp_path / "clean").mkdir()
    tracemalloc.start()
    kept, refused, _ = clean_folder(tmp_path / "source", tmp_path / "clean", SETTINGS)
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
    tracemalloc.stop()
    assert [row.path for row in kept] == ["unsplash/sharp/good.png"]
    assert [(row.path, row.reason) for row in refused] == [("unsplash/sharp/bomb.png", "too large")]


def test_a_full_disk_is_said_with_the_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    lay(tmp_path / "source", {"unsplash/sharp/a.jpg": photo(kind="BMP")})
    monkeypatch.setattr(Image.Image, "save", full)
    (tmp_path / "clean").mkdir()
    with pytest.raises(OSError, match="No space left") as caught:
        clean_folder(tmp_path / "source", tmp_path / "clean", SETTINGS)
    assert caught.value.filename == str(tmp_path / "clean/unsplash/sharp/a.png")


def test_likeness_across_scenes_is_warned_of(workspace, capsys):
    base = Image.fromarray(skimage.data.chelsea()[:96, :96])
    for scene, quality in (("unsplit/walk_1", 95), ("unsplit/walk_2", 60)):
        files = {
            f"{scene}/blur/1.png": encoded(blurred(base)),
            f"{scene}/sharp/1.jpg": encoded(base, "JPEG", quality=quality),
        }
        lay(workspace / "data/source/pairs/g", files)
    (workspace / "data/source/unsplash").mkdir()
    stages.clean.main()
    said = "warning: 2 sharp images look like an image of another scene: for example pairs/g/unsplit/walk_1/sharp/1.png"
    assert said in capsys.readouterr().out


def test_labels_say_what_an_image_is_and_what_speaks_against_it(tmp_path):
    sharp = Image.fromarray(skimage.data.coffee()[100:300, 100:400])
    strong = blurred(sharp, 5)
    turned = sharp.transpose(Image.Transpose.ROTATE_180)
    files = {
        "unsplash/sharp/s.png": encoded(sharp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        "unsplash/sharp/soft.png": encoded(strong),
        "unsplash/blurred/crisp.png": encoded(Image.fromarray(skimage.data.grass()[:200, :300]).convert("RGB")),
        "pairs/mine/train/A/blur/1.png": encoded(strong),
        "pairs/mine/train/A/sharp/1.png": encoded(sharp),
        "pairs/mine/train/A/blur/2.png": encoded(turned),
        "pairs/mine/train/A/sharp/2.png": encoded(blurred(turned)),
    }
    _, _, labels = cleaned(tmp_path, files, SETTINGS.model_copy(update={"max_pixels": 10**6}))
    assert {name: label.doubt for name, label in labels.items() if label.doubt} == {
        "unsplash/sharp/soft.png": "looks blurred",
        "unsplash/blurred/crisp.png": "looks sharp",
        "pairs/mine/train/A/blur/2.png": "no blurrier than its sharp partner",
    }
    label = labels["pairs/mine/train/A/blur/1.png"]
    assert (label.dataset, label.scene, label.kind) == ("mine", "A", "blur")
    assert label.blurriness > labels["pairs/mine/train/A/sharp/1.png"].blurriness


def test_blurriness_grows_with_blur_and_never_fails():
    photo = Image.fromarray(skimage.data.coffee()).convert("L")
    values = [blurriness(preview(blurred(photo, sigma))) for sigma in (0, 2, 4, 8)]
    assert values == sorted(values)
    assert 0 < values[0] < 0.45 < values[-1] < 1
    for size in ((1, 1), (2, 700), (16, 16), (3000, 17)):
        assert 0 <= blurriness(preview(Image.new("RGB", size, (7, 7, 7)))) <= 1


def test_filters_are_off_by_default_and_do_what_they_say(tmp_path):
    base = Image.fromarray(skimage.data.chelsea()[:64, :80])

    def pixels_with(**changes) -> np.ndarray:
        cleaned(tmp_path, {"unsplash/sharp/a.png": encoded(base)}, SETTINGS.model_copy(update=changes))
        return np.asarray(Image.open(tmp_path / "clean/unsplash/sharp/a.png"))

    np.testing.assert_array_equal(pixels_with(), np.asarray(base))
    np.testing.assert_array_equal(
        pixels_with(denoise="median")[1:-1, 1:-1], ndimage.median_filter(np.asarray(base), (3, 3, 1))[1:-1, 1:-1]
    )
    soft = ndimage.gaussian_filter(np.asarray(base).astype(float), (1, 1, 0), mode="nearest")
    assert np.abs(pixels_with(denoise="gaussian") - soft).mean() < 1
    np.testing.assert_array_equal(pixels_with(posterize=3), np.asarray(base) & 0b11100000)
    flat = pixels_with(equalize=True)
    for channel in range(3):
        middle = np.median(flat[..., channel])
        assert 120 <= middle <= 136
        order = np.argsort(np.asarray(base)[..., channel].ravel(), kind="stable")
        assert (np.diff(flat[..., channel].ravel()[order].astype(int)) >= 0).all()


def test_both_halves_of_a_pair_are_equalized_by_one_curve(tmp_path):
    dark = Image.fromarray(skimage.data.chelsea()[:64, :80] // 3)
    other = Image.fromarray(np.asarray(blurred(dark, 1)))
    files = {"pairs/g/train/A/sharp/1.png": encoded(dark), "pairs/g/train/A/blur/1.jpg": encoded(other, "PNG")}
    cleaned(tmp_path, files, SETTINGS.model_copy(update={"equalize": True}))
    before, after = {}, {}
    for kind, image in (("sharp", dark), ("blur", other)):
        before[kind] = np.asarray(image)
        after[kind] = np.asarray(Image.open(tmp_path / f"clean/pairs/g/train/A/{kind}/1.png"))
    for channel in range(3):
        curve = {}
        for kind in ("blur", "sharp"):
            for old, new in zip(before[kind][..., channel].ravel(), after[kind][..., channel].ravel(), strict=True):
                assert curve.setdefault(old, new) == new
    assert after["blur"].std() > 2 * before["blur"].std()


def test_the_stage_reports_and_counts(workspace, capsys):
    lay(workspace / "data/source", ODD)
    stages.clean.main()
    with open(workspace / "data/clean/rejected.csv", encoding="utf-8") as stream:
        rejected = list(csv.DictReader(stream))
    counts = json.loads((workspace / "metrics/clean.json").read_text())
    assert counts["found"] == counts["kept"] + counts["rejected"] == len(ODD) - 1
    assert counts["rejected"] == len(rejected) == sum(counts["rejected_by_reason"].values()) == 9
    assert counts["kept"] == sum(counts["kept_by_dataset"].values()) == 5
    assert "rejected data/source/unsplash/sharp/broken.jpg: not an image" in capsys.readouterr().out


def test_verifying_names_each_file_that_is_not_as_recorded(workspace, capsys):
    lay(workspace / "data/source", ODD)
    stages.clean.main()
    stages.clean.main(["--verify"])
    assert "all 5 files are as data/clean/manifest.csv says" in capsys.readouterr().out
    clean = workspace / "data/clean"
    for name, data in (("unsplash/sharp/good.png", b"tampered"), ("unsplash/sharp/new.png", b"new")):
        (clean / name).unlink(missing_ok=True)
        (clean / name).write_bytes(data)
    (clean / "unsplash/blurred/alone.png").unlink()
    with pytest.raises(UserError, match=r"3 of 5 files differ: get them back with `dvc checkout data/clean`"):
        stages.clean.main(["--verify"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "data/clean/unsplash/blurred/alone.png: No such file or directory",
        "data/clean/unsplash/sharp/good.png: changed: its checksum is not the manifest's",
        "data/clean/unsplash/sharp/new.png: not in the manifest",
    ]
    shutil.rmtree(clean)
    with pytest.raises(UserError, match=r"manifest\.csv is not there: run `dvc repro clean`"):
        stages.clean.main(["--verify"])


def test_an_empty_source_is_one_line_and_publishes_nothing(workspace):
    (workspace / "data/source/unsplash/sharp").mkdir(parents=True)
    (workspace / "data/source/pairs").mkdir()
    with pytest.raises(UserError, match=r"no usable image in data/source: 0 rejected; check fetch_unsplash\.source"):
        stages.clean.main()
    assert not (workspace / "data/clean").exists()
    assert not list((workspace / "data").glob(".*"))
