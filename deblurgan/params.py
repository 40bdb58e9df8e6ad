"""Every parameter of the pipeline, typed and checked: the only reader of params.yaml."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from deblurgan.errors import UserError
from deblurgan.yaml_files import read_yaml


def _two_ends(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) != 2:
        raise ValueError("must be [lowest, highest]")
    return value


def _in_order(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("must be [lowest, highest]")
    return value


Positive = Annotated[int, Field(ge=1)]
Portion = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Floats = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(strict=False, min_length=1)]
Length = Annotated[float, Field(gt=0, le=1000)]
Ends = (Field(strict=False), BeforeValidator(_two_ends), AfterValidator(_in_order))
Lengths = Annotated[tuple[Length, Length], *Ends]
Portions = Annotated[tuple[Portion, Portion], *Ends]
Texts = Annotated[tuple[str, ...], Field(strict=False)]
Blocks = Annotated[tuple[Positive, ...], Field(strict=False)]


class Section(BaseModel):
    """A part of params.yaml: exact keys, exact types, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Split(Section):
    """Which photos and scenes are kept from training."""

    val_fraction: Portion
    test_fraction: Portion
    val_scenes: Texts

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Self:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("val_fraction + test_fraction must stay below 1, or nothing is left to train on")
        return self


class FetchUnsplash(Section):
    """Where sharp and blurred photos come from: bundled, api, lite, none, or a folder."""

    source: Annotated[str, Field(min_length=1)]
    lite: str | None
    sharp_queries: Texts
    blurred_queries: Texts
    photos_per_query: Positive
    width: Annotated[int, Field(ge=64)]

    @model_validator(mode="after")
    def _knows_where_lite_is(self) -> Self:
        if self.source == "lite" and not self.lite:
            raise ValueError("source: lite needs lite: the path of the data set's folder, or a table of it")
        return self


class BundledCamera(Section):
    """The simulated 240 fps camera of the bundled scenes."""

    pairs: Positive
    width: Annotated[int, Field(ge=32)]
    height: Annotated[int, Field(ge=32)]
    speed: Annotated[float, Field(gt=0, le=100)]
    rotation: Weight


TAKEN = {"unsplash": "the photos", "test": "all data sets together in the scores"}
"""Names that a data set may not have."""


class IngestGopro(Section):
    """Where pairs come from."""

    source: Annotated[str, Field(min_length=1)]
    dataset: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    blur: Literal["blur", "blur_gamma"]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    bundled: BundledCamera

    @model_validator(mode="after")
    def _does_not_take_a_name(self) -> Self:
        if self.dataset in TAKEN:
            raise ValueError(f"dataset: {self.dataset} is the name of {TAKEN[self.dataset]}; choose another")
        return self


class Clean(Section):
    """Which photos are rejected, and how the others are filtered."""

    min_side: Annotated[int, Field(ge=16)]
    max_pixels: Positive
    near_duplicate: Annotated[int, Field(ge=0, le=64)] | None
    denoise: Literal["none", "median", "gaussian"]
    equalize: bool
    posterize: Annotated[int, Field(ge=1, le=8)] | None


class Synthesize(Section):
    """Pairs from photos without a blurred partner, and from high-speed video."""

    pairs_per_photo: Positive
    length: Lengths
    shake: Floats
    exposure: Floats
    noise: Annotated[float, Field(ge=0, le=255)]
    frames_per_pair: Positive
    in_light: bool
    layered: Portion
    defocus: Portion

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if max(self.shake) > 1:
            raise ValueError("shake holds scales of tremor, at most 1 (DeblurGAN: 0.003 to 0.01)")
        if max(self.exposure) > 1:
            raise ValueError("exposure holds fractions of the trajectory, at most 1")
        if self.layered + self.defocus > 1:
            raise ValueError("layered + defocus are shares of all pairs: at most 1 together")
        if self.frames_per_pair % 2 == 0:
            raise ValueError("frames_per_pair must be odd: the middle frame is the sharp one")
        return self


class Resize(Section):
    """The size that networks see."""

    mode: Literal["none", "fit", "pad", "crop", "stretch", "tile"]
    filter: Literal["lanczos", "bicubic"]
    width: Annotated[int, Field(ge=16)]
    height: Annotated[int, Field(ge=16)]


PLACES = {"resnet": (1, 0), "nafnet": (9, 3), "unet": (7, 3)}
"""Of an architecture: where it has residual blocks, levels down, bottom and levels up; and which of them takes a number
that stands alone, the others having one block each."""


class Generator(Section):
    """Architecture of the generator."""

    architecture: Literal["resnet", "nafnet", "unet"]
    filters: Positive
    blocks: Positive | Blocks
    attention: Literal["none", "global", "local"]
    norm: Literal["instance", "layer", "none"]
    upsample: Literal["transpose", "resize", "shuffle"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    identity_start: bool

    @field_validator("blocks", mode="before")
    @classmethod
    def _counts_blocks(cls, value: Any) -> Any:
        numbers = value if isinstance(value, list | tuple) and value else [value]
        if not all(type(number) is int and number > 0 for number in numbers):
            raise ValueError(f"{value!r} is neither a positive number nor a list of them")
        return value

    @property
    def blocks_by_place(self) -> tuple[int, ...]:
        """Numbers of residual blocks, in the order of their places (`PLACES`)."""
        if not isinstance(self.blocks, int):
            return self.blocks
        places, deep = PLACES[self.architecture]
        return tuple(self.blocks if place == deep else 1 for place in range(places))

    @model_validator(mode="after")
    def _suits_the_architecture(self) -> Self:
        if self.architecture != "nafnet" and self.attention != "none":
            raise ValueError(f"attention is for architecture: nafnet, not {self.architecture}")
        places, _ = PLACES[self.architecture]
        if len(self.blocks_by_place) != places:
            wanted = f"a list of {places}" if places > 1 else "one number, not a list"
            raise ValueError(f"blocks of {self.architecture} are {wanted}: {self.blocks}")
        return self


class Critic(Section):
    """Architecture of the critic."""

    filters: Positive
    layers: Annotated[int, Field(ge=1, le=6)]
    norm: Literal["instance", "none"]
    conditional: bool


class Train(Section):
    """The recipe."""

    steps: Annotated[int, Field(ge=0)]
    batch_size: Positive
    crop: Annotated[int, Field(ge=16, multiple_of=4)]
    flip: bool
    flip_vertical: bool
    rotate: bool
    photo_share: Portion
    fresh_blur: bool
    fresh_scale: Portions
    mild: Portion
    shallow_focus: Portion
    jpeg: Portion
    zoom: Annotated[float, Field(ge=1, le=4)]
    critic_steps: Positive
    lambda_adversarial: Weight
    lambda_penalty: Weight
    lambda_content: Weight
    lambda_pixel: Weight
    lambda_frequency: Weight
    pixel: Literal["l1", "charbonnier", "psnr"]
    vgg_weights: str | None
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    warmup: Portion
    decay_from: Portion
    beta_1: Annotated[float, Field(ge=0, lt=1)]
    beta_2: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    ema: Annotated[float, Field(ge=0, lt=1)]
    keep: Literal["best", "last"]
    validate_every: Positive
    sample_at: Annotated[tuple[Portion, ...], Field(strict=False, min_length=1)]
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"]
    jit: bool
    winograd: bool
    init_from: str | None
    init_share: Annotated[float, Field(ge=0, lt=1)]
    deterministic: bool

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not (self.lambda_adversarial or self.lambda_content or self.lambda_pixel or self.lambda_frequency):
            raise ValueError("the weights of all losses (lambda_...) are 0: nothing to learn from")
        if self.warmup > self.decay_from:
            raise ValueError(f"warmup ({self.warmup}) must not end after decay_from ({self.decay_from})")
        if self.steps == 0 and not self.init_from:
            raise ValueError("steps: 0 trains nothing: it needs init_from, the generator that is to be measured")
        if self.steps % self.validate_every:
            raise ValueError(f"steps ({self.steps}) must be a multiple of validate_every ({self.validate_every})")
        return self


class Evaluate(Section):
    """What the evaluation measures and shows."""

    ensemble: bool
    panels: Annotated[int, Field(ge=0)]
    baselines: Annotated[tuple[Literal["unsharp", "wiener", "richardson-lucy", "blind"], ...], Field(strict=False)]
    blind_images: Positive
    vgg_weights: str | None


class Params(Section):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    split: Split
    fetch_unsplash: FetchUnsplash
    ingest_gopro: IngestGopro
    clean: Clean
    synthesize: Synthesize
    resize: Resize
    generator: Generator
    critic: Critic
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _crops_fit_the_generator(self) -> Self:
        step = {"resnet": 4, "unet": 8, "nafnet": 16}[self.generator.architecture]
        if self.train.crop % step:
            kind = self.generator.architecture
            raise ValueError(f"train.crop = {self.train.crop}: must be a multiple of {step} for a {kind}")
        return self


def check(values: dict[str, Any], where: str) -> Params:
    """Check a whole set of parameters.

    Parameters
    ----------
    values
        The content of params.yaml, all sections present.
    where
        What to call it in an error.

    Raises
    ------
    UserError
        One line that names each wrong key, its value and what is allowed.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_explain(values, problem) for problem in error.errors())
        raise UserError(f"{where}: {problems}") from None


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check params.yaml (see `check`).

    Examples
    --------
    >>> p = load("params.yaml")
    >>> p.train.steps >= p.train.validate_every
    True
    """
    return check(read_yaml(path), str(path))


def _explain(values: dict[str, Any], problem: Any) -> str:
    """One validation problem in words: key, value, what is wrong."""
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "value_error":
        return f"{key}: {problem['ctx']['error']}".removeprefix(": ")
    *parents, last = problem["loc"]
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] == "extra_forbidden":
        known = _keys(parents)
        near = difflib.get_close_matches(str(last), known, n=1)
        return f"{key} is unknown" + (f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(known)})")
    message = problem["msg"].replace("tuple", "list")
    shown = problem["input"]
    return f"{key} = {shown!r}: {message[0].lower()}{message[1:]}"


def _keys(parents: list[Any]) -> list[str]:
    """The keys that params.yaml knows at a place."""
    section: Any = Params
    for name in parents:
        section = section.model_fields[name].annotation
    return list(section.model_fields)
