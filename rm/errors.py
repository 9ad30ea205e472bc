"""Errors that rmflow raises for a user's mistake or for a run that must not go on.

RmflowError             catch this to handle all of them; the command line prints it without a traceback
├── ConfigError         a key or value of the configuration is wrong
├── DataError           an annotation file cannot be read, or too much of it is unusable
├── StorageError        object storage has no such bucket, or no access to it
├── ClusterError        a worker of a Ray cluster cannot be reached, failed, or died
├── ServerError         a server of Prefect or MLflow does not answer
├── ManifestError       a stage's files are missing or differ from their manifest
├── DownloadError       the hub did not answer; the only error worth a retry
├── ModelError          a base model or checkpoint cannot be used as a reward model
│   └── RefusedConversation  its chat template cannot render a conversation
├── TrainingError       training cannot go on
│   └── NonFiniteLoss   the loss became NaN or infinite
├── AuditError          there is nothing to audit, or the scores do not fit the data
├── RegistrationError   a checkpoint does not fit its decision, or a version is unknown or not what was registered
└── GateRejected        the audit's findings do not satisfy the gate's policy, or leave a check undecided

All errors except DownloadError, ClusterError and ServerError are deterministic: a retry with the same input would fail
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class RmflowError(Exception):
    """Base of every error that rmflow raises on purpose."""


class ConfigError(RmflowError):
    """A key or value of the configuration is wrong."""


class DataError(RmflowError):
    """An annotation file cannot be read, or too much of it is unusable."""


class StorageError(RmflowError):
    """Object storage has no such bucket, gives no access to it, or does not answer."""


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


class RegistrationError(RmflowError):
    """A checkpoint does not fit its decision or its scores, or a version is unknown or not what was registered."""


class GateRejected(RmflowError):
    """The audit's findings do not satisfy the gate's policy, or leave a check undecided; nothing was registered."""

    def __init__(self, verdict: str, reasons: Sequence[str], report_path: Path) -> None:
        super().__init__(f"the gate's verdict is '{verdict}':\n" + "\n".join(f"  - {reason}" for reason in reasons))
        self.verdict, self.reasons, self.report_path = verdict, tuple(reasons), report_path
