"""Clips, frame by frame, through ffmpeg."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.files import new_file
from deblurgan.images import to_float, to_uint8

NAMED = "IMAGEIO_FFMPEG_EXE"
"""Environment variable of imageio-ffmpeg: the ffmpeg to use."""
QUALITY = ("-crf", "16", "-preset", "medium")
"""Of H.264: visually lossless."""


def deblur_video(source: Path, target: Path, restore: Callable[[np.ndarray], np.ndarray]) -> None:
    """Deblur a clip; its sound is kept.

    Parameters
    ----------
    source
        Anything that ffmpeg reads.
    target
        An .mp4 (H.264), written whole or not at all.
    restore
        From a frame, `float32` of shape (H, W, 3) in [-1, 1], to the restored one.

    Raises
    ------
    UserError
        There is no ffmpeg, or it cannot read the clip, or cannot write it.
    """
    try:
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        ffmpeg = None
    if not ffmpeg or not shutil.which(ffmpeg):
        raise UserError(
            f"{NAMED} is {ffmpeg}, which is missing" if ffmpeg else f"ffmpeg is missing: set {NAMED} to one"
        )
    if not source.is_file():
        raise UserError("no such clip")
    frames = imageio_ffmpeg.read_frames(str(source), pix_fmt="rgb24")
    with contextlib.closing(frames), new_file(target) as partial:
        try:
            facts = next(frames)
        except (OSError, StopIteration, RuntimeError):
            raise UserError("no clip that ffmpeg can read") from None
        (width, height), rate = facts["size"], facts["fps"]
        if not rate or not width or not height:
            raise UserError("no moving pictures in it")
        even = width % 2 == height % 2 == 0
        writer = imageio_ffmpeg.write_frames(
            str(partial),
            (width, height),
            fps=rate,
            codec="libx264",
            quality=None,
            macro_block_size=1,
            pix_fmt_out="yuv420p" if even else "yuv444p",  # halved colours need even sides
            audio_path=str(source) if facts.get("audio_codec") else None,
            audio_codec="aac" if facts.get("audio_codec") else None,
            output_params=[*QUALITY, "-f", "mp4"],
        )
        total = round(facts.get("duration", 0) * rate) or None
        try:
            with contextlib.closing(writer):
                writer.send(None)
                for data in tqdm(frames, desc=source.name, unit="frame", total=total):
                    frame = np.frombuffer(data, np.uint8).reshape(height, width, 3)
                    writer.send(np.ascontiguousarray(to_uint8(restore(to_float(frame)))))
        except (OSError, RuntimeError) as error:  # one of a frame that is cut off
            reason = " ".join(str(error).split())[-200:]
            raise UserError(f"ffmpeg cannot go on with it or write {target}: {reason}") from None
