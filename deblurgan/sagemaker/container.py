"""The job's machine: `python -m deblurgan.sagemaker.container`, as SageMaker calls it.

It knows nothing but the folders of SageMaker: the channels `code` (which PYTHONPATH names), `run`, `train` and `val`
below /opt/ml/input/data; /opt/ml/checkpoints, which SageMaker keeps in the bucket and brings back; /opt/ml/model for
what is made, and /opt/ml/output/failure for what went wrong.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from types import FrameType

from deblurgan.errors import UserError, explained
from deblurgan.files import CACHE

HOME = Path("/opt/ml")
LONGEST = 1024
"""Characters of a failure that SageMaker shows."""


def prepare(home: Path, work: Path) -> None:
    """Make a folder look like the root of the repository to the stage, and go there.

    Parameters
    ----------
    home
        SageMaker's folder.
    work
        Empty.
    """
    inputs, checkpoints = home / "input/data", home / "checkpoints"
    (work / "data/resized").mkdir(parents=True)
    for split in ("train", "val"):
        (work / "data/resized" / split).symlink_to(inputs / split, target_is_directory=True)
    for path in (inputs / "run").iterdir():
        (work / path.name).symlink_to(path)
    checkpoints.mkdir(exist_ok=True)
    os.environ[CACHE] = str(checkpoints)
    os.environ["TQDM_DISABLE"] = "1"  # a log has no use for bars
    os.chdir(work)


def run(home: Path) -> None:
    """Train, and leave the outputs where SageMaker takes them from.

    Raises
    ------
    UserError
        The training is another one than was asked for, or stops with an error of its own.
    """
    import stages.train as stage
    from deblurgan import params
    from deblurgan.sagemaker.naming import TRAINING, name_of
    from deblurgan.sagemaker.reporting import Reporter
    from deblurgan.sagemaker.results import names_of

    asked = json.loads((home / "input/config/hyperparameters.json").read_text())[TRAINING]
    if (found := name_of(params.load(), stage.DATA)) != asked:
        raise UserError(f"this is the training {found}, and {asked} was asked for: other code, data or parameters")
    os.environ.pop(stage.WHERE, None)  # here it is, and nowhere else
    with Reporter(stage.OUTPUTS.curves, home / "checkpoints/reported"):
        stage.main()
    _, allowed = names_of(stage.OUTPUTS)
    for path in sorted(path for path in Path().rglob("*") if path.is_file() and str(path).startswith(allowed)):
        target = home / "model" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def main(home: Path = HOME) -> None:
    """Train; a failure is told to SageMaker in one line."""
    signal.signal(signal.SIGTERM, _end)  # the first process of a container has no other answer to it
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    reason = ""
    try:
        with tempfile.TemporaryDirectory() as work:
            here = Path.cwd()
            try:
                prepare(home, Path(work))
                run(home)
            finally:
                os.chdir(here)
    except UserError as error:
        reason = str(error)
    except OSError as error:
        reason = explained(error)
    except Exception as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if reason:
        failure = home / "output/failure"
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(reason[:LONGEST], encoding="utf-8")
        sys.exit(f"train: error: {reason}")


def _end(number: int, frame: FrameType | None) -> None:
    """Go when SageMaker takes the machine away: the last checkpoint is whole."""
    print("SIGTERM: the training goes on from its last checkpoint when it is started again", flush=True)
    os._exit(128 + number)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
