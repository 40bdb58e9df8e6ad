"""Clips: what comes back, and what is said where it cannot."""

import resource
import tracemalloc
from contextlib import nullcontext
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from conftest import SMALL
from PIL import Image

from deblurgan.errors import UserError
from deblurgan.networks.generators import build_generator
from deblurgan.networks.model_files import save_model
from deblurgan.restoration.command import main
from deblurgan.restoration.video import deblur_video

MILLISECOND, TICK = Fraction(1, 1000), Fraction(1, 30000)
TURN = 1 << 16
"""One, in a display matrix."""
LOSSLESS = {"libx264": {"qp": "0"}, "libx265": {"x265-params": "lossless=1:log-level=none:bframes=0"}}
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Of red and blue in luma, by matrix coefficients: ITU-T H.273, table 4."""


def same(colours):
    return colours


def still(level=100, size=(64, 48)):
    return np.full((size[1], size[0], 3), level, np.uint8)


def steps(count, size=(64, 48)):
    """Frames that can be told from each other: each 6 grey levels lighter."""
    return [still(20 + 6 * i, size) for i in range(count)]


def sine(seconds, rate=48000, silent_until=0.0):
    """A tone as `int16` of shape (1, N)."""
    time = np.arange(int(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * 440 * time) * (time >= silent_until)).astype(np.int16)[None]


def film(
    path,
    frames,
    moments=None,
    *,
    rate=10,
    sounds=(),
    codec="libx264",
    notes=None,
    late=0,
    rotation=None,
    options=None,
    **set_,
):
    """Make a clip: frames (arrays, or frames of PyAV) at moments in milliseconds; sounds as (codec, samples, language).

    `late`: seconds that the pictures begin after the sound. `set_`: attributes of the encoder.
    """
    apple = {"movflags": "use_metadata_tags"} if notes and any("quicktime" in name for name in notes) else {}
    with av.open(str(path), "w", container_options=apple) as made:
        made.metadata.update(notes or {})
        options = options or LOSSLESS.get(codec, {})
        first = frames[0]
        height, width = first.shape[:2] if isinstance(first, np.ndarray) else (first.height, first.width)
        tick = Fraction(1, rate) if Path(path).suffix == ".avi" else TICK  # an AVI has no moments but those of its rate
        pictures = made.add_stream(codec, rate, options, width=width, height=height, time_base=tick)
        for name, value in set_.items():
            setattr(pictures.codec_context, name, value)
        if rotation is not None:
            pictures.set_display_matrix(rotation)
        tracks = []
        for kind, samples, language in sounds:
            track = made.add_stream(kind, 48000, layout="mono")
            track.metadata["language"] = language
            tracks.append((track, samples))
        for track, samples in tracks:
            sound = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            sound.rate, sound.pts, sound.time_base = 48000, 0, Fraction(1, 48000)
            made.mux(track.encode(sound))
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image) if isinstance(image, np.ndarray) else image
            moment = moments[number] * MILLISECOND if moments else Fraction(number, rate)
            frame.time_base = tick
            frame.pts, frame.duration = round((moment + Fraction(late)) / tick), round(1 / (rate * tick))
            made.mux(pictures.encode(frame))
        for track in (pictures, *(track for track, _ in tracks)):
            made.mux(track.encode(None))


def shifted(path, seconds):
    """Set the sound of a transport stream as late as its pictures are."""
    with av.open(str(path)) as old, av.open(str(path.with_suffix(".new.ts")), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream, opaque=True) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                if packet.stream.type == "audio":
                    packet.dts += round(seconds / packet.time_base)
                    packet.pts = packet.dts
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    path.with_suffix(".new.ts").replace(path)


def frames_of(path):
    with av.open(str(path)) as clip:
        return list(clip.decode(video=0))


def moments_of(path):
    """When each frame is shown, in seconds from the clip's beginning."""
    return [float(frame.pts * frame.time_base) for frame in frames_of(path)]


def levels_of(path):
    return [frame.to_ndarray(format="gray").mean() for frame in frames_of(path)]


def packets_of(path, number=0):
    """Content and moment in seconds of each packet of a sound track."""
    with av.open(str(path)) as clip:
        packets = [packet for packet in clip.demux(audio=number) if packet.size]
        return [(bytes(packet), float(packet.pts * packet.time_base)) for packet in packets]


def samples_of(path):
    """The first sound track as `float32` at 48 kHz, from the clip's beginning."""
    with av.open(str(path)) as clip:
        resampler = av.AudioResampler("flt", "mono", 48000)
        frames = [new for frame in clip.decode(audio=0) for new in resampler.resample(frame)]
        begin = round(frames[0].pts * frames[0].time_base * 48000)
        samples = np.concatenate([frame.to_ndarray()[0] for frame in chain(frames, resampler.resample(None))])
        return np.concatenate([np.zeros(begin, np.float32), samples])


# a clip that cannot be written, or is no clip


@pytest.fixture
def limited():
    """A function that lets this process, and those that it starts, write no file beyond a size: a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_full_disk_is_an_error_and_the_result_before_stays(tmp_path, limited, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (30, 96, 128, 3), np.uint8)
    film(tmp_path / "clip.mp4", list(noise))
    result = tmp_path / "out/clip.mp4"
    deblur_video(tmp_path / "clip.mp4", result, same)
    size = result.stat().st_size
    assert size > 100_000
    good = result.read_bytes()
    for most in (size // 2, size - 200, size - 1):
        limited(most)
        with pytest.raises(OSError, match="File too large") as error:
            deblur_video(tmp_path / "clip.mp4", result, same)
        assert error.value.filename == str(result)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4"]
        assert result.read_bytes() == good
        options = ["--video", "--algorithm", "unsharp", "--overwrite", "--output", str(tmp_path / "out")]
        with pytest.raises(SystemExit):
            main([str(tmp_path / "clip.mp4"), *options])
        said = capfd.readouterr()
        assert "File too large" in said.err
        assert "0 of 1 deblurred" in said.out
        assert result.read_bytes() == good


def test_an_interrupted_clip_leaves_nothing(tmp_path):
    film(tmp_path / "clip.mp4", steps(8), sounds=[("aac", sine(0.8), "eng")])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/clip.mp4").write_bytes(b"from before")
    seen = []

    def interrupted(colours):
        seen.append(colours)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return colours

    before = psutil.Process().children(recursive=True)
    with pytest.raises(KeyboardInterrupt):
        deblur_video(tmp_path / "clip.mp4", tmp_path / "out/clip.mp4", interrupted)
    assert psutil.Process().children(recursive=True) == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4"]
    assert (tmp_path / "out/clip.mp4").read_bytes() == b"from before"


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "playlist", "sound", "index cut off"])
def test_what_is_no_clip_is_said(tmp_path, kind):
    clip = tmp_path / "clip.mp4"
    if kind == "text":
        clip.write_bytes(b"no clip")
    elif kind == "empty":
        clip.touch()
    elif kind == "playlist":  # would make FFmpeg open what it names
        film(tmp_path / "other.mp4", steps(2))
        clip.write_text("ffconcat version 1.0\nfile other.mp4\n")
    elif kind == "sound":
        with av.open(str(clip), "w") as made:
            track = made.add_stream("aac", 48000, layout="mono")
            sound = av.AudioFrame.from_ndarray(sine(0.2), "s16", "mono")
            sound.rate = 48000
            made.mux(track.encode(sound))
            made.mux(track.encode(None))
    elif kind == "index cut off":
        film(clip, steps(8))
        clip.write_bytes(clip.read_bytes()[:-1500])
    said = {
        "missing": "no such clip",
        "sound": "no moving pictures in it",
        "index cut off": "cut off or damaged: no frame came out, since the list of its frames, .* is missing; copy it",
    }.get(kind, "no clip that FFmpeg can read")
    with pytest.raises(UserError, match=said):
        deblur_video(clip, tmp_path / "out/clip.mp4", same)
    assert not (tmp_path / "out/clip.mp4").exists()


# time


def test_every_frame_is_restored(tmp_path):
    film(tmp_path / "in.mp4", steps(30))
    deblur_video(tmp_path / "in.mp4", tmp_path / "out.mp4", lambda colours: -colours)
    np.testing.assert_allclose(levels_of(tmp_path / "out.mp4"), [255 - 20 - 6 * i for i in range(30)], atol=2)


def test_frames_keep_their_moments_and_the_sound_with_them(tmp_path):
    """As a phone films: 30 frames a second, one in eight of them dropped, the sound from a clock of its own."""
    rng = np.random.default_rng(3)
    kept = [i for i in range(60) if i < 2 or rng.random() > 0.125]
    assert 40 < len(kept) < 58
    moments = [1000 * i // 30 + int(rng.integers(0, 5)) for i in kept]
    film(
        tmp_path / "in.mp4",
        [still(7 * i % 220) for i in range(len(kept))],
        moments,
        rate=30,
        sounds=[("aac", sine(2.0), "eng")],
    )
    deblur_video(tmp_path / "in.mp4", tmp_path / "out.mp4", same)
    before, after = moments_of(tmp_path / "in.mp4"), moments_of(tmp_path / "out.mp4")
    assert len(after) == len(kept)
    np.testing.assert_allclose(after, before, atol=1e-3)
    np.testing.assert_allclose(levels_of(tmp_path / "out.mp4"), levels_of(tmp_path / "in.mp4"), atol=1)
    with av.open(str(tmp_path / "in.mp4")) as old, av.open(str(tmp_path / "out.mp4")) as new:
        assert new.duration == pytest.approx(old.duration, abs=20_000)  # microseconds
        video = new.streams.video[0]
        assert float(video.duration * video.time_base) == pytest.approx(before[-1] + 1 / 30, abs=0.02)
    (old, old_moments), (new, new_moments) = (
        zip(*packets_of(tmp_path / name), strict=True) for name in ("in.mp4", "out.mp4")
    )
    assert old == new  # not encoded again
    np.testing.assert_allclose(new_moments, old_moments, atol=1e-3)


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "avi"])
def test_what_begins_later_does_so_in_the_result(tmp_path, container):
    """Whatever the clip's own clock shows: that of a transport stream begins at 1.4 s."""
    late = 0 if container == "avi" else Fraction(1, 4)
    source = tmp_path / f"in.{container}"
    film(
        source,
        steps(8),
        sounds=[("aac", sine(1.2), "eng")],
        late=late,
        codec="mpeg4" if container == "avi" else "libx264",
    )
    deblur_video(source, tmp_path / "out.mp4", same)
    apart = [moments_of(path)[0] - packets_of(path)[0][1] for path in (source, tmp_path / "out.mp4")]
    assert apart[1] == pytest.approx(apart[0], abs=2e-3)
    assert moments_of(tmp_path / "out.mp4")[0] == pytest.approx(late, abs=0.03)
    before, after = moments_of(source), moments_of(tmp_path / "out.mp4")
    np.testing.assert_allclose(np.diff(after), np.diff(before), atol=2e-3)


@pytest.mark.parametrize("begin", [0, 50_000], ids=["back", "ahead"])
def test_a_clock_that_leaps_does_not_tear_a_recording_apart(tmp_path, begin):
    """Parts of a camcorder's recording, joined: at the seam the clock of a transport stream goes anywhere."""
    for number, late in enumerate((0, begin)):
        film(tmp_path / f"{number}.ts", steps(20), sounds=[("mp2", sine(2.0), "eng")], late=late)
        if late:  # sound along with the pictures
            shifted(tmp_path / f"{number}.ts", late)
    source = tmp_path / "in.ts"
    source.write_bytes(b"".join((tmp_path / f"{number}.ts").read_bytes() for number in range(2)))
    deblur_video(source, tmp_path / "out.mp4", same)
    moments = moments_of(tmp_path / "out.mp4")
    assert len(moments) == 40
    np.testing.assert_allclose(moments, moments[0] + np.arange(40) / 10, atol=0.11)  # a frame, at the seam
    assert len(samples_of(tmp_path / "out.mp4")) / 48000 == pytest.approx(4, abs=0.15)


@pytest.mark.parametrize("twice", [False, True], ids=["told once", "told twice"])
def test_a_damaged_moment_leaves_the_other_frames_theirs(tmp_path, twice):
    """Frames that are stored in another order than shown tell two moments."""
    options = {"crf": "10", "x264-params": "b-adapt=0:bframes=2"} if twice else {"qp": "0"}
    film(tmp_path / "in.ts", steps(30), sounds=[("mp2", sine(3.0), "eng")], options=options)
    content = bytearray((tmp_path / "in.ts").read_bytes())
    heads = [place for place in range(len(content)) if content[place : place + 4] == b"\0\0\1\xe0"]
    place = next(head for head in heads[8:] if (content[head + 7] & 0xC0 == 0xC0) == twice)
    content[place + 9] ^= 8  # of the moment when it is shown: half a day
    (tmp_path / "in.ts").write_bytes(content)
    said = pytest.raises(UserError, match="damaged: 30 of 30 frames came out") if twice else nullcontext()
    with said:
        deblur_video(tmp_path / "in.ts", tmp_path / "out.mp4", same)
    apart = np.diff(moments_of(tmp_path / "out.mp4"))
    assert (np.abs(apart - 0.1) > 2e-3).sum() <= 3
    assert apart.sum() == pytest.approx(2.9, abs=2e-3)


# colours


def shares(rgb, matrix):
    """Luma in [0, 1] and both chromas in [-0.5, 0.5] of RGB in [0, 1]: ITU-T H.273, equations 38 to 40."""
    red, blue = WEIGHTS[matrix]
    luma = rgb @ [red, 1 - red - blue, blue]
    return luma, (rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)


def colours_of(frame, matrix, full):
    """RGB of a frame's patches, by the definition of its tags: the other way round."""
    deep = 4 if "10" in frame.format.name else 1
    planes = []
    for plane, patch in zip(frame.planes, (16, 8, 8), strict=True):
        kind = np.uint16 if deep == 4 else np.uint8
        values = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width] / deep
        patches = values.reshape(plane.height // patch, patch, plane.width // patch, patch)
        planes.append(patches[:, patch // 4 : -patch // 4, :, patch // 4 : -patch // 4].mean(axis=(1, 3)))
    luma = planes[0] / (256 - 1 / deep) if full else (planes[0] - 16) / 219
    blue, red = ((plane - 128) / (256 - 1 / deep if full else 224) for plane in planes[1:])
    of_red, of_blue = WEIGHTS[matrix]
    red, blue = luma + 2 * (1 - of_red) * red, luma + 2 * (1 - of_blue) * blue
    return np.stack([red, (luma - of_red * red - of_blue * blue) / (1 - of_red - of_blue), blue], axis=-1)


def painted(rgb, matrix, full, deep):
    """A frame of patches of 16x16 pixels, by the definition of its tags."""
    depth = 4 if deep else 1
    planes = []
    for number, share in enumerate(shares(rgb, matrix)):
        if full:
            values = share * (256 * depth - 1) + (128 * depth if number else 0)
        else:
            values = depth * (share * (224 if number else 219) + (128 if number else 16))
        values = np.clip(np.rint(values), 0, 256 * depth - 1).astype(np.uint16 if deep else np.uint8)
        planes.append(np.kron(values, np.ones((8, 8) if number else (16, 16), values.dtype)))
    frame = av.VideoFrame(16 * rgb.shape[1], 16 * rgb.shape[0], "yuv420p10le" if deep else "yuv420p")
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        rows[:, : plane.width] = values
        plane.update(rows.tobytes())
    return frame


KINDS = {  # matrix, primaries, transfer, range as tagged; matrix that is meant, more than 8 bits
    "HD": (1, 1, 1, 1, 1, False),
    "HD untagged": (2, 2, 2, 0, 1, False),
    "SD untagged": (2, 2, 2, 0, 5, False),
    "PAL": (5, 5, 6, 1, 5, False),
    "NTSC": (6, 6, 6, 1, 6, False),
    "full range": (1, 1, 13, 2, 1, False),
    "wide, 8 bits": (9, 12, 1, 1, 9, False),
    "10 bits": (1, 1, 1, 1, 1, True),
    "HLG": (9, 9, 18, 1, 9, True),
    "PQ": (9, 9, 16, 1, 9, True),
    "PQ, full range": (9, 9, 16, 2, 9, True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_colours_come_back_as_they_were(tmp_path, kind):
    matrix, primaries, transfer, range_, meant, deep = KINDS[kind]
    rows, columns = (40, 2) if kind == "HD untagged" else (4, 6)
    rgb = np.random.default_rng(1).uniform(0.05, 0.95, (rows, columns, 3))
    rgb[0, 0] = [12 / 255, 220 / 255, 2 / 255]
    tags = {"colorspace": matrix, "color_primaries": primaries, "color_trc": transfer, "color_range": range_}
    film(tmp_path / "in.mp4", [painted(rgb, meant, range_ == 2, deep) for _ in range(2)],
         codec="libx265" if deep else "libx264", pix_fmt="yuv420p10le" if deep else "yuv420p", **tags)  # fmt: skip
    seen = []
    deblur_video(tmp_path / "in.mp4", tmp_path / "out.mp4", lambda colours: seen.append(colours) or colours)
    assert seen[0].dtype == np.float32
    np.testing.assert_allclose(
        (seen[0][8::16, 8::16] + 1) / 2 * 255, rgb * 255, atol=2.5
    )  # chroma is stored in steps, too
    before, after = frames_of(tmp_path / "in.mp4")[0], frames_of(tmp_path / "out.mp4")[0]
    assert (
        after.format.name == before.format.name == ("yuv420p10le" if deep else "yuvj420p" if range_ == 2 else "yuv420p")
    )
    assert {name: getattr(after, name) for name in tags} == {name: getattr(before, name) for name in tags}
    assert {name: getattr(after, name) for name in tags} == tags
    shown = [colours_of(frame, meant, range_ == 2) * 255 for frame in (before, after)]
    np.testing.assert_allclose(shown[0], rgb * 255, atol=2.5)
    np.testing.assert_allclose(shown[1], shown[0], atol=2.5)  # crf 16
    with av.open(str(tmp_path / "out.mp4")) as clip:
        assert clip.streams.video[0].codec_context.codec_tag == ("hvc1" if deep else "avc1")


def test_ten_bits_stay_more_than_eight(tmp_path):
    """A ramp in steps of a quarter grey level."""
    frame = painted(np.full((4, 6, 3), 0.5), 1, False, True)
    ramp = np.repeat(np.arange(400, 400 + 96, dtype=np.uint16)[None], 64, axis=0)
    rows = np.zeros((64, frame.planes[0].line_size // 2), np.uint16)
    rows[:, :96] = ramp
    frame.planes[0].update(rows.tobytes())
    film(tmp_path / "in.mp4", [frame], codec="libx265", pix_fmt="yuv420p10le", colorspace=9, color_trc=18)
    deblur_video(tmp_path / "in.mp4", tmp_path / "out.mp4", same)
    plane = frames_of(tmp_path / "out.mp4")[0].planes[0]
    found = np.frombuffer(plane, np.uint16).reshape(plane.height, -1)[:, :96].mean(axis=0)
    np.testing.assert_allclose(found, ramp[0], atol=1.5)


def test_colours_that_cannot_be_converted_are_refused(tmp_path):
    film(tmp_path / "in.mp4", steps(2), colorspace=8)  # YCgCo
    with pytest.raises(UserError, match=r"its colours \(matrix coefficients 8 of ITU-T H.273\) cannot be converted"):
        deblur_video(tmp_path / "in.mp4", tmp_path / "out.mp4", same)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    "codec, format_, container",
    [("ffv1", "bgr0", "mkv"), ("ffv1", "gray", "mkv"), ("gif", "gray", "gif"), ("mjpeg", "yuvj420p", "avi")],
)
def test_other_kinds_of_pixels(tmp_path, codec, format_, container):
    grey = np.kron(np.linspace(20, 230, 12).reshape(3, 4), np.ones((16, 16)))[..., None].repeat(3, 2).astype(np.uint8)
    film(tmp_path / f"in.{container}", [grey] * 3, codec=codec, pix_fmt=format_)
    seen = []
    deblur_video(tmp_path / f"in.{container}", tmp_path / "out.mp4", lambda colours: seen.append(colours) or colours)
    np.testing.assert_allclose((seen[0][8::16, 8::16] + 1) * 127.5, grey[8::16, 8::16], atol=2)
    after = frames_of(tmp_path / "out.mp4")
    assert len(after) == 3
    shown = after[0].to_ndarray(format="rgb24")[8::16, 8::16].astype(float)
    np.testing.assert_allclose(shown, (seen[0][8::16, 8::16] + 1) * 127.5, atol=3)


# shape


def display_matrix(a, b, c, d):
    return [a * TURN, b * TURN, 0, c * TURN, d * TURN, 0, 0, 0, 1 << 30]


TURNS = {  # as QuickTime's file format defines it: x' = a x + c y, y' = b x + d y; and the same for an array
    "upright": (display_matrix(1, 0, 0, 1), lambda image: image),
    "a quarter clockwise": (display_matrix(0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "upside down": (display_matrix(-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "a quarter anticlockwise": (display_matrix(0, -1, 1, 0), lambda image: np.rot90(image)),
    "mirrored": (display_matrix(-1, 0, 0, 1), np.fliplr),
    "mirrored and turned": (display_matrix(0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_clip_comes_back_upright(tmp_path, turn):
    matrix, turned = TURNS[turn]
    image = (
        np.kron(np.array([[40, 90, 140], [190, 240, 65]]), np.ones((16, 16)))[..., None].repeat(3, 2).astype(np.uint8)
    )
    film(tmp_path / "in.mp4", [image] * 2, rotation=matrix, sample_aspect_ratio=Fraction(4, 3))
    seen = []
    deblur_video(tmp_path / "in.mp4", tmp_path / "out.mp4", lambda colours: seen.append(colours) or colours)
    want = turned(image)
    np.testing.assert_allclose((seen[0] + 1) * 127.5, want, atol=2)
    after = frames_of(tmp_path / "out.mp4")[0]
    assert after.rotation == 0
    assert "DISPLAYMATRIX" not in after.side_data
    np.testing.assert_allclose(after.to_ndarray(format="gray").astype(float), want[..., 0], atol=4)
    with av.open(str(tmp_path / "out.mp4")) as clip:
        wide = want.shape[1] == image.shape[1]
        assert clip.streams.video[0].sample_aspect_ratio == (Fraction(4, 3) if wide else Fraction(3, 4))


def test_what_a_camera_notes_in_each_jpeg_is_no_obstacle(tmp_path):
    """PyAV cannot list what lies beside a frame if there is Exif."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter clockwise
    image = (
        np.kron(np.array([[40, 90, 140], [190, 240, 65]]), np.ones((16, 16)))[..., None].repeat(3, 2).astype(np.uint8)
    )
    Image.fromarray(image).save(tmp_path / "frame.jpg", quality=95, exif=exif)
    with av.open(str(tmp_path / "in.avi"), "w") as made:
        stream = made.add_mux_stream("mjpeg", rate=10, width=48, height=32, time_base=Fraction(1, 10))
        for i in range(3):
            packet = av.Packet((tmp_path / "frame.jpg").read_bytes())
            packet.pts = packet.dts = i
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 10), stream, True
            made.mux(packet)
    deblur_video(tmp_path / "in.avi", tmp_path / "out.mp4", same)
    after = frames_of(tmp_path / "out.mp4")
    assert len(after) == 3
    np.testing.assert_allclose(after[0].to_ndarray(format="rgb24").astype(float), np.rot90(image, -1), atol=6)


@pytest.mark.parametrize("width, height", [(63, 47), (64, 47), (63, 48)])
def test_odd_sides_stay(tmp_path, width, height):
    film(tmp_path / "in.mp4", steps(3, (width, height)), pix_fmt="yuv444p")
    deblur_video(tmp_path / "in.mp4", tmp_path / "out.mp4", same)
    assert [(frame.width, frame.height) for frame in frames_of(tmp_path / "out.mp4")] == [(width, height)] * 3


# what goes with the pictures


def test_sound_tracks_and_notes_stay(tmp_path):
    notes = {
        "title": "Am Fluss",
        "date": "2026-05-01",
        "location": "+48.1371+011.5754/",
        "creation_time": "2026-05-01T10:00:00.000000Z",
    }
    film(
        tmp_path / "in.mp4",
        steps(8),
        sounds=[("aac", sine(0.8), "eng"), ("libmp3lame", sine(0.8, silent_until=0.2), "deu")],
        notes=notes,
    )
    assert deblur_video(tmp_path / "in.mp4", tmp_path / "out.mp4", same) == []
    with av.open(str(tmp_path / "out.mp4")) as clip:
        assert notes.items() <= clip.metadata.items()
        assert [(sound.codec_context.codec.canonical_name, sound.language) for sound in clip.streams.audio] == [
            ("aac", "eng"),
            ("mp3", "deu"),
        ]
    for number in range(2):
        old, new = ([packet for packet, _ in packets_of(tmp_path / name, number)] for name in ("in.mp4", "out.mp4"))
        assert old == new


def test_place_and_day_of_iphones_stay(tmp_path):
    notes = {
        "com.apple.quicktime.location.ISO6709": "+48.1371+011.5754+519/",
        "com.apple.quicktime.creationdate": "2026-05-01T12:00:00+0200",
    }
    film(tmp_path / "in.mov", steps(3), notes=notes)
    deblur_video(tmp_path / "in.mov", tmp_path / "out.mp4", same)
    with av.open(str(tmp_path / "out.mp4")) as clip:
        assert clip.metadata["location"].startswith("+48.1371+011.5754+519")
        assert clip.metadata["date"] == "2026-05-01T12:00:00+0200"


@pytest.mark.parametrize(
    "codec, container", [("pcm_s16le", "mov"), ("pcm_s16le", "avi"), ("libvorbis", "mkv"), ("mp2", "ts")]
)
def test_sound_that_players_miss_in_an_mp4_is_encoded_and_stays_in_time(tmp_path, codec, container):
    if codec == "libvorbis" and "libvorbis" not in av.codecs_available:
        codec = "pcm_s24le"
    source = tmp_path / f"in.{container}"
    film(source, steps(20), sounds=[(codec, sine(2.0, silent_until=1.0), "eng")])
    assert deblur_video(source, tmp_path / "out.mp4", same) == []
    with av.open(str(tmp_path / "out.mp4")) as clip:
        assert clip.streams.audio[0].codec_context.name == "aac"
    old, new = samples_of(source), samples_of(tmp_path / "out.mp4")
    assert len(new) == pytest.approx(len(old), abs=2100)  # a frame of AAC at either end
    begins = [np.flatnonzero(np.abs(samples) > 0.1)[0] / 48000 for samples in (old, new)]
    assert begins[1] == pytest.approx(begins[0], abs=5e-3)


@pytest.mark.parametrize("kind", ["unknown", "no channels"])
def test_sound_that_cannot_be_read_is_left_out_and_said(tmp_path, capsys, kind):
    """Spatial sound of iPhones is of an unknown kind."""
    source = tmp_path / ("in.mov" if kind == "unknown" else "in.mkv")
    film(source, steps(8), sounds=[("aac", sine(0.8), "eng"), ("pcm_s16le", sine(0.8), "eng")])
    content = source.read_bytes()
    if kind == "unknown":
        content = content.replace(b"sowt", b"zzzz", 1)
    else:  # Matroska's element of the number of channels, of the second track
        place = content.index(b"\x9f\x81\x01", content.index(b"\x9f\x81\x01") + 1)
        content = content[:place] + b"\x9f\x81\x00" + content[place + 3 :]
    source.write_bytes(content)
    main([str(source), "--video", "--algorithm", "unsharp", "--output", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert f"{source}: sound track 2 is left out: FFmpeg cannot read it" in said.err
    assert "1 of 1 deblurred" in said.out
    with av.open(str(tmp_path / "out/in.mp4")) as clip:
        assert len(clip.streams.audio) == 1
    assert len(frames_of(tmp_path / "out/in.mp4")) == 8


# clips that are not whole


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi"])
def test_a_clip_that_is_cut_off_is_named_with_what_came_out(tmp_path, container, capfd):
    whole = tmp_path / f"in.{container}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), np.uint8)
    options = {"codec": "mpeg4"} if container == "avi" else {}
    film(whole, list(noise), sounds=[("libmp3lame", sine(4.0), "eng")], **options)
    if container == "mp4":  # its index last: put it first
        with (
            av.open(str(whole)) as old,
            av.open(str(tmp_path / "fast.mp4"), "w", container_options={"movflags": "faststart"}) as new,
        ):
            streams = {stream.index: new.add_stream_from_template(stream, opaque=True) for stream in old.streams}
            for packet in old.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    new.mux(packet)
        whole = tmp_path / "fast.mp4"
    assert deblur_video(whole, tmp_path / "out.mp4", same) == []
    assert len(frames_of(tmp_path / "out.mp4")) == 40
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) * 6 // 10])
    capfd.readouterr()
    with pytest.raises(UserError) as error:
        deblur_video(whole, tmp_path / "out.mp4", same)
    count = len(frames_of(tmp_path / "out.mp4"))
    assert 10 < count < 35
    assert str(error.value).startswith(f"cut off or damaged: {count} of 4")  # Matroska tells seconds, not frames
    assert str(error.value).endswith(f"in {tmp_path}/out.mp4")
    quiet = [line for line in capfd.readouterr().err.splitlines() if f"{whole.name}: " not in line and line.strip()]
    assert quiet == []


def test_a_damaged_clip_is_named_and_the_others_done(tmp_path, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), np.uint8)
    film(tmp_path / "a.mp4", list(noise), options={"crf": "30"})
    film(tmp_path / "b.mp4", steps(4))
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    third = len(content) // 3
    for place in range(third, 2 * third, third // 5):
        content[place : place + 200] = noise.tobytes()[:200]
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--video", "--algorithm", "unsharp", "--output", str(tmp_path / "out")])
    said = capfd.readouterr()
    assert "1 of 2 deblurred" in said.out
    assert f"{tmp_path}/a.mp4: cut off or damaged: " in said.err
    assert " of 40 frames came out" in said.err
    assert "[h264" not in said.err
    assert f"{len(frames_of(tmp_path / 'out/a.mp4'))} of 40 frames" in said.err
    assert len(frames_of(tmp_path / "out/b.mp4")) == 4


@pytest.mark.parametrize("deep", [False, True])
def test_only_progress_is_shown(tmp_path, capfd, deep):
    film(
        tmp_path / "in.mp4",
        [painted(np.full((4, 6, 3), 0.5), 1, False, deep)] * 4,
        codec="libx265" if deep else "libx264",
        pix_fmt="yuv420p10le" if deep else "yuv420p",
        sounds=[("aac", sine(0.4), "eng")],
    )
    capfd.readouterr()
    deblur_video(tmp_path / "in.mp4", tmp_path / "out.mp4", same)
    said = capfd.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.replace("\r", "\n").splitlines() if line.strip()]
    assert "4/4" in lines[-1]
    assert all(line.startswith("in.mp4: ") for line in lines)


def test_memory_does_not_grow_with_a_clip(tmp_path):
    def most(count):
        film(tmp_path / f"{count}.mp4", [still(i % 250, (320, 240)) for i in range(count)])
        tracemalloc.start()
        deblur_video(tmp_path / f"{count}.mp4", tmp_path / "out.mp4", same)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(2)  # imports
    assert most(60) < most(12) + 10 * 320 * 240 * 3  # of 48 more; how many wait at a time varies


def test_frames_of_a_clip_that_are_hardly_blurred_are_counted(tmp_path, capsys):
    save_model(build_generator(SMALL.model_copy(update={"identity_start": True})), tmp_path / "g.keras")
    film(tmp_path / "clip.mp4", steps(3))
    clip, model, out = (str(tmp_path / name) for name in ("clip.mp4", "g.keras", "out"))
    main([clip, "--video", "--model", model, "--output", out])
    assert (tmp_path / "out/clip.mp4").is_file()
    said = "3 of 3 frames hardly blurred for the network: left as they are; --always keeps the correction"
    assert f"deblur: note: {clip}: {said}" in capsys.readouterr().err


def test_transparency_is_left_out_and_said(tmp_path, capsys):
    source, picture = tmp_path / "in.mkv", np.full((48, 64, 4), 255, np.uint8)
    picture[:, 32:, 3] = 0
    film(source, 3 * [av.VideoFrame.from_ndarray(picture, "bgra")], codec="ffv1", pix_fmt="bgra")
    main([str(source), "--video", "--algorithm", "unsharp", "--output", str(tmp_path / "out")])
    assert f"{source}: transparency is left out" in capsys.readouterr().err
