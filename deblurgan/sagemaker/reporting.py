"""Figures of a training as lines of its log, from which SageMaker draws curves."""

import csv
import json
import threading
from collections import defaultdict
from pathlib import Path
from types import TracebackType

from deblurgan.files import new_file

PERIOD = 2.0
"""Seconds between two looks at the curves."""


class Reporter:
    """Prints a line for each validation, while a training writes its curves.

    Parameters
    ----------
    curves
        Folder of the curves, see `deblurgan.training.run.Outputs`.
    reported
        File with the last step that was printed: a training that goes on repeats no line.
    """

    def __init__(self, curves: Path, reported: Path) -> None:
        self._curves, self._reported = curves, reported
        self._last = _number_in(reported)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Reporter":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._ended.set()
        self._thread.join()
        self.report(whole=kind is None)

    def _run(self) -> None:
        while not self._ended.wait(PERIOD):
            self.report()

    def report(self, *, whole: bool = False) -> None:
        """Print what is new; `whole`: the training has ended, and all its curves are complete."""
        try:
            complete = json.loads((self._curves / "metrics.json").read_text())["step"]
        except (OSError, ValueError, KeyError):  # not there yet, or being written
            complete = 0
        for step, figures in sorted(read_curves(self._curves).items()):
            if self._last < step and (whole or step <= complete):
                print(f"step={step} " + " ".join(f"{name}={value}" for name, value in figures.items()), flush=True)
                self._last = step
                with new_file(self._reported) as partial:  # SageMaker copies the folder at any moment
                    partial.write_text(str(step))


def _number_in(reported: Path) -> int:
    """The last step that was printed; 0 where nobody knows: a line that comes twice harms less than no training."""
    try:
        return int(reported.read_text())
    except (OSError, ValueError):
        return 0


def read_curves(curves: Path) -> dict[int, dict[str, float]]:
    """Figures by step and name, `train/loss`."""
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for path in sorted((curves / "plots/metrics").glob("*/*.tsv")):
        with open(path, newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                try:
                    found[int(row["step"])][f"{path.parent.name}/{path.stem}"] = float(row[path.stem])
                except (KeyError, TypeError, ValueError):
                    continue  # a row that is being written
    return found
