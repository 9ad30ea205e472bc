"""`rmflow score`: rows of a file with their rewards."""

import json

import numpy as np
import pytest

from rm.errors import DataError, ModelError
from rm.probes.flawed_pairs import score_flawed_pairs
from rm.score.scorer import Scorer
from rm.standalone import scored_rows

ROWS = [{"prompt": "Hi", "response": "Hello", "id": 7}, {"prompt": "Why?", "response": "So."}]


@pytest.fixture
def write(tmp_path):
    def make(rows):
        path = tmp_path / "rows.jsonl"
        # Empty lines, so that a row's line is not its position.
        path.write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        return path

    return make


def test_rows_keep_their_columns_and_get_a_reward(checkpoint, write):
    first, second = scored_rows.score(scored_rows.read(write(ROWS)), checkpoint.path)
    assert {**first, "reward": 0} == {**ROWS[0], "reward": 0}
    assert isinstance(second["reward"], float)


def test_a_reward_that_is_not_finite_is_an_error(checkpoint, write, monkeypatch):
    def broken(scorer, groups):
        found = outputs(scorer, groups)
        found[-1] = np.nan
        return found

    outputs = Scorer.outputs
    monkeypatch.setattr(Scorer, "outputs", broken)
    with pytest.raises(ModelError, match="expected finite rewards, but 1 of 2 are not finite"):
        list(scored_rows.score(scored_rows.read(write(ROWS)), checkpoint.path))
    with pytest.raises(ModelError, match=r"expected finite rewards, but . of .* are not finite"):
        score_flawed_pairs(Scorer(checkpoint.path))


def test_errors_of_the_model_name_file_and_line(checkpoint, write):
    rows = scored_rows.read(write([*ROWS, {"prompt": "Hi", "response": "no " * 600}]))
    with pytest.raises(DataError, match=r"rows\.jsonl: row 5: the response leaves no room for a prompt"):
        list(scored_rows.score(rows, checkpoint.path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": 1.5}, "reward: expected none, since it would be overwritten, got float 1.5"),
        ({"response": "a\ud800"}, "response holds half a surrogate pair"),
        ({"prompt": "a\ud800"}, "holds half a surrogate pair"),
    ],
)
def test_a_row_that_cannot_be_scored_is_named(write, change, message):
    with pytest.raises(DataError, match=rf"rows\.jsonl: row 3: .*{message}"):
        scored_rows.read(write([ROWS[0], {**ROWS[1], **change}]))


def test_every_row_can_be_written_whatever_its_other_columns_hold():
    for row in ({"note": "Größe", "reward": 1.0}, {"note": "a\ud800", "reward": 1.0}):
        line = scored_rows.written(row)
        assert json.loads(line.encode("utf-8")) == row
    assert "Größe" in scored_rows.written({"note": "Größe"})
