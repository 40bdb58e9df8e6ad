"""What the page offers to restore with: generators in `models/`, the pretrained generator, algorithms."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from deblurgan.pretrained import PRETRAINED
from deblurgan.restoration.exported import SUFFIX
from deblurgan.restoration.options import MODEL, WAYS

SUFFIXES = (SUFFIX, ".keras")
PROVENANCE = "provenance.json"
"""Member of a `.keras` archive that says where converted weights come from; read without Keras, which takes seconds."""
ROUND = "A classical algorithm, without a network: it takes the blur for slight and round."
ABOUT = {
    "blind": ("Camera shake (blind)", "Finds the one blur of a shaken photo and undoes it, without a network."),
    "auto": ("Automatic", "Sharp photos stay as they are, one blur is undone, the rest is for the generator."),
    "unsharp": ("Unsharp masking", ROUND),
    "wiener": ("Wiener filter", ROUND),
    "richardson-lucy": ("Richardson-Lucy deconvolution", ROUND),
}
"""Names of `--algorithm`: what the page calls it, and a sentence about it."""


@dataclass(frozen=True)
class Choice:
    """A way to restore: its name, options of `python -m deblurgan deblur`, and a sentence about it."""

    name: str
    arguments: tuple[str, ...]
    about: str
    neural: bool


def choices() -> dict[str, Choice]:
    """All ways there are now, by name; the first is the command's own default."""
    found = [Choice("Project's generator", (), _about_default(), True)]
    models = sorted(path for path in MODEL.parent.glob("*") if path.suffix in SUFFIXES and path.is_file())
    for path in [*models, PRETRAINED.with_suffix(SUFFIX)]:  # the exported one starts in a second
        if path.is_file():
            shown = Path(*path.parts[-2:])
            named = shown if shown.is_file() else path  # from another folder
            found.append(Choice(str(shown), ("--model", str(named)), _about(path), True))
    for name in WAYS[1:]:
        title, about = ABOUT[name]
        found.append(Choice(title, ("--algorithm", name), about, False))
    return {choice.name: choice for choice in found}


def _about_default() -> str:
    trained = any(MODEL.with_suffix(suffix).is_file() for suffix in SUFFIXES)
    if trained:
        return f"The generator that was trained here, {MODEL.with_suffix('')}."
    return "The pretrained generator, until `make repro` has trained a generator here."


def _about(path: Path) -> str:
    """A sentence about a model: whose weights it has, and under which licence, where the file says so."""
    megabytes = path.stat().st_size / 1e6
    source = _provenance(path)
    said = [f"{source[key]}" for key in ("source", "authors", "licence", "license") if source.get(key)]
    return f"{path.name}, {megabytes:.1f} MB. {'; '.join(said)}".strip()


def _provenance(path: Path) -> dict[str, str]:
    if path.suffix != ".keras":
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            found = json.loads(archive.read(PROVENANCE))
            return found if isinstance(found, dict) else {}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return {}
