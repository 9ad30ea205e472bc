"""Two parts of the held-out prompts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.audit import parts, stage
from rm.audit.heldout import join_scores
from rm.audit.records import read_report
from rm.data import prompt_groups
from rm.data.preferences import Message, PromptGroup
from rm.probes.config import ProbeConfig


def group(name, text):
    return PromptGroup(
        prompt_id=name,
        prompt=(Message("user", text),),
        responses=(),
        response_attributes=(),
        comparisons=(),
        domain=None,
    )


@given(st.lists(st.text("abcdefgh ", min_size=1, max_size=12), min_size=1, max_size=40))
def test_each_prompt_lies_in_one_part_and_the_same_texts_in_the_same(texts):
    groups = [group(f"{index:04}", text) for index, text in enumerate(texts)]
    choosing, judging = (parts.members(groups, part)[0] for part in ("choosing", "judging"))
    assert sorted(choosing + judging) == parts.members(groups, "whole")[0] == list(range(len(groups)))
    assert not {texts[index] for index in choosing} & {texts[index] for index in judging}


def test_the_clusters_of_a_part_are_those_of_the_whole_in_order():
    texts = [
        f"{word} is what I ask about here"
        for word in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    ]
    groups = [group(f"{index}", text) for index, text in enumerate(texts * 3)]
    whole = parts.members(groups, "whole")[1]
    for part in ("choosing", "judging"):
        indices, clusters = parts.members(groups, part)
        there = sorted(set(whole[indices].tolist()))
        assert len(there) > 1
        assert clusters.tolist() == [there.index(cluster) for cluster in whole[indices].tolist()]


def test_about_a_third_is_for_choosing():
    groups = [group(f"{index:05}", f"{index}") for index in range(3000)]
    share = len(parts.members(groups, "choosing")[0]) / len(groups)
    assert abs(share - parts.CHOOSING_SHARE) < 4 * np.sqrt(parts.CHOOSING_SHARE * (1 - parts.CHOOSING_SHARE) / 3000)


def test_what_is_added_moves_no_prompt_to_the_other_part():
    groups = [group(f"{index:05}", f"{index} {index}") for index in range(200)]
    fewer = [groups[index].prompt_id for index in parts.members(groups[:120], "choosing")[0]]
    more = [groups[index].prompt_id for index in parts.members(groups, "choosing")[0]]
    assert fewer == [name for name in more if int(name) < 120]


@pytest.fixture(scope="module")
def reports(scores, probed, dataset, tokenized, checkpoint, audit_config, tmp_path_factory):
    """The report of each part."""
    return {
        part: stage.audit(
            scores, probed, dataset, tokenized, checkpoint, None, audit_config, part, tmp_path_factory.mktemp(part)
        )
        for part in ("choosing", "judging")
    }


def test_an_audit_of_a_part_is_of_its_prompts_alone(reports, dataset, scores, report):
    of = {group.prompt_id: index for index, group in enumerate(prompt_groups.read_groups(dataset, "heldout"))}
    seen = {part: join_scores(dataset, scores, part) for part in reports}
    assert not set(seen["choosing"].prompt_ids) & set(seen["judging"].prompt_ids)
    assert {*seen["choosing"].prompt_ids, *seen["judging"].prompt_ids} == of.keys()
    for part, manifest in reports.items():
        found = read_report(manifest)
        assert manifest.part == part
        assert found.provenance.notes[:1] == parts.NOTES[part]
        assert found.provenance.num_heldout_prompts == len(seen[part].prompt_ids)
        assert found.finding("accuracy").num_pairs == len(seen[part].pairs.margin)
    edits = {
        part: sum(probe.num_parents for probe in read_report(manifest).probes) for part, manifest in reports.items()
    }
    assert sum(edits.values()) == sum(probe.num_parents for probe in report.probes)
    assert min(edits.values()) > 0


def test_widened_settings_give_the_judging_part_as_many_edits():
    wider = ProbeConfig(num_parents=100, budget=3.0).widened(1 / (1 - parts.CHOOSING_SHARE))
    assert (wider.num_parents, wider.budget) == (150, pytest.approx(4.5))
    assert wider.num_parents * (1 - parts.CHOOSING_SHARE) == pytest.approx(100)
