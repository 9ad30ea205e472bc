"""The engine that a recipe names."""

from __future__ import annotations

from typing import Literal

from rm.engine.engines import LOCAL, Engine


def chosen(name: Literal["local", "ray"], num_workers: int | None) -> Engine:
    """The engine of this name.

    Parameters
    ----------
    name : str
    num_workers : int, optional
        Workers of a Ray cluster; default: as many as it has GPUs or cores for.

    Raises
    ------
    ConfigError
        If ray is not installed.
    ClusterError
        If there is no cluster at the address in ``RAY_ADDRESS``.
    """
    if name == "local":
        return LOCAL
    from rm.engine.cluster import Cluster  # here, since few runs need ray

    return Cluster(num_workers)
