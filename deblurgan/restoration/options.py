"""The command line of `python -m deblurgan deblur`."""

import argparse
from collections.abc import Callable
from pathlib import Path

MODEL = Path("models/generator.keras")
BUILT_IN = Path("pretrained")
"""What `--model` calls the pretrained generator, as `train.init_from` does."""
BLIND = ("blind", "auto")
"""Ways that estimate the blur of a photo from the photo itself."""
WAYS = ("deblurgan", *BLIND, "wiener", "richardson-lucy", "unsharp")
"""The generator, blind deconvolution, and `classical.ALGORITHMS`: what `--algorithm` can be."""
LARGEST_KERNEL = 151
"""Pixels."""


def tile_option(text: str) -> str | int:
    """`auto`, `off` or a number of pixels."""
    if text in ("auto", "off"):
        return text
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither auto, nor off, nor a number of pixels")


def number_between(lowest: float, highest: float) -> Callable[[str], float]:
    """A reader of an option that is a number between two limits."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest:g} to {highest:g}")
        return value

    return number


def kernel_size(text: str) -> int:
    """A number of pixels, rounded up to an odd one: a kernel has a middle."""
    if not text.isdecimal() or not 3 <= int(text) <= LARGEST_KERNEL:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from 3 to {LARGEST_KERNEL}")
    return int(text) // 2 * 2 + 1


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deblurgan deblur",
        description="Deblur photos: PNG, JPEG, WebP and TIFF in and out, of any size. Transparency, EXIF, XMP, IPTC "
        "and colour profile are kept, the orientation is applied; BMP, GIF and palettes become PNG, HEIC and AVIF "
        "JPEG, or PNG if they have transparency.",
        epilog="For example: python -m deblurgan deblur holiday.jpg other/ --output deblurred --compare. "
        "Each file that fails is named with the reason, the others are done, and the exit code is 1. A missing "
        "input stops the run before it begins; a full disk stops it at once.",
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="PHOTO_OR_FOLDER", help="what to deblur")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--model",
        type=Path,
        help=f"generator to use: a file, or {BUILT_IN}, which comes with the project (default: {MODEL}, which training "
        f"makes; where there is none, {BUILT_IN})",
    )
    parser.add_argument(
        "--algorithm",
        choices=WAYS,
        default="deblurgan",
        help="deblurgan, the network; blind, which finds the one blur of a shaken photo and undoes it; auto: sharp "
        "photos stay, one blur is undone by blind, the network does the others; or a classical one that guesses a "
        "slight round blur (default: %(default)s)",
    )
    parser.add_argument(
        "--kernel-size",
        type=kernel_size,
        metavar="N",
        help="of blind and auto: pixels that the blur is wide at most (default: chosen from the photo)",
    )
    parser.add_argument(
        "--show-kernel", action="store_true", help="of blind and auto: also write a picture of the blur that was found"
    )
    parser.add_argument(
        "--strength",
        type=number_between(0, 1),
        default=1.0,
        metavar="0..1",
        help="0 corrects nothing, 1 deblurs them fully (default: 1)",
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="average what eight positions give, mirrored and turned: slightly better, eight times as long",
    )
    parser.add_argument("--compare", action="store_true", help="also write before and after side by side")
    harmless = parser.add_mutually_exclusive_group()
    harmless.add_argument(
        "--skip-sharp",
        action="store_true",
        help="leave photos that do not look blurred as they are, whatever the algorithm",
    )
    harmless.add_argument(
        "--always",
        action="store_true",
        help="keep the network's correction of photos that it finds hardly blurred, too: most become worse",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace results that exist")
    existing.add_argument("--skip-existing", action="store_true", help="leave out files whose results exist")
    parser.add_argument("--recursive", action="store_true", help="look into the folders of folders, too")
    parser.add_argument(
        "--tile",
        type=tile_option,
        default="auto",
        metavar="auto|N|off",
        help="side in pixels of the tiles that the network sees; auto: the whole photo if it fits into --memory; "
        "photos of over 1024 pixels a side are cut for classical algorithms, of over 1536 for blind",
    )
    parser.add_argument(
        "--memory",
        type=number_between(0.1, 10000),
        default=2.5,
        metavar="GB",
        help="budget for a photo's restoration, on top of the libraries' 1 GB (default: 2.5)",
    )
    parser.add_argument(
        "--video", action="store_true", help="the inputs are clips; the results are .mp4, frame by frame"
    )
    options = parser.parse_args(arguments)
    for name in ("ensemble", "always"):
        if getattr(options, name) and options.algorithm not in ("deblurgan", "auto"):
            parser.error(f"--{name} is for the network, not for --algorithm {options.algorithm}")
    if options.video and (options.compare or options.skip_sharp):
        parser.error("--compare and --skip-sharp are for photos, not for --video")
    if options.algorithm not in BLIND and (options.kernel_size or options.show_kernel):
        parser.error("--kernel-size and --show-kernel are for --algorithm blind and auto")
    if options.video and options.algorithm in BLIND:
        parser.error(f"--algorithm {options.algorithm} is for photos, not for --video")
    options.skip_sharp = options.skip_sharp or (options.algorithm == "auto" and not options.always)
    return options
