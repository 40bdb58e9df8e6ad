"""Import Keras and its backend without their start-up notes; a stage with networks imports this first."""

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deblurgan.errors import UserError


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


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is first imported

BACKENDS = ("tensorflow", "jax")
HOSTS = "KERAS_DISTRIBUTION_NUM_PROCESSES"
"""Environment variable of Keras: how many processes train together."""
PLACES = ("KERAS_DISTRIBUTION_JOB_ADDRESSES", "KERAS_DISTRIBUTION_PROCESS_ID")
"""Where the first of them is, and which of them this one is."""
SWITCHES = ("TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS", "NVIDIA_TF32_OVERRIDE", HOSTS)
"""Environment variables that change what a backend computes."""

try:
    with held_back_stderr():  # a machine without a GPU is told so six times
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


@dataclasses.dataclass(frozen=True)
class Share:
    """Which part of each batch is this host's: `devices` compute together, on all hosts."""

    host: int = 0
    hosts: int = 1
    devices: int = 1

    def go_on(self, variables: list[keras.Variable], kept: list[np.ndarray], done: int) -> int:
        """Set the variables, on all hosts, to what the first one has kept, if anything.

        Hosts assign together or not at all: on JAX each waits until the others do.

        Parameters
        ----------
        variables
            The state of the training.
        kept, done
            Values of a checkpoint and the number of its epochs, or [] and 0; those of the first host count.

        Returns
        -------
        int
            How many epochs are done.
        """
        if self.hosts > 1:
            from jax.experimental.multihost_utils import broadcast_one_to_all

            done = int(broadcast_one_to_all(np.int32(done)))
            if done:
                own = kept or [np.zeros(variable.shape, variable.dtype) for variable in variables]
                kept = [broadcast_one_to_all(value) for value in own]
        for variable, value in zip(variables, kept, strict=bool(kept)):
            variable.assign(value)
        return done


@contextlib.contextmanager
def all_devices(batch_size: int) -> Iterator[Share]:
    """Spread the batches of models that are built inside over all GPUs, or as many as divide a batch evenly.

    Nothing must have been computed before: several hosts that train together meet here.

    On TensorFlow by `MirroredStrategy`, on JAX by `keras.distribution.DataParallel`. To use fewer, hide the others
    (`CUDA_VISIBLE_DEVICES`). Two devices that share a batch end with other last bits than one. Dropout, on TensorFlow,
    leaves out the same places in the parts of all devices.

    Raises
    ------
    UserError
        Several hosts on TensorFlow, hosts that do not find each other, or a batch that they cannot share.
    """
    if BACKEND == "tensorflow":
        if os.environ.get(HOSTS):
            raise UserError(f"{HOSTS} is set, but several hosts train together on JAX only: set KERAS_BACKEND=jax")
        found = [device.name for kind in ("GPU", "CPU") for device in tf.config.list_logical_devices(kind)]
        found = [name for name in found if "GPU" in name] or found
        share = Share()
    else:
        if os.environ.get(HOSTS):
            try:
                keras.distribution.initialize()  # waits for all of them
            except (ValueError, TypeError, RuntimeError) as error:
                names = ", ".join((HOSTS, *PLACES))
                raise UserError(f"hosts do not find each other, see {names}: {' '.join(str(error).split())}") from None
        found = keras.distribution.list_devices()
        share = Share(jax.process_index(), jax.process_count())
    count = max(n for n in range(1, len(found) + 1) if batch_size % n == 0)
    if count < len(found) and share.hosts > 1:
        raise UserError(f"train.batch_size = {batch_size} must be a multiple of the {len(found)} devices of all hosts")
    share = dataclasses.replace(share, devices=count)
    if count < len(found):
        print(f"train.batch_size = {batch_size} can use {count} of {len(found)} devices")
    if count > 1 and BACKEND == "tensorflow":
        with tf.distribute.MirroredStrategy(found[:count]).scope():
            yield share
    elif count > 1:
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=found[:count], auto_shard_dataset=False)
        )
        try:
            yield share
        finally:
            keras.distribution.set_distribution(None)
    else:
        yield share


def device() -> str:
    """What computes: the backend, its version and the processor."""
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
    """All of this machine that changes the last bits of a training: device, versions, switches, processor, threads."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("keras", "numpy", "scipy", "pillow")]
    switches = [f"{name}={os.environ.get(name)}" for name in SWITCHES]
    cpu = Path("/proc/cpuinfo")
    return [device(), *versions, *switches, *(processors(cpu.read_text()) if cpu.exists() else [platform.processor()])]


def processors(cpuinfo: str) -> list[str]:
    """Models and vector instructions in the words of /proc/cpuinfo; its other flags change with the kernel."""
    kinds = set()
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.startswith("model"):
            kinds.add(line)
        elif name.startswith(("flags", "Features")):
            kinds.add(" ".join(sorted(re.findall(r"\b(?:avx|sse|fma|f16c|amx|asimd|sve|sme|fp|bf16)\w*", value))))
    return sorted(kinds)
