"""What AWS Lambda calls with a batch of messages of the queue."""

from typing import Any

from deblurgan.events.handling import Failed, handle
from deblurgan.events.settings import settings_from

SETTINGS = settings_from()
"""Read once, while the function starts; all calls share the connections and the model."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handle a batch.

    Parameters
    ----------
    event
        `Records`, each with `messageId` and `body`.
    context
        Of the call; nothing of it is needed.

    Returns
    -------
    dict
        `batchItemFailures`: the messages that have to come again. The others are done, and Lambda deletes them.
    """
    failures = []
    for record in event["Records"]:
        try:
            handle(record["body"], SETTINGS)
        except Failed:
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
