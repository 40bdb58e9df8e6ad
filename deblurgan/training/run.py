"""A training from its first step, or from its last checkpoint, to the files that it leaves."""

from deblurgan import backend  # before anything that imports Keras

# isort: split

import inspect
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
from dvclive import Live

from deblurgan.errors import UserError
from deblurgan.files import home_expanded, new_file, sha256_of, write_json
from deblurgan.memory import free_memory
from deblurgan.networks.generators import build_generator
from deblurgan.networks.model_files import load_generator, save_model
from deblurgan.params import Generator, Params
from deblurgan.sampling import evenly_spaced
from deblurgan.training import devices
from deblurgan.training.batches import CropSequence, centre_crops
from deblurgan.training.callbacks import Curves, Diverged, Divergence, Progress, Samples, mean_psnr
from deblurgan.training.checkpoints import Checkpoint, fingerprint, last_checkpoint, meaning_of, scratch
from deblurgan.training.frames import Images, frames_of, keep_in_memory, load_pairs, loader_threads
from deblurgan.training.gan import DeblurGAN, build
from deblurgan.training.revisions import find_model

SAMPLE_ROWS = 4
"""Rows of a sample picture, and crops that are looked at between validations."""
TENSORBOARD = "DEBLURGAN_TENSORBOARD"
"""Environment variable: the folder where TensorBoard looks for trainings."""
COMPUTING = (
    "blur.convolution", "blur.frame_averaging", "blur.kinds", "blur.layered", "blur.trajectory", "images",
    "networks.building", "networks.critic", "networks.generators", "networks.layers", "networks.vgg19",
    "networks.winograd", "training.augmentation", "training.batches", "training.gan", "training.losses",
    "training.optimizers", f"training.step_{backend.BACKEND}", "vgg19_weights",
)  # fmt: skip
"""Modules of the library whose change makes another training; without a change of the others it goes on."""
LAST_GOOD = "last_good.keras"


@dataclass(frozen=True)
class Outputs:
    """Where a training writes: the generator, its scores, its curves and sample pictures (a folder), its speed."""

    model: Path
    metrics: Path
    curves: Path
    speed: Path


def training_name(
    p: Params, pairs: list[Images], val: list[Images], start: Path | None, *, anywhere: bool = False
) -> str:
    """Name this training by a hash of its data, its parameters and the code that computes it.

    With `train.deterministic` also of this machine: a training that went on elsewhere would end with other bytes.
    `anywhere` leaves the machine out.
    """
    t = p.train
    code = {name: meaning_of(Path(inspect.getfile(sys.modules[f"deblurgan.{name}"]))) for name in COMPUTING}
    weights = home_expanded(t.vgg_weights) if t.vgg_weights and t.lambda_content else None
    with ThreadPoolExecutor() as pool:
        frames = frames_of([*pairs, *val])
        files_of = (frame.path for frame in frames if frame.path)
        digests = dict(zip(frames, pool.map(sha256_of, files_of), strict=True))
    data = [[half and digests[half] for pair in split for half in (pair.blur, pair.sharp)] for split in (pairs, val)]
    files = [path and sha256_of(path) for path in (start, weights)]
    recipe = [p.generator.model_dump(), p.critic.model_dump(), t.model_dump(exclude={"init_from", "vgg_weights"})]
    if t.mild or any(pair.blur is None for pair in pairs):
        recipe.append(p.synthesize.model_dump(exclude={"pairs_per_photo", "frames_per_pair"}))
    return fingerprint([p.seed, recipe, code, data, files, backend.facts() if t.deterministic and not anywhere else []])


def kept_generator(model: DeblurGAN, recipe: Generator, folder: Path, lowest: float) -> str:
    """Save the generator of the last checkpoint, if it is above a PSNR, and say how to go on from it."""
    kept = last_checkpoint(folder, model.state)
    if not kept.history or kept.history[-1]["val_psnr"] < lowest:
        return ""
    with devices.alone():
        generator = build_generator(recipe)
        for variable, value in zip(generator.variables, model.averaged_among(kept.values), strict=True):
            variable.assign(value)
        save_model(generator, folder / LAST_GOOD)
    step, psnr = len(kept.history) * model.settings.validate_every, kept.history[-1]["val_psnr"]
    return f"; train.init_from={folder / LAST_GOOD} begins with the generator after step {step} ({psnr:.1f} dB)"


def save_generator(model: DeblurGAN, path: Path) -> None:
    """Write the averaged generator."""
    model.averaged.trainable = True  # for whoever trains it further
    save_model(model.averaged, path)


def train(p: Params, share: devices.Share, data: Path, outputs: Outputs) -> None:
    """Train, or go on with the training of these parameters; hosts but the first only help, and write nothing.

    Parameters
    ----------
    p
        All parameters.
    share
        Which part of each batch is this host's.
    data
        Folder with the pairs of `train` and `val`.
    outputs
        Where to write.

    Raises
    ------
    UserError
        The data, the weights to start from or the memory do not suffice, or the training diverges.
    """
    t = p.train
    # images to memory first: what then is too large fails before minutes of building and compiling
    pairs = load_pairs(data, "train", t.crop, fresh=t.fresh_blur)
    val = load_pairs(data, "val", t.crop)
    print(f"train: {len(pairs)} pairs, val: {len(val)}; {t.steps} steps of {t.batch_size} crops {t.crop}x{t.crop}")
    if t.steps:
        keep_in_memory(pairs, len(val), t.crop, free_memory())
    start = find_model(t.init_from, outputs.model) if t.init_from else None
    model = build(p.generator, p.critic, t, p.seed, load_generator(start) if start else None)
    print(f"generator: {model.generator.count_params():,} parameters, on {backend.device()}")
    validation = centre_crops(val, t.crop, share.devices)  # (N, crop, crop, 3) twice, N a multiple of the devices
    if not t.steps:
        assert start is not None  # as the parameters were checked
        if share.hosts > 1:
            raise UserError("train.steps: 0 trains nothing: run it in one process")
        _measure(model, start, outputs, validation, len(val))
        return

    def fit(epoch: int, callbacks: list[keras.callbacks.Callback]) -> None:
        """Make the steps after an epoch; an epoch goes from one validation to the next."""
        first = epoch * t.validate_every
        if first < t.steps:
            crops = CropSequence(pairs, t, p.seed, p.synthesize, first, share.host, share.hosts, loader_threads())
            _fit(model, crops, tuple(crops.part_of(images) for images in validation), epoch, callbacks)

    if share.host:  # not the first: it takes the state from the first host's checkpoint
        fit(share.go_on(model.state, [], 0), [])
        if t.keep == "best":
            share.go_on(model.averaged.weights, [], 0)  # hosts assign together
        return
    name = training_name(p, pairs, val, start)
    with scratch(name) as folder, Live(str(outputs.curves), dvcyaml=None, report=None, save_dvc_exp=False) as live:
        kept = last_checkpoint(folder, model.state)
        share.go_on(model.state, kept.values, len(kept.history))
        done = len(kept.history) * t.validate_every
        if done:
            print(f"going on after step {done} of {t.steps}")
        blur, sharp = (images[: len(val)] for images in validation)  # without those that fill the devices
        progress = Progress(t.steps, done)
        some = evenly_spaced(range(len(val)), SAMPLE_ROWS)
        divergence = Divergence(t.validate_every, mean_psnr(blur, sharp), kept.history, (blur[some], sharp[some]))
        watching = [
            divergence,  # first, so that a training that diverged leaves no checkpoint
            Curves(live, t.validate_every, kept.history, _board(name)),
            Samples(live, kept.restored, blur[some], sharp[some], {round(m * t.steps) for m in t.sample_at}, done),
            Checkpoint(folder, kept),  # after all that adds to `kept`
            progress,
        ]
        try:
            fit(len(kept.history), watching)
        except Diverged as error:
            raise UserError(f"{error}{kept_generator(model, p.generator, folder, divergence.lowest)}") from None
        logs = kept.best_logs if t.keep == "best" else kept.history[-1]
        if t.keep == "best":
            share.go_on(model.averaged.weights, kept.best, len(kept.history))
        save_generator(model, outputs.model)
        write_json(outputs.metrics, {"steps": t.steps, **dict(sorted(logs.items()))})
        progress.write(outputs.speed, backend.device())
    (outputs.curves / "metrics.json").unlink()  # DVCLive's summary, which the metrics repeat


def _measure(model: DeblurGAN, start: Path, outputs: Outputs, validation: tuple, count: int) -> None:
    """Keep the given generator as it is, file and all, and validate it; `count`: of crops that fill no devices."""
    found = model.evaluate(*validation, batch_size=model.settings.batch_size, return_dict=True, verbose=0)
    blur, sharp = (images[:count] for images in validation)
    logs = {f"val_{name}": float(value) for name, value in sorted(found.items())}
    with Live(str(outputs.curves), dvcyaml=None, report=None, save_dvc_exp=False) as live:
        Curves(live, 0, [logs])
        some = evenly_spaced(range(count), SAMPLE_ROWS)
        samples = Samples(live, {}, blur[some], sharp[some], {0}, 0)
        samples.set_model(model)
        samples.on_train_begin()
    with new_file(outputs.model) as partial:
        shutil.copyfile(start, partial)
    write_json(outputs.metrics, {"steps": 0, **logs})
    outputs.speed.unlink(missing_ok=True)  # of another training
    (outputs.curves / "metrics.json").unlink()


def _fit(model: DeblurGAN, crops: CropSequence, validation: tuple, epoch: int, callbacks: list) -> None:
    """Make all steps of a sequence."""
    t = crops.settings
    try:
        model.fit(
            crops,
            initial_epoch=epoch,
            epochs=t.steps // t.validate_every,
            steps_per_epoch=t.validate_every,
            shuffle=False,
            validation_data=validation,
            validation_batch_size=t.batch_size // crops.parts,
            callbacks=callbacks,
            verbose=0,
        )
    except Exception:
        if isinstance(crops.error, UserError):  # TensorFlow wraps the error into one of its own
            raise crops.error from None
        raise


def _board(name: str) -> Path | None:
    """Where TensorBoard shall find the curves of a training."""
    folder = os.environ.get(TENSORBOARD)
    return home_expanded(folder) / name if folder else None
