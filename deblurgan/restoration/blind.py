"""Photos restored by blind deconvolution where one blur explains them; the others by a network, or not at all."""

import contextlib
import functools
import io
import sys
from collections.abc import Callable

import numpy as np
from PIL import Image
from tqdm import tqdm

from deblurgan.blur.contact_sheet import kernel_sheet
from deblurgan.restoration import deconvolution, kernel_selection
from deblurgan.restoration.kernel_estimation import delta, radius
from deblurgan.restoration.photo_files import Photo
from deblurgan.restoration.restorer import DELAY, Look, Restorer

ZOOM = 8
"""Side of a kernel's pixel in its picture, pixels."""


class Bar(tqdm):
    """A bar that shows how far the estimation of a blur is, and the time left, where it takes long."""

    def __init__(self) -> None:
        layout = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
        super().__init__(desc="blur", total=1.0, bar_format=layout, leave=False, delay=DELAY, file=sys.stderr)

    def told(self, words: str, share: float) -> None:
        """Show what is done, and the share of it."""
        self.set_description_str(f"blur, {words}", refresh=False)
        self.update(share - self.n)


class BlindRestorer(Restorer):
    """Deblurs photos by `kernel_selection.estimate_blur`; each photo has a kernel of its own.

    Parameters
    ----------
    side
        Of the kernel, pixels, odd; None: chosen from the photo.
    network
        Builds what restores photos that no single blur explains; None: these stay as they are.
    options
        `tile`, `memory` and `strength` as of `Restorer`.
    """

    def __init__(self, side: int | None = None, network: Callable[[], Restorer] | None = None, **options) -> None:
        largest = delta(side or max(kernel_selection.SIDES))
        self.largest = deconvolution.method(largest, 1.0, in_light=True)  # as a camera's blur
        super().__init__(self.largest, **options)
        self.side, self.network = side, functools.cache(network) if network else None
        self.chosen: Restorer | None = None

    def check(self, size: tuple[int, int]) -> None:
        """Refuse a photo that cannot be restored within the memory if its blur is the widest that is looked for."""
        self.method = self.largest  # instead of that of the photo before
        super().check(size)

    def look(self, photo: Photo) -> Look:
        """Estimate the blur of a photo, and choose what restores it."""
        with contextlib.nullcontext() if self.told else Bar() as bar:
            told = bar.told if bar else self.told
            found = kernel_selection.estimate_blur(photo.colours, in_light=True, side=self.side, told=told)
        drawn = picture(found.kernel)
        self.chosen = self.network() if found.doubt and self.network else None
        if self.chosen:
            self.chosen.check(photo.colours.shape[:2])
            return Look(False, f"by the network: {found.doubt}", drawn)
        if found.doubt:
            return Look(True, f"left as it is: {found.doubt}; --algorithm deblurgan may do more", drawn)
        self.method = found.method(in_light=True)
        return Look(False, f"one blur of {radius(found.kernel):.1f} pixels RMS explains it: undone blindly", drawn)

    def restored(self, photo: Photo) -> Photo:
        """Deblur the photo that was looked at."""
        if not self.chosen:
            return super().restored(photo)
        self.chosen.strength, self.chosen.watched = self.strength, self.watched
        return self.chosen.restored(photo)

    def left_out(self) -> str:
        """What the network has to say, if it was used."""
        return self.chosen.left_out() if self.chosen else ""


def picture(kernel: np.ndarray) -> bytes:
    """Draw a kernel, as a PNG."""
    stream = io.BytesIO()
    Image.fromarray(kernel_sheet([kernel], columns=1, zoom=ZOOM)).save(stream, format="PNG")
    return stream.getvalue()
