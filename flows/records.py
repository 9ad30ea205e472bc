"""What the flows return, and what one flow hands to the next."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from rm.audit.manifests import AuditManifest
from rm.challengers.trail import TrailManifest
from rm.data.manifests import DatasetManifest
from rm.gate.decision import GateDecision
from rm.labels.manifests import LabelsManifest
from rm.model.manifests import CheckpointManifest
from rm.report.manifests import ReportManifest
from rm.score.manifests import ScoresManifest
from rm.tokens.manifests import TokenizedManifest
from tasks.registry import RegisteredVersion


class Trained(BaseModel):
    """A checkpoint and the data that it was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: DatasetManifest
    tokenized: TokenizedManifest
    checkpoint: CheckpointManifest
    labels: LabelsManifest | None = None
    """What was found on the labels; None if it could not be measured again."""

    @classmethod
    def read(cls, path: Path) -> Trained:
        """Find the data of a checkpoint through the manifests, and check that no file has changed.

        Raises
        ------
        ManifestError
            If a folder is unfinished, or its files differ from those that the next stage read.
        """
        checkpoint = CheckpointManifest.read(path.resolve())
        checkpoint.check()
        tokenized = checkpoint.read_input(TokenizedManifest)
        return cls(dataset=tokenized.read_input(DatasetManifest), tokenized=tokenized, checkpoint=checkpoint)


class Judged(BaseModel):
    """The scores and the audit of a checkpoint, the verdict and the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scores: ScoresManifest
    audited: AuditManifest
    decision: GateDecision
    report: ReportManifest
    run_id: str


class Outcome(BaseModel):
    """A registered version, with its training and its audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trained: Trained
    judged: Judged
    registered: RegisteredVersion
    trail: TrailManifest | None = None
    """What was tried before; None if the first training passed."""
