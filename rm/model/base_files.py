"""The files of a base model: found in a folder or on the hub, and digested; torch is not imported for this."""

from __future__ import annotations

from pathlib import Path

from rm.errors import DownloadError, ManifestError, ModelError
from rm.files import sha256_file, sha256_json
from rm.manifests import MANIFEST_NAME
from rm.model import model_folder, saved_head
from rm.model.config import ModelConfig
from rm.model.manifests import CheckpointManifest
from rm.section import Section

_TOKENIZER_FILES = ("tokenizer.json", "*.model", "vocab.*")
_WEIGHT_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")


class BaseModelRef(Section):
    """A base model and the digest of its content."""

    config: ModelConfig
    folder: Path | None
    """The folder of its files; None if it has random weights."""
    digest: str
    """SHA-256 of its files, or of the configuration of random weights; a head that is kept is part of it."""
    keeps_head: bool = False
    """Whether it is a reward model whose head training starts from."""

    @property
    def files(self) -> Path:
        """The folder of a base model that has files."""
        assert self.folder is not None
        return self.folder

    @property
    def name(self) -> str:
        """Name of the base model in reports."""
        scratch = self.config.scratch
        if scratch is not None:
            return f"{scratch.architecture} from random weights"
        # Not the whole path: reports are passed on, and a path may be private.
        return self.config.hub or self.config.registered or Path(str(self.config.path)).name


def resolve(config: ModelConfig) -> BaseModelRef:
    """Find the base model's files, or download them, and compute their digest.

    Raises
    ------
    ModelError
        If the folder is not a transformers model with a tokenizer and safetensors, the model needs Python code of its
        own, its head cannot be kept, or the hub does not give access to the model.
    DownloadError
        If the hub does not answer.
    """
    if config.scratch is not None:
        return BaseModelRef(config=config, folder=None, digest=sha256_json(config.scratch.model_dump(mode="json")))
    folder = _download(config) if config.hub else Path(str(config.path)).resolve()
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: expected a model folder with config.json, a tokenizer and safetensors, found none")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder}: no .safetensors file; weights in pickle form are not loaded, convert them first")
    if not any(file for pattern in _TOKENIZER_FILES for file in folder.glob(pattern)):
        # Without these files transformers would create a tokenizer with an empty vocabulary.
        raise ModelError(f"{folder}: no tokenizer; expected tokenizer.json or the files of a slow tokenizer")
    model_folder.check(folder)
    files = sorted({file for pattern in _WEIGHT_FILES for file in folder.glob(pattern)})
    digests = {file.name: sha256_file(file) for file in files}
    keeps_head = config.head == "keep" and _has_head(folder)
    digest = sha256_json([digests, "head kept"] if keeps_head else digests)
    return BaseModelRef(config=config, folder=folder, digest=digest, keeps_head=keeps_head)


def _has_head(folder: Path) -> bool:
    try:
        return saved_head.is_own(folder) or saved_head.find(folder) is not None
    except ModelError as error:
        raise ModelError(f"{error}; or set model.head: new, to draw one in its place") from None


def _download(config: ModelConfig) -> Path:
    from huggingface_hub import errors, snapshot_download

    name = f"{config.hub} at revision {config.revision}"
    try:
        return Path(snapshot_download(str(config.hub), revision=config.revision, allow_patterns=list(_WEIGHT_FILES)))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise ModelError(
            f"model.hub: the hub has no {name}, or your access token does not give access: {error}"
        ) from None
    except errors.OfflineModeIsEnabled:
        raise ModelError(f"model.hub: {name} is not on this machine, and HF_HUB_OFFLINE forbids a download") from None
    except OSError as error:  # no connection, or a broken one
        raise DownloadError(f"model.hub: {name} could not be downloaded: {error}") from None


def trained_on(base: BaseModelRef) -> tuple[str, ...]:
    """Names of the probes that remedies have taught a base model, if it is a checkpoint of ours."""
    manifest = None if base.folder is None else own_manifest(base.folder)
    return () if manifest is None else manifest.trained_on


def own_manifest(folder: Path) -> CheckpointManifest | None:
    """The manifest beside the files of a model, if it is a checkpoint of ours."""
    if not (folder / MANIFEST_NAME).is_file():
        return None
    try:
        return CheckpointManifest.read(folder)
    except ManifestError:  # of another kind, or of another version of rmflow
        return None
