"""`rmflow audit` on files, without a pipeline."""

import json

import numpy as np
import pytest

from rm.selftest import toy_world


@pytest.fixture
def scores_file(tmp_path):
    """A file of scores of a toy: ``scores_file(reward, num_pairs)``."""

    def write(reward, num_pairs):
        groups = toy_world.generate(num_pairs, 1, seed=8)
        rows = [
            {
                "prompt_id": group.prompt_id,
                "prompt": group.prompt[0].content,
                "response": text,
                "reward": reward(group.prompt[0].content, text),
                "label": float(place == group.comparisons[0].first) == group.comparisons[0].preference,
            }
            for group in groups
            for place, text in enumerate(group.responses)
        ]
        path = tmp_path / "scores.jsonl"
        path.write_text("".join(json.dumps({**row, "label": int(row["label"])}) + "\n" for row in rows))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("reward", "num_pairs", "code", "verdict"),
    [
        (toy_world.sound, 600, 0, "passed"),
        (toy_world.biased(toy_world.length, 3.0), 600, 2, "failed"),
        (toy_world.biased(toy_world.length, 1.0), 300, 3, "inconclusive"),
    ],
)
def test_the_exit_code_is_the_verdicts(rmflow, scores_file, tmp_path, reward, num_pairs, code, verdict):
    found, out, err = rmflow("audit", "--scores", scores_file(reward, num_pairs), "--out", str(tmp_path / "report"))
    assert found == code
    assert verdict in out
    assert "would decide it" in out or verdict != "inconclusive"
    assert "Traceback" not in out + err
    assert json.loads((tmp_path / "report" / "audit.json").read_text(encoding="utf-8"))["verdict"] == verdict


def test_a_policy_file_decides(rmflow, scores_file, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("checks: [{name: accuracy, min_value: 0.99, min_pairs: 10, why: not good enough for us}]\n")
    scores = scores_file(toy_world.sound, 300)
    code, out, _ = rmflow("audit", "--scores", scores, "--out", str(tmp_path / "report"), "--policy", str(policy))
    assert code == 2
    assert "not good enough for us" in out


def test_a_check_that_only_edits_could_answer_fails_where_nothing_can_be_edited(rmflow, scores_file, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("checks: [{name: probe_double, max_value: 0.3}]\nprobe_checks: []\n")
    scores = scores_file(toy_world.sound, 300)
    code, out, _ = rmflow("audit", "--scores", scores, "--out", str(tmp_path / "report"), "--policy", str(policy))
    assert code == 2
    assert "probe_double was not measured" in out


def test_the_self_test_says_what_is_found_and_what_is_a_false_alarm(rmflow, tmp_path):
    code, out, _ = rmflow("audit", "--self-test", "--num-pairs", "400", "--out", str(tmp_path))
    assert code == 0
    assert "length_label_controlled_overshoot 100%" in out
    assert "The sound toy model, which a good audit lets pass, was failed in 0" in out
    written = json.loads((tmp_path / "self_test.json").read_text(encoding="utf-8"))
    assert [(each["name"], each["failed"]) for each in written["planted"]] == [("sound", 0.0), ("length", 1.0)]


@pytest.mark.parametrize(
    ("worth", "labels", "code", "told"),
    [
        (1, True, 0, "over random 0."),
        (-1, True, 2, "no better than the longest candidate"),  # a warning
        (-1, True, 2, "no better than a random candidate"),
        (1, False, 0, "No candidate has a label"),
    ],
)
def test_picks_among_candidates_are_shown_judged_and_written(rmflow, tmp_path, worth, labels, code, told):
    generator, rows = np.random.default_rng(6), []
    for number in range(120):
        preference = generator.random(4).tolist()
        row = {"prompt": f"Tell me {number}.", "candidates": ["One.", "One, two.", "One, two, three.", "No."]}
        row["rewards"] = [worth * value for value in preference]
        rows.append({**row, "preference": preference} if labels else row)
    file = tmp_path / "candidates.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, out, err = rmflow("audit", "--best-of-n", str(file), "--out", str(tmp_path / "out"))
    assert found == code, err
    assert told in out
    assert "480 candidates in 120 sets" in out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"best_of_n.json", "best_of_n.md"}
    assert (found, out) == rmflow("audit", "--best-of-n", str(file))[:2]  # without a folder the same is shown
