"""The published architectures: which tensor of a checkpoint is which weight of which layer.

NAFNet: Chen et al., "Simple Baselines for Image Restoration", ECCV 2022, as `basicsr/models/archs/NAFNet_arch.py` of
its authors' code names its parts. DeblurGAN: Kupyn et al., CVPR 2018, `models/networks.py`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from deblurgan.errors import UserError
from deblurgan.networks.generators import LEVELS, numbered
from deblurgan.params import Generator

Tensors = dict[str, np.ndarray]
Shape = tuple[int, ...]

STATISTICS = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")
"""Of instance norms, which newer versions of PyTorch save and DeblurGAN does not use."""
NAMED = 3
"""Of keys that are missing or left over, how many are named."""


@dataclass(frozen=True)
class Part:
    """A tensor of a checkpoint, and where it goes.

    Attributes
    ----------
    key
        Its name in the checkpoint.
    shape
        Which it must have.
    layer
        Of the generator; a layer takes its tensors in the order of parts.
    placed
        From the checkpoint's order of axes to ours.
    """

    key: str
    shape: Shape
    layer: str
    placed: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Plan:
    """How a checkpoint becomes a generator: its architecture, and all its parts."""

    name: str
    settings: Generator
    parts: tuple[Part, ...]


def plan_of(tensors: Tensors) -> Plan:
    """Find out which network the tensors are of; width and blocks show in their names and shapes.

    Raises
    ------
    UserError
        They are of another architecture, or a tensor is missing, left over or of another shape; the text names it, not
        the file.
    """
    for mark, make in (("intro.weight", _nafnet), ("model.1.weight", _deblurgan)):
        if mark in tensors and tensors[mark].ndim == 4 and len(tensors[mark]):
            plan = make(tensors, len(tensors[mark]))
            _check(plan, tensors)
            return plan
    first = ", ".join(list(tensors)[:NAMED])
    raise UserError(f"neither NAFNet (intro.weight) nor DeblurGAN (model.1.weight): it begins with {first[:120]}")


def _check(plan: Plan, tensors: Tensors) -> None:
    """Compare names and shapes with the architecture's."""
    wanted = {part.key: part.shape for part in plan.parts}
    missing = [key for key in wanted if key not in tensors]
    over = [key for key in tensors if key not in wanted and not _ignored(plan, key)]
    for keys, what in ((missing, "missing"), (over, "left over")):
        if keys:
            more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
            named = ", ".join(key[:80] for key in keys[:NAMED])
            raise UserError(f"not a {plan.name} as published: {named}{more} {'is' if len(keys) == 1 else 'are'} {what}")
    for key, shape in wanted.items():
        if tensors[key].shape != shape:
            found, needed = ("x".join(map(str, sides)) for sides in (tensors[key].shape, shape))
            raise UserError(f"not a {plan.name} as published: {key} is {found}, not {needed}")


def ignored(plan: Plan, tensors: Tensors) -> list[str]:
    """Names of tensors that the architecture does not use."""
    return [key for key in tensors if _ignored(plan, key)]


def _ignored(plan: Plan, key: str) -> bool:
    return plan.settings.architecture == "resnet" and STATISTICS.search(key) is not None


def _kernel(tensor: np.ndarray) -> np.ndarray:
    """(out, in, h, w) to (h, w, in, out); of a transposed convolution (in, out, h, w) to (h, w, out, in)."""
    return tensor.transpose(2, 3, 1, 0)


def _depthwise(tensor: np.ndarray) -> np.ndarray:
    """(c, 1, h, w) to (h, w, c, 1)."""
    return tensor.transpose(2, 3, 0, 1)


def _shuffled(tensor: np.ndarray) -> np.ndarray:
    """A 1x1 kernel whose outputs are shuffled: theirs in the order channel, dy, dx, ours dy, dx, channel."""
    outputs = np.arange(len(tensor)).reshape(-1, 4).T.ravel()
    return _kernel(tensor[outputs])


def _flat(tensor: np.ndarray) -> np.ndarray:
    return tensor.ravel()


def _conv(key: str, layer: str, shape: Shape, placed: Callable = _kernel, outputs: int = 0) -> Iterator[Part]:
    """Kernel and bias; the kernel's first axis is its outputs where no number of them is given."""
    yield Part(f"{key}.weight", shape, layer, placed)
    yield Part(f"{key}.bias", (outputs or shape[0],), layer, _flat)


def _count(tensors: Tensors, prefix: str) -> int:
    """How many blocks there are below a name, by the numbers that follow it."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return len({found[1] for key in tensors if (found := pattern.match(key))})


def _nafnet(tensors: Tensors, width: int) -> Plan:
    levels = range(LEVELS)
    down, up = ([_count(tensors, f"{name}.{i}") for i in levels] for name in ("encoders", "decoders"))
    blocks = tuple(max(count, 1) for count in (*down, _count(tensors, "middle_blks"), *up))
    settings = Generator(
        architecture="nafnet", filters=width, blocks=blocks, attention="local", norm="layer", upsample="shuffle",
        dropout=0.0, identity_start=False,
    )  # fmt: skip
    return Plan("NAFNet", settings, tuple(_nafnet_parts(width, blocks)))


def _nafnet_parts(width: int, blocks: tuple[int, ...]) -> Iterator[Part]:
    yield from _conv("intro", "stem", (width, 3, 3, 3))
    yield from _conv("ending", "head", (3, width, 3, 3))
    for level in range(LEVELS):
        c = width << level
        for i in range(blocks[level]):
            yield from _naf_block(f"encoders.{level}.{i}", f"encoder{level + 1}_{i + 1}", c)
        yield from _conv(f"downs.{level}", f"down{level + 1}", (2 * c, c, 2, 2))
        theirs = LEVELS - 1 - level  # they count from the bottom
        yield Part(f"ups.{theirs}.0.weight", (4 * c, 2 * c, 1, 1), f"up{level + 1}_conv", _shuffled)
        for i, name in enumerate(numbered(f"decoder{level + 1}", blocks[LEVELS + 1 + theirs])):
            yield from _naf_block(f"decoders.{theirs}.{i}", name, c)
    for i, name in enumerate(numbered("middle", blocks[LEVELS])):
        yield from _naf_block(f"middle_blks.{i}", name, width << LEVELS)


def _naf_block(key: str, layer: str, c: int) -> Iterator[Part]:
    """A block of `c` channels."""
    for i, scale in ((1, "beta"), (2, "gamma")):
        yield Part(f"{key}.{scale}", (1, c, 1, 1), f"{layer}_scale{i}", _flat)
        yield Part(f"{key}.norm{i}.weight", (c,), f"{layer}_norm{i}", _flat)
        yield Part(f"{key}.norm{i}.bias", (c,), f"{layer}_norm{i}", _flat)
    yield from _conv(f"{key}.conv1", f"{layer}_conv1", (2 * c, c, 1, 1))
    yield from _conv(f"{key}.conv2", f"{layer}_depthwise", (2 * c, 1, 3, 3), _depthwise)
    yield from _conv(f"{key}.sca.1", f"{layer}_attention", (c, c, 1, 1))
    yield from _conv(f"{key}.conv3", f"{layer}_conv2", (c, c, 1, 1))
    yield from _conv(f"{key}.conv4", f"{layer}_conv3", (2 * c, c, 1, 1))
    yield from _conv(f"{key}.conv5", f"{layer}_conv4", (c, c, 1, 1))


def _deblurgan(tensors: Tensors, width: int) -> Plan:
    numbers = {found[1] for key in tensors if (found := re.match(r"model\.(\d+)\.conv_block\.", key))}
    blocks = max(len(numbers), 1)
    dropout = any(re.match(r"model\.\d+\.conv_block\.6\.", key) for key in tensors)  # it takes a number of its own
    settings = Generator(
        architecture="resnet", filters=width, blocks=blocks, attention="none", norm="instance", upsample="transpose",
        dropout=0.5 if dropout else 0.0, identity_start=False,
    )  # fmt: skip
    return Plan("DeblurGAN", settings, tuple(_deblurgan_parts(width, blocks, 6 if dropout else 5)))


def _deblurgan_parts(width: int, blocks: int, second: int) -> Iterator[Part]:
    """Parts by their number in the list of modules; `second`: that of a block's second convolution in its own list."""
    yield from _conv("model.1", "stem", (width, 3, 7, 7))
    yield from _conv("model.4", "down1", (2 * width, width, 3, 3))
    yield from _conv("model.7", "down2", (4 * width, 2 * width, 3, 3))
    for i in range(blocks):
        for number, name in ((1, "conv1"), (second, "conv2")):
            key = f"model.{10 + i}.conv_block.{number}"
            yield from _conv(key, f"block{i + 1}_{name}", (4 * width, 4 * width, 3, 3))
    after = 10 + blocks
    yield from _conv(f"model.{after}", "up1", (4 * width, 2 * width, 3, 3), outputs=2 * width)
    yield from _conv(f"model.{after + 3}", "up2", (2 * width, width, 3, 3), outputs=width)
    yield from _conv(f"model.{after + 7}", "head", (3, width, 7, 7))
