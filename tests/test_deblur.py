"""Deblurring anybody's photos: formats, the command."""

import errno
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import onnxruntime
import pillow_heif
import pytest
import tifffile
from conftest import ROOT, SMALL
from PIL import Image, ImageCms, ImageOps, IptcImagePlugin, PngImagePlugin
from skimage import color

from deblurgan.blur.convolution import blur_image
from deblurgan.cleaning.conversion import load_photo
from deblurgan.cleaning.sharpness import looks_sharp
from deblurgan.errors import UserError
from deblurgan.files import new_file
from deblurgan.images import to_uint8
from deblurgan.networks.generators import build_generator
from deblurgan.networks.model_files import save_model
from deblurgan.orientation import UPRIGHT
from deblurgan.pretrained import PRETRAINED
from deblurgan.restoration.command import main
from deblurgan.restoration.photo_files import (
    Photo,
    before_and_after,
    read_photo,
    write_photo,
    write_photos,
    written_name,
)
from deblurgan.restoration.tiles import IMAGE_BYTES


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A generator that changes photos so much that no correction is taken back, in a file."""
    path = tmp_path_factory.mktemp("model") / "generator.keras"
    generator = build_generator(SMALL, seed=2)
    head = generator.get_layer("head")
    head.set_weights([2 * weights for weights in head.get_weights()])
    save_model(generator, path)
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
    assert (photo.colours.shape, photo.grey, photo.sixteen_bit) == ((23, 37, 3), False, True)
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


def odd_exif(orientation: int) -> bytes:
    """With a page's number that is no number."""
    text = b"first\0"
    entries = struct.pack("<HHIHxx", 0x0112, 3, 1, orientation) + struct.pack(
        "<HHII", 297, 2, len(text), 8 + 2 + 24 + 4
    )
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4) + text


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, *UPRIGHT])
def test_an_entry_that_breaks_the_rules_keeps_no_photo_from_being_turned(tmp_path, kind, orientation):
    """Nor from being cleaned; 90 degrees clockwise and so on, as Pillow turns a photo whose EXIF keeps the rules."""
    options = {"lossless": True} if kind == "WEBP" else {}
    photo("RGB", (64, 48)).save(tmp_path / "odd", kind, exif=odd_exif(orientation), **options)
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo("RGB", (64, 48)).save(tmp_path / "even", kind, exif=exif, **options)
    with Image.open(tmp_path / "even") as even:
        expected = np.asarray(ImageOps.exif_transpose(even))
    np.testing.assert_array_equal(to_uint8(read_photo(tmp_path / "odd").colours), expected)
    cleaned, _ = load_photo((tmp_path / "odd").read_bytes(), min_side=32, max_pixels=10_000)
    np.testing.assert_array_equal(np.asarray(cleaned), expected)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_png_that_says_what_its_values_mean_says_so_afterwards(tmp_path, kind):
    plain = imagecodecs.png_encode(np.full((8, 8, 3), 99, kind))
    whites = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
    said = {b"gAMA": struct.pack(">I", 100_000), b"cHRM": struct.pack(">8I", *whites)}
    (tmp_path / "a.png").write_bytes(with_chunks(plain, said, b"IDAT"))
    write_photo(tmp_path / "b.png", read_photo(tmp_path / "a.png"))
    for name, content in said.items():
        assert name + content in (tmp_path / "b.png").read_bytes()
    (tmp_path / "a.png").write_bytes(with_chunks(plain, {**said, b"sRGB": b"\0"}, b"IDAT"))
    write_photo(tmp_path / "b.png", read_photo(tmp_path / "a.png"))
    assert b"gAMA" not in (tmp_path / "b.png").read_bytes()  # what is sRGB needs no such words


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_photos_of_16_bits_are_written_within_the_budget(tmp_path, suffix):
    """With transparency and a comparison, of noise, which nothing makes smaller."""
    rng, size = np.random.default_rng(0), (4096, 256)
    before = Photo(
        rng.uniform(-1, 1, (*size, 3)).astype(np.float32), False, True, rng.integers(0, 65536, size, np.uint16), {}
    )
    tracemalloc.start()
    after = replace(before, colours=before.colours[::-1].copy())
    write_photos([(tmp_path / f"a{suffix}", after), (tmp_path / f"b{suffix}", before_and_after(before, after))])
    peak = tracemalloc.get_traced_memory()[1]  # and the colours and the transparency from before
    tracemalloc.stop()
    assert peak + before.colours.nbytes + before.alpha.nbytes < IMAGE_BYTES * size[0] * size[1]


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
            write_photo(path, replace(eight, colours=np.asarray(image) / np.float32(127.5) - 1, sixteen_bit=True, kept={
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


def cmyk_profile() -> bytes:
    """What a printing press makes of its inks: colours muted, black not quite black; by the format's structure."""
    inks = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), axis=-1).reshape(-1, 4)  # the first changes last
    light = 0.1 + 0.75 * (1 - inks[:, :3]) * (1 - 0.9 * inks[:, 3:])
    lab = color.rgb2lab(light[None])[0]
    table = np.rint(np.c_[lab[:, :1] * 2.55, lab[:, 1:] + 128]).astype(np.uint8).tobytes()
    line = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    lut += 4 * line + table + 3 * line
    white = struct.pack(">4s4x3i", b"XYZ ", 63190, 65536, 54061)
    tags = struct.pack(">I4sII4sII", 2, b"A2B0", 156, len(lut), b"wtpt", 156 + len(lut), len(white))
    head = struct.pack(">I4sI4s4s4s12x4s28x3i48x", 156 + len(lut + white), b"lcms", 0x02400000, b"prtr", b"CMYK",
                       b"Lab ", b"acsp", 63190, 65536, 54061)  # fmt: skip
    return head + tags + lut + white


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize("profile", [cmyk_profile(), None], ids=["profile", "no profile"])
def test_inks_become_the_colours_that_cleaning_gives_them(tmp_path, suffix, profile):
    path = tmp_path / f"a{suffix}"
    photo("CMYK", (64, 48)).save(path, icc_profile=profile)
    read = read_photo(path)
    cleaned, _ = load_photo(path.read_bytes(), min_side=32, max_pixels=10_000)
    np.testing.assert_array_equal(to_uint8(read.colours), np.asarray(cleaned))
    inks = np.abs(np.asarray(cleaned).astype(int) - np.asarray(Image.open(path).convert("RGB"))).mean()
    assert inks > 20 if profile else inks == 0
    assert "icc_profile" not in read.kept  # of inks
    write_photo(path, read)
    with Image.open(path) as written:
        assert written.mode == "RGB"
        assert "icc_profile" not in written.info


def test_tags_of_inks_go_with_the_inks(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 4), dtype=np.uint8)
    tags = [(332, "H", 1, 1, True), (333, "s", 0, "Cyan\0Magenta\0Yellow\0Black", True), (334, "H", 1, 4, True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="separated", extratags=tags)
    write_photo(tmp_path / "b.tif", read_photo(tmp_path / "a.tif"))
    with Image.open(tmp_path / "b.tif") as written:
        assert not {332, 333, 334} & set(written.tag_v2)


def test_a_tiff_that_is_not_read_is_called_so(tmp_path):
    pixels = np.zeros((20, 30, 2), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig", extrasamples=[2])
    with pytest.raises(UserError, match=r"^a TIFF of a kind that is not read"):
        read_photo(tmp_path / "a.tif")


def test_lab_is_read(tmp_path):
    colours = photo("RGB")
    lab = ImageCms.profileToProfile(
        colours, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    lab.save(tmp_path / "a.tif")
    read = to_uint8(read_photo(tmp_path / "a.tif").colours).astype(int)
    assert np.abs(read - np.asarray(colours)).mean() < 3  # 8 bits of Lab are coarser


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description dc:title="A caption" dc:rights="by J\xc3\xb6rg" '
    b'tiff:Orientation="6"/><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'
)
IPTC = b"\x1c\x02\x78\x00\x09A caption\x1c\x02\x74\x00\x07by Anna"
"""Caption and copyright notice, an odd number of bytes."""


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_xmp_is_kept_and_its_orientation_set_upright(tmp_path, suffix):
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    exif = Image.Exif()
    exif[0x0112] = 6
    told = {".png": {"pnginfo": texts}, ".tif": {"tiffinfo": {700: XMP}}}.get(suffix, {"xmp": XMP})
    photo("RGB").save(tmp_path / f"a{suffix}", **({"exif": exif} if suffix != ".tif" else {}), **told)
    write_photo(tmp_path / f"b{suffix}", read_photo(tmp_path / f"a{suffix}"))
    write_photo(tmp_path / f"c{suffix}", read_photo(tmp_path / f"b{suffix}"))
    for name in "bc":
        with Image.open(tmp_path / f"{name}{suffix}") as after:
            assert b'dc:title="A caption" dc:rights="by J\xc3\xb6rg"' in after.info["xmp"]
            assert not re.search(rb"""Orientation(="|>)6""", after.info["xmp"])  # upright, or nothing said of it
            assert after.size == (23, 37)


def test_xmp_is_kept_in_a_png_of_16_bits(tmp_path):
    colours = read_photo_of(tmp_path, np.random.default_rng(0).integers(0, 65536, (23, 37, 3)).astype(np.uint16))
    write_photo(tmp_path / "b.png", replace(colours, kept={"xmp": XMP, "text": {"Author": "Jörg"}}))
    kept = read_photo(tmp_path / "b.png").kept
    assert kept["xmp"] == XMP.replace(b'"6"', b'"1"').replace(b">6<", b">1<")
    assert kept["text"] == {"Author": "Jörg"}


def read_photo_of(folder, pixels):
    (folder / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    return read_photo(folder / "a.png")


def test_iptc_and_comments_are_kept_in_jpeg(tmp_path):
    blocks = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + b"\0" * (len(IPTC) % 2)
    blocks += b"8BIM\x04\x0c\0\0" + struct.pack(">I", 4) + b"tiny"  # a preview, of the blurred photo
    extra = b"\xff\xed" + struct.pack(">H", len(blocks) + 16) + b"Photoshop 3.0\0" + blocks
    photo("RGB").save(tmp_path / "a.jpg", extra=extra, comment=b"A comment")
    write_photo(tmp_path / "b.jpg", read_photo(tmp_path / "a.jpg"))
    with Image.open(tmp_path / "b.jpg") as after:
        assert after.info["photoshop"] == {0x0404: IPTC}
        assert IptcImagePlugin.getiptcinfo(after) == {(2, 120): b"A caption", (2, 116): b"by Anna"}
        assert after.info["comment"] == b"A comment"


def test_texts_of_a_png_are_kept_but_for_older_ways_to_write_exif(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Copyright", "Anna")
    texts.add_itxt("Title", "Straße")
    exif = Image.Exif()
    exif[0x0112] = 6
    texts.add_text("Raw profile type exif", f"\nexif\n 40\n{exif.tobytes().hex()}\n", zip=True)
    photo("RGB").save(tmp_path / "a.png", pnginfo=texts)
    write_photo(tmp_path / "b.png", read_photo(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.png") as after:
        assert after.text == {"Copyright": "Anna", "Title": "Straße"}
        assert after.size == (23, 37)


def phones_photo(path, mode="RGB"):
    """A smooth HEIC or AVIF, whose codecs keep smooth light well."""
    y, x = np.mgrid[:48, :64]
    image = Image.fromarray(np.stack([x * 3, y * 4, 128 + 0 * x, 255 - y], axis=-1).astype(np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A phone", 6
    if path.suffix == ".avif":
        image.save(path, quality=95, subsampling="4:4:4", exif=exif, xmp=XMP)
    else:
        pillow_heif.from_pillow(image).save(path, quality=95, chroma=444, exif=exif.tobytes(), xmp=XMP)
    return np.rot90(np.asarray(image), -1)


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
@pytest.mark.parametrize(("mode", "written"), [("RGB", ".jpg"), ("RGBA", ".png")])
def test_phones_formats_become_usual_ones(tmp_path, suffix, mode, written):
    upright = phones_photo(tmp_path / f"a{suffix}", mode)
    assert written_name(tmp_path / f"a{suffix}") == f"a{written}"
    photo = read_photo(tmp_path / f"a{suffix}")
    assert np.abs(to_uint8(photo.colours).astype(int) - upright[..., :3]).mean() < 4
    assert (photo.alpha is not None) == (mode == "RGBA")
    if mode == "RGB":
        cleaned, _ = load_photo((tmp_path / f"a{suffix}").read_bytes(), min_side=32, max_pixels=10_000)
        np.testing.assert_array_equal(np.asarray(cleaned), to_uint8(photo.colours))
    write_photo(tmp_path / f"b{written}", photo)
    with Image.open(tmp_path / f"b{written}") as after:
        assert (after.size, after.mode) == ((48, 64), mode)
        assert after.getexif()[0x010F] == "A phone"
        assert after.getexif().get(0x0112, 1) == 1
        assert b'tiff:Orientation="6"' not in after.info["xmp"]


def test_colours_that_a_codec_names_by_numbers_are_minded(tmp_path):
    photo("RGB", (64, 48)).save(tmp_path / "a.avif")
    data = (tmp_path / "a.avif").read_bytes()
    place = data.index(b"colrnclx") + 8

    def named(primaries, transfer):
        (tmp_path / "b.avif").write_bytes(data[:place] + struct.pack(">HH", primaries, transfer) + data[place + 4 :])
        return read_photo(tmp_path / "b.avif")

    assert "icc_profile" not in named(1, 13).kept
    found = ImageCms.ImageCmsProfile(io.BytesIO(named(12, 13).kept["icc_profile"]))
    red = ImageCms.profileToProfile(Image.new("RGB", (1, 1), (200, 100, 50)), found, ImageCms.createProfile("sRGB"))
    np.testing.assert_allclose(red.getpixel((0, 0)), (215, 93, 31), atol=2)  # of Display P3
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        with pytest.raises(UserError, match=rf"HDR \({name}\)"):
            named(9, transfer)


def with_chunks(png: bytes, chunks: dict[bytes, bytes], before: bytes) -> bytes:
    at = png.index(before) - 4
    made = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks.items())
    return png[:at] + b"".join(made) + png[at:]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_colours_that_a_png_names_by_numbers_are_minded(tmp_path, kind):
    plain = imagecodecs.png_encode(np.full((8, 8, 3), np.iinfo(kind).max // 2, kind))
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        (tmp_path / "hdr.png").write_bytes(with_chunks(plain, {b"cICP": bytes([9, transfer, 0, 1])}, b"IDAT"))
        with pytest.raises(UserError, match=rf"HDR \({name}\)"):
            read_photo(tmp_path / "hdr.png")
    (tmp_path / "wide.png").write_bytes(with_chunks(plain, {b"cICP": bytes([12, 13, 0, 1])}, b"IDAT"))
    write_photo(tmp_path / "result.png", read_photo(tmp_path / "wide.png"))
    with Image.open(tmp_path / "result.png") as result:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(result.info["icc_profile"]))
    assert "Display P3" in ImageCms.getProfileDescription(profile)
    (tmp_path / "cut.png").write_bytes(with_chunks(plain, {b"cICP": b"\x09"}, b"IDAT"))
    assert "icc_profile" not in read_photo(tmp_path / "cut.png").kept


def test_a_gain_map_beside_the_photo_makes_no_hdr_of_it(tmp_path):
    """Phones write pictures of other light beside the one that is shown."""
    several = pillow_heif.HeifFile()
    for _ in range(2):
        several.add_from_pillow(photo("RGB", (64, 64)))
    hdr = {"color_primaries": 9, "transfer_characteristics": 16, "matrix_coefficients": 9, "full_range_flag": 1}
    several[1].info["nclx_profile"] = hdr
    several.save(tmp_path / "sdr.heic", save_nclx_profile=True)
    assert b"colrnclx\0\x09\0\x10" in (tmp_path / "sdr.heic").read_bytes()
    assert read_photo(tmp_path / "sdr.heic").colours.shape == (64, 64, 3)


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_metadata_that_no_jpeg_holds_are_left_out_and_the_others_kept(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769).update({0x927C: b"m" * 70000, 0x829D: 2.8})
    xmp = b"<x:xmpmeta>" + b"a" * 70000 + b"</x:xmpmeta>"
    if suffix == ".heic":
        pillow_heif.from_pillow(photo("RGB", (64, 64))).save(tmp_path / "a.heic", exif=exif.tobytes(), xmp=xmp)
    else:
        photo("RGB", (64, 64)).save(tmp_path / "a.avif", exif=exif.tobytes(), xmp=xmp)
    write_photo(tmp_path / "a.jpg", read_photo(tmp_path / f"a{suffix}"))
    with Image.open(tmp_path / "a.jpg") as result:
        kept = result.getexif()
        assert kept[0x010F] == "Maker"
        assert float(kept.get_ifd(0x8769)[0x829D]) == pytest.approx(2.8)
        assert 0x927C not in kept.get_ifd(0x8769)
        assert "xmp" not in result.info


def test_texts_behind_the_pixels_of_a_png_of_16_bits_are_kept(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    plain = imagecodecs.png_encode(np.full((8, 8, 3), 3000, np.uint16))
    early = with_chunks(plain, {b"eXIf": exif.tobytes().removeprefix(b"Exif\0\0")}, b"IDAT")
    (tmp_path / "a.png").write_bytes(with_chunks(early, {b"tEXt": b"Author\0Me"}, b"IEND"))
    write_photo(tmp_path / "b.png", read_photo(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.png") as result:
        result.load()
        assert result.text["Author"] == "Me"
        assert result.getexif()[0x010F] == "Maker"


def written_tiff(tags: dict[int, tuple[str, int]], strip: bytes) -> bytes:
    """A TIFF of such tags, of a kind ("H" or "I") and value each; those that say where the strip is are added."""
    tags = {**tags, 273: ("I", 8 + 2 + 12 * (len(tags) + 2) + 4), 279: ("I", len(strip))}
    entries = (
        struct.pack("<HHI", n, {"H": 3, "I": 4}[k], 1) + struct.pack(f"<{k}", v).ljust(4, b"\0")
        for n, (k, v) in sorted(tags.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + bytes(4) + strip


GREY_TIFF = {256: ("H", 4), 257: ("H", 2), 259: ("H", 1), 262: ("H", 1), 277: ("H", 1), 278: ("H", 2)}


def test_12_bits_fill_the_range_of_16(tmp_path):
    levels = [0, 1, 2048, 4095, 4095, 0, 273, 16]
    pairs = zip(levels[::2], levels[1::2], strict=True)
    strip = b"".join((a << 12 | b).to_bytes(3) for a, b in pairs)
    (tmp_path / "a.tif").write_bytes(written_tiff({**GREY_TIFF, 258: ("H", 12)}, strip))
    write_photo(tmp_path / "b.tif", read_photo(tmp_path / "a.tif"))
    found = tifffile.imread(tmp_path / "b.tif").ravel()
    np.testing.assert_allclose(found, np.array(levels) * 65535 / 4095, atol=1)


def test_the_preview_in_a_raw_photo_is_not_taken_for_the_photo(tmp_path):
    tags = {**GREY_TIFF, 258: ("H", 8)}
    for name, more in (("a.tif", {}), ("a.nef", {254: ("I", 1), 330: ("I", 8)})):
        (tmp_path / name).write_bytes(written_tiff({**tags, **more}, bytes(range(8))))
    assert read_photo(tmp_path / "a.tif").colours.shape == (2, 4, 3)
    with pytest.raises(UserError, match="a raw photo, of which only the small preview is read"):
        read_photo(tmp_path / "a.nef")


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


def test_originals_are_never_replaced(tmp_path, model, capsys):
    for name in ("a.png", "deep/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photo("RGB", (40, 30)).save(tmp_path / name)
    (tmp_path / "link").symlink_to(tmp_path)
    before = (tmp_path / "a.png").read_bytes()
    for out in (tmp_path, tmp_path / "link"):
        with pytest.raises(SystemExit):
            deblurred(tmp_path / "a.png", tmp_path / "deep/b.png", "--output", out, "--overwrite", model=model)
        assert f"{out}/a.png is one of the originals, which are never replaced" in capsys.readouterr().err
        assert (tmp_path / "a.png").read_bytes() == before
    assert (tmp_path / "b.png").is_file()


def test_no_strength_leaves_a_photo_as_it_is(tmp_path, model):
    photo("RGBA").save(tmp_path / "a.png")
    deblurred(tmp_path / "a.png", "--output", tmp_path / "none", "--strength", "0", model=model)
    np.testing.assert_array_equal(Image.open(tmp_path / "none/a.png"), photo("RGBA"))
    for strength in ("0.5", "1"):
        deblurred(tmp_path / "a.png", "--output", tmp_path / strength, "--strength", strength, model=model)
    half, full = (np.asarray(Image.open(tmp_path / s / "a.png")).astype(int) for s in ("0.5", "1"))
    np.testing.assert_allclose(2 * half, full + np.asarray(photo("RGBA")), atol=2)


def test_a_photo_named_as_a_comparison_is_not_lost(tmp_path, model, capsys):
    """Nor does it replace the comparison."""
    for name, light in (("a.png", 60), ("a_before_after.png", 200)):
        Image.new("RGB", (40, 30), (light,) * 3).save(tmp_path / name)
    out = tmp_path / "out"
    with pytest.raises(SystemExit):
        deblurred(tmp_path, "--output", out, "--compare", "--overwrite", model=model)
    said = f"{tmp_path}/a_before_after.png: another file is written as {out}/a_before_after.png"
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "a_before_after.png"]
    assert Image.open(out / "a_before_after.png").getpixel((0, 0)) == (60, 60, 60)


def test_result_and_comparison_are_written_both_or_neither(tmp_path, model, capsys):
    Image.new("RGB", (9000, 16)).save(tmp_path / "a.webp")  # twice as wide is more than a WebP may be
    with pytest.raises(SystemExit):
        deblurred(tmp_path / "a.webp", "--output", tmp_path / "out", "--compare", model=model)
    assert f"{tmp_path}/a.webp: cannot be written as WEBP" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_left_out_is_named(tmp_path, model, capsys):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.png", "b.jfif", "deep/c.png"):
        photo("RGB").save(folder / name, format="JPEG" if name == "b.jfif" else None)
    (folder / "raw.cr2").touch()
    (folder / ".hidden.png").touch()
    (folder / "linked").symlink_to(folder / "deep")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    deblurred(folder, "--output", tmp_path / "out", model=model)
    shown = capsys.readouterr()
    assert "2 of 2 deblurred" in shown.out
    assert [line for line in shown.err.splitlines() if "left out" in line] == [
        f"deblur: left out: {folder}/deep: a folder; --recursive looks into it",
        f"deblur: left out: {folder}/gone.png: a link that leads nowhere",
        f"deblur: left out: {folder}/linked: a link to a folder; name it to look into it",
        f"deblur: left out: {folder}/pipe.png: a pipe, a socket or a device",
        f"deblur: left out: {folder}/raw.cr2: of a kind that is not read",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.jfif"]
    for number in range(30):
        (folder / f"{number}.cr2").touch()
    deblurred(folder, "--output", tmp_path / "out", "--recursive", "--overwrite", model=model)
    assert "deblur: left out: 14 more" in capsys.readouterr().err


def test_a_phones_folder_is_deblurred(tmp_path, model, capsys):
    (tmp_path / "in").mkdir()
    for name in ("a.heic", "b.avif"):
        phones_photo(tmp_path / "in" / name)
    deblurred(tmp_path / "in", "--output", tmp_path / "out", model=model)
    assert "2 of 2 deblurred" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "b.jpg"]


def test_what_is_there_can_be_skipped(tmp_path, model, capsys):
    for name in ("a.png", "b.png"):
        photo("RGB").save(tmp_path / name)
    out = tmp_path / "out"
    deblurred(tmp_path / "a.png", "--output", out, model=model)
    (out / "a.png").write_bytes(b"whatever is there")
    deblurred(tmp_path, "--output", out, "--skip-existing", model=model)
    assert "1 of 2 deblurred" in (shown := capsys.readouterr()).out
    assert "1 there already" in shown.out
    assert (out / "a.png").read_bytes() == b"whatever is there"
    deblurred(tmp_path, "--output", out, "--skip-existing", model=tmp_path / "none")  # it is not even loaded
    deblurred(tmp_path, "--output", out, "--skip-existing", "--compare", model=model)  # half of it: the rest is made
    assert (out / "a.png").read_bytes() == b"whatever is there"
    with Image.open(out / "b_before_after.png") as both:
        np.testing.assert_array_equal(np.asarray(both)[:, 37:], np.asarray(Image.open(out / "b.png")))


def test_a_model_that_runs_out_of_memory_leaves_the_other_photos_to_be_done(tmp_path, capsys, monkeypatch):
    """As ONNX Runtime says it."""
    for name, size in (("a.png", (600, 300)), ("b.png", (16, 16))):
        photo("RGB", size).save(tmp_path / name)
    run = onnxruntime.InferenceSession.run

    def short(session, outputs, inputs, *options):
        if max(next(iter(inputs.values())).shape) >= 600:
            raise RuntimeError(
                "[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer of size 9"
            )
        return run(session, outputs, inputs, *options)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", short)
    with pytest.raises(SystemExit):
        deblurred(tmp_path, "--output", tmp_path / "out", "--always", model="pretrained")
    shown = capsys.readouterr()
    assert f"deblur: error: {tmp_path}/a.png: out of memory: try a smaller --memory" in shown.err
    assert "1 of 2 deblurred" in shown.out


def test_a_full_disk_stops_the_run_and_names_the_output(tmp_path, model, capsys, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("a.png", "b.png", "c.png"):
        photo("RGB").save(tmp_path / name)
    monkeypatch.setattr("deblurgan.files.os.fsync", full)
    with pytest.raises(UserError, match=r"^stopped: .*/out takes no more; make room and go on with --skip-existing"):
        deblurred(tmp_path, "--output", tmp_path / "out", model=model)
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("deblur: error: ")]
    assert lines == [f"deblur: error: {tmp_path}/a.png: {tmp_path}/out/a.png: No space left on device"]
    assert "0 of 3 deblurred" in shown.out
    assert list((tmp_path / "out").iterdir()) == []


def test_faults_of_the_output_name_it(tmp_path, model, capsys):
    (tmp_path / "in/deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png", "deep/" + "c" * 251 + ".bmp"):
        photo("RGB").save(tmp_path / "in" / name)
    endless = tmp_path / "in/deep" / ("c" * 255)
    (tmp_path / "in/deep" / ("c" * 251 + ".bmp")).rename(endless)  # .png has no room behind it
    (tmp_path / "text.jpg").write_text("a note")
    with pytest.raises(UserError, match=r"/text\.jpg is a file: --output takes a folder$"):
        deblurred(tmp_path / "in", "--output", tmp_path / "text.jpg", model=model)
    out = tmp_path / "out"
    (out / "a.png").mkdir(parents=True)
    (out / "deep").write_text("a note")
    with pytest.raises(SystemExit):
        deblurred(tmp_path / "in", endless, "--output", out, "--recursive", "--overwrite", model=model)
    said = capsys.readouterr().err
    assert f"deblur: error: {endless}: {out}/{endless.name}.png: File name too long" in said
    assert f"deblur: error: {tmp_path}/in/a.png: {out}/a.png is a folder, where the result was to be" in said
    assert f"deblur: error: {tmp_path}/in/deep/b.png: {out}/deep: " in said
    assert (out / "deep").read_text() == "a note"


def test_a_pipe_is_refused(tmp_path, model):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png is neither a file nor a folder, but a pipe"):
        deblurred(tmp_path / "a.png", "--output", tmp_path / "out", model=model)


@pytest.mark.parametrize("stem", ["a" * 251, "ä" * 125 + "b"])
def test_names_may_be_as_long_as_file_systems_allow(tmp_path, model, stem):
    photo("RGB").save(tmp_path / f"{stem}.png")
    deblurred(tmp_path / f"{stem}.png", "--output", tmp_path / "out", "--compare", model=model)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert f"{stem}.png" in names
    (comparison,) = names - {f"{stem}.png"}
    assert comparison.endswith("_before_after.png")
    assert len(comparison.encode()) > 250


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path, model):
    photo("RGB").save(tmp_path / "a.png")
    out = tmp_path / "out"
    out.mkdir()
    (out / ".b.png.0123abcd.partial").write_bytes(b"half a photo")
    (out / ".notes.partial").write_bytes(b"not ours")
    with new_file(out / "c.png") as partial:
        partial.write_bytes(b"of another run")
        deblurred(tmp_path / "a.png", "--output", out, model=model)
        assert {path.name for path in out.iterdir()} == {".notes.partial", partial.name, "a.png"}
    assert (out / "c.png").read_bytes() == b"of another run"


def scene(size=(160, 120)):
    """Rectangles of all sizes, sharp."""
    rng, image = np.random.default_rng(5), np.full((size[1], size[0], 3), 128, np.uint8)
    for _ in range(150):
        x, y = rng.integers(0, size[0]), rng.integers(0, size[1])
        image[y : y + rng.integers(3, 25), x : x + rng.integers(3, 25)] = rng.integers(0, 256, 3)
    return image


def test_photos_that_do_not_look_blurred_can_be_left_as_they_are(tmp_path, model, capsys):
    blurred = np.rint(blur_image(scene(), np.full((1, 9), 1 / 9) * np.eye(9)[4][:, None])).astype(np.uint8)
    (tmp_path / "in").mkdir()
    for name, image in (("sharp.jpg", scene()), ("sharp.bmp", scene()), ("blurred.png", blurred)):
        Image.fromarray(image).save(tmp_path / "in" / name)
    deblurred(tmp_path / "in", "--output", tmp_path / "all", model=model)
    assert "/in/" not in capsys.readouterr().err
    deblurred(tmp_path / "in", "--output", tmp_path / "auto", "--skip-sharp", "--compare", model=model)
    shown = capsys.readouterr()
    assert "sharp.jpg does not look blurred: left as it is" in shown.err
    assert "1 of 3 deblurred" in shown.out
    assert "2 left as they are" in shown.out
    assert (tmp_path / "auto/sharp.jpg").read_bytes() == (tmp_path / "in/sharp.jpg").read_bytes()
    np.testing.assert_array_equal(Image.open(tmp_path / "auto/sharp.png"), scene())
    for name in ("sharp_before_after.png", "sharp_before_after.jpg"):
        both = np.asarray(Image.open(tmp_path / "auto" / name)).astype(int)
        assert np.abs(both[:, :160] - both[:, 160:]).max() < 12
    assert (tmp_path / "auto/blurred.png").read_bytes() == (tmp_path / "all/blurred.png").read_bytes()
    assert (tmp_path / "all/sharp.jpg").read_bytes() != (tmp_path / "in/sharp.jpg").read_bytes()


def test_photos_that_the_network_finds_hardly_blurred_are_left_as_they_are(tmp_path, capsys):
    """A generator that has learned nothing yet changes nothing."""
    save_model(build_generator(SMALL.model_copy(update={"identity_start": True})), tmp_path / "g.keras")
    Image.fromarray(scene()).save(tmp_path / "a.jpg")
    deblurred(tmp_path / "a.jpg", "--output", tmp_path / "out", model=tmp_path / "g.keras")
    shown = capsys.readouterr()
    said = "hardly blurred for the network: left as it is; --always keeps the correction"
    assert f"deblur: note: {tmp_path / 'a.jpg'}: {said}" in shown.err.splitlines()
    assert "0 of 1 deblurred" in shown.out
    assert "1 left as they are" in shown.out
    assert (tmp_path / "out/a.jpg").read_bytes() == (tmp_path / "a.jpg").read_bytes()
    deblurred(tmp_path / "a.jpg", "--output", tmp_path / "always", "--always", model=tmp_path / "g.keras")
    shown = capsys.readouterr()
    assert "hardly" not in shown.err
    assert "1 of 1 deblurred" in shown.out


@pytest.mark.parametrize("shape", [(1, 1, 3), (15, 300, 3), (64, 64, 3)])
def test_nothing_is_said_of_photos_too_small_or_of_one_colour(shape):
    assert not looks_sharp(np.full(shape, 0.2, np.float32))


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
        (["a.png", "--output", "out", "--model", "none.keras"], "deblur: error: no model at none.keras"),
        (["a.png", "--output", "out", "--model", "a.png"], "deblur: error: a.png is not a generator"),
        (["a.png"], "the following arguments are required: --output"),
        (["a.png", "--output", "out", "--strength", "2"], "'2' is not a number from 0 to 1"),
        (["a.png", "--output", "out", "--always", "--algorithm", "wiener"], "--always is for the network, not for"),
        (["a.png", "--output", "out", "--always", "--skip-sharp"], "argument --skip-sharp: not allowed with"),
        (["a.png", "--output", "out", "--video", "--skip-sharp"], "--compare and --skip-sharp are for photos"),
        (["a.png", "--output", "out", "--tile", "some"], "'some' is neither auto, nor off, nor a number of pixels"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(tmp_path, arguments, said):
    photo("RGB").save(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "deblurgan", "deblur", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_before_a_training_photos_are_deblurred_by_the_generator_that_comes_with_the_project(
    tmp_path, model, monkeypatch, capsys
):
    Image.fromarray(np.rint(blur_image(scene(), np.eye(9) / 9)).astype(np.uint8)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    results = [(tmp_path / "a.png").read_bytes()]
    for named in (PRETRAINED, None):
        deblurred("a.png", "--output", "out", "--overwrite", model=named)
        results.append((tmp_path / "out/a.png").read_bytes())
        assert ("the pretrained generator is used" in capsys.readouterr().err) == (named is None)
    blurred, one, other = (np.asarray(Image.open(io.BytesIO(result)), int) for result in results)
    assert np.abs(one - blurred).max() > 9
    assert np.abs(one - other).max() <= 1  # by Keras or by its exported twin: the last bits differ
    (tmp_path / "models").mkdir()
    shutil.copy(model, tmp_path / "models/generator.keras")
    deblurred("a.png", "--output", "out", "--overwrite")
    assert (tmp_path / "out/a.png").read_bytes() not in results
    deblurred("a.png", "--output", "out", "--overwrite", model="pretrained")
    assert (tmp_path / "out/a.png").read_bytes() == results[2]
    assert "the pretrained generator is used" not in capsys.readouterr().err


def test_a_classical_algorithm_needs_no_model(tmp_path):
    photo("L", (50, 40)).save(tmp_path / "a.png")
    deblurred(tmp_path / "a.png", "--output", tmp_path / "out", "--algorithm", "wiener", model=tmp_path / "none")
    assert Image.open(tmp_path / "out/a.png").size == (50, 40)
