"""The model registry: it gets only models that passed, exactly as they were audited, one version per checkpoint."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.tracking import MlflowClient
from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, ParamSpec, Schema
from prefect import get_run_logger, task
from pydantic import BaseModel, ConfigDict

import rm
from rm import manifests
from rm.audit.manifests import AuditManifest
from rm.audit.records import AuditReport, read_report
from rm.challengers.trail import TrailManifest
from rm.data.manifests import DatasetManifest
from rm.errors import ModelError, RegistrationError
from rm.files import sha256_file, sha256_json, sha256_text, work_folder
from rm.gate.decision import GateDecision
from rm.gate.record import RECORD_NAME, SignedRecord, VersionRecord, sign
from rm.model.manifests import CheckpointManifest
from rm.pipeline.config import PipelineConfig, RegistryConfig
from rm.report.manifests import ReportManifest
from rm.score.manifests import ChampionRef, ScoresManifest
from rm.tokens.manifests import TokenizedManifest
from rm.variants.manifests import VariantsManifest
from rm.variants.records import AS_TRAINED, Variants
from tasks import environment, promotion, run_page, tracking, versions

CHALLENGER = "challenger"
MODEL_NAME = "reward_model"
"""Name of a logged model among those of its run."""
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
_REMEDY = f"delete this version, or its tag {versions.DIGEST_TAG}, to go on without it"


class RegisteredVersion(BaseModel):
    """A version in the registry."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    version: str
    alias: str
    checkpoint_digest: str


class Candidate(BaseModel):
    """A checkpoint with its data, scores, audit and report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: CheckpointManifest
    dataset: DatasetManifest
    tokenized: TokenizedManifest
    scores: ScoresManifest
    audited: AuditManifest
    report: ReportManifest
    variants: VariantsManifest
    """Other rewards that were made of its own."""
    trail: TrailManifest | None = None
    """What was tried before it passed."""


@task
def register(candidate: Candidate, decision: GateDecision, run_id: str, config: PipelineConfig) -> RegisteredVersion:
    """Register a checkpoint that has passed; if it is registered already, it keeps its version."""
    checkpoint = candidate.checkpoint
    if not decision.passed or decision.checkpoint_digest != checkpoint.digest:
        raise RegistrationError(
            f"checkpoint {checkpoint.digest[:12]} has not passed: the decision is '{decision.verdict}' for "
            f"{decision.checkpoint_digest[:12]}"
        )
    if decision.report_digest != sha256_text(read_report(candidate.audited).model_dump_json()):
        raise RegistrationError(f"{candidate.audited.path}: the decision is not about the findings in this folder")
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
        alias = version.tags.get(ALIAS_TAG) or _set_alias(client, version, measured, decision, config.registry)
    get_run_logger().info("%s version %s, alias %s", name, version.version, alias)
    return RegisteredVersion(name=name, version=str(version.version), alias=alias, checkpoint_digest=checkpoint.digest)


def _find(client: MlflowClient, name: str, digest: str) -> ModelVersion | None:
    """The version with this checkpoint. A tag that says so is not believed: its files are digested."""
    tagged = client.search_model_versions(f"name = '{name}' and tags.`{versions.DIGEST_TAG}` = '{digest}'")
    problems = []
    for version in tagged:
        try:
            with versions.room() as place:
                versions.check_checkpoint(version, versions.trusted_key(), place)
        except RegistrationError as problem:
            problems.append(problem)
        else:
            return version
    if problems:
        raise RegistrationError(f"{problems[0]}; {_REMEDY}")
    return None


def _create(
    client: MlflowClient, candidate: Candidate, decision: GateDecision, run_id: str, config: PipelineConfig
) -> ModelVersion:
    """Log the model, then its report and its record, and make a version of it last."""
    model = _log_model(candidate, run_id)
    folder = Path(mlflow.artifacts.download_artifacts(model.model_uri, dst_path=versions.lasting_room()))
    signed = _record(candidate, decision, run_id, config, manifests.digests(folder, versions.WRITTEN_BY_MLFLOW))
    signed.record.check_checkpoint(folder)
    _check_model(folder, candidate)
    for path in _report_files(candidate):
        client.log_artifact(run_id, str(path), signed.record.report)
    with work_folder() as temporary:
        file = temporary / RECORD_NAME
        file.write_text(signed.text, encoding="utf-8")
        client.log_model_artifact(model.model_id, str(file))
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
        tags=versions.tags(signed),
        description=_description(candidate, decision),
    )


def _description(candidate: Candidate, decision: GateDecision) -> str:
    """The model card, and what its variants change."""
    from rm.report import card
    from rm.report.markdown import listed

    variants = Variants.read(candidate.variants.path / VariantsManifest.VARIANTS_NAME)
    told = "\n\n".join(listed("Variants of the reward", [f"{name}: {text}" for name, text in variants.told()]))
    body = card.body(read_report(candidate.audited), decision)
    return f"{run_page.shortened(body, _MAX_DESCRIPTION - len(told) - 2)}\n\n{told}\n"


def _record(
    candidate: Candidate, decision: GateDecision, run_id: str, config: PipelineConfig, files: dict[str, str]
) -> SignedRecord:
    measured = read_report(candidate.audited)
    accuracy = measured.finding("accuracy")
    report_files = {path.name: sha256_file(path) for path in _report_files(candidate)}
    checkpoint = candidate.checkpoint
    folder = f"artifacts/{checkpoint.path.name}"
    logged = {name.removeprefix(f"{folder}/") for name in files if name.startswith(f"{folder}/")}
    if unlisted := sorted(logged - checkpoint.files.keys() - {manifests.MANIFEST_NAME}):
        raise RegistrationError(f"{checkpoint.path / unlisted[0]}: put there while the model was registered")
    record = VersionRecord(
        name=config.registry.name,
        checkpoint_digest=checkpoint.digest,
        checkpoint=folder,
        files=files,
        table=candidate.dataset.inputs[0].path.parent.name,
        num_judgements=candidate.dataset.num_judgements,
        dataset_digest=candidate.dataset.digest,
        run_id=run_id,
        report=f"registered/{sha256_json(report_files)[:12]}",
        report_files=report_files,
        report_digest=decision.report_digest,
        accuracy=None if accuracy is None else accuracy.estimate,
        verdict=decision.verdict,
        policy_digest=decision.policy_digest,
        waivers=decision.waivers,
        champion_digest=measured.provenance.champion_digest,
        config_digest=sha256_json(config.model_dump(mode="json")),
        code_revision=tracking.code_revision(),
        time=datetime.now(UTC),
        who=environment.user(),
    )
    return sign(record, versions.signing_key())


def _report_files(candidate: Candidate) -> list[Path]:
    """The files of the report, the findings that were judged, the variants, and what was tried before."""
    written = [candidate.report, candidate.variants, *([candidate.trail] if candidate.trail else [])]
    for each in written:
        each.check()
    findings = candidate.audited.path / AuditManifest.FINDINGS_NAME
    return [*(each.path / name for each in written for name in sorted(each.files)), findings]


def _log_model(candidate: Candidate, run_id: str) -> ModelInfo:
    """Log the checkpoint as an MLflow model."""
    example = pd.DataFrame(
        {"prompt": ["What is the capital of France?"], "response": ["The capital of France is Paris."]}
    )
    with mlflow.start_run(run_id=run_id, log_system_metrics=False), _no_byte_code():
        model: ModelInfo = mlflow.pyfunc.log_model(
            name=MODEL_NAME,
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={
                "checkpoint": str(candidate.checkpoint.path),
                "variants": str(candidate.variants.path / VariantsManifest.VARIANTS_NAME),
            },
            code_paths=[str(Path(rm.__file__).parent)],  # so that serving does not need this project installed
            signature=ModelSignature(
                inputs=Schema([ColSpec(AnyType(), "prompt"), ColSpec(DataType.string, "response")]),
                outputs=Schema([ColSpec(DataType.double)]),
                params=ParamSchema([ParamSpec("variant", DataType.string, AS_TRAINED)]),
            ),
            input_example=example,
            pip_requirements=[f"{name}=={_public_version(name)}" for name in _REQUIREMENTS],
        )
    return model


def _public_version(package: str) -> str:
    """The version that the package index has: 2.13.0 for the local build 2.13.0+cpu."""
    return importlib.metadata.version(package).partition("+")[0]


def _check_model(folder: Path, candidate: Candidate) -> None:
    """Compare the logged model's rewards of whole texts with the audited ones."""
    from rm.score import reload

    examples = reload.served_examples(candidate.dataset, candidate.tokenized, candidate.scores, _NUM_COMPARED)
    prompts = [[message._asdict() for message in example.prompt] for example in examples]
    frame = pd.DataFrame({"prompt": prompts, "response": [example.response for example in examples]})
    with _no_byte_code():
        served = np.asarray(mlflow.pyfunc.load_model(str(folder)).predict(frame), dtype=np.float64)
    reload.check_rewards(str(folder), served, np.array([example.reward for example in examples]), _TOLERANCE)


@contextmanager
def _no_byte_code() -> Iterator[None]:
    """MLflow loads a model's code where its artifacts lie; byte code would be files that no record lists."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _set_alias(
    client: MlflowClient, version: ModelVersion, measured: AuditReport, decision: GateDecision, config: RegistryConfig
) -> str:
    """``champion`` if there is no champion or the model is better beyond the interval, else ``challenger``."""
    from rm.gate import promotion as gate_promotion

    versions.check(version, versions.trusted_key())
    holder = promotion.holder(client, version.name, promotion.CHAMPION)
    is_champion = holder is not None and str(holder.version) == str(version.version)
    if not is_champion and not gate_promotion.may_be_champion(decision, config.champion):
        alias, why = CHALLENGER, ""
        get_run_logger().warning(
            "it passed with warnings, so a person decides: rmflow models promote %s %s --why ... makes it champion, "
            "registry.champion: passed_with_warnings would",
            version.name,
            version.version,
        )
    elif holder is None or is_champion:
        alias, why = promotion.CHAMPION, "the first model that passed"
    elif _beats(holder, measured, decision):
        alias, why = promotion.CHAMPION, f"more accurate than version {holder.version} beyond the interval"
    else:
        alias, why = CHALLENGER, ""
    if alias == promotion.CHAMPION:
        promotion.move(client, version, why)
    else:
        client.set_registered_model_alias(version.name, alias, version.version)
    client.set_model_version_tag(version.name, version.version, ALIAS_TAG, alias)
    return alias


def _beats(holder: ModelVersion, measured: AuditReport, decision: GateDecision) -> bool:
    from rm.gate import promotion as gate_promotion

    if not gate_promotion.was_compared_with(measured, holder.tags.get(versions.DIGEST_TAG)):
        get_run_logger().warning("it was not compared with champion version %s, which stays", holder.version)
        return False
    return gate_promotion.beats_champion(measured, decision)


@task
def find_champion(checkpoint: CheckpointManifest, config: RegistryConfig) -> ChampionRef | None:
    """The champion to compare a checkpoint with; its files are digested.

    For a checkpoint that is registered already, it is the champion that it was compared with at that time.
    """
    client = tracking.client()
    version = _find(client, config.name, checkpoint.digest)
    if version is None:
        holder = promotion.holder(client, config.name, promotion.CHAMPION)
    else:
        holder = _find(client, config.name, versions.read_record(version).record.champion_digest or "none")
    if holder is None:
        return None
    if versions.DIGEST_TAG not in holder.tags:
        label = versions.label(holder)
        get_run_logger().warning("%s holds no checkpoint of ours, so it cannot be compared", label)
        return None
    try:
        champion = versions.check_checkpoint(holder, versions.trusted_key())
    except RegistrationError as problem:
        raise RegistrationError(f"{problem}; {_REMEDY}") from None
    digest = champion.record.checkpoint_digest
    return ChampionRef(name=versions.label(holder), path=champion.checkpoint, digest=digest)


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
    root = Path(mlflow.artifacts.download_artifacts(uri, dst_path=versions.lasting_room()))
    files = [
        file
        for pattern in ("artifacts/*/config.json", "config.json", "model/config.json")
        for file in root.glob(pattern)
    ]
    return next((file.parent for file in files), None)
