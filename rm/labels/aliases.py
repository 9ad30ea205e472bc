"""Annotators without their names: what leaves the machine names nobody."""

from __future__ import annotations

from rm.data import annotation_table, snapshots
from rm.data.annotation_table import TableVersion
from rm.data.manifests import DatasetManifest
from rm.files import sha256_text


def alias(annotator: str) -> str:
    """What an annotator is called in reports: the same in every report, 12 hex digits.

    It is no secret: who knows a name can find its alias.
    """
    return sha256_text(f"annotator {annotator}")[:12]


def names(table: TableVersion, dataset: DatasetManifest) -> dict[str, str]:
    """Alias to name of all annotators of a snapshot, sorted by name.

    Parameters
    ----------
    table : TableVersion
        The one that the snapshot was made from.
    dataset : DatasetManifest
    """
    found = {
        name
        for batch in annotation_table.columns_of(table, ["annotator"], snapshots.read_excluded(dataset))
        for name in batch.column(0).unique().to_pylist()
        if name is not None
    }
    return {alias(name): name for name in sorted(found)}
