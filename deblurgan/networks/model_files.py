"""Keras model files that depend on the model alone."""

import io
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from deblurgan.errors import UserError
from deblurgan.files import new_file
from deblurgan.networks import layers  # registers the layers that a saved generator names
from deblurgan.pretrained import PRETRAINED

DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip archive can hold."""
IMAGES = (None, None, None, 3)
"""Shape of RGB images of any size."""
PROVENANCE = "provenance.json"
"""Member of the archive that says where weights come from, beside Keras's own members."""


def save_model(model: keras.Model, path: Path | str, provenance: dict[str, str] | None = None) -> None:
    """Write a `.keras` archive atomically, without the dates and memory addresses that Keras puts into it.

    Parameters
    ----------
    model
        Any model of Keras.
    path
        Where to.
    provenance
        Where its weights come from, see `provenance_of`.
    """
    with new_file(path) as partial:
        draft = partial.with_suffix(".keras")  # Keras looks at the suffix
        try:
            model.save(draft)
            _copy_normalised(draft, partial, provenance)
        finally:
            draft.unlink(missing_ok=True)


def save_half(source: Path | str, target: Path | str) -> None:
    """Copy a `.keras` archive with its weights in half precision, deflated: half its size.

    `load_generator` reads it as it reads others; its weights are `float32` then, to 11 bits exact.

    Parameters
    ----------
    source, target
        The archive, and the one to write.

    Raises
    ------
    UserError
        A weight is too large for half precision.
    """
    with new_file(target) as partial, zipfile.ZipFile(source) as old, zipfile.ZipFile(partial, "w") as new:
        for name in sorted(old.namelist()):
            data = old.read(name)
            if name.endswith(".h5"):
                data = _halved(data, source)
            new.writestr(zipfile.ZipInfo(name, DATE), data, zipfile.ZIP_DEFLATED)


def _halved(data: bytes, path: Path | str) -> bytes:
    """An HDF5 file with its arrays of `float32` as `float16`."""
    with io.BytesIO() as stream, h5py.File(io.BytesIO(data)) as old:
        with h5py.File(stream, "w", track_order=True) as new:
            _copy_halved(old, new, path)
        return stream.getvalue()


def _copy_halved(old: h5py.Group, new: h5py.Group, path: Path | str) -> None:
    new.attrs.update(old.attrs)
    for name, item in old.items():
        if isinstance(item, h5py.Group):
            _copy_halved(item, new.create_group(name), path)
        else:
            values = np.asarray(item[()])
            halved = values.astype(np.float16) if values.dtype == np.float32 else values
            if not np.isfinite(halved).all():
                raise UserError(f"{path}: a weight of {item.name} is too large for half precision")
            new[name] = halved


def _copy_normalised(source: Path, target: Path, provenance: dict[str, str] | None) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in sorted(old.namelist()):
            data = old.read(name)
            if name == "metadata.json":
                metadata = json.loads(data)
                metadata.pop("date_saved", None)
                data = json.dumps(metadata).encode()
            elif name == "config.json":
                data = json.dumps(_with_small_ids(json.loads(data), {})).encode()
            new.writestr(zipfile.ZipInfo(name, DATE), data)
        if provenance:
            new.writestr(zipfile.ZipInfo(PROVENANCE, DATE), json.dumps(provenance, indent=2))


def provenance_of(path: Path | str) -> dict[str, str]:
    """Where the weights of a model file come from, as far as it says: source, checksum, licence, authors."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(PROVENANCE)) if PROVENANCE in archive.namelist() else {}


def _with_small_ids(config: Any, seen: dict[int, int]) -> Any:
    """Number the objects that a configuration shares in the order they come; Keras writes their addresses."""
    if isinstance(config, list):
        return [_with_small_ids(part, seen) for part in config]
    if isinstance(config, dict):
        return {
            key: seen.setdefault(value, len(seen)) if key == "shared_object_id" else _with_small_ids(value, seen)
            for key, value in config.items()
        }
    return config


def load_generator(path: Path | str) -> keras.Model:
    """Read a generator.

    Raises
    ------
    UserError
        There is no such file, or it is no generator of this project.
    """
    path = Path(path)
    if path == PRETRAINED and not path.is_file():
        raise UserError(f"{path}, which comes with the repository, is missing: `git checkout {path}` brings it back")
    if not path.is_file():
        raise UserError(
            f"no model at {path}: `dvc repro train` makes models/generator.keras, `python -m deblurgan weights` lists "
            "published models"
        )
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises anything on a file that is not its own
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is not a generator saved by this project ({reason})") from None
    shapes = [getattr(model, f"{end}_shape", None) for end in ("input", "output")]  # of what was never built: none
    if shapes != [IMAGES, IMAGES]:
        raise UserError(f"{path} does not map images to images: its input is {shapes[0]}, its output {shapes[1]}")
    return model


def copy_weights(source: keras.Model, target: keras.Model, path: Path | str, grow: bool = False) -> list[str]:
    """Copy the weights of one generator into another of the same architecture.

    Parameters
    ----------
    source, target
        Generators.
    path
        What `source` is called.
    grow
        Whether `target` may have residual blocks (`resnet`, `unet`) that `source` lacks, which change nothing at first,
        and attention over other windows.

    Returns
    -------
    list of str
        Names of the residual blocks that `source` lacks.

    Raises
    ------
    UserError
        Their architectures differ otherwise; the first differing layer is named.
    """
    added = _added_blocks(source, target) if grow else []
    parts = [part for part in target.layers if not part.name.startswith(tuple(f"{block}_" for block in added))]
    pairs = list(itertools.zip_longest(_told_apart_by(source.layers), _told_apart_by(parts)))
    for theirs, ours in pairs:
        found, needed = (_described(layer, windows=not grow) for layer in (theirs, ours))
        if found != needed:
            raise UserError(
                f"{path} differs from the generator of params.yaml: it has {found}, not {needed}; name "
                "a generator of the same architecture, or null (random weights)"
            )
    for theirs, ours in pairs:
        ours.set_weights(theirs.get_weights())
    for block in added:
        last = target.get_layer(f"{block}_conv2")
        last.set_weights([np.zeros_like(weight) for weight in last.get_weights()])
    return added


def _told_apart_by(parts: list[keras.Layer]) -> list[keras.Layer]:
    """The layers that tell architectures apart: those of weights, and those that weights mean nothing without."""
    return [part for part in parts if part.weights or isinstance(part, layers.InstanceNorm | layers.MeanAround)]


def _added_blocks(source: keras.Model, target: keras.Model) -> list[str]:
    """Names of the residual blocks of `target` that `source` lacks; a block is called as the addition at its end."""
    known = {layer.name for layer in source.layers}
    ends = [layer.name for layer in target.layers if isinstance(layer, keras.layers.Add)]
    convolutions = {layer.name for layer in target.layers} - known
    return [name for name in ends if f"{name}_conv2" in convolutions]


def _described(layer: keras.Layer | None, *, windows: bool = False) -> str:
    if layer is None:
        return "no further layer"
    if windows and isinstance(layer, layers.MeanAround):
        return f"{layer.name} over {layer.window or 'all'} pixels"
    return f"{layer.name} ({', '.join('x'.join(map(str, weight.shape)) for weight in layer.weights)})"
