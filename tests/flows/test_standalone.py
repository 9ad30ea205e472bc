"""`rmflow audit` on files, without a pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest

from rm.selftest import run
from rm.selftest.plants import plants
from tests.rm import toy_world

pytestmark = pytest.mark.usefixtures("without_figures", "few_trees")


@pytest.fixture
def scores_file(tmp_path):
    """A file of scores of a toy: ``scores_file(reward, num_pairs)``."""

    def write(reward, num_pairs):
        groups = toy_world.generate(num_pairs, 1, seed=8)
        rows = [
            {
                "prompt_id": group.prompt_id,
                "prompt": f"{group.prompt[0].content} ({number})",
                "response": text,
                "reward": reward(group.prompt[0].content, text),
                "label": float(place == group.comparisons[0].first) == group.comparisons[0].preference,
            }
            for number, group in enumerate(groups)
            for place, text in enumerate(group.responses)
        ]
        path = tmp_path / "scores.jsonl"
        path.write_text("".join(json.dumps({**row, "label": int(row["label"])}) + "\n" for row in rows))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("reward", "num_pairs", "code", "verdict"),
    [
        (toy_world.sound, 600, 0, "passed_with_warnings"),
        (toy_world.biased(toy_world.length, 3.0), 600, 2, "failed"),
        (toy_world.sound, 60, 3, "inconclusive"),
    ],
)
def test_the_exit_code_is_the_verdicts(rmflow, scores_file, tmp_path, reward, num_pairs, code, verdict):
    found, out, err = rmflow("audit", "--scores", scores_file(reward, num_pairs), "--out", str(tmp_path / "report"))
    assert found == code
    assert verdict.replace("_", " ").upper() in out
    assert "more held-out pairs" in out or verdict != "inconclusive"
    assert "Traceback" not in out + err
    assert json.loads((tmp_path / "report" / "audit.json").read_text(encoding="utf-8"))["verdict"] == verdict


def test_a_policy_file_decides(rmflow, scores_file, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("checks: [{name: accuracy, min_value: 0.99, min_pairs: 10, why: not good enough for us}]\n")
    scores = scores_file(toy_world.sound, 300)
    code, out, _ = rmflow("audit", "--scores", scores, "--out", str(tmp_path / "report"), "--policy", str(policy))
    assert code == 2
    assert "Not good enough for us" in out


def test_a_check_that_only_edits_could_answer_fails_where_nothing_can_be_edited(rmflow, scores_file, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("checks: [{name: probe_double, max_value: 0.3}]\nprobe_checks: []\n")
    scores = scores_file(toy_world.sound, 300)
    code, out, _ = rmflow("audit", "--scores", scores, "--out", str(tmp_path / "report"), "--policy", str(policy))
    assert code == 2
    assert "was not measured: probe double" in out


def test_several_files_of_scores_are_shown_side_by_side_and_the_worst_verdict_is_the_exit_code(
    rmflow, scores_file, tmp_path
):
    files = []
    for name, reward in (("sound", toy_world.sound), ("long", toy_world.biased(toy_world.length, 3.0))):
        files += ["--scores", str(Path(scores_file(reward, 600)).rename(tmp_path / f"{name}.jsonl"))]
    code, out, err = rmflow("audit", *files, "--out", str(tmp_path / "report"))
    assert code == 2, err
    for word in ("sound", "long", "accuracy", "passed", "failed", "gain_without_length"):
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


def test_what_the_error_of_an_unknown_column_recommends_has_an_effect(rmflow, tmp_path):
    path, scores = tmp_path / "pairs.jsonl", tmp_path / "scores.jsonl"
    rows = [(group.prompt[0].content, *group.responses) for group in toy_world.generate(60, 1, seed=8)]
    path.write_text(
        "".join(
            json.dumps({"asked": f"{asked} ({place})", "good": one, "bad": other, "notes": "They did not agree."})
            + "\n"
            for place, (asked, one, other) in enumerate(rows)
        )
    )
    scores.write_text('{"scores": [1, 0]}\n{"scores": [0, 1]}\n' * 30)
    given = ("audit", "--scores", str(scores), "--pairs", str(path), "--out", str(tmp_path / "report"))
    settings = ("--set", "ingest.fields={prompt: asked, chosen: good, rejected: bad}")
    code, _, err = rmflow(*given, *settings)
    assert code == 1
    assert "leave it out: --set 'ingest.ignore=[notes]'" in " ".join(err.split())
    settings += ("--set", "ingest.ignore=[notes]")
    code, _, err = rmflow(*given, *settings)
    assert code != 1, err
    written = json.loads((tmp_path / "report" / "audit.json").read_text(encoding="utf-8"))
    assert {one["name"]: one["estimate"] for one in written["findings"]}["accuracy"] == 0.5
    assert any("ingest.ignore=['notes']" in note for note in written["provenance"]["notes"])
    code, _, err = rmflow(*given[:3], "--out", str(tmp_path / "report"), *settings)
    assert code == 1
    assert "ingest: unknown key" in err


def test_the_self_test_says_what_is_seen_of_the_pairs_of_a_file(rmflow, scores_file, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "STRENGTHS", (2.0,))
    monkeypatch.setattr(run, "plants", lambda *given: plants(*given)[:1])
    scores = scores_file(toy_world.constant, 300)
    code, out, _ = rmflow("audit", "--self-test", "--scores", scores, "--out", str(tmp_path / "out"))
    assert code == 0
    assert "300 pairs of 300 prompts, 10 repeats" in out
    written = json.loads((tmp_path / "out" / "self_test.json").read_text(encoding="utf-8"))
    (planted,) = written["planted"]
    assert (planted["name"], planted["found"]) == ("log characters", 1.0)


@pytest.fixture
def twins_file(tmp_path):
    """A file of twins in two kinds; the chosen response loses 1.5 in the first, nothing changes in the other."""
    rows = [
        {
            "prompt_id": number,
            "kind": kind,
            "reward_chosen": 1.0 + number % 7 / 7,
            "reward_rejected": number % 5 / 4,
            "twin_reward_chosen": 1.0 + number % 7 / 7 - loss,
            "twin_reward_rejected": number % 5 / 4,
        }
        for kind, loss in (("dialect", 1.5), ("name", 0.0))
        for number in range(120)
    ]
    path = tmp_path / "twins.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_twins_alone_are_measured_and_not_judged(rmflow, twins_file, tmp_path):
    code, out, err = rmflow("audit", "--twins", twins_file, "--out", str(tmp_path / "report"))
    assert (code, err) == (0, "")
    assert out.index("dialect") < out.index("240 twins of 120 prompts, 120 pairs") < out.index("name")
    assert "change of accuracy" in out
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["twins.json", "twins.md"]
    dialect, name = json.loads((tmp_path / "report" / "twins.json").read_text(encoding="utf-8"))["kinds"]
    estimates = {finding["name"]: finding["estimate"] for finding in dialect["findings"] + name["findings"]}
    assert estimates["twin_accuracy_change_dialect"] < -0.5 < estimates["twin_accuracy_change_name"] == 0.0
    assert (dialect["p_value"] < 0.001, name["p_value"]) == (True, 1.0)


def test_a_file_in_place_of_the_folder_is_told_before_anything_is_measured(
    rmflow, scores_file, twins_file, tmp_path, monkeypatch, tiny
):
    def measured(*_):
        pytest.fail("it was measured first")

    for place in ("twin_files.TwinFile.measure", "best_of_n.audit", "run_self_test"):
        monkeypatch.setattr(f"flows.cli.audits.{place}", measured)
    out = tmp_path / "taken.txt"
    out.write_text("mine")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(tiny().model_dump_json(exclude_defaults=True), encoding="utf-8")
    scores = scores_file(toy_world.constant, 60)
    for subject in (
        ("--twins", twins_file),
        ("--best-of-n", scores),
        ("--self-test", "--scores", scores),
        ("--labels", "--config", str(recipe)),
    ):
        code, _, err = rmflow("audit", *subject, "--out", str(out))
        assert (code, out.read_text()) == (1, "mine")
        assert "taken.txt: expected a folder for the report, got a file" in " ".join(err.split())


def test_twins_alone_need_no_folder(rmflow, twins_file):
    code, out, _ = rmflow("audit", "--twins", twins_file, "--set", "audit.num_resamples=100")
    assert code == 0
    assert "p of a mean change of 0" in out


def test_a_policy_can_name_what_changes_on_twins_beside_a_file_of_scores(rmflow, scores_file, twins_file, tmp_path):
    policy, report = tmp_path / "policy.yaml", tmp_path / "report"
    scores = scores_file(toy_world.sound, 300)
    for limits, expected in (("min_value: -0.05, why: it fails on a dialect", 2), ("min_value: -1.0", 0)):
        policy.write_text(f"checks: [{{name: twin_accuracy_change_dialect, {limits}}}]\n")
        code, out, _ = rmflow(
            "audit", "--scores", scores, "--twins", twins_file, "--out", str(report), "--policy", str(policy)
        )
        assert code == expected
        assert ("It fails on a dialect" in out) == (expected == 2)
    written = json.loads((report / "audit.json").read_text(encoding="utf-8"))
    names = {finding["name"] for finding in written["findings"]}
    assert {"twin_change_name", "twin_confidence_change_dialect"} <= names
    assert any("twins.jsonl, 240 rows" in note for note in written["provenance"]["notes"])
    assert (report / "twins.md").is_file()
    assert "Twins (dialect, the worst of 2 kinds)" in (report / "audit.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--twins", "missing.jsonl"], "missing.jsonl: no such file"),
        (["--twins", "x.jsonl", "--policy", "p.yaml"], "--policy does not go with --twins"),
        (["--model", "m", "--data", "d.jsonl", "--twins", "x.jsonl"], "got --model, --data, --twins"),
    ],
)
def test_a_mistake_with_twins_is_told(rmflow, arguments, message):
    code, out, err = rmflow("audit", *arguments)
    assert code == 1
    assert message in err
    assert "Traceback" not in out + err


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
