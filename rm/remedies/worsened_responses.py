"""Responses that an edit has surely made worse, which lose: what a bias likes about them does not win."""

from __future__ import annotations

from dataclasses import replace

from rm.data.preferences import Comparison
from rm.edits import shape
from rm.remedies.edited_responses import Edited, Edits
from rm.tokens.items import TokenizedPrompt

WORSE: Edits = {
    "double": lambda text, _: shape.repeated(text, 2),
    "truncate": lambda text, _: shape.truncated(text, 50),
    "word_scramble": shape.words_scrambled,
}
"""Said twice, cut off, scrambled: one longer, one shorter and one of the same length, so that length itself is neither
liked nor disliked."""
ALONE = "word_scramble"
"""The one of the same length, for responses of which the others cannot all be made or read."""


def with_worsened(prompt: TokenizedPrompt, edited: Edited) -> TokenizedPrompt:
    """A prompt with a worsened response, over which the response that it was made from wins.

    References
    ----------
    Park et al. (2024), OffsetBias: leveraging debiased data for tuning evaluators, arXiv:2407.06551, whose pairs a
    language model writes; these need none.
    """
    own, worse = edited.response, len(prompt.response_ids)
    weight = prompt.comparisons[0].weight
    pair = Comparison(first=own, second=worse, preference=1.0, target_margin=0.0, weight=weight, num_judgements=0)
    return replace(
        prompt,
        response_ids=[*prompt.response_ids, edited.ids],
        response_attributes=[*prompt.response_attributes, {}],
        response_indices=[*prompt.response_indices, -1],
        comparisons=[*prompt.comparisons, pair],
    )
