"""The front door: `python -m deblurgan` lists what can be done."""

import importlib
import os
import sys

from deblurgan.errors import keep_starts_short, reported

keep_starts_short()

COMMANDS = {
    "deblur": ("deblurgan.restoration.command", "deblur photos, folders and clips of yours"),
    "app": ("deblurgan.app.command", "the same in the browser, and trainings compared"),
    "plots": ("deblurgan.app.plots", "write DVC's page of plots so that it needs no network"),
    "preset": ("deblurgan.presets", "list the recipes of real trainings, or run one as an experiment"),
    "weights": ("deblurgan.published.command", "list published weights, or make a model of them"),
    "events": ("deblurgan.events.command", "process photos as they arrive in a bucket, one by one"),
    "dumps": ("deblurgan.dumps.command", "take photos from a bucket into the pipeline, publish deblurred ones"),
    "export": ("deblurgan.export.command", "write a generator as ONNX or LiteRT, which need no TensorFlow"),
    "scores": ("deblurgan.evaluation.scores", "print what the last evaluation found"),
}
"""The module whose `main` takes the arguments that follow, and what it does."""


def usage() -> str:
    """What can be done."""
    lines = [f"  {name:8s} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "python -m deblurgan COMMAND ...",
            "",
            *lines,
            "",
            "Each command has --help. The pipeline itself is run by `dvc repro`, or `make repro`.",
        ]
    )


def main(arguments: list[str]) -> None:
    """Run a command, or list all."""
    name, *rest = arguments or ["--help"]
    asked = name in ("-h", "--help", "help")
    if name not in COMMANDS and not asked:
        sys.exit(f"deblurgan: error: no command {name!r}\n\n{usage()}")
    with reported("deblurgan" if asked else name):
        try:
            if asked:
                print(usage())
            else:
                importlib.import_module(COMMANDS[name][0]).main(rest)
            sys.stdout.flush()
        except BrokenPipeError:
            if not _nobody_reads():
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
            sys.exit(1)


def _nobody_reads() -> bool:
    """Whether the program that reads the output has ended, as `| head` does after a few lines."""
    try:
        print(flush=True)
    except BrokenPipeError:
        return True
    return False


if __name__ == "__main__":
    main(sys.argv[1:])
