"""The resize stage: arrangement by split, and what is left out."""

import numpy as np
import pytest
from conftest import edit_params

import stages.resize
from deblurgan.errors import UserError
from deblurgan.images import write_png


@pytest.fixture
def workspace(workspace):
    edit_params(workspace, {"split": {"val_scenes": ["B"]}})
    for name in ("clean/gopro/train/A", "clean/gopro/train/B", "clean/gopro/test/C", "synthetic/val/photo"):
        for kind in ("blur", "sharp"):
            write_png(workspace / "data" / name / kind / "1.png", np.zeros((100, 50, 3), np.uint8))
    write_png(workspace / "data/clean/unsplash/blurred/alone.png", np.zeros((20, 30, 3), np.uint8))
    return workspace


def test_images_are_arranged_by_split(workspace):
    stages.resize.main()
    out = workspace / "data/resized"
    scenes = sorted({path.parent.parent.relative_to(out).as_posix() for path in out.rglob("sharp/*.png")})
    assert scenes == ["test/gopro/C", "train/gopro/A", "val/gopro/B", "val/unsplash/photo"]
    assert [path.name for path in (out / "unpaired").iterdir()] == ["alone.png"]


def test_an_unknown_validation_scene_is_one_line(workspace):
    edit_params(workspace, {"split": {"val_scenes": ["B", "GOPR0000_07_00"]}})
    with pytest.raises(UserError, match=r"val_scenes names GOPR0000_07_00, but data/clean/gopro/train has A, B"):
        stages.resize.main()


def test_what_becomes_too_thin_is_named_and_left_out(workspace, capsys):
    for kind in ("blur", "sharp"):
        write_png(workspace / "data/clean/gopro/test/C" / kind / "2.png", np.zeros((20, 200, 3), np.uint8))
    stages.resize.main()
    assert [path.name for path in (workspace / "data/resized/test/gopro/C/blur").iterdir()] == ["1.png"]
    output = "".join(capsys.readouterr())
    assert "left out data/clean/gopro/test/C/blur/2.png: 64x6 after resizing" in output
