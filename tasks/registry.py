"""The model registry: it gets only models that passed, exactly as they were audited, one version per checkpoint."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.tracking import MlflowClient
from mlflow.types.schema import AnyType, ColSpec, DataType, Schema
from prefect import get_run_logger, task
from pydantic import BaseModel, ConfigDict

import rm
from rm.audit.manifests import AuditManifest
from rm.audit.records import AuditReport, read_report
from rm.data.manifests import DatasetManifest
from rm.errors import ModelError, RegistrationError
from rm.files import sha256_json
from rm.gate.decision import GateDecision
from rm.model.manifests import CheckpointManifest
from rm.pipeline.config import PipelineConfig, RegistryConfig
from rm.score.manifests import ChampionRef, ScoresManifest
from rm.tokens.manifests import TokenizedManifest
from tasks import run_page, tracking

CHAMPION, CHALLENGER = "champion", "challenger"
DIGEST_TAG = "rmflow.checkpoint_digest"
CHAMPION_TAG = "rmflow.champion_digest"
"""Digest of the champion that the version was compared with."""
ALIAS_TAG = "rmflow.alias"
"""The alias that a version got when it was registered; if somebody changes the alias later, it stays changed."""
_REQUIREMENTS = (
    "torch",
    "transformers",
    "tokenizers",
    "fastokens",
    "safetensors",
    "numpy",
    "mlflow",
)
_NUM_COMPARED = 32
_MAX_DESCRIPTION = 5000
"""Most characters of a description in MLflow's database; the run's report has the whole card."""
_TOLERANCE = 1e-4


class RegisteredVersion(BaseModel):
    """A version in the registry."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    version: str
    alias: str
    checkpoint_digest: str


class Candidate(BaseModel):
    """A checkpoint with its data, scores and audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: CheckpointManifest
    dataset: DatasetManifest
    tokenized: TokenizedManifest
    scores: ScoresManifest
    audited: AuditManifest


@task
def register(candidate: Candidate, decision: GateDecision, run_id: str, config: PipelineConfig) -> RegisteredVersion:
    """Register a checkpoint that has passed; if it is registered already, it keeps its version."""
    checkpoint = candidate.checkpoint
    if not decision.passed or decision.checkpoint_digest != checkpoint.digest:
        raise RegistrationError(
            f"checkpoint {checkpoint.digest[:12]} has not passed: the decision is '{decision.verdict}' for "
            f"{decision.checkpoint_digest[:12]}"
        )
    client = tracking.client()
    name = config.registry.name
    with tracking.mlflow_lock():
        version = _find(client, name, checkpoint.digest)
        if version is None:
            from rm.score import reload  # and torch with it: only where there is something to register

            checkpoint.check()
            reload.check_reload(checkpoint, candidate.tokenized, candidate.scores, _NUM_COMPARED, _TOLERANCE)
            version = _create(client, candidate, decision, run_id, config)
        measured = read_report(candidate.audited)
        alias = version.tags.get(ALIAS_TAG) or _set_alias(client, version, measured, decision, name)
    get_run_logger().info("%s version %s, alias %s", name, version.version, alias)
    return RegisteredVersion(name=name, version=str(version.version), alias=alias, checkpoint_digest=checkpoint.digest)


def _find(client: MlflowClient, name: str, digest: str) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{name}' and tags.`{DIGEST_TAG}` = '{digest}'")
    return found[0] if found else None


def _create(
    client: MlflowClient, candidate: Candidate, decision: GateDecision, run_id: str, config: PipelineConfig
) -> ModelVersion:
    from rm.report import card

    tags = {
        DIGEST_TAG: candidate.checkpoint.digest,
        "rmflow.dataset_digest": candidate.dataset.digest,
        "rmflow.config_digest": sha256_json(config.model_dump(mode="json")),
        "rmflow.code_revision": tracking.code_revision(),
        "rmflow.verdict": decision.verdict,
        CHAMPION_TAG: read_report(candidate.audited).provenance.champion_digest or "none",
        **tracking.waiver_tag(decision),
    }
    model = _log_model(candidate, run_id, tags)
    try:
        client.create_registered_model(config.registry.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(
        config.registry.name,
        source=model.model_uri,
        run_id=run_id,
        model_id=model.model_id,
        tags=tags,
        description=run_page.shortened(card.body(read_report(candidate.audited), decision), _MAX_DESCRIPTION),
    )


def _log_model(candidate: Candidate, run_id: str, tags: dict[str, str]) -> ModelInfo:
    """Log the checkpoint as an MLflow model and check that it gives the audited rewards."""
    example = pd.DataFrame(
        {"prompt": ["What is the capital of France?"], "response": ["The capital of France is Paris."]}
    )
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        model: ModelInfo = mlflow.pyfunc.log_model(
            name="reward_model",
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={"checkpoint": str(candidate.checkpoint.path)},
            code_paths=[str(Path(rm.__file__).parent)],  # so that serving does not need this project installed
            signature=ModelSignature(
                inputs=Schema([ColSpec(AnyType(), "prompt"), ColSpec(DataType.string, "response")]),
                outputs=Schema([ColSpec(DataType.double)]),
            ),
            input_example=example,
            pip_requirements=[f"{name}=={_public_version(name)}" for name in _REQUIREMENTS],
            metadata=tags,
        )
    _check_model(model.model_uri, candidate)
    return model


def _public_version(package: str) -> str:
    """The version that the package index has: 2.13.0 for the local build 2.13.0+cpu."""
    return importlib.metadata.version(package).partition("+")[0]


def _check_model(uri: str, candidate: Candidate) -> None:
    """Compare the logged model's rewards of whole texts with the audited ones."""
    from rm.score import reload

    examples = reload.served_examples(candidate.dataset, candidate.tokenized, candidate.scores, _NUM_COMPARED)
    prompts = [[message._asdict() for message in example.prompt] for example in examples]
    frame = pd.DataFrame({"prompt": prompts, "response": [example.response for example in examples]})
    served = np.asarray(mlflow.pyfunc.load_model(uri).predict(frame), dtype=np.float64)
    reload.check_rewards(uri, served, np.array([example.reward for example in examples]), _TOLERANCE)


def _set_alias(
    client: MlflowClient, version: ModelVersion, measured: AuditReport, decision: GateDecision, name: str
) -> str:
    """``champion`` if there is no champion or the model is better beyond the interval, else ``challenger``."""
    holder = _champion(client, name)
    is_champion = holder is None or str(holder.version) == str(version.version) or _beats(holder, measured, decision)
    alias = CHAMPION if is_champion else CHALLENGER
    client.set_registered_model_alias(name, alias, version.version)
    client.set_model_version_tag(name, version.version, ALIAS_TAG, alias)
    return alias


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        return None


def _beats(holder: ModelVersion, measured: AuditReport, decision: GateDecision) -> bool:
    from rm.gate import promotion

    if not promotion.was_compared_with(measured, holder.tags.get(DIGEST_TAG)):
        get_run_logger().warning("it was not compared with champion version %s, which stays", holder.version)
        return False
    return promotion.beats_champion(measured, decision)


@task
def find_champion(checkpoint: CheckpointManifest, config: RegistryConfig) -> ChampionRef | None:
    """The champion to compare a checkpoint with.

    For a checkpoint that is registered already, it is the champion that it was compared with at that time.
    """
    client = tracking.client()
    version = _find(client, config.name, checkpoint.digest)
    if version is None:
        holder = _champion(client, config.name)
    else:
        holder = _find(client, config.name, version.tags.get(CHAMPION_TAG) or "none")
    if holder is None:
        return None
    uri = f"models:/{config.name}/{holder.version}"
    folder = _checkpoint_in(uri)
    if folder is None or DIGEST_TAG not in holder.tags:
        get_run_logger().warning("%s holds no checkpoint of ours, so it cannot be compared", uri)
        return None
    name = f"{config.name} version {holder.version}"
    return ChampionRef(name=name, path=folder, digest=holder.tags[DIGEST_TAG])


def download(uri: str) -> Path:
    """Download an MLflow model; return the folder of the checkpoint in it."""
    try:
        folder = _checkpoint_in(uri)
    except (MlflowException, OSError) as error:
        raise ModelError(f"{uri}: MLflow has no such model, or you have no access to it: {error}") from None
    if folder is None:
        raise ModelError(f"{uri}: expected an MLflow model with a checkpoint that transformers can load, found none")
    return folder


def _checkpoint_in(uri: str) -> Path | None:
    root = Path(mlflow.artifacts.download_artifacts(uri))
    files = [
        file
        for pattern in ("artifacts/*/config.json", "config.json", "model/config.json")
        for file in root.glob(pattern)
    ]
    return next((file.parent for file in files), None)
