import re
import shutil
from datetime import date

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from rm.audit import champion
from rm.audit import stage as auditing
from rm.audit.config import AuditConfig
from rm.audit.heldout import join_scores
from rm.audit.records import read_report
from rm.errors import ManifestError
from rm.files import sha256_json
from rm.gate import promotion
from rm.gate.checks import CHAMPION_CHECKS
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.manifests import MANIFEST_NAME, digests
from rm.report import answers, reasons
from rm.score import stage
from rm.score.manifests import ChampionRef, ScoresManifest
from rm.stats.measurements import Measurements


@pytest.fixture(scope="module")
def shuffled(checkpoint, tmp_path_factory):
    """The trained model with the weights of its head in another order."""
    folder = tmp_path_factory.mktemp("shuffled") / "checkpoint"
    shutil.copytree(checkpoint.path, folder)
    tensors = load_file(folder / "model.safetensors")
    head = tensors["score.weight"]
    order = torch.randperm(head.shape[1], generator=torch.Generator().manual_seed(0))
    tensors["score.weight"] = head[:, order].contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return checkpoint.model_copy(update={"path": folder})


@pytest.fixture(scope="module")
def shuffled_scores(shuffled, dataset, compute, tmp_path_factory):
    found = sha256_json(digests(shuffled.path, beside={MANIFEST_NAME}))
    ref = ChampionRef(name="shuffled version 1", path=shuffled.path, digest=found)
    return stage.score_champion(ref, dataset, compute, tmp_path_factory.mktemp("champion"))


def compared(heldout, champion_heldout, config):
    collected = Measurements(heldout.num_clusters, config)
    champion.add(collected, heldout, champion_heldout)
    return {finding.labels["of"]: finding for finding in collected.findings().values()}


def numbers(finding):
    return finding.estimate, finding.ci_low, finding.ci_high


def test_the_champion_reads_texts_as_it_was_scored_itself(checkpoint, dataset, scores, compute, tmp_path):
    ref = ChampionRef(name="itself", path=checkpoint.path, digest=checkpoint.digest)
    again = stage.score_champion(ref, dataset, compute, tmp_path)
    one, other = (join_scores(dataset, manifest).pairs for manifest in (scores, again))
    assert one.keys == other.keys
    np.testing.assert_allclose(one.margin, other.margin, atol=1e-5)
    np.testing.assert_array_equal(one.length_difference, other.length_difference)


def test_a_champion_whose_weights_were_changed_after_it_was_registered_is_not_scored(
    checkpoint, shuffled, dataset, compute, tmp_path
):
    ref = ChampionRef(name="reward-model version 1", path=shuffled.path, digest=checkpoint.digest)
    with pytest.raises(ManifestError, match=f"reward-model version 1 have the digest .*, not {checkpoint.digest[:12]}"):
        stage.score_champion(ref, dataset, compute, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_is_no_better_and_no_worse_than_itself(dataset, scores, audit_config):
    heldout = join_scores(dataset, scores)
    found = compared(heldout, heldout, audit_config)
    assert numbers(found.pop("spearman")) == pytest.approx((1, 1, 1))
    for finding in found.values():
        assert numbers(finding) == (0, 0, 0)


def test_a_model_that_learnt_beats_one_whose_head_is_shuffled(dataset, scores, shuffled_scores, audit_config):
    heldout, other = (join_scores(dataset, manifest) for manifest in (scores, shuffled_scores))
    found = compared(heldout, other, audit_config)
    assert 0 < found["accuracy"].ci_low < found["accuracy"].estimate <= 1
    assert found["accuracy"].estimate == pytest.approx(heldout.pairs.correct.mean() - other.pairs.correct.mean())
    back = compared(other, heldout, audit_config)["accuracy"]
    low, high = -found["accuracy"].ci_high, -found["accuracy"].ci_low
    assert numbers(back) == pytest.approx((-found["accuracy"].estimate, low, high))
    assert found["flips_gained"].estimate - found["flips_lost"].estimate >= found["accuracy"].estimate - 1e-9


def test_bias_that_grew_is_above_zero_whichever_way_it_leans(make_heldout):
    generator = np.random.default_rng(0)
    num = 400
    lengths = generator.integers(5, 50, size=(2, num))
    texts = [
        [f"{side} {place} " + "word " * size for place, size in enumerate(sizes)]
        for side, sizes in zip("ab", lengths, strict=True)
    ]
    noise = generator.normal(size=(2, num)) + np.array([[1.0], [0.0]])

    def scored(strength):
        sides = [
            list(zip(values + strength * sizes / 13, sizes, side, strict=True))
            for values, sizes, side in zip(noise, lengths, texts, strict=True)
        ]
        return make_heldout(np.arange(num), *sides)

    config = AuditConfig(num_resamples=200)
    for strength in (1.0, -1.0):
        worse = compared(scored(strength), scored(0.0), config)
        better = compared(scored(0.0), scored(strength), config)
        assert worse["gain_without_length"].ci_low > 0 > better["gain_without_length"].ci_high


def test_only_pairs_that_both_have_scored_are_compared(dataset, scores, edit_scores, audit_config):
    fewer = edit_scores(lambda rows: rows[: len(rows) // 2])
    heldout, other = (join_scores(dataset, manifest) for manifest in (scores, fewer))
    found = compared(heldout, other, audit_config)
    assert found["accuracy"].num_pairs == len(other.pairs.margin) < len(heldout.pairs.margin)
    assert numbers(found["accuracy"]) == (0, 0, 0)


@pytest.mark.parametrize("share", [0.3, 0.0])
def test_a_champion_that_has_no_room_for_most_pairs_leaves_its_checks_undecided_and_says_why(
    share, dataset, tokenized, checkpoint, scores, probed, shuffled_scores, audit_config, tmp_path
):
    few = tmp_path / "few"
    shutil.copytree(shuffled_scores.path, few)
    rows = pq.read_table(few / ScoresManifest.SCORES_NAME)
    pq.write_table(rows[: int(share * len(rows))], few / ScoresManifest.SCORES_NAME)
    champion_scores = shuffled_scores.model_copy(update={"path": few})
    folder = tmp_path / "audit"
    folder.mkdir()
    audited = auditing.audit(
        scores, probed, dataset, tokenized, checkpoint, champion_scores, audit_config, "whole", folder
    )
    measured = read_report(audited)
    assert measured.provenance.champion == "shuffled version 1"
    decision = decide(measured, GatePolicy(), date(2026, 1, 1))
    found = {check.name: check for check in decision.checks if check.group == "champion"}
    assert found.keys() == {check.name for check in CHAMPION_CHECKS}
    assert {(check.status, check.blocks) for check in found.values()} == {("inconclusive", False)}
    assert not promotion.was_compared_with(measured, champion_scores.checkpoint_digest)
    num_pairs = len(join_scores(dataset, scores).pairs.margin)
    why = rf"the model in use has rewards for \d+ of {num_pairs} pairs, as most are too long for it"
    assert re.search(f"^Not compared: {why}", answers.champion(measured))
    (check,) = [check for check in found.values() if check.name == "over_champion_accuracy"]
    told = reasons.reason(check, measured)
    assert re.search(f"^It could not be compared with the model in use: {why}", told.text)
