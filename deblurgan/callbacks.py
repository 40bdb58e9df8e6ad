"""What a person watches while training: progress, curves, sample pictures, and a stop when it goes wrong."""

import math
import time
from pathlib import Path

import keras
import numpy as np
from dvclive import Live
from PIL import Image
from tensorboardX import SummaryWriter
from tqdm import tqdm

from deblurgan.checkpoints import Logs
from deblurgan.errors import UserError
from deblurgan.figures import side_by_side, stacked
from deblurgan.files import new_file, write_json


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
        """Log, and stop with one line at a loss or gradient that is not finite."""
        step = (epoch + 1) * self.steps_per_epoch
        for name, value in sorted((logs or {}).items()):
            if not math.isfinite(value):
                raise UserError(
                    f"training diverged: {name} = {value} by step {step}; lower train.learning_rate or "
                    "train.lambda_adversarial, raise train.lambda_penalty, or set train.clip_norm"
                )
        self._log(epoch, logs or {})

    def _log(self, epoch: int, logs: Logs) -> None:
        self.live.step = (epoch + 1) * self.steps_per_epoch
        for name, value in sorted(logs.items()):
            part, short = ("val", name[4:]) if name.startswith("val_") else ("train", name)
            self.live.log_metric(f"{part}/{short}", value, plot=True)
            if self.board:
                self.board.add_scalar(f"{part}/{short}", value, self.live.step)
        self.live.make_summary()


class Samples(keras.callbacks.Callback):
    """Draw the same validation crops at chosen steps: blurred, restored, sharp.

    Parameters
    ----------
    live
        Takes the pictures, `step_000500.png` and so on.
    folder
        Keeps them, for a run that goes on with this training.
    blur, sharp
        Crops, `uint8` of shape (N, H, W, 3).
    at
        Numbers of finished generator steps.
    done
        Generator steps before this run.
    """

    def __init__(self, live: Live, folder: Path, blur: np.ndarray, sharp: np.ndarray, at: set[int], done: int) -> None:
        super().__init__()
        self.live, self.folder, self.blur, self.sharp, self.at, self.step = live, folder, blur, sharp, at, done
        for step in sorted(step for step in at if step <= done and done):
            self._show(step)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Draw step 0."""
        if self.step == 0:
            self._draw()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Draw the chosen steps."""
        self.step += 1
        self._draw()

    def _draw(self) -> None:
        if self.step in self.at:
            restored = self.model.restored(self.blur)
            rows = zip(self.blur, restored, self.sharp, strict=True)
            picture = stacked([side_by_side(list(row)) for row in rows])
            with new_file(self._path(self.step)) as partial:
                Image.fromarray(picture).save(partial, format="PNG")
            self._show(self.step)

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:06d}.png"

    def _show(self, step: int) -> None:
        self.live.log_image(self._path(step).name, self._path(step))
