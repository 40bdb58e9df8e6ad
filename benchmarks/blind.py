r"""What blind deconvolution gains on shaken photos, and whether it harms photos that no single blur explains.

    python -m benchmarks.blind KODAK                                        # shaken photos: about half an hour
    python -m benchmarks.blind KODAK --noise 1 --way light --every 4        # minutes
    python -m benchmarks.blind KODAK --mild                                 # sharp photos and slight blur
    python -m benchmarks.blind --pairs GOPRO_Large/test REDS/train          # filmed scenes
    python -m benchmarks.blind KODAK --size 800x800                         # seconds and memory of one photo
    python -m benchmarks.blind KODAK --pictures docs                        # the first ten, to look at

Sharp photos are shaken by trajectories of this project whose kernels are 15 to 31 pixels wide; the size is not given.
PSNR is measured after registration, since a blur does not say where the scene was. `true kernel` is the same
deconvolution with the kernel that made the blur. Where a photo is left as it is, its gain is 0.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import restoration
from skimage.registration import phase_cross_correlation
from tqdm import tqdm

from benchmarks.defaults import default_params
from benchmarks.peak import peak_bytes
from deblurgan.blur.contact_sheet import kernel_sheet
from deblurgan.blur.convolution import add_noise, blur_image
from deblurgan.blur.kinds import draw_blur, mild_blur
from deblurgan.blur.trajectory import random_path
from deblurgan.errors import UserError, reported
from deblurgan.evaluation.metrics import psnr
from deblurgan.files import files_below
from deblurgan.images import from_linear, quantize, read_rgb, to_float, to_linear, to_uint8
from deblurgan.layout import find_pairs
from deblurgan.pictures import captioned, side_by_side, stacked
from deblurgan.restoration import deconvolution, kernel_selection, tiles
from deblurgan.restoration.kernel_estimation import likeness, radius

WIDTHS = (15, 31)
"""Smallest and largest width of the kernels of shaken photos, pixels."""
LIKE = 0.75
"""Likeness from which a kernel counts as found."""
BRIGHTER = 2.0
"""How many times as much light falls on photos with clipped highlights."""
BORDER = 8
"""Pixels that are left out at the borders of registered images."""
PART = (160, 240)
"""Height and width of what is drawn of a photo, pixels."""
SHEETS, ROWS, QUALITY = 2, 5, 85
"""Pictures, photos in each, and the quality of their JPEG."""
WAYS = ("light", "stored", "clipped")


@dataclass(frozen=True)
class Case:
    """A blurred image, its sharp partner, the kernel between them where there is one, and what was mixed."""

    blur: np.ndarray
    sharp: np.ndarray
    kernel: np.ndarray | None
    in_light: bool = True


def shake_kernel(rng: np.random.Generator) -> np.ndarray:
    """A kernel of a shaking camera, of one of `WIDTHS`."""
    settings = default_params().synthesize
    while True:
        path = random_path(rng, length=(20, 60), shake=settings.shake, exposure=(0.5, 1.0))
        if WIDTHS[0] <= len(path.kernel) <= WIDTHS[1]:
            return path.kernel


def shaken(photos: list[Path], way: str, noise: float) -> Iterator[Case]:
    """Shaken photos: blur that mixes light or stored values, or light that is clipped after it was mixed."""
    for i, path in enumerate(photos):
        rng, sharp = np.random.default_rng(i), read_rgb(path)
        kernel = shake_kernel(rng)
        if way == "clipped":
            light = BRIGHTER * to_linear(sharp / 255)
            mixed = np.stack([ndimage.convolve(light[..., c], kernel, mode="reflect") for c in range(3)], axis=-1)
            levels, sharp = np.float32(255) * from_linear(mixed).astype(np.float32), quantize(from_linear(light))
        else:
            levels = blur_image(sharp, kernel, linear=way == "light")
        yield Case(add_noise(levels, rng, noise), sharp, kernel, way != "stored")


def sharp_photos(photos: list[Path]) -> Iterator[Case]:
    """Photos as they are."""
    for path in photos:
        yield Case(read_rgb(path), read_rgb(path), None)


def mildly_blurred(photos: list[Path]) -> Iterator[Case]:
    """Photos with a grey level of noise and a blur that hardly shows."""
    settings = default_params().synthesize
    for i, path in enumerate(photos):
        rng, sharp = np.random.default_rng(i), read_rgb(path)
        yield Case(add_noise(mild_blur(rng, settings).applied(sharp, linear=True), rng, 1), sharp, None)


def of_several_motions(photos: list[Path]) -> Iterator[Case]:
    """Photos whose blur varies over the picture."""
    settings = default_params().synthesize.model_copy(update={"layered": 1.0})
    for i, path in enumerate(photos):
        rng, sharp = np.random.default_rng(i), read_rgb(path)
        yield Case(add_noise(draw_blur(rng, settings).applied(sharp, linear=True), rng, 1), sharp, None)


def filmed(folder: Path, every: int) -> Iterator[Case]:
    """Pairs of a data set."""
    for pair in find_pairs(folder)[::every]:
        yield Case(read_rgb(pair.blur), read_rgb(pair.sharp), None)


def registered_psnr(image: np.ndarray, sharp: np.ndarray) -> float:
    """PSNR, dB, of the better of an image and the image shifted onto the sharp one; borders left out."""
    shift = phase_cross_correlation(sharp.mean(axis=2), image.mean(axis=2), upsample_factor=20)[0]
    moved = np.stack([ndimage.shift(image[..., c] / 255, shift, order=3, mode="nearest") for c in range(3)], axis=-1)
    inner = slice(BORDER, -BORDER)
    return max(psnr(one[inner, inner], sharp[inner, inner]) for one in (image, quantize(np.clip(moved, 0, 1))))


def unsupervised(case: Case) -> np.ndarray:
    """scikit-image's unsupervised Wiener filter with the true kernel, channel by channel."""
    assert case.kernel is not None
    pad = 2 * len(case.kernel)
    found = np.empty_like(case.blur)
    for c in range(3):
        values = case.blur[..., c] / 255
        padded = np.pad(to_linear(values) if case.in_light else values, pad, mode="symmetric")
        restored = restoration.unsupervised_wiener(padded, case.kernel, clip=False, rng=0)[0][pad:-pad, pad:-pad]
        found[..., c] = quantize(from_linear(restored) if case.in_light else np.clip(restored, 0, 1))
    return found


def row(name: str, cases: Iterable[Case], every_image: Callable[[str], None]) -> str:
    """Measure one set of images: a row of the table."""
    inputs, gains, ceilings, wieners, likenesses, left = [], [], [], [], [], 0
    for i, case in enumerate(tqdm(cases, desc=name, unit="image", leave=False)):
        found = kernel_selection.estimate_blur(to_float(case.blur), in_light=case.in_light)
        result = tiles.deblur(found.method(in_light=case.in_light), case.blur)
        before = min(registered_psnr(case.blur, case.sharp), 100.0)
        inputs.append(before)
        left += bool(found.doubt)
        gain = min(registered_psnr(result, case.sharp), 100.0) - before
        gains.append(0.0 if found.doubt else gain)
        line = f"{name} {i}: input {before:.2f} dB, gain {gain:+.2f} dB, side {len(found.kernel)}, radius "
        line += f"{radius(found.kernel):.1f}, sparsity {found.sparsity:.3f} of "
        line += f"{' '.join(f'{one:.2f}' for one in found.sparsities)}, agreement {found.agreement:.2f}, "
        line += f"held out {found.held_out:.2f}, consistency {found.consistency:.2f}"
        if case.kernel is not None:
            method = deconvolution.method(case.kernel, found.noise, in_light=case.in_light)
            ceilings.append(registered_psnr(tiles.deblur(method, case.blur), case.sharp) - before)
            wieners.append(registered_psnr(unsupervised(case), case.sharp) - before)
            likenesses.append(likeness(found.kernel, case.kernel))
            line += f", true kernel {ceilings[-1]:+.2f} dB, likeness {likenesses[-1]:.2f}"
        every_image(f"{line}{'; left: ' * bool(found.doubt)}{found.doubt}")
    if not gains:
        raise UserError(f"{name}: no photos, or no pairs below blur/ and sharp/")
    start = f"| {name} ({len(gains)}) | {statistics.median(inputs):.2f} dB | {statistics.median(gains):+.2f} dB "
    start += f"| {min(gains):+.2f} dB | {left} "
    if not ceilings:
        return f"{start}| | | | |"
    share = statistics.median(gain / most for gain, most in zip(gains, ceilings, strict=True))
    alike = 100 * float(np.mean(np.array(likenesses) >= LIKE))
    start += f"| {statistics.median(ceilings):+.2f} dB | {100 * share:.0f} % | {statistics.median(wieners):+.2f} dB "
    return f"{start}| {statistics.median(likenesses):.2f}, {alike:.0f} % |"


def drawn(case: Case) -> np.ndarray:
    """A shaken photo's part whose error falls most, before and after, and the kernels: found and true."""
    found = kernel_selection.estimate_blur(to_float(case.blur), in_light=True)
    result = case.blur if found.doubt else tiles.deblur(found.method(in_light=True), case.blur)
    images = (case.blur, result, case.sharp)
    errors = [ndimage.uniform_filter(np.square(one.astype(float) - case.sharp).mean(axis=2), PART) for one in images]
    half = (PART[0] // 2, PART[1] // 2)
    inner = (errors[0] - errors[1])[half[0] : -half[0], half[1] : -half[1]]
    if not inner.size:
        raise UserError(f"pictures are of photos of more than {PART[1]}x{PART[0]} pixels")
    top, left = np.unravel_index(inner.argmax(), inner.shape)
    parts = [one[top : top + PART[0], left : left + PART[1]] for one in images]
    captions = (*(f"{registered_psnr(one, case.sharp):.1f} dB" for one in images[:2]), "sharp")
    columns = [captioned(part, text) for part, text in zip(parts, captions, strict=True)]
    assert case.kernel is not None
    for kernel, text in ((found.kernel, "kernel: found"), (case.kernel, "true")):
        sheet = kernel_sheet([kernel], columns=1, zoom=max(1, (PART[0] - 12) // len(kernel)))
        room = [PART[0] - len(sheet), PART[0] - len(sheet[0])]
        padding = [(one // 2, one - one // 2) for one in room]
        columns.append(captioned(np.pad(sheet, (*padding, (0, 0)), constant_values=64), text))
    return side_by_side(columns)


def write_pictures(photos: list[Path], folder: Path) -> None:
    """Draw the first photos, shaken, with a grey level of noise."""
    rows = [drawn(case) for case in shaken(photos[: SHEETS * ROWS], "light", 1)]
    for i in range(SHEETS):
        sheet = stacked(rows[i * ROWS : (i + 1) * ROWS])
        Image.fromarray(sheet).save(folder / f"blind_{i + 1}.jpg", quality=QUALITY, subsampling=0)


def speed(photo: Path, size: str) -> str:
    """Seconds and peak memory for a shaken photo, enlarged to a size."""
    width, height = map(int, size.split("x"))
    large = np.asarray(Image.fromarray(read_rgb(photo)).resize((width, height), Image.Resampling.BICUBIC))
    rng = np.random.default_rng(0)
    case = Case(add_noise(blur_image(large, shake_kernel(rng)), rng, 1), large, None)
    begun, busy = time.perf_counter(), time.process_time()
    found = kernel_selection.estimate_blur(to_float(case.blur), in_light=True)
    estimated = time.perf_counter() - begun
    method = found.method(in_light=True)
    to_uint8(tiles.restore(method, to_float(case.blur), tiles.tile_for(method, case.blur.shape)))
    taken, busy = time.perf_counter() - begun, time.process_time() - busy
    peak = peak_bytes() / 1e9
    kernel = found.doubt or f"{len(found.kernel)} pixels"
    return f"| {size} | {kernel} | {estimated:.1f} s | {taken:.1f} s | {busy:.1f} s | {peak:.2f} GB |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="folder of sharp photos")
    parser.add_argument("--pairs", type=Path, nargs="+", default=[], help="folders of filmed pairs")
    parser.add_argument("--mild", action="store_true", help="photos that are sharp, hardly blurred, unevenly blurred")
    parser.add_argument("--way", choices=WAYS, action="append", help="what the blur mixes (default: all)")
    parser.add_argument("--noise", type=float, action="append", help="grey levels (default: 0, 1, 2)")
    parser.add_argument("--every", type=int, default=1, help="take every Nth image (default: all)")
    parser.add_argument("--size", action="append", help="WIDTHxHEIGHT: measure time and memory instead")
    parser.add_argument("--pictures", type=Path, help="folder to draw the first ten photos into instead")
    parser.add_argument("--each", action="store_true", help="print a line for each image, too")
    options = parser.parse_args()
    if options.every < 1:
        parser.error("--every is 1 or more")
    if not options.photos and (options.size or options.pictures or options.mild or not options.pairs):
        parser.error("name a folder of sharp photos, or --pairs")
    photos = files_below(options.photos)[:: options.every] if options.photos else []
    if options.size:
        print("| pixels | kernel | until the blur is known | until the photo is done | of all cores | peak memory |")
        print("| --- | --- | --- | --- | --- | --- |")
        for size in options.size:
            print(speed(photos[0], size), flush=True)
        return
    if options.pictures:
        write_pictures(photos, options.pictures)
        return
    sets: dict[str, Iterable[Case]] = {}
    if options.mild:
        sets |= {"sharp": sharp_photos(photos), "hardly blurred": mildly_blurred(photos)}
        sets |= {"several motions": of_several_motions(photos)}
    elif photos:
        for way in options.way or WAYS:
            for noise in options.noise or (0, 1, 2):
                sets[f"{way}, noise {noise:g}"] = shaken(photos, way, noise)
    sets |= {folder.as_posix(): filmed(folder, options.every) for folder in options.pairs}
    print("| images | input | gain, median | worst | left | true kernel | share of it | Wiener, true | likeness |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name, cases in sets.items():
        print(row(name, cases, tqdm.write if options.each else lambda line: None), flush=True)


if __name__ == "__main__":
    with reported("benchmark"):
        main()
