"""Arrow's file systems for paths and URLs, and one sentence for what goes wrong with them.

Credentials, regions and endpoints come from the environment: Arrow and deltalake find those of S3 and Google there, and
deltalake those of Azure. Arrow asks for Azure's as arguments, so that this module reads the same variables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from rm.errors import RmflowError, StorageError
from rm.files import replace_text
from rm.locations import Url, without_secrets


def rooted(place: Path | Url) -> fs.FileSystem:
    """A file system whose root is the folder or URL."""
    if isinstance(place, Url):
        return fs.SubTreeFileSystem(place.path, connected(place))
    return fs.SubTreeFileSystem(str(place.resolve()), fs.LocalFileSystem())


def connected(url: Url) -> fs.FileSystem:
    """The file system of a URL; `Url.path` names things in it."""
    return _azure() if url.scheme == "az" else _from_uri(f"{url.scheme}://{url.bucket}")


@cache
def _from_uri(uri: str) -> fs.FileSystem:
    return fs.FileSystem.from_uri(uri)[0]


@cache
def _azure() -> fs.FileSystem:
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not account:
        raise OSError("no credentials: AZURE_STORAGE_ACCOUNT_NAME is not set")
    key = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY")
    settings = {"account_key": key, "sas_token": None if key else os.environ.get("AZURE_STORAGE_SAS_TOKEN")}
    if endpoint := os.environ.get("AZURE_STORAGE_ENDPOINT"):
        scheme, _, rest = endpoint.partition("://")
        authority = rest.partition("/")[0]
        settings |= {"blob_storage_scheme": scheme, "dfs_storage_scheme": scheme}
        settings |= {"blob_storage_authority": authority, "dfs_storage_authority": authority}
    return fs.AzureFileSystem(account, **settings)


@contextmanager
def explained(place: Path | Url, kind: type[RmflowError] = StorageError) -> Iterator[None]:
    """Turn an error of the storage behind a URL into one sentence; errors of a path stay what they are.

    Raises
    ------
    RmflowError
        Of the given kind, with the URL and without what the storage answered word by word, which may hold secrets.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if not isinstance(place, Url):
            raise
        raise kind(f"{place}: {_sentence(place, error)}") from None


def read_text(place: Path | Url) -> str | None:
    """The text of a small file or object; None if there is none.

    Raises
    ------
    StorageError
        If the URL cannot be read.
    """
    with explained(place):
        try:
            if isinstance(place, Path):
                return place.read_text(encoding="utf-8")
            with connected(place).open_input_stream(place.path, compression=None) as stream:
                return bytes(stream.read()).decode()
        except FileNotFoundError:
            return None


def write_text(place: Path | Url, text: str) -> None:
    """Write a small file or object, whole or not at all.

    Raises
    ------
    StorageError
        If the URL cannot be written to, or the disk is full or read-only.
    """
    if isinstance(place, Path):
        replace_text(place, text)
        return
    with explained(place), connected(place).open_output_stream(place.path, compression=None) as stream:
        stream.write(text.encode())


_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the machine's role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS or the machine's account",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_CLIENT_ID and its secret",
}
_NO_BUCKET = re.compile(
    r"NoSuchBucket|NO_SUCH_BUCKET|ContainerNotFound|[Bb]ucket '[^']*' not found|bucket does not exist"
)
_DENIED = re.compile(
    r"ACCESS_DENIED|AccessDenied|Forbidden|\b40[13]\b|InvalidAccessKeyId|INVALID_ACCESS_KEY|SIGNATURE|SignatureDoesNotMatch"
    r"|Authenticat|Authoriz|169\.254\.169\.254|metadata\.google|[Cc]redential|INVALID_CLIENT_TOKEN"
)
_NO_ANSWER = re.compile(r"NETWORK_CONNECTION|error sending request|[Cc]ould not (resolve|connect)|[Cc]onnect(ion)? ")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m|↳")


def _sentence(url: Url, error: Exception) -> str:
    text = " ".join(without_secrets(_ESCAPES.sub(" ", str(error))).split())
    if _NO_BUCKET.search(text):
        return f"there is no bucket {url.bucket!r}"
    if isinstance(error, FileNotFoundError):
        return _what_is_missing(url)
    if _DENIED.search(text):
        return f"access was denied, or no credentials were found in the environment: {_CREDENTIALS[url.scheme]}"
    if _NO_ANSWER.search(text):
        return f"the storage did not answer: {text[:200]}"
    return f"the storage failed: {text[:200]}"


def _what_is_missing(url: Url) -> str:
    """A file that is asked for is missing in the same way if its bucket is."""
    try:
        return "no such file" if has_bucket(url) else f"there is no bucket {url.bucket!r}"
    except OSError:  # who may read files may not always ask for the bucket
        return "no such file"


def has_bucket(url: Url) -> bool:
    """Whether the URL's bucket is there."""
    return bool(connected(url).get_file_info(url.bucket).type != fs.FileType.NotFound)
