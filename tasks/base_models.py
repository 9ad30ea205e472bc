"""The base model of a training: in a folder, on the hub, or a version in the registry."""

from __future__ import annotations

from pathlib import Path

from rm.errors import RegistrationError
from rm.model import base_files
from rm.model.base_files import BaseModelRef
from rm.model.config import ModelConfig


def find(config: ModelConfig) -> BaseModelRef:
    """Find the base model; download it if it is on the hub.

    Raises
    ------
    ModelError, DownloadError
        As `rm.model.base_files.resolve` does.
    RegistrationError
        If the registry has no such version, or it is not what was registered.
    """
    if config.registered is None:
        return base_files.resolve(config)
    from tasks import tracking, versions  # here, since MLflow takes a second to load

    version = versions.find(tracking.client(), config.registered)
    if versions.DIGEST_TAG not in version.tags:
        raise RegistrationError(f"model.path: {versions.label(version)} holds no checkpoint of ours")
    checked = versions.check_checkpoint(version, versions.trusted_key())
    found = base_files.resolve(config.model_copy(update={"path": checked.checkpoint}))
    return found.model_copy(update={"config": config.model_copy(update={"path": Path(versions.uri(version))})})
