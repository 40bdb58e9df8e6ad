"""`python -m deblurgan export`: any generator as a file for other runtimes."""

import argparse
from pathlib import Path

import numpy as np

from deblurgan.errors import UserError
from deblurgan.files import new_file
from deblurgan.restoration.options import MODEL


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


def main(arguments: list[str]) -> None:
    """Export a generator."""
    options = read_options(arguments)
    model: Path = options.model
    if model.suffix != ".keras":
        raise UserError(f"{model} is no .keras file: name the generator to export")
    from deblurgan.export import on_cpu  # noqa: F401  isort: skip  before anything that imports Keras

    from deblurgan.export.checking import check_litert, proof_image, refuse_differing
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
            check_litert(generator, partial, path)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
