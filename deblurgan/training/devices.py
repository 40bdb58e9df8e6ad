"""Trainings on several devices, and on several hosts."""

import contextlib
import dataclasses
import os
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
    if backend.BACKEND == "tensorflow":
        if os.environ.get(backend.HOSTS):
            raise UserError(
                f"{backend.HOSTS} is set, but several hosts train together on JAX only: set KERAS_BACKEND=jax"
            )
        found = [device.name for kind in ("GPU", "CPU") for device in backend.tf.config.list_logical_devices(kind)]
        found = [name for name in found if "GPU" in name] or found
        share = Share()
    else:
        if os.environ.get(backend.HOSTS):
            try:
                keras.distribution.initialize()  # waits for all of them
            except (ValueError, TypeError, RuntimeError) as error:
                names = ", ".join((backend.HOSTS, *PLACES))
                raise UserError(f"hosts do not find each other, see {names}: {' '.join(str(error).split())}") from None
        found = keras.distribution.list_devices()
        share = Share(backend.jax.process_index(), backend.jax.process_count())
    count = max(n for n in range(1, len(found) + 1) if batch_size % n == 0)
    if count < len(found) and share.hosts > 1:
        raise UserError(f"train.batch_size = {batch_size} must be a multiple of the {len(found)} devices of all hosts")
    share = dataclasses.replace(share, devices=count)
    if count < len(found):
        print(f"train.batch_size = {batch_size} can use {count} of {len(found)} devices")
    if count > 1 and backend.BACKEND == "tensorflow":
        with backend.tf.distribute.MirroredStrategy(found[:count]).scope():
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
