"""Files of published weights: read without PyTorch, and never believed."""

import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest
from conftest import REAL_DATA
from safetensors.numpy import save_file
from torch_files import (
    dictionary,
    legacy,
    name,
    number,
    parts,
    pickled,
    save_legacy,
    save_zip,
    storage,
    tensor,
    text,
    zipped,
)  # fmt: skip

from deblurgan.errors import UserError
from deblurgan.published import pickles, torch_files
from deblurgan.published.checkpoints import read_checkpoint

RNG = np.random.default_rng(0)
ARRAYS = {
    "a.weight": RNG.normal(size=(3, 2, 3, 3)).astype("f4"),
    "a.bias": RNG.normal(size=3).astype("f4"),
    "turned": RNG.normal(size=(4, 5)).astype("f4").T,
    "double": RNG.normal(size=7),
    "half": RNG.normal(size=(2, 3)).astype("f2"),
    "count": np.array(5, "i8"),
    "empty": np.zeros((0, 3), "f4"),
}
DATA = np.arange(12, dtype="f4").tobytes()


def assert_same(found, expected):
    assert list(found) == list(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array.astype("f4") if array.dtype.kind == "f" else array)
        assert found[key].dtype == ("f4" if array.dtype.kind == "f" else array.dtype)


@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_tensors_come_back_as_they_were_saved(tmp_path, save):
    assert_same(read_checkpoint(save(tmp_path / "some.pth", ARRAYS)), ARRAYS)


@pytest.mark.parametrize("wrapper", ["params", "params_ema", "state_dict"])
def test_weights_are_found_below_the_keys_that_trainings_use(tmp_path, wrapper):
    assert_same(read_checkpoint(save_zip(tmp_path / "some.pth", ARRAYS, wrapper)), ARRAYS)


def test_the_averaged_weights_are_taken_where_there_are_both(tmp_path):
    tensors, stored = parts({"one": ARRAYS["a.bias"], "other": ARRAYS["double"]})
    kinds = {"params": dictionary({"w": tensors["one"]}), "params_ema": dictionary({"w": tensors["other"]})}
    content = b"}(" + text("iter") + number(4) + b"".join(text(key) + value for key, value in kinds.items()) + b"u"
    (tmp_path / "some.pth").write_bytes(zipped(content, stored))
    assert_same(read_checkpoint(tmp_path / "some.pth"), {"w": ARRAYS["double"]})


def test_the_prefix_of_parallel_trainings_is_taken_away(tmp_path):
    prefixed = {f"module.{key}": array for key, array in ARRAYS.items()}
    assert_same(read_checkpoint(save_zip(tmp_path / "some.pth", prefixed)), ARRAYS)


def test_bfloat16_parameters_and_parts_of_a_storage(tmp_path):
    """A parameter is a tensor in a call of its own; several tensors may be parts of one storage."""
    values = np.arange(12).astype(ml_dtypes.bfloat16)
    of = storage("0", "BFloat16", 12)
    parameter = name("torch._utils", "_rebuild_parameter") + b"(" + tensor(of, 2, (2, 3), (1, 2)) + b"\x88)tR"
    content = dictionary({"part": parameter, "rest": tensor(of, 8, (4,), (1,))})
    (tmp_path / "some.pth").write_bytes(zipped(content, {"0": values.tobytes()}))
    found = read_checkpoint(tmp_path / "some.pth")
    np.testing.assert_array_equal(found["part"], [[2, 4, 6], [3, 5, 7]])
    np.testing.assert_array_equal(found["rest"], [8, 9, 10, 11])


def test_safetensors(tmp_path):
    arrays = {key: np.ascontiguousarray(array) for key, array in sorted(ARRAYS.items())}
    save_file(arrays, tmp_path / "some.safetensors")
    found = read_checkpoint(tmp_path / "some.safetensors")
    assert_same(dict(sorted(found.items())), arrays)
    save_file({"w": np.arange(3).astype(ml_dtypes.bfloat16)}, tmp_path / "half.safetensors")
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "half.safetensors")["w"], [0, 1, 2])


# what runs code


def called(module, attribute, *arguments):
    return name(module, attribute) + b"(" + b"".join(map(text, arguments)) + b"tR"


def as_file(path, content, kind):
    path.write_bytes(zipped(content, {}) if kind == "zip" else legacy(content, {}, {}))
    return path


@pytest.mark.parametrize("kind", ["zip", "legacy"])
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (called("os", "system", "touch victim"), r"os\.system"),
        (called("posix", "system", "touch victim"), r"posix\.system"),
        (called("builtins", "eval", "open('victim', 'w')"), r"builtins\.eval"),
        (called("builtins", "getattr", "x", "y"), r"builtins\.getattr"),
        (called("torch.storage", "_load_from_bytes", "x"), r"torch\.storage\._load_from_bytes"),
        (called("torch._utils", "_rebuild_tensor_v2.__globals__", "x"), r"_rebuild_tensor_v2\.__globals__"),
        (text("os") + text("system") + b"\x93" + text("touch victim") + b"\x85R", r"os\.system"),
        (text("builtins") + text("object.__subclasses__") + b"\x93)R", r"object\.__subclasses__"),
        (b"(" + text("touch victim") + b"ios\nsystem\n", "INST"),
        (b"(" + name("collections", "OrderedDict") + text("touch victim") + b"o", "OBJ"),
        (name("collections", "OrderedDict") + b")\x81", "NEWOBJ"),
        (b"\x82\x01", "EXT1"),
        (name("torch", "FloatStorage") + text("x") + b"\x85R", r"it calls torch\.FloatStorage"),
        (text("x") + text("x") + b"\x85R", "it calls a str"),
        (b"Pos.system\n", "PERSID"),
    ],
)
def test_what_would_run_code_is_refused_by_name_and_is_not_run(tmp_path, monkeypatch, content, named, kind):
    monkeypatch.chdir(tmp_path)
    path = as_file(tmp_path / "bad.pth", content, kind)
    with pytest.raises(UserError, match=rf"^\S+bad\.pth is refused: .*{named}.*$"):
        read_checkpoint(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bad.pth"]


def test_attributes_are_left_out(tmp_path):
    """An object's `items` may be replaced by them."""
    tensors, stored = parts({"w": ARRAYS["a.bias"]})
    content = dictionary(tensors) + b"}" + text("items") + name("collections", "OrderedDict") + b"sb"
    (tmp_path / "some.pth").write_bytes(zipped(content, stored))
    assert_same(read_checkpoint(tmp_path / "some.pth"), {"w": ARRAYS["a.bias"]})


# what does not fit


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "named"),
    [
        (0, (13,), (1,), "13 does not lie within its storage of 12 elements"),
        (1, (12,), (1,), "12 does not lie within"),
        (12, (1,), (1,), "1 does not lie within"),
        (0, (3, 4), (5, 1), "3x4 does not lie within"),
        (0, (2,), (2**62,), "2 does not lie within"),
        (0, (25_000_000_000,), (0,), "25000000000 does not lie within"),
        (0, (160_000, 160_000), (0, 0), "160000x160000 does not lie within"),
        (2**63, (1,), (1,), "does not lie within"),
        (2**64, (1,), (1,), "a number of 65 bits"),
        (-1, (1,), (1,), "-1 is negative"),
        (0, (-1, -12), (1, 1), "-1 is negative"),
        (4, (2,), (-1,), "-1 is negative"),
        (0, (2, 2), (1,), "is damaged"),
        (0, (1,) * 33, (1,) * 33, "more than 32 dimensions"),
        (0, (2**64 - 1,) * 100_000, (1,) * 100_000, "more than 32 dimensions"),
    ],
)
def test_tensors_lie_within_their_storage(tmp_path, offset, shape, strides, named):
    path = tmp_path / "bad.pth"
    path.write_bytes(zipped(dictionary({"w": tensor(storage("0", "Float", 12), offset, shape, strides)}), {"0": DATA}))
    with pytest.raises(UserError, match=rf"^\S+bad\.pth .*{named}"):
        read_checkpoint(path)


def part_of(count=12, key="0", kind="Float", offset=0, size=None):
    """A tensor of one dimension."""
    return tensor(storage(key, kind, count), offset, (count if size is None else size,), (1,))


WHOLE = dictionary({"w": part_of()})


@pytest.mark.parametrize(
    ("content", "stored", "named"),
    [
        (dictionary({"w": part_of(25_000_000_000)}), DATA, "has not the 250{8}"),
        (WHOLE, DATA[:-4], "has not the 12 elements"),
        (WHOLE, DATA + b"more", "has not the 12 elements"),
        (WHOLE, None, "is damaged.*no item"),
        (dictionary({"w": part_of(key="../data.pkl")}), DATA, r"'\.\./data\.pkl', which is no name"),
        (dictionary({"w": part_of(key="a/b")}), DATA, "'a/b', which is no name"),
        (dictionary({"w": part_of(kind="Quantised")}), DATA, r"torch\.QuantisedStorage"),
        (dictionary({"v": part_of(), "w": part_of(offset=4, size=1)}), DATA, "upon one another"),
        (dictionary({"v": part_of(size=6), "w": part_of(6)}), DATA, "in two ways"),
        (b"](" + part_of() + b"e", DATA, "no dictionary"),
        (dictionary({}), DATA, "holds no weights"),
        (dictionary({"w": text("words")}), DATA, "'w' is str, where weights are expected"),
        (b"}" + number(3) + part_of() + b"s", DATA, "'3' is a tensor, where"),
        (b"}" + number(3) + b"\x85" + number(3) + b"s", DATA, "a key of the type tuple"),
    ],
)
def test_what_does_not_fit_together_is_one_line(tmp_path, content, stored, named):
    path = tmp_path / "bad.pth"
    path.write_bytes(zipped(content, {} if stored is None else {"0": stored}))
    with pytest.raises(UserError, match=rf"^\S+bad\.pth .*{named}") as raised:
        read_checkpoint(path)
    assert "\n" not in str(raised.value)


NESTED = number(1) + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
"""Tuples in tuples, whose hash would take 2^60 steps."""


def test_tuples_in_tuples_take_no_time(tmp_path):
    (tmp_path / "bad.pth").write_bytes(zipped(b"}" + NESTED + number(1) + b"s", {}))
    with pytest.raises(UserError, match="a key of the type tuple"):
        read_checkpoint(tmp_path / "bad.pth")


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        (b"](" + NESTED + b"e", "named by a tuple belongs to no tensor"),
        (b"](" + number(3) + b"e", "named by a int belongs to no tensor"),
        (number(3), "is damaged"),
    ],
)
def test_keys_of_legacy_storages_are_texts(tmp_path, keys, named):
    tensors, _ = parts({"w": ARRAYS["a.bias"]}, legacy=True)
    whole = legacy(dictionary(tensors), {}, {})
    (tmp_path / "bad.pth").write_bytes(whole.replace(pickled(b"](e"), pickled(keys)))
    with pytest.raises(UserError, match=named):
        read_checkpoint(tmp_path / "bad.pth")


LONG = b"\x8b" + struct.pack("<i", 3000) + b"\x7f" * 3000
"""A number of 7,224 digits, which Python does not print."""


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"}" + LONG + number(1) + b"s", "a number of 23999 bits"),
        (b"(" * 100_000 + b"t" * 100_000 + b"}", "is damaged"),  # marks upon marks
        (b"(" + b"]" * (1 << 20) + b"t", "larger than any checkpoint's"),
        (name("torch._utils", "_rebuild_tensor_v2") + b"(" + b"N" * 1000 + b"tR", "with 1000 arguments"),
        (  # one list of 1,000 pairs, taken 10,000 times
            b"]("
            + (text("k") + b"N\x86") * 1000
            + b"eq\0"
            + (name("collections", "OrderedDict") + b"h\0\x85R") * 10_000,
            "more names than",
        ),
    ],
    ids=["long number", "marks", "pickle", "arguments", "pairs"],
)
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_what_would_take_for_ever_is_refused(tmp_path, content, named, kind, monkeypatch):
    for module in (pickles, torch_files):
        monkeypatch.setattr(module, "LARGEST_PICKLE", 1 << 20)
    (tmp_path / "bad.pth").write_bytes(zipped(content, {}) if kind == "zip" else legacy(content, {}, {}))
    with pytest.raises(UserError, match=named):
        read_checkpoint(tmp_path / "bad.pth")


def test_dictionaries_of_python_2(tmp_path):
    """They came as a list of pairs."""
    tensors, stored = parts({"w": ARRAYS["a.bias"]})
    pairs = b"](" + text("w") + tensors["w"] + b"\x86e"
    (tmp_path / "old.pth").write_bytes(zipped(name("collections", "OrderedDict") + pairs + b"\x85R", stored))
    assert_same(read_checkpoint(tmp_path / "old.pth"), {"w": ARRAYS["a.bias"]})


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\x8d" + struct.pack("<Q", 2**62) + b"x", "is damaged"),  # a text of 4 EB
        (b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x", "is damaged"),  # a number of 2 GB
        (b"}r\xff\xff\xff\xff", "no weights"),  # a memo of 4 billion entries
        (b"h\x05", "is damaged"),
        (b"u", "is damaged"),
        (b"t", "is damaged"),
        (b"R", "is damaged"),
        (b"", "is damaged"),
        (b"}}", "is damaged"),
        (b"\xff", "is damaged"),
    ],
)
def test_pickles_that_make_no_sense(tmp_path, content, named):
    (tmp_path / "bad.pth").write_bytes(zipped(content, {}))
    with pytest.raises(UserError, match=named):
        read_checkpoint(tmp_path / "bad.pth")


# tricks with archives


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        ({"byteorder": b"big"}, "big-endian"),
        ({"top": "a/b"}, "0 members data.pkl"),
    ],
)
def test_archives_that_pytorch_does_not_write(tmp_path, change, named):
    (tmp_path / "bad.pth").write_bytes(zipped(WHOLE, {"0": DATA}, **change))
    with pytest.raises(UserError, match=named):
        read_checkpoint(tmp_path / "bad.pth")


def rewritten(path, change):
    """An archive whose list of members is changed behind the back of zipfile."""
    data = bytearray(zipped(WHOLE, {"0": DATA}))
    at = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)  # the entry of `byteorder`
    at = data.index(b"PK\1\2", at + 1)  # that of data/0
    change(data, at)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        (24, struct.pack("<I", 2**31), "upon one another"),  # it says that it is 2 GB
        (24, struct.pack("<I", 8), "has not the 12 elements|is damaged"),
        (16, b"\0\0\0\0", "is damaged.*CRC"),
        (42, struct.pack("<I", 0), "is damaged"),  # it begins where another member does
        (8, b"\1\0", "encrypted"),
    ],
)
def test_an_archive_that_lies_about_its_members(tmp_path, field, value, named):
    def change(data, at):
        data[at + field : at + field + len(value)] = value

    with pytest.raises(UserError, match=named):
        read_checkpoint(rewritten(tmp_path / "bad.pth", change))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.pth", "w") as archive:
        for content in (WHOLE, b"}"):
            archive.writestr("top/data.pkl", pickled(content))
    with pytest.raises(UserError, match="upon one another"):
        read_checkpoint(tmp_path / "bad.pth")


@pytest.mark.parametrize("little", [True, False])
def test_legacy_files_whose_parts_do_not_fit(tmp_path, little):
    tensors, stored = parts({"w": ARRAYS["a.bias"]}, legacy=True)
    path = tmp_path / "bad.pth"
    data = legacy(dictionary(tensors), {**stored, "7": DATA}, {"0": 4, "7": 4}, little)
    path.write_bytes(data)
    with pytest.raises(UserError, match="'7' belongs to no tensor" if little else "big-endian"):
        read_checkpoint(path)
    path.write_bytes(legacy(dictionary(tensors), {"0": DATA}, {"0": 4}))
    with pytest.raises(UserError, match="'0' has 12 elements, where its pickle says 3"):
        read_checkpoint(path)
    path.write_bytes(pickled(number(1)) * 3)
    with pytest.raises(UserError, match="but not of PyTorch"):
        read_checkpoint(path)


def small_files(folder):
    arrays = {"a": ARRAYS["a.bias"], "b": ARRAYS["half"]}
    save_file(arrays, folder / "a.safetensors")
    return [save_zip(folder / "a.pth", arrays), save_legacy(folder / "b.pth", arrays), folder / "a.safetensors"]


@pytest.mark.parametrize("which", range(3))
def test_files_cut_at_any_place_are_one_line(tmp_path, which):
    data = small_files(tmp_path)[which].read_bytes()
    for length in range(len(data)):
        (tmp_path / "cut.pth").write_bytes(data[:length])
        with pytest.raises(UserError, match=r"^\S+cut\.pth ") as raised:
            read_checkpoint(tmp_path / "cut.pth")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("which", range(3))
def test_damaged_files_are_one_line_or_read(tmp_path, which):
    data = small_files(tmp_path)[which].read_bytes()
    refused = 0
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= int(RNG.integers(1, 256))
        (tmp_path / "cut.pth").write_bytes(damaged)
        try:
            found = read_checkpoint(tmp_path / "cut.pth")
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert sum(array.size for array in found.values()) <= 9
    assert refused > len(data) / 4


@pytest.mark.parametrize("content", [b"", b"\x89PNG", b"PK\3\4", b"\x80", b"GIF89a", b"\0" * 8 + b"{" + b"\xff" * 9])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "photo.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"^\S+photo\.pth is (refused|damaged)"):
        read_checkpoint(tmp_path / "photo.pth")
    with pytest.raises(UserError, match="no such file"):
        read_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("file", "first", "tensors", "numbers"),
    [
        ("nafnet_width8.pth", "intro.weight", 664, 1_121_883),
        ("deblurgan_ngf16_legacy.pth", "model.1.weight", 48, 715_651),
    ],
)
def test_files_that_pytorch_has_written(file, first, tensors, numbers):
    path = REAL_DATA / "published_weights" / file
    if not path.exists():
        pytest.skip("no file of PyTorch's here")
    found = read_checkpoint(path)
    assert next(iter(found)) == first
    assert (len(found), sum(array.size for array in found.values())) == (tensors, numbers)
