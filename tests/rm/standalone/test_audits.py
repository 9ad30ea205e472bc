import json
import shutil
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest

from rm.audit.config import AuditConfig
from rm.errors import AuditError, DataError, StorageError
from rm.gate.policy import GatePolicy
from rm.manifests import MANIFEST_NAME
from rm.probes.config import ProbeConfig
from rm.report.stage import write_files
from rm.standalone import audits
from rm.standalone.audits import ScoreSet
from tests.rm import toy_world

pytestmark = pytest.mark.usefixtures("without_figures")
CONFIG = AuditConfig(num_resamples=200, selection="random", probes=ProbeConfig(num_parents=20))
TODAY = date(2026, 1, 1)
FILES = {
    "audit.html",
    "audit.json",
    "audit.schema.json",
    "audit.md",
    "junit.xml",
    "model_card.md",
    "picture.svg",
    "scores.parquet",
}


def write_scores(path, reward, num_prompts):
    pairs = toy_world.heldout(toy_world.generate(num_prompts, 1, seed=4), reward).pairs
    rows = [
        {"prompt": prompt, "chosen": chosen, "rejected": rejected, "reward_chosen": one, "reward_rejected": other}
        for prompt, chosen, rejected, one, other in zip(
            [f"{prompt} ({place})" for place, prompt in enumerate(pairs.prompts)],
            pairs.chosen,
            pairs.rejected,
            pairs.reward_chosen.tolist(),
            pairs.reward_rejected.tolist(),
            strict=True,
        )
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return pairs


def audited(tmp_path, reward, num_prompts=600):
    pairs = write_scores(tmp_path / "scores.jsonl", reward, num_prompts)
    _, decision = audits.audit_scores(
        ScoreSet(tmp_path / "scores.jsonl"), GatePolicy(), CONFIG, TODAY, tmp_path / "out"
    )
    return pairs, decision, json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))


def test_pairs_kept_by_disagreement_are_audited_if_their_probabilities_are_known(tmp_path, few_trees):
    path = tmp_path / "scores.jsonl"
    pairs = write_scores(path, toy_world.sound, 120)
    scores, config = ScoreSet(path), CONFIG.model_copy(update={"selection": "model_disagreed"})
    with pytest.raises(AuditError, match="in a column sampling_probability; got model_disagreed and no such column"):
        audits.audit_scores(scores, GatePolicy(), config, TODAY, tmp_path / "out")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    known = np.where(pairs.correct == 1, 0.25, 1.0)
    lines = [json.dumps({**row, "sampling_probability": each}) for row, each in zip(rows, known.tolist(), strict=True)]
    path.write_text("\n".join(lines), encoding="utf-8")
    report, _ = audits.audit_scores(scores, GatePolicy(), config, TODAY, tmp_path / "out")
    accuracy, doubt, effective = (
        report.finding(name) for name in ("accuracy", "selection_doubt", "num_effective_pairs")
    )
    assert accuracy.estimate == pytest.approx((pairs.correct / known).sum() / (1 / known).sum())
    assert (doubt.estimate, doubt.method[-30:]) == (0.0, "one over its sampling probability"[-30:])
    assert effective.estimate == pytest.approx((1 / known).sum() ** 2 / (1 / known**2).sum())
    assert "pairs count one over their sampling probability" in report.provenance.notes[-1]
    written = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert written["sampling_probability"].to_pylist() == known.tolist()


def test_a_sound_models_scores_pass_although_labels_favour_length(tmp_path):
    pairs, decision, written = audited(tmp_path, toy_world.sound)
    assert decision.verdict == written["verdict"] == "passed_with_warnings"
    unseen = {"visible_length", "visible_structure", "visible_others"}
    assert {check.name for check in decision.checks if check.status != "passed"} == unseen
    assert {file.name for file in (tmp_path / "out").iterdir()} >= FILES - {"model_card.md"}
    found = {finding["name"]: finding for finding in written["findings"]}
    assert found["accuracy"]["estimate"] == pytest.approx(pairs.correct.mean())
    assert found["accuracy"]["num_pairs"] == len(pairs.correct) == 600
    assert set(found["accuracy"]) == {
        "name",
        "kind",
        "labels",
        "estimate",
        "ci_low",
        "ci_high",
        "num_pairs",
        "unit",
        "method",
        "detail",
    }
    lengths = np.array([len(text) for text in pairs.chosen]) - [len(text) for text in pairs.rejected]
    assert found["length_label_controlled_pearson"]["estimate"] == pytest.approx(
        np.corrcoef(pairs.margin, lengths)[0, 1]
    )
    assert "characters" in found["length_pearson"]["unit"]
    assert pq.read_table(tmp_path / "out" / "scores.parquet").num_rows == 600
    assert ElementTree.parse(tmp_path / "out" / "junit.xml").getroot().find("testsuite").get("failures") == "0"
    assert written["overpaid"]["follows_labels"]
    assert written["probes"] == []


@pytest.mark.parametrize(
    ("bias", "strength", "check"),
    [
        (toy_world.length, 3.0, "overpaid_length"),
        (toy_world.length, -3.0, "length_following"),
        (toy_world.formatting, 5.0, "overpaid_structure"),
        (toy_world.keyword, 6.0, "num_phrases"),
    ],
)
def test_a_biased_models_scores_fail_for_that_bias(tmp_path, bias, strength, check, few_trees):
    _, decision, written = audited(tmp_path, toy_world.biased(bias, strength))
    assert decision.verdict == written["verdict"] == "failed"
    assert check in {one["name"] for one in written["checks"] if one["status"] == "failed"}


def test_an_earlier_report_is_replaced_and_other_files_are_not(tmp_path, few_trees):
    audited(tmp_path, toy_world.sound, 60)
    audited(tmp_path, toy_world.constant, 120)
    assert json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))["verdict"] == "failed"
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    for folder, message in ((other, "got one with other files"), (other / "thesis.txt", "got a file")):
        with pytest.raises(AuditError, match=message):
            audits.audit_scores(ScoreSet(tmp_path / "scores.jsonl"), GatePolicy(), CONFIG, TODAY, folder)
    assert [file.name for file in other.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["write_table", "replace_text"])
def test_a_report_that_was_not_finished_is_written_again(tmp_path, few_trees, monkeypatch, name):
    def fails(path, *_):
        path.with_name(f"{path.name}.partial").touch()
        raise StorageError(f"{path}: no space left")

    with monkeypatch.context() as full:
        full.setattr(f"rm.report.stage.{name}", fails)
        with pytest.raises(StorageError):
            audited(tmp_path, toy_world.constant, 60)
    assert list((tmp_path / "out").iterdir())
    audited(tmp_path, toy_world.constant, 60)


def split(path, folder):
    """The rows of a file of scores as two files, rewards and pairs."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rewards = [{"chosen": [row["reward_chosen"]], "rejected": [row["reward_rejected"]]} for row in rows]
    pairs = [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows]
    folder.mkdir()
    for name, content in (("rewards.jsonl", rewards), ("pairs.jsonl", pairs)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return folder / "rewards.jsonl", folder / "pairs.jsonl"


def test_rewards_beside_their_pairs_give_the_report_of_both_in_one_file(tmp_path, few_trees):
    _, decision, written = audited(tmp_path, toy_world.sound, 100)
    rewards, pairs = split(tmp_path / "scores.jsonl", tmp_path / "split")
    report, other = audits.audit_scores(ScoreSet(rewards, pairs), GatePolicy(), CONFIG, TODAY, tmp_path / "two")
    assert other.verdict == decision.verdict
    one = {finding["name"]: finding["estimate"] for finding in written["findings"]}
    for name in ("accuracy", "length_pearson", "length_label_controlled_pearson", "num_prompts"):
        assert report.finding(name).estimate == pytest.approx(one[name])
    assert list(report.provenance.sources) == ["rewards.jsonl", "pairs.jsonl"]
    assert report.provenance.dataset_digest == report.provenance.sources["pairs.jsonl"]
    assert report.provenance.notes == ("format: rewards, joined with pairs.jsonl line by line, 100 rows",)


def test_prompts_of_several_domains_are_in_the_notes(tmp_path, few_trees):
    path = tmp_path / "scores.jsonl"
    write_scores(path, toy_world.sound, 100)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [{**row, "domain": "easy"} for row in rows] + [{**rows[7], "rejected": "No.", "domain": "hard"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
    report, _ = audits.audit_scores(ScoreSet(path), GatePolicy(), CONFIG, TODAY, tmp_path / "out")
    note = (
        "1 prompts have rows of different domains or subsets; all pairs of a prompt count in one of them; the first: "
    )
    assert f"{note}{rows[7]['prompt']!r:.60}" in report.provenance.notes


def test_files_of_one_name_in_two_folders_both_have_their_digest():
    files = {Path("run/rows.jsonl"): "1", Path("labels/rows.jsonl"): "2", Path("labels/candidates.jsonl"): "3"}
    assert audits._by_name(files) == {"run/rows.jsonl": "1", "labels/rows.jsonl": "2", "candidates.jsonl": "3"}


def test_rewards_beside_a_benchmark_get_its_formulas(tmp_path, few_trees):
    rows = [{"input": f"{place}?", "output_1": "good", "output_2": "bad", "label": 1} for place in range(40)]
    (tmp_path / "natural.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "r.jsonl").write_text("".join(json.dumps({"scores": [place % 4, 1]}) + "\n" for place in range(40)))
    given = ScoreSet(tmp_path / "r.jsonl", tmp_path / "natural.jsonl")
    report, _ = audits.audit_scores(given, GatePolicy(), CONFIG, TODAY, tmp_path / "out")
    assert report.finding("llmbar/natural").estimate == 0.5
    assert report.finding("accuracy").estimate == 0.625  # ties are half right to the audit


def test_an_audit_without_twins_leaves_none_of_an_earlier_one(tmp_path, few_trees):
    write_scores(tmp_path / "scores.jsonl", toy_world.sound, 60)
    row = {"reward": 1.0, "reward_twin": 0.5}
    (tmp_path / "twins.jsonl").write_text(
        "".join(json.dumps({**row, "prompt_id": place}) + "\n" for place in range(60))
    )
    scores, names = ScoreSet(tmp_path / "scores.jsonl"), {"twins.json", "twins.md"}
    for given, expected in ((scores._replace(twins=tmp_path / "twins.jsonl"), names), (scores, set())):
        audits.audit_scores(given, GatePolicy(), CONFIG, TODAY, tmp_path / "out")
        assert {path.name for path in (tmp_path / "out").iterdir()} & names == expected


def test_several_sets_are_audited_side_by_side(tmp_path, few_trees):
    write_scores(tmp_path / "one.jsonl", toy_world.sound, 100)
    write_scores(tmp_path / "both.jsonl", toy_world.biased(toy_world.length, 3.0), 100)
    rewards, pairs = split(tmp_path / "both.jsonl", tmp_path / "split")
    sets = [ScoreSet(tmp_path / "one.jsonl"), ScoreSet(rewards, pairs)]
    compared = audits.audit_several(sets, GatePolicy(), CONFIG, TODAY, tmp_path / "out")
    assert compared.names == ("one", "rewards")
    written = [json.loads((tmp_path / "out" / name / "audit.json").read_text()) for name in compared.names]
    assert compared.verdicts == tuple(one["verdict"] for one in written)
    assert compared.verdict == "failed"
    accuracy = next(line for line in compared.lines if line.name == "accuracy")
    for report, cell in zip(written, accuracy.cells, strict=True):
        assert cell.estimate == next(one["estimate"] for one in report["findings"] if one["name"] == "accuracy")
    assert json.loads((tmp_path / "out" / "side_by_side.json").read_text()) == compared.model_dump(mode="json")
    assert (tmp_path / "out" / "side_by_side.md").read_text().startswith("## Reward model audits side by side: failed")


def test_several_sets_of_which_one_failed_are_audited_again(tmp_path, few_trees, monkeypatch):
    sets = [ScoreSet(tmp_path / f"{name}.jsonl") for name in ("one", "two")]
    for each in sets:
        write_scores(each.scores, toy_world.constant, 60)
    out = tmp_path / "out"

    def fails_later(report, decision, heldout, folder):
        if folder.name == "two":
            raise StorageError("no space left")
        write_files(report, decision, heldout, folder)

    with monkeypatch.context() as full:
        full.setattr(audits, "write_files", fails_later)
        with pytest.raises(StorageError):
            audits.audit_several(sets, GatePolicy(), CONFIG, TODAY, out)
    assert [path.name for path in out.iterdir()] == ["one"]
    (out / "thesis.txt").touch()
    with pytest.raises(AuditError, match="got one with other files"):
        audits.audit_several(sets, GatePolicy(), CONFIG, TODAY, out)
    (out / "thesis.txt").unlink()
    assert audits.audit_several(sets, GatePolicy(), CONFIG, TODAY, out).names == ("one", "two")


def test_several_sets_are_refused_before_anything_is_written(tmp_path):
    write_scores(tmp_path / "one.jsonl", toy_world.sound, 60)
    (tmp_path / "other").mkdir()
    write_scores(tmp_path / "other" / "one.json", toy_world.sound, 60)
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a"}\n')

    def refused(error, message, folder, *files):
        sets = [ScoreSet(file) for file in files]
        with pytest.raises(error, match=message):
            audits.audit_several(sets, GatePolicy(), CONFIG, TODAY, folder)

    out = tmp_path / "out"
    refused(
        AuditError,
        r"one\.json: expected another name than",
        out,
        *(tmp_path / "one.jsonl", out.parent / "other/one.json"),
    )
    refused(DataError, r"bad\.jsonl: row 1", out, tmp_path / "one.jsonl", tmp_path / "bad.jsonl")
    assert not out.exists()
    refused(AuditError, "got one with other files", tmp_path, tmp_path / "one.jsonl", tmp_path / "bad.jsonl")
    (out / "one").mkdir(parents=True)
    (out / "side_by_side.json").touch()
    (out / "one" / "mine.txt").touch()
    refused(AuditError, r"one: expected an empty folder", out, tmp_path / "one.jsonl")


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".json.zst", ".parquet"])
def test_a_set_has_the_name_of_its_file_without_endings(ending):
    assert ScoreSet(Path(f"there/org_RM-v0.1.original{ending}")).name == "org_RM-v0.1.original"


def test_a_bad_file_is_named_and_nothing_is_written(tmp_path):
    (tmp_path / "scores.jsonl").write_text('{"prompt": "a", "chosen": "b"}\n')
    with pytest.raises(DataError, match=r"scores\.jsonl"):
        audits.audit_scores(ScoreSet(tmp_path / "scores.jsonl"), GatePolicy(), CONFIG, TODAY, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_is_scored_probed_and_audited_on_a_file(checkpoint, judgements, tmp_path, few_trees):
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in judgements), encoding="utf-8")
    done = []
    report, decision = audits.audit_model(
        checkpoint.path,
        "ours",
        data,
        GatePolicy(),
        CONFIG,
        TODAY,
        tmp_path / "out",
        lambda *counts: done.append(counts),
    )
    assert done[-1][0] == done[-1][1] > 0
    assert report.finding("accuracy").estimate > 0.9
    assert report.length_unit == "tokens"
    assert report.probes and report.flaws
    assert report.finding("invariance_reload_in_small_batches_flips").estimate == 0
    assert {check.name for check in decision.checks} >= {"invariance_order_flips", "probe_double"}
    assert report.provenance.base == "ours"
    assert report.provenance.num_train_pairs is None


def test_what_a_checkpoint_of_ours_was_taught_is_known_without_the_pipeline_too(
    checkpoint, judgements, tmp_path, few_trees
):
    data, model = tmp_path / "pairs.jsonl", tmp_path / "model"
    data.write_text("".join(json.dumps(row) + "\n" for row in judgements), encoding="utf-8")
    shutil.copytree(checkpoint.path, model)
    said = {"trained_on": ("double",), "controlled": ("length",), "remedy_shares": {"worsened_share": 0.5}}
    taught = checkpoint.model_copy(update=said)
    (model / MANIFEST_NAME).write_text(taught.model_dump_json(), encoding="utf-8")
    measured, _ = audits.audit_model(model, "ours", data, GatePolicy(), CONFIG, TODAY, tmp_path / "out")
    assert {name: getattr(measured.provenance, name) for name in said} == said


def test_a_benchmark_keeps_its_own_formulas_which_no_check_looks_at(checkpoint, tmp_path, few_trees):
    rows = [
        {"input": f"Say thing {place}.", "output_1": f"good {place}", "output_2": f"bad {place}", "label": 1}
        for place in range(40)
    ]
    data = tmp_path / "natural.json"
    data.write_text(json.dumps(rows), encoding="utf-8")
    report, decision = audits.audit_model(checkpoint.path, "ours", data, GatePolicy(), CONFIG, TODAY, tmp_path / "out")
    score = report.finding("llmbar/score")
    assert score.num_pairs == 40
    assert score.estimate == report.finding("llmbar/natural").estimate == report.finding("accuracy").estimate
    assert not any("/" in check.name for check in decision.checks)


@pytest.mark.slow
def test_a_published_file_of_scores_gets_its_benchmarks_formula(shared_data, tmp_path):
    (judgebench_file,) = (shared_data / "judgebench").glob("*.jsonl.gz")
    report, _ = audits.audit_scores(ScoreSet(judgebench_file), GatePolicy(), CONFIG, TODAY, tmp_path / "out")
    assert report.finding("accuracy").num_pairs == 350
    # A tie is half right to the audit and wrong to the benchmark; there is one.
    difference = report.finding("accuracy").estimate - report.finding("judgebench/score").estimate
    assert difference == pytest.approx(0.5 / 350)
