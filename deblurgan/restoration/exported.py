"""Deblurring by an exported generator: ONNX Runtime computes it, and neither TensorFlow nor Keras is imported."""

import functools
from pathlib import Path

import numpy as np

from deblurgan.errors import UserError
from deblurgan.files import sha256_of
from deblurgan.parallel import usable_cores
from deblurgan.restoration import tiles
from deblurgan.restoration.explosions import Guard
from deblurgan.restoration.traits import Traits, guarded, method_of

SUFFIX = ".onnx"
IMAGE, RESTORED = "blurred", "restored"
"""Names of the network's input and output, `float32` of shape (N, H, W, 3) in [-1, 1]."""
LEAST_WINDOW = "least_window"
"""Name of the input that says how long the windows of local attention are at least, pixels; it has a default."""
WHOLE = 2**30
"""Such a window takes all of any image."""
OUT_OF_MEMORY = ("allocate memory", "bad_alloc")
"""Words of its errors where the memory does not suffice."""
QUIET = 3
"""Severity of ONNX Runtime's messages that are shown: errors."""


class ExportedGenerator:
    """A generator that `export` has written.

    Parameters
    ----------
    path
        An ONNX file with the metadata of `export.metadata`.
    threads
        How many compute one image; all usable cores by default.

    Attributes
    ----------
    metadata
        What the file says about itself.
    traits
        What it asks of images.

    Raises
    ------
    UserError
        There is no such file, or it is no generator that this project has exported.
    """

    def __init__(self, path: Path | str, threads: int | None = None) -> None:
        try:
            import onnxruntime  # here: who deblurs by an algorithm needs none
        except ImportError as error:
            raise UserError(f"{path} needs ONNX Runtime ({error}): pip install -r requirements.txt") from None
        if not Path(path).is_file():
            raise UserError(f"no model at {path}: `python -m deblurgan export` makes one from a .keras file")
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = QUIET
        settings.intra_op_num_threads = threads or usable_cores()
        settings.inter_op_num_threads = 1
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others want the cores, too
        settings.enable_mem_pattern = False  # a plan of its memory for each new size of images
        try:
            self._session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # of ONNX Runtime, of many kinds
            raise UserError(f"{path} is no ONNX file that can be run ({' '.join(str(error).split())[:200]})") from None
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        try:
            self.traits = Traits(
                stride=int(self.metadata["stride"]),
                reach=int(self.metadata["reach"]),
                bytes=float(self.metadata["bytes_per_pixel"]),
                black={"mirror": False, "black": True}[self.metadata["padding"]],
            )
        except (KeyError, ValueError):
            raise UserError(f"{path} was not exported by this project: it does not say its stride and reach") from None
        self._local = LEAST_WINDOW in [value.name for value in self._session.get_overridable_initializers()]
        self._shrinking = onnxruntime.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._shape: tuple[int, ...] | None = None

    def run(self, image: np.ndarray, least_window: int | None = None) -> np.ndarray:
        """Restore one image, `float32` of shape (H, W, 3) in [-1, 1], H and W multiples of the stride."""
        if image.shape != self._shape:
            self._give_memory_back()
            self._shape = image.shape
        inputs = {IMAGE: np.ascontiguousarray(image[None])}
        if least_window is not None:
            inputs[LEAST_WINDOW] = np.array(least_window, np.int32)
        try:
            return self._session.run([RESTORED], inputs)[0][0]
        except Exception as error:  # ONNX Runtime has no type of its own for it
            if any(words in str(error) for words in OUT_OF_MEMORY):
                raise MemoryError from None
            raise

    def _give_memory_back(self) -> None:
        """Let ONNX Runtime free what it keeps for images of the last size: those of the next would come on top.

        It does so after a run alone; the smallest image takes no time.
        """
        if self._shape is not None:
            smallest = np.zeros((1, 2 * self.traits.stride, 2 * self.traits.stride, 3), np.float32)
            self._session.run([RESTORED], {IMAGE: smallest}, self._shrinking)

    def with_global_means(self) -> tiles.Restore | None:
        """Restoring with global attention where the generator has local one; None for others."""
        return functools.partial(self.run, least_window=WHOLE) if self._local else None

    def restoring(
        self, *, few_sizes: bool = True, ensemble: bool = False, restrained: bool = True
    ) -> tuple[tiles.Method, Guard]:
        """How photos are restored by it: the same sizes, tiles and guard as by `neural.restoring`."""
        method = method_of(self.run, self.traits, few_sizes=few_sizes)
        return guarded(method, self.with_global_means(), ensemble=ensemble, restrained=restrained)


def export_of(model: Path) -> ExportedGenerator | None:
    """The exported generator beside a `.keras` file, if it was made from that very file.

    Parameters
    ----------
    model
        The `.keras` file. Where it is missing, the exported one stands for itself.
    """
    path = model.with_suffix(SUFFIX)
    if not path.is_file():
        return None
    found = ExportedGenerator(path)
    return found if not model.is_file() or found.metadata.get("model_sha256") == sha256_of(model) else None
