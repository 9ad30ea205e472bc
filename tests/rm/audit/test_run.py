import math
from collections import Counter
from datetime import date
from functools import cache

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.stats

from rm.audit import baselines, run, stage, style_features
from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence, TrainTexts
from rm.audit.heldout import join_scores
from rm.audit.records import AuditReport, Provenance, read_report
from rm.errors import AuditError
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.stats import measurements
from rm.stats.clustered import Interval
from rm.stats.finding import key

CONFIG = AuditConfig(num_resamples=200)
NAMES = {
    "accuracy",
    "length_pearson",
    "length_spearman",
    "length_within_prompt_pearson",
    "length_within_prompt_spearman",
    "length_label_controlled_pearson",
    "length_label_controlled_spearman",
    "accuracy_longer_chosen",
    "accuracy_shorter_chosen",
    "length_split_accuracy_gap",
    "length_preference_excess",
    "accuracy_length_only",
    "accuracy_style_only",
    "accuracy_over_style_floor",
    "reward_tie_share",
}
NUM_PAIRS = 600
LONGER_CHOSEN = 0.7


def labelled(seed):
    """Texts of chosen and rejected responses: the longer one is chosen in 70 %, the one with bold in 75 %."""
    generator = np.random.default_rng(seed)
    chosen, rejected = [], []
    for _ in range(NUM_PAIRS):
        short, long = sorted(generator.choice(np.arange(5, 100), size=2, replace=False))
        sizes = (long, short) if generator.random() < LONGER_CHOSEN else (short, long)
        marks = ("**so** ", "") if generator.random() < 0.75 else ("", "**so** ")
        for texts, size, mark in zip((chosen, rejected), sizes, marks, strict=True):
            texts.append(mark + "word " * int(size - len(mark.split())))
    return chosen, rejected


TRAIN = TrainTexts(**dict(zip(("chosen", "rejected"), labelled(seed=0), strict=True)))


def oracle(texts, generator):
    """Margins that are mostly right and know nothing of length."""
    rejected = generator.normal(size=NUM_PAIRS)
    return rejected + generator.normal(1.5, 1.0, size=NUM_PAIRS), rejected


def length_meter(texts, generator):
    return [np.array([len(text.split()) for text in side], dtype=float) for side in texts]


def constant(texts, generator):
    return np.full(NUM_PAIRS, 0.1), np.full(NUM_PAIRS, 0.1)


def style_meter(texts, generator):
    """Sees no prompt and no words: bold first, as the labels do, then length, with some noise."""
    return [
        np.array([1.0 * ("**" in text) + len(text) / 2000 for text in side]) + generator.normal(0, 0.4, NUM_PAIRS)
        for side in texts
    ]


@pytest.fixture(scope="module")
def planted(make_heldout):
    """Held-out pairs as a scorer sees them: ``planted(scorer)``."""

    def make(scorer, num_prompts=NUM_PAIRS):
        texts = labelled(seed=4)
        rewards = scorer(texts, np.random.default_rng(3))
        sides = [
            [(reward, len(text.split()), text) for reward, text in zip(values, side, strict=True)]
            for values, side in zip(rewards, texts, strict=True)
        ]
        return make_heldout(np.arange(NUM_PAIRS) % num_prompts, *sides)

    return make


def measured(heldout, config=CONFIG):
    found = run.measure(Evidence(heldout=heldout, train=TRAIN), config, run.Seen.of(heldout))
    return {finding.name: finding for finding in found}


def decided(findings):
    provenance = Provenance(
        base="planted",
        checkpoint_digest="0" * 64,
        dataset_digest="1" * 64,
        sources={},
        num_train_pairs=NUM_PAIRS,
        num_heldout_prompts=NUM_PAIRS,
        num_label_ties=0,
        overlong={},
    )
    report = AuditReport(findings=tuple(findings.values()), buckets=(), flaws=(), examples=(), provenance=provenance)
    decision = decide(report, GatePolicy(), date(2026, 1, 1))
    return decision.verdict, {check.name for check in decision.checks if check.blocks}


@pytest.fixture(scope="module")
def findings_of(planted):
    """What is measured of a scorer: ``findings_of(scorer)``."""
    return cache(lambda scorer: measured(planted(scorer)))


@pytest.fixture(scope="module")
def length_findings(findings_of):
    return findings_of(length_meter)


def test_a_length_meter_is_found(length_findings):
    found = {name: finding.estimate for name, finding in length_findings.items()}
    label_share = found["length_preference_label"]
    assert 0.65 < label_share < 0.75
    for kind in ("pearson", "spearman"):
        assert found[f"length_{kind}"] == pytest.approx(1)
        assert found[f"length_within_prompt_{kind}"] == pytest.approx(1)
        assert found[f"length_label_controlled_{kind}"] == pytest.approx(1)
    assert (found["accuracy_shorter_chosen"], found["accuracy_longer_chosen"]) == (0, 1)
    assert found["length_split_accuracy_gap"] == 1
    assert found["length_preference_excess"] == pytest.approx(1 - label_share)
    assert found["accuracy"] == label_share == found["accuracy_length_only"]
    assert found["length_following"] > 0.9
    assert found["surface_share"] > 0.9
    verdict, blocking = decided(length_findings)
    assert verdict == "failed"
    assert blocking >= {"accuracy_over_style_floor", "length_following", "accuracy_without_surface"}


def test_an_inverted_length_meter_is_found_too(planted):
    def brevity_meter(texts, generator):
        return [-values for values in length_meter(texts, generator)]

    findings = measured(planted(brevity_meter))
    assert findings["length_label_controlled_pearson"].estimate == pytest.approx(-1)
    assert findings["length_following"].estimate < -0.9
    verdict, blocking = decided(findings)
    assert verdict == "failed"
    assert blocking >= {"accuracy_over_style_floor", "length_following"}


def test_a_model_that_is_right_passes_although_people_prefer_longer_answers(findings_of):
    findings = findings_of(oracle)
    assert findings["accuracy"].estimate > 0.9
    assert abs(findings["length_label_controlled_pearson"].estimate) < 0.1
    assert findings["accuracy_over_style_floor"].ci_low > 0.1
    verdict, blocking = decided(findings)
    assert verdict in ("passed", "passed_with_warnings")
    assert not blocking


def test_a_model_that_says_nothing_fails_by_its_ties(planted):
    findings = measured(planted(constant))
    assert findings["reward_tie_share"].estimate == 1
    assert findings["accuracy"].estimate == 0.5
    for name, finding in findings.items():
        if "pearson" in name or "spearman" in name:
            assert math.isnan(finding.estimate), name
    verdict, blocking = decided(findings)
    assert verdict == "failed"
    assert blocking >= {"unexplained_tie_share", "accuracy_over_style_floor", "length_following"}


@pytest.mark.parametrize(
    ("margin", "length", "reason"),
    [
        ([1.0, 1.0, 1.0], [1.0, 2.0, 0.0], "all margins are equal"),
        ([0.0, 0.0, 0.0], [1.0, 2.0, 0.0], "rewards do not differ"),
        ([1.0], [2.0], "there is one pair only"),
        ([1.0, 0.0, 2.0], [0.0, 0.0, 0.0], "no two responses differ in length"),
    ],
)
def test_an_undefined_correlation_with_length_says_why(margin, length, reason):
    undefined = measurements.finding(
        key("length_following"), Interval(math.nan, math.nan, math.nan), len(margin), "unit", "method"
    )
    assert run._explained(undefined, np.array(length), np.array(margin)).detail == reason


def test_a_style_meter_does_not_beat_the_style_floor(findings_of):
    findings = findings_of(style_meter)
    floor = findings["accuracy_style_only"].estimate
    assert floor > findings["accuracy_length_only"].estimate
    assert findings["accuracy"].estimate > 0.6
    assert findings["accuracy_over_style_floor"].estimate < 0.01
    verdict, blocking = decided(findings)
    assert verdict == "failed"
    assert "accuracy_over_style_floor" in blocking


def slow_pearson(x, y):
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    covariance = math.fsum((one - mean_x) * (other - mean_y) for one, other in zip(x, y, strict=True))
    squares = [math.fsum((value - mean) ** 2 for value in values) for values, mean in ((x, mean_x), (y, mean_y))]
    return covariance / math.sqrt(squares[0] * squares[1])


def ranks(values):
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


def slow_findings(heldout, train_style):
    """Every estimate from a loop over pairs and responses."""
    right = {"all": [], "longer": [], "shorter": [], "length": [], "style": []}
    label, model, ties = [], [], []
    heldout_style = style_features.differences(heldout.pairs.chosen, heldout.pairs.rejected)
    by_heuristics = zip(
        baselines.length_baseline(train_style, heldout_style),
        baselines.style_baseline(train_style, heldout_style),
        strict=True,
    )
    scored = heldout.pairs
    margins, gaps = [], []
    for place, (by_length, by_style) in enumerate(by_heuristics):
        margin = float(scored.reward_chosen[place] - scored.reward_rejected[place])
        gap = float(scored.length_chosen[place] - scored.length_rejected[place])
        correct = 1.0 if margin > 0 else 0.5 if margin == 0 else 0.0
        right["all"].append(correct)
        right["length"].append(by_length)
        right["style"].append(by_style)
        ties.append(margin == 0)
        if gap != 0:
            right["longer" if gap > 0 else "shorter"].append(correct)
            label.append(gap > 0)
            model.append(correct if gap > 0 else 1 - correct)
        margins.append(margin)
        gaps.append(gap)
    mean = {name: math.fsum(values) / len(values) for name, values in right.items()}
    label_share, model_share = sum(label) / len(label), math.fsum(model) / len(model)
    rewards, lengths = heldout.responses.reward.tolist(), heldout.responses.length.tolist()
    clusters = heldout.responses.prompt.tolist()
    inside = []
    for values in (rewards, lengths):
        by_cluster = {c: [v for v, other in zip(values, clusters, strict=True) if other == c] for c in set(clusters)}
        means = {cluster: math.fsum(members) / len(members) for cluster, members in by_cluster.items()}
        # Halves and quarters are exact, so that ties stay ties.
        inside.append([value - means[cluster] for value, cluster in zip(values, clusters, strict=True)])
    expected = {
        "accuracy": mean["all"],
        "reward_tie_share": sum(ties) / len(ties),
        "accuracy_longer_chosen": mean["longer"],
        "accuracy_shorter_chosen": mean["shorter"],
        "length_split_accuracy_gap": mean["longer"] - mean["shorter"],
        "length_preference_label": label_share,
        "length_preference_model": model_share,
        "length_preference_excess": model_share - label_share,
        "accuracy_length_only": mean["length"],
        "accuracy_over_length_floor": mean["all"] - mean["length"],
        "accuracy_style_only": mean["style"],
        "accuracy_over_style_floor": mean["all"] - mean["style"],
    }
    cases = {"length": (rewards, lengths), "length_within_prompt": inside, "length_label_controlled": (margins, gaps)}
    for name, (x, y) in cases.items():
        expected |= {f"{name}_pearson": slow_pearson(x, y), f"{name}_spearman": slow_pearson(ranks(x), ranks(y))}
    counts = {name: len(margins) for name in expected}
    counts |= {"accuracy_longer_chosen": len(right["longer"]), "accuracy_shorter_chosen": len(right["shorter"])}
    counts |= {name: len(label) for name in expected if name.startswith(("length_split", "length_preference"))}
    counts |= {name: len(rewards) for name in expected if name.startswith(("length_pearson", "length_spearman"))}
    counts |= {name: len(rewards) for name in expected if name.startswith("length_within_prompt")}
    return expected, counts


def test_findings_match_a_slow_loop(make_heldout, few_trees):
    generator = np.random.default_rng(5)
    num_pairs = 120
    clusters = np.sort(np.concatenate([np.arange(20), generator.integers(20, size=num_pairs - 20)]))
    clusters[clusters % 2 == 1] -= 1
    clusters = np.unique(clusters, return_inverse=True)[1]

    # Rewards and lengths of few values, so that there are ties of every kind.
    def side():
        rewards, sizes = generator.integers(4, size=num_pairs) / 4, generator.integers(3, 12, num_pairs)
        marks = generator.choice(["", "**so** "], num_pairs)
        return [
            (reward, size, mark + "word " * int(size)) for reward, size, mark in zip(rewards, sizes, marks, strict=True)
        ]

    heldout = make_heldout(clusters, side(), side())
    expected, counts = slow_findings(heldout, TRAIN.style)
    found = measured(heldout)
    assert set(found) >= set(expected) >= NAMES
    for name, finding in ((name, found[name]) for name in expected):
        assert finding.num_pairs == counts[name], name
        if "within" in name and "spearman" in name:
            continue  # thirds are rounded, so what ties depends on the order of the sum
        assert finding.estimate == pytest.approx(expected[name], abs=1e-10), name
    assert 0 < found["reward_tie_share"].estimate < 1


def test_the_words_floor_is_fitted_on_the_training_pairs_and_asked_about_the_held_out_ones(make_heldout):
    chosen = [(1.0, 3, "blue sky")] * 30 + [(0.0, 3, "grey sky")] * 10
    heldout = make_heldout(np.arange(40), chosen, [(0.5, 3, "grey sky")] * 30 + [(0.5, 3, "blue sky")] * 10)
    train = TrainTexts(chosen=("blue sea",) * 9, rejected=("grey sea",) * 9)
    found = run.measure(Evidence(heldout=heldout, train=train), CONFIG, run.Seen.of(heldout))
    by_name = {finding.name: finding for finding in found}
    assert by_name["accuracy_words_only"].estimate == 0.75  # "blue" is right in 30 of 40
    assert by_name["accuracy_over_words_floor"].estimate == 0.75 - 0.75
    assert " training pairs" in by_name["accuracy_words_only"].method


def test_rank_correlation_within_prompts_matches_scipy(planted, findings_of):
    responses = planted(oracle).responses
    half = NUM_PAIRS  # one pair a prompt: what is left within is half the difference, with both signs
    rewards = (responses.reward[:half] - responses.reward[half:]) / 2
    lengths = (responses.length[:half] - responses.length[half:]) / 2
    expected = scipy.stats.spearmanr(np.r_[rewards, -rewards], np.r_[lengths, -lengths]).statistic
    found = findings_of(oracle)["length_within_prompt_spearman"]
    assert found.estimate == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("scorer", [oracle, length_meter, style_meter])
def test_every_interval_holds_its_estimate_and_says_what_it_is(findings_of, scorer):
    for finding in findings_of(scorer).values():
        if finding.name == "label_ceiling":
            continue  # one vote a pair has no ceiling
        assert finding.ci_low - 1e-9 <= finding.estimate <= finding.ci_high + 1e-9, finding.name
        assert finding.unit
        assert finding.method


def test_more_pairs_of_the_same_prompts_do_not_narrow_an_interval(make_heldout, few_trees):
    def width(copies):
        generator = np.random.default_rng(0)
        chosen = [(float(generator.random() < 0.7), 5, "a") for _ in range(50)] * copies
        heldout = make_heldout(np.tile(np.arange(50), copies), chosen, [(0.5, 4, "b")] * len(chosen))
        finding = measured(heldout, AuditConfig(num_resamples=1000))["accuracy"]
        return finding.ci_high - finding.ci_low

    assert width(9) == pytest.approx(width(1))


CALIBRATION = {"log_loss", "brier_score", "calibration_error", "calibration_slope", "temperature"}


def estimates(findings):
    """All but what no unit is free of, and what one vote a pair leaves undefined."""
    left_out = CALIBRATION | {"label_ceiling"}
    return {name: finding.estimate for name, finding in findings.items() if name not in left_out}


def test_rewards_are_known_up_to_a_constant_a_prompt(planted, few_trees):
    heldout = planted(oracle, num_prompts=150)
    offsets = np.random.default_rng(9).integers(-8, 8, size=150).astype(float)

    def moved(texts, generator):
        chosen, rejected = oracle(texts, generator)
        shift = offsets[np.arange(NUM_PAIRS) % 150]
        return chosen + shift, rejected + shift

    before, after = estimates(measured(heldout)), estimates(measured(planted(moved, num_prompts=150)))
    assert after["length_pearson"] != pytest.approx(before["length_pearson"], abs=1e-3)
    for name in set(before) - {"length_pearson", "length_spearman"}:
        assert after[name] == pytest.approx(before[name], abs=1e-9), name


def test_findings_do_not_depend_on_the_unit_of_rewards(planted, findings_of):
    def scaled(texts, generator):
        return [values * 1024 for values in oracle(texts, generator)]

    assert estimates(measured(planted(scaled))) == pytest.approx(estimates(findings_of(oracle)), abs=1e-10)


def test_without_decided_training_pairs_the_floors_are_undefined_and_the_gate_closed(planted):
    heldout = planted(oracle)
    evidence = Evidence(heldout=heldout, train=TrainTexts(chosen=(), rejected=()))
    found = run.measure(evidence, CONFIG, run.Seen.of(heldout))
    findings = {finding.name: finding for finding in found}
    assert math.isnan(findings["accuracy_over_style_floor"].estimate)
    assert decided(findings) == ("failed", {"accuracy_over_style_floor"})


def test_measuring_depends_on_the_seed_alone(planted, length_findings):
    again = measured(planted(length_meter))
    assert {name: repr(finding) for name, finding in again.items()} == {
        name: repr(finding) for name, finding in length_findings.items()
    }
    other = measured(planted(length_meter), CONFIG.model_copy(update={"seed": 1}))
    assert other["accuracy"].estimate == length_findings["accuracy"].estimate
    assert other["accuracy"].ci_low != length_findings["accuracy"].ci_low


def test_buckets_add_up(report, dataset, scores, audit_config):
    heldout = join_scores(dataset, scores)
    width = audit_config.bucket_tokens
    assert len(report.buckets) > 1
    assert [bucket.low for bucket in report.buckets] == sorted({bucket.low for bucket in report.buckets})
    assert all(bucket.low % width == 0 and bucket.high == bucket.low + width for bucket in report.buckets)
    for bucket in report.buckets:
        inside = [
            reward
            for reward, length in zip(heldout.responses.reward, heldout.responses.length, strict=True)
            if bucket.low <= length < bucket.high
        ]
        correct = [
            right
            for right, length in zip(heldout.pairs.correct, heldout.pairs.length_chosen, strict=True)
            if bucket.low <= length < bucket.high
        ]
        assert (bucket.num_responses, bucket.accuracy.num_pairs) == (len(inside), len(correct))
        assert bucket.reward.num_pairs == bucket.num_responses
        assert bucket.reward.estimate == pytest.approx(np.mean(inside), abs=1e-10)
        assert bucket.accuracy.estimate == pytest.approx(np.mean(correct), abs=1e-10) if correct else True
    assert sum(bucket.num_responses for bucket in report.buckets) == len(heldout.responses.reward)
    assert sum(bucket.accuracy.num_pairs for bucket in report.buckets) == len(heldout.pairs.margin)


def test_flaws_are_counted_by_kind_and_over_all(report, probed):
    rows = pq.read_table(probed.path / "flawed_pairs.parquet").to_pylist()
    right, count = Counter(), Counter()
    for row in rows:
        for kind in (row["flaw"], "all"):
            count[kind] += 1
            right[kind] += (np.sign(row["reward_chosen"] - row["reward_rejected"]) + 1) / 2
    assert {flaw.name: flaw.num_pairs for flaw in report.flaws} == count
    assert report.flaws[-1].name == "all"
    for flaw in report.flaws:
        assert flaw.estimate == pytest.approx(right[flaw.name] / count[flaw.name])
        assert flaw.ci_low < flaw.estimate < flaw.ci_high or flaw.estimate in (0, 1)


def test_the_trained_model_is_found_to_be_right(report):
    assert report.finding("accuracy").ci_low > 0.8
    assert report.finding("reward_tie_share").estimate == 0


def test_the_report_says_what_the_training_taught_and_controlled_for(
    scores, probed, dataset, tokenized, checkpoint, audit_config, tmp_path
):
    said = {
        "trained_on": ("foreign",),
        "controlled": ("length", "bold"),
        "remedy_shares": {"foreign_share": 0.5},
        "keeps_head": True,
    }
    remedied = checkpoint.model_copy(update=said)
    audited = stage.audit(scores, probed, dataset, tokenized, remedied, None, audit_config, "whole", tmp_path)
    provenance = read_report(audited).provenance
    assert {name: getattr(provenance, name) for name in said} == said


def test_the_report_says_what_was_audited_on_what(report, audited, dataset, checkpoint, scores, probed):
    provenance = report.provenance
    assert (provenance.checkpoint_digest, provenance.dataset_digest) == (checkpoint.digest, dataset.digest)
    assert (provenance.num_train_pairs, provenance.base) == (checkpoint.num_train_pairs, checkpoint.base)
    assert provenance.sources == dataset.sources
    heldout = join_scores(dataset, scores)
    assert provenance.num_label_ties == heldout.num_label_ties > 0
    assert provenance.num_heldout_prompts == len(heldout.prompt_ids)
    assert audited.checkpoint_digest == checkpoint.digest
    assert [each.digest for each in audited.inputs] == [scores.digest, probed.digest, dataset.digest]
    assert pq.read_table(audited.path / "scores.parquet").equals(heldout.table)
    assert audited.num_rows == len(heldout.pairs.margin) == report.finding("accuracy").num_pairs


@pytest.fixture(scope="module")
def spoilt_report(edit_scores, probed, dataset, tokenized, checkpoint, audit_config, tmp_path_factory):
    """The report of an audit of other rewards: ``spoilt_report(edit)`` with a function from rows to rows."""

    def audit(edit):
        folder = tmp_path_factory.mktemp("spoilt")
        manifest = stage.audit(
            edit_scores(edit), probed, dataset, tokenized, checkpoint, None, audit_config, "whole", folder
        )
        return read_report(manifest)

    return audit


def test_undefined_findings_stay_undefined_in_the_file(spoilt_report):
    report = spoilt_report(lambda rows: [{**row, "reward": 0.1} for row in rows])
    assert math.isnan(report.finding("length_pearson").estimate)
    assert math.isnan(report.finding("length_pearson").ci_high)
    assert not decide(report, GatePolicy(), date(2026, 1, 1)).passed
    assert report.examples == ()  # a tie is no mistake


def test_examples_are_the_most_confident_mistakes_first(spoilt_report, dataset, scores, audit_config):
    report = spoilt_report(lambda rows: [{**row, "reward": -row["reward"]} for row in rows])
    heldout = join_scores(dataset, scores)
    worst = sorted(-heldout.pairs.margin)[: audit_config.num_examples]
    assert [example.margin for example in report.examples] == pytest.approx(worst)
    assert all(example.margin < 0 for example in report.examples)
    texts = set(zip(heldout.pairs.prompts, heldout.pairs.chosen, heldout.pairs.rejected, strict=True))
    assert {(example.prompt, example.chosen, example.rejected) for example in report.examples} <= texts


def test_scores_of_another_checkpoint_are_refused(
    scores, probed, dataset, tokenized, checkpoint, audit_config, tmp_path
):
    other = scores.model_copy(update={"checkpoint_digest": "f" * 64})
    with pytest.raises(AuditError, match=f"scores of checkpoint {'f' * 12}, not {checkpoint.digest[:12]}"):
        stage.audit(other, probed, dataset, tokenized, checkpoint, None, audit_config, "whole", tmp_path)
    assert not list(tmp_path.iterdir())


def test_rewards_that_are_no_numbers_are_refused(spoilt_report):
    with pytest.raises(AuditError, match="1 rewards are not finite"):
        spoilt_report(lambda rows: [{**rows[0], "reward": float("nan")}, *rows[1:]])
