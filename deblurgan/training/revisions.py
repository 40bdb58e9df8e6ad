"""Models of other revisions, by way of DVC."""

import hashlib
from pathlib import Path

from deblurgan.errors import UserError
from deblurgan.files import cache_directory, home_expanded, new_file
from deblurgan.pretrained import PRETRAINED


def find_model(name: str, output: Path) -> Path:
    """Find the generator that a parameter names.

    Parameters
    ----------
    name
        A path, a git revision, or `pretrained`: the pretrained generator.
    output
        Where a revision keeps its generator.

    Returns
    -------
    pathlib.Path
        The file; the generator of a revision is copied to the cache directory.

    Raises
    ------
    UserError
        The name is neither, or DVC cannot get the generator of the revision.
    """
    if name == "pretrained":
        return PRETRAINED
    path = home_expanded(name)
    if path.is_file():
        return path
    if path.suffix == ".keras":
        own = f"; {output} is what this run makes: name the git revision that made it" if path == output else ""
        raise UserError(f"train.init_from = {name!r}: no such file{own}")
    import dvc.api  # takes a second
    from scmrepo.exceptions import SCMError

    try:
        with dvc.api.open(output.as_posix(), rev=name, mode="rb") as stream:
            data = stream.read()
    except SCMError:
        raise UserError(f"train.init_from = {name!r} is neither a file, nor a git revision, nor pretrained") from None
    except Exception as error:  # storage raises anything
        reason = " ".join(str(error).split())
        raise UserError(f"train.init_from = {name!r}: DVC cannot get {output} of this revision ({reason})") from None
    path = cache_directory() / "generators" / f"{hashlib.sha256(data).hexdigest()}.keras"
    with new_file(path) as partial:
        partial.write_bytes(data)
    return path
