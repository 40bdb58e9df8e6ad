"""Photos to try: a frame of a bundled scene, and the bundled photos that are delivered blurred."""

import contextlib
import io
import shutil
from pathlib import Path

from PIL import Image

from deblurgan.app.folders import EXAMPLES
from deblurgan.params import BundledCamera

SEED = 1
SCENE, NAME = "test/GOPR9004_13_00", "cup"
CAMERA = BundledCamera(pairs=1, width=480, height=320, speed=1.0, rotation=0.5)


def write_examples(root: Path) -> list[Path]:
    """Write them below a folder."""
    from deblurgan.sources.bundled import SCENES, copy_bundled, film_scene

    folder = root / EXAMPLES
    for kind in ("sharp", "blurred"):
        (folder / kind).mkdir(parents=True)
    with contextlib.redirect_stderr(io.StringIO()):  # its bar
        for _ in copy_bundled(folder, SEED):
            pass
    shutil.rmtree(folder / "sharp")
    _, blurred, _ = next(film_scene(SCENE, SCENES[SCENE], CAMERA, linear=True, seed=SEED))
    cup = folder / f"{NAME}.png"
    Image.fromarray(blurred).save(cup)
    return [cup, *sorted((folder / "blurred").glob("*.jpg"))]
