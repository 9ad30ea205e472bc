"""Moving the alias of the champion: by a run, by a person, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from rm.errors import RegistrationError
from rm.gate.policy import is_legible
from tasks import environment, tracking, versions

CHAMPION, PREVIOUS = "champion", "previous"
_BY_TAG, _WHY_TAG, _AT_TAG = "rmflow.promoted_by", "rmflow.promoted_because", "rmflow.promoted_at"
_MAX_TAG = 5000


class Moved(NamedTuple):
    """The new champion and the former one."""

    name: str
    version: str
    former: str | None


def holder(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that has an alias."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        return None


def promote(name: str, version: str, why: str) -> Moved:
    """Make a version the champion; the former champion becomes ``previous``.

    Parameters
    ----------
    name, version : str
    why : str
        Kept with the user's name as tags of the version.

    Raises
    ------
    RegistrationError
        If there is no such version, it is the champion already, it is not what was registered, or it did not pass.
    """
    _check_why(why)
    client = tracking.client()
    with tracking.mlflow_lock():
        return _promote(client, versions.find(client, f"{name}/{version}"), why)


def rollback(name: str, why: str) -> Moved:
    """Make the version ``previous`` the champion again; as `promote`."""
    _check_why(why)
    client = tracking.client()
    with tracking.mlflow_lock():
        return _promote(client, versions.find(client, f"{name}@{PREVIOUS}"), why)


def _check_why(why: str) -> None:
    if not is_legible(why):
        raise RegistrationError(f"--why: expected a reason in words, got {why!r}")


def _promote(client: MlflowClient, version: ModelVersion, why: str) -> Moved:
    former = holder(client, version.name, CHAMPION)
    if former is not None and str(former.version) == str(version.version):
        raise RegistrationError(f"{versions.label(version)}: it is the {CHAMPION} already")
    record = versions.check(version, versions.trusted_key())
    if not record.passed:
        raise RegistrationError(f"{versions.label(version)}: it did not pass, its verdict is '{record.verdict}'")
    return move(client, version, why)


def move(client: MlflowClient, version: ModelVersion, why: str) -> Moved:
    """Give a version the alias of the champion, say who did it and why, and remember the former champion."""
    former = holder(client, version.name, CHAMPION)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for tag, value in ((_BY_TAG, environment.user()), (_WHY_TAG, why[:_MAX_TAG]), (_AT_TAG, now)):
        client.set_model_version_tag(version.name, version.version, tag, value)
    if former is not None and str(former.version) != str(version.version):
        client.set_registered_model_alias(version.name, PREVIOUS, former.version)
    client.set_registered_model_alias(version.name, CHAMPION, version.version)
    return Moved(version.name, str(version.version), None if former is None else str(former.version))
