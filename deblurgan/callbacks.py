"""What a person watches while training: curves, sample pictures, and a stop when it goes wrong."""

import math

import keras
import numpy as np
from dvclive import Live

from deblurgan.errors import UserError
from deblurgan.figures import side_by_side, stacked
from deblurgan.images import to_uint8


class Curves(keras.callbacks.Callback):
    """Log the means of each epoch with DVCLive, training and validation apart, by generator step."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self.live = live

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Log, and stop with one line at a loss that is not finite."""
        self.live.step = int(self.model.generator_optimizer.iterations)
        for name, value in sorted((logs or {}).items()):
            if not math.isfinite(value):
                raise UserError(
                    f"training diverged: {name} = {value} by step {self.live.step}; lower train.learning_rate or "
                    "train.lambda_adversarial, or raise train.lambda_penalty"
                )
            part, short = ("val", name[4:]) if name.startswith("val_") else ("train", name)
            self.live.log_metric(f"{part}/{short}", value, plot=True)
        self.live.make_summary()


class Samples(keras.callbacks.Callback):
    """Draw the same validation crops at chosen steps: blurred, restored, sharp.

    Parameters
    ----------
    live
        Takes the pictures, `samples/step_000500.png` and so on.
    blur, sharp
        Crops (N, H, W, 3) in [-1, 1].
    at
        Numbers of finished generator steps.
    """

    def __init__(self, live: Live, blur: np.ndarray, sharp: np.ndarray, at: set[int]) -> None:
        super().__init__()
        self.live, self.blur, self.sharp, self.at = live, blur, sharp, at

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Draw step 0."""
        self._draw(0)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Draw the chosen steps."""
        self._draw(int(self.model.generator_optimizer.iterations))

    def _draw(self, step: int) -> None:
        if step in self.at:
            restored = self.model.averaged.predict_on_batch(self.blur)
            rows = zip(self.blur, restored, self.sharp, strict=True)
            picture = stacked([side_by_side([to_uint8(image) for image in row]) for row in rows])
            self.live.log_image(f"step_{step:06d}.png", picture)
