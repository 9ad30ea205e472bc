"""The model that MLflow loads and serves: it gives rewards for rows with a prompt and a response.

MLflow runs this file to load the model. The weights are safetensors; nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from rm.data.formats.dialogue import messages
from rm.data.preferences import Message
from rm.score.scorer import Scorer


class RewardScorer(PythonModel):
    """Scores ``{prompt, response}`` rows; a prompt is text, or a list of ``{role, content}`` messages."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint."""
        self.scorer = Scorer(Path(context.artifacts["checkpoint"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[float]:
        """One reward per row."""
        prompts = [_turns(prompt) for prompt in model_input["prompt"]]
        rewards = self.scorer.score_texts(list(zip(prompts, model_input["response"], strict=True)))
        return [float(reward) for reward in rewards]


def _turns(prompt: Any) -> tuple[Message, ...]:
    """A text is one message of the user, whatever it holds; MLflow may pass messages as another type of sequence."""
    return (
        (Message("user", prompt),) if isinstance(prompt, str) else messages([dict(turn) for turn in prompt], "prompt")
    )


mlflow.models.set_model(RewardScorer())
