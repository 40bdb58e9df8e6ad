"""One object of a bucket, processed: fetched, cleaned, resized, deblurred, and its results put where they belong.

The results are a function of the object, at keys that are its own. Doing it twice, or at the same time, changes
nothing: who has written looks once more at the source, and starts again if it is another one by now. Whoever writes
last has therefore seen the object as it is.
"""

import io
import json
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from botocore.exceptions import BotoCoreError, ClientError
from PIL import Image

from deblurgan.cleaning.conversion import Rejected
from deblurgan.cleaning.photo import TOO_LARGE, cleaned, largest_file
from deblurgan.errors import UserError
from deblurgan.events.keys import photo_key, rejection_key
from deblurgan.events.settings import Settings
from deblurgan.images import PNG_LEVEL
from deblurgan.resizing import SMALLEST, TOO_THIN, resized, whole

TRIES = 5
"""Times that an object is begun anew, since it was replaced meanwhile or the connection was cut."""
GONE = ("NoSuchKey", "NoSuchVersion", "404")
"""Error codes of objects that are not there."""


class Unsettled(Exception):
    """An object that was replaced again and again while it was processed."""


@dataclass(frozen=True)
class Outcome:
    """What became of an object.

    Parameters
    ----------
    kind
        `resized`; `rejected`; `unchanged`: what it becomes was there already; `gone`: there is no such object any more;
        `folder`: an empty object that stands for a folder.
    reason
        Why it is rejected; see `cleaning.conversion.Rejected`.
    said
        What is to be said about the deblurred photo, `note: ...` or `warning: ...`.
    etag, size
        Of the source; bytes.
    deblurred
        Whether a deblurred photo was written, too.
    """

    kind: Literal["resized", "rejected", "unchanged", "gone", "folder"]
    reason: str = ""
    said: str = ""
    etag: str = ""
    size: int = 0
    deblurred: bool = False


@dataclass(frozen=True)
class _Place:
    """Where a result of an object goes, and the metadata that it has when it is up to date."""

    bucket: str
    key: str
    metadata: dict[str, str]


def process(bucket: str, key: str, settings: Settings) -> Outcome:
    """Process an object of a bucket as the stages clean, resize and deblur process a photo without a partner.

    Parameters
    ----------
    bucket, key
        Of the object; what counts is its current version.
    settings
        Parameters, buckets to write to, model.

    Returns
    -------
    Outcome
        The object then has either a resized photo (and a deblurred one, where a model is configured) or a report at
        `rejected/<key>.json` with the reason, never both.

    Raises
    ------
    UserError
        The bucket is one that is written to: each result would cause the next.
    Unsettled, botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
        It may succeed another time. Nothing is half written.
    """
    if bucket in settings.destinations:
        raise UserError(f"{bucket} is written to: objects in it are not processed, or each result would cause the next")
    for again in reversed(range(TRIES)):
        try:
            outcome = _once(bucket, key, settings)
            if outcome.kind not in ("resized", "rejected") or _etag(bucket, key, settings) in ("", outcome.etag):
                return outcome
        except BotoCoreError:  # the connection was cut in the middle of the object
            if not again:
                raise
    raise Unsettled(f"s3://{bucket}/{key} was replaced {TRIES} times while it was processed")


def _once(bucket: str, key: str, settings: Settings) -> Outcome:
    try:
        source = settings.client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return Outcome("gone")
        raise
    with source["Body"] as body:
        found = Outcome("unchanged", etag=source["ETag"].strip('"'), size=source["ContentLength"])
        if key.endswith("/") and not found.size:
            return replace(found, kind="folder")
        history = settings.history(found.etag)
        report = _Place(settings.resized, rejection_key(key), history)
        photos = [_Place(settings.resized, photo_key(key), history)]
        if settings.deblurred and settings.deblur:
            photos.append(
                _Place(settings.deblurred, photo_key(key), {**history, "model-sha256": settings.deblur.sha256})
            )
        there = [_metadata(place, settings) for place in (report, *photos)]
        if settings.is_definite and there in (
            [history, *(None for _ in photos)],
            [None, *(place.metadata for place in photos)],
        ):
            return found
        try:
            if found.size > largest_file(settings.clean):
                raise Rejected(TOO_LARGE)
            contents, said = _results(body.read(), settings)
        except Rejected as refused:
            refusal = {"bucket": bucket, "key": key, "reason": str(refused), **history}
            _put(
                report, f"{json.dumps(refusal, indent=2, ensure_ascii=False)}\n".encode(), "application/json", settings
            )
            stale = [place for place, metadata in zip(photos, there[1:], strict=True) if metadata is not None]
            _delete(stale, settings)
            return replace(found, kind="rejected", reason=str(refused))
    for place, content in zip(photos, contents, strict=True):
        _put(place, content, "image/png", settings)
    _delete([report] if there[0] is not None else [], settings)
    return replace(found, kind="resized", said=said, deblurred=len(photos) > 1)


def _results(data: bytes, settings: Settings) -> tuple[list[bytes], str]:
    """The files of the resized and, if asked for, of the deblurred photo; what is to be said about the latter."""
    image, untouched = cleaned(data, settings.clean)
    ((_, small),) = resized(image, whole(settings.resize))
    if min(small.size) < SMALLEST:
        raise Rejected(TOO_THIN)
    pixels = np.asarray(small)
    contents = [data if untouched and small is image else _png(pixels)]
    if not settings.deblur:
        return contents, ""
    restored, said = settings.deblur(pixels)
    return [*contents, _png(restored)], said


def _png(pixels: np.ndarray) -> bytes:
    """The file that `images.write_png` writes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=PNG_LEVEL)
    return stream.getvalue()


def _etag(bucket: str, key: str, settings: Settings) -> str:
    """The ETag of an object as it is now; empty if it is gone."""
    try:
        return settings.client.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return ""
        raise


def _metadata(place: _Place, settings: Settings) -> dict[str, str] | None:
    """The metadata of what is at a place; None if nothing is."""
    try:
        return settings.client.head_object(Bucket=place.bucket, Key=place.key)["Metadata"]
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return None
        raise


def _put(place: _Place, content: bytes, kind: str, settings: Settings) -> None:
    """Write an object, whole or not at all; S3 compares it with a checksum that boto3 sends along."""
    settings.client.put_object(
        Bucket=place.bucket, Key=place.key, Body=content, ContentType=kind, Metadata=place.metadata
    )


def _delete(places: list[_Place], settings: Settings) -> None:
    """Remove what an earlier version of the object had become; a versioned bucket keeps it."""
    for place in places:
        settings.client.delete_object(Bucket=place.bucket, Key=place.key)
