"""A published checkpoint to a generator of this project, with the proof that it is one."""

from dataclasses import dataclass
from itertools import groupby

import keras
import numpy as np

from deblurgan.errors import UserError
from deblurgan.networks.generators import build_generator
from deblurgan.published.architectures import Plan, Tensors, plan_of
from deblurgan.published.definitions import defined

TOLERANCE = 1e-4
"""Largest difference from the definition, of the scale of images."""
PROOF_SIZE = (48, 64)
"""Height and width of the image that a conversion is tried with."""


@dataclass(frozen=True)
class Converted:
    """A generator, where it comes from, and by how much it differs from its definition at most."""

    generator: keras.Model
    plan: Plan
    error: float


def converted(tensors: Tensors) -> Converted:
    """Build the generator that a checkpoint's tensors are of, and prove it.

    Every tensor is used once. On a fixed image the generator gives what the architecture's definition in NumPy gives,
    computed from the tensors as they are in the file. It does not prove that the weights are good ones.

    Raises
    ------
    UserError
        The tensors are of another architecture, not finite, or the proof fails; the text does not name the file.
    """
    plan = plan_of(tensors)
    for part in plan.parts:
        if not np.isfinite(tensors[part.key]).all():
            raise UserError(f"{part.key} holds values that are not finite")
    generator = build_generator(plan.settings)
    by_layer = groupby(sorted(plan.parts, key=lambda part: part.layer), key=lambda part: part.layer)
    unset = {layer.name for layer in generator.layers if layer.weights}
    for name, parts in by_layer:
        generator.get_layer(name).set_weights([part.placed(tensors[part.key]) for part in parts])
        unset.remove(name)
    if unset:
        raise AssertionError(f"layers without weights: {unset}")
    return Converted(generator, plan, proved(generator, plan, tensors))


def proved(generator: keras.Model, plan: Plan, tensors: Tensors) -> float:
    """Compare a generator with the definition of its architecture.

    Returns
    -------
    float
        The largest difference on a fixed image, in its scale [-1, 1], or of the output's where that is larger.

    Raises
    ------
    UserError
        It is above `TOLERANCE`.
    """
    image = proof_image()
    wanted = defined(plan.settings, tensors, image)
    with keras.device("cpu"):  # GPUs round products to 10 bits (TF32)
        found = keras.ops.convert_to_numpy(unclipped(generator)(image[None])[0])
    scale = max(1.0, float(np.abs(wanted).max()))
    error = float(np.abs(found - wanted).max()) / scale
    if not error <= TOLERANCE:
        raise UserError(f"the converted network differs by {error:.1e} from {plan.name}'s definition")
    return error


def unclipped(generator: keras.Model) -> keras.Model:
    """The generator without the last step, which clips results to [-1, 1]."""
    blurred, residual = generator.get_layer("restored").input
    return keras.Model(blurred, keras.layers.Add()([blurred, residual]))


def proof_image() -> np.ndarray:
    """Waves, an edge and a line: `float32` of shape (*PROOF_SIZE, 3) in [-1, 1]."""
    y, x = np.mgrid[: PROOF_SIZE[0], : PROOF_SIZE[1]]
    image = 0.6 * np.stack([np.sin(x / 7 + y / 11), np.cos(y / 5), np.sin(x * y / 97)], axis=-1)
    image[:, 40:] += 0.3
    image[20] = -0.9
    return image.astype(np.float32)
