"""What a served model says of rows that it cannot score."""

import numpy as np
import pandas as pd
import pytest

from rm.data.preferences import Message
from rm.errors import DataError
from tasks.serving import RewardScorer

USER, ASSISTANT = {"role": "user", "content": "How far?"}, {"role": "assistant", "content": "Far."}


class Recorder:
    """In the place of a loaded model, which tests/flows/test_retrain.py serves: keeps what it is asked to score."""

    def score_texts(self, items):
        self.items = items
        return np.arange(len(items), dtype=float)


@pytest.fixture
def served():
    scorer = RewardScorer()
    scorer.scorer = Recorder()
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
