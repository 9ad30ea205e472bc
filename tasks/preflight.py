"""What is looked at before a training, in a flow."""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from rm.data.manifests import DatasetManifest
from rm.errors import ConfigError
from rm.model.base_files import BaseModelRef
from rm.pipeline import preflight
from rm.pipeline.config import PipelineConfig
from rm.pipeline.preflight import Preflight
from rm.tokens.config import TokenizeConfig
from rm.tokens.manifests import SurveyManifest
from tasks import trial
from tasks.stages import stage


@stage("rm.tokens.survey")
def survey(dataset: DatasetManifest, base: BaseModelRef, config: TokenizeConfig, *, folder: Path) -> SurveyManifest:
    """Count what is in a snapshot, and tokenize some of it."""
    from rm.tokens import survey as surveying

    return surveying.survey(dataset, base, config, folder)


@task
def check(surveyed: SurveyManifest, config: PipelineConfig) -> Preflight:
    """Say what the run will take, and stop it if something would stop it later."""
    report = trial.examined(surveyed, config)
    text = preflight.markdown(report)
    create_markdown_artifact(key="preflight", markdown=text, description="What the run takes, and whether it can pass")
    if report.stops:
        raise ConfigError(report.stops)
    for remark in report.remarks:
        if remark.level != "fine":
            get_run_logger().warning("%s: %s", remark.about, remark.text)
    return report
