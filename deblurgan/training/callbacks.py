"""Callbacks: progress, curves and sample pictures; and a stop when a training diverges."""

import math
import time
from pathlib import Path

import keras
import numpy as np
from dvclive import Live
from tensorboardX import SummaryWriter
from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.files import write_json
from deblurgan.pictures import captioned, side_by_side, stacked
from deblurgan.training.checkpoints import Logs


class Progress(keras.callbacks.Callback):
    """One bar for the whole training, with the time that is left and the losses.

    Parameters
    ----------
    steps, done
        Generator steps in all, and before this run.
    """

    SHOWN = ("loss", "d_wasserstein", "val_psnr")

    def __init__(self, steps: int, done: int) -> None:
        super().__init__()
        self.bar = tqdm(total=steps, initial=done, desc="train", unit="step")
        self.steps, self.started, self.ended = 0, time.perf_counter(), 0.0

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Move the bar."""
        if not self.steps:
            self.started = time.perf_counter()  # the first step is compiled
        self.steps += 1
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Show the losses."""
        self.ended = time.perf_counter()
        self.bar.set_postfix({name: f"{logs[name]:.3g}" for name in self.SHOWN if logs and name in logs})

    def write(self, path: Path, device: str) -> None:
        """Write and print how fast it went, for this run; the first step, which is compiled, is left out."""
        self.bar.close()
        if self.steps > 1:
            seconds = self.ended - self.started
            speed = {"steps_per_second": (self.steps - 1) / seconds, "seconds": seconds, "device": device}
            write_json(path, speed)
            print(f"{speed['steps_per_second']:.2f} steps/s, {seconds:.0f} s, {device}")


class Curves(keras.callbacks.Callback):
    """Log the means of each epoch with DVCLive, training and validation apart, by generator step.

    Parameters
    ----------
    live
        Empty.
    steps_per_epoch
        Generator steps.
    history
        What earlier runs of this training logged, an entry for each epoch.
    board
        Where TensorBoard shall find the same curves, if anywhere.
    """

    def __init__(self, live: Live, steps_per_epoch: int, history: list[Logs], board: Path | None = None) -> None:
        super().__init__()
        self.live, self.steps_per_epoch = live, steps_per_epoch
        self.board = SummaryWriter(str(board), flush_secs=1) if board else None
        for epoch, logs in enumerate(history):
            self._log(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Log."""
        self._log(epoch, logs or {})

    def _log(self, epoch: int, logs: Logs) -> None:
        self.live.step = (epoch + 1) * self.steps_per_epoch
        for name, value in sorted(logs.items()):
            part, short = ("val", name[4:]) if name.startswith("val_") else ("train", name)
            self.live.log_metric(f"{part}/{short}", value, plot=True)
            if self.board:
                self.board.add_scalar(f"{part}/{short}", value, self.live.step)
        self.live.make_summary()


REMEDY = "lower train.learning_rate or train.lambda_adversarial, raise train.lambda_penalty, or set train.clip_norm"


class Diverged(UserError):
    """A training that will not recover."""


def psnr_of_each(images: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """PSNR of `uint8` images of shape (N, H, W, 3) in dB, as validation measures it."""
    errors = [np.mean(np.square(one.astype(np.float32) - other)) for one, other in zip(images, sharp, strict=True)]
    return 10 * np.log10(255**2 / np.maximum(errors, 1e-10))


def mean_psnr(images: np.ndarray, sharp: np.ndarray) -> float:
    """Mean of `psnr_of_each`, dB."""
    return float(psnr_of_each(images, sharp).mean())


class Divergence(keras.callbacks.Callback):
    """Stop with one line at a value that is not finite, and where restored images fall far below their blurred input.

    Losses are looked at after each step, a few crops after each `EVERY` steps, the validation after each epoch. Far is
    `FAR` dB below the PSNR of the blurred images, or below `CLEAR` where they have more. A training that has been
    nearer than `NEAR` dB to this PSNR stops at a validation so low, or where the crops are so low `IN_A_ROW` times: for
    a moment, training against a critic may be. A training that begins so low, from random weights, stops when it has
    not risen by `RISE` dB in `PATIENCE` validations or `LOOKS` looks at the crops.

    Parameters
    ----------
    steps_per_epoch
        Generator steps.
    input_psnr
        Of the blurred validation crops, dB.
    history
        What earlier runs of this training logged, an entry for each epoch.
    crops
        A few of the validation crops, blurred and sharp, `uint8` of shape (N, H, W, 3), to look at between validations;
        None: it waits for the validations.
    """

    FAR, CLEAR, NEAR = 10.0, 30.0, 5.0
    PATIENCE, LOOKS, RISE = 5, 50, 1.0
    EVERY, IN_A_ROW = 100, 3

    def __init__(
        self,
        steps_per_epoch: int,
        input_psnr: float,
        history: list[Logs],
        crops: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        super().__init__()
        self.steps_per_epoch, self.input_psnr, self.crops = steps_per_epoch, input_psnr, crops
        self.crops_psnr = mean_psnr(*crops) if crops else math.nan
        self.lowest = min(input_psnr, self.CLEAR) - self.FAR
        self.validated = [self._above(logs["val_psnr"], input_psnr) for logs in history]
        self.looks: list[float] = []
        self.before = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Count the steps."""
        self.before = epoch * self.steps_per_epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Look at the losses, and now and then at the crops, but where a validation follows."""
        step = self.before + batch + 1
        self._refuse_infinite(step, logs or {})
        if self.crops and step % self.EVERY == 0 and batch + 1 < self.steps_per_epoch:
            self._look(step, *self.crops)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the validation."""
        step = (epoch + 1) * self.steps_per_epoch
        self._refuse_infinite(step, logs or {})
        found = (logs or {})["val_psnr"]
        self.validated.append(self._above(found, self.input_psnr))
        if self._fallen(1, self.validated) or self._stays_low(self.PATIENCE, self.validated):
            raise self._diverged("validation is", found, step, "its blurred input", self.input_psnr)

    def _look(self, step: int, blur: np.ndarray, sharp: np.ndarray) -> None:
        """Restore the crops, by the averaged generator as a validation does."""
        found = mean_psnr(self.model.restored(blur), sharp)
        self.looks.append(self._above(found, self.crops_psnr))
        if self._fallen(self.IN_A_ROW, self.looks) or self._stays_low(self.LOOKS, self.looks):
            raise self._diverged(
                f"{len(blur)} validation crops are", found, step, "their blurred input", self.crops_psnr
            )

    def _above(self, found: float, input_psnr: float) -> float:
        """How far a PSNR is above the input's, dB."""
        return found - min(input_psnr, self.CLEAR)

    def _fallen(self, last: int, found: list[float]) -> bool:
        """Whether the last values are far below the input, and any before them, also of the other kind, was near."""
        near = max([*self.validated, *self.looks]) > -self.NEAR
        return near and len(found) >= last and max(found[-last:]) < -self.FAR

    def _stays_low(self, patience: int, found: list[float]) -> bool:
        """Whether the last value is far below the input, and none of so many was higher than the one before them."""
        recent = found[-patience - 1 :]
        return found[-1] < -self.FAR and len(recent) > patience and max(recent) < recent[0] + self.RISE

    @staticmethod
    def _diverged(what: str, found: float, step: int, before: str, input_psnr: float) -> Diverged:
        return Diverged(
            f"training diverged: {what} at {found:.1f} dB after step {step}, {before} at {input_psnr:.1f} dB; {REMEDY}"
        )

    @staticmethod
    def _refuse_infinite(step: int, logs: Logs) -> None:
        for name, value in sorted(logs.items()):
            if not math.isfinite(value):
                raise Diverged(f"training diverged: {name} = {value} by step {step}; {REMEDY}")


class Samples(keras.callbacks.Callback):
    """Draw the same validation crops at chosen steps: blurred, restored, sharp, with their PSNR.

    Parameters
    ----------
    live
        Takes the pictures, `step_000500.png` and so on.
    restored
        What earlier runs of this training restored, by step; grows.
    blur, sharp
        Crops, `uint8` of shape (N, H, W, 3).
    at
        Numbers of finished generator steps.
    done
        Generator steps before this run.
    """

    def __init__(
        self, live: Live, restored: dict[int, np.ndarray], blur: np.ndarray, sharp: np.ndarray, at: set[int], done: int
    ) -> None:
        super().__init__()
        self.live, self.restored, self.blur, self.sharp, self.at, self.step = live, restored, blur, sharp, at, done
        for step in sorted(restored):
            self._draw(step)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Restore at step 0."""
        if self.step == 0:
            self._restore()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Restore at the chosen steps."""
        self.step += 1
        self._restore()

    def _restore(self) -> None:
        if self.step in self.at:
            self.restored[self.step] = self.model.restored(self.blur)
            self._draw(self.step)

    def _draw(self, step: int) -> None:
        picture = sample_picture(step, self.blur, self.restored[step], self.sharp)
        self.live.log_image(f"step_{step:06d}.png", picture)


def sample_picture(step: int, blur: np.ndarray, restored: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """Rows of a blurred, a restored and a sharp image, with captions.

    Parameters
    ----------
    step
        How many generator steps had been made.
    blur, restored, sharp
        `uint8` of one shape (N, H, W, 3).
    """
    rows = []
    before, after = psnr_of_each(blur, sharp), psnr_of_each(restored, sharp)
    for i in range(len(blur)):
        captions = {f"input {before[i]:.2f} dB": blur, f"result {after[i]:.2f} dB": restored, "sharp": sharp}
        rows.append(side_by_side([captioned(images[i], text) for text, images in captions.items()]))
    return captioned(stacked(rows), f"after step {step}")
