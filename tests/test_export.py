"""Exported generators: the same results as Keras's, the same bytes every time, and no TensorFlow where they restore."""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import ROOT, SMALL, some_long
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

import stages.export
from deblurgan.errors import UserError
from deblurgan.export import checking, command, litert_file
from deblurgan.export.litert_file import LiteRTGenerator, litert_bytes
from deblurgan.export.litert_file import metadata_in as metadata_in_litert
from deblurgan.export.metadata import metadata_of
from deblurgan.export.onnx_file import onnx_bytes
from deblurgan.images import read_rgb, to_float, to_uint8, write_png
from deblurgan.networks.generators import build_generator
from deblurgan.networks.model_files import load_generator, save_half, save_model
from deblurgan.restoration import neural, tiles
from deblurgan.restoration.exported import ExportedGenerator, export_of
from deblurgan.restoration.traits import Traits

pytestmark = pytest.mark.xdist_group("export")  # what they share is made once
NAFNET = SMALL.model_copy(update={"architecture": "nafnet", "norm": "layer", "upsample": "shuffle"})
GENERATORS = {
    "resnet": SMALL,
    "instance": SMALL.model_copy(update={"norm": "instance"}),
    "resize": SMALL.model_copy(update={"upsample": "resize"}),
    "nafnet": NAFNET,
    "global": NAFNET.model_copy(update={"attention": "global"}),
    "local": NAFNET.model_copy(update={"attention": "local"}),
    "unet": SMALL.model_copy(update={"architecture": "unet", "upsample": "shuffle"}),
}


def saved(folder: Path, name: str) -> Path:
    """A generator with random weights, as a file."""
    generator = build_generator(GENERATORS[name], 1)
    rng = np.random.default_rng(1)
    generator.set_weights([w + rng.normal(0, 0.05, w.shape).astype(w.dtype) for w in generator.get_weights()])
    save_model(generator, folder / f"{name}.keras")
    return folder / f"{name}.keras"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Each generator as Keras has it, and its ONNX file, made once."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def of(name: str):
        if name not in made:
            path = saved(folder, name)
            generator = load_generator(path)
            path.with_suffix(".onnx").write_bytes(onnx_bytes(generator, metadata_of(generator, path)))
            made[name] = generator, ExportedGenerator(path.with_suffix(".onnx"))
        return made[name]

    of.folder = folder
    return of


@pytest.fixture(scope="module")
def in_litert(exported):
    """LiteRT files, made once."""
    return functools.cache(lambda name: litert_bytes(exported(name)[0], {"reach": "7"}))


@pytest.mark.parametrize("name", some_long(GENERATORS, "global", "local"))
@settings(max_examples=4)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_an_exported_generator_computes_what_keras_computes(exported, name, height, width, seed):
    generator, onnx_model = exported(name)
    step = onnx_model.traits.stride
    shape = (16 + height * step, 16 + width * step, 3)
    image = np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
    expected = neural.running(generator)(image)
    np.testing.assert_allclose(onnx_model.run(image), expected, atol=1e-4)
    assert np.abs(expected - image).max() > 0.01


@pytest.mark.parametrize("name", some_long(("resnet", "local"), "local"))
def test_a_file_says_what_running_it_takes(exported, name):
    generator, onnx_model = exported(name)
    assert onnx_model.traits == neural.traits_of(generator)
    assert isinstance(onnx_model.traits, Traits)
    assert onnx_model.metadata["architecture"] == GENERATORS[name].architecture
    assert onnx_model.metadata["licence"] == "Apache-2.0"
    assert (onnx_model.with_global_means() is not None) == (name == "local")


@pytest.mark.long
def test_local_attention_becomes_global_from_the_same_file(exported):
    generator, onnx_model = exported("local")
    image = np.random.default_rng(0).uniform(-1, 1, (64, 448, 3)).astype(np.float32)
    expected = neural.running(neural.with_global_means(generator))(image)
    np.testing.assert_allclose(onnx_model.with_global_means()(image), expected, atol=1e-4)


@pytest.mark.parametrize("name", some_long(("resnet", "unet", "nafnet", "local"), "nafnet", "local"))
def test_the_same_generator_is_the_same_bytes(exported, name):
    generator, _ = exported(name)
    path = exported.folder / f"{name}.onnx"
    build_generator(SMALL, 5)  # names in TensorFlow count what was built before
    for _ in range(2 if name == "nafnet" else 1):
        assert onnx_bytes(generator, metadata_of(generator, path.with_suffix(".keras"))) == path.read_bytes()
    onnx.checker.check_model(onnx.load(path), full_check=True)


@pytest.mark.long  # that of a unet is made twice by the stage's test, too
@pytest.mark.parametrize("name", ["resnet", "unet"])
def test_the_same_generator_is_the_same_litert_bytes(exported, in_litert, name):
    generator, _ = exported(name)
    first = in_litert(name)
    build_generator(SMALL, 5)
    assert litert_bytes(generator, {"reach": "7"}) == first


def test_weights_in_half_precision_stay_half_and_exact(tmp_path):
    path, half = saved(tmp_path, "unet"), tmp_path / "half.keras"
    save_half(path, half)
    large, small = (onnx_bytes(load_generator(p), {}) for p in (path, half))
    assert len(small) < 0.8 * len(large)
    generator, image = load_generator(half), checking.proof_image()
    half.with_suffix(".onnx").write_bytes(onnx_bytes(generator, metadata_of(generator, half)))
    np.testing.assert_allclose(
        ExportedGenerator(half.with_suffix(".onnx")).run(image), neural.running(generator)(image), atol=1e-4
    )


@pytest.mark.parametrize("name", ["unet", "resize"])
def test_a_litert_file_restores_any_size_and_describes_itself(exported, in_litert, tmp_path, name):
    generator, _ = exported(name)
    path = tmp_path / "g.tflite"
    path.write_bytes(in_litert(name))
    assert metadata_in_litert(path)["reach"] == "7"
    run = LiteRTGenerator(path).run
    for shape in ((32, 48, 3), (64, 40, 3)):
        image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        error = run(image) - neural.running(generator)(image)
        assert 0 < np.sqrt(np.square(error).mean()) < 0.01  # weights in float16


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder with a generator and both of its exports, made once by the command."""
    root = tmp_path_factory.mktemp("models")
    (root / stages.export.MODEL).parent.mkdir()
    saved(root, "unet").rename(root / stages.export.MODEL)
    with contextlib.chdir(root):
        command.main(["--litert"])
    return root / stages.export.MODEL.parent


@pytest.fixture
def ready(workspace, models):
    """A place with test images and a generator that is not exported."""
    rng = np.random.default_rng(0)
    for i in range(3):
        sharp = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        for kind, image in (("blur", sharp // 2), ("sharp", sharp)):
            write_png(workspace / f"data/resized/test/filmed/scene/{kind}/{i:06d}.png", image)
    stages.export.MODEL.parent.mkdir()
    shutil.copy(models / stages.export.MODEL.name, stages.export.MODEL)
    return workspace


@pytest.fixture
def with_exports(ready, models):
    """The same with both exports."""
    shutil.copytree(models, stages.export.MODEL.parent, dirs_exist_ok=True)
    return ready


def test_the_stage_writes_both_files_and_what_they_lose(ready, models):
    killed = stages.export.ONNX.with_name(f".{stages.export.ONNX.name}.0123abcd.partial")
    killed.write_bytes(b"half")
    stages.export.main()
    assert not killed.exists()
    found = json.loads(stages.export.METRICS.read_text())
    assert found["crops"] == 3
    assert found["onnx"]["largest_difference"] < 1e-4
    assert found["litert"]["psnr_lost"] < 0.05
    assert found["onnx"]["psnr"] == pytest.approx(found["keras"]["psnr"], abs=1e-3)
    for path in (stages.export.ONNX, stages.export.LITERT):  # the command's, made before
        assert path.read_bytes() == (models / path.name).read_bytes()


def test_without_test_images_the_files_are_compared_on_shapes_and_noise(ready, capsys):
    """Whose photos have no sharp partners deblurs them all the same."""
    shutil.rmtree(ready / "data/resized/test")
    (ready / "data/resized/test").mkdir()
    stages.export.main()
    found = json.loads(stages.export.METRICS.read_text())
    assert found["crops"] == 0
    assert set(found["onnx"]) == {"megabytes", "largest_difference"}
    assert 0 < found["onnx"]["largest_difference"] < 1e-4
    assert "export: note: no pair in data/resized/test" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [("LARGEST", r"models/generator\.onnx differs from Keras by"), ("MOST_LOST", r"models/generator\.tflite loses")],
)
def test_a_model_that_differs_is_not_kept(ready, monkeypatch, name, said):
    monkeypatch.setattr(checking, name, -1.0)
    with pytest.raises(UserError, match=said):
        stages.export.main()
    assert not stages.export.ONNX.exists()
    assert not stages.export.LITERT.exists()


def test_the_command_keeps_no_litert_file_that_it_cannot_vouch_for(ready, monkeypatch):
    monkeypatch.setattr(checking, "MOST_LOST", -1.0)
    with pytest.raises(UserError, match=r"generator\.tflite loses"):
        command.main(["--litert"])
    assert not stages.export.LITERT.exists()
    monkeypatch.setattr(litert_file, "_portable", lambda generator: generator)
    path = saved(ready, "resize")
    with pytest.raises(UserError, match=r"^LiteRT cannot run the generator: Select TensorFlow op"):
        command.main([str(path), "--litert"])
    assert not path.with_suffix(".tflite").exists()


RESTORING = """
import sys
from deblurgan.restoration.command import main
main(sys.argv[1:])
assert not {"tensorflow", "keras", "jax"} & set(sys.modules), "slow"
"""


def test_the_command_restores_by_it_without_tensorflow(with_exports):
    write_png(Path("a.png"), np.random.default_rng(1).integers(0, 256, (37, 61, 3), dtype=np.uint8))
    done = subprocess.run(
        [sys.executable, "-c", RESTORING, "a.png", "--output", "out"], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    method, _ = neural.restoring(load_generator(stages.export.MODEL))
    expected = tiles.deblur(method, read_rgb(Path("a.png")))
    assert np.abs(read_rgb(Path("out/a.png")).astype(int) - expected).max() <= 1


def test_an_export_of_another_generator_is_not_taken(ready, models):
    assert export_of(stages.export.MODEL) is None
    shutil.copytree(models, stages.export.MODEL.parent, dirs_exist_ok=True)
    assert export_of(stages.export.MODEL)
    save_model(build_generator(SMALL, 3), stages.export.MODEL)
    assert export_of(stages.export.MODEL) is None
    stages.export.MODEL.unlink()
    assert export_of(stages.export.MODEL)  # alone it stands for itself


def test_what_is_no_exported_generator_is_one_line(tmp_path, exported):
    (tmp_path / "text.onnx").write_text("no model")
    exported("resnet")
    strange = onnx.load(exported.folder / "resnet.onnx")
    del strange.metadata_props[:]
    onnx.save(strange, tmp_path / "strange.onnx")
    for name, said in (("missing", "no model at"), ("text", "is no ONNX file"), ("strange", "was not exported by")):
        with pytest.raises(UserError, match=said):
            ExportedGenerator(tmp_path / f"{name}.onnx")
    with pytest.raises(UserError, match=r"is no \.keras file"):
        command.main([str(tmp_path / "text.onnx")])


def test_the_pretrained_generators_export_is_of_that_generator():
    assert export_of(ROOT / "pretrained/generator.keras")


def test_the_docs_python_restores_a_photo(with_exports):
    write_png(Path("photo.png"), np.random.default_rng(1).integers(0, 256, (37, 61, 3), dtype=np.uint8))
    code = (ROOT / "docs/export.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    exec(compile(code, "docs/export.md", "exec"), {})
    method = neural.network(load_generator(stages.export.MODEL), few_sizes=False)  # and no guard
    expected = tiles.deblur(method, read_rgb(Path("photo.png")))
    assert np.abs(read_rgb(Path("restored.png")).astype(int) - expected).max() <= 1


NODE_MODULES = ROOT / "build/npm/node_modules"
"""Kept from run to run, ignored by git."""
ONNX_FOR_NODE = "onnxruntime-web@1.30.0"
PAGE = """
import { readFileSync, writeFileSync } from "node:fs";
globalThis.canvas = { width: 64, height: 32 };
globalThis.ImageData = class { constructor(data) { this.data = data; } };
globalThis.context = {
  getImageData: (x, y, width, height) => ({ width, height, data: new Uint8ClampedArray(readFileSync("photo.rgba")) }),
  putImageData: (image) => writeFileSync("restored.rgba", image.data),
};
await import("./example.mjs");
"""
"""What the docs' example finds in a browser."""


@pytest.fixture(scope="session")
def node_modules():
    if not (node := shutil.which("node")) or not (npm := shutil.which("npm")):
        pytest.skip("there is no Node with npm on this machine")
    NODE_MODULES.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(NODE_MODULES.parent / "install.lock"):
        if not (NODE_MODULES / "onnxruntime-web/package.json").is_file():
            (NODE_MODULES.parent / "package.json").write_text("{}")
            command = [
                npm,
                "install",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--fetch-retries=1",
                ONNX_FOR_NODE,
            ]
            try:
                subprocess.run(
                    command, cwd=NODE_MODULES.parent, check=True, capture_output=True, text=True, timeout=180
                )
            except subprocess.SubprocessError as error:
                pytest.skip(f"{ONNX_FOR_NODE} could not be fetched: {error} {(error.stderr or '')[-300:]}")
    return node, NODE_MODULES


def test_the_docs_javascript_restores_a_photo(tmp_path, exported, node_modules):
    node, modules = node_modules
    generator, _ = exported("unet")
    (tmp_path / "node_modules").symlink_to(modules)
    shutil.copy(exported.folder / "unet.onnx", tmp_path / "generator.onnx")
    photo = np.random.default_rng(1).integers(0, 256, (32, 64, 4), dtype=np.uint8)
    (tmp_path / "photo.rgba").write_bytes(photo.tobytes())
    code = (ROOT / "docs/export.md").read_text(encoding="utf-8").split("```javascript\n")[1].split("```")[0]
    (tmp_path / "example.mjs").write_text(code)
    (tmp_path / "page.mjs").write_text(PAGE)
    done = subprocess.run([node, "page.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = np.frombuffer((tmp_path / "restored.rgba").read_bytes(), np.uint8).reshape(photo.shape)
    expected = to_uint8(neural.running(generator)(to_float(photo[..., :3])))
    assert np.abs(found[..., :3].astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(found[..., 3], photo[..., 3])
