"""The trail as a stage: all its files appear, or none."""

from __future__ import annotations

from pathlib import Path

from rm.challengers import page
from rm.challengers.trail import Trail, TrailManifest
from rm.files import replace_text


def write(trail: Trail, folder: Path) -> TrailManifest:
    """Write the page, the JSON file and the figure.

    Parameters
    ----------
    trail : Trail
    folder : Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure = page.figure(trail)
    texts = {
        TrailManifest.PAGE_NAME: page.page(trail),
        TrailManifest.JSON_NAME: trail.model_dump_json(indent=2) + "\n",
        **({TrailManifest.PICTURE_NAME: figure.svg()} if figure else {}),
    }
    for name, text in texts.items():
        replace_text(folder / name, text)
    return TrailManifest.seal(folder, inputs=(), config=trail, num_rows=1 + len(trail.tries))


def read(folder: Path) -> Trail:
    """Read a trail that was written."""
    return Trail.model_validate_json((folder / TrailManifest.JSON_NAME).read_bytes())
