"""What `clean` removes beside the files of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from flows.cli.screen import console

if TYPE_CHECKING:
    from tasks.leftovers import Leftover


def clean(days: float, *, dry_run: bool) -> None:
    """Remove what no run and no registered version needs; print each with its size, and the sum."""
    from rm.files import size_text

    found = _removed(days, dry_run=dry_run)
    for each in found:
        console.print(escape(f"{each.what}: {size_text(each.size)}"), soft_wrap=True, highlight=False)
    freed = size_text(sum(each.size for each in found))
    console.print(f"{freed} {'would be' if dry_run else 'were'} freed", highlight=False)


def _removed(days: float, *, dry_run: bool) -> list[Leftover]:
    from tasks import environment, leftovers, old_copies, orphans, prefect_server, tracking, versions

    prefect_server.probe_configured()  # at once, since MLflow's client asks for minutes
    if not tracking.has_store():  # the copies may be those of versions that another machine has registered
        return leftovers.remove(days, frozenset(), dry_run=dry_run)
    client = tracking.client()
    with tracking.mlflow_lock():  # so that nothing is registered meanwhile
        known = versions.all_versions(client)
        registered = {version.tags[versions.DIGEST_TAG] for version in known if versions.DIGEST_TAG in version.tags}
        place = environment.copies_of_stages()
        return [  # copies first: if their storage does not answer, nothing is removed
            *(() if place is None else old_copies.remove(place, days, registered, dry_run=dry_run)),
            *leftovers.remove(days, registered, dry_run=dry_run),
            *orphans.remove(client, known, days, dry_run=dry_run),
        ]
