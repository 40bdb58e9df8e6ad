"""Clips: every frame restored; its moment, its kind of colours, the sound and the notes as they were.

FFmpeg's libraries read and write, through PyAV: https://pyav.basswood-io.com
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio import AudioStream
from av.container import InputContainer, OutputContainer
from av.format import Flags
from av.stream import Disposition, Stream
from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.files import new_file
from deblurgan.restoration.video_colours import FrameFormat

QUALITY = {"crf": "16", "preset": "medium"}
"""Options of H.264 and H.265 for a visually lossless result."""
X265 = {"x265-params": "log-level=none:bframes=0"}
"""x265 does not report through FFmpeg; with B-frames it gives clips of one or two frames wild decoding times."""
COPIED = ("aac", "ac3", "alac", "eac3", "flac", "mp3", "opus")
"""Sound that players find in an .mp4. Any other becomes AAC."""
AAC_RATE = 128_000
"""Bits per second and channel: nobody hears a difference."""
COARSEST = 10_000
"""Ticks per second that the moments of frames are told in, at least."""
SLACK = 0.5
"""Seconds by which a whole clip may end before its header says: headers round."""
LEAP = 10
"""Seconds that a transport stream's clock skips only where recordings were joined, or by damage."""
APPLE = {"location": "com.apple.quicktime.location.ISO6709", "date": "com.apple.quicktime.creationdate"}
"""Names of place and date in an .mp4, each with the name that iPhones give it."""


def deblur_video(source: Path, target: Path, restore: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    """Deblur a clip.

    Frames keep their moments, which phones do not space evenly. Frames of more than 8 bits a channel, HDR (HLG or
    PQ) among them, are written with 10. Frames that are to be shown turned are written upright. However long the
    clip is, only the frames that the codecs need at a time are in memory.

    Parameters
    ----------
    source
        Anything that FFmpeg reads.
    target
        An .mp4 (H.264; H.265 if there are more than 8 bits), written whole or not at all.
    restore
        From an upright frame, `float32` of shape (H, W, 3) in [-1, 1], to the restored one.

    Returns
    -------
    list of str
        What could not be kept.

    Raises
    ------
    UserError
        FFmpeg cannot read the clip, or cannot write it; or the clip is cut off or damaged, and then `target` holds
        what came out of it.
    OSError
        The system does not let `target` be written: the disk is full.
    """
    if not source.is_file():
        raise UserError("no such clip")
    with reading(source) as clip:  # a clip's header describes its frames, and comes before the sound
        packets = itertools.chain(clip.packets(), [None])
        first = next((frame for packet in packets for frame in clip.frames(clip.pictures, packet)), None)
    if first is None:
        raise UserError("cut off or damaged: no frame came out")
    left_out = ["transparency is left out"] if any(part.is_alpha for part in first.format.components) else []
    with (
        reading(source) as clip,
        new_file(target) as partial,
        writing(partial, target) as made,
        tqdm(desc=source.name, unit="frame", total=clip.promised) as bar,
    ):
        made.metadata.update(clip.notes())
        pictures = Pictures(clip, made, FrameFormat.of(first), restore, bar)
        tracks: dict[int, Pictures | CopiedSound | EncodedSound] = {clip.pictures.index: pictures}
        for number, sound in enumerate(clip.sounds, 1):
            codec = sound.codec_context
            if codec and codec.rate and codec.channels:
                copied = codec.codec.canonical_name in COPIED
                tracks[sound.index] = (CopiedSound if copied else EncodedSound)(clip, made, sound)
            else:
                left_out.append(f"sound track {number} is left out: FFmpeg cannot read it")
        for packet in clip.packets():
            if packet.stream.index in tracks:
                tracks[packet.stream.index].take(packet)
        for track in tracks.values():
            track.end()
    if clip.damaged:
        faulty = f", {clip.faulty} of them with faults" if clip.faulty else ""
        total = f"{pictures.count} of {clip.promised}" if clip.promised else f"{pictures.count}"
        raise UserError(f"cut off or damaged: {total} frames came out{faulty}; they are in {target}")
    return left_out


@contextlib.contextmanager
def reading(source: Path) -> Iterator["Clip"]:
    """Open a clip, and nothing that its content may name: no other file, no address."""
    with open(source, "rb") as stream:
        try:
            opened = av.open(stream, options={"protocol_whitelist": "none"}, metadata_errors="surrogateescape")
        except (av.FFmpegError, OSError) as error:
            stream.seek(0)
            if stream.read(8)[4:] == b"ftyp":  # QuickTime's, .mp4: this much is there of it
                raise UserError(
                    "cut off or damaged: no frame came out, since the list of its frames, which cameras write last, "
                    "is missing; copy it again"
                ) from None
            raise UserError(f"no clip that FFmpeg can read ({error.strerror})") from None
        with opened:
            yield Clip(opened)


@contextlib.contextmanager
def writing(partial: Path, target: Path) -> Iterator[OutputContainer]:
    """Open a new .mp4, which is complete when the body has ended."""
    try:
        with av.open(f"file:{partial}", "w", format="mp4", metadata_errors="surrogateescape") as made:
            yield made
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(target)) from None
        raise UserError(f"FFmpeg cannot write {target}: {error.strerror}") from None


class Clip:
    """A clip that is read, and whether all of it is there.

    Attributes
    ----------
    pictures, sounds
        The streams to keep.
    start
        When it begins, in seconds of its own clock.
    promised
        Number of frames by its header; None if that says nothing.
    damaged
        Whether anything read up to now was faulty or missing.
    faulty
        Number of frames that were decoded with faults.
    """

    def __init__(self, opened: InputContainer) -> None:
        moving = [video for video in opened.streams.video if Disposition.attached_pic not in video.disposition]
        if not moving:
            raise UserError("no moving pictures in it")
        if moving[0].codec_context is None:
            raise UserError("FFmpeg does not know the kind of its pictures")
        self._opened = opened
        self.pictures, self.sounds = moving[0], opened.streams.audio
        self.pictures.thread_type = "AUTO"
        self._leaps = bool(opened.format.flags & Flags.ts_discont.value)
        self.start = Fraction(opened.start_time or 0, av.time_base)
        self._seconds, rate = Fraction(opened.duration or 0, av.time_base), self.pictures.average_rate
        if opened.format.name == "avi" and rate:  # FFmpeg shortens its duration to what is there
            self._seconds = self.pictures.frames / rate
        self.promised = self.pictures.frames or round(self._seconds * (rate or 0)) or None
        self.damaged, self.faulty = False, 0

    def notes(self) -> dict[str, str]:
        """The clip's metadata: title, date, place."""
        told = self._opened.metadata
        return {**{name: told[theirs] for name, theirs in APPLE.items() if theirs in told}, **told}

    def packets(self) -> Iterator[av.Packet]:
        """Yield all that it consists of, on one clock."""
        reached, corrupt = self.start, False
        clocks, shifts, last = [Fraction(0)], dict[int, Fraction](), dict[int, tuple[Fraction, Fraction]]()
        try:
            for packet in self._opened.demux():
                if packet.size == 0 and packet.dts is None:
                    break  # the end; where streams have come up since the beginning, PyAV would fail
                corrupt |= packet.is_corrupt
                apart = 0 if None in (packet.pts, packet.dts) else abs(packet.pts - packet.dts) * packet.time_base
                if self._leaps and apart > LEAP:  # a flipped bit
                    packet.pts, self.damaged = packet.dts, True
                moment, index = packet.pts if packet.dts is None else packet.dts, packet.stream.index
                if moment is not None:
                    begin, shift = moment * packet.time_base, shifts.get(index, Fraction(0))
                    earliest, due = last.get(index, (begin, begin))
                    if self._leaps and not earliest <= begin + shift <= due + LEAP:
                        # a clock that was seen before keeps streams in time, and ends the damage of a moment
                        seen = (clock for clock in reversed(clocks) if abs(begin + clock - due) < SLACK)
                        shift = next(seen, due - begin)
                        clocks.append(shift)
                    shifts[index], later = shift, round(shift / packet.time_base)
                    packet.pts = None if packet.pts is None else packet.pts + later
                    packet.dts = None if packet.dts is None else packet.dts + later
                    end = begin + shift + (packet.duration or 0) * packet.time_base
                    last[index], reached = (begin + shift, end), max(reached, end)
                yield packet
        except (av.FFmpegError, OSError):
            self.damaged = True
        self.damaged |= corrupt and len(clocks) == 1  # FFmpeg calls what lies at a seam corrupt
        self.damaged |= not self._leaps and reached - self.start < self._seconds - SLACK

    def frames(self, stream: Stream, packet: av.Packet | None) -> list[av.VideoFrame] | list[av.AudioFrame]:
        """Decode a packet, or what the decoder has held back."""
        if packet is not None and packet.stream.index != stream.index:
            return []
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            self.damaged = True
            return []
        faulty = sum(frame.is_corrupt for frame in frames)
        self.damaged |= faulty > 0
        self.faulty += faulty if stream is self.pictures else 0
        return frames


class Pictures:
    """Restores a clip's frames and encodes them."""

    def __init__(
        self,
        clip: Clip,
        made: OutputContainer,
        form: FrameFormat,
        restore: Callable[[np.ndarray], np.ndarray],
        bar: tqdm,
    ) -> None:
        source = clip.pictures
        self.clip, self.made, self.form, self.restore, self.bar = clip, made, form, restore, bar
        rate = source.average_rate or source.guessed_rate or 25
        finer = math.ceil(source.time_base * COARSEST)  # an AVI's is a frame: too coarse to move pictures against sound
        tick = source.time_base / finer
        width, height = form.size
        self.stream = made.add_stream(
            "libx265" if form.ten_bit else "libx264",
            rate,
            QUALITY | X265 if form.ten_bit else QUALITY,
            width=width,
            height=height,
            pix_fmt=form.pixel_format,
            time_base=tick,
        )
        encoder = self.stream.codec_context
        for tag, value in form.tags.items():
            setattr(encoder, tag, value)
        if form.ten_bit:
            encoder.codec_tag = "hvc1"  # QuickTime plays no other
        aspect = source.sample_aspect_ratio
        if aspect:
            encoder.sample_aspect_ratio = 1 / aspect if form.turn[0] else aspect
        describe(self.stream, source)
        self.count = 0
        self._tick, self._finer, self._start = tick, finer, round(clip.start / tick)
        self._step = max(1, round(1 / (rate * tick)))
        self._last = -1

    def take(self, packet: av.Packet | None) -> None:
        """Add the frames of a packet."""
        for frame in self.clip.frames(self.clip.pictures, packet):
            restored = self.form.frame(self.restore(self.form.colours(frame)))
            known = [self._finer * moment - self._start for moment in (frame.pts, frame.dts) if moment is not None]
            later = self._last + (1 if known or not self.count else self._step)
            self._last = next((moment for moment in known if moment > self._last), later)  # an AVI's may be in disorder
            restored.pts, restored.duration, restored.time_base = self._last, self._finer * frame.duration, self._tick
            self.made.mux(self.stream.encode(restored))
            self.count += 1
            self.bar.update()

    def end(self) -> None:
        """Add what decoder and encoder have held back."""
        self.take(None)
        self.made.mux(self.stream.encode(None))


class CopiedSound:
    """A sound track as it is."""

    def __init__(self, clip: Clip, made: OutputContainer, source: AudioStream) -> None:
        self.clip, self.made, self.stream = clip, made, made.add_stream_from_template(source)
        self._start, self._next = round(clip.start / source.time_base), None
        describe(self.stream, source)

    def take(self, packet: av.Packet) -> None:
        """Add a packet."""
        known = packet.pts if packet.dts is None else packet.dts
        moment = (self._next or 0) if known is None else known - self._start
        packet.pts = packet.dts = moment if self._next is None else max(moment, self._next)
        self._next = packet.dts + 1
        packet.stream = self.stream
        try:
            self.made.mux(packet)
        except (ValueError, av.error.PatchWelcomeError):  # AAC of some clips is taken apart: what is in it is invalid
            self.clip.damaged = True

    def end(self) -> None:
        """Add nothing."""


class EncodedSound:
    """A sound track that an .mp4 does not hold, as AAC."""

    def __init__(self, clip: Clip, made: OutputContainer, source: AudioStream) -> None:
        self.clip, self.made, self.source = clip, made, source
        rates = av.Codec("aac", "w").audio_rates
        self.stream = made.add_stream("aac", source.rate if source.rate in rates else 48000)
        self.stream.layout = layout = aac_layout(source)
        self.stream.bit_rate = AAC_RATE * av.AudioLayout(layout).nb_channels
        describe(self.stream, source)

    def take(self, packet: av.Packet | None) -> None:
        """Add the sound of a packet."""
        for frame in self.clip.frames(self.source, packet):
            if frame.pts is not None:
                frame.pts -= round(self.clip.start / frame.time_base)
            try:
                packets = self.stream.encode(frame)
            except ValueError:  # suddenly of another rate
                packets, self.clip.damaged = [], True
            self.made.mux(packets)

    def end(self) -> None:
        """Add what decoder and encoder have held back."""
        self.take(None)
        self.made.mux(self.stream.encode(None))


def aac_layout(source: AudioStream) -> str:
    """Name of the channels to encode: the channels of the source, or two where AAC has no such arrangement."""
    trial = av.CodecContext.create("aac", "w")
    trial.format, trial.rate, trial.layout = "fltp", 48000, source.layout.name
    try:
        trial.open()
    except av.FFmpegError:
        return "stereo"
    return source.layout.name


def describe(made: Stream, source: Stream) -> None:
    """Give a stream the language and the role of another."""
    made.metadata.update(source.metadata)
    made.disposition = source.disposition
