"""What S3 says in a message about an object that has arrived."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

CREATED = ("ObjectCreated:", "s3:ObjectCreated:")
"""Beginnings of the events that a new object causes."""


class BadMessage(Exception):
    """A message that says nothing about objects, however often it is read."""


@dataclass(frozen=True)
class Arrival:
    """An object that has arrived."""

    bucket: str
    key: str


def arrivals(body: str) -> list[Arrival]:
    """Read the body of a message: an event of S3, by itself, by SNS or by EventBridge.

    Parameters
    ----------
    body
        JSON.

    Returns
    -------
    list of Arrival
        Empty for the message with which S3 tests a new notification, and for events of other kinds: an object was
        removed, for instance. The version that an event names is not kept: what counts is the object as it is now.

    Raises
    ------
    BadMessage
        The body is none of these.

    Examples
    --------
    >>> arrivals('{"Service": "Amazon S3", "Event": "s3:TestEvent"}')
    []
    >>> s3 = {"bucket": {"name": "dump"}, "object": {"key": "photos/a+b%2B%C3%BC.jpg"}}
    >>> arrivals(json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": s3}]}))
    [Arrival(bucket='dump', key='photos/a b+ü.jpg')]
    """
    try:
        event = json.loads(body)
        if event.get("Type") == "Notification":  # of SNS
            event = json.loads(event["Message"])
        return _of(event)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadMessage(f"no event of S3 ({type(error).__name__}): {body[:200]!r}") from None


def _of(event: Any) -> list[Arrival]:
    if event.get("Event") == "s3:TestEvent":
        return []
    if event.get("source") == "aws.s3":  # of EventBridge, which does not encode keys
        detail = event["detail"]
        created = event["detail-type"] == "Object Created"
        return [_arrival(detail["bucket"]["name"], detail["object"]["key"])] if created else []
    found = []
    for record in event["Records"]:
        if record["eventName"].startswith(CREATED):
            s3 = record["s3"]
            found.append(_arrival(s3["bucket"]["name"], unquote_plus(s3["object"]["key"])))
    return found


def _arrival(bucket: Any, key: Any) -> Arrival:
    if not (isinstance(bucket, str) and isinstance(key, str) and bucket and key):
        raise ValueError
    key.encode()  # half a character is none of S3's
    return Arrival(bucket, key)
