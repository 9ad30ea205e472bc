"""Versions of registered models, and whether they are still what was registered."""

from __future__ import annotations

import atexit
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import mlflow
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from rm.audit.manifests import AuditManifest
from rm.audit.records import AuditReport
from rm.errors import ManifestError, RegistrationError
from rm.files import work_folder
from rm.gate import keys
from rm.gate import record as records
from rm.gate.record import RECORD_NAME, SignedRecord, VersionRecord
from rm.report.manifests import ReportManifest
from tasks import environment, tracking

DIGEST_TAG = "rmflow.checkpoint_digest"
RECORD_TAG = "rmflow.record_digest"
WRITTEN_BY_MLFLOW = frozenset({"registered_model_meta"})
"""Written into a version's folder whenever it is downloaded by name."""
_NEWEST = 200
"""Judged runs of which the models are named."""


class Checked(NamedTuple):
    """A version that is what was registered."""

    record: VersionRecord
    folder: Path
    """Of its files."""

    @property
    def checkpoint(self) -> Path:
        """The folder of its checkpoint."""
        return self.folder / self.record.checkpoint


class Row(NamedTuple):
    """A version in a list; its record is None if it has none that can be read."""

    name: str
    version: str
    aliases: tuple[str, ...]
    created: datetime
    record: VersionRecord | None


def signing_key() -> Ed25519PrivateKey | None:
    """The private key of the environment, if there is one; raises ConfigError."""
    pem = environment.signing_key()
    return None if pem is None else keys.private_key(pem, environment.SIGNING_KEY)


def trusted_key() -> Ed25519PublicKey | None:
    """The public half of `signing_key`: where there is a key, only what it has signed is believed."""
    key = signing_key()
    return None if key is None else key.public_key()


def tags(signed: SignedRecord) -> dict[str, str]:
    """The tags of a version with this record."""
    record = signed.record
    return {
        DIGEST_TAG: record.checkpoint_digest,
        "rmflow.dataset_digest": record.dataset_digest,
        "rmflow.config_digest": record.config_digest,
        "rmflow.code_revision": record.code_revision,
        "rmflow.verdict": record.verdict,
        "rmflow.champion_digest": record.champion_digest or "none",
        **tracking.waiver_tag(record.waivers),
        RECORD_TAG: signed.digest,
    }


def label(version: ModelVersion) -> str:
    """Name of a version in messages and reports."""
    return f"{version.name} version {version.version}"


def uri(version: ModelVersion) -> str:
    """The URI by which MLflow finds a version."""
    return f"models:/{version.name}/{version.version}"


def find(client: MlflowClient, reference: str) -> ModelVersion:
    """Find a version by ``NAME/VERSION`` or ``NAME@ALIAS``, with or without ``models:/``.

    Raises
    ------
    RegistrationError
        If there is no such model, version or alias.
    """
    parts = re.fullmatch(r"(?:models:/)?([^/@:]+)([/@])([^/@]+)", reference)
    if parts is None:
        raise RegistrationError(f"{reference}: expected NAME/VERSION or NAME@ALIAS, such as reward-model/3")
    name, kind, which = parts.groups()
    known, aliases = _known(client, name)
    version = aliases.get(which) if kind == "@" else which
    if version not in known:
        has = ", ".join([*sorted(known, key=int), *(f"@{alias}" for alias in sorted(aliases))])
        raise RegistrationError(f"{reference}: {name} has no such version; it has {has or 'none'}")
    return client.get_model_version(name, version)


def _known(client: MlflowClient, name: str) -> tuple[set[str], dict[str, str]]:
    """Numbers of a model's versions, and each alias with its version's number."""
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException:
        others = ", ".join(sorted(model.name for model in client.search_registered_models())) or "none"
        raise RegistrationError(f"{name}: MLflow has no registered model of this name; it has {others}") from None
    versions = {str(version.version) for version in client.search_model_versions(f"name = '{name}'")}
    return versions, {alias: str(version) for alias, version in aliases.items()}


def all_versions(client: MlflowClient) -> list[ModelVersion]:
    """Every version of every model."""
    found = client.search_model_versions()
    versions = list(found)
    while found.token:
        found = client.search_model_versions(page_token=found.token)
        versions += found
    return versions


def rows(client: MlflowClient, name: str | None) -> Iterator[Row]:
    """Every version of a model, or of all models, newest first.

    Raises
    ------
    RegistrationError
        If there is no model of this name.
    """
    names = [name] if name else sorted(model.name for model in client.search_registered_models())
    for each in names:
        known, aliases = _known(client, each)
        for number in sorted(known, key=int, reverse=True):
            version = client.get_model_version(each, number)
            yield Row(
                name=each,
                version=number,
                aliases=tuple(sorted(alias for alias, held in aliases.items() if held == number)),
                created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
                record=_record_if_any(version),
            )


def _record_if_any(version: ModelVersion) -> VersionRecord | None:
    try:
        return read_record(version).record
    except RegistrationError:
        return None


def read_record(version: ModelVersion) -> SignedRecord:
    """The record of a version, without a look at its files or its signature.

    Raises
    ------
    RegistrationError
        If it has none, or another than its tag says.
    """
    with room() as place:
        return _read_record(version, _download(f"{uri(version)}/{RECORD_NAME}", place))


def _read_record(version: ModelVersion, file: Path | None) -> SignedRecord:
    try:
        if RECORD_TAG not in version.tags:
            raise RegistrationError(f"it has no record of rmflow (no tag {RECORD_TAG})")
        if file is None or not file.is_file():
            raise RegistrationError(f"its {RECORD_NAME} is gone")
        signed = records.read(file.read_text(encoding="utf-8", errors="replace"), version.tags[RECORD_TAG])
        _check_tags(version, signed)
    except RegistrationError as problem:
        raise RegistrationError(f"{label(version)}: {problem}") from None
    return signed


def _check_tags(version: ModelVersion, signed: SignedRecord) -> None:
    if signed.record.name != version.name:
        raise RegistrationError(f"its record is of a version of {signed.record.name}")
    expected: dict[str, str | None] = {tracking.WAIVERS_TAG: None, **tags(signed)}
    for name, value in expected.items():
        if (found := version.tags.get(name)) != value:
            raise RegistrationError(f"its tag {name} is {found or 'none'}; its record says {value or 'none'}")


@contextmanager
def room() -> Iterator[str | None]:
    """A folder for downloads, gone afterwards; None where MLflow's files are on this machine and are not copied."""
    if tracking.is_local():
        yield None
    else:
        with work_folder() as folder:
            yield str(folder)


def lasting_room() -> str | None:
    """The same for what is read until this process ends: MLflow would leave it in a folder for temporary files."""
    kept = ExitStack()
    atexit.register(kept.close)
    return kept.enter_context(room())


def check_checkpoint(version: ModelVersion, key: Ed25519PublicKey | None, place: str | None = None) -> Checked:
    """Digest a version's checkpoint against its record.

    Parameters
    ----------
    version : ModelVersion
    key : Ed25519PublicKey or None
        If it is given, the record must be signed by it.
    place : str, optional
        Where a download goes. Default: `lasting_room`.

    Raises
    ------
    RegistrationError
        Saying what is not as it was registered.
    """
    checked = _opened(version, key, place)
    try:
        checked.record.check_checkpoint(checked.folder)
    except ManifestError as problem:
        raise RegistrationError(f"{label(version)} is not what was registered: {problem}") from None
    return checked


def check(version: ModelVersion, key: Ed25519PublicKey | None) -> VersionRecord:
    """The same for every file of the version, the code that serving runs too, and for its report."""
    with room() as place:
        checked = _opened(version, key, place)
        try:
            checked.record.check_version(checked.folder, WRITTEN_BY_MLFLOW)
        except ManifestError as problem:
            hint = (
                "; loading it has left byte code there: delete this folder" if "/__pycache__/" in str(problem) else ""
            )
            raise RegistrationError(f"{label(version)} is not what was registered: {problem}{hint}") from None
    with room() as place:
        report_folder(checked.record, place)
    return checked.record


def _opened(version: ModelVersion, key: Ed25519PublicKey | None, place: str | None) -> Checked:
    """The files of a version, with its record after a check of tags and signature."""
    folder = _download(uri(version), place)
    signed = _read_record(version, folder and folder / RECORD_NAME)
    if key is not None:
        try:
            signed.check_signature(key)
        except RegistrationError as problem:
            raise RegistrationError(f"{label(version)}: {problem}") from None
    assert folder is not None  # else its record were gone
    return Checked(signed.record, folder)


def _download(uri: str, place: str | None = None) -> Path | None:
    """Path of a file or folder in MLflow; None if there is none, or no access to it."""
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=place or lasting_room()))
    except (MlflowException, OSError):
        return None


class JudgedRun(NamedTuple):
    """A training whose report is in MLflow."""

    run_id: str
    name: str
    version: str | None
    """The registered version that was made of it, if there is one."""
    time: datetime
    """When it began."""
    artifacts: str
    """URI of its artifacts."""

    def report(self) -> bytes | None:
        """Its `audit.json`; None if it is gone, or cannot be read."""
        with room() as place:
            file = _download(f"{self.artifacts}/{tracking.REPORT_FOLDER}/{ReportManifest.JSON_NAME}", place)
            return file.read_bytes() if file is not None and file.is_file() else None


def judged(client: MlflowClient, name: str, last: int, until: str | None = None) -> list[JudgedRun]:
    """The trainings of a registered model that were judged, rejected ones too, of one experiment, the newest first.

    Parameters
    ----------
    client : MlflowClient
    name : str
        Of the registered model; it may have no version.
    last : int
        At most so many.
    until : str, optional
        Id of the newest one. Default: the newest in any experiment.
    """
    if "'" in name:  # no recipe can have it, and MLflow cannot search for it
        return []
    wanted = f"params.`registry.name` = '{name}' and tags.`{tracking.REPORT_TAG}` != ''"
    order = ["attributes.start_time DESC"]
    if until is None:
        everywhere = [str(each.experiment_id) for each in client.search_experiments()]
        newest = client.search_runs(everywhere, wanted, order_by=order, max_results=1)
        if not newest:
            return []
        until = str(newest[0].info.run_id)
    info = client.get_run(until).info
    wanted = f"{wanted} and attributes.start_time <= {info.start_time}"
    found = client.search_runs([str(info.experiment_id)], wanted, order_by=order, max_results=last)
    registered = _registered(client, name)
    return [_judged(run, registered) for run in found]


def registered_before(client: MlflowClient, name: str, shown: Sequence[JudgedRun]) -> JudgedRun | None:
    """The last registered run of a model before some of its runs; None if one of them but the newest is registered.

    Parameters
    ----------
    client : MlflowClient
    name : str
        Of the registered model.
    shown : sequence of JudgedRun
        From `judged`.
    """
    registered = _registered(client, name)
    others = sorted(registered.keys() - {run.run_id for run in shown})
    if not others or not shown or any(run.version is not None for run in shown[1:]):
        return None
    info = client.get_run(shown[-1].run_id).info
    ids = ", ".join(f"'{each}'" for each in others)
    wanted = f"attributes.run_id IN ({ids}) and attributes.start_time <= {info.start_time}"
    order = ["attributes.start_time DESC"]
    found = client.search_runs([str(info.experiment_id)], wanted, order_by=order, max_results=1)
    return _judged(found[0], registered) if found else None


def _registered(client: MlflowClient, name: str) -> dict[str, str]:
    """Numbers of a model's versions, by the ids of their runs."""
    found = client.search_model_versions(f"name = '{name}'")
    return {str(version.run_id): str(version.version) for version in found}


def _judged(run: Run, registered: Mapping[str, str]) -> JudgedRun:
    return JudgedRun(
        run_id=str(run.info.run_id),
        name=str(run.info.run_name),
        version=registered.get(str(run.info.run_id)),
        time=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        artifacts=str(run.info.artifact_uri),
    )


def judged_names(client: MlflowClient) -> list[str]:
    """The registered models of the newest judged runs, rejected ones too, each once, that of the newest run first."""
    everywhere = [str(each.experiment_id) for each in client.search_experiments()]
    order = ["attributes.start_time DESC"]
    newest = client.search_runs(everywhere, f"tags.`{tracking.REPORT_TAG}` != ''", order_by=order, max_results=_NEWEST)
    names = (run.data.params.get("registry.name") for run in newest)
    return list(dict.fromkeys(str(name) for name in names if name is not None))


def report_folder(record: VersionRecord, place: str | None = None) -> Path:
    """The folder of a version's report, every file of it checked.

    Parameters
    ----------
    record : VersionRecord
    place : str, optional
        Where a download goes. Default: `lasting_room`.

    Raises
    ------
    RegistrationError
        If a file is gone or changed, or was added.
    """
    try:
        run = MlflowClient().get_run(record.run_id)
        folder = _download(f"{run.info.artifact_uri}/{record.report}", place)  # a local one where it lies
    except MlflowException:
        folder = None
    try:
        if folder is None:
            raise ManifestError(f"{record.report} is gone")
        record.check_report(folder)
    except ManifestError as problem:
        raise RegistrationError(f"the report in run {record.run_id} is not what was registered: {problem}") from None
    return folder


def read_report(record: VersionRecord) -> AuditReport:
    """What the audit of a version measured, from its `report_folder`."""
    return AuditReport.model_validate_json((report_folder(record) / AuditManifest.FINDINGS_NAME).read_bytes())
