"""Import TensorFlow without its start-up notes; a stage with networks imports this first."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def held_back_stderr() -> Iterator[None]:
    """Hold back what is written to standard error, by C libraries too, and show it if the body fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes:
        kept = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


# TensorFlow reads these when it is first imported. oneDNN's kernels are on by default only on some processors; on the
# others the convolutions of a training step take about twice as long.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with held_back_stderr():  # a machine without a GPU is told so six times
    import tensorflow as tf

    tf.config.list_physical_devices("GPU")


def be_deterministic() -> None:
    """Give the same bits for the same inputs on the same kind of machine, on a GPU too."""
    tf.config.experimental.enable_op_determinism()
