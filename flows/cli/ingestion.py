"""The commands about annotations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from flows.cli import screen
from flows.cli.screen import counted
from rm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rm.data.config import IngestConfig
    from rm.data.explanation import Explanation
    from rm.data.preferences import Judgement
    from rm.data.store import IngestReport
    from rm.locations import Url
    from rm.model.config import ModelConfig
    from rm.section import Section

_NUM_REASONS = 5
_WIDTH = 300
"""Most characters of a text that are shown."""


def read(
    files: Sequence[str], config: Path | None, overrides: Sequence[str], run: Callable[[str, Section], IngestReport]
) -> IngestReport:
    """Read the files, or the recipe's sources; as a flow if there is a server to tell, or for made-up annotations.

    Parameters
    ----------
    files, overrides : sequence of str
    config : Path or None
        The recipe.
    run : callable
        Runs the flow of this name with its settings.
    """
    from rm.pipeline.load import load
    from tasks import environment

    environment.make_home()
    chosen = _overrides(files, overrides)
    recipe = load(config, chosen) if config is not None else None
    if recipe is not None and (recipe.sample is not None or environment.prefect_server()):
        return run("ingest.ingest", recipe)
    settings = recipe.ingest if recipe is not None else _without_recipe(chosen)
    if environment.prefect_server():
        return run("ingest.ingest_sources", settings)
    from tasks import reading

    return reading.checked(reading.read_in(settings, None, recipe.compute if recipe else None), settings)


def _overrides(files: Sequence[str], overrides: Sequence[str]) -> list[str]:
    import json

    return [*overrides, f"ingest.sources={json.dumps(list(files))}"] if files else list(overrides)


def _without_recipe(overrides: Sequence[str]) -> IngestConfig:
    from rm.pipeline.load import ingest_settings

    settings = ingest_settings(overrides)
    if not settings.sources:
        raise ConfigError("rmflow ingest: expected files to read, or --config with a recipe that names them")
    return settings


def show(report: IngestReport) -> None:
    """Print what became of the rows of each source."""
    table = Table("source", "rows", "stored", "duplicates", "quarantined")
    for counts in report.sources:
        numbers = (counts.num_rows, counts.num_stored, counts.num_duplicates, counts.num_quarantined)
        table.add_row(escape(counts.source), *map(str, numbers))
    screen.console.print(table)
    for counts in report.sources:
        if counts.left_out:
            left = ", ".join(f"{name} ({counted(number, 'row')})" for name, number in counts.left_out.items())
            _print(f"{counts.source}: no part of a judgement was made of {left}")
    for reason in report.refused:  # and the recipe says to go on without it
        _print(f"refused: {reason}")
    stored = f"{counted(report.table.num_stored, 'judgement')} in {report.table.path}"
    retracted = report.table.num_retracted
    _print(f"{stored} = {report.table.num_judgements:,} used + {retracted:,} retracted" if retracted else stored)


def explain(files: Sequence[str], config: Path | None, overrides: Sequence[str]) -> None:
    """Print what would be read of each source."""
    from rm.data import explanation, sources
    from rm.pipeline.load import load

    chosen = _overrides(files, overrides)
    recipe = load(config, chosen) if config is not None else None
    settings = recipe.ingest if recipe is not None else _without_recipe(chosen)
    render = _renderer(recipe.model if recipe is not None else None)
    refused = []
    for name in settings.sources:
        for path in sources.expanded(name):
            found = explanation.explain(sources.open_source(path), settings)
            _show_explanation(found, render)
            if (count := sum(found.problems.values())) > settings.max_quarantined_share * found.num_rows:
                refused.append(
                    f"{path}: {count:,} of {counted(found.num_rows, 'row')} cannot be used, more than the share of "
                    f"{settings.max_quarantined_share} that ingest.max_quarantined_share allows, so that nothing of it "
                    "would be stored"
                )
            elif not found.num_rows:
                refused.append(f"{path}: expected rows, got none")
    if refused:
        raise DataError("; ".join(refused))


def _renderer(model: ModelConfig | None) -> Callable[[Judgement], list[str]]:
    """What a model would read of a judgement; without one of a folder or the hub, its messages."""
    from rm.data.preferences import prompt_text

    if model is None or model.scratch is not None:
        return lambda judgement: [prompt_text(judgement.prompt), judgement.first, judgement.second]
    from rm.model.base_models import load_tokenizer
    from rm.tokens.chat_template import render_prompts, render_responses
    from tasks import base_models

    tokenizer = load_tokenizer(base_models.find(model), [])

    def render(judgement: Judgement) -> list[str]:
        (prompt,) = render_prompts(tokenizer, [judgement.prompt])
        return [
            prompt,
            *render_responses(tokenizer, [(judgement.prompt, (judgement.first, judgement.second))], [prompt]),
        ]

    return render


def _show_explanation(found: Explanation, render: Callable[[Judgement], list[str]]) -> None:
    num_usable = sum(found.formats.values())
    formats = ", ".join(f"{name} ({counted(number, 'row')})" for name, number in found.formats.items()) or "none"
    _print(f"{found.source}: {counted(found.num_rows, 'row')}, {num_usable:,} can be used. Format: {formats}")
    if found.columns:
        columns = Table("column", "becomes")
        for name, use in found.columns.items():
            columns.add_row(escape(name), escape(use))
        screen.console.print(columns)
    for number, judgements in enumerate(found.first_rows, start=1):
        prompt, first, second = map(_short, render(judgements[0]))
        _print(f"{number}. prompt: {prompt}\n   first:  {first}\n   second: {second}")
        _print(f"   preference for the first: {judgements[0].preference:g}")
        if more := len(judgements) - 1:
            _print(f"   and {counted(more, 'more judgement')} of this row")
    if len(found.problems) > 1:
        for reason, count in found.problems.most_common(_NUM_REASONS):
            _print(f"{counted(count, 'row')} cannot be used: {reason}")
    if found.first_problem:
        _print(f"{counted(found.num_rows - num_usable, 'row')} cannot be used. The first, {found.first_problem}")
    if (rest := len(found.problems) - _NUM_REASONS) > 0:
        _print(f"{rest} more reasons")


def _short(text: str) -> str:
    shown = text.replace("\n", "\\n")
    return shown if len(shown) <= _WIDTH else f"{shown[:_WIDTH]}... ({len(text):,} characters)"


def table_at(name: str, *, must_be: bool) -> Path | Url | None:
    """Where a table's annotations lie; None if there is no table, or DataError if there must be one."""
    from rm.data import tables
    from tasks import environment

    path = environment.annotations_at(name) / "annotations"
    if tables.opened(path) is not None:
        return path
    if must_be:
        raise DataError(f"{path}: no such table; see ingest.table in the recipe")
    return None


def clean(table: Path | Url, days: float, *, dry_run: bool) -> None:
    """Put a table's files together and remove old ones; print how many."""
    from rm.data import tables

    removed = tables.clean(table, days, dry_run=dry_run)
    _print(f"{len(removed)} files {'would be' if dry_run else 'were'} removed of {table}")


def _print(text: str) -> None:
    screen.console.print(escape(text), soft_wrap=True, highlight=False)
