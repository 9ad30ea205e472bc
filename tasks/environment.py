"""The folder of a run's state, and the environment variables that make every tool keep its state there.

This is the only module that reads the environment, but for Azure's account in `rm.storage` and torchrun's error file in
`rm.train.worker`. Prefect and MLflow read their settings from it when they are imported, so `apply` runs when this
package is imported.
"""

from __future__ import annotations

import getpass
import logging
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from rm.errors import ConfigError, printable, without_logins

if TYPE_CHECKING:
    from rm.locations import Url

_OWN_SERVERS: set[str] = set()
_NEEDED = 1 << 25
"""Bytes of free disk without which Prefect's database cannot be made."""
SIGNING_KEY = "RMFLOW_SIGNING_KEY"
_TRACKING = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "file", "databricks")
"""Kinds of places where MLflow keeps runs."""


def home() -> Path:
    """The folder of all state: ``RMFLOW_HOME``, or ``var`` in the working folder."""
    return Path(os.environ.get("RMFLOW_HOME", "var")).resolve()


def make_home() -> None:
    """Make the folders of all state, and check that they can be written: Prefect's server would hang and not say why.

    Raises
    ------
    StorageError
        If a disk is full or read-only.
    """
    from rm.errors import StorageError

    for folder in (home(), Path(os.environ["PREFECT_HOME"])):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise StorageError(f"{folder}: cannot be written: {error.strerror}; RMFLOW_HOME names the folder") from None
        free = shutil.disk_usage(folder).free
        if free < _NEEDED:
            raise StorageError(f"{folder}: expected {_NEEDED >> 20} MiB of free disk at least, got {free >> 20} MiB")


def shows_tracebacks() -> bool:
    """Whether errors of the machine, such as a full disk, are shown with a traceback: ``RMFLOW_TRACEBACK=1``."""
    return bool(os.environ.get("RMFLOW_TRACEBACK"))


def annotations_at(table: str) -> Path | Url:
    """Where the tables of this name lie: below the URL ``RMFLOW_ANNOTATIONS``, or else in `home`.

    Raises
    ------
    ConfigError
        If the variable is no URL of object storage.
    """
    url = _url("RMFLOW_ANNOTATIONS")
    return annotations_folder(table) if url is None else url / table


def annotations_folder(table: str) -> Path:
    """The folder for what is made of a table on this machine, wherever the table lies."""
    return home() / "annotations" / table


def copies_of_stages() -> Url | None:
    """Where copies of finished stages lie: the URL ``RMFLOW_STAGES``, or nowhere.

    Raises
    ------
    ConfigError
        If the variable is no URL of object storage.
    """
    return _url("RMFLOW_STAGES")


def signing_key() -> str | None:
    """Text of the private key that records of registered versions are signed with; None if there is none.

    ``RMFLOW_SIGNING_KEY`` is the text of a PEM file, or the path of one.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    value = os.environ.get(SIGNING_KEY)
    return pem(value, SIGNING_KEY) if value else None


def pem(value: str, source: str) -> str:
    """The text of a key that is given as text or as the path of its file; raises ConfigError."""
    if value.lstrip().startswith("-----BEGIN"):
        return value
    try:
        return Path(value).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        told = reason if source == SIGNING_KEY else f"{value}: {reason}"  # it may be a key without its first line
        raise ConfigError(f"{source}: expected a key in PEM, or the path of its file: {told}") from None


def user() -> str:
    """Who runs this, and on which machine: ``name@host``."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = f"user {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def _url(variable: str) -> Url | None:
    from rm.locations import Url  # here, since pydantic takes its time and every command imports this module

    try:
        return Url.parse(value) if (value := os.environ.get(variable)) else None
    except ValueError as error:
        raise ConfigError(f"{variable}: {error}") from None


def prefect_server() -> str | None:
    """The API address of the Prefect server that the user has configured; triggers and deployments need one."""
    if (url := os.environ.get("PREFECT_API_URL")) or not ("prefect" in sys.modules or _may_name_a_server()):
        return _without_login(url, "PREFECT_API_URL", "PREFECT_API_AUTH_STRING") if url not in _OWN_SERVERS else None
    from prefect.settings import get_current_settings  # takes a second, so only where the answer may be there

    return _without_login(get_current_settings().api.url, "PREFECT_API_URL", "PREFECT_API_AUTH_STRING")


def _without_login(url: str | None, variable: str, instead: str) -> str | None:
    """An address that may be shown and written down.

    Raises
    ------
    ConfigError
        If it holds a login.
    """
    if url and (shown := without_logins(url)) != url:
        raise ConfigError(f"{variable}: expected an address without a login, which belongs in {instead}; got {shown}")
    return url


def _may_name_a_server() -> bool:
    """Whether there is a file from which Prefect reads settings."""
    files = (Path(os.environ["PREFECT_HOME"]) / "profiles.toml", Path("prefect.toml"), Path(".env"))
    return any(file.is_file() for file in files)


def use_own_server(url: str) -> None:
    """Let Prefect use a server that belongs to this command, at this API address."""
    _OWN_SERVERS.add(url)
    use_servers(url, os.environ["MLFLOW_TRACKING_URI"])


def use_servers(prefect: str, mlflow: str) -> None:
    """Let this process, and what it starts, use the servers at these addresses."""
    os.environ |= {"PREFECT_API_URL": prefect, "MLFLOW_TRACKING_URI": mlflow}
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def uses_own_server() -> bool:
    """Whether this command has a server of its own."""
    return bool(_OWN_SERVERS)


def mlflow_server() -> str | None:
    """The address of the MLflow server that the user has configured, if it is one."""
    uri = os.environ["MLFLOW_TRACKING_URI"]
    if not uri.startswith(("http://", "https://")):
        return None
    return _without_login(uri, "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")


def check_mlflow() -> None:
    """Check that runs go where MLflow can keep them; its own message would write a database's password into logs.

    Raises
    ------
    ConfigError
        If ``MLFLOW_TRACKING_URI`` is of another kind.
    """
    scheme, separator, _ = os.environ["MLFLOW_TRACKING_URI"].partition("://")
    if separator and scheme.partition("+")[0] not in _TRACKING:
        raise ConfigError(f"MLFLOW_TRACKING_URI: expected a URI of {', '.join(_TRACKING)}; got one of {scheme}")


def mlflow_database() -> str:
    """The database of an MLflow server that is started here."""
    return os.environ["MLFLOW_BACKEND_STORE_URI"]


def with_variables(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process and more variables, for a process that is started."""
    return {**os.environ, **more}


class _Record(logging.LogRecord):
    """A message whose texts, such as names of columns, cannot steer the terminal that shows it."""

    def getMessage(self) -> str:  # noqa: N802 - the name is logging's
        return printable(super().getMessage())


def apply() -> None:
    """Set Prefect, MLflow and the caches of other libraries to folders in `home`, unless the user has set them.

    Telemetry is turned off, results are JSON, and MLflow loads no pickles. Messages of all loggers are safe to print.
    """
    logging.setLogRecordFactory(_Record)
    root = home()
    defaults = {
        "PREFECT_HOME": root / "prefect",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "rm",  # so that the library's log messages appear with their run
        # For flows that are called without the command line, with the server that Prefect starts itself.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}",
        # The MLflow server has separate settings and would create an empty database in the working folder.
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{root / 'mlflow.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": root / "mlartifacts",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",  # else it tells of tables and examples between the lines of a run
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "DO_NOT_TRACK": "true",  # MLflow accepts only this value, Prefect also others
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": root / "huggingface",
        # A bar for every file that is loaded or copied would hide the bars of training and scoring.
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines each time a run is ended
        "MPLCONFIGDIR": root / "matplotlib",
        "TOKENIZERS_PARALLELISM": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Half a minute for a cluster that does not answer, in place of ten.
        "RAY_py_gcs_connect_timeout_s": "5",
        "RAY_NUM_REDIS_GET_RETRIES": "2",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, str(value))
    with suppress(OSError):  # Prefect makes its folder when it is imported, but not the folders above it, and warns
        Path(os.environ["PREFECT_HOME"]).parent.mkdir(parents=True, exist_ok=True)
