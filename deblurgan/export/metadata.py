"""What an exported model says about itself.

A model is named by the hashes of the file that it was exported from, and not by a git revision: the same generator is
the same bytes in all commits, and an output of DVC depends on its inputs alone. dvc.lock holds the MD5:
`git log -S MODEL_MD5 -- dvc.lock` lists the commits that made the generator.
"""

import hashlib
from pathlib import Path

import keras

from deblurgan.files import sha256_of
from deblurgan.networks.layers import Gate
from deblurgan.networks.model_files import provenance_of
from deblurgan.restoration.neural import traits_of

FORMAT = "1"
"""Version of these names and meanings."""
LICENCE = "Apache-2.0"
"""Of weights that were trained here."""


def metadata_of(generator: keras.Model, path: Path | str) -> dict[str, str]:
    """Describe a generator.

    Parameters
    ----------
    generator
        What is exported.
    path
        The `.keras` file that it was read from.

    Returns
    -------
    dict
        All that runs the model needs to know: `layout`, `input_range`, and `stride`, `reach`, `bytes_per_pixel` and
        `padding` as of `restoration.traits.Traits`. All that tells it from others: `architecture`, `parameters`,
        `model_sha256` and `model_md5` of the file, `licence`, and the fields of its provenance, if it has one.
    """
    traits, origin = traits_of(generator), provenance_of(path)
    return {
        "format": FORMAT,
        "layout": "NHWC, RGB",
        "input_range": "-1 to 1",
        "stride": str(traits.stride),
        "reach": str(traits.reach),
        "bytes_per_pixel": f"{traits.bytes:g}",
        "padding": "black" if traits.black else "mirror",
        "architecture": architecture_of(generator),
        "parameters": str(generator.count_params()),
        "model_sha256": sha256_of(path),
        "model_md5": hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest(),
        "licence": origin.get("licence", LICENCE),
        **{f"provenance_{name}": text for name, text in sorted(origin.items())},
    }


def architecture_of(generator: keras.Model) -> str:
    """The name of its architecture, as `generator.architecture` in params.yaml has it."""
    if any(isinstance(layer, Gate) for layer in generator.layers):
        return "nafnet"
    return "unet" if any(layer.name == "body1" for layer in generator.layers) else "resnet"
