"""`python -m deblurgan export`: any generator as a file for other runtimes."""

import argparse
from pathlib import Path

import numpy as np

from deblurgan.errors import UserError
from deblurgan.files import new_file
from deblurgan.restoration.options import MODEL

PROOF = (128, 192)
"""Height and width of the image by which an exported model is compared with Keras."""


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deblurgan export",
        description="Write a generator as an ONNX file, for runtimes that need no TensorFlow, beside it. The file is "
        "compared with Keras before it is kept.",
        epilog="An exported model is used by `python -m deblurgan deblur --model MODEL.onnx ...`.",
    )
    parser.add_argument(
        "model", nargs="?", type=Path, default=MODEL, metavar="MODEL.keras", help="the generator (default: %(default)s)"
    )
    parser.add_argument("--litert", action="store_true", help="also as a LiteRT file (.tflite), for phones")
    return parser.parse_args(arguments)


def proof_image() -> np.ndarray:
    """Smooth shapes and noise, `float32` of shape (H, W, 3) in [-1, 1]."""
    y, x = np.mgrid[: PROOF[0], : PROOF[1]] / 20
    smooth = np.stack([np.sin(x + y), np.cos(x - 2 * y), np.sin(3 * x) * np.cos(y)], axis=-1)
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, smooth.shape)
    return (0.7 * smooth + noise).astype(np.float32)


def main(arguments: list[str]) -> None:
    """Export a generator."""
    options = read_options(arguments)
    model: Path = options.model
    if model.suffix != ".keras":
        raise UserError(f"{model} is no .keras file: name the generator to export")
    from deblurgan.export import on_cpu  # noqa: F401  isort: skip  before anything that imports Keras

    from deblurgan.export.checking import refuse_differing
    from deblurgan.export.litert_file import litert_bytes
    from deblurgan.export.metadata import metadata_of
    from deblurgan.export.onnx_file import onnx_bytes
    from deblurgan.networks.model_files import load_generator
    from deblurgan.restoration.exported import ExportedGenerator
    from deblurgan.restoration.neural import running

    generator = load_generator(model)
    metadata = metadata_of(generator, model)
    path, image = model.with_suffix(".onnx"), proof_image()
    with new_file(path) as partial:
        partial.write_bytes(onnx_bytes(generator, metadata))
        apart = float(np.abs(ExportedGenerator(partial).run(image) - running(generator)(image)).max())
        refuse_differing(path, apart)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {apart:.0e} from Keras at most")
    if options.litert:
        path = model.with_suffix(".tflite")
        with new_file(path) as partial:
            partial.write_bytes(litert_bytes(generator, metadata))
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
