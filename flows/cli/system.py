"""The commands `up`, `status` and `down`: everything on one machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli import screen
from rm.errors import ConfigError, ServerError

if TYPE_CHECKING:
    from rm.pipeline.config import PipelineConfig
    from tasks.services import System

Recipes = Annotated[
    list[Path] | None, typer.Option("--config", "-c", help="A recipe to retrain by; repeatable. Its files are watched.")
]


def up(
    config: Recipes = None,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages and API.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = 5000,
    pool: Annotated[
        str | None, typer.Option(help="A work pool with workers elsewhere, such as on GPUs, for the retrainings.")
    ] = None,
) -> None:
    """Start everything on this machine: Prefect, MLflow, a worker, and what watches for new annotations.

    It runs until Ctrl-C or `rmflow down`, and then ends all of it. A server whose address is in PREFECT_API_URL or
    MLFLOW_TRACKING_URI is used in place of one here.
    """
    from filelock import Timeout

    from tasks import environment, services

    recipes = _recipes(config or [])
    environment.make_home()
    try:
        with services.only_one():
            _run(recipes, prefect_port, mlflow_port, pool)
    except KeyboardInterrupt:  # the way to end it
        screen.console.print("all has ended")
    except Timeout:
        raise ServerError(f"rmflow up: already running for {environment.home()}; see rmflow status") from None


def _recipes(paths: Sequence[Path]) -> dict[str, tuple[Path, PipelineConfig]]:
    from rm.pipeline.load import load

    found: dict[str, tuple[Path, PipelineConfig]] = {}
    for path in paths:
        if path.stem in found:
            raise ConfigError(f"rmflow up: {found[path.stem][0]} and {path} would have the same name, {path.stem}")
        found[path.stem] = (path.resolve(), load(path, []))
    return found


def _run(
    recipes: dict[str, tuple[Path, PipelineConfig]], prefect_port: int, mlflow_port: int, pool: str | None
) -> None:
    from tasks import databases, environment, prefect_server, services

    prefect_server.probe_configured()
    if environment.prefect_server() is None:
        services.check_port("Prefect", prefect_port, "--prefect-port")
    if environment.mlflow_server() is None:
        services.check_port("MLflow", mlflow_port, "--mlflow-port")
    databases.ensure_all()
    running, prefect, mlflow = services.servers(prefect_port, mlflow_port)
    try:
        for service in running:
            service.start()
        for service in running:
            service.wait()
        environment.use_servers(prefect, mlflow)
        own_pool = services.own_pool()
        _deploy({name: recipe for name, (_, recipe) in recipes.items()}, pool, own_pool)
        running.append(services.worker(own_pool))
        if recipes:
            running.append(services.watcher([str(path) for path, _ in recipes.values()]))
        system = services.System.of_this_process(prefect, mlflow, tuple(recipes), running)
        system.write()
        _show(system)
        services.keep(running, lambda service: _call_its_runs_crashed(service, own_pool))
    finally:
        services.stop_all(running)
        services.System.path().unlink(missing_ok=True)


def _deploy(recipes: dict[str, PipelineConfig], pool: str | None, own_pool: str) -> None:
    from flows import deployments
    from tasks import notifications

    for recipe in recipes.values():
        notifications.check(recipe.schedule)
    deployments.make_pool(own_pool)
    if pool is not None and deployments.kind_of_pool(pool) is None:
        raise ServerError(f"rmflow up: Prefect has no work pool {pool!r}; make it, and start workers for it")
    for name, recipe in recipes.items():
        deployments.deploy(name, recipe, own_pool, pool)


def _call_its_runs_crashed(service: str, pool: str) -> None:
    """A worker's runs end with it; without this they would be shown as running for ever, and never be started again."""
    from tasks import retrainings

    if service == "worker":
        retrainings.call_crashed(pool, "its worker has ended")


def watch(config: Recipes = None) -> None:
    """Watch the files and tables of recipes that are deployed; `up` runs it."""
    import logging

    from rm.pipeline.load import load
    from tasks import watcher

    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stdout)
    logging.getLogger("rm").setLevel(logging.INFO)
    recipes = {path.stem: load(path, []) for path in config or []}
    watcher.watch([watcher.Watcher(f"retrain/{name}", recipe) for name, recipe in recipes.items()])


def status() -> None:
    """Show what `rmflow up` runs in this home, whether it answers, and each recipe's last retraining."""
    system = _running()
    from tasks import environment, retrainings, services

    environment.use_servers(system.prefect, system.mlflow)
    table = Table("part", "where", "answers")
    for name, where, asked in (
        ("Prefect", system.prefect.removesuffix("/api"), f"{system.prefect}/health"),
        ("MLflow", system.mlflow, system.mlflow),
    ):
        table.add_row(name, where, "yes" if services.answers(asked) else "no")
    screen.console.print(table)
    kept = ", ".join(name for name in system.services if name not in ("Prefect", "MLflow"))
    screen.console.print(f"kept running: {kept}", highlight=False)
    for recipe in system.recipes:
        runs = retrainings.last_runs(f"retrain/{recipe}", limit=1)
        last = _last(runs[0].name, runs[0].state_name or "unknown") if runs else "none yet"
        screen.console.print(f"{escape(recipe)}: last retraining {escape(last)}", soft_wrap=True, highlight=False)


def _last(name: str, state: str) -> str:
    """A run's name, with its state where the name does not end with it."""
    return name if name.casefold().endswith(state.casefold()) else f"{name}: {state}"


def down() -> None:
    """End what `rmflow up` runs in this home, and wait until it has ended."""
    system = _running()
    if not system.stop():
        raise ServerError(f"rmflow down: process {system.pid} has not ended after 30 s")
    screen.console.print("all has ended")


def _running() -> System:
    from tasks import environment, services

    if (system := services.System.running()) is None:
        raise ServerError(f"nothing runs for {environment.home()}: start it with rmflow up")
    return system


def _show(system: System) -> None:
    screen.console.print(f"Prefect:  {system.prefect.removesuffix('/api')}", soft_wrap=True, highlight=False)
    screen.console.print(f"MLflow:   {system.mlflow}", soft_wrap=True, highlight=False)
    recipes = ", ".join(system.recipes) or "none; name them with --config"
    screen.console.print(f"Recipes:  {escape(recipes)}", soft_wrap=True, highlight=False)
    screen.console.print("Ctrl-C or `rmflow down` ends all of it.", highlight=False)
