"""Two parts of the held-out prompts: on one a remedy is chosen, on the other the model that it made is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rm.data.preferences import PromptGroup, split_of

Part = Literal["whole", "choosing", "judging"]
CHOOSING_SHARE = 1 / 3
"""Of the prompts. To choose, challengers are only compared with one another; to judge, a bound must be shown."""
_SALT = "remedies "
"""Another draw than that of the held-out prompts."""

NOTES: dict[Part, tuple[str, ...]] = {
    "whole": (),
    "choosing": ("only the third of the held-out prompts on which remedies are chosen; the others judge",),
    "judging": ("only the two thirds of the held-out prompts that no remedy was chosen on",),
}
"""What a report says of a part."""


def members(groups: Sequence[PromptGroup], part: Part) -> tuple[list[int], NDArray[np.int64]]:
    """The prompts of a part.

    Parameters
    ----------
    groups : sequence of PromptGroup
        All held-out prompts.
    part : str

    Returns
    -------
    indices : list of int
    clusters : array of shape (len(indices),)
        Cluster of each, numbered from 0: near-duplicate prompts have one, and lie in one part.

    Notes
    -----
    A cluster's part is drawn by a hash of its smallest prompt id. What was found on one part then says nothing of the
    labels of the other.
    """
    from rm.data import near_duplicates  # and scipy with it, which a run needs only if its audit is not done

    clusters = near_duplicates.clusters([group.prompt for group in groups])
    if part == "whole":
        return list(range(len(groups))), clusters
    first: dict[int, str] = {}
    for cluster, group in zip(clusters.tolist(), groups, strict=True):
        first[cluster] = min(first.get(cluster, group.prompt_id), group.prompt_id)
    wanted = "heldout" if part == "choosing" else "train"
    chosen = {cluster for cluster, name in first.items() if split_of(name, CHOOSING_SHARE, _SALT) == wanted}
    indices = [index for index, cluster in enumerate(clusters.tolist()) if cluster in chosen]
    return indices, np.unique(clusters[indices], return_inverse=True)[1]
