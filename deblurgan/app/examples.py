"""Photos to try: the bundled ones that are delivered blurred."""

import contextlib
import io
import shutil
from pathlib import Path

from deblurgan.app.folders import EXAMPLES

SEED = 1


def write_examples(root: Path) -> list[Path]:
    """Write them below a folder."""
    from deblurgan.sources.bundled import copy_bundled

    folder = root / EXAMPLES
    for kind in ("sharp", "blurred"):
        (folder / kind).mkdir(parents=True)
    with contextlib.redirect_stderr(io.StringIO()):  # its bar
        for _ in copy_bundled(folder, SEED):
            pass
    shutil.rmtree(folder / "sharp")
    return sorted((folder / "blurred").glob("*.jpg"))
