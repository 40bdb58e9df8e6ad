"""Models of other revisions, by way of DVC."""

import tempfile
from pathlib import Path

from deblurgan.errors import UserError


def find_model(name: str, output: Path) -> Path:
    """Find the generator that a parameter names.

    Parameters
    ----------
    name
        A path, or a git revision.
    output
        Where a revision keeps its generator.

    Returns
    -------
    pathlib.Path
        The file; that of a revision is fetched to a temporary place.

    Raises
    ------
    UserError
        It is neither, or DVC cannot get it.
    """
    if Path(name).is_file():
        return Path(name)
    if Path(name).suffix == ".keras":
        own = f"; {output} is what this run makes: name the git revision that made it" if Path(name) == output else ""
        raise UserError(f"train.init_from = {name!r}: no such file{own}")
    import dvc.api  # takes a second
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        data = dvc.api.read(output.as_posix(), rev=name, mode="rb")
    except SCMError:
        raise UserError(f"train.init_from = {name!r} is neither a file nor a git revision") from None
    except (DvcException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"train.init_from = {name!r}: {output} of that revision cannot be had ({reason})") from None
    path = Path(tempfile.mkdtemp()) / output.name
    path.write_bytes(data)
    return path
