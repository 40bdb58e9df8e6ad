"""Data sets of Kaggle."""

import re
import tarfile
import time
import zipfile
from pathlib import Path

import requests

from deblurgan.errors import UserError
from deblurgan.sources.web import TRIES

HANDLE = re.compile(r"[\w-]+/[\w-]+/versions/\d+")


def fetch(handle: str) -> Path:
    """Download a data set into kagglehub's cache, or find it there; a broken download goes on where it broke off.

    Parameters
    ----------
    handle
        `owner/name/versions/N`; the version, so that a run can be repeated.

    Returns
    -------
    pathlib.Path
        The folder of its files.

    Raises
    ------
    UserError
        The handle is incomplete, or Kaggle does not deliver.
    """
    if not HANDLE.fullmatch(handle):
        raise UserError(
            f"ingest_gopro.source = 'kaggle:{handle}': write kaggle:owner/name/versions/N, with the version"
        )
    import kagglehub  # takes a second, and is seldom needed
    from kagglehub.exceptions import (
        BackendError,
        CredentialError,
        DataCorruptionError,
        KaggleApiHTTPError,
        UnauthenticatedError,
    )

    for attempt in range(TRIES):
        try:
            return Path(kagglehub.dataset_download(handle))
        except KaggleApiHTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status < 500 and status != 429:
                raise UserError(f"Kaggle answers {status} for {handle}: is it public, and spelt like that?") from None
            fault = f"answers {status}"
        except (requests.RequestException, DataCorruptionError) as error:
            fault = f"broke off ({type(error).__name__})"
        except (CredentialError, UnauthenticatedError) as error:
            raise UserError(f"Kaggle: {' '.join(str(error).split())}") from None
        except (ValueError, BackendError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            place = kagglehub.config.get_cache_folder()
            raise UserError(
                f"Kaggle's archive of {handle} is damaged, or your kaggle.json is ({' '.join(str(error).split())}): "
                f"delete the archive below {place} and run again"
            ) from None
        if attempt < TRIES - 1:
            time.sleep(2**attempt)
    raise UserError(f"Kaggle {fault}, {TRIES} times: what has arrived is kept, run again to go on")
