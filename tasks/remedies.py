"""What was tried against a bias, for people to read: written as a stage, shown in MLflow and Prefect."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact

from rm.challengers.trail import Trail, TrailManifest
from tasks import tracking
from tasks.stages import stage


@stage("rm.challengers.stage")
def write_trail(trail: Trail, *, folder: Path) -> TrailManifest:
    """Write what was tried as a page, with a figure of accuracy against bias."""
    from rm.challengers import stage as trail_stage

    return trail_stage.write(trail, folder)


@task
def publish_trail(written: TrailManifest, trail: Trail) -> None:
    """Log the trail to MLflow, where the challengers become children of the first run, and show it in Prefect."""
    from rm.challengers import page

    tracking.log_trail(written, trail)
    place = f"The page is `{written.path / TrailManifest.PAGE_NAME}`."
    create_markdown_artifact(
        key="remedies", markdown=f"{page.markdown(trail)}\n{place}\n", description=page.title(trail)
    )
