"""Rows of an evaluation that outlive a killed process."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from deblurgan.errors import UserError
from deblurgan.files import cache_directory, locked, new_file
from deblurgan.parallel import each

Item = TypeVar("Item")
Row = dict[str, Any]

KEPT_DAYS = 30
"""After so long without a new row, the rows of an evaluation that nobody went on with are thrown away."""


class Rows:
    """Rows of an evaluation by the name of what they are about, each written down as soon as it is there.

    A row that was cut off or damaged when a run was killed is as if it had never been.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, {}
        content = path.read_bytes() if path.exists() else b""
        for line in content.splitlines():
            with contextlib.suppress(ValueError, TypeError):
                name, row = json.loads(line)
                self.found[name] = row
        whole = "".join(map(_line, self.found.items()))
        if content != whole.encode():
            with new_file(path) as partial:
                partial.write_text(whole, encoding="utf-8")

    def of(
        self,
        items: dict[str, Item],
        work: Callable[[Any], Row],
        prepare: Callable[[Item], Any],
    ) -> list[Row]:
        """The rows of all items, in their order; what is not there yet is measured, see `parallel.each`."""
        missing = [name for name in items if name not in self.found]
        if len(missing) < len(items):
            print(f"evaluate: {len(items) - len(missing)} of {len(items)} images were measured before")
        todo = [items[name] for name in missing]
        with open(self.path, "a", encoding="utf-8") as stream:
            results = each(work, todo, label="evaluate", unit="image", prepare=prepare)
            for name, row in zip(missing, results, strict=True):
                self.found[name] = row
                stream.write(_line((name, row)))
                stream.flush()
        return [self.found[name] for name in items]


def _line(entry: tuple[str, Row]) -> str:
    return json.dumps(entry) + "\n"


@contextlib.contextmanager
def kept_rows(name: str) -> Iterator[Rows]:
    """The rows of one evaluation, held by this process alone.

    They lie in the cache directory, outside of DVC's outputs, which DVC deletes before each run.

    Parameters
    ----------
    name
        Hash of all that determines a row but the images: an evaluation under another name never sees its rows.

    Raises
    ------
    UserError
        Another process runs the same evaluation.
    """
    path = cache_directory() / "evaluate" / f"{name}.jsonl"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path.with_suffix(".lock"), wait=False))
        except BlockingIOError:
            raise UserError(f"another process runs this evaluation: wait for it, or stop it ({path})") from None
        for other in path.parent.glob("*"):
            with contextlib.suppress(FileNotFoundError):  # another evaluation may remove it, too
                if other.stat().st_mtime < time.time() - KEPT_DAYS * 24 * 3600:
                    other.unlink()
        yield Rows(path)
