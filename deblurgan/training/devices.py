"""Trainings on several devices, and on several hosts."""

import atexit
import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator

from deblurgan import backend  # before anything that imports Keras

# isort: split

import keras
import numpy as np

from deblurgan.errors import UserError

PLACES = ("KERAS_DISTRIBUTION_JOB_ADDRESSES", "KERAS_DISTRIBUTION_PROCESS_ID")
"""Environment variables of Keras: where the first host is, and which of the hosts this one is."""


@dataclasses.dataclass(frozen=True)
class Share:
    """Which part of each batch is this host's: `devices` compute together, on all hosts."""

    host: int = 0
    hosts: int = 1
    devices: int = 1

    def go_on(self, variables: list[keras.Variable], kept: list[np.ndarray], done: int) -> int:
        """Set variables of all hosts to values of the first host's checkpoint, if it has one.

        Hosts assign together or not at all: on JAX each waits until the others do.

        Parameters
        ----------
        variables
            The state of the training, or a part of it.
        kept, done
            Values of a checkpoint and the number of its epochs, or [] and 0. Only the first host's count.

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
    """Train on all GPUs, or on as many as divide a batch evenly: build models inside.

    Call it before anything is computed: hosts that train together find each other here.

    TensorFlow uses `MirroredStrategy`, JAX uses `keras.distribution.DataParallel`. To use fewer GPUs, hide the others
    (`CUDA_VISIBLE_DEVICES`). The last bits of a result depend on the number of devices. On TensorFlow, dropout leaves
    out the same places in the parts of all devices.

    Raises
    ------
    UserError
        Several hosts on TensorFlow, hosts that do not find each other, a batch that they cannot share, or another host
        that stopped meanwhile.
    """
    if backend.BACKEND == "tensorflow":
        found, share = _tensorflow_devices(), Share()
    else:
        found, share = _jax_devices()
    devices = _dividing(batch_size, found, share.hosts)
    with _spread_over(devices), _stopping_together(share):
        yield dataclasses.replace(share, devices=len(devices))


@contextlib.contextmanager
def _stopping_together(share: Share) -> Iterator[None]:
    """Let a host that fails end at once, so that the others learn of it: JAX would have it wait for them.

    What the others meet, in the middle of a computation, is no fault of theirs.
    """
    try:
        yield
    except BaseException as error:
        if share.hosts > 1:
            atexit.register(_end_at_once)  # before what JAX has registered
            # Gloo, by which CPUs exchange values, raises a ValueError
            if isinstance(error, backend.jax.errors.JaxRuntimeError) or "Gloo" in str(error):
                what = str(error).partition("\n")[0]
                raise UserError(
                    f"host {share.host} of {share.hosts} cannot go on: {what}; if another host stopped, it says why; "
                    "start all of them again, and they go on from the last checkpoint"
                ) from None
        raise


def _end_at_once() -> None:
    """Leave without a word to other hosts; the reason has been printed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Build or run models for this host alone; of models that hosts share, all of them assign values together."""
    shared = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)


def _tensorflow_devices() -> list[str]:
    """Names of this machine's GPUs, or of its CPU where it has none."""
    if os.environ.get(backend.HOSTS):
        raise UserError(f"{backend.HOSTS} is set, but several hosts train together on JAX only: set KERAS_BACKEND=jax")
    gpus, cpus = (backend.tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    return [device.name for device in gpus or cpus]


def _jax_devices() -> tuple[list[str], Share]:
    """Names of the devices of all hosts, GPUs where there are any; and which of the hosts this one is."""
    if os.environ.get(backend.HOSTS):
        try:
            keras.distribution.initialize()  # waits for all hosts
        except (ValueError, TypeError, RuntimeError) as error:
            names = ", ".join((backend.HOSTS, *PLACES))
            raise UserError(f"hosts do not find each other, see {names}: {' '.join(str(error).split())}") from None
    return keras.distribution.list_devices(), Share(backend.jax.process_index(), backend.jax.process_count())


def _dividing(batch_size: int, found: list[str], hosts: int) -> list[str]:
    """As many of the devices as can take equal parts of a batch; on several hosts that must be all of them."""
    count = max(n for n in range(1, len(found) + 1) if batch_size % n == 0)
    if count < len(found) and hosts > 1:  # hosts compute every step together: none can go without a device
        raise UserError(f"train.batch_size = {batch_size} must be a multiple of the {len(found)} devices of all hosts")
    if count < len(found):
        print(f"train.batch_size = {batch_size} can use {count} of {len(found)} devices")
    return found[:count]


@contextlib.contextmanager
def _spread_over(devices: list[str]) -> Iterator[None]:
    """Have models that are built inside compute on several devices; one device needs nothing."""
    if len(devices) == 1:
        yield
    elif backend.BACKEND == "tensorflow":
        with backend.tf.distribute.MirroredStrategy(devices).scope():
            yield
    else:
        # each host cuts its own part of a batch, see `CropSequence`: Keras must not cut it again
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False))
        try:
            yield
        finally:
            keras.distribution.set_distribution(None)
