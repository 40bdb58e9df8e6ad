"""Data sets of Kaggle."""

import re
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import requests
from tqdm import tqdm

from deblurgan.errors import NO_ROOM, UserError
from deblurgan.sources.web import LONGEST, PATIENCE, TRIES, retry_after

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
    from kagglehub.cache import get_cached_archive_path
    from kagglehub.exceptions import (
        BackendError,
        CredentialError,
        DataCorruptionError,
        KaggleApiHTTPError,
        UnauthenticatedError,
    )
    from kagglehub.handle import parse_dataset_handle

    archive = Path(get_cached_archive_path(parse_dataset_handle(handle)))
    anew = False
    for attempt in range(TRIES):
        delay, fault, damage = 2.0**attempt, "", ""
        try:
            return Path(kagglehub.dataset_download(handle))
        except KaggleApiHTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            asked = retry_after(error.response) if error.response is not None else None
            if status < 500 and status not in (408, 429) and asked is None:
                raise UserError(f"Kaggle answers {status} for {handle}: is it public, and spelt like that?") from None
            fault, delay = f"answers {status}", max(delay, asked or 0.0)
            if delay > PATIENCE:
                raise UserError(f"Kaggle {fault}, and asks to wait: run again in {delay / 60:.0f} minutes") from None
            if delay >= LONGEST:
                tqdm.write(f"Kaggle {fault}: going on in {delay / 60:.0f} minutes")
        except (requests.RequestException, DataCorruptionError) as error:
            fault = f"broke off ({type(error).__name__})"
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
            damage = " ".join(str(error).split())
        except (CredentialError, UnauthenticatedError, BackendError, ValueError) as error:
            damage = " ".join(str(error).split())
            if damage != "Unsupported archive type.":
                raise UserError(f"Kaggle, or kaggle.json, is not what it should be: {damage}") from None
        except OSError as error:
            if error.errno in NO_ROOM:
                place = kagglehub.config.get_cache_folder()
                raise UserError(
                    f"no space left for {place}, where archive and photos of {handle} have to fit: free some, or set "
                    "KAGGLEHUB_CACHE to a larger disk; what has arrived is kept"
                ) from None
            raise
        if damage:
            archive.unlink(missing_ok=True)
            if anew:
                raise UserError(f"Kaggle's archive of {handle} is damaged, twice ({damage}): thrown away")
            tqdm.write(f"{archive} is damaged ({damage}): deleted, and downloaded anew")
            anew = True
        elif attempt < TRIES - 1:
            time.sleep(delay)
    raise UserError(
        f"Kaggle {fault or 'delivers damaged archives'}, {TRIES} times: what has arrived is kept, run again to go on"
    )
