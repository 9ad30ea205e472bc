"""What was found, as files: all of it as JSON, and the ids of the judgements as a list that other commands read."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from rm.data import id_lists
from rm.files import replace_text
from rm.origins.records import Origins

JSON_NAME, IDS_NAME = "origins.json", "judgements.txt"


def write(found: Origins, folder: Path, excluded: Set[str] = frozenset()) -> None:
    """Write both files.

    Parameters
    ----------
    found : Origins
    folder : Path
        Gets ``origins.json`` and, if any judgement is named or was left out before, ``judgements.txt``, which
        `snapshot.exclude` reads.
    excluded : set of str
        Ids that the model was trained without. They are in the list too: a list replaces the one before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = [
        f"{len(found.rows)} of {found.num_judgements} judgements, which add most to what is paid for {found.feature}",
        "the first ones most",
    ]
    if excluded:
        about.append(f"below them the {len(excluded)} that the model was trained without")
    (folder / IDS_NAME).unlink(missing_ok=True)  # of another feature, perhaps
    if found.rows or excluded:
        ids = (*(each.judgement_id for each in found.rows), *sorted(excluded))
        id_lists.write(folder / IDS_NAME, ids, about)
    replace_text(folder / JSON_NAME, found.model_dump_json(indent=2) + "\n")
