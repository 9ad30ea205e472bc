"""One record of a registered version: its bytes, its data, its report and the decision, signed where there is a key."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime, ValidationError, model_validator

from rm.errors import RegistrationError
from rm.files import canonical_json, sha256_json, sha256_text
from rm.gate.decision import Verdict
from rm.gate.keys import fingerprint
from rm.gate.policy import Waiver
from rm.manifests import MANIFEST_NAME, check_files
from rm.stats.finding import Record

RECORD_NAME = "rmflow_record.json"
UNSIGNED = "unsigned: protects against accidents only"


class VersionRecord(Record):
    """What was registered, by whom and why."""

    kind: Literal["rmflow version"] = "rmflow version"
    schema_version: Literal[1] = 1
    name: str
    """Name of the registered model."""
    checkpoint_digest: str
    checkpoint: str
    """Folder of the checkpoint among `files`."""
    files: dict[str, str]
    """Every file of the version, but this record: name to SHA-256."""
    table: str
    """Name of the annotations table."""
    num_judgements: int
    dataset_digest: str
    run_id: str
    """The MLflow run with the report."""
    report: str
    """Folder of the report among the run's artifacts."""
    report_files: dict[str, str]
    report_digest: str
    """Digest of the judged `AuditReport`, as in `rm.gate.decision.GateDecision`."""
    accuracy: float | None
    """On the held-out pairs; None if it was not measured."""
    verdict: Verdict
    policy_digest: str
    waivers: tuple[Waiver, ...]
    champion_digest: str | None
    """Of the checkpoint that it was compared with."""
    config_digest: str
    code_revision: str
    time: AwareDatetime
    who: str
    signed_by: str = UNSIGNED
    """Fingerprint of the public key, or that there was none."""

    @model_validator(mode="after")
    def _holds_its_checkpoint(self) -> Self:
        if (found := sha256_json(self.checkpoint_files)) != self.checkpoint_digest:
            raise ValueError(
                f"the files of {self.checkpoint} have the digest {found[:12]}, not {self.checkpoint_digest[:12]}"
            )
        return self

    @property
    def checkpoint_files(self) -> dict[str, str]:
        """The checkpoint's files without its manifest: name in its folder to SHA-256."""
        folder = f"{self.checkpoint}/"
        inside = {name.removeprefix(folder): digest for name, digest in self.files.items() if name.startswith(folder)}
        return {name: digest for name, digest in inside.items() if name != MANIFEST_NAME}

    @property
    def passed(self) -> bool:
        """Whether the decision let it be registered."""
        return self.verdict in ("passed", "passed_with_warnings")

    @property
    def is_signed(self) -> bool:
        """Whether it says that a key has signed it."""
        return self.signed_by != UNSIGNED

    def check_checkpoint(self, folder: Path) -> None:
        """Check the checkpoint of a version whose files lie in a folder; raises ManifestError."""
        check_files(folder / self.checkpoint, self.checkpoint_files, {MANIFEST_NAME}, "record")

    def check_version(self, folder: Path, beside: frozenset[str] = frozenset()) -> None:
        """Check every file of a version, but those of these names; raises ManifestError, also for a file too many."""
        check_files(folder, self.files, {RECORD_NAME, *beside}, "record")

    def check_report(self, folder: Path) -> None:
        """Check every file of the report in a folder; raises ManifestError, also for a file too many."""
        check_files(folder, self.report_files, frozenset(), "record")


class SignedRecord(Record):
    """A record with its signature."""

    record: VersionRecord
    signature: str
    """Of the record as canonical JSON, in hex; empty if it is unsigned."""

    @property
    def text(self) -> str:
        """As it is written: canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """Digest of the record and its signature."""
        return sha256_text(self.text)

    def check_signature(self, key: Ed25519PublicKey) -> None:
        """Check that a key has signed the record.

        Raises
        ------
        RegistrationError
            If it is unsigned, another key has signed it, or it was changed since.
        """
        expected, found = fingerprint(key), self.record.signed_by
        if found != expected:
            by = found if found == UNSIGNED else f"signed by the key {found[:12]}"
            raise RegistrationError(f"its record is {by}; expected a signature by the key {expected[:12]}")
        try:
            key.verify(bytes.fromhex(self.signature), _signed_bytes(self.record))
        except (InvalidSignature, ValueError):
            raise RegistrationError(f"its record was changed: the signature by {expected[:12]} does not fit") from None


def sign(record: VersionRecord, key: Ed25519PrivateKey | None) -> SignedRecord:
    """Sign a record, or say in it that it is unsigned.

    Parameters
    ----------
    record : VersionRecord
    key : Ed25519PrivateKey or None
    """
    if key is None:
        return SignedRecord(record=record.model_copy(update={"signed_by": UNSIGNED}), signature="")
    by = record.model_copy(update={"signed_by": fingerprint(key.public_key())})
    return SignedRecord(record=by, signature=key.sign(_signed_bytes(by)).hex())


def read(text: str, digest: str) -> SignedRecord:
    """Read a record as `SignedRecord.text` wrote it.

    Parameters
    ----------
    text : str
    digest : str
        What its digest was when it was written.

    Raises
    ------
    RegistrationError
        If it is no record, or not the one with this digest.
    """
    try:
        signed = SignedRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RegistrationError(f"its record is none: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if signed.digest != digest:
        raise RegistrationError(f"its record has the digest {signed.digest[:12]}, not {digest[:12]} as when registered")
    return signed


def _signed_bytes(record: VersionRecord) -> bytes:
    return canonical_json(record.model_dump(mode="json")).encode("utf-8")
