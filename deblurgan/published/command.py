"""`python -m deblurgan weights`: published weights as models of this project."""

import argparse
import json
from pathlib import Path

from deblurgan.errors import UserError
from deblurgan.files import cache_directory, sha256_of
from deblurgan.published.catalogue import KNOWN, Published
from deblurgan.sources.web import address_for_people, download

MODELS = Path("models")


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deblurgan weights",
        description="Published weights as models of this project. Without a command: what is known.",
        epilog="A model is used by `python -m deblurgan deblur --model models/NAME.keras ...`, and as train.init_from.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    get = commands.add_parser("get", help="download known weights, compare their SHA-256, and convert them")
    get.add_argument("name", choices=KNOWN, metavar="NAME", help=", ".join(KNOWN))
    get.add_argument("--from", type=Path, dest="file", metavar="FILE", help="a file that was fetched by hand")
    convert = commands.add_parser("convert", help="convert a NAFNet or DeblurGAN that somebody has trained")
    convert.add_argument("file", type=Path, metavar="FILE", help=".pth (of any version of PyTorch) or .safetensors")
    for command in (get, convert):
        command.add_argument("--output", type=Path, metavar="MODEL", help="default: models/NAME.keras")
        command.add_argument("--overwrite", action="store_true", help="replace a model that exists")
    return parser.parse_args(arguments)


def listed() -> str:
    """All known weights, and what was measured of them by their authors."""
    rows = []
    for known in KNOWN.values():
        there = "  <- models/" if (MODELS / f"{known.name}.keras").exists() else ""
        rows.append(f"{known.name:16s} {known.megabytes:4d} MB  {known.licence:9s}  {known.score}{there}")
        rows.append(f"{'':16s} for {known.blur}")
    authors = dict.fromkeys(known.authors for known in KNOWN.values())
    more = "`weights get NAME` makes models/NAME.keras of them. Scores are their authors':"
    return "\n".join([*rows, "", more, *authors])


def fetched(known: Published) -> tuple[Path, str]:
    """Download known weights, from the first address that gives them.

    Returns
    -------
    path, address
        Where they are on this machine, and where they come from.

    Raises
    ------
    UserError
        No address gives them.
    """
    by_hand = f"fetch {known.file} by hand, and give it by --from"
    target = cache_directory() / "weights" / known.file
    faults = []
    for address in known.addresses:
        try:
            download(address, target, sha256=known.sha256, remedy="run again later, or " + by_hand)
        except UserError as error:
            faults.append(str(error))
            print(f"weights: {error}")
        else:
            return target, address_for_people(address)
    if faults:
        raise UserError(f"{known.name} cannot be had from any of {len(faults)} addresses: {by_hand}")
    raise UserError(f"{known.name} has no address that a program can use: {by_hand}; see {known.authors}")


def known_file(known: Published, file: Path) -> None:
    """Refuse a file that was fetched by hand and is not the one that was published.

    Raises
    ------
    UserError
        It is another one, or there is none.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    if known.sha256 and (found := sha256_of(file)) != known.sha256:
        raise UserError(
            f"{file} has the SHA-256 {found}, and {known.file} as published {known.sha256}: fetch it again, or "
            "`weights convert` it as a file of your own"
        )


def convert(file: Path, output: Path, provenance: dict[str, str], expected: str | None = None) -> str:
    """Convert a checkpoint, prove it, and write the model with its provenance; what was proved in words.

    `expected`: the architecture that it must be of.

    Raises
    ------
    UserError
        The file is refused, or of another architecture.
    """
    from deblurgan import backend  # isort: skip  before anything that imports Keras

    import keras

    from deblurgan.networks.model_files import load_generator, save_model
    from deblurgan.published.architectures import ignored
    from deblurgan.published.checkpoints import read_checkpoint
    from deblurgan.published.conversion import converted, proof_image

    backend.be_deterministic()
    tensors = read_checkpoint(file)
    try:
        found = converted(tensors)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    if expected and found.plan.name != expected:
        raise UserError(f"{file} is a {found.plan.name}, not the {expected} that was asked for")
    settings = found.plan.settings
    blocks = " ".join(map(str, [settings.blocks] if isinstance(settings.blocks, int) else settings.blocks))
    architecture = f"{found.plan.name}, {settings.filters} filters, blocks {blocks}"
    save_model(found.generator, output, {"architecture": architecture, "sha256": sha256_of(file), **provenance})
    outputs = [
        keras.ops.convert_to_numpy(model(proof_image()[None])) for model in (found.generator, load_generator(output))
    ]
    if (outputs[0] != outputs[1]).any():
        raise AssertionError(f"{output} does not compute what was saved")
    unused = ignored(found.plan, tensors)
    lines = [
        f"{output}: {architecture}; {found.generator.count_params():,} parameters",
        f"generator: {json.dumps(settings.model_dump())}",
        f"proved: all {len(found.plan.parts)} tensors have their place, the output is within {found.error:.0e} of that "
        "of the architecture's definition in NumPy, the file gives the same; not proved: that the weights are good",
    ]
    if unused:
        lines.append(f"not used: {len(unused)} statistics of norms, which the architecture does without")
    if found.plan.name == "DeblurGAN":
        lines.append("taken as trained with --learn_residual, as its authors advise; a file does not say it")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Read the command line, and do it."""
    options = read_options(arguments)
    if not options.command:
        print(listed())
        return
    name = options.name if options.command == "get" else options.file.stem
    output = options.output or MODELS / f"{name}.keras"
    if output.suffix != ".keras":
        raise UserError(f"{output}: a model's name ends in .keras")
    if output.exists() and not options.overwrite:
        raise UserError(f"{output} exists; --overwrite replaces it")
    if options.command == "convert":
        print(convert(options.file, output, {"source": options.file.name}))
        return
    known = KNOWN[options.name]
    if options.file:
        known_file(known, options.file)
        file, source = options.file, options.file.name
    else:
        file, source = fetched(known)
    more = {"source": source, "licence": known.licence, "authors": known.authors, "published as": known.file}
    print(convert(file, output, more, "DeblurGAN" if known.name == "deblurgan" else "NAFNet"))
    print(f"licence: {known.licence}; cite {known.authors}")
