"""Keras and its backend, imported without their start-up notes: whatever computes with networks imports this first."""

import contextlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator

from deblurgan import machine


@contextlib.contextmanager
def held_back_stderr() -> Iterator[None]:
    """Hold back what is written to standard error, by C libraries too, and show it if the body fails by itself."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes:
        kept = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except Exception:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Let imports of packages fail meanwhile, in all threads, as if they were not installed; what is imported stays."""
    names = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None: ModuleNotFoundError
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is first imported
os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"  # whatever ~/.keras/keras.json says

BACKENDS = ("tensorflow", "jax")
HOSTS = "KERAS_DISTRIBUTION_NUM_PROCESSES"
"""Environment variable of Keras: how many processes train together."""
SWITCHES = ("TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS", "NVIDIA_TF32_OVERRIDE", HOSTS)
"""Environment variables that change what a backend computes."""
UNUSED = ("matplotlib", "pandas")
"""Packages that Keras imports where they are installed, and that nothing here needs. TensorFlow imports JAX likewise.
Together they are a third of the time that both take to start."""

try:
    others = ("jax",) if os.environ["KERAS_BACKEND"] == "tensorflow" else ()
    with held_back_stderr(), without(*UNUSED, *others):  # a machine without a GPU is told so six times
        import keras

        BACKEND = keras.backend.backend()
        if BACKEND == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices("GPU")
        elif BACKEND == "jax":
            import jax
except ModuleNotFoundError as error:
    sys.exit(f"error: KERAS_BACKEND={os.environ.get('KERAS_BACKEND')}: {error}; it can be {' or '.join(BACKENDS)}")
if BACKEND not in BACKENDS:
    sys.exit(f"error: KERAS_BACKEND={BACKEND} is not supported; it can be {' or '.join(BACKENDS)}")


def be_deterministic() -> None:
    """Give the same bits for the same inputs on the same kind of machine, on a GPU too; call it first."""
    if BACKEND == "tensorflow":
        tf.config.experimental.enable_op_determinism()
    else:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()


def device() -> str:
    """The backend, its version and the processors or GPUs it computes on."""
    if BACKEND == "tensorflow":
        gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
        names = [gpu.get("device_name", "GPU") for gpu in gpus]
        version = tf.__version__
    else:
        names = [gpu.device_kind for gpu in jax.devices() if gpu.platform != "cpu"]
        version = jax.__version__
    processor = ", ".join(names) or f"{platform.machine()}, {os.cpu_count()} cores"
    return f"{BACKEND} {version}, {processor}"


def facts() -> list[str]:
    """What changes the last bits of a training on this machine: device, versions, switches, processor, threads."""
    switches = [f"{name}={os.environ.get(name)}" for name in SWITCHES]
    return [device(), *machine.versions("keras", "numpy", "scipy", "pillow"), *switches, *machine.processors()]
