"""What `rm.tokens.survey` found, to be read without what it takes to tokenize."""

from __future__ import annotations

from pydantic import NonNegativeInt

from rm.data.preferences import Split
from rm.section import Section
from rm.tokens.manifests import SurveyManifest
from rm.tokens.overlong import Fit


class SplitSurvey(Section):
    """One split: what is in all of it, and what was found in the sample."""

    num_prompts: NonNegativeInt = 0
    num_judgements: NonNegativeInt = 0
    num_pairs: NonNegativeInt = 0
    num_ties: NonNegativeInt = 0
    """Pairs of which no response is preferred; the audit has no use for them."""
    sampled_prompts: NonNegativeInt = 0
    sampled_kept_prompts: NonNegativeInt = 0
    """Those of which a pair is left."""
    sampled_pairs: NonNegativeInt = 0
    sampled_lost_pairs: NonNegativeInt = 0
    sampled_tokens: NonNegativeInt = 0
    """Of the prompts that are kept, each prompt and each response once."""

    @property
    def kept_pairs(self) -> int:
        """About how many pairs are left of all of it; exact where all prompts were tokenized."""
        return self._of_all(self.sampled_pairs - self.sampled_lost_pairs)

    @property
    def kept_prompts(self) -> int:
        """About how many prompts have a pair left."""
        return self._of_all(self.sampled_kept_prompts)

    @property
    def kept_tokens(self) -> int:
        """About how many tokens all of it has."""
        return self._of_all(self.sampled_tokens)

    def _of_all(self, sampled: int) -> int:
        return round(sampled * self.num_prompts / self.sampled_prompts) if self.sampled_prompts else 0


class Survey(Section):
    """A snapshot under a tokenizer, and the size of the base model."""

    splits: dict[Split, SplitSurvey]
    num_responses: NonNegativeInt
    """Of the sampled prompts."""
    max_tokens: int
    """Most tokens of a prompt with one response, as in the recipe or settled by the sample."""
    overlong: dict[str, dict[str, int]]
    """As in `rm.tokens.manifests.TokenizedManifest`, of the sampled prompts."""
    refused: tuple[str, ...]
    """Why the chat template refuses sampled prompts."""
    num_parameters: int
    hidden_size: int
    num_layers: int
    keeps_head: bool = False
    """Whether the base model is a reward model whose head training starts from."""
    dataset_bytes: int

    @property
    def num_sampled(self) -> int:
        """Prompts that were tokenized."""
        return sum(split.sampled_prompts for split in self.splits.values())

    @property
    def is_whole(self) -> bool:
        """Whether all prompts were tokenized."""
        return self.num_sampled == sum(split.num_prompts for split in self.splits.values())

    @property
    def fit(self) -> Fit:
        """What fits, of the sampled prompts of all splits."""
        found = Fit(
            num_responses=self.num_responses,
            num_pairs=sum(split.sampled_pairs for split in self.splits.values()),
            num_lost_pairs=sum(split.sampled_lost_pairs for split in self.splits.values()),
        )
        for reason, lengths in self.overlong.items():
            found.overlong[reason].update(lengths)
        return found


def read_survey(surveyed: SurveyManifest) -> Survey:
    """What was found."""
    return Survey.model_validate_json((surveyed.path / SurveyManifest.SURVEY_NAME).read_bytes())
