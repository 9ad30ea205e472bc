"""The model that MLflow loads and serves: it gives rewards for rows with a prompt and a response.

MLflow runs this file to load the model. The weights are safetensors; nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from rm.data.formats.dialogue import messages
from rm.data.formats.row import RowError, as_text, shown
from rm.data.preferences import Message, conversation_problem
from rm.errors import DataError
from rm.score.scorer import Scorer
from rm.variants.records import AS_TRAINED, Variants


class RewardScorer(PythonModel):
    """Scores ``{prompt, response}`` rows; a prompt is text, or a list of ``{role, content}`` messages."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint, and the numbers of its variants."""
        self.scorer = Scorer(Path(context.artifacts["checkpoint"]))
        self.variants = Variants.read(Path(context.artifacts["variants"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[float]:
        """One reward per row; a row that cannot be scored is an error that names it, counted from 1.

        The parameter ``variant`` names another reward than that ``as_trained`` (`rm.variants.records`).
        """
        rows = enumerate(zip(model_input["prompt"], model_input["response"], strict=True), start=1)
        items = [_item(number, *row) for number, row in rows]
        name = (params or {}).get("variant", AS_TRAINED)
        found = np.asarray(self.scorer.score_texts(items), dtype=np.float64)
        rewards = self.variants.rewards(name, found, [response for _, response in items])
        return [float(reward) for reward in rewards]


def _item(number: int, prompt: Any, response: Any) -> tuple[tuple[Message, ...], str]:
    try:
        item = _turns(prompt), as_text(response, "response")
        if reason := conversation_problem(item[0], {}):  # a response may be empty, as policies write such
            raise RowError(reason)
    except RowError as error:
        raise DataError(f"row {number}: {error}") from None
    return item


def _turns(prompt: Any) -> tuple[Message, ...]:
    """A text is one message of the user, whatever it holds; MLflow may pass messages as another type of sequence."""
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    if isinstance(prompt, Iterable):
        return messages([dict(turn) for turn in prompt], "prompt")
    raise RowError(f"prompt: expected text or messages, got {shown(prompt)}")


mlflow.models.set_model(RewardScorer())
