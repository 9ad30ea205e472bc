"""Errors that rmflow raises for a user's mistake or for a run that must not go on.

RmflowError             catch this to handle all of them; the command line prints it without a traceback
├── ConfigError         a key or value of the configuration is wrong
├── DataError           an annotation file cannot be read, or too much of it is unusable
├── StorageError        object storage has no such bucket, or no access to it; a disk is full or read-only
├── ClusterError        a worker of a Ray cluster cannot be reached, failed, or died
├── ServerError         a server of Prefect or MLflow does not answer
├── ManifestError       a stage's files are missing or differ from their manifest
├── DownloadError       the hub did not answer; the only error worth a retry
├── ModelError          a base model or checkpoint cannot be used as a reward model
│   └── RefusedConversation  its chat template cannot render a conversation
├── TrainingError       training cannot go on
│   └── NonFiniteLoss   the loss became NaN or infinite
├── AuditError          there is nothing to audit, or the scores do not fit the data
│   └── NothingToAudit  no pair has a majority and two rewards
├── RegistrationError   a checkpoint does not fit its decision, or a version is unknown or not what was registered
└── Rejected            a result and no crash: something does not keep its limits, and nothing was registered
    ├── GateRejected    the audit's findings do not satisfy the gate's policy, or leave a check undecided
    └── LabelsRejected  the labels are beyond a limit that stops a run before anything is tokenized

All errors except DownloadError, ClusterError and ServerError are deterministic: a retry with the same input would fail
again.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufff9-\ufffb]"
)
"""Control characters but line end and tab, marks that turn the direction of writing, and halves of surrogate pairs."""
_LOGIN = re.compile(r"(?<=://)[^/\s]*@")


def printable(text: str) -> str:
    r"""The text with control characters as escapes, such as ``\x1b``: they could change colours or other lines.

    Logins in URLs are left out.
    """
    return without_logins(_STEERING.sub(lambda found: ascii(found[0])[1:-1], text))


def without_logins(text: str) -> str:
    """The text with what may be a user or a password in its URLs replaced by ``...``."""
    return _LOGIN.sub("...@", text)


class RmflowError(Exception):
    """Base of every error that rmflow raises on purpose; its text is safe to print, whatever names a file holds."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(RmflowError):
    """A key or value of the configuration is wrong."""


class DataError(RmflowError):
    """An annotation file cannot be read, or too much of it is unusable."""


class StorageError(RmflowError):
    """Object storage has no such bucket, gives no access to it, or does not answer; a disk is full or read-only."""


_REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
_OS_ERROR = re.compile(r"(?:\(os error |Os \{ code: )(\d+)")
"""The number of an error as libraries in Rust write it."""


def refusal(error: BaseException) -> str | None:
    """Why a disk did not take a file, such as "No space left on device"; None for any other error."""
    number = getattr(error, "errno", None)
    if number is None and (found := _OS_ERROR.search(str(error))):
        number = int(found[1])
    return os.strerror(number) if number in _REFUSALS else None


@contextmanager
def writing(place: object) -> Iterator[None]:
    """Turn what a disk refuses, while something is written, into one sentence.

    Raises
    ------
    StorageError
        With the place.
    """
    try:
        yield
    except Exception as error:  # of Python, of Arrow, of deltalake, which share no class
        if isinstance(error, RmflowError) or (reason := refusal(error)) is None:
            raise
        raise StorageError(f"{place}: cannot be written: {reason}") from None


class ClusterError(RmflowError):
    """A Ray cluster cannot be reached, or one of its workers failed or died."""


class ServerError(RmflowError):
    """A server of Prefect or MLflow does not answer, or could not be started."""


class ManifestError(RmflowError):
    """A stage's files are missing or differ from what its manifest says."""


class DownloadError(RmflowError):
    """The hub did not answer; a retry may succeed."""


class ModelError(RmflowError):
    """A base model or checkpoint cannot be used as a reward model."""


class RefusedConversation(ModelError):
    """The chat template cannot render a conversation; another one may be fine."""


class TrainingError(RmflowError):
    """Training cannot go on."""


class NonFiniteLoss(TrainingError):
    """The loss became NaN or infinite; raised before the optimizer step."""

    def __init__(self, step: int, loss: float, prompt_ids: Sequence[str]) -> None:
        super().__init__(f"loss {loss} at step {step}; first prompts of the batch: {list(prompt_ids[:3])}")
        self.step, self.loss, self.prompt_ids = step, loss, tuple(prompt_ids)


class AuditError(RmflowError):
    """There is nothing to audit, or the scores do not fit the data."""


class NothingToAudit(AuditError):
    """No pair has a majority and two rewards."""


class RegistrationError(RmflowError):
    """A checkpoint does not fit its decision or its scores, or a version is unknown or not what was registered."""


class Rejected(RmflowError):
    """Something does not keep its limits; nothing was registered.

    Parameters
    ----------
    verdict : str
        ``failed`` or ``inconclusive``.
    message : str
    reasons : sequence of str
    report_path : Path
        Folder of the report.
    """

    def __init__(self, verdict: str, message: str, reasons: Sequence[str], report_path: Path) -> None:
        super().__init__(f"{message}:\n" + "\n".join(f"  - {reason}" for reason in reasons))
        self.verdict, self.reasons, self.report_path = verdict, tuple(reasons), report_path


class GateRejected(Rejected):
    """The audit's findings do not satisfy the gate's policy, or leave a check undecided."""

    def __init__(self, verdict: str, reasons: Sequence[str], report_path: Path, trail_path: Path | None = None) -> None:
        super().__init__(verdict, f"the gate's verdict is '{verdict}'", reasons, report_path)
        self.trail_path = trail_path
        """Folder of what was tried against it; None if nothing was."""


class LabelsRejected(Rejected):
    """The labels are beyond a limit that stops a run; nothing was tokenized or trained."""

    def __init__(self, reasons: Sequence[str], report_path: Path) -> None:
        super().__init__("failed", "the labels are beyond a limit that stops a run", reasons, report_path)
