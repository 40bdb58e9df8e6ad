"""`python -m deblurgan dumps`: photos in, out of and into buckets."""

import argparse
from collections.abc import Callable
from pathlib import Path

from deblurgan import params
from deblurgan.dumps import publishing, registration
from deblurgan.dumps.tables import PAIRS, PHOTOS
from deblurgan.errors import UserError
from deblurgan.files import require
from deblurgan.s3 import SCHEME, parse

DEBLURRED = Path("data/deblurred")


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deblurgan dumps",
        description="Photos of a bucket become data of the pipeline, and deblurred photos go to a bucket. Neither "
        "deletes anything.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    pull = commands.add_parser(
        "pull",
        help="bring what is new in a bucket, and register it in dumps/",
        description="Brings the objects that are new or changed, and registers them in dumps/photos.csv and "
        "dumps/pairs.csv. The next `dvc repro` takes what is registered there.",
    )
    pull.add_argument(
        "--photos", metavar="S3", help="s3://bucket/prefix; default without --pairs: fetch_unsplash.source"
    )
    pull.add_argument(
        "--pairs", metavar="S3", help="s3://bucket/prefix or a zip; default without --photos: ingest_gopro.source"
    )
    pull.add_argument("--forget", action="store_true", help="unregister what is no longer in the bucket")
    push = commands.add_parser("push", help="publish data/deblurred under readable names")
    push.add_argument("address", metavar="S3", help="s3://bucket/prefix")
    return parser.parse_args(arguments)


def pull(photos: str | None, pairs: str | None, *, forget: bool) -> None:
    """Register what is new; without addresses, of the sources in params.yaml that are buckets.

    Raises
    ------
    UserError
        No address is known, or a bucket does not give what is asked for.
    """
    if not (photos or pairs):
        p = params.load()
        photos, pairs = (s.source if s.source.startswith(SCHEME) else None for s in (p.fetch_unsplash, p.ingest_gopro))
    if not (photos or pairs):
        raise UserError(
            "neither fetch_unsplash.source nor ingest_gopro.source in params.yaml is s3://bucket/prefix: set one, or "
            "give --photos or --pairs"
        )
    todo: list[tuple[str | None, str, Path, Callable[[str], bool]]] = [
        (photos, "--photos", PHOTOS, registration.is_photo),
        (pairs, "--pairs", PAIRS, registration.is_image),
    ]
    for source, option, table, usable in todo:
        if source:
            address = parse(source, option)
            counts = registration.register(address, table, usable, forget=forget)
            print("\n".join(registration.in_words(address, table, counts)))


def main(arguments: list[str]) -> None:
    """Pull or push."""
    options = read_options(arguments)
    if options.command == "pull":
        pull(options.photos, options.pairs, forget=options.forget)
        return
    require(DEBLURRED)
    address = parse(options.address, "dumps push")
    print("\n".join(publishing.in_words(address, publishing.publish(DEBLURRED, address))))
