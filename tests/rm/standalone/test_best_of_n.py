import json
from datetime import date

import numpy as np
import pytest

from rm.audit.config import AuditConfig
from rm.errors import AuditError
from rm.gate.checks import Check
from rm.gate.policy import GatePolicy
from rm.standalone import audits, best_of_n
from rm.standalone.audits import ScoreSet
from tests.rm import toy_world
from tests.rm.standalone.test_audits import write_scores

CONFIG = AuditConfig(num_resamples=200)
TODAY = date(2026, 1, 1)


@pytest.fixture
def candidates_file(tmp_path):
    """A file of 150 prompts with 4 candidates: ``candidates_file(reward)`` with a function of length and label."""

    def write(reward, labels=True, picks=False):
        generator, rows = np.random.default_rng(5), []
        for number in range(150):
            lengths, preference = generator.integers(20, 400, 4).tolist(), generator.random(4).tolist()
            rewards = [reward(length, label) for length, label in zip(lengths, preference, strict=True)]
            given = {"picked_by": {"org/[a]|b": int(np.argmax(rewards))}} if picks else {"rewards": rewards}
            texts = ["word " * (length // 5) + "." * (length % 5) for length in lengths]
            row = {"prompt": f"Tell me {number}.", "candidates": texts, **given}
            rows.append({**row, "preference": preference} if labels else row)
        path = tmp_path / "candidates.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


def audited(path, policy=None):
    return best_of_n.audit(path, policy or GatePolicy(), CONFIG, TODAY)


def test_a_sound_model_passes_and_a_length_meter_does_not(candidates_file):
    sound = audited(candidates_file(lambda _, label: label))
    assert sound.decision.verdict == "passed"
    assert [check.name for check in sound.decision.checks] == ["picks_over_random", "picks_over_longest"]
    meter = audited(candidates_file(lambda length, _: length))
    assert meter.decision.verdict == "inconclusive"  # labels have nothing to do with length
    assert meter.models[0].find("longest_pick_share").estimate == pytest.approx(1)
    worst = audited(candidates_file(lambda _, label: -label))
    assert worst.decision.verdict == "failed"
    assert "no better than a random candidate" in worst.decision.reasons[0]


def test_a_model_that_is_exactly_as_good_as_chance_or_as_length_does_not_pass(candidates_file):
    """Its difference is 0 in every resample, and a limit of 0 would let that pass."""
    blind = audited(candidates_file(lambda *_: 1.0))
    assert blind.models[0].find("picks_over_random").estimate == pytest.approx(0, abs=1e-12)
    assert blind.decision.verdict == "failed"
    meter = audited(candidates_file(lambda length, _: length))
    assert meter.models[0].find("picks_over_longest").estimate == 0
    assert meter.decision.checks[1].status == "failed"


def test_many_sets_of_few_prompts_decide_nothing(candidates_file):
    path = candidates_file(lambda _, label: label)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    alike = [{**row, "prompt": f"Tell me all about the number{'!' * place}"} for place, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in alike), encoding="utf-8")
    result = audited(path)
    assert (result.num_prompts, result.num_sets) == (1, 150)
    assert result.decision.verdict == "inconclusive"
    assert "rests on 1 pair, needs 100" in result.decision.checks[0].reason


def test_the_policys_own_checks_on_best_of_n_judge(candidates_file):
    check = Check(name="longest_pick_share", max_value=0.3, why="it picks by length")
    policy = GatePolicy(best_of_n_checks=(check,))
    result = audited(candidates_file(lambda length, _: length), policy)
    assert result.decision.verdict == "failed"
    assert [check.name for check in result.decision.checks] == ["longest_pick_share"]


def test_nothing_is_judged_without_labels_or_without_rewards(candidates_file):
    unlabelled = audited(candidates_file(lambda length, _: length, labels=False))
    assert unlabelled.decision is None
    assert "No candidate has a label" in unlabelled.notes[0]
    picked = audited(candidates_file(lambda _, label: label, picks=True))
    assert picked.decision is None
    assert picked.models[0].find("picks_over_random").estimate > 0.2
    assert [row.number for row in best_of_n.rows(picked)] == ["all"]


@pytest.fixture
def one_label_each(tmp_path):
    """A file of 120 prompts with 2 candidates, of which the first has a label."""
    path = tmp_path / "two.jsonl"
    rows = [{"prompt": f"{number}?", "candidates": ["Yes.", "No, no."]} for number in range(120)]
    path.write_text("".join(json.dumps({**row, "rewards": [1, 0], "preference": [0.9]}) + "\n" for row in rows))
    return path


def test_labels_that_compare_no_two_candidates_decide_nothing(one_label_each, tmp_path):
    result = audited(one_label_each)
    assert result.num_labelled == 120
    assert result.decision.verdict == "inconclusive"
    assert "rests on 0 pairs" in result.decision.reasons[0]
    assert result.notes[-1] == "Picks of two cannot be compared with others: no set has two candidates with a label."
    best_of_n.write(result, tmp_path / "out")
    assert "nan" not in (tmp_path / "out" / "best_of_n.md").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in one_label_each.read_text().splitlines()]
    picks = [{**{key: row[key] for key in row if key != "rewards"}, "picked_by": {"a": 1}} for row in rows]
    one_label_each.write_text("".join(json.dumps(row) + "\n" for row in picks))
    result = audited(one_label_each)
    assert result.decision is None
    assert result.notes[-1].endswith(
        "a cannot be compared with others: no set has two candidates with a label, the pick among them."
    )


def test_an_audit_of_scores_with_such_labels_is_undecided(one_label_each, tmp_path, without_figures, few_trees):
    write_scores(tmp_path / "scores.jsonl", toy_world.sound, 300)
    given = ScoreSet(tmp_path / "scores.jsonl", candidates=one_label_each)
    report, decision = audits.audit_scores(given, GatePolicy(), CONFIG, TODAY, tmp_path / "out")
    results = {check.name: check for check in decision.checks}
    assert results["picks_over_random"].status == "inconclusive" and results["picks_over_random"].blocks
    assert any("no set has two candidates with a label" in note for note in report.provenance.notes)
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "its picks are better than" not in page


def test_nothing_is_judged_without_a_hard_check(candidates_file):
    path = candidates_file(lambda _, label: label)
    soft = Check(name="picks_over_random", min_value=0.001, severity="soft", why="no better than chance")
    for checks in ((), (soft,)):
        result = audited(path, GatePolicy(best_of_n_checks=checks))
        assert result.decision is None
        assert result.notes[-1].startswith("Nothing is judged: none of the policy's best_of_n_checks")


def test_the_files_hold_what_was_measured(candidates_file, tmp_path):
    result = audited(candidates_file(lambda length, label: length / 400 + label))
    assert [row.number for row in best_of_n.rows(result)] == ["1", "2", "all"]
    best_of_n.write(result, tmp_path / "out")
    written = (tmp_path / "out" / "best_of_n.json").read_text(encoding="utf-8")
    json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert best_of_n.BestOfN.model_validate_json(written) == result
    shown = (tmp_path / "out" / "best_of_n.md").read_text(encoding="utf-8")
    share = result.models[0].find("longest_pick_share")
    assert f"| {share.estimate:.3f} \\[{share.ci_low:.3f}, {share.ci_high:.3f}\\] |" in shown
    assert "| picks\\_over\\_random | hard | passed |" in shown


def test_a_models_name_is_no_markup(candidates_file):
    shown = best_of_n.markdown(audited(candidates_file(lambda _, label: label, picks=True)))
    assert "org/\\[a\\]\\|b" in shown and "[a]|" not in shown


def test_labels_that_are_not_on_all_candidates_are_compared_in_length(candidates_file, tmp_path):
    path = candidates_file(lambda length, _: length)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        both = zip(row["preference"], row["candidates"], strict=True)
        row["preference"] = [value if len(text) < 200 else None for value, text in both]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (note,) = audited(path).notes
    kept = [len(text) for row in rows for text in row["candidates"] if len(text) < 200]
    assert f"{len(kept):,} of 600 candidates have a label; they have {np.mean(kept):,.0f} characters" in note


def test_candidates_join_the_audit_of_scores(candidates_file, tmp_path, without_figures, few_trees):
    write_scores(tmp_path / "scores.jsonl", toy_world.sound, 300)

    def judged(candidates):
        given = ScoreSet(tmp_path / "scores.jsonl", candidates=candidates)
        return audits.audit_scores(given, GatePolicy(), CONFIG, TODAY, tmp_path / "out")

    report, decision = judged(candidates_file(lambda _, label: -label))
    results = {check.name: check for check in decision.checks}
    assert results.keys() - {check.name for check in GatePolicy().checks} == {"picks_over_random", "picks_over_longest"}
    assert decision.verdict == "failed"
    assert [check.name for check in decision.checks if check.blocks] == ["picks_over_random"]
    assert report.finding("picks_over_random").num_pairs == 150
    drifts = report.select("pick_drift")
    assert len(drifts) == 2 * len({one.labels["feature"] for one in drifts}) >= 20  # best of 2, and of all
    assert set(report.provenance.sources) == {"scores.jsonl", "candidates.jsonl"}
    written = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert "model_outside_win_rate_best_of_2" in {one["name"] for one in written["findings"]}
    assert "The judge prefers its pick in" in (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    several = tmp_path / "several.jsonl"
    several.write_text(json.dumps({"prompt": "a", "candidates": ["b", "c"], "picked_by": {"x": 0, "y": 1}}) + "\n")
    with pytest.raises(AuditError, match=r"several\.jsonl: picked_by: .* got those of \['x', 'y'\]"):
        judged(several)
