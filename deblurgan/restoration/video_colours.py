"""Colours of a clip's frames: to RGB and back, upright.

The numbers of the code points below are those of ITU-T H.273.
"""

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation

from deblurgan.errors import UserError

SAME, BT709, UNSPECIFIED, BT601 = 0, 1, 2, 5
MATRICES = {SAME, BT709, UNSPECIFIED, 4, BT601, 6, 7, 9}
"""Matrix coefficients that can be converted; among the others are YCgCo and ICtCp."""
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
LIMITED, FULL = ColorRange.MPEG, ColorRange.JPEG


@dataclass(frozen=True)
class FrameFormat:
    """How a clip's frames are stored and shown, taken from its first one.

    Attributes
    ----------
    width, height
        Of the stored frame.
    ten_bit
        Whether it has more than 8 bits a channel.
    matrix, full
        Luma and chroma from RGB: matrix coefficients, and whether they take the full range.
    tags
        What the written clip says: names of a codec context's attributes and code points. What the source leaves
        open stays open.
    turn
        The frame as it is shown: whether rows become columns first, then the step (1 or -1) through rows and columns.
    """

    width: int
    height: int
    ten_bit: bool
    matrix: int
    full: bool
    tags: dict[str, int]
    turn: tuple[bool, int, int]

    @classmethod
    def of(cls, frame: av.VideoFrame) -> "FrameFormat":
        """Read it off a frame.

        Raises
        ------
        UserError
            Its colours cannot be converted.
        """
        if frame.colorspace not in MATRICES:
            raise UserError(f"its colours (matrix coefficients {frame.colorspace} of ITU-T H.273) cannot be converted")
        tags = {"color_primaries": frame.color_primaries, "color_trc": frame.color_trc}
        if frame.format.is_rgb or frame.format.has_palette:
            matrix, tags = BT709, {**tags, "colorspace": BT709, "color_range": LIMITED}
        else:
            matrix, tags = frame.colorspace, {**tags, "colorspace": frame.colorspace, "color_range": frame.color_range}
            if matrix in (SAME, UNSPECIFIED):  # players guess, too
                matrix = BT709 if frame.height > 576 or frame.width >= 1280 else BT601
                tags["colorspace"] = UNSPECIFIED
            elif matrix == 6:  # 5 under another name
                matrix = BT601
        return cls(
            frame.width,
            frame.height,
            max(part.bits for part in frame.format.components) > 8,
            matrix,
            tags["color_range"] == FULL,
            tags,
            turn_of(frame),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown."""
        return (self.height, self.width) if self.turn[0] else (self.width, self.height)

    @property
    def pixel_format(self) -> str:
        """What to encode. Chroma is stored at half the size, which takes even sides."""
        even = self.width % 2 == self.height % 2 == 0
        return ("yuv420p" if even else "yuv444p") + ("10le" if self.ten_bit else "")

    def colours(self, frame: av.VideoFrame) -> np.ndarray:
        """The upright frame as `float32` of shape (H, W, 3) in [-1, 1], gamma and primaries untouched."""
        mixed = not (frame.format.is_rgb or frame.format.has_palette)
        stored = frame.reformat(
            self.width,  # frames of another size may follow
            self.height,
            "rgb48le" if self.ten_bit else "rgb24",
            src_colorspace=self.matrix if mixed else None,
            src_color_range=(FULL if self.full else LIMITED) if mixed else None,
            dst_color_range=FULL,
            interpolation=EXACT,
        ).to_ndarray()
        swap, down, across = self.turn
        shown = (stored.swapaxes(0, 1) if swap else stored)[::down, ::across]
        return np.ascontiguousarray(shown, np.float32) / np.float32(np.iinfo(stored.dtype).max / 2) - np.float32(1)

    def frame(self, colours: np.ndarray) -> av.VideoFrame:
        """A frame to encode, of `float32` of shape (H, W, 3) in [-1, 1]; values beyond are clipped."""
        kind, name = (np.uint16, "rgb48le") if self.ten_bit else (np.uint8, "rgb24")
        half = np.iinfo(kind).max / 2
        stored = np.clip(np.rint((np.asarray(colours, np.float32) + 1) * np.float32(half)), 0, 2 * half).astype(kind)
        made = av.VideoFrame.from_ndarray(stored, name).reformat(
            format=self.pixel_format,
            dst_colorspace=self.matrix,
            src_color_range=FULL,
            dst_color_range=FULL if self.full else LIMITED,
            interpolation=EXACT,
        )
        for tag, value in self.tags.items():
            setattr(made, tag, value)
        return made


def turn_of(frame: av.VideoFrame) -> tuple[bool, int, int]:
    """Read the display matrix, which QuickTime's file format explains, to the nearest right angle."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
        a, b, _, c, d = (1, 0, 0, 0, 1) if matrix is None else np.frombuffer(bytes(matrix), np.int32)[:5]
    except ValueError:  # PyAV does not know all that can lie beside it, Exif for one
        angle = np.deg2rad(frame.rotation)
        a, b, c, d = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    swap = abs(b) > abs(a)
    down, across = (b, c) if swap else (d, a)
    return bool(swap), -1 if down < 0 else 1, -1 if across < 0 else 1
