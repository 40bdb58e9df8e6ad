"""S3 by way of boto3: addresses, a client that tries again, and what went wrong in one line."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deblurgan.errors import UserError

SCHEME = "s3://"
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
TRIES = 6
CONNECT, READ = 10, 30
"""Seconds after which a connection, or the next bytes of an answer, are given up."""
POOL = 16
"""Connections at once."""


class Unreachable(UserError):
    """The service does not answer, or the network is away."""


@dataclass(frozen=True)
class Address:
    """A bucket, and the key of an object or the beginning of keys, without a slash at its end; it may be empty."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}" + (f"/{self.key}" if self.key else "")

    def __truediv__(self, name: str) -> "Address":
        return Address(self.bucket, f"{self.key}/{name}" if self.key else name)


def parse(text: str, what: str) -> Address:
    """Read `s3://bucket/prefix`.

    Parameters
    ----------
    text
        The address.
    what
        What to call it in an error.

    Raises
    ------
    UserError
        The text is no such address.
    """
    bucket, _, key = text.removeprefix(SCHEME).partition("/")
    key = key.rstrip("/")
    odd = key and not {"", ".", ".."}.isdisjoint(key.split("/"))  # they would lead elsewhere as folders
    if not text.startswith(SCHEME) or not BUCKET.fullmatch(bucket) or odd:
        raise UserError(f"{what}: {text!r} is no address of S3: write s3://bucket/prefix")
    return Address(bucket, key)


def client(service: str = "s3") -> Any:
    """Make a client of boto3 with the credentials, the region and the endpoint (AWS_ENDPOINT_URL) of the environment.

    Parameters
    ----------
    service
        Its name, as boto3 calls it.

    Raises
    ------
    UserError
        The environment, or a file of AWS's settings, names what is not there or cannot be.
    """
    import boto3  # takes a third of a second, and most runs need none
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": TRIES}
    settings = Config(retries=retries, connect_timeout=CONNECT, read_timeout=READ, max_pool_connections=POOL)
    try:
        with explained(f"AWS ({service})"):
            return boto3.Session().client(service, config=settings)  # of now: the default session keeps its credentials
    except ValueError as error:  # botocore has no error of its own for an endpoint without http://
        raise UserError(
            f"AWS ({service}): {error}: check AWS_ENDPOINT_URL (http://host:port) and the other settings of AWS"
        ) from None


REMEDIES = {
    "NoSuchBucket": "there is no such bucket: check its name, the account and AWS_ENDPOINT_URL",
    "NoSuchKey": "there is no such object",
    "404": "there is no such bucket or object",
    "AccessDenied": "access is denied: check what these credentials may do",
    "403": "access is denied: check what these credentials may do",
    "InvalidAccessKeyId": "the access key is not known there: check AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL",
    "SignatureDoesNotMatch": "the secret does not belong to the key: check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the credentials have expired: sign in again",
    "InvalidObjectState": "the object is archived: restore it by `aws s3api restore-object`, run again",
    "PermanentRedirect": "the bucket is in another region: set AWS_DEFAULT_REGION to it",
}
"""Error codes of S3 in words."""


@contextlib.contextmanager
def explained(what: object) -> Iterator[None]:
    """Turn what boto3 raises into one line.

    Parameters
    ----------
    what
        The address, or the service, that is talked to.

    Raises
    ------
    UserError
        Credentials are missing or refused, or the server does not answer (`Unreachable`), or answers with an error.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectionError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    try:
        yield
    except ClientError as error:
        raise UserError(f"{what}: {in_words(error)}") from None
    except (NoCredentialsError, PartialCredentialsError):
        raise UserError(
            f"{what}: no credentials are known: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    except (ConnectionError, HTTPClientError) as error:
        raise Unreachable(f"{what}: {' '.join(str(error).split())}") from None
    except BotoCoreError as error:  # no region, a profile that is not there
        raise UserError(f"{what}: {' '.join(str(error).split())}") from None


def in_words(error: Any) -> str:
    """What a service answered (`botocore.exceptions.ClientError`)."""
    code, message = (error.response.get("Error", {}).get(name, "") for name in ("Code", "Message"))
    return REMEDIES.get(code) or f"{code or 'error'}: {' '.join(str(message).split())}"


def listed(s3: Any, address: Address, prefix: str) -> Iterator[dict[str, Any]]:
    """Objects of a bucket by key, as `ListObjectsV2` describes them: Key, ETag, Size.

    Parameters
    ----------
    s3
        See `client`.
    address
        The bucket; what to call it in an error.
    prefix
        Beginning of the keys.
    """
    with explained(address):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=address.bucket, Prefix=prefix):
            yield from page.get("Contents", ())
