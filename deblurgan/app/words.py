"""What the page says of a batch, as HTML; names and reasons come from strangers and are escaped."""

import html
import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from deblurgan.app.batch import Batch
from deblurgan.app.worker import Failed, Restored

LINK = "gradio_api/file="
"""Address of a file, as seen from the page, wherever a proxy shows the page."""


def status(batch: Batch) -> str:
    """Say how far a batch is, and how long it will take."""
    count, current = len(batch.items), batch.current
    failed = sum(isinstance(item.outcome, Failed) for item in batch.items)
    if current is None or batch.cancelled.is_set():
        done = len(batch.restored)
        said = f"{done} of {count} deblurred"
        said += f", {failed} cannot be" if failed else ""
        said += ". Cancelled." if batch.cancelled.is_set() else "."
        return f"<p role='status'>{said}</p>"
    number = batch.items.index(current) + 1
    what = "loading the model" if batch.loading else "looking for the blur" if batch.looking else "deblurring"
    said = f"{number} of {count}: {what}, {html.escape(current.name)}"
    value = f" value='{batch.fraction:.4f}'" if batch.fraction > 0 else ""
    left = batch.left
    rest = f"<p>About {duration(left)} left</p>" if left is not None else ""
    return f"<p>{said}</p><progress max='1'{value} aria-label='progress'></progress>{rest}"


def duration(seconds: float) -> str:
    """Seconds in words.

    Examples
    --------
    >>> duration(4), duration(84), duration(7300)
    ('4 s', '1 min 24 s', '2 h 1 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def outcomes(batch: Batch) -> str:
    """A table of all photos: size, time and link of each result, or the reason why there is none."""
    rows = []
    for item in batch.items:
        name = html.escape(item.name)
        if isinstance(item.outcome, Restored):
            found = item.outcome
            notes = "".join(f"<div class='note'>{html.escape(note)}</div>" for note in found.notes)
            said = f"{found.size[0]}×{found.size[1]}, {found.seconds:.1f} s{notes}"
            link = f"<a href='{address(found.result)}' download='{html.escape(found.result.name)}'>Download</a>"
            rows.append(f"<tr><td>{name}</td><td>{said}</td><td>{link}</td></tr>")
        elif isinstance(item.outcome, Failed):
            rows.append(
                f"<tr><td>{name}</td><td class='reason' colspan='2'>{html.escape(item.outcome.reason)}</td></tr>"
            )
        else:
            said = "not done" if batch.cancelled.is_set() else "at work" if item is batch.current else "waiting"
            rows.append(f"<tr><td>{name}</td><td class='note' colspan='2'>{said}</td></tr>")
    head = "<tr><th scope='col'>Photo</th><th scope='col'>Result</th><th scope='col'>File</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def address(path: Path) -> str:
    """The address of a file of the page's folder."""
    return html.escape(LINK + quote(str(path)))


def command(names: Sequence[str], arguments: tuple[str, ...]) -> str:
    """The command that gives the same files."""
    photos = names if len(names) <= 3 else [*names[:2], "..."]
    line = shlex.join(["python", "-m", "deblurgan", "deblur", *photos, "--output", "deblurred", *arguments])
    return f"<p>The same files come from</p><pre><code>{html.escape(line)}</code></pre>"
