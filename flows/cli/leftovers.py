"""What `clean` removes beside the files of a table."""

from __future__ import annotations

from rich.markup import escape

from flows.cli.screen import console


def clean(days: float, *, dry_run: bool) -> None:
    """Remove what interrupted runs have left; print each with its size, and the sum."""
    from rm.files import size_text
    from tasks import leftovers

    found = leftovers.remove(days, dry_run=dry_run)
    for each in found:
        console.print(escape(f"{each.path}: {size_text(each.size)}"), soft_wrap=True, highlight=False)
    freed = size_text(sum(each.size for each in found))
    console.print(f"{freed} of interrupted runs {'would be' if dry_run else 'were'} freed", highlight=False)
