"""What a served model says of rows that it cannot score."""

import numpy as np
import pandas as pd
import pytest

from rm.data.preferences import Message
from rm.errors import DataError
from rm.stats.finding import Finding
from rm.variants.records import Variant, Variants
from tasks.serving import RewardScorer

USER, ASSISTANT = {"role": "user", "content": "How far?"}, {"role": "assistant", "content": "Far."}


def variant(**numbers):
    found = Finding(kind="a", estimate=1, ci_low=1, ci_high=1, num_pairs=1, unit="", method="")
    return Variant(**numbers, fitted=found, before=(), after=(), changes=())


class Recorder:
    """In the place of a loaded model, which tests/flows/test_retrain.py serves: keeps what it is asked to score."""

    def score_texts(self, items):
        self.items = items
        return np.arange(len(items), dtype=float)


@pytest.fixture
def served():
    scorer = RewardScorer()
    scorer.scorer = Recorder()
    scorer.variants = Variants(
        checkpoint_digest="0", variants={"calibrated": variant(scale=0.5)}, missing={"without_length": "2 prompts"}
    )
    return scorer


@pytest.mark.parametrize(
    ("prompt", "response", "told"),
    [
        ("How far?", None, "row 2: response: expected text, got "),
        (None, "Far.", "row 2: prompt: expected text or messages, got "),
        ([USER, ASSISTANT], "Far.", "row 2: the prompt must end with a user message or a tool's result, it ends with "),
        ([], "Far.", "row 2: the prompt must end with a user message or a tool's result, it ends with nothing"),
        ([{"role": "user"}], "Far.", "row 2: prompt"),
    ],
    ids=["no response", "no prompt", "an answered prompt", "an empty prompt", "no content"],
)
def test_a_row_that_cannot_be_scored_is_named(served, prompt, response, told):
    rows = pd.DataFrame({"prompt": ["How far?", prompt], "response": ["Far.", response]})
    with pytest.raises(DataError) as caught:
        served.predict(None, rows)
    assert str(caught.value).startswith(told)


def test_text_and_messages_are_one_prompt_and_a_response_may_be_empty(served):
    rows = pd.DataFrame({"prompt": ["How far?", [USER], [USER, ASSISTANT, USER]], "response": ["Far.", "Far.", ""]})
    assert served.predict(None, rows) == [0, 1, 2]
    first, second, third = served.scorer.items
    assert first == second == ((Message("user", "How far?"),), "Far.")
    assert third == ((Message("user", "How far?"), Message("assistant", "Far."), Message("user", "How far?")), "")


def test_a_variant_is_asked_for_by_its_name(served):
    rows = pd.DataFrame({"prompt": ["How far?"] * 3, "response": ["Far."] * 3})
    assert served.predict(None, rows, {"variant": "as_trained"}) == [0, 1, 2]
    assert served.predict(None, rows, {"variant": "calibrated"}) == [0, 0.5, 1]
    told = "variant: expected one of as_trained, calibrated, got without_length, which could not be fitted: 2 prompts"
    with pytest.raises(DataError, match=told):
        served.predict(None, rows, {"variant": "without_length"})
    with pytest.raises(DataError, match=r"expected one of as_trained, calibrated, got best$"):
        served.predict(None, rows, {"variant": "best"})
