"""What is said of a recipe before it is run."""

import pytest

from rm.pipeline.config import PipelineConfig
from rm.pipeline.preflight import examine, markdown
from rm.tokens.counts import SplitSurvey, Survey

FREE = 1 << 40


def counts(num_prompts, num_pairs, num_lost=0, num_ties=0):
    return SplitSurvey(
        num_prompts=num_prompts,
        num_judgements=num_pairs,
        num_pairs=num_pairs,
        num_ties=num_ties,
        sampled_prompts=num_prompts,
        sampled_kept_prompts=num_prompts,
        sampled_pairs=num_pairs,
        sampled_lost_pairs=num_lost,
        sampled_tokens=100 * num_pairs,
    )


def survey(train=None, heldout=None, **changes):
    splits = {
        "train": train or counts(1000, 1000),
        "validation": counts(0, 0),
        "heldout": heldout or counts(300, 300),
    }
    fields = {"num_responses": 2600, "overlong": {}, "refused": (), "num_parameters": 10**6, "hidden_size": 64}
    fields["max_tokens"] = 512
    return Survey(splits=splits, **{**fields, "num_layers": 2, "dataset_bytes": 10**6, **changes})


def recipe(**sections):
    return PipelineConfig.model_validate({"model": {"scratch": {"architecture": "llama"}}, **sections})


def said(report, about):
    return " ".join(remark.text for remark in report.remarks if remark.about == about)


def test_a_recipe_with_enough_of_everything_can_pass():
    report = examine(survey(), recipe(), FREE)
    assert report.can_pass and report.stops is None
    assert [row.split for row in report.rows] == ["train", "held-out"]
    assert "| held-out | 300 | 300 | 300 | 300 | 30,000 |" in markdown(report)


def test_too_few_held_out_pairs_for_a_hard_check_cannot_pass_but_do_not_stop_a_run():
    report = examine(survey(heldout=counts(99, 110, num_ties=11)), recipe(), FREE)
    assert not report.can_pass and report.stops is None
    assert "99 held-out pairs" in said(report, "gate")
    assert "accuracy_over_style_floor (needs 100)" in said(report, "gate")
    assert "visible_length (needs" not in said(report, "gate")  # one pair is enough for it
    allowed = examine(survey(heldout=counts(99, 99)), recipe(gate={"inconclusive": "allow"}), FREE)
    assert allowed.can_pass


def test_many_pairs_of_few_prompts_do_not_decide():
    report = examine(survey(heldout=counts(49, 700)), recipe(), FREE)
    assert "num_clusters (needs 50 prompts)" in said(report, "gate") and not report.can_pass
    assert examine(survey(heldout=counts(50, 700)), recipe(), FREE).can_pass


@pytest.mark.parametrize(("num_pairs", "measured"), [(303, 0.138), (765, 0.086)])
def test_the_visible_bias_is_near_those_that_audits_of_this_size_measured(num_pairs, measured):
    # HH harmless-base in docs/results.md: one pair a prompt.
    text = said(examine(survey(heldout=counts(num_pairs, num_pairs)), recipe(), FREE), "gate")
    points = float(text.partition("by length of about ")[2].partition(" points")[0])
    assert points == pytest.approx(100 * measured, abs=1)


def test_losing_more_than_a_hundredth_stops_the_run_with_one_sentence():
    lost = survey(train=counts(1000, 1000, num_lost=27), overlong={"response dropped": {"00512-00767 tokens": 27}})
    stops = examine(lost, recipe(), FREE).stops
    assert stops is not None
    assert "27 of 2,600 responses (1.0%) do not fit, and 27 of 1,300 pairs" in stops
    assert "768 tokens would be enough" in stops and "\n" not in stops
    assert examine(lost, recipe(tokenize={"max_lost_share": 0.02}), FREE).stops is None


def test_too_little_disk_too_many_refused_prompts_and_an_empty_split_stop_the_run():
    assert "are free" in examine(survey(), recipe(), 10**6).stops
    refused = survey(refused=("no system role",) * 70)
    assert "refuses 70 of 1,300 prompts: no system role; tokenize.max_refused_share allows 0.05" in str(
        examine(refused, recipe(), FREE).stops
    )
    assert examine(survey(refused=("no system role",) * 60), recipe(), FREE).stops is None
    empty = survey(heldout=counts(10, 10, num_lost=10), num_responses=2600)
    assert "no pair of the split heldout is left" in examine(empty, recipe(), FREE).stops


def test_steps_tokens_and_memory_follow_from_the_counts():
    config = recipe(train={"num_epochs": 3, "pairs_per_step": 32, "max_pairs": 500})
    report = examine(survey(), config, FREE)
    # ceil(500 / 32) = 16 steps an epoch; half of 100,000 tokens, three times; 6 x 10^6 x 150,000 operations.
    assert "about 48 steps of 32 pairs, 150,000 tokens, 9.0e+11 floating-point" in said(report, "training")
    # 16 bytes x 10^6; 68 bytes x 2 layers x 64 x 8,192 tokens
    assert "15.3 MiB for weights, gradients and AdamW of 1,000,000 parameters, and 68.0 MiB" in said(report, "memory")
    lora = examine(survey(), recipe(train={"lora": {}, "precision": "bfloat16"}), FREE)
    assert "3.8 MiB for weights, without the adapters of 1,000,000 parameters, and 34.0 MiB" in said(lora, "memory")


@pytest.mark.parametrize(("remedy", "added"), [("foreign_share", 3), ("stock_share", 2), ("worsened_share", 1)])
def test_the_pairs_that_remedies_add_are_counted(remedy, added):
    config = recipe(train={"num_epochs": 1, "pairs_per_step": 10, "remedies": {remedy: 0.5}})
    text = said(examine(survey(), config, FREE), "training")
    assert f"about {100 + 50 * added} steps of 10 pairs" in text and "without the tokens that remedies add" in text


@pytest.mark.parametrize(
    ("pairs_per_s", "told"),
    [
        (1000.0, "about 1 min of"),
        (2.0, "about 17 min of"),
        (0.1, "about 6 h of"),
        (1234.5, "at 1,234 pairs"),
        (None, ""),
    ],
)
def test_the_minutes_are_the_pairs_of_all_passes_over_the_measured_rate(pairs_per_s, told):
    report = examine(survey(), recipe(train={"num_epochs": 2, "learning_rate": 1e-3}), FREE, pairs_per_s)
    assert told in said(report, "training")
    assert ("on this machine" in said(report, "training")) == (pairs_per_s is not None)


@pytest.mark.parametrize(
    ("max_tokens", "expected"),
    [
        (4096, ""),
        (4160, "a pair with more than compute.tokens_per_batch, 8,192, is read in pieces"),
        (8192, "a pair with more than compute.tokens_per_batch, 8,192, is read in pieces"),
        (8256, "a prompt and one response may have up to 8,256 tokens, and more than compute.tokens_per_batch, 8,192"),
    ],
)
def test_pairs_and_responses_that_may_not_fit_into_a_forward_pass_are_told(max_tokens, expected):
    told = said(examine(survey(max_tokens=max_tokens), recipe(), FREE), "length")
    assert ("in pieces" in told or "stop the training" in told) == bool(expected)
    assert expected in told


def test_a_name_that_no_training_can_control_stops_the_run():
    config = recipe(train={"remedies": {"controlled": ["length", "capitols"]}})
    assert examine(survey(), config, FREE).stops == (
        "train.remedies.controlled: 'capitols': expected length, word:WORD or a feature of the audit's battery: "
        "capitals"
    )


def test_a_kept_head_stops_a_control_before_anything_is_tokenized():
    controls = recipe(train={"remedies": {"controlled": ["length"]}})
    assert examine(survey(), controls, FREE).stops is None
    assert examine(survey(keeps_head=True), controls, FREE).stops.startswith(
        "train.remedies.controlled: expected model.head: new"
    )
    assert examine(survey(keeps_head=True), recipe(), FREE).stops is None
