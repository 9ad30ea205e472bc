"""`rmflow audit` on files, without a pipeline."""

import json
from pathlib import Path

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


def test_several_files_of_scores_are_shown_side_by_side_and_the_worst_verdict_is_the_exit_code(
    rmflow, scores_file, tmp_path
):
    files = []
    for name, reward in (("sound", toy_world.sound), ("long", toy_world.biased(toy_world.length, 3.0))):
        files += ["--scores", str(Path(scores_file(reward, 600)).rename(tmp_path / f"{name}.jsonl"))]
    code, out, err = rmflow("audit", *files, "--out", str(tmp_path / "report"))
    assert code == 2, err
    for word in ("sound", "long", "accuracy", "passed", "failed", "length_label_controlled_pearson"):
        assert word in out
    assert out.count("audit.html") == 2
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        *("sound", "long", "side_by_side.md", "side_by_side.json"),
    }


def test_rewards_are_audited_beside_their_pairs(rmflow, tmp_path):
    rows = [(group.prompt[0].content, *group.responses) for group in toy_world.generate(60, 1, seed=8)]
    rewards, pairs = tmp_path / "rewards.jsonl", tmp_path / "pairs.jsonl"
    pairs.write_text(
        "".join(
            json.dumps({"idx": place, "prompt": prompt, "chosen": one, "rejected": other}) + "\n"
            for place, (prompt, one, other) in enumerate(rows)
        )
    )
    rewards.write_text("".join(json.dumps({"chosen": [1.0], "rejected": [place % 3]}) + "\n" for place in range(60)))
    out = str(tmp_path / "report")
    rmflow("audit", "--scores", str(rewards), "--pairs", str(pairs), "--out", out)
    written = json.loads((tmp_path / "report" / "audit.json").read_text(encoding="utf-8"))
    found = {finding["name"]: finding["estimate"] for finding in written["findings"]}
    assert found["accuracy"] == 0.5
    code, _, err = rmflow(
        "audit", "--scores", str(rewards), "--scores", str(rewards), "--pairs", str(pairs), "--out", out
    )
    assert code == 1
    assert "expected one --pairs for each --scores, in the same order, or none; got 1 for 2" in " ".join(err.split())


def test_the_self_test_says_what_is_found_and_what_is_a_false_alarm(rmflow, tmp_path):
    code, out, _ = rmflow("audit", "--self-test", "--num-pairs", "400", "--out", str(tmp_path))
    assert code == 0
    assert "length_label_controlled_overshoot 100%" in out
    assert "The sound toy model, which a good audit lets pass, was failed in 0" in out
    written = json.loads((tmp_path / "self_test.json").read_text(encoding="utf-8"))
    assert [(each["name"], each["failed"]) for each in written["planted"]] == [("sound", 0.0), ("length", 1.0)]
