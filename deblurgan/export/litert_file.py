"""A generator as a LiteRT file for phones and small devices: weights in `float16`, computed in `float32`.

Sizes are set before a run, by `resize_tensor_input`.
"""

import tempfile
import warnings
from pathlib import Path

import flatbuffers
import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from deblurgan.errors import UserError
from deblurgan.restoration.exported import IMAGE

IDENTIFIER = b"TFL3"
"""Of the file format."""


class _Nearest(keras.layers.Layer):
    """`UpSampling2D(2)` by operations that LiteRT has; its own becomes one of TensorFlow, which devices lack."""

    def call(self, x):
        """Four copies of each pixel's channels, laid out as a square."""
        return tf.nn.depth_to_space(tf.concat([x] * 4, axis=-1), 2)


def _portable(generator: keras.Model) -> keras.Model:
    """The same generator, of layers that LiteRT has."""
    if not any(isinstance(layer, keras.layers.UpSampling2D) for layer in generator.layers):
        return generator

    def replaced(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.UpSampling2D):
            return _Nearest(name=layer.name)
        return type(layer).from_config(layer.get_config())

    model = keras.models.clone_model(generator, clone_function=replaced)
    model.set_weights(generator.get_weights())
    return model


def litert_bytes(generator: keras.Model, metadata: dict[str, str]) -> bytes:
    """Convert a generator to the content of a LiteRT file: the same bytes for the same generator.

    Parameters
    ----------
    generator
        See `networks.generators.build_generator`.
    metadata
        What the file says about itself: a buffer for each name, as LiteRT keeps metadata.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.tflite"
        _portable(generator).export(
            path,
            format="litert",
            verbose=False,
            input_signature=[keras.InputSpec(dtype="float32", shape=(None, None, None, 3), name=IMAGE)],
            optimizations=[tf.lite.Optimize.DEFAULT],
            target_spec={"supported_types": [tf.float16]},
        )
        return _described(path.read_bytes(), metadata)


def _described(data: bytes, metadata: dict[str, str]) -> bytes:
    """The file with its metadata, and without the converter's, which names what the machine has."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
    kept = [entry for entry in model.metadata or [] if entry.name != b"CONVERSION_METADATA"]
    for name, text in metadata.items():
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(text.encode(), np.uint8)
        entry.name, entry.buffer = name, len(model.buffers)
        model.buffers.append(buffer)
        kept.append(entry)
    model.metadata = kept
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def metadata_in(path: Path | str) -> dict[str, str]:
    """What a LiteRT file says about itself."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(Path(path).read_bytes()))
    texts = {entry.name.decode(): model.buffers[entry.buffer].data for entry in model.metadata}
    return {name: bytes(text).decode(errors="replace") for name, text in texts.items() if text is not None}


class LiteRTGenerator:
    """Restores images by a LiteRT file.

    Parameters
    ----------
    path
        A file of `litert_bytes`.
    """

    def __init__(self, path: Path | str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the class will move to a package of its own
            self._interpreter = tf.lite.Interpreter(str(path))
        (self._image,), (self._restored,) = (
            [tensor["index"] for tensor in tensors]
            for tensors in (self._interpreter.get_input_details(), self._interpreter.get_output_details())
        )

    def run(self, image: np.ndarray) -> np.ndarray:
        """Restore one image, `float32` of shape (H, W, 3) in [-1, 1].

        Raises
        ------
        UserError
            LiteRT cannot run the model.
        """
        self._interpreter.resize_tensor_input(self._image, (1, *image.shape))
        try:
            self._interpreter.allocate_tensors()
            self._interpreter.set_tensor(self._image, image[None])
            self._interpreter.invoke()
        except RuntimeError as error:
            raise UserError(f"LiteRT cannot run the generator: {str(error).splitlines()[0]}") from None
        return self._interpreter.get_tensor(self._restored)[0]
