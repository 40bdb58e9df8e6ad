"""Export the generator for other runtimes: models/generator.onnx and models/generator.tflite."""

from deblurgan.export import on_cpu  # noqa: F401  before anything that imports Keras

# isort: split

from deblurgan import backend

# isort: split

from pathlib import Path

from deblurgan.errors import reported
from deblurgan.export.checking import checked
from deblurgan.export.litert_file import litert_bytes
from deblurgan.export.metadata import metadata_of
from deblurgan.export.onnx_file import onnx_bytes
from deblurgan.files import new_file, remove_partials, require, write_json
from deblurgan.layout import find_pairs
from deblurgan.networks.model_files import load_generator

DATA = Path("data/resized/test")
MODEL = Path("models/generator.keras")
ONNX = Path("models/generator.onnx")
LITERT = Path("models/generator.tflite")
METRICS = Path("metrics/export.json")


def main() -> None:
    """Run the stage."""
    require(DATA, MODEL)
    remove_partials(MODEL.parent)  # which a killed training or export left
    pairs = list(find_pairs(DATA))
    if not pairs:
        print(f"export: note: no pair in {DATA}: the files are compared with Keras on an image of shapes and noise")
    backend.be_deterministic()
    generator = load_generator(MODEL)
    metadata = metadata_of(generator, MODEL)
    with new_file(ONNX) as onnx, new_file(LITERT) as litert:  # what is not as good as Keras is not kept
        onnx.write_bytes(onnx_bytes(generator, metadata))
        litert.write_bytes(litert_bytes(generator, metadata))
        found = checked(generator, onnx, litert, (ONNX, LITERT), pairs)
    write_json(METRICS, found)
    for name, path in (("onnx", ONNX), ("litert", LITERT)):
        part = found[name]
        said = f"{path}: {part['megabytes']:.1f} MB, {part['largest_difference']:.1e} from Keras at most"
        print(said + (f", PSNR {part['psnr']:.2f} dB (Keras: {found['keras']['psnr']:.2f})" if pairs else ""))


if __name__ == "__main__":
    with reported("export"):
        main()
